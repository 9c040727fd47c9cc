"""The command line from end to end: what it prints, writes and returns."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import docx
import numpy as np
import pandas as pd
import psutil
import pytest
from long_tables import load_panel

import panelproof as pp
from estimators import SpatialPanel, TwoWayDID
from experiments.cli import KEPT, Terminated, run_command
from experiments.panel_spec.spec import read_spec
from results.store import ZarrStore, locked
from sim.errors import BadInput

STUDY = """
question = "Does it run?"
replications = 150
block = 64
seed = 5

[design]
kind = "paper"
controls = "none"

[grid]
effect = [0.0, 0.0157]

[[estimators]]
kind = "did"
"""


@pytest.mark.long
def test_pressed_twice_while_workers_start_it_says_so_and_ends(tmp_path: Path) -> None:
    """Workers that are hit while Python itself starts may say something beside it."""
    command = [sys.executable, "-m", "experiments", "run", "bias", "--replications", "300000", "--cluster", "local"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 60
    while not psutil.Process(process.pid).children() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert any(line.startswith("panelproof: interrupted") for line in said.decode().splitlines())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran")
    (folder / "study.toml").write_text(STUDY)
    arguments = ["run", str(folder / "study.toml"), "--cluster", "serial", "--store", str(folder / "x.zarr")]
    assert run_command([*arguments, "--html", str(folder / "x.html")]) == 0
    return folder


def test_run_prints_the_table_and_where_things_are(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(ran / "study.toml"), "--cluster", "serial", "--store", str(ran / "x.zarr")]
    assert run_command(arguments) == 0
    printed = capsys.readouterr().out
    assert "300 of 300 panels" in printed
    assert "Bias in standard errors, by effect" in printed
    assert "bias (MCSE)" not in printed
    assert run_command([*arguments, "--full"]) == 0
    assert "bias (MCSE)" in capsys.readouterr().out
    assert "x.zarr" in printed
    assert "<svg" in (ran / "x.html").read_text(encoding="utf-8")


def test_report_as_json_is_one_document_and_nothing_else(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", str(ran / "x.zarr"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    bias = [row for row in document["measures"] if row["measure"] == "bias" and row["term"] == "did"]
    assert [row["effect"] for row in bias] == [0.0, 0.0157]
    assert all(abs(row["value"]) < 4 * row["mcse"] for row in bias)


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    store = tmp_path / "x.zarr"
    assert run_command(["run", str(tmp_path / "study.toml"), "--store", str(store), "--dry-run"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--html", "{folder}/file.txt/a.html"], "choose another --html"),
        (["--html", "{folder}/a.txt"], "add .html"),
        (["--store", "{folder}/file.txt/x.zarr"], "choose another --store"),
        (["--store", "{folder}"], "is no store, and not empty"),
        (["--store", "{ran}/x.zarr", "--seed", "77"], "seed was 5, is now 77"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(
    dry: list[str], options: list[str], words: str, ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "file.txt").write_text("a file")
    given = [option.format(folder=tmp_path, ran=ran) for option in options]
    own = [] if "--store" in options else ["--store", str(tmp_path / "y.zarr")]
    assert run_command(["run", str(tmp_path / "study.toml"), "--cluster", "serial", *own, *given, *dry]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert not said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "study.toml"]


def test_a_dry_run_says_that_a_store_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    store = tmp_path / "x.zarr"
    with locked(store):
        assert run_command(["run", str(tmp_path / "study.toml"), "--store", str(store), "--dry-run"]) == 75
    assert "in use by another run" in capsys.readouterr().err


def test_replay_of_a_run_in_memory_finds_the_same_numbers() -> None:
    store = pp.run(pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64))
    again = pp.replay(store, 0, 7)
    (kept,) = store.blocks(0)
    assert again.panel.replications == 1
    np.testing.assert_array_equal(again.block.estimates["did"].estimate[0], kept.estimates["did"].estimate[7])
    with pytest.raises(BadInput, match="the run in memory; no replication 64; allowed: 0 to 63"):
        pp.replay(store, 0, 64)


def test_a_replay_is_compared_term_by_term(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell without controls has the constant second; the store has it last, as cells with controls do."""
    study = pp.Study("terms", pp.Paper(), (TwoWayDID(constant=True),), {"controls": ["paper", "none"]},
                     replications=64, block=64)  # fmt: skip
    store = pp.run(study, store=tmp_path / "x.zarr")
    assert store.layouts["did"].terms.index("constant") > 1
    for cell, terms in ((0, len(store.layouts["did"].terms)), (1, 2)):
        assert run_command(["replay", str(tmp_path / "x.zarr"), str(cell), "5"]) == 0
        said = capsys.readouterr().out
        assert (said.count(" same\n"), said.count("differs")) == (terms, 0)


def test_a_replay_has_the_tracebacks_of_its_own_fit_alone() -> None:
    @pp.estimator(terms=["mean"])
    def moody(icr):  # type: ignore[no-untyped-def]
        if int(abs(icr[0, 0]) * 1e9) % 2:
            raise ArithmeticError("no such root")
        return icr.mean(), 1.0

    store = pp.run(pp.Study("fails", pp.Paper(), (pp.TwoWayDID(), moody()), replications=64, block=64))
    raised = [at for at, _ in store.tracebacks_in(0, 0)]
    assert len(raised) > 2
    for at in raised[:2]:
        assert list(pp.replay(store, 0, at).block.tracebacks) == [(at, "moody")]


def test_replay_finds_the_same_numbers_and_saves_the_panel(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["replay", str(ran / "x.zarr"), "1", "149", "--save", str(ran / "panel.csv")]) == 0
    assert "same" in capsys.readouterr().out
    panel = pd.read_csv(ran / "panel.csv")
    assert len(panel) == 285 * 18
    assert panel["did"].sum() == 396


def test_store_commands(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["store", "verify", str(ran / "x.zarr")]) == 0
    assert run_command(["store", "hash", str(ran / "x.zarr")]) == 0
    assert ZarrStore.open(ran / "x.zarr").content_hash() in capsys.readouterr().out
    assert run_command(["store", "info", str(ran / "x.zarr")]) == 0
    assert "Does it run?" in capsys.readouterr().out


def test_info_of_a_damaged_store_says_first_what_it_knows(
    ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = Path(shutil.copytree(ran / "x.zarr", tmp_path / "x.zarr"))
    next(iter(sorted(damaged.glob("*/fit/c.*")))).write_bytes(b"xx")
    assert run_command(["store", "info", str(damaged)]) == 2
    printed = capsys.readouterr()
    assert "Does it run?" in printed.out
    assert "is damaged" in printed.err


def test_a_locked_store_exits_with_75(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(ran / "x.zarr"):
        arguments = ["run", str(ran / "study.toml"), "--cluster", "serial", "--store", str(ran / "x.zarr")]
        assert run_command(arguments) == 75
    assert "in use by another run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stop", "word", "code"), [(KeyboardInterrupt, "interrupted", 130), (Terminated, "terminated", 143)]
)
def test_only_a_run_says_that_it_can_be_resumed(
    stop: type[BaseException],
    word: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr("experiments.panel_spec.spec.read_real_panel", stopped)
    monkeypatch.setattr("experiments.run.launch.run", stopped)
    for arguments, said in (
        (["estimate", "panel.csv", "--spec", "spec.toml"], word),
        (["run", "bias", "--cluster", "serial", "--store", str(tmp_path / "x.zarr")], f"{word}; {KEPT}"),
        (["trust", "panel.csv", "--spec", "spec.toml", "--out", str(tmp_path / "t")], f"{word}; {KEPT}"),
    ):
        assert run_command(arguments) == code
        assert capsys.readouterr().err.splitlines()[-1] == f"panelproof: {said}"


@pytest.mark.long
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so_and_resumes(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace("150", "60000"))
    command = [sys.executable, "-m", "experiments", "run", "study.toml", "--cluster", "serial", "--store", "x.zarr"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "x.zarr").glob("block_mark/c.*.0")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.decode().strip().startswith("panelproof: ")
    assert "Traceback" not in said.decode()
    store = ZarrStore.open(tmp_path / "x.zarr")
    states = [store.state(cell, index).name for cell in range(2) for index in range(5)]
    assert "DONE" in states
    assert store.intact(0, 0)


@pytest.fixture(scope="module")
def estimated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example panel, its spec, and in `out` all files of `estimate`; what it printed is in `printed`."""
    folder = tmp_path_factory.mktemp("estimated")
    assert run_command(["panel", "example", str(folder)]) == 0
    panel, spec, out = folder / "panel.csv", folder / "spec.toml", folder / "out"
    assert run_command(["panel", "check", str(panel), "--spec", str(spec)]) == 0
    arguments = ["estimate", str(panel), "--spec", str(spec), "--out", str(out), "--format", "json,html,tex,docx"]
    out.mkdir()
    (out / "table-S.csv").touch()
    (out / "notes.txt").touch()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert run_command(arguments) == 0
    (folder / "printed").write_text(said.getvalue(), encoding="utf-8")
    return folder


def test_estimate_writes_every_number_in_the_contract(estimated: Path) -> None:
    document = json.loads((estimated / "out" / "estimates.json").read_text(encoding="utf-8"))
    loaded = load_panel(estimated / "panel.csv", read_spec(estimated / "spec.toml"))
    did = TwoWayDID()(loaded)
    sdm = SpatialPanel("sdm", "lee-yu")(loaded)
    rows = {(r["table"], r["column"], r["model"], r["transform"], r["term"], r["se_type"]): r
            for r in document["records"]}  # fmt: skip
    assert rows["2", 5, "did", None, "did", "cluster:unit"]["se"] == pytest.approx(did.se[0, 2, 0], rel=1e-10)
    assert rows["2", 5, "did", None, "did", "iid"]["estimate"] == pytest.approx(did.estimate[0, 0], rel=1e-10)
    indirect = rows["7", 3, "sdm", "lee-yu", "indirect:did", "information"]
    assert indirect["estimate"] == pytest.approx(sdm.estimate[0, sdm.terms.index("indirect:did")], rel=1e-9)
    assert (indirect["weights"], indirect["effects_method"]) == ("knn-6", "delta")
    models = {(r["table"], r["model"]) for r in document["records"]}
    assert models >= {("2", "pooled"), ("2", "random"), ("2", "did"), ("3", "did"), ("4", "did"), ("4", "interaction")}
    assert models >= {("6", "moran"), ("6", "geary")} | {
        ("7", name) for name in ("sem", "sar", "sdm", "slx", "sdem", "sac")
    }
    assert {r["transform"] for r in document["records"]} == {None, "direct", "lee-yu"}
    assert {s["name"] for s in document["statistics"] if s["model"] == "sar"} >= {"loglik", "r2", "r2_corr", "aic"}
    tested = [r for r in document["records"] if r["term"] != "sigma2" and r["se"] is not None]
    assert np.isfinite([r["pvalue"] for r in tested]).all()
    assert {r["pvalue"] for r in document["records"] if r["term"] == "sigma2"} == {None}
    assert document["panel"]["treatment_column"] == "eip"
    assert (document["panel"]["unit"], document["panel"]["period"]) == ("city", "year")


def test_estimate_shows_the_same_numbers_in_every_format(estimated: Path) -> None:
    """Table 2, column 5, in the terminal, as a page, as LaTeX and as a Word file."""
    document = json.loads((estimated / "out" / "estimates.json").read_text(encoding="utf-8"))
    shown = next(r for r in document["records"] if (r["table"], r["column"], r["term"], r["se_type"]) == (
        "2", 5, "did", "cluster:unit"))  # fmt: skip
    estimate, se = f"{shown['estimate']:.4f}", f"{shown['se']:.4f}"
    printed = (estimated / "printed").read_text(encoding="utf-8")
    assert max(len(line) for line in printed.splitlines() if not line.startswith("next: ")) <= 80
    for words in (
        f"{estimate}***",
        f"({se})",
        "Effect of eip on icr: ",
        "Table 2. Regressions of icr on eip",
        "wrote ",
        "left from an earlier run: table-S.csv\n",
    ):
        assert words in printed
    page = (estimated / "out" / "tables.html").read_text(encoding="utf-8")
    assert f'{estimate}<span class="stars">***</span>' in page
    assert "<svg" in page
    latex = (estimated / "out" / "tables.tex").read_text(encoding="utf-8")
    assert rf"{estimate}\stars{{***}}" in latex
    assert rf"({se}\rlap{{)}}" in latex
    table = docx.Document(str(estimated / "out" / "tables.docx")).tables[1]
    assert f"{estimate}***" in [cell.text for cell in table.rows[2].cells]
    names = {path.name for path in (estimated / "out").iterdir()}
    assert names >= {"estimates.json", "tables.html", "tables.tex", "tables.docx", "figure-2.svg"}
    assert not [name for name in names if name.endswith(".partial")]


def test_estimate_refuses_errors_that_no_model_has_and_formats_without_a_folder(
    estimated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["estimate", str(estimated / "panel.csv"), "--spec", str(estimated / "spec.toml")]
    assert run_command([*arguments, "--format", "html"]) == 2
    assert "--out" in capsys.readouterr().err
    assert run_command([*arguments, "--errors", "hc9", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "hc9" in said.err
    assert "cluster:unit" in said.err
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_fit_that_fails_costs_its_own_column_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all other cities as neighbours, Lee and Yu's likelihood has no barrier at 1 and rises to the edge."""
    assert run_command(["panel", "example", str(tmp_path)]) == 0
    spec = tmp_path / "spec.toml"
    spec.write_text(spec.read_text(encoding="utf-8").replace("k = 6", "k = 284"), encoding="utf-8")
    arguments = ["estimate", str(tmp_path / "panel.csv"), "--spec", str(spec), "--out", str(tmp_path / "out")]
    assert run_command(arguments) == 3
    assert "No column" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "estimates.json").read_text(encoding="utf-8"))
    assert any(r["model"] == "did" for r in document["records"])
    assert any("edge of the interval" in note for note in document["notes"])


def test_units_left_out_to_be_balanced_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["panel", "example", str(tmp_path)]) == 0
    frame = pd.read_csv(tmp_path / "panel.csv")
    lost = frame["city"].iloc[40]
    frame.drop(index=40).to_csv(tmp_path / "panel.csv", index=False)
    spec = tmp_path / "spec.toml"
    spec.write_text(
        spec.read_text(encoding="utf-8").replace("[panel]", '[panel]\nbalance = "drop-units"'), encoding="utf-8"
    )
    assert run_command(["estimate", str(tmp_path / "panel.csv"), "--spec", str(spec)]) == 0
    assert f"leave out units {lost}" in capsys.readouterr().out.replace("\n", " ")


def test_a_damaged_store_is_refused_in_one_line(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, command in enumerate((["report"], ["report", "--json"], ["store", "hash"])):
        store = tmp_path / f"{number}.zarr"
        shutil.copytree(ran / "x.zarr", store)
        (store / "did" / "estimate" / "c.0.1.0").unlink()
        assert run_command([*command, str(store)]) == 2
        assert "block 1 of cell 0 is damaged" in capsys.readouterr().err
        assert run_command(["store", "verify", str(store)]) == 1


def test_a_proposed_spec_is_valid_toml_that_names_the_columns(tmp_path: Path) -> None:
    assert run_command(["panel", "example", str(tmp_path)]) == 0
    assert run_command(["init", str(tmp_path / "panel.csv"), "--out", str(tmp_path / "SPEC.toml")]) == 0
    text = (tmp_path / "SPEC.toml").read_text(encoding="utf-8")
    assert 'unit = "city"' in text
    assert 'treatment = "eip"' in text


@pytest.mark.parametrize(("lost", "balance", "next_step"), [(0, "error", True), (5, "error", False),
                                                            (5, "drop-units", True)])  # fmt: skip
def test_trust_is_the_next_step_where_it_runs(
    lost: int, balance: str, next_step: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twins need a balanced panel: with gaps it would refuse what `estimate` had just recommended."""
    rng = np.random.default_rng(3)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(20), np.arange(8), indexing="ij"))
    table = pd.DataFrame({"city": city, "year": year, "d": 1 * ((city < 8) & (year > 3)), "y": rng.normal(size=160)})
    table.drop(index=range(0, 40 * (lost > 0), 8)).to_csv(tmp_path / "panel.csv", index=False)
    spec = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\ntreatment = "d"\n'
    (tmp_path / "spec.toml").write_text(f'{spec}balance = "{balance}"\n', encoding="utf-8")
    assert run_command(["estimate", str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml")]) == 0
    assert ("next: panelproof trust" in capsys.readouterr().out) == next_step


@pytest.mark.parametrize("group", ["panel", "store", "cluster"])
def test_a_list_of_commands_is_not_cut_short(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([group, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert listed.count("\n  ") >= 3
    assert "..." not in listed
