"""Missing cells: the claim on the balanced part of the panel, which twins are fitted to."""

from __future__ import annotations

from experiments.trust.threats import TOWARDS_ZERO, Case, Threat

NAME = "missing cells"


def threat(case: Case) -> Threat | None:
    """Needed: the change that takes the significance away; found: the change on the balanced part."""
    panel = case.claim.panel
    if panel.balanced:
        return None
    record = case.claim.on(case.claim.real.balanced())[case.recommended]
    if record.estimate is None or record.se is None:
        return None
    share = 1.0 - panel.nobs / (len(panel.units) * len(panel.periods))
    over = case.overturned(record.estimate, record.se)
    said = (f"{share:.1%} of unit-periods are missing. On the balanced part, which the twins are fitted to, the "
            f"estimate is {record.estimate:.4g} (s.e. {record.se:.2g}): {case.words(over)}.")  # fmt: skip
    return Threat(NAME, case.margin(), case.towards_zero(record.estimate), TOWARDS_ZERO, over, said,
                  {"share": share, "estimate": record.estimate, "se": record.se})  # fmt: skip
