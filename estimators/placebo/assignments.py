"""The assignments that a permutation test compares the real one with."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estimators.core.treatments import PathCodes
from sim.arrays import Codes
from sim.panel import Panel
from sim.schemes import scheme_of
from sim.schemes.randomisation import Randomisation
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

    def treatments(self) -> PathCodes:
        """Those of the one variable that is assigned, the real one first."""
        (paths,) = self.randomisation.paths.values()
        return PathCodes(np.concatenate([paths, np.zeros((1, paths.shape[1]))]), self.with_real)
