"""`panelproof trust`: what it writes, that its numbers are those of ordinary studies, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import page_numbers
import pandas as pd
import pytest

import panelproof as pp
from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study, TrustCard
from experiments.trust.evidence import RunContext
from results.diagnosis.diagnose import diagnose
from results.report.panel_pages import trust_page
from results.store.zarr_store import ZarrStore

SPEC = f"""{made_cities.PANEL}
groups = ["province"]
{made_cities.PLACES}
[[weights]]
kind = "knn"
k = 4
[twin]
rank = 2
draws = 100
"""
ONE = SPEC.replace("rank = 2\n", 'rank = 2\nmethod = "parametric"\n')  # for tests that read nothing of other twins
KEYS = {"claim", "verdict", "errors", "calibrated", "power", "mde", "diagnostics", "placebos", "checks", "fidelity",
        "fidelity_joint", "held_fixed"}  # fmt: skip
FIXED = {
    "1",
    "5%",
    "95%",
    "10%",
    "80%",
    "2019",
    "0.001",
}  # levels, citations and counts that sentences state themselves


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    made_cities.real_panel(folder, SPEC)
    (folder / "one.toml").write_text(ONE, encoding="utf-8")
    assert run_command(arguments(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def held(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "trust.json").read_text(encoding="utf-8"))
    return found


def arguments(folder: Path, *further: str, out: str = "out") -> list[str]:
    command = ["trust", str(folder / "panel.csv"), "--spec", str(folder / "spec.toml"), "--out", str(folder / out)]
    return [*command, "--budget", "0.3s", *further]  # gives the studies the fewest replications


def test_the_folder_holds_the_page_and_ordinary_stores(folder: Path, held: dict[str, Any]) -> None:
    names = {path.name for path in (folder / "out").iterdir()}
    assert names >= {"trust.json", "trust.html", "stores"}
    for row in held["studies"]:
        store = ZarrStore.open(folder / "out" / "stores" / f"{row['method']}.zarr")
        assert store.replications == row["replications"]
        assert len(store.cells) == row["cells"]
    assert [row["method"] for row in held["studies"]] == ["parametric", "factor", "residual"]
    near = min(held["power"], key=lambda one: abs(one["effect"] - held["claim"]["estimate"]))
    assert near["power"] in [row["power"] for row in held["studies"]]


def test_trust_json_has_the_fields_of_the_contract(held: dict[str, Any]) -> None:
    assert set(held) >= KEYS
    assert held["verdict"]["answer"] in {"supported", "contradicted", "not decided", "no claim"}
    assert set(held["verdict"]["rates"]) == {
        "supported_without_effect", "supported_at_effect", "contradicted_without_threat"}  # fmt: skip
    assert {"se_type", "size", "mcse", "lower_size", "upper_size", "estimate", "se", "pvalue", "lower", "upper",
            "allowed", "recommended"} <= set(held["errors"][0])  # fmt: skip
    assert sum(row["recommended"] for row in held["errors"]) == 1
    assert {row["se_type"] for row in held["errors"]} >= {"iid", "hc1", "cluster:unit", "cluster:province"}
    assert set(held["power"][0]) == {"effect", "power", "mcse", "type_s", "type_m"}
    assert {"power", "value", "lower", "upper", "mcse"} <= set(held["mde"])
    assert {"pvalue", "mcse", "lower", "upper"} <= set(held["calibrated"])
    assert set(held["fidelity_joint"]) == {"pvalue"}
    assert {row["method"] for row in held["fidelity"]} == {"parametric", "factor", "residual"}
    assert set(held["diagnostics"]) == {"ar1_raw", "ar1", "moran", "pesaran_cd"}
    assert {row["scheme"] for row in held["placebos"]} == {"space", "strata:province"}
    names = {"name", "alternative", "difference", "se", "lower", "upper", "needed", "unit", "benchmark", "answer",
             "false_alarm", "power", "remedy"}  # fmt: skip
    assert all(names <= set(row) for row in held["checks"])
    assert {row["answer"] for row in held["checks"]} <= {"consistent", "differs", "contradicts", "cannot tell"}


def test_checks_that_estimate_again_have_their_rates(held: dict[str, Any]) -> None:
    """Those that run on twins: a share of false alarms of at most 5%, together 5%, and a share that is detected."""
    rated = [row for row in held["checks"] if row["false_alarm"] is not None and row["difference"] is not None]
    assert {row["name"] for row in rated} >= {"unequal-trends", "placebo-in-time", "leave-out:province"}
    assert all(0 <= row["false_alarm"] <= 0.05 + 1e-9 for row in rated)
    assert held["family"]["false_alarm"] == pytest.approx(0.05, abs=0.02)
    assert all((row["lower"], row["upper"]) == pytest.approx(
        (row["difference"] - held["family"]["critical"] * row["se"],
         row["difference"] + held["family"]["critical"] * row["se"])) for row in rated)  # fmt: skip
    rates = held["verdict"]["rates"]
    assert 0 <= rates["supported_without_effect"] < rates["supported_at_effect"] <= 1


def test_the_checks_are_those_of_estimate(folder: Path, held: dict[str, Any]) -> None:
    """The same names and differences; errors of these by the clusters of the errors that the page recommends. What the
    claim needs is told by them too: what their 95% interval leaves of the estimate."""
    said = {one.name: one for one in pp.estimate(folder / "panel.csv", folder / "spec.toml").warnings}
    assert {row["name"] for row in held["checks"]} == set(said)
    rows = [row for row in held["checks"] if row["difference"] is not None]
    assert len(rows) >= 8
    for row in rows:
        assert row["difference"] == pytest.approx(said[row["name"]].difference, rel=1e-9)
        same = held["advice"]["error"].partition(":")[2] == "unit"
        assert row["se"] is None or (row["se"] == pytest.approx(said[row["name"]].se, rel=1e-9)) is same
    advised = next(row for row in held["errors"] if row["recommended"])
    assert advised["lower"] > 0
    assert [row["needed"] for row in rows] == pytest.approx([-advised["lower"]] * len(rows))


def test_where_no_effect_is_claimed_nothing_is_needed(folder: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(folder / "panel.csv")
    units = frame["city"].unique()
    other = dict(zip(units, np.roll(units, 7), strict=True))
    values = frame.set_index(["city", "year"])["y"]
    frame["y"] = [values[other[city], year] for city, year in zip(frame["city"], frame["year"], strict=True)]
    frame.to_csv(tmp_path / "panel.csv", index=False)
    found = pp.trust(tmp_path / "panel.csv", folder / "one.toml", replications=64, benchmarks=0, race=False)
    assert found["claim"]["pvalue"] > 0.10
    assert found["verdict"]["answer"] == "no claim"
    assert f"detects an effect of {found['mde']['value']:.3g}" in found["verdict"]["reason"]
    assert all(row["needed"] is None and row["power"] is None for row in found["checks"])
    assert ">needed<" not in trust_page(found)
    assert any(row["difference"] is not None for row in found["checks"])


def test_the_effect_that_matters_is_a_row_of_the_power_table(folder: Path) -> None:
    found = pp.trust(folder / "panel.csv", folder / "one.toml", effect=0.123, replications=64, benchmarks=0,
                     race=False)  # fmt: skip
    assert any(abs(row["effect"]) == pytest.approx(0.123) for row in found["power"])
    assert abs(found["effect"]["value"]) == pytest.approx(0.123)
    assert "where the effect is 0.123" in " ".join(found["verdict"]["sentences"])


def test_the_claim_is_the_record_of_estimate(folder: Path, held: dict[str, Any]) -> None:
    frame = pp.estimate(folder / "panel.csv", folder / "spec.toml").frame
    table = frame[(frame["table"] == "2") & (frame["column"] == 5) & (frame["term"] == "did")]
    for row in held["errors"]:
        own = table[table["se_type"] == row["se_type"]]
        for name in ("estimate", "se", "pvalue", "lower", "upper") if len(own) else ():
            assert row[name] == pytest.approx(float(own[name].iloc[0]), rel=1e-10)
    assert held["claim"]["se_type"] == "cluster:unit"
    assert held["claim"]["table"] == "2"


def test_every_number_of_the_page_is_in_the_json(folder: Path, held: dict[str, Any]) -> None:
    page = (folder / "out" / "trust.html").read_text(encoding="utf-8")
    text = page_numbers.text_of(re.sub(r'<text[^>]*class="tick[^>]*>[^<]*</text>', "", page))  # axes are no findings
    rows = [row for row in held["checks"] if row["difference"] is not None]
    silent = [row for row in held["checks"] if row["difference"] is None and row["severity"] == 0]
    told = [row["answer"] for row in rows]
    counts = [len(rows), len(silent), *(told.count(answer) for answer in set(told))]  # of what the page lists
    values = [*page_numbers.values_in(held), *map(float, counts)]
    written = set(page_numbers.numbers_in(text)) - FIXED - {str(year) for year in range(2010, 2019)}
    assert len(written) > 40
    assert [one for one in sorted(written) if not page_numbers.is_shown(one, values)] == []


def test_the_table_of_error_types_shows_the_row_of_each(folder: Path, held: dict[str, Any]) -> None:
    page = (folder / "out" / "trust.html").read_text(encoding="utf-8")
    body = page.split("<caption>Size on the twin")[1].split("</table>")[0]
    rows = [page_numbers.text_of(row) for row in body.split("<tr>")[2:]]
    assert len(rows) == len(held["errors"])
    for text, row in zip(rows, held["errors"], strict=True):
        p = f"{row['pvalue']:.3f}" if row["pvalue"] >= 0.001 else "<0.001"
        ends = "–" if row["lower_size"] is None else f"{row['lower_size']:.1%} to {row['upper_size']:.1%}"
        assert f" {row['size']:.1%} {row['mcse']:.1%} {ends} {row['se']:.3g} {p} " in text
        assert ("(not here)" in text) == (not row["allowed"])
        assert ("(recommended)" in text) == row["recommended"]


def test_the_page_needs_nothing_else_and_scrolls_inside_its_tables(folder: Path) -> None:
    page = (folder / "out" / "trust.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("<table>") == page.count('class="wide dense"')
    assert page.index("<h1") < page.index('class="reason"') < page.index("Print errors") < page.index("<h2")
    assert "prefers-color-scheme: dark" in page
    assert "Advani, Kitagawa and Sloczynski 2019" in page


def test_the_terminal_page_is_short_and_a_second_run_adds_nothing(
    folder: Path, held: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store = folder / "out" / "stores" / "parametric.zarr"
    before = [ZarrStore.open(store).digest(cell, 0) for cell in range(len(ZarrStore.open(store).cells))]
    assert run_command(arguments(folder)) == 0
    lines = capsys.readouterr().out.splitlines()
    verdict = next(k for k, line in enumerate(lines) if line.startswith(("Supported", "Contradicted", "Not ", "No ")))
    written = next(k for k, line in enumerate(lines) if line.startswith("wrote "))
    assert written - verdict <= 45
    assert max(len(line) for line in lines[verdict:written]) <= 80
    after = json.loads((folder / "out" / "trust.json").read_text(encoding="utf-8"))
    assert after == held
    assert [ZarrStore.open(store).digest(cell, 0) for cell in range(len(before))] == before


def test_a_notebook_shows_the_verdict(held: dict[str, Any]) -> None:
    html = TrustCard(held)._repr_html_()
    assert f"{held['claim']['outcome']}: {held['verdict']['answer']}" in html
    assert held["verdict"]["reason"][:30] in html


def test_a_budget_is_turned_into_replications_once(tmp_path: Path) -> None:
    context = RunContext(tmp_path)
    assert context.remembered(20.0) is None
    context.remember(20.0, {"parametric": 256})
    context.remember(10.0, {"parametric": 64})
    assert context.remembered(20.0) == context.remembered(10.0) == {"parametric": 256}
    assert context.remembered(21.0) is None
    context.remember(40.0, {"parametric": 512})
    assert context.remembered(20.0) == {"parametric": 512}
    (tmp_path / "stores" / "budget.json").write_text("{", encoding="utf-8")
    assert context.remembered(20.0) is None
    assert RunContext().remembered(20.0) is None


@pytest.mark.long
def test_sizes_are_those_of_a_plain_study_file_of_the_twin(folder: Path) -> None:
    """`indirect:did` with information errors, by another seed: within 4 Monte Carlo errors."""
    found = pp.trust(folder / "panel.csv", folder / "one.toml", claim="indirect:did", errors="information",
                     replications=128, alone=True)  # fmt: skip
    pp.write_twin(pp.twin(folder / "panel.csv", folder / "one.toml"), folder / "twin")
    study = Study.from_toml(folder / "twin" / "design.toml").resized(replications=256, seed=77)
    frame = diagnose(run(study)).frame
    plain = frame[(frame["term"] == "indirect:did") & (frame["error"] == "information")
                  & (frame["measure"] == "rejection")].iloc[0]  # fmt: skip
    own = next(row for row in found["errors"] if row["se_type"] == "information")
    assert own["printed"]
    assert abs(own["size"] - plain["value"]) < 4 * np.hypot(own["mcse"], plain["mcse"])
    assert found["claim"]["term"] == "indirect:did"
    assert found["claim"]["transform"] == "lee-yu"


@pytest.mark.parametrize("claim", ["sdm:did", "7:2:total:did", "2:5:road"])
def test_other_claims_are_judged_too(folder: Path, claim: str) -> None:
    found = pp.trust(folder / "panel.csv", folder / "spec.toml", claim=claim, replications=128,
                     alone=claim != "2:5:road")  # fmt: skip
    table, _, rest = claim.partition(":") if claim[0].isdecimal() else ("7", "", "3:did")
    column, _, term = rest.partition(":")
    assert (found["claim"]["table"], found["claim"]["column"], found["claim"]["term"]) == (table, int(column), term)
    fit = "lee-yu, W knn-4" if table == "7" else ""  # one of the fits of that column
    assert any(f"in table {table}, column {column}{f' ({fit})' * bool(fit)} is " in one
               for one in found["verdict"]["sentences"])  # fmt: skip
    assert f"(table {table}, column {column}{f', {fit}' * bool(fit)})" in trust_page(found)
    at_zero, twice = found["power"][0], max(found["power"], key=lambda row: abs(row["effect"]))
    assert at_zero["effect"] == 0
    assert twice["power"] > at_zero["power"]


WRONG: dict[str, tuple[dict[str, str], list[str], str]] = {
    "no such claim": ({}, ["--claim", "best"], "claim 'best'"),
    "a claim that needs W": (
        {'[[weights]]\nkind = "knn"\nk = 4\n': ""}, ["--claim", "indirect:did"], "needs spatial weights"),
    "a budget of zero": ({}, ["--budget", "0s"], "budget '0s'"),
    "a budget and replications": ({}, ["--replications", "64"], "64 beside --budget 0.3s; allowed: one of the two"),
    "no such error type": ({}, ["--errors", "robust"], "error type 'robust'"),
    "a twin that cannot be fitted": ({"rank = 2": "rank = 9"}, [], "rank = 9 of 36 units and 9 periods"),
    "an outcome in another unit": ({"rank = 2": "standardize = true"}, [], "standardize = true"),
    "no treatment": ({'treatment = "d"': ""}, [], "the panel has no treatment"),
    "no period before adoption": ({}, [], "treated units are treated in the first period, 2016"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_line_and_leaves_the_folder_alone(
    folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, further, words = WRONG[name]
    text = SPEC
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    frame = pd.read_csv(folder / "panel.csv")
    frame[(frame["year"] >= 2016) | ("before" not in name)].to_csv(tmp_path / "panel.csv", index=False)
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trust.json").write_text("kept", encoding="utf-8")
    assert run_command(arguments(tmp_path, *further)) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["trust.json"]
    assert (tmp_path / "out" / "trust.json").read_text(encoding="utf-8") == "kept"


def test_another_panel_in_the_same_folder_is_refused_and_nothing_is_lost(
    folder: Path, held: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = (folder / "out" / "trust.json").read_bytes()
    assert run_command(arguments(folder, "--claim", "sdm:did")) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert (
        "out; holds the page of another panel, spec or claim; allowed: one page a folder; choose another --out"
        in said[0]
    )
    assert (folder / "out" / "trust.json").read_bytes() == kept
