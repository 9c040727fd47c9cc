"""Which spatial terms each model of a panel has: the lag of the outcome, of the errors, of the regressors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Model = Literal["sar", "sem", "sdm", "slx", "sdem", "sac"]


@dataclass(frozen=True, slots=True)
class SpatialForm:
    """y = rho W y + X b (+ WX t) + effects + u, u = lambda W u + e: durbin has t, lag has rho, error has lambda."""

    durbin: bool
    lag: bool
    error: bool

    @property
    def parameters(self) -> tuple[str, ...]:
        """The spatial parameters that are estimated, in the order of the terms."""
        return (*(("rho",) if self.lag else ()), *(("lambda",) if self.error else ()))

    @property
    def effect_kinds(self) -> tuple[str, ...]:
        """Effects that are reported: without lags of outcome and regressors nothing spills over."""
        return ("direct", "indirect", "total") if self.durbin or self.lag else ("direct", "total")

    @property
    def lags(self) -> int:
        """How often W is applied: the error models with further lags need W^2."""
        return 2 if self.error and (self.durbin or self.lag) else 1

    def slopes(self, regressors: int) -> int:
        """How many slopes a number of regressors has."""
        return 2 * regressors if self.durbin else regressors


FORMS: dict[str, SpatialForm] = {
    "sar": SpatialForm(durbin=False, lag=True, error=False),
    "sem": SpatialForm(durbin=False, lag=False, error=True),
    "sdm": SpatialForm(durbin=True, lag=True, error=False),
    "slx": SpatialForm(durbin=True, lag=False, error=False),
    "sdem": SpatialForm(durbin=True, lag=False, error=True),
    "sac": SpatialForm(durbin=False, lag=True, error=True),
}
