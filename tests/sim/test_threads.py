"""What is computed once and kept is computed by one thread of the BLAS, whatever the process has."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sim.weights import one_thread


def threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@one_thread
def within() -> list[int]:
    return threads()


@one_thread
def failing() -> None:
    raise ValueError("no root")


def test_the_blas_of_numpy_and_of_scipy_has_one_thread_inside_and_its_own_again_afterwards() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()
        if max(before) < 2:
            pytest.skip("this BLAS has one thread")
        assert set(within()) == {1}
        assert threads() == before
        with pytest.raises(ValueError, match="no root"):
            failing()
        assert threads() == before
