"""``check``, ``diff``, ``doctor`` and ``policy`` read the node themselves, change nothing, and answer by exit code."""

import io
import json
import os
import shutil
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from kauditd.core.manifest import pod_digest
from kauditd.daemon.assess import main
from tests.daemon.process import MANIFEST, daemon, has_flags, plain, put, run, wait_until

PROGRAM = "kauditd.daemon.assess"


@dataclass(frozen=True, slots=True)
class Answer:
    returncode: int
    stdout: str
    stderr: str


def assess(root: Path, *words: str) -> Answer:
    """The program in this process: starting another one costs half a second."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "--root", str(root)])
    return Answer(code, out.getvalue(), err.getvalue())


def picture(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below the root: bytes and inode."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if path.is_file():
                found[str(path)] = (path.read_bytes(), path.stat().st_ino)
    return found


def patched(root: Path, diff: str, copy: Path) -> Path:
    """A copy of the node's /etc with the diff applied by patch(1)."""
    if shutil.which("patch") is None:
        pytest.skip("patch(1) is not installed")
    shutil.copytree(root / "etc", copy / "etc")
    done = subprocess.run(
        ["patch", "-p1", "-d", str(copy)], input=diff, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return copy


def test_check_of_a_plain_node_says_no_and_why(image: Path) -> None:
    before = picture(image)
    text = assess(image, "check")
    assert text.returncode == 1
    assert "flag-missing" in text.stdout
    shown = json.loads(assess(image, "check", "--format", "json").stdout)
    assert shown["verdict"] == "unknown"
    assert {"flag-missing", "no-api-server"} <= {r["code"] for r in shown["reasons"]}
    assert picture(image) == before


def test_diff_applies_with_patch_and_is_what_the_daemon_writes(image: Path, once_edited: Path, tmp_path: Path) -> None:
    before = picture(image)
    shown = assess(image, "diff")
    assert shown.returncode == 1
    assert picture(image) == before
    copy = patched(image, shown.stdout, tmp_path / "copy")
    assert (copy / MANIFEST).read_bytes() == (once_edited / MANIFEST).read_bytes()
    policies = list((once_edited / "etc/kubernetes/audit").iterdir())
    assert policies
    assert [(copy / p.relative_to(once_edited)).read_bytes() for p in policies] == [p.read_bytes() for p in policies]


def test_diff_where_nothing_differs_is_empty(edited: Path) -> None:
    shown = assess(edited, "diff")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert json.loads(assess(edited, "diff", "--format", "json").stdout) == {"diff": ""}


def test_diff_of_the_way_back_gives_the_original_bytes(edited: Path, tmp_path: Path) -> None:
    shown = assess(edited, "diff", "--disable")
    assert shown.returncode == 1
    copy = patched(edited, shown.stdout, tmp_path / "copy")
    assert (copy / MANIFEST).read_bytes() == plain()


def test_diff_of_the_way_back_without_any_memory_gives_the_original_pod(edited: Path, tmp_path: Path) -> None:
    shutil.rmtree(edited / "var/lib/kauditd")
    shown = assess(edited, "diff", "--disable")
    copy = patched(edited, shown.stdout, tmp_path / "copy")
    assert pod_digest((copy / MANIFEST).read_bytes()) == pod_digest(plain())


def test_diff_of_the_way_back_on_a_plain_node_is_empty(image: Path) -> None:
    shown = assess(image, "diff", "--disable")
    assert (shown.returncode, shown.stdout) == (0, "")


@pytest.mark.parametrize("words", [[], ["--disable"]])
def test_diff_of_a_manifest_that_cannot_be_edited_names_it(image: Path, words: list[str]) -> None:
    put(image / MANIFEST, b"kind: Pod\nspec: [\n")
    shown = assess(image, "diff", *words)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.startswith("error: cannot edit /etc/kubernetes/manifests/kube-apiserver.yaml: ")
    assert "\nhint: " in shown.stderr


def test_diff_without_a_manifest_is_an_error(image: Path) -> None:
    (image / MANIFEST).unlink()
    shown = assess(image, "diff")
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: cannot read /etc/kubernetes/manifests/kube-apiserver.yaml: there is none")


def test_doctor_names_what_is_wrong(image: Path) -> None:
    (image / "etc/kauditd/kauditd.yaml").write_text("mode: enforced\n")
    put(image / "etc/kubernetes/manifests/kube-apiserver.yaml.bak", plain())
    before = picture(image)
    shown = assess(image, "doctor")
    assert shown.returncode == 1
    assert "kauditd.yaml:1:7" in shown.stdout
    assert "kube-apiserver.yaml.bak" in shown.stdout
    findings = json.loads(assess(image, "doctor", "--format", "json").stdout)
    assert {f["grade"] for f in findings} <= {"ok", "warning", "problem", "note"}
    assert any(f["grade"] == "problem" for f in findings)
    assert len({f["id"] for f in findings}) == len(findings)
    assert picture(image) == before


@pytest.mark.parametrize("profile", ["default", "seed", "stig", "metadata"])
def test_profiles_are_shown(image: Path, profile: str) -> None:
    shown = assess(image, "policy", "show", "--profile", profile)
    assert shown.returncode == 0
    assert "kind: Policy" in shown.stdout


@pytest.mark.parametrize("words", [["check", "--nonsense"], ["policy", "show", "--profile", "none"], [], ["diffs"]])
def test_usage_is_refused_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: kauditctl" in capsys.readouterr().err


def test_look_beside_a_running_daemon_touches_nothing_of_it(image: Path) -> None:
    """Not its lock, not its journal, and not the temporary file of a write that is under way."""
    with daemon(image) as running:
        wait_until(lambda: has_flags(running.manifest.read_bytes()), what="the edit")
        wait_until(lambda: (running.wait_answering()["last_change"] or {}).get("outcome") == "unproven", what="rest")
        (running.manifest.parent / ".kauditd.0badcafe.4711").write_bytes(b"being written")
        before = {k: v for k, v in picture(image).items() if not k.endswith("daemon.log")}
        for words in (["check"], ["diff"], ["diff", "--disable"], ["doctor"]):
            done = run(PROGRAM, *words, "--root", str(image))
            assert done.stderr == ""
        assert {k: v for k, v in picture(image).items() if not k.endswith("daemon.log")} == before


def test_state_that_cannot_be_used_is_left_for_the_daemon(edited: Path) -> None:
    state = edited / "var/lib/kauditd/state.json"
    state.write_text("{")
    before = picture(edited)
    assert assess(edited, "check").returncode == 1
    assert picture(edited) == before
