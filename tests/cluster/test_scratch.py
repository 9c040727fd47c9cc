"""Scratch folders: another user of the machine, who was there first, gets no module into a worker."""

from __future__ import annotations

import asyncio
import importlib
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_parts import ENVIRONMENT, by_command_line

from cluster import Refused, back_end
from cluster.backends import ssh
from cluster.scratch import NoSafePlace, own_folder
from cluster.shipping import ship

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
    executor: Any = back_end("local", {"workers": 1}).open()
    try:
        time.sleep(0.3)
        assert [outcome.result for outcome in executor.run(imports, [1, 2])] == ["nobody", "nobody"]
        ((path, scratch),) = [outcome.result for outcome in executor.run(facts, [1])]
        (made,) = attacked.glob("panelproof-*")
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert made.stat().st_uid == os.geteuid()
        assert Path(scratch).is_relative_to(made)
        for entry in [*path, *sys.path]:
            assert not entry.startswith(str(attacked)) or Path(entry).is_relative_to(made), entry
    finally:
        executor.close()
    assert not list(attacked.glob("panelproof-*")), "it goes with the cluster"
    assert sys.path == before


def test_shipped_code_lies_in_a_folder_of_our_own_whoever_owns_the_scratch_folder_of_a_worker(
    attacked: Path, tmp_path: Path
) -> None:
    """A worker that a user started, in Dask's folder, which here is another user's."""
    from cluster.dask_cluster import connected

    with by_command_line(tmp_path, workers=1, nanny=False) as cluster:
        client = connected(cluster.where, None)
        try:
            ship(client, ["slow_jobs"])
            first, scratch = client.submit(lambda: (sys.path[0], facts(0)[1])).result(timeout=30)
        finally:
            client.close()
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
    with pytest.raises(NoSafePlace, match=f"{'user 65534' if why == 'of another user' else 'written by others'}"):
        own_folder()
    with pytest.raises(Refused, match="no safe place for a scratch folder"):
        back_end("local", {"workers": 1}).open()


def test_the_home_folder_serves_where_the_shared_one_does_not(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = shared.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    shared.chmod(0o777)
    assert Path(own_folder()).parent == home


def test_the_folder_on_hosts_of_ssh_is_private_and_in_a_place_where_it_stays(shared: Path) -> None:
    """By a real SFTP session."""
    asyncssh = pytest.importorskip("asyncssh", reason="SFTP IS NOT TESTED HERE: asyncssh is not installed")

    async def written(folder: Path) -> None:
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

    asyncio.run(written(shared / "panelproof-1"))
    assert stat.S_IMODE((shared / "panelproof-1").stat().st_mode) == 0o700
    assert stat.S_IMODE((shared / "panelproof-1" / "key.pem").stat().st_mode) == 0o600
    shared.chmod(0o777)
    with pytest.raises(OSError, match="can be written by others"):
        asyncio.run(written(shared / "panelproof-2"))
    assert not (shared / "panelproof-2").exists()


def test_members_on_hosts_of_ssh_work_in_that_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """What their configuration says, which travels with the command that starts them."""
    pytest.importorskip("asyncssh", reason="SSH IS NOT TESTED HERE: asyncssh is not installed")
    import dask
    import distributed

    made: list[str] = []
    asked: list[str] = []
    monkeypatch.setattr(ssh._Folder, "_on_hosts", lambda self, action, path, *_: made.append(path))

    def cluster(*_: Any, **__: Any) -> Any:
        asked.append(dask.config.get("temporary-directory"))
        raise OSError("far enough")

    monkeypatch.setattr(distributed, "SSHCluster", cluster)
    given = {"hosts": ["127.0.0.1"], "folder": "/var/tmp"}
    with pytest.raises(Exception, match="far enough"):
        back_end("ssh", given).open()
    assert asked == made[:1]
    assert Path(asked[0]).parent == Path("/var/tmp")
