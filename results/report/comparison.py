"""What two stores say of the same things, as the terminal prints it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.diagnosis.comparison import Comparison
from results.report.bias_table import key_terms
from results.store.store import Store
from sim.errors import listed

FAR = 4.0  # Monte Carlo errors by which a difference is marked
MOST_ROWS = 60  # of a table without --all
WORDS = {"estimate": "mean estimate", "mean_se": "mean SE"}


def print_comparison(found: Comparison, a: Store, b: Store, console: Console, *, everything: bool = False) -> None:
    """Print which cells are paired, what one store lacks, and a table of differences.

    everything: all terms and rows; without it the terms a reader looks at first, and only marked rows of a long table.
    """
    for line in sentences(found):
        console.print(line, markup=False, soft_wrap=True)
    table = found.frame if everything else shown(found.frame, a)
    marked = table[far(table)]
    rows = marked if len(table) > MOST_ROWS and not everything else table
    for position in sorted(set(rows["cell"])):
        pair = found.cells[position]
        name = ", ".join(f"{dial} = {value}" for dial, value in a.cells[pair.a].items()) or "the only cell"
        console.print(Text(f"\n{name}", style="bold"), Text(" (unpaired)" if pair.why else " (paired)"), sep="")
        console.print(_table(rows[rows["cell"] == position]))
    same = int((table["difference"] == 0).sum())
    console.print(f"\n{len(table):,} numbers: {same:,} are equal, {len(marked):,} differ by more than {FAR:g} Monte "
                  f"Carlo errors (!){'; --all shows the others too' if rows is not table else ''}.", markup=False,
                  soft_wrap=True)  # fmt: skip


def shown(frame: pd.DataFrame, a: Store) -> pd.DataFrame:
    """The rows of terms that a reader looks at first; the mean estimate only where there is no bias."""
    key = {(name, term) for name, layout in a.layouts.items() for term in key_terms(layout)}
    place = ["cell", "estimator", "term"]
    known = set(map(tuple, frame.loc[frame["measure"] == "bias", place].values.tolist()))
    rows = [
        (row["estimator"], row["term"]) in key
        and not (row["measure"] == "estimate" and (row["cell"], row["estimator"], row["term"]) in known)
        for row in frame.to_dict("records")
    ]
    return frame[pd.Series(rows, index=frame.index, dtype=bool)]


def far(frame: pd.DataFrame) -> pd.Series:
    """Whether a difference is larger than `FAR` Monte Carlo errors, or exact and not 0."""
    return (frame["difference"].abs() > FAR * frame["mcse"].fillna(math.inf)) & (frame["difference"] != 0)


def sentences(found: Comparison) -> Iterator[str]:
    """How many cells are paired, why others are not, and what one store lacks."""
    paired = sum(not pair.why for pair in found.cells)
    if paired:
        yield f"{_cells(paired)} paired: the draws are common, so B - A is taken replication by replication"
    for why, count in Counter(pair.why for pair in found.cells if pair.why).items():
        yield f"{_cells(count)} unpaired: {why}"
    for side, lacking in (("A", found.only_a), ("B", found.only_b)):
        if lacking:
            yield f"only in {side}: {listed(lacking)}"


def comparison_json(found: Comparison, a: Store, b: Store) -> str:
    """All of it as one JSON document (NaN as null)."""
    cells = [{"a": pair.a, "b": pair.b, "parameters": dict(a.cells[pair.a]), "paired": not pair.why, "why": pair.why}
             for pair in found.cells]  # fmt: skip
    rows = json.loads(found.frame.to_json(orient="records", double_precision=15))
    return json.dumps({"a": a.fingerprint, "b": b.fingerprint, "cells": cells, "rows": rows,
                       "only_a": list(found.only_a), "only_b": list(found.only_b)}, ensure_ascii=False)  # fmt: skip


def _cells(count: int) -> str:
    return f"{count:,} cell{'s are' if count != 1 else ' is'}"


def _table(rows: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("estimator", "term", "errors", "measure", "A", "B", "B - A (MCSE)", "fits A, B"):
        table.add_column(heading, justify="left" if heading in {"estimator", "term", "errors", "measure"} else "right")
    marks = far(rows).tolist()
    for row, mark in zip(rows.to_dict("records"), marks, strict=True):
        name = WORDS.get(str(row["measure"]), str(row["measure"]))
        numbers = [_number(float(row[key])) for key in ("a", "b", "difference", "mcse")]
        change = "0 (same)" if row["difference"] == 0 and row["mcse"] == 0 else f"{numbers[2]} ({numbers[3]})"
        texts = [str(row["estimator"]), str(row["term"]), str(row["error"]), name, numbers[0], numbers[1],
                 change + "!" * bool(mark), f"{row['n_a']:,}, {row['n_b']:,}"]  # fmt: skip
        table.add_row(*map(Text, texts))
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"
