"""Spillovers: the bias of a DID on twins with those that the spatial Durbin model fits (Butts 2023, prop. 2.1)."""

from __future__ import annotations

from dataclasses import replace

from estimators.linear.did import TwoWayDID
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.running.runner import run
from experiments.study.study import Study
from experiments.trust.claim import EFFECT
from experiments.trust.studies import BLOCK, Simulated
from experiments.trust.threats import TOWARDS_ZERO, Case, Threat
from sim.designs.observed import Observed
from sim.designs.parts.spillover.neighbours import Neighbours
from sim.errors import bad

NAME = "spillovers"
REPLICATIONS = 256


def threat(case: Case) -> Threat | None:
    """Needed: the bias that takes the significance away; found: the bias under the fitted spillovers."""
    claim = case.claim
    if not claim.real.panel.weights or claim.dial != EFFECT or not isinstance(claim.fitted.estimator, TwoWayDID):
        return None
    rho, lagged = durbin(case)
    spilling = replace(case.twin.design, spillover=Neighbours(rho=rho, w_effect=lagged))
    study = Study("trust-spillovers", spilling, (claim.estimator,), grid=((EFFECT, (claim.estimate,)),),
                  replications=REPLICATIONS, block=BLOCK, seed=case.main.study.seed)  # fmt: skip
    found = Simulated("spillovers", study, case.simulate("spillovers", study), claim.term).measure("bias")
    margin = case.margin()
    towards = found.value * (1.0 if claim.estimate > 0 else -1.0)
    over = 0 < margin < towards
    said = (f"The SDM fits rho = {rho:.3g} and {lagged:.4g} for the neighbours' treatment. With such spillovers the "
            f"DID is biased by {found.value:.4g} (Monte Carlo error {found.mcse:.2g}): "
            f"{_says(towards, over)}.")  # fmt: skip
    return Threat(NAME, margin, towards, TOWARDS_ZERO, over, said,
                  {"rho": rho, "lagged": lagged, "bias": found.value, "mcse": found.mcse})  # fmt: skip


def _says(towards: float, over: bool) -> str:
    """What the bias means, in words."""
    if towards < 0:
        return "the estimate is then too near to zero, which does not speak against the claim"
    return "more than what takes its significance away" if over else "less than what takes its significance away"


def durbin(case: Case) -> tuple[float, float]:
    """rho and the coefficient of the neighbours' treatment in the SDM with the first W."""
    real = case.claim.real
    panel = real.balanced()
    name, weights = next(iter(panel.weights.items()))
    model = SpatialPanel("sdm", "lee-yu" if weights.row_stochastic else "direct", weights=name, label="sdm")
    study = Study("sdm", Observed(panel), (model,), replications=1, block=64, seed=1)
    fit = next(iter(run(study).blocks(0))).estimates["sdm"]
    values = dict(zip(fit.terms, fit.estimate[0].tolist(), strict=True))
    rho, lagged = values["rho"], values[f"w_{panel.roles.treatment}"]
    if not abs(rho) < 1:
        raise bad("the SDM has no rho inside (-1, 1)", where="spillovers", allowed="a fit", remedy="look at table 7")
    return rho, lagged
