"""What a panel shows of itself in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sim.errors import listed
from sim.notebook import card


def panel_card(panel: Any, facts: Sequence[tuple[str, object]] = (), notes: Sequence[str] = ()) -> str:
    """Sizes, roles and variables of a panel as HTML; of several replications the numbers are those of the first."""
    one = panel.replication(0)
    many = panel.replications > 1
    own: list[tuple[str, object]] = [
        ("periods", f"{panel.periods[0]} to {panel.periods[-1]}"),
        ("units", listed(panel.units, 4)),
        ("rows", one.nobs),
        ("replications", panel.replications if many else None),
        ("outcome", panel.roles.outcome),
        ("treatment", panel.roles.treatment),
        ("weights", listed(panel.weights)),
        ("attributes", listed(panel.attributes)),
    ]
    head = ("variable", "role", "mean", "s.d.", "least", "most")
    said = ["Numbers are those of the first replication."] if many else []
    title = f"Panel of {len(panel.units):,} units in {len(panel.periods):,} periods"
    return card(title, (*own, *facts), head, _variables(one), (*said, *notes))


def _variables(panel: Any) -> Iterator[tuple[Any, ...]]:
    """A row a variable of a panel with R = 1."""
    seen = np.ones((len(panel.periods), len(panel.units)), bool) if panel.observed is None else panel.observed[0]
    roles = panel.roles
    of: dict[str | None, str] = {roles.outcome: "outcome", roles.treatment: "treatment"}
    for names, role in ((roles.controls, "control"), (roles.mediators, "mediator")):
        of.update((name, role) for name in names)
    for name, array in panel.variables.items():
        values = array[0][seen]
        yield (name, of.get(name, ""), float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else np.nan,
               float(values.min()), float(values.max()))  # fmt: skip
