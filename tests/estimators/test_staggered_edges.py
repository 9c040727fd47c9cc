"""What all estimators of staggered adoption owe: one meaning of event time, and no error where none can be told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from estimators import (
    DCDH,
    CallawaySantAnna,
    Estimates,
    Estimator,
    EventStudy,
    Imputation,
    PermutationTest,
    Stacked,
    SunAbraham,
    SyntheticDID,
    TwoStage,
)
from estimators.staggered.adoption_effects import Cohorts, event_of
from sim import BadInput, Panel, Roles, Streams
from sim.design import Estimand
from sim.world.draw import DrawnAdoption

NEVER = -1
ESTIMATORS: tuple[Estimator, ...] = (
    EventStudy(window=(-2, 2), uniform_draws=0), Imputation(window=(-2, 2), uniform_draws=0),
    TwoStage(window=(-2, 2), uniform_draws=0), SunAbraham(window=(-2, 2), uniform_draws=0),
    Stacked(window=(-2, 2), uniform_draws=0), CallawaySantAnna(window=(-2, 2), base="universal"),
    CallawaySantAnna(controls="not-yet", window=(-2, 2), label="not-yet"),
)  # fmt: skip
every = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.name)


def panel_of(first: list[int], periods: tuple[int, ...], noise: float = 0.0, *, trend: float = 0.0) -> Panel:
    """Units that adopt at an index (NEVER: never), with an effect of 1 + periods since, and a trend all along."""
    n, t, rng = len(first), len(periods), np.random.default_rng(3)
    since = np.arange(t)[:, None] - np.where(np.array(first) == NEVER, 10**6, first)
    did = (since >= 0).astype(np.float64)
    ever = np.array(first) != NEVER
    effect = np.where(did > 0, 1.0 + since, 0.0) + trend * np.where(ever, since, 0)
    y = effect + rng.standard_normal(n) + rng.standard_normal((t, 1)) + noise * rng.standard_normal((t, n))
    units = tuple(f"u{i:02d}" for i in range(n))
    fifth = np.array([f"p{i % 5}" for i in range(n)])
    groups = {"fifth": fifth, "grouped": np.where(ever, "treated", fifth)}
    return Panel(units, periods, {"y": y[None], "did": did[None]}, Roles("y", "did"), groups)


STAGGERED = [3, 3, 3, 4, 4, 4, *[NEVER] * 8]


def value(fit: Estimates, term: str, field: str = "estimate") -> float:
    k = fit.terms.index(term)
    return float(fit.estimate[0, k] if field == "estimate" else fit.se[0, 0, k])


@every
def test_event_times_count_periods_whatever_their_labels(estimator: Estimator) -> None:
    annual, biennial = (panel_of(STAGGERED, tuple(range(2000, 2000 + 8 * step, step))) for step in (1, 2))
    one, other = estimator(annual), estimator(biennial)
    np.testing.assert_allclose(other.estimate, one.estimate, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(other.se, one.se, rtol=1e-9, atol=1e-12)
    for k in (0, 1) if not isinstance(estimator, EventStudy) else ():  # whose bins mix cohorts
        assert value(other, f"event({k})") == pytest.approx(1.0 + k, abs=1e-9)


@every
@pytest.mark.parametrize("errors", [(), ("cluster:unit", "cluster:unit"), ("hc1",), ("cluster:nothing",)])
def test_error_types_are_clusterings_of_units_each_named_once(estimator: Estimator, errors: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match=r"errors = .*allowed: distinct names among cluster:unit, cluster:fifth"):
        dataclasses.replace(estimator, errors=errors)(panel_of(STAGGERED, tuple(range(8))))


@every
def test_periods_with_a_gap_are_refused(estimator: Estimator) -> None:
    with pytest.raises(BadInput, match="not evenly spaced: the panel has no 2003; allowed: periods 1 apart"):
        estimator(panel_of(STAGGERED, (2000, 2001, 2002, 2004, 2005, 2006, 2007)))


def test_a_cohort_without_clean_controls_is_not_cut() -> None:
    panel = panel_of([2, 2, 2, 6, 6, 6], tuple(range(8)))
    assert Stacked(window=(-2, 2)).sample(panel).cohorts == (2,)
    assert Stacked(window=(-2, 2)).sample(panel).cut == ()
    assert Stacked(window=(-2, 2)).sample(panel_of([2, 2, 2, 6, 6, NEVER], tuple(range(8)))).cut == (6,)


def test_a_stack_holds_its_reference_period_whatever_the_window() -> None:
    panel = panel_of(STAGGERED, tuple(range(8)), noise=1.0)
    late, early = Stacked(window=(0, 2))(panel), Stacked(window=(-1, 2))(panel)
    assert late.terms == early.terms
    np.testing.assert_array_equal(late.estimate, early.estimate)
    np.testing.assert_array_equal(late.se, early.se)


def test_a_decomposition_does_not_mind_gaps() -> None:
    panel = panel_of(STAGGERED, (2000, 2001, 2002, 2004, 2005))
    assert Cohorts.of(panel, "did", "here", even=False).labels == (2004, 2005)


def test_truths_count_periods_too() -> None:
    panel = panel_of(STAGGERED, tuple(range(2000, 2016, 2)))
    did = panel.variables["did"]
    adoption = DrawnAdoption(did, np.array(panel.periods, dtype=np.float64))
    annual = DrawnAdoption(did, np.arange(2000.0, 2008.0))
    gain = did * np.random.default_rng(1).standard_normal(did.shape)
    for name in ("event(1)", "att_event", "att"):
        ask = Estimand.parse(name)
        np.testing.assert_allclose(adoption.mean_effect(gain, ask), annual.mean_effect(gain, ask), rtol=1e-12)


@every
def test_statistics_are_those_of_the_first_error_type(estimator: Estimator) -> None:
    panel, errors = panel_of(STAGGERED, tuple(range(8)), noise=1.0), ("cluster:unit", "cluster:fifth")
    bands = {"band": "mammen"} if isinstance(estimator, CallawaySantAnna) else {"uniform_draws": 99}
    one, both, other = (
        dict(dataclasses.replace(estimator, errors=some, **bands)(panel).statistics)
        for some in (errors[:1], errors, errors[::-1])
    )
    np.testing.assert_equal(both, one)
    assert any(np.any(other[name] != values) for name, values in one.items())


@every
@pytest.mark.parametrize("alone", ["treated unit", "control unit"])
def test_a_unit_alone_on_one_side_has_an_estimate_and_no_error(estimator: Estimator, alone: str) -> None:
    first = [3, *[NEVER] * 20] if alone == "treated unit" else [*[3] * 20, NEVER]
    fit = estimator(panel_of(first, tuple(range(8)), noise=1.0))
    for term in ("overall", "event(0)", "event(-2)"):
        assert np.isfinite(value(fit, term))
        assert np.isnan(value(fit, term, "se"))
    assert np.isnan([fit.statistics[name] for name in fit.statistics if name.startswith("pretrend")]).all()


@every
def test_a_cluster_alone_has_no_error_of_its_own(estimator: Estimator) -> None:
    """All treated units are one cluster of six: clustered errors would be rounding or a sixth of what they should."""
    panel = panel_of([*[3] * 8, *[NEVER] * 20], tuple(range(8)), noise=1.0)
    fit = dataclasses.replace(estimator, errors=("cluster:grouped", "cluster:unit"))(panel)
    k = fit.terms.index("overall")
    assert np.isnan(fit.se[0, 0, k])
    assert fit.se[0, 1, k] > 0
    assert np.isfinite(dataclasses.replace(estimator, errors=("cluster:fifth",))(panel).se[0, 0, k])


@pytest.mark.parametrize("window", [(0, 3), (-1, 3), (-3, 3)])
def test_a_window_from_adoption_on_compares_with_the_period_before_alone(window: tuple[int, int]) -> None:
    """Earlier periods do not slip into the reference: under a trend of 1 a period event(0) is the effect and 1."""
    fit = EventStudy(window=window, uniform_draws=0)(panel_of([4, 4, 4, *[NEVER] * 8], tuple(range(9)), trend=1.0))
    assert value(fit, "event(0)") == pytest.approx(2.0, abs=1e-9)
    reported = [event for term in fit.terms if (event := event_of(term)) is not None]
    assert reported[0] == (window[0] if window[0] < -1 else 0)


@pytest.mark.parametrize("estimator", ESTIMATORS[:5], ids=lambda estimator: estimator.name)
def test_a_fit_without_residuals_has_estimates_and_no_errors(estimator: Estimator) -> None:
    """An outcome that effects explain to the last digit: what is left is rounding, as in `did`."""
    panel = panel_of(STAGGERED, tuple(range(1, 9)))
    rng, did = np.random.default_rng(5), panel.variables["did"]
    exact = rng.standard_normal(did.shape[2]) + rng.standard_normal((8, 1)) + 2.0 * did
    for size in (1.0, 1000.0):
        found = estimator(panel.with_variables({"y": size * exact}))
        assert value(found, "overall") == pytest.approx(2.0 * size, rel=1e-10)
        assert np.isnan(found.se).all()
        assert np.isnan(found.statistics["pretrend_p"]).all()
    noisy = estimator(panel.with_variables({"y": exact + 1e-5 * rng.standard_normal(did.shape)}))
    assert 0.0 < value(noisy, "overall", "se") < 1e-5


def test_one_period_before_adoption_is_no_pretrend() -> None:
    """The first stage fits it exactly for every unit, whatever the level of the outcome."""
    panel = panel_of([1, 1, 1, *[NEVER] * 8], (1, 2, 3, 4), 1.0)
    for level in (0.0, 1e6):
        found = TwoStage(window=(-1, 2))(panel.with_variables({"y": panel.variables["y"] + level}))
        assert np.isnan(value(found, "event(-1)"))
        assert np.isnan(found.statistics["pretrend_p"][0])
        assert value(found, "event(0)", "se") > 0.1


def test_a_statistic_that_does_not_exist_has_no_p_value() -> None:
    inner = CallawaySantAnna(window=(0, 9))
    test = PermutationTest.of(inner, terms=("event(0)", "event(9)"), draws=99)
    fit = test(panel_of(STAGGERED, tuple(range(8)), noise=1.0))
    p = fit.pvalue[0, 0]
    assert np.isfinite(p[fit.terms.index("event(0)")])
    assert np.isnan(p[fit.terms.index("event(9)")])


def test_a_band_covers_the_terms_that_have_an_error() -> None:
    """event(2) averages one unit that adopts early: the band is that of the window without it."""
    first = [5, *[6] * 4, *[NEVER] * 10]
    panel = panel_of(first, tuple(range(8)), noise=1.0)
    wide, narrow = (CallawaySantAnna(window=(0, last), band="rademacher")(panel, Streams(1)) for last in (2, 1))
    assert np.isnan(value(wide, "event(2)", "se"))
    assert wide.statistics["critical:event"][0] == narrow.statistics["critical:event"][0]


def test_a_term_that_is_compared_with_one_unit_alone_has_no_error() -> None:
    panel = panel_of([*[2] * 10, *[4] * 10, NEVER], tuple(range(2000, 2006)), noise=1.0)
    dates = (2002, 2004)
    for estimator in (
        Imputation(cohorts=dates, years=dates, uniform_draws=0),
        TwoStage(cohorts=dates, years=dates, uniform_draws=0),
        CallawaySantAnna(controls="not-yet", cohorts=dates, years=dates),
    ):
        fit = estimator(panel)
        alone = ("cohort(2004)", "calendar(2004)", "att(2004,2004)", "att(2002,2004)")
        assert np.isfinite([value(fit, term) for term in alone]).all()
        assert np.isnan([value(fit, term, "se") for term in alone]).all()
        assert np.isfinite([value(fit, term, "se") for term in ("calendar(2002)", "att(2002,2002)")]).all()
    one_date = panel_of([*[3] * 10, NEVER], tuple(range(2000, 2006)), noise=1.0)
    for fit in (DCDH()(one_date), SyntheticDID(errors=("bootstrap:unit",), draws=20)(panel)):
        assert np.isfinite(fit.estimate).all()
        assert np.isnan(fit.se).all()


def test_the_test_of_pretrends_keeps_its_level_against_few_units() -> None:
    few, rng = panel_of([*[4] * 30, *[NEVER] * 5], tuple(range(8))), np.random.default_rng(5)
    panel = dataclasses.replace(few, variables={**few.variables, "y": rng.standard_normal((2000, 8, 35))})
    fit = EventStudy(window=(-4, 3), uniform_draws=0)(panel)
    assert (fit.statistics["pretrend_p"] < 0.05).mean() == pytest.approx(0.26, abs=0.01)
    assert (fit.statistics["pretrend_hotelling_p"] < 0.05).mean() < 0.01


def test_cohorts_of_one_unit_each_show_no_error_of_their_mean() -> None:
    fit = TwoStage(uniform_draws=0)(panel_of([2, 3, 4, 5, *[NEVER] * 20], tuple(range(2000, 2008)), noise=1.0))
    assert np.isfinite(value(fit, "overall:cohort"))
    assert np.isnan(value(fit, "overall:cohort", "se"))
    assert np.isfinite(value(fit, "overall", "se"))
