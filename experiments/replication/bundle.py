"""The files of a bundle, their checksums, and the manifest that says what was run and with which versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from experiments.running.trusted import named_code
from experiments.toml_files import read_toml
from results.store.plain_files import is_inside, walked
from sim.errors import BadInput, bad, listed
from sim.panel_sidecars import ENDING

MANIFEST, SUMS, README, REQUIREMENTS = "manifest.json", "SHA256SUMS", "README.md", "requirements.txt"
STUDIES, PANEL, RESULTS, RERUN = "studies", "panel", "results", "rerun"  # folders
FORMAT = 1  # of the manifest
CHUNK = 1 << 20
OF_STUDIES: Mapping[str, type] = {"name": str, "fingerprint": str, "hash": str, "environments": list}
OF_APPLICATION: Mapping[str, type] = {"panel": str, "data": dict, "with_data": bool}  # facts of the manifest


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


def changed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files of a bundle that are missing or added, or whose bytes are not those of SHA256SUMS.

    Data that the manifest names may be added. Raises BadInput for a name that leads out of the bundle.
    """
    lines = (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if strange := [name for name in sums if not is_inside(name)]:
        raise _strange(f"names the file {strange[0]!a}", folder / SUMS)
    changed = []
    for name, digest in sums.items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != digest:
            changed.append(name)
    data = [] if manifest["application"] is None else [f"{PANEL}/{name}" for name in manifest["application"]["data"]]
    there = [name for part in (STUDIES, PANEL, RESULTS) for name, _ in walked(folder, part)]
    added = [name for name in (MANIFEST, *there) if name not in sums and name not in data]
    return changed + [name for name in added if "__pycache__" not in name.split("/")]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle; raises BadInput when the folder holds none, or one of another format."""
    path = folder / MANIFEST
    if not path.is_file() or not (folder / SUMS).is_file():
        raise bad("is no replication bundle", where=str(folder), allowed=f"a folder with {MANIFEST} and {SUMS}",
                  remedy="name a bundle, or make one with --from or --panel")  # fmt: skip
    if odd := [(name, what) for name, what in walked(folder) if what]:
        raise _strange(f"holds {odd[0][0]!a}, which {odd[0][1]}", folder)
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _strange("cannot be read", path) from error
    if not isinstance(found, dict):
        raise _strange("holds no table", path)
    if found.get("format") != FORMAT:
        raise bad(f"is a bundle of format {found.get('format')}", where=str(path), allowed=f"format {FORMAT}",
                  remedy="use the version of panelproof that its README names")  # fmt: skip
    _check_facts(found, path)
    return found


def _check_facts(manifest: Mapping[str, Any], path: Path) -> None:
    """Raise BadInput for a manifest that lacks facts, or whose names lead out of the bundle."""
    studies, application = manifest.get("studies"), manifest.get("application")
    tables: list[tuple[Any, Mapping[str, type]]]
    tables = [(one, OF_STUDIES) for one in studies] if isinstance(studies, list) else [(None, OF_STUDIES)]
    tables += [] if application is None and "application" in manifest else [(application, OF_APPLICATION)]
    for table, wanted in tables:
        if not isinstance(table, dict) or any(not isinstance(table.get(key), kind) for key, kind in wanted.items()):
            raise _strange(f"lacks facts ({listed(wanted)})", path)
    names = [str(one["name"]) for one in studies or ()]
    inside = [] if application is None else [application["panel"], *application["data"]]
    if strange := [name for name in names if "/" in name or not is_inside(name)]:
        raise _strange(f"names the study {strange[0]!a}", path)
    if strange := [name for name in inside if not is_inside(name)]:
        raise _strange(f"names the file {strange[0]!a}", path)


def _strange(what: str, where: Path) -> BadInput:
    return bad(what, where=str(where), allowed="a bundle that `panelproof replicate` made, without links",
               remedy="ask its author for another copy")  # fmt: skip


def code_of(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Every function and class that the studies of a bundle name, whose modules would be imported; nothing is.

    Raises BadInput for a study that names a data file outside of the bundle.
    """
    found = list[str]()
    for name in [one["name"] for one in manifest["studies"]]:
        path = folder / STUDIES / f"{name}.toml"
        settings = read_toml(path, "a study file")
        outside = [text for text in texts_in(settings) if text.lower().endswith(ENDING) and not is_inside(text)]
        if outside:
            raise _strange(f"names the file {outside[0]!a}", path)
        measures = settings.get("measures")
        found += [*named_code(settings), *map(str, measures if isinstance(measures, list) else ())]
    return list(dict.fromkeys(found))


def texts_in(value: Any) -> list[str]:
    """All texts in nested settings."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [text for part in parts for text in texts_in(part)]


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


def beside_spec(path: Path, spec: Path) -> str:
    """A file by its place below the spec's folder; raises BadInput for one elsewhere."""
    try:
        return path.resolve().relative_to(spec.resolve().parent).as_posix()
    except ValueError:
        raise bad("lies outside the folder of the spec", where=str(path), allowed="a file in or below it",
                  remedy="move it there and correct the path in the spec") from None  # fmt: skip
