"""A diagnosis: the same for any block size, failures counted, nothing said of what has no truth; two stores compared;
in Python every number of tables, arrays and pictures is a row of its frame."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import Sample, made_up
from numpy.typing import NDArray
from refusals import refuses
from rich.console import Console

import panelproof as pp
from estimators import SpatialPanel, TwoWayDID
from estimators.core.estimator import Status
from experiments.cli import run_command
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.diagnosed import Diagnosed, chart_of
from results.diagnosis.comparison import COLUMNS, Comparison, compare, contrast
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import fits_of
from results.diagnosis.power import UpperTail, null_cell
from results.report import terminal
from results.report.terminal import far
from results.store import MemoryStore, Store
from results.verdict.answer import answer
from sim.presets import Paper


def noisy(rng: np.random.Generator, replications: int, terms: int = 1, errors: int = 1, theta: float = 1.0) -> Any:
    truth = np.full((replications, terms), theta)
    estimate = truth + 0.5 * rng.standard_t(6, truth.shape)
    se = 0.5 + 0.05 * rng.random((replications, errors, terms))
    return truth, estimate, se


def select(frame: pd.DataFrame, **where: Any) -> pd.DataFrame:
    return frame[(frame[list(where)] == list(where.values())).all(axis=1)]


def failing(replications: int, rows: dict[int, Status]) -> np.ndarray:
    return np.array([rows.get(row, Status.OK) for row in range(replications)])


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
    assert (shared["n"], shared["value"]) == (40, pytest.approx((a[1] - a[0])[20:].mean()))
    nothing = select(frame, estimator="never", measure="bias").iloc[0]
    assert (nothing["n"], nothing["attempted"]) == (0, 60)
    assert np.isnan(nothing["value"])
    assert select(frame, estimator="never", measure="convergence")["value"].item() == 0


def test_a_term_without_truth_has_no_bias_and_one_of_other_cells_no_rows() -> None:
    truth, estimate, se = noisy(np.random.default_rng(9), 50, 2)
    truth[:, 1] = np.nan
    frame = diagnose(made_up([({}, {"a": Sample(truth, estimate, se)})])).frame
    unknown = select(frame, term="t1")
    assert set(unknown["measure"]) == {"mean_estimate", "empirical_se", "mean_se", "model_se", "rejection"}
    assert np.isfinite(unknown["value"].to_numpy(dtype=float)).all()
    assert select(unknown, measure="empirical_se")["value"].item() == pytest.approx(estimate[:, 1].std(ddof=1))
    assert "coverage" in set(select(frame, term="t0")["measure"])
    rest = noisy(np.random.default_rng(10), 30, 2)
    rest[1][:, 1], rest[2][:, :, 1] = np.nan, np.nan
    cells = [({"d": d}, {"a": Sample(*fits)}) for d, fits in ((1, (truth, estimate, se)), (2, rest))]
    frame = diagnose(made_up(cells)).frame
    assert [set(select(frame, cell=cell)["term"]) for cell in (0, 1)] == [{"", "t0", "t1"}, {"", "t0"}]


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
    grid = [{"effect": 1.0, "spill": "none"}, {"effect": 0.0, "spill": "paper"}, {"effect": 1.0, "spill": "paper"},
            {"effect": 0.0, "spill": "none"}]  # fmt: skip
    nulls = [null_cell(2, grid, usable) for usable in ({0, 1, 3}, {0, 3}, {3})]
    assert nulls == [1, 0, None], "that whose own parameter is zero is preferred"


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

    def gain(a: np.ndarray, b: np.ndarray) -> float:
        return 100 * (a.var(ddof=1) / b.var(ddof=1) - 1)

    covered = [np.abs(e) <= 2.178812829663418 * se[keep, 0, 0] for e in (a, b)]  # t(12)
    without = np.array([gain(np.delete(a, i), np.delete(b, i)) for i in range(n)])
    gaps = {"bias": a - b, "mse": a**2 - b**2, "coverage": covered[0].astype(float) - covered[1]}
    expected = {f"{name}_difference": [gap.mean(), gap.std(ddof=1) / np.sqrt(n)] for name, gap in gaps.items()}
    expected["relative_precision"] = [gain(a, b), np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())]
    for name, wanted in expected.items():
        np.testing.assert_allclose(table.loc[name, ["value", "mcse"]].astype(float), wanted, rtol=1e-8, err_msg=name)
    assert table[["n", "attempted"]].eq([118, 119]).all(axis=None)


# Two stores side by side

STUDY = Study("a", Paper(controls="none"), (TwoWayDID(), SpatialPanel("sar")), grid=(("effect", (0.0, 0.02)),),
              replications=320, block=64, seed=3, worlds=1)  # fmt: skip
OTHER = replace(STUDY, estimators=(TwoWayDID(errors=("hc1", "iid"), cluster_k="all"), SpatialPanel("sem")),
                grid=(("effect", (0.02, 0.05)),), replications=250, block=192)  # fmt: skip


def estimates(store: Store, cell: int, name: str = "did") -> NDArray[np.float64]:
    """The estimate of `did` minus its truth, (R,)."""
    layout = store.layouts[name]
    at, target = layout.terms.index("did"), layout.targets["did"]
    blocks = [*store.blocks(cell)]
    return np.concatenate([block.estimates[name].estimate[:, at] - block.truth[target] for block in blocks])


def row(found: Comparison, **where: object) -> dict[str, float]:
    (only,) = select(found.frame, **where).to_dict("records")
    return only  # type: ignore[return-value]


@pytest.mark.parametrize("worlds", [1, 4])
def test_common_draws_are_compared_replication_by_replication(worlds: int) -> None:
    """The first 250 replications of the cell that both have, whatever the blocks; the rest stands in one alone."""
    a, b = run(replace(STUDY, worlds=worlds)), run(replace(OTHER, worlds=worlds))
    found = compare(a, b)
    bias = row(found, measure="bias")
    assert (bias["a"], bias["b"]) == pytest.approx((estimates(a, 1)[:250].mean(), estimates(b, 0).mean()))
    assert (bias["difference"], bias["mcse"], bias["n_a"], bias["n_b"], bias["paired"]) == (0, 0, 250, 250, True)
    width = row(found, measure="mean_se", error="iid")
    own, other = (np.concatenate([block.estimates["did"].se[:, at, 0] for block in store.blocks(cell)])[:250]
                  for store, cell, at in ((a, 1, 0), (b, 0, 1)))  # fmt: skip
    assert width["difference"] == pytest.approx((other - own).mean(), abs=1e-15)


def test_draws_that_differ_in_fact_or_one_store_has_alone_are_said() -> None:
    """Of the second cell of one, which is the first of the other, nothing is said."""
    found = compare(MemoryStore(schema_of(STUDY)), MemoryStore(schema_of(OTHER)))
    assert [(pair.a, pair.b, pair.why) for pair in found.cells] == [(1, 0, "")]
    assert found.only_a == ("did: error type cluster:unit", "estimator sar-direct", "cell effect = 0.0")
    assert found.only_b == ("estimator sem-direct", "cell effect = 0.05")
    assert found.frame.empty
    # as after an edit of a design's code, of which the fingerprint knows nothing
    a, b = run(STUDY), run(STUDY)
    block = b.sound(0, 1)
    b.write(0, 1, replace(block, truth={name: values + 0.5 for name, values in block.truth.items()}))
    found = compare(a, b)
    assert [pair.why for pair in found.cells] == ["their draws differ (att), as those of other code may", ""]


def test_the_error_of_a_paired_difference_is_that_of_its_mean() -> None:
    a = run(replace(STUDY, estimators=(TwoWayDID(label="one"),)))
    b = run(replace(STUDY, estimators=(TwoWayDID(label="one", errors=("hc1",)),)))
    assert compare(a, b).frame["difference"].eq(0).all()
    b = run(replace(STUDY, estimators=(SpatialPanel("sar", label="one"),)))
    found = compare(a, b)
    gap = estimates(b, 0, "one") - estimates(a, 0, "one")
    bias = row(found, measure="bias", cell=0, term="did")
    assert (bias["difference"], bias["mcse"]) == pytest.approx((gap.mean(), gap.std(ddof=1) / np.sqrt(320)), rel=1e-9)
    alone = np.hypot(*(values.std(ddof=1) / np.sqrt(320) for values in (estimates(a, 0, "one"), gap)))
    assert bias["mcse"] < alone


def test_errors_of_worlds_are_those_of_their_means() -> None:
    a = run(replace(STUDY, estimators=(TwoWayDID(label="one"),), worlds=5))
    b = run(replace(STUDY, estimators=(SpatialPanel("sar", label="one"),), worlds=5))
    gap = (estimates(b, 0, "one") - estimates(a, 0, "one"))[:320]
    world = np.arange(320) // 32 % 5
    sums = np.array([(gap - gap.mean())[world == w].sum() for w in range(5)])
    expected = max(np.sqrt(5 / 4 * (sums**2).sum()) / 320, gap.std(ddof=1) / np.sqrt(320))
    assert row(compare(a, b), measure="bias", cell=0, term="did")["mcse"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("changes", "why"), [
    ({"seed": 4}, "seed was 3, is now 4"), ({"worlds": 2}, "worlds was 1, is now 2"),
    ({"design": Paper(controls="none", sigma=0.05)}, "design.sigma was 0.029, is now 0.05"),
])  # fmt: skip
def test_other_draws_are_compared_by_their_means(changes: dict[str, object], why: str) -> None:
    a, b = run(STUDY), run(replace(STUDY, **changes))  # type: ignore[arg-type]
    found = compare(a, b)
    assert [pair.why for pair in found.cells] == [why, why]
    bias = row(found, measure="bias", cell=1, estimator="did")
    x, y = estimates(a, 1), estimates(b, 1)
    assert bias["difference"] == pytest.approx(y.mean() - x.mean(), rel=1e-9)
    assert not bias["paired"]
    if "worlds" not in changes:
        assert bias["mcse"] == pytest.approx(np.hypot(x.std(ddof=1), y.std(ddof=1)) / np.sqrt(320), rel=1e-9)


def test_shares_of_none_or_all_of_other_draws_are_not_known_exactly() -> None:
    """Both covered in 4 of 4: nobody knows that nothing differs, and 4 against 0 of 4 is no exact number either."""
    found = compare(*(run(replace(STUDY, replications=4, seed=seed)) for seed in (3, 4))).frame
    shares = found[found["measure"].isin(["coverage", "rejection"])]
    known = shares[shares["a"].isin([0.0, 1.0]) & shares["b"].isin([0.0, 1.0])]
    cases = 4 + 1.96**2
    p = 1.96**2 / 2 / cases
    assert len(known) > 3
    assert known["mcse"].to_numpy() == pytest.approx(np.sqrt(2 * p * (1 - p) / cases), rel=1e-4)


def test_all_of_one_and_none_of_the_other_of_the_same_draws_is_no_exact_difference() -> None:
    a, b = (run(replace(STUDY, replications=2)) for _ in range(2))
    for store, width in ((a, 1e3), (b, 1e-9)):
        block, fits = store.sound(0, 0), store.sound(0, 0).estimates["did"]
        wide = replace(fits, se=np.full_like(fits.se, width))
        store.write(0, 0, replace(block, estimates={**block.estimates, "did": wide}))
    found = row(compare(a, b), measure="coverage", error="iid", cell=0, estimator="did", term="did")
    cases = 2 + 1.96**2
    p = 1.96**2 / 2 / cases
    assert (found["difference"], found["paired"]) == (-1, True)
    assert found["mcse"] == pytest.approx(np.sqrt(p * (1 - p) / cases), rel=1e-4)
    # and of two estimators of one store
    truth, estimate, se = noisy(np.random.default_rng(1), 2)
    sides = {"a": Sample(truth, estimate, 1e-9 * se), "b": Sample(truth, estimate, 1e3 * se)}
    table = contrast(made_up([({}, sides)]), ("a", "t0", "one"), ("b", "t0", "one"), 0).set_index("measure")
    assert table.loc["coverage_difference", ["value", "mcse"]].tolist() == [-1, pytest.approx(found["mcse"])]


def test_with_few_worlds_a_difference_is_marked_by_t_as_a_departure_is(capsys: pytest.CaptureFixture[str]) -> None:
    for worlds, said in ((1, "more than 4 Monte"), (2, "more than 10,"), (5, "more than 17.4 Monte")):
        one = run(replace(STUDY, replications=160, worlds=worlds))
        terminal.print_comparison(compare(one, one), one, one, Console(width=200))
        assert said in capsys.readouterr().out
    one = run(replace(STUDY, replications=160, worlds=5, block=64))
    one.states[:, 1:] = 0  # a run that was stopped after two worlds
    terminal.print_comparison(compare(one, one), one, one, Console(width=200))
    assert "more than 10," in capsys.readouterr().out


def test_fits_are_counted_on_either_side() -> None:
    """Ten fits of one side have no standard error, and no test."""
    a = run(replace(STUDY, replications=128))
    block, fits = a.sound(1, 0), a.sound(1, 0).estimates["did"]
    few = replace(fits, se=np.where(np.arange(64)[:, None, None] < 10, np.nan, fits.se))
    a.write(1, 0, replace(block, estimates={**block.estimates, "did": few}))
    found = compare(a, run(replace(STUDY, replications=64, seed=4)))
    for measure, error, n in (("bias", "", 128), ("rejection", "iid", 118)):
        one = row(found, measure=measure, error=error, cell=1, estimator="did", term="did")
        assert (one["n_a"], one["n_b"]) == (n, 64)


def test_only_differences_with_an_error_are_marked_and_only_exact_zeros_are_the_same() -> None:
    sides = [(1.0, np.nan), (1.0, 0.3), (1.0, 0.2), (0.0, 0.1), (0.0, 0.0)]
    rows = [(0, "did", "did", "", "bias", 1.0, 2.0, *pair, 9, 9, True) for pair in sides]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    assert far(frame, 4.0).tolist() == [False, False, True, False, False]
    texts = [str(cell) for cell in terminal._table_of_difference(frame, 4.0, 80).columns[5].cells]
    assert texts == ["1 (-)", "1 (0.3)", "1 (0.2)!", "0 (0.1)", "0 (same)"]


def test_no_column_of_differences_is_lost_in_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of numbers were cropped at the right where names were long."""
    names = ("demeaned-synthetic-control", "callaway-santanna")
    study = replace(STUDY, estimators=tuple(TwoWayDID(label=name) for name in names))
    a, b = run(study), run(replace(study, seed=4))
    terminal.print_comparison(compare(a, b), a, b, Console(width=60), everything=True)
    said = capsys.readouterr().out
    assert [said.count(f"\n{name}\n") for name in names] == [len(a.cells)] * 2
    frame = compare(a, b).frame
    numbers = [f"{value:.3g}" for value in frame[["a", "b", "difference"]].to_numpy().ravel()]
    errors = [f"({mcse:.3g})" for mcse in frame["mcse"].dropna()]
    assert len(errors) > 20
    assert set(numbers + errors) <= set(said.replace("!", "").split())


@pytest.mark.parametrize(("width", "lines"), [(60, 4), (80, 4), (120, 2)])
def test_no_number_of_a_difference_is_broken(width: int, lines: int) -> None:
    one = (0, "did", "did", "cluster:province", "estimate", -9.58e-5, -2.02e-4, -1.074e-4, 3.21e-5, 64, 128, True)
    console = Console(width=width)
    with console.capture() as shown:
        console.print(terminal._table_of_difference(pd.DataFrame([one], columns=list(COLUMNS)), 4.0, width))
    words = shown.get().split()
    assert {"-9.58e-05", "-0.000202", "-0.000107", "(3.21e-05)", "estimate"} <= set(words)
    assert ("cluster:province" in words) == (width > 60)
    assert len(shown.get().rstrip().splitlines()) == lines, "in one line each where there is room"


def test_documents_hold_all_digits_in_any_units() -> None:
    values = [1.4e-15, 2.34567890123e-14, 1 / 3e9, 12345.678901234567, float("nan"), float("inf")]
    rows = terminal.json_rows(pd.DataFrame({"measure": "mse", "value": values}))
    assert [row["value"] for row in rows] == [*values[:4], None, None]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = run(STUDY, store=tmp_path / "a.zarr"), run(OTHER, store=tmp_path / "b.zarr")
    run(replace(STUDY, seed=9), store=tmp_path / "c.zarr")
    stores = [str(tmp_path / name) for name in ("a.zarr", "b.zarr", "c.zarr")]
    assert run_command(["compare", *stores[:2]]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 cell is paired: the draws are common, so B - A is taken replication by replication" in said
    assert "only in B: estimator sem-direct, cell effect = 0.05" in said
    assert "effect = 0.02 (paired)" in said
    assert run_command(["compare", stores[0], stores[2], "--all"]) == 0
    assert "2 cells are unpaired: seed was 3, is now 9" in capsys.readouterr().out
    assert run_command(["compare", *stores[:2], "--json", "--alpha", "0.2"]) == 0
    document = json.loads(capsys.readouterr().out)
    wanted = compare(one, other, alpha=0.2).frame["a"].tolist()
    assert [line["a"] for line in document["rows"]] == pytest.approx(wanted, rel=1e-9)
    assert set(document["rows"][0]) == set(COLUMNS)
    assert document["cells"] == [{"a": 1, "b": 0, "parameters": {"effect": 0.02}, "paired": True, "why": ""}]
    assert run_command(["compare", stores[0], str(tmp_path / "none.zarr")]) == 2
    assert "no such store" in capsys.readouterr().err


# In Python

EFFECTS, NOISES = (0.0, 0.5, 1.0), (1.0, 2.0)


def draw(rng, units=20, periods=6, effect=0.5, noise=1.0):
    did = 1.0 * np.outer(np.arange(periods) >= periods // 2, np.arange(units) < units // 2)
    return {"y": rng.standard_normal(units) + effect * did + noise * rng.standard_normal((periods, units)), "did": did}


def raw(y, did):
    return y[did == 1].mean() - y[did == 0].mean()


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosed:
    fits = {"did": pp.TwoWayDID(errors=("iid", "cluster:unit"), label="did"), "raw": raw}
    study = pp.Study.from_functions(draw=draw, fit=fits, truth="effect", grid={"effect": EFFECTS, "noise": NOISES},
                                    replications=128, block=64)  # fmt: skip
    return pp.diagnose(pp.run(study))


def number(diagnosis: Diagnosed, measure: str, effect: float, noise: float, estimator: str, error: str = "",
           column: str = "value") -> float:  # fmt: skip
    rows = select(diagnosis.frame, measure=measure, effect=effect, noise=noise, estimator=estimator, error=error,
                  sample="own")  # fmt: skip
    return float(rows.loc[rows["term"].isin({"did", "att", ""}), column].item())


@pytest.mark.parametrize("column", ["value", "mcse", "lower", "upper", "n"])
def test_every_number_of_a_table_is_a_row_of_the_frame(diagnosis: Diagnosed, column: str):
    power = diagnosis.table(rows="effect", columns=["error", "noise"], measure="power", number=column)  # type: ignore[arg-type]
    assert (power.shape, list(power.index)) == ((3, 4), list(EFFECTS))
    for effect in EFFECTS:
        for error in ("iid", "cluster:unit"):
            for noise in NOISES:
                wanted = number(diagnosis, "rejection", effect, noise, "did", error, column)
                assert power.loc[effect, (error, noise)] == wanted
    bias = diagnosis.table(rows=["noise", "effect"], columns="estimator", measure="bias", number=column)  # type: ignore[arg-type]
    for (noise, effect), row in bias.iterrows():  # type: ignore[misc]
        for name in ("did", "raw"):
            assert row[name] == number(diagnosis, "bias", effect, noise, name, "", column)


def test_what_varies_besides_stands_in_the_rows(diagnosis: Diagnosed):
    table = diagnosis.table(columns="effect", measure="coverage")
    assert (list(table.index.names), list(table.columns)) == (["noise", "error"], list(EFFECTS))
    alone = diagnosis.table(rows=("effect", "noise", "estimator"), measure="rmse")
    assert list(alone.columns) == ["rmse"]
    assert alone.loc[(0.5, 2.0, "raw"), "rmse"] == number(diagnosis, "rmse", 0.5, 2.0, "raw")
    size = diagnosis.table(rows="noise", columns="error", measure="size")
    assert size.shape == (2, 2), "the cells alone whose truth is zero"
    assert size.loc[2.0, "iid"] == number(diagnosis, "rejection", 0.0, 2.0, "did", "iid")


def test_arrays_hold_every_row_of_the_frame_at_its_labels(diagnosis: Diagnosed):
    tree = diagnosis.to_xarray()
    assert dict(tree.sizes) == {"effect": 3, "noise": 2, "estimator": 2, "term": 2, "error": 2}
    rows = diagnosis.frame[diagnosis.frame["sample"] == "own"]
    seen = 0
    for row in rows.itertuples():
        place = {"effect": row.effect, "noise": row.noise, "estimator": row.estimator}
        place |= {key: getattr(row, key) for key in ("term", "error") if getattr(row, key)}
        for group, column in (("", "value"), ("mcse/", "mcse"), ("lower/", "lower"), ("upper/", "upper"), ("n/", "n")):
            found = tree[f"{group}{row.measure}"].sel(place)
            assert found.dims == ()
            np.testing.assert_equal(float(found), float(getattr(row, column)))
            seen += 1
    assert seen == 5 * len(rows)
    filled = sum(int(tree[f"n/{name}"].notnull().sum()) for name in tree.data_vars)
    assert filled == len(rows)  # and nothing else
    assert tree["bias"].dims == ("effect", "noise", "estimator", "term")
    assert np.isnan(tree["coverage"].sel(estimator="raw")).all()


def test_dials_called_as_arrays_or_groups_give_way() -> None:
    def world(rng: np.random.Generator, n: int = 20, bias: float = 0.0) -> Any:
        return draw(rng, units=n, effect=bias)

    study = pp.Study.from_functions(draw=world, fit=raw, truth="bias", grid={"n": (20, 24), "bias": (0.0, 0.5)},
                                    replications=64, block=64)  # fmt: skip
    tree = pp.diagnose(pp.run(study)).to_xarray()
    assert tree["n/mean_estimate"].dims == ("dial_n", "dial_bias", "estimator", "term")
    assert tree["n/mean_estimate"].sel(dial_n=24, dial_bias=0.5).item() == 64


def test_a_contrast_is_that_of_the_cell(diagnosis: Diagnosed):
    found = diagnosis.contrast("did", "raw")
    assert list(found.index.names) == ["effect", "noise", "measure"]
    for cell, parameters in enumerate(diagnosis.cells):
        wanted = contrast(diagnosis.records, ("did", "did", "cluster:unit"), ("raw", "att", ""), cell)
        ours = found.loc[(parameters["effect"], parameters["noise"])]
        pd.testing.assert_frame_equal(ours.reset_index(), wanted)
        a, b = (number(diagnosis, "bias", *parameters.values(), name) for name in ("did", "raw"))  # type: ignore[misc]
        assert ours.loc["bias_difference", "value"] == pytest.approx(a - b, abs=1e-12)
        assert np.isnan(ours.loc["coverage_difference", "value"])  # raw has no interval
    errors = diagnosis.contrast(("did", "did", "iid"), ("did", "did", "cluster:unit"), cell=3)
    coverage = [number(diagnosis, "coverage", 0.5, 2.0, "did", error) for error in ("iid", "cluster:unit")]
    assert errors.loc[(0.5, 2.0, "coverage_difference"), "value"] == pytest.approx(coverage[0] - coverage[1])
    sides = ("did", "did", "iid"), ("did", "did", "cluster:unit")
    half = replace(diagnosis, alpha=0.5).contrast(*sides, cell=3)
    np.testing.assert_array_equal(half["value"], contrast(diagnosis.records, *sides, 3, alpha=0.5)["value"])


@pytest.mark.parametrize("measure", ["power", "size", "coverage", "bias", "rmse"])
def test_pictures_show_the_numbers_of_the_frame(diagnosis: Diagnosed, measure: str):
    figure = getattr(diagnosis.plot, measure)()
    chart = chart_of(diagnosis, measure)
    column = "rejection" if measure in {"power", "size"} else measure
    rows = diagnosis.frame[(diagnosis.frame["measure"] == column) & (diagnosis.frame["sample"] == "own")]
    shown = [point.value for panel in chart.panels for point in panel.points]
    assert shown
    assert set(shown) <= set(rows["value"])
    drawn = [float(y) for axes in figure.axes for line in axes.lines for y in line.get_ydata()]  # type: ignore[union-attr]
    across = [float(x) for axes in figure.axes for line in axes.lines for x in line.get_xdata()]  # type: ignore[union-attr]
    assert set(shown) <= set(across if chart.form == "dots" else drawn)


def test_pictures_are_saved_and_shown(diagnosis: Diagnosed, tmp_path):
    figure = diagnosis.plot.power(error="iid")
    for form, start in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")):
        figure.savefig(tmp_path / f"power.{form}")
        assert (tmp_path / f"power.{form}").read_bytes().startswith(start)
    html = figure._repr_html_()
    assert html.startswith("<img ")
    assert "<script" not in html
    assert 'alt="Power' in html
    for one in (diagnosis.plot.zip(), diagnosis.plot.scatter(), diagnosis.plot("mean_se")):
        assert one.axes


def test_a_summary_answers_and_lists(diagnosis: Diagnosed):
    text = diagnosis.summary()
    found = answer(diagnosis)
    assert text.splitlines()[: len(found.sentences)] == list(found.sentences)
    lines = [line.split() for line in text.splitlines() if " did " in line and line.split()[0] in {"0.0", "0.5", "1.0"}]
    assert len(lines) == 6
    effect, noise, _, _, truth, bias, *_ = lines[0]
    assert float(truth) == 0
    assert float(bias) == pytest.approx(number(diagnosis, "bias", float(effect), float(noise), "did"), rel=1e-3)


@pytest.mark.parametrize(("ask", "said"), [
    (lambda one: one.table("efect"), "rows and columns; 'efect' is no dial of this study's grid; did you mean "
     "'effect'?; allowed: effect, noise, estimator, term, error"),
    (lambda one: one.table(measure="powr"), "table, measure; 'powr' is no measure; *mean 'power'?; allowed: power, *"),
    (lambda one: one.table(term="dit"), "table, term; no estimator has the term 'dit'; did you mean 'did'?; "
     "allowed: did, att"),
    (lambda one: one.table(number="se"), "table; number = 'se'; *allowed: value, mcse, lower, upper, n*"),
    (lambda one: one.table(measure="size_adjusted_power", sample="passing"), "*has no value in any cell*"),
    (lambda one: one.plot.power(axis="nois"), "plot.power, axis; 'nois' is no dial of this study's grid; *'noise'?"),
    (lambda one: one.plot.power(axis="estimator"), "plot.power, axis; 'estimator' is no dial with several numbers; "
     "allowed: effect, noise; *"),
    (lambda one: one.plot.power(error="idd"), "plot.power, error; no estimator has the error type 'idd'; did you "
     "mean 'iid'?; allowed: iid, cluster:unit"),
    (lambda one: one.plot("powr"), "plot; 'powr' is no measure; *did you mean 'power'?"),
    (lambda one: one.contrast("did", "rawe"), "contrast b; no estimator 'rawe'; *mean 'raw'?; allowed: did, raw"),
    (lambda one: one.contrast("did", ("raw", "t9", "")), "contrast b; *t9*"),
    (lambda one: one.contrast("did", ("raw", "att", "hc9")), "contrast b; *hc9*"),
    (lambda one: one.contrast("did", "raw", cell=9), "contrast; no cell 9; allowed: 0 to 5; *"),
    (lambda one: one.contrast(("did", "did"), "raw"), "contrast a; *allowed: an estimator, or (estimator, term, *"),
    (lambda one: one.to_xarray("all"), "to_xarray; no sample 'all'; allowed: own; choose one of them"),
])  # fmt: skip
def test_what_there_is_not_is_said_in_one_line(diagnosis: Diagnosed, ask, said: str):
    text = str(refuses(".", ask, diagnosis))
    assert "\n" not in text
    rest = text
    for part in said.split("*"):
        assert part in rest, (part, text)
        rest = rest[rest.index(part) + len(part) :]
