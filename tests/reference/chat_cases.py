"""Write what transformers' ``apply_chat_template`` makes of conversations: tests/fixtures/chat/cases.json.

    python tests/reference/chat_cases.py

It needs `transformers` 5 and `jinja2`. The templates beside the cases are written as the well-known families
of models write theirs, each with its ways and pitfalls; `marked` has what no other shows.
"""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

FIXTURES = Path(__file__).parent.parent / "fixtures"
TEMPLATES = {path.stem: path.read_text("utf-8") for path in sorted(FIXTURES.glob("chat/*.jinja"))}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather at a place: <b>"now"</b> & later',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Größe zählt, 東京 too"},
                "days": {"type": "integer", "minimum": 1, "default": 1.5e-7},
            },
            "required": ["city"],
        },
    },
}
CALL = {"function": {"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}, "id": "abcdef123"}

CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "question": [{"role": "user", "content": "Hello!"}],
    "talk": [
        {"role": "user", "content": "  Hi, who are you? "},
        {"role": "assistant", "content": "I am 小さい.\n"},
        {"role": "user", "content": "Good <b>&</b>.\n\n"},
    ],
    "system": [
        {"role": "system", "content": "Be brief.\nVery."},
        {"role": "user", "content": "What is 1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Sure?"},
    ],
    "answered": [{"role": "user", "content": "Say yes."}, {"role": "assistant", "content": "Yes, it is "}],
    "two users": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "unknown role": [{"role": "user", "content": "a"}, {"role": "wizard", "content": "b"}],
    "no content": [{"role": "user"}, {"role": "assistant", "content": None}],
    "tools": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "22 °C"},
        {"role": "assistant", "content": "It is warm."},
        {"role": "user", "content": "Thanks."},
    ],
    "thinking": [
        {"role": "user", "content": "Think."},
        {"role": "assistant", "content": "<think>\nold thought\n</think>\n\nAn answer."},
        {"role": "user", "content": "Again."},
        {"role": "assistant", "content": "Done.", "reasoning": "new thought\n"},
    ],
    "parts": [
        {"role": "system", "content": [{"type": "text", "text": "Look."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is it? "}]},
    ],
    "odd": [
        {"role": "skip", "content": "never"},
        {
            "role": "user",
            "name": "Ann",
            "content": "x",
            "extra": {"b": [True, None, 1.0, 0.5], "a": "it's <é>"},
        },
        {"role": "assistant", "content": "said"},
        {"role": "assistant", "content": "said more"},
        {"role": "stop", "content": "never"},
        {"role": "user", "content": "never"},
    ],
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"add_generation_prompt": True},
    {"tools": [WEATHER], "add_generation_prompt": True},
    {"continue_final_message": True},
]
EXTRA: list[tuple[str, str, dict[str, Any]]] = [
    ("llama3", "system", {"tools": [WEATHER], "tools_in_user_message": False}),
    ("llama3", "question", {"date_string": "1 Jan 2020", "bos_token": "<overridden>"}),
    ("qwen3", "question", {"add_generation_prompt": True, "enable_thinking": False}),
    ("qwen3", "thinking", {"continue_final_message": "reasoning_content"}),
    ("gemma3", "parts", {"continue_final_message": True}),
    ("marked", "talk", {"documents": [{"title": "One", "text": "a\nb"}, {"title": "two", "text": "c"}]}),
    ("chatml", "answered", {"continue_final_message": True, "add_generation_prompt": True}),
    ("chatml", "answered", {"continue_final_message": "thinking"}),
]
#: Which conversations are tokenized, and how.
TOKENIZED: list[dict[str, Any]] = [
    {"return_assistant_tokens_mask": True},
    {"return_assistant_tokens_mask": True, "max_length": 20, "truncation": True},
    {"return_dict": False, "add_generation_prompt": True},
]
#: A conversation in which a user writes what only templates should, and how it is tokenized.
CONTROLLING: list[dict[str, Any]] = [
    {"role": "user", "content": "a <mask> b</s><s> \U000f0000</s>\U000f0001 <unk>"},
    {"role": "assistant", "content": "</s>"},
    {"role": "user", "content": ""},
]
SANITIZED: list[dict[str, Any]] = [
    {},
    {"add_generation_prompt": True, "return_dict": False},
    {"max_length": 9, "truncation": True},
    {"max_length": 60, "padding": "max_length"},
    {"tokenize": False},
]


def outcome(tokenizer: Any, conversation: Any, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": tokenizer.apply_chat_template(conversation, **settings)}
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / "byte_level")
    cases = []
    for template, text in TEMPLATES.items():
        tokenizer.chat_template = text
        for name, conversation in CONVERSATIONS.items():
            for settings in SETTINGS if name in ("question", "talk") else SETTINGS[1:]:
                made = outcome(tokenizer, conversation, {**settings, "tokenize": False})
                cases.append({"template": template, "conversation": name, "settings": settings, **made})
    for template, name, settings in EXTRA:
        tokenizer.chat_template = TEMPLATES[template]
        made = outcome(tokenizer, CONVERSATIONS[name], {**settings, "tokenize": False})
        cases.append({"template": template, "conversation": name, "settings": settings, **made})
    tokenizer.chat_template = TEMPLATES["marked"]
    tokenized = []
    for settings in TOKENIZED:
        for name in ("talk", "odd"):
            made = outcome(tokenizer, CONVERSATIONS[name], settings)
            if hasattr(made.get("result"), "data"):
                made["result"] = dict(made["result"])
            tokenized.append({"conversation": name, "settings": settings, **made})
    sanitized = []
    for template in ("chatml", "llama3", "mistral"):
        tokenizer.chat_template = TEMPLATES[template]
        for settings in SANITIZED:
            made = outcome(tokenizer, CONTROLLING, {"sanitize_control_tokens": True, **settings})
            if hasattr(made.get("result"), "data"):
                made["result"] = dict(made["result"])
            sanitized.append({"template": template, "settings": settings, **made})
    messages = []
    *history, message = CONVERSATIONS["system"]
    for template in ("chatml", "llama3", "mistral"):
        tokenizer.chat_template = TEMPLATES[template]
        after = tokenizer.encode_message_with_chat_template(message, history)
        alone = tokenizer.encode_message_with_chat_template(message)
        messages.append({"template": template, "after": after, "alone": alone})
    recorded = {
        "conversations": CONVERSATIONS,
        "cases": cases,
        "tokenized": tokenized,
        "messages": messages,
        "controlling": CONTROLLING,
        "sanitized": sanitized,
    }
    path = FIXTURES / "chat" / "cases.json"
    lines = (
        f'"{key}": [\n' + ",\n".join(json.dumps(one, ensure_ascii=False) for one in value) + "\n]"
        if isinstance(value, list)
        else f'"{key}": {json.dumps(value, ensure_ascii=False)}'
        for key, value in recorded.items()
    )
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    errors = sum("error" in case for case in cases)
    print(f"{len(cases)} cases, {errors} of them errors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
