"""What speaks for and against an estimate: one module a subject, found by being there.

Each module has `check(case)`, which yields `Check` records, NAME, what it is called in words, and ORDER, its place
among the others. One that estimates in another way also has `alternatives(case)`, which yields those texts of
`estimators.sensitivity.differences`; they are tested together, as one family. What its panel cannot have a module
leaves out, and what was refused is a record that says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.checks.check import modules
from experiments.plugin_contracts import asking
from results.tables.records import SILENT, Check
from sim.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.checks.case import Case


def checks_of(
    case: Case, critical: float | None = None, usual: Mapping[str, float] | None = None
) -> tuple[Check, ...]:  # fmt: skip
    """Every check of a case; critical: the value of |t| that the whole family of differences is held to, None = that of
    a multiplier bootstrap; usual: t that sound panels have, by alternative. The specification curve goes to the figures
    of the case's ledger."""
    case = case if critical is None else replace(case, critical=critical, usual=usual or {})
    found: list[Check] = []
    for module in modules():
        with asking(module, "check"):
            try:
                for check in module.check(case):  # one by one: those before a refusal, which ends the module, are kept
                    if not isinstance(check, Check):
                        raise TypeError(f"it yielded {check!r:.40}, no Check")
                    found.append(check)
            except BadInput as refusal:
                name = module.__name__.rpartition(".")[2]
                why = "; ".join(problem.what for problem in refusal.problems)
                said = f"The checks of {module.NAME} do not apply to this panel: {why}."
                found.append(Check.fact(f"not-checked:{name}", SILENT, said))
    return tuple(found)
