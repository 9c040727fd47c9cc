"""Shards of a study, each in a store of its own, and what `merge` makes of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from estimators import TwoWayDID
from experiments.cli import run_command
from experiments.run.reporting import facts_of
from experiments.run.resume import Resume
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.store import BlockState, Shard, StoreLocked, ZarrStore, locked
from results.store.merge import merge
from sim.errors import BadInput
from studies import quick_study


def small_study(replications: int = 200, **changes: Any) -> Study:
    """Two cells, two estimators, eight blocks."""
    settings = {"seed": 7, "estimators": (TwoWayDID(), TwoWayDID(label="other"))}
    return quick_study(replications, **settings | changes)


def hash_of(path: Path) -> str:
    return ZarrStore.open(path).content_hash()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "x.zarr"
    run(small_study(), store=path)
    return hash_of(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three shards of the small study."""
    folder = tmp_path_factory.mktemp("shards")
    for number in (1, 2, 3):
        run(small_study(), store=folder / f"{number}.zarr", plan=Resume(shard=Shard(number, 3)))
    return folder


@pytest.fixture
def shards(made: Path, tmp_path: Path) -> list[Path]:
    for number in (1, 2, 3):
        shutil.copytree(made / f"{number}.zarr", tmp_path / f"{number}.zarr")
    return [tmp_path / f"{number}.zarr" for number in (1, 2, 3)]


def test_shards_share_the_blocks_out_and_merge_into_one_run(reference: str, shards: list[Path], tmp_path: Path) -> None:
    held = [set(ZarrStore.open(path).done()) for path in shards]
    assert [len(places) for places in held] == [3, 3, 2]
    assert set().union(*held) == set(ZarrStore.open(shards[0]).places())
    merged = merge(shards[::-1], tmp_path / "out.zarr")
    assert (merged.taken, merged.shared, merged.done, merged.total) == ((2, 3, 3), 0, 8, 8)
    assert hash_of(tmp_path / "out.zarr") == reference
    assert ZarrStore.open(tmp_path / "out.zarr").shard is None
    assert [origin.blocks for origin in ZarrStore.open(tmp_path / "out.zarr").environments] == [8]


def test_a_shard_is_complete_by_itself_and_says_which_it_is(shards: list[Path]) -> None:
    store = ZarrStore.open(shards[1])
    assert store.shard == Shard(2, 3)
    assert sorted(store.wanted()) == sorted(store.done())
    assert run_command(["store", "verify", str(shards[1])]) == 0
    assert facts_of(store).warnings == [
        "a shard, 2 of 3: 3 of 8 blocks of the study are here; `panelproof store merge` joins all shards"
    ]


def test_more_replications_leave_earlier_blocks_to_the_same_shard(shards: list[Path], tmp_path: Path) -> None:
    for number, path in enumerate(shards, 1):
        run(small_study(300), store=path, plan=Resume(shard=Shard(number, 3)))
    run(small_study(300), store=tmp_path / "whole.zarr")
    merge(shards, tmp_path / "out.zarr")
    assert hash_of(tmp_path / "out.zarr") == hash_of(tmp_path / "whole.zarr")


def test_blocks_that_agree_are_taken_once_and_others_are_refused(
    reference: str, shards: list[Path], tmp_path: Path
) -> None:
    merge(shards[:2], tmp_path / "two.zarr")
    merged = merge([tmp_path / "two.zarr", *shards[1:]], tmp_path / "all.zarr")
    assert (merged.taken, merged.shared) == ((6, 0, 2), 3)
    assert "3 were in more than one store with the same bytes and were taken once" in merged.sentence
    assert hash_of(tmp_path / "all.zarr") == reference
    other = ZarrStore(shards[1], "a")
    cell, index = other.done()[0]
    block = other.sound(cell, index)
    changed = replace(block.estimates["did"], estimate=block.estimates["did"].estimate + 1e-12)
    other.put(cell, index, replace(block, estimates={**block.estimates, "did": changed}), 1)
    with pytest.raises(BadInput, match=f"block {index} of cell {cell} has other bytes than in .*two.zarr"):
        merge([tmp_path / "two.zarr", *shards[1:]], tmp_path / "no.zarr")
    assert not (tmp_path / "no.zarr").exists()


def assert_refused(stores: Sequence[Path], out: Path, words: str) -> None:
    before = sorted(path.name for path in out.parent.iterdir())
    with pytest.raises(BadInput, match=words):
        merge(stores, out)
    assert sorted(path.name for path in out.parent.iterdir()) == before


def test_what_does_not_belong_together_is_refused_and_nothing_written(shards: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    run(small_study(seed=8), store=tmp_path / "seed.zarr")
    assert_refused([shards[0], tmp_path / "seed.zarr"], out, "belongs to another study: seed was 7, is now 8")
    run(small_study(300), store=shards[2], plan=Resume(shard=Shard(3, 3)))
    assert_refused(shards, out, "has 300 replications a cell, .* has 200")
    assert_refused([shards[0]], out, "1 stores are named")
    assert_refused([shards[0], shards[0]], out, "2 stores are named, 1 different ones")
    assert_refused([shards[0], tmp_path / "none.zarr"], out, "no such store")
    assert_refused(shards[:2], shards[1], "already exists")


@pytest.mark.parametrize("order", [1, -1])
def test_a_sound_copy_takes_the_place_of_a_damaged_one(
    reference: str, shards: list[Path], tmp_path: Path, order: int
) -> None:
    whole, hurt = tmp_path / "whole.zarr", tmp_path / "hurt.zarr"
    merge(shards, whole)
    shutil.copytree(whole, hurt)
    chunk = next(path for path in (hurt / "did" / "inference").glob("c.*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    merged = merge([whole, hurt][::order], tmp_path / "out.zarr")
    assert (merged.done, merged.shared) == (8, 7)
    assert hash_of(tmp_path / "out.zarr") == reference


def test_what_is_there_of_partial_blocks_has_an_environment_too(shards: list[Path], tmp_path: Path) -> None:
    partial = tmp_path / "partial.zarr"
    run(small_study(estimators=small_study().estimators[:1]), store=partial)
    ZarrStore.open_or_create(partial, schema_of(small_study()))
    assert set(ZarrStore.open(partial).states.ravel()) == {BlockState.PARTIAL}
    assert ZarrStore.open(partial).environments == ()
    merge([shards[0], partial], tmp_path / "same.zarr")
    store = ZarrStore(partial, "a")
    (own,) = store.noted("origins")
    store.note("origins", [own | {"text": "another", "facts": own["facts"] | {"machine": "another"}}])
    assert_refused([shards[0], partial], tmp_path / "out.zarr", r"blocks come from 2 environments: .* \| another")
    merge([shards[0], partial], tmp_path / "out.zarr", accept_code_change=True)
    merged = ZarrStore.open(tmp_path / "out.zarr")
    assert [origin.blocks for origin in merged.environments] == [3]
    assert [origin.blocks for origin in merged.partial_environments] == [5]


def test_shards_of_two_environments_are_refused_unless_that_is_accepted(shards: list[Path], tmp_path: Path) -> None:
    store = ZarrStore(shards[1], "a")
    (origin,) = store.known_origins
    store.note("origins", [{"text": "another", "facts": {**origin.facts, "machine": "other"}, "differs": []}])
    assert_refused(shards, tmp_path / "out.zarr", r"blocks come from 2 environments: .* \| another")
    merge(shards, tmp_path / "out.zarr", accept_code_change=True)
    assert [origin.blocks for origin in ZarrStore.open(tmp_path / "out.zarr").environments] == [5, 3]


def test_a_store_in_use_is_left_alone(shards: list[Path], tmp_path: Path) -> None:
    with locked(shards[1]), pytest.raises(StoreLocked):
        merge(shards, tmp_path / "out.zarr")


def test_another_share_of_a_store_is_refused(shards: list[Path], tmp_path: Path) -> None:
    before = hash_of(shards[0])
    for plan, words in ((Resume(shard=Shard(2, 3)), "holds shard 1/3 of its study"),
                        (Resume(), "holds shard 1/3 of its study.*say --shard 1/3")):  # fmt: skip
        with pytest.raises(BadInput, match=words):
            run(small_study(), store=shards[0], plan=plan)
    larger = small_study(grid=(("effect", (0.0, 0.02, 0.03)),))
    with pytest.raises(BadInput, match="a shard cannot grow by cells or estimators"):
        run(larger, store=shards[0], plan=Resume(shard=Shard(1, 3)))
    run(small_study(64), store=tmp_path / "whole.zarr")
    with pytest.raises(BadInput, match="holds the whole study, not a shard"):
        run(small_study(64), store=tmp_path / "whole.zarr", plan=Resume(shard=Shard(1, 3)))
    assert hash_of(shards[0]) == before


def test_poisoned_blocks_stay_so_unless_another_store_has_them(
    reference: str, shards: list[Path], tmp_path: Path
) -> None:
    store = ZarrStore(shards[0], "a")
    cell, index = store.done()[1]
    store.poison(cell, index, "killed\n")
    merged = merge(shards, tmp_path / "out.zarr")
    assert (merged.done, merged.total) == (7, 8)
    out = ZarrStore.open(tmp_path / "out.zarr")
    assert out.state(cell, index) is BlockState.POISONED
    assert out.tracebacks == {f"cell {cell} block {index}": "killed\n"}
    run(small_study(), store=tmp_path / "out.zarr")
    assert hash_of(tmp_path / "out.zarr") == reference


def test_what_could_not_be_computed_twice_is_shared_by_nobody(shards: list[Path], tmp_path: Path) -> None:
    merge(shards[:2], tmp_path / "two.zarr")
    for path in (tmp_path / "two.zarr", shards[0]):
        ZarrStore(path, "a").poison(*ZarrStore.open(shards[0]).done()[0], "killed\n")
    merged = merge([tmp_path / "two.zarr", *shards], tmp_path / "out.zarr")
    assert (merged.taken, merged.shared, merged.done) == ((5, 0, 0, 2), 5, 7)


def test_the_store_that_holds_most_of_a_block_gives_it(reference: str, shards: list[Path], tmp_path: Path) -> None:
    shutil.copytree(shards[0], tmp_path / "sound.zarr")
    ZarrStore(shards[0], "a").poison(*ZarrStore.open(shards[0]).done()[0], "killed\n")
    merged = merge([*shards, tmp_path / "sound.zarr"], tmp_path / "out.zarr")
    assert (merged.taken, merged.shared, merged.done) == ((2, 3, 2, 1), 3, 8)
    assert hash_of(tmp_path / "out.zarr") == reference


def test_a_part_of_a_damaged_block_is_no_copy_of_it(shards: list[Path], tmp_path: Path) -> None:
    for path in (shards[1] / "did" / "inference").glob("c.*"):
        path.unlink()
    assert_refused(shards, tmp_path / "out.zarr", r"2\.zarr; block \d of cell \d is damaged")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no share"):
        Shard.read(text)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = 'replications = 192\nblock = 64\n[design]\nkind = "paper"\ncontrols = "none"\n[[estimators]]\nkind = "did"\n'
    (tmp_path / "s.toml").write_text(text)
    for number in (1, 2):
        assert run_command(["run", "s.toml", "--cluster", "serial", "--shard", f"{number}/2"]) == 0
    assert run_command(["run", "s.toml", "--cluster", "serial", "--shard", "1/2", "--until", "bias:1"]) == 2
    shards = ["runs/s-1-of-2.zarr", "runs/s-2-of-2.zarr"]
    capsys.readouterr()
    assert run_command(["store", "merge", *shards, "--out", "runs/s.zarr"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "merged 2 stores: 3 of 3 blocks, 2 + 1"
    assert run_command(["run", "s.toml", "--cluster", "serial", "--store", "whole.zarr"]) == 0
    assert hash_of(tmp_path / "whole.zarr") == hash_of(tmp_path / "runs/s.zarr")
    (tmp_path / "t.toml").write_text(text)
    assert run_command(["run", "t.toml", "--cluster", "serial", "--shard", "2/3"]) == 0
    capsys.readouterr()
    assert run_command(["store", "merge", shards[0], "runs/t-2-of-3.zarr", "--out", "part.zarr"]) == 0
    assert run_command(["store", "merge", shards[1], "runs/t-2-of-3.zarr", "--out", "other.zarr"]) == 3
    assert "2 blocks are missing; run the study with --store other.zarr" in capsys.readouterr().out
    assert run_command(["store", "merge", shards[1], "runs/t-2-of-3.zarr", "--out", "json.zarr", "--json"]) == 3
