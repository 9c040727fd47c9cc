"""Answers: estimators, each a frozen setting and a function of panels, the same for real and synthetic ones."""

from estimators.did import TwoWayDID
from estimators.estimator import (
    Estimates,
    Estimator,
    Layout,
    Moments,
    Reduction,
    Status,
    estimators,
    find_estimator,
)
from estimators.panel_ols import PanelOLS
from estimators.random_effects import RandomEffects
from estimators.spatial import SpatialPanel
from estimators.tile import Tile

__all__ = [
    "Estimates",
    "Estimator",
    "Layout",
    "Moments",
    "PanelOLS",
    "RandomEffects",
    "Reduction",
    "SpatialPanel",
    "Status",
    "Tile",
    "TwoWayDID",
    "estimators",
    "find_estimator",
]
