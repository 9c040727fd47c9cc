"""How strong selection on unobservables must be to remove an effect (Oster 2019, propositions 2 and 3).

The outcome is y = b d + w1 + w2 + e with an index w1 of observed controls and one w2 of unobserved ones that are
uncorrelated; selection is proportional, delta cov(w1, d) / var(w1) = cov(w2, d) / var(w2); a regression on all three
has R2 `r2_max`. Variables are without the effects of units and periods, so that R2 are within them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from sim.arrays import Floats
from sim.errors import bad

SHARE = 1.3  # r2_max over the R2 with controls, Oster's (2019) choice
REAL = 1e-8  # imaginary part, relative to its size, up to which a root counts as real


@dataclass(frozen=True, slots=True)
class Selection:
    """What adding controls did: coefficients of d and R2 without (short) and with them (long), and three variances.

    outcome, treatment: variances of y and of d; left: variance of what the controls leave of d.
    """

    short: float
    long: float
    r2_short: float
    r2_long: float
    outcome: float
    treatment: float
    left: float

    @classmethod
    def of(cls, y: Floats, d: Floats, x: Floats) -> Self:
        """From demeaned outcome and treatment (T, N) and controls (K, T, N); raises BadInput for collinear controls."""
        n, columns = y.size, np.vstack([d.ravel(), x.reshape(len(x), y.size)])
        gram = columns @ columns.T
        scale = np.sqrt(np.diagonal(gram))
        if not len(x) or np.linalg.eigvalsh(gram / np.outer(scale, scale))[0] < 1e-9:
            raise bad("the treatment has no controls, or they are collinear", where="selection on unobservables",
                      allowed="sound controls", remedy="name others")  # fmt: skip
        cross, total = columns @ y.ravel(), float(y.ravel() @ y.ravel())
        slopes, inverse = np.linalg.solve(gram, cross), np.linalg.inv(gram)
        short = float(cross[0] / gram[0, 0])
        return cls(short, float(slopes[0]), short * float(cross[0]) / total, float(slopes @ cross) / total,
                   total / n, float(gram[0, 0]) / n, 1.0 / float(inverse[0, 0]) / n)  # fmt: skip

    def most(self, share: float = SHARE) -> float:
        """`r2_max`: `share` of the R2 with controls, at most 1."""
        return min(share * self.r2_long, 1.0)

    def delta(self, r2_max: float, target: float = 0.0) -> float:
        """The strength of selection on unobservables, relative to that on controls, at which the effect is `target`.

        NaN where r2_max is not above the R2 with controls. A negative one says that unobservables would have to be
        selected the other way.
        """
        if r2_max <= self.r2_long:
            return float("nan")
        numerator, denominator = (np.polyval(one, self.long - target) for one in self._sides(r2_max))
        return float(numerator / denominator) if denominator else float("inf")

    def effect(self, r2_max: float, delta: float = 1.0) -> float:
        """The effect when selection on unobservables is `delta` times as strong: the solution nearest to the long one.

        NaN where no real effect solves it.
        """
        numerator, denominator = self._sides(r2_max)
        roots = np.roots(np.trim_zeros(numerator - delta * denominator, "f"))
        real = roots.real[np.abs(roots.imag) <= REAL * (1.0 + np.abs(roots))]
        return self.long - float(real[np.abs(real).argmin()]) if real.size else float("nan")

    def _sides(self, r2_max: float) -> tuple[Floats, Floats]:
        """Numerator and denominator of delta as polynomials in v = long - target, highest power first.

        Of a treatment that is unrelated to the controls (left = treatment) no cubic term is left.
        """
        moved, gained = self.short - self.long, (r2_max - self.r2_long) * self.outcome
        square, cube = self.left * moved * self.treatment, self.left * (self.treatment - self.left)
        linear = (self.r2_long - self.r2_short) * self.outcome * self.left + self.treatment * self.left * moved**2
        return (
            np.array([cube, 2.0 * square, linear, 0.0]),
            np.array([cube, square, gained * (self.treatment - self.left), gained * moved * self.treatment]),
        )
