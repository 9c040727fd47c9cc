"""`panelproof kinds`, the meaning of every dial, and lists of settings in study files."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pytest

from estimators import EventStudy, SpatialPanel, TwoWayDID
from estimators.core.estimator import estimators
from experiments import listing
from experiments.cli import run_command
from experiments.kinds import REQUIRED, catalogue, dials_of, summary_of
from experiments.listing import ClassSources, kind_rows
from experiments.run.resume import replay
from experiments.run.runner import run
from experiments.study import Study, expanded
from results.diagnosis.diagnose import diagnose
from results.diagnosis.measures import MEANINGS
from results.store import ZarrStore
from sim.design import designs
from sim.schemes import SCHEMES
from sim.world.context import slots_of
from sim.world.panel_design import PanelDesign
from studies import small_study

SLOTS = {name: slot for name, slot in slots_of(PanelDesign).items() if name != "other_weights"}
PARTS = [(f"{name}: {kind}", cls) for name, slot in SLOTS.items() for kind, cls in sorted(slot.kinds.items())]
KINDS = [*designs().items(), *PARTS, *estimators().items(), *((cls.kind, cls) for cls in SCHEMES)]
CLASSES = {f"{cls.__module__}:{kind}": cls for kind, cls in KINDS}


@dataclass(frozen=True)
class Base:
    """A base.

    size: of the thing; more is larger. label: its name.
    """

    size: int = 3
    label: str = ""


@dataclass(frozen=True)
class Example(Base):
    """One example. It has a second sentence.

    first, second: both of them, as in size: this is no head. mode: slow (the default) |
    fast.

    - an item that belongs to mode.

    size is not explained here. label: of the example.
    """

    first: float | None = None
    second: tuple[str, ...] = ()
    mode: Literal["slow", "fast"] = "slow"
    pair: tuple[int, int] = (1, 2)


def test_dials_are_read_from_types_and_docstrings() -> None:
    dials = {dial.name: dial for dial in dials_of(Example)}
    assert list(dials) == ["size", "label", "first", "second", "mode", "pair"]
    assert dials["size"].meaning == "of the thing; more is larger."
    assert dials["label"].meaning == "of the example."
    assert dials["first"].meaning == dials["second"].meaning == "both of them, as in size: this is no head."
    assert dials["mode"].meaning == "slow (the default) | fast. - an item that belongs to mode."
    assert dials["pair"].meaning == ""
    assert [dials[name].type for name in ("size", "first", "second", "mode", "pair")] == [
        "whole number", "number or none", "list of text", "text", "2 values: whole number"]  # fmt: skip
    assert [dials[name].default for name in ("size", "label", "first", "second", "pair")] == [
        "3", '""', "none", "[]", "[1, 2]"]  # fmt: skip
    assert dials["mode"].allowed == ("slow", "fast")
    assert summary_of(Example) == "One example."


@pytest.mark.parametrize("name", CLASSES)
def test_every_kind_has_a_summary_and_every_dial_a_meaning(name: str) -> None:
    cls, summary = CLASSES[name], summary_of(CLASSES[name])
    dials = dials_of(cls)
    assert [dial.name for dial in dials] == [item.name for item in fields(cls) if item.init]  # type: ignore[arg-type]
    assert [dial.name for dial in dials if not (dial.meaning and dial.type and dial.default)] == []
    assert len(summary) > 10
    assert not any(summary.startswith(f"{dial.name}:") for dial in dials)


def test_the_list_of_sources_is_that_of_classes() -> None:
    imported = {group: [(entry.kind, entry.summary) for entry in found] for group, found in catalogue().items()}
    assert kind_rows() == imported


@pytest.mark.parametrize("draft", ["class A(:", "class A(Estimator):\n    kind: ClassVar[str] = 'a'"])
def test_a_draft_is_left_to_who_imports_it(
    draft: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "estimators").mkdir()
    (tmp_path / "estimators" / "draft.py").write_text(f"from typing import ClassVar\n{draft}\n")
    with pytest.raises((SyntaxError, LookupError)):
        ClassSources(tmp_path / "estimators").kinds("Estimator")
    monkeypatch.setattr(listing, "ROOT", tmp_path)
    with pytest.raises((SyntaxError, LookupError)):
        kind_rows()
    assert run_command(["kinds"]) == 0
    assert "callaway-santanna" in capsys.readouterr().out


def test_the_list_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["kinds"]) == 0
    printed = capsys.readouterr().out
    for group, entries in catalogue().items():
        assert group.replace("_", " ") in printed
        assert len(entries) > 4, group
        assert all(entry.kind in printed and entry.summary for entry in entries)
    assert "assignments drawn anew; --estimator does not take it." in " ".join(printed.split())
    assert run_command(["kinds", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {*catalogue(), "problems"}
    assert document["problems"] == []


def test_one_kind_shows_every_dial(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["kinds", "paper", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"designs", "problems"}
    (entry,) = document["designs"]
    assert entry["source"] == "sim.presets:Paper"
    dials = {dial["name"]: dial for dial in entry["dials"]}
    assert dials["spillover"]["allowed"] == ["none", "paper", "lag", "error"]
    assert dials["sigma"] == {"name": "sigma", "type": "number", "default": "0.029", "allowed": [],
                              "meaning": "sd of the errors."}  # fmt: skip
    assert run_command(["kinds", "paper"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in dials)
    assert dials_of(designs()["observed"])[0].default == REQUIRED


def kinds_of(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, list[dict[str, object]]]:
    """The entries that `kinds NAME` finds, by group."""
    assert run_command(["kinds", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("problems") == []
    return dict(document)


def test_parts_are_found_by_slot_by_kind_and_by_both(capsys: pytest.CaptureFixture[str]) -> None:
    for name, slot in SLOTS.items():
        assert [entry["kind"] for entry in kinds_of(name, capsys)["parts"]] == [
            f"{name}: {k}" for k in sorted(slot.kinds)
        ]
    assert [entry["kind"] for entry in kinds_of("bounded", capsys)["parts"]] == [
        "levels: bounded",
        "covariates: bounded",
    ]
    (entry,) = kinds_of("levels.bounded", capsys)["parts"]
    assert entry["source"] == "sim.world.parts.levels:BoundedLevels"
    assert run_command(["kinds", "adoption.randm"]) == 2
    assert "did you mean 'adoption.random'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "group", "kind"),
    [
        ("cluster:unit", "error_types", "cluster:A or cluster:A+B"),
        ("conley:200", "error_types", "conley:KM or conley:KM:bartlett"),
        ("strata:region", "schemes", "strata"),
        ("adoption:random", "parts", "adoption: random"),
    ],
)
def test_a_kind_is_found_as_it_is_written_in_a_spec(
    written: str, group: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [entry["kind"] for entry in kinds_of(written, capsys)[group]] == [kind]


def test_a_value_of_a_dial_finds_what_has_the_dial(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = kinds_of("sdm", capsys)["estimators"]
    assert first["kind"] == "spatial"
    assert str(first["summary"]).startswith('sdm is model = "sdm" of it. SAR, SEM, SDM')
    assert run_command(["kinds", "nowhere:unit"]) == 2
    assert "cannot load 'nowhere:unit'" in capsys.readouterr().err


def test_ranges_of_numbers_and_kinds_of_parts_are_allowed_values(capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = kinds_of("errors.process", capsys)["parts"]
    dials = {dial["name"]: dial for dial in entry["dials"]}  # type: ignore[attr-defined]
    assert dials["group_share"]["allowed"] == ["0 to 1"]
    assert dials["spatial_kind"]["allowed"] == ["ar", "ma"]
    assert dials["serial"]["type"] == "number or list of number"
    (panel,) = kinds_of("panel", capsys)["designs"]
    slots = {dial["name"]: dial for dial in panel["dials"]}  # type: ignore[attr-defined]
    assert [slots["adoption"][key] for key in ("type", "default")] == ["part", "random"]
    assert {"random", "calendar", "never"} <= set(slots["adoption"]["allowed"])
    assert [slots["covariates"][key] for key in ("type", "default")] == ["list of part", "[]"]
    assert slots["other_weights"]["allowed"] == slots["weights"]["allowed"]


@pytest.mark.parametrize(("name", "kind"), [("csdid", "callaway-santanna"), ("TwoWayDID", "did"), ("bais", "bias")])
def test_an_unknown_kind_gets_a_suggestion(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["kinds", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"did you mean '{kind}'?" in line


def test_measures_are_those_of_a_diagnosis() -> None:
    from experiments.run.runner import run

    frame = diagnose(run(small_study(replications=64, block=64))).frame
    found = {name for name in frame["measure"] if ":" not in name}
    assert found <= set(MEANINGS)
    assert len(found) > 12


STUDY = """
replications = 64
block = 64
seed = 1

[design]
kind = "paper"

[[estimators]]
kind = "event-study"
window = [-4, 4]
"""


def test_lists_of_listed_settings_are_not_expanded() -> None:
    assert expanded(EventStudy, {"window": [-4, 4]}) == [{"window": [-4, 4]}]
    assert expanded(TwoWayDID, {"errors": ["iid", "hc1"], "effects": []}) == [{"errors": ["iid", "hc1"], "effects": []}]
    assert expanded(TwoWayDID, {"regressors": ["did"]}) == [{"regressors": ["did"]}]
    assert [one["model"] for one in expanded(SpatialPanel, {"model": ["sar", "sdm"]})] == ["sar", "sdm"]


def test_a_window_in_a_file_runs_and_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STUDY, encoding="utf-8")
    study = Study.from_toml(tmp_path / "s.toml")
    assert study.estimators == (EventStudy(window=(-4, 4)),)
    run(study, store=tmp_path / "s.zarr")
    assert replay(ZarrStore.open(tmp_path / "s.zarr"), 0, 3) is not None
