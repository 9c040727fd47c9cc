"""What is printed on a terminal is as wide as the terminal: 60, 80 or 120 columns, where Chinese letters take two."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import panelproof as pp
from experiments.cli import run_command

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
    assert (
        run_command(["run", str(folder / "study.toml"), "--cluster", "serial", "--store", str(folder / "x"), "-q"]) == 0
    )
    return folder


def test_commands_follow_the_terminal(
    width: int, ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ran)
    for command in (
        ["run", "study.toml", "--cluster", "serial", "--store", "x"],
        ["run", "study.toml", "--cluster", "serial", "--store", "x", "--dry-run"],
        ["report", "x"], ["report", "x", "--full"], ["store", "info", "x"], ["kinds"], ["kinds", "did"],
        ["kinds", "adoption"], ["studies"], ["studies", "size"], ["cluster", "kinds"],
    ):  # fmt: skip
        assert run_command(command) == 0
        printed = capsys.readouterr().out
        assert misfits(width, printed) == [], command
        if command[0] in {"run", "report", "store"}:
            assert re.sub(r"\s", "", CONTROLS.sub("", printed)).count(WORDS * 6) == 1, "the question whole, and once"


@pytest.fixture(scope="module")
def tables() -> Any:
    """What `estimate` prints, computed once."""
    return pp.estimate(pp.example_panel(30))


@pytest.fixture(scope="module")
def judged() -> Any:
    """What `trust` prints, computed once."""
    return pp.trust(pp.example_panel(30), replications=64, benchmarks=0, race=False)


def test_tables_follow_the_terminal(width: int, tables: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pp.show(tables)
    assert misfits(width, capsys.readouterr().out) == []


@pytest.mark.long
def test_a_verdict_follows_the_terminal(width: int, judged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pp.show(judged)
    assert misfits(width, capsys.readouterr().out) == []


def test_reprs_are_lines_of_a_terminal(tables: Any, ran: Path) -> None:
    """An object at the prompt says in a few lines of 80 columns what it is."""
    store = pp.open_store(ran / "x")
    for thing in (tables, tables["2"], tables["2", 5], store, pp.diagnose(store),
                  pp.example_panel(30), pp.example_panel(30).panel):  # fmt: skip
        lines = repr(thing).splitlines()
        assert len(lines) <= 25, type(thing)
        assert max(map(cell_len, lines)) <= 120, type(thing)
        assert thing._repr_html_().startswith("<div"), type(thing)
