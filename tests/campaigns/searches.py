"""Breakdowns and solutions with known answers, 100 searches of each kind."""

from __future__ import annotations

from experiments.search.solve import Search, breakdown, evaluator_of
from references import known_breakdowns as known

RUNS, LEAST = 100, 95
EFFECT = 0.5
CASES = {
    "size:0.10": ("errors.serial", 0.0, known.serial_of_size(0.10), 0.25),
    "bias:25%": ("effect.trend_gap", EFFECT, 0.25 * EFFECT / known.bias_under_trend_gap(1.0), 0.05),
}


def main() -> bool:
    """Each true breakdown lies in the printed interval in at least 95 of 100 runs."""
    holds = True
    for measure, (dial, effect, truth, precision) in CASES.items():
        hits, values = 0, []
        for seed in range(RUNS):
            evaluator = evaluator_of(known.study(2000 + seed, effect), measure, None)
            (answer,) = breakdown(evaluator, dial, Search(precision=precision))
            hits += answer.state == "found" and answer.lower <= truth <= answer.upper
            values.append(answer.value)
        print(f"  {measure} along {dial}: truth {truth:.4f}, mean answer {sum(values) / RUNS:.4f}, "
              f"in the interval in {hits} of {RUNS} runs")  # fmt: skip
        holds &= hits >= LEAST
    return holds
