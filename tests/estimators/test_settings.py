"""Settings of listed values that hold another one are bad input where an estimator or a design is made in Python.

A study file names such values as text, which is checked on reading. From Python nothing stood between a misspelt value
and an estimator that took it for one of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import pytest

from estimators import CallawaySantAnna, SpatialPanel, TwoWayDID
from estimators.core.estimator import Estimator, estimators
from sim import BadInput
from sim.design import designs
from sim.errors import choice_problems
from sim.presets import Paper

if TYPE_CHECKING:
    from decimal import Decimal


def listed(cls: type) -> Iterator[tuple[str, bool, tuple[Any, ...]]]:
    """Settings whose type names values: their names, whether they hold several, and the values."""
    hints = get_type_hints(cls)
    for item in fields(cls):
        hint = hints[item.name]
        many = get_origin(hint) is tuple
        inner = get_args(hint)[0] if many and get_args(hint) else hint
        if get_origin(inner) is Literal:
            yield item.name, many, get_args(inner)


CASES = [
    pytest.param(cls, name, many, values, id=f"{kind}-{name}")
    for classes in (estimators(), designs())
    for kind, cls in classes.items()
    for name, many, values in listed(cls)
]


def test_many_settings_list_their_values() -> None:
    """Among them those of which a wrong value was taken in silence."""
    ids = {str(case.id) for case in CASES}
    assert {"callaway-santanna-controls", "callaway-santanna-base", "callaway-santanna-method", "rings-reach",
            "psm-did-method", "mediation-cluster_k", "imputation-averages", "panel-redraw"} <= ids  # fmt: skip


@pytest.mark.parametrize(("cls", "name", "many", "values"), CASES)
def test_a_value_that_is_not_listed_is_bad_input(cls: type, name: str, many: bool, values: tuple[Any, ...]) -> None:
    with pytest.raises(BadInput) as caught:
        cls(**{name: ("nonsense",) if many else "nonsense"})
    (problem,) = caught.value.problems
    assert problem.what == f"{name} = 'nonsense'"
    for value in values:
        assert (str(value) or '""') in problem.allowed.split(", ")
        if isinstance(cls, type) and issubclass(cls, Estimator):
            assert getattr(cls(**{name: (value,) if many else value}), name) == ((value,) if many else value)


def test_the_message_names_the_estimator_and_the_nearest_value() -> None:
    with pytest.raises(BadInput, match=r"^estimator callaway-santanna; controls = 'nevr'; did you mean 'never'\?; "
                                       r"allowed: never, not-yet$"):  # fmt: skip
        CallawaySantAnna(controls="nevr")


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        SpatialPanel(model="sdmm", transform="lee")
    assert [problem.what for problem in caught.value.problems] == ["model = 'sdmm'", "transform = 'lee'"]


@dataclass(frozen=True, slots=True)
class Some:
    """Settings of every form that lists values."""

    one: Literal["a", "b"] = "a"
    several: tuple[Literal["a", 1], ...] = ()
    perhaps: Literal["a", "b"] | None = None
    either: tuple[Literal["a"], ...] | Literal["all"] | None = None
    free: str | None = None
    mixed: Literal["a"] | int = 0


@dataclass(frozen=True)
class Untold:
    """Settings of a type that is there for type checkers alone."""

    one: Literal["a"] = "a"
    other: Decimal | None = None


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (Some(), []),
        (Some("b", ("a", 1), "b", "all", "any", 7), []),
        (Some("c"), ["one = 'c'"]),
        (Some(several=("a", 2, "b")), ["several = 2", "several = 'b'"]),
        (Some(perhaps="c"), ["perhaps = 'c'"]),
        (Some(either=("a",)), []),
        (Some(either=("b",)), ["either = 'b'"]),
        (Untold("b"), []),
    ],
)
def test_types_that_list_values(settings: object, wrong: list[str]) -> None:
    assert [problem.what for problem in choice_problems(settings, "here")] == wrong


def test_an_estimator_with_checks_of_its_own_still_has_these() -> None:
    """They are inherited: a class without a `__post_init__` has them, one with its own calls them."""
    for kind, cls in estimators().items():
        own = cls.__dict__.get("__post_init__")
        assert own is None or "__post_init__" in own.__code__.co_names, kind
    assert TwoWayDID().cluster_k == "nonnested"


def test_a_plug_in_that_is_no_dataclass_can_be_shown() -> None:
    class Plain(Estimator):
        kind = "plain"
        home = (Paper(), ())
        layout = variables = __call__ = lambda self, *_: None

    assert "Plain object" in repr(Plain())
