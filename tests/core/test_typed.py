"""Typed getters: the exact type or an error that names key and place."""

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from kauditd.core.typed import get_bool, get_float, get_int, get_list, get_mapping, get_str
from kauditd.errors import KauditError

Getter = Callable[..., Any]
GOOD: list[tuple[Getter, Any]] = [
    (get_str, ""),
    (get_bool, False),
    (get_int, 0),
    (get_float, 0.5),
    (get_list, []),
    (get_mapping, {}),
]


@pytest.mark.parametrize(("getter", "value"), GOOD)
def test_the_right_type_is_given_back(getter: Getter, value: Any) -> None:
    found = getter({"k": value}, "k", where="w")

    assert found == value
    assert type(found) is type(value)


def test_a_whole_number_is_a_number() -> None:
    found = get_float({"k": 3}, "k", where="w")

    assert (found, type(found)) == (3.0, float)


@pytest.mark.parametrize("getter", [getter for getter, _ in GOOD])
@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", [1], {"a": 1}])
def test_any_other_type_is_refused_and_named(getter: Getter, value: Any) -> None:
    mine = next(type(good) for one, good in GOOD if one is getter)
    if type(value) is mine or (getter is get_float and type(value) is int):
        assert getter({"k": value}, "k", where="the journal") == value
        return
    with pytest.raises(KauditError, match=r"cannot read k in the journal: expected .*, found .+") as caught:
        getter({"k": value}, "k", where="the journal")
    assert caught.value.kind == "bad-request"
    assert caught.value.hint


@pytest.mark.parametrize("getter", [getter for getter, _ in GOOD])
def test_a_missing_key_is_refused(getter: Getter) -> None:
    with pytest.raises(KauditError, match="found nothing"):
        getter({}, "k", where="w")


@pytest.mark.parametrize("value", [nan, inf, -inf, 10**400])
def test_a_number_must_be_finite(value: float) -> None:
    with pytest.raises(KauditError, match="expected a finite number"):
        get_float({"k": value}, "k", where="w")
