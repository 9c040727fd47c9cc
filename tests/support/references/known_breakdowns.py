"""Departures at which two-way DID breaks down where that is known by formula."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from experiments.study import Study

UNITS, PERIODS, PRE = 200, 8, 4
TREATED = UNITS // 2


def study(seed: int, effect: float = 0.0) -> Study:
    """DID with iid errors on a panel whose adopters, half of the units, are drawn anew in every replication."""
    return Study.from_settings({
        "name": "known", "seed": seed, "worlds": 1, "replications": 512,
        "design": {"kind": "panel", "units": UNITS, "periods": PERIODS, "effect": {"size": effect},
                   "levels": {"unit_sd": 0.0, "period_sd": 0.0}, "redraw": ["adoption"]},
        "estimators": [{"kind": "did", "errors": ["iid"]}],
    })  # fmt: skip


def size_under_serial_correlation(serial: float) -> float:
    """How often a 5% test with iid errors rejects a true null under AR(1) errors, for many units.

    The t statistic is normal with variance Var(tau) / E(se^2): with Q the matrix that demeans over periods and S the
    errors' covariances, Var(tau) = (1/N_T + 1/N_C) c'S c, c = (-1/m, .., 1/r), and E(RSS) = (N - 1) tr(Q S) less what
    the treatment takes.
    """
    lags = np.abs(np.subtract.outer(np.arange(PERIODS), np.arange(PERIODS)))
    covariances = serial**lags if serial else np.eye(PERIODS)
    demean = np.eye(PERIODS) - 1.0 / PERIODS
    contrast = np.where(np.arange(PERIODS) < PRE, -1.0 / PRE, 1.0 / (PERIODS - PRE))
    groups = 1.0 / TREATED + 1.0 / (UNITS - TREATED)
    variance = groups * contrast @ covariances @ contrast
    regressor = 1.0 / (groups * contrast @ contrast)  # its sum of squares once demeaned
    residual = (UNITS - 1) * np.trace(demean @ covariances) - variance * regressor
    freedom = (UNITS - 1) * (PERIODS - 1) - 1
    return float(2 * norm.sf(norm.isf(0.025) * np.sqrt(residual / freedom / regressor / variance)))


def serial_of_size(size: float) -> float:
    """The autocorrelation at which the size is `size`."""
    return float(brentq(lambda serial: size_under_serial_correlation(serial) - size, 0.0, 0.9))


def bias_under_trend_gap(trend_gap: float) -> float:
    """Treated units grow by `trend_gap` a period more: the gap between the middles of the times before and after."""
    return trend_gap * PERIODS / 2
