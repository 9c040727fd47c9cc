"""Code that a store names: a stranger's store runs none of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.discovery import INLINE
from sim.errors import bad, listed


def named_code(settings: Any) -> list[str]:
    """Every kind "module:Object" in a study's settings, whose module would be imported."""
    return list(dict.fromkeys(_named(settings)))


def _named(settings: Any) -> Iterator[str]:
    if isinstance(settings, list):
        for item in settings:
            yield from _named(item)
    elif isinstance(settings, dict):
        for key, value in settings.items():
            if key in {"kind", "estimator"} and isinstance(value, str):
                if ":" in value and not value.startswith(INLINE):
                    yield value
            else:
                yield from _named(value)


def check_trusted(settings: Any, where: str) -> None:
    """Raise BadInput for a store whose study names code that is not panelproof's own."""
    if found := named_code(settings):
        raise bad(f"its study names code that would be imported: {listed(found)}", where=where,
                  allowed="a store of built-in kinds, or one that you trust",
                  remedy="say --trust (in Python trust=True) if this store is yours")  # fmt: skip
