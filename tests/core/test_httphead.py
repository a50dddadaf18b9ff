"""Heads and chunk sizes, good and bad."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.httphead import Head, NotHttp, chunk_size, parse_head


def test_status_and_headers() -> None:
    head = parse_head(b"HTTP/1.1 403 Forbidden\r\nAudit-Id: abc\r\nCONTENT-LENGTH: 12\r\nbroken\r\n\r\n")

    assert head.status == 403
    assert head.headers["audit-id"] == "abc"
    assert head.length == 12
    assert not head.chunked


@pytest.mark.parametrize("value", ["", "-1", "1x", "²", "9" * 20])
def test_a_length_that_is_none(value: str) -> None:
    assert Head(status=200, headers={"content-length": value}).length is None


def test_chunked() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").chunked


@pytest.mark.parametrize("head", [b"", b"HTTP/2 200\r\n", b"HTTP/1.1 20\r\n", b"HTTP/1.1 2x0 OK\r\n", b"SSH-2.0-x\r\n"])
def test_what_is_no_http(head: bytes) -> None:
    with pytest.raises(NotHttp):
        parse_head(head)


def test_chunk_sizes() -> None:
    assert chunk_size(b"1aF\r\n") == 0x1AF
    assert chunk_size(b"0\r\n") == 0
    assert chunk_size(b"5;name=value\r\n") == 5


@pytest.mark.parametrize("line", [b"\r\n", b"-1\r\n", b"0x5\r\n", b"5", b" 5\r\n", b"f" * 16 + b"\r\n"])
def test_chunk_sizes_that_are_none(line: bytes) -> None:
    with pytest.raises(NotHttp):
        chunk_size(line)


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(head: bytes) -> None:
    for read in (parse_head, chunk_size):
        try:
            read(head)
        except NotHttp:
            continue
