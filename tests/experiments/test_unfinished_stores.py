"""What `run` and `report` say of a store that holds more than is asked for, or less than it has room for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.cli import run_command
from results.store import ZarrStore

STUDY = """
replications = 192
block = 64
seed = 5

[design]
kind = "paper"
controls = "none"

[[estimators]]
kind = "did"
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three blocks, all done."""
    (tmp_path / "study.toml").write_text(STUDY)
    path = tmp_path / "x.zarr"
    assert run_command(["run", str(tmp_path / "study.toml"), "--cluster", "serial", "--store", str(path)]) == 0
    return path


def asked(store: Path, replications: int, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    command = ["run", str(store.parent / "study.toml"), "--cluster", "serial", "--store", str(store)]
    assert run_command([*command, "--replications", str(replications), *options]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_fewer_replications_than_the_store_holds(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(store, 64, capsys, "--dry-run")
    assert "1 cell x 192 replications" in said
    assert "the store holds 192 replications per cell, more than the 64 asked for; all of them are kept" in said
    ZarrStore(store, "a").poison(0, 1)
    said = asked(store, 64, capsys)
    assert "more than the 64 asked for; the run goes on to all of them, of which 2 of 3 blocks are done" in said
    assert "192 of 192 panels" in said
    assert "the store holds" not in asked(store, 192, capsys)
    assert "1 cell x 256 replications" in asked(store, 256, capsys, "--dry-run")


def test_reports_say_that_a_store_is_incomplete(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "incomplete: 2 of 3 blocks are finished; the same run command resumes the study"
    page = store.parent / "x.html"
    for complete in (True, False):
        capsys.readouterr()
        assert run_command(["report", str(store), "--html", str(page)]) == 0
        assert (line not in capsys.readouterr().out) == complete
        assert (line not in page.read_text(encoding="utf-8")) == complete
        assert run_command(["report", str(store), "--json"]) == 0
        about = json.loads(capsys.readouterr().out)["study"]
        assert (about["blocks_done"], about["blocks"], about["complete"]) == (3 if complete else 2, 3, complete)
        ZarrStore(store, "a").poison(0, 1)


def test_a_page_that_cannot_be_written_leaves_no_folder(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store.parent / "taken").write_text("a file")
    assert run_command(["report", str(store), "--html", str(store.parent / "taken" / "new" / "x.html")]) == 2
    assert "choose another --html" in capsys.readouterr().err
    missing = store.parent / "new" / "x.html"
    assert run_command(["report", str(store.parent / "none.zarr"), "--html", str(missing)]) == 2
    assert not missing.parent.exists()
