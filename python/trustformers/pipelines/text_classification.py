"""Texts sorted by labels."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..tokenizers.strategies import ExplicitEnum
from .base import Pipeline


class ClassificationFunction(ExplicitEnum):
    """What makes scores of a model's numbers."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    NONE = "none"


class TextClassificationPipeline(Pipeline):
    """Labels for texts or pairs of texts, with a model for sequence classification.

    Equals transformers' ``TextClassificationPipeline``: a text gives ``[{"label": ..., "score": ...}]``, a
    list of texts a list of such dictionaries; with ``top_k`` each text gives a list, the highest score first.

    :param top_k: how many labels; ``None`` for all.
    :param function_to_apply: "softmax", "sigmoid" or "none"; if it is left out, what the model's
        ``problem_type`` and its number of labels ask for.
    :param return_all_scores: the name of transformers 4 for ``top_k=None``.
    :param kwargs: others are for the tokenizer: ``truncation=True``.
    """

    _load_tokenizer = True
    _padding_side = "right"
    _tasks = ("SequenceClassification",)

    def _sanitize_parameters(
        self,
        return_all_scores: bool | None = None,
        function_to_apply: Any = None,
        top_k: Any = "",
        **tokenizer_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        postprocess: dict[str, Any] = {}
        if isinstance(top_k, int) or top_k is None:
            postprocess |= {"top_k": top_k, "_legacy": False}
        elif return_all_scores is not None:
            warnings.warn(
                "`return_all_scores` is deprecated, use `top_k=None` instead of `return_all_scores=True`, or "
                "`top_k=1` instead of `return_all_scores=False`.",
                DeprecationWarning,
                stacklevel=3,
            )
            # All of them come in the order of the model's labels, as in transformers 4.
            postprocess["top_k"] = None if return_all_scores else 1
        if function_to_apply is not None:
            name = function_to_apply.lower() if isinstance(function_to_apply, str) else function_to_apply
            postprocess["function_to_apply"] = ClassificationFunction(name)
        return tokenizer_kwargs, {}, postprocess

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Label a text, a pair ``{"text": ..., "text_pair": ...}``, or a list or a generator of these."""
        result = super().__call__(inputs, *args, **kwargs)
        # One text alone gives a list too, unless it was said how many labels there shall be.
        return [result] if isinstance(inputs, str) and "top_k" not in kwargs else result

    def preprocess(self, inputs: Any, **tokenizer_kwargs: Any) -> Any:
        """Encode a text or a pair of texts."""
        options = {"return_tensors": self.framework, **tokenizer_kwargs}
        if isinstance(inputs, dict):
            return self.tokenizer(**inputs, **options)
        if isinstance(inputs, list):
            if len(inputs) == 1 and isinstance(inputs[0], list) and len(inputs[0]) == 2:
                return self.tokenizer(text=inputs[0][0], text_pair=inputs[0][1], **options)
            raise ValueError(
                "The pipeline received invalid inputs, if you are trying to send text pairs, you can try to "
                'send a dictionary `{"text": "My text", "text_pair": "My pair"}`.'
            )
        return self.tokenizer(inputs, **options)

    def _forward(self, model_inputs: Any, **forward_params: Any) -> Any:
        return self.model(**model_inputs, **{**self._no_cache, **forward_params})

    def postprocess(
        self,
        model_outputs: Any,
        function_to_apply: ClassificationFunction | None = None,
        top_k: int | None = 1,
        _legacy: bool = True,
    ) -> Any:
        """Make labels and scores of logits (1, labels)."""
        config = self.model.config
        logits = model_outputs["logits"][0].float().numpy()
        scores = apply(function_to_apply or self._function(), logits)
        if top_k == 1 and _legacy:
            best = int(scores.argmax())
            return {"label": config.id2label[best], "score": scores[best].item()}
        labels = [{"label": config.id2label[i], "score": score.item()} for i, score in enumerate(scores)]
        if not _legacy:
            labels.sort(key=lambda one: one["score"], reverse=True)
        return labels if _legacy or top_k is None else labels[:top_k]

    def _function(self) -> ClassificationFunction:
        """The function that fits the model."""
        config = self.model.config
        problem = getattr(config, "problem_type", None)
        if problem == "regression":
            return ClassificationFunction.NONE
        if problem == "multi_label_classification" or config.num_labels == 1:
            return ClassificationFunction.SIGMOID
        return ClassificationFunction.SOFTMAX


def apply(function: ClassificationFunction, logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scores of logits (..., labels)."""
    if function is ClassificationFunction.SIGMOID:
        scores: np.ndarray[Any, Any] = 1.0 / (1.0 + np.exp(-logits))
        return scores
    return softmax(logits) if function is ClassificationFunction.SOFTMAX else logits


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Probabilities of logits, along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray[Any, Any] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
