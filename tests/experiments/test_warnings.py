"""Warnings before the tables: each is said when it is true and not otherwise, with numbers computed another way."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import by_term, one, records
from statsmodels.stats.multitest import multipletests
from warned import GROUPS, SPEC, dummies, made, of

from estimators.linear.covariances import ClusterK
from estimators.linear.did import TwoWayDID
from estimators.sensitivity.sensitivity import expected_serial
from experiments.checks.case import Case, number
from experiments.estimation import estimate
from experiments.panel_spec.spec import read_real_panel, read_spec
from experiments.tables.ledger import Ledger
from results.tables.records import INFORMS, OVERTURNS, SILENT, WEAKENS, Check, Document, Record
from sim.panel import part

COUNTED = ("specifications", "same_sign", "significant_5", "significant_10")


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Document:
    return made(tmp_path_factory.mktemp("committed"), SPEC)


def headline(document: Document, error: str = "cluster:unit") -> Record:
    return one(document, place=("2", 5), term="did", se_type=error)


@pytest.mark.parametrize("cluster_k", get_args(ClusterK))
def test_leaving_out_a_province_counts_the_effects_that_are_left(tmp_path: Path, cluster_k: ClusterK) -> None:
    """The error of the spec's column, fitted again to the panel without the province."""
    spec = SPEC.replace("draws = 99", f'draws = 99\ncluster_k = "{cluster_k}"')
    real = made_cities.real_panel(tmp_path, spec)
    case, panel = Case(real, Ledger(seed=0), real.panel, None), real.panel
    codes = np.unique(panel.attributes["province"], return_inverse=True)[1]
    found = case.left_out(codes)
    for group in range(codes.max() + 1):
        kept = part(panel, codes != group, np.ones(len(panel.periods), dtype=bool))
        fit = TwoWayDID(errors=("cluster:unit",), cluster_k=cluster_k)(kept)
        assert found.estimate[group] == pytest.approx(fit.estimate[0, 0], rel=1e-9)
        assert found.se[group] == pytest.approx(fit.se[0, 0, 0], rel=1e-9)


def test_specifications_of_the_committed_panel(committed: Document) -> None:
    frame = made_cities.frame()
    frame["pair"] = frame["province"] + frame["year"].astype(str)
    expected = {
        "province-by-year effects": dummies(frame, "city", "pair"),
        "city-specific linear trends": dummies(frame, "city", "year", "trend"),
        "no controls": dummies(frame, "city", "year", regressors=("d",)),
    }
    effect = headline(committed)
    for label, value in expected.items():
        found = of(committed, f"specification:{label}")
        assert found.numbers["estimate"] == pytest.approx(value, rel=1e-8)
        assert found.difference == pytest.approx(found.numbers["estimate"] - effect.estimate)
        assert found.sentence.startswith(
            f"With {label} the effect is {number(found.numbers['estimate'])} instead of {number(effect.estimate)}: a "
            f"difference of {number(found.difference)} ({number(found.lower)} to {number(found.upper)}), "
        )
        assert abs(found.difference) < found.upper - found.difference  # no difference is told from zero
        assert found.answer == ("cannot tell" if found.lower <= found.needed else "consistent")
        assert found.needed == pytest.approx(-effect.estimate + (effect.upper - effect.lower) / 2)


def test_counts_are_those_of_the_specifications(committed: Document) -> None:
    ways, effect = committed.specifications, headline(committed).estimate
    assert effect is not None
    kinds = {one.kind for one in ways}
    assert kinds == {"errors", "effects", "controls", "W", "left out"}
    assert sum(one.kind == "left out" for one in ways) == 9 + 3  # provinces and cohorts
    assert sum(one.kind == "W" for one in ways) == 12
    same = [one for one in ways if np.sign(one.estimate) == np.sign(effect)]
    counts = [len(ways), len(same), sum(o.pvalue < 0.05 for o in same), sum(o.pvalue < 0.1 for o in same)]
    found = of(committed, "specification-curve")
    assert [found.numbers[name] for name in COUNTED] == counts
    words = "Of {} specifications, {} have the sign of the effect, {} are significant at 5% and {} at 10%, from "
    assert found.sentence.startswith(words.format(*counts))
    direct = {(r.model, r.transform): r.estimate for r in records(committed, table="7", term="direct:did")}
    assert sorted(direct.values()) == sorted(one.estimate for one in ways if one.kind == "W")
    (figure,) = (figure for figure in committed.figures if figure.name == "specification-curve")
    assert figure.title == f"Effect on y in {len(ways)} specifications"
    assert f"Of {counts[0]}, {counts[1]} have its sign, {counts[2]} of them are significant at 5%" in figure.caption
    assert figure.svg.count('id="specification-curve-way-') == len(ways)


def test_a_specification_that_tables_hold_counts_once(tmp_path: Path) -> None:
    """Trends, in table R too, and each of two groups, whose columns in table 4 leave out the other."""
    spec = made_cities.spec("d", made_cities.CONTROLS, 'groups = ["half"]\n[robustness]\nunit_trends = true')
    frame = made_cities.frame()
    half = np.where(frame["province"].isin(["P2", "P5"]), "a", "b")
    found = [one for one in made(tmp_path, spec, frame.assign(half=half)).specifications if one.kind != "errors"]
    assert {"half = a", "half = b", "city-specific linear trends", "no controls"} < {one.label for one in found}
    assert len({round(one.estimate, 9) for one in found}) == len(found)


def test_residuals_of_tables_2_5_and_7(committed: Document, tmp_path: Path) -> None:
    """Residuals by dense least squares, their AR(1) by a regression; those of the SDM by its printed coefficients."""
    frame = made_cities.frame().sort_values(["year", "city"])
    effects = np.column_stack([pd.get_dummies(frame[name]).to_numpy(float) for name in ("city", "year")])

    def left(y: np.ndarray, *x: np.ndarray) -> np.ndarray:
        design = np.column_stack([*x, effects])
        return np.asarray(y - design @ np.linalg.lstsq(design, y)[0]).reshape(9, 36)

    def ar1(e: np.ndarray) -> float:
        return float((e[1:] * e[:-1]).sum() / np.square(e[:-1]).sum())

    column = {name: frame[name].to_numpy(float) for name in ("y", "d", "road", "book", "patents")}
    x = [column[name] for name in ("d", "road", "book")]
    found = of(committed, "residual-ar1")
    e = left(column["y"], *x)
    assert found.numbers["ar1_raw"] == pytest.approx(ar1(e))
    assert found.numbers["ar1_raw:table 5, patents, mediator"] == pytest.approx(ar1(left(column["patents"], *x)))
    of_outcome = ar1(left(column["y"], *x, column["patents"]))
    assert found.numbers["ar1_raw:table 5, patents, outcome"] == pytest.approx(of_outcome)
    w = made_cities.neighbours().dense
    slopes = by_term(committed, table="7", model="sdm", transform="direct", se_type="information")
    slopes = {term: record.estimate for term, record in slopes.items()}
    lagged = {name: (values.reshape(9, 36) @ w.T).ravel() for name, values in column.items()}
    y = column["y"] - slopes["rho"] * lagged["y"]
    for name, term in (("d", "did"), ("road", "road"), ("book", "book")):
        y = y - slopes[term] * column[name] - slopes[f"w_{term}"] * lagged[name]
    assert found.numbers["ar1_raw:table 7, sdm, w"] == pytest.approx(ar1(left(y)))
    assert of(committed, "residual-moran:sdm:w").severity == SILENT, "its W is true"
    moran = of(committed, "residual-moran:w").numbers["moran"]
    assert moran == pytest.approx(36 / w.sum() * (e * (e @ w.T)).sum() / np.square(e).sum())
    assert found.numbers["ar1"] > found.numbers["ar1_raw"]


def test_residuals_on_both_sides_of_a_year_without_rows_are_no_neighbours(tmp_path: Path) -> None:
    cities = made_cities.frame().sort_values(["year", "city"])
    rest = cities[cities["year"] != 2014]
    design = np.column_stack([rest[["d", "road", "book"]], *(pd.get_dummies(rest[name]) for name in ("city", "year"))])
    y, design = rest["y"].to_numpy(float), design.astype(float)
    e = (y - design @ np.linalg.lstsq(design, y)[0]).reshape(8, 36)
    late, early = e[[1, 2, 3, 5, 6, 7]], e[[0, 1, 2, 4, 5, 6]]
    found = of(made(tmp_path, made_cities.PANEL, rest), "residual-ar1")
    assert found.numbers["ar1_raw"] == pytest.approx((late * early).sum() / np.square(early).sum())


def test_units_with_gaps_count_by_the_periods_they_have(tmp_path: Path) -> None:
    """A correction by all units, not by each pattern of gaps once; correlations around the means over own periods."""
    rng, frame = np.random.default_rng(8), walks(3, 1.5)
    frame = frame.assign(weight=np.exp(rng.normal(size=len(frame))))
    frame = frame[~(frame["city"].isin(frame["city"].unique()[:4]) & frame["year"].between(2012, 2014))]
    document = made(tmp_path, made_cities.spec("d", made_cities.CONTROLS, f'weight = "weight"\n{GROUPS}'), frame)
    design = np.column_stack([frame[["d", "road", "book"]], *(pd.get_dummies(frame[n]) for n in ("city", "year"))])
    root, design = np.sqrt(frame["weight"].to_numpy()), design.astype(float)
    e = frame["y"] - design @ np.linalg.lstsq(design * root[:, None], frame["y"] * root)[0]
    paths = frame.assign(e=e).pivot(index="year", columns="city", values="e")
    serial = of(document, "residual-ar1").numbers
    assert expected_serial(serial["ar1"], paths.notna().to_numpy().T) == pytest.approx(serial["ar1_raw"], abs=1e-8)
    z = ((paths - paths.mean()) / np.sqrt(paths.var(ddof=0) * paths.count())).fillna(0.0)
    provinces = frame.drop_duplicates("city").set_index("city")["province"].reindex(z.columns).to_numpy()
    pairs = np.equal.outer(provinces, provinces) & ~np.eye(len(provinces), dtype=bool)
    correlation = of(document, "residual-groups:province").numbers["correlation"]
    assert correlation == pytest.approx((z.T @ z).to_numpy()[pairs].mean())


def walks(seed: int, shared: float) -> pd.DataFrame:
    """The committed panel with an outcome of AR(1) .9 errors, of which provinces share a part."""
    rng, frame = np.random.default_rng(seed), made_cities.frame().sort_values(["city", "year"])
    own, common = rng.standard_normal((36, 9)), rng.standard_normal((9, 9))
    provinces = np.unique(frame["province"].to_numpy(str).reshape(36, 9)[:, 0], return_inverse=True)[1]
    shocks = own + shared * common[provinces]
    for t in range(1, 9):
        shocks[:, t] += 0.9 * shocks[:, t - 1]
    return frame.assign(y=(frame["d"] + shocks.ravel()).round(6))


def test_serial_and_group_correlation_are_seen(tmp_path: Path) -> None:
    document = made(tmp_path, SPEC.replace('outcomes = ["second"]', ""), walks(3, 1.5))
    assert of(document, "residual-ar1").severity == WEAKENS  # table 7 has information errors
    assert of(document, "residual-ar1").numbers["ar1"] > 0.5
    groups = of(document, "residual-groups:province")
    assert groups.severity == INFORMS
    assert "9 groups are too few to cluster by" in groups.sentence
    spec = SPEC.replace('outcomes = ["second"]', "").replace(GROUPS, f'{GROUPS}cluster = "province"\n')
    assert of(made(tmp_path, spec, walks(3, 1.5)), "residual-groups:province").severity == SILENT


def test_independent_errors_are_silent(tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    frame = made_cities.frame()
    frame["y"] = (2 * frame["d"] + rng.standard_normal(len(frame))).round(6)
    document = made(tmp_path, SPEC, frame)
    for code in ("residual-ar1", "residual-moran:w", "residual-moran:sdm:w", "residual-groups:province", "pesaran-cd"):
        assert of(document, code).severity == SILENT, of(document, code)


def test_trends_are_those_of_tables_s(tmp_path: Path) -> None:
    document = made(tmp_path, f"{made_cities.PANEL}\n[robustness]\nstaggered = true\nhonest = true\n")

    def statistic(table: str, model: str, name: str, **more: object) -> float | None:
        found = [s for s in document.statistics if (s.table, s.model, s.name) == (table, model, name)]
        return [s.value for s in found if all(getattr(s, key) == value for key, value in more.items())][-1]

    pretrend = of(document, "pre-trend")
    expected = statistic("S", "callaway-santanna", "pretrend_hotelling_p", transform="never")
    assert pretrend.numbers["pvalue"] == pytest.approx(expected)
    individual = statistic("S2", "roth", "slope", term="0.5")
    assert pretrend.numbers["slope"] != pytest.approx(individual, rel=0.02), "the joint test, not each estimate alone"
    breakdown = of(document, "honest-breakdown").numbers["breakdown"]
    assert breakdown == pytest.approx(statistic("S3", "honest", "breakdown", transform="relative magnitudes"))
    assert (of(document, "honest-breakdown").severity >= INFORMS) == (breakdown < 1)
    first = statistic("S3", "honest", "breakdown", transform="relative magnitudes", column=1)
    assert of(document, "honest-breakdown:first").numbers["breakdown"] == pytest.approx(first)
    share = statistic("S2", "dcdh-weights", "negative_share", transform="controls")
    assert of(document, "negative-weights").numbers["negative_share"] == pytest.approx(share)


def test_one_period_after_adoption_has_one_breakdown_value(tmp_path: Path) -> None:
    frame = made_cities.frame()
    last = frame["year"] == frame["year"].max()
    document = made(tmp_path, made_cities.PANEL, frame.assign(d=frame.groupby("city")["d"].transform("max") * last))
    assert [check.name for check in document.warnings if "breakdown" in check.name] == ["honest-breakdown:first"]


def test_trends_that_differ_before_adoption_overturn(tmp_path: Path) -> None:
    frame = made_cities.frame()
    treated = frame.groupby("city")["d"].transform("max")
    noise = np.random.default_rng(6).standard_normal(len(frame))
    document = made(tmp_path, SPEC, frame.assign(y=(noise + 2.0 * treated * (frame["year"] - 2010)).round(6)))
    assert of(document, "unequal-trends").answer == "contradicts"
    placebo = of(document, "placebo-in-time")
    assert (placebo.answer, placebo.severity) == ("differs", WEAKENS)
    assert 0 < placebo.numbers["mean"] == pytest.approx(np.mean([placebo.numbers[f"lead:{k}"] for k in (1, 2, 3)]))
    assert of(document, "pre-trend").severity == WEAKENS
    assert (of(document, "pre-trend").numbers["pvalue"] or 0) < 0.05


def test_confounding_is_that_of_the_regression(committed: Document, tmp_path: Path) -> None:
    record = headline(committed, "iid")
    rv = of(committed, "robustness-value")
    assert rv.numbers["t"] == pytest.approx(record.statistic, rel=1e-8)
    assert rv.numbers["partial_r2"] == pytest.approx(record.statistic**2 / (record.statistic**2 + 324 - 44 - 3))
    oster, frame = of(committed, "oster-delta"), made_cities.frame()
    mirrored = of(made(tmp_path, SPEC, frame.assign(y=-frame["y"])), "robustness-value")
    assert mirrored.sentence == rv.sentence.replace("would leave ", "would leave -")
    assert oster.numbers["short"] == pytest.approx(dummies(frame, "city", "year", regressors=("d",)), rel=1e-8)
    assert oster.numbers["long"] == pytest.approx(record.estimate, rel=1e-8)
    assert oster.numbers["r2_max"] == pytest.approx(min(1.0, 1.3 * oster.numbers["r2_long"]))
    assert (oster.severity != SILENT) == (0 < oster.numbers["delta"] < 1)  # its controls explain much


@pytest.mark.parametrize(("loading", "severity"), [(0.0, SILENT), (2.0, WEAKENS)])
def test_selection_is_judged_where_controls_explain_something(tmp_path: Path, loading: float, severity: int) -> None:
    """A control that goes with the treatment and takes most of its effect; one that explains nothing says nothing."""
    rng, frame = np.random.default_rng(5), made_cities.frame()
    confounder = frame["d"] + 0.5 * rng.standard_normal(len(frame))
    frame["road"] = rng.standard_normal(len(frame)) if loading == 0 else confounder
    frame["book"] = rng.standard_normal(len(frame))
    frame["y"] = frame["d"] + loading * frame["road"] + rng.standard_normal(len(frame))
    found = of(made(tmp_path, made_cities.PANEL, frame.round(6)), "oster-delta")
    assert found.severity == severity
    assert loading == 0 or 0 < found.numbers["delta"] < 1
    assert ("next to nothing" in found.sentence) == (loading == 0)


def test_tests_of_several_outcomes(committed: Document) -> None:
    found = of(committed, "romano-wolf").numbers
    assert set(found) == {f"{what}:{name}" for what in ("alone", "together") for name in ("y", "patents", "second")}
    own = {"y": headline(committed), "patents": one(committed, model="mediator", term="did", se_type="cluster:unit"),
           "second": one(committed, sample="outcome second", term="did", se_type="cluster:unit")}  # fmt: skip
    for name, record in own.items():
        assert found[f"alone:{name}"] == pytest.approx(record.pvalue, rel=1e-8)
    assert found["together:second"] >= found["alone:second"] - 4 * np.sqrt(0.25 / 999)


SEVERAL = f"""{made_cities.PANEL}
mediators = ["patents"]
missing = "drop"
%s
[inference]
draws = 99
%s
[robustness]
outcomes = ["second"]
"""


def test_several_tests_count_parameters_and_rows_as_tables_do(tmp_path: Path) -> None:
    """With all effects in the factor, and a city of one row, which tables leave out."""
    frame = made_cities.frame()
    frame = frame[(frame["city"] != "C01") | (frame["year"] == 2014)]
    document = made(tmp_path, SEVERAL % ("", 'cluster_k = "all"'), frame)
    records = {"y": headline(document), "patents": one(document, model="mediator", term="did", se_type="cluster:unit"),
               "second": one(document, sample="outcome second", term="did", se_type="cluster:unit")}  # fmt: skip
    found = of(document, "romano-wolf").numbers
    for name, record in records.items():
        assert found[f"alone:{name}"] == pytest.approx(record.pvalue, rel=1e-8)


def test_several_tests_of_few_clusters_are_held_to_holm(tmp_path: Path) -> None:
    """Nine provinces: random signs never give a |t| above 3, and called any larger one as certain as can be."""
    found = of(made(tmp_path, SEVERAL % ('cluster = "province"', "")), "romano-wolf")
    alone, together = ([found.numbers[f"{what}:{name}"] for name in ("y", "patents", "second")]
                       for what in ("alone", "together"))  # fmt: skip
    np.testing.assert_allclose(together, multipletests(alone, method="holm")[1], rtol=1e-12)
    assert "Holm" in found.sentence


def test_two_units_have_no_test_that_rounding_makes(tmp_path: Path) -> None:
    """Their scores cancel: nothing is held to others, and no sentence speaks of a number that is none."""
    frame = made_cities.frame()
    instruments = '[iv]\nendogenous = "road"\ninstruments = ["gdp"]'
    two = frame[frame["city"].isin(["C01", frame.loc[frame["d"] == 1, "city"].iloc[0]])]
    document = made(tmp_path, SEVERAL % ("", "") + instruments, two)
    codes = {warning.name: warning for warning in document.warnings}
    assert "romano-wolf" not in codes
    assert "no error" in codes["ols-and-2sls"].sentence
    assert not [text for text in document.notes if "nan" in text]


def test_a_group_that_carries_the_effect(tmp_path: Path) -> None:
    frame = made_cities.frame()
    treated = frame.groupby("city")["d"].transform("max") == 1
    carrier = frame.loc[treated, "province"].value_counts().index[0]
    rng = np.random.default_rng(2)
    y = 4.0 * frame["d"] * (frame["province"] == carrier) + 0.3 * rng.standard_normal(len(frame))
    found = of(made(tmp_path, SPEC, frame.assign(y=y.round(6))), "leave-out:province")
    assert found.answer in {"cannot tell", "contradicts"}
    assert found.sentence.startswith(f"Without province {carrier} the effect is {number(found.numbers['estimate'])} ")
    rest = frame.assign(y=y.round(6))[frame["province"] != carrier]
    assert found.numbers["estimate"] == pytest.approx(dummies(rest, "city", "year"), rel=1e-8)


def test_a_panel_with_gaps_keeps_what_it_can_have(tmp_path: Path) -> None:
    spec = made_cities.PANEL.replace('controls = ["road", "book"]', 'controls = ["road", "book"]\nmissing = "drop"')
    document = made(tmp_path, spec, made_cities.frame_with_gaps())
    codes = {warning.name for warning in document.warnings}
    assert {"residual-ar1", "robustness-value", "negative-weights", "leave-out:cohort", "not-checked:trends"} <= codes
    assert not {"pesaran-cd", "romano-wolf"} & codes, "CD asks for no gaps, an adjustment for several outcomes"
    assert of(document, "not-checked:trends").severity == SILENT
    assert of(document, "not-checked:trends").sentence.startswith("The checks of unequal trends do not apply to this")


@pytest.mark.parametrize(("first", "there"), [(2013, False), (2012, True)])
def test_two_periods_are_too_few_for_pesarans_cd(first: int, there: bool, tmp_path: Path) -> None:
    """A unit's variance is one squared residual there, and draws of units alike are no measure for CD."""
    cities = made_cities.frame()
    document = made(tmp_path, made_cities.PANEL, cities[cities["year"].between(first, 2014)])
    assert ("pesaran-cd" in {warning.name for warning in document.warnings}) is there


def test_without_a_treatment_only_residuals_and_controls_are_checked(tmp_path: Path) -> None:
    document = made(tmp_path, SPEC.replace('treatment = "d"\n', "").replace('mediators = ["patents"]\n', ""))
    heads = {warning.name.partition(":")[0] for warning in document.warnings}
    assert heads == {"residual-ar1", "pesaran-cd", "residual-moran", "residual-groups", "outcome-again", "links",
                     "missing-codes"}  # fmt: skip
    assert document.specifications == ()


def test_the_feet_of_tables_2_5_and_7_hold_the_same_numbers(committed: Document) -> None:
    kept = {(s.table, s.column, s.model, s.transform, s.name): s.value for s in committed.statistics}
    numbers = of(committed, "residual-ar1").numbers
    own, sdm = ("2", 5, "did", None), ("7", 3, "sdm", "direct")
    wanted = {
        (*own, "ar1_raw"): numbers["ar1_raw"], (*own, "ar1"): numbers["ar1"],
        (*own, "pesaran_cd"): of(committed, "pesaran-cd").numbers["cd"],
        (*own, "residual_moran"): of(committed, "residual-moran:w").numbers["moran"],
        (*sdm, "residual_moran"): of(committed, "residual-moran:sdm:w").numbers["moran"],
        ("5", 1, "mediator", None, "ar1"): numbers["ar1:table 5, patents, mediator"],
        ("5", 2, "outcome", None, "ar1"): numbers["ar1:table 5, patents, outcome"],
        ("7", 2, "sar", "direct", "ar1_raw"): numbers["ar1_raw:table 7, sar, w"],
    }  # fmt: skip
    assert {place: kept[place] for place in wanted} == wanted
    of_table_7 = {name for name in numbers if name.startswith("ar1:table 7")}
    assert of_table_7 == {"ar1:table 7, sar, w", "ar1:table 7, sdm, w"}, "no other model"
    assert {key[:4] for key in kept if key[4] == "pesaran_cd"} == {
        own, sdm, ("5", 1, "mediator", None), ("5", 2, "outcome", None), ("7", 2, "sar", "direct")}  # fmt: skip


def test_without_a_significant_effect_none_is_taken_away(tmp_path: Path) -> None:
    rng, frame = np.random.default_rng(30), made_cities.frame()
    document = made(tmp_path, SPEC, frame.assign(y=rng.standard_normal(len(frame)).round(6)))
    assert (headline(document).pvalue or 0) > 0.1
    flipped = of(document, "leave-out:province")
    assert (flipped.numbers["estimate"] or 0) * (headline(document).estimate or 0) < 0
    assert flipped.needed is None
    for warning in document.warnings:
        if warning.difference is not None:
            assert warning.answer in {"consistent", "differs"}  # nothing is claimed that could be contradicted
            assert "support" not in warning.sentence


# Warnings about what was given: controls, treated units, first periods, links of W.


def with_control(values: pd.Series) -> tuple[str, pd.DataFrame]:
    """The committed panel with one more control."""
    return SPEC.replace('"book"]', '"book", "new"]'), made_cities.frame().assign(new=values)


def test_a_control_made_of_the_treatment(tmp_path: Path) -> None:
    frame = made_cities.frame()
    document = made(tmp_path, *with_control(frame["d"] * np.log(frame["gdp"])))
    found = of(document, "control-of-treatment:new")
    assert found.severity == OVERTURNS
    assert f"; without any control {number(dummies(frame, 'city', 'year', regressors=('d',)))})" in found.sentence
    assert of(document, "control-of-treatment:road").severity == SILENT


def test_a_dose_that_is_zero_once_says_nothing_of_its_controls(tmp_path: Path) -> None:
    frame = made_cities.frame()
    frame["d"] = np.where(frame.index == 7, 0.0, np.random.default_rng(4).standard_normal(len(frame)))
    document = made(tmp_path, SPEC, frame)
    assert of(document, "control-of-treatment:road").sentence == "The control road is no function of the treatment."
    assert "not-checked:staggered" not in [one.name for one in document.warnings]


def test_a_control_that_the_treatment_moves(tmp_path: Path, committed: Document) -> None:
    frame = made_cities.frame()
    noise = np.random.default_rng(4).standard_normal(len(frame))
    document = made(tmp_path, *with_control(2 * frame["d"] + noise))
    found, rv = of(document, "control-of-treatment:new"), of(document, "robustness-value")
    shares = [min(rv.numbers[f"r2_{what}:{name}"] or 0 for what in ("treatment", "outcome"))
              for name in ("road", "book", "new")]  # fmt: skip
    assert rv.benchmark == max(shares) < (rv.numbers["r2_treatment:new"] or 0)
    assert found.severity == WEAKENS
    assert found.numbers["t"] > 5
    assert of(made(tmp_path, *with_control(pd.Series(noise))), "control-of-treatment:new").severity == SILENT


@pytest.mark.parametrize(("power", "severity"), [(1.0, OVERTURNS), (0.02, SILENT)])
def test_a_control_that_is_the_outcome_again(tmp_path: Path, power: float, severity: int) -> None:
    frame = made_cities.frame()
    noise = np.random.default_rng(4).standard_normal(len(frame))
    found = of(made(tmp_path, *with_control(power * np.exp(frame["y"] / 20) * 20 + 0.05 * noise)), "outcome-again:new")
    assert found.severity == severity
    assert abs(found.numbers["correlation"] or 0) > 0.95 or severity == SILENT


def test_one_treated_unit(tmp_path: Path, committed: Document) -> None:
    frame = made_cities.frame()
    only = frame.loc[frame["d"] == 1, "city"].iloc[0]
    alone = frame.assign(d=frame["d"] * (frame["city"] == only))
    document = made(tmp_path, SPEC.replace('outcomes = ["second"]', ""), alone)
    found = of(document, "one-treated-unit")
    assert found.severity == OVERTURNS
    assert found.sentence.startswith(f"Only {only} is treated")
    assert of(committed, "one-treated-unit").severity == SILENT


@pytest.mark.parametrize(("others", "gap"), [(0, False), (1, False), (0, True)])
def test_one_untreated_unit_is_no_more_than_one_treated_one(tmp_path: Path, others: int, gap: bool) -> None:
    """All cities but one are treated from one year on: the regression is that of one treated unit, mirrored."""
    frame = made_cities.frame()
    left = frame["city"].unique()[: 1 + others]
    d = ((frame["year"] >= 2014) & ~frame["city"].isin(left)).astype(int)
    spec, frame = SPEC.replace('outcomes = ["second"]', ""), frame.assign(d=d)
    if gap:
        spec = made_cities.PANEL.replace("[panel]", '[panel]\nbalance = "drop-units"')
        frame = frame[(frame["city"] != left[0]) | (frame["year"] != 2012)]
    document = made(tmp_path, spec, frame)
    found = [check for check in document.warnings if check.name == "one-untreated-unit"]
    assert [check.severity for check in found] == [OVERTURNS] * (1 - others)
    assert all(check.sentence.startswith(f"All units but {left[0]} are treated") for check in found)


def test_statistics_of_residuals_do_not_hang_on_the_units_of_controls(tmp_path: Path) -> None:
    """A ratio beside a sum of money: least squares leaves the same residuals."""
    frame = made_cities.frame()
    (tmp_path / "other").mkdir()
    scaled = frame.assign(road=frame["road"] * 1e13, book=frame["book"] * 0.05)
    documents = [made(tmp_path, SPEC, frame), made(tmp_path / "other", SPEC, scaled)]
    values = [{(r.place, r.name, r.model, r.transform): r.estimate for r in one.statistics if r.term is None}
              for one in documents]  # fmt: skip
    own = {key for key in values[0] if key[1] in {"residual_ar1", "residual_cd", "residual_moran"}}
    assert len(own) >= 2
    for key in own:
        assert values[1][key] == pytest.approx(values[0][key], rel=1e-6), key


def test_placebos_in_time_are_as_many_years_earlier_as_they_say(tmp_path: Path) -> None:
    frame = made_cities.frame()
    document = made(tmp_path, made_cities.PANEL, frame.assign(year=2010 + 2 * (frame["year"] - 2010)))
    said = {check.alternative for check in document.warnings if "placebo" in check.alternative}
    assert said <= {f"less the placebo {k} years before adoption" for k in (2, 4, 6)}
    assert said


def test_an_endogenous_regressor_need_not_be_a_control(tmp_path: Path) -> None:
    spec = made_cities.PANEL + '[iv]\ninstruments = ["patents"]\nendogenous = "jobs"\n'
    document = made(tmp_path, spec, made_cities.frame())
    assert any(record.table == "I" and record.term == "jobs" for record in document.records)
    assert of(document, "endogenous-again:patents").severity == SILENT


@pytest.mark.parametrize(("start", "severity"), [(2012, INFORMS), (2014, WEAKENS)])
def test_a_panel_that_starts_after_adoption(tmp_path: Path, start: int, severity: int, committed: Document) -> None:
    frame = made_cities.frame()
    found = of(made(tmp_path, made_cities.PANEL, frame[frame["year"] >= start]), "without-pre-periods")
    first = frame.loc[frame["d"] == 1].groupby("city")["year"].min()
    assert found.numbers == {"units": float((first <= start).sum()), "treated_units": float(len(first))}
    assert found.severity == severity
    assert found.sentence.startswith(f"{(first <= start).sum()} of {len(first)} treated units are never seen untreated")
    assert of(committed, "without-pre-periods").severity == SILENT


def links(folder: Path, table: pd.DataFrame, own: str = "") -> Check:
    real = made_cities.real_panel(folder, SPEC)
    if own:
        path = folder / "spec.toml"
        path.write_text(path.read_text("utf-8").replace('path = "w.csv"', f'path = "w.csv"\n{own}'), "utf-8")
    table.to_csv(folder / "w.csv", index=False)
    real = read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))
    (found,) = (w for w in estimate(real).warnings if w.name in ("links:w", "pairs-once:w"))
    return found


def test_pairs_that_are_named_once(tmp_path: Path, committed: Document) -> None:
    edges = made_cities.edges()
    (tmp_path / "spec").mkdir()
    once = edges[edges["focal"] < edges["neighbor"]]
    last = pd.DataFrame([("C36", "C01", 1.0)], columns=["focal", "neighbor", "weight"])  # else an island
    found = links(tmp_path, pd.concat([once, last]), "symmetric = false")
    assert (found.name, found.severity) == ("pairs-once:w", OVERTURNS)
    count = len(once) + 1
    assert f"gives {count / 36:.1f} neighbours a unit instead of {2 * count / 36:.1f}" in found.sentence
    assert of(committed, "links:w").severity == SILENT
    apart = edges[~(edges[["focal", "neighbor"]] == "C36").any(axis=1)]  # an island, linked one way to the nearest
    assert links(tmp_path, apart, 'islands = "nearest"').severity == SILENT
    some = links(tmp_path, edges.iloc[1:])
    assert some.severity == WEAKENS
    assert f"1 of {len(edges) - 1} links have no reverse link" in some.sentence


def test_nearest_neighbours_are_no_contiguity(tmp_path: Path) -> None:
    near = made_cities.nearest(4).dense
    rows, columns = np.nonzero(near)
    units = made_cities.nearest(4).units
    table = pd.DataFrame({"focal": [units[i] for i in rows], "neighbor": [units[j] for j in columns], "weight": 1.0})
    assert links(tmp_path, table).severity == SILENT
