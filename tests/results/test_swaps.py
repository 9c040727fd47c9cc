"""Blocks in places that are not theirs: each swap is named by `verify`, gives no report, and is computed again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from estimators import TwoWayDID
from experiments.cli import run_command
from experiments.run.resume import Resume
from experiments.run.runner import run
from experiments.study import Study
from results.store import ZarrStore
from results.store.files import files_of
from results.store.repair import DAMAGED, FOREIGN, verified
from results.store.skeleton import seal_root
from studies import quick_study

Place = tuple[int, int]
PARTS = ("truth", "did", "plain")
ESTIMATORS = (TwoWayDID(), TwoWayDID(label="plain"))


def study_of(**changes: object) -> Study:
    return quick_study(192, estimators=ESTIMATORS, **changes)


STUDIES = {
    "own": study_of(),
    "seed": study_of(seed=12),
    "study": study_of(worlds=2),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swaps")
    for name, study in STUDIES.items():
        run(study, store=folder / name)
    return folder


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
    ("own", (0, 1), (0, 2), "did"), ("seed", (1, 0), (0, 0), "both"),
]  # fmt: skip


def check(store: Path, named: dict[Place, str], reference: str) -> None:
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
    assert ZarrStore.open(store).content_hash() == reference


@pytest.mark.parametrize(
    ("source", "here", "there", "what", "copy"),
    [(*swap, (shutil.copyfile, shutil.copy2)[number % 2]) for number, swap in enumerate(SWAPS)],
)
def test_a_block_in_the_place_of_another_is_named_and_computed_again(
    made: Path, tmp_path: Path, source: str, here: Place, there: Place, what: str, copy: Callable[..., object]
) -> None:
    store = tmp_path / "own.zarr"
    shutil.copytree(made / "own", store)
    for file, target in zip(files(here, what), files(there, what), strict=True):
        copy(made / source / file, store / target)
    said = FOREIGN if what in ("mark", "both") else DAMAGED
    check(store, {there: said}, ZarrStore.open(made / "own").content_hash())


@pytest.mark.parametrize("source", ["seed", "study"])
def test_all_blocks_of_another_study_are_named(made: Path, tmp_path: Path, source: str) -> None:
    store = tmp_path / "own.zarr"
    shutil.copytree(made / "own", store)
    places = ZarrStore.open(store).places()
    for file in (file for place in places for file in files(place, "both")):
        shutil.copy2(made / source / file, store / file)
    check(store, dict.fromkeys(places, FOREIGN), ZarrStore.open(made / "own").content_hash())


def test_the_settings_of_another_study_over_a_store_make_all_its_blocks_foreign(made: Path, tmp_path: Path) -> None:
    """Its root is written as one would who knows the digests."""
    store = tmp_path / "own.zarr"
    shutil.copytree(made / "own", store)
    seal_root(store, **{key: ZarrStore.open(made / "seed").facts[key] for key in ("study", "identity", "fingerprint")})
    opened = ZarrStore.open(store)
    assert opened.foreign == set(opened.places())
    assert run_command(["report", str(store)]) == 2


def test_estimators_that_change_places_are_named(made: Path, tmp_path: Path) -> None:
    store = tmp_path / "own.zarr"
    shutil.copytree(made / "own", store)
    for mine, other in zip(files((1, 1), "did"), files((0, 1), "plain"), strict=True):
        shutil.copy2(made / "own" / other, store / mine)
    check(store, {(1, 1): DAMAGED}, ZarrStore.open(made / "own").content_hash())


def test_marks_are_those_of_the_store_after_it_grew_in_every_way(made: Path, tmp_path: Path) -> None:
    """Sideways, where the fingerprint and the numbers of cells change, then by replications, then repaired."""
    store = tmp_path / "own.zarr"
    shutil.copytree(made / "own", store)
    grid = (("effect", (0.01, 0.0, 0.02)),)
    larger = study_of(grid=grid).resized(replications=224)
    run(larger, store=store)
    assert verified(store).sound, verified(store).lines
    run(larger, store=tmp_path / "one.zarr")
    assert ZarrStore.open(store).content_hash() == ZarrStore.open(tmp_path / "one.zarr").content_hash()
    shutil.copy2(made / "own" / mark_of((0, 0)), store / mark_of((1, 0)))  # the same block of the store before
    assert f"cell 1 block 0: {FOREIGN}" in verified(store).lines
    (store / "provenance" / "zarr.json").write_text("{")
    computed: list[Place] = []
    plan = Resume(accept_code_change=True)
    run(larger, store=store, plan=plan, listen=lambda now: computed.append((now.cell, now.block)))
    assert set(computed) - {(-1, -1)} == {(1, 0)}, "marks whose environments were lost hold all the same"
    assert verified(store).sound, verified(store).lines
    assert ZarrStore.open(store).environments[0].text == "unknown"


@pytest.mark.parametrize("held", [b"", b"\0", bytes(4), bytes(400)])
def test_what_a_power_cut_leaves_of_a_mark_is_damage(made: Path, tmp_path: Path, held: bytes) -> None:
    store = tmp_path / "own.zarr"
    shutil.copytree(made / "own", store)
    (store / mark_of((1, 0))).write_bytes(held)
    check(store, {(1, 0): DAMAGED}, ZarrStore.open(made / "own").content_hash())
