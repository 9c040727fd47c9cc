"""Random streams keyed by what they are for, so that a replication stands alone.

Philox4x64 is counter-based (Salmon et al. 2011): its key is a hash of (seed, scope, purpose), and its block at counter
r is the state from which an SFC64 draws replication r. So any replication's numbers are reached directly, in any
order, on any worker, and normals come cheaper than from Philox itself.

What a cell holds fixed is drawn in K worlds, and whole tiles of replications go round them: `world_of` says which world
a replication lies in. Nothing there depends on how many replications a run asks for, so that a study can be resumed and
extended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]

TILE = 32  # replications drawn and reduced together: enough to spread calls and fixed arrays over, few for memory
_FIXED = [0, 0, 1, 0]  # counter of what does not change between replications, far from theirs: [r, 0, 0, 0]


@dataclass(frozen=True, slots=True)
class Streams:
    """The generators of replications `start` to `stop - 1` within one scope (usually a cell's key).

    worlds: where it is more than one, the replications are instead the first `stop - start` ones from `start` on that
    lie in the world of `start`, which are solved together.
    """

    seed: int
    scope: str = ""
    start: int = 0
    stop: int = 1
    worlds: int = 1

    @property
    def replications(self) -> int:
        """How many replications these streams are for."""
        return self.stop - self.start

    def tile(self, start: int, stop: int) -> Streams:
        """The same streams for replications `start` to `stop - 1` (absolute indices), or as many of one world."""
        return replace(self, start=start, stop=stop)

    def rows(self, count: int) -> Streams:
        """The same streams for so many replications from `start` on."""
        return replace(self, stop=self.start + count)

    def in_worlds(self, worlds: int) -> Streams:
        """The same streams, whose tiles hold replications of one of so many worlds."""
        return replace(self, worlds=worlds)

    def of_world(self, index: int) -> Streams:
        """Those of what a world of a cell holds fixed."""
        return self.within(f"world {index}")

    def within(self, name: str) -> Streams:
        """Streams of a narrower scope, independent of this one's."""
        return replace(self, scope=f"{self.scope}/{name}")

    def fixed(self, purpose: str) -> np.random.Generator:
        """The generator of what all replications of the scope share."""
        return np.random.Generator(np.random.Philox(key=self._key(purpose), counter=_FIXED))

    def each(self, purpose: str) -> Iterator[np.random.Generator]:
        """One generator a replication, in order; each is valid only until the next is asked for."""
        spans = [(self.start, self.replications)]  # first replication and length of runs of consecutive ones
        if self.worlds > 1:
            at = replications_from(self.start, self.replications, self.worlds)
            begins = [0, *(np.flatnonzero(np.diff(at) > 1) + 1).tolist()]
            ends = [*begins[1:], len(at)]
            spans = [(int(at[begin]), end - begin) for begin, end in zip(begins, ends, strict=True)]
        key = self._key(purpose)
        runs = ((np.random.Philox(key=key, counter=[first, 0, 0, 0]), count) for first, count in spans)
        blocks = np.concatenate([philox.random_raw(4 * count) for philox, count in runs]).reshape(-1, 4)
        blocks[:, 3] = 1  # the last word is SFC64's counter
        engine = np.random.SFC64(0)
        generator = np.random.Generator(engine)
        state = engine.state
        for block in blocks:
            state["state"]["state"] = block
            engine.state = state
            yield generator

    def normals(self, purpose: str, *shape: int) -> NDArray[np.float64]:
        """Standard normals, (R, *shape), one independent stream a replication."""
        out = np.empty((self.replications, *shape))
        for generator, row in zip(self.each(purpose), out, strict=True):
            generator.standard_normal(out=row)
        return out

    def _key(self, purpose: str) -> NDArray[np.uint64]:
        text = f"{self.seed}\x1f{self.scope}\x1f{purpose}".encode()
        return np.frombuffer(hashlib.blake2b(text, digest_size=16).digest(), dtype="<u8")


def world_of(replication: Indices | int, worlds: int) -> Indices:
    """The world (0 to `worlds` - 1) of absolute replications: a whole tile a world, one tile after the other."""
    return np.asarray(replication) // TILE % worlds


def replications_from(start: int, count: int, worlds: int) -> Indices:
    """The first `count` replications from `start` on, `start` included, that lie in its world, (count,)."""
    within = start % TILE + np.arange(count)
    return start - start % TILE + within // TILE * (TILE * worlds) + within % TILE


def worlds_reached(replications: int, worlds: int) -> int:
    """How many of the worlds so many replications a cell reach."""
    return min(worlds, -(-replications // TILE))


# What streams are keyed by: an estimator or a part as text, and what came later is no part of it at its default.


LATER = "later"  # metadata of a dial that is no part of a study's settings while it has its default


def left_out(item: Field[Any], value: object) -> bool:
    """A dial that came later, at its default: what does not set it keeps its fingerprint, its streams and draws."""
    return bool(item.metadata.get(LATER)) and getattr(value, item.name) == item.default


def repr_of(value: Any) -> str:
    """As a dataclass shows itself, without dials that are left out."""
    shown = (item.name for item in fields(value) if item.repr and not left_out(item, value))
    return f"{type(value).__qualname__}({', '.join(f'{name}={getattr(value, name)!r}' for name in shown)})"
