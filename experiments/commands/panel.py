"""`panelproof panel`: check a panel file, or write an example to start from."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("panel")
def command() -> None:
    """Check a panel file, or write an example."""


@command.command("check")
@click.argument("panel", type=click.Path(path_type=Path))
@click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
def check(panel: Path, spec: Path) -> None:
    """Read PANEL as SPEC says and describe it. All errors, also those of `estimate`, are listed at once (exit 2)."""
    from rich.console import Console

    from experiments.application.describe import describe_panel
    from experiments.application.estimable import check_estimable
    from experiments.application.spec.spec import read_real_panel, read_spec

    real, console = read_real_panel(panel, read_spec(spec)), Console(highlight=False)
    describe_panel(real.panel, console)
    for note in real.notes:
        console.print(note, markup=False)
    check_estimable(real)


@command.command("example")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def example(folder: Path) -> None:
    """Write a synthetic panel.csv and its spec.toml into FOLDER."""
    from experiments.application.example_panel import EXAMPLE_SPEC, example_frame
    from sim.errors import bad

    for name in ("panel.csv", "spec.toml"):
        if (folder / name).exists():
            raise bad(f"{name} exists already", where=str(folder), allowed="a folder without it",
                      remedy="choose another folder")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    example_frame().to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(EXAMPLE_SPEC, encoding="utf-8")
    click.echo(f"wrote {folder / 'panel.csv'} and {folder / 'spec.toml'} (synthetic data)")
    click.echo(f"next: panelproof estimate {folder / 'panel.csv'} --spec {folder / 'spec.toml'} --out {folder / 'out'}")
