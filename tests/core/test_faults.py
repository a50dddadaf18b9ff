"""System errors in words that an operator can act on."""

import errno
import os

import pytest

from kauditd.core import faults
from kauditd.errors import FileFault


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "cause", "hint"),
    [
        (errno.ENOSPC, "no space is left on the file system (ENOSPC)", "df -h"),
        (errno.EIO, "the disk reports an input/output error (EIO)", "dmesg"),
        (errno.EROFS, "it is read-only here (EROFS)", "restart kauditd"),
        (errno.EPERM, "the operation is not permitted (EPERM)", "chattr -i"),
        (errno.EXDEV, "the two names are on different file systems (EXDEV)", "mount the directory"),
        (errno.EBUSY, "it is in use as a mount point (EBUSY)", "mount its directory"),
        (errno.EDQUOT, "the disk quota is used up (EDQUOT)", "quota"),
    ],
)
def test_a_fault_names_cause_number_and_way_out(number: int, cause: str, hint: str) -> None:
    fault = faults.file_fault(error(number), verb="replace", path="/a/b")
    assert fault.message == f"cannot replace /a/b: {cause}"
    assert fault.errno_name == errno.errorcode[number]
    assert fault.path == "/a/b"
    assert hint in fault.hint
    assert fault.kind == "file-fault"


def test_an_error_without_words_of_ours_keeps_the_systems() -> None:
    fault = faults.file_fault(error(errno.EMLINK), verb="read", path="/a")
    assert fault.message == "cannot read /a: Too many links (EMLINK)"
    assert fault.hint == ""


def test_an_error_without_a_number_keeps_its_text() -> None:
    fault = faults.file_fault(OSError("odd"), verb="read", path="/a")
    assert (fault.message, fault.errno_name) == ("cannot read /a: odd", "")


def test_an_error_that_says_nothing_is_unknown() -> None:
    assert faults.explain(OSError()) == ("unknown error", "")


def test_a_number_without_a_name_is_shown_as_it_is() -> None:
    assert faults.errno_name(99_999) == "99999"


def test_a_fault_after_the_rename_says_that_the_new_file_is_in_place() -> None:
    fault = faults.renamed_fault(error(errno.EIO), path="/a/b")
    assert fault.renamed
    assert "it is in place" in fault.message
    assert fault.errno_name == "EIO"


def test_inside_a_translation_a_system_error_becomes_ours() -> None:
    with pytest.raises(FileFault, match="cannot read /a: it does not exist") as raised, faults.translated("read", "/a"):
        raise error(errno.ENOENT)
    assert isinstance(raised.value.__cause__, OSError)


def test_inside_a_translation_nothing_happens_without_an_error() -> None:
    with faults.translated("read", "/a"):
        pass


def test_foreign_names_are_made_fit_for_one_line() -> None:
    assert "\n" not in faults.file_fault(error(errno.EIO), verb="read", path="/a\nb").message
