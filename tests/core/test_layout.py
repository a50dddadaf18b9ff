"""Logical paths and host paths: the same but for the root."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.layout import Layout, base_name, parent

NAMES = st.lists(st.text("abc.-", min_size=1, max_size=4), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("path", "directory", "name"), [("/a/b", "/a", "b"), ("/a", "/", "a"), ("/a/b/c", "/a/b", "c")]
)
def test_directory_and_name(path: str, directory: str, name: str) -> None:
    assert parent(path) == directory
    assert base_name(path) == name


def test_without_a_root_nothing_changes() -> None:
    layout = Layout()
    assert layout.host("/etc/x") == "/etc/x"
    assert layout.logical("/etc/x") == "/etc/x"
    assert layout.inside("kube-apiserver")


@given(NAMES, NAMES)
def test_logical_is_the_inverse_of_host(root: list[str], path: list[str]) -> None:
    layout = Layout("/" + "/".join(root))
    logical = "/" + "/".join(path)
    assert layout.host(logical) == layout.root + logical
    assert layout.logical(layout.host(logical)) == logical


def test_paths_outside_the_root_stay() -> None:
    layout = Layout("/srv/demo")
    assert layout.logical("/srv/demo") == "/"
    assert layout.logical("/srv/demo2/etc") == "/srv/demo2/etc"


@pytest.mark.parametrize(
    ("word", "inside"),
    [
        ("/srv/demo", True),
        ("/srv/demo/etc/pki/ca.crt", True),
        ("--client-ca-file=/srv/demo/etc/pki/ca.crt", True),
        ("--data-dir=/srv/demo", True),
        ("--etcd-servers=unix:///srv/demo/etcd.sock", True),
        ("--files=/etc/a,/srv/demo/b", True),
        ("volume:/srv/demo/b", True),
        ("--client-ca-file=/srv/demo2/ca.crt", False),
        ("--client-ca-file=/backup/srv/demo/ca.crt", False),
        ("--client-ca-file=/backup/srv/demo/x,/srv/demo/x", True),
        ("--secure-port=6443", False),
        ("", False),
    ],
)
def test_only_words_that_name_a_path_inside_the_root_count(word: str, *, inside: bool) -> None:
    assert Layout("/srv/demo").inside(word) is inside
