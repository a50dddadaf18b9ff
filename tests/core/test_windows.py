"""Sums and ratios of the ledger: rounded down, never up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.windows import (
    Span,
    SpanKind,
    Window,
    WindowCause,
    floor_ratio,
    lengths_since,
    newest_first,
    percent_text,
    sum_up,
)


@pytest.mark.parametrize(
    ("covered_s", "missing_s", "text"),
    [
        (1, 0, "100 %"),
        (999_999.9, 0.1, "99.9999 %"),
        (1e15, 0.001, "99.9999 %"),
        (99_999_999, 1, "99.9999 %"),
        (995, 5, "99.5 %"),
        (2, 1, "66.6666 %"),
        (0, 7, "0 %"),
        (1, 1e9, "0 %"),
        (0.05, 99.95, "0.05 %"),
    ],
)
def test_a_percentage_is_never_rounded_up(covered_s: float, missing_s: float, text: str) -> None:
    ratio = floor_ratio(covered_s, missing_s)
    assert ratio is not None
    assert percent_text(ratio) == text


@given(st.floats(0, 1e10), st.floats(1e-6, 1e10))
def test_what_is_not_whole_is_not_one(covered_s: float, missing_s: float) -> None:
    ratio = floor_ratio(covered_s, missing_s)
    assert ratio is not None
    assert 0 <= ratio < 1
    assert percent_text(ratio) != "100 %"
    assert ratio <= covered_s / (covered_s + missing_s) + 1e-9


def test_nothing_served_has_no_ratio() -> None:
    sums = sum_up({SpanKind.NO_SERVER: 5.0})
    assert floor_ratio(0, 0) is None
    assert (sums.coverage_ratio, sums.coverage_text, sums.served_s) == (None, "nothing served", 0)


def test_unknown_time_counts_as_served_and_not_as_covered() -> None:
    sums = sum_up({SpanKind.PROVEN: 90.0, SpanKind.UNKNOWN: 9.0, SpanKind.UNAUDITED: 1.0, SpanKind.NO_SERVER: 40.0})
    assert (sums.served_s, sums.coverage_ratio, sums.coverage_text) == (100, 0.9, "90 %")
    assert (sums.proven_s, sums.unaudited_s, sums.no_server_s, sums.unknown_s) == (90, 1, 40, 9)


def test_a_span_counts_with_the_part_inside_the_period() -> None:
    spans = [
        Span(kind=kind, start_s=start_s, end_s=start_s + 10, start_unix_s=0, end_unix_s=0)
        for kind, start_s in [(SpanKind.PROVEN, 0), (SpanKind.NO_SERVER, 10), (SpanKind.PROVEN, 20)]
    ]
    assert lengths_since(spans, 14) == {SpanKind.NO_SERVER: 6, SpanKind.PROVEN: 10}
    assert lengths_since(spans, -5) == {SpanKind.NO_SERVER: 10, SpanKind.PROVEN: 20}


def window(number: int, end_unix_s: float | None) -> Window:
    return Window(
        id=number,
        kind=SpanKind.UNAUDITED,
        cause=WindowCause.UNKNOWN,
        start_unix_s=1,
        end_unix_s=end_unix_s,
        duration_s=1,
        detected_unix_s=1,
        detection_delay_s=0,
        detected_by="",
    )


def test_open_windows_come_first_and_old_ones_are_left_out() -> None:
    windows = [window(1, 10.0), window(2, None), window(3, 20.0), window(4, None), window(5, 30.0)]
    assert [w.id for w in newest_first(windows)] == [4, 2, 5, 3, 1]
    assert [w.id for w in newest_first(windows, since_unix_s=20.0)] == [4, 2, 5, 3]
