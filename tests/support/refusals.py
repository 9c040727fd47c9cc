"""Calls that are bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sim import BadInput


def refuses(words: str, call: Callable[..., object], *given: Any, count: int | None = None, **named: Any) -> BadInput:
    """The call is bad input with these words, a pattern, and says each problem, of which there are so many, in one
    line: what it raised."""
    with pytest.raises(BadInput, match=words) as caught:
        call(*given, **named)
    problems = caught.value.problems
    assert len(str(caught.value).splitlines()) == len(problems) == (count or len(problems))
    return caught.value
