"""SPEC.toml and the panel it describes: read both, with every error at once and in the user's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from estimators.core.error_types import columns_of, forms, served
from estimators.core.regression import fixed_columns, useless
from estimators.core.tile import Tile
from experiments.panel_spec.prepared import (
    add_diversification,
    cell_problems,
    collapse_rows,
    column_problems,
    index_notes,
    shares_behind,
    strength_note,
    weight_notes,
    with_index,
)
from experiments.panel_spec.reading import as_read, without_codes
from experiments.panel_spec.sections import (
    PLACES,
    Balance,
    IvSection,
    PanelSection,
    PsmSection,
    RobustnessSection,
    Spec,
    SpecTables,
    repeats,
    value_label,
)
from experiments.panel_spec.transforms import (
    apply_transforms,
    from_first_year,
    number_columns,
    periods_without,
    with_capital,
)
from experiments.panel_spec.weights import OfFile, mean_of, place_problems, with_orders
from experiments.settings import read_toml, validated
from sim.arrays import Flags, Floats
from sim.errors import (
    BadInput,
    Problem,
    amount,
    bad,
    check_file,
    closest,
    gathering,
    listed,
    one_of,
    refuse,
    type_problems,
)
from sim.index import EntropyIndex
from sim.panel import Panel, group_labels, part, seen_in, seen_part
from sim.panel_files import (
    LongTable,
    Rows,
    TreatmentKind,
    check_table,
    grouped_problems,
    index_as_columns,
    missing_columns,
    number_problems,
    numbers,
    read_frame,
    read_table,
)
from sim.schema import TREATMENT, Roles, absent_periods, period_step
from sim.weights import Weights

# What is wrong between keys of a SPEC.toml that are fine on their own, before any panel is read.


TERMS = ("constant", TREATMENT, "rho", "lambda", "sigma2")
EFFECTS = ("direct:", "indirect:", "total:")


def conflicts(spec: Spec) -> Iterator[Problem]:
    """All of them, section by section."""
    panel, file = spec.panel, spec.file
    yield from _role_problems(spec)
    yield from _names_of_terms(spec)
    for made in spec.transform:
        if made.name in (panel.unit, panel.period):
            yield Problem(f"{made.name!r} is the unit or the period", f"{file}, [transform]", "a new name",
                          "choose another name")  # fmt: skip
    yield from _weights_problems(spec)
    yield from _error_problems(spec)
    yield from _robustness_problems(spec.robustness, panel, f"{file}, [robustness]")
    yield from _interaction_problems(spec)
    if (psm := spec.robustness.psm) is not None:
        where = f"{file}, [robustness.psm]"
        if not (panel.treatment or panel.first_treated):
            yield Problem("there is no treatment to match on", where, "treatment or first_treated in [panel]",
                          "name it, or remove [robustness.psm]")  # fmt: skip
        if not (panel.controls if psm.covariates is None else psm.covariates):
            yield Problem("there is no covariate to match on", where, "covariates = [...], or controls in [panel]",
                          "name one or more")  # fmt: skip
    if spec.iv is not None:
        yield from _iv_problems(spec.iv, panel, f"{file}, [iv]")


def _role_problems(spec: Spec) -> Iterator[Problem]:
    """What [index] and [panel] make of columns that have another role already."""
    panel, index, where = spec.panel, spec.index, f"{spec.file}, [index]"
    if index is not None:
        if panel.outcome not in (None, index.name):
            yield Problem(f"outcome = {panel.outcome!r} is not the index {index.name!r}", f"{spec.file}, [panel]",
                          f"outcome = {index.name!r}, or none", "remove outcome, or remove [index]")  # fmt: skip
        if index.name == TREATMENT and (panel.treatment or panel.first_treated):
            yield Problem(f"name = {index.name!r}", where, f"the name {TREATMENT!r} for the treatment only",
                          "choose another name")  # fmt: skip
        taken = {panel.unit: "the unit", panel.period: "the period"}
        taken |= {made.name: "made in [transform] already" for made in spec.transform}
        for name in (index.name, *index.diversification):
            if name in taken:
                yield Problem(f"{name!r} is {taken[name]}", where, "a new name", "choose another name")
        if index.name in index.diversification:
            yield Problem(f"{index.name!r} is the index and a diversification", where, "different names",
                          "choose another name")  # fmt: skip

    where = f"{spec.file}, [panel]"
    if panel.treatment and panel.first_treated:
        yield Problem("treatment and first_treated are both given", where, "one of them", "remove one")
    if panel.treatment_kind and not panel.treatment:
        yield Problem(f"treatment_kind = {panel.treatment_kind!r} without treatment", where,
                      'treatment = "..." as well', "name the treatment, or remove the key")  # fmt: skip
    if (panel.longitude is None) != (panel.latitude is None):
        yield Problem("longitude and latitude are not both given", where, "both or none", "add the other")
    if panel.longitude and panel.longitude == panel.latitude:
        yield Problem(f"longitude and latitude are both {panel.latitude!r}", where, "two columns", "correct one")
    single = [panel.unit, panel.period, panel.outcome, panel.treatment, panel.first_treated, panel.other_policy]
    indicators = () if index is None else index.indicators
    roles = [name for name in (*single, *panel.controls, *panel.mediators, *indicators) if name]
    for name in dict.fromkeys(roles):
        if roles.count(name) > 1:
            yield Problem(f"the column {name!r} is used twice", where, "one role for each column", "name it once")
    keys = ("unit", "period", "outcome", "treatment", "first_treated", "other_policy")
    held = {getattr(panel, key): key for key in keys} | dict.fromkeys(indicators, "an indicator of the index")
    if panel.weight and panel.weight in held:
        yield Problem(f"weight = {panel.weight!r} is {held[panel.weight].replace('_', ' ')}", where,
                      "a column of its own (or a control), such as the population", "name another column")  # fmt: skip
    if panel.unit in panel.groups:
        yield Problem(f"groups names {panel.unit!r}, which is the unit", where, "columns of groups of units",
                      "name a coarser column, such as the province")  # fmt: skip
    yield from repeats({"groups": panel.groups}, where)


def _names_of_terms(spec: Spec) -> Iterator[Problem]:
    """Columns whose names the models need for terms of their own, or a panel for other attributes of its units."""
    panel, robustness = spec.panel, spec.robustness
    regressors = dict.fromkeys(panel.controls, "[panel] controls")
    regressors |= dict.fromkeys(panel.mediators, "[panel] mediators")
    regressors |= {panel.other_policy: "[panel] other_policy"} if panel.other_policy else {}
    regressors |= dict.fromkeys(robustness.policies, "[robustness] policies")
    regressors |= dict.fromkeys(robustness.covariates, "[robustness.psm] covariates")
    regressors |= spec.iv.columns if spec.iv is not None else {}
    regressors |= dict.fromkeys(() if spec.moderation is None else spec.moderation.by, "[moderation] by")
    others = {panel.outcome: "[panel] outcome"} if panel.outcome and spec.index is None else {}
    others |= dict.fromkeys(spec.indicators, "[index]") | dict.fromkeys(robustness.outcomes, "[robustness] outcomes")
    lags = {f"w_{name}" for name in (TREATMENT, *regressors)}
    taken = {name: key for name, key in others.items() if name == TREATMENT} | {
        name: key for name, key in regressors.items() if name in TERMS or name in lags or name.startswith(EFFECTS)
    }
    effects = one_of(f"{kind}NAME" for kind in EFFECTS)
    for name, key in taken.items():
        if name != panel.treatment:
            yield Problem(f"the column {name!r} has the name of a term of the models", f"{spec.file}, {key}",
                          f"names other than {one_of(TERMS)}, w_NAME of a regressor, {effects}",
                          f'rename it, or copy it in [transform]: NEW = {{ scale = ["{name}", 1] }}')  # fmt: skip
    for name, column in spec.attributes.items():
        if name in PLACES and getattr(panel, name) not in (None, column):
            yield Problem(f"the group {name!r} is not the one that [panel] names for {name}", spec.file,
                          "a column of another name", "rename that column")  # fmt: skip


def _weights_problems(spec: Spec) -> Iterator[Problem]:
    where = f"{spec.file}, [[weights]]"
    if spec.spatial.cutoffs and spec.panel.longitude is None:
        yield Problem("cutoffs need coordinates", f"{spec.file}, [spatial]", "longitude and latitude in [panel]",
                      "name the columns in degrees")  # fmt: skip
    if "effects" in spec.spatial.model_fields_set and not (spec.weights or spec.spatial.cutoffs):
        yield Problem("effects without spatial weights: there is no spatial model", f"{spec.file}, [spatial]",
                      "[[weights]] as well, or cutoffs", "add a table [[weights]], or remove effects")  # fmt: skip
    labels = [section.label for section in spec.weights]
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            yield Problem(f"two weights are called {label!r}", where, "different names",
                          'give one of them name = "..."')  # fmt: skip
    for section in spec.weights:
        if section.places and spec.panel.longitude is None:
            yield Problem(f"{section.label} needs coordinates", where, "longitude and latitude in [panel]",
                          "name the columns in degrees")  # fmt: skip


def _error_problems(spec: Spec) -> Iterator[Problem]:
    """Error types that do not exist, or that name what has another name."""
    panel, groups, where = spec.panel, spec.group_columns, f"{spec.file}, [inference] errors"
    keys = {panel.unit: "unit", panel.period: "period"}
    allowed = forms("regression", (*groups, "COLUMN"))
    for error in dict.fromkeys(spec.inference.errors):
        named = columns_of(error, groups)
        called = [f"{name!r} is the {keys[name]}" for name in named if name in keys and name != keys[name]]
        own = tuple(name for name in named if name not in ("", "unit", "period"))  # which become groups of units
        if not served(error, own, "regression"):
            yield Problem(f"unknown error type {error!r}", where,
                          one_of(allowed, error, "`panelproof kinds`"),
                          closest(error, allowed, "choose among them"))  # fmt: skip
        elif called:
            yield Problem(f"{error!r}: {' and '.join(called)}", where, "unit, period, or a column of groups of units",
                          "write cluster:unit, wild:unit or cluster:period")  # fmt: skip
        elif error.startswith("conley:") and panel.longitude is None:
            yield Problem(f"{error!r} needs coordinates", where, "longitude and latitude in [panel]",
                          "name the columns in degrees, or choose another error type")  # fmt: skip


def _robustness_problems(section: RobustnessSection, panel: PanelSection, where: str) -> Iterator[Problem]:
    treatment = panel.treatment or panel.first_treated
    keys = {panel.unit: "the unit", panel.period: "the period"}
    own = {treatment: "the treatment"} if treatment else {}
    others = keys | ({panel.outcome: "the outcome"} if panel.outcome else {})
    others |= dict.fromkeys(panel.controls, "a control") | own
    for key, names, taken in (("policies", section.policies, others), ("outcomes", section.outcomes, others),
                              ("psm.covariates", section.covariates, keys | own)):  # fmt: skip
        for name in names:
            if name in taken:
                yield Problem(f"{key} names {name!r}, which is {taken[name]}", where, "another column", "remove it")
    if section.region_by_period == panel.unit:
        yield Problem(f"region_by_period = {panel.unit!r} is the unit", where, "a column of groups of units",
                      "name a coarser column, such as the province")  # fmt: skip
    for key, asked in (("staggered", section.staggered), ("[robustness.synthetic]", section.synthetic is not None)):
        if asked and not treatment:
            yield Problem(f"{key}: there is no treatment to adopt", where, "treatment or first_treated in [panel]",
                          f"name it, or remove {key}")  # fmt: skip


def _interaction_problems(spec: Spec) -> Iterator[Problem]:
    """What [moderation] and [ddd] name that is no moderator, and no group."""
    panel = spec.panel
    treatment = panel.treatment or panel.first_treated
    taken = {panel.unit: "the unit", panel.period: "the period", panel.outcome: "the outcome"}
    taken |= {treatment: "the treatment"} if treatment else {}
    for place, key, names in (
        ("[moderation]", "by", () if spec.moderation is None else spec.moderation.by),
        ("[ddd]", "group", () if spec.ddd is None else (spec.ddd.group,)),
    ):
        where = f"{spec.file}, {place}"
        if names and not treatment:
            yield Problem("there is no treatment", where, "treatment or first_treated in [panel]",
                          f"name it, or remove {place}")  # fmt: skip
        for name in (name for name in names if name in taken):
            yield Problem(f"{key} names {name!r}, which is {taken[name]}", where, "another column", "name another")


def _iv_problems(section: IvSection, panel: PanelSection, where: str) -> Iterator[Problem]:
    treatment = panel.treatment or panel.first_treated
    taken = {panel.unit: "the unit", panel.period: "the period"}
    taken |= {panel.outcome: "the outcome"} if panel.outcome else {}
    own = section.endogenous or treatment
    if own in taken:
        yield Problem(f"endogenous names {own!r}, which is {taken[own]}", where, "a regressor", "name another column")
    if section.instruments and own is None:
        yield Problem("there is no endogenous regressor", where, 'endogenous = "...", or a treatment in [panel]',
                      "name the column that the instruments move")  # fmt: skip
    if section.mediator and (not treatment or len(panel.mediators) != 1):
        what = "there is no treatment" if not treatment else f"mediators = {list(panel.mediators)}"
        yield Problem(f"mediator = {list(section.mediator)}, and {what}", where,
                      "a treatment and one mediator in [panel]", "name them, or remove mediator")  # fmt: skip
    taken |= {treatment: "the treatment"} if treatment else {}
    taken |= dict.fromkeys(panel.controls, "a control") | dict.fromkeys(panel.mediators, "a mediator")
    for key, names in (("instruments", section.instruments), ("mediator", section.mediator)):
        for name in names:
            if name in taken:
                yield Problem(f"{key} names {name!r}, which is {taken[name]}", where,
                              "a column that reaches the outcome only through what it moves", "remove it from one of "
                                                                                              "them")  # fmt: skip


# What [robustness] and [iv] take from a panel's file beside the panel, and what is wrong with it there.


def further_variables(frame: pd.DataFrame, rows: Rows, spec: Spec, panel: Panel) -> dict[str, Floats]:
    """Columns that only robustness checks and [iv] use, (1, T, N) each, NaN where missing or not observed.

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
            problems.append(Problem(f"is missing in {amount(gaps.size, 'row')}",
                                    f"{rows.at(int(gaps[0]), name)}, {key}",
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
    periods, seen = np.asarray(panel.periods), seen_in(panel)
    if (name := section.region_by_period) is not None:
        groups = len(np.unique(panel.attributes[name]))
        if groups in (1, len(panel.units)):
            what = "is the same for all units" if groups == 1 else "differs between all units"
            yield Problem(f"region_by_period = {name!r} {what}", where, "several groups of several units",
                          "name another column")  # fmt: skip
    if section.lag is not None:
        distance = section.lag * period_step(panel.periods)
        kept = np.isin(periods - distance, periods)
        pairs = seen[kept] & seen[np.searchsorted(periods, periods[kept] - distance)]
        left = int(pairs.any(axis=1).sum())
        if left < 2:
            yield Problem(f"lag = {section.lag} leaves {left} of {len(periods)} periods", where,
                          "a lag that leaves two or more", "choose a shorter one")  # fmt: skip
    for first, last in section.windows:
        inside = (periods >= first) & (periods <= last)
        if first < periods[0] or last > periods[-1]:
            yield Problem(f"windows: [{first}, {last}] is outside of the panel", where,
                          f"within {periods[0]}-{periods[-1]}", "choose periods of the panel")  # fmt: skip
        elif inside.sum() < 2:
            holds = amount(int(inside.sum()), "period")
            yield Problem(f"windows: [{first}, {last}] holds {holds}", where, "two or more",
                          "choose a longer one")  # fmt: skip
        else:
            every = np.ones(len(panel.units), dtype=bool)
            yield from _treatment_problems(panel, every, inside, f"windows: [{first}, {last}]", where)
    yield from _matching_problems(section.psm, panel, f"{spec.file}, [robustness.psm]")
    every = np.ones(len(panel.periods), dtype=bool)
    for name, excluded in spec.robustness.exclude.items():
        labels = unit_values(spec, panel, name)
        unknown = [text for text in map(value_label, excluded) if text not in labels]
        for text in unknown:
            yield Problem(f"exclude.{name} names {text!r}, which is not in the panel", where,
                          one_of(sorted(set(labels)), text), closest(text, labels))  # fmt: skip
        kept = kept_units(spec, panel, name)
        if kept.sum() < 2:
            rest = amount(int(kept.sum()), "unit")
            yield Problem(f"exclude.{name} leaves {rest}", where, "two or more", "exclude fewer")
        elif not unknown:
            yield from _treatment_problems(panel, kept, every, f"exclude.{name}", where)
    if spec.ddd is not None:
        values = dict.fromkeys(group_labels(panel.attributes[spec.ddd.group]).tolist())
        if len(values) != 2:
            yield Problem(f"group = {spec.ddd.group!r} has {amount(len(values), "value")}: "
                          f"{listed(values)}", f"{spec.file}, [ddd]", "a column of two values",
                          "name another, or make one in [transform]")  # fmt: skip


def _treatment_problems(panel: Panel, units: Flags, periods: Flags, what: str, where: str) -> Iterator[Problem]:
    """A problem when the treatment does not vary in a part of the panel."""
    if panel.roles.treatment is None:
        return
    did = panel.variables[panel.roles.treatment][0][periods][:, units]
    seen = seen_in(panel)[periods][:, units]
    levels = set(np.unique(did[seen]).tolist())
    if len(levels) < 2:
        left = "no treated observation" if levels == {0.0} else "no untreated observation"
        left = f"one value of the treatment, {min(levels):g}" if levels and panel.roles.continuous else left
        yield Problem(f"{what} leaves {left if levels else 'no observation'}", where,
                      "treated and untreated observations", "choose another sample")  # fmt: skip


def _matching_problems(psm: PsmSection | None, panel: Panel, where: str) -> Iterator[Problem]:
    treatment = panel.roles.treatment
    if psm is None or treatment is None or panel.roles.continuous:
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


@dataclass(frozen=True, eq=False, slots=True)
class RealPanel:
    """A panel file read as its spec says, with weights; `notes` say in words what was left out.

    order: all units of the file in its order, which weights given as matrices follow. index: the outcome's weights,
    where it is an index; estimated once from the whole panel, whatever part of it is used later. further: variables
    (1, T, N) that only robustness checks and [iv] use, NaN where missing. file: the name of the panel's file, for
    messages.
    """

    panel: Panel
    spec: Spec
    order: tuple[str, ...]
    notes: tuple[str, ...]
    index: EntropyIndex | None = None
    further: Mapping[str, Floats] = field(default_factory=dict)
    file: str = "table"

    def __repr__(self) -> str:
        roles = ((name, getattr(self.spec.panel, name)) for name in ("outcome", "treatment", "first_treated"))
        named = "".join(f", {name} {column}" for name, column in roles if column)
        return f"RealPanel({self.file}, {len(self.panel.units)} units x {len(self.panel.periods)} periods{named})"

    def _repr_html_(self) -> str:
        from sim.panel import panel_card  # for notebooks alone

        return panel_card(self.panel, [("file", self.file), ("spec", self.spec.file)], self.notes)

    @property
    def called(self) -> str:
        """What tables, figures and texts call the treatment: its label, or its column."""
        section, labels = self.spec.panel, self.spec.output.labels
        own = section.treatment or section.first_treated or TREATMENT
        return labels.get(own) or labels.get(TREATMENT) or own

    @property
    def names(self) -> dict[str, str]:
        """Labels by variable, of those that have one and of the treatment."""
        return {**self.spec.output.labels, TREATMENT: self.called}

    @property
    def treatment_kind(self) -> TreatmentKind:
        """What the treatment is: as the spec declares it, else as its values say."""
        return self.spec.panel.treatment_kind or ("continuous" if self.panel.roles.continuous else "absorbing")

    @property
    def undated(self) -> str:
        """Why there are no dates of adoption, in words; "" where there are."""
        name = self.spec.panel.treatment
        if self.treatment_kind == "absorbing":
            return ""
        if np.isin(self.panel.variables[TREATMENT][0][seen_in(self.panel)], (0.0, 1.0)).all():
            kind = "a dose" if self.treatment_kind == "continuous" else "switching"
            declared = f'it is declared {kind} (treatment_kind = "{self.treatment_kind}")'
            return f"{name} has no dates of adoption, for {declared}"
        return f"{name} has no dates of adoption"

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
    refuse(type_problems(path, (str, Path), "path", where="read_spec", allowed="the path of a SPEC.toml"))
    path = Path(path)
    return spec_of(read_toml(path, *TOML), path.name, path.parent)


TOML = ("a SPEC.toml", "write one with: panelproof init PANEL")
MAKERS = ("read", "index", "collapse")  # tables without which a file's columns are not those that a spec means


def spec_of(settings: Mapping[str, Any], file: str = "spec", folder: Path = Path()) -> Spec:
    """The spec of settings as SPEC.toml holds them. file, folder: where they are from, for messages and paths in them.

    Raises one BadInput with all that is wrong.
    """
    spec, problems = _sound(settings, file, folder)
    if spec is None or problems:
        raise BadInput(*problems)
    return spec


def _sound(settings: Mapping[str, Any], file: str, folder: Path) -> tuple[Spec | None, list[Problem]]:
    """What of a spec can be used, None where the panel's keys lack, and all that is wrong with the rest."""
    tables = [(file, settings), *((f"{file}, [{name}]", table) for name, table in settings.items()
                                  if isinstance(table, Mapping))]  # fmt: skip
    refuse(Problem(f"the key {key!r} is no text", where, "texts", f"write {str(key)!r}")  # as only Python can give
           for where, table in tables for key in table if not isinstance(key, str))  # fmt: skip
    data = {"panel": {}, **settings}
    if not isinstance(data.get("weights", []), list):
        data["weights"] = [data["weights"]]  # a single table
    sound, problems = validated(SpecTables, data, file, folder)
    whole = not any(one.where == f"{file}, [panel]" and not one.what.startswith("unknown key") for one in problems)
    if "index" not in data and isinstance(data["panel"], Mapping) and "outcome" not in data["panel"]:
        problems.append(Problem("the key 'outcome' is missing", f"{file}, [panel]", "outcome = ..., or [index]",
                                "add outcome"))  # fmt: skip
    if sound is None:
        return None, problems

    panel, index = sound.panel, sound.index  # which is the outcome, under its own name or else under that of [panel]
    if index is not None and panel.outcome and "name" not in index.model_fields_set:
        index = index.model_copy(update={"name": panel.outcome})
    if index is not None:
        panel = panel.model_copy(update={"outcome": panel.outcome or index.name})
    if sound.collapse is not None:
        panel = panel.model_copy(update={"weight": panel.weight or sound.collapse.name})
    spec = Spec.model_construct(**(dict(sound) | {"panel": panel, "index": index}), file=file)
    return spec, [*problems, *(conflicts(spec) if whole else ())]


def read_real_panel(path: str | Path, spec: Spec | str | Path) -> RealPanel:
    """Read, transform and check a panel file, and build its weights; raises BadInput.

    spec: what `read_spec` returns, or the path of a SPEC.toml: what is wrong with it is then raised together with what
    is wrong with the panel's file and its columns.
    """
    if isinstance(spec, Spec):
        place = None if spec.read is None else spec.read.table_place
        return real_panel_of(read_frame(path, spec.panel.sheet, place=place), spec)
    problems, sound, made = list[Problem](), None, frozenset[str]()
    with gathering(problems):
        settings = read_toml(Path(spec), *TOML)
        sound, problems = _sound(settings, Path(spec).name, Path(spec).parent)
        made = frozenset(settings["transform"]) if isinstance(settings.get("transform"), Mapping) else made
    if sound is not None and not problems:
        return read_real_panel(path, sound)
    with gathering(problems):
        check_file(Path(path))
        # Where the table stands, and what is made of it, must be known to miss a column.
        if sound is not None and not any(f"[{name}" in one.where for one in problems for name in MAKERS):
            place = None if sound.read is None else sound.read.table_place
            _check_columns(read_frame(path, sound.panel.sheet, place=place), sound, made)
    raise BadInput(*problems)


def real_panel_of(frame: pd.DataFrame, spec: Spec) -> RealPanel:
    """Transform and check a table of a panel, which may be changed, and build its weights; raises BadInput.

    Attributes: `capital` (bool), `longitude`, `latitude`, and groups and cluster under their columns' names.
    """
    check_table(frame := index_as_columns(frame), "table")
    _check_columns(frame, spec)
    section, keys = spec.panel, (spec.panel.unit, spec.panel.period)
    transforms, said = spec.transform, tuple[str, ...]()
    if spec.read is not None or spec.recode:
        dates = (section.first_treated,) if section.first_treated else ()
        frame = as_read(frame, spec.read, spec.recode, keys, spec.file, dates, pooled=spec.collapse is not None)
        said = frame.attrs["read"]
    if section.missing_codes:
        frame = without_codes(frame, section.missing_codes, keys)
    if spec.collapse is not None:
        frame, transforms, collapsed = collapse_rows(frame, spec)
        said = (*said, *collapsed)
    rows = Rows.of(frame, section.unit, section.period)
    frame = apply_transforms(frame, transforms, rows)
    if spec.index is not None:
        frame = add_diversification(frame, spec.index, rows)
    treatment = section.treatment
    if section.first_treated:
        treatment = f"did from {section.first_treated}"
        frame[treatment] = from_first_year(frame[section.first_treated], rows)
        frame.attrs["called"] = {treatment: section.first_treated}
    attributes = spec.attributes
    for name in spec.mean_columns:
        (values,) = number_columns(frame, (name,), rows)
        means = pd.Series(values).groupby(rows.labels).transform("mean")
        frame[mean_of(name)] = np.asarray(means, dtype=np.float64)
        attributes[mean_of(name)] = mean_of(name)
    without = _without_lags(spec, rows)
    if {*spec.variables, *spec.further}.intersection(frame.select_dtypes(exclude=["number", "bool"])):
        refuse(cell_problems(frame, spec, rows, ~np.isin(rows.years, without)))
    table = read_table(
        frame.loc[~np.isin(rows.years, without)],
        section.unit,
        section.period,
        roles=Roles(None if spec.index else section.outcome, treatment, section.controls, section.mediators,
                    weight=section.weight),
        attributes=attributes,
        missing=section.missing,
        variables=(*([section.other_policy] if section.other_policy else []), *spec.indicators),
        treatment=section.treatment_kind,
    )  # fmt: skip
    refuse(place_problems(table.parts["attributes"], table.parts["units"], attributes, rows.file))
    panel, index = with_capital(Panel(**table.parts), rows.file, section.capital), None
    if spec.index is not None:
        panel, index = with_index(panel, spec.index, f"{rows.file}, {spec.file}")
    further = further_variables(frame, rows, spec, panel)
    spec = spec.model_copy(update={"weights": with_orders(spec.weights, frame, rows)})
    panel = with_weights(panel, spec, table.order)
    notes = (*said, *_notes(table, frame, rows, without, panel, spec.panel), *frame.attrs.get("made", ()),
             *(index_notes(spec.index, index) if spec.index and index else ()))  # fmt: skip
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
    where, remedy = "a model of this panel's balanced part", 'set balance = "drop-units" or "drop-periods" in [panel]'
    if how not in get_args(Balance):
        raise bad(f"balance = {how!r}", where=where, allowed=one_of(get_args(Balance)),
                  remedy=closest(how, get_args(Balance), "choose one of them"))  # fmt: skip
    if how == "error":
        lost = f"{amount(len(gaps), 'unit-period')} {'is' if len(gaps) == 1 else 'are'} missing: {listed(gaps)}"
        raise bad(lost, where=where, allowed="a balanced panel", remedy=remedy)  # fmt: skip
    every = (np.ones(len(panel.units), dtype=bool), np.ones(len(panel.periods), dtype=bool))
    units, periods = (seen.all(axis=0), every[1]) if how == "drop-units" else (every[0], seen.all(axis=1))
    if units.sum() < 2 or periods.sum() < 2:
        left = f"{amount(int(units.sum()), 'unit')} and {amount(int(periods.sum()), 'period')}"
        raise bad(f'balance = "{how}" leaves {left}', where=where, allowed="two or more of each",
                  remedy="choose the other way, or fill the gaps")  # fmt: skip
    kept = part(panel, units, periods)
    if units.all():
        return replace(kept, weights=panel.weights)
    if spec is None and panel.weights:
        raise bad("the weights are of other units", where=where, allowed="weights of the units that are kept",
                  remedy="pass the spec that the weights are built from")  # fmt: skip
    return kept if spec is None else with_weights(kept, spec, order or panel.units)


NO_COLUMNS = ("missing", "missing_codes", "balance", "synthetic", "sheet", "treatment_kind")  # keys of [panel]


def _check_columns(frame: pd.DataFrame, spec: Spec, made: frozenset[str] = frozenset()) -> None:
    """Raise BadInput for columns that the file lacks, made: further ones that it need not have; and doubtful points."""
    wanted = dict.fromkeys(spec.mean_columns, f"{spec.file} [[weights]] variable")
    orders = (section.order_column for section in spec.weights if isinstance(section, OfFile))
    wanted |= dict.fromkeys((name for name in orders if name), f"{spec.file} [[weights]] units")
    wanted |= dict.fromkeys(spec.clusters, f"{spec.file} [inference] errors")
    if spec.collapse is not None and spec.collapse.weight is not None:
        wanted[spec.collapse.weight] = f"{spec.file} [collapse] weight"
    for key, value in spec.panel:
        if key not in NO_COLUMNS and not (key == "outcome" and spec.index):
            names = value if isinstance(value, tuple) else (value,) if value else ()
            wanted |= dict.fromkeys(names, f"{spec.file} [panel] {key}")
    own = ("[twin", "[moderation]", "[iv")
    wanted |= {name: f"{spec.file} {key}" for name, key in spec.further.items() if key.startswith(own)}
    wanted |= {} if spec.read is None else dict.fromkeys(spec.read.exclude, f"{spec.file} [read] exclude")
    wanted |= {} if spec.ddd is None else {spec.ddd.group: f"{spec.file} [ddd] group"}
    if spec.index is not None:
        shares = shares_behind(spec.index, tuple(spec.index.diversification))
        wanted |= dict.fromkeys(shares, f"{spec.file} [index] diversification")
        wanted |= dict.fromkeys(spec.index.indicators, f"{spec.file} [index]")
    checked = spec.robustness.attributes(spec.panel.unit) | spec.robustness.further
    wanted |= {name: f"{spec.file} [robustness] {key}" for name, key in checked.items()}
    parts = ((name, f"{spec.file} [transform] {one.name}") for one in spec.transform for name in one.columns)
    wanted = dict(parts) | wanted
    problems = missing_columns(frame, {name: asked for name, asked in wanted.items() if name not in spec.made | made})
    problems += column_problems(frame, spec.index, spec.file) if spec.index else []
    told = spec.read is not None and spec.read.thousands and spec.read.decimal == ","
    refuse([*problems, *grouped_problems(frame, told)])


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
    used = frozenset((*spec.variables, *(shares_behind(spec.index, spec.variables) if spec.index else ())))
    without = periods_without(spec.transform, used, rows)
    if without == frozenset(rows.years.tolist()):
        raise bad("lags and differences have no value in any period", where=f"{spec.file}, [transform]",
                  allowed=f"periods one step apart, of {period_step(rows.years)} in {rows.file}",
                  remedy="leave those columns out, or add periods")  # fmt: skip
    return sorted(without)


def _adoption_notes(frame: pd.DataFrame, rows: Rows, panel: Panel, section: PanelSection) -> Iterator[str]:
    """Units that are not observed just before their first treated period: when they adopted, as all rows of the file
    say, those left out too, or that these do not say it."""
    treated, seen = panel.variables[str(panel.roles.treatment)][0] == 1, seen_in(panel)
    first, units = (treated & seen).argmax(axis=0), np.arange(len(panel.units))
    before = np.maximum(first - 1, 0)
    unseen = (treated & seen).any(axis=0) & ~seen[before, units] & (seen.argmax(axis=0) < first)
    given = numbers(frame[section.treatment or section.first_treated])[0]
    dates = given if section.first_treated else np.where(given == 1, rows.years, np.nan)
    starts = pd.Series(dates).groupby(rows.labels).min()
    told = {
        (label, year) for label, year in zip(rows.labels[~np.isnan(given)], rows.years[~np.isnan(given)], strict=True)
    }
    late, unsure = [], []
    for i in np.flatnonzero(unseen):
        if starts[unit := panel.units[i]] < panel.periods[first[i]]:
            late.append(f"{unit} ({starts[unit]:.0f})")
        elif not section.first_treated and (unit, panel.periods[before[i]]) not in told:
            unsure.append(unit)
    if late:
        yield (f"Not observed in the period of their adoption, and counted from the first in which they are seen "
               f"treated: {listed(late, 12)}.")  # fmt: skip
    if unsure:
        yield (f"Not observed in the period before they are first seen treated, so that they may have adopted "
               f"earlier: {listed(unsure, 12)}.")  # fmt: skip


def _notes(
    table: LongTable, frame: pd.DataFrame, rows: Rows, without: list[int], panel: Panel, section: PanelSection
) -> Iterator[str]:
    """What was left out of a panel, with its weights, and what a reader should know of it."""
    if (step := period_step(rows.years)) > 1:
        yield f"Periods are {step} apart: a lag or a difference of one period is one of {step}."
    if absent := absent_periods(rows.years):
        yield f"No rows for {listed(absent, 12)}: lags and differences are not computed across this gap."
    if without:
        yield f"{listed(without)} left out: lags and differences have no value there."
    if table.dropped:
        columns = listed((f"{name} {count}" for name, count in table.dropped.items()), 12)
        count = sum(table.dropped.values())
        yield f"{amount(count, 'row')} with missing values left out (by column: {columns})."
    if gone := [unit for unit in table.order if unit not in panel.units]:
        yield f"{amount(len(gone), 'unit')} without a complete row left out: {listed(gone, 12)}."
    if table.absent:
        cells = len(panel.units) * len(panel.periods)
        yield f"Unbalanced: {table.absent} of {cells} unit-periods are not observed."
    if section.weight is not None:
        yield from weight_notes(panel.variables[section.weight][0][seen_in(panel)], section.weight)
    if panel.roles.continuous:
        yield strength_note(panel, section)
    elif panel.roles.treatment is not None:
        treated, seen = panel.variables[panel.roles.treatment][0] == 1, seen_in(panel)
        if always := [panel.units[i] for i in np.flatnonzero((treated | ~seen).all(axis=0))]:
            yield f"{amount(len(always), 'unit')} treated in every period: {listed(always, 12)}."
        yield from _adoption_notes(frame, rows, panel, section)
    for name, weights in panel.weights.items():
        if weights.read:
            yield f"Weights {name}: {weights.read}"
        if weights.attached:
            links = listed((f"{unit} to {nearest}" for unit, nearest in weights.attached), 12)
            they = f"{amount(len(weights.attached), 'unit')} have no neighbours there and are"
            if len(weights.attached) == 1:
                they = "1 unit has no neighbours there and is"
            yield f"Weights {name}: {they} linked to the nearest unit: {links}."
