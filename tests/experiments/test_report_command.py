"""`panelproof report`: pivots by dials, pictures and files of tables, and every fault of a wish at once."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from estimators import TwoWayDID
from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from results.store.zarr_store import ZarrStore
from sim.presets import Paper


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "x.zarr"
    grid = {"effect": [0.0, 0.0157], "serial": [0.0, 0.8]}
    run(Study("wishes", Paper(), (TwoWayDID(),), grid=grid, replications=64, block=64, seed=3), store=path)
    return path


def test_a_pivot_is_printed_alone(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", str(store), "--by", "effect,serial", "--measure", "coverage"]) == 0
    first, second, *lines = capsys.readouterr().out.splitlines()
    said = " ".join(f"{first} {second}".split())
    assert said == "Coverage for did, estimator did, by autocorrelation of errors (columns)"
    frame = diagnose(ZarrStore.open(store)).frame
    row = frame[(frame["measure"] == "coverage") & (frame["term"] == "did") & (frame["error"] == "hc1")
                & (frame["effect"] == 0.0157)]  # fmt: skip
    (line,) = [line for line in lines if line.split()[:1] == ["0.0157"] or "HC1" in line][-1:]
    for value in row["value"]:
        assert f"{100 * value:.1f}" in line
    assert "Verdict" not in "\n".join(lines)


def test_files_and_figures_are_written(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "r.html"
    wanted = ["--by", "effect,serial", "--measure", "size", "--measure", "power", "--out", str(tmp_path / "t")]
    wanted += ["--format", "tex,docx,xlsx,csv", "--figures", str(tmp_path / "f"), "--figure", "size"]
    wanted += ["--html", str(page)]
    assert run_command(["report", str(store), *wanted]) == 0
    said = capsys.readouterr().out
    names = {file.name for file in (tmp_path / "t").iterdir()}
    assert names == {"tables.tex", "tables.docx", "tables.xlsx", "tables.csv", "measures.csv"}
    assert all(str(tmp_path / "t" / name) in said for name in names)
    rows = list(csv.DictReader((tmp_path / "t" / "measures.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(diagnose(ZarrStore.open(store)).frame)
    figures = {file.name for file in (tmp_path / "f").iterdir()}
    assert {f"size-did-chart.{form}" for form in ("svg", "pdf", "png")} <= figures
    assert len({name.rpartition(".")[0] for name in figures}) * 3 == len(figures)
    html = page.read_text(encoding="utf-8")
    assert html.index('id="pivot-size-effect-error-serial"') < html.index('id="more"')


def test_pictures_are_chosen_by_name_term_and_format(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "f"
    wanted = ["--figures", str(folder), "--figure", "power", "--term", "inv", "--format", "pdf"]
    assert run_command(["report", str(store), *wanted]) == 0
    names = sorted(file.name for file in folder.iterdir())
    assert names
    assert all(name.startswith("power-inv") and name.endswith(".pdf") for name in names), names
    for words, said in ((["--figures", str(tmp_path / "g"), "--figure", "powe"], "no picture 'powe'"),
                        (["--figures", str(tmp_path / "g"), "--term", "inw"], "did you mean 'inv'?"),
                        (["--figure", "power"], "--figures DIR"), (["--format", "png"], "--figures DIR"),
                        (["--open"], "--open; there is no page to open; allowed: with --html FILE")):  # fmt: skip
        capsys.readouterr()
        assert run_command(["report", str(store), *words]) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.out == ""
    assert not (tmp_path / "g").exists()


def test_all_faults_are_named_at_once_and_nothing_is_written(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    wanted = ["--by", "effekt,serial", "--measure", "pover", "--format", "tex,odt"]
    wanted += ["--figures", str(tmp_path / "file" / "f"), "--html", str(tmp_path / "r.txt")]
    assert run_command(["report", str(store), *wanted]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    for place, what in (("--by", "'effekt' is no dial"), ("--measure", "'pover' is no measure"),
                        ("--format", "'odt' is no format"), ("--format", "has no folder"), ("--figures", "is a file"),
                        ("--html", "does not end in .html")):  # fmt: skip
        assert [line for line in lines if place in line and what in line], (place, lines)
    assert len(lines) == 6
    assert sorted(tmp_path.rglob("*")) == before


def test_a_measure_that_is_nowhere_defined_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study("no null", Paper(), (TwoWayDID(),), grid={"serial": [0.0, 0.8]}, replications=64, block=64, seed=3)
    run(study, store=tmp_path / "x.zarr")
    out = tmp_path / "out"
    wanted = ["--by", "serial", "--measure", "size", "--measure", "power", "--format", "csv", "--out", str(out)]
    assert run_command(["report", str(tmp_path / "x.zarr"), *wanted]) == 2
    captured = capsys.readouterr()
    assert "size is not defined in any cell" in captured.err
    assert not out.exists()


def test_make_demo_ends_with_answer_picture_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8").splitlines()
    recipe = next(line for line in lines[lines.index("demo: $(STAMP)") :] if "panelproof " in line)
    words = recipe.removeprefix(">@$(BIN)/panelproof ").split()
    assert words[:3] == ["run", "size", "--replications"]
    assert int(words[3]) * 5 <= 5000  # panels: seconds of work, and a start of Python
    words[3] = "64"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")
    assert run_command([*words, "--cluster", "serial"]) == 0
    out = capsys.readouterr().out.splitlines()
    answered = next(place for place, line in enumerate(out) if line.startswith("- 5% tests of did"))
    pictured = out.index("Size for did: share of tests that reject a true null")
    assert answered < pictured
    assert "cannot be told" in out[answered + 1]  # 64 replications tell nothing, and the answer says so
    assert "replications" in " ".join(out[answered + 1 : answered + 3])
    assert out[pictured + 15].strip() == "autocorrelation of errors"
    assert out[-1] == "report  runs/size.html"
    assert (tmp_path / "runs" / "size.html").is_file()


def test_a_report_draws_its_picture_where_it_is_asked(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", str(store)]) == 0
    plain = capsys.readouterr().out
    assert run_command(["report", str(store), "--chart"]) == 0
    drawn = capsys.readouterr().out
    assert drawn.startswith(plain)
    assert len(drawn.splitlines()) > len(plain.splitlines()) + 3
