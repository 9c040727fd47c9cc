"""The numbers behind `panelproof trust`: power curves, budgets, statistics, what twins say, by slow loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import made_cities
import made_twins
import numpy as np
import pytest
from made_twins import ALONE, SERIAL
from refusals import refuses
from scipy import stats

from estimators.core.estimator import Estimates
from estimators.sensitivity.differences import Differences
from estimators.staggered.trend_evidence import EventTimes, TrendEvidence
from experiments.checks.case import Family
from experiments.checks.check import statistics_of
from experiments.checks.trends import _pretrend
from experiments.run.runner import run
from experiments.study import Study
from experiments.trust import evidence
from experiments.trust.document import RARE, document
from experiments.trust.evidence import MeasureWithError, Nearby, TermFits
from experiments.trust.trust import Trust, _benchmarks, _rehearsed, trust
from results.diagnosis import measures
from results.diagnosis.power import Detectable, detectable, fitted_curve, power
from results.store import Store
from results.tables.records import Check
from sim.arrays import Floats
from sim.errors import bad
from sim.presets import Paper
from studies import quick_study

CLUSTERED = made_twins.SPEC.replace('method = "parametric"', 'method = "parametric"\ndraws = 100')


def test_a_curve_through_exact_powers_is_found_again() -> None:
    effects = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    counts = np.full(5, 1000.0)
    curve = fitted_curve(effects, counts * power(effects, 0.6, 2.1), counts, 0.5)
    assert (curve.sd, curve.critical) == pytest.approx((0.6, 2.1), rel=1e-5)
    found = detectable(curve)
    assert found.value == pytest.approx(0.6 * (2.1 + stats.norm.ppf(0.8)), rel=1e-4)
    assert power(np.array([found.value]), 0.6, 2.1)[0] == pytest.approx(0.8, abs=1e-4)
    assert power(np.array([0.0]), 0.6, 2.1)[0] == pytest.approx(2 * stats.norm.sf(2.1))


def test_the_interval_of_the_detectable_effect_covers_it() -> None:
    """95% of 400 fits to binomial draws, within 4 standard errors."""
    rng, effects, counts = np.random.default_rng(20250301), np.linspace(0, 2, 7), np.full(7, 300.0)
    truth = 0.6 * (1.96 + stats.norm.ppf(0.8))
    hits = 0
    for _ in range(400):
        found = detectable(
            fitted_curve(effects, rng.binomial(300, power(effects, 0.6, 1.96)).astype(float), counts, 0.5)
        )
        hits += found.lower <= truth <= found.upper
    assert abs(hits / 400 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("2m", 120), ("1h", 3600), ("7", 7), ("1.5 min", 90)])
def test_budgets_are_times(text: str, seconds: float) -> None:
    assert evidence.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-3s", "soon", "", "5d"])
def test_other_budgets_are_refused(text: str) -> None:
    refuses("budget", lambda: evidence.seconds_of(text))


def test_a_budget_is_shared_out_within_its_bounds() -> None:
    costs = {"a": (9, 1e-3), "b": (2, 1e-3), "c": (2, 1.0)}
    counts = evidence.shared_out(costs, 60.0)
    assert counts == {"a": 3968, "b": 5952, "c": evidence.LEAST}
    assert all(count % 64 == 0 for count in evidence.shared_out(costs, 1e6).values())
    assert evidence.shared_out(costs, 1e6)["b"] <= evidence.MOST
    assert evidence.shared_out(costs, 60.0, workers=2)["a"] > counts["a"]


def test_the_pilot_is_timed_after_a_first_round() -> None:
    with mock.patch("experiments.trust.evidence.run") as made:
        assert evidence.timed(quick_study(1024), 128) >= 0
    assert [call.args[0].replications for call in made.call_args_list] == [64, 128]


def test_a_calibrated_p_value_counts_statistics_as_large() -> None:
    null = np.array([-3.0, -1.0, 0.5, 2.0, np.nan])
    found = evidence.calibrated(-2.0, null)
    assert found.value == (1 + 3) / 6  # 3, 2 and the fit that failed
    assert found.mcse == pytest.approx(np.sqrt(found.value * (1 - found.value) / 5))


def test_errors_of_pages_allow_for_the_worlds_of_twins() -> None:
    world = np.repeat(np.arange(8), 32)
    found = evidence.calibrated(2.0, np.where(world < 3, 3.0, 0.0), world)
    assert found.mcse == pytest.approx(np.sqrt(3 / 8 * 5 / 8 / 7), rel=0.01)
    shares = [MeasureWithError(0.05, 0.02, 1000), MeasureWithError(0.5, np.sqrt(0.25 / 1000), 1000)]
    study = SimpleNamespace(effects=(0.0, 1.0), measure=lambda name, error, cell: shares[cell])
    _, rejected, counts = evidence.rejections(cast(evidence.SimulatedStudy, study), "iid")
    np.testing.assert_allclose(counts, 1000 / ((0.02**2 / (0.05 * 0.95 / 1000) + 1) / 2))
    np.testing.assert_allclose(rejected / counts, [0.05, 0.5])


def test_a_statistic_is_t_or_what_p_says() -> None:
    """-1 with p = .05 and no error: -1.96; half of p lies in each tail."""
    estimate, se = np.array([3.0, -1.0, 1.0, 2.0]), np.array([2.0, np.nan, np.nan, np.nan])
    found = evidence.statistic_of(estimate, se, np.array([0.9, 0.05, 0.3173105, np.nan]))
    assert found[:3] == pytest.approx([1.5, -1.959964, 1.0], abs=1e-5)
    assert np.isnan(found[3])


def test_fits_of_a_store_by_hand() -> None:
    estimate = np.array([[0.0, 2.0], [0.0, -1.0], [0.0, 5.0]])
    se = np.array([[[9.0, 1.0], [9.0, np.nan]]] * 3)
    dof = np.array([[[9.0, 4.0], [9.0, 60.0]]] * 3)
    p = np.array([[[9.0, np.nan], [9.0, 0.2]], [[9.0, np.nan], [9.0, 0.4]], [[9.0, 0.5], [9.0, 0.6]]])
    status = np.array([1, 1, 3], dtype=np.uint8)
    rows = [slice(0, 2), slice(2, 3)]
    blocks = [SimpleNamespace(estimates={"did": Estimates(("x", "did"), ("hc1", "permutation"), estimate[one], se[one],
                                                          dof[one], status[one], pvalue=p[one])})
              for one in rows]  # fmt: skip
    store = cast(Store, SimpleNamespace(blocks=lambda cell: blocks if cell == 4 else []))
    own = evidence.fits_of(store, 4, "did", "did", "hc1")
    assert (own.estimate[:2].tolist(), own.se[:2].tolist()) == ([2.0, -1.0], [1.0, 1.0])
    assert own.pvalue[:2] == pytest.approx([2 * stats.t.sf(2.0, 4), 2 * stats.t.sf(1.0, 4)])
    drawn = evidence.fits_of(store, 4, "did", "did", "permutation")
    assert drawn.pvalue[:2].tolist() == [0.2, 0.4]
    assert drawn.statistic[:2] == pytest.approx([stats.norm.isf(0.1), -stats.norm.isf(0.2)])
    assert all(np.isnan(getattr(one, name)[2]) for one in (own, drawn) for name in ("estimate", "se", "dof", "pvalue"))
    without = [SimpleNamespace(estimates={"did": Estimates(("x", "did"), ("hc1", "iid"), estimate, se, dof, status)})]
    plain = evidence.fits_of(cast(Store, SimpleNamespace(blocks=lambda cell: without)), 0, "did", "did", "hc1")
    assert plain.pvalue[:2] == pytest.approx(own.pvalue[:2])


def test_effects_of_a_negative_claim_are_negative() -> None:
    """Half, once, twice the estimate, the effect asked for in its direction, and five around 2.8 sd; one that lies
    within 2% of another is left out."""
    claim = SimpleNamespace(estimate=-1.0)
    found = evidence.effects_of(claim, 0.1, 0.3)  # type: ignore[arg-type]
    around = [share * 0.28 for share in (0.6, 0.8, 1.0, 1.2, 1.5)]
    assert found == pytest.approx((0.0, *(-x for x in sorted([0.5, 1.0, 2.0, 0.3, *around]))))
    near = evidence.effects_of(claim, 0.99 * 0.5 / 2.8)  # type: ignore[arg-type]
    assert near == pytest.approx((0.0, *(-x for x in (0.297, 0.396, 0.5, 0.594, 0.7425, 1.0, 2.0))))  # no .495
    near = evidence.effects_of(claim, 0.97 * 0.5 / 2.8)  # type: ignore[arg-type]
    assert len(near) == 1 + 3 + 5
    assert evidence.effects_of(SimpleNamespace(estimate=1.0), 0.1, -0.3) == tuple(-x for x in found)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def spatial(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """60 units with W, 6 groups, an effect of 1 and spillovers on neighbours."""
    dials = made_twins.KNOWN | {"units": 60, "geography": {"groups": 6}, "effect": {"size": 1.0},
                                "spillover": {"w_effect": 0.8}}  # fmt: skip
    real = made_twins.drawn_panel(tmp_path_factory.mktemp("spatial"), 2, dials, CLUSTERED)
    return trust(real, replications=128, benchmarks=32, race=False)


@pytest.mark.parametrize("errors", ["cluster:unit", "cr2:province"])
def test_the_claim_needs_what_its_interval_leaves(tmp_path: Path, errors: str) -> None:
    """Towards zero, with the errors and degrees of freedom that the page recommends: of 9 provinces, those of CR2 are
    few."""
    text = f'{made_cities.PANEL}groups = ["province"]\n[twin]\nmethod = "parametric"\ndraws = 100\n'
    found = trust(made_cities.real_panel(tmp_path, text), errors=errors, replications=64, benchmarks=0,
                  race=False)  # fmt: skip
    assert found.recommended.startswith("cr2:province") or errors == "cluster:unit"
    lower = found.advised.lower or 0.0
    assert lower > 0
    needs = [one.needed for one in found.checks if one.difference is not None]
    assert needs == pytest.approx([-lower] * len(needs))
    assert len(needs) >= 5


def test_the_fitted_world_is_among_those_nearby(spatial: Trust) -> None:
    """The same draws as the main study, as far as they go; 30 other worlds; intervals that hold the value."""
    error = spatial.recommended
    own, main = spatial.nearby.fitted[error], spatial.main.fits(error)
    np.testing.assert_array_equal(own.estimate, main.estimate[: len(own.estimate)])
    assert len(spatial.nearby.others) == 30
    assert all(len(world[error].estimate) == len(own.estimate) for world in spatial.nearby.others)
    mde = spatial.mde
    assert mde.lower < spatial.simulated_mde.lower < mde.value < spatial.simulated_mde.upper < mde.upper
    p = spatial.calibrated()
    lower, upper = spatial.calibrated_interval
    assert lower < p.value < upper


def test_the_detectable_effect_is_that_of_arithmetic(tmp_path: Path) -> None:
    """(t(.8) + t(.975)) times the estimate's clustered error, on average over four panels of AR(.8): within 10%."""
    ratios = []
    for number in range(4):
        real = made_twins.drawn_panel(tmp_path, number, SERIAL | {"effect": {"size": 0.6}}, ALONE)
        found = trust(real, errors="cluster:unit", replications=256, alone=True)
        dof = 59
        quantiles = stats.t.ppf(0.8, dof) + stats.t.ppf(0.975, dof)
        ratios.append(found.mde.value / (quantiles * float(found.shown["cluster:unit"].se or 0)))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.1)


def test_calibrated_p_values_are_uniform_and_the_recommended_test_has_its_size(tmp_path: Path) -> None:
    """Eight panels of AR(.8) without an effect; the mean of p within 4 standard errors of .5, sizes near 5%."""
    p, sizes = [], []
    for number in range(8):
        real = made_twins.drawn_panel(tmp_path, 100 + number, SERIAL | {"effect": {"size": 0.0}}, ALONE)
        found = trust(real, replications=192, alone=True)
        p.append(found.calibrated().value)
        sizes.append(found.main.size(found.recommended).value)
        assert found.main.size("iid").value > 0.15
    assert abs(np.mean(p) - 0.5) < 4 * np.sqrt(1 / 12 / 8)
    assert 0.03 <= np.mean(sizes) <= 0.07


def test_what_twins_draw_anew_or_lack_is_not_said_to_be_the_panels(tmp_path: Path) -> None:
    drawn = f'{ALONE}[twin.adoption]\nkind = "random"\n'.replace("[twin]", 'balance = "drop-units"\n[twin]', 1)
    whole = made_twins.drawn_panel(tmp_path, 1, SERIAL | {"effect": {"size": 0.6}}, drawn)
    seen = np.ones(whole.panel.variables["y"].shape, dtype=bool)
    seen[:, 3, 7] = False
    hidden = {name: np.where(seen, values, np.nan) for name, values in whole.panel.variables.items()}
    gaps = replace(whole, panel=replace(whole.panel, observed=seen, variables=hidden))
    held = document(trust(gaps, replications=128, alone=True))["held_fixed"]
    assert held == ["drawn once a world: levels of units and periods"], "it has neither controls nor weights"


# What twins say of checks and of the verdict, by slow loops over made-up twins.


R, DOF = 200, 30.0
T = float(stats.t.ppf(0.975, DOF))
CLAIMED = float(stats.t.ppf(0.95, DOF))  # |t| from which an effect can be claimed, p = .10
CALIBRATING = 400  # twins behind the calibrated p value: ranks up to .05 + 2 sqrt(p (1 - p)/400) are let pass
TEXTS = ("trend", "lead:1", "controls:none", "effects:unit-trend")
TERMS = ("did", *(f"{head}:{text}" for text in TEXTS for head in ("difference", "alternative")))


def estimates(values: Floats, errors: Floats) -> Estimates:
    """values, errors (R, K) of TERMS."""
    return Estimates(TERMS, ("cluster:unit",), values, errors[:, None], np.full((len(values), 1, len(TERMS)), DOF),
                     np.ones(len(values), dtype=np.uint8))  # fmt: skip


def made(seed: int = 1, *, shift: float = 0.0) -> tuple[Floats, Floats]:
    """Claim, then difference and alternative of each text, with errors that differ, (R, K) each."""
    rng = np.random.default_rng(seed)
    claim = rng.standard_normal(R)
    values, errors = [claim], [rng.uniform(0.8, 1.2, R)]
    for k in range(len(TEXTS)):
        d = shift + (0.8 + 0.2 * k) * rng.standard_normal(R)
        values += [d, claim + d]
        errors += [rng.uniform(0.6, 1.0, R), rng.uniform(1.0, 1.6, R)]
    return np.array(values).T, np.array(errors).T


def rehearsal(values: Floats, errors: Floats, own: Sequence[float], own_errors: Sequence[float]) -> evidence.Rehearsal:
    """own: claim, and difference and alternative of each text, on the panel."""
    found = estimates(np.array([own]), np.array([own_errors]))
    family = Family(Differences(alternatives=TEXTS), found, 2.5, {})
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(values[:, 0] / errors[:, 0]), DOF)
    claim = TermFits(values[:, 0], errors[:, 0], np.full(len(values), DOF), p)
    return evidence.Rehearsal(family, estimates(values, errors), claim, own[0], CALIBRATING)


OWN = [3.0, -2.0, 1.0, 0.4, 3.4, 0.1, 3.1, -0.2, 2.8]
OWN_ERRORS = [1.0, 0.9, 1.2, 0.8, 1.1, 0.7, 1.0, 0.9, 1.0]


def critical_by_hand(values: Floats, errors: Floats) -> float:
    """Of the largest |t| in order, the one of rank .95 (R + 1), rounded up: 191 of 200."""
    largest = sorted(
        max(abs(values[r, 1 + 2 * k] / errors[r, 1 + 2 * k]) for k in range(len(TEXTS))) for r in range(len(values))
    )
    return float(largest[math.ceil(95 * (len(values) + 1) / 100) - 1])


def passes_by_hand(rank: float) -> bool:
    """Whether a calibrated p value less two Monte Carlo errors is at most 5%."""
    return bool(rank - 2 * math.sqrt(rank * (1 - rank) / CALIBRATING) <= 0.05)


def contradicted_by_hand(values: Floats, errors: Floats, r: int, effect: float, critical: float) -> bool:
    """Whether some alternative differs by more than chance towards zero, and its own interval holds zero or lies
    beyond it; linear trends of units never count."""
    claim = values[r, 0] + effect
    sign = 1.0 if claim > 0 else -1.0
    for k, text in enumerate(TEXTS):
        d, d_error = values[r, 1 + 2 * k], errors[r, 1 + 2 * k]
        other, other_error = values[r, 2 + 2 * k] + effect, errors[r, 2 + 2 * k]
        far, towards = abs(d) > critical * d_error, sign * d < 0
        if text != "effects:unit-trend" and far and towards and not sign * other > T * other_error:
            return True
    return False


def leans_by_hand(values: Floats, errors: Floats, r: int, effect: float) -> bool:
    """Whether the trend leans the claim's way as it does in one of ten twins, and what it leaves is nothing."""
    t = values[:, 1] / errors[:, 1]
    sign = 1.0 if values[r, 0] + effect > 0 else -1.0
    left = sign * (values[r, 2] + effect)
    return bool(-sign * t[r] >= np.percentile(np.abs(t), 80) and left <= T * errors[r, 2])


def supported_by_hand(values: Floats, errors: Floats, effect: float, critical: float) -> float:
    t = np.abs(values[:, 0] / errors[:, 0])
    hits = 0
    for r in range(len(values)):
        moved = abs((values[r, 0] + effect) / errors[r, 0])
        significant = moved >= T
        passed = passes_by_hand(sum(one >= moved for one in t) / len(t))
        against = contradicted_by_hand(values, errors, r, effect, critical)
        hits += significant and passed and not against and not leans_by_hand(values, errors, r, effect)
    return hits / len(values)


@pytest.mark.parametrize("seed", [2, 3, 6])  # some claims are contradicted; with 3 also a twin without a claim
def test_rates_are_those_of_a_slow_program(seed: int) -> None:
    values, errors = made(seed)
    one, effect = rehearsal(values, errors, OWN, OWN_ERRORS), 3.0
    critical = critical_by_hand(values, errors)
    assert one.critical == critical
    found = one.evidence(effect)
    largest = np.abs(values[:, 1::2] / errors[:, 1::2]).max(axis=1)
    assert found.critical == critical
    assert found.familywise == pytest.approx((largest > critical).mean())
    assert found.familywise == pytest.approx(9 / R)  # those beyond rank 191
    assert found.supported_without_effect == pytest.approx(supported_by_hand(values, errors, 0.0, critical))
    assert found.supported_at_effect == pytest.approx(supported_by_hand(values, errors, effect, critical))
    assert 0.3 < (found.supported_at_effect or 0.0) < 0.95
    claimed = [r for r in range(R) if abs(values[r, 0] + effect) >= CLAIMED * errors[r, 0]]
    against = [contradicted_by_hand(values, errors, r, effect, critical) for r in claimed]
    assert found.contradicted_without_threat == pytest.approx(np.mean(against))
    assert 0 < sum(against) < R / 10
    assert R / 2 < len(claimed) < R


@pytest.mark.parametrize(("scale", "first"), [(0.7, 1), (1.4, 0)])
def test_every_rule_of_support_counts(scale: float, first: int) -> None:
    values, errors = made(9)
    errors[:, 0] *= scale
    effect, critical = 2.0, critical_by_hand(values, errors)
    t = np.abs(values[:, 0] / errors[:, 0])
    moved = np.abs((values[:, 0] + effect) / errors[:, 0])
    conditions = [
        moved >= T,
        np.array([passes_by_hand(float((t >= one).mean())) for one in moved]),
        np.array([not contradicted_by_hand(values, errors, r, effect, critical) for r in range(R)]),
        np.array([not leans_by_hand(values, errors, r, effect) for r in range(R)]),
    ]
    whole = np.all(conditions, axis=0).mean()
    found = rehearsal(values, errors, OWN, OWN_ERRORS).evidence(effect).supported_at_effect
    assert found == pytest.approx(whole)
    for k in (first, 2, 3):
        assert np.all([one for j, one in enumerate(conditions) if j != k], axis=0).mean() > whole


def test_nothing_is_supported_where_no_errors_are_safe() -> None:
    one = rehearsal(*made(2), OWN, OWN_ERRORS)
    unsafe, safe = replace(one, safe=False).evidence(2.0), one.evidence(2.0)
    assert (unsafe.supported_without_effect, unsafe.supported_at_effect) == (0.0, 0.0)
    assert unsafe.contradicted_without_threat == safe.contradicted_without_threat


def test_without_a_claim_nothing_is_contradicted() -> None:
    one = rehearsal(*made(2), OWN, OWN_ERRORS)
    still = replace(one, claim=replace(one.claim, estimate=one.claim.estimate * 0))
    assert still.evidence(0.0).contradicted_without_threat is None


@pytest.mark.parametrize(("pvalue", "mcse", "inside"), [(0.05, 0.0, True), (0.0501, 0.0, False), (0.07, 0.01, True),
                                                       (0.0701, 0.01, False), (float("nan"), 0.01, False)])  # fmt: skip
def test_simulated_p_values_are_held_to_their_monte_carlo_error(pvalue: float, mcse: float, inside: bool) -> None:
    assert bool(evidence.within_level(pvalue, mcse)) is inside


def test_false_alarms_and_detection_of_a_check_by_hand() -> None:
    values, errors = made(6)
    one = rehearsal(values, errors, OWN, OWN_ERRORS)
    critical = critical_by_hand(values, errors)
    check = Check("a", "b", alternatives=("lead:1", "controls:none"), difference=0.1, needed=-1.7)
    t = [np.abs(values[:, k] / errors[:, k]) for k in (3, 5)]
    rated = one.rated(check)
    assert rated.false_alarm == pytest.approx(np.mean((t[0] > critical) | (t[1] > critical)))
    assert rated.false_alarm > 0
    shown = np.mean([abs((values[r, 5] - 1.7) / errors[r, 5]) > critical for r in range(R)])  # 0.1 is controls:none
    assert rated.power == pytest.approx(shown)
    other = one.rated(replace(check, difference=0.4))
    assert other.power == pytest.approx(np.mean(np.abs((values[:, 3] - 1.7) / errors[:, 3]) > critical))
    assert other.power != rated.power
    assert (rated.sentence, rated.answer, rated.difference) == (check.sentence, check.answer, check.difference)


def test_without_a_claim_nothing_is_detected_and_other_checks_stay() -> None:
    one = rehearsal(*made(7), OWN, OWN_ERRORS)
    check = Check("a", "b", alternatives=("lead:1",), difference=0.4)
    assert one.rated(check).power is None
    assert one.rated(check).false_alarm is not None
    for other in (Check("a", "b"), replace(check, alternatives=("lead:3",)), replace(check, difference=None)):
        assert one.rated(other) is other


def test_what_a_twin_lacks_is_no_alarm() -> None:
    values, errors = made(8)
    values[:5, 3], errors[5:9, 3], values[5:9, 3] = np.nan, 0.0, 0.0
    one = rehearsal(values, errors, OWN, OWN_ERRORS)
    t = statistics_of(one.twins, ("lead:1",))[:, 0]
    assert t[:9].tolist() == [0.0] * 9
    np.testing.assert_allclose(t[9:], values[9:, 3] / errors[9:, 3])
    check = Check("a", "b", alternatives=("lead:1",), difference=0.4, needed=-50.0)
    assert one.rated(check).power == pytest.approx(1 - 9 / R)  # -50 over no error tells nothing


def test_lost_twins_count_and_are_never_supported() -> None:
    values, errors = made(9)
    found = estimates(values, errors)
    found.status[:40] = 3
    found.estimate[:40] = 1e6
    halves = [Estimates(found.terms, found.errors, found.estimate[rows], found.se[rows], found.dof[rows],
                        found.status[rows]) for rows in (slice(0, 128), slice(128, None))]  # fmt: skip
    blocks = [SimpleNamespace(estimates={"differences": part}) for part in halves]
    store = cast(Store, SimpleNamespace(blocks=lambda cell: blocks))
    claim = rehearsal(values, errors, OWN, OWN_ERRORS).claim
    lost = replace(claim, estimate=np.where(np.arange(R) < 40, np.nan, claim.estimate))
    own = rehearsal(values, errors, OWN, OWN_ERRORS).own
    one = evidence.Rehearsal.of(own, store, "differences", lost, 3.0, CALIBRATING, safe=True)
    assert (one.calibrating, one.safe) == (CALIBRATING, True)
    assert np.isnan(one.twins.estimate[:40]).all()
    np.testing.assert_array_equal(one.twins.estimate[40:], values[40:])
    assert (one.evidence(50.0).supported_at_effect or 0.0) <= 0.8


NINETEEN = [0.1 * k * (-1) ** k for k in range(1, 20)]  # |t| of .1, .2, ... 1.9


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("own", "left", "pvalue", "explains"), [
    (-5.0, 1.0, 1 / 40, True),  # beyond all 19: (1 + 0) / (2 x 20)
    (-1.65, 1.0, 4 / 40, True),  # 1.7, 1.8 and 1.9 are as large: 10%
    (-1.55, 1.0, 5 / 40, False),  # 12.5%
    (-5.0, 2.0, 1 / 40, True),  # 2.0 lies within t(.975; 30) = 2.04
    (-5.0, 2.1, 1 / 40, False),
    (-5.0, -9.0, 1 / 40, True),  # beyond zero
    (5.0, -9.0, 1.0, False),  # the trend leans the other way
])  # fmt: skip
def test_the_lean_of_trends_by_hand(own: float, left: float, pvalue: float, explains: bool, sign: float) -> None:
    """own: t of the trend's difference on the panel; left: what it leaves of the claim, with an error of 1."""
    values, errors = (each[:19] for each in made(10))
    values[:, 1] = np.array(NINETEEN) * errors[:, 1]
    panel, panel_errors = [OWN[0], 0.5 * own, left, *OWN[3:]], [OWN_ERRORS[0], 0.5, 1.0, *OWN_ERRORS[3:]]
    found = rehearsal(values, errors, (sign * np.array(panel)).tolist(), panel_errors).evidence(sign).lean
    assert found.pvalue == pytest.approx(pvalue)
    assert found.explains is explains
    assert found.estimate == pytest.approx(sign * left)
    assert (found.lower, found.upper) == pytest.approx((sign * left - T, sign * left + T))


def test_without_a_slope_there_is_no_lean() -> None:
    values, errors = made(11)
    one = rehearsal(values, errors, OWN, OWN_ERRORS)
    keep = [k for k, term in enumerate(TERMS) if not term.endswith("trend") or "unit" in term]
    twins = replace(one.twins, terms=tuple(TERMS[k] for k in keep), estimate=one.twins.estimate[:, keep],
                    se=one.twins.se[:, :, keep], dof=one.twins.dof[:, :, keep])  # fmt: skip
    found = replace(one, twins=twins).evidence(3.0)
    assert found.lean is None
    assert (found.supported_at_effect or 0.0) > (one.evidence(3.0).supported_at_effect or 1.0)


def benchmarks(**values: Sequence[float]) -> evidence.Benchmarks:
    names = {"pretrend": "pre-trend", "first": "breakdown:first", "mean": "breakdown:mean"}
    return evidence.Benchmarks({names[name]: np.array(row) for name, row in values.items()})


def test_a_breakdown_value_beside_that_of_sound_panels() -> None:
    bounds = Check("honest-breakdown:first", "It is 0.30.", "cannot tell", numbers={"breakdown": 0.3})
    drawn = [0.1, 0.3, 0.5, 0.7, 0.9]
    found = benchmarks(first=drawn).rated(bounds)
    assert (found.benchmark, found.answer) == (0.5, "consistent")
    assert found.numbers["share_of_twins"] == pytest.approx(0.4)
    assert "40% show as little" in found.sentence
    rare = benchmarks(first=[0.5] * 96 + [0.2] * 4).rated(bounds)
    assert (rare.answer, rare.numbers["share_of_twins"]) == ("cannot tell", pytest.approx(0.04))
    edge = benchmarks(first=[0.5] * 95 + [0.2] * 5).rated(bounds)
    assert edge.answer == "consistent"
    assert benchmarks(mean=drawn).rated(bounds) is bounds
    assert benchmarks(mean=drawn).rated(replace(bounds, name="honest-breakdown")).benchmark == 0.5
    assert benchmarks(first=drawn, mean=drawn).rated(replace(bounds, numbers={})).benchmark is None


def test_the_joint_test_beside_that_of_sound_panels() -> None:
    """p = .05 is |z| = 1.96: of |z| of 1, 1.9, 2 and 3 two are as large, and two are false alarms."""
    one = benchmarks(pretrend=[1.0, 1.9, 2.0, 3.0])
    check = Check("pre-trend", "b", numbers={"pvalue": 0.05})
    assert one.rated(check).false_alarm == pytest.approx(0.5)
    assert one.pretrend([Check("other", "b", numbers={"pvalue": 0.9}), check]) == pytest.approx((1 + 2) / 5)
    tiny = replace(check, numbers={"pvalue": 2 * float(stats.norm.sf(3.5))})
    assert one.pretrend([tiny]) == pytest.approx(1 / 5)
    assert one.pretrend([replace(check, numbers={"pvalue": 2 * float(stats.norm.sf(2.5))})]) == pytest.approx(2 / 5)
    assert one.pretrend([]) is None
    assert benchmarks(first=[1.0]).pretrend([check]) is None


def test_benchmarks_are_of_fits_that_ended_well_where_most_did() -> None:
    def store(status: Sequence[int], *lost: int) -> Any:
        rows = len(status)
        values = np.array([np.nan if row in lost else float(row) for row in range(rows)])
        found = Estimates(("pre-trend",), ("cluster:unit",), values[:, None], np.ones((rows, 1, 1)),
                          np.full((rows, 1, 1), np.inf), np.array(status, dtype=np.uint8))  # fmt: skip
        return SimpleNamespace(blocks=lambda cell: [SimpleNamespace(estimates={"path": found})])

    kept = evidence.Benchmarks.of({"path": store([1, 3, 1, 3])}).values["pre-trend"]
    assert kept.tolist() == [0.0, 2.0]
    lost = evidence.Benchmarks.of({"path": store([1, 3, 3, 3])})
    assert (lost.values, lost.notes) == ({}, ("What path shows on sound panels is not known: 3 of 4 fits failed.",))
    assert evidence.Benchmarks.of({"path": store([1, 1, 1], 1)}).values["pre-trend"].tolist() == [0.0, 2.0]
    assert evidence.Benchmarks.of({"path": store([1, 1], 0, 1)}).values == {}, "no panel has the joint test"


def test_a_joint_test_before_adoption_can_be_among_the_rarest_hundredth_however_few_twins_are_asked_for() -> None:
    """Of 64 twins the least share is 1/65: the rule at 1% could never apply."""
    study = Study("one", Paper(), (TrendEvidence(),), grid=(("effect", (0.0,)),))
    found = SimpleNamespace(ask=SimpleNamespace(benchmarks=0), claim=SimpleNamespace(estimate=0.1),
                            main=SimpleNamespace(study=study, replications=64))  # fmt: skip
    context = mock.Mock(**{"run.side_effect": bad("none", where="a", allowed="b", remedy="c")})
    _benchmarks(cast(Any, found), cast(Any, SimpleNamespace(main_error="cluster:unit")), context)
    assert 1 / (context.run.call_args.args[1].replications + 1) <= RARE


def test_breakdown_values_of_a_study_are_benchmarks_and_the_longer_study_tells_of_the_test() -> None:
    design = Paper(calendar="single", redraw=("controls",))
    path = TrendEvidence(label="path")
    bounds = TrendEvidence(bounds=True, tolerance=1e-3, label="bounds")
    stores = {one.label: run(Study(one.label, design, (one,), replications=count, block=64, seed=1))
              for one, count in ((path, 9), (bounds, 3))}  # fmt: skip
    found = evidence.Benchmarks.of(stores)
    assert found.notes == ()
    assert {term: len(values) for term, values in found.values.items()} == {
        "pre-trend": 9, "breakdown:first": 3, "breakdown:mean": 3}  # fmt: skip
    check = Check("honest-breakdown", "It is 0.0.", numbers={"breakdown": -1.0})
    rated = found.rated(check)
    assert (rated.answer, rated.benchmark) == ("cannot tell", np.median(found.values["breakdown:mean"]))


def test_the_trend_before_adoption_is_that_of_the_test_whose_p_value_is_printed() -> None:
    """Hotelling's T^2 finds the slope half of the time; the bias is the mean of estimates of studies that pass."""
    pre, post, treated = 3, 2, 9
    sigma = 0.01 * np.ones((pre + post, pre + post)) + np.diag(np.linspace(0.02, 0.04, pre + post))
    events = np.array([-4, -3, -2, 0, 1])
    path = EventTimes(events, np.array([0.01, -0.02, 0.01, 0.4, 0.5]), sigma, treated)
    check = _pretrend(cast(Any, SimpleNamespace(claimed=True)), path)
    slope = check.numbers["slope"]
    trend = slope * np.array([-3.0, -2.0, -1.0, 1.0, 2.0])
    far = trend[:pre] @ np.linalg.solve(sigma[:pre, :pre], trend[:pre])
    rest = treated - pre
    assert stats.ncf.sf(stats.f.ppf(0.95, pre, rest), pre, rest, far) == pytest.approx(0.5, abs=1e-9)
    rng = np.random.default_rng(3)
    drawn = rng.multivariate_normal(trend, sigma, 100_000)
    covariances = stats.wishart.rvs(treated - 1, sigma[:pre, :pre] / (treated - 1), len(drawn), rng)
    wald = np.vecdot(drawn[:, :pre], np.linalg.solve(covariances, drawn[:, :pre, None])[:, :, 0])
    passed = drawn[wald * rest / (pre * (treated - 1)) <= stats.f.ppf(0.95, pre, rest), pre:].mean(axis=1)
    assert check.numbers["unseen_bias"] == pytest.approx(passed.mean(), abs=4 * passed.std() / np.sqrt(len(passed)))


def test_a_joint_test_without_clusters_to_spare_is_none() -> None:
    path = EventTimes(np.array([-3, -2, 0]), np.zeros(3), np.eye(3), 2)
    check = _pretrend(cast(Any, SimpleNamespace(claimed=True)), path)
    assert (check.severity, check.numbers) == (0, {})
    assert "2 event times and 2 clusters of treated units" in check.sentence


# The fitted world as an estimate: detectable effects and intervals over worlds nearby, by hand and by formula.


Z = 1.959963984540054
T2 = 4.302652729696144  # the 97.5% point of t with a degree of freedom less than three worlds


def fits(
    estimate: Sequence[float] | Floats, se: float | Sequence[float] | Floats = 1.0, dof: float = np.inf
) -> TermFits:
    b = np.asarray(estimate, dtype=np.float64)
    s = np.broadcast_to(np.asarray(se, dtype=np.float64), b.shape)
    p = 2 * stats.norm.sf(np.abs(b / s)) if np.isinf(dof) else 2 * stats.t.sf(np.abs(b / s), dof)
    return TermFits(b, s, np.full(b.shape, dof), p)


def rejecting(share: int, of: int = 100) -> TermFits:
    """Panels of which so many reject."""
    return fits(np.where(np.arange(of) < share, 3.0, 0.5))


def test_the_detectable_effect_of_three_panels_by_hand() -> None:
    """Effects of 1.96 se -+ b: 0.96, 2.96, 2.96, 0.96, 3.92, 3.92; four fifths of the way through the six is 3.92."""
    assert evidence.detected(fits([1.0, -1.0, 0.0], [1.0, 1.0, 2.0])) == pytest.approx(2 * Z)
    assert evidence.detected(fits([1.0, -1.0], 1.0)) == pytest.approx(Z + 1.0)
    assert evidence.detected(fits([1.0, np.nan, -1.0], [1.0, np.nan, 1.0])) == pytest.approx(Z + 1.0)


@pytest.mark.parametrize("sd", [0.3, 2.0])
def test_it_is_the_textbook_formula_for_normal_estimates(sd: float) -> None:
    """(z.8 + z.975) sd, of 4,000 evenly spaced quantiles of the normal law."""
    b = sd * stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    assert evidence.detected(fits(b, sd)) == pytest.approx((stats.norm.ppf(0.8) + stats.norm.ppf(0.975)) * sd, rel=1e-3)


def test_with_errors_that_are_estimated_the_quantiles_are_those_of_t() -> None:
    """(t.8 + t.975) sd with 20 degrees of freedom, within 2%: the sum is an approximation (Bloom 1995)."""
    rng, dof = np.random.default_rng(20250501), 20
    b, s = rng.standard_normal(40_000), np.sqrt(rng.chisquare(dof, 40_000) / dof)
    found = evidence.detected(fits(b, s, dof))
    assert found == pytest.approx(stats.t.ppf(0.8, dof) + stats.t.ppf(0.975, dof), rel=0.02)
    assert found > 1.02 * (stats.norm.ppf(0.8) + stats.norm.ppf(0.975))


def test_half_of_both_signs_are_found_alike() -> None:
    skewed = fits(0.7 + np.linspace(-1, 1, 400), 1.0)
    mirror = fits(-skewed.estimate, 1.0)
    assert evidence.detected(skewed) == pytest.approx(evidence.detected(mirror))


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def expit(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_the_interval_of_a_size_by_hand() -> None:
    """Worlds that reject 2, 5 and 10 of 100: log odds of (k + .5)/(100.5 - k), their spread beside the simulation's.

    The log odds -3.674, -2.854 and -2.154 have a spread of .761: half the interval is the root of (4.303 x .761)^2 +
    (1.960 x .177)^2, 3.29, about log odds of -2.75.
    """
    counts = (2, 5, 10)
    nearby = Nearby({"hc1": rejecting(5)}, tuple({"hc1": rejecting(k)} for k in counts))
    odds = [np.log((k + 0.5) / (100.5 - k)) for k in counts]
    mean = sum(odds) / 3
    spread = np.sqrt(sum((one - mean) ** 2 for one in odds) / 2)
    found = nearby.size("hc1", MeasureWithError(0.06, 0.01))
    half = np.sqrt((T2 * spread) ** 2 + (Z * 0.01 / (0.06 * 0.94)) ** 2)
    assert found == pytest.approx((expit(logit(0.06) - half), expit(logit(0.06) + half)))
    assert found == pytest.approx((0.00237, 0.632), rel=2e-3)


def test_without_worlds_nearby_the_interval_is_the_simulations() -> None:
    found = Nearby().size("hc1", MeasureWithError(0.06, 0.01))
    half = Z * 0.01 / (0.06 * 0.94)
    assert found == pytest.approx((expit(logit(0.06) - half), expit(logit(0.06) + half)))
    same = Nearby({"hc1": rejecting(5)}, ({"hc1": rejecting(5)}, {"hc1": rejecting(5)}))
    assert same.size("hc1", MeasureWithError(0.06, 0.01))[1] == pytest.approx(found[1])


@pytest.mark.parametrize("count", [128, 1024])
def test_a_test_that_never_rejects_on_twins_has_an_upper_end(count: int) -> None:
    shares = measures.proportion(np.array([0.0, 1.0, count]), np.full(3, float(count)))
    never, once, always = (Nearby().size("iid", MeasureWithError(float(value), float(mcse)))
                           for value, mcse in zip(shares.value, shares.mcse, strict=True))  # fmt: skip
    assert never[0] == 0.0
    assert 3 / count < never[1] < 1.5 * once[1]  # 3/n: the exact one-sided bound
    assert always == (pytest.approx(1 - never[1]), 1.0)


def test_an_error_type_that_did_not_run_there_has_no_interval() -> None:
    nearby = Nearby({"hc1": rejecting(5)}, ({"hc1": rejecting(5)}, {"hc1": rejecting(9)}))
    found = nearby.size("driscoll-kraay", MeasureWithError(0.05, 0.01))
    assert np.isnan(found).all()


def test_the_interval_of_a_calibrated_p_value_by_hand() -> None:
    """|t| of 2 or more: 1, 2 and 4 of 40 panels; the sign of the claim's t plays no part."""
    worlds = tuple({"hc1": fits(np.where(np.arange(40) < k, 2.0, -1.0))} for k in (1, 2, 4))
    nearby = Nearby({"hc1": worlds[0]["hc1"]}, worlds)
    spread = np.std([np.log((k + 0.5) / (40.5 - k)) for k in (1, 2, 4)], ddof=1)
    half = np.hypot(T2 * spread, Z * 0.02 / (0.1 * 0.9))
    for statistic in (2.0, -2.0):
        found = nearby.pvalue("hc1", statistic, MeasureWithError(0.1, 0.02))
        assert found == pytest.approx((expit(logit(0.1) - half), expit(logit(0.1) + half)))


def test_the_interval_of_the_detectable_effect_by_hand() -> None:
    """Worlds whose every number is 1, 1.2 and 1.5 times the fitted one's find effects that are as much larger."""
    base = np.linspace(-1, 1, 101)
    worlds = tuple({"hc1": fits(scale * base, scale)} for scale in (1.0, 1.2, 1.5))
    nearby = Nearby({"hc1": fits(base, 1.0)}, worlds)
    assert nearby.effects("hc1") == pytest.approx([1.0, 1.2, 1.5])
    spread, own = np.std(np.log([1.0, 1.2, 1.5]), ddof=1), np.log(0.55 / 0.45) / (2 * Z)  # of the simulation
    found = nearby.detectable("hc1", Detectable(0.8, 0.5, 0.45, 0.55))
    factor = np.exp(np.sqrt((T2 * spread) ** 2 + (Z * own) ** 2))
    assert (found.value, found.power) == (0.5, 0.8)
    assert (found.lower, found.upper) == pytest.approx((0.5 / factor, 0.5 * factor))
    assert found.upper > 0.5 * 1.3


def test_a_detectable_effect_without_a_lower_end_keeps_an_open_interval() -> None:
    base = np.linspace(-1, 1, 101)
    nearby = Nearby({"hc1": fits(base)}, ({"hc1": fits(base)}, {"hc1": fits(1.2 * base, 1.2)}))
    found = nearby.detectable("hc1", Detectable(0.8, 0.5, 0.0, 0.55))
    assert (found.lower, found.value, found.upper) == (0.0, 0.5, np.inf)
    none = Detectable(0.8, 0.0, 0.0, 0.0)
    assert nearby.detectable("hc1", none) is none
    alone = Detectable(0.8, 0.5, 0.45, 0.55)
    assert Nearby().detectable("hc1", alone) is alone


def test_the_worst_world_by_hand() -> None:
    """12% in place of the fitted world's 5% on these draws: 7 points above the main study's 6%."""
    base = np.linspace(-1, 1, 101)
    worlds = ({"hc1": rejecting(2)}, {"hc1": rejecting(12)}, {"hc1": rejecting(9)})
    mde = Detectable(0.8, 0.5, 0.45, 0.55)
    found = Nearby({"hc1": rejecting(5)}, worlds).worst("hc1", MeasureWithError(0.06, 0.01), mde)
    assert found["size"] == pytest.approx(0.13)
    below = Nearby({"hc1": rejecting(5)}, ({"hc1": rejecting(2)}, {"hc1": rejecting(1)}))
    assert below.worst("hc1", MeasureWithError(0.06, 0.01), mde)["size"] == pytest.approx(0.06)
    assert below.worst("hc1", MeasureWithError(0.99, 0.01), mde)["size"] == pytest.approx(0.99)
    scaled = tuple({"hc1": fits(scale * base, scale)} for scale in (0.7, 1.4))
    assert Nearby({"hc1": fits(base)}, scaled).worst("hc1", MeasureWithError(0.06, 0.01), mde)["mde"] == pytest.approx(
        0.7
    )
    assert Nearby({"hc1": fits(base)}, scaled[:1] * 2).worst("hc1", MeasureWithError(0.06, 0.01), mde)["mde"] == 0.5
    assert Nearby().worst("hc1", MeasureWithError(0.06, 0.01), mde) == {"size": None, "mde": None}


@pytest.mark.parametrize(("dial", "alternatives"), [("mediator", ("trend",)), ("effect.size", ())])
def test_checks_are_rehearsed_where_the_dial_moves_the_claim_and_twins_have_differences(
    dial: str, alternatives: tuple[str, ...]
) -> None:
    found, case, context = mock.MagicMock(), mock.MagicMock(), mock.MagicMock()
    found.claim.dial = dial
    case.family.estimator.served.return_value = Differences(term="did", error="hc1", alternatives=alternatives)
    assert _rehearsed(found, case, context) is None
    context.run.assert_not_called()
