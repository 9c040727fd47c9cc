"""Who is treated from when: the cohorts of a staggered, absorbing treatment, and the names of what is estimated of it.

Terms: att(G,T) of cohort G in period T, event(K) of K periods since adoption, cohort(G), calendar(T), and the overall
averages overall (over treated unit-periods), overall:event, overall:cohort, overall:calendar (Callaway and Sant'Anna
2021, section 3). K counts periods, whatever their labels: event(1) is two years after adoption in a biennial panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sim.arrays import Codes, Flags
from sim.errors import bad, one_of
from sim.panel import Panel
from sim.schema import Schema, period_step


@dataclass(frozen=True, eq=False, slots=True)
class Cohorts:
    """Adoption of a panel's units.

    first (N,): index of the first treated period, T for never. firsts: those indices that occur, ascending, without
    never and without 0 (units treated from the first period on have no period before and compare with nobody).
    """

    periods: tuple[int, ...]
    first: Codes
    firsts: tuple[int, ...]

    @classmethod
    def of(cls, panel: Panel, treatment: str, asked_by: str, *, even: bool = True) -> Cohorts:
        """The cohorts of an absorbing 0/1 variable, the same in all replications; raises BadInput for any other.

        even: also for periods that are not all one step apart, where K periods since adoption would mean several times.
        """
        check_balanced(panel, asked_by)
        step = period_step(panel.periods)
        if even and (jumps := [before for before, after in pairwise(panel.periods) if after - before != step]):
            gap = f"periods are not evenly spaced: {jumps[0]} is not followed by {jumps[0] + step}"
            raise bad(gap, where=asked_by, allowed=f"periods {step} apart",
                      remedy="leave out the periods before or after the gap")  # fmt: skip
        did = panel.variables[treatment]
        if (did != did[:1]).any():
            raise bad("the dates of adoption differ between replications", where=asked_by,
                      allowed="the same dates in all replications", remedy="fit them one by one")  # fmt: skip
        path = did[0]
        if not np.isin(path, (0.0, 1.0)).all() or (np.diff(path, axis=0) < 0).any():
            raise bad(f"{treatment!r} is not 0/1 and absorbing", where=asked_by, allowed="0 before adoption, 1 after",
                      remedy="code it so, or leave those units out")  # fmt: skip
        first = np.where(path.any(axis=0), path.argmax(axis=0), len(panel.periods)).astype(np.intp)
        occurring = np.unique(first)
        firsts = tuple(int(g) for g in occurring if 0 < g < len(panel.periods))
        if not firsts:
            raise bad("no unit becomes treated within the panel", where=asked_by,
                      allowed="units that are first untreated and later treated",
                      remedy="add earlier periods")  # fmt: skip
        return cls(panel.periods, first, firsts)

    @property
    def never(self) -> Flags:
        """Units that are never treated, (N,)."""
        return np.asarray(self.first == len(self.periods))

    @property
    def later(self) -> Flags:
        """Units that are untreated when the first adopt, (N,): never treated ones and later cohorts."""
        return np.asarray(self.first > self.firsts[0])

    @property
    def labels(self) -> tuple[int, ...]:
        """The cohorts' first treated periods as the panel names them."""
        return tuple(self.periods[g] for g in self.firsts)

    def size(self, first: int) -> int:
        """Units that adopt at this index."""
        return int((self.first == first).sum())


def check_balanced(panel: Panel, asked_by: str) -> None:
    """Raise BadInput for a panel with gaps."""
    if not panel.balanced:
        raise bad("the panel is unbalanced", where=asked_by, allowed="every unit in every period",
                  remedy='set balance = "drop-units" or "drop-periods"')  # fmt: skip


def check_clusters(errors: tuple[str, ...], schema: Schema, asked_by: str) -> None:
    """Raise BadInput unless errors are one or more distinct clusterings of units."""
    allowed = ("cluster:unit", *(f"cluster:{name}" for name in schema.attributes))
    if not errors or len(set(errors)) < len(errors) or not set(errors) <= set(allowed):
        raise bad(f"errors = {list(errors)}", where=asked_by, allowed=f"distinct names among {one_of(allowed)}",
                  remedy='set errors = ["cluster:unit"]')  # fmt: skip
