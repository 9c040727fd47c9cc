"""What a report says of a study besides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from results.page import SYNTHETIC


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
