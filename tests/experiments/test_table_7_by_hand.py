"""Every number of table 7 on the committed panel against slow programs that share no code with the estimators.

Estimates, errors and log-likelihoods come from dense matrices with all dummies (or Lee and Yu's transformed data); LR
and Wald statistics and all degrees of freedom are formed here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import made_cities
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from estimators import LMTests
from experiments.tables import spatial_models
from experiments.tables.ledger import Ledger
from experiments.tables.spatial_models import MODELS
from references import brute_force
from sim import Panel, Roles

Floats = NDArray[np.float64]
TRANSFORMS = ("direct", "lee-yu")
WEIGHTS = '\n[inference]\ndraws = 99\n[[weights]]\nkind = "file"\npath = "w.csv"\n[[weights]]\nkind = "knn"\nk = 4\n'
CONTROLS = 'controls = ["road", "book"]'
REGRESSORS = {3: ("did", "road", "book"), 1: ("did",)}  # by their number
SPECS = dict.fromkeys(REGRESSORS, f"{made_cities.PANEL}{made_cities.PLACES}{WEIGHTS}")
SPECS[1] = SPECS[1].replace(CONTROLS, "")


@pytest.fixture(scope="module", params=REGRESSORS, ids=lambda k: f"{k} regressors")
def printed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Panel, Ledger]:
    """Number of regressors, the panel and its table 7 with the neighbours on the grid (`w`) and knn-4."""
    real = made_cities.real_panel(tmp_path_factory.mktemp("table7"), SPECS[request.param])
    ledger = Ledger(seed=1)
    spatial_models.add(real, ledger)
    assert not ledger.failures
    return request.param, real.panel, ledger


@cache
def slow(regressors: tuple[str, ...], weights: str, model: str, transform: str) -> brute_force.Reference:
    return brute_force.spatial_panel(panel_of(regressors, weights), model, transform)  # type: ignore[arg-type]


@cache
def panel_of(regressors: tuple[str, ...], weights: str) -> Panel:
    """The committed panel with one W alone, read without the program's own spec reader."""
    panel = made_cities.panel()
    renamed = {"did" if name == "d" else name: values for name, values in panel.variables.items()}
    links = {"w": panel.weights["grid"], "knn-4": made_cities.nearest(4)}[weights]
    roles = Roles("y", "did", tuple(name for name in regressors if name != "did"))
    return replace(panel, variables=renamed, roles=roles, weights={weights: links})


def statistics(ledger: Ledger, model: str, transform: str | None, weights: str) -> dict[str, float]:
    """Those of a column that have a value: SAC's `mode_gap` has none where the likelihood has one maximum."""
    column = (model, transform, weights, None)
    return {item.name: item.value for item in ledger.statistics
            if (item.model, item.transform, item.weights, item.term) == column and item.value is not None}  # fmt: skip


@pytest.mark.parametrize(("transform", "weights"), [("direct", "w"), ("lee-yu", "knn-4")])
@pytest.mark.parametrize("model", MODELS)
def test_columns(printed: tuple[int, Panel, Ledger], model: str, transform: str, weights: str) -> None:
    """Estimate, error, z, p and 95% interval of every term, effects included, and the log-likelihood."""
    k, _, ledger = printed
    twin = slow(REGRESSORS[k], weights, model, transform)
    column = {"model": model, "transform": transform, "weights": weights, "se_type": "information"}
    found = {r.term: r for r in ledger.records if all(getattr(r, key) == value for key, value in column.items())}
    assert set(found) == set(twin.terms)
    for term, estimate, se in zip(twin.terms, twin.estimate, twin.se["information"], strict=True):
        record = found[term]
        assert record.estimate == pytest.approx(estimate, rel=1e-6, abs=1e-8), term
        assert record.se == pytest.approx(se, rel=1e-6), term
        if term != "sigma2":
            assert record.statistic == pytest.approx(estimate / se, rel=2e-6, abs=1e-6), term
            assert record.pvalue == pytest.approx(2 * norm.sf(abs(estimate / se)), rel=1e-4, abs=1e-12), term
        assert record.lower == pytest.approx(estimate - norm.ppf(0.975) * se, rel=1e-5, abs=1e-7), term
        assert record.upper == pytest.approx(estimate + norm.ppf(0.975) * se, rel=1e-5, abs=1e-7), term
        assert (record.nobs, record.units, record.periods) == (324, 36, 9)
    assert statistics(ledger, model, transform, weights)["loglik"] == pytest.approx(twin.statistics["loglik"], abs=1e-7)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_likelihood_ratios_have_a_degree_of_freedom_a_regressor(
    printed: tuple[int, Panel, Ledger], transform: str
) -> None:
    k, _, ledger = printed
    got = statistics(ledger, "sdm", transform, "w")
    loglik = {model: slow(REGRESSORS[k], "w", model, transform).statistics["loglik"] for model in ("sdm", "sar", "sem")}
    for smaller in ("sar", "sem"):
        ratio = 2 * (loglik["sdm"] - loglik[smaller])
        assert got[f"lr_{smaller}"] == pytest.approx(ratio, abs=1e-6)
        assert got[f"lr_{smaller}_p"] == pytest.approx(chi2.sf(ratio, k), rel=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_wald_tests(printed: tuple[int, Panel, Ledger], transform: str) -> None:
    """t = 0 and t + rho b = 0 from the slow program's estimates and covariance, the Jacobian by differences."""
    k, _, ledger = printed
    twin = slow(REGRESSORS[k], "w", "sdm", transform)
    theta = twin.estimate[: 2 * k + 2]
    covariance = brute_force.covariance(panel_of(REGRESSORS[k], "w"), "sdm", transform)  # type: ignore[arg-type]
    restrictions = {
        "sar": lambda at: at[k : 2 * k],
        "sem": lambda at: at[k : 2 * k] + at[2 * k] * at[:k],
    }
    got = statistics(ledger, "sdm", transform, "w")
    for smaller, g in restrictions.items():
        steps = 1e-6 * np.eye(theta.size)
        jacobian = np.array([(g(theta + step) - g(theta - step)) / 2e-6 for step in steps]).T
        wald = g(theta) @ np.linalg.solve(jacobian @ covariance @ jacobian.T, g(theta))
        assert got[f"wald_{smaller}"] == pytest.approx(wald, rel=1e-5)
        assert got[f"wald_{smaller}_p"] == pytest.approx(chi2.sf(wald, k), rel=1e-4)


def test_information_criteria(printed: tuple[int, Panel, Ledger]) -> None:
    k, _, ledger = printed
    for transform, n in (("direct", 36 * 9), ("lee-yu", 35 * 8)):
        for model, own in (("sar", k), ("sem", k), ("sdm", 2 * k), ("slx", 2 * k - 1), ("sdem", 2 * k), ("sac", k + 1)):
            got, parameters = statistics(ledger, model, transform, "w"), own + 2  # rho or lambda, sigma2
            loglik = slow(REGRESSORS[k], "w", model, transform).statistics["loglik"]
            assert got["aic"] == pytest.approx(2 * parameters - 2 * loglik, abs=1e-6)
            assert got["bic"] == pytest.approx(np.log(n) * parameters - 2 * loglik, abs=1e-6)


def stacked(panel: Panel, weights: str) -> tuple[Floats, Floats, Floats, Floats]:
    """y (T N,), slopes' regressors, dummies with a constant and the block-diagonal W of all periods, time-major."""
    n, t = len(panel.units), len(panel.periods)
    y = panel.variables["y"][0].ravel()
    x = np.column_stack([panel.variables[name][0].ravel() for name in panel.roles.regressors])
    units, periods = np.tile(np.eye(n), (t, 1))[:, 1:], np.repeat(np.eye(t), n, axis=0)[:, 1:]
    return y, x, np.hstack([np.ones((n * t, 1)), units, periods]), np.kron(np.eye(t), panel.weights[weights].dense)


@pytest.mark.parametrize("weights", ["w", "knn-4"])
def test_lm_tests_have_one_degree_of_freedom(printed: tuple[int, Panel, Ledger], weights: str) -> None:
    """Both forms of the estimator, which tests of its own hold to dense matrices and to spreg."""
    k, _, ledger = printed
    panel, got = panel_of(REGRESSORS[k], weights), statistics(ledger, "lm", None, weights)
    forms = {ending: LMTests(form)(panel).params for form, ending in (("exact", ""), ("elhorst", "_elhorst"))}
    names = ("lm_lag", "lm_err", "rlm_lag", "rlm_err")
    assert set(got) == {f"{name}{ending}{p}" for name in names for ending in forms for p in ("", "_p")}
    for ending, params in forms.items():
        for name in names:
            assert got[f"{name}{ending}"] == pytest.approx(params[name], rel=1e-10), name
            assert got[f"{name}{ending}_p"] == pytest.approx(chi2.sf(params[name], 1), rel=1e-6), name


def test_the_conclusion_quotes_those_numbers(printed: tuple[int, Panel, Ledger]) -> None:
    k, _, ledger = printed
    loglik = {model: slow(REGRESSORS[k], "w", model, "direct").statistics["loglik"] for model in ("sdm", "sar", "sem")}
    (note,) = (note for note in ledger.notes if note.startswith("Weights w, direct: LR tests"))
    for smaller in ("sar", "sem"):
        assert f"{smaller.upper()} ({2 * (loglik['sdm'] - loglik[smaller]):.2f}, p " in note


def test_variance_inflation_of_the_treatments_lag(printed: tuple[int, Panel, Ledger]) -> None:
    """1 / (1 - R2) of the lag on the dummies and all other regressors."""
    k, _, ledger = printed
    _, x, d, w = stacked(panel_of(REGRESSORS[k], "w"), "w")
    lags = w @ x
    q = np.eye(len(d)) - d @ np.linalg.pinv(d)
    others = q @ np.hstack([x, lags[:, 1:]])
    target = q @ lags[:, 0]
    rest = target - others @ np.linalg.lstsq(others, target)[0]
    (vif,) = (item for item in ledger.statistics
              if (item.name, item.transform, item.weights) == ("vif", "lee-yu", "w"))  # fmt: skip
    assert vif.term == "w_did"
    assert vif.value == pytest.approx((target @ target) / (rest @ rest), rel=1e-8)
