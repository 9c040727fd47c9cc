"""Same code or no work: odd workers are left out and named, code is sent where it is all that differs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from distributed import Client
from odd_workers import edited_copy, panelproof
from real_parts import by_command_line, start

from results.store import ZarrStore
from studies import SHORT

pytestmark = pytest.mark.long

STUDY = f"""{SHORT}[[estimators]]
kind = "made_up_plug_in:Mine"
label = "mine"
"""
PLUG_IN = """
from typing import ClassVar
from estimators import TwoWayDID

class Mine(TwoWayDID):
    kind: ClassVar[str] = "mine"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made_up_plug_in.py").write_text(PLUG_IN)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def words(text: str) -> str:
    return " ".join(text.split())


def test_one_odd_worker_of_two_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("made_up_plug_in:Mine", "did"))
    with by_command_line(tmp_path, workers=1) as cluster:
        here = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard")
        worker = (sys.executable, "-m", "dask", "worker", cluster.where, *here)
        cluster.processes["odd"] = start(tmp_path, *worker, OPENBLAS_L2_SIZE="333")
        with Client(cluster.where) as client:
            client.wait_for_workers(2, timeout=60)
        checked = panelproof(tmp_path, "cluster", "check", cluster.where, "--study", "study.toml", "--json")
        assert checked.returncode == 1
        facts = json.loads(checked.stdout)
        assert sorted(item["fit"] for item in facts["workers"]) == [False, True]
        assert facts["pilot_seconds"] > 0
        assert facts["bytes_a_second"] > 0
        ran = panelproof(tmp_path, "run", "study.toml", "--cluster", cluster.where, "--store", "x.zarr")
        assert ran.returncode == 0, ran.stderr
        assert "differs from the client: BLAS" in words(ran.stdout)
        assert "L2 333 KB" in words(ran.stdout)
        assert "OPENBLAS_L2_SIZE=" in words(ran.stdout)
    alone = panelproof(tmp_path, "run", "study.toml", "--cluster", "serial", "--store", "alone.zarr")
    assert alone.returncode == 0, alone.stderr
    one, two = (ZarrStore.open(tmp_path / name).content_hash() for name in ("x.zarr", "alone.zarr"))
    assert one == two


def test_code_is_sent_where_it_is_all_that_differs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Workers with an edited copy and without the plug-in: refused in words, then served by --ship-code."""
    copy = tmp_path_factory.mktemp("copy")
    with by_command_line(copy, workers=1, path=edited_copy(copy)) as cluster:
        run = ("run", "study.toml", "--cluster", cluster.where, "--store", "x.zarr")
        refused = panelproof(folder, *run)
        assert refused.returncode == 2
        assert "made_up_plug_in" in refused.stderr
        assert "--ship-code" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "killed" not in refused.stdout + refused.stderr
        sent = panelproof(folder, *run, "--ship-code")
        assert sent.returncode == 0, sent.stdout + sent.stderr
    assert panelproof(folder, "run", "study.toml", "--cluster", "serial", "--store", "alone.zarr").returncode == 0
    one, two = (ZarrStore.open(folder / name).content_hash() for name in ("x.zarr", "alone.zarr"))
    assert one == two
