"""The stochastic root search on functions whose root is known, measured with noise of known size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from experiments.search.root import Found, Limits, SearchPoint, fitted, search
from sim.errors import bad

NOISE = 1.5  # of one replication


def noisy(function: Callable[[float], float], seed: int, least: float = -math.inf,
          most: float = math.inf) -> Callable[[float, int], SearchPoint]:  # fmt: skip
    """A measure whose noise at one x is that of a sum over its replications, as in a store that grows."""

    def measure(x: float, n: int) -> SearchPoint:
        if not least <= x <= most:
            raise bad(f"x = {x}", where="test", allowed="inside", remedy="move it")
        rng = np.random.default_rng([seed, abs(hash(x)) % 2**32])
        noise = NOISE * rng.standard_normal(n).mean()
        return SearchPoint(x, function(x) + noise, NOISE / math.sqrt(n), n)

    return measure


CASES = {
    "a line": (lambda x: 2.8 * x - 2.8, Limits(0.0, 0.1, factor=2.0), 1.0),
    "a small slope": (lambda x: 0.8 * x - 0.8, Limits(0.0, 0.05), 1.0),
    "a parabola": (lambda x: 1.5 * (x * x - 1), Limits(0.0, 0.1), 1.0),
    "concave": (lambda x: 3 * (math.sqrt(x + 0.01) - math.sqrt(1.01)), Limits(0.0, 0.3, least=0.0), 1.0),
    "falling": (lambda x: 1.3 - 1.3 * x, Limits(0.0, 0.02, factor=3.0), 1.0),
    "far away": (lambda x: x / 500 - 2, Limits(0.0, 0.5, factor=4.0), 1000.0),
    "downwards": (lambda x: 2 * math.log(x / 30), Limits(200.0, -100.0, factor=1.5, least=4.0, precision=0.05), 30.0),
}


@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_root_in_95_of_100_searches(name: str) -> None:
    function, limits, root = CASES[name]
    found = [search(noisy(function, seed), limits, 0) for seed in range(200)]
    assert {item.state for item in found} == {"found"}
    hits = [item.lower <= root <= item.upper for item in found]
    assert abs(np.mean(hits) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200), np.mean(hits)
    half = [(item.upper - item.lower) / 2 for item in found]
    assert np.median(half) <= limits.precision * root
    assert all(item.replications <= 1.5 * limits.budget for item in found)


def test_whole_numbers_alone_are_measured() -> None:
    limits = Limits(50.0, 50.0, factor=2.0, least=4.0, whole=True, precision=0.05)
    found = [search(noisy(lambda x: 2 * math.log(x / 116.4), seed), limits, 0) for seed in range(200)]
    assert all(float(point.x).is_integer() for item in found for point in item.points)
    assert abs(np.mean([item.lower <= 116.4 <= item.upper for item in found]) - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200)


def test_a_level_that_is_passed_at_the_start() -> None:
    found = search(noisy(lambda x: 1 + x, 1), Limits(0.0, 0.1), -1)
    assert (found.state, found.value, len(found.points)) == ("passed", 0.0, 1)


def test_a_level_that_is_never_reached() -> None:
    found = search(noisy(lambda x: -1.0, 1), Limits(0.0, 0.1, most=5.0), -1)
    assert (found.state, found.value) == ("not reached", 5.0)


def test_values_that_are_not_allowed_are_gone_around() -> None:
    """From 0 by steps of .3 and 1.2: 1.2 is not allowed, the root at .9 lies between."""
    found = search(noisy(lambda x: 5 * (x - 0.9), 4, most=0.999), Limits(0.0, 0.3, factor=4.0), 0)
    assert found.state == "found"
    assert found.lower <= 0.9 <= found.upper
    assert max(point.x for point in found.points) < 1


def test_a_window_that_reaches_beyond_what_is_allowed() -> None:
    """The root lies at the edge: the far end of its window, 1 and more, is left out."""
    found = [search(noisy(lambda x: 20 * (x - 0.98), seed, most=0.9999), Limits(0.0, 0.3, precision=0.05), 0)
             for seed in range(100)]  # fmt: skip
    assert {item.state for item in found} == {"found"}
    assert np.mean([item.lower <= 0.98 <= item.upper for item in found]) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 100)


def test_a_search_is_repeated_step_by_step() -> None:
    first, again = (search(noisy(lambda x: 2 * x - 2, 9), Limits(0.0, 0.1), 0) for _ in range(2))
    assert first == again
    assert isinstance(first, Found)


def test_a_fit_that_does_not_hold_has_a_wider_interval() -> None:
    def points(jag: float) -> list[SearchPoint]:
        return [SearchPoint(x, x - 1 + jag * (-1) ** i, 0.01, 100) for i, x in enumerate(np.linspace(0.7, 1.3, 7))]

    smooth, jagged = fitted(points(0.0), 1.0, 0.4), fitted(points(0.05), 1.0, 0.4)
    assert smooth is not None
    assert jagged is not None
    assert smooth.root == pytest.approx(1.0)
    assert jagged.se > 3 * smooth.se


def test_the_standard_error_of_a_root_is_the_delta_methods() -> None:
    """Two points: the root of a line through them, by hand."""
    fit = fitted([SearchPoint(0.0, -1.0, 0.1, 1), SearchPoint(2.0, 1.0, 0.2, 1)], 1.0, 2.0)
    assert fit is not None
    assert fit.root == pytest.approx(1.0)
    assert fit.se == pytest.approx(math.sqrt(0.25 * 0.1**2 + 0.25 * 0.2**2))
