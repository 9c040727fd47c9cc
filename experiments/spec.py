"""SPEC.toml and the panel it describes: read both, with every error at once and in the user's words."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from experiments.derived_columns import from_first_year, unit_mean, with_capital
from experiments.index_section import (
    add_diversification,
    column_problems,
    columns_asked_for,
    index_conflicts,
    index_notes,
    index_problems,
    named_index,
    shares_behind,
    with_index,
)
from experiments.robustness_data import further_variables
from experiments.robustness_section import PsmSection, RobustnessSection, robustness_problems
from experiments.section import Section
from experiments.spec_sections import (
    KINDS,
    Balance,
    Contiguity,
    File,
    IndexSection,
    InferenceSection,
    PanelSection,
    Spec,
    WeightsSection,
    expectation,
    mean_of,
)
from experiments.subpanels import part
from experiments.transforms import Transform, apply_transforms, leading_gaps, read_transform
from sim.errors import BadInput, Problem, bad, closest, listed, one_of
from sim.files import ENCODINGS, read_frame
from sim.frames import Reading, Rows, missing_columns, read_long
from sim.index import EntropyIndex
from sim.panel import Panel, Roles
from sim.weights import Weights

__all__ = ["RealPanel", "Spec", "balanced", "load_panel", "read_real_panel", "read_spec"]

SECTIONS = ("panel", "transform", "index", "inference", "robustness", "weights")


@dataclass(frozen=True, eq=False, slots=True)
class RealPanel:
    """A panel file read as its spec says, with weights; `notes` say in words what was left out.

    order: all units of the file in its order, which weights given as matrices follow. index: the outcome's weights,
    where it is an index; estimated once from the whole panel, whatever part of it is used later. further: variables
    (1, T, N) that only robustness checks use, NaN where missing.
    """

    panel: Panel
    spec: Spec
    order: tuple[str, ...]
    notes: tuple[str, ...]
    index: EntropyIndex | None = None
    further: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def balanced(self, how: Balance | None = None) -> Panel:
        """The panel without gaps, W built anew for the units kept; `how` = None takes the spec's own."""
        return balanced(self.panel, how or self.spec.panel.balance, self.spec, self.order)

    def subset(self, units: NDArray[np.bool_], *, weights: bool = True) -> Panel:
        """The panel of some units, (N,), with W built anew for them, or without W."""
        kept = part(self.panel, units, np.ones(len(self.panel.periods), dtype=bool))
        return _with_weights(kept, self.spec, self.order) if weights else kept


def read_spec(path: str | Path) -> Spec:
    """The spec in a TOML file, paths in it relative to that file; raises one BadInput with all that is wrong."""
    path = Path(path)
    data = _read_toml(path)
    problems = _unknown_sections(data, path.name)
    panel = _section(PanelSection, data.get("panel", {}), f"{path.name}, [panel]", problems)
    if "index" not in data and isinstance(data.get("panel", {}), Mapping) and "outcome" not in data.get("panel", {}):
        problems.append(Problem("the key 'outcome' is missing", f"{path.name}, [panel]", "outcome = ..., or [index]",
                                "add outcome"))  # fmt: skip
    transforms = _transforms(data.get("transform", {}), path, problems)
    index = _index(data, panel, path, problems)
    weights = _weights(data.get("weights", []), path, problems)
    inference = _section(InferenceSection, data.get("inference", {}), f"{path.name}, [inference]", problems)
    robustness = _robustness(data.get("robustness", {}), path, problems)
    if panel is not None:
        panel = panel if index is None else panel.model_copy(update={"outcome": panel.outcome or index.name})
        problems += _conflicts(panel, transforms, index, weights, path.name)
        problems += robustness_problems(robustness, panel, path.name)
    if problems or panel is None:
        raise BadInput(*problems)
    return Spec.model_construct(panel=panel, transform=transforms, index=index, inference=inference,
                                robustness=robustness, weights=weights, file=path.name)  # fmt: skip


def load_panel(path: str | Path, spec: Spec) -> Panel:
    """The panel of a file with roles, attributes and weights as the spec says; see `read_real_panel`."""
    return read_real_panel(path, spec).panel


def read_real_panel(path: str | Path, spec: Spec) -> RealPanel:
    """Read, transform and check a panel file, and build its weights; raises BadInput.

    Attributes: `capital` (bool), `longitude`, `latitude`, and groups and cluster under their columns' names.
    """
    frame = read_frame(path)
    _check_columns(frame, spec)
    section = spec.panel
    rows = Rows.of(frame, section.unit, section.period)
    frame = add_diversification(apply_transforms(frame, spec.transform, rows), spec.index, rows)
    treatment = section.treatment
    if section.first_treated:
        treatment = f"did from {section.first_treated}"
        frame[treatment] = from_first_year(frame[section.first_treated], rows)
    attributes = spec.attributes
    for name in spec.mean_columns:
        frame[mean_of(name)] = unit_mean(frame[name], rows)
        attributes[mean_of(name)] = mean_of(name)
    gaps = leading_gaps(spec.transform, frozenset((*spec.variables, *shares_behind(spec.index, spec.variables))))
    first_years = np.unique(rows.years)[:gaps]
    reading = read_long(
        frame.loc[~np.isin(rows.years, first_years)],
        unit=section.unit,
        period=section.period,
        roles=Roles(None if spec.index else section.outcome, treatment, section.controls, section.mediators),
        attributes=attributes,
        missing=section.missing,
        variables=(*([section.other_policy] if section.other_policy else []), *spec.indicators),
    )
    panel, index = with_index(with_capital(reading.panel, rows.file, section.capital), spec, rows.file)
    notes = (*_notes(reading, [int(year) for year in first_years]), *index_notes(spec.index, index))
    further = further_variables(frame, rows, spec, panel)
    return RealPanel(_with_weights(panel, spec, reading.order), spec, reading.order, notes, index, further)


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
        raise bad("W is for other units", where=where, allowed="W for the units kept",
                  remedy="give the spec that W is built from")  # fmt: skip
    return kept if spec is None else _with_weights(kept, spec, order or panel.units)


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise bad("there is no such file", where=str(path), allowed="a SPEC.toml",
                  remedy="write one with: panelproof init PANEL")  # fmt: skip
    content = path.read_bytes()
    for encoding in ENCODINGS:
        try:
            return tomllib.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except tomllib.TOMLDecodeError as error:
            raise bad(str(error), where=path.name, allowed='TOML, such as unit = "city" below [panel]',
                      remedy="correct that line; texts stand in quotes") from error  # fmt: skip
    raise bad("is not a text in UTF-8", where=path.name, allowed="TOML in UTF-8", remedy="save it as UTF-8")


def _unknown_sections(data: Mapping[str, Any], file: str) -> list[Problem]:
    allowed = one_of(f"[{name}]" for name in SECTIONS)
    return [
        Problem(f"unknown key {key!r}", file, allowed, closest(key, SECTIONS)) for key in data if key not in SECTIONS
    ]


def _section[S: Section](model: type[S], data: Any, where: str, problems: list[Problem]) -> S | None:
    """A section, or None with its problems added."""
    keys = list(model.model_fields)
    if not isinstance(data, Mapping):
        problems.append(Problem(f"is {data!r}", where, f"a table with the keys {one_of(keys)}", "write it as a table"))
        return None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for item in error.errors():
            problems.append(_problem(item, where, keys))
        return None


def _problem(item: Any, where: str, keys: list[str]) -> Problem:
    first, *rest = item["loc"]
    key = str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    if item["type"] == "extra_forbidden":
        return Problem(f"unknown key {key!r}", where, one_of(keys), closest(key, keys))
    if item["type"] == "missing":
        return Problem(f"the key {key!r} is missing", where, f"{key} = ...", f"add {key}")
    return Problem(f"{key} = {item['input']!r}", where, expectation(item), f"correct {key}")


def _transforms(data: Any, path: Path, problems: list[Problem]) -> tuple[Transform, ...]:
    where = f"{path.name}, [transform]"
    if not isinstance(data, Mapping):
        problems.append(Problem(f"is {data!r}", where, 'a table such as ln_y = { log = "y" }', "write it as a table"))
        return ()
    transforms = []
    for name, value in data.items():
        try:
            transforms.append(read_transform(name, value, where))
        except BadInput as error:
            problems += error.problems
    return tuple(transforms)


def _index(
    data: Mapping[str, Any], panel: PanelSection | None, path: Path, problems: list[Problem]
) -> IndexSection | None:
    where = f"{path.name}, [index]"
    index = _section(IndexSection, data["index"], where, problems) if "index" in data else None
    if index is None:
        return None
    problems += index_problems(index, path.name)
    return named_index(panel, index)


def _robustness(data: Any, path: Path, problems: list[Problem]) -> RobustnessSection:
    where = f"{path.name}, [robustness"
    own = {key: value for key, value in data.items() if key != "psm"} if isinstance(data, Mapping) else data
    section = _section(RobustnessSection, own, f"{where}]", problems) or RobustnessSection()
    if own is data or "psm" not in data:
        return section
    return section.model_copy(update={"psm": _section(PsmSection, data["psm"], f"{where}.psm]", problems)})


def _weights(data: Any, path: Path, problems: list[Problem]) -> tuple[Any, ...]:
    tables = data if isinstance(data, list) else [data]
    found: list[WeightsSection] = []
    for position, table in enumerate(tables, start=1):
        where = f"{path.name}, [[weights]] {position}"
        kind = table.get("kind") if isinstance(table, Mapping) else None
        if not isinstance(kind, str) or kind not in KINDS:
            what = "the key 'kind' is missing" if kind is None else f"kind = {kind!r}"
            remedy = "add kind" if kind is None else closest(str(kind), KINDS)
            problems.append(Problem(what, where, one_of(KINDS), remedy))
            continue
        section = _section(KINDS[kind], table, f"{where} ({kind})", problems)
        if isinstance(section, Contiguity | File):
            section = section.model_copy(update={"path": path.parent / section.path})
            if not section.path.is_file():
                problems.append(Problem("there is no such file", f"{where}, path = {str(section.path)!r}",
                                        "a file, its path relative to the spec", "correct the path"))  # fmt: skip
        if section is not None:
            found.append(section)
    return tuple(found)


def _conflicts(
    panel: PanelSection,
    transforms: tuple[Transform, ...],
    index: IndexSection | None,
    weights: tuple[Any, ...],
    file: str,
) -> list[Problem]:
    """What is wrong between keys that are fine on their own."""
    where = f"{file}, [panel]"
    problems = [] if index is None else index_conflicts(index, panel, transforms, file)
    if panel.treatment and panel.first_treated:
        problems.append(Problem("treatment and first_treated are both given", where, "one of them", "remove one"))
    if (panel.longitude is None) != (panel.latitude is None):
        problems.append(Problem("longitude and latitude are not both given", where, "both or none", "add the other"))
    single = [panel.unit, panel.period, panel.outcome, panel.treatment, panel.first_treated, panel.other_policy]
    indicators = () if index is None else index.indicators
    roles = [name for name in (*single, *panel.controls, *panel.mediators, *indicators) if name]
    for name in dict.fromkeys(name for name in roles if roles.count(name) > 1):
        problems.append(Problem(f"the column {name!r} is used twice", where, "one role a column", "name it once"))
    for made in transforms:
        if made.name in (panel.unit, panel.period):
            problems.append(Problem(f"{made.name!r} is the unit or the period", f"{file}, [transform]", "a new name",
                                    "choose another name"))  # fmt: skip
    labels = [section.label for section in weights]
    for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
        problems.append(Problem(f"two weights are called {label!r}", f"{file}, [[weights]]", "different names",
                                'give one of them name = "..."'))  # fmt: skip
    for section in weights:
        if section.places and panel.longitude is None:
            problems.append(Problem(f"{section.label} needs coordinates", f"{file}, [[weights]]",
                                    "longitude and latitude in [panel]", "name the columns in degrees"))  # fmt: skip
    return problems


def _check_columns(frame: pd.DataFrame, spec: Spec) -> None:
    """Raise BadInput for every column that the spec names and the file lacks."""
    wanted = dict.fromkeys(spec.mean_columns, f"{spec.file} [[weights]] variable")
    wanted |= dict.fromkeys(spec.inference.clusters, f"{spec.file} [inference] errors")
    for key, value in spec.panel:
        if key not in ("missing", "balance", "synthetic", *(["outcome"] if spec.index else [])):
            names = value if isinstance(value, tuple) else (value,) if value else ()
            wanted |= dict.fromkeys(names, f"{spec.file} [panel] {key}")
    wanted |= columns_asked_for(spec) | spec.robustness.columns_asked_for(spec.file, spec.panel.unit)
    problems = missing_columns(frame, {name: asked for name, asked in wanted.items() if name not in spec.made})
    problems += column_problems(frame, spec)
    if problems:
        raise BadInput(*problems)


def _with_weights(panel: Panel, spec: Spec, order: tuple[str, ...]) -> Panel:
    """The panel with all weights of the spec; raises BadInput with the problems of all of them."""
    built: dict[str, Weights] = {}
    problems: list[Problem] = []
    for section in spec.weights:
        try:
            built[section.label] = section.build(panel, order)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(*problems)
    return replace(panel, weights=built)


def _notes(reading: Reading, first_years: list[int]) -> tuple[str, ...]:
    notes = []
    panel = reading.panel
    if first_years:
        notes.append(f"{listed(first_years)} left out: lags and differences have no value there.")
    if reading.dropped:
        columns = listed((f"{name} {count}" for name, count in reading.dropped.items()), 12)
        notes.append(f"{sum(reading.dropped.values())} rows with missing values left out (by column: {columns}).")
    gone = set(reading.order) - set(panel.units)
    if gone:
        left = listed((unit for unit in reading.order if unit in gone), 12)
        notes.append(f"{len(gone)} units without a complete row left out: {left}.")
    if reading.absent:
        cells = len(panel.units) * len(panel.periods)
        notes.append(f"Unbalanced: {reading.absent} of {cells} unit-periods are not observed.")
    return tuple(notes)
