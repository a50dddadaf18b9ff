"""The last line of a run is the sum of its stages."""

from pathlib import Path

import pytest

from tests.tally import main

REPORT = """<testsuites><testsuite name="pytest" tests="4" failures="1" errors="1" skipped="1">
<testcase name="a"/><testcase name="b"><failure/></testcase><testcase name="c"><error/></testcase>
<testcase name="d"><skipped/></testcase></testsuite></testsuites>"""
GREEN = '<testsuites><testsuite tests="2" failures="0" errors="0" skipped="1"><testcase/></testsuite></testsuites>'


def test_stages_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.xml").write_text(REPORT)
    (tmp_path / "b.xml").write_text(GREEN)

    assert main([str(tmp_path / "a.xml"), str(tmp_path / "b.xml")]) == 1
    assert capsys.readouterr().out == "2 passed, 2 failed, 2 skipped\n"


def test_a_green_run_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.xml").write_text(GREEN)

    assert main([str(tmp_path / "b.xml")]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed, 1 skipped\n"


def test_a_stage_without_report_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent.xml"), "failed:coverage below 100 %"]) == 1
    assert capsys.readouterr().out == "FAILED coverage below 100 %\n0 passed, 2 failed, 0 skipped\n"


def test_a_run_that_tested_nothing_is_red(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert capsys.readouterr().out == "0 passed, 0 failed, 0 skipped\n"
