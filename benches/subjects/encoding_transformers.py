"""The tokenizers of transformers."""

import encoding_workloads

LABEL = "transformers"
PACKAGES = ("transformers", "tokenizers")


def import_it() -> None:
    from transformers import AutoTokenizer  # noqa: F401


def calls(settings: dict) -> dict:
    from transformers import AutoTokenizer

    return encoding_workloads.calls(AutoTokenizer)
