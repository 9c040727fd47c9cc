"""What is wrong between keys of a SPEC.toml that are fine on their own, before any panel is read."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.core.error_types import forms, groups_of, served
from experiments.application.spec.index import index_conflicts
from experiments.application.spec.model import Spec
from experiments.application.spec.robustness import robustness_problems
from experiments.application.spec.sections import IndexSection, InferenceSection, PanelSection
from sim.errors import Problem, one_of
from sim.panel.frames import TREATMENT

TERMS = ("constant", TREATMENT, "rho", "lambda", "sigma2")
EFFECTS = ("direct:", "indirect:", "total:")


def conflicts(spec: Spec) -> list[Problem]:
    """All of them, section by section."""
    panel, file = spec.panel, spec.file
    problems = [] if spec.index is None else index_conflicts(spec.index, panel, spec.transform, file)
    problems += _role_problems(panel, spec.index, f"{file}, [panel]")
    problems += _names_of_terms(spec)
    problems += [
        Problem(f"{made.name!r} is the unit or the period", f"{file}, [transform]", "a new name", "choose another name")
        for made in spec.transform
        if made.name in (panel.unit, panel.period)
    ]
    problems += _weights_problems(spec)
    problems += _error_problems(spec.inference, panel, spec.group_columns, f"{file}, [inference] errors")
    return problems + robustness_problems(spec.robustness, panel, file)


def _role_problems(panel: PanelSection, index: IndexSection | None, where: str) -> list[Problem]:
    problems = []
    if panel.treatment and panel.first_treated:
        problems.append(Problem("treatment and first_treated are both given", where, "one of them", "remove one"))
    if (panel.longitude is None) != (panel.latitude is None):
        problems.append(Problem("longitude and latitude are not both given", where, "both or none", "add the other"))
    single = [panel.unit, panel.period, panel.outcome, panel.treatment, panel.first_treated, panel.other_policy]
    indicators = () if index is None else index.indicators
    roles = [name for name in (*single, *panel.controls, *panel.mediators, *indicators) if name]
    problems += [
        Problem(f"the column {name!r} is used twice", where, "one role a column", "name it once")
        for name in dict.fromkeys(roles)
        if roles.count(name) > 1
    ]
    return problems


def _names_of_terms(spec: Spec) -> Iterator[Problem]:
    """Variables whose names the models need for terms of their own."""
    panel, psm = spec.panel, spec.robustness.psm
    regressors = dict.fromkeys(panel.controls, "[panel] controls")
    regressors |= dict.fromkeys(panel.mediators, "[panel] mediators")
    regressors |= {panel.other_policy: "[panel] other_policy"} if panel.other_policy else {}
    regressors |= dict.fromkeys(spec.robustness.policies, "[robustness] policies")
    regressors |= dict.fromkeys(() if psm is None else psm.covariates or (), "[robustness.psm] covariates")
    others = {panel.outcome: "[panel] outcome"} if panel.outcome and spec.index is None else {}
    others |= dict.fromkeys(spec.indicators, "[index]") | dict.fromkeys(
        spec.robustness.outcomes, "[robustness] outcomes"
    )
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


def _weights_problems(spec: Spec) -> list[Problem]:
    where = f"{spec.file}, [[weights]]"
    labels = [section.label for section in spec.weights]
    problems = [
        Problem(f"two weights are called {label!r}", where, "different names", 'give one of them name = "..."')
        for label in dict.fromkeys(labels)
        if labels.count(label) > 1
    ]
    problems += [
        Problem(f"{section.label} needs coordinates", where, "longitude and latitude in [panel]",
                "name the columns in degrees")
        for section in spec.weights
        if section.places and spec.panel.longitude is None
    ]  # fmt: skip
    return problems


def _error_problems(
    inference: InferenceSection, panel: PanelSection, groups: tuple[str, ...], where: str
) -> Iterator[Problem]:
    """Error types that do not exist, repeat, or name what has another name."""
    keys = {panel.unit: "unit", panel.period: "period"}
    allowed = forms("regression", (*groups, "COLUMN"))
    for position, error in enumerate(inference.errors):
        named = groups_of(error, groups)
        called = [f"{name!r} is the {keys[name]}" for name in named if name in keys and name != keys[name]]
        if error in inference.errors[:position]:
            yield Problem(f"names {error!r} twice", where, "each once", "remove one")
        elif not _exists(error, groups):
            yield Problem(f"unknown error type {error!r}", where, one_of(allowed), "choose among them")
        elif called:
            yield Problem(f"{error!r}: {' and '.join(called)}", where, "unit, period, or a column of groups of units",
                          "write cluster:unit, wild:unit or cluster:period")  # fmt: skip
        elif error.startswith("conley:") and panel.longitude is None:
            yield Problem(f"{error!r} needs coordinates", where, "longitude and latitude in [panel]",
                          "name the columns in degrees, or choose another error type")  # fmt: skip


def _exists(error: str, groups: tuple[str, ...]) -> bool:
    """Whether regressions know an error type; columns that it names become groups of units."""
    named = tuple(name for name in groups_of(error, groups) if name not in ("", "unit", "period"))
    return served(error, named, "regression")
