"""trustformers on a GPU."""

import gpu_workloads

LABEL = "trustformers"
PACKAGES = ("trustformers", "numpy")


def import_it() -> None:
    import trustformers  # noqa: F401


def prepare(settings: dict) -> None:
    runs(settings).save(settings["fresh"])


def calls(settings: dict) -> dict:
    return runs(settings).calls()


def fresh(settings: dict) -> dict:
    return runs(settings).fresh()


def runs(settings: dict) -> gpu_workloads.Runs:
    import trustformers
    from trustformers import training

    class Tensors:
        tensor = staticmethod(trustformers.as_tensor)
        optimizer = staticmethod(training.AdamW)
        no_grad = trustformers.no_grad
        bfloat16 = "bfloat16"
        synchronize = staticmethod(trustformers.cuda.synchronize)

    return gpu_workloads.Runs(trustformers, settings, Tensors)
