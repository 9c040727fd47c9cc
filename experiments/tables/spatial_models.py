"""Table 7: spatial panel models by maximum likelihood, and the tests that choose between them.

For every W the direct transform and Lee and Yu's beside it, and LM tests on the residuals of the two-way regression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import numpy as np

from estimators.core.error_types import KINDS, served
from estimators.core.error_types import SPATIAL as SPATIAL_FAMILIES
from estimators.core.estimator import Estimates, Estimator
from estimators.core.tile import Tile
from estimators.spatial.likelihood import Model
from estimators.spatial.lm_tests import Form, LMTests
from estimators.spatial.spatial_panel import LEVEL, NESTED, SpatialPanel, likelihood_ratio, variance_inflation
from estimators.spatial.spectrum import Transform
from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import RealPanel
from experiments.tables.columns import clustered_enough, main_cluster
from experiments.tables.ledger import Ledger, reasons
from results.tables.layouts.spatial_models import conclusion
from results.tables.records import EFFECTS, LM_TESTS, SPATIAL, Fit
from sim.errors import BadInput, listed
from sim.panel import Panel
from sim.weights import Weights

MODELS: tuple[Model, ...] = ("sem", "sar", "sdm", "slx", "sdem", "sac")
SIMULATION = "simulation"
NEAR_MODE = 2.0  # difference in log-likelihood up to which another maximum fits almost as well
INFLATED = 10.0  # variance inflation factor from which the lag of the treatment counts as collinear


def add(real: RealPanel, ledger: Ledger) -> None:
    """The models on the balanced part of the panel; nothing without weights or regressors."""
    if not real.panel.weights or not real.panel.roles.regressors:
        return
    balanced = real.balanced()
    for text in _left_out(real.panel, balanced):
        ledger.note(text)
    found = _fit(real.spec, balanced, ledger)
    compared = False
    for name in balanced.weights:
        lagrange = _lagrange(balanced, name, ledger)
        for transform in _transforms(balanced.weights[name]):
            ratios = _likelihood_ratios(found, sdm_of(name, transform), ledger)
            compared |= bool(ratios)
            if ratios and lagrange:
                ledger.note(f"Weights {name}, {transform}: {conclusion(ratios, lagrange)}")
        _warn(balanced, name, found, ledger)
    _warn_of_modes(found, ledger)
    if compared:
        ledger.note("LR statistics compare log-likelihoods of one W and one transform; direct and Lee-Yu columns have "
                    "likelihoods of different data. LR and LM statistics assume independent errors. The notes under "
                    "table 7 give the choice by Wald tests with the printed standard errors.")  # fmt: skip


def sdm_of(weights: str, transform: str) -> Fit:
    """The column that nests SAR and SEM, where the tests against them stand."""
    return Fit(SPATIAL["sdm"], "sdm", transform, weights=weights)


def error_types(spec: Spec) -> tuple[str, ...]:
    """Those of every column, the main cluster, and those of [inference] that likelihoods have too."""
    own = (kind for kind, entry in KINDS.items() if entry.families == SPATIAL_FAMILIES and entry.argument == "none")
    asked = (error for error in spec.inference.errors if served(error, tuple(spec.attributes), "spatial"))
    return tuple(dict.fromkeys(("information", *own, main_cluster(spec), *asked)))


def _transforms(weights: Weights) -> tuple[Transform, ...]:
    return get_args(Transform) if weights.row_stochastic else ("direct",)


def _fit(spec: Spec, balanced: Panel, ledger: Ledger) -> dict[Fit, Estimates]:
    """All columns that could be fitted; effects whose errors are simulated say so."""
    fits: dict[Estimator, Fit] = {}
    errors = clustered_enough(balanced, error_types(spec))
    for name, weights in balanced.weights.items():
        if not weights.row_stochastic:
            ledger.note(
                f"Weights {name}: there are no Lee-Yu columns, because the transformation needs rows that sum to one."
            )
        for transform in _transforms(weights):
            for model in MODELS:
                estimator = SpatialPanel(
                    model, transform, weights=name, full_fit=True, errors=errors,
                    simulate=spec.inference.draws, label=f"{model}-{transform}-{name}",
                )  # fmt: skip
                fits[estimator] = Fit(SPATIAL[model], model, transform, weights=name)
    before = len(ledger.records)
    found = ledger.fit(balanced, fits)
    ledger.records[before:] = [
        replace(record, effects_method=SIMULATION) if record.se_type == SIMULATION else record
        for record in ledger.records[before:]
        if record.se_type != SIMULATION or str(record.term).partition(":")[0] in EFFECTS
    ]
    return {fits[estimator]: estimates for estimator, estimates in found.items()}


def _likelihood_ratios(found: Mapping[Fit, Estimates], sdm: Fit, ledger: Ledger) -> dict[str, float]:
    """LR tests of the SDM against SAR and SEM with as many degrees of freedom as there are regressors."""
    fitted = {fit.model: estimates for fit, estimates in found.items()
              if (fit.transform, fit.weights) == (sdm.transform, sdm.weights)}  # fmt: skip
    tests: dict[str, float] = {}
    for smaller in NESTED:
        if smaller in fitted and "sdm" in fitted:
            larger, less = (float(fitted[model].statistics["loglik"][0]) for model in ("sdm", smaller))
            df = sum(term.startswith("direct:") for term in fitted["sdm"].terms)
            statistic, pvalue = likelihood_ratio(larger, less, df)
            tests |= {f"lr_{smaller}": statistic, f"lr_{smaller}_p": pvalue}
    ledger.values(sdm, tests)
    return tests


def _lagrange(balanced: Panel, weights: str, ledger: Ledger) -> dict[str, float]:
    """Both forms of the LM tests, Elhorst's under names that say so; returns the exact ones, none under a useless W."""
    try:
        exact, elhorst = _lm_tests(balanced, weights, "exact"), _lm_tests(balanced, weights, "elhorst")
    except BadInput as error:
        ledger.note(f"Weights {weights}: there are no LM tests and no choice between models: {reasons(error)}.")
        return {}
    for tests, ending in ((exact, ""), (elhorst, "_elhorst")):
        for name, value in tests.items():
            term, p, _ = name.partition("_p")
            ledger.value(Fit(LM_TESTS, "lm", weights=weights), f"{term}{ending}{p}", _finite(value))
    differ = [name for name in exact if name.endswith("_p") and (exact[name] < LEVEL) != (elhorst[name] < LEVEL)]
    if differ:
        names = listed(name.removesuffix("_p") for name in differ)
        ledger.note(f"Weights {weights}: with period effects, Elhorst's form of the LM tests is not centred. At 5%, "
                    f"its decision on {names} differs from that of the exact form, which the conclusions "
                    "use.")  # fmt: skip
    return exact


def _lm_tests(balanced: Panel, weights: str, form: Form) -> dict[str, float]:
    """The four statistics and their p values."""
    got = LMTests(form, weights=weights, keep_arrays=True)(balanced)
    assert got.pvalue is not None
    tests: dict[str, float] = {}
    for term, statistic, pvalue in zip(got.terms, got.estimate[0], got.pvalue[0, 0], strict=True):
        tests |= {term: float(statistic), f"{term}_p": float(pvalue)}
    return tests


def _warn(balanced: Panel, weights: str, found: Mapping[Fit, Estimates], ledger: Ledger) -> None:
    """What makes the effect of the neighbours' treatment hard to tell: collinearity, no units far from all treated."""
    treatment = balanced.roles.treatment
    if treatment is None:
        return
    tile, names = Tile(balanced), balanced.roles.regressors
    inflation = float(variance_inflation(tile, names, weights)[len(names) + names.index(treatment)])
    for transform in _transforms(balanced.weights[weights]):
        if sdm_of(weights, transform) in found:
            ledger.value(sdm_of(weights, transform), "vif", _finite(inflation), term=f"w_{treatment}")
    if inflation > INFLATED:
        ledger.note(f"Weights {weights}: the lag of the treatment is collinear with the other regressors (variance "
                    f"inflation {inflation:.1f}), as when treatment clusters in space or W is dense. The data "
                    f"determine w_{treatment} and indirect effects badly.")  # fmt: skip
    near = (tile.raw(treatment) != 0) | (tile.lag(treatment, weights) != 0)
    if near.any(axis=1).all():
        ledger.note(f"Weights {weights}: every unit is treated or has a treated neighbour at some time. Without units "
                    "far from the policy, only the functional form identifies spillovers.")  # fmt: skip


def _warn_of_modes(found: Mapping[Fit, Estimates], ledger: Ledger) -> None:
    """Likelihoods of SAC with another maximum almost as high."""
    for fit, estimates in found.items():
        if "mode_gap" in estimates.statistics and float(estimates.statistics["mode_gap"][0]) < NEAR_MODE:
            gap = float(estimates.statistics["mode_gap"][0])
            ledger.note(f"Weights {fit.weights}, {fit.transform}: another maximum of the SAC's likelihood is only "
                        f"{gap:.2f} lower, so the data hardly distinguish rho from lambda.")  # fmt: skip


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _left_out(panel: Panel, balanced: Panel) -> list[str]:
    """In words, what the spatial models leave out to have a balanced panel."""
    units = [unit for unit in panel.units if unit not in set(balanced.units)]
    periods = [period for period in panel.periods if period not in set(balanced.periods)]
    lost = [f"{what} {listed(items)}" for what, items in (("units", units), ("periods", periods)) if items]
    if not lost:
        return []
    return [f"The spatial models need a balanced panel and leave out {' and '.join(lost)}; the DID columns keep them."]
