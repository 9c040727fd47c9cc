"""What could overturn a claim: one module a threat, found by being there.

Each has `threat(case)`, which returns a `Threat`, or None where the threat does not apply. What raises BadInput is left
out with its reason.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from estimators.core.inference import critical_values
from experiments.study.study import Study
from experiments.trust.claim import Claim
from experiments.trust.studies import Simulated
from experiments.twins.twin import Twin
from results.store import Store
from results.tables.records import Record
from sim.arrays import Floats
from sim.errors import BadInput, listed

LEVELS = (0.05, 0.10)  # at which a claim counts as significant
TOWARDS_ZERO = "of the outcome, towards zero"


@dataclass(frozen=True, slots=True)
class Threat:
    """A threat: how large it must be to overturn the claim, how large it is in the data, in a unit.

    needed, found: None where there is no such number (no size overturns, or none is found). sentence: in plain words;
    numbers: those of it that stand nowhere else, by name.
    """

    name: str
    needed: float | None
    found: float | None
    unit: str
    overturns: bool
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """What a threat is judged by.

    record: the claim under the error type that is recommended. twin, main: the first method's twin and its study.
    """

    claim: Claim
    record: Record
    printed: str
    recommended: str
    twin: Twin
    main: Simulated
    simulate: Callable[[str, Study], Store]

    @property
    def level(self) -> float | None:
        """The level at which the claim is significant; None = it is not."""
        return next((level for level in LEVELS if (self.record.pvalue or 0.0) <= level), None)

    def margin(self) -> float:
        """The bias that takes the claim's significance away, 0 where it has none."""
        if self.level is None or self.record.se is None:
            return 0.0
        return max(abs(self.claim.estimate) - self.critical(self.level) * self.record.se, 0.0)

    def critical(self, level: float) -> float:
        """The critical value of t: from the record's interval, at another level from its statistic's distribution."""
        dof = self.main_dof
        return float(critical_values(dof, level)[0])

    @property
    def main_dof(self) -> Floats:
        """Degrees of freedom of the recommended error type, (1,)."""
        fits = next(iter(self.main.store.blocks(0))).estimates[self.main.estimator]
        found: Floats = fits.dof[:1, fits.errors.index(self.recommended), fits.terms.index(self.claim.term)]
        return found

    def towards_zero(self, estimate: float) -> float:
        """By how much another estimate lies nearer to zero than the claim; negative: it lies further away."""
        return (self.claim.estimate - estimate) * (1.0 if self.claim.estimate > 0 else -1.0)

    def overturned(self, estimate: float, se: float) -> bool:
        """Whether another estimate has the other sign or is not significant at the level at which the claim is."""
        if self.level is None:
            return False
        return estimate * self.claim.estimate <= 0 or abs(estimate) <= self.critical(self.level) * se

    def words(self, over: bool) -> str:
        """What `overturned` found, in words."""
        if self.level is None:
            return "the claim is not significant to begin with"
        return "it is no longer significant with the claim's sign" if over else "it stays significant"


def threats_of(case: Case) -> tuple[tuple[Threat, ...], tuple[str, ...]]:
    """All threats that apply, and why others could not be judged."""
    found, notes = [], []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda item: item.name):
        judged = import_module(f"{__name__}.{module.name}")
        try:
            threat = judged.threat(case)
        except BadInput as error:
            notes.append(f"{judged.NAME.capitalize()} could not be judged: "
                         f"{listed(problem.what for problem in error.problems)}.")  # fmt: skip
            continue
        if threat is not None:
            found.append(threat)
    return tuple(found), tuple(notes)
