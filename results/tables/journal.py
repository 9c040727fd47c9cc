"""A document as the tables of a paper: the one place that says which tables there are and in which order."""

from __future__ import annotations

from dataclasses import replace

from results.tables.adoption_tables import bounds, comparisons, spillovers, staggered
from results.tables.appendix import agreement, balance, confounded_mediation, every_error, every_moment, local_clusters
from results.tables.effect_tables import baseline, checks, descriptives, mediation, robustness, subsamples
from results.tables.journal_table import JournalTable
from results.tables.records import Document
from results.tables.setting import Setting, error_types
from results.tables.space_tables import autocorrelation, predictions, spatial_models
from sim.errors import bad, one_of

LAYOUTS = (
    descriptives, baseline, checks, subsamples, mediation, autocorrelation, spatial_models, staggered,
    comparisons, bounds, spillovers, robustness, agreement, every_error, predictions, confounded_mediation,
    every_moment, local_clusters, balance,
)  # fmt: skip


def journal_tables(document: Document, errors: str | None = None) -> tuple[JournalTable, ...]:
    """All tables of a document, those of the appendix last and numbered A1, A2, ...

    errors: the error type to show where a fit has it (default: clustered);
    raises BadInput when no fit has it.
    """
    known = error_types(document)
    if errors is not None and errors not in known:
        raise bad(f"error type {errors!r}", where="--errors", allowed=one_of(known),
                  remedy="choose one that the tables have, or add it to errors in [inference]")  # fmt: skip
    setting = Setting(document, errors)
    tables = [table for layout in LAYOUTS for table in layout(setting)]
    main = [table for table in tables if not table.appendix]
    behind = [table for table in tables if table.appendix]
    return (*main, *(replace(table, name=f"A{number}") for number, table in enumerate(behind, start=1)))
