"""Tables, contrasts, arrays and pictures of a diagnosis: every number is a row of its frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import panelproof as pp
from results.diagnosed import Diagnosed, chart_of
from results.diagnosis.comparison import contrast
from results.verdict.answer import answer
from sim import BadInput

EFFECTS, NOISES = (0.0, 0.5, 1.0), (1.0, 2.0)


def draw(rng, units=20, periods=6, effect=0.5, noise=1.0):
    did = 1.0 * np.outer(np.arange(periods) >= periods // 2, np.arange(units) < units // 2)
    return {"y": rng.standard_normal(units) + effect * did + noise * rng.standard_normal((periods, units)), "did": did}


def raw(y, did):
    """Without a standard error."""
    return y[did == 1].mean() - y[did == 0].mean()


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosed:
    fits = {"did": pp.TwoWayDID(errors=("iid", "cluster:unit"), label="did"), "raw": raw}
    study = pp.Study.from_functions(draw=draw, fit=fits, truth="effect", grid={"effect": EFFECTS, "noise": NOISES},
                                    replications=128, block=64)  # fmt: skip
    return pp.diagnose(pp.run(study))


def number(diagnosis: Diagnosed, measure: str, effect: float, noise: float, estimator: str, error: str = "",
           column: str = "value") -> float:  # fmt: skip
    frame = diagnosis.frame
    keep = (frame["measure"] == measure) & (frame["effect"] == effect) & (frame["noise"] == noise)
    keep &= (frame["estimator"] == estimator) & (frame["error"] == error) & (frame["sample"] == "own")
    keep &= frame["term"].isin({"did", "att", ""})
    return float(frame.loc[keep, column].item())


@pytest.mark.parametrize("column", ["value", "mcse", "lower", "upper", "n"])
def test_every_number_of_a_table_is_a_row_of_the_frame(diagnosis: Diagnosed, column: str):
    power = diagnosis.table(rows="effect", columns=["error", "noise"], measure="power", number=column)  # type: ignore[arg-type]
    assert power.shape == (3, 4)
    assert list(power.index) == list(EFFECTS)
    for effect in EFFECTS:
        for error in ("iid", "cluster:unit"):
            for noise in NOISES:
                wanted = number(diagnosis, "rejection", effect, noise, "did", error, column)
                assert power.loc[effect, (error, noise)] == wanted
    bias = diagnosis.table(rows=["noise", "effect"], columns="estimator", measure="bias", number=column)  # type: ignore[arg-type]
    for (noise, effect), row in bias.iterrows():  # type: ignore[misc]
        for name in ("did", "raw"):
            assert row[name] == number(diagnosis, "bias", effect, noise, name, "", column)


def test_what_varies_besides_stands_in_the_rows(diagnosis: Diagnosed):
    table = diagnosis.table(columns="effect", measure="coverage")
    assert list(table.index.names) == ["noise", "error"]
    assert list(table.columns) == list(EFFECTS)
    alone = diagnosis.table(rows=("effect", "noise", "estimator"), measure="rmse")
    assert list(alone.columns) == ["rmse"]
    assert alone.loc[(0.5, 2.0, "raw"), "rmse"] == number(diagnosis, "rmse", 0.5, 2.0, "raw")


def test_size_has_the_cells_alone_whose_truth_is_zero(diagnosis: Diagnosed):
    size = diagnosis.table(rows="noise", columns="error", measure="size")
    assert size.loc[2.0, "iid"] == number(diagnosis, "rejection", 0.0, 2.0, "did", "iid")
    assert size.shape == (2, 2)


def test_arrays_hold_every_row_of_the_frame_at_its_labels(diagnosis: Diagnosed):
    tree = diagnosis.to_xarray()
    assert dict(tree.sizes) == {"effect": 3, "noise": 2, "estimator": 2, "term": 2, "error": 2}
    rows = diagnosis.frame[diagnosis.frame["sample"] == "own"]
    seen = 0
    for row in rows.itertuples():
        place = {"effect": row.effect, "noise": row.noise, "estimator": row.estimator}
        place |= {key: getattr(row, key) for key in ("term", "error") if getattr(row, key)}
        for group, column in (("", "value"), ("mcse/", "mcse"), ("lower/", "lower"), ("upper/", "upper"), ("n/", "n")):
            found = tree[f"{group}{row.measure}"].sel(place)
            assert found.dims == ()
            np.testing.assert_equal(float(found), float(getattr(row, column)))
            seen += 1
    assert seen == 5 * len(rows)
    filled = sum(int(tree[f"n/{name}"].notnull().sum()) for name in tree.data_vars)
    assert filled == len(rows)  # and nothing else
    assert tree["bias"].dims == ("effect", "noise", "estimator", "term")
    assert np.isnan(tree["coverage"].sel(estimator="raw")).all()


def test_a_contrast_is_that_of_the_cell(diagnosis: Diagnosed):
    found = diagnosis.contrast("did", "raw")
    assert list(found.index.names) == ["effect", "noise", "measure"]
    for cell, parameters in enumerate(diagnosis.cells):
        wanted = contrast(diagnosis.records, ("did", "did", "cluster:unit"), ("raw", "att", ""), cell)
        ours = found.loc[(parameters["effect"], parameters["noise"])]
        pd.testing.assert_frame_equal(ours.reset_index(), wanted)
        a, b = (number(diagnosis, "bias", *parameters.values(), name) for name in ("did", "raw"))  # type: ignore[misc]
        assert ours.loc["bias_difference", "value"] == pytest.approx(a - b, abs=1e-12)
        assert np.isnan(ours.loc["coverage_difference", "value"])  # raw has no interval
    errors = diagnosis.contrast(("did", "did", "iid"), ("did", "did", "cluster:unit"), cell=3)
    coverage = [number(diagnosis, "coverage", 0.5, 2.0, "did", error) for error in ("iid", "cluster:unit")]
    assert errors.loc[(0.5, 2.0, "coverage_difference"), "value"] == pytest.approx(coverage[0] - coverage[1])
    sides = ("did", "did", "iid"), ("did", "did", "cluster:unit")
    half = replace(diagnosis, alpha=0.5).contrast(*sides, cell=3)
    np.testing.assert_array_equal(half["value"], contrast(diagnosis.records, *sides, 3, alpha=0.5)["value"])


@pytest.mark.parametrize("measure", ["power", "size", "coverage", "bias", "rmse"])
def test_pictures_show_the_numbers_of_the_frame(diagnosis: Diagnosed, measure: str):
    figure = getattr(diagnosis.plot, measure)()
    chart = chart_of(diagnosis, measure)
    column = "rejection" if measure in {"power", "size"} else measure
    rows = diagnosis.frame[(diagnosis.frame["measure"] == column) & (diagnosis.frame["sample"] == "own")]
    shown = [point.value for panel in chart.panels for point in panel.points]
    assert shown
    assert set(shown) <= set(rows["value"])
    drawn = [float(y) for axes in figure.axes for line in axes.lines for y in line.get_ydata()]  # type: ignore[union-attr]
    across = [float(x) for axes in figure.axes for line in axes.lines for x in line.get_xdata()]  # type: ignore[union-attr]
    assert set(shown) <= set(across if chart.form == "dots" else drawn)


def test_pictures_are_saved_and_shown(diagnosis: Diagnosed, tmp_path):
    figure = diagnosis.plot.power(error="iid")
    for form, start in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")):
        figure.savefig(tmp_path / f"power.{form}")
        assert (tmp_path / f"power.{form}").read_bytes().startswith(start)
    html = figure._repr_html_()
    assert html.startswith("<img ")
    assert "<script" not in html
    assert 'alt="Power' in html
    for one in (diagnosis.plot.zip(), diagnosis.plot.scatter(), diagnosis.plot("mean_se")):
        assert one.axes


def test_a_summary_answers_and_lists(diagnosis: Diagnosed):
    text = diagnosis.summary()
    found = answer(diagnosis)
    assert text.splitlines()[: len(found.sentences)] == list(found.sentences)
    lines = [line.split() for line in text.splitlines() if " did " in line and line.split()[0] in {"0.0", "0.5", "1.0"}]
    assert len(lines) == 6
    effect, noise, _, _, truth, bias, *_ = lines[0]
    assert float(truth) == 0
    assert float(bias) == pytest.approx(number(diagnosis, "bias", float(effect), float(noise), "did"), rel=1e-3)


@pytest.mark.parametrize(("ask", "said"), [
    (lambda one: one.table("efect"), "rows and columns; 'efect' is no dial of this study's grid; did you mean "
     "'effect'?; allowed: effect, noise, estimator, term, error"),
    (lambda one: one.table(measure="powr"), "table, measure; 'powr' is no measure; *mean 'power'?; allowed: power, *"),
    (lambda one: one.table(term="dit"), "table, term; no estimator has the term 'dit'; did you mean 'did'?; "
     "allowed: did, att"),
    (lambda one: one.table(number="se"), "table; number = 'se'; *allowed: value, mcse, lower, upper, n*"),
    (lambda one: one.table(measure="size_adjusted_power", sample="passing"), "*has no value in any cell*"),
    (lambda one: one.plot.power(axis="nois"), "plot.power, axis; 'nois' is no dial of this study's grid; *'noise'?"),
    (lambda one: one.plot.power(axis="estimator"), "plot.power, axis; 'estimator' is no dial with several numbers; "
     "allowed: effect, noise; *"),
    (lambda one: one.plot.power(error="idd"), "plot.power, error; no estimator has the error type 'idd'; did you "
     "mean 'iid'?; allowed: iid, cluster:unit"),
    (lambda one: one.plot("powr"), "plot; 'powr' is no measure; *did you mean 'power'?"),
    (lambda one: one.contrast("did", "rawe"), "contrast b; no estimator 'rawe'; *mean 'raw'?; allowed: did, raw"),
    (lambda one: one.contrast("did", "raw", cell=9), "contrast; no cell 9; allowed: 0 to 5; *"),
    (lambda one: one.contrast(("did", "did"), "raw"), "contrast a; *allowed: an estimator, or (estimator, term, *"),
    (lambda one: one.to_xarray("all"), "to_xarray; no sample 'all'; allowed: own; choose one of them"),
])  # fmt: skip
def test_what_there_is_not_is_said_in_one_line(diagnosis: Diagnosed, ask, said: str):
    with pytest.raises(BadInput) as caught:
        ask(diagnosis)
    text = str(caught.value)
    assert "\n" not in text
    rest = text
    for part in said.split("*"):
        assert part in rest, (part, text)
        rest = rest[rest.index(part) + len(part) :]
