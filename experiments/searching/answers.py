"""What a search answers: a value with its interval, in a sentence and as plain data."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.searching.points import Taken
from experiments.searching.root import LEVEL

FILE = "answer.json"


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a measure crosses its level along a dial, with a 99% interval.

    asks: the measure and level in words, "the coverage of ... falls below 90%". dial: its name. setting: values of the
    other dials. state: found | passed | tied | not reached. value, lower, upper: the dial's value and interval; of a
    state other than found the value at which the search began or ended. whole: the first whole value beyond the
    crossing, of a dial that counts something. replications: of all points. points: all that was measured. note: what a
    reader must know beside it, a sentence with a space before.
    """

    asks: str
    dial: str
    setting: Mapping[str, Any]
    state: str
    value: float
    lower: float
    upper: float
    whole: int | None
    replications: int
    points: tuple[Taken, ...] = ()
    note: str = ""

    @property
    def sentence(self) -> str:
        """The answer in plain English."""
        where = "".join(f"{name} = {value}, " for name, value in self.setting.items()).removesuffix(", ")
        head = f"With {where}, {self.asks}" if where else self.asks[:1].upper() + self.asks[1:]
        values = len({tuple(item.dials.items()) for item in self.points})
        work = f"from {self.replications:,} replications" + (f" at {values} values" if values > 1 else "")
        if self.state == "passed":
            return f"{head} already at {self.dial} = {self.value:.4g}, where the search begins, {work}.{self.note}"
        if self.state == "tied":
            place = f"{self.dial} = {self.value:.4g}, where the search begins"
            return f"{head} at {place}, or so near to it that it cannot be told, {work}.{self.note}"
        if self.state == "not reached":
            way = "down" if self.points and self.value < self.points[0].dials.get(self.dial, -math.inf) else "up"
            return f"{head} nowhere {way} to {self.dial} = {self.value:.4g}, {work}.{self.note}"
        ends = f"{100 * LEVEL:g}% interval {self.lower:.4g} to {self.upper:.4g}"
        first = "" if self.whole in {None, self.value} else f", so at {self.whole:,}"
        return f"{head} at {self.dial} = {self.value:.4g} ({ends}){first}, {work}.{self.note}"

    @property
    def plain(self) -> dict[str, Any]:
        """The answer as JSON has it; numbers that are not there are null."""
        points = [{"dials": dict(item.dials), "value": item.value, "mcse": _number(item.mcse), "replications": item.n,
                   "store": item.store} for item in self.points]  # fmt: skip
        numbers = {"value": self.value, "lower": self.lower, "upper": self.upper}
        return {"asks": self.asks, "dial": self.dial, "setting": dict(self.setting), "state": self.state,
                **{name: _number(value) for name, value in numbers.items()}, "whole": self.whole,
                "replications": self.replications, "sentence": self.sentence, "points": points}  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def document(answers: Sequence[Answer], study: Mapping[str, Any]) -> str:
    """All answers of a search as one JSON text."""
    about = {"study": study["name"], "seed": study["seed"], "worlds": study["worlds"]}
    return json.dumps(about | {"answers": [item.plain for item in answers]}, indent=1, ensure_ascii=False)


def keep(text: str, folder: Path, name: str = FILE) -> Path:
    """Write a text into the folder of a search, whole or not at all; returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    place, part = folder / name, folder / f".{name}.partial"
    part.write_text(text, encoding="utf-8")
    os.replace(part, place)
    return place
