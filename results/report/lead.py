"""Which measure answers a study's question, and with it the first picture of its report."""

from __future__ import annotations

from results.charts.grid import dials, lead_terms, values_of
from results.charts.measure import MEASURES, Measure
from results.diagnosis.diagnose import Diagnosis


def lead_measure(diagnosis: Diagnosis) -> Measure:
    """Size where every truth is 0, power where a dial takes it through several values, coverage or bias else."""
    terms = lead_terms(diagnosis)
    truths = values_of(diagnosis, MEASURES["truth"], terms)
    tests = values_of(diagnosis, MEASURES["power"], terms)
    if not truths or not tests:
        known = values_of(diagnosis, MEASURES["bias"], terms)
        return MEASURES["bias" if known else "mean_estimate"]
    if all(value.null for value in truths):
        return MEASURES["size"]
    levels = {value.value for value in truths if value.place[1] == truths[0].place[1]}
    numbers = [dial for dial in dials(diagnosis.cells) if dial.is_number and len(dial.values) > 2]
    through = any(value.null for value in truths) and len(levels) > 2 and bool(numbers)
    return MEASURES["power"] if through else MEASURES["bias"]
