"""A pivot table as an element of a page; `results/page/tables.js` makes it sortable where scripts run."""

from __future__ import annotations

import math

from markupsafe import Markup

from results.pivots.pivot import OTHERS, Pivot, PivotCell


def pivot_html(table: Pivot) -> Markup:
    """The table: a number with its Monte Carlo error beneath; data-v holds what its column is sorted by."""
    caption = Markup("<caption>{}{}</caption>").format(
        table.title, Markup(" <small>{}</small>").format(table.fixed) if table.fixed else "")  # fmt: skip
    body = [_row(keys, cells) for keys, cells in zip(table.rows, table.cells, strict=True)]
    start = Markup('<div class="wide dense pivot" tabindex="0" role="region" aria-label="{}">\n<table id="{}" '
                   'class="sortable">').format(table.title, table.key)  # fmt: skip
    inner = Markup("{}\n<thead>{}</thead>\n<tbody>\n{}\n</tbody></table></div>").format(
        caption, _head(table), Markup("\n").join(body))  # fmt: skip
    return start + inner + Markup('\n<p class="notes">{}</p>').format(table.note)


def _head(table: Pivot) -> Markup:
    """One line of headings, of which a dial in the columns is named by a second one above."""
    names = [Markup('<th scope="col" class="left">{}</th>').format(name) for name in table.heads]
    one = len(table.across) == 1 and table.across[0] not in OTHERS
    keys = [column[0] for column in table.columns] if one else table.column_heads
    heads = [Markup('<th scope="col">{}</th>').format(key) for key in keys]
    above = Markup("")
    if one:
        blank = Markup('<td colspan="{}"></td>').format(len(names)) if names else Markup("")
        above = Markup('<tr class="over">{}<th scope="colgroup" colspan="{}" class="group"><span>{}</span></th></tr>'
                       ).format(blank, len(heads), table.across_words)  # fmt: skip
    return Markup("{}<tr>{}{}</tr>").format(above, Markup("").join(names), Markup("").join(heads))


def _row(keys: tuple[str, ...], cells: tuple[PivotCell | None, ...]) -> Markup:
    names = Markup("").join(Markup('<th scope="row" class="left">{}</th>').format(key) for key in keys)
    return Markup("<tr>{}{}</tr>").format(names, Markup("").join(map(_cell, cells)))


def _cell(cell: PivotCell | None) -> Markup:
    if cell is None:
        return Markup("<td>-</td>")
    mark = Markup('<span class="flag" title="clearly departs">!</span>') if cell.clear else Markup("")
    css = Markup(' class="off"') if cell.clear else Markup("")
    error = Markup("<small>({})</small>").format(cell.mcse) if cell.mcse else Markup("")
    value = cell.value.value
    return Markup('<td{} data-v="{}">{}{}{}</td>').format(
        css, f"{value:.8g}" if math.isfinite(value) else "", cell.number, mark, error)  # fmt: skip
