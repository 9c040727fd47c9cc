"""A store in one zip: every reader gives what it gives of the folder, nothing writes, damage is named."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from experiments.cli import run_command
from experiments.run.runner import run
from results.store import StoreLocked, ZarrStore, locked
from results.store.merge import merge, pack
from results.store.repair import verified
from results.store.tree import marks_of
from sim.errors import BadInput
from studies import quick_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    run(quick_study(256), store=folder / "x.zarr")
    assert run_command(["store", "pack", str(folder / "x.zarr")]) == 0
    return folder


def said(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = run_command(command)
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["report"],
        ["report", "--json"],
        ["store", "hash"],
        ["store", "verify"],
        ["store", "info"],
        ["compare"],
        ["replay"],
    ],
    ids=" ".join,
)
def test_every_reader_says_of_the_zip_what_it_says_of_the_folder(
    made: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def of(name: str) -> tuple[int, str]:
        path = str(made / name)
        more = {"compare": [str(made / "x.zarr")], "replay": ["1", "100"]}.get(command[0], [])
        code, text = said([*command, path, *more], capsys)
        return code, " ".join(text.replace(path, "STORE").split())  # lines break elsewhere

    folder, packed = of("x.zarr"), of("x.zarr.zip")
    assert folder[0] == 0
    assert packed == folder


def test_damage_in_it_is_named(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.zip"
    with zipfile.ZipFile(made / "x.zarr.zip") as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = bytearray(source.read(name))
            if name in ("did/fit/c.0.1.0", "did/term/c.0"):
                data[-1] ^= 1
            archive.writestr(name, bytes(data))
    lines = verified(target).lines
    assert "did/term/c.0: does not match its digest" in lines
    assert "cell 0 block 1: does not match its digest" in lines
    with pytest.raises(BadInput, match="is packed, and can only be read"):
        run(quick_study(256), store=target)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", "{" + " " * 10_000_000)
    with pytest.raises(BadInput, match=r"is not opened: zarr.json is compressed"):
        ZarrStore.open(target)
    target.write_bytes(target.read_bytes()[:500])
    with pytest.raises(BadInput, match="is no readable zip"):
        ZarrStore.open(target)


def test_stores_are_merged_once() -> None:
    with pytest.raises(BadInput, match="3 stores are named, 2 different ones"):
        merge([Path("a"), Path("b"), Path("a")], Path("c"))


def test_a_merged_store_knows_the_measures_of_the_first(made: Path, tmp_path: Path) -> None:
    first = shutil.copytree(made / "x.zarr", tmp_path / "first.zarr")
    ZarrStore(first, "a").note("measures", ["mine.py:share"])
    merge([first, made / "x.zarr"], tmp_path / "both.zarr")
    assert ZarrStore.open(tmp_path / "both.zarr").noted("measures") == ["mine.py:share"]


def test_a_mark_has_one_name() -> None:
    names = [f"block_mark/c.{place}.0" for place in ("1.0", "01.0", "1.00")]
    assert list(marks_of(names, ".")) == [(1, 0, names[0])]


def test_bad_requests_are_one_line_and_leave_nothing(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "x.zarr", tmp_path / "x.zarr")
    (tmp_path / "taken.zip").write_text("mine")
    for store, out, words in (
        ("x.zarr", "x.tar", "a name that ends in .zip"),
        ("x.zarr", "taken.zip", "already exists"),
        ("none.zarr", "n.zip", "no such store"),
        ("taken.zip", "n.zip", "is packed already"),
    ):
        with pytest.raises(BadInput, match=words):
            pack(tmp_path / store, tmp_path / out)
    (tmp_path / "x.zarr" / "truth" / "c.1.2.0").unlink()
    with pytest.raises(BadInput, match="block 2 of cell 1 is damaged"):
        pack(tmp_path / "x.zarr", tmp_path / "n.zip")
    with locked(tmp_path / "x.zarr"), pytest.raises(StoreLocked):
        pack(tmp_path / "x.zarr", tmp_path / "n.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.zip", "x.zarr"]
    assert (tmp_path / "taken.zip").read_text() == "mine"
