"""Token classification beside what transformers answers: types, overrides, older keywords, bad input."""

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pipeline_cases import CHECKPOINTS, LONG, TEXTS, UNUSUAL

from trustformers import AggregationStrategy, NerPipeline, TokenClassificationPipeline, pipeline
from trustformers.pipelines.token_classification import _MARKS


def named(checkpoint: str, **keywords: Any) -> Any:
    return pipeline("ner", model=str(CHECKPOINTS[checkpoint].folder), **keywords)


@pytest.fixture
def pipe() -> Any:
    return named("entities")


def test_types(pipe: Any) -> None:
    assert type(pipe) is TokenClassificationPipeline is NerPipeline
    for strategy in AggregationStrategy:
        for entity in pipe(TEXTS[2], aggregation_strategy=strategy, ignore_labels=[]):
            assert type(entity["score"]) is np.float32
            assert type(entity["start"]) is type(entity["end"]) is int


def test_offsets_are_those_of_the_text() -> None:
    for checkpoint in ("entities", "byte-entities", "unigram-entities"):
        for text in (TEXTS[2], UNUSUAL[0], LONG):
            entities = named(checkpoint)(text, aggregation_strategy="simple", ignore_labels=[], stride=20)
            for entity in entities:
                spelled = text[entity["start"] : entity["end"]]
                if checkpoint == "byte-entities" and "\ufffd" not in entity["word"]:
                    assert entity["word"].strip() == spelled.strip()
                assert 0 <= entity["start"] <= entity["end"] <= len(text)
            ends = [entity["end"] for entity in entities]
            assert ends == sorted(ends)
            assert ends[-1] == len(text)


def test_one_text_of_words_gives_a_list_of_one(pipe: Any) -> None:
    words = TEXTS[2].split()
    assert pipe(words, is_split_into_words=True) == pipe([words], is_split_into_words=True)
    always = named("entities", is_split_into_words=True)
    assert always(words) == always([words]) == pipe([words], is_split_into_words=True)
    assert always(TEXTS, is_split_into_words=False) == pipe(TEXTS)
    assert list(always(iter([words]))) == always([words])


@pytest.mark.parametrize("checkpoint", ["entities", "byte-entities", "decoder-entities"])
def test_batches_answer_alike_whatever_side_the_tokenizer_pads(checkpoint: str) -> None:
    pipe = named(checkpoint)
    pipe.tokenizer.padding_side = "left"
    texts = [text for text in (*TEXTS, *UNUSUAL) if text]
    for given, keywords in ((texts, {}), ([text.split() for text in texts], {"is_split_into_words": True})):
        one_by_one = [pipe(given[i : i + 1], **keywords)[0] for i in range(len(given))]
        together = pipe(given, batch_size=4, **keywords)
        assert [[entity["index"] for entity in one] for one in together] == [
            [entity["index"] for entity in one] for one in one_by_one
        ]
        for one, other in zip(together, one_by_one, strict=True):
            scores = [[entity["score"] for entity in entities] for entities in (one, other)]
            np.testing.assert_allclose(*scores, rtol=1e-4)


def test_each_text_has_its_own_offsets(pipe: Any) -> None:
    texts, keywords = TEXTS[:2], {"ignore_labels": []}
    count = len(pipe.tokenizer(texts[0]).input_ids)
    spread = [[(index * step, index * step + 1) for index in range(count)] for step in (1, 2)]
    first, second = pipe(texts, offset_mapping=spread, **keywords)
    assert [entity["start"] for entity in first] == [entity["index"] for entity in first]
    assert [entity["start"] for entity in second] == [2 * entity["index"] for entity in second]
    assert pipe(texts[0], offset_mapping=spread[0], **keywords) == first
    with pytest.raises(ValueError, match="same batch size"):
        pipe(texts, offset_mapping=spread[0])
    with pytest.raises(IndexError, match="offset_mapping has 1 pairs"):
        pipe(texts[0], offset_mapping=[(0, 1)])


def test_methods_may_be_overridden() -> None:
    class First(TokenClassificationPipeline):
        def get_tag(self, entity_name: str) -> tuple[str, str]:
            return "I", "all"

        def group_sub_entities(self, entities: list[dict[str, Any]]) -> dict[str, Any]:
            return {**super().group_sub_entities(entities), "count": len(entities)}

    entities = named("entities", pipeline_class=First)(
        TEXTS[0], aggregation_strategy="first", ignore_labels=[]
    )
    assert [(entity["start"], entity["end"], entity["count"]) for entity in entities] == [
        (0, len(TEXTS[0]), 9)
    ]


def test_words_have_no_label_without_a_strategy_for_it(pipe: Any) -> None:
    for strategy in (AggregationStrategy.NONE, AggregationStrategy.SIMPLE):
        with pytest.raises(ValueError, match="invalid for word aggregation"):
            pipe.aggregate_words([], strategy)
        with pytest.raises(ValueError, match="Invalid aggregation_strategy"):
            pipe.aggregate_word([], strategy)


def test_overlapping_entities(pipe: Any) -> None:
    def entity(start: int, end: int, score: float) -> dict[str, Any]:
        return {"start": start, "end": end, "score": score}

    given = [entity(5, 9, 0.5), entity(0, 4, 0.1), entity(2, 6, 0.2), entity(5, 8, 0.9), entity(9, 9, 0.3)]
    # 2-6 is as long as 0-4 and likelier, 5-9 likelier than both, and 5-8 shorter.
    assert pipe.aggregate_overlapping_entities(given) == [entity(5, 9, 0.5), entity(9, 9, 0.3)]
    assert pipe.aggregate_overlapping_entities([]) == []


def test_what_tokenizers_say_of_words_is_read_once() -> None:
    for checkpoint, marks in (("entities", True), ("byte-entities", False), ("unigram-entities", False)):
        pipe = named(checkpoint, aggregation_strategy="first")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pipe(TEXTS)
        assert any("fallback heuristic" in str(one.message) for one in caught) is not marks
        assert _MARKS[pipe.tokenizer] is marks


@pytest.mark.parametrize(
    ("older", "strategy"),
    [
        ({"grouped_entities": True}, "simple"),
        ({"grouped_entities": False}, "none"),
        ({"grouped_entities": True, "ignore_subwords": True}, "first"),
        ({"grouped_entities": True, "ignore_subwords": False}, "simple"),
        ({"ignore_subwords": True}, "none"),
    ],
)
def test_older_keywords(pipe: Any, older: dict[str, bool], strategy: str) -> None:
    with pytest.warns(DeprecationWarning, match=f'use `aggregation_strategy="{strategy}"`'):
        answer = pipe(TEXTS[2], **older)
    assert answer == pipe(TEXTS[2], aggregation_strategy=strategy.upper())


@pytest.mark.parametrize(
    ("given", "keywords", "error", "message"),
    [
        (None, {}, ValueError, "At least one input is required.*None"),
        (b"bytes", {}, ValueError, "At least one input is required.*b'bytes'"),
        (3, {}, ValueError, "At least one input"),
        ({"text": "a"}, {}, ValueError, "At least one input"),
        ([], {}, ValueError, "At least one input"),
        (["a", None], {}, ValueError, "input 1: .*untokenized string, got None"),
        (["a", ["b"]], {}, ValueError, "input 1: .*untokenized string"),
        (("a", "b"), {}, ValueError, "untokenized string"),
        ("\ud800", {}, TypeError, "lone surrogate"),
        (["a", "\ud800"], {}, TypeError, "input 1: .*lone surrogate"),
        ("a", {"is_split_into_words": True}, ValueError, "must be a list of tokens, got 'a'"),
        (["a", None], {"is_split_into_words": True}, TypeError, "NoneType"),
        (["a"], {"is_split_into_words": True, "delimiter": 3}, TypeError, "delimiter must be a text, got 3"),
        ("a", {"aggregation_strategy": "last"}, KeyError, "'last' is not one of"),
        ("a", {"aggregation_strategy": 3}, ValueError, "Invalid aggregation_strategy 3"),
        ("a", {"ignore_labels": "O"}, TypeError, "ignore_labels must be a list"),
        ("a", {"stride": 128}, ValueError, r"`stride` \(128\) must be less than"),
        ("a b", {"stride": 127}, ValueError, "stride=127 is too large"),
        ("a", {"stride": "3"}, TypeError, "stride must be a number"),
        ("a", {"stride": -1}, OverflowError, "negative"),
        ("a", {"stride": 3, "aggregation_strategy": "none"}, ValueError, "select another one"),
        ("a", {"labels": 3}, TypeError, "labels"),
    ],
)
def test_bad_input(pipe: Any, given: Any, keywords: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        pipe(given, **keywords)


def test_a_bad_text_of_a_stream_is_named(pipe: Any) -> None:
    def texts() -> Iterator[Any]:
        yield "a"
        yield ["b"]

    answers = pipe(texts())
    assert next(answers) == pipe("a")
    with pytest.raises(ValueError, match=re.escape("input 1: When `is_split_into_words=False`")):
        next(answers)
