"""What a fit that says OK must hold: finite estimates, and an error wherever its error type has one."""

from __future__ import annotations

import numpy as np

from estimators.core.estimator import Estimates, Layout, Status


def lacking(estimates: Estimates, layout: Layout, *, with_errors: bool) -> dict[int, str]:
    """What is missing, in words, by row, of fits with status OK; those of other statuses hold what they can.

    An error type is there for a term when its standard error is finite, or a p value or bound that is stored beside it.
    Where some are stored, an error type may leave out terms that it does not serve, such as Sobel's of a proportion,
    but not all of them. `with_errors` says whether errors count: on a real panel a missing one is an empty line of a
    table, with a note, and no failure.
    """
    ok = estimates.status == Status.OK
    found: dict[int, str] = {}
    infinite = ~np.isfinite(estimates.estimate)
    for row in np.flatnonzero(ok & infinite.any(axis=1)):
        term = int(np.flatnonzero(infinite[row])[0])
        found[int(row)] = f"the estimate of {estimates.terms[term]} is {estimates.estimate[row, term]}"
    if not with_errors or not estimates.errors:
        return found
    there = np.isfinite(estimates.se)
    for name in layout.stored:
        there |= np.isfinite(getattr(estimates, name))
    absent = ~there.any(axis=2) if layout.stored else ~there.all(axis=2)  # (R, E)
    for row in np.flatnonzero(ok & absent.any(axis=1)):
        error = int(np.flatnonzero(absent[row])[0])
        term = int(np.flatnonzero(~there[row, error])[0])
        what = f"the {estimates.errors[error]} error of {estimates.terms[term]} is {estimates.se[row, error, term]}"
        found.setdefault(int(row), what)
    return found
