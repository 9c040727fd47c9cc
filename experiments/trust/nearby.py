"""The fitted world is an estimate: what the claim's test does in worlds that could as well have been fitted.

The worlds are twins of twins: the fit repeated on panels drawn from the fitted world (`Twin.nearby`), all on the draws
of one seed, so that what differs between them is the world alone. Sizes, p values and the detectable effect then have a
sampling variance beside the simulation's (Beran 1988; Davidson and MacKinnon 2007), and a worst case over the 95%
ellipsoid of the parameters (Advani, Kitagawa and Sloczynski 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from estimators.core.inference import critical_values
from experiments.running.runner import run
from experiments.study.study import Study
from experiments.trust.claim import Claim
from experiments.trust.studies import BLOCK, LEVEL, Fits, Measure, fits_of, pilot_of
from experiments.twins.twin import Twin
from results.diagnosis.power_curve import POWER, Z95, Detectable
from sim.arrays import Flags, Floats

COVERED = 0.95  # of the ellipsoid of parameters over which the worst case is taken


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends that hold the uncertainty of the fitted world and of the simulation."""

    lower: float
    upper: float


@dataclass(frozen=True, eq=False, slots=True)
class Nearby:
    """Fits on panels without an effect, by error type: of the fitted world, and of B worlds near it on the same draws.

    inside (B,): worlds in the 95% ellipsoid of the parameters.
    """

    fitted: dict[str, Fits]
    others: tuple[dict[str, Fits], ...]
    inside: Flags

    def size(self, error: str, found: Measure) -> Interval:
        """The size of a 5% test; found: its size on twins with the simulation's error. On the scale of log odds."""
        if not self.others:
            return Interval(found.value - Z95 * found.mcse, found.value + Z95 * found.mcse)
        shares = np.array([_odds(world[error].pvalue <= LEVEL) for world in self.others])
        return _around(found, float(shares.std(ddof=1)))

    def pvalue(self, error: str, statistic: float, found: Measure) -> Interval:
        """The calibrated p value of a t statistic."""
        if not self.others:
            return Interval(max(found.value - Z95 * found.mcse, 0.0), min(found.value + Z95 * found.mcse, 1.0))
        beyond = [_odds(np.abs(world[error].statistic) >= abs(statistic)) for world in self.others]
        return _around(found, float(np.std(beyond, ddof=1)))

    def detectable(self, error: str, found: Detectable) -> Detectable:
        """The detectable effect with an interval that holds both kinds of uncertainty, on the scale of its logarithm."""
        if not self.others or not found.value > 0:
            return found
        spread = float(np.log(self.effects(error)).std(ddof=1))
        own = np.log(found.upper / found.lower) / (2 * Z95)
        factor = float(np.exp(Z95 * np.hypot(spread, own)))
        return replace(found, lower=found.value / factor, upper=found.value * factor)

    def effects(self, error: str) -> Floats:
        """Detectable effects in the other worlds over that in the fitted one, (B,)."""
        own = detected(self.fitted[error])
        return np.array([detected(world[error]) / own for world in self.others])

    def worst(self, error: str, size: Measure, mde: Detectable) -> dict[str, float | None]:
        """The largest size and detectable effect over the ellipsoid."""
        if not self.inside.any():
            return {"size": None, "mde": None}
        own = np.mean(self.fitted[error].pvalue <= LEVEL)
        sizes = np.array([np.mean(world[error].pvalue <= LEVEL) for world in self.others])[self.inside]
        return {"size": float(np.clip(size.value + max(sizes.max() - own, 0.0), 0.0, 1.0)),
                "mde": float(mde.value * max(self.effects(error)[self.inside].max(), 1.0))}  # fmt: skip


def detected(null: Fits) -> float:
    """The effect that a 5% test finds with a power of 80%, from panels without one: an effect moves an estimate by
    itself and changes no error, so that panel r finds every effect beyond c se_r - b_r."""
    sound = np.isfinite(null.se)
    if not sound.any():
        return float(np.nanstd(null.estimate))
    critical = critical_values(null.dof[sound], LEVEL) * null.se[sound]
    return float(np.quantile([critical - null.estimate[sound], critical + null.estimate[sound]], POWER))


def nearby_of(claim: Claim, twin: Twin, replications: int = BLOCK) -> Nearby:
    """The claim's estimator in the fitted world and in those of `twin.nearby`, without an effect, in memory."""
    pilot = pilot_of(claim, twin).resized(replications=replications)
    fitted, *others = (_fits(claim, replace(pilot, design=design)) for design in (twin.design, *twin.nearby))
    return Nearby(fitted, tuple(others), _inside(twin))


def _fits(claim: Claim, study: Study) -> dict[str, Fits]:
    store = run(study)
    name = study.estimators[0].name
    return {error: fits_of(store, 0, name, claim.term, error) for error in store.layouts[name].errors}


def _inside(twin: Twin) -> Flags:
    """Which parameters of the worlds nearby lie in the ellipsoid, (B,)."""
    values = twin.nearby_values
    if len(values) < 2:
        return np.zeros(len(twin.nearby), dtype=bool)
    away = values - values.mean(axis=0)
    inverse = np.linalg.pinv(np.cov(away.T, ddof=1).reshape(values.shape[1], -1))
    distance = np.einsum("bp,pq,bq->b", away, inverse, away)
    return np.asarray(distance <= stats.chi2.ppf(COVERED, np.linalg.matrix_rank(inverse)))


def _odds(hits: Flags | Sequence[bool]) -> float:
    """Log odds of a share, kept from its ends by half a count."""
    count = len(hits)
    return float(logit((np.sum(hits) + 0.5) / (count + 1.0)))


def _around(found: Measure, spread: float) -> Interval:
    """An interval about a share: the spread of its log odds over worlds, and the simulation's error."""
    share = float(np.clip(found.value, 1e-6, 1 - 1e-6))
    own = found.mcse / (share * (1 - share))
    half = Z95 * float(np.hypot(spread, own if np.isfinite(own) else 0.0))
    lower, upper = expit(logit(share) - half), expit(logit(share) + half)
    return Interval(float(lower), float(upper))
