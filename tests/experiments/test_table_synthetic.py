"""Tables C to C3: every number is that of a slow program or of the paths, and what a panel cannot have is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import filled, one
from refusals import refuses

import panelproof as pp
from estimators import SyntheticControl, SyntheticDID
from estimators.core.tile import dates_of
from estimators.synthetic.synthetic_did import average_weights
from experiments.estimation import estimate, write_files
from experiments.panel_spec.spec import RealPanel
from experiments.run.blocks import fit_panel
from experiments.tables import synthetic_table
from experiments.tables.ledger import Ledger, facts_of, journal_tables
from experiments.tables.synthetic_table import CLASSES, largest
from references import synthetic_twin as twin
from results.tables.journal_table import JournalTable
from results.tables.records import Document
from results.tables.typography import heading, number_of

ALL = tuple(CLASSES)
UNITS, YEARS = 20, np.arange(2001, 2013)
DATES = {17: 2006, 18: 2008, 19: 2008}  # first treated year by unit
ODD = "<script>alert('x')</script> & \"y\""


def frame(dates: Mapping[int, int] = DATES, *, units: int = UNITS, names: Mapping[int, str] | None = None) -> Any:
    """Units of a factor model with noise over 2001-2012."""
    rng = np.random.default_rng(8)
    paths = np.cumsum(rng.standard_normal((len(YEARS), 2)), axis=0)
    y = 5 + paths @ rng.standard_normal((2, units)) + 0.7 * rng.standard_normal((len(YEARS), units))
    unit, year = np.repeat(np.arange(units), len(YEARS)), np.tile(YEARS, units)
    d = [int(t >= dates.get(i, 9999)) for i, t in zip(unit, year, strict=True)]
    named = [(names or {}).get(i, f"u{i:02d}") for i in unit]
    return pd.DataFrame({"unit": named, "year": year, "d": d, "y": y.T.ravel()})


def real(table: pd.DataFrame, panel: Mapping[str, Any] | None = None, **section: Any) -> RealPanel:
    """panel: further keys of [panel], empty to leave one out; section: those of [robustness.synthetic]."""
    keys = {"unit": "unit", "period": "year", "outcome": "y", "treatment": "d"} | dict(panel or {})
    kept = {key: value for key, value in keys.items() if value}
    return pp.read_panel(table, {"panel": kept, "inference": {"draws": 99}, "robustness": {"synthetic": section}})


def fitted(panel: RealPanel) -> Ledger:
    return filled(synthetic_table.add, panel, panel.spec.inference.seed)


def tables_of(panel: RealPanel, ledger: Ledger) -> dict[str, JournalTable]:
    """Tables C by their names."""
    made = journal_tables(Document(facts_of(panel), tuple(ledger.records), tuple(ledger.statistics)))
    return {table.name: table for table in made}


def cells(table: JournalTable) -> dict[str, tuple[str, ...]]:
    """Cells by the label of their row; errors below as "LABEL se"."""
    found, above = {}, ""
    for row in table.rows:
        found[row.label.strip() or f"{above} se"] = row.cells
        above = row.label.strip()
    return found


def numbers(row: tuple[str, ...]) -> list[float]:
    return [float(re.sub(r"[()*,]", "", cell)) if cell else np.nan for cell in row]


@pytest.fixture(scope="module")
def two_dates() -> tuple[RealPanel, dict[str, JournalTable]]:
    panel = real(frame(), estimators=[*ALL])
    return panel, tables_of(panel, fitted(panel))


def test_estimates_errors_and_dates_are_those_of_the_slow_program(
    two_dates: tuple[RealPanel, dict[str, JournalTable]],
) -> None:
    panel, found = two_dates[0].panel, cells(two_dates[1]["C"])
    y, first = panel.variables["y"][0].T, dates_of(panel.variables["did"])[0].astype(np.intp)
    assert [column.label for column in two_dates[1]["C"].columns] == [heading(kind, None) for kind in ALL]
    for column, kind in enumerate(ALL):
        how = twin.KINDS[kind]
        assert numbers(found["d"])[column] == pytest.approx(twin.staggered(y, first, how), abs=6e-5)
        assert numbers(found["d se"])[column] == pytest.approx(twin.jackknife_error(y, first, how), abs=6e-5)
        for date, label in ((2006, "2006 (1 unit)"), (2008, "2008 (2 units)")):
            own = np.flatnonzero(first == date - 2001)
            order = np.concatenate([np.flatnonzero(first == len(YEARS)), own])
            wanted = twin.one_date(y[order], 17, date - 2001, how)
            assert numbers(found[label])[column] == pytest.approx(wanted, abs=6e-5)
    assert (found["Treated units"], found["Control units"]) == (("3",) * 4, ("17",) * 4)
    assert (found["Treated unit-periods"], found["N"]) == ((str(7 + 2 * 5),) * 4, ("240",) * 4)


def test_statistics_are_those_of_the_estimator(two_dates: tuple[RealPanel, dict[str, JournalTable]]) -> None:
    panel, found = two_dates[0].panel, cells(two_dates[1]["C"])
    for column, cls in enumerate(CLASSES.values()):
        told = cls()(panel).statistics
        assert numbers(found["Gap before adoption"])[column] == pytest.approx(told["pre_rmse"][0], abs=6e-5)
        assert numbers(found["Effective control units"])[column] == pytest.approx(told["effective_units"][0], abs=6e-4)
        periods = numbers(found["Effective periods"])[column]
        assert periods == pytest.approx(told["effective_periods"][0] or np.nan, abs=6e-4, nan_ok=True)


def test_weights_are_means_over_dates_by_treated_cells(two_dates: tuple[RealPanel, dict[str, JournalTable]]) -> None:
    panel = two_dates[0].panel
    for name, axis in (("C2", 0), ("C3", 1)):
        found = cells(two_dates[1][name])
        labels = [str(label) for label in (panel.units, panel.periods)[axis]]
        for column, cls in enumerate(CLASSES.values()):
            paths = cls().paths(panel)
            every = sum(path.treated_cells * (path.units, path.periods)[axis] for path in paths) / 17
            for label, row in found.items():
                if label in labels:
                    wanted = every[labels.index(label)] if every.any() else np.nan
                    assert numbers(row)[column] == pytest.approx(wanted, abs=6e-5, nan_ok=True)
                    in_full = number_of(row[column])  # of a cell of a spreadsheet
                    assert in_full == (pytest.approx(wanted, abs=1e-12) if every.any() else None)
            total = sum(numbers(row)[column] for row in found.values())
            assert total == pytest.approx(1.0 if every.any() else np.nan, abs=6e-4, nan_ok=True)
    heaviest = [max(numbers(row)[:3]) for label, row in cells(two_dates[1]["C2"]).items() if label.startswith("u")]
    assert heaviest == sorted(heaviest, reverse=True)
    years = [label for label in cells(two_dates[1]["C3"]) if label.isdigit()]
    assert years == sorted(years)
    assert max(years) < "2008"
    notes = [" ".join(two_dates[1][name].notes) for name in ("C", "C2", "C3")]
    assert all("means over dates of adoption, by treated unit-periods" in note for note in notes)


def test_what_is_not_shown_has_the_rest_of_the_weight() -> None:
    panel = real(frame({58: 2007, 59: 2007}, units=60))
    found = cells(tables_of(panel, fitted(panel))["C2"])
    (label,) = (label for label in found if label.startswith("All others"))
    assert label == f"All others ({58 - (len(found) - 1)})"
    for column, kind in enumerate(ALL[:3]):
        (path,) = CLASSES[kind]().paths(panel.panel)
        shown = sum(path.units[panel.panel.units.index(unit)] for unit in found if unit != label)
        assert numbers(found[label])[column] == pytest.approx(1 - shown, abs=6e-5)
        assert sum(numbers(row)[column] for row in found.values()) == pytest.approx(1.0, abs=60 * 5e-5)
    assert max(numbers(found[label])) > 0.005


def test_one_date_has_no_row_of_dates() -> None:
    panel = real(frame({18: 2007, 19: 2007}))
    found = tables_of(panel, fitted(panel))
    assert not any("first treated period" in row.label for row in found["C"].rows)
    assert not any("means over dates" in note for table in found.values() for note in table.notes)
    assert [column.label for column in found["C"].columns] == [heading(kind, None) for kind in ALL[:1] + ALL[1:3]]
    assert "by the jackknife over units" in " ".join(found["C"].notes)


def test_a_single_treated_unit_has_placebos_as_a_study_draws_them() -> None:
    panel = real(frame({19: 2007}))
    ledger = fitted(panel)
    own = SyntheticDID(errors=("placebo:unit",), draws=99)
    wanted = fit_panel(panel.panel, {own: None}, panel.spec.inference.seed)[own.name]
    record = ledger.records[0]
    assert (record.se_type, record.estimate, record.se) == ("placebo:unit", wanted.estimate[0, 0], wanted.se[0, 0, 0])
    assert "placebos of never treated units" in " ".join(tables_of(panel, ledger)["C"].notes)


def test_errors_can_be_chosen_and_what_lacks_them_is_said() -> None:
    ledger = fitted(real(frame(), errors="bootstrap:unit"))
    assert {record.se_type for record in ledger.records} == {"bootstrap:unit"}
    few = {3: 2007, 4: 2007}
    ledger = fitted(real(frame(few, units=4 + 1), errors="placebo:unit"))
    assert {record.se for record in ledger.records} != {None}
    ledger = fitted(real(frame(dict.fromkeys((2, 3, 4), 2007), units=5), errors="placebo:unit"))
    assert {record.se for record in ledger.records} == {None}
    assert any("placebos need more never treated than treated units" in note for note in ledger.notes)
    ledger = fitted(real(frame({4: 2007}, units=5), errors="jackknife:unit"))
    assert any("without one of the units, nothing is left to compare" in note for note in ledger.notes)


REFUSED = {
    "no unit is never treated": {i: 2006 + i % 2 for i in range(UNITS)},
    "only one unit is never treated": dict.fromkeys(range(1, UNITS), 2006),
    "no unit becomes treated within the panel": dict.fromkeys(range(5), 2001),
    "units that adopt in 2002 have fewer than 2 periods before": {19: 2002},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_panels_without_a_comparison_are_refused_in_one_line(reason: str) -> None:
    panel = real(frame(REFUSED[reason]))
    ledger = fitted(panel)
    assert (ledger.records, ledger.statistics) == ([], [])
    (note,) = ledger.notes
    assert note.startswith("No table C: ")
    assert reason in note
    for ask in (lambda: pp.plot_paths(panel), lambda: pp.plot_weights(panel)):
        refuses(reason, ask, count=1)


def test_an_estimator_that_cannot_be_leaves_the_others() -> None:
    ledger = fitted(real(frame({19: 2002}), estimators=[*ALL]))
    assert {record.model for record in ledger.records} == {"equally-weighted-did"}
    (note,) = ledger.notes
    assert note.startswith("Table C has no column Synthetic DID, Synthetic control, Demeaned synthetic control: ")
    found = tables_of(real(frame({19: 2002}), estimators=[*ALL]), ledger)
    assert set(found) == {"C", "C2"}  # equal weights of periods need no table


def test_units_treated_from_the_start_take_no_part_and_gaps_are_left_out() -> None:
    always = real(frame({**DATES, 0: 2001, 1: 2001}))
    ledger = fitted(always)
    assert any("2 units are treated from the first period on and take no part in table C." in x for x in ledger.notes)
    assert cells(tables_of(always, ledger)["C"])["Control units"] == ("15",) * 3
    assert ledger.records[0].units == UNITS - 2
    estimates = SyntheticDID()(always.panel)
    assert ledger.records[0].estimate == pytest.approx(estimates.estimate[0, 0], rel=1e-9)
    table = frame().drop(index=[3])
    assert any("No table C, which needs a balanced panel" in note for note in fitted(real(table)).notes)
    kept = fitted(real(table, {"balance": "drop-units"}))
    assert any("Table C is of the balanced part: 19 units, 12 periods." in note for note in kept.notes)


@pytest.mark.parametrize(("section", "said"), [
    ({"estimators": []}, "name one or more"),
    ({"estimators": ["synthetic-did", "synthetic-did"]}, "names 'synthetic-did' twice"),
    ({"estimators": ["synthetic"]}, "synthetic-control"),
    ({"errors": "cluster:unit"}, "jackknife:unit"),
])  # fmt: skip
def test_bad_sections_are_named_in_one_line(section: dict[str, Any], said: str) -> None:
    refuses(f"robustness.synthetic.*{re.escape(said)}|{re.escape(said)}.*robustness.synthetic",
            lambda: real(frame(), **section), count=1)  # fmt: skip


def test_a_spec_without_a_treatment_is_told() -> None:
    refuses(
        r"there is no treatment to adopt.*remove \[robustness.synthetic\]", lambda: real(frame(), {"treatment": ""})
    )
    refuses("estimator 'did'", lambda: pp.plot_paths(real(frame()), estimator="did"))


def test_rows_are_the_notable_weights_or_the_ten_largest() -> None:
    many = {f"u{i}": (60 - i) / 1830 for i in range(60)}  # 42 of them from .01 on
    assert largest({"a": many}) == [f"u{i}" for i in range(40)]
    light = {f"u{i}": (300 + i) / 1e5 for i in range(200)}
    assert largest({"a": light}) == [f"u{199 - i}" for i in range(10)]
    few = {**dict.fromkeys(light, 0.0), "u7": 0.6, "u3": 0.4}
    assert largest({"a": few}) == ["u7", "u3"]
    equal = dict.fromkeys(few, 1 / 200)
    assert largest({"a": few, "b": equal}) == ["u7", "u3"]
    assert len(largest({"b": equal})) == 10
    assert largest({"a": few, "c": {**dict.fromkeys(light, 0.0), "u9": 1.0}}) == ["u9", "u7", "u3"]


def test_files_hold_tables_and_figures_with_names_as_text(tmp_path: Path) -> None:
    document = estimate(real(frame(names={5: ODD, 19: ODD[::-1]})))
    files = write_files(document, tmp_path / "out", ("json", "html", "tex", "docx"))
    page = (tmp_path / "out/tables.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    assert "Table C2. Weights of control units (unit)" in page
    wanted = {f"paths-{kind}.svg" for kind in ALL[:3]} | {"synthetic-weights.svg"}
    assert wanted <= {file.name for file in files} | {file.name for file in (tmp_path / "out").glob("*.svg")}
    for name in wanted:
        assert f'<figure id="{name.removesuffix(".svg")}">' in page
        assert "<script" not in (tmp_path / "out" / name).read_text(encoding="utf-8")


CITIES = made_cities.PANEL + f"[robustness.synthetic]\nestimators = {list(ALL)}\n"


def test_the_committed_panel(tmp_path: Path) -> None:
    panel = made_cities.real_panel(tmp_path, CITIES)
    ledger = fitted(panel)
    for kind, cls in CLASSES.items():
        found = cls()(panel.panel)
        record = one(ledger, model=kind)
        assert (record.estimate, record.se) == pytest.approx((found.estimate[0, 0], found.se[0, 0, 0]), rel=1e-12)
        units, _ = average_weights(cls().paths(panel.panel))
        told = {one.term: one.value for one in ledger.statistics if (one.model, one.name) == (kind, "unit_weight")}
        assert told == {str(unit): units[panel.panel.units.index(unit)] for unit in told}
        assert sum(told.values()) == pytest.approx(1.0)
        assert len(told) == 21
    assert "taken less the controls (road, book)" in " ".join(tables_of(panel, ledger)["C"].notes)


def test_california_as_published(shared_data: Path) -> None:
    """Arkhangelsky and others (2021), table 1 and figure 2; the file has semicolons."""
    table = pd.read_csv(shared_data / "california_prop99.csv", sep=";")
    named = table.rename(columns={"State": "unit", "Year": "year", "PacksPerCapita": "y", "treated": "d"})
    panel = real(named, estimators=[*ALL])
    found = tables_of(panel, fitted(panel))
    effects = dict(zip(ALL, numbers(cells(found["C"])["d"]), strict=True))
    published = {"synthetic-did": -15.6, "synthetic-control": -19.6, "demeaned-synthetic-control": -11.1,
                 "equally-weighted-did": -27.3}  # fmt: skip
    for kind, wanted in published.items():
        assert abs(effects[kind] - wanted) <= 0.1, kind
    weights, years = cells(found["C2"]), cells(found["C3"])
    for state, wanted in {"Nevada": 0.124, "New Hampshire": 0.105, "Connecticut": 0.078, "Delaware": 0.070}.items():
        assert abs(numbers(weights[state])[0] - wanted) <= 0.001
    assert abs(numbers(weights["Utah"])[1] - 0.39) <= 0.01
    assert {label for label in years if label.isdigit()} == {"1986", "1987", "1988"}
    assert numbers(years["1988"])[0] == pytest.approx(0.427, abs=0.001)
    (path,) = SyntheticControl().paths(panel.panel)
    assert numbers(cells(found["C"])["d"])[1] == pytest.approx(path.estimate, abs=6e-5)
