"""How a fit ended, from the fit to the reports; and workers that are not like the client."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from rich.console import Console

from cluster import Environment, Serial, WorkerRefused
from estimators import Estimates, SpatialPanel, Status, TwoWayDID
from estimators.spatial import spatial_panel
from experiments.run import runner, tasks
from experiments.run.runner import run
from experiments.run.tasks import Job, environment_of, run_job
from experiments.study import Study
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.report.grids import ReportFacts
from results.report.html import html_report
from results.report.terminal import print_bias_table
from results.store import BlockState, Origin, ZarrStore
from results.verdict.verdicts import failures
from sim import BadInput, Panel, Streams
from sim.errors import bad
from sim.presets import Paper

ROWS = 96
HOW = {40: Status.ERROR, 41: Status.REFUSED, 42: Status.NOT_CONVERGED, 43: Status.SINGULAR, 80: Status.NOT_CONVERGED}
WILD = 1e9  # what a search that did not converge may return


@dataclass(frozen=True, slots=True)
class Moody(TwoWayDID):
    """Two-way DID that ends in some replications as `HOW` says."""

    kind: ClassVar[str] = "moody"

    def reduction(self, schema: Any) -> None:
        return None

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        found = TwoWayDID(self.outcome, self.regressors, self.errors)(panel)
        estimate, status = np.array(found.estimate), np.array(found.status)
        for row, number in enumerate(range(streams.start, streams.stop)):
            how = HOW.get(number, Status.OK)
            if how is Status.ERROR:
                raise ArithmeticError("no such fit")
            if how is Status.REFUSED:
                raise bad("a panel of no use", where="moody", allowed="others", remedy="take another")
            if how is not Status.OK:
                status[row], estimate[row] = how, WILD if how is Status.NOT_CONVERGED else np.nan
        return replace(found, estimate=estimate, status=status)


def study(**changes: Any) -> Study:
    estimators = (Moody(label="moody"), TwoWayDID())
    settings: dict[str, Any] = {"name": "moods", "design": Paper(controls="none"), "estimators": estimators, "seed": 6}
    return Study(**(settings | {"replications": ROWS, "block": 64} | changes))


@pytest.fixture(scope="module", params=["memory", "zarr"])
def records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    store = tmp_path_factory.mktemp("moods") / "x.zarr" if request.param == "zarr" else None
    return run(study(), store=store)


@pytest.fixture(scope="module")
def diagnosis(records: Any) -> Diagnosis:
    return diagnose(records)


def fits(records: Any, name: str) -> Estimates:
    return Estimates.join([block.estimates[name] for block in records.blocks(0)])


def test_every_fit_keeps_how_it_ended(records: Any) -> None:
    status = fits(records, "moody").status
    assert {row: Status(int(status[row])) for row in np.flatnonzero(status != Status.OK)} == HOW
    assert (fits(records, "did").status == Status.OK).all()


def test_tracebacks_of_what_raised_name_cell_block_replication_and_estimator(records: Any) -> None:
    noted = records.noted("tracebacks")
    assert set(noted) == {"cell 0 block 0 replication 40 moody", "cell 0 block 0 replication 41 moody"}
    assert "no such fit" in noted["cell 0 block 0 replication 40 moody"]
    assert "a panel of no use" in noted["cell 0 block 0 replication 41 moody"]


def test_every_failure_counts_and_no_number_of_one_is_used(diagnosis: Diagnosis, records: Any) -> None:
    frame = diagnosis.frame[(diagnosis.frame["estimator"] == "moody") & (diagnosis.frame["sample"] == "own")]
    counts = {row["measure"]: row["value"] for _, row in frame.iterrows() if row["measure"].startswith("status:")}
    assert counts == {"status:ok": 91, "status:not_converged": 2, "status:singular": 1, "status:refused": 1,
                      "status:error": 1}  # fmt: skip
    (convergence,) = frame[frame["measure"] == "convergence"].to_dict("records")
    assert (convergence["value"], convergence["attempted"]) == (91 / 96, 96)
    of_terms = frame[frame["term"] == "did"]
    assert set(of_terms["attempted"]) == {96}
    assert set(of_terms[~of_terms["measure"].isin(["type_s", "type_m"])]["n"]) == {91}
    good = np.delete(np.arange(ROWS), list(HOW))
    expected = fits(records, "did").estimate[good, 0].mean()
    (mean,) = of_terms[of_terms["measure"] == "mean_estimate"]["value"]
    assert mean == pytest.approx(expected, rel=1e-9)


def test_the_common_sample_is_that_of_the_fits_that_succeeded(diagnosis: Diagnosis) -> None:
    frame = diagnosis.frame
    shared = frame[(frame["estimator"] == "did") & (frame["sample"] == "common") & (frame["measure"] == "bias")]
    assert shared["n"].tolist() == [91]


def test_both_reports_say_how_many_failed_and_why(diagnosis: Diagnosis) -> None:
    ((cell, name, failed, attempted, reasons),) = failures(diagnosis)
    assert (cell, name, failed, attempted) == (0, "moody", 5, 96)
    wanted = {f"{how.meaning} ({count})" for how, count in
              ((Status.NOT_CONVERGED, 2), (Status.SINGULAR, 1), (Status.REFUSED, 1), (Status.ERROR, 1))}  # fmt: skip
    assert {part for part in wanted if part in reasons} == wanted
    out = io.StringIO()
    print_bias_table(diagnosis, Console(file=out, width=300, color_system=None), ReportFacts("moods"), full=True)
    text = " ".join(out.getvalue().split())
    assert f"moody: 5 of 96 fits failed: {reasons}" in text
    assert "91/96" in text
    html = " ".join(html_report(diagnosis, ReportFacts("moods")).split())
    assert "91/96" in html
    assert all(part in html for part in wanted)


@pytest.mark.parametrize("model", ["sar", "sem", "sdm"])
def test_a_search_that_does_not_converge_is_no_fit(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own = spatial_panel.fit_model

    def fit_model(*arguments: Any) -> Any:
        fit = own(*arguments)
        converged = np.array(fit.converged)
        converged[[1, 5]] = False
        return replace(fit, converged=converged)

    monkeypatch.setattr(spatial_panel, "fit_model", fit_model)
    records = run(study(design=Paper(spillover="paper"), estimators=(SpatialPanel(model, "lee-yu"),), replications=20))
    found = fits(records, f"{model}-lee-yu")
    assert np.flatnonzero(found.status == Status.NOT_CONVERGED).tolist() == [1, 5]
    assert (np.delete(found.status, [1, 5]) == Status.OK).all()
    assert failures(diagnose(records))[0][2:4] == (2, 20)


def job(where: Environment) -> Job:
    return Job(study(), 0, 0, 0, 32, where)


def test_a_worker_like_the_client_runs_its_job() -> None:
    assert run_job(job(environment_of(study()))).block.replications == 32


def test_a_worker_unlike_the_client_refuses_its_job_naming_what_differs() -> None:
    own = environment_of(study())
    with pytest.raises(WorkerRefused) as raised:
        run_job(job(replace(own, python="2.7.18", machine="another machine")))
    words = f"python {own.python} instead of 2.7.18, machine {own.machine} instead of another machine"
    remedies = "use python 2.7.18 on the worker; use machines of one kind"
    assert str(raised.value) == f"a worker differs from the client: {words}; {remedies}"


class Elsewhere(Serial):
    """Another process, as far as a run knows: not the client's own."""


@pytest.mark.parametrize("stored", [False, True])
def test_such_a_worker_stops_the_run_and_poisons_nothing(
    stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, built_in = tmp_path / "x.zarr" if stored else None, study(estimators=(TwoWayDID(),))
    own = environment_of(built_in)
    with monkeypatch.context() as patched:
        patched.setattr(runner, "environment_of", lambda _: own)  # of the client; the worker asks for its own
        patched.setattr(tasks, "environment", lambda *_: replace(own, machine="another machine"))
        with pytest.raises(
            WorkerRefused, match=f"machine another machine instead of {own.machine}; use machines of one kind$"
        ):
            run(built_in, store=store, executor=Elsewhere())
    if store is not None:
        kept = ZarrStore.open(store)
        assert {kept.state(0, index) for index in range(2)} == {BlockState.PENDING}
        assert kept.environments == ()
        run(built_in, store=store)
        again = ZarrStore.open(store)
        assert {again.state(0, index) for index in range(2)} == {BlockState.DONE}
        assert again.environments == (Origin(str(own), own.plain, blocks=2),)


@pytest.mark.parametrize("version", ["numpy", "scipy", "panelproof", "python", "code"])
def test_the_environment_names_what_makes_bits(version: str) -> None:
    here = environment_of(study())
    assert any(part.startswith(f"{version} ") for part in str(here).split("; "))
    assert here.blas
    assert all(kernel.endswith("threads 1") for kernel in here.blas)


def test_bad_input_of_a_worker_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise bad("a panel of no use", where="worker", allowed="others", remedy="take another")

    cell = study()
    tasks.runner_of(cell, 0)
    monkeypatch.setattr(type(tasks.runner_of(cell, 0)), "run", refuse)
    with pytest.raises(BadInput, match="a panel of no use"):
        run(cell)
