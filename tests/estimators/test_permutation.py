"""Permutation tests and their kernels: brute force, a fit of every draw, another program, size and coverage."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy.stats import permutation_test

from estimators import Estimates, SpatialPanel, Status, TwoWayDID
from estimators.core.hypotheses import LEVEL, linear_interval, permutation_p_values
from estimators.core.tile import TreatmentFits, TreatmentKernel, WithinTransform
from estimators.core.treatments import Fields, PathCodes, Paths
from estimators.permutation import Draws, KernelTest, PermutationTest, SomeTerms, inside, outside
from estimators.spatial.spectrum import Transform
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.dummy_regression import SunAbraham
from experiments.run.runner import run
from experiments.study import Study
from references.dense import Dense
from references.small_panels import CONTROLS, Kind, adopting, changed, small_panel
from results.diagnosis.diagnose import diagnose
from sim import Panel, Roles, Streams, Wanted, Weights
from sim.presets import Paper
from sim.schemes import absorbing_paths, scheme_of, terms_tested

Floats = NDArray[np.float64]
DID = TwoWayDID(errors=("cluster:unit",))


def eight_units(seed: int = 1, replications: int = 1, controls: tuple[str, ...] = CONTROLS) -> Panel:
    """8 units x 5 periods, three treated at two dates: 168 distinct assignments."""
    base = small_panel(8, 5, seed=seed, replications=replications, model="none")
    return adopting(replace(base, roles=Roles("y", "did", controls)), (2, slice(2)), (3, 5))


def dummies(panel: Panel, y: Floats, did: Floats) -> tuple[float, float]:
    """Coefficient of D and its clustered standard error without factor, by least squares with all dummies."""
    t, n = did.shape
    controls = [panel.variables[name][0].ravel() for name in panel.roles.controls]
    fit = Dense(y.ravel(), did.ravel(), *controls, np.tile(np.eye(n), (t, 1)), np.repeat(np.eye(t)[:, 1:], n, axis=0))
    parts = fit.parts(np.arange(t * n) % n)[:, 0]
    return float(fit.slopes[0]), float(np.sqrt(parts @ parts))


def assignments(panel: Panel) -> list[Floats]:
    """Every way to have two units treated from the third period and one from the fourth, the real one first."""
    found = []
    for pair in itertools.combinations(range(8), 2):
        for single in set(range(8)) - set(pair):
            found.append(adopting(panel, (2, list(pair)), (3, single)).variables["did"][0])
    real = panel.variables["did"][0]
    return [real, *(did for did in found if (did != real).any())]


def brute_force(panel: Panel, effect: float, studentised: bool, every: list[Floats]) -> float:
    """p of the hypothesis that a constant effect is `effect`."""
    y = panel.variables["y"][0] - effect * panel.variables["did"][0]
    fits = np.array([dummies(panel, y, did) for did in every])
    t = np.abs(fits[:, 0] / fits[:, 1] if studentised else fits[:, 0])
    return float((t >= t[0] * (1 - 1e-9)).mean())


@covered(statistic=["raw", "studentised"], controls=[CONTROLS, ()])
def test_eight_units_are_enumerated(statistic: Any, controls: tuple[str, ...]) -> None:
    panel = eight_units(controls=controls)
    every = assignments(panel)
    assert len(every) == 168
    got = PermutationTest.of(DID, statistic=statistic, draws=168)(panel)
    assert (got.statistics["exact"][0], got.statistics["draws"][0]) == (1.0, 167.0)
    assert got.statistics["mcse:did"][0] == 0.0
    assert got.pvalue[0, 0, 0] == pytest.approx(brute_force(panel, 0.0, statistic == "studentised", every), abs=1e-12)
    assert got.estimate[0, 0] == pytest.approx(dummies(panel, panel.variables["y"][0], every[0])[0], abs=1e-11)


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_interval_ends_are_where_the_brute_force_test_turns(statistic: Any) -> None:
    panel = eight_units(3)
    every, studentised = assignments(panel), statistic == "studentised"
    got = PermutationTest.of(DID, statistic=statistic, draws=200)(panel)
    for end, side in ((got.lower[0, 0, 0], -1.0), (got.upper[0, 0, 0], 1.0)):
        step = 1e-6 * abs(got.estimate[0, 0] - end)
        assert brute_force(panel, end + side * step, studentised, every) <= LEVEL
        assert brute_force(panel, end - side * step, studentised, every) > LEVEL


@pytest.mark.parametrize("every", [False, True])
def test_scores_that_cancel_leave_no_studentised_test(every: bool) -> None:
    """All units of one of two clusters are treated at one date: the variance is rounding, whatever the outcome."""
    base = replace(small_panel(8, 5, seed=1, model="none"), roles=Roles("y", "did"))
    panel = replace(adopting(base, (2, slice(2))), attributes={"half": np.array(list("aabbbbbb"))})
    pair = TwoWayDID(errors=("cluster:half",))
    found = PermutationTest.of(pair, draws=99, statistic="studentised", fit_every_draw=every)(panel)
    np.testing.assert_array_equal([found.pvalue, found.lower, found.upper], np.nan)


def test_scipy_gives_the_same_p_for_two_periods() -> None:
    """With two periods and one date DID is a difference of means of changes, which scipy permutes itself."""
    rng = np.random.default_rng(4)
    for _ in range(5):
        base = small_panel(9, 2, seed=int(rng.integers(1000)), model="none")
        panel = adopting(replace(base, roles=Roles("y", "did")), (1, [0, 3, 4, 7]))
        change, treated = np.diff(panel.variables["y"][0], axis=0)[0], panel.variables["did"][0, 1] > 0
        other = permutation_test(
            (change[treated], change[~treated]), lambda a, b, axis: np.abs(a.mean(axis=axis) - b.mean(axis=axis)),
            vectorized=True, n_resamples=np.inf, alternative="greater",
        )  # fmt: skip
        got = PermutationTest.of(DID)(panel)
        assert got.pvalue[0, 0, 0] == pytest.approx(other.pvalue, abs=1e-12)


def test_the_scheme_time_is_refused_for_it_is_no_test() -> None:
    said = r"scheme time has no p value.*; allowed: space, .*`panelproof placebo`$"
    assert "time," not in refuses(said, PermutationTest, scheme="time").problems[0].allowed


def test_spatial_terms_under_relabelling_are_those_of_a_relabelled_w() -> None:
    panel = small_panel(20, 5, seed=2)
    sdm = SpatialPanel("sdm", "direct")
    found = scheme_of("relabel").on(panel)
    order = np.random.default_rng(3).permutation(20)
    moved = sdm(found.assigned(panel, np.stack([order, order])))
    back = np.argsort(order)
    w = panel.weights["knn"].dense[np.ix_(back, back)]
    relabelled = sdm(replace(panel, weights={"knn": Weights.of(panel.units, w, "row", "knn")}))
    for k, term in enumerate(relabelled.terms):
        assert moved.estimate[0, k] == pytest.approx(relabelled.estimate[0, k], abs=1e-8), term


def test_any_term_of_any_estimator() -> None:
    panel = small_panel(20, 5, seed=2)
    sdm = SpatialPanel("sdm", "direct")
    got = PermutationTest.of(sdm, draws=99, terms=("w_did", "total:did", "did"))(panel)
    assert (got.terms, got.errors) == (("w_did", "total:did", "did"), ("permutation:space", "information"))
    assert np.isfinite(got.pvalue[:, 0]).all()
    assert np.isnan(got.lower[0, 0]).all()  # not linear in the outcome
    whole = sdm(panel)
    np.testing.assert_array_equal(got.se[:, 1, 0], whole.se[:, 0, whole.terms.index("w_did")])
    relabelled = PermutationTest.of(sdm, draws=99, scheme="relabel")
    assert relabelled.layout(panel.schema).terms == ("w_did", "w_inv", "w_road", "rho")


@pytest.mark.parametrize(("scheme", "kind", "term"), [
    ("space", "did", "inv"), ("space", "sdm", "rho"), ("mixed", "sdm", "w_inv"), ("mixed", "sdm", "sigma2"),
    ("relabel", "sdm", "did"), ("relabel", "sdm", "total:did"), ("mediator:inv", "did", "did"),
    ("space", "pooled", "constant"),
])  # fmt: skip
def test_terms_that_the_scheme_does_not_test_are_refused(scheme: str, kind: str, term: str) -> None:
    settings: dict[str, tuple[str, tuple[tuple[str, Any], ...]]] = {
        "did": ("did", ()), "sdm": ("spatial", (("model", "sdm"), ("transform", "direct"))),
        "pooled": ("did", (("effects", ()), ("constant", True))),
    }  # fmt: skip
    test = PermutationTest(*settings[kind], scheme, terms=(term,))
    refuses(f"does not test {term}; allowed: ", test.layout, small_panel(10, 4).schema)


def test_terms_that_a_scheme_tests() -> None:
    schema = small_panel(10, 4).schema
    layout = SpatialPanel("sdm", "direct").layout(schema)
    own = {"{}", "w_{}", "direct:{}", "indirect:{}", "total:{}"}
    expected = {
        "strata:province": {term.format("did") for term in own},
        "time": {term.format("did") for term in own},
        "mediator:inv": {term.format("inv") for term in own},
        "relabel": {"rho", *(f"{part}{name}" for part in ("w_", "indirect:") for name in ("did", *CONTROLS))},
    }
    for scheme, terms in expected.items():
        assert set(terms_tested(scheme_of(scheme), layout.terms, layout.targets, schema.roles)) == terms, scheme


def test_the_mediators_coefficient_under_exchanged_mediators() -> None:
    base = small_panel(20, 5, seed=2, model="none")
    mediator = np.random.default_rng(1).standard_normal((1, 5, 20))
    y = base.variables["y"] + 2.0 * mediator
    panel = replace(base, roles=replace(base.roles, mediators=("m",))).with_variables({"m": mediator, "y": y})
    inner = TwoWayDID(regressors=("did", "m", *CONTROLS), errors=("cluster:unit",))
    got = PermutationTest.of(inner, scheme="mediator", draws=199)(panel)
    assert (got.terms, got.pvalue[0, 0, 0]) == (("m",), 1 / 200)
    assert got.lower[0, 0, 0] < got.estimate[0, 0] < got.upper[0, 0, 0]
    assert got.statistics["mcse:m"][0] == pytest.approx(np.sqrt(1 / 200 * (1 - 1 / 200) / 199))


def test_intervals_of_any_slopes_are_the_first_rejected_values() -> None:
    """Against a fine search, slopes within and beyond one and the ties of repeated assignments among them; without
    slopes two of the draws are none."""
    rng = np.random.default_rng(6)
    for spread in (0.4, 1.5, 0.0):
        for _ in range(20):
            real, drawn, slope = rng.standard_normal(), rng.standard_normal(99), spread * rng.standard_normal(99)
            drawn[:3], slope[:3] = (real, 1.0) if spread else (np.nan, 0.0)
            drawn[3], slope[3] = (-real, -1.0) if spread else (np.inf, 0.0)

            def rejected(c: float, real: float = real, drawn: Floats = drawn, slope: Floats = slope) -> bool:
                p = permutation_p_values(np.array([real - c]), (drawn - c * slope)[None])[0]
                return bool(p <= LEVEL)

            ends = linear_interval(np.array([real]), drawn[None], slope[None])
            for end, side in ((float(ends[0][0]), -1.0), (float(ends[1][0]), 1.0)):
                distance = abs(end - real) if np.isfinite(end) else 200.0
                grid = real + side * np.linspace(1e-4, 1 - 1e-7, 400) * distance
                assert not any(rejected(c) for c in grid)
                if np.isfinite(end):
                    assert rejected(end + side * 1e-7 * distance)


def test_an_estimate_of_zero_is_larger_than_no_draw() -> None:
    """A difference of counts that is 0 but for rounding, which the order of the units decides."""
    drawn = np.array([[0.0, 0.3, -0.2, 0.1], [0.2, np.nan, 0.0, -2.0], [np.inf, 0.0, 0.5, 0.4]])
    assert permutation_p_values(np.array([1e-17, -1e-12, 1e-17]), drawn).tolist() == [1.0, 1.0, 1.0]
    assert permutation_p_values(np.array([1e-8, 1e-8, 1e-8]), drawn).tolist() == [0.8, 0.8, 0.8]


def test_a_failed_real_fit_is_no_test() -> None:
    panel = small_panel(20, 5, seed=2, replications=3, redrawn=True, model="none")
    got = PermutationTest.of(DID, draws=99)(changed(panel, "did", 1, 0.0))
    assert got.status.tolist() == [Status.OK, Status.SINGULAR, Status.OK]
    assert np.isnan(got.pvalue[1, 0, 0])
    assert np.isfinite(got.pvalue[[0, 2], 0, 0]).all()


@pytest.mark.parametrize(("settings", "message"), [
    ({"draws": 98}, "99 or more"), ({"scheme": "spaces"}, "did you mean 'space'"),
    ({"terms": ("dit",)}, "did you mean 'did'"), ({"scheme": "relabel"}, "nothing that relabel assigns"),
    ({"scheme": "blocks:queen"}, "no weights 'queen' in the panel"),
    ({"scheme": "strata:queen"}, "no attribute 'queen' in the panel"), ({"estimator": "did2"}, "unknown kind"),
    ({"settings": (("error", ("iid",)),)}, "did you mean 'errors'"),
])  # fmt: skip
def test_bad_settings_are_bad_input(settings: dict[str, Any], message: str) -> None:
    refuses(message, lambda: PermutationTest(**settings)(small_panel(10, 4)))


@pytest.mark.long
@pytest.mark.parametrize(("effect", "measure", "nominal"), [(0.0, "rejection", 0.05), (0.0157, "coverage", 0.95)])
def test_size_and_coverage_under_simulation(effect: float, measure: str, nominal: float) -> None:
    tests = tuple(PermutationTest.of(DID, draws=199, statistic=kind) for kind in ("raw", "studentised"))
    design = Paper(effect=effect, serial=0.5, controls="none")
    frame = diagnose(run(Study("size", design, tests, replications=1024, block=512, seed=11))).frame
    frame = frame[(frame["measure"] == measure) & (frame["sample"] != "common")]
    found = frame[frame["error"].str.startswith("permutation")].set_index("estimator")["value"]
    assert set(found.index) == {"did-space", "did-space-t"}
    assert ((found - nominal).abs() <= 4 * np.sqrt(0.05 * 0.95 / 1024)).all(), found


UNIVERSAL = CallawaySantAnna(controls="not-yet", base="universal", window=(-2, 3))


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Eight draws of the published calendar."""
    design, streams = Paper(), Streams(4, "terms")
    wanted = Wanted(frozenset(design.schema.variables), ())
    return design.settle(streams).draw(streams.tile(0, 8), wanted).panel


def test_numbers_are_those_of_the_estimator(panel: Panel) -> None:
    whole, some = UNIVERSAL(panel), SomeTerms.of(UNIVERSAL, ("overall", "event(2)"))(panel)
    assert some.terms == ("overall", "event(2)")
    for k, term in enumerate(some.terms):
        np.testing.assert_array_equal(some.estimate[:, k], whole.estimate[:, whole.terms.index(term)])
        np.testing.assert_array_equal(some.se[:, :, k], whole.se[:, :, whole.terms.index(term)])


def test_a_study_runs_and_comes_back_from_its_settings() -> None:
    some = SomeTerms.of(UNIVERSAL, ("event(2)",))
    study = Study("terms", Paper(), (some,), replications=64, block=64, seed=2)
    assert Study.from_settings(study.settings).estimators == (some,)
    statuses = [next(iter(run(one).blocks(0))).estimates[UNIVERSAL.name].status
                for one in (study, replace(study, estimators=(UNIVERSAL,)))]  # fmt: skip
    assert (statuses[0] == Status.OK).all()
    assert (statuses[1] == Status.OK).all()


def test_a_term_without_an_estimate_is_no_success(panel: Panel) -> None:
    """No city is seen 40 periods after adoption."""
    far = replace(UNIVERSAL, window=(0, 40))
    assert (far(panel).status == Status.OK).all()
    assert (SomeTerms.of(far, ("overall",))(panel).status == Status.OK).all()
    assert (SomeTerms.of(far, ("event(40)",))(panel).status == Status.SINGULAR).all()


def test_targets_and_variables_are_the_estimators(panel: Panel) -> None:
    mine = replace(UNIVERSAL, label="mine")
    some = SomeTerms.of(mine, ("overall",))
    assert (some.inner, some.name, outside(*inside(UNIVERSAL), "a test")) == (mine, "mine", UNIVERSAL)
    some = SomeTerms.of(SunAbraham(), ("event(-2)", "event(3)"))
    assert some.layout(panel.schema).targets == {"event(3)": "event(3)"}
    assert some.variables(panel.schema) == SunAbraham().variables(panel.schema)


@pytest.mark.parametrize(("made", "words"), [
    (lambda: SomeTerms.of(TwoWayDID(), ("dog",)), "no term 'dog'"), (lambda: SomeTerms("nonsense"), "nonsense"),
    (lambda: SomeTerms("did", (("colour", "red"),)), "unknown setting 'colour'"),
    (lambda: SomeTerms("some-terms"), "some terms of some terms"),
])  # fmt: skip
def test_wrong_settings_are_bad_input(made: object, words: str, panel: Panel) -> None:
    refuses(words, lambda: made().layout(panel.schema))


N, T = 30, 7


def did_kernel(panel: Panel, error: str = "cluster:unit", **settings: Any) -> TreatmentKernel:
    kernel = TwoWayDID(errors=(error,), **settings).treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    return kernel


def sdm_kernel(panel: Panel, **settings: Any) -> TreatmentKernel:
    kernel = SpatialPanel("sdm", errors=("hessian",), **settings).treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    return kernel


def assert_same_rows(found: TreatmentFits, wanted: TreatmentFits, rows: Any, draws: Any = slice(None)) -> None:
    """Bit for bit."""
    for name in ("estimate", "se"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name)[rows, draws])


def did_placebo(panel: Panel, given: NDArray[Any], **settings: Any) -> TreatmentFits:
    """`TwoWayDID` of a panel's outcomes with each of B treatments in place of its own."""
    return did_kernel(panel, **settings).assign(given).fit(panel.variables["y"])


def sdm_placebo(panel: Panel, given: NDArray[Any], **settings: Any) -> TreatmentFits:
    """The same of `SpatialPanel("sdm")`."""
    return sdm_kernel(panel, **settings).assign(given).fit(panel.variables["y"])


def calendars(draws: int, n: int = N, t: int = T, seed: int = 0) -> NDArray[np.intp]:
    """First treated periods with other numbers of treated units in every draw, 0 and T included."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.1, 0.9, (draws, 1))
    return np.where(rng.random((draws, n)) < share, rng.integers(0, t, (draws, n)), t).astype(np.intp)


def paths(first: NDArray[np.intp], t: int = T) -> Floats:
    return (np.arange(t)[:, None] >= first[:, None, :]).astype(float)


def kinds_of_treatment() -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(5)
    switching = rng.random((12, T, N)) < 0.3
    dose = 50 + 3 * rng.standard_normal((12, T, N))
    return {"absorbing": calendars(12), "absorbing-0/1": paths(calendars(12)), "switching": switching, "dose": dose}


def with_treatments(panel: Panel, given: NDArray[np.generic]) -> Panel:
    """One outcome under each treatment, as replications of a panel."""
    whole = paths(given.astype(np.intp), len(panel.periods)) if given.ndim == 2 else given.astype(float)
    (name,) = [panel.roles.outcome]
    assert name is not None
    return panel.with_variables({"did": whole, name: np.repeat(panel.variables[name], len(whole), axis=0)})


def assert_equal(fits: TreatmentFits, row: int, expected: Estimates, rtol: float = 1e-10) -> None:
    at = [expected.terms.index(term) for term in fits.terms]
    scale = np.abs(expected.se[:, 0, at])
    assert (np.abs(fits.estimate[row] - expected.estimate[:, at]) < rtol * scale).all()
    np.testing.assert_allclose(fits.se[row], expected.se[:, 0, at], rtol=rtol)
    np.testing.assert_array_equal(fits.status[row], expected.status)


@covered(treatment=kinds_of_treatment(), missing=[0, 19], error=["cluster:unit", "cluster:province"])
def test_did_equals_a_fit_of_every_draw(treatment: str, missing: int, error: str) -> None:
    panel, given = small_panel(N, T, seed=3, replications=2, missing=missing), kinds_of_treatment()[treatment]
    fits = did_placebo(panel, given, error=error)
    assert fits.estimate.shape == fits.se.shape == (2, 12, 1)
    for row in range(2):
        expected = TwoWayDID(errors=(error,))(with_treatments(panel.replication(row), given))
        assert_equal(fits, row, expected, 1e-11)
        only = did_kernel(panel, error=error).assign(given).estimates(panel.variables["y"])
        assert (np.abs(only - fits.estimate) <= 1e-12 * fits.se).all()  # a share of the error: b may be near zero


@covered(
    weights=["knn", "contiguity", "inverse-distance", "spectral", "uneven"],
    transform=["direct", "lee-yu"],
    treatment=["absorbing", "switching", "dose"],
)
def test_sdm_equals_a_fit_of_every_draw(weights: Kind, transform: Transform, treatment: str) -> None:
    panel, given = small_panel(N, T, seed=8, replications=2, weights=weights), kinds_of_treatment()[treatment]
    if transform == "lee-yu" and not panel.weights[weights].row_stochastic:
        own = SpatialPanel("sdm", transform).for_redrawn_treatments(panel.schema)
        refuses("needs a row-stochastic W", lambda: own(with_treatments(panel.replication(0), given)))
        return
    fits = sdm_placebo(panel, given, weights=weights, transform=transform)
    for row in range(2):
        one = with_treatments(panel.replication(row), given)
        assert_equal(fits, row, SpatialPanel("sdm", transform, errors=("hessian",))(one))


def test_bits_do_not_depend_on_the_batch() -> None:
    panel = small_panel(N, T, seed=12, replications=3)
    own = np.where(np.arange(N) < N // 3, 1 + np.arange(N) % (T - 1), T)
    first = np.stack([own[g.permutation(N)] for g in Streams(3).tile(0, 600).each("permutation")])
    for fit in (did_placebo, sdm_placebo):
        whole = fit(panel, first)
        for start, stop in ((0, 1), (1, 3), (3, 70), (70, 333), (333, 600)):
            assert_same_rows(fit(panel, first[start:stop]), whole, slice(None), slice(start, stop))
        assert_same_rows(fit(panel.replication(2), first), whole, [2])


def test_draws_without_an_answer_are_nan_and_leave_the_others_alone() -> None:
    panel, first = small_panel(N, T, seed=13), calendars(6)
    nobody, everybody = np.full((1, N), T), np.full((1, N), 2)
    broken = np.concatenate([nobody, first, everybody])
    copied = np.concatenate([panel.variables["inv"] * 2 + 3, paths(first)])
    for fit in (did_placebo, sdm_placebo):
        expected = fit(panel, first)
        for given, bad in ((broken, [0, 7]), (copied, [0])):
            fits = fit(panel, given)
            assert (fits.status[0, bad] == Status.SINGULAR).all()
            assert np.isnan(fits.estimate[0, bad][:, :2]).all()
            good = np.delete(np.arange(len(given)), bad)
            assert (fits.status[0, good] == Status.OK).all()
            np.testing.assert_allclose(fits.se[0, good], expected.se[0], rtol=1e-10)
        alone = fit(panel, nobody)
        assert (alone.status == Status.SINGULAR).all()


def test_a_draw_whose_lag_the_controls_use_up_has_no_answer() -> None:
    panel = small_panel(N, T, seed=4)
    given = paths(calendars(3, seed=2))
    noise = 1e-6 * np.random.default_rng(3).standard_normal((1, T, N))  # some 1e-12 of the lag is left
    lagged = next(iter(panel.weights.values())).lag(given[:1]) + noise
    found = sdm_placebo(panel.with_variables({"inv": lagged}), given)
    assert np.isnan(found.estimate[0, 0]).all()
    assert np.isfinite(found.estimate[0, 1:]).all()


def test_tables_of_many_dates_equal_sums_over_paths() -> None:
    first = calendars(5, seed=9)
    drawn, whole = PathCodes(absorbing_paths(T), first), paths(first)
    fields = np.random.default_rng(1).standard_normal((3, T, N))
    expected = np.einsum("btn,ktn->bk", whole, fields)
    np.testing.assert_allclose(drawn.meet(Fields(fields)), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(drawn.total, whole.sum(axis=(1, 2)))
    mask = (np.random.default_rng(2).random((T, N)) < 0.9) * 1.0
    for seen, found in ((np.ones((T, N)), drawn), (mask, Paths(whole * mask, WithinTransform(0, mask)))):
        squares = [np.square(d[seen > 0] - d[seen > 0].mean()).sum() for d in whole]
        np.testing.assert_allclose(found.around, squares, rtol=1e-12)
    np.testing.assert_array_equal(drawn.whole(), whole)
    at = whole - whole.mean(axis=1, keepdims=True)
    for b in range(5):
        dates = first[b]
        np.testing.assert_allclose(drawn.kappa[np.ix_(dates, dates)], at[b].T @ at[b], atol=1e-13)


@covered(kind=["switching", "dose"], missing=[0, 19])
def test_paths_by_codes_are_whole_treatments(kind: str, missing: int) -> None:
    rng = np.random.default_rng(8)
    own = rng.standard_normal((9, T)) if kind == "dose" else (rng.random((9, T)) < 0.4).astype(float)
    codes = rng.integers(0, 10, (11, N))
    drawn = PathCodes(np.concatenate([own, np.zeros((1, T))]), codes)
    panel = small_panel(N, T, seed=15, replications=2, missing=missing)
    np.testing.assert_array_equal(drawn.whole()[3, :, 4], drawn.paths[codes[3, 4]])
    kernels = (did_kernel, sdm_kernel) if not missing else (did_kernel,)
    for maker in kernels:
        one, other = (maker(panel).assign(given) for given in (drawn, drawn.whole()))
        found, whole = one.fit(panel.variables["y"]), other.fit(panel.variables["y"])
        np.testing.assert_allclose(found.estimate, whole.estimate, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.se, whole.se, rtol=1e-8)
        np.testing.assert_array_equal(found.status, whole.status)


@pytest.mark.parametrize("maker", [did_kernel, sdm_kernel], ids=["did", "sdm"])
def test_a_kernel_takes_other_paths_after_as_many(maker: Any) -> None:
    panel, codes = small_panel(N, T, seed=15), calendars(4)
    later = np.concatenate([np.tri(T)[::-1], np.zeros((1, T))])
    assert later.shape == absorbing_paths(T).shape
    kernel, y = maker(panel), panel.variables["y"]
    kernel.assign(PathCodes(absorbing_paths(T), codes)).fit(y)
    found = kernel.assign(PathCodes(later, codes)).fit(y)
    np.testing.assert_array_equal(found.estimate, maker(panel).assign(PathCodes(later, codes)).fit(y).estimate)


def test_bad_input_is_one_clear_line() -> None:
    panel, first = small_panel(N, T, seed=14), calendars(3)
    for given, words in (
        (first + 2001, "0 to 6, 7 = never"),
        (first - 1, "first treated periods from -1 to 6"),
        (first[:, :-1], r"integers \(B, 30\)"),
        (first.astype(float), r"treatments \(B, 7, 30\)"),
        (first[:0], "shape"),
        (np.where(paths(first) > 0, np.nan, 0.0), "finite numbers"),
    ):
        for fit in (did_placebo, sdm_placebo):
            refuses(words, fit, panel, given)
    for error in ("hc1", "iid", "cluster:period"):
        assert TwoWayDID(errors=(error,)).treatment_kernel(panel, ("did",), errors=True) is None
    refuses("no variable 'rain'", lambda: did_placebo(panel, first, regressors=("did", "rain")))
    assert SpatialPanel("sdm").treatment_kernel(small_panel(N, T, missing=9), ("did",), errors=False) is None
    refuses("no weights 'queen'", lambda: sdm_placebo(panel, first, weights="queen"))
    refuses(r"\(R, 7, 30\)", lambda: did_kernel(panel).assign(first).fit(panel.variables["y"][0]))
    alone = Panel(panel.units, panel.periods, dict(panel.variables), panel.roles,
                  {"country": np.zeros(N)}, weights=dict(panel.weights))  # fmt: skip
    refuses("2 or more clusters", lambda: did_placebo(alone, first, error="cluster:country"))


@pytest.mark.long
def test_placebo_tests_have_their_size_under_the_sharp_null() -> None:
    """5%-tests of 1,000 (DID) and 400 (SDM) null outcomes, each against 199 and 99 permutations: the own statistic,
    first, is among the largest 5% in 5% of the outcomes, and its rank is uniform."""
    panel = Paper(effect=0.0, spillover="paper").draw(Streams(4, "size").tile(0, 1000)).panel
    did, y = panel.variables["did"][0], panel.variables["icr"]
    own = np.where(did.any(axis=0), did.argmax(axis=0), len(did))
    draws = np.stack([own, *(own[g.permutation(own.size)] for g in Streams(5).tile(0, 199).each("placebo"))])
    for kernel, count, outcomes, term in ((did_kernel(panel), 200, 1000, "did"),
                                          (sdm_kernel(panel, transform="lee-yu"), 100, 400, "total:did")):  # fmt: skip
        fits = kernel.assign(draws[:count]).fit(y[:outcomes])
        t = np.abs(fits.estimate / fits.se)[:, :, fits.terms.index(term)]
        assert t.shape[0] == outcomes
        pvalue = (t >= t[:, :1]).mean(axis=1)
        assert abs(np.mean(pvalue <= 0.05) - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / outcomes)
        assert abs(pvalue.mean() - 0.5) < 3.5 * np.sqrt(1 / 12 / outcomes) + 0.5 / count


def assert_kernel_is_every_fit(panel: Panel, **settings: Any) -> None:
    """The p values, and of raw statistics the intervals, of the quick way and of fits of every draw, the last alone."""
    fast, slow = (PermutationTest.of(DID, draws=129, fit_every_draw=how, **settings)(panel) for how in (False, True))
    for name in ("pvalue", "lower", "upper") if settings["statistic"] == "raw" else ("pvalue",):
        np.testing.assert_allclose(getattr(fast, name)[:, 0, 0], getattr(slow, name)[:, 0, 0], rtol=1e-9, err_msg=name)


@covered(statistic=["raw", "studentised"],
         scheme=["space", "strata:province", "blocks", "blocks:knn:3", "mixed", "mixed:restricted"])  # fmt: skip
def test_the_kernel_agrees_with_fitting_every_draw(scheme: str, statistic: Any) -> None:
    panel = small_panel(30, 6, seed=2, replications=3, model="none", sigma=3.0)
    assert_kernel_is_every_fit(panel, scheme=scheme, statistic=statistic)


@covered(statistic=["raw", "studentised"], kind=["switching", "dose"])
def test_the_kernel_takes_any_treatment(kind: str, statistic: Any) -> None:
    rng = np.random.default_rng(3)
    base = small_panel(24, 6, seed=2, replications=2, model="none", sigma=3.0)
    did = rng.standard_normal((1, 6, 24)) if kind == "dose" else (rng.random((1, 6, 24)) < 0.3).astype(float)
    assert_kernel_is_every_fit(base.with_variables({"did": did}), statistic=statistic)


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_the_kernel_of_the_durbin_model_agrees_with_fitting_every_draw(statistic: Any) -> None:
    panel = small_panel(20, 5, seed=2, replications=2, sigma=2.0)
    sdm = SpatialPanel("sdm", "direct", errors=("hessian",))
    terms = ("did", "w_did", "direct:did", "total:did")
    fast = PermutationTest.of(sdm, draws=99, terms=terms, statistic=statistic)(panel)
    slow = PermutationTest.of(sdm, draws=99, terms=terms, statistic=statistic, fit_every_draw=True)(panel)
    np.testing.assert_array_equal(fast.pvalue[:, 0], slow.pvalue[:, 0])


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_the_kernel_of_the_durbin_model_agrees_for_rho(statistic: Any) -> None:
    """No scheme that assigns the treatment tests rho; the kernel that placebo studies share has it all the same."""
    panel = small_panel(20, 5, seed=2, replications=2, sigma=2.0)
    sdm = SpatialPanel("sdm", "direct", errors=("hessian",))
    draws = Draws.of(panel.replication(0), "space", 99, 0)
    kernel = sdm.treatment_kernel(panel, ("did", "rho"), errors=True)
    assert kernel is not None
    assert not kernel.assign(draws.treatments()).linear  # so that a test has no interval
    columns = (kernel.terms.index("did"), kernel.terms.index("rho"))
    test = KernelTest(draws, kernel.assign(draws.treatments()), panel.variables["did"], columns, statistic, False)
    for row in range(2):
        fits = sdm(draws.randomisation.assigned(panel.replication(row), draws.treatments().codes))
        rho = fits.terms.index("rho")
        values = fits.estimate[:, rho] / (fits.se[:, 0, rho] if statistic == "studentised" else 1.0)
        assert test.test(panel.variables["y"]).pvalue[row, 1] == permutation_p_values(values[:1], values[None, 1:])[0]


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_draws_whose_search_did_not_converge_count_as_extreme(statistic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers are finite: the status alone tells."""
    panel = small_panel(20, 5, seed=2, sigma=2.0)
    kernel = SpatialPanel("sdm", "direct", errors=("hessian",)).treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    draws = Draws.of(panel, "space", 99, 0)
    columns = (kernel.terms.index("did"),)
    test = KernelTest(draws, kernel.assign(draws.treatments()), panel.variables["did"], columns, statistic, False)
    y, fit = panel.variables["y"], type(test.assigned).fit
    fits = test.assigned.fit(y)
    values = fits.estimate[0, :, 0] / (fits.se[0, :, 0] if statistic == "studentised" else 1.0)
    lost = 1 + np.flatnonzero(np.abs(values[1:]) < np.abs(values[0]))[:7]
    assert len(lost) == 7

    def unsettled(self: Any, outcomes: Floats) -> Any:
        found = fit(self, outcomes)
        status = found.status.copy()
        status[:, lost] = Status.NOT_CONVERGED
        return dataclasses.replace(found, status=status)

    before = test.test(y).pvalue[0, 0]
    monkeypatch.setattr(type(test.assigned), "fit", unsettled)
    assert test.test(y).pvalue[0, 0] == pytest.approx(before + 7 / 100)


@dataclasses.dataclass(frozen=True, slots=True)
class Halved(TwoWayDID):
    """A user's variant of the DID, whose fits are no longer those of its kernel."""

    kind: ClassVar[str] = "halved"

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        found = TwoWayDID.__call__(self, panel, streams)
        return dataclasses.replace(found, estimate=found.estimate / 2 + 0.5)


def test_a_subclass_that_fits_otherwise_is_fitted_in_every_draw() -> None:
    panel = small_panel(20, 5, seed=2, model="none", sigma=4.0)
    halved = Halved(errors=("cluster:unit",))
    found, fitted, plain = (PermutationTest.of(inner, draws=99, fit_every_draw=slow)(panel).pvalue[0, 0, 0]
                            for inner, slow in ((halved, False), (halved, True), (DID, False)))  # fmt: skip
    assert found == fitted != plain
