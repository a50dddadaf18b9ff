"""Where things are: logical paths as settings and manifests name them, and the same paths under ``--root``.

A logical path is what stands in a manifest or a settings file ("/etc/kubernetes/..."); a host path is where this
process finds it. They differ only under ``--root DIR``, where every logical path lies below DIR.
"""

from dataclasses import dataclass

POLICY_DIR = "/etc/kubernetes/audit"
STATE_DIR = "/var/lib/kauditd"
SETTINGS_FILE = "/etc/kauditd/kauditd.yaml"
KUBEADM_TMP_DIR = "/etc/kubernetes/tmp"
LOCK_FILE = "/run/kauditd/lock"

_BEFORE_PATH = ("=", ",", ":", "://")
"""What may stand before a path inside a word; any other character makes the root a part of a longer path."""


def parent(path: str) -> str:
    """The directory part of an absolute path: ``parent("/a/b") == "/a"``, ``parent("/a") == "/"``."""
    return path.rpartition("/")[0] or "/"


def base_name(path: str) -> str:
    """The part behind the last slash."""
    return path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Layout:
    """Maps logical paths to host paths. ``root`` is "" for the real node, else an absolute directory."""

    root: str = ""

    def host(self, path: str) -> str:
        """The host path of an absolute logical path."""
        return f"{self.root}{path}" if self.root else path

    def logical(self, path: str) -> str:
        """The inverse of ``host``; a path outside the root is returned as it is."""
        if self.root and (path == self.root or path.startswith(self.root + "/")):
            return path[len(self.root) :] or "/"
        return path

    def inside(self, text: str) -> bool:
        """Whether a command-line word names a path inside the root (always true without a root).

        The path may be the word itself, a flag's value, an item of a list or the path of a URL ("unix:///...").
        """
        if not self.root:
            return True
        *before, _ = f"{text}/".split(f"{self.root}/")
        return any(b == "" or b.endswith(_BEFORE_PATH) for b in before)
