"""llama.cpp, beside all peers."""

from collections.abc import Callable
from typing import Any

from peer_workloads import writing
from subjects import generation_llama_cpp

LABEL = generation_llama_cpp.LABEL
PACKAGES = generation_llama_cpp.PACKAGES
import_it = generation_llama_cpp.import_it


def calls(settings: dict) -> dict[str, Callable[[], Any]]:
    return writing(generation_llama_cpp.calls(settings))
