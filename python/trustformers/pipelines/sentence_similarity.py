"""How alike texts are, and which of them answers a question best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .base import ChunkPipeline
from .feature_extraction import POOLINGS, pooled
from .text_classification import ClassificationFunction, apply

#: The keys of the two kinds of input: which one is compared, and with which others.
_COMPARED = ("source_sentence", "sentences")
_RANKED = (("query", "texts"), ("query", "documents"))


class SentenceSimilarityPipeline(ChunkPipeline):
    """Scores for pairs of texts, by a cross-encoder that reads both at once, or by their embeddings.

    ``{"source_sentence": text, "sentences": [...]}`` gives a list with a score for each sentence;
    ``{"query": text, "texts": [...]}`` the same sorted, as ``{"index", "score", "text"}``, the best first.
    A model with a head for one label is a cross-encoder and gives what sentence-transformers'
    ``CrossEncoder`` gives; a model without a head gives the cosine of the embeddings of the two texts.

    :param top_k: how many of the ranked texts: all.
    :param function_to_apply: "sigmoid" or "none", for a cross-encoder; what its configuration says if it is
        left out, and "sigmoid" if that says nothing.
    :param pooling: how an embedding is made of hidden states: "mean", "cls" or "last".
    :param kwargs: others are for the tokenizer.
    """

    _load_tokenizer = True
    _padding_side = "right"
    _tasks = ("SequenceClassification", "Base")
    _default_batch_size = 8

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        function_to_apply: Any = None,
        pooling: str | None = None,
        **tokenizer_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        postprocess: dict[str, Any] = {}
        if top_k is not None:
            postprocess["top_k"] = top_k
        if function_to_apply is not None:
            name = function_to_apply.lower() if isinstance(function_to_apply, str) else function_to_apply
            postprocess["function_to_apply"] = ClassificationFunction(name)
        if pooling is not None and pooling not in POOLINGS:
            raise ValueError(f"pooling={pooling!r} is not one of {', '.join(POOLINGS)}")
        if self._is_cross_encoder and self.model.config.num_labels != 1:
            raise ValueError(
                f"The model has {self.model.config.num_labels} labels where a similarity is one number: use "
                "the task text-classification, with pairs of texts"
            )
        return tokenizer_kwargs, {} if pooling is None else {"pooling": pooling}, postprocess

    @property
    def _is_cross_encoder(self) -> bool:
        return getattr(self.model, "_task", None) != "Base"

    def preprocess(self, inputs: Any, **tokenizer_kwargs: Any) -> Iterator[dict[str, Any]]:
        """Encode each of the pairs, or each of the texts."""
        keys = next((keys for keys in (_COMPARED, *_RANKED) if _has(inputs, keys)), None)
        if keys is None:
            raise ValueError(
                'sentence-similarity takes {"source_sentence": text, "sentences": [...]}, or '
                f'{{"query": text, "texts": [...]}} to rank them, got {_shown(inputs)}'
            )
        source, others = inputs[keys[0]], inputs[keys[1]]
        if isinstance(others, str) or len(others) == 0:
            raise ValueError(f"{keys[1]} must be a list of at least one text, got {others!r}")
        options = {"truncation": True, "return_tensors": self.framework, **tokenizer_kwargs}
        if not self._is_cross_encoder:
            yield {"text": None, **self.tokenizer(source, **options)}
        for text in others:
            pair = (source, text) if self._is_cross_encoder else (text,)
            yield {"text": text if keys in _RANKED else None, **self.tokenizer(*pair, **options)}

    def _forward(self, model_inputs: Any, pooling: str = "mean") -> Any:
        inputs = dict(model_inputs)
        text = inputs.pop("text")
        output = self.model(**inputs)[0]
        if not self._is_cross_encoder:
            output = pooled(output, inputs.get("attention_mask"), pooling, normalize=True)
        return {"output": output, "text": text}

    def postprocess(
        self,
        model_outputs: Any,
        top_k: int | None = None,
        function_to_apply: ClassificationFunction | None = None,
    ) -> Any:
        """Make scores of logits (1, 1), or of embeddings (1, hidden), of which the first is the source's."""
        values = np.concatenate([outputs["output"].float().numpy() for outputs in model_outputs])
        if self._is_cross_encoder:
            scores = apply(function_to_apply or self._function(), values[:, 0]).tolist()
        else:
            scores = (values[1:] @ values[0]).tolist()
        texts = [outputs["text"] for outputs in model_outputs[-len(scores) :]]
        if texts[0] is None:
            return scores
        ranked = sorted(range(len(scores)), key=lambda index: -scores[index])[:top_k]
        return [{"index": index, "score": scores[index], "text": texts[index]} for index in ranked]

    def _function(self) -> ClassificationFunction:
        """The function that sentence-transformers wrote into the model's configuration."""
        config = self.model.config
        said = getattr(config, "sentence_transformers", None) or {}
        older = getattr(config, "sbert_ce_default_activation_function", None)
        identity = str(said.get("activation_fn") or older).endswith("Identity")
        return ClassificationFunction.NONE if identity else ClassificationFunction.SIGMOID


def _has(inputs: Any, keys: tuple[str, str]) -> bool:
    return isinstance(inputs, Mapping) and all(key in inputs for key in keys)


def _shown(inputs: Any) -> str:
    return f"the keys {sorted(inputs)}" if isinstance(inputs, Mapping) else f"a {type(inputs).__name__}"
