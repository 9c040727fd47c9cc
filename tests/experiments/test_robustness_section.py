"""Every wrong key of [robustness]: one line a problem, all at once, exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.cli import run_command
from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame
from experiments.panel_spec.sections import RobustnessSection, value_label
from experiments.panel_spec.spec import read_real_panel, read_spec
from experiments.tables.robustness_table import lagged
from sim.errors import BadInput
from sim.panel import Panel

PANEL = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "eip"
controls = ["x"]
"""
Edit = Callable[[pd.DataFrame], pd.DataFrame]


def table() -> pd.DataFrame:
    """Eight cities, six years; three are treated, from 2004 or 2005 on."""
    rng = np.random.default_rng(5)
    start = np.array([2004, 2004, 2005, 9999, 9999, 9999, 9999, 9999])
    frame = pd.DataFrame({"code": np.repeat(np.arange(8), 6), "year": np.tile(np.arange(2001, 2007), 8)})
    frame["city"] = [f"c{code}" for code in frame["code"]]
    frame["province"] = [f"p{code // 2}" for code in frame["code"]]
    frame["region"] = np.where(frame["code"] < 3, "east", "west")
    frame["eip"] = (frame["year"] >= start[frame["code"]]).astype(int)
    frame[["y", "x", "other", "policy"]] = rng.standard_normal((48, 4))
    frame["country"], frame["lon"] = "c", 3.0
    frame["height"], frame["double"] = 20.0 + frame["code"] ** 2, 2.0 * frame["eip"] + frame["x"]
    return frame


def problems(folder: Path, menu: str, panel: str = PANEL, edit: Edit = lambda frame: frame) -> list[str]:
    """What is said of a menu, by line."""
    edit(table()).to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(panel + menu, encoding="utf-8")
    try:
        read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))
    except BadInput as error:
        return str(error).splitlines()
    return []


SPEC: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("[robustness]\nlags = 1\n", ["unknown key 'lags'", "did you mean 'lag'?"]),
    "unknown key of psm": ("[robustness.psm]\ncalliper = 1\n", ["[robustness.psm]", "did you mean 'caliper'?"]),
    "lag of nothing": ("[robustness]\nlag = 0\n", ["lag = 0", "1 or more"]),
    "lag as text": ('[robustness]\nlag = "1"\n', ["lag = '1'", "a whole number"]),
    "trends as a number": ("[robustness]\nunit_trends = 3\n", ["unit_trends = 3"]),
    "quantiles out of order": ("[robustness]\nwinsorize = [0.99, 0.01]\n", ["winsorize = [0.99, 0.01]", "order"]),
    "quantiles out of range": ("[robustness]\nwinsorize = [1, 99]\n", ["winsorize[1] = 99"]),
    "one quantile": ("[robustness]\nwinsorize = [0.01]\n", ["winsorize"]),
    "quantiles that do nothing": ("[robustness]\nwinsorize = [0, 1]\n", ["changes nothing"]),
    "window out of order": ("[robustness]\nwindows = [[2005, 2003]]\n", ["windows: [2005, 2003]", "order"]),
    "window twice": ("[robustness]\nwindows = [[2001, 2005], [2001, 2005]]\n", ["windows names [2001, 2005] twice"]),
    "window of one number": ("[robustness]\nwindows = [[2001, 2005], 2003]\n", ["windows[1] = 2003"]),
    "nothing to exclude": ("[robustness]\nexclude = { city = [] }\n", ["exclude.city is empty"]),
    "excluded twice": ('[robustness]\nexclude = { city = ["c1", "c1"] }\n', ["exclude.city names 'c1' twice"]),
    "policy is the treatment": ('[robustness]\npolicies = ["eip"]\n', ["policies names 'eip', which is the treatment"]),
    "policy is a control": ('[robustness]\npolicies = ["x"]\n', ["'x', which is a control"]),
    "policy twice": ('[robustness]\npolicies = ["policy", "policy"]\n', ["policies names 'policy' twice"]),
    "outcome is the outcome": ('[robustness]\noutcomes = ["y"]\n', ["outcomes names 'y', which is the outcome"]),
    "outcome is the year": ('[robustness]\noutcomes = ["year"]\n', ["'year', which is the period"]),
    "groups are units": ('[robustness]\nregion_by_period = "city"\n', ["region_by_period = 'city' is the unit"]),
    "no method": ("[robustness.psm]\nmethods = []\n", ["methods = []", "nearest, radius, kernel"]),
    "unknown method": ('[robustness.psm]\nmethods = ["nearst"]\n', ["methods[0] = 'nearst'", "nearest"]),
    "method twice": ('[robustness.psm]\nmethods = ["radius", "radius"]\n',
                     ["[robustness.psm]; methods names 'radius' twice"]),
    "caliper of zero": ("[robustness.psm]\ncaliper = 0\n", ["caliper = 0", "above 0"]),
    "neighbours of zero": ("[robustness.psm]\nneighbours = 0\n", ["neighbours = 0", "1 or more"]),
    "years out of order": ("[robustness.psm]\nyears = [2003, 2001]\n", ["years = [2003, 2001]", "order"]),
    "no covariate": ("[robustness.psm]\ncovariates = []\n", ["there is no covariate to match on"]),
    "treatment as covariate": ('[robustness.psm]\ncovariates = ["eip"]\n', ["psm.covariates names 'eip'"]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPEC)
def test_wrong_in_the_spec(name: str, tmp_path: Path) -> None:
    menu, words = SPEC[name]
    found = problems(tmp_path, menu)
    assert len(found) == 1, found
    for word in words:
        assert word in found[0]


FILE: dict[str, tuple[str, list[str]]] = {
    "unknown column": ('[robustness]\noutcomes = ["othr"]\n', ["no column 'othr'", "[robustness] outcomes", "'other'"]),
    "unknown policy": ('[robustness]\npolicies = ["z"]\n', ["no column 'z'", "[robustness] policies"]),
    "unknown group": ('[robustness]\nregion_by_period = "z"\n', ["no column 'z'", "region_by_period"]),
    "unknown column to exclude by": ('[robustness]\nexclude = { regio = ["east"] }\n', ["'regio'", "'region'"]),
    "unknown covariate": ('[robustness.psm]\ncovariates = ["z"]\n', ["no column 'z'", "psm.covariates"]),
    "unknown value": ('[robustness]\nexclude = { region = ["eastt"] }\n', ["names 'eastt'", "east, west", "'east'"]),
    "unknown city": ('[robustness]\nexclude = { city = ["c9"] }\n', ["exclude.city names 'c9'"]),
    "everyone excluded": ('[robustness]\nexclude = { region = ["east", "west"] }\n', ["exclude.region leaves 0 units"]),
    "the treated excluded": ('[robustness]\nexclude = { region = ["east"] }\n', ["leaves no treated observation"]),
    "window outside": ("[robustness]\nwindows = [[1999, 2004]]\n", ["[1999, 2004] is outside", "within 2001-2006"]),
    "window before treatment": ("[robustness]\nwindows = [[2001, 2003]]\n",
                                ["[2001, 2003] leaves no treated observation"]),
    "lag too long": ("[robustness]\nlag = 5\n", ["lag = 5 leaves 1 of 6 periods"]),
    "one group": ('[robustness]\nregion_by_period = "country"\n', ["'country' is the same for all units"]),
    "groups of one": ('[robustness]\nregion_by_period = "code"\n', ["'code' differs between all units"]),
    "group that varies": ('[robustness]\nregion_by_period = "other"\n', ["varies within the unit c0"]),
    "outcome as text": ('[robustness]\noutcomes = ["province"]\n', ["holds 'p0'", "column 'province'"]),
    "outcome of the units": ('[robustness]\noutcomes = ["height"]\n',
                             ["column 'height', [robustness] outcomes; is absorbed by the unit and time effects",
                              "name another outcome"]),
    "constant outcome": ('[robustness]\noutcomes = ["lon"]\n', ["column 'lon', [robustness] outcomes; is constant"]),
    "outcome of the treatment": ('[robustness]\noutcomes = ["double"]\n',
                                 ["column 'double'", "is collinear with eip, x and the effects"]),
    "years outside": ("[robustness.psm]\nyears = [1990, 1995]\n", ["years = [1990, 1995]", "within 2001-2006"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILE)
def test_wrong_for_this_panel(name: str, tmp_path: Path) -> None:
    menu, words = FILE[name]
    found = problems(tmp_path, menu)
    assert len(found) == 1, found
    for word in words:
        assert word in found[0]


def test_all_problems_at_once(tmp_path: Path) -> None:
    spec = "[robustness]\nlag = 0\nwindows = [[2005, 2003]]\n[robustness.psm]\nmethods = []\ncaliper = -1\n"
    assert len(problems(tmp_path, spec)) == 4  # also of the keys beside one of the wrong kind
    spec = '[robustness]\nwindows = [[2005, 2003]]\nwinsorize = [1, 0]\npolicies = ["eip"]\n'
    spec += "[robustness.psm]\nmethods = []\n"
    assert len(problems(tmp_path, spec)) == 4
    panel = '[robustness]\nwindows = [[1999, 2003], [2001, 2003]]\nlag = 9\nexclude = { city = ["c9", "z"] }\n'
    assert len(problems(tmp_path, panel + "[robustness.psm]\nyears = [1990, 1991]\n")) == 6


def test_lags_count_in_steps_of_the_panel(tmp_path: Path) -> None:
    def panel_of(edit: Edit, menu: str = "") -> Panel:
        assert problems(tmp_path, menu, edit=edit) == []
        return read_real_panel(tmp_path / "panel.csv", read_spec(tmp_path / "spec.toml")).panel

    annual = panel_of(lambda frame: frame)
    biennial = panel_of(lambda frame: frame.assign(year=2 * frame["year"]), "[robustness]\nlag = 2\n")
    for lag in (1, 2):
        one, other = lagged(annual, lag).panel, lagged(biennial, lag).panel
        assert other.periods == tuple(2 * period for period in one.periods)
        for name, values in one.variables.items():
            np.testing.assert_array_equal(other.variables[name], values)
    gap = lagged(panel_of(lambda frame: frame[frame["year"] != 2003]), 1).panel
    assert gap.periods == (2002, 2005, 2006)


def test_gaps_of_further_columns_follow_missing(tmp_path: Path) -> None:
    def gap(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[9, "other"] = np.nan
        return frame

    menu = '[robustness]\noutcomes = ["other"]\n'
    found = problems(tmp_path, menu, edit=gap)
    assert len(found) == 1
    assert "column 'other', unit c1, 2004" in found[0]
    assert "[robustness] outcomes; is missing in 1 rows" in found[0]
    assert problems(tmp_path, menu, PANEL + 'missing = "drop"\n', gap) == []
    lagged = '[robustness]\noutcomes = ["before"]\n[transform]\nbefore = { lag = "other" }\n'
    assert problems(tmp_path, lagged) == []


def test_other_outcomes_are_judged_where_they_are_there(tmp_path: Path) -> None:
    """Of one year a unit, nothing is left beside the units' effects; of none, nothing is to be judged."""

    def once(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(other=frame["other"].where(frame["year"] == 2003 + frame["code"] % 2))

    menu, panel = '[robustness]\noutcomes = ["other"]\n', PANEL + 'missing = "drop"\n'
    (line,) = problems(tmp_path, menu, panel, once)
    assert "column 'other', [robustness] outcomes; is absorbed" in line
    assert problems(tmp_path, menu, panel, lambda frame: frame.assign(other=np.nan)) == []


def test_a_menu_that_is_no_table(tmp_path: Path) -> None:
    assert problems(tmp_path, "", "robustness = 3\n" + PANEL)[0].startswith(
        "spec.toml, [robustness]; is 3; allowed: a table"
    )
    assert "[robustness.psm]; is 3" in problems(tmp_path, "[robustness]\npsm = 3\n")[0]


def test_psm_needs_a_treatment_and_a_time_before(tmp_path: Path) -> None:
    without = PANEL.replace('treatment = "eip"\n', "")
    assert "there is no treatment to match on" in problems(tmp_path, "[robustness.psm]\n", without)[0]

    def early(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame["city"] == "c0", "eip"] = 1
        return frame

    assert "some units are treated in 2001" in problems(tmp_path, "[robustness.psm]\n", edit=early)[0]
    assert problems(tmp_path, "[robustness.psm]\nyears = [2001, 2002]\n", edit=early) == []

    def all_treated(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame["year"] == 2006, "eip"] = 1
        return frame

    assert "every unit is treated at some time" in problems(tmp_path, "[robustness.psm]\n", edit=all_treated)[0]


def test_names_that_belong_to_something_else(tmp_path: Path) -> None:
    named = problems(tmp_path, '[robustness]\npolicies = ["did"]\n', edit=lambda f: f.assign(did=f["policy"]))
    assert "[robustness] policies; the column 'did' has the name of a term" in named[0]
    places = PANEL + 'capital = "code"\n'
    found = problems(tmp_path, "[robustness]\nexclude = { capital = [1] }\n", places)
    assert "not the one that [panel] names for capital" in found[0]


def test_an_empty_menu_and_its_defaults(tmp_path: Path) -> None:
    assert problems(tmp_path, "[robustness]\n") == []
    assert RobustnessSection().further == {}
    assert [value_label(value) for value in (1, 1.0, True, "east ", 2.5)] == ["1", "1", "1", "east", "2.5"]


def test_exit_code_and_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel, spec, out = tmp_path / "panel.csv", tmp_path / "spec.toml", tmp_path / "out"
    example_frame().to_csv(panel, index=False)
    spec.write_text(EXAMPLE_SPEC + "\n[robustness]\nlag = 30\nwindows = [[1990, 2010]]\n", encoding="utf-8")
    assert run_command(["estimate", str(panel), "--spec", str(spec), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "lag = 30" in said
    assert "[1990, 2010] is outside" in said
    assert not out.exists()
