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

    Who says a setting first, in the order of :attr:`_order`, is heard. That is transformers' order: 5 has
    the one that stands here, 4.57 another for the tasks that only it has. One thing is the same in both: the
    pipeline's own ``max_new_tokens`` goes where anybody has chosen a ``max_length`` (4.57 hears the model's
    and the constructor's only).
    """

    _pipeline_calls_generate: ClassVar[bool] = False
    _default_generation_config: ClassVar[GenerationConfig | None] = None
    #: Keywords of the pipeline that are called like a setting of ``generate`` and are none.
    _non_generation_params: ClassVar[tuple[str, ...]] = ()
    #: Who is heard first: "call" and "constructor" are keywords, "config" is the ``generation_config`` among
    #: them, "task" what the model's configuration says for the task (``task_specific_params``), "model" its
    #: own ``generation_config``, "pipeline" the defaults, "tokenizer" what fills up rows.
    _order: ClassVar[tuple[str, ...]] = ("call", "constructor", "config", "model", "pipeline", "tokenizer")
    #: Who is not heard when a call passes a ``generation_config``.
    _silenced: ClassVar[tuple[str, ...]] = ("constructor",)

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
        names = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
        names = (names | {"generation_config"}) - set(self._non_generation_params)
        self._generate_kwargs = {name: kwargs.pop(name) for name in names & kwargs.keys()}
        tasks = getattr(self.model.config, "task_specific_params", None) or {}
        self._task_settings = dict(tasks.get(self.task) or {}) if "task" in self._order else {}
        self.prefix = self._task_settings.pop("prefix", getattr(self.model.config, "prefix", None))
        return kwargs

    def _said(self, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """What each of those that are heard says, given the keywords of a call."""
        silenced = self._silenced if "generation_config" in given else ()
        constructor = {} if "constructor" in silenced else self._generate_kwargs
        config = {**constructor, **given}.get("generation_config")
        padding = None if self.tokenizer is None else self.tokenizer.pad_token_id
        said = {
            "call": given,
            "constructor": constructor,
            "config": _values(config),
            "task": self._task_settings,
            "model": _values(self.model.generation_config),
            "pipeline": _values(self._default_generation_config),
            "tokenizer": {} if padding is None else {"pad_token_id": padding},
        }
        return {who: {} if who in silenced else said[who] for who in self._order}

    def _generate_arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """The keywords for ``generate``, given those of a call; what the model itself says is left to it.

        What nobody said who called goes into a copy of a ``generation_config``, if there is one.
        """
        heard: dict[str, tuple[str, Any]] = {}
        for who, settings in self._said(given).items():
            for name, value in settings.items():
                heard.setdefault(name, (who, value))
        if not heard.get("do_sample", (None, False))[1]:
            heard = {
                name: one for name, one in heard.items() if one[0] != "pipeline" or name not in _SAMPLING
            }
        if heard.get("max_new_tokens", (None,))[0] == "pipeline" and "max_length" in heard:
            del heard["max_new_tokens"]

        def of(*speakers: str) -> dict[str, Any]:
            return {name: value for name, (who, value) in heard.items() if who in speakers}

        keywords, added = of("call", "constructor"), of("task", "pipeline", "tokenizer")
        config = keywords.get("generation_config")
        if config is None:
            return {**keywords, **added}
        config = copy.deepcopy(config)
        config.update(**added)
        return {**keywords, "generation_config": config}

    def _generation_settings(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What ``generate`` is not left to take from its own defaults, given its keywords."""
        config = arguments.get("generation_config")
        return {**_values(self.model.generation_config), **_values(config), **arguments}


def _values(config: GenerationConfig | None) -> dict[str, Any]:
    """The settings that a configuration sets."""
    values = {} if config is None else config.to_diff_dict()
    return {
        name: value
        for name, value in values.items()
        if not name.startswith("_") and name != "transformers_version"
    }


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
