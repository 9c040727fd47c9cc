"""What twins say of checks and of the verdict, one twin at a time; intervals over nearby worlds by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from estimators import Estimates
from estimators.sensitivity.differences import Differences
from experiments.checks.case import Family
from experiments.trust.evidence import Nearby, Rehearsal, detected
from experiments.trust.studies import MeasureWithError, TermFits, within_level
from results.diagnosis import measures
from results.diagnosis.power import Detectable
from results.tables.records import Check

TERMS = ("did", "difference:trend", "alternative:trend", "difference:controls:none", "alternative:controls:none")
TWINS, DOF = 400, 30.0  # the critical value is the 381st: .95 times 401, rounded up
POINT = float(stats.t.ppf(0.975, DOF))


def estimates(values: np.ndarray, se: np.ndarray) -> Estimates:
    """Estimates and errors (R, K) of `TERMS`."""
    rows = len(values)
    return Estimates(TERMS, ("cluster:unit",), values, se[:, None], np.full((rows, 1, len(TERMS)), DOF),
                     np.ones(rows, dtype=np.uint8))  # fmt: skip


def drawn(rows: int, seed: int, wide: float = 1.0) -> Estimates:
    """Estimates without an effect; wide: by how much they vary more than their errors say."""
    rng = np.random.default_rng(seed)
    b = wide * rng.standard_normal(rows)
    d = rng.standard_normal((rows, 2)) * [2.5, 0.8] * wide
    values = np.column_stack([b, d[:, 0], b + d[:, 0], d[:, 1], b + d[:, 1]])
    return estimates(values, np.sqrt(rng.chisquare(DOF, (rows, 5)) / DOF) * [1.0, 2.5, 2.7, 0.8, 1.3])


def rehearsal(own: float = 3.0, slope: float = -4.0, wide: float = 1.0, calibrating: int = 400, safe: bool = True,
              seed: int = 1) -> Rehearsal:  # fmt: skip
    """A claim `own` whose difference without trends is `slope`, beside twins of which some lack an alternative."""
    twins = drawn(TWINS, seed, wide)
    values = twins.estimate.copy()
    values[:7, 3:] = np.nan
    alternatives = ("trend", "controls:none")
    panel = estimates(np.array([[own, slope, own + slope, 0.4, own + 0.4]]), np.array([[1.0, 2.5, 2.7, 0.8, 1.3]]))
    se, b = twins.se[:, 0, 0], values[:, 0]
    claim = TermFits(b, se, np.full(TWINS, DOF), 2 * stats.t.sf(np.abs(b / se), DOF))
    family = Family(Differences(alternatives=alternatives), panel, 3.0, {})
    return Rehearsal(family, replace(twins, estimate=values), claim, own, calibrating, safe)


def t_of(found: Estimates, row: int, k: int) -> float:
    """t of a term, 0 where there is none."""
    value = found.estimate[row, k] / found.se[row, 0, k]
    return float(value) if np.isfinite(value) else 0.0


def largest(found: Estimates) -> list[float]:
    """The larger |t| of both differences, twin by twin."""
    return [max(abs(t_of(found, row, 1)), abs(t_of(found, row, 3))) for row in range(TWINS)]


def contradicted(found: Estimates, row: int, critical: float, effect: float) -> bool:
    """Whether an alternative differs towards zero and has not the claim's sign with an interval without 0."""
    sign = np.sign(found.estimate[row, 0] + effect)
    hits = []
    for d, a in ((1, 2), (3, 4)):
        differs = abs(t_of(found, row, d)) > critical and -sign * found.estimate[row, d] > 0
        stands = sign * (found.estimate[row, a] + effect) > POINT * found.se[row, 0, a]
        hits.append(differs and not stands)
    return any(hits)


def leans(found: Estimates, row: int, effect: float) -> bool:
    """Whether a tenth of the twins, on the claim's side, have as steep a trend, and it explains the claim."""
    sign = np.sign(found.estimate[row, 0] + effect)
    sizes = sorted(abs(t_of(found, other, 1)) for other in range(TWINS))
    at = (TWINS - 1) * 0.8  # the quantile between two order statistics
    bound = sizes[int(at)] + (at % 1) * (sizes[int(at) + 1] - sizes[int(at)])
    rest = sign * (found.estimate[row, 2] + effect)
    return -sign * t_of(found, row, 1) >= bound and rest <= POINT * found.se[row, 0, 2]


def rates_by_hand(one: Rehearsal, effect: float) -> tuple[float, float]:
    """Shares of twins that are supported, and of those with p up to 10% that are contradicted."""
    found, critical = one.twins, sorted(largest(one.twins))[381 - 1]
    null = [abs(t_of(found, row, 0)) for row in range(TWINS)]
    supported, wrong, claimed = 0, 0, 0
    for row in range(TWINS):
        t = abs(found.estimate[row, 0] + effect) / found.se[row, 0, 0]
        p = 2 * stats.t.sf(t, DOF)
        simulated = sum(other >= t for other in null) / TWINS
        clearly = simulated - 2 * np.sqrt(simulated * (1 - simulated) / one.calibrating) > 0.05
        against = contradicted(found, row, critical, effect)
        supported += p <= 0.05 and not clearly and not against and not leans(found, row, effect)
        claimed += p <= 0.10
        wrong += p <= 0.10 and against
    return supported / TWINS, wrong / claimed


@pytest.mark.parametrize("effect", [2.0, -2.0, 0.7])
@pytest.mark.parametrize(("wide", "calibrating"), [(1.0, 400), (1.3, 128), (1.3, 20_000)])
def test_rates_are_those_of_the_verdicts_rules_twin_by_twin(effect: float, wide: float, calibrating: int) -> None:
    one = rehearsal(wide=wide, calibrating=calibrating)
    rates = one.evidence(effect).rates
    at_effect, wrong = rates_by_hand(one, effect)
    assert rates.supported_without_effect == pytest.approx(rates_by_hand(one, 0.0)[0])
    assert rates.supported_at_effect == pytest.approx(at_effect)
    assert rates.contradicted_without_threat == pytest.approx(wrong)
    assert wrong > 0


def test_a_test_that_rejects_too_often_is_not_hidden_by_few_twins() -> None:
    """The page lets pass what lies within two Monte Carlo errors, which are larger where twins are fewer."""
    few, many = (rehearsal(wide=1.3, calibrating=count).evidence(2.0).rates for count in (128, 20_000))
    assert few.supported_without_effect is not None
    assert many.supported_without_effect is not None
    assert few.supported_without_effect > many.supported_without_effect + 0.01


def test_nothing_is_supported_where_no_errors_are_safe() -> None:
    one = rehearsal(safe=False)
    rates = one.evidence(2.0).rates
    assert (rates.supported_without_effect, rates.supported_at_effect) == (0.0, 0.0)
    assert rates.contradicted_without_threat == rehearsal().evidence(2.0).rates.contradicted_without_threat


def test_without_a_claim_nothing_is_contradicted() -> None:
    one = rehearsal()
    still = replace(one, claim=replace(one.claim, estimate=one.claim.estimate * 0))
    assert still.evidence(0.0).rates.contradicted_without_threat is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_lean_of_trends_is_one_sided(sign: float) -> None:
    """Half the twins whose trend is as steep either way; a slope against the claim explains nothing."""
    one = rehearsal(own=3.0 * sign, slope=-4.0 * sign)
    lean, steep = one.evidence(1.0).lean, 4.0 / 2.5
    alike = sum(abs(t_of(one.twins, row, 1)) >= steep for row in range(TWINS))
    assert lean is not None
    assert lean.pvalue == pytest.approx((1 + alike) / (2 * (1 + TWINS)))
    assert lean.pvalue < 0.10
    assert (lean.estimate, lean.lower, lean.upper) == pytest.approx(
        (-sign, -sign - POINT * 2.7, -sign + POINT * 2.7)
    )  # fmt: skip
    assert lean.explains
    away = rehearsal(own=3.0 * sign, slope=4.0 * sign).evidence(1.0).lean
    assert away is not None
    assert (away.pvalue, away.explains) == (1.0, False)


def test_a_steep_trend_that_leaves_the_claim_explains_nothing() -> None:
    lean = rehearsal(own=12.0, slope=-4.0).evidence(1.0).lean  # 8 with an error of 2.7
    assert lean is not None
    assert lean.pvalue < 0.10
    assert not lean.explains


def test_a_check_has_its_false_alarms_and_its_power() -> None:
    one = rehearsal()
    critical = sorted(largest(one.twins))[381 - 1]
    check = Check(
        "unequal-trends", "", "cannot tell", 1, {}, "", -4.0, 2.5, -9.0, 1.0, -3.0, "y", alternatives=("trend",)
    )
    rated = one.rated(check)
    alarms = [abs(t_of(one.twins, row, 1)) > critical for row in range(TWINS)]
    moved = [abs(one.twins.estimate[row, 1] - 3.0) > critical * one.twins.se[row, 0, 1] for row in range(TWINS)]
    assert rated.false_alarm == pytest.approx(np.mean(alarms))
    assert rated.power == pytest.approx(np.mean(moved))
    assert one.critical == critical
    assert one.evidence(1.0).familywise == pytest.approx(np.mean([size > critical for size in largest(one.twins)]))


@pytest.mark.parametrize(("pvalue", "mcse", "inside"), [(0.05, 0.0, True), (0.0501, 0.0, False), (0.07, 0.01, True),
                                                       (0.0701, 0.01, False), (float("nan"), 0.01, False)])  # fmt: skip
def test_simulated_p_values_are_held_to_their_monte_carlo_error(pvalue: float, mcse: float, inside: bool) -> None:
    assert bool(within_level(pvalue, mcse)) is inside


# Worlds near the fitted one


def fits(scale: float, seed: int = 1, rows: int = 256) -> TermFits:
    """Normal estimates of a standard deviation, each with an error of 1."""
    b = scale * np.random.default_rng(seed).standard_normal(rows)
    return TermFits(b, np.ones(rows), np.full(rows, np.inf), 2 * stats.norm.sf(np.abs(b)))


SCALES = (0.8, 0.9, 1.1, 1.4)
T3 = 3.182446  # the 97.5% point of t with a degree of freedom less than worlds


def nearby() -> Nearby:
    """The fitted world and four others on its draws."""
    return Nearby({"cluster:unit": fits(1.0)}, tuple({"cluster:unit": fits(scale)} for scale in SCALES))


def log_odds(hits: np.ndarray) -> float:
    share = (hits.sum() + 0.5) / (len(hits) + 1)
    return float(np.log(share / (1 - share)))


def ends_by_hand(share: float, mcse: float, spread: float) -> tuple[float, float]:
    half = np.sqrt((T3 * spread) ** 2 + (1.959963985 * mcse / (share * (1 - share))) ** 2)
    odds = share / (1 - share) * np.exp([-half, half])
    low, high = odds / (1 + odds)
    return float(low), float(high)


def test_a_size_is_as_uncertain_as_worlds_and_simulation_make_it() -> None:
    spread = np.std([log_odds(fits(scale).pvalue <= 0.05) for scale in SCALES], ddof=1)
    found = nearby().size("cluster:unit", MeasureWithError(0.06, 0.012))
    assert (found.lower, found.upper) == pytest.approx(ends_by_hand(0.06, 0.012, float(spread)))
    alone = Nearby().size("cluster:unit", MeasureWithError(0.06, 0.012))
    assert (alone.lower, alone.upper) == pytest.approx(ends_by_hand(0.06, 0.012, 0.0))
    assert np.isnan(nearby().size("hc1", MeasureWithError(0.06, 0.012)).lower)


def test_a_calibrated_p_value_too() -> None:
    spread = np.std([log_odds(np.abs(fits(scale).estimate) >= 1.7) for scale in SCALES], ddof=1)
    found = nearby().pvalue("cluster:unit", -1.7, MeasureWithError(0.09, 0.01))
    assert (found.lower, found.upper) == pytest.approx(ends_by_hand(0.09, 0.01, float(spread)))


@pytest.mark.parametrize("count", [128, 1024])
def test_a_test_that_never_rejects_on_twins_has_an_upper_end(count: int) -> None:
    """About as large as that of one rejection; the same from above for a test that always does."""
    shares = measures.proportion(np.array([0.0, 1.0, count]), np.full(3, float(count)))
    never, once, always = (Nearby().size("iid", MeasureWithError(float(value), float(mcse)))
                           for value, mcse in zip(shares.value, shares.mcse, strict=True))  # fmt: skip
    assert never.lower == 0.0
    assert 3 / count < never.upper < 1.5 * once.upper  # 3/n: the exact one-sided bound
    assert (always.lower, always.upper) == (pytest.approx(1 - never.upper), 1.0)


def test_the_effect_that_a_test_detects_has_its_power() -> None:
    null = fits(1.0, rows=20_000)
    effect = detected(null)
    power = [np.mean(np.abs(null.estimate + way * effect) > 1.959963985) for way in (-1, 1)]
    assert np.mean(power) == pytest.approx(0.80, abs=1e-3)
    assert effect == pytest.approx(2.8016, abs=0.03)  # 1.960 + .8416 standard deviations


def test_a_detectable_effect_varies_over_worlds_by_its_logarithm() -> None:
    own = detected(fits(1.0))
    ratios = np.array([detected(fits(scale)) / own for scale in SCALES])
    found = nearby().detectable("cluster:unit", Detectable(0.8, 2.8, 2.8 / 1.1, 2.8 * 1.1))
    half = np.sqrt((T3 * np.log(ratios).std(ddof=1)) ** 2 + np.log(1.1) ** 2)
    assert (found.lower, found.value, found.upper) == pytest.approx((2.8 * np.exp(-half), 2.8, 2.8 * np.exp(half)))
    worst = nearby().worst("cluster:unit", MeasureWithError(0.06, 0.01), found)
    more = np.mean(fits(1.4).pvalue <= 0.05) - np.mean(fits(1.0).pvalue <= 0.05)
    assert worst == {"size": pytest.approx(0.06 + more), "mde": pytest.approx(2.8 * ratios[-1])}
