"""How many threads compute, and with which instructions."""

import os
import subprocess
import sys

import pytest

import trustformers

LEVELS = ("portable", "avx2", "avx512", "vnni", "bf16")


def asked(expression: str, **environment: str) -> str:
    """What a process of its own, with these variables, makes of an expression."""
    code = f"import trustformers, numpy; print({expression})"
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


def test_capabilities() -> None:
    found = trustformers.cpu_capabilities()
    assert found["available"] == list(LEVELS[: len(found["available"])])
    assert found["level"] in found["available"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_lower_level_gives_the_same_numbers(level: str) -> None:
    if level not in trustformers.cpu_capabilities()["available"]:
        pytest.skip(f"this processor has no {level}")
    assert asked("trustformers.cpu_capabilities()['level']", TRUSTFORMERS_CPU=level) == level
    product = (
        "float((lambda x: trustformers.Tensor.from_numpy(x) @ trustformers.Tensor.from_numpy(x.T.copy()))"
        "(numpy.arange(2000, dtype='f').reshape(40, 50) / 1000).sum())"
    )
    lowest = float(asked(product, TRUSTFORMERS_CPU="portable"))
    assert float(asked(product, TRUSTFORMERS_CPU=level)) == pytest.approx(lowest, rel=1e-5)
