"""The Zarr store: its bytes, damage, other studies; who reads it while a run writes sees what was there at first; in
xarray dials are dimensions, every number is that of its block, and nothing warns."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import re
import shutil
import sys
import time
import tomllib
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from damage import cut, flip
from refusals import refuses
from zarr.codecs import BloscCodec, Crc32cCodec

import panelproof as pp
from estimators import SpatialPanel, TwoWayDID
from estimators.core.estimator import Layout
from experiments.cli import run_command
from experiments.run.runner import run, schema_of
from experiments.study import Study
from references.small_panels import small_panel
from results.diagnosis.diagnose import diagnose
from results.store import Block, BlockState, MemoryStore, Store, StoreLocked, ZarrStore, chunks, locked, skeleton
from results.store.engine import StoreEngine
from results.store.labelled import axes_of, groups_of, spread
from results.store.merge import merge, pack
from results.store.repair import repair, verified
from results.store.skeleton import StoreSchema, check_identity
from results.store.tree import marks_of
from sim.presets import Paper
from sim.real_panels import Placebo
from studies import quick_study


def did_study(replications: int = 200, **changes: object) -> Study:
    return quick_study(replications, **({"seed": 3} | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "did.zarr"
    run(did_study(), store=path)
    return path


@pytest.fixture
def store_copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "did.zarr")
    return tmp_path / "did.zarr"


NUMBERS = ("estimate", "fit", "inference")


def hashed_as_the_page_says(path: Path) -> str:
    """docs/stores.md, What is in it, in words of zarr alone; of a store of one estimator, did."""
    root = zarr.open_group(path, mode="r", use_consolidated=False)
    facts = dict(root.attrs)
    said = [facts[name] for name in ("replications", "block", "cells", "estimands", "layouts")]
    sha = hashlib.sha256(f"{facts['fingerprint']}{json.dumps(said, sort_keys=True)}".encode())
    names = [name for name in root.array_keys() if name not in ("truth", "block_mark")]
    for name in sorted([*names, *(f"did/{name}" for name in ("term", "error", "quantity", "fact"))]):
        sha.update(f"{name}{root[name].shape}{root[name][:].tolist()}".encode())
    for cell, first in itertools.product(range(len(facts["cells"])), range(0, facts["replications"], facts["block"])):
        at = (cell, slice(first, first + facts["block"]))
        inference, fit = np.moveaxis(root["did/inference"][at], 1, 0), root["did/fit"][at].T
        arrays = {"estimate": root["did/estimate"][at], **dict(zip(root["did/quantity"][:], inference, strict=True)),
                  **dict(zip(root["did/fact"][:], fit, strict=True))}  # fmt: skip
        arrays["status"] = arrays["status"].astype("|u1")
        parts = ({"truth": root["truth"][at]}, {f"did/{name}": values for name, values in arrays.items()})
        digests = (hashlib.sha256(b"".join(f"{name}{part[name].shape}{part[name].dtype.str}".encode()
                                           + part[name].tobytes() for name in sorted(part))).hexdigest()
                   for part in parts)  # fmt: skip
        sha.update(f"{cell} {first // facts['block']} 1 {''.join(digests)}\n".encode())
    return sha.hexdigest()


def test_the_hash_is_what_the_page_says(finished: Path) -> None:
    assert ZarrStore.open(finished).content_hash() == hashed_as_the_page_says(finished)


def test_every_flipped_bit_truncation_and_missing_chunk_is_found_and_repaired(store_copy: Path) -> None:
    reference = ZarrStore.open(store_copy).content_hash()
    chunks = sorted(path for path in (store_copy / "did").glob("*/c.*") if path.parent.name in NUMBERS)
    assert len(chunks) == 2 * 4 * 3  # cells x blocks x arrays of the estimator
    for number, chunk in enumerate(chunks[::3]):
        damage = (flip, lambda path: path.write_bytes(path.read_bytes()[:-3]), Path.unlink)[number % 3]
        damage(chunk)
        store = ZarrStore.open(store_copy)
        assert len(store.pending()) == 1, chunk
        run(did_study(), store=store_copy)
        assert ZarrStore.open(store_copy).content_hash() == reference, chunk


def test_damaged_digest_and_state_are_repaired(store_copy: Path) -> None:
    reference = ZarrStore.open(store_copy).content_hash()
    flip(store_copy / "block_mark" / "c.0.1.0")
    (store_copy / "block_mark" / "c.1.2.0").unlink()
    assert len(ZarrStore.open(store_copy).pending()) == 2
    run(did_study(), store=store_copy)
    assert ZarrStore.open(store_copy).content_hash() == reference


def test_a_repair_of_metadata_keeps_all_blocks_and_removes_what_is_not_of_the_store(store_copy: Path) -> None:
    stray = store_copy / "stray" / "zarr.json"
    stray.parent.mkdir()
    shutil.copy(store_copy / "did" / "estimate" / "zarr.json", stray)
    cut(store_copy / "did" / "estimate" / "zarr.json")
    cut(store_copy / "zarr.json")
    repair(store_copy, schema_of(did_study()))
    assert not stray.exists()
    assert len(ZarrStore.open(store_copy).pending()) == 0
    assert verified(store_copy).sound


def problems_of(study: Study, store: Path) -> list[str]:
    """What a store says that is not of this study."""
    raised = refuses(".", run, study, store=store)
    assert len(str(raised)) < 400 * len(raised.problems)
    return [problem.what for problem in raised.problems]


def test_what_differs_is_a_handful_of_short_lines(store_copy: Path, tmp_path: Path) -> None:
    """Another kind is one line; many settings are counted; a placebo test's panel is never shown."""
    before = ZarrStore.open(store_copy).content_hash()
    for changes, words in (({"seed": 4}, "seed was 3, is now 4"), ({"block": 128}, "block was 64, is now 128"),
                           ({"estimators": (TwoWayDID(errors=("iid",)),)}, "estimators")):  # fmt: skip
        refuses(words, run, did_study(**changes), store=store_copy)
    assert problems_of(did_study(estimators=(SpatialPanel("sar"),)), store_copy) == [
        'belongs to another study: estimators[0].kind was "did", is now "spatial"'
    ]
    dials = Paper(0.5, rho=0.1, serial=0.1, anticipation=1, trend_gap=0.1, confounding=0.1, treated=9)
    many = problems_of(did_study(design=dials), store_copy)
    assert (len(many), many[-1].endswith("4 more settings differ")) == (5, True)
    run(did_study(100), store=store_copy)
    assert ZarrStore.open(store_copy).content_hash() == before, "fewer replications leave it as it is, too"
    placebo, another = (did_study(design=Placebo.of(small_panel(12, 5, seed=seed, model="none"), "space"), grid=())
                        for seed in (1, 2))  # fmt: skip
    refuses("holds a study, not a placebo test of a panel", run, placebo, store=store_copy)
    run(placebo.resized(replications=64), store=tmp_path / "p.zarr")
    assert problems_of(did_study(), tmp_path / "p.zarr") == ["holds a placebo test of a panel, not this study"]
    (said,) = problems_of(another, tmp_path / "p.zarr")
    assert re.search(r"another study: design\.panel was a text of .* letters, is now a text", said)


@pytest.mark.parametrize(("changed", "last"), [(5, "e was 1, is now 2"), (6, "2 more settings differ")])
def test_five_settings_that_differ_are_named(changed: int, last: str) -> None:
    old, new = ({"design": {"kind": "paper"}} | dict.fromkeys("abcdef"[:changed], value) for value in (1, 2))
    problems = refuses(last, check_identity, old, new, "x.zarr").problems
    assert len(problems) == 5
    assert problems[-1].what.endswith(last)


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, Path.exists], ids=["folder", "file", "nothing"])
def test_what_is_no_store_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "x.zarr")
    refuses("store", ZarrStore.open, tmp_path / "x.zarr")


def test_a_folder_of_anything_is_not_walked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a whole disk."""
    monkeypatch.setattr("results.store.tree.walked", None)
    refuses("is no store: it has no zarr.json", ZarrStore.open, tmp_path)


def test_nothing_is_left_beside_a_store_that_could_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="space"):
        ZarrStore.create(tmp_path / "x.zarr", schema_of(did_study()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_files_of_a_new_store_do_not_hang_on_what_its_process_opened_before(tmp_path: Path) -> None:
    for opened in (False, True):
        with zarr.config.set({"array.write_empty_chunks": opened}):
            skeleton.write_skeleton(tmp_path / str(opened), schema_of(did_study(grid=())))
    first, second = ({file.relative_to(place): file.read_bytes() for file in place.rglob("*") if file.is_file()}
                     for place in (tmp_path / "False", tmp_path / "True"))  # fmt: skip
    assert first == second
    assert Path("cell/c.0") in first, "which holds a zero"


def test_a_hash_needs_little_memory_whatever_the_number_of_replications(tmp_path: Path) -> None:
    """Of 400,000 more the numbers are 3.2 MB, their text 13."""
    ZarrStore.create(tmp_path / "small.zarr", schema_of(did_study(128))).content_hash()  # what it imports is no part
    peaks = []
    for replications in (100_000, 500_000):
        store = ZarrStore.create(tmp_path / f"{replications}.zarr", schema_of(did_study(replications, block=1 << 16)))
        tracemalloc.start()
        store.content_hash()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < min(16e6, peaks[0] + 1.6e6)


class NoFolder:
    """No tree is one: all that is written goes through zarr."""


def chunks_of(store: Path) -> dict[str, bytes]:
    """Every chunk, but the stamps of files, which marks hold, hang on the clock."""
    files = {at.relative_to(store).as_posix(): at for at in store.rglob("*") if at.is_file() and "/c." in f"{at}"}
    return {name: at.read_bytes() for name, at in files.items() if not name.startswith("block_mark/")}


def test_chunks_have_the_bytes_of_zarr(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a block, with a checksum; the last block is not full."""
    array = zarr.open_group(str(finished), mode="r")["did/inference"]
    assert array.chunks == (1, 64, 2, 3, 1)
    assert [type(codec).__name__ for codec in array.compressors] == ["BloscCodec", "Crc32cCodec"]
    monkeypatch.setattr(chunks, "Folder", NoFolder)
    run(did_study(), store=tmp_path / "zarr.zarr")
    files = chunks_of(finished)
    assert len(files) > 2 * 4 * 4
    assert files == chunks_of(tmp_path / "zarr.zarr")


def test_marks_have_the_bytes_of_zarr(store_copy: Path) -> None:
    files = {at: at.read_bytes() for at in sorted(store_copy.glob("block_mark/c.*.0"))}
    marks = zarr.open_group(str(store_copy), mode="r+")["block_mark"]
    assert isinstance(marks, zarr.Array)
    assert len(files) == np.prod(marks.shape[:2]) > 5
    held = np.asarray(marks[:])
    assert {at: held[tuple(map(int, at.name.split(".")[1:3]))].tobytes() for at in files} == {
        at: data[:-4] for at, data in files.items()
    }
    marks[:] = held
    assert {at: at.read_bytes() for at in files} == files


def test_a_write_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("results.store.disk.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        chunks.Folder(tmp_path).put("a/b", b"bytes")
    assert [at for at in tmp_path.rglob("*") if at.is_file()] == []


def test_a_store_keeps_the_codec_that_it_was_made_with(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores of earlier code are compressed by Zstandard: a run goes on in them, and their numbers are the same."""
    zstd, earlier = BloscCodec(typesize=8, cname="zstd", clevel=1, shuffle="shuffle"), tmp_path / "earlier.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(skeleton, "NUMBERS", (zstd, Crc32cCodec()))
        run(did_study(128), store=earlier)
    run(did_study(), store=earlier)
    for path, name in ((earlier, "zstd"), (finished, "lz4")):
        assert name in str(zarr.open_group(path)["did/estimate"].metadata.to_dict()["codecs"])  # type: ignore[union-attr]
    assert ZarrStore.open(earlier).content_hash() == ZarrStore.open(finished).content_hash()
    assert not ZarrStore.open(earlier).pending()


STUDY = did_study(192)
Blocks = dict[tuple[int, int], Block]


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    return run(STUDY).kept


@pytest.fixture
def writer(tmp_path: Path, blocks: Blocks) -> ZarrStore:
    """A store with the first block of each cell."""
    store = ZarrStore.create(tmp_path / "x.zarr", schema_of(STUDY))
    for cell in range(2):
        store.write(cell, 0, blocks[cell, 0])
    return store


def test_blocks_that_arrive_between_two_passes_wait_for_the_next_reader(writer: ZarrStore, blocks: Blocks) -> None:
    reader = ZarrStore.open(writer.path)
    first = [len(list(reader.blocks(cell))) for cell in range(2)]
    for place in [(0, 1), (1, 1)]:
        writer.write(*place, blocks[place])
    assert [len(list(reader.blocks(cell))) for cell in range(2)] == first == [1, 1]
    assert reader.done() == [(0, 0), (1, 0)]
    assert reader.content_hash() != writer.content_hash()
    assert ZarrStore.open(writer.path).content_hash() == writer.content_hash()
    reader = ZarrStore.open(writer.path)
    grown = ZarrStore.open_or_create(writer.path, schema_of(STUDY.resized(replications=320)))
    assert grown.done() == reader.done()
    assert (grown.block_count, reader.block_count, len(reader.pending())) == (5, 3, 2), "a reader keeps its size"


def test_a_diagnosis_is_of_one_snapshot(writer: ZarrStore, blocks: Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pass over a cell's blocks is followed by a write."""
    expected = diagnose(ZarrStore.open(writer.path)).frame
    waiting, whole = [(0, 1), (1, 1), (0, 2), (1, 2)], ZarrStore.blocks

    def interrupted(self: ZarrStore, cell: int) -> Iterator[Block]:
        yield from whole(self, cell)
        if waiting:
            place = waiting.pop(0)
            writer.write(*place, blocks[place])

    monkeypatch.setattr(ZarrStore, "blocks", interrupted)
    monkeypatch.setattr("results.diagnosis.fits.BUDGET", 0)  # blocks that are kept are not read between passes
    found = diagnose(ZarrStore.open(writer.path)).frame
    assert not waiting, "blocks were to arrive between the passes"
    assert found.equals(expected)


def test_verify_during_a_run_finds_no_damage(
    writer: ZarrStore, blocks: Blocks, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block that is finished after `verify` looked for it, and before it says why it is missing, is not run yet."""
    whole = ZarrStore.pending
    monkeypatch.setattr(ZarrStore, "pending", lambda self: (whole(self), writer.write(0, 1, blocks[0, 1]))[0])
    code, text = said(["store", "verify", str(writer.path)], capsys)
    assert (code, "digest" in text, writer.state(0, 1)) == (1, False, BlockState.DONE)
    assert "2 of 6 blocks sound, 4 not run, 0 poisoned, 0 damaged" in text


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    run(quick_study(256), store=folder / "x.zarr")
    assert run_command(["store", "pack", str(folder / "x.zarr")]) == 0
    return folder


def said(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = run_command(command)
    return code, capsys.readouterr().out


@pytest.mark.parametrize("command", ["report", "report --json", "store hash", "store verify", "store info", "compare",
                                     "replay"])  # fmt: skip
def test_every_reader_says_of_the_zip_what_it_says_of_the_folder(
    made: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def of(name: str) -> tuple[int, str]:
        path = str(made / name)
        more = {"compare": [str(made / "x.zarr")], "replay": ["1", "100"]}.get(command, [])
        code, text = said([*command.split(), path, *more], capsys)
        return code, " ".join(text.replace(path, "STORE").split())  # lines break elsewhere

    folder, packed = of("x.zarr"), of("x.zarr.zip")
    assert folder[0] == 0
    assert packed == folder


def test_damage_in_it_is_named(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.zip"
    with zipfile.ZipFile(made / "x.zarr.zip") as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = bytearray(source.read(name))
            if name in ("did/fit/c.0.1.0", "did/term/c.0"):
                data[-1] ^= 1
            archive.writestr(name, bytes(data))
    lines = verified(target).lines
    assert "did/term/c.0: does not match its digest" in lines
    assert "cell 0 block 1: does not match its digest" in lines
    refuses("is packed, and can only be read", lambda: run(quick_study(256), store=target))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", "{" + " " * 10_000_000)
    refuses(r"is not opened: zarr.json is compressed", lambda: ZarrStore.open(target))
    target.write_bytes(target.read_bytes()[:500])
    refuses("is no readable zip", lambda: ZarrStore.open(target))


def test_stores_are_merged_once_and_know_the_measures_of_the_first(made: Path, tmp_path: Path) -> None:
    first = shutil.copytree(made / "x.zarr", tmp_path / "first.zarr")
    ZarrStore(first, "a").note("measures", ["mine.py:share"])
    merge([first, made / "x.zarr"], tmp_path / "both.zarr")
    assert ZarrStore.open(tmp_path / "both.zarr").noted("measures") == ["mine.py:share"]
    refuses("3 stores are named, 2 different ones", lambda: merge([Path("a"), Path("b"), Path("a")], Path("c")))


def test_a_store_of_a_later_format_is_not_read_as_one_of_this(store_copy: Path) -> None:
    skeleton.seal_root(store_copy, format=4)
    before = {file: file.read_bytes() for file in store_copy.rglob("*") if file.is_file()}
    for attempt in (ZarrStore.open, verified, lambda path: run(did_study(400), store=path)):
        refuses("is of format 4, which this version does not know; allowed: format 2 or 3", attempt, store_copy)
    assert {file: file.read_bytes() for file in store_copy.rglob("*") if file.is_file()} == before


def test_a_mark_has_one_name() -> None:
    names = [f"block_mark/c.{place}.0" for place in ("1.0", "01.0", "1.00")]
    assert list(marks_of(names, ".")) == [(1, 0, names[0])]


def test_what_kills_left_is_neither_packed_nor_kept(made: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(made / "x.zarr", tmp_path / "x.zarr"))
    files = pack(store, tmp_path / "a.zip")
    (store / "truth" / "c.0.0.0.0a1b2c3d.partial").write_bytes(b"a part of a block")
    half = tmp_path / ".b.zip.abcdefgh.partial"
    half.mkdir()
    (half / "b.zip").write_bytes(b"half a zip")
    assert pack(store, tmp_path / "b.zip") == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "x.zarr"]


def test_a_zip_that_another_made_meanwhile_is_not_overwritten(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "x.zip"

    @contextmanager
    def late(path: Path) -> Iterator[None]:
        with locked(path):
            if path == theirs:
                theirs.write_text("theirs")
            yield

    monkeypatch.setattr(sys.modules["results.store.merge"], "locked", late)
    refuses("already exists", pack, made / "x.zarr", theirs)
    assert theirs.read_text() == "theirs"


def test_a_clock_before_1980_packs_the_same_bytes(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Path(shutil.copytree(made / "x.zarr", tmp_path / "x.zarr"))
    pack(store, tmp_path / "a.zip")
    monkeypatch.setattr(time, "localtime", lambda *_: (1970, 1, 1, 0, 0, 10, 3, 1, 0))
    pack(store, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_bad_requests_are_one_line_and_leave_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "x.zarr", tmp_path / "x.zarr")
    (tmp_path / "taken.zip").write_text("mine")
    for store, out, words in (
        ("x.zarr", "x.tar", "a name that ends in .zip"), ("x.zarr", "taken.zip", "already exists"),
        ("none.zarr", "n.zip", "no such store"), ("taken.zip", "n.zip", "is packed already"),
        ("x.zarr", "x.zarr/did/n.zip", "lies in the store"),
    ):  # fmt: skip
        refuses(words, pack, tmp_path / store, tmp_path / out)
    write = zipfile.ZipFile.writestr
    lost = "block_mark/c.0.0.0"
    with monkeypatch.context() as patch:  # a disk that loses a file
        patch.setattr(zipfile.ZipFile, "writestr", lambda *given: given[1].filename != lost and write(*given))
        refuses("was not written as it is", lambda: pack(tmp_path / "x.zarr", tmp_path / "n.zip"))
    (tmp_path / "x.zarr" / "truth" / "c.1.2.0").unlink()
    refuses("block 2 of cell 1 is damaged", lambda: pack(tmp_path / "x.zarr", tmp_path / "n.zip"))
    with locked(tmp_path / "x.zarr"), pytest.raises(StoreLocked):
        pack(tmp_path / "x.zarr", tmp_path / "n.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.zip", "x.zarr"]
    assert (tmp_path / "taken.zip").read_text() == "mine"


def test_a_block_in_memory_with_some_of_the_estimators_has_their_statuses() -> None:
    store = run(Study("q", design=Paper(), estimators=[TwoWayDID()], replications=8))
    block = store.kept[0, 0]
    assert list(store.statuses(0, 0)) == list(block.estimates)
    store.kept[0, 0] = dataclasses.replace(block, estimates={})
    assert store.statuses(0, 0) == {}


# In xarray

RAGGED = {
    "name": "ragged", "replications": 70, "block": 64, "estimators": [{"kind": "did"}],
    "design": {"kind": "panel", "units": 24, "periods": 6, "weights": {"kind": "knn"}, "covariates": [{"name": "x"}]},
    "grid": {"geography.kind": ["uniform", "grid"], "adoption.kind": ["random", "never"],
             "adoption.share": [0.25, 0.5], "errors.serial": [0.0, [0.5, 0.2]]},
}  # fmt: skip


@pytest.fixture(scope="module", params=["folder", "memory"])
def labelled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """100 replications in blocks of 64 and 36, of 2 x 3 cells and two estimators."""
    short = pp.TwoWayDID(errors=("iid",), regressors=("did",), label="short")
    both = (pp.TwoWayDID(errors=("iid", "cluster:unit")), short)
    grid = {"effect": [0.0, 0.01], "sigma": [0.02, 0.04, 0.06]}
    study = pp.Study("labelled", pp.Paper(), both, grid, replications=100, block=64, worlds=1)
    folder = tmp_path_factory.mktemp("labelled") / "s.zarr"
    return pp.run(study, store=folder if request.param == "folder" else None)


def test_every_number_is_that_of_its_block(labelled: Store):
    tree = labelled.to_xarray()
    assert dict(tree.sizes) == {"effect": 2, "sigma": 3, "replication": 100, "estimand": len(labelled.estimands)}
    for cell, parameters in enumerate(labelled.cells):
        start = 0
        for block in labelled.blocks(cell):
            rows = slice(start, start + block.replications)
            start += block.replications
            at = tree["truth"].sel(parameters).isel(replication=rows)
            for name in labelled.estimands:
                np.testing.assert_array_equal(at.sel(estimand=name), block.truth[name])
            for name, layout in labelled.layouts.items():
                group, found = tree[name].to_dataset().sel(parameters).isel(replication=rows), block.estimates[name]
                assert (*group["term"].values, *group["error"].values) == (*layout.terms, *layout.errors)
                own = {field: getattr(found, field) for field in ("estimate", "se", "dof", "status")}
                for field, values in {**own, **found.statistics}.items():
                    np.testing.assert_array_equal(group[field], values)
        assert start == 100


def test_what_is_asked_for_is_read_whatever_the_key(labelled: Store):
    estimate = labelled.to_xarray()["did/estimate"]
    whole = estimate.values
    for key in ((0, 1), (slice(None), 2, slice(60, 70)), ([1, 0], slice(None), [99, 3, 64], 0), (0, [2, 0], 63, [1, 0]),
                (slice(None, None, -1), slice(0, 0)), (1, 1, -1)):  # fmt: skip
        lazy = labelled.to_xarray()["did/estimate"]
        wanted = xr.DataArray(whole, dims=estimate.dims)[key]
        np.testing.assert_array_equal(lazy[key].values, wanted.values)
    masked = estimate.where(estimate["replication"] < 2, drop=True)
    np.testing.assert_array_equal(masked, whole[:, :, :2])


def test_a_store_on_disk_opens_by_its_path_without_a_warning(finished: Path) -> None:
    """By the engine of panelproof; that of zarr must be told that format 3 has no consolidated metadata."""
    wanted = pp.open_store(finished).to_xarray().load()
    own = wanted["did"].to_dataset().drop_vars("estimand")  # which is of the root
    assert xr.open_datatree(finished).identical(wanted)
    assert xr.open_zarr(finished, group="did", consolidated=False).sizes["term"] == 1
    for path in (finished, str(finished)):  # warnings are errors in these tests
        assert StoreEngine().guess_can_open(path)
        assert xr.open_datatree(path, engine=StoreEngine).identical(wanted)
        assert xr.open_dataset(path, engine=StoreEngine, group="did").identical(own)
        assert xr.open_dataset(path, engine=StoreEngine).identical(wanted.to_dataset())
    chunked = xr.open_dataset(finished, engine=StoreEngine, group="/did/", chunks={})
    assert chunked["estimate"].chunksizes["effect"] == (1, 1)
    assert chunked["estimate"].chunksizes["replication"] == (64, 64, 64, 8)
    assert chunked.compute()["estimate"].equals(wanted["did/estimate"].drop_vars("estimand", errors="ignore"))
    assert "se" not in xr.open_dataset(finished, engine=StoreEngine, group="did", drop_variables=["se"])
    with pytest.raises(KeyError, match="no group 'dit'; there are /, /did"):
        xr.open_dataset(finished, engine=StoreEngine, group="dit")


def test_the_engine_is_the_entry_point_that_xarray_finds():
    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["xarray.backends"]
    assert points == {"panelproof": f"{StoreEngine.__module__}:{StoreEngine.__qualname__}"}


def test_other_folders_and_files_are_left_to_other_engines(tmp_path):
    xr.Dataset({"x": ("a", [1.0])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    for name, text in (("broken.zarr", "{"), ("list.zarr", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "zarr.json").write_text(text)
    engine = StoreEngine()
    names = ("other.zarr", "broken.zarr", "list.zarr", "none.zarr")
    assert not any(engine.guess_can_open(tmp_path / name) for name in names)
    assert not engine.guess_can_open(3)


def test_a_grid_with_parts_that_lack_a_dial(tmp_path):
    study = pp.Study.from_settings(RAGGED)
    assert len(study.cells) == 2 * (2 + 1) * 2  # "never" has no share
    store = pp.run(study, store=tmp_path / "s.zarr")
    tree = store.to_xarray()
    dials = ("geography.kind", "adoption.kind", "adoption.share", "errors.serial")
    assert tree["did/estimate"].dims == (*dials, "replication", "term")
    assert tree["errors.serial"].values.tolist() == ["0.0", "0.5, 0.2"]
    shares = tree["adoption.share"].values
    assert shares[:2].tolist() == [0.25, 0.5]
    assert np.isnan(shares[2])
    estimate = tree["did/status"]
    there = (estimate != 0).all("replication").values
    assert (there.shape, there.sum()) == ((2, 2, 3, 2), 12)
    assert (there == (estimate != 0).any("replication").values).all()
    for cell, parameters in enumerate(store.cells):
        (block, *_) = store.blocks(cell)
        at = {"geography.kind": ["uniform", "grid"].index(parameters["geography.kind"]),  # type: ignore[arg-type]
              "adoption.kind": ["random", "never"].index(parameters["adoption.kind"]),  # type: ignore[arg-type]
              "adoption.share": {0.25: 0, 0.5: 1, None: 2}[parameters["adoption.share"]],  # type: ignore[index]
              "errors.serial": int(parameters["errors.serial"] != 0)}  # fmt: skip
        found = block.estimates["did"]
        ours = tree["did/estimate"].isel(at)[:64]
        np.testing.assert_array_equal(ours.sel(term=list(found.terms)), found.estimate)
        assert bool(ours.sel(term="did").isnull().all()) == (parameters["adoption.kind"] == "never")
    assert xr.open_datatree(tmp_path / "s.zarr", engine=StoreEngine).identical(tree)
    measures = pp.diagnose(store).to_xarray()
    assert measures["mean_estimate"].dims == (*dials, "estimator", "term")
    assert int(measures["convergence"].notnull().sum()) == 12


def test_dials_keep_their_types_and_give_way_to_names_of_the_store() -> None:
    cells = [{"term": a, "on": b, "n": c} for a, b, c in itertools.product((0.5, None), (True, False), (1, 2))]
    axes = axes_of(cells, {"term"})
    assert axes.names == ("dial_term", "on", "n")
    assert [values.dtype.kind for values in axes.values] == ["f", "b", "i"]
    assert axes.at.ravel().tolist() == list(range(8))
    less = axes_of([cells[0], cells[7]])
    assert less.at.shape == (2, 2, 2)
    assert (less.at >= 0).sum() == 2
    spreaded = spread(np.array([10.0, 20.0]), less, np.nan)
    assert (spreaded[0, 0, 0], spreaded[1, 1, 1], np.isnan(spreaded).sum()) == (10, 20, 6)
    layouts = {"a": Layout(("t",), ("iid",), ("r2",), {})}
    schema = StoreSchema({}, {}, "f", tuple({"se": se, "r2": 1, "a": 0} for se in (1.0, 2.0)), layouts, (), 4, 4)
    groups = groups_of(MemoryStore(schema))
    assert groups["/a"]["se"].dims == ("dial_se", "dial_r2", "dial_a", "replication", "error", "term")
    xr.DataTree.from_dict(groups)  # no group has the name of an array


def test_a_study_without_a_grid_has_no_dimension_of_cells():
    store = pp.run(pp.Study("one", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64, worlds=1))
    tree = store.to_xarray()
    (block,) = store.blocks(0)
    assert tree["did/estimate"].dims == ("replication", "term")
    np.testing.assert_array_equal(tree["did/estimate"].values, block.estimates["did"].estimate)
    np.testing.assert_array_equal(tree["did/estimate"][5:7].values, block.estimates["did"].estimate[5:7])
    assert pp.diagnose(store).to_xarray()["bias"].dims == ("estimator", "term")


def test_blocks_that_are_not_there_are_missing_and_damaged_ones_said(store_copy: Path) -> None:
    ZarrStore.open(store_copy).poison(0, 1)
    tree = pp.open_store(store_copy).to_xarray()
    assert tree["did/status"].values.tolist() == [[1] * 64 + [0] * 64 + [1] * 72, [1] * 200]
    for name in ("did/estimate", "truth"):
        assert np.isnan(tree[name][0, 64:128]).all(), name
    assert np.isnan(tree["did/estimate"]).sum() == 64
    flip(store_copy / "did" / "estimate" / "c.0.0.0")
    tree = pp.open_store(store_copy).to_xarray()
    refuses("block 0 of cell 0 is damaged", lambda: tree["did/estimate"].load())
