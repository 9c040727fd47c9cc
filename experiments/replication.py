"""The files of a bundle, their checksums, and the manifest that says what was run and with which versions."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import tomli_w
from packaging.requirements import Requirement

from cluster import Executor
from cluster.environment import Environment, source_files
from cluster.numbers import PORTABLE
from experiments.run.reporting import without_none
from experiments.run.resume import Resume, named_code, refuse_code
from experiments.run.runner import run
from experiments.run.tasks import ROOMS, environment_of
from experiments.settings import read_toml
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.bucket import StorePath
from results.store.disk import is_inside, walked
from results.store.lock import check_free
from sim.errors import BadInput, amount, bad, listed
from sim.panel_sidecars import ENDING, panel_from
from sim.registry import INLINE, join_search

if TYPE_CHECKING:
    from experiments.panel_spec.sections import Spec

MANIFEST, SUMS, README, REQUIREMENTS = "manifest.json", "SHA256SUMS", "README.md", "requirements.txt"
STUDIES, PANEL, RESULTS, RERUN = "studies", "panel", "results", "rerun"  # folders
ESTIMATES = "estimates.csv"  # of a panel, among the results
FORMAT = 1  # of the manifest
CHUNK = 1 << 20
type Facts = Mapping[str, type | UnionType]
OF_STUDIES: Facts = {"name": str, "fingerprint": str, "hash": str, "until": str | None, "environments": list}
OF_APPLICATION: Facts = {"panel": str, "data": dict, "with_data": bool}  # facts of the manifest


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()


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
    """The manifest of a bundle; raises BadInput when the folder holds none, or one of another format, one that lacks
    facts, or one whose names lead out of the bundle."""
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

    studies, application = found.get("studies"), found.get("application")
    tables: list[tuple[Any, Facts]]
    tables = [(one, OF_STUDIES) for one in studies] if isinstance(studies, list) else [(None, OF_STUDIES)]
    tables += [] if application is None and "application" in found else [(application, OF_APPLICATION)]
    for table, wanted in tables:
        # 0 is of no kind that is wanted: a fact that is missing counts as one of another kind
        if not isinstance(table, dict) or any(not isinstance(table.get(key, 0), kind) for key, kind in wanted.items()):
            raise _strange(f"lacks facts ({listed(wanted)})", path)
    try:
        made = [one["facts"] for study in studies or () for one in study["environments"]]
        for facts in filter(None, made):
            Environment.from_plain(facts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _strange("does not say where its numbers were made", path) from error
    names = [str(one["name"]) for one in studies or ()]
    inside = [] if application is None else [application["panel"], *application["data"]]
    if strange := [name for name in names if "/" in name or not is_inside(name)]:
        raise _strange(f"names the study {strange[0]!a}", path)
    if strange := [name for name in inside if not is_inside(name)]:
        raise _strange(f"names the file {strange[0]!a}", path)
    return found


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


def requirements(others: Iterable[str] = ()) -> dict[str, str]:
    """panelproof, other packages, and all that they need, directly or through others, with the versions of this
    process."""
    found, wanted = dict[str, str](), ["panelproof", *others]
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


def files_of_weights(read: Spec, spec: Path) -> dict[str, Path]:
    """The files of weights that a spec names, by their places below its folder; raises BadInput for one elsewhere."""
    found = {}
    for path in (getattr(weights, "path", None) for weights in read.weights):
        if not isinstance(path, Path):
            continue
        try:
            found[path.resolve().relative_to(spec.resolve().parent).as_posix()] = path
        except ValueError:
            raise bad("lies outside the folder of the spec", where=str(path), allowed="a file in or below it",
                      remedy="move it there and correct the path in the spec") from None  # fmt: skip
    return found


# The README of a bundle: what a data editor reads first.


def _lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    version, studies = manifest["packages"].get("panelproof", "unknown"), manifest["studies"]
    command = f"panelproof replicate .{manifest['options']}"
    yield from (
        "# Replication bundle", "",
        f"Made by panelproof {version}. This folder makes its results again and compares them.", "",
        "## Run it", "",
        "```sh",
        "pip install -r requirements.txt   # then panelproof itself, of the version above: pip install PATH",
        "sha256sum -c SHA256SUMS           # the files are those that were deposited",
        f"{command:<33} # runs everything again and compares",
        "```", "",
    )  # fmt: skip
    if manifest["code"]:
        names = ", ".join(f"`{name}`" for name in manifest["code"])
        packages = listed(sorted({f"`{name}`" for study in studies for name in study["packages"]}))
        place = f"of this folder or of {packages}" if packages else "in this folder"
        yield from (f"The studies name code {place} ({names}). Read it, and then say",
                    f"`{command} --load-code`; without that nothing of it is run.", "")  # fmt: skip
    yield from (
        "The last command prints a line for each result. It ends with 0 when all are the same, with 1 when one",
        "differs, with 3 when data that are not in this folder were not there. What it computes goes into `rerun/`;",
        "after an interruption the same command goes on.", "",
    )  # fmt: skip
    yield from _application_lines(manifest["application"])
    if studies:
        yield from ("## Studies", "", "| study | replications per cell | SHA-256 of the results | made with |",
                    "|---|---|---|---|")  # fmt: skip
        for study in studies:
            made = "; and ".join(environment["text"] for environment in study["environments"])
            yield f"| `studies/{study['name']}.toml` | {study['replications']:,} | `{study['hash']}` | {made} |"
        yield ""
    yield from (
        "## What is compared", "",
        "Studies: the SHA-256 of all results. With the same versions and the same kind of processor it is equal.",
        "With others the numbers of `results/` are compared to one part in a million of the larger of number and",
        "error.", "",
        "Estimates: every estimate, standard error, p value and interval of `results/estimates.csv`, in the same",
        "way.", "",
        "## Files", "",
        "| file | content |", "|---|---|",
        "| `studies/*.toml` | Monte Carlo studies: designs, grids, estimators, replications, seeds |",
        "| `panel/SPEC.toml` | what the columns of the panel are, and which tables were asked for |",
        "| `results/*.csv` | the numbers that were found |",
        "| `manifest.json` | hashes, fingerprints and environments |",
        "| `requirements.txt` | the version of every package |",
        "| `SHA256SUMS` | the checksum of every file |", "",
    )  # fmt: skip


def _application_lines(application: Mapping[str, Any] | None) -> Iterator[str]:
    if application is None:
        return
    held = "is in this folder" if application["with_data"] else "is not in this folder"
    yield from (
        "## Data",
        "",
        f"The panel {held}. Files, by their names in `panel/`:",
        "",
        "| file | SHA-256 |",
        "|---|---|",
    )
    yield from (f"| `{name}` | `{digest}` |" for name, digest in application["data"].items())
    yield ""
    if not application["with_data"]:
        yield from ("Put these files into `panel/` before you run the bundle. Their checksums are compared first.", "")


# Writing a bundle: study files, the spec, the numbers that they gave, versions, checksums and a README.


NOT_NUMBERS = ("measures",)  # of a study's settings: they change no result, and name files of their author's
LONG = 1000  # characters from which a text may be a panel's


def write_bundle(
    folder: Path,
    stores: Sequence[StorePath],
    panel: Path | None,
    spec: Path | None,
    *,
    with_data: bool = False,
    load_code: bool = False,
) -> list[str]:
    """Write a bundle into a new folder and return the names of its files.

    stores: of the studies. panel, spec: the real panel and its SPEC.toml; the panel itself, and files of weights, go
    into the bundle only `with_data`. Raises BadInput for a folder that holds something, for what cannot be run again,
    for a store that names code unless `load_code`, and for a study that holds a real panel unless `with_data`; nothing
    is left behind then.
    """
    if not stores and panel is None:
        raise bad("nothing to replicate", where="replicate", allowed="--from STORE, or --panel with --spec, or both",
                  remedy="name what the bundle is to hold")  # fmt: skip
    if (panel is None) != (spec is None):
        raise bad("only one of --panel and --spec", where="replicate", allowed="both or none", remedy="add the other")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else {""}
        stopped = found <= {STUDIES, PANEL, RESULTS, MANIFEST, REQUIREMENTS, README}  # the sums come last
        raise bad("exists already and is not empty", where=str(folder), allowed="a new folder",
                  remedy="remove it, a bundle that was never finished, or choose another" if stopped else
                         "choose another")  # fmt: skip
    try:
        for name in (STUDIES, PANEL, RESULTS):
            (folder / name).mkdir(parents=True)
        studies = [_study(folder, store, with_data, load_code) for store in stores]
        application = None if panel is None or spec is None else _application(folder, panel, spec, with_data)
        for name in (STUDIES, PANEL, RESULTS):
            if not any((folder / name).iterdir()):
                (folder / name).rmdir()
        packages = requirements(name for study in studies for name in study["packages"])
        numbers = {made["facts"].get("numbers") for study in studies for made in study["environments"]}
        options = " --numbers portable" if numbers == {PORTABLE} else ""  # without which bits differ
        manifest = {"format": FORMAT, "packages": packages, "studies": studies, "application": application,
                    "options": options}  # fmt: skip
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        code = code_of(folder, manifest)
        lines = [f"{name}=={version}\n" for name, version in packages.items() if name != "panelproof"]
        (folder / REQUIREMENTS).write_text("".join(lines), encoding="utf-8")
        (folder / README).write_text("\n".join(_lines(manifest | {"code": code})), encoding="utf-8")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
        sums = [f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
        (folder / SUMS).write_text("".join(sums), encoding="utf-8")  # as `sha256sum -c` reads them
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and error.filename is None:  # of a disk that was full when bytes were written
            error.filename = str(folder)
        raise
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _study(folder: Path, path: StorePath, with_data: bool, load_code: bool) -> dict[str, Any]:
    """Put a store's study and its measures into the bundle; returns what the manifest says of it."""
    store = ZarrStore.open(path)
    settings = {key: value for key, value in store.facts["study"].items() if key not in NOT_NUMBERS}
    texts = texts_in(settings)
    if inline := [text for text in texts if text.startswith(INLINE)]:
        raise bad(f"{inline[0].partition('@')[0].removeprefix(INLINE)} is a function of a script", where=str(path),
                  allowed="functions in a module", remedy="put it into a file beside a study file")  # fmt: skip
    if not with_data and (settings["design"]["kind"] == "observed" or any(map(_is_panel, texts))):
        raise bad("the study holds a real panel", where=str(path), allowed="--with-data, which puts the panel in",
                  remedy="say --with-data if the data may be given away, or leave this store out")  # fmt: skip
    if load_code:
        join_search(Path.cwd())
    else:
        refuse_code(named_code(settings), str(path), "store")
    if store.shard is not None:
        raise bad(f"holds shard {store.shard} of its study", where=str(path), allowed="a store of a whole study",
                  remedy="join all shards with `panelproof store merge`")  # fmt: skip
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
    packages = _copy_plug_ins(study, file.parent)
    diagnose(store).frame.to_csv(folder / RESULTS / f"{name}.csv", index=False)
    stopped = store.stopped
    return {
        "name": name,
        "replications": store.replications,
        "until": None if stopped is None else stopped.rule,
        "fingerprint": store.fingerprint,
        "hash": store.content_hash(),
        "packages": packages,
        "environments": [{"text": origin.text, "facts": dict(origin.facts)} for origin in store.environments],
    }


def _is_panel(text: str) -> bool:
    if len(text) < LONG:
        return False
    try:
        panel_from(text, "", "")
    except BadInput:
        return False
    return True


def _copy_plug_ins(study: Study, folder: Path) -> list[str]:
    """Copy the files of modules that the study names; returns the installed packages that hold the others.

    Raises BadInput for a package that is not installed, which has no one file.
    """
    owners = metadata.packages_distributions()
    packages = list[str]()
    for name, _ in environment_of(study).code:
        if name in ROOMS:
            continue
        module = importlib.import_module(name)
        if not hasattr(module, "__path__"):
            for file, path in source_files(module).items():
                shutil.copyfile(path, folder / file)
        elif name in owners:
            packages += owners[name]
        else:
            raise bad(f"uses the package {name!r}", where=f"study {study.name}",
                      allowed="modules that are one file, and installed packages",
                      remedy="put what the study needs into one module beside the study file")  # fmt: skip
    return packages


def _application(folder: Path, panel: Path, spec: Path, with_data: bool) -> dict[str, Any]:
    """Put a spec and its estimates into the bundle; returns what the manifest says of them."""
    from experiments.estimation import estimate
    from experiments.panel_spec.spec import read_real_panel, read_spec

    real, read = read_real_panel(panel, spec), read_spec(spec)
    weights = files_of_weights(read, spec)
    needed = weights | {panel.name: panel}
    where, unlike = str(panel), "give one of them another name"
    if panel.name in weights and not panel.samefile(weights[panel.name]):
        raise bad("has the name of a file of weights", where=where, allowed="files of different names", remedy=unlike)
    if (folder / RESULTS / ESTIMATES).exists():
        raise bad(f"its {RESULTS}/{ESTIMATES} would be that of the study 'estimates' too", where=where,
                  allowed="a study of another name", remedy="make a bundle of each")  # fmt: skip
    if strange := [name for name in needed if not is_inside(name)]:
        raise bad(f"the file {strange[0]!a}", where=where, allowed="names without \\ and control signs",
                  remedy="give it another name")  # fmt: skip
    shutil.copyfile(spec, folder / PANEL / "SPEC.toml")
    for name, path in needed.items() if with_data else ():
        (folder / PANEL / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / PANEL / name)
    estimate(real).frame.to_csv(folder / RESULTS / ESTIMATES, index=False)
    return {
        "panel": panel.name,
        "data": {name: sha256_of(path) for name, path in needed.items()},
        "with_data": with_data,
        "digest": real.panel.digest,
    }


# Running a bundle again and comparing what comes out with what it holds.


TOLERANCE = 1e-6  # of the larger of number and error, between environments
Verdict = Literal["same bits", "same numbers", "differs", "not checked"]
SCALES = {"value": "mcse", "mcse": "mcse", "lower": "mcse", "upper": "mcse"}  # columns of measures, and their error
OF_ESTIMATES = {"estimate": "se", "se": "se", "lower": "se", "upper": "se", "statistic": "", "pvalue": ""}


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one part of a bundle, with the reason in words."""

    part: str
    verdict: Verdict
    reason: str


def rerun(folder: Path, opened: Callable[[], Executor] | None = None, *, load_code: bool = False) -> Iterator[Finding]:
    """Run every part of a bundle again, into its folder `rerun`, and say of each whether it is the same.

    An earlier run that was interrupted goes on; of one that ended everything is computed anew. When a file is not as
    deposited nothing is run. opened: starts the place where studies run, which is closed at the end; None = this
    process. Raises BadInput when `folder` is no bundle, and for one that names code unless `load_code`.
    """
    manifest = read_manifest(folder)
    if changed := changed_files(folder, manifest):
        yield Finding("files", "differs", f"not as deposited: {', '.join(changed)}; nothing was run")
        return
    yield Finding("files", "same bits", "all are as deposited")
    code = code_of(folder, manifest)
    if not load_code:
        refuse_code(code, str(folder), "bundle")
    for cache in list((folder / STUDIES).rglob("__pycache__")):  # nothing says that it was compiled from these sources
        shutil.rmtree(cache)
    places = [folder / RERUN / f"{facts['name']}.zarr" for facts in manifest["studies"]]
    with suppress(BadInput):  # of an earlier run that was interrupted, some store is not there or not whole
        ended = not any(set(store.unfinished()) & set(store.wanted()) for store in map(ZarrStore.open, places))
        for place in places if ended else ():
            check_free(place)
            shutil.rmtree(place)
    executor = None if opened is None else opened()
    try:
        if manifest["application"] is not None:
            yield _application_again(folder, manifest["application"])
        for facts in manifest["studies"]:
            yield _study_again(folder, facts, executor)
    finally:
        if executor is not None:
            executor.close()


def _study_again(folder: Path, facts: Mapping[str, Any], executor: Executor | None) -> Finding:
    name = facts["name"]
    part, study = f"study {name}", Study.from_toml(folder / STUDIES / f"{name}.toml")
    if study.fingerprint != facts["fingerprint"]:
        return Finding(part, "differs", "this version of panelproof reads the study file as another study")
    path, here, kept = folder / RERUN / f"{name}.zarr", environment_of(study), 0
    with suppress(BadInput):  # there is none, or the run repairs it
        store = ZarrStore.open(path)
        if any(not made.facts or here.differences(Environment.from_plain(made.facts)) for made in store.environments):
            check_free(path)
            shutil.rmtree(path)  # of other code, versions or numbers
        else:
            kept = int(store.there.sum())
    run(study, store=path, executor=executor, until=facts["until"], plan=Resume(reread=True))
    store = ZarrStore.open(path)
    earlier = f"; {kept:,} of {store.there.sum():,} blocks from before an interruption" if kept else ""
    diagnose(store).frame.to_csv(folder / RERUN / f"{name}.csv", index=False)
    problem, largest = differences(folder, f"{name}.csv", SCALES)
    same = store.content_hash() == facts["hash"]
    if problem:
        rest = f", though the replications are the same bits: {RESULTS}/{name}.csv is another table" if same else ""
        return Finding(part, "differs", f"{problem}{rest}")
    if same:
        return Finding(part, "same bits", f"SHA-256 {facts['hash']}{earlier}")
    made_in = facts["environments"]
    known = [one["facts"] for one in made_in if one["facts"]]
    others: tuple[str, ...] = ("the store does not say where it was made",)
    if len(made_in) > 1:
        others = (f"the store was made in {len(made_in)} environments",)
    elif known:
        others = here.differences(Environment.from_plain(known[0]))
    if not others:
        return Finding(part, "differs", "other bits with the same versions, code and processor")
    return Finding(part, "same numbers", f"to {largest:.0e}; other bits because of {', '.join(others)}{earlier}")


def _application_again(folder: Path, facts: Mapping[str, Any]) -> Finding:
    from experiments.estimation import estimate
    from experiments.panel_spec.spec import read_real_panel, read_spec

    part, place = "estimates", folder / PANEL
    lacking = [name for name in facts["data"] if not (place / name).is_file()]
    if lacking:
        return Finding(part, "not checked", f"put {', '.join(lacking)} into {place}")
    other = [name for name, digest in facts["data"].items() if sha256_of(place / name) != digest]
    if other:
        return Finding(part, "differs", f"other data: the SHA-256 of {', '.join(other)} is not that of the manifest")
    spec = read_spec(place / "SPEC.toml")
    files_of_weights(spec, place / "SPEC.toml")
    found = estimate(read_real_panel(place / facts["panel"], spec)).frame
    (folder / RERUN).mkdir(exist_ok=True)
    found.to_csv(folder / RERUN / ESTIMATES, index=False)
    problem, largest = differences(folder, ESTIMATES, OF_ESTIMATES)
    if problem:
        return Finding(part, "differs", problem)
    if largest == 0:
        return Finding(part, "same bits", f"{amount(len(found), 'estimate')}")
    return Finding(part, "same numbers", f"{amount(len(found), 'estimate')} to {largest:.0e}")


def differences(folder: Path, table: str, numbers: Mapping[str, str]) -> tuple[str, float]:
    """How a table of a bundle differs from that of the run again, in words ("" within `TOLERANCE`), and the largest
    difference of their numbers.

    numbers: the columns that are compared as numbers, each with the column of its error ("" for none); a difference
    counts in units of the larger of number and error. All other columns must be equal.
    """
    try:
        expected, found = (pd.read_csv(folder / side / table, keep_default_na=False, na_values=[""],
                                       dtype=dict.fromkeys(numbers, float) | {"table": str})
                           for side in (RESULTS, RERUN))  # fmt: skip
    except ValueError:  # empty, in another encoding, or with words where numbers stand
        return f"{RESULTS}/{table} is no table of numbers", np.inf
    if list(expected.columns) != list(found.columns) or len(expected) != len(found):
        return f"{len(found):,} rows with other columns or of another number than {len(expected):,}", np.inf
    rest = [name for name in expected.columns if name not in numbers]
    if not expected[rest].equals(found[rest]):
        return "the rows are of other estimators, terms or counts", np.inf
    largest = 0.0
    for name, error in numbers.items():
        ours, theirs = (frame[name].to_numpy(dtype=float) for frame in (expected, found))
        if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
            return f"{name} is missing in other rows", np.inf
        scale = np.fmax(np.abs(ours), np.abs(theirs))
        scale = np.fmax(scale, np.abs(expected[error].to_numpy(dtype=float))) if error else scale
        apart = ours != theirs
        apart &= ~np.isnan(ours)
        if apart.any():
            largest = max(largest, float((np.abs(ours - theirs)[apart] / scale[apart]).max()))
    return (f"numbers differ by up to {largest:.1e} of their size" if largest > TOLERANCE else ""), largest
