"""Pages of panels whose law is known: they are not all alike, and a negative claim is the mirror of a positive one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verdict_worlds import SMALL, World

from experiments.panel_spec.spec import RealPanel
from experiments.trust.document import document
from experiments.trust.trust import trust
from experiments.trust.verdict import verdict

WORLD = World("small staggered", **SMALL, dates=((4, 7), (6, 7), (8, 6)))
TRENDS = ("less the bias of unequal linear trends", "less the placebo", "trends before adoption lean",
          "treated and other units move apart")  # fmt: skip


def judged(folder: Path, number: int, effect: float = 0.0, drift: float = 0.0) -> tuple[str, str]:
    found = verdict(trust(WORLD.real(folder, number, effect, drift), replications=128, benchmarks=0))
    return found.answer, found.reason


@pytest.mark.long
@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_effect_of_twice_the_detectable_one_is_supported(tmp_path: Path, number: int) -> None:
    answer, reason = judged(tmp_path, number, 2.0 * WORLD.detectable())
    assert answer == "supported"
    assert "trend" not in reason


@pytest.mark.long
@pytest.mark.parametrize("number", [0, 1])
def test_without_an_effect_none_is_claimed_or_nothing_is_decided(tmp_path: Path, number: int) -> None:
    answer, _ = judged(tmp_path, number)
    assert answer in {"no claim", "not decided"}


@pytest.mark.long
def test_a_drift_as_large_is_seldom_supported_and_its_trend_is_named(tmp_path: Path) -> None:
    """Without an effect; the estimate is as large as twice the detectable effect. The campaign of verdicts has the
    share of supported pages; of these six it is at most one."""
    drift = WORLD.drift_of(2.0 * WORLD.detectable())
    found = [judged(tmp_path, number, drift=drift) for number in range(6)]
    assert sum(answer == "supported" for answer, _ in found) <= 1
    for answer, reason in found:
        assert answer == "supported" or reason.lower().startswith(TRENDS)


# Few treated units, few groups


@pytest.mark.long
@pytest.mark.parametrize("number", [0, 1])
def test_one_treated_unit_is_judged_by_inference_for_few(tmp_path: Path, number: int) -> None:
    """An effect of 5 standard deviations: no error type that clusters or takes errors as homoskedastic is printed, no
    fit is lost, and that the stars of clustered errors mean nothing does not contradict another test."""
    world = World("one treated", **SMALL, dates=((6, 1),))
    found = trust(world.real(tmp_path, number, 5.0), replications=128, benchmarks=0)
    assert found.recommended in {"conley-taber", "ferman-pinto"}
    assert {error for error in found.main.errors if error not in found.advice.forbidden} == {
        "conley-taber", "ferman-pinto"}  # fmt: skip
    assert found.main.count("iid", 0) == 128
    assert found.main.size("cluster:unit").value > 0.5
    assert (found.advised.pvalue or 1.0) <= 1 / 25
    check = next(one for one in found.checks if one.name == "one-treated-unit")
    assert check.answer != "contradicts"
    assert check.severity == 1
    assert verdict(found).answer == "supported"


@pytest.mark.long
def test_two_treated_units_lose_no_twin(tmp_path: Path) -> None:
    """A variance by two-way clusters that is negative on a twin would cost that twin for all error types."""
    world = World("two treated", **SMALL, dates=((6, 2),))
    found = trust(world.real(tmp_path, 0, 3.0), replications=256, alone=True)
    assert found.main.count("iid", 0) == 256
    assert found.recommended in {"conley-taber", "ferman-pinto"}


@pytest.mark.long
def test_three_groups_are_no_clusters(tmp_path: Path) -> None:
    world = World("three groups", **SMALL, dates=((4, 7), (6, 7), (8, 6)), groups=3, group_sd=0.7)
    found = trust(world.real(tmp_path, 0, 3.0), errors="cluster:group", replications=128, alone=True)
    assert found.printed == "cluster:group"
    assert not found.recommended.endswith(":group")
    assert {error for error in found.advice.forbidden if error.endswith(":group")} == {
        "cluster:group", "cr2:group", "cv3:group"}  # fmt: skip
    assert "need 20" in found.advice.reason


@pytest.mark.long
def test_whole_groups_are_the_clusters_to_print(tmp_path: Path) -> None:
    """The test by units rejects a third of true nulls there."""
    world = World("whole groups", units=60, periods=10, groups=12, group_sd=1.4, group_ar=0.3, whole=True,
                  dates=((6, 30),))  # fmt: skip
    found = trust(world.real(tmp_path, 0, 3.0), replications=128, alone=True)
    assert found.recommended == "cr2:group"
    assert "whole groups (group) adopt together" in found.advice.reason
    assert found.main.size("cluster:unit").value > 0.2


# Mirrors


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
    section = real.spec.twin
    assert section is not None
    real = replace(
        real, spec=real.spec.model_copy(update={"twin": section.model_copy(update={"method": ("residual",)})})
    )
    ask: dict[str, Any] = {"replications": 128, "benchmarks": 0, "effect": 0.9}
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
    """Estimates, differences and needs change their sign, intervals their ends; sizes, shares, errors, answers and p
    values stay."""
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


def test_power_of_a_mirrored_panel_is_equal_but_for_simulation_error(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """Cells with an effect have draws of their own: within 4 Monte Carlo errors."""
    for row, its in zip(both[0]["power"], both[1]["power"], strict=True):
        assert abs(row["power"] - its["power"]) <= 4 * np.hypot(row["mcse"], its["mcse"])
    assert abs(both[0]["mde"]["value"] - both[1]["mde"]["value"]) <= 4 * np.hypot(*(one["mde"]["mcse"] for one in both))
    alarms = [next(row for row in one["checks"] if row["name"] == "pre-trend")["false_alarm"] for one in both]
    assert abs(alarms[0] - alarms[1]) <= 4 * np.sqrt(2 * 0.05 * 0.95 / 128)


def test_the_reason_of_a_mirrored_panel_names_the_mirrored_numbers(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    plain, other = (held["verdict"]["reason"] for held in both)
    if both[0]["verdict"]["answer"] == "supported":
        assert plain == other
    else:
        row, its = (next(c for c in held["checks"] if c["answer"] == "contradicts") for held in both)
        assert f"a difference of {row['difference']:.4f} ({row['lower']:.4f} to {row['upper']:.4f})" in plain
        assert f"a difference of {its['difference']:.4f} ({its['lower']:.4f} to {its['upper']:.4f})" in other
        assert row["difference"] < 0 < its["difference"]
