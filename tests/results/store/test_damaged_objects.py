"""What is damaged or missing of a store in an object store is named, and a run of its study mends it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from experiments.run.resume import Resume
from experiments.run.runner import run
from results.store import ZarrStore
from results.store.bucket import ObjectPath
from results.store.files import files_of
from results.store.repair import DAMAGED, FOREIGN, verified
from results.store.tree import Objects
from studies import quick_study

STUDY = quick_study(192)
BLOCKS = {
    "did/estimate/c.1.2.0": "cell 1 block 2: does not match its digest",
    "did/fit/c.0.0.0": "cell 0 block 0: does not match its digest",
    "block_mark/c.0.1.0": "3 of 6 blocks sound, 1 not run",
}
OTHERS = {
    "did/term/c.0": "did/term/c.0: does not match its digest",
    "effect/zarr.json": "effect/zarr.json: is missing",
    "provenance/zarr.json": "provenance/zarr.json: ",
}
ROOT = {"zarr.json": "zarr.json: "}
GONE = {"did/fit/c.0.0.0", "block_mark/c.0.1.0", "effect/zarr.json"}


def damage(tree: Objects, name: str) -> None:
    """Delete an object, or turn a bit of it round."""
    if name in GONE:
        tree.delete(name)
        return
    data = bytearray(tree.read(name))
    data[len(data) // 2] ^= 64
    tree.put(name, bytes(data))


@pytest.mark.parametrize("damaged", [BLOCKS, OTHERS, ROOT], ids=["blocks", "others", "root"])
def test_damage_is_named_and_a_run_repairs_it(place: ObjectPath, damaged: Mapping[str, str]) -> None:
    run(STUDY, store=place)
    whole, tree = ZarrStore.open(place).content_hash(), Objects(place)
    for name in damaged:
        damage(tree, name)
    found = verified(place)
    assert not found.sound
    for said in damaged.values():
        assert any(said in line for line in found.lines), found.lines
    run(STUDY, store=place, plan=Resume(accept_code_change=damaged is OTHERS))
    assert verified(place).sound
    assert ZarrStore.open(place).content_hash() == whole


def test_a_file_that_is_not_of_the_store_is_named_and_deleted(place: ObjectPath) -> None:
    run(quick_study(64), store=place)
    Objects(place).put("did/term/c.7", b"stray")
    assert "did/term/c.7: is not of this store" in verified(place).lines
    run(quick_study(64), store=place)
    assert verified(place).sound
    assert not Objects(place).has("did/term/c.7")


@pytest.mark.parametrize("what", ["mark", "numbers", "both"])
def test_a_block_in_the_place_of_another_is_named_and_computed_again(place: ObjectPath, what: str) -> None:
    run(STUDY, store=place)
    whole, tree = ZarrStore.open(place).content_hash(), Objects(place)
    numbers, mark = files_of(0, 1, ("truth", "did")), "block_mark/c.0.1.0"
    for name in [*(numbers if what != "mark" else ()), *([mark] if what != "numbers" else ())]:
        tree.put(name.replace("c.0.1.", "c.1.2."), tree.read(name))
    assert f"cell 1 block 2: {DAMAGED if what == 'numbers' else FOREIGN}" in verified(place).lines
    run(STUDY, store=place)
    assert verified(place).sound
    assert ZarrStore.open(place).content_hash() == whole
