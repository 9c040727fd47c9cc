"""Which error type to print, and why: what must hold for each type first, its size on twins second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from estimators.core.error_types import error_label
from estimators.linear.did import TwoWayDID
from experiments.trust.claim import assigned_by
from experiments.trust.studies import LEVEL, Measure
from sim.panel import Panel

NEAR = 2.0  # Monte Carlo errors within which a size counts as the nominal one
TOLERANCE = 0.01  # distance from 5% that is none
FEWEST = {"cluster": 30.0, "cr2": 4.0, "cv3": 8.0}  # clusters, in effect, that a kind of errors can rest on
FEWEST_TREATED = {"cluster": 20, "cr2": 4, "cv3": 8}  # clusters with treated units, and as many with untreated ones
FOR_FEW = ("conley-taber", "ferman-pinto")  # they take treated and other units as equally noisy
FEW_TREATED = 4  # treated units below which no clustered errors serve


@dataclass(frozen=True, slots=True)
class Advice:
    """The error type to print and its reason in words; forbidden: why others may not be printed, by error type."""

    error: str
    reason: str
    forbidden: Mapping[str, str]


def forbidden_of(errors: tuple[str, ...], panel: Panel) -> dict[str, str]:
    """Why error types may not be printed on a panel, whatever their size on twins, by error type."""
    group, own = assigned_by(panel), panel.roles.treatment
    treated = int((panel.variables[own][0] > 0).any(axis=0).sum()) if own else 0
    out = {}
    for error in errors:
        kind, _, name = error.partition(":")
        said = _too_few(kind, name, panel) if kind in FEWEST and own and "+" not in name else ""
        if not said and kind in FOR_FEW and treated >= FEW_TREATED:
            said = f"these take treated and other units as equally noisy, which {treated} treated units need not"
        if not said and group and (kind not in FEWEST or name != group):
            said = f"whole groups ({group}) adopt together, so that errors must allow for shocks of a {group}"
        if not said and 0 < treated < FEW_TREATED and kind not in FOR_FEW:
            said = f"treated units: {treated}, needed: {FEW_TREATED}"
        if said:
            out[error] = said
    return out


def _too_few(kind: str, name: str, panel: Panel) -> str:
    """What clustered errors lack, in words; "" = nothing."""
    facts = TwoWayDID(errors=("iid",)).cluster_facts(panel, name)
    effective, treated, others = (float(values[0]) for values in (facts.effective, facts.treated, facts.untreated))
    if min(treated, others) < FEWEST_TREATED[kind]:
        which = "treated" if treated <= others else "untreated"
        return f"clusters with {which} units: {min(treated, others):.0f}, needed: {FEWEST_TREATED[kind]}"
    if effective < FEWEST[kind]:
        return f"clusters: {facts.clusters}, which count as {effective:.1f}, needed: {FEWEST[kind]:.0f}"
    return ""


def advice(sizes: Mapping[str, Measure], printed: str, forbidden: Mapping[str, str]) -> Advice:
    """The printed type where it is allowed and its size is right, else the allowed one whose size is nearest to 5%.

    Of sizes that differ from 5%, those above it count double: too many false findings are worse than too few. Where no
    type is allowed, the one of the nearest size among those for few treated, else among all.
    """
    known = [error for error, size in sizes.items() if size.value == size.value]
    allowed = [error for error in known if error not in forbidden]
    if printed in allowed and _excess(sizes[printed]) == 0.0:
        return Advice(printed, f"its test rejects in {sizes[printed].value:.1%} of twins without an effect", forbidden)
    choice = allowed or [error for error in known if error in FOR_FEW] or known
    best = min(choice, key=lambda error: (_excess(sizes[error]), abs(sizes[error].value - LEVEL)), default=printed)
    if not known:
        return Advice(printed, "no error type could be judged on twins", forbidden)
    if not allowed:
        return Advice(best, f"no error type is safe here, and errors {error_label(best)} come nearest to the right "
                      f"size: {'; '.join([*dict.fromkeys(forbidden.values())][:2])}", forbidden)  # fmt: skip
    why = f"the test of errors {error_label(printed)} rejects in {sizes[printed].value:.1%} of twins without an effect"
    if printed in forbidden:
        why = f"errors {error_label(printed)} are not to be printed here ({forbidden[printed]})"
    if best == printed:
        return Advice(best, f"no other has a size nearer to 5%: {sizes[best].value:.1%} on twins", forbidden)
    return Advice(best, f"{why}; the test of errors {error_label(best)} rejects in {sizes[best].value:.1%}", forbidden)


def _excess(size: Measure) -> float:
    gap = size.value - LEVEL
    beyond = max(abs(gap) - TOLERANCE - NEAR * size.mcse, 0.0)
    return beyond * (2.0 if gap > 0 else 1.0)
