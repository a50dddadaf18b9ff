"""What is asked for: settings and policy, read again whenever they change, the last good ones kept.

A broken file never becomes a default. The last good settings text is remembered in the state, so that a daemon
restarted beside a broken file still knows what was asked; without any, nothing is written at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kauditd.core.desired import desired_state
from kauditd.core.layout import POLICY_DIR, base_name
from kauditd.core.model import Desired, Digest, Reason, Severity
from kauditd.core.policy import Policy, PublishedPolicy, body_of, parse_policy, publish
from kauditd.core.settings import Settings, flatten, parse_settings
from kauditd.engine.editing import digest_of
from kauditd.engine.ports import Node
from kauditd.engine.snapshot import PolicyStatus, SettingsStatus
from kauditd.errors import BadFile, FileFault

_SETTINGS_LIMIT_BYTES = 1 << 16
_POLICY_LIMIT_BYTES = 1 << 20
_SURROGATES = "surrogateescape"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInForce:
    """The policy to be used: its published bytes and the logical path that the flag names."""

    source: str
    path: str
    text: bytes
    digest: Digest
    parsed: Policy

    @property
    def rule_count(self) -> int:
        """How many rules it has."""
        return len(self.parsed.rules)


class Wishes:
    """Settings, policy and the desired state that follows from them. Owned by the engine's worker thread."""

    def __init__(self, node: Node, settings_file: str) -> None:
        self._node = node
        self.file = settings_file
        self._settings_text: bytes | None = None
        self._policy_key: tuple[bytes, str, str] | None = None
        self._loaded_unix_s = 0.0
        self.settings: Settings = parse_settings(b"", file=settings_file)
        self.known = False
        self.policy: PolicyInForce | None = None
        self.settings_problems: tuple[str, ...] = ()
        self.policy_problems: tuple[str, ...] = ()

    def recall(self, state: Mapping[str, object]) -> None:
        """Take the last good settings and policy from the state of an earlier run."""
        text = state.get("settings_text")
        if isinstance(text, str):
            try:
                self.settings = parse_settings(text.encode("utf-8", _SURROGATES), file=self.file)
            except BadFile:
                return  # written by another version; the file itself decides
            self._settings_text, self.known = text.encode("utf-8", _SURROGATES), True
        self._recall_policy(state.get("policy_path"), state.get("policy_source"))

    def _recall_policy(self, path: object, source: object) -> None:
        if not isinstance(path, str) or not isinstance(source, str):
            return
        try:
            text = self._node.read_file(path, limit_bytes=_POLICY_LIMIT_BYTES)
            if text is None or f"policy-{digest_of(text)[:12]}.yaml" != base_name(path):
                return
            parsed = parse_policy(text, file=path, version="v1.999")
        except (BadFile, FileFault):
            return
        self.policy = PolicyInForce(source=source, path=path, text=text, digest=digest_of(text), parsed=parsed)

    def remember(self) -> dict[str, object]:
        """What ``recall`` needs, for the state."""
        kept: dict[str, object] = {}
        if self._settings_text is not None and self.known:
            kept["settings_text"] = self._settings_text.decode("utf-8", _SURROGATES)
        if self.policy is not None:
            kept["policy_path"] = self.policy.path
            kept["policy_source"] = self.policy.source
        return kept

    def load_settings(self) -> bool:
        """Read the settings file again; true where other settings are in force now."""
        try:
            text = self._node.read_file(self.file, limit_bytes=_SETTINGS_LIMIT_BYTES)
            if text is None and self._settings_text:
                # An editor moves the old file away before it writes the new one; defaults in between could be harmful.
                self.settings_problems = (f"{self.file}: it is gone; an empty file asks for the defaults",)
                return False
            read = parse_settings(text or b"", file=self.file)
        except BadFile as exc:
            self.settings_problems = tuple(str(p) for p in exc.problems) or (exc.message,)
            return False
        except FileFault as exc:
            self.settings_problems = (exc.message,)
            return False
        changed = not self.known or read != self.settings
        self.settings, self.known, self.settings_problems = read, True, ()
        if changed or self._settings_text != (text or b""):
            self._settings_text = text or b""
            self._loaded_unix_s = self._node.now_unix_s()
        return changed

    def load_policy(self, *, version: str, named_path: str | None) -> bool:
        """Read the policy source again; true where another policy is in force now.

        ``version`` is the API server's ("" if not known). ``named_path`` is the published policy that the live
        manifest names: where its content is the same policy it stays in use, so that a moved source restarts nothing.
        """
        if not self.known:
            return False
        source = self.policy_source
        try:
            text = self._read_source()
            key = (text, source, version)
            if key == self._policy_key and self.policy is not None and not self.policy_problems:
                return False
            parsed = parse_policy(text, file=source, version=version)
            published = publish(parsed, source=source)
        except BadFile as exc:
            self.policy_problems = tuple(str(p) for p in exc.problems) or (exc.message,)
            return False
        except FileFault as exc:
            self.policy_problems = (exc.message,)
            return False
        self.policy_problems, self._policy_key = (), key
        chosen = self._choose(published, parsed, source, named_path)
        changed = chosen != self.policy
        self.policy = chosen
        return changed

    @property
    def policy_source(self) -> str:
        """Where the policy comes from: a logical path, or ``profile NAME``."""
        policy = self.settings.policy
        return policy.file if policy.file is not None else f"profile {policy.profile}"

    def _read_source(self) -> bytes:
        policy = self.settings.policy
        if policy.file is None:
            return self._node.profile(policy.profile or "default")
        text = self._node.read_file(policy.file, limit_bytes=_POLICY_LIMIT_BYTES)
        if text is None:
            raise FileFault(f"cannot read policy source {policy.file}: no such file", path=policy.file)
        return text

    def _choose(self, published: PublishedPolicy, parsed: Policy, source: str, named_path: str | None) -> PolicyInForce:
        path, text = f"{POLICY_DIR}/{published.file_name}", published.text
        if named_path is not None and named_path.startswith(f"{POLICY_DIR}/policy-") and named_path != path:
            try:
                named = self._node.read_file(named_path, limit_bytes=_POLICY_LIMIT_BYTES)
            except FileFault:
                named = None
            intact = named is not None and f"policy-{digest_of(named)[:12]}.yaml" == base_name(named_path)
            if named is not None and intact and body_of(named) == body_of(text):
                path, text = named_path, named
        return PolicyInForce(source=source, path=path, text=text, digest=digest_of(text), parsed=parsed)

    def desired(self) -> Desired | None:
        """The desired state, or None where there never were usable settings or a usable policy."""
        if not self.known or self.policy is None:
            return None
        return desired_state(self.settings, policy_path=self.policy.path)

    def troubles(self) -> list[Reason]:
        """What is wrong with the files people wrote, as reasons."""
        kept = "the last good ones stay in force" if self.known else "nothing is written until they can be used"
        found = [
            Reason(
                code="settings-invalid",
                severity=Severity.WARNING if self.known else Severity.CRITICAL,
                text=f"the settings cannot be used: {problem}",
                hint=f"mend {self.file}; {kept}",
            )
            for problem in self.settings_problems
        ]
        kept = "the published policy stays in force" if self.policy else "there is no earlier policy to fall back on"
        found += [
            Reason(
                code="policy-invalid",
                severity=Severity.WARNING if self.policy else Severity.CRITICAL,
                text=f"the policy cannot be used: {problem}",
                hint=f"mend the source; {kept}",
            )
            for problem in self.policy_problems
        ]
        return found

    def settings_status(self) -> SettingsStatus:
        """For the snapshot."""
        return SettingsStatus(
            path=self.file,
            loaded_unix_s=self._loaded_unix_s,
            values=flatten(self.settings) if self.known else {},
            problems=self.settings_problems,
        )

    def policy_status(self) -> PolicyStatus:
        """For the snapshot."""
        policy = self.policy
        return PolicyStatus(
            source=self.policy_source,
            digest=None if policy is None else policy.digest,
            path="" if policy is None else policy.path,
            text="" if policy is None else policy.text.decode(),
            rule_count=0 if policy is None else policy.rule_count,
            problems=self.policy_problems,
        )
