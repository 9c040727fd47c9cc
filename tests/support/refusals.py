"""Calls that are bad input."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim import BadInput


def refuses(words: str, call: Callable[[], object], count: int | None = None) -> None:
    """The call is bad input with these words, a pattern, and says each problem, of which there are so many, in one
    line."""
    with pytest.raises(BadInput, match=words) as caught:
        call()
    assert len(str(caught.value).splitlines()) == len(caught.value.problems) == (count or len(caught.value.problems))
