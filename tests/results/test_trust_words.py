"""Words and numbers of the trust page."""

from __future__ import annotations

from typing import Any

import pytest

from results.report.trust_page import ANSWERS, MARKS, marked, number
from results.text import interval, p_value, probability, share


@pytest.mark.parametrize(
    ("value", "said"), [(0.0004, "p < 0.001"), (0.001, "p = 0.001"), (0.0349, "p = 0.035"), (1.0, "p = 1.000")]
)
def test_a_p_value_in_a_sentence(value: float, said: str) -> None:
    assert p_value(value) == said


def test_numbers_in_tables() -> None:
    assert [number(x) for x in (-0.12345, 1234.5, 0.0, None)] == ["\N{MINUS SIGN}0.123", "1.23e+03", "0", "–"]
    assert [share(x) for x in (0.0512, 1.0, None)] == ["5.1%", "100.0%", "–"]
    assert [probability(x) for x in (0.0009, 0.001, None)] == ["<0.001", "0.001", "–"]


def test_an_interval_needs_both_ends() -> None:
    assert interval(0.01, 0.053, share) == "1.0% to 5.3%"
    assert interval(None, 0.05, share) == interval(0.05, None, share) == "–"


def test_every_answer_has_a_mark() -> None:
    checks = {"consistent", "differs", "cannot tell", "contradicts"}
    assert set(MARKS) == set(ANSWERS) | checks
    assert (MARKS["supported"], MARKS["contradicted"]) == ("holds", "departs")
    assert (MARKS["consistent"], MARKS["contradicts"]) == ("holds", "departs")


def held(estimate: float, asked: bool) -> dict[str, Any]:
    rows = [{"effect": estimate * k} for k in (0.0, 0.25, 0.5, 1.0, 2.0)]
    return {"claim": {"estimate": estimate}, "effect": {"value": 0.25 * estimate, "asked": asked}, "power": rows}


@pytest.mark.parametrize("estimate", [0.8, -0.8])
def test_rows_of_the_power_table_are_the_cells_of_the_estimate(estimate: float) -> None:
    found = [(words, row["effect"] / estimate) for words, row in marked(held(estimate, asked=True))]
    assert found == [("the effect asked for", 0.25), ("half the estimate", 0.5), ("the estimate", 1.0),
                     ("twice the estimate", 2.0)]  # fmt: skip
    assert [words for words, _ in marked(held(estimate, asked=False))] == [words for words, _ in found[1:]]
