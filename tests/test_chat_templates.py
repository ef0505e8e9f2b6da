"""Conversations as texts, compared with what transformers makes of them."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from fixture_cases import FIXTURES
from trustformers import AutoTokenizer
from trustformers.tokenizers.json_schema import (
    DocstringParsingException,
    TypeHintParsingException,
    get_json_schema,
)

RECORDED = json.loads((FIXTURES / "chat" / "cases.json").read_text(encoding="utf-8"))
TEMPLATES = {path.stem: path.read_text("utf-8") for path in sorted(FIXTURES.glob("chat/*.jinja"))}
HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / "byte_level")


def outcome(tokenizer: Any, conversation: Any, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": tokenizer.apply_chat_template(conversation, **settings)}
    except (ValueError, TypeError) as error:
        return {"error": type(error).__name__, "message": str(error)}


@pytest.mark.parametrize("name", TEMPLATES)
def test_texts_are_those_of_transformers(tokenizer: Any, name: str) -> None:
    tokenizer.chat_template = TEMPLATES[name]
    cases = [case for case in RECORDED["cases"] if case["template"] == name]
    differing = []
    for case in cases:
        conversation = RECORDED["conversations"][case["conversation"]]
        before = json.dumps(conversation)
        ours = outcome(tokenizer, conversation, {**case["settings"], "tokenize": False})
        assert json.dumps(conversation) == before
        if "result" in case:
            same = ours.get("result") == case["result"]
        elif case["error"] in ("TemplateError", "ValueError"):
            # What the template raises, or a check: the same words.
            same = ours.get("message") == case["message"]
        else:
            # What Jinja itself says of a template that asks for what is not there.
            same = ours.get("error") == "ValueError"
        if not same:
            differing.append((case, ours))
    assert len(cases) > 30
    assert not differing, "\n\n".join(f"{case}\n{ours}" for case, ours in differing)


@pytest.mark.parametrize(
    "case", RECORDED["tokenized"], ids=lambda case: f"{case['conversation']}-{case['settings']}"
)
def test_ids_and_masks_are_those_of_transformers(tokenizer: Any, case: dict[str, Any]) -> None:
    tokenizer.chat_template = TEMPLATES["marked"]
    made = tokenizer.apply_chat_template(RECORDED["conversations"][case["conversation"]], **case["settings"])
    assert (dict(made) if hasattr(made, "data") else made) == case["result"]


@pytest.mark.parametrize("case", RECORDED["messages"], ids=lambda case: case["template"])
def test_a_message_adds_what_it_adds_with_transformers(tokenizer: Any, case: dict[str, Any]) -> None:
    tokenizer.chat_template = TEMPLATES[case["template"]]
    *history, message = RECORDED["conversations"]["system"]
    assert tokenizer.encode_message_with_chat_template(message, history) == case["after"]
    assert tokenizer.encode_message_with_chat_template(message) == case["alone"]
    with pytest.raises(ValueError, match="does not support `add_generation_prompt`"):
        tokenizer.encode_message_with_chat_template(message, add_generation_prompt=False)


def test_batches_are_padded_and_masked(tokenizer: Any) -> None:
    tokenizer.chat_template = TEMPLATES["marked"]
    talk = RECORDED["conversations"]["talk"]
    made = tokenizer.apply_chat_template(
        [HELLO, talk], padding=True, return_tensors="np", return_assistant_tokens_mask=True
    )
    assert made["input_ids"].shape == made["assistant_masks"].shape
    assert made["input_ids"].dtype == made["assistant_masks"].dtype == np.int64
    assert made["assistant_masks"].sum(axis=1).tolist()[0] == 0
    said = made["input_ids"][1][made["assistant_masks"][1] == 1]
    assert tokenizer.decode(said) == "I am 小さい.\n<|end|>"
    texts = tokenizer.apply_chat_template([HELLO, talk], tokenize=False)
    assert [texts[0], texts[1]] == [
        tokenizer.apply_chat_template(one, tokenize=False) for one in (HELLO, talk)
    ]


def test_several_templates_by_name(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.chat_template = {"default": "{{ messages[0].content }}", "tool_use": "tools", "rag": "{{ 1 }}"}

    def says(tok: Any, **settings: Any) -> str:
        return str(tok.apply_chat_template(HELLO, tokenize=False, **settings))

    tokenizer.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.rglob("*.jinja")} == {
        "chat_template.jinja",
        "tool_use.jinja",
        "rag.jinja",
    }
    for one in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        assert says(one) == "Hello!"
        assert says(one, tools=[]) == "tools"
        assert says(one, chat_template="rag") == "1"
        assert says(one, chat_template="{{ bos_token }}") == "<s>"
    tokenizer.save_pretrained(tmp_path / "old", save_jinja_files=False)
    assert not list((tmp_path / "old").rglob("*.jinja"))
    assert says(AutoTokenizer.from_pretrained(tmp_path / "old"), chat_template="rag") == "1"
    del tokenizer.chat_template["default"]
    with pytest.raises(ValueError, match=r"no default specified.*\['rag', 'tool_use'\]"):
        says(tokenizer)


def test_one_template_is_written_and_read(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.chat_template = TEMPLATES["qwen3"]
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja").read_text() == tokenizer.chat_template
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == tokenizer.chat_template


def test_control_tokens_are_sanitized_as_in_transformers(tokenizer: Any) -> None:
    for case in RECORDED["sanitized"]:
        tokenizer.chat_template = TEMPLATES[case["template"]]
        settings = {"sanitize_control_tokens": True, **case["settings"]}
        ours = outcome(tokenizer, RECORDED["controlling"], settings)
        if "result" in case:
            result = ours["result"]
            assert (dict(result) if hasattr(result, "data") else result) == case["result"], case
        else:
            assert (ours["error"], ours["message"]) == (case["error"], case["message"])


def test_what_a_template_writes_is_a_control_token(tokenizer: Any) -> None:
    tokenizer.add_tokens(["[INST]", "[END]"])
    tokenizer.chat_template = "{% for m in messages %}{{ '[INST]' ~ m.content }}{% endfor %}"
    asked = [{"role": "user", "content": "[INST]"}], [{"role": "user", "content": "[END]"}]
    # They are no special tokens, so the tokenizer finds them whatever it is told.
    with pytest.raises(ValueError, match=r"Can't sanitize '\[INST\]'"):
        tokenizer.apply_chat_template(asked[0], sanitize_control_tokens=True)
    assert tokenizer.convert_tokens_to_ids("[END]") in tokenizer.apply_chat_template(
        asked[1], sanitize_control_tokens=True, return_dict=False
    )
    tokenizer.chat_control_tokens = ["[END]"]
    with pytest.raises(ValueError, match=r"Can't sanitize '\[END\]'"):
        tokenizer.apply_chat_template([asked[0], asked[1]], sanitize_control_tokens=True)


def test_what_cannot_be_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.chat_template is not set and no template argument was"):
        tokenizer.apply_chat_template(HELLO)
    tokenizer.chat_template = "{{ messages }}"
    with pytest.raises(ValueError, match="empty conversation"):
        tokenizer.apply_chat_template([])
    with pytest.raises(TypeError, match="Chat messages should be dicts"):
        tokenizer.apply_chat_template(["Hello!"])
    with pytest.raises(ValueError, match="requires `return_dict=True`"):
        tokenizer.apply_chat_template(HELLO, return_assistant_tokens_mask=True, tokenize=False)
    with pytest.raises(ValueError, match="not compatible with return_assistant_tokens_mask"):
        tokenizer.apply_chat_template(HELLO, return_assistant_tokens_mask=True, continue_final_message=True)
    with pytest.raises(ValueError, match="Tools should either be a JSON schema"):
        tokenizer.apply_chat_template(HELLO, tools=["get_weather"])
    with pytest.raises(TypeError, match="Documents should be"):
        tokenizer.apply_chat_template(HELLO, documents=["text"])
    with pytest.raises(ValueError, match="line 2"):
        tokenizer.apply_chat_template(HELLO, chat_template="\n{{ messages.x.y }}")
    with pytest.raises(ValueError, match="cannot be rendered"):
        tokenizer.apply_chat_template(HELLO, chat_template="{% for %}")


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set n = namespace(x='abcdefgh') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    ],
)
def test_a_template_that_does_not_end_is_an_error(tokenizer: Any, template: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ValueError, match="chat template"):
        tokenizer.apply_chat_template(HELLO, chat_template=template)
    assert time.monotonic() - begun < 20


def test_templates_see_plain_values_and_the_clock(tokenizer: Any) -> None:
    @dataclasses.dataclass
    class Message:
        role: str
        content: Any

    def render(template: str, **settings: Any) -> str:
        message = Message("user", [np.float32(0.5), {"image": np.zeros(3)}])
        made = tokenizer.apply_chat_template([message], chat_template=template, tokenize=False, **settings)
        return str(made)

    assert render("{{ messages[0].content }}{{ x }}", x=object()) == "[0.5, {'image': '<ndarray>'}]<object>"
    assert render("{{ strftime_now('%Y') }}") == time.strftime("%Y")
    assert render("{{ messages.__class__ }}{{ ''.__class__ }}{{ raise_exception.__globals__ }}") == ""


def weather(
    city: str, much: dict[str, float | str], unit: Literal["C", "F"] = "C", days: list[int] | None = None
) -> float:
    """
    The weather.

    Args:
        city (str): Where,
            exactly.
        unit: Which (choices: ["C", "F"])
        days: When
        much: Anything

    Returns:
        How warm it is.
    """
    return 0.0


def test_functions_are_tools(tokenizer: Any) -> None:
    assert get_json_schema(weather) == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where, exactly."},
                    "unit": {"type": "string", "enum": ["C", "F"], "description": "Which"},
                    "days": {
                        "type": "array",
                        "items": {"type": "integer"},
                        "nullable": True,
                        "description": "When",
                    },
                    "much": {
                        "type": "object",
                        "additionalProperties": {"type": ["number", "string"]},
                        "description": "Anything",
                    },
                },
                "required": ["city", "much"],
            },
            "return": {"type": "number", "description": "How warm it is."},
        },
    }
    made = tokenizer.apply_chat_template(
        HELLO, tools=[weather], chat_template="{{ tools[0].function.name }}", tokenize=False
    )
    assert made == "weather"


def test_functions_that_say_too_little_are_no_tools() -> None:
    def silent(x: int) -> None: ...

    def untyped(x):  # type: ignore[no-untyped-def]
        """Do it."""

    def odd(x: Path) -> None:
        """Do it."""

    def vague(x: int) -> None:
        """Do it."""

    for function, error in (
        (silent, DocstringParsingException),
        (untyped, TypeHintParsingException),
        (odd, TypeHintParsingException),
        (vague, DocstringParsingException),
    ):
        with pytest.raises(error):
            get_json_schema(function)
