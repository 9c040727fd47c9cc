"""A study: design x grid of parameters x estimators x replications x seed; frozen, hashable, from TOML or Python."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, cast, get_args, get_origin, get_type_hints

from pydantic import Field

from estimators.core.estimator import Estimator, Layout, estimators, find_estimator
from estimators.permutation import PermutationTest
from experiments.listing import STUDIES, builtin_names, in_full, with_kinds
from experiments.plugin_contracts import (
    DrawFunction,
    Fit,
    design_of,
    estimators_of,
    layout_of,
    main_estimand,
    schema_of_design,
    tried,
)
from experiments.settings import (
    Flag,
    Table,
    Whole,
    build,
    default_of,
    dial_names,
    is_written,
    kind_of,
    read_toml,
    to_settings,
    validated,
    value_of,
    with_dials,
)
from results.diagnosis.claims import MEASURES, Claim
from results.diagnosis.own_measures import FORMS, hypothesis_measures, is_test, own_measures
from sim.design import Design, Estimand, Wanted, designs, find_design
from sim.errors import (
    BadInput,
    Problem,
    a_kind,
    all_of,
    amount,
    bad,
    closest,
    gathering,
    listed,
    naming,
    near_file,
    one_of,
    reason,
    refuse,
    type_problems,
)
from sim.functions import Function, Naming, Truth
from sim.panel import Panel, card, number_text
from sim.panel_sidecars import ENDING, panel_text, read_beside
from sim.real_panels import Observed
from sim.registry import join_search
from sim.schema import Schema
from sim.streams import TILE, Streams, world_of
from sim.world.context import Slot, slots_of

# What twins and trust pages show of themselves in a notebook.


def twin_card(twin: Any) -> str:
    """What was fitted, and how many features of the panel lie within those of the twins."""
    inside = sum(row.inside for row in twin.fidelity)
    facts = [
        ("method", twin.method),
        ("other methods", ", ".join(other.method for other in twin.others)),
        ("fidelity", f"{inside} of {len(twin.fidelity)} features of the panel lie within those of its twins"),
        ("outside", listed((row.feature for row in twin.fidelity if not row.inside), 8) if twin.fidelity else ""),
    ]
    rows = [(one.dial, float(one.value), one.what, float(one.raw)) for one in twin.parameters]
    heads = ("parameter", "fitted", "statistic of the panel", "its value")
    return card("Twin of a panel", facts, heads, rows, twin.notes)


class TrustCard(dict[str, Any]):
    """What trust.json holds, as a dict that a notebook shows."""

    def _repr_html_(self) -> str:
        claim, mde = self["claim"], self["mde"]
        facts = [
            ("claim", claim["text"]),
            ("power of 80% from an effect of", mde["value"]),
            ("held fixed", ", ".join(self["held_fixed"])),
        ]
        heads = ("errors", "size", "MC error", "std. error", "p")
        rows = [tuple(row[name] for name in ("se_type", "size", "mcse", "se", "pvalue")) for row in self["errors"]]
        verdict = self["verdict"]
        return card(f"{claim['outcome']}: {verdict['answer']}", facts, heads, rows,
                    answer=[verdict["reason"], *verdict["sentences"]])  # fmt: skip


# The keys of a study file.


class StudyTables(Table):
    """A study file: the kinds of values that its keys take; [design] and [[estimators]] are read by their own kinds.

    name: names the store; without it the name of the file. question: what the study asks, in words. expected: the
    answer that theory lets expect, in words. cost: how long it takes, in words. design: the world. grid: the values of
    dials. estimators: what is held to the truth. replications: draws a cell. block: replications stored together, a
    multiple of 64. seed: of all that is drawn. worlds: in how many worlds what a cell holds fixed is drawn; without it
    the design's default. common_random_numbers: whether cells share their random variates. measures: further ones that
    reports show. claims: what the verdict judges.
    """

    partial: ClassVar[bool] = True

    name: str = "study"
    question: str = ""
    expected: str = ""
    cost: str = ""
    design: dict[str, Any] = Field(default_factory=dict, description="a table [design]")
    grid: dict[str, list[Any]] = Field(default_factory=dict, description="a table [grid] of lists")
    estimators: list[Any] = Field(default_factory=list, description="tables [[estimators]]")
    replications: Whole = 2000
    block: Whole = 2048
    seed: Whole = 1
    worlds: Whole | None = None
    common_random_numbers: Flag = False
    measures: list[str] = Field(default_factory=list, description="a list of texts such as measures.py:worst_case")
    claims: list[Any] = Field(default_factory=list, description="tables [[claims]]")


# Files that stand beside a study file: dials of parts that name one get the panel in it, as a text.


def with_files(settings: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Settings of a study in which every dial that may name a file holds its panel; raises BadInput for no such file.

    A study then holds all that it needs: it is the same for a store, for workers and for `replay`, and its fingerprint
    covers every number of the panel. Tables that are wrong are left for `Study` to refuse.
    """
    design = settings.get("design")
    if not isinstance(design, Mapping) or not isinstance(design.get("kind"), str):
        return dict(settings)
    try:
        slots = slots_of(find_design(design["kind"]))
    except BadInput:
        return dict(settings)
    held = dict(design)
    for name, slot in slots.items():
        if isinstance(table := design.get(name), Mapping):
            held[name] = slot.with_paths(_with_files(table, slot, folder, f"{where} [design.{name}]"), folder)
        elif isinstance(table, list):
            held[name] = [
                slot.with_paths(_with_files(item, slot, folder, f"{where} [[design.{name}]] {number}"), folder)
                if isinstance(item, Mapping) else item
                for number, item in enumerate(table, 1)
            ]  # fmt: skip
    return dict(settings) | {"design": held}


def _with_files(table: Mapping[str, Any], slot: Slot, folder: Path, where: str) -> dict[str, Any]:
    cls = slot.kinds.get(str(table.get("kind", slot.base.default)))
    named = {} if cls is None else {dial: str(table.get(dial, "")) for dial in cls.files}
    files = {dial: folder / name for dial, name in named.items() if name.lower().endswith(ENDING)}
    found = {dial: read_beside(file, f"{where} {dial}") for dial, file in files.items()}
    return dict(table) | {dial: panel_text(panel) for dial, panel in found.items()}


# The tables [[claims]] of a study: what the verdict judges, in names that the study has.


def check_claims(
    claims: Sequence[Claim], layouts: Sequence[Mapping[str, Layout]], dials: Sequence[str], where: str
) -> None:
    """Raise BadInput for names of estimators, terms, error types and dials that the study lacks.

    layouts: of each cell, by the estimators' names.
    """
    names, problems = list(dict.fromkeys(name for cell in layouts for name in cell)), list[Problem]()
    for number, claim in enumerate(claims, 1):
        place = f"{where} [[claims]] {number}"
        chosen = [name for name in claim.estimators if name in names] or names
        judged = [layout for cell in layouts for name, layout in cell.items() if name in chosen]
        terms = list(dict.fromkeys(term for layout in judged for term in layout.terms))
        errors = list(dict.fromkeys(error for layout in judged for error in layout.errors))
        for what, given, known in (("estimator", claim.estimators, names), ("term", claim.terms, terms),
                                   ("error type", claim.errors, errors)):  # fmt: skip
            problems += [Problem(f"no {what} {name!r}", place, one_of(known, name), closest(name, known))
                         for name in given if name not in known]  # fmt: skip
        if claim.over and claim.over not in dials:
            problems.append(Problem(f"over = {claim.over!r} is no dial of [grid]", place, one_of(dials) or "(no dials)",
                                    closest(claim.over, dials)))  # fmt: skip
        if claim.measure == "screen" and judged and not any(layout.screen for layout in judged):
            problems.append(
                Problem(
                    "no estimator has a screen, such as a test of pre-trends",
                    place,
                    "estimators with a screen",
                    "leave this claim out, or choose event-study",
                )
            )
    if problems:
        raise BadInput(*problems)


# The tables [[estimators]] of a study: estimators of their kinds, one for each choice in a list.


def read_estimators(settings: Mapping[str, Any], where: str) -> list[Estimator]:
    """The estimators of a study's settings; raises BadInput with everything that is wrong."""
    tables = settings.get("estimators")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise bad("no estimators", where=where, allowed="one or more tables [[estimators]]",
                  remedy=f"add [[estimators]] {a_kind(estimators())}")  # fmt: skip
    found: list[Estimator] = []
    problems: list[Problem] = []
    for number, table in enumerate(tables, 1):
        place = f"{where} [[estimators]] {number}"
        with gathering(problems):
            if "kind" not in table:
                raise bad("kind is missing", where=place, allowed=a_kind(estimators()),
                          remedy='add kind = "did", or another')  # fmt: skip
            cls = find_estimator(str(table["kind"]), place)
            options = {key: value for key, value in table.items() if key != "kind"}
            made = [build(cls, choice, place) for choice in expanded(cls, options)]
            for item in made:
                if isinstance(item, PermutationTest):  # what it tests is refused in the words of all settings
                    tested = find_estimator(item.estimator, f"{place} (permutation), estimator")
                    build(tested, dict(item.settings), f"{place} (permutation), settings of {item.estimator}")
                    with naming(f"{place} (permutation)"):
                        item.inner  # noqa: B018  (it raises for what cannot be tested)
            found += made
    if problems:
        raise BadInput(*problems)
    return found


def _takes_a_list(hint: Any) -> bool:
    """Whether a setting of this type is itself a list: a tuple, or a choice that one may be."""
    return get_origin(hint) is tuple or any(_takes_a_list(part) for part in get_args(hint))


def expanded(cls: type, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One set of settings for each choice in a list, where the setting itself is not a list."""
    hints = get_type_hints(cls)
    lists = {
        key: value
        for key, value in options.items()
        if isinstance(value, list) and key in hints and not _takes_a_list(hints[key])
    }
    combinations = itertools.product(*lists.values())
    return [{**options, **dict(zip(lists, choice, strict=True))} for choice in combinations]


# Measures of a user's own by name: "measures.py:worst_case", a function of a file, or "package.module:function"; tests
# at a null other than 0, "null:did=0.02", and of equivalence, "equivalence:-0.01<did<0.01".


def resolved(text: str, folder: Path) -> str:
    """The same name with the file's whole path, where it is a file of the folder."""
    place, colon, name = text.rpartition(":")
    return f"{(folder / place).resolve()}{colon}{name}" if place.endswith(".py") else text


def load_measures(texts: Iterable[str], where: str) -> dict[str, Function]:
    """The functions by name; raises BadInput with every one that cannot be used."""
    found: dict[str, Function] = {}
    problems: list[Problem] = []
    texts = tuple(texts)
    with gathering(problems):
        found |= hypothesis_measures((text for text in texts if is_test(text)), where)
    for text in (text for text in texts if not is_test(text)):
        with gathering(problems):
            name, function = _load(text, where)
            if name in found and found[name] is not function:
                raise bad(f"two measures are called {name!r}", where=where, allowed="a name of its own for each",
                          remedy="rename one of the functions")  # fmt: skip
            found[name] = function
    with gathering(problems):
        own_measures(found)
    if problems:
        raise BadInput(*problems)
    return found


def _load(text: str, where: str) -> tuple[str, Function]:
    """The name and function of one text."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise bad(f"measure {text!r}", where=where,
                  allowed=f"FILE.py:FUNCTION or MODULE:FUNCTION, {' or '.join(FORMS.values())}",
                  remedy='write for instance "measures.py:worst_case"')  # fmt: skip
    path = Path(place)
    if not place.endswith(".py"):
        try:
            module = importlib.import_module(place)
        except Exception as error:
            raise bad(f"{place} cannot be imported: {reason(error)}", where=where, allowed="a module that Python finds",
                      remedy="install it, or name a file that ends in .py") from error  # fmt: skip
    elif not path.is_file():
        raise bad(f"no file {path}", where=where, allowed="a Python file", remedy=near_file(path, [".py"]))
    else:
        spec = importlib.util.spec_from_file_location(f"measures_of_{path.stem}", path)
        assert spec is not None and spec.loader is not None  # noqa: PT018  (its name ends in .py)
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise bad(f"{path.name} cannot be imported: {reason(error, str(path))}", where=where,
                      allowed="a file that Python can import", remedy="correct it") from error  # fmt: skip
    names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if not callable(function := getattr(module, name, None)):
        raise bad(f"{place} has no function {name!r}", where=where, allowed=one_of(names, name),
                  remedy=closest(name, names))  # fmt: skip
    return name, function


SCHEMA_VERSION = 2  # of what a store holds; part of the fingerprint
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # of an estimator: it becomes a group of the store
STUDY_NAME = re.compile(r"\w[\w .-]*")  # it names the store
MOST_REPLICATIONS = 1_000_000_000
MOST_CELLS = 100_000  # each is a design that is built before the first is drawn
MOST_BLOCKS = 2_000_000  # each has a mark, of which a run holds all
RESERVED = {"truth", "cell", "replication", "estimand", "block_mark", "provenance"}
BLOCK_UNIT = 64  # blocks are multiples of it


def names_no_store_takes(names: Iterable[str], where: str, dials: Iterable[str] = ()) -> Iterator[Problem]:
    """A problem for each name of an estimator that cannot be a group of a store beside its dials."""
    for name in names:
        if not NAME.fullmatch(name) or name in {*RESERVED, *dials}:
            allowed = "letters, digits, . _ + -; not a name of the store's own"
            yield Problem(f"estimator name {name!r}", where, allowed, "set another label")


@dataclass(frozen=True, slots=True)
class Cell:
    """A point of the grid: its index, its parameters and the design they make."""

    index: int
    parameters: Mapping[str, Any]
    design: Design
    key: str

    def streams(self, seed: int) -> Streams:
        """The random streams of this cell."""
        return Streams(seed, self.key)


@dataclass(frozen=True)
class Study:
    """What to run. `grid` maps dials of the design to the values they take; cells are all combinations.

    replications: draws a cell. block: replications stored together, a multiple of 64. worlds: in how many worlds what a
    cell holds fixed is drawn, its replications spread over them; None = the design's default, which is then what the
    study says. common_random_numbers: cells share their random variates. question, expected, cost: what it asks, the
    answer that theory or others' results let expect, with the source, and how long it takes, in words. measures:
    further ones that reports show, as "FILE.py:FUNCTION"; claims: what the verdict judges; both change no result.
    Raises BadInput for dials that the design lacks, names of estimators that repeat, and numbers out of range.

    >>> import panelproof as pp
    >>> len(pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}).cells)
    2
    """

    name: str
    design: Design
    estimators: tuple[Estimator, ...]
    grid: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    replications: int = 2000
    block: int = 2048
    seed: int = 1
    common_random_numbers: bool = False
    question: str = ""
    expected: str = ""
    cost: str = ""
    worlds: int | None = None
    measures: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        pairs: Any = self.grid.items() if isinstance(self.grid, Mapping) else self.grid
        given: Any = (self.estimators,) if isinstance(self.estimators, Estimator) else self.estimators
        for name, held in (("grid", pairs), ("estimators", given)):
            some = isinstance(held, Iterable) and not isinstance(held, str | type)
            object.__setattr__(self, name, tuple(held) if some else held)
        refuse(self._type_problems())
        object.__setattr__(self, "grid", tuple((dial, tuple(values)) for dial, values in self.grid))
        problems = [*self._problems()]
        if problems:
            raise BadInput(*problems)
        if self.design.identity is None:
            # dials as their types have them (0 is 0.0, a list a tuple), so that equal studies have equal fingerprints
            where, settings = f"study {self.name}", to_settings(self.design)
            object.__setattr__(self, "design", build(type(self.design), settings, f"{where} [design]"))
            made = {
                dial: [value_of(self._with({dial: value}, f"{where} [grid]"), dial) for value in values]
                for dial, values in self.grid
            }
            grid = tuple(
                (dial, tuple(old if new is None else new for old, new in zip(values, made[dial], strict=True)))
                for dial, values in self.grid
            )
            object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "estimators", tried(self.estimators, self.design))
        if self.worlds is None:
            object.__setattr__(self, "worlds", max(cell.design.default_worlds for cell in self.cells))
        texts = {dial: [canonical_json(to_settings(value)) for value in values] for dial, values in self.grid}
        if repeated := [dial for dial, said in texts.items() if len(set(said)) < len(said)]:
            raise bad(f"values of {listed(repeated)} repeat", where=f"study {self.name} [grid]",
                      allowed="one or more distinct values", remedy="correct the list")  # fmt: skip
        layouts = [self.layouts(schema_of_design(cell.design)) for cell in self.cells]
        for layout in itertools.chain(*(found.values() for found in layouts)):
            for term, target in layout.targets.items():
                try:
                    Estimand.parse(target)
                except ValueError as error:
                    raise bad(f"{term} has the target {target!r}", where=f"study {self.name}",
                              allowed="an estimand such as att or beta(did)",
                              remedy="correct target") from error  # fmt: skip
        if self.claims:
            check_claims(self.claims, layouts, [dial for dial, _ in self.grid], f"study {self.name}")

    def _with(self, dials: Mapping[str, Any], where: str) -> Design:
        """The design with other values of some dials."""
        return build(type(self.design), with_dials(self.design, to_settings(self.design), dials), where)

    def _type_problems(self) -> Iterator[Problem]:
        """What is of another type than the settings, as only Python can give it."""
        where, grid, estimators = f"study {self.name}", cast(Any, self.grid), cast(Any, self.estimators)
        yield from type_problems(self.name, str, "name", where="Study", allowed='a text, such as "mine"')
        whole = {"replications": self.replications, "block": self.block, "seed": self.seed}
        whole |= {} if self.worlds is None else {"worlds": self.worlds}
        for key, value in whole.items():
            yield from type_problems(value, Integral, key, where=where, allowed="a whole number")
        yield from type_problems(self.design, Design, "design", where=where, allowed="a design, such as Paper()")
        allowed = "one or more estimators, such as TwoWayDID()"
        yield from type_problems(estimators, tuple, "estimators", where=where, allowed=allowed)
        for item in estimators if isinstance(estimators, tuple) else ():
            yield from type_problems(item, Estimator, "an estimator", where=where, allowed=allowed)
        if not isinstance(grid, tuple) or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in grid):
            shown = list(grid) if isinstance(grid, tuple) else grid
            yield Problem(f"grid = {shown!r}", where, "a dict of dials with their values",
                          'write grid = {"effect": [0.0, 0.1]}')  # fmt: skip
            return
        for dial, values in grid:
            if isinstance(values, str) or not isinstance(values, Iterable):
                yield Problem(f"{dial} = {values!r}", f"{where} [grid]", f"a list of values, such as [{values!r}]",
                              f"write {dial!r}: [{values!r}]")  # fmt: skip

    def _problems(self) -> Iterator[Problem]:
        where = f"study {self.name}"
        whole = {"replications": (self.replications, 1), "block": (self.block, BLOCK_UNIT), "seed": (self.seed, 0)}
        whole |= {} if self.worlds is None else {"worlds": (self.worlds, 1)}
        for key, (value, least) in whole.items():
            if value < least or (key == "block" and value % BLOCK_UNIT):
                allowed = f"a multiple of {BLOCK_UNIT}" if key == "block" else f"a whole number from {least}"
                yield Problem(f"{key} = {value}", where, allowed, "correct the number")
        if isinstance(self.design, Observed) and self.replications > 1:
            yield Problem(f"replications = {self.replications} of an observed panel", where, "1",
                          "an observed panel is one draw")  # fmt: skip
        if isinstance(self.design, Observed) and self.worlds not in {None, 1}:
            yield Problem(f"worlds = {self.worlds} of an observed panel", where, "1",
                          "leave worlds out: nothing of an observed panel is drawn")  # fmt: skip
        if self.replications > MOST_REPLICATIONS:
            yield Problem(f"replications = {self.replications}", where, f"up to {MOST_REPLICATIONS:,} a cell",
                          "ask for fewer")  # fmt: skip
        cells = math.prod(len(values) for _, values in self.grid)  # counted before any of them is made
        blocks = cells * -(-self.replications // max(self.block, 1))
        if cells > MOST_CELLS:
            yield Problem(f"the values make {cells:,} cells", f"{where} [grid]", f"up to {MOST_CELLS:,} cells",
                          "leave values out, or make several studies of it")  # fmt: skip
        elif blocks > MOST_BLOCKS:
            what = f"{amount(cells, 'cell')} of {amount(self.replications, 'replication')}: {blocks:,} blocks"
            yield Problem(what, where, f"up to {MOST_BLOCKS:,} blocks", "set a larger block, or ask for fewer")
        if not STUDY_NAME.fullmatch(self.name):
            yield Problem(f"name = {self.name!r}", where, "letters, digits, spaces, . _ and -", "rename the study")
        names = [estimator.name for estimator in self.estimators]
        yield from names_no_store_takes(names, where, dict(self.grid))
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            what = f"estimators share a name: {listed(twice)}" if twice else "no estimators"
            yield Problem(what, where, "one or more estimators, each with its own name", "set label")
        dials = dial_names(self.design, dict(self.grid)) if self.grid else ()
        for dial, values in self.grid:
            if dial not in dials:
                yield Problem(f"design {self.design.kind!r} has no dial {dial!r}", f"{where} [grid]",
                              one_of(dials, dial, all_of(self.design)), closest(dial, dials))  # fmt: skip
            if not values:
                yield Problem(f"{dial!r} has no values", f"{where} [grid]", "one or more distinct values",
                              "correct the list")  # fmt: skip

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every combination of the grid's values, the last dial fastest.

        Combinations that differ only in a dial which the kind of their part lacks are one cell.
        """
        names = [dial for dial, _ in self.grid]
        cells: dict[str, Cell] = {}
        for values in itertools.product(*(values for _, values in self.grid)):
            dials = dict(zip(names, values, strict=True))
            design = self._with(dials, f"study {self.name} [grid]") if names else self.design
            parameters = {name: value_of(design, name) for name in names}
            text = canonical_json(to_settings(parameters))  # whatever their order in the grid
            # the digits of an estimate beyond the ninth hang on file format and processor: draws must not
            near = canonical_json(json.loads(text, parse_float=lambda number: float(f"{float(number):.9g}")))
            key = "" if self.common_random_numbers else hashlib.sha256(near.encode()).hexdigest()[:16]
            cells.setdefault(text, Cell(len(cells), parameters, design, key))
        return tuple(cells.values())

    def draw(self, cell: int = 0, replication: int = 0) -> Panel:
        """The panel of one replication of a cell, as a run draws it; raises BadInput when there is no such one."""
        for name, value, count in (("cell", cell, len(self.cells)), ("replication", replication, self.replications)):
            if not 0 <= value < count:
                raise bad(f"no {name} {value}", where=f"study {self.name}", allowed=f"0 to {count - 1}",
                          remedy="choose another")  # fmt: skip
        own, streams = self.cells[cell], self.cells[cell].streams(self.seed)
        first = replication - replication % TILE
        world = own.design.settle(streams.of_world(int(world_of(first, self.world_count))))
        panel = world.draw(streams.tile(first, first + TILE), self.wanted(own)).panel
        return panel.replication(replication - first)

    @property
    def world_count(self) -> int:
        """In how many worlds what a cell holds fixed is drawn."""
        assert self.worlds is not None  # __post_init__ has filled it in
        return self.worlds

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """In words, what a world of some cell draws and holds fixed."""
        return tuple(dict.fromkeys(itertools.chain(*(cell.design.held_fixed for cell in self.cells))))

    @property
    def own_estimators(self) -> list[Estimator]:
        """Estimators that a user wrote."""
        return [item for item in self.estimators if ":" in kind_of(item, "estimators")]

    def layouts(self, schema: Schema) -> dict[str, Layout]:
        """What each estimator returns on panels of this schema, by name."""
        return {estimator.name: layout_of(estimator, schema) for estimator in self.estimators}

    def wanted(self, cell: Cell) -> Wanted:
        """The variables and estimands that the estimators ask of a cell's draws."""
        schema = cell.design.schema
        variables = frozenset().union(*(estimator.variables(schema) for estimator in self.estimators))
        targets = itertools.chain(*(layout.targets.values() for layout in self.layouts(schema).values()))
        return Wanted(variables, tuple(dict.fromkeys(targets)))

    def _repr_html_(self) -> str:
        """As a notebook shows it: its question, what is run, and the dials of its grid."""
        facts = [
            ("question", self.question),
            ("expected", self.expected),
            ("design", self.design.kind),
            ("cells", len(self.cells)),
            ("replications", f"{self.replications:,} a cell"),
            ("estimators", listed((estimator.name for estimator in self.estimators), 8)),
            ("worlds", self.world_count if self.world_count > 1 else None),
            ("held fixed", ", ".join(self.held_fixed)),
            ("seed", self.seed),
        ]
        rows = [(dial, listed(map(number_text, values), 8)) for dial, values in self.grid]
        return card(f"Study {self.name}", facts, ("dial", "values"), rows)

    @property
    def settings(self) -> dict[str, Any]:
        """The study as plain data, from which `from_settings` makes it again."""
        return {
            "name": self.name,
            "question": self.question,
            "expected": self.expected,
            "cost": self.cost,
            "design": {"kind": kind_of(self.design, "sim"), **to_settings(self.design)},
            "grid": {dial: to_settings(list(values)) for dial, values in self.grid},
            "estimators": [{"kind": kind_of(item, "estimators"), **to_settings(item)} for item in self.estimators],
            "replications": self.replications,
            "block": self.block,
            "seed": self.seed,
            "worlds": self.worlds,
            "common_random_numbers": self.common_random_numbers,
            "measures": list(self.measures),
            "claims": [claim.settings for claim in self.claims],
        }

    @property
    def identity(self) -> dict[str, Any]:
        """All that changes results: the settings without names, words and the number of replications."""
        free = {"name", "question", "expected", "cost", "replications", "grid", "measures", "claims"}
        kept = {key: value for key, value in self.settings.items() if key not in free}
        grid = [[dial, to_settings(list(values))] for dial, values in self.grid]  # its order is the cells'
        return kept | {"grid": grid, "design_identity": self.design.identity, "schema": SCHEMA_VERSION}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the identity's canonical JSON, by which a worker finds the study of each job."""
        return hashlib.sha256(canonical_json(self.identity).encode()).hexdigest()

    def resized(self, *, replications: int | None = None, block: int | None = None, seed: int | None = None) -> Study:
        """The same study with other numbers; None keeps its own."""
        changes = {"replications": replications, "block": block, "seed": seed}
        return replace(self, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]

    @classmethod
    def from_functions(
        cls,
        *,
        draw: DrawFunction,
        fit: Fit | Iterable[Fit] | Mapping[str, Fit],
        truth: Truth = None,
        dials: Mapping[str, Any] | None = None,
        name: str = "functions",
        outcome: str = "",
        treatment: str = "",
        controls: Iterable[str] = (),
        unit: str = "unit",
        period: str = "period",
        **settings: Any,
    ) -> Study:
        """A study of plain functions: draw(rng, DIAL=default, ...) makes one panel a call, fit(panel) estimates on it.

        What they take and return, and what truth, outcome, treatment, controls, unit and period are: as of `@design`
        and `@estimator`, whose classes may be given instead, as may any design and estimator. fit: one, several, or a
        dict by name. dials: values of dials that the grid leaves alone. settings: those of a study, such as
        grid = {"effect": [0, 1]}. Raises BadInput.
        """
        naming = Naming(outcome, treatment, tuple(controls), unit, period)
        made, fits = design_of(draw, truth, naming, dials or {}), estimators_of(fit, main_estimand(truth), naming)
        return cls(name, made, fits, **settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str = "study") -> Study:
        """A study from plain data; raises BadInput with everything that is wrong."""
        tables, problems = validated(StudyTables, settings, where)
        design: Design | None = None
        found, claims = list[Estimator](), list[Claim]()
        with gathering(problems):
            table = settings.get("design")
            if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
                raise bad("no design is named", where=f"{where} [design]", allowed=a_kind(designs()),
                          remedy='add [design] kind = "paper"')  # fmt: skip
            if table["kind"] == "observed":
                raise bad("kind = 'observed' is a panel in memory", where=f"{where} [design]",
                          allowed="a design that draws",
                          remedy="use `panelproof estimate` for a real panel")  # fmt: skip
            dials = {key: value for key, value in table.items() if key != "kind"}
            design = build(find_design(table["kind"], f"{where} [design]"), dials, f"{where} [design]")
        with gathering(problems):
            found = read_estimators(settings, where)
        written = settings.get("claims", [])
        for number, item in enumerate(written if isinstance(written, list) else [], 1):
            place = f"{where} [[claims]] {number}"
            with gathering(problems):
                if not isinstance(item, Mapping) or "measure" not in item:
                    raise BadInput(Problem("measure is missing", place, f"measure = one of {one_of(MEASURES)}",
                                           'add measure = "bias", or another'))  # fmt: skip
                lists = {"terms", "estimators", "errors"}  # of which a single text stands for one
                single = {key: [value] if key in lists and isinstance(value, str) else value
                          for key, value in item.items()}  # fmt: skip
                claims.append(build(Claim, single, place))
        if problems or design is None or tables is None:
            raise BadInput(*problems)
        own = dict(tables) | {"measures": tuple(tables.measures), "design": design, "estimators": tuple(found)}
        own |= {"claims": tuple(claims)}
        return cls(**(own | {"grid": tuple((dial, tuple(values)) for dial, values in tables.grid.items())}))

    @classmethod
    def from_toml(cls, path: str | Path) -> Study:
        """A study from a file; its name is the file's unless it states one. Raises BadInput."""
        path = Path(path)
        join_search(path.parent)
        written = dict(read_toml(path, "a study file"))
        written.pop("cluster", None)  # where it runs changes no result
        settings = with_files(with_kinds(written, lambda kind: in_full(kind, str(path))), path.parent, str(path))
        with naming(str(path)):
            study = cls.from_settings({"name": path.stem, **settings}, str(path))
        study = replace(study, measures=tuple(resolved(text, path.parent) for text in study.measures))
        load_measures(study.measures, f"{path} measures")
        # a default in [design] stands in every exported study, and the kind of a part there says whose dials are there
        refuse(Problem(f"{dial} is set in [design] and in [grid]", str(path), "one of the two",
                       f"leave {dial} out of [design]") for dial, _ in study.grid
               if not dial.endswith(".kind") and is_written(settings["design"], dial)
               and value_of(study.design, dial) != default_of(study.design, dial))  # fmt: skip
        # in Python a design without noise is of use: identities are held against it
        if any(cell.design.noiseless for cell in study.cells):
            sd, differ = ("errors.sd", "effect.unit_sd") if slots_of(type(study.design)) else ("sigma", "heterogeneity")
            place = "[grid]" if any(dial in (sd, "errors.scale") for dial, _ in study.grid) else "[design]"
            raise bad(f"{sd} is 0 or nearly 0, so panels have no noise: bias and coverage would only measure rounding",
                      where=f"{path} {place}", allowed=f"errors ({sd}), or effects that differ ({differ})",
                      remedy=f"set {sd} = 0.001, or leave it out")  # fmt: skip
        return study


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, the same text for the same data."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# The built-in studies: TOML files beside this module.


def builtin_study(name: str) -> Study:
    """A built-in study; raises BadInput when there is none of that name."""
    known = builtin_names()
    if name not in known:
        allowed = f"{one_of(known, name, '`panelproof studies`')}, or a file that ends in .toml"
        raise bad(f"no study {name!r}", where="STUDY", allowed=allowed, remedy=closest(name, known))
    return Study.from_toml(STUDIES / f"{name}.toml")


def study_of(given: str | Path | Study) -> Study:
    """The study that a command line names: a built-in one or a TOML file; a study itself as it is. Raises BadInput."""
    if isinstance(given, Study):
        return given
    refuse(type_problems(given, (str, Path), "study", where="STUDY", remedy="make one: panelproof.Study(...)",
                         allowed="a Study, the name of a built-in one, or a file that ends in .toml"))  # fmt: skip
    text = str(given)
    if (Path(text) / "zarr.json").is_file():
        raise bad("is a store and no study", where=text, allowed="a study's name or file",
                  remedy=f"`panelproof report {text}` prints it")  # fmt: skip
    if text.endswith(".toml") or "/" in text or (text not in builtin_names() and Path(text).exists()):
        return Study.from_toml(Path(text))
    return builtin_study(text)
