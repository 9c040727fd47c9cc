"""How numbers, terms and error types are written in tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from math import isfinite
from typing import Self

from estimators.core.error_types import KINDS, error_label, factor_text, kind_of, without_se
from estimators.spatial.lm_tests import CHI_SQUARE
from results.tables.records import EFFECTS, LONG_RUN, PLAIN, Brackets, Style

DECIMALS = PLAIN.digits
SMALL, TINY, LARGE, HUGE = 1e-3, 1e-5, 1e4, 1e7
FULL = 0.1  # from which on four decimals show four significant digits
GREEK = {"rho": "ρ", "lambda": "λ", "sigma2": "σ²", "constant": "Constant"}
STATISTICS = {
    "r2": "R²",
    "r2_adjusted": "R² adjusted",
    "r2_within": "R² within",
    "r2_between": "R² between",
    "r2_overall": "R² overall",
    "r2_corr": "R² squared correlation",
    "sigma_u": "σ(unit)",
    "sigma_e": "σ(error)",
    "theta": "θ (mean)",
    "ar1_raw": "Residuals: AR(1)",
    "ar1": "  corrected for T",
    "pesaran_cd": "  Pesaran's CD",
    "residual_moran": "  Moran's I",
    "loglik": "Log-likelihood",
    "aic": "AIC",
    "bic": "BIC",
}  # in the order of a table's foot
PREDICTIONS = {
    "r2_reduced_within": "Reduced form, within",
    "r2_reduced_between": "Reduced form, between",
    "r2_reduced_overall": "Reduced form, overall",
    "r2_naive_within": "Naive, within",
    "r2_naive_between": "Naive, between",
    "r2_naive_overall": "Naive, overall",
}  # squared correlations of the outcome with predictions without effects
COUNTS = {
    "treated_units": "Treated units",
    "treated_matched": "Treated, matched",
    "controls_matched": "Controls, matched",
}
_MODELS = {
    "did": "Fixed effects", "pooled": "Pooled OLS", "random": "Random effects", "mediator": "Mediator",
    "outcome": "Outcome", "mediation": "Mediation", "interaction": "Interaction",
    "ols": "OLS", "iv": "2SLS", "first-stage": "First stage", "reduced-form": "Reduced form",
    "instrumented-mediation": "2SLS",
}  # fmt: skip
_HEADINGS = {
    "did": "Two-way DID", "event-study": "Event study", "callaway-santanna": "Callaway-Sant'Anna",
    "imputation": "Imputation", "two-stage": "Two-stage", "sun-abraham": "Sun-Abraham", "stacked": "Stacked",
    "spatial-did": "Neighbours' treatment", "rings": "Rings", "synthetic-did": "Synthetic DID",
    "synthetic-control": "Synthetic control", "demeaned-synthetic-control": "Demeaned synthetic control",
    "equally-weighted-did": "Equally weighted DID",
}  # fmt: skip
_MOMENTS = {
    "normality": "under normality",
    "randomisation": "under randomisation",
    "permutation": "by permutation",
    "projection": "under projected normal errors",
    "simulation": "by simulation of projected normal errors",
}
AVERAGES = {
    "overall": "ATT, unit-periods alike",
    "overall:event": "ATT, event times alike",
    "overall:cohort": "ATT, cohorts by size",
    "overall:calendar": "ATT, periods alike",
}
_TERMS = {
    "a": "the effect of the treatment on the mediator",
    "b": "the effect of the mediator on the outcome",
    "nde": "the direct effect",
    "nie": "the indirect effect, a × b",
    "total": "the total effect",
    "proportion": "the indirect over the total effect",
    "lm_lag": "the LM test for a spatial lag",
    "lm_err": "the LM test for spatial errors",
    "rlm_lag": "the same for a lag, robust to spatial errors",
    "rlm_err": "the same for errors, robust to a spatial lag",
    **AVERAGES,
}  # of estimators that a user names
_COUNTED = {
    "slopes": "effects not counted in k",
    "nonnested": "effects nested in clusters not counted in k",
    "all": "all effects counted in k",
}  # by cluster_k, in the factor of clustered errors
_ASCII = str.maketrans({
    "ρ": "rho", "λ": "lambda", "σ": "sigma", "θ": "theta", "χ": "chi", "²": "2", "×": "x", "−": "-", "–": "-",
    "·": "*", "⁻": "^-",
})  # fmt: skip


class NumberCell(str):
    """The text of a cell that remembers the number it shows, and what writes it in another style.

    again: None where every style writes it alike.
    """

    __slots__ = ("again", "number")
    number: float | None
    again: Callable[..., str] | None

    def __new__(cls, text: str, number: float | None = None, again: Callable[..., str] | None = None) -> Self:
        """The text as a cell; a copy or a pickle is made by the text alone and given the rest."""
        cell = super().__new__(cls, text)
        cell.number, cell.again = number, again
        return cell


def in_style(cell: str, style: Style) -> str:
    """A cell in another style: one that holds no number is as it was."""
    return cell.again(style=style) if isinstance(cell, NumberCell) and cell.again else cell


def number_of(cell: str) -> float | None:
    """The one number that a cell shows; None for words, intervals and nothing."""
    return cell.number if isinstance(cell, NumberCell) else None


def digits(
    value: float | None, beside: Sequence[float | None] = (), row: Sequence[float | None] = (), *, style: Style = PLAIN
) -> NumberCell:  # fmt: skip
    """A cell of a number alone, as `figures` writes it."""
    text = figures(value, beside, row, style.digits)
    return NumberCell(text, value, partial(digits, value, tuple(beside), tuple(row)))


def figures(
    value: float | None, beside: Sequence[float | None] = (), row: Sequence[float | None] = (), places: int = DECIMALS
) -> str:  # fmt: skip
    """Four decimals, or as many as are asked for, of small numbers two significant digits, of large ones one decimal;
    four significant digits and an exponent for tiny ones and where `has_exponent`, which judges a number with those
    beside it and in its row; "" for none."""
    if value is None or not isfinite(value):
        return ""
    size = abs(value)
    if 0 < size < TINY or (size and has_exponent((value, *beside), row)):
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    if round(size, places) >= LARGE:  # 9999.99999 is 10,000.0
        return f"{value:,.1f}"
    if size == 0 or size >= max(SMALL, 10.0 ** (1 - places)):
        return f"{value + 0.0:.{places}f}"  # of -0.0 the sign goes
    leading = int(f"{size:.1e}".partition("e")[2])
    return f"{value:.{max(1 - leading, places)}f}"


def has_exponent(together: Sequence[float | None], row: Sequence[float | None] = ()) -> bool:
    """Whether numbers that belong together, as an estimate and its error, are written with exponents.

    The largest is huge, or large in a row with a huge one; or one is tiny where four decimals show none of them with
    four digits, or where nothing in the row is but small.
    """
    own, whole = ({abs(value) for value in values if value is not None and isfinite(value) and value != 0}
                  for values in (together, (*together, *row)))  # fmt: skip
    if not own:
        return False
    huge = max(own) >= HUGE or (max(own) >= LARGE and max(whole) >= HUGE)
    return huge or (max(own) < FULL and min(own) < TINY) or (max(whole) < SMALL and min(whole) < TINY)


def decimals(value: float | None) -> NumberCell:
    """Three decimals, as programs print z values, test statistics and log-likelihoods; "" for none."""
    return NumberCell("" if value is None or not isfinite(value) else f"{value + 0.0:,.3f}", value)


def count(value: float | None) -> NumberCell:
    """A whole number; "" for none."""
    return NumberCell("" if value is None else f"{value + 0.0:,.0f}", value)


def probability(value: float | None) -> NumberCell:
    """A p value with four decimals, "<0.0001" below them."""
    if value is None or not isfinite(value):
        return NumberCell("")
    return NumberCell("<0.0001" if value < 0.00005 else f"{value:.4f}", value)


def starred_probability(value: float | None, *, style: Style = PLAIN) -> NumberCell:
    """The same with its stars."""
    text = probability(value) + stars(value, style.stars)
    return NumberCell(text, value, partial(starred_probability, value))


def span(low: float | None, high: float | None, *, style: Style = PLAIN) -> NumberCell:
    """Two ends in square brackets."""
    first, last = (figures(end, (low, high), (), style.digits) for end in (low, high))
    return NumberCell(f"[{first}, {last}]", None, partial(span, low, high))


def short_p(value: float) -> str:
    """A p value in running text, with its sign: "= .012", "< .001"."""
    return "< .001" if value < 0.001 else f"= {value:.3f}".replace("0.", ".", 1)


def p_value(value: float | None) -> str:
    """A p value in brackets, "" for none."""
    said = probability(value)
    return f"[p < {said[1:]}]" if said.startswith("<") else f"[p = {said}]" if said else ""


def stars(pvalue: float | None, levels: Sequence[float] = PLAIN.stars) -> str:
    """A star for every level that a p value is below: *** below .01, ** below .05, * below .1."""
    return "*" * sum(pvalue is not None and pvalue < level for level in levels)


def stars_note(levels: Sequence[float]) -> str:
    """What stars mean, "" where there are none."""
    marked = [f"{stars(0.0, levels[:many])} p < {levels[many - 1]:g}" for many in range(len(levels), 0, -1)]
    return f"{', '.join(marked)}." if marked else ""


def split_stars(cell: str) -> tuple[str, str]:
    """A cell without its stars, and the stars."""
    body = cell.rstrip("*")
    return body, cell[len(body) :]


def with_minus(text: str) -> str:
    """Hyphens before numbers as minus signs."""
    return re.sub(r"(?<![\w)\]])-(?=[\d.])|(?<=\de)-(?=\d)", "\N{MINUS SIGN}", text)


def ascii_only(text: str) -> str:
    """Greek letters and signs spelt out, for terminals that cannot show them."""
    return text.translate(_ASCII)


def term_label(term: str, variables: Collection[str] = (), name: Callable[[str], str] = str) -> str:
    """A term as a row's label: W x NAME for lags, the bare name in effects, Greek letters; variables by their labels.

    variables: names that are their own labels, whatever they look like. name: of a variable its label.
    """
    if term in variables:
        return name(term)
    head, _, rest = term.partition(":")
    if rest and head.removeprefix(LONG_RUN) in EFFECTS:
        return term_label(rest, variables, name)
    if term.startswith("w_"):
        return f"W × {term_label(term[2:], variables, name)}"
    return GREEK.get(term) or name(term)


def legend(terms: Iterable[str]) -> str:
    """What terms without a label of their own are, in a sentence; "" where there is none."""
    said = "; ".join(f"{term}: {_TERMS[term]}" for term in dict.fromkeys(terms) if term in _TERMS)
    return f"{said}." if said else ""


def model_label(model: str) -> str:
    """A model as a column's heading."""
    return _MODELS.get(model, model.upper())


def heading(model: str, transform: str | None) -> str:
    """An estimator of staggered adoption as a column's heading, with its comparison group where it has several."""
    name = _HEADINGS.get(model, model)
    return name if transform is None else f"{name}, {variant(transform)}"


def variant(transform: str) -> str:
    """Which units an estimator compares with, and how."""
    group, _, method = transform.partition(", ")
    return f"{'never treated' if group == 'never' else 'not yet treated'}{', doubly robust' if method else ''}"


def moment_label(kind: str) -> str:
    """Where z and p of a measure of autocorrelation come from, in words."""
    return _MOMENTS.get(kind, kind)


IN_BRACKETS: dict[Brackets, str] = {
    "se": "standard error", "t": "t statistic", "p": "p value", "ci": "95% interval"
}  # fmt: skip


def errors_in_brackets(brackets: Brackets) -> str:
    """What brackets hold, as a sentence on errors begins."""
    if brackets == "se":
        return "Standard errors in brackets,"
    return f"{IN_BRACKETS[brackets]}s in brackets; standard errors"


def error_note(
    kind: str, *, likelihood: bool, slx: bool = False, factor: str = "", cluster_k: str = "nonnested",
    brackets: Brackets = "se",
) -> str:  # fmt: skip
    """A sentence on an error type: what it is, its small-sample factor (or the given one) and its distribution.

    slx: whether a likelihood's fits hold an SLX, the only one with the factor of clusters. cluster_k: which parameters
    the factor of clustered errors counts. brackets: what they hold.
    """
    entry = KINDS.get(kind_of(kind))
    if kind == CHI_SQUARE:
        return "Test statistics, χ² with one degree of freedom; brackets hold their p values."
    if without_se(kind):
        restricted = "restricted " * (kind_of(kind) == "wild")
        what = "p values" if brackets == "p" else "95% intervals"
        return f"Brackets hold {what}, not standard errors: {restricted}{error_label(kind)}, its test inverted."
    said = f"{errors_in_brackets(brackets)} {error_label(kind)}"
    if factor:
        return f"{said}: {factor}"
    if likelihood:
        scores = " (scores as martingale differences)" if entry is not None and entry.sandwich else ""
        own = " but in SLX: G/(G - 1) × (n - 1)/(n - k), k without effects nested in clusters"
        but = own * (slx and kind_of(kind) == "cluster")
        return f"{said}{scores}; normal distribution, no small-sample factor{but}."
    return f"{said}{factor_text(kind, _COUNTED[cluster_k])}."
