"""`panelproof compare`: two stores side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from experiments.commands.options import STORE, Command

if TYPE_CHECKING:
    from results.store.bucket import StorePath


@click.command("compare", cls=Command)
@click.argument("a", type=STORE)
@click.argument("b", type=STORE)
@click.option("--all", "everything", is_flag=True, help="Show all terms and all rows.")
@click.option("--json", "as_json", is_flag=True, help="Print every number as one JSON document and nothing else.")
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
              help="Level of tests and intervals.")  # fmt: skip
def command(a: StorePath, b: StorePath, everything: bool, as_json: bool, alpha: float) -> None:
    """Print what store B says minus what store A says: paired where both drew the same panels, unpaired elsewhere."""
    from results.diagnosis.comparison import compare
    from results.report.terminal import NamesConsole, comparison_json, print_comparison
    from results.store.zarr_store import ZarrStore
    from sim.errors import bad, visible_json

    if not 0 < alpha < 1:  # NaN passes click's range
        raise bad(f"alpha = {alpha}", where="--alpha", allowed="above 0, below 1", remedy="correct the number")
    one, other = ZarrStore.open(a), ZarrStore.open(b)
    found = compare(one, other, alpha)
    if found.frame.empty:
        lacking = "fits of one estimator and term" if found.cells else "a cell"
        raise bad(f"nothing can be compared: they lack {lacking} in common", where=f"{a} and {b}",
                  allowed="stores of equal dials with an estimator in common", remedy="name other stores")  # fmt: skip
    if as_json:
        click.echo(visible_json(comparison_json(found, one, other)))
    else:
        print_comparison(found, one, other, NamesConsole(highlight=False), everything=everything)
