"""First-difference DID: the template of a new estimator, complete and correct (docs/recipes/estimator.md).

    y_it - y_is = l_t + (x_it - x_is)'b + u_it,   s the period before t

by least squares (Wooldridge 2010, section 10.6). Unit effects cancel in the differences; the period effects l_t are
taken out as means of each period. Copied into a family of estimators/, this file is all that an estimator needs:
tests/test_recipe.py does so. Comments that begin with "Template:" explain the protocol; leave them out of your own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, may_be_floored
from estimators.core.estimator import Estimates, Estimator, Layout, Status, check_names, outcome_of
from estimators.core.tile import Tile, observed_mask, spread, without_singletons
from estimators.linear.covariances import Sample, counted_by_cluster, covariance
from sim.design import Design
from sim.errors import BadInput, bad
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema, period_step
from sim.streams import Streams

Floats = NDArray[np.float64]

EFFECTS = ("period",)  # of the regression of differences


# Template: settings are fields of a frozen dataclass: equal settings are equal objects, and studies hash them. All
# fields need defaults. "NAME: meaning" in the docstring is what `panelproof kinds first-difference` prints.
@dataclass(frozen=True, slots=True)
class FirstDifference(Estimator):
    """Changes of the outcome on changes of treatment and controls, with period effects.

    Differences are those of adjacent periods in which a unit is observed; one that is alone in its period is left out.
    With effects that grow over time, or differ between units, the treatment's coefficient is about the effect in the
    period of adoption, not about the ATT. errors: as of `linear.covariances`, without wild; iid takes the differences'
    errors as independent, which holds when those of levels are a random walk. target: the estimand that the treatment's
    coefficient is held to. label: its name in tables and stores.
    """

    # Template: how studies, `panelproof kinds` and --estimator call it. No other estimator may have this kind.
    kind: ClassVar[str] = "first-difference"

    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    target: str = "att"
    label: str = "first-difference"

    @property
    def name(self) -> str:
        """Its label."""
        return self.label

    # Template: a design, and the terms that must be right there: the conformance suite holds their mean error and the
    # coverage of their intervals, with the last of the error types, to the truth.
    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers, where the effect is the same in all years."""
        return Paper(), ("did", "inv", "road", "book", "tech")

    # Template: what it will return, said before any data, so that a store can be created. Refuse here what the names
    # and sizes of a panel show already: raise BadInput with what, where, what is allowed, what to do.
    def layout(self, schema: Schema) -> Layout:
        """One term a regressor; nobs counts differences; floored:ERROR as in `TwoWayDID`."""
        outcome, regressors = outcome_of(None, schema, self.label), schema.roles.regressors
        check_names(schema, outcome, regressors, self.label)
        check_error_types(self.errors, schema, self.label, "least-squares")
        if schema.roles.treatment is None:
            raise bad(
                "the panel has no treatment", where=self.label, allowed="a treatment", remedy="name the treatment"
            )
        targets = {name: f"beta({name})" for name in regressors} | {schema.roles.treatment: self.target}
        floored = (f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes))
        return Layout(regressors, self.errors, ("nobs", *floored), targets)

    # Template: all that __call__ reads, and nothing else is drawn.
    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, treatment and controls."""
        return frozenset((outcome_of(None, schema, self.label), *schema.roles.regressors))

    # Template: one call fits R panels; a real panel is R = 1. Arrays are (R, T, N); a leading 1 says "the same in all
    # replications", as regressors usually are, and X'X is then inverted once. A panel that cannot serve raises
    # BadInput; a draw that cannot be fitted gets NaN and a status, and changes no other.
    @np.errstate(divide="ignore", invalid="ignore")
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels. Raises BadInput for a panel that cannot serve."""
        layout = self.layout(panel.schema)
        changes = Changes.of(panel, len(layout.terms), self.label)
        x = self._regressors(panel, changes, layout.terms)
        y = spread(changes.of_variable(panel.variables[outcome_of(None, panel.schema, self.label)]), panel.replications)
        bread = ols.invert(self._gram(panel, layout.terms, x))[0]
        beta = np.matmul(bread, ols.inner(x, y)[:, :, None])[:, :, 0]
        # Template: every error type follows from what each cell adds to the estimate, psi (1 or R, K, T, N), and from
        # the residuals (R, T, N), both zero where there is no difference; `Sample` has what the factors count.
        psi = np.reshape(np.matmul(bread, ols.flat(x)), x.shape)
        e = ols.residual(y, x, beta)
        found = {error: covariance(error, psi, e, changes.sample(x.shape[1], self.errors)) for error in self.errors}
        variances = np.stack([np.diagonal(each.matrix, axis1=1, axis2=2) for each in found.values()], axis=1)
        dof = np.array([float(each.dof) for each in found.values()])
        statistics = {f"floored:{error}": each.floored.astype(np.float64) for error, each in found.items()}
        statistics["nobs"] = np.full(len(beta), float(changes.used.nobs))
        return Estimates(
            terms=layout.terms,
            errors=layout.errors,
            estimate=beta,
            se=np.sqrt(variances),
            dof=np.broadcast_to(dof[:, None], variances.shape).copy(),
            status=np.where(np.isfinite(beta).all(axis=1), Status.OK, Status.SINGULAR).astype(np.uint8),
            statistics={name: statistics[name] for name in layout.statistics},
        )

    def _regressors(self, panel: Panel, changes: Changes, names: tuple[str, ...]) -> Floats:
        """Changes of all regressors less their period means, (1 or R, K, T, N)."""
        parts = [changes.of_variable(panel.variables[name]) for name in names]
        seen = observed_mask(panel) > 0
        # Template: those that no replication changes are judged once, and what is wrong is said by name.
        fixed = [
            ols.RegressorColumn(name, f"variable {name!r}", panel.variables[name][:, seen], part)
            for name, part in zip(names, parts, strict=True)
            if len(part) == 1
        ]
        if problems := ols.useless(fixed, self.label):
            raise BadInput(*problems)
        return ols.stack(parts)

    def _gram(self, panel: Panel, names: tuple[str, ...], x: Floats) -> Floats:
        """X'X, (1 or R, K, K); NaN in a draw that has a regressor without changes beside the period effects."""
        gram = ols.gram(x)
        left = np.diagonal(gram, axis1=1, axis2=2)
        gram[ols.any_absorbed(Tile(panel), names, left)] = np.nan
        return gram


@dataclass(frozen=True, eq=False, slots=True)
class Changes:
    """The differences of a panel: those that are used, as a panel without variables, and their pattern (T, N)."""

    used: Panel
    mask: Floats

    @classmethod
    def of(cls, panel: Panel, slopes: int, asked_by: str) -> Changes:
        """All differences of adjacent periods; raises BadInput when they are too few for a number of slopes."""
        seen = observed_mask(panel) > 0
        adjacent = np.diff(panel.periods) == period_step(panel.periods)
        both = np.zeros_like(seen)
        both[1:] = seen[1:] & seen[:-1] & adjacent[:, None]
        frame = Panel(panel.units, panel.periods, {}, panel.roles, panel.attributes, both[None])
        used = without_singletons(frame, EFFECTS)
        found = cls(used, observed_mask(used))
        if used.nobs <= slopes + found.periods:
            raise bad(f"{used.nobs} differences for {slopes + found.periods} parameters", where=asked_by,
                      allowed="more differences than parameters", remedy="drop controls")  # fmt: skip
        return found

    @property
    def periods(self) -> int:
        """Period effects: periods with a difference."""
        return int(self.mask.any(axis=1).sum())

    def of_variable(self, values: Floats) -> Floats:
        """Differences less their means in each period, (1 or R, T, N); zero where there is none."""
        steps = np.where(self.mask > 0, np.diff(values, axis=1, prepend=values[:, :1]), 0.0)
        means = steps.sum(axis=2) / np.maximum(self.mask.sum(axis=1), 1.0)
        return (steps - means[:, :, None]) * self.mask

    def sample(self, slopes: int, errors: tuple[str, ...]) -> Sample:
        """What small-sample factors count; period effects count in clusters that do not nest them."""
        clustered = counted_by_cluster(errors, slopes, self.periods, EFFECTS, self.used, "nonnested")
        return Sample(self.used, self.used.nobs, slopes + self.periods, clustered)
