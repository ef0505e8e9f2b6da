"""From inputs to answers in batches: what is alike in length runs together, and answers keep their order."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeVar

import numpy as np

from ..models.arrays import from_tensor, kind_of, to_tensor
from ..models.cache import Cache
from ..models.outputs import ModelOutput

T = TypeVar("T")

#: What fills up the rows of a batch; the tokenizer says it for ``input_ids``, and all others take 0.
_FILLERS = {"p_mask": 1, "special_tokens_mask": 1}
#: How many batches are looked at together to find rows of like length, where all inputs are at hand.
_BATCHES_AHEAD = 8


@dataclass
class _Item:
    """An input on its way: its number among several, its chunks for the model, what came out of each."""

    index: int | None
    chunks: list[Any]
    outputs: list[Any] = field(default_factory=list)
    waiting: int = 0

    def __post_init__(self) -> None:
        self.waiting = len(self.chunks)
        self.outputs = [None] * len(self.chunks)


@dataclass(frozen=True)
class Steps:
    """What a pipeline does with an input: into chunks, a chunk through the model, and to an answer.

    Rows of a batch are filled up on the ``padding_side``, or else on the tokenizer's.
    """

    prepare: Callable[[Any], list[Any]]
    forward: Callable[[Any], Any]
    finish: Callable[[list[Any]], Any]
    padding_side: str | None = None


class Indexed(Protocol):
    """What has a length and elements by number, as some datasets do."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


def run(inputs: Iterable[Any] | Indexed, steps: Steps, batch_size: int, tokenizer: Any) -> Iterator[Any]:
    """The answers to ``inputs``, in their order, as they come.

    A sequence is tokenized by a thread while the model works on what came before, several batches at a time,
    of which rows of like length run together. A generator is asked for no more than one batch ahead of its
    answers. An error about an input names its number.
    """
    at_hand = isinstance(inputs, Sized)
    size = batch_size * _BATCHES_AHEAD if at_hand else batch_size
    windows = _windows(_elements(inputs), steps, size)
    if at_hand and len(inputs) > size:  # type: ignore[arg-type]
        windows = _ahead(windows)
    for window in windows:
        yield from _run_window(window, steps, batch_size, tokenizer)


class Answers(Iterator[Any]):
    """The answers to inputs of a known number, as they come: ``tqdm(pipe(dataset))`` knows how far it is."""

    def __init__(self, answers: Iterator[Any], count: int) -> None:
        self._answers = answers
        self._count = count

    def __next__(self) -> Any:
        return next(self._answers)

    def __len__(self) -> int:
        return self._count


def run_one(one: Any, steps: Steps, batch_size: int, tokenizer: Any) -> Any:
    """The answer to one input, whose chunks run together."""
    return next(_run_window([_Item(None, steps.prepare(one))], steps, batch_size, tokenizer))


def _elements(inputs: Any) -> Iterator[Any]:
    """The elements of an iterable, or of what has only a length and elements by number."""
    if hasattr(inputs, "__iter__"):
        return iter(inputs)
    return (inputs[index] for index in range(len(inputs)))


def _windows(elements: Iterator[Any], steps: Steps, size: int) -> Iterator[list[_Item]]:
    """Prepared inputs, ``size`` at a time."""
    numbered = enumerate(elements)
    while drawn := list(islice(numbered, size)):
        items = []
        for index, element in drawn:
            with naming(index):
                items.append(_Item(index, steps.prepare(element)))
        yield items


def _ahead(values: Iterator[T]) -> Iterator[T]:
    """The same values, of which a thread makes the next one while the caller works with this one."""
    context = contextvars.copy_context()

    def draw() -> list[T]:
        return context.run(list, islice(values, 1))

    with ThreadPoolExecutor(1, thread_name_prefix="trustformers-pipeline") as thread:
        coming = thread.submit(draw)
        while drawn := coming.result():
            coming = thread.submit(draw)
            yield from drawn


def _run_window(items: list[_Item], steps: Steps, batch_size: int, tokenizer: Any) -> Iterator[Any]:
    """Run the chunks of some inputs in batches, and give the answers as soon as those before are given."""
    places = [(item, place) for item in items for place in range(len(item.chunks))]
    if batch_size > 1:
        places.sort(key=lambda found: _length(found[0].chunks[found[1]]))
    given = 0
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        for (item, place), output in zip(batch, _run_batch(batch, steps, tokenizer), strict=True):
            item.outputs[place] = output
            item.waiting -= 1
        while given < len(items) and items[given].waiting == 0:
            yield _finish(items[given], steps)
            given += 1
    for item in items[given:]:  # inputs without any chunk
        yield _finish(item, steps)


def _finish(item: _Item, steps: Steps) -> Any:
    with naming(item.index):
        return steps.finish(item.outputs)


def _run_batch(batch: list[tuple[_Item, int]], steps: Steps, tokenizer: Any) -> list[Any]:
    """What comes out of each chunk of a batch."""
    if len(batch) == 1:
        return [_run_alone(*batch[0], steps)]
    chunks = [item.chunks[place] for item, place in batch]
    try:
        return split(steps.forward(collate(chunks, tokenizer, steps.padding_side)), len(chunks))
    except Exception:
        # Which of them is it? Only one that fails alone too can be blamed.
        for item, place in batch:
            _run_alone(item, place, steps)
        raise


def _run_alone(item: _Item, place: int, steps: Steps) -> Any:
    with naming(item.index):
        return steps.forward(item.chunks[place])


@contextlib.contextmanager
def naming(index: int | None) -> Iterator[None]:
    """Let an error's message begin with the number of the input that it is about, if there are several."""
    try:
        yield
    except Exception as error:
        first = error.args[0] if error.args else None
        if index is not None and isinstance(first, str) and len(error.args) == 1:
            error.args = (f"input {index}: {first}",)
        elif index is not None and hasattr(error, "add_note"):
            error.add_note(f"while working on input {index}")
        raise


def _length(chunk: Any) -> int:
    """How long the row of a chunk is."""
    values = chunk.values() if isinstance(chunk, Mapping) else (chunk,)
    return max((value.shape[1] for value in values if len(getattr(value, "shape", ())) > 1), default=0)


def collate(chunks: list[Any], tokenizer: Any, side: str | None = None) -> dict[str, Any]:
    """Make one batch of chunks: arrays (1, length, ...) are filled up to one length, all else is listed."""
    keys = chunks[0].keys()
    for chunk in chunks:
        if chunk.keys() != keys:
            raise ValueError(
                "The elements of the batch contain different keys. Cannot batch them "
                f"({set(chunk.keys())} != {set(keys)})"
            )
    filler = 0 if tokenizer is None else tokenizer.pad_token_id
    if side is None:
        side = "right" if tokenizer is None else tokenizer.padding_side
    fillers = {**_FILLERS, "input_ids": filler}
    return {key: _stacked([chunk[key] for chunk in chunks], fillers.get(key, 0), side) for key in keys}


def _stacked(values: list[Any], filler: int, side: str) -> Any:
    """Arrays of one row each as one array; anything else as a list."""
    first = values[0]
    if getattr(first, "ndim", 0) < 1 or first.shape[0] != 1:
        return values
    arrays = [np.asarray(value.detach() if hasattr(value, "detach") else value) for value in values]
    if arrays[0].ndim == 1:
        joined = np.concatenate(arrays)
    else:
        length = max(array.shape[1] for array in arrays)
        shape = (len(arrays), length, *arrays[0].shape[2:])
        joined = np.full(shape, filler, dtype=arrays[0].dtype)
        for row, array in zip(joined, arrays, strict=True):
            width = array.shape[1]
            row[slice(length - width, None) if side == "left" else slice(width)] = array[0]
    return from_tensor(to_tensor("a batch", joined), kind_of(first))


def split(outputs: Any, count: int) -> list[Any]:
    """Take what came out of a batch apart, so that each part looks like the output of a batch of one."""
    if isinstance(outputs, ModelOutput):
        parts = [
            {name: _part(value, row) for name, value in outputs.items() if not isinstance(value, Cache)}
            for row in range(count)
        ]
        return [type(outputs)(**part) for part in parts]
    if isinstance(outputs, Mapping):
        return [{name: _part(value, row) for name, value in outputs.items()} for row in range(count)]
    return [_part(outputs[0] if isinstance(outputs, tuple) else outputs, row) for row in range(count)]


def _part(value: Any, row: int) -> Any:
    """The part of a value that belongs to one row of a batch."""
    if value is None or isinstance(value, Cache):
        return None
    if isinstance(value, (tuple, ModelOutput)):
        values = value.to_tuple() if isinstance(value, ModelOutput) else value
        return tuple(_part(one, row) for one in values)
    return value[row] if isinstance(value, list) else value[row : row + 1]
