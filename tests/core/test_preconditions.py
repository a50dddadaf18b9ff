"""What must be true before a write, and what a repair does not wait for."""

from dataclasses import replace

import pytest

from kauditd.core.contest import Contest, note_rewrite
from kauditd.core.model import Severity
from kauditd.core.observed import HealthFacts, Observed, Shadow
from kauditd.core.preconditions import MIB, Guards, consent_holds, first_edit_holds
from tests.core.builders import NOW, READY, log_directory, observed

GUARDS = Guards(mode="enforce", kubelet_stable_s=60.0, room_bytes=100 * MIB)


def codes(look: Observed, guards: Guards = GUARDS) -> list[str]:
    holds = first_edit_holds(look, guards)
    assert all(h.text and h.hint for h in holds)
    return [h.code for h in holds]


def consent(guards: Guards, now: float = NOW) -> list[str]:
    holds = consent_holds(guards, now)
    assert all(h.text and h.hint for h in holds)
    return [h.code for h in holds]


def test_healthy_node_holds_nothing_back() -> None:
    assert codes(observed(log_directory=log_directory(free_bytes=100 * MIB))) == []
    assert consent(GUARDS) == []


@pytest.mark.parametrize(
    ("guards", "code"),
    [
        (replace(GUARDS, mode="observe"), "mode-observe"),
        (replace(GUARDS, disabled=True), "disabled"),
        (replace(GUARDS, paused_until_unix_s=NOW + 1), "paused"),
        (replace(GUARDS, policy_usable=False), "policy-unusable"),
        (replace(GUARDS, target_known_bad="crash-loop"), "target-known-bad"),
    ],
)
def test_each_word_of_the_operator_binds(guards: Guards, code: str) -> None:
    assert consent(guards) == [code]


def test_pause_ends_by_itself() -> None:
    assert consent(replace(GUARDS, paused_until_unix_s=NOW)) == []


def test_bad_target_says_what_it_did() -> None:
    assert "crash-loop" in consent_holds(replace(GUARDS, target_known_bad="crash-loop"), NOW)[0].text


def test_contest_binds_repairs_too_and_says_how_long() -> None:
    contest = Contest()
    for at in (0.0, 1.0, 2.0):
        contest = note_rewrite(contest, NOW + at)
    holds = consent_holds(replace(GUARDS, contest=contest, reverts=2), NOW + 100)
    assert [(h.code, h.severity) for h in holds] == [("contested", Severity.CRITICAL)]
    assert "500 s" in holds[0].text
    assert consent(replace(GUARDS, contest=contest, reverts=2), NOW + 600) == []


@pytest.mark.parametrize("reverts", [0, 1])
def test_three_changes_of_our_own_are_a_limit_and_no_contest(reverts: int) -> None:
    contest = Contest()
    for at in (0.0, 1.0, 2.0):
        contest = note_rewrite(contest, NOW + at)
    holds = consent_holds(replace(GUARDS, contest=contest, reverts=reverts), NOW + 100)
    assert [(h.code, h.severity) for h in holds] == [("restart-limit", Severity.WARNING)]
    assert "500 s" in holds[0].text


def test_several_holds_are_all_told() -> None:
    assert consent(replace(GUARDS, mode="observe", disabled=True, policy_usable=False)) == [
        "mode-observe",
        "disabled",
        "policy-unusable",
    ]


@pytest.mark.parametrize(("age_s", "held"), [(4.0, True), (59.9, True), (60.0, False), (3600.0, False)])
def test_kubelet_restarted_just_before_an_edit(age_s: float, *, held: bool) -> None:
    assert ("kubelet-young" in codes(observed(kubelet_started_unix_s=NOW - age_s))) is held


def test_kubelet_that_is_down_would_not_act() -> None:
    assert codes(observed(kubelet_started_unix_s=None)) == ["kubelet-down"]


@pytest.mark.parametrize(
    ("health", "detail"),
    [
        (None, "not asked yet"),
        (HealthFacts(livez=200, readyz=500), "/readyz answered 500"),
        (HealthFacts(livez=None, readyz=None, detail="connection refused"), "connection refused"),
        (HealthFacts(livez=403, readyz=403), "/readyz answered 403"),
    ],
)
def test_unhealthy_api_server_is_not_touched(health: HealthFacts | None, detail: str) -> None:
    holds = first_edit_holds(observed(health=health), GUARDS)
    assert [h.code for h in holds] == ["api-server-unhealthy"]
    assert detail in holds[0].text


def test_api_server_that_is_down_is_not_touched() -> None:
    """An answer of somebody else's server on that port does not count."""
    assert codes(observed(processes=(), health=READY)) == ["api-server-unhealthy"]


def test_shadow_manifest_would_win_over_the_edit() -> None:
    look = observed(shadows=(Shadow(name="kube-apiserver.yaml.bak", pod="kube-apiserver"),))
    assert codes(look) == ["shadow-manifest"]


def test_running_kubeadm_is_not_fought() -> None:
    holds = first_edit_holds(observed(kubeadm_pid=4711), GUARDS)
    assert [h.code for h in holds] == ["kubeadm-running"]
    assert "4711" in holds[0].text


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"free_bytes": 100 * MIB - 1}, ["no-room"]),
        ({"free_bytes": None}, []),
        ({"present": False}, []),
        ({"fault": "it is read-only here (EROFS)", "free_bytes": 0}, ["log-directory-unwritable"]),
    ],
)
@pytest.mark.parametrize("runs", [True, False])
def test_log_directory_must_take_the_log(facts: dict[str, object], expected: list[str], *, runs: bool) -> None:
    """On a machine image too: it would be broken at its first start."""
    look = observed(log_directory=log_directory(**facts))
    if not runs:
        look = replace(look, processes=(), kubelet_started_unix_s=None, health=None)
    assert codes(look) == expected


def test_machine_image_has_nothing_to_break() -> None:
    look = observed(
        processes=(),
        kubelet_started_unix_s=None,
        health=None,
        kubeadm_pid=1,
        shadows=(Shadow(name="z.yaml", pod="kube-apiserver"),),
    )
    assert codes(look) == []
