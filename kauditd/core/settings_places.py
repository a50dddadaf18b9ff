"""Paths of the settings that must not meet.

The directory of the log is mounted read-write into the API server's container, and the kubelet reads every file in
the manifests directory. A path that is fine by itself can be wrong beside another.
"""

from collections.abc import Iterator, Mapping

from kauditd.core.layout import POLICY_DIR, SETTINGS_FILE, STATE_DIR, base_name, parent
from kauditd.core.settings_table import Value

_LONE_DIRECTORIES = (
    "/bin",
    "/boot",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/root",
    "/run",
    "/sbin",
    "/srv",
)
_SYSTEM_TREES = ("/dev", "/proc", "/sys", "/usr", "/etc/kubernetes/pki", "/var/lib/etcd", "/var/lib/kubelet")


def place_faults(values: Mapping[str, Value]) -> Iterator[tuple[str, str, str]]:
    """Key, what is wrong and a hint for each path that collides; at most one for each key."""
    manifest = str(values["target.manifest"])
    if base_name(manifest).startswith("."):
        fault = "the kubelet does not read files whose name begins with a dot"
        yield "target.manifest", fault, "name the file that the kubelet reads"
    policy = values["policy.file"]
    hint = "keep it in /etc/kubernetes or /etc/kauditd"
    if policy is not None and _within(parent(str(policy)), parent(manifest)):
        yield "policy.file", "the kubelet reads every file in the manifests directory", hint
    elif policy is not None and _within(parent(str(policy)), POLICY_DIR):
        yield "policy.file", f"{POLICY_DIR} is for published policies, which are pruned", hint
    directory = parent(str(values["log.path"]))
    owner = _owner(directory, values)
    if owner:
        hint = "give the log a directory of its own, for example /var/log/kubernetes/audit"
        yield "log.path", f"its directory {directory} is mounted read-write, and it is, holds or lies in {owner}", hint


def _owner(directory: str, values: Mapping[str, Value]) -> str:
    """What would be mounted together with the log in ``directory``, or ""."""
    busy = {
        parent(str(values["target.manifest"])): "the manifests directory",
        POLICY_DIR: "the directory of published policies",
        STATE_DIR: "the state of kauditd",
        parent(SETTINGS_FILE): "the settings of kauditd",
        parent(str(values["api.socket"])): "the directory of the API socket",
        **dict.fromkeys(_SYSTEM_TREES, "a directory of the system"),
    }
    met = (what for path, what in busy.items() if _within(directory, path) or _within(path, directory))
    return next(met, "a directory of the system" if directory in _LONE_DIRECTORIES else "")


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
