"""NumPy's arrays, and with them the memory's bandwidth."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import tensor_workloads

LABEL = "NumPy"
PACKAGES = ("numpy",)


def import_it() -> None:
    pass


def calls(settings: dict) -> dict:
    source, target = np.ones(tensor_workloads.LARGE, np.float32), np.zeros(tensor_workloads.LARGE, np.float32)
    threads = settings["threads"]
    pool = ThreadPoolExecutor(threads)
    parts = list(zip(np.split(target, threads), np.split(source, threads), strict=True))

    def copy() -> None:
        list(pool.map(lambda part: np.copyto(*part), parts))

    return tensor_workloads.elementwise(lambda array: array, np) | {"copy, large": copy}
