"""Every file of a store is covered: damage is named in one line with exit 1, and `run` repairs it."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.cli import run_command
from experiments.run.resume import Resume
from experiments.run.runner import run
from experiments.study import Study
from results.store import ZarrStore
from results.store.files import damages
from results.store.repair import verified

STUDY = """
replications = 150
block = 64
seed = 3
[design]
kind = "paper"
controls = "none"
[grid]
effect = [0.0, 0.0157]
spillover = ["none", "paper"]
[[estimators]]
kind = "did"
[[estimators]]
kind = "spatial"
model = "sar"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "study.toml").write_text(STUDY)
    assert (
        run_command(["run", str(folder / "study.toml"), "--cluster", "serial", "--store", str(folder / "x.zarr")]) == 0
    )
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "f")
    return tmp_path / "f"


def run_here(folder: Path, *options: str) -> int:
    return run_command(
        ["run", str(folder / "study.toml"), "--cluster", "serial", "--store", str(folder / "x.zarr"), *options]
    )


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {"flip": flip, "cut": cut, "gone": Path.unlink}


def files_of_a_kind() -> list[str]:
    """One file of every kind: chunks of each kind of array, labels, dials, coordinates, digests, marks, metadata."""
    chunks = [f"{name}/c.1.1.0" for name in ("truth", "did/estimate")]
    chunks += ["did/inference/c.2.0.0.0.0", "sar-direct/fit/c.0.2.0", "block_mark/c.1.0.0"]
    labels = [f"{name}/c.0" for name in ("did/term", "did/error", "did/quantity", "sar-direct/fact", "estimand",
                                         "effect", "spillover", "cell", "replication")]  # fmt: skip
    metadata = ["zarr.json", "provenance/zarr.json", "did/zarr.json"]
    arrays = ("did/inference", "did/term", "effect", "replication", "truth", "block_mark", "sar-direct/fit")
    metadata += [f"{name}/zarr.json" for name in arrays]
    return chunks + labels + metadata


def test_damage_of_every_kind_of_file_is_named_and_repaired(folder: Path) -> None:
    """The three kinds of damage in turn."""
    store, study = folder / "x.zarr", Study.from_toml(folder / "study.toml")
    reference, count = ZarrStore.open(store).content_hash(), 0
    for name, how in zip(files_of_a_kind(), itertools.cycle(DAMAGES), strict=False):
        DAMAGES[how](store / name)
        found = verified(store)
        assert not found.sound, name
        place = name.partition("/c.")[2].split(".")
        line = f"cell {place[0]} block {place[1]}: " if len(place) > 1 else f"{name}: "
        if not (name.startswith("block_mark/c.") and how == "gone"):  # a block without a mark is one that was not run
            assert sum(said.startswith(line) for said in found.lines) == 1, (name, found.lines)
        run(study, store=store, plan=Resume(accept_code_change=True))
        assert verified(store).sound, (name, verified(store).lines)
        assert ZarrStore.open(store).content_hash() == reference, name
        count += 1
    assert count == len(files_of_a_kind()) == 24


@pytest.mark.parametrize("name", ["effect", "cell"])
def test_an_edited_number_in_the_metadata_is_never_printed(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A label of 0.5 where the cell has 0.0157."""
    root = folder / "x.zarr" / "zarr.json"
    root.write_text(root.read_text().replace("0.0157", "0.5"))
    assert "0.5" in root.read_text()
    for command in (["report"], ["store", "hash"], ["store", "info"], ["replay"]):
        more = ["0", "0"] if command == ["replay"] else []
        capsys.readouterr()
        assert run_command([*command, str(folder / "x.zarr"), *more]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert (
            "zarr.json: does not match its digest: the study, its cells or its settings are not as written" in said.err
        )
    assert run_here(folder) == 0
    assert "zarr.json: does not match its digest" in " ".join(capsys.readouterr().out.split())
    assert run_command(["report", str(folder / "x.zarr")]) == 0


def test_every_damage_has_a_line_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = folder / "x.zarr"
    for name in ("did/term/c.0", "effect/c.0", "did/inference/c.2.0.0.0.0", "truth/c.1.1.0"):
        flip(store / name)
    assert run_command(["store", "verify", str(store)]) == 1
    lines = capsys.readouterr().out.splitlines()[-5:]
    assert lines == [
        "did/term/c.0: does not match its digest",
        "effect/c.0: does not match its digest",
        "cell 2 block 0: does not match its digest",
        "cell 1 block 1: does not match its digest",
        "10 of 12 blocks sound, 0 not run, 0 poisoned, 2 damaged",
    ]


def test_damaged_metadata_are_rebuilt_by_their_own_study_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = folder / "x.zarr"
    reference = ZarrStore.open(store).content_hash()
    cut(store / "zarr.json")
    study = folder / "study.toml"
    study.write_text(STUDY.replace("seed = 3", "seed = 4"))
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    assert run_here(folder) == 2
    assert "what is left of them is not of this study" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    study.write_text(STUDY)
    assert run_here(folder) == 0
    assert ZarrStore.open(store).content_hash() == reference


def test_what_is_left_when_all_metadata_are_gone_is_nobodys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "x.zarr").rglob("zarr.json"):
        path.write_text("{")
    assert run_here(folder) == 2
    assert "nothing says whose study it is" in capsys.readouterr().err
    assert run_command(["store", "verify", str(folder / "x.zarr")]) == 1


def test_a_larger_study_first_asks_for_the_repair_of_the_smaller(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store is never grown and guessed at in one step."""
    flip(folder / "x.zarr" / "zarr.json")
    (folder / "study.toml").write_text(STUDY + '[[estimators]]\nkind = "spatial"\nmodel = "sem"\n')
    assert run_here(folder) == 2
    assert "run that study, or choose another --store" in capsys.readouterr().err


def test_files_that_were_added_are_named_and_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = folder / "x.zarr"
    shutil.copytree(store / "did", store / "copy")
    assert run_command(["store", "verify", str(store)]) == 1
    assert "copy/zarr.json: is not of this store" in capsys.readouterr().out
    assert run_here(folder) == 0
    assert damages(store) == []


def test_more_replications_keep_the_digests_true(folder: Path) -> None:
    assert run_here(folder, "--replications", "200") == 0
    assert damages(folder / "x.zarr") == []
    cut(folder / "x.zarr" / "replication" / "c.0")
    assert run_here(folder) == 0
    assert run_command(["store", "verify", str(folder / "x.zarr")]) == 0
    assert ZarrStore.open(folder / "x.zarr").replications == 200


def test_damage_of_the_provenance_says_that_environments_are_not_known(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "x.zarr" / "provenance" / "zarr.json"
    held = json.loads(file.read_text())
    held["attributes"]["origins"][0]["text"] = "another machine"
    file.write_text(text := json.dumps(held))
    assert run_command(["store", "verify", str(folder / "x.zarr")]) == 1
    assert "provenance/zarr.json: does not match its digest" in capsys.readouterr().out
    assert run_here(folder) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "which code computed the blocks there, and why fits failed, is lost" in said
    assert "kept as x.zarr.provenance.json" in said
    assert (folder / "x.zarr.provenance.json").read_text() == text
    (origin,) = ZarrStore.open(folder / "x.zarr").environments
    assert (origin.text, origin.blocks) == ("unknown", 12)
    assert run_here(folder, "--replications", "200") == 2
    assert "does not say which code" in capsys.readouterr().err
