"""Methods by which a twin is fitted: one module each, found by existing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from experiments.twins.real import Real
from sim.discovery import discover

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a twin. dial: of the design; raw: the panel's own statistic (what: in words); value: as fitted."""

    dial: str
    value: float
    what: str
    raw: float


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """What a method made of a panel.

    levels, errors: tables of the design. variables (T, N), attributes (N,): what these tables read of the panel that is
    kept. parameters: what was fitted. notes: in words, what a reader should know of the fit.
    """

    levels: Mapping[str, Any]
    errors: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    variables: Mapping[str, Floats] = field(default_factory=dict)
    attributes: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Method(ABC):
    """A way to fit the levels and the errors of a twin; a class without settings."""

    kind: ClassVar[str]

    @abstractmethod
    def fit(self, real: Real) -> Fit:
        """Levels and errors of a panel; raises BadInput where the panel does not allow it."""


def method_called(kind: str) -> Method:
    """The method of a name."""
    found: type[Method] = discover(__name__, Method)[kind]
    return found()


def kept_levels(method: str) -> dict[str, Any]:
    """The table [design.levels] of fitted levels, with its dials at 1 to be set to 0."""
    return {"kind": "fitted", "method": method, "additive": 1.0, "interactive": 1.0}


def additive_part(values: Floats) -> Floats:
    """Row means plus column means less the grand mean, (T, N)."""
    out = values.mean(axis=0) + values.mean(axis=1)[:, None] - values.mean()
    return np.asarray(out)
