"""The ledger as records: what to append after a look, and the ledger that the records of a file add up to.

A ``mark`` is one transaction on one line: the spans that were closed since the last one, the windows that changed,
and the whole (small) tail. A ``month`` sums up spans of a finished month and keeps its windows in full; only
compaction writes it. Records of another type or a newer version are kept and ignored.

A mark that is lost leaves a hole between spans; it is read back as unknown time, never as anything better.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from kauditd.core.ledger import Ledger
from kauditd.core.looks import ServerId
from kauditd.core.ndjson import Record
from kauditd.core.passage import Fault, Limits, Piece, Tail
from kauditd.core.typed import get_bool, get_float, get_int, get_list, get_mapping, get_str
from kauditd.core.windows import DAY_S, Span, SpanKind, Window, WindowCause
from kauditd.errors import KauditError

VERSION = 1

KEPT_S = 32 * DAY_S
"""How long spans stay single: the sums reach back 30 days."""

_LATEST_UNIX_S = 253_402_300_799.0  # the last second of the year 9999
_ROUNDING_S = 1.0
"""How far sums of many lengths may stray from the position that they add up to."""

_MAY_BE_NONE = frozenset({"end_unix_s", "repaired_unix_s", "resumed_unix_s"})
_TEXTS = frozenset(
    {"how", "boot_id", "detected_by", "repaired_by", "resumed_audit_id", "root_cause", "prevention", "owner"}
)
_FAULTY = (KauditError, ValueError, TypeError, KeyError)
"""What reading a malformed record raises; such a record is no record."""


def mark_record(ledger: Ledger, written: Ledger) -> Record:
    """What must be appended so that the file, which holds ``written``, holds ``ledger``. A file holds ``Ledger()``

    at first. The newest span still grows, so a mark repeats it and the next one replaces it.
    """
    since_s = written.spans[-1].start_s if written.spans else 0.0
    known = {w.id: w for w in written.windows}
    return {
        "v": VERSION,
        "type": "mark",
        "began": ledger.began_unix_s,
        "spans": [asdict(s) for s in ledger.spans if s.start_s >= since_s],
        "windows": [asdict(w) for w in ledger.windows if known.get(w.id) != w],
        "unaudited": dict(ledger.unaudited_s),
        "tail": None if ledger.tail is None else asdict(ledger.tail),
    }


def is_changed(ledger: Ledger, written: Ledger) -> bool:
    """Whether more than time has passed: another state, another window, or a column of one."""
    if _state(ledger) != _state(written):
        return True
    pairs = zip(ledger.windows, written.windows, strict=True)
    return any(window is not known and _is_news(window, known) for window, known in pairs)


def load_ledger(records: Iterable[Mapping[str, object]], limits: Limits | None = None) -> Ledger:
    """The ledger that ``records`` add up to; empty where there are none."""
    ledger = Ledger(limits=limits or Limits())
    for record in records:
        try:
            match record:
                case {"v": 1, "type": "mark"}:
                    ledger = _marked(ledger, record)
                case {"v": 1, "type": "month"}:
                    ledger = _summed(ledger, record)
                case _:
                    pass
        except _FAULTY:
            continue
    return _patched(ledger)


def compact(records: Iterable[Record]) -> tuple[Record, ...]:
    """The same ledger in fewer records: a ``month`` for each finished month, one ``mark``. Foreign ones come first."""
    known = tuple(records)
    foreign = tuple(r for r in known if not _is_ours(r))
    ledger = prune(load_ledger(known))
    if ledger.tail is None:
        return known
    return (*foreign, *compact_records(ledger))


def compact_records(ledger: Ledger) -> tuple[Record, ...]:
    """The whole of a pruned ledger as records, which read back as it is."""
    by_month: dict[str, list[Window]] = {month: [] for month in ledger.months}
    live = {s.window for s in ledger.spans}
    recent: list[Window] = []
    for window in ledger.windows:
        if window.id in live:
            recent.append(window)
        else:
            by_month.setdefault(month_of(window.start_unix_s), []).append(window)
    months: list[Record] = [
        {
            "v": VERSION,
            "type": "month",
            "month": month,
            "seconds": {kind.value: s for kind, s in ledger.months.get(month, {}).items()},
            "windows": [asdict(w) for w in windows],
        }
        for month, windows in sorted(by_month.items())
    ]
    older = tuple(w for w in ledger.windows if w.id not in live)
    return (*months, mark_record(ledger, Ledger(windows=older)))


def prune(ledger: Ledger) -> Ledger:
    """The ledger with spans that ended more than ``KEPT_S`` ago summed up by month. The newest span always stays."""
    end_s = ledger.decided_s
    old = tuple(s for s in ledger.spans[:-1] if s.end_s < end_s - KEPT_S)
    months = {month: dict(lengths) for month, lengths in ledger.months.items()}
    for span in old:
        lengths = months.setdefault(month_of(span.end_unix_s), {})
        lengths[span.kind] = lengths.get(span.kind, 0.0) + span.end_s - span.start_s
    return replace(ledger, months=months, spans=ledger.spans[len(old) :])


def month_of(at_unix_s: float) -> str:
    """The UTC month of a time as ``2026-11``; a time that no calendar has falls into the nearest month it has."""
    return f"{datetime.fromtimestamp(min(max(at_unix_s, 0.0), _LATEST_UNIX_S), tz=UTC):%Y-%m}"


def _state(ledger: Ledger) -> object:
    """What is so now, without what merely grows with time."""
    tail = ledger.tail
    if tail is None:
        return None
    pid = None if tail.process is None else tail.process.pid
    return tail.boot_id, pid, tail.serving, tail.proven, tail.fault, len(ledger.windows), _newest_start_s(ledger)


def _newest_start_s(ledger: Ledger) -> float:
    return ledger.spans[-1].start_s if ledger.spans else 0.0


def _is_news(window: Window, known: Window) -> bool:
    """Whether more than the length of a window is another."""
    if (window.end_unix_s is None) != (known.end_unix_s is None):
        return True
    return replace(window, duration_s=0.0, end_unix_s=None) != replace(known, duration_s=0.0, end_unix_s=None)


def _is_ours(record: Mapping[str, object]) -> bool:
    return record.get("v") == VERSION and record.get("type") in ("mark", "month")


def _marked(ledger: Ledger, record: Mapping[str, Any]) -> Ledger:
    spans = [_span(s) for s in get_list(record, "spans", where="a mark")]
    windows = _upserted(ledger, get_list(record, "windows", where="a mark"))
    unaudited = _numbers(get_mapping(record, "unaudited", where="a mark"))
    tail = None if record["tail"] is None else _tail(get_mapping(record, "tail", where="a mark"))
    began_unix_s = get_float(record, "began", where="a mark")
    first_s = spans[0].start_s if spans else ledger.decided_s
    count = len(ledger.spans)
    while count and ledger.spans[count - 1].end_s > first_s:
        count -= 1
    kept = ledger.spans[:count]
    return replace(
        ledger, spans=(*kept, *spans), began_unix_s=began_unix_s, windows=windows, unaudited_s=unaudited, tail=tail
    )


def _summed(ledger: Ledger, record: Mapping[str, Any]) -> Ledger:
    month = get_str(record, "month", where="a month")
    seconds = {SpanKind(k): s for k, s in _numbers(get_mapping(record, "seconds", where="a month")).items()}
    windows = _upserted(ledger, get_list(record, "windows", where="a month"))
    # A month may be there for the sake of its windows alone; one without seconds sums up nothing.
    months = {**ledger.months, month: seconds} if seconds else ledger.months
    return replace(ledger, months=months, windows=windows)


def _upserted(ledger: Ledger, values: list[Any]) -> tuple[Window, ...]:
    if not values:
        return ledger.windows
    known = {w.id: w for w in ledger.windows}
    known.update((w.id, w) for w in map(_window, values))
    return tuple(known[number] for number in sorted(known))


def _patched(ledger: Ledger) -> Ledger:
    """The ledger without holes: time between two spans is unknown, and a window whose record is lost is told anew."""
    known = {w.id: w for w in ledger.windows}
    highest = max((*known, *(s.window for s in ledger.spans)), default=0)
    spans: list[Span] = []
    for span in ledger.spans:
        start_s = spans[-1].end_s if spans else _summed_s(ledger)
        start_unix_s = spans[-1].end_unix_s if spans else span.start_unix_s - (span.start_s - start_s)
        slack_s = 0.0 if spans or not ledger.months else _ROUNDING_S
        if span.start_s > start_s + slack_s:
            highest += 1
            spans.append(
                Span(
                    kind=SpanKind.UNKNOWN,
                    start_s=start_s,
                    end_s=span.start_s,
                    start_unix_s=start_unix_s,
                    end_unix_s=span.start_unix_s,
                    window=highest,
                )
            )
        spans.append(span)
    for span in spans:
        if span.window:
            known[span.window] = _fitted(known.get(span.window), span, is_newest=span is spans[-1])
    return replace(ledger, spans=tuple(spans), windows=tuple(known[number] for number in sorted(known)))


def _summed_s(ledger: Ledger) -> float:
    """The life position up to which the months tell of it."""
    return sum(sum(lengths.values()) for lengths in ledger.months.values())


def _fitted(window: Window | None, span: Span, *, is_newest: bool) -> Window:
    """The window of a span, as long as that; told anew where its own record is lost. Only the newest may be open."""
    length_s = span.end_s - span.start_s
    if window is None:
        return Window(
            id=span.window,
            kind=span.kind,
            cause=WindowCause.UNKNOWN,
            start_unix_s=span.start_unix_s,
            end_unix_s=span.end_unix_s,
            duration_s=length_s,
            detected_unix_s=span.end_unix_s,
            detection_delay_s=length_s,
            detected_by="a record of the ledger was lost",
        )
    return replace(window, end_unix_s=window.end_unix_s if is_newest else span.end_unix_s, duration_s=length_s)


def _checked(value: object) -> dict[str, Any]:
    """The plain form of one dataclass, with every number a number. Raises one of ``_FAULTY``."""
    if not isinstance(value, dict):
        raise TypeError("it is no mapping")
    checked = dict(value)
    for key, item in value.items():
        if key.endswith("_s") and not (item is None and key in _MAY_BE_NONE):
            checked[key] = get_float(value, key, where="a record of the ledger")
        elif key in {"id", "window", "pid"}:
            get_int(value, key, where="a record of the ledger")
        elif key in {"serving", "watched", "proven"}:
            get_bool(value, key, where="a record of the ledger")
        elif key in _TEXTS:
            get_str(value, key, where="a record of the ledger")
    return checked


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: get_float(values, key, where="a record of the ledger") for key in values}


def _span(value: object) -> Span:
    plain = _checked(value)
    return Span(**{**plain, "kind": SpanKind(plain["kind"])})


def _window(value: object) -> Window:
    plain = _checked(value)
    return Window(**{**plain, "kind": SpanKind(plain["kind"]), "cause": WindowCause(plain["cause"])})


def _tail(value: object) -> Tail:
    plain = _checked(value)
    process, fault = plain["process"], plain["fault"]
    return Tail(
        **{
            **plain,
            "process": None if process is None else ServerId(**_checked(process)),
            "fault": None if fault is None else _fault(_checked(fault)),
            "pieces": tuple(_piece(p) for p in plain["pieces"]),
        }
    )


def _fault(plain: dict[str, Any]) -> Fault:
    return Fault(**{**plain, "cause": WindowCause(plain["cause"])})


def _piece(value: object) -> Piece:
    plain = _checked(value)
    kind = plain["kind"]
    kinds = {"kind": None if kind is None else SpanKind(kind), "cause": WindowCause(plain["cause"])}
    return Piece(**{**plain, **kinds})
