"""The campaign of faults in short: each recipe once or twice. `make faults` runs the long one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import recipes
from checker import committed, endings, lost

from experiments.run.resume import log_of, read_log
from experiments.run.runner import run
from results.store import ZarrStore
from studies import quick_study


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return recipes.serial_hash(tmp_path_factory.mktemp("serial"))


@pytest.mark.long
@pytest.mark.parametrize(
    "recipe",
    [
        lambda folder, reference: recipes.killed_clients(folder, reference, 2),
        recipes.full_disk,
        recipes.file_size_limit,
        recipes.silent_damage,
    ],
    ids=["client", "disk", "limit", "silent"],
)
def test_a_fault_loses_nothing(recipe, reference: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    found = recipe(tmp_path, reference)
    if "SKIPPED" in found.said:
        pytest.skip(found.said)
    assert found.holds, found.said


def test_the_checker_sees_a_lost_block_and_another_digest(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    run(quick_study(128), store=store)
    assert len(committed(store)) == 4
    assert lost(store) == []
    assert endings(store) == ["done"]
    (store / "truth" / "c.1.0.0").unlink()
    assert lost(store) == [(1, 0)]
    text = log_of(store).read_text()
    log_of(store).write_text(text + text.replace('"digest": "', '"digest": "00') + '{"event": "sta')
    with pytest.raises(AssertionError, match="two digests of block"):
        committed(store)
    assert len(read_log(store)) == 12, "a line that was cut is no event"
    assert ZarrStore.open(store).state(0, 0) is not None
