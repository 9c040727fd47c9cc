"""Worlds and estimators that are plain functions: `Study.from_functions`, `@design`, `@estimator`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import panelproof as pp
from estimators import Status, TwoWayDID
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from sim import BadInput, Panel, Streams, Wanted
from sim.functions import trial_panel
from sim.weights import knn

PERIODS, UNITS = 6, 12
DID = np.outer(np.arange(PERIODS) >= 3, np.arange(UNITS) < 6) * 1.0


def draw(rng, effect: float = 0.5, sd=1):
    return {"y": effect * DID + sd * rng.standard_normal((PERIODS, UNITS)), "did": DID}


def fit(y, did):
    change = y[3:].mean(axis=0) - y[:3].mean(axis=0)
    mine, others = change[:6], change[6:]
    se = np.sqrt(mine.var(ddof=1) / 6 + others.var(ddof=1) / 6)
    return mine.mean() - others.mean(), se, 10


def two_way(df):
    y = df.pivot(index="period", columns="unit", values="y").to_numpy()
    d = df.pivot(index="period", columns="unit", values="did").to_numpy()
    y, d = (v - v.mean(axis=0) - v.mean(axis=1, keepdims=True) + v.mean() for v in (y, d))
    return {"did": (d * y).sum() / (d * d).sum()}


def small(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "draw": draw,
        "fit": fit,
        "truth": "effect",
        "replications": 128,
        "block": 64,
        "seed": 5,
    }
    return pp.Study.from_functions(**(settings | changes))


def estimates(records: Any, name: str, cell: int = 0) -> np.ndarray:
    return np.concatenate([block.estimates[name].estimate for block in records.blocks(cell)])


def test_every_replication_is_the_two_functions_on_its_own_generator() -> None:
    study = small(grid={"effect": [0, 1]})
    assert [type(cell.design).kind for cell in study.cells] == ["draw", "draw"]
    records = run(study)
    for cell in study.cells:
        blocks = list(records.blocks(cell.index))
        found = np.concatenate([block.estimates["fit"].estimate[:, 0] for block in blocks])
        errors = np.concatenate([block.estimates["fit"].se[:, 0, 0] for block in blocks])
        truths = np.concatenate([block.truth["att"] for block in blocks])
        for r in (0, 31, 32, 127):
            (generator,) = cell.streams(study.seed).tile(r, r + 1).each("draw")
            panel = draw(generator, effect=cell.parameters["effect"], sd=1)
            assert (found[r], errors[r], 10) == fit(**panel)
        assert (truths == cell.parameters["effect"]).all()
        assert (blocks[0].estimates["fit"].dof == 10).all()


def test_bits_depend_on_neither_blocks_nor_their_order() -> None:
    one = run(small(grid={"effect": [0, 1]}))
    other = run(small(grid={"effect": [0, 1]}, block=128), shuffle=3)
    for cell in (0, 1):
        assert np.array_equal(estimates(one, "fit", cell), estimates(other, "fit", cell))


def test_estimates_agree_with_the_batch_estimator_on_the_same_panels() -> None:
    records = run(small(fit={"mine": two_way, "theirs": TwoWayDID()}))
    np.testing.assert_allclose(estimates(records, "mine"), estimates(records, "did"), rtol=1e-12)
    layouts = records.layouts
    assert layouts["mine"].targets == layouts["did"].targets == {"did": "att"}
    assert layouts["mine"].errors == ()
    frame = diagnose(records).frame
    bias = frame[(frame.measure == "bias") & (frame.estimator == "mine")]
    assert (abs(bias.value) < 4 * bias.mcse).all()


def test_an_own_world_has_its_size_and_coverage() -> None:
    frame = pp.diagnose(pp.run(small(grid={"effect": [0.0, 1.0]}, replications=2000))).frame
    size = frame[(frame.measure == "rejection") & (frame.effect == 0)].iloc[0]
    assert abs(size.value - 0.05) < 4 * size.mcse
    power = frame[(frame.measure == "rejection") & (frame.effect == 1)].iloc[0]
    assert power.value > 0.3
    covered = frame[frame.measure == "coverage"]
    assert (abs(covered.value - 0.95) < 4 * covered.mcse).all()


def as_dict(rng, effect=0.5):
    return draw(rng, effect) | {"region": np.repeat(["a", "b", "c"], 4), "periods": range(2001, 2007)}


def as_frame(rng, effect=0.5):
    arrays = draw(rng, effect)
    units = [f"{number}" for number in range(1, UNITS + 1)]
    return pd.DataFrame({
        "city": np.tile(units, PERIODS), "year": np.repeat(range(2001, 2007), UNITS),
        "region": np.tile(np.repeat(["a", "b", "c"], 4), PERIODS),
        **{name: values.ravel() for name, values in arrays.items()},
    })  # fmt: skip


def as_panel(rng, effect=0.5):
    arrays = {name: values[None].copy() for name, values in draw(rng, effect).items()}
    units = tuple(str(number) for number in range(1, UNITS + 1))
    return Panel(units, tuple(range(2001, 2007)), arrays, attributes={"region": np.repeat(["a", "b", "c"], 4)})


def test_a_table_a_dict_and_a_panel_are_one_world() -> None:
    errors = ("cluster:region",)
    found = [run(small(draw=way, fit=[fit, TwoWayDID(errors=errors)], unit="city", period="year"))
             for way in (as_dict, as_frame, as_panel)]  # fmt: skip
    for other in found[1:]:
        for name in ("fit", "did"):
            assert np.array_equal(estimates(found[0], name), estimates(other, name))
        for one, two in zip(found[0].blocks(0), other.blocks(0), strict=True):
            assert (one.estimates["did"].se > 0).all()
            assert np.array_equal(one.estimates["did"].se, two.estimates["did"].se)
    panels = [trial_panel(small(draw=way, unit="city", period="year").design) for way in (as_dict, as_frame, as_panel)]
    assert len({panel.digest for panel in panels}) == 1


def by_panel(panel):
    return fit(panel.variables["y"][0], panel.variables["did"][0])


def by_annotation(sample: Panel):
    return by_panel(sample)


def by_table(data):
    return two_way(data)["did"]


def test_a_fit_is_given_what_its_parameter_names() -> None:
    records = run(small(fit=[fit, by_panel, by_annotation, by_table]))
    for name in ("by-panel", "by-annotation"):
        assert np.array_equal(estimates(records, "fit"), estimates(records, name))
    np.testing.assert_allclose(estimates(records, "fit"), estimates(records, "by-table"), rtol=1e-12)


def by_error_type(y, did):
    return fit(y, did)[0], {"cluster": 2.0, "hc1": 1.0}, {"hc1": 9}


def test_errors_by_name_stand_under_their_names() -> None:
    found = pp.estimator(terms=["did"], errors=["hc1", "cluster"])(by_error_type)()(as_panel(np.random.default_rng(1)))
    np.testing.assert_array_equal(found.se[0, :, 0], [1, 2])
    np.testing.assert_array_equal(found.dof[0, :, 0], [9, np.inf])


def noisy(rng, y, did, scale=0.1):
    return fit(y, did)[0] + scale * rng.standard_normal(), scale


def test_a_fit_that_draws_has_a_generator_of_its_own_in_every_replication() -> None:
    study = small(fit=noisy)
    one, other = run(study), run(small(fit=noisy, block=128))
    assert np.array_equal(estimates(one, "noisy"), estimates(other, "noisy"))
    added = estimates(one, "noisy") - estimates(run(small()), "fit")
    assert abs(added.std() / 0.1 - 1) < 4 / np.sqrt(2 * 128)


TRUTHS = {
    "a number": (0.5, {"att": 0.5}),
    "a dial": ("effect", {"att": 0.5}),
    "a dict": ({"att": "effect", "beta(did)": 0.5, "rho": 0}, {"att": 0.5, "beta(did)": 0.5, "rho": 0.0}),
    "a function of dials": (lambda effect, sd: {"att": effect * sd}, {"att": 0.5}),
    "a function of the panel": (lambda panel: panel.variables["did"].sum(), {"att": 18.0}),
    "a function of what was drawn": ({"cells": lambda data: data["did"].sum()}, {"cells": 18.0}),
    "nothing": (None, {}),
}


@pytest.mark.parametrize("case", TRUTHS)
def test_a_truth_is(case: str) -> None:
    truth, wanted = TRUTHS[case]
    design = small(truth=truth).design
    names = ("att", "beta(did)", "rho", "cells")
    drawn = design.draw(Streams(1, stop=3), Wanted(frozenset(), names)).truth
    for name in names:
        np.testing.assert_array_equal(drawn[name], np.full(3, wanted.get(name, np.nan)))


def test_a_draw_may_return_its_truth_beside_the_panel() -> None:
    def own(rng, sd=1.0):
        effect = rng.standard_normal()
        return {"y": effect * DID + sd * rng.standard_normal(DID.shape), "did": DID}, effect

    def scaled(y, did):
        return fit(y, did)

    records = run(small(draw=own, truth=None, fit=scaled, replications=1024))
    truths = np.concatenate([block.truth["att"] for block in records.blocks(0)])
    with pytest.raises(BadInput, match="returned a truth beside truth = "):
        _ = small(draw=own, truth="sd", fit=scaled).design.schema
    errors = estimates(records, "scaled")[:, 0] - truths
    assert truths.std() > 0.9
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(errors.size)
    assert errors.std() < 0.7


def test_a_truth_of_one_estimand_is_that_of_an_estimate_without_a_term() -> None:
    study = small(truth={"slope": "effect"})
    (layout,) = study.layouts(study.design.schema).values()
    assert (layout.terms, layout.targets) == (("slope",), {"slope": "slope"})


def fixed_places(rng, fixed_rng, spread: float = 1.0):
    x = spread * fixed_rng.standard_normal(UNITS)
    return {"y": x + rng.standard_normal((PERIODS, UNITS)), "x": np.tile(x, (PERIODS, 1)), "place": x}


def test_what_a_fixed_generator_draws_is_the_same_in_every_replication_and_another_in_every_cell() -> None:
    study = small(draw=fixed_places, truth=None, fit=lambda y: y.mean(), grid={"spread": [1.0, 2.0]})
    assert (study.design.held_fixed, small().design.held_fixed) == (("what fixed_rng draws",), ())
    tiles = [cell.design.settle(cell.streams(5)).draw(cell.streams(5).tile(32, 64), study.wanted(cell)).panel
             for cell in study.cells]  # fmt: skip
    for panel in tiles:
        assert (panel.variables["x"] == panel.variables["x"][:1]).all()
        assert panel.variables["y"].std(axis=0).min() > 0.1
        np.testing.assert_array_equal(panel.attributes["place"], panel.variables["x"][0, 0])
    assert not np.allclose(tiles[1].attributes["place"], 2 * tiles[0].attributes["place"])


@pp.design(truth={"att": "effect", "beta(did)": "effect"}, batched=True)
def many(streams, effect: float = 0.5):
    """A world that draws all replications at once."""
    return {"y": effect * DID + streams.normals("errors", PERIODS, UNITS), "did": DID[None]}


@pp.estimator(batched=True, terms=["did"])
def batch_fit(y, did):
    change = y[:, 3:].mean(axis=1) - y[:, :3].mean(axis=1)
    mine, others = change[:, :6], change[:, 6:]
    se = np.sqrt(mine.var(axis=1, ddof=1) / 6 + others.var(axis=1, ddof=1) / 6)
    return mine.mean(axis=1) - others.mean(axis=1), se, 10


def test_batched_functions_give_the_numbers_of_single_ones() -> None:
    study = pp.Study("many", many(), (batch_fit(), small().estimators[0], TwoWayDID()), replications=256, block=64)
    records = run(study)
    for name in ("fit", "did"):
        np.testing.assert_allclose(estimates(records, "batch-fit"), estimates(records, name), rtol=1e-12)
    both = [np.concatenate([block.estimates[name].se for block in records.blocks(0)]) for name in ("fit", "batch-fit")]
    np.testing.assert_allclose(*both, rtol=1e-12)
    again = run(pp.Study("many", many(), (batch_fit(),), replications=256, block=256))
    assert np.array_equal(estimates(records, "batch-fit"), estimates(again, "batch-fit"))


def test_fits_that_fail_are_counted_and_keep_their_reason() -> None:
    def fragile(y, did):
        if y[0, 0] > 1.5:
            raise ZeroDivisionError("made up")
        return None if y[0, 0] < -1.5 else fit(y, did)

    records = run(small(fit=fragile, replications=256))
    first = np.concatenate([block.estimates["fragile"].status for block in records.blocks(0)])
    counts = {status: int((first == status).sum()) for status in Status}
    assert counts[Status.OK] + counts[Status.ERROR] + counts[Status.NOT_CONVERGED] == 256
    assert counts[Status.ERROR] > 5 < counts[Status.NOT_CONVERGED]
    texts = [text for block in records.blocks(0) for text in block.tracebacks.values()]
    assert texts
    assert all("made up" in text and "fragile" in text for text in texts)


def error_types(y, did):
    estimate, se, _ = fit(y, did)
    return {"did": (estimate, {"welch": se, "double": 2 * se}, 10), "level": (y.mean(), {"welch": 1.0, "double": 2.0})}


def test_several_terms_and_error_types() -> None:
    study = small(fit=error_types)
    (layout,) = study.layouts(study.design.schema).values()
    assert layout.terms == ("did", "level")
    assert layout.errors == ("welch", "double")
    assert layout.targets == {"did": "att", "level": "level"}
    block = next(iter(run(study).blocks(0))).estimates["error-types"]
    np.testing.assert_allclose(block.se[:, 1, 0], 2 * block.se[:, 0, 0])
    assert (block.dof[:, :, 0] == 10).all()
    assert np.isinf(block.dof[:, :, 1]).all()


def weighted(rng, effect=0.5):
    where = np.random.default_rng(3).uniform(size=(2, UNITS)) * 10
    w = knn(tuple(str(number) for number in range(1, UNITS + 1)), *where, k=3)
    return draw(rng, effect) | {"knn-3": w, "x": rng.standard_normal((PERIODS, UNITS))}


def test_controls_and_weights_serve_other_estimators() -> None:
    study = small(draw=weighted, fit=[pp.SpatialPanel("sdm"), fit], controls=["x"])
    records = run(study.resized(replications=64))
    assert study.design.schema.weights == ("knn-3",)
    assert all((item.status == Status.OK).all() for item in next(iter(records.blocks(0))).estimates.values())


def with_gaps(rng, effect=0.5, share=0.2):
    arrays = draw(rng, effect)
    seen = rng.uniform(size=DID.shape) > share
    seen[[0, -1]] = True
    return {"y": np.where(seen, arrays["y"], np.nan), "did": DID, "observed": seen}


def rows_of_gaps(rng, effect=0.5, share=0.2):
    arrays = with_gaps(rng, effect, share)
    keys = {"unit": np.tile(np.arange(UNITS), PERIODS), "period": np.repeat(range(PERIODS), UNITS)}
    frame = pd.DataFrame(keys | {name: arrays[name].ravel() for name in ("y", "did")})
    return frame[arrays["observed"].ravel()]


def rows_seen(df):
    return {"rows": len(df), "did": df["y"].mean()}


def test_gaps_of_each_draw_are_its_own() -> None:
    for way in (with_gaps, rows_of_gaps):
        study = small(draw=way, fit=[rows_seen, TwoWayDID(errors=("iid",))], replications=512)
        records = run(study)
        blocks = [block.estimates for block in records.blocks(0)]
        counts = np.concatenate([block["rows-seen"].estimate[:, 0] for block in blocks])
        nobs = np.concatenate([block["did"].statistics["nobs"] for block in blocks])
        np.testing.assert_array_equal(counts, nobs)
        assert counts.std() > 1
        errors = estimates(records, "did")[:, 0] - 0.5
        assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(errors.size)
        tile = study.design.draw(Streams(4, stop=3)).panel
        fitted = TwoWayDID(errors=("iid",))(tile.replication(2))
        (generator,) = Streams(4).tile(2, 3).each("draw")
        alone = trial_of(way(generator))
        np.testing.assert_allclose(fitted.estimate, alone, rtol=1e-10)


def trial_of(drawn: Any) -> float:
    """Two-way DID by dummies on the rows that were drawn."""
    if isinstance(drawn, dict):
        t, i = np.nonzero(drawn["observed"])
        y, d = drawn["y"][t, i], drawn["did"][t, i]
    else:
        t, i, y, d = (drawn[name].to_numpy() for name in ("period", "unit", "y", "did"))
    x = np.column_stack([d, np.eye(UNITS)[i], np.eye(PERIODS)[t][:, 1:]])
    return float(np.linalg.lstsq(x, y, rcond=None)[0][0])


def rows_by_chance(rng, effect=0.5):
    """Rows are missing anywhere, so that another unit is the first in each draw."""
    keys = {"period": np.repeat(range(PERIODS), UNITS), "unit": [f"u{i}" for i in range(UNITS)] * PERIODS}
    frame = pd.DataFrame(keys | {name: values.ravel() for name, values in draw(rng, effect).items()})
    return frame[rng.uniform(size=len(frame)) > 0.05]


def test_units_are_in_one_order_whichever_rows_a_draw_lacks() -> None:
    study = small(draw=rows_by_chance, fit=[TwoWayDID(errors=("iid",))], replications=64)
    drawn = study.design.draw(Streams(4, stop=3)).panel
    assert drawn.units == tuple(f"u{i}" for i in range(UNITS))
    fitted = TwoWayDID(errors=("iid",))(drawn.replication(2)).estimate
    (generator,) = Streams(4).tile(2, 3).each("draw")
    frame = rows_by_chance(generator).assign(unit=lambda table: table["unit"].str[1:].astype(int))
    np.testing.assert_allclose(fitted, trial_of(frame), rtol=1e-10)
    assert (estimates(run(study), "did")[:, 0] != 0).all()


def seldom(rng, effect=0.5):
    drawn = draw(rng, effect)
    return drawn | ({"observed": np.arange(UNITS) + 0 * DID > 0} if rng.uniform() > 0.9 else {})


def test_a_world_whose_trial_draw_is_whole_has_no_gaps_later() -> None:
    with pytest.raises(BadInput, match=r"a draw has gaps, and the trial draw had none; .*observed"):
        run(small(draw=seldom))
