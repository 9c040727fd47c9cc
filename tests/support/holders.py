"""Who holds a lock: threads that take it again and again, and one that is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from results.store.bucket import StorePath
from results.store.lock import StoreLocked, locked


def most_at_once(lock: Callable[[], AbstractContextManager[object]], threads: int, tries: int) -> tuple[int, int]:
    """How many threads held the lock at once at most, and how often it was held."""
    holders, most, entered = [0], [0], [0]

    def try_often() -> None:
        for _ in range(tries):
            try:
                with lock():
                    holders[0] += 1
                    most[0] = max(most[0], holders[0])
                    entered[0] += 1
                    holders[0] -= 1
            except StoreLocked:
                continue

    all_threads = [threading.Thread(target=try_often) for _ in range(threads)]
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join()
    return most[0], entered[0]


def is_refused(store: StorePath, words: str = "in use", error: type[Exception] = StoreLocked) -> str:
    """What is said to one who asks for the lock of a store in vain: these words, a pattern."""
    with pytest.raises(error, match=words) as caught, locked(store):
        pass
    return str(caught.value)
