"""The real panel as a design: one draw, truth unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from sim.arrays import Codes
from sim.design import Design, Draw, Estimand, Wanted, World
from sim.errors import bad
from sim.panel import Panel
from sim.panel_sidecars import panel_from, panel_text
from sim.presets import Paper
from sim.schema import Schema
from sim.schemes import OF_PERIODS, Randomisation, Scheme, is_null, scheme_of
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class Observed(Design):
    """A panel that was observed, not drawn: every draw is the panel itself, and every truth is NaN.

    panel: the observed panel, R = 1.
    """

    kind: ClassVar[str] = "observed"

    panel: Panel = field(repr=False)

    @property
    def schema(self) -> Schema:
        """The panel's own."""
        return self.panel.schema

    @property
    def identity(self) -> Mapping[str, Any]:
        """The panel's digest."""
        return {"panel": self.panel.digest}

    def settle(self, streams: Streams) -> World:
        """There is nothing to settle."""
        return self

    def draw(self, streams: Streams, wanted: Wanted | None = None) -> Draw:
        """The panel, once."""
        estimands = wanted.estimands if wanted else ()
        return Draw(self.panel, {name: np.full(1, np.nan) for name in estimands})


# The placebo design: a real panel whose treatment, W or mediator is assigned again, so that its effect is zero.
#
# The panel is a dial of its own, as a text that holds every number of it (`panel_text`): a store of such a study
# holds its panel, and is resumed, replayed and reported without the file that it came from.


MOST_ASSIGNMENTS = 1_000_000  # that are gone through one by one


@dataclass(frozen=True, slots=True, repr=False)
class Placebo(Design):
    """A real panel under a scheme: the outcome is what was observed, the assignment is drawn anew in every replication.

    scheme: one of the schemes, such as "space" or "strata:region". panel: the panel as `panel_text` writes it; "" is
    one draw of the `paper` design without an effect. exact: replications are no random draws but all other assignments
    than the real one, one after the other and then from the first again.

    Under the sharp null hypothesis the new assignment does nothing, so the truth of
    every effect of what is assigned again is 0 (of rho and lambda too, when W is relabelled); that of all else is NaN.
    """

    kind: ClassVar[str] = "placebo"

    scheme: str = "space"
    panel: str = ""
    exact: bool = False

    def __post_init__(self) -> None:
        scheme_of(self.scheme)

    @classmethod
    def of(cls, panel: Panel, scheme: str, *, exact: bool = False) -> Placebo:
        """The placebo of a panel, R = 1."""
        return cls(scheme, panel_text(panel), exact)

    @property
    def schema(self) -> Schema:
        """The panel's own."""
        return panel_of(self.panel).schema

    def settle(self, streams: Streams) -> World:
        """The scheme at work on the panel; raises BadInput when the panel leaves nothing to draw."""
        panel, scheme = panel_of(self.panel), scheme_of(self.scheme)
        randomisation = scheme.on(panel)
        others = other_assignments(randomisation, self.scheme) if self.exact else None
        return _PlaceboWorld(randomisation.sample(panel), scheme, randomisation, others)

    def __repr__(self) -> str:
        return f"Placebo(scheme={self.scheme!r}, panel={panel_of(self.panel)!r}, exact={self.exact})"


@dataclass(frozen=True, eq=False)
class _PlaceboWorld:
    """A settled placebo: the panel on the scheme's sample.

    others (B, N): assignments that the replications take in turn; None = drawn.
    """

    panel: Panel
    scheme: Scheme
    randomisation: Randomisation
    others: Codes | None

    @cached_property
    def frame(self) -> Panel:
        """The panel without variables."""
        return replace(self.panel, variables={})

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """One tile; the outcome has a leading 1 unless nothing that is wanted differs between replications."""
        rows, roles = streams.replications, self.panel.roles
        if self.others is None:
            codes = np.array([self.randomisation.draw(rng) for rng in streams.each("assignment")])  # (R, N)
        else:
            codes = self.others[np.arange(streams.start, streams.stop) % len(self.others)]
        anew = self.randomisation.variables(codes)
        named = wanted.variables | ({roles.treatment} if roles.treatment else set())
        variables = {name: anew.get(name, values) for name, values in self.panel.variables.items() if name in named}
        if variables and not set(variables) & set(anew):
            first = next(iter(variables))
            variables[first] = np.broadcast_to(variables[first], (rows, *variables[first].shape[1:]))
        truth = {name: np.full(rows, self._truth(Estimand.parse(name))) for name in wanted.estimands}
        return Draw(self.frame.with_variables(variables), truth)

    def _truth(self, ask: Estimand) -> float:
        """0 for effects of what is assigned again, on cohorts, periods or event times of the panel, else NaN."""
        periods = self.panel.periods
        allowed = range(len(periods)) if ask.kind == "event" else periods
        named = ask.kind not in OF_PERIODS or all(
            argument.lstrip("-").isdigit() and int(argument) in allowed for argument in ask.arguments
        )
        return 0.0 if named and is_null(self.scheme, ask, self.panel.roles) else np.nan


def other_assignments(randomisation: Randomisation, asked_by: str) -> Codes:
    """All assignments but the real one, (B, N); raises BadInput when there are too many or nobody counts them."""
    count = randomisation.count
    if count is None or randomisation.every is None or count > MOST_ASSIGNMENTS:
        what = "assignments that are not counted" if count is None else f"{count:,} assignments"
        raise bad(what, where=asked_by, allowed=f"up to {MOST_ASSIGNMENTS:,} to go through",
                  remedy="draw them: exact = false")  # fmt: skip
    every = np.array(list(randomisation.every()))
    return every[(every != randomisation.real).any(axis=1)]


@lru_cache(maxsize=8)
def panel_of(text: str) -> Panel:
    """The panel of a text of `panel_text`, a draw of `paper` where it is ""; raises BadInput for other texts."""
    if not text:
        return Paper(effect=0.0).draw(Streams(0, "placebo")).panel.replication(0)
    return panel_from(text, "design placebo", "use `panelproof placebo PANEL`")
