"""What [robustness] takes from a panel's file beside the panel, and what is wrong with it there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from estimators.core.regression import fixed_columns, useless
from estimators.core.tile import Tile
from experiments.application.spec.sections import PsmSection, RobustnessSection, Spec, value_label
from experiments.application.spec.transforms import periods_without
from sim.arrays import Flags, Floats
from sim.errors import Problem, closest, listed, refuse
from sim.panel import Panel, seen_in, seen_part
from sim.panel_files import Rows, number_problems, numbers
from sim.schema import period_step


def further_variables(frame: pd.DataFrame, rows: Rows, spec: Spec, panel: Panel) -> dict[str, Floats]:
    """Columns that only robustness checks use, (1, T, N) each, NaN where missing or where the panel is not observed.

    They do not decide which rows the panel has: a check leaves out what it misses itself. Raises BadInput for text,
    infinities, gaps where missing = "error" (but for periods without lags and differences), outcomes that effects or
    regressors make up, and for every key of [robustness] that this panel cannot serve.
    """
    i = pd.Index(panel.units).get_indexer(pd.Index(rows.labels))
    t = pd.Index(panel.periods).get_indexer(pd.Index(rows.years))
    inside = (i >= 0) & (t >= 0)
    if panel.observed is not None:
        inside[inside] = panel.observed[0, t[inside], i[inside]]
    found, problems = {}, [*_panel_problems(spec, panel)]
    for name, key in spec.further.items():
        if name in panel.variables:
            continue
        values, wrong = numbers(frame[name])
        problems += number_problems(values, wrong, frame[name], rows)
        without = sorted(periods_without(spec.transform, frozenset((name,)), rows))
        gaps = np.flatnonzero(np.isnan(values) & inside & ~np.isin(rows.years, without))
        if gaps.size and spec.panel.missing == "error" and not wrong.size:
            problems.append(Problem(f"is missing in {gaps.size} rows", f"{rows.at(int(gaps[0]), name)}, {key}",
                                    "a number in every row", "fill them, or let the check leave these rows out with "
                                    'missing = "drop"'))  # fmt: skip
        found[name] = np.full((1, len(panel.periods), len(panel.units)), np.nan)
        found[name][0, t[inside], i[inside]] = values[inside]
    problems = problems or list(_outcome_problems(spec, panel, found, rows.file))
    refuse(problems)
    return found


def _outcome_problems(spec: Spec, panel: Panel, found: dict[str, Floats], file: str) -> Iterator[Problem]:
    """Problems for other outcomes of which effects and regressors leave nothing, where they are all there."""
    treatment = spec.panel.treatment or spec.panel.first_treated
    for name in spec.robustness.outcomes if panel.roles.regressors else ():
        values = found.get(name, panel.variables.get(name))
        seen = seen_in(panel) & (values is not None and np.isfinite(values[0]))
        if values is None or not seen.any():
            continue
        whole = replace(panel, variables={**panel.variables, name: values}, observed=seen[None].copy(), weights={})
        own, regressors = "outcomes", panel.roles.regressors
        columns = fixed_columns(Tile(seen_part(whole, seen)), (*regressors, name))
        called = {panel.roles.treatment: str(treatment)} if treatment else {}
        named = [replace(column, name=called.get(column.name, column.name)) for column in columns[:-1]]
        last = replace(columns[-1], label=own, remedy="name another outcome")
        for problem in useless((*named, last), f"{file}, column {name!r}, [robustness] outcomes"):
            if problem.what.startswith(f"{own} "):
                yield replace(problem, what=problem.what.removeprefix(f"{own} "))


def _panel_problems(spec: Spec, panel: Panel) -> Iterator[Problem]:
    """What is wrong with the keys of [robustness] on this panel."""
    section, where = spec.robustness, f"{spec.file}, [robustness]"
    yield from _group_problems(section, panel, where)
    yield from _lag_problems(section, panel, where)
    yield from _window_problems(section, panel, where)
    yield from _psm_problems(section.psm, panel, f"{spec.file}, [robustness.psm]")
    yield from _exclusion_problems(spec, panel, where)


def _group_problems(section: RobustnessSection, panel: Panel, where: str) -> Iterator[Problem]:
    name = section.region_by_period
    if name is None:
        return
    groups = len(np.unique(panel.attributes[name]))
    if groups in (1, len(panel.units)):
        what = "is the same for all units" if groups == 1 else "differs between all units"
        yield Problem(f"region_by_period = {name!r} {what}", where, "several groups of several units",
                      "name another column")  # fmt: skip


def _lag_problems(section: RobustnessSection, panel: Panel, where: str) -> Iterator[Problem]:
    if section.lag is None:
        return
    periods, seen = np.asarray(panel.periods), seen_in(panel)
    distance = section.lag * period_step(panel.periods)
    kept = np.isin(periods - distance, periods)
    pairs = seen[kept] & seen[np.searchsorted(periods, periods[kept] - distance)]
    left = int(pairs.any(axis=1).sum())
    if left < 2:
        yield Problem(f"lag = {section.lag} leaves {left} of {len(periods)} periods", where,
                      "a lag that leaves two or more", "choose a shorter one")  # fmt: skip


def _window_problems(section: RobustnessSection, panel: Panel, where: str) -> Iterator[Problem]:
    periods = np.asarray(panel.periods)
    for first, last in section.windows:
        inside = (periods >= first) & (periods <= last)
        if first < periods[0] or last > periods[-1]:
            yield Problem(f"windows: [{first}, {last}] is outside of the panel", where,
                          f"within {periods[0]}-{periods[-1]}", "choose periods of the panel")  # fmt: skip
        elif inside.sum() < 2:
            yield Problem(f"windows: [{first}, {last}] holds {inside.sum()} periods", where, "two or more",
                          "choose a longer one")  # fmt: skip
        else:
            every = np.ones(len(panel.units), dtype=bool)
            yield from _treatment_problems(panel, every, inside, f"windows: [{first}, {last}]", where)


def _exclusion_problems(spec: Spec, panel: Panel, where: str) -> Iterator[Problem]:
    every = np.ones(len(panel.periods), dtype=bool)
    for name, values in spec.robustness.exclude.items():
        labels = unit_values(spec, panel, name)
        unknown = [text for text in map(value_label, values) if text not in labels]
        for text in unknown:
            yield Problem(f"exclude.{name} names {text!r}, which is not in the panel", where,
                          listed(sorted(set(labels)), 12), closest(text, labels))  # fmt: skip
        left = kept_units(spec, panel, name)
        if left.sum() < 2:
            yield Problem(f"exclude.{name} leaves {left.sum()} units", where, "two or more", "exclude fewer")
        elif not unknown:
            yield from _treatment_problems(panel, left, every, f"exclude.{name}", where)


def _treatment_problems(panel: Panel, units: Flags, periods: Flags, what: str, where: str) -> Iterator[Problem]:
    """A problem when the treatment does not vary in a part of the panel."""
    if panel.roles.treatment is None:
        return
    did = panel.variables[panel.roles.treatment][0][periods][:, units]
    seen = seen_in(panel)[periods][:, units]
    levels = set(np.unique(did[seen]).tolist())
    if levels <= {0.0} or levels <= {1.0}:
        left = (
            "leaves no observation"
            if not levels
            else "leaves no treated observation"
            if levels == {0.0}
            else "leaves no untreated observation"
        )
        yield Problem(f"{what} {left}", where, "treated and untreated observations", "choose another sample")


def _psm_problems(psm: PsmSection | None, panel: Panel, where: str) -> Iterator[Problem]:
    treatment = panel.roles.treatment
    if psm is None or treatment is None:
        return
    treated = (panel.variables[treatment][0] > 0) & seen_in(panel)
    if treated.any(axis=0).all():
        yield Problem("every unit is treated at some time", where, "units that are never treated",
                      "remove [robustness.psm]")  # fmt: skip
    first, last = panel.periods[0], panel.periods[-1]
    if psm.years is None and treated[0].any():
        yield Problem(f"some units are treated in {first}, the first period", where, "a period before all treatment",
                      "name the years over which covariates are averaged")  # fmt: skip
    if psm.years is not None and not any(psm.years[0] <= period <= psm.years[1] for period in panel.periods):
        yield Problem(f"years = {list(psm.years)} is outside of the panel", where, f"within {first}-{last}",
                      "choose periods of the panel")  # fmt: skip


def unit_values(spec: Spec, panel: Panel, name: str) -> tuple[str, ...]:
    """What a column of `exclude` holds for each unit, as text: the unit's own name or an attribute."""
    if name == spec.panel.unit:
        return panel.units
    return tuple(value_label(value) for value in panel.attributes[name].tolist())


def kept_units(spec: Spec, panel: Panel, name: str) -> Flags:
    """Units (N,) that a key of `exclude` keeps."""
    gone = set(map(value_label, spec.robustness.exclude[name]))
    return np.array([value not in gone for value in unit_values(spec, panel, name)], dtype=bool)
