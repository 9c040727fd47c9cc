"""A store in one zip, which is read in place: few files for a disk quota, an archive or a journal."""

from __future__ import annotations

import os
import zipfile

from results.store.bucket import ObjectPath, StorePath, refused
from results.store.flushing import flush, flush_names
from results.store.lease import is_lease
from results.store.lock import locked
from results.store.place import PACKED_SUFFIX, check_place, is_packed, tree_of
from results.store.workshop import beside
from results.store.zarr_store import ZarrStore
from sim.errors import bad


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
        raise bad("no such store", where=str(path), allowed="a folder that `panelproof run` made",
                  remedy="check the path")  # fmt: skip
    with locked(path):
        before = ZarrStore.open(path).content_hash()  # which reads every block
        tree = tree_of(path)
        files = [file for file in tree.files() if not is_lease(file)]
        with beside(out) as made:
            with zipfile.ZipFile(made / out.name, "w", zipfile.ZIP_STORED) as archive:  # chunks are compressed already
                for file in files:
                    archive.writestr(file, tree.read(file))
            if ZarrStore.open(made / out.name).content_hash() != before:
                raise bad("was not written as it is", where=str(out), allowed="a sound disk", remedy="pack again")
            flush(made)
            os.rename(made / out.name, real := out.resolve())
            flush_names(real.parent)
    return len(files)
