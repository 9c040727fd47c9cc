"""The `clustered` design: regressor and error share shocks within few groups (Cameron, Gelbach and Miller 2008).

    y_ig = effect x_ig + e_g + e_ig,   x_ig = z_g + z_ig

with all shocks independent standard normal, 30 units a group and one period; groups are the attribute "group". Half of
the variance of x and of the errors is common to a group, so that plain errors are far too small, and with few groups
clustered ones are too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from sim.design import Design, Draw, Wanted, World
from sim.errors import bad
from sim.panel import Panel, Roles, Schema
from sim.streams import Streams

PERIOD = 1


@dataclass(frozen=True, slots=True)
class Clustered(Design):
    """A cross-section in which regressor and error share shocks within few groups.

    groups: how many, 2 or more. size: units a group. effect: the coefficient of x.
    """

    kind: ClassVar[str] = "clustered"

    groups: int = 10
    size: int = 30
    effect: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("groups", 2), ("size", 1)):
            if getattr(self, name) < least:
                raise bad(f"{name} = {getattr(self, name)}", where="design clustered", allowed=f"{least} or more",
                          remedy="correct the dial")  # fmt: skip
        if not np.isfinite(self.effect):
            raise bad(f"effect = {self.effect}", where="design clustered", allowed="a finite number",
                      remedy="correct the dial")  # fmt: skip

    @property
    def schema(self) -> Schema:
        """groups x size units in one period: y and x."""
        return Schema(self.groups * self.size, 1, ("y", "x"), ("group",), (), Roles("y", None, ("x",)))

    def settle(self, streams: Streams) -> World:
        """A world that holds nothing fixed."""
        return Groups(self)


@dataclass(frozen=True, eq=False)
class Groups:
    """The settled design: regressor and errors are drawn in every replication."""

    design: Clustered

    @cached_property
    def _frame(self) -> Panel:
        group = np.repeat(np.arange(self.design.groups), self.design.size)
        units = tuple(f"{g + 1}-{i + 1}" for g in range(self.design.groups) for i in range(self.design.size))
        return Panel(units, (PERIOD,), {}, self.design.schema.roles, {"group": group})

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """R panels; beta(x) is the effect, sigma2 = 2 the errors' variance."""
        group = self._frame.attributes["group"]
        parts = {
            name: streams.normals(f"{name} of groups", 1, self.design.groups)[:, :, group]
            + streams.normals(f"{name} of units", 1, len(group))
            for name in ("x", "errors")
        }
        panel = self._frame.with_variables({"x": parts["x"], "y": self.design.effect * parts["x"] + parts["errors"]})
        known = {"beta(x)": self.design.effect, "sigma2": 2.0}
        truth = {name: np.full(streams.replications, known.get(name, np.nan)) for name in wanted.estimands}
        return Draw(panel, truth)
