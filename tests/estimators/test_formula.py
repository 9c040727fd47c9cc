"""Formulas in fixest's grammar held to pyfixest, and fits of other programs as answers of a function."""

from __future__ import annotations

import re
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusals import refuses
from scipy import stats

import panelproof as pp
from estimators.core.estimator import Status
from estimators.core.functions import answers_of
from estimators.linear.formula import Formula, formula
from references.small_panels import unseen
from sim import Panel, Streams
from sim.panel import long_table
from sim.schema import Roles

UNITS, PERIODS = 30, 8
BY_UNIT, BY_GROUP, BOTH = {"CRV1": "unit"}, {"CRV1": "g"}, {"CRV1": "unit+period"}
NATIVE: list[tuple[str, Any]] = [
    ("y ~ d | unit + period", BY_UNIT),
    ("y ~ d + x | unit + period", BY_UNIT),
    ("y ~ d + x | unit + period", "iid"),
    ("y ~ d + x | unit + period", "hetero"),
    ("y ~ d + x | unit + period", BY_GROUP),
    ("y ~ d + x | unit + period", BOTH),
    ("y ~ d + x | unit + period", {"CRV1": "g+period"}),
    ("y ~ d * x | unit + period", BY_UNIT),
    ("y ~ d:x + x:z | unit + period", "iid"),
    ("y ~ d:x:z + x | unit + period", "iid"),
    ("y ~ d * (x + z) | unit + period", BY_UNIT),
    ("log(y) ~ d + log(z) | unit + period", BY_UNIT),
    ("y ~ d + I(x ** 2) + exp(x / 10) | unit + period", BY_UNIT),
    ("y ~ d + log(z):x | unit + period", "hetero"),
    ("y ~ I(x - z) + I(-x) * d | period", "iid"),
    ("y ~ i(period, ever, ref = 2003) | unit + period", BY_UNIT),
    ("y ~ x + i(period, ever, ref=2003) | unit + period", "iid"),
    ("y ~ i(g, x) | unit + period", BY_UNIT),
    ("y ~ i(g, x, ref = 'g2') + x | unit + period", "iid"),
    ("y ~ d + x | unit", "iid"),
    ("y ~ d + x | unit", BY_UNIT),
    ("y ~ d + x | period", BY_UNIT),
    ("y ~ d + x | period", "hetero"),
    ("y ~ d + x", "iid"),
    ("y ~ d + x", "hetero"),
    ("y ~ d + x", BY_UNIT),
    ("y ~ x - 1", "iid"),
    ("y ~ x + abs(z) + 0", BY_UNIT),
    ("y ~ d + x | period + unit", BY_UNIT),
    ("exp(z) ~ d + x | unit + period", "iid"),
    ("y ~ d + x:period | unit + period", BY_UNIT),
    ("y ~ d + I((x > 0) * z) + I((z != x) * (1.2 <= z)) | unit + period", BY_UNIT),
    ("y ~ d + period | unit", BY_UNIT),
    ("y ~ i(period, ever, ref = 2003.0) | unit + period", "iid"),
    ("I(y - 2 * z) ~ d + x | unit + period", BY_UNIT),
    ("y ~ i(coast, x, ref = True) | unit + period", BY_UNIT),
]
ELSEWHERE: list[tuple[str, Any, str]] = [
    ("y ~ x | unit + period | d ~ z", BY_UNIT, "instruments"),
    ("y ~ d + C(g) | period", "iid", "categories"),
    ("y ~ d | g + period", "iid", "effects of g"),
    ("y ~ d + x", "HC3", "errors of type hc3"),
    ("y ~ d | unit + period", {"CRV3": "unit"}, "errors of type crv3:unit"),
]


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"unit": np.repeat([f"u{i:02d}" for i in range(UNITS)], PERIODS),
                          "period": np.tile(range(2000, 2000 + PERIODS), UNITS),
                          "g": np.repeat([f"g{i % 5}" for i in range(UNITS)], PERIODS)})  # fmt: skip
    frame["coast"] = frame["unit"].str[-1] < "4"
    frame["ever"] = 1.0 * (frame["unit"] < "u12")
    frame["d"] = frame["ever"] * (frame["period"] >= 2004)
    frame["x"], frame["z"] = rng.normal(size=len(frame)), rng.uniform(0.5, 2.0, size=len(frame))
    frame["y"] = 9.0 + frame["d"] + frame["x"] + rng.normal(size=len(frame))
    return frame


@pytest.fixture(scope="module")
def panel(data: pd.DataFrame) -> Panel:
    def wide(name: str) -> Any:
        return data[name].to_numpy(copy=True).reshape(UNITS, PERIODS).T

    variables = {name: np.ascontiguousarray(wide(name))[None] for name in ("y", "d", "x", "z", "ever")}
    return Panel(tuple(data["unit"].unique()), tuple(range(2000, 2000 + PERIODS)), variables, Roles("y", "d", ("x",)),
                 {"g": wide("g")[0].astype(object), "coast": wide("coast")[0]})  # fmt: skip


def fixest(text: str, data: pd.DataFrame, vcov: Any) -> Any:
    import pyfixest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pyfixest.feols(text, data, vcov=vcov, demeaner=pyfixest.MapDemeaner(fixef_tol=1e-13))


@pytest.mark.parametrize(("text", "vcov"), NATIVE, ids=lambda value: str(value))
def test_native_fits_equal_pyfixest(text: str, vcov: Any, panel: Panel, data: pd.DataFrame) -> None:
    fit = formula(text, vcov)
    assert fit.engine(panel.schema) == "TwoWayDID"
    found, other = fit(panel), fixest(text, data, vcov)
    places = [found.terms.index("constant" if name == "Intercept" else name) for name in other.coef().index]
    assert len(places) == len(found.terms)
    np.testing.assert_allclose(found.estimate[0, places], other.coef(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.se[0, 0, places], other.se(), rtol=1e-8)
    assert set(found.dof[0, 0]) == {other._df_t}


@pytest.mark.parametrize(("text", "vcov", "why"), ELSEWHERE, ids=lambda value: str(value))
def test_what_cannot_be_fitted_natively_is_pyfixests_and_says_why(text, vcov, why, panel, data) -> None:
    fit = formula(text, vcov)
    assert fit.engine(panel.schema) == f"pyfixest: {why}"
    found, other = fit(panel), fixest(text, data, vcov)
    assert found.terms == tuple(other.coef().index)
    np.testing.assert_allclose(found.estimate[0], other.coef(), atol=1e-6)
    np.testing.assert_allclose(found.se[0, 0], other.se(), rtol=1e-5)


def test_nested_effects_count_once(panel: Panel, data: pd.DataFrame) -> None:
    """pyfixest counts effects of groups by period whole beside effects of their units, four of which say nothing."""
    text = "y ~ d | unit + g^period"
    found, other = formula(text, "hetero")(panel), fixest(text, data, "hetero")
    n = UNITS * PERIODS
    assert found.estimate[0, 0] == pytest.approx(other.coef()["d"], rel=1e-8)
    ratio = np.sqrt((n - 1 - (UNITS + 5 * PERIODS - 1)) / (n - 1 - (UNITS + 5 * PERIODS - 5)))
    assert found.se[0, 0, 0] / other.se()["d"] == pytest.approx(ratio, rel=1e-8)


def test_cells_that_are_missing_are_left_out(panel: Panel, data: pd.DataFrame) -> None:
    holes = unseen(panel, (2, 3), (5, 7), (0, 11))
    text = "y ~ d + log(z) | unit + period"
    other = fixest(text, long_table(holes), BY_UNIT)
    found = formula(text, BY_UNIT)(holes)
    np.testing.assert_allclose(found.estimate[0], other.coef(), rtol=1e-8)
    np.testing.assert_allclose(found.se[0, 0], other.se(), rtol=1e-8)


def test_without_a_formula_it_is_the_two_way_regression_of_the_panel(panel: Panel) -> None:
    found, own = Formula()(panel), pp.TwoWayDID(errors=("cluster:unit",))(panel)
    np.testing.assert_array_equal(found.estimate, own.estimate)
    np.testing.assert_array_equal(found.se, own.se)


def test_units_and_periods_may_have_other_names(panel: Panel) -> None:
    fit = formula("y ~ d | city + year", {"CRV1": "city"}, unit="city", period="year")
    np.testing.assert_array_equal(fit(panel).estimate, formula("y ~ d | unit + period", BY_UNIT)(panel).estimate)
    assert fit.errors == ("cluster:unit",)


@pytest.mark.parametrize("vcov", [None, {"CRV1": "city"}, {"CRV3": "city"}, {"CRV1": "city+year"}])
def test_errors_by_pyfixest_know_the_other_names(panel: Panel, vcov: Any) -> None:
    other = formula("y ~ d | city + year + g", vcov, unit="city", period="year")(panel)
    own = {kind: name.replace("city", "unit").replace("year", "period") for kind, name in (vcov or BY_UNIT).items()}
    np.testing.assert_allclose(other.se, formula("y ~ d | unit + period + g", own)(panel).se, rtol=1e-12)


def test_a_collinear_term_of_one_replication_is_singular_there(panel: Panel) -> None:
    x = panel.variables["x"]
    y = np.concatenate([panel.variables["y"]] * 2)
    both = panel.with_variables({"y": y, "x2": np.concatenate([x * x, 2 * x])})
    found = formula("y ~ d + x + x2 | g")(both)
    assert found.status.tolist() == [Status.OK, Status.SINGULAR]
    refuses("x2 cannot be told from the other terms", lambda: formula("y ~ d + x + x2 | g")(both.replication(1)))


def test_a_study_runs_a_formula_with_levels(panel: Panel) -> None:
    study = pp.Study("formulas", pp.Paper(), (formula("icr ~ did + did:inv | unit + period"),), replications=64,
                     block=64, worlds=1)  # fmt: skip
    (block,) = pp.run(study).blocks(0)
    found = block.estimates["formula"]
    assert found.terms == ("did", "did:inv")
    assert np.isfinite(found.estimate).all()
    tried = formula("y ~ i(period, ever, ref = 2003) | unit + period").tried_on(panel, panel.schema)
    assert (tried.terms[0], tried.layout(panel.schema).terms) == ("period::2000:ever", tried.terms)
    assert tried(panel, Streams(0)).terms == tried.terms


def test_a_formula_that_lacks_the_treatment_hears_how_it_is_called() -> None:
    for text, said in (("eip + inv", r"\(the treatment is called did here\)"), ("did + eip", "; correct the name")):
        refuses(f"nothing is called 'eip'; .*{said}$", formula(f"icr ~ {text} | unit + period"), EXAMPLE)


@pytest.mark.parametrize(("text", "said"), [
    ("y + d | unit", "is no formula"), ("y ~ d | unit | x | z", "is no formula"), ("~ d", "is no formula"),
    ("y - z ~ d | unit", "write I(y - z)"), ("y + z ~ d | unit", "arithmetic of the outcome y + z"),
    ("y ~ d +", "cannot be read"), ("y ~ treat | unit", "nothing is called 'treat'"),
    ("y ~ x ** 2", "write arithmetic as I(x ** 2)"), ("y ~ d / x", "write arithmetic as I(x ** 2)"),
    ("y ~ i(period, ever, base = 3)", "i(LEVELS)"),
    ("y ~ i(period, ever, ref = 1999) | unit", "is no level of period"),
    ("y ~ log(x) | unit + period", "variable 'log(x)' is"), ("y ~ log(x, 2) | unit", "cannot be computed"),
    ("y ~ . | unit", "cannot be read"), ("y ~ d | x", "every unit-period stands alone"),
    ("y ~ d | unit^period", "every unit-period stands alone"),
    ("y ~ d | unit | d ~ z", "pyfixest does not fit it: EndogVarsAsCovarsError"),
    ("y ~ __import__('os').system('true')", "nothing is called '__import__'"),
    ("y ~ d | g + g", "effects of g repeat"), ("y ~ d | g + x^period + period^x", "effects of x^period repeat"),
    ("y ~ x | unit + unit | d ~ z", "effects of unit repeat"),
    ("y ~ d + x + I(2 * x) | g", "I(2 * x) cannot be told from the other terms and the effects"),
    ("y ~ d + I(1) | unit", "I(1) is a number"), ("y ~ 2:x", "2 is a number"), ("3 ~ d", "3 is a number"),
    ("y ~ i(log(z))", "allowed: i(LEVELS)"), ("y ~ i('g')", "allowed: i(LEVELS)"),
    ("y ~ i(i(g))", "allowed: i(LEVELS)"), ("y ~ i(g, ref = x)", "ref = x"),
    ("y ~ i(period, ever, x)", "allowed: i(LEVELS)"), ("y ~ I(" + 3000 * "-" + "x)", "cannot be read"),
])  # fmt: skip
def test_what_is_no_formula_of_the_panel_is_refused_in_one_line(text: str, said: str, panel: Panel) -> None:
    refuses(re.escape(said), lambda: formula(text)(panel))


def test_errors_that_pyfixest_refuses_are_one_line(panel: Panel) -> None:
    refuses("pyfixest does not fit it: VcovTypeNotSupportedError",
            lambda: formula("y ~ d + x | unit + period", "HC2")(panel))  # fmt: skip


def test_errors_by_pyfixest_do_not_hang_on_the_hash_of_names(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It orders effects that are written without blanks by hash, and counts those that are nested by their order."""
    import pyfixest

    given, fit = [], pyfixest.feols

    def recorded(text: str, *others: Any, **named: Any) -> Any:
        given.append(text)
        return fit(text, *others, **named)

    monkeypatch.setattr(pyfixest, "feols", recorded)
    found = [formula(text, BY_UNIT)(panel).se for text in ("y ~ x|unit+period|d ~ z", "y ~ x | unit  +period | d ~ z")]
    assert all("unit + period" in text for text in given)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "wrong",
    [{"text": None}, {"vcov": 5}, {"unit": 5}, {"label": None}, *({"errors": one} for one in ((3,), ("hc1", 3), None))],
)
def test_what_is_of_the_wrong_type_is_one_line(wrong: dict[str, Any]) -> None:
    refuses(f"{next(iter(wrong))} is of the wrong type", lambda: formula(**{"text": "y ~ d | unit", **wrong}))


@pytest.mark.parametrize(
    ("vcov", "said"), [({"CRV1": ["unit"]}, "CRV1"), ("HC9", "did you mean"), ({"CRV2": "unit"}, "CRV1"), ({}, "CRV1")]
)
def test_unknown_errors_are_refused(vcov: Any, said: str) -> None:
    refuses(said, lambda: formula("y ~ d | unit", vcov))


def test_without_pyfixest_the_reason_and_the_remedy_are_said(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfixest", None)
    refuses("instruments: pyfixest would fit it, and is not installed", lambda: formula("y ~ x | unit | d ~ z")(panel))


EXAMPLE = pp.example_panel().panel
TABLE = long_table(EXAMPLE)


def linear_models(df):
    from linearmodels import PanelOLS

    model = PanelOLS.from_formula("icr ~ did + inv + EntityEffects + TimeEffects", df.set_index(["unit", "period"]))
    return model.fit(cov_type="clustered", cluster_entity=True)


def stats_models(df):
    import statsmodels.formula.api as smf

    return smf.ols("icr ~ did + inv", df).fit(cov_type="HC1", use_t=True)


@pytest.mark.parametrize(("function", "error", "terms"), [
    (linear_models, "std_errors", ["did"]), (stats_models, "bse", ["did", "inv"]),
])  # fmt: skip
def test_a_fit_of_another_program_is_an_answer_with_its_degrees_of_freedom(function, error, terms) -> None:
    fit, found = function(TABLE), pp.estimator(terms=terms)(function)()(EXAMPLE)
    assert found.terms == tuple(terms)
    np.testing.assert_allclose(found.estimate[0], fit.params[terms])
    np.testing.assert_allclose(found.se[0, 0], getattr(fit, error)[terms])
    assert found.dof[0, 0].tolist() == [fit.df_resid] * len(terms)


def test_a_fit_of_statsmodels_that_uses_the_normal_law_has_no_degrees_of_freedom() -> None:
    import statsmodels.formula.api as smf

    normal = answers_of(smf.ols("icr ~ did", TABLE).fit(cov_type="HC1"))
    assert normal is not None
    assert len(normal["did"]) == 2


def test_clustered_errors_of_statsmodels_have_the_degrees_of_freedom_that_it_uses_itself() -> None:
    import statsmodels.formula.api as smf

    groups = TABLE["unit"].astype("category").cat.codes
    fit = smf.ols("icr ~ did", TABLE).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    answer = answers_of(fit)
    assert answer is not None
    estimate, error, dof = answer["did"]
    assert dof == groups.nunique() - 1
    lower, upper = fit.conf_int().loc["did"]
    assert estimate - stats.t.ppf(0.975, dof) * error == pytest.approx(lower)
    assert estimate + stats.t.ppf(0.975, dof) * error == pytest.approx(upper)


def poisson(df):
    import pyfixest

    return pyfixest.fepois("icr ~ did | unit", df, vcov={"CRV1": "unit"})


def logit(df):
    import pyfixest

    return pyfixest.feglm("high ~ did", df.assign(high=1.0 * (df["icr"] > df["icr"].median())), family="logit")


def fama_macbeth(df):
    from linearmodels import FamaMacBeth

    late = df[df["period"] > 2018].set_index(["unit", "period"])
    return FamaMacBeth.from_formula("icr ~ 1 + did", late).fit(debiased=False)


def between(df):
    from linearmodels import BetweenOLS

    return BetweenOLS.from_formula("icr ~ 1 + did", df.set_index(["unit", "period"])).fit(debiased=False)


@pytest.mark.filterwarnings("ignore")  # of these programs
@pytest.mark.parametrize("function", [poisson, logit, fama_macbeth, between])
def test_a_fit_that_uses_the_normal_law_has_the_p_value_and_interval_that_it_prints(function: Any) -> None:
    fit, found = function(TABLE), pp.estimator(terms=["did"])(function)()(EXAMPLE)
    printed = fit.pvalues if hasattr(fit, "pvalues") else fit.pvalue()
    interval = fit.conf_int() if hasattr(fit, "conf_int") else fit.confint()
    assert found.pvalues["did"] == pytest.approx(printed["did"], rel=1e-8)
    np.testing.assert_allclose(found.conf_int().loc["did"], interval.loc["did"], rtol=1e-8)


def test_a_fit_of_pyfixest_is_an_answer() -> None:
    @pp.estimator(terms=["did"])
    def fit(df):
        return fixest("icr ~ did + inv | unit + period", df, BY_UNIT)

    found = fit()(EXAMPLE)
    own = pp.TwoWayDID(regressors=("did", "inv"), errors=("cluster:unit",))(EXAMPLE)
    assert found.estimate[0, 0] == pytest.approx(own.estimate[0, 0], abs=1e-7)
    assert found.se[0, 0, 0] == pytest.approx(own.se[0, 0, 0], rel=1e-5)
    assert found.dof[0, 0, 0] == own.dof[0, 0, 0]


def test_a_fit_of_scikit_learn_is_an_estimate_without_errors() -> None:
    @pp.estimator(terms=["did"], errors=[])
    def learned(df):
        from sklearn.linear_model import LinearRegression

        return LinearRegression().fit(df[["did", "inv"]], df["icr"])

    x = np.column_stack([np.ones(len(TABLE)), TABLE["did"], TABLE["inv"]])
    by_hand = np.linalg.lstsq(x, TABLE["icr"], rcond=None)[0]
    found = learned()(EXAMPLE)
    assert (found.estimate[0, 0], found.errors) == (pytest.approx(by_hand[1]), ())


def test_terms_that_are_not_declared_are_those_of_the_fit() -> None:
    @pp.estimator
    def free(df):
        import statsmodels.formula.api as smf

        return smf.ols("icr ~ did + inv", df).fit()

    assert free().tried_on(EXAMPLE, EXAMPLE.schema).terms == ("Intercept", "did", "inv")


@pytest.mark.parametrize(("fit", "answer"), [
    (SimpleNamespace(att=1.5, se=0.5), {"": (1.5, 0.5)}), (SimpleNamespace(ate=1.5), {"": 1.5}),
    (SimpleNamespace(att=1.5, se=0.5, inference_df=967.0), {"": (1.5, 0.5, 967.0)}),
    (SimpleNamespace(att=1.5, se=0.5, inference_df=None), {"": (1.5, 0.5)}),
    (SimpleNamespace(att=1.5, se=0.5, df_inference=2), {"": (1.5, 0.5, 2.0)}),
    (SimpleNamespace(coef_=np.array([[2.0]])), {"": 2.0}), (SimpleNamespace(coef_=np.array([2.0, 3.0])), None),
    (SimpleNamespace(params=3.0), None), (3.0, None), ((1.0, 2.0), None),
])  # fmt: skip
def test_what_says_its_effect_is_a_fit_and_other_values_are_none(fit, answer) -> None:
    assert answers_of(fit) == answer


def test_a_fit_without_a_declared_term_is_refused() -> None:
    @pp.estimator(terms=["policy"])
    def other(df):
        import statsmodels.formula.api as smf

        return smf.ols("icr ~ did", df).fit()

    refuses("returned the terms", lambda: other()(EXAMPLE))
