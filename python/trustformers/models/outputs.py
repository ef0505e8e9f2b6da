"""What models return: dataclasses that are dictionaries and tuples too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from .cache import Cache

#: The kind of the arrays: NumPy's, this package's tensors, or torch's.
A = TypeVar("A")
#: The default of fields that every forward pass fills. It has no type, so that they have that of an array.
ABSENT: Any = None


class ModelOutput(OrderedDict[str, Any], Generic[A]):
    """A dataclass whose fields are keys and positions too: ``out.logits``, ``out["logits"]``, ``out[0]``,
    ``out[:2]``.

    Fields that are ``None`` are no keys and have no position. Iterating gives keys, as of a dictionary;
    :meth:`to_tuple` gives the values. Equals transformers' ``ModelOutput``; ``past_key_values`` is also
    found as ``cache``, which is its name from transformers 5.24 on.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

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

    @property
    def cache(self) -> Any:
        """The ``past_key_values`` of an output that has them."""
        output: Any = self
        return output.past_key_values

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(_older(key)) if isinstance(key, str) else self.to_tuple()[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_older(key))

    def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, or ``default`` where there is none."""
        return super().get(_older(key), default)

    def __setattr__(self, name: str, value: Any) -> None:
        name = _older(name)
        if value is not None and name in {field.name for field in _fields(self)}:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __setitem__(self, key: str, value: Any) -> None:
        key = _older(key)
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

    def to_list(self) -> dict[str, Any]:
        """The arrays by name as nested lists of Python's numbers, ready for JSON; a cache is left out."""
        return {key: _listed(value) for key, value in self.items() if not isinstance(value, Cache)}

    def _refusal(self, method: str) -> Exception:
        return Exception(f"You cannot use ``{method}`` on a {type(self).__name__} instance.")


def _older(name: Any) -> Any:
    """The name of a field that may be called as newer transformers call it."""
    return "past_key_values" if name == "cache" else name


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


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value.tolist()


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)


@dataclass
class BaseModelOutput(ModelOutput[A]):
    """The output of a stack of layers.

    ``last_hidden_state``: (batch, length, hidden). ``hidden_states``: the embeddings and every layer's
    output, of that shape each. ``attentions``: every layer's probabilities, (batch, heads, length, keys)
    each. Positions that the mask hides are zero.
    """

    last_hidden_state: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput[A]):
    """The output of an encoder with a pooler: ``pooler_output`` is (batch, hidden).

    The others are those of :class:`BaseModelOutput`.
    """

    last_hidden_state: A = ABSENT
    pooler_output: Any = None
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput[A]):
    """The output of an encoder that could be a decoder too, as BERT's is.

    Its fields are those of :class:`BaseModelOutputWithPooling` and those of a decoder, which an encoder
    leaves empty.
    """

    last_hidden_state: A = ABSENT
    pooler_output: Any = None
    hidden_states: tuple[A, ...] | None = None
    past_key_values: Any = None
    attentions: tuple[A, ...] | None = None
    cross_attentions: tuple[A, ...] | None = None


@dataclass
class BaseModelOutputWithPast(ModelOutput[A]):
    """The output of a decoder: ``past_key_values`` is the cache for the next step."""

    last_hidden_state: A = ABSENT
    past_key_values: Any = None
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(BaseModelOutputWithPast[A]):
    """The output of a decoder that can look at an encoder: ``cross_attentions`` are (batch, heads,
    length, source) each."""

    cross_attentions: tuple[A, ...] | None = None


@dataclass
class MoeModelOutputWithPast(BaseModelOutputWithPast[A]):
    """The output of a decoder with experts: ``router_logits`` are (positions, experts) for every layer."""

    router_logits: tuple[A, ...] | None = None


@dataclass
class Seq2SeqModelOutput(ModelOutput[A]):
    """The output of an encoder and a decoder; ``last_hidden_state`` is the decoder's."""

    last_hidden_state: A = ABSENT
    past_key_values: Any = None
    decoder_hidden_states: tuple[A, ...] | None = None
    decoder_attentions: tuple[A, ...] | None = None
    cross_attentions: tuple[A, ...] | None = None
    encoder_last_hidden_state: A = ABSENT
    encoder_hidden_states: tuple[A, ...] | None = None
    encoder_attentions: tuple[A, ...] | None = None


@dataclass
class CausalLMOutput(ModelOutput[A]):
    """Scores of the next token: ``logits`` (batch, length, tokens), and a loss where there were labels."""

    loss: Any = None
    logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class CausalLMOutputWithPast(ModelOutput[A]):
    """Scores of the next token: ``logits`` (batch, length, tokens); ``past_key_values`` is the cache."""

    loss: Any = None
    logits: A = ABSENT
    past_key_values: Any = None
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class CausalLMOutputWithCrossAttentions(CausalLMOutputWithPast[A]):
    """Scores of the next token, of a decoder that can look at an encoder."""

    cross_attentions: tuple[A, ...] | None = None


@dataclass
class MoeCausalLMOutputWithPast(ModelOutput[A]):
    """Scores of the next token, of a decoder with experts; ``aux_loss`` is for their even use."""

    loss: Any = None
    aux_loss: Any = None
    logits: A = ABSENT
    past_key_values: Any = None
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None
    router_logits: tuple[A, ...] | None = None


@dataclass
class MaskedLMOutput(ModelOutput[A]):
    """Scores of the tokens under the masks: ``logits`` (batch, length, tokens)."""

    loss: Any = None
    logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class Seq2SeqLMOutput(ModelOutput[A]):
    """Scores of the decoder's next token: ``logits`` (batch, length, tokens)."""

    loss: Any = None
    logits: A = ABSENT
    past_key_values: Any = None
    decoder_hidden_states: tuple[A, ...] | None = None
    decoder_attentions: tuple[A, ...] | None = None
    cross_attentions: tuple[A, ...] | None = None
    encoder_last_hidden_state: A = ABSENT
    encoder_hidden_states: tuple[A, ...] | None = None
    encoder_attentions: tuple[A, ...] | None = None


@dataclass
class SequenceClassifierOutput(ModelOutput[A]):
    """Scores of the labels of whole texts: ``logits`` (batch, labels)."""

    loss: Any = None
    logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class SequenceClassifierOutputWithPast(ModelOutput[A]):
    """Scores of the labels of whole texts, of a decoder: ``logits`` (batch, labels)."""

    loss: Any = None
    logits: A = ABSENT
    past_key_values: Any = None
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class Seq2SeqSequenceClassifierOutput(ModelOutput[A]):
    """Scores of the labels of whole texts, of an encoder-decoder: ``logits`` (batch, labels)."""

    loss: Any = None
    logits: A = ABSENT
    past_key_values: Any = None
    decoder_hidden_states: tuple[A, ...] | None = None
    decoder_attentions: tuple[A, ...] | None = None
    cross_attentions: tuple[A, ...] | None = None
    encoder_last_hidden_state: A = ABSENT
    encoder_hidden_states: tuple[A, ...] | None = None
    encoder_attentions: tuple[A, ...] | None = None


@dataclass
class MultipleChoiceModelOutput(ModelOutput[A]):
    """Scores of the texts to choose from: ``logits`` (batch, choices)."""

    loss: Any = None
    logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class NextSentencePredictorOutput(ModelOutput[A]):
    """Scores that the second text follows the first, or not: ``logits`` (batch, 2)."""

    loss: Any = None
    logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class TokenClassifierOutput(ModelOutput[A]):
    """Scores of the labels of every position: ``logits`` (batch, length, labels)."""

    loss: Any = None
    logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput[A]):
    """Scores that an answer starts and ends at a position: ``start_logits``, ``end_logits``, (batch, length)
    each.
    """

    loss: Any = None
    start_logits: A = ABSENT
    end_logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class Seq2SeqQuestionAnsweringModelOutput(ModelOutput[A]):
    """Scores that an answer starts and ends at a position, of an encoder-decoder."""

    loss: Any = None
    start_logits: A = ABSENT
    end_logits: A = ABSENT
    past_key_values: Any = None
    decoder_hidden_states: tuple[A, ...] | None = None
    decoder_attentions: tuple[A, ...] | None = None
    cross_attentions: tuple[A, ...] | None = None
    encoder_last_hidden_state: A = ABSENT
    encoder_hidden_states: tuple[A, ...] | None = None
    encoder_attentions: tuple[A, ...] | None = None


@dataclass
class BertForPreTrainingOutput(ModelOutput[A]):
    """Scores of both of BERT's tasks: ``prediction_logits`` (batch, length, tokens), of the tokens under the
    masks; ``seq_relationship_logits`` (batch, 2), that the second text follows the first, or not."""

    loss: Any = None
    prediction_logits: A = ABSENT
    seq_relationship_logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class AlbertForPreTrainingOutput(ModelOutput[A]):
    """Scores of both of ALBERT's tasks: ``sop_logits`` (batch, 2), that the texts are in order, or not."""

    loss: Any = None
    prediction_logits: A = ABSENT
    sop_logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


@dataclass
class ElectraForPreTrainingOutput(ModelOutput[A]):
    """Scores that a token has been replaced: ``logits`` (batch, length)."""

    loss: Any = None
    logits: A = ABSENT
    hidden_states: tuple[A, ...] | None = None
    attentions: tuple[A, ...] | None = None


#: What each task gives, by the family of the model. The first class that has all the fields is taken.
_CLASSES: dict[str, dict[str, tuple[type[ModelOutput[Any]], ...]]] = {
    "encoder": {
        "Base": (BaseModelOutputWithPoolingAndCrossAttentions,),
        "TextEncoding": (BaseModelOutput,),
        "CausalLM": (CausalLMOutputWithCrossAttentions,),
        "MaskedLM": (MaskedLMOutput,),
        "SequenceClassification": (SequenceClassifierOutput,),
        "TokenClassification": (TokenClassifierOutput,),
        "QuestionAnswering": (QuestionAnsweringModelOutput,),
        "MultipleChoice": (MultipleChoiceModelOutput,),
        "NextSentencePrediction": (NextSentencePredictorOutput,),
        "PreTraining": (
            BertForPreTrainingOutput,
            AlbertForPreTrainingOutput,
            ElectraForPreTrainingOutput,
        ),
    },
    "decoder": {
        "Base": (
            BaseModelOutputWithPastAndCrossAttentions,
            MoeModelOutputWithPast,
            BaseModelOutputWithPoolingAndCrossAttentions,
        ),
        "CausalLM": (CausalLMOutputWithCrossAttentions, MoeCausalLMOutputWithPast),
        "SequenceClassification": (SequenceClassifierOutputWithPast,),
    },
    "encoder-decoder": {
        "Base": (Seq2SeqModelOutput,),
        "Seq2SeqLM": (Seq2SeqLMOutput,),
        "SequenceClassification": (Seq2SeqSequenceClassifierOutput,),
        "QuestionAnswering": (Seq2SeqQuestionAnsweringModelOutput,),
    },
}


def output_class(family: str, task: str, names: Iterable[str] = ()) -> type[ModelOutput[Any]]:
    """The class of what a model of a family gives for a task, with fields of these names."""
    classes = _CLASSES[family].get(task) or _CLASSES["encoder"][task]
    wanted = set(names)
    return next((cls for cls in classes if wanted <= cls.__dataclass_fields__.keys()), classes[-1])
