"""Texts sorted by labels that no model was trained on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from .base import ChunkPipeline
from .text_classification import softmax

logger = logging.getLogger(__name__)


class ZeroShotClassificationPipeline(ChunkPipeline):
    """Labels of the caller's for texts, with a model that says whether a text entails another.

    Equals transformers' ``ZeroShotClassificationPipeline``: a text gives ``{"sequence", "labels",
    "scores"}``, the likeliest label first. The labels of a text run together, up to eight at a time unless
    ``batch_size`` says otherwise.

    :param candidate_labels: the labels, in a list, or in a text with commas.
    :param hypothesis_template: what is said of the text, with ``{}`` for the label.
    :param multi_label: whether several labels may be true: then each has a probability of its own.
    """

    _load_tokenizer = True
    _padding_side = "right"
    _tasks = ("SequenceClassification",)
    _default_batch_size = 8

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.entailment_id == -1:
            logger.warning(
                "Failed to determine 'entailment' label id from the label2id mapping in the model config. "
                "Setting to -1. Define a descriptive label2id mapping in the model config to ensure correct "
                "outputs."
            )

    @property
    def entailment_id(self) -> int:
        """The number of the label that says that the text entails the other; -1 for the last."""
        labels: dict[str, int] = self.model.config.label2id
        found = (index for label, index in labels.items() if label.lower().startswith("entail"))
        return next(found, -1)

    def _sanitize_parameters(
        self,
        candidate_labels: Any = None,
        hypothesis_template: str | None = None,
        multi_label: bool | None = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if (old := kwargs.pop("multi_class", None)) is not None:
            warnings.warn(
                "`multi_class` is deprecated, it is called `multi_label` now.",
                DeprecationWarning,
                stacklevel=3,
            )
            multi_label = old
        preprocess: dict[str, Any] = {}
        if candidate_labels is not None:
            if isinstance(candidate_labels, str):
                candidate_labels = [label.strip() for label in candidate_labels.split(",") if label.strip()]
            preprocess["candidate_labels"] = candidate_labels
        if hypothesis_template is not None:
            preprocess["hypothesis_template"] = hypothesis_template
        return preprocess, {}, {} if multi_label is None else {"multi_label": multi_label}

    def __call__(self, sequences: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Label a text, a list or a generator of texts; the labels may be the second argument."""
        if len(args) > 1 or (args and "candidate_labels" in kwargs):
            raise ValueError(f"Unable to understand extra arguments {args}")
        if args:
            kwargs["candidate_labels"] = args[0]
        return super().__call__(sequences, **kwargs)

    def preprocess(
        self,
        sequence: Any,
        candidate_labels: Any = None,
        hypothesis_template: str = "This example is {}.",
    ) -> Iterator[dict[str, Any]]:
        """Encode a text with what each label says of it."""
        if candidate_labels is None:
            raise TypeError("candidate_labels= must be given: the labels to choose from")
        if len(candidate_labels) == 0 or len(sequence) == 0:
            raise ValueError("You must include at least one label and at least one sequence.")
        if hypothesis_template.format(candidate_labels[0]) == hypothesis_template:
            raise ValueError(
                f'The provided hypothesis_template "{hypothesis_template}" was not able to be formatted with '
                "the target labels. Make sure the passed template includes formatting syntax such as {} "
                "where the label should go."
            )
        for label in candidate_labels:
            # What the label says is never cut.
            encoded = self.tokenizer(
                sequence,
                hypothesis_template.format(label),
                return_tensors=self.framework,
                truncation="only_first",
            )
            yield {"candidate_label": label, "sequence": sequence, **encoded}

    def _forward(self, inputs: Any) -> Any:
        said = {name: inputs[name] for name in ("candidate_label", "sequence")}
        given = {name: inputs[name] for name in self.tokenizer.model_input_names}
        return {**said, "logits": self.model(**given, **self._no_cache)["logits"]}

    def postprocess(self, model_outputs: Any, multi_label: bool = False) -> dict[str, Any]:
        """Make scores of the logits (1, labels of the model) of each candidate."""
        labels = [outputs["candidate_label"] for outputs in model_outputs]
        logits = np.concatenate([outputs["logits"].float().numpy() for outputs in model_outputs])
        entailment = self.entailment_id
        if multi_label or len(labels) == 1:
            contradiction = -1 if entailment == 0 else 0
            scores = softmax(logits[:, [contradiction, entailment]])[:, 1]
        else:
            scores = softmax(logits[:, entailment])
        order = scores.argsort()[::-1]
        return {
            "sequence": model_outputs[0]["sequence"],
            "labels": [labels[index] for index in order],
            "scores": scores[order].tolist(),
        }
