"""``kauditd demo`` tells the truth: it ends well, leaves nothing behind, and says what went wrong where it does not."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kauditd.sim import demo
from kauditd.sim.stage import Answer, ManifestWatch, Narrator, Programs


@pytest.fixture
def temporary(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every temporary directory of the demo lies in here, so that what is left behind is seen."""
    monkeypatch.setenv("TMPDIR", str(short_tmp))
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    yield short_tmp
    assert list(short_tmp.iterdir()) == []
    named = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(short_tmp) in " ".join(process.info["cmdline"] or [])
    ]
    assert named == []


@pytest.mark.serial
@pytest.mark.slow
def test_demo_tells_all_seven_steps(temporary: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kauditd", "demo"],
        capture_output=True,
        text=True,
        check=False,
        timeout=55,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    headings = [line for line in done.stdout.splitlines() if line[:2].strip().isdigit()]
    assert len(headings) == 7
    assert done.stdout.count("\n    ok  ") == 7
    assert "0 unaudited" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.serial
def test_a_step_that_is_not_true_ends_the_story_with_exit_code_1(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = Answer(exit_code=0, output='{"verdict": "protected"}', errors="", took_s=0.0)
    monkeypatch.setattr(Programs, "kauditctl", lambda *_args, **_keywords: answer)
    assert demo.run_demo(color=False) == 1
    output = capsys.readouterr().out
    assert "FAILED        kauditctl check should exit 1, not 0" in output
    assert "the daemon's last lines:\n(the daemon was not started)" in output


@pytest.mark.serial
def test_a_daemon_that_dies_is_told_with_its_last_words(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SETTINGS", "mode: nonsense\n")
    unprotected = Answer(exit_code=1, output='{"verdict": "unprotected", "sentence": "off"}', errors="late", took_s=0.0)
    monkeypatch.setattr(Programs, "kauditctl", lambda *_args, **_keywords: unprotected)
    assert demo.run_demo(color=False) == 1
    assert "FAILED        the verdict should become protected" in capsys.readouterr().out


def test_manifest_watch_measures_how_long_the_flag_was_away(tmp_path: Path) -> None:
    watch = ManifestWatch(tmp_path / "kube-apiserver.yaml")
    watch.changes = [(10.0, True), (11.0, False), (11.25, True), (12.0, False), (12.5, True)]
    assert watch.bare_s() == pytest.approx(0.75)
    watch.changes.append((13.0, False))
    assert watch.bare_s() is None


def test_narrator_wraps_and_colours_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    Narrator(color=False).fact("label", "word " * 40)
    plain = capsys.readouterr().out
    Narrator(color=True).proven("it is so")
    assert max(len(line) for line in plain.splitlines()) <= 118
    assert "\x1b" not in plain
    assert "\x1b[32mok" in capsys.readouterr().out
