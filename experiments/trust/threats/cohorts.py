"""Heterogeneous staggered effects: shares of Goodman-Bacon (2021), and Callaway and Sant'Anna (2021) beside TWFE."""

from __future__ import annotations

from estimators.linear.did import TwoWayDID
from estimators.staggered.bacon import LATER, decompose
from experiments.trust.adoption import cohort_wise, core_of
from experiments.trust.claim import EFFECT
from experiments.trust.threats import TOWARDS_ZERO, Case, Threat
from sim.streams import Streams

NAME = "heterogeneous staggered effects"


def threat(case: Case) -> Threat | None:
    """Needed: the change of the estimate that takes its significance away; found: cohort-wise less two-way estimate."""
    if case.claim.dial != EFFECT or not isinstance(case.claim.fitted.estimator, TwoWayDID):
        return None
    core = core_of(case.claim)
    shares = decompose(core)
    if len({item.treated for item in shares.comparisons}) < 2:
        return None
    found = cohort_wise(case.claim, core)(core, Streams(case.main.study.seed))
    at = found.terms.index("overall")
    estimate, se = float(found.estimate[0, at]), float(found.se[0, 0, at])
    two_way = float(shares.twfe[0])
    share = shares.share(LATER)
    over = case.overturned(estimate, se)
    said = (f"{share:.1%} of the weight of the two-way estimate compares units with units that were treated before. "
            f"Without controls it is {two_way:.4g}, and cohort by cohort {estimate:.4g} (s.e. {se:.2g}): "
            f"{case.words(over)}.")  # fmt: skip
    towards = (two_way - estimate) * (1.0 if two_way > 0 else -1.0)
    numbers = {"share": share, "two_way": two_way, "cohort_wise": estimate, "se": se}
    return Threat(NAME, case.margin(), towards, TOWARDS_ZERO, over, said, numbers)
