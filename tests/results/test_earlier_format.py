"""A store of schema 1, made by version 0.1.0 before digests covered each estimator: it opens, and `run` renews it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from experiments.cli import run_command
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore

ARCHIVE = Path(__file__).resolve().parent.parent / "data" / "store_of_schema_1.zip"
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
    assert (store.replications, store.block, list(store.layouts), store.pending()) == (
        160,
        64,
        ["did", "sar-direct"],
        [],
    )
    frame = diagnose(store).frame
    bias = frame[(frame["measure"] == "bias") & (frame["estimator"] == "did") & (frame["sample"] == "own")]
    np.testing.assert_allclose(bias["value"], 0, atol=0.001)
    for command in (["report"], ["store", "info"], ["store", "verify"]):
        assert run_command([*command, str(folder / "frozen.zarr")]) == 0, command
    said = capsys.readouterr().out
    assert "6 of 6 blocks sound, 0 not run, 0 poisoned, 0 damaged" in said
    assert "have no digests in this earlier format; `run` writes it anew" in said
    tree = xr.open_datatree(str(folder / "frozen.zarr"), engine="zarr", consolidated=False)
    assert tree["did/estimate"].dims == ("cell", "replication", "term")


def test_a_damaged_block_of_it_is_still_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chunk = folder / "frozen.zarr" / "did" / "se" / "c" / "1" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    assert run_command(["store", "verify", str(folder / "frozen.zarr")]) == 1
    assert "cell 1 block 2: does not match its digest" in capsys.readouterr().out


def test_run_writes_it_anew_and_computes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ZarrStore.open(folder / "frozen.zarr")
    kept = before.sound(1, 2)
    assert run_here(folder) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the store is written anew, in the present format and the order of this study; all is reused" in said
    after = ZarrStore.open(folder / "frozen.zarr")
    assert not after.whole_digests
    assert run_command(["store", "verify", str(folder / "frozen.zarr")]) == 0
    for name, estimates in after.sound(1, 2).estimates.items():
        np.testing.assert_array_equal(estimates.se, kept.estimates[name].se)
    assert [(o.text, o.blocks) for o in after.environments] == [(o.text, o.blocks) for o in before.environments]
    assert sorted(path.name for path in folder.iterdir()) == ["frozen.zarr", "frozen.zarr.log.jsonl", "study.toml"]


def test_what_other_code_computed_is_added_to_only_when_that_is_accepted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "study.toml").write_text(STUDY + '[[estimators]]\nkind = "spatial"\nmodel = "sem"\n')
    before = {path: path.read_bytes() for path in (folder / "frozen.zarr").rglob("*") if path.is_file()}
    assert run_here(folder) == 2
    assert "schema was 1, is now 2" in capsys.readouterr().err
    (folder / "study.toml").write_text(STUDY)
    assert run_here(folder, "--replications", "200") == 2
    assert "6 blocks were computed in another environment" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (folder / "frozen.zarr").rglob("*") if path.is_file()} == before
    assert run_here(folder, "--replications", "200", "--accept-code-change") == 0
    store = ZarrStore.open(folder / "frozen.zarr")
    assert (store.replications, len(store.done())) == (200, 8)
    (folder / "study.toml").write_text(STUDY + '[[estimators]]\nkind = "spatial"\nmodel = "sem"\n')
    assert run_here(folder, "--accept-code-change") == 0, "then it grows"
    assert list(ZarrStore.open(folder / "frozen.zarr").layouts) == ["did", "sar-direct", "sem-direct"]


def test_blocks_of_which_it_does_not_say_what_computed_them_stay_unknown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in stores before environments were kept."""
    shutil.rmtree(folder / "frozen.zarr" / "provenance")
    (origin,) = ZarrStore.open(folder / "frozen.zarr").environments
    assert (origin.text, origin.blocks) == ("unknown", 6)
    assert run_here(folder, "--replications", "200") == 2
    assert "the store does not say which code computed them" in capsys.readouterr().err
    assert run_here(folder) == 0
    assert run_here(folder, "--replications", "200", "--accept-code-change") == 0
    assert [origin.blocks for origin in ZarrStore.open(folder / "frozen.zarr").environments] == [4, 4]


def test_damaged_metadata_of_it_are_said_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("zarr.json", "did/se/zarr.json", "block_state/zarr.json"):
        file = folder / "frozen.zarr" / name
        held = file.read_bytes()
        file.write_bytes(held[: len(held) // 2])
        for command in (["report"], ["store", "verify"], ["store", "hash"]):
            assert run_command([*command, str(folder / "frozen.zarr")]) in (1, 2), (name, command)
            assert "Traceback" not in capsys.readouterr().err
        file.write_bytes(held)
