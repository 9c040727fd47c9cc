"""Designs and estimators of users that fail, do harm or answer wrongly: each is named in one line, costs its own fits
at most, and leaves nothing behind."""

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
from commands import words
from failing_plug_ins import FAILURES, MODULE, harmed, left, lost_fits, run_with, sound_numbers
from harmful_fits import HOW
from refusals import refuses, refuses_all

from cluster import JobDied
from estimators import TwoWayDID
from estimators.core.estimator import Estimates, Estimator, Layout, Status
from experiments.plugin_contracts import check_truths, lacking
from experiments.run import tasks
from experiments.run.runner import preflight, run
from experiments.run.tasks import LOST, LOST_DRAW, DrawDied, Job, JobPiece, compute_piece, run_carefully, run_job
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.block import Block
from sim import Design, Draw, Panel, Roles, Schema, Streams, Wanted, World
from sim.presets import BertrandDufloMullainathan, Paper
from sim.streams import TILE
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.weights import NoWeights
from studies import SHORT, quick_study

N, T = 6, 4
UNSEEDED = np.random.default_rng()


@dataclass(frozen=True, slots=True)
class Plain(Design):
    """A small sound design; `fault` says what is wrong with its draws."""

    kind: ClassVar[str] = "plain"

    fault: str = ""

    @property
    def schema(self) -> Schema:
        if self.fault == "schema raises":
            raise KeyError("units")
        if self.fault == "no schema":
            return None  # type: ignore[return-value]
        roles = Roles("y", "law" if self.fault == "role without a variable" else "did")
        return Schema(N, T, ("y", "did"), (), (), roles)

    def settle(self, streams: Streams) -> World:
        if self.fault == "settle raises":
            raise ZeroDivisionError("division by zero")
        return PlainWorld(self.fault, streams.fixed("state"))


@dataclass(frozen=True, eq=False)
class PlainWorld:
    fault: str
    state: np.random.Generator

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        if self.fault == "draw raises":
            raise IndexError("list index out of range")
        if self.fault == "a later draw raises" and streams.start >= 64:
            raise IndexError("list index out of range")
        if self.fault == "no draw":
            return None  # type: ignore[return-value]
        rows = streams.replications
        y = streams.normals("y", T, N)
        y = {"unseeded": UNSEEDED, "stateful": self.state}[self.fault].random(y.shape) if self.fault in LOOSE else y
        did = np.zeros((1, T, N))
        did[0, 2:, :3] = 1.0
        panel = Panel(tuple("abcdef"), tuple(range(T)), {"y": y, "did": did}, Roles("y", "did"))
        sound = Draw(panel, {name: np.zeros(rows) for name in wanted.estimands})
        change, _ = DESIGNS.get(self.fault, (None, ""))
        return change(sound) if change else sound


LOOSE = ("unseeded", "stateful")


def of_panel(change: Callable[[Panel], Panel]) -> Callable[[Draw], Draw]:
    return lambda draw: replace(draw, panel=change(draw.panel))


def of_truth(change: Callable[[np.ndarray], Any]) -> Callable[[Draw], Draw]:
    return lambda draw: replace(draw, truth={name: change(values) for name, values in draw.truth.items()})


def with_value(values: np.ndarray, value: float) -> np.ndarray:
    values[3] = value
    return values


def fewer(panel: Panel) -> Panel:
    variables = {name: values[:, :, :5] for name, values in panel.variables.items()}
    return replace(panel, units=panel.units[:5], variables=variables)


TWICE = "other numbers of y when the same replications were drawn twice"
DESIGNS: dict[str, tuple[Callable[[Draw], Draw] | None, str]] = {  # what becomes of a sound draw, what is said
    "schema raises": (None, "schema raised KeyError: 'units' (test_failing_plug_ins.py, line "),
    "no schema": (None, "schema is wrong: NoneType; allowed: Schema"),
    "role without a variable": (None, "schema.roles is wrong: the name 'law'; allowed: names among y, did"),
    "settle raises": (None, "settle raised ZeroDivisionError: division by zero (test_failing_plug_ins.py, line "),
    "draw raises": (None, "draw raised IndexError: list index out of range (test_failing_plug_ins.py, line "),
    "no draw": (None, "draw is wrong: NoneType; allowed: Draw"),
    "fewer units": (of_panel(fewer), "5 units x 4 periods; allowed: 6 units x 4 periods"),
    "fewer replications": (of_panel(lambda panel: panel.replication(0)),
                           "1 replications; allowed: the 32 of the streams"),
    "missing variable": (of_panel(lambda panel: replace(panel, variables={"y": panel.variables["y"]})),
                         "draw: panel.variables is wrong: no did"),
    "missing truth": (lambda draw: replace(draw, truth={"ATT": np.zeros(32)}), "['ATT'] without att"),
    "truth of another shape": (of_truth(lambda values: values[:5]), "truth of att is wrong: shape (5,)"),
    "scalar truth": (of_truth(lambda values: 0.0), "truth of att is wrong: shape (); allowed: (32,)"),
    "infinite truth": (of_truth(lambda values: with_value(values, np.inf)), "truth of att is wrong: an infinite value"),
    "a truth that is NaN": (of_truth(lambda values: with_value(values, np.nan)),
                            "truth of att is wrong: NaN in some replications"),
    "unseeded": (None, TWICE),
    "stateful": (None, TWICE),
}  # fmt: skip


def study(design: Design | None = None, *estimators: Estimator, replications: int = 128) -> Study:
    return Study("border", design or Plain(), estimators or (TwoWayDID(),), replications=replications, block=64)


def test_the_sound_design_and_estimator_run() -> None:
    preflight(study())
    records = run(study(None, TwoWayDID(), Mean()))
    assert [len(block.truth["att"]) for block in records.blocks(0)] == [64, 64]
    assert records.noted("tracebacks", {}) == {}
    truth = np.array([0.0, np.nan, 0.0, 0.0])  # a mean over a window may be of no cells in some draws
    check_truths(BertrandDufloMullainathan(), {"att(1990,1991)": truth, "rho": np.full(4, np.nan)}, 4)
    refuses("truth of rho", lambda: check_truths(BertrandDufloMullainathan(), {"rho": truth}, 4))


def test_draws_of_parts_in_which_nobody_is_treated_have_no_truth_and_lose_their_fits_alone() -> None:
    design = PanelDesign(units=6, weights=NoWeights(), adoption=Random(independent=True), redraw=("adoption",))
    records = run(study(design, replications=512))
    truth, status = (np.concatenate(found) for found in zip(*[
        (block.truth["att"], block.estimates["did"].status) for block in records.blocks(0)], strict=True))  # fmt: skip
    assert 0 < np.isnan(truth).sum() < 30
    assert (status[np.isnan(truth)] == Status.SINGULAR).all()


@pytest.mark.parametrize("fault", DESIGNS)
def test_a_wrong_design_is_one_line_in_preflight(fault: str) -> None:
    said = f"(?=.*design 'plain' \\(Plain\\); ).*{re.escape(DESIGNS[fault][1])}"
    refuses(said, lambda: preflight(study(Plain(fault))), count=1)


def test_a_design_that_raises_within_a_run_poisons_its_block_alone() -> None:
    records = run(study(Plain("a later draw raises")))
    assert [len(block.truth["att"]) for block in records.blocks(0)] == [64]
    (text,) = records.noted("tracebacks", {}).values()
    assert "list index out of range" in text


@dataclass(frozen=True, slots=True)
class Mean(Estimator):
    """The mean of y; `fault` says what is wrong with its answers."""

    kind: ClassVar[str] = "mean"

    fault: str = ""

    @property
    def name(self) -> str:
        return "mean"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        return Plain(), ("y",)

    def layout(self, schema: Schema) -> Layout:
        sound = Layout(("y",), ("iid",), ("r2",), {"y": "att"})
        if self.fault == "layout raises":
            raise AttributeError("no such thing")
        return replace(sound, **LAYOUTS.get(self.fault, ({}, ""))[0])

    def variables(self, schema: Schema) -> frozenset[str]:
        return frozenset({"y", "x"} if self.fault == "reads what is not there" else {"y"})

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        y = panel.variables["y"].reshape(panel.replications, -1)
        rows = len(y)
        one = np.ones((rows, 1, 1))
        sound = Estimates(("y",), ("iid",), y.mean(axis=1, keepdims=True), one, one, np.full(rows, 1, np.uint8),
                          {"r2": np.zeros(rows)})  # fmt: skip
        return ANSWERS[self.fault][0](sound) if self.fault in ANSWERS else sound


@dataclass(frozen=True, slots=True)
class Later(Mean):
    """The mean of y, with a wrong answer wherever replication 70 is among those that are asked for."""

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        return Mean(self.fault if 70 in range(streams.start, streams.stop) else "")(panel, streams)


LAYOUTS: dict[str, tuple[dict[str, Any], str]] = {  # what is changed in a sound layout, what is said
    "layout raises": ({}, "layout raised AttributeError: no such thing (test_failing_plug_ins.py, line "),
    "repeated term": ({"terms": ("y", "y")}, "layout.terms is wrong: ('y', 'y')"),
    "terms as text": ({"terms": "yy"}, "layout.terms is wrong: 'yy'"),
    "target without a term": ({"targets": {"y": "att", "z": "att"}}, "layout.targets is wrong: the name 'z'"),
    "stored that is unknown": ({"stored": ("median",)}, "layout.stored is wrong: the name 'median'"),
    "reads what is not there": ({}, "variables is wrong: the name 'x'; allowed: names among y, did"),
}
ANSWERS: dict[str, tuple[Callable[[Estimates], Any], str]] = {  # what becomes of a sound answer, what is said
    "nothing": (lambda answer: None, "estimates is wrong: NoneType; allowed: Estimates"),
    "another term": (lambda answer: replace(answer, terms=("z",)),
                     "terms is wrong: ['z']; allowed: its layout's ['y']"),
    "missing term": (lambda answer: replace(answer, terms=()), "terms is wrong: []"),
    "another error type": (lambda answer: replace(answer, errors=("hc1",)), "errors is wrong: ['hc1']"),
    "estimates of another shape": (lambda answer: replace(answer, estimate=answer.estimate[:, 0]),
                                   "estimate is wrong: shape (2,); allowed: an array of shape (2, 1)"),
    "errors of another shape": (lambda answer: replace(answer, se=answer.se[:, 0]),
                                "se is wrong: shape (2, 1); allowed: an array of shape (2, 1, 1)"),
    "a status for all": (lambda answer: replace(answer, status=np.uint8(1)), "status is wrong"),
    "missing statistic": (lambda answer: replace(answer, statistics={}), "statistics is wrong: []"),
    "statistic of another shape": (lambda answer: replace(answer, statistics={"r2": np.zeros(5)}),
                                   "statistic r2 is wrong: shape (5,)"),
    "a list": (lambda answer: replace(answer, dof=answer.dof.tolist()), "dof is wrong: list, no array"),
    "unseeded estimate": (lambda answer: replace(answer, estimate=UNSEEDED.random(answer.estimate.shape)),
                          "other numbers of estimate when the same panels were fitted twice"),
    "unseeded se": (lambda answer: replace(answer, se=UNSEEDED.random(answer.se.shape)),
                    "other numbers of se when the same panels were fitted twice"),
    "unseeded statistic": (lambda answer: replace(answer, statistics={"r2": UNSEEDED.random(len(answer.status))}),
                           "other numbers of r2 when the same panels were fitted twice"),
}  # fmt: skip


@pytest.mark.parametrize("fault", [*LAYOUTS, *ANSWERS])
def test_a_wrong_estimator_is_one_line_before_anything_is_written(fault: str, tmp_path: Path) -> None:
    def asked() -> None:
        made = study(None, TwoWayDID(), Mean(fault))
        if fault in ANSWERS:  # a layout is asked for before anything is drawn
            run(made, store=tmp_path / "x.zarr")

    refuses_all(["estimator 'mean' (Mean); ", (LAYOUTS | ANSWERS)[fault][1]], asked, count=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["nothing", "missing term", "estimates of another shape", "a list"])
def test_a_wrong_answer_within_a_run_is_a_failed_fit(fault: str) -> None:
    records = run(study(None, TwoWayDID(), Later(fault)))
    status = np.concatenate([block.estimates["mean"].status for block in records.blocks(0)])
    np.testing.assert_array_equal(np.flatnonzero(status == Status.ERROR), [70])
    assert {fit for block in records.blocks(0) for fit in block.estimates["did"].status} == {Status.OK}
    (text,) = records.noted("tracebacks", {}).values()
    assert ANSWERS[fault][1].partition(": shape")[0] in text
    assert "\n" not in text


ALWAYS, CORRECT = 'raise ArithmeticError("no such root")', "pass"
BROKEN_STUDY = f"""{SHORT}[[estimators]]
kind = "did"
[[estimators]]
kind = "failing_plug_in:Failing"
label = "mine"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study file with its module, and beside them a file that has the name of one of our packages."""
    (tmp_path / "sim.py").write_text("raise SystemExit\n")
    (tmp_path / "failing_plug_in.py").write_text(MODULE.replace("[BODY]", ALWAYS))
    (tmp_path / "study.toml").write_text(BROKEN_STUDY)
    return tmp_path


def run_study(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return commands.run(folder, "run", "study.toml", "--cluster", "serial", "--store", "x.zarr", *options)


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
    assert "failing_plug_in.py" in again.stdout
    unchanged = run_study(folder, "--retry", "failed")
    assert unchanged.returncode == 3
    assert "2 blocks with failed fits to compute again; no code has changed since then" in words(unchanged.stdout)
    (folder / "failing_plug_in.py").write_text(MODULE.replace("[BODY]", CORRECT))
    corrected = run_study(folder, "--retry", "failed")
    assert corrected.returncode == 0
    said = "2 blocks with failed fits to compute again; what has changed since then: other code of failing_plug_in"
    assert said in words(corrected.stdout)
    store = ZarrStore.open(folder / "x.zarr")
    assert store.tracebacks == {}
    assert [set(counts) for counts in store.status_counts().values()] == [{Status.OK}, {Status.OK}]
    for block in store.blocks(0):
        np.testing.assert_array_equal(block.estimates["mine"].estimate, block.estimates["did"].estimate)
    assert "nothing to retry" in run_study(folder, "--retry", "failed").stdout
    assert "failed" not in commands.run(folder, "store", "info", "x.zarr").stdout


def test_only_blocks_with_failed_fits_are_computed_again(folder: Path) -> None:
    """The others stay, from the code before, and the run says so."""
    late = f"if streams.start >= 64: {ALWAYS}"
    (folder / "failing_plug_in.py").write_text(MODULE.replace("[BODY]", late))
    some = run_study(folder, "--block", "64")
    assert some.returncode == 0, "some fits are there"
    (folder / "failing_plug_in.py").write_text(MODULE.replace("[BODY]", CORRECT))
    retried = run_study(folder, "--retry", "failed")
    assert retried.returncode == 0
    kept = "reasons kept; `panelproof store info x.zarr` shows each)."
    assert f"Of mine most often: ArithmeticError: no such root (5 of 5 {kept}" in words(some.stdout)
    code = "other code of failing_plug_in"
    for said in (f"1 block with failed fits to compute again; what has changed since then: {code}",
                 f"1 block was computed in another environment; what differs now: {code}"):  # fmt: skip
        assert said in words(retried.stdout)
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
@pytest.mark.parametrize(("what", "value", "words"), [
    ("estimate", np.nan, "the estimate of did is nan"),
    ("estimate", np.inf, "the estimate of did is inf"),
    ("se", np.nan, "the iid error of did is nan"),
])  # fmt: skip
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


@pytest.mark.parametrize("dof", [0.0, -3.0, np.nan])
def test_an_error_without_degrees_of_freedom_is_none(dof: float) -> None:
    """It gives neither a p value nor an interval, so that all measures but the bias would be NaN."""
    estimates, layout = answers(())
    estimates.dof[1, 1, 0] = dof
    said = f"the two error of a is 1.0 with {dof:g} degrees of freedom"
    assert lacking(estimates, layout, with_errors=True) == {1: said}
    estimates.dof[:] = np.inf
    assert lacking(estimates, layout, with_errors=True) == {}
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
    fresh = tasks.FaultBisection(seen.job, 600.0, None, child)
    fresh.call(64, 96, "draw")
    assert fresh.slowest == 0.0
    fresh.call(64, 96, "whole")
    assert fresh.slowest > 0.0


def test_a_deadly_draw_costs_its_tile_and_a_deadly_world_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(*BOTH)
    found, _ = search(monkeypatch, study, lambda piece: {64, 130} & {*range(piece.start, piece.stop)})
    whole = run_job(Job(study, 0, 0, 0, 256, None)).block
    lost = np.isin(np.arange(256) // TILE, (64 // TILE, 130 // TILE))
    for name, estimates in whole.estimates.items():
        assert (found.estimates[name].status[lost] == Status.ERROR).all()
        np.testing.assert_array_equal(found.estimates[name].estimate[~lost], estimates.estimate[~lost])
    assert {key: text.startswith(LOST_DRAW) for key, text in found.tracebacks.items()} == {
        (at, name): True for at in (64, 128) for name in ("one", "other")}  # fmt: skip
    with pytest.raises(DrawDied, match="drawing panels ended the process 3 times"):
        search(monkeypatch, study_of(*BOTH), lambda _: True)


HARMFUL_STUDY = f"""{SHORT}[[estimators]]
kind = "harmful_fits:{{kind}}"
label = "harmful"
harms = [{{harms}}]
[[estimators]]
kind = "did"
[cluster]
where = "serial"
memory = "700MB"
block_timeout = 3
"""
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
