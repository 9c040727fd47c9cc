"""What all checks share: the panel, its tables, the claim, its differences, and the demeaned arrays behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from estimators.core.estimator import Estimates, Estimator, critical_values
from estimators.core.tile import ScaledWithin, WithinTransform, observed_mask, weight_root
from estimators.linear.covariances import unit_clusters
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import ADJUSTED
from estimators.sensitivity.differences import ALTERNATIVE, DIFFERENCE, Differences
from estimators.sensitivity.sensitivity import LeftOut, leave_one_out
from estimators.staggered.adoption_effects import multipliers, simultaneous_critical_values
from experiments.checks.check import LEVEL, LEVELS, answers_of, as_usual, has_error, modules, needed_of
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import FEW_TREATED, FittedColumn, Ledger, fewest_clusters, main_cluster, with_further
from results.tables.records import ANSWERS, BASELINE, INFORMS, WEAKENS, Answer, Check, Record
from results.tables.typography import stars
from sim.arrays import Codes, Floats, least_squares
from sim.panel import Panel, seen_in, seen_part
from sim.schema import refuse_weights
from sim.streams import Streams

NEVER = "never treated"  # the label of units that no cohort holds
SIGNIFICANT = 0.10  # up to which an effect is one that the reader may claim
DRAWS = 1999  # multipliers behind the critical value of a family
NAMED = 3  # names of a list that are said


@dataclass(frozen=True, eq=False, slots=True)
class Family:
    """All differences of a claim on its panel.

    found: of the estimator (R = 1). critical: the value of |t| that the family is held to. reasons: why alternatives
    that were asked for cannot be had, by their text.
    """

    estimator: Differences
    found: Estimates
    critical: float
    reasons: dict[str, str]

    def value(self, text: str, head: str = DIFFERENCE) -> tuple[float, float, float]:
        """Estimate, standard error and degrees of freedom of an alternative or its difference."""
        at = self.found.terms.index(f"{head}{text}")
        return (float(self.found.estimate[0, at]), float(self.found.se[0, 0, at]), float(self.found.dof[0, 0, at]))


@dataclass(frozen=True, slots=True)
class Move:
    """One alternative in words: its difference to the claim with its error, its own estimate and error, the answer.

    usual: whether sound panels have such a difference too.
    """

    words: str
    difference: float
    se: float
    estimate: float
    estimate_se: float
    answer: Answer
    usual: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """A claim, its panel and the tables.

    real: the panel that was read. ledger: its tables. panel: that of the claim's estimator. effect: the claim's record
    with the errors by which it is judged, None where nothing is estimated; dof: of its t. estimator, term: what made
    it. critical: the value of |t| that differences are held to, None = that of a multiplier bootstrap. usual: t that
    sound panels have, by alternative.
    """

    real: RealPanel
    ledger: Ledger
    panel: Panel
    effect: Record | None
    dof: float = float("inf")
    estimator: Estimator | None = None
    term: str = ""
    critical: float | None = None
    usual: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, real: RealPanel, ledger: Ledger) -> Case:
        """The case of table 2's two-way column with the main errors, of a panel whose tables are made."""
        place, main = BASELINE["controls, units, periods"], main_cluster(real.spec)
        term = real.panel.roles.treatment
        found = [
            r for r in ledger.records if r.place == place and r.term == term is not None and r.estimate is not None
        ]
        own = [record for record in found if record.se_type == main] or found
        fits = [one for one in ledger.fitted if one.fit.place == place]
        if not own or not fits or term is None:
            return cls(real, ledger, real.panel, own[0] if own else None)
        return cls.of_claim(real, ledger, fits[0], term, own[0])

    @classmethod
    def of_claim(
        cls, real: RealPanel, ledger: Ledger, fitted: FittedColumn, term: str, record: Record, dof: float | None = None
    ) -> Case:
        """The case of any term of a fit; record: the claim with the errors by which it is judged; dof: of its t, where
        the fit has no such errors."""
        if dof is None:
            at, errors = fitted.estimates.terms.index(term), fitted.estimates.errors
            dof = float(fitted.estimates.dof[0, errors.index(record.se_type) if record.se_type in errors else -1, at])
        return cls(real, ledger, fitted.panel, record, dof, fitted.estimator, term)

    @property
    def level(self) -> float | None:
        """The level at which the effect may be claimed; None = it may not."""
        pvalue = None if self.effect is None else self.effect.pvalue
        return None if pvalue is None else next((level for level in LEVELS if pvalue <= level), None)

    @property
    def claimed(self) -> Record | None:
        """The effect, if it is significant at 10%."""
        return self.effect if self.level is not None else None

    @property
    def sign(self) -> float:
        """That of the claim."""
        return -1.0 if self.effect is not None and (self.effect.estimate or 0.0) < 0 else 1.0

    @property
    def needed(self) -> float | None:
        """The change towards zero, 0 or more, that takes the claim's support away; None = nothing is claimed."""
        if self.level is None or self.effect is None or self.effect.estimate is None:
            return None
        size, se, dof = abs(self.effect.estimate), self.effect.se, self.dof
        if se is None:  # errors that only have a p value: the standard error that it implies
            se, dof = size / -float(ndtri((self.effect.pvalue or 0.0) / 2)), np.inf
        half = float(critical_values(np.array([dof]), self.level)[0]) * se
        return float(needed_of(np.array(size), np.array(half)))

    @property
    def treated(self) -> bool:
        """Whether the claim is the coefficient of the treatment."""
        return self.effect is not None and self.panel.roles.treatment in (self.effect.term, self.term)

    @property
    def dated(self) -> bool:
        """Whether the claim is the coefficient of a treatment with dates of adoption."""
        return self.treated and not self.real.undated

    @property
    def headline(self) -> bool:
        """Whether the claim is that of table 2's two-way column."""
        return self.effect is not None and self.effect.place == BASELINE["controls, units, periods"]

    @property
    def unit(self) -> str:
        """What a unit is called."""
        return self.real.spec.panel.unit

    @property
    def main_error(self) -> str:
        """The main error type."""
        return main_cluster(self.real.spec)

    def with_variables(self, names: Iterable[str]) -> Case:
        """The same claim on the rows of the whole panel that have further variables, by the columns' names; raises
        BadInput where none has."""
        columns = dict.fromkeys(name for name in names if self.variable(name) not in self.real.panel.variables)
        return replace(self, panel=with_further(self.real, tuple(columns))[0])

    def variable(self, column: str) -> str:
        """What the panel calls a column of the spec."""
        return self.real.spec.variable(column)

    def random(self, purpose: str) -> np.random.Generator:
        """The generator of one purpose."""
        return Streams(self.ledger.seed, "warnings").fixed(purpose)

    @cached_property
    def balanced(self) -> Panel:
        """The claim's panel without units that have a missing cell; raises BadInput as the spec says."""
        if self.panel.balanced:
            return self.panel
        if self.panel is self.real.panel:
            return self.real.balanced()
        whole = seen_in(self.panel).all(axis=0)
        return seen_part(self.panel, np.broadcast_to(whole, seen_in(self.panel).shape))

    # Differences

    @cached_property
    def few(self) -> int:
        """Clusters that errors of differences rest on: those with treated units, or those with others where these are
        fewer; 0 for a claim on another variable than the treatment."""
        if self.effect is None or self.term == "" or self.term != self.panel.roles.treatment:
            return 0
        return fewest_clusters(self.panel, self._clustered(self.effect.se_type))

    def freedom(self, dof: float) -> float:
        """Degrees of freedom of a difference's t, of those that its regression leaves."""
        return min(dof, max(self.few - 1.0, 1.0)) if self.few else dof

    @property
    def untold(self) -> str:
        """Why no difference can be told from chance, if so; twins tell it all the same."""
        alone = self.few == 1 and self.critical is None
        return "one cluster alone has treated units, or units that are not" if alone else ""

    @cached_property
    def family(self) -> Family | None:
        """All differences of all checks, None where the claim is none of two-way least squares."""
        own = self.estimator
        if not isinstance(own, TwoWayDID) or self.effect is None or not own.effects:
            return None
        asked = [text for module in modules() if hasattr(module, "alternatives") for text in module.alternatives(self)]
        made = {name: values for module in modules() if hasattr(module, "variables")
                for name, values in module.variables(self).items()}  # fmt: skip
        panel = self.panel.with_variables(made)
        error = self._clustered(self.effect.se_type)
        every = Differences(own.outcome, own.regressors, own.effects, self.term, error, own.cluster_k,
                            tuple(dict.fromkeys(asked)))  # fmt: skip
        reasons = every.available(panel)
        estimator = replace(every, alternatives=tuple(text for text, why in reasons.items() if not why))
        stacked = estimator.stacked(panel)
        critical = self.critical_of(stacked.influence[:, 1::2], self.freedom(float(stacked.dof[0, 0])))
        found = estimator.estimates(stacked, panel.schema)
        return Family(estimator, found, critical, {text: why for text, why in reasons.items() if why})

    def _clustered(self, error: str) -> str:
        """The clustered type of an error type's grouping of units, for few clusters too; else the main one."""
        kind, _, name = error.partition(":")
        grouped = kind in ("cluster", *ADJUSTED) and (name == "unit" or name in self.panel.attributes)
        return f"cluster:{name}" if grouped else self.main_error

    def critical_of(self, influence: Floats, dof: float) -> float:
        """Of max |t| over differences with these influences of clusters (1, A, G): Rademacher multipliers, and at least
        that of t. Where few clusters are treated, that of t with as large a tail as multipliers have in the normal law.
        """
        if self.critical is not None:
            return self.critical
        single = float(critical_values(np.array([dof]), LEVEL)[0])
        if not influence.any():
            return single
        drawn = multipliers("rademacher", DRAWS, influence.shape[2], self.random("differences"))
        every = float(simultaneous_critical_values(influence, drawn, LEVEL)[0])
        if 0 < self.few < FEW_TREATED:
            every = float(stdtrit(self.freedom(dof), ndtr(every)))
        return max(single, every)

    def judged(self, name: str, alternatives: Sequence[str], words: dict[str, str], remedy: str = "") -> Check | None:
        """The check of some alternatives of the family, words: each in words; None where there is none of them, or none
        can be told from chance."""
        family = self.family
        if family is None or self.untold:
            return None
        held = tuple(text for text in alternatives if text in family.estimator.alternatives)
        if not held:
            return None
        answers = answers_of(family.found, held, family.critical, level=self.level, needed=self.needed,
                             usual=self.usual)[0]  # fmt: skip
        usual = as_usual(family.found, held, family.critical, self.usual)[0].tolist()
        moves = []
        for text, one, common in zip(held, answers.tolist(), usual, strict=True):
            d, se, _ = family.value(text)
            if not has_error(d, se):
                continue
            estimate, own, _ = family.value(text, ALTERNATIVE)
            answer = ANSWERS[ANSWERS.index(one)]
            moves.append(Move(words[text], d, 0.0 if d == 0 else se, estimate, own, answer, common))
        if not moves:
            return None
        dof = self.freedom(float(family.found.dof[0, 0, 0]))
        return replace(self.most_serious(name, moves, family.critical, dof), remedy=remedy, alternatives=held)

    def most_serious(self, name: str, moves: Sequence[Move], critical: float, dof: float) -> Check:
        """The check of some moves: the most serious answer counts, among equal ones the largest move towards zero in
        units of its error. dof: of a test of one move alone."""
        move = max(moves, key=lambda one: (ANSWERS.index(one.answer),
                                           -self.sign * one.difference / one.se if one.se > 0 else 0.0))  # fmt: skip
        half, needed = critical * move.se, None if self.needed is None else -self.sign * self.needed
        ends = move.difference - half, move.difference + half
        numbers: dict[str, float | None] = {"estimate": move.estimate, "estimate_se": move.estimate_se,
                                            "effect": self.effect_value, "tried": float(len(moves)),
                                            "critical": critical}  # fmt: skip

        # More for a difference towards zero, and for a move as large as the claim needs that a test of its own finds.
        towards = -self.sign * move.difference
        grave = towards > 0
        if move.answer != "differs":
            single = float(critical_values(np.array([dof]), LEVEL)[0])
            grave = self.needed is not None and towards >= self.needed and towards > single * move.se
        return Check(name, self.sentence(move, ends), move.answer, WEAKENS if grave else INFORMS, numbers, move.words,
                     move.difference, move.se, *ends, needed, self.outcome_name)  # fmt: skip

    @property
    def effect_value(self) -> float:
        """The claim's estimate."""
        assert self.effect is not None
        assert self.effect.estimate is not None
        return self.effect.estimate

    @property
    def outcome_name(self) -> str:
        """The claim's outcome, in whose units differences are."""
        own = getattr(self.estimator, "outcome", None)
        return str(own or self.panel.roles.outcome)

    def sentence(self, move: Move, ends: tuple[float, float]) -> str:
        """What a difference says, in words."""
        says = {
            "consistent": "no more than chance, and less than what takes the claim's support away",
            "cannot tell": "which may be chance, and may be as much as takes the claim's support away",
            "differs": "more than chance, and the claim stands",
            "contradicts": "more than chance, and this estimate does not support the claim",
        }[move.answer]
        if self.level is None:
            says = "more than chance" if move.answer == "differs" else "no more than chance"
        if move.usual:
            says = "as twins of this panel have it without any fault"
        return (
            f"{move.words[0].upper()}{move.words[1:]} the effect is {number(move.estimate)} instead of "
            f"{number(self.effect_value)}: a difference of {number(move.difference)} ({number(ends[0])} to "
            f"{number(ends[1])}), {says}."
        )

    # Arrays

    @cached_property
    def mask(self) -> Floats:
        """1 where observed, (T, N)."""
        return observed_mask(self.panel)

    @cached_property
    def root(self) -> Floats | None:
        """The root of the panel's weights, times which demeaned arrays are; None without weights."""
        return weight_root(self.panel)

    @cached_property
    def _transform(self) -> WithinTransform | ScaledWithin:
        return WithinTransform.of(self.panel) if self.root is None else ScaledWithin.of(self.root)

    def within(self, name: str) -> Floats:
        """A variable without unit and period effects, (T, N), zero where unobserved."""
        return self.demeaned(self.panel.variables[name][0])

    def demeaned(self, values: Floats) -> Floats:
        """Values (T, N) without unit and period effects, zero where unobserved."""
        scaled = values if self.root is None else np.where(self.mask > 0, values, 0.0) * self.root
        return np.asarray(self._transform(scaled[None])[0])

    @cached_property
    def outcome(self) -> Floats:
        """The demeaned outcome."""
        return self.within(self.outcome_name)

    @cached_property
    def treatment(self) -> Floats:
        """The demeaned treatment."""
        return self.within(str(self.panel.roles.treatment))

    @cached_property
    def controls(self) -> Floats:
        """The demeaned controls, (K, T, N)."""
        names = self.panel.roles.controls
        return np.stack([self.within(name) for name in names]) if names else np.empty((0, *self.mask.shape))

    @cached_property
    def clusters(self) -> Codes:
        """The main cluster of every unit, coded 0, 1, ..., (N,)."""
        return unit_clusters(self.main_error, self.panel)

    def left_out(self, codes: Codes) -> LeftOut:
        """The effect without each group of units, codes (N,), with the main errors; raises BadInput for weights."""
        refuse_weights(self.panel.roles, "leaving out each unit")
        names = (*self.panel.roles.regressors, self.outcome_name)
        raw = np.stack([np.where(self.mask > 0, self.panel.variables[name][0], 0.0) for name in names])
        around = (raw - raw.sum(axis=1, keepdims=True) / np.maximum(self.mask.sum(axis=0), 1)) * self.mask
        return leave_one_out(
            around, codes, self.clusters, None if self.panel.balanced else self.mask,
            counted=len(self.panel.roles.regressors), cluster_k=self.real.spec.inference.cluster_k,
        )  # fmt: skip

    @cached_property
    def cohorts(self) -> tuple[Codes, tuple[str, ...]]:
        """The cohort of every unit, coded (N,), and the cohorts' first treated periods, NEVER among them; one, of all,
        where there are no dates of adoption."""
        if self.panel.roles.continuous:
            return np.zeros(len(self.panel.units), dtype=np.intp), (NEVER,)
        treated = (self.panel.variables[str(self.panel.roles.treatment)][0] > 0) & (self.mask > 0)
        first = np.where(treated.any(axis=0), treated.argmax(axis=0), len(self.panel.periods))
        values, codes = np.unique(first, return_inverse=True)
        labels = (*map(str, self.panel.periods), NEVER)
        return np.asarray(codes), tuple(labels[value] for value in values)

    @property
    def groups(self) -> dict[str, Codes]:
        """Groups of units, by the name of their column: more than one, of more than one unit, coded (N,)."""
        found = {}
        spec = self.real.spec
        for name in dict.fromkeys((*spec.panel.group_columns, *spec.group_columns)):
            if name in self.panel.attributes:
                codes = np.unique(self.panel.attributes[name], return_inverse=True)[1]
                if 1 < int(codes.max()) + 1 < len(codes):
                    found[name] = codes
        return found


def without(e: Floats, x: Floats) -> Floats:
    """What regressors (K, T, N) leave of a demeaned variable (T, N), by least squares."""
    if not len(x):
        return e
    columns = x.reshape(len(x), -1).T
    slopes = least_squares(columns, e.ravel())
    return np.asarray((e.ravel() - columns @ slopes).reshape(e.shape))


def number(value: float) -> str:
    """Four decimals, or three significant digits of what is smaller or larger."""
    return f"{value:.4f}" if value == 0 or 5e-5 <= abs(value) < 1e4 else f"{value:.3g}"


def starred(value: float, pvalue: float | None) -> str:
    """With its stars, as in the tables."""
    return number(value) + (stars(pvalue) if pvalue is not None else "")


def some(names: Sequence[str], most: int = NAMED) -> str:
    """Names, the first of many."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
