"""What `panel check` and `estimate` refuse before anything is fitted, and names that are unusual but fine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from long_tables import load_panel

from estimators import SpatialPanel, TwoWayDID
from experiments.cli import run_command
from experiments.panel_spec.spec import read_spec
from experiments.run.runner import run
from experiments.study import Study
from results.store import ZarrStore
from sim.real_panels import Observed

SPEC = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "law"
controls = ["x", "z"]
longitude = "lon"
latitude = "lat"
[inference]
draws = 99
[[weights]]
kind = "knn"
k = 3
"""
Edit = Callable[[pd.DataFrame], pd.DataFrame]


def table() -> pd.DataFrame:
    """Twelve cities over six years; four adopt in 2003."""
    frame = pd.DataFrame({"code": np.repeat(np.arange(12), 6), "year": np.tile(np.arange(2000, 2006), 12)})
    frame["city"] = [f"c{code}" for code in frame["code"]]
    frame["law"] = ((frame["code"] < 4) & (frame["year"] >= 2003)).astype(int)
    frame["start"] = np.where(frame["code"] < 4, 2003, np.nan)
    frame[["y", "x", "z"]] = np.random.default_rng(8).normal(size=(72, 3))
    frame["lon"], frame["lat"] = frame["code"] % 4, frame["code"] // 4 + 0.1 * frame["code"]
    return frame


def said(
    folder: Path, capsys: pytest.CaptureFixture[str], spec: str = SPEC, edit: Edit = lambda frame: frame
) -> list[str]:
    """What both commands say of a panel and a spec, by line; they must say the same."""
    edit(table()).to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    files = [str(folder / "panel.csv"), "--spec", str(folder / "spec.toml")]
    lines = []
    for command in (["panel", "check"], ["estimate"]):
        assert run_command([*command, *files]) == 2
        lines.append(capsys.readouterr().err.splitlines())
    assert lines[0] == lines[1]
    return [line.removeprefix("panelproof: ") for line in lines[0]]


def by_start(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(start=2003.0)


FIRST = SPEC.replace('treatment = "law"', 'first_treated = "start"')
REFUSED: dict[str, tuple[str, Edit, list[str]]] = {
    "treatment of all at once": (SPEC, lambda f: f.assign(law=(f["year"] > 2002).astype(int)),
                                 ["panel.csv, column 'law'; is absorbed by the unit and time effects"]),
    "the same by its first year": (FIRST, by_start, ["panel.csv, column 'start'; is absorbed"]),
    "first years as a treatment": (SPEC.replace('treatment = "law"', 'treatment = "start"'),
                                   lambda f: f.assign(start=f["start"].fillna(0) + (f["code"] == 9) * 2002),
                                   ['it looks like first treated periods: say first_treated = "start"']),
    "constant outcome": (SPEC, lambda f: f.assign(y=1.0),
                         ["panel.csv, column 'y'; is constant", "name another outcome"]),
    "outcome of the controls": (SPEC, lambda f: f.assign(y=f["x"] - f["z"]),
                                ["column 'y'; is collinear with law, x, z", "remove the controls that determine it"]),
    "outcome of the treatment": (SPEC, lambda f: f.assign(y=2.0 * f["law"] + 1),
                                 ["column 'y'; is collinear with law and the effects", "name another outcome"]),
    "constant control": (SPEC, lambda f: f.assign(z=1.0), ["column 'z'; is constant", "remove it from the controls"]),
    "gaps and weights": (SPEC, lambda f: f.drop(index=7), ["1 unit-periods are missing: c1 in 2001", "drop-units"]),
    "one cluster": (SPEC.replace("[inference]", 'cluster = "land"\n[inference]'),
                    lambda f: f.assign(land="a"),
                    ["spec.toml, [panel] cluster; cluster:land has 1 cluster; allowed: 2 or more clusters"]),
    "one cluster of an error type": (SPEC.replace("draws = 99", 'draws = 99\nerrors = ["wild:land"]'),
                                     lambda f: f.assign(land="a"),
                                     ["spec.toml, [inference] errors; wild:land has 1 cluster"]),
    "nothing to estimate": (SPEC.replace('treatment = "law"\n', "").replace('"x", "z"', "").partition("[[")[0],
                            lambda f: f, ["spec.toml, [panel]; there is neither a treatment nor a control"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_both_commands_refuse_in_the_users_names(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, edit, words = REFUSED[name]
    (line,) = said(tmp_path, capsys, spec, edit)
    for word in words:
        assert word in line
    assert "'did" not in line


def test_everything_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(y=2.0, z=frame["code"]).drop(index=7)

    lines = said(tmp_path, capsys, SPEC, edit)
    assert [line.partition(";")[0] for line in lines] == [
        "a model of this panel's balanced part",
        "panel.csv, column 'z'",
        "panel.csv, column 'y'",
    ]


def test_check_prints_the_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table().assign(law=lambda f: f["law"].where(f["code"] > 0, 1)).to_csv(tmp_path / "panel.csv", index=False)
    (tmp_path / "spec.toml").write_text(SPEC)
    assert run_command(["panel", "check", str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml")]) == 0
    assert "1 unit treated in every period: c0." in capsys.readouterr().out


NAMES = {"x": "人均GDP(元)", "z": "GDP (yuan, 2000)", "y": "f(x"}


def test_any_name_goes_through_all_of_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for label, names in (("plain", {}), ("odd", NAMES)):
        spec = SPEC.replace('"x", "z"]', '"x"]\nmediators = ["z"]')
        for plain, odd in names.items():
            spec = spec.replace(f'"{plain}"', f'"{odd}"')
        table().rename(columns=names).to_csv(tmp_path / f"{label}.csv", index=False)
        (tmp_path / f"{label}.toml").write_text(spec, encoding="utf-8")
        files = [str(tmp_path / f"{label}.csv"), "--spec", str(tmp_path / f"{label}.toml"), "--out", str(tmp_path)]
        assert run_command(["estimate", *files, "--json", "--format", "html,tex,docx"]) == 0
        found[label] = json.loads(capsys.readouterr().out)
    plain, odd = (found[label]["records"] for label in ("plain", "odd"))
    assert len(plain) == len(odd) > 100
    for one, other in zip(plain, odd, strict=True):
        assert one["estimate"] == other["estimate"]
        assert renamed(one["term"]) == other["term"]


def renamed(term: str | None) -> str | None:
    """A term with the odd name in place of the plain one."""
    if term is None:
        return None
    kind = re.match(r"(direct:|indirect:|total:|w_)?", term)
    assert kind is not None
    return kind[0] + NAMES.get(term[kind.end() :], term[kind.end() :])


def test_any_name_goes_through_a_study_and_its_store(tmp_path: Path) -> None:
    table().rename(columns=NAMES).to_csv(tmp_path / "panel.csv", index=False)
    spec = SPEC
    for plain, odd in NAMES.items():
        spec = spec.replace(f'"{plain}"', f'"{odd}"')
    (tmp_path / "spec.toml").write_text(spec, encoding="utf-8")
    panel = load_panel(tmp_path / "panel.csv", read_spec(tmp_path / "spec.toml"))
    estimators: tuple[Any, ...] = (TwoWayDID(), SpatialPanel("sdm"))
    study = Study("odd names", Observed(panel), estimators, replications=1, block=64)
    kept, stored = run(study), run(study, store=tmp_path / "odd.zarr")
    assert isinstance(stored, ZarrStore)
    for estimator in estimators:
        one, other = (next(iter(store.blocks(0))).estimates[estimator.name] for store in (kept, stored))
        assert "GDP (yuan, 2000)" in other.terms
        assert one.terms == other.terms
        np.testing.assert_array_equal(one.estimate, other.estimate)
