"""What the null hypothesis of a scheme sets to zero: estimands, and the terms of an estimator that it tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sim.estimands import OF_A_VARIABLE, Estimand
from sim.panel import Roles
from sim.schemes import Mediator, Relabel, Scheme, Time

OF_POLICY = {"att", "att_event", "att_cohort", "att_calendar", "contrast", "nde", "nie"}
OF_PERIODS = {"att", "event", "cohort", "calendar"}  # with arguments
OF_SPACE = {"rho", "lambda", "dependence"}


def assigned_anew(scheme: Scheme, roles: Roles) -> tuple[str, ...]:
    """The variables that a scheme assigns again; none where W alone changes."""
    if isinstance(scheme, Relabel):
        return ()
    if isinstance(scheme, Mediator):
        return roles.mediators if scheme.name is None else (scheme.name,)
    return (roles.treatment,) if roles.treatment else ()


def redraws_treatment(scheme: Scheme) -> bool:
    """Whether a scheme assigns the treatment again, and nothing else, on the same sample."""
    return not isinstance(scheme, Relabel | Mediator | Time)


def is_null(scheme: Scheme, ask: Estimand, roles: Roles) -> bool:
    """Whether an estimand is zero when what the scheme assigns again does nothing."""
    of = ask.arguments[0] if ask.kind in OF_A_VARIABLE and len(ask.arguments) == 1 else None
    if isinstance(scheme, Relabel):
        spatial = ask.kind == "indirect" or (of or "").startswith("w_")
        known = (of or "").removeprefix("w_") in (*roles.regressors, *roles.mediators)
        return (ask.kind in OF_SPACE and not ask.arguments) or (spatial and known)
    if of is not None:
        return of in {prefix + name for name in assigned_anew(scheme, roles) for prefix in ("", "w_")}
    if isinstance(scheme, Mediator):
        return ask.kind == "nie" and not ask.arguments
    if ask.arguments:
        return ask.kind in OF_PERIODS
    return ask.kind in OF_POLICY and (ask.kind not in {"nde", "nie"} or bool(roles.mediators))


def terms_tested(scheme: Scheme, terms: Iterable[str], targets: Mapping[str, str], roles: Roles) -> tuple[str, ...]:
    """The terms that a permutation test by the scheme tests, in order.

    They are what is assigned again, terms whose target its null hypothesis sets to zero, and terms without a target,
    such as leads of an event study, but for the constant.
    """
    own = assigned_anew(scheme, roles)
    return tuple(
        term
        for term in terms
        if term in own or (is_null(scheme, Estimand.parse(targets[term]), roles) if term in targets
                           else term != "constant")
    )  # fmt: skip
