"""The kubelet's file source: a directory becomes a set of pods, by listing it and by single file events.

Upstream: kubelet ``pkg/kubelet/config/file.go`` and ``file_linux.go``. Its odd corners are its point here: a bad file
keeps its old pod until the next listing and loses it then; two files with one pod name fight, the last name wins every
listing and the last event wins in between; a deleted copy takes the shared pod away until the next listing.
"""

import stat
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from kauditd.sim.pod import NotAPod, Pod, decode_pod

MAX_FILE_BYTES = 10 * 1024 * 1024


class FileEvent(Enum):
    """What the source makes of an fsnotify event: create, write and chmod re-read; remove and rename away delete."""

    CHANGED = auto()
    GONE = auto()


@dataclass(slots=True, kw_only=True)
class FileSource:
    """The store of one directory. ``faults`` collects what could not be processed since the last call, by file name."""

    directory: str
    logical_directory: str
    node_name: str
    pods: dict[str, Pod] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    _key_by_file: dict[str, str] = field(default_factory=dict)
    _decoded: dict[str, tuple[bytes, Pod | str]] = field(default_factory=dict)

    def relist(self) -> None:
        """Read every visible file in order of name and replace the store. A missing directory is an empty one."""
        try:
            names = sorted(path.name for path in Path(self.directory).iterdir() if not path.name.startswith("."))
        except OSError:
            names = []
        found: dict[str, Pod] = {}
        for name in names:
            pod = self._read(name)
            if pod is not None:
                found[pod.key] = pod
        self.pods = found
        self._decoded = {name: entry for name, entry in self._decoded.items() if name in names}

    def apply(self, name: str, event: FileEvent) -> None:
        """One event: re-read just that file, or drop the pod that this file name is known for."""
        if name.startswith("."):
            return
        match event:
            case FileEvent.CHANGED:
                pod = self._read(name)
                if pod is not None:
                    self.pods[pod.key] = pod
            case FileEvent.GONE:
                key = self._key_by_file.get(name)
                if key is not None and self.pods.pop(key, None) is not None:
                    del self._key_by_file[name]

    def _read(self, name: str) -> Pod | None:
        try:
            pod = self._decode(name, _content(Path(self.directory, name)))
        except (OSError, NotAPod) as exc:
            self.faults[name] = str(exc)
            return None
        self._key_by_file[name] = pod.key
        return pod

    def _decode(self, name: str, content: bytes) -> Pod:
        """Decode, remembering the last content per file: a listing every few milliseconds must cost no parser run."""
        known = self._decoded.get(name)
        if known is None or known[0] != content:
            outcome: Pod | str
            try:
                outcome = decode_pod(content, path=f"{self.logical_directory}/{name}", node_name=self.node_name)
            except NotAPod as exc:
                outcome = exc.message
            known = (content, outcome)
            self._decoded[name] = known
        if isinstance(known[1], str):
            raise NotAPod(known[1])
        return known[1]


def _content(path: Path) -> bytes:
    """The bytes of a regular file, through a symlink too; directories and huge files are refused."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotAPod(f"{path}: not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise NotAPod(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return path.read_bytes()
