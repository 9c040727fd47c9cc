"""An object store for tests: moto's S3, in a process of its own on the loopback address, until its input ends.

It prints its port. `served` starts it and says to this process where it is, as a user would: in the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "tests"
KEY, SECRET = "AKIAOFTHETESTS", "secret-of-the-tests"


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """The variables of the environment by which clients find the store, with one bucket in it."""
    command = [sys.executable, str(Path(__file__).resolve())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
        make_bucket(endpoint, BUCKET)
        yield {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
               "AWS_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}  # fmt: skip
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=10)


def make_bucket(endpoint: str, name: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=10).close()


def demand_credentials(endpoint: str) -> None:
    """From now on the server looks at credentials, of which it knows none."""
    asked = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(asked, timeout=10).close()


if __name__ == "__main__":
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    os._exit(0)
