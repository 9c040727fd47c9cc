"""Running a bundle again and comparing what comes out with what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cluster import Executor
from cluster.environment import Environment
from experiments.replication.bundle import (
    PANEL,
    RERUN,
    RESULTS,
    STUDIES,
    beside_spec,
    changed_files,
    code_of,
    read_manifest,
    sha256_of,
)
from experiments.running.resume import Resume
from experiments.running.runner import run
from experiments.running.tasks import environment_of
from experiments.running.trusted import refuse_code
from experiments.study.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore

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


def rerun(folder: Path, opened: Callable[[], Executor] | None = None, *, trust: bool = False) -> Iterator[Finding]:
    """Run every part of a bundle again, into its folder `rerun`, and say of each whether it is the same.

    When a file is not as deposited nothing is run. opened: starts the place where studies run, which is closed at the
    end; None = this process. Raises BadInput when `folder` is no bundle, and for one that names code unless `trust`.
    """
    manifest = read_manifest(folder)
    if changed := changed_files(folder, manifest):
        yield Finding("files", "differs", f"not as deposited: {', '.join(changed)}; nothing was run")
        return
    yield Finding("files", "same bits", "all are as deposited")
    code = code_of(folder, manifest)
    if not trust:
        refuse_code(code, str(folder), "bundle")
    executor = None if opened is None else opened()
    try:
        if manifest["application"] is not None:
            yield _application(folder, manifest["application"])
        for facts in manifest["studies"]:
            yield _study(folder, facts, executor)
    finally:
        if executor is not None:
            executor.close()


def _study(folder: Path, facts: Mapping[str, Any], executor: Executor | None) -> Finding:
    name = facts["name"]
    part, study = f"study {name}", Study.from_toml(folder / STUDIES / f"{name}.toml")
    if study.fingerprint != facts["fingerprint"]:
        return Finding(part, "differs", "this version of panelproof reads the study file as another study")
    path = folder / RERUN / f"{name}.zarr"
    run(study, store=path, executor=executor, until=facts["until"], plan=Resume())
    store = ZarrStore.open(path)
    if store.content_hash() == facts["hash"]:
        return Finding(part, "same bits", f"SHA-256 {facts['hash']}")
    found = diagnose(store).frame
    found.to_csv(folder / RERUN / f"{name}.csv", index=False)
    expected = pd.read_csv(folder / RESULTS / f"{name}.csv", keep_default_na=False, na_values=[""])
    again = pd.read_csv(folder / RERUN / f"{name}.csv", keep_default_na=False, na_values=[""])
    problem, largest = differences(expected, again, SCALES)
    others = _other_environment(study, facts["environments"])
    if problem or largest > TOLERANCE:
        return Finding(part, "differs", problem or f"numbers differ by up to {largest:.1e} of their size")
    if not others:
        return Finding(part, "differs", "other bits with the same versions, code and processor")
    return Finding(part, "same numbers", f"to {largest:.0e}; other bits because of {', '.join(others)}")


def _other_environment(study: Study, environments: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """How this environment differs from the ones that made a store, in words; empty where it is their only one."""
    if len(environments) > 1:
        return (f"the store was made in {len(environments)} environments",)
    known = [one["facts"] for one in environments if one["facts"]]
    if not known:
        return ("the store does not say where it was made",)
    return environment_of(study).differences(Environment.from_plain(known[0]))


def _application(folder: Path, facts: Mapping[str, Any]) -> Finding:
    from experiments.application.estimate import estimate
    from experiments.application.spec.spec import read_real_panel, read_spec

    part, place = "estimates", folder / PANEL
    lacking = [name for name in facts["data"] if not (place / name).is_file()]
    if lacking:
        return Finding(part, "not checked", f"put {', '.join(lacking)} into {place}")
    other = [name for name, digest in facts["data"].items() if sha256_of(place / name) != digest]
    if other:
        return Finding(part, "differs", f"other data: the SHA-256 of {', '.join(other)} is not that of the manifest")
    spec = read_spec(place / "SPEC.toml")
    for weights in spec.weights:
        if isinstance(path := getattr(weights, "path", None), Path):
            beside_spec(path, place / "SPEC.toml")
    found = estimate(read_real_panel(place / facts["panel"], spec)).frame
    (folder / RERUN).mkdir(exist_ok=True)
    found.to_csv(folder / RERUN / "estimates.csv", index=False)
    expected, again = (pd.read_csv(folder / name / "estimates.csv", dtype={"table": str}) for name in (RESULTS, RERUN))
    problem, largest = differences(expected, again, OF_ESTIMATES)
    if problem or largest > TOLERANCE:
        return Finding(part, "differs", problem or f"numbers differ by up to {largest:.1e} of their size")
    if largest == 0:
        return Finding(part, "same bits", f"{len(found):,} estimates")
    return Finding(part, "same numbers", f"{len(found):,} estimates to {largest:.0e}")


def differences(expected: pd.DataFrame, found: pd.DataFrame, numbers: Mapping[str, str]) -> tuple[str, float]:
    """How two tables differ in words ("" where their rows are the same), and the largest difference of their numbers.

    numbers: the columns that are compared as numbers, each with the column of its error ("" for none); a difference
    counts in units of the larger of number and error. All other columns must be equal.
    """
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
    return "", largest
