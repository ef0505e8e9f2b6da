# ruff: noqa: E501  (where a line of a template ends is a part of it)
"""Write tests/fixtures/chat/cases.json: conversations with what transformers' templates make of them.

    PYTHONPATH=tests python -m reference.chat_templates

It needs `transformers` 5 and `jinja2`. The templates are written for this, with what those on the hub do:
whitespace control, namespaces, loops that stop, tools as JSON, exceptions, generation blocks, macros.
"""

import json
from pathlib import Path
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

FILE = Path(__file__).resolve().parent.parent / "fixtures" / "chat" / "cases.json"

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Be brief.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}
"""
HEADERS = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if system_message or tools is not none %}
    {{- "<|header|>system<|/header|>\\n\\n" }}
    {%- if tools is not none %}
        {{- "Tools:\\n\\n" }}
        {%- for t in tools %}
            {{- t | tojson(indent=4) }}
            {{- "\\n\\n" }}
        {%- endfor %}
    {%- endif %}
    {{- system_message + "<|eot|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' or message.role == 'ipython' %}
        {{- "<|header|>ipython<|/header|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot|>" }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|header|>assistant<|/header|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot|>" }}
    {%- else %}
        {{- '<|header|>' + message['role'] + '<|/header|>\\n\\n'+ message['content'] | trim + '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|header|>assistant<|/header|>\\n\\n' }}
{%- endif %}
"""
STRICT = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}
{% elif message['role'] == 'assistant' %}{% generation %}{{ message['content'].strip() + eos_token }}{% endgeneration %}
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"""
THINKING = """{%- macro shown(text, mark='*') -%}{{ mark }}{{ text | replace('\\n', ' ') }}{{ mark }}{%- endmacro %}
{%- set ns = namespace(last=-1, seen=[]) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not (message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.last = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
        {%- set reasoning = message.reasoning_content %}
    {%- elif '</think>' in message.content %}
        {%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- if loop.index0 > ns.last and reasoning is defined %}
        {{- '<think>' ~ shown(reasoning) ~ '</think>' }}
    {%- endif %}
    {{- (content if content is defined else message.content) ~ '|' }}
{%- endfor %}
{{- enable_thinking | default(true) }} {{ documents | map(attribute='title') | join(', ') if documents }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{%- for key, value in {'b': 1, 'a': [1.5, none]}.items() %} {{ key }}={{ value }}{% endfor %}
"""
CHAT = [
    {"role": "user", "content": "Hi, <b>there</b>!"},
    {"role": "assistant", "content": " It's déjà vu \n"},
    {"role": "user", "content": "你好"},
]
SYSTEM = [{"role": "system", "content": " Be kind. "}, *CHAT]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather's state, <now>",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": []},
        },
    }
]
CALLS = [
    CHAT[0],
    {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Köln", "days": 2, "x": 0.5}}}],
    },
    {"role": "tool", "content": {"temperature": [21.0, True, None]}},
]
THOUGHTS = [
    CHAT[0],
    {"role": "assistant", "content": "<think>\nwell\nso\n</think>\n\nHello"},
    {"role": "user", "content": "<tool>7</tool>"},
    {"role": "assistant", "content": "Yes", "reasoning_content": "hm"},
]
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    (CHATML, CHAT, {}),
    (CHATML, SYSTEM, {"add_generation_prompt": True}),
    (CHATML, CHAT[:2], {"continue_final_message": True}),
    (HEADERS, SYSTEM, {"bos_token": "<s>", "add_generation_prompt": True}),
    (HEADERS, CALLS, {"bos_token": "<s>", "tools": TOOLS}),
    (HEADERS, CHAT[:2], {"bos_token": "<s>", "continue_final_message": True}),
    (STRICT, CHAT, {"bos_token": "<s>", "eos_token": "</s>"}),
    (THINKING, THOUGHTS, {"documents": [{"title": "A", "text": "b"}, {"title": "C", "text": "d"}]}),
    (THINKING, THOUGHTS, {"enable_thinking": False}),
]


def main() -> None:
    cases = []
    for template, messages, options in CASES:
        texts, _ = render_jinja_template([messages], chat_template=template, **options)
        cases.append({"template": template, "messages": messages, "options": options, "text": texts[0]})
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
