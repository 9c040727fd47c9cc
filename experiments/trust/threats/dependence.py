"""Serial and spatial correlation: the size of the printed test on the twin, whose errors have both as the panel's."""

from __future__ import annotations

from experiments.trust.studies import LEVEL
from experiments.trust.threats import Case, Threat

NAME = "serial and spatial correlation"
TOO_LARGE = 0.10


def threat(case: Case) -> Threat:
    """Needed: a size of 10%; found: the size on the twin without an effect."""
    size = case.main.size(case.printed)
    over = size.value - 2 * size.mcse > TOO_LARGE
    right = abs(size.value - LEVEL) <= 2 * size.mcse
    so = "the printed errors allow for it" if right else "the printed errors allow for a part of it"
    so = "the printed significance cannot be relied on" if over else so
    sentence = (f"With the serial and spatial correlation of this panel, the printed 5% test rejects "
                f"{size.value:.1%} of panels without an effect: {so}.")  # fmt: skip
    return Threat(NAME, TOO_LARGE, size.value, "share of panels without an effect in which the 5% test rejects",
                  over, sentence)  # fmt: skip
