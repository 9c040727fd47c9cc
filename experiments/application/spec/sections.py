"""The sections of a SPEC.toml that say what the columns of a panel are, and how errors are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from estimators.core.error_types import groups_of
from experiments.application.spec.section import Flag, Name, Names, NamesByName, Section

Balance = Literal["error", "drop-units", "drop-periods"]


class PanelSection(Section):
    """[panel]: which columns are what, and what to do about gaps."""

    unit: Name
    period: Name
    outcome: Name | None = None  # the index, where there is one
    treatment: Name | None = None
    first_treated: Name | None = None
    controls: Names = ()
    mediators: Names = ()
    other_policy: Name | None = None
    capital: Name | None = None
    groups: Names = ()
    cluster: Name | None = None
    longitude: Name | None = None
    latitude: Name | None = None
    missing: Literal["error", "drop"] = "error"
    balance: Balance = "error"
    synthetic: Flag = False  # whether tables say that the data are

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Columns of groups of units: groups, and cluster where it is not the unit."""
        return tuple(dict.fromkeys(name for name in (*self.groups, self.cluster) if name and name != self.unit))

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute -> column: capital, longitude, latitude under these names, groups and cluster under their own."""
        named = {"capital": self.capital, "longitude": self.longitude, "latitude": self.latitude}
        return {name: column for name, column in named.items() if column} | {name: name for name in self.group_columns}


class IndexSection(Section):
    """[index]: the outcome as an entropy-weight index of indicators, and columns of diversification for it."""

    name: Name = "index"
    positive: Names = ()
    negative: Names = ()
    dimensions: NamesByName = Field(default_factory=dict)
    diversification: NamesByName = Field(default_factory=dict)

    @property
    def indicators(self) -> tuple[str, ...]:
        """All indicators once, the positive ones first."""
        return tuple(dict.fromkeys((*self.positive, *self.negative)))


class InferenceSection(Section):
    """[inference]: error types beside iid, HC1 and clustered ones, and how much is drawn.

    errors: as the estimators name them, e.g. "driscoll-kraay", "cluster:unit+province", "conley:200", "wild:unit".
    draws: of every bootstrap, permutation and simulation; seed: of all of them.
    """

    errors: Names = ()
    draws: Annotated[int, Field(ge=99, le=100_000, strict=True)] = 999
    seed: Annotated[int, Field(ge=0, strict=True)] = 20240601

    def clusters(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Columns that clustered and wild error types name; `groups`: columns that are, whatever their names hold."""
        named = (name for error in self.errors for name in groups_of(error, groups))
        return tuple(dict.fromkeys(name for name in named if name not in ("unit", "period")))
