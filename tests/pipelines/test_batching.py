"""Inputs of every kind, in batches: answers in order, as they come, and errors that say where."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pipeline_cases import CHECKPOINTS, TEXTS

from trustformers import Pipeline, Tensor, pipeline
from trustformers.models.outputs import ModelOutput, SequenceClassifierOutput
from trustformers.pipelines import ChunkPipeline, KeyDataset, KeyPairDataset
from trustformers.pipelines.batching import collate, split


@pytest.fixture(scope="module")
def pipe() -> Pipeline:
    return pipeline("text-classification", model=str(CHECKPOINTS["labels"].folder))


MANY = [f"{TEXTS[i % 4]} {'and so on ' * (i % 7)}{i}" for i in range(200)]


def labels(answers: Any) -> list[str]:
    return [answer["label"] for answer in answers]


@pytest.fixture(scope="module")
def expected(pipe: Pipeline) -> list[Any]:
    return [pipe(text)[0] for text in MANY]


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64, 1000])
def test_any_batch_size_gives_the_same_answers_in_order(
    pipe: Pipeline, expected: list[Any], batch_size: int
) -> None:
    answers = pipe(MANY, batch_size=batch_size)
    assert labels(answers) == labels(expected)
    scores = [answer["score"] for answer in answers]
    np.testing.assert_allclose(scores, [answer["score"] for answer in expected], rtol=1e-5)


class Dataset:
    """What has a length and elements by number, and no more."""

    def __init__(self, elements: list[Any]) -> None:
        self.elements = elements

    def __len__(self) -> int:
        return len(self.elements)

    def __getitem__(self, index: int) -> Any:
        return self.elements[index]


def test_datasets(pipe: Pipeline, expected: list[Any]) -> None:
    rows = Dataset([{"text": text, "other": "x"} for text in MANY])
    answers = pipe(KeyDataset(rows, "text"), batch_size=4)
    assert not isinstance(answers, list)
    assert len(answers) == len(MANY)
    assert labels(answers) == labels(expected)
    pairs = list(pipe(KeyPairDataset(rows, "text", "other"), top_k=1))
    assert labels(pair[0] for pair in pairs) == labels(
        pipe({"text": text, "text_pair": "x"}) for text in MANY
    )


def test_a_generator_is_read_as_its_answers_are_taken(pipe: Pipeline, expected: list[Any]) -> None:
    drawn: list[int] = []

    def texts() -> Iterator[str]:
        for index, text in enumerate(MANY):
            drawn.append(index)
            yield text

    answers = pipe(texts(), batch_size=4)
    assert not drawn
    assert next(answers)["label"] == expected[0]["label"]
    assert len(drawn) == 4
    assert labels(answers) == labels(expected[1:])


def test_an_endless_generator_answers(pipe: Pipeline) -> None:
    def texts() -> Iterator[str]:
        while True:
            yield "again"

    answers = pipe(texts())
    assert next(answers) == next(answers)


def test_the_next_batches_are_prepared_meanwhile(pipe: Pipeline) -> None:
    threads = set()

    class Watched(type(pipe)):  # type: ignore[misc]
        def preprocess(self, *args: Any, **kwargs: Any) -> Any:
            threads.add(threading.current_thread().name)
            return super().preprocess(*args, **kwargs)

    watched = Watched(model=pipe.model, tokenizer=pipe.tokenizer)
    watched(MANY, batch_size=2)
    assert any(name.startswith("trustformers-pipeline") for name in threads)
    threads.clear()
    list(watched(iter(MANY[:4]), batch_size=2))
    assert threads == {threading.current_thread().name}


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("kind", ["list", "generator"])
def test_a_bad_input_is_named_by_its_number(pipe: Pipeline, batch_size: int, kind: str) -> None:
    inputs: Any = ["a", "b", None, "d"]
    with pytest.raises(ValueError, match="input 2: "):
        list(pipe(inputs if kind == "list" else iter(inputs), batch_size=batch_size))


def test_the_answers_before_a_bad_input_are_given(pipe: Pipeline) -> None:
    answers = pipe(iter(["a", None]))
    assert next(answers)["label"]
    with pytest.raises(ValueError, match="input 1"):
        next(answers)


def test_an_input_that_the_model_refuses_is_named(pipe: Pipeline) -> None:
    long = "river " * 500
    with pytest.raises(RuntimeError, match="input 1: "):
        pipe(["a", long, "c"], batch_size=3)
    with pytest.raises(RuntimeError, match="input 1: "):
        pipe(["a", long, "c"])
    with pytest.raises(RuntimeError, match=r"^(?!input)"):
        pipe(long)


def test_errors_of_any_kind_are_named(pipe: Pipeline) -> None:
    class Broken(type(pipe)):  # type: ignore[misc]
        def postprocess(self, *args: Any, **kwargs: Any) -> Any:
            raise UnicodeDecodeError("utf-8", b"x", 0, 1, "no text")

    broken = Broken(model=pipe.model, tokenizer=pipe.tokenizer)
    with pytest.raises(UnicodeDecodeError) as caught:
        broken(["a"])
    if hasattr(caught.value, "__notes__"):
        assert "input 0" in caught.value.__notes__[0]


def test_a_batch_that_fails_as_a_whole_fails_as_it_did(pipe: Pipeline) -> None:
    class Small(type(pipe)):  # type: ignore[misc]
        def _forward(self, model_inputs: Any, **kwargs: Any) -> Any:
            if len(model_inputs["input_ids"]) > 1:
                raise MemoryError("too large together")
            return super()._forward(model_inputs, **kwargs)

    small = Small(model=pipe.model, tokenizer=pipe.tokenizer)
    with pytest.raises(MemoryError, match="too large together"):
        small(["a", "b"], batch_size=2)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "2"])
def test_impossible_batch_sizes(pipe: Pipeline, batch_size: Any) -> None:
    with pytest.raises(ValueError, match="batch_size must be"):
        pipe(["a"], batch_size=batch_size)


def test_batches_need_a_padding_token() -> None:
    pipe = pipeline("text-classification", model=str(CHECKPOINTS["labels"].folder))
    pipe.tokenizer.pad_token = None
    assert pipe(["a", "b"])
    with pytest.raises(ValueError, match="without pad_token cannot do batching"):
        pipe(["a", "b"], batch_size=2)


def test_nothing_in_nothing_out(pipe: Pipeline) -> None:
    assert pipe([]) == []
    assert list(pipe(iter([]))) == []


def test_positional_arguments_are_ignored_and_said(pipe: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    pipe("a", "b")
    assert "Ignoring args" in caplog.text


class Words(ChunkPipeline):
    """A chunk for every word; a text without words has none."""

    def _sanitize_parameters(self, **kwargs: Any) -> Any:
        return {}, {}, {}

    def preprocess(self, text: str) -> Any:
        for word in text.split():
            yield {"word": word, **self.tokenizer(word, return_tensors=self.framework)}

    def _forward(self, inputs: Any) -> Any:
        word = inputs.pop("word")
        return {"word": word, "logits": self.model(**inputs).logits}

    def postprocess(self, outputs: Any) -> Any:
        return [output["word"] for output in outputs]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_chunks_come_back_together(pipe: Pipeline, batch_size: int) -> None:
    words = Words(model=pipe.model, tokenizer=pipe.tokenizer)
    assert words(MANY, batch_size=batch_size) == [text.split() for text in MANY]
    assert words(["", "a b", ""], batch_size=batch_size) == [[], ["a", "b"], []]
    assert words("one two three", batch_size=batch_size) == ["one", "two", "three"]


def test_collating_pads_on_the_tokenizers_side(pipe: Pipeline) -> None:
    chunks = [pipe.tokenizer(text, return_tensors="np") for text in ("a", "the river is long")]
    joined = collate(chunks, pipe.tokenizer)
    together = pipe.tokenizer(["a", "the river is long"], return_tensors="np", padding=True)
    for name, value in together.items():
        np.testing.assert_array_equal(joined[name], value)
    with pytest.raises(ValueError, match="different keys"):
        collate([{"a": 1}, {"b": 2}], pipe.tokenizer)
    masks = [{"p_mask": np.zeros((1, n)), "name": n} for n in (1, 3)]
    assert collate(masks, None)["p_mask"].tolist() == [[0, 1, 1], [0, 0, 0]]
    assert collate(masks, None)["name"] == [1, 3]
    flat = [{"label": Tensor.from_numpy(np.array([n]))} for n in (4, 5)]
    assert collate(flat, None)["label"].tolist() == [4, 5]


@pytest.mark.parametrize("task", ["text-classification", "feature-extraction"])
def test_a_tokenizer_that_pads_on_the_left_changes_no_answer(task: str) -> None:
    name = "decoder-labels" if task == "text-classification" else "decoder-features"
    pipe = pipeline(task, model=str(CHECKPOINTS[name].folder), tokenizer=None)
    pipe.tokenizer.padding_side = "left"
    texts = [text for text in TEXTS if text]
    together = pipe(texts, batch_size=len(texts))
    for one, text in zip(together, texts, strict=True):
        alone = pipe(text)
        if task == "text-classification":
            assert one["label"] == alone[0]["label"]
            assert one["score"] == pytest.approx(alone[0]["score"], rel=1e-5)
        else:
            np.testing.assert_allclose(one, alone, atol=1e-5)


def test_splitting_gives_batches_of_one() -> None:
    logits = np.arange(6.0).reshape(2, 3)
    output = SequenceClassifierOutput(logits=logits, hidden_states=(logits, logits + 1))
    first, second = split(output, 2)
    assert isinstance(second, ModelOutput)
    np.testing.assert_array_equal(second.logits, logits[1:])
    np.testing.assert_array_equal(first.hidden_states[1], logits[:1] + 1)
    parts = split({"logits": logits, "names": ["a", "b"], "none": None, "inner": output}, 2)
    assert parts[1]["names"] == "b"
    assert parts[1]["none"] is None
    np.testing.assert_array_equal(parts[0]["inner"][0], logits[:1])
    np.testing.assert_array_equal(split((logits,), 2)[1], logits[1:])
    np.testing.assert_array_equal(split(logits, 2)[1], logits[1:])
