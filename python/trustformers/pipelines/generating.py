"""What pipelines that call ``generate`` share: whose settings count."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

from ..generation.configuration import GenerationConfig

if TYPE_CHECKING:
    from ..models.modeling import PreTrainedModel

#: Settings that change nothing unless tokens are drawn, which ``generate`` would warn about.
_SAMPLING = frozenset(
    ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
)


class Generating:
    """Settings of ``generate``, from the call, the constructor, the task, the model, and the pipeline.

    They count in this order, as in transformers: what a call says; what the constructor was told; what the
    model's configuration says for this task (``task_specific_params``), where the pipeline looks at that; the
    model's ``generation_config``; the pipeline's own defaults.
    """

    _pipeline_calls_generate: ClassVar[bool] = False
    _default_generation_config: ClassVar[GenerationConfig | None] = None
    #: Keywords of the pipeline that are called like a setting of ``generate`` and are none.
    _non_generation_params: ClassVar[tuple[str, ...]] = ()
    #: Whether the model's ``task_specific_params`` count, as they did in transformers 4.
    _reads_task_params: ClassVar[bool] = False

    model: PreTrainedModel
    tokenizer: Any
    task: str
    #: What every text begins with, if the model's configuration says so.
    prefix: str | None = None
    #: A smaller model that drafts, if one was given.
    assistant_model: Any = None
    assistant_tokenizer: Any = None

    def _calls_generate(self) -> bool:
        return self._pipeline_calls_generate and self.model.can_generate()

    def _init_generation(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Set aside what of the constructor's keywords ``generate`` shall be told; give the others."""
        kwargs = dict(kwargs)
        self.assistant_model, self.assistant_tokenizer = _assistant(
            self.model, kwargs.pop("assistant_model", None), kwargs.pop("assistant_tokenizer", None)
        )
        self.prefix = getattr(self.model.config, "prefix", None)
        names = {name for name in vars(GenerationConfig()) if not name.startswith("_")} | {
            "generation_config"
        }
        names -= set(self._non_generation_params)
        self._generate_kwargs = {name: kwargs.pop(name) for name in names & kwargs.keys()}

        defaults = (
            {} if self._default_generation_config is None else self._default_generation_config.to_diff_dict()
        )
        defaults.pop("transformers_version", None)
        if self.tokenizer is not None and self.tokenizer.pad_token_id is not None:
            defaults["pad_token_id"] = self.tokenizer.pad_token_id
        self._generation_defaults = defaults
        tasks = getattr(self.model.config, "task_specific_params", None) or {}
        self._task_params = dict(tasks.get(self.task) or {}) if self._reads_task_params else {}
        self.prefix = self._task_params.pop("prefix", self.prefix)
        return kwargs

    def _generation_settings(self, given: dict[str, Any]) -> dict[str, Any]:
        """What ``generate`` is not left to take from its own defaults, given the keywords of a call."""
        settings = self.model.generation_config.to_diff_dict()  # type: ignore[union-attr]
        if (config := given.get("generation_config")) is not None:
            settings.update(config.to_diff_dict())
        return {**settings, **given}

    def _generate_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """The keywords for ``generate``: those of a call, over those of the constructor, over defaults.

        A ``generation_config`` of the call takes the place of the constructor's keywords; what the pipeline
        adds then goes into a copy of it.
        """
        if "generation_config" not in given:
            given = {**self._generate_kwargs, **given}
        settings = self._generation_settings(given)
        added = {
            name: value
            for name, value in self._generation_defaults.items()
            # A default for the new tokens would take the place of a length that somebody has chosen.
            if name not in settings and not (name == "max_new_tokens" and "max_length" in settings)
        }
        if not {**settings, **added}.get("do_sample"):
            added = {name: value for name, value in added.items() if name not in _SAMPLING}
        config = given.get("generation_config")
        said = given if config is None else {**given, **config.to_diff_dict()}
        added |= {name: value for name, value in self._task_params.items() if name not in said}
        if config is None:
            return {**given, **added}
        config = copy.deepcopy(config)
        config.update(**added)
        return {**given, "generation_config": config}


def _assistant(model: PreTrainedModel, assistant: Any, tokenizer: Any) -> tuple[Any, Any]:
    """The model that drafts, opened if only its name was given, and its tokenizer if that is another one.

    :raises ValueError: if its tokens are other ones and nobody says which.
    """
    if assistant is None or not model.can_generate():
        return None, None
    if isinstance(assistant, str):
        from ..models import AutoModelForCausalLM, AutoModelForSeq2SeqLM
        from ..tokenizers import AutoTokenizer

        auto = AutoModelForSeq2SeqLM if model.config.is_encoder_decoder else AutoModelForCausalLM
        assistant, tokenizer = auto.from_pretrained(assistant), AutoTokenizer.from_pretrained(assistant)
    names = ("vocab_size", "eos_token_id", "pad_token_id", "bos_token_id")
    if all(getattr(model.config, n, None) == getattr(assistant.config, n, None) for n in names):
        return assistant, None
    if tokenizer is None:
        raise ValueError(
            "The assistant model has a different tokenizer than the main model. You should pass the "
            "assistant tokenizer."
        )
    return assistant, tokenizer
