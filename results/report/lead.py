"""Which measure and term answer a study's question, and with it the first picture of its report."""

from __future__ import annotations

from results.charts.grid import dials, lead_terms, values_of
from results.charts.measure import MEASURES, Measure
from results.diagnosis.diagnose import Diagnosis


def lead_of(diagnosis: Diagnosis) -> tuple[Measure, str | None]:
    """The measure and term of the first claim that a picture can show.

    None for a term: each estimator's first, where the claim is about all of these.
    Of a study that states none: size where every truth is 0, power where a dial takes the truth through several values
    from 0 on, bias else.
    """
    firsts = set(lead_terms(diagnosis).values())
    for claim in diagnosis.claims:
        for term in claim.terms if firsts - set(claim.terms) and claim.terms else (None,):
            if claim.measure in MEASURES and values_of(diagnosis, MEASURES[claim.measure], lead_terms(diagnosis, term)):
                return MEASURES[claim.measure], term
    terms = lead_terms(diagnosis)
    truths = values_of(diagnosis, MEASURES["truth"], terms)
    if not truths or not values_of(diagnosis, MEASURES["power"], terms):
        return MEASURES["bias" if values_of(diagnosis, MEASURES["bias"], terms) else "mean_estimate"], None
    if all(value.null for value in truths):
        return MEASURES["size"], None
    levels = {value.value for value in truths if value.place[1] == truths[0].place[1]}
    numbers = [dial for dial in dials(diagnosis.cells) if dial.is_number and len(dial.values) > 2]
    through = any(value.null for value in truths) and len(levels) > 2 and bool(numbers)
    return MEASURES["power" if through else "bias"], None
