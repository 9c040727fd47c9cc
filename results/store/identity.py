"""Whether a store is a study's, and if not, what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sim.designs.placebo import Placebo
from sim.errors import BadInput, Problem, bad

MOST_LINES = 5  # about another study's settings
MOST_LETTERS = 60  # of a setting's value


def check_identity(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
    """Raise BadInput for the store at `where`, which `old` describes, with what differs in another study."""
    held, asked = _of_a_panel(old), _of_a_panel(new)
    if held != asked:
        test, study = "a placebo test of a panel", "study"
        what = f"holds {test}, not this {study}" if held else f"holds a {study}, not {test}"
        raise bad(what, where=where, allowed="a store of its own", remedy="choose another --store")
    changed = differences(old, new)
    if (rest := len(changed) - MOST_LINES + 1) > 1:
        changed = [*changed[: MOST_LINES - 1], f"{rest} more settings differ"]
    raise BadInput(
        *(Problem(f"belongs to another study: {line}", where, "the study that made it",
                  "choose another --store, or undo the change") for line in changed)
    )  # fmt: skip


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """One line for each setting that is not the same; of another kind the kind alone, whose settings are its own."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("kind") != new.get("kind"):
            return differences(old.get("kind"), new.get("kind"), f"{path}.kind".lstrip("."))
        keys = list(dict.fromkeys((*old, *new)))
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [line for i, (a, b) in enumerate(pairs) for line in differences(a, b, f"{path}[{i}]")]
    if old == new:
        return []
    was, now = _brief(old), _brief(new)
    return [f"{path} is another" if was == now else f"{path} was {was}, is now {now}"]


def _brief(value: Any) -> str:
    """A value in a few letters; long texts, such as a panel's, by their length."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_LETTERS:
        return text
    if isinstance(value, str):
        return f"a text of {len(value):,} letters"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return f"{len(value)} tables"
    return text[: MOST_LETTERS - 3] + "..."


def _of_a_panel(identity: Mapping[str, Any]) -> bool:
    """Whether a study is the placebo test of a panel that it holds."""
    design = identity["design"]
    return design["kind"] == Placebo.kind and bool(design["panel"])
