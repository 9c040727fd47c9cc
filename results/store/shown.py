"""What a store shows of itself in a notebook."""

from __future__ import annotations

from typing import Any

from sim.errors import listed
from sim.notebook import card


def store_card(store: Any) -> str:
    """A study's store: how much of it is there, and where."""
    study = store.schema.study
    done, wanted = int(store.there.sum()), store.there.size
    facts = [
        ("question", study.get("question")),
        ("cells", len(store.cells)),
        ("replications", f"{store.replications:,} a cell"),
        ("estimators", listed(store.layouts, 8)),
        ("estimands", listed(store.estimands, 8)),
        ("blocks", f"{done:,} of {wanted:,} done"),
        ("held fixed", ", ".join(store.held_fixed)),
        ("stopped", store.stopped.sentence if store.stopped else None),
        ("folder", str(getattr(store, "path", "")) or "in memory"),
    ]
    return card(f"Store of the study {study.get('name', '')}", facts)
