"""The fitted world as an estimate: detectable effects and intervals over worlds nearby, by hand and by formula."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from experiments.trust.evidence import Nearby, detected
from experiments.trust.studies import MeasureWithError, TermFits
from results.diagnosis import measures
from results.diagnosis.power import Detectable
from sim.arrays import Floats

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


# The effect that is detected


def test_the_detectable_effect_of_three_panels_by_hand() -> None:
    """Effects of 1.96 se -+ b: 0.96, 2.96, 2.96, 0.96, 3.92, 3.92; four fifths of the way through the six is 3.92."""
    assert detected(fits([1.0, -1.0, 0.0], [1.0, 1.0, 2.0])) == pytest.approx(2 * Z)
    assert detected(fits([1.0, -1.0], 1.0)) == pytest.approx(Z + 1.0)
    assert detected(fits([1.0, np.nan, -1.0], [1.0, np.nan, 1.0])) == pytest.approx(Z + 1.0)


@pytest.mark.parametrize("sd", [0.3, 2.0])
def test_it_is_the_textbook_formula_for_normal_estimates(sd: float) -> None:
    """(z.8 + z.975) sd, of 4,000 evenly spaced quantiles of the normal law."""
    b = sd * stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    assert detected(fits(b, sd)) == pytest.approx((stats.norm.ppf(0.8) + stats.norm.ppf(0.975)) * sd, rel=1e-3)


def test_with_errors_that_are_estimated_the_quantiles_are_those_of_t() -> None:
    """(t.8 + t.975) sd with 20 degrees of freedom, within 2%: the sum is an approximation (Bloom 1995)."""
    rng, dof = np.random.default_rng(20250501), 20
    b, s = rng.standard_normal(40_000), np.sqrt(rng.chisquare(dof, 40_000) / dof)
    found = detected(fits(b, s, dof))
    assert found == pytest.approx(stats.t.ppf(0.8, dof) + stats.t.ppf(0.975, dof), rel=0.02)
    assert found > 1.02 * (stats.norm.ppf(0.8) + stats.norm.ppf(0.975))


def test_half_of_both_signs_are_found_alike() -> None:
    """A biased estimator finds effects of one sign easily and of the other hardly: neither alone is told."""
    skewed = fits(0.7 + np.linspace(-1, 1, 400), 1.0)
    mirror = fits(-skewed.estimate, 1.0)
    assert detected(skewed) == pytest.approx(detected(mirror))


# Intervals


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
    """About as large as that of one rejection; the same from above for a test that always does."""
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
