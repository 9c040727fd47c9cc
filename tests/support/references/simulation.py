"""Replications of a design through several estimators, as a study would run them: tiles reduced, one block solved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from estimators import Estimates, Estimator, Moments, Reduction, Tile
from sim import Design, Streams, Wanted

Floats = NDArray[np.float64]
TILE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One estimator's answers on R replications with the truths of its targets, (R,) each."""

    estimates: Estimates
    targets: Mapping[str, str]
    truth: Mapping[str, Floats]

    def values(self, term: str) -> Floats:
        """Estimates of a term, (R,)."""
        return self.estimates.estimate[:, self.estimates.terms.index(term)]

    def errors(self, term: str) -> Floats:
        """Estimate minus truth, (R,)."""
        return self.values(term) - self.truth[self.targets[term]]

    def bias_in_sd(self, term: str) -> float:
        """Mean error as a share of the estimates' standard deviation."""
        errors = self.errors(term)
        return float(errors.mean() / errors.std(ddof=1))

    def coverage(self, term: str, error: str | None = None, level: float = 0.95) -> float:
        """Share of intervals that hold the truth."""
        e, k = self.estimates.errors.index(error) if error else 0, self.estimates.terms.index(term)
        se, dof = self.estimates.se[:, e, k], self.estimates.dof[:, e, k]
        tail = 0.5 + level / 2
        quantile = np.where(np.isinf(dof), norm.ppf(tail), t.ppf(tail, np.where(np.isinf(dof), 1.0, dof)))
        return float((np.abs(self.errors(term)) <= quantile * se).mean())


def simulate(design: Design, estimators: Mapping[str, Estimator], replications: int, seed: int) -> dict[str, Outcome]:
    """Every estimator on the same `replications` draws of a design, by the names given."""
    streams = Streams(seed, "simulation")
    schema = design.schema
    world = design.settle(streams)
    targets = {name: estimator.layout(schema).targets for name, estimator in estimators.items()}
    wanted = Wanted(
        frozenset().union(*(estimator.variables(schema) for estimator in estimators.values())),
        tuple(dict.fromkeys(target for each in targets.values() for target in each.values())),
    )
    reductions = {name: _reduction(estimator, schema) for name, estimator in estimators.items()}
    plans: dict[Reduction, object] = {}
    moments: dict[Reduction, list[Moments]] = {reduction: [] for reduction in reductions.values()}
    truths = []
    for start in range(0, replications, TILE):
        draw = world.draw(streams.tile(start, min(start + TILE, replications)), wanted)
        tile = Tile(draw.panel)
        for reduction, parts in moments.items():
            if reduction not in plans:
                plans[reduction] = reduction.prepare(draw.panel)
            parts.append(reduction.reduce(plans[reduction], tile))
        truths.append(draw.truth)
    joined = {reduction: type(parts[0]).join(parts) for reduction, parts in moments.items()}
    truth = {name: np.concatenate([part[name] for part in truths]) for name in wanted.estimands}
    return {
        name: Outcome(estimator.solve(plans[reductions[name]], joined[reductions[name]], schema, streams),
                      targets[name], truth)
        for name, estimator in estimators.items()
    }  # fmt: skip


def _reduction(estimator: Estimator, schema: object) -> Reduction:
    reduction = estimator.reduction(schema)  # type: ignore[arg-type]
    assert reduction is not None
    return reduction
