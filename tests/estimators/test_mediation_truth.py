"""Mediated effects under simulation: coverage, size at two zero paths, confounding undone."""

from __future__ import annotations

import numpy as np
import pytest
from mediation_panels import ALL, SEED, panel_of, term
from numpy.typing import NDArray

from estimators import Status
from estimators.core.estimator import critical_values
from estimators.mediation.mediation import TERMS, Mediation
from sim import Draw, Streams, Wanted
from sim.presets import Paper

Floats = NDArray[np.float64]


def drawn(design: Paper, replications: int) -> Draw:
    streams = Streams(SEED, "mediation")
    wanted = Wanted(frozenset(design.schema.variables), ("att", "nde", "nie"))
    return design.settle(streams).draw(streams.tile(0, replications), wanted)


def assert_share(hits: NDArray[np.bool_], share: float, slack: float = 0.0) -> None:
    """Within 4 Monte Carlo errors and some slack for an interval that is only asymptotically right."""
    assert abs(hits.mean() - share) <= slack + 4 * np.sqrt(share * (1 - share) / hits.size), hits.mean()


@pytest.mark.long
@pytest.mark.parametrize("effect", [0.0157, 0.0628])
def test_every_interval_covers_the_indirect_effect(effect: float) -> None:
    draw = drawn(Paper(effect=effect), 400)
    got = Mediation(errors=ALL, draws=199)(draw.panel, Streams(SEED))
    assert (got.status == Status.OK).all()
    errors = got.estimate[:, 2:5] - np.stack([draw.truth[name] for name in ("nde", "nie", "att")], axis=1)
    assert (np.abs(errors.mean(axis=0)) <= 4 * errors.std(axis=0) / np.sqrt(400)).all()
    column, truth = TERMS.index("nie"), draw.truth["nie"]
    assert got.lower is not None
    assert got.upper is not None
    for row in range(len(ALL)):
        margin = critical_values(got.dof[:, row, column], 0.05) * got.se[:, row, column]
        lower, upper = got.estimate[:, column] - margin, got.estimate[:, column] + margin
        if row > 1:
            lower, upper = got.lower[:, row, column], got.upper[:, row, column]
        assert_share((lower <= truth) & (truth <= upper), 0.95)


@pytest.mark.long
def test_at_two_zero_paths_the_delta_method_almost_never_rejects() -> None:
    """a = b = 0: the product is not normal, and Sobel's test has next to no size (MacKinnon et al. 2002)."""
    panel = panel_of(40, 6, replications=1500)
    rng = np.random.default_rng(6)
    shape = panel.variables["y"].shape
    panel = panel.with_variables({"m": rng.standard_normal(shape), "y": rng.standard_normal(shape)})
    got = Mediation(draws=399)(panel, Streams(SEED))
    column = TERMS.index("nie")
    for row in range(2):
        t = np.abs(got.estimate[:, column] / got.se[:, row, column])
        assert (t > critical_values(got.dof[:, row, column], 0.05)).mean() < 0.01
    assert got.pvalue is not None
    assert (got.pvalue[:, 2, column] <= 0.05).mean() < 0.02
    for name in ("a", "b"):
        t = np.abs(term(got, name) / term(got, name, "delta"))
        assert_share(t > critical_values(got.dof[:, 0, column], 0.05), 0.05, 0.01)


@pytest.mark.long
@pytest.mark.parametrize("confounding", [0.05, 0.3, -0.6])
def test_the_true_correlation_undoes_confounding(confounding: float) -> None:
    """Least squares is off; the indirect effect at the world's own correlation of errors is right, and its interval."""
    draw = drawn(Paper(confounding=confounding), 1000)
    effect, error = Mediation().sensitivity(draw.panel, np.array([0.0, confounding]))
    miss = effect - draw.truth["nie"][:, None]
    mcse = miss.std(axis=0) / np.sqrt(1000)
    assert abs(miss[:, 0].mean()) > 20 * mcse[0]
    assert abs(miss[:, 1].mean()) <= 4 * mcse[1]
    assert_share(np.abs(miss[:, 1]) <= critical_values(np.full(1000, 284.0), 0.05) * error[:, 1], 0.95)


# bad input and degenerate draws
