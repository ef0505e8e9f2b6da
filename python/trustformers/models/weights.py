"""A model's weights as Python sees them: names, dtypes, embeddings, state dicts and files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from .._device import Device
from .._engine import Model, Repo, Tensor, load_checkpoint, save_checkpoint
from .._hub import push_folder
from ..generation.configuration import GenerationConfig
from .arrays import from_tensor, kind_of, to_tensor
from .configuration import PreTrainedConfig
from .modules import Modules
from .placing import placed

WeightsT = TypeVar("WeightsT", bound="Weights")

_DTYPES = ("float32", "float16", "bfloat16")


class IncompatibleKeys(NamedTuple):
    """What did not fit when a state dict was loaded without ``strict``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Embedding(Modules):
    """A table of embeddings: calling it looks numbers up."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.num_embeddings, self.embedding_dim = weight.shape

    def __call__(self, ids: Any) -> Any:
        """The rows of the table for numbers of any shape, an array of the kind that is given."""
        numbers = to_tensor("ids", ids).to(self.weight.device)
        return from_tensor(self.weight[numbers], kind_of(ids))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The table, as ``weight``."""
        yield f"{prefix}.weight" if prefix else "weight", self.weight

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim})"


class Linear(Modules):
    """The last layer of a language model: calling it gives a score for every token."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight
        self.bias = bias
        self.out_features, self.in_features = weight.shape

    def __call__(self, states: Any) -> Any:
        """(.., hidden) to (.., tokens), an array of the kind that is given."""
        logits = to_tensor("states", states).to(self.weight.device) @ self.weight.T
        return from_tensor(logits if self.bias is None else logits + self.bias, kind_of(states))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """``weight``, and ``bias`` if there is one."""
        for name in ("weight", "bias"):
            if (parameter := getattr(self, name)) is not None:
                yield f"{prefix}.{name}" if prefix else name, parameter

    def __repr__(self) -> str:
        return f"Linear({self.in_features}, {self.out_features}, bias={self.bias is not None})"


class Weights(Modules):
    """What can be asked of a model's weights, and done to them."""

    config: PreTrainedConfig
    _engine: Model
    #: Where each module is.
    _devices: dict[str, int | str]
    _source: tuple[str | os.PathLike[str], dict[str, Any], Model, int] | None
    generation_config: GenerationConfig | None

    _engine_config: dict[str, Any]
    _current_engine: Callable[[], Model]
    _fields: Callable[[], dict[str, Any]]
    _replace: Callable[[dict[str, Tensor]], None]

    @property
    def dtype(self) -> str:
        """The dtype of the weights. Computation is in float32."""
        return self._engine.dtype

    @property
    def device(self) -> Device:
        """Where the first of its weights lies. Inputs from elsewhere are brought there."""
        return self._engine.device

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every parameter under transformers' name, over the memory of the checkpoint.

        Of a matrix that is kept in blocks the tensor is made as it is asked for, in float32: what is done to
        it is not done to the model. ``remove_duplicate=False`` gives tied parameters under all of their
        names.
        """
        engine = self._engine
        buffers = set(engine.buffers())
        for name in engine.parameter_names(tied=not remove_duplicate):
            if name not in buffers and (recurse or "." not in name):
                yield f"{prefix}.{name}" if prefix else name, engine.parameter(name)

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The constants that are saved with the parameters and not trained."""
        yield from ((name, self._engine.parameter(name)) for name in self._engine.buffers())

    def buffers(self) -> Iterator[Tensor]:
        """The constants that are saved with the parameters and not trained."""
        for _, buffer in self.named_buffers():
            yield buffer

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of numbers in all parameters, or in those that are trained or no embeddings."""
        left_out = set(self._engine.buffers())
        if exclude_embeddings:
            left_out.update(self._engine.embeddings())
        if only_trainable:
            left_out.update(name for name, one in self.named_parameters() if not one.requires_grad)
        sizes = self._engine.parameter_sizes()
        return sum(math.prod(shape) for name, shape, _ in sizes if name not in left_out)

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """The bytes of the weights, as they are kept."""
        left_out = () if return_buffers else self._engine.buffers()
        return sum(size for name, _, size in self._engine.parameter_sizes() if name not in left_out)

    @property
    def is_quantized(self) -> bool:
        """Whether any of the weights are kept in blocks of few bits."""
        return self._engine.is_quantized

    def state_dict(self) -> dict[str, Tensor]:
        """Name to tensor, tied parameters under all of their names.

        Nothing is copied, but of blocks the numbers that they stand for are made now, in float32.
        """
        entries = self.named_parameters(remove_duplicate=False)
        state = {**dict(entries), **dict(self.named_buffers())}
        return {name: value.detach() if value.requires_grad else value for name, value in state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy tensors or arrays into the parameters of the same names, converted to their dtype.

        :raises RuntimeError: for shapes that do not fit, for parameters that are kept in blocks, and with
        ``strict`` for names that are missing or that the model does not have; nothing is copied then.
        """
        tensors = {name: to_tensor(name, value) for name, value in state_dict.items()}
        missing, unexpected = self._engine.load_state_dict(tensors, strict)
        return IncompatibleKeys(missing, unexpected)

    def _saved_parameters(self) -> dict[str, Tensor]:
        """What checkpoints of a training hold."""
        return dict(self.named_parameters())

    def _read_saved(self, folder: str | os.PathLike[str]) -> dict[str, Tensor]:
        """What :meth:`save_pretrained` wrote to a folder, under the names of :meth:`_saved_parameters`."""
        return load_checkpoint(Repo(os.fspath(folder)))

    def to(self: WeightsT, *args: Any, device: Any = None, dtype: Any = None, **kwargs: Any) -> WeightsT:
        """Convert the weights to a dtype, whereby blocks are expanded, or bring them to a device, in place.

        :raises RuntimeError: for a device that is not there, or whose memory is full; the model stays where
        it was.
        """
        for value in args:
            if str(value).removeprefix("torch.").removeprefix("trustformers.") in _DTYPES:
                dtype = value
            else:
                device = value
        if dtype is not None:
            name = str(dtype).split(".")[-1]
            if name not in _DTYPES:
                raise ValueError(f"dtype={dtype!r} is not supported: use one of {', '.join(_DTYPES)}")
            if name != self.dtype or self.is_quantized:
                self._engine = self._engine.to_dtype(name)
            self.config.dtype = name
        if device is not None:
            self._place(device)
            self._devices = {}
        return self

    def _place(self, device_map: Any, max_memory: Mapping[Any, Any] | None = None) -> None:
        """Bring the weights to where a device map says."""
        before, source = self._engine, self._source
        self._engine, self._devices = placed(before, device_map, max_memory)
        if source is not None and source[2:] == (before, before.version):
            opening = {**source[1], "device_map": self._devices}
            self._source = (source[0], opening, self._engine, self._engine.version)

    def half(self: WeightsT) -> WeightsT:
        """Convert the weights to float16."""
        return self.to(dtype="float16")

    def bfloat16(self: WeightsT) -> WeightsT:
        """Convert the weights to bfloat16."""
        return self.to(dtype="bfloat16")

    def float(self: WeightsT) -> WeightsT:
        """Convert the weights to float32."""
        return self.to(dtype="float32")

    def cpu(self: WeightsT) -> WeightsT:
        """Bring the weights to the processor."""
        return self.to("cpu")

    def cuda(self: WeightsT, device: Any = None) -> WeightsT:
        """Bring the weights to a GPU, the current one unless ``device`` names another."""
        return self.to("cuda" if device is None else device)

    def get_input_embeddings(self) -> Embedding:
        """The table of word embeddings."""
        return Embedding(self._engine.parameter(self._engine.input_embeddings()))

    def set_input_embeddings(self, value: Any) -> None:
        """Take another table of word embeddings: an :class:`Embedding`, or an array (tokens, width)."""
        weight = to_tensor("value", getattr(value, "weight", value))
        self.config.vocab_size = weight.shape[0]
        self._replace({self._engine.input_embeddings(): weight})

    def get_output_embeddings(self) -> Linear | None:
        """The last layer of a language model; ``None`` for a model without."""
        named = self._engine.output_embeddings()
        if named is None:
            return None
        weight, bias = named
        parameter = self._engine.parameter
        return Linear(parameter(weight), None if bias is None else parameter(bias))

    def set_output_embeddings(self, new_embeddings: Any) -> None:
        """Take another last layer, which is then no longer tied to the word embeddings."""
        named = self._engine.output_embeddings()
        if named is None:
            raise ValueError(f"{type(self).__name__} has no output embeddings")
        replaced = {named[0]: to_tensor("new_embeddings", getattr(new_embeddings, "weight", new_embeddings))}
        bias = getattr(new_embeddings, "bias", None)
        if named[1] is not None and bias is not None:
            replaced[named[1]] = to_tensor("bias", bias)
        self.config.tie_word_embeddings = False
        self._replace(replaced)

    def tie_weights(self) -> None:
        """Share the word embeddings with the last layer, if the configuration says so."""
        self._current_engine()

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> Embedding:
        """Make the vocabulary larger or smaller, in the word embeddings and in the last layer.

        New rows are drawn around the mean of the old ones, or with ``mean_resizing=False`` as those of a new
        model. ``pad_to_multiple_of`` rounds the number up.
        """
        old = self._current_engine()
        if new_num_tokens is None and pad_to_multiple_of is None:
            return self.get_input_embeddings()
        count = self.get_input_embeddings().num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            if not isinstance(pad_to_multiple_of, int) or pad_to_multiple_of < 1:
                raise ValueError(
                    f"Asking to pad the embedding matrix to a multiple of `{pad_to_multiple_of}`, which is "
                    "not an integer above 0. Please make sure to pass an integer"
                )
            count = -(-count // pad_to_multiple_of) * pad_to_multiple_of
        if count != self.get_input_embeddings().num_embeddings:
            seed = int.from_bytes(os.urandom(8), "little")
            self._engine = old.resize_token_embeddings(count, mean_resizing, seed)
        self.config.vocab_size = count
        self._engine_config = self._fields()
        return self.get_input_embeddings()

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Any] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "50GB",
        variant: str | None = None,
        token: str | bool | None = None,
        safe_serialization: bool = True,
        **kwargs: Any,
    ) -> None:
        """Write the weights and the configuration into a folder, so that ``from_pretrained`` opens it.

        What is kept in blocks is written as the numbers that they stand for, in float32. ``state_dict`` are
        tensors or arrays to be written instead of the model's own. With
        ``push_to_hub=True`` the folder is then uploaded; ``kwargs`` are those of :meth:`push_to_hub`.

        :raises OSError: when a file cannot be written.
        """
        if not safe_serialization:
            raise ValueError("safe_serialization=False is not supported: weights are saved as safetensors")
        if os.path.isfile(save_directory):
            raise AssertionError(f"Provided path ({save_directory}) should be a directory, not a file")
        if kwargs and not push_to_hub:
            raise TypeError(f"save_pretrained() got unexpected keyword arguments: {', '.join(kwargs)}")
        if is_main_process:
            self.config.architectures = [type(self).__name__]
            self.config.dtype = self.dtype
            self.config.save_pretrained(save_directory)
            if self.generation_config is not None:
                self.generation_config.save_pretrained(save_directory)
            if state_dict is None:
                self._engine.save_weights(save_directory, max_shard_size=max_shard_size, variant=variant)
            else:
                names = self._engine.parameter_names
                tied = {*names(tied=True)} - {*names()}
                kept = {
                    name: to_tensor(name, value) for name, value in state_dict.items() if name not in tied
                }
                save_checkpoint(
                    list(kept.items()),
                    save_directory,
                    self.num_parameters(),
                    max_shard_size=max_shard_size,
                    variant=variant,
                )
        if push_to_hub:
            repo_id = kwargs.pop("repo_id", os.path.basename(os.path.abspath(save_directory)))
            push_folder(save_directory, repo_id, token=token, **kwargs)
