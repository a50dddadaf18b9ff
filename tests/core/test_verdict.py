"""The truth table of the five verdicts: nothing is called protected that was not observed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.drift import find_drift
from kauditd.core.model import Desired, Drift, Reason, Severity, Verdict
from kauditd.core.trail import Trail, TrailState
from kauditd.core.verdict import Facts, Judgement, judge
from tests.core.builders import DESIRED, NOTHING, NOW, OURS, audited, change, observed, process, reason, trail

LIFETIME_S = 120.0
GOOD = Facts(observed=observed(), desired=DESIRED, proven_unix_s=NOW - 12, policy_label="profile default")


def drift(severity: Severity) -> Drift:
    return Drift(code="shadow-manifest", subject="x", severity=severity, text="a second manifest", hint="move it")


def check_form(judgement: Judgement) -> None:
    """What every verdict owes: reasons that can be read, the weightiest first, and one plain line."""
    assert judgement.reasons
    assert all(r.code and r.text for r in judgement.reasons)
    weights = [list(Severity)[::-1].index(r.severity) for r in judgement.reasons]
    assert weights == sorted(weights)
    assert len({(r.code, r.text) for r in judgement.reasons}) == len(judgement.reasons)
    assert judgement.sentence.strip() == judgement.sentence
    assert judgement.sentence
    assert "\n" not in judgement.sentence


def test_flags_policy_and_a_fresh_proof_are_protected() -> None:
    judgement = judge(GOOD)
    check_form(judgement)
    assert judgement.verdict is Verdict.PROTECTED
    assert judgement.sentence == "audit is on: kube-apiserver v1.36.3 (pid 100) runs with profile default"
    assert [r.severity for r in judgement.reasons] == [Severity.INFO]


def test_version_and_policy_that_are_not_known_are_left_out() -> None:
    judgement = judge(replace(GOOD, observed=observed(view=None), policy_label=""))
    assert judgement.sentence == "audit is on: kube-apiserver (pid 100) runs with our policy"


def test_information_changes_no_verdict() -> None:
    judgement = judge(replace(GOOD, holds=(reason(Severity.INFO),)))
    check_form(judgement)
    assert judgement.verdict is Verdict.PROTECTED


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.CRITICAL])
@pytest.mark.parametrize("origin", ["drift", "holds", "troubles"])
def test_promise_not_kept_is_degraded(severity: Severity, origin: str) -> None:
    one = drift(severity) if origin == "drift" else reason(severity)
    judgement = judge(replace(GOOD, **{origin: (one,)}))
    check_form(judgement)
    assert judgement.verdict is Verdict.DEGRADED
    assert judgement.sentence == f"audit is on, but {one.text}"


def test_further_reasons_are_counted_in_the_sentence() -> None:
    judgement = judge(replace(GOOD, drift=(drift(Severity.CRITICAL),), troubles=(reason(), reason(Severity.INFO, "i"))))
    assert judgement.sentence == "audit is on, but a second manifest (and 1 more)"


@pytest.mark.parametrize("desired", [None, NOTHING])
def test_nothing_asked_is_nothing_protected(desired: Desired | None) -> None:
    """Every process carries all of no flags: a disabled node is not protected for that."""
    judgement = judge(replace(GOOD, desired=desired))
    check_form(judgement)
    assert judgement.verdict is Verdict.UNPROTECTED
    assert judgement.reasons[0].code == "nothing-desired"


def test_process_without_our_flags_is_unprotected() -> None:
    look = observed(processes=(process(100, NOW - 60, OURS[0]),))
    judgement = judge(replace(GOOD, observed=look))
    check_form(judgement)
    assert judgement.verdict is Verdict.UNPROTECTED
    assert judgement.reasons[0].code == "process-differs"
    assert judgement.sentence.startswith("audit is NOT proven: ")
    told = judge(replace(GOOD, observed=look, drift=find_drift(DESIRED, look)))
    assert [r.code for r in told.reasons].count("process-differs") == 1


def test_process_with_another_policy_is_unprotected() -> None:
    other = process(100, NOW - 60, OURS[0], ("audit-policy-file", "/etc/kubernetes/audit/policy-bbbbbbbbbbbb.yaml"))
    assert judge(replace(GOOD, observed=observed(processes=(other,)))).verdict is Verdict.UNPROTECTED


def test_old_server_without_flags_serves_beside_its_successor() -> None:
    """The older one answers the requests."""
    look = observed(processes=(process(100, NOW - 3600), audited(200, NOW - 1)))
    assert judge(replace(GOOD, observed=look)).verdict is Verdict.UNPROTECTED


@pytest.mark.parametrize(
    ("proven", "fresh"),
    [
        (NOW, True),
        (NOW - LIFETIME_S + 0.5, True),
        (NOW - LIFETIME_S, False),
        (NOW - 7200, False),
        (NOW + 3, True),  # taken later in the same cycle
        (NOW + 60, False),  # the clock was set back; its age is not known
        (None, False),
    ],
)
def test_proof_counts_while_it_is_younger_than_two_canary_intervals(proven: float | None, *, fresh: bool) -> None:
    judgement = judge(replace(GOOD, proven_unix_s=proven))
    check_form(judgement)
    assert judgement.verdict is (Verdict.PROTECTED if fresh else Verdict.UNPROTECTED)
    assert ("proof-stale" in {r.code for r in judgement.reasons}) is not fresh


@pytest.mark.parametrize("code", ["log-deleted", "policy-none", "canary-hidden", "log-in-container", "disk-full"])
def test_round_that_failed_is_unprotected_at_once_with_its_reason(code: str) -> None:
    """However fresh the last proof is: what is known now outweighs what was seen a minute ago."""
    failed = trail(audited(), TrailState.UNPROVEN, code=code, text=f"it is {code}", hint=f"mend {code}")
    judgement = judge(replace(GOOD, observed=observed(trail=failed), proven_unix_s=NOW - 1, troubles=(reason(),)))
    check_form(judgement)
    assert judgement.verdict is Verdict.UNPROTECTED
    first = judgement.reasons[0]
    assert (first.code, first.severity, first.hint) == (code, Severity.CRITICAL, f"mend {code}")
    assert judgement.sentence == f"audit is NOT proven: it is {code} (and 1 more)"


@pytest.mark.parametrize("round_", [None, trail(audited(), TrailState.OPEN), trail(audited(7), TrailState.UNPROVEN)])
@pytest.mark.parametrize("fresh", [True, False])
def test_round_that_shows_nothing_of_this_server_changes_nothing(round_: Trail | None, *, fresh: bool) -> None:
    """Protected as long as the last proof is fresh, and no longer."""
    proven = NOW - 12 if fresh else None
    judgement = judge(replace(GOOD, observed=observed(trail=round_), proven_unix_s=proven))
    assert judgement.verdict is (Verdict.PROTECTED if fresh else Verdict.UNPROTECTED)
    assert judgement.reasons[0].code == ("audit-proven" if fresh else "proof-stale")


def test_no_api_server_is_unknown_whatever_the_last_round_said() -> None:
    look = observed(processes=(), trail=trail(audited(), TrailState.UNPROVEN))
    assert judge(replace(GOOD, observed=look)).verdict is Verdict.UNKNOWN


def test_clock_set_back_is_said_in_plain_words() -> None:
    judgement = judge(replace(GOOD, proven_unix_s=NOW + 3600))
    assert (
        judgement.sentence == "audit is NOT proven: the last proof lies 3600 s ahead of the clock, which was set back"
    )


def test_change_inside_its_gate_is_changing_whatever_else_is_wrong() -> None:
    facts = replace(
        GOOD,
        observed=observed(processes=()),
        open_change=change(),
        gate_text="no new API server has started",
        drift=(drift(Severity.CRITICAL),),
    )
    judgement = judge(facts)
    check_form(judgement)
    assert judgement.verdict is Verdict.CHANGING
    assert judgement.sentence == "change 4 (repair) is inside its gate: no new API server has started"
    assert {r.code for r in judgement.reasons} == {"change-open", "shadow-manifest"}
    assert judge(replace(facts, gate_text="")).sentence.endswith("just written")


def test_no_api_server_is_unknown_not_unprotected() -> None:
    judgement = judge(replace(GOOD, observed=observed(processes=()), drift=(drift(Severity.CRITICAL),)))
    check_form(judgement)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.sentence == "no API server is to be seen on this node (and 1 more)"


def test_same_fact_as_hold_and_as_drift_is_told_once() -> None:
    twin = Reason(code="shadow-manifest", severity=Severity.CRITICAL, text="a second manifest")
    judgement = judge(replace(GOOD, drift=(drift(Severity.CRITICAL),), holds=(twin,)))
    check_form(judgement)
    assert len(judgement.reasons) == 1
    assert judgement.reasons[0].hint == "move it"


@given(
    severities=st.lists(st.sampled_from(Severity), max_size=4),
    origins=st.lists(st.sampled_from(["drift", "holds", "troubles"]), min_size=4, max_size=4),
    proven=st.one_of(st.none(), st.floats(NOW - 300, NOW + 300)),
    running=st.sampled_from(["ours", "bare", "none"]),
    state=st.sampled_from([None, *TrailState]),
    desired=st.sampled_from([DESIRED, NOTHING, None]),
    changing=st.booleans(),
)
def test_protected_means_all_of_its_definition(
    severities: list[Severity],
    origins: list[str],
    proven: float | None,
    running: str,
    state: TrailState | None,
    desired: Desired | None,
    *,
    changing: bool,
) -> None:
    given_reasons: dict[str, list[object]] = {"drift": [], "holds": [], "troubles": []}
    for severity, origin in zip(severities, origins, strict=False):
        given_reasons[origin].append(drift(severity) if origin == "drift" else reason(severity))
    processes = {"ours": (audited(),), "bare": (process(),), "none": ()}[running]
    judgement = judge(
        Facts(
            observed=observed(processes=processes, trail=None if state is None else trail(audited(), state)),
            desired=desired,
            proven_unix_s=proven,
            open_change=change() if changing else None,
            **{k: tuple(v) for k, v in given_reasons.items()},
        )
    )
    check_form(judgement)
    calm = all(s is Severity.INFO for s in severities)
    stale = proven is None or NOW - proven >= LIFETIME_S or proven - NOW > 30
    if judgement.verdict is Verdict.PROTECTED:
        assert calm
        assert not stale
        assert state is not TrailState.UNPROVEN
        assert running == "ours"
        assert desired is DESIRED
        assert not changing
    if judgement.verdict is Verdict.DEGRADED:
        assert not calm
        assert not stale
        assert state is not TrailState.UNPROVEN
    if judgement.verdict is Verdict.UNPROTECTED:
        assert any(r.severity is Severity.CRITICAL for r in judgement.reasons)
    assert (judgement.verdict is Verdict.CHANGING) is changing
    assert (judgement.verdict is Verdict.UNKNOWN) is (running == "none" and not changing)


def test_drift_of_one_kind_is_one_reason_that_names_every_subject() -> None:
    missing = [
        Drift(code="flag-missing", subject=s, severity=Severity.CRITICAL, text=f"the manifest lacks --{s}")
        for s in ("audit-log-path", "audit-policy-file")
    ]
    judged = judge(replace(GOOD, drift=tuple(missing)))
    texts = [r.text for r in judged.reasons if r.code == "flag-missing"]
    assert texts == ["the manifest lacks --audit-log-path, --audit-policy-file"]


@pytest.mark.parametrize("code", ["disabled", "paused"])
def test_audit_that_somebody_took_out_is_told_as_that(code: str) -> None:
    hold = Reason(code=code, severity=Severity.INFO, text="because it was asked for")
    judged = judge(replace(GOOD, observed=observed(processes=(process(1, NOW - 900),)), holds=(hold,)))
    assert judged.verdict is Verdict.UNPROTECTED
    assert judged.sentence == "because it was asked for"
