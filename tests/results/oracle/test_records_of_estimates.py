"""From an estimator's answer to records: every term under every error type, tests and intervals by quadrature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special

from estimators.core.estimator import Estimates, critical_values, p_values
from results.tables.records import Fit, records_of, statistics_of

TERMS, ERRORS = ("did", "long_total:did", "sigma2", "indirect:did"), ("iid", "hc1", "wild:unit")
ESTIMATE = np.array([[0.31, -0.47, 0.83, 0.59], [9.0, 9.1, 9.2, 9.3]])
SE = np.array([[[0.11, 0.13, 0.17, 0.19], [0.23, 0.29, 0.37, 0.41], [np.nan] * 4], np.full((3, 4), 7.0)])
DOF = np.array([[[5.0, 8.0, 13.0, 21.0], [np.inf] * 4, [3.0] * 4], np.full((3, 4), 2.0)])
STORED = {"pvalue": 0.021, "lower": -0.8, "upper": 1.7}


def answer() -> Estimates:
    """Two panels; the first one alone is printed. The last error type stores its tests and has no errors."""
    stored = {name: np.full((2, 3, 4), np.nan) for name in STORED}
    for name, value in STORED.items():
        stored[name][0, 2] = value + 0.001 * np.arange(4)
    status = np.ones(2, dtype=np.uint8)
    statistics = {"r2": np.array([0.93, 0.1]), "loglik": np.array([np.nan, 3.0])}
    return Estimates(TERMS, ERRORS, ESTIMATE, SE, DOF, status, statistics, **stored)


def tail(t: float, dof: float) -> float:
    """P(|T| > |t|) by integration of the density."""
    if math.isinf(dof):
        return math.erfc(abs(t) / math.sqrt(2))
    scale = math.exp(special.gammaln((dof + 1) / 2) - special.gammaln(dof / 2)) / math.sqrt(dof * math.pi)
    inside, _ = integrate.quad(lambda x: scale * (1 + x * x / dof) ** (-(dof + 1) / 2), 0, abs(t))
    return 1 - 2 * inside


def test_every_record_of_an_answer() -> None:
    fit = Fit(("7", 3), "sdm", "lee-yu", "east", "ring", 2004, "fdi")
    found = {(item.se_type, item.term): item for item in records_of(fit, answer(), 279, 31, 9)}
    assert set(found) == set(itertools.product(ERRORS, TERMS))
    for (error, term), item in found.items():
        e, k = ERRORS.index(error), TERMS.index(term)
        assert item.estimate == ESTIMATE[0, k]
        assert (item.nobs, item.units, item.periods) == (279, 31, 9)
        assert (item.table, item.column, item.model, item.transform) == ("7", 3, "sdm", "lee-yu")
        assert (item.sample, item.weights, item.year, item.mediator) == ("east", "ring", 2004, "fdi")
        assert item.effects_method == ("delta" if ":" in term else None)
        if error == "wild:unit":
            assert (item.se, item.statistic) == (None, None)
            assert (item.lower, item.upper) == pytest.approx((-0.8 + 0.001 * k, 1.7 + 0.001 * k))
            assert item.pvalue == (None if term == "sigma2" else pytest.approx(0.021 + 0.001 * k))
            continue
        se, dof = SE[0, e, k], DOF[0, e, k]
        assert item.se == se
        t = ESTIMATE[0, k] / se
        assert item.statistic == (None if term == "sigma2" else pytest.approx(t))
        assert item.pvalue == (None if term == "sigma2" else pytest.approx(tail(t, dof), rel=1e-7))
        assert item.lower is not None
        assert item.upper is not None
        assert item.lower + item.upper == pytest.approx(2 * item.estimate)
        assert tail((item.upper - item.estimate) / se, dof) == pytest.approx(0.05, rel=1e-7)
        assert item.lower < item.upper


def test_statistics_of_an_answer() -> None:
    fit = Fit(("2", 5), "did", sample="east", year=2004, mediator="fdi", weights="ring", transform="direct")
    first, second = statistics_of(fit, answer())
    assert (first.name, first.value, second.name, second.value) == ("r2", 0.93, "loglik", None)
    for item in (first, second):
        assert (item.table, item.column, item.model, item.transform) == ("2", 5, "did", "direct")
        assert (item.sample, item.weights, item.year, item.mediator) == ("east", "ring", 2004, "fdi")


@pytest.mark.parametrize("dof", [1.0, 4.0, 30.0, np.inf])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_p_values_and_critical_values_fit_together(dof: float, alpha: float) -> None:
    critical = float(critical_values(np.array([dof, 7.0]), alpha)[0])
    assert tail(critical, dof) == pytest.approx(alpha, rel=1e-7)
    for t in (critical, -critical):
        assert float(p_values(np.array(t), np.array(dof))) == pytest.approx(alpha, rel=1e-7)
