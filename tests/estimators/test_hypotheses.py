"""Linear hypotheses as users write them: what is read, and the tests against statsmodels, pyfixest and formulas."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from covering import covered
from scipy import stats

from estimators import Estimator, SpatialPanel, TwoWayDID
from estimators.core.estimator import TermCovariance
from estimators.core.hypotheses import HypothesisTest, hypothesis_test, parse_hypothesis
from experiments.references.reference import long_frame
from references.pyfixest_reference import feols
from references.small_panels import small_panel
from sim import BadInput

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
    with pytest.raises(BadInput, match=MISTAKES[text]) as caught:
        parse_hypothesis(text, TERMS)
    assert len(str(caught.value).splitlines()) == 1


def answer_of(estimator: Estimator, text: str, error: str) -> HypothesisTest:
    panel = small_panel(40, 8, seed=5)
    found = estimator(panel)
    return hypothesis_test(
        parse_hypothesis(text, found.terms), found.estimate[0], estimator.covariance(panel, error)
    )  # fmt: skip


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
            ours, other = answer_of(pooled, text, error), theirs.t_test(text.replace(" - 2 * inv", " - 2 * inv"))
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
    assert found.statistic == pytest.approx(2.5)
    assert found.pvalue == pytest.approx(np.exp(-2.5))


def test_clustered_combinations_equal_a_regression_in_other_variables_of_pyfixest() -> None:
    """did - inv is the coefficient of did where inv + did takes the place of inv."""
    frame = long_frame(small_panel(40, 8, seed=5), ("y", "did", "inv", "road"))
    frame["both"] = frame["did"] + frame["inv"]
    theirs = feols("y ~ did + both + road | unit + period", frame, {"CRV1": "unit"})
    ours = answer_of(TwoWayDID(), "did - inv", "cluster:unit")
    got = (ours.estimate, ours.se, ours.pvalue, ours.lower, ours.upper)
    ends = theirs.confint().loc["did"]
    np.testing.assert_allclose(
        got, (theirs.coef()["did"], theirs.se()["did"], theirs.pvalue()["did"], *ends), rtol=1e-8
    )


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
            zero = hypothesis_test(
                parse_hypothesis("direct:did + indirect:did - total:did", found.terms), found.estimate[0], covariance
            )
            assert zero.se == pytest.approx(0.0, abs=1e-7)
            assert zero.estimate == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("error", ["wild:unit", "cr2:unit"])
def test_error_types_without_a_covariance_are_refused(error: str) -> None:
    with pytest.raises(BadInput, match=f"{error} has no covariance of several terms"):
        TwoWayDID(errors=(error,)).covariance(small_panel(), error)


def test_more_hypotheses_than_clusters_are_refused() -> None:
    thin = TermCovariance(("a", "b"), np.array([[[1.0, 1.0], [1.0, 1.0]]]), 1.0)
    with pytest.raises(BadInput, match="the covariance of its combinations is singular"):
        hypothesis_test(parse_hypothesis("a = 0, b = 0", ("a", "b")), np.array([1.0, 2.0]), thin)


def test_a_term_without_an_error_is_refused() -> None:
    lacking = TermCovariance(("a", "b"), np.diag([1.0, np.nan])[None], 5.0)
    with pytest.raises(BadInput, match="the term 'b' has no standard error"):
        hypothesis_test(parse_hypothesis("b = 0", ("a", "b")), np.array([1.0, 2.0]), lacking)


def test_a_combination_does_not_need_the_errors_of_other_terms() -> None:
    lacking = TermCovariance(("a", "b"), np.diag([4.0, np.nan])[None], 5.0)
    found = hypothesis_test(parse_hypothesis("a = 0", ("a", "b")), np.array([1.0, 2.0]), lacking)
    assert (found.se, found.statistic) == (2.0, 0.5)


@pytest.mark.parametrize("rounding", [-1e-16, 0.0, 1e-16])
def test_a_combination_whose_error_is_rounding_has_no_test(rounding: float) -> None:
    thin = TermCovariance(("a", "b"), np.array([[[1.0, 1.0], [1.0, 1.0 + rounding]]]), 5.0)
    found = hypothesis_test(parse_hypothesis("a - b = 0", ("a", "b")), np.array([1.0, 2.0]), thin)
    assert found.se == 0.0
    assert np.isnan([found.statistic, found.pvalue, found.lower, found.upper]).all()
