"""Twelve failing plug-ins beside a sound estimator: how each run ends, in what words, and what is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path

from failing_plug_ins import FAILURES, REPLICATIONS, harmed, left, lost_fits, run_with, sound_numbers


def main() -> bool:
    """Exit codes and lines as stated, the fits of the sound estimator equal to those without the plug-in."""
    holds = True
    with tempfile.TemporaryDirectory() as name:
        sound = sound_numbers(Path(name))
        for number, (what, failure) in enumerate(FAILURES.items()):
            folder = Path(name) / str(number)
            folder.mkdir()
            ended = run_with(folder, failure)
            lost = None if ended.store is None else lost_fits(ended.store)
            good = (ended.code, lost, harmed(ended, sound), left()) == (failure.code, failure.lost, [], [])
            good &= failure.said in ended.line(failure.said)
            holds &= good
            own = REPLICATIONS - len(lost or ())
            kept = "nothing is written" if lost is None else f"{REPLICATIONS} fits of did kept, {own} of its own"
            line = ended.line(failure.said).replace(str(folder), ".")
            print(f"  {what}: exit {ended.code}; {kept}; {line.strip()}{'' if good else '  !'}", flush=True)
    return holds
