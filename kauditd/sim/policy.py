"""The audit policy as the API server loads and applies it: read once, decoded, checked, first matching rule wins.

Upstream: apiserver ``pkg/audit/policy/reader.go`` and ``checker.go``, ``pkg/apis/audit/validation``. This is a second,
independent reading of the same facts as ``kauditd.core`` has, so that the tests do not compare a mistake with itself.
"""

import codecs
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kauditd.errors import KauditError
from kauditd.sim.requestinfo import RequestInfo

API_VERSION = "audit.k8s.io/v1"
LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
POLICY_KEYS = frozenset({"apiVersion", "kind", "metadata", "omitManagedFields", "omitStages", "rules"})
RULE_CONDITIONS = ("users", "userGroups", "verbs", "namespaces", "resources", "nonResourceURLs")
RULE_KEYS = frozenset({"level", "omitStages", "omitManagedFields", *RULE_CONDITIONS})
RESOURCE_KEYS = frozenset({"group", "resources", "resourceNames"})
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
WILDCARD_GROUP_SINCE = (1, 36)


class PolicyRefused(KauditError):
    """The process must die with ``loading audit policy file: MESSAGE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResources:
    """One entry of a rule's ``resources``."""

    group: str
    resources: tuple[str, ...]
    names: tuple[str, ...]

    def matches(self, info: RequestInfo) -> bool:
        """Group, then resource or ``resource/subresource`` in the spellings that upstream knows, then name."""
        if self.group not in ("*", info.group):
            return False
        if not self.resources:
            return True
        if self.names and info.name not in self.names:
            return False
        # "pods/*" also matches plain "pods": upstream trims the star and compares the resource alone.
        spellings = {"*", f"{info.resource}/*", info.resource}
        if info.subresource:
            spellings -= {info.resource}
            spellings |= {f"{info.resource}/{info.subresource}", f"*/{info.subresource}"}
        return not spellings.isdisjoint(self.resources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; an empty tuple means "any"."""

    level: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    urls: tuple[str, ...] = ()
    omit_stages: tuple[str, ...] = ()

    def matches(self, info: RequestInfo, *, user: str, groups: Iterable[str]) -> bool:
        """All conditions hold; a rule with namespaces or resources never matches a non-resource request."""
        if self.users and user not in self.users:
            return False
        if self.groups and not set(self.groups) & set(groups):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return self._matches_resource(info)
        if self.urls:
            return not info.is_resource and any(_matches_url(spec, info.path) for spec in self.urls)
        return True

    def _matches_resource(self, info: RequestInfo) -> bool:
        if not info.is_resource:
            return False
        if self.namespaces and info.namespace not in self.namespaces:
            return False
        return not self.resources or any(entry.matches(info) for entry in self.resources)


def _matches_url(spec: str, path: str) -> bool:
    if spec == "*":
        return True
    return path.startswith(spec[:-1]) if spec.endswith("*") else path == spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A loaded policy. ``warnings`` are what strict decoding would have refused (unknown fields)."""

    rules: tuple[Rule, ...]
    omit_stages: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def decide(self, info: RequestInfo, *, user: str, groups: Iterable[str]) -> tuple[str, frozenset[str]]:
        """Level and omitted stages for one request; no rule matches: level None."""
        members = tuple(groups)
        for rule in self.rules:
            if rule.matches(info, user=user, groups=members):
                return rule.level, frozenset(self.omit_stages + rule.omit_stages)
        return "None", frozenset(self.omit_stages)


def load_policy(content: bytes, *, minor: int) -> Policy:
    """Decode and validate as API server 1.``minor`` does. Raises ``PolicyRefused`` with upstream's text."""
    document = _decode(content)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise PolicyRefused("failed decoding: json: cannot unmarshal into Go value of type struct")
    version, kind = document.get("apiVersion") or "", document.get("kind") or "Policy"
    if not version:
        raise PolicyRefused("unknown group version field audit.k8s.io/__internal, Kind=Policy in policy")
    if version != API_VERSION or kind != "Policy":
        scheme = 'in scheme "pkg/runtime/scheme.go:111"'
        raise PolicyRefused(f'failed decoding: no kind "{kind}" is registered for version "{version}" {scheme}')
    lenient = [f'unknown field "{key}"' for key in document if key not in POLICY_KEYS]
    problems: list[str] = []
    _check_boolean(document, "omitManagedFields")
    omitted = _strings(document, "omitStages")
    rules = tuple(
        _rule(_mapping(entry, "rules"), index=index, minor=minor, lenient=lenient, problems=problems)
        for index, entry in enumerate(_list(document, "rules"))
    )
    problems += _stage_problems(omitted, "omitStages")
    if problems:
        unique = list(dict.fromkeys(problems))
        raise PolicyRefused(unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
    if not rules:
        raise PolicyRefused("loaded illegal policy with 0 rules")
    return Policy(rules=rules, omit_stages=omitted, warnings=tuple(lenient))


def _decode(content: bytes) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if content.lstrip().startswith(b"{"):
            return json.loads(content.decode("utf-8", "replace"))
        # go-yaml v2 reads YAML 1.1 and only the first document.
        loader = YAML(typ="safe", pure=True)
        loader.version = (1, 1)
        loader.allow_duplicate_keys = True
        text = content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return next(iter(loader.load_all(text)), None)
    except json.JSONDecodeError as exc:
        message = f"json parse error: {exc.msg.lower()}"
        raise PolicyRefused(f"failed decoding: couldn't get version/kind; {message}") from exc
    except UnicodeDecodeError as exc:
        raise PolicyRefused("failed decoding: yaml: invalid leading UTF-8 octet") from exc
    except YAMLError as exc:
        raise PolicyRefused(f"failed decoding: yaml: {_as_libyaml(exc)}") from exc
    except (ValueError, KeyError, RecursionError) as exc:
        raise PolicyRefused("failed decoding: yaml: cannot decode a scalar") from exc


def _as_libyaml(exc: Exception) -> str:
    """The text of go-yaml (a port of libyaml) for an error of ruamel (a port of the same parser).

    go-yaml counts lines from 0 unless the scanner found the error.
    """
    problem = str(getattr(exc, "problem", None) or "could not find expected ':'").split(", but ")[0]
    context = str(getattr(exc, "context", None) or "")
    if problem == "expected <block end>":
        problem = "expected '-' indicator" if "sequence" in context else "expected key"
    problem = problem.replace("expected the node content", "expected node content")
    if problem.startswith("expected "):
        problem = f"did not find {problem}"
    problem = re.sub(r" not allowed here$", " not allowed in this context", problem)
    problem = re.sub(r"^sequence entries", "block sequence entries", problem)
    problem = re.sub(r"^found character .* that", "found character that", problem)
    marks = [getattr(exc, name, None) for name in ("problem_mark", "context_mark")]
    zero_based = next((mark.line for mark in marks if mark is not None and mark.line), 0)
    line = zero_based + 1 if zero_based and type(exc).__name__ == "ScannerError" else zero_based
    return f"line {line}: {problem}" if line else problem


def _rule(entry: Mapping[str, object], *, index: int, minor: int, lenient: list[str], problems: list[str]) -> Rule:
    place = f"rules[{index}]"
    lenient += [f'unknown field "{place}.{key}"' for key in entry if key not in RULE_KEYS]
    _check_boolean(entry, "omitManagedFields")
    level = entry.get("level") or ""
    if not level:
        problems.append(f"{place}.level: Required value")
    elif level not in LEVELS:
        supported = ", ".join(f'"{known}"' for known in LEVELS)
        problems.append(f'{place}.level: Unsupported value: "{level}": supported values: {supported}')
    resources = tuple(
        _group_resources(_mapping(item, "resources"), place=place, lenient=lenient)
        for item in _list(entry, "resources")
    )
    urls = _strings(entry, "nonResourceURLs")
    namespaces = _strings(entry, "namespaces")
    omitted = _strings(entry, "omitStages")
    problems += _url_problems(urls, place)
    if urls and (resources or namespaces):
        listed = " ".join(f'"{url}"' for url in urls)
        problems.append(
            f"{place}.nonResourceURLs: Invalid value: [{listed}]: "
            "rules cannot apply to both regular resources and non-resource URLs"
        )
    problems += _resource_problems(resources, place, minor)
    problems += _stage_problems(omitted, f"{place}.omitStages")
    return Rule(
        level=str(level),
        users=_strings(entry, "users"),
        groups=_strings(entry, "userGroups"),
        verbs=_strings(entry, "verbs"),
        namespaces=namespaces,
        resources=resources,
        urls=urls,
        omit_stages=omitted,
    )


def _group_resources(entry: Mapping[str, object], *, place: str, lenient: list[str]) -> GroupResources:
    lenient += [f'unknown field "{place}.resources[].{key}"' for key in entry if key not in RESOURCE_KEYS]
    group = entry.get("group")
    if group is not None and not isinstance(group, str):
        raise PolicyRefused(
            "failed decoding: json: cannot unmarshal into Go struct field GroupResources.rules.resources.group "
            "of type string"
        )
    return GroupResources(
        group=group or "",
        resources=_strings(entry, "resources"),
        names=_strings(entry, "resourceNames"),
    )


def _resource_problems(resources: Sequence[GroupResources], place: str, minor: int) -> list[str]:
    problems = []
    for entry in resources:
        wildcard = entry.group == "*" and (1, minor) >= WILDCARD_GROUP_SINCE
        if entry.group and not wildcard and (len(entry.group) > 253 or not SUBDOMAIN.fullmatch(entry.group)):
            problems.append(
                f'{place}.resources.group: Invalid value: "{entry.group}": a lowercase RFC 1123 subdomain must '
                "consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
                "alphanumeric character"
            )
        if entry.names and not entry.resources:
            problems.append(
                f"{place}.resources.resourceNames: Invalid value: {json.dumps(entry.names)}: "
                "using resourceNames requires at least one resource"
            )
    return problems


def _url_problems(urls: Sequence[str], place: str) -> list[str]:
    problems = []
    for index, url in enumerate(urls):
        where = f"{place}.nonResourceURLs[{index}]"
        if url == "*":
            continue
        if not url.startswith("/"):
            problems.append(
                f"{where}: Invalid value: \"{url}\": non-resource URL rules must begin with a '/' character"
            )
        if "*" in url[:-1]:
            problems.append(
                f'{where}: Invalid value: "{url}": '
                "non-resource URL wildcards '*' must be the final character of the rule"
            )
    return problems


def _stage_problems(stages: Sequence[str], place: str) -> list[str]:
    supported = ",".join(STAGES)
    return [
        f'{place}[{index}]: Invalid value: "{stage}": allowed stages are {supported}'
        for index, stage in enumerate(stages)
        if stage not in STAGES
    ]


def _list(entry: Mapping[str, object], key: str) -> list[object]:
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise PolicyRefused(f"failed decoding: json: cannot unmarshal into Go struct field Policy.{key} of type list")
    return value


def _mapping(value: object, key: str) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PolicyRefused(f"failed decoding: json: cannot unmarshal into Go struct field Policy.{key} of type struct")
    return {str(name): item for name, item in value.items()}


def _check_boolean(entry: Mapping[str, object], key: str) -> None:
    if not isinstance(entry.get(key), (bool, type(None))):
        raise PolicyRefused(f"failed decoding: json: cannot unmarshal into Go struct field Policy.{key} of type bool")


def _strings(entry: Mapping[str, object], key: str) -> tuple[str, ...]:
    strings = []
    for item in _list(entry, key):
        if item is not None and not isinstance(item, str):
            kind = "bool" if isinstance(item, bool) else "number"
            raise PolicyRefused(
                f"failed decoding: json: cannot unmarshal {kind} "
                f"into Go struct field PolicyRule.rules.{key} of type string"
            )
        strings.append(item or "")
    return tuple(strings)
