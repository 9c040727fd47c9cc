"""Measures of a user's own: functions of the usable fits of a cell, with Monte Carlo errors by the jackknife.

A function takes some of `ARGUMENTS` by name, each an array (n,) over fits of one term and error type, and returns

- an array (n,): one value a fit, NaN where it does not count; the measure is their mean, with S / sqrt(n) and the
  sandwich over worlds as for any mean, or
- a number: a statistic of all fits, whose Monte Carlo error is the delete-a-group jackknife's over runs of
  replications and over worlds, whichever is larger (Shao and Tu 1995, The Jackknife and Bootstrap, 2.3), or
- a pair of numbers: the statistic and its Monte Carlo error.

`RejectionAt` and `Equivalence` are such functions: tests of another null than 0, and equivalence tests.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Layout, Status, critical_values, p_values
from results.diagnosis import measures
from results.diagnosis.fits import Reported, clustered, fits_of, placed
from results.diagnosis.measures import MEANINGS, Measured, RunningMoments
from results.store.block import Records
from sim.arrays import Flags, Floats
from sim.errors import BadInput, Problem, bad, closest, number_in, one_of, reason, refuse
from sim.functions import Function

ARGUMENTS = ("estimate", "se", "dof", "pvalue", "lower", "upper", "truth")
OF_AN_ERROR = frozenset({"se", "dof", "pvalue", "lower", "upper"})  # arguments that differ between error types
TAKEN = ("estimator", "term", "error", "mcse", "lower", "upper", "n")  # axes and groups of a diagnosis as a tree
OF_A_ROW = ("term", "alpha")  # further ones, which are no arrays: the term, and the level of tests
RUNS = 32  # groups of consecutive replications that the jackknife leaves out


def own_measures(functions: Mapping[str, Any] | None) -> dict[str, Function]:
    """The measures by name; raises BadInput for what is no measure."""
    if not isinstance(functions, Mapping | None):
        raise bad(f"measures is of the type {type(functions).__name__}", where="measures",
                  allowed="a dict of functions by name", remedy='write measures={"name": function}')  # fmt: skip
    problems: list[Problem] = []
    for name, function in (functions or {}).items():
        where = f"measure {name}"
        if not str(name).isidentifier() or name in {*MEANINGS, *TAKEN} or name.endswith("_mcse"):
            problems.append(Problem(f"name {name!r}", where, "letters, digits and _; not the name of another measure",
                                    "rename the function"))  # fmt: skip
        if not callable(function):
            problems.append(Problem(f"{type(function).__name__} is no function", where, "a function", "name another"))
            continue
        arguments = _arguments(function)
        if not set(arguments) & set(ARGUMENTS) or set(arguments) - {*ARGUMENTS, *OF_A_ROW}:
            what = f"arguments ({', '.join(arguments)})"
            problems.append(Problem(what, where, f"one or more of {one_of(ARGUMENTS)}", "rename the arguments"))
    if problems:
        raise BadInput(*problems)
    return dict(functions or {})


def _arguments(function: Function) -> tuple[str, ...]:
    """What a measure asks for; nothing where that is not known, as of `max`."""
    with suppress(ValueError):
        return tuple(inspect.signature(function).parameters)
    return ()


@dataclass(frozen=True)
class RejectionAt:
    """Whether the two-sided test rejects that a term is some number: it lies outside of the interval.

    null: the number by term; other terms have no such measure. Where intervals are stored the level is theirs.
    """

    null: Mapping[str, float]

    def __call__(self, lower: Floats, upper: Floats, term: str) -> Floats:
        """1 or 0 for each fit, (n,)."""
        null = self.null.get(term, np.nan)
        return np.where(np.isnan(null), np.nan, (null < lower) | (upper < null))


@dataclass(frozen=True)
class Equivalence:
    """Whether two one-sided tests, each at level alpha, say that a term lies within bounds (Schuirmann 1987).

    bounds: lower and upper by term; other terms have no such measure, nor have error types with p values of
    their own, such as a bootstrap: their intervals are of one level.
    """

    bounds: Mapping[str, tuple[float, float]]

    def __call__(self, estimate: Floats, se: Floats, dof: Floats, term: str, alpha: float) -> Floats:
        """1 or 0 for each fit, (n,)."""
        low, high = self.bounds.get(term, (np.nan, np.nan))
        margin = critical_values(dof, 2 * alpha) * se
        return np.where(np.isnan(low), np.nan, (low < estimate - margin) & (estimate + margin < high))


TESTS = {"null": "rejection_at_null", "equivalence": "equivalence"}  # words before a colon, and names of measures
FORMS = {"null": "null:did=0.02", "equivalence": "equivalence:-0.01<did<0.01"}


def is_test(text: str) -> bool:
    """Whether a text is a test at a null or of equivalence, "null:did=0.02" or "equivalence:-0.01<did<0.01"."""
    return text.partition(":")[0].strip() in TESTS


def hypothesis_measures(texts: Iterable[str], where: str) -> dict[str, Function]:
    """The measures of such texts, by name, several terms together; raises BadInput with all that are none."""
    nulls: dict[str, float] = {}
    bounds: dict[str, tuple[float, float]] = {}
    problems: list[Problem] = []
    for text in texts:
        kind, _, said = text.partition(":")
        parts = said.rsplit("=", 1) if kind.strip() == "null" else said.split("<")
        term, numbers = (parts[0], parts[1:]) if kind.strip() == "null" else (parts[len(parts) // 2], parts[::2])
        found = [number_in(number) for number in numbers]
        form = Problem(f"measure {text!r}", where, FORMS[kind.strip()], "write it so")
        sound = len(found) == (1 if kind.strip() == "null" else 2) and np.isfinite(found).all() and term.strip()
        if not sound:
            problems.append(form)
        elif kind.strip() == "null":
            nulls[term.strip()] = found[0]
        elif not found[0] < found[1]:
            problems.append(Problem(f"{form.what}: the lower bound is not below the upper", where,
                                    form.allowed, "write the smaller number first"))  # fmt: skip
        else:
            bounds[term.strip()] = (found[0], found[1])
    refuse(problems)
    made: dict[str, Function] = {TESTS["null"]: RejectionAt(nulls)} if nulls else {}
    return made | ({TESTS["equivalence"]: Equivalence(bounds)} if bounds else {})


def check_terms(functions: Mapping[str, Function], layouts: Mapping[str, Layout]) -> None:
    """Raise BadInput for tests of terms that no estimator has."""
    known = list(dict.fromkeys(term for layout in layouts.values() for term in layout.terms))
    for name, function in functions.items():
        asked = {**getattr(function, "null", {}), **getattr(function, "bounds", {})}
        for term in asked if isinstance(function, RejectionAt | Equivalence) else ():
            if term not in known:
                raise bad(f"no estimator has the term {term!r}", where=f"measure {name}", allowed=one_of(known, term),
                          remedy=closest(term, known))  # fmt: skip


def own_rows(records: Records, cell: int, chosen: Mapping[str, Function], alpha: float) -> Iterator[dict[str, Any]]:
    """The rows of a cell: one a measure, estimator, term and, where it takes an error type, error type."""
    for name, layout in records.layouts.items() if chosen else ():
        arrays, attempted = _gathered(records, cell, name, layout, alpha)
        for k, term in enumerate(layout.terms) if arrays else ():
            head = {"estimator": name, "sample": "own", "term": term, "estimand": layout.targets.get(term, ""),
                    "attempted": attempted}  # fmt: skip
            for measure, function in chosen.items():
                by_error = OF_AN_ERROR & set(_arguments(function))
                for e, error in enumerate(layout.errors) if by_error else ((0, ""),):
                    facts = {"term": term, "alpha": alpha}  # those of the row that it asks for, beside arrays
                    asked = {key: facts[key] for key in OF_A_ROW if key in _arguments(function)}
                    row = _row(measure, partial(function, **asked), arrays, e, k, records.worlds)
                    if row is not None:
                        yield head | {"error": error, "measure": measure} | row


def _gathered(records: Records, cell: int, name: str, layout: Layout, alpha: float) -> tuple[dict[str, Floats], int]:
    """The usable fits of an estimator in a cell by argument, (n, E, K) or (n, K), with the world of each, (n,); and how
    many were attempted. No arrays where no fit is usable."""
    parts: list[dict[str, Any]] = []
    attempted = 0
    for block in records.blocks(cell):
        fits = fits_of(block, name, layout, alpha, records.worlds)
        if fits is None:
            continue
        attempted += int((fits.status != Status.NOT_RUN).sum())
        values = {key: getattr(fits, key) for key in ("estimate", "truth", "se", "lower", "upper", "world")}
        record = block.estimates[name]
        values["dof"] = placed(record.dof, record.terms, layout)
        values["pvalue"] = p_values(fits.statistic, values["dof"])  # where none is stored
        if record.pvalue is not None:
            stored = placed(record.pvalue, record.terms, layout)
            values["pvalue"] = np.where(np.isnan(stored), values["pvalue"], stored)
            values["dof"] = np.where(np.isnan(stored), values["dof"], np.nan)  # what is drawn has no t
        parts.append({key: array[fits.ok] for key, array in values.items()})
    if not sum(len(part["world"]) for part in parts):
        return {}, attempted
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}, attempted


def _row(
    name: str, function: Function, arrays: Mapping[str, Floats], e: int, k: int, worlds: int
) -> dict[str, Any] | None:
    """The numbers of one row; None where no fit has what the measure asks for. Raises BadInput for its faults."""
    asked = [key for key in _arguments(function) if key in ARGUMENTS]
    found = {key: arrays[key][:, e, k] if key in OF_AN_ERROR else arrays[key][:, k] for key in asked}
    has = ~np.isnan(np.stack(list(found.values()))).any(axis=0)
    if not has.any():
        return None
    given, world = {key: values[has] for key, values in found.items()}, arrays["world"][has].astype(np.intp)
    measured, counted = _measured(name, function, given, world, worlds)
    if not measured.n.any():
        return None
    groups = np.asarray(float(len(np.unique(world[counted]))))
    ends = measures.interval(measured, False, groups if worlds > 1 else None)
    return Reported(measured, *ends, groups).row(())


def _measured(
    name: str, function: Function, given: Mapping[str, Floats], world: NDArray[np.intp], worlds: int
) -> tuple[Measured, Flags]:
    """Value, MCSE and number of fits, and which of them count, (n,)."""
    n, every = len(world), np.ones(len(world), dtype=bool)
    found = _called(name, function, given)
    if isinstance(found, tuple):
        return Measured(np.asarray(found[0]), np.asarray(found[1]), np.asarray(float(n))), every
    if isinstance(found, np.ndarray):  # the mean of one value a fit, clustered by world as all means are
        counts = ~np.isnan(found)
        moments = RunningMoments(())
        moments.add(found, counts)
        measured = measures.mean(moments)
        if worlds == 1:
            return measured, counts
        inside = np.where(counts, found - moments.mean, 0.0)
        sums = np.bincount(world, weights=inside, minlength=worlds)
        by_world = clustered(sums, np.bincount(world, weights=counts, minlength=worlds))
        return measured._replace(mcse=np.fmax(measured.mcse, by_world)), counts
    runs = np.arange(n) * min(RUNS, n) // n
    spread = _jackknife(name, function, given, runs)
    if worlds > 1:
        spread = float(np.fmax(spread, _jackknife(name, function, given, world)))
    return Measured(np.asarray(found), np.asarray(spread), np.asarray(float(n))), every


def _jackknife(name: str, function: Function, given: Mapping[str, Floats], group: NDArray[np.intp]) -> float:
    """sqrt((G - 1)/G sum_g (m_(g) - mean m)^2) over G groups left out one after the other; NaN below two."""
    ids = np.unique(group)
    if len(ids) < 2:
        return float("nan")
    left = [_called(name, function, {key: values[group != one] for key, values in given.items()}) for one in ids]
    if not all(isinstance(value, float) for value in left):
        raise _fault(name, "returns a number of some fits and something else of others")
    values = np.array(left)
    return float(np.sqrt((len(ids) - 1) / len(ids) * np.square(values - values.mean()).sum()))


def _called(name: str, function: Function, given: Mapping[str, Floats]) -> float | tuple[float, float] | Floats:
    """What the function says, as a number, a pair or an array (n,); raises BadInput for anything else."""
    n = len(next(iter(given.values())))
    try:
        found = function(**{key: values.copy() for key, values in given.items()})
    except Exception as error:
        raise _fault(name, f"raises {reason(error)}") from error
    pair = isinstance(found, tuple)
    if pair and not (len(found) == 2 and all(np.ndim(part) == 0 for part in found)):
        raise _fault(name, f"returns a tuple of {len(found)}")
    if np.iscomplexobj(found):
        raise _fault(name, "returns complex numbers")
    try:
        array = np.ma.asarray(found, dtype=np.float64).filled(np.nan)  # what is masked has no value
    except (TypeError, ValueError):
        raise _fault(name, f"returns a {type(found).__name__}") from None
    if np.isinf(array).any():
        raise _fault(name, "returns an infinite number (NaN is for no value)")
    if pair and array[1] < 0:
        raise _fault(name, "returns a Monte Carlo error below 0")
    if pair:
        return float(array[0]), float(array[1])
    if array.shape == (n,):
        return array
    if array.shape == ():
        return float(array)
    raise _fault(name, f"returns an array of shape {array.shape} for {n} fits")


def _fault(name: str, what: str) -> BadInput:
    return bad(f"it {what}", where=f"measure {name}",
               allowed="one value for each fit, a number, or a number with its Monte Carlo error",
               remedy="correct the function")  # fmt: skip
