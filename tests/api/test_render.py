"""The text that people read, to the letter."""

from dataclasses import replace

import pytest

from kauditd.api.render import change_text, changes_text, moment, proof_text, span, status_text
from kauditd.api.views import proof_view, status_view
from kauditd.core.model import ChangeEvent, Outcome, Verdict
from tests.api.fake import FAILED_PROOF, NOW_UNIX_S, make_change, make_evidence, make_proof, make_snapshot

PROTECTED = """\
protected    since 2026-11-24 13:00:00 UTC (12 s ago)
The API server writes audit events.

target    static-pod /etc/kubernetes/manifests/kube-apiserver.yaml v1.36.3
process   pid 4711, started 2026-11-24 12:00:12 UTC (1 h ago)
policy    profile default, 6 rules, bbbbbbbbbbbb
proof     event 6f1c2d3e in the log after 0.4 ms, 2026-11-24 13:00:00 UTC (12 s ago)
counters  the counters and the log agree: 1204 lines
drift     1, see: kauditctl diff
mode      enforce
watch     inotify
change    #9 repair: rolled-back, 2026-11-24 12:59:14 UTC (58 s ago)
daemon    0.1.0, up 2 h
"""

DEGRADED = """\
degraded     since 2026-11-24 13:00:00 UTC (12 s ago)
The API server writes audit events.

warning   policy-stale  the running policy is not the published one (for 3 min)
                        hint: kauditctl apply
critical  log-silent    no event for 90 s

target    static-pod /etc/kubernetes/manifests/kube-apiserver.yaml, missing
process   none running
policy    profile default, 1 rule, not published
proof     failed: canary-lost: the event of 77ab is not in the file 3.0 s after the answer
          hint: kauditctl doctor
counters  not compared yet
drift     none
mode      enforce, disabled until apply, paused until 2026-11-24 13:10:12 UTC (in 10 min), contested
watch     polling, no inotify here
daemon    0.1.0, up 2 h
"""

HISTORY = """\
id  cause   outcome      started                              took  summary
12  repair  open         2026-11-24 12:58:32 UTC (1 min ago)  -     2 flags, 2 mounts
3   repair  rolled-back  2026-11-24 12:58:32 UTC (1 min ago)  42 s  2 flags, 2 mounts
"""

CHANGE = """\
change   #3 repair
target   /etc/kubernetes/manifests/kube-apiserver.yaml
summary  2 flags, 2 mounts
started  2026-11-24 12:58:32 UTC (1 min ago)
outcome  rolled-back after 42 s
reason   the container died twice
hint     crictl logs has its words
before   aaaaaaaaaaaa
after    bbbbbbbbbbbb

    +0.0 s  written  2 flags
   +42.0 s  proven
"""

OPEN = make_change(12, outcome=Outcome.OPEN)
ADVICE = ChangeEvent(at_unix_s=NOW_UNIX_S - 60, what="remedy", detail="crictl logs has its words")
BACK = make_change(3, outcome=Outcome.ROLLED_BACK, reason="the container died twice")
BACK = replace(BACK, events=(*BACK.events, ADVICE, ADVICE))


def test_a_protected_node() -> None:
    changes = (make_change(8), make_change(9, outcome=Outcome.ROLLED_BACK))
    view = status_view(make_snapshot(changes=changes))

    assert status_text(view, now_unix_s=NOW_UNIX_S, colour=False) == PROTECTED


def test_a_node_with_everything_wrong() -> None:
    snapshot = make_snapshot(verdict=Verdict.DEGRADED)
    snapshot = replace(
        snapshot,
        target=replace(snapshot.target, present=False, version=""),
        process=None,
        policy=replace(snapshot.policy, rule_count=1, digest=None),
        proof=FAILED_PROOF,
        drift=(),
        disabled=True,
        contested=True,
        paused_until_unix_s=NOW_UNIX_S + 600,
        watch=replace(snapshot.watch, mode="polling", detail="no inotify here"),
    )

    assert status_text(status_view(snapshot), now_unix_s=NOW_UNIX_S, colour=False) == DEGRADED


@pytest.mark.parametrize("verdict", list(Verdict))
def test_colour_adds_nothing_but_colour(verdict: Verdict) -> None:
    view = status_view(make_snapshot(verdict=verdict))
    plain = status_text(view, now_unix_s=NOW_UNIX_S, colour=False)
    painted = status_text(view, now_unix_s=NOW_UNIX_S, colour=True)

    assert "\033" not in plain
    assert painted.startswith("\033[3")
    for code in ("31", "32", "33", "35", "36", "0"):
        painted = painted.replace(f"\033[{code}m", "")
    assert painted == plain


def test_foreign_text_cannot_move_the_cursor() -> None:
    snapshot = make_snapshot(verdict=Verdict.DEGRADED)
    evil = "\033[2J\r\nprotected\x9b1m"
    snapshot = replace(
        snapshot,
        sentence=evil,
        reasons=(replace(snapshot.reasons[0], text=evil, hint=evil, code=evil),),
        target=replace(snapshot.target, path=evil, version=evil),
        policy=replace(snapshot.policy, source=evil),
        changes=(replace(BACK, cause=evil, summary=evil, reason=evil, events=(replace(ADVICE, detail=evil),)),),
        proof=replace(FAILED_PROOF, what=evil, code=evil, hint=evil, counters=evil),
    )
    seen = make_proof(replace(make_evidence(evil), file=evil))
    texts = [
        proof_text(proof_view(snapshot)),
        proof_text(proof_view(replace(snapshot, proof=seen))),
        status_text(status_view(replace(snapshot, proof=seen)), now_unix_s=NOW_UNIX_S, colour=False),
        status_text(status_view(snapshot), now_unix_s=NOW_UNIX_S, colour=False),
        changes_text(snapshot.changes, now_unix_s=NOW_UNIX_S, detailed=False),
        change_text(snapshot.changes[0], now_unix_s=NOW_UNIX_S),
    ]

    for text in texts:
        assert all(character.isprintable() or character == "\n" for character in text)
        assert "\nprotected" not in text


def test_the_list_of_changes() -> None:
    assert changes_text((OPEN, BACK), now_unix_s=NOW_UNIX_S, detailed=False) == HISTORY
    assert changes_text((), now_unix_s=NOW_UNIX_S, detailed=False) == "no changes\n"


def test_one_change_and_the_detailed_list() -> None:
    assert change_text(BACK, now_unix_s=NOW_UNIX_S) == CHANGE
    detailed = changes_text((BACK, BACK), now_unix_s=NOW_UNIX_S, detailed=True)
    assert detailed == CHANGE + "\n" + CHANGE


def test_an_open_change_says_so() -> None:
    assert "outcome  open\n" in change_text(OPEN, now_unix_s=NOW_UNIX_S)


def test_a_proof_that_was_never_made_says_why() -> None:
    snapshot = make_snapshot()
    proof = replace(snapshot.proof, proven_unix_s=None, evidence=None, what="nothing was asked yet", counters="")

    text = status_text(status_view(replace(snapshot, proof=proof)), now_unix_s=NOW_UNIX_S, colour=False)

    assert "\nproof     none yet: nothing was asked yet\ncounters  not compared yet\n" in text


@pytest.mark.parametrize(
    ("latency_ms", "text"), [(0.04, "0.0 ms"), (9.94, "9.9 ms"), (12.4, "12 ms"), (2500, "2500 ms")]
)
def test_a_canary_that_arrived_names_event_file_offset_and_latency(latency_ms: float, text: str) -> None:
    seen = replace(make_evidence("9b2e4c1a"), latency_ms=latency_ms)
    view = proof_view(replace(make_snapshot(), proof=make_proof(seen)), before=make_proof())

    assert proof_text(view) == (
        "proven: event 9b2e4c1a was in /var/log/kubernetes/audit/audit.log at byte 8192, "
        f"{text} after it was asked for\n"
    )


def test_a_canary_that_was_lost_says_why_and_what_to_do() -> None:
    view = proof_view(replace(make_snapshot(), proof=FAILED_PROOF), before=make_proof())

    assert proof_text(view) == (
        "not proven: canary-lost: the event of 77ab is not in the file 3.0 s after the answer\nhint: kauditctl doctor\n"
    )


def test_evidence_from_before_the_question_answers_no_canary() -> None:
    view = proof_view(make_snapshot(), before=make_proof())

    assert not view.proven
    assert proof_text(view).startswith("not proven: this round neither saw its event nor showed a fault")
    assert proof_view(make_snapshot()).proven, "without a question it is the last proof"


def test_a_round_that_nobody_could_make_says_so() -> None:
    nothing = replace(FAILED_PROOF, code="", hint="", what="no API server runs here")

    text = proof_text(proof_view(replace(make_snapshot(), proof=nothing), before=nothing))

    assert text == "not proven: no API server runs here\nhint: kauditctl status\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86_399, "23 h"), (86_400, "1 d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("at_unix_s", "text"),
    [
        (None, "never"),
        (0, "1970-01-01 00:00:00 UTC (20781 d ago)"),
        (NOW_UNIX_S + 61, "2026-11-24 13:01:13 UTC (in 1 min)"),
        (NOW_UNIX_S + 0.5, "2026-11-24 13:00:12 UTC (0 s ago)"),
        (-1, "at an impossible time"),
        (float("inf"), "at an impossible time"),
        (float("nan"), "at an impossible time"),
    ],
)
def test_moments(at_unix_s: float | None, text: str) -> None:
    assert moment(at_unix_s, now_unix_s=NOW_UNIX_S) == text
