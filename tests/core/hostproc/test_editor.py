"""What the drop-in holds, for every way in which an API server is run under systemd."""

import pytest

from kauditd.core.hostproc import (
    UnitSource,
    drop_in_is_stale,
    drop_in_of,
    drop_in_path,
    edit,
    read,
    run_as,
    strip,
    underneath,
    with_drop_in,
)
from kauditd.core.model import Edit
from kauditd.errors import ManifestRefused
from tests.core.hostproc.units import (
    ASKED,
    BY_HAND,
    DESIRED,
    FROM_VARIABLES,
    LOG,
    OURS,
    POLICY,
    PROGRAM,
    command,
    model_command_line,
    model_flags,
    source,
)

APISERVER = "/etc/kubernetes/apiserver"


def written(unit: UnitSource) -> UnitSource:
    return with_drop_in(unit, edit(unit, DESIRED).text)


def codes(unit: UnitSource) -> dict[str, str]:
    return {item.subject: item.code for item in edit(unit, DESIRED).edits}


def body(unit: UnitSource) -> str:
    return edit(unit, DESIRED).text.decode().partition("[Service]\n")[2]


def test_flags_are_appended_to_the_command_as_it_stood() -> None:
    unit = written(source(BY_HAND))

    assert model_command_line(unit) == [
        *model_command_line(source(BY_HAND)),
        "--audit-log-maxage=30",
        f"--audit-log-path={LOG}",
        f"--audit-policy-file={POLICY}",
    ]
    assert edit(source(BY_HAND), DESIRED).edits[0] == Edit(
        code="flag-missing", subject="audit-log-maxage", line=6, before=None, after="30"
    )


def test_the_drop_in_clears_the_command_before_it_sets_it() -> None:
    assert body(source(BY_HAND)).startswith(f"ExecStart=\nExecStart={PROGRAM} \\\n  --allow-privileged=true \\\n")


def test_the_path_of_the_drop_in() -> None:
    assert drop_in_path("kube-apiserver.service") == OURS


def test_an_existing_flag_keeps_its_place_and_its_spelling() -> None:
    unit = command(f"{PROGRAM} --audit_log_path=/var/log/audit.log --v=2 --audit-log-maxage 7 --audit-policy-file")

    assert model_command_line(written(unit)) == [
        PROGRAM,
        f"--audit_log_path={LOG}",
        "--v=2",
        "--audit-log-maxage",
        "30",
        f"--audit-policy-file={POLICY}",
    ]
    assert codes(unit) == dict.fromkeys(ASKED, "flag-differs")
    assert all(item.foreign for item in edit(unit, DESIRED).edits)


def test_our_own_flags_are_not_called_foreign() -> None:
    older = POLICY.replace("a" * 12, "b" * 12)
    unit = command(f"{PROGRAM} --audit-policy-file={older} --audit-log-path={LOG} --audit-log-maxage=30")

    (item,) = edit(unit, DESIRED).edits
    assert (item.code, item.before, item.foreign) == ("flag-differs", older, False)


def test_of_duplicates_the_last_is_edited() -> None:
    unit = command(f"{PROGRAM} --audit-log-path=/a --audit-log-path=/b")

    assert model_command_line(written(unit))[1:3] == ["--audit-log-path=/a", f"--audit-log-path={LOG}"]
    assert codes(unit)["audit-log-path"] == "flag-duplicate"
    assert read(unit).duplicates == ("audit-log-path",)


@pytest.mark.parametrize("value", ['"--audit-log-path=/x --v=2"', "--audit-log-path=/x"])
def test_a_flag_out_of_a_variable_stays_there_and_ours_wins(value: str) -> None:
    unit = source(FROM_VARIABLES, files={APISERVER: f"KUBE_API_ARGS={value}\n"})
    line = model_command_line(written(unit))

    assert line.index("--audit-log-path=/x") < line.index(f"--audit-log-path={LOG}")
    assert "$KUBE_LOGTOSTDERR $KUBE_ETCD_SERVERS $KUBE_API_ARGS" in body(unit)
    assert codes(unit)["audit-log-path"] == "flag-shadowed"
    assert model_flags(written(unit))["audit-log-path"] == LOG


def test_a_value_out_of_a_variable_is_not_edited_either() -> None:
    unit = command(f"{PROGRAM} --audit-log-path $LOG", "Environment=LOG=/x")

    assert body(unit).startswith(f"ExecStart=\nExecStart={PROGRAM} \\\n  --audit-log-path $LOG \\\n")
    assert codes(unit)["audit-log-path"] == "flag-shadowed"


def test_a_braced_variable_is_a_part_of_its_own_word() -> None:
    unit = command(f"{PROGRAM} --audit-log-path=${{LOG}}", f"Environment=LOG={LOG}", "Environment=X=1")

    assert read(unit).log_host_path == LOG
    assert "audit-log-path" not in codes(unit)


def test_a_variable_that_nothing_is_known_of_comes_before_our_flags() -> None:
    unit = command(f"{PROGRAM} --audit-log-path={LOG} $MORE", "PassEnvironment=MORE")

    assert body(unit).count("--audit-log-path") == 2
    assert codes(unit)["audit-log-path"] == "flag-shadowed"
    assert edit(written(unit), DESIRED).edits == ()


def test_a_passed_variable_that_the_unit_sets_is_known() -> None:
    unit = command(f"{PROGRAM} --audit-log-path={LOG} $MORE", "PassEnvironment=MORE", "Environment=MORE=--v=2")

    assert "audit-log-path" not in codes(unit)


def test_flags_go_before_the_words_that_end_them() -> None:
    unit = command(f"{PROGRAM} --v=2 -- rest")

    assert model_command_line(written(unit))[-3:] == [f"--audit-policy-file={POLICY}", "--", "rest"]


def test_nothing_is_written_where_everything_is_there_already() -> None:
    words = " ".join(f"--{name}={value}" for name, value in ASKED.items())
    done = edit(command(f"{PROGRAM} {words}"), DESIRED)

    assert (done.text, done.edits) == (b"", ())


def test_editing_the_result_changes_nothing() -> None:
    for unit in (source(BY_HAND), source(FROM_VARIABLES), command(f"@{PROGRAM} kube-apiserver 'a b' %% $$ \\; x")):
        once = edit(unit, DESIRED)
        again = edit(with_drop_in(unit, once.text), DESIRED)

        assert (again.text, again.edits) == (once.text, ())
        assert again.record.before == again.record.after == once.record.after


def test_words_keep_their_own_form() -> None:
    unit = command(f"""{PROGRAM} '--a=b c' "--d=\\x41" --e=%H #f ;g \\; --h=%%i""")

    assert body(unit).startswith(
        f"""ExecStart=\nExecStart={PROGRAM} '--a=b c' "--d=\\x41" \\\n  --e=%H #f ;g \\; \\\n  --h=%%i \\\n"""
    )
    assert [str(flag) for flag in read(unit).flags] == ["--a=b c", "--d=A", "--e=%H", "--h=%i"]


def test_an_older_drop_in_of_somebody_else_counts() -> None:
    unit = source(BY_HAND, ("10-local.conf", f"[Service]\nExecStart=\nExecStart={PROGRAM} --v=9\n"))

    assert model_command_line(written(unit))[:2] == [PROGRAM, "--v=9"]
    assert [file.path.rpartition("/")[2] for file in written(unit).drop_ins] == ["10-local.conf", "90-kauditd.conf"]


def test_a_later_drop_in_that_leaves_the_command_alone_is_none_of_our_business() -> None:
    unit = source(BY_HAND, ("99-limits.conf", "[Service]\nLimitNOFILE=65536\n[Install]\nExecStart=x\n"))

    assert [file.path.rpartition("/")[2] for file in written(unit).drop_ins] == ["90-kauditd.conf", "99-limits.conf"]
    assert edit(written(unit), DESIRED).edits == ()


def test_the_unit_underneath_changed_by_a_package_upgrade() -> None:
    before = source(BY_HAND)
    drop_in = edit(before, DESIRED).text
    after = with_drop_in(source(BY_HAND.replace("--v=2", "--v=4 --new=1")), drop_in)

    assert not drop_in_is_stale(with_drop_in(before, drop_in), drop_in)
    assert drop_in_is_stale(after, drop_in)
    assert [item.code for item in edit(after, DESIRED).edits] == ["unit-stale"]
    again = edit(after, DESIRED).text
    assert model_flags(with_drop_in(after, again)) == model_flags(underneath(after)) | ASKED
    assert not drop_in_is_stale(after, again)


def test_an_upgrade_beside_the_command_makes_nothing_stale() -> None:
    drop_in = edit(source(BY_HAND), DESIRED).text
    text = BY_HAND.replace("RestartSec=5", "RestartSec=9").replace(" \\\n  --v", " --v")
    after = with_drop_in(source(text), drop_in)

    assert not drop_in_is_stale(after, drop_in)
    assert edit(after, DESIRED).edits == ()


def test_an_environment_file_that_brings_an_audit_flag_makes_the_drop_in_stale() -> None:
    unit = source(FROM_VARIABLES, files={APISERVER: "KUBE_API_ARGS=--v=2\n"})
    drop_in = edit(unit, DESIRED).text
    more = source(FROM_VARIABLES, files={APISERVER: "KUBE_API_ARGS=--v=4\n"})
    audit = source(FROM_VARIABLES, files={APISERVER: "KUBE_API_ARGS=--audit-log-path=/x\n"})

    assert not drop_in_is_stale(more, drop_in)
    assert drop_in_is_stale(audit, drop_in)


def test_a_stranger_s_drop_in_was_derived_from_nothing() -> None:
    assert drop_in_is_stale(source(BY_HAND), b"[Service]\n")


def test_a_changed_drop_in_is_made_good_and_says_what_was_missing() -> None:
    unit = written(source(BY_HAND))
    text = drop_in_of(unit) or b""
    worse = with_drop_in(unit, text.replace(f" \\\n  --audit-policy-file={POLICY}".encode(), b""))
    noisy = with_drop_in(unit, text + b"LimitNOFILE=1\n")
    broken = with_drop_in(unit, text + b"ExecStart=/bin/true\n")

    assert codes(worse) == {"audit-policy-file": "flag-missing"}
    assert codes(noisy) == {OURS: "unit-stale"}
    assert codes(broken) == dict.fromkeys(ASKED, "flag-missing")
    assert {edit(unit, DESIRED).text for unit in (worse, noisy, broken)} == {text}


def test_the_way_back_is_an_empty_file() -> None:
    unit = written(source(BY_HAND))

    assert strip(unit) == strip(source(BY_HAND)) == b""
    assert with_drop_in(unit, strip(unit)) == source(BY_HAND) == underneath(unit)


@pytest.mark.parametrize("text", [b"[Service]\nLimitNOFILE=1\n", None])
def test_the_way_back_takes_nobody_s_lines(text: bytes | None) -> None:
    changed = text or edit(source(BY_HAND), DESIRED).text + b"LimitNOFILE=1\n"
    with pytest.raises(ManifestRefused) as refused:
        strip(with_drop_in(source(BY_HAND), changed))

    assert refused.value.code == "changed"


def test_the_way_back_needs_no_unit_that_can_be_understood() -> None:
    drop_in = edit(source(BY_HAND), DESIRED).text

    assert strip(with_drop_in(source("[Service\n", load_state="masked"), drop_in)) == b""


def test_what_the_unit_says() -> None:
    line = "-@/usr/bin/python3 kube-apiserver --advertise-address=10.0.0.1 --secure-port=8443 --audit-log-path=-"
    view = read(command(line, "User=997", "Group=kube"))

    assert (view.pod_name, view.image, view.version) == ("kube-apiserver.service", "/usr/bin/python3", "")
    assert (view.address, view.port) == ("10.0.0.1", 8443)
    assert (view.log_host_path, view.policy_host_path, view.nonce) == (None, None, None)
    assert (view.run_as_user, view.run_as_group) == (997, None)
    assert [flag.name for flag in view.audit_flags] == ["audit-log-path"]
    assert run_as(command(line, "User=kube", "User=")) == ("", "")


def test_the_digest_of_the_command_line_sees_through_variables() -> None:
    one = source(FROM_VARIABLES, files={APISERVER: "KUBE_API_ARGS=--v=2\n"})
    other = source(FROM_VARIABLES, files={APISERVER: "KUBE_API_ARGS=--v=3\n"})
    same = source(FROM_VARIABLES.replace("$KUBE_API_ARGS", "--v=2"))

    assert read(one).pod_digest == read(same).pod_digest != read(other).pod_digest
