"""Claims of studies: names that exist, outside the fingerprint, kept by the store, answered on one screen."""

from __future__ import annotations

import io
import json
from dataclasses import fields, replace
from pathlib import Path

import full_sizes
import pytest
from rich.console import Console

from estimators.core.estimator import Estimator
from estimators.synthetic.imputed_effects import FEWEST_DRAWS
from experiments.cli import run_command
from experiments.plugin_contracts import schema_of_design
from experiments.run.runner import run
from experiments.study import Study, builtin_names, builtin_study
from results.diagnosis.claims import Claim
from results.diagnosis.diagnose import diagnose
from results.report.grids import ReportFacts
from results.report.terminal import print_bias_table
from results.verdict.answer import answer
from sim.errors import BadInput

MOST_LINES = 60
REPLICATIONS = 32
SLOW: dict[str, dict[str, tuple[object, ...]]] = {  # studies run with fewer cells
    "placebo": {"treated": (14,)},
    "mediation": {"effect": (0.0, 0.0157)},
    "synthetic": {"levels.factor_share": (0.2,)},
    "factors": {"levels.factor_share": (0.2,)},
}
SLOWER: dict[str, dict[str, tuple[object, ...]]] = {  # and outside of the campaign with fewer still
    "placebo": {"serial": (0.0,)},
    "synthetic": {"errors.serial": (0.0,)},
    "factors": {"levels.factors": (1,)},
    "few-treated": {"adoption.share": (0.02, 0.2)},
}


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_claims_name_what_the_study_has(name: str) -> None:
    study = builtin_study(name)
    assert study.claims
    layouts = [study.layouts(schema_of_design(cell.design)) for cell in study.cells]
    found = {one: layout for cell in layouts for one, layout in cell.items()}
    for claim in study.claims:
        chosen = [layout for one, layout in found.items() if not claim.estimators or one in claim.estimators]
        assert set(claim.estimators) <= set(found)
        assert set(claim.terms) <= {term for layout in chosen for term in layout.terms}
        assert set(claim.errors) <= {error for layout in chosen for error in layout.errors}
        assert claim.over in dict(study.grid)


def quick(estimator: Estimator) -> Estimator:
    """The same terms and error types by fewer draws and samples, and a penalty that leaves no factor to look for: what
    is said of them is as long."""
    wanted: dict[str, object] = {"draws": FEWEST_DRAWS, "refit": False, "penalty": 10.0}
    if "synthetic" not in type(estimator).__module__:
        wanted = {"draws": 99}  # the fewest that tests by draws take
    held = {item.name for item in fields(estimator)}  # type: ignore[arg-type]
    given = {name: value for name, value in wanted.items() if name in held and getattr(estimator, name) != 0}
    return replace(estimator, **given)  # type: ignore[type-var]


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_study_is_answered_on_one_screen(name: str) -> None:
    study = builtin_study(name)
    fewer = SLOW.get(name, {}) | full_sizes.size(SLOWER, {}).get(name, {})
    assert set(fewer) <= set(dict(study.grid))
    study = replace(study, grid=tuple((dial, fewer.get(dial, values)) for dial, values in study.grid))
    study = replace(study, estimators=tuple(map(quick, study.estimators)))
    diagnosis = diagnose(run(study.resized(replications=REPLICATIONS, block=64)))
    assert diagnosis.claims == study.claims
    assert [part.claim for part in answer(diagnosis).claims] == list(study.claims)
    out = io.StringIO()
    facts = ReportFacts(name, study.question, expected=study.expected, seed=study.seed)
    print_bias_table(diagnosis, Console(file=out, width=100, force_terminal=True, color_system=None), facts)
    lines = out.getvalue().splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 100
    first = answer(diagnosis).sentences[0].partition(": ")[0][:60]
    assert any(first in line for line in lines[:10])
    assert "panelproof report STORE --full" in " ".join(" ".join(lines[-3:]).split())


TEXT = """
replications = 64
block = 64
[design]
kind = "bdm"
[[estimators]]
kind = "did"
errors = ["iid", "cluster:unit"]
"""


def test_claims_are_no_part_of_a_fingerprint_and_stay_with_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, store = tmp_path / "x.toml", tmp_path / "x.zarr"
    file.write_text(TEXT)
    plain = Study.from_toml(file)
    file.write_text(TEXT + '[[claims]]\nmeasure = "size"\nterms = "did"\nerrors = ["iid"]\ntolerance = 0.01\n')
    told = Study.from_toml(file)
    assert told.claims == (Claim("size", ("did",), errors=("iid",), tolerance=0.01),)
    assert plain.fingerprint == told.fingerprint
    assert Study.from_settings(told.settings).claims == told.claims

    def reported() -> dict[str, object]:
        assert run_command(["run", str(file), "--cluster", "serial", "--store", str(store)]) == 0
        capsys.readouterr()
        assert run_command(["report", str(store), "--json"]) == 0
        verdict: dict[str, object] = json.loads(capsys.readouterr().out)["verdict"]
        return verdict

    def verdicts_of(verdict: dict[str, object]) -> list[tuple[str, str, float]]:
        found = verdict["verdicts"]
        assert isinstance(found, list)
        return [(item["measure"], item["error"], item["tolerance"]) for item in found]

    assert verdicts_of(reported()) == [("size", "iid", 0.01)]
    assert run_command(["store", "hash", str(store)]) == 0
    before = capsys.readouterr().out
    file.write_text(TEXT + '[[claims]]\nmeasure = "coverage"\n')
    assert verdicts_of(reported()) == [("coverage", "iid", 0.025), ("coverage", "cluster:unit", 0.025)]
    assert run_command(["store", "hash", str(store)]) == 0
    assert capsys.readouterr().out == before
    file.write_text(TEXT)
    assert {measure for measure, *_ in verdicts_of(reported())} == {"bias", "coverage", "size"}  # the defaults


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('measure = "bais"', "measure = 'bais'"),
        ('term = "did"', "measure is missing"),
        ('measure = "bias"\nterms = ["dd"]', "no term 'dd'"),
        ('measure = "bias"\nestimators = ["sdm"]', "no estimator 'sdm'"),
        ('measure = "size"\nestimators = ["sdm"]\nterms = ["did"]\nerrors = ["iid"]', "no estimator 'sdm'"),
        ('measure = "size"\nerrors = ["hc1"]', "no error type 'hc1'"),
        ('measure = "size"\nover = "serial"', "over = 'serial' is no dial of [grid]"),
        ('measure = "size"\ntolerance = 2.0', "a share above 0 and below 1"),
        ('measure = "size"\nmargin = 0.02', "unknown key 'margin'"),
        ('measure = "screen"', "no estimator has a screen"),
    ],
)
def test_a_wrong_claim_is_one_line(table: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f"{TEXT}[[claims]]\n{table}\n")
    with pytest.raises(BadInput) as caught:
        Study.from_toml(file)
    assert words in str(caught.value)
    assert "[[claims]] 1" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
