"""Stopping at a target: where cells end, and that nothing but the target decides it."""

from __future__ import annotations

import io
import itertools
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import here, refusal, words
from refusals import refuses, refuses_all
from rich.console import Console
from scipy import stats

from cluster import Executor
from experiments.run import checking
from experiments.run.checking import pilot, projected
from experiments.run.launch import forecast_run
from experiments.run.runner import Progress, Stopping, Until, checkpoints, run, schema_of
from results.diagnosis.claims import about, fits_needed
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import bound_factor
from results.diagnosis.measures import proportion
from results.store import BlockState, MemoryStore, Store
from results.store.store import Stopped
from results.store.zarr_store import ZarrStore
from studies import SHORT, UNTIL, quick_study


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> ZarrStore:
    path = tmp_path_factory.mktemp("until") / "serial.zarr"
    run(quick_study(), store=path, until=UNTIL)
    return ZarrStore.open(path)


def done(store: Store) -> list[int]:
    """Finished blocks of each cell, which lie before all others."""
    counts = [sum(store.state(cell, i) is BlockState.DONE for i in range(store.block_count)) for cell in range(2)]
    assert all(store.state(cell, i) is BlockState.DONE for cell in range(2) for i in range(counts[cell]))
    return counts


def largest(store: ZarrStore, cell: int, blocks: int, measure: str, error: str = "") -> float:
    frame = diagnose(store.only(cell, range(blocks))).frame
    rows = frame[(frame["measure"] == measure) & (frame["term"] == "did") & frame["error"].str.startswith(error)]
    return float(rows["mcse"].max())


def test_cells_end_at_the_first_checkpoint_that_meets_the_target(serial: ZarrStore) -> None:
    counts, marks = done(serial), checkpoints(25, 64, 1)
    assert marks == (8, 12, 18, 25)
    assert counts == [12, 8]
    for cell in range(2):
        for blocks in (8, 12)[: counts[cell] // 4 - 1]:
            size = largest(serial, cell, blocks, "rejection", "cluster:unit")
            assert (size <= 0.009 and largest(serial, cell, blocks, "bias") <= 0.001) == (blocks == counts[cell])


def test_order_and_workers_do_not_matter(
    serial: ZarrStore, tmp_path: Path, local_workers: Callable[[int], Executor]
) -> None:
    run(quick_study(), store=tmp_path / "x.zarr", executor=local_workers(2), shuffle=2, until=UNTIL)
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == serial.content_hash()


class Ended(Exception):
    """In the middle of a run, which has no time to do anything more."""


def test_an_end_in_the_middle_does_not_matter(serial: ZarrStore, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"

    def end(step: Progress) -> None:
        if step.blocks == 10:
            raise Ended

    with pytest.raises(Ended):
        run(quick_study(), store=path, until=UNTIL, listen=end)
    assert 9 <= len(ZarrStore.open(path).done()) < 20
    assert ZarrStore.open(path).stopped is None
    run(quick_study(), store=path, until=UNTIL)
    assert ZarrStore.open(path).content_hash() == serial.content_hash()


def test_a_resumed_run_computes_nothing_and_a_tighter_target_goes_on(serial: ZarrStore, tmp_path: Path) -> None:
    path, seen = tmp_path / "x.zarr", list[Progress]()
    loose, tight = "coverage:0.02", "coverage:0.006"
    run(quick_study(), store=path, until=loose)
    assert done(ZarrStore.open(path)) == [8, 8]
    run(quick_study(), store=path, until=loose, listen=seen.append)
    assert {step.cell for step in seen} == {-1}
    assert (seen[-1].blocks, seen[-1].of_blocks, seen[-1].replications) == (16, 16, 1024)
    run(quick_study(), store=path, until=tight)
    straight = run(quick_study(), store=tmp_path / "y.zarr", until=tight)
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(tmp_path / "y.zarr").content_hash()
    assert done(straight) == done(ZarrStore.open(path)) == [25, 25]
    assert straight.stopped is not None
    assert straight.stopped.replications == (1600, 1600)


def test_a_run_without_a_target_fills_the_store(serial: ZarrStore, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    shutil.copytree(serial.path, path)
    run(quick_study(), store=path)
    run(quick_study(), store=tmp_path / "y.zarr")
    store = ZarrStore.open(path)
    assert store.stopped is None
    assert store.content_hash() == ZarrStore.open(tmp_path / "y.zarr").content_hash()
    assert store.content_hash() != serial.content_hash()


def test_a_store_that_grew_does_not_say_that_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    run(quick_study(800), store=path, until="coverage:0.02")
    assert ZarrStore.open(path).stopped is not None
    ZarrStore.open_or_create(path, schema_of(quick_study(1600)))
    assert ZarrStore.open(path).stopped is None


def test_a_cell_that_was_not_stopped_has_the_replications_of_its_study() -> None:
    """150 are two blocks and a part of one."""
    study = quick_study(150)
    schema = schema_of(study)
    ended: dict[int, tuple[int, bool] | None] = {0: (1, True), 1: None}
    stopping = Stopping(MemoryStore(schema), Until.read("coverage:0.1", schema.layouts), set(), ended)
    assert stopping.stopped == Stopped("coverage:0.1", (64, 150), (True, False))
    ended[1] = 3, False
    assert stopping.stopped.replications == (64, 150)


def test_a_store_says_which_cells_stopped() -> None:
    rule = "Monte Carlo errors of at most coverage:0.01"
    stopped = Stopped("coverage:0.01", (768, 512, 2048), (True, True, False))
    assert stopped.sentence == f"stopped at {rule} in 2 of 3 cells, after 512 to 768 replications"
    alike = replace(stopped, replications=(512, 512, 2048))
    assert alike.sentence == f"stopped at {rule} in 2 of 3 cells, after 512 replications"
    assert Stopped("coverage:0.01", (512,), (True,), 8).sentence == f"stopped at {rule}, after 512 replications"
    assert replace(stopped, met=(True, True, True), worlds=8).sentence.endswith("after 512 to 2,048 replications")


def test_every_world_is_reached_before_a_cell_is_judged() -> None:
    assert (checkpoints(100, 64, 32)[0], checkpoints(100, 64, 64)[0], checkpoints(10, 64, 64)) == (16, 32, (10,))
    assert checkpoints(1, 2048, 1) == (1,)
    marks = checkpoints(100_000, 64, 1)
    assert all(later <= 1.5 * now + 1 for now, later in itertools.pairwise(marks))


@pytest.mark.parametrize(("rule", "said"), [
    ("covrage:0.01", "measure 'covrage'"),
    ("size_adjusted_power:0.01", "measure 'size_adjusted_power'"),
    ("coverage:small", "Monte Carlo error 'small'"),
    ("coverage:0", "Monte Carlo error '0'"),
    ("coverage:-1", "Monte Carlo error '-1'"),
    ("coverage:nan", "Monte Carlo error 'nan'"),
    ("coverage:inf", "Monte Carlo error 'inf'"),
    ("coverage", "target 'coverage'"), ("", "target ''"),
    ("coverage:hc9:0.01", "'hc9' is no error type and no term"),
    ("bias:iid:0.01", "bias has no error types"),
])  # fmt: skip
def test_bad_targets(rule: str, said: str, tmp_path: Path) -> None:
    layouts = schema_of(quick_study()).layouts
    refuses_all([said, "--until"], Until.read, rule, layouts, count=1)
    refuses("", Until.read, "covrage:x, bias:1", layouts, count=2)
    (tmp_path / "study.toml").write_text(DID)
    refusal("run", tmp_path / "study.toml", "--cluster", "serial", "--store", tmp_path / "x.zarr", "--until", rule)
    assert not (tmp_path / "x.zarr").exists()


def test_a_target_of_all_errors_is_met_by_all(serial: ZarrStore) -> None:
    """The coverage of three error types: a target between their Monte Carlo errors is not met."""
    frame = diagnose(serial.only(0, range(8))).frame
    errors = sorted(frame[(frame["measure"] == "coverage") & (frame["term"] == "did")]["mcse"])
    assert errors[0] < errors[-1]
    layouts = schema_of(quick_study()).layouts
    assert not Until.read(f"coverage:{(errors[0] + errors[-1]) / 2:.6g}", layouts).met(serial, 0, 8)
    assert Until.read(f"coverage:{1.001 * errors[-1]:.6g}", layouts).met(serial, 0, 8)
    for kind, rows in frame[(frame["measure"] == "coverage") & (frame["error"] != "")].groupby("error"):
        rules = [f"coverage:{kind}:{share * rows['mcse'].max():.6g}" for share in (0.99, 1.01)]
        assert [Until.read(rule, layouts).met(serial, 0, 8) for rule in rules] == [False, True]


def test_reports_say_where_cells_stopped(serial: ZarrStore, tmp_path: Path) -> None:
    said = ("stopped at Monte Carlo errors of at most rejection:cluster:unit:0.009, bias:did:0.001 in 2 of 2 cells, "
            "after 512 to 768 replications")  # fmt: skip
    page = tmp_path / "x.html"
    assert said in here("store", "info", serial.path).out
    printed = words(here("report", serial.path, "--html", page).out)
    assert said[1:] in printed
    assert "incomplete" not in printed
    assert said[1:] in page.read_text(encoding="utf-8")
    about = json.loads(here("report", serial.path, "--json").out)["study"]
    assert about["until"] == {"rule": UNTIL, "replications": [768, 512], "met": [True, True]}
    assert (about["blocks"], about["complete"]) == (20, True)
    assert "20 of 20 blocks sound" in here("store", "verify", serial.path).out


def test_a_pilot_foretells_bytes_and_monte_carlo_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It settles worlds and draws in 6 s; then it draws 256 of 1600 replications in 4 s."""
    study = quick_study(1600)
    clock = iter([0.0, 6.0, 10.0, 14.0])
    monkeypatch.setattr(checking, "time", SimpleNamespace(perf_counter=clock.__next__))
    seconds, size, errors, _ = pilot(study, 1600)
    store = run(study, store=tmp_path / "x.zarr")
    taken = sum(file.stat().st_size for file in (tmp_path / "x.zarr").rglob("*") if file.is_file())
    assert abs(size / taken - 1) < 0.3
    assert seconds == 2.0 + 4.0 * 1600 / 256
    frame = diagnose(store).frame
    for row in errors.to_dict("records"):
        chosen = frame[(frame["cell"] == row["cell"]) & (frame["measure"] == row["measure"]) & (frame["term"] == "did")]
        given = chosen.set_index("error")["mcse"][row["error"]]
        # the error of a share near 0 or 1, of which 256 draws hold none, is a guess
        assert abs(row["mcse"] / given - 1) < (0.35 if row["measure"] == "bias" or row["cell"] == 0 else 3), row
    assert set(errors["measure"]) == {"bias", "coverage", "rejection"}


def test_projected_errors_fall_with_replications_and_with_worlds() -> None:
    assert projected(0.1, math.nan, 100, 1, 4) == pytest.approx(0.05)
    assert projected(0.1, 0.01, 256, 1, 4) == pytest.approx(0.05)
    # of 0 of n fits the error is about 1.39 / n (Agresti and Coull): so it is for fewer, and no less for more
    none, fewer = (float(proportion(np.zeros(1), np.full(1, n)).mcse[0]) for n in (2048.0, 256.0))
    assert projected(none, 0.0, 2048, 1, 1 / 8) == pytest.approx(fewer, rel=0.02)
    assert projected(none, 0.0, 2048, 1, 4) == pytest.approx(none / 2)
    # 8 worlds of 32 fits with correlation .5 against 32 worlds of 32: the same design effect, four times the fits
    alone, effect = 0.01, 1 + 31 * 0.5
    mcse = math.sqrt(alone * effect)
    assert projected(mcse, alone, 256, 32, 4) == pytest.approx(math.sqrt(alone * effect / 4))
    # no worlds beyond 8: of 128 fits a world hardly anything is gained
    assert projected(mcse, alone, 256, 8, 4) == pytest.approx(math.sqrt(alone / 4 * (1 + 127 * 0.5)))


def test_the_largest_error_of_a_cell_is_projected_from_what_independent_fits_would_have() -> None:
    rows = [("coverage", "a", 0.9, 0.02), ("coverage", "b", 0.9, 0.03), ("coverage", "c", 0.9, 0.01),
            ("bias", "", 0.1, 0.2), ("empirical_se", "", 1.0, 0.05)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["measure", "error", "value", "mcse"]).assign(
        cell=0, sample="own", estimator="did", term="did", n=256.0
    )
    wanted = {
        ("coverage", "b"): projected(0.03, 0.09 / 256, 256, 8, 4),
        ("bias", ""): projected(0.2, 1 / 256, 256, 8, 4),
    }
    found = {(row[1], row[4]): row[5] for row in checking._errors(frame, {("did", "did")}, 8, 4.0)}
    assert found == pytest.approx(wanted)


def test_a_dry_run_says_the_largest_error_of_all_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ["cell", "measure", "estimator", "term", "error", "mcse"]
    errors = pd.DataFrame([(cell, "bias", "did", "did", "", (cell + 1) / 100) for cell in (0, 1)], columns=columns)
    monkeypatch.setattr(checking, "pilot", lambda *_: (1.0, 1000, errors, 64))
    said = io.StringIO()
    assert forecast_run(quick_study(64), tmp_path / "x.zarr", Console(file=said)) == 0
    assert "Monte Carlo error of bias after 64 replications: at most 0.02 (did did, cell 1)" in said.getvalue()


def test_with_few_worlds_the_upper_bound_of_an_error_is_held_against_the_target(tmp_path: Path) -> None:
    """The 97.5% bound of an error from 4 worlds is 3.73 times the error: 3 / .2158 is its square."""
    study = quick_study(512, worlds=4)
    store = run(study, store=tmp_path / "x.zarr")
    layouts = schema_of(study).layouts
    error, times = largest(store, 0, 8, "bias"), math.sqrt(3 / stats.chi2.ppf(0.025, 3))
    assert times == pytest.approx(3.73, abs=0.01)
    assert not Until.read(f"bias:did:{1.01 * error:.6g}", layouts).met(store, 0, 8)
    assert not Until.read(f"bias:did:{0.99 * times * error:.6g}", layouts).met(store, 0, 8)
    assert Until.read(f"bias:did:{1.01 * times * error:.6g}", layouts).met(store, 0, 8)


def test_a_run_that_few_worlds_keep_from_its_target_asks_for_more(tmp_path: Path) -> None:
    study = quick_study(512, worlds=4)
    store = run(study, store=tmp_path / "x.zarr", until="coverage:1e-6")
    said = (
        "Monte Carlo errors of at most coverage:1e-06 were not reached in any of 2 cells; with 4 worlds an error is "
        "judged by its upper confidence bound: set more worlds in the study, because more replications in the same "
        "worlds may not be enough"
    )
    assert store.stopped is not None
    assert store.stopped.sentence == ZarrStore.open(tmp_path / "x.zarr").stopped.sentence == said  # type: ignore[union-attr]
    assert store.stopped.met == (False, False)
    assert not store.pending()
    reached = replace(store.stopped, met=(True, False))
    assert "in 1 of 2 cells, after 512 replications; with 4 worlds" in reached.sentence
    assert "worlds" not in replace(store.stopped, met=(True, True)).sentence
    assert "worlds" not in replace(store.stopped, worlds=1).sentence


def stopped_runs(worlds: int, target: float, bound: bool) -> tuple[float, float, float, float]:
    """Of 8,000 runs whose worlds hold a tenth of a variance of 1, how things end.

    Shares that stop before 40,000 replications, that stop although the true error is above the target, whose 95%
    interval of t covers where they end, and whose interval covers among those that stop.
    """
    rng, runs, share = np.random.default_rng(worlds), 8000, 0.1
    marks = [count * 64 for count in checkpoints(40_000 // 64, 64, worlds)]
    common = math.sqrt(share) * rng.standard_normal((runs, worlds))
    total, before = np.zeros((runs, worlds)), 0
    ended, early, false, covered, both = np.zeros(runs, bool), 0, 0, 0, 0
    for mark in marks:
        more = (mark - before) / worlds
        total += more * common + math.sqrt((1 - share) * more) * rng.standard_normal((runs, worlds))
        before = mark
        means = total * worlds / mark
        error = np.fmax(means.std(axis=1, ddof=1) / math.sqrt(worlds), math.sqrt((1 - share / worlds) / mark))
        held = error * (bound_factor(np.array(worlds)) if bound else 1.0)
        now = ~ended & ((held <= target) | (mark == marks[-1]))
        true = math.sqrt(share / worlds + (1 - share) / mark)
        early += int(now.sum()) * (mark < marks[-1])
        false += int((now & (held <= target)).sum()) * (true > target)
        half = stats.t.ppf(0.975, worlds - 1) * error
        covers = int((np.abs(means.mean(axis=1)) <= half)[now].sum())
        covered, both = covered + covers, both + covers * (mark < marks[-1])
        ended |= now
    return early / runs, false / runs, covered / runs, both / max(early, 1)


def test_few_worlds_seldom_stop_a_run_by_luck() -> None:
    """A target of .7 of what 4 worlds leave in any run: a third of runs stopped, wrongly, and 88% of these covered."""
    target = 0.7 * math.sqrt(0.1 / 4)
    early, false, _, lucky = stopped_runs(4, target, bound=False)
    assert early > 0.3 < false
    assert lucky < 0.90
    early, false, covered, _ = stopped_runs(4, target, bound=True)
    assert max(early, false) < 0.05
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("worlds", "times"), [(4, 1.0), (4, 5.0), (8, 3.0), (32, 2.0)])
def test_intervals_cover_where_runs_end(worlds: int, times: float) -> None:
    """Targets of what the worlds leave, which hardly a run reaches, and of a multiple, which most runs reach."""
    early, false, covered, stopped = stopped_runs(worlds, times * math.sqrt(0.1 / worlds), bound=True)
    assert (early > 0.85) == (times > 1)
    assert false <= 0.06
    assert 0.93 <= covered <= 0.97
    if times > 1:
        assert 0.93 <= stopped <= 0.97


def test_a_dry_run_says_what_claims_take(tmp_path: Path) -> None:
    """As `fits_needed` has it: 840 for one size, 263 for one bias, and more for three cells."""
    (tmp_path / "study.toml").write_text(DID.replace("128", "256\nworlds = 1") + (
        '[grid]\neffect = [0.0, 0.1, 0.2]\n[[claims]]\nmeasure = "size"\n[[claims]]\nmeasure = "power"\n'
        '[[claims]]\nmeasure = "bias"\ntolerance = 0.1\n'
        '[[claims]]\nmeasure = "bias"\nterms = ["did"]\ntolerance = 0.1\n'))  # fmt: skip
    asked = ("run", tmp_path / "study.toml", "--cluster", "serial", "--store", tmp_path / "x.zarr", "--dry-run")
    printed = words(here(*asked).out)
    size, bias = (about(fits_needed(*of, share=share, cells=3))
                  for of, share in (((0.05, 0.025), True), ((0.0, 0.1), False)))  # fmt: skip
    measures = ("bias", "coverage", "rejection")
    for said in (
        f"To tell that size holds takes about 840 replications in one cell, about {size:,.0f} a cell for all 3 cells "
        "(chance 80%, tolerance 0.025)",
        f"To tell that bias holds takes about 1,100 replications in one cell, about {bias:,.0f} a cell",
        "A pilot of 256 replications per cell says: about",
        *(f"Monte Carlo error of {measure} after 256 replications: at most" for measure in measures),
    ):
        assert said in printed
    assert "power holds" not in printed
    assert printed.count("To tell that bias holds") == 1  # of two claims
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_a_dry_run_says_how_little_few_worlds_tell(tmp_path: Path) -> None:
    """The 97.5% bound of a standard deviation from 4 worlds, by scipy: sqrt(3 / 0.2158) times it."""
    (tmp_path / "s.toml").write_text(DID.replace("128", "256\nworlds = 4"))
    printed = words(here("run", tmp_path / "s.toml", "--cluster", "serial", "--dry-run").out)
    times = math.sqrt(3 / stats.chi2.ppf(0.025, 3))
    assert printed.count(f"; from 4 worlds, and may be {times:.2g} times that)") == 3


# What `run` and `report` say of a store that holds more than is asked for, or less than it has room for

DID = SHORT + '[[estimators]]\nkind = "did"\n'


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Three blocks, all done."""
    (tmp_path / "study.toml").write_text(DID.replace("128", "192"))
    asked(tmp_path / "x.zarr", 192)
    return tmp_path / "x.zarr"


def asked(store: Path, replications: int, *options: str) -> str:
    command = ("run", store.parent / "study.toml", "--cluster", "serial", "--store", store)
    return words(here(*command, "--replications", replications, *options).out)


def test_fewer_replications_than_the_store_holds(filled: Path) -> None:
    said = asked(filled, 64, "--dry-run")
    assert "1 cell x 192 replications" in said
    assert "the store holds 192 replications per cell, more than the 64 asked for; all of them are kept" in said
    ZarrStore(filled, "a").poison(0, 1)
    said = asked(filled, 64)
    assert "more than the 64 asked for; the run goes on to all of them, of which 2 of 3 blocks are done" in said
    assert "192 of 192 panels" in said
    assert "the store holds" not in asked(filled, 192)
    assert "1 cell x 256 replications" in asked(filled, 256, "--dry-run")


def test_reports_say_that_a_store_is_incomplete(filled: Path) -> None:
    line = "incomplete: 2 of 3 blocks are finished; the same run command resumes the study"
    page = filled.parent / "x.html"
    for complete in (True, False):
        assert (line not in here("report", filled, "--html", page).out) == complete
        assert (line not in page.read_text(encoding="utf-8")) == complete
        about = json.loads(here("report", filled, "--json").out)["study"]
        assert (about["blocks_done"], about["blocks"], about["complete"]) == (3 if complete else 2, 3, complete)
        ZarrStore(filled, "a").poison(0, 1)
