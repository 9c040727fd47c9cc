"""What stores and diagnoses show of themselves in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.store.store import BlockState
from sim.errors import listed
from sim.notebook import card

if TYPE_CHECKING:
    from results.store.store import Store


def store_card(store: Store) -> str:
    """A study's store: how much of it is there, and where."""
    study = store.schema.study
    done, wanted = int((store.states == BlockState.DONE).sum()), store.states.size
    poisoned = int((store.states == BlockState.POISONED).sum())
    facts = [
        ("question", study.get("question")),
        ("cells", len(store.cells)),
        ("replications", f"{store.replications:,} a cell"),
        ("estimators", listed(store.layouts, 8)),
        ("estimands", listed(store.estimands, 8)),
        ("blocks", f"{done:,} of {wanted:,} done"),
        ("blocks that could not be computed", poisoned or None),
        ("held fixed", ", ".join(store.held_fixed)),
        ("stopped", store.stopped.sentence if store.stopped else None),
        ("folder", str(getattr(store, "path", "")) or "in memory"),
    ]
    return card(f"Store of the study {study.get('name', '')}", facts)
