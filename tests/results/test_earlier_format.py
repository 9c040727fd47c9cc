"""A store of format 2, whose marks do not say whose they are: it opens, and `run` writes it anew."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.cli import run_command
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.skeleton import STORE_FORMAT

ARCHIVE = Path(__file__).resolve().parent.parent / "data" / "store_of_format_2.zip"
STUDY = """
name = "frozen"
question = "a small store of an earlier format"
replications = 160
block = 64
seed = 3
[design]
kind = "paper"
controls = "none"
[grid]
effect = [0.0, 0.0157]
[[estimators]]
kind = "did"
[[estimators]]
kind = "spatial"
model = "sar"
"""
HASH = "375ad33232e1938078f6b21ed3e3e21daa969b60db76ba21bd7ea661c4bee70d"  # as the code that made it printed it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert ARCHIVE.stat().st_size < 200_000
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def run_here(folder: Path, *options: str) -> int:
    store = str(folder / "frozen.zarr")
    return run_command(["run", str(folder / "study.toml"), "--cluster", "serial", "--store", store, *options])


def test_it_opens_reports_and_is_verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ZarrStore.open(folder / "frozen.zarr")
    names = ["did", "sar-direct"]
    assert (store.replications, store.block, list(store.layouts), store.pending()) == (160, 64, names, [])
    frame = diagnose(store).frame
    bias = frame[(frame["measure"] == "bias") & (frame["estimator"] == "did") & (frame["sample"] == "own")]
    np.testing.assert_allclose(bias["value"], 0, atol=0.001)
    for command in (["report"], ["store", "info"], ["store", "hash"], ["store", "verify"]):
        assert run_command([*command, str(folder / "frozen.zarr")]) == 0, command
    said = capsys.readouterr().out
    assert HASH in said
    assert "6 of 6 blocks sound, 0 not run, 0 poisoned, 0 damaged" in said
    assert "marks do not name their study and place in this earlier format; `run` with the study writes it anew" in said
    tree = xr.open_datatree(str(folder / "frozen.zarr"), engine="zarr", consolidated=False)
    assert tree["did/estimate"].dims == ("cell", "replication", "term")


def test_a_damaged_block_of_it_is_named_and_computed_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chunk = folder / "frozen.zarr" / "did" / "inference" / "c" / "1" / "2" / "0" / "0" / "0"
    mark = folder / "frozen.zarr" / "block_mark" / "c" / "0" / "1" / "0"
    for file in (chunk, mark):
        file.write_bytes(file.read_bytes()[:-1])
    assert run_command(["store", "verify", str(folder / "frozen.zarr")]) == 1
    said = capsys.readouterr().out
    for place in ("cell 1 block 2", "cell 0 block 1"):
        assert f"{place}: does not match its digest" in said
    assert run_here(folder, "--accept-code-change") == 0
    store = ZarrStore.open(folder / "frozen.zarr")
    assert (store.content_hash(), [origin.blocks for origin in store.environments]) == (HASH, [5, 2])


def test_run_writes_it_anew_and_computes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ZarrStore.open(folder / "frozen.zarr")
    assert run_here(folder) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the store is written anew, in the present format and the order of this study; all is reused" in said
    after = ZarrStore.open(folder / "frozen.zarr")
    assert after.schema.store_format == STORE_FORMAT != before.schema.store_format
    assert run_command(["store", "verify", str(folder / "frozen.zarr")]) == 0
    assert "earlier format" not in capsys.readouterr().out
    assert after.content_hash() == HASH
    assert [(o.text, o.blocks) for o in after.environments] == [(o.text, o.blocks) for o in before.environments]
    assert sorted(path.name for path in folder.iterdir()) == ["frozen.zarr", "frozen.zarr.log.jsonl", "study.toml"]
    assert not list((folder / "frozen.zarr").rglob("c")), "no folder of chunks is left"


def test_what_other_code_computed_is_added_to_only_when_that_is_accepted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (folder / "frozen.zarr").rglob("*") if path.is_file()}
    assert run_here(folder, "--replications", "200") == 2
    assert "6 blocks were computed in another environment" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (folder / "frozen.zarr").rglob("*") if path.is_file()} == before
    assert run_here(folder, "--replications", "200", "--accept-code-change") == 0
    store = ZarrStore.open(folder / "frozen.zarr")
    assert (store.replications, len(store.done())) == (200, 8)


def test_it_grows_sideways_in_the_present_format(folder: Path) -> None:
    (folder / "study.toml").write_text(STUDY + '[[estimators]]\nkind = "spatial"\nmodel = "sem"\n')
    assert run_here(folder, "--accept-code-change") == 0
    store = ZarrStore.open(folder / "frozen.zarr")
    assert (list(store.layouts), store.schema.store_format) == (["did", "sar-direct", "sem-direct"], STORE_FORMAT)
    assert not store.pending()


def test_damaged_metadata_of_it_are_said_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are not mended: files of the present format would not fit."""
    for name in ("zarr.json", "did/inference/zarr.json", "did/term/c/0", "provenance/zarr.json"):
        file = folder / "frozen.zarr" / name
        held = file.read_bytes()
        file.write_bytes(held[: len(held) // 2])
        for command in (["report"], ["store", "verify"], ["store", "hash"]):
            run_command([*command, str(folder / "frozen.zarr")])
            assert "Traceback" not in capsys.readouterr().err
        assert run_command(["store", "verify", str(folder / "frozen.zarr")]) == 1
        assert name in capsys.readouterr().out
        assert run_here(folder) == 2, name
        assert "is of an earlier format and damaged" in capsys.readouterr().err
        file.write_bytes(held)


def test_a_store_of_version_0_1_is_named_as_such(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It had no digests at its root."""
    file = folder / "frozen.zarr" / "zarr.json"
    held = json.loads(file.read_text())
    del held["attributes"]["digest"]
    file.write_text(json.dumps(held))
    for command in (["report"], ["store", "info"], ["store", "hash"]):
        assert run_command([*command, str(folder / "frozen.zarr")]) == 2
        assert "of version 0.1.0, whose stores are no longer read" in capsys.readouterr().err
