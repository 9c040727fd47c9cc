"""Where the paper prints what: the one place that gives models their table and column numbers."""

from __future__ import annotations

Place = tuple[str, int]

DESCRIPTIVE: Place = ("1", 1)
BASELINE: dict[str, Place] = {  # table 2, by what beside the treatment is in the regression
    "alone": ("2", 1),
    "controls": ("2", 2),
    "controls, periods": ("2", 3),
    "controls, units": ("2", 4),
    "controls, units, periods": ("2", 5),
}
WITHOUT_CAPITALS: Place = ("3", 1)
OTHER_POLICY: Place = ("3", 2)
EQUAL_EFFECTS: Place = ("4", 0)  # beside the columns of table 4
LM_TESTS: Place = ("7", 0)
AUTOCORRELATION: dict[str, Place] = {
    "moran": ("6", 1),
    "geary": ("6", 2),
    "moran-residuals": ("6", 3),
    "local-moran": ("6", 4),
}
SPATIAL: dict[str, Place] = {
    "sem": ("7", 1), "sar": ("7", 2), "sdm": ("7", 3), "slx": ("7", 4), "sdem": ("7", 5), "sac": ("7", 6),
}  # fmt: skip
STAGGERED, COMPARISONS, BOUNDS, SPILLOVERS = "S", "S2", "S3", "S4"  # of staggered adoption, not in the paper
CROSS_CHECK = ""  # other programs' numbers
ROBUSTNESS = "R"  # the referee's menu, which the paper does not number


def further_column(position: int) -> Place:
    """Table 2: the columns of estimators that the user names, `position` from 0."""
    return "2", len(BASELINE) + 1 + position


def subsample(position: int) -> Place:
    """Table 4: one column a subsample, in order, `position` from 0."""
    return "4", position + 1


def mediation(position: int) -> tuple[Place, Place]:
    """Table 5: the columns of the mediator's equation and of the outcome's, `position` of the mediator from 0."""
    return ("5", 2 * position + 1), ("5", 2 * position + 2)
