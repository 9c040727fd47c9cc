"""A twin of a real panel: a `panel` design whose parts are fitted to it, with a report of how like it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.panel_spec.sections import TwinSection
from experiments.panel_spec.spec import RealPanel
from experiments.run.reporting import check_folder, write_whole
from experiments.settings import build
from experiments.study import Study
from experiments.toml_files import validated
from experiments.twins.fidelity import FidelityRow, fidelity, misses
from experiments.twins.methods import MethodFit, Parameter, fit_by
from experiments.twins.real import Real, section_of
from experiments.twins.worlds import FILE, consecutive, held_panel, study_table
from results.report.panel_pages import fidelity_page
from sim.arrays import Floats
from sim.errors import BadInput
from sim.panel import Panel
from sim.panel_sidecars import panel_text, write_beside
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
    fidelity: tuple[FidelityRow, ...]
    notes: tuple[str, ...]
    joint: float
    null: bool = True
    covariance: Floats | None = None
    variations: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = ()
    others: tuple[Twin, ...] = ()

    def __repr__(self) -> str:
        others = "".join(f", beside {other.method}" for other in self.others)
        return f"Twin({self.method} of {len(self.held.units)} units x {len(self.held.periods)} periods{others})"

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
        from experiments.study import twin_card  # for notebooks alone

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
    fits: dict[str, MethodFit] = {name: fit_by(name, panel) for name in panel.section.method}
    held = held_panel(panel, fits)
    first, *others = (_twin(panel, name, fit, held) for name, fit in fits.items())
    return replace(first, others=tuple(others))


def study_with(tables: dict[str, Any], held: Panel) -> Study:
    """The study of tables that name the file of the panel, with the panel itself."""
    design = tables["design"]
    geography = design["geography"] | {"panel": panel_text(held)}
    return Study.from_settings(tables | {"design": design | {"geography": geography}}, "twin")


def _twin(real: Real, method: str, fit: MethodFit, held: Panel) -> Twin:
    tables = study_table(real, method, fit, held)
    design = study_with(tables, held).design
    assert isinstance(design, PanelDesign)
    notes = fit.notes if consecutive(real) else (*fit.notes, STEPS.format(real.panel.periods[0]))
    rows, joint = fidelity(real, method, design)
    return Twin(method, fit.parameters, tables, held, rows, notes, joint, fit.null, fit.covariance, fit.nearby)


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


# What `panelproof twin` prints and writes.


CAUTION = (
    "A twin shows how estimators perform in the world that was fitted. Its adoption is as good as the fitted one. Its "
    "trends are parallel unless a trend gap is set. Rankings of estimators can mislead where the fitted "
    "model is wrong, so compare methods and read what each twin misses."
)


def document(found: Twin) -> dict[str, Any]:
    """Every number that is shown, as plain data."""
    return {
        "twins": [
            {
                "method": twin.method,
                "parameters": [
                    {
                        "dial": item.dial,
                        "value": item.value,
                        "se": item.se if np.isfinite(item.se) else None,
                        "statistic": item.what,
                        "raw": item.raw,
                    }
                    for item in twin.parameters
                ],
                "effect": twin.tables["design"]["effect"]["size"],
                "joint": twin.joint,
                "null": twin.null,
                "notes": list(twin.notes),
                "misses": list(misses(twin.fidelity)),
            }
            for twin in found.all
        ],
        "fidelity": [asdict(row) for twin in found.all for row in twin.fidelity],
    }


def print_twin(found: Twin, console: Console) -> None:
    """Fitted parameters beside the panel's own statistics, and what each twin misses."""
    for twin in found.all:
        console.print(Text(f"Twin by the method {twin.method}", style="bold"))
        table = Table("dial", "fitted", "standard error", "panel's own", "statistic", box=None, pad_edge=False)
        for item in twin.parameters:
            error = f"{item.se:.2g}" if np.isfinite(item.se) else ""
            table.add_row(item.dial, f"{item.value:.4g}", error, f"{item.raw:.4g}", item.what)
        console.print(table)
        console.print(Text(f"effect in the twin: {twin.tables['design']['effect']['size']:.4g}"))
        inside = sum(row.inside for row in twin.fidelity)
        console.print(Text(f"{inside} of {len(twin.fidelity)} features of the panel lie within the band of its twins."))
        console.print(Text(f"Joint test of the residuals' features: p = {twin.joint:.3g}."))
        for sentence in misses(twin.fidelity):
            console.print(Text(f"It misses: {sentence}", style="yellow"))
        for note in twin.notes:
            console.print(Text(note, style="yellow"))
        console.print()
    console.print(Text(CAUTION))


def write_twin(found: Twin, folder: str | Path) -> list[Path]:
    """Write design.toml (design-METHOD.toml for further methods), panel.parquet, fidelity.json and fidelity.html.

    Raises BadInput, before anything is written, where the folder cannot be.
    """
    folder = Path(folder)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held = document(found)
    waiting = folder / f".{FILE}.partial"
    write_beside(found.held, waiting)
    os.replace(waiting, folder / FILE)
    files: dict[str, str | bytes] = {}
    for twin in found.all:
        name = "design.toml" if twin is found.all[0] else f"design-{twin.method}.toml"
        files[name] = tomli_w.dumps(twin.tables)
    files["fidelity.json"] = json.dumps(held["fidelity"], indent=1, ensure_ascii=False) + "\n"
    files["fidelity.html"] = fidelity_page(held, CAUTION)
    return [folder / FILE, *write_whole(folder, files)]
