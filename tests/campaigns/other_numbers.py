"""Four kinds of studies under every setting of numpy, the C library and OpenBLAS: hashes with and without portable."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from masked import SETTINGS, STUDIES, hash_of, masked, ran

from cluster.numbers import check_machine
from results.store import ZarrStore

PORTABLE = ("--numbers", "portable")
EMULATOR = "qemu-x86_64"  # of Debian's package qemu-user
PROCESSORS = ("Haswell", "EPYC")


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
    with tempfile.TemporaryDirectory(prefix="numbers-") as name:
        folder = Path(name)
        hashes = [hash_of(folder, "did", {}, *PORTABLE)]
        for processor in PROCESSORS:  # started with the settings: a program that starts anew leaves the emulator
            command = [EMULATOR, "-cpu", processor, sys.executable, "-m", "experiments", "run", "did.toml", "--cluster",
                       "serial", "-q", "--store", f"{processor}.zarr", *PORTABLE]  # fmt: skip
            subprocess.run(command, cwd=folder, env=masked(check_machine()), check=True)
            hashes.append(ZarrStore.open(folder / f"{processor}.zarr").content_hash())
            print(f"  did on an emulated {processor}: {hashes[-1][:12]}, here {hashes[0][:12]}", flush=True)
    return len(set(hashes)) == 1


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
