"""Training encoder-decoders, evaluated by what they generate."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .._grad import no_grad
from ..generation.configuration import GenerationConfig
from ..models.arrays import to_array
from .arguments import TrainingArguments
from .outputs import PredictionOutput
from .trainer import Trainer


class Seq2SeqTrainer(Trainer):
    """A :class:`Trainer` that generates, with ``predict_with_generate``, to evaluate and to predict.

    Predictions are then tokens, filled up with the padding token to the length that was asked for.
    """

    def __init__(
        self, model: Any = None, args: TrainingArguments | None = None, *rest: Any, **parts: Any
    ) -> None:
        super().__init__(model, args, *rest, **parts)
        self._gen_kwargs: dict[str, Any] = {}
        config = getattr(self.args, "generation_config", None)
        if config is not None:
            self.model.generation_config = self.load_generation_config(config)

    @staticmethod
    def load_generation_config(gen_config_arg: Any) -> GenerationConfig:
        """A configuration of its own: a copy, or one read from a folder or the hub."""
        if isinstance(gen_config_arg, GenerationConfig):
            return copy.deepcopy(gen_config_arg)
        return GenerationConfig.from_pretrained(gen_config_arg)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        **gen_kwargs: Any,
    ) -> dict[str, Any]:
        """As :meth:`Trainer.evaluate`; further keywords go to ``generate``."""
        self._gen_kwargs = self._asked(gen_kwargs)
        return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def predict(
        self,
        test_dataset: Any,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
        **gen_kwargs: Any,
    ) -> PredictionOutput:
        """As :meth:`Trainer.predict`; further keywords go to ``generate``."""
        self._gen_kwargs = self._asked(gen_kwargs)
        return super().predict(test_dataset, ignore_keys, metric_key_prefix)

    def _asked(self, given: dict[str, Any]) -> dict[str, Any]:
        """What ``generate`` is asked: what is given, else what the arguments say."""
        asked = {name: value for name, value in given.items() if value is not None}
        length = getattr(self.args, "generation_max_length", None)
        if length is not None and not {"max_length", "max_new_tokens"} & asked.keys():
            asked["max_length"] = length
        beams = getattr(self.args, "generation_num_beams", None)
        if beams is not None:
            asked.setdefault("num_beams", beams)
        return asked

    def prediction_step(
        self,
        model: Any,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **gen_kwargs: Any,
    ) -> tuple[Any, Any, Any]:
        """The loss, the generated tokens and the labels of a batch; further keywords go to ``generate``."""
        args = self.args
        if not getattr(args, "predict_with_generate", False) or prediction_loss_only:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        inputs = self._prepare_inputs(inputs)
        labels = inputs.get("labels")
        # What a collator made of the labels for the decoder would tell it the answer.
        from_labels = ("labels", "decoder_input_ids", "decoder_attention_mask")
        question = {name: value for name, value in inputs.items() if name not in from_labels}
        asked = gen_kwargs or self._gen_kwargs
        with self._evaluation_context():
            tokens = to_array(self.model.generate(**question, **asked))
        loss = None
        if labels is not None:
            with no_grad(), self._evaluation_context():
                items = self._get_num_items_in_batch([inputs])
                loss = self.compute_loss(model, inputs, num_items_in_batch=items).detach().mean()
        length = self._length(asked)
        tokens = self._filled_up(tokens, length)
        return loss, tokens, None if labels is None else self._filled_up(to_array(labels), length)

    def _length(self, asked: dict[str, Any]) -> int:
        """The length that generated tokens are filled up to, so that all batches have the same."""
        config = self.model.generation_config
        new = asked.get("max_new_tokens", config.max_new_tokens)
        if new is not None:
            return int(new) + 1
        return int(asked.get("max_length") or config.max_length or 20)

    def _filled_up(self, rows: np.ndarray[Any, Any], length: int) -> np.ndarray[Any, Any]:
        if rows.shape[1] >= length:
            return rows
        token = getattr(self.processing_class, "pad_token_id", None)
        if token is None:
            token = getattr(self.model.config, "pad_token_id", None)
        if token is None:
            raise ValueError("pad_token_id must be set in the configuration of the model, to fill up tokens")
        return np.pad(rows, ((0, 0), (0, length - rows.shape[1])), constant_values=token)
