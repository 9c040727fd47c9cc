"""Permutation tests by kernels for redrawn treatments, against a fit of every draw."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators import Estimates, SpatialPanel, Status, TwoWayDID
from estimators.core.inversion import p_values
from estimators.placebo.permutation import Draws, KernelTest, PermutationTest
from references.small_panels import small_panel
from sim import Panel, Streams

Floats = NDArray[np.float64]
DID = TwoWayDID(errors=("cluster:unit",))


SCHEMES = ["space", "strata:province", "blocks", "blocks:knn:3", "mixed", "mixed:restricted"]


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
@pytest.mark.parametrize("scheme", SCHEMES)
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


@pytest.mark.parametrize("kind", ["switching", "dose"])
@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_the_kernel_takes_any_treatment(kind: str, statistic: Any) -> None:
    rng = np.random.default_rng(3)
    base = small_panel(24, 6, seed=2, replications=2, model="none", sigma=3.0)
    did = rng.standard_normal((1, 6, 24)) if kind == "dose" else (rng.random((1, 6, 24)) < 0.3).astype(float)
    panel = base.with_variables({"did": did})
    fast = PermutationTest.of(DID, draws=99, statistic=statistic)(panel)
    slow = PermutationTest.of(DID, draws=99, statistic=statistic, fit_every_draw=True)(panel)
    for name in ("pvalue", "lower", "upper") if statistic == "raw" else ("pvalue",):
        np.testing.assert_allclose(getattr(fast, name)[:, 0, 0], getattr(slow, name)[:, 0, 0], rtol=1e-9, err_msg=name)


def test_unbalanced_panels_and_clusters_of_units() -> None:
    panel = small_panel(30, 6, seed=2, replications=2, model="none", missing=14)
    for error in ("cluster:unit", "cluster:province"):
        did = TwoWayDID(errors=(error,))
        fast = PermutationTest.of(did, draws=99, statistic="studentised")(panel)
        slow = PermutationTest.of(did, draws=99, statistic="studentised", fit_every_draw=True)(panel)
        assert fast.pvalue is not None
        assert slow.pvalue is not None
        np.testing.assert_array_equal(fast.pvalue[:, 0], slow.pvalue[:, 0])


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_the_kernel_of_the_durbin_model_agrees_with_fitting_every_draw(statistic: Any) -> None:
    panel = small_panel(20, 5, seed=2, replications=2, sigma=2.0)
    sdm = SpatialPanel("sdm", "direct", errors=("hessian",))
    terms = ("did", "w_did", "direct:did", "total:did")
    fast = PermutationTest.of(sdm, draws=99, terms=terms, statistic=statistic)(panel)
    slow = PermutationTest.of(sdm, draws=99, terms=terms, statistic=statistic, fit_every_draw=True)(panel)
    assert fast.pvalue is not None
    assert slow.pvalue is not None
    np.testing.assert_array_equal(fast.pvalue[:, 0], slow.pvalue[:, 0])


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_the_kernel_of_the_durbin_model_agrees_for_rho(statistic: Any) -> None:
    """No scheme that assigns the treatment tests rho; the kernel that placebo studies share has it all the same."""
    panel = small_panel(20, 5, seed=2, replications=2, sigma=2.0)
    sdm = SpatialPanel("sdm", "direct", errors=("hessian",))
    draws = Draws.of(panel.replication(0), "space", 99, 0)
    kernel = sdm.treatment_kernel(panel, ("did", "rho"), errors=True)
    assert kernel is not None
    test = KernelTest.of(kernel, draws, panel.variables["did"], ("did", "rho"), statistic, interval=True)
    for row in range(2):
        fits = sdm(draws.randomisation.assigned(panel.replication(row), draws.with_real))
        rho = fits.terms.index("rho")
        values = fits.estimate[:, rho] / (fits.se[:, 0, rho] if statistic == "studentised" else 1.0)
        assert test.test(panel.variables["y"]).pvalue[row, 1] == p_values(values[:1], values[None, 1:])[0]


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_draws_whose_search_did_not_converge_count_as_extreme(statistic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers are finite: the status alone tells."""
    panel = small_panel(20, 5, seed=2, sigma=2.0)
    kernel = SpatialPanel("sdm", "direct", errors=("hessian",)).treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    draws = Draws.of(panel, "space", 99, 0)
    test = KernelTest.of(kernel, draws, panel.variables["did"], ("did",), statistic, interval=False)
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
