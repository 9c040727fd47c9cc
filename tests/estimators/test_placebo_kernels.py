"""Placebo kernels against a fit of every draw, dummies, a numerical Hessian, pyfixest; invariances; size of tests."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from refusals import refuses

from estimators import Estimates, SpatialPanel, Status, TwoWayDID
from estimators.core.hypotheses import permutation_p_values
from estimators.core.tile import TreatmentFits, TreatmentKernel, WithinTransform
from estimators.core.treatments import Fields, PathCodes, Paths
from estimators.linear.did import ClusterK
from estimators.permutation import Draws, KernelTest, PermutationTest
from estimators.spatial.spectrum import Transform
from references.small_panels import Kind, small_panel
from sim import Panel, Streams
from sim.errors import BadInput
from sim.presets import Paper
from sim.schemes import absorbing_paths

N, T = 30, 7
Floats = NDArray[np.float64]


def did_kernel(panel: Panel, controls: tuple[str, ...] | None = None, error: str = "cluster:unit",
               cluster_k: ClusterK = "nonnested") -> TreatmentKernel:  # fmt: skip
    regressors = None if controls is None else ("did", *controls)
    kernel = TwoWayDID(None, regressors, (error,), cluster_k).treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    return kernel


def sdm_kernel(panel: Panel, weights: str | None = None, transform: Transform = "direct",
               controls: tuple[str, ...] | None = None) -> TreatmentKernel:  # fmt: skip
    regressors = None if controls is None else ("did", *controls)
    sdm = SpatialPanel("sdm", transform, None, regressors, weights, errors=("hessian",))
    kernel = sdm.treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    return kernel


def did_placebo(panel: Panel, given: NDArray[Any], **settings: Any) -> TreatmentFits:
    """`TwoWayDID` of a panel's outcomes with each of B treatments in place of its own."""
    return did_kernel(panel, **settings).assign(given).fit(panel.variables["y"])


def sdm_placebo(panel: Panel, given: NDArray[Any], weights: str | None = None, transform: Transform = "direct",
                controls: tuple[str, ...] | None = None) -> TreatmentFits:  # fmt: skip
    """The same of `SpatialPanel("sdm")`."""
    return sdm_kernel(panel, weights, transform, controls).assign(given).fit(panel.variables["y"])


def calendars(draws: int, n: int = N, t: int = T, seed: int = 0) -> NDArray[np.intp]:
    """First treated periods with other numbers of treated units in every draw, 0 and T included."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 0.9, (draws, 1))
    return np.where(rng.random((draws, n)) < share, rng.integers(0, t, (draws, n)), t).astype(np.intp)


def paths(first: NDArray[np.intp], t: int = T) -> Floats:
    return (np.arange(t)[:, None] >= first[:, None, :]).astype(float)


def kinds_of_treatment() -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(5)
    switching = rng.random((12, T, N)) < 0.3
    dose = 50 + 3 * rng.standard_normal((12, T, N))
    return {"absorbing": calendars(12), "absorbing-0/1": paths(calendars(12)), "switching": switching, "dose": dose}


def with_treatments(panel: Panel, given: NDArray[np.generic]) -> Panel:
    """One outcome under each treatment, as replications of a panel."""
    whole = paths(given.astype(np.intp), len(panel.periods)) if given.ndim == 2 else given.astype(float)
    (name,) = [panel.roles.outcome]
    assert name is not None
    return panel.with_variables({"did": whole, name: np.repeat(panel.variables[name], len(whole), axis=0)})


def assert_equal(fits: TreatmentFits, row: int, expected: Estimates, rtol: float = 1e-10) -> None:
    at = [expected.terms.index(term) for term in fits.terms]
    scale = np.abs(expected.se[:, 0, at])
    assert (np.abs(fits.estimate[row] - expected.estimate[:, at]) < rtol * scale).all()
    np.testing.assert_allclose(fits.se[row], expected.se[:, 0, at], rtol=rtol)
    np.testing.assert_array_equal(fits.status[row], expected.status)


@covered(treatment=kinds_of_treatment(), missing=[0, 19], error=["cluster:unit", "cluster:province"])
def test_did_equals_a_fit_of_every_draw(treatment: str, missing: int, error: str) -> None:
    panel, given = small_panel(N, T, seed=3, replications=2, missing=missing), kinds_of_treatment()[treatment]
    fits = did_placebo(panel, given, error=error)
    assert fits.estimate.shape == fits.se.shape == (2, 12, 1)
    for row in range(2):
        expected = TwoWayDID(errors=(error,))(with_treatments(panel.replication(row), given))
        assert_equal(fits, row, expected, 1e-11)
        only = did_kernel(panel, error=error).assign(given).estimates(panel.variables["y"])
        assert (np.abs(only - fits.estimate) <= 1e-12 * fits.se).all()  # a share of the error: b may be near zero


@covered(
    weights=["knn", "contiguity", "inverse-distance", "spectral", "uneven"],
    transform=["direct", "lee-yu"],
    treatment=["absorbing", "switching", "dose"],
)
def test_sdm_equals_a_fit_of_every_draw(weights: Kind, transform: Transform, treatment: str) -> None:
    panel, given = small_panel(N, T, seed=8, replications=2, weights=weights), kinds_of_treatment()[treatment]
    if transform == "lee-yu" and not panel.weights[weights].row_stochastic:
        with pytest.raises(BadInput, match="needs a row-stochastic W"):
            SpatialPanel("sdm", transform).for_redrawn_treatments(panel.schema)(
                with_treatments(panel.replication(0), given)
            )
        return
    fits = sdm_placebo(panel, given, weights, transform)
    for row in range(2):
        one = with_treatments(panel.replication(row), given)
        assert_equal(fits, row, SpatialPanel("sdm", transform, errors=("hessian",))(one))


def permuted(draws: int, n: int = N, t: int = T) -> NDArray[np.intp]:
    first = np.where(np.arange(n) < n // 3, 1 + np.arange(n) % (t - 1), t)
    return np.stack([first[g.permutation(n)] for g in Streams(3).tile(0, draws).each("permutation")])


def test_bits_do_not_depend_on_the_batch() -> None:
    panel, first = small_panel(N, T, seed=12, replications=3), permuted(600)
    for fit in (did_placebo, sdm_placebo):
        whole = fit(panel, first)
        for start, stop in ((0, 1), (1, 3), (3, 70), (70, 333), (333, 600)):
            part = fit(panel, first[start:stop])
            np.testing.assert_array_equal(part.estimate, whole.estimate[:, start:stop])
            np.testing.assert_array_equal(part.se, whole.se[:, start:stop])
        alone = fit(panel.replication(2), first)
        np.testing.assert_array_equal(alone.estimate[0], whole.estimate[2])
        np.testing.assert_array_equal(alone.se[0], whole.se[2])


def test_draws_without_an_answer_are_nan_and_leave_the_others_alone() -> None:
    panel, first = small_panel(N, T, seed=13), calendars(6)
    nobody, everybody = np.full((1, N), T), np.full((1, N), 2)
    broken = np.concatenate([nobody, first, everybody])
    copied = np.concatenate([panel.variables["inv"] * 2 + 3, paths(first)])
    for fit in (did_placebo, sdm_placebo):
        expected = fit(panel, first)
        for given, bad in ((broken, [0, 7]), (copied, [0])):
            fits = fit(panel, given)
            assert (fits.status[0, bad] == Status.SINGULAR).all()
            assert np.isnan(fits.estimate[0, bad][:, :2]).all()
            good = np.delete(np.arange(len(given)), bad)
            assert (fits.status[0, good] == Status.OK).all()
            np.testing.assert_allclose(fits.se[0, good], expected.se[0], rtol=1e-10)
        alone = fit(panel, nobody)
        assert (alone.status == Status.SINGULAR).all()


def test_a_draw_whose_lag_the_controls_use_up_has_no_answer() -> None:
    panel = small_panel(N, T, seed=4)
    given = paths(calendars(3, seed=2))
    noise = 1e-6 * np.random.default_rng(3).standard_normal((1, T, N))  # some 1e-12 of the lag is left
    lagged = next(iter(panel.weights.values())).lag(given[:1]) + noise
    found = sdm_placebo(panel.with_variables({"inv": lagged}), given)
    assert np.isnan(found.estimate[0, 0]).all()
    assert np.isfinite(found.estimate[0, 1:]).all()


def test_tables_of_many_dates_equal_sums_over_paths() -> None:
    first = calendars(5, seed=9)
    drawn, whole = PathCodes(absorbing_paths(T), first), paths(first)
    fields = np.random.default_rng(1).standard_normal((3, T, N))
    expected = np.einsum("btn,ktn->bk", whole, fields)
    np.testing.assert_allclose(drawn.meet(Fields(fields)), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(drawn.total, whole.sum(axis=(1, 2)))
    mask = (np.random.default_rng(2).random((T, N)) < 0.9) * 1.0
    for seen, found in ((np.ones((T, N)), drawn), (mask, Paths(whole * mask, WithinTransform(0, mask)))):
        squares = [np.square(d[seen > 0] - d[seen > 0].mean()).sum() for d in whole]
        np.testing.assert_allclose(found.around, squares, rtol=1e-12)
    np.testing.assert_array_equal(drawn.whole(), whole)
    at = whole - whole.mean(axis=1, keepdims=True)
    for b in range(5):
        dates = first[b]
        np.testing.assert_allclose(drawn.kappa[np.ix_(dates, dates)], at[b].T @ at[b], atol=1e-13)


@covered(kind=["switching", "dose"], missing=[0, 19])
def test_paths_by_codes_are_whole_treatments(kind: str, missing: int) -> None:
    """Units exchange paths, of which some are never treated; tables give what whole arrays give."""
    rng = np.random.default_rng(8)
    own = rng.standard_normal((9, T)) if kind == "dose" else (rng.random((9, T)) < 0.4).astype(float)
    codes = rng.integers(0, 10, (11, N))
    drawn = PathCodes(np.concatenate([own, np.zeros((1, T))]), codes)
    panel = small_panel(N, T, seed=15, replications=2, missing=missing)
    np.testing.assert_array_equal(drawn.whole()[3, :, 4], drawn.paths[codes[3, 4]])
    kernels = (did_kernel, sdm_kernel) if not missing else (did_kernel,)
    for maker in kernels:
        one, other = (maker(panel).assign(given) for given in (drawn, drawn.whole()))
        found, whole = one.fit(panel.variables["y"]), other.fit(panel.variables["y"])
        np.testing.assert_allclose(found.estimate, whole.estimate, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.se, whole.se, rtol=1e-8)
        np.testing.assert_array_equal(found.status, whole.status)


@pytest.mark.parametrize("maker", [did_kernel, sdm_kernel], ids=["did", "sdm"])
def test_a_kernel_takes_other_paths_after_as_many(maker: Any) -> None:
    """What it keeps of the first paths does not serve the second."""
    panel, codes = small_panel(N, T, seed=15), calendars(4)
    later = np.concatenate([np.tri(T)[::-1], np.zeros((1, T))])
    assert later.shape == absorbing_paths(T).shape
    kernel, y = maker(panel), panel.variables["y"]
    kernel.assign(PathCodes(absorbing_paths(T), codes)).fit(y)
    found = kernel.assign(PathCodes(later, codes)).fit(y)
    np.testing.assert_array_equal(found.estimate, maker(panel).assign(PathCodes(later, codes)).fit(y).estimate)


def test_bad_input_is_one_clear_line() -> None:
    panel, first = small_panel(N, T, seed=14), calendars(3)
    for given, words in (
        (first + 2001, "0 to 6, 7 = never"),
        (first - 1, "first treated periods from -1 to 6"),
        (first[:, :-1], r"integers \(B, 30\)"),
        (first.astype(float), r"treatments \(B, 7, 30\)"),
        (first[:0], "shape"),
        (np.where(paths(first) > 0, np.nan, 0.0), "finite numbers"),
    ):
        for fit in (did_placebo, sdm_placebo):
            with pytest.raises(BadInput, match=words):
                fit(panel, given)
    for error in ("hc1", "iid", "cluster:period"):
        assert TwoWayDID(errors=(error,)).treatment_kernel(panel, ("did",), errors=True) is None
    refuses("no variable 'rain'", lambda: did_placebo(panel, first, controls=("rain",)))
    assert SpatialPanel("sdm").treatment_kernel(small_panel(N, T, missing=9), ("did",), errors=False) is None
    refuses("no weights 'queen'", lambda: sdm_placebo(panel, first, "queen"))
    refuses(r"\(R, 7, 30\)", lambda: did_kernel(panel).assign(first).fit(panel.variables["y"][0]))
    alone = Panel(panel.units, panel.periods, dict(panel.variables), panel.roles,
                  {"country": np.zeros(N)}, weights=dict(panel.weights))  # fmt: skip
    refuses("2 or more clusters", lambda: did_placebo(alone, first, error="cluster:country"))


@pytest.mark.long
def test_placebo_tests_have_their_size_under_the_sharp_null() -> None:
    """5%-tests of 1,000 (DID) and 400 (SDM) null outcomes, each against 199 and 99 permutations: the own statistic,
    first, is among the largest 5% in 5% of the outcomes, and its rank is uniform."""
    panel = Paper(effect=0.0, spillover="paper").draw(Streams(4, "size").tile(0, 1000)).panel
    did, y = panel.variables["did"][0], panel.variables["icr"]
    own = np.where(did.any(axis=0), did.argmax(axis=0), len(did))
    draws = np.stack([own, *(own[g.permutation(own.size)] for g in Streams(5).tile(0, 199).each("placebo"))])
    for kernel, count, outcomes, term in ((did_kernel(panel), 200, 1000, "did"),
                                          (sdm_kernel(panel, transform="lee-yu"), 100, 400, "total:did")):  # fmt: skip
        fits = kernel.assign(draws[:count]).fit(y[:outcomes])
        t = np.abs(fits.estimate / fits.se)[:, :, fits.terms.index(term)]
        assert t.shape[0] == outcomes
        pvalue = (t >= t[:, :1]).mean(axis=1)
        assert abs(np.mean(pvalue <= 0.05) - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / outcomes)
        assert abs(pvalue.mean() - 0.5) < 3.5 * np.sqrt(1 / 12 / outcomes) + 0.5 / count


# Permutation tests by kernels for redrawn treatments, against a fit of every draw.


DID = TwoWayDID(errors=("cluster:unit",))


SCHEMES = ["space", "strata:province", "blocks", "blocks:knn:3", "mixed", "mixed:restricted"]


@covered(statistic=["raw", "studentised"], scheme=SCHEMES)
def test_the_kernel_agrees_with_fitting_every_draw(scheme: str, statistic: Any) -> None:
    """Without the kernel its linearity is found out, its interval the same."""
    panel = small_panel(30, 6, seed=2, replications=3, model="none", sigma=3.0)
    settings: dict[str, Any] = {"scheme": scheme, "draws": 99, "statistic": statistic}
    fast = PermutationTest.of(DID, **settings)(panel)
    slow = PermutationTest.of(DID, fit_every_draw=True, **settings)(panel)
    names = ("pvalue", "lower", "upper") if statistic == "raw" else ("pvalue",)
    for name in names:
        one, other = getattr(fast, name)[:, 0, 0], getattr(slow, name)[:, 0, 0]
        np.testing.assert_allclose(one, other, rtol=1e-9, err_msg=name)


@covered(statistic=["raw", "studentised"], kind=["switching", "dose"])
def test_the_kernel_takes_any_treatment(kind: str, statistic: Any) -> None:
    rng = np.random.default_rng(3)
    base = small_panel(24, 6, seed=2, replications=2, model="none", sigma=3.0)
    did = rng.standard_normal((1, 6, 24)) if kind == "dose" else (rng.random((1, 6, 24)) < 0.3).astype(float)
    panel = base.with_variables({"did": did})
    fast = PermutationTest.of(DID, draws=99, statistic=statistic)(panel)
    slow = PermutationTest.of(DID, draws=99, statistic=statistic, fit_every_draw=True)(panel)
    for name in ("pvalue", "lower", "upper") if statistic == "raw" else ("pvalue",):
        np.testing.assert_allclose(getattr(fast, name)[:, 0, 0], getattr(slow, name)[:, 0, 0], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_the_kernel_of_the_durbin_model_agrees_with_fitting_every_draw(statistic: Any) -> None:
    panel = small_panel(20, 5, seed=2, replications=2, sigma=2.0)
    sdm = SpatialPanel("sdm", "direct", errors=("hessian",))
    terms = ("did", "w_did", "direct:did", "total:did")
    fast = PermutationTest.of(sdm, draws=99, terms=terms, statistic=statistic)(panel)
    slow = PermutationTest.of(sdm, draws=99, terms=terms, statistic=statistic, fit_every_draw=True)(panel)
    np.testing.assert_array_equal(fast.pvalue[:, 0], slow.pvalue[:, 0])


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_the_kernel_of_the_durbin_model_agrees_for_rho(statistic: Any) -> None:
    """No scheme that assigns the treatment tests rho; the kernel that placebo studies share has it all the same."""
    panel = small_panel(20, 5, seed=2, replications=2, sigma=2.0)
    sdm = SpatialPanel("sdm", "direct", errors=("hessian",))
    draws = Draws.of(panel.replication(0), "space", 99, 0)
    kernel = sdm.treatment_kernel(panel, ("did", "rho"), errors=True)
    assert kernel is not None
    assert not kernel.assign(draws.treatments()).linear  # so that a test has no interval
    columns = (kernel.terms.index("did"), kernel.terms.index("rho"))
    test = KernelTest(draws, kernel.assign(draws.treatments()), panel.variables["did"], columns, statistic, False)
    for row in range(2):
        fits = sdm(draws.randomisation.assigned(panel.replication(row), draws.treatments().codes))
        rho = fits.terms.index("rho")
        values = fits.estimate[:, rho] / (fits.se[:, 0, rho] if statistic == "studentised" else 1.0)
        assert test.test(panel.variables["y"]).pvalue[row, 1] == permutation_p_values(values[:1], values[None, 1:])[0]


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_draws_whose_search_did_not_converge_count_as_extreme(statistic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers are finite: the status alone tells."""
    panel = small_panel(20, 5, seed=2, sigma=2.0)
    kernel = SpatialPanel("sdm", "direct", errors=("hessian",)).treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    draws = Draws.of(panel, "space", 99, 0)
    columns = (kernel.terms.index("did"),)
    test = KernelTest(draws, kernel.assign(draws.treatments()), panel.variables["did"], columns, statistic, False)
    y, fit = panel.variables["y"], type(test.assigned).fit
    fits = test.assigned.fit(y)
    values = fits.estimate[0, :, 0] / (fits.se[0, :, 0] if statistic == "studentised" else 1.0)
    lost = 1 + np.flatnonzero(np.abs(values[1:]) < np.abs(values[0]))[:7]
    assert len(lost) == 7

    def unsettled(self: Any, outcomes: Floats) -> Any:
        found = fit(self, outcomes)
        status = found.status.copy()
        status[:, lost] = Status.NOT_CONVERGED
        return dataclasses.replace(found, status=status)

    before = test.test(y).pvalue[0, 0]
    monkeypatch.setattr(type(test.assigned), "fit", unsettled)
    assert test.test(y).pvalue[0, 0] == pytest.approx(before + 7 / 100)


@dataclasses.dataclass(frozen=True, slots=True)
class Halved(TwoWayDID):
    """A user's variant of the DID, whose fits are no longer those of its kernel."""

    kind: ClassVar[str] = "halved"

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        found = TwoWayDID.__call__(self, panel, streams)
        return dataclasses.replace(found, estimate=found.estimate / 2 + 0.5)


def test_a_subclass_that_fits_otherwise_is_fitted_in_every_draw() -> None:
    panel = small_panel(20, 5, seed=2, model="none", sigma=4.0)
    halved = Halved(errors=("cluster:unit",))
    found, fitted, plain = (
        PermutationTest.of(inner, draws=99, fit_every_draw=slow)(panel).pvalue
        for inner, slow in ((halved, False), (halved, True), (DID, False))
    )
    assert found is not None
    assert fitted is not None
    assert plain is not None
    assert found[0, 0, 0] == fitted[0, 0, 0] != plain[0, 0, 0]
