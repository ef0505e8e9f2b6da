"""Datasets to batches: in what order examples come, which of their columns, and batches made beforehand."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

from .collators import DataCollator

logger = logging.getLogger(__name__)

#: The numbers of the examples of an epoch, in order.
Order: TypeAlias = Callable[[int], Sequence[int]]


def has_length(dataset: Any) -> bool:
    """Whether it says how long it is, as a table of examples does and a stream does not."""
    try:
        return len(dataset) is not None
    except (TypeError, NotImplementedError):
        return False


def in_turn(count: int) -> Order:
    """The examples as they are."""
    return lambda epoch: range(count)


def shuffled(count: int, seed: int) -> Order:
    """The examples in an order that follows from the seed and the epoch alone."""
    return lambda epoch: np.random.default_rng([seed, epoch]).permutation(count).tolist()


def by_length(lengths: Sequence[int], batch_size: int, seed: int) -> Order:
    """Examples of similar lengths together, and otherwise in any order.

    Fifty batches' worth of examples (fewer of a small dataset) are drawn at a time, and sorted with the
    longest first. The longest of all come first, so that if memory runs out it does at once.
    """
    sizes = np.asarray(lengths)
    group = batch_size * max(min(len(sizes) // (batch_size * 4), 50), 1)

    def order(epoch: int) -> list[int]:
        drawn = np.random.default_rng([seed, epoch]).permutation(len(sizes))
        groups = [drawn[start : start + group] for start in range(0, len(drawn), group)]
        groups = [one[np.argsort(-sizes[one], kind="stable")] for one in groups]
        longest = max(range(len(groups)), key=lambda index: int(sizes[groups[index][0]]))
        # The longest example changes places with the first.
        groups[0][0], groups[longest][0] = groups[longest][0], groups[0][0]
        return [int(index) for one in groups for index in one]

    return order


def lengths_of(dataset: Any, column: str, input_name: str) -> list[int]:
    """How long each example is: as a column says, else as many tokens as it has.

    :raises ValueError: when neither is there.
    """
    if column in getattr(dataset, "column_names", ()):
        return [int(length) for length in dataset[column]]
    lengths = []
    for index in range(len(dataset)):
        example = dataset[index]
        if not isinstance(example, Mapping) or not {column, input_name} & example.keys():
            raise ValueError(
                f"lengths cannot be told: examples must be dictionaries with '{input_name}', or with "
                f"'{column}' (length_column_name)"
            )
        lengths.append(int(example[column]) if column in example else len(example[input_name]))
    return lengths


class Batches:
    """The batches of a dataset, epoch after epoch; any of them can be begun with.

    :param dataset: with a length and numbers, or a stream; what it gives are examples.
    :param order: in what order a dataset with a length is read.
    :param ahead: how many batches a thread makes beforehand; 0 for none.
    :param seed: of the ``generator`` that a collator which has one is given for each batch: it follows from
        the seed, the epoch and the number of the batch alone.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        collate: DataCollator,
        *,
        order: Order | None = None,
        columns: Columns | None = None,
        drop_last: bool = False,
        ahead: int = 0,
        seed: int = 0,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.epoch = 0
        self._collate = collate
        self._columns = columns
        self._order = order
        self._ahead = ahead
        self._seed = seed

    def __len__(self) -> int:
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return self.beginning_with(0)

    def beginning_with(self, first: int) -> Iterator[Mapping[str, Any]]:
        """The batches of the epoch from number ``first`` on; those before are not made."""
        groups = enumerate(self._groups(first), start=first)
        if not self._ahead:
            return (self._batch(number, group) for number, group in groups)
        return self._made_beforehand(groups)

    def _groups(self, first: int) -> Iterator[Iterable[Any]]:
        """The examples of each batch."""
        if has_length(self.dataset):
            order = (in_turn(len(self.dataset)) if self._order is None else self._order)(self.epoch)
            for number in range(first, len(self)):
                chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
                yield (self.dataset[index] for index in chosen)
            return
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(self.epoch)
        examples = itertools.islice(iter(self.dataset), first * self.batch_size, None)
        # Of a stream nothing is dropped, as in transformers.
        while group := list(itertools.islice(examples, self.batch_size)):
            yield group

    def _batch(self, number: int, group: Iterable[Any]) -> Mapping[str, Any]:
        examples = list(group)
        if self._columns is not None:
            examples = self._columns.of(examples)
        if hasattr(self._collate, "generator"):
            seed = getattr(self._collate, "seed", None)
            entropy = [self._seed if seed is None else seed, self.epoch, number]
            self._collate.generator = np.random.default_rng(entropy)
        return self._collate(examples)

    def _made_beforehand(self, groups: Iterator[tuple[int, Iterable[Any]]]) -> Iterator[Mapping[str, Any]]:
        # One thread: batches are made one after the other, so that a collator need not be prepared for two.
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
            waiting = deque(thread.submit(self._batch, *one) for one in itertools.islice(groups, self._ahead))
            try:
                while waiting:
                    batch = waiting.popleft().result()
                    waiting.extend(thread.submit(self._batch, *one) for one in itertools.islice(groups, 1))
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()


class Columns:
    """The columns that a model reads; what else examples have is left out, and said once."""

    def __init__(self, names: Sequence[str], labels: Sequence[str], model: str, what: str) -> None:
        """Take the arguments of a model, and which columns are labels, that say nothing of a text."""
        self.names, self.labels = list(dict.fromkeys([*names, *labels])), list(labels)
        self.model, self.what = model, what
        self._said = False

    def of(self, examples: list[Any]) -> list[Any]:
        """The examples without other columns; what is no dictionary stays as it is."""
        if not examples or not isinstance(examples[0], Mapping):
            return examples
        self.check(list(examples[0]))
        return [{name: value for name, value in one.items() if name in self.names} for one in examples]

    def without_others(self, dataset: Any) -> Any:
        """A table that can drop columns, without the others."""
        if not hasattr(dataset, "remove_columns") or not getattr(dataset, "column_names", None):
            return dataset
        return dataset.remove_columns(self.check(list(dataset.column_names)))

    def check(self, found: list[str]) -> list[str]:
        """Which columns are left out.

        :raises ValueError: when that are all of them but labels.
        """
        others = [name for name in found if name not in self.names]
        if not {*found} - {*others, *self.labels}:
            raise ValueError(
                f"No columns in the {self.what} dataset match the arguments of {self.model}.forward: "
                f"({', '.join(self.names)}). The columns are [{', '.join(found)}]. Tokenize the texts, or "
                "set `remove_unused_columns=False` for a collator that reads them."
            )
        if others and not self._said:
            logger.info(
                "Columns of the %s dataset that %s.forward has no argument for are left out: %s",
                self.what,
                self.model,
                ", ".join(others),
            )
            self._said = True
        return others
