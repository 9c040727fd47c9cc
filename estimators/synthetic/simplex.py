"""Least squares on the simplex for P problems at once: exact active sets, which depend on no stopping rule.

    min |B w|^2 + sum_j d_j w_j^2   over w_j >= 0, sum_j w_j = 1

With u = w s and s = sum_j u_j free, min over u >= 0 of |B u|^2 + sum_j d_j u_j^2 + (s - 1)^2 is q/(1 + q), q the
objective at w, and so has the same w = u / s (the minimum norm point as non-negative least squares; Lawson and Hanson
1974, chapter 23). No constraint but signs is left. With C the rows of B and a row of ones, e the last unit vector:

- Wide problems (fewer rows than columns) with a penalty: u_j = max(0, C_j'z) / d_j, z = e - C u, is a system of a few
  equations in z, the gradient of a concave, piecewise quadratic dual. Newton's method with a line search finds the
  piece of the maximum in a few steps, and there it is exact (semismooth Newton; Qi and Sun 1993).
- Tall problems: all columns of the wrong sign change sides at once, which arrives in a few solutions of n equations
  (block principal pivoting; Portugal, Judice and Vicente 1994).
- Wide problems hardly penalised, and what the ways above leave: one column after another enters, and leaves where its
  u would be negative (Lawson and Hanson 1974, chapter 23), by sweeps of the tableau C'C + diag(d) (Goodnight 1979);
  then u is refined against C itself. It cannot cycle.
- Where a hardly penalised fit is perfect, or columns are equal, many w fit alike; the penalty chooses the shortest, by
  the first way. It is below rounding beside a residual, so that columns are taken around the fit.

The optimum is that of a set of columns, so no tolerance moves it by more than rounding. Numbers of one problem do not
depend on the problems beside it, bit for bit: no matrix product has problems as rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.core.estimator import Moments
from sim.arrays import Codes, Flags, Floats

PENALISED = 1e-6  # penalty, relative to the mean sum of squares of a column, from which the dual is well conditioned
LEAST = 1e-15  # penalty, likewise, that is put in place of a smaller one, so that no matrix is singular
PERFECT = 1e-9  # norm of a residual relative to a column, below which a fit counts as perfect
TOLERANCE = 1e-12  # of gradients relative to a column's squares: rounding
DEPENDENT = 1e-14  # share of a column's squares outside the span of those that have entered
APART = 1e-9  # least squares of a column outside the span of those before it, from which no penalty need tell them
CERTAIN = 1e-9  # of gradients of what is called an optimum
REFINED = 2  # times that u is refined
NEWTON_STEPS = 100
RISING = 1e-10  # gradient of a column that was not looked at, from which it is
SPARE = 24  # columns beyond twice the rows that are looked at together
EXCHANGES = 12  # at most; what has not arrived by then is solved one column at a time
HALVINGS = 7  # of a step that is too long, and more until it goes up
MOST_HALVINGS = 40
CACHE = 2**17  # numbers of the largest matrices of problems that are solved together


def simplex_least_squares(
    b: Floats, penalty: Floats, eligible: Flags, start: Flags | None = None
) -> tuple[Floats, Flags]:  # fmt: skip
    """Weights (P, n), zero where a column is not eligible, and whether they are the optimum (P,).

    Of P problems: B (P, m, n), penalties d (P, n) not negative, and the columns that may have weight (P, n).

    start (P, n): columns that had weight in a problem nearby, to begin with; None = all. It saves steps, no more.
    A problem without eligible columns or with values that are not finite is NaN and not optimal.
    """
    problems, m, n = b.shape
    count = eligible.sum(axis=1)
    c = np.where(eligible[:, None], b, 0.0)
    squares = np.square(c).sum(axis=1)
    scale = (squares.sum(axis=1) + np.where(eligible, penalty, 0.0).sum(axis=1)) / np.maximum(count, 1)
    sound = (count > 0) & np.isfinite(scale)
    c[~sound], scale = 0.0, np.where(sound & (scale > 0), scale, 1.0)
    d = np.where(eligible & sound[:, None], np.maximum(penalty / scale[:, None], LEAST), 1.0)
    c = np.concatenate([c / np.sqrt(scale)[:, None, None], eligible[:, None].astype(float)], axis=1)
    allowed = eligible & sound[:, None]
    near = allowed if start is None else allowed & start
    near = np.where(near.any(axis=1)[:, None], near, allowed)
    u, optimal = np.zeros((problems, n)), np.zeros(problems, dtype=bool)
    lightest = np.where(allowed, d, np.inf).min(axis=1)
    step = max(1, CACHE // max(min(m + 1, n) * n, 1))
    for rows in (slice(start, start + step) for start in range(0, problems, step)):
        u[rows], optimal[rows] = _solved(c[rows], d[rows], allowed[rows], lightest[rows], near[rows])
    total = u.sum(axis=1)
    fine = sound & (total > 0)
    weights = np.where(fine[:, None], u / np.where(fine, total, 1.0)[:, None], np.nan)
    return weights, optimal & fine


def _solved(c: Floats, d: Floats, allowed: Flags, lightest: Floats, near: Flags) -> tuple[Floats, Flags]:
    """u and whether it is the optimum, (P, n) and (P,); lightest (P,): the least penalty; near (P, n): the start."""
    problems, rows, n = c.shape
    u, optimal = np.zeros((problems, n)), np.zeros(problems, dtype=bool)
    usual = lightest > PENALISED
    if rows > n:
        gram = np.matmul(c.transpose(0, 2, 1), c)
        np.einsum("pii->pi", gram)[:] += d
        u, optimal = by_exchange(gram, allowed, near)
    elif usual.all():
        u, optimal = by_dual(c, d, allowed, near)
    elif usual.any():
        u[usual], optimal[usual] = by_dual(c[usual], d[usual], allowed[usual], near[usual])
    many = np.flatnonzero(~optimal & ~usual & (near.sum(axis=1) > rows) & (near.sum(axis=1) < allowed.sum(axis=1)))
    if many.size:
        u[many], optimal[many] = _shortest(c[many], d[many], allowed[many], near[many])
    rest = np.flatnonzero(~optimal)
    if rest.size:
        u[rest], optimal[rest] = _by_columns(c[rest], d[rest], allowed[rest], near[rest])
        perfect = rest[~usual[rest] & _perfect(c[rest], u[rest]) & optimal[rest]]
        if perfect.size:
            found, certain = _shortest(c[perfect], d[perfect], allowed[perfect], u[perfect] > 0)
            u[perfect[certain]] = found[certain]

    if usual.all():
        return u, optimal
    # where columns without weight fit as well: the shortest, around the fit, beside which a penalty is no rounding
    equal = allowed & (_gradient(c, d, u) > -TOLERANCE)
    more = np.flatnonzero(optimal & ~usual & (equal.sum(axis=1) > (u > 0).sum(axis=1)))
    more = more[~_perfect(c[more], u[more])]
    if more.size:
        fit, equal = np.matmul(c[more], u[more, :, None]) / u[more].sum(axis=1)[:, None, None], equal[more]
        around = np.concatenate([(c[more] - fit)[:, :-1] * equal[:, None], equal[:, None] * 1.0], axis=1)
        found, certain = _shortest(around, d[more], equal, equal)
        u[more[certain]] = found[certain]
    return u, optimal


def _perfect(c: Floats, u: Floats) -> Flags:
    """Whether u (P, n) fits with no residual but rounding, (P,)."""
    left = np.square(np.matmul(c[:, :-1], u[:, :, None])[:, :, 0]).sum(axis=1)
    return np.asarray(left <= PERFECT**2 * np.square(u.sum(axis=1)))


def _shortest(c: Floats, d: Floats, allowed: Flags, near: Flags) -> tuple[Floats, Flags]:
    """u by the dual, and whether it is the optimum of a fit that is perfect up to its slight penalty."""
    u, arrived = by_dual(c, d, allowed, near)
    return u, arrived & _perfect(c, u)


def by_exchange(gram: Floats, allowed: Flags, near: Flags) -> tuple[Floats, Flags]:
    """u, and whether it is the optimum and the only one, by exchanging all columns of the wrong sign at once, which may
    not arrive.

    gram (P, n, n): C'C + diag(d), of columns of mean square about 1; near (P, n): columns inside to begin with. Of
    equal columns, or rows of zeros, many u fit: a slight penalty, near rounding here, chooses.
    """
    problems, n, _ = gram.shape
    target = allowed * 1.0
    kept, inside = np.arange(problems), near.copy()
    u_out, optimal = np.zeros((problems, n)), np.zeros(problems, dtype=bool)
    for _ in range(EXCHANGES):
        both = inside[:, :, None] & inside[:, None]
        matrix = np.where(both, gram, 0.0)
        np.einsum("pii->pi", matrix)[:] += ~inside
        u = np.linalg.solve(matrix, np.where(inside, target, 0.0)[:, :, None])[:, :, 0]
        rest = target - np.matmul(gram, u[:, :, None])[:, :, 0]
        wrong = np.where(inside, u < 0, rest > TOLERANCE) & allowed
        left = wrong.any(axis=1)
        at, sure = kept[~left], np.where(inside, np.abs(rest) <= CERTAIN, (rest < -TOLERANCE) | ~allowed)
        u_out[at], optimal[at] = u[~left], (sure.all(axis=1) & (least_pivot(matrix) > APART))[~left]
        if not left.any():
            break
        kept, gram, target, allowed = kept[left], gram[left], target[left], allowed[left]
        inside = inside[left] ^ wrong[left]
    return u_out, optimal


def least_pivot(matrix: Floats) -> Floats:
    """Least squares of a column outside the span of those before it, of matrices (P, n, n) of cross products, (P,)."""
    factor = np.linalg.cholesky(matrix + TOLERANCE * np.eye(matrix.shape[1]))
    return np.asarray(np.square(np.einsum("pii->pi", factor)).min(axis=1))


def by_dual(c: Floats, d: Floats, allowed: Flags, near: Flags) -> tuple[Floats, Flags]:
    """u and whether Newton's method arrived, of max over x of x_last - d0/2 |x|^2 - 1/2 sum_j max(0, C_j'x)^2 d0/d_j,
    x = z/d0, d0 the mean penalty.

    C (P, m + 1, n) of columns of mean square about 1, the last row of ones; penalties d (P, n); near (P, n): columns at
    work to begin with.
    """
    problems, rows, n = c.shape
    d0 = np.where(allowed.any(axis=1), np.where(allowed, d, 0.0).sum(axis=1) / np.maximum(allowed.sum(axis=1), 1), 1.0)
    share = np.where(allowed, d0[:, None] / d, 0.0)
    x = np.linalg.solve(_curvature(c, d0, share * near), np.broadcast_to(np.eye(rows)[:, -1:], (problems, rows, 1)))
    u_out, arrived = np.zeros((problems, n)), np.zeros(problems, dtype=bool)
    at = np.arange(problems)
    state = _DualState.at(c, d0, share, x[:, :, 0], np.matmul(x.transpose(0, 2, 1), c)[:, 0])
    for _ in range(NEWTON_STEPS):
        done = (state.slope <= TOLERANCE) | (state.settled & (state.slope <= CERTAIN))
        new = done & ~arrived[at]  # who arrived before keeps that, whatever the others need
        u_out[at[new]], arrived[at[new]] = state.u[new], True
        done = arrived[at]
        if done.all():
            break
        if done.sum() * 2 >= len(at):
            state, at = state.take(~done), at[~done]
        state = state.step()
    return u_out, arrived


def _curvature(c: Floats, d0: Floats, share: Floats) -> Floats:
    """Minus the second derivatives of the dual with some columns at work, (P, rows, rows)."""
    matrix = np.matmul(c * share[:, None], c.transpose(0, 2, 1))
    diagonal = np.einsum("pii->pi", matrix)
    diagonal += np.maximum(d0, TOLERANCE * diagonal.max(axis=1))[:, None]
    return matrix


@dataclass(frozen=True, eq=False, slots=True)
class _DualState(Moments):
    """A point x of the dual of some problems, with s = C'x, u and the gradient there; settled: whether the last step
    left the signs of s as they were, and so ended at the maximum."""

    c: Floats
    d0: Floats
    share: Floats
    x: Floats
    s: Floats
    u: Floats
    gradient: Floats
    settled: Flags

    @classmethod
    def at(
        cls, c: Floats, d0: Floats, share: Floats, x: Floats, s: Floats, settled: Flags | None = None
    ) -> _DualState:  # fmt: skip
        u = np.maximum(s, 0.0) * share
        gradient = -d0[:, None] * x - np.matmul(c, u[:, :, None])[:, :, 0]
        gradient[:, -1] += 1.0
        return cls(c, d0, share, x, s, u, gradient, np.zeros(len(c), dtype=bool) if settled is None else settled)

    @property
    def slope(self) -> Floats:
        """Largest part of the gradient, relative to u's sum, (P,)."""
        return np.asarray(np.abs(self.gradient).max(axis=1))

    def step(self) -> _DualState:
        """Newton's step, shortened to where the dual is highest along it."""
        matrix = _curvature(self.c, self.d0, self.share * (self.s > 0))
        direction = np.linalg.solve(matrix, self.gradient[:, :, None])[:, :, 0]
        moved = np.matmul(direction[:, None], self.c)[:, 0]
        same = (((self.s + moved > 0) == (self.s > 0)) | (self.share == 0)).all(axis=1)
        length = np.where(same, 1.0, self._length(direction, moved))[:, None]
        return self.at(self.c, self.d0, self.share, self.x + length * direction, self.s + length * moved, same)

    def _length(self, direction: Floats, moved: Floats) -> Floats:
        """The length t of the step where the slope of the dual along it, decreasing in t, is zero, (P,): 1 wherever
        the signs of s stay."""
        own, crossed = np.vecdot(direction, direction) * self.d0, np.vecdot(self.x, direction) * self.d0
        low, high = np.zeros(len(own)), np.ones(len(own))

        def slope(t: Floats) -> Floats:
            u = np.maximum(self.s + t[:, None] * moved, 0.0) * self.share
            return np.asarray(direction[:, -1] - crossed - t * own - np.vecdot(moved, u))

        start, end = slope(low), slope(high)
        if (end >= -0.1 * np.abs(start)).all():
            return high
        short = end < -0.1 * np.abs(start)
        for halving in range(MOST_HALVINGS):
            going = short & ((low == 0) | (halving < HALVINGS))
            if not going.any():
                break
            t = (low + high) / 2
            rising = slope(t) > 0
            low, high = np.where(going & rising, t, low), np.where(going & ~rising, t, high)
        return np.where(short, np.where(low > 0, low, high), 1.0)


def _by_columns(c: Floats, d: Floats, allowed: Flags, near: Flags) -> tuple[Floats, Flags]:
    """u and whether it is the optimum: of few columns at a time where there are many, those of a rising gradient."""
    problems, rows, n = c.shape
    size = 2 * rows + SPARE
    if size > n // 2:
        return _in_chunks(c, d, allowed)
    u_out, optimal = np.zeros((problems, n)), np.zeros(problems, dtype=bool)
    kept, u = np.arange(problems), near / np.maximum(near.sum(axis=1), 1)[:, None]
    for _ in range(n):
        gradient = _gradient(c, d, u)
        rank = np.where(allowed, gradient + np.where(u > 0, np.inf, 0.0), -np.inf)
        some = np.sort(np.argsort(-rank, axis=1, kind="stable")[:, :size], axis=1)
        part, known = _in_chunks(
            np.take_along_axis(c, some[:, None], axis=2), np.take_along_axis(d, some, axis=1),
            np.take_along_axis(allowed, some, axis=1),
        )  # fmt: skip
        u = np.zeros_like(u)
        np.put_along_axis(u, some, part, axis=1)
        rising = (_gradient(c, d, u) > RISING) & (u <= 0) & allowed
        np.put_along_axis(rising, some, False, axis=1)
        left = known & rising.any(axis=1)
        u_out[kept[~left]], optimal[kept[~left]] = u[~left], known[~left]
        if not left.any():
            break
        kept, c, d, allowed, u = kept[left], c[left], d[left], allowed[left], u[left]
    return u_out, optimal


def _gradient(c: Floats, d: Floats, u: Floats) -> Floats:
    """Minus half the derivative of the objective, (P, n)."""
    residual = -np.matmul(c, u[:, :, None])[:, :, 0]
    residual[:, -1] += 1.0
    return np.asarray(np.matmul(residual[:, None], c)[:, 0] - d * u)


def _in_chunks(c: Floats, d: Floats, allowed: Flags) -> tuple[Floats, Flags]:
    """As many problems at once as the cache holds."""
    step = max(1, CACHE // c.shape[2] ** 2)
    rows = [slice(start, start + step) for start in range(0, len(c), step)]
    parts = [_entered(c[some], d[some], allowed[some]) for some in rows]
    return np.concatenate([u for u, _ in parts]), np.concatenate([optimal for _, optimal in parts])


def _entered(c: Floats, d: Floats, allowed: Flags) -> tuple[Floats, Flags]:
    """u and whether it is the optimum, by columns that enter and leave one at a time."""
    problems, _, n = c.shape
    columns = np.ascontiguousarray(c.transpose(0, 2, 1))
    tableau = np.matmul(columns, c)
    np.einsum("pii->pi", tableau)[:] += d
    squares = np.einsum("pii->pi", tableau).copy()
    target = columns[:, :, -1].copy()
    u_out, optimal = np.zeros((problems, n)), np.zeros(problems, dtype=bool)
    kept = np.arange(problems)
    state = _Active(
        tableau, target.copy(), squares, allowed, inside=np.zeros((problems, n), dtype=bool), barred=~allowed,
        u=np.zeros((problems, n)), stalled=np.zeros(problems, dtype=bool),
    )  # fmt: skip
    for _ in range(4 * n + 20):
        pivot, done = state.next_pivot()
        if done.any():
            at = kept[done]
            u_out[at], optimal[at] = _refined(columns[done], d[done], state.take(done))
            if done.all():
                break
            left = ~done
            kept, columns, d, pivot, state = kept[left], columns[left], d[left], pivot[left], state.take(left)
        state.sweep(pivot)
    return u_out, optimal


@dataclass(eq=False, slots=True)
class _Active(Moments):
    """Problems on their way: tableaux swept on the columns inside, (P, n, n), and what is left of their right sides,
    (P, n), which is the solution inside and minus the gradient outside; u (P, n) not negative; barred (P, n): columns
    that may not enter; stalled (P,): whether the last column that entered left again at once."""

    tableau: Floats
    rest: Floats
    squares: Floats
    allowed: Flags
    inside: Flags
    barred: Flags
    u: Floats
    stalled: Flags

    def next_pivot(self) -> tuple[Codes, Flags]:
        """Which column enters or leaves next, (P,), and which problems are done; moves u."""
        line = np.arange(len(self.u))
        negative = self.inside & (self.rest <= 0)
        falling = negative.any(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(negative, self.u / (self.u - self.rest), np.inf)
        leaving = reach.argmin(axis=1)
        length = np.minimum(reach[line, leaving], 1.0)
        self.u = np.where(self.inside, self.u + length[:, None] * (self.rest - self.u), 0.0)
        out = line[falling], leaving[falling]
        self.u[out] = 0.0
        self.barred[~self.stalled & ~falling] = ~self.allowed[~self.stalled & ~falling]
        self.barred[out] = True
        self.stalled = falling & (length <= 0)
        # the column that lowers the objective most when it enters
        own = np.einsum("pii->pi", self.tableau)
        may = ~self.inside & ~self.barred & (own > DEPENDENT * self.squares)
        may &= self.rest > TOLERANCE * np.sqrt(self.squares)
        gain = np.where(may, np.square(self.rest) / np.where(may, own, 1.0), -1.0)
        done = ~falling & ~may.any(axis=1)
        pivot = np.where(falling, leaving, gain.argmax(axis=1))
        self.inside[line[~done], pivot[~done]] ^= True
        return pivot, done

    def sweep(self, pivot: Codes) -> None:
        """Exchange a column with its equation; a second time takes it back."""
        line = np.arange(len(pivot))
        own, column = self.tableau[line, pivot, pivot], self.tableau[line, pivot]
        scaled, value = column / own[:, None], self.rest[line, pivot] / own
        sign = np.where(own > 0, 1.0, -1.0)
        self.tableau -= scaled[:, :, None] * column[:, None]
        self.rest -= column * value[:, None]
        self.tableau[line, pivot] = self.tableau[line, :, pivot] = scaled * sign[:, None]
        self.tableau[line, pivot, pivot] = -1.0 / own
        self.rest[line, pivot] = value * sign


def _refined(columns: Floats, d: Floats, found: _Active) -> tuple[Floats, Flags]:
    """u of the columns inside, refined against the columns themselves, and whether it is the optimum."""
    u = np.where(found.inside, found.rest, 0.0)
    rows = columns.transpose(0, 2, 1)
    for _ in range(REFINED):
        owed = np.where(found.inside, _gradient(rows, d, u), 0.0)
        u = u - np.where(found.inside, np.matmul(found.tableau, owed[:, :, None])[:, :, 0], 0.0)
    gradient = _gradient(rows, d, u)
    near = np.where(found.inside, np.abs(gradient), gradient) <= CERTAIN
    return np.maximum(u, 0.0), np.asarray((near | ~found.allowed).all(axis=1) & (u > -CERTAIN).all(axis=1))
