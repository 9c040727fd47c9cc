"""The measures that pictures and pivots show: their words, unit, nominal value, and where they are defined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from results.diagnosis.diagnose import PROPORTIONS, Diagnosis
from results.diagnosis.measures import MEANINGS

Where = Literal["all", "null", "known"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. column: its name in a diagnosis; where: in all cells, where the truth is 0, or where it is known.

    words: of an axis. short: of a title. nominal: the value that it should have at a level alpha, None where none is.
    by_error: whether it has one value an error type.
    """

    name: str
    column: str
    words: str
    short: str
    by_error: bool = True
    where: Where = "all"
    nominal: Callable[[float], float] | None = None

    @property
    def share(self) -> bool:
        """Whether it is a proportion, shown in percent."""
        return self.column in PROPORTIONS or self.column == "between_worlds" or self.column == "relative_bias"


def _named(name: str, words: str, short: str, by_error: bool = False, column: str = "", where: Where = "all",
           nominal: Callable[[float], float] | None = None) -> Measure:  # fmt: skip
    return Measure(name, column or name, words, short, by_error, where, nominal)


def _zero(alpha: float) -> float:
    return 0.0


def _level(alpha: float) -> float:
    return alpha


def _cover(alpha: float) -> float:
    return 1 - alpha


MEASURES = {
    measure.name: measure
    for measure in (
        _named("power", "share of tests that reject", "Power", True, "rejection", "known"),
        _named("size", "share of tests that reject a true null", "Size", True, "rejection", "null", _level),
        _named("coverage", "share of intervals that hold the truth", "Coverage", True, nominal=_cover),
        _named("bias", "bias: mean of estimate minus truth", "Bias", nominal=_zero),
        _named("relative_bias", "bias in percent of the truth", "Relative bias", nominal=_zero),
        _named("rmse", "root mean squared error", "RMSE"),
        _named("empirical_se", "spread of the estimates", "Empirical standard error"),
        _named("mean_se", "mean standard error", "Mean standard error", True),
        _named("se_error", "error of the standard error, percent", "Error of the standard error", True, nominal=_zero),
        _named("bias_eliminated_coverage", "share of intervals that hold the truth once moved by the bias",
               "Bias-eliminated coverage", True, nominal=_cover),
        _named("rejection", "share of tests that reject", "Rejection", True),
        _named("size_adjusted_power", "share of tests that reject at the right size", "Size-adjusted power", True),
        _named("type_s", "share of significant estimates with the wrong sign", "Type S", True),
        _named("type_m", "factor by which significant estimates exaggerate", "Type M", True),
        _named("mean_estimate", "mean estimate", "Mean estimate"),
        _named("truth", "true value", "Truth"),
        _named("mse", "mean squared error", "MSE"),
        _named("between_worlds", "share of the variance between worlds", "Between worlds"),
    )
}  # fmt: skip


def measures_of(diagnosis: Diagnosis) -> dict[str, Measure]:
    """Every measure that a picture or pivot of a diagnosis can show, the user's own included."""
    own = {name: Measure(name, name, MEANINGS.get(name, name), name, _by_error(diagnosis, name))
           for name in diagnosis.own}  # fmt: skip
    return MEASURES | own


def _by_error(diagnosis: Diagnosis, name: str) -> bool:
    frame = diagnosis.frame
    return bool((frame.loc[frame["measure"] == name, "error"] != "").any())
