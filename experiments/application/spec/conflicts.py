"""What is wrong between keys of a SPEC.toml that are fine on their own, before any panel is read."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.core.error_types import columns_of, forms, served
from experiments.application.spec.sections import (
    PLACES,
    IndexSection,
    InferenceSection,
    PanelSection,
    PsmSection,
    RobustnessSection,
    Spec,
)
from sim.errors import Problem, one_of
from sim.panel_files import TREATMENT

TERMS = ("constant", TREATMENT, "rho", "lambda", "sigma2")
EFFECTS = ("direct:", "indirect:", "total:")


def conflicts(spec: Spec) -> Iterator[Problem]:
    """All of them, section by section."""
    panel, file = spec.panel, spec.file
    if spec.index is not None:
        yield from _index_problems(spec.index, spec, f"{file}, [index]")
    yield from _role_problems(panel, spec.index, f"{file}, [panel]")
    yield from _names_of_terms(spec)
    for made in spec.transform:
        if made.name in (panel.unit, panel.period):
            yield Problem(f"{made.name!r} is the unit or the period", f"{file}, [transform]", "a new name",
                          "choose another name")  # fmt: skip
    yield from _weights_problems(spec)
    yield from _error_problems(spec.inference, panel, spec.group_columns, f"{file}, [inference] errors")
    yield from _robustness_problems(spec.robustness, panel, f"{file}, [robustness]")
    if spec.robustness.psm is not None:
        yield from _psm_problems(spec.robustness.psm, panel, f"{file}, [robustness.psm]")


def _index_problems(index: IndexSection, spec: Spec, where: str) -> Iterator[Problem]:
    panel = spec.panel
    if panel.outcome not in (None, index.name):
        yield Problem(f"outcome = {panel.outcome!r} is not the index {index.name!r}", f"{spec.file}, [panel]",
                      f"outcome = {index.name!r}, or none", "remove outcome, or remove [index]")  # fmt: skip
    if index.name == TREATMENT and (panel.treatment or panel.first_treated):
        yield Problem(f"name = {index.name!r}", where, f"the name {TREATMENT!r} for the treatment only",
                      "choose another name")  # fmt: skip
    taken = {panel.unit: "the unit", panel.period: "the period"}
    taken |= {made.name: "made in [transform] already" for made in spec.transform}
    for name in (index.name, *index.diversification):
        if name in taken:
            yield Problem(f"{name!r} is {taken[name]}", where, "a new name", "choose another name")
    if index.name in index.diversification:
        yield Problem(f"{index.name!r} is the index and a diversification", where, "different names",
                      "choose another name")  # fmt: skip


def _role_problems(panel: PanelSection, index: IndexSection | None, where: str) -> Iterator[Problem]:
    if panel.treatment and panel.first_treated:
        yield Problem("treatment and first_treated are both given", where, "one of them", "remove one")
    if (panel.longitude is None) != (panel.latitude is None):
        yield Problem("longitude and latitude are not both given", where, "both or none", "add the other")
    single = [panel.unit, panel.period, panel.outcome, panel.treatment, panel.first_treated, panel.other_policy]
    indicators = () if index is None else index.indicators
    roles = [name for name in (*single, *panel.controls, *panel.mediators, *indicators) if name]
    for name in dict.fromkeys(roles):
        if roles.count(name) > 1:
            yield Problem(f"the column {name!r} is used twice", where, "one role for each column", "name it once")


def _names_of_terms(spec: Spec) -> Iterator[Problem]:
    """Variables whose names the models need for terms of their own."""
    panel, robustness = spec.panel, spec.robustness
    regressors = dict.fromkeys(panel.controls, "[panel] controls")
    regressors |= dict.fromkeys(panel.mediators, "[panel] mediators")
    regressors |= {panel.other_policy: "[panel] other_policy"} if panel.other_policy else {}
    regressors |= dict.fromkeys(robustness.policies, "[robustness] policies")
    regressors |= dict.fromkeys(robustness.covariates, "[robustness.psm] covariates")
    others = {panel.outcome: "[panel] outcome"} if panel.outcome and spec.index is None else {}
    others |= dict.fromkeys(spec.indicators, "[index]") | dict.fromkeys(robustness.outcomes, "[robustness] outcomes")
    lags = {f"w_{name}" for name in (TREATMENT, *regressors)}
    taken = {name: key for name, key in others.items() if name == TREATMENT} | {
        name: key for name, key in regressors.items() if name in TERMS or name in lags or name.startswith(EFFECTS)
    }
    effects = one_of(f"{kind}NAME" for kind in EFFECTS)
    for name, key in taken.items():
        if name != panel.treatment:
            yield Problem(f"the column {name!r} has the name of a term of the models", f"{spec.file}, {key}",
                          f"names other than {one_of(TERMS)}, w_NAME of a regressor, {effects}",
                          f'rename it, or copy it in [transform]: NEW = {{ scale = ["{name}", 1] }}')  # fmt: skip


def _weights_problems(spec: Spec) -> Iterator[Problem]:
    where = f"{spec.file}, [[weights]]"
    labels = [section.label for section in spec.weights]
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            yield Problem(f"two weights are called {label!r}", where, "different names",
                          'give one of them name = "..."')  # fmt: skip
    for section in spec.weights:
        if section.places and spec.panel.longitude is None:
            yield Problem(f"{section.label} needs coordinates", where, "longitude and latitude in [panel]",
                          "name the columns in degrees")  # fmt: skip


def _error_problems(
    inference: InferenceSection, panel: PanelSection, groups: tuple[str, ...], where: str
) -> Iterator[Problem]:
    """Error types that do not exist, or that name what has another name."""
    keys = {panel.unit: "unit", panel.period: "period"}
    allowed = forms("regression", (*groups, "COLUMN"))
    for error in dict.fromkeys(inference.errors):
        named = columns_of(error, groups)
        called = [f"{name!r} is the {keys[name]}" for name in named if name in keys and name != keys[name]]
        if not _exists(error, groups):
            yield Problem(f"unknown error type {error!r}", where, one_of(allowed), "choose among them")
        elif called:
            yield Problem(f"{error!r}: {' and '.join(called)}", where, "unit, period, or a column of groups of units",
                          "write cluster:unit, wild:unit or cluster:period")  # fmt: skip
        elif error.startswith("conley:") and panel.longitude is None:
            yield Problem(f"{error!r} needs coordinates", where, "longitude and latitude in [panel]",
                          "name the columns in degrees, or choose another error type")  # fmt: skip


def _exists(error: str, groups: tuple[str, ...]) -> bool:
    """Whether regressions know an error type; columns that it names become groups of units."""
    named = tuple(name for name in columns_of(error, groups) if name not in ("", "unit", "period"))
    return served(error, named, "regression")


def _robustness_problems(section: RobustnessSection, panel: PanelSection, where: str) -> Iterator[Problem]:
    treatment = panel.treatment or panel.first_treated
    keys = {panel.unit: "the unit", panel.period: "the period"}
    own = {treatment: "the treatment"} if treatment else {}
    others = keys | ({panel.outcome: "the outcome"} if panel.outcome else {})
    others |= dict.fromkeys(panel.controls, "a control") | own
    for key, names, taken in (("policies", section.policies, others), ("outcomes", section.outcomes, others),
                              ("psm.covariates", section.covariates, keys | own)):  # fmt: skip
        for name in names:
            if name in taken:
                yield Problem(f"{key} names {name!r}, which is {taken[name]}", where, "another column", "remove it")
    for name, key in section.attributes(panel.unit).items():
        if name in PLACES and getattr(panel, name) not in (None, name):
            yield Problem(f"the column {name!r} of {key} is not the one that [panel] names for {name}", where,
                          "a column of another name", "rename that column")  # fmt: skip
    if section.region_by_period == panel.unit:
        yield Problem(f"region_by_period = {panel.unit!r} is the unit", where, "a column of groups of units",
                      "name a coarser column, such as the province")  # fmt: skip
    if section.staggered and not treatment:
        yield Problem("staggered: there is no treatment to adopt", where, "treatment or first_treated in [panel]",
                      "name it, or remove the key")  # fmt: skip


def _psm_problems(psm: PsmSection, panel: PanelSection, where: str) -> Iterator[Problem]:
    if not (panel.treatment or panel.first_treated):
        yield Problem("there is no treatment to match on", where, "treatment or first_treated in [panel]",
                      "name it, or remove [robustness.psm]")  # fmt: skip
    if not (panel.controls if psm.covariates is None else psm.covariates):
        yield Problem("there is no covariate to match on", where, "covariates = [...], or controls in [panel]",
                      "name one or more")  # fmt: skip
