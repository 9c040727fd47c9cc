"""A first SPEC.toml, the description of a panel, and an example to try both on.

A first SPEC.toml from a look at a table: guesses to edit, each said to be one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from experiments.panel_spec.collapse import averaged
from experiments.panel_spec.reading import first_read, proposed, wide_columns
from experiments.panel_spec.spec import RealPanel, real_panel_of, spec_of
from sim.arrays import Floats
from sim.errors import BadInput, Problem, bad, listed
from sim.panel import Panel, seen_in
from sim.panel_files import (
    INDIVIDUALS,
    Rows,
    codes_in,
    numbers,
    treatment_problems,
    unit_labels,
    without_codes,
)
from sim.presets import Paper
from sim.schema import uneven_code
from sim.streams import Streams

MOST_CONTROLS = 4
MOST_GROUPS = 10
MOST_LEVELS = 5  # values of a column from 0 to 1 that may be meant as a treatment
MADE = 0.999  # R2 of a column from which others make it up
PART = 0.01  # standard deviations that a part of the outcome moves it by
FEW = 0.1  # share of rows that may be repeated by mistake
LEFT = 1e-6  # share of a column's variation that the effects and the columns before it must leave
ROUNDS = 30  # of alternating demeaning; exact at once in a balanced panel
PERIOD_WORDS = ("year", "period", "time", "date", "年份", "年度", "年")
UNIT_WORDS = ("city", "county", "province", "state", "unit", "id", "name", "code", "城市", "地区", "县", "名称", "代码")
TREATMENT_WORDS = ("did", "treat", "treated", "treatment", "policy", "eip", "政策", "处理", "试点")
ID_WORDS = ("id", "pid", "person", "index", "编号", "个体", "序号")
OUTCOME_WORDS = ("outcome", "icr", "y", "resilience", "韧性")
LONGITUDE_WORDS = ("longitude", "lon", "lng", "经度")
LATITUDE_WORDS = ("latitude", "lat", "纬度")
CAPITAL_WORDS = ("capital", "省会")
WEIGHT_WORDS = ("population", "pop", "人口")


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What the columns of a table seem to be; None or empty where nothing fits.

    doubtful: columns that look like a treatment, and what forbids it. parts: columns that make up the outcome. codes:
    values of columns that look like codes of a missing one, and how often they stand there.
    """

    unit: str
    period: str
    outcome: str
    treatment: str | None
    first_treated: str | None
    policies: tuple[str, ...]
    doubtful: dict[str, Problem]
    controls: tuple[str, ...]
    parts: tuple[str, ...]
    coordinates: tuple[str, str] | None
    capital: str | None
    groups: tuple[str, ...]
    weight: str | None
    incomplete: bool
    unbalanced: bool
    units: int
    codes: dict[str, dict[float, int]]


def first_spec(path: str | Path, sheet: str | None = None) -> str:
    """The SPEC.toml that is proposed for a file; raises BadInput as `propose_spec` and `read_frame`."""
    skip, frame = first_read(path, sheet)
    return propose_spec(frame, Path(path).name, sheet, skip)


def propose_spec(frame: pd.DataFrame, panel_filename: str, sheet: str | None = None, skip: int = 0) -> str:
    """A commented SPEC.toml for a long table; raises BadInput when no columns identify its rows as unit-periods.

    sheet: of the workbook that the table is from. skip: rows that were left out above its header.
    """
    rules, keys = proposed(frame, skip), None
    frame = rules(frame)
    try:
        look = look_at(frame, panel_filename)
    except BadInput:
        if (keys := _several(frame)) is None:
            raise
        look = look_at(_cell_means(frame, keys), panel_filename)
    lines = [
        f"# Guessed from the columns of {_text(panel_filename)}: check every name.",
        f"# All columns: {', '.join(_text(name) for name in frame.columns)}",
        "",
        "[panel]",
        f"unit = {_text(look.unit)}",
        f"period = {_text(look.period)}",
        f"outcome = {_text(look.outcome)}  # a guess: name your outcome",
        *_treatment_lines(look),
        f"controls = {_texts(look.controls)}  # complete columns that vary within units: choose yours",
        *_parts_lines(look),
        *([f"capital = {_text(look.capital)}  # 0/1"] if look.capital else []),
        *([f"groups = {_texts(look.groups)}"] if look.groups else []),
        *([f"# weight = {_text(look.weight)}  # to weight unit-periods by it"] if look.weight else []),
        f"cluster = {_text(look.unit)}",
        *([f"sheet = {_text(sheet)}"] if sheet else []),
        *_codes_lines(look),
    ]
    if look.coordinates:
        lines += [f"longitude = {_text(look.coordinates[0])}", f"latitude = {_text(look.coordinates[1])}"]
    lines += [
        'missing = "drop"  # some rows lack a value of these columns'
        if look.incomplete or look.codes
        else 'missing = "error"',
        'balance = "drop-units"  # spatial models need a balanced panel; or "drop-periods"'
        if look.unbalanced
        else 'balance = "error"',
        "",
        *rules.lines,
        '[transform]  # new columns, such as ln_y = { log = "y" } or share = { ratio = ["a", "b"] }',
        "",
        *(_COLLAPSED if keys else ()),
        *_weights_lines(look),
    ]
    return "\n".join(lines) + "\n"


def write_first_spec(proposed: Callable[[], str], out: Path) -> str:
    """Write a proposal into a new file, and return it; raises BadInput, before it is made, for one that exists."""
    if out.exists():
        raise bad("exists already", where=str(out), allowed="a new file", remedy="remove it or choose another --out")
    text = proposed()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    return text


_COLLAPSED = (
    "[collapse]  # several rows a unit and period: their means, weighted by how many they are",
    '# weight = "..."  # a column of survey weights of the rows',
    "",
)


def _several(frame: pd.DataFrame) -> tuple[str, str] | None:
    """The columns of unit and period by their names, where there are several rows of each on average."""
    period = _likeliest([str(name) for name in frame.columns], PERIOD_WORDS)
    names = [str(name) for name in frame.columns if str(name) != period and 1 < frame[name].nunique() <= len(frame) / 2]
    unit = _likeliest(names, UNIT_WORDS)
    if unit is None or period is None or frame[[unit, period]].isna().to_numpy().any():
        return None
    cells = len(frame[[unit, period]].drop_duplicates())
    return (unit, period) if len(frame) >= INDIVIDUALS * cells and frame[period].nunique() > 1 else None


def _cell_means(frame: pd.DataFrame, keys: tuple[str, str]) -> pd.DataFrame:
    """Means of columns of numbers by unit and period, the first value of others."""
    codes, cells = pd.factorize(pd.MultiIndex.from_frame(frame[list(keys)].astype(object)))
    made = averaged(frame, codes, np.ones(len(frame)), {*keys})
    columns = [name for name in frame.columns if name in keys or not _identifies(frame, name)]
    found = pd.DataFrame(dict(zip(keys, zip(*cells.tolist(), strict=True), strict=True)) | made)[columns]
    found.attrs = dict(frame.attrs)
    return found


def _identifies(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column numbers individuals or rows: whole numbers under such a name, or one after the other."""
    values = frame[name]
    if not pd.api.types.is_integer_dtype(values) or pd.api.types.is_bool_dtype(values):
        return False
    called = str(name).lower()
    if called in ID_WORDS or called.endswith("_id"):
        return True
    return bool(values.is_unique and len(values) > 1 and values.max() - values.min() == len(values) - 1)


def look_at(frame: pd.DataFrame, filename: str) -> Look:
    """Guess what the columns of a long table are; raises BadInput when none identify its rows or none varies."""
    unit, period = _keys(frame, _numeric(frame), filename)
    codes = {name: codes_in(x) for name, x in _numeric(frame).items() if name not in (unit, period)}
    codes = {name: found for name, found in codes.items() if found}
    frame = without_codes(frame, sorted({code for found in codes.values() for code in found}), (unit, period))
    rows, numeric = Rows.of(frame, unit, period), _numeric(frame)
    others = {name: x for name, x in numeric.items() if name not in (unit, period)}
    constant = [str(name) for name in frame.columns if name not in (unit, period) and _constant(frame[name], rows)]
    moving = {name: x for name, x in others.items() if name not in constant and _remains(_within(x, rows), x)}
    policies = _ranked([name for name, x in moving.items() if _absorbing(x, rows)], TREATMENT_WORDS)
    first_treated = next((name for name, x in others.items() if _first_periods(x, rows)), None)
    doubtful = _doubtful({name: x for name, x in moving.items() if name not in policies}, rows)
    if policies or first_treated:
        doubtful = {name: problem for name, problem in doubtful.items() if _likeliest([name], TREATMENT_WORDS)}
    outcome = _outcome({name: x for name, x in moving.items() if name not in doubtful}, filename)
    treatment = policies[0] if policies else None
    candidates = [
        name for name in moving if name not in (outcome, *policies, *doubtful) and not _identifies(frame, name)
    ]
    controls, parts = _controls(moving, outcome, treatment, candidates, rows)
    used = [others[name] for name in (outcome, *policies[:1], *controls)]
    complete = np.isfinite(np.array(used)).all(axis=0)
    fixed = {name: x for name, x in others.items() if name in constant and np.isfinite(x).all()}
    units = len(set(rows.labels))
    return Look(
        unit=unit,
        period=period,
        outcome=outcome,
        treatment=treatment,
        first_treated=first_treated,
        policies=policies[1:],
        doubtful=doubtful,
        controls=controls,
        parts=parts,
        coordinates=_coordinates(fixed),
        capital=_likeliest([name for name, x in fixed.items() if set(np.unique(x)) == {0.0, 1.0}], CAPITAL_WORDS),
        groups=tuple(name for name in constant if name not in others and 2 <= frame[name].nunique() <= MOST_GROUPS),
        weight=_likeliest([name for name, x in others.items() if (x[np.isfinite(x)] > 0).all()], WEIGHT_WORDS),
        incomplete=not complete.all(),
        unbalanced=int(complete.sum()) < units * len(np.unique(rows.years)),
        units=units,
        codes=codes,
    )


def _treatment_lines(look: Look) -> list[str]:
    doubts = [
        " ".join(
            f"# {_text(name)} looks like a treatment, but {problem.what} ({problem.where}): {problem.remedy}".split()
        )
        for name, problem in look.doubtful.items()
    ]
    if look.treatment is None and look.first_treated:
        return [f"first_treated = {_text(look.first_treated)}  # a unit's first treated period; empty or 0 = never",
                *doubts]  # fmt: skip
    if look.treatment is None:
        return ['# treatment = "..."  # 0/1 and stays 1, or of any strength, such as an index;',
                '# or first_treated = "...", a column that is empty where never',
                *doubts]  # fmt: skip
    lines = [f"treatment = {_text(look.treatment)}  # 0/1 and stays 1", *doubts]
    if look.policies:
        lines.append(f"# other_policy = {_text(look.policies[0])}  # of {', '.join(map(_text, look.policies))}")
    return lines


def _codes_lines(look: Look) -> list[str]:
    if not look.codes:
        return []
    every = [(name, code, count) for name, found in look.codes.items() for code, count in found.items()]
    held = ", ".join(f"{_text(name)} {code:g} ({count})" for name, code, count in every)
    codes = ", ".join(f"{code:g}" for code in sorted({code for _, code, _ in every}))
    return [f"missing_codes = [{codes}]  # far from all other values: {held}; remove those that are real"]


def _parts_lines(look: Look) -> list[str]:
    made_of = ", ".join(map(_text, look.parts))
    return [f"# {_text(look.outcome)} is a combination of {made_of}: do not use them as controls"] if look.parts else []


def _weights_lines(look: Look) -> list[str]:
    lines = ["[[weights]]", 'kind = "knn"', f"k = {min(6, look.units - 1)}"]
    if look.coordinates:
        return lines
    return ["# For spatial models, name longitude and latitude in [panel] and then:", *(f"# {line}" for line in lines),
            '# or give a file: kind = "file", path = "w.csv" (columns focal, neighbor, weight)']  # fmt: skip


def _keys(frame: pd.DataFrame, numeric: dict[str, Floats], filename: str) -> tuple[str, str]:
    """The columns of unit and period: texts before numbers, likely names before others."""
    whole = {name: x for name, x in numeric.items() if np.isfinite(x).all() and (x == np.round(x)).all()}
    periods = [name for name, x in whole.items() if x.min() > 1000 and x.max() < 3000]
    named = [name for name in whole if _likeliest([name], PERIOD_WORDS)]
    coded = [name for name, x in whole.items() if uneven_code(x.astype(np.int64))]
    periods += [name for name in dict.fromkeys((*named, *coded)) if name not in periods]
    texts = [str(name) for name in frame.columns if str(name) not in numeric]
    labels = {name: unit_labels(frame[name]) for name in (*_ranked(texts, UNIT_WORDS), *_ranked(whole, UNIT_WORDS))}
    for period in _ranked(periods, PERIOD_WORDS):
        for unit, column in labels.items():
            # Two rows a unit at the least: amounts of money also tell rows apart.
            if unit == period or not 1 < len(set(column)) <= len(frame) / 2 or "" in column:
                continue
            if not pd.MultiIndex.from_arrays([column, whole[period]]).duplicated().any():
                return unit, period
    if (wide := wide_columns(frame)) and not _likeliest(list(periods), PERIOD_WORDS):
        years = next(iter(wide.values()))
        raise bad(f"is a wide table: {listed(years.values(), 3)} are one variable in {len(years)} years",
                  where=filename, allowed="one row per unit and period",
                  remedy=f"reshape it: panelproof panel reshape {filename} --out long.csv")  # fmt: skip
    raise _unidentified(frame, labels, {name: whole[name] for name in periods}, filename)


def _unidentified(
    frame: pd.DataFrame, labels: dict[str, NDArray[np.object_]], periods: dict[str, Floats], filename: str
) -> BadInput:
    """Why no two columns identify the rows: what is wrong with those that seem meant to, if any do."""
    period = _likeliest([str(name) for name in frame.columns], PERIOD_WORDS)
    repeats = {name: column for name, column in labels.items() if 1 < len(set(column)) <= len(frame) / 2}
    unit = _likeliest([name for name in repeats if name != period], UNIT_WORDS)
    likely = (unit, period) if unit and period else _nearly(repeats, periods)
    if likely:
        try:
            Rows.of(frame, *likely)
        except BadInput as error:
            keys = pd.MultiIndex.from_arrays([unit_labels(frame[name]) for name in likely])
            if not keys.duplicated().any():
                return error
            first = error.problems[0]
            return bad(f"no two columns identify the rows as unit and period: by {likely[0]!r} and {likely[1]!r}, "
                       f"{first.what}", where=filename, allowed=first.allowed, remedy=first.remedy)  # fmt: skip
    return bad("no two columns identify the rows as unit and period", where=filename,
               allowed=f"one row a unit and period; it has the columns {listed(frame.columns, 12)}",
               remedy="add the missing column, remove duplicates, or make a wide table long")  # fmt: skip


def _nearly(labels: dict[str, NDArray[np.object_]], periods: dict[str, Floats]) -> tuple[str, str] | None:
    """The unit and period that the fewest rows repeat, if these are few."""
    repeated = {
        (unit, period): float(pd.MultiIndex.from_arrays([column, years]).duplicated().mean())
        for unit, column in labels.items()
        for period, years in periods.items()
        if unit != period
    }
    return min((pair for pair, share in repeated.items() if share <= FEW), key=repeated.__getitem__, default=None)


def _numeric(frame: pd.DataFrame) -> dict[str, Floats]:
    """Columns that hold finite numbers and gaps only."""
    found = {}
    for name in frame.columns:
        values, wrong = numbers(frame[name])
        if not wrong.size and np.isfinite(values).any() and not np.isinf(values).any():
            found[str(name)] = values
    return found


def _constant(column: pd.Series[Any], rows: Rows) -> bool:
    grouped = column.groupby(rows.labels).nunique()
    return bool((grouped == 1).all())


def _absorbing(x: Floats, rows: Rows) -> bool:
    """Whether a column is 0/1 and stays 1 within units."""
    if not set(np.unique(x)) <= {0.0, 1.0}:
        return False
    order = np.lexsort((rows.years, rows.labels.astype(str)))
    same = rows.labels[order][1:] == rows.labels[order][:-1]
    return bool((np.diff(x[order])[same] >= 0).all())


def _first_periods(x: Floats, rows: Rows) -> bool:
    """Whether a column may hold units' first treated periods: one a unit, within the panel, absent or 0 for some."""
    given = np.isfinite(x) & (x != 0)
    same = pd.Series(x).groupby(rows.labels).nunique()
    within = (x[given] >= rows.years.min()) & (x[given] <= rows.years.max()) & (x[given] == np.round(x[given]))
    return bool(given.any() and not given.all() and (same <= 1).all() and within.all())


def _within(x: Floats, rows: Rows) -> Floats:
    """A column without unit and period effects, 0 where it is missing."""
    seen = np.isfinite(x)
    codes = [pd.factorize(rows.labels)[0], pd.factorize(rows.years)[0]]
    left = np.where(seen, x, 0.0)
    for _ in range(ROUNDS):
        for code in codes:
            counts = np.maximum(np.bincount(code, seen), 1.0)
            left = np.where(seen, left - (np.bincount(code, left) / counts)[code], 0.0)
    return left


def _remains(left: Floats, x: Floats) -> bool:
    """Whether more than a trace of a column's variation is left."""
    return float(left @ left) > LEFT * max(float(np.nansum((x - np.nanmean(x)) ** 2)), 1e-300)


def _outcome(moving: dict[str, Floats], filename: str) -> str:
    """The likeliest column to explain; raises BadInput where none has more than two values."""
    outcomes = [name for name, x in moving.items() if len(np.unique(x)) > 2]
    if not outcomes:
        raise bad("no column of numbers varies within units over time", where=filename, allowed="a column to explain",
                  remedy="add the outcome")  # fmt: skip
    return _ranked(outcomes, OUTCOME_WORDS)[0]


def _doubtful(columns: dict[str, Floats], rows: Rows) -> dict[str, Problem]:
    """Columns of few values from 0 to 1 that could be a treatment, and why they cannot be one as they are."""
    periods = np.unique(rows.years)
    i, units = pd.factorize(rows.labels)
    found = {}
    for name, x in columns.items():
        levels = np.unique(x[np.isfinite(x)])
        if len(levels) > MOST_LEVELS or levels[0] != 0 or levels[-1] > 1:
            continue
        did = np.full((len(periods), len(units)), np.nan)
        did[np.searchsorted(periods, rows.years), i] = x
        for problem in treatment_problems(did, tuple(units), tuple(periods.tolist()), f"column {_text(name)}"):
            found[name] = problem
    return found


def _controls(
    moving: dict[str, Floats], outcome: str, treatment: str | None, candidates: list[str], rows: Rows
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Complete columns that neither one another, nor the treatment, nor the effects explain; parts of the outcome."""
    own = [treatment] if treatment else []
    complete = [name for name in candidates if np.isfinite(moving[name]).all()]
    seen = np.isfinite(moving[outcome])
    within = {name: _within(moving[name], rows) for name in (outcome, *own, *complete)}
    plain = {name: moving[name][seen] - moving[name][seen].mean() for name in within}
    chosen: list[str] = []
    parts: list[str] = []
    left = list(complete)
    while left and len(chosen) < MOST_CONTROLS:
        name = left.pop(0)
        if _explained(within[name], [within[other] for other in (*own, *chosen)])[0] > MADE:
            continue
        made = [part for part in _parts(outcome, (*own, *chosen, name), (within, plain)) if part != treatment]
        if made:
            parts += made
            chosen, left = [], [name for name in complete if name not in parts]
        else:
            chosen.append(name)
    return tuple(chosen), tuple(name for name in complete if name in parts)


def _explained(column: Floats, others: list[Floats]) -> tuple[float, Floats]:
    """R2 of a column on others, and by how many of its standard deviations each of them moves it."""
    if not others:
        return 0.0, np.empty(0)
    x = np.column_stack(others)
    x /= np.maximum(np.sqrt(np.square(x).sum(axis=0)), 1e-300)
    moves = np.linalg.lstsq(x, column)[0]
    rest, total = column - x @ moves, float(column @ column)
    return 1 - float(rest @ rest) / total, np.abs(moves) / np.sqrt(total)


def _parts(outcome: str, names: tuple[str, ...], views: tuple[dict[str, Floats], ...]) -> list[str]:
    """Those of some columns that make up the outcome in any view of the data, the last of them at least; else none."""
    for view in views:
        r2, moves = _explained(view[outcome], [view[name] for name in names])
        if r2 > MADE:
            return [name for name, move in zip(names, moves, strict=True) if move > PART or name == names[-1]]
    return []


def _coordinates(fixed: dict[str, Floats]) -> tuple[str, str] | None:
    longitude = _likeliest([name for name, x in fixed.items() if np.abs(x).max() < 180], LONGITUDE_WORDS)
    latitude = _likeliest([name for name, x in fixed.items() if np.abs(x).max() < 90], LATITUDE_WORDS)
    return (longitude, latitude) if longitude and latitude else None


def _rank(name: str, words: tuple[str, ...]) -> int:
    """Rank of the first word that a column's name has among its parts; len(words) when there is none."""
    parts = name.lower().replace("-", "_").replace(" ", "_").split("_")
    hits = (rank for rank, word in enumerate(words) if word in parts or (not word.isascii() and word in name))
    return next(hits, len(words))


def _ranked(names: Iterable[str], words: tuple[str, ...]) -> tuple[str, ...]:
    """Names with the likeliest words first, otherwise in their order."""
    return tuple(sorted(names, key=lambda name: _rank(name, words)))


def _likeliest(names: list[str], words: tuple[str, ...]) -> str | None:
    """The likeliest name that has one of the words."""
    return next((name for name in _ranked(names, words) if _rank(name, words) < len(words)), None)


def _text(name: object) -> str:
    return json.dumps(str(name), ensure_ascii=False)  # JSON's escapes are TOML's


def _texts(names: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, names))}]"


# A synthetic example panel as a researcher's table, with the spec that goes with it.


SEED = 20060101
DIGITS = 6
COLUMNS = {"icr": "icr", "did": "eip", "inv": "inv", "road": "road", "book": "book", "tech": "tech", "gpat": "gpat"}

EXAMPLE_SPEC = """\
# The example panel: 285 Chinese cities, 2006-2023. The geography is real, every other number is synthetic, drawn from
# the design "paper" with the published effect (0.0128 in the city, 0.0124 x its neighbours) and rho = 0.1492.

[panel]
unit = "city"
period = "year"
outcome = "icr"                            # industrial-chain resilience, 0 to 1
treatment = "eip"                          # 1 from the year of a city's first eco-industrial park on
controls = ["inv", "road", "book", "tech"]
mediators = ["gpat"]                       # log of 1 + green patents
capital = "is_capital"
groups = ["region"]
cluster = "city"
longitude = "lon"
latitude = "lat"
synthetic = true                           # every table says so

[[weights]]                                # the six nearest cities
kind = "knn"
k = 6
"""


@cache
def example_panel(cities: int = 57) -> RealPanel:
    """Some of the example panel's 285 cities, spread over the country, as a panel that all commands take.

    >>> import panelproof as pp
    >>> pp.example_panel().panel.nobs
    1026
    """
    frame = example_frame()
    names = frame["city"].unique()
    if not 20 <= cities <= names.size:
        raise bad(f"cities = {cities}", where="example_panel", allowed=f"a whole number from 20 to {names.size}",
                  remedy="leave it out for 57")  # fmt: skip
    kept = names[np.arange(cities) * names.size // cities]
    return real_panel_of(frame[frame["city"].isin(kept)].reset_index(drop=True), spec_of(tomllib.loads(EXAMPLE_SPEC)))


def example_frame(seed: int = SEED) -> pd.DataFrame:
    """One draw of the `paper` design with its spillover, a row a city and year (285 x 18), sorted by city and year."""
    panel = Paper(spillover="paper").draw(Streams(seed)).panel
    cities, years = len(panel.units), len(panel.periods)
    table = {"city": np.repeat(np.array(panel.units, dtype=object), years), "year": np.tile(panel.periods, cities)}
    for name, column in COLUMNS.items():
        table[column] = panel.variables[name][0].T.ravel().round(DIGITS)
    table["eip"] = table["eip"].astype(np.int64)
    for name, column in {"region": "region", "capital": "is_capital", "longitude": "lon", "latitude": "lat"}.items():
        table[column] = np.repeat(panel.attributes[name], years)
    table["is_capital"] = table["is_capital"].astype(np.int64)
    return pd.DataFrame(table)


# A real panel in a few lines: sizes, variables, who is treated when, weights.


def description(panel: Panel) -> dict[str, Any]:
    """What a panel holds, as a user would check it before estimating, as plain data."""
    own = panel.roles
    roles: dict[str | None, str] = {own.weight: "weight", own.outcome: "outcome", own.treatment: "treatment"}
    roles |= dict.fromkeys(panel.roles.controls, "control")
    roles |= dict.fromkeys(panel.roles.mediators, "mediator")
    variables = []
    for name, array in panel.variables.items():
        values = array[0][seen_in(panel)]
        numbers = {"mean": values.mean(), "sd": values.std(ddof=1), "min": values.min(), "max": values.max()}
        variables.append({"variable": name, "role": roles.get(name, ""), **{k: float(x) for k, x in numbers.items()}})
    return {
        "units": len(panel.units),
        "periods": list(panel.periods),
        "observations": panel.nobs,
        "missing": len(panel.units) * len(panel.periods) - panel.nobs,
        "variables": variables,
        "treated": _treated(panel),
        "weights": [{"name": name, "neighbours": weights.matrix.nnz / len(panel.units),
                     "standardize": weights.standardize} for name, weights in panel.weights.items()],
        "sha256": panel.digest,
    }  # fmt: skip


def _treated(panel: Panel) -> dict[str, Any] | None:
    """How many units and unit-periods are treated, and how many units first in each period."""
    if not panel.roles.treatment or panel.roles.continuous:
        return None
    treated = np.nan_to_num(panel.variables[panel.roles.treatment][0])
    ever = treated.any(axis=0)
    starts, counts = np.unique(np.array(panel.periods)[treated.argmax(axis=0)[ever]], return_counts=True)
    cohorts = [{"period": start, "units": count} for start, count in zip(starts.tolist(), counts.tolist(), strict=True)]
    return {"units": int(ever.sum()), "unit_periods": int(treated.sum()), "first_treated": cohorts}


def print_description(found: dict[str, Any], console: Console) -> None:
    """Print what `description` found."""
    balance = f"{found['missing']} unit-periods missing" if found["missing"] else "balanced"
    span = f"{found['periods'][0]}-{found['periods'][-1]}"
    console.print(f"{found['units']} units x {len(found['periods'])} periods ({span}), {found['observations']:,} "
                  f"observations, {balance}")  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variable", "role", "mean", "sd", "min", "max"):
        table.add_column(heading, justify="left" if heading in {"variable", "role"} else "right")
    for row in found["variables"]:
        table.add_row(row["variable"], row["role"], *(f"{row[name]:.4g}" for name in ("mean", "sd", "min", "max")))
    console.print(table)
    if treated := found["treated"]:
        cohorts = ", ".join(f"{item['period']} ({item['units']})" for item in treated["first_treated"])
        console.print(f"treated: {treated['units']} units, {treated['unit_periods']} unit-periods; first treated "
                      f"(units): {cohorts}")  # fmt: skip
    for item in found["weights"]:
        console.print(f"weights {item['name']}: {item['neighbours']:.1f} neighbours a unit, standardised by "
                      f"{item['standardize']}", markup=False)  # fmt: skip
    console.print(f"sha256 {found['sha256']}")
