"""Kinds: `panelproof kinds`, the meaning of every dial, lists of settings in study files, and kinds that other packages
offer (entry points of the group `panelproof.kinds`)."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import commands
import numpy as np
import pytest
from commands import here, refusal
from refusals import refuses

import panelproof as pp
from estimators import EventStudy, SpatialPanel, TwoWayDID, estimators, find_estimator
from experiments import listing
from experiments.estimation import estimator_called
from experiments.kinds import REQUIRED, catalogue, dials_of, document, entries_called, summary_of
from experiments.listing import ClassSources, in_full, kind_rows, offered, offered_rows
from experiments.run.resume import named_code, replay
from experiments.run.runner import run
from experiments.run.tasks import environment_of
from experiments.settings import kind_of
from experiments.study import Study, expanded
from experiments.trust.claim import claim_of
from experiments.trust.race import contestants, race
from results.diagnosis.diagnose import diagnose
from results.diagnosis.measures import MEANINGS
from results.store import ZarrStore
from sim import Panel
from sim.design import designs
from sim.schemes import SCHEMES
from sim.world.context import slots_of
from sim.world.panel_design import PanelDesign
from studies import SHORT, small_study

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
    assert (dials["size"].meaning, dials["label"].meaning) == ("of the thing; more is larger.", "of the example.")
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


@pytest.mark.parametrize("draft", ["class A(:", "class A(Estimator):\n    kind: ClassVar[str] = 'a'"])
def test_a_draft_is_left_to_who_imports_it(draft: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "estimators").mkdir()
    (tmp_path / "estimators" / "draft.py").write_text(f"from typing import ClassVar\n{draft}\n")
    with pytest.raises((SyntaxError, LookupError)):
        ClassSources(tmp_path / "estimators").kinds("Estimator")
    monkeypatch.setattr(listing, "ROOT", tmp_path)
    with pytest.raises((SyntaxError, LookupError)):
        kind_rows()
    assert "callaway-santanna" in here("kinds").out


def test_the_list_names_every_kind_and_that_of_sources_is_that_of_classes() -> None:
    imported = {group: [(entry.kind, entry.summary) for entry in found] for group, found in catalogue().items()}
    assert kind_rows() == imported
    printed = here("kinds").out
    for group, entries in catalogue().items():
        assert group.replace("_", " ") in printed
        assert len(entries) > 4, group
        assert all(entry.kind in printed and entry.summary for entry in entries)
    assert "assignments drawn anew; --estimator does not take it." in commands.words(printed)
    document = json.loads(here("kinds", "--json").out)
    assert (set(document), document["problems"]) == ({*catalogue(), "problems"}, [])


def kinds_of(name: str) -> dict[str, list[dict[str, Any]]]:
    """The entries that `kinds NAME` finds, by group."""
    document = json.loads(here("kinds", name, "--json").out)
    assert document.pop("problems") == []
    return dict(document)


def test_one_kind_shows_every_dial() -> None:
    found = kinds_of("paper")
    (entry,) = found.pop("designs")
    assert (found, entry["source"]) == ({}, "sim.presets:Paper")
    dials = {dial["name"]: dial for dial in entry["dials"]}
    assert dials["spillover"]["allowed"] == ["none", "paper", "lag", "error"]
    assert dials["sigma"] == {"name": "sigma", "type": "number", "default": "0.029", "allowed": [],
                              "meaning": "sd of the errors."}  # fmt: skip
    printed = here("kinds", "paper").out
    assert all(name in printed for name in dials)
    assert dials_of(designs()["observed"])[0].default == REQUIRED


def test_parts_are_found_by_slot_by_kind_and_by_both() -> None:
    wanted = {name: [f"{name}: {kind}" for kind in sorted(slot.kinds)] for name, slot in SLOTS.items()}
    wanted |= {"bounded": ["levels: bounded", "covariates: bounded"]}
    assert {name: [entry["kind"] for entry in kinds_of(name)["parts"]] for name in wanted} == wanted
    (entry,) = kinds_of("levels.bounded")["parts"]
    assert entry["source"] == "sim.world.parts.levels:BoundedLevels"


@pytest.mark.parametrize(("written", "group", "kind"), [
    ("cluster:unit", "error_types", "cluster:A or cluster:A+B"),
    ("conley:200", "error_types", "conley:KM or conley:KM:bartlett"),
    ("strata:region", "schemes", "strata"),
    ("adoption:random", "parts", "adoption: random"),
])  # fmt: skip
def test_a_kind_is_found_as_it_is_written_in_a_spec(written: str, group: str, kind: str) -> None:
    assert [entry["kind"] for entry in kinds_of(written)[group]] == [kind]


def test_a_value_of_a_dial_finds_what_has_the_dial() -> None:
    first, *_ = kinds_of("sdm")["estimators"]
    assert first["kind"] == "spatial"
    assert str(first["summary"]).startswith('sdm is model = "sdm" of it. SAR, SEM, SDM')
    assert "cannot load 'nowhere:unit'" in refusal("kinds", "nowhere:unit")


def test_ranges_of_numbers_and_kinds_of_parts_are_allowed_values() -> None:
    (entry,) = kinds_of("errors.process")["parts"]
    dials = {dial["name"]: dial for dial in entry["dials"]}
    assert (dials["group_share"]["allowed"], dials["spatial_kind"]["allowed"]) == (["0 to 1"], ["ar", "ma"])
    assert dials["serial"]["type"] == "number or list of number"
    (panel,) = kinds_of("panel")["designs"]
    slots = {dial["name"]: dial for dial in panel["dials"]}
    assert {name: (slots[name]["type"], slots[name]["default"]) for name in ("adoption", "covariates")} == {
        "adoption": ("part", "random"), "covariates": ("list of part", "[]")}  # fmt: skip
    assert {"random", "calendar", "never"} <= set(slots["adoption"]["allowed"])
    assert slots["other_weights"]["allowed"] == slots["weights"]["allowed"]


@pytest.mark.parametrize(("name", "kind"), [
    ("csdid", "callaway-santanna"), ("TwoWayDID", "did"), ("bais", "bias"), ("adoption.randm", "adoption.random"),
    ("plm", "did"), ("xtdidregress", "did"), ("ivreghdfe", "iv"), ("HonestDiD", "trend-evidence"), ("phtest", "random"),
    ("boottest", "wild:A"), ("fwildclusterboot", "wild:A"), ("didplacebo", "permutation"),
])  # fmt: skip
def test_an_unknown_kind_gets_a_suggestion(name: str, kind: str) -> None:
    assert f"did you mean '{kind}'?" in refusal("kinds", name)


def test_measures_are_those_of_a_diagnosis() -> None:
    frame = diagnose(run(small_study(replications=64, block=64))).frame
    found = {name for name in frame["measure"] if ":" not in name}
    assert found <= set(MEANINGS)
    assert len(found) > 12


def test_lists_of_listed_settings_are_not_expanded_and_run(tmp_path: Path) -> None:
    assert expanded(EventStudy, {"window": [-4, 4]}) == [{"window": [-4, 4]}]
    assert expanded(TwoWayDID, {"errors": ["iid", "hc1"], "effects": []}) == [{"errors": ["iid", "hc1"], "effects": []}]
    assert expanded(TwoWayDID, {"regressors": ["did"]}) == [{"regressors": ["did"]}]
    assert [one["model"] for one in expanded(SpatialPanel, {"model": ["sar", "sdm"]})] == ["sar", "sdm"]
    text = f'{SHORT}[[estimators]]\nkind = "event-study"\nwindow = [-4, 4]\n'
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    study = Study.from_toml(tmp_path / "s.toml")
    assert study.estimators == (EventStudy(window=(-4, 4)),)
    run(study, store=tmp_path / "s.zarr")
    assert replay(ZarrStore.open(tmp_path / "s.zarr"), 0, 3) is not None


MODULE = '''
"""A package of somebody else."""
import numpy as np
import panelproof as pp


@pp.estimator(terms=["did"])
def halves(panel, scale: float = 1.0):
    """Mean of the treated cells less that of the others.

    scale: of the answer.
    """
    y, did = panel.variables[panel.roles.outcome], panel.variables["did"]
    treated, others = y[did > 0], y[did == 0]
    se = np.sqrt(treated.var(ddof=1) / treated.size + others.var(ddof=1) / others.size)
    return scale * (treated.mean() - others.mean()), scale * se
'''
STUDY = """
replications = 64
seed = 1
[design]
kind = "bdm"
[[estimators]]
kind = "halves"
scale = 2.0
"""


def install(folder: Path, package: str, points: dict[str, str]) -> None:
    """A package as pip leaves it: its module and its metadata."""
    (folder / f"{package}.py").write_text(MODULE, encoding="utf-8")
    info = folder / f"{package}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n", encoding="utf-8")
    lines = [f"{name} = {place}" for name, place in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[panelproof.kinds]", *lines, ""]), encoding="utf-8")
    offered.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, with one that offers `halves`."""
    folder = tmp_path / "site"
    folder.mkdir()
    install(folder, "theirs", {"halves": "theirs:halves"})
    monkeypatch.syspath_prepend(folder)
    offered.cache_clear()
    yield folder
    for name in ("theirs", "others"):
        sys.modules.pop(name, None)
    offered.cache_clear()


def test_a_name_that_a_package_offers_is_its_class(site: Path) -> None:
    assert offered_rows() == [("halves", "theirs:halves, of theirs 1.5")]
    assert in_full("halves", "kind") == "theirs:halves"
    assert "theirs" not in sys.modules, "nothing is imported before it is asked for"
    made = find_estimator("theirs:halves")
    assert kind_of(made(), "estimators") == "theirs:halves"
    (entry,) = entries_called("halves")["estimators"]
    assert [dial.name for dial in entry.dials][:1] == ["scale"]
    assert document({})["offered"] == [{"kind": "halves", "place": "theirs:halves, of theirs 1.5"}]


def test_our_own_kind_comes_first(site: Path) -> None:
    install(site, "others", {"did": "others:halves"})
    assert in_full("did", "kind") == "did"
    said = dict(offered_rows())
    assert said["did"] == "others:halves, of others 1.5; did itself is panelproof's own"
    assert said["halves"] == "theirs:halves, of theirs 1.5"
    rows = kind_rows()
    ours = {kind.rpartition(": ")[2] for group in ("designs", "parts", "estimators") for kind, _ in rows[group]}
    install(site, "further", dict.fromkeys(ours, "others:halves"))
    assert {in_full(kind, "kind") for kind in ours} == ours


def test_what_two_packages_offer_is_asked_for_by_its_place(site: Path) -> None:
    install(site, "others", {"halves": "others:halves"})
    said = "kind 'halves' is offered by 2 packages: others:halves (others 1.5) and theirs:halves (theirs 1.5)"
    refuses(re.escape(said), lambda: in_full("halves", "kind"), count=1)
    assert find_estimator("theirs:halves").__name__ == "halves"


@pytest.mark.parametrize(("place", "said"), [
    ("theirs:nothing", "defines no 'nothing'"),
    ("not_there:halves", "cannot load 'not_there:halves'"),
    ("theirs:np", "is no class of Estimator"),
])  # fmt: skip
def test_a_place_without_such_a_class_is_one_line(site: Path, place: str, said: str) -> None:
    install(site, "others", {"odd": place})
    refuses(said, lambda: find_estimator(in_full("odd", "kind")), count=1)


def test_an_offered_name_is_meant_by_a_near_one(site: Path) -> None:
    real = pp.example_panel(30)
    for say in (
        lambda: race(real, kinds="halve"),
        lambda: estimator_called("halve", real),
        lambda: entries_called("halve"),
    ):
        refuses("did you mean 'halves'", say)
    # of a store, which takes "module:Object" alone
    refuses("unknown kind 'halves'", lambda: find_estimator("halves"))


@pytest.mark.long
def test_commands_take_it_and_a_store_says_whose_code_it_is(site: Path, tmp_path: Path) -> None:
    surroundings = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "100"}
    listed = commands.run(tmp_path, "kinds", env=surroundings)
    assert "offered by other packages" in listed.stdout
    assert "theirs:halves, of theirs 1.5" in listed.stdout
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    done = commands.run(tmp_path, "run", "study.toml", "--cluster", "local", "--workers", "2", "--store", "x.zarr",
                        env=surroundings)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (settings,) = ZarrStore.open(tmp_path / "x.zarr").schema.study["estimators"]
    assert settings["kind"] == "theirs:halves", "a store names the code itself"
    refused = commands.run(tmp_path, "replay", "x.zarr", 0, 3, env=surroundings)
    assert refused.returncode == 2
    assert "--load-code" in refused.stderr


def test_estimators_race_as_they_are_and_a_function_with_the_terms_of_a_trial_fit(site: Path) -> None:
    real = pp.example_panel(30)
    formula = pp.formula("icr ~ did | unit + period", vcov={"CRV1": "unit"}, label="by-formula")
    kinds = [formula, "halves", "theirs:halves", "imputation", undeclared(), undeclared()]
    found = race(real, kinds=kinds, replications=64)
    assert [one.estimator for one in found.panel] == ["did", "by-formula", "halves", "imputation", "undeclared"]
    assert not found.panel[-1].left_out
    assert found.panel[-1].estimate == real.panel.variables["icr"][0].mean()
    assert {one.n for one in found.results} == {64}
    assert all(np.isfinite(one.rmse) for one in found.results)


def test_code_is_found_wherever_a_study_names_it(site: Path, tmp_path: Path) -> None:
    """By its place or by the name under which it is offered: as a kind, in a permutation test, in a grid."""
    tested = STUDY.replace('kind = "halves"\nscale = 2.0', 'kind = "permutation"\nestimator = "halves"')
    grid = STUDY.replace('kind = "halves"\nscale = 2.0', 'kind = "did"')
    for text, found in (
        (STUDY, ["theirs:halves"]),
        (tested, ["theirs:halves"]),
        (grid, []),
        (grid + '\n[grid]\n"adoption.kind" = ["theirs:Part", "random"]\n', ["theirs:Part"]),
        (grid + '\n[grid]\n"adoption.kind" = ["halves", "random"]\n', ["theirs:halves"]),
    ):
        assert named_code(tomllib.loads(text)) == found, text
    (tmp_path / "study.toml").write_text(tested, encoding="utf-8")
    study = Study.from_toml(tmp_path / "study.toml")
    assert study.settings["estimators"][0]["estimator"] == "theirs:halves"
    assert "theirs" in dict(environment_of(study).code)


PART = """
from dataclasses import dataclass
from typing import ClassVar
from sim.world.parts.adoption import Random

@dataclass(frozen=True, slots=True)
class Half(Random):
    kind: ClassVar[str] = "half"
"""
GRID = STUDY.replace('"bdm"', '"panel"').replace('"halves"\nscale = 2.0', '"did"')
GRID += '[grid]\n"adoption.kind" = ["half", "random"]\n'


def test_a_grid_keeps_the_place_of_a_kind(site: Path, tmp_path: Path) -> None:
    install(site, "others", {"half": "others:Half"})
    (site / "others.py").write_text(PART, encoding="utf-8")
    (tmp_path / "study.toml").write_text(GRID, encoding="utf-8")
    study = Study.from_toml(tmp_path / "study.toml")
    assert study.settings["grid"] == {"adoption.kind": ["others:Half", "random"]}
    assert "others" in dict(environment_of(study).code)
    again = Study.from_settings(study.settings)
    assert again.fingerprint == study.fingerprint
    assert [type(cell.design.adoption).__name__ for cell in again.cells] == ["Half", "Random"]
    assert named_code(study.settings) == ["others:Half"]


def test_a_grid_reaches_the_dials_of_a_kind_that_stands_elsewhere(site: Path, tmp_path: Path) -> None:
    install(site, "elsewhere", {"slow": "elsewhere:Half"})
    part = PART.replace("Random", "StaggeredAdoption") + "    pace: float = 2.0\n"
    (site / "elsewhere.py").write_text(part, encoding="utf-8")
    text = GRID.replace('"half"', '"slow"') + '"adoption.pace" = [1.0, 3.0]\n'
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    cells = Study.from_toml(tmp_path / "study.toml").cells
    assert [getattr(cell.design.adoption, "pace", None) for cell in cells] == [1.0, 3.0, None]


@pytest.mark.parametrize(
    ("name", "place", "reached"),
    [("fast", "theirs:halves [speed]", True), ("a:b", "theirs:halves", False), ("module", "theirs", False)],
)
def test_entry_points_as_the_specification_has_them(site: Path, name: str, place: str, *, reached: bool) -> None:
    """Extras say nothing here; a name with a colon, and a module, are no kinds."""
    install(site, "others", {name: place})
    assert (name in dict(offered_rows())) == reached
    if reached:
        assert in_full(name, "kind") == "theirs:halves"


WRONG = {
    "a class": (TwoWayDID, "write TwoWayDID()"),
    "classes": ([TwoWayDID], "write TwoWayDID()"),
    "a function": ([len], "@pp.estimator"),
    "nothing": (None, "names of kinds, and estimators"),
    "a number": ([3], "names of kinds, and estimators"),
    "another estimator of one name": ([TwoWayDID(errors=("iid",), effects=("unit",))],
                                      "two estimators are called 'did'"),
    "no kind": (["sdidd"], "or module:Object"),
    "no module": (["nowhere:at_all"], "cannot load 'nowhere:at_all'"),
    "a generator": ((name for name in ("imputation",)), "names of kinds, and estimators"),
    "a label that no store takes": (TwoWayDID(label="a/b"), "race; estimator name 'a/b'; allowed: letters, digits"),
    "a name of the store's own": ([TwoWayDID(label="truth")], "race; estimator name 'truth'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_estimator_does_not_race(case: str) -> None:
    kinds, said = WRONG[case]
    refuses(re.escape(said), lambda: race(pp.example_panel(30), kinds=kinds, replications=64))


@pp.estimator
def undeclared(panel: Panel) -> dict[str, tuple[float, float]]:
    return {"did": (float(panel.variables["icr"][0].mean()), 0.02)}


@pp.estimator(terms=["did"])
def answering(panel: Panel, estimate: float = 0.1, se: float = 0.1) -> tuple[float, float]:
    """What it is told to."""
    return estimate, se


NO_ANSWERS = {
    "no estimate": (answering(estimate=float("nan")), "on this panel the estimate of did is nan"),
    "no error": (answering(se=float("nan")), "on this panel the own error of did is nan"),
    "an endless error": (answering(se=float("inf")), "on this panel the own error of did is inf"),
    "a negative error": (answering(se=-1.0), "on this panel the own error of did is -1.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_ANSWERS)
def test_what_gives_no_answer_is_left_out_with_what_it_gave(case: str) -> None:
    estimator, why = NO_ANSWERS[case]
    field, left_out = contestants(claim_of(pp.example_panel(30)), [estimator, raising()])
    assert set(field) == {"did"}
    assert (left_out[0].estimator, left_out[0].left_out) == ("answering", why)
    assert left_out[1].estimator == "raising"
    assert "ValueError: it is not to be had" in left_out[1].left_out


@pp.estimator(terms=["did"])
def raising(panel: Panel) -> None:
    raise ValueError("it is not to be had")
