"""The pipelines of trustformers."""

import packaged
import pipeline_workloads

LABEL = "trustformers"
PACKAGES = ("trustformers", "numpy")


def import_it() -> None:
    import trustformers  # noqa: F401


def calls(settings: dict) -> dict:
    import trustformers

    file = packaged.smollm2()
    opened = (
        trustformers.AutoModelForCausalLM.from_pretrained(file),
        trustformers.AutoTokenizer.from_pretrained(file),
    )
    return pipeline_workloads.calls(trustformers, settings, opened)
