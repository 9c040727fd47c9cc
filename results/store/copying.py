"""Blocks from one store into another: what growth keeps, and what several stores of a study hold together."""

from __future__ import annotations

from collections.abc import Mapping

from results.store.block import Block
from results.store.growth import Growth
from results.store.store import BlockState, Store


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
