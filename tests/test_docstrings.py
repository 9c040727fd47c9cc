"""Examples in docstrings run and give what they say; every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import panelproof as pp
from estimators import Estimates
from experiments.estimation import Tables
from results.diagnosed import Diagnosed, Plots
from results.store import Store

BESIDE = {"Twin": "twin", "show": "estimate", "write_files": "estimate", "write_trust": "trust", "write_twin": "twin"}
REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("sim", "estimators", "results", "experiments")
SHORT = {  # by example what it says and what runs instead; pages in full run in the first hour of docs/tutorials
    "panelproof.trust": ("replications=64)", "replications=64, benchmarks=0, race=False)"),
}
METHODS = {
    Diagnosed: ("table", "plot", "contrast", "to_xarray", "summary"),
    Estimates: ("params", "std_errors", "tstats", "pvalues", "conf_int", "with_errors", "summary"),
    Tables: ("params", "std_errors", "tstats", "pvalues", "conf_int", "with_errors", "summary", "__getitem__"),
    Plots: ("__call__", "power", "size", "coverage", "bias", "rmse", "zip", "scatter"),
    Store: ("to_xarray",),
}


def modules() -> list[str]:
    """Modules whose text holds an example."""
    files = [REPOSITORY / "panelproof.py", *(file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py"))]
    found = [file.relative_to(REPOSITORY) for file in files if ">>> " in file.read_text(encoding="utf-8")]
    return sorted(".".join(path.with_suffix("").parts) for path in found)


def examples() -> Iterator[Any]:
    """Every docstring with an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in modules():
        module = importlib.import_module(name)
        for test in finder.find(module, module.__name__, module=module):
            if test.examples:
                yield pytest.param(shortened(test), id=test.name)


def shortened(test: doctest.DocTest) -> doctest.DocTest:
    """The example with what runs in its place, if any."""
    if test.name in SHORT:
        old, new = SHORT[test.name]
        (long,) = [one for one in test.examples if old in one.source]
        long.source = long.source.replace(old, new)
    return test


@pytest.mark.parametrize("example", list(examples()))
def test_the_example_runs_and_gives_what_it_says(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # examples write files
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append, clear_globs=False)
    assert not said, "".join(said)


def text_of(item: Any) -> str:
    """The docstring of a class, function, property or method; a class does not inherit that of its base."""
    item = item.fget if isinstance(item, property) else item
    return inspect.cleandoc(vars(item).get("__doc__") or item.__doc__ or "")


@pytest.mark.parametrize("name", pp.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    """Of its own, or in that of the function whose answer it takes."""
    text = text_of(getattr(pp, BESIDE.get(name, name)))
    assert ">>> " in text
    assert f"pp.{name}" in text


@pytest.mark.parametrize(("cls", "name"), [(cls, name) for cls, names in METHODS.items() for name in names])
def test_every_method_for_users_says_what_it_gives(cls: type, name: str) -> None:
    text = text_of(inspect.getattr_static(cls, name))
    assert re.match(r"[A-Z][^\n](.|\n(?!\n))*\.(\n\n|$)", text), text


def test_methods_for_users_have_examples_of_their_own_or_in_their_class() -> None:
    missing = []
    for cls, names in METHODS.items():
        text = text_of(cls) + "".join(text_of(inspect.getattr_static(cls, name)) for name in names)
        shown = "\n".join(line for line in text.splitlines() if line.startswith((">>> ", "... ")))
        missing += [
            f"{cls.__name__}.{name}"
            for name in names
            if not (f".{name}" in shown or {"__call__": "plot(", "__getitem__": '["'}.get(name, "?") in shown)
        ]
    assert missing == [
        "Estimates.tstats", "Estimates.pvalues", "Tables.tstats", "Tables.pvalues", "Plots.coverage", "Plots.bias",
        "Plots.rmse", "Plots.scatter",
    ], "each as the one beside it"  # fmt: skip
