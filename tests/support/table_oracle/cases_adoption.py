"""Known numbers of tables S to S4, and what these tables must print of them."""

from __future__ import annotations

from table_oracle.book import Book, Where
from table_oracle.sheets import Line, Sheet
from table_oracle.wording import (
    ERRORS,
    LINEAR,
    STARS,
    TREATMENT,
    Asked,
    above,
    below,
    four,
    kinds,
    of_term,
    pair,
    said,
    sizes,
    whole,
)

ESTIMATORS = (
    Where("S", 1, "did"), Where("S", 2, "event-study"), Where("S", 3, "callaway-santanna", "never"),
    Where("S", 4, "callaway-santanna", "not-yet, dr"), Where("S", 5, "imputation"), Where("S", 6, "two-stage"),
    Where("S", 7, "sun-abraham"), Where("S", 8, "stacked"),
)  # fmt: skip
HEADS = (
    ("", "(1)", "Two-way DID"), ("", "(2)", "Event study"), ("Callaway-Sant'Anna", "(3)", "never treated"),
    ("Callaway-Sant'Anna", "(4)", "not yet treated, doubly robust"), ("", "(5)", "Imputation"),
    ("", "(6)", "Two-stage"), ("", "(7)", "Sun-Abraham"), ("", "(8)", "Stacked"),
)  # fmt: skip
AVERAGES = {
    "overall": "ATT, unit-periods alike", "overall:event": "ATT, event times alike",
    "overall:cohort": "ATT, cohorts by size", "overall:calendar": "ATT, periods alike",
}  # fmt: skip
EVENTS = {-2: "-2", 0: "0", 1: "+1"}
BACON, SWITCH, ROTH = Where("S2", 1, "goodman-bacon"), Where("S2", 4, "dcdh"), Where("S2", 5, "roth")
WEIGHTS = (Where("S2", 2, "dcdh-weights"), Where("S2", 3, "dcdh-weights", "controls"))
BACON_KINDS = {
    "treated v never": "Treated v never treated", "earlier v later": "Earlier v later cohort",
    "later v earlier": "Later v earlier cohort",
}  # fmt: skip
OF_WEIGHTS = {
    "coefficient": "Two-way coefficient", "cells": "Treated unit-periods",
    "negative_share": "Share with a negative weight", "negative_sum": "Sum of the negative weights",
    "sensitivity": "SD of effects, mean may be 0", "reversal": "SD of effects, all reversed",
}  # fmt: skip
OF_POWER = {
    "slope": "Slope per period", "bias_untested": "Mean bias, without a test", "bias_passed": "Mean bias, test passed",
    "bayes_factor": "Bayes factor of passing", "likelihood_ratio": "Likelihood ratio",
}  # fmt: skip


def staggered(book: Book) -> None:
    for where in ESTIMATORS:
        events = (-2, -1, 0, 1) if where.model in ("imputation", "two-stage") else (-2, 0, 1)
        terms = ("did",) if where.model == "did" else (*AVERAGES, *(f"event({event})" for event in events))
        book.fit(where, terms, LINEAR)
        book.say(where, treated_units=float(book.count()), cohorts=float(book.count()))
        if where.model != "did":
            book.say(where, pretrend_p=book.share(), pretrend_hotelling_p=book.share(), uniform=book.number())
        if where.transform is not None:
            book.say(where, cells=float(book.count()), left_out=float(book.count()))


def print_staggered(book: Book, asked: Asked) -> list[Sheet]:
    lines: list[Line] = []
    for term, label in AVERAGES.items():
        shown = [book.get(where, "did" if (where.model, term) == ("did", "overall") else term, asked.shown(where))
                 for where in ESTIMATORS]  # fmt: skip
        lines += pair(label, shown)
    lines.append(("Periods since adoption", None))
    for event, label in ((-2, "-2"), (-1, "-1"), (0, "0"), (1, "+1")):
        number, brackets = of_term(book, asked, ESTIMATORS, f"event({event})", label)
        if event == -1:
            reference = ("", "ref.", "ref.", "ref.", None, None, "ref.", "ref.")
            assert number[1] is not None
            number = label, tuple(a if b is None else b for a, b in zip(number[1], reference, strict=True))
        lines += [number, brackets]
    lines += [
        ("Compared with", ("all", "all", "never", "not yet", "untreated", "untreated", "never", "not yet")),
        ("Controls", ("yes", "yes", "no", "yes", "yes", "yes", "yes", "yes")),
        *said(book, ESTIMATORS, "pretrend_p", "Pre-trends, p"),
        *said(book, ESTIMATORS, "pretrend_hotelling_p", "Pre-trends, p (Hotelling)"),
        *said(book, ESTIMATORS, "uniform", "Uniform critical value"), *sizes(book, ESTIMATORS),
        *said(book, ESTIMATORS, "treated_units", "Treated units", whole),
        *said(book, ESTIMATORS, "cohorts", "Cohorts", whole),
        *said(book, ESTIMATORS, "cells", "Cohort-periods used", whole),
        *said(book, ESTIMATORS, "left_out", "Cohort-periods left out", whole), *kinds(asked, ESTIMATORS),
    ]  # fmt: skip
    title = "Table S. Staggered adoption: growth on park"
    return [Sheet(title, HEADS, tuple(lines), *_notes(asked, ESTIMATORS[0]))]


def _notes(asked: Asked, where: Where) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kind = ERRORS[asked.shown(where)]
    return (TREATMENT, f"Standard errors in brackets, {kind}: factor", STARS, asked.square_data), (kind,)


def comparisons(book: Book) -> None:
    for kind in BACON_KINDS:
        book.say(BACON, kind, weight=book.number(), mean=-book.number(), comparisons=float(book.count()))
    book.say(BACON, twfe=book.number())
    for where in WEIGHTS:
        book.say(where, **{name: float(book.count()) if name == "cells" else book.number() for name in OF_WEIGHTS
                           if (name, where.column) != ("reversal", 3)})  # fmt: skip
    book.fit(SWITCH, ("event(0)", "placebo"), LINEAR)
    book.say(SWITCH, switchers=float(book.count()))
    for power in ("0.5", "0.8"):
        book.say(ROTH, power, **{name: book.number() for name in OF_POWER})
    book.say(ROTH, size=book.number(), mean_effect=book.number(), before=3.0, after=5.0)


def print_comparisons(book: Book, asked: Asked) -> list[Sheet]:
    data = asked.square_data
    lines: list[Line] = []
    for kind, label in BACON_KINDS.items():
        weight, mean, count = (book.value(BACON, name, kind) for name in ("weight", "mean", "comparisons"))
        lines.append((label, (four(weight), four(mean), whole(count))))
    total = sum(book.value(BACON, "comparisons", kind) or 0.0 for kind in BACON_KINDS)
    lines.append(("Two-way coefficient", ("1.0000", four(book.value(BACON, "twfe")), whole(total))))
    heads = tuple(("", "", label) for label in ("Weight", "Mean estimate", "Comparisons"))
    title = "Table S2. What the two-way coefficient compares: growth on park, without controls"
    bacon = Sheet(title, heads, tuple(lines), ("Goodman-Bacon (2021)", data))
    lines = []
    for name, label in OF_WEIGHTS.items():
        values = [book.value(where, name) for where in WEIGHTS]
        cells = tuple("none" if x is None else whole(x) if name == "cells" else four(x) for x in values)
        lines.append((label, cells))
    heads = (("", "", "without controls"), ("", "", "with controls"))
    weights = Sheet("Table S2. Weights of the two-way coefficient: growth on park", heads, tuple(lines), (data,))
    return [bacon, weights, _switch(book, asked), _power(book, data)]


def _switch(book: Book, asked: Asked) -> Sheet:
    lines = [*of_term(book, asked, [SWITCH], "event(0)", "Period of the switch"),
             *of_term(book, asked, [SWITCH], "placebo", "One period before"),
             *said(book, [SWITCH], "switchers", "Switches", whole), *sizes(book, [SWITCH])]  # fmt: skip
    title = "Table S2. Effect in the period of a switch: growth on park"
    return Sheet(title, (("", "", "DID_M"),), tuple(lines), *_notes(asked, SWITCH))


def _power(book: Book, data: str) -> Sheet:
    lines = tuple((label, tuple(four(book.value(ROTH, name, power)) for power in ("0.5", "0.8")))
                  for name, label in OF_POWER.items())  # fmt: skip
    size, mean = (four(book.value(ROTH, name)) for name in ("size", "mean_effect"))
    says = ("the test of 3 event times before adoption", f"fail the test with probability {size}.",
            f"over the 5 event times from adoption on, whose mean estimate is {mean}.", data)  # fmt: skip
    heads = (("", "", "power 0.5"), ("", "", "power 0.8"))
    return Sheet("Table S2. What the test of pre-trends can find: growth on park", heads, lines, says)


BOUNDED = ("event(0)", "mean of event(0) to event(1)")
RESTRICTIONS = {"relative magnitudes": "Relative magnitudes", "smoothness": "Smoothness"}
SCALES = {"relative magnitudes": 1.0, "smoothness": 0.5}
GRID = ("0", "0.5", "1")


def _bounds(column: int, restriction: str) -> Where:
    return Where("S3", column, "honest", restriction, BOUNDED[column - 1])


def bounds(book: Book) -> None:
    for column in (1, 2):
        original = {"original_lower": -book.number(), "original_upper": book.number()}
        for restriction, scale in SCALES.items():
            where = _bounds(column, restriction)
            book.say(where, **original, breakdown=scale * book.number(), scale=scale)
            for m in GRID:
                known = (column, restriction, m) != (2, "smoothness", "1")
                book.say(where, m, lower=-book.number() if known else None, upper=book.number() if known else None)


def _between(lower: float | None, upper: float | None) -> str:
    return "none" if lower is None or upper is None else f"[{lower:.4f}, {upper:.4f}]"


def print_bounds(book: Book, asked: Asked) -> list[Sheet]:
    first = [_bounds(column, "relative magnitudes") for column in (1, 2)]
    original = tuple(
        _between(book.value(where, "original_lower"), book.value(where, "original_upper")) for where in first
    )
    lines: list[Line] = [("Parallel trends", original)]
    for restriction, label in RESTRICTIONS.items():
        wheres = [_bounds(column, restriction) for column in (1, 2)]
        lines.append((label, None))
        for m in GRID:
            cells = tuple(_between(book.value(where, "lower", m), book.value(where, "upper", m)) for where in wheres)
            lines.append((f"M = {m}", cells))
        found = [book.value(where, "breakdown") for where in wheres]
        lines.append(("breakdown M", tuple(four((value or 0.0) / SCALES[restriction]) for value in found)))
    heads = tuple(("", "", label) for label in BOUNDED)
    says = ("95% intervals of Rambachan and Roth (2023).", asked.square_data)
    return [Sheet("Table S3. Bounds when trends may differ: growth on park", heads, tuple(lines), says)]


NEIGHBOURS = (Where("S4", 1, "spatial-did", weights="ring"), Where("S4", 2, "rings"))
SPILLS = {
    "did": "DID", "w_did": "W × DID", "untreated:0-100": "Untreated, other at 0-100 km",
    "treated:0-100": "Treated, other at 0-100 km", "att": "Effect on the treated",
    "spill:treated": "of it through others", "spill:untreated": "Spillover on the untreated",
    "did_bias": "Bias of DID without it",
}  # fmt: skip


def spillovers(book: Book) -> None:
    after = ("att", "spill:treated", "spill:untreated", "did_bias")
    book.fit(NEIGHBOURS[0], ("did", "w_did", *after), LINEAR)
    book.fit(NEIGHBOURS[1], ("did", "untreated:0-100", "treated:0-100", *after), LINEAR)
    for where in NEIGHBOURS:
        book.say(where, unexposed=book.number(), **{"vif:did": book.number()})


def print_spillovers(book: Book, asked: Asked) -> list[Sheet]:
    lines: list[Line] = []
    for term, label in SPILLS.items():
        items = [book.get(where, term, asked.shown(where)) for where in NEIGHBOURS]
        lines += [(label, tuple(above(item) for item in items)), ("", tuple(below(item) for item in items))]
    lines += said(book, NEIGHBOURS, "vif:did", "VIF of DID")
    lines += said(book, NEIGHBOURS, "unexposed", "Untreated unexposed, share") + sizes(book, NEIGHBOURS)
    heads = (("Neighbours' treatment", "(1)", "W ring"), ("Rings", "(2)", "by distance"))
    kind = ERRORS[asked.shown(NEIGHBOURS[0])]
    says = (TREATMENT, f"Standard errors in brackets, {kind}: ", "Two-way DID with the controls", STARS,
            asked.square_data)  # fmt: skip
    return [Sheet("Table S4. Local spillovers: growth on park", heads, tuple(lines), says, (kind,))]
