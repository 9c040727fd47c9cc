"""Estimates as pandas objects, under the names of statsmodels and linearmodels.

An estimate has one standard error an error type. Shown is the usual one: the first clustered type, else that of the
information matrix, else the last; `Estimates.with_errors` chooses another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from estimators.core.inference import critical_values, p_values, usual_error
from sim.arrays import Floats
from sim.errors import bad, closest, one_of
from sim.panel import Text, card

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05
HEADS = ("term", "estimate", "std. error", "t", "p", "lower", "upper")


class Fitted(Protocol):
    """What is read of `Estimates`."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the K terms."""
        ...

    @property
    def errors(self) -> tuple[str, ...]:
        """Names of the E error types."""
        ...

    @property
    def estimate(self) -> Floats:
        """The estimates, (R, K)."""
        ...

    @property
    def se(self) -> Floats:
        """Standard errors, (R, E, K)."""
        ...

    @property
    def dof(self) -> Floats:
        """Degrees of freedom, (R, E, K)."""
        ...

    @property
    def pvalue(self) -> Floats | None:
        """P values that do not follow from them, (R, E, K)."""
        ...

    @property
    def lower(self) -> Floats | None:
        """Ends of intervals that do not follow from them, (R, E, K)."""
        ...

    @property
    def upper(self) -> Floats | None:
        """The other ends, (R, E, K)."""
        ...


def params(found: Fitted) -> pd.Series:
    """The estimates by term; of several panels by (replication, term)."""
    return _series(found, found.estimate, "parameter")


def std_errors(found: Fitted) -> pd.Series:
    """Standard errors of the usual type, indexed as `params`."""
    return _series(found, _of_error(found, found.se), "std_error")


def tstats(found: Fitted) -> pd.Series:
    """Estimates over their standard errors, indexed as `params`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _series(found, found.estimate / _of_error(found, found.se), "tstat")


def pvalues(found: Fitted) -> pd.Series:
    """Two-sided p values against 0: the estimator's own where it gave some, else those of t, indexed as `params`."""
    computed = p_values(tstats(found).to_numpy().reshape(found.estimate.shape), _of_error(found, found.dof))
    return _series(found, _stored(found, found.pvalue, computed), "pvalue")


def conf_int(found: Fitted, alpha: float = LEVEL) -> pd.DataFrame:
    """Ends of intervals at level 1 - alpha in columns lower and upper, indexed as `params`.

    Raises BadInput for another level than 95% where the estimator gave the ends itself.
    """
    if not 0 < alpha < 1:
        raise bad(f"alpha = {alpha}", where="conf_int", allowed="a number between 0 and 1",
                  remedy="write 0.05 for intervals of 95%")  # fmt: skip
    own = [ends is not None and bool(np.isfinite(ends).any()) for ends in (found.lower, found.upper)]
    if any(own) and alpha != LEVEL:
        raise bad(f"alpha = {alpha} of intervals that are kept as they were estimated", where="conf_int",
                  allowed=f"{LEVEL}", remedy="leave alpha out, or choose another error type")  # fmt: skip
    dof = _of_error(found, found.dof)
    margin = critical_values(dof, alpha) * _of_error(found, found.se)
    lower = _stored(found, found.lower, found.estimate - margin)
    upper = _stored(found, found.upper, found.estimate + margin)
    return _series(found, lower, "lower").to_frame().assign(upper=_series(found, upper, "upper"))


def of_error(found: Fitted, kind: str) -> dict[str, Any]:
    """The fields of the same with one of its error types. Raises BadInput for another."""
    if kind not in found.errors:
        raise bad(f"no error type {kind!r}", where="with_errors", allowed=one_of(found.errors),
                  remedy=closest(kind, found.errors))  # fmt: skip
    at = [found.errors.index(kind)]
    arrays = {name: getattr(found, name) for name in ("se", "dof", "pvalue", "lower", "upper")}
    return {"errors": (kind,)} | {name: x[:, at] for name, x in arrays.items() if x is not None}


def coefficients(found: Fitted) -> pd.DataFrame:
    """All of them side by side, indexed as `params`."""
    import pandas as pd

    columns = [params(found), std_errors(found), tstats(found), pvalues(found)]
    return pd.concat([*columns, conf_int(found)], axis=1).set_axis(list(HEADS[1:]), axis=1)


def summary(found: Fitted) -> Text:
    """Estimates with standard errors, t, p values and 95% intervals as text; of several panels means over them."""
    table, panels = coefficients(found), len(found.estimate)
    if panels > 1:
        table = table.groupby(level="term", sort=False).mean()
    return Text(f"{_title(found)}\n{table.to_string(float_format='{:.4g}'.format)}")


def estimates_card(found: Fitted, panels: int, status: str) -> str:
    """The table of one panel, the first of several, for a notebook; status: how the fits ended, in words."""
    rows = [(term, *map(float, values)) for term, values in
            zip(found.terms, coefficients(found).itertuples(index=False), strict=True)]  # fmt: skip
    notes = [f"The first of {panels:,} panels."] if panels > 1 else []
    return card(_title(found), [("status", status)], HEADS, rows, notes)


def _title(found: Fitted) -> str:
    kind, panels = usual_error(found.errors), len(found.estimate)
    many = f" (means over {panels:,} panels)" if panels > 1 else ""
    return f"Estimates with {kind} errors{many}" if kind else f"Estimates{many}"


def _of_error(found: Fitted, array: Floats) -> Floats:
    """(R, K) of (R, E, K): the usual error type; NaN where there is none."""
    if not found.errors:
        return np.full(found.estimate.shape, np.nan)
    return array[:, found.errors.index(usual_error(found.errors))]


def _stored(found: Fitted, kept: Floats | None, computed: Floats) -> Floats:
    """What the estimator gave itself, and what follows from se and dof where it gave none."""
    if kept is None or not found.errors:
        return computed
    own = _of_error(found, kept)
    return np.where(np.isnan(own), computed, own)


def _series(found: Fitted, values: Floats, name: str) -> pd.Series:
    """(R, K) as a series by term, or by replication and term."""
    import pandas as pd  # loaded where a table is asked for

    if len(values) == 1:
        return pd.Series(values[0], pd.Index(found.terms, name="term"), name=name)
    index = pd.MultiIndex.from_product([range(len(values)), found.terms], names=["replication", "term"])
    return pd.Series(values.ravel(), index, name=name)
