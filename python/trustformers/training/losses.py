"""The loss of a batch, and by how many labels it is divided."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .. import _engine
from .._autocast import autocast
from ..models.arrays import to_array
from .setup import Setup

logger = logging.getLogger(__name__)


class Losses(Setup):
    """How a trainer computes losses."""

    def compute_loss_context_manager(self) -> autocast:
        """What losses are computed within: products in 16 bits, if ``bf16`` or ``fp16`` asks for them."""
        return autocast("bfloat16" if self.args.bf16 else "float16" if self.args.fp16 else None)

    def _evaluation_context(self) -> autocast:
        """What evaluations are computed within: the same, or 16 bits where a full evaluation asks for them.

        While :meth:`train` is running, an evaluation is of the model as it is trained.
        """
        args = self.args
        if self.is_in_train or not (args.bf16_full_eval or args.fp16_full_eval):
            return self.compute_loss_context_manager()
        return autocast("bfloat16" if args.bf16_full_eval else "float16")

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: float | None = None,
    ) -> Any:
        """The loss of a batch, whose arrays are tensors; to be overridden for another loss.

        It is the model's own, or ``compute_loss_func``'s, or that of smoothed labels.

        :param num_items_in_batch: the labels of all batches of this step, which a loss that is a sum is
            divided by; one that is a mean over its batch is not.
        :raises ValueError: when the model gives no loss.
        """
        labels = inputs.get("labels")
        smoothed = self.args.label_smoothing_factor > 0 and labels is not None
        if smoothed or self.compute_loss_func is not None:
            # Only an encoder-decoder that has nothing else needs them, to make the decoder's input of them.
            needed = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
            if not (needed and "decoder_input_ids" not in inputs):
                inputs = {name: value for name, value in inputs.items() if name != "labels"}
        if self.model_accepts_loss_kwargs and num_items_in_batch is not None:
            inputs = {**inputs, "num_items_in_batch": num_items_in_batch}
        outputs = model(**inputs)
        if self.compute_loss_func is not None:
            loss = self.compute_loss_func(outputs, labels, num_items_in_batch=num_items_in_batch)
        elif smoothed:
            loss = self._smoothed_loss(outputs, labels, num_items_in_batch)
        elif isinstance(outputs, Mapping) and outputs.get("loss") is None:
            raise ValueError(
                "The model did not return a loss from the inputs, only the following keys: "
                f"{','.join(outputs.keys())}. For reference, the inputs it received are "
                f"{','.join(inputs.keys())}: does the dataset have labels ({', '.join(self.label_names)})?"
            )
        else:
            loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs[0]
        return (loss, outputs) if return_outputs else loss

    def _smoothed_loss(self, outputs: Any, labels: Any, num_items: float | None) -> Any:
        """Cross entropy in which every other class has a share of the truth too (Szegedy et al. 2016)."""
        if isinstance(outputs, Mapping) and "logits" not in outputs:
            raise ValueError(
                "label_smoothing_factor is for models whose labels are held against `logits`, and this one "
                f"gives {', '.join(outputs.keys())}. Set it to 0"
            )
        logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]
        if tuple(labels.shape) != tuple(logits.shape[:-1]):
            raise ValueError(
                "label_smoothing_factor is for labels that name one of several classes: these are "
                f"{tuple(labels.shape)}, the logits {tuple(logits.shape)}. Set it to 0"
            )
        if self._is_causal:
            logits, labels = logits[:, :-1], labels[:, 1:]
        classes = logits.shape[-1]
        return _engine.cross_entropy(
            logits.reshape(-1, classes),
            labels.reshape(-1),
            ignore_index=-100,
            reduction="mean" if num_items is None else "sum",
            label_smoothing=self.args.label_smoothing_factor,
        ) / (1 if num_items is None else num_items)

    def _scaled_for_accumulation(self, num_items: float | None) -> bool:
        """Whether a loss is already divided by the labels of the whole step."""
        if self.compute_loss_func is not None:
            return True
        divided = self.model_accepts_loss_kwargs or self.args.label_smoothing_factor > 0
        return divided and num_items is not None

    def _get_num_items_in_batch(self, batches: list[Mapping[str, Any]]) -> int | None:
        """The labels of some batches that a loss counts; ``None`` if there are no labels."""
        count = 0
        for batch in batches:
            labels = batch.get("labels")
            if labels is None:
                return None
            labels = to_array(labels)
            counted = labels[..., 1:] if self._loss_shifts_labels else labels
            count += int((counted != -100).sum())
        return count if batches else None
