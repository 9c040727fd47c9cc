"""What another may put into a store or beside it: links, pipes, names, bytes that open to more, pickles and code."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from holders import is_refused
from numcodecs import Blosc, Zstd
from numcodecs.checksum32 import CRC32C
from refusals import refuses

from experiments.cli import run_command
from experiments.run.resume import log_of, logged, read_log
from experiments.run.runner import run
from results.store import ZarrStore, files
from results.store.chunks import shared
from results.store.disk import LINK, NotPlain
from results.store.files import META, PROVENANCE, body_without_seal, opened_size, seal
from results.store.lock import check_free
from results.store.repair import verified
from results.store.tree import Folder
from sim.errors import BadInput
from studies import quick_study

NOBODY = 65534
HOW = ("pipe", "folder or file")
PARTS = ("zarr.json", "did", "did/zarr.json", "provenance/zarr.json", "truth", "truth/c.0.1.0", "did/inference",
         "did/inference/c.1.0.0.0.0", "block_mark", "block_mark/c.1.1.0", "effect", "effect/c.0")  # fmt: skip
STUDY = '[design]\nkind = "paper"\ncontrols = "none"\n[[estimators]]\nkind = "did"\n'


@pytest.fixture(scope="module")
def reference(made: Path) -> str:
    return ZarrStore.open(made).content_hash()


@pytest.fixture(autouse=True)
def _no_wait() -> Iterator[None]:
    """A reader that waits for a pipe is ended."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def bytes_below(place: Path) -> dict[str, bytes]:
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize(("part", "how"), [
    *((part, "link") for part in PARTS),
    *((part, how) for part in ("zarr.json", "did", "truth/c.0.1.0", "block_mark/c.1.1.0") for how in HOW),
])  # fmt: skip
def test_what_is_no_file_is_never_sound_and_a_run_puts_files_in_its_place(
    store: Path, tmp_path: Path, part: str, how: str, reference: str
) -> None:
    """A link leads to the very bytes that were there: they are not read, and not written."""
    place, away = store / part, tmp_path / "away"
    other = "file" if place.is_dir() else "folder"
    place.rename(away)
    before = bytes_below(away)
    {"link": lambda: place.symlink_to(away), "pipe": lambda: os.mkfifo(place), "file": lambda: place.write_bytes(b"x"),
     "folder": lambda: shutil.copytree(store / "did", place)}[other if how in HOW[1:] else how]()  # fmt: skip
    assert not verified(store).sound
    found = reference if part == PROVENANCE else ""  # which stands outside of the hash
    with contextlib.suppress(BadInput):
        found = ZarrStore.open(store).content_hash()
    assert (found == reference) == (part == PROVENANCE)
    run(quick_study(128), store=store)
    assert verified(store).sound, verified(store).lines
    assert ZarrStore.open(store).content_hash() == reference
    assert not place.is_symlink()
    assert bytes_below(away) == before


@pytest.mark.parametrize("stray", ["key", "did/estimate/c.9"])
def test_a_stray_link_is_named_and_what_it_leads_to_is_not_packed(
    store: Path, tmp_path: Path, stray: str, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, out = tmp_path / "id_ed25519", tmp_path / "x.zip"
    secret.write_text("PRIVATE KEY")
    (store / stray).symlink_to(secret)
    assert run_command(["store", "verify", str(store)]) == 1
    assert f"{stray}: is a link, which is not followed" in capsys.readouterr().out
    run_command(["store", "pack", str(store), "--out", str(out)])
    if out.exists():
        assert b"PRIVATE KEY" not in out.read_bytes()
        assert stray not in zipfile.ZipFile(out).namelist()
    run(quick_study(128), store=store)
    assert secret.read_text() == "PRIVATE KEY"


@pytest.mark.parametrize("name", ["../escaped", "{tmp}/escaped", "did/../../escaped", "did\\escaped", "link"])
def test_a_zip_with_links_or_names_outside_is_not_opened(store: Path, tmp_path: Path, name: str) -> None:
    packed = tmp_path / "x.zip"
    assert run_command(["store", "pack", str(store), "--out", str(packed)]) == 0
    ZarrStore.open(packed).content_hash()
    entry = zipfile.ZipInfo(name.format(tmp=tmp_path))
    entry.external_attr = (0o120777 if name == "link" else 0o100644) << 16
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(entry, "../secret")
    refuses("is a link, or no name of a file of a store", lambda: ZarrStore.open(packed))


def edit(store: Path, **changes: object) -> None:
    """Change attributes of the root as one would who knows the digests; None leaves one out."""
    file = store / META
    held = json.loads(file.read_text())
    held["attributes"] |= changes
    held["attributes"] = {key: value for key, value in held["attributes"].items() if value is not None}
    held["attributes"]["digest"] = seal(held["attributes"])
    file.write_text(json.dumps(held))


@pytest.mark.parametrize("key", ["files", "layouts"])
@pytest.mark.parametrize("name", ["did/../../victim", "{tmp}/victim"])
def test_names_in_a_store_lead_to_nothing_outside(
    store: Path, tmp_path: Path, key: str, name: str, reference: str
) -> None:
    """`run` deletes what is not of the store: a crafted name must not make it delete another file."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    held = json.loads((store / META).read_text())["attributes"][key]
    edit(store, **{key: held | {name.format(tmp=tmp_path): "0" * 64 if key == "files" else held.get("did")}})
    assert not verified(store).sound
    run(quick_study(128), store=store)
    assert victim.read_text() == "mine"
    assert ZarrStore.open(store).content_hash() == reference


COMMANDS = [["report"], ["report", "--json"], ["store", "verify"], ["store", "hash"], ["store", "info"]]


@pytest.mark.parametrize(
    "harm", ["cut provenance", "provenance of another kind", "data_type", "data_types", "files", "no files"]
)
def test_crafted_metadata_are_said_in_one_line(store: Path, harm: str, capsys: pytest.CaptureFixture[str]) -> None:
    if harm == "cut provenance":
        os.truncate(store / PROVENANCE, 40)
    elif harm == "provenance of another kind":
        (store / PROVENANCE).write_text("[1]")
    elif harm.startswith("data_type"):
        file = store / "did" / "estimate" / META
        kind = {"name": "float64"} if harm == "data_type" else ["float64"]
        file.write_text(json.dumps(json.loads(file.read_text()) | {"data_type": kind}))
    else:
        edit(store, files=None if harm == "no files" else ["zarr.json"])
    for words in COMMANDS:
        code = run_command([*words, str(store)])
        said = capsys.readouterr()
        assert code in (0, 1, 2), words
        assert "Traceback" not in said.out + said.err
        if "verify" in words:
            assert code in (1, 2)


@pytest.mark.parametrize("codec", [Zstd(level=1), Blosc(cname="lz4", clevel=5)])
@pytest.mark.parametrize("size", [1, 200, 255, 256, 257, 65_791, 65_792, 70_000, 1 << 20])
def test_the_size_that_bytes_open_to_is_read_without_opening_them(codec: Zstd | Blosc, size: int) -> None:
    for raw in (bytes(size), np.random.default_rng(3).bytes(size)):
        assert opened_size(codec.codec_id, codec.encode(raw)) == size
    assert (opened_size(codec.codec_id, b""), opened_size("zstd", b"no such bytes")) == (-1, -1)


def test_a_mark_that_opens_to_much_is_damaged_and_not_opened(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks are compressed in stores of format 2 alone."""
    bomb = bytes(CRC32C(location="end").encode(Zstd(level=1).encode(bytes(1 << 26))))
    assert len(bomb) < 1 << 16
    (store / "block_mark" / "c.1.1.0").write_bytes(bomb)
    parts = len(ZarrStore.open(store).schema.parts)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_zstd", None)
        with pytest.raises(ValueError, match=f"a mark of {1 << 26} bytes"):
            body_without_seal(bomb, parts)
    with little_memory():
        opened = ZarrStore.open(store)
    assert opened.pending() == [(1, 1)]


def test_a_chunk_that_opens_to_much_is_damaged_and_not_opened(store: Path, reference: str) -> None:
    bomb = bytes(CRC32C(location="end").encode(Blosc(cname="lz4", clevel=5, typesize=8).encode(bytes(1 << 26))))
    (store / "did" / "inference" / "c.1.1.0.0.0").write_bytes(bomb)
    opened = ZarrStore.open(store)
    with little_memory():
        assert opened.pending() == [(1, 1)]
    run(quick_study(128), store=store)
    assert ZarrStore.open(store).content_hash() == reference


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


def texts(held: object) -> Iterator[str]:
    if isinstance(held, str):
        yield held
    elif isinstance(held, dict | list):
        for part in [*held, *held.values()] if isinstance(held, dict) else held:
            yield from texts(part)


def test_names_of_a_store_move_no_cursor(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = json.loads((store / META).read_text())["attributes"]
    layouts = {"did": json.loads(json.dumps(held["layouts"]["did"]).replace('"iid"', json.dumps(f"iid{ESCAPES}")))}
    study = held["study"] | {"name": f"n{ESCAPES}", "question": f"q{ESCAPES}", "expected": f"e{ESCAPES}"}
    edit(store, study=study, layouts=layouts, cells=[{f"d{ESCAPES}": f"v{ESCAPES}"}, {f"d{ESCAPES}": "w"}])
    ZarrStore(store, "a").note("tracebacks", {f"cell 0 block 0 {ESCAPES}": f"text {ESCAPES}"})
    other = tmp_path / "other.zarr"
    shutil.copytree(store, other)
    (store / f"stray{ESCAPES}").symlink_to("/")
    commands = [*([*words, str(other)] for words in COMMANDS), ["report", str(other), "--full"],
                ["compare", str(other), str(other), "--all"], ["store", "verify", str(store)],
                ["store", "info", str(store)], ["store", "info", str(other), "--json"]]  # fmt: skip
    shown = 0
    for words in commands:
        run_command(words)
        said = capsys.readouterr()
        text = said.out + said.err
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}, words
        shown += "\\x1b]0;owned" in text or "\\u001b]0;owned" in text
        if "--json" in words:
            assert ESCAPES in "".join(texts(json.loads(said.out))), "a program reads the names as they are"
    assert shown >= 6, "the names are shown"


# Beside a store: lock, log, token, what is kept of provenance


@pytest.fixture
def group_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in which every user may write, as in a project of a group; the other user is inside."""
    if os.geteuid() != 0:
        pytest.skip("ANOTHER USER IS NOT TESTED HERE: only root can become one")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def as_other(*command: str) -> None:
    subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], check=True, cwd="/")


PLANTS = {
    "link": "ln -s {victim} {place}", "pipe": "mkfifo {place}",
    "file of another user": "touch {place}; chmod 666 {place}", "link to nothing": "ln -s {folder}/new {place}",
}  # fmt: skip


def plant(how: str, place: Path, victim: Path) -> None:
    as_other("sh", "-c", PLANTS[how].format(victim=victim, place=place, folder=place.parent))


@pytest.mark.parametrize("how", [*PLANTS, "another name of it", "a pipe of our own"])
def test_the_lock_writes_to_a_plain_file_of_its_own_user_alone(
    group_folder: Path, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    victim, lock = group_folder.parent / "victim-of-a-lock", group_folder / "s.zarr.lock"
    victim.write_text("mine")
    try:
        if how in PLANTS:
            plant(how, lock, victim)
        elif how == "a pipe of our own":
            os.mkfifo(lock)
        else:
            os.link(victim, lock)  # as another user may where the system lets him
        is_refused(group_folder / "s.zarr", "a run writes into it", BadInput)
        refuses("a run writes into it", lambda: check_free(group_folder / "s.zarr"))
        (tmp_path / "s.toml").write_text(STUDY)
        asked = ["run", str(tmp_path / "s.toml"), "--cluster", "serial", "--store", str(group_folder / "s.zarr")]
        for words in (["--dry-run"], []):
            assert run_command([*asked, *words]) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert f"{lock}; " in said
        assert victim.read_text() == "mine"
        assert not (group_folder / "new").exists()
        assert not (group_folder / "s.zarr").exists()
    finally:
        victim.unlink()


@pytest.mark.parametrize("how", list(PLANTS))
def test_the_log_is_a_plain_file_of_its_own_user(group_folder: Path, how: str) -> None:
    victim, store = group_folder / "victim", group_folder / "s.zarr"
    victim.write_text("mine")
    plant(how, log_of(store), victim)
    with pytest.raises(BadInput, match="a run writes into it"), logged(store):
        pass
    assert victim.read_text() == "mine"
    assert not (group_folder / "new").exists()
    with contextlib.suppress(OSError):
        assert read_log(store) == []


@pytest.mark.parametrize("how", list(PLANTS))
def test_token_and_kept_provenance_are_new_files(store: Path, group_folder: Path, how: str) -> None:
    shutil.move(store, group_folder / "s.zarr")
    store, victim = group_folder / "s.zarr", group_folder / "victim"
    victim.write_text("mine")
    token, kept = group_folder / ".s.zarr.token", group_folder / "s.zarr.provenance.json"
    plant(how, token, victim)
    plant(how, kept, victim)
    with shared(store) as place:
        assert token.read_text() == place.token
        assert not token.is_symlink()
        assert (token.stat().st_uid, token.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    assert not token.exists()
    os.truncate(store / PROVENANCE, 40)
    run(quick_study(128), store=store)
    assert kept.stat().st_size == 40
    assert not kept.is_symlink()
    assert kept.stat().st_uid == os.geteuid()
    assert victim.read_text() == "mine"
    assert not (group_folder / "new").exists()


def test_a_store_that_was_set_aside_is_no_link(group_folder: Path, made: Path) -> None:
    as_other("ln", "-s", str(made), str(group_folder / ".s.zarr.replaced"))
    is_refused(group_folder / "s.zarr", "is a link, which is not followed", BadInput)
    assert not (group_folder / "s.zarr").exists()
    assert [path.name for path in group_folder.iterdir()] == [".s.zarr.replaced"]


def test_a_folder_that_is_a_link_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "zarr.json").write_text("{}")
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "did").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPlain, match=LINK):
        Folder(tmp_path / "x.zarr").read("did/zarr.json")


EVIL = """
from pathlib import Path
Path({mark!r}).write_text("ran")
"""


def commands(store: Path) -> list[list[str]]:
    here, other, out = str(store), str(store.with_name("other.zarr")), str(store.with_name("out.zarr"))
    return [["report", here], *(["store", word, here] for word in ("verify", "hash", "info")),
            ["replay", here, "0", "0"], ["store", "merge", here, other, "--out", out],
            ["compare", here, here]]  # fmt: skip


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.mark, "ran")


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["did/term", "block_mark"])
def test_a_store_of_format_2_with_pickles_runs_nothing(
    store: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An array of objects, whose filter is pickle, in the place of one that every reader reads; then a whole store."""
    mark = tmp_path / "mark"
    shutil.copytree(store, store.with_name("other.zarr"))
    shutil.rmtree(store / name)
    (store / name).mkdir(parents=True)
    array = {"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": "|O", "compressor": None, "fill_value": None,
             "order": "C", "filters": [{"id": "pickle", "protocol": 5}]}  # fmt: skip
    (store / name / ".zarray").write_text(json.dumps(array))
    (store / name / "0").write_bytes(pickle.dumps([Bomb(mark), Bomb(mark)]))
    pickle.loads((store / name / "0").read_bytes())
    assert mark.read_text() == "ran", "the bomb is one"
    mark.unlink()
    for command in commands(store):
        run_command(command)
    (store / META).unlink()
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    for command in commands(store):
        assert run_command(command) in (1, 2), command
        assert "Traceback" not in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"codecs": [{"name": "numcodecs.pickle"}]}, "names the codec 'numcodecs.pickle'"),
     ({"codecs": ["pickle"]}, "names the codec 'pickle'"), ({"zarr_format": 2}, "is of zarr format 2"),
     *((changes, "holds an array of another kind") for changes in (
         {"storage_transformers": [{"name": "x"}]}, {"data_type": "variable_length_bytes"}, {"codecs": []})),
     ({"consolidated_metadata": {"kind": "inline", "metadata": {}}}, "holds metadata of other files")],
)  # fmt: skip
def test_other_codecs_are_refused_before_zarr_sees_them(
    store: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    """The last one in the root, in the place of the metadata of arrays."""
    file = store / (META if "consolidated_metadata" in changes else f"did/inference/{META}")
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    monkeypatch.setattr("zarr.open_group", lambda *_, **__: pytest.fail("zarr opened it"))
    refuses(said, lambda: ZarrStore.open(store))


@pytest.mark.parametrize("place", ["estimators", "design"])
def test_a_module_that_a_store_names_is_imported_only_when_it_is_trusted(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "made_up_evil.py").write_text(EVIL.format(mark=str(mark)))
    monkeypatch.syspath_prepend(tmp_path)
    study = json.loads((store / META).read_text())["attributes"]["study"]
    evil = {"kind": "made_up_evil:Thing"}
    edit(store, study=study | {place: [evil] if place == "estimators" else evil})
    shutil.copytree(store, store.with_name("other.zarr"))
    for command in commands(store):
        run_command(command)
        assert not mark.exists(), command
    assert "its study names code that would be imported: made_up_evil:Thing" in capsys.readouterr().err
    assert run_command(["replay", str(store), "0", "0", "--load-code"]) == 2
    assert mark.exists(), "what is trusted is imported"
    sys.modules.pop("made_up_evil", None)


def test_measures_that_a_store_names_are_loaded_only_when_it_is_trusted(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "evil.py").write_text(EVIL.format(mark=str(mark)) + "def half(estimate):\n    return 0.5, 0.1\n")
    ZarrStore(store, "a").note("measures", [f"{tmp_path}/evil.py:half"])
    for options in ([], ["--json"], ["--html", str(tmp_path / "x.html")]):
        assert run_command(["report", str(store), *options]) == 0
        said = capsys.readouterr()
        assert "the store names measures of its own (evil.py:half); --load-code loads them" in said.err
        assert not mark.exists()
    assert run_command(["report", str(store), "--load-code"]) == 0
    assert "half (MCSE)" in capsys.readouterr().out
    assert mark.exists()


@pytest.mark.parametrize("address", ["https://host/x.zarr", "file:///x.zarr"])
def test_addresses_are_refused_and_no_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(STUDY)
    scheme = address.partition(":")[0]
    for command in (["run", "s.toml", "--cluster", "serial", "--store", address], ["report", address],
                    ["store", "verify", address], ["replay", address, "0", "0"], ["compare", address, address],
                    ["store", "merge", address, "b.zarr", "--out", "c.zarr"],
                    ["store", "merge", "a.zarr", "b.zarr", "--out", address]):  # fmt: skip
        assert run_command(command) == 2, command
        said = capsys.readouterr().err
        if "no such store" not in said:
            assert f"{scheme}:// is no place for a store" in said, command
        assert said.count("\n") == 1
    refuses("is no place for a store", lambda: run(quick_study(64), store=address))
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_markup_in_names_is_text_on_the_page(store: Path, tmp_path: Path) -> None:
    held = json.loads((store / META).read_text())["attributes"]
    bad = "<script>alert(1)</script>"
    study = held["study"] | {"name": bad, "question": f"q{bad}", "expected": f"e{bad}"}
    text = json.dumps(held["layouts"]["did"]).replace('"did"', json.dumps(bad)).replace('"iid"', json.dumps(f"i{bad}"))
    layouts = {"did": json.loads(text)}
    cells = [{bad: f"v{bad}"}, {bad: f"w{bad}"}]
    edit(store, study=study, layouts=layouts, cells=cells)
    page = tmp_path / "x.html"
    assert run_command(["report", str(store), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
