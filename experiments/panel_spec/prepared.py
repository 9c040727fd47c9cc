"""What a SPEC.toml prepares before there is a panel: the outcome of [index], and means of rows of individuals.

The [index] table at work: checks, columns of diversification, the outcome, and what is said of it. Rows of individuals,
several a unit and period, as one row of means that weighs as much as they do.

With unit and period effects and regressors that are the same for all rows of a unit-period, least squares on the means,
weighted by the number of rows, or by the sum of their weights, have the coefficients of least squares on the rows, and
sums of scores by unit, so that clustered errors are equal but for the factor (n - 1)/(n - k), whose n counts cells
(Angrist and Pischke 2009, section 3.1.2; Donald and Lang 2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.panel_spec.reading import never
from experiments.panel_spec.sections import IndexSection, PanelSection, Spec
from experiments.panel_spec.transforms import OVER_TIME, Transform, apply_transforms, number_columns
from experiments.settings import in_toml
from sim.arrays import Codes, Flags, Floats
from sim.errors import Problem, amount, bad, gathering, listed, refuse
from sim.index import EntropyIndex, hhi_diversification, no_shares, panel_index
from sim.panel import Panel, seen_in
from sim.panel_files import Rows, gap_problem, number_problems, numbers, weight_problems


def cell_problems(frame: pd.DataFrame, spec: Spec, rows: Rows, inside: Flags) -> list[Problem]:
    """Problems of columns of numbers where any holds text: all texts, infinities and, unless their rows may go, gaps.

    inside: rows of the panel, (rows,). Texts that often mean missing have [read] missing as their remedy.
    """
    columns = {name: numbers(frame[name]) for name in (*spec.variables, *spec.further) if name in frame.columns}
    texts = {name: [str(frame[name].iloc[i]).strip() for i in wrong] for name, (_, wrong) in columns.items()}
    marks = dict.fromkeys(text for held in texts.values() if all(map(never, held)) for text in held)
    remedy = f"correct the cell, or say missing = [{', '.join(map(in_toml, marks))}] in [read] of {spec.file}"
    problems = []
    for name, (values, wrong) in columns.items() if any(texts.values()) else ():
        found = number_problems(values, wrong, frame[name], rows)
        if texts[name] and all(map(never, texts[name])):
            found[0] = replace(found[0], remedy=remedy)
        problems += found
        gaps = np.isnan(values) & inside
        gaps[wrong] = False
        if gaps.any() and spec.panel.missing == "error":
            problems.append(gap_problem(gaps, name, rows))
    return problems


def column_problems(frame: pd.DataFrame, index: IndexSection, spec: str) -> list[Problem]:
    """Problems for new columns of [index] that the file has already."""
    file = f"{frame.attrs.get('file', 'table')}, {spec} [index]"
    problems = [
        Problem(f"the column {name!r} exists already", f"{file} diversification", "a new name", "choose another name")
        for name in index.diversification
        if name in frame.columns
    ]
    if index.name in frame.columns:
        problems.append(Problem(f"the column {index.name!r} exists already", file, "a new name for the index",
                                'give it another name = "...", or remove [index] to take the column'))  # fmt: skip
    return problems


def shares_behind(index: IndexSection, used: Sequence[str]) -> tuple[str, ...]:
    """The columns of shares that the `used` columns are made of."""
    return tuple(share for name in used for share in index.diversification.get(name, ()))


def add_diversification(frame: pd.DataFrame, index: IndexSection, rows: Rows) -> pd.DataFrame:
    """The table with its columns of diversification, 1/HHI of shares; raises BadInput for what cannot be shares."""
    made, problems = {}, list[Problem]()
    for name, shares in index.diversification.items():
        with gathering(problems):
            columns = number_columns(frame, shares, rows)
            outside = np.flatnonzero(no_shares(np.asarray(columns)))
            if outside.size:
                where = f"{rows.at(int(outside[0]), shares[0])}, for {name!r}"
                given = ", ".join(f"{values[outside[0]]:g}" for values in columns)
                raise bad(f"shares of {given} ({outside.size} such rows)", where=where,
                          allowed="0 or more, and not all zero",
                          remedy="correct those cells or leave them empty")  # fmt: skip
            made[name] = hhi_diversification(columns)
    refuse(problems)
    return frame.assign(**made)


def with_index(panel: Panel, section: IndexSection, where: str) -> tuple[Panel, EntropyIndex]:
    """The panel with the index as its outcome, estimated from all its observed rows."""
    index = panel_index(panel, section.positive, section.negative, where=f"{where} [index]")
    variables = {section.name: index.score, **panel.variables}
    return replace(panel, variables=variables, roles=replace(panel.roles, outcome=section.name)), index


def index_facts(section: IndexSection, index: EntropyIndex) -> dict[str, Any]:
    """What the JSON document says of an index: of each indicator its weight, entropy and divergence; subtotals."""
    columns = zip(index.indicators, index.weights[0], index.entropies[0], index.divergences[0], strict=True)
    return {
        "name": section.name,
        "method": "entropy weights",
        "nobs": int(index.observations[0]),
        "indicators": {
            name: {
                "direction": "negative" if name in index.negative else "positive",
                "weight": float(weight),
                "entropy": float(entropy),
                "divergence": float(divergence),
            }
            for name, weight, entropy, divergence in columns
        },
        "dimensions": {
            name: {"indicators": list(section.dimensions[name]), "weight": float(weight[0])}
            for name, weight in index.subtotals(section.dimensions).items()
        },
    }


def index_notes(section: IndexSection, index: EntropyIndex) -> tuple[str, ...]:
    """A line on the weights for the reader, and one on dimensions."""
    weights = zip(index.indicators, index.weights[0], strict=True)
    notes = [f"{section.name} is an entropy-weight index over {index.observations[0]:,} unit-periods; subsamples "
             f"keep its weights: {', '.join(f'{name} {weight:.4f}' for name, weight in weights)}."]  # fmt: skip
    if section.dimensions:
        totals = index.subtotals(section.dimensions).items()
        notes.append(f"Weights of its dimensions: {', '.join(f'{name} {total[0]:.4f}' for name, total in totals)}.")
    return tuple(notes)


def collapse_rows(frame: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, tuple[Transform, ...], tuple[str, ...]]:
    """One row a unit and period: means of columns of numbers, the first of others, and the rows' number or weights.

    Gives the table, the transforms that are left to do, lags and differences and what is made of them, and what was
    done in words: all others are made of each row, so that a log is averaged and no average logged. A row that misses a
    used value is an error or, with missing = "drop", left out. Raises BadInput for text, gaps, weights that are not
    positive, and for a treatment or a fact of the units that varies within a unit and period.
    """
    section, panel = spec.collapse, spec.panel
    assert section is not None
    rows = Rows.read(frame, panel.unit, panel.period)
    after: tuple[Transform, ...] = ()  # what needs a panel: lags, differences and what is made of them
    for transform in spec.transform:
        if transform.function in OVER_TIME or {one.name for one in after} & set(transform.columns):
            after = (*after, transform)
    frame = apply_transforms(frame, tuple(one for one in spec.transform if one not in after), rows)
    if section.name in frame.columns:
        refuse([Problem(f"the column {section.name!r} exists already", f"{rows.file}, {spec.file} [collapse] name",
                        "a new name", 'give it another name = "..."')])  # fmt: skip
    values, kept = _used(frame, spec, after, rows)
    rows, frame = rows.those(kept), frame.loc[kept].reset_index(drop=True)
    weights = np.ones(len(frame)) if section.weight is None else values.pop(section.weight)[kept]
    cells = pd.MultiIndex.from_arrays([rows.labels, rows.years])
    codes, found = pd.factorize(cells)
    index = pd.MultiIndex.from_tuples(found.tolist())
    problems = []  # of columns that must be facts of a unit and period, and differ between its rows
    for name in dict.fromkeys((panel.treatment, panel.first_treated, panel.other_policy, *spec.attributes.values())):
        if name is None or name not in frame.columns:
            continue
        several = (frame[name].groupby(codes).nunique() > 1).to_numpy()
        if several.any():
            unit, year = found[int(several.argmax())]
            problems.append(Problem(f"varies within the unit {unit} in {year}", f"{rows.file}, column {name!r}",
                                    "one value for all rows of a unit and period", "name a unit that is treated as a "
                                    "whole, or correct the rows"))  # fmt: skip
    refuse(problems)
    made = averaged(frame, codes, weights, {panel.unit, panel.period})
    made[panel.unit], made[panel.period] = index.get_level_values(0), index.get_level_values(1)
    made[section.name] = np.bincount(codes, weights)
    out = pd.DataFrame({name: made[name] for name in (*map(str, frame.columns), section.name)})
    out.attrs = {"file": f"{rows.file} (collapsed)", "first_row": 1}
    return out, after, tuple(_notes(frame, spec, codes, int((~kept).sum())))


def _used(frame: pd.DataFrame, spec: Spec, after: tuple[Transform, ...], rows: Rows) -> tuple[dict[str, Floats], Flags]:
    """Used columns of numbers, (rows,) each, and the rows that miss none of them."""
    section = spec.collapse
    assert section is not None
    asked = (*spec.variables, *(name for one in after for name in one.columns), section.weight)
    names = tuple(dict.fromkeys(name for name in asked if name is not None and name in frame.columns))
    values = dict(zip(names, number_columns(frame, names, rows), strict=True))
    problems = [] if section.weight is None else weight_problems(values[section.weight], section.weight, rows)
    kept: Flags = np.ones(len(frame), dtype=bool)
    for name, column in values.items():
        gaps = np.isnan(column)
        if gaps.any() and spec.panel.missing == "error":
            problems.append(Problem(f"is missing in {amount(gaps.sum(), 'row')}", rows.at(int(gaps.argmax()), name),
                                    "a number in every row",
                                    'fill them, or leave these rows out with missing = "drop"'))  # fmt: skip
        kept &= ~gaps
    refuse(problems)
    return values, kept


def averaged(frame: pd.DataFrame, codes: Codes, weights: Floats, keys: set[str]) -> dict[str, object]:
    """Weighted means of columns of numbers by cell, exact where all rows agree; the first value of other columns."""
    total, made = np.bincount(codes, weights), dict[str, object]()
    for name in frame.columns:
        if name in keys:
            continue
        x, wrong = numbers(frame[name])
        grouped = frame[name].groupby(codes)
        if wrong.size:
            made[str(name)] = grouped.first().to_numpy()
            continue
        alike = pd.Series(x).groupby(codes)
        low, high = alike.min().to_numpy(), alike.max().to_numpy()
        made[str(name)] = np.where(low == high, low, np.bincount(codes, weights * x) / total)
    return made


def _notes(frame: pd.DataFrame, spec: Spec, codes: Codes, gone: int) -> Iterator[str]:
    section = spec.collapse
    assert section is not None
    counts = np.bincount(codes)
    by = "the number of their rows" if section.weight is None else f"the sum of {section.weight}"
    means = "means" if section.weight is None else f"means by {section.weight}"
    yield (f"{len(codes):,} rows are collapsed to {len(counts):,} unit-periods of {counts.min():,} to {counts.max():,} "
           f"rows: {means}. {section.name} is {by}.")  # fmt: skip
    if gone:
        yield f"{amount(gone, 'row')} with missing values left out before."
    differ = [name for name in spec.panel.controls
              if name in frame.columns and (frame[name].groupby(codes).nunique() > 1).any()]  # fmt: skip
    if differ:
        many = "s" * (len(differ) == 1)
        yield (f"{listed(differ, 12)} differ{many} between rows of a unit-period: estimates on means are not those on "
               "rows.")  # fmt: skip


# What a panel's treatment and its weights are, in sentences.


FEW_EFFECTIVE = 0.1  # share of the rows that weights leave (Kish 1965) below which they are said to be very uneven


def strength_note(panel: Panel, section: PanelSection) -> str:
    """What a treatment that is not absorbing is, and what its estimates are of."""
    if section.treatment_kind == "switching":
        values, seen = panel.variables[str(panel.roles.treatment)][0], seen_in(panel)
        off = (values < np.fmax.accumulate(np.where(seen, values, 0.0), axis=0)) & seen
        said = "switches off" if off.any() else "is declared switching, although no unit switches off"
        return f"{section.treatment} is 0 or 1 and {said}: what needs dates of adoption is left out."
    values = np.unique(panel.variables[str(panel.roles.treatment)][0][seen_in(panel)])
    left_out = "estimates are effects of one unit of it, and what needs dates of adoption is left out."
    if np.isin(values, (0.0, 1.0)).all():
        return f'{section.treatment} is 0 or 1, and treatment_kind = "continuous" declares it a dose: {left_out}'
    nearest, largest = float(np.diff(values).min()) if len(values) <= 6 else float(np.ptp(values)), abs(values).max()
    digits = max(6, 3 + int(np.ceil(np.log10(largest / nearest))))  # so that different numbers are told apart
    *few, low, high = (f"{value:.{digits}g}" for value in (*values[:6], values[0], values[-1]))
    some = listed(few, 6) if len(values) <= 6 else f"{len(values):,} values"
    return f"{section.treatment} is a treatment of any strength ({some}, {low} to {high}): {left_out}"


def weight_notes(values: Floats, name: str) -> Iterator[str]:
    """A warning on weights (n,) that change nothing, or that leave next to nothing of the panel."""
    effective = float(values.sum() ** 2 / np.square(values).sum())
    if values.min() == values.max():
        yield f"The weight {name} is the same in all rows: weighted estimates equal those without weights."
    elif effective < FEW_EFFECTIVE * len(values):
        yield (f"The weight {name} is very uneven: {len(values):,} rows weigh as much as {effective:,.0f} equal ones, "
               "so that estimates rest on few of them.")  # fmt: skip
