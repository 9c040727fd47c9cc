"""One BLAS thread around what is computed once and kept: its bits must not depend on who asked first."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps

from threadpoolctl import ThreadpoolController


def one_thread[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """The same function with the BLAS held to one thread while it runs."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@cache
def _controller() -> ThreadpoolController:
    """That of the BLAS of numpy and of scipy; to find them in a process takes long."""
    import scipy.linalg  # noqa: F401  (it brings the second one)

    return ThreadpoolController()
