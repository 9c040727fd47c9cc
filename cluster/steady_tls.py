"""TLS connections that survive the end of their neighbours; a process of Dask is ready once this is imported.

A peer that goes without a farewell makes OpenSSL 3 answer with an alert. When that fails, the error stays in the queue
of the thread, and Python's ssl (3.13.5) reports it at the next read of another connection, which Dask then closes: a
client or a worker is lost. The end of a stream is therefore taken as its end. Nothing can be cut off unseen, because
Dask says the length of each message before it.
"""

from __future__ import annotations

import ssl
from typing import Any

from distributed import Security

MODULE = __name__
MEMBERS = ("scheduler", "nanny", "worker")
PRELOAD = {f"distributed.{member}.preload": [MODULE] for member in MEMBERS}  # of Dask's configuration
_make = Security._get_tls_context


def steady_context(security: Security, tls: Any, purpose: ssl.Purpose) -> ssl.SSLContext | None:
    """Dask's context of a role, for which the end of a stream is no error."""
    context: ssl.SSLContext | None = _make(security, tls, purpose)
    if context is not None:
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


Security._get_tls_context = steady_context
