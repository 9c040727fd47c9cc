"""Instruments of table I and of a mediator: whether they are strong, and whether several of them agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from experiments.checks.case import Case, number
from experiments.tables.iv_table import TWO_STAGES, endogenous_of, written_set
from results.tables.records import INFORMS, INSTRUMENTED_MEDIATOR, SILENT, Check
from sim.schema import TREATMENT

NAME = "instruments"
ORDER = 46
LEVEL = 0.05


def check(case: Case) -> Iterator[Check]:
    """Strength and agreement of the instruments of table I, then strength of a mediator's."""
    section = case.real.spec.iv
    if section is None:
        return
    found = statistics_at(case, TWO_STAGES)
    if found:
        own = endogenous_of(case.real.spec)
        name = case.ledger.treatment if own == TREATMENT else own
        interval = written_set(found)
        yield _strength("weak-instruments", name, found, f"Use the Anderson-Rubin interval of table I: {interval}.")
        if "hansen_p" in found:  # Hansen's J, where instruments are more than one
            p = found["hansen_p"]
            said = (
                f"The instruments of {name} contradict one another (Hansen J, p = {number(p)}): at least one of them "
                "reaches the outcome in another way, or effects differ."
            )
            quiet = f"The instruments of {name} do not contradict one another (Hansen J, p = {number(p)})."
            odd = p < LEVEL
            yield Check.fact("instruments-disagree", INFORMS if odd else SILENT, said, quiet, {"hansen_p": p},
                             benchmark=LEVEL, unit="p",
                             remedy="say which instrument is valid, and use it alone" if odd else "")  # fmt: skip
    moved = statistics_at(case, (INSTRUMENTED_MEDIATOR, 2))
    if moved:
        (mediator,) = case.real.panel.roles.mediators
        remedy = f"Effects through {mediator} in table I2 mislead then."
        yield _strength("weak-mediator-instruments", mediator, moved, remedy)


def statistics_at(case: Case, place: tuple[str, int]) -> Mapping[str, float]:
    """Statistics of a column by name."""
    return {item.name: item.estimate for item in case.ledger.statistics
            if item.place == place and item.term is None and item.estimate is not None}  # fmt: skip


def _strength(code: str, name: str, found: Mapping[str, float], remedy: str) -> Check:
    """The effective F against its critical value; where there is none, that nothing is known."""
    f, critical = found.get("effective_f"), found.get("effective_f_critical")
    if f is None or critical is None:
        said = (
            f"It is not known how strong the instruments of {name} are: the first stage has no effective F, because "
            "its errors cancel within every cluster, as where all units of two clusters share the instruments."
        )
        return Check.fact(code, INFORMS, said, "", unit="effective F", remedy="cluster errors by smaller groups")
    said = (
        f"The instruments of {name} may be weak: the effective F is {f:.1f}, below {critical:.1f}, so that the bias of "
        f"2SLS may exceed 10% of its worst case. {remedy}"
    )
    quiet = f"The instruments of {name} are strong: the effective F is {f:.1f}, above {critical:.1f}."
    weak = f < critical
    return Check.fact(code, INFORMS if weak else SILENT, said, quiet, {"effective_f": f, "critical": critical},
                      benchmark=critical, unit="effective F",
                      remedy="use the Anderson-Rubin interval, or stronger instruments" if weak else "")  # fmt: skip
