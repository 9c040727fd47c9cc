"""Faults that happen to runs and stores. Each recipe shows that its fault happened, and counts."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from checker import committed, endings, lost
from cuts import WORKS, Counted, cut_in_a_model, reference_of
from images import KINDS, NotHere, cut_on_disk
from schedulers import started
from victim import REPLICATIONS

from experiments.run.resume import Resume, read_log
from experiments.run.runner import run
from results.store import ZarrStore
from results.store.disk import STALE
from results.store.merge import Crew
from results.store.repair import verified
from studies import quick_study

VICTIM = Path(__file__).resolve().parent / "victim.py"
BLOCKS = 2 * REPLICATIONS // 64
WAIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a recipe counted; holds: no invariant was broken and every fault happened."""

    said: str
    holds: bool


def serial_hash(folder: Path) -> str:
    """The hash of the study, run in one go in this process."""
    run(quick_study(REPLICATIONS), store=folder / "serial.zarr")
    return ZarrStore.open(folder / "serial.zarr").content_hash()


def start(store: Path, where: str, writes: str, pause: float, **limits: Callable[[], None]) -> subprocess.Popen[bytes]:
    """The victim, in a session of its own."""
    command = [sys.executable, str(VICTIM), str(store), where, writes, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                            preexec_fn=limits.get("before"))  # fmt: skip


def wait_for(store: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many blocks are logged as committed, or the process ends."""
    deadline = time.monotonic() + WAIT_SECONDS
    while process.poll() is None and len(committed(store)) < count:
        assert time.monotonic() < deadline, "the run made no progress"
        time.sleep(0.005)


def finished(store: Path, reference: str) -> bool:
    """Whether a store, completed here, is the serial one and holds all that was committed."""
    run(quick_study(REPLICATIONS), store=store)
    return ZarrStore.open(store).content_hash() == reference and not lost(store)


def killed_clients(folder: Path, reference: str, count: int, writes: str = "client") -> Found:
    """kill -9 of the client at random instants; the next run goes on, until the store is full, then with a new one."""
    chance, kills, losses, wrong, store_number = random.Random(5), 0, 0, 0, 0
    where = "local" if writes == "workers" else "serial"
    while kills < count:
        store, store_number = folder / f"client-{writes}-{store_number}.zarr", store_number + 1
        while kills < count and len(committed(store)) < BLOCKS - 6:
            process = start(store, where, writes, 0.02)
            wait_for(store, len(committed(store)) + 1 + chance.randrange(5), process)
            time.sleep(chance.random() * 0.05)
            if process.poll() is None:
                process.kill()
                kills += 1
            process.communicate()
            losses += len(lost(store))
        happened = endings(store).count("killed")
        wrong += not finished(store, reference)
        assert happened, "no run was killed"
    what = f"{kills} kill -9 of the client ({writes} write)"
    return Found(f"{what}: {losses} committed blocks lost, {wrong} stores differ",
                 losses == wrong == 0)  # fmt: skip


def killed_crew(folder: Path, reference: str, count: int) -> Found:
    """kill -9 of clients that fill a store together, of three at a time; others take their places."""
    chance, kills, losses, wrong, stores = random.Random(6), 0, 0, 0, 0
    while kills < count:
        store, stores = folder / f"crew-{stores}.zarr", stores + 1
        clients = [start(store, "together", "client", 0.05) for _ in range(3)]
        for _ in range(min(4, count - kills)):
            before = len(_parts_committed(store))
            while len(_parts_committed(store)) < before + 1 + chance.randrange(4) and clients[0].poll() is None:
                time.sleep(0.01)
            if clients[0].poll() is None:
                clients[0].kill()
                kills += 1
                losses += sum(len(lost(part)) for part in Crew(store).parts()) if not store.exists() else 0
            clients.pop(0).communicate()
            clients.append(start(store, "together", "client", 0.05))
        for client in clients:
            client.communicate(timeout=WAIT_SECONDS)
            wrong += client.returncode != 0
        wrong += not finished(store, reference) or bool(Crew(store).parts())
        for begun in Crew(store).folder.glob("*.zarr.*"):  # by clients that were killed then; it stays until it is old
            os.utime(begun, (then := time.time() - 2 * STALE, then))
        wrong += not finished(store, reference) or Crew(store).folder.exists()
    return Found(f"{kills} kill -9 of clients that fill {stores} stores together: {losses} committed blocks lost, "
                 f"{wrong} ends wrong", losses == wrong == 0)  # fmt: skip


def _parts_committed(store: Path) -> list[object]:
    """The blocks that are logged as committed in the parts of a store."""
    return [block for part in Crew(store).parts() for block in committed(part)]


def killed_workers(folder: Path, reference: str, count: int, writes: str = "client") -> Found:
    """kill -9 of a worker process in the middle of runs, which must end by themselves."""
    kills, wrong, logged = 0, 0, 0
    while kills < count:
        store = folder / f"worker-{writes}-{kills}.zarr"
        process = start(store, "local", writes, 0.1)
        wait_for(store, 2, process)
        victims = [child for child in psutil.Process(process.pid).children(recursive=True) if _is_worker(child)]
        assert victims, "no worker to kill"
        for victim in victims[: min(2, count - kills)]:
            victim.kill()
            kills += 1
        process.communicate(timeout=WAIT_SECONDS)
        wrong += process.returncode != 0 or bool(lost(store)) or ZarrStore.open(store).content_hash() != reference
        logged += sum(event["event"] == "left" for event in read_log(store))
    said = f"{kills} kill -9 of workers ({writes} write): {wrong} runs wrong, {logged} deaths in the log"
    return Found(said, wrong == 0 and logged == kills)


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def killed_schedulers(folder: Path, reference: str, count: int) -> Found:
    """kill -9 of a scheduler: the run ends by itself, and another goes on."""
    kills = wrong = 0
    for number in range(count):
        store, place = folder / f"scheduler-{number}.zarr", folder / f"scheduler-{number}"
        place.mkdir()
        with started(place) as machines:
            process = start(store, machines.address, "client", 0.1)
            wait_for(store, 3, process)
            assert process.poll() is None, "the run ended before its scheduler"
            machines.scheduler.kill()
            kills += 1
            process.communicate(timeout=WAIT_SECONDS)
        wrong += process.returncode == 0 or endings(store) != ["ClusterLost"] or not finished(store, reference)
    return Found(f"{kills} kill -9 of the scheduler: {wrong} runs wrong", wrong == 0)


def full_disk(folder: Path, reference: str) -> Found:
    """A file system of 600 KB that fills up in the middle of a run, and is enlarged afterwards."""
    place = folder / "small"
    place.mkdir()
    with _tmpfs(place) as mounted:
        if not mounted:
            return Found("full disk: SKIPPED, this machine does not let a tmpfs be mounted", True)
        store = place / "x.zarr"
        process = start(store, "serial", "client", 0.0)
        said = process.communicate(timeout=WAIT_SECONDS)[1].decode()
        full = process.returncode != 0 and "No space left" in said
        there = len(committed(store))
        gone = lost(store)
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        same = finished(store, reference)
    return Found(f"a full disk after {there} blocks: {len(gone)} lost, the rest {'the same' if same else 'OTHER'}",
                 full and not gone and same)  # fmt: skip


@contextmanager
def _tmpfs(place: Path) -> Iterator[bool]:
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)]
    mounted = shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)


def file_size_limit(folder: Path, reference: str) -> Found:
    """RLIMIT_FSIZE: a chunk cannot be written whole."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    store = folder / "limit.zarr"
    first = start(store, "serial", "client", 0.02)
    wait_for(store, 4, first)
    first.kill()
    first.communicate()
    before = len(committed(store))
    process = start(store, "serial", "client", 0.0, before=limited)
    said = process.communicate(timeout=WAIT_SECONDS)[1].decode()
    limit = process.returncode != 0 and "File too large" in said
    gone = lost(store)
    return Found(
        f"RLIMIT_FSIZE after {before} blocks: {len(gone)} lost", limit and not gone and finished(store, reference)
    )


def damaged_files(folder: Path, reference: str, each: int) -> Found:
    """A flipped bit, a cut and a missing file of every kind of file: named in one line, repaired by the next run."""
    store, plan = folder / "damaged.zarr", Resume(accept_code_change=True)
    run(quick_study(REPLICATIONS), store=store)
    kinds: dict[str, list[str]] = {}
    for file in sorted(store.rglob("*")):
        if file.is_file():
            name = file.relative_to(store).as_posix()
            kinds.setdefault(name.partition("/c.")[0], []).append(name)
    chance, counts, unseen, wrong = random.Random(7), Counter[tuple[str, str]](), [], 0
    for kind, names in kinds.items():
        for how in list(DAMAGES)[: 3 if each else 1]:
            for name in chance.sample(names, min(max(each, 1), len(names))):
                DAMAGES[how](store / name)
                counts[how, sort_of(name)] += 1
                unseen += [f"{kind} {how}"] if verified(store).sound else []
                run(quick_study(REPLICATIONS), store=store, plan=plan)
                wrong += ZarrStore.open(store).content_hash() != reference or not verified(store).sound
    listed = "; ".join(f"{how}: " + ", ".join(f"{counts[how, sort]} {sort}" for sort in SORTS) for how in DAMAGES)
    said = f"{counts.total()} damages of {len(kinds)} kinds of files ({listed})"
    every = {sort for _, sort in counts} == set(SORTS)
    return Found(f"{said}: {len(unseen)} not seen {unseen}, {wrong} not repaired", not unseen and not wrong and every)


SORTS = ("chunk", "label", "coordinate", "dial", "digest", "metadata", "provenance")
LABELS = ("term", "error", "quantity", "fact", "estimand")


def sort_of(name: str) -> str:
    """What a file of a store of the quick study holds, one of SORTS."""
    array, _, chunk = name.partition("/c.")
    if not chunk:
        return "provenance" if name.startswith("provenance/") else "metadata"
    named = {"block_mark": "digest", "cell": "coordinate", "replication": "coordinate", "effect": "dial"}
    return "label" if array.rpartition("/")[2] in LABELS else named.get(array, "chunk")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flip": _flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "gone": Path.unlink,
}


def silent_damage(folder: Path, reference: str) -> Found:
    """A bit that flips without a change of size or times, as on a bad disk: `--reread` finds and mends it."""
    store = folder / "silent.zarr"
    run(quick_study(REPLICATIONS), store=store)
    file = store / "did" / "inference" / "c.1.3.0.0.0"
    times = file.stat()
    _flip(file)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    named = not verified(store).sound
    run(quick_study(REPLICATIONS), store=store)
    trusted = not verified(store).sound
    run(quick_study(REPLICATIONS), store=store, plan=Resume(reread=True))
    same = ZarrStore.open(store).content_hash() == reference
    said = f"{'named' if named else 'NOT NAMED'} by verify, {'repaired' if same else 'NOT REPAIRED'} by --reread"
    return Found(f"1 silent flip: {said}", named and trusted and same)


def power_cuts(folder: Path, each: int) -> Found:
    """Power cuts at so many points of each piece of work, in models of a disk."""
    found = [cut_in_a_model(work, each, folder, reference_of(work, folder)) for work in WORKS]
    return _of_cuts("in models of a disk", found)


def power_cuts_of_disks(folder: Path, each: int) -> Found:
    """The same on file systems in files, which are shut down."""
    found = []
    for work in WORKS:
        reference = reference_of(work, folder)
        for kind in KINDS:
            place = folder / f"disk-{work}-{kind}"
            place.mkdir()
            try:
                found.append(cut_on_disk(kind, work, each, place, reference))
            except NotHere as reason:
                return Found(f"power cuts of {kind}: SKIPPED, this machine does not let it be mounted: {reason}", True)
    return _of_cuts(f"of {' and '.join(KINDS)}", found)


def _of_cuts(where: str, found: list[Counted]) -> Found:
    gone = [f"{one.work}, {what}" for one in found for what in one.lost]
    cuts, said = (sum(getattr(one, name) for one in found) for name in ("cuts", "acknowledged"))
    each = ", ".join(f"{work} {sum(one.cuts for one in found if one.work == work)}" for work in WORKS)
    lines = "".join(f"\n  {line}" for line in gone[:10])
    return Found(f"{cuts} power cuts {where} ({each}), {said} blocks acknowledged before them: {len(gone)} lost{lines}",
                 not gone)  # fmt: skip
