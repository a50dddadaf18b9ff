"""Credentials never show themselves, and cross a pipe whole."""

from kauditd.core.credentials import Credentials, Material, dump_credentials, load_credentials

SECRET = "-----BEGIN PRIVATE KEY-----"


def test_contents_stand_in_no_repr() -> None:
    made = Credentials(source="a test", key=Material(text=SECRET), token=Material(text="abc123"))

    for text in (repr(made), str(made), f"{made}"):
        assert SECRET not in text
        assert "abc123" not in text


def test_they_come_back_as_they_went() -> None:
    made = Credentials(
        source="a test",
        certificate=Material(path="/a/cert.pem"),
        key=Material(text=SECRET),
        authority=Material(path="/a/ca.crt"),
        server_name="api.example",
    )

    assert load_credentials(dump_credentials(made)) == made
    assert load_credentials(dump_credentials(Credentials(source="", token=Material(text="t")))).token == Material(
        text="t"
    )


def test_a_malformed_part_counts_as_none() -> None:
    assert load_credentials({"source": "x", "server_name": "y", "key": {"path": 1}}).key is None
