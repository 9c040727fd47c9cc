"""Microseconds a placebo on one core with one BLAS thread, drawing and p value counted, at 285 x 18 with 4 controls.

Run as `python tests/benchmarks/placebo_bench.py`. A placebo draws which cities are treated at the panel's own dates.
The last lines are `panelproof placebo` from the panel in memory to p value, interval and the store on disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster import environment, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from estimators import SpatialPanel, TwoWayDID  # noqa: E402
from estimators.core.tile import TreatmentKernel  # noqa: E402
from estimators.spatial.spectrum import Transform  # noqa: E402
from estimators.staggered.adoption_effects import Cohorts  # noqa: E402
from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame  # noqa: E402
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec  # noqa: E402
from experiments.placebo import answer, question  # noqa: E402
from experiments.run.runner import run  # noqa: E402
from sim import Panel, Streams  # noqa: E402
from sim.presets import Paper  # noqa: E402

BATCH = 500
OUTER, INNER = 500, 199
TRANSFORMS: tuple[Transform, ...] = ("direct", "lee-yu")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--draws", type=int, default=10_000, help="placebos of each kind")
    draws = options.parse_args().draws
    prepare_process()
    print(environment())
    panel = null_panels(1)
    for first in batches(panel, BATCH, BATCH):  # interpolants and first calls are not what is measured
        for transform in TRANSFORMS:
            sdm(panel, transform)(first)
    report("drawing alone", draws, lambda: sum(len(first) for first in batches(panel, draws, BATCH)))
    report("DID, absorbing, CR1", draws, lambda: pvalue(panel, draws, did(panel), whole=False))
    some = min(draws, 2000)
    report("DID, any treatment, CR1", some, lambda: pvalue(panel, some, did(panel), whole=True))
    for transform in TRANSFORMS:
        report(f"SDM, absorbing, {transform}, observed Hessian", draws,
               lambda transform=transform: pvalue(panel, draws, sdm(panel, transform), whole=False))  # fmt: skip
    outer = null_panels(OUTER)
    report(f"DID, {OUTER} outcomes x {INNER} treatments", OUTER * INNER, lambda: of_many(outer))
    whole_command(draws)


def whole_command(draws: int) -> None:
    """Print the seconds, on the clock and of the processor, of `panelproof placebo` without its start-up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = example(folder)
        for estimator in ("did", "sdm"):
            stored(real, estimator, 128, folder / f"first-{estimator}.zarr")
            begin, busy = time.perf_counter(), time.process_time()
            p = stored(real, estimator, draws, folder / f"{estimator}.zarr")
            seconds, busy = time.perf_counter() - begin, time.process_time() - busy
            print(f"{draws:,} {estimator.upper()} placebos, store included: {seconds:.2f} s, {busy:.2f} s of the "
                  f"processor  (p = {p:.4g})")  # fmt: skip


def example(folder: Path) -> RealPanel:
    """The example panel, 285 cities x 18 years with 4 controls, as the command reads it."""
    example_frame().to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(EXAMPLE_SPEC, encoding="utf-8")
    return read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))


def stored(real: RealPanel, estimator: str, draws: int, store: Path) -> float:
    """The permutation p value of a question whose placebos go into a store."""
    ask = question(real, estimator=estimator, draws=draws)
    return answer(ask, run(ask.study, store=store)).permutation_p


def null_panels(count: int) -> Panel:
    """Outcomes of the paper's world without an effect of its policy, under its own calendar."""
    return Paper(effect=0.0, spillover="paper").draw(Streams(1, "bench").tile(0, count)).panel


def batches(panel: Panel, draws: int, size: int) -> Iterator[NDArray[np.intp]]:
    """First treated periods of the panel's own cohorts given to other cities, (size, N) at a time."""
    own = Cohorts.of(panel, "did", "benchmark").first
    for start in range(0, draws, size):
        streams = Streams(2, "bench").tile(start, min(start + size, draws))
        yield np.stack([own[generator.permutation(own.size)] for generator in streams.each("placebo")])


def did_kernel(panel: Panel) -> TreatmentKernel:
    """Two-way DID with errors clustered by city."""
    kernel = TwoWayDID(errors=("cluster:unit",)).treatment_kernel(panel, ("did",), errors=True)
    assert kernel is not None
    return kernel


def statistics_of(kernel: TreatmentKernel, panel: Panel, term: str, given: NDArray[np.generic]) -> NDArray[np.float64]:
    """Absolute t statistics of a term of each outcome under each treatment, (R, B)."""
    fits = kernel.assign(given).fit(panel.variables["icr"])
    k = fits.terms.index(term)
    return np.abs(fits.estimate[:, :, k] / fits.se[:, :, k])


def did(panel: Panel) -> Callable[[NDArray[np.generic]], NDArray[np.float64]]:
    """t statistics of a batch of treatments, (B,)."""
    kernel = did_kernel(panel)
    return lambda given: statistics_of(kernel, panel, "did", given)[0]


def sdm(panel: Panel, transform: Transform) -> Callable[[NDArray[np.generic]], NDArray[np.float64]]:
    """t statistics of the total effect, (B,)."""
    kernel = SpatialPanel("sdm", transform, errors=("hessian",)).treatment_kernel(panel, ("total:did",), errors=True)
    assert kernel is not None
    return lambda given: statistics_of(kernel, panel, "total:did", given)[0]


def pvalue(
    panel: Panel, draws: int, statistics: Callable[[NDArray[np.generic]], NDArray[np.float64]], *, whole: bool
) -> float:
    """The permutation p value of the panel's own treatment."""
    own = statistics(panel.variables["did"])[0]
    periods = np.arange(len(panel.periods))[:, None]
    extreme = 0
    for first in batches(panel, draws, BATCH):
        given = (periods >= first[:, None, :]).astype(np.float64) if whole else first
        extreme += int((statistics(given) >= own).sum())
    return (1 + extreme) / (1 + draws)


def of_many(outer: Panel) -> float:
    """Share of outcomes whose own placebo test rejects at 5%: the placebo of the placebo."""
    (first,) = batches(outer, INNER, INNER)
    own = Cohorts.of(outer, "did", "benchmark").first[None]
    t = statistics_of(did_kernel(outer), outer, "did", np.concatenate([own, first]))
    return float(((t >= t[:, :1]).sum(axis=1) / (1 + INNER) <= 0.05).mean())


def report(label: str, count: int, call: Callable[[], float]) -> None:
    """Print seconds, microseconds a placebo, and the p value or share that came out."""
    begin = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - begin
    print(f"{label:44s} {seconds:7.2f} s for {count:7,d}  {seconds / count * 1e6:7.1f} us each  ({result:.4g})")


if __name__ == "__main__":
    main()
