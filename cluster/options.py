"""Options of back ends: read from plain data, every fault at once."""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an option: what, where, what is allowed, what to do."""

    what: str
    where: str
    allowed: str
    remedy: str


class Refused(ValueError):
    """Raised before anything is started when a cluster cannot be used as asked; holds one or more faults."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{fault.where}: {fault.what}; allowed: {fault.allowed}" for fault in faults))


WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    tuple: 'a list of texts, such as ["a", "b"], or a,b on the command line',
    dict: "a table",
}
MOST_NAMES = 8  # that a message lists
MEMORY = re.compile(r"\d+(\.\d+)?\s*([kMGT]i?)?B", re.IGNORECASE)
NAME = re.compile(r"[\w.@%+:,/=~$-]+")  # of a queue, a host, a folder; nothing that a shell would run
CLOCK = re.compile(r"\d+:[0-5]\d:[0-5]\d")  # HH:MM:SS
LASTING = re.compile(r"(\d+-\d{1,2}|\d+)(:\d{2}){0,2}")  # Slurm: D-HH, D-HH:MM, D-HH:MM:SS, HH:MM:SS, MM:SS, minutes


def nearest(name: str, names: Sequence[str], otherwise: str) -> str:
    """A remedy for a misspelt name: the nearest one, if any is near."""
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]!r}?" if near else otherwise


def some_of(names: Sequence[str], like: str) -> str:
    """At most eight names as text, those like a misspelt one first, and where all stand."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    first = dict.fromkeys((*difflib.get_close_matches(like, names, MOST_NAMES), *names))
    rest = len(names) - MOST_NAMES
    return f"{', '.join(list(first)[:MOST_NAMES])} and {rest} more (all: `panelproof cluster kinds`)"


def read_options[T](kind: type[T], given: Mapping[str, Any], where: str) -> T:
    """An instance of a dataclass from plain data; texts are read as the type of their field. Raises Refused."""
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values, faults = dict[str, Any](), list[Fault]()
    for key, value in given.items():
        if key not in names:
            remedy, allowed = nearest(key, names, "leave it out"), some_of(names, key) or "no options"
            faults.append(Fault(f"unknown option {key!r}", where, allowed, remedy))
            continue
        wanted = _plain_type(hints[key])
        try:
            values[key] = _converted(value, wanted)
        except (TypeError, ValueError):
            faults.append(Fault(f"{key} = {value!r}", where, WORDS[wanted], f"correct {key}"))
    missing = [field.name for field in dataclasses.fields(kind)  # type: ignore[arg-type]
               if field.name not in given and field.default is dataclasses.MISSING
               and field.default_factory is dataclasses.MISSING]  # fmt: skip
    faults += [Fault(f"the option {name} is missing", where, f"{name} = ...", f"add {name}") for name in missing]
    if not faults:
        made = kind(**values)
        faults += made.faults(where) if hasattr(made, "faults") else ()
        if not faults:
            return made
    raise Refused(*faults)


def _plain_type(hint: Any) -> type:
    """bool, int, float, str, tuple or dict of an annotation such as "int | None" or "tuple[str, ...]"."""
    parts = [part for part in getattr(hint, "__args__", ()) if part is not type(None)]
    origin = getattr(hint, "__origin__", None)
    if origin in (tuple, dict):
        return origin
    return _plain_type(parts[0]) if parts else hint


def _converted(value: Any, wanted: type) -> Any:
    if isinstance(value, str):
        if wanted is tuple:
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        elif wanted is bool:
            value = {"true": True, "false": False}.get(value.lower(), value)
        else:
            value = json.loads(value) if wanted is dict else wanted(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if wanted is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = tuple(value)
    if type(value) is not wanted:
        raise TypeError
    return value


def checked_numbers(item: object, least: Mapping[str, float], where: str) -> Iterable[Fault]:
    """A fault for each number of an object that is below its least value."""
    for name, bound in least.items():
        value = getattr(item, name)
        if value is not None and not bound <= value < float("inf"):
            yield Fault(f"{name} = {value}", where, f"{bound:g} or more", f"correct {name}")


def checked_form(item: object, name: str, form: re.Pattern[str], allowed: str, where: str) -> Iterable[Fault]:
    """A fault when a text of an object does not have a form."""
    value = getattr(item, name)
    if value is not None and not form.fullmatch(value):
        yield Fault(f"{name} = {value!r}", where, allowed, f"correct {name}")


# Addresses of schedulers.


def is_loopback(address: str) -> bool:
    """Whether a scheduler's address stays on this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
