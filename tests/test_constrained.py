"""Output that keeps to a schema, a regular expression or a grammar."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixture_cases import FIXTURES, heads
from trustformers import AutoModelForCausalLM, AutoTokenizer, set_seed

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["cat", "dog", 'é"\\']},
        "ages": {"type": "array", "items": {"$ref": "#/$defs/age"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["name", "kind", "ages"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "pet", "strict": True, "schema": SCHEMA}}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "tokenizers" / "byte_level")
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> Any:
    """A tiny model that says anything: more tokens than its tokenizer has, all of them about as likely."""
    llamas = heads(FIXTURES / "architectures" / "llama" / "default")
    head = next(head for head in llamas if head.class_name == "LlamaForCausalLM")
    model = AutoModelForCausalLM.from_pretrained(head.folder)
    model.resize_token_embeddings(len(tokenizer) + 3)
    drawn = np.random.default_rng(7)
    state = {name: np.asarray(value) for name, value in model.state_dict().items()}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = drawn.normal(size=state[name].shape).astype(np.float32)
    model.load_state_dict(state)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def write(model: Any, tokenizer: Any, response_format: Any, **settings: Any) -> list[str]:
    prompts = settings.pop("prompts", [[5, 6, 7]])
    settings = {"max_new_tokens": 1500, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids = model.generate(prompts, response_format=response_format, tokenizer=tokenizer, **settings)
    return [tokenizer.decode(row[len(prompts[0]) :], skip_special_tokens=True) for row in ids]


def check(text: str) -> None:
    made = json.loads(text)
    assert set(made) == {"name", "kind", "ages"}
    assert len(made["name"]) <= 8
    assert made["kind"] in SCHEMA["properties"]["kind"]["enum"]  # type: ignore[index]
    assert 1 <= len(made["ages"]) <= 2
    assert all(isinstance(age, int) and 0 <= age <= 99 for age in made["ages"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_sample": True, "top_k": 0},
        {"do_sample": True, "top_k": 5, "top_p": 0.9, "num_return_sequences": 3},
        {"num_beams": 3},
        {"num_beams": 4, "do_sample": True, "top_k": 0},
        {"prompt_lookup_num_tokens": 3},
        {"repetition_penalty": 1.5},
        {"prompts": [[5, 6, 7], [8, 9, 10], [1, 1, 30]], "do_sample": True, "top_k": 0},
        {"prompts": [[5, 6, 7], [8, 9, 10]], "num_beams": 2},
    ],
    ids=str,
)
def test_what_comes_back_is_what_the_schema_says(
    model: Any, tokenizer: Any, settings: dict[str, Any]
) -> None:
    set_seed(3)
    for text in write(model, tokenizer, JSON_SCHEMA, **settings):
        check(text)


def test_an_assistant_drafts_within_the_schema(model: Any, tokenizer: Any) -> None:
    alone = write(model, tokenizer, JSON_SCHEMA)
    assert write(model, tokenizer, JSON_SCHEMA, assistant_model=model) == alone
    check(alone[0])


def test_expressions_grammars_and_any_object(model: Any, tokenizer: Any) -> None:
    set_seed(1)
    settings = {"do_sample": True, "top_k": 0, "num_return_sequences": 4}
    date = r"(19|20)\d\d-(0[1-9]|1[0-2]), [äöü]{2}"
    for text in write(model, tokenizer, {"type": "regex", "regex": date}, **settings):
        assert re.fullmatch(date, text)
    grammar = 'start: "[" number ("," number)* "]"\nnumber: /[0-9]{1,3}/'
    for text in write(model, tokenizer, {"type": "grammar", "grammar": grammar}, **settings):
        assert re.fullmatch(r"\[\d{1,3}(,\d{1,3})*\]", text)
    schema = {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 2}
    for text in write(model, tokenizer, {"type": "json_object"}, max_new_tokens=40, **settings):
        assert text.startswith("{")
    assert all(
        isinstance(json.loads(text), dict)
        for text in write(model, tokenizer, {"type": "json_schema", "json_schema": {"schema": schema}})
        if text.endswith("}")
    )


def test_what_a_length_cuts_is_a_beginning(model: Any, tokenizer: Any) -> None:
    whole, part = write(model, tokenizer, JSON_SCHEMA), write(model, tokenizer, JSON_SCHEMA, max_new_tokens=6)
    assert whole[0].startswith(part[0])
    assert len(part[0]) < len(whole[0])


def test_pieces_come_as_they_are_written(model: Any, tokenizer: Any) -> None:
    pieces = list(model.stream("Hello", tokenizer=tokenizer, response_format=JSON_SCHEMA, max_new_tokens=900))
    assert len(pieces) > 1
    check("".join(pieces))


def test_none_and_text_are_free(model: Any, tokenizer: Any) -> None:
    free = write(model, tokenizer, None, max_new_tokens=5)
    assert write(model, tokenizer, {"type": "text"}, max_new_tokens=5) == free


@pytest.mark.parametrize(
    ("response_format", "message"),
    [
        ({"type": "regex", "regex": "a(b"}, "unclosed group"),
        ({"type": "regex"}, "missing field `regex`"),
        ({"type": "xml"}, "unknown variant `xml`"),
        ({}, "missing field `type`"),
        ("json", "must be a dict"),
        ({"type": "regex", "regex": {1, 2}}, "not JSON"),
        ({"type": "grammar", "grammar": "start: foo"}, r"grammar: at 1\(8\)"),
        (
            {"type": "json_schema", "json_schema": {"schema": {"properties": {"a": {"type": "strin"}}}}},
            "#/properties/a: .*strin",
        ),
        ({"type": "json_schema", "json_schema": {"schema": {"items": {"oneOf": [{}, {}]}}}}, "coerce_one_of"),
    ],
)
def test_what_is_no_format_is_refused(model: Any, tokenizer: Any, response_format: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write(model, tokenizer, response_format)


def test_settings_that_contradict_it_are_refused(model: Any, tokenizer: Any) -> None:
    short = {"type": "regex", "regex": "ab"}
    with pytest.raises(ValueError, match="pass the model's tokenizer"):
        model.generate([[5]], response_format=short)
    with pytest.raises(ValueError, match="pass one"):
        write(model, tokenizer, short, prefix_allowed_tokens_fn=lambda row, ids: [1])
    with pytest.raises(ValueError, match="min_new_tokens"):
        write(model, tokenizer, short, min_new_tokens=9)
    with pytest.raises(ValueError, match="contrastive"):
        write(model, tokenizer, short, penalty_alpha=0.6, top_k=4)
    with pytest.raises(ValueError, match="does not allow token"):
        write(model, tokenizer, short, logits_processor=[lambda ids, scores: np.eye(scores.shape[1])[9:10]])


def test_without_an_end_there_is_no_telling_when_a_text_is_complete(model: Any, tokenizer: Any) -> None:
    ends = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = None
    try:
        with pytest.raises(ValueError, match="eos_token_id"):
            write(model, tokenizer, {"type": "regex", "regex": "ab"})
    finally:
        model.generation_config.eos_token_id = ends


def test_a_real_model_fills_in_a_form(smollm2_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(smollm2_path)
    tokenizer = AutoTokenizer.from_pretrained(smollm2_path)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Describe a pet as JSON."}],
        add_generation_prompt=True,
        return_dict=False,
    )
    check(write(model, tokenizer, JSON_SCHEMA, prompts=[ids], max_new_tokens=200)[0])
