"""Calls that are bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sim import BadInput


def refuses(words: str, call: Callable[..., object], *given: Any, count: int | None = None, **named: Any) -> BadInput:
    """The call is bad input with these words, a pattern ("" is any), and says each problem, of which there are so many,
    in one line: what it raised."""
    with pytest.raises(BadInput, match=words or None) as caught:
        call(*given, **named)
    problems = caught.value.problems
    assert len(str(caught.value).splitlines()) == len(problems) == (count or len(problems))
    return caught.value


def refuses_all(parts: Iterable[str], call: Callable[..., object], *given: Any, where: str = "",
                count: int | None = None) -> BadInput:  # fmt: skip
    """The call is bad input whose text holds all these parts; each problem, which begins with `where`, says what is
    wrong, where, what is allowed and what to do."""
    caught = refuses("", call, *given, count=count)
    assert [part for part in parts if part not in str(caught)] == [], str(caught)
    assert all(p.what and p.where.startswith(where) and p.where and p.allowed and p.remedy for p in caught.problems)
    return caught
