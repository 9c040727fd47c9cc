"""Observations that are alone in a level of an effect: dropped as reghdfe and pyfixest do, counted, kept on request."""

from __future__ import annotations

import warnings
from dataclasses import replace

import made_cities
import numpy as np
import pyfixest
import pytest

from estimators import TwoWayDID
from estimators.core.tile import without_singletons
from experiments.references.reference import long_frame
from references.small_panels import small_panel
from sim import BadInput, Panel


def with_loners() -> Panel:
    """A province of one unit, a unit seen once, and a period in which one unit is seen."""
    panel = small_panel(30, 6, seed=4)
    province = panel.attributes["province"].astype("<U20")
    province[3] = "alone"
    observed = np.ones((1, 6, 30), dtype=bool)
    observed[0, 1:, 7] = False
    observed[0, 5, 1:] = False
    return replace(panel, attributes={**panel.attributes, "province": province}, observed=observed)


@pytest.mark.parametrize("effects", [("unit", "period"), ("unit", "province-by-period")])
def test_they_are_dropped_as_pyfixest_does(effects: tuple[str, ...]) -> None:
    panel = with_loners()
    ours = TwoWayDID(regressors=("did", "inv"), errors=("iid", "cluster:unit"), effects=effects)(panel)
    frame = long_frame(panel, ("y", "did", "inv"))
    frame["cell"] = frame["province"].astype(str) + ":" + frame["period"].astype(str)
    absorbed = "unit + period" if "period" in effects else "unit + cell"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas has deprecated
        theirs = pyfixest.feols(
            f"y ~ did + inv | {absorbed}", frame, vcov="iid", fixef_rm="singleton",
            ssc=pyfixest.ssc(k_adj=True, k_fixef="full"),
            demeaner=pyfixest.MapDemeaner(fixef_tol=1e-13, fixef_maxiter=100_000),
        )  # fmt: skip
    assert ours.statistics["nobs"][0] == theirs._N < panel.nobs
    np.testing.assert_allclose(ours.estimate[0], theirs.coef().to_numpy(), rtol=1e-8)
    if "period" in effects:  # beside cells of provinces its k counts effects that are redundant, ours their rank
        np.testing.assert_allclose(ours.se[0, 0], theirs.se().to_numpy(), rtol=1e-8)


def test_slopes_are_those_of_all_observations_and_errors_are_not() -> None:
    panel = with_loners()
    dropped, kept = (TwoWayDID(regressors=("did", "inv"), singletons=how)(panel) for how in ("drop", "keep"))
    np.testing.assert_allclose(dropped.estimate, kept.estimate, rtol=1e-10)
    assert kept.statistics["nobs"][0] == panel.nobs
    assert dropped.statistics["nobs"][0] == panel.nobs - 2  # a unit seen once, and a period with one unit
    assert (dropped.se != kept.se).any()


def test_taking_one_out_may_leave_another_alone() -> None:
    panel = small_panel(12, 4, seed=1)
    observed = np.zeros((1, 4, 12), dtype=bool)
    for unit in range(3):
        observed[0, unit : unit + 2, unit] = True  # a chain: each unit shares one period with the next
    chain = replace(panel, observed=observed)
    assert without_singletons(chain, ("unit", "period")) is chain, "nothing is left, so the panel stays for a refusal"
    with pytest.raises(BadInput, match="did"):
        TwoWayDID(regressors=("did",))(chain)


def test_a_panel_without_them_is_itself() -> None:
    panel = made_cities.panel()
    assert without_singletons(panel, ("unit", "period")) is panel


def test_settings_are_checked() -> None:
    with pytest.raises(BadInput, match="singletons = 'both'; allowed: drop, keep"):
        TwoWayDID(singletons="both")  # type: ignore[arg-type]
