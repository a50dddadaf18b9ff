"""What a box runs: the unit editor and the service manager put together, one JSON answer per call.

driver.py start|edit|strip|look UNIT     a stand-in API server
driver.py words|compose UNIT...          any units: their arguments as read; our drop-in written, nothing started
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kauditd.core.hostproc import UnitSource, drop_in_is_stale, drop_in_of, drop_in_path, edit
from kauditd.core.hostproc.document import edit_document, strip_document
from kauditd.core.hostproc.service import service_of
from kauditd.core.layout import Layout, base_name, parent
from kauditd.core.model import LOG_VOLUME, Desired, Digest, Flag, ManifestFile, Mount
from kauditd.effects.files import ensure_directory, remove_files, write_durably
from kauditd.effects.units import Hands, Manager, read_as_manifest, read_unit, settle, swap
from kauditd.errors import ManifestRefused

LOG_DIRECTORY = "/var/log/kubernetes/audit"
DESIRED = Desired(
    flags=(
        Flag(name="audit-log-maxage", value="30"),
        Flag(name="audit-log-path", value=f"{LOG_DIRECTORY}/audit.log"),
        Flag(name="audit-policy-file", value="/etc/kubernetes/audit/policy-aaaaaaaaaaaa.yaml"),
    ),
    mounts=(Mount(name=LOG_VOLUME, host_path=LOG_DIRECTORY, mount_path=LOG_DIRECTORY, read_only=False),),
)
START_TIMEOUT_S = 20.0
DEATHS = 2


def look(unit: str) -> dict[str, object]:
    """The unit from both sides: its files, the manager, the process, and whether that answers."""
    state, source = Manager().state(unit), _source(unit)
    drop_in = drop_in_of(source)
    return {
        "fragment": source.fragment.path if source.fragment else None,
        "drop_ins": [file.path for file in source.drop_ins],
        "manager_fragment": state.fragment_path,
        "manager_drop_ins": list(state.drop_in_paths),
        "needs_reload": state.needs_reload,
        "active": state.active_state,
        "pid": state.main_pid,
        "arguments": _arguments(state.main_pid),
        "expected": [piece.text for piece in service_of(source).pieces],
        "stale": drop_in is not None and drop_in_is_stale(source, drop_in),
        "codes": [item.code for item in edit(source, DESIRED).edits],
        "livez": _livez() if state.main_pid else None,
    }


def apply(unit: str, document: bytes, found: ManifestFile) -> None:
    """Bring the unit to the state of ``document``, and wait until it serves."""
    began, before = time.time(), Manager().state(unit).main_pid
    hands = Hands(write=put, remove=lambda path: remove_files(parent(path), [base_name(path)]))
    swap(unit, document, expected=found.digest or Digest(""), layout=Layout(), hands=hands, manager=Manager())
    await_start(unit, before, began)


def await_start(unit: str, before: int, began_unix_s: float) -> None:
    """Wait until a process other than ``before`` answers; ends the driver with the unit's last words if it does not."""
    manager = Manager()
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        state = manager.state(unit)
        if state.main_pid not in {0, before} and state.active_state == "active" and _livez() == 200:
            return
        if state.restarts >= DEATHS or state.active_state == "failed":
            break
        time.sleep(0.1)
    raise SystemExit("\n".join(["the unit did not come up", *manager.last_lines(unit, since_unix_s=began_unix_s)]))


def words(units: Sequence[str]) -> dict[str, list[str] | str]:
    """The arguments of each unit as the reader has them, or the code of its refusal."""
    found: dict[str, list[str] | str] = {}
    for unit in units:
        try:
            found[unit] = [piece.text for piece in service_of(read_unit(unit, layout=Layout())).pieces]
        except ManifestRefused as refused:
            found[unit] = refused.code
    return found


def compose(units: Sequence[str]) -> list[str]:
    """Write our drop-in for each unit that can be edited, and name those."""
    written = []
    for unit in units:
        with suppress(ManifestRefused):
            put(drop_in_path(unit), edit(read_unit(unit, layout=Layout()), DESIRED).text)
            written.append(unit)
    return written


def put(path: str, text: bytes) -> None:
    """Write our drop-in."""
    ensure_directory(parent(path), mode=0o755)
    write_durably(path, text, mode=0o644)


def main(verb: str, *units: str) -> object:
    """One verb, one answer."""
    match verb:
        case "words":
            return words(units)
        case "compose":
            return compose(units)
        case _:
            (unit,) = units
    found = read_as_manifest(unit, layout=Layout())
    document = found.content or b""
    match verb:
        case "start":
            settle(unit, Manager())
            await_start(unit, 0, 0.0)
        case "edit":
            done = edit_document(document, DESIRED)
            if done.edits:
                apply(unit, done.text, found)
        case "strip":
            apply(unit, strip_document(document), found)
    return look(unit)


def _source(unit: str) -> UnitSource:
    return read_unit(unit, layout=Layout(), load_state=Manager().state(unit).load_state)


def _arguments(pid: int) -> list[str]:
    """The arguments of a process, without its program."""
    if not pid:
        return []
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:-1]
    return [os.fsdecode(word) for word in words]


def _livez() -> int | None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen("https://127.0.0.1:6443/livez", context=context, timeout=5) as answer:
            return int(answer.status)
    except (urllib.error.URLError, OSError):
        return None


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
