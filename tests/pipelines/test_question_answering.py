"""Question answering beside what transformers answers: how to ask, spans, chunks, bad input."""

import logging
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pipeline_cases import CHECKPOINTS, LONG, QUESTIONS, TEXTS, UNUSUAL

from trustformers import SquadExample, pipeline
from trustformers.pipelines.question_answering import decode_spans

Q, C = QUESTIONS[0], TEXTS[2]
ONE = {"question": Q, "context": C}
OTHER = {"question": QUESTIONS[1], "context": TEXTS[4]}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return pipeline("question-answering", model=str(CHECKPOINTS["answers"].folder))


def test_ways_to_ask(pipe: Any) -> None:
    answer, other = pipe(**ONE), pipe(**OTHER)
    assert set(answer) == {"score", "start", "end", "answer"}
    assert C[answer["start"] : answer["end"]] == answer["answer"]
    for given in (ONE, [ONE], (ONE,), pipe.create_sample(**ONE), [pipe.create_sample(**ONE)]):
        assert pipe(given) == answer
    assert pipe(Q, C) == answer
    assert pipe(question=[Q], context=C) == answer
    assert pipe(SimpleNamespace(question_text=Q, context_text=C)) == answer
    both = [answer, other]
    assert pipe([ONE, OTHER]) == pipe(ONE, OTHER) == pipe([ONE, pipe.create_sample(**OTHER)]) == both
    lists = {name: [one[name] for one in (ONE, OTHER)] for name in ONE}
    assert pipe(**lists) == pipe(lists) == pipe(pipe.create_sample(**lists)) == both
    assert pipe(question=[Q, Q], context=C) == [answer, answer]
    for name in ("X", "data"):
        with pytest.warns(DeprecationWarning, match=f"{name}= is deprecated"):
            assert pipe(**{name: ONE}) == answer
    assert pipe([]) == []


def test_rows_of_a_dataset_may_have_other_columns(pipe: Any) -> None:
    rows = [{"id": 3, "title": "none", **one} for one in (ONE, OTHER)]
    assert list(pipe(iter(rows), batch_size=2, top_k=2)) == [pipe(one, top_k=2) for one in (ONE, OTHER)]


def test_samples() -> None:
    from trustformers import QuestionAnsweringPipeline as Pipe

    assert Pipe.create_sample(Q, C) == SquadExample(None, Q, C)
    assert Pipe.create_sample([Q, "b"], [C, "d"]) == [SquadExample(None, Q, C), SquadExample(None, "b", "d")]


def test_top_k(pipe: Any, caplog: pytest.LogCaptureFixture) -> None:
    five = pipe(ONE, top_k=5)
    scores = [answer["score"] for answer in five]
    assert len(five) == 5
    assert scores == sorted(scores, reverse=True)
    assert len({answer["answer"].lower() for answer in five}) == 5
    with pytest.warns(DeprecationWarning, match="use top_k"):
        assert pipe(ONE, topk=5) == five
    with caplog.at_level(logging.WARNING):
        pipe(ONE, truncation=True)
    assert "knows no truncation" in caplog.text


def test_no_answer(pipe: Any) -> None:
    answers = pipe(ONE, handle_impossible_answer=True, top_k=1000)
    assert {"start": 0, "end": 0, "answer": ""}.items() <= next(a for a in answers if not a["answer"]).items()


@pytest.mark.parametrize("checkpoint", ["answers", "byte-answers", "unigram-answers"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_chunks_in_batches_answer_alike(checkpoint: str, side: str) -> None:
    pipe = pipeline("question-answering", model=str(CHECKPOINTS[checkpoint].folder), top_k=3, max_seq_len=70)
    pipe.tokenizer.padding_side = side
    asked = [{"question": Q, "context": context} for context in (C, LONG, *UNUSUAL, LONG[200:])]
    alone = [pipe(one) for one in asked]
    for batch_size in (2, 5):
        for one, other in zip(pipe(asked, batch_size=batch_size), alone, strict=True):
            assert [answer["answer"] for answer in one] == [answer["answer"] for answer in other]
            scores = [[answer["score"] for answer in answers] for answers in (one, other)]
            np.testing.assert_allclose(*scores, rtol=1e-4)


def test_a_long_context_is_read_to_its_end(pipe: Any) -> None:
    chunks = list(pipe.preprocess(pipe.create_sample(Q, LONG), max_seq_len=60, doc_stride=10))
    assert len(chunks) > 5
    assert [chunk["is_last"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    parts = []
    for chunk in chunks:
        encoding = chunk["encoding"]
        parts.append(
            [token for token, i in zip(encoding.tokens, encoding.sequence_ids, strict=True) if i == 1]
        )
        assert len(encoding) <= 60
        # What begins the chunk stands for no answer, and may be one.
        assert (chunk["p_mask"].numpy() == 0).sum() == 1 + len(parts[-1])
    for part, following in pairwise(parts):
        assert part[-10:] == following[:10]


def spans_by_hand(start: Any, end: Any, longest: int, allowed: Any) -> list[tuple[float, int, int]]:
    pairs = [
        (float(start[s] * end[e]), s, e)
        for s in range(len(start))
        for e in range(s, min(s + longest, len(end)))
        if allowed[s] and allowed[e]
    ]
    return sorted(pairs, reverse=True)


@pytest.mark.parametrize("longest", [1, 3, 50])
@pytest.mark.parametrize("topk", [1, 4, 10])
def test_spans(longest: int, topk: int) -> None:
    random = np.random.default_rng(longest * topk)
    allowed = random.random(20) < 0.7
    start, end = (np.where(allowed, random.random(20), 0).astype(np.float32) for _ in range(2))
    starts, ends, scores = decode_spans(start, end, topk, longest, allowed)
    expected = spans_by_hand(start, end, longest, allowed)[:topk]
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(s, e) for _, s, e in expected]
    np.testing.assert_allclose(scores, [score for score, _, _ in expected], rtol=1e-6)
    both = decode_spans(start[None], end[None], topk, longest, allowed[None])  # rows of one
    np.testing.assert_array_equal(both[0], starts)


def test_there_may_be_fewer_spans() -> None:
    starts, ends, _ = decode_spans(np.ones(2), np.ones(2), 4, 1, np.array([0, 1]))
    assert (starts.tolist(), ends.tolist()) == ([1], [1])


@pytest.mark.parametrize(
    ("args", "keywords", "error", "message"),
    [
        ((None,), {}, ValueError, "got None"),
        ((3,), {}, ValueError, "got 3"),
        ((b"x",), {}, ValueError, r"needs to be of type \(SquadExample, dict\)"),
        (("a",), {}, ValueError, "'a' argument needs"),
        ((Q, C, C), {}, ValueError, "input 0: "),
        ((), {}, ValueError, "question= and context= are needed"),
        ((), {"question": Q}, ValueError, r"needed, got \['question'\]"),
        (([ONE, None],), {}, ValueError, "input 1: None argument"),
        (([[ONE]],), {}, ValueError, "argument needs to be of type"),
        (({},), {}, KeyError, "no question"),
        (({"question": Q},), {}, KeyError, "no context"),
        (([ONE, {"question": Q}],), {}, KeyError, "input 1: .*no context"),
        (({**ONE, "answer": 1},), {}, TypeError, "answer"),
        (({**ONE, "context": None},), {}, ValueError, "`context` cannot be None"),
        (({**ONE, "context": b"c"},), {}, TypeError, "`context` must be a text, got b'c'"),
        (({**ONE, "question": 3},), {}, ValueError, "must be of type `str`"),
        ((), {**ONE, "question": ""}, ValueError, "`question` cannot be empty"),
        ((), {**ONE, "context": ""}, ValueError, "`context` cannot be empty"),
        ((), {**ONE, "question": [Q, ""]}, ValueError, "input 1: `question` cannot be empty"),
        ((), {**ONE, "question": None}, ValueError, "can't be understood.*NoneType and str"),
        ((), {**ONE, "context": [C]}, ValueError, "can't be understood.*str and list"),
        ((), {"question": [Q, Q], "context": [C]}, ValueError, "same lengths: 2 and 1"),
        ((), {**ONE, "question": "\ud800"}, TypeError, "lone surrogate"),
        ((), {**ONE, "question": [Q, "\ud800"]}, TypeError, "input 1: .*lone surrogate"),
        ((), {**ONE, "top_k": 0}, ValueError, r"top_k parameter should be >= 1 \(got 0\)"),
        ((), {**ONE, "top_k": "3"}, TypeError, "top_k must be a number, got '3'"),
        ((), {**ONE, "max_answer_len": -1}, ValueError, "max_answer_len parameter"),
        ((), {**ONE, "doc_stride": 500}, ValueError, "`doc_stride` \\(500\\) is larger than `max_seq_len`"),
        ((), {**ONE, "max_seq_len": 40, "doc_stride": 40}, ValueError, "stride=40 is too large"),
        ((), {**ONE, "doc_stride": -1}, OverflowError, "negative"),
        ((), {**ONE, "max_seq_len": "a"}, TypeError, "max_seq_len must be a number"),
        ((), {**ONE, "max_seq_len": 0}, ValueError, "max_length=0"),
        ((), {**ONE, "max_seq_len": 200, "context": C * 20}, RuntimeError, "200 tokens, more than the 128"),
        ((), {**ONE, "padding": "some"}, ValueError, "some is not a valid PaddingStrategy"),
    ],
)
def test_bad_input(
    pipe: Any, args: tuple[Any, ...], keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pipe(*args, **keywords)


@pytest.mark.parametrize("bad", [None, "text", {"question": Q}])
def test_a_bad_question_of_a_stream_is_named(pipe: Any, bad: Any) -> None:
    def asked() -> Iterator[Any]:
        yield ONE
        yield bad

    answers = pipe(asked())
    assert next(answers) == pipe(ONE)
    with pytest.raises((KeyError, ValueError), match="input 1: "):
        next(answers)
