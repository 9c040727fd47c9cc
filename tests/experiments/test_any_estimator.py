"""Any kind of estimator, a user's own included, and any kind of treatment: what is asked, refused and shown."""

from __future__ import annotations

import html
import importlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
from commands import here, refusal, words
from first_difference import FirstDifference, one_fit
from placebo_files import command, write
from refusals import refuses
from scripts import module_of

import panelproof as pp
from estimators import Estimator, PermutationTest, SpatialPanel, Status, TwoWayDID, estimators
from estimators.matching import PsmDID
from experiments import estimation
from experiments.checks.check import modules
from experiments.estimation import SECTIONS, estimate, estimator_called
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.placebo import answer, check_fits, question
from experiments.run.runner import run
from experiments.study import Study
from experiments.tables import ledger
from experiments.tables.ledger import few_treated, regression, treated_units
from experiments.trust.recommend import forbidden_of
from experiments.twins.real import Real
from experiments.twins.twin import twin
from references.small_panels import small_panel
from results.diagnosis.diagnose import diagnose
from results.plots.paper import figure
from results.tables import journal_table
from results.tables.journal_table import Heading, JournalTable, Row, TableFormat
from results.tables.records import Figure, Fit
from sim import Panel
from sim.design import Wanted
from sim.panel_sidecars import panel_from, panel_text
from sim.schemes import scheme_of
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Dose, PathsOfPanel
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.mediators import Linear

OWN = "first_difference:FirstDifference"
TERMS = {"random": "did", "callaway-santanna": "overall", "rings": "did", OWN: "did", "sdem": "did"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return write(tmp_path_factory.mktemp("panel"), small_panel(30, 8, seed=4, model="none", sigma=3.0))


@pytest.fixture(scope="module")
def real(files: tuple[str, str]) -> RealPanel:
    return read_real_panel(files[0], read_spec(files[1]))


@pytest.mark.parametrize("kind", TERMS)
def test_placebos_are_fits_of_the_estimator_itself(real: RealPanel, kind: str) -> None:
    """On the panel as it was and on panels with the treatment drawn again; p is the rank among them."""
    ask = question(real, estimator=kind, draws=99, scheme="strata:province")
    check_fits(ask)
    assert ask.term == TERMS[kind]
    found, own = answer(ask, run(ask.study)), estimator_called(kind, real)
    whole = own(real.panel)
    assert found.estimate == pytest.approx(whole.estimate[0, whole.terms.index(ask.term)], rel=1e-9)
    scheme, streams = scheme_of("strata:province").on(ask.panel), ask.study.cells[0].streams(ask.study.seed)
    codes = np.array([scheme.draw(rng) for rng in streams.tile(0, 99).each("assignment")])
    fits = own(scheme.assigned(ask.panel, codes))
    at = fits.terms.index(ask.term)
    np.testing.assert_allclose(found.placebos, np.where(fits.status == 1, fits.estimate[:, at], np.nan), rtol=1e-7)
    extreme = ~(np.abs(found.placebos) < abs(found.estimate))
    assert found.permutation_p == pytest.approx((1 + extreme.sum()) / 100)


def test_a_permutation_test_takes_it(real: RealPanel) -> None:
    for statistic in ("raw", "studentised"):
        test = PermutationTest.of(FirstDifference(), draws=99, statistic=statistic)
        assert test.estimator == OWN
        found = test(real.panel)
        assert (found.estimate[0, 0], found.se[0, 1, 0]) == pytest.approx(one_fit(real.panel))
        assert 0.01 <= found.pvalue[0, 0, 0] <= 1
        assert np.isfinite(found.lower[0, 0, 0]) == (statistic == "raw")  # type: ignore[index]  # linear: found out


@pytest.fixture
def table_2(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lines of table 2 as it is printed with further estimators; all that was printed is the last."""
    monkeypatch.setenv("COLUMNS", "300")

    def lines(files: tuple[str, str], *kinds: str) -> list[str]:
        options = [word for kind in kinds for word in ("--estimator", kind)]
        text = here("estimate", files[0], "--spec", files[1], *options).out
        start = text.index("Table 2")
        return [*text[start : text.index("more tables:", start)].splitlines(), text]

    return lines


def test_further_columns_of_table_2_have_their_names_and_rows(
    files: tuple[str, str], table_2: Callable[..., list[str]]
) -> None:
    *lines, text = table_2(files, "rings", OWN, "sdm", "stacked")
    numbers, names = (next(line for line in lines if word in line) for word in ("(5)", "first-difference"))
    assert numbers.split()[-3:] == ["(6)", "(7)", "(8)"]
    assert names.split()[-3:-1] == ["rings", "first-difference"]
    assert text.count("no cohort has clean controls") == 1
    of_effects = [f"{effect} effect of park" for effect in ("direct", "indirect", "total")]
    assert [sum(line.strip().startswith(label) for line in lines) for label in of_effects] == [1, 1, 1]
    assert sum(line.startswith("park  ") for line in lines) == 1


def test_first_periods_that_differences_lack_are_no_singletons(real: RealPanel) -> None:
    template = module_of(Path(__file__).parents[2] / "docs/recipes/first_difference.py", "the_template")
    kept = ledger.Ledger(0)
    kept.fit(real.panel, {template.FirstDifference(): Fit(("2", 6), "first-difference")})
    assert [record.term for record in kept.records][:1] == ["did"]
    assert kept.notes == []


@pytest.mark.parametrize(("module", "name"), [
    ("experiments.tables.descriptives", "add"), ("experiments.checks.spillovers", "check"), ("", "fails"),
])  # fmt: skip
def test_a_file_of_tables_or_checks_that_raises_is_named_in_one_line(
    real: RealPanel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str, name: str
) -> None:
    def fails(*_: object) -> None:
        print("a word of its own")
        raise {"x": KeyError("x")}["x"]

    if module:
        monkeypatch.setattr(importlib.import_module(module), name, fails)
    else:
        monkeypatch.setattr(ledger, "layouts", lambda: {fails: frozenset("2")})
    refuses(f"{name} raised KeyError: 'x'", lambda: ledger.journal_tables(estimate(real)))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("module", "name", "value"), [
    ("tables.descriptives", "TABLES", (1,)), ("tables.descriptives", "TABLES", "21"),
    ("tables.descriptives", "LAYOUTS", [estimate]), ("tables.descriptives", "LAYOUTS", {"1": estimate}),
    ("tables.descriptives", "LAYOUTS", {1: "x"}), ("checks.trends", "ORDER", "last"), ("checks.trends", "NAME", None),
    ("checks.trends", "check", None),
])  # fmt: skip
def test_a_file_without_what_its_folder_asks_of_it_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, value: object
) -> None:
    file = importlib.import_module(f"experiments.{module}")
    monkeypatch.setattr(file, name, value)
    ask: Any = modules if module.startswith("checks") else ledger.table_modules
    refuses(f"^{re.escape(str(file.__file__))}; .*{name} = {re.escape(f'{value!r:.20}')}", ask.__wrapped__)


HEADS = (Heading("a"), Heading("b"))


@pytest.mark.parametrize(("given", "words"), [
    (lambda: ["a table"], r"it returned \('a table',\), no list of JournalTables"),
    (lambda: None, "'NoneType' object is not iterable"),
    *((partial(JournalTable, "21", "", HEADS, (Row("r", cells),)),
       f"the cells of row 'r' are {re.escape(repr(cells))}, no tuple of 2 texts, one a column")
      for cells in (("7",), ("7", "8", "9"), "78", ("7", 8.0))),
])  # fmt: skip
def test_a_layout_returns_tables_with_a_cell_a_column(
    real: RealPanel, monkeypatch: pytest.MonkeyPatch, given: Callable[[], Any], words: str
) -> None:
    def own(_: object) -> Any:
        return given()

    monkeypatch.setattr(ledger, "layouts", lambda: {own: frozenset("2")})
    found = estimate(real)
    refuses(f"^{re.escape(__file__)}; own raised TypeError: {words}", lambda: ledger.journal_tables(found))


def test_a_check_yields_checks(real: RealPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("experiments.checks.spillovers"), "check", lambda _: iter(["a fact"]))
    refuses(r"spillovers.py; check raised TypeError: it yielded 'a fact', no Check", lambda: estimate(real))


@pytest.mark.parametrize(("paint", "words"), [
    (lambda _: {}["x"], "figure own raised KeyError: 'x'"), (lambda _: None, "TypeError: paint returned None, no dict"),
])  # fmt: skip
def test_the_file_of_a_figure_that_cannot_be_drawn_is_named(paint: Any, words: str) -> None:
    def own(name: str) -> Any:
        return figure(name, (9.0, 9.0), "", "", paint) if name else None

    kept = ledger.Ledger(0)
    kept.draw(own, "own")
    refuses(f"^{re.escape(__file__)}; .*{words}", lambda: kept.figures[0].svg)
    refuses("a figure is None", lambda: kept.draw(own, ""))
    refuses("two figures are called 'specification-curve'", lambda: kept.draw(own, "specification-curve"))


@pytest.mark.parametrize("name", ["../out", "a b", ""])
def test_a_figure_has_the_name_of_a_file(name: str) -> None:
    refuses(f"a figure is called {name!r}", lambda: ledger.Ledger(0).draw(Figure, name, "", "", bytes))


def test_a_format_that_raises_is_named_in_one_line(
    real: RealPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise KeyError("x")

    found = estimate(real)
    monkeypatch.setattr(estimation, "table_formats", lambda: {"json": journal_table.TableFormat("json", "x", fails)})
    refuses("format json raised KeyError: 'x'", lambda: estimation.write_files(found, tmp_path / "out", "json"))


@pytest.mark.parametrize(("file", "content", "words"), [
    ("tables.md", None, "it returned None for the file 'tables.md'"), ("a", {"a.md": 3}, "it returned 3 for the file"),
    ("../tables.md", b"", "it returned b'' for the file '../tables.md'"), ("a", {"estimates.json": b""}, "it writes"),
    ("warnings.md", b"", "it writes 'warnings.md'"), ("specification-curve.pdf", b"", "it writes 'specification-curve"),
])  # fmt: skip
def test_a_format_writes_files_of_its_own(
    real: RealPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: Any, words: str
) -> None:
    own, found = TableFormat("md", file, lambda *_: content), estimate(real)
    monkeypatch.setattr(estimation, "table_formats", lambda: {"json": journal_table.JSON, "md": own})
    refuses(f"format md raised TypeError: {words}", lambda: estimation.write_files(found, tmp_path / "out", "md"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "words"), [
    ((TableFormat("md", "tables.html", lambda *_: b""),), "two formats write 'tables.html'"),
    *(((TableFormat(name, "x", lambda *_: b""),), f"own.py; FORMATS holds TableFormat.name='{name}'")
      for name in ("MD", "pdf", "svg", "a,b", "")),
    (TableFormat("md", "x", lambda *_: b""), "own.py; FORMATS holds TableFormat"), (("md",), "FORMATS holds 'md'"),
    ((TableFormat("md", "x", "x"),), "own.py; FORMATS holds"),  # type: ignore[arg-type]
])  # fmt: skip
def test_two_formats_write_two_files_and_each_can_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, given: object, words: str
) -> None:
    own, there = SimpleNamespace(FORMATS=given, __file__="own.py"), journal_table.modules_in("results.tables")
    monkeypatch.setattr(journal_table, "modules_in", lambda _: (*there, own))
    refuses(words, journal_table.table_formats.__wrapped__)


def test_below_a_test_statistic_stands_its_p_value(
    files: tuple[str, str], real: RealPanel, table_2: Callable[..., list[str]]
) -> None:
    *lines, _ = table_2(files, "lm")
    found = estimator_called("lm", real)(real.panel)
    for term, p in zip(found.terms, found.pvalue[0, 0], strict=True):
        (at,) = (place for place, line in enumerate(lines) if line.startswith(f"{term} "))
        assert lines[at + 1].strip() == f"[p = {p:.4f}]"
    table = "\n".join(lines)
    assert "[–]" not in table
    assert "test statistics, χ² with one degree of freedom; brackets hold their p values." in table
    assert "lm_lag: the LM test for a spatial lag" in table


def test_terms_without_a_label_are_explained(tmp_path: Path, table_2: Callable[..., list[str]]) -> None:
    made_cities.real_panel(tmp_path, made_cities.PANEL + 'mediators = ["patents"]\n[inference]\ndraws = 99\n')
    *lines, _ = table_2((str(tmp_path / "panel.csv"), str(tmp_path / "spec.toml")), "mediation")
    shown = "\n".join(lines)
    assert "nde: the direct effect; nie: the indirect effect, a × b" in shown
    assert "a: the effect of the treatment on the mediator; b: the effect of the mediator on the outcome" in shown


def test_a_matched_column_has_the_sizes_of_its_own_sample(real: RealPanel) -> None:
    document = estimate(real, estimators=("psm-did",))
    (record,) = (r for r in document.records if (r.model, r.term, r.se_type) == ("psm-did", "did", "iid"))
    matched = PsmDID().match(real.panel).units
    assert 0 < matched.sum() < len(real.panel.units)
    assert (record.units, record.periods) == (matched.sum(), len(real.panel.periods))
    assert record.nobs == matched.sum() * len(real.panel.periods)


def test_what_has_no_error_is_said_of_a_further_column(tmp_path: Path) -> None:
    """The only cohort that is seen four periods after adoption has one unit, which leaves no residual."""
    code, year = np.repeat(np.arange(25), 12), np.tile(np.arange(2001, 2013), 25)
    start = np.select([code < 1, code < 10], [2007, 2010], 9999)
    table = pd.DataFrame({"city": code, "year": year, "d": (year >= start).astype(int)})
    table["y"] = np.random.default_rng(3).normal(size=len(table))
    spec = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\ntreatment = "d"\n'
    document = estimate(made_cities.real_panel(tmp_path, spec, table), estimators=("sun-abraham",))
    absent = {r.term for r in document.records if r.model == "sun-abraham" and r.estimate is not None and r.se is None}
    assert "event(4)" in absent
    (note,) = (note for note in document.notes if "Table 2, column 6 (all) has no cluster:unit error of" in note)
    assert all(term in note for term in absent)
    assert note.endswith("rests on one cluster, or on cohorts of one unit each.")


@pp.estimator(terms=["did"])
def ending(panel: Panel) -> None:
    """It asks the program to end."""
    sys.exit(3)


@pp.estimator
def ending_on_trial(panel: Panel) -> None:
    sys.exit(4)


def test_estimators_as_they_are_have_columns_of_their_own(tmp_path: Path) -> None:
    """In Python a formula, an estimator with settings and a kind by its name stand side by side."""
    real = made_cities.real_panel(tmp_path, made_cities.PANEL)
    formula = pp.formula("y ~ did + road + book | unit + period", vcov={"CRV1": "unit"})
    robust = pp.TwoWayDID(errors=("hc1",), label="robust")
    found = pp.estimate(real, estimators=[formula, robust, "random"])
    assert found["2", 6].params["did"] == pytest.approx(found["2", 5].params["did"], rel=1e-9)
    assert found["2", 7].params["did"] == pytest.approx(found["2", 5].params["did"], rel=1e-9)
    named = estimator_called("random", real)(real.panel)
    assert found["2", 8].params["did"] == named.estimate[0, named.terms.index("did")]


@pytest.mark.parametrize(("asked", "said"), [
    (ending, "estimators holds <class .*; write ending()"),
    ([len], "estimators holds <built-in function len>; .*; put @pp.estimator above a function"),
    (5, "estimators holds 5"),
    ([pp.TwoWayDID(), pp.TwoWayDID(errors=("hc1",))], "two estimators are called 'did'; .*; give one a label"),
    ([pp.PermutationTest()], "a permutation test is no column; .*; call pp.placebo"),
])  # fmt: skip
def test_what_is_no_estimator_is_one_line(asked: Any, said: str) -> None:
    refuses(said.replace("()", r"\(\)"), lambda: pp.estimate(pp.example_panel(30), estimators=asked))


def test_a_function_that_ends_the_program_has_failed(tmp_path: Path) -> None:
    real = made_cities.real_panel(tmp_path, made_cities.PANEL)
    notes = pp.estimate(real, estimators=[ending(), ending_on_trial()]).notes
    assert "No column ending: the estimator raised an error or gave no finite number; the reason is kept." in notes
    (note,) = (note for note in notes if "ending-on-trial" in note)
    assert "a trial fit raised RuntimeError: it ends the program, with the code 4 (test_any_estimator.py, line" in note
    store = pp.run(pp.Study("x", pp.Paper(controls="none"), (ending(),), replications=32))
    assert store.status_counts() == {"ending": {Status.ERROR: 32}}


REFUSED = {
    "lm": "no term is tested by scheme space",
    "rigns": "did you mean 'rings'",
    "permutation": "for permutation tests: panelproof placebo",
    "permutatoin": "for permutation tests: panelproof placebo",
    "nowhere:Nothing": "cannot load 'nowhere:Nothing'",
    "mediation": "no mediator is named",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_estimators_that_test_nothing_or_do_not_exist_are_one_line(
    kind: str, files: tuple[str, str], tmp_path: Path
) -> None:
    assert REFUSED[kind] in refusal(*command(files, "--estimator", kind, "--store", tmp_path / "x.zarr"))
    assert not (tmp_path / "x.zarr").exists()
    if kind == "rigns":
        assert REFUSED[kind] in refusal("estimate", files[0], "--spec", files[1], "--estimator", kind)


def test_the_placebos_estimator_is_that_of_the_tables(tmp_path: Path) -> None:
    """Up to label, constant, terms and error types, and so is that of --estimator did."""
    real = made_cities.real_panel(tmp_path, made_cities.WHOLE)
    table = regression(real.spec, "did")
    assert estimator_called("did", real) == table
    for scheme in ("space", "mixed", "time"):
        own = question(real, scheme=scheme, draws=99).estimator
        assert isinstance(own, TwoWayDID)
        assert set(own.errors) <= set(table.errors)
        assert replace(own, constant=table.constant, terms=None, errors=table.errors) == table


@pytest.mark.parametrize("kind", estimators())
def test_every_kind_begins_with_settings_that_a_name_can_give(real: RealPanel, kind: str) -> None:
    refused = dict.fromkeys(SECTIONS, "does not say what it is about") | {"permutation": "estimator 'permutation'"}
    if kind in refused:
        refuses(refused[kind], lambda: estimator_called(kind, real))
        return
    own: Estimator = estimator_called(kind, real)
    assert own.kind == kind
    assert isinstance(own, TwoWayDID | SpatialPanel) or own == type(own)()


# Treatments that are not 0 and then 1


UNITS, PERIODS = 40, 9
KNN = f'groups = ["region"]\n{made_cities.PLACES}\n[[weights]]\nkind = "knn"\nk = 4\n'
SPEC = made_cities.spec("fi", more=KNN)
TWINS = '[twin]\ndraws = 100\nmethod = "parametric"\n'


def frame(seed: int = 1, effect: float = 0.2) -> pd.DataFrame:
    """A panel of an index `fi` that grows at each unit's own pace, and of a 0/1 policy `did`."""
    rng = np.random.default_rng(seed)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(UNITS), np.arange(PERIODS), indexing="ij"))
    pace = rng.normal(1.0, 0.4, UNITS)
    fi = 10 + rng.normal(0, 2, UNITS)[city] + pace[city] * year + rng.normal(0, 0.6, city.size)
    first = rng.choice([3, 5, 99], UNITS)
    x, noise = rng.normal(size=city.size), rng.normal(0, 0.5, city.size)
    return pd.DataFrame({
        "city": [f"c{i:02d}" for i in city], "year": 2000 + year, "fi": fi.round(4), "x": x,
        "did": (year >= first[city]).astype(int), "region": np.where(city % 2 == 0, "north", "south"),
        "lon": 100 + rng.uniform(0, 20, UNITS)[city], "lat": 25 + rng.uniform(0, 15, UNITS)[city],
        "y": rng.normal(size=UNITS)[city] + 0.1 * year + effect * fi + 0.3 * x + noise,
    })  # fmt: skip


def written(folder: Path, data: pd.DataFrame, spec: str = SPEC) -> tuple[str, str]:
    data.to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    return str(folder / "panel.csv"), str(folder / "spec.toml")


def read(folder: Path, data: pd.DataFrame | None = None, spec: str = SPEC) -> RealPanel:
    return pp.read_panel(*written(folder, frame() if data is None else data, spec))


def declared(text: str) -> str:
    return SPEC.replace('treatment = "fi"', f'treatment = "fi"\ntreatment_kind = "{text}"')


def slipped(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(fi=data["did"].where(data.index != 7, 2))


def switching(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(fi=np.random.default_rng(3).integers(0, 2, len(data)))


@pytest.fixture(scope="module")
def long_table() -> pd.DataFrame:
    """The dose with an instrument z and a moderator m, of units of two groups, with a few rows missing."""
    rng, table = np.random.default_rng(5), frame(effect=1.0)
    z, m = rng.normal(size=(2, len(table)))
    table = table.assign(z=table["fi"] + z, m=m, g=(table["region"] == "north").astype(int))
    return table[rng.random(len(table)) > 0.05]


SPEC_OF_A_DOSE = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "fi", "controls": ["x"]}}
SECTIONS_OF = {"iv": ({"iv": {"instruments": ["z"]}}, "I", 2), "moderation": ({"moderation": {"by": ["m"]}}, "M", 1),
               "triple-difference": ({"ddd": {"group": "g"}}, "D", 1)}  # fmt: skip


@pytest.mark.parametrize("kind", SECTIONS_OF)
def test_a_named_kind_takes_its_settings_from_its_section(kind: str, long_table: pd.DataFrame) -> None:
    """The further column of table 2 is the column of the section's own table."""
    section, table, column = SECTIONS_OF[kind]
    found = pp.estimate(long_table, SPEC_OF_A_DOSE | section, estimators=(kind,)).frame
    keys = ["term", "se_type", "estimate", "se"]
    own, named = (found[(found["table"] == at) & (found["column"] == number)][keys].set_index(keys[:2])
                  for at, number in ((table, column), ("2", 6)))  # fmt: skip
    assert len(named)
    pd.testing.assert_frame_equal(named, own.loc[named.index], rtol=1e-12)
    refuses(rf"--estimator {kind}; the spec does not say what it is about",
            lambda: pp.estimate(long_table, SPEC_OF_A_DOSE, estimators=(kind,)))  # fmt: skip
    if kind == "moderation":
        both = SPEC_OF_A_DOSE | {"moderation": {"by": ["m", "z"]}}
        refuses("by names 2 moderators", lambda: pp.estimate(long_table, both, estimators=(kind,)))


@pytest.mark.parametrize("treatment", [{"treatment": "fi"}, {"treatment": "on", "treatment_kind": "switching"}])
def test_placebos_of_a_dose_on_a_panel_with_gaps(long_table: pd.DataFrame, treatment: dict[str, str]) -> None:
    table = long_table.assign(on=(long_table["fi"] > 14).astype(int))
    spec = {"panel": SPEC_OF_A_DOSE["panel"] | treatment}
    found = pp.placebo(table, spec, draws=99)
    assert found.permutation_p == 0.01
    assert any("keep what they have" in note for note in found.notes)
    assert np.isfinite(found.placebos).all()


def test_what_needs_dates_says_so_of_a_dose(long_table: pd.DataFrame) -> None:
    spec = SPEC_OF_A_DOSE | {"panel": SPEC_OF_A_DOSE["panel"] | {"balance": "drop-units"}}
    notes = pp.estimate(long_table, spec, estimators=("ancova", "imputation")).notes
    for kind, why in (("ancova", "values other than 0 and 1"), ("imputation", "not 0/1 and abs")):
        assert any(kind in note and why in note for note in notes), notes


Made = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("made", "spec", "continuous", "said"),
    [
        (lambda d: d, SPEC, True, ["fi is a treatment of any strength", "one unit of it"]),
        (slipped, declared("continuous"), True, []),
        (lambda d: d.assign(fi=d["did"] * (1 + (d["year"] > 2006))), SPEC, True, ["(0, 1, 2, 0 to 2)"]),
        (switching, declared("switching"), True, ["fi is 0 or 1 and switches off"]),
        (lambda d: d.assign(fi=d["did"]), SPEC, False, []),
    ],
    ids=["index", "slip", "levels", "switching", "dummy"],
)
def test_a_treatment_is_taken_for_what_it_is(
    tmp_path: Path, made: Made, spec: str, continuous: bool, said: list[str]
) -> None:
    real = read(tmp_path, made(frame()), spec)
    assert real.panel.roles.continuous == continuous
    np.testing.assert_array_equal(real.panel.variables["did"][0].T.ravel(), made(frame())["fi"])
    notes = " ".join(real.notes)
    assert [words for words in said if words not in notes] == []
    assert "3 values" not in notes
    text, other = (panel_text(replace(real.panel, roles=replace(real.panel.roles, continuous=said)))
                   for said in (continuous, not continuous))  # fmt: skip
    assert panel_from(text, "here", "none").roles == real.panel.roles
    assert text != other


@pytest.mark.parametrize(("made", "spec", "said"), [
    (slipped, SPEC, ["the treatment is 2", 'treatment_kind = "continuous"']),
    (slipped, declared("switching"), ["the treatment is 2"]),
    (lambda d: d.assign(fi=d["did"] + 1), SPEC, ["allowed: 0 or 1"]),
    (switching, SPEC, ['treatment_kind = "switching"']),
    (lambda d: d.assign(fi=3.0), SPEC, ["the treatment is 3"]),
    (lambda d: d.assign(fi=d.groupby("city")["fi"].transform("mean")), SPEC, ["absorbed"]),
    (lambda d: d.assign(fi=d["year"] * 1.5), SPEC, ["absorbed"]),
    (lambda d: d.assign(fi=d["x"] * 2.0), SPEC, ["collinear"]),
    (lambda d: d.assign(fi=d["fi"].astype(str) + "%"), SPEC, ["allowed: numbers"]),
    (lambda d: d, SPEC.replace('treatment = "fi"', 'treatment_kind = "continuous"'),
     ["treatment_kind = 'continuous' without treatment"]),
])  # fmt: skip
def test_what_cannot_be_a_dose_is_one_line(tmp_path: Path, made: Made, spec: str, said: list[str]) -> None:
    panel, path = written(tmp_path, made(frame()), spec)
    err = here("estimate", panel, "--spec", path, "--out", tmp_path / "out", code=2).err
    lines = [line for line in err.splitlines() if line]
    assert all(line.startswith("panelproof: ") for line in lines)
    assert [words for words in said if words not in lines[0]] == []
    assert not (tmp_path / "out").exists()


def test_tables_call_it_by_its_own_name_and_leave_out_what_needs_dates(tmp_path: Path) -> None:
    spec = SPEC + "[robustness]\nstaggered = true\nunit_trends = true\n[robustness.psm]\n[robustness.synthetic]\n"
    panel, path = written(tmp_path, frame(), spec)
    said = words(here("estimate", panel, "--spec", path, "--out", tmp_path / "out", "--tables", "all").out)
    there = (
        "No table S: fi has no dates",
        "No table C: fi has no dates",
        "has no PSM columns: fi has no dates",
        "W × fi",
    )
    assert [part for part in there if part not in said] == []
    assert [part for part in ("DID", "Treated units", "treated in every period") if part in said] == []


def test_every_command_serves_a_dose(tmp_path: Path) -> None:
    panel, spec = written(tmp_path, frame(), SPEC.partition("[[weights]]")[0] + TWINS)
    for name, *options in (
        ("placebo", "--draws", 99, "--out", tmp_path / "placebo", "--store", tmp_path / "p.zarr"),
        ("twin", "--out", tmp_path / "twin"),
        ("trust", "--out", tmp_path / "trust", "--replications", 64),
        ("race", "--out", tmp_path / "race.json", "--html", tmp_path / "race.html", "--replications", 64,
         "--estimator", "unit-trends"),
    ):  # fmt: skip
        here(name, panel, "--spec", spec, *options)
    here("run", tmp_path / "twin" / "design.toml", "--store", tmp_path / "study.zarr", "--cluster", "serial",
         "--replications", 64, "--html", tmp_path / "study.html")  # fmt: skip
    written_files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.suffix}
    assert written_files >= {
        "placebo/placebo.html", "placebo/placebo.json", "placebo/placebo.svg", "trust/trust.html", "trust/trust.json",
        "twin/design.toml", "twin/fidelity.html", "twin/fidelity.json", "twin/panel.parquet", "study.html",
    }  # fmt: skip
    assert {row["replications"] for row in json.loads((tmp_path / "trust/trust.json").read_text())["studies"]} == {64}
    race = json.loads((tmp_path / "race.json").read_text())
    assert {row["estimator"] for row in race["panel"]} >= {"did", "unit-trends"}
    page = html.unescape((tmp_path / "race.html").read_text(encoding="utf-8"))
    assert page.index(race["answer"]) < page.index("Misses in the world") < page.index("On the panel itself")


def test_twins_hold_the_real_paths_and_permuted_ones_in_their_place(tmp_path: Path) -> None:
    """And residual features compare no treated cells."""
    plain = read(tmp_path)
    real, paths = Real.of(plain), np.broadcast_to(plain.panel.variables["did"], (3, PERIODS, UNITS))
    assert real.policy_off.all()
    assert real.indicator is None
    assert not real.status.compares_units
    for keep, same in (("", True), ('\n[twin]\nkeep = ["covariates", "weights"]\n', False)):
        made = twin(read(tmp_path, spec=SPEC + keep)).design
        assert made.adoption == PathsOfPanel(permuted=not same)
        assert made.schema.roles.continuous
        wanted = Wanted(frozenset(made.schema.variables), ())
        drawn = made.settle(Streams(4)).draw(Streams(4).tile(0, 3), wanted).panel.variables["did"]
        order = [np.argsort(one[0]) for one in (drawn[0], paths[0])]
        np.testing.assert_array_equal(drawn[0][:, order[0]], paths[0][:, order[1]])
        assert np.array_equal(np.broadcast_to(drawn, paths.shape), paths) == same
        assert np.array_equal(drawn[0], drawn[-1]) == same


@pytest.mark.parametrize("permuted", [False, True])
def test_the_effect_of_a_unit_is_found_in_worlds_of_real_paths(tmp_path: Path, permuted: bool) -> None:
    """Bias within four Monte Carlo errors, and coverage of 95% intervals of 2,000 panels."""
    design = twin(read(tmp_path)).design
    made = replace(design, adoption=PathsOfPanel(permuted=permuted), redraw=("adoption",) if permuted else ())
    study = Study("dose", made, (TwoWayDID(errors=("cluster:unit",)),), replications=2000, worlds=1)
    frame_of = diagnose(run(study)).frame
    own = frame_of[(frame_of["term"] == "did") & (frame_of["sample"] == "own")].set_index("measure")
    assert own["value"]["truth"] == pytest.approx(made.effect.size_of_units)
    assert abs(own["value"]["bias"]) < 4 * own["mcse"]["bias"]
    assert 0.93 < own["value"]["coverage"] < 0.97


def test_few_units_whose_dose_changes_are_few_treated_units(tmp_path: Path) -> None:
    data = frame().assign(fi=lambda d: np.where(d["city"] <= "c02", d["fi"], 5.0))
    real = read(tmp_path, data, declared("continuous"))
    assert treated_units(real.panel).sum() == 3
    assert few_treated(real.panel, real.spec) == "3 treated units"
    assert "3 units are treated" in forbidden_of(("iid",), real.panel)["iid"]
    whole = read(tmp_path).panel
    assert treated_units(whole).all()
    assert "untreated" not in str(forbidden_of(("cluster:unit", "cv3:unit"), whole))


def slope(y: np.ndarray, did: np.ndarray) -> float:
    left = did - did.mean(0) - did.mean(1, keepdims=True) + did.mean()
    return float((left * y).sum() / (left * left).sum())


@pytest.mark.parametrize(("estimator", "targets"), [
    (pp.RandomEffects(regressors=("did",), periods=True), {"did": "beta(did)"}),
    (pp.formula("y ~ did | unit + period"), {"did": "beta(did)"}),
    (pp.estimator(terms=["did"], errors=[])(slope)(), {"did": "beta(did)"}),
    (pp.estimator(terms=["att"], errors=[])(slope)(), {"att": "beta(did)"}),
    (pp.Mediation(mediator="m", regressors=("did",), errors=("delta",)),
     {"nde": "unit_nde", "nie": "unit_nie", "total": "beta(did)"}),
], ids=["random", "formula", "function", "one answer", "mediation"])  # fmt: skip
def test_effects_of_a_dose_are_held_to_those_of_one_unit(estimator: Estimator, targets: dict[str, str]) -> None:
    """Doses are 3 on average, so that the effect on the treated is three times that of a unit."""
    design = PanelDesign(
        units=30, periods=6, adoption=Dose(share=0.6, mean=3.0), effect=Effect(size=0.5), redraw=("adoption",),
        mediators=(Linear("m", a=0.7, b=0.4, sd=0.5),), errors=Process(sd=0.3),
    )  # fmt: skip
    streams = Streams(6).tile(0, 200)
    draw = design.settle(Streams(6)).draw(
        streams, Wanted(frozenset(design.schema.variables), (*targets.values(), "att"))
    )
    layout = estimator.layout(design.schema)
    assert {term: layout.targets[term] for term in targets} == targets
    found = estimator(draw.panel, streams)
    for term, target in targets.items():
        miss = found.estimate[:, found.terms.index(term)] - draw.truth[target]
        assert abs(miss.mean()) < 4 * miss.std(ddof=1) / np.sqrt(200), term
        assert draw.truth["att"].mean() > 2 * draw.truth[target].mean()
