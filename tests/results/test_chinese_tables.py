"""Tables in Chinese: no English word is left in a label, the field's terms, wide letters, the page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from documents import full_document
from known_tables import ASKED, known_document
from rich.cells import cell_len

from experiments.tables.ledger import journal_tables
from results.tables.chinese import chinese, sentence, wording
from results.tables.html_tables import html_tables
from results.tables.journal_table import JournalTable
from results.tables.latex import latex_tables
from results.tables.records import Document, Style
from results.tables.typography import number_of

UNUSUAL = "Table 6, esda: no permutations."  # of a program that compares, in its own words
CHINESE = Style(language="zh")
TERMS = {
    "双重差分", "双向固定效应", "观测值", "个体固定效应", "时间固定效应", "中介效应", "空间杜宾模型", "直接效应",
    "间接效应（溢出效应）", "总效应", "控制变量", "常数项", "混合OLS", "随机效应", "莫兰指数", "稳健性检验",
    "描述性统计",
    "工具变量", "合成控制", "平行趋势", "调节效应", "三重差分", "聚类",
}  # fmt: skip
NAMES = {
    "growth",
    "park",
    "rain",
    "soil",
    "county",
    "year",
    "fdi",
    "patents",
    "ring",
    "queue",
    "region",
    "east",
    "west",
    "size",
    "big",
    "province",
    "low_carbon",
    "income",
    "altitude",
    "polluting",
    "north",
    "isle",
    "south",
    "cape",
    "middle",
    "bay",
    "coast",
    "hill",
    "dale",
    "moor",
    "fen",
    "did",
    "icr",
    "eip",
    "inv",
    "road_pc",
    "city",
    "gpat",
    "ent",
    "icr2",
    "Beijing",
    "Sanya",
    "knn-6",
    "queen",
    "event",
}  # of the user
MODELS = {
    "SEM",
    "SAR",
    "SDM",
    "SLX",
    "SDEM",
    "SAC",
    "OLS",
    "DID_M",
    "ATT",
    "AIC",
    "BIC",
    "AR",
    "CD",
    "VIF",
    "LR",
    "LM",
    "Wald",
    "Pesaran",
    "Sobel",
    "Delta",
    "Holm",
    "Hotelling",
    "Lee-Yu",
    "Elhorst",
    "Callaway-Sant'Anna",
    "Sun-Abraham",
    "Kleibergen-Paap",
    "Anderson-Rubin",
    "Sargan",
    "Hansen",
    "Logit",
    "wild",
    "iid",
    "HC1",
    "hc1",
    "hessian",
    "nie",
    "nde",
    "cluster",
    "unit",
    "linearmodels",
    "spreg",
}  # and what Chinese papers write in Latin letters too


def tables_of(document: Document) -> tuple[JournalTable, ...]:
    return journal_tables(replace(document, style=CHINESE))


@pytest.mark.parametrize("document", [known_document(ASKED["usual"][1]), full_document()], ids=["known", "full"])
def test_no_english_word_is_left_in_titles_headings_labels_and_cells(document: Document) -> None:
    for table in tables_of(document):
        said = [table.title, *(text for one in table.columns for text in (one.group, one.label))]
        said += [
            text
            for row in table.rows
            for text in (row.label, *row.cells)
            if number_of(text) is None and not re.match(r"\d|\[p", text)
        ]
        words = {word for text in said for word in re.findall(r"[A-Za-z][A-Za-z0-9'_-]+", text)}
        assert words <= NAMES | MODELS | {"e12", "e-"}, (table.caption, words - NAMES - MODELS)


def test_the_terms_are_those_of_the_field() -> None:
    tables = tables_of(known_document(ASKED["usual"][1]))
    text = " ".join(part for table in tables for part in (
        table.caption, *(column.group + column.label for column in table.columns), *(row.label for row in table.rows),
        *table.notes))  # fmt: skip
    assert not [term for term in TERMS if term not in text]
    assert tables[1].caption == "表2. park对growth的回归"
    assert "括号内为在个体层面聚类的标准误" in tables[1].notes[0]


def test_numbers_are_those_of_the_english_tables() -> None:
    document = known_document(ASKED["usual"][1])
    for one, other in zip(journal_tables(document), tables_of(document), strict=True):
        for row, same in zip(one.rows, other.rows, strict=True):
            assert [number_of(cell) for cell in row.cells] == [number_of(cell) for cell in same.cells]
            assert [cell for cell in row.cells if number_of(cell) is not None] == [
                cell for cell in same.cells if number_of(cell) is not None]  # fmt: skip


@pytest.mark.parametrize("asked", list(ASKED))
def test_notes_of_tables_are_chinese_whole(asked: str) -> None:
    for table in tables_of(known_document(ASKED[asked][1])):
        for note in table.notes:
            if note == UNUSUAL:
                continue
            assert re.search("[\u4e00-\u9fff]", note) or note.startswith("*** p"), (table.name, note)
            phrases = set(re.findall(r"[A-Za-z]{2,}(?: [a-z]{2,}){3,}", note))
            assert not phrases, (table.name, note)  # four words in a row are a clause that nobody has put into Chinese


def test_a_name_of_the_user_is_never_translated_and_an_unknown_sentence_stays_whole() -> None:
    assert chinese("Constant") == "常数项"
    assert chinese("Constant", {"Constant"}) == "Constant"
    assert chinese("  between") == "  组间"
    unknown = "Effects without controls and with others: nothing is known."
    assert sentence(unknown) == unknown
    assert wording(full_document())("Contents") == "Contents"


def test_the_page_says_its_language_and_wide_letters_count_twice() -> None:
    document = replace(full_document(), style=CHINESE)
    tables = journal_tables(document)
    page = html_tables(document, tables)
    assert '<html lang="zh">' in page
    assert "eip对icr的效应：" in page
    assert "<h2>表格</h2>" in page
    assert tables[1].lengths[0] == max(cell_len(row.label) for row in tables[1].rows if row.kind != "head")
    assert "ctex" in latex_tables(document, tables)
