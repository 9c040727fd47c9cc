"""Damage of every file of a store is named and repaired, blocks in places that are not theirs are; format 2 opens."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from commands import refusal
from damage import cut, flip
from refusals import refuses

from estimators import TwoWayDID
from experiments.cli import run_command
from experiments.run.resume import Resume
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore, tree
from results.store.disk import read_plain
from results.store.files import damages, files_of
from results.store.repair import DAMAGED, FOREIGN, verified
from results.store.skeleton import STORE_FORMAT, seal_root
from studies import quick_study

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
    assert run_here(folder, store=folder / "x.zarr") == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "f")
    return tmp_path / "f"


def run_here(folder: Path, *options: str, store: Path | None = None) -> int:
    """Run the study file of a folder into its store."""
    store = store or next(folder.glob("*.zarr"))
    return run_command(["run", str(folder / "study.toml"), "--cluster", "serial", "--store", str(store), *options])


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
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert (
            "zarr.json: does not match its digest: the study, its cells or its settings are not as written" in said.err
        )
    assert run_here(folder) == 0
    assert "zarr.json: does not match its digest" in " ".join(capsys.readouterr().out.split())
    assert run_command(["report", str(folder / "x.zarr")]) == 0


@pytest.mark.parametrize("how", DAMAGES)
def test_a_fit_whose_status_is_damaged_is_not_counted_and_is_fitted_again_by_a_retry(folder: Path, how: str) -> None:
    """A missing file counted as fits that were not run yet."""
    before = ZarrStore.open(folder / "x.zarr").content_hash()
    DAMAGES[how](folder / "x.zarr" / "did" / "fit" / "c.1.1.0")
    refuses("block 1 of cell 1 is damaged", ZarrStore.open(folder / "x.zarr").status_counts)
    assert run_here(folder, "-q", "--retry", "failed") == 0
    assert ZarrStore.open(folder / "x.zarr").content_hash() == before


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


def test_what_is_left_of_metadata_is_the_smaller_studys_or_nobodys(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store is never grown and guessed at in one step."""
    flip(folder / "x.zarr" / "zarr.json")
    (folder / "study.toml").write_text(STUDY + '[[estimators]]\nkind = "spatial"\nmodel = "sem"\n')
    assert run_here(folder) == 2
    assert "run that study, or choose another --store" in capsys.readouterr().err
    for path in (folder / "x.zarr").rglob("zarr.json"):
        path.write_text("{")
    assert run_here(folder) == 2
    assert "nothing says whose study it is" in capsys.readouterr().err
    assert run_command(["store", "verify", str(folder / "x.zarr")]) == 1


def test_files_that_were_added_are_removed_and_more_replications_keep_the_digests_true(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = folder / "x.zarr"
    shutil.copytree(store / "did", store / "copy")
    assert run_command(["store", "verify", str(store)]) == 1
    assert "copy/zarr.json: is not of this store" in capsys.readouterr().out
    for options in ([], ["--replications", "200"]):
        assert run_here(folder, *options) == 0
        assert damages(store) == []
    cut(store / "replication" / "c.0")
    assert run_here(folder) == 0
    assert run_command(["store", "verify", str(store)]) == 0
    assert ZarrStore.open(store).replications == 200


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
    assert run_command(["report", str(folder / "x.zarr")]) == 0
    assert "does not say any longer which code" in " ".join(capsys.readouterr().out.split())
    assert run_here(folder, "--replications", "200") == 2
    assert "does not say which code" in capsys.readouterr().err


# Blocks in the place of others

Place = tuple[int, int]
PARTS = ("truth", "did", "plain")


def study_of(**changes: object) -> Study:
    return quick_study(192, estimators=(TwoWayDID(), TwoWayDID(label="plain")), **changes)


STUDIES = {"own": study_of(), "seed": study_of(seed=12), "study": study_of(worlds=2)}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swaps")
    for name, study in STUDIES.items():
        run(study, store=folder / name)
    return folder


@pytest.fixture
def own(studies: Path, tmp_path: Path) -> Path:
    return shutil.copytree(studies / "own", tmp_path / "own.zarr")


@pytest.mark.parametrize("name", ["zarr.json", "block_mark/c.0.0.0", "did/estimate/c.0.0.0"])
@pytest.mark.parametrize("reason", [errno.EACCES, errno.EMFILE])
def test_a_file_that_may_not_be_read_is_not_damaged(
    reason: int, name: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: str) -> bytes:
        if path.endswith(f"x.zarr/{name}"):
            raise OSError(reason, os.strerror(reason), path)
        return read_plain(path)

    monkeypatch.setattr(tree, "read_plain", read)
    for command in ("verify", "hash"):
        said = refusal("store", command, made / "x.zarr")
        assert said == f"panelproof: {made / 'x.zarr' / name}: {os.strerror(reason)}; correct this and try again"


def mark_of(place: Place) -> str:
    return f"block_mark/c.{place[0]}.{place[1]}.0"


def files(place: Place, what: str) -> list[str]:
    """The files of a block: its mark, its numbers, both, or one part."""
    numbers = files_of(*place, PARTS if what in ("numbers", "both") else [what] if what in PARTS else [])
    return numbers + ([mark_of(place)] if what in ("mark", "both") else [])


SWAPS: list[tuple[str, Place, Place, str]] = [
    ("own", (0, 0), (1, 0), "mark"), ("own", (0, 0), (0, 1), "numbers"), ("own", (1, 2), (0, 1), "both"),
    ("own", (0, 0), (0, 1), "mark"), ("own", (0, 0), (0, 1), "both"),
    *((name, (1, 1), (1, 1), what) for name in ("seed", "study") for what in ("mark", "numbers", "both")),
    ("seed", (0, 2), (0, 2), "did"), ("seed", (0, 2), (0, 2), "plain"), ("own", (0, 2), (1, 2), "truth"),
    ("own", (0, 1), (0, 2), "did"), ("seed", (1, 0), (0, 0), "both"), ("own", (0, 1), (1, 1), "plain as did"),
]  # fmt: skip


def check(store: Path, named: dict[Place, str], studies: Path) -> None:
    """Every block is named, no number comes out, and the next run mends all."""
    found = verified(store)
    assert not found.sound
    lines = [line for line in found.lines if line.startswith("cell ")]
    assert sorted(lines) == sorted(f"cell {cell} block {index}: {what}" for (cell, index), what in named.items())
    for words in (["report"], ["store", "hash"], ["store", "verify"]):
        assert run_command([*words, str(store)]) in (1, 2), words
    computed: list[Place] = []
    run(STUDIES["own"], store=store, listen=lambda now: computed.append((now.cell, now.block)))
    assert {place for place in computed if place != (-1, -1)} == named.keys()
    assert verified(store).sound, verified(store).lines
    assert ZarrStore.open(store).content_hash() == ZarrStore.open(studies / "own").content_hash()


@pytest.mark.parametrize(
    ("source", "here", "there", "what", "copy"),
    [(*swap, (shutil.copyfile, shutil.copy2)[number % 2]) for number, swap in enumerate(SWAPS)],
)
def test_a_block_in_the_place_of_another_is_named_and_computed_again(
    studies: Path, own: Path, source: str, here: Place, there: Place, what: str, copy: Callable[..., object]
) -> None:
    what, _, other = what.partition(" as ")
    for file, target in zip(files(here, what), files(there, other or what), strict=True):
        copy(studies / source / file, own / target)
    check(own, {there: FOREIGN if what in ("mark", "both") else DAMAGED}, studies)


@pytest.mark.parametrize("source", ["seed", "study"])
def test_all_blocks_of_another_study_are_named(studies: Path, own: Path, source: str) -> None:
    places = ZarrStore.open(own).places()
    for file in (file for place in places for file in files(place, "both")):
        shutil.copy2(studies / source / file, own / file)
    check(own, dict.fromkeys(places, FOREIGN), studies)


def test_the_settings_of_another_study_over_a_store_make_all_its_blocks_foreign(studies: Path, own: Path) -> None:
    """Its root is written as one would who knows the digests."""
    facts = ZarrStore.open(studies / "seed").facts
    seal_root(own, **{key: facts[key] for key in ("study", "identity", "fingerprint")})
    opened = ZarrStore.open(own)
    assert opened.foreign == set(opened.places())
    assert run_command(["report", str(own)]) == 2


def test_marks_are_those_of_the_store_after_it_grew_in_every_way(studies: Path, own: Path, tmp_path: Path) -> None:
    """Sideways, where the fingerprint and the numbers of cells change, then by replications, then repaired."""
    larger = study_of(grid=(("effect", (0.01, 0.0, 0.02)),)).resized(replications=224)
    run(larger, store=own)
    assert verified(own).sound, verified(own).lines
    run(larger, store=tmp_path / "one.zarr")
    assert ZarrStore.open(own).content_hash() == ZarrStore.open(tmp_path / "one.zarr").content_hash()
    shutil.copy2(studies / "own" / mark_of((0, 0)), own / mark_of((1, 0)))  # the same block of the store before
    assert f"cell 1 block 0: {FOREIGN}" in verified(own).lines
    (own / "provenance" / "zarr.json").write_text("{")
    computed: list[Place] = []
    plan = Resume(accept_code_change=True)
    run(larger, store=own, plan=plan, listen=lambda now: computed.append((now.cell, now.block)))
    assert set(computed) - {(-1, -1)} == {(1, 0)}, "marks whose environments were lost hold all the same"
    assert verified(own).sound, verified(own).lines
    assert ZarrStore.open(own).environments[0].text == "unknown"


@pytest.mark.parametrize("held", [b"", b"\0", bytes(4), bytes(400)])
def test_what_a_power_cut_leaves_of_a_mark_is_damage(studies: Path, own: Path, held: bytes) -> None:
    (own / mark_of((1, 0))).write_bytes(held)
    check(own, {(1, 0): DAMAGED}, studies)


# A store of format 2, whose marks do not say whose they are

ARCHIVE = Path(__file__).resolve().parent.parent / "data" / "store_of_format_2.zip"
FROZEN = 'name = "frozen"\nquestion = "a small store of an earlier format"' + STUDY.replace("150", "160").replace(
    'spillover = ["none", "paper"]\n', ""
)
HASH = "375ad33232e1938078f6b21ed3e3e21daa969b60db76ba21bd7ea661c4bee70d"  # as the code that made it printed it


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    assert ARCHIVE.stat().st_size < 200_000
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "study.toml").write_text(FROZEN)
    return tmp_path


def test_it_opens_reports_and_is_verified(frozen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ZarrStore.open(frozen / "frozen.zarr")
    names = ["did", "sar-direct"]
    assert (store.replications, store.block, list(store.layouts), store.pending()) == (160, 64, names, [])
    frame = diagnose(store).frame
    bias = frame[(frame["measure"] == "bias") & (frame["estimator"] == "did") & (frame["sample"] == "own")]
    np.testing.assert_allclose(bias["value"], 0, atol=0.001)
    for command in (["report"], ["store", "info"], ["store", "hash"], ["store", "verify"]):
        assert run_command([*command, str(frozen / "frozen.zarr")]) == 0, command
    said = capsys.readouterr().out
    assert HASH in said
    assert "6 of 6 blocks sound, 0 not run, 0 poisoned, 0 damaged" in said
    assert "marks do not name their study and place in this earlier format; `run` with the study writes it anew" in said
    tree = xr.open_datatree(str(frozen / "frozen.zarr"), engine="zarr", consolidated=False)
    assert tree["did/estimate"].dims == ("cell", "replication", "term")


def test_a_damaged_block_of_it_is_named_and_computed_again(frozen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [block.estimates for cell in range(2) for block in ZarrStore.open(frozen / "frozen.zarr").blocks(cell)]
    chunk = frozen / "frozen.zarr" / "did" / "inference" / "c" / "1" / "2" / "0" / "0" / "0"
    mark = frozen / "frozen.zarr" / "block_mark" / "c" / "0" / "1" / "0"
    for file in (chunk, mark):
        file.write_bytes(file.read_bytes()[:-1])
    assert run_command(["store", "verify", str(frozen / "frozen.zarr")]) == 1
    said = capsys.readouterr().out
    for place in ("cell 1 block 2", "cell 0 block 1"):
        assert f"{place}: does not match its digest" in said
    assert run_here(frozen, "--accept-code-change") == 0
    store = ZarrStore.open(frozen / "frozen.zarr")
    assert [origin.blocks for origin in store.environments] == [5, 2]
    after = [block.estimates for cell in range(2) for block in store.blocks(cell)]
    assert len(before) == len(after) == 6
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        rel = 1e-9 if number in (1, 5) else 0.0  # what this processor computes again may round otherwise
        for name, field in itertools.product(old, ("estimate", "se", "dof", "status")):
            np.testing.assert_allclose(getattr(new[name], field), getattr(old[name], field), rtol=rel, err_msg=name)


def test_run_writes_it_anew_and_computes_nothing(frozen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ZarrStore.open(frozen / "frozen.zarr")
    assert run_here(frozen) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the store is written anew, in the present format and the order of this study; all is reused" in said
    after = ZarrStore.open(frozen / "frozen.zarr")
    assert after.schema.store_format == STORE_FORMAT != before.schema.store_format
    assert run_command(["store", "verify", str(frozen / "frozen.zarr")]) == 0
    assert "earlier format" not in capsys.readouterr().out
    assert after.content_hash() == HASH
    assert [(o.text, o.blocks) for o in after.environments] == [(o.text, o.blocks) for o in before.environments]
    assert sorted(path.name for path in frozen.iterdir()) == ["frozen.zarr", "frozen.zarr.log.jsonl", "study.toml"]
    assert not list((frozen / "frozen.zarr").rglob("c")), "no folder of chunks is left"


def test_what_other_code_computed_is_added_to_only_when_that_is_accepted(
    frozen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in (frozen / "frozen.zarr").rglob("*") if path.is_file()}
    assert run_here(frozen, "--replications", "200") == 2
    assert "6 blocks were computed in another environment" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (frozen / "frozen.zarr").rglob("*") if path.is_file()} == before
    assert run_here(frozen, "--replications", "200", "--accept-code-change") == 0
    store = ZarrStore.open(frozen / "frozen.zarr")
    assert (store.replications, len(store.done())) == (200, 8)


def test_it_grows_sideways_in_the_present_format(frozen: Path) -> None:
    (frozen / "study.toml").write_text(FROZEN + '[[estimators]]\nkind = "spatial"\nmodel = "sem"\n')
    assert run_here(frozen, "--accept-code-change") == 0
    store = ZarrStore.open(frozen / "frozen.zarr")
    assert (list(store.layouts), store.schema.store_format) == (["did", "sar-direct", "sem-direct"], STORE_FORMAT)
    assert not store.pending()


def test_damaged_metadata_of_it_are_said_in_one_line(frozen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are not mended: files of the present format would not fit."""
    for name in ("zarr.json", "did/inference/zarr.json", "did/term/c/0", "provenance/zarr.json"):
        file = frozen / "frozen.zarr" / name
        held = file.read_bytes()
        file.write_bytes(held[: len(held) // 2])
        for command in (["report"], ["store", "verify"], ["store", "hash"]):
            run_command([*command, str(frozen / "frozen.zarr")])
            assert "Traceback" not in capsys.readouterr().err
        assert run_command(["store", "verify", str(frozen / "frozen.zarr")]) == 1
        assert name in capsys.readouterr().out
        assert run_here(frozen) == 2, name
        assert "is of an earlier format and damaged" in capsys.readouterr().err
        file.write_bytes(held)
    root = json.loads((frozen / "frozen.zarr" / "zarr.json").read_text())
    del root["attributes"]["digest"]  # which stores of version 0.1 had not
    (frozen / "frozen.zarr" / "zarr.json").write_text(json.dumps(root))
    for command in (["report"], ["store", "info"], ["store", "hash"]):
        assert run_command([*command, str(frozen / "frozen.zarr")]) == 2
        assert "of version 0.1.0, whose stores are no longer read" in capsys.readouterr().err
