"""The pipelines of transformers."""

from pathlib import Path

import packaged
import pipeline_workloads

LABEL = "transformers + torch"
PACKAGES = ("transformers", "torch", "tokenizers")


def import_it() -> None:
    import transformers  # noqa: F401


def calls(settings: dict) -> dict:
    import torch
    import transformers

    torch.set_num_threads(settings["threads"])
    torch.set_grad_enabled(False)
    file = Path(packaged.smollm2())
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    opened = (
        transformers.AutoModelForCausalLM.from_pretrained(**place),
        transformers.AutoTokenizer.from_pretrained(**place),
    )
    return pipeline_workloads.calls(transformers, settings, opened)
