"""Answers: estimators, each a frozen setting and a function of panels, the same for real and synthetic ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.registry import lazy

if TYPE_CHECKING:
    from estimators.core.estimator import (
        Estimates,
        Estimator,
        Layout,
        Moments,
        Reduction,
        Status,
        estimators,
        find_estimator,
    )
    from estimators.core.tile import Tile
    from estimators.linear.derived import Ancova, Moderation, PostOnly, TripleDifference
    from estimators.linear.did import TwoWayDID
    from estimators.linear.equal_effects import InteractionTest
    from estimators.linear.panel_iv import PanelIV
    from estimators.linear.random_effects import RandomEffects
    from estimators.matching import PsmDID
    from estimators.mediation import Mediation
    from estimators.permutation import PermutationTest
    from estimators.spatial.dynamic_panel import DynamicSpatialPanel
    from estimators.spatial.lm_tests import LMTests, MoranTest
    from estimators.spatial.random_panel import SpatialRandomEffects
    from estimators.spatial.spatial_panel import SpatialPanel
    from estimators.staggered.callaway_santanna import CallawaySantAnna
    from estimators.staggered.dcdh import DCDH
    from estimators.staggered.dummy_regression import EventStudy, SunAbraham
    from estimators.staggered.imputation import Imputation, TwoStage
    from estimators.staggered.spatial_did import Rings, SpatialDID
    from estimators.staggered.stacked import Stacked
    from estimators.synthetic.interactive_effects import InteractiveEffects
    from estimators.synthetic.matrix_completion import MatrixCompletion
    from estimators.synthetic.synthetic_did import (
        DemeanedSyntheticControl,
        EquallyWeightedDID,
        SyntheticControl,
        SyntheticDID,
    )
else:
    __getattr__ = lazy(
        __name__,
        {
            "estimators.core.estimator": "Estimates Estimator Layout Moments Reduction Status"
            " estimators find_estimator",
            "estimators.core.tile": "Tile",
            "estimators.linear.did": "TwoWayDID",
            "estimators.linear.equal_effects": "InteractionTest",
            "estimators.linear.panel_iv": "PanelIV",
            "estimators.linear.derived": "Ancova Moderation PostOnly TripleDifference",
            "estimators.linear.random_effects": "RandomEffects",
            "estimators.matching": "PsmDID",
            "estimators.mediation": "Mediation",
            "estimators.permutation": "PermutationTest",
            "estimators.spatial.lm_tests": "LMTests MoranTest",
            "estimators.spatial.dynamic_panel": "DynamicSpatialPanel",
            "estimators.spatial.random_panel": "SpatialRandomEffects",
            "estimators.spatial.spatial_panel": "SpatialPanel",
            "estimators.staggered.callaway_santanna": "CallawaySantAnna",
            "estimators.staggered.dcdh": "DCDH",
            "estimators.staggered.dummy_regression": "EventStudy SunAbraham",
            "estimators.staggered.imputation": "Imputation TwoStage",
            "estimators.staggered.spatial_did": "Rings SpatialDID",
            "estimators.staggered.stacked": "Stacked",
            "estimators.synthetic.interactive_effects": "InteractiveEffects",
            "estimators.synthetic.matrix_completion": "MatrixCompletion",
            "estimators.synthetic.synthetic_did": "DemeanedSyntheticControl EquallyWeightedDID"
            " SyntheticControl SyntheticDID",
        },
    )

__all__ = [
    "DCDH",
    "Ancova",
    "CallawaySantAnna",
    "DemeanedSyntheticControl",
    "DynamicSpatialPanel",
    "EquallyWeightedDID",
    "Estimates",
    "Estimator",
    "EventStudy",
    "Imputation",
    "InteractionTest",
    "InteractiveEffects",
    "LMTests",
    "Layout",
    "MatrixCompletion",
    "Mediation",
    "Moderation",
    "Moments",
    "MoranTest",
    "PanelIV",
    "PermutationTest",
    "PostOnly",
    "PsmDID",
    "RandomEffects",
    "Reduction",
    "Rings",
    "SpatialDID",
    "SpatialPanel",
    "SpatialRandomEffects",
    "Stacked",
    "Status",
    "SunAbraham",
    "SyntheticControl",
    "SyntheticDID",
    "Tile",
    "TripleDifference",
    "TwoStage",
    "TwoWayDID",
    "estimators",
    "find_estimator",
]
