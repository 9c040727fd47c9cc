"""The search for what ends its process: what it costs, and what it leaves; children are played by this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from cluster import JobDied
from estimators import Status, TwoWayDID
from experiments.run import tasks
from experiments.run.tasks import LOST, LOST_DRAW, DrawDied, Job, JobPiece, compute_piece, run_carefully, run_job
from experiments.study import Study
from results.store.block import Block
from sim.streams import TILE
from studies import quick_study

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
