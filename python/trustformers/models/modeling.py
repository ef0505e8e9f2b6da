"""A model as Python sees it: arguments in, the engine's forward pass, outputs of the kind that went in."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from .. import _engine
from .configuration import IGNORED_KEYWORDS, REPO_KEYWORDS, PreTrainedConfig, open_repo
from .outputs import BaseModelOutputWithPoolingAndCrossAttentions

ModelT = TypeVar("ModelT", bound="PreTrainedModel")

#: Keywords of transformers' ``from_pretrained`` that would change the result and that are not there yet.
_UNSUPPORTED = (
    *("adapter_kwargs", "generation_config", "gguf_file", "key_mapping", "load_in_4bit", "load_in_8bit"),
    *("max_memory", "offload_folder", "quantization_config", "state_dict", "tp_plan"),
)
#: The attention implementations of transformers that give what the engine's one gives.
_ATTENTION = (None, "eager", "sdpa")
_TENSORS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")
_DTYPES = ("auto", "float32", "float16", "bfloat16")
_REMEDY = "give rows of numbers of one length, as the tokenizer does with padding=True"
#: Arguments that an encoder's forward pass takes only as None: a decoder's, and a mask that version 5
#: dropped.
_NONE_ONLY = (
    *("encoder_hidden_states", "encoder_attention_mask", "past_key_values", "cache_position", "head_mask"),
)


class PreTrainedModel:
    """A model with its weights; calling it runs it. One model may be used by any number of threads at once.

    Outputs follow the input: NumPy arrays or lists give NumPy arrays, torch tensors torch tensors, a
    ``Tensor`` gives a ``Tensor``.
    """

    config_class: type[PreTrainedConfig] = PreTrainedConfig
    main_input_name = "input_ids"

    def __init__(
        self, config: PreTrainedConfig, add_pooling_layer: bool = True, *, seed: int | None = None
    ) -> None:
        """Make a model with freshly drawn weights.

        :raises ValueError: when the configuration has impossible values.
        """
        if not isinstance(config, PreTrainedConfig):
            raise ValueError(
                f"Parameter config in `{type(self).__name__}(config)` should be an instance of class "
                "`PreTrainedConfig`. To create a model from a pretrained model use "
                f"`model = {type(self).__name__}.from_pretrained(PRETRAINED_MODEL_NAME)`"
            )
        seed = int.from_bytes(os.urandom(8), "little") if seed is None else seed
        engine = _engine.Model.from_config(_as_json(config), add_pooling_layer=add_pooling_layer, seed=seed)
        self._attach(copy.deepcopy(config), engine)

    def _attach(self, config: PreTrainedConfig, engine: _engine.Model) -> None:
        self.config = config
        self.training = False
        self._engine = engine
        self._source: tuple[str | os.PathLike[str], dict[str, Any]] | None = None

    def __deepcopy__(self: ModelT, memo: dict[int, Any]) -> ModelT:
        twin = type(self).__new__(type(self))
        twin._attach(copy.deepcopy(self.config, memo), self._engine)  # weights do not change: they are shared
        twin._source = self._source
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is None:
            raise TypeError("a model with freshly drawn weights cannot be pickled: only one from files can")
        return _reopen, (type(self), self.config, *self._source)

    @classmethod
    def from_pretrained(
        cls: type[ModelT],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        **kwargs: Any,
    ) -> ModelT:
        """Open a model from a local folder or a hub repository. Its weights are mapped, not read.

        Keywords: ``config``; where from: ``revision``, ``subfolder``, ``cache_dir``, ``local_files_only``,
        ``force_download``, ``token``, ``variant``; ``use_safetensors`` takes only safetensors (True) or
        only ``.bin`` files (False); ``ignore_mismatched_sizes`` draws tensors of the wrong shape anew;
        ``output_loading_info`` returns what did not fit as well; ``dtype`` is ``"auto"`` (as stored),
        ``"float32"``, ``"float16"`` or ``"bfloat16"`` for the weights, while computation is in float32;
        ``device`` is ``"cpu"`` or ``"auto"``; all others must be fields of the configuration.

        :raises OSError: when there is no such folder or repository, or no weights in it.
        :raises ValueError: for arguments and configurations that cannot be.
        :raises RuntimeError: when weights and configuration do not fit; everything that does not is listed.
        """
        model: ModelT = cls._open(
            {cls.config_class.model_type: cls}, pretrained_model_name_or_path, *model_args, **kwargs
        )
        return model

    @staticmethod
    def _open(
        classes: Mapping[str, type[PreTrainedModel]],
        name_or_path: str | os.PathLike[str],
        *model_args: Any,
        **kwargs: Any,
    ) -> Any:
        """Open a model as one of ``classes``, by model type."""
        if model_args:
            raise TypeError(
                f"from_pretrained takes one positional argument, got also {model_args!r}: name them"
            )
        with_info = kwargs.pop("output_loading_info", False)
        options: dict[str, Any] = {
            key: kwargs.pop(key)
            for key in ("variant", "use_safetensors", "ignore_mismatched_sizes", "add_pooling_layer")
            if key in kwargs
        }
        dtype = loading_options(kwargs)
        source = {key: kwargs[key] for key in (*REPO_KEYWORDS, "use_auth_token") if key in kwargs}
        repo = open_repo(name_or_path, kwargs)

        given = kwargs.pop("config", None)
        configs = {name: model.config_class for name, model in classes.items()}
        if isinstance(given, PreTrainedConfig):
            config = copy.deepcopy(given)
        elif given is None:
            config = PreTrainedConfig._read(configs, repo, name_or_path)
        else:
            config = PreTrainedConfig._from_pretrained(configs, given, **source)
        config._set(kwargs)
        model_class = classes.get(config.model_type)
        if model_class is None:
            raise ValueError(
                f"a {config.model_type} configuration does not make one of: {', '.join(classes)}"
            )
        if kwargs:
            raise _unexpected(
                f"{model_class.__name__}.from_pretrained", next(iter(kwargs)), list(config.to_dict())
            )

        engine = _engine.Model.from_repo(
            repo, _as_json(config), dtype=None if dtype == "auto" else dtype, **options
        )
        config.dtype = engine.dtype
        model = model_class.__new__(model_class)
        model._attach(config, engine)
        # What opens the same files again, in another process for instance.
        source["revision"] = repo.commit or source.get("revision")
        model._source = (name_or_path, {**source, **options, "dtype": dtype})
        info = engine.loading_info()
        _report(model_class.__name__, name_or_path, info)
        return (model, info) if with_info else model

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        max_length: int | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions | tuple[Any, ...]:
        """Run the model over a batch.

        ``input_ids`` is (batch, length) token numbers: an array, a tensor, a list of lists, a list of
        numbers (a batch of one), or a ``BatchEncoding`` that holds the other arguments too.
        ``attention_mask``, ``token_type_ids`` and ``position_ids`` are of that shape, ``inputs_embeds`` is
        (batch, length, hidden). ``max_length`` cuts longer inputs.

        :raises ValueError: for shapes that do not fit, and for neither or both of ``input_ids`` and
        ``inputs_embeds``.
        :raises IndexError: for numbers outside the vocabulary.
        :raises RuntimeError: for more tokens than the model has positions, empty batches, and numbers of the
        wrong kind.
        """
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        if isinstance(input_ids, Mapping):
            given.update({"input_ids": None, **input_ids})
        _check_keywords(
            type(self).__name__, {**{k: v for k, v in given.items() if k not in _TENSORS}, **kwargs}
        )
        given = {name: value for name, value in given.items() if name in _TENSORS and value is not None}
        kind = _kind(given.get("input_ids", given.get("inputs_embeds")))
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        outputs = self._engine.forward(
            {name: _tensor(name, value) for name, value in given.items()},
            max_length=max_length,
            output_attentions=_or(output_attentions, self.config.output_attentions),
            output_hidden_states=_or(output_hidden_states, self.config.output_hidden_states),
        )
        result = BaseModelOutputWithPoolingAndCrossAttentions(
            **{name: _convert(value, kind) for name, value in outputs.items()}
        )
        return result if _or(return_dict, self.config.return_dict) else result.to_tuple()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model over a batch; see :meth:`forward`."""
        return self.forward(*args, **kwargs)

    @property
    def dtype(self) -> str:
        """The dtype of the weights. Computation is in float32."""
        return self._engine.dtype

    @property
    def device(self) -> str:
        """Where the model runs."""
        return "cpu"

    @property
    def name_or_path(self) -> str:
        """Where the model came from."""
        return self.config.name_or_path

    def named_parameters(self) -> Iterator[tuple[str, _engine.Tensor]]:
        """Every parameter under transformers' name, over the memory of the checkpoint."""
        yield from self._engine.named_parameters()

    def parameters(self) -> Iterator[_engine.Tensor]:
        """Every parameter."""
        for _, parameter in self.named_parameters():
            yield parameter

    def state_dict(self) -> dict[str, _engine.Tensor]:
        """Name to parameter. Nothing is copied."""
        return dict(self._engine.named_parameters())

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of numbers in all parameters, or in those that are no embeddings. All are trainable."""
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if not (exclude_embeddings and name.endswith("_embeddings.weight"))
        )

    def eval(self: ModelT) -> ModelT:
        """Return the model: it is always ready for inference."""
        return self.train(False)

    def train(self: ModelT, mode: bool = True) -> ModelT:
        """Refuse training, which is not there yet; ``train(False)`` is :meth:`eval`."""
        if mode:
            raise NotImplementedError("training is not supported yet: this model runs in evaluation mode")
        return self

    def to(self: ModelT, device: object) -> ModelT:
        """Return the model if ``device`` is where it is; refuse other devices and dtypes, not there yet."""
        if str(device) not in ("cpu", "auto", "float32", "torch.float32", self.dtype):
            raise ValueError(
                f"to({device!r}) is not supported: the model is on the cpu and computes in float32"
            )
        return self

    def __repr__(self) -> str:
        place = self.name_or_path or "drawn at random"
        return (
            f"{type(self).__name__}({self.config.model_type}, {self.num_parameters():,} parameters, {place})"
        )


def loading_options(kwargs: dict[str, Any]) -> str:
    """Take the keywords that say how to load out of ``kwargs``, refusing what cannot be; return the dtype."""
    for key in (*IGNORED_KEYWORDS, "weights_only"):
        kwargs.pop(key, None)
    for key in _UNSUPPORTED:
        if kwargs.pop(key, None):
            raise ValueError(f"{key}= is not supported yet")
    if (attention := kwargs.pop("attn_implementation", None)) not in _ATTENTION:
        raise ValueError(f"attn_implementation={attention!r} is not supported: use one of {_ATTENTION}")
    for key in ("device", "device_map"):
        if str(kwargs.pop(key, None)) not in ("None", "auto", "cpu", "{'': 'cpu'}"):
            raise ValueError(f"{key}= can only be 'cpu' or 'auto': other devices are not supported yet")
    old = kwargs.pop("torch_dtype", None)
    dtype = kwargs.pop("dtype", old)
    name = "auto" if dtype is None else str(dtype).split(".")[-1]
    if name not in _DTYPES:
        raise ValueError(f"dtype={dtype!r} is not supported: use one of {', '.join(_DTYPES)}")
    return name


def _reopen(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, name_or_path: str, keywords: dict[str, Any]
) -> PreTrainedModel:
    """Open a model again, as pickle asks for."""
    return model_class.from_pretrained(name_or_path, config=config, **keywords)


def _report(model: str, name_or_path: str | os.PathLike[str], info: dict[str, list[Any]]) -> None:
    """Say what in a checkpoint did not fit and was accepted, as transformers says it."""
    lines = [f"  {key}: not used by {model}" for key in info["unexpected_keys"]]
    lines += [f"  {key}: missing, newly initialized" for key in info["missing_keys"]]
    for key, found, wanted in info["mismatched_keys"]:
        lines.append(f"  {key}: {found} in the checkpoint, newly initialized as {wanted}")
    if lines:
        advice = ""
        if info["missing_keys"] or info["mismatched_keys"]:
            advice = "\nTrain the newly initialized weights before you rely on what they give."
        import logging

        logging.getLogger(__name__).warning(
            "Loading %s from %s:\n%s%s", model, name_or_path, "\n".join(lines), advice
        )


def _check_keywords(model: str, kwargs: dict[str, Any]) -> None:
    """Refuse arguments that the forward pass does not have."""
    for name, value in kwargs.items():
        if name in _NONE_ONLY:
            if value is not None:
                raise ValueError(f"{name}= is not supported: {model} is an encoder and takes it only as None")
        elif name != "use_cache":
            raise _unexpected(
                f"{model}.forward", name, [*_TENSORS, "output_attentions", "output_hidden_states"]
            )


def _unexpected(where: str, name: str, known: Sequence[str]) -> TypeError:
    import difflib

    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f". Did you mean '{nearest[0]}'?" if nearest else ""
    return TypeError(f"{where}() got an unexpected keyword argument '{name}'{hint}")


def _tensor(name: str, value: Any) -> _engine.Tensor:
    """``value`` as a tensor, over the same memory where it can be."""
    if isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} holds rows of different lengths: {_REMEDY}") from error
        if value.size == 0 and name != "inputs_embeds":
            value = value.astype(
                np.int64
            )  # an empty list says nothing of its numbers, and NumPy takes them for floats
    try:
        return _engine.as_tensor(value)
    except TypeError as error:
        raise ValueError(f"{name} holds something else than numbers ({error}): {_REMEDY}") from error


def _kind(value: Any) -> str:
    """What outputs shall be: "tensor", "torch" or "numpy"."""
    if isinstance(value, _engine.Tensor):
        return "tensor"
    return "torch" if type(value).__module__.split(".")[0] == "torch" else "numpy"


def _convert(value: Any, kind: str) -> Any:
    """An output of the engine as the kind that went in; lists become tuples."""
    if value is None or kind == "tensor":
        return tuple(value) if isinstance(value, list) else value
    if isinstance(value, list):
        return tuple(_convert(item, kind) for item in value)
    if kind == "torch":
        return value.to_torch()
    return value.to_numpy()


def _or(value: bool | None, default: object) -> bool:
    return bool(default if value is None else value)


def _as_json(config: PreTrainedConfig) -> str:
    return json.dumps(
        config.to_dict(), default=lambda value: value.item() if hasattr(value, "item") else str(value)
    )
