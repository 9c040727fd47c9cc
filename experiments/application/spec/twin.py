"""[twin]: how a panel is fitted by `panelproof twin`, and what of it stays real."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, override

from pydantic import BeforeValidator, Field

from experiments.settings import build
from experiments.toml_files import Table
from sim.errors import BadInput, Problem
from sim.world.context import Slot
from sim.world.parts.adoption import Adoption

Method = Literal["parametric", "factor", "residual"]
Kept = Literal["covariates", "weights", "calendar", "missing", "levels"]
KEPT: tuple[Kept, ...] = ("covariates", "weights", "calendar", "missing")
Count = Annotated[int, Field(ge=1, strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class TwinSection(Table):
    """[twin]: the methods, what stays real, and the fitted world's dials.

    method: one or more of parametric, factor, residual. keep: what stays real: covariates, weights, calendar, missing
    (cells), levels (unit and period effects); the rest is drawn from fitted processes. rank: number of the factor
    method's factors, or, where adoption is drawn anew, terms of its signal; without it as the residuals need. ar: order
    of the errors' autoregression; without it 1 by the factor method, 1 or 2 as the residuals need in a parametric twin.
    round: digits of the factor method's AR coefficients. standardize: whether the outcome is brought to mean 0 and
    standard deviation 1. effect: of the treatment in the twin; without it the estimate, or 0 with an indicator. block:
    neighbours whose residuals are drawn together; without it 8 where there is a W, else 1. paths: whether each unit
    keeps its residuals, with a random sign (flipped), or gets those of one that is drawn (resampled). replications: of
    the study that is written. draws: twins that the bands of the fidelity report are made of. adoption: another
    assignment than the real one, a table as [design.adoption] of a study with, for the kind propensity, indicator: a
    column whose value in the last period is what the logit explains (default: ever treated).
    """

    place: ClassVar[str] = "[twin]"
    partial: ClassVar[bool] = True

    method: Annotated[tuple[Method, ...], BeforeValidator(_listed)] = ("parametric", "factor", "residual")
    keep: tuple[Kept, ...] = KEPT
    rank: Annotated[int, Field(ge=0, strict=True)] | None = None
    ar: Annotated[int, Field(ge=1, le=4, strict=True)] | None = None
    round: Annotated[int, Field(ge=0, le=12, strict=True)] | None = None
    standardize: Annotated[bool, Field(strict=True)] = False
    effect: Number | None = None
    block: Count | None = None
    paths: Literal["flipped", "resampled"] = "flipped"
    replications: Count = 2000
    draws: Annotated[int, Field(ge=100, le=10_000, strict=True)] = 500
    adoption: dict[str, Any] = Field(default_factory=dict, description='a table such as { kind = "propensity" }')

    @property
    def indicator(self) -> str | None:
        """The column that an adoption by propensities is fitted to."""
        named = self.adoption.get("indicator")
        return named if isinstance(named, str) else None

    @property
    def own_adoption(self) -> dict[str, Any]:
        """The table of the adoption without what only a twin reads."""
        return {key: value for key, value in self.adoption.items() if key != "indicator"}

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not self.method:
            yield Problem("method = []", where, "parametric, factor, residual", "name one or more")
        for name, items in (("method", self.method), ("keep", self.keep)):
            if len(set(items)) < len(items):
                yield Problem(f"{name} names one twice", where, "each once", "remove one")
        yield from self._adoption_faults(f"{where.removesuffix(']')}.adoption]")

    def _adoption_faults(self, where: str) -> Iterator[Problem]:
        """What is wrong with the table of the adoption, as a study says it."""
        if not self.adoption:
            return
        if "indicator" in self.adoption and (self.indicator is None or self.adoption.get("kind") != "propensity"):
            yield Problem(f"indicator = {self.adoption['indicator']!r}", where,
                          'a column, with kind = "propensity"', "correct it, or leave it out")  # fmt: skip
        try:
            kind = str(self.adoption.get("kind", Adoption.default))
            cls = Slot(Adoption, many=False).find(kind, f"{where} kind")
            build(cls, {key: value for key, value in self.own_adoption.items() if key != "kind"}, where)
        except BadInput as error:
            yield from error.problems
