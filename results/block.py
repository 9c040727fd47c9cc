"""One block of a study: what a task returns, the store keeps and a diagnosis reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from estimators.estimator import Estimates, Layout


@dataclass(frozen=True, slots=True)
class Block:
    """R consecutive replications of one cell: truths (R,) by estimand and estimates by estimator.

    `tracebacks` names the estimator and replication (absolute) of every fit that raised, with the text.
    """

    truth: Mapping[str, NDArray[np.float64]]
    estimates: Mapping[str, Estimates]
    tracebacks: Mapping[str, str]

    @property
    def replications(self) -> int:
        """R."""
        return next(iter(self.estimates.values())).status.size


class Records(Protocol):
    """What a diagnosis needs of a store: cells, layouts, and the finished blocks of each cell in order."""

    @property
    def cells(self) -> Sequence[Mapping[str, object]]:
        """The grid parameters of each cell."""
        ...

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """The layout of each estimator, by name."""
        ...

    def blocks(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order of replications."""
        ...
