"""Files that do not fit on a disk: nothing half is left in their places, and the line names the file."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from experiments.cli import run_command
from results.store.disk import write_whole


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """No file can become larger, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    names = [f"city {number}" for number in range(40)]
    table = pd.DataFrame({"city": names} | {f"gdp{year}": range(40) for year in range(2001, 2013)})
    table.to_csv(tmp_path / "wide.csv", index=False)
    return tmp_path / "wide.csv"


def test_a_command_leaves_nothing_half(wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is cut short would be taken for a whole one, and the same command would refuse to replace it."""
    folder, long = tmp_path / "example", tmp_path / "long.csv"
    for arguments, file in (
        (["panel", "example", str(folder)], folder / "panel.csv"),
        (["panel", "reshape", str(wide), "--out", str(long)], long),
        (["init", str(folder / "panel.csv"), "--out", str(folder / "SPEC.toml")], folder / "SPEC.toml"),
    ):
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        with at_most(2000):
            assert run_command(arguments) != 0
        assert f"panelproof: {file}: File too large" in capsys.readouterr().err
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
        assert run_command(arguments) == 0


def test_of_several_files_all_are_written_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with at_most(2000), pytest.raises(OSError, match="File too large") as caught:
        write_whole(tmp_path, {"a.txt": "new", "b.txt": "x" * 3000})
    assert caught.value.filename == str(tmp_path / "b.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
    written = write_whole(tmp_path, {"a.txt": "new", "b.txt": b"x"})
    assert [path.read_text() for path in written] == ["new", "x"]
