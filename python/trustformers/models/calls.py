"""A forward pass as Python calls it: keywords in, outputs of the kind that went in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _engine
from .._grad import enable_grad, no_grad
from .arrays import Kind, from_tensor, kind_of, to_array, to_tensor
from .cache import Cache, new_cache
from .outputs import BaseModelOutput, ModelOutput, output_class
from .trainable import make_trainable

if TYPE_CHECKING:
    from .modeling import PreTrainedModel

_TEXT = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
#: The arrays that each family reads.
_ARRAYS = {
    "encoder": _TEXT,
    "decoder": (*_TEXT, "encoder_hidden_states", "encoder_attention_mask"),
    "encoder-decoder": (
        *_TEXT,
        *("decoder_input_ids", "decoder_attention_mask", "decoder_inputs_embeds", "decoder_position_ids"),
    ),
}
#: The arrays that each task reads beside them; all others read labels.
_LABELS: dict[str, tuple[str, ...]] = {
    "Base": (),
    "TextEncoding": (),
    "QuestionAnswering": ("start_positions", "end_positions"),
    "NextSentencePrediction": ("labels", "next_sentence_label"),
    "PreTraining": ("labels", "next_sentence_label", "sentence_order_label"),
}
#: What a loss is asked for by.
_LOSS = frozenset({"labels", *(name for names in _LABELS.values() for name in names)})
#: Tasks whose logits are one for every token of the vocabulary.
_LANGUAGE = ("CausalLM", "Seq2SeqLM")
#: What every model may be asked.
_FLAGS = ("use_cache", "output_attentions", "output_hidden_states", "return_dict", "max_length")
#: What transformers' models have and this one does not: accepted as ``None``.
_NONE_ONLY = (
    *("past_key_values", "cache_position", "encoder_hidden_states", "encoder_attention_mask", "labels"),
    *("head_mask", "decoder_head_mask", "cross_attn_head_mask", "num_items_in_batch"),
)


def forward(model: PreTrainedModel, arguments: dict[str, Any]) -> ModelOutput[Any] | tuple[Any, ...]:
    """Run ``model``, whose forward pass was called with ``arguments``."""
    engine, task = model._current_engine(), model._task
    first = arguments.get("input_ids")
    if isinstance(first, Mapping):
        arguments = {**arguments, "input_ids": None, **first}
    arguments = with_older_names(arguments)
    arrays, others = _sorted_out(model, engine.family, arguments)
    max_length = others.get("max_length")
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")

    encoded = encoder_outputs(others.get("encoder_outputs"))
    if "last_hidden_state" in encoded:
        arrays["encoder_last_hidden_state"] = encoded["last_hidden_state"]
    kind = kind_of(next((value for name, value in arrays.items() if name.endswith(("ids", "embeds"))), None))
    tensors = {name: to_tensor(name, value) for name, value in arrays.items()}

    may_record = _may_record(model, kind)
    if may_record and kind != "numpy" and not engine.requires_grad and _LOSS.intersection(arrays):
        # A loss is asked for to be trained on, unless that is within no_grad().
        make_trainable(model.parameters())

    def asked(name: str) -> bool:
        value = others.get(name)
        return bool(getattr(model.config, name, False) if value is None else value)

    cache = given_cache(others.get("past_key_values"))
    result_class = output_class(engine.family, task)
    uses_cache = engine.family != "encoder" and "past_key_values" in result_class.__dataclass_fields__
    if uses_cache and others.get("use_cache") is None:
        # Gradients do not go through a cache: it is made unasked only where none are recorded, and not in
        # training, where layers may be left out.
        recording = engine.requires_grad or any(tensor.requires_grad for tensor in tensors.values())
        recording = recording and may_record
        uses_cache = asked("use_cache") and not recording and not model.training
        if asked("use_cache") and not uses_cache and cache is None:
            _hold_together(tensors)
    elif uses_cache:
        uses_cache = asked("use_cache")
    if cache is None and uses_cache:
        cache = new_cache(kind, engine.family == "encoder-decoder")
    elif cache is not None:
        cache._kind = kind
    _check_cache_position(others.get("cache_position"), tensors, cache)

    with enable_grad() if may_record else no_grad():
        outputs = engine.forward(
            tensors,
            cache=None if cache is None else cache._engine,
            output_attentions=asked("output_attentions"),
            output_hidden_states=asked("output_hidden_states"),
            output_router_logits=others.get("output_router_logits"),
            num_items_in_batch=others.get("num_items_in_batch"),
            logits_to_keep=_kept(others.get("logits_to_keep")),
            max_length=max_length,
            training=model.training,
            recomputes=model.training and model.is_activation_checkpointing,
            noise=model._noise,
        )
    if "labels" in tensors:
        model._note_labels(tensors["labels"])
    fields = {name: from_tensor(value, kind) for name, value in outputs.items()}
    for name in ("hidden_states", "attentions"):
        if encoded.get(name) is not None:
            fields[f"encoder_{name}"] = encoded[name]
    if uses_cache:
        fields["past_key_values"] = cache
    result = output_class(engine.family, task, fields)(**fields)
    return result if asked("return_dict") else result.to_tuple()


def _hold_together(tensors: dict[str, _engine.Tensor]) -> None:
    """Have positions that begin anew part no texts from one another, by a mask that shows everything.

    transformers' model would have made a cache here, and then parts none.
    """
    text = tensors.get("input_ids", tensors.get("inputs_embeds"))
    if text is not None and "position_ids" in tensors and "attention_mask" not in tensors:
        tensors["attention_mask"] = _engine.ones(text.shape[:2])


def encode(model: PreTrainedModel, arguments: dict[str, Any]) -> ModelOutput[Any] | tuple[Any, ...]:
    """Run the encoder of an encoder-decoder alone."""
    known = (*_TEXT, *_FLAGS)
    for name, value in arguments.items():
        if name not in known and value is not None:
            raise unexpected("Encoder.forward", name, known)
    given = {name: value for name, value in arguments.items() if value is not None}
    kind = kind_of(given.get("input_ids", given.get("inputs_embeds")))

    def asked(name: str) -> bool:
        return bool(given.get(name, getattr(model.config, name, False)))

    with enable_grad() if _may_record(model, kind) else no_grad():
        outputs = model._current_engine().forward(
            {name: to_tensor(name, given[name]) for name in _TEXT if name in given},
            output_attentions=asked("output_attentions"),
            output_hidden_states=asked("output_hidden_states"),
            max_length=given.get("max_length"),
            encoder_only=True,
            training=model.training,
            recomputes=model.training and model.is_activation_checkpointing,
            noise=model._noise,
        )
    result: BaseModelOutput[Any] = BaseModelOutput(
        **{name: from_tensor(value, kind) for name, value in outputs.items()}
    )
    return result if asked("return_dict") else result.to_tuple()


def _may_record(model: PreTrainedModel, kind: Kind) -> bool:
    """Whether gradients may be recorded: for NumPy in training alone, as its arrays cannot have them."""
    return _engine.is_grad_enabled() and (model.training or kind != "numpy")


def _arrays(family: str, task: str) -> tuple[str, ...]:
    return (*_ARRAYS[family], *_LABELS.get(task, ("labels",)))


def accepted(family: str, task: str, has_experts: bool = False) -> tuple[str, ...]:
    """The keywords that the forward pass of a model takes."""
    names = (*_arrays(family, task), *_FLAGS)
    if has_experts:
        names += ("output_router_logits",)
    if family != "encoder":
        names += ("past_key_values", "cache_position")
    if family == "encoder-decoder":
        names += ("encoder_outputs",)
    if task == "CausalLM":
        names += ("num_items_in_batch",)
    return (*names, "logits_to_keep") if task in _LANGUAGE else names


def _sorted_out(
    model: PreTrainedModel, family: str, arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays among the arguments, and the others; what is ``None`` counts as absent."""
    known = accepted(family, model._task, has_experts=hasattr(model.config, "output_router_logits"))
    arrays: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in known:
            if value is None and name in (*known, *_NONE_ONLY, *_TEXT):
                continue
            if name in ("past_key_values", "encoder_hidden_states", "encoder_attention_mask"):
                raise ValueError(f"{name}= is not supported: {type(model).__name__} takes it only as None")
            raise unexpected(f"{type(model).__name__}.forward", name, known)
        if value is None:
            continue
        (arrays if name in _arrays(family, model._task) else others)[name] = value
    return arrays, others


def with_older_names(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with ``past_key_values`` for what transformers calls ``cache`` from 5.24 on."""
    others = {name: value for name, value in arguments.items() if name != "cache"}
    if (newer := arguments.get("cache")) is None:
        return others
    if others.get("past_key_values") is not None:
        raise ValueError("You cannot specify both `cache` and `past_key_values`. use `cache` only.")
    return {**others, "past_key_values": newer}


def _kept(given: Any) -> int | list[int]:
    """Of how many positions from the end logits are wanted (0 for all), or of which positions."""
    keep = to_array(
        0 if given is None else given if isinstance(given, int) else to_tensor("logits_to_keep", given)
    )
    if keep.dtype.kind not in "iu" or keep.ndim > 1 or (keep.ndim == 0 and keep < 0):
        raise ValueError(
            f"logits_to_keep must be a number of positions, at least 0, or a list of positions, got {given!r}"
        )
    result: int | list[int] = keep.tolist()
    return result


def encoder_outputs(given: Any) -> Mapping[str, Any]:
    """The outputs of an encoder by name; a tuple has them in order."""
    if given is None or isinstance(given, Mapping):
        return given or {}
    if not isinstance(given, (tuple, list)):
        raise ValueError(
            "encoder_outputs must be what the encoder gave: a ModelOutput, a dictionary or a tuple whose "
            f"first item is the last hidden states, got {type(given).__name__}"
        )
    return dict(zip(("last_hidden_state", "hidden_states", "attentions"), given, strict=False))


def given_cache(given: Any) -> Cache | None:
    """``past_key_values`` if it is a cache of ours."""
    if given is None or isinstance(given, Cache):
        return given
    raise ValueError(
        "past_key_values must be the cache that a forward pass gave, a DynamicCache or an "
        f"EncoderDecoderCache, got {type(given).__name__}"
    )


def _check_cache_position(given: Any, tensors: Mapping[str, _engine.Tensor], cache: Cache | None) -> None:
    """Refuse positions that are not the next ones: the cache knows itself how long it is."""
    if given is None:
        return
    past = 0 if cache is None else cache.get_seq_length()
    positions = to_array(to_tensor("cache_position", given))
    if not np.array_equal(positions, np.arange(past, past + positions.size)):
        raise ValueError(
            f"cache_position must count on from the {past} positions of the past, got {positions}"
        )


def unexpected(where: str, name: str, known: Iterable[str]) -> TypeError:
    """The error about a keyword that does not exist, which names the nearest that does."""
    import difflib

    nearest = difflib.get_close_matches(name, list(known), n=1)
    hint = f". Did you mean '{nearest[0]}'?" if nearest else ""
    return TypeError(f"{where}() got an unexpected keyword argument '{name}'{hint}")
