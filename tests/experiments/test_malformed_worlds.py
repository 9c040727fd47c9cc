"""Study files with impossible worlds: one line a fault, all faults of a file at once, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.cli import run_command

WORLDS: dict[str, tuple[str, tuple[str, ...]]] = {  # name: what stands in the file, and a part of each line
    "negative sizes": (
        "units = -5\nperiods = 0",
        ("[design]; units = -5; allowed: a whole number, 2 to 20,000", "periods = 0"),
    ),
    "a single period": ("periods = 1", ("[design.adoption]; periods = 1; allowed: 2 or more; correct periods",)),
    "cohorts of a single period": (
        'periods = 1\n[design.adoption]\nkind = "staggered"', ("[design.adoption]; periods = 1; allowed: 2 or more",)
    ),
    "too large": ("units = 50000", ("units = 50000",)),
    "a size that is text": ('units = "many"', ("units",)),
    "an unknown part": ("[design.weather]\nsun = 1", ("'weather'",)),
    "an unknown kind": ('[design.adoption]\nkind = "lottery"', ("unknown kind 'lottery'",)),
    "a misspelt dial": ("[design.errors]\nseriel = 0.5", ("did you mean 'serial'?",)),
    "a part that is a number": ("adoption = 3", ("[design.adoption]",)),
    "a list that is a table": ('[design.covariates]\nname = "x"', ("tables [[covariates]]",)),
    "explosive errors": ("[design.errors]\nserial = 1.0", ("serial = 1.0",)),
    "explosive AR(2)": ("[design.errors]\nserial = [0.8, 0.3]", ("a stationary process",)),
    "negative sd": (
        "[design.errors]\nsd = -1.0\n[design.levels]\nunit_sd = -1.0",
        ("[design.errors]; sd = -1", "[design.levels]; unit_sd = -1"),
    ),
    "a correlation of 1.2": (
        '[[design.mediators]]\nname = "m"\nconfounding = 1.2', ("[[design.mediators]] 1; confounding = 1.2",)
    ),
    "shares above one": (
        "[design.errors]\ngroup_share = 0.7\nfactor_share = 0.6\nfactors = 1", ("sum to more than 1",)
    ),
    "too many factors": (
        "units = 50\nperiods = 6\n[design.levels]\nfactors = 7\n[design.errors]\nfactors = 9",
        ("[design.levels]; factors = 7", "[design.errors]; factors = 9"),
    ),
    "more treated than units": ("units = 20\n[design.adoption]\ntreated = 21", ("treated = 21 of 20 units",)),
    "a calendar of too many": (
        '[design.adoption]\nkind = "calendar"\ndates = [[2005, 80], [2030, 40]]', ("dates: 2030", "dates treat 120"),
    ),
    "more cohorts than periods": (
        'periods = 4\n[design.adoption]\nkind = "staggered"\ncohorts = 4', ("cohorts = 4 in 4 periods",)
    ),
    "shares of other cohorts": (
        '[design.adoption]\nkind = "staggered"\ncohorts = [2004, 2006]\nshares = [0.5]\nnever = 1.0',
        ("2 shares that sum to 1", "never = 1"),
    ),
    "groups that are none": (
        '[design.geography]\ngroups = 1\n[design.adoption]\nkind = "clustered"', ("the geography has 1",)
    ),
    "more groups than there are": (
        '[design.geography]\ngroups = 4\n[design.adoption]\nkind = "clustered"\ntreated = 4', ("treated = 4 of 4",)
    ),
    "doses below zero": ('[design.adoption]\nkind = "dose"\nsd = 2.0', ("sd = 2", )),
    "a growing dose": (
        '[design.adoption]\nkind = "dose"\n[design.effect]\nshape = "growing"', ("where units do not stay treated",)
    ),
    "an effect of a covariate that is not there": (
        '[design.effect]\nby_covariate = "gdp"\n[design.errors]\nby_covariate = "gdp"',
        ("[design.errors]; by_covariate names no covariate: 'gdp'", "[design.effect]; by_covariate names no covariate"),
    ),
    "adoption on what the treatment moves": (
        '[[design.covariates]]\nname = "x"\nbad_control = true\n'
        '[design.adoption]\nkind = "propensity"\non = "covariates"\ncovariates = ["x"]\n'
        '[design.effect]\nby_covariate = "x"',
        ("[design.adoption]; covariates names 'x', which the treatment moves",
         "[design.effect]; by_covariate = 'x', which the treatment moves"),
    ),
    "errors that follow what is drawn later": (
        'redraw = ["covariates"]\n[[design.covariates]]\nname = "x"\n[design.errors]\nby_covariate = "x"',
        ("follows the covariate 'x'",),
    ),
    "names that are taken": (
        '[[design.covariates]]\nname = "m"\n[[design.mediators]]\nname = "m"', ("share the name 'm'",)
    ),
    "an indicator that is not there": (
        '[design.indicators]\nnames = ["a", "b"]\nnegative = ["c"]\nloadings = [1.0]',
        ("1 loadings of 2 indicators", "negative names no indicator: 'c'"),
    ),
    "gaps that need the outcome of an index": (
        '[design.indicators]\nnames = ["a", "b"]\n[design.missing]\nshare = 0.1\npattern = "on_outcome"',
        ("on_outcome",),
    ),
    "everything missing": ("[design.missing]\nshare = 1.0", ("share = 1",)),
    "half of it late": ('[design.missing]\nshare = 0.6\npattern = "entry"', ("share = 0.6",)),
    "an unknown pattern": ('[design.missing]\nshare = 0.1\npattern = "mondays"', ("pattern",)),
    "negative measurement": (
        "[design.measurement]\noutcome_sd = -0.1\nrounding = -1.0", ("outcome_sd = -0.1", "rounding = -1")
    ),
    "a matrix of another N": (
        'units = 20\n[design.weights]\nkind = "file"\npath = "seven.npy"', ("W is 7 x 7, but the world has 20 units",)
    ),
    "a matrix of other units": (
        'units = 7\n[design.weights]\nkind = "file"\npath = "others.csv"', ("units not in the panel",)
    ),
    "a file that is not there": (
        '[design.weights]\nkind = "file"\npath = "nowhere.gal"\n[design.errors]\nsd = -2.0',
        ("there is no file", "sd = -2"),
    ),
    "a table without coordinates": (
        '[design.geography]\nkind = "file"\npath = "units.csv"\nlatitude = "lat"',
        ("the table has no column 'lat'", "k = 6 of 4 units"),
    ),
    "another N than the table's": (
        'units = 9\n[design.geography]\nkind = "file"\npath = "units.csv"', ("units = 9, but the geography",)
    ),
    "too many neighbours": ("units = 6\n[design.weights]\nk = 6", ("k = 6 of 6 units",)),
    "spillovers without W": (
        '[design.weights]\nkind = "none"\n[design.spillover]\nrho = 0.4', ("the world has no weights",)
    ),
    "a radius without an effect": ("[design.spillover]\nradius = 50.0", ("without w_effect",)),
    "rho out of range": ("[design.spillover]\nrho = 1.5\nw_effect = inf", ("rho = 1.5", "w_effect = inf")),
    "many faults": (
        "units = 1\n[design.errors]\nsd = -1.0\nserial = 2.0\n[design.adoption]\nshare = 1.5\n"
        "[design.effect]\nanticipation = 99\n[[design.covariates]]\nbetween = 2.0",
        ("units = 1;", "sd = -1", "serial = 2.0", "share = 1.5", "anticipation = 99", "between = 2"),
    ),
}  # fmt: skip
STUDY = """
replications = 64
{own}
[[estimators]]
kind = "did"
"""


def written(folder: Path, world: str) -> Path:
    """A study file with that world; top-level settings of the design come first, its tables after them."""
    np.save(folder / "seven.npy", np.ones((7, 7)) - np.eye(7))
    (folder / "others.csv").write_text("focal,neighbor\n" + "\n".join(f"a{i},a{(i + 1) % 7}" for i in range(7)))
    (folder / "units.csv").write_text("unit,longitude,latitude\nA,100,30\nB,101,31\nC,102,30\nD,103,32\n")
    path = folder / "study.toml"
    path.write_text(STUDY.format(own=f'[design]\nkind = "panel"\n{world}'), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", WORLDS)
def test_a_malformed_world_is_one_line_a_fault(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, expected = WORLDS[name]
    study, store = written(tmp_path, world), tmp_path / "runs" / "x.zarr"
    assert run_command(["run", str(study), "--store", str(store), "--cluster", "serial"]) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    for part in expected:
        assert sum(part in line for line in lines) == 1, (part, lines)
    assert len(lines) == len(expected), lines
    for line in lines:
        assert "allowed: " in line
        assert "study.toml" in line
        assert len(line) < 700
    assert not store.parent.exists()
    assert "Traceback" not in printed.err + printed.out


def test_there_are_thirty_or_more() -> None:
    assert len(WORLDS) >= 30
