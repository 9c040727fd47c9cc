"""Spillovers: the effect beside the treatment of the neighbours (Butts 2023)."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.checks.case import Case
from results.tables.records import Check

NAME = "spillovers"
ORDER = 72


def alternatives(case: Case) -> Iterator[str]:
    """With W D of the main W."""
    if case.treated:
        yield from (f"neighbours:{name}" for name in [*case.panel.weights][:1])


def check(case: Case) -> Iterator[Check]:
    """The difference that the neighbours' treatment makes to the effect of the own one."""
    words = {
        text: f"beside the treatment of the neighbours (W {text.partition(':')[2]})" for text in alternatives(case)
    }
    found = case.judged("spillovers", tuple(words), words, remedy="print a spatial model, or leave neighbours of "
                        "treated units out of the comparison")  # fmt: skip
    if found is not None:
        yield found
