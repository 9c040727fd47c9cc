"""A list of a setting that is itself a list is its value; a list of any other makes one estimator of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators import EventStudy, SpatialPanel, TwoWayDID
from experiments.run.resume import replay
from experiments.run.runner import run
from experiments.study import Study, expanded
from results.store import ZarrStore

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


@pytest.mark.parametrize("kind", ["event-study", "sun-abraham"])
def test_defaults_survive_a_store(kind: str, tmp_path: Path) -> None:
    text = STUDY.replace('kind = "event-study"\nwindow = [-4, 4]', f'kind = "{kind}"')
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    study = Study.from_toml(tmp_path / "s.toml")
    again = Study.from_settings(study.settings)
    assert again.fingerprint == study.fingerprint
