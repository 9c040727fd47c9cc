"""What is printed never stops what is computed: closed pipes, full disks, closed streams. `--quiet` reads little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import commands
import pytest
from real_parts import ENVIRONMENT

from estimators import TwoWayDID
from experiments.cli import run_command
from experiments.run import reporting
from results.store import ZarrStore
from studies import SHORT

FULL = Path("/dev/full")  # a device on which there is never room
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(f'{SHORT}[[estimators]]\nkind = "did"\n')
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "experiments", *map(str, words)]


@pytest.fixture
def closed() -> Iterator[int]:
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def ran(words: Sequence[str]) -> int:
    return subprocess.run(words, env=ENVIRONMENT).returncode


def panelproof(folder: Path, *words: object, **streams: int) -> tuple[int, list[str]]:
    """The exit code of a command whose streams are these files, and the lines of its errors."""
    done = commands.run(folder, *words, **streams)
    return done.returncode, (done.stderr or "").strip().splitlines()


def is_whole(store: Path) -> bool:
    return len(ZarrStore.open(store).done()) == 2


@pytest.mark.parametrize("options", [[], ["--json"], ["--full"]])
def test_a_run_whose_reader_has_gone_writes_its_store(
    study: Path, tmp_path: Path, closed: int, options: list[str]
) -> None:
    words = ("run", study, "--cluster", "serial", "--store", "x.zarr", *options)
    code, said = panelproof(tmp_path, *words, stdout=closed)
    assert is_whole(tmp_path / "x.zarr")
    assert code == 0
    assert not [line for line in said if "rror" in line]


def test_a_run_whose_errors_nobody_reads_writes_its_store(study: Path, tmp_path: Path, closed: int) -> None:
    """Nor its progress, which `--json` sends there."""
    words = ("run", study, "--cluster", "serial", "--store", "x.zarr", "--json")
    assert panelproof(tmp_path, *words, stdout=closed, stderr=closed)[0] == 0
    assert is_whole(tmp_path / "x.zarr")


@needs_full
def test_a_full_disk_under_standard_output_is_one_line_and_no_success(study: Path, tmp_path: Path) -> None:
    with FULL.open("w") as full:
        words = ("run", study, "--cluster", "serial", "--store", "x.zarr")
        code, (line,) = panelproof(tmp_path, *words, stdout=full.fileno())
    assert is_whole(tmp_path / "x.zarr")
    assert code == 3
    assert "standard output: No space left on device; not all was printed: what was computed is kept" in line
    with FULL.open("w") as full:
        code, (line,) = panelproof(tmp_path, "studies", stdout=full.fileno())
    assert code == 3
    assert "not all was printed: print it elsewhere" in line


def test_a_closed_standard_output_gives_its_number_to_no_file(study: Path, tmp_path: Path) -> None:
    words = command("run", study, "--cluster", "serial", "--store", tmp_path / "x.zarr")
    script = 'exec "$@" >&- 2>&-'
    assert ran(["sh", "-c", script, "sh", *words]) == 0
    assert is_whole(tmp_path / "x.zarr")
    assert run_command(["store", "verify", str(tmp_path / "x.zarr"), "-q"]) == 0


def test_a_closed_stream_gets_a_number_of_its_own(tmp_path: Path) -> None:
    """So that no file that is opened later has the number of standard output."""
    code = f"""
import os
from experiments.cli import open_closed_streams

open_closed_streams()
number = os.open({str(tmp_path / "first")!r}, os.O_CREAT | os.O_WRONLY)
os._exit(0 if number > 2 else 9)
"""
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert ran(words) == 0


def test_other_commands_write_their_files_too(tmp_path: Path, closed: int) -> None:
    example, out = tmp_path / "example", tmp_path / "out"
    assert panelproof(tmp_path, "panel", "example", example, stdout=closed)[0] == 0
    words = ("estimate", example / "panel.csv", "--spec", example / "spec.toml", "--out", out)
    assert panelproof(tmp_path, *words, stdout=closed)[0] == 0
    assert json.loads((out / "estimates.json").read_text())["records"]


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


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often a store is diagnosed, and how often a block's statuses and numbers are read."""
    counts = {"diagnosed": 0, "statuses": 0, "blocks": 0}

    def count(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **settings: Any) -> Any:
            counts[name] += 1
            return function(*arguments, **settings)

        return wrapped

    monkeypatch.setattr(reporting, "read_diagnosis", count("diagnosed", reporting.read_diagnosis))
    monkeypatch.setattr(ZarrStore, "statuses", count("statuses", ZarrStore.statuses))
    monkeypatch.setattr(ZarrStore, "sound", count("blocks", ZarrStore.sound))
    return counts


def test_a_quiet_run_reads_no_more_than_what_it_needs(study: Path, tmp_path: Path, counted: dict[str, int]) -> None:
    words = ["run", str(study), "--cluster", "serial", "--store", str(tmp_path / "x.zarr"), "--replications", "640"]
    assert run_command([*words, "--quiet"]) == 0
    (tmp_path / "x.zarr" / "block_mark" / "c.0.3.0").unlink()
    counted.update(dict.fromkeys(counted, 0))
    assert run_command([*words, "--quiet"]) == 0
    assert counted == {"diagnosed": 0, "statuses": 1, "blocks": 0}, "one block says that the estimator could be fitted"
    assert len(ZarrStore.open(tmp_path / "x.zarr").done()) == 10
    assert run_command([*words, "--quiet", "--html", str(tmp_path / "x.html")]) == 0
    assert counted["diagnosed"] == 1
    assert (tmp_path / "x.html").is_file()


def test_a_quiet_run_has_the_exit_code_of_a_loud_one(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise ValueError("no fit")

    monkeypatch.setattr(TwoWayDID, "solve", never)
    monkeypatch.setattr(TwoWayDID, "__call__", never)
    words = ["run", str(study), "--cluster", "serial", "--store", str(tmp_path / "x.zarr")]
    codes = [run_command([*words, *quiet]) for quiet in (["-q"], [])]
    assert codes == [3, 3], capsys.readouterr().err
    assert ZarrStore.open(tmp_path / "x.zarr").never_fitted() == ["did"]
