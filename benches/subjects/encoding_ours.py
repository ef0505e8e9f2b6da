"""The tokenizers of trustformers."""

import encoding_workloads

LABEL = "trustformers"
PACKAGES = ("trustformers",)


def import_it() -> None:
    from trustformers import AutoTokenizer  # noqa: F401


def calls(settings: dict) -> dict:
    from trustformers import AutoTokenizer

    return encoding_workloads.calls(AutoTokenizer)
