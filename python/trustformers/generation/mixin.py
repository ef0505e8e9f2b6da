"""The method ``generate``: settings and arguments in, texts of the kind that the prompt was out."""

from __future__ import annotations

import copy
import json
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from .. import _engine
from .._grad import no_grad
from ..models import calls
from ..models.arrays import Kind, from_tensor, kind_of, to_array, to_tensor
from ..models.cache import Cache, new_cache
from .configuration import DEFAULTS, GenerationConfig, GenerationMode
from .lengths import set_lengths, warn_of_positions
from .logits_process import EngineProcessor, PrefixConstrainedLogitsProcessor
from .outputs import (
    GenerateBeamDecoderOnlyOutput,
    GenerateBeamEncoderDecoderOutput,
    GenerateDecoderOnlyOutput,
    GenerateEncoderDecoderOutput,
)
from .prompts import prompts
from .stopping_criteria import StoppingCriteria, flags
from .streamers import TextIteratorStreamer

if TYPE_CHECKING:
    import numpy.typing as npt

    from .._device import Device
    from .._engine import Tensor
    from ..models.modeling import PreTrainedModel
    from ..tokenizers.batch_encoding import BatchEncoding

logger = logging.getLogger(__name__)

_OUTPUTS = {
    (False, False): GenerateDecoderOnlyOutput,
    (True, False): GenerateEncoderDecoderOutput,
    (False, True): GenerateBeamDecoderOnlyOutput,
    (True, True): GenerateBeamEncoderDecoderOutput,
}
#: What of an encoder-decoder's outputs is the decoder's.
_DECODERS = ("attentions", "hidden_states")


@dataclass(frozen=True)
class Writing:
    """What ``generate`` is to write."""

    engine: _engine.Model
    request: _engine.Request
    #: Makes of the engine's results what ``generate`` returns.
    finish: Callable[[dict[str, Any]], Any]
    config: GenerationConfig
    mode: GenerationMode
    tensors: Mapping[str, _engine.Tensor]
    has_cache: bool

    def alone(self) -> Any:
        """What ``generate`` returns."""
        # The parameters of a model that has been trained ask for gradients; nobody asks for those of a text.
        with no_grad():
            return self.finish(self.engine.generate(self.request))


class GenerationMixin:
    """What models with a language model's head can do: write."""

    #: The settings that the model came with; ``None`` for a model that cannot generate.
    generation_config: GenerationConfig | None

    @overload
    def generate(
        self, inputs: Any = None, *, return_dict_in_generate: Literal[True], **kwargs: Any
    ) -> Any: ...

    @overload
    def generate(self, inputs: Any = None, *, generation_config: GenerationConfig, **kwargs: Any) -> Any: ...

    @overload
    def generate(self, inputs: Tensor | BatchEncoding[Tensor], **kwargs: Any) -> Tensor: ...

    @overload
    def generate(
        self, inputs: npt.NDArray[Any] | Sequence[Any] | BatchEncoding[npt.NDArray[np.int64]], **kwargs: Any
    ) -> npt.NDArray[Any]: ...

    @overload
    def generate(self, *args: Any, **kwargs: Any) -> Any: ...

    def generate(
        self,
        inputs: Any = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Iterable[Callable[[Any, Any], Any]] | None = None,
        stopping_criteria: Iterable[Callable[..., Any]] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Any], Any] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: PreTrainedModel | None = None,
        streamer: Any = None,
        negative_prompt_ids: Any = None,
        negative_prompt_attention_mask: Any = None,
        custom_generate: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Write behind prompts: transformers' ``generate``.

        ``inputs`` are token numbers (batch, length), or a ``BatchEncoding``; of an encoder-decoder they are
        the source. Settings are taken from the keywords, then ``generation_config``, then the model's own,
        then defaults. Other keywords are those of a forward pass (``attention_mask``, ``inputs_embeds``,
        ``past_key_values``, ``decoder_input_ids``, ``encoder_outputs``, ...), ``tokenizer`` for
        ``stop_strings`` and ``response_format``, and ``generator``, a number that makes drawing repeatable;
        else ``set_seed`` does.

        ``response_format`` keeps what is written to a form, as OpenAI's clients say it: ``{"type":
        "json_object"}``, ``{"type": "json_schema", "json_schema": {"schema": {...}}}``, or ``{"type":
        "regex", "regex": "..."}`` and ``{"type": "grammar", "grammar": "..."}`` (llguidance's Lark). The end
        comes exactly where the text is complete; a text that ``max_new_tokens`` cuts is the beginning of one.

        Returns token numbers (texts, length), prompts included where there is no encoder, or with
        ``return_dict_in_generate`` a ``ModelOutput`` with what was asked for.

        :raises ValueError: for settings that cannot be or contradict one another, unknown keywords, prompts
        that are too long, and models that have no language model's head.
        :raises RuntimeError: when the scores of the next token are no distribution to draw from.
        """
        try:
            return self._prepare(
                inputs,
                generation_config,
                logits_processor,
                stopping_criteria,
                prefix_allowed_tokens_fn,
                synced_gpus,
                assistant_model,
                streamer,
                negative_prompt_ids,
                negative_prompt_attention_mask,
                custom_generate,
                **kwargs,
            ).alone()
        except BaseException as error:
            # Who waits for the streamer's pieces must not wait forever.
            if streamer is not None and hasattr(streamer, "fail"):
                streamer.fail(error)
            raise

    def _prepare(
        self: Any,
        inputs: Any = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Iterable[Any] | None = None,
        stopping_criteria: Iterable[Any] | None = None,
        prefix_allowed_tokens_fn: Callable[[int, Any], Any] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: Any = None,
        streamer: Any = None,
        negative_prompt_ids: Any = None,
        negative_prompt_attention_mask: Any = None,
        custom_generate: Any = None,
        **kwargs: Any,
    ) -> Writing:
        """What :meth:`generate` is to write, with its arguments."""
        if not self.can_generate():
            raise ValueError(
                f"{type(self).__name__} has no head that predicts the next token: generate with one of the "
                "classes AutoModelForCausalLM or AutoModelForSeq2SeqLM"
            )
        if custom_generate is not None:
            raise ValueError("custom_generate= would run code from elsewhere: it is not supported")
        if isinstance(inputs, Mapping):
            inputs, kwargs = None, {**inputs, **kwargs}
        if kwargs.pop("assistant_tokenizer", None) is not None:
            raise ValueError("assistant_tokenizer= is not supported: use an assistant of the same vocabulary")
        kwargs.pop("trust_remote_code", None)
        tokenizer, seed = kwargs.pop("tokenizer", None), _seed(kwargs.pop("generator", None))
        response_format = _response_format(
            kwargs.pop("response_format", None), tokenizer, prefix_allowed_tokens_fn
        )
        config, chosen, arguments = _settings(self, generation_config, kwargs)
        mode = config.get_generation_mode(assistant_model)
        is_beams = mode in (GenerationMode.BEAM_SEARCH, GenerationMode.BEAM_SAMPLE)
        if is_beams and streamer is not None:
            raise ValueError(
                "`streamer` cannot be used with beam search (yet!). Make sure that `num_beams` is set to 1."
            )
        if mode is GenerationMode.ASSISTED_GENERATION and (config.num_return_sequences or 1) > 1:
            raise ValueError(
                "num_return_sequences has to be 1 when doing assisted generate, "
                f"but is {config.num_return_sequences}."
            )
        if config.stop_strings and tokenizer is None:
            raise ValueError(
                "There are one or more stop strings, either in the arguments to `generate` or in the model's "
                "generation config, but we could not locate a tokenizer. When generating with stop strings, "
                "you must pass the model's tokenizer to the `tokenizer` argument of `generate`."
            )
        arrays, cache, encoded = _arrays(self, inputs, arguments)
        kind = kind_of(next((value for name, value in arrays.items() if name.endswith(_PROMPTS)), None))
        tensors = {name: _rows(name, to_tensor(name, value)) for name, value in arrays.items()}
        set_lengths(self, config, tensors, chosen)
        _warn(self, config, tensors)
        if cache is not None:
            if config.cache_implementation not in (None, "hybrid"):  # which older checkpoints come with
                raise ValueError(
                    "Passing both `cache_implementation` (used to initialize certain caches) and `cache` (a "
                    "Cache object) is unsupported. Please use only one of the two."
                )
            cache._kind = kind

        processors = list(logits_processor or ())
        prefix = None
        if prefix_allowed_tokens_fn is not None:
            copies = max(config.num_beams or 1, config.num_return_sequences or 1)
            prefix = PrefixConstrainedLogitsProcessor(prefix_allowed_tokens_fn, copies)
        request = _engine.Request(
            tensors,
            config._as_json(),
            cache=None if cache is None else cache._engine,
            processors=[_processor(one, kind) for one in processors],
            constraint=None if prefix is None else _called(prefix, kind),
            criteria=[(_name(one), _criterion(one, kind)) for one in stopping_criteria or ()],
            streamer=None if streamer is None else _Stream(streamer, kind),
            tokenizer=getattr(tokenizer, "backend_tokenizer", None),
            response_format=response_format,
            assistant=None if is_beams or assistant_model is None else _assistant(assistant_model),
            negative=_negative(negative_prompt_ids, negative_prompt_attention_mask),
            seed=seed,
        )

        device = self.device

        def finish(results: dict[str, Any]) -> Any:
            if kind != "numpy":
                results = {name: _on(device, value) for name, value in results.items()}
            warn_of_positions(self, results["sequences"].shape[1])
            if not config.return_dict_in_generate:
                return from_tensor(results["sequences"], kind)
            return _result(self, config, results, kind, cache, encoded, is_beams)

        return Writing(self._current_engine(), request, finish, config, mode, tensors, cache is not None)

    def stream(
        self: Any,
        inputs: Any = None,
        *,
        tokenizer: Any,
        skip_prompt: bool = True,
        skip_special_tokens: bool = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Write behind prompts and give the text piece by piece, as it is written.

        ``inputs`` is a text, several, or what :meth:`generate` takes; the other keywords are those of
        :meth:`generate`. Pieces are strings, or for several prompts lists with a piece for each. An error is
        raised where the next piece would have come; who leaves the loop stops the generation.
        """
        inputs = prompts(inputs, tokenizer)
        streamer = TextIteratorStreamer(
            tokenizer, skip_prompt=skip_prompt, timeout=timeout, skip_special_tokens=skip_special_tokens
        )
        left = _Left()
        criteria = [*(kwargs.pop("stopping_criteria", None) or ()), left]
        arguments = {**kwargs, "streamer": streamer, "stopping_criteria": criteria, "tokenizer": tokenizer}

        def write() -> None:
            try:
                self.generate(inputs, **arguments)
            except BaseException:
                logger.debug("generation ended with an error", exc_info=True)

        thread = threading.Thread(target=write, name="trustformers-stream", daemon=True)
        thread.start()
        try:
            yield from (piece for piece in streamer if any(piece))
        finally:
            left.event.set()
            thread.join()

    def compute_transition_scores(
        self: Any,
        sequences: Any,
        scores: tuple[Any, ...],
        beam_indices: Any = None,
        normalize_logits: bool = False,
    ) -> Any:
        """The score of each generated token (texts, tokens), from ``scores`` that ``generate`` returned.

        ``normalize_logits`` makes logarithms of probabilities of them; ``beam_indices`` is needed for beams.
        """
        kind = kind_of(sequences)
        steps = np.stack([to_array(step).astype(np.float32) for step in scores], axis=1)
        if normalize_logits:
            steps = steps - steps.max(axis=-1, keepdims=True)
            steps = steps - np.log(np.exp(steps).sum(axis=-1, keepdims=True))
        ids = to_array(sequences)
        if beam_indices is None:
            beams = np.repeat(np.arange(len(ids))[:, None], steps.shape[1], axis=1)
        else:
            beams = to_array(beam_indices)
        length = int((beams >= 0).sum(axis=-1).max())
        beams = beams[:, :length]
        tokens = ids[:, ids.shape[1] - length :]
        chosen = steps[np.maximum(beams, 0), np.arange(length)[None, :], np.where(beams < 0, 0, tokens)]
        return from_tensor(to_tensor("scores", np.where(beams < 0, np.float32(0), chosen)), kind)


_PROMPTS = ("ids", "embeds", "last_hidden_state")
#: Settings about the tokens of a prompt, which one of vectors does not have.
_OF_A_PROMPT = (
    *("repetition_penalty", "no_repeat_ngram_size"),
    *("encoder_repetition_penalty", "encoder_no_repeat_ngram_size"),
)


class _Left(StoppingCriteria):
    """Stops when nobody listens any more."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        return self.event.is_set()


class _Stream:
    """A streamer that is given arrays of a kind."""

    def __init__(self, streamer: Any, kind: Kind) -> None:
        self._streamer, self._kind = streamer, kind
        self.end = streamer.end

    def put(self, tokens: _engine.Tensor) -> None:
        self._streamer.put(from_tensor(tokens, self._kind))


def _settings(
    model: Any, given: GenerationConfig | None, kwargs: dict[str, Any]
) -> tuple[GenerationConfig, set[str], dict[str, Any]]:
    """The settings of a call, the lengths that somebody chose, and the keywords that are none."""
    if given is not None and not isinstance(given, GenerationConfig):
        if not hasattr(given, "to_dict"):
            raise ValueError(f"generation_config must be a GenerationConfig, got {type(given).__name__}")
        given = GenerationConfig.from_dict(given.to_dict())  # transformers' own
    changed = {
        name: value
        for name, before in model._came_with.items()
        if (value := getattr(model.config, name, None)) not in (None, before) and name != "use_cache"
    }
    if given is None and changed:
        raise ValueError(
            "You have modified the pretrained model configuration to control generation. We detected the "
            f"following values set - {changed}. This strategy to control generation is not supported "
            "anymore. Please use and modify `model.generation_config`."
        )
    own = model.generation_config
    chosen = {
        name
        for name in ("max_length", "min_length")
        if any(
            length is not None
            for length in (kwargs.get(name), getattr(given, name, None), getattr(own, name))
        )
    }
    config = copy.deepcopy(given) if given is not None else GenerationConfig()
    config.update(**own.to_dict(), defaults_only=True, allow_custom_entries=True)
    defaults = config._get_default_generation_params()
    if "max_length" not in chosen:
        del defaults["max_length"]
    config.update(**defaults, defaults_only=True)
    arguments = config.update(**kwargs)
    if given is not None and len(arguments) < len(kwargs):
        logger.warning(
            "Passing `generation_config` together with generation-related arguments=(%s) is deprecated. "
            "Please pass either a `generation_config` object OR all generation parameters explicitly, but "
            "not both.",
            kwargs.keys() - arguments.keys(),
        )
    return config, chosen, arguments


def _arrays(
    model: Any, inputs: Any, arguments: dict[str, Any]
) -> tuple[dict[str, Any], Cache | None, Mapping[str, Any]]:
    """The arrays of a call, its cache, and what an encoder gave before."""
    family = model._engine.family
    known = calls.accepted(family, model._task)
    given = {name: value for name, value in arguments.items() if value is not None}
    arguments = calls.with_older_names(given)
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise ValueError(
            f"The following `model_kwargs` are not used by the model: {unknown} (note: typos in the generate "
            "arguments will also show up in this list)"
        )
    if inputs is not None:
        if "input_ids" in arguments:
            raise ValueError(
                f"`inputs`: {inputs}` were passed alongside input_ids which is not allowed. Make sure to "
                f"either pass {inputs} or input_ids=..."
            )
        arguments["input_ids"] = inputs
    if family == "encoder-decoder" and {"input_ids", "inputs_embeds"} <= arguments.keys():
        raise ValueError("You passed `inputs_embeds` and `input_ids` to `.generate()`. Please pick one.")
    cache = calls.given_cache(arguments.pop("past_key_values", None))
    encoded = calls.encoder_outputs(arguments.pop("encoder_outputs", None))
    for name in ("use_cache", "return_dict", "cache_position", "logits_to_keep", "max_length"):
        arguments.pop(name, None)
    if "labels" in arguments:
        raise ValueError("labels are for training: generate takes none")
    if "last_hidden_state" in encoded:
        arguments["encoder_last_hidden_state"] = encoded["last_hidden_state"]
    return arguments, cache, encoded


def _on(device: Device, value: Any) -> Any:
    """A result, or a list of them, where the model is."""
    if isinstance(value, list):
        return [_on(device, one) for one in value]
    return value.to(device) if isinstance(value, _engine.Tensor) else value


def _rows(name: str, tensor: _engine.Tensor) -> _engine.Tensor:
    """A table of one row where a row was given."""
    return tensor.unsqueeze(0) if tensor.ndim == 1 and name.endswith(("ids", "mask")) else tensor


def _warn(model: Any, config: GenerationConfig, tensors: Mapping[str, _engine.Tensor]) -> None:
    """Say what is probably not meant."""
    ids, mask = tensors.get("input_ids"), tensors.get("attention_mask")
    is_decoder = model._engine.family != "encoder-decoder"
    for name in _OF_A_PROMPT if ids is None and "inputs_embeds" in tensors else ():
        if getattr(config, name) in (None, DEFAULTS[name]):
            continue
        if name.startswith("encoder_"):
            warnings.warn(
                f"Passing `{name}` requires some form of `input_ids` to be passed to `generate`, ignoring "
                "the argument.",
                UserWarning,
                stacklevel=4,
            )
        elif is_decoder:
            warnings.warn(
                f"Passing `{name}` with `inputs_embeds` and without `input_ids` to `generate` will apply it "
                "only to newly generated tokens, not to the prompt.",
                UserWarning,
                stacklevel=4,
            )
    ends = to_array([] if config.eos_token_id is None else config.eos_token_id).reshape(-1).tolist()
    if any(end < 0 for end in ends):
        logger.warning(
            "`eos_token_id` should consist of positive integers, but is %s. Your generation will not stop "
            "until the maximum length is reached.",
            ends,
        )
    if ids is None or not is_decoder or len(ids) < 2:
        return
    padding = config.pad_token_id if config.pad_token_id is not None else next(iter(ends), None)
    last = to_array(mask if mask is not None else ids)[:, -1:]
    if (last == (0 if mask is not None else padding)).any():
        logger.warning(
            "A decoder-only architecture is being used, but right-padding was detected! For correct "
            "generation results, please set `padding_side='left'` when initializing the tokenizer."
        )
    if mask is None and padding in ends:
        logger.warning(
            "The attention mask and the pad token id were not set, with a batched input. As a consequence, "
            "you may observe unexpected behavior. Please pass your input's `attention_mask` to obtain "
            "reliable results."
        )


def _seed(generator: Any) -> int | None:
    """A number, or what torch's or our generator began with."""
    if generator is None or isinstance(generator, (int, np.integer)):
        return None if generator is None else int(generator) % 2**64
    if hasattr(generator, "initial_seed"):
        return int(generator.initial_seed()) % 2**64
    raise ValueError(f"generator= must be a number or a torch.Generator, got {type(generator).__name__}")


def _response_format(given: Mapping[str, Any] | None, tokenizer: Any, prefix: Any) -> str | None:
    """A form for texts as JSON text; ``None`` if they are free."""
    if given is None or (isinstance(given, Mapping) and given.get("type") == "text"):
        return None
    if not isinstance(given, Mapping):
        raise ValueError(
            f"response_format must be a dict such as {{'type': 'json_object'}}, got {type(given).__name__}"
        )
    if tokenizer is None:
        raise ValueError(
            "response_format needs to know what tokens say: pass the model's tokenizer to the `tokenizer` "
            "argument of `generate`"
        )
    if prefix is not None:
        raise ValueError("response_format and prefix_allowed_tokens_fn both say what may come: pass one")
    try:
        return json.dumps(given, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"response_format is not JSON: {error}") from error


def _processor(one: Any, kind: Kind) -> Any:
    """A processor as the engine takes it: its own, or a name and what to call."""
    if isinstance(one, EngineProcessor) and type(one).__call__ is EngineProcessor.__call__:
        return one._processor
    return _name(one), _called(one, kind)


def _name(one: Any) -> str:
    """The name of a class: alone only of the package's own, so that no other takes the place of those."""
    cls = type(one)
    own = cls.__module__.startswith(__package__)
    return cls.__name__ if own else f"{cls.__module__}.{cls.__qualname__}"


def _called(one: Callable[[Any, Any], Any], kind: Kind) -> Callable[..., _engine.Tensor]:
    def call(ids: _engine.Tensor, scores: _engine.Tensor) -> _engine.Tensor:
        shape = tuple(scores.shape)
        changed = to_tensor("scores", one(from_tensor(ids, kind), from_tensor(scores, kind)))
        if tuple(changed.shape) != shape:
            raise ValueError(
                f"{type(one).__name__} must return scores of the shape {shape} that it was given, got "
                f"{tuple(changed.shape)}"
            )
        return changed

    return call


def _criterion(one: Callable[..., Any], kind: Kind) -> Callable[..., list[bool]]:
    def call(ids: _engine.Tensor, scores: list[_engine.Tensor] | None) -> list[bool]:
        given = None if scores is None else from_tensor(scores, kind)
        stopped: list[bool] = flags(one(from_tensor(ids, kind), given), len(ids)).tolist()
        return stopped

    return call


def _assistant(model: Any) -> tuple[_engine.Model, str]:
    if model.generation_config is None:
        raise ValueError(f"{type(model).__name__} has no head that predicts the next token: it cannot assist")
    config = copy.deepcopy(model.generation_config)
    config.update(**config._get_default_generation_params(), defaults_only=True)
    return model._current_engine(), config._as_json()


def _negative(ids: Any, mask: Any) -> tuple[_engine.Tensor, _engine.Tensor | None] | None:
    if ids is None:
        return None
    shown = None if mask is None else _rows("mask", to_tensor("negative_prompt_attention_mask", mask))
    return _rows("ids", to_tensor("negative_prompt_ids", ids)), shown


def _result(
    model: Any,
    config: GenerationConfig,
    results: dict[str, Any],
    kind: Kind,
    given: Cache | None,
    encoded: Mapping[str, Any],
    is_beams: bool,
) -> Any:
    """What was generated, as arrays of a kind under transformers' names."""
    is_encoder_decoder = model._engine.family == "encoder-decoder"
    held = results.pop("cache", None)
    fields: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, list) and value and isinstance(value[0], list):
            value = tuple(from_tensor(step, kind) for step in value)
        else:
            value = from_tensor(value, kind)
        fields[f"decoder_{name}" if is_encoder_decoder and name in _DECODERS else name] = value
    if is_encoder_decoder:
        for name in _DECODERS:
            if getattr(config, f"output_{name}") and encoded.get(name) is not None:
                fields[f"encoder_{name}"] = encoded[name]
    elif "cross_attentions" in fields:
        del fields["cross_attentions"]
    if not is_beams:
        fields.pop("beam_indices", None)
    if config.use_cache is not False:
        cache = given
        if cache is None and held is not None:
            cache = new_cache(kind, is_encoder_decoder, config.cache_implementation == "quantized")
            cache._engine = held
        fields["past_key_values"] = cache
    return _OUTPUTS[is_encoder_decoder, is_beams](**fields)
