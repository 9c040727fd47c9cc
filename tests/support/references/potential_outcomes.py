"""A slow plain program that writes the potential outcomes of one drawn `paper` panel and takes every truth from them.

It shares no formula with `sim`: it reads what was drawn (who adopts when, controls, levels, standard normals, W) and
follows the words of the design's docstring, year by year and city by city, with dense matrices. Published numbers are
typed in again from the study's tables 2, 5 and 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Adoption = list[int | None]  # first treated year of each city, None = never

FULL_EFFECT = 0.0157
NO_LAG = (0.0, 0.0, 0.0, 0.0)
PUBLISHED = {  # spillover: policy, its lag, controls, their lags, rho, lambda
    "none": (0.0157, 0.0, (0.0763, -0.0027, 0.0072, -0.0025), NO_LAG, 0.0, 0.0),
    "error": (0.0150, 0.0, (0.0750, 0.0010, 0.0076, -0.0029), NO_LAG, 0.0, 0.1657),
    "lag": (0.0152, 0.0, (0.0755, -0.0007, 0.0073, -0.0029), NO_LAG, 0.1680, 0.0),
    "paper": (0.0128, 0.0124, (0.0774, 0.0027, 0.0069, -0.0033), (0.0425, -0.0740, -0.0108, 0.0048), 0.1492, 0.0),
}
CONTROLS = ("inv", "road", "book", "tech")
CHANNELS = {"gpat": (0.0925, 0.0072, 0.19), "ent": (-0.0478, -0.0148, 0.11)}  # policy on it, it on outcome, own sd


def dose(year: int, first: int | None, shape: str, anticipation: int) -> float:
    """How much of its effect a city feels in a year."""
    if first is None:
        return 0.0
    since = year - first
    if since < 0:
        return 0.5 if -since <= anticipation else 0.0
    if shape == "growing":  # a fifth in the year of adoption, full in the fifth year
        return min(1.0, 0.2 * (since + 1))
    return 0.8**since if shape == "fading" else 1.0


def first_years(did: Floats, years: tuple[int, ...]) -> Adoption:
    """The first year with a 1 of each city, did (T, N)."""
    return [next((year for year, on in zip(years, path, strict=True) if on), None) for path in did.T.tolist()]


def persistent(shocks: Floats, serial: float) -> Floats:
    """Stationary AR(1) along time with variance 1 from standard normals, (T, N)."""
    out = np.array(shocks)
    for t in range(1, len(out)):
        for i in range(out.shape[1]):
            out[t, i] = serial * out[t - 1, i] + (1.0 - serial**2) ** 0.5 * shocks[t, i]
    return out


def policy_mean(gain: Floats, adoption: Adoption, years: tuple[int, ...], name: str) -> float:
    """A mean of effects (T, N) over treated city-years; NaN where there is none of that name."""
    kind, asked = name.partition("(")[0], tuple(map(int, re.findall(r"-?\d+", name)))
    cells = [(t, i, first, year) for i, first in enumerate(adoption) if first is not None
             for t, year in enumerate(years) if year >= first]  # fmt: skip

    def over(kept: list[tuple[int, int, int, int]]) -> float:
        return sum(float(gain[t, i]) for t, i, _, _ in kept) / len(kept) if kept else np.nan

    match kind, asked:
        case "att", ():
            return over(cells)
        case "att", (cohort, at):
            return over([cell for cell in cells if cell[2] == cohort and cell[3] == at])
        case "event", (since,):
            return over([cell for cell in cells if cell[3] - cell[2] == since])
        case "cohort", (cohort,):
            return over([cell for cell in cells if cell[2] == cohort])
        case "calendar", (at,):
            return over([cell for cell in cells if cell[3] == at])
    # A cohort's cities have lives of one length, so that the mean over cities counts cohorts by their size.
    parts = {"att_event": lambda c: c[3] - c[2], "att_calendar": lambda c: c[3], "att_cohort": lambda c: c[1]}
    groups: dict[int, list[tuple[int, int, int, int]]] = {}
    for cell in cells:
        groups.setdefault(parts[kind](cell), []).append(cell)
    return float(np.mean([over(kept) for kept in groups.values()]))


@dataclass(frozen=True)
class PaperPanel:
    """The ingredients of one drawn panel; arrays (T, N) unless said otherwise.

    dials: the design's settings by name. adoption: as drawn. weights (N, N): W. levels: city and year effects.
    controls: in the order of CONTROLS, or none. shocks: standard normals of the errors; deviations (N,): of effects.
    """

    dials: Mapping[str, Any]
    years: tuple[int, ...]
    adoption: Adoption
    weights: Floats
    levels: Floats
    controls: tuple[Floats, ...]
    shocks: Floats
    deviations: Floats

    @cached_property
    def scale(self) -> float:
        """The policy's effect as a share of the published one."""
        return float(self.dials["effect"]) / FULL_EFFECT

    @cached_property
    def numbers(self) -> tuple[float, float, float, float]:
        """Policy, its lag, rho and lambda of this world."""
        did, w_did, _, _, rho, lam = PUBLISHED[self.dials["spillover"]]
        rho = rho if self.dials["rho"] is None else self.dials["rho"]
        lam = lam if self.dials["spatial_error"] is None else self.dials["spatial_error"]
        return did * self.scale, w_did * self.scale, rho, lam

    @cached_property
    def slopes(self) -> dict[str, tuple[float, float]]:
        """Own and lagged coefficient of each control."""
        _, _, own, lagged, _, _ = PUBLISHED[self.dials["spillover"]]
        names = CONTROLS if self.dials["controls"] == "paper" else ()
        return {name: (own[k], lagged[k]) for k, name in enumerate(names)}

    @cached_property
    def channel(self) -> tuple[float, float] | None:
        """Policy on mediator and mediator on outcome; None where the world has no mediator."""
        to_mediator, to_outcome, sd = CHANNELS[self.dials["mediator"]]
        room = self.dials["sigma"] > abs(to_outcome * sd)  # its errors are a part of the outcome's
        return (to_mediator * self.scale, to_outcome) if room and self.numbers[3] == 0 else None

    @cached_property
    def effects(self) -> list[float]:
        """tau_i of each city."""
        spread = self.dials["heterogeneity"]
        return [self.numbers[0] * (1.0 + spread * float(z)) for z in self.deviations]

    @cached_property
    def errors(self) -> Floats:
        """e, before it spills over."""
        return float(self.dials["sigma"]) * persistent(self.shocks, self.dials["serial"])

    def doses(self, adoption: Adoption) -> Floats:
        """The dose of every city-year."""
        shape, early = self.dials["shape"], self.dials["anticipation"]
        return np.array([[dose(year, first, shape, early) for first in adoption] for year in self.years])

    def treated(self, adoption: Adoption) -> Floats:
        """The dummy of every city-year."""
        return np.array([[float(first is not None and year >= first) for first in adoption] for year in self.years])

    @cached_property
    def multiplier(self) -> Floats:
        """S = (I - rho W)^-1, (N, N)."""
        return np.linalg.inv(np.eye(len(self.weights)) - self.numbers[2] * self.weights)

    @cached_property
    def noise(self) -> Floats:
        """S_lambda e."""
        return np.linalg.solve(np.eye(len(self.weights)) - self.numbers[3] * self.weights, self.errors.T).T

    def outcome(self, policy: Adoption, through: Adoption) -> Floats:
        """Y(d, M(d')): `policy` is d, `through` the adoption d' to which the mediator responds."""
        own, mediated = self.doses(policy), self.treated(through) - self.treated(policy)
        share = 0.0 if self.channel is None else self.channel[0] * self.channel[1]
        middle = np.mean(self.years)
        rows = []
        for t, year in enumerate(self.years):
            inside = self.noise[t] + self.effects * own[t] + self.numbers[1] * (self.weights @ own[t])
            inside = inside + share * mediated[t]
            for (b, c), values in zip(self.slopes.values(), self.controls, strict=True):
                inside = inside + b * values[t] + c * (self.weights @ values[t])
            gap = [self.dials["trend_gap"] * (year - middle) * (first is not None) for first in self.adoption]
            rows.append(self.levels[t] + gap + self.multiplier @ inside)
        return np.array(rows)

    @cached_property
    def nobody(self) -> Adoption:
        """The adoption of a world without the policy."""
        return [None] * len(self.adoption)

    @cached_property
    def drawn(self) -> Floats:
        """Y(d) of the drawn adoption."""
        return self.outcome(self.adoption, self.adoption)

    @cached_property
    def gain(self) -> Floats:
        """Y(d) - Y(0)."""
        return self.drawn - self.outcome(self.nobody, self.nobody)

    @cached_property
    def gain_through(self) -> Floats:
        """Y(d, M(d)) - Y(d, M(0))."""
        return self.drawn - self.outcome(self.adoption, self.nobody)

    def truth(self, name: str) -> float:
        """The true value of an estimand; NaN where the world has none."""
        match = re.fullmatch(r"(\w+)(?:\((.*)\))?", name)
        assert match is not None
        kind, variable = match[1], match[2] or ""
        if kind in {"nde", "nie"}:
            shares = {"nie": self.gain_through, "nde": self.gain - self.gain_through}
            return np.nan if self.channel is None else self.mean(shares[kind], name.replace(kind, "att"))
        if kind == "contrast":
            return self.contrast() if self.dials["calendar"] == "single" else np.nan
        if kind in {"direct", "indirect", "total"}:
            return self.impact(kind, variable)
        if kind == "beta":
            return self.coefficient(variable)
        _, _, rho, lam = self.numbers
        parameters = {"rho": rho, "lambda": lam, "sigma2": self.dials["sigma"] ** 2,
                      "dependence": max(abs(rho), abs(lam))}  # fmt: skip
        return parameters[kind] if kind in parameters else self.mean(self.gain, name)

    def mean(self, gain: Floats, name: str) -> float:
        """A mean of effects under the drawn adoption."""
        return policy_mean(gain, self.adoption, self.years, name)

    def contrast(self) -> float:
        """The least squares coefficient of the dummy on effects, with a constant for each city and year."""
        residuals = []
        for values in (self.treated(self.adoption), self.gain):
            left = values - values.mean(axis=0) - values.mean(axis=1)[:, None] + values.mean()
            residuals.append(left.ravel())
        return float(residuals[0] @ residuals[1] / (residuals[0] @ residuals[0]))

    def varies(self) -> bool:
        """Whether the effect is no constant times the dummy."""
        return self.dials["shape"] != "constant" or self.dials["anticipation"] > 0

    def coefficient(self, name: str) -> float:
        """Of a variable, or of a spatial lag when its name begins with w_."""
        lagged, variable = name.startswith("w_"), name.removeprefix("w_")
        if variable == "did":
            unequal = self.dials["heterogeneity"] > 0 and not lagged
            return np.nan if self.varies() or unequal else self.numbers[1 if lagged else 0]
        if variable == self.dials["mediator"] and self.channel is not None:
            return 0.0 if lagged else self.channel[1]
        return self.slopes[variable][int(lagged)] if variable in self.slopes else np.nan

    def impact(self, kind: str, name: str) -> float:
        """The mean change in a city, in all others, or in all, when a variable is raised by one in that city."""
        own, lagged = [self.coefficient(name)] * len(self.weights), self.coefficient(f"w_{name}")
        if name == "did" and not self.varies():
            own = self.effects
        changes = []
        for j in range(len(own)):
            raised = lagged * self.weights[:, j]  # what every city gets from the raised neighbour
            raised[j] += own[j]
            change = self.multiplier @ raised
            changes.append({"direct": change[j], "indirect": change.sum() - change[j], "total": change.sum()}[kind])
        return float(np.mean(changes))
