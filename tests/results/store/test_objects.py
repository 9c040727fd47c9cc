"""Stores in an object store: what is an address, one holder of the lock, and the bytes of a folder, whoever writes."""

from __future__ import annotations

import builtins
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from holders import is_refused, most_at_once
from object_server import BUCKET, KEY, SECRET, demand_credentials, served
from refusals import refuses

import panelproof as pp
from cluster import Executor, open_executor
from experiments.cli import run_command
from experiments.run.resume import Resume
from experiments.run.runner import run, schema_of
from experiments.run.tasks import runner_of
from results.store import Shard, StoreGone, StoreLocked, ZarrStore, bucket, lease, lock, locked, present
from results.store.bucket import HALF_MADE, ObjectPath, StorePath, StoreUnreachable, client_of, store_path
from results.store.files import files_of
from results.store.repair import DAMAGED, FOREIGN, verified
from results.store.tree import Folder, Objects
from sim.errors import BadInput
from studies import quick_study, small_study

STUDY_FILE = '[design]\nkind = "paper"\ncontrols = "none"\n[[estimators]]\nkind = "did"\n'
Say = Callable[..., str]
_numbers = count()


@pytest.fixture(scope="session")
def object_server() -> Iterator[dict[str, str]]:
    """The variables of the environment by which the object store of the tests is found."""
    with served() as variables:
        yield variables


@pytest.fixture
def place(object_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """Where a test may have a store, in an object store that this process finds."""
    for name, value in object_server.items():
        monkeypatch.setenv(name, value)
    return ObjectPath("s3", BUCKET, f"runs/{next(_numbers)}/x.zarr")


@pytest.mark.parametrize(("given", "found"), [
    ("s3://bucket/x.zarr", ObjectPath("s3", "bucket", "x.zarr")),
    ("s3://bucket/runs/my study/x.zarr/", ObjectPath("s3", "bucket", "runs/my study/x.zarr")),
    ("gs://bucket/x.zarr", ObjectPath("gs", "bucket", "x.zarr")),
    ("az://container/x.zarr", ObjectPath("az", "container", "x.zarr")),
    ("abfss://c@account.dfs.core.windows.net/x", ObjectPath("abfss", "c@account.dfs.core.windows.net", "x")),
    (Path("s3://bucket/x.zarr"), ObjectPath("s3", "bucket", "x.zarr")),
    (ObjectPath("s3", "bucket", "x.zarr"), ObjectPath("s3", "bucket", "x.zarr")), ("runs/x.zarr", Path("runs/x.zarr")),
    ("s3/x.zarr", Path("s3/x.zarr")),
])  # fmt: skip
def test_a_place_is_a_path_or_an_address(given: Any, found: Any) -> None:
    assert (store_path(given), store_path(str(found))) == (found, found)


NO_STORE, NO_ADDRESS = "names no store in the bucket", "is no address of a store"


@pytest.mark.parametrize(("given", "what"), [
    ("s3://bucket", NO_STORE), ("s3://bucket/", NO_STORE), ("s3://bucket/a//x.zarr", NO_ADDRESS),
    ("s3://bucket/../x.zarr", NO_ADDRESS), ("s3://bucket/x.zarr?versionId=3", NO_ADDRESS),
])  # fmt: skip
def test_addresses_without_a_store_are_refused(given: str, what: str) -> None:
    said = f"{what}; allowed: an address such as s3://bucket/runs/study.zarr"
    assert str(refuses(said, store_path, given)).startswith(given)


def test_a_password_in_an_address_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", "s3://KEY:hidden@bucket/x.zarr"]) == 2
    said = capsys.readouterr().err
    assert "s3://...@bucket/x.zarr; holds a user or a password" in said
    assert "hidden" not in said
    assert "KEY" not in said


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command says that is refused in one line, with nothing written here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bucket, "RETRIES", bucket.RETRIES | {"max_retries": 1, "retry_timeout": timedelta(seconds=5)})
    (tmp_path / "s.toml").write_text(STUDY_FILE, encoding="utf-8")

    def say(*command: str) -> str:
        assert run_command(command) == 2, command
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]
        return said

    return say


RUN, REPORT, VERIFY = ("run", "s.toml", "--store"), ("report",), ("store", "verify")
NOBODY, CHECK = "http://127.0.0.1:9", "check the network, credentials and AWS_ENDPOINT_URL"
REFUSED: dict[str, tuple[dict[str, str], str, tuple[tuple[str, ...], ...], tuple[str, ...]]] = {
    "no bucket": ({}, "s3://nowhere/x.zarr", (RUN, REPORT, VERIFY, ("store", "info")),
                  ("s3://nowhere/x.zarr; there is no bucket nowhere; allowed: a bucket that exists",
                   "make it, or correct the address\n")),
    "nobody listens": ({"AWS_ENDPOINT_URL": NOBODY}, "", (RUN, REPORT), ("{}; no answer from " + NOBODY, CHECK)),
    "no credentials": ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_METADATA_ENDPOINT": NOBODY}, "",
                       (REPORT,), (CHECK,)),
    "more is wanted": ({"AZURE_STORAGE_ACCOUNT_NAME": ""}, "az://container/x.zarr", (REPORT,),
                       ("az://container/x.zarr; cannot be used: Generic MicrosoftAzure error: Account must be",)),
    "no store": ({}, "", (REPORT, VERIFY, ("store", "hash"), ("store", "pack")), ("{}; no such store",)),
}  # variables of the environment ("": absent), another place than that of the test, commands, what is said  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_reached_is_said_in_one_line(
    place: ObjectPath, refusal: Say, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Without credentials obstore asks the machine's own service for some, which here is where nobody listens."""
    variables, elsewhere, commands, words = REFUSED[why]
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    for command in commands:
        said = refusal(*command, elsewhere or str(place))
        assert all(text.format(place) in said for text in words), said


def test_plain_http_to_another_machine(place: ObjectPath, refusal: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.example:9000")
    said = refusal("report", str(place))
    assert "http://minio.example:9000; is not encrypted; allowed: https://, or http:// of this machine" in said
    for yes in ("1", "TRUE", "yes"):
        monkeypatch.setenv("AWS_ALLOW_HTTP", yes)
        assert client_of(place) is not None


def test_without_obstore(place: ObjectPath, refusal: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *others: Any) -> Any:
        if name.partition(".")[0] == "obstore":
            raise ModuleNotFoundError("No module named 'obstore'")
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", missing)
    wanted = "an object store needs the package obstore; allowed: a folder without it; pip install panelproof[s3]"
    assert all(wanted in refusal(*command, str(place)) for command in (RUN, REPORT))


@pytest.mark.parametrize(("text", "said"), [
    ("Generic S3 error: 403 Forbidden: <Code>InvalidAccessKeyId</Code>", "access is denied (InvalidAccessKeyId)"),
    ("Generic S3 error: 401 Unauthorized: ", "access is denied; allowed"),
    ("Generic error: GET https://a.b/c?sig=hidden in 3ms: odd\n\nDebug source: sig=hidden", "answers Generic"),
], ids=["denied", "denied without a code", "signature"])  # fmt: skip
def test_one_line_of_what_obstore_says(text: str, said: str) -> None:
    from obstore.exceptions import GenericError

    with pytest.raises(StoreUnreachable) as caught, bucket.answered(ObjectPath("s3", BUCKET, "x.zarr")):
        raise GenericError(text)
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


# The lock


def lock_of(place: ObjectPath) -> ObjectPath:
    return place.with_name("x.zarr.lock")


def held_by(place: ObjectPath, **changes: Any) -> None:
    said = {"host": "elsewhere", "pid": 7, "since": "2026-01-01 10:00:00+01:00", "machine": "elsewhere 1 2",
            "expires": 60.0, "run": "another", "count": 1} | changes  # fmt: skip
    lock_of(place).write_text(json.dumps(said))


def test_a_lock_that_was_not_renewed_is_taken_over(place: ObjectPath) -> None:
    held_by(place, expires=2.0)
    is_refused(place, r"takes over in [12] seconds")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with locked(place):
                assert json.loads(lock_of(place).read_text())["pid"] == os.getpid()
            break
        except StoreLocked:
            time.sleep(0.2)
    else:
        pytest.fail("never taken over")
    assert names_of(place) == []


def test_a_lock_that_is_renewed_is_not_taken_over(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.2)
    monkeypatch.setattr(lease, "EXPIRES", 2.0)
    with locked(place) as hold:
        for _ in range(5):
            time.sleep(0.5)
            is_refused(place, "in use")
            hold.check()
        assert json.loads(lock_of(place).read_text())["count"] > 5


@pytest.mark.parametrize("machine", ["elsewhere 1 2", None])
def test_a_process_of_another_machine_is_not_looked_for_here(place: ObjectPath, machine: str | None) -> None:
    held_by(place, pid=2**22 + 1, machine=machine)  # no process has this number
    is_refused(place, "in use")


def test_who_lost_its_lock_writes_no_further_block(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_takes_over(step: Any) -> None:
        if step.blocks == 2:
            held_by(place)
            monkeypatch.setattr(lease, "EXPIRES", 0.0)  # as after a sleep: the lock is looked at before each block

    with pytest.raises(StoreLocked, match="was taken over while this run did not answer; held by process 7"):
        run(quick_study(256), store=place, listen=another_takes_over)
    assert len(ZarrStore.open(place).done()) == 2
    assert json.loads(lock_of(place).read_text())["host"] == "elsewhere", "the lock of another is left alone"


def test_an_answer_that_was_lost_is_no_loss_of_the_lock(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that succeeded is sent again by obstore, and is then refused because of itself."""
    real = ObjectPath.write_bytes

    def twice(self: ObjectPath, data: bytes, mode: Any = "overwrite") -> dict[str, Any]:
        if b'"run"' in data:
            real(self, data, mode)
        return real(self, data, mode)

    monkeypatch.setattr(ObjectPath, "write_bytes", twice)
    with locked(place) as hold:
        monkeypatch.setattr(lease, "EXPIRES", 0.0)
        hold.check()
        hold.check()
    assert names_of(place) == []


def test_an_object_store_without_conditions_is_refused(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ObjectPath.write_bytes
    monkeypatch.setattr(ObjectPath, "write_bytes", lambda self, data, mode="overwrite": real(self, data))
    is_refused(place, "does not support conditional writes", BadInput)
    assert names_of(place) == []


def test_there_is_never_more_than_one_holder(place: ObjectPath) -> None:
    most, entered = most_at_once(lambda: locked(place), threads=3, tries=15)
    assert (most, entered >= 1, names_of(place)) == (1, True, [])


# Studies that run into one

STUDY = quick_study(192)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hash_in_a_folder(tmp_path_factory.mktemp("reference") / "x.zarr", STUDY)


def hash_in_a_folder(path: Path, study: Any) -> str:
    run(study, store=path)
    return ZarrStore.open(path).content_hash()


@pytest.fixture(scope="module")
def pool(object_server: dict[str, str]) -> Iterator[Executor]:
    """Two workers, which find the object store in the environment that they are started in."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in object_server.items():
            patch.setenv(name, value)
        found = open_executor("local", 2)
        yield found
        found.close()


def names_of(place: ObjectPath) -> list[str]:
    from obstore import list as listed

    return [held["path"] for page in listed(client_of(place.parent)) for held in page]


def computed(place: StorePath, study: Any, **how: Any) -> int:
    """Run a study; returns how many blocks that took."""
    seen = []
    run(study, store=place, listen=lambda step: seen.append(step.block), **how)
    return sum(block >= 0 for block in seen)


def test_the_store_has_the_hash_of_a_folder_and_resumes_without_reading(
    place: ObjectPath, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert computed(place, STUDY) == 6
    assert pp.open_store(f"{place}/").content_hash() == reference
    assert all(name.startswith("x.zarr/") for name in names_of(place)), "no lock, no token"
    monkeypatch.setattr(ZarrStore, "sound", lambda *_: pytest.fail("a block was read"))
    assert computed(place, STUDY) == 0


def test_more_replications_join_what_is_there_and_growing_sideways_is_refused(
    place: ObjectPath, reference: str
) -> None:
    run(quick_study(100), store=str(place))
    assert computed(place, STUDY) == 4, "a new block a cell, and the last that was not full"
    assert ZarrStore.open(place).content_hash() == reference
    before, larger = names_of(place), quick_study(192, grid=(("effect", (0.0, 0.01, 0.02)),))
    with pytest.raises(BadInput, match=r"1 new cell; this needs a folder.*copy the store into a folder, run there"):
        run(larger, store=place)
    assert names_of(place) == before


@pytest.mark.parametrize(("workers", "writes"), [(2, "client"), (2, "workers"), (0, "workers")])
def test_workers_make_the_same_store_and_credentials_are_kept_nowhere(
    place: ObjectPath, reference: str, pool: Executor, workers: int, writes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without workers a job of `--cluster serial` runs in a copy of the process, in which connections hang: this one
    writes."""
    with nullcontext(pool) if workers else closing(open_executor("serial")) as executor:
        run(STUDY, store=place, executor=executor, writes=writes, shuffle=3)
    store, tree = ZarrStore.open(place), Objects(place)
    assert (store.content_hash(), store.unfinished()) == (reference, [])
    assert all(name.startswith("x.zarr/") for name in names_of(place)), "no lock, no token"
    held = {name: tree.read(name) for name in tree.files()}
    assert [name for name, data in held.items() if KEY.encode() in data or SECRET.encode() in data] == []
    assert run_command(["store", "info", str(place), "--json"]) == 0
    said = capsys.readouterr().out
    assert json.loads(said)["replications"] == 192
    assert KEY not in said
    assert SECRET not in said


def test_workers_that_cannot_write_there_end_the_run_in_one_line(
    place: ObjectPath, pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.store.chunks.secrets.token_hex", lambda _: "another than what is read")
    monkeypatch.setattr(ObjectPath, "write_text", lambda *_, **__: None)
    with pytest.raises(BadInput, match="a worker does not see the store; allowed: workers whose own environment has"):
        run(STUDY, store=place, executor=pool, writes="workers")


@pytest.mark.server
def test_a_killed_client_with_workers_loses_nothing(place: ObjectPath, tmp_path: Path) -> None:
    """A run is killed in the middle, and its study is run here."""
    command = [str(Path(__file__).resolve().parents[2] / "support" / "run_small_study.py"), str(place), "2", "workers"]
    process, deadline = subprocess.Popen([sys.executable, *command], start_new_session=True), time.monotonic() + 120
    tree, marks = Objects(place), list[Any]()
    while len(marks) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        marks = list(tree.marks())
    assert process.poll() is None, "the run ended before it was killed"
    process.kill()
    process.wait()
    assert "x.zarr.lock" in names_of(place), "a killed run leaves its lock"
    store = ZarrStore.open(place)
    done = len(store.done())
    assert 3 <= done < len(store.places())
    assert computed(place, small_study()) == len(store.places()) - done
    assert all(name.startswith("x.zarr/") for name in names_of(place)), "no lock, no token"
    assert ZarrStore.open(place).content_hash() == hash_in_a_folder(tmp_path / "x.zarr", small_study())


def test_a_creation_that_was_killed_is_done_anew(
    place: ObjectPath, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, real, put = schema_of(STUDY), Objects.put, list[str]()
    monkeypatch.setattr("results.store.tree.AT_ONCE", 1)
    limit = [1000]

    def dies(self: Objects, name: str, data: bytes) -> None:
        if len(put) >= limit[0]:
            raise KeyboardInterrupt
        put.append(name)
        real(self, name, data)

    monkeypatch.setattr(Objects, "put", dies)
    ZarrStore.create(place.with_name("y.zarr"), schema)
    assert (put[0], put[-1]) == (HALF_MADE, "zarr.json")
    for killed_after in (0, 1, 7, len(put) - 1):
        limit[0] = killed_after
        put.clear()
        with pytest.raises(KeyboardInterrupt):
            ZarrStore.create(place, schema)
        assert len(Objects(place).files()) == killed_after
        assert not place.exists()
        refuses("no such store", lambda: ZarrStore.open(place))
    limit[0] = 1000
    place.with_name("x.zarr/left/behind").write_text("by another version")
    run(STUDY, store=place)
    assert ZarrStore.open(place).content_hash() == reference
    assert not {HALF_MADE, "left/behind"}.intersection(Objects(place).files())


def test_shards_are_merged_there_and_here(place: ObjectPath, tmp_path: Path, reference: str) -> None:
    parts = [place.with_name(f"{number}.zarr") for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        run(STUDY, store=part, plan=Resume(shard=Shard(number, 2)))
    for out in (str(place), str(tmp_path / "here.zarr")):
        assert run_command(["store", "merge", *map(str, parts), "--out", out]) == 0
        assert pp.open_store(out).content_hash() == reference
    assert run_command(["store", "merge", *map(str, parts), "--out", str(place)]) == 2, "the place is taken"


def test_commands_read_it(
    place: ObjectPath,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reference: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    here, there = tmp_path / "here.zarr", str(place)
    run(STUDY, store=here)
    run(STUDY, store=there)
    said = {}
    for command in (["report", there, "--json"], ["report", str(here), "--json"], ["store", "info", f"{there}/"],
                    ["store", "info", str(here)], ["store", "hash", there], ["store", "verify", there],
                    ["replay", there, "1", "150"], ["compare", str(here), there],
                    ["store", "pack", there]):  # fmt: skip
        assert run_command(command) == 0, command
        said[" ".join(command[:2]), there in " ".join(command)] = capsys.readouterr().out
    assert said[f"report {there}", True] == said[f"report {here}", False]
    assert said["store info", True].splitlines() == said["store info", False].splitlines()
    assert said["store hash", True].strip() == reference
    assert "6 of 6 blocks sound" in said["store verify", True]
    assert "same" in said[f"replay {there}", True]
    assert "0 differ" in said[f"compare {here}", True]
    assert pp.open_store("x.zarr.zip").content_hash() == reference
    assert not (tmp_path / "s3:").exists()


def test_a_copied_store_goes_on_in_its_new_place(place: ObjectPath, tmp_path: Path, reference: str) -> None:
    run(quick_study(128), store=tmp_path / "x.zarr")
    for file in Folder(tmp_path / "x.zarr").files():
        Objects(place).put(file, Folder(tmp_path / "x.zarr").read(file))
    assert computed(place, quick_study(128)) == 0, "the blocks were read and are sound"
    (tmp_path / "y.zarr").mkdir()
    for file in Objects(place).files():
        Folder(tmp_path / "y.zarr").put(file, Objects(place).read(file))
    assert computed(tmp_path / "y.zarr", STUDY) == 2
    assert ZarrStore.open(tmp_path / "y.zarr").content_hash() == reference


def test_an_object_store_that_goes_away_ends_the_run_in_one_line(
    place: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "RETRIES", bucket.RETRIES | {"max_retries": 0})
    with served() as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own["AWS_ENDPOINT_URL"])
        run(quick_study(64), store=place)
        mine = ZarrStore(place, "a")
    block = runner_of(quick_study(64), 0).run(0, 64)
    for ask in (lambda: mine.sound(0, 0), lambda: mine.intact(0, 0), lambda: mine.write(0, 0, block)):
        with pytest.raises(StoreUnreachable, match="no answer from http://127") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_credentials_that_are_not_known_are_denied(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    with served() as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own["AWS_ENDPOINT_URL"])
        demand_credentials(own["AWS_ENDPOINT_URL"])
        with pytest.raises(StoreUnreachable, match=r"access is denied \(InvalidAccessKeyId\).*check AWS_ACCESS_KEY_ID"):
            run(quick_study(64), store=place)


DAMAGED_BLOCKS = {
    "did/estimate/c.1.2.0": "cell 1 block 2: does not match its digest",
    "did/fit/c.0.0.0": "cell 0 block 0: does not match its digest",
    "block_mark/c.0.1.0": "3 of 6 blocks sound, 1 not run",
}
DAMAGED_OTHERS = {
    "did/term/c.0": "did/term/c.0: does not match its digest",
    "did/term/c.7": "did/term/c.7: is not of this store",
    "effect/zarr.json": "effect/zarr.json: is missing",
    "provenance/zarr.json": "provenance/zarr.json: ",
}
GONE = {"did/fit/c.0.0.0", "block_mark/c.0.1.0", "effect/zarr.json"}


def damage(tree: Objects, name: str) -> None:
    """Delete an object, put one that is not of the store, or turn a bit round."""
    if name in GONE:
        tree.delete(name)
    elif not tree.has(name):
        tree.put(name, b"stray")
    else:
        data = bytearray(tree.read(name))
        data[len(data) // 2] ^= 64
        tree.put(name, bytes(data))


def test_damage_is_named_and_a_run_repairs_it(place: ObjectPath, reference: str) -> None:
    run(STUDY, store=place)
    tree, numbers, mark = Objects(place), files_of(0, 1, ("truth", "did")), "block_mark/c.0.1.0"
    for names, what in ((numbers, DAMAGED), ([*numbers, mark], FOREIGN)):  # a block in the place of another
        for name in names:
            tree.put(name.replace("c.0.1.", "c.1.2."), tree.read(name))
        assert f"cell 1 block 2: {what}" in verified(place).lines
        run(STUDY, store=place)
        assert ZarrStore.open(place).content_hash() == reference
    for damaged in (DAMAGED_BLOCKS, {"zarr.json": "zarr.json: "}, DAMAGED_OTHERS):
        for name in damaged:
            damage(tree, name)
        found = verified(place)
        assert not found.sound
        for said in damaged.values():
            assert any(said in line for line in found.lines), found.lines
        run(STUDY, store=place, plan=Resume(accept_code_change=damaged is DAMAGED_OTHERS))
        assert verified(place).sound, damaged
        assert ZarrStore.open(place).content_hash() == reference
    assert not tree.has("did/term/c.7")


def test_a_store_of_objects_is_asked_for_now_and_then(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    run(quick_study(128), store=place)
    with present(place) as check:
        dataclasses.replace(place, key=f"{place.key}/zarr.json").unlink()
        check()
        monkeypatch.setattr(lock, "ASKED_EVERY", 0.0)
        with pytest.raises(StoreGone, match="was removed"):
            check()
