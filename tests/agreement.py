"""How far our answer is from transformers'."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

#: Relative to the value, and for small ones to half of what values of the field usually are.
TOLERANCE = 1e-4
#: Of weights in bfloat16, which may meet rounded numbers, as torch's do.
TOLERANCE_OF_BFLOAT16 = 4e-2

#: The fields that hold something for every position, and the axis of it.
POSITIONS = {"last_hidden_state": 1, "hidden_states": 1, "start_logits": 1, "end_logits": 1, "attentions": 2}
POSITIONS |= {"cross_attentions": 2}


def worst(
    inputs: Mapping[str, np.ndarray], ours: Any, theirs: Mapping[str, Any], mask: str = "attention_mask"
) -> tuple[float, str]:
    """The greatest error of an answer and the field in which it is.

    `mask` names the argument that says which positions of the output count: what is hidden is not compared.
    """
    return max(errors(inputs, ours, theirs, mask), default=(0.0, "nothing"))


def errors(
    inputs: Mapping[str, np.ndarray], ours: Any, theirs: Mapping[str, Any], mask: str = "attention_mask"
) -> Iterator[tuple[float, str]]:
    """The error of every field of an answer, tuples layer by layer."""
    for field, expected in theirs.items():
        if isinstance(expected, tuple) and not expected:  # cross-attentions of a decoder that has none
            continue
        found = ours[field] if isinstance(ours, Mapping) else getattr(ours, field, None)
        assert found is not None, f"{field} is missing from the answer, which has {list(ours)}"
        if isinstance(expected, tuple):
            assert len(found) == len(expected), f"{field} has {len(found)} layers and not {len(expected)}"
            for layer, (one, other) in enumerate(zip(found, expected, strict=True)):
                shown = visible(inputs, field, other, mask)
                yield error(f"{field}[{layer}]", np.asarray(one), other, shown), f"{field}[{layer}]"
        else:
            yield error(field, np.asarray(found), expected, visible(inputs, field, expected, mask)), field


def error(field: str, ours: np.ndarray, theirs: np.ndarray, shown: np.ndarray) -> float:
    """The greatest relative error where a field counts."""
    assert ours.shape == theirs.shape, f"{field} has shape {ours.shape} and not {theirs.shape}"
    ours, theirs = ours[shown].astype(np.float64), theirs[shown].astype(np.float64)
    if not theirs.size:
        return 0.0
    usual = np.sqrt(np.mean(theirs**2))
    difference = np.abs(ours - theirs) / np.maximum(np.abs(theirs) + usual / 2, 1e-12)
    return float(np.nan_to_num(difference, nan=np.inf).max())


def visible(inputs: Mapping[str, np.ndarray], field: str, values: np.ndarray, mask: str) -> np.ndarray:
    """Where a field counts: everywhere, or where the mask shows its positions, the last of the mask."""
    everywhere = np.ones(values.shape, bool)
    axis = POSITIONS.get(field.removeprefix("encoder_").removeprefix("decoder_"))
    if field == "encoder_last_hidden_state" or (field == "logits" and values.ndim == 3):
        axis = 1
    shown = inputs.get("attention_mask" if field.startswith("encoder_") else mask)
    if field == "router_logits" and shown is not None and shown.ndim == 2:
        # The positions of all texts one after another.
        return everywhere & shown[:, -(len(values) // len(shown)) :].astype(bool).reshape(-1, 1)
    if axis is None or shown is None or shown.ndim != 2:
        return everywhere
    shown = shown[:, -values.shape[axis] :].astype(bool)
    others = [other for other in range(1, values.ndim) if other != axis]
    return everywhere & np.expand_dims(shown, others)
