"""NumPy's arrays, and with them the memory's bandwidth: what reading and copying take with all threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import tensor_workloads

LABEL = "NumPy"
PACKAGES = ("numpy",)


def import_it() -> None:
    pass


def calls(settings: dict) -> dict:
    threads = settings["threads"]
    pool = ThreadPoolExecutor(threads)
    ceilings = {}
    for label, size in tensor_workloads.SIZES.items():
        # Written once, so that no page is touched for the first time.
        source, target = (np.split(tensor_workloads.drawn(size), threads) for _ in range(2))

        def read(source: list[np.ndarray] = source) -> None:
            list(pool.map(np.max, source))

        def copy(source: list[np.ndarray] = source, target: list[np.ndarray] = target) -> None:
            list(pool.map(np.copyto, target, source))

        ceilings |= {f"reading, {label}": read, f"copying, {label}": copy}
    once = {label: size for label, size in tensor_workloads.SIZES.items() if label == "128 MiB"}
    return tensor_workloads.elementwise(lambda array: array, np, None, once) | ceilings
