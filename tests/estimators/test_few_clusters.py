"""Few clusters and few treated units: regressions with dummies, refits of every draw, loops, sizes."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pyfixest
import pytest
from agreement import assert_batch_is_its_panels, of_units
from covering import covered
from refusals import refuses

from estimators import Estimates
from estimators.core.estimator import critical_values, p_values
from estimators.core.hypotheses import NullTests
from estimators.linear.covariances import cells_of, cluster_sums
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import WEBB, Placebos, effective_clusters, signs, variance_lines, wild_clusters
from experiments.references.reference import long_frame
from references.pyfixest_reference import feols
from references.regressions import EFFECTS as ALL_EFFECTS
from references.regressions import dummies_of, panel_ols
from references.small_panels import adopting, bare, small_panel
from sim import Panel, Roles, Streams, Wanted
from sim.panel import seen_in
from sim.presets import Clustered

NAMES = ("did", "inv", "road")
EFFECTS = {name: ALL_EFFECTS[name] for name in ("pooled", "unit", "period", "two-way", "province-by-period",
                                                "two-way with trend")}  # fmt: skip
EFFECTS["region-by-period"] = ("unit", "region-by-period")


class Dummies:
    """Outcome, regressors with a constant and a dummy for every effect, and the clusters of observations."""

    def __init__(self, panel: Panel, effects: tuple[str, ...], grouping: str) -> None:
        frame = long_frame(panel, ("y", *NAMES))
        self.y = frame["y"].to_numpy()
        self.x = np.hstack([frame[list(NAMES)].to_numpy(), dummies_of(frame, effects)])
        self.group = np.unique(frame[grouping], return_inverse=True)[1]
        self.count = int(self.group.max()) + 1


class LeftOut(Dummies):
    """Least squares without each cluster in turn, and CR2 by whole matrices."""

    def coefficients(self, kept: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.lstsq(self.x[kept], self.y[kept], rcond=1e-10)[0][: len(NAMES)])

    def jackknife(self) -> np.ndarray:
        whole = self.coefficients(self.group >= 0)
        left = np.array([self.coefficients(self.group != g) for g in range(self.count)])
        return np.sqrt((self.count - 1) / self.count * np.square(left - whole).sum(axis=0))

    def bias_reduced(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors and degrees of freedom, from I - H and its blocks' symmetric roots."""
        inverse = np.linalg.pinv(self.x, rcond=1e-10)
        annihilator = np.eye(len(self.x)) - self.x @ inverse
        left = np.zeros((len(NAMES), len(self.x), self.count))
        for g in range(self.count):
            here = np.flatnonzero(self.group == g)
            values, vectors = np.linalg.eigh(annihilator[np.ix_(here, here)])
            powers = np.where(values > 1e-9, 1 / np.sqrt(np.where(values > 1e-9, values, 1.0)), 0.0)
            left[:, here, g] = inverse[: len(NAMES), here] @ (vectors * powers) @ vectors.T
        scores = np.einsum("kig,i->kg", left, annihilator @ self.y)
        matrices = np.einsum("kig,ij,kjh->kgh", left, annihilator, left)
        values = np.linalg.eigvalsh(matrices)
        return np.sqrt(np.square(scores).sum(axis=1)), values.sum(axis=1) ** 2 / np.square(values).sum(axis=1)


@covered(missing=[0, 31], name=EFFECTS, grouping=["unit", "province"])
def test_errors_equal_those_of_regressions_with_dummies(name: str, grouping: str, missing: int) -> None:
    panel = small_panel(30, 7, seed=8, missing=missing, sigma=2.0)
    region = np.unique(panel.attributes["province"], return_inverse=True)[1] // 3
    panel = replace(panel, attributes={**panel.attributes, "region": region})
    ours = panel_ols(effects=EFFECTS[name], errors=(f"cv3:{grouping}", f"cr2:{grouping}"), singletons="keep")(panel)
    slow = LeftOut(panel, EFFECTS[name], grouping)
    se, dof = slow.bias_reduced()
    np.testing.assert_allclose(ours.se[0, 0, :3], slow.jackknife(), rtol=1e-8)
    np.testing.assert_allclose(ours.se[0, 1, :3], se, rtol=1e-8)
    np.testing.assert_allclose(ours.dof[0, 1, :3], dof, rtol=1e-8)
    assert (ours.dof[0, 0, :3] == slow.count - 1).all()


@pytest.mark.parametrize("missing", [0, 37], ids=["balanced", "unbalanced"])
def test_the_jackknife_equals_pyfixest(missing: int) -> None:
    """Its CRV3 without small-sample factors lacks (G - 1)/G."""
    panel = small_panel(40, 8, seed=5, missing=missing)
    ours = TwoWayDID(errors=("cv3:province",))(panel)
    plain = pyfixest.ssc(k_adj=False, G_adj=False)
    frame = long_frame(panel, ("y", *NAMES))
    theirs = feols("y ~ did + inv + road | unit + period", frame, {"CRV3": "province"}, ssc=plain)
    np.testing.assert_allclose(ours.se[0, 0], theirs.se()[list(NAMES)].to_numpy() * np.sqrt(6 / 7), rtol=1e-7)


def test_two_clusters_by_hand() -> None:
    """Two pairs of units, two periods, one treated unit a pair: each pair alone gives a difference of differences."""
    values = {"y": np.outer([0, 1], [5.0, 1.0, 3.0, 2.0]), "did": np.outer([0, 1], [1, 0, 1, 0])}  # effects 4 and 1
    panel = bare(values, attributes={"pair": np.array([0, 0, 1, 1])})
    found = TwoWayDID(errors=("cv3:pair", "cr2:pair"))(panel)
    assert found.estimate[0, 0] == pytest.approx(2.5)
    assert found.se[0, 0, 0] == pytest.approx(1.5)  # sqrt(1/2 (1.5^2 + 1.5^2))
    assert found.dof[0, :, 0] == pytest.approx([1.0, 1.0])


def test_the_treatment_alone_has_the_errors_that_it_has_among_all_terms() -> None:
    """Where the treatment alone is redrawn, its quick path does not know these types."""
    panel = small_panel(24, 6, seed=4, replications=3, redrawn=True)
    panel = panel.with_variables({name: panel.variables[name][:1] for name in ("y", "inv", "road")})
    errors = ("cluster:province", "cv3:province", "cr2:unit")
    one, all_terms = TwoWayDID(errors=errors, terms=("did",))(panel), TwoWayDID(errors=errors)(panel)
    np.testing.assert_allclose(one.se[:, :, 0], all_terms.se[:, :, 0], rtol=1e-10)
    np.testing.assert_allclose(one.dof[:, :, 0], all_terms.dof[:, :, 0], rtol=1e-10)


def test_what_no_cluster_may_miss_has_no_error() -> None:
    """One province has all treated units: without it there is no effect, but the controls have their errors."""
    panel = small_panel(28, 6, seed=2)
    did = panel.variables["did"] * (panel.attributes["province"] == "p3")
    assert did.any()
    panel = panel.with_variables({"did": did})
    found = panel_ols(errors=("cv3:province", "cr2:province", "cluster:province"))(panel)
    assert np.isnan(found.se[0, :2, [0, 3]]).all()  # the treatment and, beside effects of units, the constant
    assert np.isnan(found.dof[0, :2, 0]).tolist() == [False, True]
    assert np.isfinite(found.se[0, :2, 1:3]).all()
    assert np.isfinite(found.se[0, 2]).all()
    assert found.status[0] == 1


def test_a_coefficient_of_one_province_alone_has_no_error_and_gives_no_warning() -> None:
    d = np.zeros((1, 4, 4))
    d[0, 2:, 0] = 1.0
    values = {"y": np.random.default_rng(1).normal(size=(1, 4, 4)), "d": d}
    panel = bare(values, Roles("y", "d"), attributes={"province": np.array(["p1", "p1", "p2", "p2"])})
    found = TwoWayDID(errors=("cr2:province",), effects=("unit", "province-by-period"))(panel)
    assert np.isnan([found.se[0, 0, 0], found.dof[0, 0, 0]]).all()


SIZES = (4, 4, 5, 5, 6, 6, 7, 8, 9, 10)
THREE, FOUR = (1, 4, 8), (2, 4, 6, 8)


def uneven(replications: int, *, shared: float, seed: int, treated: tuple[int, ...] = THREE) -> Panel:
    """Ten clusters of 4 to 10 units, some of them treated from the fifth of eight periods on; no effect."""
    rng, codes = np.random.default_rng(seed), np.repeat(np.arange(10), SIZES)
    shocks = rng.standard_normal((replications, 8, 10))[:, :, codes]
    noise = np.sqrt(1 - shared) * rng.standard_normal((replications, 8, len(codes))) + np.sqrt(shared) * shocks
    did = np.isin(codes, treated) & (np.arange(8)[:, None] >= 4)
    return bare({"y": noise, "did": did}, attributes={"region": codes})


def rejected(found: Estimates, row: int) -> float:
    own = p_values(found.estimate[:, 0] / found.se[:, row, 0], found.dof[:, row, 0])
    stored = found.pvalue[:, row, 0] if found.pvalue is not None else own
    return float((np.where(np.isnan(own), stored, own) <= 0.05).mean())


@pytest.mark.parametrize("shared", [0.0, 0.2, 1.0], ids=["independent", "shared in part", "shared shocks"])
def test_few_uneven_clusters_keep_their_level_where_usual_ones_do_not(shared: float) -> None:
    """With three treated clusters CV3 has 9 degrees of freedom where 3 would be right and rejects 6%, less than half of
    the excess of the usual errors; CR2 with 3.4 of them rejects too seldom."""
    band = 4 * np.sqrt(0.05 * 0.95 / 4000)
    errors = ("cluster:region", "cv3:region", "cr2:region")
    four = TwoWayDID(errors=errors)(uneven(4000, shared=shared, seed=20, treated=FOUR))
    assert rejected(four, 0) > 0.05 + band
    assert abs(rejected(four, 1) - 0.05) <= band
    assert abs(rejected(four, 2) - 0.05) <= band
    three = TwoWayDID(errors=errors)(uneven(4000, shared=shared, seed=20, treated=THREE))
    assert rejected(three, 0) > 0.05 + 2 * band
    assert 0.05 - band <= rejected(three, 1) <= 0.05 + (rejected(three, 0) - 0.05) / 2
    assert 0.02 < rejected(three, 2) <= 0.05


def test_bias_reduced_variances_have_the_right_mean() -> None:
    """Of independent errors: CR2 on average is the variance; the usual one is too small, CV3 too large."""
    found = TwoWayDID(errors=("cluster:region", "cv3:region", "cr2:region"))(uneven(4000, shared=0.0, seed=21))
    truth = TwoWayDID(errors=("iid",))(uneven(1, shared=0.0, seed=21))
    ratios = np.square(found.se[:, :, 0]) / (truth.se[0, 0, 0] ** 2 / truth.statistics["sigma2"][0])
    ratio, mcse = ratios.mean(axis=0), ratios.std(axis=0) / np.sqrt(4000)
    assert abs(ratio[2] - 1) <= 4 * mcse[2]
    assert ratio[0] < 1 - 4 * mcse[0]
    assert ratio[1] > 1 + 4 * mcse[1]


def test_facts_of_clusters_by_hand() -> None:
    """One date, balanced: psi of a treated unit is N_C times that of a control; shares follow from counts."""
    panel = uneven(1, shared=0.0, seed=1)
    facts = TwoWayDID().cluster_facts(panel, "region")
    treated, controls = 4 + 6 + 9, 64 - 19
    units = np.array(SIZES, dtype=float)
    weight = np.where(np.isin(np.arange(10), THREE), controls, treated).astype(float)
    for shares, found in ((units * weight**2, facts.effective), (units**2 * weight**2, facts.shared)):
        variation = shares.std() / shares.mean()
        assert found[0] == pytest.approx(10 / (1 + variation**2))
    assert (facts.clusters, facts.treated[0], facts.untreated[0]) == (10, 3, 7)
    own = TwoWayDID().cluster_facts(panel, "unit")
    assert (own.clusters, own.treated[0], own.untreated[0]) == (64, 19, 45)
    assert own.effective[0] == pytest.approx(own.shared[0])
    assert effective_clusters(np.ones((1, 7)))[0] == pytest.approx(7)


def test_facts_of_redrawn_treatments_and_missing_cells() -> None:
    panel = small_panel(28, 6, seed=4, replications=4, redrawn=True, missing=15)
    whole = TwoWayDID().cluster_facts(panel, "province")
    for r in range(4):
        alone = TwoWayDID().cluster_facts(panel.replication(r), "province")
        for name in ("treated", "untreated", "effective", "shared"):
            assert getattr(whole, name)[r] == pytest.approx(getattr(alone, name)[0])
    assert whole.effective.max() > whole.effective.min()
    gone = replace(panel.replication(0), observed=panel.observed & (panel.attributes["province"] != "p2"))
    assert TwoWayDID().cluster_facts(gone, "province").clusters == 6


DRAWS = 199
WILD_EFFECTS = [name for name in EFFECTS if name not in ("period", "region-by-period")]


class Refitted(Dummies):
    """Restricted draws and t statistics by least squares with a dummy for every effect, one draw at a time."""

    def __init__(self, panel: Panel, effects: tuple[str, ...], grouping: str) -> None:
        super().__init__(panel, effects, grouping)
        self.inverse = np.linalg.pinv(self.x, rtol=1e-10)
        self.bread = self.inverse @ self.inverse.T

    def t(self, y: np.ndarray, k: int, null: float) -> float:
        b = self.inverse @ y
        scores = self.x * (y - self.x @ b)[:, None]
        sums = np.zeros((self.count, scores.shape[1]))
        np.add.at(sums, self.group, scores)
        return float((b[k] - null) / np.sqrt(np.square(sums @ self.bread[k]).sum()))

    def pvalue(self, k: int, null: float, v: np.ndarray) -> float:
        rest = np.delete(self.x, k, axis=1)
        y = self.y - null * self.x[:, k]
        fitted = rest @ np.linalg.lstsq(rest, y)[0]
        own = abs(self.t(self.y, k, null))
        draws = [self.t(fitted + null * self.x[:, k] + row[self.group] * (y - fitted), k, null) for row in v]
        return float((1 + (np.abs(draws) >= own * (1 - 1e-9)).sum()) / (1 + len(draws)))


@covered(missing=[0, 19], name=WILD_EFFECTS, grouping=["unit", "province"])
def test_p_values_and_intervals_equal_those_of_refits(name: str, grouping: str, missing: int) -> None:
    panel = small_panel(20, 7, seed=8, missing=missing, sigma=2.0)
    error = f"wild:{grouping}"
    ours = panel_ols(effects=EFFECTS[name], errors=("cluster:unit", error), draws=DRAWS)(panel, Streams(3))
    clusters = int(cells_of(grouping, panel).max()) + 1
    v = signs(next(Streams(3).each(error)), DRAWS, clusters)
    twin = Refitted(panel, EFFECTS[name], grouping)
    columns = range(3) if EFFECTS[name] else range(4)  # pooled: the constant's own test too
    for k in columns:
        assert ours.pvalue[0, 1, k] == pytest.approx(twin.pvalue(k, 0.0, v), abs=1e-12)
    lower, upper = ours.lower[0, 1, 1], ours.upper[0, 1, 1]
    step = 1e-6 * (upper - lower)
    inside, outside = (lower + step, upper - step), (lower - step, upper + step)
    assert min(twin.pvalue(1, c, v) for c in inside) > 0.05
    assert max(twin.pvalue(1, c, v) for c in outside) <= 0.05
    assert (ours.dof[0, 1] == clusters - 1).all()
    assert np.isnan(ours.se[0, 1]).all()
    assert np.isnan(ours.pvalue[0, 0]).all()
    assert np.isfinite(ours.se[0, 0]).all()


@pytest.mark.parametrize("units", [6, 10, 14])
def test_a_cluster_that_is_never_observed_takes_no_sign(units: int) -> None:
    """Draws, p values and intervals are those of the panel without it: with 10 units the points are Webb's."""
    panel = small_panel(units, 6, seed=3, sigma=2.0)
    seen = np.ones((1, 6, units), dtype=bool)
    seen[:, :, 3] = False
    kept = np.arange(units) != 3
    own = replace(panel, attributes={"own": np.arange(units)})
    model = panel_ols(errors=("wild:unit", "wild:own"), draws=199)
    one, two = model(of_units(own, kept), Streams(2)), model(replace(own, observed=seen), Streams(2))
    for name in ("pvalue", "lower", "upper"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(two.dof, one.dof)


def test_too_few_clusters_reject_nothing() -> None:
    """A sixth of Webb's draws have equal signs, whose |t*| is |t| under every hypothesis: the interval has no end."""
    panel = small_panel(12, 6, seed=3)
    halves = replace(panel, attributes={"half": np.arange(12) // 6})
    ours = panel_ols(errors=("wild:half",), draws=199)(halves)
    assert (ours.pvalue > 1 / 10).all()
    assert np.isinf(ours.lower).all()
    assert np.isinf(ours.upper).all()
    panel, streams = drawn(5, 200, effect=5.0)
    _, rademacher = batch(panel, streams, 199, points="rademacher")
    _, webb = batch(panel, streams, 199)
    assert rademacher.pvalue.min() >= 1 / 16
    assert np.isinf(rademacher.lower).all()
    assert (webb.pvalue <= 0.05).mean() > 0.5


def test_signs_are_enumerated_or_have_mean_zero_and_variance_one() -> None:
    for clusters, points in ((15, 2), (9, 6)):
        v = signs(np.random.default_rng(1), 20_000, clusters)
        assert len(np.unique(v)) == points
        assert abs(v.mean()) < 0.01
        assert v.var() == pytest.approx(1.0, abs=0.01)
    assert set(np.unique(signs(np.random.default_rng(1), 500, 10))) == {-1.0, 1.0}
    np.testing.assert_allclose(WEBB**2, [0.5, 1.0, 1.5])
    v = signs(np.random.default_rng(1), 999, 7, "rademacher")
    assert (v.shape, len(np.unique(v, axis=0))) == ((2**7 - 1, 7), len(v))
    assert not (v == 1).all(axis=1).any()
    assert set(np.unique(v)) == {-1.0, 1.0}
    assert signs(np.random.default_rng(1), 127, 7, "rademacher").shape == (127, 7)  # 128 are more than 127
    np.testing.assert_allclose(np.unique(signs(np.random.default_rng(1), 999, 7) ** 2), [0.5, 1.0, 1.5])


def test_size_and_coverage_with_eight_clusters() -> None:
    """Treatment and errors common to clusters of unequal size: t of G - 1 rejects too often, the bootstrap does not."""
    rows, group = 600, np.repeat(np.arange(8), [2, 2, 2, 3, 4, 5, 9, 13])
    streams = Streams(12, "few", 0, rows)
    shocks = streams.normals("shocks", 6, 8)[:, :, group] + 0.5 * streams.normals("own", 6, 40)
    x = np.exp(streams.normals("x", 6, 8)[:, :, group])  # skewed: some clusters weigh more than others
    panel = bare({"y": 0.3 * x + shocks, "x": x}, Roles(), attributes={"group": group})
    got = panel_ols("y", ("x",), errors=("cluster:group", "wild:group"), draws=199, constant=False)(panel, streams)
    critical = critical_values(got.dof[:, 0, 0], 0.05)
    assert (np.abs(got.estimate[:, 0] - 0.3) > critical * got.se[:, 0, 0]).mean() > 0.08
    missed = (got.lower[:, 1, 0] > 0.3) | (got.upper[:, 1, 0] < 0.3)
    assert abs(missed.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rows)


def drawn(groups: int, replications: int, effect: float = 1.0, seed: int = 2008) -> tuple[Panel, Streams]:
    design, streams = Clustered(groups, effect=effect), Streams(seed, f"{groups} groups", 0, replications)
    return design.settle(streams).draw(streams, Wanted(frozenset({"x", "y"}), ())).panel, streams


def batch(panel: Panel, streams: Streams, draws: int, **options: str) -> tuple[np.ndarray, NullTests]:
    """Slope of y on x and its wild test, from y and x without their means: x alone is left of the regression."""
    x, y = (panel.variables[name] - panel.variables[name].mean(axis=(1, 2), keepdims=True) for name in ("x", "y"))
    psi = x / np.square(x).sum(axis=(1, 2), keepdims=True)
    beta = (psi * y).sum(axis=(1, 2))
    e = y - beta[:, None, None] * x
    codes = panel.attributes["group"][None].astype(np.intp)
    return beta, wild_clusters(psi[:, None], e, beta[:, None], x[:, None], centred, codes,
                               streams.each("wild:group"), draws, **options)  # fmt: skip


def centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=(1, 2), keepdims=True))


def test_an_enumerated_p_value_is_the_share_of_all_sign_changes() -> None:
    panel, streams = drawn(6, 3, effect=0.0)
    _, got = batch(panel, streams, 999, points="rademacher")
    group = panel.attributes["group"]
    every = 1.0 - 2.0 * (np.arange(64)[:, None] >> np.arange(6) & 1)
    for r in range(3):
        x, y = (centred(panel.variables[name][r : r + 1])[0, 0] for name in ("x", "y"))
        t = [abs(_t(x, row[group] * y, group)) for row in every]
        share = np.mean(np.array(t) >= abs(_t(x, y, group)) * (1 - 1e-9))
        assert got.pvalue[r, 0] == pytest.approx(share, abs=1e-12)


def _t(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    y = y - y.mean()
    b = x @ y / (x @ x)
    sums = cluster_sums((x * (y - b * x))[None], group[None].astype(np.intp))
    return float(b * (x @ x) / np.sqrt(sums @ sums))


@pytest.mark.long
@pytest.mark.parametrize(("groups", "known"), [(5, 0.071), (10, 0.056)])
def test_size_with_few_groups(groups: int, known: float) -> None:
    """Cameron, Gelbach and Miller's (2008) design, where CR1 against 1.96 rejects .21 and .13.

    known: of 300,000 (5 groups, Webb) and 200,000 replications (10, Rademacher), MCSE .0005; 5 groups with 99
    draws .068, with 999 .073. For such a regressor in CPS data Cameron and Miller
    (2015) print .079 with 6 and .067 with 10 groups (Webb), and .215 and .147 for CR1.
    """
    rows = 4000
    panel, streams = drawn(groups, rows)
    _, got = batch(panel, streams, 199)
    assert abs(((got.lower[:, 0] > 1) | (got.upper[:, 0] < 1)).mean() - known) < 4 * np.sqrt(0.05 * 0.95 / rows)
    estimates = panel_ols(effects=(), errors=("cluster:group",))(panel)
    assert (np.abs(estimates.estimate[:, 0] - 1) > 1.96 * estimates.se[:, 0, 0]).mean() > 1.9 * known


def placed(
    y: np.ndarray, dates: dict[int, int], size: np.ndarray | None = None, observed: np.ndarray | None = None
) -> Panel:
    """Outcomes (R, T, N) with units that are treated from a period (counted from 0) on."""
    sizes = {"population": np.ones(y.shape[2]) if size is None else size}
    panel = bare({"y": y, "did": np.zeros(y.shape[1:])}, attributes=sizes, observed=observed)
    return adopting(panel, *((date, unit) for unit, date in dates.items()))


def slow_placebos(panel: Panel, treated: list[int], size: np.ndarray | None) -> tuple[float, np.ndarray]:
    """The estimate and all placebo sums, by loops over units and whole matrices of dummies."""
    seen = seen_in(panel)
    names = panel.roles.regressors
    cells = np.argwhere(seen)
    t, n = seen.shape
    dummies = np.hstack([np.equal.outer(cells[:, 1], np.arange(n)), np.equal.outer(cells[:, 0], np.arange(t))])
    x = np.column_stack([*(panel.variables[name][0][seen] for name in names), dummies.astype(float)])
    inverse = np.linalg.pinv(x, rcond=1e-10)
    annihilator = np.eye(len(x)) - x @ inverse
    y = panel.variables["y"][0][seen]
    e, d = annihilator @ y, panel.variables["did"][0]
    controls = [i for i in range(n) if not d[:, i][seen[:, i]].any() and seen[:, i].sum() > 1]

    def weights(j: int, unit: int) -> tuple[np.ndarray, float]:
        """g over g'g on the cells of a unit, and g'g."""
        common = seen[:, j] & seen[:, unit]
        g = np.where(common, d[:, j] - d[common, j].mean(), 0.0)
        return (g / (g @ g))[seen[:, unit]], float(g @ g)

    sums, own = [], []
    for j in treated:
        values, squares = [], []
        for unit in controls:
            here = np.flatnonzero(cells[:, 1] == unit)
            a, gg = weights(j, unit)
            kept = a @ annihilator[np.ix_(here, here)] @ a * gg
            values.append(a @ e[here] / np.sqrt(kept))
            squares.append(gg)
        own.append(weights(j, j)[1])
        if size is not None:
            q, mine = 1 / (np.array(squares) * size[controls]), 1 / (own[-1] * size[j])
            a, b = (float(part[0, 0]) for part in variance_lines(np.square(values)[None, None], q[None], q[None] > 0))
            values = list(np.array(values) * np.sqrt((a + b * mine) / (a + b * q)))
        sums.append(values)
    scale = np.sqrt(inverse[0] @ inverse[0] * sum(own))
    shares = np.array(own) / sum(own)
    placebos = np.array([scale * shares @ each for each in product(*sums)])
    return float(inverse[0] @ y), placebos


@covered(missing=[0, 21], dates=[((2, 4),), ((2, 4), (7, 3))], sized=[None, "alike", "sizes"])
def test_p_values_and_intervals_equal_those_of_loops(dates: Any, sized: str | None, missing: int) -> None:
    base = small_panel(24, 7, seed=8, missing=missing, sigma=2.0, model="none")
    size = np.random.default_rng(3).uniform(0.2, 3.0, 24)
    panel = replace(adopting(base, *((date, unit) for unit, date in dates)), attributes={"population": size})
    error = {None: "conley-taber", "alike": "ferman-pinto", "sizes": "ferman-pinto:population"}[sized]
    found = TwoWayDID(errors=("iid", error))(panel)
    chosen = {None: None, "alike": np.ones(24), "sizes": size}[sized]
    estimate, placebos = slow_placebos(panel, [unit for unit, _ in dates], chosen)
    assert found.estimate[0, 0] == pytest.approx(estimate)
    assert len(placebos) <= 999
    larger = int((np.abs(placebos) >= abs(estimate)).sum())
    assert found.pvalue[0, 1, 0] == pytest.approx((1 + larger) / (1 + len(placebos)))
    needed = int(0.05 * (1 + len(placebos)) + 1e-9)
    reach = np.sort(np.abs(placebos))[-needed] if needed else np.inf
    assert found.lower[0, 1, 0] == pytest.approx(estimate - reach, rel=1e-8)
    assert found.upper[0, 1, 0] == pytest.approx(estimate + reach, rel=1e-8)
    assert np.isnan(found.se[0, 1]).all()
    assert np.isnan(found.pvalue[0, 1, 1:]).all()  # controls have no such test
    assert np.isnan(found.pvalue[0, 0]).all()


def test_one_treated_unit_by_hand() -> None:
    """Two periods: changes 10 of the treated unit, 1, 2, 3, 6 of the others; placebos are these less their mean."""
    y = np.outer([0, 1], [10.0, 1.0, 2.0, 3.0, 6.0])[None]
    found = TwoWayDID(errors=("conley-taber",))(placed(y, {0: 1}))
    assert (found.estimate[0, 0], found.pvalue[0, 0, 0]) == (pytest.approx(7.0), pytest.approx(1 / 5))
    assert found.dof[0, 0, 0] == 3
    near = placed(y - np.array([[0.0], [1.0]]) * np.array([3.4, 0, 0, 0, 0]), {0: 1})  # an estimate of 3.6
    again = TwoWayDID(errors=("conley-taber",))(near)
    # placebos -2, -1, 0, 3 times sqrt(1 + 1/4)/sqrt(1 - 1/4) = 1.29: 3.87 alone is beyond 3.6
    assert again.pvalue[0, 0, 0] == pytest.approx(2 / 5)


def test_assignments_are_of_all_units_that_can_serve_and_of_no_other() -> None:
    """Units 0 and 4 are treated, 1 and 2 always; of the others 7 is never observed with both of them."""
    did = np.zeros((6, 10))
    did[2:, 0] = did[4:, 4] = did[:, 1] = did[:, 2] = 1.0
    mask = np.ones((6, 10))
    mask[3:, 7] = 0.0
    found = Placebos.of(did, mask, np.empty((0, 6, 10)))
    every, drawn = found.assignments(30), next(found.drawn([np.random.default_rng(1)], 2000))
    assert every is not None
    assert found.assignments(29) is None
    for some in (every, drawn):
        assert np.unique(some[:, 0]).tolist() == [3, 5, 6, 7, 8, 9]
        assert np.unique(some[:, 1]).tolist() == [3, 5, 6, 8, 9]  # 7 is not seen after the date of 4
    assert len(every) == len(np.unique(every, axis=0)) == 30
    counts = np.bincount(drawn[:, 1], minlength=10)[[3, 5, 6, 8, 9]]
    assert np.abs(counts - 400).max() <= 4 * np.sqrt(400 * 0.8)


def test_several_dates_in_a_batch_and_one_by_one() -> None:
    panel = small_panel(30, 7, seed=2, replications=4, sigma=2.0)
    model = panel_ols(errors=("cluster:unit", "conley-taber", "ferman-pinto"), draws=199)
    whole = assert_batch_is_its_panels(model, panel, Streams(3, "", 0, 4))
    np.testing.assert_allclose(whole.pvalue[:, 1, 0], whole.pvalue[:, 2, 0])  # balanced and alike: nothing to rescale
    assert len(np.unique(whole.pvalue[:, 1, 0])) > 1


@covered(missing=[0, 17], constant=[False, True])
def test_redrawn_treatments_have_the_tests_of_fixed_ones(constant: bool, missing: int) -> None:
    panel = small_panel(20, 6, seed=2, replications=3, redrawn=True, missing=missing)
    model = panel_ols(constant=constant, errors=("wild:unit", "conley-taber", "ferman-pinto"), draws=99)
    whole = model(panel, Streams(3, "", 0, 3))
    for r in range(3):
        alone = model(panel.replication(r), Streams(3, "", r, r + 1))
        for name in ("pvalue", "lower", "upper", "dof"):
            np.testing.assert_allclose(getattr(whole, name)[r], getattr(alone, name)[0], rtol=1e-7)


def test_a_constant_effect_moves_the_interval_with_the_estimate() -> None:
    rng = np.random.default_rng(5)
    y = rng.standard_normal((6, 8, 40))
    plain = TwoWayDID(errors=("conley-taber",))(placed(y, {0: 4, 1: 5}))
    moved = placed(y, {0: 4, 1: 5})
    moved = moved.with_variables({"y": 3.0 * (y + 2.0 * moved.variables["did"] + np.arange(40.0))})
    again = TwoWayDID(errors=("conley-taber",))(moved)
    for name in ("lower", "upper"):
        np.testing.assert_allclose(getattr(again, name), 3.0 * (getattr(plain, name) + 2.0), rtol=1e-8)


def test_variance_lines() -> None:
    """Exact lines are found; one that falls is its weighted mean, one from below zero goes through the origin."""
    q = np.array([[1.0, 2.0, 4.0, 8.0]])
    usable = np.ones((1, 4), dtype=bool)
    for squares, constant, slope in ((2.0 + 3.0 * q, 2.0, 3.0), (0 * q + 5.0, 5.0, 0.0), (10.0 - q, 6.25, 0.0)):
        a, b = variance_lines(squares[None], q, usable)
        assert (a[0, 0], b[0, 0]) == (pytest.approx(constant), pytest.approx(slope, abs=1e-12))
    a, b = variance_lines((q**2)[None], q, usable)
    assert a[0, 0] == 0
    assert b[0, 0] == pytest.approx(15 / 4)  # weights 1/q^2: the mean of q^2/q
    a, b = variance_lines(np.array([[[5.0, 8.0, 14.0, 1e9]]]), q, np.array([[True, True, True, False]]))
    assert (a[0, 0], b[0, 0]) == (pytest.approx(2.0), pytest.approx(3.0))


BAND = 4 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize(("dates", "serial"), [({0: 4}, 0.6), ({0: 4, 1: 5, 2: 6}, 0.0)])
def test_few_treated_units_keep_the_level_where_clustered_errors_reject_tens_of_percent(
    dates: dict[int, int], serial: float
) -> None:
    rng = np.random.default_rng(30)
    y = rng.standard_normal((4000, 9, 59 + len(dates)))
    for t in range(1, 9):
        y[:, t] = serial * y[:, t - 1] + np.sqrt(1 - serial**2) * y[:, t]
    errors = ("cluster:unit", "conley-taber", "ferman-pinto")
    found = TwoWayDID(errors=errors, draws=199)(placed(y, dates), Streams(1, "", 0, 4000))
    assert rejected(found, 0) > (0.6 if len(dates) == 1 else 0.15)
    assert abs(rejected(found, 1) - 0.05) <= BAND
    assert abs(rejected(found, 2) - 0.05) <= BAND


@pytest.mark.parametrize("own", [0.3, 3.0], ids=["a small unit", "a large unit"])
def test_sizes_bring_the_level_back_where_variances_depend_on_them(own: float) -> None:
    rng = np.random.default_rng(31)
    size = np.exp(0.8 * rng.standard_normal(120))
    size[0] = own
    y = rng.standard_normal((4000, 8, 120)) * np.sqrt(0.05 + 1 / size)
    found = TwoWayDID(errors=("conley-taber", "ferman-pinto:population"))(placed(y, {0: 4}, size))
    assert abs(rejected(found, 0) - 0.05) > 2 * BAND
    assert abs(rejected(found, 1) - 0.05) <= BAND


def test_numbers_of_cells_bring_the_level_back_where_never_treated_units_lack_them() -> None:
    """Two thirds of them have one cell before and one from adoption on: their placebos are twice as large."""
    rng, observed = np.random.default_rng(2), np.ones((1, 8, 120), dtype=bool)
    for unit, start in product(range(1, 80), (0, 4)):
        observed[0, start + rng.permutation(4)[1:], unit] = False
    y = np.random.default_rng(32).standard_normal((4000, 8, 120))
    panel = placed(y, {0: 4}, observed=observed)
    found = TwoWayDID(errors=("conley-taber", "ferman-pinto"))(panel)
    assert rejected(found, 0) < 0.05 - BAND
    assert abs(rejected(found, 1) - 0.05) <= BAND


def test_power_and_coverage_with_one_treated_unit() -> None:
    panel = placed(np.random.default_rng(33).standard_normal((2000, 8, 60)), {0: 4})
    panel = panel.with_variables({"y": panel.variables["y"] + 3.0 * panel.variables["did"]})
    found = TwoWayDID(errors=("conley-taber",))(panel)
    inside = (found.lower[:, 0, 0] <= 3.0) & (found.upper[:, 0, 0] >= 3.0)
    assert abs(inside.mean() - 0.95) <= 4 * np.sqrt(0.05 * 0.95 / 2000)
    assert rejected(found, 0) > 0.95


@pytest.mark.parametrize(("settings", "said"), [
    ({"errors": ("conley-taber:unit",)}, "unknown error type"),
    ({"errors": ("ferman-pinto:nowhere",)}, "unknown error type"),
    ({"errors": ("ferman-pinto:longitude",)}, "unknown error type"),
    ({"errors": ("conley-taber",), "effects": ("unit",)}, "without a treatment beside unit and period effects"),
    ({"errors": ("conley-taber",), "regressors": ("inv",)}, "without a treatment beside unit and period effects"),
    ({"errors": ("ferman-pinto:province",)}, "'province' is p0 for unit unit 000"),
    ({"errors": ("cv3:one",)}, "cv3:one has 1 cluster; allowed: 2 or more clusters"),
    *(({"errors": (error,)}, "unknown error type") for error in ("cr2:unit+province", "cv3:period", "cr2",
                                                                 "cv3:longitude")),
])  # fmt: skip
def test_what_cannot_be_asked_is_bad_input(settings: dict[str, tuple[str, ...]], said: str) -> None:
    panel = small_panel(12, 5)
    panel = replace(panel, attributes={**panel.attributes, "longitude": np.zeros(12), "one": np.zeros(12)})
    refuses(said, lambda: TwoWayDID(**settings)(panel))
    refuses("unknown error type 'cv3:nowhere'", TwoWayDID().cluster_facts, panel, "nowhere")
    refuses("the treatment 'did' is no regressor", TwoWayDID(regressors=("inv",)).cluster_facts, panel, "unit")


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_sizes_are_positive_numbers(wrong: float) -> None:
    y, size = np.random.default_rng(1).standard_normal((1, 5, 12)), np.where(np.arange(12) == 7, wrong, 1.0)
    refuses(r"ferman-pinto:population; .*for unit unit 007; allowed: a positive number",
            TwoWayDID(errors=("ferman-pinto:population",)), placed(y, {0: 2}, size))  # fmt: skip


def test_too_few_never_treated_units() -> None:
    y = np.random.default_rng(1).standard_normal((2, 5, 6))
    late = {i: 1 + i % 4 for i in range(5)}
    refuses(r"conley-taber with 1 unit that is never treated; .*2 or more",
            TwoWayDID(errors=("conley-taber",)), placed(y, late))  # fmt: skip
    two = TwoWayDID(errors=("conley-taber",))(placed(y, {i: late[i] for i in range(4)}))
    assert np.isfinite(two.pvalue[:, 0, 0]).all()
    assert (two.dof[:, 0, 0] == 1).all()
    enough = placed(y, {0: 2, 1: 3}).variables["did"]
    short = placed(y, late).variables["did"]
    redrawn = placed(y, late).with_variables({"did": np.concatenate([enough, short])})
    found = TwoWayDID(errors=("conley-taber",))(redrawn)
    assert np.isfinite(found.estimate).all()
    assert np.isnan(found.pvalue[:, 0, 0]).tolist() == [False, True]
