"""Prompts as texts."""

from __future__ import annotations

from typing import Any


def prompts(inputs: Any, tokenizer: Any) -> Any:
    """What ``generate`` takes for a text or several, padded on the left; anything else as it is."""
    rows = [inputs] if isinstance(inputs, str) else inputs
    if isinstance(rows, (list, tuple)) and rows and isinstance(rows[0], str):
        return tokenizer(list(rows), return_tensors="np", padding=len(rows) > 1, padding_side="left")
    return inputs
