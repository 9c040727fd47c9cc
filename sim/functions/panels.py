"""Panels of what a user's function returns: a long table, a dict of arrays, or a panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import bad, listed
from sim.panel import Panel, Roles
from sim.weights import Weights

LABELS = ("units", "periods", "observed")  # keys of a dict that are no variables
ALLOWED = "a DataFrame, a dict of arrays (periods, units), or a Panel"


@dataclass(frozen=True, slots=True)
class Naming:
    """How the variables of a drawn panel are read.

    outcome, treatment: names of variables, "" = y and did where the panel has them. controls: names of variables.
    unit, period: columns of a long table.
    """

    outcome: str = ""
    treatment: str = ""
    controls: tuple[str, ...] = ()
    unit: str = "unit"
    period: str = "period"

    def roles(self, variables: Sequence[str], where: str) -> Roles:
        """Roles of the variables; raises BadInput for names that the panel lacks."""
        named = [name for name in (self.outcome, self.treatment, *self.controls) if name]
        if lacking := [name for name in named if name not in variables]:
            raise bad(f"no variable {listed(map(repr, lacking))}", where=where, allowed=listed(variables, 12),
                      remedy="correct outcome, treatment or controls")  # fmt: skip
        outcome = self.outcome or ("y" if "y" in variables else None)
        treatment = self.treatment or ("did" if "did" in variables else None)
        return Roles(outcome, treatment, self.controls)


def panel_of_data(data: Any, naming: Naming, where: str, rows: int | None = None) -> Panel:
    """A panel; raises BadInput for what cannot be one.

    rows: how many replications the leading axes of arrays hold (or 1); None = arrays (T, N) of one replication.
    """
    if isinstance(data, Panel):
        panel = data
    elif isinstance(data, Mapping):
        panel = _of_arrays(data, where, batched=rows is not None)
    elif hasattr(data, "columns"):
        panel = _of_table(data, naming, where)
    else:
        raise bad(f"returned {type(data).__name__}", where=where, allowed=ALLOWED, remedy="return one of them")
    if panel.replications not in (1, rows or 1):
        raise bad(f"returned {panel.replications} replications", where=where, allowed=f"{rows or 1}",
                  remedy="return one panel a call, or say batched = True")  # fmt: skip
    if isinstance(data, Panel) and data.roles != Roles():
        return panel
    return replace(panel, roles=naming.roles(tuple(panel.variables), where))


def joined(panels: Sequence[Panel], where: str, *, gaps: bool) -> Panel:
    """R panels of one replication as one panel; raises BadInput where more than variables and gaps differ.

    gaps: whether the world has any; each replication then keeps its own, and is fitted on its own.
    """
    first = panels[0]
    for panel in panels[1:]:
        check_alike(first, panel, where)
        _check_fixed(first, panel, where)
    arrays = {name: np.concatenate([panel.variables[name] for panel in panels]) for name in first.variables}
    if not gaps:
        _check_complete(panels, where)
        return replace(first, variables=arrays)
    whole = np.ones((1, len(first.periods), len(first.units)), dtype=bool)
    seen = np.concatenate([whole if panel.observed is None else panel.observed for panel in panels])
    return replace(first, variables=arrays, observed=seen)


def _check_complete(panels: Sequence[Panel], where: str) -> None:
    """Raise BadInput for gaps in a world whose trial draw had none: its estimators are prepared for whole panels."""
    if any(panel.observed is not None for panel in panels):
        raise bad("a draw has gaps, and the trial draw had none", where=where, allowed="gaps in none, or in every draw",
                  remedy="return arrays with observed = ..., all true where nothing is missing")  # fmt: skip


def check_alike(first: Panel, other: Panel, where: str) -> None:
    """Raise BadInput when two draws have other units, periods or names."""
    for what, one, two in (
        ("units", first.units, other.units),
        ("periods", first.periods, other.periods),
        ("variables", tuple(first.variables), tuple(other.variables)),
        ("attributes", tuple(first.attributes), tuple(other.attributes)),
        ("weights", tuple(first.weights), tuple(other.weights)),
    ):
        if one != two:
            differ = (
                f"{len(one)} and {len(two)} of them" if len(one) != len(two) else f"{listed(one)} and {listed(two)}"
            )
            raise bad(f"{what} differ between draws: {differ}", where=where, allowed="the same in each replication",
                      remedy="draw numbers, not names or sizes")  # fmt: skip


def _check_fixed(first: Panel, other: Panel, where: str) -> None:
    """Raise BadInput when two draws have other attributes or weights."""
    varying = [name for name, values in first.attributes.items() if not np.array_equal(values, other.attributes[name])]
    varying += [name for name, w in first.weights.items() if w.digest != other.weights[name].digest]
    if varying:
        raise bad(f"{listed(varying)} of units differ between draws", where=where,
                  allowed="the same in each replication",
                  remedy="draw it from fixed_rng, or make it a variable")  # fmt: skip


def _of_arrays(data: Mapping[str, Any], where: str, *, batched: bool) -> Panel:
    """A dict of arrays: variables have one axis more than attributes (N,), Weights are weights."""
    weights = {name: value for name, value in data.items() if isinstance(value, Weights)}
    rest = {name: np.asarray(value) for name, value in data.items() if name not in (*weights, *LABELS)}
    axes = 3 if batched else 2
    attributes = {str(name): values for name, values in rest.items() if values.ndim == 1}
    variables = {str(name): values for name, values in rest.items() if values.ndim == axes}
    if wrong := [name for name in rest if name not in {*attributes, *variables}]:
        raise bad(f"{listed(f'{name!r} of shape {rest[name].shape}' for name in wrong)} is no array of a panel",
                  where=where, allowed=f"arrays ({'replications, ' if batched else ''}periods, units), or (units,)",
                  remedy="correct the shape")  # fmt: skip
    if not variables:
        raise bad("returned no variable", where=where, allowed=ALLOWED, remedy="return arrays by name")
    t, n = next(iter(variables.values())).shape[-2:]
    observed = data.get("observed")
    return Panel(
        units=tuple(map(str, data.get("units", range(1, n + 1)))),
        periods=tuple(map(int, data.get("periods", range(1, t + 1)))),
        variables={name: _variable(name, values, batched, where) for name, values in variables.items()},
        attributes=attributes,
        observed=None if observed is None else np.array(observed, dtype=bool).reshape(-1, t, n),
        weights=weights,
    )


def _variable(name: str, values: NDArray[Any], batched: bool, where: str) -> Floats:
    if values.dtype.kind not in "fiub":
        raise bad(f"{name!r} holds {values.dtype}", where=where, allowed="numbers", remedy="convert it to numbers")
    copied = values.astype(np.float64)  # a panel makes its arrays read-only, and these are the user's
    return copied if batched else copied[None]


def _of_table(frame: Any, naming: Naming, where: str) -> Panel:
    """A long table: columns of numbers are variables, other columns are attributes of units."""
    from sim.panel.long_table import read_table

    keys = (naming.unit, naming.period)
    if lacking := [key for key in keys if key not in frame.columns]:
        raise bad(f"no column {listed(map(repr, lacking))}", where=where, allowed=listed(map(str, frame.columns), 12),
                  remedy="name the columns: unit = ..., period = ...")  # fmt: skip
    words = [str(name) for name in frame.columns if name not in keys and frame[name].dtype.kind not in "fiub"]
    frame = frame.assign(**{name: frame[name].astype(float) for name in frame.columns
                            if name not in keys and frame[name].dtype.kind == "b"})  # fmt: skip
    frame.attrs = {"file": where}
    numbers = [str(name) for name in frame.columns if name not in (*keys, *words)]
    return Panel(**read_table(frame, *keys, Roles(), words, variables=numbers).parts)
