"""The [index] table of a SPEC.toml at work: checks, columns of diversification, the outcome, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.panel_spec.sections import IndexSection
from experiments.panel_spec.transforms import number_columns
from sim.errors import Problem, bad, gathering, refuse
from sim.index import EntropyIndex, hhi_diversification, no_shares, panel_index
from sim.panel import Panel
from sim.panel_files import Rows


def columns_asked_for(index: IndexSection, spec: str) -> dict[str, str]:
    """Columns that [index] needs of the file or of [transform], and what asks for each; spec: the spec's file."""
    shares = shares_behind(index, tuple(index.diversification))
    asked = dict.fromkeys(shares, f"{spec} [index] diversification")
    return asked | dict.fromkeys(index.indicators, f"{spec} [index]")


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
