"""The pages of docs/reference, made of the code itself: `python docs/build/reference_pages.py` writes them."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click

import panelproof
from experiments.cli import COMMANDS
from experiments.cli import panelproof as program
from experiments.kinds import catalogue, meanings_of, type_text
from experiments.panel_spec import weights
from experiments.panel_spec.reading import ReadSection
from experiments.panel_spec.sections import (
    CollapseSection,
    IndexSection,
    InferenceSection,
    IvSection,
    ModerationSection,
    OutputSection,
    PanelSection,
    PsmSection,
    RobustnessSection,
    SpatialSection,
    SyntheticSection,
    TripleDifferenceSection,
    TwinSection,
)
from experiments.panel_spec.transforms import CENTRE, DOMAINS, EXAMPLES, POINTWISE, QUANTILES, SHAPES
from experiments.settings import Table
from experiments.study import StudyTables
from results.diagnosis.claims import Claim

FOLDER = Path(__file__).resolve().parents[1] / "reference"
WRITTEN = (
    "*This page is written by `docs/build/reference_pages.py` from the code itself. A test holds it to the code.*\n"
)
OVER_TIME = "every value; the first period has none"
ITS_OWN = {
    CENTRE: "every value, less the mean of the rows that have one",
    QUANTILES: "every unit has one in that period; 1, 2, ... for the group of its unit",
}


def cell(text: object) -> str:
    """Text for a cell of a table of Markdown."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def table(heads: list[str], rows: list[list[object]]) -> str:
    """A table of Markdown."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(cell, row))} |" for row in rows), ""])


# --- SPEC.toml and study files -------------------------------------------------------------------


def takes(hint: Any) -> str:
    """What a key of a TOML file takes, in words."""
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part is not type(None)]
    if origin is Literal:
        return " or ".join(f"`{value!r}`".replace("'", '"') for value in get_args(hint))
    if origin is Union or str(origin) == "<class 'types.UnionType'>":
        return " or ".join(dict.fromkeys(takes(part) for part in parts))
    if origin is dict:
        return "a table"
    if origin in (tuple, list):
        inner = [part for part in parts if part is not Ellipsis]
        if Ellipsis not in get_args(hint) and origin is tuple:
            return f"a list of {len(inner)}: {takes(inner[0])}"
        return f"a list of: {takes(inner[0])}"
    if isinstance(hint, type) and issubclass(hint, Path):
        return "a path"
    if isinstance(hint, type) and issubclass(hint, Table):
        return "a table"
    return {"text": "text", "whole number": "a whole number", "number": "a number"}.get(
        type_text(hint), type_text(hint)
    )


def as_toml(value: Any) -> str:
    """A default as a file would say it."""
    if value is None or value == "" or value == () or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(as_toml(item).strip('`') for item in value)}]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def keys(model: type[Table]) -> list[list[object]]:
    """A row for every key of a table: name, what it takes, default, meaning."""
    hints, found = get_type_hints(model), []
    names = list(model.model_fields)
    meanings = meanings_of(model, names)
    for name, item in model.model_fields.items():
        default = "(required)" if item.is_required() else as_toml(item.get_default(call_default_factory=True))
        what = item.description or takes(hints[name])
        if name == "kind":
            continue
        found.append([f"`{name}`", what, default, meanings[name]])
    return found


def claim_keys() -> list[list[object]]:
    """A row for every key of a table [[claims]], as `keys` gives them."""
    hints, meanings = get_type_hints(Claim), meanings_of(Claim, [item.name for item in fields(Claim)])
    return [[f"`{item.name}`", takes(hints[item.name]),
             "(required)" if item.default is MISSING else as_toml(item.default), meanings[item.name]]
            for item in fields(Claim)]  # fmt: skip


def key_table(model: type[Table]) -> str:
    """The keys of a table of a TOML file."""
    return table(["key", "takes", "default", "meaning"], keys(model))


def first_line(model: type) -> str:
    """The first line of a docstring without the name of the table before it."""
    line = (inspect.getdoc(model) or "").splitlines()[0]
    text = line.partition("]: ")[2] or line
    return text[:1].upper() + text[1:]


def weights_sections() -> Iterator[tuple[str, type[Table]]]:
    """Every kind of [[weights]] with its table."""
    for cls in get_args(get_args(weights.AnyWeights)[0]):
        yield get_args(cls.model_fields["kind"].annotation)[0], cls


def spec_page() -> str:
    """The reference of SPEC.toml."""
    out = ["# SPEC.toml\n", WRITTEN, "A SPEC.toml says what the columns of a panel file are. `panelproof init PANEL`"
           " writes one to edit. Unknown keys are errors, and all errors are listed at once.\n"]  # fmt: skip
    for name, model in (("panel", PanelSection), ("read", ReadSection), ("index", IndexSection),
                        ("collapse", CollapseSection)):  # fmt: skip
        out += [f"## [{name}]\n", f"{first_line(model)}\n", key_table(model)]
    out += ["## [recode]\n", "A number for every value of a column of labels: `d = { \"yes\" = 1, \"no\" = 0 }`."
            " Numbers that are labels are named as text.\n"]  # fmt: skip
    rows: list[list[object]] = []
    for name, what in SHAPES.items():
        other = "numbers" if name in POINTWISE else ITS_OWN.get(name, OVER_TIME)
        domain = DOMAINS[name][0] if name in DOMAINS else other
        rows.append(
            [f"`{name}`", what, domain, f"`new = {{ {name} = {EXAMPLES.get(name, chr(34) + 'a' + chr(34))} }}`"]
        )
    out += ["## [transform]\n", "New columns by named functions, in the order written. Later ones may use"
            " earlier ones.\n",
            table(["function", "of", "values", "as written"], rows)]  # fmt: skip
    out += ["## [[weights]]\n", "One table for each spatial weights matrix W. The first is the main one. `kind` is"
            " required.\n"]  # fmt: skip
    for kind, model in weights_sections():
        out += [f'### kind = "{kind}"\n', f"{first_line(model)}\n", key_table(model)]
    for name, model in (("inference", InferenceSection), ("output", OutputSection), ("moderation", ModerationSection),
                        ("ddd", TripleDifferenceSection), ("robustness", RobustnessSection),
                        ("robustness.psm", PsmSection), ("robustness.synthetic", SyntheticSection),
                        ("iv", IvSection), ("spatial", SpatialSection), ("twin", TwinSection)):  # fmt: skip
        out += [f"## [{name}]\n", f"{first_line(model)}\n", key_table(model)]
    return "\n".join(out)


def study_page() -> str:
    """The reference of a study file."""
    return "\n".join([
        "# Study files\n", WRITTEN,
        "`panelproof run FILE.toml` runs such a file. `panelproof studies NAME` shows a built-in one.\n",
        "## Keys of the file\n", key_table(StudyTables),
        "## [design]\n",
        "`kind` names a design, such as `\"panel\"`, or `\"module:Object\"` of your own. The other keys are its dials:"
        " see [Kinds](kinds.md#designs), and [Worlds](../worlds.md) for the parts of `panel`.\n",
        "## [grid]\n",
        "Each key is a dial of the design, and its value a list. A dotted name in quotes reaches into a part:"
        " `\"errors.serial\" = [0.0, 0.6]`. The cells of the study are all combinations.\n",
        "## [[estimators]]\n",
        "`kind` names an estimator, such as `\"did\"`, or `\"module:Object\"` of your own. The other keys are its"
        " dials: see [Kinds](kinds.md#estimators). A list makes one estimator of each value, where the dial itself is"
        " no list.\n",
        "## [[claims]]\n",
        "Each says what answers the study's question, and a report begins with the answers, in this order. A study"
        " without claims is judged on bias, coverage, size and power of its effects and slopes. Claims change no"
        " result: they may be edited after a run, and `panelproof run` of the same file judges the store anew."
        " [Measures](../measures.md#how-a-verdict-is-reached) says how a verdict is reached.\n",
        table(["key", "takes", "default", "meaning"], claim_keys()),
    ])  # fmt: skip


# --- kinds ------------------------------------------------------------------------------------------


def kinds_page() -> str:
    """All that has a kind."""
    out = ["# Kinds\n", WRITTEN, "`panelproof kinds` prints this list, `panelproof kinds KIND` one of its entries."
           " The parts of the design `panel` stand on the page [Worlds](../worlds.md#every-part).\n"]  # fmt: skip
    groups = catalogue()
    for group in ("designs", "estimators", "schemes"):
        out.append(f"## {group.capitalize()}\n")
        for entry in groups[group]:
            out += [f"### {entry.kind}\n", f"{entry.summary}\n"]
            if entry.dials:
                out.append(table(["dial", "type", "default", "allowed", "meaning"], [
                    [f"`{dial.name}`", dial.type, dial.default, " or ".join(dial.allowed), dial.meaning]
                    for dial in entry.dials
                ]))  # fmt: skip
    for group, title in (("error_types", "Error types"), ("measures", "Measures")):
        rows = [[f"`{entry.kind}`", entry.summary, *([entry.source] if group == "error_types" else [])]
                for entry in groups[group]]  # fmt: skip
        heads = ["kind", "meaning", *(["who serves it"] if group == "error_types" else [])]
        out += [f"## {title}\n", table(heads, rows)]
    return "\n".join(out)


# --- the command line -----------------------------------------------------------------------------


def command_lines(command: click.Command, path: str, level: int = 2) -> Iterator[str]:
    """A command, its options, and the commands below it."""
    yield f"{'#' * level} {path}\n"
    pieces = command.collect_usage_pieces(click.Context(command, info_name=path))
    yield f"```text\n{path} {' '.join(pieces)}\n```\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    context = click.Context(command)
    records = [item.get_help_record(context) for item in command.params if isinstance(item, click.Option)]
    if rows := [[f"`{record[0]}`", record[1]] for record in records if record is not None]:
        yield table(["option", "meaning"], rows)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from command_lines(below, f"{path} {name}", level + 1)


def commands_page() -> str:
    """The command line."""
    out = ["# The command line\n", WRITTEN, "| exit code | meaning |", "|---|---|", "| 0 | done |",
           "| 1 | a check failed |",
           "| 2 | bad input: one line for each fault |", "| 3 | done in part |", "| 75 | the store is locked |",
           "| 130, 143 | interrupted |\n"]  # fmt: skip
    for name in COMMANDS:
        command = program.get_command(click.Context(program), name)
        assert command is not None
        out += command_lines(command, f"panelproof {name}")
    return "\n".join(out)


# --- Python ---------------------------------------------------------------------------------------


def python_page() -> str:
    """The names of `import panelproof as pp`."""
    out = ["# Python\n", WRITTEN, "```text\nimport panelproof as pp\n```\n", f"{inspect.getdoc(panelproof)}\n"]
    discovered = panelproof._classes()
    functions = [name for name in panelproof.__all__ if name not in discovered]
    for name in sorted(functions, key=str.lower):
        out += _object_lines(name, getattr(panelproof, name))
    rows: list[list[object]] = []
    for name, cls in sorted(discovered.items()):
        module = importlib.import_module(cls.__module__)
        rows.append([f"`pp.{name}`", f"`{getattr(cls, 'kind', '')}`", (inspect.getdoc(cls) or "").split("\n")[0],
                     f"`{module.__name__}`"])  # fmt: skip
    out += ["## Designs and estimators\n", "Each is a frozen dataclass whose fields are its dials: see"
            " [Kinds](kinds.md).\n", table(["class", "kind", "what it is", "module"], rows)]  # fmt: skip
    return "\n".join(out)


def _object_lines(name: str, item: Any) -> Iterator[str]:
    yield f"## pp.{name}\n"
    if not (inspect.isclass(item) and issubclass(item, Exception)):
        yield f"```text\n{_signature(name, item)}\n```\n"
    yield f"{_documented(item)}\n"
    for method, member in _methods(item):
        yield f"### pp.{name}.{method}\n"
        if callable(member):
            yield f"```text\n{_signature(method, member)}\n```\n"
        yield f"{_documented(member)}\n"


def _documented(item: Any) -> str:
    """A docstring whose examples, each a paragraph, are blocks of code; tests/test_docstrings.py runs them."""
    paragraphs = (inspect.getdoc(item) or "").split("\n\n")
    return "\n\n".join(f"```pycon\n{text.strip()}\n```" if text.startswith(">>> ") else text for text in paragraphs)


def _methods(item: Any) -> list[tuple[str, Any]]:
    """Public methods and properties of a class, those of its bases in this project too."""
    if not inspect.isclass(item) or issubclass(item, Exception):
        return []
    names = [name for base in reversed(item.__mro__) if base.__module__.partition(".")[0] in panelproof.ROOMS
             for name, member in vars(base).items() if not name.startswith("_") and inspect.getdoc(member)
             and (callable(member)
                  or isinstance(member, property | cached_property | classmethod | staticmethod))]  # fmt: skip
    return [(name, getattr(item, name)) for name in dict.fromkeys(names)]


class _AsWritten(str):
    """An annotation that a signature shows without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _signature(name: str, item: Any) -> str:
    """A call with its parameters and their defaults, types as they are written, on lines that a page holds."""
    signature = inspect.signature(item)
    returned, *written = (_AsWritten(hint) if isinstance(hint, str) else hint for hint in (
        signature.return_annotation, *(one.annotation for one in signature.parameters.values())))  # fmt: skip
    parameters = [one.replace(annotation=hint)
                  for one, hint in zip(signature.parameters.values(), written, strict=True)]  # fmt: skip
    text = f"{name}{signature.replace(parameters=parameters, return_annotation=returned)}"
    return "\n".join(textwrap.wrap(text, 100, subsequent_indent="    ", break_long_words=False))


PAGES: dict[str, Callable[[], str]] = {
    "spec.md": spec_page,
    "study.md": study_page,
    "kinds.md": kinds_page,
    "commands.md": commands_page,
    "python.md": python_page,
}


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page().rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
