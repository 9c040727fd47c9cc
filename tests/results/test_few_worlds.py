"""Few worlds, stores that are not whole, and signs: each number against a slow program of its definition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from fits_of_worlds import draw, value_of
from scipy import stats

from estimators.core.estimator import Status
from results.diagnosis.comparison import contrast
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import bound_factor, clustered, spread_over_worlds, variance_over_worlds, widened
from results.diagnosis.measures import Grouping, RunningMoments
from results.store.block import Block


def moments_of(x: np.ndarray, world: np.ndarray, worlds: int, order: int = 4) -> RunningMoments:
    found = RunningMoments(x.shape[1:], order, worlds)
    for part in np.array_split(np.arange(len(x)), 3):
        found.add(x[part], np.ones(x[part].shape, dtype=bool), Grouping.of(world[part]))
    return found


def components(x: list[float], world: list[int]) -> tuple[float, float, float, float, float]:
    """MSB, MSW, their degrees of freedom and n_0 of a one-way analysis of variance, sum by sum."""
    ids, n, mean = sorted(set(world)), len(x), sum(x) / len(x)
    between = within = squares = 0.0
    for one in ids:
        own = [value for value, at in zip(x, world, strict=True) if at == one]
        middle = sum(own) / len(own)
        between += len(own) * (middle - mean) ** 2
        within += sum((value - middle) ** 2 for value in own)
        squares += len(own) ** 2
    df_b, df_w = len(ids) - 1, n - len(ids)
    return between / df_b, within / df_w, df_b, df_w, (n - squares / n) / df_b


def test_the_spread_over_worlds_by_hand() -> None:
    """Worlds {0, 2}, {4, 6}, {8, 10}: MSB = 2 * 32 / 2 = 32, MSW = 2, n_0 = 2: variance 17 / 1, of 14 in the sample."""
    x, world = np.array([0.0, 2.0, 4.0, 6.0, 8.0, 10.0]), np.array([0, 0, 1, 1, 2, 2])
    moments = moments_of(x[:, None], world, 3)
    assert variance_over_worlds(moments)[0] == pytest.approx(32 / 2 + (1 - 1 / 2) * 2)
    assert moments.variance[0] == pytest.approx(14.0)
    found = spread_over_worlds(moments)
    assert found.value[0] == pytest.approx(math.sqrt(17.0))
    normal = math.sqrt(2 * ((32 / 2) ** 2 / (2 + 2) + ((1 - 1 / 2) * 2) ** 2 / (3 + 2))) / (2 * math.sqrt(17.0))
    assert found.mcse[0] == pytest.approx(normal)


def test_the_spread_of_worlds_of_different_sizes() -> None:
    x = [1.0, 2.5, -0.5, 4.0, 4.5, 3.0, 6.5, -2.0, -1.0]
    world = [0, 0, 0, 1, 1, 1, 1, 4, 4]
    found = variance_over_worlds(moments_of(np.array(x)[:, None], np.array(world), 6))
    msb, msw, _, _, size = components(x, world)
    assert found[0] == pytest.approx(msw + (msb - msw) / size)


def test_a_lone_world_has_the_sample_variance() -> None:
    x = np.random.default_rng(3).standard_normal((40, 2))
    alone = RunningMoments((2,), 4)
    alone.add(x, np.ones(x.shape, dtype=bool))
    reached = moments_of(x, np.zeros(40, dtype=int), 8)  # of 8 worlds one is reached
    for moments in (alone, reached):
        np.testing.assert_allclose(variance_over_worlds(moments), x.var(axis=0, ddof=1), rtol=1e-12)
        np.testing.assert_allclose(spread_over_worlds(moments).value, x.std(axis=0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("worlds", [3, 5, 12])
def test_the_spread_over_few_worlds_is_unbiased_and_its_error_right(worlds: int) -> None:
    """4,000 studies whose worlds hold half of a variance of 1: the sample variance lacks half over the worlds."""
    rng, studies, share, each = np.random.default_rng(100 + worlds), 4000, 0.5, 32
    world = np.repeat(np.arange(worlds), each)
    x = math.sqrt(share) * rng.standard_normal((worlds, studies))[world]
    x += math.sqrt(1 - share) * rng.standard_normal((len(world), studies))
    moments = moments_of(x, world, worlds)
    found = variance_over_worlds(moments)
    assert found.mean() == pytest.approx(1.0, abs=4 * found.std(ddof=1) / math.sqrt(studies))
    assert moments.variance.mean() == pytest.approx(1 - share / worlds, abs=0.03)
    spread = spread_over_worlds(moments)
    total = moments.squares - moments.counts * (moments.second / moments.n)
    sandwich = clustered(total / (2 * np.sqrt(moments.second / moments.n)), moments.counts)
    error = widened(spread, sandwich).mcse
    true = spread.value.std(ddof=1)
    assert np.sqrt((error**2).mean()) / true == pytest.approx(1.0, abs=0.12)
    if worlds < 12:
        assert np.sqrt((sandwich**2).mean()) / true < 0.9


def test_measures_of_a_store_take_the_spread_over_worlds(fabricate: Any, sample_of: Any) -> None:
    """empirical_se, se_error and relative precision, with fits that failed."""
    worlds, rows = 4, 500
    x = draw(np.random.default_rng(12), rows, 1, worlds, share=0.6)
    status = np.full(rows, Status.OK)
    status[[5, 77, 78, 300]] = Status.SINGULAR
    other = x["theta"] + 2 * (x["estimate"] - x["theta"]) ** 3
    samples = {"a": sample_of(x["theta"], x["estimate"], x["se"][:, None, :], 9.0, status),
               "b": sample_of(x["theta"], other, x["se"][:, None, :], 9.0, status)}  # fmt: skip
    records = fabricate([({}, samples)], block=96, worlds=worlds)
    frame = diagnose(records).frame
    ok = status == Status.OK
    variances = []
    for estimate in (x["estimate"], other):
        msb, msw, _, _, size = components((estimate - x["theta"])[ok, 0].tolist(), x["world"][ok].tolist())
        variances.append(msw + (msb - msw) / size)
    assert variances[0] > 1.03 * (x["estimate"] - x["theta"])[ok].var(ddof=1)
    row = value_of(frame, "empirical_se", estimator="a")
    assert row["value"] == pytest.approx(math.sqrt(variances[0]))
    model = math.sqrt((x["se"][ok] ** 2).mean())
    assert value_of(frame, "se_error", estimator="a")["value"] == pytest.approx(
        100 * (model / math.sqrt(variances[0]) - 1)
    )
    table = contrast(records, ("a", "t0", "one"), ("b", "t0", "one"), 0).set_index("measure")
    assert table.loc["relative_precision", "value"] == pytest.approx(100 * (variances[0] / variances[1] - 1))


def test_the_bound_of_a_clustered_error() -> None:
    """3 (s / sigma)^2 is chi-squared with 3 degrees of freedom: below its 2.5% point .2158 in 2.5% of studies."""
    assert bound_factor(np.array([4.0]))[0] == pytest.approx(math.sqrt(3 / stats.chi2.ppf(0.025, 3)))
    assert bound_factor(np.array([1, 1])).tolist() == [1.0, 1.0]
    means = np.random.default_rng(8).standard_normal((20_000, 6))
    bounds = means.std(axis=1, ddof=1) / math.sqrt(6) * bound_factor(np.array(6))
    assert (bounds < 1 / math.sqrt(6)).mean() == pytest.approx(0.025, abs=4 * math.sqrt(0.025 * 0.975 / 20_000))


@dataclass(frozen=True)
class Holed:
    """Records without some of their blocks."""

    records: Any
    missing: tuple[int, ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.records, name)

    def blocks(self, cell: int) -> Iterator[Block]:
        return (block for index, block in enumerate(self.records.blocks(cell)) if index not in self.missing)


@pytest.mark.parametrize("missing", [(), (1,), (0, 3), (5,)])
def test_stores_that_are_not_whole(fabricate: Any, sample_of: Any, missing: tuple[int, ...]) -> None:
    """350 replications in blocks of 64, the last of 30, some of them missing: fits keep the worlds of their places."""
    rows, worlds, block = 350, 5, 64
    x = draw(np.random.default_rng(21), rows, 1, worlds, share=0.5)
    sample = sample_of(x["theta"], x["estimate"], x["se"][:, None, :], 9.0)
    frame = diagnose(Holed(fabricate([({}, {"a": sample})], block=block, worlds=worlds), missing)).frame
    kept = [r for r in range(rows) if r // block not in missing]
    error = [float(x["estimate"][r, 0] - x["theta"][r, 0]) for r in kept]
    world = [r // 32 % worlds for r in kept]
    n, mean = len(kept), math.fsum(error) / len(kept)
    sums = [math.fsum(e - mean for e, at in zip(error, world, strict=True) if at == one) for one in range(worlds)]
    row = value_of(frame, "bias")
    assert (row["n"], row["attempted"], row["worlds"]) == (n, n, len(set(world)))
    assert row["value"] == pytest.approx(mean)
    groups = len(set(world))
    wide = math.sqrt(groups / (groups - 1) * math.fsum(s * s for s in sums)) / n
    assert wide > math.sqrt(math.fsum((e - mean) ** 2 for e in error) / (n - 1) / n)
    assert row["mcse"] == pytest.approx(wide)
    point = float(stats.t.ppf(0.975, groups - 1))
    assert row["upper"] == pytest.approx(mean + point * wide)
    msb, msw, _, _, size = components(error, world)
    assert value_of(frame, "empirical_se")["value"] == pytest.approx(math.sqrt(msw + (msb - msw) / size))


def signed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truths of either sign and zero, and estimates that often have the other sign."""
    rng = np.random.default_rng(31)
    theta = rng.choice([-1.0, -0.2, 0.0, 0.3], 400)
    return theta, theta + rng.standard_normal(400), 0.3 + 0.3 * rng.random(400)


def test_type_s_and_type_m_fit_by_fit(fabricate: Any, sample_of: Any) -> None:
    theta, estimate, se = signed()
    sample = sample_of(theta[:, None], estimate[:, None], se[:, None, None], 12.0)
    frame = diagnose(fabricate([({}, {"a": sample})])).frame
    critical, wrong, count, sizes, truths = float(stats.t.ppf(0.975, 12)), 0, 0, 0.0, 0.0
    for t, b, s in zip(theta.tolist(), estimate.tolist(), se.tolist(), strict=True):
        if t != 0 and abs(b) / s >= critical:
            count += 1
            wrong += (t > 0 and b < 0) or (t < 0 and b > 0)
            sizes, truths = sizes + abs(b), truths + abs(t)
    assert 0 < wrong < count < 400
    row = value_of(frame, "type_s")
    assert (row["n"], row["value"]) == (count, pytest.approx(wrong / count))
    assert row["mcse"] == pytest.approx(math.sqrt(wrong / count * (1 - wrong / count) / count))
    assert value_of(frame, "type_m")["value"] == pytest.approx(sizes / truths)


def test_without_an_effect_no_sign_is_wrong(fabricate: Any, sample_of: Any) -> None:
    _, estimate, se = signed()
    sample = sample_of(np.zeros((400, 1)), estimate[:, None], se[:, None, None], 12.0)
    frame = diagnose(fabricate([({}, {"a": sample})])).frame
    for name in ("type_s", "type_m"):
        row = value_of(frame, name)
        assert row["n"] == 0
        assert math.isnan(row["value"])


def test_failed_fits_have_no_sign(fabricate: Any, sample_of: Any) -> None:
    theta, estimate, se = signed()
    status = np.where(np.arange(400) % 3, Status.OK, Status.SINGULAR)
    sample = sample_of(theta[:, None], estimate[:, None], se[:, None, None], 12.0)
    some = diagnose(fabricate([({}, {"a": replace(sample, status=status)})])).frame
    kept = status == Status.OK
    rest = sample_of(theta[kept, None], estimate[kept, None], se[kept, None, None], 12.0)
    whole = diagnose(fabricate([({}, {"a": rest})])).frame
    for name in ("type_s", "type_m"):
        assert value_of(some, name)["value"] == pytest.approx(value_of(whole, name)["value"])
        assert value_of(some, name)["n"] == value_of(whole, name)["n"]


def test_type_s_does_not_depend_on_the_unit(fabricate: Any, sample_of: Any) -> None:
    """The product of two numbers of 1e-170 is zero, and has no sign."""
    theta, estimate, se = signed()
    found = []
    for unit in (1.0, 1e-170):
        sample = sample_of(unit * theta[:, None], unit * estimate[:, None], unit * se[:, None, None], 12.0)
        found.append(value_of(diagnose(fabricate([({}, {"a": sample})])).frame, "type_s"))
    assert found[0]["value"] > 0
    assert (found[1]["value"], found[1]["n"]) == (found[0]["value"], found[0]["n"])
