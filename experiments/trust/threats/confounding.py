"""Confounding: Cinelli and Hazlett's (2020) robustness value and Oster's (2019) delta, as `estimate` warns of them."""

from __future__ import annotations

from experiments.application.tables.ledger import Ledger
from experiments.checks import confounding
from experiments.checks.case import Case as Warned
from experiments.trust.claim import EFFECT
from experiments.trust.threats import Case, Threat
from results.tables.places import BASELINE

NAME = "an omitted confounder"
UNIT = "share of what is left of treatment and outcome that a confounder explains"


def threat(case: Case) -> Threat | None:
    """Needed: the share at which a confounder takes the whole effect; found: that of the strongest control."""
    claim = case.claim
    if claim.fitted.fit.place != BASELINE["controls, units, periods"] or claim.dial != EFFECT:
        return None
    ledger = Ledger(seed=claim.real.spec.inference.seed)
    warned = Warned.of_claim(claim.real, ledger, claim.fitted, claim.term, case.record)
    numbers = {one.name: one.numbers for one in confounding.check(warned)}
    value = numbers.get("robustness-value", {})
    needed = value.get("rv")
    if needed is None:
        return None
    shares = {name: min(value.get(f"r2_treatment:{name}") or 0.0, value.get(f"r2_outcome:{name}") or 0.0)
              for name in claim.panel.roles.controls}  # fmt: skip
    said = (
        f"A confounder that explains {needed:.1%} of what is left of treatment and outcome would take the effect away"
    )
    if not shares:
        return Threat(
            NAME, needed, None, UNIT, overturns=False, sentence=f"{said}; there is no control to compare it with."
        )
    strongest = max(shares, key=lambda name: shares[name])
    found, delta = shares[strongest], numbers.get("oster-delta", {}).get("delta")
    over = found >= needed and case.level is not None
    said += f"; one like {strongest}, the strongest control, explains {found:.1%}."
    kept = {} if delta is None else {"oster_delta": delta}
    if delta is not None:
        said += f" Oster's delta is {delta:.2f}: values between 0 and 1 speak against the claim."
    return Threat(NAME, needed, found, UNIT, over or (delta is not None and 0 < delta < 1 and case.level is not None),
                  said, kept)  # fmt: skip
