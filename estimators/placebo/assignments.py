"""The assignments that a permutation test compares the real one with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.panel import Panel
from sim.schemes import scheme_of
from sim.schemes.randomisation import Codes, Randomisation
from sim.streams import Streams


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

    def treatments(self) -> NDArray[np.intp] | NDArray[np.float64]:
        """Those of one variable, the real one first, as kernels take them: first treated periods (1 + B, N) where all
        are absorbing, T = never, else the treatments (1 + B, T, N)."""
        (paths,) = self.randomisation.paths.values()
        codes = self.with_real
        if np.isin(paths, (0.0, 1.0)).all() and (np.diff(paths, axis=1) >= 0).all():
            return np.asarray((paths.shape[1] - paths.sum(axis=1)).astype(np.intp)[codes])
        return np.ascontiguousarray(paths.T[:, codes].transpose(1, 0, 2))
