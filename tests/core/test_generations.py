"""Names of rotated files, as lumberjack gives them and as others do not."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.generations import FileKey, Generation, Retention, list_generations, parse_generation, retention_of
from kauditd.sim.lumberjack import backup_name
from tests.core.builders import process

# From a log directory that kube-apiserver v1.37.2 wrote with --audit-log-maxsize=1.
RECORDED = (
    "audit-2026-11-23T18-33-29.659.log",
    "audit-2026-11-23T18-33-38.464.log",
    "audit-2026-11-23T18-34-20.920.log",
)


def test_recorded_names_are_read_and_ordered() -> None:
    found = list_generations("audit.log", [*reversed(RECORDED), "audit.log"])

    assert tuple(g.name for g in found) == RECORDED
    assert found[0].rotated_unix_s == datetime(2026, 11, 23, 18, 33, 29, 659000, tzinfo=UTC).timestamp()
    assert not any(g.compressed for g in found)


@pytest.mark.parametrize(
    "name",
    [
        "audit.log",
        "audit.log.1",
        "audit-.log",
        "audit-20260101.log",
        "audit-2026-11-23T18-33-29.659",
        "audit-2026-11-23T18-33-29.659.log.sealed",
        "audit-2026-11-23T18-33-29.659.log.gz.gz",
        "audit-2026-11-23T18-33-29.65.log",
        "audit-2026-11-23T18-33-29.6590.log",
        "audit-2026-11-23T18-33-29.log",
        "audit-2026-13-23T18-33-29.659.log",
        "audit-2026-02-30T18-33-29.659.log",
        "audit-2026-11-23T24-33-29.659.log",
        "audit-2026-11-23T18-33-61.659.log",
        "audit-2026-11-23 18-33-29.659.log",
        "audit-٢٠٢٦-11-23T18-33-29.659.log",
        "audit-2026-11-23T18-33-29.659.log\n",
        "Audit-2026-11-23T18-33-29.659.log",
        "other-2026-11-23T18-33-29.659.log",
        ".audit-2026-11-23T18-33-29.659.log",
        "audit-2026-11-23T18-33-29.659.json",
        "audit-x-2026-11-23T18-33-29.659.log",
    ],
)
def test_foreign_names_are_no_generations(name: str) -> None:
    assert parse_generation("audit.log", name) is None


def test_the_extension_begins_at_the_last_dot_as_in_go() -> None:
    name = "kube.audit-2026-11-23T18-33-29.659.json"

    assert parse_generation("kube.audit.json", name) is not None
    assert parse_generation("audit", "audit-2026-11-23T18-33-29.659") is not None
    assert parse_generation(".audit", "-2026-11-23T18-33-29.659.audit") is not None
    assert parse_generation("kube.json", name) is None


def test_a_compressed_file_counts_once_its_original_is_gone() -> None:
    """The API server writes the compressed file in place and unlinks the original when it is whole."""
    name = RECORDED[0]

    assert list_generations("audit.log", [name, f"{name}.gz"])[0] == parse_generation("audit.log", name)
    assert len(list_generations("audit.log", [name, f"{name}.gz"])) == 1
    assert list_generations("audit.log", [f"{name}.gz"])[0].compressed


@given(
    st.integers(86_400_000_000, 7_258_118_400_000_000),
    st.sampled_from(["audit.log", "audit", "a-b.log", "a.b.c", "-.log", "audit-2026-11-23T18-33-29.659.log"]),
)
def test_whatever_lumberjack_names_is_read_back(unix_us: int, log_name: str) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=unix_us)
    name = backup_name(log_name, moment)
    found = parse_generation(log_name, name)

    assert found is not None
    assert found.name == name
    assert 0 <= moment.timestamp() - found.rotated_unix_s < 0.001001


@given(st.text(max_size=60))
def test_no_name_makes_it_raise(name: str) -> None:
    assert isinstance(parse_generation("audit.log", name), Generation | None)


@pytest.mark.parametrize(
    ("retention", "kept", "age_s", "deleted"),
    [
        (Retention(), 1000, 1e9, False),
        (Retention(max_backups=10), 9, 1e9, False),
        (Retention(max_backups=10), 10, 0.0, True),
        (Retention(max_age_days=1), 1000, 86399.0, False),
        (Retention(max_age_days=1), 0, 86400.0, True),
        (Retention(max_backups=10, max_age_days=30), 10, 0.0, True),
        (Retention(max_backups=10, max_age_days=30), 0, 30 * 86400.0, True),
    ],
)
def test_what_retention_may_have_deleted(retention: Retention, kept: int, age_s: float, deleted: bool) -> None:
    assert retention.may_have_deleted(kept, age_s) is deleted


def test_a_file_is_the_same_however_long_it_has_grown() -> None:
    key = FileKey(device=1, inode=2, size_bytes=3)

    assert key.same_file(FileKey(device=1, inode=2, size_bytes=4))
    assert not key.same_file(FileKey(device=2, inode=2, size_bytes=3))
    assert not key.same_file(FileKey(device=1, inode=3, size_bytes=3))
    assert not key.same_file(None)
    assert str(key) == "1:2"


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((), Retention(max_backups=100, max_age_days=366)),
        ((("audit-log-maxbackup", "10"), ("audit-log-maxage", "30")), Retention(max_backups=10, max_age_days=30)),
        ((("audit-log-maxbackup", "0"), ("audit-log-maxage", "0x10")), Retention(max_backups=0, max_age_days=16)),
        ((("audit-log-maxbackup", "many"),), Retention(max_backups=100, max_age_days=366)),
    ],
)
def test_what_flags_let_an_api_server_delete(pairs: tuple[tuple[str, str], ...], expected: Retention) -> None:
    assert retention_of(process(100, 0.0, *pairs)) == expected
