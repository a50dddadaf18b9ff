"""Typed getters for mappings that came out of JSON: journal records and bodies of API requests.

Each names the place and the key in its error, and none converts: a boolean is no number, "1" is no 1.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeVar

from kauditd.errors import KauditError, quote

_Value = TypeVar("_Value")
_MISSING = object()


def get_str(mapping: Mapping[str, Any], key: str, *, where: str) -> str:
    """The string under ``key``. ``where`` names the mapping, for example "the request body"."""
    return _get(mapping, key, str, expected="a string", where=where)


def get_bool(mapping: Mapping[str, Any], key: str, *, where: str) -> bool:
    """The boolean under ``key``."""
    return _get(mapping, key, bool, expected="true or false", where=where)


def get_int(mapping: Mapping[str, Any], key: str, *, where: str) -> int:
    """The whole number under ``key``; 1.0 and true are none."""
    return _get(mapping, key, int, expected="a whole number", where=where)


def get_float(mapping: Mapping[str, Any], key: str, *, where: str) -> float:
    """The finite number under ``key``; a whole number counts."""
    number = mapping.get(key, _MISSING)
    if isinstance(number, int) and not isinstance(number, bool):
        try:
            return float(number)
        except OverflowError as exc:
            raise _fault(key, number, expected="a finite number", where=where) from exc
    number = _get(mapping, key, float, expected="a finite number", where=where)
    if not isfinite(number):
        raise _fault(key, number, expected="a finite number", where=where)
    return number


def get_list(mapping: Mapping[str, Any], key: str, *, where: str) -> list[Any]:
    """The list under ``key``; its items are still to be checked."""
    return _get(mapping, key, list, expected="a list", where=where)


def get_mapping(mapping: Mapping[str, Any], key: str, *, where: str) -> dict[str, Any]:
    """The mapping under ``key``; its values are still to be checked."""
    return _get(mapping, key, dict, expected="a mapping", where=where)


def _get(mapping: Mapping[str, Any], key: str, kind: type[_Value], *, expected: str, where: str) -> _Value:
    value = mapping.get(key, _MISSING)
    # bool is a subclass of int, so the exact type is asked for.
    if type(value) is kind:
        return value
    raise _fault(key, value, expected=expected, where=where)


def _fault(key: str, value: object, *, expected: str, where: str) -> KauditError:
    match value:
        case None:
            found = "null"
        case bool():
            found = str(value).lower()
        case str():
            found = f"the string '{quote(value, limit=60)}'"
        case int() | float():
            found = "a number" if isinstance(value, int) else quote(str(value))
        case list():
            found = "a list"
        case dict():
            found = "a mapping"
        case _:
            found = "nothing"
    return KauditError(
        f"cannot read {quote(key)} in {where}: expected {expected}, found {found}",
        kind="bad-request",
        hint=f"give {quote(key)} as {expected}",
    )
