"""Cross products of y, Wy, X and WX: the T x N work that all spatial panel models share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import ROWS_AT_ONCE, Moments, Pieces, Reduction
from estimators.core.tile import UNDATED, Tile, dates_of, spread
from estimators.spatial.absorbing import MOST_FIELDS, FixedSide, Met
from estimators.spatial.information import Columns, FixedForms
from estimators.spatial.spectrum import Spectrum, spectrum_of
from sim.arrays import Floats
from sim.errors import BadInput, Problem, bad
from sim.panel import Panel

OTHER_MODEL = "choose other weights, or a model without spatial lags of regressors"
CELLS = 2**18  # of redrawn columns whose products are made together
LEAST_ROWS, ARRAYS = 32, 2**26  # replications solved together at least, and bytes of whole arrays in their moments


@dataclass(frozen=True, eq=False, slots=True)
class SpatialPlan:
    """What a cell's fixed variables give: Z = [QX, QWX] (P, T, N), Z'Z (1, P, P), forms by P; None where redrawn.

    With two lags Z has QW^2X as well. columns: which regressors are redrawn, and Z of the others. beside: what the
    fixed ones and one that is redrawn need for forms by its dates, where these can take the place of its values;
    dated: whether they do in the panel that the plan was made of. labels of the units and attributes (N,) serve
    clustered errors. useless_lags: what is wrong with fixed WX, which is for models that have them as regressors to
    raise.
    """

    names: tuple[str, ...]
    units: int
    periods: int
    spectrum: Spectrum
    z: Floats | None
    gram: Floats
    forms: dict[int, FixedForms] | None
    columns: Columns
    beside: FixedSide | None
    dated: bool
    keeps_arrays: bool
    labels: tuple[str, ...]
    attributes: Mapping[str, NDArray[Any]]
    useless_lags: tuple[Problem, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class SpatialMoments(Moments):
    """Z'Qy, Z'QWy (R, P); (Qy)'(Qy), (Qy)'(QWy), (QWy)'(QWy), raw total sum of squares (R,); Z'Z and, as
    `Columns` says, redrawn regressors (R, V, T, N) or dates in their place (R, N) where there are any.

    drift (R, 2 + P, T), cross-section means of y, Wy, X and WX around their own mean over time, only when W is not
    row-stochastic. y (R, T, N) and x (R, P, T, N), raw, only when a full fit is asked for. With two lags also Z'QWWy
    (R, P), the products of QWWy with Qy, QWy and itself (R, 3), and WWy and WWX in drift.
    """

    zy: Floats
    zwy: Floats
    yy: Floats
    ywy: Floats
    wyy: Floats
    tss: Floats
    gram: Floats | None
    z: Pieces | None
    dates: NDArray[np.int16] | None
    drift: Floats | None
    y: Floats | None
    x: Floats | None
    zwwy: Floats | None = None
    wwy: Floats | None = None
    met: Met = field(default_factory=Met, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class SpatialCrossProducts(Reduction):
    """One demeaning, one lag, one projection for every spatial model of an outcome, its regressors and a W.

    lags = 2: also those of W^2, for SDEM and SAC.
    """

    outcome: str
    names: tuple[str, ...]
    weights: str
    keep_arrays: bool
    lags: int = 1

    def prepare(self, panel: Panel) -> SpatialPlan:
        """Cross products and forms of fixed regressors; raises BadInput for absorbed ones and unbalanced panels."""
        asked_by = f"spatial model of {self.outcome}"
        if not panel.balanced:
            raise bad(f"{len(panel.units) * len(panel.periods) - panel.nobs} unit-periods are missing", where=asked_by,
                      allowed="a balanced panel", remedy='set balance = "drop-units" or "drop-periods"')  # fmt: skip
        tile = Tile(panel)
        columns = ols.fixed_columns(tile, self.names)
        if problems := ols.useless(columns, asked_by):
            raise BadInput(*problems)
        lagged = [
            ols.RegressorColumn(f"w_{column.name}", f"the spatial lag of {column.name!r}",
                                tile.lag(column.name, self.weights), tile.within_lag(column.name, self.weights),
                                OTHER_MODEL)
            for column in columns
        ]  # fmt: skip
        spectrum = spectrum_of(panel.weights[self.weights])
        anew = np.array([k for k, name in enumerate(self.names) if panel.variables[name].shape[0] > 1], dtype=np.intp)
        p = 2 * len(self.names)
        kept = tuple(name for name in self.names if panel.variables[name].shape[0] == 1)
        fixed = self._regressors(tile, kept)[0] if kept else np.empty((0, len(panel.periods), len(panel.units)))
        columns_of = Columns(len(self.names), anew, fixed)
        z, gram, forms = None, ols.gram(fixed[None]), None
        if not anew.size:
            z, forms = fixed, {size: FixedForms(fixed[:size], spectrum) for size in (p // 2, p)}
        by_dates = anew.size == 1 and len(fixed) <= MOST_FIELDS and not self.keep_arrays
        beside = FixedSide.of(fixed[: p - 2], spectrum) if by_dates else None
        dated = beside is not None and bool((dates_of(panel.variables[self.names[anew[0]]]) != UNDATED).all())
        return SpatialPlan(self.names, len(panel.units), len(panel.periods), spectrum, z, gram, forms, columns_of,
                           beside, dated, self.keep_arrays, panel.units, dict(panel.attributes),
                           tuple(ols.useless([*columns, *lagged], asked_by)))  # fmt: skip

    def for_worlds(self, plan: SpatialPlan, worlds: int) -> SpatialPlan:
        """Tables of what dates meet take some 50 ms and 24 MB a world, a hundred replications' worth."""
        return plan if worlds == 1 else replace(plan, beside=None, dated=False)

    def rows(self, plan: SpatialPlan) -> int:
        """Fewer when the moments hold arrays of T x N."""
        redrawn = plan.columns.anew.size + 1 if plan.columns.anew.size and not plan.dated else 0
        arrays = (1 + self.lags) * redrawn + (1 + 2 * len(plan.names)) * plan.keeps_arrays
        if not arrays:
            return ROWS_AT_ONCE
        return int(np.clip(ARRAYS // (8 * arrays * plan.periods * plan.units), LEAST_ROWS, ROWS_AT_ONCE))

    def _regressors(self, tile: Tile, names: tuple[str, ...]) -> Floats:
        """[QX, QWX] of some variables, with two lags QW^2X too, (1 or R, P, T, N)."""
        return ols.stack(self._columns(tile, names))

    def _columns(self, tile: Tile, names: tuple[str, ...]) -> list[Floats]:
        lagged = [tile.within_lag(name, self.weights) for name in names]
        further = [self._within_second_lag(tile, name) for name in names] if self.lags == 2 else []
        return [tile.within(name) for name in names] + lagged + further

    def _within_second_lag(self, tile: Tile, name: str) -> Floats:
        """Q (W W x), (1 or R, T, N)."""
        w = tile.panel.weights[self.weights]
        if w.row_stochastic:
            return w.lag(tile.within_lag(name, self.weights), centred=True)
        return tile.transform(w.lag(tile.lag(name, self.weights)))

    def _drift(self, tile: Tile, rows: int) -> Floats:
        w = tile.panel.weights[self.weights]
        variables = [[tile.raw(name), tile.lag(name, self.weights)] for name in (self.outcome, *self.names)]
        if self.lags == 2:
            variables = [[*lagged, w.lag(lagged[1])] for lagged in variables]
        own, *others = ([values.mean(axis=2) for values in lagged] for lagged in variables)
        means = [*own, *(mean for order in zip(*others, strict=True) for mean in order)]
        return np.stack([spread(mean - mean.mean(axis=1, keepdims=True), rows) for mean in means], axis=1)

    def _without_absorbed(self, tile: Tile, gram: Floats) -> Floats:
        """Z'Z of redrawn regressors, exactly zero for those that the effects absorb: rounding is no variation."""
        k, left = len(self.names), np.diagonal(gram, axis1=1, axis2=2)
        absorbed = ols.absorbed_in(tile, self.names * (left.shape[1] // k), left).reshape(len(gram), -1, k)
        if absorbed.any():
            absorbed = np.reshape(absorbed | absorbed[:, :1], gram.shape[:2])
            gram[absorbed[:, :, None] | absorbed[:, None, :]] = 0.0
        return gram

    def reduce(self, plan: SpatialPlan, tile: Tile) -> SpatialMoments:
        """One tile's cross products."""
        if plan.z is None:
            return self._of_redrawn(plan, tile)
        y, wy = tile.within(self.outcome), tile.within_lag(self.outcome, self.weights)
        z, rows = plan.z[None], tile.panel.replications
        y, wy = (spread(v, rows) for v in (y, wy))  # one outcome for all: a placebo
        zwwy, products = None, None
        if self.lags == 2:
            wwy = spread(self._within_second_lag(tile, self.outcome), rows)
            zwwy = ols.inner(z, wwy)
            products = np.stack([ols.dot(v, wwy) for v in (y, wy, wwy)], axis=1)
        return SpatialMoments(
            zy=ols.inner(z, y),
            zwy=ols.inner(z, wy),
            yy=spread(tile.within_sum_of_squares(self.outcome), rows),
            ywy=ols.dot(y, wy),
            wyy=ols.sum_of_squares(wy),
            gram=None,
            z=None,
            dates=None,
            zwwy=zwwy,
            wwy=products,
            **self._further(plan, tile),
        )

    def _of_redrawn(self, plan: SpatialPlan, tile: Tile) -> SpatialMoments:
        """The same where regressors differ: one product of all redrawn columns a replication, one with the fixed."""
        at, rows, blocks = plan.columns, tile.panel.replications, 1 + self.lags
        own = self._columns(tile, tuple(self.names[k] for k in at.anew))
        moved = [spread(values, rows) for values in own + self._columns(tile, (self.outcome,))]
        n, fixed = len(own), ols.flat(at.fixed).T
        together = max(1, CELLS // (len(moved) * plan.periods * plan.units))
        products, across = np.empty((rows, len(moved), len(moved))), np.empty((rows, len(moved), fixed.shape[1]))
        dates = dates_of(tile.raw(self.names[at.anew[0]])) if plan.beside else None
        kept = n if dates is None or (dates == UNDATED).any() else 0
        z = np.empty((rows, len(moved) if kept else 0, plan.periods, plan.units))
        for start in range(0, rows, together):
            some = slice(start, start + together)
            stacked = np.stack([values[some] for values in moved], axis=1, out=z[some] if kept else None)
            products[some], across[some] = ols.gram(stacked), np.matmul(ols.flat(stacked), fixed)
        new, old = at.among(blocks * at.names)
        gram, cross = np.empty((rows, *2 * (blocks * at.names,))), np.empty((rows, blocks, blocks * at.names))
        gram[:, new[:, None], new], gram[:, old[:, None], old] = products[:, :n, :n], plan.gram
        gram[:, new[:, None], old] = across[:, :n]
        gram[:, old[:, None], new] = across[:, :n].swapaxes(1, 2)
        cross[:, :, new], cross[:, :, old] = products[:, n:, :n], across[:, n:]
        o = products[:, n:, n:]
        return SpatialMoments(
            zy=np.ascontiguousarray(cross[:, 0]),
            zwy=np.ascontiguousarray(cross[:, 1]),
            yy=np.ascontiguousarray(o[:, 0, 0]),
            ywy=np.ascontiguousarray(o[:, 0, 1]),
            wyy=np.ascontiguousarray(o[:, 1, 1]),
            gram=self._without_absorbed(tile, gram),
            z=Pieces((z[:, :kept],)),
            dates=dates,
            zwwy=np.ascontiguousarray(cross[:, 2]) if blocks == 3 else None,
            wwy=np.ascontiguousarray(o[:, :, 2]) if blocks == 3 else None,
            **self._further(plan, tile),
        )

    def _further(self, plan: SpatialPlan, tile: Tile) -> dict[str, Any]:
        """Total sum of squares, and what some models and errors ask for besides."""
        rows, raw = tile.panel.replications, None
        if self.keep_arrays:
            parts = [tile.raw(name) for name in self.names] + [tile.lag(name, self.weights) for name in self.names]
            raw = spread(ols.stack(parts), rows)
        return {
            "tss": spread(tile.total_sum_of_squares(self.outcome), rows),
            "drift": None if plan.spectrum.weights.row_stochastic else self._drift(tile, rows),
            "y": spread(tile.raw(self.outcome), rows) if self.keep_arrays else None,
            "x": raw,
        }


def regressors(plan: SpatialPlan, m: SpatialMoments) -> Floats:
    """Z with all its lags, (1 or R, P, T, N)."""
    if m.z is None:
        return plan.columns.fixed[None]
    w, parts = plan.spectrum.weights, []
    for rows, z in m.z.chunks(len(m.z)):
        parts.append(z if m.dates is None or z.shape[1] else plan.columns.of_dates(m.dates[rows], w))
    return plan.columns.whole(np.concatenate(parts))


def lagged_gram(plan: SpatialPlan, m: SpatialMoments) -> Floats:
    """Cross products of y, Wy, X, WX, with two lags of y, Wy, WWy, X, WX, WWX, all demeaned, (R, M, M)."""
    crosses = [m.zy, m.zwy]
    outcomes = [[m.yy, m.ywy], [m.ywy, m.wyy]]
    if m.wwy is not None and m.zwwy is not None:
        crosses.append(m.zwwy)
        outcomes = [[*row, last] for row, last in zip([*outcomes, [*m.wwy.T[:2]]], m.wwy.T, strict=True)]
    o, gram = len(crosses), plan.gram if m.gram is None else m.gram
    out = np.empty((m.yy.size, *2 * (o + gram.shape[-1],)))
    out[:, :o, :o] = np.moveaxis(np.array(outcomes), -1, 0)
    out[:, :o, o:] = np.stack(crosses, axis=1)
    out[:, o:, :o] = out[:, :o, o:].swapaxes(1, 2)
    out[:, o:, o:] = gram
    return out
