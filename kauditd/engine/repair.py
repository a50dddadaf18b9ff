"""The hot path: an overwritten manifest gets our lines back within milliseconds.

Whoever overwrote it has already made the kubelet restart the API server, and a write that comes before the new pod
starts is absorbed into that restart. So nothing is asked here but the operator's consent and our own limits, and no
YAML is parsed in the usual case.
"""

import logging
import re

from kauditd.core.layout import parent
from kauditd.core.model import Change, Desired, Edited, ManifestFile
from kauditd.core.plan import describe_edits
from kauditd.core.preconditions import Guards, consent_holds
from kauditd.engine.workspace import Workspace
from kauditd.engine.writing import Writer
from kauditd.errors import FileFault, LostUpdate, ManifestRefused

logger = logging.getLogger(__name__)

SETTLED_S = 0.1

_IMAGE = re.compile(rb" +image: [A-Za-z0-9][A-Za-z0-9._/:@-]*")

ABSORBED_S = 30.0
"""How long after an overwrite another write is still absorbed into the same restart (measured: about 28 s)."""


class Repairer:
    """Repairs overwrites. Only a manifest that was compliant can be overwritten; the rest is the cycle's."""

    def __init__(self, workspace: Workspace, writer: Writer) -> None:
        self._space = workspace
        self._writer = writer
        self._unverified: tuple[bytes, Desired, Edited] | None = None

    def overwritten(self, manifest: ManifestFile) -> bool:
        """Whether ``manifest`` took the place of a compliant one. Told by identity: equal bytes may be moved in."""
        return self._space.compliant is not None and manifest.id != self._space.seen

    def repair(self) -> float | None:
        """Look and repair. Seconds after which to look again, None where nothing is pending."""
        space = self._space
        manifest = space.node.read_manifest(space.path)
        desired = space.wishes.desired()
        if desired is None or manifest.content is None or not self.overwritten(manifest):
            return None
        now = space.node.now_unix_s()
        try:
            quick = space.editing.quick(manifest.content, desired)
            edited = quick if quick is not None else space.editing.edited(manifest.content, desired)
        except ManifestRefused:
            return SETTLED_S if not is_complete(manifest, now) else None
        if not edited.edits:
            space.note_compliant(manifest)
            return None
        if not is_complete(manifest, now):
            return SETTLED_S
        if consent_holds(self._guards(manifest.content), now) or self._writer.holds(now):
            self._let_go_of_old(manifest, now)
        elif self._answer(manifest, edited, desired) and quick is not None:
            space.count("quick_repairs_total")
            self._unverified = (manifest.content, desired, quick)
        return None

    def verify(self) -> None:
        """Hold the last quick repair against the full parser, now that there is time."""
        if self._unverified is None:
            return
        unverified, self._unverified = self._unverified, None
        try:
            agrees = self._space.editing.verify(*unverified)
        except ManifestRefused:
            agrees = False
        if not agrees:
            self._space.count("quick_repairs_wrong_total")
            logger.critical(
                "A quick repair of %s is not what the full edit gives: please report this", self._space.path
            )

    def _answer(self, manifest: ManifestFile, edited: Edited, desired: Desired) -> bool:
        try:
            if self._needs_are_there(desired):
                self.write(manifest, edited)
                return True
        except LostUpdate:
            return False  # somebody wrote at the same moment; their event wakes us again
        except FileFault as exc:
            self._writer.note_fault(exc)
        return False

    def write(self, manifest: ManifestFile, edited: Edited) -> Change:
        """Repair ``manifest`` as ``edited``, with a nonce where kubeadm waits. Raises ``errors.FileFault``."""
        desired = self._space.wishes.desired()
        if desired is not None and manifest.content is not None:
            edited = self._spared_from_waiting(edited, manifest.content, desired)
        summary = f"put back what an overwrite dropped ({describe_edits(edited)})"
        change = self._writer.write(
            manifest, edited.text, cause="repair", summary=summary, desired=desired, record=edited.record
        )
        self._space.count("repairs_total")
        return change

    def _guards(self, content: bytes) -> Guards:
        """With the image that the overwrite brought, which costs parsing only where some target is known to be bad."""
        space = self._space
        return space.guards(space.editing.view(content).image if space.standing.bad_targets else None)

    def _let_go_of_old(self, manifest: ManifestFile, now_unix_s: float) -> None:
        """An overwrite that could not be answered in time has restarted the API server without us.

        Another write would be a restart of its own, so it has to wait for everything that a first edit waits for.
        """
        if manifest.id is not None and now_unix_s - manifest.id.ctime_ns / 1e9 > ABSORBED_S:
            self._space.forget_compliance(cause="repair")

    def _spared_from_waiting(self, edited: Edited, content: bytes, desired: Desired) -> Edited:
        """With a nonce where the Pod would equal the one before kubeadm's rename.

        kubeadm then waits five minutes for a hash that never changes, and rolls back (measured, 4 of 4).
        """
        space = self._space
        live = space.compliant
        if live is None or not space.node.kubeadm_staging():
            return edited
        if differs_in_image(edited.text, live):
            return edited
        same = edited.text == live or space.editing.pod(edited.text) == space.editing.pod(live)
        return space.editing.with_nonce(content, desired) if same else edited

    def _needs_are_there(self, desired: Desired) -> bool:
        """Whether what the API server needs at start is in place; what is not is put there now."""
        space = self._space
        policy = space.wishes.policy
        if policy is None or desired.flag("audit-policy-file") != policy.path:
            return False
        if space.node.identify(policy.path) is None:
            space.node.publish_policy(policy.path, policy.text)
        log_directory = parent(space.wishes.settings.log.path)
        if space.node.identify(log_directory) is None:
            space.node.make_log_directory(log_directory, uid=None, gid=None)
        return True


def differs_in_image(one: bytes, other: bytes) -> bool:
    """Whether two manifests are the same but for the image of a container: the usual upgrade, told without YAML."""
    lines = (one.splitlines(), other.splitlines())
    if len(lines[0]) != len(lines[1]):
        return False
    changed = [(a, b) for a, b in zip(*lines, strict=True) if a != b]
    return bool(changed) and all(_IMAGE.fullmatch(a) and _IMAGE.fullmatch(b) for a, b in changed)


def is_complete(manifest: ManifestFile, now_unix_s: float) -> bool:
    """Whether the writer of ``manifest`` is done with it, so that replacing it cannot lose the rest.

    kubeadm ends every manifest with ``status: {}``. A file that was renamed into place has a change time after its
    modification time. Anything else (a file being written in place) must have been left alone for a moment.
    """
    if manifest.content is None or manifest.id is None:
        return False
    if manifest.content.rstrip().endswith(b"status: {}") or manifest.id.ctime_ns > manifest.id.mtime_ns:
        return True
    return abs(now_unix_s - manifest.id.mtime_ns / 1e9) >= SETTLED_S
