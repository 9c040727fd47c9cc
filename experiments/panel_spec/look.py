"""What the columns of a table seem to be: guesses for a first SPEC.toml, each to be looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.panel_spec.prepared import averaged
from experiments.panel_spec.reading import (
    GROUPED,
    MOST_MARKS,
    PERIOD_WORDS,
    codes_in,
    rank,
    unnamed,
    wide_columns,
    without_codes,
)
from sim.arrays import Floats, least_squares
from sim.errors import BadInput, Problem, amount, bad, listed
from sim.panel_files import (
    INDIVIDUALS,
    Rows,
    cell_text,
    number_problems,
    numbers,
    plain,
    treatment_problems,
    unit_labels,
)
from sim.schema import period_step, uneven_code
from sim.weights import DEGREES

MOST_CONTROLS = 4
MOST_GROUPS = 10
MOST_LEVELS = 5  # values of a column from 0 to 1 that may be meant as a treatment
MADE = 0.999  # R2 of a column from which others make it up
PART = 0.01  # standard deviations that a part of the outcome moves it by
NEARLY = 0.05  # share of empty cells that a control may have
FEW = 0.1  # share of rows that may be repeated by mistake
LEFT = 1e-6  # share of a column's variation that the effects and the columns before it must leave
ROUNDS = 30  # of alternating demeaning; exact at once in a balanced panel
UNIT_WORDS = ("city", "county", "province", "state", "unit", "id", "name", "code", "城市", "地区", "县", "名称", "代码")
NUMBERED = ("t", "wave", "quarter")  # whole names of columns that may number periods
TREATMENT_WORDS = ("did", "treat", "treated", "treatment", "policy", "eip", "政策", "处理", "试点")
ID_WORDS = ("id", "pid", "person", "index", "编号", "个体", "序号")
OUTCOME_WORDS = ("outcome", "icr", "y", "resilience", "韧性")
LONGITUDE_WORDS = ("longitude", "lon", "long", "lng", "longitud", "经度")
LATITUDE_WORDS = ("latitude", "lat", "latitud", "纬度")
PLACE_WORDS = (*LONGITUDE_WORDS, *LATITUDE_WORDS)
CAPITAL_WORDS = ("capital", "省会")
WEIGHT_WORDS = ("population", "pop", "人口")
FIRST_WORDS = ("gvar", "cohort", "first", "adoption", "adopted", "adopt", "start", "pilot", *TREATMENT_WORDS, "首次")
TOTAL_WORDS = ("total", "totals", "sum", "all", "national", "nation", "average", "mean", "overall", "全国", "合计",
               "总计", "总和", "平均", "全省")  # fmt: skip
SUBTOTAL_WORDS = ("subtotal", "subtotals", "小计", *TOTAL_WORDS)
PART_OF_YEAR = re.compile(r"(?:1[89]|20)\d\d ?[-/年.]?(?:[QqHhMm]|第)?(?:\d{1,2}|[一二三四])(?:季度?|月)?")  # 2018Q1
UNSEEN = "\u00ad\u200b-\u200f\u2060\ufeff"  # signs without a width, which names bring from other programs
NAME_ENDS = re.compile(r"(市|地区|自治州|盟|\bcity)$")  # of a name that some rows write and others do not
DRESSED = re.compile(r"\W*\d[\d.,'’\s]*\D*")  # a number beside signs: $7.04, (2.5), 8.81***, 3.5万, 7'041
FEWEST = 4  # units, and one period less, from which one that equals a sum of others is no chance
CLOSE = 1e-3  # standard deviations between a total and what it is made of, which rounding may leave
MOVES = 50  # times that, by which a total must change over time
NEVER = (0.0, -1.0, 9999.0)  # codes of a first treated period for units that never are
FAR = 60  # periods outside of the panel in which a unit may have been treated first


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What the columns of a table seem to be; None or empty where nothing fits.

    doubtful: columns that look like a treatment, and what forbids it. parts: columns that make up the outcome. again:
    the outcome in another form, such as its logarithm. alike: units whose names may mean one. codes: values of columns
    that look like codes of a missing one, and how often they stand there. cohorts: in how many periods units are first
    treated. gaps: unit-periods without a value of these columns, all of them, and units that lack one. step: from one
    period to the next. rivals: other columns that could be the outcome. dates: whether first treated periods say the
    same as the treatment, in words. either: whether unit and period may be the other way round. unused: why other
    columns have no place, in words. faulty: which columns that have one hold what is infinite, or a text.
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
    again: tuple[str, ...]
    coordinates: tuple[str, str] | None
    capital: str | None
    groups: tuple[str, ...]
    weight: str | None
    incomplete: bool
    gaps: tuple[int, int, int]
    step: int
    units: int
    alike: tuple[tuple[str, str], ...]
    codes: dict[str, dict[float, int]]
    cohorts: int
    rivals: tuple[str, ...]
    dates: str
    either: bool
    unused: dict[str, str]
    faulty: tuple[Problem, ...]


def look_at(frame: pd.DataFrame, filename: str) -> Look:
    """Guess what the columns of a long table are; raises BadInput when none identify its rows or none varies."""
    unit, period = keys_of(frame, filename)
    keys, rows = (unit, period), Rows.of(frame, unit, period)
    firsts = [str(name) for name in frame.columns if name not in keys and _first_periods(frame[name], rows)]
    dates = _ranked(firsts, FIRST_WORDS)
    codes = {name: codes_in(x) for name, x in _numeric(frame).items() if name not in (*keys, *dates)}
    codes = {name: found for name, found in codes.items() if found}
    frame = without_codes(frame, sorted({code for found in codes.values() for code in found}), (*keys, *dates))
    rows, numeric = Rows.of(frame, unit, period), _numeric(frame, MOST_MARKS)
    others = {name: x for name, x in numeric.items() if name not in keys}
    levels = {str(name): column.groupby(rows.labels).nunique()
              for name, column in frame.assign(**others).items() if name not in keys}  # fmt: skip
    constant = [name for name, count in levels.items() if (count == 1).all()]
    places = _doubtful_places({name: levels[name] for name in others if name not in constant})
    still = (*constant, *dates, *places)
    moving = {name: x for name, x in others.items() if name not in still and _remains(_within(x, rows), x)}
    policies = _ranked([name for name, x in moving.items() if _absorbing(x, rows)], TREATMENT_WORDS)
    starts = None  # first treated periods, (rows,), NaN where never
    if dates:
        starts = numbers(frame[dates[0]])[0]
        starts = np.where(np.isin(starts, NEVER) | np.isinf(starts), np.nan, starts)
    doubtful = _doubtful(moving, policies, starts, rows)
    outcome, rivals = _outcome({name: x for name, x in moving.items() if name not in doubtful}, filename)
    treatment = policies[0] if policies else None
    faulty = {name: found for name in others if name not in dates
              and (found := number_problems(*numbers(frame[name]), frame[name], rows))}  # fmt: skip
    candidates = [name for name in moving if name not in (outcome, *policies, *doubtful, *faulty)
                  and not _identifies(frame, name)]  # fmt: skip
    controls, parts, again, beyond = _explaining(moving, outcome, treatment, candidates, rows)
    complete = np.isfinite(np.array([others[name] for name in (outcome, *policies[:1], *controls)])).all(axis=0)
    fixed = {name: x[np.isfinite(x)] for name, x in others.items() if name in constant}
    longitude, latitude = (
        _likeliest([name for name, x in fixed.items() if np.abs(x).max() <= DEGREES[place]], words)
        for place, words in (("longitude", LONGITUDE_WORDS), ("latitude", LATITUDE_WORDS))
    )
    units, coordinates = len(set(rows.labels)), ((longitude, latitude) if longitude and latitude else None)
    capital = _likeliest([name for name, x in fixed.items() if set(np.unique(x)) == {0.0, 1.0}], CAPITAL_WORDS)
    groups = tuple(name for name in constant if name not in (*others, *dates)
                   and 2 <= frame[name].nunique() <= MOST_GROUPS)  # fmt: skip
    weight = _likeliest([name for name, x in others.items() if (x[np.isfinite(x)] > 0).all()], WEIGHT_WORDS)
    seen, periods = pd.Series(complete).groupby(rows.labels).sum().to_numpy(), len(np.unique(rows.years))
    cells = periods * len(seen)
    gaps = int(cells - seen.sum()), cells, int((seen < periods).sum())  # unit-periods without a value, all, units
    look = Look(
        unit=unit, period=period, outcome=outcome, treatment=treatment, first_treated=dates[0] if dates else None,
        policies=policies[1:], doubtful=doubtful, controls=controls, parts=parts, again=again, coordinates=coordinates,
        capital=capital, groups=groups, weight=weight, incomplete=not complete.all(), gaps=gaps,
        step=period_step(rows.years), units=units, alike=alike(rows.labels, rows.years), codes=codes,
        cohorts=_cohorts(moving[treatment] if treatment else starts, rows, dummy=treatment is not None),
        rivals=rivals, dates=_compared(moving, policies[:1] or tuple(doubtful), starts, rows),
        either=unit in numeric and _like_years(numeric[unit])
        and not (_likeliest([unit], UNIT_WORDS) or _likeliest([period], PERIOD_WORDS)),
        unused={}, faulty=(),
    )  # fmt: skip
    unused = _unused(frame, look, rows, (constant, moving, beyond)) | places
    said = (problem for name, found in faulty.items() if name not in unused for problem in found)
    return replace(look, unused=unused, faulty=tuple(said))


def _doubtful_places(levels: dict[str, pd.Series[Any]]) -> dict[str, str]:
    """Columns that are called coordinates and have none, or several, for few units, and what is odd; levels: how many
    values each unit has in columns of numbers."""
    found = {}
    for name, count in levels.items():
        if _likeliest([name], PLACE_WORDS) and (count != 1).sum() <= max(1.0, FEW * len(count)):
            odd = (("several", count.index[count > 1]), ("no", count.index[count == 0]))
            found[name] = " and ".join(f"holds {word} degrees for {listed(units)}" for word, units in odd if len(units))
    return found


def merged_columns(frame: pd.DataFrame, filename: str) -> tuple[str, ...]:
    """Columns whose empty cells seem to be merged with the one above, where units are then identified; else none."""
    blank = {str(name): unit_labels(frame[name]) == "" for name in frame.columns}
    held = tuple(name for name, gone in blank.items() if gone.mean() >= 0.5 and not gone[0] and not gone.all())
    if not held:
        return ()
    try:
        unit, _ = keys_of(frame.assign(**{name: frame[name].ffill() for name in held}), filename)
    except BadInput:
        return ()
    return tuple(name for name in held if (blank[name] == blank[unit]).all()) if unit in held else ()


def totals_of(frame: pd.DataFrame, keys: tuple[str, str]) -> tuple[str, ...]:
    """Units that are called like a total or a mean of others, or are one in a column of numbers."""
    rows, numeric = Rows.of(frame, *keys), _numeric(frame)
    units, years = pd.factorize(rows.labels)[1], np.unique(rows.years)
    at = (np.searchsorted(years, rows.years), pd.Index(units).get_indexer(pd.Index(rows.labels)))
    arrays = {}
    for name in (name for name in numeric if name not in keys):
        arrays[name] = np.full((len(years), len(units)), np.nan)
        arrays[name][at] = numeric[name]
    return tuple(totals(arrays, tuple(units)))


def totals(arrays: Mapping[str, Floats], units: tuple[str, ...]) -> dict[str, str]:
    """Units that are the sum or the mean of all others in all periods of a variable (T, N), or are called so, and why.

    NaN = not observed.
    """
    found = {unit: "is called so" for unit in units if unit.lower() in TOTAL_WORDS}
    for name, x in arrays.items():
        seen = np.isfinite(x)
        if x.shape[1] < FEWEST or (seen.sum(axis=1) < FEWEST).any() or len(np.unique(x[seen])) < FEWEST:
            continue
        spread, rest = np.nanstd(x, axis=1)[:, None], np.nansum(x, axis=1)[:, None] - x
        with np.errstate(invalid="ignore"):
            moves = np.fmax.reduce(x, axis=0) - np.fmin.reduce(x, axis=0) > MOVES * CLOSE * spread.mean()
        for said, other in (("sum", rest), ("mean", rest / (seen.sum(axis=1)[:, None] - 1))):
            alike = ((np.abs(x - other) <= CLOSE * spread) | ~seen).all(axis=0) & (seen.sum(axis=0) >= FEWEST - 1)
            alike &= moves  # one that stays as it is may happen to be the mean
            if (spread > 0).all():
                found = {units[i]: f"is the {said} of all others in {name}" for i in np.flatnonzero(alike)} | found
    return found


def alike(labels: NDArray[np.object_], years: NDArray[np.int64]) -> tuple[tuple[str, str], ...]:
    """Pairs of units whose names differ in case, blanks, first zeros or an ending such as 市 alone, and that share no
    period.

    labels, years: of the rows, (rows,).
    """
    named: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels.tolist()):
        key = re.sub(f"[\\s{UNSEEN}]+", "", NAME_ENDS.sub("", plain(label).casefold())).lstrip("0")
        named.setdefault(key, []).append(label)
    pairs = [(one, other) for same in named.values() for one, other in combinations(same, 2)]
    seen = {label: set(years[labels == label]) for label in {name for pair in pairs for name in pair}}
    return tuple((one, other) for one, other in pairs if not seen[one] & seen[other])


def stray_rows(frame: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Rows of a table that are none of a panel: the header once more, and subtotals without a period; the values, by
    column, that tell them."""
    period = _likeliest([str(name) for name in frame.columns], PERIOD_WORDS)
    if period is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    labels = unit_labels(frame[period])
    if (labels == period).any() and len(frame.columns) > 1:
        found[period] = (period,)
    without = labels == ""
    for name in (str(name) for name in frame.columns if name != period) if without.any() else ():
        held = unit_labels(frame[name])
        if all(rank(label, SUBTOTAL_WORDS) < len(SUBTOTAL_WORDS) for label in held[without]):
            found[name] = tuple(dict.fromkeys(held[without]))
            break
    return found


def switches_of(frame: pd.DataFrame, rows: Rows, keys: tuple[str, str]) -> dict[str, dict[str, float]]:
    """Columns of two values, other than 0 and 1, of which units take one from some period on, with that value as 1."""
    found = {}
    for name in (str(name) for name in frame.columns if name not in keys):
        labels = unit_labels(frame[name])
        values = sorted({*labels} - {""})
        if len(values) != 2 or values == ["0", "1"] or pd.api.types.is_bool_dtype(frame[name]):
            continue
        for one, zero in (values, values[::-1]):
            x = np.where(labels == "", np.nan, labels == one).astype(float)
            if _absorbing(x, rows) and _remains(_within(x, rows), x):
                found[name] = {one: 1.0, zero: 0.0}
    return found


def _cohorts(x: Floats | None, rows: Rows, *, dummy: bool) -> int:
    """In how many periods after the first one units are first treated, by a treatment (rows,) or first periods."""
    if x is None:
        return 0
    treated = (x == 1) if dummy else rows.years >= x
    first = pd.Series(np.where(treated, rows.years, np.iinfo(np.int64).max)).groupby(rows.labels).min()
    held = np.unique(first[first < np.iinfo(np.int64).max])
    return int((held > rows.years.min()).sum())


def _compared(moving: dict[str, Floats], names: tuple[str, ...], starts: Floats | None, rows: Rows) -> str:
    """Whether the first column that stays 0/1, or differs in few rows alone, is what first treated periods (rows,) say,
    in words; "" where there are not both."""
    if starts is None:
        return ""
    treated = rows.years >= starts
    for name in names:
        x = moving[name]
        differ = np.flatnonzero(np.isfinite(x) & (x != treated))
        if not differ.size:
            return f"says the same as {name}"
        if _absorbing(x, rows) or differ.size <= FEW * treated.sum():
            at, plural = int(differ[0]), "s" * (differ.size > 1)
            return f"disagrees with {name} in {differ.size} row{plural}, such as {rows.labels[at]} in {rows.years[at]}"
    return ""


def _same_order(x: Floats, y: Floats) -> bool:
    """Whether two columns put the rows in the same order, or in the opposite one, as a logarithm does."""
    seen = np.isfinite(x) & np.isfinite(y)
    ranks = [pd.Series(values[seen]).rank() for values in (x, y)]
    return bool(seen.sum() > 2 and ranks[0].nunique() > 2 and abs(ranks[0].corr(ranks[1])) > MADE)


def _unused(
    frame: pd.DataFrame, look: Look, rows: Rows, seen: tuple[list[str], dict[str, Floats], tuple[str, ...]]
) -> dict[str, str]:
    """Why columns have no place in the proposal; seen: which are constant, move, and came after the last control."""
    constant, moving, beyond = seen
    used = {look.unit, look.period, look.outcome, look.treatment, look.capital, look.weight, *(look.coordinates or ()),
            *look.policies, *look.doubtful, *look.controls, *look.parts, *look.again, *look.groups,
            look.first_treated if look.treatment is None else None}  # fmt: skip
    found = {}
    for name in (str(name) for name in frame.columns if str(name) not in used):
        values, wrong = numbers(frame[name])
        given = int(frame[name].notna().sum())
        labels = unit_labels(frame[name])
        gaps = labels == ""
        if unnamed(name):
            found[name] = "has no name"
        elif not given:
            found[name] = "is empty"
        elif 0 < gaps.mean() <= FEW and _same_levels(labels[~gaps], rows.labels[~gaps]):
            found[name] = f"names units as {look.unit} does, and is empty in {amount(int(gaps.sum()), 'row')}"
        elif wrong.size and wrong.size < given:
            found[name] = f"holds text in {amount(wrong.size, 'row')}, such as {cell_text(frame[name].iloc[wrong[0]])}"
        elif wrong.size:
            found[name] = "holds dates" if pd.api.types.is_datetime64_any_dtype(frame[name]) else "holds text"
            odd = next((label for label in labels[wrong] if not GROUPED.fullmatch(label)), "")
            if _likeliest([name], PLACE_WORDS):
                found[name] += f", such as {labels[wrong][0]!r}, and no degrees as numbers"
            elif name not in constant and DRESSED.fullmatch(odd):
                found[name] += f", such as {odd!r}"
        elif count := int(np.isinf(values).sum()):
            found[name] = f"is infinite in {amount(count, 'row')}"
        elif name in constant and _likeliest([name], PLACE_WORDS):
            found[name] = f"holds {np.nanmin(values):g} to {np.nanmax(values):g}, and no pair of columns holds degrees"
            if _likeliest([name], LATITUDE_WORDS) and 90 < np.nanmax(np.abs(values)) <= 180:
                found[name] += f'; if longitude and latitude are exchanged, say longitude = "{name}"'
        elif name in constant:
            found[name] = "is constant within units"
        elif np.isnan(values).any() and len(levels := np.unique(values[~np.isnan(values)])) == 1:
            found[name] = f"is {levels[0]:g} or empty, and no table reads empty as 0: write 0 where it means so"
        elif name not in moving:
            found[name] = "is made up of effects of units and periods"
        elif np.isnan(values).mean() > NEARLY:
            found[name] = f"is empty in {amount(int(np.isnan(values).sum()), 'row')}"
        elif name in beyond:
            found[name] = f"comes after the first {MOST_CONTROLS} controls"
        else:
            found[name] = "is made up of the treatment and other columns"
    return found


def _same_levels(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two columns, (rows,), tell the same units, or periods, apart."""
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist())) > 1


def several(frame: pd.DataFrame) -> tuple[str, str] | None:
    """The columns of unit and period by their names, where there are several rows of each on average."""
    period = _likeliest([str(name) for name in frame.columns], PERIOD_WORDS)
    names = [str(name) for name in frame.columns if str(name) != period and 1 < frame[name].nunique() <= len(frame) / 2]
    unit = _likeliest(names, UNIT_WORDS)
    if unit is None or period is None or frame[[unit, period]].isna().to_numpy().any():
        return None
    cells = len(frame[[unit, period]].drop_duplicates())
    return (unit, period) if len(frame) >= INDIVIDUALS * cells and frame[period].nunique() > 1 else None


def _identifies(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column numbers individuals or rows: whole numbers under such a name, or one after the other."""
    values = frame[name]
    if not pd.api.types.is_integer_dtype(values) or pd.api.types.is_bool_dtype(values):
        return False
    called = str(name).lower()
    if called in ID_WORDS or called.endswith("_id"):
        return True
    return bool(values.is_unique and len(values) > 1 and values.max() - values.min() == len(values) - 1)


def cell_means(frame: pd.DataFrame, keys: tuple[str, str]) -> pd.DataFrame:
    """Means of columns of numbers by unit and period, the first value of others."""
    codes, cells = pd.factorize(pd.MultiIndex.from_frame(frame[list(keys)].astype(object)))
    made = averaged(frame, codes, np.ones(len(frame)), {*keys})
    columns = [name for name in frame.columns if name in keys or not _identifies(frame, name)]
    found = pd.DataFrame(dict(zip(keys, zip(*cells.tolist(), strict=True), strict=True)) | made)[columns]
    found.attrs = dict(frame.attrs)
    return found


def keys_of(frame: pd.DataFrame, filename: str) -> tuple[str, str]:
    """The columns of unit and period: texts before numbers, likely names before others; raises BadInput where none
    identify the rows."""
    numeric = _numeric(frame)
    whole = {name: x for name, x in numeric.items() if np.isfinite(x).all() and (x == np.round(x)).all()}
    periods = [name for name, x in whole.items() if _like_years(x)]
    named = [name for name in whole if _likeliest([name], PERIOD_WORDS) or name.lower() in NUMBERED]
    coded = [name for name, x in whole.items() if np.abs(x).max(initial=0) < 2**53 and uneven_code(x.astype(np.int64))]
    periods += [name for name in dict.fromkeys((*named, *coded)) if name not in periods]
    sizes = {name: np.unique(whole[name], return_counts=True)[1] for name in periods}
    periods.sort(key=lambda name: (len(set(sizes[name])) > 1, len(sizes[name])))  # few, and with as many rows each
    texts = [str(name) for name in frame.columns if str(name) not in numeric]
    partly = [name for name, x in numeric.items() if 0 < np.isnan(x).mean() <= FEW and (x[~np.isnan(x)] % 1 == 0).all()]
    counted = [*whole, *(name for name in partly if _likeliest([name], UNIT_WORDS))]
    labels = {name: unit_labels(frame[name]) for name in (*_ranked(texts, UNIT_WORDS), *_ranked(counted, UNIT_WORDS))}
    lacking: list[tuple[str, str]] = []  # units and periods that would do, but for few cells
    for period in _ranked(periods, PERIOD_WORDS):
        for unit, column in labels.items():
            given = column != ""
            # Two rows a unit at the least: amounts of money also tell rows apart.
            if unit == period or unnamed(unit) or not 1 < len(set(column[given])) <= len(frame) / 2:
                continue
            if pd.MultiIndex.from_arrays([column[given], whole[period][given]]).duplicated().any():
                continue
            if given.mean() < 1:
                lacking += [(unit, period)] if given.mean() >= 1 - FEW else []
                continue
            for name in (name for name, _ in lacking if rank(name, UNIT_WORDS) < rank(unit, UNIT_WORDS)):
                named = labels[name] != ""
                if not _same_levels(labels[name][named], column[named]):
                    Rows.read(frame, name, period)  # raises what the column lacks
            for name in (name for name in partly if rank(name, PERIOD_WORDS) < rank(period, PERIOD_WORDS)):
                dated = ~np.isnan(numeric[name])
                if _same_levels(numeric[name][dated], whole[period][dated]):
                    Rows.read(frame, unit, name)
            return unit, period
    if lacking:
        Rows.read(frame, *lacking[0])
    if (wide := wide_columns(frame)) and not _likeliest(list(periods), PERIOD_WORDS):
        years = next(iter(wide.values()))
        raise bad(f"is a wide table: {listed(years.values(), 3)} are one variable in {len(years)} years",
                  where=filename, allowed="one row per unit and period",
                  remedy=f"reshape it: panelproof panel reshape {filename} --out long.csv")  # fmt: skip
    raise _unidentified(frame, labels, {name: whole[name] for name in periods}, filename)


def _like_years(x: Floats) -> bool:
    """Whether a column may hold years, of which several rows have the same."""
    return bool(x.min() >= 1800 and x.max() < 2200 and (x % 1 == 0).all() and len(np.unique(x)) < len(x))


def _unidentified(
    frame: pd.DataFrame, labels: dict[str, NDArray[np.object_]], periods: dict[str, Floats], filename: str
) -> BadInput:
    """Why no two columns identify the rows: what is wrong with those that seem meant to, if any do."""
    for name, column in labels.items():
        if all(PART_OF_YEAR.fullmatch(label) and not label.isdecimal() for label in column):  # decimals may be codes
            return bad(f"{name!r} holds parts of years, such as {column[0]!r}", where=filename,
                       allowed="whole numbers one step apart",
                       remedy="number the periods 1, 2, 3 and so on")  # fmt: skip
    period = _likeliest([str(name) for name in frame.columns], PERIOD_WORDS)
    repeats = {name: column for name, column in labels.items() if 1 < len(set(column)) <= len(frame) / 2}
    unit = _likeliest([name for name in repeats if name != period], UNIT_WORDS)
    likely = (unit, period) if unit and period else None
    if likely is None:  # those that the fewest rows repeat, if these are few
        repeated = {
            (unit, period): float(pd.MultiIndex.from_arrays([column, years]).duplicated().mean())
            for unit, column in repeats.items()
            for period, years in periods.items()
            if unit != period
        }
        few = [pair for pair, share in repeated.items() if share <= FEW]
        likely = min(few, key=repeated.__getitem__, default=None)
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
    sizes = {name: len(set(column)) for name, column in repeats.items()}
    for one, other in combinations(repeats, 2):  # a period that no rule knows, such as 'Jan 2010' or a count of months
        full = sizes[one] * sizes[other] <= (1 + FEW) * len(frame)
        if full and not pd.MultiIndex.from_arrays([repeats[one], repeats[other]]).duplicated().any():
            return bad(f"{one!r} and {other!r} tell the rows apart, and neither looks like a period", where=filename,
                       allowed="years, dates of years, or whole numbers under the name t",
                       remedy="number the periods 1, 2, 3 and so on in a column t")  # fmt: skip
    return bad("no two columns identify the rows as unit and period", where=filename,
               allowed=f"one row a unit and period; it has the columns {listed(frame.columns, 12)}",
               remedy="add the missing column, remove duplicates, or make a wide table long")  # fmt: skip


def _numeric(frame: pd.DataFrame, slips: int = 0) -> dict[str, Floats]:
    """Columns that hold numbers and gaps only, but for so many texts; texts and what is infinite are gaps."""
    found = {}
    for name in frame.columns:
        values, wrong = numbers(frame[name])
        if wrong.size <= min(slips, FEW * len(values)) and np.isfinite(values).any():
            found[str(name)] = np.where(np.isinf(values), np.nan, values)
    return found


def _absorbing(x: Floats, rows: Rows) -> bool:
    """Whether a column is 0/1 and stays 1 within units."""
    seen = np.isfinite(x)
    if not set(np.unique(x[seen])) <= {0.0, 1.0} or seen.mean() < 1 - NEARLY:
        return False
    x, labels, years = x[seen], rows.labels[seen], rows.years[seen]
    order = np.lexsort((years, labels.astype(str)))
    same = labels[order][1:] == labels[order][:-1]
    return bool((np.diff(x[order])[same] >= 0).all())


def _first_periods(column: pd.Series[Any], rows: Rows) -> bool:
    """Whether a column may hold units' first treated periods: whole numbers, one a unit, some within the panel.

    Where its name says so, all units may be treated, some outside of the panel; else some never are, and all within.
    """
    x, wrong = numbers(column)
    if wrong.size or pd.api.types.is_bool_dtype(column):
        return False
    x = np.where(np.isinf(x), np.nan, x)
    given = np.isfinite(x) & ~np.isin(x, NEVER)
    if not given.any() or (pd.Series(x).groupby(rows.labels).nunique() > 1).any() or (x[given] % 1).any():
        return False
    low, high = int(rows.years.min()), int(rows.years.max())
    inside = (x[given] >= low) & (x[given] <= high)
    if rank(str(column.name), FIRST_WORDS) < len(FIRST_WORDS) and low > FAR:
        near = (x[given] >= low - FAR) & (x[given] <= high + FAR)
        return bool(near.all() and (inside & (x[given] > low)).any())
    return bool(not given.all() and inside.all())


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


def _outcome(moving: dict[str, Floats], filename: str) -> tuple[str, tuple[str, ...]]:
    """The likeliest column to explain, and others where its name does not say so; raises BadInput where none has more
    than two values."""
    outcomes = [name for name, x in moving.items() if len(np.unique(x[np.isfinite(x)])) > 2]
    if not outcomes:
        raise bad("no column of numbers varies within units over time", where=filename, allowed="a column to explain",
                  remedy="add the outcome")  # fmt: skip
    first, *others = _ranked(outcomes, OUTCOME_WORDS)
    return first, () if rank(first, OUTCOME_WORDS) < len(OUTCOME_WORDS) else tuple(others)


def _doubtful(
    moving: dict[str, Floats], policies: tuple[str, ...], starts: Floats | None, rows: Rows
) -> dict[str, Problem]:
    """Columns of few values from 0 to 1, or of 0 and 1 but for slips, that could be a treatment, and why they cannot be
    one as they are; beside a treatment, those that are called one or say nearly what it or first periods say."""
    said = rows.years >= starts if starts is not None else moving[policies[0]] == 1 if policies else None
    periods = np.unique(rows.years)
    i, units = pd.factorize(rows.labels)
    found = {}
    for name, x in ((name, x) for name, x in moving.items() if name not in policies):
        levels = np.unique(x[np.isfinite(x)])
        slips = _absorbing(np.where(np.isin(x, (0, 1)), x, np.nan), rows) and {0.0, 1.0} <= set(levels)
        near = said is not None and (x != said).sum() <= FEW * said.sum()
        if not (slips or near) and (len(levels) > MOST_LEVELS or levels[0] != 0 or levels[-1] > 1):
            continue
        if policies and not near and not _likeliest([name], TREATMENT_WORDS):
            continue
        did = np.full((len(periods), len(units)), np.nan)
        did[np.searchsorted(periods, rows.years), i] = x
        for problem in treatment_problems(
            did, tuple(units), tuple(periods.tolist()), f"column {json.dumps(name, ensure_ascii=False)}"
        ):
            found[name] = problem
    return found


def _explaining(
    moving: dict[str, Floats], outcome: str, treatment: str | None, candidates: list[str], rows: Rows
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Controls, columns that make up the outcome, the outcome in another form, and what the controls leave out."""
    controls, parts, beyond = _controls(moving, outcome, treatment, candidates, rows)
    left = [name for name in candidates if name not in parts]
    again = tuple(name for name in left if _same_order(moving[name], moving[outcome]))
    if again:
        kept = [name for name in left if name not in again]
        controls, _, beyond = _controls(moving, outcome, treatment, kept, rows)
    return controls, parts, again, beyond


def _controls(
    moving: dict[str, Floats], outcome: str, treatment: str | None, candidates: list[str], rows: Rows
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Columns, all but complete, that neither one another, nor the treatment, nor the effects explain; parts of the
    outcome; and columns that were not looked at any more."""
    own = [treatment] if treatment else []
    complete = [name for name in candidates if np.isnan(moving[name]).mean() <= NEARLY]
    seen = np.isfinite(moving[outcome])
    within = {name: _within(moving[name], rows) for name in (outcome, *own, *complete)}
    plain = {name: np.nan_to_num(moving[name][seen] - np.nanmean(moving[name][seen])) for name in within}
    chosen: list[str] = []
    parts: list[str] = []
    left = list(complete)
    while left and len(chosen) < MOST_CONTROLS:
        name = left.pop(0)
        if _explained(within[name], [within[other] for other in (*own, *chosen)])[0] > MADE:
            continue
        tried = (*own, *chosen, name)
        made: list[str] = []  # those that make up the outcome in a view of the data, the last of them at least
        for view in (within, plain):
            r2, moves = _explained(view[outcome], [view[other] for other in tried])
            if r2 > MADE:
                made = [part for part, move in zip(tried, moves, strict=True)
                        if part != treatment and (move > PART or part == name)]  # fmt: skip
                break
        if made:
            parts += made
            chosen, left = [], [name for name in complete if name not in parts]
        else:
            chosen.append(name)
    return tuple(chosen), tuple(name for name in complete if name in parts), tuple(left)


def _explained(column: Floats, others: list[Floats]) -> tuple[float, Floats]:
    """R2 of a column on others, and by how many of its standard deviations each of them moves it."""
    if not others:
        return 0.0, np.empty(0)
    x = np.column_stack(others)
    x /= np.maximum(np.sqrt(np.square(x).sum(axis=0)), 1e-300)
    moves = least_squares(x, column)
    rest, total = column - x @ moves, float(column @ column)
    return 1 - float(rest @ rest) / total, np.abs(moves) / np.sqrt(total)


def _ranked(names: Iterable[str], words: tuple[str, ...]) -> tuple[str, ...]:
    """Names with the likeliest words first, otherwise in their order."""
    return tuple(sorted(names, key=lambda name: rank(name, words)))


def _likeliest(names: list[str], words: tuple[str, ...]) -> str | None:
    """The likeliest name that has one of the words."""
    return next((name for name in _ranked(names, words) if rank(name, words) < len(words)), None)
