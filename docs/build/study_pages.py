"""The pages of docs/studies: what a built-in study asks, expects, and what its run answered.

`python docs/build/study_pages.py [NAME...] [--replications R]` runs the studies (all without names) into `runs/` as
`panelproof run` does, which resumes what is there, and writes a page of what `panelproof report` printed, with the
first picture that `--figures` draws. A page opens with the sentences of its own report that answer the study's claims;
`--opening` alone writes these again, without a run.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import re
import sys
from importlib import resources
from pathlib import Path

import screen

from experiments.cli import run_command
from experiments.run.reporting import charts_of
from experiments.study import Study, builtin_names, builtin_study, canonical_json
from results.diagnosis.diagnose import diagnose
from results.plots.picture import figure_bytes
from results.report.grids import MARKS, lead_of
from results.report.html import pictures_of
from results.store.zarr_store import ZarrStore

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = REPOSITORY / "docs" / "studies"
ITEM = re.compile(r"^- (.*(?:\n  .*)*)", re.MULTILINE)
CLAIM = re.compile(r"Bias of |[\d.]+% (intervals|tests) of |Power of |Screens: |Failed fits: ")  # how answers begin
OWN_LINE = re.compile(rf"  ([{''.join(MARKS.values())}] |\S+: .*[{''.join(MARKS.values())}])")  # within an answer
OPENS, WRITES = "**Answer.** ", "*`python docs/build/study_pages.py`"
SLOW = (  # a short run of the page has the last of their cells alone
    "bias", "factors", "few-treated", "mediation", "placebo", "power", "pretrends", "selection", "staggered",
    "synthetic", "wrong-w",
)  # fmt: skip
MOST = 60_000  # bytes of an SVG; a larger one is shown as PNG
WRITTEN = f"{WRITES} writes this page: it runs the study and keeps what the commands print.*\n"


def printed(*arguments: str) -> str:
    """What a command prints; raises RuntimeError when it does not end with 0."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = run_command(list(arguments))
    if code != 0:
        raise RuntimeError(f"panelproof {' '.join(arguments)} ended with {code}:\n{out.getvalue()}")
    return out.getvalue()


def source_of(name: str) -> str:
    """The study's file without the words that the page shows beside it."""
    text = (resources.files("experiments") / "studies" / f"{name}.toml").read_text(encoding="utf-8")
    words = ("question = ", "expected = ", "cost = ")
    return "\n".join(line for line in text.splitlines() if not line.startswith(words)).strip()


def digest(study: Study) -> str:
    """SHA-256 of all that changes the numbers of a study; how a store keeps them is none of it."""
    drawn = {key: value for key, value in study.identity.items() if key not in ("schema", "block")}
    return hashlib.sha256(canonical_json(drawn).encode()).hexdigest()


def picture(name: str, images: Path) -> str:
    """The line that shows the first picture of `report --figures` of runs/NAME.zarr, which is put into `images`."""
    store = ZarrStore.open(Path("runs") / f"{name}.zarr")
    diagnosis = diagnose(store)
    charts = pictures_of(diagnosis, *lead_of(diagnosis)) or charts_of(store, diagnosis)
    if not charts:
        return ""
    svg = figure_bytes(charts[0], "svg")
    images.mkdir(parents=True, exist_ok=True)
    for old in images.glob(f"study-{name}.*"):
        old.unlink()
    if len(svg) <= MOST:
        (target := images / f"study-{name}.svg").write_bytes(svg)
    else:
        (target := images / f"study-{name}.png").write_bytes(screen.small(figure_bytes(charts[0], "png")))
    alt = charts[0].caption.replace("[", "(").replace("]", ")")
    return f"![{alt}](../{images.name}/{target.name})\n"


def opening(report: str) -> str:
    """The first paragraph of a page: what a printed report answers, a sentence a claim, failed fits last.

    Raises ValueError when the report has no such sentence.
    """
    head = report.partition("\nExpected: ")[0].partition("\n\n")[0]
    found = [sentence(text) for text in ITEM.findall(head) if CLAIM.match(text)]
    if not found:
        raise ValueError(f"the report begins with no answer to a claim:\n{head}")
    found.sort(key=lambda item: item.startswith("Failed fits"))
    return "\n".join([OPENS + found[0], *(["", *(f"- {item}" for item in found[1:])] if found[1:] else [])]) + "\n"


def sentence(item: str) -> str:
    """An answer that is printed in lines as one paragraph: the claim, its estimators, what the marks come to."""
    parts: list[list[str]] = []
    for line in item.splitlines():
        opens = not parts or (not line.startswith("    ") and OWN_LINE.match(line))
        parts = [*parts, [line.strip()]] if opens else [*parts[:-1], [*parts[-1], line.strip()]]
    said = [" ".join(lines) for lines in parts]
    rows = [text for text in said[1:] if text[0] not in MARKS.values()]
    head = f"{said[0]} {'; '.join(rows)}" if rows else said[0]
    return ". ".join([head, *(text for text in said[1:] if text not in rows)]).rstrip(".") + "."


def reopened(text: str) -> str:
    """A page whose first paragraph is that of the report that it shows."""
    title, _, rest = text.partition("\n")
    report = rest.partition("```text\n")[2].partition("\n```")[0]
    return f"{title}\n\n{opening(report)}\n{WRITES}{rest.partition(WRITES)[2]}"


def page(study: Study, images: Path) -> str:
    """The page of a study whose results are in runs/NAME.zarr; its picture is put into `images`."""
    name, replications = study.name, study.replications
    answer, shown = printed("report", f"runs/{name}.zarr"), picture(name, images)
    own = builtin_study(name).replications
    lines = "\n".join(line.rstrip() for line in answer.strip("\n").splitlines())
    fewer, option = ("", "") if replications == own else (
        f" The study itself has {own:,}.", f" --replications {replications}")  # fmt: skip
    cells = len(study.cells)
    part = f" --shard {cells}/{cells} --store runs/{name}.zarr" if name in SLOW else ""
    return "\n".join([
        f"# {name}\n", opening(answer), WRITTEN, f"**Question.** {study.question}\n",
        f"**Expected.** {study.expected}\n",
        f"**Run.** {cells} cells, {replications:,} replications each, seed {study.seed}.{fewer}"
        f" With all replications it takes {study.cost} on two cores.\n",
        f"<!-- study: {digest(study)} -->\n<!-- short: run {name}{option} => run {name} --replications 2{part} -->\n"
        f"<!-- short: --figures runs/{name} => --full -->\n"
        f"```sh\npanelproof run {name}{option} --html runs/{name}.html\n"
        f"panelproof report runs/{name}.zarr --figures runs/{name}\n```\n",
        "## Numbers\n", *([shown] if shown else []), f"```text\n{lines}\n```\n",
        "## World\n", f"The file of the study, `experiments/studies/{name}.toml`:\n",
        f"```toml\n{source_of(name)}\n```\n",
    ])  # fmt: skip


def index() -> str:
    """The list of all studies."""
    lines = ["# Built-in studies\n", "Each page says what a study asks, what theory lets expect, and what the run"
             " answered.\n", "| study | asks | time on two cores |", "|---|---|---|"]  # fmt: skip
    for name in builtin_names():
        study = builtin_study(name)
        lines.append(f"| [{name}](study-{name}.md) | {study.question} | {study.cost} |")
    return "\n".join(
        [
            *lines,
            "",
            "<!-- same: docs/monte-carlo.md docs/start.md -->\n```sh\npanelproof studies\npanelproof studies size\n```",
        ]
    )


def write(name: str, replications: int | None, folder: Path, place: Path, cluster: str) -> None:
    """Run a study into runs/NAME.zarr below `place`, as a reader would there, and write its page into `folder`.

    Its picture goes into the folder `images` beside that.
    """
    study, images = builtin_study(name).resized(replications=replications), folder.resolve().parent / "images"
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(place):
        printed("run", name, "--replications", str(study.replications), "--cluster", cluster, "--quiet")
        text = page(study, images)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"study-{name}.md").write_text(text.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Run studies and write their pages and the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=builtin_names())
    parser.add_argument("--replications", type=int, help="replications per cell (default: the study's)")
    parser.add_argument("--cluster", default="local")
    parser.add_argument("--place", type=Path, default=REPOSITORY, help="the folder whose folder runs/ has the stores")
    parser.add_argument("--pages", type=Path, default=PAGES)
    parser.add_argument("--opening", action="store_true", help="only the first paragraphs, from the pages themselves")
    chosen = parser.parse_args()
    os.environ["COLUMNS"] = "100"
    for path in (chosen.pages / f"study-{name}.md" for name in chosen.names if chosen.opening):
        path.write_text(reopened(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name in [] if chosen.opening else chosen.names:
        write(name, chosen.replications, chosen.pages, chosen.place, chosen.cluster)
        print(f"wrote {chosen.pages}/study-{name}.md", file=sys.stderr)
    (chosen.pages / "README.md").write_text(index() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
