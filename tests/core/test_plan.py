"""Steps in the order that cannot hurt, and a diff that the real patch(1) takes."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kauditd.core.observed import PolicyFileState
from kauditd.core.plan import describe_edits, make_plan, render_diff
from tests.core.builders import LOG, MANIFEST, POLICY, digest, edit, edited, log_directory, observed, policy_file

LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"a", b"", b"    - --audit-log-path=x", b"-- x", b"+++ b", b"@@ -1 +1 @@", b"\\ No", b"tail "]
        ),
        st.text("ab \t\u00e4\u2028\x0b\x0c\x1c\x85", max_size=4).map(str.encode),
        st.sampled_from([b"\xff\xfe", b"\xe4"]),
    ),
    max_size=12,
)
TEXTS = st.builds(
    lambda lines, end, last: end.join(lines) + (end if last and lines else b""),
    LINES,
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
)


def test_nothing_to_do() -> None:
    for look in (
        observed(),
        observed(edited=None),
        observed(policy_file=policy_file(), log_directory=log_directory()),
    ):
        plan = make_plan(look)
        assert plan.steps == ()
        assert plan.summary == "nothing to do"
        assert (plan.before, plan.after, plan.edited) == (None, None, None)


@pytest.mark.parametrize("state", [PolicyFileState.MISSING, PolicyFileState.TAMPERED])
def test_what_the_server_needs_at_start_comes_before_the_manifest(state: PolicyFileState) -> None:
    change = edited(edit(), edit("mount-missing", "kauditd-log"))
    plan = make_plan(
        observed(edited=change, policy_file=policy_file(state), log_directory=log_directory(present=False))
    )
    assert [s.name for s in plan.steps] == ["publish-policy", "make-log-directory", "replace-manifest"]
    assert all(s.do and s.undo and s.proof for s in plan.steps)
    assert MANIFEST in plan.steps[2].do
    assert (plan.before, plan.after) == (digest(b"old\n"), digest(b"new\n"))
    assert plan.edited is change
    assert plan.has("publish-policy")
    assert not plan.has("restart")
    assert plan.summary == "edit the manifest (1 flag, 1 mount)"


def test_policy_alone_needs_no_manifest() -> None:
    plan = make_plan(
        observed(policy_file=policy_file(PolicyFileState.MISSING), log_directory=log_directory(present=False))
    )
    assert plan.summary == f"write {POLICY} and create {LOG} (0700, for the API server's user)"
    assert not plan.has("replace-manifest")


def test_edits_in_a_few_words() -> None:
    five = tuple(edit("flag-missing", f"f{n}") for n in range(4))
    change = edited(*five, edit("flag-differs"), edit("mount-missing"), edit("volume-missing"), edit("volume-missing"))
    assert describe_edits(change) == "5 flags, 1 mount, 2 volumes"
    assert describe_edits(edited()) == "nothing"


def patched(path: str, before: bytes | None, diff: str) -> bytes | None:
    """What ``patch -p1 -d ROOT`` makes of it."""
    program = shutil.which("patch")
    if program is None:
        pytest.skip("patch(1) is not installed")
    with tempfile.TemporaryDirectory() as root:
        file = Path(root + path)
        file.parent.mkdir(parents=True)
        if before is not None:
            file.write_bytes(before)
        done = subprocess.run(
            [program, "-p1", "-d", root],
            input=diff.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
            timeout=20,
        )
        assert done.returncode == 0, (done.stdout, done.stderr, diff)
        assert b"fuzz" not in done.stdout
        assert [p.name for p in file.parent.iterdir() if p != file] == []
        return file.read_bytes() if file.exists() else None


@given(before=st.one_of(st.none(), TEXTS), after=TEXTS)
@example(before=b"a\r\nb\r\n", after=b"a\r\nc\r\nb\r\n")
@example(before=b"a\nb", after=b"a\nb\n")
@example(before=b"a\nb\n", after=b"a\nb")
@example(before=None, after=b"new without end")
@example(before=None, after=b"\r\n")
@example(before=b"", after=b"a\n")
@example(before=b"a\r", after=b"a")
@example(before=b"-- x\n", after=b"++ x\n")
def test_diff_is_what_patch_takes(before: bytes | None, after: bytes) -> None:
    diff = render_diff(MANIFEST, before, after)
    if before == after or (not before and not after):
        assert diff == ""
        return
    got = patched(MANIFEST, before, diff)
    assert got == after or (after == b"" and got is None)


@pytest.mark.parametrize(
    "path", ["/etc/kubernetes/my manifests/kube apiserver.yaml", '/etc/"quoted"/x.yaml', "/etc/k\u00e4se/x.yaml"]
)
@pytest.mark.parametrize("before", [None, b"a\n"])
def test_diff_of_a_path_with_odd_characters(path: str, before: bytes | None) -> None:
    assert patched(path, before, render_diff(path, before, b"b\n")) == b"b\n"


def test_equal_texts_need_no_diff() -> None:
    assert render_diff(MANIFEST, b"a\n", b"a\n") == ""


def test_diff_shows_carriage_returns_and_the_missing_end() -> None:
    diff = render_diff(MANIFEST, b"a\r\nb", b"a\r\nb\r\n")
    assert diff.splitlines(keepends=True) == [
        f"--- a{MANIFEST}\n",
        f"+++ b{MANIFEST}\n",
        "@@ -1,2 +1,2 @@\n",
        " a\r\n",
        "-b\n",
        "\\ No newline at end of file\n",
        "+b\r\n",
    ]
