"""ANCOVA and post-only regressions against statsmodels, the truth of draws and the variances of the literature."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from covering import covered
from refusals import refuses

from estimators import Ancova, Estimates, Estimator, PostOnly, Status, TwoWayDID
from estimators.core.estimator import critical_values
from experiments.run.runner import run
from experiments.study import Study
from references.small_panels import small_panel, uneven
from sim import BadInput, Panel, Streams, Wanted
from sim.presets import Paper
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.levels import Effects
from sim.world.parts.missing import Pattern


def panel_of(missing: int = 0, first: int = 3) -> Panel:
    """Half of 40 units treated in the same period."""
    panel = small_panel(40, 8, seed=6, missing=missing)
    did = np.zeros((1, 8, 40))
    did[:, first:, ::2] = 1.0
    return panel.with_variables({"did": did})


@covered(by=[False, True], missing=[0, 40], controls=[(), ("inv", "road")], cls=[Ancova, PostOnly])
def test_they_equal_statsmodels_on_means(
    cls: type[Ancova | PostOnly], controls: tuple[str, ...], missing: int, by: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import statsmodels.api as sm
    panel = uneven(panel_of(missing)) if by else panel_of(missing)
    pop = panel.variables["pop"][0] if by else np.ones((8, 40))
    rows = []
    for i in range(40):  # the slow plain program
        seen = [t for t in range(8) if panel.observed is None or panel.observed[0, t, i]]
        values = {name: panel.variables[name][0, :, i] for name in ("y", "did", "inv", "road")}
        before, after = [t for t in seen if t < 3], [t for t in seen if t >= 3]
        if after and (before or (cls is PostOnly and not controls)):
            own = {name: np.average(values[name][before], weights=pop[before, i]) if before else np.nan
                   for name in ("y", "inv", "road")}  # fmt: skip
            rows.append({
                "after": np.average(values["y"][after], weights=pop[after, i]), "w": pop[after, i].mean(),
                "did": float(i % 2 == 0), "before": own["y"], "inv": own["inv"], "road": own["road"], "constant": 1.0,
            })  # fmt: skip
    frame = pd.DataFrame(rows)
    terms = ["did", *(["before"] if cls is Ancova else []), *controls, "constant"]
    ours = cls(controls=controls)(panel)
    assert ours.terms == tuple(terms)
    for e, kind in enumerate(("nonrobust", "HC1")):
        theirs = sm.WLS(frame["after"], frame[terms], frame["w"]).fit(cov_type=kind, use_t=True)
        np.testing.assert_allclose(ours.estimate[0], theirs.params, rtol=1e-9)
        np.testing.assert_allclose(ours.se[0, e], theirs.bse, rtol=1e-9)
        np.testing.assert_allclose(ours.pvalues if e else ours.with_errors("iid").pvalues, theirs.pvalues, rtol=1e-7,
                                   atol=1e-12)  # fmt: skip
    assert ours.statistics["nobs"][0] == len(frame)


def test_weights_of_post_only_are_those_of_the_rows_after_the_date() -> None:
    """Of a panel without gaps: least squares of all outcomes after the date, weighted by row."""
    panel = uneven(panel_of())
    y, did, pop = (panel.variables[name][0, 3:].ravel() for name in ("y", "did", "pop"))
    wanted = [np.average(y[did == value], weights=pop[did == value]) for value in (0, 1)]
    found = PostOnly()(panel)
    np.testing.assert_allclose(found.estimate[0], [wanted[1] - wanted[0], wanted[0]], rtol=1e-10)
    ahead = panel.with_variables({"pop": np.where(np.arange(8)[:, None] < 3, 9.0, 1.0) * panel.variables["pop"]})
    np.testing.assert_allclose(PostOnly()(ahead).estimate, found.estimate, rtol=1e-12)  # those before do not count


@pytest.mark.parametrize("cls", [Ancova, PostOnly])
def test_the_weight_may_be_a_control_as_well(cls: type[Ancova | PostOnly]) -> None:
    panel = uneven(panel_of(40))
    copied = panel.with_variables({"people": panel.variables["pop"]})
    ours, twin = cls(controls=("pop",))(panel), cls(controls=("people",))(copied)
    np.testing.assert_array_equal(ours.estimate, twin.estimate)
    assert "pop" in ours.terms


def test_2000_draws_are_unbiased_covered_and_as_precise_as_the_literature_says() -> None:
    design = PanelDesign(
        units=60, periods=8, levels=Effects(unit_sd=1.0), errors=Process(sd=1.0), adoption=Random(treated=30, date=5),
        effect=Effect(size=0.4), first_period=1, redraw=("adoption",),
    )  # fmt: skip
    estimators, streams, found = (Ancova(), PostOnly(), TwoWayDID(regressors=("did",))), Streams(8, "ancova"), []
    for start in range(0, 2000, 10):  # each in a world of its own
        rows = streams.tile(start, start + 10)
        made = design.settle(streams.within(f"world {start}")).draw(rows, Wanted(frozenset(("y", "did")), ("att",)))
        got = [one(made.panel) for one in estimators]
        assert all((one.status == Status.OK).all() for one in got)
        own = [one.estimate[:, 0] - made.truth["att"] for one in got]
        widths = [critical_values(one.dof, 0.05)[:, -1, 0] * one.se[:, -1, 0] for one in got]
        found.append(np.stack([np.stack(own, 1), np.stack(widths, 1)]))
    errors, margins = np.concatenate(found, axis=1)
    spread = errors.std(axis=0)
    assert (np.abs(errors.mean(axis=0)) <= 4 * spread / np.sqrt(2000)).all()
    coverage = (np.abs(errors) <= margins).mean(axis=0)
    assert ((coverage >= 0.93) & (coverage <= 0.97)).all(), coverage
    c, m, r = 0.5, 4, 4  # unit and error have variance one each
    post, did = (1 + (r - 1) * c) / r, (1 - c) / r + (1 - c) / m
    known = np.sqrt(np.array([post - m * c**2 / (1 + (m - 1) * c), post, did]) * 2 * (1 / 30 + 1 / 30))
    np.testing.assert_allclose(spread, known, rtol=4 / np.sqrt(2 * 2000) + 0.02)  # a slope is estimated in the first
    assert spread[0] < min(spread[1:])


@pytest.mark.parametrize(
    ("panel", "estimator", "said"),
    [
        (small_panel(30, 6), Ancova(), "the treatment is not that of one date: units begin in"),
        (panel_of(first=0), Ancova(), "the first period"),
        (panel_of(first=0), PostOnly(), "one period before it, or more"),
        (panel_of(), Ancova(errors=("driscoll-kraay",)), "driscoll-kraay with 1 period"),
        (panel_of(), Ancova(controls=("did",)), "a variable is used twice"),
        (panel_of(), Ancova(controls=("gdp",)), "no variable 'gdp'"),
        (panel_of().with_variables({"did": np.ones((1, 8, 40))}), PostOnly(), "the first period"),
        (panel_of().with_variables({"did": np.eye(8, 40)[None]}), PostOnly(), "units begin in"),
        (panel_of().with_variables({"did": 0.5 * panel_of().variables["did"]}), PostOnly(), "other than 0 and 1"),
        (panel_of().with_variables({"did": np.zeros((1, 8, 40))}), PostOnly(), "'did' is constant"),
    ],
)  # fmt: skip
def test_what_they_cannot_serve_is_one_line(panel: Panel, estimator: Estimator, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        estimator(panel)
    assert len(str(caught.value).splitlines()) == 1


def test_staggered_adoption_is_refused_as_the_paper_has_it() -> None:
    panel = Paper().draw(Streams(1)).panel
    refuses("choose an estimator of staggered adoption", lambda: Ancova()(panel))


@covered(cls=[Ancova, PostOnly], pattern=["entry", "dropout"])
def test_units_that_one_date_leaves_out_are_there_under_another(cls: type[Ancova | PostOnly], pattern: Any) -> None:
    """Dates that are redrawn in a panel with gaps: each replication has its own units, in a study too."""
    design = PanelDesign(units=30, periods=8, adoption=Random(dates=(2003, 2007)), redraw=("adoption",),
                         missing=Pattern(share=0.3, pattern=pattern))  # fmt: skip
    estimator = cls(errors=("hc1",))
    drawn = design.draw(Streams(4).tile(0, 8)).panel
    alone = Estimates.join([estimator(drawn.replication(row)) for row in range(8)])
    np.testing.assert_array_equal(estimator(drawn).estimate, alone.estimate)
    np.testing.assert_array_equal(estimator(drawn).se, alone.se)
    nobs = alone.statistics["nobs"]
    assert len(np.unique(nobs)) > (cls is Ancova or pattern == "dropout")
    np.testing.assert_array_equal(estimator(drawn).statistics["nobs"], nobs)
    study = Study(name="dates", design=design, estimators=(estimator,), replications=8, block=64, seed=4, worlds=1)
    cell = study.cells[0]
    own = study.design.settle(cell.streams(4).of_world(0)).draw(cell.streams(4).tile(0, 8), study.wanted(cell)).panel
    (block,) = run(study).blocks(0)
    wanted = [estimator(own.replication(row)).estimate[0] for row in range(8)]
    np.testing.assert_allclose(block.estimates[estimator.name].estimate, wanted, rtol=1e-12)


@pytest.mark.parametrize("cls", [Ancova, PostOnly])
def test_replications_of_other_dates_have_their_own_weights_and_one_without_treated_rows_spoils_no_other(
    cls: type[Ancova | PostOnly],
) -> None:
    design = PanelDesign(units=30, periods=8, adoption=Random(dates=(2003, 2007), treated=2), redraw=("adoption",))
    drawn = design.draw(Streams(4).tile(0, 6)).panel
    w = np.random.default_rng(1).uniform(0.5, 2.0, (1, 8, 30))
    drawn = replace(drawn.with_variables({"w": w}), roles=replace(drawn.roles, weight="w"))
    alone = Estimates.join([cls()(drawn.replication(row)) for row in range(6)])
    np.testing.assert_array_equal(cls()(drawn).estimate, alone.estimate)
    seen = np.ones((1, 8, 30), dtype=bool)
    seen[0, 1:, drawn.variables["did"][2].any(axis=0)] = False
    found = cls()(replace(drawn, observed=seen))
    assert found.status[2] == Status.REFUSED
    assert (found.status[[0, 1, 3]] == Status.OK).all()
    late = drawn.variables["did"] * (np.arange(30) % 2 * np.arange(8)[:, None] != 7)
    refuses("not that of one date", lambda: cls()(replace(drawn.with_variables({"did": late}), observed=seen)))


def test_errors_by_draws_of_such_replications_are_refused() -> None:
    design = PanelDesign(units=30, periods=8, adoption=Random(dates=(2003, 2007)), redraw=("adoption",),
                         missing=Pattern(share=0.3, pattern="entry"))  # fmt: skip
    drawn = design.draw(Streams(4).tile(0, 8)).panel
    with pytest.raises(BadInput, match="wild:group of replications that differ in the units that they can use"):
        Ancova(errors=("wild:group",))(drawn)
    refuses("replications differ in the units that have periods before and after", lambda: Ancova().used(drawn))


def test_a_unit_without_rows_before_is_left_out_of_ancova_alone() -> None:
    panel = panel_of()
    seen = np.ones((1, 8, 40), dtype=bool)
    seen[0, :3, 5] = False
    gaps = replace(panel, observed=seen)
    assert Ancova()(gaps).statistics["nobs"][0] == 39
    assert PostOnly()(gaps).statistics["nobs"][0] == 40
    assert Ancova().used(gaps).nobs == 39
