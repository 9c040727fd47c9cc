"""The Zarr store: what is written is read back, damage is seen, other studies are refused."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from estimators import SpatialPanel, TwoWayDID
from experiments.run.runner import run, schema_of
from experiments.study import Study
from references.small_panels import small_panel
from results.store.lock import StoreLocked, locked
from results.store.skeleton import check_identity
from results.store.store import MemoryStore
from results.store.zarr_store import BlockState, ZarrStore
from sim.errors import BadInput
from sim.presets import Paper
from sim.real_panels import Placebo


def did_study(replications: int = 200, **changes: object) -> Study:
    settings: dict[str, object] = {
        "name": "did",
        "design": Paper(controls="none"),
        "grid": (("effect", (0.0, 0.0157)),),
        "estimators": (TwoWayDID(),),
        "replications": replications,
        "block": 64,
        "seed": 3,
    }
    return Study(**(settings | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "did.zarr"
    run(did_study(), store=path)
    return path


@pytest.fixture
def store_copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "did.zarr")
    return tmp_path / "did.zarr"


def test_blocks_read_back_as_they_were_in_memory(finished: Path) -> None:
    memory, store = run(did_study()), ZarrStore.open(finished)
    assert isinstance(memory, MemoryStore)
    for cell in range(2):
        for ours, theirs in zip(memory.blocks(cell), store.blocks(cell), strict=True):
            np.testing.assert_array_equal(ours.estimates["did"].se, theirs.estimates["did"].se)
            np.testing.assert_array_equal(ours.truth["att"], theirs.truth["att"])


@pytest.mark.filterwarnings("error")
def test_xarray_opens_it_without_a_warning(finished: Path) -> None:
    """By the engine of panelproof; that of zarr must be told that format 3 has no consolidated metadata."""
    assert xr.open_datatree(finished)["did/estimate"].dims == ("effect", "replication", "term")
    assert xr.open_dataset(finished, group="did").sizes["error"] == 3
    assert xr.open_zarr(finished, group="did", consolidated=False).sizes["term"] == 1


def test_xarray_opens_it_with_names(finished: Path) -> None:
    tree = xr.open_datatree(str(finished), engine="zarr", consolidated=False)
    estimate = tree["did/estimate"]
    assert estimate.dims == ("cell", "replication", "term")
    assert list(tree["did/term"].values) == ["did"]
    assert list(tree["did/error"].values) == ["iid", "hc1", "cluster:unit"]
    assert tree["effect"].values.tolist() == [0.0, 0.0157]
    truth = tree["truth"].sel(estimand="att").values
    assert abs(float((estimate.sel(term="did") - truth).mean())) < 0.001


def test_one_chunk_a_block_with_a_checksum(finished: Path) -> None:
    array = zarr.open_group(str(finished), mode="r")["did/inference"]
    assert array.chunks == (1, 64, 2, 3, 1)
    assert [type(codec).__name__ for codec in array.compressors] == ["BloscCodec", "Crc32cCodec"]


def chunks_of(store: Path) -> list[Path]:
    return sorted(
        path
        for path in store.glob("did/*/c.*")
        if path.is_file() and not {"term", "error", "quantity", "fact"} & set(path.parts)
    )


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_every_flipped_bit_truncation_and_missing_chunk_is_found_and_repaired(store_copy: Path) -> None:
    reference = ZarrStore.open(store_copy).content_hash()
    chunks = chunks_of(store_copy)
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


def test_more_replications_extend_and_equal_a_run_from_scratch(store_copy: Path, tmp_path: Path) -> None:
    run(did_study(330), store=store_copy)
    run(did_study(330), store=tmp_path / "whole.zarr")
    assert ZarrStore.open(store_copy).content_hash() == ZarrStore.open(tmp_path / "whole.zarr").content_hash()


def test_fewer_replications_leave_it_as_it_is(store_copy: Path) -> None:
    reference = ZarrStore.open(store_copy).content_hash()
    run(did_study(100), store=store_copy)
    assert ZarrStore.open(store_copy).content_hash() == reference


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 4}, "seed was 3, is now 4"),
        ({"block": 128}, "block was 64, is now 128"),
        ({"design": Paper(controls="none", sigma=0.03)}, "design.sigma was 0.029, is now 0.03"),
        ({"estimators": (TwoWayDID(errors=("iid",)),)}, "estimators"),
    ],
)
def test_another_study_is_refused_with_what_changed(store_copy: Path, changes: dict[str, object], words: str) -> None:
    before = ZarrStore.open(store_copy).content_hash()
    with pytest.raises(BadInput, match=words):
        run(did_study(**changes), store=store_copy)  # type: ignore[arg-type]
    assert ZarrStore.open(store_copy).content_hash() == before


def test_what_differs_is_a_handful_of_short_lines(store_copy: Path, tmp_path: Path) -> None:
    """Another kind is one line; many settings are counted; a placebo test's panel is never shown."""
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


def test_a_locked_store_is_left_alone(store_copy: Path) -> None:
    with locked(store_copy), pytest.raises(StoreLocked):
        run(did_study(), store=store_copy)


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


def test_poisoned_blocks_are_marked_and_tried_again(store_copy: Path) -> None:
    store = ZarrStore(store_copy, "a")
    store.poison(1, 2)
    assert store.state(1, 2) is BlockState.POISONED
    assert store.pending() == [(1, 2)]


@pytest.mark.long
def test_a_hash_needs_little_memory_whatever_the_number_of_replications(tmp_path: Path) -> None:
    ZarrStore.create(tmp_path / "small.zarr", schema_of(did_study(128))).content_hash()  # what it imports is no part
    store = ZarrStore.create(tmp_path / "x.zarr", schema_of(did_study(2_200_000, block=1 << 16)))
    tracemalloc.start()
    store.content_hash()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6, "numbers of 2.2 million replications are 17.6 MB, their text 70"
