"""Error types of the spatial models: numerical Hessians, scores written out, printed numbers, simulation."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import covered
from published_panels import cigarette_panel
from refusals import refuses
from scipy.stats import chi2
from scipy.stats import f as f_law

from estimators import Estimates, SpatialPanel, Status, Tile
from estimators.linear.covariances import bartlett_lag
from estimators.spatial import errors as hessian
from estimators.spatial.errors import Kernel, SpatialScores
from estimators.spatial.likelihood import FORMS
from estimators.spatial.spatial_panel import wald_names
from estimators.spatial.spectrum import spectrum_of
from experiments.tables.spatial_models import conclusion
from references import brute_force
from references.small_panels import located, small_panel, small_weights
from sim import Panel, Roles, Streams
from sim.weights import great_circle_km

MODELS = ("sar", "sem", "sdm", "slx", "sdem", "sac")
SPATIAL = ("sar", "sem", "sdm", "sdem", "sac")
TRANSFORMS = ("direct", "lee-yu")
ALL = ("information", "hessian", "qmle", "cluster:unit", "cluster:province", "driscoll-kraay", "conley:900:bartlett")


def parameters(got: Estimates) -> np.ndarray:
    return got.estimate[0, : got.terms.index("sigma2") + 1]


def scores(panel: Panel, model: str, transform: str, effects: str = "two-way") -> SpatialScores:
    w = next(iter(panel.weights.values()))
    x = np.stack([panel.variables[name][0] for name in panel.roles.regressors])
    z = np.concatenate([x, w.lag(x)]) if FORMS[model].durbin else x
    at = parameters(SpatialPanel(model=model, transform=transform, effects=effects)(panel))
    return SpatialScores.at(panel.variables["y"][0], z, at, FORMS[model], spectrum_of(w), transform, effects)


FORMS_OF_SCORES = [*((model, "direct", weights, "two-way") for model in SPATIAL for weights in ("spectral", "uneven")),
                   *((model, transform, "knn", effects) for model in SPATIAL for transform in TRANSFORMS
                     for effects in ("unit", "period")),
                   *((model, "direct", "knn", "none") for model in SPATIAL)]  # fmt: skip


@pytest.mark.parametrize(("model", "transform", "weights", "effects"), FORMS_OF_SCORES)
def test_scores_sum_to_zero_and_have_the_information_of_the_slow_program(
    model: str, transform: str, weights: str, effects: str
) -> None:
    panel = small_panel(15, 5, seed=4, weights=weights)
    at = scores(panel, model, transform, effects)
    by_observation = at.by_observation(np.arange(15))
    assert np.abs(by_observation.sum(axis=(1, 2)) / np.abs(by_observation).sum(axis=(1, 2))).max() < 1e-11
    inverse = np.linalg.inv(at.information())
    np.testing.assert_allclose(inverse, brute_force.covariance(panel, model, transform, effects), rtol=1e-7, atol=1e-9)


@covered(model=MODELS, transform=TRANSFORMS)
def test_information_of_one_panel_is_that_of_the_batch(model: str, transform: str) -> None:
    panel = small_panel(15, 5, seed=4)
    inverse = np.linalg.inv(scores(panel, model, transform).information())
    whole = SpatialPanel(model=model, transform=transform).covariance(panel, "information").matrix[0]
    np.testing.assert_allclose(whole[: len(inverse), : len(inverse)], inverse, rtol=1e-7, atol=1e-10)
    got = SpatialPanel(model=model, transform=transform)(panel)
    np.testing.assert_allclose(np.sqrt(np.diag(inverse)), got.se[0, 0, : len(inverse)], rtol=1e-9)


TWO_WAY = [(model, *how, "two-way") for model in SPATIAL
           for how in (("direct", "knn"), ("lee-yu", "knn"), ("direct", "uneven"))]  # fmt: skip
FEWER = [(model, transform, "knn", effects) for model in ("sdm", "sem") for effects in ("unit", "period", "none")
         for transform in TRANSFORMS if effects != "none" or transform == "direct"]  # fmt: skip


@pytest.mark.parametrize(("model", "transform", "weights", "effects"), [*TWO_WAY, *FEWER])
def test_hessian_errors_equal_numerical_derivatives(model: str, transform: str, weights: str, effects: str) -> None:
    panel = small_panel(15, 5, seed=4, weights=weights)
    got = SpatialPanel(model=model, transform=transform, errors=("hessian",), effects=effects)(panel)
    at = parameters(got)
    covariance = np.linalg.inv(brute_force.observed_hessian(panel, model, transform, at, effects))
    wanted = [*np.sqrt(np.diag(covariance)), *brute_force.effect_errors(panel, model, at, covariance)]
    np.testing.assert_allclose(got.se[0, 0], wanted, rtol=2e-6)


def written_out(panel: Panel, model: str, transform: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores by loops over units, from dense matrices: of units alone (K, T, N), and of pairs of them (K, T, N, N)."""
    w, t, n = next(iter(panel.weights.values())).dense, len(panel.periods), len(panel.units)
    form = FORMS[model]
    at = parameters(SpatialPanel(model=model, transform=transform)(panel))
    x = [panel.variables[name][0] for name in panel.roles.regressors]
    x += [values @ w.T for values in x] if form.durbin else []
    spatial = dict(zip(form.parameters, at[len(x) : -1], strict=True))
    s2, identity = at[-1], np.eye(n)
    a, b = (identity - spatial.get(name, 0.0) * w for name in ("rho", "lambda"))
    y = panel.variables["y"][0]
    signal = sum(slope * values for slope, values in zip(at, x, strict=False))

    def within(v: np.ndarray) -> np.ndarray:
        return v - v.mean(axis=0) - v.mean(axis=1, keepdims=True) + v.mean()

    e = within((y @ a.T - signal) @ b.T)
    out, pairs = [within(values @ b.T) * e / s2 for values in x], [np.zeros((t, n, n)) for _ in x]
    kept = 1.0 if transform == "direct" else (t - 1) / t
    centre = identity if transform == "direct" else identity - 1 / n
    for name, value in spatial.items():
        g = np.linalg.solve(identity - value * w, w)
        fitted = (y @ a.T) @ b.T - e if name == "rho" else (y @ a.T - signal) @ b.T - e
        linear = within(fitted @ g.T)
        g = centre @ g
        score, pair = np.empty((t, n)), np.zeros((t, n, n))
        for period, i in itertools.product(range(t), range(n)):
            own = linear[period, i] * e[period, i] + e[period, i] * g[i, i] * e[period, i]
            score[period, i] = (own - s2 * kept * g[i, i]) / s2
            for j in set(range(n)) - {i}:
                pair[period, i, j] = (g[i, j] + g[j, i]) * e[period, i] * e[period, j] / s2
        out.append(score)
        pairs.append(pair)
    m = n * t if transform == "direct" else (n - 1) * (t - 1)
    last = (e**2 - s2 * m / (n * t)) / (2 * s2**2)
    return np.stack([*out, last]), np.stack([*pairs, np.zeros((t, n, n))])


def in_order(own: np.ndarray, pairs: np.ndarray, order: list[int]) -> np.ndarray:
    """Scores (K, T, N) with each pair in the unit that stands later."""
    out = own.copy()
    for place, i in enumerate(order):
        out[:, :, i] += pairs[:, :, i, order[:place]].sum(axis=2)
    return out


def over_orders(own: np.ndarray, pairs: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Sums of squares of clusters' scores, (K, K), averaged over all orders of the clusters by loops over them."""
    members = [np.flatnonzero(codes == c) for c in np.unique(codes)]
    half = [own[:, :, i].sum(axis=(1, 2)) + pairs[:, :, i][..., i].sum(axis=(1, 2, 3)) / 2 for i in members]
    meat = np.zeros((len(own), len(own)))
    for c, i in enumerate(members):
        meat += np.outer(half[c], half[c])
        others = [pairs[:, :, i][..., j].sum(axis=(1, 2, 3)) for d, j in enumerate(members) if d != c]
        for d, one in enumerate(others):
            meat += (np.outer(half[c], one) + np.outer(one, half[c])) / 2  # d stands before c in half of the orders
            for f, other in enumerate(others):
                meat += np.outer(one, other) * (1 / 2 if d == f else 1 / 3)
    return meat


@pytest.mark.parametrize("by", ["unit", "province"])
@pytest.mark.parametrize("model", ["sdm", "sac"])
def test_clusters_scores_are_averaged_over_every_order(model: str, by: str) -> None:
    """All 720 orders of six units, or all 5,040 of seven provinces, one after the other."""
    panel = small_panel(6 if by == "unit" else 15, 5, seed=4)
    own, pairs = written_out(panel, model, "direct")
    codes = np.arange(6) if by == "unit" else np.unique(panel.attributes["province"], return_inverse=True)[1]
    orders = [*itertools.permutations(range(codes.max() + 1))]
    alone = over_orders(own, pairs, codes)
    total = np.zeros_like(alone)
    inside = np.equal.outer(codes, np.arange(codes.max() + 1)).astype(float)
    by_cluster = inside.T @ pairs.sum(axis=1) @ inside  # (K, G, G)
    base = own.sum(axis=1) @ inside + np.diagonal(by_cluster, axis1=1, axis2=2) / 2
    for order in orders:
        place = np.argsort(order)
        earlier = np.greater.outer(place, place)
        sums = base + (by_cluster * earlier).sum(axis=2)
        total += sums @ sums.T
    at = scores(panel, model, "direct")
    np.testing.assert_allclose(alone, total / len(orders), rtol=1e-9, atol=1e-9 * np.abs(total).max())
    np.testing.assert_allclose(Kernel(codes).meat(at)[0], alone, rtol=1e-7, atol=1e-9 * np.abs(alone).max())


@pytest.mark.parametrize(("transform", "weights"), [("direct", "knn"), ("lee-yu", "knn"), ("direct", "uneven")])
@pytest.mark.parametrize("model", MODELS)
def test_sandwiches_equal_sums_written_out(model: str, transform: str, weights: str) -> None:
    """Clusters of units and provinces, Driscoll-Kraay and Conley errors, effects included, without a year inside."""
    years = (2000, 2001, 2002, 2004, 2005, 2006)
    panel = replace(located(small_panel(15, 6, seed=4, weights=weights)), periods=years)
    errors = ("cluster:unit", "cluster:province", "driscoll-kraay", "conley:900", "conley:900:bartlett")
    got = SpatialPanel(model=model, transform=transform, errors=errors)(panel)
    assert got.status[0] == Status.OK
    province = panel.attributes["province"]
    units = range(15)
    eastwards = sorted(units, key=lambda i: panel.attributes["longitude"][i])
    km = great_circle_km(panel.attributes["longitude"], panel.attributes["latitude"])
    nearness = {"conley:900": km <= 900, "conley:900:bartlett": np.maximum(1 - km / 900, 0)}
    bread = brute_force.covariance(panel, model, transform)
    assert bartlett_lag(6) == 2

    def summed(rows: np.ndarray) -> np.ndarray:
        return rows.T @ rows

    own, pairs = written_out(panel, model, transform)
    plain = in_order(own, pairs, eastwards)
    sums = plain.sum(axis=2).T
    space = {}
    for error, near in nearness.items():
        each = itertools.product(range(6), units, units)
        space[error] = sum(near[i, j] * np.outer(plain[:, t, i], plain[:, t, j]) for t, i, j in each)
    kraay = summed(sums)
    for lag in (1, 2):
        share = 1 - lag / 3
        apart = [(t, s) for t in range(6) for s in range(6) if years[t] - years[s] == lag]
        cross = sum(np.outer(sums[t], sums[s]) for t, s in apart)
        kraay = kraay + share * (cross + cross.T)
        cross = sum(np.outer(plain[:, t, i], plain[:, s, i]) for t, s in apart for i in units)
        space = {error: meat + share * (cross + cross.T) for error, meat in space.items()}
    scale = np.sqrt(np.square(plain).sum(axis=(1, 2)))
    for error, meat in space.items():
        values, vectors = np.linalg.eigh(meat / np.outer(scale, scale))
        space[error] = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T * np.outer(scale, scale)
        assert got.statistics[f"floored:{error}"][0] == (values[0] < 0)
    meats = {"cluster:unit": over_orders(own, pairs, np.arange(15)),
             "cluster:province": over_orders(own, pairs, province), "driscoll-kraay": kraay, **space}  # fmt: skip
    for e, error in enumerate(errors):
        factor = 1.0
        if model == "slx" and error.startswith("cluster"):
            g = {"cluster:unit": 15, "cluster:province": 7}[error]
            factor = g / (g - 1) * 89 / (90 - 6 - 6)
        covariance = factor * bread @ meats[error] @ bread
        wanted = [*np.sqrt(np.diag(covariance)),
                  *brute_force.effect_errors(panel, model, parameters(got), covariance)]  # fmt: skip
        np.testing.assert_allclose(got.se[0, e], wanted, rtol=1e-7, err_msg=error)


@pytest.mark.parametrize("settings", [{"simulate": 50}, *({"model": model, "errors": ALL} for model in MODELS)])
def test_errors_do_not_depend_on_the_batch_bit_for_bit(settings: dict[str, Any]) -> None:
    panel = located(small_panel(20, 5, seed=6, replications=4, redrawn=True))
    estimator = SpatialPanel(transform="lee-yu", **settings)
    reduction = estimator.reduction(panel.schema)
    plan = reduction.prepare(panel)
    moments = reduction.reduce(plan, Tile(panel))
    whole = estimator(panel, Streams(1))
    for row in range(4):
        part = estimator.solve(plan, moments.take(slice(row, row + 1)), panel.schema, Streams(1))
        np.testing.assert_array_equal(part.se, whole.se[row : row + 1])
        if whole.upper is not None:
            np.testing.assert_array_equal(part.upper, whole.upper[row : row + 1])


@pytest.mark.parametrize("model", SPATIAL)
def test_excess_is_that_of_quadratic_forms_in_all_errors(model: str) -> None:
    """Lee-Yu: e = Q E; the fourth cumulant of E meets the squared diagonals of Q_T x Q_N G Q_N and of Q / (2 s2)."""
    t, n = 5, 12
    panel = small_panel(n, t, seed=4, model="sar" if model == "sac" else "sdm")
    at = scores(panel, model, "lee-yu")
    q_t, q_n = (np.eye(size) - 1 / size for size in (t, n))
    kurtosis = (np.mean(at.e**4) - 3 * np.mean(at.e**2) ** 2) / (np.square(at.e).sum() / ((n - 1) * (t - 1))) ** 2
    kurtosis /= (q_t[0] ** 4).sum() * (q_n[0] ** 4).sum()
    forms = [np.kron(q_t, q_n @ (g + g.T) / 2 @ q_n) for g in at.multipliers]
    diagonals = np.array([np.diag(form) for form in (*forms, np.kron(q_t, q_n) / (2 * at.sigma2))])
    p = at.z.shape[0]
    np.testing.assert_allclose(at.excess()[p:, p:], kurtosis * diagonals @ diagonals.T, rtol=1e-10)
    assert not at.excess()[:p].any()
    other = scores(panel, model, "direct", "period")  # slopes meet third moments alone
    np.testing.assert_array_equal(other.excess()[:p], other._skewness()[:p])


@pytest.mark.parametrize(("model", "transform", "printed"), [
    ("sdm", "direct", 6.9951), ("sdm", "lee-yu", 7.9773), ("sem", "direct", 7.3810), ("sem", "lee-yu", 8.3673),
])  # fmt: skip
def test_cigarettes_t_values_of_the_observed_hessian(
    shared_data: Path, model: str, transform: str, printed: float
) -> None:
    got = SpatialPanel(model, transform, errors=("hessian",))(cigarette_panel(shared_data))
    k = got.terms.index("lambda" if model == "sem" else "rho")
    assert got.estimate[0, k] / got.se[0, 0, k] == pytest.approx(printed, abs=6e-5)


@pytest.mark.parametrize(("errors", "message"), [
    ((), "one or more distinct"), (("qmle", "qmle"), "one or more distinct"), (("iid",), "unknown error type 'iid'"),
    (("hc1",), "unknown error type 'hc1'"), (("cluster:county",), "unknown error type 'cluster:county'"),
    (("cluster:period",), "unknown error type 'cluster:period'"), (("conley:far",), "unknown error type 'conley:far'"),
    (("conley:500",), "conley:500 without coordinates"),
])  # fmt: skip
def test_unknown_error_types_are_bad_input(errors: tuple[str, ...], message: str) -> None:
    refuses(message, lambda: SpatialPanel(errors=errors)(small_panel(20, 5)))


def test_a_single_cluster_and_missing_places_are_bad_input_and_distances_are_numbers() -> None:
    panel = replace(small_panel(20, 5), attributes={"country": np.full(20, "x")})
    for model in ("sar", "slx"):
        refuses("cluster:country has 1 cluster",
                lambda model=model: SpatialPanel(model, errors=("cluster:country",))(panel))  # fmt: skip
    panel = located(small_panel(15, 5))
    one, other = (SpatialPanel(errors=(error,))(panel) for error in ("conley:900", "conley:9e2:uniform"))
    np.testing.assert_array_equal(one.se, other.se)
    panel.attributes["longitude"][3] = np.nan
    refuses("conley:900; coordinates are missing", lambda: SpatialPanel(errors=("conley:900",))(panel))


def test_a_treatment_whose_scores_cancel_within_clusters_has_no_error() -> None:
    """One of two regions is treated: the residuals of its periods before, and of those after, sum to zero."""
    panel, region = small_panel(20, 6, model="sar"), np.repeat([0, 1], 10)
    did = np.where(np.arange(6)[:, None] >= 3, region, 0.0)[None]
    variables = {"y": panel.variables["y"], "did": did}
    panel = replace(panel, variables=variables, roles=Roles("y", "did", ()), attributes={"region": region})
    estimator = SpatialPanel("sar", errors=("information", "cluster:unit", "cluster:region"), transform="direct")
    got = estimator(panel)
    own = np.array([term.rpartition(":")[2] == "did" for term in got.terms])
    assert np.isnan(got.se[0, 2, own]).all()
    assert np.isfinite(got.se[0, :2]).all()
    assert np.isfinite(got.se[0, 2, ~own]).all()
    assert got.status[0] == Status.OK
    assert np.isnan(np.diagonal(estimator.covariance(panel, "cluster:region").matrix[0])[own]).all()
    region = np.repeat([0, 1, 2], [8, 6, 6])  # nothing of the first, and something of the others
    did = np.where((region > 0) & (np.arange(6)[:, None] >= 2 + region), 1.0, 0.0)[None]
    panel = replace(panel, variables=variables | {"did": did}, attributes={"region": region})
    assert np.isfinite(SpatialPanel("sar", effects="unit", errors=("cluster:region",))(panel).se).all()


def test_a_hessian_of_no_maximum_spoils_its_own_errors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    observed = hessian.observed_information

    def saddle(*arguments: Any) -> np.ndarray:
        whole = observed(*arguments)
        return whole - 2 * whole * np.eye(whole.shape[1])

    monkeypatch.setattr("estimators.spatial.errors.observed_information", saddle)
    panel = small_panel(20, 5)
    got = SpatialPanel(errors=("information", "hessian"))(panel)
    assert got.status.tolist() == [Status.OK]
    assert np.isfinite(got.se[0, 0]).all()
    assert np.isnan(got.se[0, 1]).all()
    assert SpatialPanel(errors=("hessian", "information"))(panel).status.tolist() == [Status.SINGULAR]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_wald_tests_take_the_covariance_of_every_error_type(transform: str) -> None:
    """Clustered by unit and by province, from scores written out; the SEM's restriction by numerical derivatives.

    p by chi-square, under m clusters by Hotelling's T squared.
    """
    panel = small_panel(40, 6, seed=4)
    errors = ("information", "cluster:unit", "cluster:province")
    got = SpatialPanel("sdm", transform, full_fit=True, errors=errors)(panel)
    at, k = parameters(got), len(panel.roles.regressors)
    bread = brute_force.covariance(panel, "sdm", transform)
    province = panel.attributes["province"]
    own, pairs = written_out(panel, "sdm", transform)
    covariances = {
        "": bread, ":cluster:unit": bread @ over_orders(own, pairs, np.arange(40)) @ bread,
        ":cluster:province": bread @ over_orders(own, pairs, province) @ bread,
    }  # fmt: skip

    def common_factor(point: np.ndarray) -> np.ndarray:
        return point[k : 2 * k] + point[2 * k] * point[:k]

    steps = 1e-6 * np.eye(len(at))
    jacobian = np.stack([(common_factor(at + h) - common_factor(at - h)) / 2e-6 for h in steps], axis=1)
    for ending, covariance in covariances.items():
        lag = at[k : 2 * k] @ np.linalg.solve(covariance[k : 2 * k, k : 2 * k], at[k : 2 * k])
        error = common_factor(at) @ np.linalg.solve(jacobian @ covariance @ jacobian.T, common_factor(at))
        for name, wanted in (("wald_sar", lag), ("wald_sem", error)):
            assert got.statistics[f"{name}{ending}"][0] == pytest.approx(wanted, rel=1e-6)
            m = {"": None, ":cluster:unit": 40, ":cluster:province": len(np.unique(province))}[ending]
            p = chi2.sf(wanted, k) if m is None else f_law.sf(wanted * (m - k) / (k * (m - 1)), k, m - k)
            assert got.statistics[f"{name}{ending}_p"][0] == pytest.approx(p, rel=1e-5)


def test_wald_tests_of_driscoll_and_kraay_are_those_of_as_many_sums_as_periods() -> None:
    panel = small_panel(40, 12, seed=4)
    found = SpatialPanel("sdm", full_fit=True, errors=("driscoll-kraay",))(panel).statistics
    for name in ("wald_sar:driscoll-kraay", "wald_sem:driscoll-kraay"):
        p = f_law.sf(found[name][0] * (12 - 3) / (3 * 11), 3, 12 - 3)
        assert found[f"{name}_p"][0] == pytest.approx(p, rel=1e-9)


UNITS, PERIODS, PANELS = 40, 18, 300


def panels(slopes: int, groups: int) -> Panel:
    """A true spatial lag model with rho = .3: no regressor has a spatial lag."""
    rng = np.random.default_rng(1)
    weights = small_weights(UNITS, "knn")
    names = tuple(f"x{j}" for j in range(slopes))
    values = {name: rng.standard_normal((1, PERIODS, UNITS)) for name in names}
    u = 0.5 * sum(values.values()) + rng.standard_normal((PANELS, PERIODS, UNITS))
    y = np.einsum("ij,rtj->rti", np.linalg.inv(np.eye(UNITS) - 0.3 * weights.dense), u)
    codes = np.array([f"c{i * groups // UNITS}" for i in range(UNITS)])
    roles = Roles(outcome="y", treatment=names[0], controls=names[1:])
    return Panel(weights.units, tuple(range(PERIODS)), values | {"y": y}, roles, {"g": codes}, None, {"w": weights})


@pytest.mark.parametrize(("slopes", "groups"), [(2, 4), (5, 10)])
def test_a_true_lag_model_is_rejected_as_often_as_it_should_be(slopes: int, groups: int) -> None:
    """By chi-square the rates were .38 and .49."""
    found = SpatialPanel("sdm", "lee-yu", errors=("information", "cluster:g"), full_fit=True)(panels(slopes, groups))
    rate = float(np.mean(found.statistics[f"{wald_names('cluster:g')['sar']}_p"] <= 0.05))
    assert 0.02 < rate < 0.05 + 4 * np.sqrt(0.05 * 0.95 / PANELS)


def test_fewer_clusters_than_restrictions_test_nothing_and_choose_nothing() -> None:
    found = SpatialPanel("sdm", "lee-yu", errors=("information", "cluster:g"), full_fit=True)(panels(5, 4))
    names = wald_names("cluster:g")
    assert all(np.isnan(found.statistics[f"{name}{end}"]).all() for name in names.values() for end in ("", "_p"))
    nothing = {f"{name}{end}": float("nan") for name in names.values() for end in ("", "_p")}
    lagrange = {"lm_lag": 0.1, "lm_lag_p": 0.7, "lm_err": 0.2, "lm_err_p": 0.6}
    said = conclusion(nothing, lagrange, names, "Wald tests with g")
    assert said == "Wald tests with g choose no model: a restriction has no test under these standard errors."


@pytest.mark.long
def test_clustered_errors_alone_survive_serial_correlation() -> None:
    rng, w, (rows, t, n) = np.random.default_rng(2026), small_weights(60), (400, 8, 60)
    x, e = rng.standard_normal((1, t, n)), rng.standard_normal((rows, t, n))
    for period in range(1, t):
        e[:, period] = 0.7 * e[:, period - 1] + np.sqrt(1 - 0.49) * e[:, period]
    y = (x + 0.3 * w.lag(x) + e) @ np.linalg.inv(np.eye(n) - 0.4 * w.dense).T
    panel = Panel(w.units, tuple(range(t)), {"y": y, "x": x}, Roles("y", None, ("x",)), weights={"knn": w})
    got = SpatialPanel("sdm", "lee-yu", errors=("information", "cluster:unit"))(panel)
    assert (got.status == Status.OK).all()
    k = got.terms.index("rho")
    sd, (information, clustered) = got.estimate[:, k].std(ddof=1), got.se[:, :, k].mean(axis=0)
    assert clustered == pytest.approx(sd, rel=4 / np.sqrt(2 * rows))
    assert information < 0.9 * sd
