"""Two hosts, each with a worker: the link between them is cut in mid-run, and the run ends with the serial hash."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import commands
import pytest
from real_parts import PATH, NotHere, ended, wait_until
from two_hosts import FAR, NEAR, Hosts, two_hosts

from experiments.run.resume import read_log
from results.store import ZarrStore
from studies import SHORT

pytestmark = pytest.mark.long

SLOW = """
import os, time
from typing import ClassVar
from estimators import TwoWayDID

class Slow(TwoWayDID):
    kind: ClassVar[str] = "slow"

    def solve(self, plan, moments, schema, streams):
        time.sleep(float(os.environ.get("SECONDS_OF_A_BLOCK", "0.2")))
        return TwoWayDID.solve(self, plan, moments, schema, streams)
"""
REPLICATIONS = 64 * 26
STUDY = f"""{SHORT.replace("128", str(REPLICATIONS))}[[estimators]]
kind = "slow_plug_in:Slow"
"""
CLOCKS = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
}


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    try:
        with two_hosts() as made:
            yield made
    except NotHere as reason:
        pytest.skip(f"TWO HOSTS ARE NOT TESTED HERE: {reason}")


def commits(store: Path) -> int:
    return sum(event["event"] == "commit" for event in read_log(store))


def test_a_cut_link_costs_a_run_time_alone(hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "slow_plug_in.py").write_text(SLOW)
    (tmp_path / "study.toml").write_text(STUDY)
    file, dask, path = tmp_path / "scheduler.json", (sys.executable, "-m", "dask"), {"PYTHONPATH": f"{tmp_path}:{PATH}"}
    alone = commands.run(tmp_path, "run", "study.toml", "--cluster", "serial", "--store", "alone.zarr",
                         env={**os.environ, **path, "SECONDS_OF_A_BLOCK": "0"})  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    processes = [hosts.start(hosts.near, tmp_path, *dask, "scheduler", "--host", NEAR, "--port", "0", "--no-dashboard",
                             "--scheduler-file", str(file), **CLOCKS)]  # fmt: skip
    try:
        wait_until(lambda: file.exists() and file.read_text(), 60, "the start of a scheduler")
        address = json.loads(file.read_text())["address"]
        for host, own in ((hosts.near, NEAR), (hosts.far, FAR)):
            processes.append(hosts.start(host, tmp_path, *dask, "worker", address, "--nthreads", "1", "--host", own,
                                         "--no-dashboard", "--name", own, **path))  # fmt: skip
        wait_until(lambda: (tmp_path / "output.txt").read_text().count("Registered to:") == 2, 60, "two workers")
        run = hosts.start(hosts.near, tmp_path, sys.executable, "-m", "experiments", "run", "study.toml", "--cluster",
                          address, "--insecure", "--store", "x.zarr", **path)  # fmt: skip
        processes.append(run)
        wait_until(lambda: commits(tmp_path / "x.zarr") >= 10, 60, "ten blocks")
        assert run.poll() is None
        hosts.cut()
        assert run.wait(timeout=200) == 0, (tmp_path / "output.txt").read_text()
    finally:
        for process in reversed(processes):
            ended(process)
    one, two = (ZarrStore.open(tmp_path / name).content_hash() for name in ("x.zarr", "alone.zarr"))
    assert one == two
    went = [event["worker"] for event in read_log(tmp_path / "x.zarr") if event["event"] == "left"]
    assert [worker.partition("//")[2].rpartition(":")[0] for worker in went] == [FAR]
