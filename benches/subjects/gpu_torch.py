"""transformers and torch on a GPU: fused attention and a fused optimizer, as they are."""

import gpu_workloads

LABEL = "transformers + torch"
PACKAGES = ("transformers", "torch")


def import_it() -> None:
    import transformers  # noqa: F401


def prepare(settings: dict) -> None:
    """Fails where torch is one without CUDA."""
    import torch

    torch.zeros(1, device=settings["device"])


def calls(settings: dict) -> dict:
    return runs(settings).calls()


def fresh(settings: dict) -> dict:
    return runs(settings).fresh()


def runs(settings: dict) -> gpu_workloads.Runs:
    import torch
    import transformers

    class Tensors:
        tensor = staticmethod(torch.from_numpy)
        no_grad = torch.no_grad
        bfloat16 = torch.bfloat16
        synchronize = staticmethod(torch.cuda.synchronize)

        @staticmethod
        def optimizer(parameters: list) -> torch.optim.Optimizer:
            return torch.optim.AdamW(parameters, fused=True)  # as its Trainer does

    return gpu_workloads.Runs(transformers, settings, Tensors)
