"""The second half of docs/worlds.md, made of the parts themselves: `python tests/support/grammar.py` writes it."""

from __future__ import annotations

from pathlib import Path

from experiments.kinds import Entry, catalogue
from sim.world.context import slots_of
from sim.world.panel_design import PanelDesign

PAGE = Path(__file__).resolve().parents[2] / "docs" / "worlds.md"
MARK = "## Every part\n"


def grammar() -> str:
    """Every slot, its kinds, and every dial of each, as Markdown."""
    slots: dict[str, list[Entry]] = {}
    for entry in catalogue()["parts"]:
        slots.setdefault(entry.kind.partition(": ")[0], []).append(entry)
    (panel,) = (entry for entry in catalogue()["designs"] if entry.kind == "panel")
    about = {dial.name: dial for dial in panel.dials}
    lines = [MARK, "Written by `tests/support/grammar.py`; a test holds it to the code. The default kind is that of a "
             "table that names none.\n"]  # fmt: skip
    for slot, entries in slots.items():
        many = about[slot].type.startswith("list")
        lines.append(
            f"### {f'[[design.{slot}]]' if many else f'[design.{slot}]'}\n\n{_sentence(about[slot].meaning)}\n"
        )
        default = slots_of(PanelDesign)[slot].base.default
        for entry in entries:
            kind = entry.kind.partition(": ")[2]
            shown = " (default)" if kind == default and len(entries) > 1 else ""
            lines.append(f"**`{kind}`**{shown} {entry.summary}\n")
            if entry.dials:
                lines.append("| dial | type | default | allowed | meaning |\n|---|---|---|---|---|")
                lines += [
                    f"| `{dial.name}` | {dial.type} | {_cell(dial.default)} | {_cell(' or '.join(dial.allowed))} "
                    f"| {_cell(dial.meaning)} |"
                    for dial in entry.dials
                ]
                lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def main() -> None:
    first = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(first + grammar(), encoding="utf-8")


if __name__ == "__main__":
    main()
