"""A diagnosis is the same for any block size, counts failures, and says nothing of what has no truth."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import Sample, made_up

from estimators.core.estimator import Status
from results.diagnosis.comparison import contrast
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import fits_of
from results.diagnosis.power import UpperTail, null_cell
from sim.errors import BadInput


def noisy(rng: np.random.Generator, replications: int, terms: int = 1, errors: int = 1, theta: float = 1.0) -> Any:
    truth = np.full((replications, terms), theta)
    estimate = truth + 0.5 * rng.standard_t(6, truth.shape)
    se = 0.5 + 0.05 * rng.random((replications, errors, terms))
    return truth, estimate, se


def select(frame: pd.DataFrame, **where: Any) -> pd.DataFrame:
    for key, wanted in where.items():
        frame = frame[frame[key] == wanted]
    return frame


def failing(replications: int, rows: dict[int, Status]) -> np.ndarray:
    status = np.full(replications, Status.OK)
    for row, outcome in rows.items():
        status[row] = outcome
    return status


@pytest.mark.parametrize("block", [1, 64])
def test_block_size_changes_nothing(block: int) -> None:
    rng = np.random.default_rng(4)
    cells = []
    for effect in (0.0, 1.0):
        first, second = noisy(rng, 150, 2, 2, effect), noisy(rng, 150, 2, 2, effect)
        status = failing(150, {7: Status.SINGULAR, 77: Status.NOT_CONVERGED})
        cells.append(({"effect": effect}, {"a": Sample(*first), "b": Sample(*second, status=status)}))
    whole, blocks = (diagnose(made_up(cells, block=size)).frame for size in (150, block))
    pd.testing.assert_frame_equal(whole, blocks, rtol=1e-10, atol=1e-13)


def test_failures_are_counted_and_left_out() -> None:
    truth, estimate, se = noisy(np.random.default_rng(6), 90)
    status = failing(90, {0: Status.SINGULAR, 1: Status.SINGULAR, 2: Status.ERROR, 89: Status.NOT_RUN})
    estimate[0] = np.nan
    estimate[1] = 1e9
    frame = diagnose(made_up([({}, {"a": Sample(truth, estimate, se, status=status)})], block=20)).frame
    assert select(frame, measure="status:ok")["value"].item() == 86
    assert select(frame, measure="status:singular")["value"].item() == 2
    assert select(frame, measure="status:error")["value"].item() == 1
    assert not frame["measure"].eq("status:not_run").any()
    convergence = select(frame, measure="convergence").iloc[0]
    assert convergence["value"] == pytest.approx(86 / 89)
    assert convergence["mcse"] == pytest.approx(np.sqrt(86 / 89 * 3 / 89 / 89))
    bias = select(frame, measure="bias").iloc[0]
    assert (bias["n"], bias["attempted"]) == (86, 89)
    good = status == Status.OK
    assert bias["value"] == pytest.approx((estimate - truth)[good].mean())


def test_common_sample_only_where_it_differs() -> None:
    rng = np.random.default_rng(7)
    a, b, c = (noisy(rng, 60) for _ in range(3))
    half = failing(60, dict.fromkeys(range(20), Status.NOT_CONVERGED))
    never = np.full(60, Status.REFUSED)
    samples = {"a": Sample(*a), "b": Sample(*b, status=half), "never": Sample(*c, status=never)}
    frame = diagnose(made_up([({}, samples)], block=13)).frame
    assert set(select(frame, estimator="a")["sample"]) == {"own", "common"}
    assert set(select(frame, estimator="b")["sample"]) == {"own"}
    shared = select(frame, estimator="a", measure="bias", sample="common").iloc[0]
    assert shared["n"] == 40
    assert shared["value"] == pytest.approx((a[1] - a[0])[20:].mean())
    nothing = select(frame, estimator="never", measure="bias").iloc[0]
    assert nothing["n"] == 0
    assert nothing["attempted"] == 60
    assert np.isnan(nothing["value"])
    assert select(frame, estimator="never", measure="convergence")["value"].item() == 0


def test_a_term_without_truth_has_no_bias() -> None:
    truth, estimate, se = noisy(np.random.default_rng(9), 50, 2)
    truth[:, 1] = np.nan
    frame = diagnose(made_up([({}, {"a": Sample(truth, estimate, se)})])).frame
    unknown = select(frame, term="t1")
    assert set(unknown["measure"]) == {"mean_estimate", "empirical_se", "mean_se", "model_se", "rejection"}
    assert np.isfinite(unknown["value"].to_numpy(dtype=float)).all()
    spread = select(unknown, measure="empirical_se")["value"].item()
    assert spread == pytest.approx(estimate[:, 1].std(ddof=1))
    assert "coverage" in set(select(frame, term="t0")["measure"])


def test_a_term_of_other_cells_has_no_rows() -> None:
    rng = np.random.default_rng(10)
    with_it, without = noisy(rng, 30, 2), noisy(rng, 30, 2)
    without[1][:, 1], without[2][:, :, 1] = np.nan, np.nan
    cells = [({"d": 1}, {"a": Sample(*with_it)}), ({"d": 2}, {"a": Sample(*without)})]
    frame = diagnose(made_up(cells)).frame
    assert set(select(frame, cell=0)["term"]) == {"", "t0", "t1"}
    assert set(select(frame, cell=1)["term"]) == {"", "t0"}


def test_stored_p_values_and_intervals_are_used() -> None:
    truth, estimate, se = noisy(np.random.default_rng(12), 40, 1, 2)
    se[:, 1] = np.nan  # a permutation test and its interval
    stored = {name: np.full(se.shape, np.nan) for name in ("pvalue", "lower", "upper")}
    stored["pvalue"][:, 1] = np.where(np.arange(40) < 10, 0.05, 0.2)[:, None]
    below = np.repeat([0.0, -1.0, -1.0, -1.0], 10)[:, None]  # an end at the truth itself holds it
    above = np.repeat([1.0, 0.0, 1.0, -0.5], 10)[:, None]
    stored["lower"][:, 1], stored["upper"][:, 1] = truth + below, truth + above
    records = made_up([({}, {"a": Sample(truth, estimate, se, stored=stored)})], block=7)
    frame = diagnose(records).frame
    assert select(frame, measure="rejection", error="two")["value"].item() == 0.25
    assert select(frame, measure="coverage", error="two")["value"].item() == 0.75
    assert np.isnan(select(frame, measure="mean_se", error="two")["value"].item())
    assert select(frame, measure="rejection", error="one")["n"].item() == 40
    fits = fits_of(records.draws[0], "a", records.layouts["a"], 0.05)
    assert fits is not None
    assert fits.covered[:, 1].mean() == 0.75  # as two stores are compared


def test_a_screen_passes_what_lies_above_the_level() -> None:
    """A p value of exactly 5% rejects, as of every test."""
    records = made_up([({}, {"a": Sample(*noisy(np.random.default_rng(14), 40))})], block=40)
    records.layouts["a"] = replace(records.layouts["a"], statistics=("pre_p",), screen="pre_p")
    fits = records.draws[0].estimates
    fits["a"] = replace(fits["a"], statistics={"pre_p": np.repeat([0.01, 0.05, 0.051, 0.6], 10)})
    frame = diagnose(records).frame
    assert select(frame, sample="passing", measure="bias")["n"].item() == 20
    assert select(frame, measure="rejection:pre_p")["value"].item() == 0.5


def test_size_adjusted_power_from_the_null_cell() -> None:
    rng = np.random.default_rng(13)
    cells = []
    for effect in (0.0, 1.0):
        for size in ("small", "large"):
            cells.append(({"effect": effect, "size": size}, {"a": Sample(*noisy(rng, 400, theta=effect))}))
    diagnosis = diagnose(made_up(cells))
    assert diagnosis.nulls == {(2, "a", "t0"): 0, (3, "a", "t0"): 1}
    t = [np.abs(sample["a"].estimate[:, 0] / sample["a"].se[:, 0, 0]) for _, sample in cells]
    for cell in (2, 3):
        critical = np.sort(t[cell - 2])[-20]  # floor(.05 x 401)
        row = select(diagnosis.frame, cell=cell, measure="size_adjusted_power").iloc[0]
        assert row["value"] == (t[cell] >= critical).mean()
        assert 0 < row["mcse"] < 0.1
    assert select(diagnosis.frame, cell=0, measure="size_adjusted_power").empty
    tail = UpperTail(np.array([[99.0]]), alpha=0.05)
    tail.add(np.arange(1.0, 100.0)[:, None, None])
    assert tail.critical(alpha=0.05).item() == 95.0  # the fifth largest: floor(.05 x 100)


def test_null_cell_prefers_the_parameter_that_is_zero_there() -> None:
    cells = [{"effect": 1.0, "spill": "none"}, {"effect": 0.0, "spill": "paper"}, {"effect": 1.0, "spill": "paper"},
             {"effect": 0.0, "spill": "none"}]  # fmt: skip
    assert null_cell(2, cells, {0, 1, 3}) == 1
    assert null_cell(2, cells, {0, 3}) == 0
    assert null_cell(2, cells, {3}) is None


@pytest.mark.parametrize("replications", [1, 2])
def test_very_few_replications_give_no_warning(replications: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = diagnose(made_up([({}, {"a": Sample(*noisy(np.random.default_rng(1), replications))})])).frame
    assert np.isfinite(select(frame, measure="bias")["value"].item())
    assert np.isnan(select(frame, measure="bias")["mcse"].item()) == (replications == 1)


def test_parameters_keep_clear_of_the_columns() -> None:
    dials = {"n": 5, "cell": "a", "redraw": ["x", "y"]}
    diagnosis = diagnose(made_up([(dials, {"a": Sample(*noisy(np.random.default_rng(1), 9))})]))
    assert diagnosis.parameters == ("dial_n", "dial_cell", "redraw")
    assert diagnosis.frame[["dial_n", "cell", "dial_cell"]].eq([5, 0, "a"]).all(axis=None)
    assert diagnosis.frame["redraw"].eq("x, y").all()


def test_contrast_is_paired() -> None:
    rng = np.random.default_rng(14)
    truth, estimate, se = noisy(rng, 120)
    other = 0.9 * estimate + 0.2 * rng.standard_normal(truth.shape)
    status = failing(120, {3: Status.SINGULAR, 119: Status.NOT_RUN})
    records = made_up([({}, {"a": Sample(truth, estimate, se), "b": Sample(truth, other, se, status=status)})])
    table = contrast(records, ("a", "t0", "one"), ("b", "t0", "one"), 0).set_index("measure")
    keep = status == Status.OK
    a, b = (estimate - truth)[keep, 0], (other - truth)[keep, 0]
    n = keep.sum()

    def paired(difference: np.ndarray) -> list[float]:
        return [difference.mean(), difference.std(ddof=1) / np.sqrt(n)]

    np.testing.assert_allclose(table.loc["bias_difference", ["value", "mcse"]].astype(float), paired(a - b), rtol=1e-9)
    squares = table.loc["mse_difference", ["value", "mcse"]].astype(float)
    np.testing.assert_allclose(squares, paired(a**2 - b**2), rtol=1e-9)

    def gain(a: np.ndarray, b: np.ndarray) -> float:
        return 100 * (a.var(ddof=1) / b.var(ddof=1) - 1)

    without = np.array([gain(np.delete(a, i), np.delete(b, i)) for i in range(n)])
    expected = [gain(a, b), np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())]
    np.testing.assert_allclose(table.loc["relative_precision", ["value", "mcse"]].astype(float), expected, rtol=1e-8)
    assert table["n"].eq(118).all()
    assert table["attempted"].eq(119).all()
    critical = 2.178812829663418  # t(12)
    covered = [np.abs(e) <= critical * se[keep, 0, 0] for e in (a, b)]
    difference = table.loc["coverage_difference", ["value", "mcse"]].astype(float)
    np.testing.assert_allclose(difference, paired(covered[0].astype(float) - covered[1]), rtol=1e-9)


@pytest.mark.parametrize("wrong", [("c", "t0", "one"), ("a", "t9", "one"), ("a", "t0", "hc9")])
def test_contrast_names_what_the_store_lacks(wrong: tuple[str, str, str]) -> None:
    records = made_up([({}, {"a": Sample(*noisy(np.random.default_rng(1), 9))})])
    with pytest.raises(BadInput, match="contrast b"):
        contrast(records, ("a", "t0", "one"), wrong, 0)
