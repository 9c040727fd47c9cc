"""The race is judged: `panelproof race` on panels of six known worlds, against what estimators do there.

What estimators do is told by 20,000 panels of the world itself (`TRUTHS`; slow ones by fewer), drawn in plain numpy.
Each race is a line of runs/races/WORLD.jsonl, so that an interrupted campaign goes on; `PANELS=20` makes it shorter,
`WORLDS="factors,trend gap"` names some. The tables that it prints are those of docs/studies/races.md.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from verdict_worlds import World, walks
from verdicts import is_asked_for, lines_of, make_missing, publish, share

from cluster import prepare_process
from estimators.core.estimator import Status
from experiments.trust.claim import claim_of
from experiments.trust.race import BEYOND, LEAST_COVERAGE, MOST_BIAS, Contestant, contestants, race
from results.diagnosis.fits import fits_of
from results.store.block import Block
from sim import Streams

PANELS = int(os.environ.get("PANELS", "100"))
REPLICATIONS = int(os.environ.get("REPLICATIONS", "128"))
TRUTHS = int(os.environ.get("TRUTHS", "20000"))
FOLDER = Path(os.environ.get("RACES", "runs/races"))
PAGE = Path("docs/studies/races.md")
TILE = 500  # panels that are fitted at once
SECONDS = 60.0  # of processor time for the truth of one estimator in one world
WITHIN = 1.10  # of the least root mean squared error among valid estimators
LEAST = 0.85  # share of races whose recommended estimator is within that
TOGETHER = 2  # processes
KINDS = ("unit-trends", "imputation", "callaway-santanna", "synthetic-did", "synthetic-control", "interactive-effects")
HEAD = """# How often the advice of `race` is right

`python tests/campaigns/run.py races` draws panels of six known worlds in plain numpy, with none of the parts that twins
are made of, and races the claim's two-way DID on the twins of each panel against
{kinds};
with spillovers also against spatial-did, over the W of the panel. Each race has {replications} panels a world and
estimator. What an estimator does in a world is told by up to {truths:,} panels of the world itself, by fewer where it
is slow. It is valid there where its bias is at most half its standard deviation and its intervals cover at least 90%.

A race plants in its worlds what a 5% test tells of the panel. Where a departure is there and the test does not tell it,
the advice is that of a sound world, so that a share of races goes wrong wherever departures are not sure to be seen.
"""
HELD = "Every bar holds within two Monte Carlo errors of this many races."


@dataclass(frozen=True)
class Case:
    """A world of races. effect, drift: in effects that a DID detects in a world of parallel trends."""

    name: str
    world: World
    effect: float = 2.0
    drift: float = 0.0

    @cached_property
    def size(self) -> float:
        return self.effect * self.world.detectable()

    @cached_property
    def slope(self) -> float:
        return self.world.drift_of(self.drift * self.world.detectable()) if self.drift else 0.0

    @property
    def kinds(self) -> tuple[str, ...]:
        return (*KINDS, "spatial-did") if self.world.ring else KINDS

    def file(self, what: str) -> Path:
        return FOLDER / f"{self.name.replace(' ', '-')}.{what}"

    def races(self) -> list[dict[str, Any]]:
        return lines_of(self.file("jsonl"), PANELS)

    def make(self, upto: int, pool: ProcessPoolExecutor) -> None:
        make_missing(self.file("jsonl"), upto, lambda number: pool.submit(raced, self, number, self.size, self.slope))

    @cached_property
    def truths(self) -> dict[str, dict[str, Any]]:
        """What each estimator does in the world, by name."""
        held: dict[str, dict[str, Any]] = json.loads(self.file("json").read_text())
        return held

    @property
    def valid(self) -> dict[str, float]:
        """Root mean squared errors of the valid estimators."""
        return {name: one["rmse"] for name, one in self.truths.items()
                if abs(one["bias"]) <= MOST_BIAS * one["sd"] and one["coverage"] >= LEAST_COVERAGE}  # fmt: skip


CASES = (
    Case("parallel trends", World("parallel trends")),
    Case("factors", World("factors that select", units=60, periods=24, dates=((16, 15),), factor=1.0, selected=1.0,
                          calendar=tuple(walks(np.random.default_rng(2), 1, 24)[0].tolist()))),
    Case("trend gap", World("trend gap"), drift=2.0),
    Case("few treated", World("four treated", dates=((7, 4),))),
    Case("spillovers", World("spillovers over W", spill=0.8, ring=True), effect=4.0),
    Case("heterogeneous staggered effects", World("ramped effects", ramp=True), effect=4.0),
)  # fmt: skip


def cases() -> Iterator[Case]:
    """All, or those that are named."""
    return (case for case in CASES if is_asked_for(case.name))


def raced(case: Case, number: int, size: float, slope: float) -> dict[str, Any]:
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        found = race(case.world.real(Path(folder), number, size, slope), kinds=case.kinds, replications=REPLICATIONS)
    said = {one.estimator: (one.estimate, one.lower, one.upper) for one in found.panel if not one.left_out}
    return {"number": number, "best": found.best, "better": found.better, "valid": found.valid(found.best),
            "agree": found.agree, "worlds": list(found.worlds), "panel": said, "notes": list(found.notes),
            "seconds": time.process_time() - begin}  # fmt: skip


def truth(case: Case, size: float, slope: float) -> dict[str, dict[str, Any]]:
    """Bias, standard deviation, root mean squared error and coverage of every estimator in the world."""
    with tempfile.TemporaryDirectory() as folder:
        field, _ = contestants(claim_of(case.world.real(Path(folder), 0, size, slope)), case.kinds)
    return {name: _truth(case, one, size, slope) for name, one in field.items()}


def _truth(case: Case, one: Contestant, size: float, slope: float) -> dict[str, Any]:
    world, rng, begin = case.world, np.random.default_rng([3, *case.name.encode()]), time.process_time()
    missed, covered = [], []
    for tile in range(TRUTHS // TILE):
        panel = world.panel(world.outcome(world.noise(rng, TILE), size, slope))
        found = one.estimator(panel, Streams(1, "truth", tile * TILE, (tile + 1) * TILE))
        layout = one.estimator.layout(panel.schema)
        named = {layout.targets[one.term]: np.full(TILE, world.att(size))}
        fits = fits_of(Block(named, {"one": found}, {}, 0), "one", layout, 0.05)
        assert fits is not None
        at, ok = layout.terms.index(one.term), found.status == Status.OK
        missed.append((fits.estimate - fits.truth)[ok, at])
        covered.append(fits.covered[ok][:, :, at])
        if time.process_time() - begin > SECONDS:
            break
    miss, cover = np.concatenate(missed), np.nanmean(np.concatenate(covered), axis=0)
    printed = found.errors.index(one.printed)
    best = printed if cover[printed] >= LEAST_COVERAGE else int(np.nanargmax(cover))
    return {"bias": float(miss.mean()), "sd": float(miss.std()), "rmse": float(np.sqrt(np.square(miss).mean())),
            "coverage": float(cover[best]), "error": found.errors[best], "panels": len(miss)}  # fmt: skip


def made() -> None:
    """Every truth and every race that is missing, two at a time: a few races of each world first."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(TOGETHER, get_context("spawn"), prepare_process) as pool:
        waiting = [(case, pool.submit(truth, case, case.size, case.slope))
                   for case in cases() if not case.file("json").exists()]  # fmt: skip
        for case, future in waiting:
            case.file("json").write_text(json.dumps(future.result(), indent=1) + "\n")
        for upto in sorted({min(PANELS, count) for count in (10, 25, 50, PANELS)}):
            for case in cases():
                case.make(upto, pool)


def main() -> bool:
    """Every bar holds within 2 Monte Carlo errors. A whole campaign becomes docs/studies/races.md."""
    made()
    bad: list[str] = []
    said = ", ".join(KINDS)
    parts = [HEAD.format(kinds=said, replications=REPLICATIONS, truths=TRUTHS)]
    tables = {"Advice": _advice(bad), "What selection costs": _cost(), "What estimators do there": _estimators()}
    parts += [f"## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in tables.items()]
    parts.append("## Outside its bar\n\n" + ("\n".join(f"- {line}" for line in bad) or HELD) + "\n")
    publish("\n".join(parts), PAGE)
    return not bad


def _advice(bad: list[str]) -> Iterator[str]:
    yield "| world | races | recommended | none valid | within 10% of the best valid | biased though one is not |"
    yield "|---|---|---|---|---|---|"
    for case in cases():
        races, valid = case.races(), case.valid
        least = min(valid.values())
        unbiased = {name for name, one in case.truths.items() if abs(one["bias"]) <= MOST_BIAS * one["sd"]}
        near = [one["best"] in valid and valid[one["best"]] <= WITHIN * least for one in races]
        biased = [one["best"] not in unbiased and bool(unbiased) for one in races]
        kinds = ", ".join(f"{name} {count}" for name, count in Counter(one["best"] for one in races).most_common())
        value, error = share(near)
        good = value >= LEAST - BEYOND * error
        if not good:
            bad.append(f"{case.name}: within 10% in {value:.0%} (Monte Carlo error {error:.1%})")
        if any(biased):
            bad.append(f"{case.name}: a biased estimator is recommended in {sum(biased)} of {len(races)} races")
        none = share([not one["valid"] for one in races])[0]
        yield (f"| {case.name} | {len(races)} | {kinds} | {none:.0%} | {value:.0%}{'' if good else ' !'} | "
               f"{share(biased)[0]:.0%} |")  # fmt: skip


def _cost() -> Iterator[str]:
    """Coverage of the effect by the interval of the recommended estimator on the panel that it was chosen for."""
    yield "| world | the recommended one covers | the best valid one, fixed beforehand | the claim's own DID |"
    yield "|---|---|---|---|"
    every: list[list[bool]] = [[], [], []]
    for case in cases():
        races, valid, effect = case.races(), case.valid, case.world.att(case.size)
        best = min(valid, key=lambda name: valid[name])
        cells = []
        for at, names in enumerate(([one["best"] for one in races], [best] * len(races), ["did"] * len(races))):
            hits = [one["panel"][name][1] <= effect <= one["panel"][name][2]
                    for one, name in zip(races, names, strict=True)]  # fmt: skip
            every[at] += hits
            cells.append(f"{share(hits)[0]:.0%}")
        cells[1] += f" ({best})"
        yield f"| {case.name} | {' | '.join(cells)} |"
    yield "| all | " + " | ".join(f"{share(hits)[0]:.1%} ({share(hits)[1]:.1%})" for hits in every) + " |"


def _estimators() -> Iterator[str]:
    yield "| world | estimator | bias | standard deviation | RMSE | coverage | errors | panels | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for case in cases():
        for name, one in sorted(case.truths.items(), key=lambda item: item[1]["rmse"]):
            said = "valid" if name in case.valid else ""
            yield (f"| {case.name} | {name} | {one['bias']:.3f} | {one['sd']:.3f} | {one['rmse']:.3f} | "
                   f"{one['coverage']:.1%} | {one['error']} | {one['panels']:,} | {said} |")  # fmt: skip
