"""Four kinds of studies under every setting of numpy, the C library and OpenBLAS: hashes with and without portable."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from masked import SETTINGS, STUDIES, hash_of, masked, ran

from cluster.numbers import check_machine
from results.store import ZarrStore

PORTABLE = ("--numbers", "portable")
EMULATOR = "qemu-x86_64"  # of Debian's package qemu-user
FEW = ("--replications", "64")  # on an emulated processor, which takes a hundred times as long
EMULATED = tuple(kind for kind in STUDIES if kind != "full-job")  # which takes long there
PROCESSORS = ("Haswell-noTSX", "EPYC")


def main() -> bool:
    """Portable numbers have one hash a study, and a resume under another setting is refused where hashes differ."""
    holds = True
    for kind in STUDIES:
        with tempfile.TemporaryDirectory(prefix="numbers-") as name:
            holds &= _holds(kind, Path(name))
    return holds and _emulated()


def _emulated() -> bool:
    """Whether emulated processors without AVX512 compute the same portable numbers; True without an emulator."""
    if shutil.which(EMULATOR) is None:
        print(f"  emulated processors: NOT TESTED HERE: there is no {EMULATOR}")
        return True
    return all(list(map(_emulated_alike, EMULATED)))


def _emulated_alike(kind: str) -> bool:
    """Whether portable numbers of a study have one hash here and there, and default ones are refused on resume."""
    with tempfile.TemporaryDirectory(prefix="numbers-") as name:
        folder = Path(name)
        here, alike = hash_of(folder, kind, {}, *PORTABLE, *FEW), True
        hash_of(folder, kind, {}, *FEW, store="default.zarr")
        for processor in PROCESSORS:
            code = _on(processor, folder, kind, f"{processor}.zarr", check_machine(), *PORTABLE, *FEW)
            found = ZarrStore.open(folder / f"{processor}.zarr").content_hash() if code == 0 else f"exit {code}"
            resumed = _on(processor, folder, kind, "default.zarr", {}, "--replications", "128")
            said = "refused" if resumed == 2 else f"exit {resumed}"
            print(f"  {kind:9s} on an emulated {processor}: {found[:12]}, here {here[:12]}; a resume of default "
                  f"numbers there: {said}", flush=True)  # fmt: skip
            alike &= found == here and resumed == 2
    return alike


def _on(processor: str, folder: Path, kind: str, store: str, settings: Mapping[str, str], *options: str) -> int:
    """The exit code of a run on an emulated processor; a program that starts itself anew would leave the emulator."""
    command = [EMULATOR, "-cpu", processor, sys.executable, "-m", "experiments", "run", f"{kind}.toml", "--cluster",
               "serial", "-q", "--store", store, *options]  # fmt: skip
    return subprocess.run(command, cwd=folder, env=masked(settings), check=False).returncode


def _holds(kind: str, folder: Path) -> bool:
    hashes: dict[str, list[str]] = {"default": [], "portable": []}
    mixed = 0
    for number, (setting, switches) in enumerate(SETTINGS.items()):
        for mode, found in hashes.items():
            options = PORTABLE if mode == "portable" else ()
            found.append(hash_of(folder, kind, switches, *options, store=f"{mode}-{number}.zarr"))
        resumed = ran(folder, kind, switches, "--replications", "192", store="default-0.zarr") if number else None
        refused = resumed is not None and resumed.returncode == 2
        mixed += resumed is not None and not refused and hashes["default"][-1] != hashes["default"][0]
        said = "" if resumed is None else "refused on resume" if refused else "resumed"
        short = "  ".join(f"{mode} {found[-1][:12]}" for mode, found in hashes.items())
        print(f"  {kind:9s}  {setting:42s}  {short}  {said}", flush=True)
        if resumed is not None and not refused:
            hash_of(folder, kind, {}, store="default-0.zarr")
    one = len(set(hashes["portable"]))
    print(f"  {kind}: {len(set(hashes['default']))} hashes by default, {one} in portable mode; {mixed} stores mixed")
    return one == 1 and not mixed
