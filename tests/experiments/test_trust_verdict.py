"""Which errors to print, and the rules of the verdict: each alone, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from experiments.checks.two_stages import DISAGREE
from experiments.trust.document import EXOGENOUS, LIMITS, PARALLEL, rules, verdict
from experiments.trust.evidence import Evidence, Lean, MeasureWithError
from experiments.trust.recommend import advice, assigned_by, forbidden_of
from experiments.trust.trust import Ask, Trust
from results.diagnosis.power import Detectable
from results.tables.records import OVERTURNS, SILENT, WEAKENS, Check
from sim.panel import Panel
from sim.schema import Roles


def panel(treated: int, units: int, groups: Mapping[str, Any] | None = None, periods: int = 8) -> Panel:
    """The first units adopt half way; groups: labels of units by the name of their attribute."""
    dose = ((np.arange(periods)[:, None] >= periods // 2) & (np.arange(units) < treated)) * 1.0
    y = np.random.default_rng(3).standard_normal((1, periods, units))
    return Panel(tuple(f"u{i:03d}" for i in range(units)), tuple(range(2001, 2001 + periods)),
                 {"y": y, "did": dose[None]}, Roles("y", "did"),
                 {name: np.array(labels) for name, labels in (groups or {}).items()})  # fmt: skip


def blocks(units: int, size: int) -> list[str]:
    return [f"g{i // size:02d}" for i in range(units)]


def test_whole_groups_that_adopt_are_found() -> None:
    """60 units in groups of 5, of which the first 6 adopt; with a group cut in two, units adopt by themselves."""
    assert assigned_by(panel(30, 60, {"province": blocks(60, 5)})) == "province"
    assert assigned_by(panel(31, 60, {"province": blocks(60, 5)})) == ""
    assert assigned_by(panel(30, 60)) == ""


def test_of_several_groupings_the_one_with_the_fewest_groups_counts() -> None:
    both = {"county": blocks(60, 5), "province": blocks(60, 15)}
    assert assigned_by(panel(30, 60, both)) == "province"
    assert assigned_by(panel(30, 60, {name: both[name] for name in ("province", "county")})) == "province"
    assert assigned_by(panel(15, 60, both)) == "province"  # one province that adopts as a whole is assigned too
    assert assigned_by(panel(20, 60, both)) == "county"  # the second province is cut, the counties are whole
    assert assigned_by(panel(5, 60, both)) == "county"  # one whole county, a third of a province


def test_groups_that_are_units_or_all_are_no_groups() -> None:
    whole = panel(30, 60, {"code": [f"c{i}" for i in range(60)], "country": ["x"] * 60})
    assert assigned_by(whole) == ""
    two = {"half": ["a"] * 30 + ["b"] * 30}
    assert assigned_by(panel(30, 60, two)) == ""  # they say no more than the date


def test_groups_that_adopt_at_different_dates_are_whole_where_their_units_do_alike() -> None:
    one = panel(30, 60, {"province": blocks(60, 5)})
    dose = one.variables["did"].copy()
    dose[0, 2:, :5] = 1.0
    assert assigned_by(one.with_variables({"did": dose.copy()})) == "province"
    dose[0, 1, 0] = 1.0
    assert assigned_by(one.with_variables({"did": dose})) == ""


@pytest.mark.parametrize(("error", "treated", "units", "words"), [
    ("cluster:unit", 20, 40, ""),
    ("cluster:unit", 19, 60, "19 clusters have treated units, and these errors need 20"),
    ("cluster:unit", 41, 60, "19 clusters have untreated units, and these errors need 20"),
    ("cluster:unit", 20, 200, "clusters: 200, which count as 24.7, needed: 30"),
    ("cluster:unit+period", 19, 60, "19 clusters have treated units, and these errors need 20"),
    ("cluster:unit+period", 20, 40, ""),
    ("cluster:unit", 1, 60, "1 cluster has treated units, and these errors need 20"),
    ("cr2:unit", 4, 40, ""),
    ("cr2:unit", 3, 40, "3 clusters have treated units, and these errors need 4"),
    ("cv3:unit", 8, 40, ""),
    ("cv3:unit", 7, 40, "7 clusters have treated units, and these errors need 8"),
    ("conley-taber", 3, 40, ""),
    ("ferman-pinto", 3, 40, ""),
    ("conley-taber", 4, 40, "equally noisy"),
    ("ferman-pinto", 4, 40, "equally noisy"),
    ("iid", 4, 40, ""),
    ("iid", 3, 40, "3 units are treated, and these errors need 4"),
    ("hc1", 1, 40, "1 unit is treated, and these errors need 4"),
    ("driscoll-kraay", 1, 40, "1 unit is treated, and these errors need 4"),
    ("iid", 36, 40, ""),
    ("iid", 37, 40, "3 units are untreated while others are treated, and these errors need 4"),
    ("hc1", 39, 40, "1 unit is untreated while others are treated, and these errors need 4"),
])  # fmt: skip
def test_what_an_error_type_needs(error: str, treated: int, units: int, words: str) -> None:
    """Units count by their shares g of the variance: (sum g)^2 / sum g^2, and 1/n_1^2 or 1/n_0^2 at one date."""
    found = forbidden_of((error,), panel(treated, units)).get(error, "")
    assert (found == "") == (words == "")
    assert words in found


def test_whole_groups_ask_for_clusters_of_groups() -> None:
    """60 provinces of 3 units, 30 of which adopt: what does not cluster by province is out, with the reason."""
    one = panel(90, 180, {"province": blocks(180, 3)})
    errors = ("iid", "hc1", "driscoll-kraay", "cluster:unit", "cluster:unit+period", "cr2:unit", "cluster:province",
              "cr2:province", "cv3:province")  # fmt: skip
    found = forbidden_of(errors, one)
    assert set(errors) - set(found) == {"cluster:province", "cr2:province", "cv3:province"}
    assert all("province" in found[error] for error in found)


def test_three_clusters_are_never_allowed() -> None:
    one = panel(30, 60, {"region": [f"r{i % 3}" for i in range(60)]})
    errors = ("cluster:region", "cr2:region", "cv3:region", "cluster:region+period")
    assert set(forbidden_of(errors, one)) == set(errors)


def test_without_a_treatment_nothing_is_asked() -> None:
    one = panel(30, 60)
    free = Panel(one.units, one.periods, {"y": one.variables["y"], "x": one.variables["did"]}, Roles("y", None, ("x",)))
    assert forbidden_of(("iid", "cluster:unit"), free) == {}


FEW = ("iid", "cluster:unit", "conley-taber", "ferman-pinto")
RIGHT = {"iid": 0.30, "hc1": 0.05, "cluster:unit": 0.058}
NAN = float("nan")
LARGE = ", which is too often: its p values are too small"
INSTEAD = (
    "errors clustered by unit do not serve here (3 clusters); the test of errors clustered by unit, bias-reduced (CR2) "
    "rejects in {} of twins without an effect"
)
ADVICE: dict[str, tuple[dict[str, float], float, str, dict[str, str], str, str]] = {
    # sizes with one Monte Carlo error, the printed type, why types are forbidden -> the type to print, its reason
    "the printed one is right": (
        RIGHT, 0.005, "cluster:unit", {}, "cluster:unit", "its test rejects in 5.8% of twins without an effect"),
    "the one that assumes least of those that are right": (
        RIGHT, 0.005, "iid", {}, "cluster:unit",
        "its test rejects in 5.8% of twins without an effect, that of errors homoskedastic in 30.0%"),
    # beyond the tolerance of .01 lie .002 above, twice that is .004, and .0035 or .0045 below
    "too few findings count once": ({"a": 0.20, "b": 0.062, "c": 0.0365}, 0.0, "a", {}, "c", ""),
    "too many findings count double": ({"a": 0.20, "b": 0.062, "c": 0.0355}, 0.0, "a", {}, "b", ""),
    "an unknown size": ({"a": 0.20, "b": 0.062, "c": 0.0365, "nan": NAN}, 0.0, "a", {}, "c", ""),
    "the printed one's size is unknown": ({"a": 0.20, "b": 0.062, "c": 0.0365, "nan": NAN}, 0.0, "nan", {}, "c", ""),
    "the nearest of those that are right": ({"a": 0.20, "b": 0.057, "c": 0.052}, 0.001, "a", {}, "c", ""),
    "the printed one is forbidden": (
        {"cluster:unit": 0.05, "hc1": 0.09, "cr2:unit": 0.07}, 0.005, "cluster:unit", {"cluster:unit": "3 clusters"},
        "cr2:unit", INSTEAD.format("7.0%") + LARGE),
    "the printed one is forbidden, another is right": (
        {"cluster:unit": 0.05, "hc1": 0.09, "cr2:unit": 0.06}, 0.005, "cluster:unit", {"cluster:unit": "3 clusters"},
        "cr2:unit", INSTEAD.format("6.0%")),
    "nothing is allowed: inference for few treated first": (
        dict(zip(FEW, (0.05, 0.4, 0.08, 0.11), strict=True)), 0.005, "cluster:unit", dict.fromkeys(FEW, "1 is treated"),
        "conley-taber", "no error type is safe here (1 is treated); the nearest to 5% of those for few treated units "
        "is placebos of never treated units (Conley and Taber)"),
    "inference for few treated of a given size": (
        {"iid": 0.05, "ferman-pinto:people": 0.2}, 0.005, "iid", dict.fromkeys(("iid", "ferman-pinto:people"), "few"),
        "ferman-pinto:people", ""),
    "nothing is allowed, and there is none for few": (
        {"iid": 0.05, "cluster:unit": 0.4}, 0.005, "cluster:unit", dict.fromkeys(FEW, "1 is treated"), "iid",
        "no error type is safe here (1 is treated); the nearest to 5% is homoskedastic"),
    "no size is known": ({"a": NAN}, NAN, "a", {}, "a", "no error type could be judged on twins"),
    "the printed one is the nearest": (
        {"a": 0.10, "b": 0.20}, 0.001, "a", {}, "a", "no other has a size nearer to 5%: 10.0% on twins"),
}  # fmt: skip


@pytest.mark.parametrize("case", ADVICE)
def test_the_errors_to_print(case: str) -> None:
    sizes, mcse, printed, forbidden, error, reason = ADVICE[case]
    found = advice({name: MeasureWithError(size, mcse) for name, size in sizes.items()}, printed, forbidden)
    assert found == (error, reason or found[1])


def test_of_right_sizes_those_come_first_that_assume_least() -> None:
    left = {"a": 0.20, "iid": 0.05, "cv3:unit": 0.049, "cr2:unit": 0.06, "conley-taber": 0.05}
    for first in ("cr2:unit", "cv3:unit", "conley-taber", "iid"):
        assert advice({error: MeasureWithError(value, 0.01) for error, value in left.items()}, "a", {})[0] == first
        del left[first]


@pytest.mark.parametrize(("size", "stays"), [(0.079, True), (0.081, False), (0.021, True), (0.019, False)])
def test_a_size_is_right_within_a_point_and_two_monte_carlo_errors(size: float, stays: bool) -> None:
    sizes = {"a": MeasureWithError(size, 0.01), "b": MeasureWithError(0.05, 0.01)}
    assert (advice(sizes, "a", {})[0] == "a") is stays


def test_one_rejection_of_128_is_no_wrong_size() -> None:
    """sqrt(.05 x .95 / 128) = .019, and not the .008 of the share itself."""
    one = MeasureWithError(1 / 128, float(np.sqrt(1 / 128 * 127 / 128 / 128)), 128)
    assert advice({"a": one, "b": MeasureWithError(0.05, 0.019, 128)}, "a", {})[0] == "a"


def test_one_treated_unit_never_gets_homoskedastic_errors() -> None:
    errors = ("cluster:unit", "iid", "hc1", "cr2:unit", "cv3:unit", "conley-taber", "ferman-pinto", "driscoll-kraay",
              "cluster:unit+period")  # fmt: skip
    forbidden = forbidden_of(errors, panel(1, 40))
    assert set(errors) - set(forbidden) == {"conley-taber", "ferman-pinto"}
    sizes = dict.fromkeys(errors, MeasureWithError(0.05, 0.005)) | {"conley-taber": MeasureWithError(0.12, 0.005),
                                                            "ferman-pinto": MeasureWithError(0.09, 0.005)}  # fmt: skip
    assert advice(sizes, "cluster:unit", forbidden)[0] == "ferman-pinto"
    assert advice(sizes, "iid", forbidden)[0] == "ferman-pinto"


def record(p: float | None) -> Any:
    return SimpleNamespace(term="did", table="2", column=5, transform=None, weights=None, pvalue=p)


FINE = ((0.002, 0.001, 999),)  # a calibrated p value, its Monte Carlo error, twins


def study(method: str, p: MeasureWithError, rejects: float = 0.051) -> Any:
    """What the study of one method found: a calibrated p value, and how often its test rejects."""
    return SimpleNamespace(
        method=method, p=p, size=lambda _: MeasureWithError(rejects, 0.003), effects=(0.0, 0.2, -0.4)
    )


def claim_of(estimate: float, *, continuous: bool = False) -> Any:
    """What of a claim the rules look at."""
    return SimpleNamespace(estimate=estimate, text="did", called="did", real=SimpleNamespace(called="did"),
                           panel=SimpleNamespace(roles=Roles(continuous=continuous)))  # fmt: skip


def trust(
    p: float | None = 0.001, advised: float | None = 0.001, calibrated: tuple[tuple[Any, ...], ...] = FINE,
    printed: str = "cluster:unit", recommended: str = "cluster:unit", estimate: float = 0.5, **more: Any,
) -> Trust:  # fmt: skip
    """A page with the numbers that rules look at; all is well unless said."""
    voters = tuple(study(f"method{k}", MeasureWithError(*one)) for k, one in enumerate(calibrated))
    made = {
        "record": record(p), "advised": record(advised), "printed": printed, "recommended": recommended,
        "reason": "a reason", "forbidden": {}, "mde": Detectable(0.8, 0.3, 0.2, 0.4), "voters": voters,
        "main": voters[0], "calibrated": lambda by=None: (by or voters[0]).p, "checks": (), "evidence": Evidence(),
        "claim": claim_of(estimate), "asked": 0.3, "race": None,
    }  # fmt: skip
    return cast(Trust, SimpleNamespace(**made | more))


def moved(answer: str, name: str = "leave-out:province") -> Check:
    return Check(name, f"The sentence of {name}.", answer, difference=-0.4)  # type: ignore[arg-type]


LEAN = Lean(0.02, 0.1, -0.2, 0.4, True)
FORBIDDEN = {"cluster:unit": "three clusters are too few"}


@pytest.mark.parametrize("effect", [0.02, -0.02])
def test_the_effect_that_is_asked_for_has_the_sign_of_the_claim(effect: float) -> None:
    page = SimpleNamespace(claim=claim_of(-0.5), ask=Ask(effect=effect))
    assert Trust.asked.fget(page) == -0.02  # type: ignore[attr-defined]


def test_where_nothing_is_wrong_the_claim_is_supported() -> None:
    found = verdict(trust(checks=(moved("consistent"), moved("differs"), moved("cannot tell"), Check("fact", "x"))))
    assert found.answer == "supported"
    assert found.reason == ("p is 0.001 with errors clustered by unit and 0.002 calibrated on twins, and none of 3 "
                            "other estimates contradicts it; 1 of them cannot tell; 1 of them differs by more than "
                            "chance (leave-out:province: 0.1 instead of 0.5).")  # fmt: skip
    assert found.line == f"Supported: {found.reason}"
    larger = replace(moved("differs", "larger"), difference=0.2)
    assert verdict(trust(checks=(larger,))).reason.endswith("; 1 of them differs by more than chance.")
    both = (larger, replace(moved("differs", "trend"), difference=-0.3, alternative="less a trend"))
    two = "2 of them differ by more than chance (less a trend: 0.2 instead of 0.5)."
    assert verdict(trust(checks=both)).reason.endswith(two)
    mirrored = (replace(moved("differs"), difference=0.4, alternative="less a trend"),)
    assert verdict(trust(checks=mirrored, estimate=-0.5)).reason.endswith("(less a trend: -0.1 instead of -0.5).")
    assert (
        "and 0.001 calibrated on twins, the smallest that 999 twins can give."
        in verdict(trust(calibrated=((0.001, 0.0, 999),))).reason
    )
    assert found.sentences[-1] == PARALLEL
    assert "another policy" in LIMITS[-1]  # that begins with the treatment
    assert LIMITS[-1].endswith("A claim that rests on it is supported like any other.")
    assert verdict(trust(claim=claim_of(0.5, continuous=True))).sentences[-1] == EXOGENOUS
    assert verdict(trust()).reason == "p is 0.001 with errors clustered by unit and 0.002 calibrated on twins."


ALONE: dict[str, tuple[dict[str, Any], str, str]] = {
    "no effect is claimed": ({"p": 0.11, "advised": 0.2}, "no claim", "detects an effect of 0.3 with a power of 80%"),
    "a check contradicts": ({"checks": (moved("contradicts"),)}, "contradicted", "sentence of leave-out:province"),
    "a fact speaks against it": ({"checks": (Check.fact("codes", OVERTURNS, "It is -999."),)}, "not decided", "-999"),
    "a trend leans": ({"evidence": Evidence(lean=LEAN)}, "not decided", "as much or more in 2.0% of twins"),
    "a rare joint test": ({"evidence": Evidence(pretrend=0.01)}, "not decided", "as large in 1.0% of twins"),
    "no error type is safe": ({"forbidden": FORBIDDEN}, "not decided", "three clusters are too few"),
    "the errors to print": ({"advised": 0.07}, "not decided", "p = 0.070"),
    "no p value": ({"advised": None}, "not decided", "there is no p value"),
    "calibrated": ({"calibrated": ((0.09, 0.01),)}, "not decided", "method0"),
    "calibrated by the second": ({"calibrated": ((0.01, 0.01), (0.09, 0.01))}, "not decided", "method1"),
    "calibrated by none": ({"calibrated": ((float("nan"), 0.01),)}, "not decided", "method0"),
}  # fmt: skip


def test_an_effect_beyond_those_simulated_is_not_said_to_be_detected() -> None:
    found = verdict(trust(p=0.11, advised=0.2, mde=Detectable(0.8, 0.5, 0.4, 0.6)))
    assert "detects no effect up to 0.4, the largest that was simulated, with a power of 80%" in found.reason


def test_a_p_value_just_above_a_level_is_not_told_as_that_level() -> None:
    assert "(p = 0.1004 with errors" in verdict(trust(p=0.1004, advised=0.2)).reason
    assert verdict(trust(advised=0.0504)).reason.endswith("p = 0.0504.")


@pytest.mark.parametrize("name", ALONE)
def test_each_rule_alone(name: str) -> None:
    changes, answer, words = ALONE[name]
    found = verdict(page := trust(**changes))
    assert (found.answer, words in found.reason) == (answer, True)
    assert len([*rules(page)]) == 1 + (name == "no effect is claimed")


@pytest.mark.parametrize(("changes", "answer"), [
    ({"p": 0.10, "advised": 0.5}, "not decided"),  # claimed at 10% by the printed errors
    ({"p": 0.5, "advised": 0.10}, "not decided"),
    ({"p": None, "advised": None}, "no claim"),
    ({"p": None, "advised": 0.01}, "supported"),
    ({"p": 0.20, "advised": 0.01}, "supported"),
    ({"advised": 0.05}, "supported"),
    ({"advised": 0.0501}, "not decided"),
    ({"calibrated": ((0.07, 0.0101),)}, "supported"),  # within two Monte Carlo errors of 5%
    ({"calibrated": ((0.07, 0.0099),)}, "not decided"),
    ({"evidence": Evidence(pretrend=0.0101)}, "supported"),
    ({"evidence": Evidence(lean=Lean(0.02, 0.1, -0.2, 0.4, False))}, "supported"),
])  # fmt: skip
def test_edges_of_the_rules(changes: dict[str, Any], answer: str) -> None:
    assert verdict(trust(**changes)).answer == answer


def test_the_first_rule_that_applies_answers_and_the_others_are_said() -> None:
    names = [name for name in ALONE if not name.startswith(("no effect", "no p", "calibrated by"))]
    for first, second in pairwise(names):
        changes = ALONE[first][0] | ALONE[second][0]
        if {"evidence"} <= ALONE[first][0].keys() & ALONE[second][0].keys():
            changes["evidence"] = Evidence(lean=LEAN, pretrend=0.01)
        if {"checks"} <= ALONE[first][0].keys() & ALONE[second][0].keys():
            changes["checks"] = (*ALONE[second][0]["checks"], *ALONE[first][0]["checks"])
        found = verdict(trust(**changes))
        assert found.answer == ALONE[first][1]
        assert ALONE[first][2] in found.reason
        assert any(ALONE[second][2] in sentence for sentence in found.sentences)


def test_two_stages_that_disagree_are_said_first_and_decide_nothing() -> None:
    apart = Check.fact(DISAGREE, WEAKENS, "OLS and 2SLS disagree: so they say.")
    found = verdict(trust(checks=(moved("consistent"), apart)))
    assert (found.answer, found.sentences[0]) == ("supported", apart.sentence)
    assert "none of 1 other estimates contradicts it; 2SLS with the spec's instruments, which disagrees" in found.reason
    agreeing = Check.fact(DISAGREE, SILENT, "OLS and 2SLS disagree: so they say.", "They agree.")
    assert "2SLS" not in " ".join((lambda one: (one.reason, *one.sentences))(verdict(trust(checks=(agreeing,)))))


def test_without_a_claim_no_other_reason_is_said() -> None:
    found = verdict(trust(p=0.5, advised=0.5, checks=(moved("contradicts"),), evidence=Evidence(lean=LEAN)))
    assert found.answer == "no claim"
    assert found.line.startswith("No claim: no effect is claimed (p = 0.50 with errors clustered by unit).")
    assert not any("sentence of" in sentence or "lean" in sentence for sentence in found.sentences)


def test_of_contradictions_that_of_trends_is_the_reason() -> None:
    page = trust(checks=(moved("contradicts"), moved("differs", "cohort-wise"), moved("contradicts", "unequal-trends")))
    found = verdict(page)
    assert found.reason == "The sentence of unequal-trends."
    assert "The sentence of leave-out:province." in found.sentences
    assert "The sentence of cohort-wise." not in found.sentences


def test_a_page_without_a_p_value_never_calls_the_estimate_significant() -> None:
    said = " ".join(verdict(trust(p=None, advised=None)).sentences)
    assert "not significant at 10%" in said
    assert "no p value" in said
    assert "significant at 1%" not in said
    for p, level in {0.01: 1, 0.011: 5, 0.05: 5, 0.1: 10}.items():
        assert f", significant at {level}% with errors" in verdict(trust(p=p)).sentences[0]


def test_other_errors_to_print_are_said_with_their_reason() -> None:
    found = verdict(trust(recommended="cr2:unit", advised=0.3))
    assert "Print errors" in found.sentences[2]
    assert "a reason" in found.sentences[2]
    assert found.reason.endswith("p = 0.300.")
    assert not any("Print errors" in sentence for sentence in verdict(trust()).sentences)


def test_rates_are_said_where_checks_run_on_twins() -> None:
    evidence = Evidence(None, None, None, None, 0.021, 0.834, 0.013)
    said = verdict(trust(evidence=evidence, asked=-0.3)).sentences
    assert any("supported in 2.1% of cases without an effect and in 83.4% where the effect is -0.3; 1.3% of claims"
               in sentence for sentence in said)  # fmt: skip
    assert not any("a claim is supported" in sentence for sentence in verdict(trust()).sentences)


def test_a_claim_that_is_supported_while_another_estimator_is_advised_says_what_the_verdict_is_about() -> None:
    race = SimpleNamespace(better=True, best="unit-trends", reason="It misses less.", advice="Use unit-trends.")
    found = verdict(trust(race=race))
    assert found.scope == "Supported means that there is an effect; how large it is, unit-trends tells better."
    assert found.sentences[2:5] == (race.reason, race.advice, found.scope)
    assert verdict(trust(race=race, p=0.2, advised=0.2)).scope == ""
    for valid, said in (
        (False, "Supported means that there is an effect, not how large it is."),
        (True, ""),
    ):
        race = SimpleNamespace(
            better=False, own="did", valid=lambda name, valid=valid: valid, answer="It is not valid."
        )
        assert verdict(trust(race=race)).scope == said


def test_methods_whose_twins_give_another_size_are_named() -> None:
    voters = tuple(study(name, MeasureWithError(0.002, 0.001), size)
                   for name, size in (("parametric", 0.051), ("factor", 0.058), ("residual", 0.107)))  # fmt: skip
    said = verdict(trust(voters=voters, main=voters[0])).sentences[1]
    assert said.endswith("rejects in 5.1% of cases where there is no effect (in 10.7% by the method residual).")
