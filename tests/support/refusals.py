"""Calls that are bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sim import BadInput


def refuses(words: str, call: Callable[..., object], *given: Any, **named: Any) -> BadInput:
    """The call is bad input with these words, a pattern, and says each problem in one line: what it raised."""
    with pytest.raises(BadInput, match=words) as caught:
        call(*given, **named)
    assert len(str(caught.value).splitlines()) == len(caught.value.problems)
    return caught.value
