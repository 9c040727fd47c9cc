"""`trust` on panels that are hard: one treated unit, whole groups, all treated in the end, other units of measure."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from verdict_worlds import World

import panelproof as pp
from experiments.trust.claim import assigned_by, claim_of
from experiments.trust.document import document, print_trust
from experiments.trust.recommend import advice, forbidden_of
from experiments.trust.studies import MeasureWithError, TermFits
from experiments.trust.trust import Trust, trust
from experiments.trust.verdict import verdict
from results.report.trust_page import trust_page
from sim.errors import BadInput

ALONE = World("one treated", units=60, periods=10, dates=((5, 1),))
GROUP = World("one group", units=60, periods=10, dates=((5, 20),), groups=3, whole=True)
ALL = World("all treated", units=60, periods=10, dates=((4, 20), (6, 20), (8, 20)))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return trust(ALONE.real(tmp_path_factory.mktemp("one"), 1, effect=6.0), replications=128)


def test_one_treated_unit_is_judged_by_inference_for_few(alone: Trust) -> None:
    """Errors that the claim does not have, such as those that leave the treated unit out, are not asked of twins."""
    assert "conley-taber" in alone.claim.errors
    assert not {"cr2:unit", "cv3:unit"} & set(alone.claim.errors)
    assert alone.recommended in ("conley-taber", "ferman-pinto")
    assert alone.main.size(alone.recommended).value < 0.15


def test_that_clusters_mean_nothing_is_no_evidence_against_placebos(alone: Trust) -> None:
    """What placebos assume of the treated unit cannot be tested; that clusters know nothing of it is not said."""
    found = next(check for check in alone.checks if check.name == "one-treated-unit")
    assert found.answer == "cannot tell"
    assert found.sentence.endswith("is treated: the test of the claim takes it to be as noisy as units that never are.")
    assert verdict(alone).answer != "contradicted"


def test_errors_without_a_standard_error_have_rates_and_what_the_claim_needs(alone: Trust) -> None:
    """The standard error that p implies is |b| / z; the claim needs |b| (1 - 1.96 / z), or nothing at p above 5%."""
    estimate, p = alone.claim.estimate, alone.advised.pvalue
    assert p is not None
    level = 0.05 if p <= 0.05 else 0.10
    wanted = abs(estimate) * (1 - stats.norm.isf(level / 2) / stats.norm.isf(p / 2))
    needed = {round(check.needed, 9) for check in alone.checks if check.needed is not None}
    assert needed == {round(-np.sign(estimate) * wanted, 9)}
    at_effect = alone.evidence.supported_at_effect
    assert at_effect is not None
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


def test_the_advice_says_what_is_wrong_with_the_printed_errors() -> None:
    sizes = {"cluster:unit": MeasureWithError(0.22, 0.01), "conley-taber": MeasureWithError(0.04, 0.01)}
    _, reason = advice(sizes, "cluster:unit", {"cluster:unit": "clusters with treated units: 3, needed: 20"})
    assert reason == (
        "errors clustered by unit do not serve here (clusters with treated units: 3, needed: 20); the test of p "
        "values by placebos of never treated units (Conley and Taber) rejects in 4.0% of twins without an effect"
    )
    _, nothing = advice(sizes, "cluster:unit", dict.fromkeys(sizes, "one group"))
    assert nothing == (
        "no error type is safe here; placebos of never treated units (Conley and Taber) comes nearest: one group"
    )


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_unit_of_measurement_changes_no_answer(tmp_path: Path, scale: float) -> None:
    real = replace(ALL, dates=((4, 20), (6, 20))).real(tmp_path, 1, effect=1.0)
    panel = replace(real.panel, variables={**real.panel.variables, "y": real.panel.variables["y"] * scale})
    one, other = (trust(case, replications=128, alone=True) for case in (real, replace(real, panel=panel)))
    assert other.claim.estimate == pytest.approx(scale * one.claim.estimate)
    assert other.recommended == one.recommended
    assert other.calibrated().value == pytest.approx(one.calibrated().value, abs=0.02)
    assert verdict(other).answer == verdict(one).answer


@pytest.mark.parametrize("effect", [float("nan"), float("inf"), 0.0, 1e300])
def test_an_effect_that_is_no_number_is_refused_before_any_work(tmp_path: Path, effect: float) -> None:
    with pytest.raises(BadInput, match=r"--effect; effect (nan|inf|0|1e\+300); allowed: a number other than 0, below"):
        trust(ALL.real(tmp_path, 1), effect=effect, replications=128)


def test_an_effect_of_the_other_sign_is_refused(tmp_path: Path) -> None:
    real = replace(ALL, dates=((4, 20), (6, 20))).real(tmp_path, 1, effect=2.0)
    with pytest.raises(BadInput, match=r"--effect; effect -0.3, and the claim is .*; allowed: an effect as signed as"):
        trust(real, effect=-0.3, replications=128)


def test_the_verdict_counts_the_estimates_that_cannot_tell(alone: Trust) -> None:
    vague = [check for check in alone.checks if check.difference is not None and check.answer == "cannot tell"]
    assert vague
    sound = replace(alone, checks=tuple(vague[:2]))
    assert "none of 2 other estimates contradicts it; 2 of them cannot tell" in _reason(sound)
    firm = replace(vague[0], answer="consistent")
    assert "none of 1 other estimates contradicts it." in _reason(replace(alone, checks=(firm,)))


def _reason(found: Trust) -> str:
    from experiments.trust.verdict import _support

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
