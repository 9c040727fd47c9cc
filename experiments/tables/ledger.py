"""Where the tables of one panel are collected: records, fit statistics, notes for the reader, fits that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from estimators.core.error_types import groups_of, kind_of
from estimators.core.estimator import Estimates, Estimator, Status
from estimators.linear.covariances import cells_of, count_clusters
from estimators.linear.few_clusters import ADJUSTED
from experiments.run.runner import run
from experiments.study import Study
from results.tables.records import (
    Figure,
    Fit,
    Record,
    Specification,
    clusters_of,
    records_of,
    statistic_of,
    statistics_of,
)
from results.text import joined
from sim.errors import BadInput, listed
from sim.panel import Panel, seen_in
from sim.real_panels import Observed

CLUSTERED = ("cluster", *ADJUSTED)  # kinds of error types whose tables say how many clusters there are


@dataclass(frozen=True, eq=False, slots=True)
class FittedColumn:
    """An estimator on a panel and what it said, for whoever wants to ask another program the same."""

    panel: Panel
    estimator: Estimator
    fit: Fit
    estimates: Estimates


@dataclass(eq=False, slots=True)
class Ledger:
    """Grows table by table. `seed` is that of everything that is drawn: bootstraps, permutations, simulations.

    pictures: whether figures are drawn, which takes longer than many tables.
    """

    seed: int
    pictures: bool = True
    records: list[Record] = field(default_factory=list)
    statistics: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    fitted: list[FittedColumn] = field(default_factory=list)
    specifications: list[Specification] = field(default_factory=list)
    left_out: dict[tuple[str, tuple[str, ...]], list[Fit]] = field(default_factory=dict)

    def fit(self, panel: Panel, fits: Mapping[Estimator, Fit]) -> dict[Estimator, Estimates]:
        """Fit estimators (of distinct names) on one panel through the runner and keep what they say.

        Returns the estimates of those that succeeded; one that did not is a failure in words, and no column; one that
        refuses the panel is a note that says why.
        """
        study = Study("estimate", Observed(panel), tuple(fits), replications=1, block=64, seed=self.seed)
        block = next(iter(run(study).blocks(0)))
        found = {}
        for estimator, fit in fits.items():
            estimates = block.estimates[estimator.name]
            if estimates.status[0] == Status.REFUSED:
                self.note(f"No column {estimator.name}: {_refusal(estimator, panel)}.")
            elif self.succeeded(estimator.name, estimates):
                self.keep(estimator.used(panel), fit, estimates)
                self._say_singletons(panel, fit, estimates)
                self.fitted.append(FittedColumn(panel, estimator, fit, estimates))
                found[estimator] = estimates
        return found

    def _say_singletons(self, panel: Panel, fit: Fit, estimates: Estimates) -> None:
        """A note on observations that the regression leaves out because they are alone in a level of an effect."""
        left_out = panel.nobs - int(estimates.statistics.get("nobs", [panel.nobs])[0])
        if left_out:
            table, column = fit.place
            self.note(f"Table {table}, column {column} leaves out {left_out} singleton observations. Each is the only "
                      "observation of a unit, a period or a group in a period, and the effects fit it "
                      "exactly.")  # fmt: skip

    def succeeded(self, name: str, estimates: Estimates) -> bool:
        """Whether a fit has estimates; one that has none is a failure in words."""
        status = Status(int(estimates.status[0]))
        if status is not Status.OK:
            self.failures.append(f"No column {name}: {_why(estimates, status)}.")
        return status is Status.OK

    def keep(self, panel: Panel, fit: Fit, estimates: Estimates, nobs: int | None = None) -> None:
        """Keep estimates and how many clusters there are but those of units.

        panel: the part that the estimates rest on. nobs: the rows of the regression where they are not that panel's.
        """
        seen = seen_in(panel)
        units, periods = int(seen.any(axis=0).sum()), int(seen.any(axis=1).sum())
        self.records += records_of(fit, estimates, panel.nobs if nobs is None else nobs, units, periods)
        self.statistics += statistics_of(fit, estimates)
        for error in estimates.errors:
            names = groups_of(error, tuple(panel.attributes)) if kind_of(error) in CLUSTERED else ()
            if names not in ((), ("unit",)):
                fewest = min(count_clusters(cells_of(name, panel), panel) for name in names)
                self.value(fit, clusters_of(error), float(fewest))

    def value(self, fit: Fit, name: str, value: float | None, term: str | None = None) -> None:
        """Keep one more statistic of a fit, of one of its terms or of all."""
        self.statistics.append(statistic_of(fit, name, value, term))

    def values(self, fit: Fit, found: Mapping[str, float | None], term: str | None = None) -> None:
        """Keep several statistics of a fit, or of one of its terms, by name."""
        for name, value in found.items():
            self.value(fit, name, value, term)

    def draw[**P](self, make: Callable[P, Figure], *arguments: P.args, **choices: P.kwargs) -> None:
        """Keep a figure."""
        if self.pictures:
            self.figures.append(make(*arguments, **choices))

    def note(self, text: str) -> None:
        """Tell the reader something, once."""
        if text not in self.notes:
            self.notes.append(text)

    def leave_out(self, fit: Fit, errors: tuple[str, ...]) -> None:
        """Tell the reader, in one note for all columns of a table, that they lack error types for want of clusters."""
        fits = self.left_out.setdefault((fit.table, errors), [])
        said = _left_out(fits, errors)
        fits.append(fit)
        if said in self.notes:
            self.notes[self.notes.index(said)] = _left_out(fits, errors)
        else:
            self.note(_left_out(fits, errors))


def _left_out(fits: Sequence[Fit], errors: tuple[str, ...]) -> str:
    if not fits:
        return ""
    columns = joined([f"{fit.column} ({fit.sample})" for fit in fits], len(fits))
    many, have = ("s", "have") if len(fits) > 1 else ("", "has")
    kinds = joined(errors, len(errors))
    return f"Table {fits[0].table}, column{many} {columns} {have} no {kinds} errors: they need 2 clusters."


def reasons(error: BadInput) -> str:
    """What is wrong, in words."""
    return listed(problem.what for problem in error.problems)


def _refusal(estimator: Estimator, panel: Panel) -> str:
    """Why an estimator refuses a panel: the runner keeps that it does."""
    try:
        estimator(panel)
    except BadInput as error:
        return reasons(error)
    return Status.REFUSED.meaning


def _why(estimates: Estimates, status: Status) -> str:
    """Why a fit failed, with the place where the search for rho or lambda ended."""
    for name in ("rho", "lambda"):
        if status is Status.NOT_CONVERGED and name in estimates.terms:
            at = estimates.estimate[0, estimates.terms.index(name)]
            return f"the likelihood rises to the edge of the interval, {name} = {at:.4f}"
    return status.meaning
