"""Every error type against pyfixest, linearmodels, sums over pairs of observations, and its own special cases."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from refusals import refuses

from estimators import Estimates, SpatialDID
from estimators.core.error_types import check_error_types
from estimators.core.estimator import critical_values
from estimators.linear.covariances import (
    Sample,
    bartlett_lag,
    bartlett_sum,
    conley_kernel,
    conley_sum,
    equal_to,
    floor_eigenvalues,
)
from experiments.references.reference import long_frame
from references.pyfixest_reference import K_FIXEF, feols
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import BadInput, Panel, Streams
from sim.panel import seen_part
from sim.weights import great_circle_km

NAMES = ("did", "inv", "road")
EFFECTS: dict[str, tuple[str, ...]] = {
    "pooled": (),
    "unit": ("unit",),
    "period": ("period",),
    "two-way": ("unit", "period"),
}
CLUSTERS = ("unit", "province", "period", "unit+period", "province+period")


def placed(panel: Panel) -> Panel:
    """With coordinates, and a region of several provinces."""
    rng = np.random.default_rng(4)
    n = len(panel.units)
    province = np.unique(panel.attributes["province"], return_inverse=True)[1]
    return replace(
        panel,
        attributes={
            **panel.attributes,
            "region": province // 3,
            "longitude": rng.uniform(100, 120, n),
            "latitude": rng.uniform(25, 40, n),
        },
    )


@pytest.fixture(params=[0, 37], ids=["balanced", "unbalanced"])
def panel(request: pytest.FixtureRequest) -> Panel:
    return placed(small_panel(40, 8, seed=5, missing=request.param))


def floored(matrix: np.ndarray, bread: np.ndarray) -> np.ndarray:
    """Standard errors of a reference's matrix after our treatment of negative eigenvalues, which it lacks."""
    return np.sqrt(np.diag(floor_eigenvalues(matrix[None], np.sqrt(np.diag(bread))[None])[0][0]))


def pyfixest_se(
    panel: Panel, effects: tuple[str, ...], cluster_k: str, kinds: list[tuple[object, object]]
) -> list[np.ndarray]:
    """Errors of the slopes under each (vcov, vcov_kwargs)."""
    frame = long_frame(panel, ("y", *NAMES))
    formula = f"y ~ {' + '.join(NAMES)}" + (f" | {' + '.join(effects)}" if effects else "")
    fit = feols(formula, frame, "iid", K_FIXEF[cluster_k])
    bread = np.array(fit._vcov)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [floored(np.array(fit.vcov(vcov, vcov_kwargs=kwargs)._vcov), bread) for vcov, kwargs in kinds]
    terms = list(fit.coef().index)
    return [se[[terms.index(name) for name in NAMES]] for se in found]


@covered(cluster_k=["slopes", "nonnested", "all"], name=EFFECTS)
def test_clusters_and_driscoll_kraay_equal_pyfixest(panel: Panel, name: str, cluster_k: str) -> None:
    """Its Driscoll-Kraay counts all effects unless it counts none."""
    errors = (*(f"cluster:{each}" for each in CLUSTERS), *(("driscoll-kraay",) if cluster_k != "slopes" else ()))
    ours = panel_ols(effects=EFFECTS[name], errors=errors, cluster_k=cluster_k)(panel)
    kinds: list[tuple[object, object]] = [({"CRV1": each}, None) for each in CLUSTERS]
    kinds.append(("DK", {"time_id": "period", "panel_id": "unit", "lag": bartlett_lag(8)}))
    theirs = pyfixest_se(panel, EFFECTS[name], cluster_k, kinds)
    for row, error in enumerate(errors):
        np.testing.assert_allclose(ours.se[0, row, :3], theirs[row], rtol=1e-8, err_msg=error)
    assert ours.dof[0, :, 0].tolist() == [39, 6, 7, 7, 6, *([7] if cluster_k != "slopes" else [])]


@pytest.mark.parametrize("name", EFFECTS)
def test_two_ways_and_driscoll_kraay_equal_linearmodels(panel: Panel, name: str) -> None:
    """Each of its two-way sums has its own G/(G-1) and ours the smaller, so they are compared without; its
    Driscoll-Kraay lacks T/(T-1) and has n where ours has n - 1."""
    from linearmodels.panel import PanelOLS as Theirs
    from linearmodels.panel import PooledOLS

    frame = long_frame(panel, ("y", *NAMES)).assign(constant=1.0).set_index(["unit", "period"], drop=False)
    x = frame[[*NAMES, "constant"]]
    effects = EFFECTS[name]
    model = (
        Theirs(frame["y"], x, entity_effects="unit" in effects, time_effects="period" in effects)
        if effects
        else PooledOLS(frame["y"], x)
    )
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


def test_two_groupings_take_the_smaller_number_of_clusters() -> None:
    ours = panel_ols(errors=("cluster:province+period", "cluster:unit+period"))(small_panel(40, 8, seed=5))
    assert ours.dof[0, :, 0].tolist() == [6.0, 7.0]


@pytest.fixture(scope="module")
def contributions() -> np.ndarray:
    return np.random.default_rng(9).standard_normal((2, 3, 6, 15))


def test_conley_and_bartlett_equal_sums_over_pairs_of_observations(contributions: np.ndarray) -> None:
    u = contributions
    rng = np.random.default_rng(2)
    distance = great_circle_km(rng.uniform(100, 110, 15), rng.uniform(25, 35, 15))
    for shape in ("uniform", "bartlett"):
        kernel = conley_kernel(distance, 500.0, shape)
        wanted, over_time = np.zeros((2, 3, 3)), np.zeros((2, 3, 3))
        for t, s, i, j in np.ndindex(6, 6, 15, 15):
            product = u[:, :, None, t, i] * u[:, None, :, s, j]
            own_lag = max(0.0, 1 - abs(t - s) / 3)
            near = max(0.0, 1 - distance[i, j] / 500.0) if shape == "bartlett" else float(distance[i, j] <= 500.0)
            weight = (near if i != j else 1.0) if t == s else (own_lag if i == j else 0.0)
            wanted += weight * product
            over_time += own_lag * product
        np.testing.assert_allclose(conley_sum(u, kernel, 2), wanted, rtol=1e-11, atol=1e-11, err_msg=shape)
        np.testing.assert_allclose(bartlett_sum(u.sum(axis=3), 2), over_time, rtol=1e-11, atol=1e-11)


def test_conley_of_a_panel_reads_its_coordinates(panel: Panel) -> None:
    """A dense matrix over all pairs of observations, with factor n / (n - k)."""
    estimator = panel_ols(errors=("conley:600", "conley:600:bartlett", "iid"), constant=False)
    ours = estimator(panel)
    frame = long_frame(panel, ("y", *NAMES))
    unit, period = frame["unit"].to_numpy(), frame["period"].to_numpy()
    dummies = np.hstack([np.equal.outer(codes, np.unique(codes)).astype(float) for codes in (unit, period)])
    x, y = (values - dummies @ np.linalg.lstsq(dummies, values)[0] for values in (frame[list(NAMES)].to_numpy(),
                                                                                  frame["y"].to_numpy()))  # fmt: skip
    bread = np.linalg.inv(x.T @ x)
    scores = x * (y - x @ bread @ x.T @ y)[:, None]
    distance = great_circle_km(panel.attributes["longitude"], panel.attributes["latitude"])[np.ix_(unit, unit)]
    lags = np.abs(np.subtract.outer(period, period))
    same = np.equal.outer(unit, unit)
    own = same * np.clip(1 - lags / (bartlett_lag(8) + 1), 0, None)
    for row, near in enumerate([distance <= 600, np.clip(1 - distance / 600, 0, None)]):
        weights = np.where(lags == 0, np.where(same, 1.0, near), own)
        matrix = bread @ scores.T @ weights @ scores @ bread * len(y) / ours.dof[0, 2, 0]
        assert ours.statistics[f"floored:{ours.errors[row]}"][0] == 0
        np.testing.assert_allclose(ours.se[0, row], np.sqrt(np.diag(matrix)), rtol=1e-9)


def test_negative_eigenvalues_are_set_to_zero_whatever_the_units() -> None:
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    indefinite = basis @ np.diag([3.0, 1.0, -0.5]) @ basis.T
    definite = basis @ np.diag([3.0, 1.0, 0.5]) @ basis.T
    units = np.array([1.0, 1e-5, 300.0])
    both = np.stack([indefinite, definite]) * np.outer(units, units)
    got, floored = floor_eigenvalues(both, np.tile(units, (2, 1)))
    assert floored.tolist() == [True, False]
    np.testing.assert_allclose(got[0] / np.outer(units, units), basis @ np.diag([3.0, 1.0, 0.0]) @ basis.T, atol=1e-12)
    np.testing.assert_array_equal(got[1], both[1])


def test_a_period_that_is_never_observed_counts_for_nothing() -> None:
    """With the last year empty every error is that of the panel that ends before it; T counts in factor, dof, lag."""
    panel = placed(small_panel(40, 6, seed=5))
    seen = np.ones((1, 6, 40), dtype=bool)
    seen[:, 5] = False
    part = replace(
        panel, periods=panel.periods[:5], variables={name: values[:, :5] for name, values in panel.variables.items()}
    )
    errors = ("iid", "hc1", *(f"cluster:{name}" for name in CLUSTERS), "driscoll-kraay", "conley:500:bartlett")
    one, two = (panel_ols(errors=errors)(each) for each in (part, replace(panel, observed=seen)))
    np.testing.assert_allclose(two.se, one.se, rtol=1e-10)
    np.testing.assert_array_equal(two.dof, one.dof)
    assert two.dof[0, errors.index("driscoll-kraay"), 0] == 4


def test_an_empty_year_within_a_panel_still_parts_its_neighbours() -> None:
    """Driscoll and Kraay of a panel without 2004: factor and dof of seven years, lags of the calendar's eight.

    So also where no row of the file is of that year, in batches too.
    """
    panel = placed(small_panel(40, 8, seed=5))
    seen = np.ones((1, 8, 40), dtype=bool)
    seen[:, 3] = False
    panel = replace(panel, observed=seen)
    ours = panel_ols(errors=("driscoll-kraay",))(panel)
    frame = long_frame(panel, ("y", *NAMES))
    unit, years = frame["unit"].to_numpy(), frame["period"].to_numpy()
    dummies = [np.equal.outer(codes, np.unique(codes)[skip:]) for skip, codes in enumerate((unit, years))]
    x = np.hstack([frame[list(NAMES)].to_numpy(), *dummies])
    inverse = np.linalg.pinv(x)
    u = inverse[:3] * (frame["y"].to_numpy() - x @ (inverse @ frame["y"].to_numpy()))
    near = np.clip(1 - np.abs(np.subtract.outer(years, years)) / (bartlett_lag(7) + 1), 0, None)
    n, k = x.shape
    wanted = np.diag(u @ near @ u.T) * 7 / 6 * (n - 1) / (n - k)
    np.testing.assert_allclose(ours.se[0, 0, :3] ** 2, wanted, rtol=1e-9)
    assert ours.dof[0, 0, 0] == 6
    without = seen_part(panel, seen[0])
    assert len(without.periods) == 7
    both = without.with_variables({name: np.repeat(without.variables[name], 2, axis=0) for name in ("inv", "y")})
    fit = panel_ols(errors=("driscoll-kraay", "conley:500"))
    for each in (without, both):
        np.testing.assert_allclose(fit(each).se[0], fit(panel).se[0], rtol=1e-9)


def test_the_lag_is_newey_and_wests() -> None:
    assert [bartlett_lag(t) for t in (1, 2, 5, 8, 18, 30, 50, 100, 200)] == [0, 1, 2, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("cluster:city", "unknown error type 'cluster:city'"),
        ("cluster:unit+unit", "unknown error type"),
        ("cluster:unit+period+province", "unknown error type"),
        ("conley:far", "unknown error type 'conley:far'"),
        ("conley:-5", "unknown error type"),
        ("conley:300:cosine", "unknown error type"),
        ("conley:300", "without coordinates"),
        ("wild:period", "unknown error type"),
        ("newey-west", "unknown error type"),
    ],
)
def test_unknown_error_types_are_bad_input(error: str, message: str) -> None:
    refuses(message, lambda: check_error_types((error,), small_panel(12, 4).schema, "table 2", "regression"))


def test_what_a_panel_cannot_give_is_bad_input() -> None:
    panel = placed(small_panel(12, 4, seed=2))
    gone = replace(panel, attributes={**panel.attributes, "latitude": np.full(12, np.nan)})
    refuses("coordinates are missing", lambda: panel_ols(errors=("conley:300",))(gone))
    with pytest.raises(BadInput, match="has 1 cluster"):
        panel_ols(errors=("cluster:country",))(replace(panel, attributes={"country": np.zeros(12)}))
    with pytest.raises(BadInput, match="wild:country has 1 cluster"):
        panel_ols(errors=("wild:country",))(replace(panel, attributes={"country": np.zeros(12)}))
    with pytest.raises(BadInput, match="unknown error type 'wild:unit'"):
        check_error_types(("wild:unit",), panel.schema, "random effects", "least-squares")
    Sample(panel, 10, 9, {}).check("here", "drop one")
    with pytest.raises(BadInput, match="10 observations for 10 parameters; allowed: more observations"):
        Sample(panel, 10, 10, {}).check("here", "drop one")


def test_nested_two_way_clusters_are_the_larger_ones() -> None:
    panel = small_panel(40, 8, seed=5)
    ours = panel_ols(errors=("cluster:unit+province", "cluster:province", "cluster:unit"))(panel)
    np.testing.assert_array_equal(ours.se[:, 0], ours.se[:, 1])
    assert (ours.se[:, 0] != ours.se[:, 2]).any()
    assert equal_to("cluster:unit+province", panel) == "cluster:province"
    assert equal_to("cluster:province+period", panel) is None
    assert equal_to("cluster:province", panel) is None


@pytest.mark.parametrize("error", ["cluster:longitude", "cluster:latitude", "wild:longitude", "cluster:unit+latitude"])
def test_coordinates_are_no_groups(error: str) -> None:
    refuses("unknown error type", lambda: panel_ols(errors=(error,))(placed(small_panel(12, 4, seed=2))))


def test_an_attribute_may_have_a_plus_in_its_name() -> None:
    panel = small_panel(40, 8, seed=5)
    named = replace(panel, attributes={"a+b": panel.attributes["province"], "province": panel.attributes["province"]})
    ours = panel_ols(errors=("cluster:a+b", "cluster:province"))(named)
    np.testing.assert_array_equal(ours.se[:, 0], ours.se[:, 1])


def sizes(y: np.ndarray, x: np.ndarray, errors: tuple[str, ...], **attributes: np.ndarray) -> dict[str, float]:
    """How often 5% tests of the slope of x = 0 reject."""
    units, periods = (tuple(str(i) for i in range(y.shape[2])), tuple(range(y.shape[1])))
    fit = panel_ols("y", ("x",), errors=errors)(Panel(units, periods, {"y": y, "x": x}, attributes=attributes))
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
    with pytest.raises(BadInput, match=r"with 2 periods; allowed: 3 or more periods"):
        panel_ols(errors=(error,))(placed(small_panel(15, 2, seed=3)))


# How many parameters count in the factor of every clustered error, against ranks of matrices of dummies.
#
# The factor is G/(G-1) (n-1)/(n-k), so that the squared errors of two settings of cluster_k have the ratio of their
# n - k, and k follows from that of "slopes", which counts the slopes alone.


Codes = NDArray[np.intp]
COUNTED_EFFECTS: dict[str, tuple[str, ...]] = {
    "pooled": (),
    "unit": ("unit",),
    "period": ("period",),
    "two-way": ("unit", "period"),
    "by province": ("unit", "province-by-period"),
}
SETTINGS = ("slopes", "nonnested", "all")


def codes_of(name: str, panel: Panel) -> Codes:
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


def panel_of(missing: int) -> Panel:
    panel = small_panel(24, 6, seed=5, missing=missing)
    number = np.random.default_rng(2).permutation(24)
    places = {"longitude": 100 + number * 0.7, "latitude": 25 + (number % 5) * 1.3}
    return replace(panel, attributes={**panel.attributes, **places})


both = pytest.mark.parametrize("missing", [0, 17], ids=["balanced", "unbalanced"])


@both
@pytest.mark.parametrize("name", COUNTED_EFFECTS)
def test_panel_ols_counts_what_dummies_count(name: str, missing: int) -> None:
    panel, effects = panel_of(missing), COUNTED_EFFECTS[name]
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
    panel, error = panel_of(0), f"cluster:{grouping}"
    fits = {k: SpatialDID(errors=(error,), cluster_k=k)(panel) for k in SETTINGS}
    slopes = len([term for term in fits["all"].terms if term in {"did", "w_did", "inv", "road"}])
    got = implied(fits, 0, 0, slopes, panel.nobs)
    for setting in SETTINGS:
        expected = counted(("unit", "period"), grouping, setting, slopes, panel)
        assert got[setting] == pytest.approx(expected, abs=1e-6), setting
