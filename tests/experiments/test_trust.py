"""`panelproof trust`: its files and numbers, and pages of panels whose law is known or which are hard."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import page_numbers
import pandas as pd
import pytest
from commands import here, refusal
from refusals import refuses
from rich.cells import cell_len
from rich.console import Console
from scipy import stats
from verdict_worlds import SMALL, World, by_method

import panelproof as pp
from estimators.linear.did import TwoWayDID
from experiments.panel_spec.spec import RealPanel
from experiments.run.runner import run
from experiments.study import Study, TrustCard
from experiments.trust.claim import assigned_by, claim_of, error_types_of
from experiments.trust.document import _support, document, opening, print_trust, verdict
from experiments.trust.evidence import RunContext, TermFits
from experiments.trust.recommend import forbidden_of
from experiments.trust.trust import Trust, trust
from results.diagnosis.diagnose import diagnose
from results.report.panel_pages import trust_page
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput
from studies import quick_study

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
# levels, citations and counts that sentences state themselves
FIXED = {"1", "5%", "95%", "10%", "80%", "2019", "0.001"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    made_cities.real_panel(folder, SPEC)
    (folder / "one.toml").write_text(ONE, encoding="utf-8")
    here(*arguments(folder))
    return folder


@pytest.fixture(scope="module")
def held(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "trust.json").read_text(encoding="utf-8"))
    return found


def arguments(folder: Path, *further: str) -> list[object]:
    """A budget that gives the studies the fewest replications."""
    files = ["trust", folder / "panel.csv", "--spec", folder / "spec.toml", "--out", folder / "out"]
    return [*files, "--budget", "0.3s", *further]


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
    kept = ("controls", "spatial weights", "who is treated and when", "missing cells")
    assert held["held_fixed"][:4] == [f"as in the panel: {words}" for words in kept]
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


def test_the_claim_is_the_record_of_estimate(folder: Path, held: dict[str, Any]) -> None:
    frame = pp.estimate(folder / "panel.csv", folder / "spec.toml").frame
    table = frame[(frame["table"] == "2") & (frame["column"] == 5) & (frame["term"] == "did")]
    for row in held["errors"]:
        own = table[table["se_type"] == row["se_type"]]
        for name in ("estimate", "se", "pvalue", "lower", "upper") if len(own) else ():
            assert row[name] == pytest.approx(float(own[name].iloc[0]), rel=1e-10)
    assert (held["claim"]["se_type"], held["claim"]["table"]) == ("cluster:unit", "2")


def test_every_number_of_the_page_is_in_the_json(folder: Path, held: dict[str, Any]) -> None:
    page = (folder / "out" / "trust.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", ""), "it needs nothing else"
    assert page.count("<table>") == page.count('class="wide dense"')
    assert page.index("<h1") < page.index('class="reason"') < page.index("Print errors") < page.index("<h2")
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


def test_the_terminal_page_is_short_and_a_second_run_adds_nothing(folder: Path, held: dict[str, Any]) -> None:
    store = folder / "out" / "stores" / "parametric.zarr"
    before = [ZarrStore.open(store).digest(cell, 0) for cell in range(len(ZarrStore.open(store).cells))]
    lines = here(*arguments(folder)).out.splitlines()
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


def test_a_store_whose_settings_are_damaged_is_repaired_by_the_same_command(tmp_path: Path) -> None:
    context, study = RunContext(tmp_path), quick_study(64)
    whole = context.run("main", study.resized(replications=128)).content_hash()  # by an earlier, larger budget
    root = tmp_path / "stores" / "main.zarr" / "zarr.json"
    root.write_bytes(root.read_bytes()[:300])
    with pytest.raises(BadInput, match="what is left of them is not of this study"):
        context.check("main", replace(study, seed=12))
    again = context.fitting("main", study)
    assert again.replications == 128
    context.check("main", again)
    assert context.run("main", again).content_hash() == whole


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
    assert (found["claim"]["term"], found["claim"]["transform"]) == ("indirect:did", "lee-yu")


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
def test_bad_input_is_one_line_and_leaves_the_folder_alone(folder: Path, tmp_path: Path, name: str) -> None:
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
    assert words in refusal(*arguments(tmp_path, *further))
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"trust.json": "kept"}


def test_another_panel_in_the_same_folder_is_refused_and_nothing_is_lost(folder: Path, held: dict[str, Any]) -> None:
    kept = (folder / "out" / "trust.json").read_bytes()
    said = "out; holds the page of another panel, spec or claim; allowed: one page a folder; choose another --out"
    assert said in refusal(*arguments(folder, "--claim", "sdm:did"))
    assert (folder / "out" / "trust.json").read_bytes() == kept


# Pages of panels whose law is known: they are not all alike, and a negative claim is the mirror of a positive one.


WORLD = World("small staggered", **SMALL, dates=((4, 7), (6, 7), (8, 6)))


def test_a_control_that_the_treatment_moves_blinds_no_other_check(tmp_path: Path) -> None:
    """Twins, which keep it, differ wherever it is left out."""
    real, rng = WORLD.real(tmp_path, 1, 2.0 * WORLD.detectable()), np.random.default_rng(5)
    d = real.panel.variables["did"]
    x = 2.0 * d + rng.standard_normal(d.shape)
    panel = real.panel.with_variables({"x": x, "y": real.panel.variables["y"] + x})
    asked = real.spec.panel.model_copy(update={"controls": ("x",)})
    moved = replace(real, panel=replace(panel, roles=replace(panel.roles, controls=("x",))),
                    spec=real.spec.model_copy(update={"panel": asked}))  # fmt: skip
    found = trust(by_method(moved, "parametric"), replications=128, benchmarks=0, race=False)
    own = next(check for check in found.checks if check.name == "specification:no controls")
    assert abs(own.difference) > 4 * (own.se or 0.0)
    assert own.answer != "contradicts"
    assert own.sentence.endswith("as twins of this panel have it without any fault.")
    assert found.evidence.critical < 4.0
    assert (own.false_alarm or 0.0) <= 0.08
    assert verdict(found).answer == "supported"
    trend = next(check for check in found.checks if check.name == "unequal-trends")
    assert (trend.power or 0.0) > 0.15


@pytest.mark.long
def test_two_treated_units_lose_no_twin(tmp_path: Path) -> None:
    world = World("two treated", **SMALL, dates=((6, 2),))
    found = trust(world.real(tmp_path, 0, 3.0), replications=128, alone=True)
    assert found.main.size("iid").n == 128
    assert found.recommended in {"conley-taber", "ferman-pinto"}


@pytest.mark.long
def test_whole_groups_are_the_clusters_to_print(tmp_path: Path) -> None:
    world = World("whole groups", units=60, periods=10, groups=12, group_sd=1.4, group_ar=0.3, whole=True,
                  dates=((6, 30),))  # fmt: skip
    found = trust(world.real(tmp_path, 0, 3.0), replications=128, alone=True)
    assert found.recommended == "cr2:group"
    assert "whole groups (group) adopt together" in found.reason
    assert found.main.size("cluster:unit").value > 0.2


def turned(real: RealPanel) -> RealPanel:
    """The outcome times -1."""
    return replace(real, panel=real.panel.with_variables({"y": -real.panel.variables["y"]}))


@pytest.fixture(scope="module", params=["supported", "contradicted"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], ...]:
    """The page of a panel and of its mirror, of an effect or of a drift, by twins of shuffled residuals: without an
    effect they are mirrors too, draw by draw."""
    large = 2.0 * WORLD.detectable()
    effect, drift = (large, 0.0) if request.param == "supported" else (0.0, WORLD.drift_of(large))
    real = by_method(WORLD.real(tmp_path_factory.mktemp("mirror"), 1, effect, drift), "residual")
    ask: dict[str, Any] = {"replications": 64, "benchmarks": 0, "race": False, "effect": 0.9}
    found = document(trust(real, **ask)), document(trust(turned(real), **ask))
    assert found[0]["verdict"]["answer"] == request.param
    return found


def test_the_verdict_of_a_mirrored_panel_is_equal(both: tuple[dict[str, Any], ...]) -> None:
    one, other = both
    assert [one["verdict"][key] for key in ("answer", "rates")] == [
        other["verdict"][key] for key in ("answer", "rates")
    ]
    assert [one[key] for key in ("advice", "family", "calibrated")] == [
        other[key] for key in ("advice", "family", "calibrated")]  # fmt: skip
    assert one["calibrated"] == other["calibrated"]
    assert other["effect"]["value"] == -one["effect"]["value"] == -0.9
    plain, turned_round = (held["verdict"]["reason"] for held in both)
    if one["verdict"]["answer"] == "supported":
        assert plain == turned_round
    else:
        row, its = (next(c for c in held["checks"] if c["answer"] == "contradicts") for held in both)
        for check, reason in ((row, plain), (its, turned_round)):
            said = f"a difference of {check['difference']:.4f} ({check['lower']:.4f} to {check['upper']:.4f})"
            assert said in reason
        assert row["difference"] < 0 < its["difference"]


def test_numbers_of_a_mirrored_panel_are_mirrored(both: tuple[dict[str, Any], ...]) -> None:
    one, other = both
    mirrored("claim", one["claim"], other["claim"], ("estimate", "statistic"))
    assert len(one["errors"]) == len(other["errors"]) > 4
    for row, its in zip(one["errors"], other["errors"], strict=True):
        mirrored(row["se_type"], row, its, ("estimate",))
    assert len(one["checks"]) == len(other["checks"]) > 10
    for row, its in zip(one["checks"], other["checks"], strict=True):
        own = {"false_alarm"} if row["name"] == "pre-trend" else set()  # of twins with the effect, which are drawn anew
        shared = {key: value for key, value in row.items() if key not in {"sentence", "numbers", *own}}
        mirrored(row["name"], shared, its, ("difference", "needed"))
    for row, its in zip(one["placebos"], other["placebos"], strict=True):
        mirrored(row["scheme"], row, its, ("mean",))
    assert [row["effect"] for row in one["power"]] == pytest.approx([-row["effect"] for row in other["power"]])


def mirrored(what: str, one: dict[str, Any], other: dict[str, Any], turned: tuple[str, ...]) -> None:
    """Whether two records are mirrors: `turned` and ends of an interval change their sign."""
    for key, value in one.items():
        its = other[key]
        if key in {"lower", "upper"}:
            its = other["upper" if key == "lower" else "lower"]
        signed = key in {*turned, "lower", "upper"}
        if isinstance(value, float):
            assert its == pytest.approx(-value if signed else value, rel=1e-7, abs=1e-12), (what, key)
        else:
            assert its == value, (what, key)


@pytest.mark.parametrize(("others", "served"), [(18, False), (19, True)])
def test_placebos_that_cannot_reject_are_no_error_type(tmp_path: Path, others: int, *, served: bool) -> None:
    """With 18 placebos the least p value is 1/19: a twin's test would never reject, and no effect be detected."""
    real = World("one treated", units=others + 1, periods=10, dates=((5, 1),)).real(tmp_path, 0, 0.0)
    few = {"conley-taber", "ferman-pinto", "ferman-pinto:people"}
    panel = replace(real.panel, attributes={"people": np.arange(1.0, others + 2)})
    own = TwoWayDID(errors=("cluster:unit", "ferman-pinto:people"))
    assert few & {*error_types_of(own, panel, real, "cluster:unit")} == (few if served else set())
    if not served:
        with pytest.raises(BadInput, match="no p value of 5% or less with fewer than 19 units that are never treated"):
            claim_of(real, error="conley-taber")


# `trust` on panels that are hard: one treated unit, whole groups, all treated in the end, other units of measure.


ALONE = World("one treated", units=60, periods=10, dates=((5, 1),))
GROUP = World("one group", units=60, periods=10, dates=((5, 20),), groups=3, whole=True)
ALL = World("all treated", units=60, periods=10, dates=((4, 20), (6, 20), (8, 20)))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    real = by_method(ALONE.real(tmp_path_factory.mktemp("one"), 1, effect=6.0), "parametric")
    return trust(real, replications=64, benchmarks=0, race=False)


def test_one_treated_unit_is_judged_by_inference_for_few(alone: Trust) -> None:
    """An effect of 6 standard deviations: no error type that clusters, leaves the treated unit out or takes errors as
    homoskedastic is printed, no fit is lost, and that clusters know nothing of the unit contradicts no placebo."""
    few = {"conley-taber", "ferman-pinto"}
    assert alone.recommended in few
    assert {error for error in alone.main.errors if error not in alone.forbidden} == few
    assert not {"cr2:unit", "cv3:unit"} & set(alone.claim.errors)
    assert alone.main.size("iid").n == 64
    assert alone.main.size("cluster:unit").value > 0.5
    assert alone.main.size(alone.recommended).value < 0.15
    spec = alone.claim.real.spec
    spec = spec.model_copy(update={"panel": spec.panel.model_copy(update={"treatment": "reform"})})
    for text in ("did", "reform"):
        claim = replace(alone.claim, real=replace(alone.claim.real, spec=spec), text=text)
        assert opening(replace(alone, claim=claim))[0].startswith("The estimate of reform in table 2")
    assert (alone.advised.pvalue or 1.0) <= 1 / 25
    check = next(one for one in alone.checks if one.name == "one-treated-unit")
    assert (check.answer, check.severity) == ("cannot tell", 1)
    assert check.sentence.endswith("is treated: the test of the claim takes it to be as noisy as units that never are.")
    assert verdict(alone).answer == "supported"


def test_a_treatment_that_switches_off_has_no_event_times_that_twins_could_fail_at() -> None:
    rng = np.random.default_rng(1)
    on = (rng.random((30, 8)) < 0.3) * (np.arange(30) % 2)[:, None]
    table = pd.DataFrame({"city": np.repeat(np.arange(30), 8), "year": np.tile(np.arange(8), 30),
                          "y": rng.standard_normal(240), "d": on.ravel()})  # fmt: skip
    columns = {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "treatment_kind": "switching"}
    spec = {"panel": columns, "twin": {"method": "parametric", "draws": 100}}
    found = pp.trust(table, spec, replications=64, benchmarks=0, race=False)
    assert not [note for note in found["notes"] if "fits failed" in note]


def test_errors_without_a_standard_error_have_rates_and_what_the_claim_needs(alone: Trust) -> None:
    """The standard error that p implies is |b| / z; the claim needs |b| (1 - 1.96 / z), or nothing at p above 5%."""
    estimate, p = alone.claim.estimate, alone.advised.pvalue
    level = 0.05 if p <= 0.05 else 0.10
    wanted = abs(estimate) * (1 - stats.norm.isf(level / 2) / stats.norm.isf(p / 2))
    needed = {round(check.needed, 9) for check in alone.checks if check.needed is not None}
    assert needed == {round(-np.sign(estimate) * wanted, 9)}
    at_effect = alone.evidence.supported_at_effect
    assert at_effect > 0.3  # the effect is detected in 80% of twins


def test_fits_that_an_effect_moves_by_hand() -> None:
    """A p value of 0.05 at an estimate of 2 implies an error of 2 / 1.96, with which 4 has t = 3.92; the least p value
    of all fits is the least of moved ones."""
    nan = np.full(3, np.nan)
    found = TermFits(np.array([2.0, 2.0, 2.0]), np.array([np.nan, 0.5, np.nan]), np.array([np.nan, 9.0, np.nan]),
                 np.array([0.05, np.nan, 1e-6]))  # fmt: skip
    moved = found.moved(2.0)
    assert moved.estimate.tolist() == [4.0, 4.0, 4.0]
    assert moved.pvalue == pytest.approx([2 * stats.norm.sf(2 * stats.norm.isf(0.025)), 2 * stats.t.sf(8.0, 9), 1e-6])
    assert moved.statistic == pytest.approx([2 * stats.norm.isf(0.025), 8.0, stats.norm.isf(5e-7)])
    assert np.isnan(replace(found, estimate=nan).moved(1.0).statistic).all()
    none = replace(found, pvalue=np.array([0.3, np.nan, 0.4])).moved(20.0)  # no twin is significant: others may be
    assert none.pvalue[[0, 2]].tolist() == [0.05, 0.05]


def test_one_group_that_adopts_as_a_whole_leaves_no_safe_errors(tmp_path: Path) -> None:
    claim = claim_of(GROUP.real(tmp_path, 1, effect=2.0))
    assert assigned_by(claim.panel) == "group"
    assert "cr2:group" not in claim.errors  # without the treated group there is no estimate
    assert set(forbidden_of(claim.errors, claim.panel)) == set(claim.errors)
    two = replace(GROUP, dates=((5, 13),))  # a part of a group: units adopt by themselves
    assert assigned_by(claim_of(two.real(tmp_path, 1, effect=2.0)).panel) == ""


def test_units_that_adopt_later_are_comparisons(tmp_path: Path) -> None:
    """All are treated in the end: 40 clusters are untreated while the first 20 are treated."""
    panel = claim_of(ALL.real(tmp_path, 1)).panel
    facts = pp.TwoWayDID().cluster_facts(panel, "unit")
    assert (facts.treated[0], facts.untreated[0]) == (60, 40)
    assert "cluster:unit" not in forbidden_of(("cluster:unit", "iid"), panel)


def test_the_unit_of_measurement_changes_no_answer(tmp_path: Path) -> None:
    real = replace(ALL, dates=((4, 20), (6, 20))).real(tmp_path, 1, effect=1.0)
    one = trust(real, replications=64, alone=True)
    for scale in (1e-12, 1e12):
        panel = replace(real.panel, variables={**real.panel.variables, "y": real.panel.variables["y"] * scale})
        other = trust(replace(real, panel=panel), replications=64, alone=True)
        assert other.claim.estimate == pytest.approx(scale * one.claim.estimate)
        assert other.recommended == one.recommended, scale
        assert other.calibrated().value == pytest.approx(one.calibrated().value, abs=0.02)
        assert verdict(other).answer == verdict(one).answer, scale


def test_the_last_digits_of_the_data_draw_no_other_twins(tmp_path: Path) -> None:
    """As csv and as xlsx, or on another processor, a panel is the same to 16 digits and its estimate to fewer."""
    real = replace(ALL, dates=((4, 20), (6, 20))).real(tmp_path, 1, effect=1.0)
    y = real.panel.variables["y"]
    near = replace(real, panel=replace(real.panel, variables={**real.panel.variables, "y": y * (1 + 1e-13)}))
    one, two = (trust(item, replications=64, alone=True) for item in (real, near))
    assert abs(two.claim.estimate / one.claim.estimate - 1) == pytest.approx(1e-13, rel=0.1)
    assert two.calibrated().value == pytest.approx(one.calibrated().value, rel=1e-6)
    assert two.curve.at(np.array([0.1, 0.5])) == pytest.approx(one.curve.at(np.array([0.1, 0.5])), rel=1e-6)


@pytest.mark.parametrize("effect", [float("nan"), float("inf"), 0.0, 1e300, -0.3])
def test_an_effect_that_is_no_number_or_of_the_other_sign_is_refused_before_any_work(
    tmp_path: Path, effect: float
) -> None:
    real = replace(ALL, dates=((4, 20), (6, 20))).real(tmp_path, 1, effect=2.0)
    other = r"-0.3, and the claim is .*; allowed: an effect with the sign"
    words = rf"--effect; effect ((nan|inf|0|1e\+300); allowed: a number other than 0, below|{other})"
    refuses(words, lambda: trust(real, effect=effect, replications=128))


def test_the_verdict_counts_the_estimates_that_cannot_tell(alone: Trust) -> None:
    vague = [check for check in alone.checks if check.difference is not None and check.answer == "cannot tell"]
    assert vague
    sound = replace(alone, checks=tuple(vague[:2]))
    assert "none of 2 other estimates contradicts it; 2 of them cannot tell" in _support(sound)
    firm = replace(vague[0], answer="consistent")
    assert "none of 1 other estimates contradicts it." in _support(replace(alone, checks=(firm,)))


def test_no_name_is_cut_in_the_terminal_and_columns_stay_apart(alone: Trust) -> None:
    held = document(alone)
    held["verdict"]["answer"] = "supported"
    for row in held["checks"]:
        if row["difference"] is not None:
            row["needed"], row["difference"], row["lower"], row["upper"] = -2.07e-10, -7.73e-11, -5.78e-10, 4.23e-10
    lines = _printed(held)
    assert any(line.startswith(("cr2:", "cv3:", "conley-taber")) for line in lines)
    text = " ".join(" ".join(lines).split())
    shown = [row["alternative"] for row in held["checks"] if row["difference"] is not None]

    numbers = [line for line in lines if "−2.07e−10" in line]
    assert numbers
    for line in numbers:
        assert " −2.07e−10 −7.73e−11 −5.78e−10 to 4.23e−10 " in line
    left = len(shown) - len(numbers)
    assert any(line == f"{left} more in trust.html" for line in lines) == (left > 0)
    for name in shown[: len(numbers)]:
        assert all(word in text for word in name.split())


@pytest.mark.parametrize("sentences", [1, 20, 23])
def test_a_long_verdict_leaves_out_whole_checks_and_no_method(alone: Trust, sentences: int) -> None:
    held = document(alone)
    held["verdict"] |= {"answer": "supported", "sentences": ["Because of this."] * sentences}
    held["errors"] = held["errors"][:8]
    rows = [row for row in held["checks"] if row["difference"] is not None]
    for row in rows:
        row["alternative"] = "规模以上 工业企业主营业务收入-by-年份 effects of a very long name"
    lines = _printed(held)
    assert len(lines) <= 45
    assert max(map(cell_len, lines)) <= 80
    methods = [line for line in lines if line.startswith(tuple(f"{row['method']}: " for row in held["studies"]))]
    assert len(methods) == len(held["studies"])
    shown = sum(line.endswith(row["answer"]) for row, line in
                zip(rows, [line for line in lines if line.startswith("规模以上")], strict=False))  # fmt: skip
    assert 1 <= shown < len(rows)
    table = [line for line in lines if line.startswith(("规模以上", "change of the effect  "))]
    assert len(table) == 1 + shown
    assert len({cell_len(line.rsplit("  ", 1)[0]) for line in table}) == 1
    assert " ".join(" ".join(lines).split()).count("very long name") == shown
    assert f"{len(rows) - shown} more in trust.html" in lines


def test_what_the_verdict_says_is_not_said_again_beside_other_facts(alone: Trust) -> None:
    held = document(alone)
    fact = next(row for row in held["checks"] if row["difference"] is None)
    said = "OLS and 2SLS disagree: so they say."
    rows = [row for row in held["checks"] if row is not fact]
    held["checks"] = [*rows, {**fact, "sentence": said, "severity": 1}]
    assert trust_page(held).count(said) == 1, "among what else the panel says"
    held["verdict"]["sentences"] = [said, *held["verdict"]["sentences"]]
    page = trust_page(held)
    assert page.count(said) == 1
    assert page.index(said) < page.index('id="errors"')


def test_a_page_without_safe_errors_asks_to_print_none(alone: Trust) -> None:
    held = document(alone)
    page = trust_page(held)
    assert "Nearest to the right size" not in page
    named = "Print p values by placebos of never treated units (Conley and Taber)"
    assert f"{named}: p " in page
    assert f"{named} in place of errors clustered by unit: " in page
    for row in held["errors"]:
        row["allowed"] = False
    page = trust_page(held)
    assert "Nearest to the right size" in page
    assert named not in page.replace(held["verdict"]["reason"], "").split("<ul", 1)[0]


def _printed(held: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    print_trust(held, Console(file=out, width=80, highlight=False))
    return out.getvalue().splitlines()
