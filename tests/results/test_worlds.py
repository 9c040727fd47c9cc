"""Monte Carlo errors of replications that share worlds: by brute force, against simulation, and in reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from made_records import DOF, RUN, Sample, draw, made_up, measured, to_the_spread, two_passes, value_of
from reports import printed
from scipy import stats

from estimators.core.estimator import Status
from results.diagnosis import fits
from results.diagnosis.comparison import contrast
from results.diagnosis.diagnose import diagnose
from results.diagnosis.measures import Grouping, Measured, RunningMoments, Tally, interval, wilson
from results.diagnosis.power import Exceedances, UpperTail, adjusted
from results.plots.grid import MEASURES
from results.report.html import ReportFacts, html_report
from results.report.pivot import pivot
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
def test_the_worlds_of_a_block_are_those_of_its_replications(joined: int) -> None:
    """Blocks of a cell are joined while they are small; a later one does not begin in the first world."""
    x = draw(np.random.default_rng(5), 500, 1, WORLDS)
    records = made_up([({}, {"a": Sample(x["theta"], x["estimate"], x["se"][:, None, :], DOF)})], block=96,
                        worlds=WORLDS)  # fmt: skip
    whole = diagnose(records).frame
    with mock.patch.object(fits, "JOINED", joined):
        found = diagnose(records).frame
    assert whole["mcse"].notna().sum() >= 9
    np.testing.assert_allclose(found["mcse"].astype(float), whole["mcse"].astype(float), rtol=1e-9)


def test_each_clustered_error_is_the_sandwich_of_numerical_influences() -> None:
    """Blocks that cut runs of worlds, fits that failed, and worlds of different sizes."""
    x = draw(np.random.default_rng(5), 500, 1, WORLDS)
    status = np.full(500, Status.OK)
    status[[3, 90, 150, 151, 420]] = Status.SINGULAR
    sample = Sample(x["theta"], x["estimate"], x["se"][:, None, :], DOF, status)
    frame = diagnose(made_up([({}, {"a": sample})], block=96, worlds=WORLDS)).frame
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


def test_errors_among_significant_fits_are_clustered_too() -> None:
    x = draw(np.random.default_rng(8), 1600, 1, WORLDS, share=0.6)
    x["theta"], x["estimate"] = x["theta"] - 0.6, x["estimate"] - 0.6
    sample = Sample(x["theta"], x["estimate"], x["se"][:, None, :], DOF)
    frame = diagnose(made_up([({}, {"a": sample})], worlds=WORLDS)).frame
    found = influences(x["theta"][:, 0], x["estimate"][:, 0], x["se"][:, 0])
    for name in ("type_s", "type_m"):
        row = value_of(frame, name)
        expected = sandwich(found[name], x["world"])
        assert expected > 1.5 * alone(found[name]), name
        assert row["mcse"] == pytest.approx(expected, rel=1e-4), name


def test_the_formula_by_hand() -> None:
    """Three worlds with sums 1, -3, 2 over 2, 1 and 3 fits: sqrt(3/2 (1 + 9 + 4)) / 6."""
    sums, counts = np.array([[1.0], [-3.0], [2.0]]), np.array([[2.0], [1.0], [3.0]])
    assert fits.clustered(sums, counts)[0] == pytest.approx(np.sqrt(1.5 * 14) / 6)
    assert np.isnan(fits.clustered(sums[:1], counts[:1])[0])
    empty = np.vstack([sums, np.zeros((5, 1))]), np.vstack([counts, np.zeros((5, 1))])
    assert fits.clustered(*empty)[0] == pytest.approx(np.sqrt(1.5 * 14) / 6)  # worlds without a fit count for nothing


def test_an_error_below_that_of_independent_fits_is_noise() -> None:
    independent = Measured(np.zeros(4), np.array([0.1, 0.1, 0.0, np.nan]), np.full(4, 50.0))
    wide = fits.widened(independent, np.array([0.05, 0.3, 0.2, 0.2])).mcse
    np.testing.assert_array_equal(wide, [0.1, 0.3, 0.0, np.nan])
    np.testing.assert_array_equal(fits.widened(independent, np.full(4, np.nan)).mcse, independent.mcse)


SIMULATED = ("truth", "bias", "relative_bias_ratio", "empirical_se", "mse", "rmse", "mean_se", "model_se", "se_error",
             "coverage", "bias_eliminated_coverage", "rejection", "type_m")  # fmt: skip
STUDIES, REPLICATIONS, MANY = 1500, 1280, 20


@pytest.fixture(scope="module")
def outer() -> tuple[dict[str, Measured], dict[str, np.ndarray]]:
    """Measures of 1,500 studies of 1,280 replications in 20 worlds, a study a term, and their clustered errors."""
    second = two_passes(draw(np.random.default_rng(20250311), REPLICATIONS, STUDIES, MANY, share=0.2), 2.0, MANY)
    return measured(second), {name: fits.clustered(*second.by_world[name]).reshape(-1) for name in SIMULATED}


@pytest.mark.parametrize("name", SIMULATED)
def test_clustered_errors_are_the_spread_over_studies(
    outer: tuple[dict[str, Measured], dict[str, np.ndarray]], name: str
) -> None:
    """Within 4 errors of the ratio, and 4% for what 20 worlds leave of the bias of a sandwich over ratios and roots.

    Errors that ignore worlds are too small by half or more where what worlds hold moves the measure.
    """
    value, plain, _ = outer[0][name]
    ratio, own = to_the_spread(value, outer[1][name])
    assert ratio == pytest.approx(1.0, abs=4 * own + 0.04)
    if name in {"truth", "bias", "mse", "rmse", "mean_se", "model_se"}:
        assert to_the_spread(value, plain)[0] < 0.5


def test_the_share_between_worlds_is_that_of_an_analysis_of_variance() -> None:
    """Balanced worlds, by hand; the interval holds the true share in 95% of 2,000 draws, within 4 MCSE."""
    rng = np.random.default_rng(31)
    share, worlds, each, columns = 0.2, 12, 32, 2000
    world = np.repeat(np.arange(worlds), each)
    x = np.sqrt(share) * rng.standard_normal((worlds, columns))[world]
    x = x + np.sqrt(1 - share) * rng.standard_normal((len(world), columns))
    moments = RunningMoments((columns,), worlds=worlds)
    moments.add(x, np.ones(x.shape, dtype=bool), Grouping.of(world))
    found = fits.between_worlds(moments)
    means = x.reshape(worlds, each, columns).mean(axis=1)
    msb, msw = each * means.var(axis=0, ddof=1), x.reshape(worlds, each, columns).var(axis=1, ddof=1).mean(axis=0)
    expected = np.clip((msb - msw) / (msb + (each - 1) * msw), 0, 1)
    np.testing.assert_allclose(found.measured.value, expected, rtol=1e-10)
    covered = ((found.lower <= share) & (share <= found.upper)).mean()
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / columns))
    assert to_the_spread(found.measured.value, found.measured.mcse)[0] == pytest.approx(1.0, abs=0.1)


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


def test_paired_contrasts_are_clustered() -> None:
    rng = np.random.default_rng(6)
    x, y = draw(rng, 640, 1, WORLDS), draw(rng, 640, 1, WORLDS)
    other = x["theta"] + 2 * (y["estimate"] - y["theta"])
    samples = {"a": Sample(x["theta"], x["estimate"], x["se"][:, None, :], DOF),
               "b": Sample(x["theta"], other, y["se"][:, None, :], DOF)}  # fmt: skip
    records = made_up([({}, samples)], block=96, worlds=WORLDS)
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


def inflation(beyond: np.ndarray, world: np.ndarray, worlds: int) -> np.ndarray:
    """By how much worlds widen the variance of the share of statistics (R, 1, K) beyond a critical value."""
    hits = Tally(beyond.shape[1:], worlds)
    hits.add(beyond, np.ones(beyond.shape, dtype=bool), Grouping.of(world))
    return fits.variance_inflation(hits)


def test_size_adjusted_power_has_the_worlds_of_both_cells_in_its_error() -> None:
    """400 pairs of cells whose statistics share a part within 20 worlds, against the spread of the powers.

    Without the worlds the error is too small by a third and more.
    """
    rng = np.random.default_rng(77)
    pairs, rows, worlds = 400, 1280, 20
    world = np.arange(rows) // RUN % worlds

    def statistics(mean: float) -> np.ndarray:
        z = np.sqrt(0.15) * rng.standard_normal((worlds, pairs))[world]
        return np.abs(mean + z + np.sqrt(0.85) * rng.standard_normal((rows, pairs)))[:, None, :]

    null, cell = statistics(0.0), statistics(2.0)
    tail = UpperTail(np.full((1, pairs), float(rows)), 0.05, True)
    tail.add(null)
    above = Exceedances(tail.values)
    above.add(cell)
    critical = tail.critical(0.05)
    assert critical[0, 0] == np.sort(null[:, 0, 0])[-64]
    inflations = [inflation(values >= critical, world, worlds) for values in (null, cell)]
    power, plain = adjusted(tail, above, 0.05, *inflations), adjusted(tail, above, 0.05)
    np.testing.assert_array_equal(power.value, plain.value)
    assert to_the_spread(power.value, power.mcse)[0] == pytest.approx(1.0, abs=0.15)
    assert to_the_spread(plain.value, plain.mcse)[0] < 0.67


def test_a_diagnosis_takes_worlds_into_size_adjusted_power() -> None:
    """Those of both cells, each by how much it widens the variance of the share beyond the critical value."""
    rng = np.random.default_rng(12)
    cells = []
    for effect in (0.0, 1.0):
        x = draw(rng, 1280, 1, WORLDS)
        estimate = effect + x["estimate"] - x["theta"]
        sample = Sample(np.full((1280, 1), effect), estimate, np.full((1280, 1, 1), 0.5), np.inf)
        cells.append(({"effect": effect}, {"a": sample}))
    one, many = (value_of(diagnose(made_up(cells, worlds=worlds)).frame, "size_adjusted_power", effect=1.0)
                 for worlds in (1, WORLDS))  # fmt: skip
    assert one["value"] == many["value"]
    assert many["mcse"] > 1.5 * one["mcse"]
    assert (one["worlds"], many["worlds"]) == (1, WORLDS)
    null, cell = (np.abs(samples["a"].estimate[:, None, :]) / 0.5 for _, samples in cells)
    tail = UpperTail(np.full((1, 1), 1280.0), 0.05, True)
    tail.add(null)
    above = Exceedances(tail.values)
    above.add(cell)
    inflations = [inflation(values >= tail.critical(0.05), x["world"], WORLDS) for values in (null, cell)]
    assert min(float(one[0, 0]) for one in inflations) > 1.5
    assert many["mcse"] == pytest.approx(float(adjusted(tail, above, 0.05, *inflations).mcse[0, 0]), rel=1e-9)


def row(**changes: float) -> dict[Any, Any]:
    usual = {"bias": 0.0, "bias_mcse": 1.0, "coverage": 0.9, "coverage_mcse": 0.03}
    return usual | {"n": 400.0, "n_error": 400.0, "worlds": 1} | changes


def test_marks_allow_for_worlds() -> None:
    """4 MCSE are as rare as 4.62 of 32 worlds; a coverage's own widening is that of its nominal error."""
    assert (clear(1), clear(32)) == (4.0, pytest.approx(stats.t.isf(stats.norm.sf(4.0), 31)))
    assert is_biased(row(bias=4.3))
    assert not is_biased(row(bias=4.3, worlds=32))
    assert is_biased(row(bias=4.7, worlds=32))
    low = row(coverage=0.88, coverage_mcse=2 * np.sqrt(0.88 * 0.12 / 400))
    assert is_off(low, "coverage", 0.95)  # .07 / .0109 = 6.4
    assert not is_off(low | {"worlds": 32}, "coverage", 0.95)  # 3.2, for the error is twice that of independent fits
    assert is_off(row(worlds=32, coverage=0.8, coverage_mcse=0.02), "coverage", 0.95)
    assert is_off(row(worlds=32, coverage=1.0, coverage_mcse=0.004), "coverage", 0.90)


@pytest.fixture
def shared() -> Callable[..., Any]:
    def records(worlds: int, held: tuple[str, ...], rows: int = 320) -> Any:
        x = draw(np.random.default_rng(9), rows, 1, 5)
        samples = {"a": Sample(x["theta"], x["estimate"], x["se"][:, None, :], DOF)}
        return diagnose(made_up([({}, samples)], worlds=worlds, held_fixed=held))

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


def test_reports_show_the_share_between_worlds_and_explain_it(shared: Callable[..., Any]) -> None:
    diagnosis = shared(5, ("calendar",))
    share = value_of(diagnosis.frame, "between_worlds")
    terminal, page = both_reports(diagnosis)
    assert f"{100 * share['value']:.1f}" in terminal
    assert "Worlds %: the share of the variance" in terminal
    assert f"{100 * share['value']:.1f} ({100 * share['mcse']:.1f})" in page
    assert "it is clustered by world" in page
    assert "set <code>worlds</code> in the study" not in page
    for name, whose in (("between_worlds", "Searle"), ("coverage", "Wilson"), ("relative_bias", "")):
        table = pivot(diagnosis, MEASURES[name])
        assert table is not None
        assert [said for said in ("Searle", "Wilson") if said in table.note] == [whose] * bool(whose)
    terminal, page = both_reports(shared(1, ("calendar",)))
    assert "Worlds %" not in terminal
    assert "set <code>worlds</code> in the study" in page
    assert not any("world" in text for text in both_reports(shared(1, ()))), "nothing is held fixed"


def moments_of(x: np.ndarray, world: np.ndarray, worlds: int, order: int = 4) -> RunningMoments:
    found = RunningMoments(x.shape[1:], order, worlds)
    for part in [*np.array_split(np.arange(len(x)), 3), np.arange(0)]:
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


def test_the_spread_over_worlds_of_one_or_other_sizes_by_hand() -> None:
    """Worlds {0, 4}, {4, 8}, {8, 12}: MSB = 2 * 32 / 2 = 32, MSW = 8, n_0 = 2: variance 20, of 17.6 in the sample."""
    x, world = np.array([0.0, 4.0, 4.0, 8.0, 8.0, 12.0]), np.array([0, 0, 1, 1, 2, 2])
    moments = moments_of(x[:, None], world, 3)
    assert fits.variance_over_worlds(moments)[0] == pytest.approx(32 / 2 + (1 - 1 / 2) * 8)
    assert moments.variance[0] == pytest.approx(17.6)
    found = fits.spread_over_worlds(moments)
    assert found.value[0] == pytest.approx(math.sqrt(20.0))
    normal = math.sqrt(2 * ((32 / 2) ** 2 / (2 + 2) + ((1 - 1 / 2) * 8) ** 2 / (3 + 2))) / (2 * math.sqrt(20.0))
    assert found.mcse[0] == pytest.approx(normal)
    x = [1.0, 2.5, -0.5, 4.0, 4.5, 3.0, 6.5, -2.0, -1.0]
    world = [0, 0, 0, 1, 1, 1, 1, 4, 4]
    found = fits.variance_over_worlds(moments_of(np.array(x)[:, None], np.array(world), 6))
    msb, msw, _, _, size = components(x, world)
    assert found[0] == pytest.approx(msw + (msb - msw) / size)


@pytest.mark.parametrize("worlds", [3, 5, 12])
def test_the_spread_over_few_worlds_is_unbiased_and_its_error_right(worlds: int) -> None:
    """4,000 studies whose worlds hold half of a variance of 1: the sample variance lacks half over the worlds."""
    rng, studies, share, each = np.random.default_rng(100 + worlds), 4000, 0.5, 32
    world = np.repeat(np.arange(worlds), each)
    x = math.sqrt(share) * rng.standard_normal((worlds, studies))[world]
    x += math.sqrt(1 - share) * rng.standard_normal((len(world), studies))
    moments = moments_of(x, world, worlds)
    found = fits.variance_over_worlds(moments)
    assert found.mean() == pytest.approx(1.0, abs=4 * found.std(ddof=1) / math.sqrt(studies))
    assert moments.variance.mean() == pytest.approx(1 - share / worlds, abs=0.03)
    spread = fits.spread_over_worlds(moments)
    total = moments.squares - moments.counts * (moments.second / moments.n)
    sandwich = fits.clustered(total / (2 * np.sqrt(moments.second / moments.n)), moments.counts)
    assert to_the_spread(spread.value, fits.widened(spread, sandwich).mcse)[0] == pytest.approx(1.0, abs=0.12)
    assert worlds == 12 or to_the_spread(spread.value, sandwich)[0] < 0.9


def test_measures_of_a_store_take_the_spread_over_worlds() -> None:
    worlds, rows = 4, 500
    x = draw(np.random.default_rng(12), rows, 1, worlds, share=0.6)
    status = np.full(rows, Status.OK)
    status[[5, 77, 78, 300]] = Status.SINGULAR
    other = x["theta"] + 2 * (x["estimate"] - x["theta"]) ** 3
    samples = {name: Sample(x["theta"], estimate, x["se"][:, None, :], 9.0, status)
               for name, estimate in (("a", x["estimate"]), ("b", other))}  # fmt: skip
    records = made_up([({}, samples)], block=96, worlds=worlds)
    frame, ok, variances = diagnose(records).frame, status == Status.OK, []
    for estimate in (x["estimate"], other):
        msb, msw, _, _, size = components((estimate - x["theta"])[ok, 0].tolist(), x["world"][ok].tolist())
        variances.append(msw + (msb - msw) / size)
    assert variances[0] > 1.03 * (x["estimate"] - x["theta"])[ok].var(ddof=1)
    found = {name: value_of(frame, name, estimator="a")["value"] for name in ("empirical_se", "se_error")}
    assert found["empirical_se"] == pytest.approx(math.sqrt(variances[0]))
    model = math.sqrt((x["se"][ok] ** 2).mean())
    assert found["se_error"] == pytest.approx(100 * (model / math.sqrt(variances[0]) - 1))
    table = contrast(records, ("a", "t0", "one"), ("b", "t0", "one"), 0).set_index("measure")
    assert table.loc["relative_precision", "value"] == pytest.approx(100 * (variances[0] / variances[1] - 1))


def test_the_bound_of_a_clustered_error() -> None:
    """3 (s / sigma)^2 is chi-squared with 3 degrees of freedom: below its 2.5% point .2158 in 2.5% of studies."""
    assert fits.bound_factor(np.array([4.0]))[0] == pytest.approx(math.sqrt(3 / stats.chi2.ppf(0.025, 3)))
    assert fits.bound_factor(np.array([1, 1])).tolist() == [1.0, 1.0]
    means = np.random.default_rng(8).standard_normal((20_000, 6))
    bounds = means.std(axis=1, ddof=1) / math.sqrt(6) * fits.bound_factor(np.array(6))
    assert (bounds < 1 / math.sqrt(6)).mean() == pytest.approx(0.025, abs=4 * math.sqrt(0.025 * 0.975 / 20_000))


@pytest.mark.parametrize("missing", [(), (1,), (0, 3), (5,)])
def test_stores_that_are_not_whole(missing: tuple[int, ...]) -> None:
    """350 replications in blocks of 64, the last of 30, some of them missing: fits keep the worlds of their places."""
    rows, worlds, block = 350, 5, 64
    x = draw(np.random.default_rng(21), rows, 1, worlds, share=0.5)
    sample = Sample(x["theta"], x["estimate"], x["se"][:, None, :], 9.0)
    records = made_up([({}, {"a": sample})], block=block, worlds=worlds)
    blocks = [one for index, one in enumerate(records.blocks(0)) if index not in missing]
    frame = diagnose(SimpleNamespace(**vars(records) | {"blocks": lambda cell: iter(blocks)})).frame
    kept = [r for r in range(rows) if r // block not in missing]
    error = [float(x["estimate"][r, 0] - x["theta"][r, 0]) for r in kept]
    world = [r // 32 % worlds for r in kept]
    n, mean, groups = len(kept), math.fsum(error) / len(kept), len(set(world))
    sums = [math.fsum(e - mean for e, at in zip(error, world, strict=True) if at == one) for one in range(worlds)]
    row = value_of(frame, "bias")
    assert (row["n"], row["attempted"], row["worlds"]) == (n, n, groups)
    assert row["value"] == pytest.approx(mean)
    wide = math.sqrt(groups / (groups - 1) * math.fsum(s * s for s in sums)) / n
    assert wide > math.sqrt(math.fsum((e - mean) ** 2 for e in error) / (n - 1) / n)
    assert row["mcse"] == pytest.approx(wide)
    assert row["upper"] == pytest.approx(mean + float(stats.t.ppf(0.975, groups - 1)) * wide)
    msb, msw, _, _, size = components(error, world)
    assert value_of(frame, "empirical_se")["value"] == pytest.approx(math.sqrt(msw + (msb - msw) / size))


def signed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truths of either sign and zero, and estimates that often have the other sign."""
    rng = np.random.default_rng(31)
    theta = rng.choice([-1.0, -0.2, 0.0, 0.3], 400)
    return theta, theta + rng.standard_normal(400), 0.3 + 0.3 * rng.random(400)


def test_type_s_and_type_m_fit_by_fit_in_any_unit() -> None:
    theta, estimate, se = signed()
    sample = Sample(theta[:, None], estimate[:, None], se[:, None, None], 12.0)
    frame = diagnose(made_up([({}, {"a": sample})])).frame
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
    # the product of two numbers of 1e-170 is zero, and has no sign
    theta, estimate, se = signed()
    found = []
    for unit in (1.0, 1e-170):
        sample = Sample(unit * theta[:, None], unit * estimate[:, None], unit * se[:, None, None], 12.0)
        found.append(value_of(diagnose(made_up([({}, {"a": sample})])).frame, "type_s"))
    assert found[0]["value"] > 0
    assert (found[1]["value"], found[1]["n"]) == (found[0]["value"], found[0]["n"])
