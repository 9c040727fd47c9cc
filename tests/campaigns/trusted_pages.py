"""Pages of `panelproof trust` on panels of a known world: 300 without an effect, 300 at the minimum detectable one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import made_twins
import numpy as np
from made_twins import ALONE, SERIAL
from scipy import stats

from experiments.run.runner import run
from experiments.study import Study
from experiments.trust.trust import Trust, trust

PAGES, REPLICATIONS = 300, 1024
LEVEL, LOW, HIGH = 0.01, 0.03, 0.07


def main() -> bool:
    """Calibrated p values uniform, the recommended test of size .03 to .07, power .80 at the detectable effect."""
    with tempfile.TemporaryDirectory() as folder:
        null = _without_effect(Path(folder))
        return _at_the_detectable_effect(Path(folder)) and null


def _page(folder: Path, number: int, effect: float) -> Trust:
    real = made_twins.drawn_panel(folder, number, SERIAL | {"effect": {"size": effect}}, ALONE)
    return trust(real, errors="cluster:unit", replications=REPLICATIONS, alone=True)


def _without_effect(folder: Path) -> bool:
    p, rejected, sizes = [], [], []
    for number in range(PAGES):
        page = _page(folder, 1000 + number, 0.0)
        p.append(page.calibrated().value)
        rejected.append(float(page.advised.pvalue or 0.0) < 0.05)
        sizes.append(page.main.size(page.recommended).value)
    test = stats.kstest(p, "uniform")
    size, shares = float(np.mean(rejected)), np.array(sizes)
    inside = float(((shares >= LOW) & (shares <= HIGH)).mean())
    print(f"  calibrated p values of {PAGES} pages without an effect: Kolmogorov-Smirnov D = {test.statistic:.3f}, "
          f"p = {test.pvalue:.2f}")  # fmt: skip
    print(f"  the recommended error type rejects at 5% on {size:.3f} of the panels "
          f"(Monte Carlo error {np.sqrt(size * (1 - size) / PAGES):.3f})")  # fmt: skip
    print(f"  its size on a page: mean {shares.mean():.4f}, in [{LOW}, {HIGH}] on {100 * inside:.1f}% of the pages, "
          f"each from {REPLICATIONS:,} replications")  # fmt: skip
    return bool(test.pvalue > LEVEL and LOW <= size <= HIGH and LOW <= shares.mean() <= HIGH)


def _at_the_detectable_effect(folder: Path) -> bool:
    known = Study.from_settings({"name": "known", "seed": 77, "worlds": 1, "replications": 16_384,
                                 "design": {"kind": "panel", "redraw": ["adoption"], **SERIAL},
                                 "estimators": [{"kind": "did", "errors": ["cluster:unit"]}]})  # fmt: skip
    fits = [block.estimates["did"] for block in run(known).blocks(0)]
    did = list(fits[0].terms).index("did")
    sd = float(np.concatenate([fit.estimate[:, did] for fit in fits]).std(ddof=1))
    freedom = SERIAL["units"] - 1
    effect = sd * float(stats.t.ppf(0.8, freedom) + stats.t.ppf(0.975, freedom))
    powers, ratios = [], []
    for number in range(PAGES):
        page = _page(folder, 3000 + number, effect)
        powers.append(float(page.curve.at(np.array([effect]))[0]))
        ratios.append(page.mde.value / effect)
    error = np.std(powers, ddof=1) / np.sqrt(PAGES)
    print(f"  at the known detectable effect {effect:.4f} the page's power averages {np.mean(powers):.4f} "
          f"(standard error {error:.4f}); its detectable effect over the known one {np.mean(ratios):.4f}")  # fmt: skip
    return bool(abs(np.mean(powers) - 0.80) <= 0.03)
