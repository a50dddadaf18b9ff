"""Laws of the editor over generated manifests: whatever the layout, only our lines change, and they come out again."""

from dataclasses import replace
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kauditd.core.manifest import edit, pod_digest, prepare, read, record_of, strip
from kauditd.core.model import Edited
from tests.core.manifest.pods import DESIRED, FLAGS, LOG_DIR, POLICY_DIR, Layout, Model, wish, write

BOUNDED = settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate, Phase.shrink))

OTHER_FLAGS = (
    "--allow-privileged=true",
    "--v=2",
    "--secure-port=6443",
    "--profiling",
    "--tls-min-version=VersionTLS12",
    "--etcd-servers=https://127.0.0.1:2379,https://10.0.0.2:2379",
    "--feature-gates=A=true,B=false",
)
USER_FLAGS = (
    ["--audit-log-maxage=1"],
    ["--audit-log-maxage", "1"],
    ["--audit_log_path=/x/y.log"],
    ["--audit-log-maxsize=1", "--audit-log-maxsize=2"],
    ["--audit-policy-file", "/etc/kubernetes/audit-policy.yaml"],
    ["--audit-log-maxbackup=10"],
    ["--audit-webhook-config-file=/w"],
)
VOLUMES = (
    ("ca-certs", "/etc/ssl/certs", "/etc/ssl/certs", True),
    ("k8s-certs", "/etc/kubernetes/pki", "/etc/kubernetes/pki", True),
    ("var-log", "/var/log", "/var/log", False),
    ("var-log-ro", "/var/log/kubernetes", "/var/log/kubernetes", True),
    ("log", LOG_DIR, LOG_DIR, True),
    ("elsewhere", "/srv/audit", LOG_DIR, False),
    ("policy", "/srv/policy", POLICY_DIR, True),
    ("kauditd-log", "/srv/other", "/srv/other", False),
    ("zz-last", "/zz", "/zz", False),
    ("etc", "/etc/kubernetes", "/etc/kubernetes", True),
)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    return Layout(
        step=draw(st.sampled_from([2, 2, 3, 4, 7])),
        dash=draw(st.sampled_from([0, 0, 2, 3])),
        gap=draw(st.sampled_from([2, 2, 4])),
        newline=draw(st.sampled_from(["\n", "\n", "\r\n"])),
        final_newline=draw(st.booleans()),
        head=draw(st.sampled_from(["", "", "---", "# head\n---", "\ufeff# bom"])),
        foot=draw(st.sampled_from(["", "", "...", "# end", "status: {}", "---"])),
        comments=tuple(draw(st.lists(st.integers(0, 40), max_size=6))),
        trailing=tuple(draw(st.lists(st.integers(0, 40), max_size=6))),
        flow_command=draw(st.sampled_from(["block", "block", "line", "lines", "trailing"])),
        quotes=tuple(draw(st.lists(st.sampled_from(["", "'", '"']), min_size=1, max_size=3))),
        empty=draw(st.sampled_from(["missing", "null", "word", "list"])),
    )


@st.composite
def models(draw: st.DrawFn) -> Model:
    words = draw(st.lists(st.sampled_from(OTHER_FLAGS), unique=True, max_size=6))
    for user in draw(st.lists(st.sampled_from(USER_FLAGS), max_size=3, unique_by=lambda item: item[0][:17])):
        place = draw(st.integers(0, len(words)))
        words[place:place] = user
    if draw(st.booleans()):
        words.sort()
    volumes, paths = [], set()
    for volume in draw(st.lists(st.sampled_from(VOLUMES), unique=True, max_size=5)):
        if volume[2] not in paths:
            volumes.append(volume)
            paths.add(volume[2])
    if draw(st.booleans()):
        volumes.sort()
    shape = draw(st.sampled_from(["command", "args", "both", "no-args"]))
    cut = len(words) // 2 if shape == "both" else len(words) if shape in {"command", "no-args"} else 0
    while cut < len(words) and not words[cut].startswith("--"):
        cut += 1
    return Model(
        command=["/usr/local/bin/kube-apiserver" if draw(st.booleans()) else "kube-apiserver", *words[:cut]],
        args=None if shape == "command" else words[cut:],
        volumes=volumes,
        annotations=draw(st.sampled_from([{}, {"a": "1"}, {"a": "1", "z": "2"}, {"z": "2", "a": "1"}])),
        sidecar_first=draw(st.booleans()),
        sidecar_last=draw(st.booleans()),
        image=draw(
            st.sampled_from(
                ["registry.k8s.io/kube-apiserver:v1.37.2", "registry.k8s.io/kube-apiserver:v1.30.3", "example.com/x"]
            )
        ),
    )


def load(content: bytes) -> Any:
    documents = YAML(typ="safe", pure=True).load_all(content.decode("utf-8-sig"))
    return next(iter(documents))


def is_subsequence(small: list[bytes], large: list[bytes]) -> bool:
    rest = iter(large)
    return all(line in rest for line in small)


def edited_lines(outcome: Edited) -> set[str]:
    return {line for splice in outcome.record.splices for line in splice.old}


@BOUNDED
@given(models(), layouts(), st.sampled_from([None, "n-1"]))
def test_an_edit_comes_out_again_to_the_byte(model: Model, layout: Layout, nonce: str | None) -> None:
    source = write(model, layout)
    outcome = edit(source, wish(nonce))
    assert strip(outcome.text, outcome.record) == source
    assert strip(source, outcome.record) == source


@BOUNDED
@given(models(), layouts(), st.sampled_from([None, "n-1"]))
def test_editing_twice_changes_nothing(model: Model, layout: Layout, nonce: str | None) -> None:
    once = edit(write(model, layout), wish(nonce))
    twice = edit(once.text, wish(nonce))
    assert twice.edits == ()
    assert twice.text == once.text
    assert edit(once.text, DESIRED).edits == ()


@BOUNDED
@given(models(), layouts())
def test_the_result_says_what_was_asked_and_nothing_else_moved(model: Model, layout: Layout) -> None:
    source = write(model, layout)
    outcome = edit(source, DESIRED)
    view = read(outcome.text)
    assert view.log_host_path == f"{LOG_DIR}/audit.log"
    assert view.policy_host_path == DESIRED.flag("audit-policy-file")
    for name in ("audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize"):
        assert view.flag(name) == DESIRED.flag(name)
    before, after = load(source), load(outcome.text)
    for one, other in zip(before["spec"].pop("containers"), after["spec"].pop("containers"), strict=True):
        touched = {"command", "args", "volumeMounts"} if one["name"] == "kube-apiserver" else set()
        assert {k: v for k, v in one.items() if k not in touched} == {
            k: v for k, v in other.items() if k not in touched
        }
    old_volumes, new_volumes = before["spec"].pop("volumes", None) or [], after["spec"].pop("volumes", None) or []
    assert is_subsequence(old_volumes, new_volumes)
    assert before == after


@BOUNDED
@given(models(), layouts())
def test_every_line_of_others_survives_in_order(model: Model, layout: Layout) -> None:
    source = write(model, layout)
    outcome = edit(source, DESIRED)
    changed = edited_lines(outcome)
    kept = [line for line in source.decode().splitlines(keepends=True) if line not in changed]
    assert is_subsequence(kept, outcome.text.decode().splitlines(keepends=True))
    assert outcome.text.endswith(b"\n") == source.endswith(b"\n")
    assert (b"\r\n" in source) == (b"\r\n" in outcome.text)
    assert outcome.text.count(b"\r\n") in {0, outcome.text.count(b"\n")}


@BOUNDED
@given(models(), layouts())
def test_the_way_back_survives_a_foreign_change(model: Model, layout: Layout) -> None:
    source = write(model, layout)
    outcome = edit(source, DESIRED)
    mark, other = b"name: kube-apiserver", b"imagePullPolicy: Never"
    place = outcome.text.rindex(mark)
    column = place - outcome.text.rindex(b"\n", 0, place) - 1
    line = layout.newline.encode() + b" " * column + other
    foreign = outcome.text[: place + len(mark)] + b" # c" + line + outcome.text[place + len(mark) :]
    origin = source.rindex(mark)
    expected = source[: origin + len(mark)] + b" # c" + line + source[origin + len(mark) :]
    back = strip(foreign, outcome.record)
    assert without_empty(load(back)) == without_empty(load(expected))
    assert other in back


def without_empty(pod: Any) -> Any:
    """Emptied lists stay as [], which is what was there or means the same."""
    pod["spec"] = {key: value for key, value in pod["spec"].items() if value not in (None, [])}
    pod["metadata"] = {key: value for key, value in pod["metadata"].items() if value not in (None, {})}
    for container in pod["spec"]["containers"]:
        for key in [key for key, value in container.items() if value in (None, [])]:
            del container[key]
    return pod


@BOUNDED
@given(models(), layouts())
def test_a_lost_journal_is_made_up_from_our_names(model: Model, layout: Layout) -> None:
    outcome = edit(write(model, layout), wish("n-1"))
    record = record_of(outcome.text)
    bare = strip(outcome.text, record)
    view = read(bare)
    assert view.nonce is None
    assert view.flag("audit-policy-file") != FLAGS[-1].value or any(e.foreign for e in outcome.edits)


@BOUNDED
@given(models(), layouts(), st.sampled_from(["v1.30.3", "v1.33.7", "v1.33.8", "v1.38.0", "latest", "v1.37.2-x"]))
def test_a_prepared_edit_is_the_edit(model: Model, layout: Layout, version: str) -> None:
    known = write(model, layout)
    prepared = prepare(known, edit(known, DESIRED))
    coming = write(replace(model, image=f"registry.k8s.io/kube-apiserver:{version}"), layout)
    quick = prepared.apply(coming)
    if quick is not None:
        slow = edit(coming, DESIRED)
        assert quick == slow
    assert prepared.apply(known) == edit(known, DESIRED)


@BOUNDED
@given(models(), layouts(), layouts())
def test_layout_does_not_change_the_digest(model: Model, one: Layout, other: Layout) -> None:
    other = replace(other, empty=one.empty)
    assert pod_digest(write(model, one)) == pod_digest(write(model, other))
