"""A store is data: a crafted one runs nothing, addresses are no folders, and names are text on a page."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.cli import run_command
from experiments.run.runner import run
from results.store import ZarrStore
from results.store.files import META, seal
from sim.errors import BadInput
from studies import quick_study

EVIL = """
from pathlib import Path
Path({mark!r}).write_text("ran")
"""


def edit(store: Path, **changes: Any) -> None:
    """Change attributes of the root as one would who knows the digests."""
    file = store / META
    held = json.loads(file.read_text())
    held["attributes"] |= changes
    held["attributes"]["digest"] = seal(held["attributes"])
    file.write_text(json.dumps(held))


def edit_array(store: Path, name: str, **changes: Any) -> None:
    file = store / name / META
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


READERS = [["report"], ["store", "verify"], ["store", "hash"], ["store", "info"], ["replay", "0", "0"],
           ["store", "merge"], ["compare"]]  # fmt: skip


def commands(store: Path) -> list[list[str]]:
    merge = [
        "store",
        "merge",
        str(store),
        str(store.with_name("other.zarr")),
        "--out",
        str(store.with_name("out.zarr")),
    ]
    own = {"merge": merge, "compare": ["compare", str(store), str(store)], "0": ["replay", str(store), "0", "0"]}
    return [own.get(words[-1], [*words, str(store)]) for words in READERS]


class Bomb:
    """What a pickle of it runs when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.mark, "ran")


@pytest.mark.parametrize("name", ["effect", "did/term", "block_mark"])
def test_a_store_of_format_2_with_pickles_runs_nothing(
    store: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An array of objects, whose filter is pickle, in the place of one that every reader reads; then a whole store."""
    import pickle

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
    [
        ({"codecs": [{"name": "numcodecs.pickle"}]}, "names the codec 'numcodecs.pickle'"),
        ({"codecs": ["pickle"]}, "names the codec 'pickle'"),
        ({"zarr_format": 2}, "is of zarr format 2"),
        ({"storage_transformers": [{"name": "x"}]}, "holds an array of another kind"),
        ({"data_type": "variable_length_bytes"}, "holds an array of another kind"),
        ({"codecs": []}, "holds an array of another kind"),
    ],
)
def test_other_codecs_are_refused_before_zarr_sees_them(
    store: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    edit_array(store, "did/inference", **changes)
    monkeypatch.setattr("zarr.open_group", lambda *_, **__: pytest.fail("zarr opened it"))
    with pytest.raises(BadInput, match=said):
        ZarrStore.open(store)


def test_metadata_in_the_root_do_not_stand_for_those_of_arrays(store: Path) -> None:
    file = store / META
    held = json.loads(file.read_text())
    held["consolidated_metadata"] = {"kind": "inline", "metadata": {}}
    file.write_text(json.dumps(held))
    with pytest.raises(BadInput, match="holds metadata of other files"):
        ZarrStore.open(store)


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


@pytest.mark.parametrize(
    "address", ["https://host/x.zarr", "http://host/x.zarr", "file:///x.zarr", "ftp://host/x.zarr"]
)
def test_addresses_are_refused_and_no_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('[design]\nkind = "paper"\ncontrols = "none"\n[[estimators]]\nkind = "did"\n')
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
    with pytest.raises(BadInput, match="is no place for a store"):
        run(quick_study(64), store=address)
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_markup_in_names_is_text_on_the_page(store: Path, tmp_path: Path) -> None:
    held = json.loads((store / META).read_text())["attributes"]
    bad = "<script>alert(1)</script>"
    study = held["study"] | {"name": bad, "question": f"q{bad}", "expected": f"e{bad}"}
    layouts = json.loads(
        json.dumps(held["layouts"]).replace('"did"', json.dumps(bad)).replace('"iid"', json.dumps(f"i{bad}"))
    )
    layouts = {"did": next(iter(layouts.values()))}
    cells = [{bad: f"v{bad}"}, {bad: f"w{bad}"}]
    edit(store, study=study, layouts=layouts, cells=cells)
    page = tmp_path / "x.html"
    assert run_command(["report", str(store), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
