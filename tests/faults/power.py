"""Power cuts in a model of a disk: what was written is recorded, and any state that a cut may leave is built from it.

`Recorder` notes each file and folder that a piece of work makes, renames and removes, what it writes, and what it
flushes. `Recorder.leave` builds one state that a cut after so many of these may leave. What was flushed is there. Names
that were not flushed are there up to some point: in one order for the whole disk, as file systems with a journal keep
them ("journal"), or in each folder up to a point of its own ("loose"). Bytes that were not flushed are there, or a part
of them, or zeros, or nothing, whatever became of the names.
"""

from __future__ import annotations

import builtins
import io
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from experiments.run.resume import RunLog
from results.store import disk

MODELS = ("journal", "loose")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(eq=False, slots=True)
class Node:
    """A file, or a folder with what is in it by name; at: the folder where it stands, and its name there."""

    inside: dict[str, Node] | None = None
    data: bytes = b""
    at: tuple[Node, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What was done: "names" change, a file is "written", a "flush", or something is "acknowledged".

    node: what was made, moved, removed, written or flushed; None: all was flushed. source, target: the folder and name
    that it had and has. folders: those whose names must be on the disk before this is. fact: what was acknowledged.
    """

    what: str
    node: Node | None = None
    source: tuple[Node, str] | None = None
    target: tuple[Node, str] | None = None
    folders: tuple[Node, ...] = ()
    data: bytes = b""
    fact: Any = None


@dataclass(eq=False)
class Recorder:
    """Records what this process does below a folder, as long as `recording` lasts."""

    root: Path
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turn = threading.RLock()
        self._top, self._base = Node({}), dict[Node, dict[str, Node] | bytes]()
        self._written = dict[Node, None]()  # files whose bytes may be others than those that were noted
        self._scan(self.root, self._top)

    def _scan(self, folder: Path, node: Node) -> None:
        assert node.inside is not None
        for entry in sorted(folder.iterdir()):
            child = Node({}) if entry.is_dir() else Node(data=entry.read_bytes())
            node.inside[entry.name], child.at = child, (node, entry.name)
            if entry.is_dir():
                self._scan(entry, child)
            else:
                self._base[child] = child.data
        self._base[node] = dict(node.inside)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record all that is done meanwhile; AssertionError unless what was recorded is what is there at the end."""
        wraps: list[tuple[Any, str, Callable[..., Any]]] = [
            (os, "open", self._opens), (io, "open", self._opens), (builtins, "open", self._opens),
            (os, "mkdir", self._makes), (os, "rename", self._moves), (os, "replace", self._moves),
            (os, "unlink", self._drops), (os, "remove", self._drops), (os, "rmdir", self._drops),
            (os, "fsync", self._flushes), (disk, "SYNCFS", self._flushes_all), (RunLog, "say", self._says),
        ]  # fmt: skip
        with ExitStack() as stack:
            for owner, name, wrap in wraps:
                if getattr(owner, name) is None:  # the system has no such function
                    continue
                new = self._in_turn(getattr(owner, name), wrap)
                stack.enter_context(mock.patch.object(owner, name, new))
            yield
        self._look_at_all()
        there = {path.relative_to(self.root).as_posix(): None if path.is_dir() else path.read_bytes()
                 for path in self.root.rglob("*")}  # fmt: skip
        assert dict(_below(self._top)) == there, "something was not recorded"

    def acknowledge(self, fact: Any) -> None:
        """Note that something was said to be done."""
        self.steps.append(Step("acknowledged", fact=fact))

    def acknowledged(self, cut: int) -> list[Any]:
        """What was said to be done before a cut."""
        return [step.fact for step in self.steps[:cut] if step.what == "acknowledged"]

    # What is done beside the functions of the system

    def _in_turn(self, plain: Callable[..., Any], wrap: Callable[..., Any]) -> Callable[..., Any]:
        def both(*args: Any, **kwargs: Any) -> Any:
            with self._turn:
                return wrap(plain, *args, **kwargs)

        return both

    def _place(self, path: Any, at: int | None = None) -> tuple[Node, str] | None:
        """The folder and name that a path leads to; None outside of what is recorded."""
        if isinstance(path, int):
            return None
        start = "/" if at is None else os.readlink(f"/proc/self/fd/{at}")
        whole = os.path.abspath(os.path.join(start if at is not None else os.getcwd(), os.fspath(path)))
        if not whole.startswith(f"{self.root}/"):
            return None
        *folders, name = os.path.relpath(whole, self.root).split("/")
        node = self._top
        for folder in folders:
            if node.inside is None or folder not in node.inside:
                return None
            node = node.inside[folder]
        return node, name

    def _opens(self, plain: Any, path: Any, how: Any = "r", *args: Any, dir_fd: int | None = None, **more: Any) -> Any:
        how = more.pop("flags", more.pop("mode", how))
        found = plain(path, how, *args, **more) if dir_fd is None else plain(path, how, *args, dir_fd=dir_fd, **more)
        writes = how & WRITES if isinstance(how, int) else set(how) & set("wax+")
        if writes and (place := self._place(path, dir_fd)) is not None:
            folder, name = place
            assert folder.inside is not None
            if name not in folder.inside:
                self._change(Node(), None, place)
            self._written[folder.inside[name]] = None
        return found

    def _makes(self, plain: Any, path: Any, *args: Any, dir_fd: int | None = None) -> None:
        plain(path, *args, dir_fd=dir_fd)
        if (place := self._place(path, dir_fd)) is not None:
            self._change(Node({}), None, place)

    def _moves(
        self, plain: Any, source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        before, after = self._place(source, src_dir_fd), self._place(target, dst_dir_fd)
        if before is not None:
            self._look(node := _node_at(before))
        if after is not None and after[1] in (after[0].inside or {}):  # what has the name by now loses it
            self._written.pop(_node_at(after), None)
        plain(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        if before is not None:
            self._written.pop(node, None)
            self._change(node, before, after)

    def _drops(self, plain: Any, path: Any, *, dir_fd: int | None = None) -> None:
        place = self._place(path, dir_fd)
        plain(path, dir_fd=dir_fd)
        if place is not None:
            self._written.pop(_node_at(place), None)
            self._change(_node_at(place), place, None)

    def _flushes(self, plain: Any, descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        place = (self._top, ".") if name == str(self.root) else self._place(name)
        if place is not None:
            self._look(_node_at(place))
        plain(descriptor)
        if place is not None:
            self.steps.append(Step("flush", _node_at(place)))

    def _flushes_all(self, plain: Any, descriptor: int) -> int:
        self._look_at_all()
        result: int = plain(descriptor)
        self.steps.append(Step("flush"))
        return result

    def _says(self, plain: Any, log: RunLog, event: str, **facts: Any) -> None:
        plain(log, event, **facts)
        if event == "commit":
            self.acknowledge((facts["cell"], facts["block"]))

    def _change(self, node: Node, source: tuple[Node, str] | None, target: tuple[Node, str] | None) -> None:
        folders = [place[0] for place in (source, target) if place is not None]
        if target is None and node.inside is not None:
            folders.append(node)  # what was in it goes before
        if source is not None:
            assert source[0].inside is not None
            del source[0].inside[source[1]]
        if target is not None:
            assert target[0].inside is not None
            target[0].inside[target[1]], node.at = node, target
        self.steps.append(Step("names", node, source, target, tuple(folders)))

    def _look_at_all(self) -> None:
        for node in list(self._written):
            self._look(node)

    def _look(self, node: Node) -> None:
        """Note what a file holds by now."""
        if node.inside is None and (data := self._path(node).read_bytes()) != node.data:
            node.data = data
            self.steps.append(Step("written", node, data=data))

    def _path(self, node: Node) -> Path:
        return self.root if node is self._top or node.at is None else self._path(node.at[0]) / node.at[1]

    # What a cut leaves

    def leave(self, cut: int, model: str, chance: random.Random, into: Path) -> None:
        """Build a state that a cut after so many steps may leave, in an empty folder."""
        steps = self.steps[:cut]
        kept, data = _flushed(steps, model), dict[Node, bytes]()
        names = [number for number, step in enumerate(steps) if step.what == "names"]
        kept |= _some_in_order(names, kept, chance) if model == "journal" else _some_in_folders(steps, kept, chance)
        for node, flushed, last in _bytes_of(steps):
            data[node] = last if flushed == last else _in_part(flushed, last, chance)
        held = {node: dict(value) for node, value in self._base.items() if isinstance(value, dict)}
        data = {node: value for node, value in self._base.items() if isinstance(value, bytes)} | data
        for number in names:
            step = steps[number]
            if number in kept:
                if step.source is not None:
                    held.setdefault(step.source[0], {}).pop(step.source[1], None)
                if step.target is not None:
                    assert step.node is not None
                    held.setdefault(step.target[0], {})[step.target[1]] = step.node
        _build(self._top, held, data, into)


def _node_at(place: tuple[Node, str]) -> Node:
    if place[1] == "." or place[0].inside is None:
        return place[0]
    return place[0].inside[place[1]]


def _below(node: Node, under: str = "") -> Iterator[tuple[str, bytes | None]]:
    for name, child in (node.inside or {}).items():
        yield f"{under}{name}", None if child.inside is not None else child.data
        yield from _below(child, f"{under}{name}/")


def _flushed(steps: list[Step], model: str) -> set[int]:
    """The changes of names that are on the disk for certain."""
    kept = set[int]()
    for number, step in enumerate(steps):
        if step.what == "flush":
            before = [at for at in range(number) if steps[at].what == "names"]
            if step.node is None or model == "journal":
                kept.update(before)
            else:
                _keep(steps, [at for at in before if step.node in steps[at].folders and step.node.inside is not None],
                      kept)  # fmt: skip
    return kept


def _keep(steps: list[Step], chosen: list[int], kept: set[int]) -> None:
    """Add changes of names, with all earlier ones of the same folders."""
    while chosen:
        number = chosen.pop()
        if number not in kept:
            kept.add(number)
            folders = set(steps[number].folders)
            chosen += [at for at in range(number) if at not in kept and folders.intersection(steps[at].folders)]


def _some_in_order(names: list[int], kept: set[int], chance: random.Random) -> set[int]:
    rest = [number for number in names if number not in kept]
    return set(rest[: _some(len(rest), chance)])


def _some_in_folders(steps: list[Step], kept: set[int], chance: random.Random) -> set[int]:
    """Further changes of names, in each folder the first ones."""
    left = dict[Node, int]()
    for number, step in enumerate(steps):
        if step.what == "names" and number not in kept:
            for folder in step.folders:
                left[folder] = left.get(folder, 0) + 1
    left = {folder: _some(count, chance) for folder, count in left.items()}
    found = set[int]()
    for number, step in enumerate(steps):
        if step.what == "names" and number not in kept:
            if all(left[folder] > 0 for folder in step.folders):
                found.add(number)
            for folder in step.folders:
                left[folder] = left[folder] - 1 if number in found else 0
    return found


def _some(count: int, chance: random.Random) -> int:
    return chance.choice((0, count, chance.randint(0, count)))


def _bytes_of(steps: list[Step]) -> Iterator[tuple[Node, bytes | None, bytes]]:
    """(file, what of it is on the disk for certain, what was last written) of each file that was made or written."""
    flushed, last = dict[Node, bytes](), dict[Node, bytes]()
    for step in steps:
        if step.what == "names" and step.source is None and step.node is not None and step.node.inside is None:
            last[step.node] = b""
        elif step.what == "written" and step.node is not None:
            last[step.node] = step.data
        elif step.what == "flush":
            flushed |= last if step.node is None else {step.node: last[step.node]} if step.node in last else {}
    for node, data in last.items():
        yield node, flushed.get(node), data


def _in_part(flushed: bytes | None, last: bytes, chance: random.Random) -> bytes:
    """What a disk may hold of bytes that were not flushed, behind those that were."""
    old = flushed or b""
    start = len(old) if last.startswith(old) else 0
    cut = chance.randint(start, len(last))
    return chance.choice((old, last, last[:cut], last[:start] + bytes(len(last) - start)))


def _build(node: Node, held: dict[Node, dict[str, Node]], data: dict[Node, bytes], into: Path) -> None:
    for name, child in held.get(node, {}).items():
        if child.inside is None:
            (into / name).write_bytes(data[child])
        else:
            (into / name).mkdir()
            _build(child, held, data, into / name)
