"""Environments: what differs between two, in words, and digests of sources."""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import words
from distributed import Client
from odd_workers import edited_copy, panelproof
from real_parts import by_command_line, start

from cluster import Environment, environment, survey
from cluster.environment import source_digest
from cluster.survey import archive
from results.store import ZarrStore
from studies import SHORT

HERE = Environment("3.13.1", "x86_64", (("numpy", "2.3.0"),), ("openblas 0.3 Haswell, threads 1",), (("sim", "a1"),))


@pytest.mark.parametrize(("change", "words"), [
    ({"python": "3.12.0"}, "python 3.13.1 instead of 3.12.0"),
    ({"machine": "arm64"}, "machine x86_64 instead of arm64"),
    ({"packages": (("numpy", "2.2.0"),)}, "numpy 2.3.0 instead of 2.2.0"),
    ({"packages": ()}, "numpy 2.3.0 instead of missing"),
    ({"packages": (("numpy", "2.3.0"), ("scipy", "1.16.0"))}, "scipy missing instead of 1.16.0"),
    ({"blas": ("openblas 0.3 Zen, threads 1",)},
     "BLAS openblas 0.3 Haswell, threads 1 instead of openblas 0.3 Zen, threads 1"),
    ({"code": (("sim", "b2"),)}, "other code of sim"),
])  # fmt: skip
def test_each_difference_is_said_in_words(change: dict[str, object], words: str) -> None:
    other = replace(HERE, **change)  # type: ignore[arg-type]
    assert (HERE.differences(other), HERE.differs_in_code_alone(other)) == ((words,), words == "other code of sim")


def test_equal_environments_have_no_differences_and_survive_json() -> None:
    assert HERE.differences(HERE) == ()
    assert Environment.from_plain(json.loads(json.dumps(HERE.plain))) == HERE
    whole = environment(("numpy", "no such package"), ("cluster",))
    assert whole.packages[1] == ("no such package", "missing")
    assert str(whole).endswith(tuple("0123456789abcdef"))
    assert Environment.from_plain(json.loads(json.dumps(whole.plain))) == whole


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules that can be imported, and are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def digest(folder: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The digest of a module that is loaded from this folder, for the first time."""
    for name in [name for name in sys.modules if name.partition(".")[0] == module.partition(".")[0]]:
        del sys.modules[name]
    with monkeypatch.context() as patch:
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        return source_digest(module)


def test_a_package_is_its_sources_and_not_their_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "one" / "made_up_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "__init__.py").write_text("x = 1\n")
    found = digest(folder / "one", "made_up_package.inner", monkeypatch)
    assert len(found) == 16
    shutil.copytree(package, folder / "two" / "made_up_package")
    (folder / "two" / "made_up_package" / "__pycache__").mkdir(exist_ok=True)
    (folder / "two" / "made_up_package" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert digest(folder / "two", "made_up_package", monkeypatch) == found
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda *given: reversed([*listed(*given)]))
    assert digest(folder / "two", "made_up_package", monkeypatch) == found, "in whatever order a disk lists files"
    (folder / "two" / "made_up_package" / "inner" / "__init__.py").write_text("x = 2\n")
    assert digest(folder / "two", "made_up_package", monkeypatch) != found


def test_sources_are_the_same_below_a_hidden_folder_and_with_other_ends_of_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for place, ends in (("plain", b"\n"), (".hidden", b"\r\n")):
        (folder / place / "made_up_package").mkdir(parents=True)
        (folder / place / "made_up_package" / "__init__.py").write_bytes(b"x = 1" + ends)
        found.add(digest(folder / place, "made_up_package", monkeypatch))
    assert "" not in found
    assert len(found) == 1


def test_shipped_code_is_whole_has_equal_bytes_and_takes_the_place_of_all_that_was_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = folder / "made_up_package"
    package.mkdir()
    for name in ("__init__.py", "inner.py", *(f"data{ending}" for ending in (".csv", ".toml", ".html", ".css", ".js"))):
        (package / name).write_text("x = 1\n")
    importlib.invalidate_caches()
    importlib.import_module("made_up_package.inner")
    (package / "inner.py").write_text("x = 2222\n")
    content = archive(["made_up_package"])
    os.utime(package / "inner.py", (1e9, 1e9))
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda *given: reversed([*listed(*given)]))
    assert archive(["made_up_package"]) == content
    names = {f"made_up_package/{path.name}" for path in package.iterdir() if path.is_file()}
    assert set(zipfile.ZipFile(io.BytesIO(content)).namelist()) == names
    shipped: list[Any] = []
    client = SimpleNamespace(register_plugin=lambda plugin, name: shipped.append(plugin))
    pool: Any = SimpleNamespace(client=client, reaching=nullcontext)
    assert survey.ship(pool, ["made_up_package"]) == len(content)
    shutil.rmtree(package)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (plugin,) = shipped
    plugin.setup(None)
    assert importlib.import_module("made_up_package.inner").x == 2222
    plugin.teardown(None)
    assert not Path(plugin.folder).exists()


def test_a_module_counts_with_the_modules_beside_it_that_it_imports(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "made_up_module.py").write_text("import math\nfrom made_up_part import x\n")
    (folder / "made_up_part.py").write_text("import made_up_rest\nx = 1\n")
    (folder / "made_up_rest.py").write_text("y = 1\n")
    (folder / "made_up_other.py").write_text("z = 1\n")
    found = digest(folder, "made_up_module", monkeypatch)
    (folder / "made_up_other.py").write_text("z = 2\n")
    assert digest(folder, "made_up_module", monkeypatch) == found
    (folder / "made_up_rest.py").write_text("y = 2\n")
    assert digest(folder, "made_up_module", monkeypatch) != found


def test_the_digest_is_that_of_the_code_that_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "made_up_module.py").write_text("x = 1\n")
    found = digest(folder, "made_up_module", monkeypatch)
    (folder / "made_up_module.py").write_text("x = 222\n")
    assert source_digest("made_up_module") == found
    importlib.reload(sys.modules["made_up_module"])
    assert source_digest("made_up_module") != found
    assert source_digest("made_up_and_missing") == ""


def test_the_remedy_of_other_kernels_names_what_to_set_or_the_package_that_they_come_with() -> None:
    client = replace(HERE, blas=("openblas 0.3 Haswell, L2 512 KB, threads 1",))
    worker = replace(HERE, blas=("openblas 0.3 SkylakeX, L2 2048 KB, threads 1",))
    settings = "OPENBLAS_CORETYPE=Haswell, OPENBLAS_L2_SIZE=512, OPENBLAS_NUM_THREADS=1"
    assert worker.remedy(client) == f"set {settings} in the environment of all machines, this one included"
    assert replace(HERE, code=(("sim", "b2"),)).remedy(HERE).startswith("say --ship-code")
    other = replace(HERE, packages=(("numpy", "2.2.0"),), blas=("openblas 0.2 Zen, threads 1",))
    assert other.remedy(HERE) == "install numpy==2.3.0 on the worker"
    assert replace(other, packages=HERE.packages).remedy(HERE).startswith("set OPENBLAS_CORETYPE=Haswell, ")
    assert replace(other, code=()).remedy(HERE) == other.remedy(HERE), "a module that only one names is no difference"


PROBED = replace(HERE, numbers="default", probe=(("exp", "e1"), ("sum", "s1"), ("log", "l1")))


def test_differences_of_numbers_are_said_in_words() -> None:
    other = replace(PROBED, probe=(("exp", "e2"), ("sum", "s2"), ("log", "l1")))
    words = "numbers differ in the last digits although versions are equal: exp, sum"
    assert other.differences(PROBED) == PROBED.differences(other) == (words,)
    assert not other.differs_in_code_alone(PROBED)
    older = replace(other, packages=(("numpy", "2.2.0"),))
    assert older.differences(PROBED) == ("numpy 2.2.0 instead of 2.3.0", "numbers differ in the last digits: exp, sum")
    assert replace(PROBED, numbers="portable").differences(PROBED) == ("numbers portable instead of default",)
    assert other.differences(PROBED.of_any_numbers) == PROBED.of_any_numbers.differences(other) == ()
    assert "--accept-other-numbers" in other.remedy(PROBED)
    asked = replace(PROBED, numbers="portable")
    assert "panelproof cluster numbers" in other.remedy(asked)
    assert "say --numbers portable" in asked.remedy(PROBED)
    assert older.remedy(PROBED) == "install numpy==2.3.0 on the worker", "numbers differ because of it"
    assert asked.differences(PROBED.of_any_numbers) == ()
    assert "OPENBLAS_CORETYPE=Haswell" in replace(other, blas=("openblas 0.3 Zen, threads 1",)).remedy(asked)
    earlier = {key: value for key, value in PROBED.plain.items() if key not in ("numbers", "probe")}
    assert PROBED.differences(Environment.from_plain(earlier)) == (), "it says nothing of its numbers"
    assert Environment.from_plain(json.loads(json.dumps(PROBED.plain))) == PROBED


def test_the_size_of_the_cache_that_is_set_goes_before_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "size").write_text("1024K\n")
    of_processes = sys.modules[Environment.__module__]  # its name in the package is that of a function
    monkeypatch.setattr(of_processes, "CACHE", tmp_path / "size")
    for given, size in (("", "1024"), ("512", "512")):
        monkeypatch.setenv("OPENBLAS_L2_SIZE", given)
        kernels = of_processes._interpreter.__wrapped__()[2]
        assert kernels
        assert all(f", L2 {size} KB, threads" in kernel for kernel in kernels)


# Same code or no work: odd workers are left out and named, code is sent where it is all that differs


STUDY = f"""{SHORT}[[estimators]]
kind = "made_up_plug_in:Mine"
label = "mine"
"""
PLUG_IN = """
from typing import ClassVar
from estimators import TwoWayDID

class Mine(TwoWayDID):
    kind: ClassVar[str] = "mine"
"""


@pytest.mark.long
def test_one_odd_worker_of_two_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("made_up_plug_in:Mine", "did"))
    with by_command_line(tmp_path, workers=1) as cluster:
        here = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard")
        worker = (sys.executable, "-m", "dask", "worker", cluster.where, *here)
        cluster.processes["odd"] = start(tmp_path, *worker, OPENBLAS_L2_SIZE="333")
        with Client(cluster.where) as client:
            client.wait_for_workers(2, timeout=60)
        checked = panelproof(tmp_path, "cluster", "check", cluster.where, "--study", "study.toml", "--json")
        assert checked.returncode == 1
        facts = json.loads(checked.stdout)
        assert sorted(item["fit"] for item in facts["workers"]) == [False, True]
        assert facts["pilot_seconds"] > 0
        assert facts["bytes_a_second"] > 0
        ran = panelproof(tmp_path, "run", "study.toml", "--cluster", cluster.where, "--store", "x.zarr")
        assert ran.returncode == 0, ran.stderr
        assert "differs from the client: BLAS" in words(ran.stdout)
        assert "L2 333 KB" in words(ran.stdout)
        assert "OPENBLAS_L2_SIZE=" in words(ran.stdout)
    alone = panelproof(tmp_path, "run", "study.toml", "--cluster", "serial", "--store", "alone.zarr")
    assert alone.returncode == 0, alone.stderr
    one, two = (ZarrStore.open(tmp_path / name).content_hash() for name in ("x.zarr", "alone.zarr"))
    assert one == two


@pytest.mark.long
def test_code_is_sent_where_it_is_all_that_differs(tmp_path: Path) -> None:
    """Workers with an edited copy and without the plug-in: refused in words, then served by --ship-code."""
    folder, copy = tmp_path / "here", tmp_path / "copy"
    folder.mkdir()
    copy.mkdir()
    (folder / "made_up_plug_in.py").write_text(PLUG_IN)
    (folder / "study.toml").write_text(STUDY)
    with by_command_line(copy, workers=1, path=edited_copy(copy)) as cluster:
        run = ("run", "study.toml", "--cluster", cluster.where, "--store", "x.zarr")
        refused = panelproof(folder, *run)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
        assert "made_up_plug_in" in refused.stderr
        assert "--ship-code" in refused.stderr
        assert "killed" not in refused.stdout + refused.stderr
        sent = panelproof(folder, *run, "--ship-code")
        assert sent.returncode == 0, sent.stdout + sent.stderr
    assert panelproof(folder, "run", "study.toml", "--cluster", "serial", "--store", "alone.zarr").returncode == 0
    one, two = (ZarrStore.open(folder / name).content_hash() for name in ("x.zarr", "alone.zarr"))
    assert one == two
