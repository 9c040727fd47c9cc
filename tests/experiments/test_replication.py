"""Replication bundles: what they hold, what they never hold, and what a second run says of them."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import py_compile
import re
import shutil
import sys
from copy import deepcopy
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode
from unittest.mock import ANY

import commands
import damage
import made_cities
import numpy as np
import pandas as pd
import pytest
from commands import here, refusal

from estimators import TwoWayDID
from experiments import replication
from experiments.cli import run_command
from experiments.replication import differences
from experiments.run.resume import Resume
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.store import ZarrStore
from results.store.store import Shard
from studies import quick_study

VALUE = re.compile(r"(?<!\d)7\.2992(?!\d)")  # the first outcome of the committed panel
SPEC = f"{made_cities.PANEL}{made_cities.PLACES}\n[[weights]]\nkind = 'file'\npath = 'w.csv'\n"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two cells, which no test changes."""
    path = tmp_path_factory.mktemp("store") / "quick.zarr"
    run(quick_study(replications=128), store=path)
    return path


@pytest.fixture(scope="module")
def deposited(store: Path) -> Path:
    here("replicate", store.with_name("bundle"), "--from", store)
    return store.with_name("bundle")


@pytest.fixture
def bundle(deposited: Path, tmp_path: Path) -> Path:
    """A bundle of that store."""
    return Path(shutil.copytree(deposited, tmp_path / "deep" / "bundle"))


@pytest.fixture
def panel(tmp_path: Path) -> list[str]:
    """The committed panel with its spec and a file of weights, as arguments."""
    made_cities.real_panel(tmp_path, SPEC)
    return ["--panel", str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml")]


def verdicts(folder: Path, code: int = 0) -> dict[str, str]:
    """What a second run, which ends with this code, says of every part."""
    found = json.loads(here("replicate", folder, "--cluster", "serial", "--json", code=code).out)["findings"]
    return {each["part"]: each["verdict"] for each in found}


def deposit_again(folder: Path) -> None:
    """Checksums of a bundle as it is now, as its author would have deposited it."""
    names = (line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def change_manifest(folder: Path, **facts: object) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["studies"][0].update(facts)
    path.write_text(json.dumps(manifest))
    deposit_again(folder)


def test_a_bundle_runs_again_to_the_same_bits(tmp_path: Path, store: Path, panel: list[str]) -> None:
    folder = tmp_path / "bundle"
    here("replicate", folder, "--from", store, *panel, "--with-data")
    deposited = files(folder)
    assert deposited == {
        "README.md", "SHA256SUMS", "manifest.json", "requirements.txt", "panel/SPEC.toml", "panel/panel.csv",
        "panel/w.csv", "results/estimates.csv", "results/quick.csv", "studies/quick.toml",
    }  # fmt: skip
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == deposited - {"SHA256SUMS"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())
    assert verdicts(folder) == dict.fromkeys(("files", "estimates", "study quick"), "same bits")
    assert {name for name in files(folder) if not name.startswith("rerun/")} == deposited


def test_portable_numbers_are_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cluster.environment"], "numbers_of_process", lambda: "portable")
    run(quick_study(replications=64), store=tmp_path / "portable.zarr")
    said = here("replicate", tmp_path / "bundle", "--from", tmp_path / "portable.zarr").out
    texts = (said.rstrip(), (tmp_path / "bundle" / "README.md").read_text())
    assert texts[0].endswith(" --numbers portable")
    assert "replicate . --numbers portable #" in texts[1]


def test_the_readme_says_what_a_data_editor_asks(tmp_path: Path, store: Path, panel: list[str]) -> None:
    folder = tmp_path / "bundle"
    here("replicate", folder, "--from", store, *panel)
    text = (folder / "README.md").read_text()
    manifest = json.loads((folder / "manifest.json").read_text())
    for words in ("panelproof replicate .", "sha256sum -c SHA256SUMS", "is not in this folder"):
        assert words in text
    assert manifest["studies"][0]["hash"] in text
    assert all(digest in text for digest in manifest["application"]["data"].values())
    required = (folder / "requirements.txt").read_text().splitlines()
    assert {"numpy", "scipy", "pandas"} <= {line.split("==")[0] for line in required}
    assert not {"pytest", "dask-jobqueue"} & {line.split("==")[0] for line in required}, "which extras bring"
    assert "panelproof" not in {line.split("==")[0] for line in required}  # it is installed from its repository
    assert Study.from_toml(folder / "studies" / "quick.toml").fingerprint == quick_study(128).fingerprint


def test_a_bundle_never_holds_the_panel_unasked(tmp_path: Path, panel: list[str]) -> None:
    folder, data = tmp_path / "bundle", tmp_path / "panel.csv"
    assert VALUE.search(data.read_text())
    here("replicate", folder, *panel)
    assert not [name for name in files(folder) if VALUE.search((folder / name).read_text())]
    assert not {"panel/panel.csv", "panel/w.csv"} & files(folder)
    assert verdicts(folder, 3) == {"files": "same bits", "estimates": "not checked"}
    for name in ("panel.csv", "w.csv"):
        (folder / "panel" / name).write_bytes((tmp_path / name).read_bytes())
    assert verdicts(folder) == {"files": "same bits", "estimates": "same bits"}
    for name, text in (("panel.csv", VALUE.sub("7.3", data.read_text(), count=1)),
                       ("w.csv", (tmp_path / "w.csv").read_text() + "\n")):  # fmt: skip
        kept = (folder / "panel" / name).read_bytes()
        (folder / "panel" / name).write_text(text)
        assert verdicts(folder, 1) == {"files": "same bits", "estimates": "differs"}, name
        (folder / "panel" / name).write_bytes(kept)


def test_a_study_that_holds_a_real_panel_needs_leave(tmp_path: Path, panel: list[str]) -> None:
    twin, store, folder, spec = (tmp_path / name for name in ("twin", "twin.zarr", "bundle", "spec.toml"))
    spec.write_text(f'{made_cities.PANEL}\n[twin]\nmethod = "residual"\nreplications = 64\ndraws = 100\n')
    here("twin", panel[1], "--spec", spec, "--out", twin)
    here("run", twin / "design.toml", "--cluster", "serial", "--store", store)
    assert "the study holds a real panel" in refusal("replicate", folder, "--from", store)
    assert not folder.exists()
    here("replicate", folder, "--from", store, "--with-data")
    (name,) = (path.stem for path in (folder / "studies").glob("*.toml"))
    assert verdicts(folder) == {"files": "same bits", f"study {name}": "same bits"}


def test_a_study_that_stopped_at_its_target_stops_there_again(tmp_path: Path) -> None:
    store = run(quick_study(replications=832), store=tmp_path / "quick.zarr", until="coverage:0.5")
    assert len(store.wanted()) < len(store.places())
    here("replicate", tmp_path / "bundle", "--from", tmp_path / "quick.zarr")
    assert verdicts(tmp_path / "bundle") == {"files": "same bits", "study quick": "same bits"}


def test_what_was_changed_after_the_deposit_is_seen(bundle: Path) -> None:
    study = bundle / "studies" / "quick.toml"
    study.write_text(study.read_text().replace("seed = 11", "seed = 12"))
    assert verdicts(bundle, 1) == {"files": "differs"}
    assert not (bundle / "rerun").exists(), "nothing is run"
    study.write_text(study.read_text().replace("seed = 12", "seed = 11"))
    verdicts(bundle)
    (bundle / "studies" / "more.py").write_text("")
    assert verdicts(bundle, 1) == {"files": "differs"}


def test_only_a_run_again_that_was_interrupted_goes_on(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, marks = bundle / "rerun" / "quick.zarr.log.jsonl", bundle / "rerun" / "quick.zarr" / "block_mark"
    verdicts(bundle)
    blocks = log.read_text().count('"commit"')

    def again(*removed: str) -> tuple[bool, int]:
        """Whether blocks from before stay, and how many are computed."""
        before = log.read_text().count('"commit"')
        for name in removed:
            (marks / name).unlink()
        said = here("replicate", bundle, "--cluster", "serial").out
        return "from before an interruption" in said, log.read_text().count('"commit"') - before

    assert again() == (False, blocks), "it had ended"
    assert again("c.1.0.0") == (True, 1)
    monkeypatch.setattr(sys.modules["cluster.environment"], "_version", lambda _: "1.0")
    assert again("c.1.0.0") == (False, blocks), "of other code"


def test_what_is_damaged_among_the_numbers_of_before_is_computed_anew(bundle: Path) -> None:
    verdicts(bundle)
    (bundle / "rerun" / "quick.zarr" / "block_mark" / "c.1.0.0").unlink()  # as after an interruption
    file = bundle / "rerun" / "quick.zarr" / "truth" / "c.0.0.0"
    before = file.stat()
    damage.flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verdicts(bundle) == {"files": "same bits", "study quick": "same bits"}


def test_other_bits_are_judged_by_the_environment_and_the_numbers(bundle: Path) -> None:
    change_manifest(bundle, hash="0" * 64)  # other bits in the same environment: a promise is broken
    assert verdicts(bundle, 1) == {"files": "same bits", "study quick": "differs"}
    (one,) = json.loads((bundle / "manifest.json").read_text())["studies"][0]["environments"]
    other = deepcopy(one)
    other["facts"]["packages"]["numpy"] = "1.0"
    change_manifest(bundle, environments=[one, other])  # this one and another
    assert verdicts(bundle) == {"files": "same bits", "study quick": "same numbers"}
    change_manifest(bundle, environments=[other])
    assert verdicts(bundle) == {"files": "same bits", "study quick": "same numbers"}
    table = bundle / "results" / "quick.csv"
    frame = pd.read_csv(table, keep_default_na=False)
    frame["value"] = pd.to_numeric(frame["value"])
    frame.loc[frame["measure"] == "rmse", "value"] *= 1.001
    frame.to_csv(table, index=False)
    deposit_again(bundle)
    assert verdicts(bundle, 1) == {"files": "same bits", "study quick": "differs"}


def test_tables_are_compared_in_units_of_number_and_error(tmp_path: Path) -> None:
    for side in ("results", "rerun"):
        (tmp_path / side).mkdir()
    ours = pd.DataFrame({"term": ["did", "rho"], "value": [1e-18, 2.0], "mcse": [0.5, float("nan")]})

    def told(theirs: pd.DataFrame) -> tuple[str, float]:
        ours.to_csv(tmp_path / "results" / "x.csv", index=False)
        theirs.to_csv(tmp_path / "rerun" / "x.csv", index=False)
        return differences(tmp_path, "x.csv", {"value": "mcse", "mcse": ""})

    assert told(ours.assign(value=[-1e-18, 2.0 + 4e-9])) == ("", pytest.approx(2e-9, rel=1e-6))
    assert told(ours.assign(value=[1e-18, 2.0 + 8e-6])) == ("numbers differ by up to 4.0e-06 of their size", ANY)
    assert told(ours) == ("", 0.0)
    for theirs in (ours.assign(term=["did", "lambda"]), ours.assign(value=[float("nan"), 2.0]), ours[:1],
                   ours.assign(more=1.0)):  # fmt: skip
        assert told(theirs)[0]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"value\nmuch\n", b"value\n1\n"])
def test_a_table_that_is_not_what_the_numbers_give_is_seen_though_these_are_the_same_bits(
    bundle: Path, content: bytes
) -> None:
    (bundle / "results" / "quick.csv").write_bytes(content)
    deposit_again(bundle)
    said = here("replicate", bundle, "--cluster", "serial", code=1).out
    assert "though the replications are the same bits: results/quick.csv is another table" in " ".join(said.split())


def test_what_cannot_be_a_bundle_is_one_line_and_leaves_nothing(tmp_path: Path, store: Path, panel: list[str]) -> None:
    again, unfinished, inline, full, new = (tmp_path / name for name in ("a.zarr", "u.zarr", "i.zarr", "full", "new"))
    shard, named, slash, other = (tmp_path / name for name in ("s.zarr", "e.zarr", "a\\b.csv", "other"))
    run(quick_study(replications=128), store=shard, plan=Resume(shard=Shard(1, 2)))
    run(dataclasses.replace(quick_study(replications=64), name="estimates"), store=named)
    other.mkdir()
    for copy in (slash, other / "w.csv"):
        shutil.copyfile(panel[1], copy)
    run(quick_study(replications=64), store=again)
    ZarrStore.create(unfinished, schema_of(quick_study(replications=64)))
    run(Study.from_functions(draw=_draw, fit=TwoWayDID(), truth="effect", replications=64, block=64), store=inline)
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    (killed := tmp_path / "killed" / "studies").mkdir(parents=True)
    assert "remove it" not in refusal("replicate", full, "--from", store)
    cases = {
        "remove it, a bundle that was never finished": [killed.parent, "--from", store],
        "is no replication bundle": [new],
        "only one of --panel and --spec": [new, *panel[:2]],
        "exists already and is not empty": [full, "--from", store],
        "is a function of a script": [new, "--from", inline],
        "two stores hold a study called 'quick'": [new, "--from", store, "--from", again],
        "is not finished": [new, "--from", unfinished],
        "holds shard 1/2 of its study": [new, "--from", shard],
        "would be that of the study 'estimates' too": [new, "--from", named, *panel],
        "allowed: names without": [new, "--panel", slash, *panel[2:]],
        "has the name of a file of weights": [new, "--panel", other / "w.csv", *panel[2:]],
    }
    for words, arguments in cases.items():
        assert words in refusal("replicate", *arguments)
        assert not new.exists()
    assert files(full) == {"notes.txt"}


def test_a_disk_that_is_full_names_the_bundle_and_leaves_nothing(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write says it, which knows no name

    monkeypatch.setattr(replication, "sha256_of", full)
    said = here("replicate", tmp_path / "new", "--from", store, code=3).err
    assert said.startswith(f"panelproof: {tmp_path / 'new'}: No space left on device;")
    assert not (tmp_path / "new").exists()


def _draw(rng, effect: float = 0.5):
    did = np.outer(np.arange(6) >= 3, np.arange(12) < 6) * 1.0
    return {"y": effect * did + rng.standard_normal(did.shape), "did": did}


PLUG_IN = '''
import panelproof as pp


@pp.estimator(terms=["did"], errors=[])
def gap(y, did):
    """Treated less control, over all periods."""
    return y[did == 1].mean() - y[did == 0].mean()
'''


OWN = 'replications = 64\n[design]\nkind = "panel"\nunits = 20\n[[estimators]]\nkind = "gap_of_means:gap"\n'


def test_plug_ins_go_into_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "gap_of_means.py").write_text(PLUG_IN)
    (tmp_path / "own.toml").write_text(OWN)
    store, folder = tmp_path / "own.zarr", tmp_path / "bundle"
    here("run", tmp_path / "own.toml", "--cluster", "serial", "--store", store)
    here("replicate", folder, "--from", store, code=2)  # a stranger's store runs no code
    assert not folder.exists()
    here("replicate", folder, "--from", store, "--load-code")
    module = folder / "studies" / "gap_of_means.py"
    assert module.read_text() == PLUG_IN
    assert "panelproof replicate . --load-code" in (folder / "README.md").read_text()
    (tmp_path / "gap_of_means.py").unlink()

    again = ("replicate", folder, "--cluster", "serial")
    refused = commands.run(folder, *again)
    assert refused.returncode == 2
    assert "its study names code that would be imported: gap_of_means:gap" in refused.stderr
    assert not (folder / "studies" / "__pycache__").exists(), "it was not imported"
    assert not (folder / "rerun").exists()
    (tmp_path / "evil.py").write_text("raise SystemExit(9)")
    compiled = cache_from_source(module)
    py_compile.compile(str(tmp_path / "evil.py"), compiled, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    done = commands.run(folder, *again, "--load-code")  # of the deposited source, whatever else was compiled
    assert done.returncode == 0, done.stdout + done.stderr
    assert "study own: same bits" in done.stdout


@pytest.mark.parametrize("whole", [True, False], ids=["a package", "a module"])
def test_what_is_installed_is_required_or_may_lie_in_the_bundle_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    name, site = f"installed_{'package' if whole else 'module'}", tmp_path / "site"
    file = site / name / "__init__.py" if whole else site / f"{name}.py"
    file.parent.mkdir(parents=True)
    file.write_text(PLUG_IN)
    info = site / f"{name}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    monkeypatch.syspath_prepend(site)
    (tmp_path / "own.toml").write_text(OWN.replace("gap_of_means", name))
    store, folder = tmp_path / "own.zarr", tmp_path / "bundle"
    here("run", tmp_path / "own.toml", "--cluster", "serial", "--store", store)
    here("replicate", folder, "--from", store, "--load-code")
    assert (f"{name}==1.5\n" in (folder / "requirements.txt").read_text()) == whole
    assert (f"of `{name}` (`{name}:gap`)" in (folder / "README.md").read_text()) == whole
    assert (folder / "studies" / f"{name}.py").exists() != whole
    again = ("replicate", folder, "--cluster", "serial", "--load-code")
    assert "study own: same bits" in here(*again).out
    if not whole:
        with (folder / "studies" / f"{name}.py").open("a") as other:
            other.write("# of another version\n")
        deposit_again(folder)
        assert "has the name of another module" in refusal(*again)


def test_a_package_that_is_not_installed_is_no_part_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "loose_package").mkdir()
    (tmp_path / "loose_package" / "__init__.py").write_text(PLUG_IN)
    (tmp_path / "own.toml").write_text(OWN.replace("gap_of_means", "loose_package"))
    store, folder = tmp_path / "own.zarr", tmp_path / "bundle"
    here("run", tmp_path / "own.toml", "--cluster", "serial", "--store", store)
    assert "uses the package 'loose_package'" in refusal("replicate", folder, "--from", store, "--load-code")
    assert not folder.exists()


EVIL = "from pathlib import Path\nPath({mark!r}).write_text('ran')\n\ndef half(estimate):\n    return 0.5, 0.1\n"


@pytest.mark.parametrize("named", ['kind = "evil:Thing"', 'measures = ["evil.py:half"]'])
def test_a_strangers_bundle_runs_no_code(tmp_path: Path, bundle: Path, named: str) -> None:
    study, mark, again = (
        bundle / "studies" / "quick.toml",
        tmp_path / "mark",
        ("replicate", bundle, "--cluster", "serial"),
    )
    text = study.read_text()
    study.write_text(f"{text}\n[[estimators]]\n{named}\n" if "kind" in named else f"{named}\n{text}")
    (bundle / "studies" / "evil.py").write_text(EVIL.format(mark=str(mark)))
    for words in ([], ["--load-code"]):
        said = here(*again, *words, code=1).out
        assert "not as deposited: studies/quick.toml, studies/evil.py; nothing was run" in said
        assert not mark.exists()
    sums = bundle / "SHA256SUMS"
    sums.write_text(sums.read_text() + f"{'0' * 64}  studies/evil.py\n")
    deposit_again(bundle)
    said = refusal(*again)
    assert "names code that would be imported: evil" in said
    assert "--load-code" in said
    assert not mark.exists()
    run_command([*map(str, again), "--load-code"])
    assert mark.exists(), "what is trusted is imported"


@pytest.mark.parametrize("name", ["../../escaped", "{tmp}/escaped", "a/b", "..", "a\x1b[31m"])
def test_a_name_in_a_manifest_leads_nowhere(tmp_path: Path, bundle: Path, name: str) -> None:
    before = files(tmp_path)
    change_manifest(bundle, name=name.format(tmp=tmp_path))
    said = refusal("replicate", bundle, "--cluster", "serial")
    assert "names the study" in said
    assert "\x1b" not in said
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"until": 7}, "lacks facts"),
        ({"environments": [1]}, "does not say where its numbers were made"),
        ({"environments": [{}]}, "does not say where its numbers were made"),
        ({"environments": [{"facts": {"python": "3"}}]}, "does not say where its numbers were made"),
    ],
)
def test_facts_of_another_kind_in_a_manifest_are_one_line(bundle: Path, facts: dict[str, object], said: str) -> None:
    change_manifest(bundle, hash="0" * 64, **facts)
    assert said in refusal("replicate", bundle, "--cluster", "serial")


def test_names_of_files_in_a_bundle_stay_inside(tmp_path: Path, store: Path, panel: list[str]) -> None:
    folder = tmp_path / "bundle"
    here("replicate", folder, "--from", store, *panel, "--with-data")
    manifest, sums, again = (
        folder / "manifest.json",
        folder / "SHA256SUMS",
        ("replicate", folder, "--cluster", "serial"),
    )
    kept, lines = manifest.read_text(), sums.read_text()
    held = json.loads(kept)
    for facts in ({"panel": "../panel.csv"}, {"data": {"/etc/hostname": "0"}}):
        manifest.write_text(json.dumps(held | {"application": held["application"] | facts}))
        assert "names the file" in refusal(*again)
    for text in ("[]", "{", json.dumps({"format": 1}), json.dumps(held | {"studies": [{}]})):
        manifest.write_text(text)
        assert "manifest.json" in refusal(*again)
    manifest.write_text(kept)
    sums.write_text(f"{lines}{'0' * 64}  ../panel.csv\n")
    assert "names the file '../panel.csv'" in refusal(*again)
    sums.write_text(lines)
    (folder / "rerun").symlink_to(tmp_path / "elsewhere")
    assert "'rerun', which is a link" in refusal(*again)
    (folder / "rerun").unlink()
    spec = folder / "panel" / "SPEC.toml"
    spec.write_text(spec.read_text().replace("'w.csv'", f"'{tmp_path}/w.csv'"))
    deposit_again(folder)
    assert "lies outside the folder of the spec" in refusal(*again)
    assert not (tmp_path / "elsewhere").exists()
