"""Two-way DID: a published table to its printed digits, linearmodels and pyfixest on real and made-up cities."""

from __future__ import annotations

from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from long_tables import panel_from_frame

from estimators import TwoWayDID
from experiments.references import linearmodels as linearmodels_reference
from references import pyfixest_reference
from sim import Panel, Roles

PUBLISHED = {  # coefficient and standard error clustered by city, all dummies counted
    "did": (0.017066, 0.028785),
    "ln_pgdp": (-0.437537, 0.117795),
    "ln_pop_density": (-0.196178, 0.140160),
    "industrial_advanced": (-0.081052, 0.033505),
    "ln_road_area": (0.068689, 0.035767),
    "financial_development": (0.031561, 0.013687),
}


def low_carbon(folder: Path) -> Panel:
    frame = pd.read_csv(folder / "lowcarbon_did.csv")
    controls = tuple(PUBLISHED)[1:]
    return Panel.from_frame(frame, unit="city_name", period="year", roles=Roles("ln_carbon_intensity", "did", controls))


def test_low_carbon_pilots_as_published(shared_data: Path) -> None:
    panel = low_carbon(shared_data)
    assert (panel.nobs, len(panel.units), panel.balanced) == (3623, 215, False)
    fit = TwoWayDID(errors=("cluster:unit",), cluster_k="all")(panel)
    np.testing.assert_array_equal(np.round(fit.estimate[0], 6), [b for b, _ in PUBLISHED.values()])
    np.testing.assert_array_equal(np.round(fit.se[0, 0], 6), [se for _, se in PUBLISHED.values()])
    assert round(fit.statistics["r2"][0], 4) == 0.9712


def test_city_panel_equals_linearmodels(shared_data: Path) -> None:
    frame = pd.read_csv(shared_data / "city_panel.csv")
    frame["ln_co2"] = np.log(frame["co2_t_edgar"])
    frame["ln_gdp"] = np.log(frame["gdp_100m"])
    roles = Roles("ln_co2", "lowcarbon_did", ("ln_gdp", "fiscal_exp_gdp", "deposit_gdp", "sec_ter_ratio"))
    panel = Panel.from_frame(frame, unit="city_code", period="year", roles=roles)
    ours, theirs = TwoWayDID(cluster_k="all")(panel), linearmodels_reference.least_squares(panel)
    np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-10, atol=1e-12)
    for error, se in theirs.se.items():
        np.testing.assert_allclose(theirs.our_se(ours, error), se, rtol=1e-8, err_msg=error)


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_the_committed_panel_equals_linearmodels_and_pyfixest(gaps: bool) -> None:
    table = made_cities.frame_with_gaps().dropna() if gaps else made_cities.frame()
    panel = panel_from_frame(table, unit="city", period="year", roles=Roles("y", "d", made_cities.CONTROLS))
    assert (panel.nobs, panel.balanced) == ((297, False) if gaps else (324, True))
    ours = TwoWayDID(cluster_k="all")(panel)
    for theirs in (linearmodels_reference.least_squares(panel), pyfixest_reference.twoway_did(panel, cluster_k="all")):
        np.testing.assert_allclose(theirs.ours(ours), theirs.estimate, rtol=1e-8)
        for error, se in theirs.se.items():
            np.testing.assert_allclose(theirs.our_se(ours, error), se, rtol=1e-8, err_msg=error)
