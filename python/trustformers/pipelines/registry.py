"""The tasks: their pipelines, their models, and which model answers if nobody names one."""

from __future__ import annotations

import difflib
import importlib
import logging
from typing import Any

logger = logging.getLogger(__name__)

#: Other names for tasks.
TASK_ALIASES = {
    "ner": "token-classification",
    "sentiment-analysis": "text-classification",
    "text-ranking": "sentence-similarity",
}


def _task(impl: str, auto: str | tuple[str, ...], *default: str) -> dict[str, Any]:
    """A task: where its pipeline is, its auto class, and name and revision of its default model."""
    autos = (auto,) if isinstance(auto, str) else auto
    return {"impl": impl, "pt": autos, "default": {"model": default}, "type": "text"}


#: Each task. Default models are those of the last transformers that had the task: 5.24, or 4.57.
SUPPORTED_TASKS: dict[str, dict[str, Any]] = {
    "feature-extraction": _task(
        "feature_extraction.FeatureExtractionPipeline",
        "AutoModel",
        *("distilbert/distilbert-base-cased", "6ea8117"),
    ),
    "text-classification": _task(
        "text_classification.TextClassificationPipeline",
        "AutoModelForSequenceClassification",
        *("distilbert/distilbert-base-uncased-finetuned-sst-2-english", "714eb0f"),
    ),
    "token-classification": _task(
        "token_classification.TokenClassificationPipeline",
        "AutoModelForTokenClassification",
        *("dbmdz/bert-large-cased-finetuned-conll03-english", "4c53496"),
    ),
    "question-answering": _task(
        "question_answering.QuestionAnsweringPipeline",
        "AutoModelForQuestionAnswering",
        *("distilbert/distilbert-base-cased-distilled-squad", "564e9b5"),
    ),
    "fill-mask": _task(
        "fill_mask.FillMaskPipeline",
        "AutoModelForMaskedLM",
        *("distilbert/distilroberta-base", "fb53ab8"),
    ),
    "summarization": _task(
        "text2text_generation.SummarizationPipeline",
        "AutoModelForSeq2SeqLM",
        *("sshleifer/distilbart-cnn-12-6", "a4f8f3e"),
    ),
    "translation": {
        "impl": "text2text_generation.TranslationPipeline",
        "pt": ("AutoModelForSeq2SeqLM",),
        "default": {
            ("en", language): {"model": ("google-t5/t5-base", "a9723ea")} for language in ("fr", "de", "ro")
        },
        "type": "text",
    },
    "text2text-generation": _task(
        "text2text_generation.Text2TextGenerationPipeline",
        "AutoModelForSeq2SeqLM",
        *("google-t5/t5-base", "a9723ea"),
    ),
    "text-generation": _task(
        "text_generation.TextGenerationPipeline",
        "AutoModelForCausalLM",
        *("HuggingFaceTB/SmolLM3-3B", "a07cc9a"),
    ),
    "zero-shot-classification": _task(
        "zero_shot_classification.ZeroShotClassificationPipeline",
        "AutoModelForSequenceClassification",
        *("facebook/bart-large-mnli", "d7645e1"),
    ),
    # Not in transformers: what sentence-transformers does with cross-encoders and with embeddings.
    "sentence-similarity": _task(
        "sentence_similarity.SentenceSimilarityPipeline",
        ("AutoModelForSequenceClassification", "AutoModel"),
        *("cross-encoder/ms-marco-MiniLM-L6-v2", "main"),
    ),
}


class PipelineRegistry:
    """The tasks that :func:`pipeline` knows, and those that users add. Equals transformers' class."""

    def __init__(self, supported_tasks: dict[str, dict[str, Any]], task_aliases: dict[str, str]) -> None:
        self.supported_tasks = supported_tasks
        self.task_aliases = task_aliases

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.get_supported_tasks())})"

    def get_supported_tasks(self) -> list[str]:
        """The names of all tasks, sorted."""
        return sorted([*self.supported_tasks, *self.task_aliases])

    def check_task(self, task: str) -> tuple[str, dict[str, Any], tuple[str, str] | None]:
        """The task's own name, what is known about it, and the languages of a translation.

        :raises KeyError: for a task that does not exist: it lists those that do, and names the nearest.
        """
        task = self.task_aliases.get(task, task)
        if task in self.supported_tasks:
            return task, self.supported_tasks[task], None
        if isinstance(task, str) and task.startswith("translation"):
            parts = task.split("_")
            if len(parts) == 4 and parts[0] == "translation" and parts[2] == "to":
                return "translation", self.supported_tasks["translation"], (parts[1], parts[3])
            raise KeyError(f"Invalid translation task {task}, use 'translation_XX_to_YY' format")
        known = [*self.get_supported_tasks(), "translation_XX_to_YY"]
        nearest = difflib.get_close_matches(str(task), known, n=1)
        hint = f". Did you mean '{nearest[0]}'?" if nearest else ""
        raise KeyError(f"Unknown task {task}, available tasks are {known}{hint}")

    def register_pipeline(
        self,
        task: str,
        pipeline_class: type,
        pt_model: Any = None,
        tf_model: Any = None,
        default: dict[str, Any] | None = None,
        type: str | None = None,
    ) -> None:
        """Add a task, or put another pipeline in the place of one.

        :param pt_model: the auto class, or several, that open the task's models.
        :param default: ``{"model": (name, revision)}``, the model that answers if nobody names one.
        """
        if task in self.supported_tasks:
            logger.warning("%s is already registered. Overwriting pipeline for task %s...", task, task)
        models = () if pt_model is None else pt_model if isinstance(pt_model, tuple) else (pt_model,)
        entry: dict[str, Any] = {"impl": pipeline_class, "pt": models}
        if default is not None:
            entry["default"] = default if "model" in default else {"model": default}
        if type is not None:
            entry["type"] = type
        self.supported_tasks[task] = entry
        pipeline_class._registered_impl = {task: entry}  # type: ignore[attr-defined]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """What is known about each task."""
        return self.supported_tasks


PIPELINE_REGISTRY = PipelineRegistry(SUPPORTED_TASKS, TASK_ALIASES)
get_supported_tasks = PIPELINE_REGISTRY.get_supported_tasks
check_task = PIPELINE_REGISTRY.check_task


def pipeline_class(entry: dict[str, Any]) -> type:
    """The class of a task's pipeline, loaded when it is first asked for."""
    impl = entry["impl"]
    if not isinstance(impl, str):
        return impl  # type: ignore[no-any-return]
    module, name = impl.split(".")
    return getattr(importlib.import_module(f".{module}", __package__), name)  # type: ignore[no-any-return]


def auto_classes(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The classes that open a task's models, in the order in which they are tried."""
    models = importlib.import_module("..models", __package__)
    return tuple(getattr(models, auto) if isinstance(auto, str) else auto for auto in entry["pt"])


def default_model(entry: dict[str, Any], languages: tuple[str, str] | None) -> tuple[str, str]:
    """Name and revision of the model that answers if nobody names one.

    :raises ValueError: where there is none.
    """
    default = entry.get("default", {})
    if languages is not None:
        if languages not in default:
            raise ValueError(f"The task does not provide any default models for options {languages}")
        default = default[languages]
    elif default and "model" not in default:
        raise ValueError(
            'The task defaults can\'t be correctly selected. You probably meant "translation_xx_to_yy"'
        )
    model = default.get("model")
    if isinstance(model, dict):  # by framework, as transformers 4 has it
        model = model.get("pt")
    if model is None:
        raise ValueError("The task has no default model: name one with model=")
    name, revision = model
    return name, revision
