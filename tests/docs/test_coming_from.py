"""Coming from Stata and R: the right column runs on a small panel, and the tests that the page names are there."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import blocks
import numpy as np
import pandas as pd
import pytest

import panelproof as pp
from estimators import Estimator
from experiments.cli import run_command
from sim import BadInput

pytestmark = pytest.mark.documents

PAGE = blocks.REPOSITORY / "docs" / "coming-from.md"
HEAD = re.compile(r"^\| [^|]+ \| here \|$")
CODE = re.compile(r"`([^`]+)`")
TABLE = re.compile(r"table (\w+)(?:, column (\d+))?")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
KEY = re.compile(r"^(\[\[?[\w.]+\]\]?) ?(.*)$")
PANEL = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "icr"\ncontrols = ["inv", "road"]\nsynthetic = true\n'
NAMED = {  # commands and packages that the page must have
    "reghdfe", "csdid", "did_imputation", "did2s", "eventstudyinteract", "sunab", "bacondecomp", "honestdid", "sdid",
    "synthdid", "xsmle", "splm", "spatialreg", "ivreghdfe", "fixest", "plm", "lincom", "test", "boottest",
    "fwildclusterboot", "didplacebo",
}  # fmt: skip


class Row(NamedTuple):
    """A row of a table "there | here": its section, and the code and the tables of the right cell."""

    section: str
    codes: tuple[str, ...]
    tables: tuple[tuple[str, str], ...]

    def keys(self) -> dict[str, Any]:
        spec: dict[str, Any] = {}
        for match in filter(None, map(KEY.match, self.codes)):
            merge(spec, tomllib.loads(f"{match[1]}\n{match[2]}"))
        return spec


def merge(spec: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            merge(spec.setdefault(name, {}), value)
        else:
            spec[name] = value


def rows() -> Iterator[Row]:
    """Every row of the tables whose right column is ours."""
    section, ours = "", False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        ours = bool(HEAD.match(line)) or (ours and line.startswith("|"))
        if ours and not HEAD.match(line) and not line.startswith("|---"):
            cell = re.split(r"(?<!\\)\|", line)[2].replace("\\|", "|")
            yield Row(section, tuple(CODE.findall(cell)), tuple(TABLE.findall(CODE.sub("", cell))))


ROWS = list(rows())
SPECS = [row for row in ROWS if row.keys()]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A third of the example panel, with an instrument, a population and first treated years."""
    folder = tmp_path_factory.mktemp("example")
    assert run_command(["panel", "example", str(folder), "--quiet"]) == 0
    table = pd.read_csv(folder / "panel.csv")
    table = table[table["city"].isin(table["city"].unique()[::5])].copy()
    rng = np.random.default_rng(1)
    table["z"] = table["eip"] + rng.standard_normal(len(table))
    table["pop"] = table.groupby("city")["inv"].transform("mean").abs() + 1.0
    table["first"] = table["city"].map(table[table["eip"] == 1].groupby("city")["year"].min()).fillna(0).astype(int)
    return table


def spec_of(*found: Row) -> dict[str, Any]:
    spec = tomllib.loads(PANEL + '\nlongitude = "lon"\nlatitude = "lat"\n')
    for row in found:
        merge(spec, row.keys())
    if "first_treated" not in spec["panel"]:
        spec["panel"]["treatment"] = "eip"
    return spec


@pytest.fixture(scope="module")
def names(frame: pd.DataFrame) -> dict[str, Any]:
    """What the page's Python may name: pp, the panel, and the tables that all rows with a table ask for."""
    asked = spec_of(*(row for row in SPECS if row.tables))
    merge(asked, {"inference": {"draws": 99}, "panel": {"capital": "is_capital"}})
    real = pp.read_panel(frame, asked)
    panel = real.panel.with_variables(real.further)
    return {"pp": pp, "panel": panel, "tables": pp.estimate(real)}


def test_python_on_the_page_runs_on_a_small_panel(names: dict[str, Any]) -> None:
    base, section, ran, failed = None, "", 0, []
    for row in ROWS:
        if row.section != section:
            base, section = None, row.section
        for code in row.codes:
            if code.startswith(("[", "panelproof")):
                continue
            try:
                made: Any = eval(f"dict({code})", names) if is_settings(code) else eval(code, names)
                if isinstance(made, dict):
                    assert base is not None, "settings of no estimator"
                    made = replace(base, **made)  # type: ignore[type-var]
                elif isinstance(made, Estimator):
                    base = made
                if isinstance(made, Estimator):
                    found = made(names["panel"])
                    assert found.status.tolist() == [1], found.status
                    assert np.isfinite(found.estimate).any()
                ran += 1
            except (BadInput, TypeError, ValueError, KeyError, NameError, SyntaxError, AssertionError) as error:
                failed.append(f"{section}: {code}: {type(error).__name__}: {error}")
    assert failed == []
    assert ran > 60


def is_settings(code: str) -> bool:
    """Whether a code is settings such as `errors=("hc1",), test="hc1"`, and no call."""
    try:
        call = ast.parse(f"dict({code})", mode="eval").body
    except SyntaxError:
        return False
    return isinstance(call, ast.Call) and not call.args and bool(call.keywords)


@pytest.mark.parametrize("row", SPECS, ids=lambda row: " ".join(row.codes)[:60])
def test_keys_on_the_page_are_read(row: Row, frame: pd.DataFrame, tmp_path: Path) -> None:
    spec = spec_of(row)
    if "spatial" in spec:
        spec.setdefault("weights", [{"kind": "file"}])
    for table in spec.get("weights", []):
        if table["kind"] == "file":
            pairs = [(a, b, 1.0) for a in frame["city"].unique() for b in frame["city"].unique() if a != b]
            pd.DataFrame(pairs, columns=["focal", "neighbor", "weight"]).to_csv(tmp_path / "w.csv", index=False)
            table["path"] = str(tmp_path / "w.csv")
    assert pp.read_panel(frame, spec).panel.nobs == len(frame)


def test_tables_that_the_page_names_are_made_by_its_keys(names: dict[str, Any]) -> None:
    made = [record.place for record in (*names["tables"].records, *names["tables"].statistics)]
    found = {(str(table), column) for table, number in made for column in (str(number), "")}
    asked = {place for row in ROWS for place in row.tables}
    assert len({table for table, _ in asked}) > 8
    assert asked - found == set()


def test_commands_on_the_page_run(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["panel", "example", "example", "--quiet"]) == 0
    frame.drop(columns=["z", "pop", "first"]).to_csv("example/panel.csv", index=False)
    texts = [code for row in ROWS for code in row.codes if code.startswith("panelproof ")]
    assert len(texts) == 5
    for text in texts:
        (words,) = blocks.commands(text)
        assert run_command([*words[1:], "--quiet"]) == 0, text


def test_tests_that_the_page_names_are_there_and_every_command_that_users_come_from() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = TEST.findall(page)
    assert len(named) > 20
    assert [(file, name) for file, name in named
            if f"\ndef {name}(" not in (blocks.REPOSITORY / file).read_text(encoding="utf-8")] == []  # fmt: skip
    sections = page.split("\n### ")[1:]
    headings = " ".join(text.splitlines()[0] for text in sections)
    assert set(re.findall(r"[\w_]+", headings)) >= NAMED
    assert [text.splitlines()[0] for text in sections if "\nChecked: " not in text] == [], "what was compared is said"
    assert len(ROWS) > 80
