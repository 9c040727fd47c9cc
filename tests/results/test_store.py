"""The Zarr store: its bytes, damage, other studies; who reads it while a run writes sees what was there at first."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from estimators import SpatialPanel, TwoWayDID
from experiments.cli import run_command
from experiments.run.runner import run, schema_of
from experiments.study import Study
from references.small_panels import small_panel
from results.diagnosis.diagnose import diagnose
from results.store import Block, BlockState, MemoryStore, StoreLocked, ZarrStore, chunks, locked, skeleton
from results.store.merge import merge, pack
from results.store.repair import verified
from results.store.skeleton import check_identity
from results.store.tree import marks_of
from sim.errors import BadInput
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


@pytest.mark.filterwarnings("error")
def test_xarray_opens_it_without_a_warning(finished: Path) -> None:
    """By the engine of panelproof; that of zarr must be told that format 3 has no consolidated metadata."""
    assert xr.open_datatree(finished)["did/estimate"].dims == ("effect", "replication", "term")
    assert xr.open_dataset(finished, group="did").sizes["error"] == 3
    assert xr.open_zarr(finished, group="did", consolidated=False).sizes["term"] == 1


def test_one_chunk_a_block_with_a_checksum(finished: Path) -> None:
    array = zarr.open_group(str(finished), mode="r")["did/inference"]
    assert array.chunks == (1, 64, 2, 3, 1)
    assert [type(codec).__name__ for codec in array.compressors] == ["BloscCodec", "Crc32cCodec"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_every_flipped_bit_truncation_and_missing_chunk_is_found_and_repaired(store_copy: Path) -> None:
    reference = ZarrStore.open(store_copy).content_hash()
    chunks = sorted(
        path for name in ("estimate", "fit", "inference") for path in (store_copy / "did" / name).glob("c.*")
    )
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


def test_fewer_replications_leave_it_as_it_is(store_copy: Path) -> None:
    reference = ZarrStore.open(store_copy).content_hash()
    run(did_study(100), store=store_copy)
    assert ZarrStore.open(store_copy).content_hash() == reference


def test_what_differs_is_a_handful_of_short_lines(store_copy: Path, tmp_path: Path) -> None:
    """Another kind is one line; many settings are counted; a placebo test's panel is never shown."""
    before = ZarrStore.open(store_copy).content_hash()
    for changes, words in (({"seed": 4}, "seed was 3, is now 4"), ({"block": 128}, "block was 64, is now 128"),
                           ({"estimators": (TwoWayDID(errors=("iid",)),)}, "estimators")):  # fmt: skip
        with pytest.raises(BadInput, match=words):
            run(did_study(**changes), store=store_copy)
    with pytest.raises(BadInput) as kind:
        run(did_study(estimators=(SpatialPanel("sar"),)), store=store_copy)
    assert [p.what for p in kind.value.problems] == [
        'belongs to another study: estimators[0].kind was "did", is now "spatial"'
    ]
    dials = Paper(0.5, rho=0.1, serial=0.1, anticipation=1, trend_gap=0.1, confounding=0.1, treated=9)
    with pytest.raises(BadInput) as many:
        run(did_study(design=dials), store=store_copy)
    assert len(many.value.problems) == 5
    assert many.value.problems[-1].what.endswith("4 more settings differ")
    assert ZarrStore.open(store_copy).content_hash() == before
    placebo = Placebo.of(small_panel(12, 5, model="none"), "space")
    with pytest.raises(BadInput, match="holds a study, not a placebo test of a panel"):
        run(did_study(design=placebo, grid=()), store=store_copy)
    run(did_study(design=placebo, grid=(), replications=64), store=tmp_path / "p.zarr")
    with pytest.raises(BadInput) as other:
        run(did_study(), store=tmp_path / "p.zarr")
    assert [p.what for p in other.value.problems] == ["holds a placebo test of a panel, not this study"]
    another = Placebo.of(small_panel(12, 5, seed=2, model="none"), "space")
    with pytest.raises(
        BadInput, match=r"another study: design\.panel was a text of .* letters, is now a text"
    ) as panels:
        run(did_study(design=another, grid=()), store=tmp_path / "p.zarr")
    assert len(str(panels.value)) < 400


@pytest.mark.parametrize(("changed", "last"), [(5, "e was 1, is now 2"), (6, "2 more settings differ")])
def test_five_settings_that_differ_are_named(changed: int, last: str) -> None:
    old, new = ({"design": {"kind": "paper"}} | dict.fromkeys("abcdef"[:changed], value) for value in (1, 2))
    with pytest.raises(BadInput) as caught:
        check_identity(old, new, "x.zarr")
    assert len(caught.value.problems) == 5
    assert caught.value.problems[-1].what.endswith(last)


@pytest.mark.parametrize("what", ["folder", "file", "nothing"])
def test_what_is_no_store_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.zarr"
    if what == "folder":
        path.mkdir()
    elif what == "file":
        path.write_text("no")
    with pytest.raises(BadInput, match="store"):
        ZarrStore.open(path)


def test_nothing_is_left_beside_a_store_that_could_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="space"):
        ZarrStore.create(tmp_path / "x.zarr", schema_of(did_study()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
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
    """The last block is not full."""
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


@pytest.fixture(scope="module")
def blocks() -> dict[tuple[int, int], Block]:
    """Every block of the study."""
    memory = run(STUDY)
    assert isinstance(memory, MemoryStore)
    return memory.kept


@pytest.fixture
def writer(tmp_path: Path, blocks: dict[tuple[int, int], Block]) -> ZarrStore:
    """A store with the first block of each cell."""
    store = ZarrStore.create(tmp_path / "x.zarr", schema_of(STUDY))
    for cell in range(2):
        store.write(cell, 0, blocks[cell, 0])
    return store


def test_blocks_that_arrive_between_two_passes_wait_for_the_next_reader(
    writer: ZarrStore, blocks: dict[tuple[int, int], Block]
) -> None:
    reader = ZarrStore.open(writer.path)
    first = [len(list(reader.blocks(cell))) for cell in range(2)]
    for place in [(0, 1), (1, 1)]:
        writer.write(*place, blocks[place])
    assert [len(list(reader.blocks(cell))) for cell in range(2)] == first == [1, 1]
    assert reader.done() == [(0, 0), (1, 0)]
    assert reader.content_hash() != writer.content_hash()
    assert ZarrStore.open(writer.path).content_hash() == writer.content_hash()


def interrupted_by(monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]) -> None:
    """Every pass over a cell's blocks is followed by a write."""
    whole = ZarrStore.blocks

    def blocks(self: ZarrStore, cell: int) -> Iterator[Block]:
        yield from whole(self, cell)
        write()

    monkeypatch.setattr(ZarrStore, "blocks", blocks)


def test_a_diagnosis_is_of_one_snapshot(
    writer: ZarrStore, blocks: dict[tuple[int, int], Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = diagnose(ZarrStore.open(writer.path)).frame
    waiting = [(0, 1), (1, 1), (0, 2), (1, 2)]

    def write() -> None:
        if waiting:
            place = waiting.pop(0)
            writer.write(*place, blocks[place])

    interrupted_by(monkeypatch, write)
    monkeypatch.setattr("results.diagnosis.fits.BUDGET", 0)  # blocks that are kept are not read between passes
    found = diagnose(ZarrStore.open(writer.path)).frame
    assert not waiting, "blocks were to arrive between the passes"
    assert found.equals(expected)


def test_a_reader_keeps_its_size_while_the_store_grows(writer: ZarrStore) -> None:
    reader = ZarrStore.open(writer.path)
    grown = ZarrStore.open_or_create(writer.path, schema_of(STUDY.resized(replications=320)))
    assert grown.done() == reader.done()
    assert (grown.block_count, reader.block_count, len(reader.pending())) == (5, 3, 4)


def test_verify_during_a_run_finds_no_damage(
    writer: ZarrStore,
    blocks: dict[tuple[int, int], Block],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A block that is finished after `verify` looked for it, and before it says why it is missing, is not run yet."""
    whole = ZarrStore.pending

    def pending(self: ZarrStore) -> Any:
        found = whole(self)
        writer.write(0, 1, blocks[0, 1])
        return found

    monkeypatch.setattr(ZarrStore, "pending", pending)
    assert run_command(["store", "verify", str(writer.path)]) == 1
    said = capsys.readouterr().out
    assert "digest" not in said
    assert "2 of 6 blocks sound, 4 not run, 0 poisoned, 0 damaged" in said
    assert writer.state(0, 1) is BlockState.DONE


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


@pytest.mark.parametrize(
    "command",
    [
        ["report"],
        ["report", "--json"],
        ["store", "hash"],
        ["store", "verify"],
        ["store", "info"],
        ["compare"],
        ["replay"],
    ],
    ids=" ".join,
)
def test_every_reader_says_of_the_zip_what_it_says_of_the_folder(
    made: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def of(name: str) -> tuple[int, str]:
        path = str(made / name)
        more = {"compare": [str(made / "x.zarr")], "replay": ["1", "100"]}.get(command[0], [])
        code, text = said([*command, path, *more], capsys)
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
    with pytest.raises(BadInput, match="is packed, and can only be read"):
        run(quick_study(256), store=target)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", "{" + " " * 10_000_000)
    with pytest.raises(BadInput, match=r"is not opened: zarr.json is compressed"):
        ZarrStore.open(target)
    target.write_bytes(target.read_bytes()[:500])
    with pytest.raises(BadInput, match="is no readable zip"):
        ZarrStore.open(target)


def test_stores_are_merged_once() -> None:
    with pytest.raises(BadInput, match="3 stores are named, 2 different ones"):
        merge([Path("a"), Path("b"), Path("a")], Path("c"))


def test_a_merged_store_knows_the_measures_of_the_first(made: Path, tmp_path: Path) -> None:
    first = shutil.copytree(made / "x.zarr", tmp_path / "first.zarr")
    ZarrStore(first, "a").note("measures", ["mine.py:share"])
    merge([first, made / "x.zarr"], tmp_path / "both.zarr")
    assert ZarrStore.open(tmp_path / "both.zarr").noted("measures") == ["mine.py:share"]


def test_a_mark_has_one_name() -> None:
    names = [f"block_mark/c.{place}.0" for place in ("1.0", "01.0", "1.00")]
    assert list(marks_of(names, ".")) == [(1, 0, names[0])]


def test_bad_requests_are_one_line_and_leave_nothing(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "x.zarr", tmp_path / "x.zarr")
    (tmp_path / "taken.zip").write_text("mine")
    for store, out, words in (
        ("x.zarr", "x.tar", "a name that ends in .zip"),
        ("x.zarr", "taken.zip", "already exists"),
        ("none.zarr", "n.zip", "no such store"),
        ("taken.zip", "n.zip", "is packed already"),
    ):
        with pytest.raises(BadInput, match=words):
            pack(tmp_path / store, tmp_path / out)
    (tmp_path / "x.zarr" / "truth" / "c.1.2.0").unlink()
    with pytest.raises(BadInput, match="block 2 of cell 1 is damaged"):
        pack(tmp_path / "x.zarr", tmp_path / "n.zip")
    with locked(tmp_path / "x.zarr"), pytest.raises(StoreLocked):
        pack(tmp_path / "x.zarr", tmp_path / "n.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.zip", "x.zarr"]
    assert (tmp_path / "taken.zip").read_text() == "mine"


def test_a_block_in_memory_with_some_of_the_estimators_has_their_statuses() -> None:
    store = run(Study("q", design=Paper(), estimators=[TwoWayDID()], replications=8))
    assert isinstance(store, MemoryStore)
    block = store.kept[0, 0]
    assert list(store.statuses(0, 0)) == list(block.estimates)
    store.kept[0, 0] = dataclasses.replace(block, estimates={})
    assert store.statuses(0, 0) == {}
