"""Permutation tests: brute force, another program, invariances, size and coverage under simulation."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from covering import covered
from numpy.typing import NDArray
from refusals import refuses
from scipy.stats import permutation_test

from estimators import Estimates, SpatialPanel, Status, TwoWayDID
from estimators.core.hypotheses import LEVEL, linear_interval, p_value_errors, permutation_p_values
from estimators.permutation import PermutationTest, SomeTerms, inside, outside
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.dummy_regression import SunAbraham
from experiments.run.runner import run
from experiments.study import Study
from references.small_panels import CONTROLS, small_panel
from results.diagnosis.diagnose import diagnose
from sim import BadInput, Panel, Roles, Streams, Wanted, Weights
from sim.presets import Paper
from sim.schemes import scheme_of, terms_tested

Floats = NDArray[np.float64]
DID = TwoWayDID(errors=("cluster:unit",))


def eight_units(seed: int = 1, replications: int = 1, controls: tuple[str, ...] = CONTROLS) -> Panel:
    """8 units x 5 periods, three treated at two dates: 168 distinct assignments."""
    base = small_panel(8, 5, seed=seed, replications=replications, model="none")
    did = np.zeros((1, 5, 8))
    did[0, 2:, :2] = 1.0
    did[0, 3:, 5] = 1.0
    roles = Roles("y", "did", controls)
    return dataclasses.replace(base, roles=roles).with_variables({"did": did})


def dummies(panel: Panel, y: Floats, did: Floats) -> tuple[float, float]:
    """Coefficient of D and its clustered standard error without factor, by least squares with all dummies."""
    t, n = did.shape
    columns = [did.ravel(), *(panel.variables[name][0].ravel() for name in panel.roles.controls)]
    columns += [np.tile(np.eye(n)[i], t) for i in range(n)]
    columns += [np.repeat(np.eye(t)[s], n) for s in range(1, t)]
    x = np.column_stack(columns)
    beta = np.linalg.lstsq(x, y.ravel(), rcond=None)[0]
    bread = np.linalg.pinv(x.T @ x)
    e = y.ravel() - x @ beta
    scores = np.stack([(x * e[:, None])[np.arange(t * n) % n == i].sum(axis=0) for i in range(n)])
    return float(beta[0]), float(np.sqrt((bread @ scores.T @ scores @ bread)[0, 0]))


def assignments(panel: Panel) -> list[Floats]:
    """Every way to have two units treated from the third period and one from the fourth, the real one first."""
    found = []
    for pair in itertools.combinations(range(8), 2):
        for single in set(range(8)) - set(pair):
            did = np.zeros((5, 8))
            did[2:, list(pair)] = 1.0
            did[3:, single] = 1.0
            found.append(did)
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
    assert got.statistics["exact"][0] == 1.0
    assert got.statistics["draws"][0] == 167.0
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


def test_scipy_gives_the_same_p_for_two_periods() -> None:
    """With two periods and one date DID is a difference of means of changes, which scipy permutes itself."""
    rng = np.random.default_rng(4)
    for _ in range(5):
        base = small_panel(9, 2, seed=int(rng.integers(1000)), model="none")
        did = np.zeros((1, 2, 9))
        did[0, 1, [0, 3, 4, 7]] = 1.0
        panel = dataclasses.replace(base, roles=Roles("y", "did")).with_variables({"did": did})
        change = np.diff(panel.variables["y"][0], axis=0)[0]
        treated = did[0, 1] > 0
        other = permutation_test(
            (change[treated], change[~treated]),
            lambda a, b, axis: np.abs(a.mean(axis=axis) - b.mean(axis=axis)),
            vectorized=True,
            n_resamples=np.inf,
            alternative="greater",
        )
        got = PermutationTest.of(DID)(panel)
        assert got.pvalue[0, 0, 0] == pytest.approx(other.pvalue, abs=1e-12)


def test_the_scheme_time_is_refused_for_it_is_no_test() -> None:
    with pytest.raises(
        BadInput, match=r"the scheme time has no p value.*; allowed: space, .*`panelproof placebo`$"
    ) as error:
        PermutationTest(scheme="time")
    assert "time," not in error.value.problems[0].allowed


def test_spatial_terms_under_relabelling_are_those_of_a_relabelled_w() -> None:
    panel = small_panel(20, 5, seed=2)
    sdm = SpatialPanel("sdm", "direct")
    found = scheme_of("relabel").on(panel)
    order = np.random.default_rng(3).permutation(20)
    moved = sdm(found.assigned(panel, np.stack([order, order])))
    back = np.argsort(order)
    w = panel.weights["knn"].dense[np.ix_(back, back)]
    relabelled = sdm(dataclasses.replace(panel, weights={"knn": Weights.of(panel.units, w, "row", "knn")}))
    for k, term in enumerate(relabelled.terms):
        assert moved.estimate[0, k] == pytest.approx(relabelled.estimate[0, k], abs=1e-8), term


def test_any_term_of_any_estimator() -> None:
    panel = small_panel(20, 5, seed=2)
    sdm = SpatialPanel("sdm", "direct")
    test = PermutationTest.of(sdm, draws=99, terms=("w_did", "total:did", "did"))
    got = test(panel)
    assert got.terms == ("w_did", "total:did", "did")
    assert got.errors == ("permutation:space", "information")
    assert np.isfinite(got.pvalue[:, 0]).all()
    assert np.isnan(got.lower[0, 0]).all()  # not linear in the outcome
    whole = sdm(panel)
    np.testing.assert_array_equal(got.se[:, 1, 0], whole.se[:, 0, whole.terms.index("w_did")])
    relabelled = PermutationTest.of(sdm, draws=99, scheme="relabel")
    assert relabelled.layout(panel.schema).terms == ("w_did", "w_inv", "w_road", "rho")


UNTESTED = {
    "control under space": ("space", "did", "inv"),
    "rho under space": ("space", "sdm", "rho"),
    "lag of a control under mixed": ("mixed", "sdm", "w_inv"),
    "variance under mixed": ("mixed", "sdm", "sigma2"),
    "treatment under relabel": ("relabel", "sdm", "did"),
    "total effect under relabel": ("relabel", "sdm", "total:did"),
    "treatment under mediator": ("mediator:inv", "did", "did"),
    "constant": ("space", "pooled", "constant"),
}


@pytest.mark.parametrize("case", UNTESTED)
def test_terms_that_the_scheme_does_not_test_are_refused(case: str) -> None:
    scheme, kind, term = UNTESTED[case]
    settings: dict[str, tuple[tuple[str, Any], ...]] = {
        "sdm": (("model", "sdm"), ("transform", "direct")), "pooled": (("effects", ()), ("constant", True))
    }  # fmt: skip
    kinds = {"sdm": "spatial", "pooled": "did"}
    test = PermutationTest(kinds.get(kind, kind), settings.get(kind, ()), scheme, terms=(term,))
    refuses(f"does not test {term}; allowed: ", lambda: test.layout(small_panel(10, 4).schema))


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
    panel = dataclasses.replace(base, roles=dataclasses.replace(base.roles, mediators=("m",))).with_variables(
        {"m": mediator, "y": y}
    )
    inner = TwoWayDID(regressors=("did", "m", *CONTROLS), errors=("cluster:unit",))
    got = PermutationTest.of(inner, scheme="mediator", draws=199)(panel)
    assert got.terms == ("m",)
    assert got.pvalue[0, 0, 0] == 1 / 200
    assert got.lower[0, 0, 0] < got.estimate[0, 0] < got.upper[0, 0, 0]


@covered(common=[True, False], statistic=["raw", "studentised"])
def test_a_batch_is_its_panels_one_by_one(common: bool, statistic: Any) -> None:
    panel = small_panel(20, 5, seed=2, replications=4, model="none", sigma=4.0)
    test = PermutationTest.of(DID, draws=99, common=common, statistic=statistic)
    whole = test(panel, Streams(3).tile(8, 12))
    for row in range(4):
        alone = test(panel.replication(row), Streams(3).tile(8 + row, 9 + row))
        assert_same(whole.take(slice(row, row + 1)), alone)


def assert_same(one: Estimates, other: Estimates, shift: float = 0.0, scale: float = 1.0) -> None:
    np.testing.assert_allclose(other.estimate, scale * one.estimate + shift, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(one.pvalue[:, 0], other.pvalue[:, 0])
    for name in ("lower", "upper"):
        np.testing.assert_allclose(getattr(other, name)[:, 0], scale * getattr(one, name)[:, 0] + shift, rtol=1e-7)


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_effects_and_scale_do_not_matter(statistic: Any) -> None:
    panel = small_panel(20, 5, seed=2, model="none", sigma=4.0)
    test = PermutationTest.of(DID, draws=99, statistic=statistic)
    effects = np.random.default_rng(1).standard_normal(20) + np.arange(5.0)[:, None] ** 2
    y = panel.variables["y"]
    assert_same(test(panel), test(panel.with_variables({"y": y + effects})))
    assert_same(test(panel), test(panel.with_variables({"y": 7.0 * y})), scale=7.0)


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


def test_monte_carlo_errors() -> None:
    assert p_value_errors(np.array(0.05), 999) == pytest.approx(np.sqrt(0.05 * 0.95 / 999))


def test_a_failed_real_fit_is_no_test() -> None:
    panel = small_panel(20, 5, seed=2, replications=3, redrawn=True, model="none")
    did = np.array(panel.variables["did"])
    did[1] = 0.0
    got = PermutationTest.of(DID, draws=99)(panel.with_variables({"did": did}))
    assert got.status.tolist() == [Status.OK, Status.SINGULAR, Status.OK]
    assert np.isnan(got.pvalue[1, 0, 0])
    assert np.isfinite(got.pvalue[[0, 2], 0, 0]).all()


BAD = {
    "draws": ({"draws": 98}, "99 or more"),
    "scheme": ({"scheme": "spaces"}, "did you mean 'space'"),
    "term": ({"terms": ("dit",)}, "did you mean 'did'"),
    "nothing": ({"scheme": "relabel"}, "nothing that relabel assigns"),
    "weights": ({"scheme": "blocks:queen"}, "no weights 'queen' in the panel"),
    "attribute": ({"scheme": "strata:queen"}, "no attribute 'queen' in the panel"),
    "estimator": ({"estimator": "did2"}, "unknown kind"),
    "setting": ({"settings": (("error", ("iid",)),)}, "did you mean 'errors'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_bad_input(case: str) -> None:
    settings, message = BAD[case]
    refuses(message, lambda: PermutationTest(**settings)(small_panel(10, 4)))


@pytest.mark.long
@pytest.mark.parametrize(("effect", "measure", "nominal"), [(0.0, "rejection", 0.05), (0.0157, "coverage", 0.95)])
def test_size_and_coverage_under_simulation(effect: float, measure: str, nominal: float) -> None:
    """Sharp null, errors with serial correlation, treatment that clusters in rich cities: 5% within 4 MCSE; a constant
    effect is covered 95% of the time by the inverted test."""
    tests = tuple(PermutationTest.of(DID, draws=199, statistic=kind) for kind in ("raw", "studentised"))
    design = Paper(effect=effect, serial=0.5, controls="none")
    frame = diagnose(run(Study("size", design, tests, replications=1024, block=512, seed=11))).frame
    frame = frame[(frame["measure"] == measure) & (frame["sample"] != "common")]
    found = frame[frame["error"].str.startswith("permutation")].set_index("estimator")["value"]
    assert set(found.index) == {"did-space", "did-space-t"}
    assert ((found - nominal).abs() <= 4 * np.sqrt(0.05 * 0.95 / 1024)).all(), found


# An estimator with some of its terms: its own numbers, and what the other terms lack is no failure.


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


def test_the_estimator_itself_is_inside_under_its_own_name() -> None:
    some = SomeTerms.of(replace(UNIVERSAL, label="mine"), ("overall",))
    assert some.inner == replace(UNIVERSAL, label="mine")
    assert some.name == "mine"
    assert outside(*inside(UNIVERSAL), "a test") == UNIVERSAL


def test_a_study_runs_and_comes_back_from_its_settings() -> None:
    """Its fits are sound, as those of all terms are: the reference period has no error, and is none that was lost."""
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
    some = SomeTerms.of(SunAbraham(), ("event(-2)", "event(3)"))
    assert some.layout(panel.schema).targets == {"event(3)": "event(3)"}
    assert some.variables(panel.schema) == SunAbraham().variables(panel.schema)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: SomeTerms.of(TwoWayDID(), ("dog",)), "no term 'dog'"),
        (lambda: SomeTerms("nonsense"), "nonsense"),
        (lambda: SomeTerms("did", (("colour", "red"),)), "unknown setting 'colour'"),
        (lambda: SomeTerms("some-terms"), "some terms of some terms"),
    ],
)
def test_wrong_settings_are_bad_input(made: object, words: str, panel: Panel) -> None:
    refuses(words, lambda: made().layout(panel.schema))
