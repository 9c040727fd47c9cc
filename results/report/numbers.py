"""How numbers with Monte Carlo errors are written, and when a departure is called one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

DASH = "-"
CLEAR = 4.0  # MCSEs from which a departure is called one: chance alone gives 6 in 100,000
Row = Mapping[Hashable, Any]  # a row of the bias table


def has_test(term: str) -> bool:
    """Whether a test against 0 makes sense: a variance cannot be 0."""
    return term != "sigma2"


def is_biased(row: Row) -> bool:
    """Whether the bias is clear of its Monte Carlo error."""
    return bool(abs(row["bias"]) > CLEAR * row["bias_mcse"])


def is_off(share: float, n: float, nominal: float) -> bool:
    """Whether a proportion is clear of its nominal value, by the MCSE that the nominal value implies."""
    return n > 0 and abs(share - nominal) > CLEAR * float(np.sqrt(nominal * (1 - nominal) / n))


def fixed(values: Sequence[float], mcse: float) -> str:
    """A number format for numbers known up to `mcse`: as many decimals as show its first digit."""
    size = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    if not np.isfinite(mcse) or mcse <= 0:
        return ".4f" if size == 0 or 1e-3 <= size < 1e4 else ".2e"
    decimals = int(np.ceil(-np.log10(mcse)))
    if decimals > 6 or size >= 1e6:
        return ".1e"
    return f".{max(decimals, 0)}f"


def is_null(row: Row) -> bool:
    """Whether the truth is exactly 0 in every draw."""
    return bool(row["truth"] == 0 and row["truth_mcse"] == 0)


def is_wrong_size(row: Row, alpha: float) -> bool:
    """Whether a true null is rejected clearly more or less often than alpha."""
    return has_test(row["term"]) and is_null(row) and is_off(row["rejection"], row["n"], alpha)


def truth_text(row: Row, form: str) -> str:
    """The truth, a bare 0 where it is exactly that."""
    return "0" if is_null(row) else number(row["truth"], form)


def number(value: float, form: str) -> str:
    """A number, or a dash where there is none."""
    return f"{value:{form}}" if np.isfinite(value) else DASH


def bracketed(value: float, mcse: float, form: str) -> str:
    """Value (MCSE), or a dash."""
    if not np.isfinite(value):
        return DASH
    text = f"{value:{form}}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text if not np.isfinite(mcse) else f"{text} ({mcse:{form}})"


def percent(row: Row, name: str) -> str:
    """A proportion and its MCSE in percent."""
    return bracketed(100 * row[name], 100 * row[f"{name}_mcse"], ".1f")
