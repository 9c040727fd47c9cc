"""Synthetic DID, synthetic control, their relatives and their weights: slow programs, published numbers, truths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import of_units
from covering import covered
from numpy.typing import NDArray
from published_panels import california_packs
from refusals import refuses

import estimators as est
from estimators.core.tile import dates_of
from estimators.synthetic import left_out, simplex
from estimators.synthetic.left_out import fit_samples, zetas_of
from estimators.synthetic.simplex import simplex_least_squares
from estimators.synthetic.synthetic_did import SyntheticEstimator
from references import synthetic_twin as twin
from references.small_panels import adopting, bare
from references.synthetic_twin import simplex_by_nnls
from sim import Panel, Streams

Floats = NDArray[np.float64]
ESTIMATORS: dict[str, SyntheticEstimator] = {
    "equally-weighted-did": est.EquallyWeightedDID(),
    "synthetic-control": est.SyntheticControl(),
    "synthetic-did": est.SyntheticDID(),
    "demeaned-synthetic-control": est.DemeanedSyntheticControl(),
    "synthetic-control-reg": est.SyntheticControl(regularised=True),
    "demeaned-synthetic-control-reg": est.DemeanedSyntheticControl(regularised=True),
}
DATES = {"one date": {14: 7, 15: 7, 16: 7}, "three dates": {13: 5, 14: 7, 15: 7, 16: 9}}


def made(dates: dict[int, int], replications: int = 3, *, units: int = 17, periods: int = 12, seed: int = 4) -> Panel:
    """Panels of a factor model with noise, and adoption by unit and period."""
    rng = np.random.default_rng(seed)
    loadings, paths = rng.standard_normal((units, 2)), np.cumsum(rng.standard_normal((periods, 2)), axis=0)
    y = 5 + paths @ loadings.T + rng.standard_normal(units) + 0.7 * rng.standard_normal((replications, periods, units))
    return adopting(bare({"y": y, "did": 0 * y[:1]}), *((date, unit) for unit, date in dates.items()))


def units_first(panel: Panel, row: int) -> tuple[Floats, NDArray[np.intp]]:
    """Outcomes (N, T) and first treated periods (N,) of one replication."""
    return panel.variables["y"][row].T, dates_of(panel.variables["did"])[0].astype(np.intp)


@covered(kind=ESTIMATORS, dates=DATES)
def test_estimates_and_jackknife_are_those_of_the_slow_program(kind: str, dates: str) -> None:
    panel = made(DATES[dates])
    found = ESTIMATORS[kind](panel)
    assert (found.status == est.Status.OK).all()
    for row in range(3):
        y, first = units_first(panel, row)
        assert found.estimate[row, 0] == pytest.approx(twin.staggered(y, first, twin.KINDS[kind]), abs=2e-6)
        assert found.se[row, 0, 0] == pytest.approx(twin.jackknife_error(y, first, twin.KINDS[kind]), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("controls", "treated", "before"), [(4, 3, 5), (6, 6, 10), (8, 15, 20), (10, 25, 30)])
def test_few_controls_and_many_periods(controls: int, treated: int, before: int, seed: int) -> None:
    """The outcomes after adoption of few controls are fitted perfectly, in many ways, of which the penalty chooses the
    shortest: in the whole, and without each unit."""
    dates = dict.fromkeys(range(controls, controls + treated), before)
    panel = made(dates, 1, units=controls + treated, periods=before + 4, seed=seed)
    found, (y, first) = est.SyntheticDID()(panel), units_first(panel, 0)
    assert found.estimate[0, 0] == pytest.approx(twin.staggered(y, first, twin.KINDS["synthetic-did"]), abs=2e-6)
    assert found.se[0, 0, 0] == pytest.approx(twin.jackknife_error(y, first, twin.KINDS["synthetic-did"]), rel=1e-5)


def test_periods_that_are_equal_without_a_unit_share_their_weight() -> None:
    """The jackknife of outcomes of 0 and 1, against the same samples fitted from nothing."""
    for seed in range(40):
        y = np.random.default_rng(seed).integers(0, 2, (1, 8, 9)).astype(float)
        panel = adopting(bare({"y": y, "did": 0 * y}), (4, [6, 7, 8]))
        how, first = est.SyntheticDID().weighting, dates_of(panel.variables["did"]).astype(np.intp)
        zetas = zetas_of(fit_samples(y, first, how), np.zeros(9, dtype=np.intp))
        left = np.stack([np.delete(np.arange(9), unit) for unit in range(9)])
        taus = fit_samples(y[0][:, left].transpose(1, 0, 2).copy(), first[0][left], how, zetas).estimate
        assert est.SyntheticDID()(panel).se[0, 0, 0] == pytest.approx(np.sqrt(8) * taus.std(), rel=2e-5, abs=1e-9)


def test_units_that_stand_still_before_adoption_have_equal_weights() -> None:
    y = np.random.default_rng(3).standard_normal((40, 8, 9))
    y[:, :3] = y[:, :1]
    panel = adopting(bare({"y": y, "did": 0 * y[:1]}), (3, [6, 7, 8]))
    wanted = est.EquallyWeightedDID()(panel).estimate
    for kind in ("synthetic-did", "demeaned-synthetic-control", "demeaned-synthetic-control-reg"):
        np.testing.assert_allclose(ESTIMATORS[kind](panel).estimate, wanted, rtol=1e-9)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_renormalised_weights_are_those_of_the_slow_program(kind: str) -> None:
    panel = made(DATES["one date"])
    found = replace(ESTIMATORS[kind], refit=False)(panel)
    for row in range(3):
        y, _ = units_first(panel, row)
        wanted = twin.renormalised_error(y, 14, 7, twin.KINDS[kind])
        assert found.se[row, 0, 0] == pytest.approx(wanted, rel=1e-5)


CALIFORNIA = {
    "equally-weighted-did": (-27.3, 17.7),
    "synthetic-control": (-19.6, 9.9),
    "synthetic-did": (-15.6, 8.4),
    "demeaned-synthetic-control": (-11.1, 9.5),
}
UNITS = {
    "synthetic-control": {"Utah": 0.40, "Montana": 0.23, "Nevada": 0.20, "Connecticut": 0.10, "New Hampshire": 0.04,
                          "Colorado": 0.01},
    "synthetic-did": {"Nevada": 0.12, "New Hampshire": 0.10, "Connecticut": 0.08, "Delaware": 0.07, "Colorado": 0.06},
}  # fmt: skip


@pytest.fixture(scope="module")
def california(shared_data: Path) -> Panel:
    return california_packs(shared_data)


@pytest.mark.parametrize("kind", CALIFORNIA)
def test_california_has_the_published_estimates(california: Panel, kind: str) -> None:
    assert abs(ESTIMATORS[kind](california).estimate[0, 0] - CALIFORNIA[kind][0]) <= 0.1


@pytest.mark.parametrize("kind", UNITS)
def test_california_has_the_published_weights(california: Panel, kind: str) -> None:
    (path,) = ESTIMATORS[kind].paths(california)
    assert (path.treated, path.adopted) == (("California",), 1989)
    for state, weight in UNITS[kind].items():
        assert abs(path.units[california.units.index(state)] - weight) <= 0.01
    if kind == "synthetic-did":
        years = dict(zip(california.periods, path.periods, strict=True))
        assert {year for year in years if years[year] > 0.001} == {1986, 1987, 1988}
        assert abs(years[1988] - 0.43) <= 0.01
        assert abs(years[1986] - 0.37) <= 0.01
        assert abs(years[1987] - 0.21) <= 0.01


@pytest.mark.parametrize("kind", CALIFORNIA)
def test_california_has_the_published_placebo_errors(california: Panel, kind: str) -> None:
    """Within three Monte Carlo errors of 200 published placebos, each one of 38 states: the exact standard deviation
    over states, and the error of one that is estimated from 200 draws, sd sqrt((kurtosis - 1)/(4 B))."""
    estimator, taus = ESTIMATORS[kind], []
    others = of_units(california, california.variables["did"][0, -1] == 0)
    for state in range(38):
        taus.append(estimator(adopting(others, (19, state))).estimate[0, 0])
    around = np.array(taus) - np.mean(taus)
    sd = np.sqrt(np.square(around).mean())
    error = sd * np.sqrt((np.mean(around**4) / sd**4 - 1) / (4 * 200))
    assert abs(sd - CALIFORNIA[kind][1]) <= 3 * error
    drawn = replace(estimator, errors=("placebo:unit",), draws=400)(california, Streams(6)).se[0, 0, 0]
    assert abs(drawn - sd) <= 4 * error * np.sqrt(200 / 400) + 0.15 * sd  # penalties of the whole sample, not its own


def test_weights_and_paths_are_those_of_the_slow_program() -> None:
    panel = made({16: 7}, 1)
    y, _ = units_first(panel, 0)
    for kind, estimator in ESTIMATORS.items():
        (path,) = estimator.paths(panel)
        tau, omega, lam = twin.one_date_weights(y, 16, 7, twin.KINDS[kind])
        np.testing.assert_allclose(path.units[:16], omega, atol=1e-5)
        np.testing.assert_allclose(path.periods[:7], lam, atol=1e-5)
        np.testing.assert_array_equal(path.periods[7:], 0.0)
        np.testing.assert_allclose(path.observed, y[16])
        np.testing.assert_allclose(path.synthetic, path.units[:16] @ y[:16])
        assert (path.adopted, path.treated, path.treated_cells) == (2008, ("unit 016",), 5)
        assert path.gap[7:].mean() - path.shift == pytest.approx(path.estimate)
        assert path.estimate == pytest.approx(tau, abs=1e-5)
        assert path.estimate == pytest.approx(estimator(panel).estimate[0, 0], rel=1e-12)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_statistics_are_means_over_dates_by_treated_cells(kind: str) -> None:
    """Of what the paths show; an intercept takes the mean of the gap, which synthetic control alone has not."""
    panel = made(DATES["three dates"], 1)
    paths = ESTIMATORS[kind].paths(panel)
    assert [path.treated_cells for path in paths] == [7, 10, 3]
    rmse, units, periods = [], [], []
    for path in paths:
        gap = path.gap[: path.adopted - 2001]
        rmse.append(np.sqrt(np.mean(gap**2)) if kind.startswith("synthetic-control") else gap.std())
        units.append(1 / np.square(path.units).sum())
        periods.append(1 / np.square(path.periods).sum() if path.periods.any() else 0.0)
    found = ESTIMATORS[kind](panel).statistics
    for name, each in (("pre_rmse", rmse), ("effective_units", units), ("effective_periods", periods)):
        assert found[name][0] == pytest.approx(np.average(each, weights=[7, 10, 3]), rel=1e-9), name


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_gap_that_is_rounding_is_zero(scale: float) -> None:
    """The treated path is a mean of controls, which fit four periods in many ways; all move alike for plain DID."""
    panel = made({40: 4}, 2, units=41)
    y = panel.variables["y"].copy()
    y[:, :, 40] = y[:, :, :40].mean(axis=2)
    panel = panel.with_variables({"y": scale * y})
    for estimator in (est.SyntheticControl(), est.DemeanedSyntheticControl(), est.EquallyWeightedDID()):
        assert (replace(estimator, errors=("placebo:unit",))(panel).statistics["pre_rmse"] == 0).all(), estimator.name


def test_placebo_errors_are_the_spread_over_all_controls() -> None:
    """One treated unit: the placebos are its controls, each in turn, with the penalties of the whole."""
    panel = made({16: 7}, 1)
    y, _ = units_first(panel, 0)
    for kind in ("synthetic-did", "demeaned-synthetic-control"):
        zetas = twin.zetas_of(y, 16, 7, twin.KINDS[kind])
        taus = [twin.one_date(y[[*(j for j in range(16) if j != i), i]], 15, 7, twin.KINDS[kind], zetas)
                for i in range(16)]  # fmt: skip
        found = replace(ESTIMATORS[kind], errors=("placebo:unit",), draws=4000)(panel, Streams(2)).se[0, 0, 0]
        around = np.array(taus) - np.mean(taus)
        kurtosis = np.mean(around**4) / np.mean(around**2) ** 2
        assert found == pytest.approx(np.std(taus), rel=4 * np.sqrt((kurtosis - 1) / (4 * 4000)))


def test_bootstrap_errors_are_those_of_the_slow_program() -> None:
    panel = made({13: 7, 14: 7, 15: 7, 16: 7}, 1)
    y, first = units_first(panel, 0)
    rng, kind = np.random.default_rng(1), twin.KINDS["synthetic-did"]
    zetas, taus = twin.zetas_by_date(y, first, kind), []
    while len(taus) < 400:
        some = np.sort(rng.integers(0, 17, 17))
        if 0 < (some < 13).sum() < 17:
            taus.append(twin.staggered(y[some], first[some], kind, zetas))
    found = replace(ESTIMATORS["synthetic-did"], errors=("bootstrap:unit",), draws=2000)(panel, Streams(2)).se[0, 0, 0]
    assert found == pytest.approx(np.std(taus), rel=4 * np.sqrt(1 / (2 * 400) + 1 / (2 * 2000)) * 1.3)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_samples_with_units_that_stand_twice(kind: str) -> None:
    panel = made(DATES["three dates"], 1)
    y, first = units_first(panel, 0)
    how, zetas = ESTIMATORS[kind].weighting, twin.zetas_by_date(y, first, twin.KINDS[kind])
    chosen = np.random.default_rng(7).integers(0, 17, (6, 17))
    chosen[:, 0] = 16
    own = {date: (np.full(6, zeta), np.full(6, slight)) for date, (zeta, slight) in zetas.items()}
    found = fit_samples(y[chosen].transpose(0, 2, 1).copy(), first[chosen], how, own)
    for row, some in enumerate(chosen):
        wanted = twin.staggered(y[some], first[some], twin.KINDS[kind], zetas)
        assert found.estimate[row] == pytest.approx(wanted, abs=2e-6)


def test_a_sample_with_one_period_before_a_date_has_no_estimate() -> None:
    panel = made({14: 1, 15: 7, 16: 7}, 1)
    first = dates_of(panel.variables["did"]).astype(np.intp)
    for kind, known in (("synthetic-did", False), ("synthetic-control", False), ("equally-weighted-did", True)):
        found = fit_samples(panel.variables["y"].copy(), first, ESTIMATORS[kind].weighting)
        assert np.isfinite(found.estimate[0]) == known


@pytest.mark.parametrize("kind", ["synthetic-did", "demeaned-synthetic-control", "equally-weighted-did"])
def test_unit_and_period_effects_do_not_matter(kind: str) -> None:
    panel = made(DATES["three dates"])
    rng = np.random.default_rng(3)
    moved = panel.variables["y"] + 9 * rng.standard_normal((1, 1, 17)) + 7 * rng.standard_normal((1, 12, 1))
    got, wanted = (ESTIMATORS[kind](each) for each in (panel.with_variables({"y": moved}), panel))
    if kind != "synthetic-did":
        np.testing.assert_allclose(got.estimate, wanted.estimate, rtol=1e-7)
        return
    trend = panel.variables["y"] + 9 * rng.standard_normal((1, 1, 17)) + np.linspace(0, 40, 12)[:, None]
    for other in (trend, panel.variables["y"] + 9 * rng.standard_normal((1, 1, 17))):  # sigma stays
        got = ESTIMATORS[kind](panel.with_variables({"y": other}))
        np.testing.assert_allclose(got.estimate, wanted.estimate, rtol=1e-7)
        np.testing.assert_allclose(got.se, wanted.se, rtol=1e-6)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_an_effect_is_added_whole(kind: str) -> None:
    """Weights see no outcome of the treated after adoption: y + c D has the estimate plus c, and the same errors."""
    panel = made(DATES["three dates"])
    moved = panel.with_variables({"y": panel.variables["y"] + 3.5 * panel.variables["did"]})
    got, wanted = ESTIMATORS[kind](moved), ESTIMATORS[kind](panel)
    np.testing.assert_allclose(got.estimate, wanted.estimate + 3.5, rtol=1e-9)
    np.testing.assert_allclose(got.se, wanted.se, rtol=1e-7)


def test_covariates_are_taken_out_with_slopes_of_untreated_cells() -> None:
    panel = made(DATES["three dates"])
    rng = np.random.default_rng(8)
    x = rng.standard_normal((1, 12, 17)) + panel.variables["did"]
    with_x = panel.with_variables({"y": panel.variables["y"] + 2.0 * x, "x": x})
    controlled = replace(with_x, roles=replace(panel.roles, controls=("x",)))
    did = panel.variables["did"][0]
    untreated = did == 0
    t, n = did.shape
    dummies = np.hstack([np.kron(np.eye(t), np.ones((n, 1))), np.kron(np.ones((t, 1)), np.eye(n))])
    for kind in ("synthetic-did", "synthetic-control"):
        got = ESTIMATORS[kind](controlled)
        for row in range(3):
            y = controlled.variables["y"][row]
            z = np.column_stack([x[0].ravel(), dummies])[untreated.ravel()]
            slope = np.linalg.lstsq(z, y[untreated], rcond=None)[0][0]
            less = panel.with_variables({"y": (y - slope * x[0])[None]})
            assert got.estimate[row, 0] == pytest.approx(ESTIMATORS[kind](less).estimate[0, 0], rel=1e-7)
    redrawn = controlled.with_variables({"x": np.repeat(x, 3, axis=0), "did": np.repeat(did[None], 3, axis=0)})
    np.testing.assert_allclose(est.SyntheticDID()(redrawn).estimate, est.SyntheticDID()(controlled).estimate, rtol=1e-9)
    both = controlled.with_variables({"x": rng.standard_normal((3, 12, 17)), "w": x})  # one of two is redrawn
    both = replace(both, roles=replace(panel.roles, controls=("w", "x")))
    alone = [est.SyntheticDID()(both.replication(row)).estimate for row in range(3)]
    np.testing.assert_allclose(est.SyntheticDID()(both).estimate, np.concatenate(alone), rtol=1e-9)


def test_the_jackknife_is_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = made(DATES["three dates"])
    wanted = [estimator(panel).se for estimator in ESTIMATORS.values()]
    for module, name in ((left_out, "PROBLEMS_AT_ONCE"), (simplex, "CACHE"), (left_out, "NUMBERS")):
        monkeypatch.setattr(module, name, 2)
        for estimator, se in zip(ESTIMATORS.values(), wanted, strict=True):
            np.testing.assert_allclose(estimator(panel).se, se, rtol=1e-9)


def test_samples_keep_the_penalties_of_the_panel() -> None:
    for dates in ("one date", "three dates"):
        panel = made(DATES[dates], 1)
        y, first = units_first(panel, 0)
        kind, periods = twin.KINDS["synthetic-did"], y.shape[1]
        zetas = twin.zetas_by_date(y, first, kind)
        streams = Streams(6).tile(0, 1)
        (generator,) = streams.each("placebo:unit")
        never, own = np.flatnonzero(first == periods), first[(first > 0) & (first < periods)]
        orders = np.argsort(generator.random((20, len(never))), axis=1)
        dated = np.r_[own, np.full(len(never) - len(own), periods)]
        taus = [twin.staggered(y[never[order]], dated, kind, zetas) for order in orders]
        found = est.SyntheticDID(errors=("placebo:unit",), draws=20)(panel, streams).se[0, 0, 0]
        assert found == pytest.approx(np.std(taus), rel=1e-5)


@pytest.mark.parametrize("error", ["jackknife:unit", "bootstrap:unit", "placebo:unit"])
def test_a_replication_has_its_own_draws_whatever_its_block(error: str) -> None:
    panel = made(DATES["three dates"], 70)
    estimator = est.SyntheticDID(errors=(error,), draws=20)
    whole = estimator(panel, Streams(3, "cell", 0, 70))
    for row in (0, 66):
        alone = estimator(panel.replication(row), Streams(3, "cell").tile(row, row + 1))
        np.testing.assert_array_equal(alone.se[0], whole.se[row])
        np.testing.assert_array_equal(alone.estimate[0], whole.estimate[row])
    assert len(np.unique(whole.se)) == 70


def test_one_treated_unit_has_no_jackknife_and_few_controls_no_placebo() -> None:
    errors = ("jackknife:unit", "bootstrap:unit", "placebo:unit")
    one = est.SyntheticDID(errors=errors, draws=20)(made({16: 7}, 1), Streams(1))
    assert np.isnan(one.se[0, 0, 0])
    assert one.se[0, 2, 0] > 0
    assert one.status[0] == est.Status.OK
    many = est.SyntheticDID(errors=errors, draws=20)(made(dict.fromkeys(range(8, 17), 7), 1), Streams(1))
    assert np.isnan(many.se[0, 2, 0])
    assert (many.se[0, :2, 0] > 0).all()


def test_permutation_tests_take_it() -> None:
    """The exact p value of one treated unit among seventeen: its place among the placebos of all."""
    panel = made({16: 7}, 1)
    found = est.PermutationTest.of(est.SyntheticControl(), scheme="space", draws=99)(panel, Streams(1))
    taus = [est.SyntheticControl()(adopting(panel, (7, unit))).estimate[0, 0] for unit in range(17)]
    assert found.statistics["exact"][0] == 1
    assert found.pvalue[0, 0, 0] == pytest.approx(np.mean(np.abs(taus) >= abs(taus[16]) - 1e-12))


def test_bad_input_is_one_clear_line() -> None:
    panel = made(DATES["one date"], 1)
    did = panel.variables["did"]
    holes, every = np.ones((1, 12, 17), dtype=bool), np.array(did)
    holes[0, 2, 3], every[0, -1] = False, 1.0
    for words, other, settings in (
        ("1 unit-period is missing", replace(panel, observed=holes), {}),
        ("every unit is treated in the end", panel.with_variables({"did": every}), {}),
        ("fewer than 2 periods before", made({15: 1, 16: 7}, 1), {}),
        ("not 0/1 and absorbing", panel.with_variables({"did": did * 0.5}), {}),
        ("unknown error type 'placebo:province'", panel, {"errors": ("placebo:province",)}),
        ("allowed: bootstrap:unit, jackknife:unit, placebo:unit", panel, {"errors": ("cluster:unit",)}),
        ("draws = 1", panel, {"draws": 1}),
        ("has any strength", replace(panel, roles=replace(panel.roles, continuous=True)), {}),
        ("used twice", panel, {"controls": ("did",)}),
    ):
        refuses(words, lambda other=other, settings=settings: est.SyntheticDID(**settings)(other))
    assert est.SyntheticDID()(made({15: 2, 16: 7}, 1)).status[0] == est.Status.OK


def test_a_draw_that_cannot_serve_is_refused_alone() -> None:
    panel = made(DATES["one date"], 4)
    did = np.repeat(panel.variables["did"], 4, axis=0)
    did[1] = 0.0  # nobody
    did[2, 1:, 3] = 1.0  # one period before
    did[3, 5, 2] = 1.0  # not absorbing
    found = est.SyntheticDID()(panel.with_variables({"did": did}))
    assert found.status.tolist() == [est.Status.OK, *[est.Status.REFUSED] * 3]
    assert np.isnan(found.estimate[1:]).all()
    np.testing.assert_array_equal(found.estimate[0], est.SyntheticDID()(panel).estimate[0])


def test_units_treated_from_the_start_take_no_part() -> None:
    panel = made({0: 0, 14: 7, 15: 7}, 2)
    rest = of_units(panel, np.arange(17) > 0)
    for estimator in ESTIMATORS.values():
        np.testing.assert_allclose(estimator(panel).estimate, estimator(rest).estimate, rtol=1e-9)
        np.testing.assert_allclose(estimator(panel).se, estimator(rest).se, rtol=1e-7)


SHAPES = {
    "wide": (12, 30, 1.5),
    "wide, hardly penalised": (12, 30, 1e-12),
    "tall": (40, 14, 1.5),
    "tall, hardly penalised": (40, 14, 1e-12),
    "very wide": (6, 150, 0.7),
    "very wide, hardly penalised": (9, 150, 1e-12),
    "one column": (5, 1, 1e-12),
    "two columns": (1, 2, 0.1),
}


def problems(
    m: int, n: int, penalty: float, count: int = 25, seed: int = 3
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Columns around a factor model, less a target that lies outside of them, some columns not eligible."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((count, m, 2)) @ rng.standard_normal((count, 2, n)) + rng.standard_normal((count, m, n))
    target = a[:, :, : max(n // 4, 1)].mean(axis=2) + 2.5 * rng.standard_normal((count, m))
    eligible = rng.random((count, n)) < 0.8
    eligible[:, -1] = True
    return a - target[:, :, None], np.full((count, n), penalty * m), eligible


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_are_those_of_nnls(shape: str) -> None:
    b, penalty, eligible = problems(*SHAPES[shape])
    found, optimal = simplex_least_squares(b, penalty, eligible)
    assert optimal.all()
    for row in range(len(b)):
        own = eligible[row]
        wanted = simplex_by_nnls(b[row][:, own], np.zeros(b.shape[1]), penalty[row, 0], intercept=False)
        np.testing.assert_allclose(found[row, own], wanted, atol=2e-7)
        assert not found[row, ~own].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_no_direction_goes_down(shape: str) -> None:
    """By how much the objective might fall at most (the gap of Frank and Wolfe), relative to a column's squares."""
    b, penalty, eligible = problems(*SHAPES[shape], count=60, seed=8)
    found, _ = simplex_least_squares(b, penalty, eligible)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    assert (found >= 0).all()
    for row in range(len(b)):
        own, w = b[row][:, eligible[row]], found[row, eligible[row]]
        slope = 2 * (own.T @ (own @ w) + penalty[row, eligible[row]] * w)
        assert (slope @ w - slope.min()) / np.square(own).sum(axis=0).mean() < 1e-10


def test_penalties_may_differ_between_columns() -> None:
    """Two copies of a column with penalty d each are one column with penalty d/2, and share its weight."""
    b, _, _ = problems(8, 12, 1.0, count=10)
    every = np.ones((10, 12), dtype=bool)
    penalty = np.full((10, 12), 3.0)
    penalty[:, 4] = 1.5
    one, _ = simplex_least_squares(b, penalty, every)
    twice = np.concatenate([b, b[:, :, 4:5]], axis=2)
    two, _ = simplex_least_squares(twice, np.full((10, 13), 3.0), np.ones((10, 13), dtype=bool))
    np.testing.assert_allclose(two[:, 4], two[:, 12], atol=1e-12)
    np.testing.assert_allclose(one[:, 4], two[:, 4] + two[:, 12], atol=1e-12)
    assert one[:, 4].max() > 0.05


def test_of_perfect_fits_the_shortest_is_chosen() -> None:
    """A target inside of many columns: the limit of weights as the penalty falls, by least norm on the support."""
    rng = np.random.default_rng(2)
    a = rng.standard_normal((5, 3, 40))
    b = a - a.mean(axis=2, keepdims=True) - 0.1 * rng.standard_normal((5, 3, 1))
    every = np.ones((5, 40), dtype=bool)
    found, optimal = simplex_least_squares(b, np.full((5, 40), 1e-12), every)
    assert optimal.all()
    for row in range(5):
        w = found[row]
        assert np.abs(b[row] @ w).max() < 1e-9
        on = w > 0
        assert on.sum() > 4  # more than a vertex has
        rows = np.vstack([b[row][:, on], np.ones(on.sum())])
        least = np.linalg.pinv(rows, rcond=1e-10) @ np.array([0.0, 0.0, 0.0, 1.0])
        np.testing.assert_allclose(w[on], least, atol=1e-8)


@pytest.mark.parametrize(("rows", "columns"), [(4, 12), (8, 12), (20, 6), (30, 12)])
def test_equal_columns_share_their_weight(rows: int, columns: int) -> None:
    """Three copies of a hardly penalised column, as of units without a case before adoption, whatever their order."""
    b, _, _ = problems(rows, columns, 1e-12, count=10)
    alone, _ = simplex_least_squares(b, np.full((10, columns), 1e-12), np.ones((10, columns), dtype=bool))
    copied = int(alone.sum(axis=0).argmax())
    many = np.concatenate([b, b[:, :, [copied, copied]]], axis=2)
    found, optimal = simplex_least_squares(many, np.full((10, columns + 2), 1e-12), np.ones((10, columns + 2), bool))
    assert optimal.all()
    assert alone[:, copied].max() > 0.5
    shares = np.repeat(alone[:, [copied]] / 3, 3, axis=1)
    np.testing.assert_allclose(found[:, [copied, columns, columns + 1]], shares, atol=1e-9)


@pytest.mark.parametrize(("rows", "columns"), [(3, 12), (6, 20), (11, 12)])
def test_rows_of_zeros_change_nothing(rows: int, columns: int) -> None:
    """A wide problem with as many of them as make it tall, from any start."""
    b, _, _ = problems(rows, columns, 1e-12, count=10)
    b = b - 0.95 * b.mean(axis=2, keepdims=True)  # of perfect fits, too
    penalty, every = np.full((10, columns), 1e-12), np.ones((10, columns), dtype=bool)
    padded = np.concatenate([b, np.zeros((10, 2 * columns, columns))], axis=1)
    wanted, optimal = simplex_least_squares(b, penalty, every)
    near = np.random.default_rng(4).random(every.shape) < 0.5
    assert optimal.all()
    for start in (None, near):
        found, _ = simplex_least_squares(padded, penalty, every, start)
        np.testing.assert_allclose(found, wanted, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_problem_is_the_same_alone_bit_for_bit(shape: str) -> None:
    b, penalty, eligible = problems(*SHAPES[shape], count=70)
    whole, _ = simplex_least_squares(b, penalty, eligible)
    for row in (0, 13, 69):
        some = slice(row, row + 1)
        alone, _ = simplex_least_squares(b[some], penalty[some], eligible[some])
        np.testing.assert_array_equal(alone[0], whole[row])


def test_scale_does_not_matter_and_nothing_to_fit_gives_equal_weights() -> None:
    b, penalty, eligible = problems(12, 30, 1.5)
    one, _ = simplex_least_squares(b, penalty, eligible)
    for factor in (1e-8, 1e9):
        other, _ = simplex_least_squares(factor * b, factor**2 * penalty, eligible)
        np.testing.assert_allclose(other, one, atol=1e-9)
    found, _ = simplex_least_squares(np.zeros((2, 3, 7)), np.zeros((2, 7)), np.ones((2, 7), dtype=bool))
    np.testing.assert_allclose(found, 1 / 7, atol=1e-9)


def test_columns_one_at_a_time_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that cannot cycle, where the quick ones do not arrive."""
    b, penalty, eligible = problems(20, 14, 0.4)
    quick, _ = simplex_least_squares(b, penalty, eligible)
    monkeypatch.setattr(simplex, "EXCHANGES", 1)
    slow, optimal = simplex_least_squares(b, penalty, eligible)
    assert optimal.all()
    np.testing.assert_allclose(slow, quick, atol=1e-10)


def test_what_cannot_be_weighted_is_nan_and_spoils_no_other() -> None:
    b, penalty, eligible = problems(12, 30, 1.5, count=6)
    sound, _ = simplex_least_squares(b, penalty, eligible)
    b, eligible = b.copy(), eligible.copy()
    eligible[1] = False
    b[4, 2, eligible[4].argmax()] = np.nan
    found, optimal = simplex_least_squares(b, penalty, eligible)
    assert optimal.tolist() == [True, False, True, True, False, True]
    assert np.isnan(found[[1, 4]]).all()
    np.testing.assert_array_equal(found[[0, 2, 3, 5]], sound[[0, 2, 3, 5]])
