"""What a study held fixed, and what its numbers therefore are about: the first lines of every verdict."""

from __future__ import annotations

from collections.abc import Sequence

from results.diagnosis.diagnose import Diagnosis
from results.diagnosis.judging import FAMILYWISE, interval_point
from results.report.numbers import clear
from sim.streams import TILE

FEW = 10  # worlds, below which a mark takes more than 7 Monte Carlo errors


def fixed_sentence(diagnosis: Diagnosis) -> str:
    """One sentence on what was held fixed and in how many worlds; "" where everything drawn is drawn anew."""
    worlds, reached, held = diagnosis.worlds, worlds_reached(diagnosis), diagnosis.held_fixed
    if not held:
        spread = f"Replications are spread over {reached} worlds, by which Monte Carlo errors are clustered."
        return spread if reached > 1 else ""
    what, was = said(held), "were" if len(held) > 1 or held[0].endswith("s") else "was"
    if reached <= 1:
        so_far = f" The study has {worlds} worlds, and its replications reach only one of them." if worlds > 1 else ""
        return f"All numbers are conditional on one drawn world: {what} {was} drawn once.{so_far}"
    of = f" of {worlds}" if reached < worlds else ""
    return (f"{what[0].upper()}{what[1:]} {was} drawn in {reached}{of} worlds: numbers are averages over such worlds, "
            "and Monte Carlo errors include them.")  # fmt: skip


def judged_sentence(count: int, worlds: int, reached: int) -> str:
    """How many numbers are judged at once, and with few worlds what can be told; "" for a lone number in one world.

    count: of judgements. worlds, reached: that the study has, and that lie behind a number.
    """
    parts = []
    if count > 1:
        parts.append(f"{count:,} numbers are judged at once, by Holm's method: chance alone fails at most "
                     f"{100 * FAMILYWISE:g}% of studies.")  # fmt: skip
    if reached > 1:
        mark = f"{clear(reached):.{0 if reached < FEW else 1}f}"
        parts.append(f"Monte Carlo errors of {reached} worlds have {reached - 1} degree{'s' * (reached > 2)} of "
                     f"freedom: an interval takes {interval_point(reached):.1f} of them on either side and a mark "
                     f"{mark}, in place of 2.0 and 4.")  # fmt: skip
    if reached < worlds:
        parts.append(f"{worlds * TILE:,} replications reach all {worlds} worlds.")
    elif 1 < reached < FEW:
        parts.append("Only departures as large as that can be told; more worlds tell more, more replications do not.")
    return " ".join(parts)


def worlds_reached(diagnosis: Diagnosis) -> int:
    """The most worlds that lie behind a number."""
    return max((int(count) for count in diagnosis.frame["worlds"]), default=1)


def said(items: Sequence[str]) -> str:
    """Items in words: "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)
