"""Regressions written as formulas in fixest's grammar (Bergé 2018): `y ~ d + x | unit + period`.

What least squares with effects of units and periods can serve is fitted by `TwoWayDID`, R panels at once; all else of
the grammar (instruments, effects of other kinds, categories, HC2 and HC3) by pyfixest, a panel a call, where it is
installed. `Formula.engine` says which, and why.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from estimators.core.error_types import kind_of
from estimators.core.estimator import Estimates, Estimator, Home, Layout, Reduction, Status, WeightUse, slope_targets
from estimators.linear.did import TwoWayDID
from sim.arrays import Floats
from sim.errors import BadInput, bad, closest, listed, one_of, reason
from sim.panel import Panel, long_table
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

if TYPE_CHECKING:
    import pandas as pd

FUNCTIONS: Mapping[str, Callable[..., Any]] = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
                                               "log1p": np.log1p, "I": np.asarray}  # fmt: skip
ARITHMETIC: Mapping[type, Callable[..., Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.USub: np.negative, ast.UAdd: np.positive,
}  # fmt: skip
COMPARISONS: Mapping[type, Callable[..., Any]] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}  # fmt: skip
INDICATORS, CATEGORIES = "i", "C"
LOGICAL = ("True", "False")  # levels of an attribute
ELSEWHERE = ("hc2", "hc3", "crv3")  # error types of pyfixest that TwoWayDID does not have; its cv3 has another factor
SPELLED = {"iid": "iid", "hetero": "hc1", "HC1": "hc1", "HC2": "hc2", "HC3": "hc3"}
CLUSTERED = {"CRV1": "cluster", "CRV3": "crv3"}
GRAMMAR = "OUTCOME ~ TERMS, OUTCOME ~ TERMS | EFFECTS, or with | ENDOGENOUS ~ INSTRUMENTS behind"
NAME = re.compile(r"(?<![\w.])[^\W\d]\w*(?!\w*\s*=)")  # but of an argument
SAID = re.compile(r"'[^']*'|\"[^\"]*\"")  # text in quotes
INSIDE = re.compile(r"\([^()]*(?:\([^()]*\)[^()]*)*\)")  # what stands in parentheses, which may hold others once
OUTSIDE = re.compile(r"\*\*|\^|/|%")  # of the grammar of terms: more than a reader expects


@dataclass(frozen=True, slots=True)
class Term:
    """A term: factors whose product it is, and of one that is i(...) what its indicators are of.

    levels: the variable or attribute of the indicators; reference: the levels that are left out; by: what they are
    multiplied with, "" = nothing.
    """

    name: str
    factors: tuple[str, ...] = ()
    levels: str = ""
    reference: tuple[str, ...] = ()
    by: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A formula in parts. elsewhere: why least squares with effects of units and periods does not serve it, or ""."""

    outcome: str
    terms: tuple[Term, ...]
    constant: bool
    effects: tuple[str, ...]
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Formula(Estimator):
    """A regression by a formula in fixest's grammar, on R panels.

    formula: outcome, terms and effects; "" = the panel's outcome on its regressors with effects of units and periods.
    Terms are variables, the period, a:b and a*b, log(), exp(), sqrt(), abs(), I(...) with arithmetic or comparisons,
    i(period, x, ref = 2010) with indicators of a period or an attribute. Effects are unit, period, ATTRIBUTE^period and
    unit[period]. errors: as of `TwoWayDID`, and hc2, hc3, crv3:GROUP. unit, period: what the formula calls them. terms:
    names of the coefficients, found by one fit where the formula has i() or pyfixest fits it. label: its name in
    tables.

    Where the panel has a weight, least squares are weighted by it.

    >>> import panelproof as pp
    >>> fit = pp.formula("icr ~ did + inv | unit + period", vcov={"CRV1": "unit"})
    >>> found = fit(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})", fit.engine(pp.example_panel().panel.schema))
    0.030 (0.004) TwoWayDID
    """

    kind: ClassVar[str] = "formula"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design without spillovers
    home: ClassVar[Home] = (Paper(), ("did", "inv", "road", "book", "tech"))

    formula: str = ""
    errors: tuple[str, ...] = ("cluster:unit",)
    unit: str = "unit"
    period: str = "period"
    label: str = "formula"
    terms: tuple[str, ...] = ()

    def engine(self, schema: Schema) -> str:
        """Who fits it on panels of a schema: "TwoWayDID", or "pyfixest: " and what TwoWayDID does not serve."""
        why = self._parsed(schema).elsewhere
        return f"pyfixest: {why}" if why else TwoWayDID.__name__

    def layout(self, schema: Schema) -> Layout:
        """A term a coefficient; raises BadInput for a formula that the panel cannot serve."""
        parsed = self._parsed(schema)
        if parsed.elsewhere:
            terms = self._known_terms()
            targets = slope_targets(schema, tuple(term for term in terms if term in schema.variables), "att")
            return Layout(terms, self.errors, (), targets)
        names = self._known_terms() if any(term.levels for term in parsed.terms) else self._derived(parsed)
        widened = replace(schema, variables=tuple(dict.fromkeys((*schema.variables, *names, *self._derived(parsed)))))
        return self._native(parsed, schema).layout(widened)

    def variables(self, schema: Schema) -> frozenset[str]:
        """The variables that it names."""
        if not self.formula:
            return self._native(self._parsed(schema), schema).variables(schema)
        return frozenset({*_names(self.formula)} & set(schema.variables) | set(self.weight(schema)))

    def tried_on(self, panel: Panel, schema: Schema) -> Self:
        """The same with the names of its coefficients, where they hang on a panel's levels or on pyfixest."""
        parsed = self._parsed(schema)
        if parsed.elsewhere:
            terms, (coefficients, *_), *_ = self._fits_of(panel)
            if dropped := [term for term in terms if term not in coefficients]:
                raise bad(f"{listed(dropped)} cannot be told from the other terms and the effects", where=self.label,
                          allowed="terms that are not collinear", remedy=f"leave {dropped[0]} out")  # fmt: skip
            return replace(self, terms=tuple(terms))
        if any(term.levels for term in parsed.terms):
            return replace(self, terms=tuple(self._columns(parsed, panel)))
        return self

    def reduction(self, schema: Schema) -> Reduction | None:
        """That of the regression where its terms are variables of the panel, so that others share it; else None."""
        parsed = self._parsed(schema)
        if parsed.elsewhere or self._derived(parsed):
            return None
        return self._native(parsed, schema).reduction(schema)

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Coefficients and errors of a regression on variables of the panel."""
        return self._native(self._parsed(schema), schema).solve(plan, moments, schema, streams)

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels; raises BadInput for a formula that the panel cannot serve, and what pyfixest raises."""
        if self.reduction(panel.schema) is not None:
            return Estimator.__call__(self, panel, streams)
        known = self if self.terms else self.tried_on(panel.replication(0), panel.schema)
        parsed = known._parsed(panel.schema)
        if parsed.elsewhere:
            return Estimates.join([known._fitted(panel.replication(row)) for row in range(panel.replications)])
        columns = known._columns(parsed, panel)
        if known.terms and set(known.terms) != set(columns):
            raise bad(f"the formula has other terms here than {listed(known.terms)}", where=self.label,
                      allowed="panels with the same levels", remedy="leave terms out")  # fmt: skip
        outcome = {} if parsed.outcome in panel.variables else {parsed.outcome: _values(parsed.outcome, panel, known)}
        derived = {name: values for name, values in columns.items() if name not in panel.variables}
        whole = panel.with_variables(outcome | derived)
        return known._native(parsed, panel.schema, tuple(columns))(whole, streams)

    def _parsed(self, schema: Schema) -> Parsed:
        if not self.formula:
            outcome, regressors = schema.roles.outcome, schema.roles.regressors
            if outcome is None or not regressors:
                raise bad("no formula, and the panel has no outcome or no regressors", where=self.label,
                          allowed=GRAMMAR, remedy='set formula = "y ~ d | unit + period"')  # fmt: skip
            return Parsed(outcome, tuple(Term(name, (name,)) for name in regressors), False, ("unit", "period"))
        parsed = parse(self.formula, self.unit, self.period, schema, self.label)
        if not parsed.elsewhere and (kinds := [error for error in self.errors if kind_of(error) in ELSEWHERE]):
            return replace(parsed, elsewhere=f"errors of type {kinds[0]}")
        return parsed

    def _native(self, parsed: Parsed, schema: Schema, terms: tuple[str, ...] = ()) -> TwoWayDID:
        names = terms or self.terms or tuple(term.name for term in parsed.terms)
        return TwoWayDID(parsed.outcome, names, self.errors, label=self.label, effects=parsed.effects,
                         constant=parsed.constant)  # fmt: skip

    def _known_terms(self) -> tuple[str, ...]:
        if not self.terms:
            raise bad("the terms are not known before a fit", where=self.label, allowed="terms that are named",
                      remedy='name them: terms = ["d"], or fit a panel first')  # fmt: skip
        return self.terms

    def _derived(self, parsed: Parsed) -> tuple[str, ...]:
        """Names of the outcome and terms that are no variables as they stand."""
        own = [term.name for term in parsed.terms
               if term.factors != (term.name,) or not term.name.isidentifier() or term.name == self.period]  # fmt: skip
        return (*own, *(() if parsed.outcome.isidentifier() else (parsed.outcome,)))

    def _columns(self, parsed: Parsed, panel: Panel) -> dict[str, Floats]:
        """Every regressor by its name, (R, T, N)."""
        found, shape = {}, (1, len(panel.periods), len(panel.units))
        for term in parsed.terms:
            if not term.levels:
                product = _values(term.factors[0], panel, self)
                for factor in term.factors[1:]:
                    product = product * _values(factor, panel, self)
                found[term.name] = product
                continue

            # indicators of levels, times another variable
            if term.levels == self.period:
                labels = np.broadcast_to(np.array(panel.periods)[None, :, None], shape)
            else:
                values = np.array(panel.units) if term.levels == self.unit else panel.attributes[term.levels]
                labels = np.broadcast_to(values[None, None, :], shape)
            others = _values(term.by, panel, self) if term.by else np.ones(shape)
            levels = list(dict.fromkeys(sorted(labels.ravel().tolist())))
            if strange := set(term.reference) - set(map(_level, levels)):
                raise bad(f"ref = {listed(strange)} is no level of {term.levels}", where=self.label,
                          allowed=one_of(levels), remedy="choose one of them")  # fmt: skip
            for level in levels:
                if _level(level) not in term.reference:
                    found[f"{term.levels}::{level}" + f":{term.by}" * bool(term.by)] = others * (labels == level)
        return found

    def _fitted(self, panel: Panel) -> Estimates:
        """One panel by pyfixest; SINGULAR where it drops a term."""
        layout = self.layout(panel.schema)
        found = self._fits_of(panel)
        shape = (1, len(layout.errors), len(layout.terms))
        estimate, se, dof = np.full((1, len(layout.terms)), np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        for place, (coefficients, errors, freedom) in enumerate(found[1:]):
            for k, term in enumerate(layout.terms):
                estimate[0, k] = coefficients.get(term, np.nan)
                se[0, place, k], dof[0, place, k] = errors.get(term, np.nan), freedom
        status = Status.OK if np.isfinite(estimate).all() else Status.SINGULAR
        return Estimates(layout.terms, layout.errors, estimate, se, dof, np.array([status], dtype=np.uint8))

    def _fits_of(self, panel: Panel) -> tuple[Any, ...]:
        """Names of the coefficients, those that it drops among them, then (coefficients, standard errors, degrees of
        freedom) by error type."""
        try:
            import pyfixest
        except ImportError as missing:
            why = self._parsed(panel.schema).elsewhere
            raise bad(f"{why}: pyfixest would fit it, and is not installed", where=self.label,
                      allowed="what TwoWayDID serves", remedy="pip install pyfixest") from missing  # fmt: skip
        parts = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what pandas has deprecated
            weights = next(iter(self.weight(panel.schema)), None)  # pyfixest's default for them is aweights
            # with no blank around + it orders effects by the hash of their names, and miscounts nested ones
            text, table = re.sub(r"\s*\+\s*", " + ", self.formula), long_table(panel, self.unit, self.period)
            self._check_effects(table)
            try:
                kinds = [_vcov(error, self.unit, self.period) for error in self.errors]
                model = pyfixest.feols(text, table, kinds[0], weights=weights)
                for place, kind in enumerate(kinds):
                    if place:
                        model.vcov(kind)
                    parts.append((model.coef().to_dict(), model.se().to_dict(), float(model._df_t)))
            except BadInput:
                raise
            except Exception as refusal:
                raise bad(f"pyfixest does not fit it: {reason(refusal)}", where=f"{self.label} {self.formula!r}",
                          allowed="what pyfixest fits on this panel",
                          remedy="correct the formula, or choose other errors") from refusal  # fmt: skip
        return ((*model.coef().index, *(model._collin_vars or ())), *parts)

    def _check_effects(self, table: pd.DataFrame) -> None:
        """Raise BadInput where effects repeat or leave no two unit-periods together: pyfixest would end the process."""
        effects = [part.strip() for part in _split(self.formula, self.label)[2:3] if "~" not in part]
        named = [[name.strip() for name in effect.split("^")] for part in effects for effect in part.split("+")]
        alike = Counter(frozenset(names) for names in named)
        if twice := next(("^".join(names) for names in named if alike[frozenset(names)] > 1), ""):
            raise bad(f"effects of {twice} repeat", where=f"{self.label} {self.formula!r}",
                      allowed="each once", remedy="name them once")  # fmt: skip
        left = table
        while count := len(left):
            for names in (names for names in named if {*names} <= {*table.columns}):
                left = left[left.groupby(names)[names[0]].transform("size") > 1]
            if len(left) == count:
                return
        raise bad("in these effects every unit-period stands alone", where=f"{self.label} {self.formula!r}",
                  allowed="effects that several unit-periods share", remedy="leave effects out")  # fmt: skip


def formula(
    text: str, vcov: str | Mapping[str, str] | None = None, *, unit: str = "unit", period: str = "period",
    errors: tuple[str, ...] = ("cluster:unit",), label: str = "formula"
) -> Formula:  # fmt: skip
    """A regression by a formula in fixest's grammar, fitted by `TwoWayDID` where it can and by pyfixest where not.

    vcov: as pyfixest has it ("iid", "hetero", "HC2", "HC3", {"CRV1": "unit"}, {"CRV3": "unit"}), in the place of
    `errors`, which are named as of `TwoWayDID`. unit, period: what the formula calls them. Raises BadInput.

    >>> import panelproof as pp
    >>> fit = pp.formula("icr ~ did + log(inv) | unit + period", vcov="hetero")
    >>> fit.errors
    ('hc1',)
    """
    wrong = [name for name, value in {"text": text, "unit": unit, "period": period, "label": label}.items()
             if not isinstance(value, str)]  # fmt: skip
    wrong += ["errors"] * (not isinstance(errors, tuple | list) or not all(isinstance(one, str) for one in errors))
    if wrong or not isinstance(vcov, str | Mapping | None):
        raise bad(f"{listed(wrong) or 'vcov'} is of the wrong type", where="formula",
                  allowed='texts, and vcov as "hetero" or {"CRV1": "unit"}', remedy="correct it")  # fmt: skip
    if vcov is not None:
        errors = (_error_of(vcov, unit, period),)
    made = Formula(text, tuple(errors), unit, period, label)
    _split(text, label)
    return made


def _error_of(vcov: str | Mapping[str, str], unit: str, period: str) -> str:
    """Our name of an error type of pyfixest."""
    if isinstance(vcov, str):
        if vcov not in SPELLED:
            raise bad(f"vcov = {vcov!r}", where="formula", allowed=f'{listed(SPELLED)}, or {{"CRV1": "unit"}}',
                      remedy=closest(vcov, SPELLED))  # fmt: skip
        return SPELLED[vcov]
    ((kind, groups),) = vcov.items() if len(vcov) == 1 else (("", ""),)
    if kind not in CLUSTERED or not isinstance(groups, str):
        raise bad(f"vcov = {dict(vcov)!r}", where="formula", allowed=f'{{"CRV1": "unit"}}, with {listed(CLUSTERED)}',
                  remedy="name one kind and the variable of the clusters")  # fmt: skip
    names = [{unit: "unit", period: "period"}.get(name.strip(), name.strip()) for name in groups.split("+")]
    return f"{CLUSTERED[kind]}:{'+'.join(names)}"


def _vcov(error: str, unit: str, period: str) -> Any:
    """What pyfixest calls an error type of ours, on a table that calls units and periods so."""
    spelled = {ours: theirs for theirs, ours in (SPELLED | CLUSTERED).items() if theirs != "HC1"}
    kind, _, groups = error.partition(":")
    if kind not in spelled:
        raise bad(f"pyfixest has no errors of type {error!r}", where="formula errors",
                  allowed=f"{listed(dict.fromkeys(SPELLED.values()))}, cluster:NAME, crv3:NAME",
                  remedy="choose one of them")  # fmt: skip
    theirs = "+".join({"unit": unit, "period": period}.get(name, name) for name in groups.split("+"))
    return {spelled[kind]: theirs} if groups else spelled[kind]


@lru_cache(maxsize=256)
def parse(text: str, unit: str, period: str, schema: Schema, where: str) -> Parsed:
    """A formula in parts, on panels of a schema; raises BadInput for what is no formula or names what is not there."""
    outcome, *parts = _split(text, where)
    known = {*schema.variables, *schema.attributes, unit, period}
    if strange := [name for name in _names(text) if name not in known | {*FUNCTIONS, INDICATORS, CATEGORIES, *LOGICAL}]:
        treatment = schema.roles.treatment
        called = f" (the treatment is called {treatment} here)" if treatment and treatment not in _names(text) else ""
        raise bad(f"nothing is called {strange[0]!r}", where=f"{where} {text!r}",
                  allowed=one_of(sorted(known), strange[0]),
                  remedy=f"{closest(strange[0], known)}{called}")  # fmt: skip
    reasons: list[str] = []
    terms, constant = _terms(parts[0], where, schema, reasons)
    effects = tuple(_effects(parts[1], unit, period, schema, reasons)) if len(parts) > 1 else ()
    if len(parts) > 2 or "~" in parts[-1]:
        reasons.append("instruments")
        terms = terms or (Term("endogenous"),)
    if not terms and not reasons:
        raise bad("there are no regressors", where=f"{where} {text!r}", allowed=GRAMMAR, remedy="name at least one")
    return Parsed(outcome, tuple(dict.fromkeys(terms)), constant and not effects, effects, next(iter(reasons), ""))


def _split(text: str, where: str) -> list[str]:
    """The outcome, the terms, and what stands behind bars."""
    outcome, tilde, rest = text.partition("~")
    parts = [part.strip() for part in rest.split("|")]
    if not tilde or not outcome.strip() or not all(parts) or len(parts) > 3 or "~" in parts[0]:
        raise bad(f"{text!r} is no formula", where=where, allowed=GRAMMAR,
                  remedy='write one such as "y ~ d + x | unit + period"')  # fmt: skip
    left = _expression(outcome.strip(), where)
    if isinstance(left, ast.BinOp):  # fixest computes y + z, pyfixest has two outcomes; y - z is y to pyfixest
        raise bad(f"arithmetic of the outcome {ast.unparse(left)}", where=f"{where} {text!r}",
                  allowed="one variable, log(...), I(...)", remedy=f"write I({ast.unparse(left)})")  # fmt: skip
    return [ast.unparse(left), *parts]


def _names(text: str) -> list[str]:
    """What a formula names, functions among it, in order."""
    return NAME.findall(SAID.sub("", text))


def _expression(text: str, where: str) -> ast.expr:
    """Text as an expression of Python."""
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError) as error:
        raise bad(f"{text!r} cannot be read", where=where, allowed=GRAMMAR, remedy="correct it") from error


def _terms(text: str, where: str, schema: Schema, reasons: list[str]) -> tuple[tuple[Term, ...], bool]:
    """The terms of a sum, read by formulaic as pyfixest does, and whether it has a constant; `reasons` gets what
    pyfixest must fit."""
    from formulaic.errors import FormulaicError  # loaded where a formula is read
    from formulaic.parser import DefaultFormulaParser

    if power := OUTSIDE.search(INSIDE.sub("", text)):
        raise bad(f"{power[0]} between terms", where=f"{where} {text!r}", allowed="sums of variables, a:b, a*b, I(...)",
                  remedy="write arithmetic as I(x ** 2)")  # fmt: skip
    try:
        read = [[factor.expr for factor in term.factors]
                for term in DefaultFormulaParser(include_intercept=True).get_terms(text)]  # fmt: skip
    except (FormulaicError, SyntaxError, RecursionError) as error:
        raise bad(f"{text!r} cannot be read", where=where, allowed=GRAMMAR, remedy="correct it") from error
    found: list[Term] = []
    for factors in read:
        nodes = [_expression(factor, where) for factor in factors]
        calls = [getattr(node.func, "id", "") if isinstance(node, ast.Call) else "" for node in nodes]
        if INDICATORS in calls and len(factors) == 1:
            found.append(_indicators(nodes[0], where, schema, reasons))
        elif factors != ["1"]:
            reasons += ["categories"] * (CATEGORIES in calls) + ["products of i()"] * (INDICATORS in calls)
            reasons += [f"the attribute {name} as a term" for factor in factors for name in _names(factor)
                        if name in schema.attributes and name not in schema.variables]  # fmt: skip
            found.append(Term(":".join(factors), tuple(factors)))
    return tuple(found), ["1"] in read


def _indicators(call: Any, where: str, schema: Schema, reasons: list[str]) -> Term:
    """i(LEVELS, BY, ref = ...): indicators of the levels, times BY."""
    names = [ast.unparse(argument) for argument in call.args]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    plain = all(isinstance(argument, ast.Name) for argument in call.args)
    if not plain or not 1 <= len(names) <= 2 or set(given) - {"ref", "ref2"}:
        raise bad(f"{ast.unparse(call)}", where=where, allowed="i(LEVELS), i(LEVELS, BY), each with ref = LEVEL",
                  remedy="write it so")  # fmt: skip
    if "ref2" in given or names[0] in schema.variables or (len(names) > 1 and names[1] in schema.attributes):
        reasons.append(f"{ast.unparse(call)}")
    reference: tuple[str, ...] = ()
    if "ref" in given:
        try:
            value = ast.literal_eval(given["ref"])
        except ValueError as error:
            raise bad(f"ref = {ast.unparse(given['ref'])}", where=where, allowed="a level, or a list of levels",
                      remedy="write levels as they are, texts in quotes") from error  # fmt: skip
        reference = tuple(map(_level, value if isinstance(value, list | tuple) else (value,)))
    return Term(ast.unparse(call), (), names[0], reference, names[1] if len(names) > 1 else "")


def _level(value: Any) -> str:
    """A level as text, 2006.0 as 2006."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _effects(text: str, unit: str, period: str, schema: Schema, reasons: list[str]) -> Iterator[str]:
    """Effects as TwoWayDID names them."""
    if "~" in text:
        return
    for part in (part.strip() for part in text.split("+")):
        sides = [side.strip() for side in part.split("^")]
        if part in (unit, period):
            yield "unit" if part == unit else "period"
        elif len(sides) == 2 and period in sides and (other := sides[sides[0] == period]) in schema.attributes:
            yield f"{other}-by-period"
        elif part.replace(" ", "") in (f"{unit}[{period}]", f"{unit}[[{period}]]"):
            yield from ("unit", "unit-trend")[part.count("[") > 1 :]
        elif part not in ("0", "1"):
            reasons.append(f"effects of {part}")


def _values(text: str, panel: Panel, fit: Formula) -> Floats:
    """An expression of variables, numeric attributes and the period, (R, T, N)."""

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant(int(number)) | ast.Constant(float(number)):
                return float(number)
            case ast.Name(name) if name in panel.variables:
                return panel.variables[name]
            case ast.Name(name) if name == fit.period:
                return np.array(panel.periods, dtype=np.float64)[None, :, None]
            case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
                return ARITHMETIC[type(operator)](value(left), value(right))
            case ast.UnaryOp(operator, operand) if type(operator) in ARITHMETIC:
                return ARITHMETIC[type(operator)](value(operand))
            case ast.Compare(left, [operator], [right]) if type(operator) in COMPARISONS:
                return COMPARISONS[type(operator)](value(left), value(right)).astype(np.float64)
            case ast.Call(ast.Name(name), [argument], []) if name in FUNCTIONS:
                return FUNCTIONS[name](value(argument))
        raise bad(f"{ast.unparse(node)} cannot be computed", where=f"{fit.label} {text!r}",
                  allowed=f"numbers, variables, + - * / **, comparisons of two, {listed(FUNCTIONS)}",
                  remedy="compute it before")  # fmt: skip

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # the panel refuses what is not finite
        found = np.asarray(value(_expression(text, fit.label)), dtype=np.float64)
    if not found.ndim:
        raise bad(f"{text} is a number", where=fit.label, allowed="expressions of variables", remedy="leave it out")
    return np.ascontiguousarray(np.broadcast_to(found, (len(found), len(panel.periods), len(panel.units))))
