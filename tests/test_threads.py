"""How many threads compute, and with which instructions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trustformers

#: Those that this processor has, lowest first.
LEVELS: list[str] = trustformers.cpu_capabilities()["available"]


def asked(expression: str, before: str = "", **environment: str) -> str:
    """What a process of its own, with these variables, makes of an expression behind some statements."""
    code = f"import trustformers, numpy\n{before}\nprint({expression})"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return result.stdout.strip()


def test_the_number_of_threads() -> None:
    before = trustformers.get_num_threads()
    try:
        trustformers.set_num_threads(1)
        assert trustformers.get_num_threads() == 1
        assert trustformers.cpu_capabilities()["threads"] == 1
        with pytest.raises(ValueError, match="at least 1"):
            trustformers.set_num_threads(0)
        assert trustformers.get_num_threads() == 1
    finally:
        trustformers.set_num_threads(before)


def test_the_environment_says_it_too() -> None:
    count = "trustformers.get_num_threads()"
    assert asked(count, OMP_NUM_THREADS="3", TRUSTFORMERS_NUM_THREADS="") == "3"
    assert asked(count, OMP_NUM_THREADS="3", TRUSTFORMERS_NUM_THREADS="5") == "5"


@pytest.mark.parametrize("version", [1, 2])
def test_a_quota_of_the_control_group_is_kept(version: int, tmp_path: Path) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("with one processor there is nothing to be kept from")
    group = tmp_path / "sys" / ("cpu/group" if version == 1 else "group")
    group.mkdir(parents=True)
    if version == 1:
        (tmp_path / "cgroup").write_text("3:cpu,cpuacct:/group\n")
        (group / "cpu.cfs_quota_us").write_text("100000\n")
        (group / "cpu.cfs_period_us").write_text("100000\n")
    else:
        (tmp_path / "cgroup").write_text("0::/group\n")
        (group / "cgroup.controllers").write_text("cpu\n")
        (group / "cpu.max").write_text("100000 100000\n")
    # Only a process whose files the system seems to be sees these.
    mounts = f"mount --bind {tmp_path}/cgroup /proc/$$/cgroup && mount --bind {tmp_path}/sys /sys/fs/cgroup"
    within = ["unshare", "-m", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*within, mounts], capture_output=True).returncode:
        pytest.skip("this process may not mount anything")
    code = "import trustformers; print(trustformers.get_num_threads())"
    command = [*within, f'{mounts} && exec "$0" -c "{code}"', sys.executable]
    unsaid = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    result = subprocess.run(command, env=unsaid, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "1\n"


#: The threads of ours that a process has.
HELPERS = """
import contextlib, os, threading, time

def now():
    count = 0
    for task in os.listdir("/proc/self/task"):
        # It may have ended since.
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/comm") as comm:
            count += comm.read().startswith("trustformers")
    return count

# Once they are so many, or will not be: threads name themselves, and end, a little later.
def helpers(wanted):
    until = time.monotonic() + 10
    while (count := now()) != wanted and time.monotonic() < until:
        time.sleep(0.01)
    return count

def product(size):
    return trustformers.ones(size, size) @ trustformers.ones(size, size)
"""
linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")


@linux
def test_threads_are_started_by_the_first_large_operation() -> None:
    small = """
sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=99)
model = trustformers.BertModel(trustformers.BertConfig(**sizes), seed=1).eval()
model(numpy.ones((1, 8), int))
product(8)
counts = [helpers(0)]
product(512)
"""
    assert asked("[*counts, helpers(2)]", HELPERS + small, TRUSTFORMERS_NUM_THREADS="3") == "[0, 2]"


@linux
def test_all_callers_share_one_team() -> None:
    work = """
def work():
    for _ in range(20):
        product(300)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
seen = []
while any(thread.is_alive() for thread in threads):
    seen.append(now())
    time.sleep(0.001)
seen.append(helpers(2))
"""
    assert asked("max(seen)", HELPERS + work, TRUSTFORMERS_NUM_THREADS="3") == "2"


@linux
def test_another_number_of_threads_is_another_team() -> None:
    work = """
product(512)
counts = [helpers(3)]
trustformers.set_num_threads(2)
product(512)
"""
    # Those that are no longer needed end by themselves.
    assert asked("[*counts, helpers(1)]", HELPERS + work, TRUSTFORMERS_NUM_THREADS="4") == "[3, 1]"


def test_capabilities() -> None:
    found = trustformers.cpu_capabilities()
    assert found["available"][0] == "portable"
    assert len(set(found["available"])) == len(found["available"])
    assert found["level"] in found["available"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_lower_level_gives_the_same_numbers(level: str) -> None:
    assert asked("trustformers.cpu_capabilities()['level']", TRUSTFORMERS_CPU=level) == level
    product = (
        "float((lambda x: trustformers.Tensor.from_numpy(x) @ trustformers.Tensor.from_numpy(x.T.copy()))"
        "(numpy.arange(2000, dtype='f').reshape(40, 50) / 1000).sum())"
    )
    lowest = float(asked(product, TRUSTFORMERS_CPU="portable"))
    assert float(asked(product, TRUSTFORMERS_CPU=level)) == pytest.approx(lowest, rel=1e-5)
