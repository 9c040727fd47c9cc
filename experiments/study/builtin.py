"""The built-in studies: TOML files beside this module."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from experiments.study.study import Study
from sim.errors import bad, closest, one_of


def names() -> list[str]:
    """Names of the built-in studies."""
    folder = resources.files("experiments.study") / "studies"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def builtin(name: str) -> Study:
    """A built-in study; raises BadInput when there is none of that name."""
    if name not in names():
        raise bad(f"no study {name!r}", where="STUDY", allowed=f"{one_of(names())}, or a file that ends in .toml",
                  remedy=closest(name, names()))  # fmt: skip
    with resources.as_file(resources.files("experiments.study") / "studies" / f"{name}.toml") as path:
        return Study.from_toml(path)


def study_of(text: str) -> Study:
    """The study that a command line names: a built-in one or a TOML file."""
    if text.endswith(".toml") or "/" in text:
        return Study.from_toml(Path(text))
    return builtin(text)
