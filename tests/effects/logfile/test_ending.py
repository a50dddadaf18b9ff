"""How far a log reaches: the newest event of whole lines, whatever its order and wherever the rotation was."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kauditd.effects.logfile import last_event_unix_s

NOON = datetime(2026, 7, 23, 12, 0, 0, tzinfo=UTC).timestamp()


def line(offset_s: float, *, padding: int = 0) -> bytes:
    stamp = datetime.fromtimestamp(NOON + offset_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f'{{"kind":"Event","pad":"{"x" * padding}","stageTimestamp":"{stamp}"}}\n'.encode()


def test_newest_event_counts_and_not_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(line(1) + line(9) + line(5))

    assert last_event_unix_s(str(log)) == pytest.approx(NOON + 9)


def test_torn_last_line_does_not_count(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(line(1) + line(9)[:-1])

    assert last_event_unix_s(str(log)) == pytest.approx(NOON + 1)


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(line(99) + b"".join(line(n, padding=1000) for n in range(400)))

    assert last_event_unix_s(str(log)) == pytest.approx(NOON + 399)


def test_rotation_at_the_end_leaves_the_live_file_empty(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.touch()
    (tmp_path / "audit-2026-07-23T11-00-00.000.log").write_bytes(line(2))
    (tmp_path / "audit-2026-07-23T12-00-00.000.log").write_bytes(line(7))

    assert last_event_unix_s(str(log)) == pytest.approx(NOON + 7)


@pytest.mark.parametrize("content", [b"", b"no event\n", b'{"stageTimestamp":"2026-99-99T00:00:00.000000Z"}\n'])
def test_log_without_an_event_tells_nothing(tmp_path: Path, content: bytes) -> None:
    log = tmp_path / "audit.log"
    log.write_bytes(content)

    assert last_event_unix_s(str(log)) is None


def test_missing_log_tells_nothing(tmp_path: Path) -> None:
    assert last_event_unix_s(str(tmp_path / "audit.log")) is None
