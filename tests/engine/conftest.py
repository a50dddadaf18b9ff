"""Pure functions are computed once for all scenarios: the same manifest is parsed in nearly every one of them."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest

from kauditd.engine import editing, wishes

_KEPT: dict[str, Callable[..., Any]] = {
    "edit": lru_cache(maxsize=256)(editing.edit),
    "read": lru_cache(maxsize=256)(editing.read),
    "pod_digest": lru_cache(maxsize=256)(editing.pod_digest),
    "prepare": lru_cache(maxsize=256)(editing.prepare),
}
_PARSE_POLICY = lru_cache(maxsize=64)(wishes.parse_policy)


@pytest.fixture(autouse=True)
def _remembered_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in _KEPT.items():
        monkeypatch.setattr(editing, name, function)
    monkeypatch.setattr(wishes, "parse_policy", _PARSE_POLICY)
