"""Tables in Chinese: no English word is left in a label, the field's terms, wide letters, the page."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from dataclasses import replace
from html import unescape
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from documents import FACTS, full_document, records, statistics
from known_tables import ASKED, known_document
from made_cities import frame
from rich.cells import cell_len
from rich.console import Console

import panelproof as pp
from estimators.core.error_types import KINDS, error_label
from experiments.tables.ledger import journal_tables
from experiments.tables.spatial_models import conclusion, wald_names
from results.plots.specification_curve import effect_chart
from results.tables.chinese import chinese, in_language, sentence, wording
from results.tables.html_tables import html_tables
from results.tables.journal_table import BESIDE, UNBOUNDED_NOTE, Heading, JournalTable, Row, TableSetting
from results.tables.latex import latex_tables
from results.tables.records import Brackets, Check, Document, Fit, Style, clusters_of
from results.tables.rtf import rtf_tables
from results.tables.terminal_tables import print_estimates
from results.tables.typography import error_note, number_of
from results.tables.word import word_tables

LATIN = {"ln", "floor", "de"}  # functions, a part of a name
UNUSUAL = "Table 6, esda: no permutations."  # of a program that compares, in its own words
CHINESE = Style(language="zh")
TERMS = {
    "双重差分", "双向固定效应", "观测值", "个体固定效应", "时间固定效应", "中介效应", "空间杜宾模型", "直接效应",
    "间接效应（溢出效应）", "总效应", "控制变量", "常数项", "混合OLS", "随机效应", "莫兰指数", "稳健性检验",
    "描述性统计",
    "工具变量", "合成控制", "平行趋势", "调节效应", "三重差分", "聚类",
}  # fmt: skip
NAMES = {  # of the user
    "growth", "park", "rain", "soil", "county", "year", "fdi", "patents", "ring", "queue", "region", "east", "west",
    "size", "big", "province", "low_carbon", "income", "altitude", "polluting", "north", "isle", "south", "cape",
    "middle", "bay", "coast", "hill", "dale", "moor", "fen", "did", "icr", "eip", "inv", "road_pc", "city", "gpat",
    "ent", "icr2", "Beijing", "Sanya", "knn-6", "queen", "event",
}  # fmt: skip
MODELS = {  # and what Chinese papers write in Latin letters too
    "SEM", "SAR", "SDM", "SLX", "SDEM", "SAC", "OLS", "DID_M", "ATT", "AIC", "BIC", "AR", "CD", "VIF", "LR", "LM",
    "Wald", "Pesaran", "Sobel", "Delta", "Holm", "Hotelling", "Lee-Yu", "Elhorst", "Callaway-Sant'Anna",
    "Sun-Abraham", "Kleibergen-Paap", "Anderson-Rubin", "Sargan", "Hansen", "Logit", "wild", "iid", "HC1", "hc1",
    "hessian", "nie", "nde", "cluster", "unit", "linearmodels", "spreg",
}  # fmt: skip


def english(text: str) -> set[str]:
    """Words of a note or a page in small letters that are neither of the user nor Latin letters of the field."""
    words = re.findall(r"(?<![A-Za-z'_-])[a-z][a-z]+(?![A-Za-z'_-])", text)
    return set(words) - NAMES - MODELS - LATIN


def tables_of(document: Document, brackets: Brackets = "se") -> tuple[JournalTable, ...]:
    return journal_tables(replace(document, style=replace(CHINESE, brackets=brackets)))


@pytest.mark.parametrize("document", [known_document(ASKED["usual"][1]), full_document()], ids=["known", "full"])
def test_no_english_word_is_left_in_titles_headings_labels_and_cells(document: Document) -> None:
    for table in tables_of(document):
        said = [table.title, *(text for one in table.columns for text in (one.group, one.label))]
        said += [text for row in table.rows for text in (row.label, *row.cells)
                 if number_of(text) is None and not re.match(r"\d|\[p", text)]  # fmt: skip
        words = {word for text in said for word in re.findall(r"[A-Za-z][A-Za-z0-9'_-]+", text)}
        assert words <= NAMES | MODELS | {"e12", "e-"}, (table.caption, words - NAMES - MODELS)


def test_the_terms_are_those_of_the_field_and_numbers_those_of_the_english_tables() -> None:
    document = known_document(ASKED["usual"][1])
    tables = tables_of(document)
    text = " ".join(part for table in tables for part in (
        table.caption, *(column.group + column.label for column in table.columns), *(row.label for row in table.rows),
        *table.notes))  # fmt: skip
    assert not [term for term in TERMS if term not in text]
    assert tables[1].caption == "表2. park对growth的回归"
    assert "括号内为在个体层面聚类的标准误" in tables[1].notes[0]
    for one, other in zip(journal_tables(document), tables, strict=True):
        for row, same in zip(one.rows, other.rows, strict=True):
            numbers = [[(number_of(cell), cell if number_of(cell) is not None else "") for cell in each.cells]
                       for each in (row, same)]  # fmt: skip
            assert numbers[0] == numbers[1], (one.caption, row.label)


@pytest.mark.parametrize(("asked", "brackets"), [*((asked, "se") for asked in ASKED), ("usual", "t"), ("usual", "p"),
                                                 ("usual", "ci")])  # fmt: skip
def test_notes_of_tables_are_chinese_whole(asked: str, brackets: Brackets) -> None:
    for table in tables_of(known_document(ASKED[asked][1]), brackets):
        for note in table.notes:
            if note == UNUSUAL:
                continue
            assert re.search("[\u4e00-\u9fff]", note) or note.startswith("*** p"), (table.name, note)
            assert not english(note), (table.name, note)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_error_type_has_chinese_words_and_notes(kind: str) -> None:
    argument = {"groups": ("unit", "park", "unit+park"), "group": ("unit", "park"), "size": ("", "park")}
    for text in argument.get(KINDS[kind].argument, ("200", "200:bartlett") if kind == "conley" else ("",)):
        error = f"{kind}:{text}" if text else kind
        assert not english(chinese(error_label(error), NAMES)), error
        for likelihood, brackets, counted in itertools.product(
            (False, True), get_args(Brackets), ("slopes", "nonnested", "all")
        ):
            note = error_note(error, likelihood=likelihood, cluster_k=counted, brackets=brackets)
            assert not english(sentence(note, NAMES)), note
            assert not english(sentence(f"Test of equal effects: {note[0].lower()}{note[1:]}", NAMES)), note


@pytest.mark.parametrize("kind", ["cluster:GDP", "cv3:GDP", "cr2:GDP", "cluster:GDP+period"])
def test_notes_on_clusters_keep_the_name_of_the_group_and_are_chinese_whole(kind: str) -> None:
    fit = Fit(("2", 5), "did")
    found = Document(FACTS, tuple(records(fit, {"did": 0.1}, (kind,))),
                     tuple(statistics(fit, **{clusters_of(kind): 9.0})))  # fmt: skip
    for style in (Style(), CHINESE):
        table = next(iter(journal_tables(replace(found, style=style), kind)))
        (note,) = (note for note in table.notes if "G = 9" in note)
        assert "GDP" in note
        assert not english(note) or style is not CHINESE, note
    for held in ("standard error", "t statistic by errors", "p value by errors", "95% interval by errors"):
        assert not english(sentence(f"{BESIDE} the {held} clustered by unit."))
    assert not english(sentence(UNBOUNDED_NOTE) + sentence("Clustered by unit: G = 6 to 9, by column."))


@pytest.mark.parametrize("kind", ["normality", "randomisation", "permutation", "projection", "simulation"])
def test_table_6_says_in_chinese_how_its_rows_are_tested(kind: str) -> None:
    for measure in ("moran", "geary", "moran-residuals"):
        fit = Fit(("6", 1), measure, weights="knn-6")
        for fits in ([replace(fit, year=2006), fit], [fit], [replace(fit, year=2006)]):
            found = [one for each in fits for one in records(each, {measure.partition("-")[0]: 0.1}, (kind,))]
            (note, *_) = journal_tables(Document(FACTS, tuple(found), style=CHINESE))[0].notes
            assert not english(note), note


def test_robustness_checks_and_error_types_of_the_stars_note_have_chinese_names() -> None:
    scope = ["treatment and controls lagged by 1 period", "treatment and controls lagged by 2 periods",
             "outcome winsorised at 0.01 and 0.99", "outcome fdi", "with fdi", "with all other policies",
             "PSM, 1 nearest neighbour, caliper 0.05", "PSM, 3 nearest neighbours", "PSM, radius 0.01",
             "PSM, 2 nearest neighbours, caliper 0.1, without replacement", "PSM, kernel, bandwidth 0.06",
             "region-by-year effects", "city-specific linear trends", "mean of event(0) to event(5)"]  # fmt: skip
    assert [text for text in scope if english(chinese(text, NAMES)) - {"event"} or chinese(text, NAMES) == text] == []
    assert english(chinese("variance ratio")) == set()
    counts = "treated 48, controls 237, treated on support 45, treated matched 44, controls matched 39"
    assert not english(sentence(f"{counts}, pseudo r2 0.1173, mean bias before 51.1, mean bias after 2.99."))
    note = "The stars of park depend on the error type: column (5) *** (homoskedastic / Conley, 100 km) ** (clustered "
    note += "by unit); test of equal effects none (heteroskedasticity-robust (HC1))."
    assert sentence(note) == (
        "park的显著性星号随标准误类型而变：列 (5) ***（同方差 / Conley（100公里）） **（在个体层面聚类）；"
        "组间系数差异检验 无（异方差稳健（HC1））。"
    )


def test_effects_of_spatial_models_and_what_their_tests_choose_are_said_in_chinese() -> None:
    own = wald_names("cluster:unit")
    for first, second, lag, error in itertools.product((0.01, 0.2, np.nan), (0.01, 0.2), (1.0, 9.0), (2.0, 12.0)):
        found = {own["sar"]: 1.0, f"{own['sar']}_p": first, own["sem"]: 1.0, f"{own['sem']}_p": second}
        tests = {"lm_lag": lag, "lm_lag_p": 0.5 / lag**2, "lm_err": error, "lm_err_p": 0.5 / error**2}
        said = conclusion(found, tests, own, "Wald tests with standard errors clustered by park and period")
        assert not english(sentence(said, NAMES)), said
    spec = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "controls": ["road"],
                      "longitude": "lon", "latitude": "lat"}, "inference": {"errors": ["driscoll-kraay"]},
            "weights": [{"kind": "knn"}], "spatial": {"effects": ["two-way", "unit", "period", "none"]}}  # fmt: skip
    document = pp.estimate(pp.read_panel(frame(), spec))
    for kind in ("cluster:unit", "driscoll-kraay"):
        for table in journal_tables(replace(document, style=CHINESE), kind):
            texts = [table.title, *table.notes, *(each.group for each in table.columns)]
            texts += [row.label for row in table.rows]
            left = {word for text in texts for word in english(text)} - {"road", "knn"}
            assert not left, (table.caption, left)


@pytest.mark.parametrize("lacking", [(), ("lower", "upper"), ("lower", "upper", "pvalue"), ("pvalue",)])
def test_the_effect_in_a_sentence_is_chinese_whole(lacking: tuple[str, ...]) -> None:
    document = replace(full_document(), style=CHINESE)
    gone: dict[str, Any] = dict.fromkeys(lacking)
    document = replace(document, records=tuple(replace(one, **gone) for one in document.records))
    for kind, controls in itertools.product(("continuous", "absorbing"), ([], ["road"])):
        facts = {**document.panel, "treatment_kind": kind, "controls": controls}
        said = wording(document)(TableSetting(replace(document, panel=facts)).headline)
        assert re.match("eip(每增加一个单位)?对icr的效应：", said)
        assert not english(said), said
    assert wording(document)("1 more table: 1. Name them after --tables, or write all with --out.").startswith("另有1")


def around(page: str) -> str:
    """The texts of a page but for figures, warnings and notes behind the tables, which are in English."""
    page = re.sub(r"<(style|script|svg|ul|figcaption)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", " ", page))


@pytest.mark.parametrize(
    ("synthetic", "severities"), [(False, ()), (True, (0,)), (False, (2,)), (True, (0, 0, 1, 2, 3))]
)
def test_the_page_around_the_tables_is_in_chinese(synthetic: bool, severities: tuple[int, ...]) -> None:
    checks = tuple(Check.fact(f"check-{number}", one, "Said.") for number, one in enumerate(severities))
    document = replace(full_document(), style=CHINESE, failed=len(severities), warnings=checks)
    document = replace(document, panel={**document.panel, "synthetic": synthetic})
    page = html_tables(document, journal_tables(document))
    for said in ('<html lang="zh">', "285个个体，18个时期，2006至2023", "eip对icr的效应：", "<h2>表格</h2>"):
        assert said in page
    assert not english(around(page)) - {"panelproof", "aa", "bb"}
    chart = effect_chart(document)
    ticks = [text for _, text in chart.places.ticks]
    assert not english(" ".join([chart.title, chart.caption, chart.places.label, chart.values.label, *ticks]))


def test_a_name_of_the_user_is_never_translated_and_an_unknown_sentence_stays_whole() -> None:
    assert (chinese("Constant"), chinese("Constant", {"Constant"})) == ("常数项", "Constant")
    assert chinese("  between") == "  组间"
    assert chinese("lagged by 2") == "滞后2期"  # and no {index} by {how}
    fit = Fit(("C", 1), "synthetic-did", sample="area = north and south")
    named = Document(
        {}, tuple(records(fit, {"did": 0.1})), tuple(statistics(fit, "no", unit_weight=1.0)), style=CHINESE
    )
    table = JournalTable("1", "Tables", (Heading("north and south"),), (Row("no", ("no",)),))
    shown = in_language(table, named)
    assert (shown.title, shown.columns[0].label, shown.rows[0].label) == ("表格", "north and south", "no")
    unknown = "Effects without controls and with others: nothing is known."
    assert (sentence(unknown), wording(full_document())("Contents")) == (unknown, "Contents")


def notes_of_panels() -> set[str]:
    rng = np.random.default_rng(1)
    unit, year = (part.ravel() for part in np.meshgrid(np.arange(8), np.arange(2000, 2006), indexing="ij"))
    table = pd.DataFrame({"unit": [f"U{i}" for i in unit], "year": year, "X": rng.normal(size=48), "PARK": unit > 5,
                          "Y": rng.normal(size=48), "G": 1 + unit, "DATE": [f"{at}-12-31" for at in year]})  # fmt: skip
    own = {"unit": "unit", "period": "year", "outcome": "Y"}
    gaps = table.assign(X=table["X"].mask(table.index.isin([0, 7, *range(12, 18)])), PARK=table["PARK"] * 1)
    holes = gaps.drop(index=[46]).assign(PARK=((unit > 4) & (year > 2002))[table.index != 46] * 1)
    dose = table.assign(DOSE=rng.normal(size=48), LEVEL=unit % 3 / 2 + (year > 2003), SWITCH=(unit + year) % 2)
    asked: list[tuple[pd.DataFrame, dict[str, object]]] = [
        (gaps, {"panel": {**own, "treatment": "PARK", "controls": ["X"], "missing": "drop"}}),
        (gaps.drop(index=range(1, 8)), {"panel": {**own, "controls": ["X"], "missing": "drop"}}),
        (holes, {"panel": {**own, "treatment": "PARK"}}),
        (table[table["year"] % 3 != 1], {"panel": own}),
        (table.assign(year=2 * year), {"panel": {**own, "controls": ["L"]}, "transform": {"L": {"lag": "X"}}}),
        (table, {"panel": {**own, "period": "DATE"}, "read": {"years": True}}),
        (table, {"panel": {**own, "weight": "G"}, "collapse": {"weight": "G"}}),
        (pd.concat([table, table.assign(X=1.0)]), {"panel": {**own, "controls": ["X"]}, "collapse": {}}),
        (pd.concat([gaps, gaps]), {"panel": {**own, "controls": ["X"], "missing": "drop"}, "collapse": {}}),
        (table.assign(G=1 + 1e4 * (unit > 6)), {"panel": {**own, "weight": "G"}}),
        (dose, {"panel": {**own, "treatment": "DOSE"}}),
        (dose, {"panel": {**own, "treatment": "LEVEL"}}),
        (dose, {"panel": {**own, "treatment": "SWITCH", "treatment_kind": "switching"}}),
        (holes, {"panel": {**own, "treatment": "PARK", "treatment_kind": "switching"}}),
        (holes, {"panel": {**own, "treatment": "PARK", "treatment_kind": "continuous"}}),
        (table, {"panel": own, "transform": {"C": {"centre": "X"}, "Q": {"quantiles": ["G", 3, 2000]}}}),
        (table.assign(X=table["X"] ** 2), {"panel": {**own, "outcome": "I"}, "index": {
            "positive": ["X", "G"], "dimensions": {"A": ["X"], "B": ["G"]}}}),
    ]  # fmt: skip
    return {note for frame, spec in asked for note in pp.read_panel(frame, spec).notes}


def test_what_is_said_of_a_cleaned_panel_is_chinese_in_chinese_tables() -> None:
    notes = notes_of_panels()
    assert len(notes) > 20
    said = {note: sentence(note) for note in notes}
    assert {note: text for note, text in said.items() if text == note or english(text) - {"rows"}} == {}
    for note, text in said.items():
        found, kept = (re.findall(r"\b(?:U\d|[XYGLCQ]|[\d,.]*\d)\b", each, re.ASCII) for each in (note, text))
        assert sorted(one for one in found if one not in ("0", "1")) == sorted(
            one for one in kept if one not in ("0", "1")), (note, text)  # fmt: skip


def test_notes_behind_the_tables_are_in_their_language() -> None:
    """And wide letters count twice."""
    notes = ("5 rows with missing values left out (by column: y 1, x 4).", "An unusual note.")
    document = replace(full_document(), style=CHINESE, notes=notes)
    tables, word_file = journal_tables(document), io.BytesIO(word_tables(document, journal_tables(document)))
    assert tables[1].lengths[0] == max(cell_len(row.label) for row in tables[1].rows if row.kind != "head")
    word, latex = zipfile.ZipFile(word_file).read("word/document.xml").decode(), latex_tables(document, tables)
    assert "ctex" in latex
    said = "剔除5行含缺失值的数据（按列：y 1, x 4）。"
    for text in (in_terminal(document), html_tables(document, tables), latex, word):
        assert said in text
        assert "An unusual note." in text
        assert "missing values left out" not in text
    assert "missing values left out" not in rtf_tables(document, tables)
    assert notes[0] in in_terminal(replace(document, style=Style()))
    warned = "Weights bias the mean effect of 0.36 by 0.39, which may be chance, and may be as much as 0.5 (first: x)."
    shown = in_terminal(replace(document, warnings=(Check.fact("a", 2, warned),)))
    assert f"- {warned}" in shown, 'warnings stay English, no part is taken for a label: "A and B", "A by B"'


def in_terminal(document: Document) -> str:
    file = io.StringIO()
    print_estimates(document, journal_tables(document), Console(file=file, width=200, highlight=False), None, ["all"])
    return file.getvalue()
