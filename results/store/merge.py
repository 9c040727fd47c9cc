"""Several stores of one study, such as its shards, joined into one."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from results.store.bucket import ObjectPath, StorePath, refused
from results.store.disk import flush, flush_names
from results.store.files import PACKED_SUFFIX, check_place, folder_beside, is_packed, no_store, tree_of
from results.store.growth import copy_block, copy_environments
from results.store.lease import is_lease
from results.store.lock import check_free, locked
from results.store.skeleton import STORE_FORMAT, check_identity
from results.store.store import BlockState, Store, numbers_apart
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput, Problem, bad

OF_NUMBERS = ("numbers", "probe")  # facts of an environment, which have words of their own
MOST_LINES = 5  # about overlapping blocks
PlaceOfBlock = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Merged:
    """What was joined: blocks taken of each store, blocks that several held with equal bytes, and all that are there.

    done, total: blocks of the merged store that are done, and that the study has.
    """

    taken: tuple[int, ...]
    shared: int
    done: int
    total: int

    @property
    def sentence(self) -> str:
        """What came of it, in one line."""
        text = f"{self.done:,} of {self.total:,} blocks, {' + '.join(map('{:,}'.format, self.taken))}"
        if self.shared:
            text += f"; {self.shared:,} were in more than one store with the same bytes and were taken once"
        return text


def merge(
    paths: Sequence[StorePath], out: StorePath, *, accept_code_change: bool = False, accept_other_numbers: bool = False
) -> Merged:
    """Join stores of one study into a new one at `out`; the stores themselves are left as they are.

    Raises BadInput, with nothing written, for stores of other studies, blocks that two stores hold with other bytes,
    damaged blocks, and blocks of several environments, in code or in numbers, unless that is accepted; StoreLocked for
    a store in use.
    """
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise bad(f"{len(paths)} stores are named, {len({path.resolve() for path in paths})} different ones",
                  where="store merge", allowed="two or more stores, each named once", remedy="name them")  # fmt: skip
    for path in paths:
        check_free(path)
    stores = [ZarrStore.open(path) for path in paths]
    _check_one_study(stores)
    _check_one_environment(stores, code=accept_code_change, numbers=accept_other_numbers)
    holders = _holders(stores)
    taken = [0] * len(stores)

    def fill(target: ZarrStore) -> None:
        numbers = [copy_environments(store, target) for store in stores]
        for place, held in holders.items():
            first = held[0]
            if not _copied(stores[first], place, target, numbers[first]):
                stores[first].sound(*place)  # it says that the block is damaged
            taken[first] += target.state(*place) is BlockState.DONE
        for name in ("measures", "claims"):
            if stated := stores[0].noted(name):
                target.note(name, stated)

    with locked(out) as hold:
        merged = ZarrStore.create(out, stores[0].schema, fill, hold.follow)
    shared = sum(len(held) > 1 and stores[held[0]].state(*place) is BlockState.DONE for place, held in holders.items())
    return Merged(tuple(taken), shared, len(merged.done()), len(merged.places()))


def take_in(target: ZarrStore, paths: Sequence[StorePath], code: bool, numbers: bool) -> list[PlaceOfBlock]:
    """Copy what a store lacks from stores of its study, which are left as they are; returns which blocks it has now.

    Of a damaged block what is sound is taken. Raises BadInput, with nothing written, as `merge` does.
    """
    stores = [target, *(ZarrStore.open(path) for path in paths)]
    _check_one_study(stores)
    _check_one_environment(stores, code=code, numbers=numbers, where=str(target.path))
    numbers_of = [copy_environments(store, target) for store in stores]
    lacking = {place: first for place, (first, *_) in _holders(stores).items() if first}
    return [place for place, first in lacking.items() if _copied(stores[first], place, target, numbers_of[first])]


def _check_one_study(stores: Sequence[ZarrStore]) -> None:
    """Raise BadInput unless all are of the study of the first, in the present format and of the same size."""
    first = stores[0]
    for store in stores:
        where = str(store.path)
        if store.schema.store_format != STORE_FORMAT:
            raise bad("is of an earlier format", where=where, allowed="stores of this version",
                      remedy="run its study into it once, which writes it anew")  # fmt: skip
        if store.fingerprint != first.fingerprint:
            check_identity(first.schema.identity, json.loads(json.dumps(store.schema.identity)), where)
        if store.replications != first.replications:
            raise bad(f"has {store.replications:,} replications a cell, {first.path} has {first.replications:,}",
                      where=where, allowed="stores of one size",
                      remedy=f"run both with --replications {max(store.replications, first.replications)}")  # fmt: skip


def _check_one_environment(
    stores: Sequence[ZarrStore], *, code: bool, numbers: bool, where: str = "store merge"
) -> None:
    """Raise BadInput when blocks of several environments would stand in one store, unless that is accepted."""
    origins = [origin for store in stores for origin in (*store.environments, *store.partial_environments)]
    if not numbers and (apart := numbers_apart(origins)):
        raise bad(f"blocks come from several environments: {apart}", where=where, allowed="blocks of one kind",
                  remedy="run some again, or say --accept-other-numbers")  # fmt: skip
    found = {json.dumps({key: value for key, value in origin.facts.items() if key not in OF_NUMBERS}, sort_keys=True):
             origin for origin in origins}  # fmt: skip
    if len(found) > 1 and not code:
        texts = " | ".join(origin.text for origin in found.values())
        what = f"blocks come from {len(found)} environments: {texts}"
        raise bad(what, where=where, allowed="blocks from one environment",
                  remedy="run some again, or say --accept-code-change")  # fmt: skip


def _holders(stores: Sequence[ZarrStore]) -> Mapping[PlaceOfBlock, list[int]]:
    """Which stores hold each block that any holds, those with most of it first; raises BadInput for overlaps.

    A damaged copy of a block does not count where another store has a sound one.
    """
    rank = (BlockState.DONE, BlockState.PARTIAL, BlockState.POISONED)
    found: dict[PlaceOfBlock, list[int]] = {}
    for place in stores[0].places():
        held = [number for number, store in enumerate(stores) if store.state(*place) in rank]
        if len(held) > 1:
            sound = [n for n in held if stores[n].state(*place) is not BlockState.DONE or stores[n].intact(*place)]
            held = sound if any(stores[n].state(*place) is BlockState.DONE for n in sound) else held
        if held:
            found[place] = sorted(held, key=lambda number: rank.index(stores[number].state(*place)))
    if problems := list(_overlaps(stores, found)):
        rest = len(problems) - MOST_LINES
        more = [Problem(f"{rest} more blocks overlap", "store merge", "blocks that agree", "see above")]
        raise BadInput(*problems[:MOST_LINES], *(more if rest > 0 else []))
    return found


def _overlaps(stores: Sequence[ZarrStore], found: Mapping[PlaceOfBlock, list[int]]) -> Iterator[Problem]:
    """Blocks that two stores hold with other bytes."""
    for (cell, index), held in found.items():
        done = [number for number in held if stores[number].state(cell, index) is BlockState.DONE]
        for other in done[1:]:
            if stores[other].digest(cell, index) != stores[done[0]].digest(cell, index):
                what = f"block {index} of cell {cell} has other bytes than in {stores[done[0]].path}"
                yield Problem(what, str(stores[other].path), "stores that agree where they overlap",
                              "leave one of the two out, or run that block again")  # fmt: skip
                break


def _copied(source: ZarrStore, place: PlaceOfBlock, target: Store, numbers: Mapping[int, int]) -> bool:
    """Whether all of a block could be copied, its mark included."""
    state = source.state(*place)
    if state is BlockState.POISONED:
        cell, index = place
        target.poison(cell, index, source.tracebacks.get(f"cell {cell} block {index}", ""))
    else:
        copy_block(source, place, target, place, tuple(source.layouts), numbers)
    return target.state(*place) is state


# A store in one zip, which is read in place: few files for a disk quota, an archive or a journal.


def pack(path: StorePath, out: StorePath) -> int:
    """Write all files of a store into one zip at `out`, and return how many; the store stays as it is.

    Raises BadInput for a place that is taken and for damaged blocks, StoreLocked for a store in use.
    """
    check_place(path)
    check_place(out)
    if isinstance(out, ObjectPath):
        raise refused(out, "a zip is written on this machine", "name a file with --out, and copy it")
    if out.suffix != PACKED_SUFFIX:
        raise bad(f"ends in {out.suffix or 'nothing'}", where=str(out), allowed=f"a name that ends in {PACKED_SUFFIX}",
                  remedy="choose another --out")  # fmt: skip
    if out.exists():
        raise bad("already exists", where=str(out), allowed="a new path", remedy="remove it or choose another")
    if is_packed(path):
        raise bad("is packed already", where=str(path), allowed="a folder that `panelproof run` made",
                  remedy="copy the file")  # fmt: skip
    if not path.exists():
        raise no_store(path)
    with locked(path):
        before = ZarrStore.open(path).content_hash()  # which reads every block
        tree = tree_of(path)
        files = [file for file in tree.files() if not is_lease(file)]
        with folder_beside(out) as made:
            with zipfile.ZipFile(made / out.name, "w", zipfile.ZIP_STORED) as archive:  # chunks are compressed already
                for file in files:
                    archive.writestr(file, tree.read(file))
            if ZarrStore.open(made / out.name).content_hash() != before:
                raise bad("was not written as it is", where=str(out), allowed="a sound disk", remedy="pack again")
            flush(made)
            os.rename(made / out.name, real := out.resolve())
            flush_names(real.parent)
    return len(files)
