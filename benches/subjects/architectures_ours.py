"""The architectures of trustformers."""

import architecture_workloads

LABEL = "trustformers"
PACKAGES = ("trustformers", "numpy")


def import_it() -> None:
    import trustformers  # noqa: F401


def calls(settings: dict) -> dict:
    from trustformers import AutoConfig, AutoModel

    def make(model_type: str, keywords: dict) -> object:
        return AutoModel.from_config(AutoConfig.for_model(model_type, **keywords)).eval()

    return architecture_workloads.calls(make, lambda ids: ids)
