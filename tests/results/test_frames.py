"""Records and pandas objects of estimates: every number is that of its term and error type, tests by quadrature."""

from __future__ import annotations

import dataclasses
import itertools
import math

import made_cities
import numpy as np
import pandas as pd
import pytest
from refusals import refuses
from scipy import integrate, special, stats

import panelproof as pp
from estimators import Estimates, TwoWayDID
from estimators.core.estimator import critical_values, p_values, usual_error
from experiments.estimation import Tables
from experiments.panel_spec.spec import spec_of
from results.tables.journal_table import fit_columns
from results.tables.records import Fit, Record, records_of, statistics_of

NUMBERS = {"params": "estimate", "std_errors": "se", "tstats": "statistic", "pvalues": "pvalue"}
LEVELS = ("table", "column", "model", "transform", "sample", "weights", "year", "mediator", "term")


@pytest.fixture(scope="module")
def document() -> Tables:
    """Many tables, with lists of everything that tells fits of one column apart."""
    return pp.estimate(pp.example_panel())


def by_index(document: Tables, kind: str | None = None) -> list[tuple[dict[str, object], Record]]:
    """The record that the tables print of each (place, fit, term), as an index has them, found without the frames."""
    tables = dict.fromkeys(record.table for record in document.records)
    fits = [each for table in tables for each in fit_columns(document, table)]
    found = [fit.record(term, fit.shown_error(kind)) for fit in fits for term in fit.terms]
    assert None not in found
    return [({level: "" if (own := getattr(record, level)) is None else own for level in LEVELS}, record)
            for record in found if record]  # fmt: skip


@pytest.mark.parametrize(("chosen", "kind"), [
    (("2",), None), (("2", 5), "iid"), (("7",), "information"), (("7", 3), None), (("5", 2), "iid"), (("6",), None),
    (("4",), "information"),
])  # fmt: skip
def test_every_number_is_that_of_its_record(document: Tables, chosen: tuple[str | int, ...], kind: str | None):
    part = document[chosen if len(chosen) == 2 else str(chosen[0])]  # type: ignore[index]
    part = part if kind is None or kind not in {one.se_type for one in part.records} else part.with_errors(kind)
    place, records = dict(zip(("table", "column"), chosen, strict=False)), by_index(part, part.errors)
    for name, field in NUMBERS.items():
        series = getattr(part, name)
        assert series.index.is_unique
        assert len(series) == len(records)
        for key, value in series.items():
            own = place | dict(zip(series.index.names, key if isinstance(key, tuple) else (key,), strict=True))
            (record,) = (record for full, record in records if own.items() <= full.items())
            wanted = getattr(record, field)
            assert np.isnan(value) if wanted is None else value == wanted
    ends = part.conf_int()
    for name in ("lower", "upper"):
        wanted = [np.nan if getattr(record, name) is None else getattr(record, name) for _, record in records]
        np.testing.assert_array_equal(ends[name], wanted)


def test_a_part_is_a_document_that_prints_its_tables_alone(document: Tables, capsys):
    pp.show(document["3"])
    printed = capsys.readouterr().out
    assert "Table 3" in printed
    assert "Table 2" not in printed
    assert document["3"].summary().split() == printed.split()  # lines are as long as there is room for
    assert len(document["3"].frame) == (document.frame["table"] == "3").sum()
    assert document["2", 5].params.index.names == ["term"], "the index says what is not chosen"
    assert document["2"].params.index.names == ["column", "model", "term"]
    assert document["7", 3].params.index.names == ["transform", "term"]
    assert [document.params.index.names[at] for at in (0, 1, -1)] == ["table", "column", "term"]
    assert document[2, 5].params.equals(document["2", 5].params)


def test_a_summary_of_one_column_holds_its_numbers(document: Tables):
    column = document["2", 5]
    text = column.summary()
    assert str(text) == repr(text)
    head, _, _, *lines = text.splitlines()
    assert head == "Table 2, column 5 (all): did, 57 units in 18 periods, 1,026 rows; errors: clustered by unit"
    assert [line.split()[0] for line in lines] == list(column.params.index)
    shown = [float(value) for value in lines[0].split()[1:]]
    ends = column.conf_int().loc["did"]
    wanted = [column.params["did"], column.std_errors["did"], column.tstats["did"], column.pvalues["did"], *ends]
    assert shown == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(("ask", "said"), [
    (lambda one: one["22"], "tables[...]; no table '22'; did you mean '2'?; allowed: 1, 2, 3, 4, 5, 6, 7"),
    (lambda one: one["2", 9], "tables[...]; table 2 has no column 9; allowed: 1, 2, 3, 4, 5; choose one of them"),
    (lambda one: one["2"].with_errors("hc"), "with_errors; no error type 'hc'; did you mean 'hc1'?; allowed: iid, "
     "hc1, cluster:unit"),
])  # fmt: skip
def test_what_there_is_not_is_said_in_one_line(document: Tables, ask, said: str):
    assert str(refuses(".", ask, document)) == said


@pytest.fixture(scope="module")
def fitted() -> Estimates:
    return TwoWayDID(errors=("iid", "cluster:unit"))(pp.example_panel().panel)


def test_estimates_of_one_panel_are_indexed_by_term(fitted: Estimates):
    k = {term: at for at, term in enumerate(fitted.terms)}
    assert list(fitted.params.index) == list(fitted.terms)
    for e, kind in enumerate(fitted.errors):
        one = fitted.with_errors(kind)
        for term, at in k.items():
            estimate, se, dof = fitted.estimate[0, at], fitted.se[0, e, at], fitted.dof[0, e, at]
            assert (one.params[term], one.std_errors[term], one.tstats[term]) == (estimate, se, estimate / se)
            assert one.pvalues[term] == pytest.approx(2 * stats.t.sf(abs(estimate / se), dof), rel=1e-9)
            for alpha in (0.05, 0.1):
                margin = stats.t.ppf(1 - alpha / 2, dof) * se
                ends = one.conf_int(alpha).loc[term]
                assert ends.tolist() == pytest.approx([estimate - margin, estimate + margin], rel=1e-9)


def test_the_usual_errors_are_those_that_tables_print(fitted: Estimates):
    assert fitted.std_errors.equals(fitted.with_errors("cluster:unit").std_errors)
    assert usual_error(("iid", "cluster:a", "cluster:b", "information")) == "cluster:a"
    assert usual_error(("hessian", "information", "qmle")) == "information"
    assert (usual_error(("iid", "hc1")), usual_error(("iid", "hc1"), "iid")) == ("hc1", "iid")
    assert usual_error(()) == ""
    two = Estimates.join([fitted, dataclasses.replace(fitted, estimate=fitted.estimate + 1.0)])
    assert two.params.index.names == ["replication", "term"], "several panels have a level of replications"
    assert two.params.loc[0].equals(fitted.params)
    assert two.params.loc[1].equals(fitted.params + 1.0)
    assert two.conf_int().loc[(1, "did"), "lower"] == pytest.approx(fitted.conf_int().loc["did", "lower"] + 1.0)
    assert "means over 2 panels" in two.summary()
    assert [line.split()[0] for line in two.summary().splitlines()[-len(fitted.terms) :]] == list(fitted.terms)


def test_intervals_and_errors_that_are_not_kept_are_refused() -> None:
    kept = pp.PermutationTest(draws=99)(pp.example_panel().panel)
    own = kept.with_errors("permutation:space")
    assert own.conf_int().loc["did", "lower"] == kept.lower[0, 0, 0]
    assert own.pvalues["did"] == kept.pvalue[0, 0, 0]
    refuses("kept as they were estimated", lambda: own.conf_int(alpha=0.1))
    refuses(r"alpha = 2.*between 0 and 1", lambda: own.conf_int(alpha=2))

    @pp.estimator(terms=["did"], errors=[])
    def mean(icr: np.ndarray) -> float:
        return float(icr.mean())

    found = mean()(pp.example_panel().panel)
    assert np.isnan(found.std_errors["did"])
    assert found.conf_int().isna().all().all()
    refuses("allowed: \\(none\\)", lambda: found.with_errors("iid"))


def test_a_table_of_pandas_is_read_as_its_file_is(tmp_path):
    frame = pd.read_csv(made_cities.DATA / "cities.csv")
    before = frame.copy()
    spec = {"panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "controls": ["road", "book"]}}
    read = pp.read_panel(frame, spec)
    assert read.panel.digest == made_cities.real_panel(tmp_path, made_cities.PANEL).panel.digest
    assert frame.equals(before)
    assert spec_of(spec).panel.outcome == "y"
    refuses("outcom", lambda: pp.read_panel(frame, {"panel": {"unit": "city", "period": "year", "outcom": "y"}}))


TERMS, ERRORS = ("did", "long_total:did", "sigma2", "indirect:did"), ("iid", "hc1", "wild:unit")
ESTIMATE = np.array([[0.31, -0.47, 0.83, 0.59], [9.0, 9.1, 9.2, 9.3]])
SE = np.array([[[0.11, 0.13, 0.17, 0.19], [0.23, 0.29, 0.37, 0.41], [np.nan] * 4], np.full((3, 4), 7.0)])
DOF = np.array([[[5.0, 8.0, 13.0, 21.0], [np.inf] * 4, [3.0] * 4], np.full((3, 4), 2.0)])
STORED = {"pvalue": 0.021, "lower": -0.8, "upper": 1.7}


def answer() -> Estimates:
    """Two panels; the first one alone is printed. The last error type stores its tests and has no errors."""
    stored = {name: np.full((2, 3, 4), np.nan) for name in STORED}
    for name, value in STORED.items():
        stored[name][0, 2] = value + 0.001 * np.arange(4)
    status = np.ones(2, dtype=np.uint8)
    statistics = {"r2": np.array([0.93, 0.1]), "loglik": np.array([np.nan, 3.0])}
    return Estimates(TERMS, ERRORS, ESTIMATE, SE, DOF, status, statistics, **stored)


def tail(t: float, dof: float) -> float:
    """P(|T| > |t|) by integration of the density."""
    if math.isinf(dof):
        return math.erfc(abs(t) / math.sqrt(2))
    scale = math.exp(special.gammaln((dof + 1) / 2) - special.gammaln(dof / 2)) / math.sqrt(dof * math.pi)
    inside, _ = integrate.quad(lambda x: scale * (1 + x * x / dof) ** (-(dof + 1) / 2), 0, abs(t))
    return 1 - 2 * inside


PLACE = ("7", 3, "sdm", "lee-yu", "east", "ring", 2004, "fdi")


def place_of(item: Record) -> tuple[object, ...]:
    return tuple(getattr(item, level) for level in LEVELS[:-1])


def test_an_estimate_of_rounding_is_zero_and_one_without_errors_stays() -> None:
    made = dataclasses.replace(
        answer(), estimate=np.array([[1e-17, -2e-11, -3e-17, 1e-17]]), pvalue=None, lower=None, upper=None,
        se=np.tile([0.1, 0.1, 0.1, np.nan], (1, len(ERRORS), 1)), dof=DOF[:1],
    )  # fmt: skip
    found = records_of(Fit(("S", 1), "did"), made, 4, 2, 2)
    assert {item.term: item.estimate for item in found} == dict(zip(TERMS, (0.0, -2e-11, 0.0, 1e-17), strict=True))
    assert {item.statistic for item in found if item.term == "did"} == {0.0}


def test_every_record_of_an_answer() -> None:
    fit = Fit(PLACE[:2], *PLACE[2:])
    found = {(item.se_type, item.term): item for item in records_of(fit, answer(), 279, 31, 9)}
    assert set(found) == set(itertools.product(ERRORS, TERMS))
    for (error, term), item in found.items():
        e, k = ERRORS.index(error), TERMS.index(term)
        assert item.estimate == ESTIMATE[0, k]
        assert (item.nobs, item.units, item.periods) == (279, 31, 9)
        assert place_of(item) == PLACE
        assert item.effects_method == ("delta" if ":" in term else None)
        if error == "wild:unit":
            assert (item.se, item.statistic) == (None, None)
            assert (item.lower, item.upper) == pytest.approx((-0.8 + 0.001 * k, 1.7 + 0.001 * k))
            assert item.pvalue == (None if term == "sigma2" else pytest.approx(0.021 + 0.001 * k))
            continue
        se, dof = SE[0, e, k], DOF[0, e, k]
        assert item.se == se
        t = ESTIMATE[0, k] / se
        assert item.statistic == (None if term == "sigma2" else pytest.approx(t))
        assert item.pvalue == (None if term == "sigma2" else pytest.approx(tail(t, dof), rel=1e-7))
        assert item.lower + item.upper == pytest.approx(2 * item.estimate)
        assert tail((item.upper - item.estimate) / se, dof) == pytest.approx(0.05, rel=1e-7)
        assert item.lower < item.upper
    first, second = statistics_of(fit, answer())
    assert (first.name, first.value, second.name, second.value) == ("r2", 0.93, "loglik", None)
    assert place_of(first) == place_of(second) == PLACE


@pytest.mark.parametrize("dof", [1.0, 4.0, 30.0, np.inf])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_p_values_and_critical_values_fit_together(dof: float, alpha: float) -> None:
    critical = float(critical_values(np.array([dof, 7.0]), alpha)[0])
    assert tail(critical, dof) == pytest.approx(alpha, rel=1e-7)
    for t in (critical, -critical):
        assert float(p_values(np.array(t), np.array(dof))) == pytest.approx(alpha, rel=1e-7)
