"""Conversations, as a tokenizer is asked for them; `chat.py`, loaded when it is needed, does the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from .strategies import PaddingStrategy, TensorType

if TYPE_CHECKING:
    from .base import PreTrainedTokenizerBase


class Conversations:
    """What a tokenizer does with conversations."""

    chat_template: str | dict[str, str] | None

    def get_chat_template(self, chat_template: str | None = None, tools: Sequence[Any] | None = None) -> str:
        """The template that a call would use: one that is given, itself or by name, or the tokenizer's own.

        :raises ValueError: when there is none, or several and none is the default.
        """
        from .chat import choose_template

        return choose_template(self.chat_template, chat_template, tools)

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Mapping[str, str]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        sanitize_control_tokens: bool = False,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | TensorType | None = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Turn a conversation, or several, into the text that the model was trained to go on with, or ids.

        :param conversation: messages with `role` and `content`, or a list of such conversations.
        :param tools: JSON schemas, or functions with type hints and a docstring in Google's style.
        :param documents: what the model shall look things up in, with `title` and `text`.
        :param chat_template: a template, or the name of one of the tokenizer's.
        :param add_generation_prompt: whether the text ends where the model begins to answer.
        :param continue_final_message: whether the last message is left open; a text names the field to go on
            with.
        :param tokenize: whether ids are returned, in a `BatchEncoding` with `return_dict`.
        :param sanitize_control_tokens: whether control tokens in what is given are read as ordinary text:
            special ones, and those that the template writes, or those in `chat_control_tokens`.
        :param return_assistant_tokens_mask: whether `assistant_masks` says which tokens the model has spoken;
            templates mark that with `{% generation %}`.
        :param kwargs: further variables for the template.
        :raises ValueError: without a template, for arguments that contradict each other, and for what the
            template cannot render or refuses, in its own words.
        :raises TypeError: for messages that are no dicts.
        """
        from .chat import apply

        return_dict = return_dict and tokenize
        if return_assistant_tokens_mask and not return_dict:
            raise ValueError(
                "`return_assistant_tokens_mask=True` requires `return_dict=True` and `tokenize=True`"
            )
        if sanitize_control_tokens and (return_assistant_tokens_mask or not tokenize):
            raise ValueError(
                "`sanitize_control_tokens=True` requires `tokenize=True` and is not compatible with "
                "`return_assistant_tokens_mask=True`."
            )
        return apply(
            cast("PreTrainedTokenizerBase", self),
            conversation,
            self.get_chat_template(chat_template, tools),
            tools=tools,
            documents=documents,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            tokenize=tokenize,
            sanitize_control_tokens=sanitize_control_tokens,
            return_tensors=return_tensors,
            return_dict=return_dict,
            return_assistant_tokens_mask=return_assistant_tokens_mask,
            options={
                "padding": padding,
                "truncation": truncation,
                "max_length": max_length,
                **(tokenizer_kwargs or {}),
            },
            variables=kwargs,
        )

    def encode_message_with_chat_template(
        self,
        message: Mapping[str, Any],
        conversation_history: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """The ids that a message adds to a conversation: all from where they differ from those without it.

        :param conversation_history: the messages before it.
        :param kwargs: those of :meth:`apply_chat_template`.
        :raises ValueError: for `add_generation_prompt`, which belongs behind the message.
        """
        if "add_generation_prompt" in kwargs:
            raise ValueError(
                "`encode_message_with_chat_template` does not support `add_generation_prompt`. Please add "
                "the generation prompt separately."
            )
        history = list(conversation_history or ())
        ids: list[int] = self.apply_chat_template([*history, message], return_dict=False, **kwargs)
        before = self.apply_chat_template(history, return_dict=False, **kwargs) if history else []
        same = 0
        while same < min(len(before), len(ids)) and before[same] == ids[same]:
            same += 1
        return ids[same:]
