"""Any kind of estimator: `placebo --estimator`, `estimate --estimator` and permutation tests, a user's own included."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
from first_difference import FirstDifference, one_fit
from placebo_files import command, write

import panelproof as pp
from estimators import Estimator, PermutationTest, SpatialPanel, Status, TwoWayDID, estimators
from estimators.matching import PsmDID
from experiments.cli import run_command
from experiments.estimation import SECTIONS, estimate, estimator_called
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.placebo import answer, check_fits, question
from experiments.run.runner import run
from experiments.tables.ledger import regression
from references.small_panels import small_panel
from sim import BadInput, Panel
from sim.schemes import scheme_of

OWN = "first_difference:FirstDifference"
TERMS = {"random": "did", "callaway-santanna": "overall", "rings": "did", OWN: "did", "sdem": "did"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return write(tmp_path_factory.mktemp("panel"), small_panel(30, 8, seed=4, model="none", sigma=3.0))


@pytest.fixture(scope="module")
def real(files: tuple[str, str]) -> RealPanel:
    return read_real_panel(files[0], read_spec(files[1]))


@pytest.mark.parametrize("kind", TERMS)
def test_placebos_are_fits_of_the_estimator_itself(real: RealPanel, kind: str) -> None:
    """On the panel as it was and on panels with the treatment drawn again; p is the rank among them."""
    ask = question(real, estimator=kind, draws=99, scheme="strata:province")
    check_fits(ask)
    assert ask.term == TERMS[kind]
    found, own = answer(ask, run(ask.study)), estimator_called(kind, real)
    whole = own(real.panel)
    assert found.estimate == pytest.approx(whole.estimate[0, whole.terms.index(ask.term)], rel=1e-9)
    scheme, streams = scheme_of("strata:province").on(ask.panel), ask.study.cells[0].streams(ask.study.seed)
    codes = np.array([scheme.draw(rng) for rng in streams.tile(0, 99).each("assignment")])
    fits = own(scheme.assigned(ask.panel, codes))
    at = fits.terms.index(ask.term)
    np.testing.assert_allclose(found.placebos, np.where(fits.status == 1, fits.estimate[:, at], np.nan), rtol=1e-7)
    extreme = ~(np.abs(found.placebos) < abs(found.estimate))
    assert found.permutation_p == pytest.approx((1 + extreme.sum()) / 100)


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_a_permutation_test_takes_it(real: RealPanel, statistic: str) -> None:
    test = PermutationTest.of(FirstDifference(), draws=99, statistic=statistic)
    assert test.estimator == OWN
    found = test(real.panel)
    beta, se = one_fit(real.panel)
    assert found.estimate[0, 0] == pytest.approx(beta)
    assert 0.01 <= found.pvalue[0, 0, 0] <= 1
    assert np.isfinite(found.lower[0, 0, 0]) == (statistic == "raw")  # type: ignore[index]  # linear: found out
    assert found.se[0, 1, 0] == pytest.approx(se)


@pytest.fixture
def table_2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lines of table 2 as it is printed with further estimators; all that was printed is the last."""
    monkeypatch.setenv("COLUMNS", "300")

    def lines(files: tuple[str, str], *kinds: str) -> list[str]:
        options = [word for kind in kinds for word in ("--estimator", kind)]
        assert run_command(["estimate", files[0], "--spec", files[1], *options]) == 0
        text = capsys.readouterr().out
        start = text.index("Table 2")
        return [*text[start : text.index("more tables:", start)].splitlines(), text]

    return lines


def test_further_columns_of_table_2_have_their_names_and_rows(
    files: tuple[str, str], table_2: Callable[..., list[str]]
) -> None:
    *lines, text = table_2(files, "rings", OWN, "sdm", "stacked")
    numbers, names = (next(line for line in lines if word in line) for word in ("(5)", "first-difference"))
    assert numbers.split()[-3:] == ["(6)", "(7)", "(8)"]
    assert names.split()[-3:-1] == ["rings", "first-difference"]
    assert text.count("no cohort has clean controls") == 1
    of_effects = [f"{effect} effect of park" for effect in ("direct", "indirect", "total")]
    assert [sum(line.strip().startswith(label) for line in lines) for label in of_effects] == [1, 1, 1]
    assert sum(line.startswith("park  ") for line in lines) == 1


def test_below_a_test_statistic_stands_its_p_value(
    files: tuple[str, str], real: RealPanel, table_2: Callable[..., list[str]]
) -> None:
    *lines, _ = table_2(files, "lm")
    found = estimator_called("lm", real)(real.panel)
    for term, p in zip(found.terms, found.pvalue[0, 0], strict=True):
        (at,) = (place for place, line in enumerate(lines) if line.startswith(f"{term} "))
        assert lines[at + 1].strip() == f"[p = {p:.4f}]"
    table = "\n".join(lines)
    assert "[–]" not in table
    assert "test statistics, χ² with one degree of freedom; brackets hold their p values." in table
    assert "lm_lag: the LM test for a spatial lag" in table


def test_terms_without_a_label_are_explained(tmp_path: Path, table_2: Callable[..., list[str]]) -> None:
    made_cities.real_panel(tmp_path, made_cities.PANEL + 'mediators = ["patents"]\n[inference]\ndraws = 99\n')
    *lines, _ = table_2((str(tmp_path / "panel.csv"), str(tmp_path / "spec.toml")), "mediation")
    shown = "\n".join(lines)
    assert "nde: the direct effect; nie: the indirect effect, a × b" in shown
    assert "a: the effect of the treatment on the mediator; b: the effect of the mediator on the outcome" in shown


def test_a_matched_column_has_the_sizes_of_its_own_sample(real: RealPanel) -> None:
    document = estimate(real, estimators=("psm-did",))
    (record,) = (r for r in document.records if (r.model, r.term, r.se_type) == ("psm-did", "did", "iid"))
    matched = PsmDID().match(real.panel).units
    assert 0 < matched.sum() < len(real.panel.units)
    assert (record.units, record.periods) == (matched.sum(), len(real.panel.periods))
    assert record.nobs == matched.sum() * len(real.panel.periods)


def test_what_has_no_error_is_said_of_a_further_column(tmp_path: Path) -> None:
    """The only cohort that is seen four periods after adoption has one unit, which leaves no residual."""
    code, year = np.repeat(np.arange(25), 12), np.tile(np.arange(2001, 2013), 25)
    start = np.select([code < 1, code < 10], [2007, 2010], 9999)
    table = pd.DataFrame({"city": code, "year": year, "d": (year >= start).astype(int)})
    table["y"] = np.random.default_rng(3).normal(size=len(table))
    spec = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\ntreatment = "d"\n'
    document = estimate(made_cities.real_panel(tmp_path, spec, table), estimators=("sun-abraham",))
    absent = {r.term for r in document.records if r.model == "sun-abraham" and r.estimate is not None and r.se is None}
    assert "event(4)" in absent
    (note,) = (note for note in document.notes if "Table 2, column 6 (all) has no cluster:unit error of" in note)
    assert all(term in note for term in absent)
    assert note.endswith("rests on one cluster, or on cohorts of one unit each.")


@pp.estimator(terms=["did"])
def ending(panel: Panel) -> None:
    """It asks the program to end."""
    sys.exit(3)


@pp.estimator
def ending_on_trial(panel: Panel) -> None:
    sys.exit(4)


def test_estimators_as_they_are_have_columns_of_their_own(tmp_path: Path) -> None:
    """In Python a formula, an estimator with settings and a kind by its name stand side by side."""
    real = made_cities.real_panel(tmp_path, made_cities.PANEL)
    formula = pp.formula("y ~ did + road + book | unit + period", vcov={"CRV1": "unit"})
    robust = pp.TwoWayDID(errors=("hc1",), label="robust")
    found = pp.estimate(real, estimators=[formula, robust, "random"])
    assert found["2", 6].params["did"] == pytest.approx(found["2", 5].params["did"], rel=1e-9)
    assert found["2", 7].params["did"] == pytest.approx(found["2", 5].params["did"], rel=1e-9)
    named = estimator_called("random", real)(real.panel)
    assert found["2", 8].params["did"] == named.estimate[0, named.terms.index("did")]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (ending, "estimators holds <class .*; write ending()"),
        ([len], "estimators holds <built-in function len>; .*; put @pp.estimator above a function"),
        (5, "estimators holds 5"),
        ([pp.TwoWayDID(), pp.TwoWayDID(errors=("hc1",))], "two estimators are called 'did'; .*; give one a label"),
        ([pp.PermutationTest()], "a permutation test is no column; .*; call pp.placebo"),
    ],
)
def test_what_is_no_estimator_is_one_line(asked: Any, said: str) -> None:
    with pytest.raises(pp.BadInput, match=said.replace("()", r"\(\)")):
        pp.estimate(pp.example_panel(30), estimators=asked)


def test_a_function_that_ends_the_program_has_failed(tmp_path: Path) -> None:
    real = made_cities.real_panel(tmp_path, made_cities.PANEL)
    notes = pp.estimate(real, estimators=[ending(), ending_on_trial()]).notes
    assert "No column ending: the estimator raised an error or gave no finite number; the reason is kept." in notes
    (note,) = (note for note in notes if "ending-on-trial" in note)
    assert "a trial fit raised RuntimeError: it ends the program, with the code 4 (test_any_estimator.py, line" in note
    store = pp.run(pp.Study("x", pp.Paper(controls="none"), (ending(),), replications=32))
    assert store.status_counts() == {"ending": {Status.ERROR: 32}}


REFUSED = {
    "lm": "no term is tested by scheme space",
    "rigns": "did you mean 'rings'",
    "permutation": "for permutation tests: panelproof placebo",
    "permutatoin": "for permutation tests: panelproof placebo",
    "nowhere:Nothing": "cannot load 'nowhere:Nothing'",
    "mediation": "no mediator is named",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_estimators_that_test_nothing_or_do_not_exist_are_one_line(
    kind: str, files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command(files, "--estimator", kind, "--store", str(tmp_path / "x.zarr"))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert REFUSED[kind] in line
    assert not (tmp_path / "x.zarr").exists()
    if kind == "rigns":
        assert run_command(["estimate", files[0], "--spec", files[1], "--estimator", kind]) == 2
        assert REFUSED[kind] in capsys.readouterr().err


def test_the_placebos_estimator_is_that_of_the_tables(tmp_path: Path) -> None:
    """Up to label, constant, terms and error types, and so is that of --estimator did."""
    real = made_cities.real_panel(tmp_path, made_cities.WHOLE)
    table = regression(real.spec, "did")
    assert estimator_called("did", real) == table
    for scheme in ("space", "mixed", "time"):
        own = question(real, scheme=scheme, draws=99).estimator
        assert isinstance(own, TwoWayDID)
        assert set(own.errors) <= set(table.errors)
        assert dataclasses.replace(own, constant=table.constant, terms=None, errors=table.errors) == table


@pytest.mark.parametrize("kind", estimators())
def test_every_kind_begins_with_settings_that_a_name_can_give(real: RealPanel, kind: str) -> None:
    refused = {PermutationTest.kind: "estimator 'permutation'"} | dict.fromkeys(
        SECTIONS, "does not say what it is about"
    )
    if kind in refused:
        with pytest.raises(BadInput, match=refused[kind]):
            estimator_called(kind, real)
        return
    own: Estimator = estimator_called(kind, real)
    assert own.kind == kind
    if not isinstance(own, TwoWayDID | SpatialPanel):
        assert own == type(own)()


@pytest.fixture(scope="module")
def long_table() -> pd.DataFrame:
    """A dose with an instrument z and a moderator m, of units of two groups, with a few rows missing."""
    rng = np.random.default_rng(5)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(30), np.arange(6), indexing="ij"))
    z, u, m, x = rng.normal(size=(4, city.size))
    fi = z + 0.5 * u + rng.normal(size=city.size)
    table = pd.DataFrame({"city": [f"c{i:02d}" for i in city], "year": 2000 + year, "y": fi + u + 0.2 * x, "fi": fi,
                          "z": z, "m": m, "x": x, "g": city % 2})  # fmt: skip
    return table[rng.random(len(table)) > 0.05]


SPEC_OF_A_DOSE = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "fi", "controls": ["x"]}}
SECTIONS_OF = {"iv": ({"iv": {"instruments": ["z"]}}, "I", 2), "moderation": ({"moderation": {"by": ["m"]}}, "M", 1),
               "triple-difference": ({"ddd": {"group": "g"}}, "D", 1)}  # fmt: skip


@pytest.mark.parametrize("kind", SECTIONS_OF)
def test_a_named_kind_takes_its_settings_from_its_section(kind: str, long_table: pd.DataFrame) -> None:
    """The further column of table 2 is the column of the section's own table."""
    section, table, column = SECTIONS_OF[kind]
    found = pp.estimate(long_table, SPEC_OF_A_DOSE | section, estimators=(kind,)).frame
    keys = ["term", "se_type", "estimate", "se"]
    own, named = (found[(found["table"] == at) & (found["column"] == number)][keys].set_index(keys[:2])
                  for at, number in ((table, column), ("2", 6)))  # fmt: skip
    assert len(named)
    pd.testing.assert_frame_equal(named, own.loc[named.index], rtol=1e-12)
    with pytest.raises(BadInput, match=rf"--estimator {kind}; the spec does not say what it is about"):
        pp.estimate(long_table, SPEC_OF_A_DOSE, estimators=(kind,))


def test_several_moderators_are_asked_about(long_table: pd.DataFrame) -> None:
    with pytest.raises(BadInput, match="by names 2 moderators"):
        pp.estimate(long_table, SPEC_OF_A_DOSE | {"moderation": {"by": ["m", "z"]}}, estimators=("moderation",))


@pytest.mark.parametrize("treatment", [{"treatment": "fi"}, {"treatment": "on", "treatment_kind": "switching"}])
def test_placebos_of_a_dose_on_a_panel_with_gaps(long_table: pd.DataFrame, treatment: dict[str, str]) -> None:
    table = long_table.assign(on=(long_table["fi"] > 0).astype(int))
    spec = {"panel": SPEC_OF_A_DOSE["panel"] | treatment}
    found = pp.placebo(table, spec, draws=99)
    assert found.permutation_p == 0.01  # an effect of 1.5 standard errors of the outcome
    assert any("keep what they have" in note for note in found.notes)
    assert np.isfinite(found.placebos).all()


@pytest.mark.parametrize(("kind", "why"), [("ancova", "values other than 0 and 1"), ("imputation", "not 0/1 and abs")])
def test_what_needs_dates_says_so_of_a_dose(long_table: pd.DataFrame, kind: str, why: str) -> None:
    spec = SPEC_OF_A_DOSE | {"panel": SPEC_OF_A_DOSE["panel"] | {"balance": "drop-units"}}
    tables = pp.estimate(long_table, spec, estimators=(kind,))
    assert any(kind in note and why in note for note in tables.notes), tables.notes
