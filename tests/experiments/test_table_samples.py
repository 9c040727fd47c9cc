"""Columns whose sample is not the panel, stacks, the balanced part and lags: its sizes, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from estimators.staggered.stacked import Stacked
from experiments.estimation import estimate
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.tables import robustness_table, staggered_table
from experiments.tables.ledger import Ledger
from results.tables.records import Record

SPEC = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "d"
balance = "{balance}"
missing = "drop"
[robustness]
"""


def longer(dates: dict[int, int], years: int) -> pd.DataFrame:
    """Cities from 2001 on, with an effect of one; `dates`: units by first treated year, 0 = never."""
    rng = np.random.default_rng(4)
    first = np.repeat(list(dates), list(dates.values()))
    table = pd.DataFrame({"code": np.repeat(np.arange(len(first)), years),
                          "year": np.tile(np.arange(2001, 2001 + years), len(first))})  # fmt: skip
    table["city"] = [f"c{code:02d}" for code in table["code"]]
    table["first"] = first[table["code"]]
    table["d"] = ((table["first"] > 0) & (table["year"] >= table["first"])).astype(int)
    table["y"] = table["d"] + rng.standard_normal(len(table))
    return table


def real_panel(folder: Path, table: pd.DataFrame, menu: str = "staggered = true\n", balance: str = "") -> RealPanel:
    table.to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(SPEC.format(balance=balance or "error") + menu, encoding="utf-8")
    return read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))


def stacked(real: RealPanel) -> tuple[Ledger, list[str]]:
    """Tables S to S4, and the notes on stacks."""
    ledger = Ledger(seed=1)
    staggered_table.add(real, ledger)
    return ledger, [note for note in ledger.notes if note.startswith("Table S, Stacked")]


def overall(ledger: Ledger) -> Record:
    """The average effect of the stacked column."""
    (record,) = (one for one in ledger.records if (one.model, one.term) == ("stacked", "overall"))
    return record


def counted(ledger: Ledger) -> tuple[float | None, float | None]:
    """Cohorts and treated units of the stacked column."""
    found = {one.name: one.value for one in ledger.statistics if one.model == "stacked"}
    return found["cohorts"], found["treated_units"]


def test_a_cohort_without_its_whole_window_stays_in_and_is_named(tmp_path: Path) -> None:
    """The windows of 2008 and 2010 lie in the panel, that of 2004 begins before it."""
    real = real_panel(tmp_path, longer({2004: 8, 2008: 6, 2010: 4, 0: 12}, 16))
    ledger, notes = stacked(real)
    place = Stacked().terms().index("overall")
    assert overall(ledger).estimate == Stacked(complete=False)(real.panel).estimate[0, place]
    assert overall(ledger).estimate != Stacked()(real.panel).estimate[0, place]
    assert counted(ledger) == (3, 18)
    assert notes == ["Table S, Stacked: cohorts enter with the part of the window that the panel covers, 2004 "
                     "with a part only."]  # fmt: skip


def test_whole_windows_are_preferred_where_they_keep_the_same_cohorts(tmp_path: Path) -> None:
    real = real_panel(tmp_path, longer({2008: 6, 2010: 4, 0: 12}, 16))
    ledger, notes = stacked(real)
    assert overall(ledger).estimate == Stacked()(real.panel).estimate[0, Stacked().terms().index("overall")]
    assert notes == []


def test_sizes_are_of_the_stacks(tmp_path: Path) -> None:
    """Each stack has eleven years; 2010 adopts within the window of 2008, and the early years are in none."""
    ledger, _ = stacked(real_panel(tmp_path, longer({2008: 6, 2010: 4, 0: 12}, 16)))
    column = overall(ledger)
    assert column.nobs == 11 * (6 + 12) + 11 * (4 + 12)
    assert (column.units, column.periods) == (22, 13)


def test_a_cohort_without_clean_controls_is_named_and_not_counted(tmp_path: Path) -> None:
    """Nobody is never treated: those of 2018 are the only controls, and their own stack would have none."""
    ledger, notes = stacked(real_panel(tmp_path, longer({2006: 6, 2008: 5, 2018: 9}, 20)))
    assert counted(ledger) == (2, 11)
    assert overall(ledger).nobs == 11 * (6 + 9) + 11 * (5 + 9)
    assert notes == ["Table S, Stacked: cohort 2018 left out, because no unit is untreated to the end of the window."]


@pytest.mark.parametrize("complete", [True, False])
def test_what_stacks_hold(complete: bool, tmp_path: Path) -> None:
    real = real_panel(tmp_path, longer({2004: 8, 2008: 6, 0: 12}, 16))
    sample = Stacked(complete=complete).sample(real.panel)
    assert sample.cohorts == ((2008,) if complete else (2004, 2008))
    assert sample.cut == (2004,)
    assert (int(sample.units.sum()), sample.treated) == ((18, 6) if complete else (26, 14))
    early = 9 * (8 + 12)
    assert sample.rows == 11 * (6 + 12) + (0 if complete else early)


def test_only_tables_that_exist_are_said_to_be_of_the_balanced_part(tmp_path: Path) -> None:
    holes = longer({2004: 8, 2006: 6, 0: 12}, 10).drop(index=[3, 50])
    for menu, names in (("", "S and S2"), ("honest = true\n", "S, S2 and S3")):
        document = estimate(real_panel(tmp_path, holes, f"staggered = true\n{menu}", "drop-units"))
        (note,) = (note for note in document.notes if "of the balanced part: 24 units" in note)
        assert note.startswith(f"Tables {names} are of")


def test_rows_without_a_lag_are_counted(tmp_path: Path) -> None:
    """A gap of one year, and a unit that enters late: the row after each has no lag, and goes as 2001 does."""
    table = longer({2004: 8, 2006: 6, 0: 12}, 10)
    late, gap = (table["code"] == 7) & (table["year"] < 2005), (table["code"] == 9) & (table["year"] == 2008)
    ledger = Ledger(seed=1)
    robustness_table.add(real_panel(tmp_path, table[~late & ~gap], "lag = 1\n"), ledger)
    assert ledger.records[0].nobs == 26 * 9 - 3 - 1 - 2
    (note,) = ledger.notes
    assert note.endswith("2001 is left out, because the lags have no value there; 2 rows of later "
                         "periods are left out too, because their unit is not "
                         "observed 1 period before.")  # fmt: skip
