"""The etcd of an API server, as its flags name it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.etcd import Endpoint, etcd_endpoints, parse_endpoint
from tests.core.builders import flags


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://127.0.0.1:2379", Endpoint(host="127.0.0.1")),
        ("http://etcd-1.example:4001/", Endpoint(host="etcd-1.example", port=4001)),
        ("https://[fd00::7]:2379", Endpoint(host="fd00::7")),
        ("[::1]:2380", Endpoint(host="::1", port=2380)),
        ("10.0.0.7", Endpoint(host="10.0.0.7")),
        ("10.0.0.7:12379", Endpoint(host="10.0.0.7", port=12379)),
        ("unix:///run/etcd.sock", Endpoint(path="/run/etcd.sock")),
        ("unixs:///run/etcd.sock", Endpoint(path="/run/etcd.sock")),
        ("unix://localhost:2379", None),
        ("", None),
        ("https://", None),
        ("https://10.0.0.7:port", None),
        ("https://10.0.0.7:99999", None),
        ("https://[fd00::7", None),
    ],
)
def test_endpoint(text: str, endpoint: Endpoint | None) -> None:
    assert parse_endpoint(text) == endpoint


@given(text=st.text(max_size=60))
def test_any_text_is_an_endpoint_or_none(text: str) -> None:
    assert parse_endpoint(text) is None or str(parse_endpoint(text))


def test_list_and_repeated_flag_add_up() -> None:
    given_flags = flags(
        ("etcd-servers", "https://10.0.0.1:2379, https://10.0.0.2:2379,"),
        ("etcd-prefix", "/registry"),
        ("etcd-servers", "https://10.0.0.1:2379,https://[fd00::3]:2379"),
        ("etcd-servers-overrides", "/events#https://10.9.9.9:2379"),
    )
    assert [str(e) for e in etcd_endpoints(given_flags)] == ["10.0.0.1:2379", "10.0.0.2:2379", "[fd00::3]:2379"]
    assert etcd_endpoints(()) == ()
    assert str(Endpoint(path="/run/e")) == "/run/e"
