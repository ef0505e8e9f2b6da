"""One model for many who ask at once: what they ask for is computed together."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .._grad import no_grad
from ..models.arrays import kind_of
from .forwards import Forwards
from .pool import in_pool
from .streams import stream
from .texts import Texts, goes_together

if TYPE_CHECKING:
    import asyncio

    from ..models.modeling import PreTrainedModel


class AsyncEngine:
    """A model that answers many tasks at once; each gets what it would get alone.

    Forward passes that are asked for within ``max_wait_ms`` of one another run as one batch. Texts are
    written together token by token: each begins as soon as there is room, ends at its own end, and has
    settings of its own. A long prompt is read in pieces of 128 tokens, between which the other texts go on;
    one of embeddings is read at once. Who asks first is served first. What does not go together (labels,
    hidden states, attentions, caches; beams, drafts, guidance; encoder-decoders) runs alone off the event
    loop, by the same methods. Gradients are not recorded.

    ::

        engine = trustformers.AsyncEngine(model, max_batch_tokens=8192, max_wait_ms=2)
        outputs = await engine(input_ids)                                # as model(input_ids)
        ids = await engine.generate(input_ids, max_new_tokens=20)        # as model.generate(...)
        async for piece in engine.stream("Once", tokenizer=tokenizer):   # as model.stream(...)
            ...

    A task that is cancelled leaves its batch; a batch that nobody waits for any more ends at the next
    operation. It may be used in several event loops.

    A model that was made from a configuration, or trained, is in training mode, where forward passes drop at
    random: call its ``eval()`` before it is served. :meth:`forward` warns of it.

    :param model: the model.
    :param max_batch_tokens: how many tokens run together, padding included; of texts, how many they may come
        to have. It bounds the memory that is needed at once.
    :param max_wait_ms: how long a forward pass waits for others that may come.
    :param max_requests: how many requests wait or run at once in an event loop. All others wait, in order,
        until there is a place for them.
    :raises ValueError: for limits that leave nothing to do.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        max_batch_tokens: int = 4096,
        max_wait_ms: float = 2.0,
        max_requests: int = 1024,
    ) -> None:
        if max_batch_tokens < 1 or max_wait_ms < 0 or max_requests < 1:
            raise ValueError(
                "max_batch_tokens and max_requests must be at least 1 and max_wait_ms at least 0, got "
                f"{max_batch_tokens}, {max_requests} and {max_wait_ms}"
            )
        self.model = model
        self.max_batch_tokens, self.max_wait_ms = max_batch_tokens, max_wait_ms
        self.max_requests = max_requests
        self._forwards = Forwards(model, max_batch_tokens, max_wait_ms / 1000)
        self._texts = Texts(max_batch_tokens)
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("max_batch_tokens", "max_wait_ms", "max_requests")}

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in self._settings().items())
        return f"{type(self).__name__}({', '.join((type(self.model).__name__, *settings))})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Those who wait stay with the engine that they have asked.
        return partial(type(self), **self._settings()), (self.model,)

    async def forward(self, input_ids: Any = None, attention_mask: Any = None, **kwargs: Any) -> Any:
        """Run the model over a batch; see :meth:`PreTrainedModel.forward`.

        A decoder gives no ``past_key_values`` unless ``use_cache=True`` asks for them.
        """
        if self.model.training:
            warnings.warn(
                f"This {type(self.model).__name__} is in training mode, so that dropout makes each answer "
                "another one: call model.eval() before it is served.",
                stacklevel=2,
            )
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask, **kwargs}
        if isinstance(input_ids, Mapping):
            arguments = {**arguments, "input_ids": None, **input_ids}
        async with self._place():
            tables = self._forwards.tables(arguments)
            if tables is not None:
                return await self._forwards.run(tables, kind_of(arguments["input_ids"]))
            return await in_pool(no_grad()(self.model.forward), **arguments)

    __call__ = forward

    async def generate(self, inputs: Any = None, **kwargs: Any) -> Any:
        """Write behind prompts; see :meth:`PreTrainedModel.generate`."""
        async with self._place():
            writing = await in_pool(self.model._prepare, inputs, **kwargs)
            positions = getattr(self.model.config, "max_position_embeddings", None)
            if goes_together(writing, positions):
                return await self._texts.write(writing)
            return await in_pool(writing.alone)

    def stream(
        self,
        inputs: Any = None,
        *,
        tokenizer: Any,
        skip_prompt: bool = True,
        skip_special_tokens: bool = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Any, None]:
        """Write behind prompts and give the text piece by piece; see :meth:`PreTrainedModel.stream_async`."""
        return stream(
            self.generate,
            inputs,
            tokenizer=tokenizer,
            skip_prompt=skip_prompt,
            skip_special_tokens=skip_special_tokens,
            timeout=timeout,
            kwargs=kwargs,
        )

    def _place(self) -> AbstractAsyncContextManager[None]:
        """One of the places for requests, which are given in order."""
        import asyncio

        loop = asyncio.get_running_loop()
        if (places := self._places.get(loop)) is None:
            places = self._places[loop] = asyncio.Semaphore(self.max_requests)
        return places
