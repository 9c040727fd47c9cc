"""Two stores side by side: paired by replication where the draws are common, apart elsewhere, and saying which."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from estimators import SpatialPanel, TwoWayDID
from experiments.cli import run_command
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.diagnosis.comparison import COLUMNS, Comparison, compare
from results.report import terminal
from results.report.terminal import far
from results.store import MemoryStore, Store
from sim.presets import Paper

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
    frame = found.frame
    for key, value in where.items():
        frame = frame[frame[key] == value]
    (only,) = frame.to_dict("records")
    return only  # type: ignore[return-value]


@pytest.mark.parametrize("worlds", [1, 4])
def test_common_draws_are_compared_replication_by_replication(worlds: int) -> None:
    """The first 250 replications of the cell that both have, whatever the blocks; the rest stands in one alone."""
    a, b = run(replace(STUDY, worlds=worlds)), run(replace(OTHER, worlds=worlds))
    found = compare(a, b)
    assert [(pair.a, pair.b, pair.why) for pair in found.cells] == [(1, 0, "")]
    assert found.only_a == ("did: error type cluster:unit", "estimator sar-direct", "cell effect = 0.0")
    assert found.only_b == ("estimator sem-direct", "cell effect = 0.05")
    bias = row(found, measure="bias")
    assert (bias["a"], bias["b"]) == pytest.approx((estimates(a, 1)[:250].mean(), estimates(b, 0).mean()))
    assert (bias["difference"], bias["mcse"], bias["n_a"], bias["n_b"], bias["paired"]) == (0, 0, 250, 250, True)
    width = row(found, measure="mean_se", error="iid")
    own, other = (np.concatenate([block.estimates["did"].se[:, at, 0] for block in store.blocks(cell)])[:250]
                  for store, cell, at in ((a, 1, 0), (b, 0, 1)))  # fmt: skip
    assert width["difference"] == pytest.approx((other - own).mean(), abs=1e-15)


def test_what_one_store_has_alone_is_said_of_that_store() -> None:
    """Of the second cell of one, which is the first of the other, nothing is said."""
    found = compare(MemoryStore(schema_of(STUDY)), MemoryStore(schema_of(OTHER)))
    assert [(pair.a, pair.b, pair.why) for pair in found.cells] == [(1, 0, "")]
    assert found.only_a == ("did: error type cluster:unit", "estimator sar-direct", "cell effect = 0.0")
    assert found.only_b == ("estimator sem-direct", "cell effect = 0.05")
    assert found.frame.empty


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


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"seed": 4}, "seed was 3, is now 4"), ({"worlds": 2}, "worlds was 1, is now 2"),
     ({"design": Paper(controls="none", sigma=0.05)}, "design.sigma was 0.029, is now 0.05")],
)  # fmt: skip
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


def test_draws_that_differ_in_fact_are_not_paired() -> None:
    """As after an edit of a design's code, of which the fingerprint knows nothing."""
    a, b = run(STUDY), run(STUDY)
    block = b.sound(0, 1)
    b.write(0, 1, replace(block, truth={name: values + 0.5 for name, values in block.truth.items()}))
    found = compare(a, b)
    assert [pair.why for pair in found.cells] == ["their draws differ (att), as those of other code may", ""]


def test_only_differences_with_an_error_are_marked_and_only_exact_zeros_are_the_same() -> None:
    sides = [(1.0, np.nan), (1.0, 0.3), (1.0, 0.2), (0.0, 0.1), (0.0, 0.0)]
    rows = [(0, "did", "did", "", "bias", 1.0, 2.0, *pair, 9, 9, True) for pair in sides]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    assert far(frame).tolist() == [False, False, True, False, False]
    texts = [str(cell) for cell in terminal._table_of_difference(frame).columns[6].cells]
    assert texts == ["1 (-)", "1 (0.3)", "1 (0.2)!", "0 (0.1)", "0 (same)"]


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
