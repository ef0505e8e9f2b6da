"""Pipelines that write: whose settings count, what is passed on, and what is no input."""

import copy
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_cases import CHATS, CHECKPOINTS, TEXTS

from trustformers import (
    GenerationConfig,
    LogitsProcessor,
    StoppingCriteria,
    TextStreamer,
    pipeline,
)
from trustformers.pipelines import TextGenerationPipeline, TranslationPipeline
from trustformers.pipelines.text2text_generation import ReturnType as Written
from trustformers.pipelines.text_generation import Chat, ReturnType

GREEDY = {"do_sample": False, "max_new_tokens": 6}
SUMMARY = {"num_beams": 3, "length_penalty": 2.0, "min_length": 4}


def made(name: str, task: str, **kwargs: Any) -> Any:
    return pipeline(task, model=str(CHECKPOINTS[name].folder), **kwargs)


@pytest.fixture(scope="module")
def writer() -> Any:
    return made("writer", "text-generation")


class TestSettings:
    """The order in which settings are heard."""

    def arguments(self, pipe: Any, **call: Any) -> dict[str, Any]:
        _, during, _ = pipe._sanitize_parameters(**call)
        arguments = pipe._generate_arguments({**pipe._forward_params, **during})
        config = arguments.pop("generation_config", None)
        own = {} if config is None else config.to_diff_dict()
        return {name: value for name, value in {**own, **arguments}.items() if name != "pad_token_id"}

    def test_defaults(self, writer: Any) -> None:
        drawn = {"max_new_tokens": 256, "do_sample": True, "temperature": 0.7}
        assert self.arguments(writer) == drawn
        assert self.arguments(writer, do_sample=False) == {"max_new_tokens": 256, "do_sample": False}
        assert self.arguments(writer, max_length=9, temperature=1.5) == {
            "do_sample": True,
            "max_length": 9,
            "temperature": 1.5,
        }
        assert self.arguments(made("t5", "text2text-generation")) == {"max_new_tokens": 256, "num_beams": 4}

    def test_the_call_over_the_constructor_over_the_model(self) -> None:
        pipe = made("writer", "text-generation", top_k=3, num_beams=2)
        pipe.model.generation_config.num_beams = 5
        pipe.model.generation_config.temperature = 0.1
        arguments = self.arguments(pipe, top_k=4)
        assert (arguments["top_k"], arguments["num_beams"]) == (4, 2)
        assert "temperature" not in arguments  # it is the model's

    def test_a_configuration_takes_the_place_of_the_constructors_settings(self) -> None:
        pipe = made("writer", "text-generation", top_k=3)
        config = GenerationConfig(top_p=0.5)
        arguments = self.arguments(pipe, generation_config=config)
        assert "top_k" not in arguments
        assert (arguments["top_p"], arguments["max_new_tokens"]) == (0.5, 256)
        assert config == GenerationConfig(top_p=0.5)
        pipe = made("writer", "text-generation", generation_config=config, top_k=3)
        arguments = self.arguments(pipe, temperature=0.2)
        assert (arguments["top_p"], arguments["top_k"], arguments["temperature"]) == (0.5, 3, 0.2)

    # As transformers 4.57 is heard, which a spy in its `generate` has shown.
    def test_the_task_over_the_constructor_over_defaults_over_the_model(self) -> None:
        pipe = made("t5", "summarization", num_beams=2, top_k=3)
        pipe.model.generation_config.max_new_tokens = 7
        assert self.arguments(pipe) == {**SUMMARY, "top_k": 3, "max_new_tokens": 256}
        assert self.arguments(pipe, num_beams=5)["num_beams"] == 5
        assert self.arguments(made("t5", "text2text-generation", num_beams=2))["num_beams"] == 2

    def test_a_configuration_silences_the_task_too(self) -> None:
        pipe = made("t5", "summarization", num_beams=2)
        config = GenerationConfig(max_new_tokens=5)
        assert self.arguments(pipe, generation_config=config) == {"max_new_tokens": 5}
        assert pipe.prefix == "Summarize: "

    @pytest.mark.parametrize("place", ["call", "constructor", "task", "model"])
    def test_a_length_that_somebody_chose_takes_the_place_of_the_default(self, place: str) -> None:
        pipe = made("t5", "summarization", **({"max_length": 9} if place == "constructor" else {}))
        if place == "task":
            pipe._task_settings["max_length"] = 9
        if place == "model":
            pipe.model.generation_config.max_length = 9
        arguments = self.arguments(pipe, **({"max_length": 9} if place == "call" else {}))
        assert "max_new_tokens" not in arguments
        assert len(pipe(TEXTS[0], return_tensors=True, **arguments)[0]["summary_token_ids"]) <= 9

    def test_a_translation_finds_its_languages(self) -> None:
        with pytest.warns(UserWarning, match='defaulting to "translation_en_to_de"'):
            pipe = made("t5", "translation")
        assert (pipe.task, pipe.prefix) == ("translation_en_to_de", "Translate it to German. ")


class TestChats:
    def test_generators_of_chats_and_of_messages(self, writer: Any) -> None:
        answers = writer(CHATS, **GREEDY)
        assert list(writer((chat for chat in CHATS), **GREEDY)) == answers
        assert writer((message for message in CHATS[1]), **GREEDY) == answers[1]
        assert writer(tuple(CHATS[1]), **GREEDY) == answers[1]
        assert writer(Chat(CHATS[1]), **GREEDY) == answers[1]
        assert writer(tuple(CHATS), **GREEDY) == answers
        assert list(writer((text for text in ()), **GREEDY)) == []
        assert writer([], **GREEDY) == []

    def test_what_was_given_stays_as_it_was(self, writer: Any) -> None:
        chats = copy.deepcopy(CHATS)
        writer(chats, **GREEDY)
        assert chats == CHATS

    def test_tools_and_documents_reach_the_template(self, writer: Any) -> None:
        template = "{{ tools[0]['function']['name'] }} {{ documents[0]['text'] }}"
        options = {"chat_template": template}
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
        given = {"tools": tools, "documents": [{"title": "a", "text": "river"}]}
        inputs = writer.preprocess(Chat(CHATS[0]), tokenizer_encode_kwargs=options, **given)
        assert writer.tokenizer.decode(inputs["input_ids"][0]) == "weather river"

    def test_a_message_without_a_role(self, writer: Any) -> None:
        bad = [*CHATS[0], {"content": "x"}]
        for chat in (bad, [CHATS[0], bad], iter(bad), iter([CHATS[0], bad])):
            with pytest.raises(ValueError, match="must have a 'role' and 'content' key"):
                list(writer(chat, **GREEDY))
        with pytest.raises(ValueError, match="input 1: When passing chat dicts"):
            writer([CHATS[0], bad], **GREEDY)
        with pytest.raises(TypeError, match="got dict"):
            writer([{"content": "x"}], **GREEDY)


class TestPassedOn:
    """What goes to ``generate`` as it is."""

    def test_a_streamer(self, writer: Any, capsys: pytest.CaptureFixture[str]) -> None:
        streamer = TextStreamer(writer.tokenizer, skip_prompt=True)
        answer = writer(TEXTS[0], streamer=streamer, return_full_text=False, **GREEDY)
        assert capsys.readouterr().out.rstrip("\n") == answer[0]["generated_text"]

    def test_criteria_and_processors(self, writer: Any) -> None:
        class After(StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
                return input_ids.shape[1] >= length + 2

        class Only(LogitsProcessor):
            def __call__(self, input_ids: Any, scores: Any) -> Any:
                scores = np.full_like(np.asarray(scores), -np.inf)
                scores[:, 72] = 0.0
                return type(input_ids).from_numpy(scores)

        length = len(writer.tokenizer(TEXTS[0])["input_ids"])
        calls = {"stopping_criteria": [After()], "logits_processor": [Only()], "return_tensors": True}
        (answer,) = writer(TEXTS[0], **calls, **GREEDY)
        assert answer["generated_token_ids"][length:] == [72, 72]

    def test_an_assistant(self) -> None:
        assistant = made("writer", "text-generation").model
        pipe = made("writer", "text-generation", assistant_model=assistant)
        expected = made("writer", "text-generation")(TEXTS[0], **GREEDY)
        assert pipe.assistant_model is assistant
        assert pipe(TEXTS[0], **GREEDY) == expected

    def test_an_assistant_by_name(self) -> None:
        named = str(CHECKPOINTS["writer"].folder)
        expected = made("writer", "text-generation")(TEXTS[0], **GREEDY)
        assert made("writer", "text-generation", assistant_model=named)(TEXTS[0], **GREEDY) == expected
        pipe = made("t5", "summarization", assistant_model=str(CHECKPOINTS["t5"].folder), num_beams=1)
        assert type(pipe.assistant_model) is type(pipe.model)

    def test_an_assistant_of_other_tokens(self) -> None:
        assistant = made("prefixed-writer", "text-generation").model
        assistant.config.eos_token_id = 5
        with pytest.raises(ValueError, match="different tokenizer"):
            made("writer", "text-generation", assistant_model=assistant)
        tokenizer = made("writer", "text-generation").tokenizer
        other = {"assistant_model": assistant, "assistant_tokenizer": tokenizer}
        with pytest.raises(ValueError, match="assistant_tokenizer= is not supported"):
            made("writer", "text-generation", **other)(TEXTS[0], **GREEDY)

    def test_a_form_for_the_answer(self, writer: Any) -> None:
        form = {"type": "regex", "regex": "(yes|no)!"}
        for answers in writer(TEXTS, response_format=form, return_full_text=False, batch_size=3, **GREEDY):
            assert answers[0]["generated_text"] in ("yes!", "no!")

    def test_a_generator_makes_drawing_repeatable(self, writer: Any) -> None:
        def draw(number: int) -> str:
            return writer(TEXTS[0], max_new_tokens=12, generator=number)[0]["generated_text"]  # type: ignore[no-any-return]

        assert draw(3) == draw(3)
        assert len({draw(number) for number in range(4)}) > 1

    def test_several_texts_are_drawn(self, writer: Any) -> None:
        answers = writer(TEXTS[:2], max_new_tokens=12, num_return_sequences=3, batch_size=2)
        assert [len({one["generated_text"] for one in entries}) > 1 for entries in answers] == [True, True]


class TestAnswers:
    def test_what_is_returned(self, writer: Any) -> None:
        (full,) = writer(TEXTS[0], return_text=True, **GREEDY)
        (new,) = writer(TEXTS[0], return_type=ReturnType.NEW_TEXT, **GREEDY)
        assert full["generated_text"] == TEXTS[0] + new["generated_text"]
        assert writer(TEXTS[0], return_type=1, **GREEDY) == [new]
        assert writer(TEXTS[0], return_tensors=False, **GREEDY) == [full]
        pipe = made("t5", "text2text-generation")
        assert list(pipe(TEXTS[0], return_type=Written.TENSORS)[0]) == ["generated_token_ids"]
        assert list(pipe(TEXTS[0], return_tensors=False)[0]) == ["generated_text"]

    @pytest.mark.parametrize(
        "keywords",
        [
            {"return_full_text": True, "return_text": True},
            {"return_full_text": True, "return_tensors": True},
            {"return_text": True, "return_tensors": True},
        ],
    )
    def test_what_contradicts(self, writer: Any, keywords: dict[str, bool]) -> None:
        with pytest.raises(ValueError, match="mutually exclusive"):
            writer(TEXTS[0], **keywords)

    def test_what_stops_early_in_a_batch_is_as_alone(self, writer: Any) -> None:
        # Texts end at different steps, and the tokenizer's padding is its end.
        call = {
            "stop_sequence": ["on", "t"],
            "return_tensors": True,
            "do_sample": False,
            "max_new_tokens": 30,
        }
        call["pad_token_id"] = 3
        alone = writer(TEXTS, **call)
        assert len({len(one[0]["generated_token_ids"]) for one in alone}) > 1
        assert writer(TEXTS, batch_size=len(TEXTS), **call) == alone

    @pytest.mark.parametrize("place", ["call", "model", "config"])
    def test_a_length_of_the_whole_is_without_padding(self, place: str) -> None:
        pipe = made("writer", "text-generation")
        call: dict[str, Any] = {"return_tensors": True, "do_sample": False}
        if place == "model":
            pipe.model.generation_config.max_length = 80
        elif place == "config":
            call = {
                "return_tensors": True,
                "generation_config": GenerationConfig(max_length=80, do_sample=False),
            }
        else:
            call["max_length"] = 80
        alone = pipe(TEXTS, **call)
        assert max(len(one[0]["generated_token_ids"]) for one in alone) == 80
        assert pipe(TEXTS, batch_size=5, **call) == alone
        call = {**call, "max_length": 20}
        with pytest.raises(ValueError, match="input 2: Input length of input_ids is 20"):
            pipe(TEXTS, batch_size=5, **call)

    def test_a_beginning_that_is_drawn_together_with_others(self, writer: Any) -> None:
        call = {"return_tensors": True, "skip_special_tokens": False, **GREEDY}
        alone = [writer(text, **call) for text in TEXTS]
        assert alone[3][0]["generated_token_ids"][0] == writer.tokenizer.bos_token_id
        assert writer(TEXTS, batch_size=5, **call) == alone

    def test_padding_stands_before_the_text(self) -> None:
        pipe = made("writer", "text-generation")
        assert pipe.tokenizer.padding_side == "left"

    def test_outputs_of_encoder_decoders_with_scores(self) -> None:
        pipe = made("t5", "summarization")
        expected = pipe(TEXTS[0], max_new_tokens=5)
        assert pipe(TEXTS[0], max_new_tokens=5, return_dict_in_generate=True, output_scores=True) == expected


class TestLanguages:
    """Translations whose tokenizer knows languages."""

    @pytest.fixture
    def pipe(self) -> Any:
        pipe = made("bart", "translation", num_beams=1, max_new_tokens=5)
        known = {"de": 42, "en": 43, "fr": 44}

        class Tokenizer(type(pipe.tokenizer)):  # type: ignore[misc]
            def _build_translation_inputs(
                self,
                text: str,
                return_tensors: str,
                src_lang: str | None,
                tgt_lang: str | None,
                **kwargs: Any,
            ) -> Any:
                if src_lang is None or tgt_lang is None:
                    raise ValueError("Translation requires a `src_lang` and a `tgt_lang` for this model")
                inputs = self(f"{src_lang} {text}", return_tensors=return_tensors, **kwargs)
                inputs["forced_bos_token_id"] = known[tgt_lang]
                return inputs

        pipe.tokenizer.__class__ = Tokenizer
        return pipe

    def begins(self, answers: Any) -> list[int]:
        return [int(one["translation_token_ids"][1]) for one in answers]

    def test_they_are_told_by_call_constructor_and_task(self, pipe: Any) -> None:
        call = {"src_lang": "en", "tgt_lang": "de", "return_tensors": True}
        assert self.begins(pipe(TEXTS[0], **call)) == [42]
        assert self.begins(pipe(TEXTS, batch_size=2, truncation=True, **call)) == [42] * len(TEXTS)
        pipe.task = "translation_en_to_fr"
        assert self.begins(pipe(TEXTS[0], return_tensors=True)) == [44]
        assert self.begins(pipe(TEXTS[0], **{**call, "tgt_lang": "en"})) == [43]
        languages = {"src_lang": "en", "tgt_lang": "de"}
        again = TranslationPipeline(pipe.model, pipe.tokenizer, task="translation_en_to_fr", **languages)
        assert self.begins(again(TEXTS[0], return_tensors=True, max_new_tokens=5)) == [42]

    def test_the_language_of_the_text_is_read(self, pipe: Any) -> None:
        ids = pipe.preprocess(TEXTS[0], src_lang="fr", tgt_lang="de")["input_ids"]
        assert pipe.tokenizer.decode(ids[0], skip_special_tokens=True) == f"fr {TEXTS[0]}"

    def test_without_languages(self, pipe: Any) -> None:
        with pytest.raises(ValueError, match="requires a `src_lang` and a `tgt_lang`"):
            pipe(TEXTS[0])
        with pytest.raises(TypeError, match="translation takes a text, got int"):
            pipe(3)


class TestWarnings:
    def test_lengths_that_make_no_summary(self, caplog: pytest.LogCaptureFixture) -> None:
        made("bart", "summarization")(TEXTS[1], max_length=20, min_length=25, max_new_tokens=None)
        assert "Your min_length=25 must be inferior than your max_length=20" in caplog.text
        assert "Your max_length is set to 20, but your input_length is only" in caplog.text

    def test_a_translation_without_room(self, caplog: pytest.LogCaptureFixture) -> None:
        pipe = made("t5", "translation_en_to_de")
        with caplog.at_level(logging.WARNING):
            pipe(TEXTS[1], max_new_tokens=200)
        assert "bigger than 0.9" not in caplog.text
        pipe(TEXTS[2], max_new_tokens=4)
        assert "is bigger than 0.9 * max_length: 4" in caplog.text

    def test_an_end_of_several_tokens(self) -> None:
        pipe = made("bart", "text2text-generation")
        with pytest.warns(UserWarning, match="Stopping on a multiple token sequence"):
            pipe(TEXTS[0], stop_sequence="umbrellas")
        with pytest.raises(ValueError, match="at least one token"):
            pipe(TEXTS[0], stop_sequence="")


class TestNoInput:
    @pytest.mark.parametrize("given", [None, b"bytes", 3, [3], [["a", "b"]], ["a", None], {"text": "a"}])
    @pytest.mark.parametrize(
        ("name", "task"), [("writer", "text-generation"), ("t5", "summarization"), ("bart", "translation")]
    )
    def test_what_is_no_text(self, name: str, task: str, given: Any) -> None:
        with pytest.raises(TypeError, match="takes a text"):
            made(name, task)(given)

    @pytest.mark.parametrize(("name", "task"), [("writer", "text-generation"), ("t5", "summarization")])
    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_the_bad_one_is_named(self, name: str, task: str, batch_size: int) -> None:
        pipe = made(name, task)
        with pytest.raises(TypeError, match="input 2: "):
            pipe(["a", "b", 3], batch_size=batch_size, max_new_tokens=2)
        with pytest.raises(TypeError, match="input 1: "):
            list(pipe(iter(["a", 3]), batch_size=batch_size, max_new_tokens=2))
        with pytest.raises((ValueError, TypeError), match="input 1: "):
            pipe(["a", "\ud800"], batch_size=batch_size, max_new_tokens=2)

    def test_an_unknown_keyword(self, writer: Any) -> None:
        with pytest.raises(ValueError, match="max_newtokens"):
            writer(TEXTS[0], max_newtokens=3)
        with pytest.raises(ValueError, match="max_newtokens"):
            made("t5", "summarization")(TEXTS[0], max_newtokens=3)

    def test_a_model_whose_head_does_not_fit(self) -> None:
        with pytest.raises(ValueError, match="not supported for text-generation"):
            TextGenerationPipeline(made("labels", "text-classification").model, None, task="text-generation")
        with pytest.raises(ValueError, match="Unrecognized configuration class"):
            made("t5", "text-generation")
        with pytest.raises(ValueError, match="Unrecognized configuration class"):
            made("writer", "summarization")

    def test_prompts_that_are_too_long(self, writer: Any) -> None:
        long = "river " * 400
        with pytest.raises(RuntimeError, match="input 1: The sequence has 402 tokens"):
            writer(["a", long], **GREEDY)
        assert writer(long, handle_long_generation="hole", **GREEDY)[0]["generated_text"].startswith(long)
        with pytest.raises(ValueError, match="exceeds the models max length"):
            writer(long, handle_long_generation="hole", do_sample=False, max_new_tokens=200)
        with pytest.raises(ValueError, match="cannot infer how many new tokens"):
            writer(long, handle_long_generation="hole", do_sample=False, max_length=20, truncation=False)
        with pytest.raises(ValueError, match="not a valid value for `handle_long_generation`"):
            writer(long, handle_long_generation="cut")

    def test_nothing_to_begin_with(self) -> None:
        pipe = made("writer", "text-generation")
        pipe.model.generation_config.bos_token_id = None
        with pytest.raises(ValueError, match="`bos_token_id` has to be defined"):
            pipe("", **GREEDY)

    def test_a_tokenizer_that_cannot_pad(self) -> None:
        pipe = made("writer", "text-generation")
        pipe.tokenizer.pad_token = None
        assert pipe(TEXTS, **GREEDY)
        with pytest.raises(ValueError, match="without pad_token cannot do batching"):
            pipe(TEXTS, batch_size=2, **GREEDY)


def test_a_dataset_answers_lazily(writer: Any) -> None:
    read = []

    class Data:
        def __len__(self) -> int:
            return 100

        def __getitem__(self, index: int) -> str:
            read.append(index)
            return TEXTS[index % 3]

    answers: Iterator[Any] = writer(Data(), **GREEDY)
    assert next(answers) == writer(TEXTS[0], **GREEDY)
    assert 0 < len(read) < 100


def test_saved_and_opened_again(tmp_path: Path) -> None:
    pipe = made("t5", "summarization")
    pipe.save_pretrained(tmp_path)
    expected = pipe(TEXTS[0], max_new_tokens=5)
    assert pipeline("summarization", model=str(tmp_path))(TEXTS[0], max_new_tokens=5) == expected


def test_settings_of_a_checkpoints_own_file(tmp_path: Path) -> None:
    folder = tmp_path / "writer"
    shutil.copytree(CHECKPOINTS["writer"].folder, folder)
    settings = {"max_length": 40, "do_sample": False, "eos_token_id": 0, "bos_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    (answer,) = pipeline("text-generation", model=str(folder))("A short one.", return_tensors=True)
    assert len(answer["generated_token_ids"]) <= 40
