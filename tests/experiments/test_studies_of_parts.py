"""Studies of worlds made of parts, from files: the same bits for any order, workers and block size, and no bias."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cluster import Executor
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store.zarr_store import ZarrStore

STUDY = """
replications = 192
block = 64
seed = 5

[design]
kind = "panel"
periods = 6

[design.geography]
kind = "file"
path = "units.csv"
group = "province"

[design.weights]
kind = "file"
path = "links.csv"

[[design.covariates]]
name = "x"
effect = 0.5
spatial = 0.3

[design.errors]
sd = 0.5
group_share = 0.2
distribution = "t5"

[design.effect]
size = 0.4
unit_sd = 0.5

[design.measurement]
outcome_sd = 0.1

[design.missing]
pattern = "dropout"

[grid]
"missing.share" = [0.0, 0.15]
"adoption.kind" = ["clustered", "dose", "staggered"]

[[estimators]]
kind = "did"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study, whose files are gone when it runs: it holds them."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(3)
    rows = [f"u{i},{rng.uniform(100, 120)},{rng.uniform(25, 40)},{'abcd'[i % 4]}" for i in range(24)]
    (folder / "units.csv").write_text("\n".join(["unit,longitude,latitude,province", *rows]), encoding="utf-8")
    links = [f"u{i},u{(i + k) % 24},{1 / k}" for i in range(24) for k in (1, 2, 5)]
    (folder / "links.csv").write_text("\n".join(["focal,neighbor,weight", *links]), encoding="utf-8")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    made = Study.from_toml(folder / "study.toml")
    for name in ("units.csv", "links.csv", "study.toml"):
        (folder / name).unlink()
    return made


@pytest.fixture(scope="module")
def reference(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "serial.zarr"
    run(study, store=path)
    return path


def test_a_study_holds_its_files_and_is_made_again_from_its_settings(study: Study) -> None:
    again = Study.from_settings(study.settings)
    assert again.fingerprint == study.fingerprint
    assert again.design == study.design


def test_another_file_is_another_study(study: Study, tmp_path: Path) -> None:
    text = study.settings["design"]["weights"]["path"]
    links = "\n".join(["focal,neighbor", *(f"u{i},u{(i + 1) % 24}" for i in range(24))])
    (tmp_path / "links.csv").write_text(links, encoding="utf-8")
    design = {**study.settings["design"], "weights": {"kind": "file", "path": str(tmp_path / "links.csv")}}
    other = Study.from_settings({**study.settings, "design": design})
    assert other.settings["design"]["weights"]["path"] != text
    assert other.fingerprint != study.fingerprint


def test_order_and_workers_do_not_matter(
    study: Study, reference: Path, tmp_path: Path, local_workers: Callable[[int], Executor]
) -> None:
    path = tmp_path / "x.zarr"
    run(study, store=path, executor=local_workers(2), shuffle=3)
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(reference).content_hash()


def test_two_way_did_finds_every_effect_that_units_share(study: Study, reference: Path) -> None:
    frame = diagnose(ZarrStore.open(reference)).frame
    rows = frame[(frame["measure"] == "bias") & (frame["term"].isin(["did", "x"]))]
    doses = [cell for cell in study.cells if cell.parameters["adoption.kind"] == "dose"]
    assert len(rows) == 2 * len(study.cells) - len(doses)  # a dose whose effect differs between units has none
    for row in rows.itertuples():
        assert abs(row.value) <= 4 * row.mcse, row


def test_gaps_that_follow_the_outcome_are_fitted_one_by_one(tmp_path: Path) -> None:
    settings = {
        "name": "gaps",
        "design": {"kind": "panel", "units": 30, "periods": 6, "effect": {"size": 1.0},
                   "missing": {"share": 0.2, "pattern": "on_outcome"}},
        "estimators": [{"kind": "did", "singletons": "keep"}],
        "replications": 64,
    }  # fmt: skip
    records = run(Study.from_settings(settings), store=tmp_path / "x.zarr")
    (block,) = records.blocks(0)
    assert (block.estimates["did"].status == 1).all()
    assert np.isfinite(block.truth["att"]).all()
    assert np.ptp(block.estimates["did"].statistics["nobs"]) == 0
    assert block.estimates["did"].statistics["nobs"][0] == 144
