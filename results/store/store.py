"""What the stores of a study share: which blocks there are, what failed in them, and where they were computed."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Layout, Status
from results.store.block import Block, SomeBlocks, block_arrays
from results.store.skeleton import StoreSchema
from sim.errors import BadInput, amount, bad, listed
from sim.panel import card

if TYPE_CHECKING:
    import xarray as xr


# A share of a study's blocks, which a store of its own holds until `merge` joins all of them.


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `number` (from 1) of `of`: every `of`-th block, counted over the cells of one block after the other."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str, where: str = "--shard") -> Shard:
        """From "2/4"; raises BadInput for anything else."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        number, of = (int(part) for part in found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise bad(f"{text!r} is no share", where=where, allowed="I/N with I from 1 to N, such as 1/4",
                      remedy="correct it")  # fmt: skip
        return cls(number, of)

    def holds(self, cell: Any, index: Any, cells: int) -> Any:
        """Whether a block belongs to it, or which of some arrays of blocks; more replications change nothing about
        earlier blocks."""
        return (index * cells + cell) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """What the name of its store ends in."""
        return f"-{self.number}-of-{self.of}"


# Where the cells of a store stopped at a target.


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where the cells of a store stopped because their Monte Carlo errors were small enough.

    rule: the targets. replications: of each cell. met: whether each cell reached the targets.
    worlds: that replications share, by which Monte Carlo errors are clustered.
    """

    rule: str
    replications: tuple[int, ...]
    met: tuple[bool, ...]
    worlds: int = 1

    @property
    def sentence(self) -> str:
        """What a reader of the store must know, in one line."""
        ends = sorted(count for count, met in zip(self.replications, self.met, strict=True) if met)
        cells, rule = len(self.met), f"Monte Carlo errors of at most {self.rule.replace(',', ', ')}"
        advice = ""  # to cells that did not reach the targets
        if self.worlds > 1 and len(ends) < cells:
            advice = (f"; with {self.worlds} worlds an error is judged by its upper confidence bound: set more worlds "
                      "in the study, because more replications in the same worlds may not be enough")  # fmt: skip
        if not ends:
            return f"{rule} were not reached in {'the cell' if cells == 1 else f'any of {cells} cells'}{advice}"
        span = f"{ends[0]:,}" if ends[0] == ends[-1] else f"{ends[0]:,} to {ends[-1]:,}"
        where = "" if cells == 1 else f" in {len(ends)} of {cells} cells"
        return f"stopped at {rule}{where}, after {span} replications{advice}"


MOST_TRACEBACKS = 20  # kept of an estimator, and of blocks that could not be computed
RAISED = (Status.REFUSED, Status.ERROR)  # of a fit whose traceback is kept


class BlockState(IntEnum):
    """What became of a block."""

    PENDING = 0
    DONE = 1
    POISONED = 2
    PARTIAL = 3  # some of its estimators are there: the store has grown by others


@dataclass(frozen=True, slots=True)
class Origin:
    """Blocks that were computed in one environment.

    text: the environment in one line. facts: the same as plain data; empty where a store does not say. differs: how it
    differs from the first environment of the store, in words. blocks: how many blocks of the store it computed.
    """

    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    differs: tuple[str, ...] = ()
    blocks: int = 0


def numbers_apart(origins: Iterable[Origin]) -> str:
    """How the numbers of several environments differ, in words; "" where they do not, or a store does not say."""
    found = [origin.facts for origin in origins if origin.facts.get("probe")]
    modes, digests = dict.fromkeys(facts["numbers"] for facts in found), [facts["probe"] for facts in found]
    kinds = dict.fromkeys(kind for probe in digests for kind in probe)
    apart = [kind for kind in kinds if len({probe.get(kind) for probe in digests}) > 1]
    words = [f"numbers differ in the last digits: {', '.join(apart)}"] if apart else []
    return "; ".join([*words, f"some are {' and some '.join(modes)}"] if len(modes) > 1 else words)


class Store(ABC):
    """A study's records, for those who run and those who read; satisfies `Records`.

    Which blocks there are is fixed when a store is opened: all passes of a reader see the same ones while another
    process writes. `write` and `poison` are for one process, which alone sees what it adds.
    """

    schema: StoreSchema
    fingerprint: str  # of the study
    replications: int  # a cell, for which the store has room
    block: int  # replications a block
    cells: Sequence[Mapping[str, object]]  # the grid parameters of each
    layouts: Mapping[str, Layout]  # of each estimator, by name
    worlds: int  # in how many what a cell holds fixed was drawn
    held_fixed: tuple[str, ...]  # in words, what a world holds fixed
    estimands: tuple[str, ...]  # names of the true values
    states: NDArray[np.uint8]  # (cells, blocks): a BlockState each
    origins: NDArray[np.uint16]  # (cells, blocks, parts): numbers of environments, from 1; 0 where it is not known
    _origin: int = 0

    def of_schema(self, schema: StoreSchema) -> None:
        """Be a store of a study."""
        self.schema, self.fingerprint, self.cells, self.layouts = (
            schema,
            schema.fingerprint,
            schema.cells,
            schema.layouts,
        )
        self.replications, self.block, self.worlds = schema.replications, schema.block, schema.worlds
        self.held_fixed, self.estimands = schema.held_fixed, schema.estimands

    def __repr__(self) -> str:
        done = int((self.states == BlockState.DONE).sum())
        return (f"{type(self).__name__}({self.schema.study.get('name', '')!r}, {amount(len(self.cells), 'cell')} x "
                f"{amount(self.replications, 'replication')}, {done} of {amount(self.states.size, 'block')}, "
                f"{', '.join(self.layouts)})")  # fmt: skip

    # What is in it

    @property
    def claims(self) -> Sequence[Mapping[str, Any]]:
        """How results are judged, as plain data; those of the last run, outside the promise of equal bytes."""
        kept: Sequence[Mapping[str, Any]] = self.noted("claims", [])
        return kept

    @property
    def block_count(self) -> int:
        """Blocks a cell."""
        return -(-self.replications // self.block)

    def block_rows(self, index: int) -> slice:
        """The replications of a block."""
        return slice(index * self.block, min((index + 1) * self.block, self.replications))

    def places(self, of: NDArray[np.bool_] | None = None) -> list[tuple[int, int]]:
        """(cell, block) of every block, or of some (cells, blocks), the cells of one block together."""
        wanted = np.ones(self.states.shape, dtype=np.bool_) if of is None else of
        indices, cells = np.nonzero(wanted.T)
        return list(zip(cells.tolist(), indices.tolist(), strict=True))

    @property
    def stopped(self) -> Stopped | None:
        """Where cells stopped at a target; None for a store that wants every replication."""
        kept = self.noted("until")
        if not kept or kept["room"] != self.replications:
            return None  # it has grown since
        return Stopped(kept["rule"], tuple(kept["replications"]), tuple(kept["met"]), self.worlds)

    def stop(self, stopped: Stopped | None) -> None:
        """State where cells stopped; None: every replication is wanted."""
        if stopped is not None:
            self.note("until", {"rule": stopped.rule, "replications": list(stopped.replications),
                                "met": list(stopped.met), "room": self.replications})  # fmt: skip
        elif self.noted("until"):
            self.note("until", None)

    def wanted(self) -> list[tuple[int, int]]:
        """(cell, block) of every block that is wanted: all, those up to where a cell stopped, or those of a shard."""
        stopped = self.stopped
        ends = np.array([self.replications] * len(self.cells) if stopped is None else stopped.replications)
        cells, indices = np.ogrid[: len(self.cells), : self.block_count]
        wanted = indices * self.block < ends[:, None]
        if (mine := self.shard) is not None:
            wanted &= mine.holds(cells, indices, len(self.cells))
        return self.places(wanted)

    @property
    def shard(self) -> Shard | None:
        """The share of the study's blocks that is computed into this store; None: all of them."""
        kept = self.noted("shard")
        return Shard(*kept) if kept else None

    def take_share(self, shard: Shard | None) -> None:
        """State the share of the study's blocks that is computed into this store."""
        if shard != self.shard:
            self.note("shard", None if shard is None else [shard.number, shard.of])

    def state(self, cell: int, index: int) -> BlockState:
        """What became of a block, by its mark alone."""
        return BlockState(int(self.states[cell, index]))

    def done(self) -> list[tuple[int, int]]:
        """(cell, block) of every block that is there, by its mark alone."""
        return self.places(self.there)

    def pending(self) -> list[tuple[int, int]]:
        """(cell, block) of every block that is missing or damaged; all others are read."""
        return [place for place in self.places() if not self.intact(*place)]

    def unfinished(self) -> list[tuple[int, int]]:
        """(cell, block) of every block that is missing, or whose files have changed and are damaged."""
        return self.places(~self.there)

    def blocks(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order; raises BadInput for one that is damaged."""
        for index in range(self.block_count):
            if self.state(cell, index) is BlockState.DONE:
                yield self.sound(cell, index)

    def only(self, cell: int, indices: Iterable[int]) -> SomeBlocks:
        """Some blocks of one cell as the records of a study with that cell alone; they are read in each pass."""
        chosen = tuple(indices)
        return SomeBlocks.of(self, (self.cells[cell],), lambda _: (self.sound(cell, index) for index in chosen))

    def lacking(self, cell: int, index: int) -> tuple[str, ...]:
        """The estimators that must be computed for a block that is not intact: all, or those that it lacks."""
        if self.state(cell, index) not in (BlockState.PARTIAL, BlockState.POISONED):
            return tuple(self.layouts)
        there = self.sound_parts(cell, index)
        return tuple(name for name in self.layouts if there is None or name not in there.estimates)

    @abstractmethod
    def sound_parts(self, cell: int, index: int) -> Block | None:
        """What of a block is there as it was written: truths and some estimators; None where the truths are not."""

    @abstractmethod
    def sound(self, cell: int, index: int) -> Block:
        """A block that is there; raises BadInput when it is damaged."""

    @abstractmethod
    def arrays_of(self, cell: int, index: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Arrays of a block that is there, by their paths in the store; raises BadInput when one is damaged."""

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which blocks are there, by their marks alone, (cells, blocks)."""
        return np.asarray(self.states == BlockState.DONE)

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Which blocks are there with marks that are sound, (cells, blocks)."""
        return self.there

    def to_xarray(self) -> xr.DataTree:
        """Truths at the root and one group an estimator, with dials, replications, terms and error types as dimensions.

        Numbers are read when they are asked for. `xarray.open_datatree(path)` gives the same.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.1]}, replications=64, block=64)
        >>> dict(pp.run(study).to_xarray()["did/estimate"].sizes)
        {'effect': 2, 'replication': 64, 'term': 5}
        """
        import xarray as xr  # loaded where it is asked for

        from results.store.labelled import groups_of

        return xr.DataTree.from_dict(groups_of(self))

    def _repr_html_(self) -> str:
        study = self.schema.study
        facts = [
            ("question", study.get("question")),
            ("cells", len(self.cells)),
            ("replications", f"{self.replications:,} a cell"),
            ("estimators", listed(self.layouts, 8)),
            ("estimands", listed(self.estimands, 8)),
            ("blocks", f"{int(self.there.sum()):,} of {self.there.size:,} done"),
            ("held fixed", ", ".join(self.held_fixed)),
            ("stopped", self.stopped.sentence if self.stopped else None),
            ("folder", str(getattr(self, "path", "")) or "in memory"),
        ]
        return card(f"Store of the study {study.get('name', '')}", facts)

    def intact(self, cell: int, index: int) -> bool:
        """Whether a block is there, as it was written."""
        return self.state(cell, index) is BlockState.DONE

    # What failed

    def statuses(self, cell: int, index: int) -> Mapping[str, NDArray[np.uint8]]:
        """The status (R,) of each fit of a block that is there, by estimator; raises BadInput when it is damaged."""
        found = self.arrays_of(cell, index, [f"{name}/status" for name in self.layouts])
        return {name: found[f"{name}/status"] for name in self.layouts}

    def status_counts(self) -> dict[str, Counter[Status]]:
        """How many fits of each estimator ended in which status, over all blocks that are there."""
        found = {name: np.zeros(256, dtype=np.int64) for name in self.layouts}
        for cell, index in self.done():
            for name, statuses in self.statuses(cell, index).items():
                found[name] += np.bincount(statuses, minlength=256)
        return {name: Counter({Status(value): int(each[value]) for value in np.flatnonzero(each).tolist()})
                for name, each in found.items()}  # fmt: skip

    def never_fitted(self) -> list[str]:
        """The estimators of which every fit raised or was refused; blocks are read until each has one that did not."""
        left = list(self.layouts)
        done = self.done()
        for place in done:
            if not left:
                break
            statuses = self.statuses(*place)
            left = [name for name in left if np.isin(statuses[name], RAISED).all()]
        return left if done else []

    def raised(self, except_for: Container[tuple[int, int]] = ()) -> list[tuple[int, int]]:
        """(cell, block) of every block that is there and holds a fit that raised, or is too damaged to say it, leaving
        out some blocks."""
        found = []
        for place in self.done():
            if place not in except_for:
                try:
                    again = any(np.isin(values, RAISED).any() for values in self.statuses(*place).values())
                except BadInput:
                    again = True
                found += [place] if again else []
        return found

    @cached_property
    def tracebacks(self) -> dict[str, str]:
        """Tracebacks of fits that raised and of blocks that could not be computed, by what they are of.

        The names are "cell 0 block 2" and "cell 0 block 2 replication 130 NAME"; at most 20 an estimator are kept.
        """
        return dict(self.noted("tracebacks", {}))

    def usual_error(self, name: str) -> tuple[str, int, int]:
        """The last line that most kept tracebacks of an estimator have, of how many, and how many are kept."""
        last = Counter((text.strip().splitlines() or [""])[-1] for key, text in self.tracebacks.items()
                       if _of(key) == name)  # fmt: skip
        line, count = last.most_common(1)[0] if last else ("", 0)
        return line, count, last.total()

    def tracebacks_in(self, cell: int, index: int) -> dict[tuple[int, str], str]:
        """The tracebacks that are kept of fits in a block, by replication and estimator."""
        start = f"cell {cell} block {index} replication "
        keys = {key: key.removeprefix(start) for key in self.tracebacks if key.startswith(start)}
        return {
            (int(rest.partition(" ")[0]), rest.partition(" ")[2]): self.tracebacks[key] for key, rest in keys.items()
        }

    # Where its blocks were computed

    @property
    def environments(self) -> tuple[Origin, ...]:
        """The environments that computed the blocks that are there; equal bits are promised for one alone."""
        return self._environments_of(self.origins[self.marked])  # a damaged mark says nothing

    @property
    def partial_environments(self) -> tuple[Origin, ...]:
        """The environments that computed what is there of blocks that lack an estimator."""
        numbers = self.origins[self.states == BlockState.PARTIAL]
        known = numbers.max(axis=1, initial=0, keepdims=True)
        return self._environments_of(np.where(numbers == 0, known, numbers))  # 0 is of a part that is not there

    def _environments_of(self, numbers: NDArray[np.uint16]) -> tuple[Origin, ...]:
        """The environments of these numbers (blocks, parts), each with its number of blocks."""
        known = [Origin("unknown"), *self.known_origins]
        found = ((origin, int((numbers == number).any(axis=1).sum())) for number, origin in enumerate(known))
        return tuple(Origin(origin.text, origin.facts, origin.differs, count) for origin, count in found if count)

    def origins_of(self, cell: int, index: int) -> tuple[Origin | None, ...]:
        """The environments that computed the parts of a block; None where the store does not say."""
        numbers = dict.fromkeys(self.origins[cell, index].tolist())
        if self.state(cell, index) is not BlockState.DONE:
            numbers.pop(0, None)  # of parts that are not there
        return tuple(self.known_origins[number - 1] if number else None for number in numbers)

    def computed_in(self, origin: Origin) -> None:
        """State the environment of all blocks that are written from now on."""
        self._origin = self.number_of(origin)

    def number_of(self, origin: Origin) -> int:
        """The number of an environment, which is stated if it is a new one."""
        facts = [known.facts for known in self.known_origins]
        if origin.facts not in facts:
            facts.append(origin.facts)
            self.known_origins.append(origin)
            plain = [{"text": one.text, "facts": one.facts, "differs": list(one.differs)} for one in self.known_origins]
            self.note("origins", plain)
        return facts.index(origin.facts) + 1

    @cached_property
    def known_origins(self) -> list[Origin]:
        """Every environment that ever computed a block of the store, in the order of their numbers."""
        return [Origin(one["text"], one["facts"], tuple(one["differs"])) for one in self.noted("origins", [])]

    # Writing: one process only

    def put(self, cell: int, index: int, block: Block, origin: int | Mapping[str, int]) -> None:
        """Keep a block or some of its estimators, beside those that are there.

        origin: the number of the environment that computed it, or of each part.
        """
        whole = len(block.estimates) == len(self.layouts)
        there = set(self.layouts) if whole else {*block.estimates, *self.layouts} - set(self.lacking(cell, index))
        there |= block.estimates.keys()
        state = BlockState.DONE if there >= self.layouts.keys() else BlockState.PARTIAL
        numbers = self.origins[cell, index].copy()
        for place, part in enumerate(self.schema.parts):
            if part == "truth" or part in block.estimates:
                numbers[place] = origin if isinstance(origin, int) else origin[part]
            elif part not in there:
                numbers[place] = 0
        self._put(cell, index, block, numbers, state, there - block.estimates.keys())
        self.states[cell, index], self.origins[cell, index] = state, numbers

    def write(self, cell: int, index: int, block: Block) -> None:
        """Keep a block, with its tracebacks and the environment that `computed_in` stated."""
        self.put(cell, index, block, self._origin)
        self.keep_tracebacks(cell, index, block.tracebacks, block.estimates)

    def keep_tracebacks(self, cell: int, index: int, of: Mapping[tuple[int, str], str], names: Iterable[str]) -> None:
        """Replace the tracebacks of some estimators of a block; of: texts by replication and estimator."""
        texts = {f" replication {at} {name}": text for (at, name), text in of.items()}
        self._keep_tracebacks(cell, index, texts, names)

    @abstractmethod  # a store first writes its own mark, then calls this
    def poison(self, cell: int, index: int, traceback: str = "") -> None:
        """Mark a block that cannot be computed, whose workers died of it or whose design raised; a later run tries."""
        self.states[cell, index] = BlockState.POISONED
        self._keep_tracebacks(cell, index, {"": traceback} if traceback else {}, self.layouts)

    def _keep_tracebacks(self, cell: int, index: int, texts: Mapping[str, str], names: Iterable[str]) -> None:
        """Replace a block's tracebacks of some estimators, and of the block as a whole."""
        place = f"cell {cell} block {index}"
        before = dict(self.tracebacks)
        stale = [key for key in self.tracebacks if f"{key} ".startswith(f"{place} ") and _of(key) in {"", *names}]
        for key in stale:
            del self.tracebacks[key]
        counts = Counter(map(_of, self.tracebacks))
        for key, text in texts.items():
            counts[_of(place + key)] += 1
            if counts[_of(place + key)] <= MOST_TRACEBACKS:
                self.tracebacks[place + key] = text
        if self.tracebacks != before:
            self.note("tracebacks", dict(self.tracebacks))

    @abstractmethod
    def _put(
        self, cell: int, index: int, block: Block, origins: NDArray[np.uint16], state: BlockState, kept: Set[str]
    ) -> None:
        """Write a block or some of its estimators beside those that are kept, the origins of its parts, its mark."""

    @abstractmethod
    def note(self, key: str, value: Any) -> None:
        """Keep something that stands outside the promise of identical bytes, such as tracebacks or versions."""

    @abstractmethod
    def noted(self, key: str, default: Any = None) -> Any:
        """What `note` kept."""


def _of(key: str) -> str:
    """The estimator that a traceback is of, or an empty text where it is of a whole block."""
    return key.partition(" replication ")[2].partition(" ")[2]


# A study's records in memory, with the interface of the Zarr store.


@dataclass(eq=False, repr=False)
class MemoryStore(Store):
    """A study's results in memory; the same interface as ZarrStore for those who run and those who read."""

    schema: StoreSchema
    kept: dict[tuple[int, int], Block] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.of_schema(self.schema)
        self.states = np.zeros((len(self.cells), self.block_count), dtype=np.uint8)
        self.origins = np.zeros((*self.states.shape, len(self.schema.parts)), dtype=np.uint16)

    def sound(self, cell: int, index: int) -> Block:
        """A block that is there."""
        return self.kept[cell, index]

    def arrays_of(self, cell: int, index: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Arrays of a block that is there, by their paths in a store."""
        found = block_arrays(self.kept[cell, index], self.layouts, self.estimands)
        return {name: found[name] for name in names}

    def statuses(self, cell: int, index: int) -> Mapping[str, NDArray[np.uint8]]:
        """The status (R,) of each fit of a block that is there, by estimator: no array of the block is made for it."""
        return {name: estimates.status for name, estimates in self.kept[cell, index].estimates.items()}

    def sound_parts(self, cell: int, index: int) -> Block | None:
        """What of a block is there."""
        return self.kept.get((cell, index))

    def note(self, key: str, value: Any) -> None:
        """Keep something beside the results."""
        self.notes[key] = value

    def noted(self, key: str, default: Any = None) -> Any:
        """What `note` kept."""
        return self.notes.get(key, default)

    def _put(
        self, cell: int, index: int, block: Block, origins: NDArray[np.uint16], state: BlockState, kept: Set[str]
    ) -> None:
        own = {**{name: self.kept[cell, index].estimates[name] for name in kept}, **block.estimates}
        self.kept[cell, index] = replace(block, estimates=own)

    def poison(self, cell: int, index: int, traceback: str = "") -> None:
        """Mark a block that cannot be computed."""
        self.kept.pop((cell, index), None)
        super().poison(cell, index, traceback)
