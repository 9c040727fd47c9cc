"""A fit that exits, crashes, hangs or fills memory costs its own replication and is named; the rest stays as it is."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import commands
import numpy as np
import pytest
from harmful_fits import HOW

from estimators import Status
from results.store import ZarrStore
from sim.streams import TILE
from studies import SHORT

pytestmark = pytest.mark.long

STUDY = (
    SHORT
    + """[[estimators]]
kind = "harmful_fits:{kind}"
label = "harmful"
harms = [{harms}]
[[estimators]]
kind = "did"
[cluster]
where = "serial"
memory = "700MB"
block_timeout = 3
"""
)
REASONS = {"exits": "exited with code 0", "dies": "SIGSEGV", "hangs": "ran longer", "fills": "MiB of memory"}
SUPPORT = Path(__file__).resolve().parent.parent / "support"


def run_study(folder: Path, kind: str, *harms: str) -> subprocess.CompletedProcess[str]:
    text = STUDY.format(kind=kind, harms=", ".join(f'"{harm}"' for harm in harms))
    (folder / f"{len(harms)}.toml").write_text(text)
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    words = ("run", f"{len(harms)}.toml", "--store", f"{len(harms)}.zarr")
    return commands.run(folder, *words, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize(("kind", "harms"), [("Harmful", tuple(HOW)), ("HarmfulTiles", ("dies",))])
def test_harm_costs_one_replication_each(kind: str, harms: tuple[str, ...], tmp_path: Path) -> None:
    """All others keep their bits; only an estimator that takes tiles as they are rounds the rest of that tile anew."""
    whole = run_study(tmp_path, kind)
    assert whole.returncode == 0, whole.stderr
    ran = run_study(tmp_path, kind, *harms)
    assert ran.returncode == 3, ran.stdout + ran.stderr
    good, harmed = (ZarrStore.open(tmp_path / f"{count}.zarr") for count in (0, len(harms)))
    status = np.concatenate([block.estimates["harmful"].status for block in harmed.blocks(0)])
    assert np.flatnonzero(status == Status.ERROR).tolist() == sorted(HOW[harm] for harm in harms)
    others = np.flatnonzero(status != Status.ERROR)
    for name in ("harmful", "did"):
        ours, theirs = (np.concatenate([block.estimates[name].se for block in store.blocks(0)])[others]
                        for store in (harmed, good))  # fmt: skip
        anew = np.isin(others // TILE, [HOW[harm] // TILE for harm in harms]) & (kind == "HarmfulTiles")
        np.testing.assert_array_equal(ours[~anew], theirs[~anew])
        np.testing.assert_allclose(ours[anew], theirs[anew], rtol=1e-12)
    for harm in harms:
        replication = HOW[harm]
        text = harmed.tracebacks[f"cell 0 block {replication // 64} replication {replication} harmful"]
        assert REASONS[harm] in text
        assert re.search(rf"panelproof replay {len(harms)}.zarr 0 {replication}\b", " ".join(ran.stdout.split()))
