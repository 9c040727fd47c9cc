"""Stores in xarray: dials are dimensions, every number is that of its block, and nothing warns."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import panelproof as pp
from estimators.core.estimator import Layout
from results.store.engine import StoreEngine
from results.store.labelled import axes_of, groups_of, spread
from results.store.skeleton import StoreSchema
from results.store.store import MemoryStore, Store
from sim import BadInput

REPOSITORY = Path(__file__).resolve().parents[2]
GRID = {"effect": [0.0, 0.01], "sigma": [0.02, 0.04, 0.06]}
RAGGED = {
    "name": "ragged", "replications": 70, "block": 64, "estimators": [{"kind": "did"}],
    "design": {"kind": "panel", "units": 24, "periods": 6, "weights": {"kind": "knn"}, "covariates": [{"name": "x"}]},
    "grid": {"geography.kind": ["uniform", "grid"], "adoption.kind": ["random", "never"],
             "adoption.share": [0.25, 0.5], "errors.serial": [0.0, [0.5, 0.2]]},
}  # fmt: skip


@pytest.fixture(scope="module", params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """100 replications in blocks of 64 and 36, of 2 x 3 cells and two estimators."""
    both = (
        pp.TwoWayDID(errors=("iid", "cluster:unit")),
        pp.TwoWayDID(errors=("iid",), regressors=("did",), label="short"),
    )
    study = pp.Study("labelled", pp.Paper(), both, GRID, replications=100, block=64, worlds=1)
    folder = tmp_path_factory.mktemp("labelled") / "s.zarr"
    return pp.run(study, store=folder if request.param == "folder" else None)


def test_every_number_is_that_of_its_block(store: Store):
    tree = store.to_xarray()
    assert dict(tree.sizes) == {"effect": 2, "sigma": 3, "replication": 100, "estimand": len(store.estimands)}
    for cell, parameters in enumerate(store.cells):
        start = 0
        for block in store.blocks(cell):
            rows = slice(start, start + block.replications)
            start += block.replications
            at = tree["truth"].sel(parameters).isel(replication=rows)
            for name in store.estimands:
                np.testing.assert_array_equal(at.sel(estimand=name), block.truth[name])
            for name, layout in store.layouts.items():
                group, found = tree[name].to_dataset().sel(parameters).isel(replication=rows), block.estimates[name]
                assert group["term"].values.tolist() == list(layout.terms)
                assert group["error"].values.tolist() == list(layout.errors)
                np.testing.assert_array_equal(group["estimate"], found.estimate)
                np.testing.assert_array_equal(group["se"], found.se)
                np.testing.assert_array_equal(group["dof"], found.dof)
                np.testing.assert_array_equal(group["status"], found.status)
                for statistic, values in found.statistics.items():
                    np.testing.assert_array_equal(group[statistic], values)
        assert start == 100


def test_what_is_asked_for_is_read_whatever_the_key(store: Store):
    estimate = store.to_xarray()["did/estimate"]
    whole = estimate.values
    for key in ((0, 1), (slice(None), 2, slice(60, 70)), ([1, 0], slice(None), [99, 3, 64], 0), (0, [2, 0], 63, [1, 0]),
                (slice(None, None, -1), slice(0, 0)), (1, 1, -1)):  # fmt: skip
        lazy = store.to_xarray()["did/estimate"]
        wanted = xr.DataArray(whole, dims=estimate.dims)[key]
        np.testing.assert_array_equal(lazy[key].values, wanted.values)
    masked = estimate.where(estimate["replication"] < 2, drop=True)
    np.testing.assert_array_equal(masked, whole[:, :, :2])


def test_a_store_on_disk_opens_by_its_path_without_a_warning(tmp_path):
    study = pp.Study("opened", pp.Paper(), (pp.TwoWayDID(),), GRID, replications=64, block=64, worlds=1)
    pp.run(study, store=tmp_path / "s.zarr")
    wanted = pp.open_store(tmp_path / "s.zarr").to_xarray().load()
    for path in (tmp_path / "s.zarr", str(tmp_path / "s.zarr")):  # warnings are errors in these tests
        assert StoreEngine().guess_can_open(path)
        assert xr.open_datatree(path, engine=StoreEngine).identical(wanted)
        assert xr.open_dataset(path, engine=StoreEngine, group="did").identical(
            wanted["did"].to_dataset().drop_vars("estimand")  # of the root
        )
        assert xr.open_dataset(path, engine=StoreEngine).identical(wanted.to_dataset())
    chunked = xr.open_dataset(tmp_path / "s.zarr", engine=StoreEngine, group="/did/", chunks={})
    assert chunked["estimate"].chunksizes["effect"] == (1, 1)
    assert chunked["estimate"].chunksizes["replication"] == (64,)
    assert chunked.compute()["estimate"].equals(wanted["did/estimate"].drop_vars("estimand", errors="ignore"))
    less = xr.open_dataset(tmp_path / "s.zarr", engine=StoreEngine, group="did", drop_variables=["se"])
    assert "se" not in less
    with pytest.raises(KeyError, match="no group 'dit'; there are /, /did"):
        xr.open_dataset(tmp_path / "s.zarr", engine=StoreEngine, group="dit")


def test_the_engine_is_the_entry_point_that_xarray_finds():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["xarray.backends"]
    assert points == {"panelproof": f"{StoreEngine.__module__}:{StoreEngine.__qualname__}"}


def test_other_folders_and_files_are_left_to_other_engines(tmp_path):
    xr.Dataset({"x": ("a", [1.0])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    (tmp_path / "list.zarr").mkdir()
    (tmp_path / "list.zarr" / "zarr.json").write_text("[]")
    engine = StoreEngine()
    names = ("other.zarr", "broken.zarr", "list.zarr", "none.zarr")
    assert not any(engine.guess_can_open(tmp_path / name) for name in names)
    assert not engine.guess_can_open(3)


def test_a_grid_with_parts_that_lack_a_dial(tmp_path):
    study = pp.Study.from_settings(RAGGED)
    assert len(study.cells) == 2 * (2 + 1) * 2  # "never" has no share
    store = pp.run(study, store=tmp_path / "s.zarr")
    tree = store.to_xarray()
    dials = ("geography.kind", "adoption.kind", "adoption.share", "errors.serial")
    assert tree["did/estimate"].dims == (*dials, "replication", "term")
    assert tree["errors.serial"].values.tolist() == ["0.0", "0.5, 0.2"]
    shares = tree["adoption.share"].values
    assert shares[:2].tolist() == [0.25, 0.5]
    assert np.isnan(shares[2])
    estimate = tree["did/status"]
    there = (estimate != 0).all("replication").values
    assert there.shape == (2, 2, 3, 2)
    assert there.sum() == 12
    assert (there == (estimate != 0).any("replication").values).all()
    for cell, parameters in enumerate(store.cells):
        (block, *_) = store.blocks(cell)
        at = {"geography.kind": ["uniform", "grid"].index(parameters["geography.kind"]),  # type: ignore[arg-type]
              "adoption.kind": ["random", "never"].index(parameters["adoption.kind"]),  # type: ignore[arg-type]
              "adoption.share": {0.25: 0, 0.5: 1, None: 2}[parameters["adoption.share"]],  # type: ignore[index]
              "errors.serial": int(parameters["errors.serial"] != 0)}  # fmt: skip
        found = block.estimates["did"]
        ours = tree["did/estimate"].isel(at)[:64]
        np.testing.assert_array_equal(ours.sel(term=list(found.terms)), found.estimate)
        assert bool(ours.sel(term="did").isnull().all()) == (parameters["adoption.kind"] == "never")
    assert xr.open_datatree(tmp_path / "s.zarr", engine=StoreEngine).identical(tree)
    measures = pp.diagnose(store).to_xarray()
    assert measures["mean_estimate"].dims == (*dials, "estimator", "term")
    assert int(measures["convergence"].notnull().sum()) == 12


def test_dials_keep_their_types_and_give_way_to_names_of_the_store():
    cells = [{"term": a, "on": b, "n": c} for a, b, c in itertools.product((0.5, None), (True, False), (1, 2))]
    axes = axes_of(cells, {"term"})
    assert axes.names == ("dial_term", "on", "n")
    assert [values.dtype.kind for values in axes.values] == ["f", "b", "i"]
    assert axes.at.ravel().tolist() == list(range(8))
    less = axes_of([cells[0], cells[7]])
    assert less.at.shape == (2, 2, 2)
    assert (less.at >= 0).sum() == 2
    spreaded = spread(np.array([10.0, 20.0]), less, np.nan)
    assert spreaded[0, 0, 0] == 10
    assert spreaded[1, 1, 1] == 20
    assert np.isnan(spreaded).sum() == 6


def test_a_dial_gives_way_to_an_array_of_its_name():
    layouts = {"a": Layout(("t",), ("iid",), ("r2",), {})}
    schema = StoreSchema({}, {}, "f", tuple({"se": se, "r2": 1} for se in (1.0, 2.0)), layouts, (), 4, 4)
    assert groups_of(MemoryStore(schema))["/a"]["se"].dims == ("dial_se", "dial_r2", "replication", "error", "term")


def test_a_study_without_a_grid_has_no_dimension_of_cells():
    store = pp.run(pp.Study("one", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64, worlds=1))
    tree = store.to_xarray()
    (block,) = store.blocks(0)
    assert tree["did/estimate"].dims == ("replication", "term")
    np.testing.assert_array_equal(tree["did/estimate"].values, block.estimates["did"].estimate)
    np.testing.assert_array_equal(tree["did/estimate"][5:7].values, block.estimates["did"].estimate[5:7])
    assert pp.diagnose(store).to_xarray()["bias"].dims == ("estimator", "term")


def test_blocks_that_are_not_there_are_missing(tmp_path):
    study = pp.Study("half", pp.Paper(), (pp.TwoWayDID(),), replications=128, block=64, worlds=1)
    store = pp.run(study, store=tmp_path / "s.zarr")
    store.poison(0, 1)
    tree = pp.open_store(tmp_path / "s.zarr").to_xarray()
    assert tree["did/status"].values.tolist() == [1] * 64 + [0] * 64
    assert np.isnan(tree["did/estimate"][64:]).all()
    assert np.isnan(tree["truth"][64:]).all()
    assert not np.isnan(tree["did/estimate"][:64]).any()


def test_a_damaged_chunk_is_said(tmp_path):
    study = pp.Study("damaged", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64, worlds=1)
    pp.run(study, store=tmp_path / "s.zarr")
    (chunk,) = [path for path in (tmp_path / "s.zarr" / "did" / "estimate").rglob("*")
                if path.is_file() and path.name != "zarr.json"]  # fmt: skip
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(bytes(data))
    tree = pp.open_store(tmp_path / "s.zarr").to_xarray()
    with pytest.raises(BadInput, match="block 0 of cell 0 is damaged"):
        tree["did/estimate"].load()
