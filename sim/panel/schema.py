"""What is known of a panel before its numbers: sizes, names, and what its variables are to the question."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim.errors import bad, closest, one_of


@dataclass(frozen=True, slots=True)
class Roles:
    """What the variables of a panel are to the question: names of variables, in order.

    continuous: whether the treatment has any strength, so that a regression finds its effect a unit.
    """

    outcome: str | None = None
    treatment: str | None = None
    controls: tuple[str, ...] = ()
    mediators: tuple[str, ...] = ()
    continuous: bool = field(default=False, repr=False)  # not shown, so that digests of panels stay what they were

    @property
    def regressors(self) -> tuple[str, ...]:
        """The treatment, if there is one, and the controls."""
        return (*((self.treatment,) if self.treatment else ()), *self.controls)


@dataclass(frozen=True, slots=True)
class Schema:
    """All that is known of a panel before its numbers: sizes, names, roles."""

    units: int
    periods: int
    variables: tuple[str, ...]
    attributes: tuple[str, ...]
    weights: tuple[str, ...]
    roles: Roles

    def require(self, name: str, asked_by: str) -> str:
        """`name` if the panel has that variable; raises BadInput otherwise."""
        if name not in self.variables:
            raise bad(f"no variable {name!r} in the panel", where=asked_by, allowed=one_of(self.variables),
                      remedy=closest(name, self.variables))  # fmt: skip
        return name
