"""Policy text -> ``Policy``, or every reason why not.

Stricter than the API server and never different from it. It decodes leniently where strictness fails
(pkg/audit/policy/reader.go), so that a misspelt or misplaced key silently widens a rule; it reads only the first
document; it reads scalars by YAML 1.1. Whatever it would read in a way that the text does not show is refused here.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from kauditd.core.jsontext import looks_like_json, read_json
from kauditd.core.marked import Mapping, Node, Scalar, Sequence, describe, is_null, nearest, plain_kind
from kauditd.core.policy.values import Level, Policy, ResourceSelector, Rule, Stage
from kauditd.core.yamltext import read_yaml
from kauditd.errors import BadFile, BadPolicy, Problem, quote

LIMIT_BYTES = 1024 * 1024
MAX_PROBLEMS = 100
API_VERSION = "audit.k8s.io/v1"
KIND = "Policy"

_POLICY_KEYS = ("apiVersion", "kind", "metadata", "omitStages", "omitManagedFields", "rules")
_RULE_KEYS = (
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
)
_RESOURCE_KEYS = ("group", "resources", "resourceNames")
_WIDENS = {
    "users": "every user",
    "userGroups": "every user group",
    "verbs": "every verb",
    "resources": "every resource",
    "resourceNames": "every name",
    "namespaces": "every namespace",
    "nonResourceURLs": "every URL",
}
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
# A ? or a last : ends an unquoted scalar in a flow list for some readers and not for others.
_PLAIN = re.compile(r"[A-Za-z0-9/_.$(][\x20-\x3e\x40-\x7e]*(?<!:)")
_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:[^0-9].*)?", re.DOTALL)

_Entry = TypeVar("_Entry")


def parse_policy(text: bytes, *, file: str, version: str = "") -> Policy:
    """The policy in ``text`` (YAML, or JSON where it begins with ``{``), exactly as the API server would read it.

    ``version`` is the API server's ("v1.36.3", "" where unknown): ``group: "*"`` is taken only where it is known to
    be 1.36 or later, because an older one does not start with it. ``file`` only names the place in messages.
    Raises ``BadPolicy`` with the problems in document order, at most MAX_PROBLEMS.
    """
    try:
        if looks_like_json(text):
            root: Node | None = read_json(text, file=file, limit_bytes=LIMIT_BYTES)
        else:
            root = read_yaml(text, file=file, limit_bytes=LIMIT_BYTES, aliases=True)
    except BadFile as exc:
        raise _bad(file, exc.problems) from exc
    reader = _Reader(file=file, wildcard_groups=_knows_wildcard_groups(version), version=version)
    policy = reader.read(root)
    if reader.problems or policy is None:
        ordered = sorted(reader.problems, key=lambda p: (p.line, p.column))
        raise _bad(file, tuple(ordered[:MAX_PROBLEMS]))
    return policy


def _knows_wildcard_groups(version: str) -> bool:
    found = _VERSION.fullmatch(version)
    release = tuple(int(part) for part in found.groups()) if found else (0, 0)
    early = release == (1, 36) and re.search("-(?:alpha|beta)", version)
    return release >= (1, 36) and not early


def _bad(file: str, problems: tuple[Problem, ...]) -> BadPolicy:
    first = problems[0]
    key = f"{first.key}: " if first.key else ""
    where = f" line {first.line}" if first.line else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    hint = first.hint or "correct the file; the published policy stays in force"
    return BadPolicy(
        f"cannot use policy {quote(file)}:{where} {key}{first.message}{more}", problems=problems, hint=hint
    )


class _Reader:
    """One pass over the nodes. A method returns the best value it has; ``problems`` decides whether it counts."""

    def __init__(self, *, file: str, wildcard_groups: bool, version: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._wildcard_groups = wildcard_groups
        self._version = version

    def _complain(self, node: Node | None, key: str, message: str, hint: str = "") -> None:
        line, column = (node.line, node.column) if node else (0, 0)
        self.problems.append(Problem(file=self._file, line=line, column=column, key=key, message=message, hint=hint))

    def read(self, root: Node | None) -> Policy | None:
        if not isinstance(root, Mapping):
            found = describe(root) if root else "nothing"
            hint = f"begin with apiVersion: {API_VERSION} and kind: {KIND}"
            self._complain(root, "", f"expected a policy, found {found}", hint)
            return None
        fields = self._fields(root, "", _POLICY_KEYS)
        self._constant(root, fields, "apiVersion", API_VERSION)
        self._constant(root, fields, "kind", KIND)
        if "metadata" in fields:
            self._metadata(fields["metadata"])
        rules = self._rules(root, fields.get("rules"))
        return Policy(
            rules=rules,
            omit_stages=self._stages(fields, ""),
            omit_managed_fields=bool(self._boolean(fields, "")),
        )

    def _fields(self, node: Mapping, prefix: str, known: tuple[str, ...]) -> dict[str, Node]:
        """The known keys of a mapping; unknown, repeated and misspelt ones become problems."""
        fields: dict[str, Node] = {}
        for key, value in node.entries:
            dotted = prefix + quote(key.text, limit=60)
            if key.text not in known or key.spread:
                self._complain(key, dotted, "unknown key", _unknown_hint(key.text, prefix, known))
            elif key.text in fields:
                self._complain(
                    key, dotted, "this key is given twice", "the API server would use one of the two: keep one"
                )
            else:
                fields[key.text] = value
        return fields

    def _constant(self, root: Mapping, fields: dict[str, Node], key: str, expected: str) -> None:
        if key not in fields:
            self._complain(root, key, f"expected {expected}, found no such key", f"add {key}: {expected}")
            return
        text = self._string(fields[key], key)
        if text is not None and text != expected:
            hint = "the API server does not start with anything else"
            self._complain(fields[key], key, f"expected {expected}, found '{quote(text, limit=60)}'", hint)

    def _metadata(self, node: Node) -> None:
        """Accepted and unused upstream, but typed there: a wrong type stops the API server."""
        if is_null(node):
            return
        if not isinstance(node, Mapping):
            self._complain(
                node, "metadata", f"expected a mapping, found {describe(node)}", "remove it: it has no effect"
            )
            return
        known = ("name", "namespace", "labels", "annotations", "creationTimestamp")
        for key, value in self._fields(node, "metadata.", known).items():
            dotted = f"metadata.{key}"
            match key, value:
                case (("labels" | "annotations"), Mapping()):
                    self._labels(value, f"{dotted}.")
                case (("labels" | "annotations" | "creationTimestamp"), _):
                    if not is_null(value):
                        hint = "remove it: it has no effect"
                        self._complain(value, dotted, f"found {describe(value)}, which is not read", hint)
                case _:
                    self._string(value, dotted)

    def _labels(self, node: Mapping, prefix: str) -> None:
        names = tuple(dict.fromkeys(name.text for name, _ in node.entries))
        for name, _ in node.entries:
            self._string(name, prefix + quote(name.text, limit=60))
        for text, value in self._fields(node, prefix, names).items():
            self._string(value, prefix + quote(text, limit=60))

    def _rules(self, root: Mapping, node: Node | None) -> tuple[Rule, ...]:
        hint = "the API server does not start with a policy without rules"
        if not isinstance(node, Sequence):
            found = describe(node) if node else "no such key"
            self._complain(node or root, "rules", f"expected a list of rules, found {found}", hint)
            return ()
        if not node.items:
            self._complain(node, "rules", "expected at least one rule, found none", hint)
        return tuple(self._rule(item, f"rules[{index}]") for index, item in enumerate(node.items))

    def _rule(self, node: Node, path: str) -> Rule:
        if not isinstance(node, Mapping):
            hint = "a rule begins with - level:"
            # An entry without content (a stray -) is a rule without level to the API server.
            key = f"{path}.level" if is_null(node) else path
            self._complain(node, key, f"expected a rule, found {describe(node)}", hint)
            return Rule(level=Level.METADATA)
        prefix = f"{path}."
        fields = self._fields(node, prefix, _RULE_KEYS)
        rule = Rule(
            level=self._level(node, fields.get("level"), f"{prefix}level"),
            users=self._strings(fields, prefix, "users"),
            user_groups=self._strings(fields, prefix, "userGroups"),
            verbs=self._strings(fields, prefix, "verbs"),
            resources=tuple(self._list(fields, prefix, "resources", self._selector)),
            namespaces=self._strings(fields, prefix, "namespaces"),
            non_resource_urls=tuple(self._list(fields, prefix, "nonResourceURLs", self._url)),
            omit_stages=self._stages(fields, prefix),
            omit_managed_fields=self._boolean(fields, prefix),
        )
        if rule.non_resource_urls and (rule.resources or rule.namespaces):
            hint = "make two rules: one for URLs, one for resources or namespaces"
            self._complain(
                fields["nonResourceURLs"], f"{prefix}nonResourceURLs", "stands beside resources or namespaces", hint
            )
        return rule

    def _level(self, rule: Mapping, node: Node | None, key: str) -> Level:
        if node is None:
            self._complain(rule, key, "the rule has no level", f"add level: one of {', '.join(Level)}")
            return Level.METADATA
        text = self._string(node, key)
        if text in tuple(Level):
            return Level(text)
        if text is not None:
            found = quote(text, limit=60)
            self._complain(
                node, key, f"expected one of {', '.join(Level)}, found '{found}'", nearest(text, tuple(Level))
            )
        return Level.METADATA

    def _selector(self, node: Node, path: str) -> ResourceSelector:
        if not isinstance(node, Mapping):
            hint = 'write - group: "" with resources: below it; an empty entry would mean the whole core group'
            self._complain(node, path, f"expected a group with resources, found {describe(node)}", hint)
            return ResourceSelector()
        prefix = f"{path}."
        fields = self._fields(node, prefix, _RESOURCE_KEYS)
        selector = ResourceSelector(
            group=self._group(fields.get("group"), f"{prefix}group"),
            resources=self._strings(fields, prefix, "resources"),
            resource_names=self._strings(fields, prefix, "resourceNames"),
        )
        if selector.resource_names and not selector.resources:
            hint = "add resources: to the entry"
            self._complain(node, f"{prefix}resourceNames", "names are given without resources", hint)
        return selector

    def _group(self, node: Node | None, key: str) -> str:
        text = "" if node is None else self._string(node, key)
        if not text or (_SUBDOMAIN.fullmatch(text) and len(text) <= 253):
            return text or ""
        found = quote(text, limit=60)
        if text == "*":
            if not self._wildcard_groups:
                known = f"this one is {quote(self._version, limit=60)}" if self._version else "its version is not known"
                hint = f"name the groups: an API server before 1.36 does not start with it, and {known}"
                self._complain(node, key, "the group * is understood from Kubernetes 1.36 on", hint)
            return text
        hint = "a group is written without version, for example apps"
        self._complain(node, key, f"'{found}' is no API group", hint)
        return text

    def _url(self, node: Node, path: str) -> str:
        text = self._string(node, path)
        if text is None or text == "*":
            return text or ""
        found = quote(text, limit=60)
        if not text.startswith("/"):
            self._complain(node, path, f"'{found}' does not begin with /", "write a path, or * for every path")
        elif "*" in text[:-1]:
            self._complain(node, path, f"'{found}' has a * before its end", "a * may only be the last character")
        return text

    def _stages(self, fields: dict[str, Node], prefix: str) -> tuple[Stage, ...]:
        return tuple(self._list(fields, prefix, "omitStages", self._stage))

    def _stage(self, node: Node, path: str) -> Stage:
        text = self._string(node, path)
        if text in tuple(Stage):
            return Stage(text)
        if text is not None:
            found = quote(text, limit=60)
            self._complain(
                node, path, f"expected one of {', '.join(Stage)}, found '{found}'", nearest(text, tuple(Stage))
            )
        return Stage.PANIC

    def _boolean(self, fields: dict[str, Node], prefix: str) -> bool | None:
        node = fields.get("omitManagedFields")
        if node is None:
            return None
        if isinstance(node, Scalar) and node.plain and plain_kind(node.text) == "bool":
            return node.text.lower() == "true"
        self._complain(node, f"{prefix}omitManagedFields", f"expected true or false, found {describe(node)}")
        return None

    def _strings(self, fields: dict[str, Node], prefix: str, key: str) -> tuple[str, ...]:
        return tuple(self._list(fields, prefix, key, lambda node, path: self._string(node, path) or ""))

    def _list(
        self, fields: dict[str, Node], prefix: str, key: str, read: Callable[[Node, str], _Entry]
    ) -> Iterator[_Entry]:
        """Each entry of the list under ``key``; nothing where the key is absent."""
        node = fields.get(key)
        if node is None:
            return
        dotted = f"{prefix}{key}"
        if not isinstance(node, Sequence):
            hint = "write a list: one line each, beginning with -"
            if is_null(node) and key in _WIDENS:
                hint = f"the API server would match {_WIDENS[key]}: list some, or remove the key"
            self._complain(node, dotted, f"expected a list, found {describe(node)}", hint)
            return
        for index, item in enumerate(node.items):
            yield read(item, f"{dotted}[{index}]")

    def _string(self, node: Node, key: str) -> str | None:
        """A string that every YAML reader reads alike, or None after a complaint."""
        if not isinstance(node, Scalar):
            self._complain(node, key, f"expected a string, found {describe(node)}")
        elif node.spread:
            self._complain(node, key, "expected a string on one line", "a missing - or a wrong indentation?")
        elif not node.plain:
            return node.text
        elif plain_kind(node.text) != "str":
            hint = f'put quotes around it: "{quote(node.text, limit=60)}"'
            self._complain(node, key, f"expected a string, found {describe(node)}", hint)
        elif not _PLAIN.fullmatch(node.text):
            hint = "put quotes around it, so that every YAML reader takes it for the same"
            self._complain(node, key, f"unquoted text with unusual characters: {describe(node)}", hint)
        else:
            return node.text
        return None


def _unknown_hint(name: str, prefix: str, known: tuple[str, ...]) -> str:
    """What was meant, and what the API server would do."""
    close = nearest(name, known)
    meant = next((key for key in known if close == f"did you mean {key}?"), "")
    effect = "the API server would ignore it"
    if prefix.endswith("]."):
        misplaced = name in _RULE_KEYS and name not in known
        close = f"{name} belongs to the rule, not to an entry of resources" if misplaced else close
        wide = _WIDENS.get(name if misplaced else meant, "more than it says")
        effect = f"{effect} and the rule would match {wide}"
    return f"{effect}; {close}"
