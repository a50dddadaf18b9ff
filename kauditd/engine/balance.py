"""The API server's own counters against the lines in its log, where the counters may be read."""

import asyncio
from math import isfinite

from kauditd.core.counters import (
    Agreed,
    Counters,
    CountFacts,
    CountResult,
    Mismatch,
    Tally,
    Unknown,
    compare,
    settle_s,
)
from kauditd.core.credentials import Credentials
from kauditd.core.generations import retention_of
from kauditd.core.model import ApiServerProcess
from kauditd.core.question import Question
from kauditd.engine.proving import ASK_S, Scan
from kauditd.engine.senses import Senses

_EARLY_S = 0.01
"""asyncio may end a sleep a tick of its clock too soon, and lines counted a tick too soon say nothing."""


class Balance:
    """Weighs one process after the other; each byte of its log is counted once."""

    def __init__(self, senses: Senses, scan: Scan) -> None:
        self._senses = senses
        self._scan = scan
        self._tally: Tally | None = None
        self._counted: tuple[int, float] | None = None

    async def weigh(self, process: ApiServerProcess, where: tuple[str, int], seen_path: str) -> CountResult:
        """One comparison; ``Unknown`` with its reason where none is possible."""
        credentials = await self._scan(self._senses.credentials)
        if credentials is None:
            return Unknown(text="nothing on this node may read the API server's counters")
        wait_s = settle_s(process)
        if not isfinite(wait_s):
            return Unknown(text="the API server buffers its events without a bound in time")
        before = await self._read(where, credentials)
        if isinstance(before, str):
            return Unknown(text=before)
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(wait_s + _EARLY_S)
        settled_s = asyncio.get_running_loop().time() - began_s
        try:
            tally = await self._scan(lambda: self._count(process, seen_path))
        except OSError as exc:
            return Unknown(text=f"the log cannot be read: {exc.strerror or exc}")
        after = await self._read(where, credentials)
        if isinstance(after, str):
            return Unknown(text=after)
        table = await self._scan(self._senses.read_table)
        now = next((p for p in table.api_servers if p.pid == process.pid), None)
        first = (process.pid, round(process.started_unix_s))
        second = (0, 0.0) if now is None else (now.pid, round(now.started_unix_s))
        return compare(
            CountFacts(
                before=before,
                tally=tally,
                after=after,
                lifetimes=(first, second),
                settled_s=settled_s,
                settle_s=wait_s,
                webhook=bool(process.flag("audit-webhook-config-file")),
            )
        )

    async def _read(self, where: tuple[str, int], credentials: Credentials) -> Counters | str:
        """The counters, or why there are none."""
        question = Question(
            address=where[0], port=where[1], timeout_s=ASK_S, health=False, counters=True, credentials=credentials
        )
        answer = (await self._senses.ask(question)).counters
        if answer is None or answer.counters is None:
            detail = "" if answer is None else answer.detail or f"/metrics answered {answer.status}"
            return f"the API server's counters cannot be read: {detail or 'no answer'}"
        return answer.counters

    def _count(self, process: ApiServerProcess, seen_path: str) -> Tally:
        lifetime = (process.pid, process.started_unix_s)
        known = self._tally if self._counted == lifetime and self._tally is not None and self._tally.complete else None
        self._tally = self._senses.count_lines(seen_path, known, process, retention_of(process))
        self._counted = lifetime
        return self._tally


def describe(result: CountResult) -> str:
    """A comparison in one line."""
    match result:
        case Agreed(low=low, high=high):
            return (
                f"the counters and the log agree: {low} lines" if low == high else f"they agree: {low} to {high} lines"
            )
        case Mismatch(text=text) | Unknown(text=text):
            return text
