"""Writing a bundle: study files, the spec, the numbers that they gave, versions, checksums and a README."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from cluster.environment import source_files
from experiments.replication.bundle import (
    FORMAT,
    MANIFEST,
    PANEL,
    README,
    REQUIREMENTS,
    RESULTS,
    STUDIES,
    beside_spec,
    code_of,
    requirements,
    sha256_of,
    texts_in,
    write_json,
    write_sums,
)
from experiments.replication.readme import readme
from experiments.running.reporting import without_none
from experiments.running.tasks import ROOMS, environment_of
from experiments.running.trusted import check_trusted
from experiments.study.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.bucket import StorePath
from sim.errors import BadInput, bad
from sim.panel_sidecars import panel_from
from sim.registry import INLINE

NOT_NUMBERS = ("measures",)  # of a study's settings: they change no result, and name files of their author's
LONG = 1000  # characters from which a text may be a panel's


def write_bundle(
    folder: Path,
    stores: Sequence[StorePath],
    panel: Path | None,
    spec: Path | None,
    *,
    with_data: bool = False,
    trust: bool = False,
) -> list[str]:
    """Write a bundle into a new folder and return the names of its files.

    stores: of the studies. panel, spec: the real panel and its SPEC.toml; the panel itself, and files of weights, go
    into the bundle only `with_data`. Raises BadInput for a folder that holds something, for what cannot be run again,
    for a store that names code unless `trust`, and for a study that holds a real panel unless `with_data`; nothing is
    left behind then.
    """
    if not stores and panel is None:
        raise bad("nothing to replicate", where="replicate", allowed="--from STORE, or --panel with --spec, or both",
                  remedy="name what the bundle is to hold")  # fmt: skip
    if (panel is None) != (spec is None):
        raise bad("only one of --panel and --spec", where="replicate", allowed="both or none", remedy="add the other")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise bad("exists already and is not empty", where=str(folder), allowed="a new folder",
                  remedy="choose another")  # fmt: skip
    try:
        for name in (STUDIES, PANEL, RESULTS):
            (folder / name).mkdir(parents=True)
        studies = [_study(folder, store, with_data, trust) for store in stores]
        application = None if panel is None or spec is None else _application(folder, panel, spec, with_data)
        _about(folder, studies, application)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _about(folder: Path, studies: list[dict[str, Any]], application: dict[str, Any] | None) -> None:
    """Manifest, requirements, README and checksums."""
    for name in (STUDIES, PANEL, RESULTS):
        if not any((folder / name).iterdir()):
            (folder / name).rmdir()
    packages = requirements()
    manifest = {"format": FORMAT, "packages": packages, "studies": studies, "application": application}
    write_json(folder / MANIFEST, manifest)
    code = code_of(folder, manifest)
    lines = [f"{name}=={version}\n" for name, version in packages.items() if name != "panelproof"]
    (folder / REQUIREMENTS).write_text("".join(lines), encoding="utf-8")
    (folder / README).write_text(readme(manifest | {"code": code}), encoding="utf-8")
    write_sums(folder)


def _study(folder: Path, path: StorePath, with_data: bool, trust: bool) -> dict[str, Any]:
    """Put a store's study and its measures into the bundle; returns what the manifest says of it."""
    store = ZarrStore.open(path)
    settings = {key: value for key, value in store.facts["study"].items() if key not in NOT_NUMBERS}
    _check_portable(settings, path, with_data)
    if not trust:
        check_trusted(settings, str(path))
    if set(store.pending()) & set(store.wanted()):
        raise bad("is not finished", where=str(path), allowed="a store whose blocks are all there",
                  remedy="finish it with the command that began it")  # fmt: skip
    name = str(settings["name"])
    file = folder / STUDIES / f"{name}.toml"
    if file.exists():
        raise bad(f"two stores hold a study called {name!r}", where=str(path), allowed="one store for each name",
                  remedy="leave one out")  # fmt: skip
    kept = without_none(settings | {"replications": store.replications})
    file.write_text(tomli_w.dumps({key: value for key, value in kept.items() if key != "grid" or value}), "utf-8")
    study = Study.from_settings(store.facts["study"], str(path))
    _copy_plug_ins(study, file.parent)
    diagnose(store).frame.to_csv(folder / RESULTS / f"{name}.csv", index=False)
    stopped = store.stopped
    return {
        "name": name,
        "replications": store.replications,
        "until": None if stopped is None else stopped.rule,
        "fingerprint": store.fingerprint,
        "hash": store.content_hash(),
        "environments": [{"text": origin.text, "facts": dict(origin.facts)} for origin in store.environments],
    }


def _check_portable(settings: Mapping[str, Any], path: StorePath, with_data: bool) -> None:
    """Raise BadInput for a study that no one else can run, or that holds a real panel which is not to be given away."""
    texts = texts_in(settings)
    if inline := [text for text in texts if text.startswith(INLINE)]:
        raise bad(f"{inline[0].partition('@')[0].removeprefix(INLINE)} is a function of a script", where=str(path),
                  allowed="functions in a module", remedy="put it into a file beside a study file")  # fmt: skip
    if not with_data and (settings["design"]["kind"] == "observed" or any(map(_is_panel, texts))):
        raise bad("the study holds a real panel", where=str(path), allowed="--with-data, which puts the panel in",
                  remedy="say --with-data if the data may be given away, or leave this store out")  # fmt: skip


def _is_panel(text: str) -> bool:
    if len(text) < LONG:
        return False
    try:
        panel_from(text, "", "")
    except BadInput:
        return False
    return True


def _copy_plug_ins(study: Study, folder: Path) -> None:
    """Copy the files of modules that the study names; raises BadInput for a package, which has no one file."""
    for name, _ in environment_of(study).code:
        if name in ROOMS:
            continue
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):
            raise bad(f"uses the package {name!r}", where=f"study {study.name}", allowed="modules that are one file",
                      remedy="put what the study needs into one module beside the study file")  # fmt: skip
        for file, path in source_files(module).items():
            shutil.copyfile(path, folder / file)


def _application(folder: Path, panel: Path, spec: Path, with_data: bool) -> dict[str, Any]:
    """Put a spec and its estimates into the bundle; returns what the manifest says of them."""
    from experiments.application.estimate import estimate
    from experiments.application.spec.spec import read_real_panel, read_spec

    read = read_spec(spec)
    real = read_real_panel(panel, read)
    needed = {panel.name: panel}
    for weights in read.weights:
        if isinstance(path := getattr(weights, "path", None), Path):
            needed[beside_spec(path, spec)] = path
    shutil.copyfile(spec, folder / PANEL / "SPEC.toml")
    for name, path in needed.items() if with_data else ():
        (folder / PANEL / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / PANEL / name)
    estimate(real).frame.to_csv(folder / RESULTS / "estimates.csv", index=False)
    return {
        "panel": panel.name,
        "data": {name: sha256_of(path) for name, path in needed.items()},
        "with_data": with_data,
        "digest": real.panel.digest,
    }
