"""The classes that read from a checkpoint which model it is."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ..asynchronous.pool import in_loading_pool
from . import named
from .configuration import PreTrainedConfig
from .loading import chosen, loading_options, open_model
from .modeling import PreTrainedModel

#: transformers has modules in it, which are found by their names.
__path__: list[str] = []


class _Virtual(type):
    """Makes an auto class a base of the models that it opens, as ``isinstance`` and type checkers see it."""

    _task: str

    def __subclasscheck__(cls, subclass: type) -> bool:
        if super().__subclasscheck__(subclass):
            return True
        if not issubclass(subclass, PreTrainedModel) or cls is _AutoModel:
            return False
        model_class = named.models_for(cls._task).get(subclass.config_class.model_type)
        return model_class is not None and model_class in subclass.__mro__

    def __instancecheck__(cls, instance: object) -> bool:
        return issubclass(type(instance), cls)


class _AutoModel(metaclass=_Virtual):
    """Makes the model of one task that a checkpoint describes."""

    _task: ClassVar[str]

    def __init__(self) -> None:
        raise OSError(
            f"{type(self).__name__} is designed to be instantiated using the "
            f"`{type(self).__name__}.from_pretrained(pretrained_model_name_or_path)` or "
            f"`{type(self).__name__}.from_config(config)` methods."
        )

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *model_args: Any, **kwargs: Any
    ) -> PreTrainedModel | tuple[PreTrainedModel, dict[str, Any]]:
        """Open the model of a folder or repository; see :meth:`PreTrainedModel.from_pretrained`."""
        opened: PreTrainedModel | tuple[PreTrainedModel, dict[str, Any]] = open_model(
            named.CONFIGS,
            named.models_for(cls._task),
            cls.__name__,
            pretrained_model_name_or_path,
            model_args,
            kwargs,
        )
        return opened

    @classmethod
    async def from_pretrained_async(cls, *args: Any, **kwargs: Any) -> Any:
        """:meth:`from_pretrained`, off the event loop."""
        return await in_loading_pool(cls.from_pretrained, *args, **kwargs)

    @classmethod
    def from_config(cls, config: PreTrainedConfig, **kwargs: Any) -> PreTrainedModel:
        """Make a model with freshly drawn weights."""
        model_class = chosen(named.models_for(cls._task), config, cls.__name__)
        dtype = loading_options(kwargs)
        model = model_class(config, **kwargs)
        return model.to(dtype=config.dtype if dtype == "auto" else dtype)


class AutoModel(_AutoModel):
    """Makes the model without a head that a checkpoint describes."""

    _task = "Base"


class AutoModelForPreTraining(_AutoModel):
    """Makes the model with the heads of its pretraining."""

    _task = "PreTraining"


class AutoModelForCausalLM(_AutoModel):
    """Makes the model that predicts the next token."""

    _task = "CausalLM"


class AutoModelForMaskedLM(_AutoModel):
    """Makes the model that predicts masked tokens."""

    _task = "MaskedLM"


class AutoModelForSeq2SeqLM(_AutoModel):
    """Makes the encoder-decoder that predicts the decoder's next token."""

    _task = "Seq2SeqLM"


class AutoModelForSequenceClassification(_AutoModel):
    """Makes the model that classifies texts."""

    _task = "SequenceClassification"


class AutoModelForTokenClassification(_AutoModel):
    """Makes the model that classifies tokens."""

    _task = "TokenClassification"


class AutoModelForQuestionAnswering(_AutoModel):
    """Makes the model that finds where an answer starts and ends."""

    _task = "QuestionAnswering"


class AutoModelForMultipleChoice(_AutoModel):
    """Makes the model that chooses among texts."""

    _task = "MultipleChoice"


class AutoModelForNextSentencePrediction(_AutoModel):
    """Makes the model that says whether the second text follows the first."""

    _task = "NextSentencePrediction"


class AutoModelForTextEncoding(_AutoModel):
    """Makes the encoder alone, also that of an encoder-decoder."""

    _task = "TextEncoding"
