"""Error types of the spatial models under simulation: independent, serially correlated, heavy-tailed errors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from estimators import SpatialPanel, Status
from references.small_panels import small_weights
from sim import Panel, Roles

N, T, REPLICATIONS = 60, 8, 400


KINDS = ("information", "hessian", "qmle", "cluster:unit")


@cache
def simulated(model: str, serial: float, tails: str) -> tuple[float, dict[str, float], dict[str, float]]:
    """sd of the spatial parameter over replications; mean errors by type; coverage of 95% intervals."""
    rng = np.random.default_rng(2026)
    w = small_weights(N)
    x = rng.standard_normal((1, T, N))
    e = rng.standard_normal((REPLICATIONS, T, N)) if tails == "normal" else rng.standard_t(5, (REPLICATIONS, T, N))
    for t in range(1, T):
        e[:, t] = serial * e[:, t - 1] + np.sqrt(1 - serial**2) * e[:, t]
    s = np.linalg.inv(np.eye(N) - 0.4 * w.dense)
    signal = x + (0.3 * w.lag(x) if model == "sdm" else 0.0)
    y = signal + e @ s.T if model == "sem" else (signal + e) @ s.T
    panel = Panel(w.units, tuple(range(T)), {"y": y, "x": x}, Roles("y", None, ("x",)), weights={"knn": w})
    got = SpatialPanel(model, "lee-yu", errors=KINDS)(panel)  # type: ignore[arg-type]
    assert (got.status == Status.OK).all()
    k = got.terms.index("lambda" if model == "sem" else "rho")
    errors = got.estimate[:, k] - 0.4
    se = got.se[:, :, k]
    covered = (np.abs(errors)[:, None] <= 1.96 * se).mean(axis=0)
    means = dict(zip(KINDS, se.mean(axis=0), strict=True))
    return float(errors.std(ddof=1)), means, dict(zip(KINDS, covered, strict=True))


@pytest.mark.long
@pytest.mark.parametrize("model", ["sar", "sem", "sdm"])
def test_every_error_type_is_right_for_independent_errors(model: str) -> None:
    """Naive unit clusters would give three quarters of the sd (docs: .0316 of .0426)."""
    sd, means, covered = simulated(model, 0.0, "normal")
    for error in KINDS:
        assert means[error] == pytest.approx(sd, rel=4 / np.sqrt(2 * REPLICATIONS)), error
        assert abs(covered[error] - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / REPLICATIONS), error


@pytest.mark.long
@pytest.mark.parametrize("model", ["sar", "sem", "sdm"])
def test_clustered_errors_alone_survive_serial_correlation(model: str) -> None:
    sd, means, _ = simulated(model, 0.7, "normal")
    assert means["cluster:unit"] == pytest.approx(sd, rel=4 / np.sqrt(2 * REPLICATIONS))
    assert means["information"] < 0.9 * sd


@pytest.mark.long
def test_qmle_errors_of_sigma2_survive_heavy_tails() -> None:
    sd, means, covered = simulated("sdm", 0.0, "t5")
    assert means["qmle"] == pytest.approx(sd, rel=4 / np.sqrt(2 * REPLICATIONS))
    assert abs(covered["qmle"] - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / REPLICATIONS)


@pytest.mark.long
@pytest.mark.parametrize("model", ["sem", "sdem"])
def test_information_is_right_when_time_effects_spill_over(model: str) -> None:
    """A W that is not row-stochastic and large time effects: lambda's errors would be half as large again without."""
    rng = np.random.default_rng(7)
    n, t, rows = 40, 12, 400
    w = small_weights(n, "uneven")
    x = rng.standard_normal((1, t, n))
    errors = 1.5 * rng.standard_normal((t, 1)) + rng.standard_normal((rows, t, n))
    signal = x + (0.3 * w.lag(x) if model == "sdem" else 0.0)
    y = signal + errors @ np.linalg.inv(np.eye(n) - 0.3 * w.dense).T
    panel = Panel(w.units, tuple(range(t)), {"y": y, "x": x}, Roles("y", None, ("x",)), weights={"w": w})
    got = SpatialPanel(model, errors=("information", "hessian"))(panel)
    sound = got.status == Status.OK
    assert sound.mean() > 0.98
    k = got.terms.index("lambda")
    sd, se = got.estimate[sound, k].std(ddof=1), got.se[sound][:, :, k].mean(axis=0)
    np.testing.assert_allclose(se, sd * np.sqrt((n - 1) * (t - 1) / (n * t)), rtol=4 / np.sqrt(2 * rows))
