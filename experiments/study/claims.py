"""The tables [[claims]] of a study: what the verdict judges, in names that the study has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from estimators.core.estimator import Layout
from experiments.settings import build
from results.diagnosis.claims import MEASURES, Claim
from sim.errors import BadInput, Problem, closest, gathering, one_of


def read_claims(tables: Any, where: str) -> tuple[Claim, ...]:
    """The claims of the tables; a single text stands for a list of one. Raises BadInput with everything wrong."""
    found, problems = [], list[Problem]()
    for number, table in enumerate(tables if isinstance(tables, list) else [], 1):
        place = f"{where} [[claims]] {number}"
        with gathering(problems):
            if not isinstance(table, Mapping) or "measure" not in table:
                raise BadInput(Problem("measure is missing", place, f"measure = one of {one_of(MEASURES)}",
                                       'add measure = "bias", or another'))  # fmt: skip
            lists = {"terms", "estimators", "errors"}
            own = {key: [value] if key in lists and isinstance(value, str) else value for key, value in table.items()}
            found.append(build(Claim, own, place))
    if problems:
        raise BadInput(*problems)
    return tuple(found)


def check_claims(
    claims: Sequence[Claim], layouts: Sequence[Mapping[str, Layout]], dials: Sequence[str], where: str
) -> None:
    """Raise BadInput for names of estimators, terms, error types and dials that the study lacks.

    layouts: of each cell, by the estimators' names.
    """
    problems = [problem for number, claim in enumerate(claims, 1)
                for problem in _unknown(claim, layouts, dials, f"{where} [[claims]] {number}")]  # fmt: skip
    if problems:
        raise BadInput(*problems)


def _unknown(
    claim: Claim, layouts: Sequence[Mapping[str, Layout]], dials: Sequence[str], where: str
) -> Iterator[Problem]:
    names = list(dict.fromkeys(name for cell in layouts for name in cell))
    chosen = [name for name in claim.estimators if name in names] or names
    judged = [layout for cell in layouts for name, layout in cell.items() if name in chosen]
    terms = list(dict.fromkeys(term for layout in judged for term in layout.terms))
    errors = list(dict.fromkeys(error for layout in judged for error in layout.errors))
    held = {"estimator": (claim.estimators, names), "term": (claim.terms, terms), "error type": (claim.errors, errors)}
    for what, (given, known) in held.items():
        for name in given:
            if name not in known:
                yield Problem(f"no {what} {name!r}", where, one_of(known), closest(name, known))
    if claim.over and claim.over not in dials:
        yield Problem(f"over = {claim.over!r} is no dial of [grid]", where, one_of(dials) or "(no dials)",
                      closest(claim.over, dials))  # fmt: skip
    if claim.measure == "screen" and judged and not any(layout.screen for layout in judged):
        yield Problem("no estimator has a screen, such as a test of pre-trends", where, "estimators with a screen",
                      "leave this claim out, or choose event-study")  # fmt: skip
