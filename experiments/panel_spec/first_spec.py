"""A first SPEC.toml, the description of a panel, and an example to try both on.

A first SPEC.toml from a look at a table: guesses to edit, each said to be one, what to look at, and every other key.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable

from experiments.kinds import meanings_of, type_text
from experiments.panel_spec.look import (
    DRESSED,
    UNIT_WORDS,
    Look,
    cell_means,
    keys_of,
    look_at,
    merged_columns,
    several,
    stray_rows,
    switches_of,
    totals_of,
)
from experiments.panel_spec.reading import Proposal, first_read, proposed, rank, without_rows
from experiments.panel_spec.sections import SpecTables
from experiments.panel_spec.spec import RealPanel, real_panel_of, spec_of
from experiments.panel_spec.weights import AnyWeights, WeightsSection
from experiments.settings import Table, in_toml
from results.store.disk import check_folder, write_whole
from sim.errors import BadInput, amount, bad, listed, refuse, type_problems
from sim.panel import Panel, seen_in
from sim.panel_files import Rows, TablePlace, check_table, index_as_columns, unit_labels
from sim.presets import Paper
from sim.streams import Streams
from sim.weights_files import keys_of_file

ASKED = "# ? "  # how a line begins that asks the user to look at something
EVERY_KEY = "# Every other table and key, with its default:"


def first_spec(
    path: str | Path, sheet: str | None = None, weights: Sequence[str | Path] = (), folder: Path = Path()
) -> str:
    """The SPEC.toml that is proposed for a file; raises BadInput as `propose_spec` and `read_frame`.

    weights: files of W. folder: of the spec, for the paths in it.
    """
    place, frame = first_read(path, sheet)
    return propose_spec(frame, Path(path).name, sheet, place, weights, folder)


def propose_spec(
    frame: pd.DataFrame,
    panel_filename: str,
    sheet: str | None = None,
    place: TablePlace | None = None,
    weights: Sequence[str | Path] = (),
    folder: Path = Path(),
) -> str:
    """A commented SPEC.toml for a long table; raises BadInput when no columns identify its rows as unit-periods.

    sheet: of the workbook that the table is from. place: where it stood in the file. weights, folder: as `first_spec`.
    """
    frame = index_as_columns(frame)
    check_table(frame, panel_filename)
    names = list(frame.columns)
    objects = [name for name in names if frame[name].dtype == object]
    nested = [name for name in objects if not all(isinstance(value, Hashable) for value in frame[name].array)]
    frame = frame.drop(columns=nested)
    rules, made = _rules(frame, panel_filename, place or TablePlace())
    keys = None
    try:
        look = look_at(made, panel_filename)
    except BadInput:
        if (keys := several(made)) is None:
            raise
        look = look_at(cell_means(made, keys), panel_filename)
    look = replace(look, unused=look.unused | dict.fromkeys(nested, "holds lists, not one value a row"))
    first = look.first_treated if look.treatment is None else None
    rules.dates = {name: None for name in rules.dates if name == first}
    order = tuple(dict.fromkeys(unit_labels(made[look.unit])))
    spatial, doubts = _weights_lines(look, order, weights, folder)
    staggered = look.cohorts > 1 and keys is None
    asked = [*_questions(look), *_of_several(made, keys), *rules.questions, *doubts]
    lines = [
        f"# Guessed from the columns of {in_toml(panel_filename)}: check every name.",
        f"# All columns: {', '.join(in_toml(str(name)) for name in names)}",
        *(ASKED + " ".join(question.split()) for question in asked),
        "",
        *_panel_lines(look, sheet),
        "",
        *_completed(rules.lines),
        '[transform]  # new columns, such as ln_y = { log = "y" } or share = { ratio = ["a", "b"] }',
        "",
        *(_COLLAPSED if keys else ()),
        *(_completed(["[robustness]", "staggered = true  # units are first treated in different periods", ""])
          if staggered else ()),
        *spatial,
    ]  # fmt: skip
    return "\n".join([*lines, "", EVERY_KEY, *_other_tables(lines)]) + "\n"


def _rules(frame: pd.DataFrame, filename: str, place: TablePlace) -> tuple[Proposal, pd.DataFrame]:
    """How a table is read, and the table as it is read."""
    stray = stray_rows(frame)
    rules = proposed(without_rows(frame, stray, filename), place)
    rules.exclude |= stray
    made = rules(frame)
    try:
        keys = keys_of(made, filename)
    except BadInput:
        rules.fill = merged_columns(made, filename)
        made = rules(frame)
        if not rules.fill:
            return rules, made
        keys = keys_of(made, filename)
    if found := totals_of(made, keys):
        rules.exclude[keys[0]] = (*rules.exclude.get(keys[0], ()), *found)
    made = rules(frame)
    rules.recode |= switches_of(made, Rows.of(made, *keys), keys)
    return rules, rules(frame)


def questions_in(text: str) -> list[str]:
    """What a proposal asks its user to look at."""
    return [line.removeprefix(ASKED) for line in text.splitlines() if line.startswith(ASKED)]


def write_first_spec(proposed: Callable[[], str], out: Path) -> str:
    """Write a proposal into a new file, and return it; raises BadInput, before it is made, for one that exists."""
    if out.exists():
        raise bad("exists already", where=str(out), allowed="a new file", remedy="remove it or choose another --out")
    check_folder(out.parent)
    text = proposed()
    write_whole(out.parent, {out.name: text})
    return text


_COLLAPSED = (
    "[collapse]  # several rows a unit and period: their means, weighted by how many they are",
    '# weight = "..."  # a column of survey weights of the rows',
    "",
)


def _of_several(frame: pd.DataFrame, keys: tuple[str, str] | None) -> Iterator[str]:
    """Whether rows are individuals; or variables, where a column of names has each once for all units and periods."""
    if keys is None:
        return
    cells = frame.groupby(list(keys), sort=False)
    yield f"[collapse]: are the {len(frame):,} rows individuals, of which {len(cells):,} means are taken?"
    for name in (str(name) for name in frame.columns if name not in keys):
        parts = sorted(frame[name].unique()) if pd.api.types.is_integer_dtype(frame[name]) else []
        last = len(parts)
        if last > 1 and parts == list(range(1, last + 1)) and not frame.duplicated([*keys, name]).any():
            yield (f"[collapse]: {name} numbers the rows of a unit and period, from 1 to {last}: if it is a part of "
                   f"{keys[1]}, such as a quarter, make one column of both: {keys[1]} * {last} + {name}")  # fmt: skip
        held = () if pd.api.types.is_numeric_dtype(frame[name]) else frame[name].unique()
        if len(held) * len(cells) == len(frame) and (cells[name].nunique() == len(held)).all():
            yield (f"[collapse]: each unit and period has one row of {listed(map(repr, held), 4)} in {name}: if these "
                   "are variables, make a column of each")  # fmt: skip


def _questions(look: Look) -> Iterator[str]:
    if look.rivals:
        yield f"outcome: is it {look.outcome}, and not {listed(look.rivals, 6)}?"
    if look.treatment is None and look.first_treated is None:
        for name, problem in look.doubtful.items():
            yield f"treatment: is it {name}? Then {problem.what} ({problem.where}): {problem.remedy}"
        if not look.doubtful:
            yield ("treatment: no column is 0, then 1 other than in all units at once; name the treatment, if there is "
                   "one")  # fmt: skip
    if look.policies:
        yield f"treatment: is it {look.treatment}, and not {listed(look.policies, 6)}?"
    if look.treatment is None and look.first_treated:
        yield f"first_treated: is {look.first_treated} a unit's first treated period, and 0, -1, 9999 or empty never?"
    for name in look.again:
        yield f"controls: {name} is {look.outcome} in another form, and left out: is that right?"
    for name, why in look.unused.items():
        if "degrees" in why:
            yield f"longitude, latitude: {name} {why}"
        elif "or empty" in why and look.treatment is None and look.first_treated is None:
            yield f"treatment: {name} {why}"
        elif (said := re.search(r"holds text.*, such as ['\"](.*)['\"]", why)) and DRESSED.fullmatch(said[1]):
            yield f"{name} {why}, and is not used: if it holds numbers, write them without other signs"
        if "names units" in why and rank(name, UNIT_WORDS) < rank(look.unit, UNIT_WORDS):
            yield f"unit: is it {look.unit}? {name} {why}: fill it to name them so"
    for problem in look.faulty:
        yield f"{problem.where}: {problem.what}, which no table takes: {problem.remedy}"
    missing, cells, units = look.gaps
    if look.either:
        yield f"unit, period: is {look.unit} the unit and {look.period} the period, and not the other way round?"
    if look.step > 1:
        yield f"period: periods are {look.step} apart: a lag of one period is one of {look.step}; is that right?"
    if missing:
        yield (f"balance: {missing} of {cells} unit-periods {'lacks' if missing == 1 else 'lack'} a value, and tables "
               f"that need a balanced panel leave out {units} of {look.units} units for them: can they be "
               "filled?")  # fmt: skip
    if look.alike:
        pairs = listed((f"{one} and {other}" for one, other in look.alike), 3)
        yield f"unit: are {pairs} one unit each? They share no period; write each name in one way"
    if look.dates.startswith("disagrees"):
        yield f"treatment: {look.first_treated} {look.dates}: which of the two is right?"
    for name, held in look.codes.items():
        yield f"missing_codes: does {listed(f'{code:g}' for code in held)} in {name} mean missing?"


def _panel_lines(look: Look, sheet: str | None) -> list[str]:
    parts = ", ".join(map(in_toml, look.parts))
    lines = [
        "[panel]",
        f"unit = {in_toml(look.unit)}",
        f"period = {in_toml(look.period)}",
        f"outcome = {in_toml(look.outcome)}  # a guess: name your outcome",
        *_treatment_lines(look),
        f"controls = {in_toml(look.controls)}  # columns that vary within units: choose yours",
        f"# {in_toml(look.outcome)} is a combination of {parts}: do not use them as controls" if parts else "",
        f"capital = {in_toml(look.capital)}  # 0/1" if look.capital else "",
        f"groups = {in_toml(look.groups)}" if look.groups else "",
        f"# weight = {in_toml(look.weight)}  # to weight unit-periods by it" if look.weight else "",
        f"cluster = {in_toml(look.unit)}",
        f"sheet = {in_toml(sheet)}" if sheet else "",
    ]
    lines = [line for line in lines if line]
    if look.codes:
        every = [(name, code, count) for name, found in look.codes.items() for code, count in found.items()]
        held = ", ".join(f"{in_toml(name)} {code:g} ({count})" for name, code, count in every)
        codes = ", ".join(f"{code:g}" for code in sorted({code for _, code, _ in every}))
        lines.append(f"missing_codes = [{codes}]  # unlike all other values: {held}; remove those that are real")
    if look.coordinates:
        lines += [f"longitude = {in_toml(look.coordinates[0])}", f"latitude = {in_toml(look.coordinates[1])}"]
    lines += [
        'missing = "drop"  # some rows lack a value of these columns'
        if look.incomplete or look.codes
        else 'missing = "error"',
        'balance = "drop-units"  # spatial models need a balanced panel; or "drop-periods"'
        if look.gaps[0]
        else 'balance = "error"',
    ]
    reasons = dict(look.unused) | dict.fromkeys(look.again, f"is {look.outcome} in another form")
    if look.treatment and look.first_treated and look.dates:
        reasons[look.first_treated] = look.dates
    lines += [f"# not used: {in_toml(name)} {' '.join(why.split())}" for name, why in reasons.items()]
    return _completed(lines)


def _treatment_lines(look: Look) -> list[str]:
    doubts = [
        " ".join(
            f"# {in_toml(name)} looks like a treatment, but {problem.what} ({problem.where}): {problem.remedy}".split()
        )
        for name, problem in look.doubtful.items()
    ]
    if look.treatment is None and look.first_treated:
        return [f"first_treated = {in_toml(look.first_treated)}  # a unit's first treated period; empty or 0 = never",
                *doubts]  # fmt: skip
    if look.treatment is None:
        return ['# treatment = "..."  # 0/1 and stays 1, or of any strength, such as an index;',
                '# or first_treated = "...", a column that is empty where never',
                *doubts]  # fmt: skip
    lines = [f"treatment = {in_toml(look.treatment)}  # 0/1 and stays 1", *doubts]
    if look.policies:
        lines.append(f"# other_policy = {in_toml(look.policies[0])}  # of {', '.join(map(in_toml, look.policies))}")
    return lines


def _weights_lines(
    look: Look, order: tuple[str, ...], files: Sequence[str | Path], folder: Path
) -> tuple[list[str], list[str]]:
    """The [[weights]] tables, and what is asked about them."""
    lines, asked = [], []
    for file in files:
        settings, doubts = keys_of_file(Path(file), order)
        relative = os.path.relpath(Path(file).resolve(), folder.resolve())
        shown = {"path": Path(relative).as_posix()} | settings
        kind = str(shown.pop("kind"))
        keys = (f"{key} = {in_toml(value)}" for key, value in shown.items())
        lines += ["[[weights]]", f"kind = {in_toml(kind)}", *keys]
        lines += [*_left(_KINDS[kind], {"kind", *shown}), ""]
        asked += [f"[[weights]] {Path(file).name}: {doubt}" for doubt in doubts]
    if files:
        return lines[:-1], asked
    lines = ["[[weights]]", 'kind = "knn"', f"k = {min(6, look.units - 1)}"]
    if look.coordinates:
        return lines, []
    hints = ["# For spatial models, name longitude and latitude in [panel] and then:", *(f"# {line}" for line in lines),
             '# or give a file: kind = "file", path = "w.csv" (or: panelproof init PANEL --weights w.csv)']  # fmt: skip
    return hints, []


# Every key of a SPEC.toml as a comment.


_KINDS: dict[str, type[Table]] = {
    get_args(cls.model_fields["kind"].annotation)[0]: cls for cls in get_args(get_args(AnyWeights)[0])
}
_KEY = re.compile(r"(?:# )?([A-Za-z_]+) = ")


def _completed(lines: list[str]) -> list[str]:
    """Lines of tables, with the keys that each lacks as comments."""
    out: list[str] = []
    held: set[str] = set()
    model: type[Table] | None = None
    for line in [*lines, ""]:
        if match := re.match(r"\[([a-z.]+)\]", line):
            model, held = _MODELS.get(match[1]), set()
        if line == "" and model is not None:
            out += _left(model, held)
            model = None
        if match := _KEY.match(line):
            held.add(match[1])
        out.append(line)
    return out[:-1]


def _left(model: type[Table], held: set[str]) -> list[str]:
    """The keys of a table but those that are held, as comments with their defaults and meanings."""
    names, hints = list(model.model_fields), get_type_hints(model)
    meanings = meanings_of(model, names)
    lines = []
    for name, item in model.model_fields.items():
        parts = (hints[name], *get_args(hints[name]))
        if name in held or name == "kind" or any(isinstance(part, type) and issubclass(part, Table) for part in parts):
            continue
        default = None if item.is_required() else item.get_default(call_default_factory=True)
        shown = "..." if default is None else in_toml(default)
        lines.append(
            f"# {name} = {shown}  # {meanings[name].rstrip('.') or item.description or type_text(hints[name])}"
        )
    return lines


def _models(model: type[Table], above: str = "") -> Iterator[tuple[str, type[Table]]]:
    """Every table of a SPEC.toml by its dotted name."""
    for name, hint in get_type_hints(model).items():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and issubclass(part, Table):
                yield f"{above}{name}", part
                yield from _models(part, f"{above}{name}.")


_MODELS = dict(_models(SpecTables))


def _other_tables(lines: Sequence[str]) -> Iterator[str]:
    """Tables that a proposal lacks, as comments."""
    given = {match[1] for line in lines if (match := re.match(r"\[([a-z.]+)\]", line))}
    for name, model in _MODELS.items():
        if name not in given:
            yield from ("#", f"# [{name}]", *_left(model, set()))
    if "recode" not in given:
        yield from ("#", "# [recode]  # numbers for labels, by column", '# d = { "yes" = 1, "no" = 0 }')
    shared = set(WeightsSection.model_fields)
    for number, (kind, model) in enumerate(_KINDS.items()):
        yield from ("#", "# [[weights]]", f"# kind = {in_toml(kind)}", *_left(model, shared if number else set()))


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
    refuse(type_problems(cities, (int, np.integer), "cities", where="example_panel", allowed="a whole number"))
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
    roles |= dict.fromkeys(own.controls, "control")
    roles |= dict.fromkeys(own.mediators, "mediator")
    variables = []
    for name, array in panel.variables.items():
        values = array[0][seen_in(panel)]
        low, high = values.min(), values.max()
        numbers = {"mean": values.mean(), "sd": values.std(ddof=1) * (low < high), "min": low, "max": high}
        variables.append({"variable": name, "role": roles.get(name, ""), **{k: float(x) for k, x in numbers.items()}})

    treated = None  # how many units and unit-periods are, and how many units first in each period
    if own.treatment and not own.continuous:
        did = np.nan_to_num(panel.variables[own.treatment][0])
        ever = did.any(axis=0)
        starts, counts = np.unique(np.array(panel.periods)[did.argmax(axis=0)[ever]], return_counts=True)
        first = [{"period": start, "units": count}
                 for start, count in zip(starts.tolist(), counts.tolist(), strict=True)]  # fmt: skip
        treated = {"units": int(ever.sum()), "unit_periods": int(did.sum()), "first_treated": first}
    return {
        "units": len(panel.units),
        "periods": list(panel.periods),
        "observations": panel.nobs,
        "missing": len(panel.units) * len(panel.periods) - panel.nobs,
        "variables": variables,
        "treated": treated,
        "weights": [{"name": name, "neighbours": weights.matrix.nnz / len(panel.units),
                     "standardize": weights.standardize} for name, weights in panel.weights.items()],
        "sha256": panel.digest,
    }  # fmt: skip


def print_description(found: dict[str, Any], console: Console) -> None:
    """Print what `description` found."""
    balance = f"{amount(found['missing'], 'unit-period')} missing" if found["missing"] else "balanced"
    span = f"{found['periods'][0]}-{found['periods'][-1]}"
    console.print(f"{found['units']} units x {len(found['periods'])} periods ({span}), {found['observations']:,} "
                  f"observations, {balance}")  # fmt: skip
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for heading in ("variable", "role", "mean", "sd", "min", "max"):
        table.add_column(heading, justify="left" if heading in {"variable", "role"} else "right")
    for row in found["variables"]:
        table.add_row(row["variable"], row["role"], *(f"{row[name]:.4g}" for name in ("mean", "sd", "min", "max")))
    console.print(table)
    if treated := found["treated"]:
        cohorts = ", ".join(f"{item['period']} ({item['units']})" for item in treated["first_treated"])
        counts = f"{amount(treated['units'], 'unit')}, {amount(treated['unit_periods'], 'unit-period')}"
        console.print(f"treated: {counts}; first treated (units): {cohorts}")
    for item in found["weights"]:
        console.print(f"weights {item['name']}: {item['neighbours']:.1f} neighbours a unit, standardised by "
                      f"{item['standardize']}", markup=False)  # fmt: skip
    console.print(f"sha256 {found['sha256']}")
