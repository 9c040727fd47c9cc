"""The [robustness] table of a SPEC.toml: the referee's menu, each item off by default, and its mistakes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.application.spec.section import Flag, Name, Names, Positive, Section, Value, Whole
from experiments.application.spec.sections import PanelSection
from sim.errors import Problem

Years = tuple[Whole, Whole]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Width = Annotated[float, Field(gt=0, strict=True)]
PLACES = ("capital", "longitude", "latitude")  # attributes with names of their own, whatever their columns are called


class PsmSection(Section):
    """[robustness.psm]: DID on a sample matched on propensity scores, one column a method.

    covariates: None = the controls. years: first and last of those over which covariates are averaged; None = all
    before anybody is treated. caliper (inf = none) and bandwidth: in units of the score.
    """

    methods: tuple[Literal["nearest", "radius", "kernel"], ...] = ("nearest", "radius", "kernel")
    covariates: Names | None = None
    years: Years | None = Field(default=None, description="the first and the last year, such as [2003, 2008]")
    neighbours: Annotated[int, Field(ge=1, strict=True)] = 1
    caliper: Width = 0.05
    replacement: Flag = True
    bandwidth: Positive = 0.06


class RobustnessSection(Section):
    """[robustness]: every key adds a column to the table of robustness checks, or one for each item of its list.

    region_by_period: a column of groups whose effects may differ between periods. unit_trends: a linear trend for every
    unit. lag: periods by which treatment and controls are lagged. winsorize: lower and upper quantile of the outcome.
    windows: first and last period of shorter samples. exclude: values of a group column, or names of units, to leave
    out. policies: columns of other policies, each added, then all. outcomes: other outcomes. staggered: tables S, of
    estimators for staggered adoption and their diagnostics; honest: bounds when trends may differ as well.
    """

    region_by_period: Name | None = None
    unit_trends: Flag = False
    lag: Annotated[int, Field(ge=1, strict=True)] | None = None
    winsorize: tuple[Share, Share] | None = Field(default=None, description="two quantiles, such as [0.01, 0.99]")
    windows: tuple[Years, ...] = Field(
        default=(), description="lists of first and last periods, such as [[2003, 2008]]"
    )
    exclude: dict[Name, tuple[Value, ...]] = Field(
        default_factory=dict, description='lists of values by column, such as { region = ["east", "west"] }'
    )
    policies: Names = ()
    outcomes: Names = ()
    staggered: Flag = False
    honest: Flag = False
    psm: PsmSection | None = None

    @property
    def further(self) -> dict[str, str]:
        """Columns that become variables for a check alone, and the key that asks for each."""
        covariates = () if self.psm is None else self.psm.covariates or ()
        return (
            dict.fromkeys(covariates, "psm.covariates")
            | dict.fromkeys(self.outcomes, "outcomes")
            | dict.fromkeys(self.policies, "policies")
        )

    def attributes(self, unit: str) -> dict[str, str]:
        """Columns that become attributes of the units, and the key that asks for each."""
        named = dict.fromkeys((name for name in self.exclude if name != unit), "exclude")
        return named | ({self.region_by_period: "region_by_period"} if self.region_by_period else {})

    def columns_asked_for(self, file: str, unit: str) -> dict[str, str]:
        """Columns that the file or [transform] must have, and what asks for each."""
        return {name: f"{file} [robustness] {key}" for name, key in {**self.attributes(unit), **self.further}.items()}


def value_label(value: object) -> str:
    """A value of a column as text: 1, 1.0 and true are "1"."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value).strip()


def robustness_problems(section: RobustnessSection, panel: PanelSection, file: str) -> list[Problem]:
    """What is wrong within [robustness], and between it and [panel], before the panel is read."""
    where = f"{file}, [robustness]"
    problems = _range_problems(section, where) + _repeats(section, where) + _name_problems(section, panel, where)
    if section.region_by_period == panel.unit:
        problems.append(Problem(f"region_by_period = {panel.unit!r} is the unit", where, "a column of groups of units",
                                "name a coarser column, such as the province"))  # fmt: skip
    problems += [
        Problem(f"exclude.{name} is empty", where, "one or more values", "name them, or remove the key")
        for name, values in section.exclude.items()
        if not values
    ]
    problems += _staggered_problems(section, panel, where)
    if section.psm is not None:
        problems += _psm_problems(section.psm, panel, f"{file}, [robustness.psm]")
    return problems


def _staggered_problems(section: RobustnessSection, panel: PanelSection, where: str) -> list[Problem]:
    problems = []
    if section.staggered and not (panel.treatment or panel.first_treated):
        problems.append(Problem("staggered: there is no treatment to adopt", where, "treatment or first_treated in "
                                "[panel]", "name it, or remove the key"))  # fmt: skip
    if section.honest and not section.staggered:
        problems.append(Problem("honest without staggered", where, "both, for its bounds are of staggered effects",
                                "add staggered = true"))  # fmt: skip
    return problems


def _range_problems(section: RobustnessSection, where: str) -> list[Problem]:
    problems = [
        Problem(f"windows: [{first}, {last}]", where, "the first period, then a later one", "put them in order")
        for first, last in section.windows
        if first >= last
    ]
    if section.winsorize is not None and section.winsorize[0] >= section.winsorize[1]:
        problems.append(Problem(f"winsorize = {list(section.winsorize)}", where, "the lower quantile, then the upper, "
                                "such as [0.01, 0.99]", "put them in order"))  # fmt: skip
    if section.winsorize == (0.0, 1.0):
        problems.append(Problem("winsorize = [0, 1] changes nothing", where, "quantiles such as [0.01, 0.99]",
                                "choose narrower ones, or remove the key"))  # fmt: skip
    return problems


def _repeats(section: RobustnessSection, where: str) -> list[Problem]:
    lists: dict[str, tuple[object, ...]] = {
        "windows": tuple(map(list, section.windows)),
        "policies": section.policies,
        "outcomes": section.outcomes,
    }
    lists |= {f"exclude.{name}": tuple(map(value_label, values)) for name, values in section.exclude.items()}
    if section.psm is not None:
        lists |= {"psm.methods": section.psm.methods, "psm.covariates": section.psm.covariates or ()}
    return [
        Problem(f"{key} names {item!r} twice", where, "each once", "remove one")
        for key, items in lists.items()
        for position, item in enumerate(items)
        if items.index(item) < position
    ]


def _name_problems(section: RobustnessSection, panel: PanelSection, where: str) -> list[Problem]:
    """Columns that cannot be what a check takes them for."""
    keys = {panel.unit: "the unit", panel.period: "the period"}
    treatment = panel.treatment or panel.first_treated
    regressors = dict.fromkeys(panel.controls, "a control") | ({treatment: "the treatment"} if treatment else {})
    outcome = {panel.outcome: "the outcome"} if panel.outcome else {}
    taken = {
        "policies": keys | outcome | regressors,
        "outcomes": keys | outcome | regressors,
        "psm.covariates": keys | ({treatment: "the treatment"} if treatment else {}),
    }
    named = {
        "policies": section.policies,
        "outcomes": section.outcomes,
        "psm.covariates": () if section.psm is None else section.psm.covariates or (),
    }
    problems = [
        Problem(f"{key} names {name!r}, which is {taken[key][name]}", where, "another column", "remove it")
        for key, names in named.items()
        for name in names
        if name in taken[key]
    ]
    problems += [
        Problem(f"the column {name!r} of {key} is not the one that [panel] names for {name}", where,
                "a column of another name", "rename that column")
        for name, key in section.attributes(panel.unit).items()
        if name in PLACES and getattr(panel, name) not in (None, name)
    ]  # fmt: skip
    return problems


def _psm_problems(psm: PsmSection, panel: PanelSection, where: str) -> list[Problem]:
    problems = []
    if not psm.methods:
        problems.append(Problem("methods = []", where, "nearest, radius, kernel", "name one or more"))
    if not (panel.treatment or panel.first_treated):
        problems.append(Problem("there is no treatment to match on", where, "treatment or first_treated in [panel]",
                                "name it, or remove [robustness.psm]"))  # fmt: skip
    if not (panel.controls if psm.covariates is None else psm.covariates):
        problems.append(Problem("there is no covariate to match on", where, "covariates = [...], or controls in "
                                "[panel]", "name one or more"))  # fmt: skip
    if psm.years is not None and psm.years[0] > psm.years[1]:
        problems.append(Problem(f"years = {list(psm.years)}", where, "the first year, then the last",
                                "put them in order"))  # fmt: skip
    return problems
