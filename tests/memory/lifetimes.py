"""Memory that NumPy, DLPack, files and tensors lend each other, with either side dropped first.

`make memcheck` runs this under valgrind, with TRUSTFORMERS_CHECK_MEMORY set: memory that is given back is
overwritten and not kept for reuse, so whoever reads it afterwards is caught by valgrind, or by what is
compared here. With `--broken` it reads memory that was given back, which valgrind must find: the check can
fail.
"""

import ctypes
import gc
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import trustformers._engine as tf

SIZE = 3000
VALUES = np.arange(SIZE, dtype=np.float32)


def array() -> np.ndarray:
    return VALUES.copy()


def tensor() -> tf.Tensor:
    return tf.tensor(array())


class Old:
    """A lender from before DLPack 1."""

    def __init__(self, lender: np.ndarray) -> None:
        self.lender = lender

    def __dlpack__(self) -> object:
        return self.lender.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.lender.__dlpack_device__()


def frozen() -> np.ndarray:
    result = array()
    result.flags.writeable = False
    return result


def mapped(folder: Path) -> np.ndarray:
    array().tofile(folder / "array")
    return np.memmap(folder / "array", np.float32)


def file(folder: Path) -> tf.Tensor:
    tf.save_file({"x": array()}, folder / "x.safetensors")
    return tf.load_file(folder / "x.safetensors")["x"]


def loans(folder: Path) -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], Any]]]:
    """Who lends, and how it is borrowed; both have the values in them."""
    views: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "a view": lambda t: t.view(30, 100).T.reshape(-1).reshape(100, 30).T.reshape(-1),
        "a view of a view": lambda t: t.view(30, 100)[:][...].view(-1),
        "detached": lambda t: t.detach(),
        "an array": lambda t: t.numpy(),
        "np.asarray": np.asarray,
        "a memoryview": memoryview,
        "np.from_dlpack": np.from_dlpack,
        "a capsule": lambda t: tf.Tensor.from_dlpack(t.__dlpack__(max_version=(1, 0))),
        "an old capsule": lambda t: tf.Tensor.from_dlpack(t.__dlpack__(max_version=None)),
        "an array of an array": lambda t: t.numpy().reshape(30, 100)[:, ::-1][:, ::-1].reshape(-1),
        "there and back": lambda t: tf.Tensor.from_numpy(t.numpy()[:]).numpy()[:],
    }
    for name, borrow in views.items():
        yield f"tensor, {name}", tensor, borrow
    for name, borrow in views.items():
        yield f"tensor of an array, {name}", lambda: tf.Tensor.from_numpy(array()), borrow
    for name, lend in {"array": array, "read-only array": frozen, "mapping": lambda: mapped(folder)}.items():
        yield f"{name}, from_numpy", lend, tf.Tensor.from_numpy
        yield f"{name}, from_numpy of a slice", lend, lambda a: tf.Tensor.from_numpy(a[::-1])[:].flip(0)
    yield "array, from_dlpack", array, tf.Tensor.from_dlpack
    yield "array, old from_dlpack", array, lambda a: tf.Tensor.from_dlpack(Old(a))
    yield "file, a view", lambda: file(folder), lambda t: t[:]
    yield "file, an array", lambda: file(folder), lambda t: t.numpy()


def churn() -> None:
    """Has memory that was given back used for something else."""
    gc.collect()
    for _ in range(3):
        np.full(SIZE, -1, np.float32)
        tf.full((SIZE,), -1.0)


def check(name: str, borrowed: Any) -> None:
    np.testing.assert_array_equal(np.asarray(borrowed), VALUES, err_msg=name)


def lifetimes(folder: Path) -> int:
    count = 0
    for name, lend, borrow in loans(folder):
        lender = lend()
        borrowed = borrow(lender)
        check(name, borrowed)
        del lender
        churn()
        check(f"{name}: the lender was dropped first", borrowed)
        lender = lend()
        borrowed = borrow(lender)
        del borrowed
        churn()
        check(f"{name}: the borrower was dropped first", lender)
        # Dropped elsewhere.
        borrowed = borrow(lender)
        thread = threading.Thread(target=lambda lender=lender: churn())
        del lender
        thread.start()
        thread.join()
        check(f"{name}: dropped by another thread", borrowed)
        count += 1
    return count


def untaken_capsules() -> None:
    for version in (None, (1, 0)):
        capsule = tensor().__dlpack__(max_version=version)
        churn()
        del capsule
    churn()


def gradients() -> None:
    """What a graph has saved outlives the tensors, and goes with the graph."""
    leaf = tf.Tensor.from_numpy(array()).requires_grad_()
    small = leaf * 1e-3
    out = (small.exp() * small[:].sigmoid()).view(30, 100).softmax(-1).sum(0)
    churn()
    out.backward(tf.ones(100))
    grad = leaf.grad
    del leaf, small, out
    churn()
    assert grad is not None
    assert grad.numpy().shape == (SIZE,)
    assert not np.isnan(grad.numpy()[:80]).any()
    h = tf.Tensor.from_numpy(array()) * 1
    part = h[10:20]
    part += 1
    del h
    churn()
    np.testing.assert_array_equal(part.numpy(), VALUES[10:20] + 1)


def broken() -> None:
    lost = tensor()
    address = lost.data_ptr()
    del lost
    ctypes.string_at(address, 16)


def main() -> None:
    if "--broken" in sys.argv:
        return broken()
    with tempfile.TemporaryDirectory() as folder:
        count = lifetimes(Path(folder))
    untaken_capsules()
    gradients()
    print(f"{count} loans, each with the lender and with the borrower dropped first")


if __name__ == "__main__":
    main()
