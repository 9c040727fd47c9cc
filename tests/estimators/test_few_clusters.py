"""The cluster jackknife, bias-reduced errors and facts about clusters against regressions with dummies."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order, with_effects

from estimators import Estimates
from estimators.core.estimator import p_values
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import effective_clusters
from experiments.references.reference import long_frame
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import BadInput, Panel, Roles

NAMES = ("did", "inv", "road")
ERRORS = ("cv3:province", "cr2:province", "cv3:unit", "cr2:unit")
EFFECTS: dict[str, tuple[str, ...]] = {
    "pooled": (),
    "unit": ("unit",),
    "period": ("period",),
    "two-way": ("unit", "period"),
    "region-by-period": ("unit", "region-by-period"),
    "province-by-period": ("unit", "province-by-period"),
    "trend": ("unit", "period", "unit-trend"),
}


class Dummies:
    """Least squares with a dummy for every effect, leaving out clusters one by one, and CR2 by whole matrices."""

    def __init__(self, panel: Panel, effects: tuple[str, ...], grouping: str) -> None:
        frame = long_frame(panel, ("y", *NAMES))
        unit, period = frame["unit"].to_numpy(), frame["period"].to_numpy()
        levels = {"unit": np.equal.outer(unit, np.unique(unit)), "period": np.equal.outer(period, np.unique(period))}
        levels["unit-trend"] = levels["unit"] * (period - 2003.0)[:, None]
        for name in ("province", "region"):
            codes = np.unique(frame[name], return_inverse=True)[1] * 9999 + period
            levels[f"{name}-by-period"] = np.equal.outer(codes, np.unique(codes))
        dummies = [levels[effect].astype(float) for effect in effects] or [np.ones((len(frame), 1))]
        self.y, self.x = frame["y"].to_numpy(), np.hstack([frame[list(NAMES)].to_numpy(), *dummies])
        self.group = np.unique(frame[grouping], return_inverse=True)[1]
        self.count = int(self.group.max()) + 1

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


def with_regions(panel: Panel) -> Panel:
    codes = np.unique(panel.attributes["province"], return_inverse=True)[1]
    return replace(panel, attributes={**panel.attributes, "region": codes // 3})


@pytest.mark.parametrize("missing", [0, 31], ids=["balanced", "unbalanced"])
@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("grouping", ["unit", "province"])
def test_errors_equal_those_of_regressions_with_dummies(name: str, grouping: str, missing: int) -> None:
    panel = with_regions(small_panel(30, 7, seed=8, missing=missing, sigma=2.0))
    ours = panel_ols(effects=EFFECTS[name], errors=(f"cv3:{grouping}", f"cr2:{grouping}"), singletons="keep")(panel)
    slow = Dummies(panel, EFFECTS[name], grouping)
    se, dof = slow.bias_reduced()
    np.testing.assert_allclose(ours.se[0, 0, :3], slow.jackknife(), rtol=1e-8)
    np.testing.assert_allclose(ours.se[0, 1, :3], se, rtol=1e-8)
    np.testing.assert_allclose(ours.dof[0, 1, :3], dof, rtol=1e-8)
    assert (ours.dof[0, 0, :3] == slow.count - 1).all()


@pytest.mark.parametrize("missing", [0, 37], ids=["balanced", "unbalanced"])
def test_the_jackknife_equals_pyfixest(missing: int) -> None:
    """Its CRV3 without small-sample factors lacks (G - 1)/G."""
    import pyfixest

    panel = small_panel(40, 8, seed=5, missing=missing)
    ours = TwoWayDID(errors=("cv3:province",))(panel)
    frame = long_frame(panel, ("y", *NAMES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what pandas has deprecated
        theirs = pyfixest.feols(
            "y ~ did + inv + road | unit + period", data=frame, vcov={"CRV3": "province"}, fixef_rm="none",
            ssc=pyfixest.ssc(k_adj=False, G_adj=False),
            demeaner=pyfixest.MapDemeaner(fixef_tol=1e-13, fixef_maxiter=100_000),
        )  # fmt: skip
    np.testing.assert_allclose(ours.se[0, 0], theirs.se()[list(NAMES)].to_numpy() * np.sqrt(6 / 7), rtol=1e-7)


def test_two_clusters_by_hand() -> None:
    """Two pairs of units, two periods, one treated unit a pair: each pair alone gives a difference of differences."""
    y = np.zeros((1, 2, 4))
    y[0, 1] = [5.0, 1.0, 3.0, 2.0]  # effects 4 and 1, estimate 2.5
    did = np.array([[[0.0, 0, 0, 0], [1, 0, 1, 0]]])
    panel = Panel(
        units=tuple("abcd"),
        periods=(1, 2),
        variables={"y": y, "did": did},
        roles=Roles("y", "did"),
        attributes={"pair": np.array([0, 0, 1, 1])},
    )
    found = TwoWayDID(errors=("cv3:pair", "cr2:pair"))(panel)
    assert found.estimate[0, 0] == pytest.approx(2.5)
    assert found.se[0, 0, 0] == pytest.approx(1.5)  # sqrt(1/2 (1.5^2 + 1.5^2))
    assert found.dof[0, :, 0] == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("redrawn", [False, True], ids=["fixed", "redrawn"])
@pytest.mark.parametrize("missing", [0, 17], ids=["balanced", "unbalanced"])
def test_a_batch_is_its_panels_one_by_one(redrawn: bool, missing: int) -> None:
    panel = small_panel(24, 6, seed=4, replications=5, redrawn=redrawn, missing=missing)
    whole = assert_batch_is_its_panels(panel_ols(errors=("iid", *ERRORS, "cluster:unit")), panel)
    assert redrawn == (np.ptp(whole.dof[:, 4, 0]) > 1e-6)


def test_other_error_types_keep_their_bits_beside_the_new_ones() -> None:
    panel = small_panel(24, 6, seed=4, replications=5)
    old = ("iid", "hc1", "cluster:province", "driscoll-kraay")
    np.testing.assert_array_equal(TwoWayDID(errors=(*old, *ERRORS))(panel).se[:, :4], TwoWayDID(errors=old)(panel).se)


def test_the_treatment_alone_has_the_errors_that_it_has_among_all_terms() -> None:
    """Where the treatment alone is redrawn, its quick path does not know these types."""
    panel = small_panel(24, 6, seed=4, replications=3, redrawn=True)
    fixed = {name: panel.variables[name][:1] for name in ("y", "inv", "road")}
    panel = panel.with_variables(fixed)
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


def test_order_scale_and_added_effects_do_not_matter() -> None:
    panel, model = small_panel(24, 6, seed=6, missing=13), TwoWayDID(errors=ERRORS)
    assert_agree(model(in_another_order(panel)[0]), model(panel), rtol=1e-8)
    assert_agree(model(with_effects(panel, 10.0)), model(panel), rtol=1e-8, scale=10.0)


def test_one_cluster_and_two_groups_are_bad_input() -> None:
    panel = replace(small_panel(12, 5), attributes={"one": np.zeros(12), "province": np.arange(12) % 3})
    with pytest.raises(BadInput, match="cv3:one has 1 cluster; allowed: 2 or more clusters"):
        TwoWayDID(errors=("cv3:one",))(panel)
    for error in ("cr2:unit+province", "cv3:period", "cr2", "cv3:longitude"):
        with pytest.raises(BadInput, match="unknown error type"):
            TwoWayDID(errors=(error,))(panel)


SIZES = (4, 4, 5, 5, 6, 6, 7, 8, 9, 10)
THREE, FOUR = (1, 4, 8), (2, 4, 6, 8)


def uneven(replications: int, *, shared: float, seed: int, treated: tuple[int, ...] = THREE) -> Panel:
    """Ten clusters of 4 to 10 units, some of them treated from the fifth of eight periods on; no effect."""
    rng, codes = np.random.default_rng(seed), np.repeat(np.arange(10), SIZES)
    shocks = rng.standard_normal((replications, 8, 10))[:, :, codes]
    noise = np.sqrt(1 - shared) * rng.standard_normal((replications, 8, len(codes))) + np.sqrt(shared) * shocks
    did = (np.isin(codes, treated) & (np.arange(8)[:, None] >= 4)).astype(float)
    return Panel(
        units=tuple(f"u{i:03d}" for i in range(len(codes))),
        periods=tuple(range(8)),
        variables={"y": noise, "did": did[None]},
        roles=Roles("y", "did"),
        attributes={"region": codes},
    )


def rejected(found: Estimates, row: int) -> float:
    return float((p_values(found.estimate[:, 0] / found.se[:, row, 0], found.dof[:, row, 0]) <= 0.05).mean())


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


def test_facts_of_what_the_panel_lacks_are_bad_input() -> None:
    panel = small_panel(12, 5)
    with pytest.raises(BadInput, match="unknown error type 'cv3:nowhere'"):
        TwoWayDID().cluster_facts(panel, "nowhere")
    with pytest.raises(BadInput, match="the treatment 'did' is no regressor"):
        TwoWayDID(regressors=("inv",)).cluster_facts(panel, "unit")
