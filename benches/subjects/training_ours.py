"""Trainings by trustformers."""

import training_workloads

LABEL = "trustformers"
PACKAGES = ("trustformers", "numpy")


def import_it() -> None:
    import trustformers  # noqa: F401


def trainings(settings: dict) -> training_workloads.Trainings:
    import trustformers
    from trustformers import peft, training

    class Steps:
        tensor = staticmethod(trustformers.as_tensor)
        optimizer = staticmethod(training.AdamW)

    return training_workloads.Trainings(trustformers, settings, Steps, peft)


def calls(settings: dict) -> dict:
    return trainings(settings).calls()
