"""What models return: dataclasses that are dictionaries and tuples too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import Field, dataclass, fields
from typing import Any, NoReturn


class ModelOutput(OrderedDict[str, Any]):
    """A dataclass whose fields are keys and positions too: ``out.logits``, ``out["logits"]``, ``out[0]``,
    ``out[:2]``.

    Fields that are ``None`` are no keys and have no position. Iterating gives keys, as of a dictionary;
    :meth:`to_tuple` gives the values. Equals transformers' ``ModelOutput``.
    """

    def __post_init__(self) -> None:
        """Make keys of the fields; a first field that holds all pairs of names and values is taken apart."""
        first, *rest = _fields(self)
        if any(field.default is not None for field in rest):
            raise ValueError(f"{type(self).__name__} should not have more than one required field.")
        value = getattr(self, first.name)
        if all(getattr(self, field.name) is None for field in rest) and (pairs := _pairs(value)) is not None:
            super().pop(first.name, None)
            self.__dict__[first.name] = None
            for key, item in pairs:
                setattr(self, key, item)
                if item is not None:
                    self[key] = item

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setattr__(self, name: str, value: Any) -> None:
        if value is not None and name in {field.name for field in _fields(self)}:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __delitem__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise self._refusal("__delitem__")

    def setdefault(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: outputs have the fields that they have."""
        raise self._refusal("setdefault")

    def pop(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: outputs have the fields that they have."""
        raise self._refusal("pop")

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise: outputs have the fields that they have."""
        raise self._refusal("update")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field.name) for field in _fields(self))

    def to_tuple(self) -> tuple[Any, ...]:
        """The values that are not ``None``, in the order of the fields."""
        return tuple(self[key] for key in self.keys())

    def _refusal(self, method: str) -> Exception:
        return Exception(f"You cannot use ``{method}`` on a {type(self).__name__} instance.")


def _fields(output: Any) -> tuple[Field[Any], ...]:
    """The fields of an output, whose class its subclasses make a dataclass of."""
    return fields(output)


def _pairs(value: Any) -> list[tuple[str, Any]] | None:
    """``value`` as (name, value) pairs, or ``None`` if it is something else."""
    if isinstance(value, dict):
        return list(value.items())
    # Arrays are iterable too, but hold no pairs: only sequences are looked into.
    if not isinstance(value, (list, tuple)) or not value:
        return None
    items: Iterable[Any] = value
    if not _is_pair(value[0]):
        return None
    for item in items:
        if not _is_pair(item):
            raise ValueError(f"Cannot set key/value for {item}. It needs to be a tuple (key, value).")
    return [(item[0], item[1]) for item in items]


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)


@dataclass
class BaseModelOutput(ModelOutput):
    """The output of an encoder.

    ``last_hidden_state``: (batch, length, hidden). ``hidden_states``: the embeddings and every layer's
    output, of that shape each. ``attentions``: every layer's probabilities, (batch, heads, length, length)
    each. Positions that the mask hides are zero.
    """

    last_hidden_state: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """The output of an encoder with a pooler: ``pooler_output`` is (batch, hidden).

    The others are those of :class:`BaseModelOutput`.
    """

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: tuple[Any, ...] | None = None
    attentions: tuple[Any, ...] | None = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """The output of an encoder that could be a decoder too, as BERT's is.

    Its fields are those of :class:`BaseModelOutputWithPooling` and those of a decoder, which an encoder
    leaves empty.
    """

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: tuple[Any, ...] | None = None
    past_key_values: Any = None
    attentions: tuple[Any, ...] | None = None
    cross_attentions: tuple[Any, ...] | None = None
