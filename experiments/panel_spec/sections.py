"""The tables of a SPEC.toml: what the columns of a panel are, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args, override

from pydantic import BeforeValidator, Field

from estimators.core.error_types import columns_of
from estimators.core.tile import PanelEffects
from estimators.linear.covariances import ClusterK
from experiments.panel_spec.reading import ReadSection, Recoding
from experiments.panel_spec.transforms import LINEAR, Transforms
from experiments.panel_spec.weights import AnyWeights, Economic, Nested
from experiments.settings import Flag, Name, Names, NamesByName, Number, Positive, Table, Value, Whole, build
from results.tables.records import STAR_LEVELS, Brackets, Language, Style
from sim.errors import BadInput, Problem, closest, one_of
from sim.panel_files import UNWRITTEN, TreatmentKind
from sim.schema import TREATMENT
from sim.world.context import Slot
from sim.world.parts.adoption import Adoption

# [twin]: how a panel is fitted by `panelproof twin`, and what of it stays real.


TwinMethod = Literal["parametric", "factor", "residual"]
Kept = Literal["covariates", "weights", "calendar", "missing", "levels"]
KEPT: tuple[Kept, ...] = ("covariates", "weights", "calendar", "missing")
Count = Annotated[int, Field(ge=1, strict=True)]


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class TwinSection(Table):
    """[twin]: the methods, what stays real, and the fitted world's dials.

    method: one or more of parametric, factor, residual. keep: what stays real: covariates, weights, calendar, missing
    (cells), levels (unit and period effects); the rest is drawn from fitted processes. rank: number of the factor
    method's factors, or, where adoption is drawn anew, terms of its signal; without it as the residuals need. ar: order
    of the errors' autoregression; without it 1 by the factor method, 1 or 2 as the residuals need in a parametric twin.
    round: digits of the factor method's AR coefficients. standardize: whether the outcome is brought to mean 0 and
    standard deviation 1. effect: of the treatment in the twin; without it the estimate, or 0 with an indicator. block:
    neighbours whose residuals are drawn together; without it 8 where there is a W, else 1. paths: whether each unit
    keeps its residuals, with a random sign (flipped), or gets those of one that is drawn (resampled). replications: of
    the study that is written. draws: twins that the bands of the fidelity report are made of. adoption: another
    assignment than the real one, a table as [design.adoption] of a study with, for the kind propensity, indicator: a
    column whose value in the last period is what the logit explains (default: ever treated).
    """

    place: ClassVar[str] = "[twin]"
    partial: ClassVar[bool] = True

    method: Annotated[tuple[TwinMethod, ...], BeforeValidator(_listed)] = ("parametric", "factor", "residual")
    keep: tuple[Kept, ...] = KEPT
    rank: Annotated[int, Field(ge=0, strict=True)] | None = None
    ar: Annotated[int, Field(ge=1, le=4, strict=True)] | None = None
    round: Annotated[int, Field(ge=0, le=12, strict=True)] | None = None
    standardize: Annotated[bool, Field(strict=True)] = False
    effect: Number | None = None
    block: Count | None = None
    paths: Literal["flipped", "resampled"] = "flipped"
    replications: Count = 2000
    draws: Annotated[int, Field(ge=100, le=10_000, strict=True)] = 500
    adoption: dict[str, Any] = Field(default_factory=dict, description='a table such as { kind = "propensity" }')

    @property
    def indicator(self) -> str | None:
        """The column that an adoption by propensities is fitted to."""
        named = self.adoption.get("indicator")
        return named if isinstance(named, str) else None

    @property
    def own_adoption(self) -> dict[str, Any]:
        """The table of the adoption without what only a twin reads."""
        return {key: value for key, value in self.adoption.items() if key != "indicator"}

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not self.method:
            yield Problem("method = []", where, "parametric, factor, residual", "name one or more")
        for name, items in (("method", self.method), ("keep", self.keep)):
            if len(set(items)) < len(items):
                yield Problem(f"{name} names one twice", where, "each once", "remove one")
        if not self.adoption:
            return

        where = f"{where.removesuffix(']')}.adoption]"  # a table as a study says it
        if "indicator" in self.adoption and (self.indicator is None or self.adoption.get("kind") != "propensity"):
            yield Problem(f"indicator = {self.adoption['indicator']!r}", where,
                          'a column, with kind = "propensity"', "correct it, or leave it out")  # fmt: skip
        try:
            kind = str(self.adoption.get("kind", Adoption.default))
            cls = Slot(Adoption, many=False).find(kind, f"{where} kind")
            build(cls, {key: value for key, value in self.own_adoption.items() if key != "kind"}, where)
        except BadInput as error:
            yield from error.problems


PLACES = ("capital", "longitude", "latitude")  # attributes with names of their own, whatever their columns are called
Balance = Literal["error", "drop-units", "drop-periods"]
Years = tuple[Whole, Whole]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
SyntheticKind = Literal["synthetic-did", "synthetic-control", "demeaned-synthetic-control", "equally-weighted-did"]
Level = Annotated[float, Field(gt=0, lt=1, strict=True)]
Width = Annotated[float, Field(gt=0, strict=True)]


class SpatialSection(Table):
    """[spatial]: what the spatial models of table 7 have beside their spatial terms.

    effects: one or a list, each with columns of its own: two-way (units and periods), unit, period, none (a constant).
    The first is that of claims and placebos. cutoffs: distances in km for table K, the SDM under W of all units within
    each; needs coordinates.
    """

    place: ClassVar[str] = "[spatial]"
    partial: ClassVar[bool] = True

    effects: Annotated[tuple[PanelEffects, ...], BeforeValidator(_listed)] = ("two-way",)
    cutoffs: tuple[Positive, ...] = ()

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not self.effects:
            yield Problem("effects = []", where, one_of(get_args(PanelEffects)), "name one or more")
        if list(self.cutoffs) != sorted(self.cutoffs):
            yield Problem(f"cutoffs = {list(self.cutoffs)}", where, "distances in ascending order", "put them in order")
        yield from repeats({"effects": self.effects, "cutoffs": self.cutoffs}, where)


def repeats(lists: Mapping[str, Sequence[object]], where: str) -> Iterator[Problem]:
    """A problem for every item that stands twice in a list, by the list's key."""
    for key, items in lists.items():
        for position, item in enumerate(items):
            if item in items[:position]:
                yield Problem(f"{key} names {item!r} twice", where, "each once", "remove one")


class PanelSection(Table):
    """[panel]: which columns are what, and what to do about gaps.

    unit: the column of units, such as cities. period: the column of periods, whole numbers such as years. outcome: the
    column to explain; required unless there is an [index]. treatment: a column that is 0 or 1, and stays 1 once it is,
    or of any strength. treatment_kind: absorbing (0, then 1), switching (0 or 1), or continuous (a dose, an index);
    without it what its values say, where they leave no doubt. first_treated: in place of treatment, the column of a
    unit's first treated period, empty where it is never treated.
    controls: columns of control variables. mediators: columns through which the treatment may work, for table 5.
    other_policy: a column of another policy, for table 3. weight: a column of positive numbers, such as the population,
    by which linear, mediation and staggered models weight unit-periods. capital: a column that is 1 for capitals, which
    table 3 leaves out. groups: columns of groups of units, for the subsamples of table 4. cluster: the column by which
    errors are clustered; without it the unit. longitude, latitude: columns in degrees, for distances. missing: "error"
    refuses empty cells, "drop" leaves their rows out and says how many. balance: what spatial models, and tables S, S2
    and C, do about a panel with gaps: "error" refuses it, the others leave out units or periods. synthetic: whether the
    tables say that the data are synthetic. sheet: of a workbook that holds several tables. missing_codes: numbers that
    mean missing, such as -99.
    """

    partial: ClassVar[bool] = True

    unit: Name
    period: Name
    outcome: Name | None = None
    treatment: Name | None = None
    treatment_kind: TreatmentKind | None = None
    first_treated: Name | None = None
    controls: Names = ()
    mediators: Names = ()
    other_policy: Name | None = None
    weight: Name | None = None
    capital: Name | None = None
    groups: Names = ()
    cluster: Name | None = None
    longitude: Name | None = None
    latitude: Name | None = None
    missing: Literal["error", "drop"] = "error"
    balance: Balance = "error"
    synthetic: Flag = False
    sheet: Name | None = None
    missing_codes: tuple[Number, ...] = ()

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Columns of groups of units: groups, and cluster where it is not the unit."""
        return tuple(dict.fromkeys(name for name in (*self.groups, self.cluster) if name and name != self.unit))

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute -> column: capital, longitude, latitude under these names, groups and cluster under their own."""
        named = {name: getattr(self, name) for name in PLACES}
        return {name: column for name, column in named.items() if column} | {name: name for name in self.group_columns}


class IndexSection(Table):
    """[index]: the outcome as an entropy-weight index of indicators, and columns of diversification for it.

    name: of the index; without it the outcome of [panel]. positive: columns of which more is better. negative: columns
    of which less is better. dimensions: the indicators of each dimension, of whose weights a note gives the sum.
    diversification: new columns, each 1/HHI of the shares that it lists.
    """

    place: ClassVar[str] = "[index]"

    name: Name = "index"
    positive: Names = ()
    negative: Names = ()
    dimensions: NamesByName = Field(default_factory=dict)
    diversification: NamesByName = Field(default_factory=dict)

    @property
    def indicators(self) -> tuple[str, ...]:
        """All indicators once, the positive ones first."""
        return tuple(dict.fromkeys((*self.positive, *self.negative)))

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not self.indicators:
            yield Problem("there is no indicator", where, "positive = [...], negative = [...] or both",
                          "name the columns that make the index")  # fmt: skip
        for name in self.positive:
            if name in self.negative:
                yield Problem(f"the indicator {name!r} is both positive and negative", where, "one of the two",
                              "remove it from one")  # fmt: skip
        yield from repeats({"positive": self.positive, "negative": self.negative}, where)

        among = f"{where} dimensions"
        yield from repeats(self.dimensions, among)
        for dimension, names in self.dimensions.items():
            if not names:
                yield Problem(f"the dimension {dimension!r} has no indicator", among, "one or more",
                              "name them, or remove it")  # fmt: skip
            for name in dict.fromkeys(names):
                if name not in self.indicators:
                    yield Problem(f"{dimension} names {name!r}, which is no indicator", among,
                                  one_of(self.indicators), closest(name, self.indicators))  # fmt: skip
        for name in self.indicators:
            several = [dimension for dimension, names in self.dimensions.items() if name in names]
            if len(several) > 1:
                yield Problem(f"{name!r} is in several dimensions: {', '.join(several)}", among,
                              "one dimension for each indicator", "remove it from the others")  # fmt: skip

        among = f"{where} diversification"
        yield from repeats(self.diversification, among)
        for name, shares in self.diversification.items():
            if len(shares) < 2:
                yield Problem(f"{name} = {list(shares)}", among, "the columns of two or more shares",
                              "name all sectors")  # fmt: skip
            for share in dict.fromkeys(shares):
                if share in self.diversification:
                    yield Problem(f"{name} takes {share!r}, which is a diversification itself", among,
                                  "columns of shares", "name the shares")  # fmt: skip


class CollapseSection(Table):
    """[collapse]: a file of individuals, several rows a unit and period, of which means are taken.

    weight: a column of the rows' survey weights; without it all rows count alike. name: the new column that holds the
    number of rows of a unit and period, or the sum of their weights; estimates are weighted by it unless [panel] names
    another weight.
    """

    place: ClassVar[str] = "[collapse]"

    weight: Name | None = None
    name: Name = "rows"


class InferenceSection(Table):
    """[inference]: error types beside iid, HC1 and clustered ones, and how much is drawn.

    errors: as the estimators name them, e.g. "driscoll-kraay", "cluster:unit+province", "conley:200", "wild:unit",
    "cv3:province", "conley-taber".
    cluster_k: parameters that count in the factor of clustered errors, as in `TwoWayDID`. draws: of every bootstrap,
    permutation and simulation of the tables; local Moran's I has more where these are few, and warnings have numbers of
    their own. seed: of all of them. tests: hypotheses on the terms of columns, for table T, such as "2.5: did = 0.02".
    """

    place: ClassVar[str] = "[inference]"
    partial: ClassVar[bool] = True

    errors: Names = ()
    cluster_k: ClusterK = "nonnested"
    draws: Annotated[int, Field(ge=99, le=100_000, strict=True)] = 999
    seed: Annotated[int, Field(ge=0, strict=True)] = 20240601
    tests: Names = ()

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        return repeats({"errors": self.errors, "tests": self.tests}, where)


def _levels(value: object) -> object:
    """Levels of stars: true means the usual ones, false none."""
    return (STAR_LEVELS if value else ()) if isinstance(value, bool) else value


class OutputSection(Table):
    """[output]: how tables and figures look.

    tables: those that are printed and written, such as ["2", "7"]; without it all are written. labels: of variables, by
    their columns, in all tables and figures. stars: true, false or levels of one, two, ... stars. brackets: below an
    estimate: "se" for its standard error, "t" for its t statistic, "p" for its p value, "ci" for its 95% interval.
    digits: decimals of estimates, as many more as show two significant digits of those below 10^(1 - digits), one
    decimal from 10,000 on, an exponent for tiny and huge ones. language: "en", or "zh" for tables in Chinese.
    """

    place: ClassVar[str] = "[output]"
    partial: ClassVar[bool] = True

    tables: Names = ()
    labels: dict[Name, Name] = Field(
        default_factory=dict, description='texts by column, such as { eip = "Eco-industrial park" }'
    )
    stars: Annotated[tuple[Level, ...], BeforeValidator(_levels)] = Field(
        default=STAR_LEVELS, description="true, false, or levels such as [0.1, 0.05, 0.01]"
    )
    brackets: Brackets = "se"
    digits: Annotated[int, Field(ge=1, le=10, strict=True)] = 4
    language: Language = "en"

    @property
    def style(self) -> Style:
        """What tables and figures are made with."""
        return Style(self.tables, self.labels, self.stars, self.brackets, self.digits, self.language)

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if list(self.stars) != sorted(self.stars, reverse=True):
            yield Problem(f"stars = {list(self.stars)}", where,
                          "levels from the largest down, such as [0.1, 0.05, 0.01]", "put them in order")  # fmt: skip
        yield from repeats({"tables": self.tables, "stars": self.stars}, where)
        yield from repeats({"labels": tuple(self.labels.values())}, where)
        for label in (label for label in self.labels.values() if UNWRITTEN.search(label)):
            yield Problem(f"labels hold control signs: {label!r}", where, "letters and other signs that are seen",
                          "correct the label")  # fmt: skip


class ModerationSection(Table):
    """[moderation]: table M, the effect of the treatment by a moderator, one column a moderator, with a figure.

    by: columns that the effect may differ with; they need not be controls.
    """

    place: ClassVar[str] = "[moderation]"
    partial: ClassVar[bool] = True

    by: Names

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not self.by:
            yield Problem("by = []", where, "one or more columns", "name them, or remove [moderation]")
        yield from repeats({"by": self.by}, where)


class TripleDifferenceSection(Table):
    """[ddd]: table D, the difference between the DID of two groups of units, with period effects of each.

    group: a column of two values that units keep, such as 0 and 1.
    """

    place: ClassVar[str] = "[ddd]"
    partial: ClassVar[bool] = True

    group: Name


class PsmSection(Table):
    """[robustness.psm]: DID on a sample matched on propensity scores, one column a method.

    methods: which; each is a column. covariates: columns that explain who is treated; without it the controls. years:
    first and last of those over which covariates are averaged; without it all before anybody is treated. neighbours:
    matched units of each treated one (nearest). caliper: the largest distance of a match, in units of the score; inf
    for none. replacement: whether a unit may be matched more than once. bandwidth: of the kernel, in units of the
    score.
    """

    place: ClassVar[str] = "[robustness.psm]"
    partial: ClassVar[bool] = True

    methods: tuple[Literal["nearest", "radius", "kernel"], ...] = ("nearest", "radius", "kernel")
    covariates: Names | None = None
    years: Years | None = Field(default=None, description="the first and the last year, such as [2003, 2008]")
    neighbours: Annotated[int, Field(ge=1, strict=True)] = 1
    caliper: Width = 0.05
    replacement: Flag = True
    bandwidth: Positive = 0.06

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not self.methods:
            yield Problem("methods = []", where, "nearest, radius, kernel", "name one or more")
        if self.years is not None and self.years[0] > self.years[1]:
            yield Problem(f"years = {list(self.years)}", where, "the first year, then the last",
                          "put them in order")  # fmt: skip
        yield from repeats({"methods": self.methods, "covariates": self.covariates or ()}, where)


class SyntheticSection(Table):
    """[robustness.synthetic]: tables C and figures of synthetic control and its relatives.

    estimators: which; each is a column and a figure. errors: the type of standard errors; without it the jackknife, or
    placebos for a single treated unit.
    """

    place: ClassVar[str] = "[robustness.synthetic]"
    partial: ClassVar[bool] = True

    estimators: tuple[SyntheticKind, ...] = ("synthetic-did", "synthetic-control", "demeaned-synthetic-control")
    errors: Literal["jackknife:unit", "placebo:unit", "bootstrap:unit"] | None = None

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not self.estimators:
            yield Problem("estimators = []", where, one_of(get_args(SyntheticKind)), "name one or more")
        yield from repeats({"estimators": self.estimators}, where)


class RobustnessSection(Table):
    """[robustness]: every key adds a column to the table of robustness checks, or one for each item of its list.

    region_by_period: a column of groups whose effects may differ between periods. unit_trends: a linear trend for every
    unit. lag: periods by which treatment and controls are lagged. winsorize: lower and upper quantile of the outcome.
    windows: first and last period of shorter samples. exclude: values of a group column, or names of units, to leave
    out. policies: columns of other policies, each added, then all. outcomes: other outcomes. staggered: tables S, of
    estimators for staggered adoption and their diagnostics; honest: bounds when trends may differ as well. psm: the
    table [robustness.psm]. synthetic: the table [robustness.synthetic].
    """

    place: ClassVar[str] = "[robustness]"
    partial: ClassVar[bool] = True

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
    synthetic: SyntheticSection | None = None

    @property
    def covariates(self) -> Names:
        """The covariates that [robustness.psm] names."""
        return () if self.psm is None else self.psm.covariates or ()

    @property
    def further(self) -> dict[str, str]:
        """Columns that become variables for a check alone, and the key that asks for each."""
        return (
            dict.fromkeys(self.covariates, "psm.covariates")
            | dict.fromkeys(self.outcomes, "outcomes")
            | dict.fromkeys(self.policies, "policies")
        )

    def attributes(self, unit: str) -> dict[str, str]:
        """Columns that become attributes of the units, and the key that asks for each."""
        named = dict.fromkeys((name for name in self.exclude if name != unit), "exclude")
        return named | ({self.region_by_period: "region_by_period"} if self.region_by_period else {})

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        for first, last in self.windows:
            if first >= last:
                yield Problem(f"windows: [{first}, {last}]", where, "the first period, then a later one",
                              "put them in order")  # fmt: skip
        if self.winsorize is not None and self.winsorize[0] >= self.winsorize[1]:
            yield Problem(f"winsorize = {list(self.winsorize)}", where,
                          "the lower quantile, then the upper, such as [0.01, 0.99]", "put them in order")  # fmt: skip
        if self.winsorize == (0.0, 1.0):
            yield Problem("winsorize = [0, 1] changes nothing", where, "quantiles such as [0.01, 0.99]",
                          "choose narrower ones, or remove the key")  # fmt: skip
        for name, values in self.exclude.items():
            if not values:
                yield Problem(f"exclude.{name} is empty", where, "one or more values", "name them, or remove the key")
        if self.honest and not self.staggered:
            yield Problem("honest without staggered", where, "both: the bounds are of staggered effects",
                          "add staggered = true")  # fmt: skip
        excluded = {f"exclude.{name}": tuple(map(value_label, values)) for name, values in self.exclude.items()}
        windows = tuple(map(list, self.windows))
        lists = {"windows": windows, "policies": self.policies, "outcomes": self.outcomes, **excluded}
        yield from repeats(lists, where)


class IvSection(Table):
    """[iv]: table I, two-stage least squares beside least squares, with what tells how strong instruments are.

    instruments: columns that move the endogenous regressor and reach the outcome through it alone. endogenous: the
    column that needs them; without it the treatment. One that is no control is added to the regressors. mediator:
    columns that move the mediator and reach the outcome through it alone, for table I2.
    """

    place: ClassVar[str] = "[iv]"

    instruments: Names = ()
    endogenous: Name | None = None
    mediator: Names = ()

    @property
    def columns(self) -> dict[str, str]:
        """Every column that it names, and the key that asks for each."""
        named = {self.endogenous: "[iv] endogenous"} if self.endogenous else {}
        return (
            named | dict.fromkeys(self.instruments, "[iv] instruments") | dict.fromkeys(self.mediator, "[iv] mediator")
        )

    @override
    def faults(self, where: str) -> Iterator[Problem]:
        if not (self.instruments or self.mediator):
            yield Problem("there is no instrument", where, "instruments = [...], mediator = [...] or both",
                          "name columns, or remove [iv]")  # fmt: skip
        if self.endogenous and not self.instruments:
            yield Problem(f"endogenous = {self.endogenous!r} without instruments", where, "instruments = [...]",
                          "name columns that move it")  # fmt: skip
        if self.endogenous in self.instruments:
            yield Problem(f"instruments names {self.endogenous!r}, the endogenous regressor itself", where,
                          "another column", "remove it")  # fmt: skip
        yield from repeats({"instruments": self.instruments, "mediator": self.mediator}, where)


def value_label(value: object) -> str:
    """A value of a column as text: 1, 1.0 and true are "1"."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value).strip()


class SpecTables(Table):
    """The tables of a SPEC.toml as they are written."""

    partial: ClassVar[bool] = True

    panel: PanelSection
    read: ReadSection | None = None
    recode: Recoding = Field(
        default_factory=dict, description='numbers of values by column, such as { eip = { "是" = 1, "否" = 0 } }'
    )
    transform: Transforms = ()
    index: IndexSection | None = None
    collapse: CollapseSection | None = None
    inference: InferenceSection = InferenceSection()
    output: OutputSection = OutputSection()
    moderation: ModerationSection | None = None
    ddd: TripleDifferenceSection | None = None
    robustness: RobustnessSection = RobustnessSection()
    weights: tuple[AnyWeights, ...] = ()
    iv: IvSection | None = None
    spatial: SpatialSection = SpatialSection()
    twin: TwinSection | None = None


class Spec(SpecTables):
    """A whole SPEC.toml: what the columns of a panel file are, new columns, an index, weights (the first: the main).

    collapse: how rows of individuals become a panel. inference and robustness: what is asked of the estimates beside
    the paper's own. output: how tables and figures look. iv: instruments. spatial: what the spatial models have beside
    their spatial terms. twin: how a twin is fitted.
    """

    file: str = "spec.toml"

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute -> column of everything that is constant within units."""
        compared = () if self.ddd is None else (self.ddd.group,)
        further = (*self.robustness.attributes(self.panel.unit), *self.clusters, *compared)
        return self.panel.attributes | {name: name for name in further if name != self.panel.unit}

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Columns of groups of units that [panel] and [robustness] name."""
        return tuple(dict.fromkeys((*self.panel.group_columns, *self.robustness.attributes(self.panel.unit))))

    @property
    def clusters(self) -> tuple[str, ...]:
        """Columns of groups or sizes that the error types of [inference] name."""
        groups = self.group_columns
        named = (name for error in self.inference.errors for name in columns_of(error, groups))
        return tuple(dict.fromkeys(name for name in named if name not in ("unit", "period")))

    @property
    def mean_columns(self) -> tuple[str, ...]:
        """Columns whose unit means economic weights need."""
        return tuple(dict.fromkeys(w.variable for w in self.weights if isinstance(w, Economic | Nested)))

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns that become variables, in order; the treatment under its own name."""
        own = self.panel
        outcome = own.outcome if self.index is None else None
        single = [name for name in (outcome, own.treatment, own.other_policy, own.weight) if name]
        return tuple(dict.fromkeys((*single, *own.controls, *own.mediators, *self.indicators)))

    def variable(self, column: str) -> str:
        """What the panel calls a column."""
        return TREATMENT if column in (self.panel.treatment, self.panel.first_treated) else column

    @property
    def further(self) -> dict[str, str]:
        """Columns that become variables for a check, instruments, a twin or table M alone, and the key that asks for
        each."""
        asked = {name: f"[robustness] {key}" for name, key in self.robustness.further.items()}
        own = (self.panel.treatment, self.panel.first_treated)  # which have another name as variables
        named = {} if self.iv is None else self.iv.columns
        asked |= {name: key for name, key in named.items() if name not in own}
        indicator = None if self.twin is None else self.twin.indicator
        moderators = dict.fromkeys(() if self.moderation is None else self.moderation.by, "[moderation] by")
        parts = {name: "[transform]" for every in self.products.values() for name in every if name not in own}
        indicators = {indicator: "[twin.adoption] indicator"} if indicator else {}
        return parts | indicators | asked | moderators

    @property
    def made(self) -> frozenset[str]:
        """Columns that the spec makes and the file need not have."""
        counted = () if self.collapse is None else (self.collapse.name,)
        diversified = self.index.diversification if self.index else ()
        return frozenset((*(made.name for made in self.transform), *diversified, *counted))

    @property
    def products(self) -> dict[str, tuple[str, ...]]:
        """Regressors that [transform] makes a product or a square, scaled or centred after it or not, and their parts;
        the parts of a square are one."""
        made, found, own = {one.name: one for one in self.transform}, {}, self.panel
        for name in (own.treatment, own.other_policy, *own.controls):
            one = made.get(str(name))
            while one is not None and one.function in LINEAR:
                one = made.get(one.columns[0])
            if name is not None and one is not None and one.function in ("product", "square"):
                found[name] = tuple(dict.fromkeys(one.columns))
        return found

    @property
    def indicators(self) -> tuple[str, ...]:
        """The indicators of the index, none where there is no index."""
        return () if self.index is None else self.index.indicators
