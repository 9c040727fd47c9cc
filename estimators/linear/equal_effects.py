"""Whether the treatment does the same in several groups of units: a fully interacted model, Wald and permutation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, may_be_floored
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    RegressionEstimator,
    Status,
    WeightUse,
    check_names,
    of_a_dose,
)
from estimators.core.tile import Tile, transform_of, without_singletons
from estimators.linear.covariances import ClusterK, Sample, covariance, unit_clusters
from estimators.linear.influence import GroupFits, UnitRows, group_sums
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad, one_of
from sim.panel import Panel, group_labels
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

DRAWS_AT_ONCE = 32  # assignments fitted together: rows that fit in the cache
DEGENERATE = 1e-12  # share of the iid variance below which a clustered one counts as zero
TIED = 1e-9  # relative distance of two statistics that counts as none


@dataclass(frozen=True, slots=True)
class InteractionTest(RegressionEstimator):
    """Two-way DID with every slope and period effect free in every group of units, and tests of equal effects.

    Terms are the treatment's effect in the first group and, as "did x VALUE", the difference to it in each other
    group: exactly the differences between the regressions of the subsamples.

    group: an attribute of the units. values: those of its values (as `group_labels` writes them) that are compared, the
    first is the reference; units with others are left out. The defaults are those of the `paper` design. outcome,
    regressors: None = the panel's own. errors: see `linear.covariances`, with the factors of TwoWayDID for effects
    of units and of GROUP by period; what is floored is the matrix of all slopes of the first group and all differences,
    as in TwoWayDID on that model. test: how both tests cluster, cluster:unit or cluster:ATTRIBUTE. draws: of the
    permutation test, 0 = none. cluster_k: which parameters count in the cluster factor, as in TwoWayDID. label: its
    name in tables.

    Where the panel has a weight, the regressions are weighted by it, as in TwoWayDID.

    Statistics: wald of all differences (`wald_of_equality`), wald_p from F(V - 1, G - 1) at wald / (V - 1), so that
    with two groups it is the p-value of the term; floored:ERROR, 1 where negative eigenvalues were set to zero.
    permutation_p = (1 + c)/(draws + 1), where c counts assignments with a Wald statistic as large as the observed one,
    when labels are shuffled between treated units and between never treated ones; permutation_p_mcse =
    sqrt(p (1 - p)/draws). The test is exact when labels are exchangeable within these strata, and right in large
    samples when groups differ in variances alone, because the statistic is studentised (Janssen 1997; DiCiccio and
    Romano 2017). Assignments that leave a group without an estimate or a variance count as large.

    >>> import panelproof as pp
    >>> found = pp.InteractionTest(values=("east", "west"))(pp.example_panel().panel)
    >>> print(f"{found.params['did x west']:.3f} ({found.std_errors['did x west']:.3f})")
    -0.017 (0.006)
    """

    kind: ClassVar[str] = "interaction"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design without spillovers, where the effect is the same everywhere
    home: ClassVar[Home] = (Paper(), ("did",))

    group: str = "region"
    values: tuple[str, ...] = ("east", "central")
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    test: str = "cluster:unit"
    cluster_k: ClusterK = "nonnested"
    draws: int = 0
    label: str = "interaction"

    def layout(self, schema: Schema) -> Layout:
        """The first group's effect, whose target is the ATT, and one difference for each other group."""
        outcome, regressors = self.names(schema)
        check_names(schema, outcome, regressors, self.label)
        treatment = schema.roles.treatment or "did"
        allowed = {
            "treatment": (treatment, regressors),
            "group": (self.group, schema.attributes),
            "test": (self.test, tuple(f"cluster:{name}" for name in ("unit", *schema.attributes))),
        }
        for what, (chosen, names) in allowed.items():
            if chosen not in names:
                raise bad(f"{what} is {chosen!r}", where=self.label, allowed=one_of(names),
                          remedy=f"choose another {what}")  # fmt: skip
        if len(self.values) < 2 or len(set(self.values)) < len(self.values):
            raise bad(f"values = {list(self.values)}", where=self.label, allowed="two or more distinct values",
                      remedy="name the values to compare")  # fmt: skip
        check_error_types(self.errors, schema, self.label, "least-squares")
        permutation = ("permutation_p", "permutation_p_mcse") if self.draws else ()
        terms = (treatment, *(f"{treatment} x {value}" for value in self.values[1:]))
        floored = (f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes))
        targets = {treatment: of_a_dose(schema, "att")}
        return Layout(terms, self.errors, ("wald", "wald_p", *permutation, *floored), targets)

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels one after the other, for each has its own permutations.

        Raises BadInput for regressors that the effects absorb, for values that no unit has, and for a group with fewer
        than two clusters.
        """
        layout = self.layout(panel.schema)
        outcome, regressors = self.names(panel.schema)
        ols.check_fixed(panel, regressors, self.label)
        compared, codes = self._compared(panel)

        # the score of a group with one cluster sums to zero, whatever the variance is
        errors = tuple(dict.fromkeys((*self.errors, self.test)))
        for error in errors:
            own = compared.attributes.get(error.removeprefix("cluster:"))
            own = np.arange(codes.size) if error == "cluster:unit" else own
            if not error.startswith("cluster:") or own is None:
                continue
            if min(len(np.unique(own[codes == group])) for group in range(len(self.values))) < 2:
                raise bad(f"a group has 1 cluster under {error}", where=self.label,
                          allowed="2 or more clusters in each group", remedy="choose a finer clustering")  # fmt: skip

        # observations and parameters as TwoWayDID counts them with effects of units and of GROUP by period
        effects, slopes = ("unit", f"{self.group}-by-period"), len(self.values) * len(regressors)
        free = transform_of(effects, compared, constant=True).effects
        sample = Sample.of(compared, errors, slopes, free, effects, self.cluster_k)
        sample.check(self.label, "compare fewer groups")

        clusters = None if self.test == "cluster:unit" else unit_clusters(self.test, compared)
        mask = None if compared.observed is None else compared.observed[0].astype(np.float64)
        tile, treatment = Tile(compared, weighted=True), panel.roles.treatment or "did"
        columns = [tile.within(name) for name in (*regressors, outcome)]
        did = compared.variables[treatment] > 0
        streams = (streams or Streams(0)).rows(panel.replications)
        found = []
        for row, rng in enumerate(streams.each("permutation")):
            units = UnitRows.of(np.stack([_row(column, row) for column in columns]), mask, tile.root)
            treated = (_row(did, row) if mask is None else _row(did, row) & (mask > 0)).any(axis=0)
            test = _Test(units, codes, len(self.values), regressors.index(treatment), clusters)
            p = test.permutation(treated, self.draws, rng) if self.draws else np.nan
            found.append(self._estimates(layout, test, sample, p))
        return Estimates.join(found)

    def _compared(self, panel: Panel) -> tuple[Panel, Codes]:
        """The units that are compared and ever observed, and the group of each.

        They are sorted by name, so that permutations do not follow the order of a file.
        """
        labels = group_labels(panel.attributes[self.group])
        absent = [value for value in self.values if value not in labels]
        if absent:
            raise bad(f"no unit has {self.group} = {one_of(absent)}", where=self.label,
                      allowed=one_of(dict.fromkeys(labels.tolist())), remedy="correct values")  # fmt: skip
        order = np.argsort(np.array(panel.units), kind="stable")
        seen = np.isin(labels, self.values)
        if panel.observed is not None:
            seen &= panel.observed[0].any(axis=0)
        kept = order[seen[order]]
        compared = Panel(
            units=tuple(panel.units[i] for i in kept),
            periods=panel.periods,
            variables={name: panel.variables[name][:, :, kept] for name in self.variables(panel.schema)},
            roles=panel.roles,
            attributes={name: values[kept] for name, values in panel.attributes.items()},
            observed=None if panel.observed is None else panel.observed[:, :, kept],
        )
        used = without_singletons(compared, ("unit", f"{self.group}-by-period"))
        return used, (labels[kept][:, None] == np.array(self.values)).argmax(axis=1)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def _estimates(self, layout: Layout, test: _Test, sample: Sample, permutation_p: float) -> Estimates:
        fits = GroupFits.of(test.units, test.codes[None], test.groups)
        contrast, freedom = _contrast(test.groups), test.groups - 1
        effects = fits.slopes[:, :, test.treatment]
        e = fits.residuals()[0].T[None]
        found = [covariance(error, test.contrasts(fits, error, sample.panel), e, sample) for error in self.errors]
        tested = covariance(self.test, test.weights(fits, test.treatment)[None], e, sample)
        wald = float(wald_of_equality(effects, test.sound(fits, tested.matrix))[0])
        exact = bool(np.square(e).sum() <= ols.EXACT * np.square(test.units.rows[:, :, -1]).sum())
        wald = np.nan if exact else wald  # the residuals are rounding
        statistics = {"wald": wald, "wald_p": float(fdtrc(freedom, tested.dof, wald / freedom))}
        if self.draws:
            mcse = np.sqrt(permutation_p * (1 - permutation_p) / self.draws)
            statistics |= {"permutation_p": permutation_p, "permutation_p_mcse": float(mcse)}
        statistics |= {f"floored:{error}": float(one.floored[0]) for error, one in zip(self.errors, found, strict=True)}
        sound = bool(np.isfinite(effects).all() and (exact or np.isfinite(wald)))
        terms = len(layout.terms)
        return Estimates(
            terms=layout.terms,
            errors=layout.errors,
            estimate=effects @ contrast.T,
            se=np.sqrt([np.diagonal(one.matrix[0])[:terms] * (np.nan if exact else 1.0) for one in found])[None],
            dof=np.array([[[one.dof] * terms for one in found]], dtype=np.float64),
            status=np.array([Status.OK if sound else Status.SINGULAR], dtype=np.uint8),
            statistics={name: np.array([statistics[name]]) for name in layout.statistics},
        )


@dataclass(frozen=True, eq=False, slots=True)
class _Test:
    """One panel's units, their observed groups (N,), and the clusters (N,) of the tests, None = every unit its own."""

    units: UnitRows
    codes: Codes
    groups: int
    treatment: int
    clusters: Codes | None

    def wald(self, codes: Codes) -> Floats:
        """Clustered Wald statistics of assignments (D, N) without small-sample factor, (D,)."""
        fits = GroupFits.of(self.units, codes, self.groups)
        unit_scores = np.vecdot(fits.partialled(self.treatment), fits.residuals())
        scores = group_sums(unit_scores, codes, self.groups, self.clusters)
        covariances = self.sound(fits, scores.transpose(0, 2, 1) @ scores)
        return wald_of_equality(fits.slopes[:, :, self.treatment], covariances)

    def weights(self, fits: GroupFits, regressor: int) -> Floats:
        """psi of a regressor's slope in every group, (V, T, N)."""
        members = (self.codes == np.arange(self.groups)[:, None]).astype(np.float64)
        return np.asarray(members[:, None, :] * fits.partialled(regressor)[0].T)

    def contrasts(self, fits: GroupFits, error: str, panel: Panel) -> Floats:
        """psi of the terms, and where a matrix may be floored of all other slopes after them, (1, V or K V, T, N)."""
        others = [k for k in range(fits.slopes.shape[2]) if k != self.treatment]
        kept = (self.treatment, *(others if may_be_floored(error, tuple(panel.attributes)) else ()))
        psi = [np.tensordot(_contrast(self.groups), self.weights(fits, regressor), axes=1) for regressor in kept]
        return np.concatenate(psi)[None]

    def sound(self, fits: GroupFits, covariances: Floats) -> Floats:
        """Covariances (D, V, V), NaN where a variance is numerically zero: of two units, say, whose scores cancel."""
        spread = np.square(fits.residuals()).mean(axis=(1, 2))[:, None]
        scale = fits.bread[:, :, self.treatment, self.treatment] * spread
        none = (np.diagonal(covariances, axis1=1, axis2=2) <= DEGENERATE * scale).any(axis=1)
        return np.where(none[:, None, None], np.nan, covariances)

    @np.errstate(divide="ignore", invalid="ignore")  # an assignment may leave a group without an estimate
    def permutation(self, treated: Flags, draws: int, rng: np.random.Generator) -> float:
        """The p-value of labels shuffled within treated and other units, NaN without an observed statistic."""
        observed = float(self.wald(self.codes[None])[0])
        if not np.isfinite(observed):
            return float("nan")
        smaller = 0
        for start in range(0, draws, DRAWS_AT_ONCE):
            shuffled = np.tile(self.codes, (min(DRAWS_AT_ONCE, draws - start), 1))
            for stratum in (treated, ~treated):
                shuffled[:, stratum] = rng.permuted(shuffled[:, stratum], axis=1)
            smaller += int((self.wald(shuffled) < observed * (1 - TIED)).sum())
        return (1 + draws - smaller) / (draws + 1)


def wald_of_equality(effects: Floats, covariances: Floats) -> Floats:
    """Wald statistics of equal effects, (D,), of effects (D, V) with covariances (D, V, V); NaN where one is singular.

    (b - m)' S^-1 (b - m) with m = 1'S^-1 b / 1'S^-1 1: equal to d' (L S L')^-1 d for the differences d = L b to any of
    the groups, and exact where that group's variance dwarfs the others.
    """
    inverse = ols.invert(covariances)[0]
    weights = inverse.sum(axis=1)
    centred = effects - (np.vecdot(weights, effects) / weights.sum(axis=1))[:, None]
    return np.einsum("dv,dvw,dw->d", centred, inverse, centred)


def _contrast(groups: int) -> Floats:
    """Effects by group -> the first and the differences to it, (V, V)."""
    contrast = np.eye(groups)
    contrast[1:, 0] = -1.0
    return contrast


def _row(array: NDArray[Any], row: int) -> NDArray[Any]:
    """One replication, (T, N), of (1 or R, T, N)."""
    return array[row if array.shape[0] > 1 else 0]
