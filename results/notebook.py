"""What a diagnosis says of itself, as text and in a notebook."""

from __future__ import annotations

import math
from typing import Any

from estimators.core.inference import usual_error
from results.diagnosis.diagnose import Diagnosis
from results.report.answer import answer
from results.report.bias_table import key_terms
from results.store.labelled import label
from sim.errors import listed
from sim.notebook import MOST_ROWS, Text, card

HEADS = {"truth": "truth", "bias": "bias", "empirical_se": "empirical s.e.", "mean_se": "mean s.e.",
         "coverage": "coverage", "rejection": "rejection"}  # fmt: skip


def diagnosis_card(diagnosis: Diagnosis) -> str:
    """What was held fixed, and of each cell and estimator the key term's measures."""
    dials = list(dict.fromkeys(name for cell in diagnosis.cells for name in cell))
    heads = (*dials, "estimator", "term", *HEADS.values())
    rows = [(*(label(diagnosis.cells[row["cell"]].get(name)) for name in dials), row["estimator"], row["term"],
             *(row[name] for name in HEADS)) for row in _overview(diagnosis)]  # fmt: skip
    facts = [
        ("cells", len(diagnosis.cells)),
        ("estimators", listed(diagnosis.layouts, 8)),
        ("level of tests", f"{100 * diagnosis.alpha:g}%"),
        ("held fixed", ", ".join(diagnosis.held_fixed)),
    ]
    return card("Diagnosis", facts, heads, rows, answer=answer_sentences(diagnosis))


def diagnosis_text(diagnosis: Diagnosis) -> Text:
    """The answer in sentences, then one line a cell and estimator."""
    import pandas as pd

    dials = list(dict.fromkeys(name for cell in diagnosis.cells for name in cell))
    rows = _overview(diagnosis)
    named = [{name: label(diagnosis.cells[row["cell"]].get(name)) for name in dials} | row for row in rows]
    table = pd.DataFrame(named, columns=[*dials, "estimator", "term", *HEADS]).rename(columns=HEADS)
    lines = table.to_string(index=False, float_format="{:.4g}".format, na_rep="", max_rows=MOST_ROWS)
    return Text("\n".join([*answer_sentences(diagnosis), "", lines]).strip())


def _overview(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Of each cell and estimator the key term: measures without error types, and with the usual one."""
    terms = {name: key_terms(layout)[0] for name, layout in diagnosis.layouts.items()}
    errors = {name: usual_error(layout.errors) for name, layout in diagnosis.layouts.items()}
    frame = diagnosis.frame[(diagnosis.frame["sample"] == "own") & diagnosis.frame["measure"].isin(set(HEADS))]
    found: dict[tuple[int, str], dict[str, Any]] = {}
    columns = (frame[name].tolist() for name in ("cell", "estimator", "term", "error", "measure", "value"))
    for cell, name, term, error, measure, value in zip(*columns, strict=True):
        if terms[name] == term and error in ("", errors[name]):
            blank = {"cell": cell, "estimator": name, "term": term} | dict.fromkeys(HEADS, math.nan)
            found.setdefault((cell, name), blank)[measure] = value
    return list(found.values())


def answer_sentences(diagnosis: Diagnosis) -> list[str]:
    """What the study finds: failed fits first, a sentence a claim, then what a reader must know beside it."""
    found = answer(diagnosis)
    return [*found.sentences, *found.notes]
