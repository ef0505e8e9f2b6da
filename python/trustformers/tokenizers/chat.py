"""From conversations to texts: what ``apply_chat_template`` does around the template."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import _engine
from . import sanitizing
from .json_schema import get_json_schema

if TYPE_CHECKING:
    from .base import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Message = Mapping[str, Any]
Conversation = Sequence[Message]
#: Where in a text the model has spoken: characters from and to.
Spans = list[tuple[int, int]]

#: Names that a message's reasoning has; the first is the one that templates read.
_REASONING = ("reasoning_content", "thinking", "reasoning")
#: What is put behind a message that shall be gone on with, to find its end again.
_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
_GENERATION = re.compile(r"\{\%-?\s*generation\s*-?\%\}")


def choose_template(
    templates: str | Mapping[str, str] | None, given: str | None, tools: Sequence[Any] | None
) -> str:
    """The template of a call: one that is ``given`` itself or by name, or else the tokenizer's.

    :raises ValueError: when there is none, or several and none is the default.
    """
    if isinstance(templates, Mapping):
        if given is not None:
            return templates.get(given, given)
        if tools is not None and "tool_use" in templates:
            return templates["tool_use"]
        if "default" in templates:
            return templates["default"]
        raise ValueError(
            "This model has multiple chat templates with no default specified! Please either pass a chat "
            "template or the name of the template you wish to use to the `chat_template` argument. Available "
            f"template names are {sorted(templates)}."
        )
    if given is not None:
        return given
    if templates is None:
        raise ValueError(
            "Cannot use chat template functions because tokenizer.chat_template is not set and no template "
            "argument was passed! For information about writing templates and setting the "
            "tokenizer.chat_template attribute, please see the documentation at "
            "https://huggingface.co/docs/transformers/main/en/chat_templating"
        )
    return templates


def split_batch(conversation: Any) -> tuple[list[list[dict[str, Any]]], bool]:
    """The conversations of a call, and whether there are several."""
    if isinstance(conversation, (list, tuple)):
        if not conversation:
            raise ValueError(
                "Cannot apply chat template to an empty conversation. Provide at least one message."
            )
        if isinstance(conversation[0], (list, tuple)) or hasattr(conversation[0], "messages"):
            return [_messages(one) for one in conversation], True
    return [_messages(conversation)], False


def render(
    template: str,
    conversations: Sequence[Sequence[dict[str, Any]]],
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None,
    documents: Sequence[Mapping[str, str]] | None,
    continue_final_message: bool | str,
    track: bool,
    variables: Mapping[str, Any],
) -> tuple[list[str], list[Spans]]:
    """The texts of conversations, and with ``track`` where in them the model has spoken.

    :raises ValueError: for what the template cannot render or refuses, in its own words.
    :raises TypeError: for messages and documents that are no dicts.
    """
    if track and not _GENERATION.search(template):
        logger.warning(
            "return_assistant_tokens_mask==True but chat template does not contain `{% generation %}` "
            "keyword."
        )
    shared = {
        "tools": None if tools is None else [_tool(tool) for tool in tools],
        "documents": None if documents is None else [_document(document) for document in documents],
        **variables,
    }
    prepared = [_with_reasoning(_plain(messages)) for messages in conversations]
    ends = [
        _tag_end(messages, continue_final_message, template) if continue_final_message else ""
        for messages in prepared
    ]
    contexts = [json.dumps({"messages": messages, **_plain(shared)}) for messages in prepared]
    rendered = _engine.render_chat(template, contexts, lambda form: datetime.now().strftime(form), track)
    texts = [text for text, _ in rendered]
    if continue_final_message:
        texts = [_cut_at_tag(text, end) for text, end in zip(texts, ends, strict=True)]
    return texts, [spans for _, spans in rendered]


def assistant_masks(encodings: Sequence[Any], spans: Sequence[Spans]) -> list[list[int]]:
    """For each token 1 where it overlaps what the model has said, 0 elsewhere."""
    return [
        [int(any(start < to and end > begin for begin, to in one)) for start, end in encoding.offsets]
        for encoding, one in zip(encodings, spans, strict=True)
    ]


def apply(
    tokenizer: PreTrainedTokenizerBase,
    conversation: Any,
    template: str,
    *,
    tools: Sequence[Any] | None,
    documents: Sequence[Mapping[str, str]] | None,
    add_generation_prompt: bool,
    continue_final_message: bool | str,
    tokenize: bool,
    sanitize_control_tokens: bool,
    return_tensors: Any,
    return_dict: bool,
    return_assistant_tokens_mask: bool,
    options: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> Any:
    """Do what ``apply_chat_template`` says."""
    conversations, is_batch = split_batch(conversation)
    if continue_final_message:
        if add_generation_prompt:
            raise ValueError(
                "continue_final_message and add_generation_prompt are not compatible. Use "
                "continue_final_message when you want the model to continue the final message, and "
                "add_generation_prompt when you want to add a header that will prompt it to start a new "
                "assistant message instead."
            )
        if return_assistant_tokens_mask:
            raise ValueError("continue_final_message is not compatible with return_assistant_tokens_mask.")
    if sanitize_control_tokens:
        tokens = sanitizing.control_tokens(tokenizer, template)
        conversations, tools, documents, variables = (
            sanitizing.marked(given, tokens) for given in (conversations, tools, documents, variables)
        )
    texts, spans = render(
        template,
        conversations,
        tools,
        documents,
        continue_final_message,
        return_assistant_tokens_mask,
        {
            **tokenizer.special_tokens_map,
            **variables,
            "add_generation_prompt": add_generation_prompt,
        },
    )
    if not tokenize:
        return texts if is_batch else texts[0]
    given = texts if is_batch else texts[0]
    if sanitize_control_tokens:
        encoded = sanitizing.encode(tokenizer, given, return_tensors, options)
        return encoded if return_dict else encoded["input_ids"]
    encoded = tokenizer(
        given,
        add_special_tokens=False,
        return_tensors=return_tensors,
        **options,
    )
    if return_assistant_tokens_mask:
        masks = assistant_masks(encoded.encodings or [], spans)
        encoded["assistant_masks"] = masks if is_batch or return_tensors else masks[0]
        if return_tensors:
            encoded.convert_to_tensors(return_tensors)
    return encoded if return_dict else encoded["input_ids"]


def _messages(conversation: Any) -> list[dict[str, Any]]:
    """Messages as dicts, without what is ``None``: templates print that, or fail at it."""
    messages = _as_dicts(getattr(conversation, "messages", conversation))
    for message in messages:
        if not isinstance(message, dict):
            raise TypeError(
                f"Chat messages should be dicts, dataclasses or pydantic models, but got {message!r}."
            )
    return [{key: value for key, value in message.items() if value is not None} for message in messages]


def _as_dicts(value: Any) -> Any:
    """Turn objects with fields, at any depth, into dicts."""
    if isinstance(value, Mapping):
        return {key: _as_dicts(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_dicts(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _as_dicts(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):
        return _as_dicts(value.model_dump())
    return value


def _plain(value: Any) -> Any:
    """What JSON has; anything else becomes a placeholder that names its type, as in transformers."""
    value = _as_dicts(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, (str, int, float)):
        return value
    return f"<{type(value).__name__}>"


def _tool(tool: Any) -> Any:
    if isinstance(tool, dict):
        return tool
    if inspect.isfunction(tool) or inspect.ismethod(tool):
        return get_json_schema(tool)
    raise ValueError(
        "Tools should either be a JSON schema, or a callable function with type hints and a docstring "
        "suitable for auto-conversion to a schema."
    )


def _document(document: Any) -> Any:
    if not isinstance(document, dict):
        raise TypeError("Documents should be a list of dicts with 'title' and 'text' keys!")
    return document


def _with_reasoning(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose reasoning has the names that templates read."""
    filled = []
    for message in messages:
        said = next((message[name] for name in _REASONING if message.get(name) is not None), None)
        filled.append(message if said is None else {"thinking": said, **message, "reasoning_content": said})
    return filled


def _tag_end(messages: list[dict[str, Any]], field: bool | str, template: str) -> str:
    """Mark where the last message ends, and give what it says."""
    field = field if isinstance(field, str) else "content"
    if not messages:
        raise ValueError("continue_final_message is set but the conversation is empty!")
    last = messages[-1]
    said = last.get(field)
    if said is None:
        raise ValueError(f'continue_final_message is set but the final message has no "{field}" to continue!')
    fields = [field]
    if field in _REASONING:
        fields = [name for name in _REASONING if last.get(name) == said]
    if not any(name in template for name in fields):
        raise ValueError(
            f'continue_final_message is set to "{field}" but this is not an accepted field in the '
            "chat_template"
        )
    if isinstance(said, list):
        block = next((block for block in reversed(said) if "text" in block), None)
        if block is None:
            raise ValueError(
                "continue_final_message is set but we could not find any text to continue in the final "
                "message!"
            )
        said = block["text"]
        block["text"] = said + _TAG
    else:
        for name in fields:
            last[name] = last[name] + _TAG
    return cast(str, said)


def _cut_at_tag(text: str, said: str) -> str:
    if said.strip() not in text or _TAG.strip() not in text:
        raise ValueError(
            "continue_final_message is set but the final message does not appear in the chat after applying "
            "the chat template! This can happen if the chat template deletes portions of the final message. "
            "Please verify the chat template and final message in your chat to ensure they are compatible."
            f"Final message to continue: {said.strip()}\nRendered chat:\n{text}"
        )
    place = text.rindex(_TAG.strip())
    # Where the template has trimmed the message, it would have trimmed what stands before the tag too.
    return text[:place] if text[place : place + len(_TAG)] == _TAG else text[:place].rstrip()
