"""The API server's counters against its log: what was lost or is foreign is told, what cannot be told is no alarm."""

import pytest

from kauditd.core.counters import BLOCKING_SETTLE_S, Agreed, CountResult, Mismatch, Unknown
from kauditd.core.credentials import Credentials
from kauditd.core.model import Flag
from kauditd.engine.balance import Balance, describe
from tests.engine.surveying import FLAGS, Bench, server
from tests.engine.virtual import run

WHERE = ("10.0.0.11", 6443)
PATH = "/var/log/kubernetes/audit/audit.log"


class Scale(Bench):
    """A server with readable counters that wrote ten lines."""

    def __init__(self) -> None:
        super().__init__()
        self.senses.found_credentials = Credentials(source="a test")
        self.log.counted = 10
        self.balance = Balance(self.senses, self.scan)

    def weigh(self) -> CountResult:
        assert self.process is not None
        return run(self.balance.weigh(self.process, WHERE, PATH), self.pass_time)


def test_honest_log_agrees_after_what_is_under_way_had_time() -> None:
    scale = Scale()
    began_s = scale.node.now
    result = scale.weigh()
    assert result == Agreed(low=10, high=10)
    assert "10 lines" in describe(result)
    first, second = scale.senses.asked_counters
    assert second - first >= BLOCKING_SETTLE_S
    assert first == began_s


@pytest.mark.parametrize(
    ("field", "code"),
    [("lost", "lines-lost"), ("foreign", "lines-foreign")],
)
def test_one_line_too_few_or_too_many_is_told(field: str, code: str) -> None:
    scale = Scale()
    setattr(scale.log, field, 1)
    result = scale.weigh()
    assert isinstance(result, Mismatch)
    assert (result.code, result.count) == (code, 1)
    assert describe(result) == result.text


def test_each_byte_is_counted_once_per_process() -> None:
    scale = Scale()
    scale.weigh()
    scale.log.counted = 25
    assert scale.weigh() == Agreed(low=25, high=25)
    assert scale.senses.counted_from[0] is None
    assert scale.senses.counted_from[1] is not None
    scale.process = server(pid=200)
    scale.weigh()
    assert scale.senses.counted_from[2] is None


@pytest.mark.parametrize("then", [None, 200])
def test_server_restarted_between_the_readings_is_unknown(then: int | None) -> None:
    scale = Scale()
    scale.log.lost = 5
    old = scale.process

    def restart() -> None:
        if len(scale.senses.asked_counters) == 1:
            scale.process = None if then is None else server(pid=then)

    scale.senses.before_ask = restart
    result = run(scale.balance.weigh(old, WHERE, PATH), scale.pass_time)
    assert isinstance(result, Unknown)
    assert "restarted" in result.text


def test_without_credentials_nothing_is_asked() -> None:
    scale = Scale()
    scale.senses.found_credentials = None
    assert isinstance(scale.weigh(), Unknown)
    assert scale.senses.asked_counters == []


def test_child_without_an_answer_is_unknown() -> None:
    scale = Scale()
    scale.senses.broken_child = True
    result = scale.weigh()
    assert isinstance(result, Unknown)
    assert "cannot be read" in describe(result)


def test_log_that_cannot_be_read_is_unknown_and_says_why() -> None:
    scale = Scale()
    scale.log.unreadable = True
    result = scale.weigh()
    assert isinstance(result, Unknown)
    assert "Permission denied" in result.text


def test_batch_mode_is_given_its_buffer_time() -> None:
    scale = Scale()
    scale.process = server(flags=(*FLAGS, Flag(name="audit-log-mode", value="batch")))
    began_s = scale.node.now
    assert isinstance(scale.weigh(), Agreed)
    assert scale.node.now - began_s >= 60


def test_throttled_buffer_is_never_weighed() -> None:
    scale = Scale()
    flags = (
        Flag(name="audit-log-mode", value="batch"),
        Flag(name="audit-log-batch-throttle-enable", value="true"),
    )
    scale.process = server(flags=(*FLAGS, *flags))
    scale.log.lost = 5
    assert isinstance(scale.weigh(), Unknown)
    assert scale.senses.asked_counters == []
