"""The last look: an edit whose result means anything else is never handed out."""

import pytest

from kauditd.core.manifest.splice import Patch, apply_patches, invert, split_lines
from kauditd.core.manifest.verify import verify
from kauditd.errors import ManifestRefused


@pytest.mark.parametrize("content", [b"a: 2\n", b"a: '1'\n", b"a: 1\nb: 2\n", b"a: [\n", b"a: 1\n---\nb: 2\n", b""])
def test_a_result_that_means_something_else_is_refused(content: bytes) -> None:
    verify(b"a: 1\n", {"a": 1})
    with pytest.raises(ManifestRefused) as refusal:
        verify(content, {"a": 1})
    assert refusal.value.code == "verify-failed"


def cut(start: int, end: int, text: str) -> Patch:
    return Patch(start=start, end=end, text=text, role="r", subject="s")


@pytest.mark.parametrize(
    ("text", "patches", "expected"),
    [
        ("a\nb\n", [cut(2, 2, "x\n"), cut(2, 2, "y\n")], "a\nx\ny\nb\n"),
        ("a\nb\n", [cut(4, 4, "x\n")], "a\nb\nx\n"),
        ("a\nb", [cut(3, 3, "\nx"), cut(3, 3, "\ny")], "a\nb\nx\ny"),
        ("a\nbc\n", [cut(3, 4, "X"), cut(2, 3, "Y")], "a\nYX\n"),
        ("a\nb\nc\n", [cut(2, 4, "")], "a\nc\n"),
        ("a\nb\nc\n", [cut(1, 3, "-")], "a-\nc\n"),
        ("a\nb\nc", [cut(3, 5, "")], "a\nb"),
        ("a\nb\nc\n", [cut(0, 1, "A"), cut(2, 2, "x\n"), cut(2, 3, "B")], "A\nx\nB\nc\n"),
    ],
)
def test_patches_apply_and_their_splices_take_them_back(text: str, patches: list[Patch], expected: str) -> None:
    result, splices = apply_patches(text, patches)
    assert result == expected
    assert invert(split_lines(result), splices) == split_lines(text)
    if any(splice.new for splice in splices):
        assert invert(["other\n"], splices) is None
