"""A twin of a real panel: a `panel` design whose parts are fitted to it, with a report of how like it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from experiments.application.spec.spec import RealPanel
from experiments.application.spec.twin import TwinSection
from experiments.settings import build
from experiments.study.study import Study
from experiments.toml_files import validated
from experiments.twins.fidelity import Row, fidelity
from experiments.twins.methods import Fit, Parameter, method_called
from experiments.twins.real import Real, section_of
from experiments.twins.worlds import consecutive, held_panel, study_table
from sim.arrays import Floats
from sim.errors import BadInput
from sim.panel import Panel
from sim.panel_sidecars import panel_text
from sim.world.context import Slot, slots_of
from sim.world.panel_design import PanelDesign

STEPS = "The periods of the panel are not consecutive; those of the twin are numbered from {} in steps of one."


@dataclass(frozen=True, eq=False)
class Twin:
    """A twin by one method.

    parameters: what was fitted, each beside the panel's own statistic. tables: the study as design.toml has it. held:
    what is kept real. fidelity: features of the panel beside the twins'. joint: p value of the test that the panel's
    residuals are like those of its twins. null: whether the twin can serve as a world without an effect; one whose
    signal and calendar are both kept cannot, and has no vote. covariance (P, P): of the parameters over panels of the
    fitted world, None where a method has none. variations: levels and errors as such panels would give them. notes:
    what a reader should know. others: the twins by further methods, of the same panel.
    """

    method: str
    parameters: tuple[Parameter, ...]
    tables: dict[str, Any]
    held: Panel
    fidelity: tuple[Row, ...]
    notes: tuple[str, ...]
    joint: float
    null: bool = True
    covariance: Floats | None = None
    variations: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()
    others: tuple[Twin, ...] = ()

    @cached_property
    def study(self) -> Study:
        """The study of design.toml with the panel in it."""
        return study_with(self.tables, self.held)

    @property
    def design(self) -> PanelDesign:
        """The fitted design."""
        assert isinstance(self.study.design, PanelDesign)
        return self.study.design

    @cached_property
    def nearby(self) -> tuple[PanelDesign, ...]:
        """Worlds that panels of the fitted world would give: its uncertainty; () where nothing is fitted anew."""
        slots = slots_of(PanelDesign)
        return tuple(
            replace(self.design, levels=_part(slots["levels"], levels), errors=_part(slots["errors"], errors))
            for levels, errors in self.variations
        )

    def _repr_html_(self) -> str:
        from experiments.notebook import twin_card  # for notebooks alone

        return twin_card(self)

    @property
    def all(self) -> tuple[Twin, ...]:
        """This twin and the others."""
        return (self, *self.others)


def twin(real: RealPanel, method: str | Sequence[str] | None = None) -> Twin:
    """The twin of a panel as its spec says, by the first of its methods, with those by the others.

    method: one or more, in place of the spec's. Raises BadInput.
    """
    panel = Real.of(real if method is None else _with_methods(real, method))
    fits: dict[str, Fit] = {name: method_called(name).fit(panel) for name in panel.section.method}
    held = held_panel(panel, fits)
    first, *others = (_twin(panel, name, fit, held) for name, fit in fits.items())
    return replace(first, others=tuple(others))


def study_with(tables: dict[str, Any], held: Panel) -> Study:
    """The study of tables that name the file of the panel, with the panel itself."""
    design = tables["design"]
    geography = design["geography"] | {"panel": panel_text(held)}
    return Study.from_settings(tables | {"design": design | {"geography": geography}}, "twin")


def _twin(real: Real, method: str, fit: Fit, held: Panel) -> Twin:
    tables = study_table(real, method, fit, held)
    design = study_with(tables, held).design
    assert isinstance(design, PanelDesign)
    notes = fit.notes if consecutive(real) else (*fit.notes, STEPS.format(real.panel.periods[0]))
    report = fidelity(real, method, design)
    return Twin(
        method, fit.parameters, tables, held, report.rows, notes, report.joint, fit.null, fit.covariance, fit.nearby
    )


def _part(slot: Slot, table: Mapping[str, Any]) -> Any:
    """The part that a table of a design describes."""
    cls = slot.find(str(table.get("kind", slot.base.default)), "twin")
    return build(cls, {key: value for key, value in table.items() if key != "kind"}, "twin")


def _with_methods(real: RealPanel, method: str | Sequence[str]) -> RealPanel:
    """The panel with other methods in its spec; raises BadInput for those that do not exist."""
    named = [method] if isinstance(method, str) else list(method)
    written = section_of(real.spec).model_dump(exclude_unset=True) | {"method": named}
    section, problems = validated(TwinSection, written, "twin")
    if section is None or problems:
        raise BadInput(*problems)
    return replace(real, spec=real.spec.model_copy(update={"twin": section}))
