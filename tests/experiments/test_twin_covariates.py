"""Normal covariates of twins have the law of the covariate whose moments they take; prosperity is what is named."""

from __future__ import annotations

from typing import Any

import made_cities
import numpy as np
import pytest

from experiments.settings import build
from experiments.twins.worlds import normal_covariate
from sim import Streams, Wanted
from sim.panel_sidecars import panel_text
from sim.world.panel_design import PanelDesign


def drawn(periods: int, units: int, *, seed: int, **x: Any) -> np.ndarray:
    """A covariate alone, (1, T, N)."""
    settings = {
        "units": units, "periods": periods, "covariates": [{"name": "x", **x}], "adoption": {"kind": "never"},
        "weights": {"kind": "none"},
    }  # fmt: skip
    streams = Streams(seed)
    wanted = Wanted(frozenset({"x"}), ())
    world = build(PanelDesign, settings, "[design]").settle(streams)
    return np.asarray(world.draw(streams.tile(0, 1), wanted).panel.variables["x"])


@pytest.mark.parametrize("periods", [5, 9, 18])
@pytest.mark.parametrize(("serial", "between"), [(0.0, 0.0), (0.7, 0.0), (0.7, 0.6), (0.5, 0.4), (-0.4, 0.5)])
def test_a_covariate_of_a_known_law_gives_back_its_dials(periods: int, serial: float, between: float) -> None:
    """Up to 3,000 units' noise: in 5 periods an AR(1) of .7 shows .2 within units, and half its variance between."""
    x = drawn(periods, 3000, seed=periods, mean=-2.0, sd=1.5, serial=serial, between=between)
    found = normal_covariate(x)
    assert found["mean"] == pytest.approx(-2.0, abs=0.12)
    assert found["sd"] == pytest.approx(1.5, abs=0.06)
    assert found["serial"] == pytest.approx(serial, abs=0.03)
    assert found["between"] == pytest.approx(between, abs=0.05)


def test_a_twin_shows_the_persistence_and_the_share_of_units_of_the_real_covariate() -> None:
    """As a reader computes them: correlation of deviations from units' means, and variance of those means."""

    def seen(x: np.ndarray) -> tuple[float, float]:
        moved = x[0] - x[0].mean(axis=0)
        return (
            float(np.corrcoef(moved[1:].ravel(), moved[:-1].ravel())[0, 1]),
            float(x[0].mean(axis=0).var() / x.var()),
        )

    real = drawn(8, 3000, seed=1, serial=0.85, between=0.2)
    twin = drawn(8, 3000, seed=2, **normal_covariate(real))
    np.testing.assert_allclose(seen(twin), seen(real), atol=0.03)


def test_a_covariate_that_does_not_change_is_all_units() -> None:
    x = np.broadcast_to(np.arange(30.0), (1, 6, 30))
    assert normal_covariate(x) == {"mean": 14.5, "sd": pytest.approx(np.arange(30).std()), "between": 1.0}


@pytest.mark.parametrize("name", ["road", "gdp"])
def test_a_kept_variable_is_the_prosperity_of_its_units(name: str) -> None:
    """The unit's mean over periods in standard deviations, or an attribute in them; adoption follows it."""
    panel = made_cities.panel()
    fact = np.random.default_rng(4).lognormal(size=len(panel.units))
    held = type(panel)(panel.units, panel.periods, panel.variables, attributes={"gdp": fact})
    design = build(
        PanelDesign,
        {
            "periods": made_cities.PERIODS, "weights": {"kind": "none"}, "treatment": "d", "redraw": ["adoption"],
            "geography": {"kind": "kept", "panel": panel_text(held), "prosperity": name},
            "adoption": {"kind": "calendar", "dates": [[2005, 9]], "on_prosperity": 3.0},
        },
        "[design]",
    )  # fmt: skip
    streams = Streams(5)
    world: Any = design.settle(streams)
    units = range(len(panel.units))
    values = [float(fact[i]) for i in units]
    if name == "road":
        values = [sum(float(panel.variables["road"][0, t, i]) for t in range(made_cities.PERIODS)) for i in units]
    mean = sum(values) / len(values)
    sd = np.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    expected = [(value - mean) / sd for value in values]
    np.testing.assert_allclose(world.settled.ground.places.prosperity, expected, atol=1e-12)
    did = world.draw(streams.tile(0, 300), Wanted(frozenset({"d"}), ())).panel.variables["d"]
    likely = did.any(axis=1).mean(axis=0)
    assert np.corrcoef(likely, expected)[0, 1] > 0.7
