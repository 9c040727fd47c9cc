"""`panelproof report`: the bias report of a store."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained HTML report here."
)
@click.option("--json", "as_json", is_flag=True, help="Print every measure as one JSON document and nothing else.")
@click.option("--full", is_flag=True, help="Print every measure of every cell instead of one screen.")
@click.option("--all-terms", is_flag=True, help="Print everything, the controls too.")
@click.option("--measure", "measures", multiple=True, metavar="FILE.py:NAME",
              help="Also show this function of estimate, se, pvalue, lower, upper, truth; repeatable.")  # fmt: skip
@click.option("--trust", is_flag=True, help="Load the measures that STORE names (only for a store of your own).")
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
              help="Level of tests and intervals.")  # fmt: skip
def command(
    store: Path,
    html: Path | None,
    as_json: bool,
    full: bool,
    all_terms: bool,
    alpha: float,
    measures: tuple[str, ...],
    trust: bool,
) -> None:
    """Print the answer to a study's question on one screen, from a store that `run` made; --full prints all of it."""
    from rich.console import Console

    from experiments.running.reporting import check_html, measures_of, print_json, print_report, write_html
    from results.diagnosis.diagnose import diagnose
    from results.store.zarr_store import ZarrStore
    from sim.errors import bad

    if not 0 < alpha < 1:
        raise bad(f"alpha = {alpha}", where="--alpha", allowed="above 0, below 1", remedy="correct the number")
    if html is not None:
        check_html(html)
    records = ZarrStore.open(store)
    if as_json:
        diagnosis = diagnose(records, alpha, measures_of(records, measures, trust=trust))
        print_json(records, diagnosis)
    else:
        console = Console(highlight=False)
        diagnosis = print_report(
            records, console, alpha=alpha, all_terms=all_terms, full=full, measures=measures, trust=trust
        )
        if html is not None:
            console.print(f"report  {html}", markup=False)
    if html is not None:
        write_html(records, diagnosis, html)
