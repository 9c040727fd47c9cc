"""How a fit ended, from the fit to the reports; missing event times that are no failure; workers unlike the client."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from refusals import refuses
from rich.console import Console

from cluster import Serial, WorkerRefused
from estimators import CallawaySantAnna, Estimates, Estimator, SpatialPanel, Status, TwoWayDID
from estimators.core.estimator import find_estimator
from estimators.spatial import spatial_panel
from experiments.plugin_contracts import lacking
from experiments.run import runner, tasks
from experiments.run.runner import run
from experiments.run.tasks import Job, environment_of, run_job
from experiments.settings import build
from experiments.study import Study
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.report.grids import ReportFacts
from results.report.html import html_report
from results.report.terminal import print_bias_table
from results.store import BlockState, Origin, ZarrStore
from results.verdict.verdicts import failures
from sim import Panel, Streams
from sim.errors import bad
from sim.presets import Paper
from sim.world.panel_design import PanelDesign

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


def test_tracebacks_of_what_raised_name_cell_block_replication_and_estimator(records: Any) -> None:
    status = fits(records, "moody").status
    assert {row: Status(int(status[row])) for row in np.flatnonzero(status != Status.OK)} == HOW
    assert (fits(records, "did").status == Status.OK).all()
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
    shared = diagnosis.frame[(diagnosis.frame["estimator"] == "did") & (diagnosis.frame["sample"] == "common")]
    assert shared[shared["measure"] == "bias"]["n"].tolist() == [91]


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


def test_a_worker_unlike_the_client_refuses_its_job_naming_what_differs() -> None:
    own = environment_of(study())
    with pytest.raises(WorkerRefused) as raised:
        run_job(Job(study(), 0, 0, 0, 32, replace(own, python="2.7.18", machine="another machine")))
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
        said = f"machine another machine instead of {own.machine}; use machines of one kind$"
        with pytest.raises(WorkerRefused, match=said):
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
    refuses("a panel of no use", lambda: run(cell))


# Event times that a calendar does not have are missing from an answer and are no failure of the fit.


WINDOWED = ("callaway-santanna", "event-study", "sun-abraham", "imputation", "two-stage", "stacked")
FIRST, LAST = -3, 2  # event times of units that adopt in the fourth of six periods


def design(**settings: Any) -> PanelDesign:
    parts = {"adoption": {"kind": "random", "share": 0.4, "date": 2004}, "effect": {"size": 1.0}}
    return build(PanelDesign, {"units": 40, "periods": 6, **parts, **settings}, "[design]")


def fitted(estimator: Estimator, *, one: PanelDesign | None = None) -> tuple[Estimates, Any]:
    result = run(Study("windows", one or design(), (estimator,), replications=64, block=64, worlds=2))
    return next(iter(result.blocks(0))).estimates[estimator.name], result


@pytest.mark.parametrize("kind", WINDOWED)
def test_a_window_wider_than_the_panel_tells_the_event_times_that_there_are(kind: str) -> None:
    """And the numbers of these are those of a window that fits, but for the event study's and the stacks' own bins."""
    settings: dict[str, Any] = {"complete": False} if kind == "stacked" else {}
    wide, result = fitted(find_estimator(kind)(window=(-9, 9), **settings))
    assert (wide.status == Status.OK).all()
    told = {term for term, values in zip(wide.terms, wide.estimate.T, strict=True) if np.isfinite(values).all()}
    untold = {term for term, values in zip(wide.terms, wide.estimate.T, strict=True) if np.isnan(values).all()}
    assert told | untold == set(wide.terms)
    assert {f"event({k})" for k in range(LAST + 1)} <= told
    assert {f"event({k})" for k in (*range(-9, FIRST), *range(LAST + 1, 10))} <= untold
    assert "overall" in told
    frame = diagnose(result).frame
    late = frame[frame["term"] == f"event({LAST + 1})"]
    assert not late["value"].notna().any() or (late.loc[late["value"].notna(), "n"] == 0).all()
    assert frame[(frame["term"] == "event(1)") & (frame["measure"] == "bias")]["n"].tolist()[0] == 64
    fits, _ = fitted(find_estimator(kind)(window=(FIRST, LAST), **settings))
    for k in (0, LAST):
        at, own = (x.terms.index(f"event({k})") for x in (wide, fits))
        np.testing.assert_allclose(wide.estimate[:, at], fits.estimate[:, own], rtol=1e-9)


@pytest.mark.parametrize(("window", "size"), [((-5, 5), 11), ((0, 5), 7), ((-6, 0), 7)])
def test_stacks_of_whole_windows_wider_than_the_panel_are_refused_before_a_study(
    window: tuple[int, int], size: int
) -> None:
    estimator = find_estimator("stacked")(window=window)
    refuses(rf"over the window .*: {size} event times in 6 periods", lambda: Study("windows", design(), (estimator,)))
    replace(estimator, complete=False).layout(design().schema)
    replace(estimator, window=(-3, 2)).layout(design().schema)


def test_a_missing_estimate_of_another_kind_is_still_a_failure() -> None:
    """Of an overall average, of any term by an infinite number, and where there is no number at all."""
    estimator = CallawaySantAnna(window=(-1, 1))
    whole = estimator(design().draw(Streams(3)).panel)
    layout = estimator.layout(design().schema)
    assert not lacking(whole, layout, with_errors=True)

    def with_value(term: str, value: float) -> Estimates:
        estimate = whole.estimate.copy()
        estimate[:, whole.terms.index(term)] = value
        return replace(whole, estimate=estimate)

    assert lacking(with_value("overall", np.nan), layout, with_errors=False)
    assert lacking(with_value("event(1)", np.inf), layout, with_errors=False)
    assert not lacking(with_value("event(1)", np.nan), layout, with_errors=False)
    nothing = replace(whole, estimate=np.full_like(whole.estimate, np.nan))
    assert lacking(nothing, layout, with_errors=False)
    late = ("event(0)", "event(1)")
    assert lacking(nothing.only(late), layout.only(late, "a test"), with_errors=False)
    no_error = replace(whole, se=np.full_like(whole.se, np.nan))
    assert lacking(no_error, layout, with_errors=True)


def test_cohorts_and_years_that_a_calendar_lacks_are_missing_too() -> None:
    found, _ = fitted(CallawaySantAnna(window=(0, 0), cohorts=(2004, 2005), years=(2002, 2004)))
    assert (found.status == Status.OK).all()
    missing = {term for term, values in zip(found.terms, found.estimate.T, strict=True) if np.isnan(values).all()}
    assert missing == {"cohort(2005)", "calendar(2002)", "att(2005,2002)", "att(2005,2004)"}


def test_a_cohort_of_one_unit_has_an_effect_without_an_error_and_is_no_failure() -> None:
    one = design(adoption={"kind": "calendar", "dates": [[2004, 1], [2005, 12]]})
    found, _ = fitted(CallawaySantAnna(window=(0, 1), cohorts=(2004, 2005)), one=one)
    assert (found.status == Status.OK).all()
    at, other = (found.terms.index(f"cohort({g})") for g in (2004, 2005))
    assert np.isfinite(found.estimate[:, [at, other]]).all()
    assert np.isnan(found.se[:, 0, at]).all()
    assert np.isfinite(found.se[:, 0, other]).all()


def test_terms_that_are_chosen_keep_what_may_be_missing() -> None:
    layout = CallawaySantAnna(window=(0, 1)).layout(design().schema)
    assert layout.perhaps == ("event(0)", "event(1)")
    assert layout.only(("event(1)", "overall"), "a test").perhaps == ("event(1)",)
