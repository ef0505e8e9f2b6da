"""transformers and torch on a GPU: fused attention and a fused optimizer, as they are."""

import gpu_workloads

LABEL = "transformers + torch"
PACKAGES = ("transformers", "torch")


def import_it() -> None:
    import transformers  # noqa: F401


def calls(settings: dict) -> dict:
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

    return gpu_workloads.Runs(transformers, settings, Tensors).calls()
