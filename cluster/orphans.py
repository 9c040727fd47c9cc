"""Members of a cluster that end when their client is gone, however it went: a preload of Dask, as `steady_tls` is.

A client that is killed says no farewell. Its scheduler loses the connection, and a member that SSH started the other
end of its standard input. Without a scheduler a nanny has no work for its worker and would start another for ever. A
worker that is in the middle of a call of C notices nothing; the kernel ends it with its nanny.

Only processes that nobody else uses may load this: never a client, whose own scheduler and nannies end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
import time
from typing import Any

from cluster.child import end_with_parent

MODULE = __name__
LOOK_SECONDS = 2.0  # between two looks
ANSWER_SECONDS = 3.0  # in which a scheduler answers as a rule
GRACE_SECONDS = 8.0  # without a client, or with a scheduler that is gone: a cut connection is mended sooner
FIRST_SECONDS = 120.0  # until a scheduler must have a client
SILENT_SECONDS = 300.0  # that a client or a scheduler which is still there may say nothing: it may be busy
_watching = set[asyncio.Task[None]]()


def dask_setup(member: Any) -> None:
    """Watch for the end of the client from within a scheduler, a nanny or a worker that starts; Dask calls it."""
    from distributed import Nanny, Scheduler

    if isinstance(member, Scheduler):
        _watching.add(asyncio.ensure_future(without_client(member)))
    elif isinstance(member, Nanny):
        _watching.add(asyncio.ensure_future(without_scheduler(member)))
    else:
        end_with_parent()
        return
    watch_input()


async def without_client(scheduler: Any) -> None:
    """Until this scheduler has had no client for some seconds; then it ends."""
    from distributed.metrics import time as now

    limit, last = FIRST_SECONDS, time.monotonic()
    while time.monotonic() - last < limit:
        await asyncio.sleep(LOOK_SECONDS)
        clients = [client for name, client in scheduler.clients.items() if name != "fire-and-forget"]
        if any(now() - client.last_seen < SILENT_SECONDS for client in clients):
            limit, last = GRACE_SECONDS, time.monotonic()
    end("its client is gone")


async def without_scheduler(nanny: Any) -> None:
    """Until the scheduler of this nanny has been gone for some seconds, or silent for minutes; then all ends."""
    last = time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await asyncio.wait_for(nanny.scheduler.echo(data=0), ANSWER_SECONDS)
            last = time.monotonic()
            continue
        except (OSError, TimeoutError):
            gone = await is_gone(nanny.scheduler_addr)
        if time.monotonic() - last > (GRACE_SECONDS if gone else SILENT_SECONDS):
            end("its scheduler is gone")


async def is_gone(address: str) -> bool:
    """Whether nobody listens at an address of a machine that answers; a machine that does not may only be slow."""
    from distributed.comm import get_address_host_port

    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*get_address_host_port(address)), ANSWER_SECONDS)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return False


def watch_input(descriptor: int = 0) -> None:
    """End this process when who started it closes its standard input, where that is a pipe, as under SSH."""
    with contextlib.suppress(OSError):
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            threading.Thread(target=_until_closed, args=(descriptor,), name="standard input", daemon=True).start()


def _until_closed(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1 << 12):
            pass
    end("who started it is gone")


def end(why: str) -> None:
    """End this process and all that it started, at once: nobody is left who could want what they compute."""
    import psutil

    with contextlib.suppress(OSError):
        os.write(2, f"panelproof: a member of a cluster ends, because {why}\n".encode())
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()
    os._exit(1)
