"""`panelproof replicate`: a bundle for a journal's archive, made or run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.options import STORE, Command, as_json_option, cluster_options, print_json, say

if TYPE_CHECKING:
    from results.store.bucket import StorePath

CODES = {"differs": 1, "not checked": 3}


@click.command("replicate", cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--from", "stores", multiple=True, metavar="STORE", type=STORE,
              help="Make a bundle with the study of this store; may be given repeatedly.")  # fmt: skip
@click.option("--panel", type=click.Path(path_type=Path), help="Make a bundle with the estimates of this panel.")
@click.option("--spec", type=click.Path(path_type=Path), help="The SPEC.toml of that panel.")
@click.option("--with-data", is_flag=True, help="Put the panel, and files that its spec names, into the bundle.")
@click.option("--trust", is_flag=True, help="Import the code that a store or a bundle names, because you trust it.")
@cluster_options("local")
@as_json_option
def command(
    folder: Path,
    stores: tuple[StorePath, ...],
    panel: Path | None,
    spec: Path | None,
    with_data: bool,
    trust: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Make a replication bundle in the new folder DIR, or run the bundle in DIR again and compare.

    A bundle holds study files, the spec, the numbers that were found, versions, hashes, checksums and a README with the
    commands. It never holds the panel unless --with-data says so. Run again, it exits with 0 when all is the same, with
    1 when something differs, and with 3 when the panel is not there. Nothing is run when a file is not as deposited;
    code that the bundle holds is run with --trust alone.
    """
    if stores or panel or spec:
        from experiments.replication import write_bundle

        return _said_of_files(
            folder, write_bundle(folder, stores, panel, spec, with_data=with_data, trust=trust), trust, as_json
        )
    return _run_again(folder, where, trust, as_json)


def _said_of_files(folder: Path, files: list[str], trust: bool, as_json: bool) -> int:
    if as_json:
        print_json({"folder": str(folder), "files": files})
    else:
        again = f"panelproof replicate {quote(str(folder))}{' --trust' * trust}"
        say(f"wrote {folder}: {', '.join(files)}\nrun it again: {again}")
    return 0


def _run_again(folder: Path, where: Mapping[str, Any], trust: bool, as_json: bool) -> int:
    from dataclasses import asdict

    from experiments.replication import rerun
    from experiments.run.places import named_place

    findings = []
    for finding in rerun(folder, named_place(where).open, trust=trust):
        findings.append(finding)
        if not as_json:
            say(f"{finding.part}: {finding.verdict}; {finding.reason}")
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    verdicts = {finding.verdict for finding in findings}
    return next((code for verdict, code in CODES.items() if verdict in verdicts), 0)
