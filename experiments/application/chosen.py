"""The estimator that a user names at the command line, for a panel and its spec."""

from __future__ import annotations

from estimators.core.estimator import Estimator, estimators, find_estimator
from estimators.linear.did import TwoWayDID
from estimators.placebo.permutation import PermutationTest
from estimators.spatial.likelihood import FORMS
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.application.spec.spec import RealPanel
from experiments.application.tables.columns import regression
from experiments.settings import build
from sim.errors import bad, closest, one_of
from sim.panel import Panel


def panel_for(name: str, real: RealPanel) -> Panel:
    """What the estimator called `name` is fitted on: spatial models have the balanced part."""
    return real.balanced() if name in (*FORMS, SpatialPanel.kind) else real.panel


def estimator_called(
    name: str, real: RealPanel, regressors: tuple[str, ...] | None = None, weights: str | None = None
) -> Estimator:
    """did with the settings of table 2, a spatial model by its name, or any kind or "module:Object" as it begins.

    regressors, weights: None = the panel's own and its first. Raises BadInput for names that do not exist, for a
    permutation test, and for spatial models without weights.
    """
    if name == TwoWayDID.kind:
        return regression(real.spec, name, regressors)
    if name not in (*FORMS, SpatialPanel.kind):
        return _discovered(name)
    known = panel_for(name, real).weights
    chosen = weights or next(iter(known), None)
    if chosen is None or chosen not in known:
        raise bad("the panel has no such spatial weights", where=f"--estimator {name}", allowed=one_of(known),
                  remedy="add a [[weights]] table")  # fmt: skip
    transform = "lee-yu" if known[chosen].row_stochastic else "direct"
    model = SpatialPanel().model if name == SpatialPanel.kind else name
    return SpatialPanel(model, transform, regressors=regressors, weights=chosen)  # type: ignore[arg-type]


def _discovered(kind: str) -> Estimator:
    found = find_estimator(kind, "--estimator") if ":" in kind else estimators().get(kind)
    if found is None or issubclass(found, PermutationTest):
        known = [*FORMS, *(name for name in estimators() if name != PermutationTest.kind)]
        meant = closest(kind, [*known, PermutationTest.kind])
        remedy = "for permutation tests: panelproof placebo" if repr(PermutationTest.kind) in meant else meant
        raise bad(f"estimator {kind!r}", where="--estimator", allowed=f"{one_of(known)}, or module:Object",
                  remedy=remedy)  # fmt: skip
    return build(found, {}, f"--estimator {kind}")
