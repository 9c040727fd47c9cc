"""The fitted world is an estimate: what the claim's test does in worlds that could as well have been fitted.

The worlds are twins of twins: the fit repeated on panels drawn from the fitted world (`Twin.nearby`), all on the draws
of one seed, so that what differs between them is the world alone. Sizes, p values and the detectable effect then have a
sampling variance beside the simulation's (Beran 1988; Davidson and MacKinnon 2007), and a worst case (Advani, Kitagawa
and Sloczynski 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import expit, logit

from estimators.core.estimator import critical_values
from experiments.run.tasks import runner_of
from experiments.study import Study
from experiments.trust.claim import PanelClaim
from experiments.trust.studies import BLOCK, LEVEL, MeasureWithError, TermFits, fits_in, pilot_of
from experiments.twins.twin import Twin
from results.diagnosis.claims import POWER, interval_point
from results.diagnosis.power import Z95, Detectable
from sim.arrays import Flags, Floats

SLOW = ("driscoll-kraay",)  # and errors clustered in two ways


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends that hold the uncertainty of the fitted world and of the simulation."""

    lower: float
    upper: float


@dataclass(frozen=True, eq=False, slots=True)
class Nearby:
    """Fits on panels without an effect, by error type: of the fitted world, and of B worlds near it on its draws."""

    fitted: dict[str, TermFits] = field(default_factory=dict)
    others: tuple[dict[str, TermFits], ...] = ()

    def size(self, error: str, found: MeasureWithError) -> Interval:
        """The size of a 5% test; found: its size on twins with the simulation's error. On the scale of log odds.

        NaN for an error type that does not run there.
        """
        if not self.others:
            return _around(found, 0.0, 0)
        if error not in self.fitted:
            return Interval(float("nan"), float("nan"))
        shares = np.array([_odds(world[error].pvalue <= LEVEL) for world in self.others])
        return _around(found, float(shares.std(ddof=1)), len(shares))

    def pvalue(self, error: str, statistic: float, found: MeasureWithError) -> Interval:
        """The calibrated p value of a t statistic."""
        if not self.others:
            return _around(found, 0.0, 0)
        beyond = [_odds(np.abs(world[error].statistic) >= abs(statistic)) for world in self.others]
        return _around(found, float(np.std(beyond, ddof=1)), len(beyond))

    def detectable(self, error: str, found: Detectable) -> Detectable:
        """The detectable effect with an interval for both kinds of uncertainty, on the scale of its logarithm."""
        if not self.others or not found.value > 0:
            return found
        spread = float(np.log(self.effects(error)).std(ddof=1))
        own = float(np.log(found.upper / found.lower)) / (2 * Z95) if found.lower > 0 else np.inf
        factor = float(np.exp(_half(spread, own, len(self.others))))
        return replace(found, lower=found.value / factor, upper=found.value * factor)

    def effects(self, error: str) -> Floats:
        """Detectable effects in the other worlds over that in the fitted one, (B,)."""
        own = detected(self.fitted[error])
        return np.array([detected(world[error]) / own for world in self.others])

    def worst(self, error: str, size: MeasureWithError, mde: Detectable) -> dict[str, float | None]:
        """The largest size and detectable effect in any of these worlds."""
        if not self.others:
            return {"size": None, "mde": None}
        own = np.mean(self.fitted[error].pvalue <= LEVEL)
        sizes = np.array([np.mean(world[error].pvalue <= LEVEL) for world in self.others])
        return {"size": float(np.clip(size.value + max(sizes.max() - own, 0.0), 0.0, 1.0)),
                "mde": float(mde.value * max(self.effects(error).max(), 1.0))}  # fmt: skip


def detected(null: TermFits) -> float:
    """The effect that a 5% test finds with a power of 80%, from panels without one: an effect moves an estimate by
    itself and changes no error, so that panel r finds every effect beyond c se_r - b_r."""
    sound = np.isfinite(null.se)
    if not sound.any():
        return float(np.nanstd(null.estimate))
    critical = critical_values(null.dof[sound], LEVEL) * null.se[sound]
    return float(np.quantile([critical - null.estimate[sound], critical + null.estimate[sound]], POWER))


def nearby_of(claim: PanelClaim, twin: Twin, keep: Sequence[str], replications: int = BLOCK) -> Nearby:
    """The claim's estimator in the fitted world and in those of `twin.nearby`, without an effect, in memory.

    keep: error types that run there in any case; of the others those that cost next to nothing.
    """
    errors = tuple(error for error in claim.errors if error in keep or (error not in SLOW and "+" not in error))
    quick = replace(claim, errors=errors)
    pilot = pilot_of(quick, twin).resized(replications=replications)
    designs = (twin.design, *twin.nearby)
    fitted, *others = (_fits(quick, replace(pilot, design=design)) for design in designs)
    return Nearby(fitted, tuple(others))


def _fits(claim: PanelClaim, study: Study) -> dict[str, TermFits]:
    """Of the cell of a pilot, in this process: no store, and no second draw, as a user's design would need."""
    block = runner_of(study, 0).run(0, study.replications)
    found = block.estimates[study.estimators[0].name]
    return {error: fits_in([found], claim.term, error) for error in found.errors}


def _odds(hits: Flags | Sequence[bool]) -> float:
    """Log odds of a share, kept from its ends by half a count."""
    count = len(hits)
    return float(logit((np.sum(hits) + 0.5) / (count + 1.0)))


def _half(spread: float, own: float, worlds: int) -> float:
    """Half an interval: the spread over so many worlds, by t for their number, and the simulation's error."""
    return float(np.hypot(interval_point(worlds) * spread, Z95 * own))


def _around(found: MeasureWithError, spread: float, worlds: int) -> Interval:
    """An interval about a share: the spread of its log odds over worlds, and the simulation's error.

    Log odds of 0 and 1 are infinite: their other end is that of the share of which `mcse` is the error (Agresti and
    Coull's, sqrt(2) share / 1.96 = mcse up to terms that vanish).
    """
    never, always = found.value <= 0, found.value >= 1
    near = min(found.mcse * Z95 / np.sqrt(2.0), 0.5)
    share = near if never else 1 - near if always else found.value
    if not 0 < share < 1:  # no error, or no share
        return Interval(found.value, found.value)
    own = found.mcse / (share * (1 - share))
    half = _half(spread, own if np.isfinite(own) else 0.0, worlds)
    lower, upper = expit(logit(share) - half), expit(logit(share) + half)
    return Interval(0.0 if never else float(lower), 1.0 if always else float(upper))
