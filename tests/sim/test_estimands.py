"""Names of estimands, whatever the variables are called."""

from __future__ import annotations

import pytest

from sim.design import Estimand


@pytest.mark.parametrize("name", ["did", "GDP (yuan)", "人均GDP(元)", "a, b", "f(x", "x)", "two\nlines", " blank "])
@pytest.mark.parametrize("kind", ["beta", "direct", "indirect", "total"])
def test_a_variable_of_any_name_is_one_argument(kind: str, name: str) -> None:
    assert Estimand.parse(f"{kind}({name})") == Estimand(kind, (name,))


def test_other_kinds_take_lists() -> None:
    assert Estimand.parse("att") == Estimand("att", ())
    assert Estimand.parse("att(2010, 2012)") == Estimand("att", ("2010", "2012"))
    assert Estimand.parse("event(-3)") == Estimand("event", ("-3",))


@pytest.mark.parametrize("name", ["", "att(", "att)", "(did)", "Att", "beta(did) + 1"])
def test_what_is_no_estimand(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of an estimand"):
        Estimand.parse(name)
