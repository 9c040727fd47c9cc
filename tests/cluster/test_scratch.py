"""Scratch folders: another user of the machine, who was there first, gets no module into a worker."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from real_parts import ENVIRONMENT, by_command_line, wait_until

from cluster import Refused, back_end, scratch
from cluster.backends import ssh
from cluster.dask_cluster import Certificates, removed_scratch, written
from cluster.dask_pool import DaskPool
from cluster.scratch import began, boot, host, is_gone, own_folder, record_of, space, sweep
from cluster.survey import ship

NOBODY = 65534
SWAPS = """
import os, sys, time
top, user = sys.argv[1:]
held = [os.path.join(top, "dask-scratch-space"), os.path.join(top, f"dask-scratch-space-{user}")]
for folder in held:
    os.mkdir(folder)
    os.chmod(folder, 0o777)
def plant(folder):
    with open(os.path.join(folder, "made_up_tool.py"), "w") as file:
        file.write("who = 'another user'")
for folder in held:
    plant(folder)
print("ready", flush=True)
while True:
    for folder, _, _ in os.walk(top):
        for name in os.listdir(folder) if os.access(folder, os.R_OK) else ():
            place = os.path.join(folder, name)
            if not name.startswith(("worker-", "panelproof-", "dask-")) or os.path.exists(place + "/made_up_tool.py"):
                continue
            try:
                os.rename(place, place + ".gone")
                os.mkdir(place)
                os.chmod(place, 0o777)
                plant(place)
                print("swapped", place, flush=True)
            except OSError:
                pass
    time.sleep(0.002)
"""


def imports(_: Any) -> str:
    """Who wrote the module that this worker finds."""
    importlib.invalidate_caches()
    try:
        return str(importlib.import_module("made_up_tool").who)
    except ModuleNotFoundError:
        return "nobody"


def facts(_: Any) -> tuple[list[str], str]:
    from distributed import get_worker

    return sys.path, str(get_worker().local_directory)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a machine keeps temporary files: others may write there, and rename what is theirs."""
    tmp_path_factory.getbasetemp()  # of the tests lies elsewhere
    if os.geteuid() != 0:
        pytest.skip("ANOTHER USER IS NOT TESTED HERE: only root can become one")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        top = Path(name) / "tmp"
        top.mkdir()
        top.chmod(0o1777)
        monkeypatch.setenv("TMPDIR", str(top))
        monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(top))
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield top
    tempfile.tempdir = None


@pytest.fixture
def attacked(shared: Path) -> Iterator[Path]:
    """The same, with another user who was there first and swaps what he can."""
    command = ["/usr/bin/env", "python3", "-c", SWAPS, str(shared), str(os.geteuid())]
    with subprocess.Popen(command, user=NOBODY, group=NOBODY, extra_groups=[], stdout=subprocess.PIPE, text=True,
                          cwd="/", env={"PATH": "/usr/bin:/bin:/usr/local/bin"}) as attacker:  # fmt: skip
        assert attacker.stdout is not None
        if attacker.stdout.readline() != "ready\n":
            pytest.skip("ANOTHER USER IS NOT TESTED HERE: it has no python3")
        yield shared
        attacker.kill()


def test_the_worker_of_a_local_cluster_imports_nothing_of_another_user(attacked: Path) -> None:
    before = list(sys.path)
    with closing(back_end("local", {"workers": 1}).open()) as executor:
        time.sleep(0.3)
        assert [outcome.result for outcome in executor.run(imports, [1, 2])] == ["nobody", "nobody"]
        ((path, scratch),) = [outcome.result for outcome in executor.run(facts, [1])]
        (made,) = attacked.glob("panelproof-*")
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert made.stat().st_uid == os.geteuid()
        assert Path(scratch).is_relative_to(made)
        for entry in [*path, *sys.path]:
            assert not entry.startswith(str(attacked)) or Path(entry).is_relative_to(made), entry
    assert not list(attacked.glob("panelproof-*")), "it goes with the cluster"
    assert sys.path == before


def test_shipped_code_lies_in_a_folder_of_our_own_whoever_owns_the_scratch_folder_of_a_worker(
    attacked: Path, tmp_path: Path
) -> None:
    """A worker that a user started, in Dask's folder, which here is another user's."""
    from cluster.dask_cluster import connected

    with by_command_line(tmp_path, workers=1, nanny=False) as cluster:
        with closing(connected(cluster.where, None)) as client:
            ship(DaskPool(client), ["slow_jobs"])
            first, scratch = client.submit(lambda: (sys.path[0], facts(0)[1])).result(timeout=30)
        assert Path(scratch).is_relative_to(attacked), "the worker is in the shared folder"
        assert Path(first).parent == attacked
        assert (Path(first) / "slow_jobs.py").is_file()
        assert stat.S_IMODE(Path(first).stat().st_mode) == 0o700
    assert not Path(first).exists(), "it goes with the worker"


@pytest.mark.parametrize("why", ["others may rename", "of another user", "below such a folder"])
def test_no_folder_is_made_where_another_user_could_swap_it(
    shared: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shared / "place"
    place.mkdir(mode=0o755)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    assert Path(own_folder()).parent == place
    if why == "of another user":
        os.chown(place, NOBODY, NOBODY)
    else:
        (shared if why == "below such a folder" else place).chmod(0o777)
    with pytest.raises(OSError, match=f"{'user 65534' if why == 'of another user' else 'written by others'}"):
        own_folder()
    with pytest.raises(Refused, match="no safe place for a scratch folder"):
        back_end("local", {"workers": 1}).open()


def test_the_home_folder_serves_where_the_shared_one_does_not(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = shared.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    shared.chmod(0o777)
    assert Path(own_folder()).parent == home
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    with pytest.raises(OSError, match="written by others"):
        own_folder(str(shared))  # the place that was named, and no other
    (home / "below").mkdir()
    monkeypatch.chdir(home)
    assert scratch.main(str(os.getpid()), "below") == 2, "where the job of a node begins is not known"


def test_the_folder_on_hosts_of_ssh_is_private_and_in_a_place_where_it_stays(shared: Path) -> None:
    """By a real SFTP session."""
    asyncssh = pytest.importorskip("asyncssh", reason="SFTP IS NOT TESTED HERE: asyncssh is not installed")

    async def fill(folder: Path) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.create_server(
            _AnyoneIn, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=True, allow_scp=False
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            options = {"port": port, "username": "x", "known_hosts": None, "client_keys": None, "config": None}
            await ssh._on_all(["127.0.0.1"], options, ssh._write, str(folder), {"key.pem": "secret"})

    class _AnyoneIn(asyncssh.SSHServer):  # type: ignore[misc,name-defined]
        def begin_auth(self, username: str) -> bool:
            return False

    record = gone_record()
    gone, other = left(shared, record), left(shared, gone_record(host="another"), "panelproof-other")
    theirs, linked = left(shared, record, "panelproof-theirs"), shared / "panelproof-linked"
    os.chown(theirs, NOBODY, NOBODY)
    linked.symlink_to(left(shared, record, "elsewhere"))
    asyncio.run(fill(shared / "panelproof-1"))
    assert not gone.exists(), "its run is gone"
    assert [path.exists() for path in (other, theirs, linked, shared / "elsewhere")] == [True] * 4
    assert json.loads((shared / "panelproof-1" / "owner.json").read_text())["pid"] == os.getpid()
    asyncio.run(fill(shared / "panelproof-3"))
    assert (shared / "panelproof-1").exists(), "its run goes on"
    assert stat.S_IMODE((shared / "panelproof-1").stat().st_mode) == 0o700
    assert stat.S_IMODE((shared / "panelproof-1" / "key.pem").stat().st_mode) == 0o600
    shared.chmod(0o777)
    with pytest.raises(OSError, match="can be written by others"):
        asyncio.run(fill(shared / "panelproof-2"))
    assert not (shared / "panelproof-2").exists()


def gone_record(**changes: object) -> str:
    """Of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    record = json.loads(record_of(process.pid))
    assert record["began"], "it runs"
    process.communicate()
    return json.dumps(record | changes)


def left(place: Path, record: str | None, name: str = "panelproof-left") -> Path:
    """A folder as a run that was killed leaves it: with files, folders and a link to something of value."""
    folder = place / name
    folder.mkdir(mode=0o700)
    (folder / "worker-1" / "deep").mkdir(parents=True)
    (folder / "worker-1" / "deep" / "spilled").write_text("numbers")
    (folder / "key.pem").write_text("secret")
    for link, to in (("link", "of_value"), ("worker-1/link", "of_value"), ("link-to-file", "of_value/thesis.tex")):
        (folder / link).symlink_to(place / to)
    if record is not None:
        (folder / "owner.json").write_text(record)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are, and something of value beside them."""
    made = tmp_path / "tmp"
    made.mkdir()
    made.chmod(0o1777)
    (made / "of_value").mkdir()
    (made / "of_value" / "thesis.tex").write_text("years of work")
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    return made


def valued(place: Path) -> bool:
    return (place / "of_value" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("changes", [{}, {"boot": "another start", "pid": 1},
                                     {"boot": "another start", "space": "a container's"}])  # fmt: skip
def test_the_next_start_removes_what_a_killed_one_has_left(place: Path, changes: dict[str, object]) -> None:
    """Also after the machine has started anew, when another process has its number."""
    folder = left(place, gone_record(**changes))
    made = own_folder()
    assert not folder.exists()
    assert Path(made).parent == place
    assert valued(place)
    assert json.loads((Path(made) / "owner.json").read_text())["pid"] == os.getpid()
    own_folder()
    assert Path(made).exists(), "its process runs"


@pytest.mark.parametrize("record", [
    None, "", "[]", "{", "null", '{"pid": 1}',
    *(json.dumps({"pid": 4_000_000, "began": "1", "boot": boot(), "host": host(), "space": space()} | changes)
      for changes in ({"host": "another"}, {"boot": ""}, {"began": ""}, {"space": "pid:[1]"}, {"pid": "x"},
                      {"host": "another", "boot": "another start"})),
])  # fmt: skip
def test_a_folder_whose_owner_may_live_stays(place: Path, record: str | None) -> None:
    """Of another machine or container, or without a record that says whose it is."""
    folder = left(place, record)
    own_folder()
    assert (folder / "worker-1" / "deep" / "spilled").exists()


def test_a_process_with_the_number_of_a_gone_one_is_not_its_owner(place: Path) -> None:
    mine = json.loads(record_of(os.getpid()))
    other = left(place, json.dumps(mine | {"began": str(int(mine["began"]) - 1)}))
    own = left(place, json.dumps(mine), "panelproof-mine")
    own_folder()
    assert not other.exists()
    assert own.exists()


def test_a_process_that_nobody_has_waited_for_is_gone(place: Path) -> None:
    """As under a container's first process, which takes no notice of orphans."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    record = record_of(process.pid)
    wait_until(lambda: began(process.pid) == "", 20, "the end of a process")
    folder = left(place, record)
    own_folder()
    process.wait()
    assert not folder.exists()


@pytest.mark.parametrize("how", ["open to others", "of another user", "a link", "a file", "record by a link",
                                 "record is a pipe", "another name"])  # fmt: skip
def test_no_folder_of_another_and_nothing_by_a_link_is_removed(place: Path, how: str) -> None:
    record = gone_record()
    folder = left(place, record, "panelproof" if how == "another name" else "panelproof-left")
    if how == "open to others":
        folder.chmod(0o750)
    elif how == "of another user":
        if os.geteuid() != 0:
            pytest.skip("ANOTHER USER IS NOT TESTED HERE: only root can become one")
        os.chown(folder, NOBODY, NOBODY)
    elif how == "a link":
        folder.rename(place / "elsewhere")
        folder.symlink_to(place / "elsewhere")
    elif how == "a file":
        folder.rename(place / "elsewhere")
        folder.write_text(record)
    elif how.startswith("record"):
        (folder / "owner.json").rename(place / "record")
        (folder / "owner.json").symlink_to(place / "record") if "link" in how else os.mkfifo(folder / "owner.json")
    own_folder()
    assert folder.exists()
    assert how == "a file" or (folder / "worker-1" / "deep" / "spilled").exists()
    assert how not in {"a link", "a file"} or (place / "elsewhere" / "key.pem").exists()
    assert valued(place)


def test_what_takes_the_place_of_a_folder_meanwhile_keeps_what_it_holds(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder of a group, where others may rename."""
    folder = left(place, gone_record())

    def swap(record: str) -> bool:
        folder.rename(place / "elsewhere")
        (place / "of_value").rename(folder)
        return is_gone(record)

    monkeypatch.setattr(scratch, "is_gone", swap)
    own_folder()
    assert (folder / "thesis.tex").read_text() == "years of work"
    assert list((place / "elsewhere").iterdir()) == []


def test_what_cannot_be_removed_stops_no_start_and_is_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = left(place, gone_record())
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(PermissionError("busy")))
    own_folder()
    assert (folder / "owner.json").exists(), "the record goes last"
    monkeypatch.undo()
    sweep(str(place))
    assert not folder.exists()


def test_certificates_of_a_killed_run_go_with_the_next(place: Path) -> None:
    folder = left(place, gone_record(), ".panelproof-left")
    other = left(place, None, ".panelproof-older")
    _, made = written(place)
    assert not folder.exists()
    assert other.exists()
    written(place)
    assert made.exists()
    assert valued(place)


def test_members_on_hosts_of_ssh_work_in_that_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What their configuration says, which travels with the command that starts them."""
    pytest.importorskip("asyncssh", reason="SSH IS NOT TESTED HERE: asyncssh is not installed")
    import dask
    import distributed

    made: list[str] = []
    asked: list[str] = []
    hosts: list[Any] = []
    monkeypatch.setattr(ssh._Folder, "_on_hosts", lambda self, action, path, *_: made.append(path))

    def cluster(members: list[str], worker_options: Any, **_: Any) -> Any:
        hosts.extend([members, worker_options["nthreads"]])
        files = {dask.config.get(f"distributed.comm.tls.{role}.key") for role in ("client", "scheduler", "worker")}
        assert files == {f"{made[0]}/key.pem"}
        asked.append(dask.config.get("temporary-directory"))
        raise OSError("far enough")

    monkeypatch.setattr(distributed, "SSHCluster", cluster)
    given = {"hosts": ["127.0.0.1", "127.0.0.2"], "workers": 2, "folder": "/var/tmp"}
    with pytest.raises(Exception, match="far enough"):
        back_end("ssh", given).open()
    assert made == asked * 2, "written, and removed when no member starts"
    assert Path(asked[0]).parent == Path("/var/tmp")
    members = ["127.0.0.1", *["127.0.0.1"] * 2, *["127.0.0.2"] * 2]
    assert hosts == [members, 1], "the scheduler, then two workers of one thread a host"


def test_hosts_listen_to_one_another_and_are_reached_by_what_was_said_of_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("")
    said = ssh.Ssh(hosts=("127.0.0.1", "192.0.2.1"), user="me", key=str(tmp_path / "key"))
    assert said._connection == {"username": "me", "client_keys": str(tmp_path / "key")}
    assert "host" not in said._listening
    assert ssh.Ssh(hosts=("127.0.0.1", "localhost"))._listening["host"] == "127.0.0.1"
    reached: list[str] = []

    async def note(hosts: Iterable[str], *_: object) -> None:
        reached.extend(hosts)

    monkeypatch.setattr(ssh, "_on_all", note)
    ssh._Folder(ssh.Ssh(hosts=("a", "b", "a")))._on_hosts(None)
    assert reached == ["a", "b"], "a host that is named twice has one folder"


def test_modules_of_a_folder_that_goes_are_looked_for_no_longer_and_those_beside_it_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, beside = tmp_path / "scratch", tmp_path / "scratch-of-others"
    (place / "worker").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(place / "worker"), str(beside)])
    removed_scratch(str(place))
    assert sys.path[-1] == str(beside)
    assert str(place / "worker") not in sys.path
    assert not place.exists()


def test_certificates_of_dasks_own_configuration_come_with_their_key(tmp_path: Path) -> None:
    import dask

    made, _ = written(tmp_path)
    files = {"ca-file": made.ca, "client.cert": made.cert, "client.key": made.key}
    with dask.config.set({f"distributed.comm.tls.{name}": path for name, path in files.items()}):
        assert Certificates.given(None, "here") == made
