"""Rotation as natefinch/lumberjack v2.2.1 does it: names, counters, order of file operations, clean-up."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.sim.lumberjack import MIB, EventTooLarge, RotatingFile, RotationLimits, backup_name, backup_time, expired

START = datetime(2026, 7, 23, 18, 30, 0, 123_456, tzinfo=UTC)
CHUNK = b"x" * (MIB // 2 - 1) + b"\n"


class Clock:
    """Every look is a second later."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def backups(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


def test_backup_name_is_the_time_in_utc_with_three_digits() -> None:
    assert backup_name("audit.log", START) == "audit-2026-07-23T18-30-00.123.log"
    assert backup_name("audit", START) == "audit-2026-07-23T18-30-00.123"


@given(moment=st.datetimes(timezones=st.just(UTC)))
def test_backup_time_reads_every_name_back(moment: datetime) -> None:
    when = moment.replace(year=max(moment.year, 1000), microsecond=moment.microsecond // 1000 * 1000)
    assert backup_time("audit.log", backup_name("audit.log", when)) == when


@pytest.mark.parametrize(
    "name",
    [
        "audit.log",
        "audit-2026-07-23T18-30-00.123.log.sealed",
        "audit-2026-07-23T18-30-00.log",
        "audit-2026-13-23T18-30-00.123.log",
        "other-2026-07-23T18-30-00.123.log",
        "audit-.log",
    ],
)
def test_foreign_names_are_no_backups(name: str) -> None:
    assert backup_time("audit.log", name) is None


def test_file_is_rotated_when_the_next_line_would_pass_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = RotatingFile(str(path), RotationLimits(max_size_mib=1), clock=Clock())
    for _ in range(3):
        file.write(CHUNK)
    file.close()
    assert [len((tmp_path / name).read_bytes()) for name in backups(path)] == [MIB]
    assert path.stat().st_size == len(CHUNK)


def test_line_longer_than_the_limit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = RotatingFile(str(path), RotationLimits(max_size_mib=1), clock=Clock())
    with pytest.raises(EventTooLarge):
        file.write(b"x" * (MIB + 1))
    assert not path.exists()


def test_zero_size_means_a_hundred_mebibytes() -> None:
    assert RotationLimits().max_size_bytes == 100 * MIB


def test_full_file_of_an_earlier_process_is_rotated_before_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"o" * (MIB - 2))
    path.chmod(0o640)
    file = RotatingFile(str(path), RotationLimits(max_size_mib=1), clock=Clock())
    file.write(b"new\n")
    file.close()
    assert path.read_bytes() == b"new\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(backups(path)) == 1


def test_first_descriptor_appends_and_the_one_after_a_rotation_does_not(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"old\n")
    file = RotatingFile(str(path), RotationLimits(max_size_mib=1), clock=Clock())
    file.write(b"a\n")
    os.truncate(path, 0)
    file.write(b"b\n")
    assert path.read_bytes() == b"b\n"
    file.write(b"x" * (MIB - 10) + b"\n")
    file.write(b"y" * 100 + b"\n")
    os.truncate(path, 0)
    file.write(b"c\n")
    file.close()
    assert path.read_bytes() == b"\0" * 101 + b"c\n"


def test_renamed_file_is_written_on_until_the_next_rotation(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = RotatingFile(str(path), RotationLimits(max_size_mib=1), clock=Clock())
    file.write(b"a\n")
    path.rename(tmp_path / "moved")
    file.write(b"b\n")
    file.close()
    assert (tmp_path / "moved").read_bytes() == b"a\nb\n"


def test_oldest_backups_go_when_there_are_too_many(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    file = RotatingFile(str(path), RotationLimits(max_size_mib=1, max_backups=2), clock=Clock())
    seen: set[str] = set()
    for _ in range(11):
        file.write(CHUNK)
        seen.update(backups(path))
    file.close()
    assert backups(path) == sorted(seen)[-2:]


def test_age_counts_by_the_time_in_the_name_and_a_gz_is_one_with_its_raw_file() -> None:
    new, old = backup_name("audit.log", START), backup_name("audit.log", START - timedelta(days=3))
    entries = [new, f"{new}.gz", old, "audit.log", f"{old}.sealed"]
    limits = RotationLimits(max_age_days=2, max_backups=1)
    assert expired(entries, name="audit.log", limits=limits, now=START) == [old]
    assert expired(entries, name="audit.log", limits=RotationLimits(max_age_days=2), now=START) == [old]
    assert expired(entries, name="audit.log", limits=RotationLimits(max_age_days=4), now=START) == []
