"""Damage of files."""

from __future__ import annotations

from pathlib import Path


def flip(path: Path) -> None:
    """Turn one bit in the middle round."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    """Leave the first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
