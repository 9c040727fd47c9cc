"""Before a new store is filled: estimators that are not panelproof's own fit two replications twice.

They do so where blocks are computed, so that what ends its process there does not end this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cluster import Environment, Executor, WorkerRefused, prepare_process
from experiments.running.tasks import check_environment, runner_of
from experiments.study.study import Study
from sim.errors import BadInput


@dataclass(frozen=True, slots=True)
class Trial:
    """A study on its first replications, in an environment like the client's; None: the client runs it."""

    timed: ClassVar[bool] = False  # it says nothing of how long a block takes

    study: Study
    environment: Environment | None


def try_fits(trial: Trial) -> None:
    """Fit twice; raises BadInput for a wrong answer and for two that differ."""
    prepare_process()
    check_environment(trial.environment)
    runner_of(trial.study, 0).try_fits(trial.study.own_estimators)


def let_be(trial: Trial, seconds: float | None, memory: int | None) -> None:
    """What a trial that ended its process is followed by: nothing, because the run finds that fit and names it."""


def check_fits(study: Study, executor: Executor, here: Environment | None) -> None:
    """Raise BadInput when an estimator of the user's gives a wrong answer, or two answers to one question."""
    for outcome in executor.run(try_fits, [Trial(study, here)], let_be):
        if isinstance(outcome.error, BadInput | WorkerRefused):
            raise outcome.error
