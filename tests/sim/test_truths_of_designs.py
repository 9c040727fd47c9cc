"""Truths of designs that are no presets: outcomes are rebuilt from their shocks, and effects taken from them."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from refusals import refuses

from estimators.linear.random_effects import ErrorComponents
from references.small_panels import small_panel
from sim import Design, Draw, Panel, Streams, Wanted
from sim.design import Estimand
from sim.real_panels import Observed, Placebo
from sim.world.draw import DrawnAdoption
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random, Switching
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.mediators import Linear
from sim.world.parts.spillover import Neighbours

TILE = Streams(11, "truths", 5, 9)
ONE, TWO, NONE = np.zeros((3, 3, 4))  # assignments of three periods and four units
ONE[1:, 0], TWO[1:, 0], TWO[2:, 1] = 1.0, 1.0, 1.0
UNKNOWN = ("rho", "lambda", "dependence", "nde", "nie", "contrast", "direct(did)", "total(did)", "indirect(x)",
           "beta(w_did)", "beta(nothing)")  # fmt: skip
MEANS = ("att", "att_event", "att_cohort", "att_calendar")


def drawn(design: Design, names: tuple[str, ...]) -> Draw:
    return design.settle(TILE).draw(TILE, Wanted(frozenset(design.schema.variables), names))


def test_error_components_have_an_effect_of_one() -> None:
    design = ErrorComponents(units=12, periods=5, sigma_u=0.7, sigma_e=0.4)
    draw = drawn(design, ("att", "beta(did)", "beta(x)", *UNKNOWN))
    own, errors = TILE.normals("unit effects", 1, 12), TILE.normals("errors", 5, 12)
    for row in range(4):
        y, did, x = (draw.panel.variables[name][min(row, len(draw.panel.variables[name]) - 1)]
                     for name in ("y", "did", "x"))  # fmt: skip
        outcomes = {treated: treated + 0.5 * x + 0.7 * own[row] + 0.4 * errors[row] for treated in (0.0, 1.0)}
        np.testing.assert_allclose(y, np.where(did > 0, outcomes[1.0], outcomes[0.0]), rtol=0, atol=1e-12)
        gain = y - outcomes[0.0]
        assert draw.truth["att"][row] == pytest.approx(gain[did > 0].mean())
    np.testing.assert_array_equal(draw.truth["beta(did)"], 1.0)
    np.testing.assert_array_equal(draw.truth["beta(x)"], 0.5)
    assert all(np.isnan(draw.truth[name]).all() for name in UNKNOWN)


def test_nothing_is_known_of_an_observed_panel() -> None:
    draw = Observed(small_panel()).draw(TILE.tile(0, 1), Wanted(frozenset(), ("att", "beta(did)", *UNKNOWN)))
    assert all(values.shape == (1,) and np.isnan(values).all() for values in draw.truth.values())


@pytest.mark.parametrize(("size", "rho", "w_effect", "b", "zeros"), [
    (0.7, 0.0, 0.0, 0.0, "slope(x) unit_slope(x) ddd(z,0,1) unit_ddd(z,0,1)"),
    (0.7, 0.3, -0.21, 0.0, "indirect(did) spill(treated) spill(untreated) spill(never) slope(x) ddd(z,0,1)"),
    (0.7, 0.3, -0.7, 0.0, "total(did) long_total(did)"),
    (-0.3, 0.3, 0.0, 3.0, "att beta(did) direct(did) indirect(did) spill(untreated)"),
])  # fmt: skip
def test_what_cancels_is_exactly_zero(size: float, rho: float, w_effect: float, b: float, zeros: str) -> None:
    """One effect for all, rho times it as the neighbours' loss, a mediator that takes it back: 1e-17 were left."""
    design = PanelDesign(
        units=49, periods=8, redraw=("adoption",), effect=Effect(size=size), spillover=Neighbours(rho, w_effect),
        covariates=(Normal("x"), Normal("z", distribution="binary", between=1.0)), mediators=(Linear("m", 0.1, b),),
    )  # fmt: skip
    truth = drawn(design, (*zeros.split(), "direct(did)", "nie")).truth
    for name in zeros.split():
        np.testing.assert_array_equal(truth[name], 0.0, err_msg=name)
    assert (truth["direct(did)"] != 0).all() or b
    assert (truth["nie"] != 0).all() == bool(b)


def with_mediator(panel: Panel) -> Panel:
    values = np.random.default_rng(1).standard_normal((1, len(panel.periods), len(panel.units)))
    return dataclasses.replace(panel, roles=dataclasses.replace(panel.roles, mediators=("m",))).with_variables(
        {"m": values}
    )


OF_POLICY = {*MEANS, "contrast", "event(0)", "event(5)", "att(2003,2005)", "cohort(2003)", "calendar(2004)",
             "beta(did)", "beta(w_did)", "direct(did)", "indirect(did)", "total(did)", "nde", "nie"}  # fmt: skip
OF_W = {"rho", "lambda", "dependence", "indirect(did)", "indirect(inv)", "indirect(m)", "beta(w_did)", "beta(w_inv)",
        "beta(w_m)"}  # fmt: skip
OF_MEDIATOR = {"nie", "beta(m)", "beta(w_m)", "direct(m)", "indirect(m)", "total(m)"}
NEVER = {"beta(inv)", "total(inv)", "sigma2", "event(6)", "event(-1)", "att(2003,2011)", "cohort(1999)",
         "rho(did)"}  # fmt: skip
ZEROS = {
    "space": OF_POLICY, "strata:province": OF_POLICY, "blocks": OF_POLICY, "blocks:5": OF_POLICY, "mixed": OF_POLICY,
    "mixed:restricted": OF_POLICY, "time": OF_POLICY, "relabel": OF_W, "mediator": OF_MEDIATOR,
}  # fmt: skip


@pytest.mark.parametrize("scheme", ZEROS)
def test_placebos_keep_every_outcome_whatever_is_assigned(scheme: str) -> None:
    """Y(d) is what was observed for every assignment d, so that effects of what is assigned, and no others, are 0."""
    panel = with_mediator(small_panel(30, 6, seed=4))
    assert panel.periods[0] <= 2003 <= panel.periods[-1]
    names = tuple(sorted(OF_POLICY | OF_W | OF_MEDIATOR | NEVER))
    draw = drawn(Placebo.of(panel, scheme), names)
    zero = {name for name, values in draw.truth.items() if (values == 0.0).all()}
    unknown = {name for name, values in draw.truth.items() if np.isnan(values).all()}
    assert (zero, unknown) == (ZEROS[scheme], set(names) - zero)
    moved = {"relabel": set(panel.variables), "mediator": {"m"}}.get(scheme, {"did"})
    for name, values in draw.panel.variables.items():
        for row in range(len(values)):
            if name in moved and scheme not in {"mixed", "mixed:restricted", "time"}:  # the same paths at other units
                assert sorted(map(tuple, values[row].T)) == sorted(map(tuple, panel.variables[name][0].T))
        assert (name in moved) == bool((values != panel.variables[name]).any())


# Names of estimands, whatever the variables are called.


@pytest.mark.parametrize("name", ["did", "GDP (yuan)", "人均GDP(元)", "a, b", "f(x", "x)", "two\nlines", " blank "])
@pytest.mark.parametrize("kind", ["beta", "direct", "indirect", "total"])
def test_a_variable_of_any_name_is_one_argument(kind: str, name: str) -> None:
    assert Estimand.parse(f"{kind}({name})") == Estimand(kind, (name,))


def test_other_kinds_take_lists_and_what_is_none() -> None:
    parsed = {"att": (), "att(2010, 2012)": ("2010", "2012"), "event(-3)": ("-3",)}
    assert {name: Estimand.parse(name).arguments for name in parsed} == parsed
    for name in ("", "att(", "att)", "(did)", "Att", "beta(did) + 1"):
        with pytest.raises(ValueError, match="not the name of an estimand"):
            Estimand.parse(name)


def test_a_path_is_the_effect_by_time_since_adoption() -> None:
    """Outcomes with and without the effect, period by period; the last share goes on."""
    names = ("att", "event(0)", "event(1)", "event(2)", "event(5)", "beta(did)")
    design = PanelDesign(units=12, periods=10, adoption=Random(treated=4, last_periods=6))
    path = drawn(replace(design, effect=Effect(size=2.0, path=(0.5, -1.0, 3.0))), names)
    none, d = drawn(design, ()), path.panel.variables["did"][0]
    gain = (path.panel.variables["y"] - none.panel.variables["y"])[0]
    expected = 2.0 * np.array([0.5, -1.0, 3.0, 3.0, 3.0, 3.0])
    np.testing.assert_allclose(gain[4:, d.any(axis=0)], np.repeat(expected[:, None], 4, axis=1), atol=1e-12)
    assert (gain[d == 0] == 0).all()
    told = [path.truth[name][0] for name in names[:-1]]
    np.testing.assert_allclose(told, [expected.mean(), 1.0, -2.0, 6.0, 6.0])
    assert np.isnan(path.truth["beta(did)"]).all()


@pytest.mark.parametrize(("adoption", "effect", "said"), [
    (Random(), Effect(size=1.0, path=(1.0,), shape="growing"), "a path and shape"),
    (Random(), Effect(size=1.0, path=(1.0, float("nan"))), "finite numbers"),
    (Switching(), Effect(size=1.0, path=(1.0, 2.0)), "path"),
])  # fmt: skip
def test_a_path_that_cannot_be_is_refused(adoption: Any, effect: Effect, said: str) -> None:
    refuses(said, lambda: drawn(PanelDesign(units=12, periods=10, adoption=adoption, effect=effect), ("att",)))


def test_a_contrast_is_that_of_its_own_replication() -> None:
    """One date beside replications with two and with none, which had taken the truth from it."""
    gain = np.arange(12.0).reshape(1, 3, 4) ** 2
    alone = gain[0, 1:].mean(axis=0) - gain[0, 0]
    expected = [alone[0] - alone[1:].mean(), np.nan, np.nan]
    np.testing.assert_allclose(DrawnAdoption(np.stack([ONE, TWO, NONE]), np.arange(3.0)).contrast(gain), expected)
