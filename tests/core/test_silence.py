"""A kubelet that starts nothing and says nothing here: when its log directories allow a conclusion, and when not."""

from dataclasses import replace

import pytest

from kauditd.core.observed import PodEvidence
from kauditd.core.silence import Silence, explain_silence
from tests.core.builders import NOW

OLD = PodEvidence(pod_uid="old", made_unix_s=NOW - 3600, attempt=2)
NONE = PodEvidence()
EMPTY = PodEvidence(pod_uid="new", made_unix_s=NOW + 12)


def explain(before: PodEvidence | None, now: PodEvidence | None, *, end: float = 45.0, empty: float = 0.0) -> str:
    found: Silence | None = explain_silence(
        before, now, written_unix_s=NOW, since_end_s=end, empty_s=empty, image="registry.example/x:v9"
    )
    return "" if found is None else found.code


@pytest.mark.parametrize("now", [OLD, NONE])
def test_hostpath_mismatch(now: PodEvidence) -> None:
    assert explain(OLD, now) == "hostpath-mismatch"
    assert explain(OLD, now, end=44.9) == ""


@pytest.mark.parametrize(
    "before",
    [
        None,
        NONE,
        EMPTY,
        replace(OLD, made_unix_s=None),
        replace(OLD, made_unix_s=NOW),
    ],
)
def test_nothing_follows_where_the_old_pod_was_not_seen(before: PodEvidence | None) -> None:
    """The directories may be elsewhere, or what was seen first is the new pod already."""
    assert explain(before, NONE if before is None else before, end=119.0) == ""


@pytest.mark.parametrize("now", [None, PodEvidence(listed=False), EMPTY, replace(OLD, attempt=3)])
def test_nothing_follows_where_the_kubelet_acted_or_nothing_was_read(now: PodEvidence | None) -> None:
    assert explain(OLD, now, end=119.0) == ""


def test_image_missing() -> None:
    assert explain(OLD, EMPTY, end=72.0, empty=60.0) == "image-missing"
    assert explain(OLD, EMPTY, end=72.0, empty=59.9) == ""
    assert explain(None, EMPTY, end=72.0, empty=60.0) == "image-missing"


def test_image_of_no_name() -> None:
    found = explain_silence(OLD, EMPTY, written_unix_s=NOW, since_end_s=80.0, empty_s=61.0, image="")
    assert found is not None
    assert "the image of the manifest" in found.text
