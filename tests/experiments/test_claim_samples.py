"""Claims: the sample that a claim uses, against the file by hand; effects of table S; careless claims in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import filled, one
from refusals import refuses, refuses_all

from estimators.core.estimator import Status
from estimators.permutation import SomeTerms
from experiments.estimation import estimator_called, panel_for
from experiments.panel_spec.spec import RealPanel
from experiments.tables import staggered_table
from experiments.tables.ledger import Ledger
from experiments.trust.claim import PanelClaim, claim_of
from experiments.trust.evidence import study_of
from experiments.trust.recommend import placebos_of
from experiments.trust.trust import trust
from experiments.twins.real import Real
from experiments.twins.twin import twin
from sim import Panel, Streams, Wanted
from sim.arrays import Floats

TWIN = '\n[twin]\nmethod = ["parametric"]\ndraws = 100\n'
SPEC = made_cities.WHOLE.replace("windows = [[2011, 2018]]", "windows = [[2011, 2018], [2016, 2018]]") + TWIN
CITIES = made_cities.frame()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    return made_cities.real_panel(tmp_path_factory.mktemp("claims"), SPEC)


def lagged(table: pd.DataFrame) -> pd.DataFrame:
    """Treatment and controls of the year before."""
    before = table[["city", "year", "d", "road", "book"]].assign(year=table["year"] + 1)
    return table.drop(columns=["d", "road", "book"]).merge(before, on=["city", "year"])


SAMPLES: Mapping[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = {  # its rows, its controls
    "2:5:did": (lambda t: t, ("road", "book")),
    "3:1:did": (lambda t: t[t["is_capital"] == 0], ("road", "book")),
    "3:2:did": (lambda t: t, ("road", "book", "pilot")),
    "3:2:pilot": (lambda t: t, ("road", "book", "pilot")),
    "4:1:did": (lambda t: t[t["region"] == "east"], ("road", "book")),
    "5:1:did": (lambda t: t.assign(y=t["patents"]), ("road", "book")),
    "5:2:did": (lambda t: t, ("road", "book", "patents")),
    "R:1:did": (lambda t: t, ("road", "book")),
    "R:3:did": (lagged, ("road", "book")),
    "R:4:did": (lambda t: t.assign(y=t["y"].clip(*t["y"].quantile([0.05, 0.95]))), ("road", "book")),
    "R:5:did": (lambda t: t[t["year"].between(2011, 2018)], ("road", "book")),
    "R:7:did": (lambda t: t[t["region"] != "west"], ("road", "book")),
    "R:10:did": (lambda t: t, ("road", "book", "pilot", "data")),
    "R:11:did": (lambda t: t.assign(y=t["second"]), ("road", "book")),
    "S:4:overall": (lambda t: t[t.groupby("city")["d"].transform("min") == 0], ("road", "book")),
    "7:3:did": (lambda t: t, ("road", "book")),
}


def values(table: pd.DataFrame, name: str) -> Floats:
    """(T, N), units in the order of the file."""
    wide = table.pivot(index="year", columns="city", values=name)
    return np.asarray(wide[list(dict.fromkeys(table["city"]))], dtype=np.float64)


@pytest.mark.parametrize("text", SAMPLES)
def test_a_sample_is_what_the_file_says(real: RealPanel, text: str) -> None:
    rows, controls = SAMPLES[text]
    wanted, panel = rows(CITIES), claim_of(real, text).sample.panel
    assert (panel.units, panel.periods) == (tuple(dict.fromkeys(wanted["city"])), tuple(sorted(set(wanted["year"]))))
    assert panel.roles.controls == controls
    np.testing.assert_allclose(panel.variables[str(panel.roles.outcome)][0], values(wanted, "y"))
    for name, column in zip((str(panel.roles.treatment), *controls), ("d", *controls), strict=True):
        np.testing.assert_allclose(panel.variables[name][0], values(wanted, column))


@pytest.mark.parametrize(
    "text", ["3:2:did", "3:2:pilot", "5:2:did", "R:3:did", "R:4:did", "R:11:did", "S:4:overall", "7:3:did"]
)
def test_the_estimator_gives_the_claim_on_its_sample_and_runs_on_twins_of_it(real: RealPanel, text: str) -> None:
    claim = claim_of(real, text)
    found = claim.estimator(claim.sample.panel)
    assert found.terms == (claim.term,)
    assert found.estimate[0, 0] == pytest.approx(claim.estimate, rel=1e-12)
    drawn = draws(claim, 8)
    assert drawn.units == claim.sample.panel.units
    fits = claim.estimator(drawn)
    assert np.isfinite([*fits.estimate[:, 0], *fits.se[:, fits.errors.index(claim.printed)].ravel()]).all()


def draws(claim: PanelClaim, count: int) -> Panel:
    """Draws of the twin of a claim's sample."""
    streams, design = Streams(8, "claims"), twin(claim.sample).design
    wanted = Wanted(claim.estimator.variables(design.schema), ())
    return design.settle(streams).draw(streams.tile(0, count), wanted).panel


@pytest.mark.parametrize(("text", "said"), [
    ("4:1:did", "Twins are of the claim's own sample (region = east): 12 of 36 units, 2010 to 2018, outcome y."),
    ("R:11:did",
     "Twins are of the claim's own sample (outcome second): 36 of 36 units, 2010 to 2018, outcome second."),
    ("R:4:did", "winsorised at 0.05 and 0.95"),
    ("R:10:did", "Twins take pilot, data for a control, as the claim's regression does."),
    ("did", ""),
])  # fmt: skip
def test_the_reader_is_told_of_the_sample(real: RealPanel, text: str, said: str) -> None:
    claim = claim_of(real, text)
    assert (claim.sample is real) == (text == "did")
    assert [said in note for note in claim.notes] == [True] * bool(said)


def test_a_claim_on_a_group_is_the_claim_on_a_file_of_that_group(tmp_path: Path) -> None:
    """Estimate, fitted twin, placebos: all but the notes."""
    spec = f'{made_cities.PANEL}groups = ["region"]\n{made_cities.PLACES}[[weights]]\nkind = "knn"\nk = 4\n{TWIN}'
    for name in ("whole", "east"):
        (tmp_path / name).mkdir()
    part = claim_of(made_cities.real_panel(tmp_path / "whole", spec), "4:1:did")
    table = CITIES[CITIES["region"] == "east"]
    alone = claim_of(made_cities.real_panel(tmp_path / "east", spec, table), "did")
    assert part.estimate == pytest.approx(alone.estimate, rel=1e-12)
    fits = [{one.dial: one.value for one in twin(claim.sample).parameters} for claim in (part, alone)]
    assert fits[0] == pytest.approx(fits[1], rel=1e-9)
    tests = [placebos_of(claim)[0] for claim in (part, alone)]
    assert [(one["scheme"], one["pvalue"]) for one in tests[0]] == [(one["scheme"], one["pvalue"]) for one in tests[1]]
    assert tests[0][0]["mean"] == pytest.approx(tests[1][0]["mean"], rel=1e-9)


def test_a_staggered_claim_leaves_out_what_its_column_leaves_out(tmp_path: Path) -> None:
    """A city that is treated from the first year on stays in the two-way column alone."""
    table = CITIES.copy()
    table.loc[table["city"] == "C01", "d"] = 1
    spec = f"{made_cities.PANEL}[robustness]\nstaggered = true\n"
    real = made_cities.real_panel(tmp_path, spec, table)
    assert len(claim_of(real, "S:1:did").sample.panel.units) == 36
    claim = claim_of(real, "S:4:overall")
    assert claim.sample.panel.units == tuple(dict.fromkeys(table["city"]))[1:]
    assert claim.notes == ("Twins are of the claim's own sample: 35 of 36 units, 2010 to 2018, outcome y.",)


def residual_sd(*variables: Floats) -> float:
    """Of the first, (T, N), on the others and two-way effects, all parameters counted."""
    y, *x = ((v - v.mean(axis=0) - v.mean(axis=1, keepdims=True) + v.mean()).ravel() for v in variables)
    (squares,) = np.linalg.lstsq(np.column_stack(x), y)[1]
    return float(np.sqrt(squares / (y.size - sum(variables[0].shape) + 1 - len(x))))


def test_twins_of_a_subsample_have_its_units_and_its_noise(tmp_path: Path) -> None:
    """The east is three times as noisy as the rest: a twin of the whole panel is neither."""
    table = CITIES.copy()
    east = table["region"] == "east"
    table.loc[east, "y"] = 3 * table.loc[east, "y"]
    real = made_cities.real_panel(tmp_path, SPEC, table)
    found = trust(real, "4:1:did", replications=128, alone=True)
    design = found.twin.design
    own, whole = (residual_sd(*(values(part, name) for name in ("y", "d", "road", "book")))
                  for part in (table[east], table))  # fmt: skip
    assert whole < 0.8 * own
    drawn = draws(found.claim, 64)
    assert drawn.units == tuple(dict.fromkeys(table.loc[east, "city"]))
    assert design.schema.units == 12
    arrays = [np.broadcast_to(drawn.variables[name], (64, 9, 12)) for name in ("y", "did", "road", "book")]
    assert np.mean([residual_sd(*draw) for draw in zip(*arrays, strict=True)]) == pytest.approx(own, rel=0.1)
    spread = found.main.measure("empirical_se")
    alone = claim_of(real, "did")
    assert spread.value > 1.5 * float(np.std(alone.estimator(draws(alone, 64)).estimate[:, 0]))
    assert any("12 of 36 units" in note for note in found.notes)


def test_weights_are_built_anew_and_further_variables_cut_for_the_sample(real: RealPanel) -> None:
    """The four nearest of the same region, by a loop."""
    sample, east = claim_of(real, "4:1:did").sample.panel, CITIES[CITIES["region"] == "east"]
    np.testing.assert_allclose(sample.weights["knn-4"].dense, made_cities.nearest(4, east).dense)
    assert claim_of(real, "R:5:did").sample.panel.weights == real.panel.weights
    for text, kept in (("R:7:did", CITIES["region"] != "west"), ("R:5:did", CITIES["year"] > 2010)):
        further = claim_of(real, text).sample.further["second"]
        np.testing.assert_array_equal(further[0], values(CITIES[kept], "second"))


def test_a_sample_too_small_for_its_weights_has_none_and_says_so(tmp_path: Path) -> None:
    real = made_cities.real_panel(tmp_path, SPEC.replace("k = 4", "k = 20"))
    claim = claim_of(real, "4:1:did")
    assert claim.sample.panel.weights == {}
    assert claim.notes[-1].startswith("Twins of the claim's sample have no spatial weights: k = 20")
    assert twin(claim.sample).design.schema.units == 12


def test_clusters_that_a_sample_does_not_have_are_left_out(tmp_path: Path) -> None:
    spec = SPEC.replace('groups = ["region"]', 'groups = ["region"]\ncluster = "region"')
    real = made_cities.real_panel(tmp_path, spec.replace('"cluster:province",', '"cluster:region",'))
    claim = claim_of(real, "4:1:did")
    assert claim.printed == "iid"
    assert "cluster:region" not in claim.errors
    assert claim.sample.spec.panel.cluster is None
    assert "cluster:region" not in claim.sample.spec.inference.errors
    assert twin(claim.sample).design.schema.units == 12
    assert claim_of(real, "R:7:did").printed == "cluster:region"
    assert Real.of(claim_of(real, "R:7:did").sample).grouping == "region"


@pytest.fixture(scope="module")
def table_s(real: RealPanel) -> Ledger:
    return filled(staggered_table.add, real, real.spec.inference.seed)


STAGGERED = {
    "S:2:overall:event": "event-study",
    "S:3:overall:cohort": "callaway-santanna",
    "S:4:event(0)": "callaway-santanna",
    "S:7:overall:calendar": "imputation",
    "S:8:event(2)": "two-stage",
    "S:9:event(1)": "sun-abraham",
    "S:10:overall": "stacked",
}


@pytest.mark.parametrize("text", STAGGERED)
def test_effects_of_table_s_are_claims_with_the_numbers_of_the_table(
    real: RealPanel, table_s: Ledger, text: str
) -> None:
    claim = claim_of(real, text)
    place, term = ("S", int(text.split(":")[1])), text.split(":", 2)[2]
    record = one(table_s, place=place, term=term, se_type="cluster:unit")
    shown = claim.on(claim.panel)
    assert set(shown) == {"cluster:unit", "cluster:province", "cluster:region"}
    own = shown["cluster:unit"]
    assert (record.model, own.model) == (STAGGERED[text], STAGGERED[text])
    assert (own.estimate, own.se) == pytest.approx((record.estimate, record.se), rel=1e-12)
    assert own.pvalue == pytest.approx(record.pvalue, rel=1e-9)
    assert (claim.printed, claim.dial) == ("cluster:unit", "effect.size")
    fitted = next(item.estimator for item in table_s.fitted if item.fit.place == place)
    assert isinstance(claim.estimator, SomeTerms)
    assert getattr(claim.estimator.inner, "band", "") == ""  # drawn, and beside the claim
    same = "kind method controls covariates base window averages complete estimated_shares"
    for name in same.split():
        assert getattr(claim.estimator.inner, name, None) == getattr(fitted, name, None)


@pytest.mark.parametrize("text", ["S:2:event(3)", "S:3:overall:cohort", "S:7:overall:calendar"])
def test_the_dial_moves_the_estimand_of_the_claim(real: RealPanel, text: str) -> None:
    claim = claim_of(real, text)
    design = study_of(claim, twin(claim.sample), (0.7,), 64).cells[0].design
    target = claim.estimator.layout(design.schema).targets[claim.term]
    streams = Streams(3, "dials")
    draw = design.settle(streams).draw(streams.tile(0, 8), Wanted(claim.estimator.variables(design.schema), (target,)))
    np.testing.assert_allclose(draw.truth[target], 0.7)


def test_a_staggered_claim_is_judged(real: RealPanel) -> None:
    found = trust(real, "S:4:overall", replications=256, alone=True)
    last = len(found.main.effects) - 1
    at_zero, most = found.main.size("cluster:unit"), found.main.measure("rejection", "cluster:unit", last)
    assert 0.0 < at_zero.value < 0.15
    assert most.value > at_zero.value + 4 * most.mcse
    assert (found.record.table, found.record.term) == ("S", "overall")
    fits = next(iter(found.main.store.blocks(0))).estimates[found.main.estimator]
    assert (fits.status == 1).all()


CARELESS: Mapping[str, tuple[str, str]] = {  # what is wrong, what is suggested
    "best": ("claim 'best'", "`estimate` shows the tables"),
    "": ("claim ''", "`estimate` shows the tables"),
    "DID": ("claim 'DID'", "did you mean 'did'?"),
    "sdm": ("claim 'sdm'", "did you mean 'sdm:did'?"),
    "indirect": ("claim 'indirect'", "did you mean 'indirect:did'?"),
    "sdm:w_dog": ("no term 'w_dog'; allowed: w_did, did,", "did you mean 'w_did'?"),
    "7:3:rho": ("twins have no dial for the term 'rho'; allowed: did,", "choose one of them"),
    "indirect:road": ("no dial for the term 'indirect:road'; allowed: did,", "did you mean 'indirect:did'?"),
    "7:w_did": ("the claim names no column", "such as 7:1:w_did"),
    "2:5": ("the claim names no term", "such as 2:5:did"),
    "2:5:DID": ("no term 'DID'; allowed: did,", "did you mean 'did'?"),
    "2:9:did": ("table 2 of this spec has no column 9; allowed: 2:5, 2:4,", "did you mean 2:5:did?"),
    "2:5:constant": ("no dial for the term 'constant'; allowed: did,", "choose one of them"),
    "8:1:did": ("there is no table '8' with claims; allowed: 2, 3, 4, 5, 7, R, S", "choose one of them"),
    "S2:1:did": ("there is no table 'S2' with claims", "choose one of them"),
    "S:overall": ("the claim names no column", "such as S:1:overall"),
    "S:3": ("the claim names no term", "such as S:3:overall"),
    "s:1:overall": ("no term 'overall'; allowed: did,", "did you mean S:2:overall?"),
    "S:99:overall": ("table S of this spec has no column 99; allowed: S:10, S:9,", "did you mean S:10:overall?"),
    "S:3:event3": ("no term 'event3'; allowed: event(3),", "did you mean 'event(3)'?"),
    "S:3:event(-2)": ("no dial for the term 'event(-2)' before adoption", "did you mean 'event(2)'?"),
    "S:2:event(5)": ("'event(5)', which holds several times since adoption", "did you mean 'event(4)'?"),
    "4:0:did": ("Table 4, column 0 (region) holds tests; allowed: 4:1,", "did you mean 4:1:did?"),
    "5:2:nie": ("twins do not have patents, which mediation-patents uses", "such as did"),
    "R:13:did": ("(PSM, kernel, bandwidth 0.06) is of a sample that twins do not have", "did you mean R:11:did?"),
    "R:6:did": ("has no column 6; allowed: R:5, R:7,", "Table R, column 6 (2016-2018) is empty"),
}


@pytest.mark.parametrize("text", CARELESS)
def test_careless_claims_are_one_line_with_the_nearest_name_first(real: RealPanel, text: str) -> None:
    what, remedy = CARELESS[text]
    caught = refuses_all([*what.split("; "), remedy, "--claim"], claim_of, real, text, count=1)
    said = str(caught)
    assert said.index(remedy) < said.index("allowed: ") or not remedy.startswith("did you mean")
    assert len(caught.problems[0].allowed.split(", ")) <= 9


LACKING = {"3": "name capital or other_policy", "4": "name groups in", "5": "name mediators in",
           "R": "ask for checks in", "S": "staggered = true", "7": "add a table [[weights]]"}  # fmt: skip


@pytest.mark.parametrize("table", LACKING)
def test_a_table_that_the_spec_does_not_give_says_what_would(tmp_path: Path, table: str) -> None:
    real = made_cities.real_panel(tmp_path, made_cities.PANEL)
    refuses(f"this spec gives no table {table} with claims.*{re.escape(LACKING[table])}",
            lambda: claim_of(real, f"{table}:1:did"))  # fmt: skip


@pytest.mark.parametrize(("text", "error", "said"), [
    *((text, error, f"error type '{error}' is drawn anew for every panel") for text, error in
      (("did", "wild:unit"), ("did", "permutation"), ("S:3:overall", "bootstrap:unit"))),
    *(("S:3:overall", error, "allowed: cluster:unit, cluster:region, cluster:province")
      for error in ("hc1", "driscoll-kraay", "cluster:unit+period", "cluster:city")),
])  # fmt: skip
def test_error_types_that_a_claim_cannot_have_are_refused(real: RealPanel, text: str, error: str, said: str) -> None:
    refuses(f"(?=.*{re.escape(said)}).*allowed: [^;]*cluster:unit", lambda: claim_of(real, text, error))


def test_a_term_without_an_error_is_no_claim(tmp_path: Path) -> None:
    """Event time 8 is of one city, which nothing shows the noise of."""
    table = CITIES.copy()
    first = dict(zip(dict.fromkeys(table["city"]), [2012] + [2016] * 8 + [9999] * 27, strict=True))
    table["d"] = (table["year"] >= table["city"].map(first)).astype(int)
    real = made_cities.real_panel(tmp_path, SPEC.replace("[[2011, 2018], [2016, 2018]]", "[[2011, 2018]]"), table)
    assert claim_of(real, "S:3:event(1)").errors
    refuses(
        r"the term 'event\(4\)' has no cluster:unit error.*rests on one cluster", lambda: claim_of(real, "S:3:event(4)")
    )


def test_a_sample_with_gaps_is_one_line(tmp_path: Path) -> None:
    table = CITIES.copy()
    table.loc[[3, 40], "second"] = np.nan
    spec = SPEC.replace("[panel]", '[panel]\nmissing = "drop"')
    real = made_cities.real_panel(tmp_path, spec, table)
    refuses("--claim R:11:did.* 2 unit-periods are missing", lambda: claim_of(real, "R:11:did"), count=1)
    dropped = made_cities.real_panel(tmp_path, spec.replace("[panel]", '[panel]\nbalance = "drop-units"'), table)
    claim = claim_of(dropped, "R:11:did")
    assert (claim.panel.nobs, twin(claim.sample).design.schema.units) == (322, 34)


@pytest.mark.parametrize("name", ["sdm", "spatial-random", "imputation"])
def test_models_without_gaps_that_a_user_names_have_the_balanced_part(tmp_path: Path, name: str) -> None:
    table = CITIES.copy()
    table.loc[[3, 40], "y"] = np.nan
    spec = SPEC.replace("[panel]", '[panel]\nmissing = "drop"\nbalance = "drop-units"')
    real = made_cities.real_panel(tmp_path, spec, table)
    assert not real.panel.balanced
    assert panel_for(name, real).balanced
    assert estimator_called(name, real)(panel_for(name, real)).status.tolist() == [Status.OK]
