"""Two-stage least squares against pyfixest, linearmodels, a slow program with dummies, truth, and careless uses."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusals import refuses
from scipy.stats import f as f_distribution
from scipy.stats import ncx2

from estimators import PanelIV, Status, TwoWayDID
from estimators.linear.instruments import EMPTY, INTERVAL, LINE, RAYS, ConfidenceSets, anderson_rubin_set
from experiments.references import linearmodels as linearmodels_reference
from experiments.references.reference import long_frame
from references.iv_twin import INSTRUMENTS, DummyIV, made_panel
from references.pyfixest_reference import feols
from references.small_panels import bare, uneven
from sim import Panel, Roles, Streams, Wanted
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import InstrumentedDose
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.spillover import Neighbours

CONTROLS = ("inv", "road")
NAMES = ("y", "d", "e", *CONTROLS, *INSTRUMENTS)
ERRORS = {"iid": "iid", "hc1": "hc1", "cluster:unit": "cluster"}


def iv(**settings: Any) -> PanelIV:
    return PanelIV(**{"regressors": CONTROLS, "endogenous": ("d",), "instruments": INSTRUMENTS, **settings})


PANELS = {"balanced": (0, False), "gaps": (7, False), "weights": (0, True), "weights and gaps": (7, True)}


@pytest.fixture(scope="module", params=PANELS.values(), ids=PANELS)
def panel(request: pytest.FixtureRequest) -> Panel:
    missing, by_weight = request.param
    found = made_panel(20, 5, missing=missing)
    return uneven(found, seed=4) if by_weight else found


def pyfixest_iv(panel: Panel, error: str, formula: str) -> Any:
    kind = {"CRV1": "unit"} if error.startswith("cluster") else {"iid": "iid", "hc1": "hetero"}[error]
    weight = panel.roles.weight
    names, by = ((*NAMES, weight), {"weights": weight, "weights_type": "aweights"}) if weight else (NAMES, {})
    counted = "nonnested" if error.startswith("cluster") else "full"
    fit = feols(formula, long_frame(panel, names), kind, counted, **by)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit.first_stage()
        fit.IV_Diag()
    return fit


@pytest.mark.parametrize("error", ERRORS)
def test_estimates_errors_and_first_stage_are_those_of_pyfixest(panel: Panel, error: str) -> None:
    theirs = pyfixest_iv(panel, error, "y ~ inv + road | unit + period | d ~ z1 + z2 + z3")
    ours = iv(errors=(error,), test=error)(panel)
    order = list(ours.terms)
    np.testing.assert_allclose(ours.estimate[0], theirs.coef().loc[order], rtol=1e-8)
    np.testing.assert_allclose(ours.se[0, 0], theirs.se().loc[order], rtol=1e-8)
    if error == "iid":  # its first stage counts effects otherwise under other errors
        assert ours.statistics["first_stage_f"][0] == pytest.approx(theirs._f_stat_1st_stage, rel=1e-8)


def test_effective_f_is_that_of_pyfixest_without_controls(panel: Panel) -> None:
    theirs = pyfixest_iv(panel, "cluster:unit", "y ~ 1 | unit + period | d ~ z1 + z2 + z3")
    ours = iv(regressors=())(panel).statistics
    assert ours["effective_f"][0] == pytest.approx(theirs._eff_F, rel=1e-8)
    assert ours["kp_f"][0] == pytest.approx(theirs._f_stat_1st_stage, rel=1e-8)


@pytest.mark.parametrize("endogenous", [("d",), ("d", "e")])
def test_estimates_errors_and_tests_are_those_of_linearmodels(panel: Panel, endogenous: tuple[str, ...]) -> None:
    ours = iv(endogenous=endogenous, cluster_k="all", test="iid")(panel)
    two_stages = partial(linearmodels_reference.two_stages, panel, outcome="y", regressors=CONTROLS,
                         endogenous=endogenous)  # fmt: skip
    theirs = two_stages(instruments=INSTRUMENTS, errors=tuple(ERRORS))
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-8)
    for error in ERRORS:
        np.testing.assert_allclose(theirs.our_se(ours, error), theirs.se[error], rtol=1e-8, err_msg=error)
    tests = {"endogeneity_f", "endogeneity_p"}
    just = two_stages(instruments=INSTRUMENTS[: len(endogenous)])
    assert (set(just.statistics), set(theirs.statistics)) == (tests, tests | {"sargan", "sargan_p"})
    for name, value in theirs.statistics.items():
        assert ours.statistics[name][0] == pytest.approx(value, rel=1e-7), name


@pytest.mark.parametrize("error", ERRORS)
def test_hansen_j_is_that_of_linearmodels(panel: Panel, error: str) -> None:
    """Two-step GMM on variables without effects; its moments are those of the partialled-out regression."""
    from linearmodels.iv import IVGMM

    frame = long_frame(panel, NAMES)
    base = pd.get_dummies(frame[["unit", "period"]].astype(str), dtype=float).to_numpy()
    weight = panel.roles.weight
    root = np.sqrt(long_frame(panel, (weight,))[weight].to_numpy() if weight else np.ones(len(frame)))[:, None]
    raw, base = frame[list(NAMES)] * root, base * root
    within = raw - base @ np.linalg.lstsq(base, raw.to_numpy(), rcond=None)[0]
    settings = {"iid": {"weight_type": "unadjusted"}, "hc1": {"weight_type": "robust"},
                "cluster:unit": {"weight_type": "clustered", "clusters": pd.factorize(frame["unit"])[0]}}  # fmt: skip
    theirs = IVGMM(within["y"], within[list(CONTROLS)], within[["d"]], within[list(INSTRUMENTS)], **settings[error])
    found = theirs.fit(iter_limit=2).j_stat
    ours = iv(test=error)(panel).statistics
    if not weight or error != "iid":  # theirs takes their mean off scaled residuals; J of iid is Sargan's, as below
        assert ours["hansen_j"][0] == pytest.approx(found.stat, rel=1e-7)
        assert ours["hansen_p"][0] == pytest.approx(found.pval, rel=1e-7)
    assert (error == "iid") == (ours["hansen_j"][0] == pytest.approx(ours["sargan"][0], rel=1e-10))


@pytest.mark.parametrize("error", ERRORS)
def test_tests_and_sets_are_those_of_the_slow_program(panel: Panel, error: str) -> None:
    slow = DummyIV.of(panel, ("d",), CONTROLS, INSTRUMENTS, ERRORS[error])
    ours = iv(test=error, cluster_k="all")(panel).statistics
    assert ours["kp_f"][0] == pytest.approx(slow.kleibergen_paap(), rel=1e-8)
    assert ours["ar_f"][0] == pytest.approx(slow.anderson_rubin(0.0), rel=1e-8)
    free = len(slow.y) - slow.w.shape[1] - 3
    dof = len(panel.units) - 1 if error == "cluster:unit" else free
    assert ours["ar_p"][0] == pytest.approx(f_distribution.sf(ours["ar_f"][0], 3, dof), rel=1e-10)
    ends = slow.set_ends(f_distribution.ppf(0.95, 3, dof))
    np.testing.assert_allclose([ours["ar_lower"][0], ours["ar_upper"][0]], ends, rtol=1e-7)
    assert ours["ar_shape"][0] == INTERVAL
    both = DummyIV.of(panel, ("d", "e"), CONTROLS, INSTRUMENTS, ERRORS[error])
    several = iv(endogenous=("d", "e"), test=error, cluster_k="all")(panel).statistics
    assert several["kp_f"][0] == pytest.approx(both.kleibergen_paap(), rel=1e-8)
    assert set(several) & {"effective_f", "ar_lower"} == set()


@pytest.mark.parametrize("error", ERRORS)
def test_the_test_of_endogeneity_is_a_regression_with_first_stage_residuals(panel: Panel, error: str) -> None:
    first = TwoWayDID(outcome="d", regressors=(*CONTROLS, *INSTRUMENTS), errors=("iid",))
    slow = DummyIV.of(panel, ("d",), CONTROLS, INSTRUMENTS, ERRORS[error])
    x = np.column_stack([slow.z, slow.w])
    v = slow.d[:, 0] - x @ np.linalg.lstsq(x, slow.d[:, 0], rcond=None)[0]
    b, _, covariance = slow.fit(np.column_stack([v, slow.d, slow.w]), slow.y)
    ours = iv(test=error, cluster_k="all")(panel).statistics
    assert ours["endogeneity_f"][0] == pytest.approx(b[0] ** 2 / covariance[0, 0], rel=1e-8)
    assert first(panel).statistics["sigma2"][0] == pytest.approx(v @ v / (len(v) - x.shape[1]), rel=1e-10)


def test_the_critical_value_of_one_instrument_is_that_of_the_paper() -> None:
    """23.1 for a bias of 10% with one instrument (Montiel Olea and Pflueger 2013, table 1); else by their formula."""
    panel = made_panel()
    one = iv(instruments=("z1",))(panel).statistics
    assert one["effective_f_critical"][0] == pytest.approx(23.1, abs=0.05)
    assert one["effective_f_critical"][0] == pytest.approx(ncx2.ppf(0.95, 1, 10), rel=1e-8)
    assert one["effective_f"][0] == pytest.approx(one["kp_f"][0], rel=1e-10)
    many = iv(test="iid")(panel).statistics  # W is a multiple of the identity, so that K_eff = K
    assert many["effective_f_critical"][0] == pytest.approx(ncx2.ppf(0.95, 3, 30) / 3, rel=1e-8)
    assert many["effective_f"][0] == pytest.approx(many["first_stage_f"][0], rel=1e-10)


def forms(pi_y: list[float], pi_d: list[float], scale: float = 1.0) -> ConfidenceSets:
    """The set of one panel with independent coefficients of variance `scale`, at a critical value of 4."""
    m = len(pi_y)
    return anderson_rubin_set(np.array([[pi_y, pi_d]]), scale * np.eye(2 * m)[None], 4.0)


@pytest.mark.parametrize(("pi_y", "pi_d", "shape", "ends"), [
    ([3.0], [3.0], INTERVAL, None), ([1.0], [1.0], LINE, (-np.inf, np.inf)), ([5.0], [1.0], RAYS, None),
    ([9.0, -9.0], [9.0, 9.0], EMPTY, (np.nan, np.nan)),
])  # fmt: skip
def test_sets_have_four_shapes(
    pi_y: list[float], pi_d: list[float], shape: int, ends: tuple[float, float] | None
) -> None:
    found = forms(pi_y, pi_d)
    assert found.shape[0] == shape
    if ends is not None:
        np.testing.assert_array_equal([found.lower[0], found.upper[0]], ends)
    for b in np.linspace(-20, 20, 4001):  # (pi_y - b pi_d)^2 / (1 + b^2) <= 4, summed
        inside = sum((y - b * d) ** 2 for y, d in zip(pi_y, pi_d, strict=True)) / (1 + b**2) <= 4
        assert found.holds(b)[0] == inside, b


def test_the_hull_of_two_rays_is_the_line_and_that_of_the_empty_set_a_point() -> None:
    at = np.array([7.0])
    assert [end[0] for end in forms([5.0], [1.0]).hull(at)] == [-np.inf, np.inf]
    interval = forms([3.0], [3.0])
    assert [end[0] for end in interval.hull(at)] == [interval.lower[0], interval.upper[0]]
    assert [end[0] for end in forms([9.0, -9.0], [9.0, 9.0]).hull(at)] == [7.0, 7.0]
    assert [end[0] for end in forms([1.0], [1.0]).hull(at)] == [-np.inf, np.inf]


def test_p_and_interval_of_the_error_type_are_those_of_the_statistics() -> None:
    found = iv(errors=("cluster:unit", "anderson-rubin"))(made_panel(replications=3))
    np.testing.assert_array_equal(found.dof[:, 1], found.dof[:, 0])
    assert np.isnan(found.se[:, 1]).all()
    np.testing.assert_array_equal(found.pvalue[:, 1, 0], found.statistics["ar_p"])
    np.testing.assert_array_equal(found.lower[:, 1, 0], found.statistics["ar_lower"])
    assert np.isnan(found.pvalue[:, 1, 1:]).all()
    assert np.isnan(found.pvalue[:, 0]).all()


@pytest.mark.parametrize("change", ["scale", "rotate", "effects", "control"])
def test_numbers_do_not_depend_on_units_bases_and_effects(change: str) -> None:
    panel = made_panel(missing=11)
    x, factor = panel.variables, 1000.0 if change == "scale" else 1.0
    moved = np.arange(30.0) ** 2 + 5 * np.arange(6.0)[:, None]
    changed = {
        "scale": {"d": 1000 * x["d"], "z1": -0.001 * x["z1"]},
        "rotate": {"z1": x["z1"] + x["z2"], "z2": x["z1"] - 3 * x["z3"]},
        "effects": {name: x[name] + moved for name in ("y", "d", "z2")},
        "control": {"z3": x["z3"] + 2 * x["road"]},  # instruments may hold a part of controls
    }[change]
    one, other = iv()(panel), iv()(panel.with_variables(changed))
    np.testing.assert_allclose(other.estimate[0, 0] * factor, one.estimate[0, 0], rtol=1e-8)
    np.testing.assert_allclose(other.se[0, :, 0] * factor, one.se[0, :, 0], rtol=1e-8)
    for name, values in one.statistics.items():
        scale = factor if name in ("ar_lower", "ar_upper") else 1.0
        np.testing.assert_allclose(other.statistics[name] * scale, values, rtol=1e-7, err_msg=name)


@pytest.mark.parametrize("effects", [(), ("unit",), ("unit", "period", "unit-trend"), ("unit", "province-by-period")])
def test_other_effects_are_dummies(effects: tuple[str, ...]) -> None:
    """Estimates of just-identified 2SLS are ratios of regressions with these effects."""
    panel = made_panel(60, 8, missing=9)
    found = iv(instruments=("z1",), effects=effects)(panel)
    stages = [TwoWayDID(outcome=y, regressors=("z1", *CONTROLS), effects=effects, constant=not effects)(panel)
              for y in ("y", "d")]  # fmt: skip
    assert found.estimate[0, 0] == pytest.approx(stages[0].estimate[0, 0] / stages[1].estimate[0, 0], rel=1e-10)
    assert found.statistics["nobs"] == stages[0].statistics["nobs"]
    assert not {"sargan", "hansen_j"} & set(found.statistics)
    t = stages[1].estimate[0, 0] / stages[1].se[0, 2, 0]
    assert found.statistics["kp_f"][0] == pytest.approx(t**2, rel=1e-10)


def dose_design(concentration: float, endogeneity: float, effect: float = 1.0, count: int = 2, **more: Any) -> Any:
    names = tuple(f"z{i}" for i in range(1, count + 1))
    return PanelDesign(
        units=60, periods=8, covariates=(Normal("x", 0.5), *map(Normal, names)),
        adoption=InstrumentedDose(instruments=names, concentration=concentration, endogeneity=endogeneity),
        effect=Effect(size=effect), **more,
    )  # fmt: skip


def simulated(design: PanelDesign, estimator: Any, replications: int, seed: int) -> tuple[Any, Any]:
    """Estimates and truth in worlds of 50 replications."""
    streams = Streams(seed, "iv")
    found, truth = [], []
    wanted = Wanted(frozenset(design.schema.variables), ("beta(did)",))
    for start in range(0, replications, 50):
        world = design.settle(streams.within(f"world {start}"))
        draw = world.draw(streams.tile(start, start + 50), wanted)
        found.append(estimator(draw.panel))
        truth.append(draw.truth["beta(did)"])
    return type(found[0]).join(found), np.concatenate(truth)


def test_the_dial_is_the_concentration() -> None:
    """E F = (1 + mu^2/K) dof/(dof - 2) with independent normal errors, whatever their standard deviation."""
    for concentration in (0.0, 20.0):
        found, _ = simulated(dose_design(concentration, 0.3, count=3), PanelIV(test="iid", errors=("iid",)), 1000, 6)
        free = 59 * 7 - 4
        f = found.statistics["first_stage_f"] * (free - 2) / free
        assert abs(f.mean() - (1 + concentration / 3)) <= 4 * f.std(ddof=1) / np.sqrt(1000)


def test_weak_instruments_mislead_t_intervals_and_not_the_set() -> None:
    design = dose_design(3.0, 0.95, effect=0.0, count=3)
    found, truth = simulated(design, PanelIV(test="iid", errors=("iid", "anderson-rubin")), 1000, 7)
    error = found.estimate[:, 0] - truth
    covered = np.abs(error) <= 1.96 * found.se[:, 0, 0]
    assert covered.mean() < 0.6
    assert np.median(error) > 0.4
    rejected = found.statistics["ar_p"] < 0.05  # the truth is 0, so that the set lacks it as often
    assert abs(rejected.mean() - 0.05) <= 4 * np.sqrt(0.05 * 0.95 / 1000)
    sets = ConfidenceSets(found.statistics["ar_shape"].astype(int), found.statistics["ar_lower"],
                          found.statistics["ar_upper"])  # fmt: skip
    np.testing.assert_array_equal(sets.holds(0.0), ~rejected)
    assert set(np.unique(sets.shape)) >= {INTERVAL, RAYS, LINE}
    weak = found.statistics["effective_f"] < found.statistics["effective_f_critical"]
    assert weak.mean() > 0.99


def test_doses_follow_the_errors_as_dialled() -> None:
    """Without instruments' strength, levels and an effect, corr(dose, outcome) within is the endogeneity."""
    covariates = (Normal("z"),)
    dose = InstrumentedDose(concentration=0.0, endogeneity=-0.7, levels=0.0, sd=3.0, mean=5.0)
    design = PanelDesign(units=100, periods=10, covariates=covariates, adoption=dose, errors=Process(sd=0.2))
    draw = design.settle(Streams(1)).draw(Streams(1).tile(0, 40), Wanted(frozenset(design.schema.variables), ("att",)))
    did, y = draw.panel.variables["did"], draw.panel.variables["y"]
    assert (did.shape, did.mean()) == ((40, 10, 100), pytest.approx(5.0, abs=0.1))
    assert did.std() == pytest.approx(3.0, rel=0.02)
    flat = [(x - x.mean(axis=1, keepdims=True) - x.mean(axis=2, keepdims=True)).ravel() for x in (did, y)]
    assert (np.corrcoef(*flat)[0, 1], design.schema.roles.controls) == (pytest.approx(-0.7, abs=0.02), ())
    assert design.schema.roles.instruments == ("z",)


@pytest.mark.parametrize("redraw", [(), ("covariates",)])
def test_a_replication_is_the_same_in_every_tile(redraw: tuple[str, ...]) -> None:
    """What a world remembers of one tile does no harm to another."""
    design = dose_design(50.0, 0.5, redraw=redraw)
    wanted = Wanted(frozenset(design.schema.variables), ("beta(did)", "att"))
    whole = design.settle(Streams(3)).draw(Streams(3).tile(0, 6), wanted)
    world = design.settle(Streams(3))
    world.draw(Streams(3).tile(0, 4), wanted)
    part = world.draw(Streams(3).tile(4, 6), wanted)
    for name, values in part.panel.variables.items():
        np.testing.assert_array_equal(whole.panel.variables[name][-len(values) :], values, err_msg=name)
    for name, truth in part.truth.items():
        np.testing.assert_array_equal(whole.truth[name][4:], truth)
    np.testing.assert_array_equal(whole.truth["beta(did)"], np.ones(6))


@pytest.mark.parametrize(("settings", "words"), [
    ({"instruments": ("d",)}, "the instrument 'd' is the endogenous regressor itself"),
    ({"instruments": ("inv",)}, "the instrument 'inv' is among the regressors"),
    ({"instruments": ("y",)}, "the instrument 'y' is the outcome"),
    ({"instruments": ("zz1",)}, "no variable 'zz1' in the panel"), ({"instruments": ()}, "there is no instrument"),
    ({"instruments": ("z1", "z1")}, "an instrument is named twice"),
    ({"endogenous": ("d", "e"), "instruments": ("z1",)}, "1 instrument for 2 endogenous regressors"),
    ({"instruments": ("copy",)}, "instruments and controls fit the endogenous regressor 'd' exactly"),
    ({"instruments": ("z1", "double")}, "instrument 'double' is collinear with inv, road, z1 and the effects"),
    ({"instruments": ("scaled",)}, "instrument 'scaled' is collinear with inv, road and the effects"),
    ({"instruments": ("place",)}, "instrument 'place' is absorbed by the unit and time effects"),
    ({"instruments": ("year",)}, "instrument 'year' is absorbed by the unit and time effects"),
    ({"instruments": ("one",)}, "instrument 'one' is constant"),
    ({"endogenous": ("place",)}, "variable 'place' is absorbed by the unit and time effects"),
    ({"errors": ("wild:unit",)}, "unknown error type 'wild:unit'"),
    ({"errors": ("cluster:town",)}, "unknown error type 'cluster:town'"),
    ({"test": "anderson-rubin"}, "test = 'anderson-rubin'"), ({"test": "cluster"}, "unknown error type 'cluster'"),
    ({"endogenous": ("d", "e"), "errors": ("anderson-rubin",)}, "anderson-rubin of 2 endogenous regressors"),
    ({"regressors": ("inv", "inv")}, "a variable is used twice"), ({"outcome": "income"}, "no variable 'income'"),
    ({"effects": ("city",)}, "effects = ['city'] are unknown"),
])  # fmt: skip
def test_careless_uses_are_one_line(settings: dict[str, Any], words: str) -> None:
    panel = made_panel()
    x = panel.variables
    shape = (1, len(panel.periods), len(panel.units))
    panel = panel.with_variables({
        "copy": 3.0 * x["d"] - 1.0, "double": 2.0 * x["z1"], "scaled": 2.0 * x["inv"] + 1.0, "one": np.ones(shape),
        "place": np.broadcast_to(np.arange(30.0), shape), "year": np.broadcast_to(np.arange(6.0)[:, None], shape),
    })  # fmt: skip
    (problem,) = refuses("^iv", lambda: iv(**settings)(panel)).problems
    assert words in problem.what
    assert problem.where.startswith("iv")
    assert problem.remedy


def test_a_panel_without_treatment_or_instruments_says_so() -> None:
    panel = made_panel()
    without = replace(panel, roles=replace(panel.roles, treatment=None, instruments=()))
    refuses("the panel has no treatment", lambda: PanelIV()(without))
    refuses("there is no instrument", lambda: PanelIV()(replace(panel, roles=replace(panel.roles, instruments=()))))
    assert PanelIV()(panel).terms == ("d", *CONTROLS)
    refuses("12 observations for 12 parameters", iv(), made_panel(6, 2))
    refuses("10 observations for 10 parameters", iv(instruments=("z1",)), made_panel(5, 2))  # d and its residual


def test_an_instrument_that_moves_nothing_is_singular() -> None:
    """A draw whose instrument is orthogonal to the treatment has no estimate, and spoils no other."""
    panel = made_panel(replications=3)
    z = np.repeat(panel.variables["z1"], 3, axis=0)
    z[1] = 0.0
    found = iv(instruments=("z1",))(panel.with_variables({"z1": z}))
    assert found.status.tolist() == [Status.OK, Status.SINGULAR, Status.OK]
    assert np.isnan(found.estimate[1]).all()


@pytest.mark.parametrize("dials", [
    {"instruments": ()}, {"instruments": ("w",)}, {"instruments": ("z", "z")}, {"concentration": -1.0},
    {"endogeneity": 1.0}, {"sd": 0.0},
])  # fmt: skip
def test_careless_dials_are_one_line(dials: dict[str, Any]) -> None:
    moved = Normal("z", bad_control=True)
    refuses("'z', which the treatment moves", lambda: PanelDesign(covariates=(moved,), adoption=InstrumentedDose()))
    wrong = refuses(".", lambda: PanelDesign(covariates=(Normal("z"),), adoption=InstrumentedDose(**dials)))
    assert [problem.where for problem in wrong.problems] == ["[design.adoption]"]


def test_a_dose_below_zero_reaches_nobody_within_a_radius() -> None:
    part = Neighbours(w_effect=1.0, radius=9.0)
    np.testing.assert_array_equal(part.felt(np.array([-2.0, 3.0])), [0.0, 3.0])
    np.testing.assert_array_equal(replace(part, radius=None).felt(np.array([-2.0, 3.0])), [-2.0, 3.0])


def test_a_set_of_fewer_clusters_than_instruments_is_unknown_and_not_empty() -> None:
    rng = np.random.default_rng(1)
    z, u = rng.standard_normal((3, 1, 6, 24)), rng.standard_normal((1, 6, 24))
    d = z.sum(axis=0) + u + rng.standard_normal((1, 6, 24))
    variables = {"y": d / 2 + u, "d": d, **dict(zip("abc", z, strict=True))}
    panel = bare(variables, Roles(), attributes={"three": np.arange(24) % 3})
    estimator = PanelIV("y", (), ("d",), tuple("abc"), ("iid", "anderson-rubin"), test="cluster:three")
    found = estimator(panel)
    assert np.isnan([found.statistics[f"ar_{name}"][0] for name in ("p", "shape", "lower", "upper")]).all()
    assert np.isnan([found.lower[0, 1, 0], found.upper[0, 1, 0]]).all()
