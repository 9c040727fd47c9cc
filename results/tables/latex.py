"""The tables of a document as one LaTeX file that compiles by itself: booktabs rules, notes by threeparttable.

Written by hand, for maketables 0.2 and great_tables 1.1 cannot carry it (tried on 80 rows and 24 columns with Chinese
names): both write a table alone, without the preamble that Chinese needs, set all columns on one page, and stars move
digits out of line; maketables leaves % and _ of a caption as they are, which does not compile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

from results.tables.chinese import notes_of, wording
from results.tables.journal_table import JournalTable, Row, TableFormat
from results.tables.records import Document
from results.tables.typography import split_stars, with_minus

UPRIGHT, TURNED = 118, 175  # widest table on an upright page and on one that lies on its side, in letters
LENGTH = {False: 58, True: 34}  # rows on a page, by whether it is turned
NARROW, BROAD = 6, 11  # letters of a heading that is never broken, and of one that is broken at its hyphens too
SPARE = 8  # rows and letters from a full page at which the type becomes smaller
_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$",
    "\N{MINUS SIGN}": r"$-$", "×": r"$\times$", "²": r"$^{2}$", "ρ": r"$\rho$", "λ": r"$\lambda$", "σ": r"$\sigma$",
    "θ": r"$\theta$", "χ": r"$\chi$", "[": "{[}", "]": "{]}", "*": r"$^{*}$", "`": r"\textasciigrave{}",
}  # fmt: skip
_FOREIGN = re.compile(
    "[^\x00-\u017f\u2010-\u2026]|[\u0126\u0127\u0138\u013f\u0140\u0149\u0166\u0167\u017f\u2017\u201b\u201f\u2023-\u2025]"
)  # beyond the Latin letters and the punctuation that pdfLaTeX has
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_PREAMBLE = r"""% {engine}
\documentclass[11pt,a4paper]{{article}}
{fonts}
\usepackage[margin=22mm]{{geometry}}
\usepackage{{array,booktabs,caption,threeparttable,pdflscape}}
\newcommand{{\stars}}[1]{{\rlap{{$^{{#1}}$}}}}
\begin{{document}}
"""
_LATIN = r"""\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}"""


def latex_tables(document: Document, tables: Sequence[JournalTable]) -> str:
    """The file: tables with more columns or rows than a page holds in parts, then the document's notes.

    Chinese, Japanese and Korean characters, where there are any, ask for XeLaTeX and ctex.
    """
    parts = [page for table in tables for block in table.blocks(lambda part: part.width <= TURNED)
             for page in block.pages(LENGTH[block.width > UPRIGHT])]  # fmt: skip
    body = "\n\n".join(_float(part) for part in parts)
    if document.notes:
        items = "\n".join(rf"\item {escape(sentence)}" for sentence in notes_of(document))
        body += f"\n\n\\clearpage\n\\section*{{{escape(wording(document)('Notes'))}}}\n"
        body += f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"
    engine, fonts = "Compile with XeLaTeX or LuaLaTeX.", r"\usepackage{fontspec}"
    if _CJK.search(body):
        fonts = r"\usepackage[scheme=plain]{ctex}"
    elif not _FOREIGN.search(body):
        engine, fonts = "Compile with pdfLaTeX, XeLaTeX or LuaLaTeX.", _LATIN
    head = _PREAMBLE.format(engine=engine, fonts=fonts)
    return f"{head}{body}\n\\end{{document}}\n"


def escape(text: str) -> str:
    """Text with LaTeX's special characters made harmless, hyphens no dashes, Greek letters and signs in mathematics."""
    return re.sub("-(?=-)", "-{}", "".join(_SIGNS.get(letter, letter) for letter in with_minus(text)))


def _float(table: JournalTable) -> str:
    turned = table.width > UPRIGHT
    width = len(table.columns) + 1
    small = len(table.rows) > LENGTH[turned] - SPARE or table.width > (TURNED if turned else UPRIGHT) - 2 * SPARE
    texts = [cell for row in table.rows for cell in row.cells]
    overhang = 0.7  # room right of every column for what stands outside its width, in em
    if any(split_stars(text)[1] for text in texts):
        overhang = 1.6
    elif any(text.endswith((")", "]")) for text in texts):
        overhang = 1.0
    heads = []
    if table.groups:
        cells, rules, first = [], [], 2
        for group, span in table.groups:
            cells.append(rf"\multicolumn{{{span}}}{{c}}{{{escape(group)}}}")
            rules += [rf"\cmidrule(lr){{{first}-{first + span - 1}}}"] if group else []
            first += span
        heads += [_line("", cells), " ".join(rules)]
    for words in table.heads:  # a heading that is wider than what stands below it in a box of several lines
        boxed = []
        for text, length in zip(words, table.lengths[1:], strict=True):
            within = 0.58 * max(min(length, BROAD), *map(cell_len, re.split("[ -]", text)))  # em of its lines
            box = rf"\parbox[b]{{{within:.2f}em}}{{\raggedleft {escape(text)}}}"
            boxed.append(box if " " in text and cell_len(text) > max(length, NARROW) else escape(text))
        heads.append(_line("", boxed))
    lines = [
        r"\begin{table}[p]" if turned else r"\begin{table}[htbp]",
        r"\centering\scriptsize" if small else r"\centering\footnotesize",
        r"\begin{threeparttable}",
        rf"\caption*{{{escape(table.caption)}}}",
        *([r"\setlength{\tabcolsep}{4pt}"] if small else []),
        rf"\begin{{tabular}}{{l*{{{width - 1}}}{{r@{{\hspace{{{overhang}em}}}}}}}}",
        r"\toprule",
        *heads,
        r"\midrule",
        *(line for number, row in enumerate(table.rows) for line in _row(row, width, first=number == 0)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if table.notes:
        lines += [r"\begin{tablenotes}[flushleft]\footnotesize", rf"\item {escape(' '.join(table.notes))}",
                  r"\end{tablenotes}"]  # fmt: skip
    lines += [r"\end{threeparttable}", r"\end{table}"]
    return "\n".join(["\\begin{landscape}", *lines, "\\end{landscape}"] if turned else lines)


def _row(row: Row, width: int, *, first: bool) -> list[str]:
    rule = [r"\midrule"] if row.rule or (row.kind == "head" and not first) else []
    if row.kind == "head":
        return [*rule, rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(row.label)}}}}} \\"]
    label = escape(row.label.strip())
    indent = r"\quad " if row.label.startswith("  ") else ""
    return [*rule, _line(indent + label, [_cell(cell) for cell in row.cells])]


def _cell(text: str) -> str:
    """Stars and closing brackets stand outside the column's width, so that digits stand under digits."""
    body, stars = split_stars(text)
    if stars:
        return rf"{escape(body)}\stars{{{stars}}}"
    if body.endswith((")", "]")):
        return rf"{escape(body[:-1])}\rlap{{{escape(body[-1])}}}"
    return escape(body)


def _line(label: str, cells: Sequence[str]) -> str:
    return rf"{' & '.join([label, *cells])} \\"


FORMATS = (TableFormat("tex", "tables.tex", lambda document, tables, *_: latex_tables(document, tables).encode()),)
