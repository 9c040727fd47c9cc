"""`panelproof replicate`: a bundle for a journal's archive, made or run again."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.commands.options import Command, as_json_option, print_json

CODES = {"differs": 1, "not checked": 3}


@click.command("replicate", cls=Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--from", "stores", multiple=True, metavar="STORE", type=click.Path(path_type=Path),
              help="Make a bundle with the study of this store; may be given repeatedly.")  # fmt: skip
@click.option("--panel", type=click.Path(path_type=Path), help="Make a bundle with the estimates of this panel.")
@click.option("--spec", type=click.Path(path_type=Path), help="The SPEC.toml of that panel.")
@click.option("--with-data", is_flag=True, help="Put the panel, and files that its spec names, into the bundle.")
@click.option("--trust", is_flag=True, help="Import the code that a store names, because the store is yours.")
@click.option("--cluster", default="local", metavar="WHERE", show_default=True,
              help="Where studies run again: serial, local or tcp://HOST:PORT (tls://).")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="Worker processes of a local cluster (default: one per core).")
@click.option("--insecure", is_flag=True, help="Allow plain tcp to another machine (anyone there can run code).")
@as_json_option
def command(
    folder: Path,
    stores: tuple[Path, ...],
    panel: Path | None,
    spec: Path | None,
    with_data: bool,
    trust: bool,
    cluster: str,
    workers: int | None,
    insecure: bool,
    as_json: bool,
) -> int:
    """Make a replication bundle in the new folder DIR, or run the bundle in DIR again and compare.

    A bundle holds study files, the spec, the numbers that were found, versions, hashes, checksums and a README with the
    commands. It never holds the panel unless --with-data says so. Run again, it exits with 0 when all is the same, with
    1 when something differs, and with 3 when the panel is not there.
    """
    if stores or panel or spec:
        from experiments.replication.writing import write_bundle

        return _said_of_files(
            folder, write_bundle(folder, stores, panel, spec, with_data=with_data, trust=trust), as_json
        )
    return _run_again(folder, cluster, workers, insecure, as_json)


def _said_of_files(folder: Path, files: list[str], as_json: bool) -> int:
    if as_json:
        print_json({"folder": str(folder), "files": files})
    else:
        click.echo(f"wrote {folder}: {', '.join(files)}\nrun it again: panelproof replicate {folder}")
    return 0


def _run_again(folder: Path, cluster: str, workers: int | None, insecure: bool, as_json: bool) -> int:
    from dataclasses import asdict

    from cluster import open_executor
    from experiments.replication.bundle import read_manifest
    from experiments.replication.rerun import rerun
    from experiments.running.launch import check_cluster

    read_manifest(folder)
    check_cluster(cluster, workers, insecure)
    executor = open_executor(cluster, workers)
    findings = []
    try:
        for finding in rerun(folder, executor):
            findings.append(finding)
            if not as_json:
                click.echo(f"{finding.part}: {finding.verdict}; {finding.reason}")
    finally:
        executor.close()
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    verdicts = {finding.verdict for finding in findings}
    return next((code for verdict, code in CODES.items() if verdict in verdicts), 0)
