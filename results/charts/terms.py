"""Names of terms and error types that a user asks pictures and tables for, held to what a diagnosis has."""

from __future__ import annotations

from results.diagnosis.diagnose import Diagnosis
from sim.errors import bad, closest, one_of


def checked_term(diagnosis: Diagnosis, term: str | None, where: str) -> None:
    """Raise BadInput for a term that no estimator has; None is one that was not asked for."""
    known = list(dict.fromkeys(term for layout in diagnosis.layouts.values() for term in layout.terms))
    if term is not None and term not in known:
        raise bad(f"no estimator has the term {term!r}", where=f"{where}, term", allowed=one_of(known),
                  remedy=closest(term, known))  # fmt: skip


def checked_error(diagnosis: Diagnosis, error: str | None, where: str) -> None:
    """Raise BadInput for an error type that no estimator has; None is one that was not asked for."""
    known = list(dict.fromkeys(error for layout in diagnosis.layouts.values() for error in layout.errors))
    if error is not None and error not in known:
        raise bad(f"no estimator has the error type {error!r}", where=f"{where}, error", allowed=one_of(known),
                  remedy=closest(error, known))  # fmt: skip
