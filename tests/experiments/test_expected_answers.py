"""Built-in studies: what they say they expect holds on few replications, and each is answered on one screen; claims;
and what is printed on a real panel is what they prove: the same kinds of estimators, the same bits."""

from __future__ import annotations

import itertools
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import full_sizes
import numpy as np
import pytest
from closed_forms import Covariances, did_variance, minimum_detectable_effect, power_at
from commands import here, words
from made_cities import WHOLE, real_panel
from refusals import refuses_all
from reports import printed
from scipy import stats

from estimators import (
    DemeanedSyntheticControl,
    Estimates,
    InteractiveEffects,
    Status,
    SyntheticDID,
    TwoWayDID,
    estimators,
    find_estimator,
)
from estimators.core.estimator import Estimator
from estimators.synthetic.imputed_effects import FEWEST_DRAWS
from experiments.estimation import estimate
from experiments.run.runner import run
from experiments.study import Study, builtin_names, builtin_study
from experiments.tables import regressions
from experiments.tables.ledger import Ledger
from results.diagnosis.claims import Claim
from results.diagnosis.diagnose import diagnose
from results.report.grids import ReportFacts
from results.store import ZarrStore
from results.verdict.answer import answer
from sim import Streams, Wanted
from sim.presets import TREATED, Paper
from sim.real_panels import Observed
from sim.world.parts.mediators import structural_sd

Found = dict[tuple[object, ...], tuple[float, float]]


def measured(study: Study, replications: int) -> Found:
    """(dials..., estimator, term, measure, error type) -> value and Monte Carlo error."""
    frame = diagnose(run(study.resized(replications=replications))).frame
    keys = [*dict(study.grid), "estimator", "term", "measure", "error"]
    named = frame[keys].astype(object).where(frame[keys].notna(), None)
    columns = zip(*(named[key] for key in keys), strict=True)
    return dict(zip(columns, zip(frame["value"], frame["mcse"], strict=True), strict=True))


@pytest.mark.parametrize("name", builtin_names())
def test_a_study_says_what_it_asks_what_it_expects_and_how_long_it_takes(name: str) -> None:
    study = builtin_study(name)
    assert study.question.endswith("?")
    assert study.expected.endswith(".")
    amount, unit = study.cost.split()
    assert float(amount) > 0
    assert unit in {"s", "min"}
    shown = words(here("studies", name).out)
    for said in (study.question, f"Expected: {study.expected}", f"{study.cost} on two cores"):
        assert words(said) in shown
    assert {*re.findall(r"(\d+) treated cities", study.expected)} <= {str(TREATED)}


def test_power_and_mde_are_those_of_the_closed_form() -> None:
    study = builtin_study("power")
    found = measured(study, 512)
    grid = dict(study.grid)
    assert "Burlig" in study.expected
    for units in grid["units"]:
        for periods in grid["periods"]:
            for serial in grid["errors.serial"]:
                half, pre = units // 2, periods // 2
                errors = Covariances.autoregressive(1.0, serial, pre, periods - pre)
                variance = did_variance(half, units - half, pre, periods - pre, errors)
                powers = []
                for size in grid["effect.size"]:
                    value, mcse = found[size, units, periods, serial, "did", "did", "rejection", "cluster:unit"]
                    wanted = power_at(size, variance, dof=units - 1)
                    assert abs(value - wanted) < 4 * max(mcse, np.sqrt(wanted * (1 - wanted) / 512))
                    powers.append((size, value))
                detected = detectable(powers[1:], units - 1)
                assert detected is None or abs(detected / minimum_detectable_effect(variance, dof=units - 1) - 1) < 0.15


def detectable(powers: list[tuple[float, float]], dof: int) -> float | None:
    """The effect with power .8 between two effects, linear in quantiles of t; None outside of them."""
    for (low, under), (high, over) in itertools.pairwise(powers):
        if 0.02 < under <= 0.8 < over < 0.995:
            at = stats.t.ppf([under, 0.8, over], dof)
            return float(low + (high - low) * (at[1] - at[0]) / (at[2] - at[0]))
    return None


def test_the_direct_likelihood_is_as_low_as_its_score_and_degrees_of_freedom_say() -> None:
    """E score_rho = -T at rho = 0, where its information beside sigma2's is T (tr(W^2 + W'W) - 2 (tr W)^2 / N)."""
    study = builtin_study("bias")
    panel = study.draw(0, 0)
    (n, t), w = (len(panel.units), len(panel.periods)), panel.weights["knn-6"].dense
    found = re.search(r"rho is about ([.\d]+) and sigma2 about (\d+)% too low", study.expected)
    assert found
    assert float(found[1]) == pytest.approx(1 / np.trace(w @ w + w.T @ w), abs=5e-4)
    assert float(found[2]) == pytest.approx(100 * (1 - (n - 1) * (t - 1) / (n * t)), abs=0.5)


def test_confounding_biases_the_indirect_effect_by_the_error_it_shares() -> None:
    design, said = Paper(confounding=0.05), re.search(r"by ([.\d]+) with .05", builtin_study("mediation").expected)
    (part,), total = design.parts.mediators, design.sigma
    shared = part.confounding * structural_sd([part], total) / part.sd  # the bias of b: cov(u, e) / var(u)
    assert said
    assert float(said[1]) == pytest.approx(part.a * shared, abs=5e-5)


def test_errors_that_allow_for_years_and_neighbours_come_nearer_than_clusters_of_cities() -> None:
    study = builtin_study("inference")
    nearer = study.expected.partition("where both are there, ")[2].partition(" come nearer")[0]
    said = {"cluster:unit+period": "two-way", "cluster:province": "provinces", "driscoll-kraay": "Driscoll"}
    found = measured(
        replace(study, grid=(("serial", (0.6,)), ("spatial_error", (0.8,))),
                estimators=(TwoWayDID(errors=("cluster:unit", *said)),)), 256,
    )  # fmt: skip
    size = {error: found[0.6, 0.8, "did", "did", "rejection", error][0] for error in ("cluster:unit", *said)}
    assert {error for error in said if size[error] < size["cluster:unit"]} == {e for e in said if said[e] in nearer}


def test_power_states_its_detectable_effects() -> None:
    """The numbers of the expected answer are those of the closed form."""
    said = [
        float(word.strip(",")) for word in builtin_study("power").expected.split() if word.strip(",").startswith(".")
    ]
    errors = {serial: Covariances.autoregressive(1.0, serial, 6, 6) for serial in (0.0, 0.6)}
    mde = {(units, serial): minimum_detectable_effect(did_variance(units // 2, units // 2, 6, 6, item), dof=units - 1)
           for serial, item in errors.items() for units in (50, 100, 200)}  # fmt: skip
    np.testing.assert_allclose(said[:3], [mde[units, 0.0] for units in (50, 100, 200)], atol=0.005)
    assert said[3] == 0.6
    assert all(abs(mde[units, 0.6] / mde[units, 0.0] - 1.5) < 0.03 for units in (50, 100, 200))


def test_two_mediators_are_found_one_at_a_time_unless_they_are_confounded() -> None:
    """Omitted-variable bias of b: c of the mediator's own, and (other b) c c' where both are confounded."""
    study = builtin_study("two-mediators")
    found = measured(study, 1024)
    a, b = {"m1": 0.5, "m2": 0.8}, {"m1": 0.4, "m2": -0.25}
    for first in (0.0, 0.3):
        for second in (0.0, 0.3):
            for own, other, confounding in (("m1", "m2", first), ("m2", "m1", second)):
                bias = a[own] * (confounding + b[other] * first * second)
                for term, wanted in (("nie", bias), ("nde", -bias), ("total", 0.0)):
                    value, mcse = found[first, second, f"through-{own}", term, "bias", ""]
                    assert abs(value - wanted) < 4 * mcse
                covered = found[first, second, f"through-{own}", "nie", "coverage", "monte-carlo"][0]
                assert (covered > 0.92) == (confounding == 0)


def with_grid(study: Study | str, names: tuple[str, ...] = (), **grid: tuple[object, ...]) -> Study:
    """A study with fewer values of some dials (a dot may be written as _), and fewer estimators."""
    study = builtin_study(study) if isinstance(study, str) else study
    dials = grid | {name.replace("_", ".", 1): values for name, values in grid.items()}
    chosen = tuple(item for item in study.estimators if not names or item.name in names)
    return replace(study, estimators=chosen, grid=tuple((dial, dials.get(dial, own)) for dial, own in study.grid))


@pytest.mark.long
def test_a_wrong_w_spoils_the_indirect_effect_and_hardly_the_direct_one() -> None:
    names = ("assumed-knn-4", "assumed-knn-10", "assumed-queen")
    study, replications = builtin_study("wrong-w"), full_sizes.size(192, 512)
    found = measured(with_grid(study, names, weights_kind=("knn",), weights_k=(4, 10)), replications)
    found |= measured(with_grid(study, names, weights_kind=("contiguity",), weights_k=(4,)), replications)  # no k
    true = {"assumed-knn-4": ("knn", 4), "assumed-knn-10": ("knn", 10), "assumed-queen": ("contiguity", None)}
    for name, (kind, k) in true.items():
        for cell in {key[:2] for key in found}:
            right = cell[0] == kind and (k is None or cell[1] == k)
            direct, indirect = (found[*cell, name, f"{term}:did", "bias", ""] for term in ("direct", "indirect"))
            assert abs(direct[0]) < 4 * direct[1] + 0.03 * (not right)
            if right:
                assert abs(indirect[0]) < 4 * indirect[1]
    few_for_many = found["knn", 10, "assumed-knn-4", "indirect:did", "bias", ""]
    assert few_for_many[0] < -0.5
    many_for_few = found["knn", 4, "assumed-knn-10", "indirect:did", "bias", ""]
    assert abs(many_for_few[0]) < 0.3
    errors = [found["knn", 4, name, "indirect:did", "mean_se", "information"][0] for name in names[:2]]
    assert errors[1] > 1.5 * errors[0]


def test_did_finds_the_contrast_of_an_index_and_not_its_mean_change_on_the_treated() -> None:
    found = measured(builtin_study("index"), full_sizes.size(384, 1024))
    cells = {key[:3] for key in found}
    for cell in cells:
        contrast, att = (found[*cell, name, "did", "bias", ""] for name in ("did-contrast", "did"))
        assert abs(contrast[0]) < 4 * contrast[1]
        if cell[0] == 0.0:
            assert abs(att[0]) < 4 * att[1]
        else:
            assert att[0] > 4 * att[1]
            assert att[0] < found[*cell, "did", "did", "truth", ""][0]


def test_gaps_bias_where_they_depend_on_the_outcome_alone() -> None:
    found = measured(builtin_study("missing"), full_sizes.size(384, 1024))
    biases = {key[:3]: pair for key, pair in found.items() if key[3:5] == ("did", "bias")}
    assert len(biases) == 8
    for (pattern, share, name), (value, mcse) in biases.items():
        if pattern == "on_outcome":
            assert value < -8 * mcse
            assert value < biases[pattern, 0.1, name][0] or share == 0.1
        else:
            assert abs(value) < 4 * mcse
    spread = {share: found["random", share, "did", "did", "empirical_se", ""][0] for share in (0.1, 0.3)}
    assert spread[0.3] > spread[0.1]


@pytest.mark.long
def test_selection_on_trends_biases_by_the_gap_of_trends_and_pre_trends_seldom_warn() -> None:
    study = with_grid(builtin_study("selection"), errors_serial=(0.0,), adoption_strength=(1.0, 2.0))
    replications = full_sizes.size(384, 1024)
    frame = diagnose(run(alone(study, "did").resized(replications=replications))).frame
    bias = frame[frame["measure"] == "bias"]
    z, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    assert len(bias) == 6
    for row in bias.to_dict("records"):
        strength = row["adoption.strength"]
        gap = 4 * (weights * z / (1 + np.exp(-strength * z))).sum()  # mean z of adopters less that of others
        wanted = 0.05 * 6 * gap if row["adoption.on"] == "trends" else 0.0
        assert abs(row["value"] - wanted) < 4 * row["mcse"]
        if wanted:
            assert f"{wanted:.2f}".lstrip("0") in study.expected
    steep = with_grid(alone(study, "event-study"), adoption_on=("trends",), adoption_strength=(2.0,))
    blocks = run(steep.resized(replications=replications)).blocks(0)
    p = np.concatenate([block.estimates["event-study"].statistics["pretrend_hotelling_p"] for block in blocks])
    assert 0.05 < (p < 0.05).mean() < 0.5


def alone(study: Study, *names: str, errors: tuple[str, ...] = ()) -> Study:
    """A study with these estimators and one list of error types where it is given; its claims name others."""
    chosen = [item for item in study.estimators if item.name in names]
    fewer = tuple(replace(item, errors=errors) if errors else item for item in chosen)  # type: ignore[call-arg]
    return replace(study, estimators=fewer, claims=())


@pytest.mark.long
def test_synthetic_did_and_its_demeaned_relative_miss_least_where_loadings_drive_adoption() -> None:
    """Penalised weights of units without weights of periods lose, noise alone is best met by equal weights."""
    names = ("equally-weighted-did", "synthetic-control", "synthetic-control-reg", "synthetic-did",
             "demeaned-synthetic-control", "demeaned-synthetic-control-reg")  # fmt: skip
    study = alone(builtin_study("synthetic"), *names, errors=("jackknife:unit",))
    coarse = replace(study, estimators=tuple(replace(one, refit=False) for one in study.estimators))  # type: ignore[call-arg]
    found: Found = {}
    for strength, share in ((0.3, 0.2), (0.0, 0.2), (0.3, 0.0)):  # errors are asked about in the first alone
        asked = study if (strength, share) == (0.3, 0.2) else coarse
        cell = with_grid(asked, adoption_strength=(strength,), levels_factor_share=(share,), errors_serial=(0.0,))
        found |= measured(cell, full_sizes.size(256, 512))

    def of(strength: float, share: float, measure: str, error: str = "") -> dict[str, float]:
        return {name: found[strength, share, 0.0, name, "did", measure, error][0] for name in names}

    did, sc, sc_reg, sdid, difp, difp_reg = names
    baseline, random, noise = of(0.3, 0.2, "rmse"), of(0.0, 0.2, "rmse"), of(0.3, 0.0, "rmse")
    assert sdid == min(random, key=random.__getitem__)
    assert set(sorted(names, key=baseline.__getitem__)[:2]) == {sdid, difp}
    assert did == max(baseline, key=baseline.__getitem__)
    assert baseline[sc_reg] > 1.2 * baseline[sc]
    assert baseline[difp_reg] > 1.2 * baseline[difp]
    assert did == min(noise, key=noise.__getitem__)
    bias = of(0.3, 0.2, "bias")
    assert 0 < bias[difp] < bias[sdid] < bias[did]
    for name in names:
        value, mcse = found[0.0, 0.2, 0.0, name, "did", "bias", ""]
        assert abs(value) < 4 * mcse
    covered = of(0.3, 0.2, "coverage", "jackknife:unit")
    assert covered[did] < 0.85 < covered[sdid] < covered[difp]


def with_cheap_errors(estimator: Estimator) -> Estimator:
    """The same estimates; its errors, which nobody asks about, take little time."""
    if isinstance(estimator, SyntheticDID | DemeanedSyntheticControl):
        return replace(estimator, refit=False)
    if isinstance(estimator, InteractiveEffects):
        return replace(estimator, errors=("placebo:unit",), draws=20)
    return estimator


@pytest.mark.long
def test_factors_bias_did_and_not_interactive_effects() -> None:
    names = ("did", "synthetic-did", "demeaned-synthetic-control", "interactive-effects")
    study = with_grid(alone(builtin_study("factors"), *names), levels_factors=(1, 3), levels_factor_share=(1.0,))
    cheap = replace(study, estimators=tuple(map(with_cheap_errors, study.estimators)))
    found = measured(cheap, full_sizes.size(128, 256))
    bias = {key[:4]: pair for key, pair in found.items() if key[4:6] in {("did", "bias"), ("overall", "bias")}}
    rmse = {key[:4]: value for key, (value, _) in found.items() if key[4:6] in {("did", "rmse"), ("overall", "rmse")}}
    for (_, _, strength, _), (value, mcse) in bias.items():
        if strength == 0:
            assert abs(value) < 4 * mcse
    for factors in (1, 3):
        cell = factors, 1.0, 1.0
        did, sdid, difp, interactive = (bias[*cell, name][0] for name in names)
        assert did > 0.5
        assert interactive < difp < sdid < 0.6 * did
        assert abs(interactive) < 0.1 * did
        assert min(names, key=lambda name, cell=cell: rmse[*cell, name]) == "interactive-effects"  # type: ignore[misc]
    assert bias[3, 1.0, 1.0, "synthetic-did"][0] > bias[1, 1.0, 1.0, "synthetic-did"][0]


def test_weak_instruments_mislead_2sls_and_not_the_set() -> None:
    """Bias as a share of that of least squares, and size against 5%, 4 Monte Carlo errors of it."""
    study = with_grid(builtin_study("weak-iv"), adoption_concentration=(1.0, 600.0), adoption_endogeneity=(0.9,))
    found = measured(study, 512)
    error = 4 * np.sqrt(0.05 * 0.95 / 512)

    def value(strength: float, name: str, measure: str, kind: str = "") -> float:
        return found[strength, 0.9, name, "did", measure, kind][0]

    for strength in (1.0, 600.0):
        assert abs(value(strength, "iv", "rejection", "anderson-rubin") - 0.05) < error
        assert value(strength, "did", "rejection", "hc1") > 0.95
    shares = [value(strength, "iv", "bias") / value(strength, "did", "bias") for strength in (1.0, 600.0)]
    assert shares[0] > 0.5
    assert abs(shares[1]) < 0.02
    assert value(1.0, "iv", "rejection", "hc1") > 0.4
    assert abs(value(600.0, "iv", "rejection", "hc1") - 0.05) < error
    assert value(1.0, "iv", "coverage", "anderson-rubin") > 0.95 - error


Results = dict[str, tuple[Estimates, dict[str, np.ndarray]]]
MODERN = ("callaway-santanna", "sun-abraham", "imputation", "two-stage")


def results(study: Study, replications: int) -> dict[tuple[object, ...], Results]:
    """Estimates and truths of every estimator, by the values of the cell's dials."""
    records = run(study.resized(replications=replications, block=-(-replications // 64) * 64))
    found = {}
    for cell in study.cells:
        (block,) = records.blocks(cell.index)
        found[tuple(cell.parameters.values())] = {
            name: (estimates, dict(block.truth)) for name, estimates in block.estimates.items()
        }
    return found


def misses(study: Study, result: Results, name: str, term: str) -> np.ndarray:
    """Estimates less the truths of their own draws, (R,)."""
    estimates, truth = result[name]
    target = study.layouts(study.cells[0].design.schema)[name].targets[term]
    return estimates.estimate[:, estimates.terms.index(term)] - truth[target]


def in_errors(values: np.ndarray) -> float:
    """The mean in its Monte Carlo errors."""
    return float(values.mean() / (values.std(ddof=1) / np.sqrt(values.size)))


def test_placebo_and_few_treated_have_the_assignments_that_they_name() -> None:
    """Shares of .05, .17 and .5 of the cities; and one, two, five and ten small units."""
    study = builtin_study("placebo")
    assert dict(study.grid)["treated"] == (14, 48, 142)
    assert len(study.cells) == 48
    for cell in study.cells[::16]:
        draw = cell.design.draw(cell.streams(study.seed), Wanted(frozenset({"did"}), ()))
        assert draw.panel.variables["did"].any(axis=1).sum() == cell.parameters["treated"]
    study = with_grid("few-treated", errors_covariate_slope=(-0.5,), effect_size=(0.0,))
    for cell, count in zip(study.cells, (1, 2, 5, 10), strict=True):
        draw = cell.design.draw(cell.streams(study.seed), Wanted(frozenset({"did"}), ()))
        treated = draw.panel.variables["did"].any(axis=1)[0]
        assert treated.sum() == count
        sizes = np.asarray(draw.panel.attributes["size"])
        assert np.log(sizes[treated]).mean() < np.log(sizes[~treated]).mean()


@pytest.mark.parametrize(("kind", "shape"), list(zip(MODERN, ("growing", "fading") * 2, strict=True)))
def test_without_noise_modern_estimators_are_the_truths(kind: str, shape: str) -> None:
    """Every term against the mean of potential outcomes that it is held to: the weights are the same."""
    design = Paper(controls="none", sigma=0.0, heterogeneity=0.5, shape=shape)  # type: ignore[arg-type]
    settings = {"cohorts": (2008, 2016, 2020), "years": (2008, 2019), "errors": ("cluster:unit",)}
    estimator: Estimator = find_estimator(kind)(**settings)
    targets = estimator.layout(design.schema).targets
    assert {"att", "att_event", "att_cohort", "att_calendar", "event(5)", "cohort(2016)", "calendar(2019)"} <= set(
        targets.values()
    )
    streams = Streams(3, "exact")
    draw = design.settle(streams).draw(
        streams.tile(0, 3), Wanted(estimator.variables(design.schema), tuple(targets.values()))
    )
    estimates = estimator(draw.panel)
    for term, target in targets.items():
        np.testing.assert_allclose(
            estimates.estimate[:, estimates.terms.index(term)], draw.truth[target], rtol=0, atol=1e-13, err_msg=term
        )
    twoway = TwoWayDID(errors=("cluster:unit",))(draw.panel).estimate[:, 0]
    assert (np.abs(twoway - draw.truth["att"]) > 1e-4).all()


def test_staggered_shows_two_way_did_off_and_modern_estimators_right() -> None:
    study = with_grid("staggered", shape=("growing",), serial=(0.0,))
    (result,) = results(study, 512).values()
    assert in_errors(misses(study, result, "did", "did")) < -10
    for name in (*MODERN, "callaway-santanna-not-yet"):
        for term in ("overall", "overall:event", "overall:cohort", "overall:calendar", "event(0)", "event(4)"):
            assert abs(in_errors(misses(study, result, name, term))) < 4, (name, term)


def test_passing_a_pre_trend_test_does_not_clear_the_estimate() -> None:
    """Rejections grow with the gap; where most draws pass, those that do are as biased as all (Roth 2022)."""
    study = with_grid("pretrends", trend_gap=(0.0, 0.001, 0.002), anticipation=(0,))
    found = results(study, 512)
    rejected = {gap: float((result["event-study"][0].statistics["pretrend_p"] < 0.05).mean())
                for (gap, _), result in found.items()}  # fmt: skip
    assert rejected[0.0] < 0.15
    assert rejected[0.0] + 0.05 < rejected[0.001] < 0.5 < rejected[0.002]
    result = found[0.001, 0]
    passed = result["imputation"][0].statistics["pretrend_p"] >= 0.05
    every = misses(study, result, "imputation", "overall")
    assert in_errors(every[passed]) > 20
    assert every[passed].mean() == pytest.approx(every.mean(), rel=0.1)


@pytest.mark.long
def test_placebo_in_space_fails_where_errors_and_treatment_cluster_and_strata_repair_it() -> None:
    """Random assignment needs no exchangeable errors; treatment of rich regions does, or permutations within them."""
    study = with_grid("placebo", effect=(0.0,), treated=(142,), serial=(0.0,), spatial_error=(0.8,))
    study = replace(study, estimators=tuple(replace(each, draws=99) for each in study.estimators))  # type: ignore[call-arg]
    sizes = {
        (assignment, name): float((estimates.pvalue[:, 0, 0] <= 0.05).mean())  # type: ignore[index]
        for (_, _, assignment, _, _), result in results(study, 320).items()
        for name, (estimates, _) in result.items()
    }
    error = np.sqrt(0.05 * 0.95 / 320)
    for cell in (("random", "did-space"), ("random", "did-strata-region"), ("rich", "did-strata-region")):
        assert sizes[cell] == pytest.approx(0.05, abs=4 * error)
    assert sizes["rich", "did-space"] > 0.05 + 3 * error


MOST_LINES = 60
LOSING = {  # estimators without an answer for every draw: with one treated unit, under a W far from the true one
    "few-treated": {"did-corrected", "synthetic-did-jackknife"},
    "wrong-w": {"assumed-inverse-distance"},
}
REPLICATIONS = 32
SLOW: dict[str, dict[str, tuple[object, ...]]] = {  # studies run with fewer cells
    "placebo": {"treated": (14,)},
    "mediation": {"effect": (0.0, 0.0157)},
    "synthetic": {"levels.factor_share": (0.2,)},
    "factors": {"levels.factor_share": (0.2,)},
}
SLOWER: dict[str, dict[str, tuple[object, ...]]] = {  # and outside of the campaign with fewer still
    "placebo": {"serial": (0.0,)},
    "synthetic": {"errors.serial": (0.0,)},
    "factors": {"levels.factors": (1,)},
    "few-treated": {"adoption.share": (0.02, 0.2)},
    "selection": {"errors.serial": (0.0,)},
}


def quick(estimator: Estimator) -> Estimator:
    """The same terms and error types by fewer draws and samples, and a penalty that leaves no factor to look for: what
    is said of them is as long."""
    wanted: dict[str, object] = {"draws": FEWEST_DRAWS, "refit": False, "penalty": 10.0}
    if "synthetic" not in type(estimator).__module__:
        wanted = {"draws": 99}  # the fewest that tests by draws take
    held = {item.name for item in fields(estimator)}  # type: ignore[arg-type]
    given = {name: value for name, value in wanted.items() if name in held and getattr(estimator, name) != 0}
    return replace(estimator, **given)  # type: ignore[type-var]


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_study_is_answered_on_one_screen(name: str) -> None:
    fewer = SLOW.get(name, {}) | full_sizes.size(SLOWER, {}).get(name, {})
    assert set(fewer) <= set(dict(builtin_study(name).grid))
    study = with_grid(name, **fewer)
    study = replace(study, estimators=tuple(map(quick, study.estimators)))
    store, lost = run(study.resized(replications=REPLICATIONS, block=64)), set()
    for cell in study.cells:
        (block,) = store.blocks(cell.index)
        assert all(np.isfinite(truth).all() for truth in block.truth.values())
        lost |= {one for one, fits in block.estimates.items() if not (fits.status == Status.OK).all()}
    assert lost == LOSING.get(name, set())
    diagnosis = diagnose(store)
    assert diagnosis.claims == study.claims
    assert [part.claim for part in answer(diagnosis).claims] == list(study.claims)
    facts = ReportFacts(name, study.question, expected=study.expected, seed=study.seed)
    lines = printed(diagnosis, 100, facts, terminal=True, full=False).splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 100
    first = answer(diagnosis).sentences[0].partition(": ")[0][:60]
    assert any(first in line for line in lines[:10])
    assert "panelproof report STORE --full" in " ".join(" ".join(lines[-3:]).split())


TEXT = """
replications = 64
block = 64
[design]
kind = "bdm"
[[estimators]]
kind = "did"
errors = ["iid", "cluster:unit"]
"""


def test_claims_are_no_part_of_a_fingerprint_and_stay_with_the_store(tmp_path: Path) -> None:
    file, store = tmp_path / "x.toml", tmp_path / "x.zarr"
    asked = ('[[claims]]\nmeasure = "size"\nterms = "did"\nerrors = ["iid"]\ntolerance = 0.01\n',
             '[[claims]]\nmeasure = "coverage"\n', "")  # fmt: skip
    hashes, fingerprints, judged = set(), set(), []
    for claims in asked:
        file.write_text(TEXT + claims)
        study = Study.from_toml(file)
        assert Study.from_settings(study.settings).claims == study.claims
        fingerprints.add(study.fingerprint)
        hashes.add(run(study, store=store).content_hash())  # type: ignore[union-attr]
        judged.append(diagnose(ZarrStore.open(store)).claims)
    assert len(hashes) == len(fingerprints) == 1
    assert judged[0] == (Claim("size", ("did",), errors=("iid",), tolerance=0.01),)
    assert [[one.measure for one in claims] for claims in judged[1:]] == [["coverage"], []]


@pytest.mark.parametrize(("table", "said"), [
    ('measure = "bais"', "measure = 'bais'"),
    ('term = "did"', "measure is missing"),
    ('measure = "bias"\nterms = ["dd"]', "no term 'dd'"),
    ('measure = "bias"\nestimators = ["sdm"]', "no estimator 'sdm'"),
    ('measure = "size"\nestimators = ["sdm"]\nterms = ["did"]\nerrors = ["iid"]', "no estimator 'sdm'"),
    ('measure = "size"\nerrors = ["hc1"]', "no error type 'hc1'"),
    ('measure = "size"\nover = "serial"', "over = 'serial' is no dial of [grid]"),
    ('measure = "size"\ntolerance = 2.0', "a share above 0 and below 1"),
    ('measure = "size"\nmargin = 0.02', "unknown key 'margin'"),
    ('measure = "screen"', "no estimator has a screen"),
])  # fmt: skip
def test_a_wrong_claim_is_one_line(table: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f"{TEXT}[[claims]]\n{table}\n")
    refuses_all([said, "[[claims]] 1"], Study.from_toml, file, count=1)


# kinds that `estimate` prints and no built-in study runs, each with the reason
NOT_IN_STUDIES: dict[str, str] = {
    "differences": "its rates are those of its tests, and on twins of the user's own panel those of the page",
}


def test_every_column_is_fitted_by_an_estimator_that_a_study_proves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the runner calls it or a table does; of a permutation test its estimator counts."""
    used: dict[str, Estimator] = {}

    def watched(method: Any) -> Any:
        def seen(self: Estimator, *given: Any, **named: Any) -> Any:
            used.setdefault(self.kind, self)
            return method(self, *given, **named)

        return seen

    for cls in estimators().values():
        for name in ("__call__", "solve", *(("estimates",) if hasattr(cls, "estimates") else ())):
            monkeypatch.setattr(cls, name, watched(getattr(cls, name)))
    real = real_panel(tmp_path, WHOLE)
    assert {"2", "3", "4", "5", "6", "7", "R", "S"} <= {record.table for record in estimate(real).records}
    assert {"did", "spatial", "mediation", "random", "interaction"} <= used.keys()
    assert used.keys() <= set(estimators()), "a class that discovery does not know has no conformance suite"
    run_in_studies = [item for name in builtin_names() for item in builtin_study(name).estimators]
    proved = {item.kind for item in run_in_studies} | {getattr(item, "estimator", item.kind) for item in run_in_studies}
    assert used.keys() - proved == set(NOT_IN_STUDIES)
    for kind, estimator in used.items():
        design, terms = estimator.home
        assert terms or estimator.layout(real.panel.schema).tests, kind
        assert design.schema.units > 1


def test_a_study_on_the_same_panel_gives_the_same_bits(tmp_path: Path) -> None:
    real, ledger = real_panel(tmp_path, WHOLE), Ledger(seed=3)
    regressions.add_baseline(real, ledger)
    (own,) = (one.estimator for one in ledger.fitted if (one.fit.place, one.fit.model) == (("2", 5), "did"))
    plain = TwoWayDID(errors=tuple(error for error in own.errors if not error.startswith("wild:")))
    shown = {
        one.se_type: one for one in ledger.records if (one.place, one.term) == (("2", 5), real.panel.roles.treatment)
    }
    for estimator in (own, plain):
        study = Study("one cell", Observed(real.panel), (estimator,), replications=1, block=64, seed=3)
        found = next(iter(run(study).blocks(0))).estimates[estimator.name]
        for row, error in enumerate(found.errors):
            assert (shown[error].estimate, shown[error].se) == (found.estimate[0, 0], found.se[0, row, 0])
