"""An SSH server of one user on the loopback address, for machines without sshd: FOLDER PORT.

As sshd does, it closes the standard input of what a client started when the client is gone, and ends nothing else. The
folder holds the server's key `host` and the user's public key `user.pub`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncssh


async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run a command in a shell, its three streams those of the client."""
    assert process.command is not None
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(process.command, stdin=pipe, stdout=pipe, stderr=pipe,
                                                  start_new_session=True)  # fmt: skip
    assert child.stdin is not None
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    gone, over = asyncio.create_task(process.wait_closed()), asyncio.create_task(child.wait())
    await asyncio.wait([gone, over], return_when=asyncio.FIRST_COMPLETED)
    if over.done():
        process.exit(child.returncode or 0)
    child.stdin.close()


async def main(folder: Path, port: int) -> None:
    """Listen until this process is ended."""
    keys = {"server_host_keys": [str(folder / "host")], "authorized_client_keys": str(folder / "user.pub")}
    await asyncssh.listen("127.0.0.1", port, process_factory=serve, sftp_factory=True, encoding=None, **keys)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
