"""A whole SPEC.toml as one frozen value."""

from __future__ import annotations

from experiments.application.spec.robustness import RobustnessSection
from experiments.application.spec.section import Section
from experiments.application.spec.sections import IndexSection, InferenceSection, PanelSection
from experiments.application.spec.transforms import Transform
from experiments.application.spec.weights import AnyWeights, Economic, Nested


class Spec(Section):
    """A whole SPEC.toml: what the columns of a panel file are, new columns, an index, weights (the first: the main).

    inference and robustness: what is asked of the estimates beside the paper's own.
    """

    panel: PanelSection
    transform: tuple[Transform, ...] = ()
    index: IndexSection | None = None
    weights: tuple[AnyWeights, ...] = ()
    inference: InferenceSection = InferenceSection()
    robustness: RobustnessSection = RobustnessSection()
    file: str = "spec.toml"

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute -> column of everything that is constant within units."""
        further = (*self.robustness.attributes(self.panel.unit), *self.clusters)
        return self.panel.attributes | {name: name for name in further if name != self.panel.unit}

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Columns of groups of units that [panel] and [robustness] name."""
        return tuple(dict.fromkeys((*self.panel.group_columns, *self.robustness.attributes(self.panel.unit))))

    @property
    def clusters(self) -> tuple[str, ...]:
        """Columns that the error types of [inference] name."""
        return self.inference.clusters(self.group_columns)

    @property
    def mean_columns(self) -> tuple[str, ...]:
        """Columns whose unit means economic weights need."""
        return tuple(dict.fromkeys(w.variable for w in self.weights if isinstance(w, Economic | Nested)))

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns that become variables, in order; the treatment under its own name."""
        own = self.panel
        outcome = own.outcome if self.index is None else None
        single = [name for name in (outcome, own.treatment, own.other_policy) if name]
        return tuple(dict.fromkeys((*single, *own.controls, *own.mediators, *self.indicators)))

    @property
    def made(self) -> frozenset[str]:
        """Columns that the spec makes and the file need not have."""
        return frozenset((*(made.name for made in self.transform), *(self.index.diversification if self.index else ())))

    @property
    def indicators(self) -> tuple[str, ...]:
        """The indicators of the index, none where there is no index."""
        return () if self.index is None else self.index.indicators
