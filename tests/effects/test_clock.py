"""The node's clocks."""

import re
import time
from pathlib import Path

import pytest

from kauditd.effects import clock
from kauditd.effects.clock import SystemClock, boot_id
from kauditd.errors import FileFault


def test_wall_clock_and_monotonic_clock() -> None:
    system = SystemClock()

    assert abs(system.now_unix_s() - time.time()) < 1
    first, second = system.monotonic_s(), system.monotonic_s()
    assert first <= second


def test_boot_id_is_the_kernels() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", boot_id())
    assert boot_id() == boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_no_boot_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_BOOT_ID_FILE", str(tmp_path / "gone"))

    with pytest.raises(FileFault) as caught:
        boot_id()

    assert str(tmp_path / "gone") in caught.value.message
    assert caught.value.hint
