"""Looks become lines of the ledger: every second is proven, or a window with its cause (promise P5)."""

from collections import Counter

import pytest

from kauditd.core.looks import Look
from kauditd.core.model import Outcome
from kauditd.core.windows import SpanKind, WindowCause
from tests.engine.world import NEW, World, plain, protected_world, started_world


def causes(world: World) -> list[WindowCause]:
    return [w.cause for w in world.windows]


def test_time_before_audit_was_on_is_a_window_that_closes_when_it_is_proven() -> None:
    world = started_world()
    world.run(3)
    assert causes(world) == [WindowCause.NOT_ENABLED]
    assert world.windows[0].end_unix_s is None
    world.run_until(lambda: world.outcomes[-1:] == [("enable", Outcome.PROVEN)], limit_s=60)
    world.run(10)
    window = world.windows[0]
    assert window.end_unix_s is not None
    assert window.end_unix_s <= world.node.now
    assert window.resumed_audit_id == world.log.written[0].canary.audit_id
    assert window.repaired_by == f"change {world.changes[-1].id}, enable"
    assert all(w.end_unix_s is not None for w in world.windows)


def test_upgrade_whose_pod_runs_without_flags_is_a_window_of_the_upgrade() -> None:
    world = protected_world()
    known = len(world.windows)
    world.kubelet.fate = lambda content: "bare" if b":v1.37.2" in content else "runs"
    world.kubeadm_moves_in(plain(NEW))
    world.run_until(lambda: world.kubelet.process is not None and not world.audited, limit_s=60)
    world.run(2)
    assert causes(world)[known:] == [WindowCause.UPGRADE_OVERWROTE]


def test_upgrade_that_was_repaired_in_time_opens_no_window() -> None:
    world = protected_world()
    known = len(world.windows)
    world.kubeadm_moves_in(plain(NEW))
    world.run_until(lambda: world.outcomes[-1] == ("repair", Outcome.PROVEN), limit_s=90)
    world.run(70)
    unaudited = [w for w in world.windows[known:] if w.kind is SpanKind.UNAUDITED]
    assert unaudited == []


def test_disabled_audit_is_an_open_window_that_says_so() -> None:
    world = protected_world()
    known = len(world.windows)
    world.commands.disable()
    world.run(60)
    opened = world.windows[known:]
    assert opened[-1].cause is WindowCause.DISABLED
    assert opened[-1].end_unix_s is None


def test_time_in_which_kauditd_was_down_is_unknown() -> None:
    world = protected_world()
    world.run(61)
    known = len(world.windows)
    world.node.now += 300
    world.crash()
    world.run(20)
    window = world.windows[known]
    assert (window.cause, window.kind) == (WindowCause.KAUDITD_DOWN, SpanKind.UNKNOWN)
    assert window.duration_s >= 290


def test_a_round_of_proof_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = protected_world()
    told: list[str] = []
    keep = world.keeper.note

    def note(look: Look) -> None:
        if look.proof is not None:
            told.append(look.proof.audit_id)
        keep(look)

    monkeypatch.setattr(world.keeper, "note", note)
    sent = len(world.senses.asked_canary)
    world.run(300)
    assert told == [c.audit_id for _, c in world.senses.asked_canary[sent:]]
    assert max(Counter(told).values()) == 1
    assert len(told) >= 4
