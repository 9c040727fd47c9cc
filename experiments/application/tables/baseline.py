"""Table 2: the outcome on the treatment, alone, with controls, and with period and unit effects."""

from __future__ import annotations

from collections.abc import Mapping

from estimators.core.estimator import Estimator
from estimators.linear.random_effects import RandomEffects
from experiments.application.spec.spec import RealPanel, Spec
from experiments.application.tables.columns import error_types, regression
from experiments.application.tables.few_clusters import TOO_SMALL, few_clusters, few_treated
from experiments.application.tables.ledger import Ledger, reasons
from results.tables.places import BASELINE, further_column
from results.tables.records import Fit
from sim.errors import BadInput
from sim.panel import Panel

EFFECTS: dict[str, tuple[str, ...]] = {  # of a column of `BASELINE`
    "alone": (),
    "controls": (),
    "controls, periods": ("period",),
    "controls, units": ("unit",),
    "controls, units, periods": ("unit", "period"),
}


def add(real: RealPanel, ledger: Ledger) -> None:
    """All columns; those without unit effects by pooled OLS and by random effects, for the paper does not say which."""
    roles = real.panel.roles
    if not roles.regressors:
        ledger.note("No table 2: the spec names neither a treatment nor controls.")
        return
    if roles.treatment is None:
        ledger.note("The spec names no treatment: the coefficients are those of the controls.")
    if roles.treatment is not None and not roles.controls:
        ledger.note("Table 2 has no column 2: this column adds controls, and the spec names none.")
    if any(error.startswith("wild:") for error in real.spec.inference.errors):
        ledger.note("Random effects have no wild bootstrap; their columns show the other error types.")
    _say_what_is_few(real, ledger)
    fits: dict[Estimator, Fit] = {}
    for title in EFFECTS:
        regressors = (roles.treatment,) if title == "alone" else roles.regressors
        if None in regressors or (title == "controls" and not roles.controls):
            continue
        fits |= _column(title, tuple(name for name in regressors if name), real.spec)
    ledger.fit(real.panel, fits)


def add_chosen(ledger: Ledger, chosen: Mapping[Estimator, Panel]) -> None:
    """Further columns: estimators that the user named, each on its panel; a note where one cannot serve."""
    for position, (estimator, panel) in enumerate(chosen.items()):
        place = further_column(position)
        try:
            ledger.fit(panel, {estimator: Fit(place, estimator.name)})
        except BadInput as error:
            ledger.note(f"Table {place[0]} has no column {place[1]} ({estimator.name}): {reasons(error)}.")


def _say_what_is_few(real: RealPanel, ledger: Ledger) -> None:
    """Warnings on clustered errors of the whole panel, once for all tables."""
    if real.panel.roles.treatment is not None and (few := few_treated(real.panel, real.spec)):
        ledger.note(f"The panel has {few}: {TOO_SMALL} (tables 2, 3 and R; table S, column 1). The wild cluster "
                    "bootstrap then rejects too rarely. A permutation test of the treatment keeps its level: see "
                    "panelproof placebo.")  # fmt: skip
    for sentence in few_clusters(real):
        ledger.note(sentence)


def _column(title: str, regressors: tuple[str, ...], spec: Spec) -> dict[Estimator, Fit]:
    """The estimators of one column."""
    place, effects = BASELINE[title], EFFECTS[title]
    model = "did" if "unit" in effects else "pooled"
    label = f"table-{place[0]}-column-{place[1]}"
    fits: dict[Estimator, Fit] = {regression(spec, f"{label}-{model}", regressors, effects=effects): Fit(place, model)}
    if model == "pooled":
        errors = tuple(error for error in error_types(spec) if not error.startswith("wild:"))
        random = RandomEffects(
            regressors=regressors, periods="period" in effects, errors=errors, label=f"{label}-random"
        )
        fits[random] = Fit(place, "random")
    return fits
