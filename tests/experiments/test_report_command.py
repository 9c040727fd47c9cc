"""`panelproof report`: pivots, pictures, files and every fault of a wish at once; what is printed fits the terminal."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import here, refusal, words
from rich.cells import cell_len

import panelproof as pp
from estimators import TwoWayDID
from experiments.run import reporting
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store.zarr_store import ZarrStore
from results.tables.journal_table import TableFormat
from sim.presets import Paper


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "x.zarr"
    grid = {"effect": [0.0, 0.0157], "serial": [0.0, 0.8]}
    run(Study("wishes", Paper(), (TwoWayDID(),), grid=grid, replications=64, block=64, seed=3), store=path)
    return path


@pytest.mark.parametrize("content", [None, {"../tables.md": b""}])
def test_a_format_of_ones_own_that_writes_no_file_is_named(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    own = TableFormat("md", "tables.md", lambda *_: content)
    monkeypatch.setattr(reporting, "table_formats", lambda: {"md": own})
    asked = ("report", store, "--by", "effect", "--measure", "bias", "--format", "md", "--out", tmp_path / "out")
    assert "format md raised TypeError: it returned" in refusal(*asked)
    assert not (tmp_path / "out").exists()


def test_json_says_whether_all_blocks_are_there_and_where_cells_stopped(tmp_path: Path) -> None:
    study = Study("whole", Paper(), (TwoWayDID(),), replications=128, block=64, seed=3)
    whole, part = tmp_path / "whole.zarr", tmp_path / "part.zarr"
    run(study, store=whole, until="coverage:0.5")
    said = json.loads(here("report", whole, "--json").out)["study"]
    assert (said["complete"], said["until"]["met"]) == (True, [True])
    assert said["until"]["replications"] == [64 * said["blocks_done"]]
    with pytest.raises(ZeroDivisionError):
        run(study, store=part, listen=lambda step: step.blocks and 1 / 0)
    said = json.loads(here("report", part, "--json").out)["study"]
    assert (said["complete"], said["blocks"], said["blocks_done"]) == (False, 2, 1)


def test_a_pivot_is_printed_alone(store: Path) -> None:
    asked = ("report", store, "--by", "effect,serial", "--measure", "coverage")
    first, second, *lines = here(*asked).out.splitlines()
    said = words(f"{first} {second}")
    assert said == "Coverage for did, estimator did, by autocorrelation of errors (columns)"
    frame = diagnose(ZarrStore.open(store)).frame
    row = frame[(frame["measure"] == "coverage") & (frame["term"] == "did") & (frame["error"] == "hc1")
                & (frame["effect"] == 0.0157)]  # fmt: skip
    (line,) = [line for line in lines if line.split()[:1] == ["0.0157"] or "HC1" in line][-1:]
    for value in row["value"]:
        assert f"{100 * value:.1f}" in line
    assert "Verdict" not in "\n".join(lines)


def test_files_and_figures_are_written(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    wanted = ["--by", "effect,serial", "--measure", "size", "--measure", "power", "--out", tmp_path / "t"]
    wanted += ["--format", "tex,docx,xlsx,csv", "--figures", tmp_path / "f", "--figure", "size"]
    said = here("report", store, *wanted, "--html", page).out
    names = {file.name for file in (tmp_path / "t").iterdir()}
    assert names == {"tables.tex", "tables.docx", "tables.xlsx", "tables.csv", "measures.csv"}
    assert all(str(tmp_path / "t" / name) in said for name in names)
    rows = list(csv.DictReader((tmp_path / "t" / "measures.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(diagnose(ZarrStore.open(store)).frame)
    rows = list(csv.DictReader((tmp_path / "t" / "tables.csv").read_text(encoding="utf-8").splitlines()))
    assert {(row["estimator"], row["term"], row["error"]) for row in rows} == {
        ("did", "did", error) for error in TwoWayDID().errors
    }
    figures = {file.name for file in (tmp_path / "f").iterdir()}
    assert {f"size-did-chart.{form}" for form in ("svg", "pdf", "png")} <= figures
    assert len({name.rpartition(".")[0] for name in figures}) * 3 == len(figures)
    html = page.read_text(encoding="utf-8")
    assert html.index('id="pivot-size-for-did-effect-error-serial"') < html.index('id="more"')


def test_no_table_stands_twice(store: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    said = here("report", store, "--measure", "power", "--measure", "size", "--measure", "power", "--html", page).out
    assert said.count("Power for did") == 1
    names = re.findall(' id="(.*?)"', page.read_text(encoding="utf-8"))
    assert [name for name in names if names.count(name) > 1] == []
    assert any(name.startswith("pivot-power") for name in names)


def test_a_picture_without_room_is_told(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for width, told in (("80", False), ("30", True)):
        monkeypatch.setenv("COLUMNS", width)
        assert ("the terminal is too narrow" in words(here("report", store, "--chart").out)) == told


def test_pictures_are_chosen_by_name_term_and_format(store: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "f", ("--figures", tmp_path / "g")
    here("report", store, "--figures", folder, "--figure", "power", "--term", "inv", "--format", "pdf")
    names = sorted(file.name for file in folder.iterdir())
    assert names
    assert all(name.startswith("power-inv") and name.endswith(".pdf") for name in names), names
    for given, said in (((*other, "--figure", "powe"), "no picture 'powe'"),
                        ((*other, "--term", "inw"), "did you mean 'inv'?"),
                        (("--figure", "power"), "--figures DIR"), (("--format", "png"), "--figures DIR"),
                        (("--open",), "--open; there is no page to open; allowed: with --html FILE")):  # fmt: skip
        out, err = here("report", store, *given, code=2)
        assert said in err
        assert out == ""
    assert not (tmp_path / "g").exists()


def test_all_faults_are_named_at_once_and_nothing_is_written(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    wanted = ["--by", "effekt,serial", "--measure", "pover", "--format", "tex,odt"]
    wanted += ["--figures", tmp_path / "file" / "f", "--html", tmp_path / "r.txt"]
    out, err = here("report", store, *wanted, code=2)
    lines = err.splitlines()
    for place, what in (("--by", "'effekt' is no dial"), ("--measure", "'pover' is no measure"),
                        ("--format", "'odt' is no format"), ("--format", "has no folder"), ("--figures", "is a file"),
                        ("--html", "does not end in .html")):  # fmt: skip
        assert [line for line in lines if place in line and what in line], (place, lines)
    assert (len(lines), out) == (6, "")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_measure_that_is_nowhere_defined_is_refused(tmp_path: Path) -> None:
    study = Study("no null", Paper(), (TwoWayDID(),), grid={"serial": [0.0, 0.8]}, replications=64, block=64, seed=3)
    run(study, store=tmp_path / "x.zarr")
    asked = ["--by", "serial", "--measure", "size", "--measure", "power", "--format", "csv", "--out", tmp_path / "out"]
    assert "size is not defined in any cell" in here("report", tmp_path / "x.zarr", *asked, code=2).err
    assert not (tmp_path / "out").exists()


def test_make_demo_ends_with_answer_picture_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8").splitlines()
    recipe = next(line for line in lines[lines.index("demo: $(STAMP)") :] if "panelproof " in line)
    given = recipe.removeprefix(">@$(BIN)/panelproof ").split()
    assert given[:3] == ["run", "size", "--replications"]
    assert int(given[3]) * 5 <= 5000  # panels: seconds of work, and a start of Python
    given[3] = "64"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    out = here(*given, "--cluster", "serial").out.splitlines()
    answered = next(place for place, line in enumerate(out) if line.startswith("- 5% tests of did"))
    pictured = out.index("Size for did: share of tests that reject a true null")
    assert answered < pictured
    assert "cannot be told" in out[answered + 1]  # 64 replications tell nothing, and the answer says so
    assert "replications" in " ".join(out[answered + 1 : answered + 3])
    assert (out[pictured + 15].strip(), out[-1]) == ("autocorrelation of errors", "report  runs/size.html")
    assert (tmp_path / "runs" / "size.html").is_file()


# What is printed on a terminal is as wide as the terminal: 60, 80 or 120 columns, where Chinese letters take two.


WIDTHS = (60, 80, 120)
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMAND = re.compile(r"panelproof [a-z]|[\w.-]+/\S+")  # to copy, or a path: longer than a line where it must be
WORDS = "城市面板数据的误差项"
STUDY = """
question = "Does the DID estimate what it should, where {words} errors are correlated over years and over neighbours?"
replications = 64
[design]
kind = "paper"
controls = "none"
[grid]
effect = [0.0, 0.0157]
[[estimators]]
kind = "did"
errors = ["iid", "hc1", "cluster:unit", "cluster:period"]
"""


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of that many columns."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return int(request.param)


def misfits(width: int, printed: str) -> list[str]:
    """Lines that are wider than the terminal, and the widest one of a text that uses half of it alone."""
    lines = [part.rstrip() for line in CONTROLS.sub("", printed).splitlines() for part in line.split("\r")]
    widest = max(lines, key=cell_len)
    narrow = [widest] if cell_len(widest) <= 0.6 * min(width, 100) else []
    return [line for line in lines if cell_len(line) > width and not COMMAND.search(line)] + narrow


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose question has Chinese words, and its store."""
    folder = tmp_path_factory.mktemp("widths")
    (folder / "study.toml").write_text(STUDY.format(words=WORDS * 6), encoding="utf-8")
    here("run", folder / "study.toml", "--cluster", "serial", "--store", folder / "x", "-q")
    return folder


def test_commands_follow_the_terminal(width: int, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran)
    again = ["run", "study.toml", "--cluster", "serial", "--store", "x"]
    for command in (
        again, [*again, "--dry-run"], ["report", "x"], ["report", "x", "--full"], ["store", "info", "x"], ["kinds"],
        ["kinds", "did"], ["kinds", "adoption"], ["studies"], ["studies", "size"], ["cluster", "kinds"],
    ):  # fmt: skip
        printed = here(*command).out
        assert misfits(width, printed) == [], command
        if command[0] in {"run", "report", "store"}:
            assert re.sub(r"\s", "", CONTROLS.sub("", printed)).count(WORDS * 6) == 1, "the question whole, and once"


@pytest.fixture(scope="module")
def printed_tables() -> Any:
    """What `estimate` prints, computed once."""
    return pp.estimate(pp.example_panel(30))


@pytest.fixture(scope="module")
def judged() -> Any:
    """What `trust` prints, computed once."""
    return pp.trust(pp.example_panel(30), replications=64, benchmarks=0, race=False)


def test_tables_follow_the_terminal(width: int, printed_tables: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pp.show(printed_tables)
    assert misfits(width, capsys.readouterr().out) == []


@pytest.mark.long
def test_a_verdict_follows_the_terminal(width: int, judged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pp.show(judged)
    assert misfits(width, capsys.readouterr().out) == []


def test_a_report_of_no_store_makes_no_folder_for_its_page(tmp_path: Path) -> None:
    here("report", tmp_path / "none.zarr", "--html", tmp_path / "new" / "x.html", code=2)
    assert not any(tmp_path.iterdir())
