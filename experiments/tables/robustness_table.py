"""The referee's menu: the two-way column under other effects, samples, lags, outcomes, policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from experiments.panel_spec.sections import value_label
from experiments.panel_spec.spec import RealPanel, kept_units
from experiments.tables import psm
from experiments.tables.columns import UNIT_AND_PERIOD, clustered_enough, error_types, regression, say_what_is_left_out
from experiments.tables.ledger import Ledger, reasons
from results.tables.records import ROBUSTNESS, Fit
from sim.errors import BadInput, bad, listed
from sim.panel import Panel, part, seen_in, seen_part
from sim.schema import period_step


@dataclass(frozen=True, eq=False, slots=True)
class RobustnessCheck:
    """One column: what it is in words, its panel, and what differs from column 5 of table 2."""

    sample: str
    panel: Panel
    further: tuple[str, ...] = ()  # regressors after the treatment
    outcome: str | None = None
    effects: tuple[str, ...] = UNIT_AND_PERIOD
    note: str = ""


def add(real: RealPanel, ledger: Ledger) -> None:
    """One column a check, in the order of the menu; those on matched samples last. Other W stand in table 7."""
    if not real.panel.roles.regressors:
        return
    column = 0
    for column, check in enumerate(checks(real), start=1):
        _fit(real, ledger, check, Fit((ROBUSTNESS, column), "did", sample=check.sample))
    psm.add(real, ledger, first_column=column + 1)


def checks(real: RealPanel) -> Iterator[RobustnessCheck]:
    """The checks that the spec asks for, but those on matched samples."""
    section, panel = real.spec.robustness, replace(real.panel, weights={})
    if section.region_by_period:
        group = section.region_by_period
        yield RobustnessCheck(
            f"{group}-by-{real.spec.panel.period} effects", panel, effects=("unit", f"{group}-by-period")
        )
    if section.unit_trends:
        yield RobustnessCheck(
            f"{real.spec.panel.unit}-specific linear trends", panel, effects=(*UNIT_AND_PERIOD, "unit-trend")
        )
    if section.lag:
        yield lagged(panel, section.lag)
    if section.winsorize:
        yield winsorized(panel, section.winsorize)
    for first, last in section.windows:
        inside = (np.asarray(panel.periods) >= first) & (np.asarray(panel.periods) <= last)
        yield RobustnessCheck(f"{first}-{last}", seen_part(panel, seen_in(panel) & inside[:, None]))
    for name, values in section.exclude.items():
        kept = part(panel, kept_units(real.spec, panel, name), np.ones(len(panel.periods), dtype=bool))
        yield RobustnessCheck(f"without {name} {listed(map(value_label, values))}", kept)
    for name in section.policies:
        yield with_policies(real, (name,), f"with {name}")
    if len(section.policies) > 1:
        yield with_policies(real, section.policies, "with all other policies")
    for name in section.outcomes:
        yield with_outcome(real, name)


def lagged(panel: Panel, lag: int) -> RobustnessCheck:
    """Treatment and controls of `lag` periods before, by the calendar; periods without such a one go."""
    periods, distance = np.asarray(panel.periods), lag * period_step(panel.periods)
    kept = np.isin(periods - distance, periods)
    source = np.searchsorted(periods, periods[kept] - distance)
    variables = {name: array[:, kept] for name, array in panel.variables.items()}
    variables |= {name: panel.variables[name][:, source] for name in panel.roles.regressors}
    seen = seen_in(panel)[kept] & seen_in(panel)[source]
    later = replace(panel, periods=tuple(periods[kept].tolist()), variables=variables, observed=seen[None])
    words = f"treatment and controls lagged by {lag} period{'s' * (lag > 1)}"
    note = f"{listed(periods[~kept], 12)} are left out, because the lags have no value there"
    if lost := int((seen_in(panel)[kept] & ~seen).sum()):
        note += (
            f"; {lost} rows of later periods are left out too, because their unit is not observed {lag} "
            f"period{'s' * (lag > 1)} before"
        )
    return RobustnessCheck(words, seen_part(later, seen), note=note)


def winsorized(panel: Panel, shares: tuple[float, float]) -> RobustnessCheck:
    """The outcome cut at two quantiles of all its observations (linear interpolation between order statistics)."""
    name = str(panel.roles.outcome)
    values = panel.variables[name]
    low, high = np.quantile(values[0][seen_in(panel)], shares)
    cut = panel.with_variables({name: np.clip(values, low, high)})
    words = f"outcome winsorised at {shares[0]:g} and {shares[1]:g}"
    return RobustnessCheck(words, cut, note=f"{name} is cut at {low:.6g} and {high:.6g}")


def with_policies(real: RealPanel, names: tuple[str, ...], sample: str) -> RobustnessCheck:
    """Other policies beside the treatment."""
    panel, note = _with_further(real, names)
    return RobustnessCheck(sample, panel, further=names, note=note)


def with_outcome(real: RealPanel, name: str) -> RobustnessCheck:
    """Another outcome."""
    panel, note = _with_further(real, (name,))
    return RobustnessCheck(f"outcome {name}", panel, outcome=name, note=note)


def _with_further(real: RealPanel, names: tuple[str, ...]) -> tuple[Panel, str]:
    """The panel with further variables where they are all there, and in words what that leaves out."""
    panel = replace(real.panel, weights={})
    further = {name: real.further[name] for name in names if name not in panel.variables}
    before = seen_in(panel)
    seen = before & np.all([np.isfinite(array[0]) for array in further.values()], axis=0) if further else before
    whole = replace(panel, variables={**panel.variables, **further}, observed=seen[None].copy())
    if not seen.any():
        raise bad(f"no row has {listed(names)}", where=f"{real.spec.file}, [robustness]",
                  allowed="columns with values in the panel's rows", remedy="fill these columns, or remove them "
                                                                            "from the spec")  # fmt: skip
    lost = int(before.sum() - seen.sum())
    return seen_part(whole, seen), f"{lost} rows with a missing value are left out" if lost else ""


def _fit(real: RealPanel, ledger: Ledger, check: RobustnessCheck, fit: Fit) -> None:
    """Fit a check, or say why there is no such column."""
    table, column = fit.place
    treatment, roles = real.panel.roles.treatment, real.panel.roles
    regressors = (*((treatment,) if treatment else ()), *check.further, *roles.controls)
    wanted = error_types(real.spec)
    errors = clustered_enough(check.panel, wanted)
    label = f"table-{table}-column-{column}"
    estimator = regression(
        real.spec, label, regressors, outcome=check.outcome, effects=check.effects, errors=errors
    )  # fmt: skip
    try:
        replace(estimator, errors=("iid",))(check.panel)  # a trial: the runner would keep the status, not the reason
    except BadInput as refusal:
        ledger.note(f"{fit.where} is empty: {reasons(refusal)}.")
        return
    ledger.fit(check.panel, {estimator: fit})
    if check.note:
        ledger.note(f"{fit.where}: {check.note}.")
    say_what_is_left_out(ledger, fit, wanted, errors)
