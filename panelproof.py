"""One name to import: `import panelproof as pp`.

`pp.Study`, `pp.run`, `pp.diagnose`, `pp.open_store` serve studies; `pp.design` and `pp.estimator` make designs and
estimators of plain functions; `pp.read_panel`, `pp.estimate`, `pp.placebo`, `pp.twin`, `pp.trust`, `pp.show`,
`pp.write_files`, `pp.write_twin`, `pp.write_trust` serve a real panel. Every design and every estimator is here under
the name of its class, such as `pp.Paper` and `pp.TwoWayDID`. Nothing is loaded before its first use.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from estimators import (
        DCDH,
        CallawaySantAnna,
        EventStudy,
        Imputation,
        InteractionTest,
        Mediation,
        PermutationTest,
        PsmDID,
        RandomEffects,
        Rings,
        SpatialDID,
        SpatialPanel,
        Stacked,
        SunAbraham,
        TwoStage,
        TwoWayDID,
    )
    from estimators.core.functions import estimator
    from experiments.application.example_panel import example_panel
    from experiments.application.spec.spec import RealPanel, Spec, read_spec
    from experiments.application.table_files import write_files
    from experiments.placebo.placebo import Answer
    from experiments.running.watched import run
    from experiments.study.study import Study
    from experiments.trust.output import write_trust
    from experiments.twins.output import write_twin
    from experiments.twins.twin import Twin
    from results.diagnosis.diagnose import diagnose
    from results.store.zarr_store import ZarrStore
    from results.tables.records import Document
    from sim.designs.paper import Paper
    from sim.errors import BadInput
    from sim.functions.design import design

ROOMS = ("sim", "estimators", "results", "cluster", "experiments")  # the packages that stand beside this module
PLACES = {
    "BadInput": "sim.errors",
    "Study": "experiments.study.study",
    "Twin": "experiments.twins.twin",
    "design": "sim.functions.design",
    "example_panel": "experiments.application.example_panel",
    "diagnose": "results.diagnosis.diagnose",
    "estimator": "estimators.core.functions",
    "read_spec": "experiments.application.spec.spec",
    "run": "experiments.running.watched",
    "write_files": "experiments.application.table_files",
    "write_trust": "experiments.trust.output",
    "write_twin": "experiments.twins.output",
}
__all__ = [
    "DCDH",
    "BadInput",
    "CallawaySantAnna",
    "EventStudy",
    "Imputation",
    "InteractionTest",
    "Mediation",
    "Paper",
    "PermutationTest",
    "PsmDID",
    "RandomEffects",
    "Rings",
    "SpatialDID",
    "SpatialPanel",
    "Stacked",
    "Study",
    "SunAbraham",
    "Twin",
    "TwoStage",
    "TwoWayDID",
    "design",
    "diagnose",
    "estimate",
    "estimator",
    "example_panel",
    "open_store",
    "placebo",
    "read_panel",
    "read_spec",
    "run",
    "show",
    "trust",
    "twin",
    "write_files",
    "write_trust",
    "write_twin",
]


def read_panel(panel: str | Path, spec: str | Path | Spec) -> RealPanel:
    """A panel file as its spec says, a SPEC.toml or what `read_spec` returns; raises BadInput with all faults."""
    from experiments.application.spec import spec as reading

    return reading.read_real_panel(panel, reading.read_spec(spec) if isinstance(spec, str | Path) else spec)


def estimate(
    panel: str | Path | RealPanel,
    spec: str | Path | Spec | None = None,
    *,
    cross_check: bool = False,
    estimators: Sequence[str] = (),
) -> Document:
    """The tables of `panelproof estimate`: every number is a row of `.frame`, and `show` prints the tables.

    panel: a file, with its spec, or what `read_panel` returned. cross_check: compare with linearmodels, spreg and esda.
    estimators: kinds of further ones, each a column of table 2.
    """
    from experiments.application import estimate as application

    return application.estimate(_read(panel, spec), cross_check=cross_check, estimators=estimators)


def placebo(
    panel: str | Path | RealPanel,
    spec: str | Path | Spec | None = None,
    *,
    store: str | Path | None = None,
    client: object = None,
    **choices: Any,
) -> Answer:
    """The test of `panelproof placebo`, e.g. placebo(panel, spec, scheme="strata:region", draws=9999).

    choices: scheme, estimator, term, draws, statistic, seed, as of the command. store: where the draws are kept and
    resumed; without it they stay in memory. client: a running Dask Client, as in `run`.
    """
    from experiments.placebo import placebo as test
    from experiments.placebo.stored import prepared
    from experiments.running.runner import run

    target = None if store is None else Path(store)
    ask = prepared(_read(panel, spec), target, **choices)
    return test.answer(ask, run(ask.study, store=target, client=client))


def twin(
    panel: str | Path | RealPanel, spec: str | Path | Spec | None = None, *, method: str | Sequence[str] | None = None
) -> Twin:
    """The twin of `panelproof twin`: fitted `.parameters`, the `.design` and its `.study`, and the rows of `.fidelity`.

    method: parametric, factor, residual or several, in place of those of the spec; the first is the twin, `.others` are
    the rest.
    """
    from experiments.twins import twin as twins

    return twins.twin(_read(panel, spec), method)


def trust(
    panel: str | Path | RealPanel,
    spec: str | Path | Spec | None = None,
    *,
    claim: str = "did",
    out: str | Path | None = None,
    budget: float = 60.0,
    **choices: Any,
) -> dict[str, Any]:
    """What `panelproof trust` writes to trust.json, as plain data; `write_trust(found, folder)` writes the page.

    out: a folder where the stores are kept and resumed; without it they stay in memory. budget: seconds of the
    simulations. choices: errors (the type that you print), replications (a cell, in place of a budget).
    """
    from experiments.notebook import TrustCard
    from experiments.trust.document import document
    from experiments.trust.means import Means
    from experiments.trust.trust import trust as judged

    means = Means(None if out is None else Path(out))
    return TrustCard(document(judged(_read(panel, spec), claim, budget=budget, means=means, **choices)))


def open_store(path: str | Path) -> ZarrStore:
    """The store that a run has made; raises BadInput when there is none."""
    from results.store.zarr_store import ZarrStore

    return ZarrStore.open(Path(path))


def show(answer: Document | Answer | Twin, errors: str | None = None) -> None:
    """Print what `estimate` (with the error type `errors`, where a model has it), `placebo` or `twin` returned."""
    from rich.console import Console

    from experiments.placebo.output import print_placebo
    from experiments.twins.output import print_twin
    from experiments.twins.twin import Twin
    from results.tables.records import Document
    from results.tables.terminal import print_estimates

    console = Console(highlight=False)
    if isinstance(answer, Document):
        print_estimates(answer, console, errors)
    elif isinstance(answer, Twin):
        print_twin(answer, console)
    else:
        print_placebo(answer, console)


def __getattr__(name: str) -> Any:
    """A name of the table above, or a design or an estimator by the name of its class."""
    if name in PLACES:
        return getattr(importlib.import_module(PLACES[name]), name)
    if not name.startswith("_") and name in (classes := _classes()):
        return classes[name]
    raise AttributeError(f"module 'panelproof' has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return sorted({*__all__, *_classes()})


def _read(panel: str | Path | RealPanel, spec: str | Path | Spec | None) -> RealPanel:
    if not isinstance(panel, str | Path):
        return panel
    if spec is None:
        raise TypeError("a panel file needs its spec: pass the path of a SPEC.toml as the second argument")
    return read_panel(panel, spec)


def _classes() -> dict[str, type]:
    """Every design and estimator by the name of its class."""
    from estimators.core.estimator import estimators
    from sim.design import designs

    return {found.__name__: found for found in (*designs().values(), *estimators().values())}


def _check_rooms() -> None:
    """Raise ImportError when Python finds another module under the name of one of our packages."""
    for room in ROOMS:
        place = _place_of(room)
        if place is None or place != Path(__file__).resolve().parent / room:
            raise ImportError(f"panelproof needs its own package {room!r}, but Python finds {place or 'none'}: "
                              "rename that file or folder, or start Python elsewhere")  # fmt: skip


def _place_of(name: str) -> Path | None:
    """The folder of a package, or the file of a module, that an import of the name gives; None when there is none."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded else importlib.util.find_spec(name)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    place = folders[0] if folders else spec.origin if spec else getattr(loaded, "__file__", None)
    return Path(place).resolve() if place else None


_check_rooms()
