"""All that commands do is there in Python, as they do it; what a prompt shows is short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import panelproof as pp
from experiments.cli import COMMANDS, run_command
from sim.errors import BadInput

IN_PYTHON = {  # a name of pp, or of what it returns, for every command
    "studies": "Study", "kinds": "estimator", "run": "run", "cluster": "run", "report": "diagnose",
    "compare": "compare", "solve": "solve", "breakdown": "breakdown", "estimate": "estimate", "placebo": "placebo",
    "twin": "twin",
    "trust": "trust", "race": "race", "replicate": "replicate", "replay": "replay", "init": "init",
    "panel": "read_panel", "store": "open_store",
}  # fmt: skip
SHELL = {"completion"}


FILE = """
name = "mine"
replications = 128
block = 64

[design]
kind = "paper"

[grid]
effect = [0.0, 0.02]

[[estimators]]
kind = "did"
"""


def study(**changes: Any) -> pp.Study:
    given = {"grid": {"effect": [0.0, 0.02]}, "replications": 128, "block": 64} | changes
    return pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), **given)


def test_every_command_has_a_name_in_python() -> None:
    assert set(COMMANDS) == set(IN_PYTHON) | SHELL
    assert set(IN_PYTHON.values()) <= set(pp.__all__)


def test_solve_and_breakdown_find_what_the_commands_find(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(FILE, encoding="utf-8")
    asked = ["--budget", "8192", "--precision", "0.1", "--cluster", "serial", "--json"]
    assert run_command(["solve", "power:0.8", str(file), "--for", "effect", "--out", str(tmp_path / "a"), *asked]) == 0
    theirs = (tmp_path / "a" / "answer.json").read_text()
    options: dict[str, Any] = {"budget": 8192, "precision": 0.1}
    found = pp.solve("power:0.8", study(), "effect", **options)
    assert found[0].state == "found"
    assert f'"value": {found[0].value!r}' in theirs
    command = [
        "breakdown",
        str(file),
        "--dial",
        "trend_gap",
        "--measure",
        "coverage:0.90",
        "--out",
        str(tmp_path / "b"),
    ]
    assert run_command([*command, *asked]) == 0
    gaps = pp.breakdown(study(), "trend_gap", measure="coverage:0.90", out=tmp_path / "c", **options)
    assert (tmp_path / "c" / "points").is_dir()
    assert f'"value": {gaps[-1].value!r}' in (tmp_path / "b" / "answer.json").read_text()


def test_answers_of_searches_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = pp.solve("mcse:coverage=0.03", study(grid={}), "replications")
    pp.show(found)
    assert found[0].sentence.split()[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: pp.solve("power:2", study(), "effect"), "level '2'"),
        (lambda: pp.solve("power:0.8", study(), "efect"), "no dial 'efect'"),
        (lambda: pp.solve("power:0.8", study(), "effect", workers=2), "workers = 2 without a cluster"),
        (lambda: pp.run(study(), cluster="lokal"), "lokal"),
        (lambda: pp.run(study(), workers=2), 'cluster = "local"'),
        (lambda: pp.breakdown(study(), "effekt"), "no dial 'effekt'"),
        (lambda: study().draw(2, 0), "no cell 2"),
        (lambda: study().draw(0, -1), "no replication -1"),
        (lambda: pp.open_store("nowhere.zarr"), "nowhere.zarr"),
        (lambda: pp.compare("nowhere.zarr", "nowhere.zarr"), "nowhere.zarr"),
        (lambda: pp.replicate("bundle"), "nothing to replicate"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=said) as error:
        call()
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_run_on_a_cluster_that_it_starts_has_the_serial_numbers(tmp_path: Path) -> None:
    there = pp.run(study(), store=tmp_path / "a.zarr", cluster="local", workers=1)
    here = pp.run(study())
    for cell in (0, 1):
        for theirs, ours in zip(there.blocks(cell), here.blocks(cell), strict=True):
            np.testing.assert_array_equal(theirs.estimates["did"].estimate, ours.estimates["did"].estimate)


def test_a_panel_that_is_drawn_is_that_of_the_run(tmp_path: Path) -> None:
    store = pp.run(study(worlds=2), store=tmp_path / "a.zarr")
    for cell, replication in ((0, 0), (1, 63), (0, 101)):
        drawn = study(worlds=2).draw(cell, replication)
        again = pp.replay(store, cell, replication)
        assert drawn.digest == again.panel.digest
        own = again.block.estimates["did"].estimate[0, 0]
        assert pp.TwoWayDID()(drawn).estimate[0, 0] == pytest.approx(own, rel=1e-12)


def test_a_first_spec_is_written_once(tmp_path: Path) -> None:
    real = pp.example_panel()
    frame = real.panel.to_frame() if hasattr(real.panel, "to_frame") else None
    path = tmp_path / "panel.csv"
    if frame is None:
        assert run_command(["panel", "example", str(tmp_path / "made")]) == 0
        path = tmp_path / "made" / "panel.csv"
    text = pp.init(path, tmp_path / "spec.toml")
    assert (tmp_path / "spec.toml").read_text() == text
    with pytest.raises(BadInput, match="exists already"):
        pp.init(path, tmp_path / "spec.toml")
    assert pp.read_panel(path, tmp_path / "spec.toml").panel.roles.outcome == "icr"


def test_a_bundle_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pp.run(study(), store="mine.zarr")
    assert "README.md" in pp.replicate("bundle", ["mine.zarr"])
    assert {found.verdict for found in pp.rerun("bundle")} == {"same bits"}


def test_what_a_prompt_shows_is_short(tmp_path: Path) -> None:
    real = pp.example_panel(30)
    tables = pp.estimate(real)
    memory, disk = pp.run(study()), pp.run(study(), store=tmp_path / "a.zarr")
    shown = [real, tables, tables["2"], tables["2", 5], memory, disk, pp.diagnose(memory), pp.twin(real),
             pp.placebo(real, draws=99)]  # fmt: skip
    for each in shown:
        assert 20 < len(repr(each)) < 300, repr(each)
        assert "\n" not in repr(each)
        assert "<" not in repr(each)
        assert hasattr(each, "_repr_html_"), type(each)
    assert repr(tables["2", 5]).startswith("Tables(2, column 5: ")
    assert "2 cells x 128 replications, 4 of 4 blocks, did" in repr(disk)


@pytest.mark.long
def test_a_script_that_workers_cannot_import_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import panelproof as pp\n"
        "study = pp.Study('mine', pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)\n"
        "pp.run(study, cluster='local', workers=1)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert 'workers import mine.py: it must keep what it runs under if __name__ == "__main__":' in done.stderr
