"""An object store on this machine, and a place in it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from object_server import BUCKET, served

from results.store.bucket import ObjectPath

_numbers = count()


@pytest.fixture(scope="session")
def object_server() -> Iterator[dict[str, str]]:
    """The variables of the environment by which the object store of the tests is found."""
    with served() as variables:
        yield variables


@pytest.fixture
def place(object_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """Where a test may have a store, in an object store that this process finds."""
    for name, value in object_server.items():
        monkeypatch.setenv(name, value)
    return ObjectPath("s3", BUCKET, f"runs/{next(_numbers)}/x.zarr")
