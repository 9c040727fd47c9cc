"""What is known of a panel before its numbers: sizes, names, what its variables are to a question, its periods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sim.errors import bad, closest, one_of

TREATMENT = "did"  # the treatment's name in every panel, so that terms are the same whatever the column is called

# Words that say whether a unit is treated in a period, or in place of its first treated period that it never is.
YES = ("yes", "y", "true", "treated", "是", "有", "1")
NEVER_WORDS = ("never", "none", "no", "nan", "n/a", "na", "-", "--", "—", ".", "未", "无", "从未")
NO = ("no", "n", "false", "control", "untreated", "否", "无", "0")


@dataclass(frozen=True, slots=True)
class Roles:
    """What the variables of a panel are to the question: names of variables, in order.

    continuous: whether the treatment has any strength, so that a regression finds its effect a unit. instruments:
    what moves the treatment and is no regressor. weight: a variable, positive where observed, by which estimators
    weight unit-periods, such as the population.
    """

    outcome: str | None = None
    treatment: str | None = None
    controls: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    continuous: bool = field(default=False, repr=False)  # not shown, so that digests of panels stay what they were
    instruments: tuple[str, ...] = field(default=(), repr=False)  # for the same reason
    weight: str | None = field(default=None, repr=False)

    @property
    def regressors(self) -> tuple[str, ...]:
        """The treatment, if there is one, and the controls."""
        return (*((self.treatment,) if self.treatment else ()), *self.controls)


UNWEIGHTED = "remove weight from [panel] or, where [collapse] makes it, give one row per unit and period"


def refuse_weights(
    roles: Roles, what: str, allowed: str = "a panel without weights", remedy: str = UNWEIGHTED,
    where: str = "",
) -> None:  # fmt: skip
    """Raise BadInput where a panel has weights, for what cannot take them; where: by default what it is."""
    if roles.weight is not None:
        raise bad(f"{what} cannot take weights: the panel is weighted by {roles.weight!r}", where=where or what,
                  allowed=allowed, remedy=remedy)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """All that is known of a panel before its numbers: sizes, names, roles."""

    units: int
    periods: int
    variables: tuple[str, ...]
    attributes: tuple[str, ...]
    weights: tuple[str, ...]
    roles: Roles

    def require(self, name: str, asked_by: str) -> str:
        """`name` if the panel has that variable; raises BadInput otherwise."""
        if name not in self.variables:
            raise bad(f"no variable {name!r} in the panel", where=asked_by, allowed=one_of(self.variables, name),
                      remedy=closest(name, self.variables))  # fmt: skip
        return name


# Periods as whole numbers: how far apart they are, and codes such as 201912 that are not one step apart.


FIRST_YEAR, LAST_YEAR = 1800, 2200
PARTS = {12: "month", 4: "quarter", 2: "half-year"}


def period_step(years: NDArray[np.int64] | Sequence[int]) -> int:
    """Years from one period to the next: the greatest common divisor of all gaps, 1 for a single period.

    So 1 where a year is missing from an annual panel, and 2 in a biennial one.
    """
    return int(np.gcd.reduce(np.diff(np.unique(years)))) or 1


def absent_periods(years: NDArray[np.int64] | Sequence[int]) -> list[str]:
    """Periods, or spans such as 2009-2011, that a panel lacks between its first and last."""
    step, found = period_step(years), np.unique(years).tolist()
    gaps = [(before + step, after - step) for before, after in pairwise(found) if after - before > step]
    return [str(first) if first == last else f"{first}-{last}" for first, last in gaps]


SERIAL_DAY, SERIAL_FIRST, SERIAL_LAST = np.datetime64("1899-12-30"), 10_000, 75_000  # 1927 to 2105


def serial_years(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Years of dates as spreadsheet programs count days, (rows,), where all are the same day of several years; else
    None. NaN stays."""
    given = np.unique(values[np.isfinite(values)])
    if len(given) < 2 or given[0] < SERIAL_FIRST or given[-1] > SERIAL_LAST or (given % 1).any():
        return None
    days = SERIAL_DAY + given.astype("timedelta64[D]")
    month_day = [str(day)[5:] for day in days]
    if len(set(month_day)) > 1:
        return None
    years = np.array([float(str(day)[:4]) for day in days])
    found = np.full(len(values), np.nan)
    seen = np.isfinite(values)
    found[seen] = years[np.searchsorted(given, values[seen])]
    return found


def uneven_code(periods: NDArray[np.int64]) -> tuple[str, str] | None:
    """The code of periods (rows,) that runs unevenly from one year or month to the next; None where nothing does.

    It is what they look like, "years and months" say, and how to number them one step apart.
    A part of one year, or the same month of several years, runs evenly as it stands.
    """
    codes = np.unique(periods)
    if not codes.size:
        return None
    if serial_years(codes.astype(np.float64)) is not None:
        return "dates as spreadsheet programs count days", "say years = true in [read], or give the years"
    gaps = np.diff(codes)

    # numbers from 0 to 99 with one wide gap that closes where 99 is followed by 0, as 97, 98, 99, 0, 1 have it
    if len(codes) > 1 and codes[0] >= 0 and codes[-1] <= 99:
        closed = np.append(np.delete(gaps, gaps.argmax()), codes[0] + 100 - codes[-1])
        if 10 * closed.max() < gaps.max():
            return "years of two digits on both sides of a century", "write them in full, such as 1999 and 2000"

    # years and months, quarters or half-years, by the largest part, unless the code is linear in time
    for size, most in ((100, 12), (10, 4)):
        years, parts = codes // size, codes % size
        if _within(years, FIRST_YEAR, LAST_YEAR) and _within(parts, 1, most):
            count = next(count for count in sorted(PARTS) if parts.max() <= count)
            steps = np.diff(years * count + parts)
            if not gaps.size or (gaps * steps[0] == steps * gaps[0]).all():
                return None
            name, first = PARTS[count], int(years[0] * count + parts[0])
            return f"years and {name}s", f"number them as year * {count} + {name}, so that {codes[0]} is {first}"

    # years, months and days, unless all are in one month or on the same day of the year
    months, days = codes // 100, codes % 100
    years = months // 100
    if not (_within(years, FIRST_YEAR, LAST_YEAR) and _within(months % 100, 1, 12) and _within(days, 1, 31)):
        return None
    if len(np.unique(months)) == 1 or len(np.unique(codes % 10000)) == 1:
        return None
    return ("years, months and days", "number them 1, 2, 3 and so on, in their order")


def _within(parts: NDArray[np.int64], least: int, most: int) -> bool:
    return bool(parts.min() >= least and parts.max() <= most)
