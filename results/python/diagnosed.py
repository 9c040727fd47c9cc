"""A diagnosis that answers in Python: tables, pictures, contrasts, labelled arrays, a summary.

Each method calls a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from results.charts.plots import Plots
from results.diagnosis.contrast import Target
from results.diagnosis.diagnose import Diagnosis
from results.diagnosis.diagnose import diagnose as reduce
from results.diagnosis.labelled import labelled
from results.notebook import diagnosis_card, diagnosis_text
from results.pivots.frames import Number, table
from results.python.contrasts import contrasts
from results.store.block import Records
from sim.notebook import Text

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def diagnose(
    records: Records, alpha: float = 0.05, measures: Mapping[str, Callable[..., Any]] | None = None
) -> Diagnosed:
    """Every measure of docs/measures.md; alpha is the level of tests and of intervals that are not stored.

    measures: functions of your own by name, as `results/diagnosis/own_measures.py` says. Raises BadInput for their
    faults.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> diagnosis = pp.diagnose(pp.run(study))
    >>> diagnosis.frame.query("measure == 'coverage' and term == 'did'")["error"].tolist()
    ['iid', 'hc1', 'cluster:unit']
    """
    found = reduce(records, alpha, measures)
    return Diagnosed(**{each.name: getattr(found, each.name) for each in fields(found)}, records=records)


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosed(Diagnosis):
    """A diagnosis with the records that it was made of.

    >>> import panelproof as pp
    >>> study = pp.Study(
    ...     "mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=128, block=64, worlds=2
    ... )
    >>> diagnosis = pp.diagnose(pp.run(study))
    """

    records: Records = field(kw_only=True, repr=False)

    def table(self, rows: str | Sequence[str] = (), columns: str | Sequence[str] = (), measure: str = "", *,
              term: str | None = None, number: Number = "value", sample: str = "own") -> pd.DataFrame:  # fmt: skip
        """One measure as a table. rows, columns: dials, "estimator", "term" or "error"; whatever else varies is added
        to the rows.

        measure: power, size, coverage, bias, rmse or another of docs/measures.md, by default the one that answers the
        study. term: by default the key term of each estimator. number: its value, its Monte Carlo error (mcse), an end
        of its 95% Monte Carlo interval (lower, upper), or the fits behind it (n). Raises BadInput for unknown names.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=64, block=64)
        >>> diagnosis = pp.diagnose(pp.run(study))
        >>> table = diagnosis.table(rows="effect", columns="error", measure="power")
        >>> table.shape
        (2, 3)
        """
        return table(self, _names(rows), _names(columns), measure, term=term, number=number, sample=sample)

    @property
    def plot(self) -> Plots:
        """Pictures: `.plot.power()`, `.coverage()`, `.bias()`, `.size()`, `.rmse()`, `.zip()`, `.scatter()`, or
        `.plot("mean_se")` of any other measure; each is a figure of matplotlib.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=64, block=64)
        >>> figure = pp.diagnose(pp.run(study)).plot.coverage()
        >>> figure.savefig("coverage.pdf")
        """
        return Plots(self, self.records)

    def contrast(self, a: str | Target, b: str | Target, *, cell: int | None = None) -> pd.DataFrame:
        """A minus B on the draws where both succeeded, with paired Monte Carlo errors, in every cell or in one.

        a, b: names of estimators, which stand for their key terms and usual errors, or (estimator, term, error type).
        Rows are the dials and measure (bias_difference, mse_difference, coverage_difference, relative_precision);
        columns value, mcse, lower, upper, n, attempted. Raises BadInput for unknown names.

        >>> import panelproof as pp
        >>> both = pp.TwoWayDID(), pp.TwoWayDID(errors=("iid",), label="iid")
        >>> diagnosis = pp.diagnose(pp.run(pp.Study("mine", pp.Paper(), both, replications=64, block=64)))
        >>> float(diagnosis.contrast("did", "iid").loc["bias_difference", "value"])
        0.0
        """
        return contrasts(self, self.records, a, b, cell)

    def to_xarray(self, sample: str = "own") -> xr.DataTree:
        """Every measure by dials, estimator, term and error type; its `mcse`, `lower`, `upper` and `n` are groups.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=64, block=64)
        >>> found = pp.diagnose(pp.run(study)).to_xarray()
        >>> found["coverage"].dims
        ('effect', 'estimator', 'term', 'error')
        >>> found["mcse/bias"].dims
        ('effect', 'estimator', 'term')
        """
        return labelled(self, sample)

    def summary(self) -> Text:
        """The answer of the study in sentences, then one line an estimator, as text.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
        >>> "did" in pp.diagnose(pp.run(study)).summary()
        True
        """
        return diagnosis_text(self)

    def _repr_html_(self) -> str:
        return diagnosis_card(self)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
