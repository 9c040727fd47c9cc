"""Both equations of table 5 on the committed panel, complete and with gaps, against dummies and pyfixest.

Coefficients, errors, degrees of freedom and the indirect effect's delta method are formed here from the files; the
factor of clustered errors is that of pyfixest.
"""

from __future__ import annotations

from dataclasses import dataclass

import made_cities
import numpy as np
import pandas as pd
import pytest
from long_tables import panel_from_frame
from numpy.typing import NDArray
from scipy.stats import t as student

from experiments.tables import mediation_table
from experiments.tables.ledger import Ledger
from references import pyfixest_reference
from results.tables.records import Record
from sim import Roles

Floats = NDArray[np.float64]
KEYS = 'mediators = ["patents"]\ncluster = "province"\nmissing = "drop"\n[inference]\ndraws = 99\n'
REGRESSORS = ["d", "road", "book"]
TABLES = {"complete": made_cities.frame, "with gaps": made_cities.frame_with_gaps}


@dataclass(frozen=True)
class Case:
    """The rows that all of y, controls and mediator have, and table 5 of the file."""

    rows: pd.DataFrame
    ledger: Ledger

    def records(self, model: str, se_type: str) -> dict[str, Record]:
        return {r.term: r for r in self.ledger.records if (r.model, r.se_type) == (model, se_type)}


@pytest.fixture(scope="module", params=TABLES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    table = TABLES[request.param]()
    real = made_cities.real_panel(tmp_path_factory.mktemp("table5"), made_cities.PANEL + KEYS, table)
    ledger = Ledger(seed=1)
    mediation_table.add(real, ledger)
    assert not ledger.failures
    return Case(table.dropna(subset=["y", *REGRESSORS, "patents"]), ledger)


EQUATIONS = {"mediator": ("patents", REGRESSORS), "outcome": ("y", ["d", "patents", "road", "book"])}
WITHOUT = {"total": ("y", REGRESSORS)}  # the regression whose coefficient is the total effect


@dataclass(frozen=True)
class Dense:
    """Least squares with a dummy for every city and year: slopes (K,), psi (K, n), residuals (n,), k of all columns."""

    slopes: Floats
    psi: Floats
    residuals: Floats
    parameters: int


def dummies(rows: pd.DataFrame) -> Floats:
    """One column a city, and a year but the first, (n, 44): of full rank."""
    cities, years = pd.get_dummies(rows["city"]), pd.get_dummies(rows["year"], drop_first=True)
    return np.hstack([cities.to_numpy(float), years.to_numpy(float)])


def dense(rows: pd.DataFrame, model: str) -> Dense:
    outcome, names = {**EQUATIONS, **WITHOUT}[model]
    y = rows[outcome].to_numpy(float)
    x = np.hstack([rows[names].to_numpy(float), dummies(rows)])
    projection = np.linalg.pinv(x)
    coefficients = projection @ y
    k = len(names)
    return Dense(coefficients[:k], projection[:k], y - x @ coefficients, x.shape[1])


def theirs(rows: pd.DataFrame, model: str) -> dict[str, float]:
    """pyfixest's clustered errors by term, k counting slopes and effects that are not nested."""
    outcome, names = {**EQUATIONS, **WITHOUT}[model]
    roles = Roles(outcome, "d", tuple(name for name in names if name != "d"))
    panel = panel_from_frame(rows, unit="city", period="year", roles=roles, attributes={"province": "province"})
    found = pyfixest_reference.twoway_did(panel, errors=("cluster:province",))
    names = ("d" if name == "did" else name for name in found.terms)
    return dict(zip(names, found.se["cluster:province"], strict=True))


@pytest.mark.parametrize("model", EQUATIONS)
def test_coefficients_and_errors(case: Case, model: str) -> None:
    fit, names = dense(case.rows, model), EQUATIONS[model][1]
    n, free = len(case.rows), len(case.rows) - fit.parameters
    contributions = fit.psi * fit.residuals
    squares = {
        "iid": np.square(fit.psi).sum(axis=1) * np.square(fit.residuals).sum() / free,
        "hc1": np.square(contributions).sum(axis=1) * n / free,
    }
    errors = {name: (np.sqrt(value), free) for name, value in squares.items()}
    clustered = theirs(case.rows, model)
    errors["cluster:province"] = np.array([clustered[name] for name in names]), 9 - 1
    for error, (se, dof) in errors.items():
        found = case.records(model, error)
        for name, estimate, own in zip(names, fit.slopes, se, strict=True):
            record = found["did" if name == "d" else name]
            assert record.estimate == pytest.approx(estimate, rel=1e-8), (error, name)
            assert record.se == pytest.approx(own, rel=1e-7), (error, name)
            assert record.statistic == pytest.approx(estimate / own, rel=1e-7), (error, name)
            assert record.pvalue == pytest.approx(2 * student.sf(abs(estimate / own), dof), rel=1e-6), (error, name)
            assert record.lower == pytest.approx(estimate - student.ppf(0.975, dof) * own, rel=1e-6), (error, name)
            assert record.upper == pytest.approx(estimate + student.ppf(0.975, dof) * own, rel=1e-6), (error, name)
            assert (record.nobs, record.units, record.periods) == (n, 36, 9)


@pytest.mark.parametrize("model", EQUATIONS)
def test_goodness_of_fit(case: Case, model: str) -> None:
    fit, y = dense(case.rows, model), case.rows[EQUATIONS[model][0]].to_numpy(float)
    (r2,) = [s.value for s in case.ledger.statistics if (s.model, s.name) == (model, "r2")]
    assert r2 == pytest.approx(1 - np.square(fit.residuals).sum() / np.square(y - y.mean()).sum(), rel=1e-9)


def test_effects_through_and_beside_the_mediator(case: Case) -> None:
    """a b and its two errors, c' and the total, which is the coefficient of the regression without the mediator."""
    first, second = dense(case.rows, "mediator"), dense(case.rows, "outcome")
    a, b, direct = first.slopes[0], second.slopes[1], second.slopes[0]
    of_province = pd.get_dummies(case.rows["province"]).to_numpy(float)
    raw = np.array([fit.psi[k] * fit.residuals for fit, k in ((first, 0), (second, 1), (second, 0))]) @ of_province
    through, beside = theirs(case.rows, "mediator"), theirs(case.rows, "outcome")
    wanted = np.array([through["d"], beside["patents"], beside["d"]])
    scores = raw * (wanted / np.sqrt(np.square(raw).sum(axis=1)))[:, None]  # each with the factor of its equation
    covariance = scores @ scores.T
    sobel = np.sqrt(a**2 * covariance[1, 1] + b**2 * covariance[0, 0])
    errors = {
        "nie": np.sqrt(np.array([b, a, 0.0]) @ covariance @ np.array([b, a, 0.0])),
        "nde": beside["d"],
        "total": theirs(case.rows, "total")["d"],
    }
    estimates = {"nie": a * b, "nde": direct, "total": direct + a * b}
    delta, by_sobel = case.records("mediation", "delta"), case.records("mediation", "sobel")
    for term, se in errors.items():
        assert delta[term].estimate == pytest.approx(estimates[term], rel=1e-8), term
        assert delta[term].se == pytest.approx(se, rel=1e-6), term
        assert delta[term].pvalue == pytest.approx(2 * student.sf(abs(estimates[term] / se), 8), rel=1e-5), term
    assert by_sobel["nie"].se == pytest.approx(sobel, rel=1e-6)
    assert delta["proportion"].estimate == pytest.approx(a * b / (direct + a * b), rel=1e-8)
    assert dense(case.rows, "total").slopes[0] == pytest.approx(estimates["total"], rel=1e-8)
