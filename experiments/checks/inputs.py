"""Columns that make an effect something else: controls made of the treatment; the outcome, or an endogenous regressor,
in another form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.core.error_types import groups_of, kind_of
from estimators.linear.did import TwoWayDID
from experiments.checks.case import Case, number, some, starred
from experiments.checks.products import turning_point
from experiments.panel_spec.look import LATITUDE_WORDS, LONGITUDE_WORDS, alike, totals
from experiments.panel_spec.reading import codes_in, rank
from experiments.panel_spec.spec import RealPanel
from experiments.tables.iv_table import endogenous_of
from experiments.tables.ledger import Ledger, treated_units
from results.tables.records import INFORMS, OVERTURNS, SILENT, WEAKENS, Check
from sim.arrays import Floats
from sim.errors import amount, listed
from sim.panel import seen_in
from sim.schema import TREATMENT
from sim.weights import DEGREES

NAME = "what was given"
ORDER = 20
SAME = 0.95  # correlation, without effects, from which a control is the outcome in another form
MOVED_T, MOVED_SHARE = 5.0, 0.10  # t with the main errors, and share of the control's variance
ROUNDING = 1e-9
MUCH_LOST = 0.1  # share of rows
FOR_FEW = ("conley-taber", "ferman-pinto")  # kinds of errors that know the shocks of one treated unit


def check(case: Case) -> Iterator[Check]:
    """What the file may hold by mistake, every control, then how many units are treated and since when."""
    roles = case.panel.roles
    yield from _of_the_file(case)
    if roles.treatment is not None:
        for name in roles.controls:
            if turning_point(case, name) is None:  # the square of a dose is said by itself
                yield _of_the_treatment(case, name)
        yield from _treated(case)
    yield from _outcomes_again(case)


def checks_of_file(real: RealPanel) -> tuple[Check, ...]:
    """What `panel check` says of a panel before anything is estimated: checks of the file that found something."""
    case = Case(real, Ledger(real.spec.inference.seed), real.panel, None)
    return tuple(found for found in (*_of_the_file(case), *_outcomes_again(case)) if found.severity)


def _of_the_file(case: Case) -> Iterator[Check]:
    # Numbers of a variable that look like codes of a missing value.
    panel, seen = case.panel, seen_in(case.panel)
    found = {name: held for name, values in panel.variables.items() if (held := codes_in(values[0][seen]))}
    every = [(name, code, count) for name, held in found.items() for code, count in held.items()]
    said = listed((f"{name} is {code:g} in {amount(count, 'row')}" for name, code, count in every), 4)
    codes = ", ".join(f"{code:g}" for code in sorted({code for _, code, _ in every}))
    yield Check.fact(
        "missing-codes", OVERTURNS if found else SILENT,
        f"{said}, unlike all other values: it looks like a code of a missing value, and tables take it for a number.",
        "No variable holds a number that looks like a code of a missing value.",
        {"variables": float(len(found))}, unit="variables",
        remedy=f'say missing_codes = [{codes}] and missing = "drop" in [panel]' if found else "",
    )  # fmt: skip

    # Units that are the sum or the mean of all others in every period, or are called so.
    sums = totals({name: np.where(seen, values[0], np.nan) for name, values in panel.variables.items()
                   if name != panel.roles.treatment}, panel.units)  # fmt: skip
    if sums:
        each = listed((f"{unit} {why}" for unit, why in sums.items()), 3)
        yield Check.fact(
            "total-rows", OVERTURNS, f"A unit seems to be a total or a mean of others: {each}.", "",
            {"units": float(len(sums))}, unit="units",
            remedy=f'leave it out: exclude = {{ {case.unit} = ["{next(iter(sums))}"] }} in [read]',
        )  # fmt: skip

    # Coordinates from columns whose names say that they are exchanged, where the values would fit either way.
    named, attributes = case.real.spec.panel, case.panel.attributes
    if named.longitude is not None and named.latitude is not None:
        fits = (np.abs(attributes["longitude"].astype(np.float64)) <= DEGREES["latitude"]).all()
        east, north = rank(named.longitude, LATITUDE_WORDS), rank(named.latitude, LONGITUDE_WORDS)
        if fits and east < len(LATITUDE_WORDS) and north < len(LONGITUDE_WORDS):
            yield Check.fact(
                "exchanged-coordinates", WEAKENS, f"The longitude is read from the column {named.longitude}, and the "
                f"latitude from {named.latitude}: their names say the opposite, and distances between units would be "
                "wrong.", "", {"units": float(len(case.panel.units))}, unit="units",
                remedy=f'say longitude = "{named.latitude}" and latitude = "{named.longitude}" in [panel], or rename '
                "them",
            )  # fmt: skip

    # Units whose names may mean one.
    t, i = np.nonzero(seen_in(case.panel))
    labels = np.array(case.panel.units, dtype=object)[i]
    if pairs := alike(labels, np.array(case.panel.periods)[t]):
        words = listed((f"{one} and {other}" for one, other in pairs), 3)
        yield Check.fact(
            "alike-units", OVERTURNS, f"Units whose names are nearly the same share no period: {words}. They seem to "
            "be one unit each, counted as two.", "", {"pairs": float(len(pairs))}, unit="pairs",
            remedy="write the name of each in one way",
        )  # fmt: skip
    else:  # with each unit twice, no part may be balanced
        yield from _balanced(case)


def _outcomes_again(case: Case) -> Iterator[Check]:
    """Controls, then instruments, mediators and moderators that are no regressors."""
    if not case.panel.roles.outcome:
        return
    for name in case.panel.roles.controls:
        yield _again(case, name, "control", case.outcome_name)
    if case.outcome_name not in {*case.real.panel.variables, *case.real.further}:
        return

    spec = case.real.spec
    words = dict.fromkeys(() if spec.moderation is None else spec.moderation.by, "moderator")
    words |= dict.fromkeys(spec.panel.mediators, "mediator")
    words |= {} if spec.iv is None else dict.fromkeys((*spec.iv.instruments, *spec.iv.mediator), "instrument")
    regressors = (*case.panel.roles.regressors, TREATMENT, case.outcome_name)
    for name, word in words.items():
        if case.variable(name) in regressors:
            continue
        beside = case.with_variables((name, case.outcome_name))
        yield _again(beside, name, word, case.outcome_name)
        if word == "instrument":
            own = endogenous_of(spec)
            yield _again(case.with_variables((name, own)), name, word, own)


def _balanced(case: Case) -> Iterator[Check]:
    """Units that tables of the balanced part leave out because of a few empty cells."""
    how, robustness = case.real.spec.panel.balance, case.real.spec.robustness
    panel, cutoffs = case.real.panel, case.real.spec.spatial.cutoffs
    needed = panel.weights or cutoffs or robustness.staggered or robustness.synthetic
    if panel.observed is None or how == "error" or not needed:
        return
    part = case.real.balanced()
    cells, units = int((~panel.observed[0]).sum()), len(panel.units) - len(part.units)
    lost = 1.0 - part.nobs / panel.nobs
    periods = len(panel.periods) - len(part.periods)
    left = f"{units} of {len(panel.units)} units" if units else f"{periods} of {len(panel.periods)} periods"
    said = (f"{cells} of {panel.observed.size:,} unit-periods {'is' if cells == 1 else 'are'} missing, and tables that "
            f"need a balanced panel leave out {left} for them, {lost:.0%} of the rows.")  # fmt: skip
    yield Check.fact("balanced-part", WEAKENS if lost > MUCH_LOST else INFORMS, said, "", {"share": lost},
                     benchmark=MUCH_LOST, unit="share of rows", remedy="fill those cells, or leave out other units or "
                     'periods (balance = "drop-units" or "drop-periods")')  # fmt: skip


def _of_the_treatment(case: Case, name: str) -> Check:
    """A control that is a product of the treatment, or that the treatment moves."""
    code, quiet = f"control-of-treatment:{name}", f"The control {name} is no function of the treatment."
    did, control = case.panel.variables[str(case.panel.roles.treatment)][0], case.panel.variables[name][0]
    seen = seen_in(case.panel)
    zero = seen & (did == 0)  # of one unit or one period, as a dose that is 0 once, they are alike in any control
    untreated, treated = control[zero], control[seen & (did != 0)]
    told = bool(treated.size) and min(zero.any(axis=0).sum(), zero.any(axis=1).sum()) > 1
    spread = float(np.ptp(control[seen]))
    made_of_it = told and np.ptp(untreated) <= ROUNDING * spread < np.ptp(treated)
    if made_of_it:
        change = ""
        if case.effect is not None and case.effect.estimate is not None:
            alone = float((case.treatment * case.outcome).sum() / np.square(case.treatment).sum())
            change = f" ({starred(case.effect.estimate, case.effect.pvalue)}; without any control {number(alone)})"
        said = (
            f"The control {name} is a function of the treatment (all untreated rows have the same value): the "
            f"coefficient of {case.real.called} beside it is not the mean effect{change}."
        )
        return Check.fact(code, OVERTURNS, said, remedy=f"leave {name} out, or use its values before adoption")

    # t of the treatment in a two-way regression of the control on it, with the main errors, and the share of the
    # control's variance within units and periods that it explains.
    treatment, cluster_k = str(case.panel.roles.treatment), case.real.spec.inference.cluster_k
    own = TwoWayDID(name, (treatment,), (case.main_error,), cluster_k=cluster_k, label=f"control {name}")
    found = own(case.panel)
    slope = float(found.estimate[0, 0])
    t = slope / float(found.se[0, 0, 0])
    share = slope**2 * float(np.square(case.treatment).sum()) / float(np.square(case.within(name)).sum())
    said = (
        f"The treatment moves the control {name} (t = {t:.1f}, {share:.0%} of its variance): the coefficient of "
        f"{case.real.called} leaves out the part of the effect that goes through it."
    )
    moved = abs(t) > MOVED_T and share > MOVED_SHARE
    return Check.fact(code, WEAKENS if moved else SILENT, said, quiet, {"t": t, "share": share}, benchmark=MOVED_T,
                      unit="t", remedy=f"use the values of {name} before adoption" if moved else "")  # fmt: skip


SAYS = {  # what a column means that is the outcome again
    "control": "the effect is what the treatment does to the rest",
    "instrument": "it holds all that moves the outcome, and 2SLS with it says nothing of the effect",
    "mediator": "whatever moves the outcome works through it",
    "moderator": "an effect that differs with it differs with the outcome itself",
}


def _again(case: Case, name: str, word: str, other: str) -> Check:
    """Whether a column is another variable, the outcome or an endogenous regressor, in another form."""
    outcome = other == case.outcome_name
    called = "outcome" if outcome else f"endogenous regressor {case.real.called if other == TREATMENT else other}"
    found = {
        "values": _correlation(case.within(name), case.within(other)),
        "ranks": _correlation(case.demeaned(_ranks(case, name)), case.demeaned(_ranks(case, other))),
    }
    how = max(found, key=lambda way: abs(found[way]))
    correlation = found[how]
    said = (
        f"The {word} {name} is the {called} in another form (correlation of their {how} within units and periods "
        f"{correlation:.3f}): "
        f"{SAYS[word] if outcome else 'it holds what makes the regressor endogenous, and 2SLS is next to OLS'}."
    )
    quiet = f"The {word} {name} is not the {called} in another form."
    same = OVERTURNS if word == "control" else WEAKENS  # the claim is not made with the others
    severity = same if abs(correlation) > SAME else SILENT
    numbers = {"correlation": correlation, "of_values": found["values"], "of_ranks": found["ranks"]}
    code = f"{'outcome' if outcome else 'endogenous'}-again:{name}"
    return Check.fact(code, severity, said, quiet, numbers, benchmark=SAME,
                      unit="correlation within units and periods",
                      remedy=f"leave {name} out" if severity else "")  # fmt: skip


def _ranks(case: Case, name: str) -> Floats:
    """Ranks of a variable's observed values, the mean one of equal values, (T, N): those of any increasing function."""
    values, seen = case.panel.variables[name][0], seen_in(case.panel)
    _, place, counts = np.unique(values[seen], return_inverse=True, return_counts=True)
    out = np.zeros_like(values)
    out[seen] = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return out


def _correlation(x: Floats, y: Floats) -> float:
    """Of two demeaned variables."""
    squares = float(np.square(x).sum() * np.square(y).sum())
    return float((x * y).sum() / np.sqrt(squares)) if squares > 0 else 0.0


def _treated(case: Case) -> Iterator[Check]:
    """One treated unit, or one untreated; treated units of one cluster; those that are never seen untreated."""
    treated = treated_units(case.panel)
    count, name = int(treated.sum()), case.panel.units[int(treated.argmax())]
    effect, stars = case.effect, case.real.called
    if effect is not None and effect.estimate is not None:
        stars = starred(effect.estimate, effect.pvalue)
    said = (
        f"Only {name} is treated: errors clustered by {case.unit} know nothing of its own shocks, so that the stars of "
        f"{stars} mean nothing. Use panelproof placebo."
    )
    numbers: dict[str, float | None] = {"treated_units": float(count)}
    severity = OVERTURNS if count == 1 else SILENT
    if severity and effect is not None and kind_of(effect.se_type) in FOR_FEW:
        severity = INFORMS
        said = f"Only {name} is treated: the test of the claim takes it to be as noisy as units that never are."
    yield Check.fact("one-treated-unit", severity, said, f"{count} units are treated.", numbers, unit="treated units",
                     remedy="use panelproof placebo" if severity else "")  # fmt: skip

    # All units but one treated at the same times; all treated units in one cluster of the main errors.
    paths, which = np.unique(case.panel.variables[str(case.panel.roles.treatment)][0].T, axis=0, return_inverse=True)
    counts = np.bincount(which.ravel())
    alone = len(paths) == 2 and counts.min() == 1 and np.nanmax(paths[counts.argmin()]) <= 0  # NaN: unobserved
    if alone and len(case.panel.units) >= 3:
        name = case.panel.units[int(np.flatnonzero(which.ravel() == counts.argmin())[0])]
        said = (
            f"All units but {name} are treated, at the same times: errors clustered by {case.unit} know nothing of its "
            "own shocks, so that stars mean nothing. Use panelproof placebo."
        )
        yield Check.fact("one-untreated-unit", OVERTURNS, said, unit="untreated units", remedy="use panelproof placebo",
                         numbers={"untreated_units": 1.0})  # fmt: skip
    if case.main_error != "cluster:unit":
        group = case.main_error.removeprefix("cluster:")
        held = len(np.unique(case.clusters[treated]))
        said = (
            f"All treated units are of one {group}: errors clustered by {group} know nothing of its own shocks, so "
            f"that the stars of {stars} mean nothing. Use panelproof placebo."
        )
        severity = OVERTURNS if held == 1 else SILENT
        if severity and effect is not None and group not in groups_of(effect.se_type, (*case.panel.attributes,)):
            severity = INFORMS
            said = f"All treated units are of one {group}, for whose own shocks the errors of the claim do not allow."
        quiet = f"Treated units are of {held} clusters by {group}."
        yield Check.fact("one-treated-cluster", severity, said, quiet, {"treated_clusters": float(held)},
                         unit="treated clusters", remedy="use panelproof placebo" if severity else "")  # fmt: skip
    if case.panel.roles.continuous:
        return
    did = case.panel.variables[str(case.panel.roles.treatment)][0]
    before = (seen_in(case.panel) & (did == 0)).any(axis=0)
    late = [case.panel.units[i] for i in np.flatnonzero(treated & ~before)]
    severity = WEAKENS if len(late) > count / 2 else INFORMS if late else SILENT
    said = (
        f"{len(late)} of {count} treated units are never seen untreated ({some(late)}): the panel starts after their "
        "adoption, and they serve only as comparisons."
    )
    quiet = "All treated units are seen before treatment."
    yield Check.fact("without-pre-periods", severity, said, quiet, numbers | {"units": float(len(late))})
