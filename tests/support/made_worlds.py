"""Worlds of 20 units and 6 periods in which every kind of every part has its turn: settings by dial and by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from covering import Row, covering_rows

from experiments.settings import build
from sim import Panel, Weights
from sim.panel_sidecars import panel_text
from sim.world.panel_design import PanelDesign

UNITS, PERIODS, FIRST = 20, 6, 2001
NAMES = tuple(f"place {i:02d}" for i in range(UNITS))
X = {"name": "x", "effect": 0.7, "spatial": 0.0, "serial": 0.4}
PARTS: dict[str, dict[str, Any]] = {
    "geography": {
        "uniform": {"kind": "uniform", "groups": 5},
        "grid": {"kind": "grid", "groups": 4},
        "file": {"kind": "file", "group": "province", "prosperity": "gdp", "columns": ["gdp"]},
        "nowhere": {"kind": "nowhere", "groups": 4},
        "cities": {"kind": "cities"},
        "kept": {"kind": "kept", "groups": "province"},
    },
    "weights": {
        "knn": {"kind": "knn", "k": 4},
        "band": {"kind": "band", "km": 400.0},
        "inverse-distance": {"kind": "inverse-distance", "power": 2.0, "cutoff_km": 700.0},
        "spectral": {"kind": "inverse-distance", "standardize": "spectral"},
        "queen": {"kind": "contiguity"},
        "rook": {"kind": "contiguity", "rule": "rook"},
        "file": {"kind": "file", "name": "w"},
        "kept": {"kind": "kept", "name": "w"},
        "none": {"kind": "none"},
    },
    "levels": {
        "effects": {"unit_sd": 0.8, "period_sd": 0.3},
        "factors": {"factors": 2, "factor_share": 0.5, "trends_sd": 0.1, "on_prosperity": 0.5},
        "bounded": {"kind": "bounded", "unit_spatial": 0.0},
        "spatial": {"kind": "bounded", "unit_spatial": 0.5},
        "fitted": {"kind": "fitted"},
    },
    "covariates": {
        "one": [X],
        "none": [],
        "lag": [{**X, "lag_effect": 0.4, "spatial": 0.3, "group_share": 0.2}],
        "bounded": [{"kind": "bounded", "name": "x", "effect": 2.0}, {"name": "b", "distribution": "binary"}],
        "moved": [X, {"name": "z", "effect": 0.5, "bad_control": True, "moved": 0.6, "distribution": "uniform"}],
        "moved lag": [X, {"name": "z", "lag_effect": 0.5, "bad_control": True, "distribution": "lognormal"}],
        "kept": [{"kind": "kept", "name": "x", "effect": 0.5}],
    },
    "errors": {
        "independent": {},
        "ar": {"serial": 0.6, "unit_heteroskedastic": 0.5},
        "arma": {"serial": [0.3, 0.2], "moving": [0.4], "keeps": "norm"},
        "spatial": {"spatial": 0.4, "serial": 0.3},
        "spatial ma": {"spatial": -0.3, "spatial_kind": "ma"},
        "groups": {"group_share": 0.4, "distribution": "t5"},
        "factors": {"factors": 2, "factor_share": 0.4, "distribution": "lognormal"},
        "by covariate": {"by_covariate": "x"},
        "residuals": {"kind": "residuals"},
        "silent": {"scale": 0.0},
    },
    "adoption": {
        "random": {"share": 0.4},
        "independent": {"independent": True, "most": 8, "dates": [2003, 2005]},
        "calendar": {"kind": "calendar", "dates": [[2003, 5], [2005, 4]], "on_prosperity": 1.0},
        "staggered": {"kind": "staggered", "cohorts": 3, "never": 0.3},
        "all staggered": {"kind": "staggered", "cohorts": [2002, 2004], "never": 0.0, "shares": [0.25, 0.75]},
        "clustered": {"kind": "clustered", "treated": 2, "date": 2004},
        "propensity": {"kind": "propensity", "share": 0.4, "independent": False, "last_periods": 2},
        "selected": {"kind": "propensity", "share": 0.4, "most": 9, "on": "covariates", "covariates": ["x"]},
        "kept": {"kind": "kept", "variable": "d"},
        "kept paths": {"kind": "kept-paths", "variable": "d"},
        "permuted paths": {"kind": "kept-paths", "variable": "d", "permuted": True},
        "instrumented": {"kind": "instrumented", "instruments": ["x"], "concentration": 50.0, "endogeneity": 0.6},
        "switching": {"kind": "switching", "share": 0.8},
        "dose": {"kind": "dose", "share": 0.5, "serial": 0.3},
        "lognormal dose": {"kind": "dose", "distribution": "lognormal", "last_periods": 5},
        "never": {"kind": "never"},
    },
    "effect": {
        "constant": {"size": 0.8},
        "zero": {"size": 0.0},
        "unit_sd": {"size": 0.8, "unit_sd": 0.5},
        "by covariate": {"size": 0.8, "by_covariate": "x"},
        "trend gap": {"size": 0.8, "trend_gap": 0.05},
        "growing": {"size": 0.8, "shape": "growing", "jump": 0.3},
        "fading": {"size": -0.8, "shape": "fading", "by_cohort": 0.1},
        "early": {"size": 0.8, "anticipation": 2, "unit_sd": 0.3},
    },
    "spillover": {
        "none": {},
        "rho": {"rho": 0.4},
        "lag": {"w_effect": 0.5},
        "durbin": {"rho": -0.3, "w_effect": 0.5},
        "radius": {"w_effect": 0.5, "radius": 500.0},
        "controls": {"rho": 0.3, "w_effect": 0.5, "radius": 500.0, "on": "controls"},
        "treated": {"rho": 0.2, "w_effect": 0.5, "on": "treated"},
        "all of it": {"rho": 0.3, "w_effect": 0.5, "radius": 500.0},
    },
    "mediators": {
        "none": [],
        "one": [{"name": "m", "a": 0.6, "b": 0.5, "sd": 0.4}],
        "two": [
            {"name": "m", "a": 0.6, "b": 0.5, "interaction": 0.3},
            {"name": "n", "a": -0.4, "b": 0.7, "confounding": 0.5},
        ],
        "spatial": [{"name": "m", "a": 0.6, "b": 0.5, "spatial": 0.3}],
        "within": [{"name": "m", "a": 0.3, "b": 0.2, "sd": 0.5, "confounding": 0.2, "within": True}],
    },
    "indicators": {
        "none": {},
        "index": {"names": ["one", "two", "three"], "loadings": [1.0, 0.5, 2.0], "negative": ["three"]},
        "half": {"names": ["one", "two"], "treated": ["one"], "noise": 0.2},
    },
    "missing": {
        "none": {},
        "random": {"share": 0.2},
        "entry": {"share": 0.2, "pattern": "entry"},
        "dropout": {"share": 0.2, "pattern": "dropout"},
        "on_outcome": {"share": 0.2, "pattern": "on_outcome"},
    },
    "measurement": {
        "none": {},
        "errors": {"outcome_sd": 0.3, "covariate_sd": 0.2},
        "rounded": {"rounding": 0.01},
    },
    "redraw": {
        "nothing": [],
        "adoption": ["adoption"],
        "covariates": ["covariates"],
        "both": ["adoption", "covariates"],
    },
}
OF_KEPT = {("weights", "kept"), ("levels", "fitted"), ("covariates", "kept"), ("errors", "residuals"),
           ("adoption", "kept"), ("adoption", "kept paths"), ("adoption", "permuted paths")}  # fmt: skip
OF_W = {
    ("levels", "spatial"), ("covariates", "lag"), ("covariates", "moved lag"), ("errors", "spatial"),
    ("errors", "spatial ma"), ("mediators", "spatial"),
    *(("spillover", name) for name in ("rho", "lag", "durbin", "treated", "controls", "all of it")),
}  # fmt: skip
OF_STAYING = {("effect", "growing"), ("effect", "fading"), ("effect", "early")}
COMING_AND_GOING = {("adoption", name) for name in ("switching", "dose", "lognormal dose", "instrumented",
                                                    "kept paths", "permuted paths")}  # fmt: skip
OF_X = {("effect", "by covariate"), ("errors", "by covariate"), ("adoption", "instrumented")}
OF_PLACES = {("weights", name) for name in ("knn", "band", "inverse-distance", "spectral", "queen", "rook")} | {
    ("spillover", name) for name in ("radius", "controls", "all of it")
}


def forbidden(row: Row) -> bool:
    """Whether two values of a row contradict each other by the words of their parts."""
    held = set(row.items())
    anew = row.get("redraw") in ("covariates", "both")
    return bool(
        (anew and row.get("errors") == "by covariate")
        or (anew and row.get("adoption") == "selected")
        or (row.get("adoption") == "selected" and row.get("covariates") == "none")
        or (row.get("geography", "kept") != "kept" and held & OF_KEPT)
        or (row.get("weights") == "none" and held & OF_W)
        or (row.get("geography") == "nowhere" and held & OF_PLACES)
        or (held & COMING_AND_GOING and held & OF_STAYING)
        or (row.get("covariates") == "none" and held & OF_X)
        or (row.get("missing") == "on_outcome" and row.get("indicators", "none") != "none")
    )


@cache
def rows() -> tuple[Row, ...]:
    """A pairwise covering array over all parts."""
    return tuple(covering_rows({dial: tuple(values) for dial, values in PARTS.items()}, forbidden))


def world_of(row: Row) -> PanelDesign:
    """The design of a row."""
    settings = {dial: PARTS[dial][value] for dial, value in row.items()}
    if row["geography"] == "file":
        settings["geography"] = {**settings["geography"], "path": str(files() / "units.csv")}
    if row["geography"] == "kept":
        settings["geography"] = {**settings["geography"], "panel": kept_panel()}
    if row["weights"] == "file":
        of = {"cities": 285}.get(row["geography"], UNITS)
        settings["weights"] = {**settings["weights"], "path": str(files() / f"w{of}.npy")}
    sizes = {"units": UNITS} if row["geography"] in ("uniform", "grid", "nowhere") else {}
    return build(PanelDesign, {**settings, **sizes, "periods": PERIODS, "first_period": FIRST}, "[design]")


@cache
def files() -> Path:
    """A folder with a table of units and matrices of weights."""
    folder, rng = Path(mkdtemp(prefix="worlds-")), np.random.default_rng(20)
    lines = [f"{name},{rng.uniform(100, 120):.4f},{rng.uniform(25, 40):.4f},{'abcd'[i % 4]},{rng.uniform(1, 9):.3f}"
             for i, name in enumerate(NAMES)]  # fmt: skip
    (folder / "units.csv").write_text("\n".join(["unit,longitude,latitude,province,gdp", *lines]), encoding="utf-8")
    for n in (UNITS, 285):
        np.save(folder / f"w{n}.npy", ring(n))
    return folder


def ring(n: int) -> np.ndarray:
    """A circle in which each unit has two neighbours of unequal weight, (N, N)."""
    raw, at = np.zeros((n, n)), np.arange(n)
    raw[at, (at + 1) % n], raw[at, (at + 2) % n] = 1.0, 0.5
    return raw


@cache
def kept_panel() -> str:
    """A made-up panel, as a text, with all that kept, fitted and residuals take from it."""
    rng, shape = np.random.default_rng(21), (1, PERIODS, UNITS)
    names = ("x", "factor.additive", "factor.interactive", "residual.residual")
    variables = {name: rng.standard_normal(shape) for name in names}
    first = np.where(np.arange(UNITS) < 8, FIRST + 3, 9999)
    years = np.arange(FIRST, FIRST + PERIODS)
    variables["d"] = (years[:, None] >= first)[None].astype(np.float64)
    facts = {"longitude": rng.uniform(100, 120, UNITS), "latitude": rng.uniform(25, 40, UNITS),
             "province": np.array(["abcd"[i % 4] for i in range(UNITS)])}  # fmt: skip
    weights = {"w": Weights.of(NAMES, ring(UNITS), "row", "w")}
    return panel_text(Panel(NAMES, tuple(years.tolist()), variables, attributes=facts, weights=weights))
