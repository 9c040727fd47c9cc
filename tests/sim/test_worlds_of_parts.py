"""Every part combines with every other: outcomes and truths of drawn worlds against a slow plain program.

Rows of `made_worlds` are a pairwise covering array over all parts, their kinds and their main dials. The worlds of
`paper` are parts too: a few of its departures, three dials at a time, on the 285 cities.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import made_worlds
import numpy as np
import pytest
from covering import allowed_pairs, pairs_of
from numpy.typing import NDArray

from sim import Draw, Streams, Wanted
from sim.presets import Paper
from sim.world.context import slots_of
from sim.world.draw import DrawnWorld
from sim.world.panel_design import PanelDesign

Floats = NDArray[np.float64]
FIRST, ROWS = 3, 2  # replications 3 and 4: not the first tile's first
POLICY = (
    "att", "att_event", "att_cohort", "att_calendar", "contrast", "att_own", "spill(treated)", "spill(untreated)",
    "spill(never)", "nde", "nie", "nie(m)", "nde(n)", "nie(n)", "nde(m)", "att(2004,2005)", "att(2003,2003)",
    "att(2004,2003)", "event(0)", "event(2)", "event(-1)", "cohort(2004)", "cohort(2002)", "calendar(2004)",
    "calendar(2002)", "slope(x)", "level(x)", "slope(z)", "level(z)", "slope(b)", "slope(m)", "level(m)", "slope(q)",
)  # fmt: skip
PAPER: tuple[dict[str, Any], ...] = (
    {"heterogeneity": 0.5, "spillover": "paper", "mediator": "ent", "confounding": 0.5},
    {"heterogeneity": 0.5, "spillover": "lag", "rho": -0.3, "treated": 142, "anticipation": 1},
    {"redraw": ("calendar",), "shape": "growing", "spillover": "lag", "serial": -0.4, "assignment": "random"},
    {"redraw": ("calendar", "controls"), "shape": "fading", "anticipation": 3, "trend_gap": 0.002, "serial": 0.6},
    {"calendar": "single", "spillover": "error", "effect": -0.03, "treated": 20},
)
OF_PAPER = (
    "att", "att_event", "att_cohort", "att_calendar", "contrast", "nde", "nie",
    *(f"att({cohort},{year})" for cohort in (2014, 2016, 2020) for year in (2013, 2014, 2016, 2017, 2023)),
    *(f"event({since})" for since in (-1, 0, 4, 7, 15)), *(f"cohort({cohort})" for cohort in (2008, 2016, 2019)),
    *(f"calendar({year})" for year in (2007, 2010, 2016, 2023)), "nde(2016,2018)", "nie(2016,2018)", "nie(2014,2013)",
)  # fmt: skip


def of_variables(names: tuple[str, ...], lagged: tuple[str, ...]) -> tuple[str, ...]:
    kinds = {"beta": (*names, *lagged), "direct": names, "indirect": names, "total": names}
    return tuple(f"{kind}({name})" for kind, some in kinds.items() for name in some)


PARAMETERS = ("rho", "lambda", "dependence", "sigma2")
NAMES = (*POLICY, *of_variables(("did", "x", "z", "m", "n"), ("w_did", "w_x", "w_z")), *PARAMETERS)
NAMES_OF_PAPER = (*OF_PAPER, *of_variables(("did", "inv", "tech", "gpat", "ent"), ("w_did", "w_inv", "w_gpat")), "rho",
                  "lambda", "dependence")  # fmt: skip
NUMBERS = range(len(PAPER) + len(made_worlds.rows()))
# all tests of a row run one after the other, so that processes that share the tests draw few rows twice
every_row = pytest.mark.parametrize("number", NUMBERS, scope="module")


@cache
def drawn(number: int) -> tuple[PanelDesign, Draw, tuple[PanelPieces, ...]]:
    """The design of a row, its draw, and the oracle's reading of each replication."""
    streams, design = Streams(number, "oracle"), design_of(number)
    world: Any = design.settle(streams)
    tile = streams.tile(FIRST, FIRST + ROWS)
    wanted = Wanted(frozenset(design.schema.variables), names_of(number))
    design = design.parts if isinstance(design, Paper) else design
    world.draw(streams.tile(0, ROWS), wanted)  # what it remembers of another tile is no harm
    return design, world.draw(tile, wanted), tuple(pieces(design, world.settled, tile, row) for row in range(ROWS))


def design_of(number: int) -> Any:
    if number < len(PAPER):
        return Paper(**PAPER[number])
    return made_worlds.world_of(made_worlds.rows()[number - len(PAPER)])


def names_of(number: int) -> tuple[str, ...]:
    """Without a unit's own effect where units are so many: each is one more potential outcome."""
    if number < len(PAPER):
        return NAMES_OF_PAPER
    own = ("att_own", "spill(treated)") if design_of(number).schema.units > made_worlds.UNITS else ()
    return tuple(name for name in NAMES if name not in own)


def pieces(design: PanelDesign, settled: Any, tile: Streams, row: int) -> PanelPieces:
    """What was drawn of one replication, before anything was made of it."""
    made = DrawnWorld(settled, tile)

    def one(values: np.ndarray) -> np.ndarray:
        return np.array(values[0] if len(values) == 1 else values[row])

    redrawn = tile if "covariates" in design.redraw else None
    fixed = {name: item(redrawn) for name, item in settled.covariates.items()}
    others = made.untreated_mediators
    mediators = {part.name: one(others[part.name]) for part in design.mediators if not part.within}
    shape = settled.context.shape
    panel = settled.frame if not design.missing.follows_outcome else settled_panel(settled, tile)
    seen = np.ones(shape) if panel.observed is None else one(panel.observed).astype(float)
    places = settled.context.places
    return PanelPieces(
        design=design, weights=None if settled.context.weights is None else settled.context.weights.dense,
        place=np.stack([places.longitude, places.latitude], axis=1), levels=settled.levels,
        covariates={name: one(values) for name, values in fixed.items()}, mediators=mediators, drawn=one(made.did),
        errors=one(settled.errors.draw(tile)), deviations=tile.normals("heterogeneity", shape[1])[row],
        noise={name: tile.normals(f"indicator {name}", *shape)[row] for name in design.indicators.names}, seen=seen,
    )  # fmt: skip


def settled_panel(settled: Any, tile: Streams) -> Any:
    """The panel of a tile, for its gaps."""
    from sim.world.panel_design import PanelWorld

    return PanelWorld(settled).draw(tile, Wanted(frozenset(), ())).panel


def of(draw: Draw, name: str, row: int) -> np.ndarray:
    values = draw.panel.variables[name]
    return np.asarray(values[0] if values.shape[0] == 1 else values[row])


def test_every_slot_is_in_the_array_and_every_pair_that_may_meet_does() -> None:
    slots = slots_of(PanelDesign)
    assert set(made_worlds.PARTS) == {*slots, "redraw"} - {"other_weights"}
    for name, slot in slots.items():
        if name != "other_weights":
            given = [item if isinstance(item, list) else [item] for item in made_worlds.PARTS[name].values()]
            kinds = {part.get("kind", slot.base.default) for parts in given for part in parts}
            assert kinds == set(slot.kinds), name
    dials = {dial: tuple(values) for dial, values in made_worlds.PARTS.items()}
    met = set().union(*(pairs_of(row, dials) for row in made_worlds.rows()))
    assert met == allowed_pairs(dials, made_worlds.forbidden)
    assert not any(map(made_worlds.forbidden, made_worlds.rows()))


@every_row
def test_the_drawn_outcome_is_the_potential_outcome_of_the_drawn_treatment(number: int) -> None:
    design, draw, read = drawn(number)
    rounding = design.measurement.rounding  # type: ignore[attr-defined]
    tile = Streams(number, "oracle").tile(FIRST, FIRST + ROWS)
    errors = tile.normals("measurement of the outcome", *read[0].drawn.shape)
    for row, oracle in enumerate(read):
        expected = oracle.true_outcome + design.measurement.outcome_sd * errors[row]
        got, seen = of(draw, design.outcome, row), oracle.seen > 0
        assert np.isnan(got[~seen]).all()
        np.testing.assert_allclose(got[seen], expected[seen], rtol=0, atol=max(0.5 * rounding, 0) + 1e-9)
        if rounding:
            np.testing.assert_allclose(got[seen] / rounding, np.round(got[seen] / rounding), rtol=0, atol=1e-6)


@every_row
def test_every_truth_is_taken_from_potential_outcomes(number: int) -> None:
    _, draw, read = drawn(number)
    for name in names_of(number):
        expected = [oracle.truth(name) for oracle in read]
        assert draw.truth[name].shape == (ROWS,)
        np.testing.assert_allclose(draw.truth[name], expected, rtol=1e-8, atol=1e-11, err_msg=name)


@every_row
def test_what_is_seen_of_treatment_covariates_and_indicators(number: int) -> None:
    design, draw, read = drawn(number)
    for row, oracle in enumerate(read):
        seen = oracle.seen > 0
        if design.adoption.treats:
            np.testing.assert_array_equal(of(draw, "did", row)[seen], oracle.drawn[seen])
        for name in oracle.mediators:
            responds = oracle.mediator(name, oracle.drawn)
            np.testing.assert_allclose(of(draw, name, row)[seen], responds[seen], rtol=0, atol=1e-9)
        for part in design.covariates:
            moved = oracle.covariates[part.name] + part.shift * oracle.drawn
            gap = of(draw, part.name, row)[seen] - moved[seen]
            if not design.measurement.covariate_sd:
                assert np.abs(gap).max() <= 0.5 * design.measurement.rounding + 1e-12  # type: ignore[attr-defined]
            else:
                assert 0.6 < gap.std() / design.measurement.covariate_sd < 1.4
        y, without = oracle.outcome(oracle.drawn), oracle.outcome(oracle.untreated)
        for name, values in oracle.indicators(y, without).items():
            np.testing.assert_allclose(of(draw, name, row)[seen], values[seen], rtol=0, atol=1e-9)


# The slow program: it shares no formula with `sim`, reads what was drawn, and follows the words of the parts'
# docstrings period by period, with dense matrices and loops over units.

EARTH_KM = 6371.0


@dataclass(frozen=True, eq=False)
class PanelPieces:
    """What was drawn of one replication; arrays (T, N) unless said otherwise.

    weights (N, N), None where the world has none. place (N, 2): longitude and latitude. drawn: the treatment. errors:
    before they spread. deviations (N,): of effects. noise: of indicators, by name. seen: 1 where observed.
    """

    design: PanelDesign
    weights: Floats | None
    place: Floats
    levels: Floats
    covariates: Mapping[str, Floats]
    mediators: Mapping[str, Floats]
    drawn: Floats
    errors: Floats
    deviations: Floats
    noise: Mapping[str, Floats]
    seen: Floats

    @property
    def years(self) -> list[int]:
        return [self.design.first_period + t for t in range(self.design.periods)]

    @property
    def w(self) -> Floats:
        return np.zeros((self.n, self.n)) if self.weights is None else self.weights

    @property
    def n(self) -> int:
        return self.drawn.shape[1]

    @cached_property
    def multiplier(self) -> Floats:
        return np.linalg.inv(np.eye(self.n) - self.design.spillover.rho * self.w)

    @cached_property
    def spread_errors(self) -> Floats:
        process: Any = self.design.errors
        spatial = getattr(process, "spatial", 0.0)
        if not spatial:
            return self.errors
        if process.spatial_kind == "ma":
            return self.errors + spatial * self.errors @ self.w.T
        return np.array([np.linalg.solve(np.eye(self.n) - spatial * self.w, row) for row in self.errors])

    def standing(self, name: str) -> Floats:
        """A covariate's mean of each unit in standard deviations from the mean of all, (N,)."""
        means = np.array([self.covariates[name][:, i].mean() for i in range(self.n)])
        return (means - means.mean()) / means.std() if means.std() > 0 else np.zeros(self.n)

    @cached_property
    def effects(self) -> Floats:
        """tau_i of each unit, (N,)."""
        dials: Any = self.design.effect
        out = np.full(self.n, float(dials.size))
        for i in range(self.n):
            out[i] *= 1 + dials.unit_sd * self.deviations[i]
            on = [t for t in range(len(self.drawn)) if self.drawn[t, i]]
            out[i] *= 1 + dials.by_cohort * (on[0] if on else 0)
        return out * (1 + dials.covariate_slope * self.standing(dials.by_covariate)) if dials.by_covariate else out

    def doses(self, d: Floats) -> Floats:
        """How much of the effect is felt."""
        dials: Any = self.design.effect
        if dials.shape == "constant" and not dials.anticipation:
            return d
        out = np.zeros_like(d)
        for i in range(self.n):
            on = [t for t in range(len(d)) if d[t, i]]
            for t in range(len(d)) if on else ():
                since = t - on[0]
                if since < 0:
                    out[t, i] = 0.5 if -since <= dials.anticipation else 0.0
                else:
                    out[t, i] = {"constant": 1.0, "growing": min(1.0, (since + 1) / 5), "fading": 0.8**since}[
                        dials.shape
                    ]
        return out

    @cached_property
    def distances(self) -> Floats:
        """Great-circle km, by the haversine formula."""
        lon, lat = np.radians(self.place.T)
        half = np.sin((lat[:, None] - lat) / 2) ** 2
        half = half + np.cos(lat[:, None]) * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
        return 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))

    @cached_property
    def near(self) -> list[list[int]]:
        """The other units within the radius of spillovers, of each unit."""
        radius = self.design.spillover.radius
        return [[j for j in range(self.n) if j != i and self.distances[i, j] <= radius] for i in range(self.n)]

    def spillovers(self, dose: Floats) -> Floats:
        """What others' doses add to each unit before outcomes depend on each other."""
        dials: Any = self.design.spillover
        out = np.zeros_like(dose)
        for i in range(self.n) if dials.w_effect else ():
            if dials.radius is None:
                exposure = dose @ self.w[i]
            else:
                near = self.near[i]
                exposure = dose[:, near].max(axis=1, initial=0.0) if near else np.zeros(len(dose))
            own = dose[:, i] != 0
            reached = {"all": np.ones(len(dose), bool), "treated": own, "controls": ~own}[dials.on]
            out[:, i] = dials.w_effect * exposure * reached
        return out

    def mediator(self, name: str, d: Floats) -> Floats:
        part = next(item for item in self.design.mediators if item.name == name)
        return self.mediators[name] + part.a * d

    def outcome(self, d: Floats, through: Floats | None = None, only: str = "") -> Floats:
        """Y(d); the mediators, or the one that is named, are those of the treatment `through`."""
        rhs = self.effects * self.doses(d) + self.spillovers(self.doses(d)) + self.spread_errors
        for item in self.design.covariates:
            x = self.covariates[item.name] + (item.moved * d if item.bad_control else 0.0)
            rhs = rhs + item.effect * x + item.lag_effect * x @ self.w.T
        for part in self.design.mediators:
            if not part.within:
                other = through is not None and only in ("", part.name)
                m = self.mediator(part.name, through if other and through is not None else d)
                rhs = rhs + part.b * m + part.interaction * d * m
        return self.levels + self.apart + rhs @ self.multiplier.T

    @cached_property
    def apart(self) -> Floats:
        """What sets units that are treated at some time apart whatever the treatment does."""
        dials: Any = self.design.effect
        years = np.array(self.years, dtype=float)
        out = np.zeros_like(self.drawn)
        for i in range(self.n):
            if self.drawn[:, i].any():
                out[:, i] += dials.trend_gap * (years - years.mean())
            out[:, i] += dials.jump * (self.drawn[:, i] > 0)
        return out

    @cached_property
    def untreated(self) -> Floats:
        return np.zeros_like(self.drawn)

    def indicators(self, outcome: Floats, without: Floats) -> dict[str, Floats]:
        dials: Any = self.design.indicators
        out = {}
        for j, name in enumerate(dials.names):
            y = outcome if not dials.treated or name in dials.treated else without
            loading = (dials.loadings or [1.0] * len(dials.names))[j] * (-1 if name in dials.negative else 1)
            out[name] = loading * y + dials.noise * self.noise.get(name, 0.0)
        return out

    def entropy_index(self, values: Mapping[str, Floats]) -> Floats:
        """H of observed unit-periods, 0 elsewhere; the paper's equations 1 to 7 with plain sums."""
        dials: Any = self.design.indicators
        cells = np.argwhere(self.seen > 0)
        scaled, gaps = [], []
        for name, x in values.items():
            at = [float(x[t, i]) for t, i in cells]
            low, high = min(at), max(at)
            a = [(high - v if name in dials.negative else v - low) / (high - low) for v in at]
            whole = sum(a)
            p = [v / whole for v in a]
            gaps.append(1 + sum(v * np.log(v) for v in p if v > 0) / np.log(len(p)))
            scaled.append(a)
        out, weights = np.zeros_like(self.seen), [g / sum(gaps) for g in gaps]
        for row, (t, i) in enumerate(cells):
            out[t, i] = sum(weight * a[row] for weight, a in zip(weights, scaled, strict=True))
        return out

    @cached_property
    def true_outcome(self) -> Floats:
        """The outcome before it is measured."""
        y = self.outcome(self.drawn)
        if not self.design.indicators.names:
            return y
        return self.entropy_index(self.indicators(y, self.outcome(self.untreated)))

    @cached_property
    def gain(self) -> Floats:
        y, without = self.outcome(self.drawn), self.outcome(self.untreated)
        if not self.design.indicators.names:
            return y - without
        treated = self.entropy_index(self.indicators(y, without))
        return treated - self.entropy_index(self.indicators(without, without))

    @cached_property
    def own_gain(self) -> Floats:
        """What each unit's own treatment does to it while nobody else is treated."""
        without, out = self.outcome(self.untreated), np.zeros_like(self.drawn)
        for i in range(self.n):
            if self.drawn[:, i].any():
                alone = np.zeros_like(self.drawn)
                alone[:, i] = self.drawn[:, i]
                out[:, i] = (self.outcome(alone) - without)[:, i]
        return out

    def through(self, name: str) -> Floats:
        """Y(d, M(d)) - Y(d, M(0))."""
        return self.outcome(self.drawn) - self.outcome(self.drawn, self.untreated, name)

    def truth(self, name: str) -> float:
        """The true value of an estimand, NaN where the world has none."""
        kind, _, inside = name.rstrip(")").partition("(")
        if kind in ("att", "event", "cohort", "calendar", "att_event", "att_cohort", "att_calendar"):
            return self.policy_mean(self.gain, name)
        if kind == "spill" and inside in ("untreated", "never"):
            return self.on_untreated(never=inside == "never")
        if kind == "contrast":
            return self.contrast()
        if kind in ("slope", "level"):
            return self.line(kind, inside)
        if self.design.indicators.names:
            return np.nan
        if kind == "att_own":
            return self.policy_mean(self.own_gain, "att")
        if kind == "spill":
            return self.policy_mean(self.gain, "att") - self.policy_mean(self.own_gain, "att")
        if kind in ("nie", "nde"):
            return self.mediated(kind, inside)
        return self.coefficient(kind, inside)

    def line(self, kind: str, name: str) -> float:
        """The slope of treated unit-periods' effects on a variable, or the line at the variable's mean."""
        moved = {part.name: part.shift for part in self.design.covariates}
        if name in moved:
            x = self.covariates[name] + moved[name] * self.drawn
        elif name in self.mediators:
            (part,) = (part for part in self.design.mediators if part.name == name)
            x = self.mediators[name] + part.a * self.drawn
        else:
            return np.nan
        on = [(t, i) for t, i in np.argwhere(self.seen > 0) if self.drawn[t, i] != 0]
        if len({x[cell] for cell in on}) < 2:
            return np.nan
        slope, start = np.polyfit([x[cell] for cell in on], [self.gain[cell] for cell in on], 1)
        return float(slope if kind == "slope" else start + slope * x[self.seen > 0].mean())

    def mediated(self, kind: str, inside: str) -> float:
        names = [part.name for part in self.design.mediators]
        if not names or (inside and inside not in names and not inside[0].isdigit()):
            return np.nan
        named = inside if inside in names else ""
        ask = f"att({inside})" if inside and not named else "att"
        if any(part.within for part in self.design.mediators):
            through = sum(self.within(part) for part in self.design.mediators if named in ("", part.name))
        else:
            through = self.through(named)
        return self.policy_mean(through if kind == "nie" else self.gain - through, ask)

    def within(self, part: Any) -> Floats:
        """What goes through a mediator whose share is a part of the effect."""
        return part.a * part.b * self.drawn @ self.multiplier.T if part.within else self.through(part.name)

    def policy_mean(self, gain: Floats, name: str) -> float:
        kind, asked = name.partition("(")[0], tuple(map(int, re.findall(r"-?\d+", name)))
        absorbing = self.design.adoption.absorbing
        if (kind != "att" or asked) and not absorbing:
            return np.nan
        cells: list[tuple[int, int]] = [(t, i) for t, i in np.argwhere((self.drawn != 0) & (self.seen > 0)).tolist()]
        first = {i: min(t for t in range(len(gain)) if self.drawn[t, i]) for _, i in cells}
        year, start = (lambda c: self.years[c[0]]), (lambda c: self.years[first[c[1]]])
        wanted = {
            ("att", 0): lambda c: True, ("att", 2): lambda c: (start(c), year(c)) == asked,
            ("event", 1): lambda c: year(c) - start(c) == asked[0], ("cohort", 1): lambda c: start(c) == asked[0],
            ("calendar", 1): lambda c: year(c) == asked[0],
        }  # fmt: skip

        def mean(kept: list[tuple[int, int]]) -> float:
            return float(np.mean([gain[cell] for cell in kept])) if kept else np.nan

        if (kind, len(asked)) in wanted:
            return mean([c for c in cells if wanted[kind, len(asked)](c)])
        key = {"att_event": lambda c: year(c) - start(c), "att_calendar": year, "att_cohort": start}[kind]
        parts: dict[Any, list[tuple[int, int]]] = {}
        for cell in cells:
            parts.setdefault(key(cell), []).append(cell)
        sizes = [len({i for _, i in kept}) if kind == "att_cohort" else 1 for kept in parts.values()]
        return float(np.average([mean(kept) for kept in parts.values()], weights=sizes)) if parts else np.nan

    def on_untreated(self, *, never: bool) -> float:
        """Mean effects on those that are not treated, from the first adoption of anybody on."""
        on = [t for t in range(len(self.drawn)) if self.drawn[t].any()]
        kept = [
            self.gain[t, i] for t in range(on[0], len(self.drawn)) for i in range(self.n)
            if self.seen[t, i] and not (self.drawn[:, i].any() if never else self.drawn[t, i])
        ] if on else []  # fmt: skip
        return float(np.mean(kept)) if kept else np.nan

    def contrast(self) -> float:
        """Two-way DID of the effects themselves, where there is one date and all is seen."""
        ever = self.drawn.any(axis=0)
        dates = {int(np.argmax(self.drawn[:, i] != 0)) for i in np.flatnonzero(ever)}
        if len(dates) != 1 or not self.design.adoption.absorbing or ever.all() or not self.seen.all():
            return np.nan
        at = dates.pop()
        if at == 0:
            return np.nan
        change = self.gain[at:].mean(axis=0) - self.gain[:at].mean(axis=0)
        return float(change[ever].mean() - change[~ever].mean())

    @staticmethod
    def dependence(rho: float, errors: Any) -> float:
        """The largest spatial coefficient of any kind; without one unknown if units share errors in another way."""
        found = [abs(x) for x in (rho, getattr(errors, "spatial", 0.0)) if x != 0]
        if found:
            return max(found)
        return 0.0 if errors.kind == "process" and not errors.group_share + errors.factor_share else np.nan

    def coefficient(self, kind: str, name: str) -> float:
        """Coefficients, impacts and parameters of the errors."""
        spill: Any = self.design.spillover
        errors: Any = self.design.errors
        missing = self.weights is None
        lam = getattr(errors, "spatial", np.nan)
        lam = lam if getattr(errors, "spatial_kind", "") == "ar" or lam == 0 else np.nan
        if not name:
            alike = all(not getattr(errors, dial, 1) for dial in (
                "serial", "moving", "group_share", "factor_share", "by_covariate", "unit_heteroskedastic"))  # fmt: skip
            values = {"rho": np.nan if missing else spill.rho, "lambda": np.nan if missing else lam,
                      "dependence": np.nan if missing else self.dependence(spill.rho, errors),
                      "sigma2": (errors.sd * errors.scale) ** 2 if alike else np.nan}  # fmt: skip
            return values.get(kind, np.nan)
        if kind == "beta":
            if name.startswith("w_"):
                return np.nan if missing else self.pair(name[2:])[1]
            varies = name == "did" and np.ptp(self.effects) > 0
            return np.nan if varies else self.pair(name)[0]
        if missing:
            return np.nan
        if name not in self.impacts:
            self.impacts[name] = self.impacts_of(name)
        return self.impacts[name][kind]

    @cached_property
    def impacts(self) -> dict[str, dict[str, float]]:
        """Impacts by regressor, as far as they were asked for: three estimands share one product of matrices."""
        return {}

    def impacts_of(self, name: str) -> dict[str, float]:
        own, lagged = self.pair(name)
        by_unit = self.effects + own - self.design.effect.size_of_units if name == "did" else np.full(self.n, own)
        impact = self.multiplier @ (np.diag(by_unit) + lagged * self.w)
        direct, total = float(np.trace(impact)) / self.n, float(impact.sum()) / self.n
        own_alone = float(by_unit.mean())  # a unit is none of its neighbours
        return {
            "direct": direct if self.design.spillover.rho else own_alone, "total": total, "indirect": total - direct,
        }  # fmt: skip

    def pair(self, name: str) -> tuple[float, float]:
        """Coefficients of a regressor and of its lag in the equation of the outcome."""
        for item in self.design.covariates:
            if item.name == name:
                return item.effect, item.lag_effect
        for part in self.design.mediators:
            if part.name == name:
                return (np.nan if part.interaction else part.b), 0.0
        dials: Any = self.design.effect
        spill: Any = self.design.spillover
        if name != "did" or not self.design.adoption.treats or dials.shape != "constant" or dials.anticipation:
            return np.nan, np.nan
        outside = [part for part in self.design.mediators if not part.within]
        own = dials.size + sum(np.nan if part.interaction else part.a * part.b for part in outside)
        local = spill.w_effect if not spill.w_effect or (spill.radius is None and spill.on == "all") else np.nan
        return own, local
