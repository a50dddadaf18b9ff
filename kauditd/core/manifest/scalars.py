"""Values as the kubelet sees them: YAML 1.1 scalars by the rules of go-yaml v2, which sigs.k8s.io/yaml uses.

The rules are those of its ``resolve.go``: ``yes``, ``on`` and ``y`` are booleans, ``010`` is octal, ``1_000`` is a
number, dates and sexagesimals stay strings.
"""

import base64
import binascii
import re

from kauditd.core.manifest.tree import Node, Scalar, Sequence, pairs_of, resolve

Value = bool | int | float | str | list["Value"] | dict[str, "Value"] | None
"""A decoded value; a key of any type has become a string, as in the kubelet's conversion to JSON."""

_WORDS: dict[str, bool | None] = {
    **{form: True for word in ("y", "yes", "true", "on") for form in (word, word.capitalize(), word.upper())},
    **{form: False for word in ("n", "no", "false", "off") for form in (word, word.capitalize(), word.upper())},
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_INTEGER = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve_plain(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar without a tag."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    digits = text.replace("_", "") if text[0] != "." else text
    if match := _INTEGER.fullmatch(digits):
        return _integer(match[1], match[2])
    if _FLOAT.fullmatch(digits):
        return float(digits)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def _integer(sign: str, digits: str) -> int | float:
    base = 10
    if digits[0] == "0" and len(digits) > 1:
        base = {"x": 16, "b": 2, "o": 8}.get(digits[1].lower(), 8)
        digits = digits[1:] if digits[1].isdigit() else digits[2:]
    # Python bounds the length of decimal integers; whatever is longer is a float to the kubelet as well.
    value = int(digits, base) if len(digits) < 64 else float("inf")
    return -value if sign == "-" else value


def decode_scalar(node: Scalar) -> bool | int | float | str | None:
    """The value of a scalar: quoted and block scalars are strings, ``!!str`` and ``!!binary`` are honoured."""
    if node.tag is not None and node.tag.endswith(":binary"):
        try:
            return base64.b64decode("".join(node.text.split()), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return node.text
    if node.style or (node.tag is not None and node.tag.endswith(":str")):
        return node.text
    return resolve_plain(node.text)


def key_text(key: Scalar) -> str:
    """A mapping key as the string that it becomes in JSON."""
    value = decode_scalar(key)
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case str():
            return value
        case _:
            return f"{value:g}" if isinstance(value, float) else str(value)


def decode(node: Node) -> Value:
    """The plain value of a node, aliases and merge keys followed, the last of duplicate keys in force."""
    target = resolve(node)
    if isinstance(target, Scalar):
        return decode_scalar(target)
    if isinstance(target, Sequence):
        return [decode(item) for item in target.items]
    return {key_text(key): decode(value) for key, value, _ in pairs_of(target)}


def same(left: Value, right: Value) -> bool:
    """Whether two values are equal with their types: True is not 1, and 1 is not 1.0. Order of keys does not count."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return repr(left) == repr(right)
