"""What rounding must not decide: errors of two units, whose scores cancel, and the digits that a level takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from covering import covered
from refusals import refuses

from estimators import DCDH, CallawaySantAnna, InteractionTest, Mediation, PanelIV, SpatialPanel, Status, TwoWayDID
from estimators.core.tile import balanced_split, without_singletons
from estimators.linear.covariances import cancelled
from estimators.linear.random_effects import ErrorComponents, RandomEffects
from experiments.references.reference import long_frame
from references.pyfixest_reference import feols
from references.regressions import panel_ols
from references.small_panels import adopting, bare, small_panel, unseen
from sim import Panel, Streams, Wanted


def compared(panel: Panel) -> int:
    """Units left without singletons of units and periods."""
    left = without_singletons(panel, ("unit", "period"))
    return len(left.units) if left.observed is None else int(left.observed[0].any(axis=0).sum())


pytestmark = pytest.mark.usefixtures("rounding")
NAMES = ("did", "inv")
CLUSTERED = ("cluster:unit", "cluster:half")


def few(units: int = 2, *, periods: int = 10, replications: int = 1, redrawn: bool = False) -> Panel:
    """Two or three units, one of them treated, each a half of its own."""
    whole = small_panel(12, periods, seed=3, replications=replications, redrawn=redrawn)
    kept = [0, 11, 5][:units]
    variables = {name: values[:, :, kept].copy() for name, values in whole.variables.items()}
    panel = bare(variables, whole.roles, attributes={"half": np.arange(units)})
    return adopting(panel, (periods // 2, 0))


def with_a_loner(panel: Panel) -> Panel:
    """And a third unit that is observed once, in a period of the others: its effect fits it exactly."""
    variables = {
        name: np.concatenate([values, values[:, :, :1] + 1.0], axis=2) for name, values in panel.variables.items()
    }
    observed = np.ones((panel.replications, len(panel.periods), 3), dtype=bool)
    observed[:, 1:, 2] = False
    attributes = {"half": np.arange(3)}
    return Panel((*panel.units, "loner"), panel.periods, variables, panel.roles, attributes=attributes,
                 observed=observed)  # fmt: skip


@covered(redrawn=[False, True], loner=[False, True])
def test_two_units_have_no_clustered_error_of_did(loner: bool, redrawn: bool) -> None:
    panel = few(replications=3, redrawn=redrawn)
    panel = with_a_loner(panel) if loner else panel
    assert compared(panel) == 2
    found = TwoWayDID(regressors=NAMES, errors=("iid", "hc1", *CLUSTERED))(panel)
    assert np.isfinite(found.estimate).all()
    assert (found.se[:, :2] > 1e-3).all()
    assert np.isnan(found.se[:, 2:]).all()


def test_three_units_have_one() -> None:
    panel = few(3)
    assert compared(panel) == 3
    for estimator in (TwoWayDID(regressors=NAMES), panel_ols(regressors=NAMES, constant=False)):
        assert (estimator(panel).se > 1e-6).all()


def test_units_that_meet_nobody_are_not_compared() -> None:
    """A chain of units that share one period each with the next, and two that share all."""
    observed = np.zeros((1, 6, 5), dtype=bool)
    observed[0, :, :2] = True
    for unit in (2, 3, 4):
        observed[0, unit : unit + 2, unit] = True
    assert compared(replace(small_panel(5, 6, seed=1), observed=observed)) == 5
    observed = observed & ~((np.arange(6)[:, None] >= 2) & (np.arange(5) < 2))  # 4 is alone at last, then 3, then 2
    assert compared(replace(small_panel(5, 6, seed=1), observed=observed)) == 2


@covered(level=[0.0, 1e8], effects=[("unit", "period"), ("period",)], loner=[False, True])
def test_two_units_have_no_clustered_error_beside_period_effects(
    level: float, effects: tuple[str, ...], loner: bool
) -> None:
    panel = with_a_loner(few()) if loner and "unit" in effects else few()
    panel = replace(panel, variables={name: values + level * (name != "did") for name, values in
                                      panel.variables.items()})  # fmt: skip
    errors = ("iid", "hc1", "driscoll-kraay", *CLUSTERED, "wild:unit")
    found = panel_ols(regressors=NAMES, effects=effects, constant=False, errors=errors, draws=99)(panel)
    assert (found.se[0, :3] > 1e-3).all()
    assert np.isnan(found.se[0, 3:]).all()
    assert np.isnan(found.pvalue[0]).all()
    assert np.isnan(found.lower[0]).all()


@pytest.mark.parametrize("effects", [(), ("unit",)])
def test_two_units_keep_the_errors_that_exist(effects: tuple[str, ...]) -> None:
    errors = ("cluster:unit", "wild:unit")
    found = panel_ols(regressors=NAMES, effects=effects, errors=errors, draws=99)(few())
    assert (found.se[0, 0] > 1e-6).all()
    assert (found.pvalue[0, 1] > 0).all()


def test_the_pooled_constant_of_two_units_keeps_its_error() -> None:
    """Period effects alone: the slopes' scores cancel, the constant's do not."""
    found = panel_ols(regressors=NAMES, effects=("period",), errors=("cluster:unit",))(few())
    assert np.isnan(found.se[0, 0, :2]).all()
    assert found.se[0, 0, 2] > 1e-3


def test_small_scores_are_not_rounding() -> None:
    u = np.array([[[1.0, -1.0 + 1e-5], [0.0, 0.0]]])
    assert not cancelled(np.square(u.sum(axis=(1, 2))), u)[0]
    u[0, 0, 1] = -1.0 + 1e-12
    assert cancelled(np.square(u.sum(axis=(1, 2))), u)[0]


def fitted_cells(replications: int = 1, *, redrawn: bool = False) -> Panel:
    """Four units and two periods: did is what c has more than d, which are fitted without error, and inv what d has
    more than a and b, which are not."""
    changes = {"did": [0, 0, 1, 0], "inv": [0, 0, 1, 1]}
    rows = replications if redrawn else 1
    variables = {name: np.zeros((rows, 2, 4)) for name in changes}
    for name, change in changes.items():
        variables[name][:, 1] = change
    variables["y"] = np.random.default_rng(4).standard_normal((replications, 2, 4))
    return replace(few(), units=("a", "b", "c", "d"), periods=(1, 2), variables=variables,
                   attributes={"half": np.arange(4)})  # fmt: skip


@pytest.mark.parametrize("redrawn", [False, True])
def test_a_coefficient_that_rests_on_no_residual_has_no_robust_error(redrawn: bool) -> None:
    panel = fitted_cells(3, redrawn=redrawn)
    did = TwoWayDID("y", NAMES, errors=("iid", "hc1", *CLUSTERED, "wild:unit"), draws=99)
    found = did(panel)
    assert (found.se[:, 0] > 1e-3).all()
    assert np.isnan(found.se[:, 1:4, 0]).all()
    assert (found.se[:, 1:4, 1] > 1e-3).all()
    assert np.isnan(found.pvalue[:, 4, 0]).all()
    matrix = did.covariance(panel.replication(0), "hc1").matrix[0]
    assert list(np.isnan(np.diagonal(matrix))) == [True, False]


def test_an_outcome_without_error_has_no_errors_whatever_the_estimator() -> None:
    panel = small_panel(20, 6, seed=2)
    rng = np.random.default_rng(2)
    more = {name: rng.standard_normal((1, 6, 20)) for name in ("m", "z")}
    more["y"] = 2.0 * panel.variables["did"] + panel.variables["inv"] + more["m"]
    exact = replace(panel, variables={**panel.variables, **more})
    errors = ("iid", "hc1", "cluster:unit", "driscoll-kraay")
    regressors = ("did", "inv", "m")
    assert np.isnan(TwoWayDID("y", regressors, errors=errors)(exact).se).all()
    assert np.isnan(TwoWayDID("y", regressors, errors=errors).covariance(exact, "iid").matrix).all()
    assert np.isnan(RandomEffects("y", regressors, errors=errors)(exact).se).all()
    found = PanelIV("y", regressors, ("m",), ("z",), errors)(exact)
    np.testing.assert_allclose(found.estimate[0], [1.0, 2.0, 1.0], rtol=1e-8)
    assert np.isnan(found.se).all()
    assert np.isnan(found.statistics["endogeneity_p"][0])
    for instruments in ((), ("z",)):
        through = Mediation("m", "y", ("inv", "did"), ("delta", "sobel", "monte-carlo", "bootstrap:unit"), 99,
                            instruments=instruments)(exact)  # fmt: skip
        alone = through.terms.index("a")
        assert (through.se[0, :, alone] > 1e-3).all()
        others = [k for k, term in enumerate(through.terms) if term not in ("a", "total")]
        assert np.isnan(through.se[0][:, others]).all()
        assert np.isnan(through.pvalue[0][:, others]).all()


def test_paths_whose_scores_cancel_have_no_errors() -> None:
    """Of two regions that are treated as wholes every sum of scores is zero, and no sample is sound but the panel."""
    panel = small_panel(12, 6, seed=2)
    south = np.arange(12) >= 6
    m, y = np.random.default_rng(5).standard_normal((2, 1, 6, 12))
    variables = {"did": (south & (np.arange(6)[:, None] >= 3))[None].astype(np.float64), "m": m, "y": y + m}
    panel = replace(panel, variables=variables, attributes={"region": south.astype(str)})
    errors = ("delta", "sobel", "monte-carlo", "bootstrap:region")
    found = Mediation("m", "y", ("did",), errors, 199, "region")(panel)
    assert np.isfinite(found.estimate).all()
    for error, terms in (("delta", ("a", "nie", "total")), ("monte-carlo", ("a", "nie", "total")),
                         ("bootstrap:region", found.terms)):  # fmt: skip
        assert np.isnan([found.with_errors(error).std_errors[term] for term in terms]).all(), error
    assert np.isnan(found.statistics["corr_ab"][0])
    assert np.isnan(Mediation("m", "y", ("did",), cluster="region").sensitivity(panel, np.array([0.0, 0.3]))[1]).all()
    assert np.isfinite(Mediation("m", "y", ("did",), errors[:3])(panel).se[0, 0]).all()


@pytest.mark.parametrize("seed", range(6))
def test_an_outcome_of_regions_has_no_errors_by_their_cities(seed: int) -> None:
    """Cities of a treated region that share its outcome, and those of another: nothing differs within either."""
    rng = np.random.default_rng(seed)
    region = np.arange(14) % 2
    variables = {"did": ((np.arange(6)[:, None] >= 3) & (region == 0))[None].astype(np.float64),
                 "y": 1.7 * rng.standard_normal((1, 6, 2))[:, :, region] + 0.3}  # fmt: skip
    panel = replace(small_panel(14, 6), variables=variables)
    panel = replace(panel, roles=replace(panel.roles, outcome="y", controls=(), mediators=()))
    for found in (CallawaySantAnna()(panel), DCDH()(panel)):
        assert (np.abs(found.estimate[np.isfinite(found.estimate)]) > 1e-6).any()
        assert np.isnan(found.se).all()


def test_groups_that_are_fitted_without_error_are_not_tested() -> None:
    panel = small_panel(24, 6, seed=2)
    half = np.array([str(i % 2) for i in range(24)])
    y = panel.variables["did"] * (1.0 + (half == "1")) + panel.variables["inv"]
    exact = replace(panel, variables={**panel.variables, "y": y}, attributes={"half": half})
    found = InteractionTest("half", ("0", "1"), "y", ("did", "inv"), ("iid", "hc1", "cluster:unit"))(exact)
    np.testing.assert_allclose(found.estimate[0], [1.0, 1.0], rtol=1e-8)
    assert found.status[0] == Status.OK
    assert np.isnan(found.se).all()
    assert np.isnan([found.statistics["wald"], found.statistics["wald_p"]]).all()


@pytest.mark.parametrize("periods", [False, True])
def test_a_level_moves_the_constant_of_random_effects_alone(periods: bool) -> None:
    design = ErrorComponents(units=30, periods=6)
    wanted = Wanted(frozenset(design.schema.variables), ())
    streams = Streams(4, "levels", 0, 3)
    plain = design.settle(streams).draw(streams, wanted).panel
    raised = {name: values if name == "did" else np.round(values * 2**20) / 2**20 for name, values in
              plain.variables.items()}  # fmt: skip
    plain = replace(plain, variables=raised)
    moved = {name: values if name == "did" else values + 1e8 for name, values in raised.items()}
    estimator = RandomEffects(periods=periods, errors=("iid", "hc1", "cluster:unit"))
    near, far = estimator(plain), estimator(replace(plain, variables=moved))
    np.testing.assert_allclose(far.estimate[:, :2], near.estimate[:, :2], rtol=1e-6)
    np.testing.assert_allclose(far.se[:, :, :2], near.se[:, :, :2], rtol=1e-6)
    slope = near.estimate[:, 1]
    np.testing.assert_allclose(far.estimate[:, 2], near.estimate[:, 2] + 1e8 * (1 - slope), rtol=1e-6)
    np.testing.assert_allclose(far.se[:, 0, 2] / 1e8, near.se[:, 0, 1], rtol=1e-5)  # that of the slope at x = -1e8
    for name, values in near.statistics.items():
        np.testing.assert_allclose(far.statistics[name], values, rtol=1e-6, atol=1e-9)


LEVELS = (1.1, 0.37, 1.1e-6, 3.7e5)


def with_constant(name: str, level: float, *, n: int = 50, t: int = 7, missing: int = 0) -> Panel:
    """Eight replications, in the fourth of which a variable is constant."""
    panel = small_panel(n, t, replications=8, redrawn=True, missing=missing)
    values = panel.variables[name].copy()
    values[3] = level
    return panel.with_variables({name: values})


@covered(missing=[0, 60], level=LEVELS)
def test_a_regressor_that_is_constant_in_one_replication_has_no_coefficient_there(level: float, missing: int) -> None:
    got = TwoWayDID()(with_constant("inv", level, missing=missing))
    assert got.status.tolist() == [Status.OK] * 3 + [Status.SINGULAR] + [Status.OK] * 4
    assert np.isnan(got.estimate[3]).all()
    assert np.isnan(got.se[3]).all()


@covered(model=["sar", "sem", "sdm"], level=LEVELS)
def test_a_constant_outcome_has_no_spatial_parameter(model: str, level: float) -> None:
    got = SpatialPanel(model, "direct")(with_constant("y", level))
    assert got.status[3] != Status.OK
    assert np.isnan(got.estimate[3]).all()


@pytest.mark.parametrize(("level", "sd"), [(0.0, 1.0), (1e6, 1.0), (1e9, 1e-2)])
def test_a_level_costs_the_sums_of_squares_no_digits(level: float, sd: float) -> None:
    """Held to sums of integers, which are exact: the variable is a whole multiple of a power of two."""
    unit = 2.0 ** np.round(np.log2(sd / 1000))
    steps = np.rint(np.random.default_rng(4).standard_normal((5, 18, 285)) * sd / unit)
    within, between = balanced_split(level + steps * unit)
    centred = steps - steps.mean(axis=(1, 2), keepdims=True)
    total = np.square(centred).sum(axis=(1, 2)) * unit**2
    np.testing.assert_allclose(np.square(within).sum(axis=(1, 2)) + between, total, rtol=1e-13)


def with_loners() -> Panel:
    """A province of one unit, a unit seen once, and a period in which one unit is seen."""
    panel = small_panel(30, 6, seed=4)
    province = panel.attributes["province"].astype("<U20")
    province[3] = "alone"
    panel = replace(panel, attributes={**panel.attributes, "province": province})
    return unseen(panel, (slice(1, None), 7), (5, slice(1, None)))


@pytest.mark.parametrize("effects", [("unit", "period"), ("unit", "province-by-period")])
def test_they_are_dropped_as_pyfixest_does(effects: tuple[str, ...]) -> None:
    panel = with_loners()
    ours = TwoWayDID(regressors=("did", "inv"), errors=("iid", "cluster:unit"), effects=effects)(panel)
    frame = long_frame(panel, ("y", "did", "inv"))
    frame["cell"] = frame["province"].astype(str) + ":" + frame["period"].astype(str)
    absorbed = "unit + period" if "period" in effects else "unit + cell"
    theirs = feols(f"y ~ did + inv | {absorbed}", frame, "iid", "full", fixef_rm="singleton")
    assert ours.statistics["nobs"][0] == theirs._N < panel.nobs
    np.testing.assert_allclose(ours.estimate[0], theirs.coef().to_numpy(), rtol=1e-8)
    if "period" in effects:  # beside cells of provinces its k counts effects that are redundant, ours their rank
        np.testing.assert_allclose(ours.se[0, 0], theirs.se().to_numpy(), rtol=1e-8)


def test_slopes_are_those_of_all_observations_and_errors_are_not() -> None:
    panel = with_loners()
    dropped, kept = (TwoWayDID(regressors=("did", "inv"), singletons=how)(panel) for how in ("drop", "keep"))
    np.testing.assert_allclose(dropped.estimate, kept.estimate, rtol=1e-10)
    assert kept.statistics["nobs"][0] == panel.nobs
    assert dropped.statistics["nobs"][0] == panel.nobs - 2  # a unit seen once, and a period with one unit
    assert (dropped.se != kept.se).any()


def test_taking_one_out_may_leave_another_alone() -> None:
    panel = small_panel(12, 4, seed=1)
    observed = np.zeros((1, 4, 12), dtype=bool)
    for unit in range(3):
        observed[0, unit : unit + 2, unit] = True  # a chain: each unit shares one period with the next
    chain = replace(panel, observed=observed)
    assert without_singletons(chain, ("unit", "period")) is chain, "nothing is left, so the panel stays for a refusal"
    refuses("did", lambda: TwoWayDID(regressors=("did",))(chain))


def test_settings_are_checked() -> None:
    refuses("singletons = 'both'; allowed: drop, keep", lambda: TwoWayDID(singletons="both"))
