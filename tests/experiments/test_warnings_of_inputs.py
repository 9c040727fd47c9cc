"""Warnings about what was given: controls, treated units, first periods, links of W."""

from __future__ import annotations

from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from warned import SPEC, dummies, made, of

from experiments.checks.case import number
from experiments.estimation import estimate
from experiments.panel_spec.spec import read_real_panel, read_spec
from results.tables.records import INFORMS, OVERTURNS, SILENT, WEAKENS, Check, Document


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return made(tmp_path_factory.mktemp("committed"), SPEC)


def with_control(values: pd.Series) -> tuple[str, pd.DataFrame]:
    """The committed panel with one more control."""
    return SPEC.replace('"book"]', '"book", "new"]'), made_cities.frame().assign(new=values)


def test_a_control_made_of_the_treatment(tmp_path: Path) -> None:
    frame = made_cities.frame()
    document = made(tmp_path, *with_control(frame["d"] * np.log(frame["gdp"])))
    found = of(document, "control-of-treatment:new")
    assert found.severity == OVERTURNS
    assert f"; without any control {number(dummies(frame, 'city', 'year', regressors=('d',)))})" in found.sentence
    assert of(document, "control-of-treatment:road").severity == SILENT


def test_a_control_that_the_treatment_moves(tmp_path: Path, committed: Document) -> None:
    frame = made_cities.frame()
    noise = np.random.default_rng(4).standard_normal(len(frame))
    found = of(made(tmp_path, *with_control(2 * frame["d"] + noise)), "control-of-treatment:new")
    assert found.severity == WEAKENS
    assert found.numbers["t"] > 5
    assert of(made(tmp_path, *with_control(pd.Series(noise))), "control-of-treatment:new").severity == SILENT


@pytest.mark.parametrize(("power", "severity"), [(1.0, OVERTURNS), (0.02, SILENT)])
def test_a_control_that_is_the_outcome_again(tmp_path: Path, power: float, severity: int) -> None:
    frame = made_cities.frame()
    noise = np.random.default_rng(4).standard_normal(len(frame))
    found = of(made(tmp_path, *with_control(power * np.exp(frame["y"] / 20) * 20 + 0.05 * noise)), "outcome-again:new")
    assert found.severity == severity
    assert abs(found.numbers["correlation"] or 0) > 0.95 or severity == SILENT


def test_one_treated_unit(tmp_path: Path, committed: Document) -> None:
    frame = made_cities.frame()
    only = frame.loc[frame["d"] == 1, "city"].iloc[0]
    document = made(
        tmp_path, SPEC.replace('outcomes = ["second"]', ""), frame.assign(d=frame["d"] * (frame["city"] == only))
    )
    found = of(document, "one-treated-unit")
    assert found.severity == OVERTURNS
    assert found.sentence.startswith(f"Only {only} is treated")
    assert of(committed, "one-treated-unit").severity == SILENT


@pytest.mark.parametrize(("start", "severity"), [(2012, INFORMS), (2014, WEAKENS)])
def test_a_panel_that_starts_after_adoption(tmp_path: Path, start: int, severity: int, committed: Document) -> None:
    frame = made_cities.frame()
    found = of(made(tmp_path, made_cities.PANEL, frame[frame["year"] >= start]), "without-pre-periods")
    first = frame.loc[frame["d"] == 1].groupby("city")["year"].min()
    assert found.numbers == {"units": float((first <= start).sum()), "treated_units": float(len(first))}
    assert found.severity == severity
    assert found.sentence.startswith(f"{(first <= start).sum()} of {len(first)} treated units are never seen untreated")
    assert of(committed, "without-pre-periods").severity == SILENT


def links(folder: Path, table: pd.DataFrame) -> Check:
    real = made_cities.real_panel(folder, SPEC)
    table.to_csv(folder / "w.csv", index=False)
    real = read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))
    (found,) = (w for w in estimate(real).warnings if w.name in ("links:w", "pairs-once:w"))
    return found


def test_pairs_that_are_named_once(tmp_path: Path, committed: Document) -> None:
    edges = made_cities.edges()
    (tmp_path / "spec").mkdir()
    once = edges[edges["focal"] < edges["neighbor"]]
    last = pd.DataFrame([("C36", "C01", 1.0)], columns=["focal", "neighbor", "weight"])  # else an island
    found = links(tmp_path, pd.concat([once, last]))
    assert found.name == "pairs-once:w"
    assert found.severity == OVERTURNS
    count = len(once) + 1
    assert f"gives {count / 36:.1f} neighbours a unit instead of {2 * count / 36:.1f}" in found.sentence
    assert of(committed, "links:w").severity == SILENT
    some = links(tmp_path, edges.iloc[1:])
    assert some.severity == WEAKENS
    assert f"1 of {len(edges) - 1} links have no reverse link" in some.sentence


def test_nearest_neighbours_are_no_contiguity(tmp_path: Path) -> None:
    near = made_cities.nearest(4).dense
    rows, columns = np.nonzero(near)
    units = made_cities.nearest(4).units
    table = pd.DataFrame({"focal": [units[i] for i in rows], "neighbor": [units[j] for j in columns], "weight": 1.0})
    assert links(tmp_path, table).severity == SILENT
