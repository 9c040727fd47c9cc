"""Names of estimands, e.g. `att`, `att(2010,2012)`, `beta(w_did)`, `direct(did)`.

`dependence` is the larger of |rho| and the size of the errors' spatial coefficient, lambda or that of a moving average:
zero where there is spatial dependence of no kind, NaN where units share shocks that no such coefficient describes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OF_A_VARIABLE = frozenset({"beta", "direct", "indirect", "total"})
NULLS = {"dependence": "rho = lambda = 0"}  # what a test of an estimand says, where it is not "NAME = 0"
_CALL = re.compile(r"(?P<kind>[a-z0-9_]+)(?:\((?P<arguments>.*)\))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Estimand:
    """A parsed name: what is asked (`kind`) and of what (`arguments`)."""

    kind: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, name: str) -> Estimand:
        """Read a name; raises ValueError when it is not of the form `kind` or `kind(a, b)`.

        A kind of `OF_A_VARIABLE` has one argument, all within the outermost parentheses: a variable may have any name.
        """
        match = _CALL.fullmatch(name)
        if match is None:
            raise ValueError(f"not the name of an estimand: {name!r}")
        kind, arguments = match["kind"], match["arguments"]
        if not arguments:
            return cls(kind, ())
        return cls(kind, (arguments,) if kind in OF_A_VARIABLE else tuple(map(str.strip, arguments.split(","))))


def null_hypothesis(name: str) -> str:
    """What a test of an estimand takes for true, e.g. "rho = 0"."""
    return NULLS.get(name, f"{name} = 0")
