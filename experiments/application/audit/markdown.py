"""The audit as a Markdown document."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.application.audit.checks import Check

OPENING = (
    "Each check compares printed numbers with what other printed numbers of the same paper imply. No data are used, "
    "and rounding is allowed for. A line that does not agree is a question to the authors, not a verdict on the "
    "finding."
)


def to_markdown(checks: Sequence[Check], source: str) -> str:
    """Title, summary table, then one section a check."""
    lines = ["# What the paper's printed numbers say about one another", "", OPENING, "",
             f"Written by `panelproof audit {source}`.", "",
             "| check | lines | do not agree |", "|---|---:|---:|"]  # fmt: skip
    lines += [f"| {check.title} | {len(check.lines)} | {check.missed} |" for check in checks]
    for check in checks:
        lines += ["", f"## {check.title}", "", check.arithmetic, ""]
        if check.lines:
            lines += ["| where | printed | implied | |", "|---|---|---|---|"]
            lines += [
                f"| {_cell(line.where)} | {_cell(line.printed)} | {_cell(line.implied)} | "
                f"{'agrees' if line.agrees else '**does not agree**'} |"
                for line in check.lines
            ]
            lines.append("")
        lines.append(check.conclusion)
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
