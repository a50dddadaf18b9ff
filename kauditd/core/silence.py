"""Faults that leave neither a process nor a word, told by the log directories that the kubelet makes.

The kubelet checks and mounts the volumes first, then makes the pod's sandbox and with it the log directory, then pulls
the image, then starts the container (pkg/kubelet/kubelet.go SyncPod, pkg/kubelet/kuberuntime). So a hostPath whose type
does not match leaves no directory, and an image that cannot be pulled leaves an empty one (measured, v1.37.2).
"""

from dataclasses import dataclass

from kauditd.core.observed import PodEvidence
from kauditd.errors import quote

NO_DIRECTORY_S = 45.0
"""A kubelet that can mount makes the new pod's directory 6-15 s after the old process ended; the deletion of the mirror
pod may add 30 s."""

EMPTY_DIRECTORY_S = 60.0
"""The first container follows its directory within 0.2 s where the image is there; a pull is given this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Why nothing starts; ``blames_target`` is false where no manifest of the same image would do better."""

    code: str
    text: str
    remedy: str
    blames_target: bool


def explain_silence(
    before: PodEvidence | None,
    now: PodEvidence | None,
    *,
    written_unix_s: float,
    since_end_s: float,
    empty_s: float,
    image: str,
) -> Silence | None:
    """What ``now`` tells of a kubelet that is up and has started no process; None: nothing yet.

    ``before`` are the directories at the write. ``since_end_s`` counts from the end of the old process, ``empty_s``
    from the first look that found the newest directory empty.
    """
    if now is None or not now.listed:
        return None
    if empty_s >= EMPTY_DIRECTORY_S:
        return Silence(
            code="image-missing",
            text=f"the kubelet has made the new pod and started nothing in it for {empty_s:.0f} s: the image "
            f"{quote(image) or 'of the manifest'} cannot be pulled, or the pod is held back after crashes",
            remedy="crictl images shows what is there, crictl pull fetches it; journalctl -u kubelet has the reason",
            blames_target=False,
        )
    if since_end_s >= NO_DIRECTORY_S and _is_unchanged(before, now, written_unix_s):
        return Silence(
            code="hostpath-mismatch",
            text=f"the kubelet has not begun the new pod {since_end_s:.0f} s after the old one ended: a hostPath is "
            "probably not of the type that the manifest says",
            remedy="compare each hostPath with its type (File, Directory); journalctl -u kubelet names the volume",
            blames_target=True,
        )
    return None


def _is_unchanged(before: PodEvidence | None, now: PodEvidence, written_unix_s: float) -> bool:
    """Whether the directories still show the old pod only, or nothing any more.

    That counts where the old pod did have one, made before the write: else they may be elsewhere.
    """
    if before is None or before.pod_uid is None or before.attempt is None:
        return False
    if before.made_unix_s is None or before.made_unix_s >= written_unix_s:
        return False
    return now.pod_uid is None or (now.pod_uid, now.attempt) == (before.pod_uid, before.attempt)
