"""W that is not what its file was meant to say: pairs named once, links without their reverse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.checks.case import Case
from experiments.panel_spec.weights import ContiguitySpec, File
from results.tables.records import OVERTURNS, SILENT, WEAKENS, Check

NAME = "W as its file has it"
ORDER = 30


def check(case: Case) -> Iterator[Check]:
    """Every W that a file or a map gives: whether links go both ways, as those of neighbours on a map do.

    Links to the nearest unit of an island do not. A W whose rows differ in their weights, or that links all units to
    equally many others, is no contiguity.
    """
    for section in case.real.spec.weights:
        weights = case.panel.weights.get(section.label)
        if weights is None or not isinstance(section, ContiguitySpec | File):
            continue
        linked = np.asarray(weights.matrix.toarray() != 0)
        place = {unit: i for i, unit in enumerate(weights.units)}
        for unit, nearest in weights.attached:
            linked[place[unit], place[nearest]] = False
        count, both = int(linked.sum()), int((linked & linked.T).sum())
        named = float((linked | linked.T).any(axis=1).sum())
        numbers = {"links": float(count), "both_ways": float(both), "neighbours": count / max(named, 1.0),
                   "neighbours_both_ways": float((linked | linked.T).sum()) / max(named, 1.0)}  # fmt: skip
        name, few, many = weights.name, numbers["neighbours"], numbers["neighbours_both_ways"]
        if count and not both:
            said = (
                f"Weights {name}: the file names each pair once and no link goes both ways, which gives {few:.1f} "
                f"neighbours a unit instead of {many:.1f}. Name each pair in both directions."
            )
            yield Check.fact(f"pairs-once:{name}", OVERTURNS, said, "", numbers,
                             remedy="name each pair in both directions")  # fmt: skip
            continue
        said = (
            f"Weights {name}: {count - both} of {count} links have no reverse link, although all weights of a unit are "
            "equal, as in contiguity: check the file."
        )
        dense = weights.matrix.toarray()
        equal = (np.isclose(dense, dense.max(axis=1, keepdims=True)) | (dense == 0)).all()
        contiguity = equal and len(np.unique(linked.sum(axis=1))) > 1
        severity = WEAKENS if both < count and contiguity else SILENT
        quiet = f"Weights {name}: links go both ways, or are not those of contiguity."
        yield Check.fact(f"links:{name}", severity, said, quiet, numbers)
