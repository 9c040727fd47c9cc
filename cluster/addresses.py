"""Addresses of schedulers."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def has_port(address: str) -> bool:
    """Whether an address ends in a valid port."""
    try:
        return bool(urlsplit(address).port)
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Whether a scheduler's address stays on this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
