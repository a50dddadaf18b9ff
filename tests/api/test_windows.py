"""Windows over the API: what is listed, in which order, and who may note what."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kauditd.api.access import Peer
from kauditd.api.render import status_text, windows_text
from kauditd.api.table import NOTE_MAX_CHARACTERS
from kauditd.api.views import WindowsView, status_view
from kauditd.core.windows import SpanKind, WindowCause
from kauditd.engine.snapshot import Snapshot
from tests.api.fake import NOW_UNIX_S, FakeBackend, make_coverage, make_snapshot, make_window, request, serving

GOLDEN = """\
period                                    proven     of served  unaudited  unknown  no server
24 h                                      100 %      1 d        0 s        0 s      0 s
30 days                                   99.9961 %  30 d       41 s       1 min    1 min
since 2026-10-15 13:00:12 UTC (40 d ago)  99.997 %   40 d       41 s       1 min    1 min

id  kind       cause              from                               for        seen after  how it was seen      \
                repaired by        proven again
4   unaudited  log-deleted        2026-11-24 13:00:07 UTC (5 s ago)  5 s, open  3 s         the process has no \
--audit-log-path  -                  not yet
3   unknown    kauditd-down       2026-11-24 11:00:12 UTC (2 h ago)  1 min      3 s         -                     \
               -                  2026-11-24 11:00:53 UTC (1 h ago) 6f1c2d3e
2   unaudited  upgrade-overwrote  2026-11-24 11:00:12 UTC (2 h ago)  41 s       3 s         the process has no \
--audit-log-path  change 12, repair  2026-11-24 11:00:53 UTC (1 h ago) 6f1c2d3e

#2  root cause  upgrade to v1.36.3
#2  prevention  patch kubeadm-config
#2  owner       ops

not shown: 1 more, see --limit
"""


def make_ledger() -> Snapshot:
    """An old window, a closed one with notes, one that nobody watched, and one that is open."""
    month_s = 30 * 86_400
    old = make_window(1, start_unix_s=NOW_UNIX_S - month_s - 100, end_unix_s=NOW_UNIX_S - month_s - 59)
    noted = make_window(2, root_cause="upgrade to v1.36.3", prevention="patch kubeadm-config", owner="ops")
    unwatched = make_window(
        3, kind=SpanKind.UNKNOWN, cause=WindowCause.KAUDITD_DOWN, detected_by="", repaired_by="", duration_s=60.0
    )
    opened = make_window(
        4, start_unix_s=NOW_UNIX_S - 5, end_unix_s=None, duration_s=5.0, cause=WindowCause.LOG_DELETED, repaired_by="",
        repaired_unix_s=None, resumed_audit_id="", resumed_unix_s=None,
    )  # fmt: skip
    return replace(make_snapshot(), windows=(old, noted, unwatched, opened), coverage=make_coverage())


def test_windows_are_listed_with_the_open_ones_first(path: Path) -> None:
    with serving(path, FakeBackend(current=make_ledger())):
        everything = request(path, "GET", "/v1/windows").result()
        recent = request(path, "GET", f"/v1/windows?since_unix_s={int(NOW_UNIX_S) - 86_400}&limit=2").result()
        nonsense = [request(path, "GET", f"/v1/windows?{q}").status for q in ("limit=0", "since_unix_s=-1", "x=1")]

    windows = everything["windows"]
    assert isinstance(windows, list)
    assert [w["id"] for w in windows] == [4, 3, 2, 1]
    assert windows[0]["end_unix_s"] is None
    assert (windows[0]["kind"], windows[0]["cause"]) == ("unaudited", "log-deleted")
    assert everything["total"] == 4
    coverage = everything["coverage"]
    assert isinstance(coverage, dict)
    assert coverage["last_30_days"]["coverage_ratio"] == 0.999961
    assert isinstance(recent["windows"], list)
    assert ([w["id"] for w in recent["windows"]], recent["total"]) == ([4, 3], 3)
    assert nonsense == [400, 400, 400]


def test_a_node_without_a_ledger_has_no_windows_and_says_so(path: Path) -> None:
    with serving(path, FakeBackend()):
        answer = request(path, "GET", "/v1/windows")
        text = request(path, "GET", "/v1/windows", headers={"Accept": "text/plain"})

    assert answer.result() == {"total": 0, "windows": [], "coverage": None}
    assert text.body == b"no windows\n"


def annotate(path: Path, number: int, body: object) -> tuple[int, dict[str, object]]:
    answer = request(path, "POST", f"/v1/windows/{number}/annotate", body=json.dumps(body).encode())
    return answer.status, answer.result()


def test_root_notes_what_it_found_out(path: Path) -> None:
    backend = FakeBackend(current=make_ledger())
    with serving(path, backend, reader=lambda _socket: Peer(uid=0, gid=0)):
        first = annotate(path, 4, {"root_cause": "logrotate \u00fc", "owner": "ops"})
        second = annotate(path, 4, {"prevention": "removed its file", "owner": None})
        cleared = annotate(path, 4, {"root_cause": ""})
        unknown = annotate(path, 9, {"owner": "ops"})

    assert (first[1]["root_cause"], first[1]["prevention"], first[1]["owner"]) == ("logrotate \u00fc", "", "ops")
    assert (second[1]["prevention"], second[1]["owner"]) == ("removed its file", "ops")
    assert cleared[1]["root_cause"] == ""
    assert unknown[0] == 404
    assert unknown[1]["message"] == "cannot annotate window 9: unknown"


@pytest.mark.parametrize(
    "body",
    [{"owner": 7}, {"owner": True}, {"owner": ["x"]}, {"colour": "red"}, {"owner": "x" * (NOTE_MAX_CHARACTERS + 1)}],
)
def test_notes_that_are_no_texts_are_refused(path: Path, body: object) -> None:
    backend = FakeBackend(current=make_ledger())
    with serving(path, backend, reader=lambda _socket: Peer(uid=0, gid=0)):
        status, error = annotate(path, 4, body)
        longest = annotate(path, 4, {"owner": "x" * NOTE_MAX_CHARACTERS})

    assert (status, error["kind"]) == (400, "bad-request")
    assert longest[0] == 200
    assert len(backend.calls) == 1


def test_a_member_of_the_group_reads_and_does_not_write(path: Path) -> None:
    backend = FakeBackend(current=make_ledger())
    with serving(path, backend, group_id=7, reader=lambda _socket: Peer(uid=9, gid=7)):
        assert request(path, "GET", "/v1/windows").status == 200
        status, error = annotate(path, 4, {"owner": "me"})

    assert (status, error["message"]) == (403, "cannot annotate: only root may")
    assert not backend.calls


def view_of(snapshot: Snapshot, *numbers: int) -> WindowsView:
    shown = tuple(w for number in numbers for w in snapshot.windows if w.id == number)
    return WindowsView(total=len(snapshot.windows), windows=shown, coverage=snapshot.coverage)


def test_the_text_of_the_list_to_the_letter() -> None:
    text = windows_text(view_of(make_ledger(), 4, 3, 2), now_unix_s=NOW_UNIX_S)

    assert text == GOLDEN


def test_foreign_text_in_a_window_cannot_move_the_cursor() -> None:
    evil = "\033[2J\r\n\x9b1m"
    fields = ("detected_by", "repaired_by", "resumed_audit_id", "root_cause", "prevention", "owner")
    window = make_window(1, **dict.fromkeys(fields, evil))
    snapshot = replace(make_snapshot(), windows=(window,), coverage=make_coverage())
    text = windows_text(view_of(snapshot, 1), now_unix_s=NOW_UNIX_S)

    assert not set(text) & {"\033", "\r", "\x9b"}
    assert text.count("\\x1b[2J") == len(fields)


@pytest.mark.parametrize(
    ("numbers", "row"),
    [
        ((), "none in 30 days"),
        ((1,), "none in 30 days"),
        ((1, 2), "1 in 30 days, 41 s, last upgrade-overwrote 2026-11-24 11:00:12 UTC (2 h ago)"),
        ((2, 3), "2 in 30 days, 1 min, last kauditd-down 2026-11-24 11:00:12 UTC (2 h ago)"),
        ((2, 4), "2 in 30 days, 46 s, 1 open, last log-deleted 2026-11-24 13:00:07 UTC (5 s ago)"),
    ],
)
def test_the_status_has_one_row_about_windows(numbers: tuple[int, ...], row: str) -> None:
    snapshot = make_ledger()
    snapshot = replace(snapshot, windows=tuple(w for w in snapshot.windows if w.id in numbers))
    text = status_text(status_view(snapshot), now_unix_s=NOW_UNIX_S, colour=False)

    assert [line for line in text.splitlines() if line.startswith("windows")] == [f"windows   {row}"]


def test_the_status_of_a_node_without_a_ledger_says_nothing_of_windows() -> None:
    assert "\nwindows" not in status_text(status_view(make_snapshot()), now_unix_s=NOW_UNIX_S, colour=False)
