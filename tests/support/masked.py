"""Small studies of four kinds, run in processes whose libraries are told that the processor can do less or else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import commands

from results.store import ZarrStore

HEAD = """
replications = 128
block = 64
seed = 5
[design]
kind = "paper"
"""
STUDIES = {
    "did": f"""{HEAD}[[estimators]]
kind = "did"
errors = ["iid", "hc1", "cluster:unit"]
""",
    "full-job": f"""{HEAD}spillover = "paper"
[[estimators]]
kind = "did"
[[estimators]]
kind = "spatial"
model = ["sar", "sem"]
transform = "lee-yu"
[[estimators]]
kind = "spatial"
model = "sdm"
transform = ["direct", "lee-yu"]
errors = ["information", "cluster:unit"]
""",
    "staggered": f"""{HEAD}controls = "none"
heterogeneity = 0.5
serial = 0.5
[[estimators]]
kind = "callaway-santanna"
[[estimators]]
kind = "sun-abraham"
uniform_draws = 100
[[estimators]]
kind = "imputation"
uniform_draws = 0
""",
    "mediation": f"""{HEAD}[[estimators]]
kind = "mediation"
errors = ["delta", "sobel", "monte-carlo", "bootstrap:unit"]
""",
}
TOGETHER = f"""{HEAD}spillover = "paper"
heterogeneity = 0.5
serial = 0.5
""" + "".join(text[text.index("[[est") :] for kind, text in STUDIES.items() if kind != "did")  # full-job has did too
NO_AVX512 = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
NO_AVX2 = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}
NO_FMA = {"GLIBC_TUNABLES": "glibc.malloc.check=0:glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2"}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "as it is": {},
    "numpy without AVX512": NO_AVX512,
    "numpy without AVX512 and AVX2": NO_AVX2,
    "C library without FMA": NO_FMA,
    "both, without all three": NO_AVX2 | NO_FMA,
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS for Zen, another cache": {"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_L2_SIZE": "2048"},
    "OpenBLAS for Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge"},
    "OpenBLAS for Prescott, in smaller pieces": {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_BLOCK_FACTOR": "20"},
}


def masked(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process: this one's, with these switches of libraries in place of its own."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(commands.SETTINGS)}
    return plain | dict(settings)


def panelproof(
    folder: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own with these switches."""
    return commands.run(folder, *arguments, env=masked(settings or {}))


def ran(
    folder: Path, kind: str, settings: Mapping[str, str], *options: str, store: str = "x.zarr"
) -> subprocess.CompletedProcess[str]:
    """A run of one of the studies, in this process's child with these switches."""
    (folder / f"{kind}.toml").write_text({**STUDIES, "together": TOGETHER}[kind])
    arguments = ("run", f"{kind}.toml", "--cluster", "serial", "--store", store, "-q", *options)
    return panelproof(folder, *arguments, settings=settings)


def hash_of(folder: Path, kind: str, settings: Mapping[str, str], *options: str, store: str = "x.zarr") -> str:
    """The hash of the store of such a run."""
    done = ran(folder, kind, settings, *options, store=store)
    assert done.returncode == 0, done.stderr
    return ZarrStore.open(folder / store).content_hash()
