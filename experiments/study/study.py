"""A study: design x grid of parameters x estimators x replications x seed; frozen, hashable, from TOML or Python."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from estimators.core.estimator import Estimator, Layout
from experiments.notebook import StudyCard
from experiments.settings import build, kind_of, to_settings
from experiments.study.beside import with_files
from experiments.study.border import layout_of, schema_of_design
from experiments.study.claims import check_claims, read_claims
from experiments.study.dials import default_of, dial_names, is_written, value_of, with_dials
from experiments.study.estimator_tables import read_estimators
from experiments.study.functions import FromFunctions, tried
from experiments.study.measure_files import load_measures, resolved
from experiments.study.tables import StudyTables
from experiments.toml_files import read_toml, validated
from results.diagnosis.claims import Claim
from sim.design import Design, Estimand, Wanted, designs, find_design
from sim.errors import BadInput, Problem, bad, closest, gathering, listed, naming, one_of
from sim.real_panels import Observed
from sim.registry import join_search
from sim.schema import Schema
from sim.streams import Streams
from sim.world.context import slots_of

SCHEMA_VERSION = 2  # of what a store holds; part of the fingerprint
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # of an estimator: it becomes a group of the store
STUDY_NAME = re.compile(r"\w[\w .-]*")  # it names the store
MOST_REPLICATIONS = 1_000_000_000
MOST_CELLS = 100_000  # each is a design that is built before the first is drawn
MOST_BLOCKS = 2_000_000  # each has a mark, of which a run holds all
RESERVED = {"truth", "cell", "replication", "estimand", "block_mark", "provenance"}
BLOCK_UNIT = 64  # blocks are multiples of it


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
class Study(FromFunctions, StudyCard):
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
        pairs = self.grid.items() if isinstance(self.grid, Mapping) else self.grid
        object.__setattr__(self, "grid", tuple((dial, tuple(values)) for dial, values in pairs))
        problems = [*self._problems()]
        if problems:
            raise BadInput(*problems)
        self._normalise()
        object.__setattr__(self, "estimators", tried(self.estimators, self.design))
        if self.worlds is None:
            object.__setattr__(self, "worlds", max(cell.design.default_worlds for cell in self.cells))
        if any(len({cell_text({dial: value}) for value in values}) < len(values) for dial, values in self.grid):
            raise bad("values of a dial repeat", where=f"study {self.name} [grid]",
                      allowed="one or more distinct values", remedy="correct the list")  # fmt: skip
        layouts = [self.layouts(schema_of_design(cell.design)) for cell in self.cells]
        for layout in itertools.chain(*(found.values() for found in layouts)):
            _check_targets(layout, f"study {self.name}")
        if self.claims:
            check_claims(self.claims, layouts, [dial for dial, _ in self.grid], f"study {self.name}")

    def _normalise(self) -> None:
        """Dials as their types have them (0 is 0.0, a list a tuple), so that equal studies have equal fingerprints."""
        if self.design.identity is not None:
            return
        where, settings = f"study {self.name}", to_settings(self.design)
        object.__setattr__(self, "design", build(type(self.design), settings, f"{where} [design]"))
        made = {
            dial: [value_of(self._with({dial: value}, f"{where} [grid]"), dial) for value in values]
            for dial, values in self.grid
        }
        grid = tuple(
            (dial, tuple(given if value is None else value for given, value in zip(values, made[dial], strict=True)))
            for dial, values in self.grid
        )
        object.__setattr__(self, "grid", grid)

    def _with(self, dials: Mapping[str, Any], where: str) -> Design:
        """The design with other values of some dials."""
        return build(type(self.design), with_dials(self.design, to_settings(self.design), dials), where)

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
        yield from self._size_problems(where)
        if not STUDY_NAME.fullmatch(self.name):
            yield Problem(f"name = {self.name!r}", where, "letters, digits, spaces, . _ and -", "rename the study")
        yield from self._name_problems(where)
        dials = dial_names(self.design, dict(self.grid)) if self.grid else ()
        for dial, values in self.grid:
            if dial not in dials:
                yield Problem(f"design {self.design.kind!r} has no dial {dial!r}", f"{where} [grid]", one_of(dials),
                              closest(dial, dials))  # fmt: skip
            if not values:
                yield Problem(f"{dial!r} has no values", f"{where} [grid]", "one or more distinct values",
                              "correct the list")  # fmt: skip

    def _size_problems(self, where: str) -> Iterator[Problem]:
        """More cells than could be listed, or blocks than could be marked, before any of them is made."""
        cells = math.prod(len(values) for _, values in self.grid)
        blocks = cells * -(-self.replications // max(self.block, 1))
        if cells > MOST_CELLS:
            yield Problem(f"the values make {cells:,} cells", f"{where} [grid]", f"up to {MOST_CELLS:,} cells",
                          "leave values out, or make several studies of it")  # fmt: skip
        elif blocks > MOST_BLOCKS:
            what = f"{cells:,} cells of {self.replications:,} replications make {blocks:,} blocks"
            yield Problem(what, where, f"up to {MOST_BLOCKS:,} blocks", "set a larger block, or ask for fewer")

    def _name_problems(self, where: str) -> Iterator[Problem]:
        names = [estimator.name for estimator in self.estimators]
        for name in names:
            if not NAME.fullmatch(name) or name in RESERVED | dict(self.grid).keys():
                allowed = "letters, digits, . _ + -; not a name of the store's own"
                yield Problem(f"estimator name {name!r}", where, allowed, "set another label")
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            what = f"estimators share a name: {listed(twice)}" if twice else "no estimators"
            yield Problem(what, where, "one or more estimators, each with its own name", "set label")

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
            text = cell_text(parameters)
            key = "" if self.common_random_numbers else hashlib.sha256(text.encode()).hexdigest()[:16]
            cells.setdefault(text, Cell(len(cells), parameters, design, key))
        return tuple(cells.values())

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

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the identity's canonical JSON."""
        return hashlib.sha256(canonical_json(self.identity).encode()).hexdigest()

    def resized(self, *, replications: int | None = None, block: int | None = None, seed: int | None = None) -> Study:
        """The same study with other numbers; None keeps its own."""
        changes = {"replications": replications, "block": block, "seed": seed}
        return replace(self, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str = "study") -> Study:
        """A study from plain data; raises BadInput with everything that is wrong."""
        tables, problems = validated(StudyTables, settings, where)
        design, found, claims = None, list[Estimator](), tuple[Claim, ...]()
        with gathering(problems):
            design = _design(settings, where)
        with gathering(problems):
            found = read_estimators(settings, where)
        with gathering(problems):
            claims = read_claims(settings.get("claims", []), where)
        if problems or design is None or tables is None:
            raise BadInput(*problems)
        own = dict(tables) | {"measures": tuple(tables.measures), "design": design, "estimators": tuple(found)}
        own |= {"claims": claims}
        return cls(**(own | {"grid": tuple((dial, tuple(values)) for dial, values in tables.grid.items())}))

    @classmethod
    def from_toml(cls, path: str | Path) -> Study:
        """A study from a file; its name is the file's unless it states one. Raises BadInput."""
        path = Path(path)
        join_search(path.parent)
        settings = with_files(read_toml(path, "a study file"), path.parent, str(path))
        settings.pop("cluster", None)  # where it runs changes no result
        with naming(str(path)):
            study = cls.from_settings({"name": path.stem, **settings}, str(path))
        study = replace(study, measures=tuple(resolved(text, path.parent) for text in study.measures))
        load_measures(study.measures, f"{path} measures")
        _check_overridden(study, settings["design"], str(path))
        _check_noise(study, str(path))
        return study


def _check_overridden(study: Study, table: Mapping[str, Any], where: str) -> None:
    """Raise BadInput for dials of [design] that [grid] would override; a default stands in every exported study.

    The kind of a part may stand in both: in [design] it says whose dials are there.
    """
    problems = [
        Problem(f"{dial} is set in [design] and in [grid]", where, "one of the two", f"leave {dial} out of [design]")
        for dial, _ in study.grid
        if not dial.endswith(".kind")
        and is_written(table, dial)
        and value_of(study.design, dial) != default_of(study.design, dial)
    ]
    if problems:
        raise BadInput(*problems)


def _check_noise(study: Study, where: str) -> None:
    """Raise BadInput for a study whose panels hold no noise: its bias and coverage would be those of rounding.

    Such a design is of use in Python, where identities are held against it.
    """
    if any(cell.design.noiseless for cell in study.cells):
        sd, differ = ("errors.sd", "effect.unit_sd") if slots_of(type(study.design)) else ("sigma", "heterogeneity")
        place = "[grid]" if any(dial in (sd, "errors.scale") for dial, _ in study.grid) else "[design]"
        raise bad(f"{sd} is 0 or nearly 0, so panels have no noise: bias and coverage would only measure rounding",
                  where=f"{where} {place}", allowed=f"errors ({sd}), or effects that differ ({differ})",
                  remedy=f"set {sd} = 0.001, or leave it out")  # fmt: skip


def cell_text(parameters: Mapping[str, Any]) -> str:
    """A cell's parameters as canonical text, whatever their order in the grid."""
    return canonical_json(to_settings(parameters))


def _check_targets(layout: Layout, where: str) -> None:
    for term, target in layout.targets.items():
        try:
            Estimand.parse(target)
        except ValueError as error:
            raise bad(f"{term} has the target {target!r}", where=where, allowed="an estimand such as att or beta(did)",
                      remedy="correct target") from error  # fmt: skip


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, the same text for the same data."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _design(settings: Mapping[str, Any], where: str) -> Design | None:
    table = settings.get("design")
    if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
        raise bad("no design is named", where=f"{where} [design]", allowed=f"kind = one of {one_of(designs())}",
                  remedy='add [design] kind = "paper"')  # fmt: skip
    dials = {key: value for key, value in table.items() if key != "kind"}
    if table["kind"] == "observed":
        raise bad("kind = 'observed' is a panel in memory", where=f"{where} [design]", allowed="a design that draws",
                  remedy="use `panelproof estimate` for a real panel")  # fmt: skip
    return build(find_design(table["kind"], f"{where} [design]"), dials, f"{where} [design]")
