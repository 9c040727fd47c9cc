"""Every model on its own world: 2,000 replications with a seed fixed beforehand, within 4 Monte Carlo errors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from agreement import assert_batch_is_its_panels

from estimators import SpatialPanel, Status, TwoWayDID
from references.simulation import Outcome, simulate
from sim import Streams, Wanted
from sim.filters import SpatialFilter
from sim.presets import Paper

REPLICATIONS, SEED = 2000, 2026
UNITS, PERIODS = 285, 18
WITHIN = (UNITS - 1) * (PERIODS - 1)
WORLDS = {"sar": "lag", "sem": "error", "sdm": "paper"}
REGRESSORS = {"sar": 5, "sem": 5, "sdm": 10}
DIRECT_COVERAGE_OF_RHO = {None: 0.91, 0.4: 0.88}  # at table 7's .149 and at .4


@cache
def spatial(model: str, rho: float | None = None) -> dict[str, Outcome]:
    design = Paper(spillover=WORLDS[model], rho=rho)  # type: ignore[arg-type]
    return simulate(
        design,
        {name: SpatialPanel(model=model, transform=name) for name in ("direct", "lee-yu")},  # type: ignore[arg-type]
        REPLICATIONS,
        SEED,
    )


def assert_is_right(outcome: Outcome, term: str, error: str | None = None) -> None:
    """Bias of at most a quarter of the estimates' sd and coverage within .93 and .97."""
    assert abs(outcome.bias_in_sd(term)) <= 0.25, term
    assert 0.93 <= outcome.coverage(term, error) <= 0.97, (term, error)


@pytest.mark.parametrize("spillover", ["none", "lag", "error", "paper"])
def test_without_noise_twoway_did_is_the_contrast_of_effects(spillover: str) -> None:
    design = Paper(spillover=spillover, calendar="single", controls="none", sigma=0.0)  # type: ignore[arg-type]
    streams = Streams(SEED, "identity")
    draw = design.settle(streams).draw(streams, Wanted(frozenset({"icr", "did"}), ("contrast",)))
    weights, coefficients = draw.panel.weights["knn-6"], design.coefficients
    d = draw.panel.variables["did"][0]
    effect = SpatialFilter.of(weights, coefficients.rho).apply(
        coefficients.did * d + coefficients.w_did * weights.lag(d)
    )
    treated = d[-1] == 1
    contrast = effect[-1, treated].mean() - effect[-1, ~treated].mean()
    got = TwoWayDID(errors=("iid",))(draw.panel).estimate[0, 0]
    assert got == pytest.approx(contrast, abs=1e-10)
    assert draw.truth["contrast"][0] == pytest.approx(contrast, abs=1e-12)


@pytest.mark.long
def test_did_is_right_without_spillovers() -> None:
    outcome = simulate(Paper(), {"did": TwoWayDID()}, REPLICATIONS, SEED)["did"]
    assert (outcome.estimates.status == Status.OK).all()
    for term in ("did", "inv", "road", "book", "tech"):
        for error in outcome.estimates.errors:
            assert_is_right(outcome, term, error)


@pytest.mark.long
def test_clustered_errors_alone_survive_serial_correlation() -> None:
    outcome = simulate(Paper(serial=0.7), {"did": TwoWayDID()}, REPLICATIONS, SEED)["did"]
    assert_is_right(outcome, "did", "cluster:unit")
    assert outcome.coverage("did", "iid") < 0.85
    assert outcome.coverage("did", "hc1") < 0.85


@pytest.mark.long
@pytest.mark.parametrize("model", WORLDS)
@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
def test_policy_coefficient_is_right_under_both_transforms(model: str, transform: str) -> None:
    outcome = spatial(model)[transform]
    assert (outcome.estimates.status == Status.OK).all()
    for term in ("did", "direct:did"):
        assert_is_right(outcome, term)


@pytest.mark.long
@pytest.mark.parametrize(("model", "rho"), [("sar", None), ("sar", 0.4), ("sem", None), ("sdm", None), ("sdm", 0.4)])
def test_lee_yu_is_right_on_spatial_parameters_and_spillovers(model: str, rho: float | None) -> None:
    outcome = spatial(model, rho)["lee-yu"]
    terms = {"sar": ("rho", "indirect:did"), "sem": ("lambda",), "sdm": ("rho", "w_did", "indirect:did")}[model]
    for term in (*terms, "total:did", "sigma2"):
        assert_is_right(outcome, term)


@pytest.mark.long
@pytest.mark.parametrize("rho", [None, 0.4])
def test_direct_misses_rho_and_sigma2(rho: float | None) -> None:
    outcome = spatial("sdm", rho)["direct"]
    expected = DIRECT_COVERAGE_OF_RHO[rho]
    monte_carlo_error = np.sqrt(expected * (1 - expected) / REPLICATIONS)
    coverage = outcome.coverage("rho")
    assert abs(coverage - expected) <= 4 * monte_carlo_error
    assert coverage < 0.93
    assert outcome.bias_in_sd("rho") < -0.25
    assert outcome.coverage("sigma2") < 0.5


@pytest.mark.long
@pytest.mark.parametrize("model", WORLDS)
@pytest.mark.parametrize("transform", ["direct", "lee-yu"])
def test_mean_sigma2_is_the_share_of_free_observations(model: str, transform: str) -> None:
    sigma2 = spatial(model)[transform].values("sigma2") / 0.029**2
    nobs = UNITS * PERIODS if transform == "direct" else WITHIN
    expected = (WITHIN - REGRESSORS[model] - 1) / nobs
    assert abs(sigma2.mean() - expected) <= 4 * sigma2.std(ddof=1) / np.sqrt(REPLICATIONS)


@pytest.mark.parametrize("spillover", ["none", "paper"])
def test_redrawn_calendar_and_controls_give_the_fits_of_each_replication(spillover: str) -> None:
    """The block path for redrawn regressors equals fitting every replication as a panel of its own."""
    design, streams = Paper(spillover=spillover, redraw=("calendar", "controls")), Streams(SEED, "redraw")  # type: ignore[arg-type]
    draw = design.settle(streams).draw(streams.tile(0, 6), Wanted(frozenset(design.schema.variables), ()))
    models = [SpatialPanel(model, transform) for model in WORLDS for transform in ("direct", "lee-yu")]  # type: ignore[arg-type]
    for estimator in models if spillover == "paper" else [TwoWayDID()]:
        assert_batch_is_its_panels(estimator, draw.panel, rtol=1e-10, atol=1e-12)
