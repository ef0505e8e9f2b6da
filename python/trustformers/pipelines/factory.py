"""``pipeline``: from a task or a model to what answers."""

from __future__ import annotations

import logging
import os
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal, overload

from .. import _engine
from .._hub import split_gguf, take_source
from ..models import AutoConfig
from ..tokenizers import AutoTokenizer
from . import registry
from .base import given
from .registry import PIPELINE_REGISTRY, auto_classes, default_model

if TYPE_CHECKING:
    from .base import Pipeline
    from .feature_extraction import FeatureExtractionPipeline
    from .fill_mask import FillMaskPipeline
    from .question_answering import QuestionAnsweringPipeline
    from .sentence_similarity import SentenceSimilarityPipeline
    from .text2text_generation import SummarizationPipeline, Text2TextGenerationPipeline, TranslationPipeline
    from .text_classification import TextClassificationPipeline
    from .text_generation import TextGenerationPipeline
    from .token_classification import TokenClassificationPipeline
    from .zero_shot_classification import ZeroShotClassificationPipeline

logger = logging.getLogger(__name__)

#: The task that a head is for, where the head says it.
_TASK_OF_HEAD = {
    "Base": "feature-extraction",
    "TextEncoding": "feature-extraction",
    "CausalLM": "text-generation",
    "MaskedLM": "fill-mask",
    "PreTraining": "fill-mask",
    "QuestionAnswering": "question-answering",
    "Seq2SeqLM": "text2text-generation",
    "SequenceClassification": "text-classification",
    "TokenClassification": "token-classification",
}
#: Encoder-decoders that were made to translate.
_TRANSLATORS = ("m2m_100", "marian")


@overload
def pipeline(
    task: Literal["text-classification", "sentiment-analysis"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> TextClassificationPipeline: ...


@overload
def pipeline(
    task: Literal["token-classification", "ner"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> TokenClassificationPipeline: ...


@overload
def pipeline(
    task: Literal["question-answering"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> QuestionAnsweringPipeline: ...


@overload
def pipeline(
    task: Literal["fill-mask"], model: Any = None, config: Any = None, tokenizer: Any = None, **kwargs: Any
) -> FillMaskPipeline: ...


@overload
def pipeline(
    task: Literal["feature-extraction"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> FeatureExtractionPipeline: ...


@overload
def pipeline(
    task: Literal["zero-shot-classification"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> ZeroShotClassificationPipeline: ...


@overload
def pipeline(
    task: Literal["sentence-similarity"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> SentenceSimilarityPipeline: ...


@overload
def pipeline(
    task: Literal["text-generation"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> TextGenerationPipeline: ...


@overload
def pipeline(
    task: Literal["text2text-generation"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> Text2TextGenerationPipeline: ...


@overload
def pipeline(
    task: Literal["summarization"],
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    **kwargs: Any,
) -> SummarizationPipeline: ...


@overload
def pipeline(
    task: Literal["translation"], model: Any = None, config: Any = None, tokenizer: Any = None, **kwargs: Any
) -> TranslationPipeline: ...


@overload
def pipeline(
    task: str | None = None, model: Any = None, config: Any = None, tokenizer: Any = None, **kwargs: Any
) -> Pipeline: ...


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: Any = None,
    processor: Any = None,
    framework: str | None = None,
    revision: str | None = None,
    use_fast: bool = True,
    token: str | bool | None = None,
    device: int | str | None = None,
    device_map: Any = None,
    dtype: Any = "auto",
    trust_remote_code: bool | None = None,
    model_kwargs: dict[str, Any] | None = None,
    pipeline_class: Any = None,
    **kwargs: Any,
) -> Pipeline:
    """Make the pipeline of a task, with the model that is named or the task's default.

    :param task: "text-classification", "translation_en_to_fr", ...; if it is left out, what the model is for:
        the ``pipeline_tag`` of its card, or else its head.
    :param model: a folder, a repository, a GGUF file, or a model.
    :param config: a configuration, or where it is, if not with the model.
    :param tokenizer: a tokenizer, or where it is, or a tuple of such a place and keywords for it; if it is
        left out, the one beside the model.
    :param revision: the version of the model.
    :param device: "cuda:0" or a number for a GPU, "cpu" for the processor, -1 for where the model is; left
        out it is the first GPU, if there is one and no ``device_map``.
    :param device_map: where the weights go, as :meth:`PreTrainedModel.from_pretrained` takes it.
    :param dtype: of the weights, as :meth:`PreTrainedModel.from_pretrained` takes it.
    :param model_kwargs: further keywords for that, also those that say where from.
    :param pipeline_class: the class, if not the task's own.
    :param kwargs: further keywords for the pipeline; ``batch_size`` for instance.
    :raises KeyError: for an unknown task.
    :raises RuntimeError: with neither task nor model, or with a tokenizer and no model.
    :raises OSError: when there is no such model.
    :raises ValueError: for keywords that contradict each other, and a model that cannot do the task.
    """
    model_kwargs = dict(model_kwargs or {})
    if task is None and model is None:
        raise RuntimeError(
            "Impossible to instantiate a pipeline without either a task or a model being specified. Please "
            "provide a task class or a model"
        )
    for what, part in (("tokenizer", tokenizer), ("feature_extractor", feature_extractor)):
        if model is None and part is not None:
            raise RuntimeError(
                f"Impossible to instantiate a pipeline with {what} specified but not the model as the "
                f"provided {what} may not be compatible with the default model. Please provide a "
                f"PreTrainedModel class or a path/identifier to a pretrained model when providing {what}."
            )
    model_kwargs["dtype"] = _dtype(dtype, kwargs, model_kwargs)
    if device_map is not None:
        if model_kwargs.get("device_map") is not None:
            raise ValueError(
                'You cannot use both `pipeline(... device_map=..., model_kwargs={"device_map":...})` as those'
                " arguments might conflict, use only one.)"
            )
        model_kwargs["device_map"] = device_map
    model = os.fspath(model) if isinstance(model, os.PathLike) else model
    source = take_source(kwargs) | take_source(model_kwargs)
    source |= given(revision=revision, token=token)

    if task is None:
        task = _task_of(model, source, model_kwargs.get("gguf_file"))
    # The name itself says the languages of a translation.
    _, entry, languages = PIPELINE_REGISTRY.check_task(task)
    task = PIPELINE_REGISTRY.task_aliases.get(task, task)
    chosen = pipeline_class or registry.pipeline_class(entry)
    if model is None:
        model, default_revision = default_model(entry, languages)
        source.setdefault("revision", default_revision)
        logger.warning(
            "No model was supplied, defaulted to %s and revision %s.\n"
            "Using a pipeline without specifying a model name and revision in production is not recommended.",
            model,
            source["revision"],
        )
    model, tokenizer = _open(model, config, tokenizer, entry, chosen, source, model_kwargs)
    kwargs |= given(
        feature_extractor=feature_extractor,
        image_processor=image_processor,
        processor=processor,
        device=device,
        framework=framework,
    )
    return chosen(model=model, tokenizer=tokenizer, task=task, **kwargs)  # type: ignore[no-any-return]


def _open(
    model: Any,
    config: Any,
    tokenizer: Any,
    entry: dict[str, Any],
    chosen: type[Pipeline],
    source: dict[str, Any],
    model_kwargs: dict[str, Any],
) -> tuple[Any, Any]:
    """Open what is only named: the model, and the tokenizer that is beside it."""
    place = model if isinstance(model, str) else None
    if isinstance(config, str):
        place = place or config
        config = AutoConfig.from_pretrained(config, **source)
    if isinstance(model, str):
        if config is not None:
            model_kwargs = {**model_kwargs, "config": config}
        model = _open_model(model, entry, {**source, **model_kwargs})
    if tokenizer is None and chosen._load_tokenizer is not False:
        # A model that was opened before knows where it came from.
        place = place or getattr(model, "name_or_path", None) or None
        if place is None and chosen._load_tokenizer:
            raise ValueError(
                "Impossible to guess which tokenizer to use. Please provide a PreTrainedTokenizer class or a "
                "path/identifier to a pretrained tokenizer."
            )
        tokenizer = place
    if isinstance(tokenizer, (str, os.PathLike, tuple)):
        where, keywords = tokenizer if isinstance(tokenizer, tuple) else (tokenizer, {})
        if "gguf_file" in model_kwargs and where == place:
            keywords = {"gguf_file": model_kwargs["gguf_file"], **keywords}
        try:
            tokenizer = AutoTokenizer.from_pretrained(where, **source, **keywords)
        except (OSError, ValueError):
            if chosen._load_tokenizer is not None:
                raise
            tokenizer = None
    return model, tokenizer


def _open_model(name: str, entry: dict[str, Any], keywords: dict[str, Any]) -> Any:
    """Open a model with the task's class.

    :raises ValueError: if that does not know its configuration, or the task has none.
    """
    classes = auto_classes(entry)
    if not classes:
        raise ValueError("The task does not say which class opens its models: pass a model")
    return _fitting(classes, name, keywords).from_pretrained(name, **keywords)


def _fitting(classes: tuple[Any, ...], name: str, keywords: dict[str, Any]) -> Any:
    """The one of several auto classes that makes what the checkpoint is; the first if it does not say."""
    if len(classes) == 1:
        return classes[0]
    from ..models import named

    config = keywords.get("config")
    if config is None:
        config = AutoConfig.from_pretrained(name, **take_source(dict(keywords)))
    for auto in classes:
        made = named.models_for(auto._task).get(config.model_type)
        if made is not None and made.__name__ in (config.architectures or ()):
            return auto
    return classes[0]


def _dtype(dtype: Any, kwargs: dict[str, Any], model_kwargs: dict[str, Any]) -> Any:
    """The dtype of the weights, under its two names and in its two places."""
    old = kwargs.pop("torch_dtype", None)
    if old is not None:
        warnings.warn("`torch_dtype` is deprecated! Use `dtype` instead!", DeprecationWarning, stacklevel=3)
        dtype = old if dtype == "auto" else dtype
    for name in ("dtype", "torch_dtype"):
        if name in model_kwargs:
            if dtype != "auto":
                raise ValueError(
                    'You cannot use both `pipeline(... dtype=..., model_kwargs={"dtype":...})` as those'
                    " arguments might conflict, use only one.)"
                )
            return model_kwargs.pop(name)
    return dtype


def _task_of(model: Any, source: dict[str, Any], gguf_file: str | None) -> str:
    """What a model is for: as its card says, or else its head.

    :raises RuntimeError: if neither says it.
    """
    if not isinstance(model, str):
        head, config = getattr(model, "_task", None), getattr(model, "config", None)
        return _task_of_head(head, config, model)
    place, gguf_file = split_gguf(model, gguf_file)
    if gguf_file is not None:
        return "text-generation"
    card = _engine.Repo(place, **source).file("README.md")
    if card is not None:
        with open(card, encoding="utf-8", errors="replace") as file:
            header = re.match(r"---\s*\n(.*?)\n---", file.read(65536), re.DOTALL)
        tag = re.search(r"^pipeline_tag:\s*[\"']?([\w-]+)", header[1], re.MULTILINE) if header else None
        if tag is not None and tag[1] in PIPELINE_REGISTRY.get_supported_tasks():
            return tag[1]
    config = AutoConfig.from_pretrained(model, **source)
    from ..models import named

    names = config.architectures or ()
    known = [getattr(named, name)._task for name in names if name in named.__all__]
    return _task_of_head(known[0] if known else None, config, model)


def _task_of_head(head: str | None, config: Any, model: Any) -> str:
    task = _TASK_OF_HEAD.get(head or "")
    if task is None:
        raise RuntimeError(
            f"The task of {model} cannot be inferred: name it, as in pipeline(task, model=...)"
        )
    if task == "text2text-generation" and getattr(config, "model_type", None) in _TRANSLATORS:
        return "translation"
    return task
