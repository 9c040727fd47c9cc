"""Fits that fail, do harm or answer wrongly: each is named, costs its own fits at most, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import commands
import numpy as np
import pytest
from failing_plug_ins import FAILURES, harmed, left, lost_fits, run_with, sound_numbers
from harmful_fits import HOW

from cluster import JobDied
from estimators import TwoWayDID
from estimators.core.estimator import Estimates, Layout, Status
from experiments.plugin_contracts import lacking
from experiments.run import tasks
from experiments.run.runner import run
from experiments.run.tasks import LOST, LOST_DRAW, DrawDied, Job, JobPiece, compute_piece, run_carefully, run_job
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.block import Block
from sim.panel import Panel
from sim.presets import Paper
from sim.streams import TILE, Streams
from studies import SHORT, quick_study

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
BROKEN_STUDY = f"""{SHORT}[[estimators]]
kind = "did"
[[estimators]]
kind = "made_up_broken:Broken"
label = "mine"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made_up_broken.py").write_text(BROKEN.format(body=ALWAYS))
    (tmp_path / "study.toml").write_text(BROKEN_STUDY)
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


BOTH = (TwoWayDID(label="one"), TwoWayDID(label="other"))


@dataclass
class Played:
    """A child that dies of some pieces."""

    deadly: Callable[[JobPiece], bool]
    deaths: int = 0
    limits: list[float] = field(default_factory=list)

    def call(self, function: Any, piece: JobPiece, seconds: float | None, memory: int | None) -> Any:
        assert seconds is not None
        self.limits.append(seconds)
        if self.deadly(piece):
            self.deaths += 1
            raise JobDied("it was told to")
        return compute_piece(piece)

    def close(self) -> None:
        """It lives no longer than its process."""


def search(monkeypatch: pytest.MonkeyPatch, study: Study, deadly: Callable[[JobPiece], bool]) -> tuple[Block, Played]:
    child = Played(deadly)
    monkeypatch.setattr(tasks, "Child", lambda fork: child)
    return run_carefully(Job(study, 0, 0, 0, 256, None), 600.0, None).block, child


def study_of(*estimators: TwoWayDID) -> Study:
    return quick_study(256, 256, grid=(), estimators=estimators)


def harms(piece: JobPiece, *, at: int, name: str) -> bool:
    fits = piece.way not in {"draw", "reduce"} and piece.estimator in {"", name}
    return fits and at in range(piece.start, piece.stop)


@pytest.mark.parametrize(("estimators", "at", "most"), [(BOTH[:1], 5, 2), (BOTH, 5, 3), (BOTH, 200, 6)])
def test_a_deadly_fit_costs_few_limits_and_itself(
    estimators: tuple[TwoWayDID, ...], at: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(*estimators)
    found, child = search(monkeypatch, study, lambda piece: harms(piece, at=at, name="one"))
    assert child.deaths <= most, "a limit each, and one of the block before"
    whole = run_job(Job(study, 0, 0, 0, 256, None)).block
    for name, estimates in whole.estimates.items():
        lost = np.arange(256) == at if name == "one" else np.zeros(256, dtype=bool)
        np.testing.assert_array_equal(found.estimates[name].status[lost], Status.ERROR)
        np.testing.assert_array_equal(found.estimates[name].estimate[~lost], estimates.estimate[~lost])
    assert found.truth.keys() == whole.truth.keys() != set()
    for name, truth in whole.truth.items():
        np.testing.assert_array_equal(found.truth[name], truth)
    assert {key: text.startswith(LOST) for key, text in found.tracebacks.items()} == {(at, "one"): True}


def test_a_piece_may_take_twenty_times_what_its_replications_took() -> None:
    child: Any = Played(lambda _: False)
    seen = tasks.FaultBisection(Job(study_of(*BOTH), 0, 0, 0, 256, None), 600.0, None, child, slowest=0.1)
    for stop in (65, 192):
        seen.call(64, stop, "draw")
    assert child.limits == [20 * 0.1 * TILE, 20 * 0.1 * 128]


def test_a_deadly_draw_costs_its_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(*BOTH)
    found, _ = search(monkeypatch, study, lambda piece: 64 in range(piece.start, piece.stop))
    whole = run_job(Job(study, 0, 0, 0, 256, None)).block
    lost = np.arange(256) // TILE == 2
    for name, estimates in whole.estimates.items():
        assert (found.estimates[name].status[lost] == Status.ERROR).all()
        np.testing.assert_array_equal(found.estimates[name].estimate[~lost], estimates.estimate[~lost])
    assert {key: text.startswith(LOST_DRAW) for key, text in found.tracebacks.items()} == {
        (64, "one"): True, (64, "other"): True}  # fmt: skip


def test_a_world_that_cannot_be_drawn_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DrawDied, match="drawing panels ended the process"):
        search(monkeypatch, study_of(*BOTH), lambda _: True)


HARMFUL_STUDY = (
    SHORT
    + """[[estimators]]
kind = "harmful_fits:{kind}"
label = "harmful"
harms = [{harms}]
[[estimators]]
kind = "did"
[cluster]
where = "serial"
memory = "700MB"
block_timeout = 3
"""
)
REASONS = {"exits": "exited with code 0", "dies": "SIGSEGV", "hangs": "ran longer", "fills": "MiB of memory"}
SUPPORT = Path(__file__).resolve().parent.parent / "support"


def run_harmful(folder: Path, kind: str, *harms: str) -> subprocess.CompletedProcess[str]:
    text = HARMFUL_STUDY.format(kind=kind, harms=", ".join(f'"{harm}"' for harm in harms))
    (folder / f"{len(harms)}.toml").write_text(text)
    path = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])
    words = ("run", f"{len(harms)}.toml", "--store", f"{len(harms)}.zarr")
    return commands.run(folder, *words, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.long
@pytest.mark.parametrize(("kind", "harms"), [("Harmful", tuple(HOW)), ("HarmfulTiles", ("dies",))])
def test_harm_costs_one_replication_each(kind: str, harms: tuple[str, ...], tmp_path: Path) -> None:
    """All others keep their bits; only an estimator that takes tiles as they are rounds the rest of that tile anew."""
    whole = run_harmful(tmp_path, kind)
    assert whole.returncode == 0, whole.stderr
    ran = run_harmful(tmp_path, kind, *harms)
    assert ran.returncode == 3, ran.stdout + ran.stderr
    good, harmed = (ZarrStore.open(tmp_path / f"{count}.zarr") for count in (0, len(harms)))
    status = np.concatenate([block.estimates["harmful"].status for block in harmed.blocks(0)])
    assert np.flatnonzero(status == Status.ERROR).tolist() == sorted(HOW[harm] for harm in harms)
    others = np.flatnonzero(status != Status.ERROR)
    for name in ("harmful", "did"):
        ours, theirs = (np.concatenate([block.estimates[name].se for block in store.blocks(0)])[others]
                        for store in (harmed, good))  # fmt: skip
        anew = np.isin(others // TILE, [HOW[harm] // TILE for harm in harms]) & (kind == "HarmfulTiles")
        np.testing.assert_array_equal(ours[~anew], theirs[~anew])
        np.testing.assert_allclose(ours[anew], theirs[anew], rtol=1e-12)
    for harm in harms:
        replication = HOW[harm]
        text = harmed.tracebacks[f"cell 0 block {replication // 64} replication {replication} harmful"]
        assert REASONS[harm] in text
        assert re.search(rf"panelproof replay {len(harms)}.zarr 0 {replication}\b", " ".join(ran.stdout.split()))


ON_WORKERS = ("forks",)  # what another way of starting processes may change; prints: below


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return sound_numbers(tmp_path_factory.mktemp("alone"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "where"), [*((name, "serial") for name in FAILURES), *((name, "local") for name in ON_WORKERS)]
)
def test_a_failing_plug_in_harms_itself_alone(name: str, where: str, sound: dict[str, Any], tmp_path: Path) -> None:
    failure = FAILURES[name]
    ended = run_with(tmp_path, failure, where)
    assert ended.code == failure.code, ended.output + ended.errors
    assert failure.said in ended.line(failure.said)
    assert "Traceback" not in ended.output + ended.errors
    assert harmed(ended, sound) == []
    assert left() == []
    assert (None if ended.store is None else lost_fits(ended.store)) == failure.lost


@pytest.mark.long
@pytest.mark.parametrize("where", ["serial", "local"])
def test_what_a_fit_prints_is_no_part_of_the_json_document(where: str, tmp_path: Path) -> None:
    ended = run_with(tmp_path, FAILURES["prints"], where, "--json")
    assert json.loads(ended.output)["study"]["complete"]
    assert {"a fit prints", "a library prints"} <= set(ended.errors.splitlines())
