"""Arithmetic on printed numbers: the paper's own, and numbers made to agree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_tables import printed_tables

from experiments.application.audit.checks import (
    Check,
    audit,
    brackets,
    likelihood_ratios,
    mediation,
    one_weights_matrix,
    sigma2_errors,
    stars,
    treatment_moments,
)
from experiments.application.audit.printed import PrintedTables, Term, read_printed
from experiments.cli import run_command

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "paper-audit.md"


@pytest.fixture(scope="module")
def papers(shared_data: Path) -> PrintedTables:
    return read_printed(shared_data / "paper_tables.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PrintedTables:
    return read_printed(made_file(tmp_path_factory.mktemp("made")))


@pytest.fixture(scope="module", params=["committed", "shared"])
def printed(request: pytest.FixtureRequest) -> PrintedTables:
    return request.getfixturevalue("made" if request.param == "committed" else "papers")


def made_file(folder: Path) -> Path:
    (folder / "tables.json").write_text(json.dumps(printed_tables()), encoding="utf-8")
    return folder / "tables.json"


def implied(check: Check) -> list[str]:
    return [line.implied for line in check.lines]


def test_the_papers_known_contradictions_are_found(papers):
    found = {check.title: check for check in audit(papers)}
    assert implied(found["Whether table 2, column 1 is pooled least squares"]) == ["0.0116", "0.0016"]
    assert [line.implied[:6] for line in found["Constants against the grand mean"].lines] == [
        "0.4401", "0.4384", "0.4368", "0.4404", "0.4302"
    ]  # fmt: skip
    assert implied(found["Differences between subsamples"]) == ["z = -0.31", "z = 0.04"]
    assert implied(found["Indirect effects"])[0].startswith("a b = 0.00067")
    assert "0.0087, inv" not in found  # only titles are keys
    starred = [line.where for line in found["Stars against estimate and error"].lines]
    assert "table 2, column 5 controls+two-way FE, book" in starred
    assert "table 3, column 1 without provincial capitals, inv" in starred
    assert found["What the brackets hold"].missed == 0


def test_a_year_that_departs_is_named(papers):
    assert one_weights_matrix(papers).conclusion.startswith("The implied sd is 0.0326 to 0.0329 but 0.0322 in 2019: ")
    others = {year: row for year, row in papers.years.items() if year != 2019}
    assert ": one W" in one_weights_matrix(replace(papers, years=others)).conclusion


def test_the_kurtosis_that_sigma2_needs_allows_for_its_rounding(papers):
    """An error of .00005 of a sigma2 of at most .00095 over 5,130 rows: 1 + 5130 / 19^2."""
    assert f"{1 + 5130 / 19**2:.1f}" == "15.2"
    assert "a kurtosis of 15.2 or more" in sigma2_errors(papers).conclusion


def test_likelihood_ratios_by_hand(papers):
    lines = implied(likelihood_ratios(papers))
    assert lines[0].startswith("LR = 69.18, df 5")
    assert lines[1].startswith("LR = 66.59, df 5")


def test_contradictions_of_made_tables_are_those_worked_out_by_hand(made):
    """sd sqrt(.2 x .8 x 1000/999), R2 (.02 x .4002/.1)^2, constants .496 + .02 x .2 and .45 + .014, z = -.02/.0141."""
    found = {check.title: check for check in audit(made)}
    assert found["The treatment dummy"].missed == 0
    assert implied(found["Whether table 2, column 1 is pooled least squares"])[0] == "0.0064"
    means = found["Constants against the grand mean"].lines
    assert [line.implied[:6] for line in means] == ["0.5000", "0.5000", "0.5000", "0.4640", "0.5000"]
    assert [line.agrees for line in means] == [True, True, True, False, True]
    assert [line.where for line in found["Stars against estimate and error"].lines] == ["table 2, column 3, did"]
    assert implied(found["Differences between subsamples"]) == ["z = -1.41"]
    assert implied(found["Indirect effects"]) == ["a b = 0.02000 (Sobel error 0.00224)"]  # hypot(.1 x .01, .2 x .01)
    assert found["Indirect effects"].missed == 1  # .02 - .015 = .005
    assert "total effect 0.0375" in implied(found["Total effect of the Durbin model"])[0]  # .03 / .8
    assert found["The error of sigma2"].missed == 1  # .0036 sqrt(2/1000) = .00016, and .0004 is printed for the SDM
    assert found["What the brackets hold"].missed == 0


def test_a_year_of_made_tables_that_departs_is_named(made):
    """250 units: (.2 + 1/249) / z is .0486 with z = 4.2 and .0408 with 5."""
    assert one_weights_matrix(made).conclusion.startswith("The implied sd is 0.0486 to 0.0486 but 0.0408 in 2013: ")
    others = {year: row for year, row in made.years.items() if year != 2013}
    assert ": one W" in one_weights_matrix(replace(made, years=others)).conclusion


def test_the_kurtosis_that_made_sigma2_needs_allows_for_its_rounding(made):
    """.00005 of at most .00365 over 1,000 rows: 1 + 1000 / 73^2."""
    assert f"a kurtosis of {1 + 1000 / 73**2:.1f} or more" in sigma2_errors(made).conclusion


def test_likelihood_ratios_of_made_tables_by_hand(made):
    """2 (1395 - 1390) and 2 (1395 - 1391) with two lags: p = exp(-LR / 2)."""
    lines = implied(likelihood_ratios(made))
    assert lines == ["LR = 10.00, df 2, p = 6.7e-03", "LR = 8.00, df 2, p = 1.8e-02"]


def test_stars_that_follow_are_not_flagged(printed):
    sound = Term(0.0200, 0.0100, 2)
    column = replace(printed.column("2", 1), terms={"did": sound, "constant": Term(0.5, 0.01, 3)})
    tables = replace(printed, regressions=dict.fromkeys(printed.regressions, (column,)))
    assert stars(tables).lines == ()
    wrong = replace(column, terms={"did": replace(sound, stars=3)})
    tables = replace(printed, regressions=dict.fromkeys(printed.regressions, (wrong,)))
    assert stars(tables).missed == len(printed.regressions)


def test_stars_on_the_edge_of_rounding_are_given_the_benefit(printed):
    column = replace(printed.column("2", 1), terms={"did": Term(0.0098, 0.0050, 1)})  # t = 1.96 within rounding
    tables = replace(printed, regressions={"2": (column,)})
    assert stars(tables).missed == 0
    assert brackets(tables).missed == 0


def test_a_dummy_whose_moments_agree(printed):
    row = replace(printed.descriptive["eip"], mean=0.5, sd=0.5, n=100_000)
    assert treatment_moments(replace(printed, descriptive={**printed.descriptive, "eip": row})).missed == 0


def test_mediation_that_adds_up(printed):
    total = printed.column("2", 5)
    first, second = printed.regressions["5"][:2]
    indirect = first.terms["did"].estimate * second.terms["gpat"].estimate
    direct = replace(second.terms["did"], estimate=round(total.terms["did"].estimate - indirect, 4))
    second = replace(second, terms={**second.terms, "did": direct})
    tables = replace(printed, regressions={**printed.regressions, "5": (first, second)})
    assert mediation(tables).missed == 0


def test_the_document_is_what_the_command_writes(shared_data, tmp_path, capsys):
    out = tmp_path / "audit.md"
    assert run_command(["audit", str(shared_data / "paper_tables.json"), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8")
    assert "do not agree" in capsys.readouterr().out


def test_a_document_of_made_tables_holds_every_check(tmp_path, capsys):
    out = tmp_path / "audit.md"
    assert run_command(["audit", str(made_file(tmp_path)), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    for check in audit(read_printed(tmp_path / "tables.json")):
        assert f"| {check.title} | {len(check.lines)} | {check.missed} |" in text
        assert f"## {check.title}" in text
        assert check.conclusion in text
    assert "do not agree" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"1": 3}', json.dumps({str(i): {} for i in range(1, 6)})])
def test_other_files_are_refused_in_one_line(tmp_path, capsys, text):
    path = tmp_path / "tables.json"
    path.write_text(text)
    assert run_command(["audit", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "is not a file of printed tables" in error


def test_a_missing_file_is_refused(tmp_path, capsys):
    assert run_command(["audit", str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_empty_tables_are_refused(tmp_path, capsys):
    path = tmp_path / "tables.json"
    path.write_text(json.dumps({str(i): {} for i in range(1, 8)}))
    assert run_command(["audit", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
