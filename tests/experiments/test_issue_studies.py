"""Built-in studies run, their truths are there, and they show it: `staggered`, `pretrends`, `placebo`, and those of
synthetic estimators, of factors and of few treated units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimators import Estimates, Status, TwoWayDID, find_estimator
from estimators.core.estimator import Estimator, Tile
from estimators.permutation import PermutationTest
from experiments.run.runner import run
from experiments.study import Study, builtin_study
from sim import Streams, Wanted
from sim.presets import Paper

Results = dict[str, tuple[Estimates, dict[str, np.ndarray]]]
MODERN = ("callaway-santanna", "sun-abraham", "imputation", "two-stage")


def small(name: str, **grid: tuple[object, ...]) -> Study:
    """A built-in study with other values of some dials."""
    study = builtin_study(name)
    return replace(study, grid=tuple((dial, grid.get(dial, values)) for dial, values in study.grid))


def results(study: Study, replications: int) -> dict[tuple[object, ...], Results]:
    """Estimates and truths of every estimator, by the values of the cell's dials."""
    records = run(study.resized(replications=replications, block=-(-replications // 64) * 64))
    found = {}
    for cell in study.cells:
        (block,) = records.blocks(cell.index)
        found[tuple(cell.parameters.values())] = {
            name: (estimates, dict(block.truth)) for name, estimates in block.estimates.items()
        }
    return found


def misses(study: Study, result: Results, name: str, term: str) -> np.ndarray:
    """Estimates less the truths of their own draws, (R,)."""
    estimates, truth = result[name]
    target = study.layouts(study.cells[0].design.schema)[name].targets[term]
    return estimates.estimate[:, estimates.terms.index(term)] - truth[target]


def in_errors(values: np.ndarray) -> float:
    """The mean in its Monte Carlo errors."""
    return float(values.mean() / (values.std(ddof=1) / np.sqrt(values.size)))


def with_few_draws(estimator: Estimator) -> Estimator:
    """The same with the fewest samples behind its errors."""
    changes = {"draws": 20} if getattr(estimator, "draws", 0) in (40, 100) else {}
    return replace(estimator, **changes)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("study", "cells"),
    [
        (builtin_study("staggered"), 6),
        (builtin_study("pretrends"), 8),
        (
            small(
                "placebo",
                effect=(0.0157,),
                treated=(14, 142),
                assignment=("rich",),
                serial=(0.8,),
                spatial_error=(0.8,),
            ),
            2,
        ),
        (
            small("synthetic", **{"adoption.strength": (0.3,), "levels.factor_share": (0.2,), "errors.serial": (0.0,)}),
            1,
        ),
        (small("few-treated", **{"adoption.share": (0.1,)}), 4),
        (small("factors", **{"levels.factors": (0, 2), "levels.factor_share": (1.0,), "adoption.strength": (1.0,)}), 2),
    ],
    ids=["staggered", "pretrends", "placebo", "synthetic", "few-treated", "factors"],
)
def test_every_draw_is_fitted_and_has_its_truths(study: Study, cells: int) -> None:
    replications = 32  # of one tile: fewer take as long
    found = results(replace(study, estimators=tuple(map(with_few_draws, study.estimators))), replications)
    assert len(found) == cells
    for result in found.values():
        assert set(result) == {estimator.name for estimator in study.estimators}
        for name, (estimates, truth) in result.items():
            assert estimates.estimate.shape[0] == replications
            assert (estimates.status == Status.OK).all(), name
            targets = study.layouts(study.cells[0].design.schema)[name].targets
            assert all(np.isfinite(truth[target]).all() for target in targets.values()), name


def test_placebo_covers_treated_shares_errors_and_assignments() -> None:
    study = builtin_study("placebo")
    assert dict(study.grid)["treated"] == (14, 48, 142)  # .05, .17 and .5 of the cities
    assert len(study.cells) == 48
    for cell in study.cells[::16]:
        draw = cell.design.draw(cell.streams(study.seed), Wanted(frozenset({"did"}), ()))
        assert draw.panel.variables["did"].any(axis=1).sum() == cell.parameters["treated"]


def test_few_treated_are_one_two_five_and_ten_small_units() -> None:
    """Errors that need two treated units have no answer for one; all others have theirs."""
    study = small("few-treated", **{"errors.covariate_slope": (-0.5,), "effect.size": (0.0,)})
    for cell, count in zip(study.cells, (1, 2, 5, 10), strict=True):
        draw = cell.design.draw(cell.streams(study.seed), Wanted(frozenset({"did"}), ()))
        treated = draw.panel.variables["did"].any(axis=1)[0]
        assert treated.sum() == count
        sizes = np.asarray(draw.panel.attributes["size"])
        assert np.log(sizes[treated]).mean() < np.log(sizes[~treated]).mean()
    alone = small("few-treated", **{"adoption.share": (0.02,), "effect.size": (0.0,)})
    for result in results(alone, 32).values():
        served = {name: (estimates.status == Status.OK) for name, (estimates, _) in result.items()}
        without = {name for name, ok in served.items() if not ok.any()}
        assert without == {"did-corrected", "synthetic-did-jackknife"}
        assert all(ok.all() for name, ok in served.items() if name not in without)


def modern(kind: str) -> Estimator:
    settings = {"cohorts": (2008, 2016, 2020), "years": (2008, 2019), "errors": ("cluster:unit",)}
    return find_estimator(kind)(**settings)  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", ["growing", "fading"])
@pytest.mark.parametrize("kind", MODERN)
def test_without_noise_modern_estimators_are_the_truths(kind: str, shape: str) -> None:
    """Every term against the mean of potential outcomes that it is held to: the weights are the same."""
    design = Paper(controls="none", sigma=0.0, heterogeneity=0.5, shape=shape)  # type: ignore[arg-type]
    estimator = modern(kind)
    targets = estimator.layout(design.schema).targets
    assert {"att", "att_event", "att_cohort", "att_calendar", "event(5)", "cohort(2016)", "calendar(2019)"} <= set(
        targets.values()
    )
    streams = Streams(3, "exact")
    draw = design.settle(streams).draw(
        streams.tile(0, 3), Wanted(estimator.variables(design.schema), tuple(targets.values()))
    )
    estimates = estimator(draw.panel)
    for term, target in targets.items():
        np.testing.assert_allclose(
            estimates.estimate[:, estimates.terms.index(term)], draw.truth[target], rtol=0, atol=1e-13, err_msg=term
        )
    twoway = TwoWayDID(errors=("cluster:unit",))(draw.panel).estimate[:, 0]
    assert (np.abs(twoway - draw.truth["att"]) > 1e-4).all()


def test_staggered_shows_two_way_did_off_and_modern_estimators_right() -> None:
    study = small("staggered", shape=("growing",), serial=(0.0,))
    (result,) = results(study, 512).values()
    assert in_errors(misses(study, result, "did", "did")) < -10
    for name in (*MODERN, "callaway-santanna-not-yet"):
        for term in ("overall", "overall:event", "overall:cohort", "overall:calendar", "event(0)", "event(4)"):
            assert abs(in_errors(misses(study, result, name, term))) < 4, (name, term)


def test_passing_a_pre_trend_test_does_not_clear_the_estimate() -> None:
    """Rejections grow with the gap; where most draws pass, those that do are as biased as all (Roth 2022)."""
    study = small("pretrends", trend_gap=(0.0, 0.001, 0.002), anticipation=(0,))
    found = results(study, 512)
    rejected = {gap: float((result["event-study"][0].statistics["pretrend_p"] < 0.05).mean())
                for (gap, _), result in found.items()}  # fmt: skip
    assert rejected[0.0] < 0.15
    assert rejected[0.0] + 0.05 < rejected[0.001] < 0.5 < rejected[0.002]
    result = found[0.001, 0]
    passed = result["imputation"][0].statistics["pretrend_p"] >= 0.05
    every = misses(study, result, "imputation", "overall")
    assert in_errors(every[passed]) > 20
    assert every[passed].mean() == pytest.approx(every.mean(), rel=0.1)


@pytest.mark.long
@pytest.mark.parametrize("serial", [0.0, 0.8])
@pytest.mark.parametrize("treated", [14, 48, 142])
def test_placebo_in_space_has_its_size(treated: int, serial: float) -> None:
    """The placebo of the placebo: 500 outcomes without an effect against 199 assignments."""
    design = Paper(effect=0.0, controls="none", treated=treated, serial=serial)
    streams = Streams(20240607)
    wanted = Wanted(frozenset({"icr", "did"}), ())
    world = design.settle(streams)
    test = PermutationTest(draws=199, interval=False, settings=(("errors", ("cluster:unit",)),))
    reduction = test.reduction(design.schema)
    assert reduction is not None
    plan = reduction.prepare(world.draw(streams, wanted).panel)
    p = np.concatenate(
        [
            test.solve(plan, reduction.reduce(plan, Tile(panel)), panel.schema, streams).pvalue[:, 0, 0]
            for start in range(0, 500, 50)
            for panel in [world.draw(streams.tile(start, start + 50), wanted).panel]
        ]
    )
    size = float((p <= 0.05).mean())
    print(f"{treated} treated cities, serial {serial}: size {size:.3f}")
    assert size == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 500))


@pytest.mark.long
def test_placebo_in_space_fails_where_errors_and_treatment_cluster_and_strata_repair_it() -> None:
    """Random assignment needs no exchangeable errors; treatment of rich regions does, or permutations within them."""
    study = small("placebo", effect=(0.0,), treated=(142,), serial=(0.0,), spatial_error=(0.8,))
    study = replace(study, estimators=tuple(replace(each, draws=99) for each in study.estimators))  # type: ignore[call-arg]
    sizes = {
        (assignment, name): float((estimates.pvalue[:, 0, 0] <= 0.05).mean())  # type: ignore[index]
        for (_, _, assignment, _, _), result in results(study, 320).items()
        for name, (estimates, _) in result.items()
    }
    print(sizes)
    error = np.sqrt(0.05 * 0.95 / 320)
    for cell in (("random", "did-space"), ("random", "did-strata-region"), ("rich", "did-strata-region")):
        assert sizes[cell] == pytest.approx(0.05, abs=4 * error)
    assert sizes["rich", "did-space"] > 0.05 + 3 * error
