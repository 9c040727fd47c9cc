"""Scripts of the tests: files that are run, as modules, and the names that are typed after a script."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType


def module_of(file: Path, name: str = "") -> ModuleType:
    """The module of a file, made anew, under the file's name or another one."""
    spec = importlib.util.spec_from_file_location(name or file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def named(known: Collection[str], typed: Sequence[str], about: str | None) -> list[str]:
    """Which of what a script knows is asked for: all without a name. Another name ends the script with one line."""
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; without one all are run")
    names: list[str] = options.parse_args(typed).names
    if unknown := [name for name in names if name not in known]:
        options.error(f"no {', '.join(unknown)}; there are {', '.join(known)}")
    return names or list(known)
