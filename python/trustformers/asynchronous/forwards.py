"""Forward passes that are asked for one by one and run together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import _engine
from .._grad import no_grad
from ..models.arrays import Kind, from_tensor, to_array, to_tensor
from ..models.outputs import ModelOutput
from .answers import bring
from .pool import Forkable

if TYPE_CHECKING:
    import asyncio

    from ..models.modeling import PreTrainedModel

#: What a pass that runs together with others is given, (rows, length) each.
Tables: TypeAlias = "dict[str, np.ndarray[Any, Any]]"
_NAMES = ("input_ids", "attention_mask", "token_type_ids")
#: Outputs of a number for each token. Those of three dimensions have a row of numbers for each.
_FLAT = ("start_logits", "end_logits")


@dataclass(eq=False)
class Pass:
    """A forward pass that somebody waits for."""

    tables: Tables
    kind: Kind
    result: asyncio.Future[ModelOutput[Any]]
    asked: float = field(default_factory=time.monotonic)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and length."""
        rows, length = self.tables["input_ids"].shape
        return rows, length


class Forwards(Forkable):
    """The passes over one model that wait, and those that run, in the order in which they were asked for.

    :param max_batch_tokens: how many tokens run together, padding included; a pass of more runs alone.
    :param max_wait: how many seconds a pass waits for others.
    """

    def __init__(self, model: PreTrainedModel, max_batch_tokens: int, max_wait: float) -> None:
        self._model = model
        self._max_batch_tokens, self._max_wait = max_batch_tokens, max_wait
        super().__init__()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Pass] = deque()
        self._worker: threading.Thread | None = None
        #: What runs, and what ends it when nobody waits for it any more.
        self._running: list[Pass] = []
        self._cancellation = _engine.Cancellation()

    def tables(self, arguments: Mapping[str, Any]) -> Tables | None:
        """The arguments of a pass as tables; ``None`` for one that must run alone."""
        config, model = self._model.config, self._model
        asks_more = any(value is not None and name not in _NAMES for name, value in arguments.items())
        if asks_more or config.output_attentions or config.output_hidden_states or not config.return_dict:
            return None
        reads_padding = model._engine.family == "decoder" and model._task == "SequenceClassification"
        if model._engine.family == "encoder-decoder" or (reads_padding and config.pad_token_id is None):
            return None
        given = {name: arguments[name] for name in _NAMES if arguments.get(name) is not None}
        tables = {name: np.atleast_2d(to_array(to_tensor(name, value))) for name, value in given.items()}
        shapes = {table.shape for table in tables.values()}
        is_plain = "input_ids" in tables and len(shapes) == 1 and all(len(shape) == 2 for shape in shapes)
        whole = all(table.size and table.dtype.kind in "iub" for table in tables.values())
        return tables if is_plain and whole else None

    async def run(self, tables: Tables, kind: Kind) -> ModelOutput[Any]:
        """What the model gives for ``tables``, as arrays of a kind."""
        import asyncio

        one = Pass(tables, kind, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="trustformers-forwards", daemon=True)
                self._worker.start()
            self._waiting.append(one)
            self._changed.notify()
        try:
            return await one.result
        finally:
            if one.result.cancelled():
                self._leave(one)

    def _leave(self, one: Pass) -> None:
        """Forget a pass that nobody waits for."""
        with self._changed:
            if one in self._waiting:
                self._waiting.remove(one)
            elif all(other.result.cancelled() for other in self._running):
                self._cancellation.cancel()

    def _work(self) -> None:
        """Run what waits, until nothing does."""
        with no_grad():
            while batch := self._next():
                bring(zip((one.result for one in batch), self._attempt(batch), strict=True))

    def _next(self) -> list[Pass]:
        """What runs next: the oldest, and those behind it that fit beside it; nothing if nothing waits."""
        with self._changed:
            self._running = []
            while self._waiting:
                batch = self._fitting()
                wait = batch[0].asked + self._max_wait - time.monotonic()
                if wait <= 0 or len(batch) < len(self._waiting):
                    for _ in batch:
                        self._waiting.popleft()
                    return batch
                self._changed.wait(wait)
            self._worker = None
            return []

    def _fitting(self) -> list[Pass]:
        batch: list[Pass] = []
        rows, longest = 0, 0
        for one in self._waiting:
            rows, longest = rows + one.shape[0], max(longest, one.shape[1])
            if batch and rows * longest > self._max_batch_tokens:
                break
            batch.append(one)
        return batch

    def _attempt(self, batch: list[Pass]) -> list[ModelOutput[Any] | BaseException]:
        """What passes give. Where several fail together each is tried alone: the others are not to blame."""
        with self._changed:
            self._running = [one for one in batch if not one.result.cancelled()]
            self._cancellation = cancellation = _engine.Cancellation()
            if not self._running:
                cancellation.cancel()
        try:
            return cancellation.run(partial(self._outputs, batch))
        except BaseException as error:
            if len(batch) == 1:
                return [error]
        return [answer for one in batch for answer in self._attempt([one])]

    def _outputs(self, batch: Sequence[Pass]) -> list[ModelOutput[Any] | BaseException]:
        shape = sum(one.shape[0] for one in batch), max(one.shape[1] for one in batch)
        padding = {"input_ids": self._model.config.pad_token_id or 0}
        arguments = {name: np.full(shape, padding.get(name, 0), dtype=np.int64) for name in _NAMES}
        first = 0
        for one in batch:
            for name, whole in arguments.items():
                # What is not given is all shown, and one segment.
                rows, length = one.shape
                whole[first : first + rows, :length] = one.tables.get(name, name == "attention_mask")
            first += rows
        for name, neutral in (("attention_mask", 1), ("token_type_ids", 0)):
            if (arguments[name] == neutral).all():
                del arguments[name]
        # A memory of all that ran together would be nobody's.
        decodes = {"use_cache": False} if self._model._engine.family == "decoder" else {}
        outputs: Any = self._model.forward(**arguments, **decodes)
        answers: list[ModelOutput[Any] | BaseException] = []
        first = 0
        for one in batch:
            answers.append(_cut(outputs, first, one))
            first += one.shape[0]
        return answers


def _cut(outputs: ModelOutput[Any], first: int, one: Pass) -> ModelOutput[Any]:
    """A pass's own part of what came out, in memory of its own."""
    rows, length = one.shape
    fields = {}
    for name, value in outputs.items():
        own = value[first : first + rows]
        if own.ndim == 3 or name in _FLAT:
            own = own[:, :length]
        fields[name] = from_tensor(to_tensor(name, own.copy()), one.kind)
    return type(outputs)(**fields)
