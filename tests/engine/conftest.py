"""Pure functions are computed once for all scenarios: the same manifest is parsed in nearly every one of them."""

from functools import lru_cache
from itertools import cycle
from types import ModuleType

import pytest

from kauditd.engine import editing, observation, removal, wishes

_PURE: dict[ModuleType, tuple[str, ...]] = {
    editing: ("edit", "read", "pod_digest", "prepare"),
    removal: ("strip", "record_of"),
    observation: ("defines_api_server",),
    wishes: ("parse_policy", "parse_settings", "publish"),
}
_REMEMBERING = [
    (module, name, lru_cache(maxsize=512)(getattr(module, name))) for module, names in _PURE.items() for name in names
]

_NONCES = cycle(f"{number:016x}" for number in range(1, 32))
"""Random ones would make every edit a new one. They come round again, which a test of their freshness cannot use."""

REAL_FRESH_NONCE = editing._fresh_nonce


@pytest.fixture(autouse=True)
def _remembered_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, function in _REMEMBERING:
        monkeypatch.setattr(module, name, function)
    monkeypatch.setattr(editing, "_fresh_nonce", lambda: next(_NONCES))
