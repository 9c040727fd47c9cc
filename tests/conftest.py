"""Fixtures that every test may ask for."""

from __future__ import annotations

import gc
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiers

from cluster import Executor, open_executor, prepare_process
from estimators.core import regression
from estimators.linear import covariances
from estimators.spatial import spectrum
from sim import weights

prepare_process()  # tests compute as commands and workers do, with one thread: a third less time on two cores
STEPS = (-4, 0, 4)  # units in the last place by which other processors may round
Kernel = Callable[..., Any]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that are not part of the repository; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("PANELPROOF_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set PANELPROOF_DATA")
    return folder


@pytest.fixture(scope="session")
def local_workers() -> Iterator[Callable[[int], Executor]]:
    """Local clusters of so many workers, each started once; for tests that neither harm nor refuse workers."""
    started: dict[int, Executor] = {}

    def of(workers: int) -> Executor:
        if workers not in started:
            started[workers] = open_executor("local", workers)
        return started[workers]

    yield of
    for executor in started.values():
        executor.close()


def moved(values: Any, steps: int) -> Any:
    """Numbers, real or complex, `steps` units in the last place away from zero, or towards it where steps < 0."""
    array = np.asarray(values)
    if np.iscomplexobj(array):
        return moved(array.real, steps) + 1j * moved(array.imag, steps)
    array = array.astype(np.float64)
    for _ in range(abs(steps)):
        array = np.nextafter(array, np.copysign(np.inf if steps > 0 else 0.0, array))
    return array


@pytest.fixture(params=STEPS, ids=lambda steps: f"{steps:+d} ulp")
def rounding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Another processor: what edges and tolerances are compared with is computed some units in the last place away.

    Moved are eigenvalues of W (so spectral radii and what W is divided by), the sums of squares by which a regressor
    counts as absorbed, the cross products whose inverse says which regressors are collinear, and the sums by which an
    error counts as cancelled. Returns the steps.
    """
    steps: int = request.param

    def patched(module: Any, name: str, change: Callable[[Kernel], Kernel]) -> None:
        monkeypatch.setattr(module, name, change(getattr(module, name)))

    def result(kernel: Kernel) -> Kernel:
        return lambda *arguments: moved(kernel(*arguments), steps)

    def off_diagonal(kernel: Kernel) -> Kernel:  # a common factor would cancel in correlations
        def changed(x: Any) -> Any:
            gram = kernel(x)
            return np.where(np.eye(gram.shape[-1], dtype=bool), gram, moved(gram, steps))

        return changed

    def first_argument(kernel: Kernel) -> Kernel:
        return lambda first, *others, **named: kernel(moved(first, steps), *others, **named)

    patched(weights, "_eigenvalues", result)
    patched(regression, "absorbed", first_argument)
    patched(regression, "gram", off_diagonal)
    patched(covariances, "cancelled", first_argument)
    monkeypatch.setattr(spectrum, "_KEPT", OrderedDict())  # spectra of other tests are of other eigenvalues
    return steps


SECTIONS = {"documents": "blocks of the documents", "faults": "deliberate faults"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which blocks of the documents ran and which were skipped, and how many faults this tier sees."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    said = [item for report in reports for item in getattr(report, "user_properties", ())]
    for section, title in SECTIONS.items():
        if lines := [str(text) for name, text in said if name == section]:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.line(line)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as long what `tests/long.txt` names, and remember which tests `make test` runs."""
    named = set(tiers.LIST.read_text(encoding="utf-8").splitlines())
    for item in items:
        if named & {item.nodeid, tiers.function_of(item.nodeid)}:
            item.add_marker(pytest.mark.long)
    config.stash[tiers.QUICKLY] = {item.nodeid: not any(map(item.get_closest_marker, tiers.LEFT_OUT)) for item in items}


def pytest_collection_finish() -> None:
    """Leave what is there to stay, tests and modules, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()
