"""Studies of a claim's estimator on twins: ordinary studies with a grid over the claim's dial, in ordinary stores."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtri

from cluster import Executor, Serial
from estimators.core.estimator import Estimates, Estimator, Status, p_values
from estimators.core.inversion import p_value_errors
from estimators.core.inversion import p_values as ranked
from experiments.run.launch import check_store
from experiments.run.places import ClusterPlace
from experiments.run.resume import Resume
from experiments.run.runner import run, schema_of
from experiments.study import Study
from experiments.trust.claim import PanelClaim
from experiments.twins.twin import Twin
from results.diagnosis.diagnose import diagnose
from results.store import Store
from results.store.zarr_store import ZarrStore
from sim.arrays import Flags, Floats
from sim.errors import BadInput, bad, refuse, type_problems

# How many replications a budget of seconds allows, from a timed pilot.


BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
UNIT = 64  # replications come in multiples of it
LEAST, MOST = 128, 20_000
MAIN = 0.6  # share of the budget that the first method gets


def seconds_of(given: str | float) -> float:
    """A budget such as 60s, 2m or 1h, or a number of seconds, in seconds; raises BadInput for what is none or is
    zero."""
    refuse(type_problems(given, (str, Real), "budget", where="--budget", allowed="a time such as 60s, 2m or 1h"))
    found = BUDGET.fullmatch(given.strip()) if isinstance(given, str) else None
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0 if isinstance(given, str) else float(given)
    if not 0 < seconds < float("inf"):
        raise bad(f"budget {given!r}", where="--budget", allowed="a time above zero such as 60s, 2m or 1h",
                  remedy="use 60s")  # fmt: skip
    return seconds


def check_asked(effect: object, replications: object, where: str) -> None:
    """Raise BadInput for an effect or replications that are no numbers, or fewer than a pilot has; None is none."""
    least = f"a whole number from {UNIT}"
    sizes = () if effect is None else type_problems(effect, Real, "effect", where=where, allowed="a number")
    counts = () if replications is None else type_problems(replications, Integral, "replications", where=where,
                                                           allowed=least)  # fmt: skip
    refuse([*sizes, *counts])
    if isinstance(replications, Integral) and int(replications) < UNIT:
        raise bad(f"replications = {replications}", where=where, allowed=least, remedy="ask for more")


def timed(study: Study, replications: int) -> float:
    """Seconds a replication of a study that is kept nowhere; a first small round is not timed."""
    run(study.resized(replications=UNIT))
    begin = time.perf_counter()
    run(study.resized(replications=replications))
    return (time.perf_counter() - begin) / replications


def shared_out(costs: Mapping[str, tuple[int, float]], budget: float, workers: int = 1) -> dict[str, int]:
    """Replications a cell of each study: the first gets most of the budget, the others equal parts of the rest.

    costs: cells of each study, and seconds a replication in a cell.
    """
    first, *others = costs
    parts = {first: MAIN if others else 1.0} | dict.fromkeys(others, (1.0 - MAIN) / max(len(others), 1))
    return {
        name: int(np.clip(parts[name] * budget * workers / (cells * max(seconds, 1e-9)) // UNIT * UNIT,
                          LEAST, MOST // UNIT * UNIT))
        for name, (cells, seconds) in costs.items()
    }  # fmt: skip


# With what the studies of a claim are run: where their stores are, and on which processes.


BUDGET_FILE = (
    "budget.json"  # beside the stores: the seconds of the largest budget so far, and what they were turned into
)


@dataclass(frozen=True, eq=False, slots=True)
class RunContext:
    """folder: its folder `stores` has a store a study; None = in memory. plan: how a store that is there is resumed."""

    folder: Path | None = None
    executor: Executor = field(default_factory=Serial)
    plan: Resume = field(default_factory=Resume)

    def store(self, name: str) -> Path | None:
        """Where a study's store is."""
        return None if self.folder is None else self.folder / "stores" / f"{name}.zarr"

    def fitting(self, name: str, study: Study) -> Study:
        """The study with the replications of its store where it has one that holds more."""
        store = self.store(name)
        if store is None or not store.exists():
            return study
        return study.resized(replications=max(ZarrStore.open(store).replications, study.replications))

    def remembered(self, seconds: float) -> dict[str, int] | None:
        """Replications a cell by study, of an earlier run whose budget was as large; None where there was none.

        A pilot is never timed alike twice, so without this the same command would add replications each time.
        """
        file = None if self.folder is None else self.folder / "stores" / BUDGET_FILE
        if file is None or not file.is_file():
            return None
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            return dict(held["replications"]) if held["seconds"] >= seconds else None
        except (ValueError, KeyError, TypeError):  # a damaged note costs no more than another pilot
            return None

    def remember(self, seconds: float, replications: Mapping[str, int]) -> None:
        """Keep what a budget was turned into, beside what one as large was turned into earlier."""
        held = self.remembered(seconds) or {}
        if self.folder is None or replications.keys() <= held.keys():
            return
        file = self.folder / "stores" / BUDGET_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = max(seconds, json.loads(file.read_text(encoding="utf-8"))["seconds"]) if held else seconds
        text = json.dumps({"seconds": kept, "replications": dict(replications) | held})
        file.write_text(text, encoding="utf-8")

    def check(self, name: str, study: Study) -> None:
        """Raise BadInput for a store of another study, or one that cannot be written; StoreLocked for one in use."""
        store = self.store(name)
        if store is None:
            return
        try:
            check_store(study, store, self.plan)
        except BadInput as fault:
            if not store.exists() or ZarrStore.open(store).fingerprint == schema_of(study).fingerprint:
                raise
            raise bad("holds the page of another panel, spec or claim", where=str(self.folder),
                      allowed="a folder a page", remedy="choose another --out, or delete it") from fault  # fmt: skip

    def run(self, name: str, study: Study) -> Store:
        """Run what is missing of a study."""
        return run(study, store=self.store(name), executor=self.executor, plan=self.plan)

    def run_all(self, studies: Mapping[str, Study]) -> dict[str, Store]:
        """Run what is missing of several studies: as many at once as there are workers, for a study of one block keeps
        one of them busy."""
        most = min(self.executor.workers, len(studies))
        if most < 2:
            return {name: self.run(name, study) for name, study in studies.items()}
        with ThreadPoolExecutor(most) as pool:
            return dict(zip(studies, pool.map(self.run, studies, studies.values()), strict=True))


@contextmanager
def opened(folder: Path | None, place: ClusterPlace, plan: Resume) -> Iterator[RunContext]:
    """A context on a cluster, which is closed in the end."""
    executor = place.open()
    try:
        yield RunContext(folder, executor, plan)
    finally:
        executor.close()


BLOCK = 256  # replications stored together: what an interruption can cost
SHARES = (0.5, 1.0, 2.0)  # of the estimate at which power is simulated
AROUND = (0.6, 0.8, 1.0, 1.2, 1.5)  # of the expected minimum detectable effect
NEAR = 0.02  # relative distance of two effects of which one is enough
DETECTED = 2.8  # standard deviations that a 5% test finds with a power of about 80%
LEVEL = 0.05
BEYOND = 2.0  # Monte Carlo errors above 5% from which a simulated p value is clearly above it


@dataclass(frozen=True, slots=True)
class MeasureWithError:
    """A measure with its Monte Carlo error, from n fits."""

    value: float
    mcse: float
    n: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class TermFits:
    """What one estimator said of one term on R panels: estimate, se, dof, pvalue (R,), NaN where a fit failed."""

    estimate: Floats
    se: Floats
    dof: Floats
    pvalue: Floats

    @property
    def statistic(self) -> Floats:
        """t, or where an error type has none, the normal quantile of its p value with the estimate's sign."""
        return statistic_of(self.estimate, self.se, self.pvalue)

    def moved(self, effect: float) -> TermFits:
        """The fits if an effect moved every estimate by so much: by t, or where there is no standard error, with the
        one that the p value of the unmoved estimate implies, and no p value below the least of all fits: those of a few
        placebos come in steps."""
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.isfinite(self.se)
            se = np.where(known, self.se, self.estimate / self.statistic)
            dof, estimate = np.where(known, self.dof, np.inf), self.estimate + effect
            least = np.min(self.pvalue, where=~known & np.isfinite(self.pvalue), initial=1.0)
            pvalue = np.maximum(p_values(estimate / se, dof), np.where(known, 0.0, least))
            return TermFits(estimate, self.se, self.dof, pvalue)


def statistic_of(estimate: Floats, se: Floats, pvalue: Floats) -> Floats:
    """t statistics (R,); where there is no standard error, the normal quantile of p with the sign of the estimate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(se), estimate / se, np.sign(estimate) * -ndtri(pvalue / 2))


def fits_of(store: Store, cell: int, estimator: str, term: str, error: str) -> TermFits:
    """One term under one error type in a cell of a store."""
    return fits_in([block.estimates[estimator] for block in store.blocks(cell)], term, error)


def fits_in(found: Sequence[Estimates], term: str, error: str) -> TermFits:
    """One term under one error type of consecutive fits."""
    parts = []
    for fits in found:
        k, e = fits.terms.index(term), fits.errors.index(error)
        estimate, se, dof = fits.estimate[:, k], fits.se[:, e, k], fits.dof[:, e, k]
        with np.errstate(divide="ignore", invalid="ignore"):
            p = p_values(estimate / se, dof) if fits.pvalue is None else fits.pvalue[:, e, k]
            p = np.where(np.isfinite(p), p, p_values(estimate / se, dof))
        parts.append(np.where(fits.status == Status.OK, [estimate, se, dof, p], np.nan))
    return TermFits(*np.concatenate(parts, axis=1))


def calibrated(statistic: float, null: Floats) -> MeasureWithError:
    """The p value (1 + number of |t*| >= |t|) / (B + 1); panels without a t count as extreme.

    statistic: the claim's t; null (B,): those of twins with a zero effect.
    """
    p = ranked(np.array([statistic]), null[None])
    return MeasureWithError(float(p[0]), float(p_value_errors(p, len(null))[0]), len(null))


def is_least(calibrated: MeasureWithError) -> bool:
    """Whether no twin was as large, so that more twins might give a smaller p value."""
    return calibrated.value * (calibrated.n + 1) < 1.5


def within_level(pvalue: Floats | float, mcse: Floats | float) -> Flags:
    """Whether simulated p values are not clearly above 5%; not where there is none."""
    return np.asarray(pvalue - BEYOND * mcse <= LEVEL)


@dataclass(frozen=True, eq=False)
class SimulatedStudy:
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

    def measure(self, name: str, error: str = "", cell: int = 0) -> MeasureWithError:
        """A measure of a cell under an error type; NaN where there is none."""
        rows = self.frame
        here = rows[(rows["measure"] == name) & (rows["error"] == error) & (rows["cell"] == cell)]
        if here.empty:
            return MeasureWithError(float("nan"), float("nan"))
        row = here.iloc[0]
        return MeasureWithError(float(row["value"]), float(row["mcse"]), int(row["n"]))

    def size(self, error: str) -> MeasureWithError:
        """How often a 5% test rejects where the effect is zero."""
        return self.measure("rejection", error)

    def fits(self, error: str, cell: int = 0) -> TermFits:
        """Estimates and tests of every replication of a cell."""
        return fits_of(self.store, cell, self.estimator, self.term, error)


def study_of(claim: PanelClaim, twin: Twin, effects: Sequence[float], replications: int) -> Study:
    """The claim's estimator on a twin, a cell an effect."""
    return Study(
        f"trust-{twin.method}", twin.design, (claim.estimator,), grid=((claim.dial, tuple(effects)),),
        replications=replications, block=BLOCK, seed=claim.real.spec.inference.seed,
        question=f"How does the estimator of the claim {claim.text} do on twins by the method {twin.method}?",
    )  # fmt: skip


def study_on_twins(study: Study, name: str, estimators: Sequence[Estimator], effect: float, replications: int) -> Study:
    """Further estimators on the same twins, at one effect; without an effect the draws are those of the study."""
    dial = study.grid[0][0]
    return Study(name, study.design, tuple(estimators), grid=((dial, (effect,)),), replications=replications,
                 block=BLOCK, seed=study.seed, question="What do the checks of the claim say on twins?")  # fmt: skip


def pilot_of(claim: PanelClaim, twin: Twin) -> Study:
    """The cell without an effect alone: what a pilot runs."""
    return study_of(claim, twin, (0.0,), BLOCK)


def spread_of(claim: PanelClaim, store: Store) -> float:
    """Standard deviation of the estimates of a pilot, to two digits, so that a grid does not hang on rounding."""
    fits = next(iter(store.blocks(0))).estimates[claim.estimator.name]
    values = fits.estimate[fits.status == Status.OK, fits.terms.index(claim.term)]
    return float(f"{np.std(values, ddof=1):.1e}")


def effects_of(claim: PanelClaim, sd: float, asked: float | None = None) -> tuple[float, ...]:
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


def rejections(found: SimulatedStudy, error: str) -> tuple[Floats, Floats, Floats]:
    """Effects, rejections and fits of every cell, (D,) each."""
    shares = [found.measure("rejection", error, cell) for cell in range(len(found.effects))]
    counts = np.array([float(share.n) for share in shares])
    return np.array(found.effects), np.array([share.value for share in shares]) * counts, counts
