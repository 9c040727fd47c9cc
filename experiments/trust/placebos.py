"""The claim among its placebos: treatments that are assigned anew, in space and within groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estimators.linear.did import TwoWayDID
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.placebo.placebo import answer
from experiments.placebo.stored import prepared
from experiments.running.runner import run
from experiments.trust.claim import Claim
from experiments.twins.real import Real
from sim.errors import BadInput, listed

DRAWS = 999


@dataclass(frozen=True, slots=True)
class PlaceboTest:
    """The permutation p value of a scheme with its Monte Carlo error, and the mean of the placebo estimates."""

    scheme: str
    pvalue: float
    mcse: float
    mean: float


def placebos_of(claim: Claim) -> tuple[tuple[PlaceboTest, ...], tuple[str, ...]]:
    """The tests that serve the claim, and why others do not."""
    own = claim.fitted.estimator
    if isinstance(own, TwoWayDID) and own.effects == ("unit", "period"):
        name = "did"
    elif isinstance(own, SpatialPanel):
        name = own.model
    else:
        return (), ("There are placebo tests of the two-way DID and of spatial models alone.",)
    found, notes = [], []
    for scheme in _schemes(claim):
        try:
            ask = prepared(claim.sample, None, scheme=scheme, estimator=name, term=claim.term, draws=DRAWS)
            test = answer(ask, run(ask.study))
        except BadInput as error:
            notes.append(f"No placebo test by {scheme}: {listed(problem.what for problem in error.problems)}.")
            continue
        found.append(PlaceboTest(scheme, test.permutation_p, test.mcse, float(np.mean(test.usable))))
    return tuple(found), tuple(notes)


def _schemes(claim: Claim) -> Iterator[str]:
    yield "space"
    if group := Real.of(claim.sample).grouping:
        yield f"strata:{group}"
