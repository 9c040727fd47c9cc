"""A user's own Dask Client, and what is no place to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from cluster import Serial
from experiments.run.runner import run
from results.store import ZarrStore
from sim.errors import BadInput
from studies import small_study


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One worker with two threads, as a user may have started it."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_a_running_client_is_used_and_left_open(client: Client, tmp_path: Path) -> None:
    run(small_study(), store=tmp_path / "serial.zarr")
    for number in range(2):
        run(small_study(), store=tmp_path / f"{number}.zarr", client=client)
        assert client.status == "running"
        assert client.submit(sum, [1, 2]).result() == 3
    hashes = {ZarrStore.open(path).content_hash() for path in tmp_path.glob("*.zarr")}
    assert len(hashes) == 1


def test_what_is_no_executor_is_said_in_one_line(client: Client) -> None:
    for given, words in (
        ({"executor": client}, "executor is a Client; .*pass a Dask Client as client="),
        ({"executor": "local"}, "executor is a str; allowed: what cluster.open_executor returns"),
        ({"client": Serial()}, "client is a Serial that cannot be used; allowed: a running Dask Client"),
        ({"client": client, "executor": Serial()}, "leave one out"),
    ):
        with pytest.raises(BadInput, match=words) as error:
            run(small_study(), **given)  # type: ignore[arg-type]
        assert len(str(error.value).splitlines()) == 1


def test_a_closed_client_is_refused(client: Client) -> None:
    closed = Client(client.scheduler.address)
    closed.close()
    with pytest.raises(BadInput, match="a running Dask Client"):
        run(small_study(), client=closed)
