"""Failing plug-ins: each ends in its exit code and line, costs its own fits at most, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from failing_plug_ins import FAILURES, harmed, left, lost_fits, run_with, sound_numbers

pytestmark = pytest.mark.long
ON_WORKERS = ("wrong shape", "exits", "forks")  # what another way of starting processes may change; prints: below


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return sound_numbers(tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize(
    ("name", "where"), [*((name, "serial") for name in FAILURES), *((name, "local") for name in ON_WORKERS)]
)
def test_a_failing_plug_in_harms_itself_alone(name: str, where: str, sound: dict[str, Any], tmp_path: Path) -> None:
    failure = FAILURES[name]
    ended = run_with(tmp_path, failure, where)
    assert ended.code == failure.code, ended.output + ended.errors
    assert failure.said in ended.line(failure.said)
    assert "Traceback" not in ended.output + ended.errors
    assert harmed(ended, sound) == []
    assert left() == []
    assert (None if ended.store is None else lost_fits(ended.store)) == failure.lost


@pytest.mark.parametrize("where", ["serial", "local"])
def test_what_a_fit_prints_is_no_part_of_the_json_document(where: str, tmp_path: Path) -> None:
    ended = run_with(tmp_path, FAILURES["prints"], where, "--json")
    assert json.loads(ended.output)["study"]["complete"]
    assert {"a fit prints", "a library prints"} <= set(ended.errors.splitlines())
