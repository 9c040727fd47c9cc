"""Records made up in memory: any arrays, fits of several worlds, and the paper design fitted by the real estimators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estimators import SpatialPanel, TwoWayDID
from estimators.core.estimator import Estimates, Layout, Status
from results.diagnosis.fits import FirstPass, Fits, SecondPass, measures_by_error, measures_by_term
from results.diagnosis.measures import Grouping, Measured
from results.store.block import Block
from sim.design import Wanted
from sim.presets import Paper
from sim.streams import Streams

Arrays = dict[str, np.ndarray]
RUN = 32
DOF = 9.0


@dataclass(frozen=True)
class MadeUpRecords:
    """Whole cells, handed out in blocks of `block` replications."""

    cells: Sequence[Mapping[str, object]]
    layouts: Mapping[str, Layout]
    draws: Sequence[Block]
    block: int
    worlds: int = 1
    held_fixed: tuple[str, ...] = ()
    claims: Sequence[Mapping[str, Any]] = ()

    def blocks(self, cell: int) -> Iterator[Block]:
        whole = self.draws[cell]
        for start in range(0, whole.replications, self.block):
            rows = slice(start, start + self.block)
            yield Block(
                truth={name: values[rows] for name, values in whole.truth.items()},
                estimates={name: estimates.take(rows) for name, estimates in whole.estimates.items()},
                tracebacks={},
                start=start,
            )


@dataclass(frozen=True)
class Sample:
    """One estimator's arrays: theta, estimate (R, K), se (R, E, K) and what differs from the default."""

    theta: np.ndarray
    estimate: np.ndarray
    se: np.ndarray
    dof: float = 12.0
    status: np.ndarray | None = None
    stored: Mapping[str, np.ndarray] | None = None


def made_up(
    cells: Sequence[tuple[Mapping[str, object], Mapping[str, Sample]]],
    block: int = 64,
    worlds: int = 1,
    held_fixed: tuple[str, ...] = (),
    claims: Sequence[Mapping[str, Any]] = (),
) -> MadeUpRecords:
    """Records of (parameters, samples by estimator); estimator a has terms t0, t1, ... and targets beta(a0), ..."""
    layouts: dict[str, Layout] = {}
    draws = []
    for _, samples in cells:
        truth: dict[str, np.ndarray] = {}
        estimates = {}
        for name, sample in samples.items():
            r, e, k = sample.se.shape
            terms, errors = tuple(f"t{i}" for i in range(k)), ("one", "two", "three")[:e]
            targets = {term: f"beta({name}{i})" for i, term in enumerate(terms)}
            layouts[name] = Layout(terms, errors, (), targets, tuple(sample.stored or ()))
            truth |= {targets[term]: sample.theta[:, i] for i, term in enumerate(terms)}
            status = np.full(r, Status.OK) if sample.status is None else sample.status
            extra: dict[str, Any] = dict(sample.stored or {})
            dof = np.full(sample.se.shape, sample.dof)
            estimates[name] = Estimates(
                terms, errors, sample.estimate, sample.se, dof, status.astype(np.uint8), **extra
            )
        draws.append(Block(truth, estimates, {}, 0))
    return MadeUpRecords([parameters for parameters, _ in cells], layouts, draws, block, worlds, held_fixed, claims)


def fit_paper(replications: int, block: int = 64) -> MadeUpRecords:
    """Four cells of the paper design, two-way DID and a Durbin model."""
    fitters = (TwoWayDID(), SpatialPanel("sdm", "lee-yu"))
    cells = [{"effect": effect, "spillover": spillover} for effect in (0.0, 0.0157) for spillover in ("none", "paper")]
    draws, layouts = [], {}
    for parameters in cells:
        design = Paper(**parameters)  # type: ignore[arg-type]
        layouts = {fitter.name: fitter.layout(design.schema) for fitter in fitters}
        estimands = tuple(dict.fromkeys(name for layout in layouts.values() for name in layout.targets.values()))
        variables = frozenset().union(*(fitter.variables(design.schema) for fitter in fitters))
        draw = design.draw(Streams(11, "cell", 0, replications), Wanted(variables, estimands))
        draws.append(Block(draw.truth, {fitter.name: fitter(draw.panel) for fitter in fitters}, {}, 0))
    return MadeUpRecords(cells, layouts, draws, block)


def draw(rng: np.random.Generator, rows: int, columns: int, worlds: int, share: float = 0.3) -> Arrays:
    """Errors, truths and standard errors of which a part is common to a world: whole runs of 32 go round the worlds."""
    world = np.arange(rows) // RUN % worlds
    common = rng.standard_normal((3, worlds, columns))[:, world]
    own = rng.standard_normal((3, rows, columns))
    z = np.sqrt(share) * common + np.sqrt(1 - share) * own
    theta, scale = 1.0 + 0.2 * z[0], np.exp(0.3 * z[1])
    return {"theta": theta, "estimate": theta + 0.1 + 0.5 * scale * z[2], "se": 0.45 * scale, "world": world}


def value_of(frame: Any, measure: str, **where: Any) -> Any:
    for key, wanted in where.items():
        frame = frame[frame[key] == wanted]
    rows = frame[frame["measure"] == measure]
    assert len(rows) == 1, (measure, where, len(rows))
    return rows.iloc[0]


def two_passes(x: Arrays, critical: float, worlds: int = 1) -> SecondPass:
    """Both passes over the fits of as many studies as there are columns: a study is a term."""
    estimate, se = x["estimate"], x["se"][:, None, :]
    statistic, ok = np.abs(estimate[:, None, :]) / se, np.full(len(estimate), Status.OK, dtype=np.uint8)
    lower, upper = (estimate[:, None, :] + side * critical * se for side in (-1, 1))
    world = x.get("world", np.zeros(len(ok), dtype=np.intp))
    fits = Fits(estimate, x["theta"], se, lower, upper, statistic, statistic >= critical,
                np.ones(statistic.shape, dtype=bool), np.empty((len(ok), 0)), ok == Status.OK, ok, world)  # fmt: skip
    rows = Grouping.of(world) if worlds > 1 else None
    first = FirstPass(estimate.shape[1], 1, 0, 0.05, worlds)
    first.add(fits, fits.ok, rows)
    second = SecondPass(first)
    second.add(fits, fits.ok, rows)
    return second


def measured(second: SecondPass) -> dict[str, Measured]:
    """Every measure of each study."""
    by_error = measures_by_error(second).items()
    return measures_by_term(second) | {name: Measured(*(part[0] for part in item)) for name, item in by_error}


def to_the_spread(value: np.ndarray, mcse: np.ndarray) -> tuple[float, float]:
    """The root mean square of Monte Carlo errors over the spread of a measure, and the ratio's own relative error."""
    kurtosis = ((value - value.mean()) ** 4).mean() / value.var() ** 2
    return float(np.sqrt((mcse**2).mean()) / value.std(ddof=1)), float(np.sqrt((kurtosis - 1) / (4 * len(value))))
