"""The command line from end to end: what it prints, writes and returns, also into closed pipes and on full disks."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import click
import commands
import docx
import made_cities
import numpy as np
import pandas as pd
import psutil
import pytest
from commands import here, refusal
from damage import at_most
from real_parts import ENVIRONMENT
from refusals import refuses
from rich.console import Console

import panelproof as pp
from estimators import TwoWayDID
from experiments.cli import KEPT, Terminated, _expected, panelproof
from experiments.commands.command_options import ADVANCED, CLUSTER_OPTIONS
from experiments.commands.study_commands import SHELLS
from experiments.run import reporting
from experiments.run.resume import compare
from results.store import ZarrStore, locked
from results.store.disk import STALE, write_whole
from results.store.files import folder_beside
from sim.errors import NO_THREAD, BadInput, Problem
from studies import SHORT

STUDY = 'question = "Does it run?"\n' + SHORT.replace("128", "150")
STUDY += '[grid]\neffect = [0.0, 0.0157]\n[[estimators]]\nkind = "did"\n'


@pytest.mark.long
def test_pressed_twice_while_workers_start_it_says_so_and_ends(tmp_path: Path) -> None:
    """Workers that are hit while Python itself starts may say something beside it."""
    command = [sys.executable, "-m", "experiments", "run", "bias", "--replications", "300000", "--cluster", "local"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 60
    while not psutil.Process(process.pid).children() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert any(line.startswith("panelproof: interrupted") for line in said.decode().splitlines())


RUN = ("run", "study.toml", "--cluster", "serial", "--store", "x.zarr")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study file, from which commands are given."""
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran")
    (folder / "study.toml").write_text(STUDY)
    here("run", folder / "study.toml", "--cluster", "serial", "--store", folder / "x.zarr", "--html", folder / "x.html")
    return folder


def test_run_prints_the_table_and_where_things_are(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran)
    printed = here(*RUN).out
    for words in ("300 of 300 panels", "Bias in standard errors, by effect", "x.zarr"):
        assert words in printed
    assert "bias (MCSE)" not in printed
    assert "bias (MCSE)" in here(*RUN, "--full").out
    assert "<svg" in (ran / "x.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(("options", "words"), [
    (["--html", "file.txt/a.html"], "choose another --html"),
    (["--html", "a.txt"], "add .html"),
    (["--store", "file.txt/x.zarr"], "choose another --store"),
    (["--store", "."], "is no store, and not empty"),
    (["--store", "{ran}/x.zarr", "--seed", "77"], "seed was 5, is now 77"),
])  # fmt: skip
def test_a_dry_run_refuses_what_the_run_refuses(
    dry: list[str], options: list[str], words: str, ran: Path, asked: Path
) -> None:
    (asked / "file.txt").write_text("a file")
    out, err = here(*RUN, *(option.format(ran=ran) for option in options), *dry, code=2)
    assert words in err
    assert not out
    assert sorted(path.name for path in asked.iterdir()) == ["file.txt", "study.toml"]


def test_a_dry_run_says_that_a_store_is_in_use(asked: Path) -> None:
    with locked(asked / "x.zarr"):
        assert "in use by another run" in here(*RUN, "--dry-run", code=75).err


def test_replay_of_a_run_in_memory_finds_the_same_numbers() -> None:
    store = pp.run(pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64))
    again = pp.replay(store, 0, 7)
    (kept,) = store.blocks(0)
    assert again.panel.replications == 1
    np.testing.assert_array_equal(again.block.estimates["did"].estimate[0], kept.estimates["did"].estimate[7])
    refuses("the run in memory; no replication 64; allowed: 0 to 63", lambda: pp.replay(store, 0, 64))


def test_a_replay_is_compared_term_by_term(tmp_path: Path) -> None:
    """A cell without controls has the constant second; the store has it last, as cells with controls do."""
    study = pp.Study("terms", pp.Paper(), (TwoWayDID(constant=True),), {"controls": ["paper", "none"]},
                     replications=64, block=64)  # fmt: skip
    store = pp.run(study, store=tmp_path / "x.zarr")
    assert store.layouts["did"].terms.index("constant") > 1
    for cell, terms in ((0, len(store.layouts["did"].terms)), (1, 2)):
        said = here("replay", tmp_path / "x.zarr", cell, 5).out
        assert (said.count(" same\n"), said.count("differs")) == (terms, 0)
    again = pp.replay(store, 1, 5)
    fit, last = again.block.estimates["did"], np.array([[0.0, 1.0]])
    other = replace(again.block, estimates={"did": replace(fit, estimate=fit.estimate + last)})
    assert compare(store, replace(again, block=other), Console(file=io.StringIO())) == 1


def test_a_replay_of_an_estimator_without_standard_errors_shows_its_estimate(tmp_path: Path) -> None:
    bare = pp.estimator(terms=["did"], errors=[], label="bare")(lambda icr: icr.mean())
    store = pp.run(pp.Study("bare", pp.Paper(), (bare(),), replications=64, block=64), store=tmp_path / "x.zarr")
    console = Console(file=io.StringIO(), width=80)
    assert compare(store, pp.replay(store, 0, 5), console) == 0
    assert console.file.getvalue().split()[-2:] == ["-", "same"]  # type: ignore[attr-defined]


def test_a_replay_has_the_tracebacks_of_its_own_fit_alone() -> None:
    @pp.estimator(terms=["mean"])
    def moody(icr):  # type: ignore[no-untyped-def]
        if int(abs(icr[0, 0]) * 1e9) % 2:
            raise ArithmeticError("no such root")
        return icr.mean(), 1.0

    store = pp.run(pp.Study("fails", pp.Paper(), (pp.TwoWayDID(), moody()), replications=64, block=64))
    raised = [at for at, _ in store.tracebacks_in(0, 0)]
    assert len(raised) > 2
    for at in raised[:2]:
        assert list(pp.replay(store, 0, at).block.tracebacks) == [(at, "moody")]


def test_a_replay_is_compared_in_all_that_the_store_holds_of_a_fit(ran: Path) -> None:
    """Not in its estimates alone. Terms that changed code calls otherwise cannot be compared."""
    store, out = ZarrStore.open(ran / "x.zarr"), Console(file=io.StringIO())
    again = pp.replay(store, 1, 149)
    fit, truth = again.block.estimates["did"], again.block.truth

    def compared(**changes: Any) -> int:
        block = replace(again.block, estimates={"did": replace(fit, **changes)})
        return compare(store, replace(again, block=block), out)

    assert compared() == 0
    for changes in ({"estimate": -fit.estimate}, {"se": 2 * fit.se}, {"dof": fit.dof + 1}, {"status": 1 + fit.status},
                    {"statistics": {**fit.statistics, "r2": fit.statistics["r2"] + 1}}):  # fmt: skip
        assert compared(**changes) == 1, changes
    other = replace(again.block, truth={name: values + 1 for name, values in truth.items()})
    assert compare(store, replace(again, block=other), out) == 1
    refuses("estimator did has other terms or error types by now: new;", lambda: compared(terms=("new",)))


def test_replay_finds_the_same_numbers_and_saves_the_panel(ran: Path) -> None:
    assert "same" in here("replay", ran / "x.zarr", 1, 149, "--save", ran / "panel.csv").out
    panel = pd.read_csv(ran / "panel.csv")
    assert (len(panel), panel["did"].sum()) == (285 * 18, 396)


def test_a_store_whose_name_begins_as_an_option_does_is_printed_as_a_place(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shutil.copytree(ran / "x.zarr", tmp_path / "-d")
    monkeypatch.chdir(tmp_path)
    assert f"`panelproof report {store} --full`" in " ".join(here("report", "--", "-d").out.split())


def test_a_damaged_store_is_refused_in_one_line(ran: Path, tmp_path: Path) -> None:
    """`store info` first says what it knows."""
    said = "".join(here("store", name, ran / "x.zarr").out for name in ("verify", "hash", "info"))
    assert ZarrStore.open(ran / "x.zarr").content_hash() in said
    assert "Does it run?" in said
    damaged = Path(shutil.copytree(ran / "x.zarr", tmp_path / "x.zarr"))
    (damaged / "did" / "fit" / "c.0.1.0").write_bytes(b"xx")
    for command, *rest in ((["report"],), (["report", "--json"],), (["store", "hash"],), (["store", "info"],),
                           (["replay"], 0, 70)):  # fmt: skip
        out, err = here(*command, damaged, *rest, code=2)
        assert "is damaged" in err
        assert ("Does it run?" in out) == (command == ["store", "info"])
    here("store", "verify", damaged, code=1)


def test_names_and_texts_that_no_encoding_has_are_printed_and_written(ran: Path, tmp_path: Path) -> None:
    """Such as a folder's name in another encoding than the system's, or an error that quotes one."""
    store = Path(shutil.copytree(ran / "x.zarr", tmp_path / os.fsdecode(b"\xff.zarr")))
    ZarrStore(store, "a").note("tracebacks", {"cell 0 block 0 replication 3 did": "ValueError: no \ud800"})
    for words in (["report", store, "--html", tmp_path / "x.html"], ["store", "info", store], ["compare", store, store],
                  ["store", "info", store, "--json"], ["store", "pack", store], ["replay", store, 0, 3]):  # fmt: skip
        here(*words).out.encode()
    assert "\\udcff.zarr" in (tmp_path / "x.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("arguments", "more"), [
    (["estimate", "panel.csv", "--spec", "spec.toml"], ""),
    (["run", "bias", "--cluster", "serial", "--store", "x.zarr"], f"; {KEPT}"),
    (["trust", "panel.csv", "--spec", "spec.toml", "--out", "t"], f"; {KEPT}"),
    (["placebo", "panel.csv", "--spec", "spec.toml"], f"; {KEPT}"),
    (["replicate", "b", "--panel", "panel.csv", "--spec=spec.toml"], ""),
])  # fmt: skip
def test_only_a_run_says_that_it_can_be_resumed(
    arguments: list[str], more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("panel.csv", "spec.toml"):
        (tmp_path / name).touch()
    for stop, word, code in ((KeyboardInterrupt, "interrupted", 130), (Terminated, "terminated", 143)):
        for name in ("experiments.panel_spec.spec.read_real_panel", "experiments.run.launch.run"):
            monkeypatch.setattr(name, Mock(side_effect=stop))
        assert here(*arguments, code=code).err.splitlines()[-1] == f"panelproof: {word}{more}"


@pytest.mark.long
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so_and_resumes(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("150", "60000"))
    command = [sys.executable, "-m", "experiments", "run", "study.toml", "--cluster", "serial", "--store", "x.zarr"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "x.zarr").glob("block_mark/c.*.0")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.decode().strip().startswith("panelproof: ")
    assert "Traceback" not in said.decode()
    store = ZarrStore.open(tmp_path / "x.zarr")
    states = [store.state(cell, index).name for cell in range(2) for index in range(5)]
    assert "DONE" in states
    assert store.intact(0, 0)


@pytest.fixture(scope="module")
def estimated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example panel, its spec, and in `out` all files of `estimate`; what it printed is in `printed`."""
    folder = tmp_path_factory.mktemp("estimated")
    here("panel", "example", folder)
    panel, spec, out = folder / "panel.csv", folder / "spec.toml", folder / "out"
    here("panel", "check", panel, "--spec", spec)
    out.mkdir()
    for name in ("table-S.csv", "notes.txt"):
        (out / name).touch()
    said = here("estimate", panel, "--spec", spec, "--out", out, "--format", "json,html,tex,docx").out
    (folder / "printed").write_text(said, encoding="utf-8")
    return folder


def test_estimate_shows_the_same_numbers_in_every_format(estimated: Path) -> None:
    """Table 2, column 5, in the terminal, as a page, as LaTeX and as a Word file."""
    document = json.loads((estimated / "out" / "estimates.json").read_text(encoding="utf-8"))
    shown = next(r for r in document["records"] if (r["table"], r["column"], r["term"], r["se_type"]) == (
        "2", 5, "did", "cluster:unit"))  # fmt: skip
    estimate, se = f"{shown['estimate']:.4f}", f"{shown['se']:.4f}"
    printed = (estimated / "printed").read_text(encoding="utf-8")
    assert max(len(line) for line in printed.splitlines() if not line.startswith("next: ")) <= 80
    for words in (f"{estimate}***", f"({se})", "Effect of eip on icr: ", "Table 2. Regressions of icr on eip", "wrote ",
                  "left from an earlier run: table-S.csv\n"):  # fmt: skip
        assert words in printed
    page = (estimated / "out" / "tables.html").read_text(encoding="utf-8")
    assert f'{estimate}<span class="stars">***</span>' in page
    assert "<svg" in page
    latex = (estimated / "out" / "tables.tex").read_text(encoding="utf-8")
    assert rf"{estimate}\stars{{***}}" in latex
    assert rf"({se}\rlap{{)}}" in latex
    table = docx.Document(str(estimated / "out" / "tables.docx")).tables[1]
    assert f"{estimate}***" in [cell.text for cell in table.rows[2].cells]
    names = {path.name for path in (estimated / "out").iterdir()}
    assert names >= {"estimates.json", "tables.html", "tables.tex", "tables.docx", "figure-2.svg"}
    assert not [name for name in names if name.endswith(".partial")]


def test_a_fit_that_fails_costs_its_own_column_alone(tmp_path: Path) -> None:
    """With all other cities as neighbours, Lee and Yu's likelihood has no barrier at 1 and rises to the edge."""
    made_cities.real_panel(tmp_path, f'{made_cities.PANEL}{made_cities.PLACES}[[weights]]\nkind = "knn"\nk = 35\n')
    out = tmp_path / "out"
    said = here("estimate", tmp_path / "panel.csv", "--spec", tmp_path / "spec.toml", "--out", out, code=3).out
    assert "No column" in said
    document = json.loads((out / "estimates.json").read_text(encoding="utf-8"))
    assert any(r["model"] == "did" for r in document["records"])
    assert any("edge of the interval" in note for note in document["notes"])


@pytest.mark.parametrize(("lost", "balance", "next_step"), [(0, "error", True), (5, "error", False),
                                                            (5, "drop-units", True)])  # fmt: skip
def test_trust_is_the_next_step_where_it_runs(lost: int, balance: str, next_step: bool, tmp_path: Path) -> None:
    """Twins need a balanced panel: with gaps it would refuse what `estimate` had just recommended."""
    rng = np.random.default_rng(3)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(20), np.arange(8), indexing="ij"))
    table = pd.DataFrame({"city": city, "year": year, "d": 1 * ((city < 8) & (year > 3)), "y": rng.normal(size=160)})
    table.drop(index=range(0, 40 * (lost > 0), 8)).to_csv(tmp_path / "panel.csv", index=False)
    spec = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\ntreatment = "d"\n'
    (tmp_path / "spec.toml").write_text(f'{spec}balance = "{balance}"\n', encoding="utf-8")
    said = here("estimate", tmp_path / "panel.csv", "--spec", tmp_path / "spec.toml").out
    assert ("next: panelproof trust" in said) == next_step


@pytest.mark.parametrize("group", ["panel", "store", "cluster"])
def test_a_list_of_commands_is_not_cut_short(group: str) -> None:
    listed = here(group, "--help").out.partition("Commands:")[2]
    assert listed.count("\n  ") >= 3
    assert "..." not in listed


WITHOUT_JSON = {"cluster numbers", "completion", "init", "panel example", "panel reshape", "replay", "store hash",
                "store pack"}  # fmt: skip  # one line, or a file


def leaves(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    if not isinstance(group, click.Group):
        yield " ".join(path), group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        yield from leaves(found, (*path, name))


LEAVES = dict(leaves(panelproof))


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_can_be_quiet_and_prints_what_it_finds_as_json(name: str) -> None:
    options = {item.name for item in LEAVES[name].params}
    assert "quiet" in options
    assert ("as_json" in options) == (name not in WITHOUT_JSON)


def test_quiet_prints_nothing_but_errors_and_a_document(estimated: Path) -> None:
    check = ("panel", "check", estimated / "panel.csv", "--spec", estimated / "spec.toml")
    for arguments, key in ((("studies", "size"), "seed"), (("kinds", "did"), "estimators"), (check, "units")):
        assert here(*arguments, "-q") == ("", "")
        printed = here(*arguments, "--json").out
        assert printed == here(*arguments, "--json", "-q").out
        document = json.loads(printed)
        assert key in (document[0] if isinstance(document, list) else document)
    assert "size" in here("studies", "sise", "--quiet", code=2).err
    found, text = json.loads(here(*check, "--json").out), here(*check).out
    assert text.startswith(f"{found['units']} units x {len(found['periods'])} periods")
    for row in found["variables"]:
        (line,) = [line.split() for line in text.splitlines() if line.split()[:1] == [row["variable"]]]
        assert line[-4:] == [f"{row[name]:.4g}" for name in ("mean", "sd", "min", "max")]
    assert found["sha256"] in text


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_are_those_of_the_shells(shell: str) -> None:
    script = here("completion", shell).out
    assert "_PANELPROOF_COMPLETE" in script
    assert "panelproof" in script
    if program := shutil.which(shell):
        assert subprocess.run([program, "-n"], input=script, text=True, check=False).returncode == 0


def test_words_are_completed() -> None:
    words = {"COMP_WORDS": "panelproof st", "COMP_CWORD": "1", "_PANELPROOF_COMPLETE": "bash_complete"}
    found = subprocess.run([sys.executable, "-m", "experiments"], env={**os.environ, **words}, text=True,
                           capture_output=True, check=False)  # fmt: skip
    assert {"studies", "store"} <= {line.partition(",")[2] for line in found.stdout.splitlines()}, found.stderr


def test_options_of_clusters_are_explained_once() -> None:
    for name in ("trust", "placebo", "solve", "breakdown", "replicate"):
        assert set(CLUSTER_OPTIONS) <= {item.name for item in LEAVES[name].params}
        told = commands.words(here(name, "--help").out)
        assert "for this and its further options see `panelproof run --help`" in told
        assert "--workers" not in told
    usual, _, advanced = here("run", "--help").out.partition("\nAdvanced:\n")
    assert all(f"--{name.replace('_', '-')} " in advanced and f"--{name} " not in usual for name in ADVANCED)
    assert "--workers" in usual


def processor_seconds(words: Sequence[str]) -> tuple[float, str]:
    """What one process took of the processor, and what it printed."""
    before = os.times()
    done = subprocess.run([sys.executable, *words], text=True, stdout=subprocess.PIPE, check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4]), done.stdout


@pytest.mark.parametrize(("command", "word", "bar"), [("kinds", "rings", 1.5), ("--help", "estimate", 0.4)])
def test_what_computes_nothing_is_printed_at_once(command: str, word: str, bar: float) -> None:
    """In times of an import of pandas, turn by turn; where nothing else runs they are 0.9 and 0.2."""
    took, bare = [], []
    for _ in range(2):
        bare.append(processor_seconds(["-c", "import pandas"])[0])
        seconds, printed = processor_seconds(["-m", "experiments", command])
        took.append(seconds)
        assert word in printed
    assert min(took) < bar * min(bare), (took, bare)


def test_no_colours_where_they_are_not_wanted() -> None:
    """NO_COLOR (no-color.org), also where a terminal is said to be there."""
    command = [sys.executable, "-m", "experiments", "studies", "size"]
    settings = {**os.environ, "FORCE_COLOR": "1"}
    plain = subprocess.run(command, env=settings | {"NO_COLOR": "1"}, text=True, capture_output=True, check=True).stdout
    assert not any(f"\x1b[{code}m" in plain for code in range(30, 48))


FULL = Path("/dev/full")  # a device on which there is never room
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


@pytest.fixture
def study(asked: Path) -> Path:
    (asked / "study.toml").write_text(f'{SHORT}[[estimators]]\nkind = "did"\n')
    return asked


@pytest.fixture
def closed() -> Iterator[int]:
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def with_streams(folder: Path, *words: object, **streams: int) -> tuple[int, list[str]]:
    """The exit code of a command whose streams are these files, and the lines of its errors."""
    done = commands.run(folder, *words, **streams)
    return done.returncode, (done.stderr or "").strip().splitlines()


def is_whole(store: Path) -> bool:
    return len(ZarrStore.open(store).done()) == 2


def test_a_terminal_without_a_size_has_the_usual_one(tmp_path: Path) -> None:
    usual, without = (commands.run(tmp_path, "kinds", env={**os.environ, "COLUMNS": columns}).stdout
                      for columns in ("80", "0"))  # fmt: skip
    assert usual == without != ""


@pytest.mark.parametrize(("unread", "more"), [(("stdout",), ()), (("stdout", "stderr"), ("--json",))])
def test_a_run_whose_output_nobody_reads_writes_its_store(
    unread: tuple[str, ...], more: tuple[str, ...], study: Path, closed: int
) -> None:
    """Nor its progress, which `--json` sends to the errors."""
    code, said = with_streams(study, *RUN, *more, **dict.fromkeys(unread, closed))
    assert is_whole(study / "x.zarr")
    assert (code, [line for line in said if "rror" in line]) == (0, [])


@needs_full
def test_a_full_disk_under_standard_output_is_one_line_and_no_success(study: Path) -> None:
    for words, line in (
        (RUN, "standard output: No space left on device; not all was printed: what was computed is kept"),
        (("studies",), "not all was printed: print it elsewhere"),
    ):
        with FULL.open("w") as full:
            code, (said,) = with_streams(study, *words, stdout=full.fileno())
        assert is_whole(study / "x.zarr")
        assert (code, line in said) == (3, True), said


def test_a_closed_stream_gets_a_number_of_its_own(tmp_path: Path) -> None:
    """So that no file that is opened later has the number of standard output, here or in a process that is started."""
    code = f"""
import os, subprocess, sys
from experiments.cli import open_closed_streams

open_closed_streams()
number = os.open({str(tmp_path / "first")!r}, os.O_CREAT | os.O_WRONLY)
started = subprocess.run([sys.executable, "-c", "import os; [*map(os.fstat, range(3))]"]).returncode
print(sys.stdout.encoding, sys.stderr.encoding, sys.stdin.read(), flush=True)
os._exit(started or (0 if number > 2 else 9))
"""
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(words, env=ENVIRONMENT).returncode == 0


def test_other_commands_write_their_files_too(tmp_path: Path, closed: int) -> None:
    made_cities.real_panel(tmp_path, made_cities.PANEL)
    words = ("estimate", "panel.csv", "--spec", "spec.toml", "--out", "out")
    assert with_streams(tmp_path, *words, stdout=closed)[0] == 0
    assert json.loads((tmp_path / "out" / "estimates.json").read_text())["records"]


CHATTY = """
import sys
from cluster.child import Guarded
from cluster.executor import Pace

def chatty(job):
    print("out" * 5000)
    print("err" * 5000, file=sys.stderr)
    return job

executor = Guarded(Pace())
outcomes = list(executor.run(chatty, [1, 2]))
executor.close()
raise SystemExit(0 if [one.result for one in outcomes] == [1, 2] else 9)
"""


@needs_full
def test_a_fit_that_prints_onto_a_full_disk_does_not_fail() -> None:
    with FULL.open("w") as full:
        assert subprocess.run([sys.executable, "-c", CHATTY], env=ENVIRONMENT, stdout=full, stderr=full).returncode == 0


def test_a_quiet_run_reads_no_more_than_what_it_needs(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*RUN, "--replications", 640, "--quiet")
    here(*words)
    (study / "x.zarr" / "block_mark" / "c.0.3.0").unlink()
    read = []
    for owner, name in ((reporting, "read_diagnosis"), (ZarrStore, "statuses"), (ZarrStore, "sound")):
        read.append(create_autospec(real := getattr(owner, name), side_effect=real))
        monkeypatch.setattr(owner, name, read[-1])
    here(*words)
    assert [one.call_count for one in read] == [0, 1, 0], "one block says that the estimator could be fitted"
    assert len(ZarrStore.open(study / "x.zarr").done()) == 10
    here(*words, "--html", "x.html")
    assert read[0].call_count == 1
    assert (study / "x.html").is_file()


def test_a_quiet_run_has_the_exit_code_of_a_loud_one(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("solve", "__call__"):
        monkeypatch.setattr(TwoWayDID, name, Mock(side_effect=ValueError("no fit")))
    for quiet in (["-q"], []):
        here(*RUN, *quiet, code=3)
    assert ZarrStore.open(study / "x.zarr").never_fitted() == ["did"]


def test_a_command_leaves_nothing_half(tmp_path: Path) -> None:
    """A file that is cut short would be taken for a whole one, and the same command would refuse to replace it."""
    folder, long, wide = tmp_path / "example", tmp_path / "long.csv", tmp_path / "wide.csv"
    table = {"city": [f"city {number}" for number in range(40)]} | {f"gdp{year}": 1 for year in range(2001, 2013)}
    pd.DataFrame(table).to_csv(wide, index=False)
    for arguments, file in (
        (("panel", "example", folder), folder / "panel.csv"),
        (("panel", "reshape", wide, "--out", long), long),
        (("init", folder / "panel.csv", "--out", folder / "SPEC.toml"), folder / "SPEC.toml"),
    ):
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        with at_most(2000):
            said = here(*arguments, code=2).err
        assert f"panelproof: {file}: File too large" in said
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
        here(*arguments)


def test_of_several_files_all_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with at_most(2000), pytest.raises(OSError, match="File too large") as caught:
        write_whole(tmp_path, {"a.txt": "new", "b.txt": "x" * 3000})
    assert caught.value.filename == str(tmp_path / "b.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
    written = write_whole(tmp_path, {"a.txt": "new", "b.txt": b"x"})
    assert [path.read_text() for path in written] == ["new", "x"]


def test_what_a_killed_command_left_beside_its_files_goes_after_an_hour(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f"{stem}.partial" for stem in ("0" * 16, "1" * 16, "my notes"))
    for path, age in ((old, 2), (new, 0), (other, 2)):
        path.touch()
        os.utime(path, (then := time.time() - age * STALE, then))
    write_whole(tmp_path, {"a.txt": "x"})
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True), "one may still be written"


def test_the_file_that_has_no_room_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for error in (OSError(errno.ENOSPC, "No space left on device", "from.csv", None, str(tmp_path / "x.zip")),
                  OSError(errno.ENOSPC, "No space left on device")):  # fmt: skip
        with pytest.raises(OSError, match="No space") as caught, folder_beside(tmp_path / "x.zip"):
            raise error
        assert _expected(caught.value, resumed=False) == 3
        assert capsys.readouterr().err.startswith(f"panelproof: {tmp_path / 'x.zip'}: No space left on device")


def test_a_folder_that_goes_while_a_command_runs_in_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _expected(FileNotFoundError(errno.ENOENT, "No such file"), resumed=False) == 2  # as of a key of TLS
    assert capsys.readouterr().err.startswith("panelproof: No such file;")
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path.cwd()
    assert _expected(caught.value, resumed=False) == 2
    assert capsys.readouterr().err.startswith(
        "panelproof: the folder where the command runs: No such file or directory;"
    )


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 3), (errno.EDQUOT, 3), (errno.EACCES, 2)])
def test_a_line_that_names_the_option_ends_with_the_code_of_its_cause(number: int, code: int) -> None:
    told = BadInput(Problem("cannot be written", "x.html", "another place", "choose another --html"))
    told.__cause__ = OSError(number, os.strerror(number))
    assert _expected(told, resumed=False) == code


@pytest.mark.parametrize(("words", "option"), [
    (["run", "size"], "--store"), (["placebo", "panel.csv"], "--store"), (["trust", "panel.csv"], "--out"),
    (["store", "pack", "x.zarr"], "--out"), (["replicate", "bundle"], "folder"),
])  # fmt: skip
def test_who_cannot_write_a_store_is_told_the_option_of_the_command(
    words: list[str], option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = BadInput(Problem("is no store", "x.zarr", "a new folder", "remove it, or choose another --store"))
    monkeypatch.setattr(panelproof, "main", Mock(side_effect=told))
    assert refusal(*words).endswith(f"remove it, or choose another {option}")


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
def test_who_may_read_a_file_is_as_umask_says(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        (written,) = write_whole(tmp_path, {"a.txt": "x"})
    finally:
        os.umask(before)
    assert written.stat().st_mode & 0o777 == mode


def test_what_a_command_writes_its_owner_can_read_whatever_umask_says(tmp_path: Path) -> None:
    words = ["sh", "-c", 'umask 777; exec "$@"', "sh", sys.executable, "-m", "experiments", "panel", "example", "made"]
    subprocess.run(words, env=ENVIRONMENT, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "made").iterdir()} == {0o600}


def test_letters_that_standard_output_has_not_stop_no_print() -> None:
    code = """
from cluster.process import keep_printing
from sim.errors import visible_json

keep_printing()
print("\N{FULL BLOCK}1\N{MINUS SIGN}")
print(visible_json('"\N{LATIN SMALL LETTER E WITH ACUTE}\N{BAR CHART}"'))
"""
    done = subprocess.run([sys.executable, "-c", code], env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
                          capture_output=True, text=True, check=True)  # fmt: skip
    shown, document = done.stdout.splitlines()
    assert shown == r"\u25881\u2212"
    assert json.loads(document) == "\N{LATIN SMALL LETTER E WITH ACUTE}\N{BAR CHART}"


@pytest.mark.parametrize(("error", "lacks"), [(MemoryError("Unable to allocate 3 GiB"), "memory"),
                                              (RuntimeError(NO_THREAD), "threads")])  # fmt: skip
def test_a_system_that_gives_no_more_is_one_line_and_no_fault_of_the_store(
    error: Exception, lacks: str, ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _expected(error, resumed=True) == 3
    assert f"gives this process no more {lacks}: raise its limits" in capsys.readouterr().err
    monkeypatch.setattr(ZarrStore, "_load", Mock(side_effect=error))
    with pytest.raises(type(error), match=str(error)):
        ZarrStore.open(ran / "x.zarr")
