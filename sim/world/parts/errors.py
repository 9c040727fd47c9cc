"""The outcome's errors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats, arma_matrix, is_stationary, persistent
from sim.errors import Problem
from sim.filters import SpatialFilter
from sim.schemes import compact_blocks
from sim.streams import LATER, Streams
from sim.weights import Weights
from sim.world.context import (
    FINITE,
    NOT_NEGATIVE,
    SHARE,
    SPATIAL,
    DesignSummary,
    Part,
    Range,
    WorldContext,
    fault,
    standard,
    unknown_covariate,
    whole_from,
)


class ErrorProcess(Protocol):
    """The errors of one world."""

    def draw(self, streams: Streams) -> Floats:
        """Errors before they spread over space, (R, T, N); the caller may overwrite them."""
        ...

    def mixed(self, shocks: Floats, streams: Streams, purpose: str) -> Floats:
        """Standard shocks (R, T, N) with what units have in common as in the errors, made of normal ones of units."""
        ...

    def spread(self, errors: Floats) -> Floats:
        """Errors spread over neighbours; the argument itself where they do not spread."""
        ...


class Errors(Part):
    """The law of the outcome's errors."""

    default: ClassVar[str] = "process"

    @property
    @abstractmethod
    def lam(self) -> float:
        """The spatial autoregressive coefficient of the errors, NaN where they follow another spatial process."""

    @property
    @abstractmethod
    def dependence(self) -> float:
        """How large their spatial coefficient is, whatever its kind; NaN where units depend on each other otherwise."""

    @property
    @abstractmethod
    def sigma2(self) -> float:
        """Their variance where they are independent and alike, NaN where estimators with unit effects find another."""

    @property
    @abstractmethod
    def size(self) -> float:
        """The standard deviation that is dialled; 0 where there are none."""

    def period_sd(self, periods: int) -> float:
        """Their standard deviation in a period of so many, before they spread over space and without unit_means."""
        return self.size

    @abstractmethod
    def settle(self, context: WorldContext, streams: Streams) -> ErrorProcess:
        """Draw what the world holds fixed of them."""

    def cells(self, treatment: Floats, earlier: bool = False) -> Floats | None:
        """Sizes of the errors of unit-periods, relative to one another, that follow treatment (1 or R, T, N): arrays
        like it, by which errors are multiplied after they spread; None where errors do not follow it.

        earlier: in as many periods before the first, when nobody was treated yet.
        """
        return None

    def like(self, shocks: Floats) -> Floats:
        """Standard normal shocks (R, T, N) made as persistent over periods as the errors, in place where possible."""
        return shocks


# Errors that last over periods, spread over neighbours, and share shocks of groups and common factors.


Distribution = Literal["normal", "t5", "lognormal"]


@dataclass(frozen=True, slots=True)
class Process(Errors):
    """Errors with a stationary law over periods, of a common standard deviation unless dials say otherwise.

    sd: standard deviation before errors spread over space. serial: autocorrelation over periods: the AR(1) coefficient,
    or a list of AR coefficients. moving: list of MA coefficients. spatial: spatial coefficient over W. spatial_kind:
    ar, (I - spatial W)^-1 e | ma, (I + spatial W) e. distribution: of the shocks: normal | t5 (t with 5 degrees of
    freedom) | lognormal, all with mean 0. group_share: share of the variance that units of a group have in common in a
    period. factors: number of common factors with a loading of each unit. factor_share: their share of the variance.
    unit_heteroskedastic: standard deviation of the logarithm of units' own scales, whose mean square is 1.
    by_covariate: a covariate that scales the errors: by a multiple of exp(covariate_slope z), z its standardised mean
    of a unit, such that the mean square of units' scales is 1 here too. covariate_slope: see by_covariate. unit_means:
    factor of each unit's mean error over the panel; 0 leaves deviations from it, as for errors near a random walk.
    scale: factor of all errors; 0 leaves none. keeps: what sd fixes whatever serial and moving are: variance (that of a
    period) | norm (sd^2 is the Frobenius norm of a unit's covariance matrix over the square root of T, which is the
    variance of independent errors). treated_scale: factor of the errors of units that are treated in some period, in
    all periods. post_scale: factor of errors in treated unit-periods. growth: change of the logarithm of the errors'
    size from one period to the next; the middle of the panel keeps its size. These three are factors of errors that are
    spread over space already, so that errors shared by neighbours and groups change with the unit-period. common_paths:
    paths over the periods, lists of T numbers each; each unit has a standard normal loading on each of them, drawn in
    every replication and independent of who is treated. Mediators and doses that follow errors follow the rest of them.
    """

    kind: ClassVar[str] = "process"
    ranges: ClassVar = {
        "sd": NOT_NEGATIVE, "spatial": SPATIAL, "group_share": SHARE, "factors": whole_from(0), "factor_share": SHARE,
        "unit_heteroskedastic": NOT_NEGATIVE, "scale": NOT_NEGATIVE, "moving": FINITE, "covariate_slope": FINITE,
        "unit_means": SHARE, "treated_scale": NOT_NEGATIVE, "post_scale": NOT_NEGATIVE,
        "growth": Range(-2.0, 2.0, "-2 to 2"),
    }  # fmt: skip

    sd: float = 1.0
    serial: float | tuple[float, ...] = 0.0
    moving: tuple[float, ...] = ()
    spatial: float = 0.0
    spatial_kind: Literal["ar", "ma"] = "ar"
    distribution: Distribution = "normal"
    group_share: float = 0.0
    factors: int = 0
    factor_share: float = 0.0
    unit_heteroskedastic: float = 0.0
    by_covariate: str = ""
    covariate_slope: float = 0.5
    scale: float = 1.0
    keeps: Literal["variance", "norm"] = "variance"
    unit_means: float = 1.0
    treated_scale: float = field(default=1.0, metadata={LATER: True})
    post_scale: float = field(default=1.0, metadata={LATER: True})
    growth: float = field(default=0.0, metadata={LATER: True})
    common_paths: tuple[tuple[float, ...], ...] = field(default=(), metadata={LATER: True})

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Sizes of units' errors and their loadings on factors, where there are such."""
        return ("units' sizes and loadings of errors",) if self.unit_heteroskedastic or self.factor_share else ()

    @property
    def ar(self) -> tuple[float, ...]:
        """The AR coefficients."""
        return self.serial if isinstance(self.serial, tuple) else (self.serial,) if self.serial else ()

    @property
    def follows(self) -> tuple[str, ...]:
        """by_covariate."""
        return (self.by_covariate,) if self.by_covariate else ()

    @property
    def lam(self) -> float:
        """The AR form's coefficient, where errors of neighbours that are spread do not differ in size."""
        known = self.spatial_kind == "ar" and not self.differs
        return self.spatial if known or not self.spatial else float("nan")

    @property
    def differs(self) -> bool:
        """Whether errors differ in size between unit-periods."""
        return self.treated_scale != 1 or self.post_scale != 1 or self.growth != 0

    @property
    def dependence(self) -> float:
        """The size of the AR or MA coefficient; without one NaN where groups or factors are shared."""
        shared = self.group_share or self.factor_share
        return float("nan") if shared and not self.spatial else abs(self.spatial)

    @property
    def sigma2(self) -> float:
        """The variance, NaN where errors last, are shared or differ in size: unit and period effects take up a part."""
        alike = not (self.ar or self.moving or self.group_share or self.factor_share or self.by_covariate)
        alike = alike and not self.common_paths and not self.differs
        return self.size**2 if alike and not self.unit_heteroskedastic and self.unit_means == 1 else float("nan")

    @property
    def size(self) -> float:
        """sd times scale."""
        return self.sd * self.scale

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Numbers out of range, explosive processes, shares above one, factors and covariates that are not there."""
        if not is_stationary(self.ar):
            allowed = "more than -1, less than 1" if len(self.ar) == 1 else "coefficients of a stationary process"
            yield fault(f"serial = {self.serial}", allowed, "correct serial")
        if self.group_share + self.factor_share > 1:
            yield fault("group_share and factor_share sum to more than 1", "a sum up to 1", "correct one of them")
        most = min(summary.units, len(summary.periods))
        if self.factors > most:
            what = f"factors = {self.factors} of {summary.units} units and {len(summary.periods)} periods"
            yield fault(what, f"0 to {most}", "choose fewer factors")
        if self.factor_share and not self.factors:
            yield fault(f"factor_share = {self.factor_share:g} without factors", "factors of 1 or more", "set factors")
        if self.by_covariate and self.by_covariate not in summary.covariates:
            yield unknown_covariate("by_covariate", self.by_covariate, summary)
        if wrong := [len(path) for path in self.common_paths if len(path) != len(summary.periods)]:
            yield fault(f"common_paths: one of {wrong[0]} numbers", f"{len(summary.periods)} numbers, one a period",
                        "correct common_paths")  # fmt: skip
        if not all(np.isfinite(path).all() for path in self.common_paths):
            yield fault("common_paths: a number that is not finite", "finite numbers", "correct common_paths")
        if self.differs and summary.mediators:
            yield fault("errors differ in size between unit-periods, beside mediators", "one of the two",
                        "leave out treated_scale, post_scale and growth, or the mediators")  # fmt: skip

    def settle(self, context: WorldContext, streams: Streams) -> SettledProcess:
        """Loadings and scales of units."""
        rng = streams.fixed("errors")
        loadings = rng.standard_normal((self.factors, context.units))
        logs = self.unit_heteroskedastic * rng.standard_normal(context.units)
        if self.by_covariate:
            logs = logs + self.covariate_slope * standard(context.covariates[self.by_covariate].mean(axis=0))
        scales = np.exp(logs) / np.sqrt(np.square(np.exp(logs)).mean())
        spatial = context.spatial(self.spatial) if self.spatial_kind == "ar" else None
        moving = context.main_weights if self.spatial_kind == "ma" and self.spatial else None
        sizes = self.period_sd(len(context.periods)) * scales
        return SettledProcess(self, context, loadings, sizes, bool(np.ptp(logs)), spatial, moving)

    def period_sd(self, periods: int) -> float:
        """The size; less where errors last and their norm is kept."""
        if self.keeps == "variance" or not (self.ar or self.moving):
            return self.size
        correlations = arma_matrix(self.ar, self.moving, periods)
        return self.size * float(np.sqrt(np.sqrt(periods) / np.linalg.norm(correlations)))

    def cells(self, treatment: Floats, earlier: bool = False) -> Floats | None:
        """treated_scale, post_scale and exp(growth t) where they apply, t counted from the middle of the panel."""
        if not self.differs:
            return None
        on, periods = treatment != 0, treatment.shape[1]
        time = np.arange(periods) - (periods - 1) / 2 - earlier * periods
        sizes = np.where(on & (not earlier), self.post_scale, 1.0) * np.exp(self.growth * time)[:, None]
        return np.asarray(sizes * np.where(on.any(axis=1, keepdims=True), self.treated_scale, 1.0))

    def like(self, shocks: Floats) -> Floats:
        """The same ARMA process."""
        return persistent(shocks, self.serial, self.moving)


@dataclass(frozen=True, eq=False, slots=True)
class SettledProcess:
    """The errors of one world: loadings (r, N), sizes (N,)."""

    part: Process
    context: WorldContext
    loadings: Floats
    sizes: Floats
    unequal: bool
    spatial: SpatialFilter | None
    moving: Weights | None

    def draw(self, streams: Streams) -> Floats:
        """Shocks of units, groups and factors in their shares, made persistent, times the units' sizes."""
        part, shape = self.part, self.context.shape
        if part.distribution == "t5":
            drawn = np.array([rng.standard_t(5, size=shape) for rng in streams.each("errors")])
            shocks = drawn.reshape(-1, *shape) * np.sqrt(3 / 5)
        else:
            shocks = streams.normals("errors", *shape)
        if part.distribution == "lognormal":
            shocks = (np.exp(shocks) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)
        errors = persistent(self.mixed(shocks, streams, "errors"), part.serial, part.moving)
        errors *= self.sizes if self.unequal else self.sizes[0]
        if part.common_paths:
            loadings = streams.normals("loadings on paths", len(part.common_paths), self.context.units)
            errors += part.scale * np.matmul(np.array(part.common_paths).T, loadings)
        if part.unit_means != 1.0:
            errors -= (1.0 - part.unit_means) * errors.mean(axis=1, keepdims=True)
        return errors

    def mixed(self, shocks: Floats, streams: Streams, purpose: str) -> Floats:
        """Shocks of units (R, T, N), and beside them in their shares those of groups and factors; in place."""
        part = self.part
        if part.group_share or part.factor_share:
            shocks *= np.sqrt(max(1.0 - part.group_share - part.factor_share, 0.0))
            context, shared = self.context, np.zeros((1, *self.context.shape))
            periods, groups = len(context.periods), context.places.group
            if part.group_share:
                of_groups = streams.normals(f"{purpose} of groups", periods, int(groups.max()) + 1)
                shared = shared + np.sqrt(part.group_share) * of_groups[:, :, groups]
            if part.factor_share:
                paths = streams.normals(f"{purpose} of factors", periods, part.factors)
                shared = shared + np.sqrt(part.factor_share / part.factors) * (paths @ self.loadings)
            shocks += shared
        return shocks

    def spread(self, errors: Floats) -> Floats:
        """S e or (I + spatial W) e."""
        if self.moving is not None:
            return errors + self.part.spatial * self.moving.lag(errors)
        return errors if self.spatial is None else self.spatial.apply(errors)


# Errors that are the residuals of the panel that is kept, whole paths of units at a time.


@dataclass(frozen=True, slots=True)
class Residuals(Errors):
    """Whole residual paths of a real panel, drawn again with replacement or with another sign.

    variable: the residuals in the panel of the geography "kept". draw: resampled (each unit, or block of neighbours,
    gets the path of one that is drawn) | flipped (each keeps its own path, with a random sign). block: most units of
    a block of neighbours in W that are drawn together; 1 draws units alone. sd: the standard deviation that residuals
    are brought to. scale: factor of all errors; 0 leaves none.
    """

    kind: ClassVar[str] = "residuals"
    sigma2: ClassVar[float] = float("nan")
    dependence: ClassVar[float] = float("nan")
    lam: ClassVar[float] = float("nan")
    ranges: ClassVar = {"block": whole_from(1), "sd": NOT_NEGATIVE, "scale": NOT_NEGATIVE}

    variable: str = "residual.residual"
    draw: Literal["resampled", "flipped"] = "resampled"
    block: int = 1
    sd: float = 1.0
    scale: float = 1.0

    @property
    def size(self) -> float:
        """sd times scale."""
        return self.sd * self.scale

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Blocks of more than half of the units."""
        if not 1 <= self.block <= summary.units // 2:
            yield fault(f"block = {self.block} of {summary.units} units", f"1 to {summary.units // 2}", "correct block")

    def settle(self, context: WorldContext, streams: Streams) -> SettledResiduals:
        """Residuals at their size, and the blocks of neighbours."""
        paths = context.places.variable(self.variable, "[design.errors] variable")
        rms = float(np.sqrt(np.square(paths).mean()))
        return SettledResiduals(self, paths * (self.size / rms if rms > 0 else 0.0), blocks(context, self.block))


@dataclass(frozen=True, eq=False, slots=True)
class SettledResiduals:
    """The errors of one world: paths (T, N); members (B, size) of the blocks, the largest first, -1 where not full."""

    part: Residuals
    paths: Floats
    members: NDArray[np.intp]

    def draw(self, streams: Streams) -> Floats:
        """Paths of each replication, (R, T, N)."""
        drawn = (self._one(rng) for rng in streams.each("residuals"))
        return np.stack([*drawn])

    def mixed(self, shocks: Floats, streams: Streams, purpose: str) -> Floats:
        """Paths drawn once more, at a standard deviation of 1; the shocks where there are no errors."""
        if not self.part.size:
            return shocks
        return np.stack([self._one(rng) for rng in streams.each(purpose)]) / self.part.size

    def spread(self, errors: Floats) -> Floats:
        """They are spread already."""
        return errors

    def _one(self, rng: np.random.Generator) -> Floats:
        inside = self.members >= 0
        if self.part.draw == "flipped":
            signs = np.broadcast_to(rng.choice([-1.0, 1.0], len(inside))[:, None], inside.shape)
            flips = np.empty(self.paths.shape[1])
            flips[self.members[inside]] = signs[inside]
            return self.paths * flips
        sizes = inside.sum(axis=1)
        large_enough = np.searchsorted(-sizes, -sizes, side="right")  # blocks that have as many units, or more
        donors = self.members[rng.integers(large_enough)]
        out = np.empty_like(self.paths)
        out[:, self.members[inside]] = self.paths[:, donors[inside]]
        return out


def blocks(context: WorldContext, size: int) -> NDArray[np.intp]:
    """Compact blocks of up to `size` units that are neighbours in W, (B, size), the largest first, filled with -1.

    Units of a block stand in the order in which it grew, so that those in the same place of two blocks are alike in how
    they lie to the others. Blocks of one unit need no W.
    """
    if size == 1:
        return np.arange(context.units, dtype=np.intp)[:, None]
    linked = context.main_weights.dense > 0
    found = sorted(compact_blocks(linked | linked.T, size), key=len, reverse=True)
    return np.array([np.r_[block, np.full(size - len(block), -1)] for block in found], dtype=np.intp)
