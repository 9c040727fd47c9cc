"""LM tests: printed and recomputed values, spreg on stacked data, dense matrices, invariances, size by simulation."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from agreement import in_another_order
from covering import covered
from numpy.typing import NDArray
from published_panels import cigarette_panel
from refusals import refuses

from estimators import Status, Tile
from estimators.spatial.lm_tests import FORMS, LMTests, ScoreSums
from sim import BadInput, Panel, Roles, Streams, Weights
from sim.filters import SpatialFilter

Floats = NDArray[np.float64]
UNIT, PERIOD, BOTH = ("unit",), ("period",), ("unit", "period")
EFFECTS: tuple[tuple[str, ...], ...] = ((), UNIT, PERIOD, BOTH)

# lm_lag, lm_err, rlm_lag, rlm_err on Elhorst's cigarette panel
CIGARETTES = {
    ("exact", ()): (66.47, 153.04, 58.26, 144.84),
    ("exact", UNIT): (131.88, 247.19, 28.53, 143.84),
    ("exact", PERIOD): (59.47, 85.25, 0.33, 26.11),
    ("exact", BOTH): (60.33, 72.92, 1.11, 13.70),
    ("elhorst", ()): (66.47, 153.04, 58.26, 144.84),
    ("elhorst", UNIT): (136.43, 255.715, 29.51, 148.80),
    ("elhorst", PERIOD): (44.11, 62.86, 0.33, 19.09),
    ("elhorst", BOTH): (47.07, 54.65, 1.17, 8.75),
    ("elhorst-wq", UNIT): (136.43, 255.715, 29.51, 148.80),
    ("elhorst-wq", PERIOD): (44.04, 62.86, 0.33, 19.15),
    ("elhorst-wq", BOTH): (46.90, 54.65, 1.16, 8.91),
}


def statistics(panel: Panel, form: str = "exact", effects: tuple[str, ...] = BOTH, **settings: Any) -> Floats:
    """The four statistics of every replication, (R, 4)."""
    estimator = LMTests(form, effects, keep_arrays=True, **settings)
    return np.asarray(estimator(panel).estimate)


@pytest.fixture(scope="module")
def cigarettes(shared_data: Path) -> Panel:
    return cigarette_panel(shared_data)


@pytest.mark.parametrize(("form", "effects"), CIGARETTES)
def test_cigarettes(cigarettes: Panel, form: str, effects: tuple[str, ...]) -> None:
    np.testing.assert_allclose(statistics(cigarettes, form, effects)[0], CIGARETTES[form, effects], rtol=0, atol=0.0051)


def small_weights(n: int, standardize: str = "row", seed: int = 3) -> Weights:
    """Four random neighbours each, of unequal weight."""
    rng = np.random.default_rng(seed)
    raw = np.zeros((n, n))
    for i in range(n):
        others = rng.choice([j for j in range(n) if j != i], size=4, replace=False)
        raw[i, others] = rng.uniform(0.5, 2.0, size=4)
    return Weights.of(tuple(f"u{i}" for i in range(n)), raw, standardize)


def small_panel(standardize: str = "row", replications: int = 3, n: int = 12, t: int = 5, *,
                redrawn: bool = False, rho: float = 0.2, seed: int = 5) -> Panel:  # fmt: skip
    """Outcomes with unit and time effects and a spatial lag on two regressors."""
    rng = np.random.default_rng(seed)
    w = small_weights(n, standardize)
    x = rng.standard_normal((2, replications if redrawn else 1, t, n)) + rng.standard_normal((2, 1, 1, n))
    noise = rng.standard_normal((replications, t, n))
    levels = rng.standard_normal(n) + rng.standard_normal((t, 1))
    y = SpatialFilter.of(w, rho).apply(x[0] - 0.5 * x[1] + levels + noise)
    variables = {"y": y, "x1": x[0], "x2": x[1]}
    return Panel(w.units, tuple(range(t)), variables, Roles("y", None, ("x1", "x2")), weights={"w": w})


def dummies(n: int, t: int, effects: tuple[str, ...]) -> Floats:
    """A constant and what the effects add to it, (T N, D), rows time-major."""
    columns = [np.ones((n * t, 1))]
    columns += [np.tile(np.eye(n), (t, 1))[:, 1:]] if "unit" in effects else []
    columns += [np.repeat(np.eye(t), n, axis=0)[:, 1:]] if "period" in effects else []
    return np.hstack(columns)


def brute_force(panel: Panel, replication: int, effects: tuple[str, ...]) -> tuple[float, ...]:
    """The exact form from (T N) x (T N) matrices: variance of the score of residuals that lie in the space of Q."""
    n, t = len(panel.units), len(panel.periods)
    one = panel.replication(replication)
    y, x1, x2 = (one.variables[name][0].ravel() for name in ("y", "x1", "x2"))
    d = dummies(n, t, effects)
    z = np.column_stack([x1, x2, d])
    q = np.eye(n * t) - (d @ np.linalg.pinv(d) if effects else 0.0)
    m = np.eye(n * t) - z @ np.linalg.pinv(z)
    lag = np.kron(np.eye(t), panel.weights["w"].dense)
    a = q @ lag @ q
    noise, centre = np.trace(a @ a + a.T @ a), np.trace(a)
    e = m @ y
    s2 = e @ e / round(np.trace(q))
    moved = m @ lag @ (y - e)
    both = moved @ moved / s2 + noise
    score_lag, score_err = e @ lag @ y / s2 - centre, e @ lag @ e / s2 - centre
    share = noise / both
    return (
        score_lag**2 / both,
        score_err**2 / noise,
        (score_lag - score_err) ** 2 / (both - noise),
        (score_err - share * score_lag) ** 2 / (noise * (1 - share)),
    )


@covered(redrawn=[False, True], standardize=["row", "spectral"], effects=EFFECTS)
def test_dense_matrices(effects: tuple[str, ...], standardize: str, redrawn: bool) -> None:
    panel = small_panel(standardize, redrawn=redrawn)
    expected = [brute_force(panel, r, effects) for r in range(3)]
    np.testing.assert_allclose(statistics(panel, "exact", effects), expected, rtol=1e-9)


@covered(standardize=["row", "spectral"], effects=EFFECTS)
def test_spreg_on_stacked_data_with_dummies(effects: tuple[str, ...], standardize: str) -> None:
    """Its tests for a cross-section, with T N rows and a block-diagonal W, are Elhorst's form, lags demeaned last."""
    from scipy.sparse import csr_matrix, kron
    from spreg.diagnostics_sp import lmErr, lmLag, rlmErr, rlmLag, spDcache

    panel = small_panel(standardize, replications=1)
    n, t = len(panel.units), len(panel.periods)
    y, x1, x2 = (panel.variables[name][0].reshape(-1, 1) for name in ("y", "x1", "x2"))
    x = np.hstack([dummies(n, t, effects), x1, x2])
    betas = np.linalg.lstsq(x, y)[0]
    u = y - x @ betas
    w = SimpleNamespace(sparse=csr_matrix(kron(np.eye(t), panel.weights["w"].matrix)), n=n * t)
    regression = SimpleNamespace(
        x=x, y=y, u=u, betas=betas, predy=x @ betas, n=n * t, k=x.shape[1], xtxi=np.linalg.inv(x.T @ x),
        utu=(u * u).sum(), sig2n=(u * u).sum() / (n * t), sig2=(u * u).sum() / (n * t),
    )  # fmt: skip
    cache = spDcache(regression, w)
    expected = [lmLag(regression, w, cache), lmErr(regression, w, cache), rlmLag(regression, w, cache),
                rlmErr(regression, w, cache)]  # fmt: skip
    estimates = LMTests("elhorst", effects, keep_arrays=True)(panel)
    np.testing.assert_allclose(estimates.estimate[0], [np.squeeze(pair[0]) for pair in expected], rtol=1e-9)
    np.testing.assert_allclose(estimates.pvalue[0, 0], [np.squeeze(pair[1]) for pair in expected], rtol=1e-7)


@covered(form=FORMS, redrawn=[False, True])
def test_cross_products_give_what_arrays_give(form: str, redrawn: bool) -> None:
    """The shared cross products with both effects against the sums from whole arrays."""
    panel = small_panel(redrawn=redrawn)
    shared = LMTests(form)
    sums = ScoreSums("y", ("x1", "x2"), "w", BOTH, form != "elhorst-wq")
    plan = sums.prepare(panel)
    direct = shared.solve(plan, sums.reduce(plan, Tile(panel)), panel.schema, Streams(0))
    np.testing.assert_allclose(shared(panel).estimate, direct.estimate, rtol=1e-10)


@covered(form=FORMS, effects=EFFECTS)
def test_invariances(form: str, effects: tuple[str, ...]) -> None:
    """Scale of the outcome, multiples of regressors in it, order of units and periods, effects that are taken out."""
    panel = small_panel()
    base = statistics(panel, form, effects)
    y, x1 = panel.variables["y"], panel.variables["x1"]
    np.testing.assert_allclose(statistics(panel.with_variables({"y": -3.0 * y}), form, effects), base, rtol=1e-9)
    shifts = np.arange(12.0) * ("unit" in effects) + np.arange(5.0)[:, None] ** 2 * ("period" in effects)
    np.testing.assert_allclose(
        statistics(panel.with_variables({"y": y + 7.0 + shifts}), form, effects), base, rtol=1e-8
    )
    turned = in_another_order(panel.with_variables({name: v[:, ::-1] for name, v in panel.variables.items()}))[0]
    np.testing.assert_allclose(statistics(turned, form, effects), base, rtol=1e-9)
    moved = statistics(panel.with_variables({"y": y + 2.0 * x1}), form, effects)
    np.testing.assert_allclose(moved[:, 1], base[:, 1], rtol=1e-9)  # lm_err sees residuals alone
    single = np.concatenate([statistics(panel.replication(r), form, effects) for r in range(3)])
    np.testing.assert_allclose(single, base, rtol=1e-12)


@pytest.mark.usefixtures("rounding")
@pytest.mark.parametrize("redrawn", [False, True])
def test_weights_that_link_all_alike_are_bad_input_beside_time_effects(redrawn: bool) -> None:
    """With all others as neighbours Q W = -Q/(N - 1): nothing tells a lag from an error, nor either from none."""
    panel = small_panel(redrawn=redrawn)
    everyone = Weights.of(panel.units, 1.0 - np.eye(len(panel.units)))
    full = Panel(panel.units, panel.periods, panel.variables, panel.roles, weights={"w": everyone})
    for form, effects in itertools.product(FORMS, EFFECTS):
        estimator = LMTests(form, effects)
        if "period" in effects:
            with pytest.raises(BadInput, match="W links all units equally"):
                estimator(full)
        else:
            assert (estimator(full).status == Status.OK).all()


@pytest.mark.usefixtures("rounding")
def test_no_robust_tests_where_the_lag_of_the_fit_is_the_fit() -> None:
    """Units in pairs, each the other's neighbour, and a regressor that both share: its lag is itself."""
    panel = small_panel(n=12)
    raw = np.kron(np.eye(6), 1.0 - np.eye(2))
    shared = np.repeat(panel.variables["x1"][:, :, ::2], 2, axis=2)
    roles = Roles("y", None, ("x1",))
    pairs = Panel(panel.units, panel.periods, {"y": panel.variables["y"], "x1": shared}, roles,
                  weights={"w": Weights.of(panel.units, raw)})  # fmt: skip
    for form in FORMS:
        got = LMTests(form)(pairs)
        assert np.isnan(got.estimate[:, 2:]).all()
        assert np.isfinite(got.estimate[:, :2]).all()
        assert (got.status == Status.SINGULAR).all()


@pytest.mark.parametrize("effects", EFFECTS)
def test_a_draw_that_effects_absorb_is_singular(effects: tuple[str, ...]) -> None:
    panel = small_panel(redrawn=True)
    x = np.array(panel.variables["x1"])
    x[1] = (x[1, :1] if "unit" in effects else 0.1) + (x[1, :, :1] if "period" in effects else 0.2)
    got = LMTests(effects=effects)(panel.with_variables({"x1": x}))
    assert got.status.tolist() == [Status.OK, Status.SINGULAR, Status.OK]


def test_a_w_with_other_row_sums_needs_the_arrays() -> None:
    refuses("rows do not sum to one", lambda: LMTests()(small_panel("spectral")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"form": "exct"}, "did you mean 'exact'"), ({"effects": ("unit", "unit")}, "effects = "),
     ({"effects": ("city",)}, "effects = ")],
)  # fmt: skip
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    refuses(message, lambda: LMTests(**settings))


def test_bad_panels() -> None:
    panel = small_panel()
    refuses("no weights 'v'", lambda: LMTests(weights="v")(panel))
    observed = np.ones((1, 5, 12), dtype=bool)
    observed[0, 0, 0] = False
    gaps = Panel(panel.units, panel.periods, panel.variables, panel.roles, observed=observed, weights=panel.weights)
    for effects in EFFECTS:
        with pytest.raises(BadInput, match="1 unit-periods are missing"):
            statistics(gaps, effects=effects)


@covered(standardize=["row", "spectral"], effects=EFFECTS)
def test_size(effects: tuple[str, ...], standardize: str) -> None:
    """5% of 4,000 panels without spatial dependence, 46 x 8, within 4 Monte Carlo errors and half a point."""
    rng = np.random.default_rng(11)
    n, t, r = 46, 8, 4000
    w, x = small_weights(n, standardize), rng.standard_normal((1, t, n))
    effect = ("unit" in effects) * rng.standard_normal(n) + ("period" in effects) * rng.standard_normal((t, 1))
    y = x + effect + rng.standard_normal((r, t, n))
    panel = Panel(w.units, tuple(range(t)), {"y": y, "x": x}, Roles("y", None, ("x",)), weights={"w": w})
    for form in ("exact", "elhorst")[: 1 + ("period" in effects and standardize == "row")]:
        found = LMTests(form, effects, keep_arrays=True)(panel)
        assert (found.status == Status.OK).all()
        rejected = (found.pvalue[:, 0] < 0.05).mean(axis=0)
        if form == "exact":
            np.testing.assert_allclose(rejected, 0.05, atol=4 * np.sqrt(0.05 * 0.95 / r) + 0.005)
        else:
            assert (rejected[:2] > 0.075).all()
