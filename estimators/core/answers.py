"""Answers of other programs: what a fit of linearmodels, statsmodels, pyfixest, scikit-learn and the like says by term.

A function that estimates may return such a fit as it is (`core.functions`). They are told apart by what they offer, so
that none of these packages is loaded here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

EFFECT = ("att", "ate")  # what fits of one effect call it
ERROR = ("se", "std_error", "std_err")


def answers_of(found: Any) -> dict[str, Any] | None:
    """(estimate, se, dof) by term of a fit of another program, without what it does not say; None for what is no fit.

    linearmodels: params, std_errors and, where its errors are debiased, df_resid; statsmodels: params, bse and, where
    it uses t, df_resid; pyfixest: coef(), se() and the degrees of freedom of its t; scikit-learn: coef_ alone, with
    the names it was fitted with; fits of one effect: att or ate and se, under the term "" (the treatment's).
    """
    readers: tuple[Callable[[Any], dict[str, Any] | None], ...] = (_pyfixest, _series, _columns, _effect)
    return next((answers for read in readers if (answers := read(found)) is not None), None)


def _pyfixest(found: Any) -> dict[str, Any] | None:
    if not (callable(getattr(found, "coef", None)) and callable(getattr(found, "se", None))):
        return None
    freedom = getattr(found, "_df_t", None)
    return _joined(found.coef(), found.se(), freedom)


def _series(found: Any) -> dict[str, Any] | None:
    """linearmodels and statsmodels: series by term."""
    params = getattr(found, "params", None)
    errors = getattr(found, "std_errors", None)
    small = bool(getattr(found, "debiased", True)) if errors is not None else bool(getattr(found, "use_t", False))
    errors = getattr(found, "bse", None) if errors is None else errors
    if not hasattr(params, "items") or not hasattr(errors, "items") or isinstance(found, Mapping):
        return None
    return _joined(params, errors, getattr(found, "df_resid", None) if small else None)


def _columns(found: Any) -> dict[str, Any] | None:
    """scikit-learn: coefficients in the order of its columns."""
    coefficients = getattr(found, "coef_", None)
    if coefficients is None:
        return None
    values = np.atleast_1d(np.squeeze(np.asarray(coefficients, dtype=np.float64)))
    names = getattr(found, "feature_names_in_", None)
    if names is None and len(values) > 1:
        return None
    return dict(zip(map(str, names if names is not None else [""]), values.tolist(), strict=True))


def _effect(found: Any) -> dict[str, Any] | None:
    effect = next((getattr(found, name) for name in EFFECT if hasattr(found, name)), None)
    error = next((getattr(found, name) for name in ERROR if hasattr(found, name)), None)
    if effect is None or np.ndim(effect) or callable(effect):
        return None
    return {"": effect if error is None or callable(error) else (effect, error)}


def _joined(estimates: Any, errors: Any, freedom: Any) -> dict[str, Any]:
    said = dict(errors.items())
    further = () if freedom is None or not np.isfinite(freedom) else (float(freedom),)
    return {str(term): (float(value), float(said[term]), *further) for term, value in estimates.items()}
