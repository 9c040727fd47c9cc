"""Mediation with instruments of the mediator: against 2SLS, derivatives, samples with copied units, and truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from estimators import Mediation, PanelIV, Status, TwoWayDID
from estimators.core.estimator import critical_values
from estimators.mediation import weighted_paths
from references.small_panels import small_panel, uneven
from sim import BadInput, Panel, Streams
from sim.panel import part

A, B, DIRECT = 0.8, 0.6, 0.5


def panel_of(n: int = 40, t: int = 6, *, seed: int = 1, missing: int = 0, replications: int = 1) -> Panel:
    """A mediator that the treatment moves, with an error in common with the outcome, and two instruments, of which one
    is correlated with the treatment."""
    base = small_panel(n, t, seed=seed, missing=missing, model="none")
    rng = np.random.default_rng(seed + 500)
    shape = (replications, t, n)
    did, inv = base.variables["did"], base.variables["inv"]
    z1 = rng.standard_normal(shape) + 0.5 * did
    z2 = rng.standard_normal(shape)
    u = rng.standard_normal(shape)
    m = A * did + 0.9 * z1 + 0.4 * z2 + 0.3 * inv + u
    y = DIRECT * did + B * m + 0.5 * inv + 0.8 * u + rng.standard_normal(shape)
    y = y + rng.standard_normal(n) + rng.standard_normal(t)[:, None]
    variables = {**base.variables, "y": y, "m": m, "z1": z1, "z2": z2}
    return replace(base, variables=variables, roles=replace(base.roles, mediators=("m",)), weights={})


def mediation(**settings: Any) -> Mediation:
    return Mediation(**{"errors": ("delta",), "instruments": ("z1", "z2"), **settings})


PANELS = {"balanced": (0, False), "gaps": (15, False), "weights": (0, True), "weights and gaps": (15, True)}


@pytest.fixture(scope="module", params=PANELS.values(), ids=PANELS)
def panel(request: pytest.FixtureRequest) -> Panel:
    missing, by_weight = request.param
    found = panel_of(missing=missing)
    return uneven(found) if by_weight else found


@pytest.mark.parametrize("instruments", [("z1",), ("z1", "z2")])
def test_both_equations_are_those_of_the_regressions(panel: Panel, instruments: tuple[str, ...]) -> None:
    found = mediation(instruments=instruments)(panel)
    second = PanelIV(endogenous=("m",), instruments=instruments, errors=("cluster:unit",), singletons="keep")(panel)
    first = TwoWayDID(outcome="m", regressors=("did", "inv", "road", *instruments), errors=("cluster:unit",),
                      singletons="keep")(panel)  # fmt: skip
    at = {term: i for i, term in enumerate(found.terms)}
    assert found.estimate[0, at["a"]] == pytest.approx(first.estimate[0, 0], rel=1e-10)
    assert found.se[0, 0, at["a"]] == pytest.approx(first.se[0, 0, 0], rel=1e-10)
    for term, name in (("b", "m"), ("nde", "did")):
        column = second.terms.index(name)
        assert found.estimate[0, at[term]] == pytest.approx(second.estimate[0, column], rel=1e-10)
        assert found.se[0, 0, at[term]] == pytest.approx(second.se[0, 0, column], rel=1e-10)
    a, b, nde = (found.estimate[0, at[term]] for term in ("a", "b", "nde"))
    assert found.estimate[0, at["nie"]] == pytest.approx(a * b, rel=1e-12)
    assert found.estimate[0, at["total"]] == pytest.approx(nde + a * b, rel=1e-12)
    for name in ("kp_f", "effective_f", "effective_f_critical"):
        assert found.statistics[name][0] == pytest.approx(second.statistics[name][0], rel=1e-10)


def weighted(panel: Panel, weights: np.ndarray, estimator: Mediation) -> np.ndarray:
    """(a, b, nde) where units have weights (B, N)."""
    system, _ = estimator.fitted(panel)
    return weighted_paths(system.replication(0), weights, system.mask, len(estimator.instruments))


def test_delta_errors_are_derivatives_with_respect_to_units_weights(panel: Panel) -> None:
    """The clustered variance of a x b is the sum of squares of its derivatives, with one instrument; with more of them
    errors of 2SLS take the first stage as given."""
    n, step, estimator = len(panel.units), 1e-5, mediation(instruments=("z1",))
    paths = [weighted(panel, np.ones((n, n)) + sign * step * np.eye(n), estimator) for sign in (1.0, -1.0)]
    slopes = (paths[0] - paths[1]) / (2 * step)
    a, b, _ = weighted(panel, np.ones((1, n)), estimator)[0]
    _, fitted = estimator.fitted(panel)
    np.testing.assert_allclose(fitted.influence[0, :3].T, slopes, rtol=1e-5, atol=1e-8)
    roots = fitted.roots
    through = b * slopes[:, 0] * roots[0] + a * slopes[:, 1] * roots[1]
    found = estimator(panel)
    assert found.se[0, 0, found.terms.index("nie")] == pytest.approx(np.sqrt(np.square(through).sum()), rel=1e-5)
    nde = np.sqrt(np.square(slopes[:, 2]).sum()) * roots[2]
    assert found.se[0, 0, found.terms.index("nde")] == pytest.approx(nde, rel=1e-5)


def test_a_bootstrap_sample_is_the_panel_with_copied_units(panel: Panel) -> None:
    n = len(panel.units)
    picks = np.sort(np.random.default_rng(4).integers(0, n, n))
    every = np.ones(len(panel.periods), dtype=bool)
    copied = replace(
        panel, units=tuple(f"copy {i}" for i in range(n)),
        variables={name: values[:, :, picks] for name, values in panel.variables.items()},
        attributes={name: values[picks] for name, values in panel.attributes.items()},
        observed=None if panel.observed is None else panel.observed[:, :, picks],
    )  # fmt: skip
    again = mediation()(part(copied, np.ones(n, dtype=bool), every))
    counts, whole = np.bincount(picks, minlength=n)[None].astype(float), np.ones((1, n))
    np.testing.assert_allclose(weighted(panel, counts, mediation())[0], again.estimate[0, :3], rtol=1e-9)
    point = mediation()(panel).estimate[0, :3]
    np.testing.assert_allclose(weighted(panel, whole, mediation())[0], point, rtol=1e-10)


def test_the_indirect_effect_is_right_where_mediator_and_outcome_are_confounded() -> None:
    """Bias within 4 Monte Carlo errors, coverage of delta in [.93, .97] over 2,000 panels; least squares is off."""
    panel = panel_of(50, 5, replications=2000)
    truth = {"a": A, "b": B, "nie": A * B, "nde": DIRECT, "total": DIRECT + A * B}
    found, plain = mediation()(panel), Mediation(errors=("delta",))(panel)
    assert (found.status == Status.OK).all()
    for term, value in truth.items():
        k = found.terms.index(term)
        error = found.estimate[:, k] - value
        assert abs(error.mean()) <= 4 * error.std(ddof=1) / np.sqrt(len(error)), term
        half = critical_values(found.dof, 0.05)[:, 0, k] * found.se[:, 0, k]
        assert 0.93 <= (np.abs(error) <= half).mean() <= 0.97, term
    assert abs(plain.estimate[:, plain.terms.index("b")].mean() - B) > 0.2


def test_intervals_from_draws_and_from_samples_agree_with_delta() -> None:
    found = mediation(errors=("delta", "monte-carlo", "bootstrap:unit", "sobel"), draws=999)(panel_of(), Streams(3))
    k = found.terms.index("nie")
    np.testing.assert_allclose(found.se[0, 1:, k], found.se[0, 0, k], rtol=0.15)
    assert (found.lower[0, 1:3, k] < found.estimate[0, k]).all()


@pytest.mark.parametrize(("settings", "words"), [
    ({"instruments": ("m",)}, "the instrument 'm' is the endogenous regressor itself"),
    ({"instruments": ("did",)}, "the instrument 'did' is among the regressors"),
    ({"instruments": ("z9",)}, "no variable 'z9'"),
    ({"instruments": ("place",)}, "instrument 'place' is absorbed"),
    ({"instruments": ("inv",)}, "the instrument 'inv' is among the regressors"),
])  # fmt: skip
def test_careless_uses_are_one_line(settings: dict[str, Any], words: str) -> None:
    panel = panel_of()
    shape = (1, len(panel.periods), len(panel.units))
    panel = panel.with_variables({"place": np.broadcast_to(np.arange(40.0), shape)})
    with pytest.raises(BadInput) as caught:
        mediation(**settings)(panel)
    assert len(caught.value.problems) == 1
    assert words in caught.value.problems[0].what


def test_sensitivity_to_confounding_is_of_least_squares_alone(panel: Panel) -> None:
    with pytest.raises(BadInput, match="has instruments"):
        mediation().sensitivity(panel, np.zeros(1))
