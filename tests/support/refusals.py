"""Calls that are bad input."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim import BadInput


def refuses(words: str, call: Callable[[], object]) -> None:
    """The call is bad input, said in one line with these words, a pattern."""
    with pytest.raises(BadInput, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
