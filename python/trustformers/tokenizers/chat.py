"""Conversations as texts, in the way that a model's chat template writes them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .._engine import ChatTemplate
from .strategies import PaddingStrategy, TensorType

#: Names under which a message's reasoning is given; templates read the first one.
_REASONING = ("reasoning_content", "thinking", "reasoning")
#: What is put behind the message that is to go on, to find where it ends in the text.
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "


def is_batch(conversation: Any) -> bool:
    """Whether it is several conversations.

    :raises ValueError: for one without a message.
    """
    if isinstance(conversation, (list, tuple)):
        if len(conversation) == 0:
            raise ValueError(
                "Cannot apply chat template to an empty conversation. Provide at least one message."
            )
        return isinstance(conversation[0], (list, tuple)) or hasattr(conversation[0], "messages")
    return False


def render(
    template: ChatTemplate,
    source: str,
    conversation: Any,
    continue_final_message: bool | str,
    variables: Mapping[str, Any],
) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as text, and where in it the assistant speaks: first characters, those behind the last.

    :raises ValueError: when the template refuses it, or the final message cannot be gone on with.
    :raises TypeError: for what is no message.
    """
    messages = [_message(message) for message in getattr(conversation, "messages", conversation)]
    final = _tagged(messages, source, continue_final_message) if continue_final_message else None
    text, spans = template.render(json.dumps({**plain(variables), "messages": messages}))
    if final is not None:
        if final.strip() not in text or _TAG.strip() not in text:
            raise ValueError(
                "continue_final_message is set but the final message does not appear in the chat after "
                "applying the chat template! This can happen if the chat template deletes portions of the "
                "final message. Please verify the chat template and final message in your chat to ensure "
                "they are compatible."
            )
        at = text.rindex(_TAG.strip())
        # Where the template has trimmed the tag it would have trimmed the message.
        text = text[:at] if text[at : at + len(_TAG)] == _TAG else text[:at].rstrip()
    return text, spans


def tools_of(tools: Sequence[Any] | None) -> list[Any] | None:
    """Tools as JSON schemas.

    :raises ValueError: for what is none.
    """
    if tools is not None and not all(isinstance(tool, dict) for tool in tools):
        raise ValueError(
            "Tools should be JSON schemas, given as dictionaries: functions are not turned into them yet"
        )
    return None if tools is None else list(tools)


def plain(value: Any) -> Any:
    """What a template may see: plain data, and in place of anything else its type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(dump := getattr(value, "model_dump", None)):
        return plain(dump())
    return f"<{type(value).__name__}>"


def _message(message: Any) -> dict[str, Any]:
    """A message without what is None, its reasoning under the names that templates read."""
    data = plain(message)
    if not isinstance(data, dict):
        raise TypeError(
            f"Chat messages should be dicts, dataclasses or pydantic models, but got {message!r}."
        )
    data = {key: value for key, value in data.items() if value is not None}
    reasoning = next((data[key] for key in _REASONING if key in data), None)
    if reasoning is not None:
        data = {"thinking": reasoning, **data, "reasoning_content": reasoning}
    return data


def _tagged(messages: list[dict[str, Any]], source: str, asked: bool | str) -> str:
    """Put the tag behind the text of the final message, and give that text."""
    field = asked if isinstance(asked, str) else "content"
    if not messages:
        raise ValueError("continue_final_message is set but the conversation is empty!")
    message = messages[-1]
    if (content := message.get(field)) is None:
        raise ValueError(f'continue_final_message is set but the final message has no "{field}" to continue!')
    fields = [name for name in _REASONING if message.get(name) == content] if field in _REASONING else [field]
    if not any(name in source for name in fields):
        raise ValueError(
            f'continue_final_message is set to "{field}" but this is not an accepted field in the '
            "chat_template"
        )
    if isinstance(content, list):
        block = next((block for block in reversed(content) if "text" in block), None)
        if block is None:
            raise ValueError(
                "continue_final_message is set but we could not find any text to continue in the final "
                "message!"
            )
        text: str = block["text"]
        block["text"] += _TAG
        return text
    for name in fields:
        message[name] += _TAG
    return str(content)


class ChatTemplates:
    """What a tokenizer does with its chat template."""

    chat_template: str | dict[str, str] | None

    def get_chat_template(self, chat_template: str | None = None, tools: Sequence[Any] | None = None) -> str:
        """The template that is applied: the given one, the one of a given name, or the model's.

        :raises ValueError: if there is none, or several of which none is the default.
        """
        known = self.chat_template
        if isinstance(known, dict):
            if chat_template is not None:
                return known.get(chat_template, chat_template)
            if tools is not None and "tool_use" in known:
                return known["tool_use"]
            if "default" in known:
                return known["default"]
            raise ValueError(
                "This model has multiple chat templates with no default specified! Please either pass a chat "
                "template or the name of the template you wish to use to the `chat_template` argument. "
                f"Available template names are {sorted(known)}."
            )
        if chat_template is not None:
            return chat_template
        if known is None:
            raise ValueError(
                "Cannot use chat template functions because tokenizer.chat_template is not set and no "
                "template argument was passed! For information about writing templates and setting the "
                "tokenizer.chat_template attribute, please see the documentation at "
                "https://huggingface.co/docs/transformers/main/en/chat_templating"
            )
        return known

    def apply_chat_template(
        self: Any,
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
        """Encode a conversation, or several, as the model's chat template writes them.

        :param conversation: messages, each a dictionary with `role` and `content`; or several conversations.
        :param tools: what the model may call, as JSON schemas.
        :param documents: what it may look up: dictionaries with `title` and `text`.
        :param chat_template: another template, or the name of one of several.
        :param add_generation_prompt: whether the text ends where the assistant is to speak.
        :param continue_final_message: whether the final message is left open; or the field of it that is.
        :param tokenize: whether ids are wanted, and not the text.
        :param return_dict: whether a `BatchEncoding` is wanted, and not its ids alone.
        :param return_assistant_tokens_mask: whether `assistant_masks` say what is in `{% generation %}`.
        :param tokenizer_kwargs: options of `__call__`, beside `padding`, `truncation`, `max_length` and
            `return_tensors`.
        :param kwargs: what else the template asks for.
        :raises ValueError: when the template refuses the conversation, and for contradictory options.
        """
        return_dict = return_dict and tokenize
        if return_assistant_tokens_mask and not return_dict:
            raise ValueError(
                "`return_assistant_tokens_mask=True` requires `return_dict=True` and `tokenize=True`"
            )
        if sanitize_control_tokens:
            raise ValueError("sanitize_control_tokens=True is not supported yet")
        if continue_final_message and add_generation_prompt:
            raise ValueError(
                "continue_final_message and add_generation_prompt are not compatible. Use "
                "continue_final_message when you want the model to continue the final message, and "
                "add_generation_prompt when you want to add a header that will prompt it to start a new "
                "assistant message instead."
            )
        if continue_final_message and return_assistant_tokens_mask:
            raise ValueError("continue_final_message is not compatible with return_assistant_tokens_mask.")
        source = self.get_chat_template(chat_template, tools)
        template = ChatTemplate(source)
        variables = {
            "tools": tools_of(tools),
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
            **self.special_tokens_map,
            **kwargs,
        }
        batched = is_batch(conversation)
        rendered = [
            render(template, source, one, continue_final_message, variables)
            for one in (conversation if batched else [conversation])
        ]
        texts = [text for text, _ in rendered]
        if not tokenize:
            return texts if batched else texts[0]
        encoded = self(
            texts if batched else texts[0],
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            add_special_tokens=False,
            return_tensors=return_tensors,
            **(tokenizer_kwargs or {}),
        )
        if return_assistant_tokens_mask:
            masks = [
                [
                    int(any(start < last and first < end for first, last in spans))
                    for start, end in row.offsets
                ]
                for row, (_, spans) in zip(encoded.encodings or (), rendered, strict=True)
            ]
            encoded["assistant_masks"] = masks if batched or return_tensors else masks[0]
            if return_tensors:
                encoded.convert_to_tensors(tensor_type=return_tensors)
        return encoded if return_dict else encoded["input_ids"]
