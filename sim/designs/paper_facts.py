"""What the study of eco-industrial parks printed: sizes, calendar, moments and coefficients of its tables."""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED_EFFECT = 0.0157  # table 2, column 5
FIRST_YEAR, LAST_YEAR = 2006, 2023
CITIES = 285
SINGLE_DATE = 2016
# Cities by year of their first park: 48 cities and 396 treated city-years, the first in 2008 (dummy mean .0772).
COHORTS = dict(zip(range(2008, 2021), (1, 1, 3, 3, 3, 4, 4, 3, 3, 4, 2, 5, 12), strict=True))
TREATED = sum(COHORTS.values())
CONTROLS = ("inv", "road", "book", "tech")
# Table 5: policy -> mediator, mediator -> outcome; table 1: mean; residual sd from table 5's R2 (.944, .949); the last
# scales the outcome's levels so that the mediator has table 1's sd (.8004, .4880).
MEDIATION = {"gpat": (0.0925, 0.0072, 1.6339, 0.19, 7.6), "ent": (-0.0478, -0.0148, 2.7999, 0.11, 4.6)}


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Published coefficients of one column: policy, its spatial lag, controls, their lags, spatial parameters."""

    did: float
    w_did: float
    controls: tuple[float, ...]
    w_controls: tuple[float, ...]
    rho: float
    lam: float


_NO_LAGS = (0.0,) * len(CONTROLS)
PUBLISHED = {
    "none": Coefficients(0.0157, 0.0, (0.0763, -0.0027, 0.0072, -0.0025), _NO_LAGS, 0.0, 0.0),  # table 2 column 5
    "error": Coefficients(0.0150, 0.0, (0.0750, 0.0010, 0.0076, -0.0029), _NO_LAGS, 0.0, 0.1657),  # table 7 column 1
    "lag": Coefficients(0.0152, 0.0, (0.0755, -0.0007, 0.0073, -0.0029), _NO_LAGS, 0.1680, 0.0),  # table 7 column 2
    "paper": Coefficients(  # table 7 column 3
        0.0128, 0.0124, (0.0774, 0.0027, 0.0069, -0.0033), (0.0425, -0.0740, -0.0108, 0.0048), 0.1492, 0.0
    ),
}
# Table 1 of the controls: mean, sd, min, max.
CONTROL_MOMENTS = {
    "inv": (0.0960, 0.0670, 0.0079, 0.3619),
    "road": (1.1284, 0.2081, 0.5635, 1.5337),
    "book": (3.0924, 0.4413, 2.1958, 4.4392),
    "tech": (1.5602, 1.1484, 0.2432, 6.6502),
}
