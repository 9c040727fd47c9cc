"""What a report says of a study besides its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from results.diagnosis.diagnose import Diagnosis
from results.page import SYNTHETIC
from results.plots.grid import MEASURES, ShownMeasure, dials, lead_terms, values_of
from results.text import bracketed, fixed, level, share_text
from results.verdict.answer import Answer
from results.verdict.verdicts import Grade, worst_first
from results.verdict.wording import first_rows, key_terms, percent

# Which measure and term answer a study's question, and which picture its page opens with.


def lead_of(diagnosis: Diagnosis) -> tuple[ShownMeasure, str | None]:
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


def opened_by(diagnosis: Diagnosis, found: Answer) -> tuple[ShownMeasure, str | None]:
    """The measure and term of the first picture of a page: of the worst of the first failing claim, else `lead_of`."""
    failing = [item for part in found.claims for item in worst_first(part.verdicts) if item.grade is Grade.FAILS]
    firsts = lead_terms(diagnosis)
    for item in failing:
        term = None if firsts.get(item.estimator) == item.term else item.term
        if item.measure in MEASURES and values_of(diagnosis, MEASURES[item.measure], lead_terms(diagnosis, term)):
            return MEASURES[item.measure], term
    return lead_of(diagnosis)


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """The study behind a diagnosis.

    study: its name. question: what it asks. expected: the answer that is expected, and why.
    description: anything else, plain text. seed, fingerprint: its identity.
    synthetic: whether its data were drawn from a design (and not re-randomised from a real panel). provenance: facts of
    the run by name (versions, machine, dates). toml: the study as TOML. done, blocks: how many of its blocks are there,
    and how many it has. environments: every code and machine that computed some of its blocks. stopped: at which target
    its cells stopped, in one line; "" where there was none.
    """

    study: str
    question: str = ""
    description: str = ""
    seed: int | None = None
    fingerprint: str = ""
    synthetic: bool = True
    provenance: Mapping[str, object] = field(default_factory=dict)
    toml: str = ""
    done: int = 0
    blocks: int = 0
    environments: tuple[str, ...] = ()
    expected: str = ""
    stopped: str = ""

    @property
    def incomplete(self) -> str:
        """What is missing, in one line; "" where nothing is."""
        if self.done >= self.blocks:
            return ""
        there = f"{self.done:,} of {self.blocks:,} blocks {'is' if self.done == 1 else 'are'} finished"
        return f"incomplete: {there}; the same run command resumes the study"

    @property
    def mixed(self) -> str:
        """That its blocks come from different code or machines, in one line; "" where they do not."""
        if len(self.environments) < 2:
            return ""
        return f"the blocks come from {len(self.environments)} environments: {' | '.join(self.environments)}"

    @property
    def warnings(self) -> list[str]:
        """What makes its numbers doubtful as a whole."""
        return [line for line in (self.incomplete, self.mixed) if line]

    @property
    def data_statement(self) -> str:
        """One sentence on where the data come from."""
        if self.synthetic:
            return SYNTHETIC
        return "The data are re-randomised from a real panel."


# Tests beside the terms, such as one of pre-trends: how often they reject, and what estimates are worth that pass.


REJECTION = "rejection:"
NOT_JUDGED = (
    "Rejections by tests beside the terms are never marked, because the report does not know where their "
    "null hypothesis is true."
)


def side_tests(diagnosis: Diagnosis) -> list[tuple[int, str, str, str]]:
    """(cell, estimator, test, how often it rejects in percent) of every test that was made, in their order."""
    frame = diagnosis.frame[diagnosis.frame["measure"].str.startswith(REJECTION) & (diagnosis.frame["n"] > 0)]
    columns = ("cell", "estimator", "measure", "value", "mcse", "lower", "upper")
    return [
        (cell, name, measure.removeprefix(REJECTION).removesuffix("_p"), share_text(*share))
        for cell, name, measure, *share in zip(*(frame[key] for key in columns), strict=True)
    ]


def passing_fits(diagnosis: Diagnosis) -> Iterator[tuple[int, str, str]]:
    """(cell, estimator, a sentence on bias and coverage of its first term over the fits that pass its screen)."""
    passing, own = first_rows(diagnosis, "passing"), first_rows(diagnosis, "own")
    for cell in range(len(diagnosis.cells)):
        for name, layout in diagnosis.layouts.items():
            place = cell, name, key_terms(layout)[0]
            if layout.screen and place in own and place in passing and passing[place]["n"]:
                test = layout.screen.removesuffix("_p")
                yield cell, name, _sentence(passing[place], own[place], test, diagnosis.alpha)


def _sentence(passing: dict[Any, Any], own: dict[Any, Any], test: str, alpha: float) -> str:
    form = fixed((own["truth"], own["mean_estimate"]), passing["bias_mcse"])
    fits, term = f"{int(passing['n']):,}", passing["term"]
    bias, of_all = (bracketed(row["bias"], row["bias_mcse"], form) for row in (passing, own))
    covered, by_all = (percent(row, "coverage") for row in (passing, own))
    return (f"in the {fits} fits that pass {test}, the bias of {term} is {bias} (all fits: {of_all}) and "
            f"{level(1 - alpha)} intervals cover {covered} (all fits: {by_all})")  # fmt: skip
