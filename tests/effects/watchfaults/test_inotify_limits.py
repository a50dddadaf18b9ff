"""There is no inotify to be had: the watch says so, the caller's re-list carries on, and it is tried again."""

import subprocess
from pathlib import Path

import pytest

from tests.effects.watchfaults.witness import driven

OWN_USER_NAMESPACE = ("unshare", "--user", "--map-root-user")


def limited(name: str, value: int) -> tuple[str, ...]:
    """A command prefix under which this limit of inotify is ``value``, for the process alone."""
    try:
        subprocess.run([*OWN_USER_NAMESPACE, "test", "-w", f"/proc/sys/user/{name}"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("user namespaces with their own limits are not to be had here")
    return (*OWN_USER_NAMESPACE, "sh", "-c", f'echo {value} > /proc/sys/user/{name} && exec "$@"', "sh")


@pytest.mark.serial
def test_instance_limit_reached_and_raised_again(tmp_path: Path) -> None:
    limit = "/proc/sys/user/max_inotify_instances"
    with driven([tmp_path], prefix=limited("max_inotify_instances", 0)) as watch:
        started = watch.ask("start")
        assert (started["mode"], started["armed"]) == ("polling", [])
        assert "fs.inotify.max_user_instances" in started["detail"]
        descriptors = {watch.ask("check")["descriptors"] for _ in range(10)}
        assert len(descriptors) == 1, "trying again leaks nothing"

        assert watch.ask("run", "sh", "-c", f"echo 10 > {limit}")["status"] == 0
        answer = watch.ask("check")
        assert (answer["mode"], answer["changed"], answer["detail"]) == ("inotify", [str(tmp_path)], "")
        (tmp_path / "file").write_text("x")
        assert watch.ask("wait", "5")["status"] == 1


@pytest.mark.serial
def test_watch_limit_reached_and_raised_again(tmp_path: Path) -> None:
    limit = "/proc/sys/user/max_inotify_watches"
    with driven([tmp_path], prefix=limited("max_inotify_watches", 1)) as watch:
        started = watch.ask("start")
        assert started["mode"] == "polling", "a watch on one directory of two is not half a promise but none"
        assert "fs.inotify.max_user_watches" in started["detail"]
        assert watch.ask("check")["mode"] == "polling"

        assert watch.ask("run", "sh", "-c", f"echo 10 > {limit}")["status"] == 0
        answer = watch.ask("check")
        assert (answer["mode"], answer["changed"]) == ("inotify", [str(tmp_path)])


@pytest.mark.serial
def test_no_descriptor_left(tmp_path: Path) -> None:
    with driven([tmp_path]) as watch:
        in_use = watch.ask("state")["descriptors"]
        for spare in range(3):
            # None to two are left under the limit: enough for inotify itself, not for the pipe that goes with it.
            watch.ask("descriptors", str(in_use + spare))
            answer = watch.ask("start") if spare == 0 else watch.ask("check")
            assert answer["mode"] == "polling", spare
            assert "LimitNOFILE" in answer["detail"]
        watch.ask("descriptors", str(in_use + 64))
        answer = watch.ask("check")

        assert (answer["mode"], answer["changed"]) == ("inotify", [str(tmp_path)])
        assert answer["descriptors"] == in_use + 3, "the failed attempts have left nothing open"
