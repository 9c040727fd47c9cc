"""Small staggered panels and slow programs for them: dense dummies, means of four cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim import Panel, Roles

Floats = NDArray[np.float64]
CONTROLS = ("inv", "road")


def staggered_panel(
    *, seed: int = 1, replications: int = 1, sigma: float = 1.0, never: int = 10, controls: bool = True, size: int = 5
) -> Panel:
    """Cohorts of 2003, 2005, 2006 and `never` units without treatment over 2001-2008; effects differ by cohort and time
    and y follows two controls (names without effect when controls is False)."""
    rng = np.random.default_rng(seed)
    adoption = rng.permutation(np.r_[np.repeat([2003.0, 2005.0, 2006.0], size), np.full(never, np.inf)])
    years = np.arange(2001, 2009)
    n, t = len(adoption), len(years)
    since = years[:, None] - adoption
    did = (since >= 0).astype(float)
    effect = did * (1 + 0.3 * np.where(did > 0, since, 0) + 0.2 * (adoption == 2005))
    inv, road = (rng.standard_normal((1, t, n)) + rng.standard_normal((1, 1, n)) for _ in CONTROLS)
    signal = 0.7 * inv - 0.4 * road if controls else 0.0
    y = effect + signal + 2 * rng.standard_normal(n) + rng.standard_normal(t)[:, None]
    y = y + sigma * rng.standard_normal((replications, t, n))
    return Panel(
        units=tuple(f"unit {i:02d}" for i in range(n)),
        periods=tuple(years.tolist()),
        variables={"y": y, "did": did[None], "inv": inv, "road": road},
        roles=Roles("y", "did", CONTROLS if controls else ()),
        attributes={"province": np.array([f"p{i % 9}" for i in range(n)])},
    )


def adoption_of(panel: Panel) -> Floats:
    """First treated period of each unit, inf = never, (N,)."""
    did = panel.variables["did"][0]
    return np.where(did.any(axis=0), np.array(panel.periods)[did.argmax(axis=0)], np.inf)


def frame_of(panel: Panel, replication: int = 0) -> pd.DataFrame:
    """Long rows with unit, period, first (0 = never), since (-1 for never treated), y, did and the controls."""
    t, n = len(panel.periods), len(panel.units)
    first = np.tile(adoption_of(panel), t)
    period = np.repeat(panel.periods, n)
    never = np.isinf(first)
    values = {name: array[replication if len(array) > 1 else 0].ravel() for name, array in panel.variables.items()}
    return pd.DataFrame(
        {
            "unit": np.tile(np.arange(n), t),
            "period": period,
            "first": np.where(never, 0, first).astype(int),
            "since": np.where(never, -1, period - np.where(never, 0, first)).astype(int),
            **values,
        }
    )


def dummies(values: NDArray[np.generic]) -> Floats:
    return np.asarray((values[:, None] == np.unique(values)).astype(np.float64))


def county_employment(folder: Path, *controls: str) -> Panel:
    """Callaway and Sant'Anna's county teen employment, `y` its log; its control is `lpop`, where asked for."""
    frame = pd.read_csv(folder / "mpdta.csv")
    frame["did"] = ((frame["first.treat"] > 0) & (frame["year"] >= frame["first.treat"])).astype(float)
    frame["county"] = frame["countyreal"].astype(int)
    frame["year"] = frame["year"].astype(int)
    frame = frame.rename(columns={"lemp": "y"})[["county", "year", "y", "did", "lpop"]]
    return Panel.from_frame(frame, unit="county", period="year", roles=Roles("y", "did", controls))


MINIMUM_WAGES = {  # their published effects there: never treated controls, no covariates
    "att(2004,2004)": -0.0105, "att(2004,2005)": -0.0704, "att(2004,2006)": -0.1373, "att(2004,2007)": -0.1008,
    "att(2006,2004)": 0.0065, "att(2006,2005)": -0.0028, "att(2006,2006)": -0.0046, "att(2006,2007)": -0.0412,
    "att(2007,2004)": 0.0305, "att(2007,2005)": -0.0027, "att(2007,2006)": -0.0311, "att(2007,2007)": -0.0261,
    "overall:event": -0.0772, "overall:cohort": -0.0310,
}  # fmt: skip
