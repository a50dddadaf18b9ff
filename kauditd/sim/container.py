"""One container's view of the node: which path inside it is which file here, and what the kubelet tells it.

Written by the simulated kubelet as one JSON file per container, read by the stand-in API server. A path that no mount
covers lies in the container's own layer, a scratch directory that does not outlive it.
"""

import json
import os.path
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ENVIRONMENT_KEY = "KAUDITD_SIM_CONTAINER"


@dataclass(frozen=True, slots=True, kw_only=True)
class BindMount:
    """A host path, as this process finds it, bound into the container."""

    mount_path: str
    host_path: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user behind a bearer token."""

    username: str
    groups: tuple[str, ...]
    uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Everything that a container is started with besides its command line.

    ``started_monotonic_s`` is the moment of the start on CLOCK_MONOTONIC, which all processes of the machine share.
    ``faults_dir`` holds files whose presence is a fault, for example ``etcd-down``.
    """

    speed: float
    started_monotonic_s: float
    version: str
    address: str
    scratch: str
    faults_dir: str
    tokens: Mapping[str, Identity]
    mounts: tuple[BindMount, ...]

    def locate(self, path: str) -> tuple[str, bool]:
        """The file behind a path inside the container, and whether it is read-only there."""
        normal = os.path.normpath(path)
        best: BindMount | None = None
        for mount in self.mounts:
            inside = normal == mount.mount_path or normal.startswith(mount.mount_path.rstrip("/") + "/")
            if inside and (best is None or len(mount.mount_path) > len(best.mount_path)):
                best = mount
        if best is None:
            return self.scratch + normal, False
        return best.host_path + normal[len(best.mount_path.rstrip("/")) :], best.read_only

    def save(self, path: Path) -> None:
        """Write the view for the process that will run in the container."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def load_container(path: Path) -> Container:
    """The inverse of ``Container.save``."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["mounts"] = tuple(BindMount(**mount) for mount in fields["mounts"])
    fields["tokens"] = {
        token: Identity(username=user["username"], groups=tuple(user["groups"]), uid=user["uid"])
        for token, user in fields["tokens"].items()
    }
    return Container(**fields)
