"""Estimators for a redrawn treatment: numbers of the general estimators, on placebo tiles and on any other panel."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators import Estimates, Estimator, SpatialPanel, Status, Tile, TwoWayDID
from estimators.placebo.redrawn import Planned, Redrawn, RedrawnDID, RedrawnSDM, redrawn_of
from estimators.spatial.spectrum import Transform
from experiments.running.runner import run
from experiments.study.study import Study
from references.small_panels import small_panel
from sim import BadInput, Panel, Roles, Streams
from sim.designs.placebo import Placebo

N, T, ROWS = 30, 7, 16
Floats = NDArray[np.float64]
DID, SDM = RedrawnDID(), RedrawnSDM()


def treatments(kind: str) -> Floats:
    """Treatments (ROWS, T, N): absorbing with other numbers of treated units in every row, switching, or real."""
    rng = np.random.default_rng(7)
    if kind == "dose":
        return 50 + 3 * rng.standard_normal((ROWS, T, N))
    if kind == "switching":
        return (rng.random((ROWS, T, N)) < 0.3).astype(float)
    share = rng.uniform(0.2, 0.8, (ROWS, 1))
    first = np.where(rng.random((ROWS, N)) < share, rng.integers(1, T, (ROWS, N)), T)
    return (np.arange(T)[:, None] >= first[:, None, :]).astype(float)


def redrawn(kind: str = "absorbing", *, missing: int = 0, seed: int = 3) -> Panel:
    panel = small_panel(N, T, seed=seed, missing=missing)
    return panel.with_variables({"did": treatments(kind)})


def assert_equal(found: Estimates, general: Estimates, tolerance: float) -> None:
    """Estimates to that share of their errors, errors to that share, status and degrees of freedom exactly."""
    at = [general.terms.index(term) for term in found.terms]
    error = general.errors.index(found.errors[0])
    assert len(found.errors) == 1
    np.testing.assert_array_equal(found.status, general.status)
    np.testing.assert_array_equal(found.dof[:, 0], general.dof[:, error][:, at])
    se = general.se[:, error][:, at]
    assert np.nanmax(np.abs(found.estimate - general.estimate[:, at]) / se) <= tolerance
    np.testing.assert_allclose(found.se[:, 0], se, rtol=tolerance)


@pytest.mark.parametrize("kind", ["absorbing", "switching", "dose"])
@pytest.mark.parametrize("missing", [0, 19])
@pytest.mark.parametrize("error", ["cluster:unit", "cluster:province"])
@pytest.mark.parametrize("cluster_k", ["slopes", "nonnested", "all"])
def test_did_is_that_of_the_general_estimator(
    kind: str, missing: int, error: str, cluster_k: Literal["slopes", "nonnested", "all"]
) -> None:
    panel = redrawn(kind, missing=missing)
    own = RedrawnDID(error=error, cluster_k=cluster_k)
    general = TwoWayDID(errors=("iid", error), cluster_k=cluster_k)
    assert_equal(own(panel), general(panel), 1e-11)


@pytest.mark.parametrize("kind", ["absorbing", "switching", "dose"])
@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
@pytest.mark.parametrize("controls", [None, (), ("road",)])
def test_sdm_is_that_of_the_general_estimator(
    kind: str, transform: Transform, controls: tuple[str, ...] | None
) -> None:
    panel = redrawn(kind)
    regressors = None if controls is None else ("did", *controls)
    general = SpatialPanel("sdm", transform, regressors=regressors, errors=("information", "hessian"))
    assert_equal(RedrawnSDM(transform, controls=controls)(panel), general(panel), 1e-9)


@pytest.mark.parametrize("estimator", [DID, SDM], ids=["did", "sdm"])
def test_kernels_serve_redrawn_treatments_alone(estimator: Redrawn) -> None:
    """Elsewhere the general estimator itself is run: the same bits."""
    panel = redrawn()
    reduction = estimator.reduction(panel.schema)
    assert reduction is not None
    assert isinstance(reduction.prepare(panel), Planned)
    y = panel.variables["y"] + np.random.default_rng(1).standard_normal((ROWS, T, N))
    inv = np.linspace(1, 2, ROWS)[:, None, None] * panel.variables["inv"]
    redrawn_too = [panel.with_variables(more) for more in ({"y": y}, {"inv": inv})]
    for other in (panel.replication(0), panel.replication(2).with_variables({"y": y}), *redrawn_too):
        assert not isinstance(reduction.prepare(other), Planned)
        found, general = estimator(other), estimator.general(other.schema)(other)
        at = [general.terms.index(term) for term in found.terms]
        np.testing.assert_array_equal(found.estimate, general.estimate[:, at])
        np.testing.assert_array_equal(found.se, general.se[:, :, at])
        np.testing.assert_array_equal(found.status, general.status)


@pytest.mark.parametrize("estimator", [DID, RedrawnSDM("lee-yu")], ids=["did", "sdm"])
@pytest.mark.parametrize("kind", ["absorbing", "dose"])
def test_rows_are_solved_by_themselves_bit_for_bit(estimator: Redrawn, kind: str) -> None:
    panel = redrawn(kind)
    reduction = estimator.reduction(panel.schema)
    assert reduction is not None
    plan = reduction.prepare(panel)
    moments = reduction.reduce(plan, Tile(panel))
    assert moments.rows == ROWS
    whole = estimator.solve(plan, moments, panel.schema, Streams(0))
    joined = type(moments).join([moments.take(slice(0, 3)), moments.take(slice(3, ROWS))])
    again = estimator.solve(plan, joined, panel.schema, Streams(0))
    np.testing.assert_array_equal(again.se, whole.se)
    for rows in (slice(0, 1), slice(4, 9), slice(ROWS - 1, ROWS)):
        part = estimator.solve(plan, moments.take(rows), panel.schema, Streams(0))
        np.testing.assert_array_equal(part.estimate, whole.estimate[rows])
        np.testing.assert_array_equal(part.se, whole.se[rows])


@pytest.mark.parametrize("estimator", [DID, SDM], ids=["did", "sdm"])
def test_draws_that_leave_nothing_are_singular(estimator: Redrawn) -> None:
    """Nobody treated, everybody at once, a path of units alone; the others stay."""
    panel = redrawn()
    did = np.array(panel.variables["did"])
    did[3], did[5], did[7] = 0.0, 1.0, np.arange(N)[None] < 9
    found, sound = estimator(panel.with_variables({"did": did})), estimator(panel)
    lost = np.isin(np.arange(ROWS), (3, 5, 7))
    assert (found.status[lost] == Status.SINGULAR).all()
    assert (found.status[~lost] == Status.OK).all()
    np.testing.assert_allclose(found.estimate[~lost], sound.estimate[~lost], rtol=1e-12)


@pytest.mark.parametrize("estimator", [DID, SDM], ids=["did", "sdm"])
def test_order_of_units_and_scale(estimator: Redrawn) -> None:
    """Another order of units changes nothing; 1000 y has 1000 times the slopes and the same rho."""
    panel = redrawn()
    order = np.random.default_rng(2).permutation(N)
    units = tuple(panel.units[i] for i in order)
    moved = dataclasses.replace(
        panel,
        units=units,
        variables={name: np.ascontiguousarray(x[..., order]) for name, x in panel.variables.items()},
        attributes={name: x[order] for name, x in panel.attributes.items()},
        weights={name: w.reordered(units) for name, w in panel.weights.items()},
    )  # fmt: skip
    scaled = panel.with_variables({"y": 1000 * panel.variables["y"]})
    found = estimator(panel)
    np.testing.assert_allclose(estimator(moved).estimate, found.estimate, rtol=1e-7, atol=1e-9)
    factors = np.where(np.array(found.terms) == "rho", 1.0, 1000.0)
    np.testing.assert_allclose(estimator(scaled).estimate, factors * found.estimate, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("scheme", ["space", "strata:province", "blocks", "blocks:5", "mixed"])
def test_studies_have_the_numbers_of_the_general_estimators(scheme: str) -> None:
    """Through `run`: the same draws, tile by tile and block by block."""
    design = Placebo.of(small_panel(N, T, seed=4, model="none", sigma=3.0), scheme)
    pairs: tuple[tuple[Estimator, Estimator], ...] = (
        (RedrawnDID(), TwoWayDID()),
        (RedrawnSDM("lee-yu"), SpatialPanel("sdm", "lee-yu", errors=("hessian",))),
    )
    study = Study("both", design, tuple(item for pair in pairs for item in pair), replications=150, block=64)
    for block in run(study).blocks(0):
        for own, general in pairs:
            assert_equal(block.estimates[own.name], block.estimates[general.name], 1e-9)


def test_what_has_a_redrawn_counterpart() -> None:
    schema = small_panel(N, T).schema
    did = TwoWayDID(regressors=("inv", "did"), errors=("iid", "cluster:province"), cluster_k="all", label="x")
    assert redrawn_of(did, schema) == RedrawnDID(None, ("inv",), "cluster:province", "all", "att", "x")
    sdm = SpatialPanel("sdm", "lee-yu")
    assert redrawn_of(sdm, schema) == RedrawnSDM("lee-yu", None, ("inv", "road"), None, "sdm-lee-yu")
    without: tuple[Estimator, ...] = (
        TwoWayDID(errors=("cluster:unit", "iid")), TwoWayDID(regressors=("inv",)), SpatialPanel("sar"),
    )  # fmt: skip
    assert [redrawn_of(item, schema) for item in without] == [None] * 3
    assert redrawn_of(did, dataclasses.replace(schema, roles=Roles("y", None, ("inv",)))) is None


def test_bad_settings_and_panels() -> None:
    panel = redrawn()
    with pytest.raises(BadInput, match="cluster:unit, cluster:ATTRIBUTE"):
        RedrawnDID(error="iid")
    with pytest.raises(BadInput, match="transform = 'leeyu'"):
        RedrawnSDM("leeyu")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="unknown error type 'cluster:provinz'"):
        RedrawnDID(error="cluster:provinz")(panel)
    with pytest.raises(BadInput, match="no treatment"):
        DID(dataclasses.replace(panel, roles=Roles("y", None, ("inv",))))
    with pytest.raises(BadInput, match="unit-periods are missing"):
        SDM(redrawn(missing=9))
