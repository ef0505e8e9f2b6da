"""The tensors of PyTorch."""

import numpy as np

import tensor_workloads

LABEL = "torch"
PACKAGES = ("torch",)


def import_it() -> None:
    import torch  # noqa: F401


def calls(settings: dict) -> dict:
    import torch

    torch.set_num_threads(settings["threads"])
    lent = np.zeros(1 << 28, np.float32)
    borrow = tensor_workloads.repeated(lambda: torch.from_numpy(lent).numpy())
    functional = torch.nn.functional
    sizes = {"128 MiB": tensor_workloads.SIZES["128 MiB"]}
    return (
        tensor_workloads.elementwise(torch.from_numpy, torch, functional.gelu, sizes)
        | tensor_workloads.networks(torch.from_numpy, functional, torch.softmax)
        | {"from_numpy and to_numpy of 1 GiB": borrow}
    )
