"""Averages of att(G,T): their weights by hand, their names, and the influence of estimated cohort shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from estimators.staggered.adoption_effects import (
    OVERALL,
    Aggregation,
    CohortPeriods,
    Cohorts,
    check_terms,
    largest_t,
    multipliers,
    simultaneous_critical_values,
    staggered_targets,
    staggered_terms,
)
from sim import BadInput

PERIODS = (2000, 2001, 2002, 2003)
FIRST = np.array([1, 1, 1, 3, 2, 2, 4, 4, 0])  # cohorts of 3, 2 and 1 units; two never, one always treated
COHORTS = Cohorts(PERIODS, FIRST, (1, 2, 3))
CELLS = CohortPeriods(np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3))
GROUPS = np.where((FIRST > 0) & (FIRST < 4), FIRST - 1, -1)
TERMS = staggered_terms((-2, 2), (2001, 2003, 2009), (2002, 2009))
ATT = np.random.default_rng(1).standard_normal((5, 12))


def att(g: int, t: int) -> np.ndarray:
    return ATT[:, 4 * (g - 2001) + t - 2000]


def test_terms_and_their_targets() -> None:
    assert staggered_terms((-1, 0), (2001,), (2000, 2001)) == (
        "event(-1)", "event(0)", *OVERALL, "cohort(2001)", "calendar(2000)", "calendar(2001)",
        "att(2001,2000)", "att(2001,2001)",
    )  # fmt: skip
    assert staggered_targets(staggered_terms((-1, 0), (2001,), (2000, 2001))) == {
        "event(0)": "event(0)", "overall": "att", "overall:event": "att_event", "overall:cohort": "att_cohort",
        "overall:calendar": "att_calendar", "cohort(2001)": "cohort(2001)", "calendar(2000)": "calendar(2000)",
        "calendar(2001)": "calendar(2001)", "att(2001,2001)": "att(2001,2001)",
    }  # fmt: skip


def test_averages_by_hand() -> None:
    found = Aggregation.of(TERMS, CELLS, COHORTS)
    got = dict(zip(TERMS, found.estimate(ATT).T, strict=True))
    event = [
        (3 * att(2001, 2001) + 2 * att(2002, 2002) + att(2003, 2003)) / 6,
        (3 * att(2001, 2002) + 2 * att(2002, 2003)) / 5,
        att(2001, 2003),
    ]
    cohort = [
        (att(2001, 2001) + att(2001, 2002) + att(2001, 2003)) / 3,
        (att(2002, 2002) + att(2002, 2003)) / 2,
        att(2003, 2003),
    ]
    calendar = [
        att(2001, 2001),
        (3 * att(2001, 2002) + 2 * att(2002, 2002)) / 5,
        (3 * att(2001, 2003) + 2 * att(2002, 2003) + att(2003, 2003)) / 6,
    ]
    wanted = {
        **{f"event({k})": values for k, values in enumerate(event)},
        "event(-1)": (3 * att(2001, 2000) + 2 * att(2002, 2001) + att(2003, 2002)) / 6,
        "event(-2)": (2 * att(2002, 2000) + att(2003, 2001)) / 3,
        "cohort(2001)": cohort[0],
        "cohort(2003)": cohort[2],
        "calendar(2002)": calendar[1],
        "att(2003,2002)": att(2003, 2002),
        "overall": (9 * cohort[0] + 4 * cohort[1] + cohort[2]) / 14,
        "overall:event": sum(event) / 3,
        "overall:cohort": (3 * cohort[0] + 2 * cohort[1] + cohort[2]) / 6,
        "overall:calendar": sum(calendar) / 3,
    }
    for term, values in wanted.items():
        np.testing.assert_allclose(got[term], values, atol=1e-14, err_msg=term)


def test_terms_without_cells_are_missing_and_move_with_nobody() -> None:
    found = Aggregation.of(TERMS, CELLS, COHORTS)
    missing = [term for term, known in zip(TERMS, found.identified, strict=True) if not known]
    assert missing == ["cohort(2009)", "calendar(2009)", "att(2001,2009)", "att(2003,2009)", "att(2009,2002)",
                       "att(2009,2009)"]  # fmt: skip
    assert np.isnan(found.estimate(ATT)[:, ~found.identified]).all()
    influence = found.weights @ np.ones((5, 12, 9)) + found.of_shares(ATT, GROUPS)
    np.testing.assert_array_equal(influence[:, ~found.identified], 0.0)


def test_what_is_not_identified_is_left_out_and_the_rest_weighted_up() -> None:
    kept = CELLS.take(~((CELLS.cohort == 0) & (CELLS.period == 1)))
    found = Aggregation.of(("event(0)", "overall:cohort"), kept, COHORTS)
    got = found.estimate(np.delete(ATT, 1, axis=1))
    np.testing.assert_allclose(got[:, 0], (2 * att(2002, 2002) + att(2003, 2003)) / 3, atol=1e-14)
    cohort = (att(2001, 2002) + att(2001, 2003)) / 2
    wanted = (3 * cohort + att(2002, 2002) + att(2002, 2003) + att(2003, 2003)) / 6
    np.testing.assert_allclose(got[:, 1], wanted, atol=1e-14)


@pytest.mark.parametrize("g", [0, 1, 2])
def test_slopes_are_derivatives_with_respect_to_cohort_sizes(g: int) -> None:
    """Sizes as counts of units: one more unit of every existing one of a large panel is a small relative step."""
    copies, step = 20000, 100
    moved = []
    for sign in (1, -1):
        counts = np.full(len(FIRST), copies)
        counts[GROUPS.tolist().index(g)] += sign * step
        cohorts = Cohorts(PERIODS, np.repeat(FIRST, counts), (1, 2, 3))
        moved.append(Aggregation.of(TERMS, CELLS, cohorts).estimate(ATT))
    derivative = (moved[0] - moved[1]) / (2 * step / copies)
    found = Aggregation.of(TERMS, CELLS, COHORTS)
    member = GROUPS.tolist().index(g)
    got = found.of_shares(ATT, GROUPS)[:, found.identified, member]
    np.testing.assert_allclose(got, derivative[:, found.identified], atol=1e-5)


@pytest.mark.parametrize(
    ("window", "cohorts", "years", "message"),
    [((2, 1), (), (), "window"), ((0, 1), (2001, 2001), (), "cohorts"), ((0, 1), (), (2001, 2001), "years")],
)
def test_bad_terms(window: tuple[int, int], cohorts: tuple[int, ...], years: tuple[int, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        check_terms(window, cohorts, years, "test")


# Uniform bands: moments of the multipliers, the Gaussian limit, and how often they cover every term at once.


def test_largest_t_by_loops() -> None:
    rng = np.random.default_rng(2)
    influence, drawn = rng.standard_normal((3, 4, 20)), multipliers("mammen", 7, 20, rng)
    influence[1, 2] = 0.0
    got = largest_t(influence, drawn)
    for r in range(3):
        for b in range(7):
            ts = [abs(drawn[b] @ psi) / np.sqrt(psi @ psi) for psi in influence[r] if psi.any()]
            assert got[r, b] == pytest.approx(max(ts), rel=1e-13)
    assert np.isnan(largest_t(np.zeros((1, 2, 20)), drawn)).all()


@pytest.mark.parametrize("kind", ["rademacher", "mammen"])
def test_critical_values_of_independent_terms_are_those_of_the_largest_of_normals(kind: Any) -> None:
    """P(max |z_k| <= c) = (2 Phi(c) - 1)^K for K independent terms."""
    rng = np.random.default_rng(3)
    influence = np.zeros((1, 5, 2000))
    for k in range(5):
        influence[0, k, 400 * k : 400 * (k + 1)] = rng.standard_normal(400)
    drawn = multipliers(kind, 8000, 2000, rng)
    for count in (1, 5):
        wanted = norm.ppf((1 + 0.95 ** (1 / count)) / 2)
        got = simultaneous_critical_values(influence[:, :count], drawn, 0.05)[0]
        assert got == pytest.approx(wanted, abs=0.08)
