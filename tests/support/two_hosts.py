"""Two hosts on one machine: network namespaces that a link of their own joins, which can be cut."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from real_parts import NotHere, needs, start

NEAR, FAR = "10.213.0.1", "10.213.0.2"  # of the link alone: nothing leads out of the two namespaces


@dataclass(frozen=True, slots=True)
class Hosts:
    """Two namespaces, by name, and the end of their link in the first."""

    near: str
    far: str
    link: str

    def start(self, where: str, folder: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """A program on one of them."""
        return start(folder, "ip", "netns", "exec", where, *command, **environment)

    def cut(self) -> None:
        """Take the link down: neither side hears of it."""
        _ip("-n", self.near, "link", "set", self.link, "down")


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    """Two joined namespaces; raises NotHere where this user may not make them."""
    needs("ip")
    mark = os.getpid()
    hosts = Hosts(f"near{mark}", f"far{mark}", f"pn{mark}")
    try:
        for name in (hosts.near, hosts.far):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", hosts.near, "link", "add", hosts.link, "type", "veth", "peer", "name", "pf", "netns", hosts.far)
        for name, link, address in ((hosts.near, hosts.link, NEAR), (hosts.far, "pf", FAR)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
        yield hosts
    finally:
        for name in (hosts.near, hosts.far):
            with contextlib.suppress(NotHere):
                _ip("netns", "delete", name)


def _ip(*words: str) -> None:
    ran = subprocess.run(["ip", *words], capture_output=True, text=True)
    if ran.returncode:
        raise NotHere(f"ip {' '.join(words)}: {ran.stderr.strip()}")
