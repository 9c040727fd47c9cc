"""Missing cells: the effect on the units that have none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from experiments.checks.case import Case
from results.tables.records import Check

NAME = "missing cells"
ORDER = 75
BALANCED = "balanced"


def alternatives(case: Case) -> Iterator[str]:
    """On the balanced part."""
    if not case.panel.balanced:
        yield BALANCED


def check(case: Case) -> Iterator[Check]:
    """The difference to the balanced part, which twins are fitted to."""
    found = case.judged("missing-cells", (BALANCED,), {BALANCED: f"on each {case.unit} without a missing cell"},
                        remedy="say why cells are missing")  # fmt: skip
    if found is not None:
        share = 1.0 - case.panel.nobs / (len(case.panel.units) * len(case.panel.periods))
        yield replace(found, numbers={**found.numbers, "share": share})
