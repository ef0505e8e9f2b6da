"""What every pipeline is: an input prepared, run through a model, and made an answer."""

from __future__ import annotations

import logging
import os
import types
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, ClassVar

from .. import cuda
from .._engine import Tensor
from .._grad import no_grad
from .._hub import push_saved
from ..asynchronous.pool import in_pool
from . import batching
from .generating import Generating

if TYPE_CHECKING:
    from ..models.modeling import PreTrainedModel

logger = logging.getLogger(__name__)


class Pipeline(Generating):
    """A task from input to answer: :meth:`preprocess`, :meth:`_forward`, :meth:`postprocess`.

    For a task of your own write these three and :meth:`_sanitize_parameters`, which says which of the
    keywords belongs to which of them; register the class with ``PIPELINE_REGISTRY.register_pipeline``.
    Equals transformers' ``Pipeline``. Arrays between the steps are of the kind :attr:`framework`: tensors
    of this package, which have torch's methods.

    :param model: what computes.
    :param tokenizer: what reads and writes text for it.
    :param task: the name that the pipeline was asked for by.
    :param device: "cuda:0" or a number for a GPU, "cpu" for the processor, -1 for where the model is. As in
        transformers it is 0 if it is left out, and a number means the processor where there is no GPU.
    :param batch_size: how many inputs run together, unless a call says otherwise: 1.
    :param kwargs: what :meth:`_sanitize_parameters` takes; calls may say otherwise.
    :raises ValueError: for a model whose head is not for this task.
    """

    #: Whether :func:`pipeline` loads a tokenizer: it must, it may (``None``), or it does not.
    _load_tokenizer: ClassVar[bool | None] = None
    #: What the heads of the models are for, as their classes say it; empty for any.
    _tasks: ClassVar[tuple[str, ...]] = ()
    #: How many chunks run together if nobody says it.
    _default_batch_size: ClassVar[int] = 1
    #: The side on which rows of a batch are filled up, if not the tokenizer's. "right" leaves every token at
    #: the position that it has alone.
    _padding_side: ClassVar[str | None] = None
    default_input_names: ClassVar[Any] = None
    #: The kind of arrays that the steps hand on, as tokenizers call it in ``return_tensors``.
    framework = "tensor"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        image_processor: Any = None,
        processor: Any = None,
        modelcard: Any = None,
        framework: str | None = None,
        task: str = "",
        device: Any = None,
        binary_output: bool = False,
        **kwargs: Any,
    ) -> None:
        for name in ("args_parser", "torch_dtype", "dtype"):
            kwargs.pop(name, None)
        self.task = task
        self.model = model
        self.tokenizer = tokenizer
        self.feature_extractor = feature_extractor
        self.image_processor = image_processor
        self.processor = processor
        self.modelcard = modelcard
        self.binary_output = binary_output
        if framework not in (None, "pt"):
            raise ValueError(f"framework={framework!r} is not supported: leave it out")
        if (place := _place(model, device)) is not None and place != model.device:
            model.to(place)
        self.device = model.device
        self._check_head()
        if self._calls_generate():
            kwargs = self._init_generation(kwargs)
        self._batch_size = kwargs.pop("batch_size", None)
        self._num_workers = kwargs.pop("num_workers", None)
        sanitized = self._sanitize_parameters(**kwargs)
        self._preprocess_params, self._forward_params, self._postprocess_params = sanitized

    def _check_head(self) -> None:
        """Refuse a model that cannot answer: one without the head that the task needs."""
        task = getattr(self.model, "_task", None)
        if self._tasks and task is not None and task not in self._tasks:
            from ..models import named

            supported = sorted(cls.__name__ for t in self._tasks for cls in named.models_for(t).values())
            raise ValueError(
                f"The model '{type(self.model).__name__}' is not supported for {self.task}. "
                f"Supported models are {supported}."
            )

    def check_model_type(self, supported_models: Sequence[str] | Mapping[str, Any]) -> None:
        """Log an error if the model's class is not one of these names."""
        names = supported_models.values() if isinstance(supported_models, Mapping) else supported_models
        known = {name for entry in names for name in ([entry] if isinstance(entry, str) else entry)}
        if type(self.model).__name__ not in known:
            logger.error(
                "The model '%s' is not supported for %s. Supported models are %s.",
                type(self.model).__name__,
                self.task,
                sorted(known),
            )

    def _sanitize_parameters(
        self, *args: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Sort keywords, of the constructor or a call, into those of the three steps.

        Keywords that were not given stay out, so that defaults stand where the steps are written.
        """
        raise NotImplementedError("_sanitize_parameters not implemented")

    # Signatures that any other one may take the place of, as type checkers see it.

    def preprocess(self, *args: Any, **kwargs: Any) -> Any:
        """Make of one input what :meth:`_forward` takes: a dictionary with arrays of one row."""
        raise NotImplementedError("preprocess not implemented")

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model over a batch; call :meth:`forward`."""
        raise NotImplementedError("_forward not implemented")

    def postprocess(self, *args: Any, **kwargs: Any) -> Any:
        """Make the answer to one input of what came out of the model for it."""
        raise NotImplementedError("postprocess not implemented")

    def get_inference_context(self) -> type[no_grad]:
        """What :meth:`forward` runs in: no gradients."""
        return no_grad

    def forward(self, model_inputs: Any, **forward_params: Any) -> Any:
        """Run the model over a batch, without recording gradients; what comes out is on the processor."""
        with self.get_inference_context()():
            return _on_the_processor(self._forward(model_inputs, **forward_params))

    def __call__(
        self,
        inputs: Any,
        *args: Any,
        num_workers: int | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer one input, a list of them (with a list), or a generator or a dataset (one by one).

        :param batch_size: how many inputs run together. The answers are the same, whatever it is.
        :param num_workers: accepted and unused: a thread prepares what comes next.
        :param kwargs: those of the constructor, for this call.
        :raises ValueError: for inputs that are none, naming the number of a bad one among several.
        """
        if args:
            logger.warning("Ignoring args : %s", args)
        steps = self._steps(kwargs)
        size = self._size(batch_size)
        if isinstance(inputs, list):
            return list(batching.run(inputs, steps, size, self.tokenizer))
        if is_stream(inputs):
            answers = batching.run(inputs, steps, size, self.tokenizer)
            return batching.Answers(answers, len(inputs)) if isinstance(inputs, Sized) else answers
        return batching.run_one(inputs, steps, size, self.tokenizer)

    async def acall(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer as calling the pipeline does, off the event loop; a generator or a dataset with a list."""

        def answers() -> Any:
            found = self(inputs, *args, **kwargs)
            return list(found) if is_stream(inputs) else found

        return await in_pool(answers)

    def _size(self, batch_size: int | None) -> int:
        """How many chunks run together."""
        asked = self._batch_size if batch_size is None else batch_size
        size = self._default_batch_size if asked is None else asked
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"batch_size must be a number of inputs, at least 1, got {size!r}")
        if size > 1 and self.tokenizer is not None and self.tokenizer.pad_token_id is None:
            if asked is None:
                return 1
            raise ValueError(
                "Pipeline with tokenizer without pad_token cannot do batching. You can try to set it with "
                "`pipe.tokenizer.pad_token_id = model.config.eos_token_id`."
            )
        return size

    def _steps(self, kwargs: dict[str, Any]) -> batching.Steps:
        """The three steps with the keywords of the constructor, and over them those of a call."""
        before, during, after = self._sanitize_parameters(**kwargs)
        before = {**self._preprocess_params, **before}
        during = {**self._forward_params, **during}
        after = {**self._postprocess_params, **after}
        return batching.Steps(
            lambda one: self._chunks(one, before),
            lambda chunk: self.forward(chunk, **during),
            lambda outputs: self._answer(outputs, after),
            self._padding_side,
        )

    @property
    def _no_cache(self) -> dict[str, Any]:
        """What keeps a decoder that is asked once from remembering keys and values; nothing for others."""
        config = self.model.config
        decodes = config.is_encoder_decoder or getattr(config, "is_decoder", False)
        return {"use_cache": False} if decodes else {}

    def _chunks(self, one: Any, params: dict[str, Any]) -> list[Any]:
        """What the model is given for one input."""
        return [self.preprocess(one, **params)]

    def _answer(self, outputs: list[Any], params: dict[str, Any]) -> Any:
        """The answer to one input, of what came out for each of its chunks."""
        return self.postprocess(outputs[0], **params)

    def transform(self, X: Any) -> Any:
        """Answer inputs, under the name that scikit-learn has for it."""
        return self(X)

    def predict(self, X: Any) -> Any:
        """Answer inputs, under the name that scikit-learn has for it."""
        return self(X)

    @property
    def dtype(self) -> str:
        """The dtype of the model's weights."""
        return self.model.dtype

    torch_dtype = dtype

    def ensure_tensor_on_device(self, **inputs: Any) -> dict[str, Any]:
        """The inputs, with their tensors on the model's device."""
        return {name: v.to(self.device) if hasattr(v, "to") else v for name, v in inputs.items()}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write the model and the tokenizer into a folder that :func:`pipeline` opens again."""
        kwargs.pop("safe_serialization", None)
        if os.path.isfile(save_directory):
            logger.error("Provided path (%s) should be a directory, not a file", save_directory)
            return
        self.model.save_pretrained(save_directory, **kwargs)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(save_directory)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Upload the model and the tokenizer to a repository, which is made if need be.

        :raises ImportError: without ``huggingface_hub``, which does it.
        """
        return push_saved(self.save_pretrained, repo_id, **kwargs)

    def __repr__(self) -> str:
        about = {"model": type(self.model).__name__, "dtype": str(self.dtype), "device": str(self.device)}
        return f"{type(self).__name__}: {about}"


def _place(model: Any, device: Any) -> Any:
    """Where the model goes; ``None`` for where it is."""
    if getattr(model, "hf_device_map", None) is not None:
        if device is not None:
            raise ValueError(
                "The model has been put where it is by its device_map, so the pipeline does not move it: "
                "leave out device="
            )
        return None
    if device is None:
        device = 0
    if not isinstance(device, int):
        return device
    # As in transformers, a number is that of a GPU if there are any, and -1 leaves the model where it is.
    return device if device >= 0 and cuda.is_available() else None


def _on_the_processor(outputs: Any) -> Any:
    """The tensors in what a model gave, brought to the processor."""
    if isinstance(outputs, Tensor):
        return outputs.cpu()
    if isinstance(outputs, (list, tuple)):
        return type(outputs)(map(_on_the_processor, outputs))
    if isinstance(outputs, dict):
        for name, value in outputs.items():
            if isinstance(value, (Tensor, list, tuple)):
                outputs[name] = _on_the_processor(value)
    return outputs


class ChunkPipeline(Pipeline):
    """A pipeline whose :meth:`preprocess` yields several chunks for an input, such as parts of a long text.

    ``postprocess`` is given a list with what came out for each of them. Equals transformers'
    ``ChunkPipeline``; ``is_last``, which that needs in every chunk, may be left out.
    """

    def _chunks(self, one: Any, params: dict[str, Any]) -> list[Any]:
        return list(self.preprocess(one, **params))

    def _answer(self, outputs: list[Any], params: dict[str, Any]) -> Any:
        return self.postprocess(outputs, **params)


def given(keywords: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """Those of some keywords that somebody gave: that are not ``None``."""
    return {name: value for name, value in {**(keywords or {}), **more}.items() if value is not None}


def is_stream(inputs: Any) -> bool:
    """Whether there are several inputs, given one after another: a generator or a dataset."""
    if isinstance(inputs, (types.GeneratorType, Iterator)):
        return True
    if isinstance(inputs, (str, bytes, Mapping, tuple, list)) or hasattr(inputs, "dtype"):
        return False
    by_number = isinstance(inputs, Sized) and hasattr(inputs, "__getitem__")
    module = type(inputs).__module__.split(".")[0]
    return by_number or (module in ("datasets", "torch") and hasattr(inputs, "__iter__"))


class KeyDataset:
    """One column of a dataset whose elements are dictionaries."""

    def __init__(self, dataset: Any, key: str) -> None:
        self.dataset = dataset
        self.key = key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[i][self.key]


class KeyPairDataset:
    """Two columns of a dataset whose elements are dictionaries, as pairs of texts."""

    def __init__(self, dataset: Any, key1: str, key2: str) -> None:
        self.dataset = dataset
        self.key1 = key1
        self.key2 = key2

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> dict[str, Any]:
        element = self.dataset[i]
        return {"text": element[self.key1], "text_pair": element[self.key2]}


class PipelineException(Exception):
    """Raised by a pipeline that cannot answer.

    :param task: the task of the pipeline.
    :param model: the name of its model.
    :param reason: why it cannot.
    """

    def __init__(self, task: str, model: str, reason: str) -> None:
        super().__init__(reason)
        self.task = task
        self.model = model
