"""What a wrong design or estimator returns ends in one clear line that names it, and nothing else is harmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from estimators import TwoWayDID
from estimators.core.estimator import Estimates, Estimator, Layout, Status
from experiments.cli import run_command
from experiments.plugin_contracts import check_truths
from experiments.run.runner import preflight, run
from experiments.study import Study
from sim import BadInput, Design, Draw, Panel, Roles, Schema, Streams, Wanted, World
from sim.presets import BertrandDufloMullainathan

N, T = 6, 4
UNSEEDED = np.random.default_rng()


@dataclass(frozen=True, slots=True)
class Plain(Design):
    """A small sound design; `fault` says what is wrong with its draws."""

    kind: ClassVar[str] = "plain"

    fault: str = ""

    @property
    def schema(self) -> Schema:
        if self.fault == "schema raises":
            raise KeyError("units")
        if self.fault == "no schema":
            return None  # type: ignore[return-value]
        roles = Roles("y", "law" if self.fault == "role without a variable" else "did")
        return Schema(N, T, ("y", "did"), (), (), roles)

    def settle(self, streams: Streams) -> World:
        if self.fault == "settle raises":
            raise ZeroDivisionError("division by zero")
        return PlainWorld(self.fault, streams.fixed("state"))


@dataclass(frozen=True, eq=False)
class PlainWorld:
    fault: str
    state: np.random.Generator

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        if self.fault == "draw raises":
            raise IndexError("list index out of range")
        if self.fault == "a later draw raises" and streams.start >= 64:
            raise IndexError("list index out of range")
        if self.fault == "no draw":
            return None  # type: ignore[return-value]
        rows = streams.replications
        y = streams.normals("y", T, N)
        y = {"unseeded": UNSEEDED, "stateful": self.state}[self.fault].random(y.shape) if self.fault in LOOSE else y
        did = np.zeros((1, T, N))
        did[0, 2:, :3] = 1.0
        panel = Panel(tuple("abcdef"), tuple(range(T)), {"y": y, "did": did}, Roles("y", "did"))
        sound = Draw(panel, {name: np.zeros(rows) for name in wanted.estimands})
        change, _ = DESIGNS.get(self.fault, (None, ""))
        return change(sound) if change else sound


LOOSE = ("unseeded", "stateful")


def of_panel(change: Callable[[Panel], Panel]) -> Callable[[Draw], Draw]:
    return lambda draw: replace(draw, panel=change(draw.panel))


def of_truth(change: Callable[[np.ndarray], Any]) -> Callable[[Draw], Draw]:
    return lambda draw: replace(draw, truth={name: change(values) for name, values in draw.truth.items()})


def with_value(values: np.ndarray, value: float) -> np.ndarray:
    values[3] = value
    return values


def fewer(panel: Panel) -> Panel:
    variables = {name: values[:, :, :5] for name, values in panel.variables.items()}
    return replace(panel, units=panel.units[:5], variables=variables)


TWICE = "other numbers of y when the same replications were drawn twice"
DESIGNS: dict[str, tuple[Callable[[Draw], Draw] | None, str]] = {  # what becomes of a sound draw, what is said
    "schema raises": (None, "schema raised KeyError: 'units' (test_border.py, line "),
    "no schema": (None, "schema is wrong: NoneType; allowed: Schema"),
    "role without a variable": (None, "schema.roles is wrong: the name 'law'; allowed: names among y, did"),
    "settle raises": (None, "settle raised ZeroDivisionError: division by zero (test_border.py, line "),
    "draw raises": (None, "draw raised IndexError: list index out of range (test_border.py, line "),
    "no draw": (None, "draw is wrong: NoneType; allowed: Draw"),
    "fewer units": (of_panel(fewer), "5 units x 4 periods; allowed: 6 units x 4 periods"),
    "fewer replications": (of_panel(lambda panel: panel.replication(0)),
                           "1 replications; allowed: the 32 of the streams"),
    "missing variable": (of_panel(lambda panel: replace(panel, variables={"y": panel.variables["y"]})),
                         "draw: panel.variables is wrong: no did"),
    "missing truth": (lambda draw: replace(draw, truth={"ATT": np.zeros(32)}), "['ATT'] without att"),
    "truth of another shape": (of_truth(lambda values: values[:5]), "truth of att is wrong: shape (5,)"),
    "scalar truth": (of_truth(lambda values: 0.0), "truth of att is wrong: shape (); allowed: (32,)"),
    "infinite truth": (of_truth(lambda values: with_value(values, np.inf)), "truth of att is wrong: an infinite value"),
    "a truth that is NaN": (of_truth(lambda values: with_value(values, np.nan)),
                            "truth of att is wrong: NaN in some replications"),
    "unseeded": (None, TWICE),
    "stateful": (None, TWICE),
}  # fmt: skip


def study(design: Design | None = None, *estimators: Estimator, replications: int = 128) -> Study:
    return Study("border", design or Plain(), estimators or (TwoWayDID(),), replications=replications, block=64)


def test_the_sound_design_and_estimator_run() -> None:
    records = run(study(None, TwoWayDID(), Mean()))
    assert [len(block.truth["att"]) for block in records.blocks(0)] == [64, 64]
    assert records.noted("tracebacks", {}) == {}


@pytest.mark.parametrize("fault", DESIGNS)
def test_a_wrong_design_is_one_line_in_preflight(fault: str) -> None:
    with pytest.raises(BadInput) as caught:
        preflight(study(Plain(fault)))
    line = str(caught.value)
    assert "\n" not in line
    assert "design 'plain' (Plain); " in line
    assert DESIGNS[fault][1] in line
    preflight(study())


def test_a_design_that_raises_within_a_run_poisons_its_block_alone() -> None:
    records = run(study(Plain("a later draw raises")))
    assert [len(block.truth["att"]) for block in records.blocks(0)] == [64]
    (text,) = records.noted("tracebacks", {}).values()
    assert "list index out of range" in text


@dataclass(frozen=True, slots=True)
class Mean(Estimator):
    """The mean of y; `fault` says what is wrong with its answers."""

    kind: ClassVar[str] = "mean"

    fault: str = ""

    @property
    def name(self) -> str:
        return "mean"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        return Plain(), ("y",)

    def layout(self, schema: Schema) -> Layout:
        sound = Layout(("y",), ("iid",), ("r2",), {"y": "att"})
        if self.fault == "layout raises":
            raise AttributeError("no such thing")
        return replace(sound, **LAYOUTS.get(self.fault, ({}, ""))[0])

    def variables(self, schema: Schema) -> frozenset[str]:
        return frozenset({"y", "x"} if self.fault == "reads what is not there" else {"y"})

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        y = panel.variables["y"].reshape(panel.replications, -1)
        rows = len(y)
        one = np.ones((rows, 1, 1))
        sound = Estimates(("y",), ("iid",), y.mean(axis=1, keepdims=True), one, one, np.full(rows, 1, np.uint8),
                          {"r2": np.zeros(rows)})  # fmt: skip
        return ANSWERS[self.fault][0](sound) if self.fault in ANSWERS else sound


@dataclass(frozen=True, slots=True)
class Later(Mean):
    """The mean of y, with a wrong answer wherever replication 70 is among those that are asked for."""

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        return Mean(self.fault if 70 in range(streams.start, streams.stop) else "")(panel, streams)


LAYOUTS: dict[str, tuple[dict[str, Any], str]] = {  # what is changed in a sound layout, what is said
    "layout raises": ({}, "layout raised AttributeError: no such thing (test_border.py, line "),
    "repeated term": ({"terms": ("y", "y")}, "layout.terms is wrong: ('y', 'y')"),
    "terms as text": ({"terms": "yy"}, "layout.terms is wrong: 'yy'"),
    "target without a term": ({"targets": {"y": "att", "z": "att"}}, "layout.targets is wrong: the name 'z'"),
    "stored that is unknown": ({"stored": ("median",)}, "layout.stored is wrong: the name 'median'"),
    "reads what is not there": ({}, "variables is wrong: the name 'x'; allowed: names among y, did"),
}
ANSWERS: dict[str, tuple[Callable[[Estimates], Any], str]] = {  # what becomes of a sound answer, what is said
    "nothing": (lambda answer: None, "estimates is wrong: NoneType; allowed: Estimates"),
    "another term": (lambda answer: replace(answer, terms=("z",)),
                     "terms is wrong: ['z']; allowed: its layout's ['y']"),
    "missing term": (lambda answer: replace(answer, terms=()), "terms is wrong: []"),
    "another error type": (lambda answer: replace(answer, errors=("hc1",)), "errors is wrong: ['hc1']"),
    "estimates of another shape": (lambda answer: replace(answer, estimate=answer.estimate[:, 0]),
                                   "estimate is wrong: shape (2,); allowed: an array of shape (2, 1)"),
    "errors of another shape": (lambda answer: replace(answer, se=answer.se[:, 0]),
                                "se is wrong: shape (2, 1); allowed: an array of shape (2, 1, 1)"),
    "a status for all": (lambda answer: replace(answer, status=np.uint8(1)), "status is wrong"),
    "missing statistic": (lambda answer: replace(answer, statistics={}), "statistics is wrong: []"),
    "statistic of another shape": (lambda answer: replace(answer, statistics={"r2": np.zeros(5)}),
                                   "statistic r2 is wrong: shape (5,)"),
    "a list": (lambda answer: replace(answer, dof=answer.dof.tolist()), "dof is wrong: list, no array"),
    "unseeded estimate": (lambda answer: replace(answer, estimate=UNSEEDED.random(answer.estimate.shape)),
                          "other numbers of estimate when the same panels were fitted twice"),
    "unseeded se": (lambda answer: replace(answer, se=UNSEEDED.random(answer.se.shape)),
                    "other numbers of se when the same panels were fitted twice"),
    "unseeded statistic": (lambda answer: replace(answer, statistics={"r2": UNSEEDED.random(len(answer.status))}),
                           "other numbers of r2 when the same panels were fitted twice"),
}  # fmt: skip


@pytest.mark.parametrize("fault", [*LAYOUTS, *ANSWERS])
def test_a_wrong_estimator_is_one_line_before_anything_is_written(fault: str, tmp_path: Path) -> None:
    def asked() -> None:
        made = study(None, TwoWayDID(), Mean(fault))
        if fault in ANSWERS:  # a layout is asked for before anything is drawn
            run(made, store=tmp_path / "x.zarr")

    with pytest.raises(BadInput) as caught:
        asked()
    assert "\n" not in str(caught.value)
    assert "estimator 'mean' (Mean); " in str(caught.value)
    assert (LAYOUTS | ANSWERS)[fault][1] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["nothing", "missing term", "estimates of another shape", "a list"])
def test_a_wrong_answer_within_a_run_is_a_failed_fit(fault: str) -> None:
    records = run(study(None, TwoWayDID(), Later(fault)))
    status = np.concatenate([block.estimates["mean"].status for block in records.blocks(0)])
    np.testing.assert_array_equal(np.flatnonzero(status == Status.ERROR), [70])
    assert {fit for block in records.blocks(0) for fit in block.estimates["did"].status} == {Status.OK}
    (text,) = records.noted("tracebacks", {}).values()
    assert ANSWERS[fault][1].partition(": shape")[0] in text
    assert "\n" not in text


def test_a_mean_over_a_window_may_be_of_no_cells_in_some_draws() -> None:
    truth = np.array([0.0, np.nan, 0.0, 0.0])
    check_truths(BertrandDufloMullainathan(), {"att(1990,1991)": truth, "rho": np.full(4, np.nan)}, 4)
    with pytest.raises(BadInput, match="truth of rho"):
        check_truths(BertrandDufloMullainathan(), {"rho": truth}, 4)


STUDY = """
replications = 64
block = 64
[design]
kind = "{design}"
[[estimators]]
kind = "did"
"""
MODULE = """
from dataclasses import dataclass
from typing import ClassVar
from sim.presets import BertrandDufloMullainathan

@dataclass(frozen=True, slots=True)
class Mine(BertrandDufloMullainathan):
    "A design of the user's own."
    kind: ClassVar[str] = "mine"
"""


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a study file and a module; the search forgets it afterwards."""
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("room", [False, True])
def test_a_study_finds_its_design_beside_it(beside: Path, room: bool) -> None:
    """Also where a file beside it has the name of one of our packages."""
    if room:
        (beside / "sim.py").write_text("raise SystemExit\n")
    name = f"border_world_{room}".lower()
    (beside / f"{name}.py").write_text(MODULE)
    (beside / "mine.toml").write_text(STUDY.format(design=f"{name}:Mine"))
    assert run_command(["run", "mine.toml", "--cluster", "serial", "--store", "x.zarr"]) == 0
