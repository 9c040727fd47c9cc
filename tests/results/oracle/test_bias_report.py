"""The bias report, terminal and page: every printed cell is the number of the frame under its heading."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from reports import printed, tables_of
from scipy import stats

from estimators.core.estimator import Status
from results.diagnosis.diagnose import diagnose
from results.report.grids import ReportFacts
from results.report.html import html_report

DRAWS = 200
ERRORS = ("one", "two")
NAMES = ("alpha", "beta")
Z = float(stats.norm.ppf(0.975))
Numbers = dict[str, tuple[float, float | None]]


@cache
def arrays() -> dict[tuple[int, str], dict[str, Any]]:
    """Two cells, in the second of which the truth of t0 is negative, and fits failed whose numbers are absurd."""
    rng = np.random.default_rng(8)
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for cell, level in ((0, 0.0), (1, -0.8)):
        varying = 0.5 + 0.05 * rng.standard_normal(DRAWS)
        for j, name in enumerate(NAMES):
            theta = np.stack([np.full(DRAWS, level), varying], axis=1)
            noise = rng.standard_normal((DRAWS, 2)) * ((0.7, 0.2), (0.4, 0.3))[j]
            bias = -0.35 if (cell, name) == (1, "alpha") else 0.0
            se = np.stack([np.abs(noise.std(axis=0) * rng.uniform(0.3, 1.4, (DRAWS, 2))) for _ in ERRORS], axis=1)
            status = np.full(DRAWS, Status.OK)
            estimate = theta + noise + bias
            if (cell, name) == (1, "alpha"):
                status[3:8], status[90:93] = Status.NOT_CONVERGED, Status.SINGULAR
                estimate[status != Status.OK], se[status != Status.OK] = 900.0, 0.001
            found[cell, name] = {"theta": theta, "estimate": estimate, "se": se, "status": status}
    return found


@pytest.fixture(scope="module")
def diagnosis() -> Any:
    cells = [({"size": size}, {name: Sample(**arrays()[cell, name]) for name in NAMES})
             for cell, size in ((0, 0.0), (1, -0.8))]  # fmt: skip
    return diagnose(made_up(cells))


HEADS = {
    "truth": ("truth", 1), "mean": ("mean_estimate", 1), "bias": ("bias", 1), "emp. SE": ("empirical_se", 1),
    "mean SE": ("mean_se", 1), "RMSE": ("rmse", 1), "SE error %": ("se_error", 1), "type M": ("type_m", 1),
    "coverage": ("coverage", 100), "rejected": ("rejection", 100), "bias-elim.": ("bias_eliminated_coverage", 100),
    "type S": ("type_s", 100), "relative bias": ("relative_bias", 100),
    "size-adj. power": ("size_adjusted_power", 100),
}  # how headings begin: measure of the frame and what its numbers are multiplied by  # fmt: skip
SHARES = ("coverage", "rejected", "bias-elim.", "type S")
WITHOUT_ERROR = ("truth", "mean", "mean SE", "size-adj. power")


def counted(diagnosis: Any, cell: int, name: str, term: int, error: int, common: bool = False) -> Numbers:
    """The numbers of the frame by heading, each with its Monte Carlo error (None: not checked).

    Of a share of 0 or 100% the other end of its interval stands in the place of the error: it is printed as a bound.
    """
    where = {"cell": cell, "estimator": name, "term": f"t{term}", "sample": "common" if common else "own"}
    rows = diagnosis.frame[(diagnosis.frame[list(where)] == list(where.values())).all(axis=1)]
    rows = rows[rows["error"].isin(("", ERRORS[error]))].set_index("measure")
    numbers: Numbers = {}
    for head, (measure, scale) in HEADS.items():
        if measure in rows.index and math.isfinite((row := rows.loc[measure])["value"]):
            end = {0.0: "upper", 1.0: "lower"}.get(row["value"], "mcse") if head in SHARES else "mcse"
            numbers[head] = scale * row["value"], None if head in WITHOUT_ERROR else scale * row[end]
    return numbers


def same(text: str, value: float, mcse: float | None) -> None:
    """Assert that "0.123 (0.045)" is a value and its error, as far as its digits go, or "0.0 (<1.9)" and a bound."""
    found = re.fullmatch(r"(-?[\d.]+(?:e[+-]\d+)?)(?: \(([<>]?)([\d.e+-]+)\))?!?", text)
    assert found, text
    assert mcse is None or found[3], text
    near(found[1], value)
    if mcse is None:
        return
    assert found[2] == {0.0: "<", 100.0: ">"}.get(value, ""), (text, value, mcse)
    if found[2]:  # a bound is rounded away from the value
        outside = (float(found[3]) - mcse) * (1 if found[2] == "<" else -1)
        assert -1e-9 <= outside <= 10.0 ** -decimals_of(found[3]), (text, value, mcse)
    else:
        near(found[3], mcse)


def decimals_of(shown: str) -> int:
    return len(shown.partition(".")[2].partition("e")[0])


def near(shown: str, number: float) -> None:
    """Assert that a printed number is another one, rounded."""
    scale = 10.0 ** (int(shown.partition("e")[2] or 0) - decimals_of(shown))
    assert abs(float(shown) - number) <= (0.5 + 1e-6) * scale, (shown, number)


def flagged(numbers: Numbers, name: str, n: int, is_null: bool) -> bool:
    """Whether a measure must be marked: 4 Monte Carlo errors away, those of the nominal level for proportions."""
    value, mcse = numbers[name]
    if name == "bias":
        assert mcse is not None
        return abs(value) > 4 * mcse
    nominal = 95.0 if name == "coverage" else 5.0
    wide = abs(value - nominal) > 4 * 100 * math.sqrt(0.95 * 0.05 / n)
    return wide and (name == "coverage" or is_null)


def usable_of(cell: int, name: str) -> int:
    return DRAWS - 8 * ((cell, name) == (1, "alpha"))


def check_row(diagnosis: Any, heads: list[str], row: list[str], cell: int, common: bool = False) -> None:
    """Every cell of a row by the head above it."""
    name, term, error = row[0], int(row[1][1:]), ERRORS.index(row[heads.index("errors")])
    numbers, n = counted(diagnosis, cell, name, term, error, common), usable_of(cell, "alpha" if common else name)
    for head, text in zip(heads[2:], row[2:], strict=True):
        key = max((key for key in numbers if head.startswith(key)), key=len, default="")
        if head == "errors":
            continue
        if head == "fits":
            assert text == f"{n}/200"
        elif key == "truth" and (cell, term) == (0, 0):
            assert text == "0"
        elif text == "-":
            assert not key, (head, numbers.get(key))
        else:
            assert key, (head, text)
            same(text, numbers[key][0], numbers[key][1] if head != "emp. SE" else None)
            if key in ("bias", "coverage", "rejected"):
                assert text.endswith("!") == flagged(numbers, key, n, (cell, term) == (0, 0)), (head, row)


def test_every_cell_of_the_page(diagnosis: Any) -> None:
    found = tables_of(html_report(diagnosis, ReportFacts("study", "Question?", seed=4)))
    tables = dict(found)
    assert len(tables) == len(found)
    common = "Draws where every estimator succeeded"
    for caption, rows in (("All cells", 16), ("All cells, more measures", 16), (common, 4)):
        (dial, *heads), *lines = tables[caption]
        assert (dial, len(lines)) == ("size", rows)
        for size, *row in lines:
            check_row(diagnosis, heads, row, {"0": 0, "-0.8": 1}[size], common=caption == common)
    assert {row[1] for row in tables[common][1:]} == {"beta"}  # the sample of alpha does not change


def test_failed_fits_are_counted_by_reason(diagnosis: Any) -> None:
    why = "the search for the optimum did not converge (5); regressors are collinear, or they fit without error (3)"
    assert dict(tables_of(html_report(diagnosis, ReportFacts("study"))))["Failures"][1:] == [
        ["size = -0.8", "alpha", "8", "200", why]
    ]
    text = printed(diagnosis, 300)
    assert f"alpha: 8 of 200 fits failed: {why}" in text
    assert text.count("of 200 fits failed") == 1
    assert text.count("all usable") == 1
    assert "size = 0  (200 fits, all usable)" in text


def test_every_cell_of_the_terminal(diagnosis: Any) -> None:
    by_term = ["truth", "mean", "bias (MCSE)", "emp. SE"]
    heads = ["estimator", "term", *by_term, "errors", "mean SE", "coverage", "rejected", "fits"]
    cell, seen, above = -1, 0, ["", ""]
    for line in printed(diagnosis, 300).partition("\n\n")[2].splitlines():
        cell += line.startswith("size = ")
        words = re.findall(r"[^\s()]+(?: \([<>]?[\d.]+\))?!?", line.strip())
        if not ({"one", "two"} & set(words)) or words[0] == "!":
            continue
        seen += 1
        if words[0] in NAMES:
            above = words[:2]
            row, names = words, heads
        elif words[0] in ("t0", "t1"):
            above = [above[0], words[0]]
            row, names = [above[0], *words], heads
        else:
            row, names = [*above, *words], [*heads[:2], *heads[6:10]]
        check_row(diagnosis, names, row, cell)
    assert seen == 16


def test_what_the_verdicts_say(diagnosis: Any) -> None:
    text = " ".join(re.sub(r"<[^>]+>|\s+", " ", html_report(diagnosis, ReportFacts("study"))).split())
    bias = counted(diagnosis, 1, "alpha", 1, 0)
    amount = r"([\d.]+) \(([\d.]+) standard errors, ([\d.]+)% of the true ([\d.]+); t0 too\)"
    said = re.search(rf"t1 of alpha is too (\w+) by {amount} when size = -0.8", text)
    assert said is not None
    assert said[1] == "low"
    near(said[2], -bias["bias"][0])
    near(said[3], -bias["bias"][0] / bias["emp. SE"][0])
    near(said[4], -100 * bias["bias"][0] / bias["truth"][0])
    near(said[5], bias["truth"][0])
    size = {name: counted(diagnosis, 0, name, 0, j)["rejected"] for name, j in (("alpha", 0), ("beta", 1))}
    # sizes of 12.5% in 200 draws are more than 7.5% alone (p = .0085), and not by Holm over 28 numbers
    sizes = re.search(
        r"cannot be told for alpha with one errors, beta with two errors.* \(Monte Carlo interval "
        r"([\d.]+)% to ([\d.]+)% when size = 0; this probably fails",
        text,
    )
    assert sizes is not None
    for name, (share, error) in size.items():
        assert share > 7.5 + Z * error, name
    share, error = size["alpha"]
    near(sizes[1], share - Z * error)
    near(sizes[2], share + Z * error)
    covered = re.search(r"t1 of alpha with one errors covers ([\d.]+)%", text)
    assert covered is not None
    near(covered[1], min(counted(diagnosis, cell, "alpha", 1, 0)["coverage"][0] for cell in (0, 1)))
