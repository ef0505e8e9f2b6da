"""A model as Python sees it: its weights, its configuration, and the call that runs it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar, overload

from .. import _engine
from .._hub import push_saved
from ..asynchronous.models import AsyncModel
from ..asynchronous.pool import in_loading_pool
from ..generation.configuration import DEFAULTS, GenerationConfig
from ..generation.mixin import GenerationMixin
from . import calls
from .arrays import from_tensor, kind_of, to_tensor
from .configuration import PreTrainedConfig
from .halves import Decoder, Encoder
from .loading import open_model
from .modules import Module, part_or_parameter
from .outputs import ModelOutput
from .trainable import make_trainable
from .tree import tree
from .weights import Weights

ModelT = TypeVar("ModelT", bound="PreTrainedModel")

#: Fields of a configuration that the forward pass reads at every call, and those that say nothing about it.
_READ_LATE = frozenset(
    {
        *("_name_or_path", "architectures", "dtype", "output_attentions", "output_hidden_states"),
        *("return_dict", "transformers_version", "use_cache"),
    }
)


class PreTrainedModel(GenerationMixin, AsyncModel, Weights):
    """A model with its weights; calling it runs it. One model may be used by any number of threads at once.

    ``training`` says whether it drops what its configuration says (:meth:`train`, :meth:`eval`).

    Outputs follow the input: NumPy arrays or lists give NumPy arrays, torch tensors torch tensors, a
    ``Tensor`` gives a ``Tensor``.
    """

    config_class: ClassVar[type[PreTrainedConfig]] = PreTrainedConfig
    #: The attribute that holds the model without its head, where there is one.
    base_model_prefix: ClassVar[str] = ""
    main_input_name: ClassVar[str] = "input_ids"
    #: The class of the engine's registry, what it is for, and the attribute that holds the model in it.
    _engine_class: ClassVar[str | None] = None
    _task: ClassVar[str] = "Base"
    _base: ClassVar[str] = ""

    def __init__(
        self, config: PreTrainedConfig, add_pooling_layer: bool = True, *, seed: int | None = None
    ) -> None:
        """Make a model with freshly drawn weights, in training mode.

        :raises ValueError: when the configuration has impossible values.
        """
        if not isinstance(config, PreTrainedConfig):
            raise ValueError(
                f"Parameter config in `{type(self).__name__}(config)` should be an instance of class "
                "`PreTrainedConfig`. To create a model from a pretrained model use "
                f"`model = {type(self).__name__}.from_pretrained(PRETRAINED_MODEL_NAME)`"
            )
        engine = _engine.Model.from_config(
            config._as_json(),
            class_name=self._engine_class,
            add_pooling_layer=add_pooling_layer,
            seed=int.from_bytes(os.urandom(8), "little") if seed is None else seed,
        )
        self._attach(copy.deepcopy(config), engine)
        self.training = True

    def _attach(self, config: PreTrainedConfig, engine: _engine.Model) -> None:
        if config.is_encoder_decoder and engine.family != "encoder-decoder":
            # One half of an encoder-decoder alone says so, as in transformers.
            config.is_encoder_decoder = False
            config.is_decoder = engine.family == "decoder"
            config.use_cache = config.is_decoder and config.use_cache
        self.config = config
        self.training = self.is_activation_checkpointing = False
        #: NEFTune's alpha, while a Trainer trains with it.
        self._noise: float | None = None
        self._engine = engine
        self.generation_config = GenerationConfig.from_model_config(config) if self.can_generate() else None
        self._engine_config = self._fields()
        #: What the configuration itself says about generation, which older checkpoints have there.
        self._came_with = {name: getattr(config, name, None) for name in DEFAULTS}
        #: Where each module is.
        self._devices: dict[str, int | str] = {}
        #: What opens the files again: where, keywords, and the engine and the version of its weights then.
        self._source: tuple[str | os.PathLike[str], dict[str, Any], _engine.Model, int] | None = None

    def _fields(self) -> dict[str, Any]:
        """A copy of the fields of the configuration that the engine has read."""
        return copy.deepcopy({k: v for k, v in self.config.__dict__.items() if k not in _READ_LATE})

    def _current_engine(self) -> _engine.Model:
        """The engine, made anew of the same weights if the configuration has been changed."""
        seen = self._engine_config
        if any(v != seen.get(k, seen) for k, v in self.config.__dict__.items() if k not in _READ_LATE):
            self._replace({})
        return self._engine

    def _note_labels(self, labels: _engine.Tensor) -> None:
        """Write down, as transformers does, what the first labels were taken for."""
        config = self.config
        problem = self._engine.problem_type(labels) if getattr(config, "problem_type", "") is None else None
        if problem is not None:
            # The engine takes labels for that by itself.
            config.problem_type = self._engine_config["problem_type"] = problem

    def _replace(self, tensors: dict[str, _engine.Tensor]) -> None:
        """Make the engine anew with some weights replaced, for the configuration as it is now."""
        before, source = self._engine, self._source
        tensors = {name: tensor.to(before.device) for name, tensor in tensors.items()}
        self._engine = before.with_tensors(tensors, self.config._as_json())
        self._engine_config = self._fields()
        if source is not None and source[2] is before and not tensors:
            self._source = (*source[:2], self._engine, source[3])

    def __deepcopy__(self: ModelT, memo: dict[int, Any]) -> ModelT:
        twin = type(self).__new__(type(self))
        twin._attach(copy.deepcopy(self.config, memo), self._engine.copy())
        twin.generation_config = copy.deepcopy(self.generation_config, memo)
        twin._take_modes(self)
        return twin

    def _take_modes(self, other: PreTrainedModel) -> None:
        self.training = other.training
        self.is_activation_checkpointing = other.is_activation_checkpointing

    def __reduce__(self) -> tuple[Any, ...]:
        modes = {name: getattr(self, name) for name in ("training", "is_activation_checkpointing")}
        # Files that hold the weights as they are need not be repeated.
        source = self._source
        if source is not None and source[2] is self._engine and source[3] == self._engine.version:
            return _reopen, (type(self), self.config, *source[:2]), modes
        weights = {name: self._engine.parameter(name) for name in self._engine.parameter_names()}
        return _restore, (type(self), self.config, weights, self._engine.add_pooling_layer), modes

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ModelT],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[ModelT, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls: type[ModelT],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        **kwargs: Any,
    ) -> ModelT: ...

    @classmethod
    def from_pretrained(
        cls: type[ModelT],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        **kwargs: Any,
    ) -> ModelT | tuple[ModelT, dict[str, Any]]:
        """Open a model from a local folder or a hub repository. Its weights are mapped, not read.

        Keywords: ``config``; where from: ``revision``, ``subfolder``, ``cache_dir``, ``local_files_only``,
        ``force_download``, ``token``, ``variant``; ``use_safetensors`` takes only safetensors (True) or
        only ``.bin`` files (False); ``gguf_file`` names a GGUF file there, which says all (a path to one will
        do too); ``ignore_mismatched_sizes`` draws tensors of the wrong shape anew;
        ``output_loading_info`` returns what did not fit as well; ``dtype`` is ``"auto"`` (as the
        configuration says, or as stored, so that blocks of few bits are used as they are),
        ``"float32"``, ``"float16"`` or ``"bfloat16"`` for the weights, while computation is in
        float32; ``quantization`` makes blocks of the matrices of the layers:
        ``"int8"`` (8 bits, a scale for each row; more than 16 positions at once are rounded to 8 bits too) or
        ``"q4"`` (4 bits, a scale and a minimum for each 32), not of embeddings, norms and heads;
        ``device_map`` says where the weights go: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, a number,
        ``{"": "cuda"}``, a dictionary of modules and devices, or ``"auto"``, which shares the layers among
        the GPUs and leaves to the processor what does not fit (``"sequential"`` fills one GPU before the
        next); ``max_memory`` limits that, as ``{0: "10GiB", "cpu": "30GiB"}``; ``hf_device_map`` says what
        came out. ``device`` is the same. All others must be fields of the configuration.

        :raises OSError: when there is no such folder or repository, or no weights in it.
        :raises ValueError: for arguments and configurations that cannot be.
        :raises RuntimeError: when weights and configuration do not fit; everything that does not is listed.
        """
        model_type = cls.config_class.model_type
        opened: ModelT | tuple[ModelT, dict[str, Any]] = open_model(
            {model_type: cls.config_class},
            {model_type: cls},
            cls.__name__,
            pretrained_model_name_or_path,
            model_args,
            kwargs,
        )
        return opened

    @classmethod
    async def from_pretrained_async(cls: type[ModelT], *args: Any, **kwargs: Any) -> ModelT:
        """:meth:`from_pretrained`, off the event loop."""
        return await in_loading_pool(cls.from_pretrained, *args, **kwargs)

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        **kwargs: Any,
    ) -> ModelOutput[Any] | tuple[Any, ...]:
        """Run the model over a batch. The keywords are those of transformers' model of the same name.

        ``input_ids`` is (batch, length) token numbers: an array, a tensor, a list of lists, a list of
        numbers (a batch of one), or a ``BatchEncoding`` that holds the other arguments too.
        ``attention_mask``, ``token_type_ids`` and ``position_ids`` are of that shape, ``inputs_embeds`` is
        (batch, length, hidden); a mask may also be (batch, 1 or heads, length, keys).

        Every model: ``output_attentions``, ``output_hidden_states``, ``return_dict``; ``max_length`` cuts
        longer inputs. With a head: ``labels``, or ``start_positions`` and ``end_positions``, or
        ``next_sentence_label``, which give a loss. Decoders: ``past_key_values``, ``use_cache``,
        ``cache_position``, and with a language model's head ``logits_to_keep``, and ``num_items_in_batch``,
        which the sum of the losses is divided by instead of the number of labels. Encoder-decoders:
        ``decoder_input_ids``, ``decoder_attention_mask``, ``decoder_inputs_embeds``,
        ``decoder_position_ids``, ``encoder_outputs``.

        :raises ValueError: for shapes that do not fit, and for neither or both of ``input_ids`` and
        ``inputs_embeds``.
        :raises TypeError: for keywords that the model does not have.
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
        return calls.forward(self, {**given, **kwargs})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model over a batch; see :meth:`forward`."""
        return self.forward(*args, **kwargs)

    @property
    def name_or_path(self) -> str:
        """Where the model came from."""
        return self.config.name_or_path

    def eval(self: ModelT) -> ModelT:
        """Return the model, which drops nothing: the mode of models that were opened."""
        return self.train(False)

    def train(self: ModelT, mode: bool = True) -> ModelT:
        """Return the model, with dropout as its configuration says, or without.

        What is dropped follows from :func:`trustformers.manual_seed`, whatever the number of threads.
        Gradients are recorded in both modes, for parameters that are trained: all but those whose
        ``requires_grad`` was set to False. That begins with training mode, with an optimizer, or with the
        first loss, so that a model that was only opened records nothing. :meth:`generate` drops nothing.

        :raises ValueError: for a mode that is not a bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        if mode:
            make_trainable(self.parameters())
        return self

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Have layers keep their inputs alone in training, and be computed again for their gradients.

        That takes the time of another forward pass, and the memory of one layer instead of that of all;
        gradients are the same bits. ``use_reentrant`` is taken, and says nothing here; nor does ``offload``,
        as what is kept lies in the main memory already.

        :raises ValueError: for other keywords, and for any but every layer.
        """
        others = set(activation_checkpointing_kwargs or {}) - {"use_reentrant"}
        if others:
            raise ValueError(f"activation_checkpointing_kwargs= has only use_reentrant, got {sorted(others)}")
        if every_n_layers != 1:
            raise ValueError(
                f"every_n_layers={every_n_layers} is not supported: all layers are computed again, or none"
            )
        self.is_activation_checkpointing = True

    def activation_checkpointing_disable(self) -> None:
        """Have layers keep what their gradients need, as at first."""
        self.is_activation_checkpointing = False

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """:meth:`activation_checkpointing_enable` under the name that it had."""
        self.activation_checkpointing_enable(gradient_checkpointing_kwargs, **kwargs)

    def gradient_checkpointing_disable(self) -> None:
        """:meth:`activation_checkpointing_disable` under the name that it had."""
        self.activation_checkpointing_disable()

    def enable_input_require_grads(self) -> None:
        """Nothing: gradients pass through frozen layers that are computed again without it, too."""

    def disable_input_require_grads(self) -> None:
        """Nothing, as :meth:`enable_input_require_grads`."""

    #: All of them compute layers again if asked for.
    supports_gradient_checkpointing: ClassVar[bool] = True

    @property
    def is_gradient_checkpointing(self) -> bool:
        """What ``is_activation_checkpointing`` was called."""
        return self.is_activation_checkpointing

    @classmethod
    def can_generate(cls) -> bool:
        """Whether it has a head that predicts the next token, so that :meth:`generate` works."""
        return cls._task in ("CausalLM", "Seq2SeqLM")

    @property
    def base_model(self) -> PreTrainedModel:
        """The model without its head, which shares its weights; itself if it has none."""
        if not self._base:
            return self
        from . import named

        model_class = named.models_for("Base")[self.config.model_type]
        base = model_class.__new__(model_class)
        base._attach(self.config, self._current_engine().base())
        base._take_modes(self)
        return base

    def __getattr__(self, name: str) -> Any:
        # Called only for what is not there: `model.bert`, `model.classifier`, `model.shared`.
        if name == "hf_device_map" and self.__dict__.get("_devices"):
            return self._devices
        if name and name == type(self)._base:
            return self.base_model
        if not name.startswith("_") and (found := part_or_parameter(self, name)) is not None:
            return found
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def get_submodule(self, target: str) -> Any:
        """The part of a name such as ``"bert.encoder.layer.0"``; itself for an empty one.

        :raises AttributeError: when there is no such part.
        """
        first, _, rest = target.partition(".")
        if not first:
            return self
        if first == type(self)._base:
            return self.base_model.get_submodule(rest)
        if not any(name.startswith(f"{target}.") for name in self._engine.parameter_names(tied=True)):
            raise AttributeError(f"{type(self).__name__} has no part `{target}`")
        return self._part(target)

    def _part(self, path: str) -> Any:
        """The part of a name that there is."""
        if self._engine.family == "encoder-decoder" and path in ("encoder", "decoder"):
            return Encoder(self) if path == "encoder" else Decoder(self)
        head = self._engine.output_embeddings()
        for weight, part in (
            (self._engine.input_embeddings(), self.get_input_embeddings),
            (head and head[0], self.get_output_embeddings),
        ):
            if weight == f"{path}.weight":
                return part()
        return Module(self, path)

    @property
    def prepare_decoder_input_ids_from_labels(self) -> Callable[[Any], Any]:
        """What the decoder reads to predict labels (batch, length): them, one position later.

        Encoder-decoders that write have it. They read it where they are given nothing but labels.
        """
        if self._task != "Seq2SeqLM":
            raise AttributeError(f"'{type(self).__name__}' does not write behind an encoder")

        def prepare(labels: Any) -> Any:
            shifted = self._current_engine().decoder_input_ids(to_tensor("labels", labels))
            return from_tensor(shifted, kind_of(labels))

        return prepare

    def get_encoder(self) -> Any:
        """The encoder, which is called like a model: of an encoder-decoder its own, else the base model."""
        return Encoder(self) if self._engine.family == "encoder-decoder" else self.base_model

    def get_decoder(self) -> Any:
        """The decoder, which is called like a model: of an encoder-decoder its own, else the base model."""
        return Decoder(self) if self._engine.family == "encoder-decoder" else self.base_model

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str = "50GB",
        variant: str | None = None,
    ) -> Any:
        """Upload the weights and the configuration to a repository, which is made if need be.

        :raises ImportError: without ``huggingface_hub``, which does it.
        """
        return push_saved(
            partial(self.save_pretrained, max_shard_size=max_shard_size, variant=variant),
            repo_id,
            commit_message=commit_message,
            commit_description=commit_description,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
        )

    def __repr__(self) -> str:
        origin = f" of {self.name_or_path}" if self.name_or_path else ""
        about = f"{self.config.model_type}{origin}, {self.num_parameters():,} parameters"
        about = f"{about}, {self.dtype}, {self.device}"
        shapes = ((name, shape) for name, shape, _ in self._engine.parameter_sizes())
        lines = [f"{type(self).__name__}(  # {about}", *(f"  {line}" for line in tree(shapes)), ")"]
        return "\n".join(lines)


def _reopen(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, name_or_path: str, keywords: dict[str, Any]
) -> PreTrainedModel:
    """Open a model again, as pickle asks for."""
    opened: PreTrainedModel = model_class.from_pretrained(name_or_path, config=config, **keywords)
    return opened


def _restore(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    tensors: dict[str, _engine.Tensor],
    add_pooling_layer: bool,
) -> PreTrainedModel:
    """Make a model of its weights, as pickle asks for."""
    model = model_class.__new__(model_class)
    engine = _engine.Model.from_tensors(
        tensors,
        config._as_json(),
        place="the pickle",
        class_name=model_class._engine_class,
        add_pooling_layer=add_pooling_layer,
    )
    model._attach(config, engine)
    return model
