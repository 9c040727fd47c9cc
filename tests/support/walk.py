"""The files of the five rooms in which a function runs while something is done, in the order of first call.

`python tests/support/walk.py` prints the walk of table 7 of a minimal spec: a panel, a treatment, a control, a W. With
`--block` it prints that of one block of a study of `did`, from the job to its files.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
HEIGHT = {"cluster": 0, "sim": 0, "estimators": 1, "results": 2, "experiments": 3}
SPEC = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "did"
controls = ["x"]

[inference]
draws = 99

[[weights]]
kind = "file"
path = "w.csv"
"""


@dataclass(frozen=True, slots=True)
class Walk:
    """files: by first call. crossings: calls from a file of one room into one of another, (from, to), once each."""

    files: tuple[str, ...]
    crossings: tuple[tuple[str, str], ...]

    @property
    def climbs(self) -> tuple[tuple[str, str], ...]:
        """The crossings from a lower room into a higher one."""
        return tuple(pair for pair in self.crossings if HEIGHT[_room(pair[0])] < HEIGHT[_room(pair[1])])

    @property
    def text(self) -> str:
        """One file a line, numbered; then the climbs."""
        lines = [f"{number:3d}  {name}" for number, name in enumerate(self.files, 1)]
        lines += [f"{len(self.files)} files, {len(self.climbs)} climbs (calls from a lower room into a higher one):"]
        lines += [f"     {lower} -> {higher}" for lower, higher in self.climbs]
        lines += [f"{len(self.crossings)} crossings (calls from one room into another):"]
        return "\n".join([*lines, *(f"     {caller} -> {called}" for caller, called in self.crossings)])


def walked[T](action: Callable[[], T]) -> tuple[Walk, T]:
    """What an action walks through, and what it returns.

    A file counts when a function of it runs; modules and class bodies, which run when they are imported, do not, and
    every module is imported before.
    """
    import_rooms()
    files: dict[str, None] = {}
    crossings: dict[tuple[str, str], None] = {}

    def called(code: CodeType, _: int) -> Any:
        name = _file_of(code)
        if name is None:
            return sys.monitoring.DISABLE  # a library's: it is not asked about again
        files.setdefault(name)
        caller = _caller(sys._getframe(1))
        if caller is not None and _room(caller) != _room(name):
            crossings.setdefault((caller, name))
        return None

    tool, start = sys.monitoring.PROFILER_ID, sys.monitoring.events.PY_START
    sys.monitoring.use_tool_id(tool, "walk")
    try:
        sys.monitoring.register_callback(tool, start, called)
        sys.monitoring.restart_events()
        sys.monitoring.set_events(tool, start)
        result = action()
    finally:
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.register_callback(tool, start, None)
        sys.monitoring.free_tool_id(tool)
    return Walk(tuple(files), tuple(crossings)), result


def import_rooms() -> None:
    """Import every module of the five rooms."""
    for room in ROOMS:
        for module in pkgutil.walk_packages(importlib.import_module(room).__path__, f"{room}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def _file_of(code: CodeType) -> str | None:
    """The file of a function of the five rooms, None for anything else."""
    if not code.co_flags & inspect.CO_OPTIMIZED or not code.co_filename.startswith(str(ROOT)):
        return None
    name = Path(code.co_filename).relative_to(ROOT).as_posix()
    return name if _room(name) in ROOMS else None


def _room(name: str) -> str:
    return name.partition("/")[0]


def _caller(frame: FrameType | None) -> str | None:
    """The file of the next function of the five rooms below a frame, whatever libraries stand between."""
    while frame is not None and (frame := frame.f_back) is not None:
        if (name := _file_of(frame.f_code)) is not None:
            return name
    return None


def minimal_panel(folder: Path) -> tuple[Path, Path]:
    """A panel of 24 cities in 6 years with a W, and its spec, as files."""
    rng = np.random.default_rng(1)
    cities, years = (values.ravel() for values in np.meshgrid(np.arange(24), np.arange(2010, 2016), indexing="ij"))
    did = ((cities % 4 == 0) & (years >= 2013)).astype(int)
    frame = pd.DataFrame({"city": [f"c{c:02d}" for c in cities], "year": years, "did": did})
    frame["x"], frame["y"] = rng.standard_normal((2, len(frame)))
    frame["y"] += frame["did"] + frame["x"]
    links = [(f"c{a:02d}", f"c{(a + step) % 24:02d}", 1.0) for a in range(24) for step in (1, 2, -1)]
    panel, spec = folder / "panel.csv", folder / "spec.toml"
    frame.to_csv(panel, index=False)
    pd.DataFrame(links, columns=["focal", "neighbor", "weight"]).to_csv(folder / "w.csv", index=False)
    spec.write_text(SPEC, encoding="utf-8")
    return panel, spec


def table_7(panel: Path, spec: Path) -> list[str]:
    """Table 7 of a panel as `estimate` makes it: from the files to the lines of the terminal."""
    from experiments.panel_spec.spec import read_real_panel, read_spec
    from experiments.tables import spatial_models
    from experiments.tables.ledger import Ledger, facts_of, journal_tables
    from results.tables.records import Document

    real = read_real_panel(panel, read_spec(spec))
    ledger = Ledger(seed=1)
    spatial_models.add(real, ledger)
    tables = journal_tables(
        Document(facts_of(real), tuple(ledger.records), tuple(ledger.statistics), tuple(ledger.notes))
    )
    return [table.caption for table in tables]


def block(folder: Path) -> Walk:
    """One block of a study of `did` as a worker does it that knows the study: drawn, fitted, and written into a store.

    The world is made of the default parts.
    """
    from estimators import TwoWayDID
    from experiments.run.runner import run
    from experiments.run.tasks import Job, run_job
    from experiments.study import Study
    from results.store.chunks import shared
    from sim.world.panel_design import PanelDesign

    study = Study("walk", PanelDesign(), (TwoWayDID(),), replications=128, block=64)
    run(study, store=folder / "walk.zarr")
    with shared(folder / "walk.zarr") as into:
        run_job(Job(study, 0, 0, 0, 64, None, into=into, run="walk"))
        return walked(lambda: run_job(Job(None, 0, 1, 64, 128, None, into=into, run="walk")))[0]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as made:
        if "--block" in sys.argv:
            print(block(Path(made)).text)
            sys.exit()
        files = minimal_panel(Path(made))
        print(walked(lambda: table_7(*files))[0].text)
