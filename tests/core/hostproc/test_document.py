"""A unit as one text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.hostproc import EnvironmentFile, UnitFile, UnitSource, edit, read, with_drop_in
from kauditd.core.hostproc.document import (
    drop_in_in,
    dump,
    edit_document,
    load,
    read_document,
    record_of_document,
    strip_document,
)
from kauditd.core.records import digest_of
from kauditd.errors import ManifestRefused
from tests.core.hostproc.units import BY_HAND, DESIRED, FROM_VARIABLES, OURS, source

FILES = st.builds(UnitFile, path=st.text(max_size=5), content=st.binary(max_size=30))
SOURCES = st.builds(
    UnitSource,
    name=st.text(max_size=5),
    load_state=st.sampled_from(["loaded", "masked"]),
    fragment=st.none() | FILES,
    drop_ins=st.lists(FILES, max_size=3).map(tuple),
    environment_files=st.lists(
        st.builds(
            EnvironmentFile,
            pattern=st.text(max_size=5),
            path=st.text(max_size=5),
            content=st.none() | st.binary(max_size=30),
        ),
        max_size=2,
    ).map(tuple),
)
UNIT = source(
    FROM_VARIABLES, files={"/etc/kubernetes/apiserver": "KUBE_API_ARGS=--v=2\n", "/etc/kubernetes/config": None}
)


@given(SOURCES)
def test_nothing_is_lost(unit: UnitSource) -> None:
    assert load(dump(unit)) == unit
    assert dump(load(dump(unit))) == dump(unit)


def test_an_edit_is_the_edit_of_the_unit() -> None:
    text = dump(UNIT)
    done = edit_document(text, DESIRED)

    assert load(done.text) == with_drop_in(UNIT, edit(UNIT, DESIRED).text)
    assert done.edits == done.record.edits == edit(UNIT, DESIRED).edits
    assert (done.record.before, done.record.after) == (digest_of(text), digest_of(done.text))
    assert drop_in_in(done.text) == edit(UNIT, DESIRED).text
    assert drop_in_in(text) == b""
    again = edit_document(done.text, DESIRED)
    assert (again.text, again.edits) == (done.text, ())


def test_the_way_back_gives_the_same_text() -> None:
    text = dump(UNIT)
    done = edit_document(text, DESIRED)

    assert strip_document(done.text, done.record) == strip_document(done.text) == strip_document(text) == text
    assert record_of_document(done.text).before == digest_of(text)
    assert record_of_document(done.text).after == digest_of(done.text)


def test_the_way_back_takes_nobody_s_lines() -> None:
    with pytest.raises(ManifestRefused):
        strip_document(dump(source(BY_HAND, (OURS, "[Service]\nLimitNOFILE=1\n"))))


def test_the_view_is_that_of_the_unit() -> None:
    assert read_document(dump(UNIT)) == read(UNIT)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"apiVersion: v1\n",
        b"# 1\n",
        b"# {}\n",
        b"# {",
        b'# {"v":2,"bytes":0}\n',
        b'# {"v":1,"bytes":0}\n',
        b'# {"v":1,"bytes":-1}\n',
        dump(UNIT) + b'# {"other":1,"bytes":0}\n',
        dump(UNIT)[:-5],
    ],
)
def test_what_is_no_document_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestRefused) as refused:
        load(text)

    assert refused.value.code == "bad-document"
