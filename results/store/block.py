"""One block of a study: what a task returns, the store keeps and a diagnosis reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimates, Layout, Status
from sim.errors import bad


@dataclass(frozen=True, slots=True)
class Block:
    """R consecutive replications of one cell: truths (R,) by estimand and estimates by estimator.

    tracebacks: the text of fits that raised, by replication (absolute) and estimator; of some of them where many did.
    start: its first replication, which says in which worlds its fits lie.
    """

    truth: Mapping[str, NDArray[np.float64]]
    estimates: Mapping[str, Estimates]
    tracebacks: Mapping[tuple[int, str], str]
    start: int

    @property
    def replications(self) -> int:
        """R."""
        of_estimators = (estimates.status.size for estimates in self.estimates.values())
        return next(of_estimators, None) or len(next(iter(self.truth.values())))

    @property
    def failed(self) -> int:
        """Fits that have no estimate."""
        return sum(int((found.status != Status.OK).sum()) for found in self.estimates.values())

    @staticmethod
    def join(blocks: Sequence[Block]) -> Block:
        """Blocks whose replications follow one another, as one."""
        first = blocks[0]
        if len(blocks) == 1:
            return first
        truth = {name: np.concatenate([block.truth[name] for block in blocks]) for name in first.truth}
        estimates = {name: Estimates.join([block.estimates[name] for block in blocks]) for name in first.estimates}
        texts = {key: text for block in blocks for key, text in block.tracebacks.items()}
        return Block(truth, estimates, texts, first.start)

    def take(self, rows: slice) -> Block:
        """Some of its replications, from `rows.start` on, without tracebacks."""
        truth = {name: values[rows] for name, values in self.truth.items()}
        estimates = {name: fits.take(rows) for name, fits in self.estimates.items()}
        return Block(truth, estimates, {}, self.start + rows.start)


class Records(Protocol):
    """What a diagnosis needs of a store: cells, layouts, and the finished blocks of each cell in order.

    Every pass finds the same blocks, whatever a run writes meanwhile.
    """

    cells: Sequence[Mapping[str, object]]  # the grid parameters of each
    layouts: Mapping[str, Layout]  # of each estimator, by name
    worlds: int  # in how many what a cell holds fixed was drawn; replications go round them (`sim.streams`)
    held_fixed: tuple[str, ...]  # in words, what a world holds fixed; () where nothing that is drawn is

    @property
    def claims(self) -> Sequence[Mapping[str, Any]]:
        """How the study's results are judged, as plain data (`results.diagnosis.claims`); none = by the defaults."""
        ...

    def blocks(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order of replications."""
        ...


@dataclass(slots=True)
class SomeBlocks:
    """Some blocks of a study as records of their own.

    cells: the parameters of their cells. read: the blocks of a cell, by its place among these.
    """

    cells: Sequence[Mapping[str, object]]
    layouts: Mapping[str, Layout]
    worlds: int
    held_fixed: tuple[str, ...]
    claims: Sequence[Mapping[str, Any]]
    read: Callable[[int], Iterable[Block]]

    @classmethod
    def of(
        cls, records: Records, cells: Sequence[Mapping[str, object]], read: Callable[[int], Iterable[Block]]
    ) -> SomeBlocks:
        """Blocks of other records."""
        return cls(cells, records.layouts, records.worlds, records.held_fixed, records.claims, read)

    def blocks(self, cell: int) -> Iterator[Block]:
        """The blocks of a cell, in order."""
        return iter(self.read(cell))


def block_arrays(block: Block, layouts: Mapping[str, Layout], estimands: Sequence[str]) -> dict[str, NDArray[Any]]:
    """A block's arrays by their path in the store, on the union's axes; NaN where a cell has no such term.

    A block with some of the estimators gives theirs alone.
    """
    rows = block.replications
    absent = np.full(rows, np.nan)
    arrays: dict[str, NDArray[Any]] = {
        "truth": np.stack([block.truth.get(name, absent) for name in estimands], axis=1)
        if estimands
        else np.empty((rows, 0))
    }
    for name, layout in layouts.items():
        if name not in block.estimates:
            continue
        estimates = block.estimates[name]
        own, every = estimates.terms, layout.terms
        place = None if own == every else [every.index(term) for term in own]
        arrays[f"{name}/estimate"] = _placed(estimates.estimate, place, len(layout.terms))
        for field_name in ("se", "dof", *layout.stored):
            arrays[f"{name}/{field_name}"] = _placed(getattr(estimates, field_name), place, len(layout.terms))
        arrays[f"{name}/status"] = np.asarray(estimates.status, dtype=np.uint8)
        for statistic in layout.statistics:
            arrays[f"{name}/{statistic}"] = estimates.statistics.get(statistic, absent)
    return {
        key: values if values.dtype == np.uint8 else np.asarray(values, dtype=np.float64)
        for key, values in arrays.items()
    }


def check_draws(there: Block, block: Block, what: str, where: str) -> None:
    """Raise BadInput when estimators that join a block were fitted to other panels than those that are there."""
    for name, values in block.truth.items() if there.estimates else ():
        held = there.truth[name]
        if not (np.isnan(held).all() or np.array_equal(held, values, equal_nan=True)):
            raise bad(f"{what} holds fits of other panels than those that are drawn now ({name} differs)", where=where,
                      allowed="designs that draw the same panels again", remedy="choose another --store")  # fmt: skip


def part_digests(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """SHA-256 of each part of a block: "truth", and the arrays of each estimator, in the order of their names."""
    parts = {path.rpartition("/")[0] or path: hashlib.sha256() for path in arrays}
    for path in sorted(arrays):
        values, sha = arrays[path], parts[path.rpartition("/")[0] or path]
        sha.update(f"{path}{values.shape}{values.dtype.str}".encode())
        sha.update(np.ascontiguousarray(values).data)
    return {part: sha.hexdigest() for part, sha in parts.items()}


def union_of_layouts(layouts: Sequence[Mapping[str, Layout]]) -> dict[str, Layout]:
    """One layout an estimator whose terms are those of all cells, in order of appearance."""
    union: dict[str, Layout] = {}
    for by_name in layouts:
        for name, layout in by_name.items():
            known = union.get(name)
            if known is None:
                union[name] = layout
                continue
            union[name] = Layout(
                terms=tuple(dict.fromkeys((*known.terms, *layout.terms))),
                errors=known.errors,
                statistics=known.statistics,
                targets={**layout.targets, **known.targets},
                stored=known.stored,
                tests=known.tests,
                screen=known.screen,
            )
    return union


def _placed(values: NDArray[np.float64], place: list[int] | None, width: int) -> NDArray[np.float64]:
    if place is None:
        return values
    out = np.full((*values.shape[:-1], width), np.nan)
    out[..., place] = values
    return out
