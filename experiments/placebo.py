"""Placebos of a real panel: a study of the design `placebo` in a store that holds the panel, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from estimators.core.estimator import Estimates, Estimator, Layout, Status, p_values
from estimators.core.hypotheses import LEVEL, linear_interval, p_value_errors, permutation_p_values
from estimators.core.regression import check_fixed
from estimators.linear.did import TwoWayDID
from estimators.permutation import LEAST_DRAWS, Statistic
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.estimation import estimator_called, panel_for
from experiments.panel_spec.spec import RealPanel
from experiments.run.blocks import fit_panel
from experiments.run.reporting import without_nan
from experiments.run.runner import preflight
from experiments.study import SCHEMA_VERSION, Study
from experiments.tables.ledger import main_cluster
from results.plots.placebo_plot import PlaceboPlot, placebo_figure
from results.report.panel_pages import placebo_page
from results.store.block import Records
from results.store.bucket import StorePath
from results.store.disk import check_folder, write_whole
from results.store.files import root_damage, tree_of
from results.store.repair import SIGNS
from results.store.zarr_store import ZarrStore
from results.tables.typography import probability
from sim.arrays import Floats
from sim.errors import BadInput, Problem, amount, bad, closest, listed, one_of, refuse, type_problems
from sim.panel import Panel, card, number_text
from sim.real_panels import Placebo, other_assignments, panel_of
from sim.schemes import (
    FORMS,
    Blocks,
    Mediator,
    Randomisation,
    Relabel,
    Time,
    redraws_treatment,
    scheme_of,
    terms_tested,
)

# Where placebos lie: a scheme that keeps what an estimate comes from has placebos around the estimate, not zero.


MOST = 0.5  # share of the estimate that the placebos' mean may be, with its sign, without a word
CLEAR = 4.0  # Monte Carlo errors of the mean from which it is no zero


def centre_notes(estimate: float, placebos: Floats, scheme: str, *, before: bool = False) -> Iterator[str]:
    """A note when the mean of placebos (B,) is half of the estimate or more, and clearly not zero.

    before: placebos use the time before adoption alone. Their mean is then nothing that an assignment keeps but what
    treated units did before they were treated, of either sign.
    """
    if len(placebos) < 2:
        return
    mean = float(placebos.mean())
    error = float(placebos.std(ddof=1)) / np.sqrt(len(placebos))
    if before and abs(mean) > max(CLEAR * error, MOST * abs(estimate)):
        yield (
            f"The placebos in time have mean {mean:.4g}, and the estimate is {estimate:.4g}. So much did treated units "
            "and others move apart before adoption. Noise does as much in many panels with parallel trends: the check "
            "of placebos in time that `estimate` prints says whether it is more than chance."
        )
    elif abs(mean) > CLEAR * error and mean * np.sign(estimate) >= MOST * abs(estimate) > 0:
        yield (
            f"The placebos have mean {mean:.4g}, and the estimate is {estimate:.4g}. Most of the estimate comes from "
            f"what the assignment by {scheme} keeps, such as how many units of each group are treated and when. The "
            "test is of the rest alone."
        )


SHIFT = "shift"  # the estimator whose outcome is the real treatment: how a constant effect moves each placebo
BLOCK = 2048  # placebos stored together: what an interruption can cost
QUANTILES = (0.005, 0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975, 0.995)


@dataclass(frozen=True, eq=False, slots=True)
class PlaceboQuestion:
    """What is asked: the study to run, the panel as it was observed, the term, its test, and how many draws.

    called: what texts and the figure call the term; "did" is called as its column or its label.
    """

    study: Study
    panel: Panel
    estimator: Estimator
    term: str
    statistic: Statistic
    draws: int
    called: str

    @property
    def title(self) -> str:
        """Of the answer, as printed and on its page."""
        return f"Placebo test of {self.called}: {self.estimator.name}, scheme {self.scheme}"

    @property
    def design(self) -> Placebo:
        """The design of the study."""
        assert isinstance(self.study.design, Placebo)
        return self.study.design

    @property
    def scheme(self) -> str:
        """The scheme's text."""
        return self.design.scheme

    @property
    def exact(self) -> bool:
        """Whether the placebos are all other assignments that there are."""
        return self.design.exact

    @property
    def is_test(self) -> bool:
        """Whether the real assignment is one draw among equals, so that p values and intervals have a meaning."""
        return not isinstance(scheme_of(self.scheme), Time)


@dataclass(frozen=True, eq=False, slots=True)
class PlaceboAnswer:
    """The real estimate among its placebos.

    estimate, se (of error type `own_error`), pvalue: of the real panel, by the estimator's own test. placebos (B,): raw
    estimates, NaN where a fit failed; own_pvalues (B,): of each placebo by its own test, with errors of type `error`,
    as in t statistics that are compared. permutation_p, mcse: of the test by permutation, mcse = 0 when every
    assignment was used; lower, upper: its interval, NaN where there is none and `no_interval` says why. Where the
    question is no test, `share_as_large` is what permutation_p amounts to. randomisation: the scheme on the panel.
    """

    question: PlaceboQuestion
    error: str
    own_error: str
    estimate: float
    se: float
    pvalue: float
    placebos: Floats
    own_pvalues: Floats
    permutation_p: float
    mcse: float
    lower: float
    upper: float
    no_interval: str
    randomisation: Randomisation

    def __repr__(self) -> str:
        tested = f"p = {self.permutation_p:.4g}" if self.question.is_test else f"{self.share_as_large:.4g} as large"
        return f"PlaceboAnswer({self.question.scheme}, {amount(len(self.placebos), 'placebo')}: {tested})"

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        ask = self.question
        p = f"{number_text(self.permutation_p)} (Monte Carlo error {number_text(self.mcse)})"
        facts = [
            ("estimate", self.estimate),
            ("standard error", f"{number_text(self.se)} ({self.own_error})"),
            ("its own p value", self.pvalue),
            ("p value of the permutation" if ask.is_test else "share of placebos as large",
             p if ask.is_test else self.share_as_large),
            ("95% interval", None if self.no_interval else f"{number_text(self.lower)} to {number_text(self.upper)}"),
            ("scheme", ask.scheme),
            ("placebos", len(self.placebos)),
        ]  # fmt: skip
        return card(f"Placebo test of {ask.called}", facts, notes=self.notes)

    @property
    def usable(self) -> Floats:
        """Placebos whose fit succeeded, (B or fewer,)."""
        return self.placebos[np.isfinite(self.placebos)]

    @property
    def share_as_large(self) -> float:
        """Share of placebos at least as large as the real statistic in absolute value, failed fits among them."""
        count = len(self.placebos)
        return float(np.rint(self.permutation_p * (1 + count)) - 1) / count

    @property
    def quantiles(self) -> dict[float, float]:
        """Quantiles of the placebo distribution."""
        values = np.quantile(self.usable, QUANTILES) if self.usable.size else np.full(len(QUANTILES), np.nan)
        return dict(zip(QUANTILES, values.tolist(), strict=True))

    @property
    def staying(self) -> tuple[int, int]:
        """How many units keep their path in every assignment, and how many of them are treated at some time."""
        found, treatment = self.randomisation, self.question.panel.roles.treatment
        if found.still is None:
            return 0, 0
        paths = found.paths.get(treatment or "")
        treated = np.zeros_like(found.still) if paths is None else paths.any(axis=1)[found.real]
        return int(found.still.sum()), int((found.still & treated).sum())

    @property
    def failure_note(self) -> str:
        """How many placebos failed and what becomes of them; "" where none failed."""
        lost = len(self.placebos) - self.usable.size
        they = "it counts" if lost == 1 else "they count"
        return f"{amount(lost, 'placebo')} could not be fitted; {they} as extreme." if lost else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, failed fits first."""
        ask, test = self.question, self.question.is_test
        found = [self.failure_note] if self.failure_note else []
        if self.no_interval and test:
            found.append(f"No interval: {self.no_interval}.")
        if not test:
            found.append("Placebos use the time before adoption alone, and real dates always come last. So this "
                         "describes that time and is no exact test: there is no p value and no interval.")  # fmt: skip
        if ask.exact:
            found.append(f"The {len(self.placebos):,} placebos are all assignments besides the real one, each once: "
                         f"{'p' if test else 'the share'} has no Monte Carlo error.")  # fmt: skip
        elif (distinct := self.randomisation.count) is not None and distinct <= len(self.placebos):
            found.append(f"There are only {distinct:,} distinct assignments; they are drawn with repetition.")
        units, treated = self.staying
        if units:
            found.append(f"{units:,} of {len(ask.panel.units):,} units, {treated:,} treated ones among them, keep what "
                         f"they have in every placebo: {ask.scheme} finds nothing to exchange it with.")  # fmt: skip
        return (*found, *centre_notes(self.estimate, self.usable, ask.scheme, before=not test))

    @property
    def plot(self) -> PlaceboPlot:
        """What the figure shows."""
        ask = self.question
        seen = np.isfinite(self.placebos)
        return PlaceboPlot(ask.called, ask.scheme, ask.estimator.name, self.estimate, self.placebos[seen],
                           self.own_pvalues[seen], self.permutation_p,
                           None if ask.is_test else self.share_as_large)  # fmt: skip

    @property
    def document(self) -> dict[str, Any]:
        """All numbers as plain data (None where there is none)."""
        ask, usable = self.question, self.usable
        spread = float(usable.std(ddof=1)) if usable.size > 1 else np.nan
        p = self.permutation_p if ask.is_test else np.nan
        tests = self.own_pvalues[~np.isnan(self.own_pvalues)]
        plain: dict[str, Any] = without_nan({
            "panel": {"digest": ask.panel.digest, "units": len(ask.panel.units), "periods": len(ask.panel.periods)},
            "scheme": ask.scheme, "estimator": ask.estimator.name, "term": ask.term, "called": ask.called,
            "statistic": ask.statistic, "seed": ask.study.seed, "draws": len(self.placebos), "exact": ask.exact,
            "failed": len(self.placebos) - usable.size,
            "distinct_assignments": None if self.randomisation.count is None else str(self.randomisation.count),
            "units_that_stay": self.staying[0], "treated_units_that_stay": self.staying[1],
            "estimate": self.estimate, "se": self.se, "se_type": self.own_error or None,
            "placebo_se_type": self.error or None, "pvalue": self.pvalue, "permutation_pvalue": p,
            "share_as_large": self.share_as_large, "mcse": self.mcse,
            "lower": self.lower, "upper": self.upper, "level": 1 - LEVEL,
            "placebo_mean": float(usable.mean()), "placebo_sd": spread,
            "placebo_quantiles": {f"{q:g}": value for q, value in self.quantiles.items()},
            "rejected_share": float((tests <= LEVEL).mean()) if tests.size else np.nan,
            "notes": list(self.notes),
        })  # fmt: skip
        return plain


def question(
    real: RealPanel,
    *,
    scheme: str = "space",
    estimator: str = "did",
    term: str | None = None,
    draws: int = 1000,
    statistic: Statistic = "raw",
    seed: int | None = None,
) -> PlaceboQuestion:
    """What to run on a panel file: `draws` placebos, or every assignment once when there are no more than that.

    Raises BadInput for a scheme, estimator, term or panel that cannot serve.
    """
    text = partial(type_problems, kinds=str, where="placebo")
    number = partial(type_problems, kinds=Integral, where="placebo", allowed="a whole number, such as 1000")
    problems = [*text(scheme, name="scheme", allowed=one_of(FORMS)),
                *text(estimator, name="estimator", allowed='the name of one, such as "did"'),
                *number(draws, name="draws"), *(() if seed is None else number(seed, name="seed"))]  # fmt: skip
    if statistic not in (known := get_args(Statistic)):
        problems.append(Problem(f"statistic = {statistic!r}", "placebo", one_of(known), closest(str(statistic), known)))
    refuse(problems)
    kind = scheme_of(scheme)
    if draws < LEAST_DRAWS:
        raise bad(f"draws = {draws}", where="--draws", allowed=f"{LEAST_DRAWS} or more", remedy="use 1000")
    whole = panel_for(estimator, real)
    mediators = whole.roles.mediators if isinstance(kind, Mediator) else ()
    regressors = (*whole.roles.regressors, *mediators) if mediators else None
    chosen = estimator_called(estimator, real, regressors, getattr(kind, "weights", None))
    if isinstance(chosen, TwoWayDID):  # that of the tables, with the main error type alone
        chosen = replace(chosen, errors=(main_cluster(real.spec),), constant=False)
    if isinstance(chosen, SpatialPanel) and isinstance(kind, Time):
        raise bad("scheme time leaves untreated cells only, and spatial models need every cell",
                  where=f"--estimator {estimator}", allowed="did", remedy="use --estimator did")  # fmt: skip
    panel = _needed(whole, scheme, chosen)
    found = kind.on(panel)
    exact = found.count is not None and found.count <= draws
    layout = chosen.layout(panel.schema)
    if statistic == "studentised" and not layout.errors:
        raise bad(f"{chosen.name} has no standard errors", where="--statistic studentised",
                  allowed="raw, or an estimator with errors", remedy="use --statistic raw")  # fmt: skip
    treatment = panel.roles.treatment
    asked = _term(term and real.spec.variable(term), panel, scheme, layout)
    if not isinstance(kind, Relabel | Mediator):  # the terms of its kernel for redrawn treatments, where it has one
        quick = chosen.for_redrawn_treatments(panel.schema)
        chosen = quick if asked in quick.layout(panel.schema).terms else chosen
    fitted: tuple[Estimator, ...] = (chosen,)
    if isinstance(chosen, TwoWayDID) and redraws_treatment(kind) and asked == treatment:
        as_it_was, values = f"{treatment} as it was", panel.variables[treatment or ""]
        values = np.array(values if panel.observed is None else np.where(panel.observed, values, 0.0))
        panel = panel.with_variables({as_it_was: values})
        fitted = (chosen, replace(chosen, outcome=as_it_was, label=SHIFT))
    study = Study("placebo", Placebo.of(panel, scheme, exact=exact), fitted, block=BLOCK,
                  replications=len(other_assignments(found, scheme)) if exact else draws,
                  seed=real.spec.inference.seed if seed is None else int(seed))  # fmt: skip
    return PlaceboQuestion(study, panel, chosen, asked, statistic, draws, real.names.get(asked, asked))


def check_fits(ask: PlaceboQuestion) -> None:
    """Raise BadInput, before anything is drawn, when the panel as it was observed or a placebo of it has no fit, and
    when its term has no error that could studentise it."""
    real, errors = _real_fit(ask), ask.estimator.layout(ask.panel.schema).errors
    if ask.statistic == "studentised" and np.isnan(real.with_errors(errors[-1]).se[0, 0, real.terms.index(ask.term)]):
        raise bad(f"{ask.called} has no error {errors[-1]} on this panel", where="--statistic studentised",
                  allowed="raw, or an estimator with errors", remedy="use --statistic raw")  # fmt: skip
    if isinstance(ask.estimator, TwoWayDID | SpatialPanel):
        roles = ask.panel.roles
        try:  # effects and regressors may leave nothing but rounding of the outcome
            check_fixed(ask.panel, (*roles.regressors, roles.outcome or ""), ask.estimator.name)
        except BadInput as error:
            remedy = "name another outcome, or remove the controls that determine it"
            raise BadInput(*(replace(problem, remedy=remedy) for problem in error.problems)) from error
    preflight(ask.study)


def answer(ask: PlaceboQuestion, records: Records) -> PlaceboAnswer:
    """The real estimate among the placebos of a store (or of a run in memory); raises BadInput when it has none."""
    blocks = list(records.blocks(0))
    real = _real_fit(ask)
    fits = Estimates.join([block.estimates[ask.estimator.name] for block in blocks])
    column, own = fits.terms.index(ask.term), real.terms.index(ask.term)
    ok = fits.status == Status.OK
    placebos = np.where(ok, fits.estimate[:, column], np.nan)
    se, dof, own_se, real_se = np.full(len(ok), np.nan), np.full(len(ok), np.nan), np.nan, np.nan
    if fits.errors:  # an estimator without standard errors has placebos, and no test of its own
        se, dof = fits.se[:, -1, column], fits.dof[:, -1, column]
        own_se, real_se = (float(real.se[0, real.errors.index(error), own])
                           for error in (real.errors[-1], fits.errors[-1]))  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(ok, fits.estimate[:, column] / se, np.nan)
        own_t, real_t = (float(np.divide(real.estimate[0, own], one)) for one in (own_se, real_se))
    if not np.isfinite(placebos).any():
        raise bad(f"none of {len(placebos)} placebos was fitted", where="--estimator", allowed="one that fits any draw",
                  remedy="choose another estimator or scheme; store info lists the reasons")  # fmt: skip
    estimate = float(real.estimate[0, own])
    statistic, drawn = (estimate, placebos) if ask.statistic == "raw" else (real_t, t)
    p = float(permutation_p_values(np.array([statistic]), drawn[None])[0])
    lower, upper, why = _interval(ask, estimate, placebos, blocks)
    return PlaceboAnswer(
        question=ask,
        error=fits.errors[-1] if fits.errors else "",
        own_error=real.errors[-1] if real.errors else "",
        estimate=estimate,
        se=own_se,
        pvalue=float(p_values(np.array([own_t]), real.dof[0, -1:, own])[0]) if real.errors else np.nan,
        placebos=placebos,
        own_pvalues=p_values(t, dof),
        permutation_p=p,
        mcse=0.0 if ask.exact else float(p_value_errors(np.array(p), len(placebos))),
        lower=lower,
        upper=upper,
        no_interval=why,
        randomisation=scheme_of(ask.scheme).on(ask.panel),
    )


def _interval(ask: PlaceboQuestion, estimate: float, placebos: Floats, blocks: list[Any]) -> tuple[float, float, str]:
    """Ends of the interval of constant effects that are not rejected, or why there is none."""
    if not ask.is_test:
        return np.nan, np.nan, f"scheme {ask.scheme} is no exact test"
    if len(ask.study.estimators) == 1:
        reasons: dict[type, str] = {TwoWayDID: "the term is not the effect of what is assigned anew",
                                    SpatialPanel: "the model is not linear in y"}  # fmt: skip
        why = reasons.get(type(ask.estimator), "it is made for did alone")
        return np.nan, np.nan, why
    if ask.statistic != "raw":
        return np.nan, np.nan, "it is made for the raw statistic alone"
    shift = Estimates.join([block.estimates[SHIFT] for block in blocks])
    slopes = shift.estimate[:, shift.terms.index(ask.term)]
    lower, upper = linear_interval(np.array([estimate]), placebos[None], slopes[None])
    return float(lower[0]), float(upper[0]), ""


def _real_fit(ask: PlaceboQuestion) -> Estimates:
    """The estimator on the panel as it was observed, the error type of its own test last.

    The kernel for redrawn treatments has the Hessian's errors alone; those that `estimate` shows are asked for besides.
    """
    own = ask.estimator
    if isinstance(own, SpatialPanel) and own.errors == ("hessian",):
        own = replace(own, errors=("hessian", "information"))
    estimates = fit_panel(ask.panel, (own,), ask.study.seed)[ask.estimator.name]
    if estimates.status[0] != Status.OK:
        raise bad(f"{ask.estimator.name}: {Status(int(estimates.status[0])).meaning}", where="the real panel",
                  allowed="a panel that the estimator fits", remedy="choose another estimator")  # fmt: skip
    return estimates


def _needed(panel: Panel, scheme: str, estimator: Estimator) -> Panel:
    """The panel with what the question uses: its roles, what the estimator reads, weights of it or of the scheme."""
    roles, kind = panel.roles, scheme_of(scheme)
    own = (roles.outcome, *roles.regressors, *(roles.mediators if isinstance(kind, Mediator) else ()))
    names = dict.fromkeys((*own, *sorted(estimator.variables(panel.schema))))
    weights: Mapping[str, Any] = panel.weights
    if not isinstance(kind, Blocks | Relabel) and isinstance(estimator, TwoWayDID | SpatialPanel):
        used = getattr(estimator, "weights", None)
        weights = {used: panel.weights[used]} if used else {}
    kept = replace(roles, mediators=tuple(name for name in roles.mediators if name in names))
    return replace(
        panel, variables={name: panel.variables[name] for name in names if name}, weights=weights, roles=kept
    )


def _term(asked: str | None, panel: Panel, scheme: str, layout: Layout) -> str:
    """The term that is tested; raises BadInput for one that the estimator lacks or that the scheme does not test.

    By default the treatment, or else the first term for its effect; a spatial parameter when W is relabelled; the
    mediator when it is exchanged.
    """
    kind, term = scheme_of(scheme), asked or ""
    tested = terms_tested(kind, layout.terms, layout.targets, panel.roles)
    if not term and isinstance(kind, Relabel):
        spatial = [name for name in layout.terms if name in {"rho", "lambda"} or name.startswith("w_")]
        if not spatial:
            raise bad("no term is spatial", where="--scheme relabel", allowed="--estimator sdm, sar or sem",
                      remedy="choose one of them")  # fmt: skip
        term = spatial[-1]
    elif not term and isinstance(kind, Mediator):
        term = kind.name or next(iter(panel.roles.mediators), "")
    elif not term and panel.roles.treatment in layout.terms:
        term = str(panel.roles.treatment)
    elif not term:
        if not tested:
            raise bad(f"no term is tested by scheme {scheme}", where="--estimator",
                      allowed="an estimator of the effect of what is assigned anew",
                      remedy="choose another estimator or scheme")  # fmt: skip
        term = next((name for name in tested if layout.targets.get(name) == "att"), tested[0])
    if term not in layout.terms:
        raise bad(f"no term {term!r}", where="--term", allowed=one_of(tested, term), remedy=closest(term, tested))
    if term not in tested:
        raise bad(f"scheme {scheme} does not test {term!r}", where="--term", allowed=one_of(tested),
                  remedy="choose among these terms, or a scheme that tests it")  # fmt: skip
    return term


# The store of an earlier `panelproof placebo` that a run goes on with, and what it says of other choices.


def prepared(real: RealPanel, store: StorePath | None, **choices: Any) -> PlaceboQuestion:
    """What to run on a panel, checked on it, and going on with the store where there is one; raises BadInput.

    choices: of `experiments.placebo.question`.
    """
    asked = question(real, **choices)
    found = asked if store is None else resumable(asked, store)
    check_fits(found)
    return found


def resumable(ask: PlaceboQuestion, store: StorePath) -> PlaceboQuestion:
    """The question with the panel as the store holds it, drawn or gone through as the store began.

    Raises BadInput, with the choices that differ, when the store holds another placebo test.
    """
    if not store.exists() or (any(map(tree_of(store).has, SIGNS)) and root_damage(store)):
        return ask  # of a store whose settings are damaged the run says whether it can repair them
    held = ZarrStore.open(store)
    kept = held.facts["study"]
    if kept["design"]["kind"] != Placebo.kind or not kept["design"]["panel"]:
        raise bad("holds no placebos of a panel", where=str(store), allowed="a store that `panelproof placebo` made",
                  remedy="choose another --store")  # fmt: skip
    changed = _changed(ask, kept)
    if not changed:
        design = replace(ask.design, panel=kept["design"]["panel"], exact=kept["design"].get("exact", False))
        count = ask.study.replications if design.exact else ask.draws
        study = replace(ask.study, design=design, replications=count)
        if study.fingerprint == held.fingerprint or held.facts["identity"]["schema"] != SCHEMA_VERSION:
            return replace(ask, study=study)
        changed = ["--term, or what the spec says of clusters, is another"]
    raise bad(
        f"holds another placebo test: {' and '.join(changed)}",
        where=str(store),
        allowed="the choices that made it",
        remedy="choose another --store, or make the same choices",
    )


def _changed(ask: PlaceboQuestion, kept: Mapping[str, Any]) -> list[str]:
    """The user's choices that are not those of a store's study, e.g. --estimator was sdm, is did."""
    own = ask.study.settings
    choices = {
        "--estimator": [
            str(one["model"] if one["kind"] == SpatialPanel.kind else one["kind"])
            for one in (study["estimators"][0] for study in (kept, own))
        ],
        "--scheme": [study["design"]["scheme"] for study in (kept, own)],
        "--seed": [study["seed"] for study in (kept, own)],
    }
    found = [f"{option} was {was}, is {now}" for option, (was, now) in choices.items() if was != now]
    old, new = panel_of(kept["design"]["panel"]), panel_of(ask.design.panel)
    was, now = choices["--estimator"]
    if was != now and (old.observed is not None or new.observed is not None):
        return found  # models differ in which gaps they leave out: nothing is known of the file

    renamed = list[str]()
    for role in ("outcome", "treatment", "controls"):
        held = [getattr(panel.roles, role) for panel in (old, new)]
        if held[0] != held[1]:
            was, now = (listed(one) or "none" if isinstance(one, tuple) else str(one) for one in held)
            renamed.append(f"{role} was {was}, is {now}")
    if renamed:
        return found + renamed
    if _core(old).digest != _core(new).digest:
        return [*found, "the panel is another one"]
    if found or old.digest == new.digest:  # with equal choices weights and further variables must be equal, too
        return found
    if {name: w.digest for name, w in old.weights.items()} != {name: w.digest for name, w in new.weights.items()}:
        return ["the spatial weights are others"]
    if set(old.variables) != set(new.variables):
        return ["--term, or the mediators of the spec, are others"]
    return ["the panel is another one, by its groups, places or mediators"]


def _core(panel: Panel) -> Panel:
    """What every estimator and scheme keeps of a panel: outcome, treatment and controls."""
    names = (panel.roles.outcome, *panel.roles.regressors)
    variables = {name: panel.variables[name] for name in names if name}
    return replace(panel, variables=variables, attributes={}, weights={}, roles=replace(panel.roles, mediators=()))


# What `panelproof placebo` prints and writes.


def print_placebo(found: PlaceboAnswer, console: Console) -> None:
    """Failed placebos, the real estimate, its p value (or share) with its Monte Carlo error, interval and placebos."""
    ask = found.question
    console.print(Text(ask.title, style="bold"))
    if found.failure_note:
        console.print(Text(found.failure_note, style="yellow"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, text in _lines(found):
        table.add_row(name, text)
    console.print(table)
    for note in found.notes:
        if note != found.failure_note:
            console.print(Text(note, style="yellow"))


def write_placebo(found: PlaceboAnswer, folder: Path) -> list[Path]:
    """Write placebo.html, placebo.svg and placebo.json into a folder; raises BadInput when it cannot be written."""
    svg = placebo_figure(found.plot)
    files = {
        "placebo.html": placebo_page(found.question.title, _lines(found), found.document, svg),
        "placebo.svg": svg,
        "placebo.json": json.dumps(found.document, indent=1, ensure_ascii=False) + "\n",
    }
    check_folder(folder)
    return write_whole(folder, files)


def _lines(found: PlaceboAnswer) -> list[tuple[str, str]]:
    usable = found.usable
    kind = "estimate" if found.question.statistic == "raw" else "t statistic"
    if found.question.statistic == "studentised" and found.error != found.own_error:
        kind += f" with {found.error} errors, as for the placebos"
    none = f"no {found.own_error} error on this panel" if found.own_error else "it has no standard errors"
    name, _, said = found.plot.standing
    precision = "every assignment used" if found.question.exact else f"Monte Carlo error {probability(found.mcse)}"
    lines = [
        ("real estimate", f"{found.estimate:.6g}"),
        (
            "its own test",
            f"se {found.se:.4g} ({found.own_error}), p = {found.pvalue:.4g}"
            if np.isfinite(found.se)
            else f"none: {none}",
        ),
        (name, f"{said} ({precision}), two-sided on the {kind}"),
    ]
    if np.isfinite(found.lower) or np.isinf(found.lower):
        lines.append(("95% interval", f"{found.lower:.6g} to {found.upper:.6g}, by inversion of the test"))
    lines.append(("placebos", f"{usable.size:,} of {len(found.placebos):,} fitted"))
    if usable.size > 1:
        lines.append(("their mean, sd", f"{usable.mean():.4g}, {usable.std(ddof=1):.4g}"))
    lines += [(f"{100 * q:g}% quantile", f"{value:.4g}") for q, value in found.quantiles.items()]
    return lines
