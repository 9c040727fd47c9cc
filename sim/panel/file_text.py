"""A file as a text that holds its name and every byte, so that settings can carry it: to a store, a worker, and back.

`FILE:NAME:BYTES`, the bytes compressed and in base 85. A setting that names a file becomes such a text when it is made.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.errors import bad

MARK = "FILE:"


def is_text(setting: str) -> bool:
    """Whether a setting holds a file rather than its path."""
    return setting.startswith(MARK)


def file_text(setting: str, extensions: tuple[str, ...]) -> str:
    """The text of the file at a path, with one of these extensions; a text stays one. Raises BadInput for no file."""
    if is_text(setting):
        return setting
    path, allowed = Path(setting), "a file ending in " + ", ".join(extensions) + ", its path relative to the study file"
    if not setting or not path.is_file() or path.suffix.lower() not in extensions:
        what = f"there is no file {setting}" if setting else "path is missing"
        ends = f"{path.name} ends in {path.suffix or 'nothing'}"
        raise bad(ends if path.is_file() else what, where="path", allowed=allowed, remedy="correct the path")
    return f"{MARK}{path.name}:{base64.b85encode(zlib.compress(path.read_bytes(), 9)).decode('ascii')}"


@contextmanager
def as_file(text: str) -> Iterator[Path]:
    """The file again, under its own name in a folder of its own; raises BadInput for a text that holds none."""
    name, _, packed = text.removeprefix(MARK).partition(":")
    try:
        content = zlib.decompress(base64.b85decode(packed))
    except (ValueError, zlib.error) as error:
        raise bad("path is not a file's text", where="path", allowed="a path", remedy="name the file") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        yield path
