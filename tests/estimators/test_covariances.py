"""Every error type and linear hypotheses against pyfixest, linearmodels, statsmodels, sums over pairs and formulas."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy import stats

from estimators import Estimates, Estimator, SpatialDID, SpatialPanel, TwoWayDID
from estimators.core.error_types import check_error_types
from estimators.core.estimator import TermCovariance, critical_values
from estimators.core.hypotheses import HypothesisTest, hypothesis_test, parse_hypothesis
from estimators.linear import covariances
from experiments.references.reference import long_frame
from references.dense import Dense
from references.pyfixest_reference import K_FIXEF, feols
from references.regressions import EFFECTS, dummies_of, linearmodels_of, panel_ols
from references.small_panels import bare, located, small_panel, unseen
from sim import Panel, Roles, Streams
from sim.panel import seen_part
from sim.weights import great_circle_km

NAMES = ("did", "inv", "road")
PLAIN = {name: EFFECTS[name] for name in ("pooled", "unit", "period", "two-way")}
CLUSTERS = ("unit", "province", "period", "unit+period", "province+period")


@pytest.fixture(params=[0, 37], ids=["balanced", "unbalanced"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return located(small_panel(40, 8, seed=5, missing=request.param))


def floored(matrix: np.ndarray, bread: np.ndarray) -> np.ndarray:
    """Standard errors of a reference's matrix after our treatment of negative eigenvalues, which it lacks."""
    return np.sqrt(np.diag(covariances.floor_eigenvalues(matrix[None], np.sqrt(np.diag(bread))[None])[0][0]))


@covered(cluster_k=["slopes", "nonnested", "all"], name=PLAIN)
def test_clusters_and_driscoll_kraay_equal_pyfixest(panel: Panel, name: str, cluster_k: str) -> None:
    """Its Driscoll-Kraay counts all effects unless it counts none."""
    errors = (*(f"cluster:{each}" for each in CLUSTERS), *(("driscoll-kraay",) if cluster_k != "slopes" else ()))
    ours = panel_ols(effects=EFFECTS[name], errors=errors, cluster_k=cluster_k)(panel)
    kinds: list[tuple[object, object]] = [({"CRV1": each}, None) for each in CLUSTERS]
    kinds.append(("DK", {"time_id": "period", "panel_id": "unit", "lag": covariances.bartlett_lag(8)}))
    formula = f"y ~ {' + '.join(NAMES)}" + (f" | {' + '.join(EFFECTS[name])}" if EFFECTS[name] else "")
    fit = feols(formula, long_frame(panel, ("y", *NAMES)), "iid", K_FIXEF[cluster_k])
    bread, columns = np.array(fit._vcov), [list(fit.coef().index).index(term) for term in NAMES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [floored(np.array(fit.vcov(kind, vcov_kwargs=more)._vcov), bread) for kind, more in kinds]
    for row, error in enumerate(errors):
        np.testing.assert_allclose(ours.se[0, row, :3], theirs[row][columns], rtol=1e-8, err_msg=error)
    assert ours.dof[0, :, 0].tolist() == [39, 6, 7, 7, 6, *([7] if cluster_k != "slopes" else [])]


@pytest.mark.parametrize("name", PLAIN)
def test_two_ways_and_driscoll_kraay_equal_linearmodels(panel: Panel, name: str) -> None:
    """Each of its two-way sums has its own G/(G-1) and ours the smaller, so they are compared without; its
    Driscoll-Kraay lacks T/(T-1) and has n where ours has n - 1."""
    effects = EFFECTS[name]
    model, frame = linearmodels_of(panel, effects)
    ours = panel_ols(effects=effects, errors=("cluster:province+period", "driscoll-kraay"), cluster_k="all")(panel)
    n = len(frame)
    codes = frame[["province", "period"]].assign(province=frame["province"].astype("category").cat.codes)
    counting = {"auto_df": False, "count_effects": True} if effects else {}
    two_way = model.fit(cov_type="clustered", clusters=codes, debiased=True, **counting).cov.to_numpy()
    iid = model.fit(cov_type="unadjusted", debiased=True).cov.to_numpy()
    rows = 3 if effects else 4
    theirs = floored(two_way[:rows, :rows], iid[:rows, :rows]) * np.sqrt(7 / 6 * (n - 1) / n)
    np.testing.assert_allclose(ours.se[0, 0, :rows], theirs, rtol=1e-8)
    kernel = model.fit(cov_type="kernel", kernel="bartlett", debiased=True).std_errors
    np.testing.assert_allclose(ours.se[0, 1], kernel * np.sqrt(8 / 7 * (n - 1) / n), rtol=1e-8)


@pytest.mark.parametrize("effects", [("period",), ()])
def test_a_covariance_without_its_negative_eigenvalues_has_the_squared_errors(effects: tuple[str, ...]) -> None:
    error, panel = "cluster:province+period", small_panel(40, 8, seed=5)
    did = panel_ols(effects=effects, errors=(error,))
    found = did(panel)
    assert found.statistics[f"floored:{error}"][0] == 1.0
    own = np.diagonal(did.covariance(panel, error).matrix[0])
    np.testing.assert_allclose(own, found.se[0, 0] ** 2, rtol=1e-9)


def test_conley_and_bartlett_equal_sums_over_pairs_of_observations() -> None:
    u = np.random.default_rng(9).standard_normal((2, 3, 6, 15))
    rng = np.random.default_rng(2)
    distance = great_circle_km(rng.uniform(100, 110, 15), rng.uniform(25, 35, 15))
    for shape in ("uniform", "bartlett"):
        kernel = covariances.conley_kernel(distance, 500.0, shape)
        wanted, over_time = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
        for t, s, i, j in np.ndindex(6, 6, 15, 15):
            product = u[:, :, None, t, i] * u[:, None, :, s, j]
            own_lag = max(0.0, 1 - abs(t - s) / 3)
            near = max(0.0, 1 - distance[i, j] / 500.0) if shape == "bartlett" else float(distance[i, j] <= 500.0)
            weight = (near if i != j else 1.0) if t == s else (own_lag if i == j else 0.0)
            wanted += weight * product
            over_time += own_lag * product
        np.testing.assert_allclose(covariances.conley_sum(u, kernel, 2), wanted, rtol=1e-11, atol=1e-11, err_msg=shape)
        np.testing.assert_allclose(covariances.bartlett_sum(u.sum(axis=3), 2), over_time, rtol=1e-11, atol=1e-11)


def test_conley_of_a_panel_reads_its_coordinates(panel: Panel) -> None:
    estimator = panel_ols(errors=("conley:600", "conley:600:bartlett", "iid"), constant=False)
    ours = estimator(panel)
    frame = long_frame(panel, ("y", *NAMES))
    unit, period = frame["unit"].to_numpy(), frame["period"].to_numpy()
    slow = Dense(frame["y"], frame[list(NAMES)], dummies_of(frame, PLAIN["two-way"]))
    parts = slow.parts(np.arange(len(frame)))[:, :3]
    distance = great_circle_km(panel.attributes["longitude"], panel.attributes["latitude"])[np.ix_(unit, unit)]
    lags = np.abs(np.subtract.outer(period, period))
    same = np.equal.outer(unit, unit)
    own = same * np.clip(1 - lags / (covariances.bartlett_lag(8) + 1), 0, None)
    for row, near in enumerate([distance <= 600, np.clip(1 - distance / 600, 0, None)]):
        weights = np.where(lags == 0, np.where(same, 1.0, near), own)
        matrix = parts.T @ weights @ parts * len(frame) / ours.dof[0, 2, 0]
        assert ours.statistics[f"floored:{ours.errors[row]}"][0] == 0
        np.testing.assert_allclose(ours.se[0, row], np.sqrt(np.diag(matrix)), rtol=1e-9)


def test_negative_eigenvalues_are_set_to_zero_whatever_the_units() -> None:
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    indefinite = basis @ np.diag([3.0, 1.0, -0.5]) @ basis.T
    definite = basis @ np.diag([3.0, 1.0, 0.5]) @ basis.T
    units = np.array([1.0, 1e-5, 300.0])
    both = np.stack([indefinite, definite]) * np.outer(units, units)
    got, floored = covariances.floor_eigenvalues(both, np.tile(units, (2, 1)))
    assert floored.tolist() == [True, False]
    np.testing.assert_allclose(got[0] / np.outer(units, units), basis @ np.diag([3.0, 1.0, 0.0]) @ basis.T, atol=1e-12)
    np.testing.assert_array_equal(got[1], both[1])


@pytest.mark.parametrize(
    "codes",
    [[0, 1, 2, 3], [2, 0, 3, 1], [0, 1, 0, 2], [1, 1, 0, 0]],
    ids=["own", "own in another order", "three", "two"],
)
@pytest.mark.parametrize("dense", [0, covariances.DENSE], ids=["without a matrix", "with a matrix"])
def test_sums_within_clusters(monkeypatch: pytest.MonkeyPatch, codes: list[int], dense: int) -> None:
    monkeypatch.setattr(covariances, "DENSE", dense)
    for units in (np.arange(24.0).reshape(2, 3, 4), np.arange(24).reshape(2, 3, 4) % 3 > 0):
        expected = [[sum(row[i] for i, own in enumerate(codes) if own == cluster) for cluster in range(max(codes) + 1)]
                    for row in units.reshape(6, 4)]  # fmt: skip
        found = covariances.sums_within(units, np.array(codes))
        assert np.array_equal(found.reshape(6, -1), expected)
        assert found.flags.c_contiguous


def test_a_period_that_is_never_observed_counts_for_nothing() -> None:
    """With the last year empty every error is that of the panel that ends before it; T counts in factor, dof, lag."""
    panel = located(small_panel(40, 6, seed=5))
    first = {name: values[:, :5] for name, values in panel.variables.items()}
    part, whole = replace(panel, periods=panel.periods[:5], variables=first), unseen(panel, (5, slice(None)))
    errors = ("iid", "hc1", *(f"cluster:{name}" for name in CLUSTERS), "driscoll-kraay", "conley:500:bartlett")
    one, two = (panel_ols(errors=errors)(each) for each in (part, whole))
    np.testing.assert_allclose(two.se, one.se, rtol=1e-10)
    np.testing.assert_array_equal(two.dof, one.dof)
    assert two.dof[0, errors.index("driscoll-kraay"), 0] == 4


def test_an_empty_year_within_a_panel_still_parts_its_neighbours() -> None:
    """Driscoll and Kraay of a panel without 2004: factor and dof of seven years, lags of the calendar's eight.

    So also where no row of the file is of that year, in batches too.
    """
    panel = unseen(located(small_panel(40, 8, seed=5)), (3, slice(None)))
    ours = panel_ols(errors=("driscoll-kraay",))(panel)
    frame = long_frame(panel, ("y", *NAMES))
    years, slow = frame["period"].to_numpy(), Dense(frame["y"], frame[list(NAMES)], dummies_of(frame, PLAIN["two-way"]))
    u = slow.parts(np.arange(len(frame))).T[:3]
    near = np.clip(1 - np.abs(np.subtract.outer(years, years)) / (covariances.bartlett_lag(7) + 1), 0, None)
    wanted = np.diag(u @ near @ u.T) * 7 / 6 * (len(frame) - 1) / (len(frame) - slow.rank)
    np.testing.assert_allclose(ours.se[0, 0, :3] ** 2, wanted, rtol=1e-9)
    assert ours.dof[0, 0, 0] == 6
    without = seen_part(panel, panel.observed[0])
    assert len(without.periods) == 7
    both = without.with_variables({name: np.repeat(without.variables[name], 2, axis=0) for name in ("inv", "y")})
    fit = panel_ols(errors=("driscoll-kraay", "conley:500"))
    for each in (without, both):
        np.testing.assert_allclose(fit(each).se[0], fit(panel).se[0], rtol=1e-9)


def test_the_lag_is_newey_and_wests() -> None:
    assert [covariances.bartlett_lag(t) for t in (1, 2, 5, 8, 18, 30, 50, 100, 200)] == [0, 1, 2, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(("error", "message"), [
    ("cluster:city", "unknown error type 'cluster:city'"), ("cluster:unit+unit", "unknown error type"),
    ("cluster:unit+period+province", "unknown error type"), ("conley:far", "unknown error type 'conley:far'"),
    ("conley:-5", "unknown error type"), ("conley:300:cosine", "unknown error type"),
    ("conley:300", "without coordinates"), ("wild:period", "unknown error type"), ("newey-west", "unknown error type"),
    *((error, "unknown error type") for error in ("cluster:longitude", "wild:longitude", "cluster:unit+latitude")),
])  # fmt: skip
def test_unknown_error_types_are_bad_input(error: str, message: str) -> None:
    panel = located(small_panel(12, 4)) if "itude" in error else small_panel(12, 4)  # coordinates are no groups
    refuses(message, lambda: check_error_types((error,), panel.schema, "table 2", "regression"))


def test_what_a_panel_cannot_give_is_bad_input() -> None:
    panel = located(small_panel(12, 4, seed=2))
    gone = replace(panel, attributes={**panel.attributes, "latitude": np.full(12, np.nan)})
    refuses("coordinates are missing", lambda: panel_ols(errors=("conley:300",))(gone))
    whole = replace(panel, attributes={"country": np.zeros(12)})
    for error in ("cluster:country", "wild:country"):
        refuses(f"{error} has 1 cluster", lambda error=error: panel_ols(errors=(error,))(whole))
    refuses("unknown error type 'wild:unit'",
            lambda: check_error_types(("wild:unit",), panel.schema, "random effects", "least-squares"))  # fmt: skip
    covariances.Sample(panel, 10, 9, {}).check("here", "drop one")
    refuses("10 observations for 10 parameters; allowed: more observations",
            lambda: covariances.Sample(panel, 10, 10, {}).check("here", "drop one"))  # fmt: skip


def test_two_way_clusters_are_the_larger_ones_where_nested_and_take_the_smaller_number_elsewhere() -> None:
    """And an attribute may have a plus in its name."""
    panel = small_panel(40, 8, seed=5)
    panel = replace(panel, attributes={**panel.attributes, "a+b": panel.attributes["province"]})
    errors = ("cluster:unit+province", "cluster:province", "cluster:a+b", "cluster:unit", "cluster:province+period",
              "cluster:unit+period")  # fmt: skip
    ours = panel_ols(errors=errors)(panel)
    for same in (1, 2):
        np.testing.assert_array_equal(ours.se[:, 0], ours.se[:, same])
    assert (ours.se[:, 0] != ours.se[:, 3]).any()
    assert ours.dof[0, 4:, 0].tolist() == [6.0, 7.0]
    assert [covariances.equal_to(error, panel) for error in errors[::4]] == ["cluster:province", None]
    assert covariances.equal_to("cluster:province", panel) is None


def sizes(y: np.ndarray, x: np.ndarray, errors: tuple[str, ...], **attributes: np.ndarray) -> dict[str, float]:
    """How often 5% tests of the slope of x = 0 reject."""
    fit = panel_ols("y", ("x",), errors=errors)(bare({"y": y, "x": x}, Roles(), attributes=attributes))
    beyond = np.abs(fit.estimate[:, None, 0]) > critical_values(fit.dof[..., 0], 0.05) * fit.se[..., 0]
    return dict(zip(errors, beyond.mean(axis=0), strict=True))


def test_sizes_under_the_dependence_that_each_type_is_for() -> None:
    """60 units x 40 years, 400 panels, x and errors of the same dependence: serial within units, or common to all units
    of a year with loadings (which period effects do not take out) and serial too."""
    streams, loadings = Streams(5, "sizes", 0, 400), np.linspace(-1, 1, 60)

    def persistent(purpose: str, n: int) -> np.ndarray:
        z = streams.normals(purpose, 40, n)
        for t in range(1, 40):
            z[:, t] = 0.5 * z[:, t - 1] + np.sqrt(0.75) * z[:, t]
        return z

    own = {name: persistent(name, 60) for name in ("e", "x")}
    size = sizes(own["e"], own["x"], ("iid", "hc1", "cluster:unit"))
    assert size["iid"] > 0.09
    assert abs(size["cluster:unit"] - 0.05) < 0.033
    common = [persistent(shock, 1) * loadings + 0.5 * own[name] for shock, name in (("f", "e"), ("g", "x"))]
    size = sizes(*common, ("cluster:unit", "cluster:unit+period", "driscoll-kraay"))
    assert size["cluster:unit"] > 0.3
    assert size["driscoll-kraay"] < 0.5 * size["cluster:unit"]
    assert size["cluster:unit+period"] < 0.5 * size["cluster:unit"]


def test_conley_holds_its_size_where_neighbours_share_shocks() -> None:
    """Units in pairs of places: shocks of x and of errors are common to a place; clusters of units are too small."""
    rng, streams = np.random.default_rng(8), Streams(6, "conley", 0, 400)
    lon, lat = np.repeat(rng.uniform(100, 120, 25), 4), np.repeat(rng.uniform(25, 45, 25), 4)
    y, x = (np.repeat(streams.normals(name, 12, 25), 4, axis=2) + 0.5 * streams.normals(f"own {name}", 12, 100)
            for name in ("y", "x"))  # fmt: skip
    size = sizes(y, x, ("cluster:unit", "conley:20"), longitude=lon, latitude=lat)
    assert size["cluster:unit"] > 0.2
    assert abs(size["conley:20"] - 0.05) < 0.035


@pytest.mark.parametrize("error", ["driscoll-kraay", "cluster:period", "cluster:unit+period"])
def test_two_periods_are_too_few_for_sums_over_units(error: str) -> None:
    """Beside unit effects the scores of both periods are equal, and they sum to zero."""
    panel = small_panel(15, 2, seed=3)
    refuses("with 2 periods; allowed: 3 or more periods", lambda: panel_ols(errors=(error,))(panel))


COUNTED_EFFECTS = {**PLAIN, "by province": EFFECTS["province-by-period"]}
SETTINGS = ("slopes", "nonnested", "all")


def codes_of(name: str, panel: Panel) -> NDArray[np.intp]:
    """Level of every observed cell, (n,): of unit, period, an attribute, or an attribute by period."""
    t, n = len(panel.periods), len(panel.units)
    period, unit = np.repeat(np.arange(t)[:, None], n, axis=1), np.repeat(np.arange(n)[None], t, axis=0)
    attribute = name.removesuffix("-by-period")
    if attribute in panel.attributes:
        own = np.unique(panel.attributes[attribute], return_inverse=True)[1][unit]
        levels = own * t + period if name.endswith("-by-period") else own
    else:
        levels = {"unit": unit, "period": period}[name]
    seen = np.ones((t, n), dtype=bool) if panel.observed is None else panel.observed[0]
    return np.asarray(levels[seen])


def rank_with_constant(effects: list[str], panel: Panel) -> int:
    """Rank of a constant and the dummies of effects."""
    levels = [codes_of(effect, panel) for effect in effects]
    columns = [np.equal.outer(own, np.unique(own)).astype(float) for own in levels]
    return int(np.linalg.matrix_rank(np.hstack([np.ones((panel.nobs, 1)), *columns])))


def is_nested(effect: str, grouping: str, panel: Panel) -> bool:
    """Whether every level of an effect lies within one cluster."""
    levels, clusters = codes_of(effect, panel), codes_of(grouping, panel)
    return all(len(set(clusters[levels == level])) == 1 for level in set(levels))


def counted(effects: tuple[str, ...], grouping: str, cluster_k: str, slopes: int, panel: Panel) -> int:
    """Parameters of the factor: with "nonnested", all effects that clusters nest count as one constant."""
    if cluster_k == "slopes" and effects:
        return slopes
    everything = slopes + rank_with_constant(list(effects), panel)
    if cluster_k == "all" or not effects:
        return everything  # without effects the constant is a regressor like any other
    nested = [effect for effect in effects if any(is_nested(effect, one, panel) for one in grouping.split("+"))]
    return everything - (rank_with_constant(nested, panel) - 1)


def implied(fits: dict[str, Estimates], row: int, column: int, slopes: int, nobs: int) -> dict[str, float]:
    """k of each setting, from its errors beside those of "slopes"."""
    variance = {setting: float(fit.se[0, row, column]) ** 2 for setting, fit in fits.items()}
    return {setting: nobs - variance["slopes"] / own * (nobs - slopes) for setting, own in variance.items()}


@pytest.mark.parametrize("missing", [0, 17], ids=["balanced", "unbalanced"])
@pytest.mark.parametrize("name", COUNTED_EFFECTS)
def test_panel_ols_counts_what_dummies_count(name: str, missing: int) -> None:
    panel, effects = small_panel(24, 6, seed=5, missing=missing), COUNTED_EFFECTS[name]
    errors = tuple(f"cluster:{one}" for one in CLUSTERS)
    slopes = 3 + (not effects)
    fits = {k: panel_ols(effects=effects, errors=errors, cluster_k=k, singletons="keep")(panel) for k in SETTINGS}
    for row, grouping in enumerate(CLUSTERS):
        got = implied(fits, row, 0, slopes, panel.nobs)
        for setting in SETTINGS:
            expected = counted(effects, grouping, setting, 3, panel)
            assert got[setting] == pytest.approx(expected, abs=1e-6), (grouping, setting)


@pytest.mark.parametrize("grouping", CLUSTERS)
def test_spatial_did_counts_what_dummies_count(grouping: str) -> None:
    panel, error = small_panel(24, 6, seed=5), f"cluster:{grouping}"
    fits = {k: SpatialDID(errors=(error,), cluster_k=k)(panel) for k in SETTINGS}
    slopes = len([term for term in fits["all"].terms if term in {"did", "w_did", "inv", "road"}])
    got = implied(fits, 0, 0, slopes, panel.nobs)
    for setting in SETTINGS:
        expected = counted(("unit", "period"), grouping, setting, slopes, panel)
        assert got[setting] == pytest.approx(expected, abs=1e-6), setting


TERMS = ("did", "inv", "w_did", "did x inv", "a-b", "constant", "direct:did")
READ = {  # text: weights by term, null
    "did - 2*inv": ({"did": 1, "inv": -2}, 0),
    "did = 0.02": ({"did": 1}, 0.02),
    "0.02 = did": ({"did": 1}, 0.02),
    "did - 0.02": ({"did": 1}, 0.02),
    "did + 1 = inv": ({"did": 1, "inv": -1}, -1),
    "did x inv = -1e-2": ({"did x inv": 1}, -0.01),
    "2*(did + inv)/4 - -3*w_did = .5": ({"did": 0.5, "inv": 0.5, "w_did": 3}, 0.5),
    "`a-b` + did": ({"a-b": 1, "did": 1}, 0),
    "direct:did - did = 0": ({"direct:did": 1, "did": -1}, 0),
}


@pytest.mark.parametrize("text", READ)
def test_a_combination_is_read_as_it_is_written(text: str) -> None:
    found, (weights, null) = parse_hypothesis(text, TERMS), READ[text]
    assert found.kind == "combination"
    np.testing.assert_allclose(found.weights, [[weights.get(term, 0) for term in TERMS]])
    np.testing.assert_allclose(found.null, null)


def test_several_hypotheses_and_bounds_are_read() -> None:
    both = parse_hypothesis("did = 0, inv = w_did + 2", TERMS)
    assert both.kind == "joint"
    np.testing.assert_allclose(both.weights[:, :3], [[1, 0, 0], [0, 1, -1]])
    np.testing.assert_allclose(both.null, [0, 2])
    bounds = parse_hypothesis("-0.01 < did - 0.5 < 1/50", TERMS)
    assert (bounds.kind, bounds.lower, bounds.upper) == ("equivalence", 0.49, 0.52)


MISTAKES = {
    "": "the end stands where a term or a number should",
    "gdp = 0": "no term 'gdp'; allowed: did, inv",
    "didx": "no term 'didx'.*did you mean 'did'",
    "`nope`": "no term 'nope'",
    "did inv": "'inv' stands where nothing can follow",
    "did * inv = 0": "multiplies terms, which is not linear",
    "did / 0": "divides by a term or by 0",
    "1 / did": "divides by a term or by 0",
    "did / (2 + inv) = 1": "divides by a term or by 0",
    "did = 0, 2 * did = 1": "one hypothesis follows from the others, or contradicts them",
    "did = 1e400": "1e400 is too large",
    "0.01 < did < -0.01": "the lower bound is not below the upper",
    "0.01 < did": "bounds of equivalence are two numbers",
    "did < inv < 1": "bounds of equivalence are two numbers",
    "1 = 1": "it is of no term",
    "did - did = 0": "it is of no term",
    "did =": "the end stands where",
    "(did": "a bracket is not closed",
    "did = 0 = 1": "'=' stands where nothing can follow",
    "did > 0": "no term '> 0'",
    "did,": "the end stands where",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line(text: str) -> None:
    refuses(MISTAKES[text], lambda: parse_hypothesis(text, TERMS))


def answer_of(estimator: Estimator, text: str, error: str) -> HypothesisTest:
    panel = small_panel(40, 8, seed=5)
    found = estimator(panel)
    asked = parse_hypothesis(text, found.terms)
    return hypothesis_test(asked, found.estimate[0], estimator.covariance(panel, error))


def test_combinations_and_wald_tests_equal_statsmodels() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import statsmodels.api as sm
    frame = long_frame(small_panel(40, 8, seed=5), ("y", "did", "inv", "road"))
    x = frame[["did", "inv", "road"]].assign(constant=1.0)
    pooled = TwoWayDID(effects=(), constant=True, errors=("iid", "hc1"), label="pooled")
    for error, kind in (("iid", "nonrobust"), ("hc1", "HC1")):
        theirs = sm.OLS(frame["y"], x).fit(cov_type=kind, use_t=True)
        for text in ("did - 2 * inv = 0.3", "did + inv + road = constant", "road = -1"):
            ours, other = answer_of(pooled, text, error), theirs.t_test(text)
            np.testing.assert_allclose(abs(ours.statistic), abs(other.tvalue.item()), rtol=1e-8)
            np.testing.assert_allclose(ours.se, other.sd.item(), rtol=1e-8)
            np.testing.assert_allclose(ours.pvalue, other.pvalue.item(), rtol=1e-7)
        ours, wald = answer_of(pooled, "did = 0.2, inv = road", error), theirs.f_test("did = 0.2, inv = road")
        np.testing.assert_allclose([ours.statistic, ours.pvalue], [wald.fvalue, wald.pvalue], rtol=1e-7)
        assert (ours.restrictions, ours.dof, ours.estimate) == (2, wald.df_denom, None)


def test_several_hypotheses_without_a_number_of_degrees_of_freedom_are_held_to_chi_square() -> None:
    """1/1 + 16/4 = 5 of two normal estimates: p = exp(-5/2)."""
    two = TermCovariance(("a", "b"), np.diag([1.0, 4.0])[None], np.inf)
    found = hypothesis_test(parse_hypothesis("a = 0, b = 0", ("a", "b")), np.array([1.0, 4.0]), two)
    assert (found.statistic, found.pvalue) == (pytest.approx(2.5), pytest.approx(np.exp(-2.5)))


def test_clustered_combinations_equal_a_regression_in_other_variables_of_pyfixest() -> None:
    """did - inv is the coefficient of did where inv + did takes the place of inv."""
    frame = long_frame(small_panel(40, 8, seed=5), ("y", "did", "inv", "road"))
    frame["both"] = frame["did"] + frame["inv"]
    theirs = feols("y ~ did + both + road | unit + period", frame, {"CRV1": "unit"})
    ours = answer_of(TwoWayDID(), "did - inv", "cluster:unit")
    got = (ours.estimate, ours.se, ours.pvalue, ours.lower, ours.upper)
    ends = theirs.confint().loc["did"]
    wanted = (theirs.coef()["did"], theirs.se()["did"], theirs.pvalue()["did"], *ends)
    np.testing.assert_allclose(got, wanted, rtol=1e-8)


def test_equivalence_is_two_one_sided_tests_and_the_90_percent_interval() -> None:
    one = TermCovariance(("did",), np.array([[[0.04**2]]]), 30.0)
    for value, lower, upper in ((0.01, -0.1, 0.1), (0.05, -0.1, 0.1), (-0.2, -0.1, 0.1), (0.0, -0.02, 0.3)):
        found = hypothesis_test(parse_hypothesis(f"{lower} < did < {upper}", ("did",)), np.array([value]), one)
        p_low, p_high = stats.t.sf((value - lower) / 0.04, 30), stats.t.sf((upper - value) / 0.04, 30)
        np.testing.assert_allclose(found.pvalue, max(p_low, p_high), rtol=1e-10)
        margin = stats.t.ppf(0.95, 30) * 0.04
        np.testing.assert_allclose([found.lower, found.upper], [value - margin, value + margin], rtol=1e-10)
        assert (found.pvalue < 0.05) == (lower < found.lower and found.upper < upper)


@covered(constant=[False, True], effects=[("unit", "period"), (), ("unit",)])
def test_the_diagonal_of_a_covariance_holds_the_squared_errors(effects: tuple[str, ...], constant: bool) -> None:
    errors = ("iid", "hc1", "cluster:unit", "cluster:province", "driscoll-kraay", "cluster:unit+period", "cv3:unit")
    panel = small_panel(30, 7, seed=2, missing=12)
    did = TwoWayDID(effects=effects, constant=constant, errors=errors)
    found = did(panel)
    for row, error in enumerate(errors):
        covariance = did.covariance(panel, error)
        np.testing.assert_allclose(np.diagonal(covariance.matrix[0]), found.se[0, row] ** 2, rtol=1e-10)
        assert covariance.dof == found.dof[0, row, 0]


@pytest.mark.parametrize("model", ["sar", "sem", "sdm", "slx"])
def test_spatial_models_have_the_covariance_of_all_terms(model: str) -> None:
    errors = ("information", "hessian", "cluster:unit")
    panel = small_panel(40, 8, seed=5)
    estimator = SpatialPanel(model=model, errors=errors)
    found = estimator(panel)
    for row, error in enumerate(errors):
        covariance = estimator.covariance(panel, error)
        assert covariance.terms == found.terms
        np.testing.assert_allclose(np.diagonal(covariance.matrix[0]), found.se[0, row] ** 2, rtol=1e-8)
        if model == "sdm":  # the total effect is the sum of the two others
            asked = parse_hypothesis("direct:did + indirect:did - total:did", found.terms)
            zero = hypothesis_test(asked, found.estimate[0], covariance)
            assert (zero.se, zero.estimate) == (pytest.approx(0.0, abs=1e-7), pytest.approx(0.0, abs=1e-10))


@pytest.mark.parametrize("error", ["wild:unit", "cr2:unit"])
def test_error_types_without_a_covariance_are_refused(error: str) -> None:
    refuses(f"{error} has no covariance of several terms",
            lambda: TwoWayDID(errors=(error,)).covariance(small_panel(), error))  # fmt: skip


def of_two(text: str, matrix: list[list[float]]) -> HypothesisTest:
    """The test of estimates 1 and 2 of a and b."""
    covariance = TermCovariance(("a", "b"), np.array([matrix]), 5.0)
    return hypothesis_test(parse_hypothesis(text, ("a", "b")), np.array([1.0, 2.0]), covariance)


LACKING = [[4.0, 0.0], [0.0, np.nan]]


@pytest.mark.parametrize(("text", "matrix", "said"), [
    ("a = 0, b = 0", [[1.0, 1.0], [1.0, 1.0]], "the covariance of its combinations is singular"),
    ("b = 0", LACKING, "the term 'b' has no standard error"),
])  # fmt: skip
def test_singular_covariances_and_missing_errors_are_refused(text: str, matrix: list[list[float]], said: str) -> None:
    refuses(said, lambda: of_two(text, matrix))


@pytest.mark.parametrize("unit", [1.0, 1e-11, 1e11])
def test_a_joint_test_does_not_hang_on_units(unit: float) -> None:
    """b by units of its variable: 2 and variance 9 in the unit of a, covariance 3."""
    covariance = TermCovariance(("a", "b"), np.array([[[4.0, 3.0 * unit], [3.0 * unit, 9.0 * unit**2]]]), 5.0)
    found = hypothesis_test(parse_hypothesis("a = 0, b = 0", ("a", "b")), np.array([1.0, 2.0 * unit]), covariance)
    assert found.statistic == pytest.approx((9 * 1 - 2 * 3 * 2 + 4 * 4) / 27 / 2, rel=1e-12)


def test_a_combination_does_not_need_the_errors_of_other_terms() -> None:
    found = of_two("a = 0", LACKING)
    assert (found.se, found.statistic) == (2.0, 0.5)


@pytest.mark.parametrize("rounding", [-1e-16, 0.0, 1e-16])
def test_a_combination_whose_error_is_rounding_has_no_test(rounding: float) -> None:
    found = of_two("a - b = 0", [[1.0, 1.0], [1.0, 1.0 + rounding]])
    assert found.se == 0.0
    assert np.isnan([found.statistic, found.pvalue, found.lower, found.upper]).all()
