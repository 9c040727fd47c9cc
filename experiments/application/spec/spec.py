"""SPEC.toml and the panel it describes: read both, with every error at once and in the user's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from experiments.application.spec.conflicts import conflicts
from experiments.application.spec.index import (
    add_diversification,
    column_problems,
    columns_asked_for,
    index_notes,
    shares_behind,
    with_index,
)
from experiments.application.spec.robustness import further_variables
from experiments.application.spec.sections import Balance, PanelSection, Spec, SpecTables
from experiments.application.spec.transforms import (
    apply_transforms,
    from_first_year,
    periods_without,
    unit_mean,
    with_capital,
)
from experiments.application.spec.weights import mean_of
from experiments.toml_files import read_toml, validated
from sim.arrays import Flags, Floats
from sim.errors import BadInput, Problem, bad, gathering, listed, one_of, refuse
from sim.index import EntropyIndex
from sim.panel import Panel, part, seen_in
from sim.panel_files import LongTable, Rows, missing_columns, read_frame, read_table
from sim.schema import Roles, period_step
from sim.weights import Weights

__all__ = ["RealPanel", "Spec", "balanced", "read_real_panel", "read_spec", "real_panel_of", "spec_of", "with_weights"]


@dataclass(frozen=True, eq=False, slots=True)
class RealPanel:
    """A panel file read as its spec says, with weights; `notes` say in words what was left out.

    order: all units of the file in its order, which weights given as matrices follow. index: the outcome's weights,
    where it is an index; estimated once from the whole panel, whatever part of it is used later. further: variables
    (1, T, N) that only robustness checks use, NaN where missing. file: the name of the panel's file, for messages.
    """

    panel: Panel
    spec: Spec
    order: tuple[str, ...]
    notes: tuple[str, ...]
    index: EntropyIndex | None = None
    further: Mapping[str, Floats] = field(default_factory=dict)
    file: str = "table"

    def _repr_html_(self) -> str:
        from sim.panel import panel_card  # for notebooks alone

        return panel_card(self.panel, [("file", self.file), ("spec", self.spec.file)], self.notes)

    def balanced(self, how: Balance | None = None) -> Panel:
        """The panel without gaps, W built anew for the units kept; `how` = None takes the spec's own."""
        return balanced(self.panel, how or self.spec.panel.balance, self.spec, self.order)

    def subset(self, units: Flags, *, weights: bool = True) -> Panel:
        """The panel of some units, (N,), with W built anew for them, or without W."""
        kept = part(self.panel, units, np.ones(len(self.panel.periods), dtype=bool))
        return with_weights(kept, self.spec, self.order) if weights else kept


def read_spec(path: str | Path) -> Spec:
    """The spec in a TOML file, paths in it relative to that file; raises one BadInput with all that is wrong.

    >>> import panelproof as pp
    >>> from pathlib import Path
    >>> _ = Path("SPEC.toml").write_text('[panel]\\nunit = "city"\\nperiod = "year"\\noutcome = "y"')
    >>> pp.read_spec("SPEC.toml").panel.outcome
    'y'
    """
    path = Path(path)
    return spec_of(read_toml(path, "a SPEC.toml", "write one with: panelproof init PANEL"), path.name, path.parent)


def spec_of(settings: Mapping[str, Any], file: str = "spec", folder: Path = Path()) -> Spec:
    """The spec of settings as SPEC.toml holds them. file, folder: where they are from, for messages and paths in them.

    Raises one BadInput with all that is wrong.
    """
    data = {"panel": {}, **settings}
    if not isinstance(data.get("weights", []), list):
        data["weights"] = [data["weights"]]  # a single table
    tables, problems = validated(SpecTables, data, file, folder)
    if "index" not in data and isinstance(data["panel"], Mapping) and "outcome" not in data["panel"]:
        problems.append(Problem("the key 'outcome' is missing", f"{file}, [panel]", "outcome = ..., or [index]",
                                "add outcome"))  # fmt: skip
    spec = None if tables is None else _spec_of(tables, file)
    problems += [] if spec is None else conflicts(spec)
    if spec is None or problems:
        raise BadInput(*problems)
    return spec


def _spec_of(tables: SpecTables, file: str) -> Spec:
    """The tables as a spec; the index is the outcome, under its own name or else under that of [panel]."""
    panel, index = tables.panel, tables.index
    if index is not None and panel.outcome and "name" not in index.model_fields_set:
        index = index.model_copy(update={"name": panel.outcome})
    if index is not None:
        panel = panel.model_copy(update={"outcome": panel.outcome or index.name})
    return Spec.model_construct(**(dict(tables) | {"panel": panel, "index": index}), file=file)


def read_real_panel(path: str | Path, spec: Spec) -> RealPanel:
    """Read, transform and check a panel file, and build its weights; raises BadInput."""
    return real_panel_of(read_frame(path), spec)


def real_panel_of(frame: pd.DataFrame, spec: Spec) -> RealPanel:
    """Transform and check a table of a panel, which may be changed, and build its weights; raises BadInput.

    Attributes: `capital` (bool), `longitude`, `latitude`, and groups and cluster under their columns' names.
    """
    _check_columns(frame, spec)
    section = spec.panel
    rows = Rows.of(frame, section.unit, section.period)
    frame = add_diversification(apply_transforms(frame, spec.transform, rows), spec.index, rows)
    treatment = section.treatment
    if section.first_treated:
        treatment = f"did from {section.first_treated}"
        frame[treatment] = from_first_year(frame[section.first_treated], rows)
        frame.attrs["called"] = {treatment: section.first_treated}
    attributes = spec.attributes
    for name in spec.mean_columns:
        frame[mean_of(name)] = unit_mean(frame, name, rows)
        attributes[mean_of(name)] = mean_of(name)
    without = _without_lags(spec, rows)
    table = read_table(
        frame.loc[~np.isin(rows.years, without)],
        section.unit,
        section.period,
        roles=Roles(None if spec.index else section.outcome, treatment, section.controls, section.mediators),
        attributes=attributes,
        missing=section.missing,
        variables=(*([section.other_policy] if section.other_policy else []), *spec.indicators),
    )
    panel, index = with_index(with_capital(Panel(**table.parts), rows.file, section.capital), spec, rows.file)
    further = further_variables(frame, rows, spec, panel)
    panel = with_weights(panel, spec, table.order)
    notes = (*_notes(table, rows, without, panel, spec.panel), *index_notes(spec.index, index))
    return RealPanel(panel, spec, table.order, notes, index, further, rows.file)


def balanced(panel: Panel, how: Balance, spec: Spec | None = None, order: tuple[str, ...] | None = None) -> Panel:
    """A panel without gaps: as it is, or without the units or the periods that have some.

    When units go, W is built anew for the others from `spec` (`order`: the units of the file, default the panel's).
    Raises BadInput under how = "error", when too little is left, and when W cannot be built anew.
    """
    if panel.balanced or panel.observed is None:
        return panel
    seen = panel.observed.all(axis=0)
    gaps = [f"{panel.units[i]} in {panel.periods[t]}" for t, i in np.argwhere(~seen)]
    where, remedy = "a spatial model of this panel", 'set balance = "drop-units" or "drop-periods" in [panel]'
    if how not in get_args(Balance):
        raise bad(f"balance = {how!r}", where=where, allowed=one_of(get_args(Balance)), remedy="choose one of them")
    if how == "error":
        raise bad(f"{len(gaps)} unit-periods are missing: {listed(gaps)}", where=where, allowed="a balanced panel",
                  remedy=remedy)  # fmt: skip
    every = (np.ones(len(panel.units), dtype=bool), np.ones(len(panel.periods), dtype=bool))
    units, periods = (seen.all(axis=0), every[1]) if how == "drop-units" else (every[0], seen.all(axis=1))
    if units.sum() < 2 or periods.sum() < 2:
        raise bad(f'balance = "{how}" leaves {units.sum()} units and {periods.sum()} periods', where=where,
                  allowed="two or more of each", remedy="choose the other way, or fill the gaps")  # fmt: skip
    kept = part(panel, units, periods)
    if units.all():
        return replace(kept, weights=panel.weights)
    if spec is None and panel.weights:
        raise bad("the weights are of other units", where=where, allowed="weights of the units that are kept",
                  remedy="pass the spec that the weights are built from")  # fmt: skip
    return kept if spec is None else with_weights(kept, spec, order or panel.units)


def _check_columns(frame: pd.DataFrame, spec: Spec) -> None:
    """Raise BadInput for every column that the spec names and the file lacks."""
    wanted = dict.fromkeys(spec.mean_columns, f"{spec.file} [[weights]] variable")
    wanted |= dict.fromkeys(spec.clusters, f"{spec.file} [inference] errors")
    for key, value in spec.panel:
        if key not in ("missing", "balance", "synthetic", *(["outcome"] if spec.index else [])):
            names = value if isinstance(value, tuple) else (value,) if value else ()
            wanted |= dict.fromkeys(names, f"{spec.file} [panel] {key}")
    wanted |= {name: f"{spec.file} {key}" for name, key in spec.further.items() if "[twin" in key}
    wanted |= columns_asked_for(spec) | spec.robustness.columns_asked_for(spec.file, spec.panel.unit)
    problems = missing_columns(frame, {name: asked for name, asked in wanted.items() if name not in spec.made})
    problems += column_problems(frame, spec)
    refuse(problems)


def with_weights(panel: Panel, spec: Spec, order: tuple[str, ...]) -> Panel:
    """The panel with all weights of the spec; raises BadInput with the problems of all of them."""
    built: dict[str, Weights] = {}
    problems: list[Problem] = []
    for section in spec.weights:
        with gathering(problems):
            built[section.label] = section.build(panel, order)
    refuse(problems)
    return replace(panel, weights=built)


def _without_lags(spec: Spec, rows: Rows) -> list[int]:
    """Periods that no unit has a lag or difference in; raises BadInput when that are all."""
    used = frozenset((*spec.variables, *shares_behind(spec.index, spec.variables)))
    without = periods_without(spec.transform, used, rows)
    if without == frozenset(rows.years.tolist()):
        raise bad("lags and differences have no value in any period", where=f"{spec.file}, [transform]",
                  allowed=f"periods one step apart, of {period_step(rows.years)} in {rows.file}",
                  remedy="leave those columns out, or add periods")  # fmt: skip
    return sorted(without)


def _notes(table: LongTable, rows: Rows, without: list[int], panel: Panel, section: PanelSection) -> Iterator[str]:
    """What was left out of a panel, with its weights, and what a reader should know of it."""
    if absent := _absent_periods(rows):
        yield f"No rows for {listed(absent, 12)}: lags and differences are not computed across this gap."
    if without:
        yield f"{listed(without)} left out: lags and differences have no value there."
    if table.dropped:
        columns = listed((f"{name} {count}" for name, count in table.dropped.items()), 12)
        count = sum(table.dropped.values())
        yield f"{count} row{'s' * (count != 1)} with missing values left out (by column: {columns})."
    if gone := [unit for unit in table.order if unit not in panel.units]:
        yield f"{len(gone)} units without a complete row left out: {listed(gone, 12)}."
    if table.absent:
        cells = len(panel.units) * len(panel.periods)
        yield f"Unbalanced: {table.absent} of {cells} unit-periods are not observed."
    if always := _always_treated(panel):
        yield f"{len(always)} units are treated in every period: {listed(always, 12)}."
    if section.first_treated is None and (unseen := _adoption_unseen(panel)):
        yield (f"{len(unseen)} units are not observed in the period before they are first seen treated, so that they "
               f"may have adopted earlier: {listed(unseen, 12)}.")  # fmt: skip
    for name, weights in panel.weights.items():
        if weights.attached:
            links = listed((f"{unit} to {nearest}" for unit, nearest in weights.attached), 12)
            yield (f"Weights {name}: {len(weights.attached)} units have no neighbours there and are linked to the "
                   f"nearest unit: {links}.")  # fmt: skip


def _absent_periods(rows: Rows) -> list[str]:
    """Periods or spans within the panel's range, by its step, that have no row."""
    years, step = np.unique(rows.years).tolist(), period_step(rows.years)
    gaps = [(before + step, after - step) for before, after in pairwise(years) if after - before > step]
    return [str(first) if first == last else f"{first}-{last}" for first, last in gaps]


def _adoption_unseen(panel: Panel) -> list[str]:
    """Units whose adoption may lie in a gap: unobserved just before their first treated period."""
    if panel.roles.treatment is None or panel.observed is None:
        return []
    treated, seen = (panel.variables[panel.roles.treatment][0] == 1) & panel.observed[0], panel.observed[0]
    first = treated.argmax(axis=0)
    before = seen[np.maximum(first - 1, 0), np.arange(len(first))]
    earlier = seen.argmax(axis=0) < first
    return [panel.units[i] for i in np.flatnonzero(treated.any(axis=0) & ~before & earlier)]


def _always_treated(panel: Panel) -> list[str]:
    """Units that are treated in all periods in which they are observed."""
    if panel.roles.treatment is None:
        return []
    always = (panel.variables[panel.roles.treatment][0] == 1) | ~seen_in(panel)
    return [unit for unit, treated in zip(panel.units, always.all(axis=0), strict=True) if treated]
