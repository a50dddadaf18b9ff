"""Each contract test runs on the fakes of the scenarios and on the real effects."""

from pathlib import Path

import pytest

from tests.contracts.stages import FakeStage, RealStage, Stage


@pytest.fixture(params=["fake", "real"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    return FakeStage() if request.param == "fake" else RealStage(tmp_path)
