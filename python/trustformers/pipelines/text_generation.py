"""Texts and chats that go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias, overload

import numpy as np

from ..generation.configuration import GenerationConfig
from ..models.arrays import to_array
from ..models.outputs import ModelOutput
from .base import Pipeline, given
from .written import by_input

#: A conversation: messages with "role" and "content".
ChatType: TypeAlias = "list[dict[str, Any]]"


class ReturnType(Enum):
    """What an answer holds: token numbers, the new text, or the prompt with it."""

    TENSORS = 0
    NEW_TEXT = 1
    FULL_TEXT = 2


class Chat:
    """A conversation, to tell it from a list of inputs. Equals transformers' ``Chat``.

    :raises ValueError: for a message without "role" or "content".
    """

    def __init__(self, messages: Iterable[Mapping[str, Any]]) -> None:
        self.messages = list(messages)
        if not all(is_message(message) for message in self.messages):
            raise ValueError(
                "When passing chat dicts as input, each dict must have a 'role' and 'content' key."
            )

    @property
    def ends_with_answer(self) -> bool:
        """Whether the assistant spoke last: such an answer is gone on with, few models know two in a row."""
        return bool(self.messages[-1]["role"] == "assistant")


def is_message(value: Any) -> bool:
    """Whether this is a message of a chat."""
    return isinstance(value, Mapping) and "role" in value and "content" in value


class TextGenerationPipeline(Pipeline):
    """Goes on with texts and chats, with a causal language model.

    Equals transformers' ``TextGenerationPipeline``: a text gives ``[{"generated_text": ...}]`` with as many
    entries as ``num_return_sequences``, a list of texts a list of these. A chat, a list of messages, gives
    the chat with the model's answer as its last message. Where neither the call nor the model says
    otherwise, tokens are drawn at temperature 0.7, 256 of them at most.

    :param return_full_text: whether the prompt stands before the new text: yes.
    :param return_tensors: token numbers as ``generated_token_ids``, and no text.
    :param return_type: the same two as a :class:`ReturnType`.
    :param clean_up_tokenization_spaces: whether spaces before punctuation go; the tokenizer's choice.
    :param skip_special_tokens: whether special tokens of the answer are left out: yes.
    :param prefix: what is put before each text and shown in none.
    :param handle_long_generation: "hole" drops the beginning of a prompt that leaves no room for the answer.
    :param stop_sequence: one text or several at which the answer ends, with it.
    :param continue_final_message: whether the last message of a chat is gone on with instead of answered; if
        it is left out, it is if it is the assistant's.
    :param tools, documents: what a chat template is told besides.
    :param tokenizer_encode_kwargs: further keywords for the tokenizer or the chat template; ``truncation``,
        ``padding``, ``add_special_tokens`` and ``max_length``, which is the length of the answer too, may be
        given directly.
    :param kwargs: all others are for :meth:`generate`: settings, ``generation_config``, ``streamer``,
        ``response_format``, ``generator``, ...
    """

    _pipeline_calls_generate = True
    _load_tokenizer = True
    _tasks = ("CausalLM",)
    _default_generation_config = GenerationConfig(max_new_tokens=256, do_sample=True, temperature=0.7)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.tokenizer is not None:
            # New tokens stand right behind the last of the prompt.
            self.tokenizer.padding_side = "left"
        if self.prefix and "prefix" not in self._preprocess_params:
            before, during, _ = self._sanitize_parameters(prefix=self.prefix)
            self._preprocess_params |= before
            self._forward_params |= during

    def _sanitize_parameters(
        self,
        return_full_text: bool | None = None,
        return_tensors: bool | None = None,
        return_text: bool | None = None,
        return_type: ReturnType | int | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        prefix: str | None = None,
        handle_long_generation: str | None = None,
        stop_sequence: str | list[str] | None = None,
        truncation: Any = None,
        max_length: int | None = None,
        continue_final_message: bool | None = None,
        skip_special_tokens: bool | None = None,
        tokenizer_encode_kwargs: dict[str, Any] | None = None,
        tools: Any = None,
        documents: Any = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if handle_long_generation not in (None, "hole"):
            raise ValueError(
                f"{handle_long_generation} is not a valid value for `handle_long_generation` parameter "
                "expected [None, 'hole']"
            )
        options = {name: generate_kwargs.pop(name, None) for name in ("add_special_tokens", "padding")}
        if max_length is not None:
            generate_kwargs["max_length"] = max_length
        preprocess = {
            **generate_kwargs,
            **given(
                options,
                truncation=truncation,
                prefix=prefix,
                handle_long_generation=handle_long_generation,
                continue_final_message=continue_final_message,
                tokenizer_encode_kwargs=tokenizer_encode_kwargs,
                tools=tools,
                documents=documents,
            ),
        }
        if prefix:
            special = bool(options["add_special_tokens"])
            generate_kwargs["prefix_length"] = len(self.tokenizer.encode(prefix, add_special_tokens=special))
        if stop_sequence is not None:
            stops = [stop_sequence] if isinstance(stop_sequence, str) else stop_sequence
            generate_kwargs["stop_strings"] = stops
        generate_kwargs |= given(
            assistant_model=self.assistant_model, assistant_tokenizer=self.assistant_tokenizer
        )
        postprocess = given(
            return_type=_return_type(return_type, return_full_text, return_tensors, return_text),
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            continue_final_message=continue_final_message,
            skip_special_tokens=skip_special_tokens,
        )
        return preprocess, generate_kwargs, postprocess

    @overload  # type: ignore[override]
    def __call__(self, text_inputs: str, **kwargs: Any) -> list[dict[str, Any]]: ...
    @overload
    def __call__(self, text_inputs: ChatType, **kwargs: Any) -> list[dict[str, Any]]: ...
    @overload
    def __call__(
        self, text_inputs: list[str] | list[ChatType], **kwargs: Any
    ) -> list[list[dict[str, Any]]]: ...
    @overload
    def __call__(self, text_inputs: Any, **kwargs: Any) -> Any: ...
    def __call__(self, text_inputs: Any, **kwargs: Any) -> Any:
        """Go on with a text, a chat, or a list, a generator or a dataset of these."""
        if isinstance(text_inputs, (list, tuple)):
            if text_inputs and is_message(text_inputs[0]):
                text_inputs = Chat(text_inputs)
            elif text_inputs and isinstance(text_inputs[0], (list, tuple)):
                text_inputs = list(text_inputs)  # several chats, also in a tuple
        elif isinstance(text_inputs, Iterator):
            first = list(itertools.islice(text_inputs, 1))
            if first and is_message(first[0]):
                text_inputs = Chat([*first, *text_inputs])
            else:
                text_inputs = itertools.chain(first, text_inputs)
        return super().__call__(text_inputs, **kwargs)

    def preprocess(
        self,
        prompt_text: Any,
        prefix: str = "",
        handle_long_generation: str | None = None,
        add_special_tokens: bool | None = None,
        truncation: Any = None,
        padding: Any = None,
        max_length: int | None = None,
        continue_final_message: bool | None = None,
        tokenizer_encode_kwargs: dict[str, Any] | None = None,
        tools: Any = None,
        documents: Any = None,
        **generate_kwargs: Any,
    ) -> Any:
        """Encode a text or a chat; of an empty text, the token that begins one.

        :raises TypeError: for what is neither.
        """
        options = given(truncation=truncation, padding=padding, max_length=max_length)
        options |= {"return_tensors": self.framework, **(tokenizer_encode_kwargs or {})}
        if isinstance(prompt_text, (list, tuple)) and prompt_text and is_message(prompt_text[0]):
            prompt_text = Chat(prompt_text)
        if isinstance(prompt_text, Chat):
            goes_on = prompt_text.ends_with_answer
            if continue_final_message is not None:
                goes_on = continue_final_message
            inputs = self.tokenizer.apply_chat_template(
                prompt_text.messages,
                add_generation_prompt=not goes_on,
                continue_final_message=goes_on,
                return_dict=True,
                tools=tools,
                documents=documents,
                **options,
            )
        elif isinstance(prompt_text, str):
            options = {**given(add_special_tokens=add_special_tokens), **options}
            inputs = self.tokenizer(prefix + prompt_text, **options)
        else:
            raise TypeError(
                "text-generation takes a text or a chat, a list of messages with 'role' and 'content', got "
                f"{type(prompt_text).__name__}"
            )
        arguments = {name: inputs[name] for name in ("input_ids", "attention_mask") if name in inputs}
        if handle_long_generation == "hole":
            room = self._room(arguments["input_ids"].shape[-1], generate_kwargs, max_length)
            arguments = {name: value[:, -room:] for name, value in arguments.items()}
        length = arguments["input_ids"].shape[-1]
        if length == 0:
            arguments = self._beginning(generate_kwargs)
        return {**arguments, "prompt_text": prompt_text, "prompt_length": length}

    def _room(self, length: int, generate_kwargs: dict[str, Any], max_length: int | None) -> int:
        """How many of a prompt's tokens, ``length``, leave room for the answer.

        :raises ValueError: if there is none.
        """
        asked = {**generate_kwargs, **given(max_length=max_length)}
        settings = self._generation_settings(self._generate_arguments(asked))
        new = settings.get("max_new_tokens")
        if new is None:
            new = settings["max_length"] - length
            if new < 0:
                raise ValueError("We cannot infer how many new tokens are expected")
        most: int = self.tokenizer.model_max_length - new
        if most <= 0:
            raise ValueError(
                "We cannot use `hole` to handle this generation the number of desired tokens exceeds the"
                " models max length"
            )
        return min(length, most)

    def _beginning(self, generate_kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a model is given that shall begin a text."""
        settings = self._generation_settings(self._generate_arguments(generate_kwargs))
        token = settings.get("bos_token_id")
        if token is None:
            raise ValueError("`bos_token_id` has to be defined when no `input_ids` are provided.")
        from .._engine import Tensor

        ids = np.array([[token]], dtype=np.int64)
        return {
            "input_ids": Tensor.from_numpy(ids),
            "attention_mask": Tensor.from_numpy(np.ones_like(ids)),
        }

    def _forward(self, model_inputs: Any, **generate_kwargs: Any) -> Any:
        inputs = dict(model_inputs)
        texts, lengths = inputs.pop("prompt_text"), inputs.pop("prompt_length")
        is_batch = isinstance(lengths, list)
        texts, lengths = (texts, lengths) if is_batch else ([texts], [lengths])
        ids = inputs["input_ids"]
        count, width = ids.shape
        before = [width - max(length, 1) for length in lengths] if is_batch else [0]

        arguments, longest = self._lengths(generate_kwargs, lengths, before)
        # What stop_strings and response_format are read with.
        arguments.setdefault("tokenizer", self.tokenizer)
        output = self.model.generate(**inputs, **arguments)

        others = output if isinstance(output, ModelOutput) else {}
        sequences = others["sequences"] if others else output
        settings = self._generation_settings(arguments)
        parts = [
            {
                "generated_sequence": part,
                # The token that began a text is no prompt.
                "input_ids": ids[index : index + 1, width - length :] if length else None,
                "prompt_text": texts[index],
            }
            for index, (part, length) in enumerate(
                zip(by_input(sequences, count, settings, width, before, longest), lengths, strict=True)
            )
        ]
        for name, value in others.items():
            if name != "sequences" and (array := _by_text(value, sequences.shape[0])) is not None:
                for part, rows in zip(parts, array.reshape(count, -1, *array.shape[1:]), strict=True):
                    part[name] = rows[None]
        return {name: [part[name] for part in parts] for name in parts[0]} if is_batch else parts[0]

    def _lengths(
        self, generate_kwargs: dict[str, Any], lengths: list[int], before: list[int]
    ) -> tuple[dict[str, Any], int | None]:
        """The keywords for ``generate``, and to how many tokens a text with its prompt is cut.

        :param lengths: of the prompts.
        :param before: how much padding stands before each.
        """
        prefix_length = generate_kwargs.pop("prefix_length", 0)
        arguments = self._generate_arguments(generate_kwargs)
        settings = self._generation_settings(arguments)
        for whole, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            # A length of the whole is one without the prefix.
            if prefix_length and whole in settings and settings.get(new) is None:
                arguments[whole] = settings[whole] = settings[whole] + prefix_length
        longest = settings.get("max_length") if settings.get("max_new_tokens") is None else None
        if not any(before) or longest is None or max(lengths) >= longest:
            return arguments, None
        # Padding counts too: so much more is written, and each text is cut to its own length.
        return {**arguments, "max_length": longest + max(before)}, longest

    def postprocess(
        self,
        model_outputs: Any,
        return_type: ReturnType = ReturnType.FULL_TEXT,
        clean_up_tokenization_spaces: bool | None = None,
        continue_final_message: bool | None = None,
        skip_special_tokens: bool = True,
    ) -> Any:
        """Make entries of token numbers (1, texts, length), with the scores that were asked for."""
        outputs = dict(model_outputs)
        sequences = outputs.pop("generated_sequence")[0].tolist()
        ids, prompt = outputs.pop("input_ids"), outputs.pop("prompt_text")
        length = 0 if ids is None else ids.shape[-1]
        if return_type is ReturnType.TENSORS:
            return [{"generated_token_ids": sequence} for sequence in sequences]
        entries = []
        for row, sequence in enumerate(sequences):
            text: Any = self.tokenizer.decode(
                sequence[length:],
                skip_special_tokens=skip_special_tokens,
                clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            )
            if return_type is ReturnType.FULL_TEXT:
                text = _behind(prompt, text, continue_final_message)
            scores = {name: value[0][row].tolist() for name, value in outputs.items()}
            entries.append({"generated_text": text, **scores})
        return entries


def _return_type(
    return_type: ReturnType | int | None,
    return_full_text: bool | None,
    return_tensors: bool | None,
    return_text: bool | None,
) -> ReturnType | None:
    """What the four keywords that say what is given ask for together.

    :raises ValueError: if they contradict one another.
    """
    if return_type is not None:
        return ReturnType(return_type)
    if return_full_text is not None:
        for name, other in (("return_text", return_text), ("return_tensors", return_tensors)):
            if other is not None:
                raise ValueError(f"`{name}` is mutually exclusive with `return_full_text`")
        return ReturnType.FULL_TEXT if return_full_text else ReturnType.NEW_TEXT
    if return_tensors is not None and return_text is not None:
        raise ValueError("`return_text` is mutually exclusive with `return_tensors`")
    return ReturnType.TENSORS if return_tensors else None


def _behind(prompt: str | Chat, text: str, continue_final_message: bool | None) -> Any:
    """A prompt with the text that was written behind it."""
    if isinstance(prompt, str):
        return prompt + text
    goes_on = prompt.ends_with_answer if continue_final_message is None else continue_final_message
    if not goes_on:
        return [*prompt.messages, {"role": "assistant", "content": text}]
    last = prompt.messages[-1]
    return [*prompt.messages[:-1], {"role": last["role"], "content": last["content"] + text}]


def _by_text(value: Any, texts: int) -> np.ndarray[Any, Any] | None:
    """An output with a row for each text: numbers (texts, ...), or an array (texts, ...) for each step."""
    steps: Sequence[Any] = value if isinstance(value, tuple) else (value,)
    if not steps or not all(hasattr(step, "shape") and step.shape[:1] == (texts,) for step in steps):
        return None
    arrays = [to_array(step) for step in steps]
    return np.stack(arrays, axis=1) if isinstance(value, tuple) else arrays[0]
