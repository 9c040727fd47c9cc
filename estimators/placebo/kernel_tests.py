"""The assignments that permutation tests compare with the real one, and tests by an estimator's own kernel for redrawn
treatments: no fit of each draw, many outcomes at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from estimators.core.estimator import Status
from estimators.core.inversion import linear_interval, p_values, searched_interval
from estimators.core.treatment_kernels import AssignedTreatments, LinearlyAssigned, ShiftedFits, TreatmentKernel
from estimators.core.treatments import PathCodes
from sim.arrays import Codes, Floats
from sim.panel import Panel
from sim.schemes import Randomisation, scheme_of
from sim.streams import Streams

Statistic = Literal["raw", "studentised"]


@dataclass(frozen=True, eq=False, slots=True)
class Draws:
    """B assignments of a panel, codes (B, N), without the real one; exact: all that there are."""

    randomisation: Randomisation
    codes: Codes
    exact: bool

    @classmethod
    def of(cls, panel: Panel, scheme: str, draws: int, seed: int, rng: np.random.Generator | None = None) -> Draws:
        """All assignments when they are no more than `draws`, else that many from `rng`, or from the seed.

        Raises BadInput when the panel leaves nothing to draw.
        """
        randomisation = scheme_of(scheme).on(panel)
        if randomisation.count is not None and randomisation.every and randomisation.count <= draws:
            every = np.array(list(randomisation.every()))
            return cls(randomisation, every[(every != randomisation.real).any(axis=1)], True)
        own = Streams(seed, "permutation").tile(0, draws)
        generators: Iterator[np.random.Generator] = itertools.repeat(rng, draws) if rng else own.each(scheme)
        return cls(randomisation, np.array([randomisation.draw(generator) for generator in generators]), False)

    @property
    def with_real(self) -> Codes:
        """The real assignment, then the others, (1 + B, N)."""
        return np.concatenate([self.randomisation.real[None], self.codes])

    def treatments(self) -> PathCodes:
        """Those of the one variable that is assigned, the real one first."""
        (paths,) = self.randomisation.paths.values()
        return PathCodes(np.concatenate([paths, np.zeros((1, paths.shape[1]))]), self.with_real)


@dataclass(frozen=True, eq=False, slots=True)
class NullTests:
    """p values and interval ends of K terms in R panels, (R, K) each; NaN where there is none."""

    pvalue: Floats
    lower: Floats
    upper: Floats

    @staticmethod
    def none(rows: int, terms: int) -> NullTests:
        """No test."""
        return NullTests(*(np.full((rows, terms), np.nan) for _ in range(3)))


@dataclass(frozen=True, eq=False, slots=True)
class KernelTest:
    """Terms under assignments of which the first is the real one; an interval where estimates are linear in y.

    real: the treatment as it was, (1, T, N), zero where unobserved. columns: of the kernel's terms, those tested.
    """

    draws: Draws
    assigned: AssignedTreatments
    real: Floats
    columns: tuple[int, ...]
    statistic: Statistic
    interval: bool

    @classmethod
    def of(
        cls, kernel: TreatmentKernel, draws: Draws, real: Floats, terms: tuple[str, ...], statistic: Statistic, *,
        interval: bool,
    ) -> KernelTest:  # fmt: skip
        """Prepare the draws."""
        assigned, columns = kernel.assign(draws.treatments()), tuple(kernel.terms.index(term) for term in terms)
        return cls(draws, assigned, real, columns, statistic, interval and isinstance(assigned, LinearlyAssigned))

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN and counts as extreme
    def test(self, y: Floats) -> NullTests:
        """Outcomes (R, T, N) under all assignments."""
        if self.statistic == "studentised" and self.interval and isinstance(self.assigned, LinearlyAssigned):
            return _searched(self.assigned.shifted(y, self.real))
        drawn = self._statistics(y)
        p = np.stack([p_values(drawn[:, 0, k], drawn[:, 1:, k]) for k in range(len(self.columns))], axis=1)
        if not self.interval:
            absent = NullTests.none(*p.shape)
            return NullTests(p, absent.lower, absent.upper)
        b, slope = drawn[:, :, 0], self.assigned.estimates(self.real)[:, :, 0]
        lower, upper = linear_interval(b[:, 0], b[:, 1:], slope[:, 1:])
        return NullTests(p, lower[:, None], upper[:, None])

    def _statistics(self, y: Floats) -> Floats:
        """Raw or studentised statistics, (R, 1 + B, K), NaN where a fit fails."""
        if self.statistic == "raw":
            return self.assigned.estimates(y)[:, :, self.columns]
        fits = self.assigned.fit(y)
        return np.where((fits.status == Status.OK)[:, :, None], fits.estimate / fits.se, np.nan)[:, :, self.columns]


def _searched(fits: ShiftedFits) -> NullTests:
    """The studentised test of one linear estimate, inverted by bisection."""

    def pvalue(c: Floats) -> Floats:
        t = fits.t(c)
        return p_values(t[:, 0], t[:, 1:])

    real = fits.b[:, 0]
    lower, upper = searched_interval(real, np.sqrt(fits.v0[:, 0]), pvalue)
    return NullTests(pvalue(np.zeros_like(real))[:, None], lower[:, None], upper[:, None])
