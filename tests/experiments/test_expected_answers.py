"""Built-in studies say what they expect, how long they take, and their expected answers hold on few replications."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import full_sizes
import numpy as np
import pytest
from closed_forms import Covariances, did_variance, minimum_detectable_effect, power_at
from scipy import stats

from estimators import DemeanedSyntheticControl, InteractiveEffects, SyntheticDID
from estimators.core.estimator import Estimator
from experiments.cli import run_command
from experiments.listing import builtin_names, study_rows
from experiments.run.runner import run
from experiments.study import Study, builtin_study
from results.diagnosis.diagnose import diagnose

Found = dict[tuple[object, ...], tuple[float, float]]


def measured(study: Study, replications: int) -> Found:
    """(dials..., estimator, term, measure, error type) -> value and Monte Carlo error."""
    frame = diagnose(run(study.resized(replications=replications))).frame
    keys = [*dict(study.grid), "estimator", "term", "measure", "error"]
    named = frame[keys].astype(object).where(frame[keys].notna(), None)
    columns = zip(*(named[key] for key in keys), strict=True)
    return dict(zip(columns, zip(frame["value"], frame["mcse"], strict=True), strict=True))


@pytest.mark.parametrize("name", builtin_names())
def test_a_study_says_what_it_asks_what_it_expects_and_how_long_it_takes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    study = builtin_study(name)
    assert study.question.endswith("?")
    assert study.expected.endswith(".")
    amount, unit = study.cost.split()
    assert float(amount) > 0
    assert unit in {"s", "min"}
    assert run_command(["studies", name]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (study.question, f"Expected: {study.expected}", f"{study.cost} on two cores"):
        assert " ".join(words.split()) in shown


def test_the_list_shows_times(capsys: pytest.CaptureFixture[str]) -> None:
    studies = map(builtin_study, builtin_names())
    assert study_rows() == [
        (study.name, study.question, len(study.cells), len(study.cells) * study.replications, study.cost)
        for study in studies
    ]
    assert run_command(["studies"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in builtin_names())
    assert "time" in shown.splitlines()[0]


def test_words_are_no_part_of_a_fingerprint_and_stay_with_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.toml"
    text = '[design]\nkind = "bdm"\n[[estimators]]\nkind = "did"\nerrors = ["iid"]\n'
    file.write_text(f'replications = 64\nblock = 64\nquestion = "Why?"\n{text}')
    plain = Study.from_toml(file)
    file.write_text(f'replications = 64\nblock = 64\nexpected = "Because <of it>."\ncost = "1 s"\n{text}')
    told = Study.from_toml(file)
    assert plain.fingerprint == told.fingerprint
    assert Study.from_settings(told.settings).expected == "Because <of it>."
    store, page = tmp_path / "x.zarr", tmp_path / "x.html"
    assert run_command(["run", str(file), "--cluster", "serial", "--store", str(store), "--html", str(page)]) == 0
    assert "Expected: Because <of it>." in capsys.readouterr().out
    assert "Expected: Because &lt;of it&gt;." in page.read_text(encoding="utf-8")
    assert run_command(["report", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["study"]["complete"]


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


def with_grid(study: Study, estimators: tuple[str, ...] = (), **grid: tuple[object, ...]) -> Study:
    """A study with fewer values of some dials (written with _ for the dot), and fewer estimators."""
    dials = {name.replace("_", ".", 1): values for name, values in grid.items()}
    chosen = tuple(item for item in study.estimators if not estimators or item.name in estimators)
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


@pytest.mark.long
def test_few_treated_units_are_served_by_placebos_and_unequal_ones_by_sizes() -> None:
    """Without an effect, one and ten treated units: size against 5%, 4 Monte Carlo errors of it."""
    names = ("did", "did-wild", "did-space", "synthetic-did")
    study = with_grid(alone(builtin_study("few-treated"), *names), adoption_share=(0.02, 0.2), effect_size=(0.0,))
    fewer = (replace(one, draws=99 if one.draws == 199 else 50) for one in study.estimators)  # type: ignore[call-arg, attr-defined]
    found = measured(replace(study, estimators=tuple(fewer)), 320)
    error = 4 * np.sqrt(0.05 * 0.95 / 320)  # fewer replications could not find a size of nothing

    def size(share: float, slope: float, name: str, kind: str) -> float:
        return found[share, slope, 0.0, name, "did", "rejection", kind][0]

    placebos = (("did", "conley-taber"), ("did-space", "permutation:space"), ("synthetic-did", "placebo:unit"))
    for share in (0.02, 0.2):
        for name, kind in placebos:
            assert abs(size(share, 0.0, name, kind) - 0.05) < error
            assert size(share, -0.5, name, kind) > 0.05 + error
        for slope in (0.0, -0.5):
            assert abs(size(share, slope, "did", "ferman-pinto:size") - 0.05) < error
    for slope in (0.0, -0.5):
        assert size(0.02, slope, "did", "cluster:unit") > 0.5
        assert size(0.02, slope, "did-wild", "wild:unit") < 0.01
        assert abs(size(0.2, slope, "did", "cluster:unit") - 0.05) < error


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
