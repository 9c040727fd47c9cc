"""Fits that fail are seen: in a run's exit code, in `replay`, in `store info`, and by `--retry failed`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import commands
import numpy as np
import pytest

from estimators import TwoWayDID
from estimators.core.estimator import Estimates, Layout, Status
from experiments.plugin_contracts import lacking
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from sim.panel import Panel
from sim.presets import Paper
from sim.streams import Streams
from studies import SHORT

BROKEN = """
from dataclasses import dataclass
from typing import ClassVar
from estimators import TwoWayDID

@dataclass(frozen=True, slots=True)
class Broken(TwoWayDID):
    kind: ClassVar[str] = "broken"

    def solve(self, plan, moments, schema, streams):
        {body}
"""
ALWAYS = 'raise ArithmeticError("no such root")'
CORRECT = "return TwoWayDID.solve(self, plan, moments, schema, streams)"
STUDY = f"""{SHORT}[[estimators]]
kind = "did"
[[estimators]]
kind = "made_up_broken:Broken"
label = "mine"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made_up_broken.py").write_text(BROKEN.format(body=ALWAYS))
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def run_study(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return commands.run(folder, "run", "study.toml", "--cluster", "serial", "--store", "x.zarr", *options)


def words(text: str) -> str:
    return " ".join(text.split())


def test_an_estimator_that_never_fits_is_said_and_corrected_and_retried(folder: Path) -> None:
    for _ in range(2):  # a resume with nothing to compute says so too
        failed = run_study(folder)
        assert failed.returncode == 3
        assert "mine: every fit failed: ArithmeticError: no such root" in failed.stdout
        assert "did: every fit" not in failed.stdout
    info = commands.run(folder, "store", "info", "x.zarr")
    assert info.returncode == 0
    assert "failed fits   mine: 128 of 128" in info.stdout
    assert "traceback     cell 0 block 0 replication 0 mine: ArithmeticError: no such root" in info.stdout
    again = commands.run(folder, "replay", "x.zarr", "0", "90", "--load-code")
    assert again.returncode == 0
    assert "ArithmeticError: no such root" in again.stdout
    assert "made_up_broken.py" in again.stdout
    unchanged = run_study(folder, "--retry", "failed")
    assert unchanged.returncode == 3
    assert "2 blocks with failed fits to compute again; no code has changed since then" in words(unchanged.stdout)
    (folder / "made_up_broken.py").write_text(BROKEN.format(body=CORRECT))
    corrected = run_study(folder, "--retry", "failed")
    assert corrected.returncode == 0
    assert (
        "2 blocks with failed fits to compute again; what has changed since then: other code of made_up_broken"
        in words(corrected.stdout)
    )
    store = ZarrStore.open(folder / "x.zarr")
    assert store.tracebacks == {}
    assert [set(counts) for counts in store.status_counts().values()] == [{Status.OK}, {Status.OK}]
    for block in store.blocks(0):
        np.testing.assert_array_equal(block.estimates["mine"].estimate, block.estimates["did"].estimate)
    assert "nothing to retry" in run_study(folder, "--retry", "failed").stdout
    assert "failed" not in commands.run(folder, "store", "info", "x.zarr").stdout


def test_only_blocks_with_failed_fits_are_computed_again(folder: Path) -> None:
    """The others stay, from the code before, and the run says so."""
    late = f"if streams.start >= 64: {ALWAYS}\n        {CORRECT}"
    (folder / "made_up_broken.py").write_text(BROKEN.format(body=late))
    some = run_study(folder, "--block", "64")
    assert some.returncode == 0, "some fits are there"
    (folder / "made_up_broken.py").write_text(BROKEN.format(body=CORRECT))
    retried = run_study(folder, "--retry", "failed")
    assert retried.returncode == 0
    kept = "reasons kept; `panelproof store info x.zarr` shows each)."
    assert f"Of mine most often: ArithmeticError: no such root (5 of 5 {kept}" in words(some.stdout)
    assert "1 block with failed fits to compute again; what has changed since then: other code" in words(retried.stdout)
    assert "1 block was computed in another environment; what differs now: other code of made_up_broken" in words(
        retried.stdout
    )
    assert [origin.blocks for origin in ZarrStore.open(folder / "x.zarr").environments] == [1, 1]
    assert commands.run(folder, "store", "verify", "x.zarr").returncode == 0


@dataclass(frozen=True, slots=True)
class Careless(TwoWayDID):
    """Says OK although some of its numbers are not there."""

    kind: ClassVar[str] = "careless"
    what: str = "estimate"
    value: float = float("nan")
    whole: bool = False

    def reduction(self, schema: Any) -> Any:
        return None if self.whole else TwoWayDID.reduction(self, schema)

    def solve(self, plan: Any, moments: Any, schema: Any, streams: Streams) -> Estimates:
        return self.spoilt(TwoWayDID.solve(self, plan, moments, schema, streams), streams)

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        assert streams is not None
        return self.spoilt(TwoWayDID(errors=self.errors)(panel), streams)

    def spoilt(self, found: Estimates, streams: Streams) -> Estimates:
        arrays = {"estimate": found.estimate.copy(), "se": found.se.copy()}
        for row, at in enumerate(range(streams.start, streams.stop)):
            if at % 10 == 3:
                arrays[self.what][row, ..., -1] = self.value
        return replace(found, **arrays)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("estimate", np.nan, "the estimate of did is nan"),
        ("estimate", np.inf, "the estimate of did is inf"),
        ("se", np.nan, "the iid error of did is nan"),
    ],
)
def test_a_fit_without_its_numbers_is_not_ok(what: str, value: float, words: str, whole: bool) -> None:
    careless = Careless(label="careless", what=what, value=value, whole=whole)
    study = Study("x", Paper(controls="none"), (careless, TwoWayDID()), seed=3, replications=100, block=64)
    store = run(study)
    failed = np.arange(100) % 10 == 3
    statuses = np.concatenate([block.estimates["careless"].status for block in store.blocks(0)])
    np.testing.assert_array_equal(statuses, np.where(failed, Status.ERROR, Status.OK))
    assert store.status_counts()["did"] == {Status.OK: 100}
    assert next(iter(store.tracebacks)) == "cell 0 block 0 replication 3 careless"
    assert words in store.usual_error("careless")[0]
    assert "although the fit says OK" in store.usual_error("careless")[0]
    frame = diagnose(store).frame
    rates = frame[(frame["measure"] == "convergence") & (frame["sample"] == "own")].set_index("estimator")["value"]
    assert rates["careless"] == pytest.approx(0.9)
    assert rates["did"] == 1


def answers(stored: tuple[str, ...]) -> tuple[Estimates, Layout]:
    """Two fits of two terms with two error types, all numbers there."""
    shape = (2, 2, 2)
    extra = {name: np.full(shape, 0.5) for name in stored}
    ones = np.ones((2, 2))
    estimates = Estimates(("a", "b"), ("one", "two"), ones, np.ones(shape), np.ones(shape),
                          np.full(2, Status.OK, dtype=np.uint8), **extra)  # fmt: skip
    return estimates, Layout(("a", "b"), ("one", "two"), (), {}, stored)


def test_error_types_without_standard_errors_are_there_by_their_p_values() -> None:
    estimates, layout = answers(("pvalue",))
    assert lacking(estimates, layout, with_errors=True) == {}
    estimates.se[:, 1, :] = np.nan  # as of a permutation test
    assert lacking(estimates, layout, with_errors=True) == {}
    assert estimates.pvalue is not None
    estimates.pvalue[1, 1, 0] = np.nan  # as Sobel's error, which serves some terms alone
    assert lacking(estimates, layout, with_errors=True) == {}
    estimates.pvalue[1, 1, 1] = np.nan
    assert lacking(estimates, layout, with_errors=True) == {1: "the two error of a is nan"}
    assert lacking(estimates, layout, with_errors=False) == {}


@pytest.mark.parametrize("dof", [0.0, -3.0])
def test_an_error_without_degrees_of_freedom_is_none(dof: float) -> None:
    """It gives neither a p value nor an interval, so that all measures but the bias would be NaN."""
    estimates, layout = answers(())
    estimates.dof[1, 1, 0] = dof
    said = f"the two error of a is 1.0 with {dof:g} degrees of freedom"
    assert lacking(estimates, layout, with_errors=True) == {1: said}
    estimates.dof[:] = np.inf
    assert lacking(estimates, layout, with_errors=True) == {}


def test_fits_of_other_statuses_keep_what_they_have() -> None:
    estimates, layout = answers(())
    estimates.se[0, 0, 1] = estimates.estimate[1, 0] = np.nan
    assert set(lacking(estimates, layout, with_errors=True)) == {0, 1}
    estimates.status[:] = Status.NOT_CONVERGED
    assert lacking(estimates, layout, with_errors=True) == {}
