"""Numbers, lists, shares, dials and error types as text, and the words of the trust page."""

from __future__ import annotations

import re

import numpy as np
import pytest

from results import text
from results.plots.chart import Chart
from results.report import panel_pages
from results.report.panel_pages import ANSWERS, MARKS, claim_chart, fidelity_chart, figure, marked, number, race_page
from results.text import number as significant


def test_numbers_in_tables() -> None:
    """In sentences too; with as many digits as their error has; an interval needs both ends."""
    nan, minus = float("nan"), "\N{MINUS SIGN}"
    said = ["p < 0.001", "p = 0.001", "p = 0.035", "p = 1.000"]
    assert [text.p_value(x) for x in (0.0004, 0.001, 0.0349, 1.0)] == said
    assert [number(x) for x in (-0.12345, 1234.5, 0.0, None)] == [f"{minus}0.123", "1.23e+03", "0", "–"]
    assert [text.share(x) for x in (0.0512, 1.0, None)] == ["5.1%", "100.0%", "–"]
    assert [text.probability(x) for x in (0.0009, 0.001, None)] == ["<0.001", "0.001", "–"]
    assert [text.rounded(x) for x in (1234.4, 99.7, 99.4, 0.123)] == ["1234", "100", "99", "0.12"]
    assert text.interval(0.01, 0.053, text.share) == "1.0% to 5.3%"
    assert text.interval(None, 0.05, text.share) == text.interval(0.05, None, text.share) == "–"
    pairs = ((0.0157, 0.00007), (12.0, 0.3), (8e-4, 5e-7), (0.0157, nan))
    assert [text.fixed([value], mcse) for value, mcse in pairs] == [".5f", ".1f", ".1e", ".4f"]
    assert text.bracketed(-0.000001, 0.0005, ".4f") == "0.0000 (0.0005)"
    assert (text.written(-0.001, ".2f"), text.written(-0.01, ".2f"), text.written(nan, ".2f")) == ("0.00", "-0.01", "-")
    assert (text.bracketed(nan, 1.0, ".4f"), text.bracketed(1.0, nan, ".1f")) == ("-", "1.0")
    assert (significant(-0.5), text.share_text(0.0, 0.0, 0.0, 0.00038)) == (f"{minus}0.5", "0.0 (<0.04)")
    assert text.share_text(1.0, 0.0, 0.99962, 1.0) == "100.0 (>99.96)"
    assert (text.share_text(0.5, 0.01, 0.48, 0.52), text.share_text(nan, nan, nan, nan)) == ("50.0 (1.0)", "-")


def test_regions() -> None:
    """And lists, which count what is too much."""
    assert [text.joined(["a", "b", "c", "d"][:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert text.joined(["a", "b", "c", "d"], 3) == "a, b and 2 more"
    dials, every = [{"a": a, "b": b} for a in (0.0, 0.4, 0.8) for b in ("x", "y")], range(6)
    for chosen, said in (([2, 4, 3, 5], "a from 0.4"), ([0, 2, 1, 3], "a up to 0.4"), ([1, 3, 5], "b = y"),
                         ([3, 5], "a from 0.4, b = y"), ([0, 3], "")):  # fmt: skip
        assert text.region(chosen, every, dials) == said
    assert text.region([1], range(2), [{"kind": "knn", "k": 6}, {"kind": "band"}]) == ""  # a band has no k


def test_values_of_dials_that_differ_late_differ_as_text() -> None:
    values = (0.1234567, 0.1234568, 1234567.0, 1234568.0, 1e6, 0.1 + 0.2, 0.5)
    said = ["0.1234567", "0.1234568", "1234567", "1234568", "1e+06", "0.3", "0.5"]
    assert [text.dial_value(value) for value in values] == said


def test_chinese_lines_are_as_wide_as_asked_with_their_indent() -> None:
    assert text.in_columns("产业链韧性高", 10, rest="    ") == ["产业链", "    韧性高"]


def test_error_types_and_answers_in_words_and_marks() -> None:
    for error, said in (("cluster:province", "errors clustered by province"), ("mine", "mine errors"),
                        ("cluster:unit+period", "errors clustered by unit and period"),
                        ("wild:province", "the wild bootstrap by province")):  # fmt: skip
        assert text.error_words(error) == said
    assert set(MARKS) == set(ANSWERS) | {"consistent", "differs", "cannot tell", "contradicts"}
    asked = ("supported", "contradicted", "consistent", "contradicts")
    assert [MARKS[name] for name in asked] == ["holds", "departs", "holds", "departs"]


@pytest.mark.parametrize("estimate", [0.8, -0.8])
def test_rows_of_the_power_table_are_the_cells_of_the_estimate(estimate: float) -> None:
    def of(asked: bool) -> list[tuple[str, float]]:
        rows = [{"effect": estimate * k} for k in (0.0, 0.25, 0.5, 1.0, 2.0)]
        effect = {"value": 0.25 * estimate, "asked": asked}
        held = {"claim": {"estimate": estimate}, "effect": effect, "power": rows}
        return [(words, row["effect"] / estimate) for words, row in marked(held)]

    usual = [("half the estimate", 0.5), ("the estimate", 1.0), ("twice the estimate", 2.0)]
    assert (of(asked=True), of(asked=False)) == ([("the effect asked for", 0.25), *usual], usual)


def test_the_error_type_to_print_is_the_first_of_six() -> None:
    rows = [{"se_type": name, "estimate": 1.0, "lower": 0.0, "upper": 2.0, "recommended": name == "g"}
            for name in "abcdefg"]  # fmt: skip
    claim = {"term": "did", "text": "Policy", "outcome": "y", "estimate": 1.0}
    chart = claim_chart({"errors": rows, "race": [], "claim": claim})
    assert "".join(name for _, name in chart.places.ticks) == "gabcde"
    (panel,) = chart.panels
    assert [point.clear for point in panel.points] == [True, *[False] * 5], "the one to print is filled"
    assert "other estimators" not in chart.caption
    raced = [{"estimator": name, "estimate": 1.0, "lower": low, "upper": 2.0}
             for name, low in (("did", 0.0), ("two-stage", None), ("imputation", 0.5))]  # fmt: skip
    held = {"errors": rows[:2] + rows[-1:], "race": raced, "claim": claim}
    names = [name for _, name in claim_chart(held).places.ticks]
    assert names == ["g", "a", "b", "imputation"], "the claim's own once, one without an interval never"
    assert "other estimators" in claim_chart(held).caption
    other = claim_chart({"errors": rows, "race": [], "claim": claim | {"term": "w_did", "text": "7:3:w_did"}})
    assert (chart.title, other.title) == ("Policy on y", "w_did on y")


def test_a_feature_stands_as_far_out_as_half_widths_of_its_band() -> None:
    """The last two have bands of one value."""
    rows = [{"feature": "x", "lower": lower, "upper": 2.0, "real": real, "inside": lower <= real <= 2.0}
            for lower, real in ((0.0, 1.0), (0.0, 2.0), (0.0, 9.0), (2.0, 2.0), (2.0, 1.9))]  # fmt: skip
    (panel,) = fidelity_chart({"method": "m", "rows": rows}).panels
    assert [(point.value, point.clear) for point in panel.points] == [
        (0.0, False), (1.0, False), (3.0, True), (0.0, False), (-3.0, True)]  # fmt: skip


def test_estimators_without_fits_stand_last_in_a_race() -> None:
    missing = dict.fromkeys(("bias", "bias_mcse", "rmse_mcse", "coverage", "power"))
    rows = [missing | {"world": "w", "estimator": name, "rmse": rmse, "valid": name == "z", "confidence": 0.75}
            for name, rmse in (("x", None), ("y", 2.0), ("z", 1.0))]  # fmt: skip
    document = {"worlds": rows, "panel": [], "answer": "", "notes": [], "legend": "In the set", "effect": 1.0,
                "best": "z"}  # fmt: skip
    page = race_page(document, "w")
    assert re.findall("<t[hd][^>]*>([xyz])</t", page) == ["z", "y", "x"]
    assert "In the set" in page
    assert re.findall("<(h[1-6])", page) == ["h1", "h2", "h2", "h2", "h2"]  # none is left out
    assert re.findall(">(0.75|not valid)<", page) == ["0.75", "not valid", "not valid"]


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> list[Chart]:
    """The pictures of the pages that a test makes."""
    found: list[Chart] = []
    drawn = panel_pages.chart_figure
    monkeypatch.setattr(panel_pages, "chart_figure", lambda chart, head: found.append(chart) or drawn(chart, head))
    return found


def _marks(chart: Chart) -> list[tuple[str, list[float], bool]]:
    """Names of rows with their values and interval ends, and which marks are filled."""
    names = [name for _, name in chart.places.ticks]
    points = [point for series in chart.panels[0].series for point in series.points]
    assert [point.at for point in points] == list(range(len(names)))
    return [(name, [round(x, 9) for x in (point.value, point.low, point.high)], point.clear)
            for name, point in zip(names, points, strict=True)]  # fmt: skip


def test_a_race_is_drawn_in_the_world_that_decides(charts: list[Chart]) -> None:
    """With intervals of 95%, the one to use filled, none without fits."""
    missing = dict.fromkeys(("bias", "bias_mcse", "coverage", "power"))
    rows = [missing | {"world": world, "estimator": name, "rmse": rmse, "rmse_mcse": mcse, "valid": False}
            for world, name, rmse, mcse in (("w", "x", None, None), ("w", "y", 2.0, 0.1), ("w", "z", 1.0, None),
                                            ("v", "y", 9.0, 0.1))]  # fmt: skip
    document = {"worlds": rows, "panel": [], "answer": "", "notes": [], "legend": "", "effect": 1.0, "best": "y"}
    page = race_page(document, "w")
    (chart,) = charts
    assert _marks(chart) == [("z", [1.0, 1.0, 1.0], False), ("y", [2.0, 1.804003602, 2.195996398], True)]
    assert chart.references == ((0.0, "0"),)
    assert chart.title == "Misses in the world w"
    assert re.findall("<h2[^>]*>([^<]*)", page)[0] == chart.title


def test_placebos_are_drawn_beside_the_estimate_with_the_interval_of_its_test(charts: list[Chart]) -> None:
    document = {"called": "reform", "term": "did", "estimate": 2.0, "se": 0.5, "placebo_mean": 0.1, "notes": [],
                "placebo_quantiles": {"0.025": -1.0, "0.975": 1.5}}  # fmt: skip
    lines = [("placebos", "9"), ("real estimate", "2.0"), ("share", "0.1"), ("p", "0.2")]
    panel_pages.placebo_page("t", lines, document, "")
    panel_pages.placebo_page("t", lines, document | {"se": None, "placebo_quantiles": {"0.025": -1.0}}, "")
    whole, bare = charts
    assert (whole.title, whole.places.label) == ("reform and its placebos", "")
    ours = ("real estimate", [2.0, 1.020018008, 2.979981992], True)
    assert _marks(whole) == [ours, ("placebos", [0.1, -1.0, 1.5], False)]
    assert "1.96 of its own standard errors" in whole.caption
    assert "standard errors" not in bare.caption
    for _, (value, low, high), _ in _marks(bare):
        assert np.isfinite(value)
        assert np.isnan([low, high]).all()


@pytest.mark.parametrize(("estimate", "said"), [(0.5, "80%: 0.8."), (-0.5, "80%: \N{MINUS SIGN}0.8.")])
def test_the_detectable_effect_stands_on_the_side_of_the_claim(estimate: float, said: str) -> None:
    power = [{"effect": estimate, "power": 0.5, "mcse": 0.1}]
    held = {"claim": {"estimate": estimate}, "power": power, "curve": [], "mde": {"value": 0.8, "power": 0.8}}
    assert said in figure(held)
