"""Who draws what in a study: no two cells, estimators or purposes share a stream, and no failure moves one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from estimators import Estimates, Estimator, Mediation, Status, TwoWayDID
from estimators.linear.did import LeastSquares
from estimators.permutation import PermutationTest
from experiments.run.runner import run
from experiments.study import Study
from references.regressions import panel_ols
from sim import Draw, Panel, Streams, Wanted
from sim.design import Design
from sim.presets import BertrandDufloMullainathan, Clustered, Paper
from sim.real_panels import Placebo
from sim.world.panel_design import PanelDesign
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.indicators import Entropy
from sim.world.parts.measurement import Classical
from sim.world.parts.mediators import Linear
from sim.world.parts.missing import Pattern

ROWS, BLOCK = 150, 64  # two blocks and a part, whose last tile is cut
SMALL = Paper(controls="none")


@dataclass(frozen=True, slots=True)
class Echo(TwoWayDID):
    """Two-way DID that returns a standard normal of its own stream in place of its estimate.

    Class settings that tests change: `most` panels are solved together, more raise; so does a panel whose coefficient
    is one of `culprits`.
    """

    kind: ClassVar[str] = "echo"
    most: ClassVar[int] = 10**9
    culprits: ClassVar[frozenset[float]] = frozenset()

    def solve(self, plan: Any, moments: Any, schema: Any, streams: Streams) -> Estimates:
        found = TwoWayDID.solve(self, plan, moments, schema, streams)
        if moments.rows > self.most or self.culprits & set(found.estimate[:, 0].tolist()):
            raise ArithmeticError("cannot be solved")
        return replace(found, estimate=streams.normals("errors", len(found.terms)))


def echo_study(**changes: Any) -> Study:
    settings: dict[str, Any] = {"name": "echo", "design": SMALL, "estimators": (Echo(),), "seed": 3}
    return Study(**(settings | {"replications": ROWS, "block": BLOCK} | changes))


def drawn(study: Study, cell: int, name: str) -> np.ndarray:
    """First term's estimates of an estimator in a cell, (R,)."""
    return collected(study)[cell, name].estimate[:, 0]


def collected(study: Study) -> dict[tuple[int, str], Estimates]:
    records = run(study)
    return {
        (cell, item.name): Estimates.join([block.estimates[item.name] for block in records.blocks(cell)])
        for cell in range(len(study.cells))
        for item in study.estimators
    }


def test_cells_estimators_and_replications_have_streams_of_their_own() -> None:
    study = echo_study(estimators=(Echo(), Echo(label="other")), grid={"effect": [0.0, 0.01, 0.02]})
    numbers = np.concatenate([found.estimate[:, 0] for found in collected(study).values()])
    assert len(np.unique(numbers)) == numbers.size == 3 * 2 * ROWS
    for cell in study.cells:
        errors = cell.streams(study.seed).tile(0, ROWS).normals("errors", 18, 285)
        assert not np.isin(numbers, errors).any()


def test_a_replication_draws_from_the_stream_of_its_estimator_and_absolute_number() -> None:
    study = echo_study(grid={"effect": [0.0, 0.01]})
    for cell in study.cells:
        own = Streams(3, cell.key).within(repr(Echo()))
        expected = [own.tile(r, r + 1).normals("errors", 1)[0, 0] for r in range(ROWS)]
        np.testing.assert_array_equal(drawn(study, cell.index, "did"), expected)


def test_settings_seed_and_class_make_another_stream() -> None:
    base = drawn(echo_study(), 0, "did")
    others = [
        drawn(echo_study(seed=4), 0, "did"),
        drawn(echo_study(estimators=(Echo(cluster_k="all"),)), 0, "did"),
        drawn(echo_study(estimators=(Echo(errors=("iid",)),)), 0, "did"),
    ]
    numbers = np.concatenate([base, *others])
    assert len(np.unique(numbers)) == numbers.size


def noise(study: Study) -> list[np.ndarray]:
    """The outcome's errors of every cell, (R, T, N): the worlds differ by nothing else."""
    cells = []
    for cell in study.cells:
        streams = cell.streams(study.seed)
        world = cell.design.settle(streams)
        wanted = Wanted(frozenset({"icr"}), ())
        silent = replace(cell.design, sigma=0.0).settle(streams)  # type: ignore[type-var]
        tile = streams.tile(0, 4)
        cells.append(world.draw(tile, wanted).panel.variables["icr"] - silent.draw(tile, wanted).panel.variables["icr"])
    return cells


@pytest.mark.parametrize("dial", [{"effect": [0.0, 0.01]}, {"treated": [48, 20]}, {"shape": ["constant", "growing"]}])
def test_cells_share_their_errors_only_when_told_to(dial: dict[str, list[Any]]) -> None:
    apart, common = (noise(echo_study(grid=dial, common_random_numbers=flag)) for flag in (False, True))
    size = apart[0].size
    assert abs(np.corrcoef(apart[0].ravel(), apart[1].ravel())[0, 1]) < 4 / np.sqrt(size)
    np.testing.assert_allclose(common[0], common[1], rtol=0, atol=1e-13)


def test_common_numbers_are_common_to_cells_and_not_to_estimators() -> None:
    study = echo_study(
        estimators=(Echo(), Echo(label="other")), grid={"effect": [0.0, 0.01]}, common_random_numbers=True
    )
    found = collected(study)
    np.testing.assert_array_equal(found[0, "did"].estimate, found[1, "did"].estimate)
    assert not np.isin(found[0, "did"].estimate, found[0, "other"].estimate).any()


class Recorder:
    """Notes the purposes for which streams are used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fixed: list[str] = []
        self.each: list[str] = []
        own_fixed, own_each = Streams.fixed, Streams.each

        def fixed(streams: Streams, purpose: str) -> np.random.Generator:
            self.fixed.append(purpose)
            return own_fixed(streams, purpose)

        def each(streams: Streams, purpose: str) -> Iterator[np.random.Generator]:
            self.each.append(purpose)
            return own_each(streams, purpose)

        monkeypatch.setattr(Streams, "fixed", fixed)
        monkeypatch.setattr(Streams, "each", each)


CONTROLS = {f"covariate {name}" for name in ("inv", "road", "book", "tech")}
EVERYTHING = PanelDesign(
    covariates=(Normal("x"),),
    errors=Process(group_share=0.2, factors=1, factor_share=0.2),
    effect=Effect(1.0, unit_sd=0.5),
    mediators=(Linear("m"),),
    indicators=Entropy(("one", "two")),
    missing=Pattern(0.1),
    measurement=Classical(0.1, 0.1),
)
NOWHERE = {"places", "levels", "errors", "adoption"}
FIXED = {"cities", "levels", "errors", "adoption", *CONTROLS}
PURPOSES: dict[str, tuple[Design, set[str], set[str]]] = {
    "paper": (Paper(), FIXED, {"errors", "mediator gpat"}),
    "paper redrawn": (
        Paper(redraw=("calendar", "controls"), spillover="paper"),
        FIXED, {"errors", "mediator gpat", "adoption", *CONTROLS},
    ),
    "bdm": (BertrandDufloMullainathan(), NOWHERE, {"adoption", "errors"}),
    "clustered": (
        Clustered(), NOWHERE | {"covariate x"}, {"covariate x", "covariate x of groups", "errors", "errors of groups"},
    ),
    "parts": (
        EVERYTHING, {"places", "levels", "errors", "adoption", "missing", "covariate x", "measurement of x"},
        {"errors", "errors of groups", "errors of factors", "heterogeneity", "mediator m", "indicator one",
         "indicator two", "measurement of the outcome"},
    ),
    "gaps": (
        PanelDesign(missing=Pattern(0.1, "on_outcome")), {"places", "levels", "errors", "adoption"},
        {"errors", "missing"},
    ),
    "placebo": (Placebo(), set(), {"assignment"}),
}  # fmt: skip


@pytest.mark.parametrize("name", PURPOSES)
def test_every_purpose_of_a_design_has_its_own_stream(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    design, fixed, each = PURPOSES[name]
    wanted = Wanted(frozenset(design.schema.variables), ("att",))
    streams = Streams(5, "purposes")
    noted = Recorder(monkeypatch)
    world = design.settle(streams)
    world.draw(streams.tile(0, 3), wanted)
    assert sorted(noted.fixed) == sorted(fixed)
    assert sorted(noted.each) == sorted(each)


@pytest.mark.parametrize("most", [1, 40])
def test_a_halved_batch_goes_on_with_the_streams_of_each_replication(most: int, monkeypatch: Any) -> None:
    expected = collected(echo_study(grid={"effect": [0.0, 0.01]}))
    monkeypatch.setattr(Echo, "most", most)
    got = collected(echo_study(grid={"effect": [0.0, 0.01]}))
    for key, whole in expected.items():
        np.testing.assert_array_equal(got[key].estimate, whole.estimate)
        assert (got[key].status == Status.OK).all()


def test_panels_that_raise_are_found_by_their_number_and_move_no_other(monkeypatch: Any) -> None:
    expected = drawn(echo_study(), 0, "did")
    coefficients = drawn(echo_study(estimators=(TwoWayDID(),)), 0, "did")
    raising = [3, 31, 32, 70, ROWS - 1]
    monkeypatch.setattr(Echo, "culprits", frozenset(coefficients[raising].tolist()))
    records = run(echo_study())
    got = Estimates.join([block.estimates["did"] for block in records.blocks(0)])
    assert np.flatnonzero(got.status == Status.ERROR).tolist() == raising
    assert np.isnan(got.estimate[raising]).all()
    others = np.delete(np.arange(ROWS), raising)
    np.testing.assert_array_equal(got.estimate[others, 0], expected[others])
    assert (got.status[others] == Status.OK).all()
    texts = records.noted("tracebacks")
    assert set(texts) == {f"cell 0 block {row // BLOCK} replication {row} did" for row in raising}
    assert all("cannot be solved" in text for text in texts.values())


def test_a_tile_that_cannot_be_reduced_is_fitted_one_by_one_with_the_same_streams(monkeypatch: Any) -> None:
    expected = collected(echo_study(estimators=(Echo(), Echo(label="other"))))
    own = LeastSquares.reduce

    def reduce(self: LeastSquares, plan: Any, tile: Any) -> Any:
        if tile.panel.replications > 1:
            raise MemoryError("too many")
        return own(self, plan, tile)

    monkeypatch.setattr(LeastSquares, "reduce", reduce)
    got = collected(echo_study(estimators=(Echo(), Echo(label="other"))))
    for key, whole in expected.items():
        np.testing.assert_array_equal(got[key].estimate, whole.estimate)


def test_tiles_after_one_that_cannot_be_reduced_keep_their_streams(monkeypatch: Any) -> None:
    expected = collected(echo_study(block=192, worlds=1))
    own, calls = LeastSquares.reduce, []

    def reduce(self: LeastSquares, plan: Any, tile: Any) -> Any:
        if tile.panel.replications == 2:  # a user's estimator is tried before the run
            return own(self, plan, tile)
        calls.append(tile.panel.replications)
        if len(calls) == 2:
            raise MemoryError("too many")
        return own(self, plan, tile)

    monkeypatch.setattr(LeastSquares, "reduce", reduce)
    got = collected(echo_study(block=192, worlds=1))
    assert calls[:3] == [32, 32, 1]
    for key, whole in expected.items():
        np.testing.assert_array_equal(got[key].estimate, whole.estimate)
        assert (got[key].status == Status.OK).all()


def one_at_a_time(cls: type[Estimator], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an estimator refuse every batch, so that each replication is fitted on its own."""
    own = cls.__call__

    def call(self: Any, panel: Panel, streams: Streams | None = None) -> Estimates:
        if panel.replications > 1:
            raise MemoryError("too many")
        return own(self, panel, streams)

    monkeypatch.setattr(cls, "__call__", call)


WHOLE: dict[str, Estimator] = {
    "wild bootstrap": panel_ols(errors=("wild:region",), draws=99),
    "permutation": PermutationTest.of(TwoWayDID(errors=("cluster:unit",)), draws=99, common=False),
    "mediation, simulated": Mediation(errors=("monte-carlo",), draws=99),
    "mediation, resampled": Mediation(errors=("bootstrap:province",), draws=99),
}


@pytest.mark.parametrize("name", WHOLE)
def test_real_estimators_draw_the_same_when_a_batch_is_taken_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = WHOLE[name]
    null = Paper(effect=0.0, controls="none")  # p values spread
    study = echo_study(design=null, estimators=(estimator,), replications=40)
    ((_, whole),) = collected(study).items()
    one_at_a_time(type(estimator), monkeypatch)
    ((_, single),) = collected(study).items()
    assert (single.status == Status.OK).all()
    for stored in ("pvalue", "lower", "upper"):
        np.testing.assert_allclose(getattr(single, stored), getattr(whole, stored), rtol=1e-6, err_msg=stored)
    assert len(np.unique(whole.pvalue[:, 0, 0])) > 10


@dataclass(frozen=True, slots=True)
class Numbered(Design):
    """A design whose outcome holds the number of its replication, and which notes the tiles that are drawn."""

    kind: ClassVar[str] = "numbered"
    tiles: ClassVar[list[tuple[int, int]]] = []

    @property
    def schema(self) -> Any:
        return SMALL.schema

    def settle(self, streams: Streams) -> Any:
        return _NumberedWorld(SMALL.settle(streams), self.tiles)


@dataclass(frozen=True)
class _NumberedWorld:
    world: Any
    tiles: list[tuple[int, int]]

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        self.tiles.append((streams.start, streams.stop))
        draw = self.world.draw(streams, wanted)
        number = np.arange(streams.start, streams.stop, dtype=np.float64)
        return Draw(draw.panel, dict.fromkeys(wanted.estimands, number))


def test_blocks_hold_the_replications_that_their_place_says() -> None:
    Numbered.tiles.clear()
    records = run(echo_study(design=Numbered(), estimators=(TwoWayDID(),)))
    truth = [block.truth["att"] for block in records.blocks(0)]
    assert [len(values) for values in truth] == [64, 64, ROWS - 128]
    np.testing.assert_array_equal(np.concatenate(truth), np.arange(ROWS))
    assert all(start % 32 == 0 and stop == start + 32 for start, stop in Numbered.tiles)
