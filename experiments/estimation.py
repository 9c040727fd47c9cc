"""`panelproof estimate`: which tables a panel can have, their estimates, checks by other programs, and files.

The estimator that a user names at the command line, for a panel and its spec.

Estimates on a panel as pandas objects, under the names of statsmodels and linearmodels.

Every number is the one that the tables print. The index has the levels table and column, unless they are chosen, then
whatever else tells the fits of one column apart (model, transform, sample, ...), and last the term.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd

from estimators.core.error_types import error_label, kind_of, served
from estimators.core.estimator import Estimator, estimators, find_estimator
from estimators.core.hypotheses import HypothesisTest
from estimators.core.regression import check_fixed
from estimators.linear.derived import Moderation, TripleDifference
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import PLACEBOS
from estimators.linear.panel_iv import PanelIV
from estimators.permutation import PermutationTest
from estimators.spatial.likelihood import FORMS
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.checks import checks_of
from experiments.checks.case import Case
from experiments.listing import in_full, offered
from experiments.panel_spec.look import NEVER
from experiments.panel_spec.spec import RealPanel
from experiments.plugin_contracts import asking
from experiments.settings import build, in_toml
from experiments.tables.cross_check import cross_check as cross_check_of
from experiments.tables.interactions_table import moderation_of, triple_difference_of
from experiments.tables.iv_table import endogenous_of, two_stages
from experiments.tables.ledger import (
    Ledger,
    clustered_enough,
    error_types,
    facts_of,
    journal_tables,
    need_of,
    never_treated,
    regression,
    table_modules,
    with_further,
)
from experiments.tables.regressions import add_chosen
from experiments.tables.spatial_models import transforms_of
from results.store.disk import check_folder, write_whole
from results.tables.journal_table import EVERY, FitColumn, fit_columns, table_formats
from results.tables.records import CROSS_CHECK, LEVEL, PICTURES, Document, Record, heading, sentences
from sim.errors import BadInput, Problem, amount, bad, closest, gathering, naming, one_of, refuse, type_problems
from sim.panel import Panel, Text, card, seen_in


def panel_for(name: str, real: RealPanel) -> Panel:
    """What the estimator called `name` is fitted on: the balanced part where it takes no gaps, the rows with its
    columns where a section of the spec sets it up."""
    found = SpatialPanel if name in FORMS else estimators().get(name)
    if found is not None and not found.gaps:
        return real.balanced()
    spec, named = real.spec, tuple[str, ...]()
    if name == PanelIV.kind and spec.iv is not None:
        named = (endogenous_of(spec), *spec.iv.instruments)
    elif name == Moderation.kind and spec.moderation is not None:
        named = spec.moderation.by
    return with_further(real, named, f"--estimator {name}")[0] if named else real.panel


def estimator_called(
    name: str, real: RealPanel, regressors: tuple[str, ...] | None = None, weights: str | None = None
) -> Estimator:
    """did with the settings of table 2, a spatial model by its name, or any kind or "module:Object" as it begins.

    regressors, weights: None = the panel's own and its first. Raises BadInput for names that do not exist, for a
    permutation test, and for spatial models without weights.
    """
    if name == TwoWayDID.kind:
        return regression(real.spec, name, regressors)
    if name in SECTIONS:
        return _of_section(name, real)
    if name not in (*FORMS, SpatialPanel.kind):
        kind = in_full(name, "--estimator")
        found = find_estimator(kind, "--estimator") if ":" in kind else estimators().get(kind)
        if found is None or issubclass(found, PermutationTest):
            known = [*FORMS, *(each for each in estimators() if each != PermutationTest.kind), *offered()]
            meant = closest(kind, [*known, PermutationTest.kind])
            remedy = "for permutation tests: panelproof placebo" if repr(PermutationTest.kind) in meant else meant
            raise bad(f"estimator {kind!r}", where="--estimator", remedy=remedy,
                      allowed=f"{one_of(known, kind, '`panelproof kinds`')}, or module:Object")  # fmt: skip
        return build(found, {}, f"--estimator {kind}")
    there = panel_for(name, real).weights
    chosen = weights or next(iter(there), None)
    if chosen is None or chosen not in there:
        raise bad("the panel has no such spatial weights", where=f"--estimator {name}", allowed=one_of(there),
                  remedy="add a [[weights]] table")  # fmt: skip
    effects = real.spec.spatial.effects[0]
    transform = transforms_of(there[chosen], effects)[-1]
    model = SpatialPanel().model if name == SpatialPanel.kind else name
    return SpatialPanel(model, transform, regressors=regressors, weights=chosen, effects=effects)  # type: ignore[arg-type]


SECTIONS = {  # kinds of which a section of the spec says what they are about
    PanelIV.kind: '[iv] with instruments = ["..."]',
    Moderation.kind: '[moderation] with by = ["..."], one column',
    TripleDifference.kind: '[ddd] with group = "..."',
}


def _of_section(name: str, real: RealPanel) -> Estimator:
    """An estimator as its section of the spec says; raises BadInput where there is none, or several are meant."""
    spec, panel = real.spec, panel_for(name, real)
    errors = clustered_enough(panel, tuple(error for error in error_types(spec) if kind_of(error) not in PLACEBOS))
    if name == PanelIV.kind and spec.iv is not None and spec.iv.instruments:
        own = tuple(error for error in errors if served(error, tuple(panel.attributes), "iv"))
        return replace(two_stages(real, spec.iv.instruments, own), label=name)
    if name == TripleDifference.kind and spec.ddd is not None:
        return triple_difference_of(real, panel, spec.ddd.group, errors, name)
    by = () if name != Moderation.kind or spec.moderation is None else spec.moderation.by
    if len(by) == 1:
        return moderation_of(real, panel, by[0], errors, name)
    what = f"by names {len(by)} moderators" if by else "the spec does not say what it is about"
    remedy = "name one of them; table M has a column for each" if by else "write this section"
    raise bad(what, where=f"--estimator {name}", allowed=f"{spec.file} {SECTIONS[name]}", remedy=remedy)


# Whether a real panel can be estimated as its spec says, before anything is: what is wrong, all at once.


def check_estimable(real: RealPanel) -> None:
    """Raise BadInput for a spec without models, gaps that W forbids, and columns that no regression can take."""
    spec, panel, problems = real.spec, real.panel, list[Problem]()
    if not panel.roles.regressors and not panel.weights:
        problems.append(Problem(
            "there is neither a treatment nor a control, and no weights", f"{spec.file}, [panel]",
            "treatment, first_treated or controls (or [[weights]], only for spatial autocorrelation)",
            'name what explains the outcome, e.g. controls = ["x"]'))  # fmt: skip
    with gathering(problems):
        if panel.weights:
            real.balanced()
    problems += _column_problems(real)
    for error in error_types(spec) if panel.roles.regressors else ():  # clusters, periods, units without a treatment
        need, key = need_of(panel, error), "[inference] errors" if error in spec.inference.errors else "[panel] cluster"
        where = f"{spec.file}, {key}"
        other = "choose another error type"
        if need.endswith("periods"):
            said = f"{error} with {amount(len(panel.periods), 'period')}"
            problems.append(Problem(said, where, f"{need} or more", other))
        elif need and kind_of(error) in PLACEBOS:
            said = f"{error} with {amount(never_treated(panel), 'unit')} never treated"
            problems.append(Problem(said, where, "a treatment, and 2 or more units without it", other))
        elif need:
            problems.append(Problem(f"{error} has 1 cluster", where, "2 or more clusters", "choose a finer grouping"))
    section = spec.panel
    own = (section.treatment, section.first_treated, section.outcome, panel.roles.outcome)
    groups = (*spec.attributes, *section.groups)
    known = list(dict.fromkeys(str(name) for name in (*own, *panel.variables, *real.further, *groups) if name))
    problems += [Problem(f"labels names {name!r}", f"{spec.file}, [output]", one_of(known), closest(name, known))
                 for name in spec.output.labels if name not in known]  # fmt: skip
    with gathering(problems):
        check_tables(",".join(spec.output.tables) or None, f"{spec.file}, [output] tables")
    refuse(problems)


def _column_problems(real: RealPanel) -> Iterator[Problem]:
    """Regressors and outcome that are constant, absorbed by the effects or collinear, under the user's names."""
    section, index, roles = real.spec.panel, real.spec.index, real.panel.roles
    treatment = section.treatment or section.first_treated
    column = {name: name for name in (*roles.controls, roles.outcome) if name}
    column |= {roles.treatment: treatment} if roles.treatment and treatment else {}
    panel = replace(real.panel, variables={own: real.panel.variables[name] for name, own in column.items()}, weights={})
    sound: tuple[str, ...] = ()
    for name in (*(column[name] for name in roles.regressors), *((roles.outcome,) if roles.outcome else ())):
        alone = False  # whether two-way effects and the treatment leave nothing of the outcome
        if name == roles.outcome and treatment in sound:
            try:
                check_fixed(panel, (str(treatment), name), "")
            except BadInput:
                alone = True
        try:
            check_fixed(panel, (str(treatment), name) if alone else (*sound, name), "")
            sound = (*sound, name)
        except BadInput as error:
            made = index is not None and name == index.name
            where = f"{real.spec.file}, [index] {name}" if made else f"{real.file}, column {name!r}"
            for problem in error.problems:
                what = problem.what.removeprefix(f"variable {name!r} ")
                remedy = "remove it from the controls"
                if name == roles.outcome:
                    made_by = "collinear" in what and not alone
                    remedy = "remove the controls that determine it" if made_by else "name another outcome"
                elif name == treatment:
                    remedy = "check the column: units must differ in whether and when they are treated"
                held = np.setdiff1d(panel.variables[name][0][seen_in(panel)], NEVER)
                within = np.isin(held, np.arange(panel.periods[0], panel.periods[-1] + 1)).all() and (held > 1).any()
                if name == section.treatment and within:
                    remedy = f"it looks like first treated periods: say first_treated = {in_toml(name)}"
                yield replace(problem, what=what, where=where, remedy=remedy)


# The files of `panelproof estimate`: numbers, tables in several formats, figures; all of them or none.


WARNINGS = "warnings.md"
MARKDOWN = re.compile(r"[\\`*]|<(?=[\w/!?])|&(?=#?\w+;)|_(?!\w)|(?<!\w)_|(?<=\])\(|~(?=~)")  # of names, no marks


def check_formats(text: str, folder: Path | None = None, where: str = "--format") -> tuple[str, ...]:
    """The formats of a comma-separated list, JSON always first.

    Raises BadInput for one that is not written or cannot be here, and for tables without a folder that can hold them.
    """
    chosen = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    known = (*table_formats(), *PICTURES[1:])  # figures are always written as svg
    unknown = [part for part in chosen if part not in known]
    if unknown or not chosen:
        raise bad(f"format {one_of(unknown) if unknown else repr(text)}", where=where, allowed=", ".join(known),
                  remedy=closest((unknown or [text])[0], known, "choose among them"))  # fmt: skip
    if folder is None and set(chosen) != {"json"}:
        raise bad("--format without --out", where=where, allowed="a folder for the files", remedy="add --out DIR")
    if folder is not None:
        check_folder(folder)
    for part in chosen:
        if part not in PICTURES:
            form = table_formats()[part]
            with asking(form.write, "check"):
                form.check()
    return tuple(dict.fromkeys(("json", *chosen)))


def check_tables(text: str | None, where: str = "--tables") -> tuple[str, ...]:
    """The names of a comma-separated list of tables, none where there is no list; raises BadInput for one that no panel
    has."""
    names = tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    known = [name for module in table_modules() for name in module.TABLES if name != CROSS_CHECK]
    numbers = {name.casefold() for name in known} | {EVERY}
    unknown = [name for name in names if name.casefold().rstrip(ascii_lowercase) not in numbers
               and name.casefold() not in numbers
               and not (re.fullmatch(r"[a-zA-Z]\d+", name) and name[0].casefold() in numbers | {"a"})]  # fmt: skip
    if unknown or (text is not None and not names):
        raise bad(f"table {one_of(unknown) if unknown else repr(text)}", where=where,
                  allowed=f"{one_of(dict.fromkeys(known))}, one with its letter such as 7b, A1 and on for the "
                          f"appendix, or {EVERY}", remedy="choose among them")  # fmt: skip
    return names


def write_files(
    document: Document, folder: str | Path, formats: str | Sequence[str], errors: str | None = None
) -> list[Path]:
    """Write estimates.json, the tables in the formats that are asked for, warnings.md, and each figure as NAME.svg (and
    pdf or png as asked) into FOLDER.

    formats: one, such as "html", or several. Every file is made before the first is put in place; raises BadInput for
    other formats, and when the folder cannot be written.
    """
    refuse(
        [
            *type_problems(document, Document, "the tables", where="write_files", allowed="what estimate returned"),
            *type_problems(folder, (str, Path), "folder", where="write_files", allowed="a path"),
            *type_problems(formats, (str, list, tuple), "formats", where="write_files", allowed="one or more"),
        ]
    )
    folder = Path(folder)
    formats = check_formats(formats if isinstance(formats, str) else ",".join(map(str, formats)), folder, "formats")
    tables = journal_tables(document, errors)
    files: dict[str, bytes] = {}
    own = {WARNINGS, *(f"{figure.name}.{form}" for figure in document.figures for form in PICTURES)}
    for name in (name for name in formats if name not in PICTURES):
        form = table_formats()[name]
        with asking(form.write, f"format {name}"):
            files |= form.files(document, tables, errors, partial(_picture, document, errors), own | files.keys())
    if document.warnings:
        files[WARNINGS] = warnings_text(document).encode()
    for figure in document.figures:
        files[f"{figure.name}.svg"] = figure.svg.encode()
        files |= {f"{figure.name}.{form}": figure.drawn(form) for form in PICTURES if form in formats}
    try:
        return write_whole(folder, files)
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror}", where=str(folder), allowed="a writable folder",
                  remedy="choose another --out") from error  # fmt: skip


def warnings_text(document: Document) -> str:
    """The warnings in words, the most serious first, what was checked and found nothing, and the notes."""
    silent = [one.sentence for one in document.warnings if not one.severity]
    said = sentences(document.warnings) or ("None.",) * bool(document.warnings)
    parts = {heading(document.warnings): said, "What was checked and found nothing": silent,
             "Notes": document.notes}  # fmt: skip
    texts = ["\n".join([f"# {title}", "", *(f"- {MARKDOWN.sub(r'\\\g<0>', one)}" for one in parts[title])])
             for title in parts if parts[title]]  # fmt: skip
    return "\n\n".join(texts) + "\n"


def _picture(document: Document, errors: str | None) -> str:
    """The element of a page that shows the effect; "" where there is none."""
    from results.plots.chart import figure
    from results.plots.specification_curve import effect_chart

    chart = effect_chart(document, errors)
    return "" if chart is None else figure(chart, "h2")


# The paper's models on a real panel: the same estimators and the same runner as in a study.


LARGEST, SMALLEST = 1e60, 1e-60  # numbers that statistics of fourth powers can still be made of


EstimatorsAsked = str | Estimator | Sequence[str | Estimator]  # by kind or as they are


def estimate(real: RealPanel, *, cross_check: bool = False, estimators: EstimatorsAsked = ()) -> Document:
    """All tables of a panel, on request held to other programs; raises BadInput when no model can be fitted.

    estimators: further ones, each a column of table 2.
    """
    ledger = ledger_of(real, estimators)
    checks = checks_of(Case.of(real, ledger))  # they add specifications and a figure to the ledger
    balanced = real.balanced() if cross_check and real.panel.weights else None
    return Document(
        facts_of(real),
        tuple(ledger.records),
        tuple(ledger.statistics),
        warnings=checks,
        notes=(*ledger.notes, *ledger.failures),
        failed=len(ledger.failures),
        figures=tuple(ledger.figures),
        cross_check=cross_check_of(ledger.fitted, ledger.records, balanced) if cross_check else (),
        specifications=tuple(ledger.specifications),
        fitted=tuple(ledger.fitted),
        style=real.spec.output.style,
    )


def ledger_of(real: RealPanel, estimators: EstimatorsAsked = ()) -> Ledger:
    """The tables that a spec asks for, and a column for each further estimator; raises BadInput as `estimate` does."""
    chosen: dict[Estimator, Panel] = {}
    for one in asked_estimators(estimators, "estimators", "estimate"):
        if isinstance(one, str):
            chosen[estimator_called(one, real)] = panel_for(one, real)
        elif isinstance(one, PermutationTest):
            raise bad("a permutation test is no column", where="estimate", allowed="other estimators",
                      remedy="call pp.placebo")  # fmt: skip
        else:
            chosen[one] = real.panel if one.gaps else real.balanced()
    names = [estimator.name for estimator in chosen]
    if twice := [name for name in names if names.count(name) > 1]:
        raise bad(f"two estimators are called {twice[0]!r}", where="estimate", allowed="a name of its own for each",
                  remedy="give one a label")  # fmt: skip
    _check_sizes(real.panel)
    check_estimable(real)
    ledger = Ledger(real.spec.inference.seed, real.names, notes=list(real.notes))
    for module in table_modules():
        if hasattr(module, "add"):
            with asking(module, "add"):
                module.add(real, ledger)
    if chosen:
        add_chosen(ledger, chosen)
    section, cluster_k = real.spec.robustness, real.spec.inference.cluster_k
    if cluster_k != "nonnested" and (section.psm is not None or section.staggered):
        ledger.note(f'cluster_k = "{cluster_k}" does not apply to PSM, event studies, Sun-Abraham and stacks: their '
                    "clustered errors always count the effects that are not nested in the clusters.")  # fmt: skip
    if not ledger.records:
        raise bad("no model can be fitted", where="estimation", allowed="an outcome that varies, sound regressors",
                  remedy="; ".join(ledger.failures))  # fmt: skip
    return ledger


def asked_estimators(given: object, name: str, where: str) -> tuple[str | Estimator, ...]:
    """Kinds and estimators, of one or several; raises BadInput for anything else. name: what a caller calls them."""
    several = tuple(given) if isinstance(given, list | tuple) else (given,)
    for one in several:
        if not isinstance(one, str | Estimator):
            remedy = f"write {one.__name__}()" if isinstance(one, type) else "put @pp.estimator above a function"
            raise bad(f"{name} holds {one!r:.60}", where=where, allowed="names of kinds, and estimators", remedy=remedy)
    return several


def _check_sizes(panel: Panel) -> None:
    """Raise BadInput for variables whose fourth powers, as in the errors of a variance, overflow or vanish."""
    seen, problems = seen_in(panel), []
    names = (panel.roles.outcome, *panel.roles.regressors, *panel.roles.mediators)
    for name in dict.fromkeys(name for name in names if name is not None):
        values = panel.variables[name][0][seen]
        largest, spread = float(np.abs(values).max()), float(values.max() / 2 - values.min() / 2)
        if largest > LARGEST or 0 < spread < SMALLEST:
            said = f"holds numbers up to {largest:.1e}" if largest > LARGEST else f"varies by only {2 * spread:.1e}"
            allowed = f"sizes from {SMALLEST:g} to {LARGEST:g}"
            problems.append(Problem(f"variable {name!r} {said}", "estimation", allowed, "measure it in another unit"))
    refuse(problems)


PLACES = ("table", "column")
TELLING = ("model", "transform", "sample", "weights", "year", "mediator")
HEADS = {"estimate": "estimate", "se": "std. error", "statistic": "t", "pvalue": "p", "lower": "lower",
         "upper": "upper"}  # fmt: skip
Found = tuple[FitColumn, Record]

type Selection = str | int | tuple[str | int, int]  # of a document: a table, or a table and its column


@dataclass(frozen=True, slots=True)
class Tables(Document):
    """All estimates on one panel, or a part of them, under the names of statsmodels and linearmodels.

    `tables["2"]` is one table, `tables["2", 5]` one column. Of all of them there are `.params`, `.std_errors`,
    `.tstats`, `.pvalues`, `.conf_int()` and `.summary()`, whose index says table, column and term.

    >>> import panelproof as pp
    >>> tables = pp.estimate(pp.example_panel())
    >>> print(tables["2", 5].params.round(3)["did"])
    0.03
    >>> tables["2", 5].conf_int().loc["did"].round(3).tolist()
    [0.022, 0.038]
    >>> print(tables["2", 5].with_errors("iid").std_errors.round(4)["did"])
    0.0062
    >>> print(tables["2", 5].summary().splitlines()[0])
    Table 2, column 5 (all): did, 57 units in 18 periods, 1,026 rows; errors: clustered by unit
    >>> tables["7", 3].params.index.names
    FrozenList(['transform', 'term'])

    place: of a part, which of table and column it is one of. errors: the error type that is shown, None = the usual
    one.
    """

    place: tuple[str, ...] = ()
    errors: str | None = None

    def __repr__(self) -> str:
        tables = dict.fromkeys(record.table for record in self.records)
        column = f", column {self.records[0].column}" if self.place == PLACES and self.records else ""
        numbers = f"{amount(len(self.records), 'number')}; pp.show prints them, .frame holds them"
        return f"Tables({', '.join(tables)}{column}: {numbers})"

    @classmethod
    def of(cls, document: Document) -> Tables:
        """The same that answers."""
        return cls(**{each.name: getattr(document, each.name) for each in fields(Document)})

    def __getitem__(self, key: Selection) -> Tables:
        """One table, `tables["2"]`, or one column of it, `tables["2", 5]`. Raises BadInput where there is none."""
        where, (first, *rest) = "tables[...]", key if isinstance(key, tuple) else (key,)
        if len(rest) > 1 or not all(str(part).isdecimal() for part in rest):
            raise bad(f"{key!r} is no table and column", where=where, allowed="a table, or a table and one column",
                      remedy='write tables["2"] or tables["2", 5]')  # fmt: skip
        table, column = str(first), int(rest[0]) if rest else None
        tables = {item.table for item in (*self.records, *self.statistics)}
        known = sorted(tables, key=lambda name: (len(name), name))
        if table not in known:
            raise bad(f"no table {table!r}", where=where, allowed=one_of(known, table), remedy=closest(table, known))
        columns = sorted({item.column for item in self.records if item.table == table})
        if column is not None and column not in columns:
            raise bad(f"table {table} has no column {column}", where=where, allowed=one_of(map(str, columns)),
                      remedy="choose one of them")  # fmt: skip

        def kept(items: Iterable[Record]) -> tuple[Record, ...]:
            return tuple(item for item in items if item.table == table and column in (None, item.column))

        return replace(
            self, records=kept(self.records), statistics=kept(self.statistics), figures=(), cross_check=(),
            warnings=(), specifications=(), notes=(), place=PLACES[:1] if column is None else PLACES,
        )  # fmt: skip

    @property
    def params(self) -> pd.Series:
        """The estimates, by table, column, what else tells the fits of a column apart, and term."""
        return self._series("estimate", "parameter")

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors of the type that the tables print, indexed as `params`; see `with_errors`."""
        return self._series("se", "std_error")

    @property
    def tstats(self) -> pd.Series:
        """Estimates over their standard errors, indexed as `params`."""
        return self._series("statistic", "tstat")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values, indexed as `params`."""
        return self._series("pvalue", "pvalue")

    def conf_int(self, alpha: float = LEVEL) -> pd.DataFrame:
        """Ends of intervals at level 1 - alpha in columns lower and upper, indexed as `params`.

        Raises BadInput for another level than 95% where a table keeps intervals as they were estimated, such as those
        of mediation.
        """
        if alpha == LEVEL:
            return pd.concat([self._series(name, name) for name in ("lower", "upper")], axis=1)
        found = {tuple(one.fit.identity.items()): one.estimates for one in self.fitted}
        ends = []
        for _, record in self._shown():
            fit = found.get(tuple(record.identity.items()))
            if fit is None or record.term not in fit.terms or record.se_type not in fit.errors:
                raise bad(f"alpha = {alpha} of intervals that are kept as they were estimated",
                          where=f"table {record.table}, conf_int", allowed=f"{LEVEL}",
                          remedy='leave alpha out, or choose another table: tables["2"]')  # fmt: skip
            with naming(f"table {record.table}"):
                made = fit.with_errors(record.se_type).only((record.term,)).conf_int(alpha)
            ends.append([float("nan") if record.lower is None else float(end) for end in made.iloc[0]])
        return pd.DataFrame(ends, self.params.index, ["lower", "upper"], float)

    def with_errors(self, kind: str) -> Tables:
        """The same that shows errors of a type, such as "hc1", where a fit has them. Raises BadInput for another."""
        known = list(dict.fromkeys(record.se_type for record in self.records))
        if kind not in known:
            raise bad(f"no error type {kind!r}", where="with_errors", allowed=one_of(known, kind),
                      remedy=closest(kind, known))  # fmt: skip
        return replace(self, errors=kind)

    def lincom(self, combination: str, **which: Any) -> HypothesisTest:
        """A linear combination of the terms of one column, such as "did - 2 * inv", with its error, test and interval.

        which: of several fits of a column, one of model, transform, sample, weights. Raises BadInput for names that are
        no terms, and for more than one combination.

        >>> import panelproof as pp
        >>> found = pp.estimate(pp.example_panel())["2", 5].lincom("did + inv")
        >>> print(f"{found.estimate:.3f} ({found.se:.3f})")
        0.104 (0.027)
        """
        found = self.test(combination, **which)
        if found.kind != "combination":
            raise bad(f"{combination!r} is no single combination", where="lincom", allowed='one, such as "did - inv"',
                      remedy="for several hypotheses or bounds: test")  # fmt: skip
        return found

    def test(self, hypothesis: str, **which: Any) -> HypothesisTest:
        """The test of "did = 0.02", of several hypotheses, "did = 0, inv = 0", or of equivalence, "-0.01 < did < 0.01".

        It is of the terms of one column, `tables["2", 5]`, with the errors that are shown; which: as in `lincom`.
        """
        from experiments.tables.hypotheses_table import chosen

        if self.place != PLACES:
            raise bad("several columns", where="test", allowed="one column", remedy='choose it: tables["2", 5]')
        (place, *_) = dict.fromkeys((record.table, record.column) for record in self.records)
        fitted = chosen(self.fitted, *place, [str(word) for word in which.values()])
        return fitted.test(hypothesis, self.errors, "test", str(self.panel.get("treatment_column") or ""))

    def summary(self) -> Text:
        """One column as a table of coefficients; a whole table, or all of them, as `show` prints them."""
        if self.place == PLACES:
            table = pd.concat([self._series(name, head) for name, head in HEADS.items()], axis=1)
            return Text(f"{self._heading()}\n{table.to_string(float_format='{:.4g}'.format, na_rep='')}")
        from rich.console import Console

        from experiments.tables.ledger import journal_tables
        from results.tables.terminal_tables import print_estimates

        file = io.StringIO()
        console = Console(file=file, width=100, highlight=False, color_system=None)
        print_estimates(self, journal_tables(self, self.errors), console, shown=(EVERY,))
        return Text(file.getvalue().rstrip())

    def _repr_html_(self) -> str:
        """A column's coefficients, or what each regression of the document says of the treatment, for a notebook."""
        treatment, whole = self.panel.get("treatment"), self.place != PLACES
        shown = [each for each in self._shown() if not whole or each[1].term == str(treatment)]
        levels = self._levels(shown)
        heads = (*levels, "term", "estimate", "std. error", "p", "errors")
        rows = [(*(_level(fit, name) for name in levels), str(record.term), _number(record.estimate),
                 _number(record.se), _number(record.pvalue), error_label(record.se_type))
                for fit, record in shown]  # fmt: skip
        title = f"Estimates of {self.panel.get('outcome')}" if whole else self._heading()
        said: list[tuple[str, object]] = [("panel", self._size()), ("treatment", treatment)]
        notes = [f"{amount(self.failed, 'fit')} failed."] if self.failed else []
        return card(title, said, heads, rows, [*notes, *self.notes[:3]] if whole else notes)

    def _shown(self) -> Iterator[Found]:
        """Every estimate with the error type that the tables print, fit by fit."""
        tables = dict.fromkeys(record.table for record in self.records)
        for fit in (each for table in tables for each in fit_columns(self, table)):
            kind = fit.shown_error(self.errors)
            for term in fit.terms:
                record = fit.record(term, kind)
                if record is not None:
                    yield fit, record

    def _series(self, name: str, called: str) -> pd.Series:
        """One number of each estimate: estimate, se, statistic, pvalue or an end; NaN where there is none."""
        shown = list(self._shown())
        levels, terms = self._levels(shown), [str(record.term) for _, record in shown]
        columns = [[_level(fit, level) for fit, _ in shown] for level in levels]
        index = (pd.MultiIndex.from_arrays([*columns, terms], names=[*levels, "term"]) if levels
                 else pd.Index(terms, name="term"))  # fmt: skip
        return pd.Series([_number(getattr(record, name)) for _, record in shown], index, float, called)

    def _levels(self, shown: Sequence[Found]) -> tuple[str, ...]:
        """What tells the fits apart besides their terms."""
        found: dict[str, dict[tuple[str, int], set[Any]]] = {name: defaultdict(set) for name in TELLING}
        for fit, _ in shown:
            for name in TELLING:
                found[name][fit.place].add(_level(fit, name))
        telling = [name for name, at in found.items() if any(len(values) > 1 for values in at.values())]
        return (*(name for name in PLACES if name not in self.place), *telling)

    def _heading(self) -> str:
        shown = list(self._shown())
        kinds = dict.fromkeys(error_label(record.se_type) for _, record in shown if record.se is not None)
        models = ", ".join(dict.fromkeys(fit.model for fit, _ in shown))
        return f"{shown[0][0].where}: {models}, {self._size()}; errors: {', '.join(kinds) or 'none'}"

    def _size(self) -> str:
        facts = self.panel
        return f"{facts['units']:,} units in {facts['periods']:,} periods, {facts['nobs']:,} rows"


def _level(fit: FitColumn, name: str) -> Any:
    value = getattr(fit, name)
    return "" if value is None else value


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
