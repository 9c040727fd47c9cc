"""Four kinds of studies under every setting of numpy, the C library and OpenBLAS: hashes with and without portable."""

from __future__ import annotations

import tempfile
from pathlib import Path

from masked import SETTINGS, STUDIES, hash_of, ran

PORTABLE = ("--numbers", "portable")


def main() -> bool:
    """Portable numbers have one hash a study, and a resume under another setting is refused where hashes differ."""
    holds = True
    for kind in STUDIES:
        with tempfile.TemporaryDirectory(prefix="numbers-") as name:
            holds &= _holds(kind, Path(name))
    return holds


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
