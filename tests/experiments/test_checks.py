"""The answers of checks: by hand, mirrored for negative claims, and their rates on panels of known worlds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import filled
from scipy import stats
from verdict_worlds import World
from warned import GROUPS, SPEC, dummies, made, of

from estimators.core.estimator import critical_values
from estimators.sensitivity.differences import ALTERNATIVE, DIFFERENCE, Differences
from estimators.staggered.adoption_effects import multipliers, simultaneous_critical_values
from experiments.checks import (
    another_w,
    checks_of,
    index_weights,
    influence,
    inputs,
    missing_cells,
    residuals,
    specifications,
    spillovers,
    staggered,
    trends,
)
from experiments.checks.case import Case
from experiments.checks.check import (
    answer_of,
    answers_of,
    family_critical,
    needed_of,
    statistics_of,
    usual_of,
    with_departure,
    worst_of,
)
from experiments.estimation import estimate, ledger_of
from experiments.tables import regressions, spatial_models
from results.tables.records import INFORMS, SILENT, WEAKENS, Check
from sim import Panel, Roles

TABLE = [  # difference, se, supports -> answer, of a claim of 5 that needs a change of 3 towards zero; critical 2
    (-0.5, 0.5, True, "consistent"),
    (-0.5, 1.3, True, "cannot tell"),
    (+0.5, 1.0, True, "consistent"),
    (+0.5, 2.0, True, "cannot tell"),
    (-2.5, 1.0, True, "differs"),
    (-2.5, 1.0, False, "contradicts"),
    (+2.5, 1.0, False, "differs"),
    (-6.0, 2.0, False, "contradicts"),
    (-1.0, 1.0, False, "cannot tell"),
    (0.0, 0.0, True, "consistent"),
    (1.0, 0.0, True, "cannot tell"),
    (-2.5, 1e-16, False, "cannot tell"),
    (float("nan"), 1.0, True, "cannot tell"),
    (-0.5, 1.2499, True, "consistent"),  # -0.5 -+ 2 se reaches -3 at se = 1.25
    (-0.5, 1.2501, True, "cannot tell"),
]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("difference", "se", "supports", "answer"), TABLE)
def test_answers_by_hand(difference: float, se: float, supports: bool, answer: str, sign: float) -> None:
    """Two standard errors around the difference; a negative claim is the mirror of a positive one."""
    got = answer_of(np.array(sign * difference), np.array(se), 2.0, 3.0, sign, supports)
    assert str(got) == answer


def test_what_a_claim_needs_is_what_its_interval_leaves() -> None:
    found = needed_of(np.array([5.0, -5.0, 1.0]), np.array([2.0, 2.0, 2.0]))
    assert found.tolist() == [3.0, 3.0, 0.0]
    d = np.array([-0.5, -2.5, 2.5])  # without a claim nothing is contradicted
    assert answer_of(d, np.ones(3), 2.0, None, 1.0, False).tolist() == ["consistent", "differs", "differs"]


def test_severity_follows_from_the_answer_and_the_most_serious_counts() -> None:
    answers = np.array([["consistent", "differs"], ["cannot tell", "consistent"], ["contradicts", "differs"]])
    assert worst_of(answers).tolist() == ["differs", "cannot tell", "contradicts"]
    check = Check("a", "b", "differs", 2)
    assert [replace(check, answer=a).severity for a in ("consistent", "cannot tell", "differs", "contradicts")] == [
        0, 2, 2, 3]  # fmt: skip
    assert replace(check, false_alarm=0.02, power=0.7).record["false_alarm"] == 0.02
    assert set(check.record) == {
        "name", "alternative", "difference", "se", "lower", "upper", "needed", "unit", "benchmark", "answer",
        "false_alarm", "power", "remedy",
    }  # fmt: skip


def case_of(folder: Path, spec: str, table: pd.DataFrame | None = None) -> Case:
    real = made_cities.real_panel(folder, spec, table)
    return Case.of(real, filled(regressions.add_baseline, real))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case_of(tmp_path_factory.mktemp("case"), SPEC)


def test_the_family_holds_all_alternatives_of_the_panel(case: Case) -> None:
    """Of cohorts those that adopt: units that are never treated are none."""
    family = case.family.estimator
    assert family.error == "cluster:unit"
    heads = {text.partition(":")[0] for text in family.alternatives}
    assert heads == {"effects", "controls", "trend", "lead", "cohort-wise", "without", "without-cohort", "neighbours"}
    assert sum(text.startswith("without:province=") for text in family.alternatives) == 9
    assert {"controls:none", "controls:-road", "controls:-book"} <= set(family.alternatives)
    first = made_cities.frame().query("d == 1").groupby("city")["year"].min().unique()
    asked = [text for text in influence.alternatives(case) if text.startswith("without-cohort:")]
    assert sorted(asked) == sorted(f"without-cohort:{year}" for year in first)


@pytest.mark.parametrize("kind", ["cluster", "cr2", "cv3"])
def test_differences_are_clustered_as_the_claim_is(case: Case, kind: str) -> None:
    """Errors for few clusters of a group allow for its shocks, and so must the errors of differences."""
    by_province = replace(case, effect=replace(case.effect, se_type=f"{kind}:province")).family
    by_unit = replace(case, effect=replace(case.effect, se_type="hc1")).family
    assert (by_province.estimator.error, by_unit.estimator.error) == ("cluster:province", "cluster:unit")
    frame = made_cities.frame()
    places = frame.drop_duplicates("city")["province"].nunique() - 1
    assert by_province.value("trend")[2] == places
    assert by_province.value("trend")[0] == pytest.approx(by_unit.value("trend")[0])


def test_the_critical_value_is_that_of_brute_force(case: Case) -> None:
    """The 95% quantile of the largest |t| of random signs, and not below that of t with 35 degrees of freedom."""
    family = case.family
    stacked = family.estimator.stacked(case.panel)
    scores = stacked.influence[0, 1::2]
    rng = np.random.default_rng(9)
    largest = []
    for _ in range(4000):
        signs = rng.choice([-1.0, 1.0], size=36)
        largest.append(np.max(np.abs(scores @ signs) / np.sqrt((scores**2).sum(axis=1))))
    assert family.critical == pytest.approx(np.quantile(largest, 0.95), abs=0.08)
    assert family.critical > critical_values(np.array([35.0]), 0.05)[0]


def test_what_the_claim_needs(case: Case) -> None:
    assert case.needed == pytest.approx(min(abs(case.effect.lower or 0), abs(case.effect.upper or 0)), rel=1e-9)
    by_name = {check.name: check for check in checks_of(case, 4.0)}
    assert by_name["unequal-trends"].needed == pytest.approx(-(case.needed or 0))
    assert case.effect is not None
    drawn = replace(case, effect=replace(case.effect, estimate=-2.0, se=None, pvalue=0.02))  # z 2.326, claimed at 5%
    assert drawn.needed == pytest.approx(2.0 * (1 - 1.959964 / 2.326348), rel=1e-5)
    found = by_name["specification:no controls"]
    assert found.numbers["critical"] == 4.0, "a given critical value is used"
    assert found.upper == pytest.approx((found.difference or 0) + 4.0 * (found.se or 0))


def test_at_ten_percent_the_claim_needs_what_a_wider_level_leaves(tmp_path: Path) -> None:
    """A claim with .05 < p < .10: the interval at 90%."""
    frame = made_cities.frame()
    rng = np.random.default_rng(17)
    for size in np.linspace(0.1, 0.6, 26):
        table = frame.assign(y=(size * frame["d"] + rng.standard_normal(len(frame))).round(6))
        found = case_of(tmp_path, SPEC, table)
        if 0.06 < (found.effect.pvalue or 1.0) < 0.095:
            break
    assert found.level == 0.10
    half = critical_values(np.array([35.0]), 0.10)[0] * (found.effect.se or 0)
    assert found.needed == pytest.approx(abs(found.effect.estimate or 0) - half)
    assert (found.needed or 0) > 0


def test_a_negative_claim_is_the_mirror_of_a_positive_one(tmp_path: Path) -> None:
    frame = made_cities.frame()
    drift = frame.groupby("city")["d"].transform("max") * (frame["year"] - 2010)
    up = frame.assign(y=(drift + np.random.default_rng(6).standard_normal(len(frame))).round(6))
    one, other = (checks_of(case_of(tmp_path, SPEC, table)) for table in (up, up.assign(y=-up["y"])))
    answers = [check.answer for check in one if check.difference is not None]
    assert answers == [check.answer for check in other if check.difference is not None]
    assert {"contradicts", "consistent"} <= set(answers)
    for a, b in zip(one, other, strict=True):
        if a.difference is not None:
            assert b.difference == pytest.approx(-a.difference, rel=1e-7, abs=1e-10), a.name
            assert b.needed == pytest.approx(-(a.needed or 0), rel=1e-7)


def test_answers_on_many_panels_are_those_one_by_one(case: Case) -> None:
    family = case.family
    y = case.panel.variables["y"]
    noise = np.random.default_rng(3).standard_normal((6, *y.shape[1:]))
    many = replace(case.panel, variables={**case.panel.variables, "y": np.concatenate([y, y + noise])})
    texts = family.estimator.alternatives
    whole = answers_of(family.estimator(many), texts, family.critical)
    assert whole.shape == (7, len(texts))
    judged = [case.judged("one", (text,), {text: text}) for text in texts]
    assert whole[0].tolist() == [None if check is None else check.answer for check in judged]
    for row in range(7):
        alone = answers_of(family.estimator(many.replication(row)), texts, family.critical)
        assert whole[row].tolist() == alone[0].tolist()


def test_a_family_on_many_panels_has_the_critical_value_of_its_largest_t(case: Case) -> None:
    family = case.family
    y = case.panel.variables["y"]
    noise = np.random.default_rng(5).standard_normal((200, *y.shape[1:]))
    many = case.panel.with_variables({"y": noise})
    found = family.estimator(many)
    t = found.estimate[:, 1::2] / found.se[:, 0, 1::2]
    largest = np.sort(np.abs(t).max(axis=1))
    assert family_critical(found) == largest[190]  # the 191st: a further panel is above with probability 10/201
    assert family_critical(found.take(slice(0, 199))) == np.sort(np.abs(t).max(axis=1)[:199])[189]  # 10/200
    assert family_critical(found.take(slice(0, 12))) == np.abs(t).max(axis=1)[:12].max()  # 5% is beyond twelve
    spoilt = replace(found, estimate=np.where(np.arange(len(found.terms)) == 1, np.nan, found.estimate))
    assert family_critical(spoilt) <= family_critical(found)


def test_what_sound_panels_have_raises_no_critical_value(case: Case) -> None:
    """A difference of five errors on all panels: its t counts less five."""
    noise = np.random.default_rng(5).standard_normal((200, *case.panel.variables["y"].shape[1:]))
    found = case.family.estimator(case.panel.with_variables({"y": noise}))
    moved = np.arange(len(found.terms)) == found.terms.index("difference:trend")
    there = replace(found, estimate=found.estimate + 5.0 * found.se[:, 0] * moved)
    usual = usual_of(there)
    assert usual_of(found) == {}
    assert set(usual) == {"trend"}
    assert usual["trend"] == pytest.approx(5.0, abs=0.3)
    assert family_critical(there) > 4.0
    assert family_critical(there, usual=usual) == pytest.approx(family_critical(found), abs=0.3)
    lost = replace(there, estimate=np.where(np.arange(200)[:, None] < 100, np.nan, there.estimate))
    assert usual_of(lost)["trend"] == pytest.approx(5.0, abs=0.3)
    assert not statistics_of(lost, ("trend",), usual)[:100].any()  # a fit that is lost is no alarm


def test_what_sound_panels_have_contradicts_nothing(case: Case) -> None:
    """A claim of 5 errors without support elsewhere; of a difference as usual it is said that it cannot tell."""
    whole, text = case.family.found, ("trend",)
    d, a = (whole.terms.index(f"{head}trend") for head in ("difference:", "alternative:"))
    own = 5.0 * float(whole.se[0, 0, 0])
    moved = whole.estimate.copy()
    moved[0, [0, d, a]] = own, -9.0 * whole.se[0, 0, d], 0.0
    found = replace(whole, estimate=moved)
    assert answers_of(found, text, 3.0).tolist() == [["contradicts"]]
    assert answers_of(found, text, 3.0, usual={"trend": -8.0}).tolist() == [["cannot tell"]]
    assert answers_of(found, text, 3.0, usual={"trend": -2.0}).tolist() == [["contradicts"]]
    assert answers_of(found, text, 3.0, usual={"balanced": -8.0}).tolist() == [["contradicts"]]


def test_a_departure_moves_difference_and_alternative_and_no_other(case: Case) -> None:
    family = case.family
    moved = with_departure(family.found, ("trend",), -2.0)
    changed = [
        term for term, a, b in zip(moved.terms, moved.estimate[0], family.found.estimate[0], strict=True) if a != b
    ]
    assert changed == ["difference:trend", "alternative:trend"]
    assert moved.estimate[0, moved.terms.index("difference:trend")] == pytest.approx(family.value("trend")[0] - 2.0)
    assert answers_of(moved, ("trend",), family.critical).tolist() == [["contradicts"]]


@pytest.mark.parametrize("start", [0, None])
def test_unit_trends_never_contradict(tmp_path: Path, start: int | None) -> None:
    """An effect that grows with time since adoption, and trends that differ: unit trends take all of both alike."""
    frame = made_cities.frame().sort_values(["city", "year"])
    treated = frame.groupby("city")["d"]
    moves = treated.cumsum() if start == 0 else 2.0 * treated.transform("max") * (frame["year"] - 2010)
    noise = np.random.default_rng(8).standard_normal(len(frame)) * 0.3
    document = made(tmp_path, SPEC, frame.assign(y=(moves + noise).round(6)))
    found = of(document, "specification:city-specific linear trends")
    assert found.answer == ("differs" if start == 0 else "cannot tell")
    assert abs(found.difference) > 2.0 * (found.se or 0)
    assert "look alike" in found.sentence
    assert found.severity == 2


def test_rank_correlation_sees_a_function_of_the_outcome(tmp_path: Path) -> None:
    """y = exp(control): values within units and periods go together at .6, ranks at 1."""
    frame = made_cities.frame()
    rng = np.random.default_rng(5)
    frame["new"] = 2.5 * rng.standard_normal(len(frame)) + frame["d"]
    frame["y"], frame["road"] = np.exp(frame["new"]), (frame["road"] / 2).round()
    document = made(tmp_path, SPEC.replace('"book"]', '"book", "new"]'), frame.round(6))
    found = of(document, "outcome-again:new")
    assert abs(found.numbers["of_values"] or 0) < 0.9
    assert found.numbers["of_ranks"] == pytest.approx(1.0, abs=1e-4)
    assert found.answer == "contradicts"
    assert "ranks" in found.sentence
    ranks = frame.round(6)[["y", "road"]].rank()  # of equal values the mean one
    left = ranks - sum(ranks.groupby(frame[name]).transform("mean") for name in ("city", "year"))
    assert of(document, "outcome-again:road").numbers["of_ranks"] == pytest.approx(left["y"].corr(left["road"]))


def test_the_t_of_a_control_is_that_of_the_regression(tmp_path: Path) -> None:
    """With the cluster factor, by a regression on dummies."""
    frame = made_cities.frame().sort_values(["year", "city"])
    frame["new"] = (0.8 * frame["d"] + np.random.default_rng(4).standard_normal(len(frame))).round(6)
    found = of(made(tmp_path, SPEC.replace('"book"]', '"book", "new"]'), frame), "control-of-treatment:new")
    effects = np.column_stack([pd.get_dummies(frame[name]).to_numpy(float) for name in ("city", "year")])
    design = np.column_stack([frame["d"].to_numpy(float), effects])
    inverse = np.linalg.pinv(design, rcond=1e-10)
    y = frame["new"].to_numpy(float)
    e = y - design @ (inverse @ y)
    sums = pd.Series(inverse[0] * e).groupby(frame["city"].to_numpy()).sum()
    factor = 36 / 35 * 323 / (324 - 1 - 9)
    assert found.numbers["t"] == pytest.approx(inverse[0] @ y / np.sqrt(factor * np.square(sums).sum()), rel=1e-7)


def test_a_difference_without_an_error_is_no_move(tmp_path: Path) -> None:
    """The largest of all differences, were its error of zero taken for one."""
    case = case_of(tmp_path, SPEC)
    family = case.family
    some = family.estimator.alternatives[:3]
    words = {text: text for text in some}
    whole = case.judged("some", some, words)
    found = replace(family.found, estimate=family.found.estimate.copy(), se=family.found.se.copy())
    at = found.terms.index(f"{DIFFERENCE}{some[1]}")
    found.estimate[0, at], found.se[0, 0, at] = -100.0, 0.0
    vars(case)["family"] = replace(family, found=found)
    rest = case.judged("some", some, words)
    assert (whole.numbers["tried"], rest.numbers["tried"]) == (3.0, 2.0)
    assert rest.difference != -100.0
    assert case.judged("one", some[1:2], words) is None


def test_a_correlation_that_reads_as_zero_is_no_warning(tmp_path: Path) -> None:
    """Within large groups a mean correlation next to nothing may be significant: it is not said to be a fault."""
    case = case_of(tmp_path, SPEC.replace('outcomes = ["second"]', ""))
    e = np.zeros((9, 36))
    e[:] = np.random.default_rng(1).standard_normal((9, 36))
    found = residuals._groups(case, e, "province")
    assert (found.numbers["correlation"] or 0) > residuals.NEXT_TO_NOTHING or found.severity == 0
    assert residuals.shared(0.004, 0.001) is False
    assert residuals.shared(0.02, 0.001) is True
    assert residuals.shared(0.02, 0.2) is False


def test_a_delta_of_oster_far_from_one_says_nothing(tmp_path: Path) -> None:
    frame = made_cities.frame()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        frame["road"] = rng.standard_normal(len(frame))
        frame["y"] = frame["d"] + 1.5 * frame["road"] + 0.5 * rng.standard_normal(len(frame))
        (tmp_path / str(seed)).mkdir()
        found = of(made(tmp_path / str(seed), made_cities.PANEL, frame.round(6)), "oster-delta")
        if abs(found.numbers["delta"] or 0) > 10:
            break
    assert abs(found.numbers["delta"] or 0) > 10
    assert f"{found.numbers['delta']:.2f}" not in found.sentence
    assert "says nothing" in found.sentence
    assert found.severity == 0


def test_one_treated_cluster(tmp_path: Path) -> None:
    frame = made_cities.frame()
    only = frame.loc[frame["d"] == 1, "province"].iloc[0]
    spec = SPEC.replace('outcomes = ["second"]', "").replace(GROUPS, f'{GROUPS}cluster = "province"\n')
    real = made_cities.real_panel(tmp_path, spec, frame.assign(d=frame["d"] * (frame["province"] == only)))
    found = of(estimate(real), "one-treated-cluster")
    assert found.answer == "contradicts"
    assert found.sentence.startswith("All treated units are of one province")
    case = Case.of(real, ledger_of(real))
    assert case.effect is not None
    by_unit = replace(case, effect=replace(case.effect, se_type="cr2:unit"))
    (judged,) = (one for one in inputs.check(by_unit) if one.name == found.name)
    assert (judged.severity, judged.sentence.endswith("the errors of the claim do not allow.")) == (INFORMS, True)


@pytest.mark.parametrize("power", [0.8, 0.985])
def test_at_most_one_panel_in_twenty_is_contradicted_where_nothing_is_wrong(power: float) -> None:
    """100 x 14, 40 treated at three dates, AR(.3), one constant effect found with power .8 and .985; 200 panels.

    The family: each of ten groups and cohort left out, unit trends, slopes, placebos, cohort by cohort; its critical
    value is that of each panel's own multipliers.
    """
    rng, rows, n, t = np.random.default_rng(20250402), 200, 100, 14
    first = np.repeat([5, 8, 11, 14], [14, 13, 13, 60])
    d = (np.arange(t)[:, None] >= first).astype(float)
    e = rng.standard_normal((rows, t, n))
    for period in range(1, t):
        e[:, period] = 0.3 * e[:, period - 1] + np.sqrt(1 - 0.09) * e[:, period]
    e += rng.standard_normal((rows, 1, n))
    groups = {"group": np.array([f"g{i % 10}" for i in range(n)])}
    bare = Panel(tuple(f"u{i}" for i in range(n)), tuple(range(t)), {"y": e, "d": d[None]}, Roles("y", "d"), groups)
    sd = Differences(alternatives=())(bare).estimate[:, 0].std()
    panel = bare.with_variables({"y": e + (stats.t.ppf(0.975, 99) + stats.norm.ppf(power)) * sd * d})
    texts = (*(f"without:group=g{i}" for i in range(10)), *(f"without-cohort:{k}" for k in (5, 8, 11)),
             "effects:unit-trend", "effects:group-by-period", "trend", "lead:1", "lead:2", "lead:3",
             "cohort-wise")  # fmt: skip
    estimator = Differences(alternatives=texts)
    found, stacked = estimator(panel), estimator.stacked(panel)
    claimed = found.estimate[:, 0] / found.se[:, 0, 0] > stats.t.ppf(0.975, 99)
    assert abs(claimed.mean() - power) < 0.09
    drawn = multipliers("rademacher", 999, n, rng)
    critical = np.maximum(simultaneous_critical_values(stacked.influence[:, 1::2], drawn, 0.05), 1.984)
    fired = np.array(["contradicts" in answers_of(found.take(slice(row, row + 1)), texts, float(critical[row]))[0]
                      for row in range(rows)])  # fmt: skip
    assert fired[claimed].mean() <= 0.05


SPATIAL = SPEC.replace('outcomes = ["second"]', "") + '[[weights]]\nkind = "knn"\nk = 5\n'


def spatial_case(folder: Path, term: str = "did") -> Case:
    real = made_cities.real_panel(folder, SPATIAL)
    ledger = filled(spatial_models.add, real)
    fitted = next(f for f in ledger.fitted if (f.fit.model, f.fit.transform, f.fit.weights) == ("sdm", "direct", "w"))
    record = next(r for r in ledger.records if r.place == fitted.fit.place and r.term == term
                  and (r.model, r.transform, r.weights) == ("sdm", "direct", "w"))  # fmt: skip
    return Case.of_claim(real, ledger, fitted, term, record)


def test_a_spatial_claim_is_held_to_another_w(case: Case, tmp_path: Path) -> None:
    """The estimate under the other W is that of table 7, with the claim of table 7 as what it differs from."""
    assert list(another_w.check(case)) == []  # a two-way claim
    spatial = spatial_case(tmp_path)
    assert spatial.family is None
    (found,) = another_w.check(spatial)
    assert (found.numbers["tried"], found.alternative) == (1.0, "with W knn-5")
    other = next(r for r in spatial.ledger.records if r.term == "did" and (r.model, r.transform, r.weights)
                 == ("sdm", "direct", "knn-5"))  # fmt: skip
    assert found.numbers["estimate"] == pytest.approx(other.estimate, rel=1e-6)
    assert found.difference == pytest.approx((other.estimate or 0) - spatial.effect_value, rel=1e-5)
    assert 0 < (found.se or 0) < 2 * (found.numbers["estimate_se"] or 0)
    assert next(another_w.check(spatial_case(tmp_path, "indirect:did"))).difference != found.difference
    own = another_w.both_ways(spatial.panel.weights["w"])
    assert list(another_w.check(replace(spatial, panel=replace(spatial.panel, weights={"w": own})))) == []


def test_links_that_go_one_way_are_tried_both_ways(tmp_path: Path) -> None:
    near = made_cities.nearest(4)
    both = another_w.both_ways(near)
    linked = near.dense > 0
    np.testing.assert_array_equal(both.dense > 0, linked | linked.T)
    degree = (linked | linked.T).sum(axis=1)
    np.testing.assert_allclose(both.dense, (linked | linked.T) / degree[:, None])


def test_an_index_is_held_against_other_indices(tmp_path: Path) -> None:
    """With equal weights, and without each of three indicators, in the scale of the claim's index."""
    text = made_cities.PANEL.replace('outcome = "y"\n', "") + (
        '[index]\nname = "h"\npositive = ["y", "gdp"]\nnegative = ["patents"]\n'
    )
    case = case_of(tmp_path, text)
    scores = dict(index_weights.others(case.panel, ("y", "gdp"), ("patents",)))
    assert list(scores) == ["with equal weights", "without y", "without gdp", "without patents"]
    parts = [case.panel.variables[name][0] for name in ("y", "gdp", "patents")]
    scaled = [(x - x.min()) / (x.max() - x.min()) for x in parts]
    np.testing.assert_allclose(scores["with equal weights"][0], (scaled[0] + scaled[1] + 1 - scaled[2]) / 3)
    scaled[2] = 1 - scaled[2]
    for k, name in enumerate(("y", "gdp", "patents")):
        rest = [x for j, x in enumerate(scaled) if j != k]
        shares = [(x / x.sum()).ravel() for x in rest]
        weights = [1 + sum(p * np.log(p) for p in share if p > 0) / np.log(share.size) for share in shares]
        by_entropy = sum(w * x for w, x in zip(weights, rest, strict=True)) / sum(weights)
        np.testing.assert_allclose(scores[f"without {name}"][0], by_entropy, rtol=1e-9)
    (found,) = index_weights.check(case)
    assert found.numbers["tried"] == 4.0
    equal = case.family.value("outcome:index with equal weights", ALTERNATIVE)[0]
    frame = made_cities.frame().sort_values(["year", "city"])
    by_hand = dummies(frame.assign(y=scores["with equal weights"][0].ravel()), "city", "year")
    scale = case.panel.variables["h"].std() / scores["with equal weights"].std()
    assert equal == pytest.approx(by_hand * scale, rel=1e-8)
    served = case.family.estimator.served(case.panel)  # a panel without those variables, as a twin is
    assert not [text for text in served.alternatives if text.startswith("outcome:")]


@pytest.mark.parametrize(("p", "severity"), [(0.09, SILENT), (0.11, WEAKENS)])
def test_error_types_disagree_about_ten_percent(case: Case, p: float, severity: int) -> None:
    records = [replace(one, pvalue=p if one.se_type == "iid" else 0.01) for one in case.ledger.records]
    found = specifications._error_types(replace(case, ledger=replace(case.ledger, records=records)))
    assert found.severity == severity


def test_missing_cells_are_held_to_units_that_have_none(tmp_path: Path) -> None:
    spec = made_cities.PANEL.replace('controls = ["road", "book"]', 'controls = ["road", "book"]\nmissing = "drop"')
    case = case_of(tmp_path, spec, made_cities.frame_with_gaps())
    (found,) = missing_cells.check(case)
    frame = made_cities.frame_with_gaps().dropna(subset=["y", "d", "road", "book"])
    whole = frame.groupby("city")["year"].transform("size") == 9
    assert found.numbers["estimate"] == pytest.approx(dummies(frame[whole], "city", "year"), rel=1e-8)
    assert found.numbers["share"] == pytest.approx(1 - len(frame) / 324)
    assert found.alternatives == ("balanced",)


def test_spillovers_are_the_coefficient_beside_the_neighbours(case: Case, tmp_path: Path) -> None:
    assert list(spillovers.alternatives(case_of(tmp_path, SPATIAL))) == ["neighbours:w"]  # of the main W alone
    (found,) = spillovers.check(case)
    frame = made_cities.frame().sort_values(["year", "city"])
    exposure = frame["d"].to_numpy(float).reshape(9, 36) @ made_cities.neighbours().dense.T
    by_hand = dummies(frame.assign(w_d=exposure.ravel()), "city", "year", regressors=("d", "w_d", "road", "book"))
    assert found.numbers["estimate"] == pytest.approx(by_hand, rel=1e-8)
    assert found.unit == "y"


def test_much_negative_weight_weakens(tmp_path: Path) -> None:
    """Half of the cities adopt in the second of nine years, half in the last: -7/18 of the former in the last year."""
    frame = made_cities.frame()
    frame["d"] = (frame["year"] >= np.where(frame["code"] % 2, 2011, 2018)).astype(int)
    *_, found = staggered.check(
        case_of(tmp_path, made_cities.PANEL.replace('controls = ["road", "book"]\n', ""), frame)
    )
    assert found.numbers["negative_sum"] == pytest.approx(-7 / 18 / (7 / 9))
    assert found.severity == WEAKENS


def test_why_there_is_no_slope_of_trends_is_said_in_plain_words(tmp_path: Path) -> None:
    frame = made_cities.frame()
    frame["d"] = (frame["year"] >= np.where(frame["code"] % 2, 2012, 2014)).astype(int)
    first, *_ = trends.check(case_of(tmp_path, made_cities.PANEL, frame))
    assert first.sentence == "There is no slope of trends: no unit is never treated."


def test_a_claim_of_a_subsample_is_judged_on_it(tmp_path: Path) -> None:
    """Table 3's column without capitals: its own units, error and needs."""
    real = made_cities.real_panel(tmp_path, SPEC.replace(GROUPS, f'{GROUPS}capital = "is_capital"\n'))
    ledger = filled(regressions.add, real)
    fitted = next(item for item in ledger.fitted if item.fit.place[0] == "3" and len(item.panel.units) < 36)
    record = next(r for r in ledger.records if r.place == fitted.fit.place and (r.term, r.se_type)
                  == ("did", "cluster:unit"))  # fmt: skip
    case = Case.of_claim(real, ledger, fitted, "did", record)
    own = case.family.found
    assert (own.estimate[0, 0], own.se[0, 0, 0]) == pytest.approx((record.estimate, record.se), rel=1e-9)
    names = {check.name for check in checks_of(case)}
    assert "unequal-trends" in names
    assert "specification-curve" not in names  # that of the headline


@pytest.mark.parametrize("treated", [1, 3])
def test_few_treated_clusters_tell_no_difference_too_often(tmp_path: Path, treated: int) -> None:
    """Sound panels, parallel trends: random signs of few clusters would tell one in most of them."""
    world = World("few treated", units=40, dates=((7, treated),))
    told = []
    for number in range(16 if treated > 1 else 4):  # with one there is nothing to tell, and a sentence says why
        warnings = estimate(world.real(tmp_path, number, 2.0)).warnings
        found = [one for one in warnings if one.alternatives]
        assert bool(found) == (treated > 1)
        told.append(any(one.answer in ("differs", "contradicts") for one in found))
        (why,) = [one.sentence for one in warnings if one.name == "unequal-trends"]
        assert why.startswith("There is no test of a difference to another estimate: one cluster alone has treated "
                              "units") == (treated == 1)  # fmt: skip
    assert sum(told) <= 3  # of a rate of 5% more with a probability of 0.7%


def test_the_critical_value_of_few_treated_clusters_has_their_degrees_of_freedom(tmp_path: Path) -> None:
    """That of t at the probability of the multipliers' one."""
    real = World("four treated", units=40, dates=((7, 4),)).real(tmp_path, 0, 2.0)
    case = Case.of(real, filled(regressions.add, real))
    assert (case.few, case.freedom(39.0), case.freedom(2.0)) == (4, 3.0, 2.0)
    drawn = multipliers("rademacher", 1999, 40, case.random("differences"))
    influence = case.family.estimator.stacked(case.panel).influence[:, 1::2]
    value = float(simultaneous_critical_values(influence, drawn, 0.05)[0])
    assert case.family.critical == pytest.approx(stats.t.ppf(stats.norm.cdf(value), 3))
    other = replace(case, term="inv")  # a claim on another variable hangs on no treated clusters
    assert (other.few, other.freedom(35.0), other.untold) == (0, 35.0, "")
