"""What a study asks of its estimators: which measure of which terms, and which departure matters in practice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from estimators.core.estimator import Layout
from sim.errors import BadInput, Problem

Measure = Literal["bias", "coverage", "size", "power", "screen"]
MEASURES: tuple[str, ...] = get_args(Measure)
BIAS = 0.2  # standard errors of the estimator: 95% intervals that are this far off cover 94.5%
MOST_FAILED = 0.01  # of fits: whatever the lost fits would have given, a share moves by no more than this
POWER = 0.80  # the power of a minimum detectable effect


@dataclass(frozen=True, slots=True)
class Claim:
    """A question that the verdict answers. It says how results are judged and changes none of them.

    measure: "bias" in standard errors of the estimator, "coverage" of intervals, "size" of tests where the truth is 0,
    "power" with the smallest effect that is found in 80% of panels, "screen" for the tests that an estimator makes
    before it is believed, such as one of pre-trends, and the bias of the fits that pass. terms: judged in every
    estimator that has them; () = its key terms. estimators, errors: those that are judged; () = all. over: the dial
    along which answers are given. tolerance: the departure that still does not matter, in standard errors for bias and
    as a share for coverage and size; None = .2 standard errors, and half of the level for shares. Raises BadInput for
    values that make no sense.
    """

    measure: Measure
    terms: tuple[str, ...] = ()
    estimators: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    over: str = ""
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise BadInput(*problems)

    def _problems(self) -> Iterator[Problem]:
        where = "claim"
        if self.measure not in MEASURES:
            yield Problem(f"measure = {self.measure!r}", where, ", ".join(MEASURES), "choose one of them")
        if self.tolerance is not None and not self.is_judged:
            yield Problem(f"tolerance of {self.measure}, which is stated and not judged", where,
                          "a tolerance of bias, coverage or size", "leave tolerance out")  # fmt: skip
        if self.tolerance is not None and not 0 < self.tolerance < (float("inf") if self.measure == "bias" else 1):
            allowed = "a number above 0" if self.measure == "bias" else "a share above 0 and below 1, such as 0.02"
            yield Problem(f"tolerance = {self.tolerance}", where, allowed, "correct the number")
        if self.errors and not self.has_errors:
            yield Problem(f"errors of {self.measure}, which is the same for all error types", where, "no errors",
                          "leave errors out")  # fmt: skip

    @property
    def is_judged(self) -> bool:
        """Whether a departure can fail the claim; power and screens are only stated."""
        return self.measure in ("bias", "coverage", "size")

    @property
    def has_errors(self) -> bool:
        """Whether error types differ in the measure."""
        return self.measure in ("coverage", "size", "power")

    def nominal(self, alpha: float) -> float:
        """What is promised at a level alpha of tests and intervals: no bias, coverage 1 - alpha, rejection alpha."""
        return {"bias": 0.0, "coverage": 1 - alpha}.get(self.measure, alpha)

    def limit(self, alpha: float) -> float:
        """The tolerance at a level alpha of tests and intervals."""
        if self.tolerance is not None:
            return self.tolerance
        return BIAS if self.measure == "bias" else alpha / 2

    @property
    def settings(self) -> dict[str, Any]:
        """Plain data of what is stated, from which `Claim(**settings)` or a table [[claims]] makes it again."""
        held = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in held.items()}
        return {name: value for name, value in plain.items() if value not in ([], "", None)}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Claim:
        """From plain data as `settings` gives it."""
        held: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        return cls(**held)


DEFAULTS = (Claim("bias"), Claim("coverage"), Claim("size"), Claim("power"))  # of a study that states none
NUISANCE = frozenset({"rho", "lambda", "sigma2"})  # parameters of the errors and of dependence, not effects
PARTS_OF_AN_EFFECT = ("event(", "overall:")  # of which `overall` is the sum


def judged_terms(terms: Iterable[str]) -> tuple[str, ...]:
    """Of an estimator's key terms those that its verdict is about: effects and slopes, or all where there are none."""
    found = tuple(terms)
    if "overall" in found:
        found = tuple(term for term in found if not term.startswith(PARTS_OF_AN_EFFECT))
    return tuple(term for term in found if term not in NUISANCE) or found


def terms_of(claim: Claim, layout: Layout, key_terms: Iterable[str]) -> tuple[str, ...]:
    """The terms of an estimator that a claim is about; none where the claim names others."""
    if claim.terms:
        return tuple(term for term in layout.terms if term in claim.terms)
    return judged_terms(key_terms)
