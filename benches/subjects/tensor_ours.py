"""The tensors of trustformers."""

import numpy as np

import tensor_workloads

LABEL = "trustformers"
PACKAGES = ("trustformers", "numpy")


def import_it() -> None:
    import trustformers._engine  # noqa: F401


def calls(settings: dict) -> dict:
    import trustformers._engine as tf

    lent = np.zeros(1 << 28, np.float32)
    borrow = tensor_workloads.repeated(lambda: tf.Tensor.from_numpy(lent).to_numpy())
    return (
        tensor_workloads.elementwise(tf.Tensor.from_numpy, tf, tf.Tensor.gelu, tensor_workloads.SIZES)
        | tensor_workloads.networks(tf.Tensor.from_numpy, tf, tf.softmax)
        | {"from_numpy and to_numpy of 1 GiB": borrow}
    )
