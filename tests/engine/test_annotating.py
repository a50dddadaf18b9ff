"""Notes on windows, from the API's call to the ledger."""

import asyncio
from collections.abc import Callable

import pytest

from kauditd.core.windows import Window
from kauditd.engine.service import Board, Service
from kauditd.errors import Refused
from tests.engine.fakes import FakeLedger
from tests.engine.test_bookkeeping import BAD, begin, look


class FakeLoop:
    """Runs calls of the worker thread at once, and counts reports."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    async def in_worker(self, call: Callable[[], Window | None]) -> Window | None:
        self.steps.append("worker")
        return call()

    async def report(self) -> None:
        self.steps.append("report")


def test_a_note_is_written_by_the_worker_and_shown_before_the_answer() -> None:
    port, loop = FakeLedger(), FakeLoop()
    keeper = begin(port)
    keeper.note(look(1000))
    keeper.note(look(1010, proof=BAD))
    service = Service(loop, None, Board(), keeper)

    noted = asyncio.run(service.annotate(1, peer_uid=0, root_cause="an upgrade", prevention=None, owner="ops"))
    unknown = asyncio.run(service.annotate(7, peer_uid=0, root_cause="x", prevention=None, owner=None))

    assert noted is not None
    assert (noted.root_cause, noted.owner) == ("an upgrade", "ops")
    assert unknown is None
    assert loop.steps == ["worker", "report", "worker", "report"]
    assert begin(FakeLedger(records=list(port.records))).windows()[0].owner == "ops"


def test_where_no_ledger_is_kept_a_note_is_refused() -> None:
    service = Service(FakeLoop(), None, Board())

    with pytest.raises(Refused, match="cannot annotate: no ledger is kept here"):
        asyncio.run(service.annotate(1, peer_uid=0, root_cause="x", prevention=None, owner=None))
