"""The claim: a number of a table on a real panel, the estimator that made it, and the dial of a twin that moves it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any

import numpy as np

from estimators.core.error_types import kind_of, served
from estimators.core.estimator import Estimator, RegressionEstimator
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import FEWEST_TO_REJECT
from estimators.permutation import SomeTerms
from estimators.spatial.likelihood import FORMS
from estimators.spatial.spatial_panel import SpatialPanel
from estimators.staggered.adoption_effects import AdoptionEffects, event_of
from estimators.staggered.callaway_santanna import CallawaySantAnna
from experiments.checks.inputs import FOR_FEW
from experiments.estimation import check_estimable
from experiments.panel_spec.spec import RealPanel, with_weights
from experiments.run.blocks import fit_panel
from experiments.tables.ledger import (
    ALONE,
    ROUNDING,
    FittedColumn,
    Ledger,
    clustered_enough,
    error_types,
    known_terms,
    main_cluster,
    reasons,
    treated_units,
    why_failed,
)
from experiments.tables.spatial_models import likelihood_of
from results.tables.records import BASELINE, EFFECTS, SPATIAL, Place, Record, records_of
from sim.design import Estimand
from sim.errors import BadInput, Problem, bad, closest, listed, naming, one_of, refuse, type_problems
from sim.panel import Panel, seen_in
from sim.schema import Roles, refuse_weights
from sim.world.draw import POLICY_MEANS

# The sample of a claim: the part of a real panel that its fit used, with the outcome and the controls of that fit.


def sample_of(real: RealPanel, fitted: FittedColumn) -> RealPanel:
    """The panel and spec of what a fit used, so that a twin of it is a twin of that sample; `real` where it is all.

    Units and periods are those of the fit. The fit's outcome is the outcome, and every further regressor, such as
    another policy, is a control, for a twin holds no other variables. W is built anew for the units; where it cannot
    be, the sample has none. Error types and the main cluster go where the sample has fewer than two clusters. The
    sample's last notes say what differs from the whole panel. Raises BadInput for a fit on variables that are neither.
    """
    panel, own, estimator = fitted.panel, real.panel.roles, fitted.estimator
    refuse_weights(own, "twins")

    outcome, named = own.outcome, tuple[str, ...]()
    if isinstance(estimator, RegressionEstimator):
        outcome, named = estimator.names(panel.schema)
    controls = tuple(dict.fromkeys((*own.controls, *(name for name in named if name != own.treatment))))
    lacking = sorted(estimator.variables(panel.schema) - {str(outcome), str(own.treatment), *controls})
    if lacking:
        raise bad(f"twins do not have {one_of(lacking)}, which {estimator.name} uses", where=fitted.fit.where,
                  allowed="estimators that use the outcome, the treatment and controls",
                  remedy="choose a term of a regression, such as did")  # fmt: skip
    if panel is real.panel and (outcome, controls) == (own.outcome, own.controls):
        return real

    weights, without = panel.weights or real.panel.weights, tuple[str, ...]()
    if not panel.weights and panel.units != real.panel.units:
        try:
            weights = with_weights(panel, real.spec, real.order).weights
        except BadInput as refusal:
            weights, without = {}, (f"Twins of the claim's sample have no spatial weights: {reasons(refusal)}.",)
    roles = Roles(outcome, own.treatment, controls, continuous=own.continuous)
    part = replace(panel, roles=roles, weights=weights)

    units = [real.panel.units.index(unit) for unit in panel.units]
    periods = [real.panel.periods.index(period) for period in panel.periods]
    further = {name: values[:, periods][:, :, units] for name, values in real.further.items()}
    notes = (*real.notes, *_notes(real.panel, part, fitted), *without)

    # The sample's outcome, controls and error types; an index is the outcome of the whole alone.
    spec, sound = real.spec, clustered_enough(part, error_types(real.spec))
    changes = {"outcome": part.roles.outcome, "controls": part.roles.controls, "mediators": ()}
    section = spec.panel.model_copy(update=changes | ({} if main_cluster(spec) in sound else {"cluster": None}))
    inference = spec.inference.model_copy(
        update={"errors": tuple(error for error in spec.inference.errors if error in sound)}
    )
    index = spec.index if part.roles.outcome == own.outcome else None
    spec = spec.model_copy(update={"panel": section, "inference": inference, "index": index})
    return replace(real, panel=part, spec=spec, notes=notes, further=further)


def _notes(whole: Panel, panel: Panel, fitted: FittedColumn) -> Iterator[str]:
    """What the twins of the sample are of, where this is not the whole panel, and what they take for a control."""
    cut = (whole.units, whole.periods, whole.nobs) != (panel.units, panel.periods, panel.nobs)
    changed = not cut and any(
        not np.array_equal(values, panel.variables[name], equal_nan=True) for name, values in whole.variables.items()
    )
    if cut or changed or whole.roles.outcome != panel.roles.outcome:
        named = "" if fitted.fit.sample == "all" else f" ({fitted.fit.sample})"
        yield (f"Twins are of the claim's own sample{named}: {len(panel.units)} of {len(whole.units)} units, "
               f"{panel.periods[0]} to {panel.periods[-1]}, outcome {panel.roles.outcome}.")  # fmt: skip
    further = [name for name in panel.roles.controls if name not in whole.roles.controls]
    if further:
        yield f"Twins take {listed(further)} for a control, as the claim's regression does."


HEADLINE = "did"
FORMS_OF_CLAIMS = "did, indirect:did, sdm:did, or TABLE:COLUMN:TERM such as 7:3:w_did or S:2:event(3)"
STANDING = ("did", "direct:did", "indirect:did", "total:did", *(f"{form}:did" for form in FORMS))
TABLES = {"2": "regressions", "3": "regressions", "4": "regressions", "5": "mediation_table", "7": "spatial_models",
          "R": "robustness_table", "S": "staggered_table"}  # fmt: skip
MISSING = {
    "3": "name capital or other_policy in [panel]",
    "4": "name groups in [panel]",
    "5": "name mediators in [panel]",
    "7": "add a table [[weights]]",
    "R": "ask for checks in [robustness]",
    "S": "set staggered = true in [robustness]",
}  # what gives a spec a table that it does not have
DRAWN = {"wild", "simulation", "bootstrap", "monte-carlo", "permutation", "placebo"}  # drawn anew for every panel
Staggered = AdoptionEffects | CallawaySantAnna  # their errors are clusters of units
FEW = 10  # treated units below which inference for few of them is shown
EFFECT, SPILLOVER = "effect.size", "spillover.w_effect"
COEFFICIENT = re.compile(r"(beta|direct|indirect|total)\((w_)?(.+)\)")


@dataclass(frozen=True, eq=False, slots=True)
class PanelClaim:
    """A number that a user wants to trust.

    text: as the user named it. real: the panel. sample: what of it the claim uses, `real` itself where that is all;
    twins of the claim are twins of it. fitted: the estimator on the panel. term: of the estimator. printed: the error
    type that the table prints. errors: that and the others that cost little, none where the estimator keeps its own.
    dial: of a twin's design, the one that moves the estimand of the term.
    """

    text: str
    real: RealPanel
    sample: RealPanel
    fitted: FittedColumn
    term: str
    printed: str
    errors: tuple[str, ...]
    dial: str

    @property
    def estimate(self) -> float:
        """The number itself."""
        return float(self.fitted.estimates.estimate[0, self.fitted.estimates.terms.index(self.term)])

    @property
    def called(self) -> str:
        """The claim in words: the treatment as the tables call it."""
        return self.real.called if self.text == HEADLINE else self.text

    @property
    def panel(self) -> Panel:
        """The panel that the estimator was fitted to."""
        return self.fitted.panel

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the sample, in words; none where it is the whole panel."""
        return self.sample.notes[len(self.real.notes) :]

    @property
    def estimator(self) -> Estimator:
        """The very estimator, with the claim's term alone and `errors`."""
        own = self.fitted.estimator
        known = {item.name for item in fields(own)}  # type: ignore[arg-type]
        changes: dict[str, Any] = {"full_fit": False, "simulate": 0, "terms": (self.term,), "errors": self.errors}
        changes |= {"band": "", "uniform_draws": 0}  # drawn, and beside the claim
        kept = {name: value for name, value in changes.items() if name in known and (name, value) != ("errors", ())}
        lean = replace(own, **kept)  # type: ignore[type-var]
        return lean if "terms" in known else SomeTerms.of(lean, (self.term,))

    def dof(self, error: str) -> float:
        """Degrees of freedom of its t under an error type, which the table need not print."""
        found = self.estimator(self.panel)
        return float(found.dof[0, found.errors.index(error), found.terms.index(self.term)])

    def on(self, panel: Panel) -> dict[str, Record]:
        """The claim on a panel, by error type; as `estimate` fits it. Raises BadInput for no fit."""
        estimator = self.estimator
        found = fit_panel(panel, (estimator,), seed=1)[estimator.name].only((self.term,))
        if not np.isfinite(found.estimate[0]).all():
            raise bad(f"{estimator.name} has no estimate of {self.term}: {why_failed(found)}", where="the claim",
                      allowed="a panel that it fits", remedy="choose another claim")  # fmt: skip
        seen = seen_in(panel)
        sizes = panel.nobs, int(seen.any(axis=0).sum()), int(seen.any(axis=1).sum())
        records = records_of(self.fitted.fit, found, *sizes)
        return {record.se_type: record for record in records}


def claim_of(real: RealPanel, text: str = HEADLINE, error: str | None = None) -> PanelClaim:
    """The claim that a user names, fitted as `estimate` fits it; error: another error type than the table prints.

    Raises BadInput for a panel that cannot be estimated or has no time before adoption, and for what the spec does not
    give.
    """
    refuse([
        *type_problems(text, str, "claim", where="--claim", allowed="did, or TABLE:COLUMN:TERM such as 7:3:w_did"),
        *type_problems("" if error is None else error, str, "errors", where="--errors", allowed="an error type"),
    ])  # fmt: skip
    _check_panel(real)
    place, term, choose = _read(real, text.strip())
    fitted = _found(real, place, term, text, choose)
    with naming(f"--claim {text}"):
        sample = sample_of(real, fitted)
    dial = dial_of(sample, fitted, term, text)
    if sample is not real:
        with naming(f"--claim {text}"):
            _check_panel(sample)
    printed, errors = _errors(sample, fitted, term, text, error)
    return PanelClaim(text, real, sample, fitted, term, printed, errors, dial)


def error_types_of(own: Estimator, panel: Panel, real: RealPanel, printed: str) -> tuple[str, ...]:
    """The error types of a claim that need no bootstrap, the printed one first: classical, robust, clustered in three
    forms by units and groups, for few treated units where they are few, and those of the spec.

    None of estimators that are neither regressions, spatial models nor of staggered adoption. Two-way clusters only
    where they are asked for: their variance may be negative, and a twin without one error type is lost for all.
    """
    family: Any = {TwoWayDID: "regression", SpatialPanel: "spatial"}.get(type(own))
    staggered = isinstance(own, Staggered)
    if family is None and not staggered:
        return ()
    named = dict.fromkeys((*real.spec.panel.groups, real.spec.panel.cluster, assigned_by(panel)))
    groups = [name for name in named if name and name in panel.attributes]
    by = ["unit", *(name for name in groups if name != real.spec.panel.unit)]
    wanted = [printed, "iid", "information", "hc1", "hessian", "qmle", *(f"cluster:{name}" for name in by)]
    wanted += [f"{kind}:{name}" for kind in ("cr2", "cv3") for name in by]
    treated = treated_units(panel) if panel.roles.treatment else np.ones(0, dtype=bool)
    wanted += FOR_FEW if not panel.roles.continuous and 0 < treated.sum() < FEW else ()
    wanted += [*own.errors, *real.spec.inference.errors]  # type: ignore[attr-defined]
    cheap = [error for error in dict.fromkeys(wanted) if kind_of(error) not in DRAWN]
    if panel.roles.treatment and (~treated).sum() < FEWEST_TO_REJECT:
        cheap = [error for error in cheap if kind_of(error) not in FOR_FEW]
    known = tuple(panel.attributes)
    if staggered:
        one_way = {f"cluster:{name}" for name in ("unit", *known)}
        return clustered_enough(panel, tuple(error for error in cheap if error in one_way))
    return clustered_enough(panel, tuple(error for error in cheap if served(error, known, family)))


def assigned_by(panel: Panel) -> str:
    """The attribute whose groups adopt as a whole: all units of each group are treated alike; "" = units by themselves.

    Errors then have to be clustered by it (Abadie, Athey, Imbens and Wooldridge 2023); where a single group is treated,
    no such clusters serve. Of several the one with the fewest groups. An attribute that says no more than the date of
    adoption is no grouping.
    """
    treatment = panel.roles.treatment
    if treatment is None:
        return ""
    paths = np.where(seen_in(panel), panel.variables[treatment][0], 0.0).T  # (N, T)
    found: dict[str, int] = {}
    dates = len(np.unique(paths, axis=0))
    for name, values in panel.attributes.items():
        labels, codes = np.unique(values.astype(str), return_inverse=True)
        first = np.unique(codes, return_index=True)[1]
        alike = bool((paths == paths[first][codes]).all())
        ever = paths.any(axis=1)
        groups = len(np.unique(codes[ever]))
        if alike and dates < len(labels) < len(paths) and 0 < groups < int(ever.sum()):
            found[name] = len(labels)
    return min(found, key=lambda name: found[name], default="")


def dial_of(real: RealPanel, fitted: FittedColumn, term: str, text: str) -> str:
    """The dial of a twin's design that moves the estimand of a term; raises BadInput where there is none."""
    targets = fitted.estimator.layout(fitted.panel.schema).targets
    dials = {name: _dial(real, target) for name, target in targets.items()}
    if dial := dials.get(term):
        return dial
    known = set(known_terms(fitted.estimates))
    others = [name for name in fitted.estimates.terms if dials.get(name) and name in known]
    event = event_of(term)
    early = "" if event is None else " before adoption" if event < 0 else ", which holds several times since adoption"
    raise bad(f"twins have no dial for the term {term!r}{early}", where=f"--claim {text}",
              allowed=one_of(others, term), remedy=closest(term, others, "choose one of them"))  # fmt: skip


def _dial(real: RealPanel, target: str) -> str | None:
    """The dial of an estimand, None where there is none."""
    if Estimand.parse(target).kind in POLICY_MEANS:
        return EFFECT
    parts = COEFFICIENT.fullmatch(target)
    kind, lagged, name = parts.groups() if parts else ("", None, "")
    if name == real.panel.roles.treatment:
        return SPILLOVER if lagged or kind == "indirect" else EFFECT
    if name in real.panel.roles.controls and not lagged and kind == "beta":
        return f"covariates.{name}.effect"
    return None


def _found(real: RealPanel, place: Place, term: str, text: str, choose: Callable[[FittedColumn], bool]) -> FittedColumn:
    """The fit of a table that holds a term at a place; raises BadInput where the spec or the panel does not give it."""
    ledger = Ledger(real.spec.inference.seed, names=real.names)
    module = import_module(f"experiments.tables.{TABLES[place[0]]}")
    part = {"2": "add_baseline", "S": "add_effects"}.get(place[0], "add")
    getattr(module, part)(real, ledger)
    ledger.fitted = [item for item in ledger.fitted if item.fit.column]  # column 0 holds tests

    there = [item for item in ledger.fitted if item.fit.place == place and choose(item)]
    if not there:  # why, with the columns that there are, the nearest first
        table, column = place
        columns = sorted({item.fit.column for item in ledger.fitted if item.fit.table == table},
                         key=lambda other: (abs(other - column), other))  # fmt: skip
        shown = next((record for record in ledger.records if record.place == place), None)
        why = (f"No table {table}", f"Table {table} has no column {column}", f"Table {table}, column {column} ")
        said = [*ledger.failures, *(note for note in ledger.notes if note.startswith(why))]
        if shown is not None:
            what = f"{shown.where} {'is of a sample that twins do not have' if column else 'holds tests'}"
        elif columns:
            what = f"table {table} of this spec has no column {column}"
        else:
            what = f"this spec gives no table {table} with claims"
        remedy = f"did you mean {table}:{columns[0]}:{term}?" if columns else MISSING.get(table, "correct it")
        raise bad(what, where=f"--claim {text}", allowed=one_of(f"{table}:{other}" for other in columns),
                  remedy=listed((one.rstrip(".") for one in said), 1) or remedy)  # fmt: skip
    terms = list(dict.fromkeys(name for item in there for name in known_terms(item.estimates)))
    found = [item for item in there if term in item.estimates.terms]
    if not found:
        beside = [item.fit.column for item in ledger.fitted if term in known_terms(item.estimates)]
        remedy = f"did you mean {place[0]}:{beside[0]}:{term}?" if beside else "choose one of them"
        raise bad(f"no term {term!r}", where=f"--claim {text}", allowed=one_of(terms, term),
                  remedy=closest(term, terms, remedy))  # fmt: skip
    if term not in terms:
        raise bad(f"the panel gives no estimate of the term {term!r}", where=f"--claim {text}",
                  allowed=one_of(terms, term), remedy="choose one of them")  # fmt: skip
    return min(
        found, key=lambda item: likelihood_of(item.fit.transform) != "lee-yu"
    )  # of both transforms, the unbiased one


def _check_panel(real: RealPanel) -> None:
    """Raise BadInput, all at once, for panels that no claim on a treatment can be judged on."""
    section, where = real.spec.twin, f"{real.spec.file}, [panel]"
    treatment = real.panel.roles.treatment
    problems = []
    if treatment is None:
        problems.append(Problem("the panel has no treatment", where, "treatment or first_treated",
                                "name the treatment"))  # fmt: skip
    elif not real.panel.roles.continuous:
        treated = (real.panel.variables[treatment][0] > 0) & seen_in(real.panel)
        ever = treated.any(axis=0)
        if ever.any() and treated[0][ever].all():
            problems.append(Problem(f"all {int(ever.sum())} treated units are treated in the first period, "
                                    f"{real.panel.periods[0]}", where, "a panel with periods before adoption",
                                    "add earlier periods"))  # fmt: skip
    if section is not None and section.standardize:
        problems.append(Problem("standardize = true, so twins measure the outcome in another unit than the claim",
                                f"{real.spec.file}, [twin]", "standardize = false", "leave it out"))  # fmt: skip
    refuse(problems)
    check_estimable(real)


def _read(real: RealPanel, text: str) -> tuple[Place, str, Callable[[FittedColumn], bool]]:
    """Place and term that a claim names, and which of the fits there are meant; raises BadInput."""
    first, _, rest = text.partition(":")
    main = [*real.panel.weights][:1]
    spatial = first in FORMS or first in EFFECTS
    if spatial and rest:
        if not real.panel.weights:
            raise bad(f"claim {text!r} needs spatial weights", where=f"{real.spec.file}, [[weights]]",
                      allowed="one or more tables [[weights]]", remedy="add one, or choose --claim did")  # fmt: skip
        model = first if first in FORMS else "sdm"
        if model in SPATIAL:
            own = _own(real, text if first in EFFECTS else rest)
            return SPATIAL[model], own, lambda item: item.fit.model == model and item.fit.weights in main
    if first.upper() in TABLES and rest:
        table = first.upper()
        column, _, term = rest.partition(":")
        if not column.isdecimal() or not term:
            lacks = "term" if column.isdecimal() else "column"
            usual = "overall" if table == "S" else HEADLINE
            like = f"{table}:{column}:{usual}" if lacks == "term" else f"{table}:1:{rest}"
            raise bad(f"the claim names no {lacks}", where=f"--claim {text}",
                      allowed="TABLE:COLUMN:TERM, such as " + like, remedy="`estimate` shows the tables")  # fmt: skip
        return (table, int(column)), _own(real, term), lambda item: item.fit.weights in (None, *main)
    if rest and first.isalnum() and rest[0].isdecimal():
        raise bad(f"there is no table {first!r} with claims", where=f"--claim {text}", allowed=", ".join(TABLES),
                  remedy="choose one of them; `estimate` shows the tables")  # fmt: skip
    if rest or text not in (HEADLINE, real.panel.roles.treatment, real.spec.panel.treatment):
        raise bad(f"claim {text!r}", where="--claim", allowed=FORMS_OF_CLAIMS,
                  remedy=closest(text, STANDING, "choose one of them; `estimate` shows the tables"))  # fmt: skip
    title = "controls, units, periods"
    return BASELINE[title], _own(real, HEADLINE), lambda item: True


def _own(real: RealPanel, term: str) -> str:
    """A term with the treatment's name in the program in place of "did" or of its column in the file."""
    own = str(real.panel.roles.treatment)
    for name in (HEADLINE, real.spec.panel.treatment):
        if name:
            term = re.sub(rf"(^|:|w_){re.escape(name)}$", lambda found: found[1] + own, term)
    return term


def _errors(
    real: RealPanel, fitted: FittedColumn, term: str, text: str, error: str | None
) -> tuple[str, tuple[str, ...]]:
    """The error type of the table, or the one that the user names, and all that the estimator is run with.

    Those under which the term has no error are left out. Raises BadInput for one that the family does not serve, or
    that the term does not have.
    """
    table = [name for name in fitted.estimates.errors if kind_of(name) not in DRAWN]
    usual = error or next(iter([name for name in table if name == main_cluster(real.spec)] or table))
    family = error_types_of(fitted.estimator, fitted.panel, real, usual)
    known = [name for name in family or table if _has_error(fitted, name, term)]
    if usual in known:
        return usual, tuple(known) if family else ()
    if usual in (*family, *table):
        why = ALONE if isinstance(fitted.estimator, Staggered) else ROUNDING
        raise bad(f"the term {term!r} has no {usual} error: {why}", where=f"--claim {text}",
                  allowed=f"--errors {one_of(known, usual)}" if known else "a term with an error",
                  remedy="choose another error type" if known else "choose another term")  # fmt: skip
    why = " is drawn anew for every panel, and is not run on thousands of twins" if kind_of(usual) in DRAWN else ""
    if kind_of(usual) in FOR_FEW and (~treated_units(fitted.panel)).sum() < FEWEST_TO_REJECT:
        why = f" has no p value of 5% or less with fewer than {FEWEST_TO_REJECT} units that are never treated"
    raise bad(f"error type {usual!r}{why}", where="--errors", allowed=one_of(known, usual),
              remedy=closest(usual, known, "choose one of them"))  # fmt: skip


def _has_error(fitted: FittedColumn, error: str, term: str) -> bool:
    """Whether a fit has an error of a term; regressions and estimators of staggered adoption are asked for those not in
    the table: with one treated cluster nothing is left without it."""
    own, found = fitted.estimator, fitted.estimates
    if error not in found.errors:
        if not isinstance(own, Staggered | TwoWayDID):
            return True
        try:
            found = replace(own, errors=(error,))(fitted.panel)
        except BadInput:
            return False
    at = 0, found.errors.index(error), found.terms.index(term)
    return bool(np.isfinite(found.se[at]) or (found.pvalue is not None and np.isfinite(found.pvalue[at])))
