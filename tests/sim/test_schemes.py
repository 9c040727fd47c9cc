"""Schemes and the placebo design: what is kept, what is exchanged, how often, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from agreement import in_another_order
from numpy.typing import NDArray
from refusals import refuses
from scipy.stats import chi2

from references.small_panels import adopting, changed, small_panel
from sim import Panel, Roles, Streams, Wanted, Weights
from sim import schemes as sch
from sim.panel_sidecars import panel_text
from sim.real_panels import Placebo, panel_of

SCHEMES = ("space", "strata:province", "blocks", "blocks:ring", "blocks:ring:3", "mixed", "mixed:restricted", "time",
           "relabel", "relabel:ring", "mediator", "mediator:inv")  # fmt: skip
DRAWS = 400


def panel() -> Panel:
    return with_ring(small_panel(24, 7, seed=3, model="none"))


def with_ring(base: Panel) -> Panel:
    """The panel on a ring of neighbours (each its two next ones), with a mediator."""
    n = len(base.units)
    raw = np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)
    mediator = np.random.default_rng(8).standard_normal((1, len(base.periods), n))
    roles = Roles("y", "did", ("inv", "road"), ("m",))
    ring = Weights.of(base.units, raw, "row", "ring")
    return dataclasses.replace(base, weights={"ring": ring}, roles=roles).with_variables({"m": mediator})


def drawn(of: Panel, scheme: str, draws: int = DRAWS) -> tuple[sch.Randomisation, NDArray[np.intp]]:
    found = sch.scheme_of(scheme).on(of)
    return found, np.array([found.draw(rng) for rng in Streams(5).tile(0, draws).each("test")])


def dates(of: Panel, scheme: str, draws: int = DRAWS) -> NDArray[np.intp]:
    """First treated period of each unit under each draw, (draws, N), T = never."""
    found, codes = drawn(of, scheme, draws)
    did = found.variables(codes)["did"]
    return np.where(did.any(axis=1), did.argmax(axis=1), len(of.periods))


@pytest.mark.parametrize("text", SCHEMES)
def test_names_are_found_again_and_draws_vary(text: str) -> None:
    scheme = sch.scheme_of(text)
    assert (scheme.text, sch.scheme_of(scheme.text)) == (text, scheme)
    found, codes = drawn(panel(), text)
    assert codes.shape == (DRAWS, 24)
    assert len(np.unique(codes, axis=0)) > DRAWS / 2
    for name, values in found.variables(found.real[None]).items():
        np.testing.assert_array_equal(values[0], panel().variables[name][0], err_msg=name)


@pytest.mark.parametrize("text", ["space", "strata:province"])
def test_cohorts_are_kept_within_each_stratum(text: str) -> None:
    """That every unit has its turn is told of their enumerations below."""
    of = panel()
    real, first, strata = sch.adoption(of, ""), dates(of, text), of.attributes["province"]
    for value in np.unique(strata) if text != "space" else [None]:
        inside = np.ones(24, dtype=bool) if value is None else strata == value
        np.testing.assert_array_equal(np.sort(first[:, inside], axis=1), np.tile(np.sort(real[inside]), (DRAWS, 1)))


def test_grown_blocks_are_connected_with_the_same_sizes_and_dates() -> None:
    of = panel()
    links = of.weights["ring"].dense > 0
    real = sch.adoption(of, "")
    first = dates(of, "blocks")
    np.testing.assert_array_equal(np.sort(first, axis=1), np.tile(np.sort(real), (DRAWS, 1)))
    sizes = [len(group) for group in sch.connected_groups(links, np.flatnonzero(real < 7))]
    for rng in Streams(1).tile(0, 50).each("x"):
        groups = sch.grown_groups(links, sizes, rng)
        assert ([len(group) for group in groups], len(np.unique(np.concatenate(groups)))) == (sizes, sum(sizes))
        assert all(len(sch.connected_groups(links, group)) == 1 for group in groups)


def test_groups_grow_along_links_of_either_direction_and_dates_fall_anywhere_in_them() -> None:
    """All name the centre of a star as their neighbour, and the centre one of them alone."""
    base, raw, first = panel(), np.zeros((24, 24)), np.full(24, 7)
    raw[1:, 0] = raw[0, 1] = 1.0
    first[:3] = 3, 4, 5
    star = dataclasses.replace(base, weights={"star": Weights.of(base.units, raw, "row", "star")})
    did = (np.arange(7)[:, None] >= first) * 1.0
    found = dates(star.with_variables({"did": did[None]}), "blocks", 60)
    assert set(found[:, 0]) == {3, 4, 5}
    assert (found[:, 1] == 7).any()
    ring = base.weights["ring"].dense > 0
    assert [len(group) for group in sch.connected_groups(ring, np.array([0, 3, 4, 9, 10, 11]))] == [3, 2, 1]


def test_fixed_blocks_move_as_wholes() -> None:
    of = panel()
    links = of.weights["ring"].dense > 0
    blocks = sch.compact_blocks(links, 3)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(24))
    assert all(len(sch.connected_groups(links, block)) == 1 for block in blocks)
    assert [len(block) for block in blocks] == [3] * 8
    real = sch.adoption(of, "")
    contents = sorted(tuple(real[block]) for block in blocks)
    for first in dates(of, "blocks:ring:3", 30):
        assert sorted(tuple(first[block]) for block in blocks) == contents


@pytest.mark.parametrize("scheme", ["blocks:ring:4", "blocks:ring:5", "blocks:ring:7"])
def test_the_order_of_units_decides_nothing(scheme: str) -> None:
    """The same assignments, by the units' names, whatever the order in which a file lists them."""
    of = panel()
    shuffled, _ = in_another_order(of, 8)

    def assignments(of: Panel) -> set[tuple[int, ...]]:
        found = sch.scheme_of(scheme).on(of)
        assert found.every is not None
        place = np.argsort(of.units)
        return {tuple(found.paths["did"][codes[place]].sum(axis=1).astype(int).tolist()) for codes in found.every()}

    assert len(assignments(of)) == sch.scheme_of(scheme).on(of).count
    assert assignments(of) == assignments(shuffled)


def test_blocks_that_are_alone_in_their_size_stay() -> None:
    of = panel()
    links = of.weights["ring"].dense > 0
    found = sch.scheme_of("blocks:ring:5").on(of)
    sizes = [len(block) for block in sch.compact_blocks(links, 5)]
    assert found.still is not None
    assert found.still.sum() >= sum(size for size in sizes if sizes.count(size) == 1) > 0
    rng = np.random.default_rng(3)
    drawn = np.stack([found.draw(rng) for _ in range(200)])
    np.testing.assert_array_equal((drawn == found.real).all(axis=0), found.still)


def test_permutations_and_exchanges_by_hand() -> None:
    found = sch.exchanges({}, np.array([0, 1, 0, 2, 3]), [np.array([[0, 1], [2, 3]]), np.array([[4]])])
    assert found.still is not None
    assert found.still.tolist() == [True, False, True, False, True]
    assert found.every is not None
    assert {tuple(codes.tolist()) for codes in found.every()} == {(0, 1, 0, 2, 3), (0, 2, 0, 1, 3)}
    codes = np.array([2, 0, 0, 1, 2, 2])
    found = [tuple(row) for row in sch.permutations(codes)]
    assert len(found) == len(set(found)) == sch.arrangements(codes) == math.factorial(6) // (2 * 6)
    assert found == sorted(found)


def test_mixed_draws_units_and_dates_and_is_not_counted_where_the_real_one_is_none_of_them() -> None:
    of = panel()
    real = sch.adoption(of, "")
    free, restricted = dates(of, "mixed"), dates(of, "mixed:restricted")
    for first in (free, restricted):
        assert ((first < 7).sum(axis=1) == (real < 7).sum()).all()
    assert (set(np.unique(free)), set(np.unique(restricted))) == ({1, 2, 3, 4, 5, 6, 7}, set(np.unique(real)))
    counts = np.bincount(free[free < 7], minlength=7)[1:]
    assert ((counts - counts.mean()) ** 2).sum() / counts.mean() < chi2.isf(1e-4, 5)
    always = changed(panel(), "did", np.s_[0, :, 0], 1.0)  # from the first period on
    found, restricted = (sch.scheme_of(text).on(always) for text in ("mixed", "mixed:restricted"))
    assert (found.count, found.every) == (None, None)
    assert restricted.count is not None


def test_time_moves_dates_back_and_leaves_the_treated_cells_out() -> None:
    of = panel()
    real, first = sch.adoption(of, ""), dates(of, "time")
    movable = (real > 1) & (real < 7)
    assert ((first[:, movable] >= 1) & (first[:, movable] < real[movable])).all()
    assert (first[:, ~movable] == 7).all()
    sample = sch.scheme_of("time").on(of).sample(of)
    assert sample.observed is not None
    np.testing.assert_array_equal(sample.observed[0], of.variables["did"][0] == 0)


def test_relabelled_variables_move_together() -> None:
    of = panel()
    found, codes = drawn(of, "relabel", 3)
    assert set(found.paths) == set(of.variables)
    for row, order in enumerate(codes):
        for name, values in found.variables(codes).items():
            np.testing.assert_array_equal(values[row], of.variables[name][0][:, order])


@pytest.mark.parametrize("text", ["space", "strata:province", "blocks:ring:2", "mixed", "mixed:restricted", "time"])
def test_enumerations_hold_every_assignment_once(text: str) -> None:
    of = with_ring(small_panel(6, 4, seed=5, model="none"))
    of = dataclasses.replace(of, attributes={"province": np.array(list("aaabbb"))})
    found = sch.scheme_of(text).on(of)
    assert found.count is not None
    assert found.every is not None
    every = np.array(list(found.every()))
    assert len(every) == found.count == len(np.unique(every, axis=0))
    codes = np.array([found.draw(rng) for rng in Streams(2).tile(0, 60 * found.count).each("x")])
    kinds, counts = np.unique(codes, axis=0, return_counts=True)
    assert {tuple(row) for row in kinds} == {tuple(row) for row in every}
    assert ((counts - 60) ** 2).sum() / 60 < chi2.isf(1e-5, found.count - 1)  # all equally likely
    if text != "time":
        assert (every == found.real).all(axis=1).sum() == 1


def test_gaps_of_an_unbalanced_panel_do_not_wander() -> None:
    of = small_panel(24, 7, seed=3, model="none", missing=15)
    mask = of.observed[0]  # type: ignore[index]
    spoilt = of.with_variables({"did": np.where(mask, of.variables["did"], np.nan)})
    found, codes = drawn(spoilt, "space", 20)
    assert np.isin(found.variables(codes)["did"], (0.0, 1.0)).all()
    np.testing.assert_array_equal(found.variables(found.real[None])["did"][0][mask], of.variables["did"][0][mask])
    assert found.count == sch.arrangements(sch.adoption(of, "space"))  # whatever their gaps, units exchange dates
    did, kept = of.variables["did"][0], sch.scheme_of("time").on(of).sample(of).observed
    np.testing.assert_array_equal(kept, [mask & (np.cumsum(did, axis=0) == 0)])


def everyone(of: Panel, value: float) -> Panel:
    return of.with_variables({"did": np.full_like(of.variables["did"], value)})


BAD = {
    "unknown": (lambda: panel(), "spaces", "unknown scheme 'spaces'"),
    "an argument too many": (lambda: panel(), "space:x", "unknown scheme"),
    "blocks of one unit": (lambda: panel(), "blocks:ring:1", "unknown scheme"),
    "an empty argument": (lambda: panel(), "strata:", "unknown scheme"),
    "everyone treated": (lambda: everyone(panel(), 1.0), "space", "nothing to permute"),
    "nobody treated": (lambda: everyone(panel(), 0.0), "space", "nothing to permute"),
    "everyone, mixed": (lambda: everyone(panel(), 1.0), "mixed", "every unit is treated"),
    "no pre-period": (lambda: adopting(panel(), (1, slice(5))), "time", "no treated unit has two periods before"),
    "no attribute": (lambda: panel(), "strata:provinces", "did you mean 'province'"),
    "a column that is no attribute": (lambda: panel(), "strata:west", r"an attribute where \[panel\] groups names it"),
    "strata of nothing": (lambda: panel(), "strata", 'as in "strata:region"'),
    "no weights": (lambda: panel(), "blocks:queen", "no weights 'queen'"),
    "no weights at all": (lambda: dataclasses.replace(panel(), weights={}), "relabel", "no spatial weights"),
    "blocks too large": (lambda: panel(), "blocks:ring:20", "1 block of 20 neighbours"),
    "no mediators": (lambda: small_panel(), "mediator", "no mediators"),
    "another mediator": (lambda: panel(), "mediator:mm", "no variable 'mm'"),
    "no treatment": (lambda: dataclasses.replace(panel(), roles=Roles("y")), "space", "has no treatment"),
    "not absorbing": (lambda: panel().with_variables({"did": 1.0 - panel().variables["did"]}), "mixed", "absorbing"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drawn_is_bad_input_in_one_line(case: str) -> None:
    make, text, message = BAD[case]
    refuses(message, lambda: sch.scheme_of(text).on(make()))


# The placebo design


@pytest.mark.parametrize("missing", [0, 9])
def test_a_text_holds_the_whole_panel(missing: int) -> None:
    of = small_panel(12, 6, missing=missing)
    of = dataclasses.replace(
        of, roles=dataclasses.replace(of.roles, continuous=True, instruments=("inv",), weight="road")
    )
    if of.observed is not None:
        held = panel_text(of.with_variables({"y": np.where(of.observed, of.variables["y"], 9.0)}))
        assert held == panel_text(of)  # whatever stands where nothing is observed
        of = of.with_variables({name: np.where(of.observed, x, 0.0) for name, x in of.variables.items()})
    again = panel_of(panel_text(of))
    assert (again.digest, again.roles) == (of.digest, of.roles)
    np.testing.assert_array_equal(again.weights["knn"].dense, of.weights["knn"].dense)
    assert panel_text(again) == panel_text(of)


@pytest.mark.parametrize("text", ["x", "nonsense", panel_text(small_panel(6, 4))[:-40]])
def test_another_text_is_bad_input_and_batches_have_none(text: str) -> None:
    refuses("not a panel's text", lambda: Placebo(panel=text).schema)
    refuses("5 replications", lambda: panel_text(small_panel(6, 4, replications=5)))


def test_a_tile_in_which_nothing_wanted_differs_has_all_its_replications() -> None:
    design = Placebo.of(panel(), "mediator")
    draw = design.draw(Streams(4).tile(0, 9), Wanted(frozenset({"y", "inv"}), ()))
    assert draw.panel.replications == 9
    assert len(repr(design)) < 200, "it does not hold the panel"


# Placebo designs that go through all assignments instead of drawing some.


@pytest.mark.parametrize("scheme", ["space", "mixed:restricted", "time"])
def test_exact_placebos_are_each_assignment_once(scheme: str) -> None:
    panel = adopting(small_panel(6, 5, seed=4, model="none"), (4, 1), (3, 3))
    found = sch.scheme_of(scheme).on(panel)
    assert found.every is not None
    assert found.count == len(list(found.every()))
    drawn = Placebo.of(panel, scheme, exact=True).draw(Streams(3).tile(0, 64), Wanted(frozenset({"did"}), ()))
    anew = drawn.panel.variables["did"].astype(int)
    size = found.count - (scheme != "time")
    assert len(np.unique(anew[:size], axis=0)) == size
    assert not (anew == panel.variables["did"][0]).all(axis=(1, 2)).any()
    np.testing.assert_array_equal(anew[size:], anew[np.arange(size, 64) % size])
    later = Placebo.of(panel, scheme, exact=True).draw(Streams(3).tile(32, 64), Wanted(frozenset({"did"}), ()))
    np.testing.assert_array_equal(later.panel.variables["did"], drawn.panel.variables["did"][32:])


@pytest.mark.parametrize("scheme", ["blocks", "space"])
def test_assignments_that_cannot_be_gone_through(scheme: str) -> None:
    exact = Placebo.of(small_panel(40, 6, seed=4), scheme, exact=True)
    refuses(r"draw them: exact = false", lambda: exact.settle(Streams(1)))


def unbalanced_dose(*, switching: bool = False) -> Panel:
    """24 units in three patterns of gaps, 8 of each but the last, which is alone in its own."""
    base = small_panel(25, 6, seed=3, model="none")
    rng = np.random.default_rng(2)
    seen = np.ones((1, 6, 25), dtype=bool)
    seen[0, 2, 8:16], seen[0, 0, 16:24], seen[0, 1:3, 24] = False, False, False
    dose = rng.integers(0, 2, (1, 6, 25)) * 1.0 if switching else rng.normal(size=(1, 6, 25))
    roles = dataclasses.replace(base.roles, continuous=True)
    made = {name: np.where(seen, values, np.nan) for name, values in {**base.variables, "did": dose}.items()}
    return dataclasses.replace(base, roles=roles, observed=seen, variables=made)


@pytest.mark.parametrize("switching", [False, True])
def test_paths_of_a_dose_are_exchanged_whole_among_units_of_the_same_gaps(switching: bool) -> None:
    of = unbalanced_dose(switching=switching)
    assert of.observed is not None
    seen, own = of.observed[0], of.variables["did"][0]
    found, codes = drawn(of, "space", 200)
    anew = found.variables(codes)["did"]
    for first, last in ((0, 8), (8, 16), (16, 24)):
        kept = sorted(map(tuple, own[seen[:, first], first:last].T))
        for one in anew[:20]:
            assert sorted(map(tuple, one[seen[:, first], first:last].T)) == kept
    assert (anew[:, seen[:, 24], 24] == own[seen[:, 24], 24]).all()  # alone in its gaps
    assert found.still is not None
    assert found.still[24]
    assert len(np.unique(codes[:, 0])) > 1


def test_a_dose_that_cannot_be_exchanged_or_dated_is_refused_with_that_reason() -> None:
    base = unbalanced_dose()
    seen = np.ones((1, 6, 6), dtype=bool)
    seen[0, np.arange(6), np.arange(6)] = False
    few = {name: np.where(seen, np.nan_to_num(values[:, :, :6]), np.nan) for name, values in base.variables.items()}
    alone = Panel(base.units[:6], base.periods, few, base.roles, observed=seen)
    refuses("observed in the same periods differ", lambda: sch.scheme_of("space").on(alone))
    base = panel()
    declared = dataclasses.replace(base, roles=dataclasses.replace(base.roles, continuous=True))
    for scheme in ("time", "mixed", "blocks"):
        refuses("declared to be a dose or to switch", lambda scheme=scheme: sch.scheme_of(scheme).on(declared))
    assert sch.scheme_of("space").on(declared).count == sch.scheme_of("space").on(base).count


@pytest.mark.parametrize("text", ["mixed", "time"])
def test_nobody_can_change_the_paths_that_all_draws_share(text: str) -> None:
    paths = next(iter(sch.scheme_of(text).on(panel()).paths.values()))
    with pytest.raises(ValueError, match="read-only"):
        paths[0, 0] = 99.0
