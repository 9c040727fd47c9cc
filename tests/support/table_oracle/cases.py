"""Every layout of the program by the name of its function: its known numbers, and what it must print, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from string import ascii_lowercase

from table_oracle import cases_adoption as adoption
from table_oracle import cases_linear as linear
from table_oracle import cases_space as space
from table_oracle.book import Book
from table_oracle.sheets import Sheet
from table_oracle.wording import FACTS, PART, Asked


@dataclass(frozen=True)
class Case:
    """fill adds a layout's known numbers to a book; sheets are the tables that it must print of the whole book."""

    fill: Callable[[Book], None]
    sheets: Callable[[Book, Asked], list[Sheet]]


CASES = {  # in the order in which tables are printed; a new table needs a line here
    "descriptives": Case(linear.descriptives, linear.print_descriptives),
    "baseline": Case(linear.baseline, linear.print_baseline),
    "checks": Case(linear.checks, linear.print_checks),
    "subsamples": Case(linear.subsamples, linear.print_subsamples),
    "mediation": Case(linear.mediation, linear.print_mediation),
    "autocorrelation": Case(space.autocorrelation, space.print_autocorrelation),
    "spatial_models": Case(space.spatial_models, space.print_spatial_models),
    "staggered": Case(adoption.staggered, adoption.print_staggered),
    "comparisons": Case(adoption.comparisons, adoption.print_comparisons),
    "bounds": Case(adoption.bounds, adoption.print_bounds),
    "spillovers": Case(adoption.spillovers, adoption.print_spillovers),
    "robustness": Case(linear.robustness, linear.print_robustness),
    "agreement": Case(space.agreement, space.print_agreement),
    "every_error": Case(space.every_error, space.print_every_error),
    "predictions": Case(space.predictions, space.print_predictions),
    "confounded_mediation": Case(linear.confounded, linear.print_confounded),
    "every_moment": Case(space.every_moment, space.print_every_moment),
    "local_clusters": Case(space.local_clusters, space.print_local_clusters),
    "balance": Case(linear.balance, linear.print_balance),
}

UNBALANCED = "Synthetic data, 31 units × 9 periods, 2001-2009, unbalanced."
BALANCED_PART = "Synthetic data, 29 units × 7 periods, 2003-2009, its balanced part."
ASKED = (
    Asked("usual"),
    Asked("iid", "iid"),
    Asked("hc1", "hc1"),
    Asked("hessian", "hessian"),
    Asked("clustered", "cluster:unit"),
    Asked("wild", "wild:unit"),
    Asked("unbalanced", None, UNBALANCED, BALANCED_PART,
          (("balanced", False), ("synthetic", True), ("balanced_part", PART))),
)  # fmt: skip


def whole_book() -> Book:
    """The known numbers of all layouts."""
    book = Book()
    for case in CASES.values():
        case.fill(book)
    return book


def sheets_of(book: Book, asked: Asked) -> dict[str, list[Sheet]]:
    """What every layout must print, those of the appendix numbered A1, A2, ... in the order of layouts."""
    found: dict[str, list[Sheet]] = {}
    number = 0
    for name, case in CASES.items():
        found[name] = []
        for sheet in case.sheets(book, asked):
            number += sheet.appendix
            named = f"Table A{number}. {sheet.caption}" if sheet.appendix else sheet.caption
            found[name].append(replace(sheet, caption=named))
    return _lettered(found)


def _lettered(found: dict[str, list[Sheet]]) -> dict[str, list[Sheet]]:
    """Tables that share a number, told apart by letters in their order."""
    numbers = [sheet.caption.partition(".")[0] for sheets in found.values() for sheet in sheets]
    letters = {number: iter(ascii_lowercase) for number in numbers if numbers.count(number) > 1}

    def own(sheet: Sheet) -> Sheet:
        number, _, title = sheet.caption.partition(".")
        return replace(sheet, caption=f"{number}{next(letters[number])}.{title}") if number in letters else sheet

    return {name: [own(sheet) for sheet in sheets] for name, sheets in found.items()}


def facts_of(asked: Asked) -> dict[str, object]:
    """The panel's facts in a document."""
    return {**FACTS, **dict(asked.facts)}
