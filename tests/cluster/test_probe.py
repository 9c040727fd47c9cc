"""The probe of the last digits, and the settings under which processors agree."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from masked import NO_AVX512, NO_FMA, masked

from cluster import numbers
from cluster.backends.slurm import Slurm
from cluster.backends.ssh import Ssh
from cluster.dask_cluster import starting, written
from cluster.numbers import (
    FAMILIES,
    OtherSettings,
    check_numbers,
    member_environment,
    portable_settings,
    probe,
)
from cluster.options import Refused

ROOT = Path(__file__).resolve().parents[2]
V3 = pytest.mark.skipif(bool(numbers._lacking()), reason=f"no portable numbers here: {numbers._lacking()}")
PROBE = """
import json
from cluster import prepare_process
from cluster.numbers import numbers_of_process, probe
prepare_process()
print(json.dumps([numbers_of_process(), dict(probe())]))
"""
WORK = """
import numpy as np, threading
rng = np.random.default_rng(1)
kept = [rng.normal(size=int(n)) for n in rng.integers(1, 5000, 300)]
np.random.seed(3); np.seterr(all="raise"); np.random.normal(size=9)
threads = [threading.Thread(target=lambda: rng.normal(size=(300, 300)) @ np.ones((300, 300))) for _ in range(2)]
[thread.start() for thread in threads]
"""


def probed(settings: Mapping[str, str], before: str = "") -> tuple[str, dict[str, str]]:
    """What a process with these switches says of its numbers."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", before + PROBE], env=masked(settings), cwd=ROOT,
                          capture_output=True, text=True, check=True, timeout=120)  # fmt: skip
    mode, digests = json.loads(done.stdout)
    return mode, digests


@V3
def test_numpy_uses_nothing_beyond_x86_64_v3_in_portable_mode() -> None:
    """What a processor without AVX512 has: masks of the user are replaced, and so cannot stand for such a processor."""
    beyond = """
import json
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(json.dumps([name for name in __cpu_dispatch__ if __cpu_features__[name] and name not in {V3}]))
"""
    done = subprocess.run([sys.executable, "-c", beyond.replace("{V3}", repr(set(numbers.NUMPY_V3)))],
                          env=masked(portable_settings()), capture_output=True, text=True, check=True)  # fmt: skip
    assert json.loads(done.stdout) == []


@pytest.fixture(scope="module")
def plain() -> dict[str, str]:
    """The probe of a process without switches."""
    mode, digests = probed({})
    assert mode == "default"
    return digests


def test_the_probe_is_the_same_whatever_was_computed_before(plain: dict[str, str]) -> None:
    assert probed({}, WORK)[1] == plain
    assert probe() == probe.__wrapped__()
    assert list(plain) == list(FAMILIES)
    assert len(set(plain.values())) == len(plain), "a family without results has the digest of another"


FEATURES = numbers._flags() if Path("/proc/cpuinfo").is_file() else set()
MASKS = {
    "numpy": (NO_AVX512, {"avx512f"}, {"exp", "log", "pow"}),
    "C library": (NO_FMA, {"fma"}, {"exp", "sin", "special functions"}),
    "products": ({"OPENBLAS_CORETYPE": "Prescott"}, {"fma"}, {"product", "decomposition"}),
}


@pytest.mark.parametrize("mask", MASKS)
def test_each_library_that_computes_otherwise_is_seen(mask: str, plain: dict[str, str]) -> None:
    settings, needed, expected = MASKS[mask]
    if not needed <= FEATURES:
        pytest.skip(f"this processor has no {', '.join(needed - FEATURES)} to be masked")
    _, digests = probed(settings)
    assert {name for name, digest in digests.items() if digest != plain[name]} >= expected
    assert digests["draw"] == plain["draw"] or mask == "C library"


@V3
def test_portable_numbers_are_one_whatever_was_set_before() -> None:
    first = probed(portable_settings())
    assert first[0] == "portable"
    others = masked({**NO_AVX512, **NO_FMA}) | portable_settings()
    assert probed(others) == first
    broken = portable_settings() | {"OPENBLAS_CORETYPE": "Zen"}
    assert probed(broken)[0] == "default", "a process that was started otherwise does not say that it is portable"


@V3
def test_what_is_set_in_a_process_that_runs_is_too_late() -> None:
    code = f"import os\nos.environ.update({portable_settings()!r})\n"
    assert probed({}, code)[0] == "default"
    code = "import os\nos.environ['OPENBLAS_CORETYPE'] = 'Zen'\n"
    assert probed(portable_settings(), code)[0] == "portable"


def test_other_tunables_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=2:glibc.cpu.hwcaps=-FMA:glibc.malloc.check=0")
    tunables = portable_settings()["GLIBC_TUNABLES"].split(":")
    assert tunables[:2] == ["glibc.malloc.arena_max=2", "glibc.malloc.check=0"]
    assert len(tunables) == 3
    assert "FMA" not in tunables[2]
    assert "-AVX512F" in tunables[2]


@pytest.fixture
def fresh() -> Iterator[None]:
    """What is remembered of this machine is forgotten before and afterwards."""
    numbers._lacking.cache_clear()
    yield
    numbers._lacking.cache_clear()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("name", "value", "words"), [
    ("_flags", lambda: {*FEATURES, *numbers.FLAGS_V3} - {"fma", "movbe"}, "below x86-64-v3: it lacks fma, movbe"),
    ("platform.machine", lambda: "aarch64", "this is linux on aarch64"),
    ("os.confstr", lambda _: "musl 1.2", "the C library is not glibc"),
    ("_beyond_v3", lambda _: ["X86_V4"], "numpy was built with X86_V4"),
])  # fmt: skip
@V3
def test_a_machine_that_cannot_is_refused_in_one_line(
    name: str, value: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"cluster.numbers.{name}", value)
    with pytest.raises(Refused, match=words) as caught:
        check_numbers("portable")
    assert not isinstance(caught.value, OtherSettings), "no restart helps"


@V3
def test_a_process_is_restarted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "numbers_of_process", lambda: "default")
    with pytest.raises(OtherSettings, match="started without the settings"):
        check_numbers("portable")
    monkeypatch.setenv(numbers.RESTARTED, str(os.getpid()))
    with pytest.raises(Refused, match="do not stay") as caught:
        check_numbers("portable")
    assert not isinstance(caught.value, OtherSettings)
    check_numbers("default")
    check_numbers(None)
    with pytest.raises(Refused, match="numbers = 'exact'"):
        check_numbers("exact")


@V3
def test_one_switch_that_lacks_makes_numbers_that_are_not_portable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (None, *portable_settings()):
        started = {key: value for key, value in portable_settings().items() if key != name}
        monkeypatch.setattr(numbers, "_started_with", lambda started=started: started)
        empty = name is not None and not portable_settings()[name]
        assert (numbers.numbers_of_process() == "portable") == (name is None or empty)


def test_a_restart_sets_every_switch_and_keeps_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *given: called.append(given))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "experiments", "run"])
    numbers.restart()  # type: ignore[func-returns-value]
    ((program, arguments, settings),) = called
    assert arguments == [program, "-m", "experiments", "run"]
    assert settings.items() >= (portable_settings() | {numbers.RESTARTED: str(os.getpid())}).items()


@V3
def test_members_get_the_switches_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in numbers.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    assert set(member_environment().values()) == {"1"}
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0:glibc.cpu.hwcaps=-FMA")
    assert member_environment()["GLIBC_TUNABLES"].endswith("-FMA")
    words = Ssh(hosts=("a",), python="/p")._remote_python.split()
    assert words[0] == "env"
    assert {"OPENBLAS_CORETYPE=Zen", "OPENBLAS_NUM_THREADS=1"} < set(words)
    monkeypatch.setattr(numbers, "numbers_of_process", lambda: "portable")
    assert member_environment() == {**dict.fromkeys(member_environment(), "1"), **portable_settings()}
    words = Ssh(hosts=("a",), python="/p")._remote_python.split()
    assert {f"{name}={value}" for name, value in portable_settings().items()} < set(words)
    monkeypatch.setattr(sys, "executable", "/my envs/它/python")  # a shell there takes the command apart
    assert shlex.split(Ssh(hosts=("a",))._remote_python)[-1] == sys.executable


@V3
def test_jobs_export_the_switches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="JOBS ARE NOT TESTED HERE: dask-jobqueue is not installed")
    monkeypatch.setattr(numbers, "numbers_of_process", lambda: "portable")
    with starting(str(tmp_path)):
        jobs = Slurm().cluster(written(tmp_path)[0])
    lines = [line for line in str(jobs.job_script()).splitlines() if line.startswith("export ")]
    jobs.close()
    done = subprocess.run(["sh", "-c", "\n".join([*lines, "env"])], env={}, capture_output=True, text=True, check=True)
    assert {f"{name}={value}" for name, value in member_environment().items()} < set(done.stdout.splitlines())
