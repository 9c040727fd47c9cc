"""Code that a store names: a stranger's store runs none of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim.errors import bad, listed
from sim.registry import INLINE


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
    refuse_code(named_code(settings), where, "store")


def refuse_code(found: list[str], where: str, what: str) -> None:
    """Raise BadInput for a store or a bundle that names code, where there is any."""
    if found:
        known = f"if this {what} is yours" if what == "store" else "if you have read its code"
        raise bad(f"its study names code that would be imported: {listed(found)}", where=where,
                  allowed=f"a {what} of built-in kinds, or one that you trust",
                  remedy=f"say --trust (in Python trust=True) {known}")  # fmt: skip
