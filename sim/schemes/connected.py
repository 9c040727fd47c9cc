"""Connected groups of units in a graph of neighbours: found, grown from random seeds, cut into compact blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from sim.arrays import Codes, Flags
from sim.errors import bad

Links = Flags  # (N, N), symmetric

ATTEMPTS = 200  # to place all groups before giving up


def connected_groups(links: Links, units: Codes) -> list[Codes]:
    """The connected groups that some units, (M,) indices, form among themselves, the largest first."""
    labels = sp.csgraph.connected_components(sp.csr_array(links[np.ix_(units, units)]), directed=False)[1]
    groups = [units[labels == label] for label in range(int(labels.max()) + 1)]
    return sorted(groups, key=lambda group: (-len(group), int(group[0])))


def grown_groups(links: Links, sizes: Sequence[int], rng: np.random.Generator) -> list[Codes]:
    """Disjoint connected groups of these sizes, each grown from a random seed by one random free neighbour at a time.

    Raises BadInput when `ATTEMPTS` placements in a row leave no room for a group.
    """
    for _ in range(ATTEMPTS):
        free = np.ones(len(links), dtype=bool)
        groups = []
        for size in sizes:
            group = _grown(links, free, size, rng)
            if group is None:
                break
            free[group] = False
            groups.append(group)
        else:
            return groups
    raise bad(f"groups of {list(sizes)[:5]} units do not fit among {len(links)} units", where="scheme blocks",
              allowed="groups that fit on the map", remedy='use scheme = "space" or "strata:..."')  # fmt: skip


def compact_blocks(links: Links, size: int) -> list[Codes]:
    """All units in connected blocks of at most `size`, each in the order in which it grew, the same for the same links.

    A block begins with the free unit of fewest free neighbours and takes the free unit with most links to it, until it
    is full or shut in by others.
    """
    free = np.ones(len(links), dtype=bool)
    blocks = []
    while free.any():
        block = [_first(free, links[:, free].sum(axis=1))]
        free[block] = False
        inward = links[block[0]].astype(np.intp)
        while len(block) < size and (free & (inward > 0)).any():
            candidates = free & (inward == inward[free].max())
            block.append(_first(candidates, links[:, free].sum(axis=1)))
            free[block[-1]] = False
            inward += links[block[-1]]
        blocks.append(np.array(block, dtype=np.intp))
    return blocks


def _grown(links: Links, free: Flags, size: int, rng: np.random.Generator) -> Codes | None:
    """One group within the free units; None when the part of the map around the seed is too small."""
    seeds = np.flatnonzero(free)
    if len(seeds) < size:
        return None
    inside = np.zeros(len(links), dtype=bool)
    group = [int(seeds[rng.integers(len(seeds))])]
    inside[group] = True
    border = links[group[0]] & free
    while len(group) < size:
        candidates = np.flatnonzero(border & ~inside)
        if not candidates.size:
            return None
        group.append(int(candidates[rng.integers(len(candidates))]))
        inside[group[-1]] = True
        border |= links[group[-1]] & free
    return np.array(group, dtype=np.intp)


def _first(among: Flags, least: Codes) -> int:
    """The first unit with the least value among some."""
    places = np.flatnonzero(among)
    return int(places[np.argmin(least[places])])
