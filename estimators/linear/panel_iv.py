"""Two-stage least squares with unit and time effects, on R panels at once, with what tells how far to trust it.

    y = D b + X g + effects + u,        D = Z P + X h + effects + v,

where instruments Z are independent of u and D is not. Effects are taken out by a projection first (Frisch and Waugh
1933), so that errors are those of 2SLS with dummies (Wooldridge 2010, section 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy.special import chdtrc, fdtrc, fdtri

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, may_be_floored, without_se
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    RegressionEstimator,
    TileEstimator,
    WeightUse,
    check_names,
    outcome_of,
    slope_targets,
    treatment_of,
)
from estimators.core.regression import gram
from estimators.core.tile import (
    Tile,
    check_effects,
    observed_mask,
    spread,
    transform_of,
    weight_root,
    without_singletons,
)
from estimators.linear.covariances import ClusterK
from estimators.linear.influence import RedrawnInfluence
from estimators.linear.instruments import (
    LEVEL,
    UNKNOWN,
    ConfidenceSets,
    Instrumented,
    ReducedForms,
    anderson_rubin_set,
    effective_f,
    hansen_j,
    joined,
    rank_f,
    sargan,
    stacked_covariance,
    two_stages,
    wald,
)
from estimators.linear.least_squares import TWO_WAY, LeastSquares, LinearPlan, Singletons
from sim.arrays import Floats
from sim.errors import Problem, amount, bad, closest, one_of, refuse
from sim.panel import Panel
from sim.schema import Schema
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import InstrumentedDose
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect

AR = "anderson-rubin"
ANOTHER = "name another instrument, or leave it out"
OF_ONE = ("effective_f", "effective_f_critical", "ar_lower", "ar_upper", "ar_shape")
OF_MORE = ("sargan", "sargan_p", "hansen_j", "hansen_p")
OF_RESIDUALS = ("sargan", "hansen", "endogeneity")  # how tests begin that there are none of without residuals


@dataclass(frozen=True, slots=True)
class InstrumentedNames:
    """Names of the outcome, the endogenous regressors, the controls and the instruments."""

    outcome: str
    endogenous: tuple[str, ...]
    controls: tuple[str, ...]
    instruments: tuple[str, ...]

    @property
    def regressors(self) -> tuple[str, ...]:
        """Endogenous regressors, then controls."""
        return (*self.endogenous, *self.controls)

    @property
    def exogenous(self) -> tuple[str, ...]:
        """Controls, then instruments."""
        return (*self.controls, *self.instruments)


@dataclass(frozen=True, slots=True)
class PanelIV(TileEstimator, RegressionEstimator):
    """Outcome on an endogenous treatment and controls by two-stage least squares, with unit and time effects.

    outcome, regressors: names of variables; None = the panel's own roles. endogenous: the regressors that need
    instruments; None = the treatment; one that is not among the regressors is added. instruments: names of variables;
    None = those of the panel's roles. errors: iid, hc1, cluster:unit, cluster:ATTRIBUTE, cluster:A+B, driscoll-kraay,
    conley:KM, of scores xhat_it u_it with the factors of `did`; and anderson-rubin, p value and interval of one
    endogenous regressor without a standard error: lower and upper are the ends of the least interval that holds the
    set, both the estimate where the set is empty. test: the error type of all tests below and of anderson-rubin.
    cluster_k, target, effects, singletons: as in `did`. label: its name in tables.

    Where the panel has a weight, both stages, all errors and all tests are weighted by it, as in `did`: every variable
    and effect is times the root of the weights; nobs is a count.

    Statistics. first_stage_f: F of the instruments with independent errors; of several endogenous regressors that of
    Cragg and Donald (1993). kp_f: the same under `test` (Kleibergen and Paap 2006). effective_f, effective_f_critical:
    of Montiel Olea and Pflueger (2013) and its critical value for a bias of 10% of the worst case. ar_f, ar_p: F test
    of Anderson and Rubin (1949) that all endogenous regressors have no effect; ar_lower, ar_upper, ar_shape: the 95%
    set, shape 0 empty, 1 the interval, 2 all but the gap between the ends, 3 the whole line, NaN where the covariance
    is singular. sargan, hansen_j with p values: tests of overidentification, where instruments are more than endogenous
    regressors, independent errors and two-step GMM under `test`. endogeneity_f, endogeneity_p: the regression form of
    the Durbin-Wu-Hausman test: first-stage residuals beside the regressors. sigma2; nobs.

    >>> import panelproof as pp
    >>> panel = pp.example_panel().panel
    >>> found = pp.PanelIV(endogenous=("inv",), instruments=("road",), regressors=("did",))(panel)
    >>> print(found.terms, f"{found.statistics['kp_f'][0]:.2f}")
    ('inv', 'did') 1.46
    """

    kind: ClassVar[str] = "iv"
    weight_use: ClassVar[WeightUse] = "used"
    # home: a dose that follows two strong instruments and the outcome's errors
    home: ClassVar[Home] = (
        PanelDesign(
            units=60,
            covariates=(Normal("x", 0.5), Normal("z1"), Normal("z2")),
            adoption=InstrumentedDose(instruments=("z1", "z2"), concentration=500.0, endogeneity=0.6),
            effect=Effect(size=1.0),
        ),
        ("did", "x"),
    )

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    endogenous: tuple[str, ...] | None = None
    instruments: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    test: str = "cluster:unit"
    cluster_k: ClusterK = "nonnested"
    target: str = "att"
    label: str = "iv"
    effects: tuple[str, ...] = ("unit", "period")
    singletons: Singletons = "drop"

    def all_names(self, schema: Schema) -> InstrumentedNames:
        """What is what; raises BadInput for names that are missing or stand for two things."""
        controls = schema.roles.regressors if self.regressors is None else self.regressors
        endogenous = self.endogenous or (treatment_of(None, schema, self.label),)
        instruments = schema.roles.instruments if self.instruments is None else self.instruments
        kept = tuple(name for name in controls if name not in endogenous)
        names = InstrumentedNames(outcome_of(self.outcome, schema, self.label), endogenous, kept, instruments)
        check_names(schema, names.outcome, names.regressors, self.label)

        # what is wrong with the instruments by their names
        where = f"{self.label} instruments"
        found: list[Problem] = []
        free = [name for name in schema.variables if name not in (names.outcome, *names.regressors)]
        allowed = one_of(free) if free else "a variable other than outcome and regressors"
        taken = {names.outcome: "the outcome"} | dict.fromkeys(names.controls, "among the regressors")
        taken |= dict.fromkeys(names.endogenous, "the endogenous regressor itself")
        for name in dict.fromkeys(names.instruments):
            if name in taken:
                found.append(Problem(f"the instrument {name!r} is {taken[name]}", where, allowed, ANOTHER))
            elif name not in schema.variables:
                found.append(Problem(f"no variable {name!r} in the panel", where, allowed, closest(name, free)))
        count, needed = len(set(names.instruments)), len(names.endogenous)
        if count < len(names.instruments):
            found.append(Problem("an instrument is named twice", where, "each once", "remove one"))
        if count < needed:
            too_few = f"{amount(count, 'instrument')} for {needed} endogenous regressors"
            what = too_few if count else "there is no instrument"
            found.append(Problem(what, where, f"{needed} or more of {allowed}", 'set instruments = ["..."]'))
        refuse(found)
        return names

    def layout(self, schema: Schema) -> Layout:
        """One term a regressor, the endogenous ones first; floored:ERROR as in `did`."""
        names = self.all_names(schema)
        check_effects(self.effects, schema, self.label)
        check_error_types(self.errors, schema, self.label, "iv")
        check_error_types((self.test,), schema, f"{self.label} test", "iv")
        if without_se(self.test):
            raise bad(f"test = {self.test!r}", where=self.label, allowed="an error type with standard errors",
                      remedy='set test = "cluster:unit"')  # fmt: skip
        if AR in self.errors and len(names.endogenous) > 1:
            raise bad(f"{AR} of {len(names.endogenous)} endogenous regressors", where=f"{self.label} errors",
                      allowed="one endogenous regressor", remedy="leave it out; ar_p tests all of them")  # fmt: skip
        one, more = len(names.endogenous) == 1, len(names.instruments) > len(names.endogenous)
        statistics = (
            "first_stage_f", "kp_f", *(OF_ONE[:2] if one else ()), "ar_f", "ar_p", *(OF_ONE[2:] if one else ()),
            *(OF_MORE if more else ()), "endogeneity_f", "endogeneity_p", "sigma2", "nobs",
            *(f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes)),
        )  # fmt: skip
        stored = ("pvalue", "lower", "upper") if AR in self.errors else ()
        targets = slope_targets(schema, names.regressors, self.target)
        return Layout(names.regressors, self.errors, statistics, targets, stored)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, regressors and instruments, and the weights."""
        names = self.all_names(schema)
        return frozenset((names.outcome, *names.regressors, *names.instruments, *self.weight(schema)))

    def used(self, panel: Panel) -> Panel:
        """Without singletons, where they are dropped."""
        return without_singletons(panel, self.effects) if self.singletons == "drop" else panel

    def prepare(self, panel: Panel) -> LinearPlan:
        """That of the reduced form. Raises BadInput for variables that the effects absorb, for collinear ones, for
        instruments that fit an endogenous regressor exactly, for too few observations or clusters."""
        names = self.all_names(panel.schema)
        self._check(panel, names)
        errors = tuple(dict.fromkeys((*(error for error in self.errors if error != AR), self.test)))
        form = LeastSquares(names.outcome, names.exogenous, errors, self.effects, constant=not self.effects,
                            singletons=self.singletons, asked_by=self.label)  # fmt: skip
        plan = form.prepare(panel)
        return replace(plan, regressors=None)

    def _check(self, panel: Panel, names: InstrumentedNames) -> None:
        """Raise BadInput for fixed variables that cannot serve, each called what it is."""
        used, tile, two_way = self.used(panel), Tile(panel), set(self.effects) == TWO_WAY
        root, cells = weight_root(used), observed_mask(used) > 0
        transform = transform_of(self.effects, used, constant=True, root=root)
        slopes = len(names.controls) + max(
            len(names.instruments), 2 * len(names.endogenous)
        )  # of the largest regression
        if used.nobs - transform.effects - slopes < 1:
            raise bad(f"{used.nobs} observations for {transform.effects + slopes} parameters", where=self.label,
                      allowed="more observations than parameters", remedy="drop effects or regressors")  # fmt: skip

        def column(name: str, word: str, remedy: str = ols.REMOVE) -> list[ols.RegressorColumn]:
            raw = tile.raw(name)
            within = transform(raw if root is None else np.where(cells, raw, 0.0) * root)
            found = ols.RegressorColumn(name, f"{word} {name!r}", raw[:, cells], within, remedy)
            return [found] if raw.shape[0] == 1 else []

        controls = [one for name in names.controls for one in column(name, "variable")]
        own = [one for name in names.endogenous for one in column(name, "variable")]
        moved = [one for name in names.instruments for one in column(name, "instrument", ANOTHER)]
        refuse(ols.useless((*controls, *own), self.label, two_way=two_way))
        refuse(ols.useless((*controls, *moved), f"{self.label} instruments", two_way=two_way))
        for one in own if len(controls) == len(names.controls) else ():
            if ols.useless((*controls, *moved, one), self.label, two_way=two_way):
                raise bad(f"instruments and controls fit the endogenous regressor {one.name!r} exactly",
                          where=f"{self.label} instruments", allowed="instruments that move it among other causes",
                          remedy=ANOTHER)  # fmt: skip

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def reduce(self, plan: Any, tile: Tile) -> Estimates:
        """Both stages, errors of every type, tests."""
        assert isinstance(plan, LinearPlan)
        schema = tile.panel.schema
        layout, names, rows = self.layout(schema), self.all_names(schema), tile.panel.replications
        system = self._system(plan, tile, names)
        forms = ReducedForms.fit(system)
        x, bread, beta, u = two_stages(system, forms)
        free, ssr = plan.nobs - plan.effects - len(layout.terms), ols.sum_of_squares(u)
        statistics = self._statistics(plan, names, system, forms, u)
        shape = (rows, len(self.errors), len(layout.terms))
        variance, dof = np.full(shape, np.nan), np.full(shape, float(free))
        stored = {name: np.full(shape, np.nan) for name in layout.stored}
        influence = RedrawnInfluence(x, bread)
        for row, error in enumerate(self.errors):
            if error == "iid":
                variance[:, row] = influence.own * (ssr / free)[:, None]
            elif error == AR:
                shapes, *ends = (statistics[f"ar_{name}"] for name in ("shape", "lower", "upper"))
                sets = ConfidenceSets(np.nan_to_num(shapes, nan=UNKNOWN).astype(np.intp), *ends)
                for name, values in zip(layout.stored, (statistics["ar_p"], *sets.hull(beta[:, 0])), strict=True):
                    stored[name][:, row, 0] = values
                dof[:, row] = self._reduced(plan, names)[1]
            else:
                found, floored = influence.variances(plan.totals[error], u, ssr)
                factor, dof[:, row] = plan.factor(error, len(layout.terms), self.cluster_k)
                variance[:, row] = found * factor
                statistics[f"floored:{error}"] = floored.astype(float)
        exact = ssr <= ols.EXACT * plan.total(tile, names.outcome, centred=True)  # the residuals are rounding
        tests = {name: values for name, values in statistics.items() if name.startswith(OF_RESIDUALS)}
        for values in (variance, *stored.values(), *tests.values()):
            values[exact] = np.nan
        statistics |= {"sigma2": ssr / free, "nobs": np.full(rows, float(plan.nobs))}
        return Estimates.of(layout, beta, np.sqrt(variance), dof, statistics, **stored)

    def _reduced(
        self, plan: LinearPlan, names: InstrumentedNames, slopes: int | None = None
    ) -> tuple[float, float, int]:
        """Factor, degrees of freedom and n - k of `test` in a regression with so many slopes, by default controls and
        instruments."""
        count = len(names.exogenous) if slopes is None else slopes
        free = plan.nobs - plan.effects - count
        if self.test == "iid":
            return 1.0, free, free
        return *plan.factor(self.test, count, self.cluster_k), free

    def _system(self, plan: LinearPlan, tile: Tile, names: InstrumentedNames) -> Instrumented:
        """Variables without effects; NaN where the effects absorb a redrawn one."""
        rows = tile.panel.replications
        scaled = tile if plan.root is None else Tile(tile.panel, weighted=True)

        def columns(of: tuple[str, ...]) -> Floats:
            if not of:
                return np.empty((1, 0, *plan.mask.shape))
            found = ols.stack([plan.within(tile, name) for name in of])
            if len(found) > 1:
                found[ols.any_absorbed(scaled, of, np.square(found).sum(axis=(2, 3)))] = np.nan
            return found

        d = columns(names.endogenous)
        return Instrumented(spread(plan.within(tile, names.outcome), rows), spread(d, rows), columns(names.controls),
                            columns(names.instruments))  # fmt: skip

    def _statistics(
        self, plan: LinearPlan, names: InstrumentedNames, system: Instrumented, forms: ReducedForms, u: Floats
    ) -> dict[str, Floats]:
        count, m = len(names.endogenous), len(names.instruments)
        factor, dof, free = self._reduced(plan, names)
        total = plan.totals.get(self.test)
        covariance = stacked_covariance(forms.psi, forms.residuals, self.test, total, factor, free)
        plain = stacked_covariance(forms.psi, forms.residuals, "iid", None, 1.0, free)
        errors = gram(forms.residuals[:, 1:])
        ar = wald(forms.coefficients[:, 0], covariance[:, :m, :m]) / m
        found = {
            "first_stage_f": rank_f(forms.first, plain[:, m:, m:], forms.spread, errors),
            "kp_f": rank_f(forms.first, covariance[:, m:, m:], forms.spread, errors),
            "ar_f": ar,
            "ar_p": np.asarray(fdtrc(m, dof, ar)),
        }
        if count == 1:
            strength = effective_f(forms.first[:, :, 0], covariance[:, m:, m:], forms.spread)
            sets = anderson_rubin_set(forms.coefficients, covariance, m * float(fdtri(m, dof, 1 - LEVEL)))
            shape = np.where(sets.shape == UNKNOWN, np.nan, sets.shape)
            values = (*strength, sets.lower, sets.upper, shape)
            found |= dict(zip(OF_ONE, values, strict=True))
        if m > count:
            inner = stacked_covariance(forms.psi, u[:, None], self.test, total, 1.0, plan.nobs)  # without a factor
            tests = {"sargan": sargan(forms, u, plan.nobs), "hansen_j": hansen_j(forms, inner)}
            found |= tests
            found |= {f"{name.removesuffix('_j')}_p": np.asarray(chdtrc(m - count, x)) for name, x in tests.items()}

        # endogeneity: first-stage residuals beside the regressors, whose coefficients should be 0 (Hausman 1978)
        x = joined(joined(system.d, system.w), forms.residuals[:, 1:])
        bread = ols.invert(gram(x))[0]
        beta = ols.solved(bread, x, system.y)
        e, psi = ols.residual(system.y, x, beta), ols.influences(bread, x)[:, -count:]
        factor, dof, free = self._reduced(plan, names, x.shape[1])
        f = wald(beta[:, -count:], stacked_covariance(psi, e[:, None], self.test, total, factor, free)) / count
        return found | {"endogeneity_f": f, "endogeneity_p": np.asarray(fdtrc(count, dof, f))}
