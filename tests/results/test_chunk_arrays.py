"""What is written straight into files has the bytes that zarr writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from experiments.run.runner import run
from results.store import ZarrStore, chunks, skeleton
from studies import small_study


class NoFolder:
    """No tree is one: all that is written goes through zarr."""


def chunks_of(store: Path) -> dict[str, bytes]:
    """Every chunk, but the stamps of files, which marks hold, hang on the clock."""
    files = {at.relative_to(store).as_posix(): at for at in store.rglob("*") if at.is_file() and "/c." in f"{at}"}
    return {name: at.read_bytes() for name, at in files.items() if not name.startswith("block_mark/")}


def test_chunks_have_the_bytes_of_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last block is not full."""
    run(small_study(300), store=tmp_path / "files.zarr")
    monkeypatch.setattr(chunks, "Folder", NoFolder)
    run(small_study(300), store=tmp_path / "zarr.zarr")
    files, by_zarr = chunks_of(tmp_path / "files.zarr"), chunks_of(tmp_path / "zarr.zarr")
    assert len(files) > 50
    assert files == by_zarr


def test_marks_have_the_bytes_of_zarr(tmp_path: Path) -> None:
    run(small_study(300), store=tmp_path / "x.zarr")
    files = {at: at.read_bytes() for at in sorted((tmp_path / "x.zarr").glob("block_mark/c.*.0"))}
    marks = zarr.open_group(str(tmp_path / "x.zarr"), mode="r+")["block_mark"]
    assert isinstance(marks, zarr.Array)
    assert len(files) == np.prod(marks.shape[:2]) > 5
    held = np.asarray(marks[:])
    assert {at: held[tuple(map(int, at.name.split(".")[1:3]))].tobytes() for at in files} == {
        at: data[:-4] for at, data in files.items()
    }
    marks[:] = held
    assert {at: at.read_bytes() for at in files} == files


def test_a_write_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("results.store.disk.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        chunks.Folder(tmp_path).put("a/b", b"bytes")
    assert [at for at in tmp_path.rglob("*") if at.is_file()] == []


def test_a_store_keeps_the_codec_that_it_was_made_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores of earlier code are compressed by Zstandard: a run goes on in them, and their numbers are the same."""
    zstd = BloscCodec(typesize=8, cname="zstd", clevel=1, shuffle="shuffle")
    monkeypatch.setattr(skeleton, "NUMBERS", (zstd, Crc32cCodec()))
    run(small_study(128), store=tmp_path / "earlier.zarr")
    monkeypatch.undo()
    run(small_study(300), store=tmp_path / "earlier.zarr")
    run(small_study(300), store=tmp_path / "now.zarr")
    names = {path.name: str(zarr.open_group(path)["did/estimate"].metadata.to_dict()["codecs"])  # type: ignore[union-attr]
             for path in (tmp_path / "earlier.zarr", tmp_path / "now.zarr")}  # fmt: skip
    assert "zstd" in names["earlier.zarr"]
    assert "lz4" in names["now.zarr"]
    earlier, now = (ZarrStore.open(tmp_path / name) for name in names)
    assert earlier.content_hash() == now.content_hash()
    assert not earlier.pending()
