"""Units that are left alone, each with its code."""

import pytest

from kauditd.core.hostproc import UnitSource, edit, editor, read
from kauditd.core.model import Desired, Flag
from kauditd.errors import ManifestRefused
from tests.core.hostproc.units import BY_HAND, DESIRED, OURS, PROGRAM, command, source


def code_of(unit: UnitSource, desired: Desired = DESIRED) -> str:
    with pytest.raises(ManifestRefused) as refused:
        edit(unit, desired)
    assert refused.value.message.startswith("cannot edit the API server's unit")
    return refused.value.code


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f'/bin/sh -c "exec {PROGRAM} --v=2"', "shell-wrapped"),
        (f"/usr/bin/env {PROGRAM}", "shell-wrapped"),
        ("/usr/bin/hyperkube apiserver", "shell-wrapped"),
        ("@/bin/bash kube-apiserver -c true", "shell-wrapped"),
        ("/usr/bin/etcd --name=a", "no-api-server"),
        ("", "no-api-server"),
        (f"{PROGRAM} --a ; /bin/true", "several-commands"),
        (f"{PROGRAM} --a\nExecStart={PROGRAM} --b", "several-commands"),
        (f'{PROGRAM} "--a', "bad-unit"),
        (f"{PROGRAM} --a \\ ", "bad-unit"),
        (f"{PROGRAM} --a=%z", "bad-unit"),
        ("@/usr/bin/python3", "bad-unit"),
    ],
)
def test_commands_that_are_left_alone(line: str, code: str) -> None:
    assert code_of(command(line)) == code


@pytest.mark.parametrize("state", ["masked", "not-found"])
def test_a_unit_that_is_not_to_be_had(state: str) -> None:
    assert code_of(UnitSource(name="kube-apiserver.service", load_state=state, fragment=None)) == state


def test_a_unit_without_a_file() -> None:
    assert code_of(UnitSource(name="kube-apiserver.service", load_state="loaded", fragment=None)) == "not-found"


def test_a_unit_that_systemd_does_not_load() -> None:
    assert code_of(source(BY_HAND, load_state="bad-setting")) == "bad-unit"


@pytest.mark.parametrize("directory", ["generator", "generator.late", "generator.early", "transient"])
def test_a_unit_made_at_run_time(directory: str) -> None:
    assert code_of(source(BY_HAND, path=f"/run/systemd/{directory}/kube-apiserver.service")) == "generated"


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"[Service]\n\xff=1\n", "not-utf8", 2),
        (b"[Service]\nA=\0\n", "bad-unit", 2),
        (b"[Service\nExecStart=/x\n", "bad-unit", 1),
        (b"#" * (2 << 20), "too-large", 0),
    ],
)
def test_a_file_that_cannot_be_read(content: bytes, code: str, line: int) -> None:
    with pytest.raises(ManifestRefused) as refused:
        read(source(content))

    assert (refused.value.code, refused.value.line) == (code, line)


@pytest.mark.parametrize(
    "where", ["95-own.conf", f"/etc/systemd/system.control/kube-apiserver.service.d/{OURS.rpartition('/')[2]}"]
)
def test_a_drop_in_that_would_win_over_ours(where: str) -> None:
    assert code_of(source(BY_HAND, (where, f"[Service]\nExecStart=\nExecStart={PROGRAM}\n"))) == "overridden"


def test_a_file_of_somebody_else_with_our_name() -> None:
    assert code_of(source(BY_HAND, (OURS, "[Service]\nLimitNOFILE=1\n"))) == "not-ours"


def test_flags_that_end_inside_a_variable() -> None:
    assert code_of(command(f"{PROGRAM} $ARGS", 'Environment="ARGS=--v=2 -- x"')) == "flags-ended"


@pytest.mark.parametrize(
    "content", [b"\xff=1\n", b"# one \\\nKUBE_API_ARGS=--audit-log-path=/x\n"], ids=["not utf-8", "comment continues"]
)
def test_an_environment_file_that_nobody_can_be_sure_of(content: bytes) -> None:
    unit = command(f"{PROGRAM} $ARGS", "EnvironmentFile=/etc/args", files={"/etc/args": content})

    assert code_of(unit) == "bad-environment"


@pytest.mark.parametrize(
    "line",
    [
        "RootDirectory=/srv/k8s",
        "RootImage=/srv/k8s.raw",
        "InaccessiblePaths=-/etc/kubernetes/audit",
        "TemporaryFileSystem=/var:ro",
    ],
)
def test_a_service_that_does_not_see_the_directories(line: str) -> None:
    assert code_of(command(PROGRAM, line)) == "sandboxed"


def test_a_result_that_is_not_the_original_with_our_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is independent of the composition: a composition gone wrong is noticed."""
    compose = editor.compose
    monkeypatch.setattr(editor, "compose", lambda raws, *rest, **named: compose(raws[:-1], *rest, **named))

    assert code_of(source(BY_HAND)) == "verify-failed"


def test_a_wish_that_systemd_would_take_for_something_else_is_quoted() -> None:
    value = 'a b"c\\d%e$f\té\x07'
    desired = Desired(flags=(Flag(name="audit-log-path", value=value), Flag(name="v", value="")), mounts=())
    done = edit(command(PROGRAM), desired)
    unquoted = edit(command(f":{PROGRAM}"), desired)

    assert b'"--audit-log-path=a b\\"c\\\\d%%e$$f\\x09\xc3\xa9\\x07"' in done.text
    assert b'"--audit-log-path=a b\\"c\\\\d%%e$f\\x09\xc3\xa9\\x07"' in unquoted.text
