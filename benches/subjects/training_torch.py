"""Trainings by transformers and torch, adapters by peft where it is installed."""

import training_workloads

LABEL = "transformers + torch"
PACKAGES = ("transformers", "torch", "accelerate")


def import_it() -> None:
    import transformers  # noqa: F401


def trainings(settings: dict) -> training_workloads.Trainings:
    import torch
    import transformers

    try:
        import peft
    except ImportError:
        peft = None
    torch.set_num_threads(settings["threads"])

    class Steps:
        tensor = staticmethod(torch.from_numpy)

        @staticmethod
        def optimizer(parameters: list) -> torch.optim.Optimizer:
            return torch.optim.AdamW(parameters, fused=True)  # as its Trainer does

    return training_workloads.Trainings(transformers, settings, Steps, peft)


def calls(settings: dict) -> dict:
    return trainings(settings).calls()
