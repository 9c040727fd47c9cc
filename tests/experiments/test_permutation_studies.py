"""Permutation tests and silent designs in study files: tables of settings, and refusals in the words of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.permutation import PermutationTest
from experiments.cli import run_command
from experiments.study import Study
from sim.presets import Paper

STUDY = """
replications = 64

[design]
kind = "paper"

[[estimators]]
kind = "permutation"
draws = 99
"""


def study_file(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line, which names the file, with which `run` refuses a study before it writes anything."""
    path = study_file(folder, text)
    assert run_command(["run", str(path), "--cluster", "serial", "--store", str(folder / "x.zarr")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"panelproof: {path}")
    assert [item.name for item in folder.iterdir()] == ["study.toml"]
    return line


def test_settings_are_a_table_or_pairs(tmp_path: Path) -> None:
    table = Study.from_toml(study_file(tmp_path, STUDY + 'settings = {errors = ["cluster:unit"], label = "did"}\n'))
    pairs = STUDY + 'settings = [["errors", ["cluster:unit"]], ["label", "did"]]\n'
    assert table == Study.from_toml(study_file(tmp_path, pairs))
    (test,) = table.estimators
    assert isinstance(test, PermutationTest)
    assert test.settings == (("errors", ("cluster:unit",)), ("label", "did"))
    assert Study.from_settings(table.settings) == table


PLACE = "[[estimators]] 1 (permutation), "
REFUSED = {
    "a list of tables": (
        'settings = [{errors = ["cluster:unit"]}]',
        'allowed: a table of settings, each true or false, a number, text, or a list of texts or of whole numbers; '
        'write settings = {errors = ["cluster:unit"]}',
    ),
    "a list": ('settings = ["errors", "hc1"]', "write settings = {NAME = VALUE}"),
    "a number": ("settings = 3", "write settings = {NAME = VALUE}"),
    "a table in the table": ("settings = {errors = {a = 1}}", "allowed: a table of settings, each true or false,"),
    "a text for a list": (
        'settings = [["errors", "cluster:unit"]]',
        PLACE + "settings of did; errors = 'cluster:unit'; allowed: a list in brackets, such as "
        '["cluster:unit"]; write errors = ["cluster:unit"]',
    ),
    "an unknown setting": (
        'settings = {eror = ["iid"]}',
        f"{PLACE}settings of did; unknown key 'eror'; did you mean 'errors'?; allowed: errors, outcome,",
    ),
    "an unknown error type": ('settings = {errors = ["hc9"]}', "study.toml, did-space, did errors; unknown error type"),
    "an unknown estimator": ('estimator = "dod"', f"{PLACE}estimator; unknown kind 'dod'; did you mean 'did'?"),
    "a test of a test": ('estimator = "permutation"', f"{PLACE}estimator; a permutation test of a permutation test;"),
    "a test of a test by its module": (
        'estimator = "estimators.permutation:PermutationTest"',
        "a permutation test of a permutation test; allowed: any other estimator;",
    ),
    "an attribute that is not there": (
        'scheme = "strata:regoin"',
        "scheme strata:regoin; no attribute 'regoin' in the panel; did you mean 'region'?; allowed: province,",
    ),
    "an attribute that own draws would miss": ('scheme = "strata:regoin"\ncommon = false', "did you mean 'region'?"),
    "a scheme that is no test": (
        'scheme = "time"',
        "[[estimators]] 1; the scheme time has no p value, for placebo dates are always earlier than the real ones; "
        "allowed: space, strata:ATTRIBUTE,",
    ),
    "weights that are not there": ('scheme = "blocks:knn-7"', "no weights 'knn-7' in the panel; did you mean 'knn-6'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_permutation_test_cannot_use(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line, words = REFUSED[case]
    assert words in refusal(tmp_path, f"{STUDY}{line}\n", capsys)


def test_what_panels_show_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(tmp_path, STUDY + 'scheme = "blocks:knn-6:200"\n', capsys)
    assert "study.toml, did-blocks-knn-6-200, blocks:knn-6:200; 1 blocks of 200 neighbours" in said


@pytest.mark.parametrize("dials", ["sigma = 0", "sigma = 1e-300", "sigma = 0.0\neffect = 0.0\nheterogeneity = 0.5"])
def test_a_study_file_without_noise_is_refused(dials: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = STUDY.replace('"paper"', f'"paper"\n{dials}')
    assert "[design]; sigma is 0 or nearly 0, so panels have no noise" in refusal(tmp_path, text, capsys)


def test_a_cell_without_noise_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = STUDY + "[grid]\nsigma = [0.029, 0.0]\n"
    assert "[grid]; sigma is 0 or nearly 0" in refusal(tmp_path, text, capsys)


def test_effects_that_differ_are_noise_enough_and_python_is_free(tmp_path: Path) -> None:
    text = STUDY.replace('"paper"', '"paper"\nsigma = 0.0\nheterogeneity = 0.5')
    assert not Study.from_toml(study_file(tmp_path, text)).cells[0].design.noiseless
    silent = Study("silent", Paper(sigma=0.0), (PermutationTest(),))
    assert Study.from_settings(silent.settings) == silent
