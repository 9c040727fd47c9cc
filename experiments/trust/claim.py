"""The claim: a number of a table on a real panel, the estimator that made it, and the dial of a twin that moves it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from estimators.core.error_types import kind_of, served, without_se
from estimators.core.estimator import Estimator
from estimators.linear.did import TwoWayDID
from estimators.spatial.form import FORMS
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.application.estimable import check_estimable
from experiments.application.spec.spec import RealPanel
from experiments.application.tables.columns import clustered_enough, main_cluster
from experiments.application.tables.ledger import Fitted, Ledger
from experiments.running.runner import run
from experiments.study.study import Study
from results.tables.places import BASELINE, SPATIAL, Place
from results.tables.records import EFFECTS, Record, records_of
from sim.designs.observed import Observed
from sim.errors import Problem, bad, closest, one_of, refuse
from sim.panel import Panel
from sim.panel.panel import seen_in

HEADLINE = "did"
FORMS_OF_CLAIMS = "did, indirect:did, sdm:did, or TABLE:COLUMN:TERM such as 7:3:w_did"
TABLES = {"2": "regressions", "3": "regressions", "4": "regressions", "5": "mediation", "7": "spatial_models",
          "R": "robustness", "S": "staggered"}  # fmt: skip
EFFECT, SPILLOVER = "effect.size", "spillover.w_effect"
COEFFICIENT = re.compile(r"(beta|direct|indirect|total)\((w_)?(.+)\)")


@dataclass(frozen=True, eq=False, slots=True)
class Claim:
    """A number that a user wants to trust.

    text: as the user named it. real: the panel. fitted: the estimator on the panel. term: of the estimator. printed:
    the error type that the table prints. dial: of a twin's design, the one that moves the estimand of the term.
    """

    text: str
    real: RealPanel
    fitted: Fitted
    term: str
    printed: str
    dial: str

    @property
    def estimate(self) -> float:
        """The number itself."""
        return float(self.fitted.estimates.estimate[0, self.fitted.estimates.terms.index(self.term)])

    @property
    def panel(self) -> Panel:
        """The panel that the estimator was fitted to."""
        return self.fitted.panel

    @property
    def estimator(self) -> Estimator:
        """The very estimator, with the claim's term alone and every error type that costs little."""
        own = self.fitted.estimator
        known = {item.name for item in fields(own)}  # type: ignore[arg-type]
        changes: dict[str, Any] = {"full_fit": False, "simulate": 0, "terms": (self.term,)}
        if isinstance(own, TwoWayDID | SpatialPanel):
            changes["errors"] = error_types_of(own, self.panel, self.real, self.printed)
        return replace(own, **{name: value for name, value in changes.items() if name in known})  # type: ignore[type-var]

    def on(self, panel: Panel) -> dict[str, Record]:
        """The claim on a panel, by error type; through the runner, as `estimate` does. Raises BadInput for no fit."""
        estimator = self.estimator
        study = Study("claim", Observed(panel), (estimator,), replications=1, block=64, seed=1)
        found = next(iter(run(study).blocks(0))).estimates[estimator.name]
        if not np.isfinite(found.estimate[0]).all():
            raise bad("the estimator has no estimate", where="the claim", allowed="a panel that it fits",
                      remedy="choose another claim")  # fmt: skip
        seen = seen_in(panel)
        sizes = panel.nobs, int(seen.any(axis=0).sum()), int(seen.any(axis=1).sum())
        records = records_of(self.fitted.fit, found.only((self.term,)), *sizes)
        return {record.se_type: record for record in records}


def claim_of(real: RealPanel, text: str = HEADLINE, error: str | None = None) -> Claim:
    """The claim that a user names, fitted as `estimate` fits it; error: another error type than the table prints.

    Raises BadInput for a panel that cannot be estimated or has no time before adoption, and for what the spec does not
    give.
    """
    _check_panel(real)
    place, term, choose = _read(real, text)
    ledger = Ledger(seed=real.spec.inference.seed)
    module = import_module(f"experiments.application.tables.{TABLES[place[0]]}")
    getattr(module, "add_baseline" if place[0] == "2" else "add")(real, ledger)
    there = [item for item in ledger.fitted if item.fit.place == place and choose(item)]
    if not there:
        columns = sorted({f"{item.fit.table}:{item.fit.column}" for item in ledger.fitted})
        raise bad(f"table {place[0]} of this spec has no column {place[1]}", where=f"--claim {text}",
                  allowed=one_of(columns), remedy="; ".join(ledger.failures) or "correct it")  # fmt: skip
    found = [item for item in there if term in item.estimates.terms]
    if not found:
        terms = there[0].estimates.terms
        raise bad(f"no term {term!r}", where=f"--claim {text}", allowed=one_of(terms), remedy=closest(term, terms))
    fitted = min(found, key=lambda item: item.fit.transform != "lee-yu")  # of both transforms, the unbiased one
    return Claim(text, real, fitted, term, _printed(real, fitted, error), dial_of(real, fitted, term, text))


def error_types_of(own: TwoWayDID | SpatialPanel, panel: Panel, real: RealPanel, printed: str) -> tuple[str, ...]:
    """Every error type that the estimator's family serves on this panel without a bootstrap, the printed one first."""
    family: Any = "regression" if isinstance(own, TwoWayDID) else "spatial"
    groups = [name for name in (*real.spec.panel.groups, real.spec.panel.cluster) if name and name in panel.attributes]
    wanted = [printed, "iid", "information", "hc1", "hessian", "qmle", "cluster:unit"]
    wanted += [f"cluster:{name}" for name in groups if name != real.spec.panel.unit]
    wanted += ["cluster:unit+period", "driscoll-kraay", *own.errors, *real.spec.inference.errors]
    cheap = [error for error in dict.fromkeys(wanted) if not (without_se(error) or kind_of(error) == "simulation")]
    return clustered_enough(panel, tuple(error for error in cheap if served(error, tuple(panel.attributes), family)))


def dial_of(real: RealPanel, fitted: Fitted, term: str, text: str) -> str:
    """The dial of a twin's design that moves the estimand of a term; raises BadInput where there is none."""
    target = fitted.estimator.layout(fitted.panel.schema).targets.get(term, "")
    if target.startswith("att"):
        return EFFECT
    parts = COEFFICIENT.fullmatch(target)
    kind, lagged, name = parts.groups() if parts else ("", None, "")
    if name == real.panel.roles.treatment:
        return SPILLOVER if lagged or kind == "indirect" else EFFECT
    if name in real.panel.roles.controls and not lagged and kind == "beta":
        return f"covariates.{name}.effect"
    raise bad(f"twins have no dial for the term {term!r}", where=f"--claim {text}",
              allowed="effects of the treatment, direct, indirect or total, and coefficients of controls",
              remedy="choose such a term")  # fmt: skip


def _check_panel(real: RealPanel) -> None:
    """Raise BadInput, all at once, for panels that no claim on a treatment can be judged on."""
    section, where = real.spec.twin, f"{real.spec.file}, [panel]"
    treatment = real.panel.roles.treatment
    problems = []
    if treatment is None:
        problems.append(Problem("the panel has no treatment", where, "treatment or first_treated",
                                "name the treatment"))  # fmt: skip
    else:
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


def _read(real: RealPanel, text: str) -> tuple[Place, str, Callable[[Fitted], bool]]:
    """Place and term that a claim names, and which of the fits there are meant; raises BadInput."""
    first, _, rest = text.partition(":")
    spatial = first in FORMS or first in EFFECTS
    if spatial and rest:
        if not real.panel.weights:
            raise bad(f"claim {text!r} needs spatial weights", where=f"{real.spec.file}, [[weights]]",
                      allowed="one or more tables [[weights]]", remedy="add one, or choose --claim did")  # fmt: skip
        model = first if first in FORMS else "sdm"
        if model in SPATIAL:
            return SPATIAL[model], _own(real, text if first in EFFECTS else rest), partial(_main, real, model)
    if first in TABLES and rest.partition(":")[0].isdecimal() and rest.partition(":")[2]:
        column, _, term = rest.partition(":")
        return (first, int(column)), _own(real, term), lambda item: item.fit.weights in {None, *_first(real)}
    if rest or text not in (HEADLINE, real.panel.roles.treatment, real.spec.panel.treatment):
        raise bad(f"claim {text!r}", where="--claim", allowed=FORMS_OF_CLAIMS,
                  remedy="choose one of them; `estimate` shows the tables")  # fmt: skip
    title = "controls, units, periods"
    return BASELINE[title], _own(real, HEADLINE), lambda item: True


def _main(real: RealPanel, model: str, item: Fitted) -> bool:
    """Whether a fit is the model's with the first W."""
    return item.fit.model == model and item.fit.weights in {*_first(real)}


def _first(real: RealPanel) -> list[str]:
    return [*real.panel.weights][:1]


def _own(real: RealPanel, term: str) -> str:
    """A term with the treatment's name in the program in place of "did" or of its column in the file."""
    own = str(real.panel.roles.treatment)
    for name in (HEADLINE, real.spec.panel.treatment):
        if name:
            term = re.sub(rf"(^|:|w_){re.escape(name)}$", lambda found: found[1] + own, term)
    return term


def _printed(real: RealPanel, fitted: Fitted, error: str | None) -> str:
    """The error type of the table, or the one that the user names where the family serves it."""
    known = [name for name in fitted.estimates.errors if not (without_se(name) or kind_of(name) == "simulation")]
    if error is not None:
        own, panel = fitted.estimator, fitted.panel
        if isinstance(own, TwoWayDID | SpatialPanel):
            known = [*error_types_of(own, panel, real, error)]
        if error not in known:
            raise bad(f"error type {error!r}", where="--errors", allowed=one_of(known), remedy=closest(error, known))
        return error
    return next(iter([name for name in known if name == main_cluster(real.spec)] or known))
