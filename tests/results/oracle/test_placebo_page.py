"""What `panelproof placebo` prints and writes: p values, counts and quantiles against a count over known placebos."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_records import MadeUpRecords
from placebo_files import write
from rich.console import Console
from scipy import stats
from svg_text import places

from estimators import TwoWayDID
from estimators.core.estimator import Status
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.placebo import SHIFT, PlaceboAnswer, answer, print_placebo, question, write_placebo
from experiments.run.runner import run
from references.small_panels import small_panel
from results.store.block import Block

DRAWS, FAILED = 99, (4, 40, 85, 90)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    files = write(tmp_path_factory.mktemp("panel"), small_panel(30, 8, seed=4, model="none", sigma=3.0))
    return read_real_panel(files[0], read_spec(files[1]))


@cache
def asked(real: RealPanel, statistic: str) -> tuple[PlaceboAnswer, SimpleNamespace]:
    """An answer on placebos of known size: twenty exceed the real estimate, sixty have a larger t, four failed.

    Beside it the real fit with the errors of its own test, and the placebos with theirs.
    """
    ask = question(real, scheme="space", draws=DRAWS, statistic=statistic)  # type: ignore[arg-type]
    fit = TwoWayDID(errors=("iid", "hc1", "cluster:unit"))(ask.panel)
    estimate, se = float(fit.estimate[0, 0]), float(fit.se[0, 2, 0])
    records = run(ask.study)
    block = next(iter(records.blocks(0)))
    found = block.estimates[ask.estimator.name]
    term, rank = found.terms.index(ask.term), np.arange(DRAWS)
    sizes = abs(estimate) * np.where(rank < 20, 1.2 + 0.01 * rank, 0.3 + 0.005 * rank)
    placebos = np.where(rank % 3 == 0, -sizes, sizes)
    # t statistics larger than the real one for ranks 20 to 79, which are none of those with large estimates
    t = abs(estimate / se) * np.where((rank >= 20) & (rank < 80), 1.5, 0.4)
    ses = np.full((DRAWS, 2, len(found.terms)), 1e-6)  # of the errors that are not shown
    dof = np.concatenate([np.full_like(found.dof[:, -1:], 3.0), found.dof[:, -1:]], axis=1)
    ses[:, -1, term] = np.abs(placebos) / t
    estimates = np.full_like(found.estimate, 50.0)
    estimates[:, term] = placebos
    status = np.where(np.isin(rank, FAILED), Status.NOT_CONVERGED, Status.OK).astype(np.uint8)
    errors = ("iid", found.errors[-1])
    made = replace(found, errors=errors, estimate=estimates, se=ses, dof=dof, status=status)
    changed = Block(block.truth, {**block.estimates, ask.estimator.name: made}, {}, 0)
    known = SimpleNamespace(estimate=estimate, se=se, placebos=placebos, ses=ses[:, -1, term], ok=status == Status.OK)
    return answer(ask, MadeUpRecords(records.cells, records.layouts, [changed], DRAWS)), known


def printed_of(found: PlaceboAnswer) -> tuple[str, dict[str, str]]:
    """What the terminal prints, and its lines by their labels."""
    out = io.StringIO()
    print_placebo(found, Console(file=out, width=300, color_system=None, highlight=False))
    text = out.getvalue()
    return text, dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in text.splitlines()[1:]
                      if re.search(r"\S {2,}\S", line))  # fmt: skip


def p_of(extreme: int) -> tuple[float, float]:
    p = (1 + extreme) / (1 + DRAWS)
    return p, math.sqrt(p * (1 - p) / DRAWS)


def extremes(known: SimpleNamespace, statistic: str) -> int:
    """How many placebos are as large as the real statistic, failed ones among them."""
    count = 0
    for b, se, ok in zip(known.placebos, known.ses, known.ok, strict=True):
        large = abs(b) >= abs(known.estimate) if statistic == "raw" else abs(b / se) >= abs(known.estimate / known.se)
        count += bool(large or not ok)
    return count


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_every_line(real: RealPanel, statistic: str) -> None:
    found, known = asked(real, statistic)
    extreme = extremes(known, statistic)
    assert extreme == {"raw": 20 + 3, "studentised": 60 + 3}[statistic]
    p, mcse = p_of(extreme)
    text, lines = printed_of(found)
    own = 2 * stats.t.sf(abs(known.estimate / known.se), 29)
    usable = known.placebos[known.ok]
    assert lines["real estimate"] == f"{known.estimate:.6g}"
    assert lines["its own test"] == f"se {known.se:.4g} (cluster:unit), p = {own:.4g}"
    kind = {"raw": "estimate", "studentised": "t statistic"}[statistic]
    assert lines["permutation p"] == f"{p:.4f} (Monte Carlo error {mcse:.4f}), two-sided on the {kind}"
    assert lines["placebos"] == "95 of 99 fitted"
    assert lines["their mean, sd"] == f"{usable.mean():.4g}, {usable.std(ddof=1):.4g}"
    for percent in ("0.5", "2.5", "5", "25", "50", "75", "95", "97.5", "99.5"):
        assert lines[f"{percent}% quantile"] == f"{np.percentile(usable, float(percent)):.4g}"
    assert "4 placebos could not be fitted; they count as extreme." in text
    assert ("95% interval" in lines) == (statistic == "raw")
    assert text.startswith("Placebo test of park: did, scheme space")


def test_a_p_value_below_all_decimals_is_not_zero(real: RealPanel, tmp_path: Path) -> None:
    found = replace(asked(real, "raw")[0], permutation_p=1 / 60001, mcse=1 / 60001)
    shown = "<0.0001 (Monte Carlo error <0.0001)"
    assert printed_of(found)[1]["permutation p"] == f"{shown}, two-sided on the estimate"
    write_placebo(found, tmp_path)
    assert "permutation p &lt; 0.0001" in (tmp_path / "placebo.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("statistic", ["raw", "studentised"])
def test_every_number_of_the_file_and_the_figure(real: RealPanel, tmp_path: Path, statistic: str) -> None:
    found, known = asked(real, statistic)
    write_placebo(found, tmp_path)
    document = json.loads((tmp_path / "placebo.json").read_text(encoding="utf-8"))
    extreme = extremes(known, statistic)
    p, mcse = p_of(extreme)
    usable = known.placebos[known.ok]
    t = np.abs(usable / known.ses[known.ok])
    own = 2 * stats.t.sf(np.append(t, abs(known.estimate / known.se)), 29)
    wanted = {
        "permutation_pvalue": p, "mcse": mcse, "share_as_large": extreme / DRAWS, "estimate": known.estimate,
        "se": known.se, "pvalue": own[-1], "placebo_mean": usable.mean(), "placebo_sd": usable.std(ddof=1),
        "rejected_share": (own[:-1] <= 0.05).mean(), "failed": 4, "draws": DRAWS, "level": 0.95,
    }  # fmt: skip
    for name, value in wanted.items():
        assert document[name] == pytest.approx(value, rel=1e-9), name
    labels = {"scheme": "space", "estimator": "did", "term": "did", "statistic": statistic, "exact": False,
              "se_type": "cluster:unit", "placebo_se_type": "cluster:unit"}  # fmt: skip
    assert {name: document[name] for name in labels} == labels
    figure = (tmp_path / "placebo.svg").read_text(encoding="utf-8")
    assert f"permutation p = {p:.4f}" in figure
    assert "Density of 95 placebo estimates" in figure
    assert len(places(figure, "p-values")) == 95


def test_the_interval_is_where_the_count_leaves_the_level(real: RealPanel) -> None:
    """p of the constant effect c, counted one by one, is above 5% inside the interval and not outside it."""
    found, known = asked(real, "raw")
    slopes = next(iter(run(found.question.study).blocks(0))).estimates[SHIFT].estimate[:, 0]
    lower, upper = map(float, re.findall(r"^(\S+) to (\S+),", printed_of(found)[1]["95% interval"])[0])
    assert (lower, upper) == pytest.approx((found.lower, found.upper), rel=1e-5)

    def p(effect: float) -> float:
        gaps = zip(known.placebos, slopes, known.ok, strict=True)
        large = [not ok or abs(b - effect * g) >= abs(known.estimate - effect) for b, g, ok in gaps]
        return (1 + sum(large)) / (1 + DRAWS)

    width = found.upper - found.lower
    assert found.lower < known.estimate < found.upper
    for end, side in ((found.lower, 1.0), (found.upper, -1.0)):
        assert p(end + side * 1e-4 * width) > 0.05
        assert p(end - side * 1e-4 * width) <= 0.05


def test_a_look_at_the_time_before_prints_a_share(real: RealPanel) -> None:
    ask = question(real, scheme="time", draws=DRAWS)
    found = answer(ask, run(ask.study))
    text, lines = printed_of(found)
    share = float(np.mean(np.abs(found.placebos) >= abs(found.estimate)))
    assert lines["share of placebos as large"].startswith(f"{share:.4f} (")
    assert "permutation p" not in lines
    assert "95% interval" not in lines
    assert found.document["permutation_pvalue"] is None
    assert "no p value" in text
    study = found.question.study
    exact = replace(found.question, study=replace(study, design=replace(found.question.design, exact=True)))
    assert "the share has no Monte Carlo error" in printed_of(replace(found, question=exact))[0]
