"""What disagrees in the estimates of a panel: one module a group of warnings, found by being there.

Each module has `check(case)`, which yields `PanelWarning` records, and ORDER, its place among the others; what its
panel cannot have it leaves out, and what was refused is a record that says so.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

from results.tables.warning import SILENT, PanelWarning
from sim.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from experiments.application.spec.spec import RealPanel
    from experiments.application.tables.ledger import Ledger

NOT_CHECKS = ("case", "wording")


def warnings_of(real: RealPanel, ledger: Ledger) -> tuple[PanelWarning, ...]:
    """Every check of a panel whose tables are in the ledger; the specification curve goes to the ledger's figures."""
    from experiments.application.warnings.case import Case

    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name not in NOT_CHECKS]
    modules = sorted((import_module(f"{__name__}.{name}") for name in names), key=lambda module: module.ORDER)
    case = Case.of(real, ledger)
    return tuple(warning for module in modules for warning in _checked(module, case))


def _checked(module: object, case: object) -> Iterator[PanelWarning]:
    """The records of one module; a refusal ends it and is a record itself."""
    try:
        yield from module.check(case)  # type: ignore[attr-defined]
    except BadInput as refusal:
        name = module.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
        why = "; ".join(problem.what for problem in refusal.problems)
        yield PanelWarning(f"not-checked:{name}", SILENT, f"The checks of {name} do not apply to this panel: {why}.")
