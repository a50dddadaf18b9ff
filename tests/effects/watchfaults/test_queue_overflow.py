"""The kernel's event queue overflows while the process does not run: the event of the target is lost for good."""

import os
import signal
from pathlib import Path

import pytest

from tests.effects.watchfaults.witness import driven

QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.mark.serial
def test_target_written_after_the_queue_was_full(tmp_path: Path) -> None:
    pytest.importorskip(
        "watchdog.observers.inotify_move_event_grouper", reason="watchdog 6.x says nothing of overflows"
    )
    events = int(QUEUE_LIMIT.read_text())
    if events > 100_000:
        pytest.skip(f"{QUEUE_LIMIT} is {events}: filling it takes too long")
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    with driven([manifests]) as watch:
        watch.ask("start")
        watch.ask("check")
        os.kill(watch.process.pid, signal.SIGSTOP)
        try:
            # Two events each, of two names in turn: the kernel folds only neighbours that are equal.
            for number in range(events // 2 + 100):
                os.close(os.open(manifests / f".kauditd.{number % 2}", os.O_CREAT | os.O_WRONLY))
                if number % 2:
                    for name in (".kauditd.0", ".kauditd.1"):
                        (manifests / name).unlink()
            (manifests / "kube-apiserver.yaml").write_text("x")
        finally:
            os.kill(watch.process.pid, signal.SIGCONT)

        # Everything that fitted into the queue was our own unfinished files, which never wake: this is the overflow.
        answer = watch.ask("wait", "5")
        assert answer["status"] == 1
        assert answer["overflow_total"] >= 1

        watch.ask("check")
        (manifests / "kube-apiserver.yaml").write_text("y")
        assert watch.ask("wait", "5")["status"] == 1, "and it goes on watching"
