"""Adds up what the stages of a run say: ``python -m tests.tally FILE.xml...``.

It prints the sum as ``N passed, N failed, N skipped``. A stage that left no report (it crashed, or a gate was missed)
counts as one failure; name it ``failed:REASON``. The exit code is 1 if anything failed or nothing passed.
"""

import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tally:
    """How many tests ended how; an error in a fixture is a failure."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def of_report(path: Path) -> Tally:
    """The tally of one JUnit report; a missing or unreadable one is one failure."""
    try:
        suites = ET.parse(path).getroot().iter("testsuite")
        return sum((_of_suite(suite) for suite in suites), start=Tally())
    except (OSError, ET.ParseError):
        return Tally(failed=1)


def _of_suite(suite: ET.Element) -> Tally:
    total, skipped = int(suite.get("tests", "0")), int(suite.get("skipped", "0"))
    failed = len(
        [case for case in suite.iter("testcase") if case.find("failure") is not None or case.find("error") is not None]
    )
    return Tally(passed=total - skipped - failed, failed=failed, skipped=skipped)


def main(arguments: list[str]) -> int:
    """Print the sum of all reports; ``failed:REASON`` adds one failure and is named above the sum."""
    total = Tally()
    for argument in arguments:
        if argument.startswith("failed:"):
            print(f"FAILED {argument.removeprefix('failed:')}")
            total += Tally(failed=1)
        else:
            total += of_report(Path(argument))
    print(total)
    return int(total.failed > 0 or total.passed == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
