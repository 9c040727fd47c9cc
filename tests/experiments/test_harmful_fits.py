"""A fit that exits, crashes, hangs or fills memory costs its own replication and is named; the rest stays as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harmful_fits import HOW

from estimators import Status
from results.store import ZarrStore

STUDY = """
replications = 128
block = 64
seed = 5
[design]
kind = "paper"
controls = "none"
[[estimators]]
kind = "harmful_fits:Harmful"
label = "harmful"
harms = [{harms}]
[[estimators]]
kind = "did"
[cluster]
where = "{where}"
memory = "1500MB"
block_timeout = 3
"""
SUPPORT = Path(__file__).resolve().parent.parent / "support"


def run_study(folder: Path, where: str, *harms: str) -> subprocess.CompletedProcess[str]:
    text = STUDY.format(where=where, harms=", ".join(f'"{harm}"' for harm in harms))
    (folder / f"{where}{len(harms)}.toml").write_text(text)
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    workers = ["--workers", "2"] if where == "local" else []
    command = [sys.executable, "-m", "experiments", "run", f"{where}{len(harms)}.toml", *workers]
    return subprocess.run([*command, "--store", f"{where}{len(harms)}.zarr"], cwd=folder, capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": path}, timeout=240)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("where", "harms"), [("serial", tuple(HOW)), ("local", ("dies",))])
def test_harm_costs_one_replication_each(where: str, harms: tuple[str, ...], tmp_path: Path) -> None:
    whole = run_study(tmp_path, where)
    assert whole.returncode == 0, whole.stderr
    ran = run_study(tmp_path, where, *harms)
    assert ran.returncode == 3, ran.stdout + ran.stderr
    good, harmed = (ZarrStore.open(tmp_path / f"{where}{count}.zarr") for count in (0, len(harms)))
    status = np.concatenate([block.estimates["harmful"].status for block in harmed.blocks(0)])
    assert np.flatnonzero(status == Status.ERROR).tolist() == sorted(HOW[harm] for harm in harms)
    others = np.flatnonzero(status != Status.ERROR)
    for name in ("harmful", "did"):
        ours, theirs = (np.concatenate([block.estimates[name].se for block in store.blocks(0)])
                        for store in (harmed, good))  # fmt: skip
        np.testing.assert_array_equal(ours[others], theirs[others])
    reasons = {"exits": "exited with code 0", "dies": "SIGSEGV", "hangs": "ran longer", "fills": "MiB of memory"}
    for harm in harms:
        replication, reason = HOW[harm], reasons[harm]
        text = harmed.tracebacks[f"cell 0 block {replication // 64} replication {replication} harmful"]
        assert reason in text
        assert re.search(rf"panelproof replay {where}{len(harms)}.zarr 0 {replication}\b", ran.stdout)
