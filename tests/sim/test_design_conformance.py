"""What every design promises, checked for each that the package holds."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable

import made_worlds
import numpy as np
import pytest

from references.small_panels import small_panel
from sim import Design, Draw, Panel, Streams, Wanted
from sim.design import designs
from sim.presets import Paper
from sim.real_panels import Observed

NEEDS_A_PANEL: dict[str, Callable[[], Design]] = {"observed": lambda: Observed(small_panel())}
VARIANTS: dict[str, Design] = {
    "paper spillovers": Paper(spillover="paper"),
    "paper spatial errors": Paper(spillover="error", serial=0.5),
    "paper redrawn": Paper(spillover="paper", redraw=("calendar", "controls"), shape="growing"),
    "paper heterogeneous": Paper(heterogeneity=0.5, anticipation=2, trend_gap=0.001),
    "paper confounded": Paper(mediator="ent", confounding=0.5),
    "paper single date": Paper(calendar="single", controls="none", spillover="lag"),
}
PARTS = {  # settings of `panel` besides the covering array of `test_worlds_of_parts`
    "panel redrawn": {"covariates": "lag", "adoption": "staggered", "effect": "growing", "spillover": "durbin",
                      "mediators": "two", "redraw": "both"},
    "panel with gaps": {"covariates": "one", "adoption": "staggered", "missing": "dropout", "measurement": "errors"},
    "panel with gaps that follow the outcome": {"covariates": "one", "missing": "on_outcome", "redraw": "covariates"},
    "panel of an index": {"covariates": "moved", "indicators": "index", "missing": "random", "effect": "unit_sd"},
    "panel of doses": {"adoption": "lognormal dose", "spillover": "rho", "measurement": "rounded"},
    "panel that switches": {"adoption": "switching", "errors": "groups", "redraw": "adoption"},
    "panel of files": {"geography": "file", "weights": "file", "adoption": "clustered", "errors": "factors"},
}  # fmt: skip
FIRST_OF_ALL = {dial: next(iter(values)) for dial, values in made_worlds.PARTS.items()}
VARIANTS |= {name: made_worlds.world_of(FIRST_OF_ALL | row) for name, row in PARTS.items()}
STREAMS = Streams(3, "conformance")


def every_design() -> dict[str, Design]:
    """The discovered designs at their defaults, those that need a panel on a small one, and settings of `paper`."""
    own = {kind: NEEDS_A_PANEL[kind]() if kind in NEEDS_A_PANEL else cls() for kind, cls in designs().items()}
    return own | VARIANTS


@pytest.fixture(scope="module", params=every_design())
def design(request: pytest.FixtureRequest) -> Design:
    return every_design()[request.param]


@pytest.fixture(scope="module")
def most(design: Design) -> int:
    """How many replications the design can give: an observed panel is one."""
    return 1 if design.identity is not None else 12


def wanted(design: Design, estimands: tuple[str, ...] = ()) -> Wanted:
    return Wanted(frozenset(design.schema.variables), estimands)


def draw(design: Design, start: int, stop: int, estimands: tuple[str, ...] = ()) -> Draw:
    return design.settle(STREAMS).draw(STREAMS.tile(start, stop), wanted(design, estimands))


def row(panel: Panel, name: str, index: int) -> np.ndarray:
    values = panel.variables[name]
    return values[0] if values.shape[0] == 1 else values[index]


def test_dials_are_frozen_values(design: Design) -> None:
    field = dataclasses.fields(design)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(design, field, None)
    again = pickle.loads(pickle.dumps(design))
    assert (again.schema, again.identity) == (design.schema, design.identity)
    if design.identity is None:
        assert (again, hash(again)) == (design, hash(design))


def test_schema_matches_the_draws(design: Design, most: int) -> None:
    panel, schema = draw(design, 0, most).panel, design.schema
    assert (len(panel.units), len(panel.periods)) == (schema.units, schema.periods)
    assert (set(panel.variables), set(panel.attributes)) == (set(schema.variables), set(schema.attributes))
    assert (tuple(panel.weights), panel.roles, panel.replications) == (schema.weights, schema.roles, most)
    named = (schema.roles.outcome, *schema.roles.regressors, *schema.roles.mediators)
    assert {name for name in named if name} <= set(schema.variables)
    for name, values in panel.variables.items():
        assert values.shape[0] in {1, most}, name
        if values.shape[0] > 1:
            assert (values[1:] != values[:1]).any(), f"{name} does not change, and is repeated"


def test_tiles_are_the_same_bits_in_any_order_and_on_any_worker(design: Design, most: int) -> None:
    """Tiles of one size, as a study draws them: whatever a world remembers between them does not matter."""
    size = min(4, most)
    starts = list(range(0, most, size))
    world = design.settle(STREAMS)
    for start in [*reversed(starts), *starts]:
        got = world.draw(STREAMS.tile(start, start + size), wanted(design, ("att",)))
        fresh = draw(design, start, start + size, ("att",))
        assert got.panel.digest == fresh.panel.digest
        np.testing.assert_array_equal(got.truth["att"], fresh.truth["att"])


def test_a_replication_has_the_same_numbers_whatever_the_tile(design: Design, most: int) -> None:
    """Up to the last digit, which a product of matrices may round otherwise for another number of rows."""
    whole = draw(design, 0, most, ("att",))
    world = design.settle(STREAMS)
    cuts = [(index, index + 1) for index in reversed(range(most))] + [(most // 3, most // 3 + max(most // 2, 1))]
    for start, stop in cuts:
        part = world.draw(STREAMS.tile(start, stop), wanted(design, ("att",)))
        np.testing.assert_allclose(part.truth["att"], whole.truth["att"][start:stop], rtol=1e-13)
        for name in whole.panel.variables:
            for index in range(start, stop):
                np.testing.assert_allclose(
                    row(part.panel, name, index - start), row(whole.panel, name, index), rtol=1e-12, err_msg=name
                )


def test_other_seeds_and_scopes_give_other_panels(design: Design) -> None:
    if design.identity is not None:
        pytest.skip("an observed panel is what it is")
    digests = {design.draw(streams).panel.digest for streams in (STREAMS, Streams(4, "conformance"), Streams(3, "x"))}
    assert len(digests) == 3


def test_truths_have_one_value_a_replication_and_are_nan_where_a_world_lacks_them(design: Design, most: int) -> None:
    known = ("att", "beta(did)", "rho", "lambda", "sigma2", "direct(did)", "total(did)", "nde", "nie")
    unknown = ("beta(nonsense)", "kappa", "att(1900,1901)", "direct(nonsense)", "rho(did)", "beta")
    truth = draw(design, 0, most, known + unknown).truth
    assert (set(truth), {values.shape for values in truth.values()}) == ({*known, *unknown}, {(most,)})
    assert [name for name in unknown if not np.isnan(truth[name]).all()] == []


def test_wanting_a_variable_or_a_truth_changes_nothing_else(design: Design, most: int) -> None:
    roles = design.schema.roles
    everything = draw(design, 0, most, ("att", "nde")).panel
    bare = design.settle(STREAMS).draw(STREAMS.tile(0, most), Wanted(frozenset({roles.outcome or ""}), ())).panel
    for name in bare.variables:
        np.testing.assert_array_equal(bare.variables[name], everything.variables[name], err_msg=name)
    assert design.identity is not None or not set(roles.mediators) & set(bare.variables), "drawn without being wanted"
