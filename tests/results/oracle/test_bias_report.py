"""The bias report, terminal and page: every printed cell against a slow count over the fits, one by one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
from reports import printed, tables_of
from scipy import stats

from estimators.core.estimator import Status
from results.diagnosis.diagnose import diagnose
from results.report.grids import ReportFacts
from results.report.html import html_report

DRAWS, DOF = 200, 12.0
ERRORS = ("one", "two")
NAMES = ("alpha", "beta")
BOUND = float(stats.t.ppf(0.975, DOF))
Z = float(stats.norm.ppf(0.975))
Numbers = dict[str, tuple[float, float | None]]
Fit = tuple[float, float, float, bool]  # estimate, truth, standard error, whether it is usable


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
            found[cell, name] = {"theta": theta, "estimate": estimate, "se": se, "status": status, "dof": DOF}
    return found


@pytest.fixture(scope="module")
def diagnosis(fabricate: Callable[..., Any], sample_of: Callable[..., Any]) -> Any:
    cells = [({"size": size}, {name: sample_of(**arrays()[cell, name]) for name in NAMES})
             for cell, size in ((0, 0.0), (1, -0.8))]  # fmt: skip
    return diagnose(fabricate(cells))


def fits(cell: int, name: str, term: int, error: int, common: bool = False) -> list[Fit]:
    """The fits of a term under an error type; common: usable where those of both estimators are."""
    found = arrays()[cell, name]
    bad = [arrays()[cell, other]["status"] != Status.OK for other in (NAMES if common else (name,))]
    return [(float(found["estimate"][r, term]), float(found["theta"][r, term]), float(found["se"][r, error, term]),
             not any(one[r] for one in bad)) for r in range(DRAWS)]  # fmt: skip


def share(hits: list[bool]) -> tuple[float, float]:
    """Share in % and its error; of 0 or 100% the other end of Wilson's interval, which is printed as a bound."""
    p, n = sum(hits) / len(hits), len(hits)
    if p in (0.0, 1.0):
        return 100 * p, 100 * abs(p - Z * Z / (n + Z * Z))
    return 100 * p, 100 * math.sqrt(p * (1 - p) / n)


def moved_coverage(gaps: list[float], standard_errors: list[float]) -> tuple[float, float]:
    """Share in % of intervals that cover once moved by the mean error, and its error, by the influence of every fit.

    The mean moves with every fit: the share then gains the lower ends that it passes and loses the upper ends, whose
    numbers are counted in a window around it.
    """
    n, bias, spread = len(gaps), fmean(gaps), stdev(gaps)
    half = spread * n**-0.2 / 2
    lower = [gap - BOUND * se for gap, se in zip(gaps, standard_errors, strict=True)]
    upper = [gap + BOUND * se for gap, se in zip(gaps, standard_errors, strict=True)]
    hits = [low <= bias <= high for low, high in zip(lower, upper, strict=True)]
    passed = sum(abs(low - bias) <= half for low in lower) - sum(abs(high - bias) <= half for high in upper)
    slope, p = passed / n / (2 * half), sum(hits) / n
    together = fmean((gap - bias) * hit for gap, hit in zip(gaps, hits, strict=True))
    error = 100 * math.sqrt((p * (1 - p) + 2 * slope * together + slope**2 * spread**2) / n)
    return share(hits) if p in (0.0, 1.0) else (100 * p, error)


def jackknife(measure: Callable[[list[Any]], float], items: list[Any]) -> tuple[float, float]:
    """A measure with its jackknife error, by leaving out one item after another."""
    without = [measure(items[:j] + items[j + 1 :]) for j in range(len(items))]
    middle, n = fmean(without), len(items)
    return measure(items), math.sqrt((n - 1) / n * sum((value - middle) ** 2 for value in without))


def se_error(items: list[tuple[float, float]]) -> float:
    """100 (root mean square of standard errors / spread of the errors - 1), of (error, standard error)."""
    return 100 * (math.sqrt(fmean(se * se for _, se in items)) / stdev(gap for gap, _ in items) - 1)


def exaggeration(items: list[tuple[float, float]]) -> float:
    """Mean size of estimates over that of truths, of (estimate, truth)."""
    return fmean(abs(b) for b, _ in items) / fmean(abs(theta) for _, theta in items)


@cache
def counted(cell: int, name: str, term: int, error: int, common: bool = False) -> Numbers:
    """Every measure with its Monte Carlo error where it is simple (None: not checked), from fits one by one."""
    usable = [(b, theta, se) for b, theta, se, ok in fits(cell, name, term, error, common) if ok]
    n = len(usable)
    gaps = [b - theta for b, theta, _ in usable]
    bias, spread = fmean(gaps), stdev(gaps)
    truth, size = fmean(theta for _, theta, _ in usable), math.sqrt(fmean(gap * gap for gap in gaps))
    clear = [(b, theta) for b, theta, se in usable if abs(b) / se >= BOUND and theta != 0]
    numbers: Numbers = {
        "truth": (truth, None),
        "mean": (fmean(b for b, _, _ in usable), None),
        "bias": (bias, spread / math.sqrt(n)),
        "emp. SE": (spread, spread * math.sqrt((stats.kurtosis(gaps, fisher=False) - 1) / (4 * n))),
        "mean SE": (fmean(se for *_, se in usable), None),
        "RMSE": (size, stdev(gap * gap for gap in gaps) / math.sqrt(n) / (2 * size)),
        "SE error %": jackknife(se_error, [(b - theta, se) for b, theta, se in usable]),
        "coverage": share([abs(b - theta) <= BOUND * se for b, theta, se in usable]),
        "rejected": share([abs(b) / se >= BOUND for b, _, se in usable]),
        "bias-elim.": moved_coverage(gaps, [se for *_, se in usable]),
    }
    if clear:
        numbers["type S"] = share([(b > 0) != (theta > 0) for b, theta in clear])
        numbers["type M"] = jackknife(exaggeration, clear)
        relative = [100 * gap / theta for gap, (_, theta, _) in zip(gaps, usable, strict=True)]
        numbers["relative bias"] = fmean(relative), stdev(relative) / math.sqrt(n)
    if (cell, term) == (1, 0) and not common:
        null = sorted((abs(b) / se for b, _, se, _ in fits(0, name, term, error)), reverse=True)
        critical = null[math.floor(0.05 * (len(null) + 1)) - 1]
        numbers["size-adj. power"] = share([abs(b) / se >= critical for b, _, se in usable])[0], None
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


def check_row(heads: list[str], row: list[str], cell: int, common: bool = False) -> None:
    """Every cell of a row by the head above it."""
    name, term, error = row[0], int(row[1][1:]), ERRORS.index(row[heads.index("errors")])
    numbers, n = counted(cell, name, term, error, common), usable_of(cell, "alpha" if common else name)
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
            check_row(heads, row, {"0": 0, "-0.8": 1}[size], common=caption == common)
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
        check_row(names, row, cell)
    assert seen == 16


def test_what_the_verdicts_say(diagnosis: Any) -> None:
    text = " ".join(re.sub(r"<[^>]+>|\s+", " ", html_report(diagnosis, ReportFacts("study"))).split())
    bias = counted(1, "alpha", 1, 0)
    amount = r"([\d.]+) \(([\d.]+) standard errors, ([\d.]+)% of the true ([\d.]+); t0 too\)"
    said = re.search(rf"t1 of alpha is too (\w+) by {amount} when size = -0.8", text)
    assert said is not None
    assert said[1] == "low"
    near(said[2], -bias["bias"][0])
    near(said[3], -bias["bias"][0] / bias["emp. SE"][0])
    near(said[4], -100 * bias["bias"][0] / bias["truth"][0])
    near(said[5], bias["truth"][0])
    size = {name: counted(0, name, 0, j)["rejected"] for name, j in (("alpha", 0), ("beta", 1))}
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
    near(covered[1], min(counted(cell, "alpha", 1, 0)["coverage"][0] for cell in (0, 1)))
