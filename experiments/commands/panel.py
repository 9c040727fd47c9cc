"""`panelproof panel`: check a panel file, or write an example to start from."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from experiments.commands.options import Command, as_json_option, print_json


@click.group("panel")
def command() -> None:
    """Check a panel file, or write an example."""


@command.command("check", cls=Command)
@click.argument("panel", type=click.Path(path_type=Path))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
@as_json_option
def check(panel: Path, spec: Path, as_json: bool) -> None:
    """Read PANEL as SPEC says and describe it. All errors, also those of `estimate`, are listed at once (exit 2)."""
    from rich.console import Console

    from experiments.estimation import check_estimable
    from experiments.panel_spec.first_spec import description, print_description
    from experiments.panel_spec.spec import read_real_panel, read_spec

    real, console = read_real_panel(panel, read_spec(spec)), Console(highlight=False)
    found = description(real.panel)
    if as_json:
        check_estimable(real)
        print_json(found | {"notes": list(real.notes)})
        return
    print_description(found, console)
    for note in real.notes:
        console.print(note, markup=False)
    check_estimable(real)


@command.command("example", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def example(folder: Path) -> None:
    """Write a synthetic panel.csv and its spec.toml into FOLDER."""
    from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame
    from sim.errors import bad

    for name in ("panel.csv", "spec.toml"):
        if (folder / name).exists():
            raise bad(f"{name} exists already", where=str(folder), allowed="a folder without it",
                      remedy="choose another folder")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    example_frame().to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(EXAMPLE_SPEC, encoding="utf-8")
    click.echo(f"wrote {folder / 'panel.csv'} and {folder / 'spec.toml'} (synthetic data)")
    panel, spec, out = (quote(str(folder / name)) for name in ("panel.csv", "spec.toml", "out"))
    click.echo(f"next: panelproof estimate {panel} --spec {spec} --out {out}")
