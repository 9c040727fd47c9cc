"""p values of placebos by hand: raw and studentised statistics from fits of another class, and placebos that failed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from placebo_files import write
from scipy import stats

from estimators import Estimates, Layout, Status, TwoWayDID
from estimators.core.inversion import p_values
from estimators.placebo.permutation import PermutationTest
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.placebo import PlaceboAnswer, PlaceboQuestion, answer, check_fits, question
from experiments.run.runner import run
from references.regressions import panel_ols
from references.small_panels import small_panel
from results.store.store import MemoryStore
from sim import Panel, Streams
from sim.schemes import scheme_of

DRAWS = 299


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    """Units differ in the size of their errors, so that t statistics order placebos otherwise than estimates do."""
    panel = small_panel(30, 8, seed=4, model="none", sigma=1.0)
    noise = np.random.default_rng(5).standard_normal((1, 8, 30)) * np.linspace(0.2, 6.0, 30)
    panel = panel.with_variables({"y": panel.variables["y"] + noise})
    files = write(tmp_path_factory.mktemp("panel"), panel)
    return read_real_panel(files[0], read_spec(files[1]))


def by_hand(ask: PlaceboQuestion) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and t statistics of the real panel, then of every placebo, by the regression of table 2."""
    found = scheme_of(ask.scheme).on(ask.panel)
    streams = ask.study.cells[0].streams(ask.study.seed).tile(0, DRAWS)
    codes = np.array([found.real, *(found.draw(rng) for rng in streams.each("assignment"))])
    fits = panel_ols(errors=("cluster:unit",))(found.assigned(ask.panel, codes))
    return fits.estimate[:, 0], fits.estimate[:, 0] / fits.se[:, 0, 0]


def share(values: np.ndarray) -> float:
    """(1 + placebos at least as extreme) / (1 + placebos); the real one is first."""
    return float((1 + sum(abs(value) >= abs(values[0]) for value in values[1:])) / len(values))


@pytest.fixture(scope="module")
def asked(real: RealPanel) -> tuple[PlaceboQuestion, MemoryStore]:
    ask = question(real, draws=DRAWS)
    records = run(ask.study)
    assert isinstance(records, MemoryStore)
    return ask, records


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
    for found in (raw, studentised):
        assert found.share_as_large == pytest.approx((found.permutation_p * (DRAWS + 1) - 1) / DRAWS)
        assert found.mcse == pytest.approx(np.sqrt(found.permutation_p * (1 - found.permutation_p) / DRAWS))
        assert found.document["permutation_pvalue"] == found.permutation_p


def test_each_placebos_own_test_is_a_t_test(asked: tuple[PlaceboQuestion, MemoryStore]) -> None:
    ask, records = asked
    found, (_, t) = answer(ask, records), by_hand(ask)
    expected = 2 * stats.t.sf(np.abs(t), 29)
    np.testing.assert_allclose(found.own_pvalues, expected[1:], rtol=1e-7)
    assert found.pvalue == pytest.approx(expected[0], rel=1e-7)
    assert found.document["rejected_share"] == pytest.approx((expected[1:] <= 0.05).mean())


def with_failures(ask: PlaceboQuestion, records: MemoryStore, rows: list[int], how: Status) -> PlaceboAnswer:
    """The answer when some placebos were not fitted, whatever number a failed fit left behind."""
    (key, block) = next(iter(records.kept.items()))
    name = ask.estimator.name
    fits = block.estimates[name]
    status, estimate = np.array(fits.status), np.array(fits.estimate)
    status[rows] = how
    estimate[rows] = np.nan if how is Status.SINGULAR else 0.0
    failed = replace(block, estimates={**block.estimates, name: replace(fits, status=status, estimate=estimate)})
    store = MemoryStore(records.schema)
    store.write(*key, failed)
    return answer(ask, store)


@pytest.mark.parametrize("how", [Status.SINGULAR, Status.NOT_CONVERGED, Status.ERROR])
@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_placebos_that_failed_count_as_extreme(
    asked: tuple[PlaceboQuestion, MemoryStore], statistic: Any, how: Status
) -> None:
    ask, records = replace(asked[0], statistic=statistic), asked[1]
    estimates, t = by_hand(ask)
    values = estimates if statistic == "raw" else t
    rows = [int(row) for row in np.argsort(np.abs(values[1:]))[:12]]  # the least extreme
    found = with_failures(ask, records, rows, how)
    assert found.permutation_p == pytest.approx(share(values) + 12 / (DRAWS + 1), abs=1e-12)
    assert found.usable.size == DRAWS - 12
    assert found.document["failed"] == 12
    assert found.document["draws"] == DRAWS
    assert "12 placebos could not be fitted; they count as extreme." in found.notes
    kept = np.delete(estimates[1:], rows)
    assert found.document["placebo_mean"] == pytest.approx(kept.mean())
    assert found.quantiles[0.5] == pytest.approx(np.median(kept))
    assert found.plot.placebos.size == DRAWS - 12


def test_statistics_that_are_none_count_as_extreme() -> None:
    drawn = np.array([[0.5, np.nan, 3.0, -1.0], [0.5, np.nan, 3.0, -2.0]])
    np.testing.assert_allclose(p_values(np.array([2.0, np.nan]), drawn), [3 / 5, np.nan])
    np.testing.assert_allclose(p_values(np.array([-2.0, 2.0]), drawn), [3 / 5, 4 / 5])


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


def test_a_panel_without_a_fit_is_no_answer(real: RealPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = question(real, draws=99)
    own = TwoWayDID.solve

    def solve(*arguments: Any) -> Estimates:
        found = own(*arguments)
        return replace(found, status=np.full_like(found.status, Status.NOT_CONVERGED))

    monkeypatch.setattr(TwoWayDID, "solve", solve)
    with pytest.raises(ValueError, match="the search for the optimum did not converge"):
        check_fits(ask)
