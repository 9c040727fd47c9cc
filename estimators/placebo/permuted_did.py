"""Two-way DID of many outcomes under the same many assignments: coefficients at once, clustered variances by outcome.

With y and D both without unit and time effects and controls (Frisch, Waugh and Lovell), b = D'y/D'D. A unit's path is
one of P, so that D'y of every assignment and outcome is a sparse product of (draws, P N) with the P N sums of paths and
outcomes: no array of draws x T x N. Scores for variances come from `placebo.kernels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from estimators.core.within import WithinTransform
from estimators.placebo.kernels import AssignedDID, DIDPlacebo
from sim.panel import Panel
from sim.schemes.randomisation import Codes, Randomisation

Floats = NDArray[np.float64]

DRAWS_AT_ONCE = 64  # assignments whose whole arrays stand in memory together
ABSORBED = 1e-10  # share of an assignment's variation left without effects and controls, below which it counts as none


@dataclass(frozen=True, eq=False, slots=True)
class PermutedDID:
    """What B assignments give, whatever the outcomes.

    paths (P, T), codes (B, N); basis (K, T N): orthonormal, of the controls without effects; chosen (B, P N): 1 where
    unit i has path p; squares (B,): D'D, NaN where nothing of D is left.
    """

    transform: WithinTransform
    paths: Floats
    codes: Codes
    basis: Floats
    chosen: sp.csr_array
    squares: Floats

    @classmethod
    def of(
        cls,
        panel: Panel,
        randomisation: Randomisation,
        codes: Codes,
        controls: tuple[str, ...],
    ) -> PermutedDID:
        """Prepare B assignments, codes (B, N), on a panel whose controls are the same in all replications."""
        (paths,) = randomisation.paths.values()
        transform = WithinTransform.of(panel)
        within = [transform(panel.variables[name]).ravel() for name in controls]
        basis = np.linalg.qr(np.array(within).T)[0].T if within else np.empty((0, len(panel.periods) * codes.shape[1]))
        draws, n = codes.shape
        places = codes * n + np.arange(n)
        rows = np.repeat(np.arange(draws), n).reshape(draws, n)
        moves = (paths != 0).any(axis=1)[codes]
        shape = (draws, len(paths) * n)
        chosen: sp.csr_array = sp.csr_array((np.ones(int(moves.sum())), (rows[moves], places[moves])), shape=shape)
        made = cls(transform, paths, codes, np.ascontiguousarray(basis), chosen, np.empty(0))
        return cls(transform, paths, codes, made.basis, chosen, made._squares())

    def outcomes(self, y: Floats) -> Floats:
        """Outcomes without effects and controls, (R, T, N) -> (R, T, N)."""
        out = self.transform(y)
        flat = out.reshape(len(out), -1)
        return np.asarray(flat - (flat @ self.basis.T) @ self.basis).reshape(out.shape)

    def coefficients(self, y: Floats) -> Floats:
        """b of every assignment, (R, B), for outcomes that `outcomes` made, (R, T, N)."""
        return np.ascontiguousarray((self._products(y) / self.squares[:, None]).T)

    def _products(self, y: Floats) -> Floats:
        """D'y of every assignment, (B, R)."""
        by_path = np.einsum("pt,rtn->pnr", self.paths, y, optimize=True).reshape(-1, len(y))
        return np.asarray(self.chosen @ np.ascontiguousarray(by_path))

    def _squares(self) -> Floats:
        """D'D of every assignment, (B,)."""
        t, n = self.paths.shape[1], self.codes.shape[1]
        raw = np.square(self.paths).sum(axis=1)[self.codes].sum(axis=1)
        explained = np.square(self._products(self.basis.reshape(-1, t, n))).sum(axis=1) if len(self.basis) else 0.0
        left = self._without_effects() - explained
        return np.where(left > ABSORBED * raw, left, np.nan)

    def _without_effects(self) -> Floats:
        """(QD)'(QD) of every assignment, (B,): from the paths alone in a balanced panel."""
        if self.transform.mask is not None:
            return np.concatenate([np.square(d).sum(axis=(1, 2)) for d in self._chunks()])
        centred = self.paths - self.paths.mean(axis=1, keepdims=True)
        counts = np.array([np.bincount(row, minlength=len(self.paths)) for row in self.codes], dtype=np.float64)
        over_time = np.square(counts @ centred).sum(axis=1) / self.codes.shape[1]
        return np.asarray(counts @ np.square(centred).sum(axis=1) - over_time)

    def _chunks(self) -> Iterator[Floats]:
        """The assignments without effects, (draws, T, N), a few at a time."""
        for start in range(0, len(self.codes), DRAWS_AT_ONCE):
            rows = slice(start, start + DRAWS_AT_ONCE)
            d = np.ascontiguousarray(self.paths.T[:, self.codes[rows]].transpose(1, 0, 2))
            yield self.transform(d)


def assigned(
    panel: Panel, randomisation: Randomisation, codes: Codes, controls: tuple[str, ...], outcome: str, error: str
) -> AssignedDID:
    """The same assignments, codes (B, N), for clustered variances of type `error`."""
    kernel = DIDPlacebo.of(panel, outcome=outcome, controls=controls, error=error)
    return kernel.assign(first_periods(randomisation, codes))


def first_periods(randomisation: Randomisation, codes: Codes) -> NDArray[np.intp] | Floats:
    """First treated periods (B, N) of an absorbing treatment, T = never, else the treatments (B, T, N)."""
    (paths,) = randomisation.paths.values()
    if np.isin(paths, (0.0, 1.0)).all() and (np.diff(paths, axis=1) >= 0).all():
        return np.asarray((paths.shape[1] - paths.sum(axis=1)).astype(np.intp)[codes])
    return np.ascontiguousarray(paths.T[:, codes].transpose(1, 0, 2))


def shifted_variances(
    kernel: AssignedDID, y: Floats, real: Floats, b: Floats, slope: Floats
) -> tuple[Floats, Floats, Floats]:
    """v0, v1 (R, B), v2 (1, B): the clustered variance of y - c D under each assignment is v0 + c v1 + c^2 v2, up to
    its factor.

    y (R, T, N) and the real treatment, real (1, T, N), without effects and controls; b (R, B) and slope (1, B), their
    coefficients.
    """
    codes, own = kernel.kernel.codes, kernel.scores.own
    member = None if codes is None else (np.arange(int(codes.max()) + 1) == codes[:, None]).astype(np.float64)

    def sums(outcome: Floats, coefficient: Floats) -> Floats:
        scores = kernel.scores(outcome)
        scores -= coefficient[:, None] * own
        return scores if member is None else scores @ member

    x = sums(real[0], slope[0])
    squares = kernel.squares**2
    v0, v1 = np.empty_like(b), np.empty_like(b)
    for row in range(len(y)):
        e = sums(y[row], b[row])
        v0[row], v1[row] = np.vecdot(e, e) / squares, -2.0 * np.vecdot(e, x) / squares
    return v0, v1, (np.vecdot(x, x) / squares)[None]
