"""Staggered estimators beside two programs for single panels, on the panels of one design, everything counted.

285 cities x 18 years, 48 treated in 13 cohorts. Ours: a serial study with all aggregations and clustered errors, draws
included. Theirs: one fit of every ATT(g, t) with its aggregations by event time. Run by `make bench`.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
import warnings
from collections.abc import Callable

from cluster import environment, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from estimators import Estimator, find_estimator  # noqa: E402
from experiments.run.runner import run  # noqa: E402
from experiments.study import Study  # noqa: E402
from sim import Panel, Streams  # noqa: E402
from sim.presets import Paper  # noqa: E402

KINDS = ("callaway-santanna", "imputation", "two-stage", "sun-abraham", "stacked", "event-study")
PANELS = 4096


def main() -> None:
    prepare_process()
    print(environment())
    panels = [Paper().draw(Streams(seed)).panel for seed in range(4)]
    theirs = {"differences": each(differences, panels), "moderndid": each(moderndid, panels)}
    print(", ".join(f"{program} {seconds * 1e3:.0f} ms a fit" for program, seconds in theirs.items()))
    for kind in KINDS:
        own = seconds_a_panel(find_estimator(kind)())
        ratios = ", ".join(f"{seconds / own:,.0f} x {program}" for program, seconds in theirs.items())
        print(f"{kind:18s} {own * 1e3:6.3f} ms a panel: {ratios}")


def seconds_a_panel(estimator: Estimator) -> float:
    """Seconds a panel of a whole serial study with one estimator, drawing included."""
    study = Study("bench", Paper(), (estimator,), replications=PANELS, block=1024)
    run(study.resized(seed=99, replications=64, block=64))  # imports and first calls are not what is measured
    begin = time.perf_counter()
    run(study)
    return (time.perf_counter() - begin) / PANELS


def each(fit: Callable[[pd.DataFrame], object], panels: list[Panel]) -> float:
    """Median seconds of a fit, the first (imports) left out."""
    seconds = []
    for panel in panels:
        frame = table(panel)
        begin = time.perf_counter()
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            fit(frame)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def table(panel: Panel) -> pd.DataFrame:
    """unit, year, y, and the first treated year (0 = never)."""
    did = panel.variables["did"][0]
    first = np.where(did.any(axis=0), np.array(panel.periods)[did.argmax(axis=0)], 0)
    periods, units = did.shape
    return pd.DataFrame(
        {
            "unit": np.tile(np.arange(units), periods),
            "year": np.repeat(np.array(panel.periods), units),
            "y": panel.variables["icr"][0].ravel(),
            "first": np.tile(first, periods).astype(np.float64),
        }
    )


def differences(frame: pd.DataFrame) -> object:
    """All ATT(g, t) and their averages by event time."""
    from differences import ATTgt

    cohorts = frame.assign(first=frame["first"].where(frame["first"] > 0)).set_index(["unit", "year"])
    fit = ATTgt(data=cohorts, cohort_column="first")
    fit.fit(formula="y", progress_bar=False)
    return fit.aggregate("event")


def moderndid(frame: pd.DataFrame) -> object:
    """All ATT(g, t) and their averages by event time."""
    from moderndid import aggte, att_gt

    fit = att_gt(data=frame, yname="y", tname="year", idname="unit", gname="first", est_method="reg", boot=False)
    return aggte(fit, type="dynamic")


if __name__ == "__main__":
    main()
