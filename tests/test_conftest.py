"""The fixtures keep their own promises."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


def test_node_root_is_a_node_without_manifests(node_root: Path) -> None:
    assert (node_root / "etc/kubernetes/manifests").is_dir()
    assert not list((node_root / "etc/kubernetes/manifests").iterdir())
    assert len(str(node_root / "run/kauditd/kauditd.sock")) < 108


def test_new_files_have_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_child_left_behind_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makepyfile(
        """
        import subprocess, warnings

        def test_leaves_one():
            warnings.simplefilter("ignore")
            subprocess.Popen(["sleep", "60"])

        def test_waits_for_its_own():
            subprocess.run(["true"], check=True)
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*left child processes behind*sleep 60*"])
