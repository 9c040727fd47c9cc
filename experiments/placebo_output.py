"""What `panelproof placebo` prints and writes, and the store of an earlier run that it goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.placebo import Answer, Question
from experiments.reporting import unwritable
from experiments.study import SCHEMA_VERSION
from results.report.placebo_figure import placebo_figure
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput, bad, listed
from sim.panel import Panel
from sim.placebo import Placebo, panel_of

OF_MODEL = {"redrawn-did": "did", "redrawn-sdm": "sdm"}  # --estimator of the kernels for redrawn treatments


def print_placebo(found: Answer, console: Console) -> None:
    """The real estimate, its p value (or share) with the Monte Carlo error, its interval, and the placebos."""
    ask = found.question
    console.print(Text(f"Placebo test of {ask.term}: {ask.estimator.name}, scheme {ask.scheme}", style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, text in _lines(found):
        table.add_row(name, text)
    console.print(table)
    for note in found.notes:
        console.print(Text(note, style="yellow"))


def check_folder(folder: Path) -> None:
    """Raise BadInput, before any work and without making it, for a folder that could not be written."""
    if reason := unwritable(folder):
        raise bad(f"cannot be written: {reason}", where=str(folder), allowed="a writable folder",
                  remedy="choose another --out")  # fmt: skip


def write_placebo(found: Answer, folder: Path) -> list[Path]:
    """Write placebo.svg and placebo.json into a folder; raises BadInput when it cannot be written."""
    files = {
        "placebo.svg": placebo_figure(found.plot),
        "placebo.json": json.dumps(found.document, indent=1, ensure_ascii=False) + "\n",
    }
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        waiting = folder / f".{name}.partial"
        waiting.write_text(text, encoding="utf-8")
        os.replace(waiting, folder / name)
    return [folder / name for name in files]


def resumable(ask: Question, store: Path) -> Question:
    """The question with the panel as the store holds it, drawn or gone through as the store began.

    Raises BadInput, with the choices that differ, when the store holds another placebo test.
    """
    if not store.exists():
        return ask
    held = ZarrStore.open(store)
    kept = held.facts["study"]
    if kept["design"]["kind"] != Placebo.kind or not kept["design"]["panel"]:
        raise bad("holds no placebos of a panel", where=str(store), allowed="a store that `panelproof placebo` made",
                  remedy="choose another --store")  # fmt: skip
    if changed := _changed(ask, kept):
        raise _other_test(store, changed)
    design = replace(ask.design, panel=kept["design"]["panel"], exact=kept["design"].get("exact", False))
    count = ask.study.replications if design.exact else ask.draws
    study = replace(ask.study, design=design, replications=count)
    if study.fingerprint != held.fingerprint and held.facts["identity"]["schema"] == SCHEMA_VERSION:
        raise _other_test(store, ["--term, or what the spec says of clusters, is another"])
    return replace(ask, study=study)


def _other_test(store: Path, changed: list[str]) -> BadInput:
    return bad(f"holds another placebo test: {' and '.join(changed)}", where=str(store),
               allowed="the choices that made it",
               remedy="choose another --store, or make the same choices")  # fmt: skip


def _changed(ask: Question, kept: Mapping[str, Any]) -> list[str]:
    """The user's choices that are not those of a store's study, e.g. --estimator was sdm, is did."""
    own = ask.study.settings
    choices = {
        "--estimator": [_model(study["estimators"][0]) for study in (kept, own)],
        "--scheme": [study["design"]["scheme"] for study in (kept, own)],
        "--seed": [study["seed"] for study in (kept, own)],
    }
    found = [f"{option} was {was}, is {now}" for option, (was, now) in choices.items() if was != now]
    old, new = panel_of(kept["design"]["panel"]), panel_of(ask.design.panel)
    was, now = choices["--estimator"]
    if was != now and (old.observed is not None or new.observed is not None):
        return found  # models differ in which gaps they leave out: nothing is known of the file
    return found + _other_panel(old, new, alike=not found)


def _other_panel(old: Panel, new: Panel, *, alike: bool) -> list[str]:
    """How two panels differ; alike: the choices are the same, so that weights and further variables must be, too."""
    roles = {
        name: (getattr(old.roles, name), getattr(new.roles, name)) for name in ("outcome", "treatment", "controls")
    }
    renamed = [f"{role} was {_named(was)}, is {_named(now)}" for role, (was, now) in roles.items() if was != now]
    if renamed:
        return renamed
    if _core(old).digest != _core(new).digest:
        return ["the panel is another one"]
    if not alike or old.digest == new.digest:
        return []
    if {name: w.digest for name, w in old.weights.items()} != {name: w.digest for name, w in new.weights.items()}:
        return ["the spatial weights are others"]
    if set(old.variables) != set(new.variables):
        return ["--term, or the mediators of the spec, are others"]
    return ["the panel is another one, by its groups, places or mediators"]


def _core(panel: Panel) -> Panel:
    """What every estimator and scheme keeps of a panel: outcome, treatment and controls."""
    names = (panel.roles.outcome, *panel.roles.regressors)
    variables = {name: panel.variables[name] for name in names if name}
    return replace(panel, variables=variables, attributes={}, weights={}, roles=replace(panel.roles, mediators=()))


def _named(role: str | tuple[str, ...] | None) -> str:
    return listed(role) or "none" if isinstance(role, tuple) else str(role)


def _model(estimator: Mapping[str, Any]) -> str:
    """What --estimator calls an estimator's settings."""
    kind: str = estimator["kind"]
    return estimator.get("model") or OF_MODEL.get(kind, kind)


def _lines(found: Answer) -> list[tuple[str, str]]:
    usable = found.usable
    kind = "estimate" if found.question.statistic == "raw" else "t statistic"
    if found.question.statistic == "studentised" and found.error != found.own_error:
        kind += f" with {found.error} errors, as for the placebos"
    name, value = found.plot.standing
    precision = "every assignment used" if found.question.exact else f"Monte Carlo error {found.mcse:.4f}"
    lines = [
        ("real estimate", f"{found.estimate:.6g}"),
        ("its own test", f"se {found.se:.4g} ({found.own_error}), p = {found.pvalue:.4g}"),
        (name, f"{value:.4f} ({precision}), two-sided on the {kind}"),
    ]
    if np.isfinite(found.lower) or np.isinf(found.lower):
        lines.append(("95% interval", f"{found.lower:.6g} to {found.upper:.6g}, by inversion of the test"))
    lines.append(("placebos", f"{usable.size:,} of {len(found.placebos):,} fitted"))
    if usable.size > 1:
        lines.append(("their mean, sd", f"{usable.mean():.4g}, {usable.std(ddof=1):.4g}"))
    lines += [(f"{100 * q:g}% quantile", f"{value:.4g}") for q, value in found.quantiles.items()]
    return lines
