"""Judging many numbers at once: error rates, points of t, ties and what replications tell, by slow programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from scipy import stats

from estimators.core.estimator import Status, holm
from results.diagnosis import claims as of_claims
from results.diagnosis.diagnose import diagnose
from results.diagnosis.measures import interval, proportion
from results.verdict import verdicts as of_verdicts
from results.verdict.answer import answer, failed_fits, judged_sentence, verdict_records
from results.verdict.sentences import claim_sentence, grade_texts, needs_text, power_sentence

ALPHA, EDGE, CELLS = 0.05, 0.075, 24
SIZE = of_claims.Claim("size")
Z = float(stats.norm.ppf(0.975))


def row_of(hits: float, n: int, cell: int = 0, worlds: int = 1, widening: float = 1.0) -> dict[Any, Any]:
    """A row of a bias table: a true null that was rejected in some of n fits, whose MCSE worlds widen."""
    found = proportion(np.array([float(hits)]), np.array([float(n)]))
    found = found._replace(mcse=found.mcse * widening)
    lower, upper = interval(found, True, None if worlds == 1 else np.array([float(worlds)]))
    return {"cell": cell, "term": "t0", "truth": 0.0, "truth_mcse": 0.0, "n": n, "n_error": n, "attempted": n,
            "worlds": worlds, "setting": f"c = {cell}", "rejection": float(found.value[0]),
            "rejection_mcse": float(found.mcse[0]), "rejection_lower": float(lower[0]),
            "rejection_upper": float(upper[0])}  # fmt: skip


def judged(rows: list[dict[Any, Any]], claim: of_claims.Claim = SIZE) -> of_verdicts.Verdict:
    cells = tuple(filter(None, (of_verdicts._judge(claim, row, ALPHA, ALPHA) for row in rows)))
    return of_verdicts.Verdict(claim, "ols", "t0", "iid", ALPHA, claim.limit(ALPHA), cells)


@pytest.mark.parametrize("n", [300, 2000])
def test_a_study_on_the_edge_of_its_tolerance_says_fails_in_at_most_one_of_twenty(n: int) -> None:
    """1,500 studies of 24 tests of size 7.5%, which is tolerated. Judged one by one, 45% of them fail somewhere."""
    rng, studies = np.random.default_rng(20260301), 1500
    alone = together = 0
    once = cache(lambda hit: judged([row_of(hit, n)]).cells[0])
    for hits in rng.binomial(n, EDGE, (studies, CELLS)):
        verdict = replace(judged([row_of(100, n)]), cells=tuple(map(once, hits.tolist())))
        alone += verdict.grade is of_verdicts.Grade.FAILS
        (adjusted,) = of_verdicts._adjusted([verdict])
        together += adjusted.grade is of_verdicts.Grade.FAILS
    if n == 2000:
        assert alone / studies > 0.35
    assert together / studies <= 0.05


def test_the_family_is_all_that_a_study_judges() -> None:
    """A size of 9.3% in 2,000 fits: p = .0037 alone; of 12 numbers .044, of 24 numbers in two verdicts .088."""
    odd, right = row_of(186, 2000), row_of(100, 2000)
    single = 2 * stats.binom.sf(185, 2000, EDGE)
    assert judged([odd]).cells[0].pvalue == pytest.approx(single, rel=1e-9)
    few = judged([odd] + [right] * 11)
    assert of_verdicts._adjusted([few])[0].grade is of_verdicts.Grade.FAILS
    assert of_verdicts._adjusted([few])[0].worst.pvalue == pytest.approx(12 * single)
    first, second = of_verdicts._adjusted([few, judged([right] * 12)])
    assert (first.grade, second.grade) == (of_verdicts.Grade.OPEN, of_verdicts.Grade.HOLDS)
    assert first.worst.pvalue == pytest.approx(24 * single)
    stated = replace(second, claim=of_claims.Claim("power"))
    assert of_verdicts.judgements([few, judged([right] * 12)]) == 24
    assert of_verdicts.judgements([few, stated]) == 12
    known = judged([right])
    empty = of_verdicts.Judged(1, math.nan, math.nan, math.nan, math.nan, of_verdicts.Grade.OPEN, known.cells[0].row)
    assert of_verdicts.judgements([replace(known, cells=(*known.cells, empty))]) == 1, "without a number it is none"


def slow_holm(pvalues: list[float]) -> list[float]:
    """Tests are rejected in order, each against the level over those that are left; the level at which that happens."""
    found = {}
    left, level = dict(enumerate(pvalues)), 0.0
    while left:
        place = min(left, key=lambda key: left[key])
        level = max(level, min(1.0, len(left) * left.pop(place)))
        found[place] = level
    return [found[place] for place in range(len(pvalues))]


def test_holm_by_hand_and_one_after_the_other() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    values = np.random.default_rng(2).uniform(size=30).round(1) ** 3
    np.testing.assert_allclose(holm(values), slow_holm(values.tolist()), rtol=1e-14)


@pytest.mark.parametrize(("hits", "above"), [(9, True), (30, True), (0, False), (1, False)])
def test_p_values_of_shares_are_no_smaller_than_exact_ones(hits: int, above: bool) -> None:
    n, low, high = 120, 0.04, 0.06
    value = hits / n
    edge = high if above else low
    found = of_claims.beyond_share(value, math.sqrt(value * (1 - value) / n), n, 1, low, high)
    normal = stats.norm.sf(abs(value - edge) / math.sqrt(edge * (1 - edge) / n))
    exact = stats.binom.sf(hits - 1, n, edge) if above else stats.binom.cdf(hits, n, edge)
    assert found == pytest.approx(min(1.0, 2 * max(normal, exact)), rel=1e-9)


def test_worlds_widen_p_values_of_shares() -> None:
    """With an MCSE of twice that of independent fits a quarter of the fits count, and t has 5 degrees of freedom."""
    value, n, worlds = 0.2, 1000, 6
    found = of_claims.beyond_share(value, 2 * math.sqrt(value * (1 - value) / n), n, worlds, 0.025, 0.075)
    score = (0.2 - 0.075) / math.sqrt(0.075 * 0.925 / 250)
    assert found == pytest.approx(2 * stats.t.sf(score, 5), rel=1e-9)
    assert found > 1e3 * 2 * stats.norm.sf(score)


def test_p_values_of_means_and_exact_ties() -> None:
    assert of_claims.beyond_mean(0.3, 0.03, 1, 0.2) == pytest.approx(2 * stats.norm.sf(0.1 / 0.03))
    assert of_claims.beyond_mean(-0.3, 0.03, 4, 0.2) == pytest.approx(2 * stats.t.sf(0.1 / 0.03, 3))
    assert (of_claims.beyond_mean(-0.1, 0.03, 1, 0.2), of_claims.beyond_mean(0.3, 0.0, 1, 0.2)) == (1.0, 0.0)
    assert of_claims.beyond_mean(math.inf, 0.0, 1, 0.2) == 0.0
    # A value on the edge departs by no more than is tolerated, however the edge is rounded
    assert of_claims.beyond_mean(0.2, 0.01, 1, 0.2) == of_claims.beyond_mean(-0.2, 0.01, 1, 0.2) == 1.0
    assert 0.95 + 0.025 != 0.975 or 0.975 - 0.95 != 0.025
    assert of_claims.beyond_share(0.975, 0.001, 4000, 1, 0.925, 0.95 + 0.025) == 1.0
    assert of_claims.beyond_share(0.05 - 0.025, 0.001, 4000, 1, 0.025, 0.075) == 1.0
    assert of_claims.within(1.0 - 0.95, 1.0 - 0.95, 0.05)  # .05 + 4e-17
    assert not of_claims.beyond(1.0 - 0.95, 1.0 - 0.95, 0.05)
    assert not of_claims.beyond(-0.05, 0.95 - 1.0, 0.05)
    assert not of_claims.within(-0.01, 0.0501, 0.05)
    assert not of_claims.within(-0.0501, 0.01, 0.05)
    assert of_claims.beyond(0.0501, 0.06, 0.05)
    assert of_claims.beyond(-0.06, -0.0501, 0.05)
    assert not of_claims.within(math.nan, math.nan, 0.05)


def test_intervals_that_always_cover_lie_on_a_tolerance_of_one_less_the_level() -> None:
    """Coverage 1 is .05 from .95, all that a tolerance of .05 allows, although 1 - .95 is more than .05 in doubles."""
    noise = np.random.default_rng(1).standard_normal((4000, 1))
    sample = Sample(np.ones((4000, 1)), 1 + noise, np.full((4000, 1, 1), 100.0), dof=1e6)
    claims = (of_claims.Claim("coverage", tolerance=0.05),)
    (verdict,) = of_verdicts.verdicts(replace(diagnose(made_up([({}, {"ols": sample})])), claims=claims))
    assert (verdict.worst.value, verdict.worst.upper) == (1.0, 1.0)
    assert verdict.grade is of_verdicts.Grade.HARMLESS


def exact_chance(n: int, real: float, tolerance: float = 0.025) -> float:
    """The chance that Wilson's 95% interval lies within .05 +- tolerance, count by count."""
    chance = 0.0
    for hits in range(n + 1):
        weight = stats.binom.pmf(hits, n, real)
        if weight > 1e-12:
            p, z2 = hits / n, Z**2
            half = Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
            middle, scale = p + z2 / (2 * n), 1 + z2 / n
            low, high = (middle - half) / scale, (middle + half) / scale
            chance += weight * (0.05 - tolerance <= low and high <= 0.05 + tolerance)
    return chance


def test_fits_that_tell_a_size_from_its_tolerance_on_and_off_the_middle() -> None:
    """300 fits tell it in about a tenth of cells; some 840 in 80% of cells, some 1,710 in all of 24 cells in 80%."""
    lone, every = (of_claims.fits_needed(ALPHA, 0.025, share=True, cells=cells) for cells in (1, CELLS))
    assert 0.05 < exact_chance(300, ALPHA) < 0.15
    assert 800 < lone < 900
    assert 1600 < every < 1800
    assert exact_chance(round(lone), ALPHA) == pytest.approx(0.8, abs=0.03)
    assert exact_chance(round(every), ALPHA) ** CELLS == pytest.approx(0.8, abs=0.06)
    assert exact_chance(round(0.8 * lone), ALPHA) < 0.72
    assert of_claims.fits_needed(0.95, 0.025, share=True) == pytest.approx(lone, rel=2e-3)
    # A size of 6% lies nearer to 7.5%: more fits; one on the edge is never told
    off = of_claims.fits_needed(ALPHA, 0.025, share=True, at=0.06)
    assert exact_chance(round(off), 0.06) == pytest.approx(0.8, abs=0.03)
    assert off > 2 * of_claims.fits_needed(ALPHA, 0.025, share=True)
    for real in (0.075, 0.025):
        assert of_claims.fits_needed(ALPHA, 0.025, share=True, at=real) == math.inf


@pytest.mark.parametrize("real", [0.10, 0.01])
def test_fits_that_tell_what_lies_beyond(real: float) -> None:
    """The score test against the nearer edge rejects in 80% of studies; a share of 0 is seen as one at once."""
    n = round(of_claims.fits_needed(ALPHA, 0.025, share=True, at=real))
    edge = 0.075 if real > ALPHA else 0.025
    hits = np.arange(n + 1)
    score = (hits / n - edge) / math.sqrt(edge * (1 - edge) / n)
    told = stats.binom.pmf(hits[score >= Z], n, real) if real > ALPHA else stats.binom.pmf(hits[score <= -Z], n, real)
    assert told.sum() == pytest.approx(0.8, abs=0.04)
    none = of_claims.fits_needed(ALPHA, 0.025, share=True, at=0.0)
    assert none == pytest.approx(Z**2 * 0.025 * 0.975 / 0.025**2, rel=2e-3)


@pytest.mark.parametrize("worlds", [1, 6])
def test_fits_that_tell_a_bias_from_its_tolerance(worlds: int) -> None:
    """Of estimates with standard deviation 1: P(|mean| + point / sqrt(n) <= .2) = .8."""
    n = of_claims.fits_needed(0.0, 0.2, share=False, worlds=worlds)
    point = Z if worlds == 1 else stats.t.ppf(0.975, worlds - 1)
    assert 2 * stats.norm.cdf((0.2 - point / math.sqrt(n)) * math.sqrt(n)) - 1 == pytest.approx(0.8, abs=2e-3)
    if worlds == 1:
        assert 255 < n < 270


def test_replications_that_are_worth_so_many_independent_fits() -> None:
    """64 fits a world with an inflation of 4 have the correlation 3 / 63; 20 worlds are never worth more than 420."""
    count, worlds = of_claims.replications_needed(200.0, 1280.0, 4.0, 20)
    r = 3 / 63
    assert (worlds, count / (1 + (count / 20 - 1) * r)) == (0, pytest.approx(200.0))
    assert of_claims.replications_needed(421.0, 1280.0, 4.0, 20) == (math.inf, 27)  # 421 * 4 / 64, rounded up
    assert of_claims.replications_needed(200.0, 1280.0, 1.0, 20) == (200.0, 0)
    assert of_claims.replications_needed(200.0, 1280.0, 4.0, 1) == (200.0, 0)
    assert of_claims.replications_needed(math.inf, 1280.0, 4.0, 20) == (math.inf, 0)


def test_an_open_cell_says_what_it_needs() -> None:
    verdict = judged([row_of(15, 300)])
    found = of_verdicts.needed(verdict, verdict.worst)
    assert verdict.grade is of_verdicts.Grade.OPEN
    assert (found.replications, found.worlds, found.at_value) == (840, 0, False)
    enough = judged([row_of(66, 1000)])
    assert enough.grade is of_verdicts.Grade.OPEN
    found = of_verdicts.needed(enough, enough.worst)
    assert found.at_value
    assert found.replications == of_claims.about(of_claims.fits_needed(ALPHA, 0.025, share=True, at=0.066))
    wide = judged([row_of(64, 1280, worlds=20, widening=2.0)])
    found = of_verdicts.needed(wide, wide.worst)
    wider = math.ceil(of_claims.fits_needed(ALPHA, 0.025, share=True, worlds=20) * 4 / 64)
    fits = of_claims.fits_needed(ALPHA, 0.025, share=True, worlds=wider)
    assert (found.replications, found.worlds) == (math.inf, math.ceil(fits * 4 / 64))
    assert 20 < found.worlds < wider
    assert needs_text(found) == f"needs more worlds, about {found.worlds}, not more replications"
    assert needs_text(of_verdicts.Needed(math.inf, 0, at_value=True)) == "too near the tolerance to tell"
    assert needs_text(of_verdicts.Needed(9800.0, 0, at_value=True)) == "at this value needs about 9,800 replications"


def sizes(n: int, hits: int) -> Any:
    estimate = np.where(np.arange(n) < hits, 3.0, 0.5)[:, None] * np.where(np.arange(n) % 2, 1.0, -1.0)[:, None]
    return Sample(np.zeros((n, 1)), estimate, np.ones((n, 1, 1)), dof=1e6)


def test_sentences_and_records_say_what_is_needed_and_how_much_is_judged() -> None:
    cells = [({"c": c}, {"ols": sizes(320, 16)}) for c in range(3)]
    diagnosis = replace(diagnose(made_up(cells)), claims=(of_claims.Claim("size"),))
    found = answer(diagnosis)
    planned = of_claims.about(of_claims.fits_needed(ALPHA, 0.025, share=True, cells=3))
    assert found.sentences == (
        "5% tests of t0 where the truth is 0: cannot be told for ols in 3 of 3 cells (Monte Carlo interval 3.1% to "
        f"8.0% when c = 0; needs about {planned:,.0f} replications).",
    )  # fmt: skip
    assert found.notes[0] == (
        "3 numbers are judged at once, by Holm's method: chance alone fails at most 5% of studies."
    )
    (record,) = verdict_records(found)
    assert (record["replications_needed"], record["pvalue"]) == (planned, None)
    alone = replace(diagnose(made_up(cells[:1])), claims=(of_claims.Claim("size"),))
    assert answer(alone).notes == ()


def test_of_several_that_are_open_the_largest_need_is_said() -> None:
    one, three = judged([row_of(15, 300)]), judged([row_of(15, 300, cell) for cell in range(3)])
    planned = of_claims.about(of_claims.fits_needed(ALPHA, 0.025, share=True, cells=3))
    assert planned > of_verdicts.needed(one, one.worst).replications
    for found in ([one, three], [three, one]):
        said = grade_texts(SIZE, found, [{"c": cell} for cell in range(3)])
        assert said == {of_verdicts.Grade.OPEN: f"in 4 of 4 numbers, needs about {planned:,.0f} replications"}
    wide = judged([row_of(64, 1280, worlds=20, widening=2.0)])  # which no number of replications tells
    said = grade_texts(SIZE, [wide, three], [{"c": cell} for cell in range(3)])
    assert said == {of_verdicts.Grade.OPEN: f"in 4 of 4 numbers, {needs_text(of_verdicts.needed(wide, wide.worst))}"}


def by_hand(
    claim: of_claims.Claim, values: Sequence[float], estimator: str = "ols", truth: float = 0.1
) -> of_verdicts.Verdict:
    grade = of_verdicts.Grade.STATED if claim.measure == "power" else of_verdicts.Grade.HOLDS
    rows = (row_of(15, 300, cell) | {"truth": truth, "tests": False} for cell in range(len(values)))
    cells = [of_verdicts.Judged(row["cell"], value, 0.001, value - 0.002, value + 0.002, grade, row)
             for row, value in zip(rows, values, strict=True)]  # fmt: skip
    return of_verdicts.Verdict(claim, estimator, "t0", "iid", 0.0, 0.1, tuple(cells))


def test_the_largest_bias_may_be_below_zero() -> None:
    found, dials = [by_hand(of_claims.Claim("bias"), (-0.04, 0.01))], [{"c": 0}, {"c": 1}]
    assert grade_texts(found[0].claim, found, dials) == {of_verdicts.Grade.HOLDS: "at most 0.04 standard errors"}
    assert "hold" in (said := claim_sentence(found[0].claim, found, dials, ALPHA))
    assert "at most 0.04 standard errors" in said


def test_beyond_four_tests_the_powers_of_the_rest_stand_together() -> None:
    shares = (0.1, 0.2, 0.3, 0.9, 0.5, 0.6)
    found = [by_hand(of_claims.Claim("power"), (share,), f"e{number}") for number, share in enumerate(shares)]
    said = power_sentence([(one, ()) for one in found], set(), ALPHA)
    assert said.endswith("2 more tests find an effect in 50% to 60% of panels.")
    assert said.count("e3: ") == 1
    assert "e4" not in said


def test_a_power_of_few_fits_is_not_stated() -> None:
    sound, few = (by_hand(of_claims.Claim("power"), (0.1,), name) for name in ("e0", "e1"))
    few = replace(few, cells=(replace(few.cells[0], row=few.cells[0].row | {"n_error": 29.0}),))
    said = power_sentence([(sound, ()), (few, ())], set(), ALPHA)
    assert said.endswith("found in 10% of panels; not stated for e1, because no cell has 30 usable fits.")


def test_a_lucky_failure_among_many_is_open_and_a_record_has_its_p_value() -> None:
    odd, right = sizes(2000, 186), sizes(2000, 100)
    cells = [({"c": c}, {"ols": right if c else odd}) for c in range(CELLS)]
    many, few = (replace(diagnose(made_up(part)), claims=(of_claims.Claim("size"),)) for part in (cells, cells[:5]))
    single = 2 * stats.binom.sf(185, 2000, EDGE)
    for diagnosis, count, grade in ((many, 24, "cannot be told"), (few, 5, "fails")):
        (record,) = verdict_records(answer(diagnosis))
        assert (record["class"], record["pvalue"]) == (grade, pytest.approx(count * single, rel=1e-6))
    assert "this probably fails, and more replications make it clear" in answer(many).sentences[0]


def test_points_of_the_worlds_that_were_reached() -> None:
    """With 4 worlds an interval takes 3.18 Monte Carlo errors and a mark 32.6."""
    assert of_claims.interval_point(4) == pytest.approx(stats.t.ppf(0.975, 3))
    assert of_verdicts.clear(4) == pytest.approx(stats.t.isf(stats.norm.sf(4.0), 3))
    assert of_claims.interval_point(1) == pytest.approx(Z)
    said = judged_sentence(1, 4, 4)
    assert said == (
        "Monte Carlo errors of 4 worlds have 3 degrees of freedom: an interval takes 3.2 of them on either side and a "
        "mark 33, in place of 2.0 and 4. Only departures as large as that can be told: more worlds make these factors "
        "smaller, more replications only the part of an error that lies within worlds."
    )
    assert "have 1 degree of freedom" in judged_sentence(1, 2, 2)
    grades = [judged([row_of(300, 2000, worlds=worlds, widening=2.0)]).grade for worlds in (1, 4)]
    assert grades == [of_verdicts.Grade.FAILS, of_verdicts.Grade.OPEN], "a size that fails in one world is open in four"
    assert "Only departures" not in judged_sentence(1, 32, 32)
    assert judged_sentence(1, 64, 4).endswith("2,048 replications reach all 64 worlds.")
    assert (judged_sentence(1, 1, 1), judged_sentence(0, 1, 1)) == ("", "")
    assert "4 worlds have 3 degrees of freedom: an interval takes 3.2 of them" in judged_sentence(5, 64, 4)


def test_one_of_many_cells_with_more_than_one_failed_fit_in_a_hundred_is_luck() -> None:
    """40 cells of 1,000 fits, of which 1% fail: 20 in one of them have p below .05 alone, and not of all."""

    def cell(failed: int) -> Any:
        status = np.where(np.arange(1000) < failed, Status.SINGULAR, Status.OK)
        return replace(sizes(1000, 50), status=status)

    def grade(cells: int, failed: int) -> of_verdicts.Grade:
        parts = [({"c": c}, {"ols": cell(failed if c == 0 else 10)}) for c in range(cells)]
        (found,) = failed_fits(diagnose(made_up(parts)))
        return found.grade

    assert 2 * stats.binom.sf(19, 1000, 0.01) < 0.05 < 40 * 2 * stats.binom.sf(19, 1000, 0.01)
    assert grade(1, 20) is of_verdicts.Grade.FAILS
    assert grade(40, 20) is of_verdicts.Grade.OPEN
    assert grade(40, 60) is of_verdicts.Grade.FAILS


def test_claims_of_a_study_are_one_family() -> None:
    """A size that fails among 5 numbers and not among 5 sizes and as many biases and coverages twice."""
    odd, right = sizes(2000, 186), sizes(2000, 100)
    records = made_up([({"c": c}, {"ols": right if c else odd}) for c in range(5)])
    single = 2 * stats.binom.sf(185, 2000, EDGE)
    assert 5 * single < 0.05 < 20 * single
    all_claims = (SIZE, of_claims.Claim("bias"), of_claims.Claim("coverage"), of_claims.Claim("bias", tolerance=0.3))
    for claims, grade in (((SIZE,), of_verdicts.Grade.FAILS), (all_claims, of_verdicts.Grade.OPEN)):
        found = of_verdicts.verdicts(replace(diagnose(records), claims=claims))
        assert (of_verdicts.judgements(found), found[0].measure) == (5 * len(claims), "size")
        assert found[0].grade is grade


def test_further_replications_lie_in_the_worlds_that_are_not_yet_reached() -> None:
    """128 replications of 4 worlds with an inflation of 4: where worlds are left, each brings 8 fits."""
    row = row_of(10, 128, worlds=4, widening=2.0)
    many, few, lone = (replace(judged([row]), worlds=worlds) for worlds in (250, 16, 4))
    fits = of_claims.fits_needed(ALPHA, 0.025, share=True, worlds=250)
    assert of_verdicts.needed(many, many.worst) == of_verdicts.Needed(of_claims.about(4 * fits), 0, at_value=False)
    r, fits = 3 / 31, of_claims.fits_needed(ALPHA, 0.025, share=True, worlds=16)
    assert 4 * fits > 16 * 32
    assert fits * r > 16
    found = of_verdicts.needed(few, few.worst)
    assert found.replications == math.inf
    assert found.worlds > 16
    assert of_verdicts.needed(lone, lone.worst).worlds > 4
    assert of_claims.replications_needed(200.0, 16 * 32.0, 4.0, 16) == (math.inf, 25)  # 200 * 4 / 32
    assert judged_sentence(1, 64, 4).count("more replications do not") == 0
