"""Whether a study is the one of a store, or that one with more cells, estimators or error types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.store.block import Block
from results.store.skeleton import StoreSchema, check_identity, differences
from results.store.store import BlockState, Store
from sim.errors import BadInput, Problem, bad, listed

ERRORS = "errors"  # the setting of an estimator that may change: it is then computed again
MOST_NAMED = 3  # of cells that would be lost


@dataclass(frozen=True, slots=True)
class Growth:
    """How a store must grow sideways.

    cells: old index by new index, of cells that are there. kept: estimators whose fits are reused there. again: those
    that are computed again, because their error types or terms changed. added: new ones. new_cells: how many.
    """

    cells: Mapping[int, int]
    kept: tuple[str, ...]
    again: tuple[str, ...]
    added: tuple[str, ...]
    new_cells: int

    @property
    def computes(self) -> bool:
        """Whether anything is computed for it."""
        return bool(self.again or self.added or self.new_cells)

    @property
    def sentence(self) -> str:
        """What is reused and what is computed, in one line."""
        if not self.computes:
            return "the store is written anew, in the present format and the order of this study; all is reused"
        places = f"{len(self.cells):,} cell{'s' * (len(self.cells) != 1)}"
        reused = f"{', '.join(self.kept)} in {places}" if self.kept else "nothing"
        todo = [f"{name} (new)" for name in self.added]
        todo += [f"{name} (again: its error types or terms changed)" for name in self.again]
        todo += [f"{self.new_cells:,} new cell{'s' * (self.new_cells != 1)}"] if self.new_cells else []
        return f"the store grows; reused: {reused}; computed: {', '.join(todo)}"


def growth_of(old: StoreSchema, new: StoreSchema, where: str) -> Growth | None:
    """How a store must grow to hold a study; None where it need not.

    Raises BadInput when the study is another one, and when cells or estimators that the store holds would be lost.
    """
    if old.fingerprint == new.fingerprint:
        anew = Growth({i: i for i in range(len(old.cells))}, tuple(old.layouts), (), (), 0)
        return None if old.store_format == new.store_format else anew
    held, asked = old.identity, json.loads(json.dumps(new.identity))
    if held.get("schema") != asked.get("schema"):
        check_identity(held, asked, where)
    at = {print_: index for index, print_ in enumerate(old.cell_prints)}
    cells = {index: at[print_] for index, print_ in enumerate(new.cell_prints) if print_ in at}
    shared = [name for name in old.layouts if name in new.layouts]
    if old.block != new.block or not cells or not shared:
        check_identity(held, asked, where)
    _check_nothing_lost(old, new, set(cells.values()), where)
    own, theirs = (dict(zip(s.layouts, i["estimators"], strict=True)) for s, i in ((old, held), (new, asked)))
    again = [name for name in shared if _again(name, old, new, own[name], theirs[name], where)]
    return Growth(
        cells,
        tuple(name for name in new.layouts if name in shared and name not in again),
        tuple(name for name in new.layouts if name in again),
        tuple(name for name in new.layouts if name not in shared),
        len(new.cells) - len(cells),
    )


def _check_nothing_lost(old: StoreSchema, new: StoreSchema, cells: set[int], where: str) -> None:
    """Raise BadInput, in one line each, for cells and estimators that the store holds and the study lacks."""
    problems = []
    remedy = "put them back into the study, or choose another --store"
    if lost := [dict(old.cells[i]) for i in range(len(old.cells)) if i not in cells]:
        some = [", ".join(f"{dial} = {value}" for dial, value in cell.items()) for cell in lost[:MOST_NAMED]]
        some += [f"{len(lost) - MOST_NAMED} more"] if len(lost) > MOST_NAMED else []
        what = f"{len(lost)} of {len(old.cells)} cells of the store would be lost: {'; '.join(some)}"
        problems.append(Problem(what, where, "a study that keeps every cell of the store", remedy))
    if gone := [name for name in old.layouts if name not in new.layouts]:
        what = f"estimators of the store would be lost: {listed(gone)}"
        problems.append(Problem(what, where, "a study that keeps every estimator of the store", remedy))
    if problems:
        raise BadInput(*problems)


def _again(
    name: str, old: StoreSchema, new: StoreSchema, was: Mapping[str, Any], now: Mapping[str, Any], where: str
) -> bool:
    """Whether an estimator that is there must be computed again; raises BadInput for one with other settings."""
    before, after = old.layouts[name], new.layouts[name]
    if old.estimator_prints[name] == new.estimator_prints[name]:
        same = set(before.terms) <= set(after.terms)
        return not same or any(
            getattr(before, part) != getattr(after, part) for part in (ERRORS, "statistics", "stored")
        )
    changed = differences({**was, ERRORS: None}, {**now, ERRORS: None}, f"estimator {name}")
    if not changed and not set(before.errors) <= set(after.errors):
        changed = differences(was, now, f"estimator {name}")
    if changed:
        raise bad(f"belongs to another study: {changed[0]}", where=where, allowed="the estimators of the store",
                  remedy="choose another --store, undo the change, or set another label")  # fmt: skip
    return True


# Blocks from one store into another: what growth keeps, and what several stores of a study hold together.


def copy_environments(source: Store, target: Store) -> Mapping[int, int]:
    """State the environments of one store in another; returns their numbers there by those here. 0 is not known."""
    numbers = {0: 0}
    for number, origin in enumerate(source.known_origins, 1):
        numbers[number] = target.number_of(origin)
    return numbers


def copy_block(
    source: Store, at: tuple[int, int], target: Store, to: tuple[int, int], names: tuple[str, ...],
    numbers: Mapping[int, int],
) -> Block | None:  # fmt: skip
    """Write what is sound of a block into another store, some estimators of it alone; None where nothing is.

    at, to: (cell, block) here and there. numbers: of environments there, by those here.
    """
    there = source.sound_parts(*at)
    if there is None:
        return None
    kept = {name: estimates for name, estimates in there.estimates.items() if name in names}
    if not kept:
        return None
    texts = {key: text for key, text in source.tracebacks_in(*at).items() if key[1] in kept}
    block = Block(there.truth, kept, texts, there.start)
    own = dict(zip(source.schema.parts, source.origins[at].tolist(), strict=True))
    origins = {part: numbers[own[part]] for part in ("truth", *kept)}
    target.put(*to, block, origins)
    target.keep_tracebacks(*to, texts, kept)
    return block


def fill_grown(source: Store, target: Store, growth: Growth) -> None:
    """Write what a store holds into a larger one; blocks that lack an estimator are PARTIAL there."""
    numbers = copy_environments(source, target)
    for new, old in growth.cells.items():
        for index in range(min(source.block_count, target.block_count)):
            held = source.state(old, index) is not BlockState.PENDING
            if held and source.block_rows(index) == target.block_rows(index):
                copy_block(source, (old, index), target, (new, index), growth.kept, numbers)
