"""Fits of other programs as answers of a function: the same numbers as read from the fits by hand."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from refusals import refuses
from scipy import stats

import panelproof as pp
from estimators.core.functions import answers_of

FIXED = "icr ~ did + inv + EntityEffects + TimeEffects"


def frame() -> pd.DataFrame:
    from sim.panel import long_table

    return long_table(pp.example_panel().panel)


@pp.estimator(terms=["did"])
def linear_models(df):
    from linearmodels import PanelOLS

    model = PanelOLS.from_formula(FIXED, df.set_index(["unit", "period"]))
    return model.fit(cov_type="clustered", cluster_entity=True)


@pp.estimator(terms=["did", "inv"])
def stats_models(df):
    import statsmodels.formula.api as smf

    return smf.ols("icr ~ did + inv", df).fit(cov_type="HC1", use_t=True)


@pp.estimator(terms=["did"])
def fixest(df):
    import pyfixest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pyfixest.feols("icr ~ did + inv | unit + period", df, vcov={"CRV1": "unit"})


@pp.estimator(terms=["did"], errors=[])
def learned(df):
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(df[["did", "inv"]], df["icr"])


def test_a_fit_of_linearmodels_is_an_answer() -> None:
    found = linear_models()(pp.example_panel().panel)
    own = pp.TwoWayDID(regressors=("did", "inv"), errors=("cluster:unit",))(pp.example_panel().panel)
    assert found.terms == ("did",)
    assert found.estimate[0, 0] == pytest.approx(own.estimate[0, 0], abs=1e-8)
    from linearmodels import PanelOLS

    data = frame().set_index(["unit", "period"])
    fit = PanelOLS.from_formula(FIXED, data).fit(cov_type="clustered", cluster_entity=True)
    assert found.se[0, 0, 0] == pytest.approx(fit.std_errors["did"], rel=1e-9)
    assert found.dof[0, 0, 0] == fit.df_resid


def test_a_fit_of_statsmodels_is_an_answer_with_its_degrees_of_freedom() -> None:
    import statsmodels.formula.api as smf

    found = stats_models()(pp.example_panel().panel)
    fit = smf.ols("icr ~ did + inv", frame()).fit(cov_type="HC1", use_t=True)
    np.testing.assert_allclose(found.estimate[0], fit.params[["did", "inv"]])
    np.testing.assert_allclose(found.se[0, 0], fit.bse[["did", "inv"]])
    assert found.dof[0, 0].tolist() == [fit.df_resid] * 2
    normal = answers_of(smf.ols("icr ~ did", frame()).fit(cov_type="HC1"))
    assert normal is not None
    assert len(normal["did"]) == 2  # no degrees of freedom where it uses the normal law


def test_clustered_errors_of_statsmodels_have_the_degrees_of_freedom_that_it_uses_itself() -> None:
    import statsmodels.formula.api as smf

    table = frame()
    groups = table["unit"].astype("category").cat.codes
    fit = smf.ols("icr ~ did", table).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    answer = answers_of(fit)
    assert answer is not None
    estimate, error, dof = answer["did"]
    assert dof == groups.nunique() - 1
    lower, upper = fit.conf_int().loc["did"]
    assert estimate - stats.t.ppf(0.975, dof) * error == pytest.approx(lower)
    assert estimate + stats.t.ppf(0.975, dof) * error == pytest.approx(upper)


def test_a_fit_of_pyfixest_is_an_answer() -> None:
    found = fixest()(pp.example_panel().panel)
    own = pp.TwoWayDID(regressors=("did", "inv"), errors=("cluster:unit",))(pp.example_panel().panel)
    assert found.estimate[0, 0] == pytest.approx(own.estimate[0, 0], abs=1e-7)
    assert found.se[0, 0, 0] == pytest.approx(own.se[0, 0, 0], rel=1e-5)
    assert found.dof[0, 0, 0] == own.dof[0, 0, 0]


def test_a_fit_of_scikit_learn_is_an_estimate_without_errors() -> None:
    data = frame()
    x = np.column_stack([np.ones(len(data)), data["did"], data["inv"]])
    by_hand = np.linalg.lstsq(x, data["icr"], rcond=None)[0]
    found = learned()(pp.example_panel().panel)
    assert found.estimate[0, 0] == pytest.approx(by_hand[1])
    assert found.errors == ()


def test_terms_that_are_not_declared_are_those_of_the_fit() -> None:
    @pp.estimator
    def free(df):
        import statsmodels.formula.api as smf

        return smf.ols("icr ~ did + inv", df).fit()

    panel = pp.example_panel().panel
    assert free().tried_on(panel, panel.schema).terms == ("Intercept", "did", "inv")


@pytest.mark.parametrize(("fit", "answer"), [
    (SimpleNamespace(att=1.5, se=0.5), {"": (1.5, 0.5)}),
    (SimpleNamespace(ate=1.5), {"": 1.5}),
    (SimpleNamespace(coef_=np.array([[2.0]])), {"": 2.0}),
    (SimpleNamespace(coef_=np.array([2.0, 3.0])), None),
    (SimpleNamespace(params=3.0), None),
    (3.0, None),
    ((1.0, 2.0), None),
])  # fmt: skip
def test_what_says_its_effect_is_a_fit_and_other_values_are_none(fit, answer) -> None:
    assert answers_of(fit) == answer


def test_a_fit_without_a_declared_term_is_refused() -> None:
    @pp.estimator(terms=["policy"])
    def other(df):
        import statsmodels.formula.api as smf

        return smf.ols("icr ~ did", df).fit()

    refuses("returned the terms", lambda: other()(pp.example_panel().panel))
