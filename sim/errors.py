"""Bad input, said once and well: what is wrong, where, what is allowed, what to do."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import math
import re
import struct
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from zipfile import BadZipFile

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # of a full disk
NO_THREAD = "can't start new thread"  # what Python says where the system gives no more
MOST_NAMES = 8  # that a message lists of what is allowed
SUGGESTS = "did you mean "
REMEMBERED = 512  # classes of settings whose types are remembered: to read them from their texts takes long


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what the user gave; `str(problem)` is a single line.

    A suggestion ("did you mean 'effect'?") stands before what is allowed, another remedy behind it.
    """

    what: str
    where: str
    allowed: str
    remedy: str

    def __str__(self) -> str:
        before, behind = (self.remedy, "") if self.remedy.startswith(SUGGESTS) else ("", self.remedy)
        parts = (self.where, self.what, before, f"allowed: {self.allowed}", behind)
        return visible(" ".join("; ".join(part for part in parts if part).split()))


CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """A text for a terminal: what would move its cursor, change its colours or turn letters round stands as "\\x1b",
    and what no encoding has, such as a byte of a file's name that is no letter, as "\\udcff".

    Lines and tabs stay. A name in a store or a bundle may hold anything (ECMA-48, section 8; Unicode TR 36).
    """
    return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_json(text: str) -> str:
    """The same of a JSON document, whose texts stay what they are, also where standard output has not all letters."""
    shown = CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    plain = not (sys.stdout.encoding or "utf").lower().startswith("utf")
    return re.sub("[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], shown) if plain else shown


class BadInput(ValueError):
    """Raised before any work when something the user gave cannot be used; holds one or more problems.

    >>> import panelproof as pp
    >>> try:
    ...     pp.open_store("nowhere.zarr")
    ... except pp.BadInput as error:
    ...     print(error)
    nowhere.zarr; no such store; allowed: a folder that `panelproof run` made; check the path
    """

    def __init__(self, *problems: Problem) -> None:
        if not problems:
            raise TypeError("BadInput needs a problem")
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))

    def __reduce__(self) -> tuple[type[BadInput], tuple[Problem, ...]]:
        return (type(self), self.problems)


def bad(what: str, *, where: str, allowed: str, remedy: str) -> BadInput:
    """A `BadInput` with a single problem."""
    return BadInput(Problem(what, where, allowed, remedy))


def refuse(problems: Iterable[Problem]) -> None:
    """Raise BadInput with all problems, each once, where there are any."""
    if found := tuple(dict.fromkeys(problems)):
        raise BadInput(*found)


def type_problems(
    value: object, kinds: type | tuple[type, ...], name: str, *, where: str, allowed: str, remedy: str = "correct it"
) -> Iterator[Problem]:
    """An argument of Python that is of none of these types; True and False are no numbers, and a class no object."""
    if isinstance(value, type):
        yield Problem(f"{name} is the class {value.__name__}", where, allowed, f"write {value.__name__}()")
    elif not isinstance(value, kinds) or isinstance(value, bool):
        plain = value is None or isinstance(value, str | int | float)
        what = f"{name} = {value!r}" if plain else f"{name} is of the type {type(value).__name__}"
        yield Problem(what, where, allowed, remedy)


@contextlib.contextmanager
def naming(place: str) -> Iterator[None]:
    """Every problem raised inside says that it is in that place, e.g. a study file, unless it does so already."""
    try:
        yield
    except BadInput as error:
        problems = (
            problem
            if problem.where.startswith(place)
            else replace(problem, where=", ".join(part for part in (place, problem.where) if part))
            for problem in error.problems
        )
        raise BadInput(*problems) from error


@contextlib.contextmanager
def gathering(problems: list[Problem]) -> Iterator[None]:
    """Add the problems raised inside to a list and go on behind it, so that the next ones are found too."""
    try:
        yield
    except BadInput as error:
        problems += error.problems


def one_of(names: Iterable[str], like: object = "", whole: str = "") -> str:
    """What is allowed as text: at most eight names, those like a misspelt one first, or a word that there are none.

    Behind more names stands how many are left out, and where all stand: whole, such as "`panelproof kinds panel`".
    """
    found = list(dict.fromkeys(map(str, names)))
    near = _near(str(like), found, MOST_NAMES) if like and len(found) > MOST_NAMES else []
    text = listed(dict.fromkeys((*near, *found)), MOST_NAMES) or "(none)"
    return f"{text} (all: {whole})" if whole and len(found) > MOST_NAMES else text


def a_kind(kinds: Iterable[str]) -> str:
    """What a table without a kind may have."""
    return f"kind = one of {one_of(kinds, whole='`panelproof kinds`')}"


def closest(name: str, names: Iterable[str], otherwise: str = "correct the name") -> str:
    """A remedy for a misspelt name: the nearest allowed one if any is near, else another remedy."""
    near = _near(name, names, 1)
    return f"{SUGGESTS}{near[0]!r}?" if near else otherwise


def _near(name: str, names: Iterable[str], most: int) -> list[str]:
    """The allowed names that are near one, the nearest first, whatever letters are large."""
    plain = {other.lower(): other for other in names}
    return [plain[other] for other in difflib.get_close_matches(str(name).lower(), plain, n=most)]


def choice_problems(settings: object, where: str) -> Iterator[Problem]:
    """Settings of a dataclass, alone or in tuples, whose type lists values (`Literal`) and that hold another one."""
    cls: Any = type(settings)
    for name, options in _choices_of(cls).items():
        value = getattr(settings, name)
        for one in value if isinstance(value, tuple) else (value,):
            if one not in options:
                allowed = one_of((str(x) or '""' for x in options if x is not None), one, all_of(cls))
                yield Problem(f"{name} = {one!r}", where, allowed, closest(str(one), [str(x) for x in options if x]))


def all_of(kind: Any) -> str:
    """The command that lists all dials of a kind, or of a class that has one; "" for any other class."""
    named = kind if isinstance(kind, str) else getattr(kind, "kind", None)
    return f"`panelproof kinds {named}`" if isinstance(named, str) and named else ""


@lru_cache(maxsize=REMEMBERED)
def _choices_of(cls: Any) -> Mapping[str, tuple[Any, ...]]:
    """The settings that list their values, by name; none of a class whose types cannot be read."""
    try:
        hints = get_type_hints(cls)
    except NameError:  # that a plug-in imports for type checkers alone
        return MappingProxyType({})
    found = {item.name: _options(hints[item.name]) for item in fields(cls)}
    return MappingProxyType({name: options for name, options in found.items() if options})


def _options(hint: Any) -> tuple[Any, ...]:
    """The values that a type lists, alone, in a tuple, or besides None; () where it lists none."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        parts = [_options(one) for one in inner if one is not NoneType]
        return (*(x for part in parts for x in part), None) if parts and all(parts) else ()
    if origin is tuple:
        return _options(inner[0]) if inner else ()
    return inner if origin is Literal else ()


def listed(items: Iterable[object], most: int = 5) -> str:
    """At most `most` items as text, with a count of the rest."""
    texts = [str(item) for item in items]
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest


def amount(count: int, noun: str) -> str:
    """ "1 row", "1,200 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or else its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def reason(error: BaseException, file: str | None = None) -> str:
    """An exception in one line: its type, its message and the line that raised it, of `file` if it passed there."""
    text = " ".join(str(error).split())
    named = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        return named  # its message names the line
    below = error.__traceback__.tb_next if error.__traceback__ else None  # its first step is where it was caught
    steps = [step for step in traceback.extract_tb(below) if "importlib" not in step.filename]
    inside = [step for step in steps if file and step.filename == file] or steps[-1:]
    return f"{named} ({Path(inside[-1].filename).name}, line {inside[-1].lineno})" if inside else named


# What users call a kind elsewhere: names of other programs' commands and of our classes, for suggestions alone.


ALIASES = {
    "twfe": "did",
    "reghdfe": "did",
    "xtreg": "did",
    "feols": "did",
    "fixest": "did",
    "areg": "did",
    "diff-in-diff": "did",
    "difference-in-differences": "did",
    "regress": "did",
    "ols": "did",
    "plm": "did",
    "didregress": "did",
    "xtdidregress": "did",
    "hdidregress": "callaway-santanna",
    "xthdidregress": "callaway-santanna",
    "ivreghdfe": "iv",
    "ivreg2": "iv",
    "ivregress": "iv",
    "xtivreg": "iv",
    "boottest": "wild:A",
    "fwildclusterboot": "wild:A",
    "honestdid": "trend-evidence",
    "pretrends": "trend-evidence",
    "spautolm": "spatial",
    "xsmle": "spatial",
    "splm": "spatial",
    "spml": "spatial",
    "spxtregress": "spatial",
    "sdpdmod": "spatial",
    "spreg": "spatial",
    "sar": "spatial",
    "sem": "spatial",
    "sdm": "spatial",
    "slx": "spatial",
    "sdem": "spatial",
    "sac": "spatial",
    "durbin": "spatial",
    "csdid": "callaway-santanna",
    "att-gt": "callaway-santanna",
    "callaway": "callaway-santanna",
    "did-imputation": "imputation",
    "borusyak": "imputation",
    "bjs": "imputation",
    "did2s": "two-stage",
    "gardner": "two-stage",
    "mcpanel": "matrix-completion",
    "mcnnm": "matrix-completion",
    "gsynth": "interactive-effects",
    "generalized-synthetic-control": "interactive-effects",
    "fect": "interactive-effects",
    "ife": "interactive-effects",
    "sunab": "sun-abraham",
    "eventstudyinteract": "sun-abraham",
    "eventstudy": "event-study",
    "eventdd": "event-study",
    "did-multiplegt": "dcdh",
    "did-multiplegt-dyn": "dcdh",
    "did-m": "dcdh",
    "switchers-did": "dcdh",
    "chaisemartin": "dcdh",
    "stackedev": "stacked",
    "psmatch2": "psm-did",
    "psm": "psm-did",
    "xtreg-re": "random",
    "re": "random",
    "phtest": "random",
    "hausman": "random",
    "synthdid": "synthetic-did",
    "sdid": "synthetic-did",
    "synth": "synthetic-control",
    "scpi": "synthetic-control",
    "sc": "synthetic-control",
    "adh": "synthetic-control",
    "difp": "demeaned-synthetic-control",
    "demeaned-sc": "demeaned-synthetic-control",
    "ritest": "permutation",
    "didplacebo": "permutation",
    "randomization-inference": "permutation",
    "medeff": "mediation",
    "sobel": "mediation",
    "sgmediation": "mediation",
    "residual-moran": "moran",
    "lagrange-multiplier": "lm",
    "equal-effects": "interaction",
    "spillover-did": "spatial-did",
}


def suggestion(name: str, kinds: Mapping[str, str]) -> str:
    """A remedy for an unknown kind: the kind whose class or alias this is, or the one with the nearest name.

    kinds: kind -> name of its class, "" for what is no class.
    """
    classes = {_plain(cls): kind for kind, cls in kinds.items() if cls}
    aliases = {_plain(alias): kind for alias, kind in ALIASES.items() if kind in kinds}
    known = aliases | classes | {_plain(kind): kind for kind in kinds}
    near = difflib.get_close_matches(_plain(name), known, n=1)
    return f"{SUGGESTS}{known[near[0]]!r}?" if near else "correct the name"


def _plain(name: str) -> str:
    """Without case, and without what joins words."""
    return re.sub(r"[-_ .]", "", name).lower()


# Files that are not what a path or an extension says.


TABLES = (".csv", ".parquet", ".dta", ".sav", ".xlsx")
# What the readers raise on content that is not what the extension says.
UNREADABLE = (ValueError, OSError, KeyError, IndexError, TypeError, AttributeError, EOFError, SyntaxError,
              struct.error, BadZipFile)  # fmt: skip


def near_file(path: Path, endings: Iterable[str], otherwise: str = "check the path", *, folders: bool = False) -> str:
    """A remedy for a path that leads to nothing: what lies beside it under a near name and has one of the endings.

    folders: whether it may be a folder, as a store is.
    """
    names, beside = dict[str, str](), list[Path]()
    with contextlib.suppress(OSError, ValueError):  # its folder is not there, cannot be read, or has a null in its name
        beside = sorted(path.parent.iterdir())
    for item in beside:
        if item.suffix.lower() in endings and item.name != path.name and (folders or item.is_file()):
            names[item.stem] = item.name
    near = _near(path.stem, names, 1)
    return f"{SUGGESTS}{str(path.with_name(names[near[0]]))!r}?" if near else otherwise


def check_file(path: Path, extensions: tuple[str, ...] = TABLES) -> None:
    """Raise BadInput unless `path` is a file with something in it and one of the extensions (lower case, dotted)."""
    allowed = "a file ending in " + ", ".join(extensions)
    if path.is_dir():
        raise bad("is a directory", where=str(path), allowed=allowed, remedy="name a file in it")
    if path.suffix.lower() not in extensions:
        raise bad(f"has the extension {path.suffix or '(none)'}", where=path.name, allowed=allowed,
                  remedy="save it as one of these")  # fmt: skip
    if not path.exists():
        remedy = f"there is no folder {path.parent}; correct the path"
        if path.parent.is_dir():  # the tables that do lie there
            near = sorted(item.name for item in path.parent.iterdir() if item.suffix.lower() in TABLES)
            remedy = f"correct the path; {path.parent} holds {listed(near, 6)}" if near else "correct the path"
        raise bad("there is no such file", where=str(path), allowed=allowed, remedy=near_file(path, TABLES, remedy))
    if path.stat().st_size == 0:
        raise bad("is empty", where=path.name, allowed=f"{allowed}, with a header and rows", remedy="save it again")


def number_in(text: str) -> float:
    """The number that a text is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
