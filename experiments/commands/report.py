"""`panelproof report`: the bias report of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.commands.options import STORE, Command

if TYPE_CHECKING:
    from results.store.bucket import StorePath


@click.command("report", cls=Command)
@click.argument("store", type=STORE)
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained HTML report here."
)
@click.option("--json", "as_json", is_flag=True, help="Print every measure as one JSON document and nothing else.")
@click.option("--full", is_flag=True, help="Print every measure of every cell instead of one screen.")
@click.option("--all-terms", is_flag=True, help="Print everything, the controls too.")
@click.option("--by", default="", metavar="DIALS",
              help="Print one measure by these dials, comma-separated; the last one gives the columns.")  # fmt: skip
@click.option("--measure", "measures", multiple=True, metavar="NAME|FILE.py:NAME",
              help="The measure of the table (power, size, coverage, bias, rmse, ...), or a function of estimate, se, "
              "pvalue, lower, upper, truth to show as well; repeatable.")  # fmt: skip
@click.option("--trust", is_flag=True, help="Load the measures that STORE names (only for a store of your own).")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False),
              help="Write every picture into this folder, as svg, pdf and png.")  # fmt: skip
@click.option("--format", "formats", default="", metavar="LIST",
              help="Files of tables for --out, comma-separated: tex, docx, xlsx, csv (with all measures).")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files of --format.")
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
              help="Level of tests and intervals.")  # fmt: skip
def command(
    store: StorePath, html: Path | None, as_json: bool, full: bool, all_terms: bool, by: str, measures: tuple[str, ...],
    figures: Path | None, formats: str, out: Path | None, alpha: float, trust: bool,
) -> None:  # fmt: skip
    """Print the answer to a study's question on one screen, from a store that `run` made; --full prints all of it."""

    from cluster import prepare_process
    from experiments.run.reporting import (
        pivots_of,
        print_json,
        print_pivots,
        print_report,
        wishes,
        write_exports,
        write_html,
    )
    from results.diagnosis.diagnose import diagnose
    from results.report.terminal import NamesConsole
    from results.store.zarr_store import ZarrStore
    from sim.errors import bad

    if not 0 < alpha < 1:
        raise bad(f"alpha = {alpha}", where="--alpha", allowed="above 0, below 1", remedy="correct the number")
    prepare_process()
    records = ZarrStore.open(store)
    wanted, own = wishes(records, by, measures, figures, formats, out, html, trust=trust)
    if as_json and wanted.any_pivot:
        raise bad("--json beside a table by dials", where="--json", allowed="one of the two",
                  remedy="leave --by and the measure's name out: --json has every measure of every cell")  # fmt: skip
    diagnosis = diagnose(records, alpha, own)
    pivots = pivots_of(diagnosis, wanted) if wanted.any_pivot or wanted.formats else []
    console = NamesConsole(highlight=False)
    if as_json:
        print_json(records, diagnosis)
    elif wanted.any_pivot:
        print_pivots(pivots, console)
    else:
        print_report(records, console, diagnosis, all_terms=all_terms, full=full)
    written = write_exports(records, diagnosis, pivots, wanted)
    if html is not None:
        write_html(records, diagnosis, html, pivots if wanted.any_pivot else ())
        written.append(html)
    if written and not as_json:
        console.print(f"wrote   {', '.join(map(str, written))}", markup=False, soft_wrap=True)
