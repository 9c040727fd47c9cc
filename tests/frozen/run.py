"""What the program computes and prints, frozen: `make frozen` compares, `run.py --write` renews.

stores.json holds the content hash of a small study of every estimator and of every built-in study, and digests of draws
of every design. outputs.json holds the SHA-256 of every file that the commands write on the example panel and on
tests/data/cities.csv. What they print in a terminal of 80 columns stands word for word in printed/. All of it is
computed with portable numbers, so that it does not hang on the processor. A change that is meant shows in the renewed
files.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests/support")]
os.environ |= {"COLUMNS": "80", "LINES": "50", "SOURCE_DATE_EPOCH": "1700000000"}
REPLICATIONS = 32
MADE = "frozen"  # the folder in which commands run, as files name it

COMMANDS = {
    "check": "panel check panel.csv --spec spec.toml",
    "estimate": "estimate panel.csv --spec spec.toml --out estimate --format json,html,tex,docx",
    "estimate-cities": "estimate cities.csv --spec cities.toml --out cities --format json,html,tex,docx",
    "init": "init panel.csv --out made.toml",
    "placebo": "placebo panel.csv --spec spec.toml --draws 199 --store placebo.zarr --out placebo",
    "placebo-spatial": "placebo panel.csv --spec spec.toml --estimator sdm --scheme blocks --draws 99 --store sdm.zarr",
    "twin": "twin panel.csv --spec spec.toml --out twin",
    "run": "run spillover --replications 64 --cluster serial --store run.zarr --html run.html",
    "run-columns": "run columns --replications 64 --cluster serial --store columns.zarr",
    "report": "report run.zarr --full --all-terms --format tex,docx,xlsx,csv --out tables --figures pictures",
    "report-json": "report run.zarr --json",
    "report-by": "report run.zarr --by spillover --measure coverage",
    "report-columns": "report columns.zarr --html columns.html",
    "compare": "compare run.zarr columns.zarr",
    "info": "store info run.zarr",
    "verify": "store verify run.zarr",
    "hash": "store hash run.zarr",
    "solve": "solve power:0.8 bias --for effect --budget 2000 --cluster serial --out solved",
    "breakdown": "breakdown size --dial trend_gap --measure size:0.10 --budget 2000 --cluster serial --out broken",
    "kinds": "kinds",
    "studies": "studies",
    "replay": "replay run.zarr 0 3 --save replay.csv",
}  # fmt: skip
CITIES = """[panel]
unit = "code"
period = "year"
treatment = "d"
outcome = "y"
controls = ["road", "book"]
mediators = ["patents", "jobs"]
other_policy = "pilot"
capital = "is_capital"
groups = ["region"]
longitude = "lon"
latitude = "lat"

[[weights]]
kind = "knn"
k = 4
"""
UNSTEADY_FILES = (".png", ".pdf", ".parquet", ".jsonl")  # they hold times or the version of who wrote them
UNSTEADY = (
    (re.compile(r"\d+(\.\d+)? ?(ms|s|seconds|min|minutes)\b"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([+-]\d\d:?\d\d|Z)?"), "DATE"),
    (re.compile(r'"(seconds|computing|elapsed|took)": ?[\d.e+-]+'), r'"\1": TIME'),
    (re.compile(r"\b[\d.,]+/s\b"), "SPEED"),
    (re.compile(r"\bcode [0-9a-f]{16}\b"), "CODE"),
    (re.compile(r"L2 \d+ KB"), "CACHE"),
)


def stores(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, hash) of small studies and of draws."""
    from estimators import estimators
    from experiments.run.runner import run
    from experiments.study import Study, builtin_names, builtin_study
    from results.store import ZarrStore

    def hash_of(study: Study, name: str) -> str:
        shutil.rmtree(folder / f"{name}.zarr", ignore_errors=True)
        run(study, store=folder / f"{name}.zarr")
        return ZarrStore.open(folder / f"{name}.zarr").content_hash()

    for kind, cls in sorted(estimators().items()):
        made = cls()
        study = Study(name=kind, design=made.home[0], estimators=(made,), replications=REPLICATIONS, block=64, seed=1)
        yield f"estimator {kind}", hash_of(study, kind)
    for name in builtin_names():
        yield f"study {name}", hash_of(builtin_study(name).resized(replications=REPLICATIONS), name)


def draws() -> Iterator[tuple[str, str]]:
    """(name, digest) of draws of every design: variables and truths."""
    import numpy as np

    from experiments.study import builtin_names, builtin_study
    from sim import Streams, Wanted
    from sim.design import designs

    made = {kind: cls() for kind, cls in designs().items() if kind != "observed" and kind != "placebo"}
    for name in builtin_names():
        made |= {f"{name} {number}": cell.design for number, cell in enumerate(builtin_study(name).cells)}
    for name, design in made.items():
        streams, digest = Streams(3, "frozen"), hashlib.sha256()
        drawn = design.settle(streams).draw(streams.tile(0, 3), Wanted(frozenset(design.schema.variables), ()))
        for variable, values in sorted(drawn.panel.variables.items()):
            digest.update(variable.encode() + np.ascontiguousarray(values).tobytes())
        yield f"draws {name}", digest.hexdigest()


def steady(text: str, folder: Path) -> str:
    """A text without times, dates and the folder's name."""
    text = text.replace(str(folder), MADE)
    for pattern, instead in UNSTEADY:
        text = pattern.sub(instead, text)
    return text


def run_commands(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, what it printed) of every command, and of its help; they write into the folder."""
    from experiments.cli import panelproof, run_command

    for name in panelproof.list_commands(None):  # type: ignore[arg-type]
        yield f"help-{name}", _printed([name, "--help"], run_command, folder)
    _printed(["panel", "example", "."], run_command, folder)
    shutil.copy(REPOSITORY / "tests/data/cities.csv", folder)
    (folder / "cities.toml").write_text(CITIES)
    for name, command in COMMANDS.items():
        yield name, _printed(command.split(), run_command, folder)
        print(f"  {name}", file=sys.stderr, flush=True)
    yield "trust", _trusted(folder)


def _printed(words: list[str], run_command, folder: Path) -> str:  # type: ignore[no-untyped-def]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = run_command(words)
    lines = (line.rstrip() for line in steady(out.getvalue(), folder).splitlines())
    return "\n".join(lines) + f"\nexit code {code}\n"


def _trusted(folder: Path) -> str:
    """A page of `trust` of few replications: what the command prints and writes."""
    from rich.console import Console

    from experiments.panel_spec.spec import read_real_panel, read_spec
    from experiments.trust.document import document, print_trust, write_trust
    from experiments.trust.trust import trust

    held = document(trust(read_real_panel(folder / "cities.csv", read_spec(folder / "cities.toml")), replications=96))
    write_trust(held, folder / "trust")
    out = io.StringIO()
    print_trust(held, Console(file=out, width=80, highlight=False))
    return steady(out.getvalue(), folder)


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, SHA-256) of all that commands wrote, stores left out; of packed files what is in them."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or ".zarr" in name or "/stores/" in name or path.suffix in UNSTEADY_FILES:
            continue
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                for inner in packed.namelist():
                    if "docProps" not in inner:
                        yield f"{name}/{inner}", hashlib.sha256(packed.read(inner)).hexdigest()
        else:
            text = steady(path.read_bytes().decode(errors="surrogateescape"), folder)
            yield name, hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def compared(name: str, now: dict[str, str]) -> list[str]:
    """What differs from a file of hashes."""
    kept = json.loads((FOLDER / name).read_text())
    return [f"{name}: {key}: {'new' if key not in kept else 'gone' if key not in now else 'changed'}"
            for key in sorted(kept.keys() | now.keys()) if kept.get(key) != now.get(key)]  # fmt: skip


def main() -> int:
    from cluster.numbers import OtherSettings, check_numbers, restart

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="renew what is frozen")
    asked = parser.parse_args()

    try:
        check_numbers("portable")
    except OtherSettings:
        restart()
    with tempfile.TemporaryDirectory(prefix="frozen-") as name:
        folder = Path(name).resolve()
        os.chdir(folder)
        printed = dict(run_commands(folder))
        found = {"outputs.json": dict(digests(folder)), "stores.json": dict(stores(folder)) | dict(draws())}
        os.chdir(REPOSITORY)
        if keep := os.environ.get("KEEP"):  # to look at what differs
            shutil.copytree(folder, keep)
    if asked.write:
        shutil.rmtree(FOLDER / "printed", ignore_errors=True)
        (FOLDER / "printed").mkdir()
        for name, text in printed.items():
            (FOLDER / "printed" / f"{name}.txt").write_text(text)
        for name, hashes in found.items():
            (FOLDER / name).write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
        return 0
    bad = [line for name, hashes in found.items() for line in compared(name, hashes)]
    there = {path.stem: path.read_text() for path in (FOLDER / "printed").glob("*.txt")}
    for name in sorted(there.keys() | printed.keys()):
        pair = there.get(name, "").splitlines(), printed.get(name, "").splitlines()
        bad += list(difflib.unified_diff(*pair, f"{name}, frozen", f"{name}, now", lineterm="", n=1))
    print("\n".join(bad) or f"equal: {len(printed)} texts, {len(found['outputs.json'])} files, "
          f"{len(found['stores.json'])} hashes")  # fmt: skip
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
