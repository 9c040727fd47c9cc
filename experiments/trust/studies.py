"""Studies of a claim's estimator on twins: ordinary studies with a grid over the claim's dial, in ordinary stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import ndtri

from estimators.core.estimator import Estimates, Estimator, Status, p_values
from estimators.core.inversion import p_value_errors
from estimators.core.inversion import p_values as ranked
from experiments.study.study import Study
from experiments.trust.claim import Claim
from experiments.twins.twin import Twin
from results.diagnosis.diagnose import diagnose
from results.store import Store
from sim.arrays import Flags, Floats

BLOCK = 256  # replications stored together: what an interruption can cost
SHARES = (0.5, 1.0, 2.0)  # of the estimate at which power is simulated
AROUND = (0.6, 0.8, 1.0, 1.2, 1.5)  # of the expected minimum detectable effect
NEAR = 0.02  # relative distance of two effects of which one is enough
DETECTED = 2.8  # standard deviations that a 5% test finds with a power of about 80%
LEVEL = 0.05
BEYOND = 2.0  # Monte Carlo errors above 5% from which a simulated p value is clearly above it


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure and its Monte Carlo error."""

    value: float
    mcse: float


@dataclass(frozen=True, eq=False, slots=True)
class Fits:
    """What one estimator said of one term on R panels: estimate, se, dof, pvalue (R,), NaN where a fit failed."""

    estimate: Floats
    se: Floats
    dof: Floats
    pvalue: Floats

    @property
    def statistic(self) -> Floats:
        """t, or where an error type has none, the normal quantile of its p value with the estimate's sign."""
        return statistic_of(self.estimate, self.se, self.pvalue)

    def moved(self, effect: float) -> Fits:
        """The fits if an effect moved every estimate by so much: by t, or where there is no standard error, with the
        one that the p value of the unmoved estimate implies, and no p value below the least of all fits: those of a few
        placebos come in steps."""
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.isfinite(self.se)
            se = np.where(known, self.se, self.estimate / self.statistic)
            dof, estimate = np.where(known, self.dof, np.inf), self.estimate + effect
            least = np.min(self.pvalue, where=~known & np.isfinite(self.pvalue), initial=1.0)
            pvalue = np.maximum(p_values(estimate / se, dof), np.where(known, 0.0, least))
            return Fits(estimate, self.se, self.dof, pvalue)


def statistic_of(estimate: Floats, se: Floats, pvalue: Floats) -> Floats:
    """t statistics (R,); where there is no standard error, the normal quantile of p with the sign of the estimate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(se), estimate / se, np.sign(estimate) * -ndtri(pvalue / 2))


def fits_of(store: Store, cell: int, estimator: str, term: str, error: str) -> Fits:
    """One term under one error type in a cell of a store."""
    return fits_in([block.estimates[estimator] for block in store.blocks(cell)], term, error)


def fits_in(found: Sequence[Estimates], term: str, error: str) -> Fits:
    """One term under one error type of consecutive fits."""
    parts = []
    for fits in found:
        k, e = fits.terms.index(term), fits.errors.index(error)
        estimate, se, dof = fits.estimate[:, k], fits.se[:, e, k], fits.dof[:, e, k]
        with np.errstate(divide="ignore", invalid="ignore"):
            p = p_values(estimate / se, dof) if fits.pvalue is None else fits.pvalue[:, e, k]
            p = np.where(np.isfinite(p), p, p_values(estimate / se, dof))
        parts.append(np.where(fits.status == Status.OK, [estimate, se, dof, p], np.nan))
    return Fits(*np.concatenate(parts, axis=1))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """(1 + number of |t*| >= |t|) / (B + 1) and its Monte Carlo error; panels without a t count as extreme. least: no
    twin was as large, so that more twins might give a smaller one."""

    pvalue: float
    mcse: float
    least: bool = False


def calibrated(statistic: float, null: Floats) -> Calibrated:
    """statistic: the claim's t; null (B,): those of twins with a zero effect."""
    p = ranked(np.array([statistic]), null[None])
    return Calibrated(float(p[0]), float(p_value_errors(p, len(null))[0]), bool(p[0] * (len(null) + 1) < 1.5))


def within_level(pvalue: Floats | float, mcse: Floats | float) -> Flags:
    """Whether simulated p values are not clearly above 5%; not where there is none."""
    return np.asarray(pvalue - BEYOND * mcse <= LEVEL)


@dataclass(frozen=True, eq=False)
class Simulated:
    """What the study of one method found. effects (D,): of its cells, the first 0. votes: its twins are a null."""

    method: str
    study: Study
    store: Store
    term: str
    votes: bool = True

    @property
    def estimator(self) -> str:
        """Its name in the store."""
        return self.study.estimators[0].name

    @property
    def effects(self) -> tuple[float, ...]:
        """The values of the dial, 0 first."""
        return tuple(float(value) for value in self.study.grid[0][1])

    @property
    def errors(self) -> tuple[str, ...]:
        """Error types."""
        return self.store.layouts[self.estimator].errors

    @property
    def replications(self) -> int:
        """A cell."""
        return self.store.replications

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The diagnosis of the term."""
        found = diagnose(self.store, LEVEL).frame
        return found[(found["term"] == self.term) & (found["sample"] == "own")]

    def measure(self, name: str, error: str = "", cell: int = 0) -> Measure:
        """A measure of a cell under an error type; NaN where there is none."""
        rows = self.frame
        here = rows[(rows["measure"] == name) & (rows["error"] == error) & (rows["cell"] == cell)]
        if here.empty:
            return Measure(float("nan"), float("nan"))
        return Measure(float(here["value"].iloc[0]), float(here["mcse"].iloc[0]))

    def size(self, error: str) -> Measure:
        """How often a 5% test rejects where the effect is zero."""
        return self.measure("rejection", error)

    def count(self, error: str, cell: int) -> int:
        """Fits behind the rejection of a cell."""
        rows = self.frame
        here = rows[(rows["measure"] == "rejection") & (rows["error"] == error) & (rows["cell"] == cell)]
        return 0 if here.empty else int(here["n"].iloc[0])

    def fits(self, error: str, cell: int = 0) -> Fits:
        """Estimates and tests of every replication of a cell."""
        return fits_of(self.store, cell, self.estimator, self.term, error)

    def null_statistics(self, error: str) -> Floats:
        """t statistics of the panels without an effect, (B,), NaN where a fit failed."""
        return self.fits(error).statistic


def study_of(claim: Claim, twin: Twin, effects: Sequence[float], replications: int) -> Study:
    """The claim's estimator on a twin, a cell an effect."""
    return Study(
        f"trust-{twin.method}", twin.design, (claim.estimator,), grid=((claim.dial, tuple(effects)),),
        replications=replications, block=BLOCK, seed=claim.real.spec.inference.seed,
        question=f"How does the estimator of the claim {claim.text} do on twins by the method {twin.method}?",
    )  # fmt: skip


def beside(study: Study, name: str, estimators: Sequence[Estimator], effect: float, replications: int) -> Study:
    """Further estimators on the same twins, at one effect; without an effect the draws are those of the study."""
    dial = study.grid[0][0]
    return Study(name, study.design, tuple(estimators), grid=((dial, (effect,)),), replications=replications,
                 block=BLOCK, seed=study.seed, question="What do the checks of the claim say on twins?")  # fmt: skip


def pilot_of(claim: Claim, twin: Twin) -> Study:
    """The cell without an effect alone: what a pilot runs."""
    return study_of(claim, twin, (0.0,), BLOCK)


def spread_of(claim: Claim, store: Store) -> float:
    """Standard deviation of the estimates of a pilot, to two digits, so that a grid does not hang on rounding."""
    fits = next(iter(store.blocks(0))).estimates[claim.estimator.name]
    values = fits.estimate[fits.status == Status.OK, fits.terms.index(claim.term)]
    return float(f"{np.std(values, ddof=1):.1e}")


def effects_of(claim: Claim, sd: float, asked: float | None = None) -> tuple[float, ...]:
    """Zero, half the estimate, the estimate, twice the estimate, the effect that is asked for, and effects around the
    expected detectable one."""
    sign = -1.0 if claim.estimate < 0 else 1.0
    wanted = [share * abs(claim.estimate) for share in SHARES]
    wanted += [] if asked is None else [abs(asked)]
    for share in AROUND:
        effect = share * DETECTED * sd
        if all(abs(effect - other) > NEAR * effect for other in wanted):
            wanted.append(effect)
    return (0.0, *(sign * effect for effect in sorted({*wanted} - {0.0})))


def short_effects_of(claim: Claim) -> tuple[float, ...]:
    """Zero and the estimate: for the methods that the first is compared with."""
    return 0.0, claim.estimate


def rejections(found: Simulated, error: str) -> Mapping[str, Floats]:
    """Effects, rejections and fits of every cell, (D,) each."""
    cells = range(len(found.effects))
    counts = np.array([float(found.count(error, cell)) for cell in cells])
    shares = np.array([found.measure("rejection", error, cell).value for cell in cells])
    return {"effects": np.array(found.effects), "rejected": shares * counts, "counts": counts}
