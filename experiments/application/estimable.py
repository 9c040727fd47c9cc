"""Whether a real panel can be estimated as its spec says, before anything is: what is wrong, all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from estimators.core.error_types import kind_of
from estimators.core.regression import check_fixed
from estimators.linear.few_treated import PLACEBOS
from experiments.application.spec.spec import RealPanel
from experiments.application.tables.columns import clustered_enough, error_types, never_treated
from sim.errors import BadInput, Problem, gathering, refuse
from sim.panel import Panel


def check_estimable(real: RealPanel) -> None:
    """Raise BadInput for a spec without models, gaps that W forbids, and columns that no regression can take."""
    problems = [*_without_models(real)]
    with gathering(problems):
        if real.panel.weights:
            real.balanced()
    problems += [*_column_problems(real), *_cluster_problems(real)]
    refuse(problems)


def _without_models(real: RealPanel) -> Iterator[Problem]:
    if not real.panel.roles.regressors and not real.panel.weights:
        yield Problem("there is neither a treatment nor a control, and no weights", f"{real.spec.file}, [panel]",
                      "treatment, first_treated or controls (or [[weights]], only for spatial autocorrelation)",
                      'name what explains the outcome, e.g. controls = ["x"]')  # fmt: skip


def _cluster_problems(real: RealPanel) -> Iterator[Problem]:
    """Error types of the regressions whose clusters, of one grouping at least, are fewer than two."""
    asked = error_types(real.spec) if real.panel.roles.regressors else ()
    sound = clustered_enough(real.panel, asked)
    for error in (error for error in asked if error not in sound):
        key = "[inference] errors" if error in real.spec.inference.errors else "[panel] cluster"
        where = f"{real.spec.file}, {key}"
        if kind_of(error) in PLACEBOS:
            count = never_treated(real.panel)
            yield Problem(f"{error} with {count} unit{'s' * (count != 1)} never treated", where,
                          "a treatment, and 2 or more units without it", "choose another error type")  # fmt: skip
        else:
            yield Problem(f"{error} has 1 cluster", where, "2 or more clusters", "choose a finer grouping")


def _column_problems(real: RealPanel) -> Iterator[Problem]:
    """Regressors and outcome that are constant, absorbed by the effects or collinear, under the user's names."""
    section, index, roles = real.spec.panel, real.spec.index, real.panel.roles
    treatment = section.treatment or section.first_treated
    column = {name: name for name in (*roles.controls, roles.outcome) if name}
    column |= {roles.treatment: treatment} if roles.treatment and treatment else {}
    panel = replace(real.panel, variables={own: real.panel.variables[name] for name, own in column.items()}, weights={})
    sound: tuple[str, ...] = ()
    for name in (*(column[name] for name in roles.regressors), *((roles.outcome,) if roles.outcome else ())):
        alone = name == roles.outcome and treatment in sound and not _fit(panel, str(treatment), name)
        try:
            check_fixed(panel, (str(treatment), name) if alone else (*sound, name), "")
            sound = (*sound, name)
        except BadInput as error:
            made = index is not None and name == index.name
            where = f"{real.spec.file}, [index] {name}" if made else f"{real.file}, column {name!r}"
            for problem in error.problems:
                what = problem.what.removeprefix(f"variable {name!r} ")
                remedy = _remedy(name, roles.outcome, treatment, "collinear" in what and not alone)
                yield replace(problem, what=what, where=where, remedy=remedy)


def _fit(panel: Panel, *names: str) -> bool:
    """Whether two-way effects and the columns before leave something of each column."""
    try:
        check_fixed(panel, names, "")
    except BadInput:
        return False
    return True


def _remedy(name: str, outcome: str | None, treatment: str | None, collinear: bool) -> str:
    if name == outcome:
        return "remove the controls that determine it" if collinear else "name another outcome"
    if name == treatment:
        return "check the column: units must differ in whether and when they are treated"
    return "remove it from the controls"
