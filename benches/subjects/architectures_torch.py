"""The architectures of transformers, with its default attention."""

import architecture_workloads

LABEL = "transformers + torch"
PACKAGES = ("transformers", "torch")


def import_it() -> None:
    import transformers  # noqa: F401


def calls(settings: dict) -> dict:
    import torch
    from transformers import AutoConfig, AutoModel

    torch.set_num_threads(settings["threads"])
    torch.set_grad_enabled(False)

    def make(model_type: str, keywords: dict) -> object:
        return AutoModel.from_config(AutoConfig.for_model(model_type, **keywords)).eval()

    return architecture_workloads.calls(make, torch.from_numpy)
