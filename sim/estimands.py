"""Names of estimands, e.g. `att`, `att(2010,2012)`, `beta(w_did)`, `direct(did)`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CALL = re.compile(r"(?P<kind>[a-z0-9_]+)(?:\((?P<arguments>[^()]*)\))?")


@dataclass(frozen=True, slots=True)
class Estimand:
    """A parsed name: what is asked (`kind`) and of what (`arguments`)."""

    kind: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, name: str) -> Estimand:
        """Read a name; raises ValueError when it is not of the form `kind` or `kind(a, b)`."""
        match = _CALL.fullmatch(name)
        if match is None:
            raise ValueError(f"not the name of an estimand: {name!r}")
        arguments = match["arguments"]
        return cls(match["kind"], tuple(part.strip() for part in arguments.split(",")) if arguments else ())
