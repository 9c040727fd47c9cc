"""An estimator made of a function that fits one panel a call: `@estimator`, and the class behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import NoneType
from typing import Any, ClassVar, Self, cast, overload

import numpy as np

from estimators.core.estimator import Estimates, Estimator, Home, Layout, Status, WeightUse, of_a_dose
from sim.design import Estimand
from sim.errors import BadInput, bad, listed, one_of, reason, refuse, type_problems
from sim.functions import (
    MAIN,
    Function,
    MadeOfFunction,
    Recipe,
    code_digest,
    dashed,
    hints_of,
    made_class,
    parameters_of,
)
from sim.panel import Panel, long_table
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

PANEL = "panel"  # the parameter that gets a Panel
TABLES = ("df", "data", "frame", "table")  # parameters that get a long table
RANDOM = "rng"  # the parameter that gets the replication's own generator
EFFECT = ("att", "ate")  # what fits of one effect by another program call it
ERROR = ("se", "std_error", "std_err")
FREEDOM = ("inference_df", "df_inference")  # of their t, as diff-diff calls them; none = the normal law
PARTS = ("estimate", *ERROR, "dof", "pvalue")  # names of parts of one answer, which are no terms unless declared
OWN = "own"  # the error type of a standard error without a name
RESERVED = {"kind", "name", "home", "layout", "variables", "reduction", "solve", "recipe", "settings", "targets",
            "terms", "errors", "label", "found_as", "parameters", *TABLES, PANEL, RANDOM}  # fmt: skip
NAMES = (Iterable,), 'a text, or several in brackets: ["a", "b"]'
SAID = dict.fromkeys(("target", "label", "unit", "period"), ((), "a text")) | {
    "terms": NAMES,
    "errors": NAMES,
    "targets": ((Mapping, NoneType), 'a dict, such as {"did": "att"}'),
}  # what `@estimator` may be told, beside texts
ALLOWED = "an estimate, (estimate, se), (estimate, se, dof), a dict of them by term, a fit, or None: no answer"


@dataclass(frozen=True, eq=False)
class EstimatorRecipe(Recipe["FunctionEstimator"]):
    """A function that fits, and what was said of it."""

    nameless: ClassVar[str] = "fit"
    terms: tuple[str, ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = (OWN,)
    target: str = MAIN
    label: str = ""
    unit: str = "unit"
    period: str = "period"
    batched: bool = False
    home: Home | None = None

    def digest_name(self) -> str:
        """By its label where that can be a name, and by the code and all that decides what is estimated."""
        said = (self.terms, self.targets, self.errors, self.target, self.unit, self.period, self.batched)
        return f"{self.label if self.label.isidentifier() else self.name}@{code_digest(self.function, said)}"

    def class_of(self, name: str = "") -> type[FunctionEstimator]:
        """A class of estimators; raises BadInput for parameters that the function cannot be called with."""
        parameters = parameters_of(self.function, RESERVED)
        if not parameters.given:
            raise bad("no parameter without a default", where=self.where,
                      allowed=f"{PANEL}, {', '.join(TABLES)}, or variables of the panel",
                      remedy="take the panel")  # fmt: skip
        name = name or self.name
        strings, pairs = tuple[str, ...], tuple[tuple[str, str], ...]
        own = (("terms", strings, self.terms), ("errors", strings, self.errors),
               ("targets", pairs, tuple(self.targets.items())), ("label", str, self.label or dashed(name)))  # fmt: skip
        return made_class(FunctionEstimator, self, name, parameters, own)


class FunctionEstimator(MadeOfFunction, Estimator):
    """A function of the user's that fits one panel a call; its settings are the function's parameters with defaults.

    terms: what it estimates; none = found by one trial fit, with the error types. errors: names of the error types of
    its standard errors; none where it has no standard errors. targets: terms and the estimands that they are held to;
    by default the treatment is held to att, another variable to its beta, and any other term to the estimand of its
    name. label: its name in tables and stores.
    """

    weight_use: ClassVar[WeightUse] = "ignored"  # what the function does with them is its own affair
    recipe: ClassVar[EstimatorRecipe]
    terms: tuple[str, ...]
    errors: tuple[str, ...]
    targets: tuple[tuple[str, str], ...]
    label: str

    @property
    def name(self) -> str:
        """Its label."""
        return self.label

    @property
    def home(self) -> Home:
        """What its author named; else the `paper` design, where no term need be right."""
        return self.recipe.home or (Paper(), ())

    def layout(self, schema: Schema) -> Layout:
        """Its terms, declared or found by a trial fit; raises BadInput where neither was done."""
        if not self.terms:
            raise bad("the terms are not known before a fit", where=self.recipe.where,
                      allowed="terms that are declared", remedy='declare them: @estimator(terms=["did"])')  # fmt: skip
        self.variables(schema)

        # of a term that nobody named an estimand for the treatment's, its own beta, or the one of its name; "" = none
        chosen, main = {}, self.recipe.target
        for term in self.terms:
            chosen[term] = term
            if term in (schema.roles.treatment, main):
                chosen[term] = of_a_dose(schema, main) if main == "att" else main
            elif term in schema.variables:
                chosen[term] = f"beta({term})"
            else:
                try:
                    Estimand.parse(term)
                except ValueError:
                    chosen[term] = ""
        chosen |= dict(self.targets)
        return Layout(self.terms, self.errors, (), {term: target for term, target in chosen.items() if target})

    def variables(self, schema: Schema) -> frozenset[str]:
        """The variables that its parameters name; all, when it takes a panel or a table."""
        named = frozenset(name for name in self.parameters.given if name in schema.variables)
        unknown = [name for name in self.parameters.given
                   if name not in named and name != RANDOM and not self._takes(name)]  # fmt: skip
        if unknown:
            raise bad(f"parameter {listed(map(repr, unknown))} is nothing of the panel", where=self.recipe.where,
                      allowed=one_of((PANEL, *TABLES, RANDOM, *schema.variables)),
                      remedy="rename the parameter, or give it a default")  # fmt: skip
        everything = any(self._takes(name) for name in self.parameters.given if name not in named)
        return frozenset(schema.variables) if everything else named

    def tried_on(self, panel: Panel, schema: Schema) -> Self:
        """The same with the terms and error types that a fit of one panel gives.

        Raises BadInput when that fit raises or gives nothing, or the panel lacks what it takes.
        """
        self.variables(schema)
        try:
            (found,) = self._fits(panel, Streams(0, "trial"))
        except BadInput:
            raise
        except Exception as error:
            raise bad(f"a trial fit raised {reason(error, self.recipe.function.__code__.co_filename)}",
                      where=self.recipe.where, allowed=ALLOWED,
                      remedy='correct it, or declare its terms: @estimator(terms=["did"])') from error  # fmt: skip
        if not found:
            raise bad("a trial fit gave no answer", where=self.recipe.where, allowed=ALLOWED,
                      remedy='declare its terms: @estimator(terms=["did"])')  # fmt: skip

        # the names of its error types
        said = [_answer(value, self.recipe.where)[1] for value in found.values()]
        if all(se is None for se in said):
            errors: tuple[str, ...] = ()
        elif isinstance(said[0], Mapping):
            errors = tuple(map(str, said[0]))
        else:
            errors, count = self.errors, len(said[0]) if isinstance(said[0], list | tuple) else 1
            if count != len(errors):
                raise bad(f"returned {count} standard errors of a term", where=self.recipe.where,
                          allowed=f"{len(errors)}", remedy='name them: @estimator(errors=["hc1", "cluster"]), or '
                          "return a dict by name")  # fmt: skip
        return replace(cast(Any, self), terms=tuple(found), errors=errors)

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels, one a call of the function unless it is batched; raises what the function raises, and BadInput
        for other terms than those of the layout."""
        layout, replications = self.layout(panel.schema), panel.replications
        streams = streams or Streams(0)
        rows, parts = replications if self.recipe.batched else 1, []
        for found in self._fits(panel, streams.rows(replications)):
            if found is None:
                parts += [Estimates.failed(layout, Status.NOT_CONVERGED)] * rows
                continue
            if set(found) != set(layout.terms):
                raise bad(f"returned the terms {listed(found)}", where=self.recipe.where,
                          allowed=listed(layout.terms, 20), remedy="return the same terms for every panel")  # fmt: skip
            shape = (rows, len(layout.errors), len(layout.terms))
            estimate, se, dof = np.empty((rows, len(layout.terms))), np.empty(shape), np.empty(shape)
            silent = np.full(rows, self.recipe.batched)  # panels of a batch whose estimates are all masked
            for k, term in enumerate(layout.terms):
                own, own_se, own_dof = _answer(found[term], self.recipe.where, rows)
                try:
                    estimate[:, k] = np.ma.filled(own, np.nan)
                    if own_se is None and layout.errors and not self.recipe.batched and np.isfinite(estimate[0, k]):
                        raise bad(f"returned no standard error of {term}, but does not say errors=[]",
                                  where=self.recipe.where, allowed=f"(estimate, se), of {listed(layout.errors)}",
                                  remedy="write errors=[] where there is none")  # fmt: skip
                    silent &= np.ma.getmaskarray(own)
                    se[:, :, k] = _by_error(own_se, layout.errors, np.nan, self.recipe.where)
                    dof[:, :, k] = _by_error(own_dof, layout.errors, np.inf, self.recipe.where)
                except BadInput:
                    raise
                except (TypeError, ValueError) as error:
                    raise bad(f"returned no numbers of one fit for {term}", where=self.recipe.where, allowed=ALLOWED,
                              remedy="return one of them") from error  # fmt: skip
            se[silent] = dof[silent] = np.nan
            status = np.where(silent, Status.NOT_CONVERGED, Status.OK).astype(np.uint8)
            parts.append(Estimates(layout.terms, layout.errors, estimate, se, dof, status))
        return Estimates.join(parts)

    def _fits(self, panel: Panel, streams: Streams) -> Iterator[dict[str, Any] | None]:
        """What the function returns, by term: for each replication, or once when it is batched."""
        if self.recipe.batched:
            yield self._fit(panel, streams)
            return
        for row, generator in zip(range(panel.replications), streams.each("fit"), strict=True):
            yield self._fit(panel.replication(row), generator)

    def _fit(self, panel: Panel, source: object) -> dict[str, Any] | None:
        """One call of the function by term, "" being the first; of a fit of another program the declared terms."""
        # each parameter gets what its name or annotation asks for
        given = {}
        for name in self.parameters.given:
            if name in panel.variables:
                given[name] = panel.variables[name] if self.recipe.batched else panel.variables[name][0]
            elif name == RANDOM:
                given[name] = source
            elif self._takes(name) == PANEL:
                given[name] = panel
            else:
                given[name] = long_table(panel, self.recipe.unit, self.recipe.period)
        found = self.recipe.call(**given, **self._settings)
        if found is None:
            return None

        main = (self.terms or (self.recipe.target,))[0]
        fit = None if isinstance(found, Mapping) else answers_of(found)
        said = found if isinstance(found, Mapping) else {main: found} if fit is None else fit
        answers = {str(term) or main: value for term, value in said.items()}
        if odd := [name for name in PARTS if name in answers and name not in self.terms]:
            raise bad(f"returned a dict with {listed(map(repr, odd))} among its terms", where=self.recipe.where,
                      allowed=ALLOWED, remedy="return (estimate, se), or declare terms of these names")  # fmt: skip
        if fit is None or not self.terms:
            return answers
        return {term: answers[term] for term in self.terms if term in answers}

    def _takes(self, name: str) -> str:
        """What a parameter that is no variable and no generator gets: a panel, a table; "" = neither."""
        hint = hints_of(self.recipe.function).get(name)
        if name == PANEL or hint is Panel:
            return PANEL
        return "table" if name in TABLES or getattr(hint, "__name__", "") == "DataFrame" else ""


def _answer(value: Any, where: str, rows: int = 1) -> tuple[Any, Any, Any]:
    """Estimate, se and dof that a function returned for one term of `rows` panels, the latter two one an error type, by
    name or in order, None where it did not say."""
    parts = value if isinstance(value, tuple) else (value,)
    if rows > 1 and isinstance(parts[0] if parts else None, float | int | np.number):
        raise bad(f"returned one number for {rows} panels", where=where, allowed=f"an array ({rows},)",
                  remedy="leave the first axis out of means and sums")  # fmt: skip
    if any(np.iscomplexobj(part) for part in parts if not isinstance(part, list | tuple | Mapping)):
        raise bad("returned complex numbers", where=where, allowed="real numbers",
                  remedy="return the real part where that is meant")  # fmt: skip
    if isinstance(value, tuple) and 1 <= len(value) <= 3:
        estimate, se, dof = (*value, None, None)[:3]
        return estimate, se, dof
    try:
        numbers = np.asarray(np.ma.filled(value, np.nan), dtype=np.float64)  # what is masked has no number
        whole, mask = (np.broadcast_to(np.squeeze(part), rows) for part in (numbers, np.ma.getmaskarray(value)))
        return np.ma.array(whole, mask=mask), None, None
    except (TypeError, ValueError) as error:
        raise bad(f"returned {type(value).__name__}", where=where, allowed=ALLOWED,
                  remedy="return one of them") from error  # fmt: skip


def _by_error(given: Any, errors: tuple[str, ...], otherwise: float, where: str) -> Any:
    """Standard errors or degrees of freedom, (E,) or (R, E); `otherwise` where there are none."""
    if given is None:
        return np.full(len(errors), otherwise)
    if isinstance(given, Mapping):
        if strange := [name for name in given if name not in errors]:
            raise bad(f"returned numbers of the error type {listed(strange)}", where=where,
                      allowed=listed(errors, 20), remedy="return the same error types for every panel")  # fmt: skip
        given = [given.get(name, otherwise) for name in errors]
    columns = given if isinstance(given, list | tuple) else [given] * len(errors)
    if len(columns) != len(errors):
        raise bad(f"returned {len(columns)} standard errors of a term", where=where, allowed=f"{len(errors)}",
                  remedy="return one for each error type")  # fmt: skip
    numbers = [np.asarray(np.ma.filled(column, np.nan), dtype=np.float64) for column in columns]
    return np.stack(numbers, axis=-1) if numbers else np.empty(0)


@overload
def estimator(function: Function, /) -> type[FunctionEstimator]: ...
@overload
def estimator(
    function: None = None,
    /,
    *,
    terms: Sequence[str] = (),
    targets: Mapping[str, str] | None = None,
    errors: Sequence[str] = (OWN,),
    target: str = MAIN,
    label: str = "",
    unit: str = "unit",
    period: str = "period",
    batched: bool = False,
    home: Home | None = None,
) -> Callable[[Function], type[FunctionEstimator]]: ...
def estimator(function: Function | None = None, /, **options: Any) -> Any:
    """Make a class of estimators from a function that fits one panel a call.

    Its parameters without a default say what it is given: `panel` a Panel of one replication, `df`, `data`, `frame`
    or `table` a long table with the columns `unit` and `period`, the name of a variable its array (T, N), `rng` a
    generator. It returns an estimate, (estimate, se), (estimate, se, dof), a dict of them by term, a fit of
    linearmodels, statsmodels, pyfixest or scikit-learn, or None where there is no answer. terms: declared, else found
    by a trial fit. targets: term -> estimand; target: that of the treatment and of an estimate without a term.
    errors: names of the error types. batched: it is given arrays (R, T, N) or a panel of R replications, streams as
    `rng`, and returns arrays (R,), masked where it has no answer.

    >>> import panelproof as pp
    >>> @pp.estimator(terms=["did"], errors=[])
    ... def means(icr, did):
    ...     return icr[did == 1].mean() - icr[did == 0].mean()
    >>> print(means()(pp.example_panel().panel).params.round(3)["did"])
    0.107
    """
    for key, (kinds, allowed) in SAID.items():
        refuse(type_problems(options.get(key, ""), (str, *kinds), key, where="estimator", allowed=allowed))
    for key in {"terms", "errors"} & options.keys():  # a single text is one name
        options[key] = (options[key],) if isinstance(options[key], str) else tuple(options[key])
    options["targets"] = dict(options.get("targets") or {})
    if function is None:
        return partial(estimator, **options)
    return EstimatorRecipe(function, **options).decorated()


# Fits of other programs, which a function may return as they are: told apart by what they offer, so that none of these
# packages is loaded here.


def answers_of(found: Any) -> dict[str, Any] | None:
    """(estimate, se, dof) by term of a fit of another program, without what it does not say; None for what is no fit.

    linearmodels: params, std_errors and, where its errors are debiased, df_resid; statsmodels: params, bse and, where
    it uses t, df_resid; pyfixest: coef(), se() and, where it uses t, its degrees of freedom; scikit-learn: coef_ alone,
    with the names it was fitted with; fits of one effect: att or ate, se and, where diff-diff uses t, its
    degrees of freedom, under the term "" (the treatment's).
    """
    # pyfixest, which takes the normal law for all but least squares and quantiles
    if callable(getattr(found, "coef", None)) and callable(getattr(found, "se", None)):
        normal = str(getattr(found, "_method", "")).startswith(("fepois", "feglm"))
        return _joined(found.coef(), found.se(), None if normal else getattr(found, "_df_t", None))

    # linearmodels and statsmodels: series by term
    params, errors = getattr(found, "params", None), getattr(found, "std_errors", None)
    small = bool(getattr(found, "use_t", False))
    if errors is not None:  # linearmodels says in two ways whether its errors are debiased
        small = bool(getattr(found, "debiased", getattr(found, "_debiased", True)))
    errors = getattr(found, "bse", None) if errors is None else errors
    if hasattr(params, "items") and hasattr(errors, "items") and not isinstance(found, Mapping):
        freedom = getattr(found, "df_resid_inference", None)  # of statsmodels' clustered errors
        freedom = getattr(found, "df_resid", None) if freedom is None else freedom
        return _joined(params, errors, freedom if small else None)

    # scikit-learn: coefficients in the order of its columns
    coefficients = getattr(found, "coef_", None)
    if coefficients is not None:
        values = np.atleast_1d(np.squeeze(np.asarray(coefficients, dtype=np.float64)))
        names = getattr(found, "feature_names_in_", None)
        if names is not None or len(values) <= 1:
            return dict(zip(map(str, names if names is not None else [""]), values.tolist(), strict=True))

    # fits of one effect
    effect = next((getattr(found, name) for name in EFFECT if hasattr(found, name)), None)
    error = next((getattr(found, name) for name in ERROR if hasattr(found, name)), None)
    if effect is None or np.ndim(effect) or callable(effect):
        return None
    if error is None or callable(error):
        return {"": effect}
    freedom = next((known for name in FREEDOM if (known := getattr(found, name, None)) is not None), None)
    return _joined({"": effect}, {"": error}, freedom)


def _joined(estimates: Any, errors: Any, freedom: Any) -> dict[str, Any]:
    said = dict(errors.items())
    further = () if freedom is None or not np.isfinite(freedom) else (float(freedom),)
    return {str(term): (float(value), float(said[term]), *further) for term, value in estimates.items()}
