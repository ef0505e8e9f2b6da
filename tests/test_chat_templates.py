"""Chat templates; reference/chat_templates.py writes what is expected of them."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fixture_cases import FIXTURES
from trustformers import AutoTokenizer, BatchEncoding

CASES = json.loads((FIXTURES / "chat" / "cases.json").read_text(encoding="utf-8"))
CHAT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world"}]
GENERATION = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}"
    "{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FIXTURES / "gguf" / "llama-halves" / "model.gguf")


@pytest.mark.parametrize("number", range(len(CASES)))
def test_texts_are_transformers(tokenizer: Any, number: int) -> None:
    case = CASES[number]
    text = tokenizer.apply_chat_template(
        case["messages"], chat_template=case["template"], tokenize=False, **case["options"]
    )
    assert text == case["text"]


def test_ids_and_batches(tokenizer: Any) -> None:
    one = tokenizer.apply_chat_template(CHAT)
    assert isinstance(one, BatchEncoding)
    assert one["input_ids"] == tokenizer("helloworld", add_special_tokens=False)["input_ids"]
    assert tokenizer.apply_chat_template(CHAT, return_dict=False) == one["input_ids"]
    both = tokenizer.apply_chat_template([CHAT, CHAT[:1]], padding=True, return_tensors="np")
    assert both["input_ids"].shape == both["attention_mask"].shape
    assert both["attention_mask"][1].sum() == len(tokenizer("hello", add_special_tokens=False)["input_ids"])
    assert tokenizer.apply_chat_template([CHAT, CHAT[:1]], tokenize=False) == ["helloworld", "hello"]
    short = tokenizer.apply_chat_template(CHAT, truncation=True, max_length=2)
    assert short["input_ids"] == one["input_ids"][:2]


def test_what_the_assistant_said_is_masked(tokenizer: Any) -> None:
    masked = tokenizer.apply_chat_template(CHAT, chat_template=GENERATION, return_assistant_tokens_mask=True)
    said = [index for index, mask in zip(masked["input_ids"], masked["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(said) == "world"
    batch = tokenizer.apply_chat_template(
        [CHAT], chat_template=GENERATION, return_assistant_tokens_mask=True, return_tensors="np"
    )
    np.testing.assert_array_equal(batch["assistant_masks"], [masked["assistant_masks"]])


def test_templates_by_name(tokenizer: Any) -> None:
    named = AutoTokenizer.from_pretrained(
        FIXTURES / "gguf" / "llama-halves" / "model.gguf",
        chat_template={"default": "d", "tool_use": "t", "other": "o"},
    )
    for options, text in (({}, "d"), ({"tools": []}, "t"), ({"chat_template": "other"}, "o")):
        assert named.apply_chat_template(CHAT, tokenize=False, **options) == text
    named.chat_template = {"other": "o"}
    with pytest.raises(ValueError, match="no default specified"):
        named.apply_chat_template(CHAT)
    named.chat_template = None
    with pytest.raises(ValueError, match=r"tokenizer\.chat_template is not set"):
        named.apply_chat_template(CHAT)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: t.apply_chat_template([]), ValueError, "empty conversation"),
        (lambda t: t.apply_chat_template(["hi"]), TypeError, "should be dicts"),
        (lambda t: t.apply_chat_template(CHAT, tools=[len]), ValueError, "JSON schemas"),
        (
            lambda t: t.apply_chat_template(CHAT, sanitize_control_tokens=True),
            ValueError,
            "not supported yet",
        ),
        (
            lambda t: t.apply_chat_template(CHAT, add_generation_prompt=True, continue_final_message=True),
            ValueError,
            "not compatible",
        ),
        (
            lambda t: t.apply_chat_template(CHAT, tokenize=False, return_assistant_tokens_mask=True),
            ValueError,
            "requires",
        ),
        (lambda t: t.apply_chat_template(CHAT, chat_template="{% if %}"), ValueError, "line 1"),
        (
            lambda t: t.apply_chat_template(CHAT, chat_template="{{ raise_exception('never ' ~ 'so') }}"),
            ValueError,
            "never so",
        ),
        (
            lambda t: t.apply_chat_template(CHAT, continue_final_message="thoughts"),
            ValueError,
            'no "thoughts" to continue',
        ),
    ],
)
def test_what_cannot_be_is_named(
    tokenizer: Any, call: Callable[[Any], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call(tokenizer)
