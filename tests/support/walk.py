"""The files of the five rooms in which a function runs while something is done, in the order of first call.

`python tests/support/walk.py` prints the walk of table 7 of a minimal spec: a panel, a treatment, a control, a W.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

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
    """files: by first call. climbs: calls from a file of a lower room into one of a higher room, (from, to)."""

    files: tuple[str, ...]
    climbs: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """One file a line, numbered; then the climbs."""
        lines = [f"{number:3d}  {name}" for number, name in enumerate(self.files, 1)]
        lines += [f"{len(self.files)} files, {len(self.climbs)} climbs (calls from a lower room into a higher one):"]
        return "\n".join([*lines, *(f"     {lower} -> {higher}" for lower, higher in self.climbs)])


def walked[T](action: Callable[[], T]) -> tuple[Walk, T]:
    """What an action walks through, and what it returns.

    A file counts when a function of it runs; modules and class bodies, which run when they are imported, do not, and
    every module is imported before. A climb counts once for a pair of files.
    """
    import_rooms()
    files: dict[str, None] = {}
    climbs: dict[tuple[str, str], None] = {}

    def called(code: CodeType, _: int) -> None:
        name = _file_of(code)
        if name is None:
            return
        files.setdefault(name)
        caller = _caller(sys._getframe(1))
        if caller is not None and HEIGHT[_room(caller)] < HEIGHT[_room(name)]:
            climbs.setdefault((caller, name))

    tool, start = sys.monitoring.PROFILER_ID, sys.monitoring.events.PY_START
    sys.monitoring.use_tool_id(tool, "walk")
    try:
        sys.monitoring.register_callback(tool, start, called)
        sys.monitoring.set_events(tool, start)
        result = action()
    finally:
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.register_callback(tool, start, None)
        sys.monitoring.free_tool_id(tool)
    return Walk(tuple(files), tuple(climbs)), result


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


def command(panel: Path, spec: Path) -> None:
    """The command line `estimate PANEL --spec SPEC`, its table printed."""
    from experiments.cli import main

    with suppress(SystemExit):
        main(["estimate", str(panel), "--spec", str(spec)])


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as made:
        files = minimal_panel(Path(made))
        which = command if "--command" in sys.argv else table_7
        print(walked(lambda: which(*files))[0].text)
