"""Settings: what the operator asks for, as frozen values read from ``kauditd.yaml``.

A file is used as a whole or not at all. ``parse_settings`` names every problem it finds with line, column, key, what
was expected and what to do; it never falls back to a default where something else was written.
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

from kauditd.core.marked import Mapping, Node, Scalar, describe, is_null, nearest, plain_kind
from kauditd.core.settings_places import place_faults
from kauditd.core.settings_table import (
    SECTIONS,
    SEED_MAX_AGE_DAYS,
    TABLE,
    Spec,
    Value,
    text_fault,
)
from kauditd.core.yamltext import read_yaml
from kauditd.errors import BadFile, BadSettings, Problem, quote

LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """Where the API server's configuration is."""

    kind: Literal["auto", "static-pod", "systemd"]
    """How the API server runs; ``auto`` looks for a manifest first. Default auto: right on every kubeadm node."""

    manifest: str
    """Logical path of the static pod manifest. Default: kubeadm's."""

    unit: str
    """The systemd unit of an API server that is no pod. Default kube-apiserver.service."""

    kubelet_stable_s: int
    """Seconds the kubelet must have been up before an edit. Default 60: an earlier edit may be noticed minutes late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Which audit policy is published."""

    profile: Literal["default", "seed", "stig", "metadata"] | None
    """A profile of the package; None exactly where ``file`` is given. Default: default."""

    file: str | None
    """Logical path of an own policy source, which then replaces the profile. Default None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The audit log, written and rotated by the API server alone."""

    path: str
    """Logical path of the live file; its directory is mounted read-write. Default: the path of the seed document."""

    max_size_mib: int
    """MiB at which a new file begins. Default 100: CIS asks for it; 0 would end rotation from Kubernetes 1.36."""

    max_age_days: int
    """Days that rotated files are kept. Default 30 (CIS, STIG), 1 with profile seed unless given."""

    max_backups: int
    """Rotated files that are kept. Default 10 (CIS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofSettings:
    """How and how often the trail is proven."""

    canary_interval_s: int
    """Seconds between two canaries. Default 60: two missed ones are two minutes of doubt."""

    gate_s: int
    """Seconds a change has to prove itself after the old process ended. Default 120, a normal pass takes 46."""

    overlap_s: int
    """Seconds the old process may go on serving after a write, before the write is taken back. Default 300."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The socket."""

    socket: str
    """Logical path of the Unix socket. Default /run/kauditd/kauditd.sock."""

    group: str
    """Name of the group whose members may read. Default kauditd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the operator can decide. Made by ``parse_settings``; ``default_settings()`` for an empty file."""

    mode: Literal["enforce", "observe"]
    """``observe`` reports drift and writes nothing. Default enforce: who enables the service wants the trail on."""

    target: TargetSettings
    """The API server."""

    policy: PolicySettings
    """The audit policy."""

    log: LogSettings
    """The audit log."""

    proof: ProofSettings
    """Proof and gate."""

    api: ApiSettings
    """The socket."""


def default_settings() -> Settings:
    """The settings of an empty file."""
    return _settings({spec.key: spec.default for spec in TABLE})


def parse_settings(text: bytes, *, file: str) -> Settings:
    """The settings that ``text`` asks for. An empty file, or an empty section, means the defaults.

    Raises ``BadSettings`` with every problem found, in document order. ``file`` only names the place in messages.
    A file with ``policy.file`` uses no profile, whatever ``policy.profile`` says.
    """
    try:
        root = read_yaml(text, file=file, limit_bytes=LIMIT_BYTES)
    except BadFile as exc:
        raise _bad(file, exc.problems) from exc
    reader = _Reader(file)
    reader.read_root(root)
    values = reader.finish()
    if reader.problems:
        raise _bad(file, tuple(sorted(reader.problems, key=lambda p: (p.line, p.column))))
    return _settings(values)


def flatten(settings: Settings) -> dict[str, Value]:
    """All values under their dotted keys, in the order of the file."""
    flat: dict[str, Value] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            flat |= {f"{field.name}.{inner.name}": getattr(value, inner.name) for inner in fields(value)}
        else:
            flat[field.name] = value
    return flat


def _settings(values: dict[str, Value]) -> Settings:
    """The typed form of checked values."""

    def section(name: str) -> dict[str, Any]:
        return {spec.name: values[spec.key] for spec in TABLE if spec.section == name}

    return Settings(
        **section(""),
        target=TargetSettings(**section("target")),
        policy=PolicySettings(**section("policy")),
        log=LogSettings(**section("log")),
        proof=ProofSettings(**section("proof")),
        api=ApiSettings(**section("api")),
    )


def _bad(file: str, problems: tuple[Problem, ...]) -> BadSettings:
    first = problems[0]
    key = f"{first.key}: " if first.key else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = f" line {first.line}" if first.line else ""
    hint = first.hint or "correct the file; the last good settings stay in force"
    return BadSettings(
        f"cannot use settings {quote(file)}:{where} {key}{first.message}{more}", problems=problems, hint=hint
    )


class _Reader:
    """Collects values and problems; a value with a problem is left out, so that one cause is reported once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._found: dict[str, Value] = {}
        self._places: dict[str, Node] = {}
        self._failed: set[str] = set()

    def complain(self, node: Node | None, key: str, message: str, hint: str = "") -> None:
        line, column = (node.line, node.column) if node else (0, 0)
        self._failed.add(key)
        self.problems.append(Problem(file=self.file, line=line, column=column, key=key, message=message, hint=hint))

    def read_root(self, root: Node | None) -> None:
        """The top level: single keys and sections."""
        if root is None or is_null(root):
            return
        if not isinstance(root, Mapping):
            hint = "write sections and keys, for example mode: enforce"
            self.complain(root, "", f"expected a mapping at the top level, found {describe(root)}", hint)
            return
        top = tuple(spec.key for spec in TABLE if not spec.section)
        for name, node in self._entries(root, "", top + SECTIONS):
            if name in SECTIONS:
                self._read_section(name, node)
            else:
                self._read_value(name, node)

    def _read_section(self, section: str, node: Node) -> None:
        if is_null(node):
            return
        if not isinstance(node, Mapping):
            hint = f"indent its keys below {section}:"
            self.complain(node, section, f"expected a section with keys, found {describe(node)}", hint)
            return
        known = tuple(spec.name for spec in TABLE if spec.section == section)
        for name, value in self._entries(node, f"{section}.", known):
            self._read_value(f"{section}.{name}", value)

    def _entries(self, node: Mapping, prefix: str, known: tuple[str, ...]) -> list[tuple[str, Node]]:
        """The entries with known keys; unknown and repeated ones become problems."""
        seen: dict[str, Scalar] = {}
        for key, _ in node.entries:
            dotted = prefix + quote(key.text, limit=60)
            if key.text in seen:
                hint = f"keep one; the first stands on line {seen[key.text].line}"
                self.complain(key, dotted, "this key is given twice", hint)
            elif key.text not in known:
                self.complain(key, dotted, "unknown key", _elsewhere(key.text) or nearest(key.text, known))
            seen.setdefault(key.text, key)
        return [(key.text, value) for key, value in node.entries if seen[key.text] is key and key.text in known]

    def _read_value(self, key: str, node: Node) -> None:
        spec = next(s for s in TABLE if s.key == key)
        self._places[key] = node
        if is_null(node):
            if spec.nullable:
                self._found[key] = None
            else:
                hint = f"remove the line to get the default, {spec.default}"
                self.complain(node, key, f"expected {spec.expected}, found {describe(node)}", hint)
            return
        if not isinstance(node, Scalar):
            self.complain(node, key, f"expected {spec.expected}, found {describe(node)}", "write one plain value")
        elif spec.kind == "int":
            self._read_int(spec, node)
        else:
            self._read_text(spec, node)

    def _read_int(self, spec: Spec, node: Scalar) -> None:
        if not node.plain or plain_kind(node.text) != "int":
            hint = "write digits only"
            if not node.plain and plain_kind(node.text) == "int":
                hint = "remove the quotes"
            self.complain(node, spec.key, f"expected {spec.expected}, found {describe(node)}", hint)
            return
        # Eighteen digits are beyond every bound; int() of much more would be slow, and refused by Python itself.
        number = int(node.text) if len(node.text) <= 18 else -1
        if spec.low <= number <= spec.high:
            self._found[spec.key] = number
            return
        hint = spec.why_low if number < spec.low and len(node.text) <= 18 else ""
        self.complain(node, spec.key, f"expected {spec.expected}, found {quote(node.text, limit=60)}", hint)

    def _read_text(self, spec: Spec, node: Scalar) -> None:
        if node.plain and (plain_kind(node.text) != "str" or node.spread):
            found = "text over several lines" if node.spread else describe(node)
            choices = nearest(node.text, spec.choices) if spec.choices else ""
            hint = choices or "put quotes around it if that string is meant"
            self.complain(node, spec.key, f"expected {spec.expected}, found {found}", hint)
            return
        fault = text_fault(spec, node.text)
        if not fault:
            self._found[spec.key] = node.text
            return
        because = "" if spec.choices else f": {fault}"
        hint = nearest(node.text, spec.choices) if spec.choices else ""
        if spec.kind == "path":
            hint = "use letters, digits and . _ + @ = , - between slashes"
        self.complain(node, spec.key, f"expected {spec.expected}, found {describe(node)}{because}", hint)

    def finish(self) -> dict[str, Value]:
        """All values, defaults filled in, after the checks that look at more than one key."""
        values: dict[str, Value] = {spec.key: spec.default for spec in TABLE} | self._found
        if values["policy.file"] is not None:
            values["policy.profile"] = None
        elif values["policy.profile"] is None and "policy.file" not in self._failed:
            hint = "name a profile, or give policy.file"
            self.complain(
                self._places["policy.profile"], "policy.profile", "expected a profile, found nothing (null)", hint
            )
        if values["policy.profile"] == "seed" and "log.max_age_days" not in self._found:
            values["log.max_age_days"] = SEED_MAX_AGE_DAYS
        for key, fault, hint in place_faults(values):
            if key not in self._failed:
                self.complain(self._places.get(key), key, fault, hint)
        return values


def _elsewhere(name: str) -> str:
    """The hint for a known key in the wrong section."""
    homes = [spec.key for spec in TABLE if spec.name == name]
    return f"did you mean {homes[0]}?" if homes else ""
