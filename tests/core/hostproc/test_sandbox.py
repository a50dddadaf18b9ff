"""Services that may not write where the log goes."""

import pytest

from kauditd.core.hostproc import edit, with_drop_in
from tests.core.hostproc.units import DESIRED, PROGRAM, command

LINE = b"\nReadWritePaths=-/var/log/kubernetes/audit\n"


@pytest.mark.parametrize(
    ("lines", "opened"),
    [
        ([], False),
        (["ProtectSystem=strict"], True),
        (["ProtectSystem=full"], False),
        (["ProtectSystem=yes"], False),
        (["ProtectSystem=strict", "ProtectSystem="], False),
        (["DynamicUser=yes"], True),
        (["ReadOnlyPaths=/var/log"], True),
        (["ReadOnlyPaths=/"], True),
        (["ReadOnlyPaths=/var/lib +-/opt/"], False),
        (["ProtectSystem=strict", "ReadWritePaths=-/var/log"], False),
        (["ProtectSystem=strict", "ReadWritePaths=/var/log", "ReadOnlyPaths=/var/log/kubernetes"], True),
        (["InaccessiblePaths=/srv", "TemporaryFileSystem=/opt:ro", "RootDirectory=/"], False),
    ],
)
def test_the_log_directory_is_opened_where_it_is_closed(lines: list[str], opened: bool) -> None:
    unit = command(PROGRAM, *lines)
    done = edit(unit, DESIRED)

    assert (LINE in done.text) is opened
    assert ("mount-missing" in {item.code for item in done.edits}) is opened
    assert edit(with_drop_in(unit, done.text), DESIRED).edits == ()


def test_a_closed_directory_is_enough_for_a_drop_in() -> None:
    words = " ".join(str(flag) for flag in DESIRED.flags)
    done = edit(command(f"{PROGRAM} {words}", "ProtectSystem=strict"), DESIRED)

    assert [item.code for item in done.edits] == ["mount-missing"]
    assert done.text.endswith(LINE)
