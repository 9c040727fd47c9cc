"""All that commands do is there in Python, as they do it; what a prompt shows is short."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import here
from refusals import refuses

import panelproof as pp
from experiments.cli import COMMANDS
from studies import SHORT

IN_PYTHON = {  # a name of pp, or of what it returns, for every command
    "studies": "Study", "kinds": "estimator", "run": "run", "cluster": "run", "report": "diagnose",
    "compare": "compare", "solve": "solve", "breakdown": "breakdown", "estimate": "estimate", "placebo": "placebo",
    "twin": "twin",
    "trust": "trust", "race": "race", "replicate": "replicate", "replay": "replay", "init": "init",
    "panel": "read_panel", "store": "open_store",
}  # fmt: skip
SHELL = {"completion"}


def study(**changes: Any) -> pp.Study:
    given = {"grid": {"effect": [0.0, 0.02]}, "replications": 128, "block": 64} | changes
    return pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), **given)


def test_every_command_has_a_name_in_python() -> None:
    assert set(COMMANDS) == set(IN_PYTHON) | SHELL
    assert set(IN_PYTHON.values()) <= set(pp.__all__)


def test_solve_and_breakdown_find_what_the_commands_find(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nworlds = 1\n' + SHORT + '[[estimators]]\nkind = "did"\n', encoding="utf-8")
    asked = ("--budget", 2048, "--precision", 0.3, "--cluster", "serial", "--json")
    here("solve", "power:0.8", file, "--for", "effect", "--out", tmp_path / "a", *asked)
    theirs = (tmp_path / "a" / "answer.json").read_text()
    options: dict[str, Any] = {"budget": 2048, "precision": 0.3}
    same = pp.Study("mine", pp.Paper(controls="none"), (pp.TwoWayDID(),), replications=128, block=64, seed=5,
                    worlds=1)  # fmt: skip
    found = pp.solve("power:0.8", same, "effect", **options)
    assert found[0].state == "found"
    assert f'"value": {found[0].value!r}' in theirs
    here("breakdown", file, "--dial", "trend_gap", "--measure", "coverage:0.90", "--out", tmp_path / "b", *asked)
    gaps = pp.breakdown(same, "trend_gap", measure="coverage:0.90", out=tmp_path / "c", **options)
    assert (tmp_path / "c" / "points").is_dir()
    assert f'"value": {gaps[-1].value!r}' in (tmp_path / "b" / "answer.json").read_text()


def test_answers_of_searches_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = pp.solve("mcse:coverage=0.03", study(grid={}), "replications")
    pp.show(found)
    assert found[0].sentence.split()[0] in capsys.readouterr().out


IMPOSSIBLE: tuple[tuple[Any, str], ...] = (
    (lambda: pp.solve("power:2", study(), "effect"), "level '2'"),
    (lambda: pp.solve("power:0.8", study(), "efect"), "no dial 'efect'"),
    (lambda: pp.solve("power:0.8", study(), "effect", workers=2), "workers = 2 without a cluster"),
    (lambda: pp.run(study(), cluster="lokal"), "lokal"),
    (lambda: pp.run(study(), workers=2), 'cluster = "local"'),
    (lambda: pp.breakdown(study(), "effekt"), "no dial 'effekt'"),
    (lambda: study().draw(2, 0), "no cell 2"),
    (lambda: study().draw(0, -1), "no replication -1"),
    (lambda: pp.open_store("nowhere.zarr"), "nowhere.zarr"),
    (lambda: pp.compare("nowhere.zarr", "nowhere.zarr"), "nowhere.zarr"),
    (lambda: pp.replicate("bundle"), "nothing to replicate"),
)


TABLE = pd.DataFrame({"city": list("aabb"), "year": [1, 2, 1, 2], "y": [1.0, 2.0, 1.5, 1.0]})
SPEC = {"panel": {"unit": "city", "period": "year", "outcome": "y"}}


@cache
def real() -> Any:
    return pp.example_panel(30)


@cache
def tables() -> Any:
    return pp.estimate(real())


@cache
def diagnosis() -> Any:
    return pp.diagnose(pp.run(study()))


def of(cls: type, **settings: Any) -> Any:
    """A study or an estimator of settings that its types forbid."""
    made: Any = cls
    return made(**settings)


SOLVE = {"goal": "power:0.8", "study": study(grid={}), "dial": "effect"}
A_STUDY = {"name": "mine", "design": pp.Paper(), "estimators": (pp.TwoWayDID(),)}
WRONG_TYPES: dict[str, tuple[Any, str]] = {
    "spec pairs": (lambda: pp.read_panel(TABLE, [("panel", 1)]), "spec is of the type list; allowed: the path of a"),  # type: ignore[arg-type]
    "spec none": (lambda: pp.read_panel(TABLE, None), "spec = None; allowed: the path of a SPEC.toml"),  # type: ignore[arg-type]
    "panel dict": (lambda: pp.read_panel({"y": [1]}, SPEC), "panel is of the type dict; allowed: a path, or a Data"),  # type: ignore[arg-type]
    "panel series": (lambda: pp.read_panel(TABLE["y"], SPEC), "panel is of the type Series"),  # type: ignore[arg-type]
    "panel number": (lambda: pp.estimate(3, SPEC), "panel = 3; allowed"),  # type: ignore[arg-type]
    "init dict": (lambda: pp.init({"y": [1]}), "init; panel is of the type dict"),  # type: ignore[arg-type]
    "did real": (lambda: pp.TwoWayDID()(real()), "estimator did; .* of the type RealPanel; .*give its .panel"),
    "psm real": (lambda: pp.PsmDID()(real()), "estimator psm-did; .*give its .panel"),
    "permutation": (lambda: pp.PermutationTest()(real()), "estimator permutation; .*give its .panel"),
    "did table": (lambda: of(pp.TwoWayDID)(TABLE), "type DataFrame; .*read_panel"),
    "draws text": (lambda: pp.placebo(real(), draws="99"), "draws = '99'; allowed: a whole number"),
    "draws decimal": (lambda: pp.placebo(real(), draws=99.0), "draws = 99.0; allowed: a whole number"),
    "scheme list": (lambda: pp.placebo(real(), scheme=["space"]), "scheme is of the type list; allowed: space"),
    "statistic": (lambda: pp.placebo(real(), statistic="rwa"), "statistic = 'rwa'; did you mean 'raw'"),
    "format": (lambda: pp.write_files(tables(), "out", ["pdff"]), "format pdff; did you mean 'pdf'.*xlsx, pdf, png$"),
    "format text": (lambda: pp.write_files(tables(), "out", "htlm"), "format htlm; did you mean 'html'"),
    "budget text": (lambda: pp.trust(real(), budget="soon"), "budget 'soon'; allowed: a time above zero"),  # type: ignore[arg-type]
    "budget below 0": (lambda: pp.trust(real(), budget=-1), "budget -1; allowed: a time above zero"),
    "budget none": (lambda: pp.trust(real(), budget=None), "budget = None; allowed: a time"),  # type: ignore[arg-type]
    "claim number": (lambda: pp.trust(real(), claim=5), "--claim; claim = 5; allowed: did, or TABLE:COLUMN:TERM"),  # type: ignore[arg-type]
    "budget of a race": (lambda: pp.race(real(), budget=-1), "budget -1; allowed"),
    "few panels": (lambda: pp.trust(real(), replications=3), "replications = 3; allowed: a whole number from 64"),
    "effect": (lambda: pp.race(real(), effect="x"), "effect = 'x'; allowed: a number"),
    "lincom": (lambda: tables()["2", 5].lincom(["did", "inv"]), "the hypothesis is of the type list; allowed: a comb"),
    "alpha": (lambda: tables()["2", 5].conf_int(alpha="x"), "alpha = 'x'; allowed: a number between 0 and 1"),
    "alpha of mediation": (lambda: tables()["6"].conf_int(alpha=0.1), "table 6, conf_int; alpha = 0.1 of intervals"),
    "show none": (lambda: pp.show(None), "answer = None; allowed: what estimate"),  # type: ignore[arg-type]
    "show diagnosis": (lambda: pp.show(diagnosis()), "answer is of the type Diagnosed; .*summary"),
    "a level in percent": (lambda: pp.diagnose(diagnosis().records, 5), "diagnose; alpha = 5; allowed: a number"),
    "a level of a comparison": (lambda: pp.compare(*2 * [diagnosis().records], 0), "compare; alpha = 0; allowed"),
    "a diagnosis again": (lambda: pp.diagnose(diagnosis()), "records is of the type Diagnosed; allowed: what run"),
    "comparison of a study": (lambda: pp.compare(diagnosis().records, study()), "store is of the type Study; allowed"),  # type: ignore[arg-type]
    "replay of nothing": (lambda: pp.replay(None, 0, 0), "store = None; allowed: what run returned, a path"),  # type: ignore[arg-type]
    "replay of a text": (lambda: pp.replay(diagnosis().records, "a", 0), "replay; cell = 'a'; allowed: 0 to"),  # type: ignore[arg-type]
    "replay of a part": (lambda: pp.replay(diagnosis().records, 0, 1.5), "replay; replication = 1.5; allowed"),  # type: ignore[arg-type]
    "cluster": (lambda: pp.run(study(), cluster=3), "pp.run; cluster = 3; allowed: a text"),
    "until": (lambda: pp.run(study(), until=3), "--until; until = 3; allowed: a text"),
    "cities": (lambda: pp.example_panel("57"), "example_panel; cities = '57'; allowed: a whole number"),  # type: ignore[arg-type]
    "goal": (lambda: of(pp.solve, goal=0.8, study=study(), dial="effect"), "goal = 0.8; allowed: a text"),
    "dial": (lambda: of(pp.breakdown, study=study(), dial=None), "dial = None; allowed: the name of a dial"),
    "low": (lambda: of(pp.solve, goal="power:0.8", study=study(grid={}), dial="effect", low="0"), "low = '0'; allowed"),
    "twin": (lambda: of(pp.twin, panel=real(), method=3), "method = 3; allowed: a method, or several"),
    "weights": (lambda: of(pp.plot_weights, panel=real(), estimators=None), "estimators = None; allowed: one, or"),
    "paths": (lambda: of(pp.plot_paths, panel=real(), estimator=["did"]), "an estimator is of the type list"),
    "no folder": (lambda: of(pp.write_files, document=tables(), folder=None, formats="json"), "folder = None; allowed"),
    "no formats": (lambda: of(pp.write_files, document=tables(), folder="o", formats=None), "formats = None; allowed"),
    "no tables": (lambda: of(pp.write_files, document=TABLE, folder="o", formats="json"), "tables is of the type Data"),
    "no twin": (lambda: of(pp.write_twin, found=real(), folder="o"), "twin is of the type RealPanel; allowed"),
    "half a trust": (lambda: of(pp.write_trust, held={"claim": 3}, folder="o"), "the answer has no verdict; allowed"),
    "trust out": (lambda: of(pp.trust, panel=real(), out=3), "trust; out = 3; allowed: a path"),
    "trust errors": (lambda: of(pp.trust, panel=real(), errors=3), "--errors; errors = 3; allowed: an error type"),
    "benchmarks": (lambda: of(pp.trust, panel=real(), benchmarks=-1), "benchmarks = -1; allowed: a whole number"),
    "benchmarks list": (lambda: of(pp.trust, panel=real(), benchmarks=[1]), "benchmarks is of the type list"),
    "spec twice": (lambda: of(pp.twin, panel=real(), spec=3), "a spec beside a panel that read_panel returned"),
    "solve out": (lambda: of(pp.solve, **SOLVE, out=3), "solve; out = 3; allowed: a path"),
    "solve estimator": (lambda: of(pp.solve, **SOLVE, estimator=[1]), "estimator is of the type list; allowed: did"),
    "breakdown out": (lambda: of(pp.breakdown, study=study(grid={}), dial="trend_gap", out=3), "breakdown; out = 3; "),
    "breakdown measure": (lambda: of(pp.breakdown, study=study(grid={}), dial="trend_gap", measure=[1]), "measure is"),
    "an end alone": (lambda: pp.breakdown(study(grid={}), "trend_gap", to_second=1.0), "--to2; an end of a second"),
    "no trust": (lambda: of(pp.write_trust, held=None, folder="o"), "answer = None; allowed: what trust returned"),
    "tables by number": (lambda: of(pp.show, answer=tables(), tables=2), "tables = 2; allowed: a text"),
    "init out": (lambda: of(pp.init, panel=TABLE, out=3), "out = 3; allowed: a path"),
    "stores": (lambda: of(pp.replicate, folder="b", stores=3), "stores = 3; allowed: several in brackets"),
    "bundle": (lambda: of(pp.rerun, folder=None), "folder = None; allowed: the path of a bundle"),
    "spec": (lambda: of(pp.read_spec, path=None), "path = None; allowed: the path of a SPEC.toml"),
    "script": (lambda: of(pp.r_estimator, script=3), "script = 3; allowed: the path of a file of R code"),
    "no function": (lambda: of(pp.estimator)(3), "3 is no function; allowed: a function"),
    "precision": (lambda: pp.solve("power:0.8", study(grid={}), "effect", precision=2), "--precision; precision 2; "),
    "budget": (lambda: pp.breakdown(study(grid={}), "trend_gap", budget=0), "--budget; budget 0; allowed: a whole"),
    "run name": (lambda: pp.run("nosuch"), "no study 'nosuch'"),
    "run none": (lambda: pp.run(None), "study = None; allowed: a Study"),  # type: ignore[arg-type]
    "solve number": (lambda: pp.solve("power:0.8", 3, "effect"), "study = 3; allowed: a Study"),  # type: ignore[arg-type]
    "grid number": (lambda: study(grid={"effect": 0.5}), r"effect = 0.5; allowed: a list of values, such as \[0.5\]"),
    "grid text": (lambda: study(grid={"controls": "none"}), "controls = 'none'; allowed: a list of values"),
    "grid alone": (lambda: study(grid="effect"), "grid = 'effect'; allowed: a dict"),
    "replications": (lambda: study(replications="16"), "replications = '16'; allowed: a whole number"),
    "worlds": (lambda: study(worlds=2.0), "worlds = 2.0; allowed: a whole number"),
    "study name": (lambda: of(pp.Study, **A_STUDY | {"name": 3}), "name = 3; allowed: a text"),
    "design class": (lambda: of(pp.Study, **A_STUDY | {"design": pp.Paper}), r"the class Paper; .*Paper\(\)$"),
    "estimator text": (lambda: of(pp.Study, **A_STUDY | {"estimators": ["did"]}), "an estimator = 'did'; allowed"),
    "errors": (lambda: of(pp.TwoWayDID, errors=3), "errors = 3; allowed: a text, or several in brackets"),
    "store by its path": (lambda: pp.diagnose("runs/mine.zarr"), "records = 'runs/mine.zarr'; .* open_store"),  # type: ignore[arg-type]
    "panel without its spec": (lambda: pp.placebo(real().panel), "panel is of the type Panel; allowed: what"),  # type: ignore[arg-type]
    "rows dict": (lambda: diagnosis().table(rows={"effect": 1}), "rows is of the type dict; allowed: a dial"),
    "rows number": (lambda: diagnosis().table(rows=[3]), "one of rows = 3; allowed: a dial"),
    "measure": (lambda: diagnosis().table(measure=["power"]), "measure is of the type list; allowed: the name"),
    "contrast": (lambda: diagnosis().contrast(3, "did"), "contrast a; 3; allowed: an estimator"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "said"), [*IMPOSSIBLE, *WRONG_TYPES.values()])
def test_what_cannot_be_is_one_line_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refuses(said, call, count=1)
    assert not list(tmp_path.iterdir())


def test_a_seed_of_numpy_is_a_seed() -> None:
    draws = [pp.placebo(real(), draws=99, seed=seed).placebos for seed in (np.int64(3), 3)]  # type: ignore[arg-type]
    np.testing.assert_array_equal(*draws)


def test_a_picture_that_there_is_not_is_an_attribute_error_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="no picture 'pwoer'; did you mean 'power'"):
        diagnosis().plot.pwoer()
    with pytest.raises(AttributeError, match=r'no picture \'mean_se\'; write plot\("mean_se"\)'):
        diagnosis().plot.mean_se()


def test_one_text_and_a_list_are_the_tuple_that_a_setting_holds() -> None:
    for given in ("iid", ["iid"]):
        made = of(pp.TwoWayDID, errors=given, regressors=given)
        assert (made.errors, made.regressors) == (("iid",), ("iid",))
        assert made == pp.TwoWayDID(errors=("iid",), regressors=("iid",))
    assert of(pp.Study, **A_STUDY | {"estimators": pp.TwoWayDID()}) == of(pp.Study, **A_STUDY)


def test_one_format_is_a_text(tmp_path: Path) -> None:
    names = {path.name for path in pp.write_files(tables(), tmp_path / "out", "html")}
    assert {"tables.html", "estimates.json"} <= names


def test_intervals_of_tables_have_any_level() -> None:
    column = tables()["2", 5].conf_int(alpha=0.1)
    fitted = pp.TwoWayDID(errors=("cluster:unit",))(real().panel).conf_int(alpha=0.1)
    np.testing.assert_allclose(column.loc["did"], fitted.loc["did"], rtol=1e-9)
    np.testing.assert_allclose(tables()["2"].conf_int(alpha=0.0500001), tables()["2"].conf_int(), rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_a_run_on_a_cluster_that_it_starts_has_the_serial_numbers(tmp_path: Path) -> None:
    there, own = pp.run(study(), store=tmp_path / "a.zarr", cluster="local", workers=1), pp.run(study())
    for cell in (0, 1):
        for theirs, ours in zip(there.blocks(cell), own.blocks(cell), strict=True):
            np.testing.assert_array_equal(theirs.estimates["did"].estimate, ours.estimates["did"].estimate)


def test_a_panel_that_is_drawn_is_that_of_the_run(tmp_path: Path) -> None:
    store = pp.run(study(worlds=2), store=tmp_path / "a.zarr")
    for cell, replication in ((0, 0), (1, 63), (0, 101)):
        drawn = study(worlds=2).draw(cell, replication)
        again = pp.replay(store, cell, replication)
        assert drawn.digest == again.panel.digest
        own = again.block.estimates["did"].estimate[0, 0]
        assert pp.TwoWayDID()(drawn).estimate[0, 0] == pytest.approx(own, rel=1e-12)


def test_a_first_spec_is_written_once(tmp_path: Path) -> None:
    here("panel", "example", tmp_path / "made")
    path = tmp_path / "made" / "panel.csv"
    text = pp.init(path, tmp_path / "spec.toml")
    assert (tmp_path / "spec.toml").read_text() == text
    refuses("exists already", lambda: pp.init(path, tmp_path / "spec.toml"))
    assert pp.read_panel(path, tmp_path / "spec.toml").panel.roles.outcome == "icr"


def test_what_a_prompt_shows_is_short(tmp_path: Path) -> None:
    real = pp.example_panel(30)
    tables = pp.estimate(real)
    memory, disk = pp.run(study()), pp.run(study(), store=tmp_path / "a.zarr")
    shown = [real, tables, tables["2"], tables["2", 5], memory, disk, pp.diagnose(memory), pp.twin(real),
             pp.placebo(real, draws=99)]  # fmt: skip
    for each in shown:
        assert 20 < len(repr(each)) < 300, repr(each)
        assert "\n" not in repr(each)
        assert "<" not in repr(each)
        assert each._repr_html_().startswith("<div"), type(each)
    assert repr(tables["2", 5]).startswith("Tables(2, column 5: ")
    assert "2 cells x 128 replications, 4 of 4 blocks, did" in repr(disk)


@pytest.mark.long
def test_a_script_that_workers_cannot_import_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("import panelproof as pp\n"
                      "study = pp.Study('mine', pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)\n"
                      "pp.run(study, cluster='local', workers=1)\n")  # fmt: skip
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert 'workers import mine.py: it must keep what it runs under if __name__ == "__main__":' in done.stderr
