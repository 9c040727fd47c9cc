"""Verdicts by practical size: tolerances, Monte Carlo intervals, and the sentences that say them; failed fits, missing
numbers, unknown truths and mixed code, which are said before the verdict."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from refusals import refuses
from reports import printed
from scipy.stats import norm

from estimators import LMTests, MoranTest, TwoWayDID
from estimators.core.estimator import Status
from experiments.run.reporting import facts_of
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.claims import BIAS, Claim
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.report.grids import ReportFacts, ShortTable, short_table
from results.report.html import html_report
from results.report.terminal import MOST_LINES, _left_out_of
from results.store import Origin
from results.store.zarr_store import ZarrStore
from results.text import span_text
from results.verdict.answer import ClaimAnswer, Failed, answer, failed_fits, failure_notice, notices, verdict_records
from results.verdict.verdicts import Grade, Verdict, bias_table, failures, grade_of, verdicts
from sim.presets import Paper

FITS = 4000
SD = 2.0  # of estimates


def cell(shift: float, fits: int = FITS, scale: float = 1.0, truth: float = 1.0, seed: int = 1) -> Any:
    """Fits whose bias is exactly `shift` of their standard deviations, with standard errors `scale` times those."""
    noise = np.random.default_rng(seed).standard_normal((fits, 1))
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    theta = np.full((fits, 1), truth)
    return Sample(theta, theta + SD * (noise + shift), np.full((fits, 1, 1), SD * scale), dof=1e6)


def judged(cells: list[Any], *claims: Claim) -> Diagnosis:
    return replace(diagnose(made_up(cells)), claims=claims)


def only(diagnosis: Diagnosis) -> Verdict:
    (found,) = verdicts(diagnosis)
    return found


@pytest.mark.parametrize(("lower", "upper", "clear", "usable", "grade"), [
    (-0.01, 0.02, False, True, Grade.HOLDS), (0.01, 0.02, True, True, Grade.HARMLESS),
    (-0.02, -0.01, True, True, Grade.HARMLESS), (0.01, 0.04, True, True, Grade.OPEN),
    (-0.04, 0.04, False, True, Grade.OPEN), (0.031, 0.05, True, True, Grade.FAILS),
    (-0.05, -0.031, True, True, Grade.FAILS), (0.031, 0.05, False, True, Grade.OPEN),
    (-0.01, 0.02, False, False, Grade.OPEN), (0.031, 0.05, True, False, Grade.FAILS),
    (float("nan"), float("nan"), False, True, Grade.OPEN),
])  # fmt: skip
def test_grades(lower: float, upper: float, clear: bool, usable: bool, grade: Grade) -> None:
    assert grade_of(lower, upper, 0.03, clear=clear, usable=usable) is grade


@pytest.mark.parametrize(("shift", "grade"), [
    (0.0, Grade.HOLDS), (0.12, Grade.HARMLESS), (-0.12, Grade.HARMLESS), (0.2, Grade.OPEN), (0.3, Grade.FAILS),
    (-0.3, Grade.FAILS),
])  # fmt: skip
def test_bias_is_judged_in_standard_errors(shift: float, grade: Grade) -> None:
    found = only(judged([({}, {"ols": cell(shift)})], Claim("bias")))
    assert found.grade is grade
    assert found.worst.value == pytest.approx(shift, abs=1e-12)
    assert found.times == pytest.approx(abs(shift) / BIAS)


def test_an_own_tolerance_is_used_and_a_bias_within_it_does_not_matter() -> None:
    cells = [({}, {"lee-yu": cell(0.12)})]
    assert only(judged(cells, Claim("bias", tolerance=0.05))).grade is Grade.FAILS
    found = answer(judged(cells, Claim("bias", tolerance=0.5)))
    assert (found.grade, found.sentences) == (Grade.HARMLESS, (
        "Bias of t0: lee-yu is off by so little that it does not matter (at most 0.12 standard errors).",
    ))  # fmt: skip


def test_verdicts_rank_by_practical_size_and_not_by_monte_carlo_error() -> None:
    few = replace(cell(0.6), status=np.where(np.arange(FITS) < 500, Status.OK, Status.NOT_RUN))
    diagnosis = judged([({}, {"precise": cell(0.3), "rough": few})], Claim("bias"))
    found = verdicts(diagnosis)
    assert [item.estimator for item in found] == ["rough", "precise"]
    clear = {item.estimator: abs(item.worst.value) / item.worst.mcse for item in found}
    assert clear["precise"] > 1.2 * clear["rough"]


def test_the_worst_cell_is_named_with_the_dials_that_fail() -> None:
    cells = [({"effect": effect, "spillover": spill}, {"did": cell(0.5 + effect / 10 if spill == "paper" else 0.0)})
             for effect in (0, 1) for spill in ("none", "paper")]  # fmt: skip
    (sentence,) = answer(judged(cells, Claim("bias"))).sentences
    assert sentence == ("Bias of t0: did is too high by 1.20 (0.6 standard errors, 120% of the true 1.00) when "
                        "effect = 1, spillover = paper (fails with spillover = paper).")  # fmt: skip


def test_cells_that_fail_are_some_of_those_that_are_judged() -> None:
    """Four of eight have a truth of 0; of these two fail, which no dial tells from the others."""
    cells = [({"effect": effect, "a": a, "b": b},
              {"did": with_scales((0.5 if effect == 0.0 and a == b else 1.0,), effect)})
             for effect in (0.0, 5.0) for a in (0, 1) for b in (0, 1)]  # fmt: skip
    (sentence,) = answer(judged(cells, Claim("size"))).sentences
    assert "(fails in 2 of 4 cells)" in sentence


@pytest.mark.parametrize(("shift", "side"), [(0.5, "high"), (-0.5, "low")])
def test_the_side_of_a_bias_is_that_of_the_number_line(shift: float, side: str) -> None:
    diagnosis = judged([({}, {"ols": cell(shift, truth=-1.0)})], Claim("bias"))
    assert answer(diagnosis).sentences == (
        f"Bias of t0: ols is too {side} by 1.00 (0.5 standard errors, 100% of the true -1.00).",
    )


def with_scales(scales: tuple[float, ...], truth: float = 0.0, fits: int = FITS) -> Any:
    """Unbiased fits with one error type for each scale of the standard error."""
    sample = cell(0.0, fits=fits, truth=truth)
    se = np.concatenate([np.full((fits, 1, 1), SD * scale) for scale in scales], axis=1)
    return replace(sample, se=se)


def test_size_says_which_errors_hold_and_which_reject_how_often() -> None:
    cells = [({"serial": serial}, {"did": with_scales((1.0, scale))})
             for serial, scale in ((0.0, 1.0), (0.4, 0.7), (0.8, 0.5))]  # fmt: skip
    diagnosis = judged(cells, Claim("size", over="serial"))
    found = {item.error: item for item in verdicts(diagnosis)}
    assert (found["one"].grade, found["two"].grade) == (Grade.HOLDS, Grade.FAILS)
    shares = [item.value for item in found["two"].cells]
    assert shares[2] == pytest.approx(2 * norm.sf(1.96 * 0.5), abs=0.03)
    one = f"{100 * found['one'].span[0]:.1f}%"
    assert answer(diagnosis).sentences == (
        f"5% tests of t0 where the truth is 0: one errors hold ({one} over serial 0 to 0.8); "
        f"two errors reject {100 * shares[2]:.0f}% when serial = 0.8 (fail with serial from 0.4).",
    )


@pytest.mark.parametrize(("scale", "grade"), [(1.0, Grade.HOLDS), (0.8, Grade.FAILS), (1.5, Grade.FAILS)])
def test_coverage_is_judged_on_either_side(scale: float, grade: Grade) -> None:
    """Intervals that are too long cover too much: 99.7% instead of 95%."""
    diagnosis = judged([({}, {"ols": with_scales((scale,), 1.0)})], Claim("coverage"))
    assert only(diagnosis).grade is grade


def test_too_few_fits_tell_nothing() -> None:
    diagnosis = judged([({}, {"ols": cell(1.0, fits=29)})], Claim("bias"))
    assert only(diagnosis).grade is Grade.OPEN
    assert answer(diagnosis).sentences[0] == (
        "Too few replications to judge: at most 29 usable fits per cell; a verdict needs 30."
    )
    cells = [({"n": fits}, {"ols": cell(1.0, fits)}) for fits in (29, 30)]
    assert answer(judged(cells, Claim("bias"))).nothing == ""


def test_an_estimator_that_fails_in_27_percent_of_fits_holds_nowhere() -> None:
    status = np.where(np.arange(FITS) < 0.27 * FITS, Status.SINGULAR, Status.OK)
    right = cell(0.0)
    bare = replace(right, se=np.where(status[:, None, None] == Status.OK, right.se, np.nan))
    samples = {"sound": right, "frail": replace(right, status=status), "bare": bare}
    found = answer(judged([({}, samples)], Claim("bias"), Claim("coverage")))
    grades = {(item.estimator, item.measure): item.grade for item in found.verdicts}
    assert {grades["sound", measure] for measure in ("bias", "coverage")} == {Grade.HOLDS}
    assert {grades["frail", measure] for measure in ("bias", "coverage")} == {Grade.OPEN}
    assert (grades["bare", "bias"], grades["bare", "coverage"]) == (Grade.HOLDS, Grade.OPEN)
    assert found.grade is Grade.FAILS
    assert found.sentences[0].startswith("Failed fits: frail failed in 1,080 of 4,000 fits (27%): ")
    assert found.sentences[1].endswith("cannot be told for frail (27% of fits failed).")
    first = next(verdict_records(found))
    assert (first["class"], first["measure"], first["value"]) == ("fails", "failed fits", pytest.approx(0.27))


def test_an_interval_beyond_the_tolerance_that_is_not_clear_says_so() -> None:
    """Of 60 fits the bias of .46 standard errors is 3.6 Monte Carlo errors from 0: less than the 4 that are asked."""
    found = judged([({}, {"a": cell(0.46, fits=60)})], Claim("bias"))
    assert only(found).grade is Grade.OPEN
    (sentence, *_) = answer(found).sentences
    assert sentence.endswith("standard errors; this probably fails, and more replications make it clear).")
    clear = judged([({}, {"a": cell(0.46, fits=200)})], Claim("bias"))
    assert only(clear).grade is Grade.FAILS


def curve(effects: tuple[float, ...], sd: float, **dials: Any) -> list[Any]:
    """Cells whose estimates have a standard deviation and are tested with it."""
    cells = []
    for effect in effects:
        noise = sd * np.random.default_rng(round(1000 * abs(effect)) + 7).standard_normal((FITS, 1))
        theta = np.full((FITS, 1), effect)
        sample = Sample(theta, theta + noise, np.full((FITS, 1, 1), sd), dof=1e6)
        cells.append(({"effect": effect, **dials}, {"did": sample}))
    return cells


def powers(effects: tuple[float, ...], *sds: float) -> tuple[ClaimAnswer, ShortTable]:
    """What is said of the power at effects, with n = 9 and 1 where two standard deviations are given, and its table."""
    parts = (curve(effects, sd, **{"n": n} if sds[1:] else {}) for n, sd in zip((9, 1), sds, strict=False))
    diagnosis = judged([one for part in parts for one in part], Claim("power"))
    (part,) = answer(diagnosis).claims
    return part, short_table(part, diagnosis.cells)


def test_power_states_the_smallest_effect_that_most_panels_find() -> None:
    diagnosis = judged(curve((0.0, 0.2, 0.4), 0.1), Claim("power"))
    (part,) = answer(diagnosis).claims
    ((_, (found,)),) = part.curves
    wanted = 0.1 * (norm.ppf(0.975) + norm.ppf(0.8))
    assert found.lower < wanted < found.upper
    assert found.mde == pytest.approx(wanted, rel=0.04)
    assert part.grade is Grade.STATED
    assert f"80% of panels find an effect of {found.mde:.2f}" in part.sentence
    records = [record for record in verdict_records(answer(diagnosis)) if record["measure"] == "mde"]
    assert ([record["value"] for record in records], records[0]["nominal"]) == ([found.mde], 0.8)
    (power,) = (record for record in verdict_records(answer(diagnosis)) if record["measure"] == "power")
    assert (power["nominal"], power["tolerance"]) == (None, None)  # nothing is promised


def test_an_effect_beyond_the_simulated_ones_is_called_so() -> None:
    part, _ = powers((0.0, 0.2, 0.4), 0.1, 0.3)
    ((_, (precise, rough)),) = part.curves
    assert (precise.dial, precise.setting, precise.beyond) == ("effect", "n = 9", False)
    assert (rough.setting, rough.beyond) == ("n = 1", True)
    assert part.sentence.endswith("when n = 9, and in 1 of 2 settings only effects above 0.40.")
    ((_, entries),) = powers((0.0, -0.2, -0.4), 0.3)[1].rows
    assert entries[-1].text == "above 0.4"


def test_the_power_at_the_largest_size_is_that_of_both_signs() -> None:
    (part,) = answer(judged([*curve((0.0, 0.4), 0.14), *curve((-0.4,), 0.12)], Claim("power"))).claims
    shares = sorted(cell.value for cell in part.verdicts[0].cells if cell.row["truth"])
    assert " to " in (said := span_text(*shares))
    assert f"an effect of 0.40 is found in {said} of panels; 80% of panels find" in part.sentence


def test_curves_of_many_sizes_are_not_mixed_under_another_dial() -> None:
    """Nine effects are too many columns; the power that is shown is said to be that of the largest. At one size another
    dial than the effect is in the columns of a number a cell, as for other measures."""
    part, table = powers(tuple(0.05 * step for step in range(9)), 0.1, 0.3)
    assert (table.dial, table.heads) == ("", ("setting", "largest effect", "80% found"))
    ((_, drawn),) = part.curves
    assert [entries[0].text for _, entries in table.rows] == [f"{100 * one.cells[-1].value:.1f}" for one in drawn]
    part, table = powers((0.2,), 0.1, 0.3)
    ((_, entries),) = table.rows
    assert (table.dial, table.heads[-2:]) == ("n", ("9", "1"))
    assert [entry.text for entry in entries] == [f"{100 * item.value:.1f}" for item in part.verdicts[0].cells]


def test_effects_that_are_always_found_give_no_smallest_one() -> None:
    """Above 0 every share is 1: the likelihood of the curve has no maximum."""
    part, _ = powers((0.0, 2.0, 4.0), 0.1)
    ((_, (found,)),) = part.curves
    assert [cell.value for cell in found.cells[1:]] == [1.0, 1.0]
    assert part.verdicts[0].span == (1.0, 1.0)  # the size, at 0, is no power
    assert "found in 100% of panels" in part.sentence
    assert np.isnan(found.mde)
    assert not found.beyond
    assert "80% of panels find an effect of" not in part.sentence


def test_a_test_of_the_wrong_size_has_no_power() -> None:
    cells = [({"effect": effect}, {"did": with_scales((1.0, 0.5), effect)}) for effect in (0.0, 6.0)]
    found = answer(judged(cells, Claim("size"), Claim("power")))
    assert "not stated for two errors, because a test of the wrong size has no power to speak of" in found.sentences[1]


def test_the_short_report_fits_on_a_screen(paper_records: Any) -> None:
    diagnosis = diagnose(paper_records)
    for width in (60, 80, 100, 200):
        lines = printed(diagnosis, width, terminal=True, full=False).splitlines()
        assert len(lines) <= MOST_LINES, width
        assert max(map(len, lines)) <= width
        assert "`panelproof report STORE --full`" in " ".join(" ".join(lines[-3:]).split())


def test_rows_of_a_table_that_is_left_out_do_not_count_twice() -> None:
    tables = [ShortTable("t", ("a",), (((), ()),) * rows, 1) for rows in (5, 7)]
    assert _left_out_of(tables, [3, 0], "show").startswith("Left out: 2 rows and 1 table of this page, and ")


@pytest.mark.parametrize(("settings", "words"), [
    ({"measure": "bais"}, "measure = 'bais'"), ({"measure": "bias", "tolerance": 0.0}, "a number above 0"),
    ({"measure": "power", "tolerance": 0.1}, "stated and not judged"),
    ({"measure": "size", "tolerance": 1.5}, "a share above 0 and below 1"),
    ({"measure": "bias", "errors": ("iid",)}, "the same for all error types"),
])  # fmt: skip
def test_claims_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    refuses(words, lambda: Claim(**settings))


def test_claims_go_to_plain_data_and_back_and_shares_have_half_of_the_level_as_their_margin() -> None:
    settings = {"measure": "size", "terms": ["did"], "errors": ["iid", "hc1"], "over": "serial", "tolerance": 0.02}
    claim = Claim("size", ("did",), errors=("iid", "hc1"), over="serial", tolerance=0.02)
    assert (claim.settings, Claim.of(settings)) == (settings, claim)
    assert (Claim("size").limit(0.05), Claim("coverage").limit(0.10), claim.limit(0.05)) == (0.025, 0.05, 0.02)


LMS = ("lm_lag", "lm_err", "rlm_lag", "rlm_err")
OF_TESTS = {"truth", "mean_estimate", "empirical_se", "between_worlds", "mean_se", "model_se", "rejection"}


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    forms = (LMTests("exact"), LMTests("elhorst"))
    design = Paper(effect=0.0, controls="none")
    return diagnose(run(Study("lm", design, forms, grid=(("rho", (0.0, 0.1)),), replications=6144, seed=5)))


@pytest.mark.long
def test_rejections_are_reported_and_no_bias(diagnosis: Diagnosis) -> None:
    frame = diagnosis.frame.query("estimator == 'lm-exact' and term == 'lm_lag' and sample == 'own'")
    null, lagged = (frame[frame["rho"] == rho].set_index("measure") for rho in (0.0, 0.1))
    assert set(null.index) == OF_TESTS
    assert null.loc["truth", ["value", "mcse"]].tolist() == [0.0, 0.0]
    for name, expected in (("mean_estimate", 1.0), ("rejection", 0.05)):
        assert null.loc[name, "value"] == pytest.approx(expected, abs=4 * null.loc[name, "mcse"])
    assert lagged.loc["rejection", "value"] > 0.8
    assert lagged.loc["rejection", "n"] == 6144


@pytest.mark.long
def test_a_wrong_size_is_called_one(diagnosis: Diagnosis) -> None:
    judged = replace(diagnosis, claims=(Claim("size", tolerance=0.01),))
    found = {(verdict.estimator, verdict.term): verdict.grade for verdict in verdicts(judged)}
    assert Grade.FAILS not in {found["lm-exact", term] for term in LMS}
    assert Grade.FAILS in {found["lm-elhorst", term] for term in LMS}


@pytest.fixture(scope="module")
def dependent() -> Diagnosis:
    """Errors that depend on one another across space, and no spatial lag."""
    grid = (("spatial_error", (0.0, 0.15)),)
    design = Paper(effect=0.0, controls="none", rho=0.0)
    return diagnose(run(Study("lm", design, (LMTests("exact"),), grid=grid, replications=128, seed=5)))


def test_the_plain_test_of_a_lag_may_find_dependent_errors(dependent: Diagnosis) -> None:
    """Its null is no dependence of either kind; that of the robust test is no lag alone."""
    table = bias_table(dependent)
    truths = {(row["cell"], row["term"]): row["truth"] for row in table.to_dict("records")}
    assert [truths[1, term] for term in LMS] == [pytest.approx(value) for value in (0.15, 0.15, 0.0, 0.15)]
    assert all(truths[0, term] == 0.0 for term in LMS)
    lag = table[(table["cell"] == 1) & (table["term"] == "lm_lag")].iloc[0]
    assert lag["rejection"] > 0.8
    rows = dependent.frame[(dependent.frame["cell"] == 0) & (dependent.frame["term"] == "lm_lag")]
    assert set(rows["measure"]) == OF_TESTS
    found = verdicts(dependent, table)
    assert {verdict.measure for verdict in found} == {"size", "power"}
    size, power = ([verdict for verdict in found if (verdict.measure, verdict.term) == (measure, "lm_lag")]
                   for measure in ("size", "power"))  # fmt: skip
    assert ([item.cell for item in size[0].cells], [item.cell for item in power[0].told]) == ([0], [1])


def test_reports_say_what_a_statistic_tests(dependent: Diagnosis) -> None:
    text = printed(dependent, 200)
    rows = [line.split() for line in text.splitlines() if "chi-square" in line]
    shown = [next(word for word in row if word in {"0", "not"}) for row in rows]
    assert shown == ["0"] * 4 + ["not", "not", "0", "not"]
    assert "lm_lag tests rho = lambda = 0" in text
    assert "rlm_err tests lambda = 0" in text
    html = html_report(dependent, ReportFacts("lm"))
    assert "tests rho = lambda = 0" in html
    assert "estimates rho" not in html
    assert "0.1500" not in text + re.sub(r"<svg.*?</svg>", "", html, flags=re.S)


def test_the_moran_of_residuals_is_a_test_too() -> None:
    study = Study("moran", Paper(effect=0.0, spatial_error=0.15), (MoranTest(),), replications=64, seed=5)
    found = diagnose(run(study))
    (verdict,) = verdicts(found)
    assert verdict.measure == "power"
    assert "bias" not in set(found.frame["measure"])


# Failures are seen


def lines_of(diagnosis: Diagnosis, full: bool = True, **facts: Any) -> list[str]:
    return printed(diagnosis, facts=ReportFacts("toy", **facts), full=full).splitlines()


def sample(fits: int, terms: int = 1, errors: int = 2, status: Any = None) -> Any:
    rng = np.random.default_rng(5)
    theta = np.ones((fits, terms))
    return Sample(theta, theta + rng.standard_normal(theta.shape), np.ones((fits, errors, terms)), status=status)


def value(diagnosis: Diagnosis, measure: str, name: str = "ols") -> float:
    rows = diagnosis.frame[(diagnosis.frame["measure"] == measure) & (diagnosis.frame["estimator"] == name)]
    return float(rows["value"].iloc[0])


@pytest.fixture
def partly_failed() -> Diagnosis:
    """64 fits of each of two estimators in each of two cells; 35 of one failed."""
    statuses = [np.where(np.arange(64) < failed, Status.SINGULAR, Status.OK) for failed in (30, 5)]
    cells = [({"n": n}, {"sound": sample(64), "ols": sample(64, status=status)})
             for n, status in enumerate(statuses)]  # fmt: skip
    return diagnose(made_up(cells))


def test_failures_are_the_first_words_of_the_verdict(partly_failed: Diagnosis) -> None:
    (ols,) = failed_fits(partly_failed)
    assert (ols.estimator, ols.count, ols.attempted, ols.share, ols.grade) == ("ols", 35, 128, 30 / 64, Grade.FAILS)
    assert 0.3 < ols.lower < ols.share < ols.upper < 0.6
    said = f"Failed fits: ols failed in 35 of 128 fits (27%): {Status.SINGULAR.meaning} (35)."
    assert failure_notice([ols]).startswith(said)
    for full in (True, False):
        assert lines_of(partly_failed, full=full, seed=1)[2].startswith(f"- {said}")
    assert f'<p class="lead">{said} ' in html_report(partly_failed, ReportFacts("toy"))


def test_eight_items_are_listed_and_nine_where_one_alone_would_be_counted() -> None:
    found = [Failed(f"e{n}", 100, Counter({"it": 1}), Grade.HARMLESS, "", 0.01, 0.01, 0.0, 0.05) for n in range(10)]
    nine = failure_notice(found[:9])
    assert nine.count("failed in 1 of 100 fits") == 9
    assert nine.endswith("e8 failed in 1 of 100 fits (1%): it (1).")
    assert failure_notice(found).endswith("e7 failed in 1 of 100 fits (1%): it (1); 2 more.")


def test_one_fit_in_a_thousand_that_failed_is_said_and_harmless() -> None:
    status = np.where(np.arange(2000) < 2, Status.SINGULAR, Status.OK)
    diagnosis = diagnose(made_up([({}, {"ols": sample(2000, status=status)})]))
    (ols,) = failed_fits(diagnosis)
    assert (ols.count, ols.grade) == (2, Grade.HARMLESS)
    found = answer(diagnosis)
    assert found.sentences[0].startswith("Failed fits: ols failed in 2 of 2,000 fits (0.1%)")
    assert found.claims[0].grade is Grade.HOLDS


def test_without_failures_the_verdict_comes_first_and_mixed_code_is_said() -> None:
    diagnosis = diagnose(made_up([({}, {"ols": sample(64)})]))
    assert (failed_fits(diagnosis), failure_notice([])) == ([], "")
    assert lines_of(diagnosis)[2].startswith("- Bias of t0: ")
    said = "the blocks come from 2 environments: code a | code b"
    assert said in lines_of(diagnosis, environments=("code a", "code b"))
    assert said in html_report(diagnosis, ReportFacts("toy", environments=("code a", "code b")))
    assert not any("environments" in line for line in lines_of(diagnosis, environments=("code a",)))
    lost = "the store does not say any longer which code and machines computed its blocks"
    assert lost in lines_of(diagnosis, environments=("unknown",))
    assert not any(lost in line for line in lines_of(diagnosis, environments=("code a",)))


def test_a_status_alone_makes_no_usable_fit_and_a_missing_error_is_counted() -> None:
    fits = sample(64)
    fits.estimate[[3, 4, 5]], fits.estimate[6] = np.nan, np.inf
    diagnosis = diagnose(made_up([({}, {"ols": fits})]))
    assert (value(diagnosis, "convergence"), value(diagnosis, "status:ok")) == (60 / 64, 60)
    assert failures(diagnosis) == [(0, "ols", 4, 64, "no estimate is finite (4)")]
    lines = lines_of(diagnosis)
    assert lines[2].startswith("- Failed fits: ols failed in 4 of 64 fits (6.2%): no estimate is finite (4).")
    assert "all usable" not in "".join(lines)
    fits = sample(64)
    fits.se[:, 0, 0] = np.linspace(0.5, 1.5, 64)
    fits.se[7, 0, 0] = np.nan
    diagnosis = diagnose(made_up([({}, {"ols": fits})]))
    row = diagnosis.frame[(diagnosis.frame["measure"] == "mean_se") & (diagnosis.frame["error"] == "one")].iloc[0]
    assert (row["value"], row["n"]) == (pytest.approx(np.nanmean(fits.se[:, 0, 0])), 63)
    table = bias_table(diagnosis)
    assert list(table["n_error"]) == [63, 64]
    assert notices(table) == ["Missing in usable fits: one errors of ols (1 of 64)."]
    text = lines_of(diagnosis)
    assert "- Missing in usable fits: one errors of ols (1 of 64)." in text[:7]  # after how much is judged at once
    assert "all usable" not in "".join(text)


def harmed(terms: int = 2, **slots: Any) -> Any:
    """Fits of which standard errors (fits, error types, terms) or estimates (fits, terms) in some slots are missing."""
    fits = sample(64, terms=terms)
    for name, places in slots.items():
        for place in places:
            getattr(fits, name)[place] = np.nan
    return fits


ALL, FIVE, THREE = slice(None), slice(5), slice(3)


@pytest.mark.parametrize(
    ("slots", "said"),
    [({"se": [(ALL, 0), (ALL, 1, 1)]}, "one errors of ols (64 of 64)"),  # t1 alone has no errors two by its nature
     ({"se": [(FIVE, 0, 0), (THREE, 0, 1)]}, "one errors of ols (5 of 64)"),
     ({"estimate": [(THREE, 1)], "se": [(THREE, ALL, 1)]}, "the estimate of t1 by ols (3 of 64)")],
)  # fmt: skip
def test_of_an_error_type_the_fits_that_lack_it_for_some_term_are_missing(slots: dict[str, Any], said: str) -> None:
    diagnosis = diagnose(made_up([({}, {"ols": harmed(**slots)})]))
    assert notices(bias_table(diagnosis)) == [f"Missing in usable fits: {said}."]
    assert value(diagnosis, "convergence") == 1.0


def test_an_error_type_that_has_intervals_alone_is_not_missing() -> None:
    fits = harmed(terms=1, se=[(ALL, 0)])
    stored = {"lower": np.full(fits.se.shape, -9.0), "upper": np.full(fits.se.shape, 9.0)}
    table = bias_table(diagnose(made_up([({}, {"ols": replace(fits, stored=stored)})])))
    assert (list(table["n_error"]), notices(table)) == ([64, 64], [])


def test_terms_without_a_truth_are_named() -> None:
    cells = []
    for n in range(2):
        fits = sample(64, terms=3)
        fits.theta[:, 1] = np.nan
        fits.theta[:, 2] = np.nan if n else 1.0
        cells.append(({"n": n}, {"ols": fits}))
    diagnosis = diagnose(made_up(cells))
    said = "No truth in this design: t1, t2 (in 1 of 2 cells) of ols."
    assert notices(bias_table(diagnosis)) == [said]
    assert f"- {said}" in lines_of(diagnosis)
    assert said in html_report(diagnosis, ReportFacts("toy"))


def test_environments_are_those_that_the_store_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study("toy", Paper(controls="none"), (TwoWayDID(),), replications=64, block=64)
    store = run(study, store=tmp_path / "x.zarr")
    assert (len(facts_of(store).environments), facts_of(store).mixed) == (1, "")
    named = (Origin("numpy 2.3"), Origin("numpy 2.4", {}, ("another numpy",)))
    monkeypatch.setattr(ZarrStore, "environments", named, raising=False)
    assert facts_of(store).environments == ("numpy 2.3", "numpy 2.4 (another numpy)")
    assert facts_of(store).mixed.endswith("numpy 2.3 | numpy 2.4 (another numpy)")
