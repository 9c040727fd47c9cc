"""`panelproof placebo` and permutation tests in study files: stores, answers by hand, and what is refused."""

from __future__ import annotations

import io
import json
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import made_cities
import numpy as np
import pytest
from commands import here, refusal, words
from placebo_files import SPEC, command, write
from rich.console import Console
from scipy import stats

from estimators import Estimates, Layout, SpatialPanel, Status, TwoWayDID
from estimators.core.hypotheses import permutation_p_values
from estimators.permutation import PermutationTest
from experiments import placebo
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.placebo import PlaceboAnswer, PlaceboQuestion, answer, centre_notes, question
from experiments.run.reporting import facts_of
from experiments.run.runner import run
from experiments.study import Study
from references.regressions import panel_ols
from references.small_panels import small_panel
from results.store.store import MemoryStore
from results.store.zarr_store import ZarrStore
from sim import Panel, Streams
from sim.presets import Paper
from sim.real_panels import Placebo
from sim.schemes import FORMS, scheme_of
from sim.world.parts.errors import Process
from sim.world.parts.indicators import Entropy
from sim.world.parts.levels import Effects
from sim.world.parts.measurement import Classical
from sim.world.parts.mediators import Linear


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return write(tmp_path_factory.mktemp("panel"), small_panel(30, 8, seed=4, model="none", sigma=3.0))


@pytest.fixture(scope="module")
def real(files: tuple[str, str]) -> RealPanel:
    return read_real_panel(files[0], read_spec(files[1]))


def test_the_command_prints_writes_and_keeps(files: tuple[str, str], tmp_path: Path) -> None:
    store, out = tmp_path / "x.zarr", tmp_path / "out"
    asked = command(files, "--draws", 199, "--store", store)
    text = here(*asked, "--out", out).out
    for name in ("real estimate", "permutation p", "Monte Carlo error", "95% interval", "97.5% quantile"):
        assert name in text
    document = json.loads((out / "placebo.json").read_text(encoding="utf-8"))
    assert document["draws"] == 199
    assert document["lower"] < document["estimate"] < document["upper"]
    ElementTree.fromstring((out / "placebo.svg").read_text(encoding="utf-8"))
    page = (out / "placebo.html").read_text(encoding="utf-8")
    assert f"Permutation p {document['permutation_pvalue']:.4f}" in page
    assert page.count("<svg") == 2
    assert not re.search(r"https?://(?!www.w3.org)", page)
    assert json.loads(here(*asked, "--json").out) == document
    placebos = next(iter(ZarrStore.open(store).blocks(0))).estimates["did"].estimate[:, 0]
    assert document["placebo_mean"] == pytest.approx(placebos.mean())
    statistic = np.abs(placebos) >= abs(document["estimate"])
    assert document["permutation_pvalue"] == pytest.approx((1 + statistic.sum()) / 200)


@pytest.mark.parametrize(("estimator", "group"), [("did", "did"), ("sdm", "sdm-lee-yu")])
def test_a_store_resumes_grows_and_needs_no_file(
    files: tuple[str, str], tmp_path: Path, estimator: str, group: str
) -> None:
    one, two = tmp_path / "one.zarr", tmp_path / "two.zarr"
    asked = command(files, "--estimator", estimator)
    here(*asked, "--draws", 4500, "--store", one)
    here(*asked, "--draws", 2500, "--store", two)
    (two / group / "estimate" / "c.0.0.0").unlink()
    here(*asked, "--draws", 4500, "--store", two)
    assert ZarrStore.open(one).content_hash() == ZarrStore.open(two).content_hash()
    again = Study.from_settings(ZarrStore.open(one).facts["study"])
    assert again.fingerprint == ZarrStore.open(one).fingerprint
    assert isinstance(again.design, Placebo)
    assert "differs" not in here("replay", one, 0, 2301).out


@pytest.mark.parametrize("scheme", ["space", "blocks", "blocks:7", "mixed", "mixed:restricted", "time"])
def test_every_scheme_answers_and_says_which_units_keep_their_treatment(real: RealPanel, scheme: str) -> None:
    ask = question(real, scheme=scheme, draws=99)
    found = answer(ask, run(ask.study))
    assert ask.is_test == (scheme != "time")
    if scheme != "blocks:7":  # in which some draws cannot be fitted
        assert found.usable.size == 99
        assert 0.01 <= found.permutation_p <= 1
        assert (found.lower < found.estimate < found.upper) == ask.is_test != np.isnan([found.lower, found.upper]).all()
    assert any("no exact test" in note for note in found.notes) == (scheme == "time")
    rng = np.random.default_rng(1)
    drawn = np.stack([found.randomisation.draw(rng) for _ in range(500)])
    stay = (drawn == found.randomisation.real).all(axis=0)
    if scheme in ("space", "blocks:7"):
        ever = ask.panel.variables["did"][0].any(axis=0)
        assert (found.staying, found.document["units_that_stay"]) == ((stay.sum(), (stay & ever).sum()), stay.sum())
        assert any("in every placebo" in note for note in found.notes) == bool(stay.any()) == (scheme == "blocks:7")


def printed(found: PlaceboAnswer) -> str:
    out = io.StringIO()
    placebo.print_placebo(found, Console(file=out, width=200, color_system=None))
    return out.getvalue()


def test_placebos_around_the_estimate_are_said(tmp_path: Path) -> None:
    """Provinces with more treated cities have an outcome that jumps by `size` when they adopt."""
    frame, found = made_cities.frame(), {}
    share = frame.groupby(["province", "year"])["d"].transform("mean")
    noise, spec = np.random.default_rng(7).standard_normal(len(frame)), made_cities.PANEL + 'groups = ["province"]\n'
    for size, scheme in ((4.0, "strata:province"), (4.0, "space"), (0.0, "strata:province")):
        shocked = frame.assign(y=(size * share + 0.3 * noise).round(6))
        ask = question(made_cities.real_panel(tmp_path, spec, shocked), scheme=scheme, draws=199)
        found[size, scheme] = answer(ask, run(ask.study))
    (note,) = (note for note in found[4.0, "strata:province"].notes if note.startswith("The placebos have mean"))
    mean = found[4.0, "strata:province"].usable.mean()
    assert f"mean {mean:.4g}, and the estimate is {found[4.0, 'strata:province'].estimate:.4g}. Most" in note
    assert "what the assignment by strata:province keeps" in note
    for other in ((4.0, "space"), (0.0, "strata:province")):
        assert not any(note.startswith("The placebos have mean") for note in found[other].notes)


def test_the_mean_of_placebos_in_time_is_said_and_is_no_test_of_trends() -> None:
    """It has no sampling error: of panels of 40 units with parallel trends and no effect three in four get the note."""
    placebos = -1.0 + 0.1 * np.random.default_rng(1).standard_normal(99)
    (note,) = centre_notes(1.5, placebos, "time", before=True)
    assert "evidence" not in note
    assert note.endswith("says whether it is more than chance.")
    assert "keeps" not in note
    assert list(centre_notes(1.5, placebos, "space")) == []  # of the other sign
    assert list(centre_notes(9.0, placebos, "time", before=True)) == []


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_its_own_test_is_that_of_an_estimation(
    files: tuple[str, str], real: RealPanel, statistic: str, tmp_path: Path
) -> None:
    ask = question(real, estimator="sdm", draws=99, statistic=statistic)  # type: ignore[arg-type]
    found = answer(ask, run(ask.study))
    fit = SpatialPanel("sdm", "lee-yu", errors=("information", "hessian"))(ask.panel)
    at = fit.terms.index("did")
    assert (found.own_error, found.error) == ("information", "hessian")
    assert found.se == pytest.approx(fit.se[0, 0, at], rel=1e-9)
    assert found.se != pytest.approx(fit.se[0, 1, at], rel=1e-6)
    assert (found.document["se_type"], found.document["placebo_se_type"]) == ("information", "hessian")
    if statistic == "studentised":
        fits = next(iter(run(ask.study).blocks(0))).estimates[ask.estimator.name]
        t = fits.estimate[:, 0] / fits.se[:, 0, 0]
        as_large = np.abs(t) >= abs(fit.estimate[0, at] / fit.se[0, 1, at])
        assert found.permutation_p == pytest.approx((1 + as_large.sum()) / 100)
    asked = command(files, "--estimator", "sdm", "--draws", 99, "--statistic", statistic)
    text = words(here(*asked, "--store", tmp_path / "x.zarr").out)
    assert "(information)" in text
    assert ("t statistic with hessian errors, as for the placebos" in text) == (statistic == "studentised")


@pytest.mark.parametrize("estimator", ["sdm", "sar", "sem"])
def test_spatial_models(real: RealPanel, estimator: str) -> None:
    for scheme in ("space", "relabel"):
        ask = question(real, scheme=scheme, estimator=estimator, draws=99)
        found = answer(ask, run(ask.study))
        assert found.usable.size >= 90
        assert np.isnan(found.lower)
        assert found.notes
    assert ask.term == {"sdm": "rho", "sar": "rho", "sem": "lambda"}[estimator]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A panel in which one of 30 units is treated."""
    panel = small_panel(30, 4, seed=4, model="none")
    did = np.zeros((1, 4, 30))
    did[0, 2:, 7] = 1.0
    return write(tmp_path_factory.mktemp("few"), panel.with_variables({"did": did}))


def test_few_assignments_are_gone_through(few: tuple[str, str]) -> None:
    ask = question(read_real_panel(few[0], read_spec(few[1])), draws=99)
    found = answer(ask, run(ask.study))
    y, did = ask.panel.variables["y"], np.zeros((30, 4, 30))
    did[np.arange(30), 2:, np.arange(30)] = 1.0
    panel = ask.panel.with_variables({"y": np.repeat(y, 30, axis=0), "did": did})
    every = TwoWayDID()(panel).estimate[:, 0]
    np.testing.assert_allclose(np.sort(found.placebos), np.sort(np.delete(every, 7)), rtol=1e-9)
    assert (found.permutation_p, found.mcse) == ((np.abs(every) >= np.abs(every[7])).sum() / 30, 0.0)
    assert found.document["exact"] is True
    assert any(note.startswith("The 29 placebos are all assignments") for note in found.notes)
    assert found.lower < found.estimate < found.upper


def test_an_exact_store_stays_so(few: tuple[str, str], tmp_path: Path) -> None:
    asked = command(few, "--store", store := tmp_path / "x.zarr")
    assert "every assignment used" in here(*asked, "--draws", 99).out
    before = ZarrStore.open(store).content_hash()
    here(*asked, "--draws", 500)
    assert ZarrStore.open(store).content_hash() == before
    assert "differs" not in here("replay", store, 0, 28).out


def test_drawn_stores_go_on_drawing(tmp_path: Path) -> None:
    """200 assignments: 99 draws, then 300 of the same store; a new store goes through the 199 others."""
    panel = small_panel(200, 3, seed=4, model="none")
    did = np.zeros((1, 3, 200))
    did[0, 2:, 7] = 1.0
    files, store, new = write(tmp_path, panel.with_variables({"did": did})), tmp_path / "x.zarr", tmp_path / "new.zarr"
    here(*command(files, "--draws", 99, "--store", store))
    assert "drawn with repetition" in words(here(*command(files, "--draws", 300, "--store", store)).out)
    assert ZarrStore.open(store).replications == 300
    here(*command(files, "--draws", 300, "--store", new))
    assert ZarrStore.open(new).replications == 199


def test_the_report_says_what_the_data_are_and_names_the_panel_by_its_digest(
    files: tuple[str, str], tmp_path: Path
) -> None:
    path, page = tmp_path / "x.zarr", tmp_path / "x.html"
    here(*command(files, "--draws", 99, "--store", path))
    facts = facts_of(ZarrStore.open(path))
    assert not facts.synthetic
    drawn = run(Study("drawn", Placebo(), (TwoWayDID(),), replications=64), store=tmp_path / "y.zarr")
    assert facts_of(drawn).synthetic
    design = tomllib.loads(facts.toml)["design"]
    assert re.fullmatch(r"sha256 [0-9a-f]{64}, in the store", design["panel"])
    assert "Re-randomised real data" in here("report", path, "--html", page).out
    text = page.read_text(encoding="utf-8")
    assert "re-randomised from a real panel" in text
    assert ZarrStore.open(path).facts["study"]["design"]["panel"] not in text


DRAWS = 299


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    """Units differ in the size of their errors, so that t statistics order placebos otherwise than estimates do."""
    panel = small_panel(30, 8, seed=4, model="none", sigma=1.0)
    noise = np.random.default_rng(5).standard_normal((1, 8, 30)) * np.linspace(0.2, 6.0, 30)
    panel = panel.with_variables({"y": panel.variables["y"] + noise})
    files = write(tmp_path_factory.mktemp("panel"), panel)
    return read_real_panel(files[0], read_spec(files[1]))


def by_hand(ask: PlaceboQuestion, outcome: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and t statistics of the real panel, then of every placebo, by the regression of table 2."""
    found = scheme_of(ask.scheme).on(ask.panel)
    streams = ask.study.cells[0].streams(ask.study.seed).tile(0, DRAWS)
    codes = np.array([found.real, *(found.draw(rng) for rng in streams.each("assignment"))])
    fits = panel_ols(outcome=outcome, errors=("cluster:unit",))(found.assigned(ask.panel, codes))
    return fits.estimate[:, 0], fits.estimate[:, 0] / fits.se[:, 0, 0]


def share(values: np.ndarray) -> float:
    """(1 + placebos at least as extreme) / (1 + placebos); the real one is first."""
    return float((1 + sum(abs(value) >= abs(values[0]) for value in values[1:])) / len(values))


@pytest.fixture(scope="module")
def asked(small: RealPanel) -> tuple[PlaceboQuestion, MemoryStore]:
    ask = question(small, draws=DRAWS)
    return ask, run(ask.study)


def test_raw_and_studentised_p_values_are_those_of_their_own_statistic(
    asked: tuple[PlaceboQuestion, MemoryStore],
) -> None:
    ask, records = asked
    estimates, t = by_hand(ask)
    raw, studentised = (answer(replace(ask, statistic=kind), records) for kind in ("raw", "studentised"))  # type: ignore[arg-type]
    assert raw.permutation_p == pytest.approx(share(estimates), abs=1e-12)
    assert studentised.permutation_p == pytest.approx(share(t), abs=1e-12)
    assert abs(share(t) - share(estimates)) > 5 / DRAWS  # the two are not the same by chance
    np.testing.assert_allclose(raw.placebos, estimates[1:], rtol=1e-8)
    slopes = next(iter(records.blocks(0))).estimates[placebo.SHIFT].estimate[:, 0]
    np.testing.assert_allclose(slopes, by_hand(ask, "did as it was")[0][1:], rtol=1e-9)
    for found in (raw, studentised):
        assert found.share_as_large == pytest.approx((found.permutation_p * (DRAWS + 1) - 1) / DRAWS)
        assert found.mcse == pytest.approx(np.sqrt(found.permutation_p * (1 - found.permutation_p) / DRAWS))
        assert found.document["permutation_pvalue"] == found.permutation_p
        assert "placebos could not" not in printed(found)
    assert raw.estimate == pytest.approx(estimates[0], abs=1e-12)
    assert raw.lower < raw.estimate < raw.upper
    assert np.isnan(studentised.lower)
    assert "raw statistic" in studentised.no_interval
    own = 2 * stats.t.sf(np.abs(t), 29)  # each placebo's own t test
    np.testing.assert_allclose(raw.own_pvalues, own[1:], rtol=1e-7)
    assert raw.pvalue == pytest.approx(own[0], rel=1e-7)
    assert raw.document["rejected_share"] == pytest.approx((own[1:] <= 0.05).mean())


@pytest.mark.parametrize("how", [Status.SINGULAR, Status.NOT_CONVERGED, Status.ERROR])
@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_placebos_that_failed_count_as_extreme(
    asked: tuple[PlaceboQuestion, MemoryStore], statistic: Any, how: Status
) -> None:
    ask, records = replace(asked[0], statistic=statistic), asked[1]
    estimates, t = by_hand(ask)
    values = estimates if statistic == "raw" else t
    rows = [int(row) for row in np.argsort(np.abs(values[1:]))[:12]]  # the least extreme
    ((key, block),) = records.kept.items()
    fits = block.estimates[ask.estimator.name]
    status, estimate = np.array(fits.status), np.array(fits.estimate)
    status[rows], estimate[rows] = how, np.nan if how is Status.SINGULAR else 0.0  # whatever a failed fit left behind
    failed = replace(fits, status=status, estimate=estimate)
    store = MemoryStore(records.schema)
    store.write(*key, replace(block, estimates={**block.estimates, ask.estimator.name: failed}))
    found = answer(ask, store)
    assert found.permutation_p == pytest.approx(share(values) + 12 / (DRAWS + 1), abs=1e-12)
    assert (found.usable.size, found.document["failed"], found.document["draws"]) == (DRAWS - 12, 12, DRAWS)
    lines = printed(found).splitlines()
    assert lines[1] == found.notes[0] == "12 placebos could not be fitted; they count as extreme."
    assert "\n".join(lines).count("could not be fitted") == 1
    kept = np.delete(estimates[1:], rows)
    assert found.document["placebo_mean"] == pytest.approx(kept.mean())
    assert found.quantiles[0.5] == pytest.approx(np.median(kept))
    assert found.plot.placebos.size == DRAWS - 12
    rejected = 2 * stats.t.sf(np.abs(np.delete(t[1:], rows)), 29) <= 0.05
    assert rejected.any()
    assert found.document["rejected_share"] == pytest.approx(rejected.mean())


def test_fewer_assignments_than_draws_are_drawn_with_repetition(asked: tuple[PlaceboQuestion, MemoryStore]) -> None:
    found = answer(*asked)
    for count, said in ((DRAWS - 1, True), (DRAWS, True), (DRAWS + 1, False), (None, False)):
        notes = replace(found, randomisation=replace(found.randomisation, count=count)).notes
        assert (f"There are only {count} distinct assignments; they are drawn with repetition." in notes) is said


def test_statistics_that_are_none_count_as_extreme() -> None:
    drawn = np.array([[0.5, np.nan, 3.0, -1.0], [0.5, np.nan, 3.0, -2.0]])
    np.testing.assert_allclose(permutation_p_values(np.array([2.0, np.nan]), drawn), [3 / 5, np.nan])
    np.testing.assert_allclose(permutation_p_values(np.array([-2.0, 2.0]), drawn), [3 / 5, 4 / 5])


@dataclass(frozen=True, slots=True)
class Picky(TwoWayDID):
    """Least squares that gives up, with a number of no use, on every panel but the real one in which a unit is treated.

    `unit` is its index. Class setting `real`: the real treatment (T, N).
    """

    kind: ClassVar[str] = "picky"
    real: ClassVar[np.ndarray] = np.zeros((0, 0))
    unit: ClassVar[int] = 0

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        found = panel_ols(regressors=self.regressors, errors=self.errors)(panel)
        did = panel.variables["did"]
        lost = did[:, :, self.unit].any(axis=1) & (did != self.real).any(axis=(1, 2))
        status = np.where(np.broadcast_to(lost, found.status.shape), Status.NOT_CONVERGED, found.status)
        estimate = np.where(lost[:, None], 0.0, found.estimate)
        return replace(found, status=status.astype(np.uint8), estimate=estimate)

    def reduction(self, schema: Any) -> Any:
        return None  # the whole panel, so that `__call__` sees the treatment

    def layout(self, schema: Any) -> Layout:
        return panel_ols(regressors=self.regressors, errors=self.errors).layout(schema)


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_draws_that_a_permutation_test_cannot_fit_count_as_extreme(
    statistic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third assignment or so treats the unit; its fit ends without convergence and an estimate of 0."""
    panel = small_panel(30, 6, seed=2, model="none", sigma=3.0)
    monkeypatch.setattr(Picky, "real", panel.variables["did"][0])
    monkeypatch.setattr(PermutationTest, "inner", property(lambda self: Picky(errors=("cluster:unit",))))
    test = PermutationTest(draws=199, statistic=statistic, seed=4, label="picky")
    found = test(panel)
    assert found.pvalue is not None
    randomisation = scheme_of("space").on(panel)
    codes = np.array([randomisation.draw(rng) for rng in Streams(4, "permutation").tile(0, 199).each("space")])
    fits = panel_ols(errors=("cluster:unit",))(randomisation.assigned(panel, codes))
    own = panel_ols(errors=("cluster:unit",))(panel)
    values, real = fits.estimate[:, 0], own.estimate[0, 0]
    if statistic == "studentised":
        values, real = values / fits.se[:, 0, 0], real / own.se[0, 0, 0]
    lost = randomisation.assigned(panel, codes).variables["did"][:, :, Picky.unit].any(axis=1)
    assert 20 < lost.sum() < 180
    extreme = lost | (np.abs(values) >= abs(real))
    assert found.pvalue[0, 0, 0] == pytest.approx((1 + extreme.sum()) / 200)


def test_a_panel_without_a_fit_is_no_answer(small: RealPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = question(small, draws=99)
    own = TwoWayDID.solve

    def solve(*arguments: Any) -> Estimates:
        found = own(*arguments)
        return replace(found, status=np.full_like(found.status, Status.NOT_CONVERGED))

    monkeypatch.setattr(TwoWayDID, "solve", solve)
    with pytest.raises(ValueError, match="the search for the optimum did not converge"):
        placebo.check_fits(ask)


# `panelproof placebo`: what is refused, in one line and before anything is drawn or written.


def test_help_names_every_scheme() -> None:
    said = words(here("placebo", "--help").out)
    options = said[said.index("Options:") :]
    assert not [form for form in FORMS if f" {form}," not in options and f" {form}." not in options]
    assert "99 or more" in options


CHANGES = {
    "model": (["--estimator", "sar"], {}, "--estimator was sdm, is sar;"),
    "scheme": (["--scheme", "strata:province"], {}, "--scheme was space, is strata:province;"),
    "both": (["--estimator", "did", "--scheme", "time"], {},
             "--estimator was sdm, is did and --scheme was space, is time;"),
    "seed": (["--seed", "8"], {}, "--seed was 20240601, is 8;"),
    "controls": ([], {'"inv", "road"': '"inv"'}, "controls was inv, road, is inv;"),
    "weights": ([], {"k = 4": "k = 5"}, "the spatial weights are others;"),
    "panel": ([], {"numbers": "others"}, "the panel is another one;"),
    "gaps": (["--estimator", "did"], {}, "--estimator was sdm, is did;"),  # of which an SDM knows nothing
    "term": (["--term", "no-kernel"], {}, "--term, or what the spec says of clusters, is another;"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sdm_store(files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("sdm") / "x.zarr"
    here(*command(files, "--estimator", "sdm", "--draws", 99, "--store", store))
    return store


@pytest.mark.parametrize("case", CHANGES)
def test_a_store_says_in_one_line_which_choice_was_another(
    case: str, sdm_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, edits, message = CHANGES[case]
    spec = SPEC
    for old, new in edits.items():
        spec = spec.replace(old, new)
    seed = 5 if "numbers" in edits else 4
    files = write(tmp_path, small_panel(30, 8, seed=seed, model="none", sigma=3.0), spec)
    if case == "gaps":
        Path(files[0]).write_text("".join(Path(files[0]).read_text().splitlines(keepends=True)[:-1]))
    if case == "term":  # a kernel less: what another term or cluster amounts to
        monkeypatch.setattr(SpatialPanel, "for_redrawn_treatments", lambda self, _: self)
        options = []
    before = ZarrStore.open(sdm_store).content_hash()
    said = refusal(*command(files, "--estimator", "sdm", "--draws", 99, "--store", sdm_store, *options))
    assert f"holds another placebo test: {message}" in said
    assert "choose another --store, or make the same choices" in said
    assert ZarrStore.open(sdm_store).content_hash() == before


def test_a_store_whose_settings_are_damaged_is_repaired_by_the_same_command(
    files: tuple[str, str], tmp_path: Path
) -> None:
    asked = [*command(files, "--estimator", "did", "--draws", 99, "--store", tmp_path / "x.zarr")]
    here(*asked)
    whole, root = ZarrStore.open(tmp_path / "x.zarr").content_hash(), tmp_path / "x.zarr" / "zarr.json"
    root.write_bytes(root.read_bytes()[:300])
    assert "what is left of them is not of this study" in refusal(*asked, "--seed", 8)
    here(*asked)
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == whole


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_study_does_not_run_into_a_placebo_store(sdm_store: Path, tmp_path: Path, dry: list[str]) -> None:
    (tmp_path / "s.toml").write_text('replications = 64\n[design]\nkind = "paper"\n[[estimators]]\nkind = "did"\n')
    said = refusal("run", tmp_path / "s.toml", "--cluster", "serial", "--store", sdm_store, *dry)
    assert "holds a placebo test of a panel, not this study" in said


BAD = {
    "draws": (["--draws", "98"], "99 or more"),
    "strata of what": (["--scheme", "strata"], "without its attribute; allowed: strata:ATTRIBUTE; name an attribute"),
    "control": (["--term", "inv"], "scheme space does not test 'inv'; allowed: did;"),
    "rho": (["--term", "rho", "--estimator", "sdm"], "does not test 'rho'; allowed: did, w_did, direct:did"),
    "untested": (["--term", "did", "--estimator", "sdm", "--scheme", "relabel"], "relabel does not test 'did'"),
    "estimator": (["--estimator", "sdn"], "did you mean 'sdm'"),
    "time": (["--estimator", "sdm", "--scheme", "time"], "leaves untreated cells only, .*; use --estimator did"),
    "term": (["--term", "dit"], "did you mean 'did'"),
    "relabel": (["--scheme", "relabel"], "no term is spatial"),
    "mediator": (["--scheme", "mediator"], "no mediators"),
    "weights": (["--scheme", "blocks:queen"], "no weights 'queen'"),
    "cluster": (["--cluster", "moon"], "cluster 'moon'"),
    "folder that cannot be written": (["--out", "/dev/null/out"], "choose another --out"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2(case: str, files: tuple[str, str], tmp_path: Path) -> None:
    options, message = BAD[case]
    assert re.search(message, refusal(*command(files, "--store", tmp_path / "x.zarr", *options)))
    assert not (tmp_path / "x.zarr").exists()


def treated_share(share: float, first: int) -> Panel:
    panel = small_panel(30, 6, seed=4, model="none")
    did = np.zeros((1, 6, 30))
    did[0, first:, : int(30 * share)] = 1.0
    return panel.with_variables({"did": did})


def with_outcome(scale: float) -> Panel:
    """A control of the regression as the outcome, or a constant one."""
    panel = small_panel(30, 6, seed=4, model="none")
    return panel.with_variables({"y": scale * panel.variables["inv"] + (scale == 0)})


NOTHING: dict[str, tuple[Panel, str, str]] = {
    "all treated": (treated_share(1.0, 1), "space", "collinear|constant|absorbed|nothing to permute"),
    "one period before": (treated_share(0.5, 1), "time", "no treated unit has two periods"),
    "all at one date: dates to draw, and a real treatment that is a time effect": (
        treated_share(1.0, 3), "time", "absorbed"),
    "a constant outcome": (with_outcome(0.0), "space", "'y' is constant.*name another outcome"),
    "an outcome that is a control": (with_outcome(2.0), "space", "'y' is collinear.*name another outcome"),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTHING)
def test_panels_that_leave_nothing_to_draw_stop_before_any_draw(case: str, tmp_path: Path) -> None:
    panel, scheme, message = NOTHING[case]
    options = ("--scheme", scheme, "--draws", 99, "--store", tmp_path / "x.zarr", "--out", tmp_path / "new" / "out")
    assert re.search(message, refusal(*command(write(tmp_path, panel), *options)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["panel.csv", "spec.toml"]


BARE = """
import panelproof as pp


@pp.estimator(terms=["did"], errors=[])
def difference(y, did):
    return y[did == 1].mean() - y[did == 0].mean()
"""


def test_an_estimator_without_errors_has_placebos_and_no_test_of_its_own(tmp_path: Path) -> None:
    own, store, out = (
        write(tmp_path, small_panel(30, 8, seed=4, model="none", sigma=3.0)),
        tmp_path / "x.zarr",
        tmp_path / "out",
    )
    (tmp_path / "bare_difference.py").write_text(BARE, encoding="utf-8")
    asked = command(own, "--estimator", "bare_difference:difference", "--draws", 99, "--store", store)
    assert "its own test none: it has no standard errors" in words(here(*asked, "--out", out).out)
    document = json.loads((out / "placebo.json").read_text(encoding="utf-8"))
    blanks = ("se", "se_type", "placebo_se_type", "pvalue", "rejected_share")
    assert [document[name] for name in blanks] == [None] * len(blanks)
    assert "standard errors on either side" not in (out / "placebo.html").read_text(encoding="utf-8")
    kept = next(iter(ZarrStore.open(store).blocks(0))).estimates
    larger = int((np.abs(next(iter(kept.values())).estimate[:, 0]) >= abs(document["estimate"])).sum())
    assert document["permutation_pvalue"] == pytest.approx((1 + larger) / 100)
    said = refusal(*asked, "--statistic", "studentised")
    assert "difference has no standard errors; allowed: raw, or an estimator with errors" in said


def test_a_panel_whose_error_is_none_has_the_raw_test_alone(tmp_path: Path) -> None:
    """All units of one of two clusters are treated at one date, so that the sums of their scores cancel."""
    panel = replace(treated_share(0.2, 3), attributes={"province": np.repeat(["east", "west"], [6, 24])})
    spec = SPEC.replace('controls = ["inv", "road"]', 'cluster = "province"')
    asked = command(write(tmp_path, panel, spec), "--draws", 99, "--store", tmp_path / "x.zarr")
    assert "its own test none: no cluster:province error on this panel" in words(here(*asked).out)
    assert "park has no error cluster:province on this panel; allowed: raw" in refusal(
        *asked, "--statistic", "studentised"
    )


def test_the_treatment_is_called_as_its_column_or_its_label_and_may_be_asked_so(tmp_path: Path) -> None:
    files, out = write(tmp_path, treated_share(0.5, 4)), tmp_path / "out"
    asked = command(files, "--draws", 99, "--store", tmp_path / "x.zarr")
    said = words(here(*asked, "--term", "park", "--out", out).out)
    assert "Placebo test of park: did, scheme space" in said
    assert "Placebo estimates of park (did" in (out / "placebo.svg").read_text(encoding="utf-8")
    assert "Placebo test of park: did, scheme space" in (out / "placebo.html").read_text(encoding="utf-8")
    document = json.loads((out / "placebo.json").read_text(encoding="utf-8"))
    assert (document["term"], document["called"]) == ("did", "park")
    assert "Placebo test of park" in words(here(*asked, "--term", "did").out)
    named = write(tmp_path, treated_share(0.5, 4), SPEC + '\n[output.labels]\npark = "Eco-park"\n')
    said = words(here(*command(named, "--draws", 99, "--store", tmp_path / "x.zarr")).out)
    assert "Placebo test of Eco-park: did" in said


# Permutation tests and silent designs in study files: tables of settings, and refusals in the words of the file.


STUDY = """
replications = 64

[design]
kind = "paper"

[[estimators]]
kind = "permutation"
draws = 99
"""


def study_file(folder: Path, text: str) -> Path:
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return folder / "study.toml"


def test_settings_are_a_table_or_pairs(tmp_path: Path) -> None:
    table = Study.from_toml(study_file(tmp_path, STUDY + 'settings = {errors = ["cluster:unit"], label = "did"}\n'))
    pairs = STUDY + 'settings = [["errors", ["cluster:unit"]], ["label", "did"]]\n'
    assert table == Study.from_toml(study_file(tmp_path, pairs)) == Study.from_settings(table.settings)
    (test,) = table.estimators
    assert isinstance(test, PermutationTest)
    assert test.settings == (("errors", ("cluster:unit",)), ("label", "did"))


SILENT = "[design]; sigma is 0 or nearly 0, so panels have no noise"
PLACE = "[[estimators]] 1 (permutation), "
REFUSED: dict[str, tuple[str, ...]] = {
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
    "blocks that are all units": (
        'scheme = "blocks:knn-6:200"', "study.toml, did-blocks-knn-6-200, blocks:knn-6:200; 1 block of 200 neigh"),
    "no noise": ("", SILENT, "sigma = 0"),
    "hardly any noise": ("", SILENT, "sigma = 1e-300"),
    "no noise and one effect": ("", SILENT, "sigma = 0.0\neffect = 0.0\nheterogeneity = 0.5"),
    "a cell without noise": ("[grid]\nsigma = [0.029, 0.0]", "[grid]; sigma is 0 or nearly 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_permutation_test_cannot_use(case: str, tmp_path: Path) -> None:
    """One line, which names the file, before anything is written."""
    line, message, *dials = REFUSED[case]
    path = study_file(tmp_path, STUDY.replace('"paper"', "\n".join(('"paper"', *dials))) + f"{line}\n")
    said = refusal("run", path, "--cluster", "serial", "--store", tmp_path / "x.zarr")
    assert said.startswith(f"panelproof: {path}")
    assert message in said
    assert [item.name for item in tmp_path.iterdir()] == ["study.toml"]


def test_effects_that_differ_are_noise_enough_and_python_is_free(tmp_path: Path) -> None:
    text = STUDY.replace('"paper"', '"paper"\nsigma = 0.0\nheterogeneity = 0.5')
    assert not Study.from_toml(study_file(tmp_path, text)).cells[0].design.noiseless
    parts = replace(Paper(sigma=0.0).parts, redraw=("adoption",))  # other units are treated in each replication
    for levels in (Effects(), Effects(trends_sd=1.0), Effects(factors=1, unit_sd=1.0)):
        assert replace(parts, levels=levels).noiseless == (levels == Effects())
    for part in ({"measurement": Classical(outcome_sd=0.1)}, {"errors": Process(sd=0.0, common_paths=((1.0,) * 18,))},
                 {"indicators": Entropy(names=("a",))}, {"mediators": (Linear(b=0.5),)}):  # fmt: skip
        assert not replace(Paper(sigma=0.0).parts, **part).noiseless
    silent = Study("silent", Paper(sigma=0.0), (PermutationTest(),))
    assert Study.from_settings(silent.settings) == silent
