"""One BLAS thread around what is computed once and kept: its bits must not depend on who asked first."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from threadpoolctl import threadpool_limits


def one_thread[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """The same function with the BLAS held to one thread while it runs (a few ms: for rare calls)."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with threadpool_limits(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited
