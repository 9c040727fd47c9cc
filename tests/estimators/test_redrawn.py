"""Redrawn treatments: estimators whose kernel serves them give the numbers of a fit of every panel."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any, Literal

import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from refusals import refuses

from estimators import Estimates, Estimator, SpatialPanel, Status, Tile, TwoWayDID
from estimators.core.treatments import Fields
from estimators.linear.least_squares import LinearPlan
from estimators.spatial.redrawn_sdm import RedrawnDurbinPlan, terms_of
from estimators.spatial.spectrum import Transform
from experiments.run.runner import run
from experiments.study import Study
from references import brute_force
from references.small_panels import small_panel, unseen
from sim import Panel, Roles, Streams
from sim.real_panels import Placebo

N, T, ROWS = 30, 7, 16
Floats = NDArray[np.float64]
DID = TwoWayDID(errors=("cluster:unit",), terms=("did",))
SDM = SpatialPanel("sdm", errors=("hessian",), terms=terms_of("did"))
LEE_YU = dataclasses.replace(SDM, transform="lee-yu")


def by_kernel(plan: Any) -> bool:
    """Whether a plan is the kernel's."""
    return isinstance(plan, RedrawnDurbinPlan) or (isinstance(plan, LinearPlan) and plan.redrawn is not None)


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
    """Estimates to that share of their errors, errors and statistics to that share, status and dof exactly."""
    wanted = general.only(found.terms)
    at = [wanted.errors.index(error) for error in found.errors]
    np.testing.assert_array_equal(found.status, wanted.status)
    np.testing.assert_array_equal(found.dof, wanted.dof[:, at])
    se = wanted.se[:, at]
    assert np.nanmax(np.abs(found.estimate - wanted.estimate) / se.min(axis=1)) <= tolerance
    np.testing.assert_allclose(found.se, se, rtol=tolerance)
    assert found.statistics.keys() <= wanted.statistics.keys()
    for name, values in found.statistics.items():
        np.testing.assert_allclose(values, wanted.statistics[name], rtol=100 * tolerance, err_msg=name)


@covered(kind=["absorbing", "switching", "dose"], missing=[0, 19], error=["cluster:unit", "cluster:province"],
         cluster_k=["slopes", "nonnested", "all"], regressors=[None, ("inv", "did", "road")])  # fmt: skip
def test_did_is_that_of_the_general_estimator(
    kind: str, missing: int, error: str, cluster_k: Literal["slopes", "nonnested", "all"], regressors: tuple[str, ...]
) -> None:
    panel = redrawn(kind, missing=missing)
    general = TwoWayDID(errors=("iid", "hc1", "cluster:unit", error)[: 3 + (error != "cluster:unit")],
                        cluster_k=cluster_k, regressors=regressors)  # fmt: skip
    for errors in ((error,), ("iid", error), ("iid",), tuple(dict.fromkeys((error, "iid", "cluster:unit")))):
        own = dataclasses.replace(general, errors=errors, terms=("did",))
        reduction = own.reduction(panel.schema)
        assert by_kernel(reduction.prepare(panel))
        assert_equal(own(panel), general(panel), 1e-11)


def test_clusters_of_neighbouring_rows_are_no_units_and_two_units_have_no_clustered_error() -> None:
    panel = redrawn()
    halves = dataclasses.replace(panel, attributes={"province": np.repeat(["a", "b", "c"], 10)})
    pair = Panel(panel.units[:2], panel.periods, {name: panel.variables[name][:, :, [0, 1]] for name in ("y", "did")},
                 Roles("y", "did"))  # fmt: skip
    pair = pair.with_variables({"did": treatments("dose")[:, :, :2]})
    for of, errors in ((halves, ("cluster:province",)), (pair, ("cluster:unit",))):
        own = TwoWayDID(errors=errors, terms=("did",))
        assert by_kernel(own.reduction(of.schema).prepare(of))
        found, wanted = own(of), dataclasses.replace(own, terms=None)(of).only(("did",))
        np.testing.assert_allclose(found.se, wanted.se, rtol=1e-9)
        assert np.isnan(found.se).all() == (of is pair)


@covered(kind=["absorbing", "switching", "dose"], transform=["direct", "lee-yu"], controls=[None, (), ("road",)])
def test_sdm_is_that_of_the_general_estimator(
    kind: str, transform: Transform, controls: tuple[str, ...] | None
) -> None:
    panel = redrawn(kind)
    regressors = None if controls is None else ("did", *controls)
    general = SpatialPanel("sdm", transform, regressors=regressors, errors=("information", "hessian"))
    own = dataclasses.replace(general, errors=("hessian",), terms=terms_of("did"))
    assert by_kernel(own.reduction(panel.schema).prepare(panel))
    assert_equal(own(panel), general(panel), 1e-9)


@pytest.mark.parametrize("estimator", [DID, SDM], ids=["did", "sdm"])
def test_kernels_serve_redrawn_treatments_alone(estimator: TwoWayDID | SpatialPanel) -> None:
    """Elsewhere the general estimator itself is run: the same bits."""
    panel = redrawn()
    reduction = estimator.reduction(panel.schema)
    assert reduction is not None
    assert by_kernel(reduction.prepare(panel))
    y = panel.variables["y"] + np.random.default_rng(1).standard_normal((ROWS, T, N))
    inv = np.linspace(1, 2, ROWS)[:, None, None] * panel.variables["inv"]
    redrawn_too = [panel.with_variables(more) for more in ({"y": y}, {"inv": inv})]
    for other in (panel.replication(0), panel.replication(2).with_variables({"y": y}), *redrawn_too):
        assert not by_kernel(reduction.prepare(other))
        found, general = estimator(other), dataclasses.replace(estimator, terms=None)(other).only(estimator.terms or ())
        for name in ("estimate", "se", "status"):
            np.testing.assert_array_equal(getattr(found, name), getattr(general, name))


@covered(kind=["absorbing", "dose"], estimator=[DID, LEE_YU])
def test_rows_are_solved_by_themselves_bit_for_bit(estimator: TwoWayDID | SpatialPanel, kind: str) -> None:
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
def test_draws_that_leave_nothing_are_singular(estimator: TwoWayDID | SpatialPanel) -> None:
    panel = redrawn()
    did = np.array(panel.variables["did"])
    did[3], did[5], did[7] = 0.0, 1.0, np.arange(N)[None] < 9
    found, sound = estimator(panel.with_variables({"did": did})), estimator(panel)
    lost = np.isin(np.arange(ROWS), (3, 5, 7))
    assert (found.status[lost] == Status.SINGULAR).all()
    assert (found.status[~lost] == Status.OK).all()
    np.testing.assert_allclose(found.estimate[~lost], sound.estimate[~lost], rtol=1e-12)


@pytest.mark.parametrize("scheme", ["space", "strata:province", "blocks", "blocks:5", "mixed"])
def test_studies_have_the_numbers_of_the_general_estimators(scheme: str) -> None:
    design = Placebo.of(small_panel(N, T, seed=4, model="none", sigma=3.0), scheme)
    pairs: tuple[tuple[Estimator, Estimator], ...] = (
        (dataclasses.replace(DID, label="quick"), TwoWayDID()),
        (dataclasses.replace(LEE_YU, label="quick-sdm"), SpatialPanel("sdm", "lee-yu", errors=("hessian",))),
    )
    study = Study("both", design, tuple(item for pair in pairs for item in pair), replications=150, block=64)
    for block in run(study).blocks(0):
        for own, general in pairs:
            assert_equal(block.estimates[own.name], block.estimates[general.name], 1e-9)


@pytest.mark.parametrize("level", [0.0, 1e6, 1e9])
def test_the_level_of_a_redrawn_treatment_does_not_matter(level: float) -> None:
    panel = small_panel(20, 6, seed=3)
    dose = np.random.default_rng(2).standard_normal((5, 6, 20))
    redrawn = panel.with_variables({"did": level + dose})
    kernel = TwoWayDID(errors=("iid", "cluster:unit"), terms=("did",))(redrawn)
    whole = TwoWayDID(errors=("iid", "cluster:unit"))(redrawn)
    assert (kernel.status == Status.OK).all()
    np.testing.assert_allclose(kernel.estimate[:, 0], whole.estimate[:, 0], rtol=1e-5)
    np.testing.assert_allclose(kernel.se[:, :, 0], whole.se[:, :, 0], rtol=1e-5)


@pytest.mark.parametrize("noise", [0.05, 0.6, 1.0])
def test_a_likelihood_that_rises_to_the_end_has_not_converged(noise: float) -> None:
    """An outcome along the most negative eigenvector of W: of some draws, all or none; heights by a slow program."""
    panel, rng = redrawn(), np.random.default_rng(1)
    values, vectors = np.linalg.eig(panel.weights["knn"].dense)
    along = vectors[:, values.real.argmin()].real
    y = np.outer(5 * rng.standard_normal(T), along) + noise * rng.standard_normal((T, N))
    panel = panel.with_variables({"y": y[None]})
    ends = [brute_force.profile(panel.replication(row), "sdm", "direct", np.array([-1 + 1e-7, -1 + 1e-5]))
            for row in range(ROWS)]  # fmt: skip
    wanted = [Status.NOT_CONVERGED if end > before else Status.OK for end, before in ends]
    assert len(set(wanted)) == 1 + (noise == 0.6)
    assert SDM(panel).status.tolist() == wanted
    assert SpatialPanel("sdm", errors=("hessian",))(panel).status.tolist() == wanted


def test_draws_that_effects_or_controls_use_up_are_singular_alone() -> None:
    """By rounding alone something is left of them."""
    panel, rng = redrawn("dose"), np.random.default_rng(2)
    did = np.array(panel.variables["did"])
    did[0] = rng.standard_normal(N) + rng.standard_normal((T, 1))
    shares = rng.standard_normal((ROWS - 4, 2, 1, 1))
    did[4:] = shares[:, 0] * panel.variables["inv"] + shares[:, 1] * panel.variables["road"] + rng.standard_normal(N)
    found = TwoWayDID(errors=("cluster:unit",), terms=("did",))(panel.with_variables({"did": did}))
    assert found.status.tolist() == [Status.OK if row in (1, 2, 3) else Status.SINGULAR for row in range(ROWS)]


def test_what_unobserved_cells_of_a_redrawn_treatment_hold_does_not_matter() -> None:
    panel, own = redrawn("dose", missing=19), TwoWayDID(errors=("cluster:unit",), terms=("did",))
    assert panel.observed is not None
    hidden = panel.with_variables({"did": np.where(panel.observed, panel.variables["did"], np.nan)})
    assert by_kernel(own.reduction(hidden.schema).prepare(hidden))
    np.testing.assert_array_equal(own(hidden).se, own(panel).se)


def test_tables_belong_to_their_paths() -> None:
    """They are found by where the paths lie in memory, which others must not take."""
    paths, fields = np.eye(3), Fields(np.ones((1, 3, 4)))
    fields.tables(paths)
    kept = weakref.ref(paths)
    del paths
    assert kept() is not None


def test_what_a_kernel_has() -> None:
    schema = small_panel(N, T).schema
    did = TwoWayDID(regressors=("inv", "did"), errors=("iid", "cluster:province"), cluster_k="all", label="x")
    quick = dataclasses.replace(did, terms=("did",), errors=("cluster:province",))
    assert did.for_redrawn_treatments(schema) == quick
    assert SpatialPanel("sdm", "lee-yu").for_redrawn_treatments(schema) == LEE_YU
    without: tuple[Estimator, ...] = (
        TwoWayDID(errors=("cluster:unit", "hc1")), TwoWayDID(regressors=("inv",)), SpatialPanel("sar"),
        TwoWayDID(errors=("cluster:unit+period",)),
    )  # fmt: skip
    assert [item.for_redrawn_treatments(schema) for item in without] == list(without)
    untreated = dataclasses.replace(schema, roles=Roles("y", None, ("inv",)))
    assert did.for_redrawn_treatments(untreated) == did


SERVED_BY_A_FIT = {
    "hc1": {"errors": ("hc1",)},
    "periods": {"errors": ("cluster:period",)},
    "two-way": {"errors": ("cluster:unit+period",)},
    "pooled": {"effects": (), "constant": True},
    "unit effects": {"effects": ("unit",)},
    "all terms": {"terms": None},
    "a control": {"terms": ("inv",)},
}


@pytest.mark.parametrize("case", SERVED_BY_A_FIT)
def test_what_no_kernel_serves_is_fitted(case: str) -> None:
    panel = redrawn()
    own = dataclasses.replace(DID, **SERVED_BY_A_FIT[case])
    assert not by_kernel(own.reduction(panel.schema).prepare(panel))
    assert_equal(own(panel), dataclasses.replace(own, terms=None)(panel), 1e-13)


def test_singletons_are_left_out_by_a_fit() -> None:
    """Where they are dropped the kernel's sample is another one."""
    gaps = unseen(redrawn(), (slice(1, None), 4))
    assert not by_kernel(DID.reduction(gaps.schema).prepare(gaps))
    kept = dataclasses.replace(DID, singletons="keep")
    assert by_kernel(kept.reduction(gaps.schema).prepare(gaps))
    assert_equal(kept(gaps), dataclasses.replace(kept, terms=None)(gaps), 1e-11)


def test_bad_settings_and_panels() -> None:
    panel = redrawn()
    for estimator in (DID, SDM):
        refuses(r"no term 'dit'.*did you mean 'did'", dataclasses.replace(estimator, terms=("dit",)), panel)
    refuses("unknown error type 'cluster:provinz'", dataclasses.replace(DID, errors=("cluster:provinz",)), panel)
    refuses("unit-periods are missing", lambda: SDM(redrawn(missing=9)))
    copied = panel.with_variables({"road": 2 * panel.variables["inv"] + 3})
    for estimator in (DID, SDM):
        refuses("'road' is collinear", estimator, copied)
