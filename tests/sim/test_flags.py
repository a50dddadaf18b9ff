"""The stand-in reads its command line as pflag does, and refuses with pflag's words."""

import pytest

from kauditd.sim.flags import BadCommandLine, parse_command_line, parse_duration, parse_integer
from kauditd.sim.manifests import kubeadm_manifest
from kauditd.sim.pod import decode_pod


@pytest.mark.parametrize("version", ["v1.33.13", "v1.34.4", "v1.36.3", "v1.37.2"])
def test_every_flag_that_kubeadm_writes_is_known(version: str) -> None:
    content = kubeadm_manifest(version, address="127.0.0.1", port=6443)
    pod = decode_pod(content, path="/m/kube-apiserver.yaml", node_name="cp1")
    line = parse_command_line(pod.command[1:])
    assert line.integer("secure-port", 0) == 6443
    assert line.boolean("allow-privileged", default=False)


def test_last_duplicate_wins_and_underscores_are_dashes() -> None:
    line = parse_command_line(["--audit-log-maxage=1", "--audit_log_maxage", "0x10", "--profiling"])
    assert line.integer("audit-log-maxage", 0) == 16
    assert line.boolean("profiling", default=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--audit-log-maxsizes=1"], "Error: unknown flag: --audit-log-maxsizes"),
        (
            ["--audit-log-maxage=thirty"],
            (
                'Error: invalid argument "thirty" for "--audit-log-maxage" flag: '
                'strconv.ParseInt: parsing "thirty": invalid syntax'
            ),
        ),
        (["--audit-log-path"], "Error: flag needs an argument: --audit-log-path"),
        (
            ["--audit-log-compress=maybe"],
            (
                'Error: invalid argument "maybe" for "--audit-log-compress" flag: '
                'strconv.ParseBool: parsing "maybe": invalid syntax'
            ),
        ),
        (
            ["--profiling", "false"],
            'Error: "kube-apiserver" does not take any arguments, got ["false"]',
        ),
        (["stray", "--nonsense=1"], "Error: unknown flag: --nonsense"),
        (
            ["--shutdown-watch-termination-grace-period=5"],
            (
                'Error: invalid argument "5" for "--shutdown-watch-termination-grace-period" flag: '
                'time: invalid duration "5"'
            ),
        ),
    ],
)
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(BadCommandLine) as caught:
        parse_command_line(words)
    assert caught.value.message == message


@pytest.mark.parametrize(("text", "value"), [("30", 30), ("0x1F", 31), ("017", 15), ("-1", -1), ("0", 0), ("0b11", 3)])
def test_integers_have_go_prefixes(text: str, value: int) -> None:
    assert parse_integer(text) == value


@pytest.mark.parametrize("text", ["", "1.5", "08", "0x", "1_000", "ten", "٣"])
def test_what_is_no_go_integer(text: str) -> None:
    with pytest.raises(ValueError):
        parse_integer(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5.0), ("1m30s", 90.0), ("0", 0.0), ("1.5h", 5400.0), ("10ms", 0.01)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
