"""The judge is judged: pages of `panelproof trust` on panels of known worlds, inside the twins' family and outside it.

Each page is a line of runs/verdicts/WORLD.jsonl, so that an interrupted campaign goes on; `PANELS=50` makes it shorter,
`WORLDS="staggered,common"` names some. The tables that it prints are those of docs/studies/verdicts.md.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from verdict_worlds import WORLDS, World

from cluster import prepare_process
from experiments.trust.document import document
from experiments.trust.trust import trust

PANELS = int(os.environ.get("PANELS", "200"))
REPLICATIONS = int(os.environ.get("REPLICATIONS", "256"))
FOLDER = Path(os.environ.get("PAGES", "runs/verdicts"))
PAGE = Path("docs/studies/verdicts.md")
HEAD = """# How often the verdicts of `trust` are right

`python tests/campaigns/run.py verdicts` draws panels of known worlds in plain numpy, with none of the parts that twins
are made of, and makes the page of `panelproof trust` for each. Worlds differ in size (50 x 10, 100 x 14, 285 x 18), in
adoption (staggered, common, whole groups, few units) and in what is wrong. A share marked ! lies outside its bar by
more than two Monte Carlo errors. A drift is one of treated units, before and after adoption, whose estimate is as large
as twice the detectable effect. Tables say how many pages each row has (`PANELS`, 200 unless set): a share of 12 pages
has a Monte Carlo error of up to 14 percentage points, one of 200 pages of up to 4. Heavy tails are t errors with four
degrees of freedom, which the laws of twins (normal, t with five) do not hold. Factors are a random walk, drawn for each
panel or, with one calendar, once for all. What a panel with factors detects hangs on its walk, and one panel shows one
walk: its page is held to the effect that is detectable on its own calendar. The line of any calendar tells how far that
is from the mean over all of them, which no page can know.
"""
HELD = "Every bar holds within two Monte Carlo errors of this many pages."
FULL = 10  # treated units from which the bar on recommended errors is narrow
NULL, EFFECT, DRIFT = "no effect", "twice the detectable effect", "a drift as large"
TOGETHER = 2  # processes


def is_asked_for(name: str) -> bool:
    """All worlds are, or those that the variable WORLDS names."""
    named = [name for name in os.environ.get("WORLDS", "").split(",") if name]
    return not named or name in named


def lines_of(file: Path, most: int) -> list[dict[str, Any]]:
    """What a campaign has found of the first panels of a world, one line each."""
    return [json.loads(line) for line in file.read_text().splitlines()][:most] if file.exists() else []


def make_missing(file: Path, upto: int, found: Callable[[int], Future[dict[str, Any]]]) -> None:
    """Add what is missing of the first panels."""
    there = {one["number"] for one in lines_of(file, upto)}
    with file.open("a") as lines:
        for future in [found(number) for number in range(upto) if number not in there]:
            lines.write(json.dumps(future.result()) + "\n")
            lines.flush()


def publish(text: str, page: Path) -> None:
    """Print what a campaign found; a whole one becomes its page of the documents."""
    print(text, flush=True)
    if not os.environ.get("WORLDS"):
        page.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Case:
    """A world with an effect and a drift, in detectable effects."""

    world: World
    what: str

    @property
    def effect(self) -> float:
        return 2.0 * self.world.detectable() if self.what == EFFECT else 0.0

    @property
    def drift(self) -> float:
        return self.world.drift_of(2.0 * self.world.detectable()) if self.what == DRIFT else 0.0

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.world.name}, {self.what}.jsonl".replace(" ", "-")

    def pages(self) -> list[dict[str, Any]]:
        return lines_of(self.file, PANELS)

    def make(self, upto: int, pool: ProcessPoolExecutor) -> None:
        make_missing(self.file, upto, lambda number: pool.submit(page, self, number, self.effect, self.drift))


def cases() -> Iterator[Case]:
    """Every world without an effect and with one; a drift where nothing else is wrong."""
    for world in WORLDS:
        if is_asked_for(world.name):
            yield Case(world, NULL)
            yield Case(world, EFFECT)
            if world.family and not world.whole and len(world.dates) + sum(n for _, n in world.dates) > FULL + 1:
                yield Case(world, DRIFT)


def page(case: Case, number: int, effect: float, drift: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        held = document(
            trust(case.world.real(Path(folder), number, effect, drift), replications=REPLICATIONS, benchmarks=0)
        )
    advised = next(row for row in held["errors"] if row["recommended"])
    rows = [row for row in held["checks"] if row["difference"] is not None]
    kept = ("name", "answer", "difference", "lower", "upper", "needed", "false_alarm", "power")
    return {
        "number": number, "answer": held["verdict"]["answer"], "reason": held["verdict"]["reason"],
        "rates": held["verdict"]["rates"], "recommended": advised["se_type"], "pvalue": advised["pvalue"],
        "size": advised["size"], "lower_size": advised["lower_size"], "upper_size": advised["upper_size"],
        "allowed": advised["allowed"], "mde": held["mde"], "joint": held["fidelity_joint"]["pvalue"],
        "calibrated": {row["method"]: row["calibrated"] for row in held["studies"] if row["votes"]},
        "family": held["family"], "checks": [{name: row[name] for name in kept} for row in rows],
    }  # fmt: skip


def made() -> None:
    """Every page that is missing, two at a time: a few of each case first, and worlds without an effect first."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(TOGETHER, get_context("spawn"), prepare_process) as pool:
        for upto in sorted({min(PANELS, count) for count in (25, 100, PANELS)}):
            for what in (NULL, EFFECT, DRIFT):
                for case in cases():
                    if case.what == what:
                        case.make(upto, pool)


def share(hits: list[bool]) -> tuple[float, float]:
    """A share and its Monte Carlo error."""
    value = float(np.mean(hits)) if hits else float("nan")
    return value, float(np.sqrt(max(value * (1 - value), 0.25 / max(len(hits), 1)) / max(len(hits), 1)))


def main() -> bool:
    """Every bar holds within 2 Monte Carlo errors. A whole campaign becomes docs/studies/verdicts.md."""
    made()
    bad: list[str] = []
    parts = [HEAD]
    for title, table in TABLES.items():
        parts.append(f"## {title}\n\n" + "\n".join(table(bad)) + "\n")
    outside = "\n".join(f"- {line}" for line in bad) or HELD
    parts.append(f"## Outside its bar\n\n{outside}\n")
    publish("\n".join(parts), PAGE)
    return not bad


def _judged(bad: list[str], case: Case, what: str, hits: list[bool], least: float, most: float) -> str:
    """A share as a cell, and a fault where it lies outside its bar by more than 2 Monte Carlo errors."""
    value, error = share(hits)
    good = least - 2 * error <= value <= most + 2 * error
    if not good:
        bad.append(f"{case.world.name}, {case.what}: {what} {value:.1%} (Monte Carlo error {error:.1%})")
    return f"{value:.1%}{'' if good else ' !'}"


def _verdicts(bad: list[str]) -> Iterator[str]:
    yield "| world | truth | pages | supported | not decided | contradicted | no claim | threat first |"
    yield "|---|---|---|---|---|---|---|---|"
    for case in cases():
        pages = case.pages()
        given = {answer: [one["answer"] == answer for one in pages]
                 for answer in ("supported", "not decided", "contradicted", "no claim")}  # fmt: skip
        most = {NULL: 0.10 if case.world.whole else 0.05, EFFECT: 1.0, DRIFT: 0.20}[case.what]
        few = sum(count for _, count in case.world.dates) < FULL
        least = 0.80 if case.what == EFFECT and case.world.family and not case.world.whole and not few else 0.0
        cells = [_judged(bad, case, "supported", given["supported"], least, most),
                 f"{share(given['not decided'])[0]:.1%}",
                 _judged(bad, case, "contradicted", given["contradicted"], 0.0, 0.05 if case.what == EFFECT else 1.0),
                 f"{share(given['no claim'])[0]:.1%}"]  # fmt: skip
        named = [
            one["reason"].lower().count("trend") > 0
            for one in pages
            if one["answer"] in ("contradicted", "not decided")
        ]
        first = f"{share(named)[0]:.1%}" if case.what == DRIFT else ""
        yield f"| {case.world.name} | {case.what} | {len(pages)} | {' | '.join(cells)} | {first} |"


def _tests(bad: list[str]) -> Iterator[str]:
    """Recommended errors and calibrated p values where there is no effect."""
    yield "| world | true size, by unit | recommended rejects | on twins | calibrated p uniform | recommended |"
    yield "|---|---|---|---|---|---|"
    for case in cases():
        if case.what != NULL:
            continue
        pages, treated = case.pages(), sum(count for _, count in case.world.dates)
        rejected = [one["pvalue"] is not None and one["pvalue"] <= 0.05 for one in pages]
        cell = _judged(bad, case, "recommended errors reject", rejected, 0.03 if treated >= FULL else 0.0,
                       0.07 if treated >= FULL else 0.10)  # fmt: skip
        uniform = {}
        for method in ("parametric", "factor", "residual"):
            p = [one["calibrated"][method] for one in pages if method in one["calibrated"]]
            if len(p) > PANELS / 2:
                uniform[method] = float(stats.kstest(p, "uniform").pvalue)
                if uniform[method] < 0.01:
                    bad.append(
                        f"{case.world.name}: calibrated p by {method} is not uniform (p = {uniform[method]:.4f})"
                    )
        said = ", ".join(f"{method} {value:.2f}" for method, value in uniform.items())
        names, counts = np.unique([one["recommended"] for one in pages], return_counts=True)
        kinds = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
        printed = np.mean([one["size"] for one in pages])
        yield f"| {case.world.name} | {case.world.size():.1%} | {cell} | {printed:.1%} | {said} | {kinds} |"


def _worlds(bad: list[str]) -> Iterator[str]:
    """Intervals of the detectable effect, and the joint test of fidelity."""
    yield "| world | detectable effect | mean on the pages | interval covers | joint test below 5% | covers or seen |"
    yield "|---|---|---|---|---|---|"
    for case in cases():
        if case.what != NULL:
            continue
        pages = case.pages()
        redrawn = bool(case.world.factor) and not case.world.calendar
        truths = {case.world.name: [case.world] * len(pages)}
        if redrawn:
            truths = {f"{case.world.name}, own calendar": [case.world.on_calendar_of(one["number"]) for one in pages],
                      f"{case.world.name}, any calendar": truths[case.world.name]}  # fmt: skip
        seen = [one["joint"] is not None and one["joint"] < 0.05 for one in pages]
        mean = np.mean([one["mde"]["value"] for one in pages])
        for name, worlds in truths.items():
            truth = [world.detectable(_error(one)) for world, one in zip(worlds, pages, strict=True)]
            covered = [one["mde"]["lower"] <= value <= one["mde"]["upper"]
                       for value, one in zip(truth, pages, strict=True)]  # fmt: skip
            either = [a or b for a, b in zip(covered, seen, strict=True)]
            if name.endswith("any calendar"):  # which a panel with one calendar does not tell
                cells = [f"{share(hits)[0]:.1%}" for hits in (covered, seen, either)]
            else:
                least = 0.90 if case.world.family and not case.world.heavy else 0.0
                cells = [_judged(bad, case, "interval of the detectable effect covers", covered, least, 1.0),
                         f"{share(seen)[0]:.1%}",
                         _judged(bad, case, "covered or seen", either, 0.80, 1.0)]  # fmt: skip
            yield f"| {name} | {np.mean(truth):.4f} | {mean:.4f} | {' | '.join(cells)} |"


def _error(one: dict[str, Any]) -> str:
    """The errors that a page recommends; those by unit where they come from placebos."""
    error: str = one["recommended"]
    return error if error.startswith(("cluster", "cr2", "cv3", "iid", "hc1")) else "cluster:unit"


def _alarms(bad: list[str]) -> Iterator[str]:
    """Alarms on fresh panels of the same world beside what pages print, and leave-one-out."""
    yield "| world | truth | pages with an alarm | as printed | leave-one-out contradicts |"
    yield "|---|---|---|---|---|"
    for case in cases():
        if case.what == DRIFT or case.world.biased:
            continue
        pages = case.pages()
        alarms = [any(row["answer"] in ("differs", "contradicts") for row in one["checks"]) for one in pages]
        printed = [one["family"]["false_alarm"] for one in pages if one["family"]["false_alarm"] is not None]
        lost = [any(row["answer"] == "contradicts" and row["name"].startswith("leave-out") for row in one["checks"])
                for one in pages]  # fmt: skip
        value, error = share(alarms)
        expected = float(np.mean(printed)) if printed else float("nan")
        if case.world.family and not case.world.ramp and abs(value - expected) > 3 * error:
            bad.append(f"{case.world.name}, {case.what}: alarms {value:.1%}, printed {expected:.1%}")
        cell = _judged(bad, case, "leave-one-out contradicts", lost, 0.0, 0.05)
        yield f"| {case.world.name} | {case.what} | {value:.1%} | {expected:.1%} | {cell} |"


TABLES = {
    "Verdicts": _verdicts,
    "Tests without an effect": _tests,
    "The detectable effect": _worlds,
    "Alarms": _alarms,
}
