"""A change that does not prove itself is undone inside the gate and not tried again (promise P3)."""

from collections.abc import Callable

import pytest

from kauditd.core.model import Outcome, Verdict
from tests.engine.fakes import no_space
from tests.engine.world import (
    LOG_DIRECTORY,
    MANIFEST,
    NEW,
    World,
    codes,
    has_flags,
    plain,
    protected_world,
    started_world,
)
from tests.sim.scenario import with_volume

OTHER_POLICY = (
    b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
    b"- level: None\n  nonResourceURLs: ['/healthz*']\n- level: Metadata\n"
)


def only_with_flags(fate: str) -> Callable[[bytes], str]:
    return lambda content: fate if has_flags(content) else "runs"


def ended(world: World) -> Callable[[], bool]:
    """Whether the next change has begun and ended."""
    known = len(world.changes) if world.guard.space.changes.open() is None else len(world.changes) - 1
    return lambda: len(world.changes) > known and world.changes[known].outcome is not Outcome.OPEN


@pytest.mark.parametrize(
    ("fate", "code", "limit_s"),
    [
        ("crashes", "crash-loop", 60),
        ("never", "never-started", 170),
        ("bare", "flags-missing", 170),
        ("unready", "not-ready", 170),
    ],
)
def test_failed_enable_is_taken_back_once(fate: str, code: str, limit_s: float) -> None:
    world = started_world()
    world.kubelet.fate = only_with_flags(fate)
    world.run_until(ended(world), limit_s=limit_s + 60)
    change = world.changes[-1]
    assert change.outcome is Outcome.ROLLED_BACK
    assert change.reason.startswith(f"{code}: ")
    assert change.finished_unix_s is not None
    assert world.manifest == plain()
    assert world.replaced() == 2
    shown = world.run(1900)
    assert world.manifest == plain(), "a bad target state is never tried twice"
    assert len(world.changes) == 1
    assert shown.verdict is Verdict.UNPROTECTED
    assert "target-known-bad" in codes(shown)


def test_bad_target_is_not_tried_after_a_restart_either() -> None:
    world = started_world()
    world.kubelet.fate = only_with_flags("crashes")
    world.run_until(ended(world), limit_s=90)
    world.crash()
    world.run(60)
    assert len(world.changes) == 1
    assert world.manifest == plain()


def test_bad_target_with_a_path_that_had_to_give_way_is_not_tried_again_either() -> None:
    """Somebody else's mount has our log's path in the container, so the flags are not those of the settings."""
    taken = with_volume(plain().decode(), "their-logs", "/srv/logs")
    taken = taken.replace("mountPath: /srv/logs", f"mountPath: {LOG_DIRECTORY}").encode()
    world = started_world()
    world.node.put(MANIFEST, taken)
    world.kubelet.boot()
    world.kubelet.fate = only_with_flags("crashes")
    world.run_until(ended(world), limit_s=90)
    world.run(120)
    assert world.outcomes == [("enable", Outcome.ROLLED_BACK)]
    assert world.manifest == taken


def _failed_world() -> World:
    world = started_world()
    world.kubelet.fate = only_with_flags("crashes")
    world.run_until(ended(world), limit_s=90)
    world.kubelet.fate = lambda _content: "runs"
    world.run(30)
    assert not has_flags(world.manifest)
    return world


def test_other_settings_try_again() -> None:
    world = _failed_world()
    world.settings("target:\n  kubelet_stable_s: 60\nlog:\n  max_backups: 11\n")
    world.run_until(lambda: world.outcomes[-1] == ("enable", Outcome.PROVEN), limit_s=90)


def test_other_policy_tries_again() -> None:
    world = _failed_world()
    world.settings("policy:\n  profile: metadata\n")
    world.run_until(lambda: world.outcomes[-1] == ("enable", Outcome.PROVEN), limit_s=90)


def test_other_api_server_version_tries_again() -> None:
    world = _failed_world()
    world.kubeadm_moves_in(plain(NEW))
    world.run_until(lambda: world.outcomes[-1] == ("enable", Outcome.PROVEN), limit_s=120)


def test_apply_tries_again() -> None:
    world = _failed_world()
    world.commands.apply()
    world.run_until(lambda: world.outcomes[-1] == ("apply", Outcome.PROVEN), limit_s=90)


def test_version_that_refuses_our_policy_is_tried_once_over_two_upgrades() -> None:
    """The second upgrade overwrites a compliant manifest of the old version; the hot path must know better."""
    world = protected_world()
    world.kubelet.fate = lambda c: "crashes" if b":v1.37.2" in c and has_flags(c) else "runs"
    backup = world.manifest
    world.kubeadm_moves_in(plain(NEW))
    world.run_until(ended(world), limit_s=90)
    assert world.outcomes[-1] == ("repair", Outcome.ROLLED_BACK)
    assert world.manifest == plain(NEW)
    world.kubeadm_moves_in(backup)
    world.run(700)
    world.kubeadm_moves_in(plain(NEW))
    world.run(60)
    assert world.manifest == plain(NEW)
    assert len(world.changes) == 2


def test_failure_of_an_older_wish_does_not_condemn_the_newer_one() -> None:
    """The policy changes while the first change is inside its gate."""
    world = started_world()
    world.run(4)
    older = world.manifest
    world.kubelet.fate = lambda content: "crashes" if content == older else "runs"
    world.settings("policy:\n  profile: metadata\n")
    world.run_until(lambda: world.outcomes[-1] == ("enable", Outcome.PROVEN), limit_s=120)
    assert world.outcomes == [("enable", Outcome.ROLLED_BACK), ("enable", Outcome.PROVEN)]


def test_old_process_that_does_not_end_is_no_fault_of_the_target() -> None:
    """A kubelet that does not act says nothing about the manifest: taken back, and tried again later."""
    world = started_world()
    world.kubelet.asleep = True
    world.run_until(ended(world), limit_s=700)
    assert world.outcomes[0] == ("enable", Outcome.ROLLED_BACK)
    assert world.changes[0].reason.startswith("old-process-stays: ")
    assert world.guard.space.standing.bad_targets == {}
    world.kubelet.asleep = False
    world.run_until(lambda: world.outcomes[-1] == ("enable", Outcome.PROVEN), limit_s=400)


def test_somebody_elses_write_during_the_gate_is_not_taken_back() -> None:
    world = started_world()
    world.kubelet.fate = only_with_flags("unready")
    world.run(30)
    other = plain().replace(b"--allow-privileged=true", b"--allow-privileged=false")
    world.commands.pause(None)
    world.kubeadm_moves_in(other)
    world.run(300)
    assert world.manifest == other
    assert world.outcomes == [("enable", Outcome.SUPERSEDED)]


def test_full_disk_delays_the_way_back_and_does_not_flood_the_journal() -> None:
    world = started_world()
    world.kubelet.fate = only_with_flags("crashes")
    world.run(5)
    world.chaos.refused["replace_manifest"] = no_space(MANIFEST)
    shown = world.run(120)
    assert has_flags(world.manifest)
    assert "write-failed" in codes(shown)
    assert shown.verdict is Verdict.CHANGING
    tries = [e for e in world.changes[0].events if e.what == "write-back-failed"]
    assert 3 <= len(tries) <= 6
    assert len([e for e in world.changes[0].events if e.what == "taken-back"]) == 1
    world.chaos.refused.clear()
    world.run_until(ended(world), limit_s=120)
    assert world.changes[0].outcome is Outcome.ROLLED_BACK
    assert world.manifest == plain()
    assert "write-failed" not in codes(world.run(10))


def test_journal_that_cannot_be_written_does_not_stop_the_way_back() -> None:
    world = started_world()
    world.kubelet.fate = only_with_flags("crashes")
    world.run(5)
    world.chaos.refused["append"] = no_space("/var/lib/kauditd/journal.ndjson")
    world.run_until(lambda: world.manifest == plain(), limit_s=60)
    world.run_until(ended(world), limit_s=60)
    assert world.changes[0].outcome is Outcome.ROLLED_BACK
    assert "journal-behind" in codes(world.report())
    world.chaos.refused.clear()
    world.run(10)
    assert "journal-behind" not in codes(world.report())
    assert [r["outcome"] for r in world.memory.journal if r["type"] == "outcome"] == ["rolled-back"]


def test_manifest_that_cannot_be_read_for_a_moment_delays_the_way_back() -> None:
    world = started_world()
    world.kubelet.fate = only_with_flags("crashes")
    world.run_until(lambda: world.kubelet.restarts >= 2, limit_s=60)
    world.node.unreadable[MANIFEST] = "too many open files (EMFILE)"
    world.run(30)
    assert world.changes[0].outcome is Outcome.OPEN
    world.node.unreadable.clear()
    world.run_until(ended(world), limit_s=60)
    assert world.changes[0].outcome is Outcome.ROLLED_BACK
    assert world.manifest == plain()


def test_way_back_of_a_repair_leaves_kubeadms_manifest() -> None:
    world = protected_world()
    world.kubelet.fate = lambda c: "unready" if b":v1.37.2" in c and has_flags(c) else "runs"
    world.kubeadm_moves_in(plain(NEW))
    world.run_until(ended(world), limit_s=220)
    assert world.outcomes[-1] == ("repair", Outcome.ROLLED_BACK)
    assert world.manifest == plain(NEW)


def test_server_that_stays_broken_without_us_still_ends_the_change() -> None:
    """The way back did not help: the change ends, and nothing more is written."""
    world = started_world()
    broken = {"": False}
    world.kubelet.fate = lambda _content: "unready" if broken[""] else "runs"
    world.run(1)
    broken[""] = True
    world.run_until(ended(world), limit_s=400)
    assert world.changes[0].outcome is Outcome.ROLLED_BACK
    assert "not-ready" in world.changes[0].reason
    assert world.manifest == plain()
    world.run(100)
    assert len(world.changes) == 1
