"""The store of an earlier `panelproof placebo` that a run goes on with, and what it says of other choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from estimators.spatial.spatial_panel import SpatialPanel
from experiments.application.spec.spec import RealPanel
from experiments.placebo.placebo import Question, check_fits, question
from experiments.study.study import SCHEMA_VERSION
from results.store.bucket import StorePath
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput, bad, listed
from sim.panel import Panel
from sim.real_panels import Placebo, panel_of


def prepared(real: RealPanel, store: StorePath | None, **choices: Any) -> Question:
    """What to run on a panel, checked on it, and going on with the store where there is one; raises BadInput.

    choices: of `experiments.placebo.placebo.question`.
    """
    asked = question(real, **choices)
    found = asked if store is None else resumable(asked, store)
    check_fits(found)
    return found


def resumable(ask: Question, store: StorePath) -> Question:
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


def _other_test(store: StorePath, changed: list[str]) -> BadInput:
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
    return str(estimator["model"] if estimator["kind"] == SpatialPanel.kind else estimator["kind"])
