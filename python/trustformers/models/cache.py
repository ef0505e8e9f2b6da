"""The keys and values of the text so far, as transformers' cache classes show them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .. import _engine
from .arrays import Kind, from_tensor, to_array

CacheT = TypeVar("CacheT", bound="Cache")


class CacheLayer(NamedTuple):
    """What one layer has stored: (batch, heads, length, head_dim) each, zero where the mask hides."""

    keys: Any
    values: Any

    def get_seq_length(self) -> int:
        """The number of positions so far, padding included."""
        return int(self.keys.shape[2])


class Cache:
    """The keys and values that a decoder has computed: ``past_key_values``.

    A forward pass that is given one reads what is in it and adds its own. What a layer holds is read in
    :attr:`layers`, as arrays of the kind that the model was given; it is changed by the methods here.
    """

    _is_quantized = False

    def __init__(self) -> None:
        self._engine = _engine.Cache(quantized=self._is_quantized)
        self._kind: Kind = "numpy"

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The number of positions so far, padding included."""
        return self._engine.length()

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """-1: there is no most that a cache can hold."""
        return -1

    def get_max_length(self, layer_idx: int = 0) -> int:
        """What :meth:`get_max_cache_shape` is called from transformers 5.24 on."""
        return self.get_max_cache_shape(layer_idx)

    @property
    def batch_size(self) -> int:
        """The number of sequences; -1 before the first step."""
        return self._engine.batch() or -1

    @property
    def is_initialized(self) -> bool:
        """Whether there has been a first step."""
        return self._engine.batch() > 0

    @property
    def layers(self) -> Sequence[Any]:
        """Every layer's keys and values."""
        return [self._layer(index) for index in range(self._engine.layers())]

    def _layer(self, index: int) -> CacheLayer:
        held = self._engine.layer(index)
        if held is None:
            raise IndexError(f"the cache has {len(self)} layers, there is no layer {index}")
        keys, values = (from_tensor(tensor, self._kind) for tensor in held)
        return CacheLayer(keys, values)

    def __len__(self) -> int:
        return self._engine.layers()

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last positions: ``crop(-2)`` the last two.

        A positive number is transformers 4's spelling and says how many to keep.
        """
        if tokens_to_remove > 0:
            warnings.warn(
                "crop(n) with the number of positions to keep is deprecated: pass the number to remove as a "
                "negative number",
                DeprecationWarning,
                stacklevel=2,
            )
        if tokens_to_remove != 0:
            self._engine.crop(tokens_to_remove)

    def reset(self) -> None:
        """Forget everything."""
        self._engine = _engine.Cache(quantized=self._is_quantized)

    def batch_select_indices(self, indices: Any) -> None:
        """Make sequence ``i`` what sequence ``indices[i]`` was."""
        if self.is_initialized:
            self._engine.select(to_array(indices).tolist())

    def reorder_cache(self, beam_idx: Any) -> None:
        """Make sequence ``i`` what sequence ``beam_idx[i]`` was, as beam search asks for."""
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every sequence ``repeats`` times: 0 0 1 1 2 2."""
        self.batch_select_indices(np.repeat(np.arange(self._engine.batch()), repeats))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_engine": self._engine.parts()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "_engine": _engine.Cache.from_parts(*state["_engine"])})

    def __copy__(self: CacheT) -> CacheT:
        twin = type(self).__new__(type(self))
        vars(twin).update({**vars(self), "_engine": self._engine.copy()})
        return twin

    def __deepcopy__(self: CacheT, memo: dict[int, Any]) -> CacheT:
        return self.__copy__()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} layers, {self._engine.batch()} sequences of "
            f"{self.get_seq_length()} positions)"
        )


class DynamicCache(Cache):
    """The cache of a decoder: it grows with the text."""

    def __init__(self, ddp_cache_data: None = None, config: Any = None) -> None:
        """Make an empty cache. ``config`` says nothing that a cache needs to know here."""
        if ddp_cache_data is not None:
            raise ValueError("a cache is filled by a model: make it empty and pass it as past_key_values")
        super().__init__()

    def __getitem__(self, layer_idx: int) -> tuple[Any, Any]:
        layer = self._layer(range(len(self))[layer_idx])
        return layer.keys, layer.values

    def __iter__(self) -> Iterator[tuple[Any, Any, None]]:
        for layer in self.layers:
            yield layer.keys, layer.values, None


class StaticCache(DynamicCache):
    """A cache for a number of positions.

    Every cache has its room beforehand here and grows where that is not enough: this one says how many
    positions it was meant for, and takes more.
    """

    def __init__(self, config: Any, max_cache_len: int, offloading: bool = False, **kwargs: Any) -> None:
        """Make an empty cache. ``config`` and ``offloading`` say nothing that a cache needs to know here."""
        super().__init__()
        self.max_cache_len = max_cache_len

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """The number of positions that it was meant for."""
        return self.max_cache_len


class QuantizedCache(DynamicCache):
    """A cache that keeps integers of 8 bits, with a scale for each head of each position.

    A quarter of the memory of float32, half that of float16. ``generate(cache_implementation="quantized")``
    makes one. There are 8 bits also where fewer are asked for, which is more exact.
    """

    _is_quantized = True

    def __init__(self, backend: str | None = None, config: Any = None, nbits: int | None = None) -> None:
        """Make an empty cache. ``backend`` and ``config`` say nothing that a cache needs to know here.

        :raises ValueError: if ``nbits`` are more than 8.
        """
        if nbits is not None and not 1 <= nbits <= 8:
            raise ValueError(
                f"a quantized cache keeps 8 bits, got nbits={nbits}: use a DynamicCache for more"
            )
        super().__init__()


class _SourceCache(DynamicCache):
    """What the cross-attention looks at: the part of an :class:`EncoderDecoderCache` that stays as it is."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._engine.source_length()

    def _layer(self, index: int) -> CacheLayer:
        held = self._engine.source_layer(index)
        if held is None:
            raise IndexError(f"the cache has {len(self)} layers, there is no layer {index}")
        keys, values = (from_tensor(tensor, self._kind) for tensor in held)
        return CacheLayer(keys, values)


class EncoderDecoderCache(Cache):
    """The cache of an encoder-decoder: of the decoder's text, and of the source that it looks at."""

    def __init__(
        self, self_attention_cache: Cache | None = None, cross_attention_cache: Cache | None = None
    ) -> None:
        """Make an empty cache. transformers makes one of two caches; here both must be empty."""
        super().__init__()
        for part in (self_attention_cache, cross_attention_cache):
            if part is not None and part.is_initialized:
                raise ValueError("an EncoderDecoderCache is made of empty caches: a model fills it")

    def _part(self, cls: type[CacheT]) -> CacheT:
        part = cls.__new__(cls)
        part._engine, part._kind = self._engine, self._kind
        return part

    @property
    def self_attention_cache(self) -> DynamicCache:
        """The decoder's own keys and values."""
        return self._part(DynamicCache)

    @property
    def cross_attention_cache(self) -> DynamicCache:
        """The keys and values of the source."""
        return self._part(_SourceCache)

    @property
    def is_updated(self) -> dict[int, bool]:
        """For every layer, whether it knows the source."""
        return {index: self._engine.source_layer(index) is not None for index in range(len(self))}

    def __getitem__(self, layer_idx: int) -> tuple[Any, Any, Any, Any]:
        return self.self_attention_cache[layer_idx] + self.cross_attention_cache[layer_idx]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for own, source in zip(self.self_attention_cache, self.cross_attention_cache, strict=True):
            yield own + source


def new_cache(kind: Kind, is_encoder_decoder: bool, is_quantized: bool = False) -> Cache:
    """An empty cache of the sort that a model needs, which shows arrays of a kind."""
    own = QuantizedCache if is_quantized else DynamicCache
    cache = EncoderDecoderCache() if is_encoder_decoder else own()
    cache._kind = kind
    return cache
