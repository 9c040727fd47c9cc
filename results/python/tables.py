"""The tables of a panel as users of Python hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from results.tables import frames
from results.tables.frames import Selection
from results.tables.records import Document
from sim.notebook import Text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Tables(Document):
    """All estimates on one panel, or a part of them, under the names of statsmodels and linearmodels.

    `tables["2"]` is one table, `tables["2", 5]` one column. Of all of them there are `.params`, `.std_errors`,
    `.tstats`, `.pvalues`, `.conf_int()` and `.summary()`, whose index says table, column and term.

    >>> import panelproof as pp
    >>> tables = pp.estimate(pp.example_panel())
    >>> print(tables["2", 5].params.round(3)["did"])
    0.03
    >>> tables["2", 5].conf_int().loc["did"].round(3).tolist()
    [0.022, 0.038]
    >>> print(tables["2", 5].with_errors("iid").std_errors.round(4)["did"])
    0.0062
    >>> print(tables["2", 5].summary().splitlines()[0])
    Table 2, column 5 (all): did, 57 units in 18 periods, 1,026 rows; errors: clustered by unit
    >>> tables["7", 3].params.index.names
    FrozenList(['transform', 'term'])

    place: of a part, which of table and column it is one of. errors: the error type that is shown, None = the usual
    one.
    """

    place: tuple[str, ...] = ()
    errors: str | None = None

    @classmethod
    def of(cls, document: Document) -> Tables:
        """The same that answers."""
        return cls(**{each.name: getattr(document, each.name) for each in fields(Document)})

    @property
    def shown(self) -> frames.Shown:
        """What pandas objects are made of."""
        return frames.Shown(self, self.place, self.errors)

    def _part(self, kept: Mapping[str, Any], place: tuple[str, ...]) -> Tables:
        return replace(self, **kept, place=place)

    def __getitem__(self, key: Selection) -> Tables:
        """One table, `tables["2"]`, or one column of it, `tables["2", 5]`. Raises BadInput where there is none."""
        return self._part(*frames.chosen(self, key))

    @property
    def params(self) -> pd.Series:
        """The estimates, by table, column, what else tells the fits of a column apart, and term."""
        return frames.series(self.shown, "estimate", "parameter")

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors of the type that the tables print, indexed as `params`; see `with_errors`."""
        return frames.series(self.shown, "se", "std_error")

    @property
    def tstats(self) -> pd.Series:
        """Estimates over their standard errors, indexed as `params`."""
        return frames.series(self.shown, "statistic", "tstat")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values, indexed as `params`."""
        return frames.series(self.shown, "pvalue", "pvalue")

    def conf_int(self) -> pd.DataFrame:
        """The 95% intervals, in columns lower and upper, indexed as `params`."""
        return frames.intervals(self.shown)

    def with_errors(self, kind: str) -> Tables:
        """The same that shows errors of a type, such as "hc1", where a fit has them. Raises BadInput for another."""
        return replace(self, errors=frames.checked_errors(self, kind))

    def summary(self) -> Text:
        """One column as a table of coefficients; a whole table, or all of them, as `show` prints them."""
        return frames.summary(self.shown)

    def _repr_html_(self) -> str:
        return frames.document_card(self.shown)
