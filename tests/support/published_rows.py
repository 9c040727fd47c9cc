"""The published calibrated simulations of women's wages, as studies of the project on this panel or another one.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021, AER 111:4088), tables 2 and 4: RMSE and bias of 1,000
replications a row, coverage of nominal 95% intervals of 400. Rows are dials of the design that `panelproof twin` fits.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w

from experiments.cli import run_command
from experiments.run.runner import run
from experiments.settings import read_toml
from experiments.study import Study
from results.diagnosis.diagnose import diagnose

SPEC = """
[panel]
unit = "{unit}"
period = "{period}"
outcome = "{outcome}"

[twin]
method = "factor"
rank = {rank}
ar = 2
round = 2
standardize = true

[twin.adoption]
kind = "propensity"
on = "factors"
indicator = "{indicator}"
most = {most}
last_periods = {last}
"""
WAGES = SPEC.format(unit="state", period="year", outcome="log_wage", indicator="min_wage", rank=4, most=10, last=10)
ROWS: dict[str, dict[str, dict[str, float]]] = {
    "baseline": {},
    "no correlation": {"errors": {"serial": 0}},
    "no M": {"levels": {"interactive": 0}},
    "no F": {"levels": {"additive": 0}},
    "only noise": {"levels": {"interactive": 0, "additive": 0}},
    "no noise": {"errors": {"scale": 0}},
    "random": {},
}
KINDS = ("equally-weighted-did", "synthetic-control", "synthetic-did", "demeaned-synthetic-control")
COMPLETION = "matrix-completion"
PUBLISHED = {  # RMSE and bias of each of KINDS, then of matrix completion
    row: dict(zip((*KINDS, COMPLETION), numbers, strict=True)) for row, numbers in {
        "baseline": ((0.0487, 0.0205), (0.0373, 0.0198), (0.0277, 0.0102), (0.0317, 0.0066), (0.0346, 0.0153)),
        "no correlation": ((0.0489, 0.0206), (0.0379, 0.0200), (0.0282, 0.0103), (0.0323, 0.0066), (0.0348, 0.0154)),
        "no M": ((0.0136, 0.0008), (0.0182, 0.0044), (0.0161, 0.0006), (0.0164, 0.0007), (0.0136, 0.0008)),
        "no F": ((0.0487, 0.0205), (0.0229, 0.0042), (0.0277, 0.0101), (0.0317, 0.0066), (0.0346, 0.0153)),
        "only noise": ((0.0136, 0.0008), (0.0142, 0.0006), (0.0162, 0.0006), (0.0164, 0.0007), (0.0136, 0.0008)),
        "no noise": ((0.0469, 0.0197), (0.0170, 0.0039), (0.0056, 0.0045), (0.0106, 0.0006), (0.0036, 0.0001)),
        "random": ((0.0441, 0.0022), (0.0246, -0.0010), (0.0244, 0.0006), (0.0269, -0.0002), (0.0307, 0.0008)),
    }.items()
}  # fmt: skip
PUBLISHED_REPLICATIONS = 1000
COVERAGE = {  # of bootstrap, jackknife and placebo intervals of each of KINDS
    "baseline": {"bootstrap": (0.89, 0.93, 0.96, 0.94), "jackknife": (0.92, 0.95, 0.96, 0.97),
                 "placebo": (0.96, 0.88, 0.95, 0.94)},
    "random": {"bootstrap": (0.92, 0.96, 0.96, 0.95), "jackknife": (0.94, 0.98, 0.97, 0.98),
               "placebo": (0.94, 0.96, 0.96, 0.96)},
}  # fmt: skip
COVERAGE_REPLICATIONS = 400


@dataclass(frozen=True)
class Compared:
    """A measure of one estimator in one row, ours and published, and their distance in combined Monte Carlo errors."""

    row: str
    kind: str
    measure: str
    ours: float
    published: float
    distance: float

    def __str__(self) -> str:
        return (f"{self.row:14s} {self.kind:26s} {self.measure:9s} {self.ours:8.4f} published {self.published:7.4f}, "
                f"{self.distance:.1f} Monte Carlo errors apart")  # fmt: skip


def fitted(panel: Path, folder: Path, spec: str = WAGES) -> Path:
    """The design that the command line fits to a panel."""
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    assert run_command(["twin", str(panel), "--spec", str(folder / "spec.toml"), "--out", str(folder / "twin")]) == 0
    return folder / "twin" / "design.toml"


def measures_of(
    design: Path, row: str, replications: int, estimators: Sequence[Mapping[str, object]] = ()
) -> dict[tuple[str, str, str], tuple[float, float]]:
    """(estimator, error type, measure) -> value and Monte Carlo error, of the design with the dials of a row.

    estimators: as tables of a study; none = those of the design, a DID.
    """
    tables = copy.deepcopy(read_toml(design, "a study"))
    for part, dials in ROWS[row].items():
        tables["design"][part] |= dials
    if row == "random":
        tables["grid"] = {"adoption.kind": ["random"], "adoption.share": [0.5]}
    tables["estimators"] = [*map(dict, estimators)] or tables["estimators"]
    file = design.parent / f"{row} of {len(estimators)}.toml"
    file.write_text(tomli_w.dumps(tables), encoding="utf-8")
    found = diagnose(run(Study.from_toml(file).resized(replications=replications))).frame
    own = found[found["term"].isin(["did", "overall"]) & found["measure"].isin(["rmse", "bias", "coverage"])]
    return {(line["estimator"], str(line["error"]), line["measure"]): (float(line["value"]), float(line["mcse"]))
            for line in own.to_dict("records")}  # fmt: skip


def compared(design: Path, row: str, replications: int, estimators: Sequence[Mapping[str, object]]) -> list[Compared]:
    """RMSE and bias of a row. A published Monte Carlo error is ours at 1,000 replications."""
    found = measures_of(design, row, replications, estimators)
    out = []
    for kind in (str(each["kind"]) for each in estimators):
        for measure, theirs in zip(("rmse", "bias"), PUBLISHED[row][kind], strict=True):
            value, error = next(found[key] for key in found if key[0] == kind and key[2] == measure)
            both = error * np.sqrt(1 + replications / PUBLISHED_REPLICATIONS)
            out.append(Compared(row, kind, measure, value, theirs, abs(value - theirs) / both))
    return out


def covered(design: Path, row: str, error: str, replications: int) -> list[Compared]:
    """Coverage of one error type in a row. Monte Carlo errors are binomial at the mean of both."""
    estimators = [{"kind": kind, "errors": [f"{error}:unit"]} for kind in KINDS]
    found = measures_of(design, row, replications, estimators)
    out = []
    for kind, theirs in zip(KINDS, COVERAGE[row][error], strict=True):
        value = found[kind, f"{error}:unit", "coverage"][0]
        mean = (value + theirs) / 2
        both = np.sqrt(mean * (1 - mean) * (1 / replications + 1 / COVERAGE_REPLICATIONS))
        out.append(Compared(row, kind, error, value, theirs, abs(value - theirs) / both))
    return out
