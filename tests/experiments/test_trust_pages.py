"""Pages of panels whose law is known: they are not all alike, and a negative claim is the mirror of a positive one."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from scipy import stats
from verdict_worlds import SMALL, World, by_method

import panelproof as pp
from experiments.panel_spec.spec import RealPanel
from experiments.trust.claim import assigned_by, claim_of
from experiments.trust.document import document, opening, print_trust, verdict
from experiments.trust.evidence import TermFits
from experiments.trust.recommend import forbidden_of
from experiments.trust.trust import Trust, trust
from results.report.panel_pages import trust_page
from sim.errors import BadInput

WORLD = World("small staggered", **SMALL, dates=((4, 7), (6, 7), (8, 6)))


def with_moved_control(folder: Path) -> RealPanel:
    """A panel with a control that the treatment moves, so that twins, which keep it, differ wherever it is left out."""
    real, rng = WORLD.real(folder, 1, 2.0 * WORLD.detectable()), np.random.default_rng(5)
    d = real.panel.variables["did"]
    x = 2.0 * d + rng.standard_normal(d.shape)
    panel = real.panel.with_variables({"x": x, "y": real.panel.variables["y"] + x})
    asked = real.spec.panel.model_copy(update={"controls": ("x",)})
    return by_method(replace(real, panel=replace(panel, roles=replace(panel.roles, controls=("x",))),
                             spec=real.spec.model_copy(update={"panel": asked})), "parametric")  # fmt: skip


def test_a_control_that_the_treatment_moves_blinds_no_other_check(tmp_path: Path) -> None:
    found = trust(with_moved_control(tmp_path), replications=128, benchmarks=0, race=False)
    own = next(check for check in found.checks if check.name == "specification:no controls")
    assert abs(own.difference) > 4 * (own.se or 0.0)
    assert own.answer != "contradicts"
    assert own.sentence.endswith("as twins of this panel have it without any fault.")
    assert found.evidence.critical < 4.0
    assert (own.false_alarm or 0.0) <= 0.08
    assert verdict(found).answer == "supported"
    trend = next(check for check in found.checks if check.name == "unequal-trends")
    assert (trend.power or 0.0) > 0.15


@pytest.mark.long
def test_two_treated_units_lose_no_twin(tmp_path: Path) -> None:
    world = World("two treated", **SMALL, dates=((6, 2),))
    found = trust(world.real(tmp_path, 0, 3.0), replications=128, alone=True)
    assert found.main.size("iid").n == 128
    assert found.recommended in {"conley-taber", "ferman-pinto"}


@pytest.mark.long
def test_whole_groups_are_the_clusters_to_print(tmp_path: Path) -> None:
    world = World("whole groups", units=60, periods=10, groups=12, group_sd=1.4, group_ar=0.3, whole=True,
                  dates=((6, 30),))  # fmt: skip
    found = trust(world.real(tmp_path, 0, 3.0), replications=128, alone=True)
    assert found.recommended == "cr2:group"
    assert "whole groups (group) adopt together" in found.reason
    assert found.main.size("cluster:unit").value > 0.2


def turned(real: RealPanel) -> RealPanel:
    """The outcome times -1."""
    return replace(real, panel=real.panel.with_variables({"y": -real.panel.variables["y"]}))


@pytest.fixture(scope="module", params=["supported", "contradicted"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The page of a panel and of its mirror, of an effect or of a drift, by twins of shuffled residuals: without an
    effect they are mirrors too, draw by draw."""
    large = 2.0 * WORLD.detectable()
    effect, drift = (large, 0.0) if request.param == "supported" else (0.0, WORLD.drift_of(large))
    real = WORLD.real(tmp_path_factory.mktemp("mirror"), 1, effect, drift)
    real = by_method(real, "residual")
    ask: dict[str, Any] = {"replications": 64, "benchmarks": 0, "race": False, "effect": 0.9}
    found = document(trust(real, **ask)), document(trust(turned(real), **ask))
    assert found[0]["verdict"]["answer"] == request.param
    return found


def test_the_verdict_of_a_mirrored_panel_is_equal(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, other = both
    assert one["verdict"]["answer"] == other["verdict"]["answer"]
    assert one["verdict"]["rates"] == other["verdict"]["rates"]
    assert one["advice"] == other["advice"]
    assert one["family"] == other["family"]
    assert one["calibrated"] == other["calibrated"]
    assert other["effect"]["value"] == -one["effect"]["value"] == -0.9


def test_numbers_of_a_mirrored_panel_are_mirrored(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, other = both
    mirrored("claim", one["claim"], other["claim"], ("estimate", "statistic"))
    assert len(one["errors"]) == len(other["errors"]) > 4
    for row, its in zip(one["errors"], other["errors"], strict=True):
        mirrored(row["se_type"], row, its, ("estimate",))
    assert len(one["checks"]) == len(other["checks"]) > 10
    for row, its in zip(one["checks"], other["checks"], strict=True):
        own = {"false_alarm"} if row["name"] == "pre-trend" else set()  # of twins with the effect, which are drawn anew
        shared = {key: value for key, value in row.items() if key not in {"sentence", "numbers", *own}}
        mirrored(row["name"], shared, its, ("difference", "needed"))
    for row, its in zip(one["placebos"], other["placebos"], strict=True):
        mirrored(row["scheme"], row, its, ("mean",))
    assert [row["effect"] for row in one["power"]] == pytest.approx([-row["effect"] for row in other["power"]])


def mirrored(what: str, one: dict[str, Any], other: dict[str, Any], turned: tuple[str, ...]) -> None:
    """Whether two records are mirrors: `turned` and ends of an interval change their sign."""
    for key, value in one.items():
        its = other[key]
        if key in {"lower", "upper"}:
            its = other["upper" if key == "lower" else "lower"]
        signed = key in {*turned, "lower", "upper"}
        if isinstance(value, float):
            assert its == pytest.approx(-value if signed else value, rel=1e-7, abs=1e-12), (what, key)
        else:
            assert its == value, (what, key)


def test_the_reason_of_a_mirrored_panel_names_the_mirrored_numbers(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    plain, other = (held["verdict"]["reason"] for held in both)
    if both[0]["verdict"]["answer"] == "supported":
        assert plain == other
    else:
        row, its = (next(c for c in held["checks"] if c["answer"] == "contradicts") for held in both)
        assert f"a difference of {row['difference']:.4f} ({row['lower']:.4f} to {row['upper']:.4f})" in plain
        assert f"a difference of {its['difference']:.4f} ({its['lower']:.4f} to {its['upper']:.4f})" in other
        assert row["difference"] < 0 < its["difference"]


@pytest.mark.parametrize(("others", "served"), [(18, False), (19, True)])
def test_placebos_that_cannot_reject_are_no_error_type(tmp_path: Path, others: int, *, served: bool) -> None:
    """With 18 placebos the least p value is 1/19: a twin's test would never reject, and no effect be detected."""
    real = World("one treated", units=others + 1, periods=10, dates=((5, 1),)).real(tmp_path, 0, 0.0)
    few = {"conley-taber", "ferman-pinto"}
    assert few & {*claim_of(real).errors} == (few if served else set())
    if not served:
        with pytest.raises(BadInput, match="no p value of 5% or less with fewer than 19 units that are never treated"):
            claim_of(real, error="conley-taber")


# `trust` on panels that are hard: one treated unit, whole groups, all treated in the end, other units of measure.


ALONE = World("one treated", units=60, periods=10, dates=((5, 1),))
GROUP = World("one group", units=60, periods=10, dates=((5, 20),), groups=3, whole=True)
ALL = World("all treated", units=60, periods=10, dates=((4, 20), (6, 20), (8, 20)))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    real = by_method(ALONE.real(tmp_path_factory.mktemp("one"), 1, effect=6.0), "parametric")
    return trust(real, replications=64, benchmarks=0, race=False)


def test_one_treated_unit_is_judged_by_inference_for_few(alone: Trust) -> None:
    """An effect of 6 standard deviations: no error type that clusters, leaves the treated unit out or takes errors as
    homoskedastic is printed, no fit is lost, and that clusters know nothing of the unit contradicts no placebo."""
    few = {"conley-taber", "ferman-pinto"}
    assert alone.recommended in few
    assert {error for error in alone.main.errors if error not in alone.forbidden} == few
    assert not {"cr2:unit", "cv3:unit"} & set(alone.claim.errors)
    assert alone.main.size("iid").n == 64
    assert alone.main.size("cluster:unit").value > 0.5
    assert alone.main.size(alone.recommended).value < 0.15
    spec = alone.claim.real.spec
    spec = spec.model_copy(update={"panel": spec.panel.model_copy(update={"treatment": "reform"})})
    for text in ("did", "reform"):
        claim = replace(alone.claim, real=replace(alone.claim.real, spec=spec), text=text)
        assert opening(replace(alone, claim=claim))[0].startswith("The estimate of reform in table 2")
    assert (alone.advised.pvalue or 1.0) <= 1 / 25
    check = next(one for one in alone.checks if one.name == "one-treated-unit")
    assert (check.answer, check.severity) == ("cannot tell", 1)
    assert check.sentence.endswith("is treated: the test of the claim takes it to be as noisy as units that never are.")
    assert verdict(alone).answer == "supported"


def test_errors_without_a_standard_error_have_rates_and_what_the_claim_needs(alone: Trust) -> None:
    """The standard error that p implies is |b| / z; the claim needs |b| (1 - 1.96 / z), or nothing at p above 5%."""
    estimate, p = alone.claim.estimate, alone.advised.pvalue
    level = 0.05 if p <= 0.05 else 0.10
    wanted = abs(estimate) * (1 - stats.norm.isf(level / 2) / stats.norm.isf(p / 2))
    needed = {round(check.needed, 9) for check in alone.checks if check.needed is not None}
    assert needed == {round(-np.sign(estimate) * wanted, 9)}
    at_effect = alone.evidence.supported_at_effect
    assert at_effect > 0.3  # the effect is detected in 80% of twins


def test_fits_that_an_effect_moves_by_hand() -> None:
    """A p value of 0.05 at an estimate of 2 implies an error of 2 / 1.96, with which 4 has t = 3.92; the least p value
    of all fits is the least of moved ones."""
    nan = np.full(3, np.nan)
    found = TermFits(np.array([2.0, 2.0, 2.0]), np.array([np.nan, 0.5, np.nan]), np.array([np.nan, 9.0, np.nan]),
                 np.array([0.05, np.nan, 1e-6]))  # fmt: skip
    moved = found.moved(2.0)
    assert moved.estimate.tolist() == [4.0, 4.0, 4.0]
    assert moved.pvalue == pytest.approx([2 * stats.norm.sf(2 * stats.norm.isf(0.025)), 2 * stats.t.sf(8.0, 9), 1e-6])
    assert moved.statistic == pytest.approx([2 * stats.norm.isf(0.025), 8.0, stats.norm.isf(5e-7)])
    assert np.isnan(replace(found, estimate=nan).moved(1.0).statistic).all()


def test_one_group_that_adopts_as_a_whole_leaves_no_safe_errors(tmp_path: Path) -> None:
    claim = claim_of(GROUP.real(tmp_path, 1, effect=2.0))
    assert assigned_by(claim.panel) == "group"
    assert "cr2:group" not in claim.errors  # without the treated group there is no estimate
    assert set(forbidden_of(claim.errors, claim.panel)) == set(claim.errors)
    two = replace(GROUP, dates=((5, 13),))  # a part of a group: units adopt by themselves
    assert assigned_by(claim_of(two.real(tmp_path, 1, effect=2.0)).panel) == ""


def test_units_that_adopt_later_are_comparisons(tmp_path: Path) -> None:
    """All are treated in the end: 40 clusters are untreated while the first 20 are treated."""
    panel = claim_of(ALL.real(tmp_path, 1)).panel
    facts = pp.TwoWayDID().cluster_facts(panel, "unit")
    assert (facts.treated[0], facts.untreated[0]) == (60, 40)
    assert "cluster:unit" not in forbidden_of(("cluster:unit", "iid"), panel)


def test_the_unit_of_measurement_changes_no_answer(tmp_path: Path) -> None:
    real = replace(ALL, dates=((4, 20), (6, 20))).real(tmp_path, 1, effect=1.0)
    one = trust(real, replications=64, alone=True)
    for scale in (1e-12, 1e12):
        panel = replace(real.panel, variables={**real.panel.variables, "y": real.panel.variables["y"] * scale})
        other = trust(replace(real, panel=panel), replications=64, alone=True)
        assert other.claim.estimate == pytest.approx(scale * one.claim.estimate)
        assert other.recommended == one.recommended, scale
        assert other.calibrated().value == pytest.approx(one.calibrated().value, abs=0.02)
        assert verdict(other).answer == verdict(one).answer, scale


@pytest.mark.parametrize("effect", [float("nan"), float("inf"), 0.0, 1e300])
def test_an_effect_that_is_no_number_is_refused_before_any_work(tmp_path: Path, effect: float) -> None:
    with pytest.raises(BadInput, match=r"--effect; effect (nan|inf|0|1e\+300); allowed: a number other than 0, below"):
        trust(ALL.real(tmp_path, 1), effect=effect, replications=128)


def test_an_effect_of_the_other_sign_is_refused(tmp_path: Path) -> None:
    real = replace(ALL, dates=((4, 20), (6, 20))).real(tmp_path, 1, effect=2.0)
    with pytest.raises(BadInput, match=r"--effect; effect -0.3, and the claim is .*; allowed: an effect with the sign"):
        trust(real, effect=-0.3, replications=128)


def test_the_verdict_counts_the_estimates_that_cannot_tell(alone: Trust) -> None:
    vague = [check for check in alone.checks if check.difference is not None and check.answer == "cannot tell"]
    assert vague
    sound = replace(alone, checks=tuple(vague[:2]))
    assert "none of 2 other estimates contradicts it; 2 of them cannot tell" in _reason(sound)
    firm = replace(vague[0], answer="consistent")
    assert "none of 1 other estimates contradicts it." in _reason(replace(alone, checks=(firm,)))


def _reason(found: Trust) -> str:
    from experiments.trust.document import _support

    return _support(found)


def test_no_name_is_cut_in_the_terminal_and_columns_stay_apart(alone: Trust) -> None:
    held = document(alone)
    held["verdict"]["answer"] = "supported"
    for row in held["checks"]:
        if row["difference"] is not None:
            row["needed"], row["difference"], row["lower"], row["upper"] = -2.07e-10, -7.73e-11, -5.78e-10, 4.23e-10
    lines = _printed(held)
    assert any(line.startswith(("cr2:", "cv3:", "conley-taber")) for line in lines)
    text = " ".join(" ".join(lines).split())
    shown = [row["alternative"] for row in held["checks"] if row["difference"] is not None]

    numbers = [line for line in lines if "−2.07e−10" in line]
    assert numbers
    for line in numbers:
        assert " −2.07e−10 −7.73e−11 −5.78e−10 to 4.23e−10 " in line
    left = len(shown) - len(numbers)
    assert any(line == f"{left} more in trust.html" for line in lines) == (left > 0)
    for name in shown[: len(numbers)]:
        assert all(word in text for word in name.split())


@pytest.mark.parametrize("sentences", [1, 20, 23])
def test_a_long_verdict_leaves_out_whole_checks_and_no_method(alone: Trust, sentences: int) -> None:
    held = document(alone)
    held["verdict"] |= {"answer": "supported", "sentences": ["Because of this."] * sentences}
    held["errors"] = held["errors"][:8]
    rows = [row for row in held["checks"] if row["difference"] is not None]
    for row in rows:
        row["alternative"] = "规模以上 工业企业主营业务收入-by-年份 effects of a very long name"
    lines = _printed(held)
    assert len(lines) <= 45
    assert max(map(cell_len, lines)) <= 80
    methods = [line for line in lines if line.startswith(tuple(f"{row['method']}: " for row in held["studies"]))]
    assert len(methods) == len(held["studies"])
    shown = sum(line.endswith(row["answer"]) for row, line in
                zip(rows, [line for line in lines if line.startswith("规模以上")], strict=False))  # fmt: skip
    assert 1 <= shown < len(rows)
    table = [line for line in lines if line.startswith(("规模以上", "change of the effect  "))]
    assert len(table) == 1 + shown
    assert len({cell_len(line.rsplit("  ", 1)[0]) for line in table}) == 1
    assert " ".join(" ".join(lines).split()).count("very long name") == shown
    assert f"{len(rows) - shown} more in trust.html" in lines


def test_a_page_without_safe_errors_asks_to_print_none(alone: Trust) -> None:
    held = document(alone)
    page = trust_page(held)
    assert "Nearest to the right size" not in page
    assert "Print errors" in page
    for row in held["errors"]:
        row["allowed"] = False
    page = trust_page(held)
    assert "Nearest to the right size" in page
    assert "Print errors" not in page.replace(held["verdict"]["reason"], "").split("<ul", 1)[0]


def _printed(held: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    print_trust(held, Console(file=out, width=80, highlight=False))
    return out.getvalue().splitlines()
