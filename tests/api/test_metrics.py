"""The exposition is OpenMetrics 1.0, checked by a reader that takes nothing else."""

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.api.metrics import CONTENT_TYPE, metrics_text
from kauditd.core.model import Reason, Severity, Verdict
from kauditd.core.windows import WindowCause, sum_up
from tests.api.fake import FAILED_PROOF, make_coverage, make_snapshot, make_window

NAME = r"[a-z][a-z0-9_]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{({NAME}="(?:[^"\\\n]|\\["\\n])*"(?:,{NAME}="(?:[^"\\\n]|\\["\\n])*")*)\}})? (\S+)')
SUFFIX = {"counter": "_total", "info": "_info", "gauge": "", "stateset": ""}


def read(text: str) -> dict[str, list[tuple[str, float]]]:
    """Families with their samples; AssertionError where the text breaks a rule of the format."""
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    families: dict[str, list[tuple[str, float]]] = {}
    kinds: dict[str, str] = {}
    current = ""
    for line in lines[:-2]:
        assert line, "no empty lines"
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            assert word in {"TYPE", "UNIT", "HELP"}
            if word == "TYPE":
                assert name not in families, "a family comes once"
                assert rest in SUFFIX
                assert not name.endswith(("_total", "_info"))
                families[name], kinds[name], current = [], rest, name
            assert name == current, "metadata comes before the samples of its family"
            assert not families[name]
            assert word != "UNIT" or name.endswith(f"_{rest}")
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] == current + SUFFIX[kinds[current]], line
        labels = match[2] or ""
        assert labels not in [seen for seen, _ in families[current]], "a series comes once"
        value = float(match[3])
        assert kinds[current] != "counter" or value >= 0
        families[current].append((labels, value))
    return families


def test_the_exposition_says_what_the_snapshot_says() -> None:
    families = read(metrics_text(make_snapshot(verdict=Verdict.DEGRADED)))

    assert families["kauditd_build"] == [('version="0.1.0"', 1)]
    assert sorted(families["kauditd_verdict"])[1] == ('kauditd_verdict="degraded"', 1)
    assert sum(value for _, value in families["kauditd_verdict"]) == 1
    assert ('code="log-silent",severity="critical"', 1) in families["kauditd_reason"]
    assert families["kauditd_watch_rearm"] == [("", 3)]
    assert families["kauditd_cycles"] == [("", 42)]
    assert families["kauditd_canary_seconds"] == [("", 0.25)]
    assert families["kauditd_target_running"] == [("", 1)]


def test_the_ledger_is_told_by_cause_and_never_rounded_up() -> None:
    snapshot = make_snapshot()
    assert "kauditd_unaudited_seconds" not in read(metrics_text(snapshot)), "no ledger is no zero"

    windows = (make_window(1), make_window(2, end_unix_s=None))
    text = metrics_text(replace(snapshot, windows=windows, coverage=make_coverage()))
    families = read(text)

    by_cause = dict(families["kauditd_unaudited_seconds"])
    assert by_cause['cause="upgrade-overwrote"'] == 41
    assert set(by_cause) == {f'cause="{cause.value}"' for cause in WindowCause}
    assert families["kauditd_unknown_seconds"] == [("", 60)]
    assert families["kauditd_proven_seconds"] == [("", 3_455_899)]
    assert families["kauditd_windows_open"] == [("", 1)]
    assert '\nkauditd_coverage_ratio{period="24h"} 1\n' in text
    assert '\nkauditd_coverage_ratio{period="30d"} 0.999961\n' in text


def test_a_ratio_of_nothing_is_no_sample() -> None:
    empty = replace(make_coverage(), last_day=sum_up({}))
    families = read(metrics_text(replace(make_snapshot(), coverage=empty)))

    assert [labels for labels, _ in families["kauditd_coverage_ratio"]] == ['period="30d"', 'period="all"']


def test_the_newest_proof_has_a_latency_or_has_failed() -> None:
    snapshot = make_snapshot()
    proven, failed = (read(metrics_text(replace(snapshot, proof=p))) for p in (snapshot.proof, FAILED_PROOF))

    assert proven["kauditd_proof_latency_seconds"] == [("", 0.0004)]
    assert (proven["kauditd_proof_failed"], failed["kauditd_proof_failed"]) == ([("", 0)], [("", 1)])
    assert "kauditd_proof_latency_seconds" not in failed, "no event has no latency"


def test_no_proof_yet_is_no_sample_and_not_a_zero() -> None:
    snapshot = make_snapshot()
    unproven = replace(snapshot, proof=replace(snapshot.proof, proven_unix_s=None))

    assert "kauditd_last_proof_time_seconds" not in read(metrics_text(unproven))


def test_a_counter_of_the_engine_cannot_double_a_family() -> None:
    counters = {"watch_rearm_total": 9, "Cycles_Total": 1, "cycles_total": 2, "cycles": 3, "kauditd_cycles_total": 4}

    families = read(metrics_text(replace(make_snapshot(), counters=counters)))

    assert families["kauditd_watch_rearm"] == [("", 3)]
    assert len(families["kauditd_cycles"]) == 1


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.integers(min_value=0) | st.floats(min_value=0), max_size=5))
def test_any_name_and_any_number_gives_valid_text(counters: dict[str, float]) -> None:
    read(metrics_text(replace(make_snapshot(), counters=counters)))


@given(st.text(max_size=20), st.text(max_size=20))
def test_label_values_are_escaped(code: str, version: str) -> None:
    reason = Reason(code=code, severity=Severity.INFO, text="x")

    read(metrics_text(replace(make_snapshot(), reasons=(reason, reason), version=version)))


@pytest.mark.parametrize(
    ("value", "written"), [(math.nan, "NaN"), (math.inf, "+Inf"), (2.0, "2"), (1e300, "1e+300"), (0.1, "0.1")]
)
def test_numbers(value: float, written: str) -> None:
    text = metrics_text(replace(make_snapshot(), counters={"x": value}))

    assert f"\nkauditd_x {written}\n" in text


def test_the_content_type_names_the_version() -> None:
    assert CONTENT_TYPE == "application/openmetrics-text; version=1.0.0; charset=utf-8"
