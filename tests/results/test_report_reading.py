"""A report reads blocks straight from their files: as zarr does, once or several times, and never damaged ones."""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from many_blocks import BLOCK, fabricated, many_blocks
from refusals import refuses

from estimators import TwoWayDID
from experiments.run.resume import read_log
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis import fits
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import FirstPass
from results.diagnosis.power import Exceedances, UpperTail
from results.store import ZarrStore
from results.store.repair import verified
from sim.presets import Paper


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cells of 160 replications in three blocks, the last one not full, and four worlds."""
    path = tmp_path_factory.mktemp("reading") / "store.zarr"
    study = Study("reading", Paper(), (TwoWayDID(errors=("iid", "cluster:unit")),), grid={"effect": (0.0, 0.0157)},
                  replications=160, block=64, worlds=2)  # type: ignore[arg-type]  # fmt: skip
    run(study, store=path)
    return path


def frame(path: Path, monkeypatch: pytest.MonkeyPatch, budget: int, cores: int) -> pd.DataFrame:
    monkeypatch.setattr(fits, "BUDGET", budget)
    monkeypatch.setattr(fits.os, "cpu_count", lambda: cores)
    return diagnose(ZarrStore.open(path)).frame


def test_bits_do_not_depend_on_the_cache_or_on_threads_and_hardly_on_the_pieces_in_which_fits_are_judged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = frame(path, monkeypatch, 2**28, 1)
    assert expected["measure"].eq("size_adjusted_power").any()
    for budget, cores in ((0, 1), (0, 4), (2**28, 4)):
        pd.testing.assert_frame_equal(frame(path, monkeypatch, budget, cores), expected, check_exact=True)
    monkeypatch.setattr(fits, "PIECE", 48)
    found = frame(path, monkeypatch, 2**28, 1)
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=1e-9, atol=1e-13)


def test_estimators_of_a_piece_are_judged_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell and two cores: both estimators at once, to the same bits."""
    estimators = (TwoWayDID(errors=("iid",)), TwoWayDID(label="other", errors=("hc1",)))
    study = Study("beside", Paper(), estimators, replications=64, block=64)
    run(study, store=tmp_path / "store.zarr")
    expected = frame(tmp_path / "store.zarr", monkeypatch, 2**28, 1)
    both, add = threading.Barrier(2), FirstPass.add

    def waits(first: FirstPass, *given: Any) -> None:
        both.wait(30.0)
        add(first, *given)

    monkeypatch.setattr(FirstPass, "add", waits)
    pd.testing.assert_frame_equal(frame(tmp_path / "store.zarr", monkeypatch, 2**28, 2), expected, check_exact=True)


def test_items_are_got_ahead_in_order_and_errors_are_raised() -> None:
    """The second item is got while the first is used; the error comes after the items before it."""
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        second.set()
        yield 1
        raise OSError("gone")

    got = fits.ahead(items())
    assert next(got) == 0
    assert second.wait(30.0)
    assert next(got) == 1
    with pytest.raises(OSError, match="gone"):
        next(got)


def test_a_block_that_changes_between_two_readings_is_named(path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(path, tmp_path / "copy.zarr")
    store, chunks = ZarrStore.open(copy), copy / "did" / "estimate"
    assert [len(list(store.blocks(0))) for _ in range(2)] == [3, 3]
    good, other = ((chunks / f"c.0.{block}.0").read_bytes() for block in (0, 1))
    for bad in (other, good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]):  # whole, but of another block; a bit
        (chunks / "c.0.0.0").write_bytes(bad)
        refuses("block 0 of cell 0 is damaged", lambda: list(store.blocks(0)))
    (chunks / "c.0.0.0").write_bytes(good)
    assert len(list(store.blocks(0))) == 3


def test_a_tail_of_many_blocks_and_what_reaches_it() -> None:
    rng = np.random.default_rng(20)
    null = np.abs(rng.standard_normal((60_000, 2, 3))).round(4)  # with ties
    null[::7, 1, 2] = np.nan
    tail = UpperTail((~np.isnan(null)).sum(axis=0).astype(float), 0.05)
    for rows in np.array_split(null, 41):
        tail.add(rows)
    values = tail.values
    assert len(values) == tail.kept < 4000
    for e, k in np.ndindex(2, 3):
        column = null[:, e, k]
        np.testing.assert_array_equal(values[:, e, k], np.sort(column[~np.isnan(column)])[-tail.kept :])
    cell = np.abs(rng.standard_normal((9000, 2, 3)) + np.array([0.0, 2.0, 9.0])).round(4)
    cell[5::11, 0, 1] = np.nan
    above = Exceedances(values, [0, 2])
    for rows in np.array_split(cell, 5):
        above.add(rows)
    for e, k in np.ndindex(2, 3):
        reached = [np.count_nonzero(cell[:, e, k] >= value) for value in values[::-1, e, k]]
        np.testing.assert_array_equal(above.counts[:, e, k], reached if k != 1 else 0)
    np.testing.assert_array_equal(above.n, (~np.isnan(cell)).sum(axis=0))


def work_of_a_resume(path: Path, blocks: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What a run into a store with one block missing of two cells does with files of the store."""
    study, counts = many_blocks(2, blocks), Counter[str]()
    fabricated(study, path, without=[(1, 3)])
    with monkeypatch.context() as patch:
        opening, listing = os.open, os.scandir

        def opened(name: Any, *others: Any, **more: Any) -> int:
            if str(name).startswith(str(path)):
                inner = str(name).removeprefix(f"{path}/")
                kind = "others" if "/c." not in inner else "marks" if inner.startswith("block_mark/") else "numbers"
                counts[kind if inner.count(".") > 2 or kind == "marks" else "others"] += 1
            return opening(name, *others, **more)

        def listed(name: Any = ".") -> Any:
            counts[f"listing of {os.path.relpath(name, path)}"] += 1
            return listing(name)

        patch.setattr(os, "open", opened)
        patch.setattr(os, "scandir", listed)
        run(study, store=path)
    commits = [(line["cell"], line["block"]) for line in read_log(path) if line["event"] == "commit"]
    assert commits == [(1, 3)]
    return counts


@pytest.mark.long
def test_a_resume_opens_each_mark_once_a_look_and_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = work_of_a_resume(tmp_path / "few.zarr", 50, monkeypatch)
    many = work_of_a_resume(tmp_path / "many.zarr", 300, monkeypatch)
    assert (few.pop("marks"), many.pop("marks")) == (2 * 50 - 1, 2 * 300 - 1)
    assert few == many, "all else is the same whatever the number of blocks"
    assert not many["numbers"]
    assert many["listing of block_mark"] == 1, "for the marks"
    assert all(many[f"listing of {name}"] == 1 for name in ("truth", "did/estimate", "did/inference", "did/fit"))
    assert verified(tmp_path / "many.zarr").lines == ("600 of 600 blocks sound, 0 not run, 0 poisoned, 0 damaged",)


def test_small_blocks_are_judged_together_but_never_over_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fabricated(many_blocks(1, 140), tmp_path / "x.zarr", without=[(0, 5)])
    pieces = list(fits.Reading(store).pieces(0))
    assert [(piece.start, piece.replications) for piece in pieces] == [
        (0, 5 * BLOCK), (6 * BLOCK, 128 * BLOCK), (134 * BLOCK, 6 * BLOCK)
    ]  # fmt: skip
    joined = np.concatenate([piece.truth["att"] for piece in pieces])
    np.testing.assert_array_equal(joined, np.concatenate([block.truth["att"] for block in store.blocks(0)]))
    together = diagnose(store).frame
    monkeypatch.setattr(fits, "JOINED", 1)
    pd.testing.assert_frame_equal(diagnose(store).frame, together, rtol=1e-9, check_exact=False)


def test_what_is_kept_of_a_block_that_was_sound_is_a_number(tmp_path: Path) -> None:
    """Readers keep nothing else of the blocks that they have read."""
    store = fabricated(many_blocks(1, 40), tmp_path / "x.zarr")
    before = len(store._blocks._last)
    store.content_hash()
    assert len(store._blocks._last) <= before + 1
    assert np.count_nonzero(store._sound) == 40
