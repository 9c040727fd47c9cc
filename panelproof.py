"""One name to import: `import panelproof as pp`.

`pp.Study`, `pp.run`, `pp.diagnose`, `pp.compare`, `pp.solve`, `pp.breakdown`, `pp.replay`, `pp.open_store` serve
studies; `pp.design` and `pp.estimator` make designs and estimators of plain functions; `pp.init`, `pp.read_panel`,
`pp.estimate`, `pp.placebo`, `pp.twin`, `pp.trust`, `pp.race`, `pp.plot_paths`, `pp.plot_weights`, `pp.show`,
`pp.write_files`, `pp.write_twin`, `pp.write_trust` serve a real panel; `pp.replicate` and `pp.rerun` an archive.
Every design and every estimator is here under the name of its class, such as `pp.Paper` and `pp.TwoWayDID`. Nothing is
loaded before its first use.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from estimators import (
        DCDH,
        Ancova,
        CallawaySantAnna,
        DemeanedSyntheticControl,
        DynamicSpatialPanel,
        EquallyWeightedDID,
        EventStudy,
        Imputation,
        InteractionTest,
        InteractiveEffects,
        MatrixCompletion,
        Mediation,
        Moderation,
        PanelIV,
        PermutationTest,
        PostOnly,
        PsmDID,
        RandomEffects,
        Rings,
        SpatialDID,
        SpatialPanel,
        SpatialRandomEffects,
        Stacked,
        SunAbraham,
        SyntheticControl,
        SyntheticDID,
        TripleDifference,
        TwoStage,
        TwoWayDID,
    )
    from estimators.core.estimator import Estimator
    from estimators.core.functions import estimator
    from estimators.linear.formula import formula
    from estimators.permutation import Statistic
    from experiments.estimation import Tables, write_files
    from experiments.panel_spec.first_spec import example_panel
    from experiments.panel_spec.sections import Spec
    from experiments.panel_spec.spec import RealPanel, read_spec
    from experiments.placebo import PlaceboAnswer
    from experiments.r_functions import r_estimator
    from experiments.replication import Finding
    from experiments.run.progress import run
    from experiments.run.resume import Replay
    from experiments.search.solve import SearchAnswer
    from experiments.study import Study
    from experiments.trust.document import write_trust
    from experiments.trust.race import Race
    from experiments.twins.twin import Twin, write_twin
    from results.diagnosed import diagnose
    from results.diagnosis.comparison import Comparison
    from results.plots.picture import Picture
    from results.store import Store
    from results.store.bucket import StorePath
    from results.store.zarr_store import ZarrStore
    from results.tables.records import Document
    from sim.errors import BadInput
    from sim.functions import design
    from sim.presets import Paper

type Given = str | Path | pd.DataFrame | RealPanel  # a panel: its file, its table, or what read_panel returned
type Asked = str | Path | Mapping[str, Any] | Spec | None  # its spec: a file, a dict, or what read_spec returned

TABLE = "a path, or a DataFrame of pandas"
SPEC = "the path of a SPEC.toml, the same as a dict, or what read_spec returned"
ROOMS = ("sim", "estimators", "results", "cluster", "experiments")  # the packages that stand beside this module
PLACES = {
    "BadInput": "sim.errors",
    "Study": "experiments.study",
    "Twin": "experiments.twins.twin",
    "design": "sim.functions",
    "example_panel": "experiments.panel_spec.first_spec",
    "diagnose": "results.diagnosed",
    "estimator": "estimators.core.functions",
    "formula": "estimators.linear.formula",
    "r_estimator": "experiments.r_functions",
    "read_spec": "experiments.panel_spec.spec",
    "run": "experiments.run.progress",
    "write_files": "experiments.estimation",
    "write_trust": "experiments.trust.document",
    "write_twin": "experiments.twins.twin",
}
__all__ = [
    "DCDH",
    "Ancova",
    "BadInput",
    "CallawaySantAnna",
    "DemeanedSyntheticControl",
    "DynamicSpatialPanel",
    "EquallyWeightedDID",
    "EventStudy",
    "Imputation",
    "InteractionTest",
    "InteractiveEffects",
    "MatrixCompletion",
    "Mediation",
    "Moderation",
    "PanelIV",
    "Paper",
    "PermutationTest",
    "PostOnly",
    "PsmDID",
    "RandomEffects",
    "Rings",
    "SpatialDID",
    "SpatialPanel",
    "SpatialRandomEffects",
    "Stacked",
    "Study",
    "SunAbraham",
    "SyntheticControl",
    "SyntheticDID",
    "TripleDifference",
    "Twin",
    "TwoStage",
    "TwoWayDID",
    "breakdown",
    "compare",
    "design",
    "diagnose",
    "estimate",
    "estimator",
    "example_panel",
    "formula",
    "init",
    "open_store",
    "placebo",
    "plot_paths",
    "plot_weights",
    "r_estimator",
    "race",
    "read_panel",
    "read_spec",
    "replay",
    "replicate",
    "rerun",
    "run",
    "show",
    "solve",
    "trust",
    "twin",
    "write_files",
    "write_trust",
    "write_twin",
]


def read_panel(panel: str | Path | pd.DataFrame, spec: str | Path | Mapping[str, Any] | Spec) -> RealPanel:
    """A panel as its spec says; raises BadInput with all faults.

    panel: a file, or a table of pandas with one row a unit and period. spec: a SPEC.toml, the same as a dict, or what
    `read_spec` returns.

    >>> import pandas as pd
    >>> import panelproof as pp
    >>> table = pd.DataFrame({"city": list("aabb"), "year": [1, 2, 1, 2], "y": [1.0, 2.0, 1.5, 1.0]})
    >>> pp.read_panel(table, {"panel": {"unit": "city", "period": "year", "outcome": "y"}}).panel.nobs
    4
    """
    import pandas as pd

    from experiments.panel_spec import spec as reading
    from experiments.panel_spec.sections import Spec
    from sim.errors import refuse, type_problems

    wrong = type_problems(spec, (str, Path, Mapping, Spec), "spec", where="read_panel", allowed=SPEC,
                          remedy="panelproof.init(panel) proposes one")  # fmt: skip
    refuse([*type_problems(panel, (str, Path, pd.DataFrame), "panel", where="read_panel", allowed=TABLE), *wrong])
    if isinstance(spec, str | Path) and isinstance(panel, str | Path):
        return reading.read_real_panel(panel, spec)
    if isinstance(spec, str | Path):
        spec = reading.read_spec(spec)
    elif isinstance(spec, Mapping):
        spec = reading.spec_of(spec)
    if isinstance(panel, str | Path):
        return reading.read_real_panel(panel, spec)
    return reading.real_panel_of(panel.copy(), spec)


def estimate(
    panel: Given,
    spec: Asked = None,
    *,
    cross_check: bool = False,
    estimators: str | Estimator | Sequence[str | Estimator] = (),
) -> Tables:
    """The tables of `panelproof estimate`: every number is a row of `.frame`, and `show` prints the tables.

    panel: a file or a table, with its spec, or what `read_panel` returned. cross_check: compare with linearmodels,
    spreg and esda. estimators: further ones, by kind or as they are, such as `pp.formula(...)`, each a column of
    table 2.

    >>> import panelproof as pp
    >>> tables = pp.estimate(pp.example_panel())
    >>> print(tables["2", 5].params.round(3)["did"], tables["2", 5].std_errors.round(4)["did"])
    0.03 0.0039
    >>> pp.show(tables["3"])
    Table 3...
    >>> sorted(file.name for file in pp.write_files(tables, "out", ["json", "tex"]) if file.suffix in {".json", ".tex"})
    ['estimates.json', 'tables.tex']
    """
    from experiments import estimation as application
    from experiments.estimation import Tables

    return Tables.of(application.estimate(_read(panel, spec), cross_check=cross_check, estimators=estimators))


def plot_paths(panel: Given, spec: Asked = None, *, estimator: str = "synthetic-did") -> Picture:
    """Observed and synthetic paths of each date of adoption, with the weights of periods, as in `estimate`.

    A figure of matplotlib: notebooks show it, `.savefig` writes it. estimator: synthetic-did, synthetic-control,
    demeaned-synthetic-control or equally-weighted-did. Raises BadInput for a panel with gaps, or with fewer than two
    units that are never treated. Numbers: `pp.SyntheticDID().paths(panel.panel)`.

    >>> import panelproof as pp
    >>> figure = pp.plot_paths(pp.example_panel())
    >>> figure.savefig("paths.pdf")
    >>> print(figure.axes[0].get_title(loc="left"))
    朝阳市 from 2008: effect 0.0686
    """
    from experiments.tables.synthetic_table import plot_paths as plotted

    return plotted(_read(panel, spec), estimator)


def plot_weights(
    panel: Given,
    spec: Asked = None,
    *,
    estimators: Sequence[str] = ("synthetic-did", "synthetic-control", "demeaned-synthetic-control"),
) -> Picture:
    """Weights of control units by several synthetic estimators, a row a unit, the heaviest first.

    The units are those of table C2, and of several dates weights are averaged by treated cells. estimators, and what
    is raised: as in `plot_paths`.

    >>> import panelproof as pp
    >>> figure = pp.plot_weights(pp.example_panel(), estimators=["synthetic-control"])
    >>> print(figure.axes[0].get_xlabel())
    weight
    """
    from experiments.tables.synthetic_table import plot_weights as plotted
    from sim.errors import refuse, type_problems

    refuse(type_problems(estimators, (str, list, tuple), "estimators", where="plot_weights", allowed="one, or several"))
    estimators = (estimators,) if isinstance(estimators, str) else estimators
    return plotted(_read(panel, spec), estimators)


def placebo(
    panel: Given,
    spec: Asked = None,
    *,
    scheme: str = "space",
    estimator: str = "did",
    term: str | None = None,
    draws: int = 1000,
    statistic: Statistic = "raw",
    seed: int | None = None,
    store: str | StorePath | None = None,
    client: object = None,
) -> PlaceboAnswer:
    """The test of `panelproof placebo`, e.g. placebo(panel, spec, scheme="strata:region", draws=9999).

    scheme, estimator, term, draws, statistic, seed: as of the command. store: where the draws are kept and resumed;
    without it they stay in memory. client: a running Dask Client, as in `run`.

    >>> import panelproof as pp
    >>> found = pp.placebo(pp.example_panel(), scheme="space", draws=99)
    >>> len(found.placebos)
    99
    """
    from experiments import placebo as test
    from experiments.placebo import prepared
    from experiments.run.runner import run
    from results.store.bucket import store_path

    target = None if store is None else store_path(store)
    ask = prepared(_read(panel, spec), target, scheme=scheme, estimator=estimator, term=term, draws=draws,
                   statistic=statistic, seed=seed)  # fmt: skip
    return test.answer(ask, run(ask.study, store=target, client=client))


def twin(panel: Given, spec: Asked = None, *, method: str | Sequence[str] | None = None) -> Twin:
    """The twin of `panelproof twin`: fitted `.parameters`, the `.design` and its `.study`, and the rows of `.fidelity`.

    method: parametric, factor, residual or several, in place of those of the spec; the first is the twin, `.others` are
    the rest.

    >>> import panelproof as pp
    >>> twin = pp.twin(pp.example_panel())
    >>> isinstance(twin, pp.Twin), twin.design.schema.units, twin.parameters[0].dial
    (True, 57, 'errors.sd')
    >>> [file.name for file in pp.write_twin(twin, "twin") if not file.name.startswith("design")]
    ['panel.parquet', 'fidelity.json', 'fidelity.html']
    """
    from experiments.twins import twin as twins

    return twins.twin(_read(panel, spec), method)


def trust(
    panel: Given,
    spec: Asked = None,
    *,
    claim: str = "did",
    errors: str | None = None,
    effect: float | None = None,
    budget: str | float = 60.0,
    replications: int | None = None,
    benchmarks: int = 64,
    race: bool = True,
    alone: bool = False,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """What `panelproof trust` writes to trust.json, as plain data; `write_trust(found, folder)` writes the page.

    errors: the type that you print. effect: the size that matters. budget: seconds of the simulations; replications: a
    cell, in place of a budget. benchmarks: twins that show what bounds under unequal trends say of sound panels. race:
    whether other estimators race on the twins. alone: without placebos, checks, worlds nearby and race. out: a folder
    where the stores are kept and resumed; without it they stay in memory.

    >>> import panelproof as pp
    >>> found = pp.trust(pp.example_panel(30), replications=64)
    >>> [row["se_type"] for row in found["errors"]][:3]
    ['cluster:unit', 'iid', 'hc1']
    >>> [file.name for file in pp.write_trust(found, "out")][:2]
    ['trust.json', 'trust.html']
    """
    from experiments.study import TrustCard
    from experiments.trust.document import document
    from experiments.trust.evidence import RunContext
    from experiments.trust.trust import trust as judged

    found = judged(_read(panel, spec), claim, errors=errors, effect=effect, budget=budget, replications=replications,
                   benchmarks=benchmarks, race=race, alone=alone, context=RunContext(_path(out, "trust")))  # fmt: skip
    return TrustCard(document(found))


def race(
    panel: Given,
    spec: Asked = None,
    *,
    claim: str = "did",
    effect: float | None = None,
    kinds: str | Estimator | Sequence[str | Estimator] = (),
    budget: str | float = 120.0,
    replications: int | None = None,
) -> Race:
    """Race estimators of an effect on twins of a panel, and say which one to use; `show` prints it.

    effect: in the twins; by default as estimated. kinds: estimators that race beside the claim's own, by kind,
    "module:Object" or as they are, such as a `formula`; none = all that serve. budget: seconds of the simulations;
    replications: panels a world, in place of a budget. The answer has `answer` (sentences), `best`, `frame` (a row a
    world and estimator) and `panel` (what each says of the panel).

    >>> import panelproof as pp
    >>> found = pp.race(pp.example_panel(30), replications=64, kinds=["imputation"])
    >>> sorted(set(found.frame["estimator"]))
    ['did', 'imputation']
    """
    from experiments.trust.race import race as raced

    return raced(_read(panel, spec), claim, effect=effect, kinds=kinds, budget=budget, replications=replications)


def solve(
    goal: str,
    study: str | Study,
    dial: str,
    *,
    out: str | Path | None = None,
    low: float | None = None,
    high: float | None = None,
    precision: float = 0.02,
    budget: int = 200_000,
    estimator: str | None = None,
    term: str | None = None,
    error: str | None = None,
    seed: int | None = None,
    cluster: str | None = None,
    workers: int | None = None,
) -> list[SearchAnswer]:
    """Where a measure reaches a level along a dial, as `panelproof solve`: an answer a cell of the other dials.

    goal: such as "power:0.8", or "mcse:coverage=0.003" for replications. study: one of yours, a built-in one by name,
    or a file. dial: effect, units, periods, treated, replications, or any that holds a number. out: a folder where
    every point is kept and resumed; without it they stay in memory. low, high: where the search begins and ends.
    precision: half the interval over the answer. budget: replications of one answer. estimator, term, error: whose
    measure; by default the first key term of the first estimator, with its main errors. cluster, workers: as in `run`.
    Each answer has `value`, `lower`, `upper` (99%) and a `sentence`; `show` prints them.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0]}, replications=64, block=64)
    >>> found = pp.solve("mcse:coverage=0.02", study, "replications")
    >>> found[0].state, found[0].dial
    ('found', 'replications')
    """
    from experiments.search.searches import solving
    from experiments.search.solve import Search
    from experiments.study import study_of

    options, folder = Search(low, high, precision, budget), _path(out, "solve")
    asked = solving(study_of(study).resized(seed=seed), goal, dial, folder, options,
                    estimator=estimator, term=term, error=error)  # fmt: skip
    return _searched(asked, cluster, workers)


def breakdown(
    study: str | Study,
    dial: str,
    second: str | None = None,
    *,
    measure: str = "coverage:0.90",
    out: str | Path | None = None,
    low: float | None = None,
    high: float | None = None,
    to_second: float | None = None,
    precision: float = 0.02,
    budget: int = 200_000,
    estimator: str | None = None,
    term: str | None = None,
    error: str | None = None,
    seed: int | None = None,
    cluster: str | None = None,
    workers: int | None = None,
) -> list[SearchAnswer]:
    """The smallest departure along a dial at which a measure passes a level, as `panelproof breakdown`.

    study, out, and what follows it: as in `solve`. dial: such as trend_gap or errors.serial. second: a second
    departure, for the frontier along both; to_second: where it ends. measure: coverage:0.90, size:0.10, or bias:25%
    (of the effect).

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0128]}, replications=64, block=64)
    >>> found = pp.breakdown(study, "trend_gap", measure="bias:25%", high=0.05, precision=0.2, budget=4096)
    >>> found[0].dial
    'trend_gap'
    """
    from experiments.search.searches import breaking
    from experiments.search.solve import Search
    from experiments.study import study_of

    options, folder = Search(low, high, precision, budget, to_second), _path(out, "breakdown")
    asked = breaking(study_of(study).resized(seed=seed), measure, dial, second, folder, options,
                     estimator=estimator, term=term, error=error)  # fmt: skip
    return _searched(asked, cluster, workers)


def compare(a: str | StorePath | Store, b: str | StorePath | Store, alpha: float = 0.05) -> Comparison:
    """What store `b` says minus what store `a` says, paired where both drew the same panels; `.frame` has the numbers.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> set(pp.compare(pp.run(study), pp.run(study.resized(seed=2))).frame["estimator"])
    {'did'}
    """
    from results.diagnosis.comparison import compare as compared

    return compared(_opened(a), _opened(b), alpha)


def replay(store: str | StorePath | Store, cell: int, replication: int, *, load_code: bool = False) -> Replay:
    """One replication of a store, or of what `run` returned, again: `.panel` and `.block`, the numbers of its fits.

    load_code: import the modules that the store names, which only a store of your own should ask for. Raises BadInput
    when there is no such replication.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> pp.replay(pp.run(study, store="again.zarr"), 0, 7).panel.replications
    1
    """
    from experiments.run.resume import replay as replayed

    return replayed(_opened(store), cell, replication, load_code=load_code)


def init(
    panel: str | Path | pd.DataFrame,
    out: str | Path | None = None,
    *,
    sheet: str | None = None,
    weights: str | Path | Sequence[str | Path] = (),
) -> str:
    """The SPEC.toml that `panelproof init` proposes for a file or a table; out: where it is written too; sheet: of a
    workbook; weights: a file of W, or several. Lines that begin with "# ?" ask you to look at something.

    Raises BadInput for a table that is no panel, and for an `out` that exists.

    >>> import pandas as pd
    >>> import panelproof as pp
    >>> table = pd.DataFrame({"city": list("aabb"), "year": [1, 2, 1, 2], "y": [1.0, 2.0, 1.5, 1.0]})
    >>> 'unit = "city"' in pp.init(table)
    True
    """
    import pandas as pd

    from experiments.panel_spec.first_spec import first_spec, propose_spec, write_first_spec
    from sim.errors import refuse, type_problems

    refuse([
        *type_problems(panel, (str, Path, pd.DataFrame), "panel", where="init", allowed=TABLE),
        *type_problems(weights, (str, Path, list, tuple), "weights", where="init", allowed="a path or more"),
    ])  # fmt: skip
    files = (weights,) if isinstance(weights, str | Path) else tuple(weights)
    file = _path(out, "init")
    folder = Path() if file is None else file.parent
    if isinstance(panel, str | Path):
        proposed = partial(first_spec, panel, sheet, files, folder)
    else:
        proposed = partial(propose_spec, panel.copy(), "table", weights=files, folder=folder)
    return proposed() if file is None else write_first_spec(proposed, file)


def replicate(
    folder: str | Path,
    stores: Sequence[str | StorePath] = (),
    panel: str | Path | None = None,
    spec: str | Path | None = None,
    *,
    with_data: bool = False,
    load_code: bool = False,
) -> list[str]:
    """Write a bundle for a journal's archive into a new folder, as `panelproof replicate`; its files by name.

    stores: of studies. panel, spec: a real panel and its SPEC.toml; the panel itself goes in only `with_data`.
    load_code: of stores that name code. Raises BadInput for what cannot be run again.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> _ = pp.run(study, store="archived.zarr")
    >>> pp.replicate("bundle", ["archived.zarr"])[:2]
    ['README.md', 'SHA256SUMS']
    """
    from experiments.replication import write_bundle
    from results.store.bucket import store_path
    from sim.errors import refuse, type_problems

    refuse(
        [
            *type_problems(folder, (str, Path), "folder", where="replicate", allowed="a path"),
            *type_problems(stores, (list, tuple), "stores", where="replicate", allowed="several in brackets"),
        ]
    )
    given = [None if part is None else Path(part) for part in (panel, spec)]
    places = [store_path(store) for store in stores]
    return write_bundle(Path(folder), places, *given, with_data=with_data, load_code=load_code)


def rerun(folder: str | Path, *, load_code: bool = False) -> list[Finding]:
    """Run every part of a bundle again, and say of each whether it is the same: part, verdict, reason.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> _ = pp.run(study, store="deposited.zarr")
    >>> _ = pp.replicate("deposit", ["deposited.zarr"])
    >>> [found.verdict for found in pp.rerun("deposit")]
    ['same bits', 'same bits']
    """
    from experiments.replication import rerun as again
    from sim.errors import refuse, type_problems

    refuse(type_problems(folder, (str, Path), "folder", where="rerun", allowed="the path of a bundle"))
    return list(again(Path(folder), load_code=load_code))


def _opened(store: Any) -> Any:
    """A store that is named, opened, or itself."""
    return store if hasattr(store, "blocks") else open_store(store)


def _searched(asked: tuple[Any, Any], cluster: str | None, workers: int | None) -> list[SearchAnswer]:
    """The answers of a search."""
    from experiments.run.progress import opened

    evaluator, search = asked
    with opened(cluster, workers) as evaluator.executor:
        answers: list[SearchAnswer] = search()
    return answers


def open_store(path: str | StorePath) -> ZarrStore:
    """The store that a run has made, in a folder, a zip or an object store; raises BadInput when there is none.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> _ = pp.run(study, store="mine.zarr")
    >>> pp.open_store("mine.zarr").replications
    64
    """
    from results.store.bucket import store_path
    from results.store.zarr_store import ZarrStore

    return ZarrStore.open(store_path(path))


def show(
    answer: Document | PlaceboAnswer | Twin | Race | Mapping[str, Any] | Sequence[SearchAnswer],
    errors: str | None = None,
    tables: str | None = None,
) -> None:
    """Print what `estimate`, `placebo`, `twin`, `trust`, `race`, `solve` or `breakdown` returned; estimates with the
    error type `errors` and the tables of a list, such as "2,7" or "all" (default: table 2 and tests)."""
    from experiments.estimation import check_tables
    from experiments.placebo import PlaceboAnswer, print_placebo
    from experiments.search.searches import print_answers
    from experiments.search.solve import SearchAnswer
    from experiments.tables.ledger import journal_tables
    from experiments.trust.document import print_trust
    from experiments.trust.race import Race, print_race
    from experiments.twins.twin import Twin, print_twin
    from results.tables.records import Document
    from results.tables.terminal_tables import NamesConsole, print_estimates
    from sim.errors import refuse, type_problems

    console = NamesConsole()
    if tables is not None:
        refuse(type_problems(tables, str, "tables", where="show", allowed='a text, such as "2,7" or "all"'))
    if isinstance(answer, Document):
        made = journal_tables(answer, errors)
        print_estimates(answer, made, console, errors, check_tables(tables, "show"))
    elif isinstance(answer, Twin):
        print_twin(answer, console)
    elif isinstance(answer, Race):
        print_race(answer, console)
    elif isinstance(answer, Mapping) and "verdict" in answer:
        print_trust(answer, console)
    elif isinstance(answer, list | tuple) and all(isinstance(one, SearchAnswer) for one in answer):
        print_answers(answer, console)
    else:
        refuse(type_problems(answer, PlaceboAnswer, "answer", where="show",
                             allowed="what estimate, placebo, twin, trust, race, solve or breakdown returned",
                             remedy="print(x.summary()) shows a diagnosis or Estimates"))  # fmt: skip
        assert isinstance(answer, PlaceboAnswer)
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


def _read(panel: Given, spec: Asked) -> RealPanel:
    from experiments.panel_spec.spec import RealPanel
    from sim.errors import bad, refuse, type_problems
    from sim.panel import Panel

    if isinstance(panel, RealPanel):
        if spec is not None:
            raise bad("a spec beside a panel that read_panel returned, which has its own", where="panelproof",
                      allowed="a path or a table with its spec, or such a panel", remedy="leave it out")  # fmt: skip
        return panel
    if isinstance(panel, Panel):  # which knows no columns, and may have lost the spec
        refuse(type_problems(panel, RealPanel, "panel", where="panelproof", remedy="give what .panel was taken from",
                             allowed="what read_panel returned, or a path or a table with its spec"))  # fmt: skip
    if spec is None:
        raise TypeError("a panel file or table needs its spec: pass the path of a SPEC.toml as the second argument")
    return read_panel(panel, spec)


def _path(out: str | Path | None, where: str) -> Path | None:
    from sim.errors import refuse, type_problems

    refuse(type_problems(Path() if out is None else out, (str, Path), "out", where=where, allowed="a path"))
    return None if out is None else Path(out)


def _classes() -> dict[str, type]:
    """Every design and estimator by the name of its class."""
    from estimators.core.estimator import estimators
    from sim.design import designs

    return {found.__name__: found for found in (*designs().values(), *estimators().values())}


def _place_of(name: str) -> Path | None:
    """The folder of a package, or the file of a module, that an import of the name gives; None when there is none."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded else importlib.util.find_spec(name)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    place = folders[0] if folders else spec.origin if spec else getattr(loaded, "__file__", None)
    return Path(place).resolve() if place else None


for _room in ROOMS:  # Python may find another module under the name of one of our packages
    if (_place := _place_of(_room)) != Path(__file__).resolve().parent / _room:
        raise ImportError(f"panelproof needs its own package {_room!r}, but Python finds {_place or 'none'}: "
                          "rename that file or folder, or start Python elsewhere")  # fmt: skip

if __name__ == "__main__":
    from experiments.cli import main

    main()
