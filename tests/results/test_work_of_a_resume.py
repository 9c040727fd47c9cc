"""The work of a start and of a report follows what is missing, not what is there: counted, because clocks differ."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from many_blocks import BLOCK, fabricated, many_blocks

from experiments.run.resume import read_log
from experiments.run.runner import run
from results.diagnosis import fits
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.repair import verified


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
    many = work_of_a_resume(tmp_path / "many.zarr", 1000, monkeypatch)
    assert (few.pop("marks"), many.pop("marks")) == (2 * 50 - 1, 2 * 1000 - 1)
    assert few == many, "all else is the same whatever the number of blocks"
    assert not many["numbers"]
    assert many["listing of block_mark"] == 1, "for the marks"
    assert all(many[f"listing of {name}"] == 1 for name in ("truth", "did/estimate", "did/inference", "did/fit"))
    assert verified(tmp_path / "many.zarr").lines == ("2000 of 2000 blocks sound, 0 not run, 0 poisoned, 0 damaged",)


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
    assert isinstance(store, ZarrStore)
