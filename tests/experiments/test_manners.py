"""What all commands do alike: `--quiet`, `--json`, completion, no colours where they are not wanted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from experiments.cli import COMMANDS, panelproof, run_command
from experiments.commands.command_options import ADVANCED, CLUSTER_OPTIONS
from experiments.commands.study_commands import SHELLS

WITHOUT_JSON = {
    "cluster numbers",
    "completion",
    "init",
    "panel example",
    "panel reshape",
    "replay",
    "store hash",
    "store pack",
}  # one line, or a file


def leaves(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    if not isinstance(group, click.Group):
        yield " ".join(path), group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


LEAVES = dict(leaves(panelproof))


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_can_be_quiet(name: str) -> None:
    assert "quiet" in {item.name for item in LEAVES[name].params}


@pytest.mark.parametrize("name", sorted(LEAVES.keys() - WITHOUT_JSON))
def test_every_command_that_finds_something_prints_json(name: str) -> None:
    assert "as_json" in {item.name for item in LEAVES[name].params}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manners") / "example"
    assert run_command(["panel", "example", str(folder), "--quiet"]) == 0
    return folder


def test_quiet_prints_nothing_but_errors(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel, spec = str(example / "panel.csv"), str(example / "spec.toml")
    for arguments in (["studies"], ["studies", "size"], ["kinds", "did"], ["panel", "check", panel, "--spec", spec]):
        assert run_command([*arguments, "--quiet"]) == 0
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", "")
        assert run_command(arguments) == 0
        assert capsys.readouterr().out
    assert run_command(["studies", "sise", "--quiet"]) == 2
    assert "size" in capsys.readouterr().err


def test_json_is_one_document_also_when_quiet(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    panel, spec = str(example / "panel.csv"), str(example / "spec.toml")
    for arguments, key in ((["studies", "size"], "seed"), (["panel", "check", panel, "--spec", spec], "units")):
        assert run_command([*arguments, "--json"]) == 0
        loud = capsys.readouterr().out
        assert key in (json.loads(loud)[0] if loud.startswith("[") else json.loads(loud))
        assert run_command([*arguments, "--json", "-q"]) == 0
        assert capsys.readouterr().out == loud


def test_json_of_a_panel_is_what_is_printed(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["panel", "check", str(example / "panel.csv"), "--spec", str(example / "spec.toml")]
    run_command([*check, "--json"])
    found = json.loads(capsys.readouterr().out)
    run_command(check)
    text = capsys.readouterr().out
    assert text.startswith(f"{found['units']} units x {len(found['periods'])} periods")
    for row in found["variables"]:
        (line,) = [line.split() for line in text.splitlines() if line.split()[:1] == [row["variable"]]]
        assert line[-4:] == [f"{row[name]:.4g}" for name in ("mean", "sd", "min", "max")]
    assert found["sha256"] in text


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_scripts_are_those_of_the_shells(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_PANELPROOF_COMPLETE" in script
    assert "panelproof" in script
    if program := shutil.which(shell):
        assert subprocess.run([program, "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("typed", "offered"), [("panelproof st", {"studies", "store"}), ("panelproof studies si", {"size"})]
)
def test_words_are_completed(typed: str, offered: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_PANELPROOF_COMPLETE": "bash_complete"}
    found = subprocess.run([sys.executable, "-m", "experiments"], env={**os.environ, **words}, text=True,
                           capture_output=True, check=False)  # fmt: skip
    assert offered <= {line.partition(",")[2] for line in found.stdout.splitlines()}, found.stderr


def test_options_of_clusters_are_explained_once(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("trust", "placebo", "solve", "breakdown", "replicate"):
        assert set(CLUSTER_OPTIONS) <= {item.name for item in LEAVES[name].params}
        run_command([name, "--help"])
        told = " ".join(capsys.readouterr().out.split())
        assert "for this and its further options see `panelproof run --help`" in told
        assert "--workers" not in told
    run_command(["run", "--help"])
    usual, _, advanced = capsys.readouterr().out.partition("\nAdvanced:\n")
    assert all(f"--{name.replace('_', '-')} " in advanced and f"--{name} " not in usual for name in ADVANCED)
    assert "--workers" in usual


def processor_seconds(words: Sequence[str]) -> tuple[float, str]:
    """What one process took of the processor, and what it printed."""
    before = os.times()
    done = subprocess.run([sys.executable, *words], text=True, stdout=subprocess.PIPE, check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4]), done.stdout


@pytest.mark.parametrize(
    ("command", "word", "bar"), [("studies", "spillover", 0.9), ("kinds", "rings", 1.5), ("--help", "estimate", 0.4)]
)
def test_what_computes_nothing_is_printed_at_once(command: str, word: str, bar: float) -> None:
    """In times of an import of pandas, turn by turn; where nothing else runs they are 0.5, 0.9 and 0.2."""
    took, bare = [], []
    for _ in range(3):
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
    assert set(COMMANDS) >= {"completion", "studies"}
