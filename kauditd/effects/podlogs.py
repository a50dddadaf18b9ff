"""The kubelet's log directories of the API server's pod: which containers started, which ended, and their last words.

/var/log/pods/NAMESPACE_POD_UID/CONTAINER/ATTEMPT.log (kubelet pkg/kubelet/kuberuntime/helpers.go). The kubelet deletes
the log of attempt N-1 about a second after attempt N ended, and the directories of a removed pod a minute later, so
everything may vanish between two calls. Behind cri-dockerd the log is a link into Docker's own directory.
"""

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kauditd.core.crilog import gives_up, join_lines, last_words
from kauditd.core.layout import Layout, parent
from kauditd.core.model import ApiServerProcess
from kauditd.core.observed import ContainerEnd, PodEvidence

PODS_DIR = "/var/log/pods"

_TAIL_BYTES = 64 << 10
_LONGEST_CHAIN = 8
_QUIET_S = 2.0
"""A container without a process in the table has ended where its log has been quiet for so long: one that is just
starting writes its first line within 0.1 s, and the table may be a moment older than the log."""

_STATIC_UID = re.compile(r"[0-9a-f]{32}")
_ATTEMPT = re.compile(r"(\d{1,9})\.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class _PodDirectory:
    """``changed_ns`` is the last change of the pod's directory or of its container's; ``path`` is logical."""

    uid: str
    path: str
    made_ns: int
    changed_ns: int


def running_pods(processes: Iterable[ApiServerProcess]) -> frozenset[str] | None:
    """The UIDs of the pods whose API server runs; None where one of them names no pod, so that nothing is known."""
    uids = [process.pod_uid for process in processes]
    return None if None in uids else frozenset(uid for uid in uids if uid is not None)


def read_ends(
    layout: Layout,
    *,
    namespace: str,
    pod_name_prefix: str,
    running: frozenset[str] | None,
    container: str = "kube-apiserver",
) -> PodEvidence:
    """What the directories say now. Never raises: what vanishes meanwhile is left out.

    The pod's name is ``pod_name_prefix`` or begins with it and a dash, as the kubelet appends the node's name.
    ``running`` are the UIDs of pods with a process (``running_pods``); take them before this call. An attempt has
    ended when a later one exists, when its last line gives up and its pod is not among ``running``, or when its pod
    has no process and its log has been quiet for two seconds. With ``running`` None only the first two count.
    """
    try:
        names = _list_names(layout.host(PODS_DIR))
    except OSError:
        return PodEvidence(listed=False)
    pods = _find_pods(layout, names, namespace, pod_name_prefix, container)
    newest = max(pods, key=lambda pod: (pod.changed_ns, pod.uid), default=None)
    if newest is None:
        return PodEvidence()
    directory = f"{newest.path}/{container}"
    attempts = _list_attempts(layout.host(directory))
    made_unix_s = newest.made_ns / 1e9
    if not attempts:
        return PodEvidence(pod_uid=newest.uid, made_unix_s=made_unix_s)
    attempt = max(attempts)
    line, finished = _look_at_newest(layout, f"{directory}/{attempt}.log", newest.uid, running)
    ended: ContainerEnd | None = None
    if finished:
        ended = ContainerEnd(pod_uid=newest.uid, attempt=attempt, last_line=line)
    elif attempt > 0:
        before = last_words(_read_tail(layout, f"{directory}/{attempt - 1}.log")[0])
        ended = ContainerEnd(pod_uid=newest.uid, attempt=attempt - 1, last_line=before)
    return PodEvidence(pod_uid=newest.uid, made_unix_s=made_unix_s, attempt=attempt, finished=finished, ended=ended)


def _find_pods(
    layout: Layout, names: Iterable[str], namespace: str, prefix: str, container: str
) -> Iterator[_PodDirectory]:
    """Directories of pods of this name. Another pod of a similar name has another container, and no static UID."""
    for name in names:
        # Neither a namespace nor a pod's name may hold an underscore.
        fields = name.split("_")
        if len(fields) != 3 or fields[0] != namespace or not f"{fields[1]}-".startswith(f"{prefix}-"):
            continue
        path = f"{PODS_DIR}/{name}"
        try:
            made = Path(layout.host(path)).lstat()
        except OSError:
            continue
        changed_ns = 0
        with suppress(OSError):
            changed_ns = Path(layout.host(f"{path}/{container}")).stat().st_mtime_ns
        if stat.S_ISDIR(made.st_mode) and (changed_ns or _STATIC_UID.fullmatch(fields[2])):
            yield _PodDirectory(
                uid=fields[2], path=path, made_ns=made.st_mtime_ns, changed_ns=max(made.st_mtime_ns, changed_ns)
            )


def _list_attempts(directory: str) -> list[int]:
    """The numbers of the logs in a container's directory; rotated ones (N.log.DATE, also .gz) do not count."""
    with suppress(OSError):
        return [int(found[1]) for name in _list_names(directory) if (found := _ATTEMPT.fullmatch(name))]
    return []


def _list_names(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _look_at_newest(layout: Layout, path: str, uid: str, running: frozenset[str] | None) -> tuple[str, bool]:
    """The last words of the newest attempt, and whether it has ended."""
    lines, quiet_s = _read_tail(layout, path)
    line = last_words(lines)
    if running is not None and uid in running:
        return line, False
    return line, gives_up(line) or (running is not None and quiet_s >= _QUIET_S)


def _read_tail(layout: Layout, path: str) -> tuple[tuple[str, ...], float]:
    """The lines at the end of a log, and for how long it has been quiet (0 where it cannot be read)."""
    descriptor = _open(layout, path)
    if descriptor is None:
        return (), 0.0
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return (), 0.0
        start = max(0, found.st_size - _TAIL_BYTES)
        content = os.pread(descriptor, _TAIL_BYTES, start)
        return join_lines(content.partition(b"\n")[2] if start else content), time.time() - found.st_mtime
    except OSError:
        return (), 0.0
    finally:
        os.close(descriptor)


def _open(layout: Layout, path: str) -> int | None:
    """Open a log for reading, following links as the node would: an absolute one leads below the root."""
    for _ in range(_LONGEST_CHAIN):
        host = layout.host(path)
        try:
            target = str(Path(host).readlink())
        except OSError:
            break
        path = os.path.normpath(target if target.startswith("/") else f"{parent(path)}/{target}")
    with suppress(OSError):
        return os.open(layout.host(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    return None
