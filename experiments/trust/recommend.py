"""Which error type to print, and why: what must hold for each type first, its size on twins second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from estimators.core.error_types import error_label, groups_of, kind_of
from estimators.linear.covariances import cells_of
from estimators.linear.did import TwoWayDID
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.checks.inputs import FOR_FEW
from experiments.placebo import answer, prepared
from experiments.run.runner import run
from experiments.tables.ledger import treated_units
from experiments.trust.claim import PanelClaim, assigned_by
from experiments.trust.evidence import LEVEL, MeasureWithError
from experiments.twins.real import Real
from sim.errors import BadInput, listed
from sim.panel import Panel

NEAR = 2.0  # Monte Carlo errors within which a size counts as the nominal one
TOLERANCE = 0.01  # distance from 5% that is none
FEWEST = {"cluster": 30.0, "cr2": 4.0, "cv3": 8.0}  # clusters, in effect, that a kind of errors can rest on
FEWEST_TREATED = {"cluster": 20, "cr2": 4, "cv3": 8}  # clusters with treated units, and as many with untreated ones
ORDER = ("cluster", "cr2", "cv3", *FOR_FEW)
FEW_TREATED = 4  # treated units, or untreated ones, below which no errors serve but those for few treated


def forbidden_of(errors: tuple[str, ...], panel: Panel) -> dict[str, str]:
    """Why error types may not be printed on a panel, whatever their size on twins, by error type."""
    group, own = assigned_by(panel), panel.roles.treatment
    treated = int(treated_units(panel).sum()) if own else 0
    counts = [(treated, "treated")]
    if own and not panel.roles.continuous:  # of few units that are not, the regression is the same, mirrored
        others = TwoWayDID(errors=("iid",)).cluster_facts(panel, "unit").untreated
        counts.append((int(others[0]), "untreated while others are treated"))
    few, which = min(counts)
    out = {}
    for error in errors:
        kind, _, name = error.partition(":")
        groups = [one for one in groups_of(error, (*panel.attributes,)) if one != "period"]
        lacks = (_too_few(kind, one, panel) for one in groups if kind in FEWEST and own)
        said = next(filter(None, lacks), "")
        if not said and kind in FOR_FEW and treated >= FEW_TREATED:
            said = f"these take treated and other units as equally noisy, which {treated} treated units need not"
        if not said and group and (kind not in FEWEST or name != group):
            said = f"whole groups ({group}) adopt together, so that errors must allow for shocks of a {group}"
        if not said and 0 < few < FEW_TREATED and kind not in FOR_FEW:
            said = f"{few} {'unit is' if few == 1 else 'units are'} {which}, and these errors need {FEW_TREATED}"
        if said:
            out[error] = said
    return out


def _too_few(kind: str, name: str, panel: Panel) -> str:
    """What clustered errors lack, in words; "" = nothing."""
    facts = TwoWayDID(errors=("iid",)).cluster_facts(panel, name)
    effective, treated, others = (float(values[0]) for values in (facts.effective, facts.treated, facts.untreated))
    if panel.roles.continuous:  # every unit is a comparison
        treated, others = float(len(np.unique(cells_of(name, panel)[0][treated_units(panel)]))), np.inf
    if min(treated, others) < FEWEST_TREATED[kind]:
        which = "treated" if treated <= others else "untreated"
        least = int(min(treated, others))
        held = f"{least} cluster has" if least == 1 else f"{least} clusters have"
        return f"{held} {which} units, and these errors need {FEWEST_TREATED[kind]}"
    if effective < FEWEST[kind]:
        return f"clusters: {facts.clusters}, which count as {effective:.1f}, needed: {FEWEST[kind]:.0f}"
    return ""


def advice(sizes: Mapping[str, MeasureWithError], printed: str, forbidden: Mapping[str, str]) -> tuple[str, str]:
    """The error type to print and its reason in words.

    The printed type where it is allowed and its size is right, else the allowed one whose size is nearest to 5%.
    forbidden: why others may not be printed, by error type.
    Of sizes that differ from 5%, those above it count double: too many false findings are worse than too few. Among
    types of the right size, within error, those that assume least come first (`ORDER`). Where no type is allowed, the
    one of the nearest size among those for few treated, else among all.
    """
    known = [error for error, size in sizes.items() if size.value == size.value]
    allowed = [error for error in known if error not in forbidden]
    if printed in allowed and _excess(sizes[printed]) == 0.0:
        return printed, f"its test rejects in {sizes[printed].value:.1%} of twins without an effect"
    few = [error for error in known if kind_of(error) in FOR_FEW]
    choice = allowed or few or known
    best = min(choice, key=lambda error: (_excess(sizes[error]), rank_of(error), abs(sizes[error].value - LEVEL)),
               default=printed)  # fmt: skip
    if not known:
        return printed, "no error type could be judged on twins"
    if not allowed:
        reasons = list(dict.fromkeys(forbidden.values()))
        more = [f"and so on ({len(reasons)} reasons)"] if len(reasons) > 2 else []
        said = "; ".join([*reasons[:2], *more])
        among = " of those for few treated units" if few else ""
        return best, f"no error type is safe here ({said}); the nearest to 5%{among} is {error_label(best)}"
    if best == printed:
        return best, f"no other has a size nearer to 5%: {sizes[best].value:.1%} on twins"
    of_twins = f"in {sizes[best].value:.1%} of twins without an effect"
    large = (
        ", which is too often: its p values are too small"
        if _excess(sizes[best]) > 0 and sizes[best].value > LEVEL
        else ""
    )
    if printed in forbidden:
        lacks = f"{errors_named(printed)} do not serve here ({forbidden[printed]})"
        return best, f"{lacks}; the test of {errors_named(best)} rejects {of_twins}{large}"
    other = f"that of {errors_named(printed)} in {sizes[printed].value:.1%}"
    return best, f"its test rejects {of_twins}, {other}{large}"


def errors_named(error: str) -> str:
    """An error type in a sentence: tests by placebos have p values and no standard errors."""
    return f"{'p values by' if kind_of(error) in FOR_FEW else 'errors'} {error_label(error)}"


def rank_of(error: str) -> int:
    """The place of an error type among those that assume least, these first."""
    kind = error.partition(":")[0]
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _excess(size: MeasureWithError) -> float:
    gap = size.value - LEVEL
    least = float(np.sqrt(LEVEL * (1 - LEVEL) / size.n)) if size.n else 0.0  # shares near 0 have errors near 0
    beyond = max(abs(gap) - TOLERANCE - NEAR * max(size.mcse, least), 0.0)
    return beyond * (2.0 if gap > 0 else 1.0)


# The claim among its placebos: treatments that are assigned anew, in space and within groups.


DRAWS = 999


def placebos_of(claim: PanelClaim) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The tests that serve the claim, and why others do not.

    Of each test: scheme, permutation pvalue with its mcse, and the mean of the placebo estimates.
    """
    own = claim.fitted.estimator
    if isinstance(own, TwoWayDID) and own.effects == ("unit", "period"):
        name = "did"
    elif isinstance(own, SpatialPanel):
        name = own.model
    else:
        return (), ("There are placebo tests of the two-way DID and of spatial models alone.",)
    found, notes = [], []
    group = Real.of(claim.sample).grouping
    for scheme in ("space", f"strata:{group}") if group else ("space",):
        try:
            ask = prepared(claim.sample, None, scheme=scheme, estimator=name, term=claim.term, draws=DRAWS)
            test = answer(ask, run(ask.study))
        except BadInput as error:
            notes.append(f"No placebo test by {scheme}: {listed(problem.what for problem in error.problems)}.")
            continue
        found.append({"scheme": scheme, "pvalue": test.permutation_p, "mcse": test.mcse,
                      "mean": float(np.mean(test.usable))})  # fmt: skip
    return tuple(found), tuple(notes)
