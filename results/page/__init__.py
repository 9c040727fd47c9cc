"""The base of every HTML page: one template, one stylesheet, one script for tables at most, and no other files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

SYNTHETIC = "All data are synthetic: drawn by computer from a design whose true effects are known."


def page(package: str, **filters: Callable[..., Any]) -> Environment:
    """Templates of a package that extend base.html, with further filters by name."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("results.page", ".")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"thousands": lambda value: f"{value:,}" if isinstance(value, int) else value} | filters
    return environment
