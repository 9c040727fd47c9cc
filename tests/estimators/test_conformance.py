"""What every estimator promises, checked for each that the package holds and each of its named settings."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import full_sizes
import numpy as np
import pytest
from covering import allowed_pairs, covering_rows, pairs_of
from refusals import refuses

from estimators import CallawaySantAnna, Estimates, Estimator, SpatialPanel, Status, Tile, TwoWayDID, estimators
from estimators.core.estimator import critical_values
from references.small_panels import changed, unseen
from sim import BadInput, Draw, Panel, Streams, Wanted
from sim.design import Design, Estimand, designs
from sim.errors import choice_problems
from sim.presets import Paper
from sim.streams import left_out
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random, StaggeredAdoption
from sim.world.parts.covariates import Normal
from sim.world.parts.mediators import Linear
from sim.world.parts.missing import Pattern
from sim.world.parts.weights import Knn

if TYPE_CHECKING:
    from decimal import Decimal

REPLICATIONS = 384
ROWS = 32  # of replications in one world
ITERATED = ("matrix-completion", "interactive-effects")  # whose fits take 30 ms and more: half as many
PROMISE = "promise"  # the dial of the covering array whose values are the names of tests


def named_settings(cls: type[Estimator]) -> dict[str, tuple[str, ...]]:
    """The fields of a class that have a few named values, and these."""
    hints = get_type_hints(cls)
    named = (f.name for f in dataclasses.fields(cls) if get_origin(hints[f.name]) is Literal)
    return {name: get_args(hints[name]) for name in named}


@cache
def settings() -> tuple[Estimator, ...]:
    """Every discovered estimator at its defaults, with every combination of its named settings."""
    found: list[Estimator] = []
    for cls in estimators().values():
        named = named_settings(cls)
        found += [cls(**dict(zip(named, values, strict=True))) for values in itertools.product(*named.values())]
    return tuple(found)


@cache
def cover() -> frozenset[tuple[str, Estimator]]:
    """Promises and settings of which every two meet: any two settings, and any setting with any promise."""
    met = set[tuple[str, Estimator]]()
    for cls in estimators().values():
        for row in covering_rows({PROMISE: promises(), **named_settings(cls)}):
            promise = row.pop(PROMISE)
            met.add((promise, cls(**row)))
    return frozenset(met)


@cache
def promises() -> tuple[str, ...]:
    """The names of this module's tests that take an estimator."""
    return tuple(name for name, value in globals().items()
                 if name.startswith("test_") and "estimator" in inspect.signature(value).parameters)  # fmt: skip


def identity(estimator: Estimator) -> str:
    fields = [getattr(estimator, f.name) for f in dataclasses.fields(estimator)
              if not left_out(f, estimator)]  # fmt: skip
    return "-".join([type(estimator).kind, *(value for value in fields if isinstance(value, str) and value)])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each promise the settings of the pairwise cover, at full size every setting."""
    if "estimator" in metafunc.fixturenames:
        name = metafunc.function.__name__
        cases = [one for one in settings() if full_sizes.size((name, one) in cover(), True)]
        metafunc.parametrize("estimator", cases, ids=identity, scope="module")


@pytest.fixture(scope="module")
def panel(estimator: Estimator) -> Panel:
    """Twelve replications of the estimator's home design, in one piece."""
    (design, _), streams = estimator.home, Streams(20, "conformance")
    return design.settle(streams).draw(streams.tile(0, 12), Wanted(estimator.variables(design.schema), ())).panel


@pytest.fixture(scope="module")
def fits(estimator: Estimator, panel: Panel) -> Estimates:
    """Of the panel, computed once for all promises; the panel's arrays are never written to."""
    return estimator(panel, Streams(1))


def assert_same_bits(got: Estimates, wanted: Estimates) -> None:
    for name in ("estimate", "se", "dof", "status", "pvalue", "lower", "upper"):
        one, other = getattr(got, name), getattr(wanted, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other, err_msg=name)
    for name, values in got.statistics.items():
        np.testing.assert_array_equal(values, wanted.statistics[name], err_msg=name)


def test_one_that_takes_no_gaps_refuses_them_and_no_other_does(estimator: Estimator, panel: Panel) -> None:
    holed = unseen(panel, (1, 3))
    if estimator.gaps:
        estimator(holed, Streams(20, "gaps"))
    else:
        refuses("unit-periods? (is|are) missing", lambda: estimator(holed, Streams(20, "gaps")))


def test_the_cover_holds_every_pair_of_promises_and_settings() -> None:
    for cls in estimators().values():
        dials = {PROMISE: promises(), **named_settings(cls)}
        rows = [{PROMISE: promise} | {name: getattr(one, name) for name in dials if name != PROMISE}
                for promise, one in cover() if type(one) is cls]  # fmt: skip
        assert set().union(*(pairs_of(row, dials) for row in rows)) == allowed_pairs(dials), cls
        assert {row[PROMISE] for row in rows} == set(promises())


def test_settings_are_frozen_values_of_a_class_named_by_its_kind(estimator: Estimator) -> None:
    assert estimator.kind.replace("-", "") in type(estimator).__name__.lower()
    field = dataclasses.fields(estimator)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(estimator, field, None)
    again = pickle.loads(pickle.dumps(estimator))
    assert (again, hash(again), dataclasses.replace(estimator)) == (estimator, hash(estimator), estimator)
    assert estimator.name
    assert type(estimator).__doc__


def test_equal_settings_share_a_hashable_reduction(estimator: Estimator) -> None:
    schema = estimator.home[0].schema
    one, other = estimator.reduction(schema), dataclasses.replace(estimator).reduction(schema)
    assert (one, hash(one), pickle.loads(pickle.dumps(one))) == (other, hash(other), one)


def test_layout_is_known_before_any_data_and_fits_at_home_have_it(estimator: Estimator, fits: Estimates) -> None:
    layout, got = estimator.layout(estimator.home[0].schema), fits
    rows, terms, errors = 12, len(layout.terms), len(layout.errors)
    assert (got.terms, got.errors) == (layout.terms, layout.errors)
    assert len(set(layout.terms)) == terms
    assert got.estimate.shape == (rows, terms)
    assert got.se.shape == got.dof.shape == (rows, errors, terms)
    assert (got.status.shape, got.status.dtype) == ((rows,), np.uint8)
    assert set(got.statistics) == set(layout.statistics)
    assert {values.shape for values in got.statistics.values()} <= {(rows,)}
    for name in ("pvalue", "lower", "upper"):
        stored = getattr(got, name)
        assert (stored is not None) == (name in layout.stored)
        assert stored is None or stored.shape == got.se.shape
    assert layout.targets
    assert set(layout.targets) <= set(layout.terms)
    for target in layout.targets.values():
        assert Estimand.parse(target).kind
    assert set(estimator.home[1]) <= set(layout.targets)
    assert set(got.status.tolist()) == {Status.OK}, "home draws are fitted whole"
    assert np.isfinite(got.estimate).all()
    assert (got.dof > 0).all()
    assert all(np.isfinite(values).all() for values in got.statistics.values())


def test_the_same_call_gives_the_same_bits_and_reads_no_other_variable(
    estimator: Estimator, panel: Panel, fits: Estimates
) -> None:
    assert estimator.variables(panel.schema) <= set(panel.variables)
    other = np.random.default_rng(1).standard_normal((12, len(panel.periods), len(panel.units)))
    again = pickle.loads(pickle.dumps(estimator))
    assert_same_bits(again(panel.with_variables({"other": other}), Streams(1)), fits)


@pytest.mark.parametrize("regressors", ["fixed", "redrawn"])
def test_rows_do_not_depend_on_the_batch_bit_for_bit(estimator: Estimator, panel: Panel, regressors: str) -> None:
    if regressors == "redrawn":
        uses_treatment(estimator, panel)
        panel = redrawn_treatment(panel)
    reduction = estimator.reduction(panel.schema)
    if reduction is None:
        pytest.skip("no reduction: nothing is solved apart")
    plan = reduction.prepare(panel)
    moments = reduction.reduce(plan, Tile(panel))
    assert moments.rows == 12
    whole = estimator.solve(plan, moments, panel.schema, Streams(1))
    for rows in (slice(0, 1), slice(11, 12), slice(2, 4), slice(3, 11)):
        part = estimator.solve(plan, moments.take(rows), panel.schema, Streams(1))
        assert_same_bits(part, whole.take(rows))
    joined = type(moments).join([moments.take(slice(0, 5)), moments.take(slice(5, 12))])
    assert_same_bits(estimator.solve(plan, joined, panel.schema, Streams(1)), whole)


def test_records_are_taken_apart_and_joined_again(estimator: Estimator, panel: Panel, fits: Estimates) -> None:
    assert_same_bits(Estimates.join([fits.take(slice(0, 3)), fits.take(slice(3, 12))]), fits)
    joined = Estimates.join([fits, Estimates.failed(estimator.layout(panel.schema), Status.ERROR)])
    assert joined.status.tolist() == [Status.OK] * 12 + [Status.ERROR]
    assert np.isnan(joined.estimate[-1]).all()


def test_home_terms_are_right(estimator: Estimator) -> None:
    design, terms = estimator.home
    layout = estimator.layout(design.schema)
    targets = {term: layout.targets[term] for term in terms}
    replications = REPLICATIONS // 2 if estimator.kind in ITERATED else REPLICATIONS
    estimates, truths = simulate(estimator, tuple(dict.fromkeys(targets.values())), replications)
    assert (estimates.status == Status.OK).all()
    for term, target in targets.items():
        errors = estimates.estimate[:, estimates.terms.index(term)] - truths[target]
        assert np.isfinite(errors).all(), term
        sd = errors.std(ddof=1)
        assert sd > 0
        assert abs(errors.mean()) <= 4 * monte_carlo_error(errors), term
        column = estimates.terms.index(term)
        margin = critical_values(estimates.dof, 0.05)[:, -1, column] * estimates.se[:, -1, column]
        inside = (np.abs(errors) <= margin).astype(np.float64)
        assert abs(inside.mean() - 0.95) <= 4 * monte_carlo_error(inside), (term, inside.mean())


def simulate(estimator: Estimator, estimands: tuple[str, ...], replications: int) -> tuple[Estimates, dict[str, Any]]:
    """Replications of the home design, every `ROWS` of them in a world of their own, as in a study."""
    design, _ = estimator.home
    wanted = Wanted(estimator.variables(design.schema), estimands)
    parts, truths = [], []
    for start in range(0, replications, ROWS):
        draw = world_at_home(design, wanted, start)
        parts.append(estimator(draw.panel, Streams(2, "home").tile(start, start + ROWS)))
        truths.append(draw.truth)
    return Estimates.join(parts), {name: np.concatenate([truth[name] for truth in truths]) for name in estimands}


@lru_cache(maxsize=REPLICATIONS // ROWS)
def world_at_home(design: Design, wanted: Wanted, start: int) -> Draw:
    """The replications of one world, which estimators of one home share."""
    streams = Streams(2, "home")
    return design.settle(streams.within(f"world {start // ROWS}")).draw(streams.tile(start, start + ROWS), wanted)


def monte_carlo_error(values: np.ndarray) -> float:
    """The error of a mean over replications (R,) of several worlds, whose means may differ."""
    by_world = values.reshape(-1, ROWS).mean(axis=1)
    return float(max(values.std(ddof=1) / np.sqrt(len(values)), by_world.std(ddof=1) / np.sqrt(len(by_world))))


SPILLOVERS = {"sar": "lag", "sem": "error", "sdm": "paper"}
OWN = {"sar": ("rho", "indirect:did"), "sem": ("lambda",), "sdm": ("rho", "w_did", "indirect:did")}
LEE_YU = [("sar", None), ("sar", 0.4), ("sem", None), ("sdm", None), ("sdm", 0.4)]
ON_THE_PAPER: list[tuple[Estimator, dict[str, Any], tuple[str, ...]]] = [
    (TwoWayDID(), {}, ("did", "inv", "road", "book", "tech")),
    *((SpatialPanel(model), {"spillover": SPILLOVERS[model]}, ("did", "direct:did")) for model in SPILLOVERS),
    *((SpatialPanel(model, "lee-yu"), {"spillover": SPILLOVERS[model], "rho": rho},
       ("did", "direct:did", *OWN[model], "total:did", "sigma2")) for model, rho in LEE_YU),
]  # fmt: skip


@pytest.mark.parametrize(("fitted", "dials", "terms"), ON_THE_PAPER)
def test_it_is_right_on_the_paper(fitted: Estimator, dials: dict[str, Any], terms: tuple[str, ...]) -> None:
    """2,000 replications of a world: bias at most a quarter of the sd, coverage by every error within .93 and .97."""
    design, streams = Paper(**dials), Streams(2026, "simulation")
    targets = fitted.layout(design.schema).targets
    wanted = Wanted(fitted.variables(design.schema), tuple(dict.fromkeys(targets.values())))
    draw = design.settle(streams).draw(streams.tile(0, 2000), wanted)
    found = fitted(draw.panel)
    assert (found.status == Status.OK).all()
    for term in terms:
        k = found.terms.index(term)
        errors = found.estimate[:, k] - draw.truth[targets[term]]
        assert abs(errors.mean() / errors.std(ddof=1)) <= 0.25, term
        margins = (critical_values(found.dof, 0.05) * found.se)[:, :, k]
        covered = (np.abs(errors)[:, None] <= margins).mean(axis=0)
        assert ((covered >= 0.93) & (covered <= 0.97)).all(), (term, found.errors, covered)


def redrawn_treatment(panel: Panel) -> Panel:
    """The panel with a treatment that differs between replications by a few cities, so that it counts as redrawn."""
    treatment = panel.roles.treatment or ""
    did = np.repeat(panel.variables[treatment][:1], 12, axis=0)
    never = np.flatnonzero(~did[0].any(axis=0))
    never = never if never.size else np.arange(did.shape[2])  # all have doses
    for row in range(12):
        did[row, 10:, never[row]] = 1.0
    return panel.with_variables({treatment: did})


def uses_treatment(estimator: Estimator, panel: Panel) -> str:
    treatment = panel.roles.treatment
    if treatment is None or treatment not in estimator.variables(panel.schema):
        pytest.skip("does not use the treatment")
    return treatment


def test_a_singular_draw_gets_a_status_and_spoils_no_other(estimator: Estimator, panel: Panel) -> None:
    treatment = uses_treatment(estimator, panel)
    sound = redrawn_treatment(panel)
    did = np.array(sound.variables[treatment])
    did[3] = 0.0  # nobody is treated in this draw
    got, wanted = estimator(sound.with_variables({treatment: did}), Streams(1)), estimator(sound, Streams(1))
    others = np.delete(np.arange(12), 3)
    assert got.status[3] not in {Status.OK, Status.NOT_RUN}
    assert np.isnan(got.estimate[3]).any()
    assert (got.status[others] == Status.OK).all()
    np.testing.assert_array_equal(got.estimate[others], wanted.estimate[others])


def test_a_collinear_draw_gets_a_status(estimator: Estimator, panel: Panel) -> None:
    treatment = uses_treatment(estimator, panel)
    controls = [name for name in panel.roles.controls if name in estimator.variables(panel.schema)]
    if not controls:
        pytest.skip("uses no control")
    sound = redrawn_treatment(panel)
    control = np.repeat(panel.variables[controls[0]][:1], 12, axis=0)
    control[5] = 2.0 * sound.variables[treatment][5] + 1.0
    got = estimator(sound.with_variables({controls[0]: control}), Streams(1))
    assert got.status.tolist() == [Status.OK] * 5 + [Status.SINGULAR] + [Status.OK] * 6


def test_a_constant_outcome_in_one_draw_raises_nothing(estimator: Estimator, panel: Panel) -> None:
    outcome = panel.roles.outcome or ""
    got = estimator(changed(panel, outcome, 4, 1.0), Streams(1))
    assert (np.delete(got.status, 4) == Status.OK).all()


@pytest.mark.parametrize("fault", ["constant", "absorbed", "collinear"])
def test_useless_fixed_regressors_are_bad_input_by_name(estimator: Estimator, panel: Panel, fault: str) -> None:
    shape, effects = (1, len(panel.periods), len(panel.units)), getattr(estimator, "effects", "two-way")
    if fault == "absorbed" and effects == "none":
        pytest.skip("absorbs nothing but constants")
    units, periods = np.arange(shape[2], dtype=float)[None, None], np.arange(shape[1], dtype=float)[None, :, None]
    extra = {
        "constant": np.ones(shape),
        "absorbed": units * (effects != "period") + periods**2 * (effects != "unit") + np.zeros(shape),
        "collinear": 3.0 * panel.variables[panel.roles.controls[0]][:1] - 2.0,
    }[fault]
    roles = dataclasses.replace(panel.roles, controls=(*panel.roles.controls, "useless"))
    faulty = dataclasses.replace(panel, roles=roles).with_variables({"useless": extra})
    if "useless" not in estimator.variables(faulty.schema):
        pytest.skip("takes no controls from the panel")
    refuses(f"'useless' is {fault}", lambda: estimator(faulty, Streams(1)))


def test_unknown_outcomes_are_bad_input(estimator: Estimator, panel: Panel) -> None:
    faulty = dataclasses.replace(panel, roles=dataclasses.replace(panel.roles, outcome="icrr"))
    refuses("no variable 'icrr'", lambda: estimator(faulty, Streams(1)))


@cache
def redrawn_worlds() -> tuple[Panel, ...]:
    """Whole panels and panels with gaps, in which each of three replications has its own dates and covariates."""
    adoptions = (Random(dates=(2003, 2006)), StaggeredAdoption())
    designs = [PanelDesign(units=30, periods=8, adoption=adoption, missing=Pattern(share, "entry"), weights=Knn(k=3),
                           covariates=(Normal("x", effect=0.3),), mediators=(Linear("m", a=0.5, b=0.4),),
                           redraw=("adoption", "covariates"))
               for adoption in adoptions for share in (0.0, 0.2)]  # fmt: skip
    return tuple(design.draw(Streams(5).tile(0, 3)).panel for design in designs)


NEEDY = {"interaction", "iv", "stacked", "triple-difference"}  # kinds that such a panel cannot serve as they stand
SMALL: dict[str, dict[str, Any]] = {"permutation": {"draws": 99}}


@pytest.mark.parametrize("kind", sorted(estimators()))
def test_every_replication_has_its_own_dates_and_gaps(kind: str) -> None:
    made, served = estimators()[kind](**SMALL.get(kind, {})), 0
    for panel in redrawn_worlds():
        try:
            found = made(panel, Streams(1).tile(0, 3))
        except BadInput:
            for row in range(3):
                with pytest.raises(BadInput):
                    made(panel.replication(row), Streams(1).tile(row, row + 1))
            continue
        for row in range(3):
            try:
                alone = made(panel.replication(row), Streams(1).tile(row, row + 1))
            except BadInput:
                assert found.status[row] != Status.OK
                continue
            served += 1
            assert found.status[row] == alone.status[0]
            np.testing.assert_allclose(found.estimate[row], alone.estimate[0], rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(found.se[row], alone.se[0], rtol=1e-6, atol=1e-9)
    assert (served == 0) == (kind in NEEDY)


def listed(cls: type) -> Iterator[tuple[str, bool, tuple[Any, ...]]]:
    """Settings whose type names values: their names, whether they hold several, and the values."""
    hints = get_type_hints(cls)
    for item in fields(cls):
        hint = hints[item.name]
        many = get_origin(hint) is tuple
        inner = get_args(hint)[0] if many and get_args(hint) else hint
        if get_origin(inner) is Literal:
            yield item.name, many, get_args(inner)


CASES = [
    pytest.param(cls, name, many, values, id=f"{kind}-{name}")
    for classes in (estimators(), designs())
    for kind, cls in classes.items()
    for name, many, values in listed(cls)
]


def test_many_settings_list_their_values() -> None:
    ids = {str(case.id) for case in CASES}
    assert {"callaway-santanna-controls", "callaway-santanna-base", "callaway-santanna-method", "rings-reach",
            "psm-did-method", "mediation-cluster_k", "imputation-averages", "panel-redraw"} <= ids  # fmt: skip


@pytest.mark.parametrize(("cls", "name", "many", "values"), CASES)
def test_a_value_that_is_not_listed_is_bad_input(cls: type, name: str, many: bool, values: tuple[Any, ...]) -> None:
    (problem,) = refuses(name, cls, **{name: ("nonsense",) if many else "nonsense"}).problems
    assert problem.what == f"{name} = 'nonsense'"
    for value in values:
        assert (str(value) or '""') in problem.allowed.split(", ")
        if isinstance(cls, type) and issubclass(cls, Estimator):
            assert getattr(cls(**{name: (value,) if many else value}), name) == ((value,) if many else value)


def test_all_wrong_settings_are_named_with_the_estimator_and_the_nearest_value() -> None:
    said = r"^estimator callaway-santanna; controls = 'nevr'; did you mean 'never'\?; allowed: never, not-yet$"
    refuses(said, CallawaySantAnna, controls="nevr")
    problems = refuses("sdmm", SpatialPanel, model="sdmm", transform="lee").problems
    assert [problem.what for problem in problems] == ["model = 'sdmm'", "transform = 'lee'"]


@dataclass(frozen=True, slots=True)
class Some:
    """Settings of every form that lists values."""

    one: Literal["a", "b"] = "a"
    several: tuple[Literal["a", 1], ...] = ()
    perhaps: Literal["a", "b"] | None = None
    either: tuple[Literal["a"], ...] | Literal["all"] | None = None
    free: str | None = None
    mixed: Literal["a"] | int = 0


@dataclass(frozen=True)
class Untold:
    """Settings of a type that is there for type checkers alone."""

    one: Literal["a"] = "a"
    other: Decimal | None = None


@pytest.mark.parametrize(("settings", "wrong"), [
    (Some(), []), (Some("b", ("a", 1), "b", "all", "any", 7), []), (Some("c"), ["one = 'c'"]),
    (Some(several=("a", 2, "b")), ["several = 2", "several = 'b'"]), (Some(perhaps="c"), ["perhaps = 'c'"]),
    (Some(either=("a",)), []), (Some(either=("b",)), ["either = 'b'"]), (Untold("b"), []),
])  # fmt: skip
def test_types_that_list_values(settings: object, wrong: list[str]) -> None:
    assert [problem.what for problem in choice_problems(settings, "here")] == wrong


def test_an_estimator_with_checks_of_its_own_still_has_these() -> None:
    """They are inherited: a class without a `__post_init__` has them, one with its own calls them."""
    for kind, cls in estimators().items():
        own = cls.__dict__.get("__post_init__")
        assert own is None or "__post_init__" in own.__code__.co_names, kind
    assert TwoWayDID().cluster_k == "nonnested"


def test_a_plug_in_that_is_no_dataclass_can_be_shown() -> None:
    class Plain(Estimator):
        kind = "plain"
        home = (Paper(), ())
        layout = variables = __call__ = lambda self, *_: None

    assert "Plain object" in repr(Plain())
