"""The README of a bundle: what a data editor reads first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def readme(manifest: Mapping[str, Any]) -> str:
    """What the bundle holds, how it is run again, what is compared, with which versions it was made."""
    return "\n".join(_lines(manifest))


def _lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    version = manifest["packages"].get("panelproof", "unknown")
    yield from (
        "# Replication bundle", "",
        f"Made by panelproof {version}. This folder makes its results again and compares them.", "",
        "## Run it", "",
        "```sh",
        "pip install -r requirements.txt   # then panelproof itself, of the version above: pip install PATH",
        "sha256sum -c SHA256SUMS           # the files are those that were deposited",
        "panelproof replicate .            # runs everything again and compares",
        "```", "",
        *_code(manifest["code"]),
        "The last command prints a line for each result. It ends with 0 when all are the same, with 1 when one",
        "differs, with 3 when data that are not in this folder were not there. What it computes goes into `rerun/`;",
        "after an interruption the same command goes on.", "",
    )  # fmt: skip
    yield from _application(manifest["application"])
    yield from _studies(manifest["studies"])
    yield from (
        "## What is compared", "",
        "Studies: the SHA-256 of all results. With the same versions and the same kind of processor it is equal.",
        "With others the numbers of `results/` are compared to one part in a million of the larger of number and",
        "error.", "",
        "Estimates: every estimate, standard error, p value and interval of `results/estimates.csv`, in the same",
        "way.", "",
        "## Files", "",
        "| file | content |", "|---|---|",
        "| `studies/*.toml` | Monte Carlo studies: designs, grids, estimators, replications, seeds |",
        "| `panel/SPEC.toml` | what the columns of the panel are, and which tables were asked for |",
        "| `results/*.csv` | the numbers that were found |",
        "| `manifest.json` | hashes, fingerprints and environments |",
        "| `requirements.txt` | the version of every package |",
        "| `SHA256SUMS` | the checksum of every file |", "",
    )  # fmt: skip


def _code(code: list[str]) -> Iterator[str]:
    if code:
        names = ", ".join(f"`{name}`" for name in code)
        yield from (f"The studies name code in this folder ({names}). Read it, and then say",
                    "`panelproof replicate . --trust`; without that nothing of it is run.", "")  # fmt: skip


def _application(application: Mapping[str, Any] | None) -> Iterator[str]:
    if application is None:
        return
    held = "is in this folder" if application["with_data"] else "is not in this folder"
    yield from (
        "## Data",
        "",
        f"The panel {held}. Files, by their names in `panel/`:",
        "",
        "| file | SHA-256 |",
        "|---|---|",
    )
    yield from (f"| `{name}` | `{digest}` |" for name, digest in application["data"].items())
    yield ""
    if not application["with_data"]:
        yield from ("Put these files into `panel/` before you run the bundle. Their checksums are compared first.", "")


def _studies(studies: list[Mapping[str, Any]]) -> Iterator[str]:
    if not studies:
        return
    yield from (
        "## Studies",
        "",
        "| study | replications per cell | SHA-256 of the results | made with |",
        "|---|---|---|---|",
    )
    for study in studies:
        made = "; and ".join(environment["text"] for environment in study["environments"])
        yield f"| `studies/{study['name']}.toml` | {study['replications']:,} | `{study['hash']}` | {made} |"
    yield ""
