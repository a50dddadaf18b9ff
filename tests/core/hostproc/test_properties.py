"""For any unit: the drop-in gives the old command with our flags, is stable, and goes without a trace."""

from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.hostproc import UnitSource, drop_in_is_stale, edit, read, strip, underneath, with_drop_in
from tests.core.hostproc.units import ASKED, DESIRED, PROGRAM, model_command_line, model_flags, source

VALUES = st.text("abc/.,:=1", min_size=1, max_size=6)
NAMES = st.sampled_from(["v", "etcd-servers", "allow-privileged", "bind-address", *ASKED])
FLAGS = st.builds("--{}={}".format, NAMES, VALUES)
QUOTED = st.builds("{0}--{1}={2} {2}{0}".format, st.sampled_from("'\""), NAMES, VALUES)
VARIABLES = st.sampled_from(["$KUBE_ARGS", "$KUBE_ETCD", "$UNSET"])
WORDS = st.lists(st.one_of(FLAGS, FLAGS, QUOTED, VARIABLES), max_size=8)
BREAKS = st.sampled_from([" ", " \\\n    ", " \\\n# a comment\n  ", "\t"])
NOISE = st.sampled_from(["", "# a comment\n", "Restart=always\n", "\n; another\n"])


@st.composite
def commands(draw: st.DrawFn) -> str:
    line = f"ExecStart={PROGRAM}"
    for word in draw(WORDS):
        line += draw(BREAKS) + word
    return line + "\n"


@st.composite
def sources(draw: st.DrawFn) -> UnitSource:
    drop_ins = [
        (f"{number}0-own.conf", f"[Service]\n{draw(NOISE)}ExecStart=\n{draw(commands())}")
        for number in range(draw(st.integers(0, 2)))
    ]
    lines = [f"KUBE_ARGS={' '.join(draw(st.lists(FLAGS, max_size=3)))}", f'KUBE_ETCD="{draw(FLAGS)}"']
    text = f"[Unit]\nDescription=x\n[Service]\nEnvironmentFile=/etc/args\n{draw(NOISE)}{draw(commands())}{draw(NOISE)}"
    return source(text, *drop_ins, files={"/etc/args": "\n".join(lines)})


@given(sources())
def test_the_result_is_the_old_command_with_our_flags(unit: UnitSource) -> None:
    done = with_drop_in(unit, edit(unit, DESIRED).text)

    assert model_flags(done) == model_flags(unit) | ASKED
    strange = [word for word in model_command_line(unit) if not any(f"--{name}=" in word for name in ASKED)]
    assert [word for word in model_command_line(done) if not any(f"--{name}=" in word for name in ASKED)] == strange


@given(sources())
def test_the_reader_agrees_with_the_model(unit: UnitSource) -> None:
    assert {flag.name: flag.value for flag in read(unit).flags} == model_flags(unit)


@given(sources())
def test_the_edit_is_stable_and_deterministic(unit: UnitSource) -> None:
    once = edit(unit, DESIRED)
    done = with_drop_in(unit, once.text)

    assert edit(unit, DESIRED) == once
    assert (edit(done, DESIRED).text, edit(done, DESIRED).edits) == (once.text, ())
    assert bool(once.edits) == bool(once.text) == (model_flags(unit) != model_flags(unit) | ASKED)


@given(sources())
def test_nothing_is_left_of_it(unit: UnitSource) -> None:
    done = with_drop_in(unit, edit(unit, DESIRED).text)

    assert with_drop_in(done, strip(done)) == unit == underneath(done)


@given(sources(), sources())
def test_it_is_derived_again_when_the_command_underneath_is_another(unit: UnitSource, other: UnitSource) -> None:
    drop_in = edit(unit, DESIRED).text
    later = with_drop_in(other, drop_in)
    again = edit(later, DESIRED)

    assert again.text == edit(other, DESIRED).text
    assert (again.edits == ()) == (again.text == drop_in)
    if drop_in and model_command_line(unit) != model_command_line(other) and not drop_in_is_stale(later, drop_in):
        # Another value of a variable is no other command: it reaches the process without us.
        assert again.text == drop_in
