"""What a back end is: the settings of a place, and how to open it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from cluster.executor import Executor
from cluster.options import MEMORY, Fault, checked_form

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class BackEnd(ABC):
    """Settings of a place where jobs run; its fields are its options.

    name: what `--cluster` calls it. form: the same as users write it. needs: a library that it needs, and the extra
    that brings it.
    """

    name: ClassVar[str] = ""
    form: ClassVar[str] = ""
    needs: ClassVar[tuple[str, str] | None] = None

    @abstractmethod
    def open(self, limit: float | None = None, say: Say = silent) -> Executor:
        """Start it or connect to it; raises ClusterLost and Refused.

        limit: seconds that a job may take, None = by what jobs took so far. say: is told what users should know.
        """

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        if hasattr(self, "memory"):
            yield from checked_form(self, "memory", MEMORY, "a size such as 4GB", where)

    @property
    def lacks(self) -> str | None:
        """The extra to install, when a library that the back end needs is not there."""
        import importlib.util

        return None if self.needs is None or importlib.util.find_spec(self.needs[0]) else self.needs[1]


def bytes_of(memory: str | None) -> int | None:
    """Bytes of a text such as 4GB."""
    if memory is None:
        return None
    from dask.utils import parse_bytes

    return int(parse_bytes(memory))
