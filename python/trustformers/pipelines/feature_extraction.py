"""Texts as numbers: a model's hidden states, or one vector for each text."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._engine import Tensor
from .base import Pipeline, given

#: How a vector is made of the hidden states of a text.
POOLINGS = ("mean", "cls", "last")


class FeatureExtractionPipeline(Pipeline):
    """What a model makes of texts: its hidden states, or with ``pooling`` one vector for each text.

    Equals transformers' ``FeatureExtractionPipeline``: a text gives a nested list (1, tokens, hidden). With
    ``pooling`` it gives a list (hidden), which with ``normalize=True`` is the embedding that
    sentence-transformers makes of it with such a pooling.

    :param pooling: "mean" of all tokens, "cls" for the first, "last" for the last one.
    :param normalize: whether such a vector is made one of length 1.
    :param return_tensors: ``True`` or "tensor" for a :class:`Tensor`, "np" for an array, "pt" for PyTorch's
        tensor, instead of lists.
    :param tokenize_kwargs: for the tokenizer; ``truncation`` may be given by itself.
    """

    _load_tokenizer = True
    _padding_side = "right"

    def _sanitize_parameters(
        self,
        truncation: Any = None,
        tokenize_kwargs: dict[str, Any] | None = None,
        return_tensors: Any = None,
        pooling: str | None = None,
        normalize: bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess = dict(tokenize_kwargs or {})
        if truncation is not None:
            if "truncation" in preprocess:
                raise ValueError(
                    "truncation parameter defined twice (given as keyword argument as well as in "
                    "tokenize_kwargs)"
                )
            preprocess["truncation"] = truncation
        if pooling is not None and pooling not in POOLINGS:
            raise ValueError(f"pooling={pooling!r} is not one of {', '.join(POOLINGS)}")
        return preprocess, {}, given(return_tensors=return_tensors, pooling=pooling, normalize=normalize)

    def preprocess(self, inputs: Any, **tokenize_kwargs: Any) -> Any:
        """Encode a text."""
        encoded = self.tokenizer(inputs, return_tensors=self.framework, **tokenize_kwargs)
        encoded["tokens"] = encoded["input_ids"].shape[1]
        return encoded

    def _forward(self, model_inputs: Any) -> Any:
        inputs = dict(model_inputs)
        tokens = inputs.pop("tokens")
        mask = inputs.get("attention_mask")
        # The first output is the hidden states, or the logits of a model with a head.
        return {"features": self.model(**inputs)[0], "attention_mask": mask, "tokens": tokens}

    def postprocess(
        self,
        model_outputs: Any,
        return_tensors: Any = False,
        pooling: str | None = None,
        normalize: bool = False,
    ) -> Any:
        """Make lists, a tensor or one vector of the hidden states (1, tokens, hidden)."""
        features, mask = model_outputs["features"], model_outputs["attention_mask"]
        # Rows that only a longer neighbour in the batch asked for are not the text's.
        if features.ndim > 2:
            kept = slice(model_outputs["tokens"])
            features, mask = features[:, kept], None if mask is None else mask[:, kept]
        if pooling is not None:
            features = pooled(features, mask, pooling, normalize)[0]
        if return_tensors in (False, None):
            return features.tolist()
        kinds = {"np": features.numpy, "pt": features.to_torch}
        return kinds[return_tensors]() if return_tensors in kinds else features


def pooled(states: Any, mask: Any, pooling: str, normalize: bool) -> Any:
    """One vector (rows, hidden) for each text of hidden states (rows, tokens, hidden).

    :param mask: which tokens count (rows, tokens); ``None`` for all.
    """
    values = states.float().numpy()
    shown = np.ones(values.shape[:2], dtype=bool) if mask is None else mask.numpy() != 0
    if pooling == "mean":
        sums = np.einsum("rth,rt->rh", values, shown.astype(values.dtype))
        vectors = sums / np.maximum(shown.sum(axis=1, keepdims=True), 1).astype(values.dtype)
    else:
        first, last = shown.argmax(axis=1), shown.shape[1] - 1 - shown[:, ::-1].argmax(axis=1)
        vectors = values[np.arange(len(values)), first if pooling == "cls" else last]
    if normalize:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return Tensor.from_numpy(np.ascontiguousarray(vectors))
