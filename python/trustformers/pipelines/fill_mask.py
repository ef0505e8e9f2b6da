"""What a masked word may be."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from .base import Pipeline, PipelineException
from .text_classification import softmax

logger = logging.getLogger(__name__)


class FillMaskPipeline(Pipeline):
    """The likeliest tokens for masks in texts, with a masked language model.

    Equals transformers' ``FillMaskPipeline``: a text gives a list of ``{"score", "token", "token_str",
    "sequence"}``, or for several masks a list of such lists.

    :param top_k: how many tokens for each mask: 5.
    :param targets: the only tokens to choose from, as text. Of one that is no token its first one is taken.
    :param tokenizer_kwargs: for the tokenizer: ``{"truncation": True}``.
    :raises PipelineException: for a text without a mask.
    """

    _load_tokenizer = True
    _padding_side = "right"
    _tasks = ("MaskedLM", "PreTraining")

    def _sanitize_parameters(
        self, top_k: int | None = None, targets: Any = None, tokenizer_kwargs: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess = {} if tokenizer_kwargs is None else {"tokenizer_kwargs": tokenizer_kwargs}
        postprocess: dict[str, Any] = {}
        if targets is not None:
            postprocess["target_ids"] = self.get_target_ids(targets)
        if top_k is not None:
            postprocess["top_k"] = top_k
        if self.tokenizer.mask_token_id is None:
            raise self._exception("The tokenizer does not define a `mask_token`.")
        return preprocess, {}, postprocess

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Fill the masks of a text, a list or a generator of texts."""
        outputs = super().__call__(inputs, *args, **kwargs)
        return outputs[0] if isinstance(inputs, list) and len(inputs) == 1 else outputs

    def preprocess(self, inputs: Any, tokenizer_kwargs: dict[str, Any] | None = None) -> Any:
        """Encode a text, which must have a mask."""
        encoded = self.tokenizer(inputs, return_tensors=self.framework, **(tokenizer_kwargs or {}))
        for row in encoded["input_ids"].numpy():
            if self.tokenizer.mask_token_id not in row:
                raise self._exception(f"No mask_token ({self.tokenizer.mask_token}) found on the input")
        return encoded

    def _forward(self, model_inputs: Any) -> Any:
        outputs = self.model(**model_inputs)
        # Only the masks are of interest, and their vocabularies are large.
        return {"logits": outputs["logits"], "input_ids": model_inputs["input_ids"]}

    def postprocess(
        self, model_outputs: Any, top_k: int = 5, target_ids: np.ndarray[Any, Any] | None = None
    ) -> Any:
        """Make the likeliest tokens of logits (1, tokens, vocabulary)."""
        ids = model_outputs["input_ids"][0].numpy()
        places = np.flatnonzero(ids == self.tokenizer.mask_token_id)
        probabilities = softmax(model_outputs["logits"][0].float().numpy()[places])
        candidates = np.arange(probabilities.shape[-1]) if target_ids is None else target_ids
        probabilities = probabilities[:, candidates]
        if not isinstance(top_k, (int, np.integer)) or top_k < 0:
            raise ValueError(f"top_k must be a number of tokens, at least 0, got {top_k!r}")
        if top_k > len(candidates) and target_ids is None:
            raise RuntimeError(f"top_k={top_k} is more than the {len(candidates)} tokens of the vocabulary")
        found = []
        for place, scores in zip(places, probabilities, strict=True):
            propositions = []
            for best in _best(scores, top_k):
                filled, token = ids.copy(), int(candidates[best])
                filled[place] = token
                filled = filled[filled != self.tokenizer.pad_token_id]
                # Other masks are special tokens too, and shall be seen.
                sequence = self.tokenizer.decode(filled, skip_special_tokens=len(places) == 1)
                word = self.tokenizer.decode([token])
                score = scores[best].item()
                propositions.append({"score": score, "token": token, "token_str": word, "sequence": sequence})
            found.append(propositions)
        return found[0] if len(found) == 1 else found

    def get_target_ids(self, targets: str | list[str]) -> np.ndarray[Any, Any]:
        """The ids of tokens that are given as text.

        :raises ValueError: if there are none.
        """
        vocab = self.tokenizer.get_vocab()
        ids: dict[int, None] = {}
        for target in [targets] if isinstance(targets, str) else targets:
            index = vocab.get(target)
            if index is None:
                pieces = self.tokenizer.encode(
                    target, add_special_tokens=False, max_length=1, truncation=True
                )
                if not pieces:
                    logger.warning(
                        "The specified target token `%s` does not exist in the model vocabulary. We cannot "
                        "replace it with anything meaningful, ignoring it",
                        target,
                    )
                    continue
                index = pieces[0]
                logger.warning(
                    "The specified target token `%s` does not exist in the model vocabulary. Replacing with "
                    "`%s`.",
                    target,
                    self.tokenizer.convert_ids_to_tokens(index),
                )
            ids[index] = None
        if not ids:
            raise ValueError("At least one target must be provided when passed.")
        return np.array(list(ids))

    def _exception(self, reason: str) -> PipelineException:
        return PipelineException("fill-mask", self.model.base_model_prefix, reason)


def _best(scores: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """The places of the highest scores, the highest first."""
    count = min(count, len(scores))
    if count == 0:
        return np.empty(0, dtype=np.int64)
    highest = np.argpartition(-scores, count - 1)[:count]
    return highest[np.argsort(-scores[highest], kind="stable")]
