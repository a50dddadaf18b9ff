"""Command lines as pflag reads them."""

import pytest

from kauditd.core.cmdline import is_api_server, listening, parse_flags
from kauditd.core.model import Flag


def pairs(*words: str) -> list[tuple[str, str]]:
    return [(flag.name, flag.value) for flag in parse_flags(words)]


def test_a_value_stands_behind_the_equals_sign_or_in_the_next_word() -> None:
    assert pairs("--a=b", "--c", "d", "--e=f=g", "--h=") == [("a", "b"), ("c", "d"), ("e", "f=g"), ("h", "")]


def test_underscores_in_a_name_are_dashes_and_those_in_a_value_stay() -> None:
    assert pairs("--audit_log_path=/a_b", "--tls_cert_file", "/c_d") == [
        ("audit-log-path", "/a_b"),
        ("tls-cert-file", "/c_d"),
    ]


@pytest.mark.parametrize("words", [["--allow-privileged"], ["--allow-privileged", "true"], ["--unknown", "--x=1"]])
def test_a_flag_without_a_value_is_true(words: list[str]) -> None:
    assert pairs(*words)[0][1] == "true"


def test_a_known_boolean_leaves_the_next_word_alone() -> None:
    assert pairs("--profiling", "false", "--v", "2") == [("profiling", "true"), ("v", "2")]


def test_negative_numbers_and_a_dash_are_values() -> None:
    assert pairs("--v", "-1", "--audit-log-path", "-") == [("v", "-1"), ("audit-log-path", "-")]


def test_other_words_are_skipped_and_two_dashes_end_the_flags() -> None:
    assert pairs("word", "-v=2", "---", "--=x", "--a=1", "--", "--b=2") == [("-", "true"), ("a", "1")]


def test_order_and_duplicates_are_kept() -> None:
    assert pairs("--a=1", "--b=2", "--a=3") == [("a", "1"), ("b", "2"), ("a", "3")]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("kube-apiserver", True),
        ("/usr/local/bin/kube-apiserver", True),
        ("kube-apiserver-x", False),
        ("/kube-apiserver/x", False),
        ("", False),
    ],
)
def test_the_program_is_known_by_its_base_name(program: str, expected: bool) -> None:
    assert is_api_server(program) is expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("127.0.0.1", 6443)),
        (["--advertise-address=10.0.0.11", "--secure-port=7443"], ("10.0.0.11", 7443)),
        (["--advertise-address=10.0.0.11", "--bind-address=0.0.0.0"], ("10.0.0.11", 6443)),
        (["--advertise-address=10.0.0.11", "--bind-address=192.0.2.7"], ("192.0.2.7", 6443)),
        (["--advertise-address=fd00::11", "--bind-address=::"], ("fd00::11", 6443)),
        (["--advertise-address=[fd00::11]"], ("fd00::11", 6443)),
        (["--bind-address=::"], ("127.0.0.1", 6443)),
        (["--advertise-address=nonsense", "--secure-port=nonsense"], ("127.0.0.1", 6443)),
        (["--secure-port=0"], ("127.0.0.1", 6443)),
        (["--secure-port=0x192b"], ("127.0.0.1", 6443)),
        (["--secure-port=1", "--secure-port=2"], ("127.0.0.1", 2)),
    ],
)
def test_the_address_that_answers(words: list[str], expected: tuple[str, int]) -> None:
    assert listening(parse_flags(words)) == expected


def test_flags_are_plain_values() -> None:
    assert parse_flags(["--a=b"]) == (Flag(name="a", value="b"),)
