"""Difference-in-differences of one panel under thousands of treatments: y and controls fixed, D differs.

With M the projection off effects and controls (Frisch and Waugh 1933; Lovell 1963), y~ = My and D~ = MD,
b = D~'y~ / D~'D~, and the cluster-robust variance is c sum_g s_g^2 / (D~'D~)^2 with s_i = u_i - b v_i,
u_i = sum_t D~_it y~_it, v_i = sum_t D~_it^2 and CR1's c = G/(G-1) (n-1)/(n-k) as in `TwoWayDID`. For an absorbing
treatment D~_it = 1[t >= a_i] - g_i - m_t - c'P_it: g_i the unit's share of treated periods, m the centred share of
treated units, P an orthonormal basis of the demeaned controls, c = PD. So u_i is a tail of y~_i less (m, c) times fixed
columns, and v_i a polynomial of degree two in (m, c) with fixed coefficients and a tail: products of small matrices for
all units, look-ups for the treated alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import Status
from estimators.core.names import outcome_of
from estimators.core.tile import Tile
from estimators.linear.covariances import ClusterK
from estimators.placebo.treatments import Adoptions, Fields, Paths, Projection, outcomes, tails, tiles, treatments
from sim.errors import bad, one_of
from sim.panel import Panel, Schema

Floats = NDArray[np.float64]

ROWS = 24  # of every product of small matrices: always as many, so that a draw's bits do not depend on the batch
DRAWS_AT_ONCE = 512


def of_units(error: str, schema: Schema) -> bool:
    """Whether an error type is clustered by units or by one attribute of theirs, as the kernel's errors are."""
    return error in {"cluster:unit", *(f"cluster:{name}" for name in schema.attributes)}


@dataclass(frozen=True, eq=False, slots=True)
class PlaceboFits:
    """R outcomes under B treatments: estimate, se (R, B, K), NaN where there is none; status (R, B); dof of a t."""

    terms: tuple[str, ...]
    estimate: Floats
    se: Floats
    status: NDArray[np.uint8]
    dof: float

    def of(self, term: str) -> tuple[Floats, Floats]:
        """Estimates and standard errors of a term, (R, B) each."""
        k = self.terms.index(term)
        return self.estimate[:, :, k], self.se[:, :, k]

    @staticmethod
    def join(parts: list[PlaceboFits]) -> PlaceboFits:
        """One record from consecutive batches of treatments."""
        estimate, se, status = (
            np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("estimate", "se", "status")
        )
        return PlaceboFits(parts[0].terms, estimate, se, status, parts[0].dof)


@dataclass(frozen=True, eq=False, slots=True)
class DIDPlacebo:
    """The regression of `TwoWayDID` with the treatment left open: effects, fixed controls, clusters.

    outcome: its name in the panel; controls: the projection's basis; codes (N,): clusters of units, None = each its
    own; factor: CR1's; dof: G - 1.
    """

    outcome: str
    projection: Projection
    controls: Fields
    codes: NDArray[np.intp] | None
    factor: float
    dof: float

    @classmethod
    def of(
        cls, panel: Panel, *, outcome: str | None = None, controls: tuple[str, ...] | None = None,
        error: str = "cluster:unit", cluster_k: ClusterK = "nonnested",
    ) -> DIDPlacebo:  # fmt: skip
        """Of a panel's outcome and controls (None = its roles); error is cluster:unit or cluster:ATTRIBUTE.

        Raises BadInput for controls that differ between replications or that the effects absorb.
        """
        name = outcome_of(outcome, panel.schema, "did placebo")
        controls = fixed_controls(panel, controls, "did placebo")
        tile = Tile(panel)
        projection = Projection.of(tile.transform, within_stack(tile, controls))
        allowed = ("cluster:unit", *(f"cluster:{attribute}" for attribute in panel.attributes))
        if error not in allowed:
            raise bad(f"error type {error!r}", where="did placebo", allowed=one_of(allowed),
                      remedy="choose among them")  # fmt: skip
        attribute = error.removeprefix("cluster:")
        codes = None if attribute == "unit" else np.unique(panel.attributes[attribute], return_inverse=True)[1]
        groups, n, k = _groups(panel, codes), panel.nobs, len(controls) + 1
        units = len(panel.units) if panel.observed is None else int(panel.observed[0].any(axis=0).sum())
        beside_units = tile.transform.effects - units + 1  # time effects, which clusters of units do not nest
        counted = {"slopes": k, "nonnested": k + beside_units, "all": k + tile.transform.effects}[cluster_k]
        factor = groups / (groups - 1) * (n - 1) / (n - counted)
        return cls(name, projection, Fields(projection.basis), codes, factor, groups - 1.0)

    def assign(self, given: NDArray[Any]) -> AssignedDID:
        """B treatments, ready for any outcome: first treated periods (B, N), T = never, or D (B, T, N)."""
        drawn = treatments(given, self.projection, "did placebo")
        if isinstance(drawn, Adoptions):
            within, squares, scores = _tabled(self, drawn)
        else:
            within, squares, scores = _whole(self, drawn)
        return AssignedDID(self, np.where(sound(squares, within, drawn.total), squares, np.nan), scores)


@dataclass(frozen=True, eq=False, slots=True)
class AssignedDID:
    """B treatments of a panel: squares (B,) = D~'D~, NaN where nothing is left of D, and their scores."""

    kernel: DIDPlacebo
    squares: Floats
    scores: _Scores

    def fit(self, y: Floats) -> PlaceboFits:
        """Outcomes y (R, T, N), raw, under each treatment."""
        project = self.kernel.projection
        fits = [self._fit(project(one)[0]) for one in outcomes(y, project, "did placebo")]
        beta, se = (np.stack(column)[:, :, None] for column in zip(*fits, strict=True))
        status = np.where(np.isfinite(beta[:, :, 0]), Status.OK, Status.SINGULAR).astype(np.uint8)
        return PlaceboFits(("did",), beta, se, status, self.kernel.dof)

    def _fit(self, y: Floats) -> tuple[Floats, Floats]:
        """b and its standard error, (B,) each, of one projected outcome (T, N)."""
        u = self.scores(y)
        beta = u.sum(axis=1) / self.squares
        u -= beta[:, None] * self.scores.own
        if self.kernel.codes is not None:
            members = np.arange(self.kernel.codes.max() + 1) == self.kernel.codes[:, None]
            u = product(u, members.astype(np.float64))
        return beta, np.sqrt(self.kernel.factor * np.vecdot(u, u)) / self.squares


@dataclass(frozen=True, eq=False, slots=True)
class _Tabled:
    """Scores of absorbing treatments: columns (B, T + K) = -(m, c); own (B, N) = v."""

    adoptions: Adoptions
    basis: Floats
    columns: Floats
    own: Floats

    def __call__(self, y: Floats) -> Floats:
        """u (B, N) of one projected outcome (T, N)."""
        u = product(self.columns, np.concatenate([y, (self.basis * y).sum(axis=1)]))
        _add_treated(u, self.adoptions, tails(y).take(self.adoptions.entries))
        return u


@dataclass(frozen=True, eq=False, slots=True)
class _Whole:
    """Scores of any treatments: x (B, T, N) = D~, own (B, N) = v."""

    x: Floats
    own: Floats

    def __call__(self, y: Floats) -> Floats:
        """u (B, N) of one projected outcome (T, N)."""
        u = np.empty_like(self.own)
        for rows in tiles(len(u)):
            u[rows] = np.einsum("btn,tn->bn", self.x[rows], y)
        return u


_Scores = _Tabled | _Whole


def _tabled(kernel: DIDPlacebo, drawn: Adoptions) -> tuple[Floats, Floats, _Scores]:
    """D'QD and D~'D~, (B,) each, and scores from tables."""
    basis = kernel.projection.basis
    k, periods, units = basis.shape
    rows, _, dates = drawn.treated
    m, c = drawn.by_period / units, drawn.meet(kernel.controls)
    first, second = np.triu_indices(k)
    doubled = np.where(first == second, 1.0, 2.0)
    quadratic = np.concatenate(
        [2 * (c[:, :, None] * m[:, None, :]).reshape(drawn.draws, k * periods), doubled * c[:, first] * c[:, second],
         np.vecdot(m, m)[:, None]], axis=1,
    )  # fmt: skip
    pairs = np.einsum("ptn,ptn->pn", basis[first], basis[second])
    own = product(quadratic, np.concatenate([basis.reshape(k * periods, units), pairs, np.ones((1, units))]))
    linear = tails(m[:, :, None]).ravel()[rows * periods + dates]
    for column, field in zip(c.T, kernel.controls.tails, strict=True):
        linear += column[rows] * field.take(drawn.entries)
    _add_treated(own, drawn, np.diagonal(drawn.kappa)[dates] - 2 * linear)
    within = drawn.square()
    return within, within - np.vecdot(c, c), _Tabled(drawn, basis, -np.concatenate([m, c], axis=1), own)


def _whole(kernel: DIDPlacebo, drawn: Paths) -> tuple[Floats, Floats, _Scores]:
    """D'QD and D~'D~, (B,) each, and scores from the projected treatments themselves."""
    project = kernel.projection
    within, own, x = np.empty(drawn.draws), np.empty((drawn.draws, drawn.values.shape[2])), np.empty_like(drawn.values)
    for rows in tiles(drawn.draws):
        part = project.transform(drawn.values[rows])
        within[rows] = ols.sum_of_squares(part)
        x[rows] = part = project.partial(part)
        own[rows] = np.einsum("btn,btn->bn", part, part)
    return within, own.sum(axis=1), _Whole(x, own)


def did_placebo(
    panel: Panel, given: NDArray[Any], *, outcome: str | None = None, controls: tuple[str, ...] | None = None,
    error: str = "cluster:unit", cluster_k: ClusterK = "nonnested",
) -> PlaceboFits:  # fmt: skip
    """`TwoWayDID` of a panel's R outcomes with each of B treatments in place of its own; the term is "did".

    given: first treated periods (B, N) as indices, T = never, of absorbing treatments (tables; balanced panels), or
    D (B, T, N). Bits of a draw do not depend on the others it comes with when the treatment is absorbing.
    """
    kernel = DIDPlacebo.of(panel, outcome=outcome, controls=controls, error=error, cluster_k=cluster_k)
    y = panel.variables[kernel.outcome]
    batches = (given[start : start + DRAWS_AT_ONCE] for start in range(0, max(len(given), 1), DRAWS_AT_ONCE))
    return PlaceboFits.join([kernel.assign(batch).fit(y) for batch in batches])


def sound(squares: Floats, within: Floats, total: Floats) -> NDArray[np.bool_]:
    """Whether enough of D is left for a slope, (B,), from D~'D~, D'QD and D'D; thresholds as for any regressor."""
    return np.asarray((within > ols.ABSORBED * total) & (squares > ols.COLLINEAR * within))


def product(left: Floats, right: Floats) -> Floats:
    """left @ right by blocks of ROWS rows, the last one filled with zeros."""
    padded = -(-len(left) // ROWS) * ROWS
    full = left
    if padded > len(left):
        full = np.zeros((padded, left.shape[1]))
        full[: len(left)] = left
    return np.matmul(full.reshape(-1, ROWS, left.shape[1]), right).reshape(padded, -1)[: len(left)]


def fixed_controls(panel: Panel, controls: tuple[str, ...] | None, asked_by: str) -> tuple[str, ...]:
    """The controls asked for, or the panel's; raises BadInput for those that are absent, redrawn or absorbed."""
    names = panel.roles.controls if controls is None else controls
    for name in names:
        if panel.variables[panel.schema.require(name, asked_by)].shape[0] > 1:
            raise bad(f"control {name!r} differs between replications", where=asked_by,
                      allowed="the same controls for all", remedy="fit the replications one by one")  # fmt: skip
    ols.check_fixed(panel, names, asked_by)
    return names


def within_stack(tile: Tile, names: tuple[str, ...]) -> Floats:
    """Demeaned variables, (K, T, N)."""
    shape = (0, len(tile.panel.periods), len(tile.panel.units))
    return np.concatenate([np.empty(shape), *(tile.within(name) for name in names)])


def _groups(panel: Panel, codes: NDArray[np.intp] | None) -> int:
    """Clusters with an observed cell; raises BadInput below two."""
    seen = np.ones(len(panel.units), dtype=bool) if panel.observed is None else panel.observed[0].any(axis=0)
    groups = int(seen.sum()) if codes is None else len(np.unique(codes[seen]))
    if groups < 2:
        raise bad(f"there is {groups} cluster", where="did placebo", allowed="2 or more clusters",
                  remedy="choose a finer grouping")  # fmt: skip
    return groups


def _add_treated(out: Floats, drawn: Adoptions, values: Floats) -> None:
    """Add a value to the cell (draw, unit) of everyone who is treated; out (B, N), contiguous."""
    out.reshape(-1)[drawn.cells] += values
