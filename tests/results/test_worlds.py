"""Monte Carlo errors of replications that share worlds: by brute force, against simulation, and in reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from fits_of_worlds import DOF, RUN, draw, value_of
from reports import printed
from scipy import stats

from estimators.core.estimator import Status
from results.diagnosis import fits
from results.diagnosis.comparison import contrast
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import (
    FirstPass,
    Fits,
    SecondPass,
    between_worlds,
    clustered,
    measures_by_error,
    measures_by_term,
    variance_inflation,
    widened,
)
from results.diagnosis.measures import Grouping, Measured, RunningMoments, Tally, interval, wilson
from results.diagnosis.power import Exceedances, UpperTail, adjusted
from results.report.html import ReportFacts, html_report
from results.verdict.verdicts import clear, is_biased, is_off

WORLDS = 10


def sandwich(influence: np.ndarray, world: np.ndarray) -> float:
    """The formula of docs/measures.md, one world after another."""
    ids = np.unique(world)
    sums = [influence[world == one].sum() for one in ids]
    return float(np.sqrt(len(ids) / (len(ids) - 1) * sum(value**2 for value in sums)) / len(influence))


def alone(influence: np.ndarray) -> float:
    return float(np.sqrt((influence**2).mean() / len(influence)))


def influences(theta: np.ndarray, estimate: np.ndarray, se: np.ndarray) -> dict[str, np.ndarray]:
    """Influences by numerical differentiation: what doubling the weight of one fit adds, in n times the measure."""
    e, v = estimate - theta, se**2
    critical = stats.t.ppf(0.975, DOF)
    low, high = estimate - critical * se, estimate + critical * se
    rejected = np.abs(estimate) >= critical * se
    covers = ((low <= theta) & (theta <= high)).astype(float)

    def spread(w: np.ndarray) -> float:
        return float(np.sqrt(w @ (e - w @ e / w.sum()) ** 2 / w.sum()))

    measures: dict[str, Callable[[np.ndarray], float]] = {
        "truth": lambda w: w @ theta / w.sum(),
        "mean_estimate": lambda w: w @ estimate / w.sum(),
        "bias": lambda w: w @ e / w.sum(),
        "relative_bias_ratio": lambda w: (w @ e) / (w @ theta),
        "empirical_se": spread,
        "mse": lambda w: w @ e**2 / w.sum(),
        "rmse": lambda w: np.sqrt(w @ e**2 / w.sum()),
        "mean_se": lambda w: w @ se / w.sum(),
        "model_se": lambda w: np.sqrt(w @ v / w.sum()),
        "se_error": lambda w: 100 * np.sqrt(w @ v / w.sum()) / spread(w),
        "coverage": lambda w: w @ covers / w.sum(),
        "rejection": lambda w: w @ rejected / w.sum(),
        "type_m": lambda w: (w @ (np.abs(estimate) * rejected)) / (w @ (np.abs(theta) * rejected)),
        "type_s": lambda w: (w @ ((estimate * theta < 0) & rejected)) / (w @ rejected),
    }
    n, small = len(e), 1e-4
    out = {}
    for name, measure in measures.items():
        base, slopes = measure(np.ones(n)), np.empty(n)
        for i in range(n):
            up, down = np.ones(n), np.ones(n)
            up[i], down[i] = 1 + small, 1 - small
            slopes[i] = n * (measure(up) - measure(down)) / (2 * small)
        out[name] = slopes - slopes.mean()
        assert np.isfinite(base)
    return out


def of_moved_intervals(theta: np.ndarray, estimate: np.ndarray, se: np.ndarray) -> np.ndarray:
    """h - B + B'(e - b), B' a difference quotient over the window of docs/measures.md."""
    e, half_width = estimate - theta, stats.t.ppf(0.975, DOF) * se
    bias, half = e.mean(), 0.5 * e.std(ddof=1) * len(e) ** -0.2
    covers = [(np.abs(e - move) <= half_width).astype(float) for move in (bias - half, bias, bias + half)]
    slope = (covers[2].mean() - covers[0].mean()) / (2 * half)
    return covers[1] - covers[1].mean() + slope * (e - bias)


@pytest.mark.parametrize("joined", [96, 192])
def test_the_worlds_of_a_block_are_those_of_its_replications(fabricate: Any, sample_of: Any, joined: int) -> None:
    """Blocks of a cell are joined while they are small; a later one does not begin in the first world."""
    x = draw(np.random.default_rng(5), 500, 1, WORLDS)
    records = fabricate([({}, {"a": sample_of(x["theta"], x["estimate"], x["se"][:, None, :], DOF)})], block=96,
                        worlds=WORLDS)  # fmt: skip
    whole = diagnose(records).frame
    with mock.patch.object(fits, "JOINED", joined):
        found = diagnose(records).frame
    assert whole["mcse"].notna().sum() >= 9
    np.testing.assert_allclose(found["mcse"].astype(float), whole["mcse"].astype(float), rtol=1e-9)


def test_each_clustered_error_is_the_sandwich_of_numerical_influences(fabricate: Any, sample_of: Any) -> None:
    """Blocks that cut runs of worlds, fits that failed, and worlds of different sizes."""
    x = draw(np.random.default_rng(5), 500, 1, WORLDS)
    status = np.full(500, Status.OK)
    status[[3, 90, 150, 151, 420]] = Status.SINGULAR
    sample = sample_of(x["theta"], x["estimate"], x["se"][:, None, :], DOF, status)
    frame = diagnose(fabricate([({}, {"a": sample})], block=96, worlds=WORLDS)).frame
    ok = status == Status.OK
    world = x["world"][ok]
    found = influences(x["theta"][ok, 0], x["estimate"][ok, 0], x["se"][ok, 0])
    compared = 0
    for name, influence in found.items():
        row = value_of(frame, name, sample="own")
        if name in {"type_m", "type_s"}:
            continue  # of significant fits alone, below
        expected = sandwich(influence, world)
        assert row["worlds"] == WORLDS
        if expected > 1.02 * alone(influence):
            compared += 1
            assert row["mcse"] == pytest.approx(expected, rel=1e-5), name
        else:
            assert row["mcse"] == pytest.approx(alone(influence), rel=0.03), name
    assert compared >= 9
    moved = value_of(frame, "bias_eliminated_coverage")
    expected = sandwich(of_moved_intervals(x["theta"][ok, 0], x["estimate"][ok, 0], x["se"][ok, 0]), world)
    assert expected > 1.02 * np.sqrt(moved["value"] * (1 - moved["value"]) / moved["n"])
    assert moved["mcse"] == pytest.approx(expected, rel=1e-9)
    usable = (status == Status.OK).astype(float)
    expected = sandwich(usable - usable.mean(), x["world"])
    least = np.sqrt(usable.mean() * (1 - usable.mean()) / 500)
    assert value_of(frame, "convergence")["mcse"] == pytest.approx(max(expected, least), rel=1e-9)


def test_errors_among_significant_fits_are_clustered_too(fabricate: Any, sample_of: Any) -> None:
    x = draw(np.random.default_rng(8), 1600, 1, WORLDS, share=0.6)
    x["theta"], x["estimate"] = x["theta"] - 0.6, x["estimate"] - 0.6
    sample = sample_of(x["theta"], x["estimate"], x["se"][:, None, :], DOF)
    frame = diagnose(fabricate([({}, {"a": sample})], worlds=WORLDS)).frame
    found = influences(x["theta"][:, 0], x["estimate"][:, 0], x["se"][:, 0])
    for name in ("type_s", "type_m"):
        row = value_of(frame, name)
        expected = sandwich(found[name], x["world"])
        assert expected > 1.5 * alone(found[name]), name
        assert row["mcse"] == pytest.approx(expected, rel=1e-4), name


def test_the_formula_by_hand() -> None:
    """Three worlds with sums 1, -3, 2 over 2, 1 and 3 fits: sqrt(3/2 (1 + 9 + 4)) / 6."""
    sums, counts = np.array([[1.0], [-3.0], [2.0]]), np.array([[2.0], [1.0], [3.0]])
    assert clustered(sums, counts)[0] == pytest.approx(np.sqrt(1.5 * 14) / 6)
    assert np.isnan(clustered(sums[:1], counts[:1])[0])
    empty = np.vstack([sums, np.zeros((5, 1))]), np.vstack([counts, np.zeros((5, 1))])
    assert clustered(*empty)[0] == pytest.approx(np.sqrt(1.5 * 14) / 6)  # worlds without a fit count for nothing


def test_sums_by_world_however_rows_come() -> None:
    rng = np.random.default_rng(4)
    values, usable, world = rng.standard_normal((200, 2)), rng.random((200, 2)) < 0.7, np.arange(200) // 32 % 3
    keep = rng.random(200) < 0.8
    values[usable.any(axis=1).argmax()] += 1e3  # the first piece lies far from the others
    for flags in (usable, np.ones_like(usable)):
        for rows in (np.ones(200, dtype=bool), keep):
            moments, tally = RunningMoments((2,), worlds=3), Tally((2,), 3)
            for part in np.array_split(np.flatnonzero(rows), [7, 40, 40, 150]):
                groups = Grouping.of(world[part])
                moments.add(values[part], flags[part], groups)
                tally.add(values[part] > 0, flags[part], groups)
            for one in range(3):
                chosen = flags & (rows & (world == one))[:, None]
                deviation = np.where(chosen, values - moments.mean, 0.0)
                np.testing.assert_allclose(moments.totals[one], deviation.sum(axis=0), rtol=1e-12)
                np.testing.assert_allclose(moments.squares[one], (deviation**2).sum(axis=0), rtol=1e-12)
                np.testing.assert_array_equal(moments.counts[one], chosen.sum(axis=0))
                np.testing.assert_array_equal(tally.counts[one], chosen.sum(axis=0))
                np.testing.assert_array_equal(tally.hits_by_world[one], ((values > 0) & chosen).sum(axis=0))


def test_an_error_below_that_of_independent_fits_is_noise() -> None:
    independent = Measured(np.zeros(4), np.array([0.1, 0.1, 0.0, np.nan]), np.full(4, 50.0))
    wide = widened(independent, np.array([0.05, 0.3, 0.2, 0.2])).mcse
    np.testing.assert_array_equal(wide, [0.1, 0.3, 0.0, np.nan])
    np.testing.assert_array_equal(widened(independent, np.full(4, np.nan)).mcse, independent.mcse)


def test_one_world_leaves_every_number_as_it_is(fabricate: Any, sample_of: Any) -> None:
    x = draw(np.random.default_rng(5), 300, 2, 4)
    samples = {"a": sample_of(x["theta"], x["estimate"], x["se"][:, None, :], DOF)}
    one, few = (diagnose(fabricate([({}, samples)], worlds=worlds)).frame for worlds in (1, 5000))
    assert set(one["worlds"]) == {1}
    assert not (one["measure"] == "between_worlds").any()
    reached = value_of(few, "bias", term="t0")
    assert reached["worlds"] == 10  # of 5,000: 300 replications are ten tiles
    assert reached["mcse"] >= value_of(one, "bias", term="t0")["mcse"]


SIMULATED = ("truth", "bias", "relative_bias_ratio", "empirical_se", "mse", "rmse", "mean_se", "model_se", "se_error",
             "coverage", "bias_eliminated_coverage", "rejection", "type_m")  # fmt: skip
STUDIES, REPLICATIONS, MANY = 1500, 1280, 20


@pytest.fixture(scope="module")
def outer() -> tuple[dict[str, Measured], dict[str, np.ndarray]]:
    """Measures of 1,500 studies of 1,280 replications in 20 worlds, a study a term, and their clustered errors."""
    x = draw(np.random.default_rng(20250311), REPLICATIONS, STUDIES, MANY, share=0.2)
    estimate, theta, se = x["estimate"], x["theta"], x["se"][:, None, :]
    statistic = np.abs(estimate[:, None, :]) / se
    lower, upper = estimate[:, None, :] - 2 * se, estimate[:, None, :] + 2 * se
    ok = np.full(REPLICATIONS, Status.OK, dtype=np.uint8)
    fits = Fits(estimate, theta, se, lower, upper, statistic, statistic >= 2, np.ones(statistic.shape, dtype=bool),
                np.empty((REPLICATIONS, 0)), ok == Status.OK, ok, x["world"])  # fmt: skip
    rows = Grouping.of(x["world"])
    first = FirstPass(STUDIES, 1, 0, 0.05, MANY)
    first.add(fits, fits.ok, rows)
    second = SecondPass(first)
    second.add(fits, fits.ok, rows)
    plain = measures_by_term(second) | {
        name: Measured(*(part[0] for part in item)) for name, item in measures_by_error(second).items()
    }
    errors = {name: clustered(*second.by_world[name]).reshape(-1) for name in SIMULATED}
    return plain, errors


@pytest.mark.parametrize("name", SIMULATED)
def test_clustered_errors_are_the_spread_over_studies(
    outer: tuple[dict[str, Measured], dict[str, np.ndarray]], name: str
) -> None:
    """Within 4 errors of the ratio, and 4% for what 20 worlds leave of the bias of a sandwich over ratios and roots.

    Errors that ignore worlds are too small by half or more where what worlds hold moves the measure.
    """
    plain, errors = outer
    value, mcse = plain[name].value, errors[name]
    spread = value.std(ddof=1)
    kurtosis = ((value - value.mean()) ** 4).mean() / value.var() ** 2
    own = np.sqrt((kurtosis - 1) / (4 * len(value)))
    assert np.sqrt((mcse**2).mean()) / spread == pytest.approx(1.0, abs=4 * own + 0.04)
    if name in {"truth", "bias", "mse", "rmse", "mean_se", "model_se"}:
        assert np.sqrt((plain[name].mcse ** 2).mean()) < 0.5 * spread


def test_the_share_between_worlds_is_that_of_an_analysis_of_variance() -> None:
    """Balanced worlds, by hand; the interval holds the true share in 95% of 2,000 draws, within 4 MCSE."""
    rng = np.random.default_rng(31)
    share, worlds, each, columns = 0.2, 12, 32, 2000
    world = np.repeat(np.arange(worlds), each)
    x = np.sqrt(share) * rng.standard_normal((worlds, columns))[world]
    x = x + np.sqrt(1 - share) * rng.standard_normal((len(world), columns))
    moments = RunningMoments((columns,), worlds=worlds)
    moments.add(x, np.ones(x.shape, dtype=bool), Grouping.of(world))
    found = between_worlds(moments)
    means = x.reshape(worlds, each, columns).mean(axis=1)
    msb, msw = each * means.var(axis=0, ddof=1), x.reshape(worlds, each, columns).var(axis=1, ddof=1).mean(axis=0)
    expected = np.clip((msb - msw) / (msb + (each - 1) * msw), 0, 1)
    np.testing.assert_allclose(found.measured.value, expected, rtol=1e-10)
    covered = ((found.lower <= share) & (share <= found.upper)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / columns))
    ratio = np.sqrt((found.measured.mcse**2).mean()) / found.measured.value.std(ddof=1)
    assert ratio == pytest.approx(1.0, abs=0.1)


def test_what_no_world_shares_has_no_share_between_worlds() -> None:
    """Equal worlds give 0, worlds without any spread of their own give 1, a lone world gives none."""
    world = np.repeat([0, 1, 2], 4)

    def share(x: np.ndarray, of: np.ndarray) -> float:
        moments = RunningMoments((1,), worlds=3)
        moments.add(x[:, None], np.ones((len(x), 1), dtype=bool), Grouping.of(of))
        return float(between_worlds(moments).measured.value[0])

    assert share(np.tile([1.0, 2.0, 3.0, 4.0], 3), world) == 0.0
    assert share(np.array([1.0] * 4 + [2.0] * 4 + [5.0] * 4), world) == 1.0
    assert np.isnan(share(np.arange(4.0), np.zeros(4, dtype=int)))


def test_intervals_of_few_worlds_are_those_of_t() -> None:
    value, n, groups = np.array([0.3]), np.array([400.0]), np.array([5.0])
    low, high = interval(Measured(value, np.array([0.04]), n), True, groups)
    point = stats.t.ppf(0.975, 4)
    np.testing.assert_allclose([low[0], high[0]], [0.3 - point * 0.04, 0.3 + point * 0.04], rtol=1e-9)
    rare = np.array([0.02])
    got = interval(Measured(rare, np.array([0.01]), n), True, groups)
    cases = 0.02 * 0.98 / (0.01 * point / stats.norm.ppf(0.975)) ** 2
    np.testing.assert_allclose(np.array(got), np.array(wilson(rare, np.array([cases]))), rtol=1e-9)
    alone_again = interval(Measured(value, np.array([0.04]), n), False, np.array([1.0]))
    np.testing.assert_allclose(alone_again, interval(Measured(value, np.array([0.04]), n), False))


def test_paired_contrasts_are_clustered(fabricate: Any, sample_of: Any) -> None:
    rng = np.random.default_rng(6)
    x, y = draw(rng, 640, 1, WORLDS), draw(rng, 640, 1, WORLDS)
    other = x["theta"] + 2 * (y["estimate"] - y["theta"])
    samples = {"a": sample_of(x["theta"], x["estimate"], x["se"][:, None, :], DOF),
               "b": sample_of(x["theta"], other, y["se"][:, None, :], DOF)}  # fmt: skip
    records = fabricate([({}, samples)], block=96, worlds=WORLDS)
    table = contrast(records, ("a", "t0", "one"), ("b", "t0", "one"), 0).set_index("measure")
    a, b = (x["estimate"] - x["theta"])[:, 0], 2 * (y["estimate"] - y["theta"])[:, 0]
    critical = stats.t.ppf(0.975, DOF)
    hits = [np.abs(e) <= critical * se[:, 0] for e, se in ((a, x["se"]), (b, y["se"]))]
    va, vb = a.var(), b.var()
    expected = {
        "bias_difference": a - b,
        "mse_difference": a**2 - b**2,
        "coverage_difference": hits[0].astype(float) - hits[1],
        "relative_precision": 100 / vb * ((a - a.mean()) ** 2 - va / vb * (b - b.mean()) ** 2),
    }
    wide = 0
    for name, influence in expected.items():
        error = sandwich(influence - influence.mean(), x["world"])
        least = alone(influence - influence.mean()) * np.sqrt(640 / 639)
        wide += error > least
        assert table.loc[name, "mcse"] == pytest.approx(max(error, least), rel=1e-6 if error > least else 0.03), name
        half = (table.loc[name, "upper"] - table.loc[name, "lower"]) / 2
        assert half == pytest.approx(stats.t.ppf(0.975, WORLDS - 1) * table.loc[name, "mcse"], rel=1e-9)
    assert wide >= 2


def test_size_adjusted_power_has_the_worlds_of_both_cells_in_its_error() -> None:
    """400 pairs of cells whose statistics share a part within 20 worlds, against the spread of the powers.

    Without the worlds the error is too small by a third and more.
    """
    rng = np.random.default_rng(77)
    pairs, rows, worlds = 400, 1280, 20
    world = np.arange(rows) // RUN % worlds

    def statistics(mean: float) -> np.ndarray:
        z = np.sqrt(0.15) * rng.standard_normal((worlds, pairs))[world] + np.sqrt(0.85) * rng.standard_normal(
            (rows, pairs)
        )
        return np.abs(mean + z)[:, None, :]

    null, cell = statistics(0.0), statistics(2.0)
    tail = UpperTail(np.full((1, pairs), float(rows)), 0.05, True)
    tail.add(null)
    above = Exceedances(tail.values)
    above.add(cell)
    critical = tail.critical(0.05)
    assert critical[0, 0] == np.sort(null[:, 0, 0])[-64]
    inflations = []
    for values in (null, cell):
        hits = Tally((1, pairs), worlds)
        hits.add(values >= critical, np.ones(values.shape, dtype=bool), Grouping.of(world))
        inflations.append(variance_inflation(hits))
    power, plain = adjusted(tail, above, 0.05, *inflations), adjusted(tail, above, 0.05)
    np.testing.assert_array_equal(power.value, plain.value)
    spread = power.value.std(ddof=1)
    assert np.sqrt((power.mcse**2).mean()) / spread == pytest.approx(1.0, abs=0.15)
    assert np.sqrt((plain.mcse**2).mean()) / spread < 0.67


def test_a_diagnosis_takes_worlds_into_size_adjusted_power(fabricate: Any, sample_of: Any) -> None:
    """Those of both cells, each by how much it widens the variance of the share beyond the critical value."""
    rng = np.random.default_rng(12)
    cells = []
    for effect in (0.0, 1.0):
        x = draw(rng, 1280, 1, WORLDS)
        estimate = effect + x["estimate"] - x["theta"]
        sample = sample_of(np.full((1280, 1), effect), estimate, np.full((1280, 1, 1), 0.5), np.inf)
        cells.append(({"effect": effect}, {"a": sample}))
    one, many = (value_of(diagnose(fabricate(cells, worlds=worlds)).frame, "size_adjusted_power", effect=1.0)
                 for worlds in (1, WORLDS))  # fmt: skip
    assert one["value"] == many["value"]
    assert many["mcse"] > 1.5 * one["mcse"]
    assert (one["worlds"], many["worlds"]) == (1, WORLDS)
    null, cell = (np.abs(samples["a"].estimate[:, None, :]) / 0.5 for _, samples in cells)
    tail = UpperTail(np.full((1, 1), 1280.0), 0.05, True)
    tail.add(null)
    above = Exceedances(tail.values)
    above.add(cell)
    inflations = []
    for values in (null, cell):
        hits = Tally((1, 1), WORLDS)
        hits.add(values >= tail.critical(0.05), np.ones(values.shape, dtype=bool), Grouping.of(x["world"]))
        inflations.append(variance_inflation(hits))
    assert min(float(inflation[0, 0]) for inflation in inflations) > 1.5
    assert many["mcse"] == pytest.approx(float(adjusted(tail, above, 0.05, *inflations).mcse[0, 0]), rel=1e-9)


def row(**changes: float) -> dict[Any, Any]:
    return {
        "bias": 0.0,
        "bias_mcse": 1.0,
        "coverage": 0.9,
        "coverage_mcse": 0.03,
        "n": 400.0,
        "n_error": 400.0,
        "worlds": 1,
    } | changes


def test_marks_allow_for_worlds() -> None:
    """4 MCSE are as rare as 4.62 of 32 worlds; a coverage's own widening is that of its nominal error."""
    assert clear(1) == 4.0
    assert clear(32) == pytest.approx(stats.t.isf(stats.norm.sf(4.0), 31))
    assert is_biased(row(bias=4.3))
    assert not is_biased(row(bias=4.3, worlds=32))
    assert is_biased(row(bias=4.7, worlds=32))
    low = row(coverage=0.88, coverage_mcse=2 * np.sqrt(0.88 * 0.12 / 400))
    assert is_off(low, "coverage", 0.95)  # .07 / .0109 = 6.4
    assert not is_off(low | {"worlds": 32}, "coverage", 0.95)  # 3.2, for the error is twice that of independent fits
    assert is_off(row(worlds=32, coverage=0.8, coverage_mcse=0.02), "coverage", 0.95)
    assert is_off(row(worlds=32, coverage=1.0, coverage_mcse=0.004), "coverage", 0.90)


@pytest.fixture
def shared(fabricate: Any, sample_of: Any) -> Callable[..., Any]:
    def records(worlds: int, held: tuple[str, ...], rows: int = 320) -> Any:
        x = draw(np.random.default_rng(9), rows, 1, 5)
        samples = {"a": sample_of(x["theta"], x["estimate"], x["se"][:, None, :], DOF)}
        return diagnose(fabricate([({}, samples)], worlds=worlds, held_fixed=held))

    return records


def both_reports(diagnosis: Any) -> tuple[str, str]:
    page = html_report(diagnosis, ReportFacts("study"))
    return " ".join(printed(diagnosis, 160).split()), " ".join(page.split())


@pytest.mark.parametrize(
    ("worlds", "held", "rows", "said"),
    [
        (5, ("calendar", "controls"), 320,
         "Calendar and controls were drawn in 5 worlds: numbers are averages over such worlds, and Monte Carlo errors "
         "include them."),
        (64, ("calendar",), 320, "Calendar was drawn in 10 of 64 worlds:"),
        (1, ("calendar",), 320, "All numbers are conditional on one drawn world: calendar was drawn once."),
        (1, ("calendar", "controls", "city levels"), 320,
         "All numbers are conditional on one drawn world: calendar, controls and city levels were drawn once."),
        (8, ("city levels",), 32, "The study has 8 worlds, and its replications reach only one of them."),
        (5, (), 320, "Replications are spread over 5 worlds, by which Monte Carlo errors are clustered."),
    ],
)  # fmt: skip
def test_the_first_lines_say_what_was_held_fixed(
    shared: Callable[..., Any], worlds: int, held: tuple[str, ...], rows: int, said: str
) -> None:
    for text in both_reports(shared(worlds, held, rows)):
        assert said in text


def test_nothing_is_said_where_nothing_is_held_fixed(shared: Callable[..., Any]) -> None:
    terminal, page = both_reports(shared(1, ()))
    assert "world" not in terminal
    assert "world" not in page


def test_reports_show_the_share_between_worlds_and_explain_it(shared: Callable[..., Any]) -> None:
    diagnosis = shared(5, ("calendar",))
    share = value_of(diagnosis.frame, "between_worlds")
    terminal, page = both_reports(diagnosis)
    assert f"{100 * share['value']:.1f}" in terminal
    assert "Worlds %: the share of the variance" in terminal
    assert f"{100 * share['value']:.1f} ({100 * share['mcse']:.1f})" in page
    assert "it is clustered by world" in page
    assert "set <code>worlds</code> in the study" not in page
    terminal, page = both_reports(shared(1, ("calendar",)))
    assert "Worlds %" not in terminal
    assert "set <code>worlds</code> in the study" in page
