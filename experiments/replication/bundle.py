"""The files of a bundle, their checksums, and the manifest that says what was run and with which versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from sim.errors import bad

MANIFEST, SUMS, README, REQUIREMENTS = "manifest.json", "SHA256SUMS", "README.md", "requirements.txt"
STUDIES, PANEL, RESULTS, RERUN = "studies", "panel", "results", "rerun"  # folders
FORMAT = 1  # of the manifest
CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS of every file of a bundle, in the form that `sha256sum -c` reads."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def changed_files(folder: Path) -> list[str]:
    """Files of a bundle that are missing or whose bytes are not those of SHA256SUMS."""
    changed = []
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            changed.append(name)
    return changed


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle; raises BadInput when the folder holds none, or one of another format."""
    path = folder / MANIFEST
    if not path.is_file() or not (folder / SUMS).is_file():
        raise bad("is no replication bundle", where=str(folder), allowed=f"a folder with {MANIFEST} and {SUMS}",
                  remedy="name a bundle, or make one with --from or --panel")  # fmt: skip
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found.get("format") != FORMAT:
        raise bad(f"is a bundle of format {found.get('format')}", where=str(path), allowed=f"format {FORMAT}",
                  remedy="use the version of panelproof that its README names")  # fmt: skip
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document as JSON that people can read."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def requirements() -> dict[str, str]:
    """panelproof and every package that it needs, directly or through others, with the versions of this process."""
    found, wanted = dict[str, str](), ["panelproof"]
    while wanted:
        name = wanted.pop()
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        key = package.metadata["Name"]
        if key in found:
            continue
        found[key] = package.version
        needs = map(Requirement, package.requires or ())
        wanted += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))
