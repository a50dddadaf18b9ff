"""What wakes the guard, how soon, and what a failure in one cycle costs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kauditd.core.credentials import Credentials
from kauditd.core.layout import SETTINGS_FILE
from kauditd.core.model import Outcome, Verdict
from kauditd.engine.commands import Commands
from kauditd.engine.loop import GATE_POLL_S, POLLING_S, RESYNC_S, SPACING_S, Loop
from kauditd.engine.reporting import Reporter
from kauditd.engine.service import Board, Service
from kauditd.engine.snapshot import Snapshot
from kauditd.errors import Refused
from tests.engine.fakes import START_UNIX_S, FakeTable
from tests.engine.virtual import run
from tests.engine.world import MANIFEST, NEW, World, codes, has_flags, plain, protected_world, started_world


class FakeWatch:
    """Implements ``engine.loop.Watching``; a test says when something happened."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self.mode, self.detail = "inotify", ""
        self.rearm_total = self.overflow_total = 0
        self.followed: tuple[str, ...] = ()
        self.running = False
        self.checks = 0
        self.rearmed: tuple[str, ...] = ()
        self._woken = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def consume(self) -> tuple[str, ...]:
        self._woken = False
        return ()

    def follow(self, directories: tuple[str, ...]) -> tuple[str, ...]:
        self.followed = directories
        return ()

    def check(self) -> tuple[str, ...]:
        self.checks += 1
        rearmed, self.rearmed = self.rearmed, ()
        return rearmed

    def touch(self) -> None:
        if not self._woken:
            self._woken = True
            self._wake(MANIFEST)


class Engine:
    """A world driven by the real loop, its clock that of the event loop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events = asyncio.get_running_loop()
        self._base = world.node.now - self.events.time()
        self.board = Board()
        self.published: list[Snapshot] = []
        self.cycles: list[float] = []
        self.watches: list[FakeWatch] = []
        world.senses.read = self._table
        world.senses.before_ask = self.tick
        self.loop = Loop(
            world.guard,
            Reporter(world.guard, started_unix_s=world.node.now),
            make_watch=self._make_watch,
            senses=world.senses,
            publish=self._publish,
        )
        self.service = Service(self.loop, Commands(world.guard), self.board)

    @property
    def watch(self) -> FakeWatch:
        return self.watches[0]

    @property
    def newest(self) -> Snapshot:
        return self.board.newest()

    def tick(self) -> None:
        self.world.node.now = self._base + self.events.time()
        self.world.kubelet.tick()

    def kubeadm_moves_in(self, content: bytes, *, event: bool = True) -> None:
        self.tick()
        self.world.node.put(MANIFEST, content)
        if event:
            self.watch.touch()

    async def until(self, done: Callable[[], bool], *, limit_s: float) -> float:
        began = self.events.time()
        while not done():
            assert self.events.time() - began < limit_s, self.newest.sentence
            await asyncio.sleep(0.1)
            self.tick()
        return self.events.time() - began

    def _table(self) -> FakeTable:
        self.cycles.append(self.events.time())
        self.tick()
        return self.world.kubelet.table

    def _make_watch(self, wake: Callable[[str], None]) -> FakeWatch:
        self.watches.append(FakeWatch(wake))
        return self.watches[0]

    def _publish(self, snapshot: Snapshot) -> None:
        self.published.append(snapshot)
        self.board.post(snapshot)


@asynccontextmanager
async def engine(world: World, *, settle: bool = True) -> AsyncIterator[Engine]:
    """The loop running on ``world`` (restarted); ``settle`` waits until it is protected."""
    world.start()
    made = Engine(world)
    await made.loop.start()
    tasks = [
        asyncio.create_task(made.loop.repair_forever()),
        asyncio.create_task(made.loop.cycle_forever()),
    ]
    try:
        if settle:
            await made.until(lambda: made.newest.verdict is Verdict.PROTECTED, limit_s=90)
        yield made
        assert not any(t.done() for t in tasks), "a task of the daemon ended"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        made.loop.close()


@pytest.fixture(autouse=True, scope="module")
def _world_made_outside_of_a_loop() -> None:
    """Making it runs a loop of its own; later ones are copies."""
    protected_world()


def test_event_is_answered_before_any_cycle() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            await asyncio.sleep(3.0)
            made.kubeadm_moves_in(plain(NEW))
            await asyncio.sleep(0.02)  # not a moment passes while the worker is busy
            assert has_flags(made.world.manifest)
            await asyncio.sleep(1.0)
            assert made.newest.verdict is Verdict.CHANGING
            assert made.newest.watch.resync_found_drift_total == 0, "the event did it, not the next cycle"

    run(story())


def test_all_events_lost_cost_at_most_one_resync() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            for wait_s in (0.1, 2.0, 4.9):
                await asyncio.sleep(wait_s)
                made.kubeadm_moves_in(plain(NEW), event=False)
                assert await made.until(lambda: has_flags(made.world.manifest), limit_s=10) <= RESYNC_S + 0.2
                await made.until(lambda: made.newest.verdict is Verdict.PROTECTED, limit_s=400)
                await asyncio.sleep(700)
            assert made.newest.watch.resync_found_drift_total == 3

    run(story())


def test_half_written_file_is_looked_at_again_without_another_event() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            made.tick()
            made.world.node.write_in_place(MANIFEST, plain(NEW).removesuffix(b"status: {}\n"))
            made.watch.touch()
            assert await made.until(lambda: has_flags(made.world.manifest), limit_s=2) < 1.0

    run(story())


def test_open_gate_is_looked_at_twice_a_second() -> None:
    async def story() -> None:
        async with engine(started_world(), settle=False) as made:
            await asyncio.sleep(5.0)
            gaps = [b - a for a, b in zip(made.cycles, made.cycles[1:], strict=False)]
            assert max(gaps) <= GATE_POLL_S + 0.01
            await made.until(lambda: made.newest.verdict is Verdict.PROTECTED, limit_s=60)
            assert made.newest.changes[-1].outcome is Outcome.PROVEN

    run(story())


def test_calm_node_is_looked_at_every_five_seconds_and_asked_every_fifteen() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            senses = made.world.senses
            cycles, asked, proofs = len(made.cycles), len(senses.asked_health), len(senses.asked_canary)
            await asyncio.sleep(300)
            assert 59 <= len(made.cycles) - cycles <= 61
            assert 19 <= len(senses.asked_health) - asked <= 21
            assert 4 <= len(senses.asked_canary) - proofs <= 6
            assert senses.asked_where == {("10.0.0.11", 6443)}

    run(story())


def test_storm_of_events_makes_no_storm_of_cycles() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            cycles = len(made.cycles)
            for _ in range(500):
                made.watch.touch()
                await asyncio.sleep(0.01)
            assert len(made.cycles) - cycles <= 5 / SPACING_S + 1

    run(story())


def test_watch_that_only_polls_is_shown_and_looked_after_more_often() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            made.watch.mode, made.watch.detail = "polling", "raise fs.inotify.max_user_instances"
            await asyncio.sleep(RESYNC_S + 1)
            reason = next(r for r in made.newest.reasons if r.code == "watch-polling")
            assert reason.hint == "raise fs.inotify.max_user_instances"
            assert made.newest.watch.mode == "polling"
            assert made.newest.verdict is Verdict.PROTECTED
            made.kubeadm_moves_in(plain(NEW), event=False)
            assert await made.until(lambda: has_flags(made.world.manifest), limit_s=5) <= POLLING_S + 0.2

    run(story())


@pytest.mark.parametrize("where", ["cycle", "table", "probe", "watch", "reload"])
def test_failing_cycle_is_counted_shown_and_followed_by_the_next(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)

    def fail(*_arguments: object, **_named: object) -> Any:
        raise OSError("no more processes\x1b[0m")

    async def story() -> None:
        async with engine(protected_world()) as made:
            match where:
                case "cycle":
                    monkeypatch.setattr(made.world.guard, "cycle", fail)
                case "table":
                    made.world.senses.read = fail
                case "probe":
                    made.world.senses.before_ask = fail
                case "watch":
                    monkeypatch.setattr(made.watch, "check", fail)
                case _:
                    monkeypatch.setattr(made.world.guard, "reload_if_touched", fail)
            await asyncio.sleep(3 * 15 + 1)
            shown = made.newest
            reason = next(r for r in shown.reasons if r.code == "cycle-failed")
            assert "OSError: no more processes" in reason.text
            assert "\x1b" not in reason.text
            assert shown.verdict in {Verdict.DEGRADED, Verdict.UNPROTECTED}
            assert shown.counters["cycle_failures_total"] >= 3
            assert not made.loop.healthy
            assert int(reason.text.split()[0]) >= 3
            made.kubeadm_moves_in(plain(NEW))
            await asyncio.sleep(0.1)
            assert has_flags(made.world.manifest), "repairs go on"
            assert not made.loop.healthy, "a repair says nothing about cycles"
            monkeypatch.undo()
            made.world.senses.read, made.world.senses.before_ask = made._table, made.tick
            await made.until(lambda: made.newest.verdict is Verdict.PROTECTED, limit_s=90)
            assert made.loop.healthy
            assert "cycle-failed" not in codes(made.newest)

    run(story())


def test_proof_asked_for_is_taken_before_the_answer() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            await asyncio.sleep(20)
            sent = made.world.senses.asked_canary
            known = len(sent)
            shown = await made.loop.prove_now()
            assert len(sent) == known + 1
            assert shown.proof.evidence is not None
            assert shown.proof.evidence.audit_id == sent[-1][1].audit_id

    run(story())


def test_counters_are_weighed_beside_the_cycles_and_a_lost_line_is_shown() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            made.world.senses.found_credentials = Credentials(source="a test")
            assert made.newest.proof.counters == "not compared yet"
            weighing = asyncio.create_task(made.loop.weigh_forever())
            await asyncio.sleep(70)
            assert "agree" in made.newest.proof.counters
            assert made.newest.verdict is Verdict.PROTECTED
            made.world.log.lost += 2
            await made.until(lambda: made.newest.verdict is Verdict.DEGRADED, limit_s=80)
            assert "2 lines" in next(r.text for r in made.newest.reasons if r.code == "lines-lost")
            weighing.cancel()
            await asyncio.gather(weighing, return_exceptions=True)

    run(story())


def test_failing_repair_does_not_end_the_loop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)

    def fail() -> float:
        raise ZeroDivisionError

    async def story() -> None:
        async with engine(protected_world()) as made:
            monkeypatch.setattr(made.world.guard, "repair_now", fail)
            made.kubeadm_moves_in(plain(NEW))
            await asyncio.sleep(2)
            assert has_flags(made.world.manifest), "the cycle repairs where the hot path cannot"
            assert made.newest.counters["cycle_failures_total"] == 1

    run(story())


def test_watch_that_had_to_be_set_again_leads_to_a_look(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        async with engine(protected_world()) as made:
            made.watch.rearmed = ("/etc/kubernetes/manifests",)
            await asyncio.sleep(RESYNC_S + 1)
            assert "Watching again: /etc/kubernetes/manifests" in caplog.text

    run(story())


def test_directories_follow_the_settings() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            assert set(made.watch.followed) >= {"/etc/kubernetes/manifests", "/etc/kauditd", "/etc/kubernetes/audit"}
            made.tick()
            made.world.node.put("/srv/policies/own.yaml", b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n")
            made.world.settings("policy:\n  file: /srv/policies/own.yaml\n")
            made.watch.touch()
            await asyncio.sleep(1)
            assert "/srv/policies" in made.watch.followed

    run(story())


def _change_behind_its_identity(world: World, text: bytes) -> None:
    """As an edit through a link does: what ``lstat`` says of the name stays the same."""
    known = world.node.files[SETTINGS_FILE]
    world.node.files[SETTINGS_FILE] = type(known)(text, known.id)


def test_reload_reads_settings_whatever_their_identity_says() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            await asyncio.sleep(RESYNC_S + 1)
            _change_behind_its_identity(made.world, b"mode: observe\n")
            await asyncio.sleep(RESYNC_S + 1)
            assert made.newest.mode == "enforce"
            await made.loop.reload()
            assert made.newest.mode == "observe"

    run(story())


def test_settings_behind_a_link_are_noticed_within_a_minute() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            await asyncio.sleep(RESYNC_S + 1)
            _change_behind_its_identity(made.world, b"mode: observe\n")
            assert await made.until(lambda: made.newest.mode == "observe", limit_s=120) <= 60 + RESYNC_S + 1

    run(story())


def test_touched_settings_are_read_at_once() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            made.tick()
            made.world.settings("mode: observe\n")
            made.watch.touch()
            assert await made.until(lambda: made.newest.mode == "observe", limit_s=5) <= 1.0

    run(story())


def test_who_waits_for_a_snapshot_gets_the_next_one_or_the_newest() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            seen = made.service.snapshot().sequence
            newer = await made.service.wait_snapshot(seen, timeout_s=20)
            assert newer.sequence > seen
            began = made.events.time()
            same = await made.service.wait_snapshot(newer.sequence + 1000, timeout_s=12)
            assert made.events.time() - began == pytest.approx(12)
            assert same.sequence < newer.sequence + 1000

    run(story())


def test_who_waits_for_a_change_gets_its_end() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            change = await made.service.disable(peer_uid=0)
            assert change is not None
            assert made.newest.disabled, "the snapshot shows the effect before the answer goes out"
            assert made.newest.verdict is Verdict.CHANGING
            waiting = await made.service.wait_change(change.id, timeout_s=1)
            assert waiting is not None
            assert waiting.outcome is Outcome.OPEN
            ended = await made.service.wait_change(change.id, timeout_s=120)
            assert ended is not None
            assert ended.outcome is Outcome.PROVEN
            assert await made.service.wait_change(4711, timeout_s=5) is None

    run(story())


def test_pause_and_resume_are_shown_with_the_answer() -> None:
    async def story() -> None:
        async with engine(protected_world()) as made:
            paused = await made.service.pause(peer_uid=0, duration_s=60)
            assert paused.paused_until_unix_s == pytest.approx(made.world.node.now + 60, abs=6)
            assert (await made.service.resume(peer_uid=0)).paused_until_unix_s is None
            assert await made.service.apply(peer_uid=0) is None
            back = await made.service.rollback(peer_uid=0)
            assert back is not None
            assert made.world.manifest == plain()

    run(story())


def test_refused_command_still_shows_its_effect() -> None:
    async def story() -> None:
        world = started_world()
        world.kubelet.started = START_UNIX_S - 1
        async with engine(world, settle=False) as made:
            before = made.newest.sequence
            with pytest.raises(Refused, match="kubelet"):
                await made.service.apply(peer_uid=0)
            assert made.newest.sequence > before

    run(story())


def test_status_before_the_first_look_is_unavailable() -> None:
    async def story() -> None:
        with pytest.raises(Refused) as caught:
            Board().newest()
        assert caught.value.kind == "unavailable"

    run(story())


def test_restart_inside_a_gate_goes_on_with_it() -> None:
    async def first(world: World) -> None:
        async with engine(world, settle=False):
            await asyncio.sleep(3)

    async def second(world: World) -> None:
        async with engine(world, settle=False) as made:
            assert made.newest.verdict is Verdict.CHANGING
            await made.until(lambda: made.newest.verdict is Verdict.PROTECTED, limit_s=90)
            assert [c.outcome for c in made.newest.changes] == [Outcome.PROVEN]
            assert not made.watch.running or made.watch.followed

    world = started_world()
    _run_story(first(world))
    _run_story(second(world))


def _run_story(story: Coroutine[Any, Any, None]) -> None:
    run(story)
