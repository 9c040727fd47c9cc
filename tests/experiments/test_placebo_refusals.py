"""`panelproof placebo`: what is refused, in one line and before anything is drawn or written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from placebo_files import SPEC, command, write

from experiments.cli import run_command
from references.small_panels import small_panel
from results.store import ZarrStore
from sim.schemes import FORMS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return write(tmp_path_factory.mktemp("panel"), small_panel(30, 8, seed=4, model="none", sigma=3.0))


def test_a_panel_without_a_real_fit_stops_before_any_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All units adopt at one date: there are dates to draw, but the real treatment is a time effect."""
    panel = small_panel(30, 6, seed=4, model="none")
    did = np.zeros((1, 6, 30))
    did[0, 3:] = 1.0
    files = write(tmp_path, panel.with_variables({"did": did}))
    store, out = tmp_path / "x.zarr", tmp_path / "new" / "out"
    options = ("--scheme", "time", "--draws", "99", "--store", str(store), "--out", str(out))
    assert run_command(command(files, *options)) == 2
    said = capsys.readouterr().err
    assert "absorbed" in said
    assert len(said.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["panel.csv", "spec.toml"]


@pytest.mark.parametrize(("outcome", "message"), [("constant", "'y' is constant"), ("control", "'y' is collinear")])
def test_an_outcome_that_is_rounding_stops_before_any_draw(
    outcome: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    panel = small_panel(30, 6, seed=4, model="none")
    y = 2.0 * panel.variables["inv"] if outcome == "control" else np.ones_like(panel.variables["y"])
    files = write(tmp_path, panel.with_variables({"y": y}))
    assert run_command(command(files, "--draws", "99", "--store", str(tmp_path / "x.zarr"))) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "name another outcome" in said
    assert len(said.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["panel.csv", "spec.toml"]


def test_help_names_every_scheme(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["placebo", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    options = said[said.index("Options:") :]
    assert not [form for form in FORMS if f" {form}," not in options and f" {form}." not in options]
    assert "99 or more" in options


def test_a_folder_that_cannot_be_written_stops_before_any_work(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")
    store = tmp_path / "x.zarr"
    assert run_command(command(files, "--store", str(store), "--out", str(tmp_path / "taken" / "out"))) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert not store.exists()


CHANGES = {
    "model": (["--estimator", "sar"], {}, "--estimator was sdm, is sar;"),
    "kernel": (["--estimator", "did"], {}, "--estimator was sdm, is did;"),
    "scheme": (["--scheme", "strata:province"], {}, "--scheme was space, is strata:province;"),
    "both": (["--estimator", "did", "--scheme", "time"], {},
             "--estimator was sdm, is did and --scheme was space, is time;"),
    "seed": (["--seed", "8"], {}, "--seed was 20240601, is 8;"),
    "controls": ([], {'"inv", "road"': '"inv"'}, "controls was inv, road, is inv;"),
    "weights": ([], {"k = 4": "k = 5"}, "the spatial weights are others;"),
    "panel": ([], {"numbers": "others"}, "the panel is another one;"),
    "panel and model": (["--estimator", "sem"], {"numbers": "others"},
                        "--estimator was sdm, is sem and the panel is another one;"),
    "term": (["--term", "no-kernel"], {}, "--term, or what the spec says of clusters, is another;"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sdm_store(files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("sdm") / "x.zarr"
    assert run_command(command(files, "--estimator", "sdm", "--draws", "99", "--store", str(store))) == 0
    return store


@pytest.mark.parametrize("case", CHANGES)
def test_a_store_says_in_one_line_which_choice_was_another(
    case: str, sdm_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options, edits, message = CHANGES[case]
    spec = SPEC
    for old, new in edits.items():
        spec = spec.replace(old, new)
    seed = 5 if "numbers" in edits else 4
    files = write(tmp_path, small_panel(30, 8, seed=seed, model="none", sigma=3.0), spec)
    if case == "term":  # a kernel less: what another term or cluster amounts to
        monkeypatch.setattr("experiments.placebo._quick", lambda chosen, *_: chosen)
        options = []
    before = ZarrStore.open(sdm_store).content_hash()
    assert run_command(command(files, "--estimator", "sdm", "--draws", "99", "--store", str(sdm_store), *options)) == 2
    said = capsys.readouterr().err
    assert f"holds another placebo test: {message}" in said
    assert "choose another --store, or make the same choices" in said
    assert len(said.splitlines()) == 1
    assert ZarrStore.open(sdm_store).content_hash() == before


def test_a_study_does_not_run_into_a_placebo_store(
    sdm_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.toml").write_text('replications = 64\n[design]\nkind = "paper"\n[[estimators]]\nkind = "did"\n')
    for dry in ([], ["--dry-run"]):
        arguments = ["run", str(tmp_path / "s.toml"), "--cluster", "serial", "--store", str(sdm_store), *dry]
        assert run_command(arguments) == 2
        said = capsys.readouterr().err
        assert "holds a placebo test of a panel, not this study" in said
        assert len(said.splitlines()) == 1


BAD = {
    "draws": (["--draws", "98"], "99 or more"),
    "scheme": (["--scheme", "spce"], "did you mean 'space'"),
    "strata": (["--scheme", "strata:prvince"], "did you mean 'province'"),
    "strata of what": (["--scheme", "strata"], "without its attribute; allowed: strata:ATTRIBUTE; name an attribute"),
    "control": (["--term", "inv"], "scheme space does not test 'inv'; allowed: did;"),
    "rho": (["--term", "rho", "--estimator", "sdm"], "does not test 'rho'; allowed: did, w_did, direct:did"),
    "untested": (["--term", "did", "--estimator", "sdm", "--scheme", "relabel"], "relabel does not test 'did'"),
    "estimator": (["--estimator", "sdn"], "did you mean 'sdm'"),
    "time": (["--estimator", "sdm", "--scheme", "time"], "leaves untreated cells only, .*; use --estimator did"),
    "term": (["--term", "dit"], "did you mean 'did'"),
    "relabel": (["--scheme", "relabel"], "no term is spatial"),
    "mediator": (["--scheme", "mediator"], "no mediators"),
    "weights": (["--scheme", "blocks:queen"], "no weights 'queen'"),
    "cluster": (["--cluster", "moon"], "cluster 'moon'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2(
    case: str, files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, message = BAD[case]
    store = tmp_path / "x.zarr"
    assert run_command(command(files, "--store", str(store), *options)) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert len(said.splitlines()) == 1
    assert not store.exists()


@pytest.mark.parametrize(("share", "scheme", "message"), [
    (1.0, "space", "collinear|constant|absorbed|nothing to permute"),
    (1.0, "mixed", "every unit is treated"),
    (0.5, "time", "no treated unit has two periods"),
])  # fmt: skip
def test_treatments_that_leave_nothing_to_draw(
    share: float, scheme: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    panel = small_panel(30, 6, seed=4, model="none")
    did = np.zeros((1, 6, 30))
    did[0, 1:, : int(30 * share)] = 1.0
    files = write(tmp_path, panel.with_variables({"did": did}))
    assert run_command(command(files, "--scheme", scheme, "--store", str(tmp_path / "x.zarr"))) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert len(said.splitlines()) == 1
