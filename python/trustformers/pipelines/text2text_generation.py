"""Texts made of texts by encoder-decoders: free ones, summaries, translations."""

from __future__ import annotations

import logging
import warnings
from enum import Enum
from typing import Any, ClassVar, overload

from ..generation.configuration import GenerationConfig
from ..tokenizers.strategies import TruncationStrategy
from .base import Pipeline, given
from .written import by_input

logger = logging.getLogger(__name__)


class ReturnType(Enum):
    """What an answer holds: token numbers or text."""

    TENSORS = 0
    TEXT = 1


class Text2TextGenerationPipeline(Pipeline):
    """Texts made of texts, with an encoder-decoder.

    Equals the class of transformers 4.57, the last that has it: a text gives ``[{"generated_text": ...}]``
    with as many entries as ``num_return_sequences``, a list of texts that get one each a flat list. What
    ``task_specific_params`` of the model's configuration say for the task is heard, the ``prefix`` put before
    each text. Where nobody says otherwise, four beams write 256 tokens at most.

    :param return_tensors: token numbers as ``generated_token_ids``, and no text.
    :param return_type: the same as a :class:`ReturnType`.
    :param clean_up_tokenization_spaces: whether spaces before punctuation go: no.
    :param truncation: whether what is longer than the model reads is cut: no.
    :param stop_sequence: a text at whose first token the answer ends.
    :param kwargs: all others are for :meth:`generate`.
    """

    _pipeline_calls_generate = True
    _load_tokenizer = True
    _tasks = ("Seq2SeqLM",)
    _default_generation_config = GenerationConfig(max_new_tokens=256, num_beams=4)
    _order = ("call", "config", "task", "constructor", "pipeline", "model", "tokenizer")
    _silenced = ("task", "constructor", "pipeline")
    #: What the keys of an answer begin with.
    return_name: ClassVar[str] = "generated"

    def _sanitize_parameters(
        self,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        return_type: ReturnType | int | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        truncation: Any = None,
        stop_sequence: str | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if return_type is None and return_tensors is not None:
            return_type = ReturnType.TENSORS if return_tensors else ReturnType.TEXT
        if stop_sequence is not None:
            tokens = self.tokenizer.encode(stop_sequence, add_special_tokens=False)
            if not tokens:
                raise ValueError("stop_sequence must have at least one token")
            if len(tokens) > 1:
                warnings.warn(
                    "Stopping on a multiple token sequence is not yet supported on transformers. The first "
                    "token of the stop sequence will be used as the stop sequence string in the interim.",
                    stacklevel=2,
                )
            generate_kwargs["eos_token_id"] = tokens[0]
        generate_kwargs |= given(
            assistant_model=self.assistant_model, assistant_tokenizer=self.assistant_tokenizer
        )
        postprocess = given(
            return_type=None if return_type is None else ReturnType(return_type),
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
        )
        return given(truncation=truncation), generate_kwargs, postprocess

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> bool:
        """Whether the lengths, in tokens, go together; a subclass says what is odd about them."""
        return True

    @overload
    def __call__(self, inputs: str | list[str], *args: Any, **kwargs: Any) -> list[dict[str, Any]]: ...
    @overload
    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a text, or a list, a generator or a dataset of texts."""
        result = super().__call__(inputs, *args, **kwargs)
        if isinstance(inputs, list) and all(len(entries) == 1 for entries in result):
            return [entries[0] for entries in result]
        return result

    def preprocess(self, inputs: Any, truncation: Any = TruncationStrategy.DO_NOT_TRUNCATE) -> Any:
        """Encode a text behind the task's prefix."""
        self._check_text(inputs)
        text = (self.prefix or "") + inputs
        encoded = self.tokenizer(text, truncation=truncation, return_tensors=self.framework)
        # Some tokenizers make them, and no encoder-decoder takes them.
        return {name: value for name, value in encoded.items() if name != "token_type_ids"}

    def _check_text(self, inputs: Any) -> None:
        if not isinstance(inputs, str):
            raise TypeError(f"{self.task or 'the pipeline'} takes a text, got {type(inputs).__name__}")

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> Any:
        inputs = dict(model_inputs)
        # A tokenizer that knows languages says with which token the translation begins.
        if isinstance(begins := inputs.get("forced_bos_token_id"), list):
            inputs["forced_bos_token_id"] = begins[0]
        arguments = self._generate_arguments(generate_kwargs)
        settings = self._generation_settings(arguments)
        count, length = inputs["input_ids"].shape
        longest = settings.get("max_new_tokens") or settings.get("max_length") or 20
        self.check_inputs(length, settings.get("min_length") or 0, longest)
        output = self.model.generate(**{**inputs, **arguments})
        sequences = output if hasattr(output, "shape") else output["sequences"]
        parts = by_input(sequences, count, settings, begin=1)
        return {"output_ids": parts if count > 1 else parts[0]}

    def postprocess(
        self,
        model_outputs: Any,
        return_type: ReturnType = ReturnType.TEXT,
        clean_up_tokenization_spaces: bool = False,
    ) -> Any:
        """Make entries of token numbers (1, texts, length)."""
        entries = []
        for ids in model_outputs["output_ids"][0]:
            if return_type is ReturnType.TENSORS:
                entries.append({f"{self.return_name}_token_ids": ids})
                continue
            text = self.tokenizer.decode(
                ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean_up_tokenization_spaces
            )
            entries.append({f"{self.return_name}_text": text})
        return entries


class SummarizationPipeline(Text2TextGenerationPipeline):
    """Summaries of texts, as ``summary_text``.

    Equals the class of transformers 4.57; keywords as for :class:`Text2TextGenerationPipeline`.
    """

    return_name = "summary"

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> bool:
        """Warn of lengths that make no summary."""
        if max_length < min_length:
            logger.warning(
                "Your min_length=%s must be inferior than your max_length=%s.", min_length, max_length
            )
        if input_length < max_length:
            logger.warning(
                "Your max_length is set to %s, but your input_length is only %s. Since this is a "
                "summarization task, where outputs shorter than the input are typically wanted, you might "
                "consider decreasing max_length manually, e.g. summarizer('...', max_length=%s)",
                max_length,
                input_length,
                input_length // 2,
            )
        return True


class TranslationPipeline(Text2TextGenerationPipeline):
    """Translations of texts, as ``translation_text``.

    Equals the class of transformers 4.57; keywords as for :class:`Text2TextGenerationPipeline`, and

    :param src_lang, tgt_lang: the two languages as the tokenizer calls them, for models that know several;
        if they are left out, those in the name of the task ("translation_en_to_fr").
    """

    return_name = "translation"

    def __init__(self, model: Any, tokenizer: Any = None, *, task: str = "", **kwargs: Any) -> None:
        if task == "translation":
            known = getattr(model.config, "task_specific_params", None) or {}
            task = next((name for name in known if name.startswith("translation")), task)
            if task != "translation":
                warnings.warn(
                    f'"translation" task was used, instead of "translation_XX_to_YY", defaulting to "{task}"',
                    UserWarning,
                    stacklevel=2,
                )
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(  # type: ignore[override]
        self, src_lang: str | None = None, tgt_lang: str | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        before, during, after = super()._sanitize_parameters(**kwargs)
        return {**before, **given(src_lang=src_lang, tgt_lang=tgt_lang)}, during, after

    def preprocess(
        self,
        inputs: Any,
        truncation: Any = TruncationStrategy.DO_NOT_TRUNCATE,
        src_lang: str | None = None,
        tgt_lang: str | None = None,
    ) -> Any:
        """Encode a text, with its language if the tokenizer knows several."""
        encode = getattr(self.tokenizer, "_build_translation_inputs", None)
        if encode is None:
            return super().preprocess(inputs, truncation)
        self._check_text(inputs)
        parts = self.task.split("_")
        if src_lang is None and tgt_lang is None and len(parts) == 4:
            _, src_lang, _, tgt_lang = parts
        return encode(
            inputs,
            return_tensors=self.framework,
            truncation=truncation,
            src_lang=src_lang,
            tgt_lang=tgt_lang,
        )

    def check_inputs(self, input_length: int, min_length: int, max_length: int) -> bool:
        """Warn of a text that its translation has hardly room for."""
        if input_length > 0.9 * max_length:
            logger.warning(
                "Your input_length: %s is bigger than 0.9 * max_length: %s. You might consider increasing "
                "your max_length manually, e.g. translator('...', max_length=400)",
                input_length,
                max_length,
            )
        return True
