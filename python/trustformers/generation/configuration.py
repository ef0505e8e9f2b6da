"""The settings of a generation: transformers' ``GenerationConfig``."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from .. import _engine
from .._hub import take_source

ConfigT = TypeVar("ConfigT", bound="GenerationConfig")

logger = logging.getLogger(__name__)

#: What a setting is where neither the call nor the model says anything.
DEFAULTS: dict[str, Any] = {
    "max_length": 20,
    "min_length": 0,
    "do_sample": False,
    "use_cache": True,
    "early_stopping": False,
    "num_beams": 1,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "num_return_sequences": 1,
    "output_scores": False,
    "return_dict_in_generate": False,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "remove_invalid_values": False,
    "exponential_decay_length_penalty": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "encoder_repetition_penalty": 1.0,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
    "assistant_lookbehind": 10,
    "target_lookbehind": 10,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
}
#: All settings that there are.
_FIELDS = (
    *("max_length", "max_new_tokens", "min_length", "min_new_tokens", "early_stopping", "max_time"),
    *("stop_strings", "do_sample", "num_beams", "use_mtp", "use_cache", "cache_implementation"),
    *("cache_config", "max_cache_len", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p"),
    *("epsilon_cutoff", "eta_cutoff", "repetition_penalty", "encoder_repetition_penalty"),
    *("length_penalty", "no_repeat_ngram_size", "bad_words_ids", "renormalize_logits"),
    *("forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values"),
    *("exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "sequence_bias"),
    *("token_healing", "guidance_scale", "watermarking_config", "num_return_sequences"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("return_dict_in_generate", "pad_token_id", "bos_token_id", "eos_token_id"),
    *("encoder_no_repeat_ngram_size", "decoder_start_token_id", "is_assistant", "num_assistant_tokens"),
    *("num_assistant_tokens_schedule", "assistant_confidence_threshold", "prompt_lookup_num_tokens"),
    *("max_matching_ngram_size", "assistant_early_exit", "assistant_lookbehind", "target_lookbehind"),
    *("assistant_ensemble_weight", "speculation_type", "compile_config", "disable_compile"),
    *("continuous_batching_config", "low_memory", "penalty_alpha", "dola_layers", "diversity_penalty"),
    *("num_beam_groups", "constraints", "force_words_ids", "prefill_chunk_size"),
    # Ours: what clients of OpenAI's interface expect.
    *("presence_penalty", "frequency_penalty", "logit_bias", "dry_multiplier", "dry_base"),
    *("dry_allowed_length", "dry_sequence_breakers"),
)
#: Settings that would change the result and that are not there, and how they may be left.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "use_mtp": (None, False),
    "token_healing": (None, False),
    "assistant_early_exit": (None,),
    "assistant_ensemble_weight": (None,),
    "speculation_type": (None,),
    "dola_layers": (None,),
    "num_beam_groups": (None, 1),
    "constraints": (None,),
    "force_words_ids": (None,),
}
_ONLY_SAMPLING = {
    "temperature": 1.0,
    "top_p": 1.0,
    "min_p": None,
    "top_h": None,
    "typical_p": 1.0,
    "top_k": 50,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
_ONLY_BEAMS = {"early_stopping": False, "length_penalty": 1.0}
#: Settings of which a number below zero says what zero says.
_NO_LESS_THAN_ZERO = ("min_length", "min_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size")
_EXTRA_OUTPUTS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
#: Settings that may be written as 0 and 1.
_YES_OR_NO = (
    *("early_stopping", "do_sample", "use_cache", "renormalize_logits", "remove_invalid_values"),
    *_EXTRA_OUTPUTS,
)
_CACHES = (
    *("dynamic", "dynamic_full", "static", "sliding_window", "hybrid", "hybrid_chunked", "offloaded"),
    *("offloaded_static", "offloaded_hybrid", "offloaded_hybrid_chunked", "quantized"),
)
#: Arguments of ``generate`` that are no settings.
_ARGUMENTS = (
    *("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus"),
    *("assistant_model", "streamer", "negative_prompt_ids", "negative_prompt_attention_mask"),
)


class GenerationMode(str, Enum):
    """The ways of generating."""

    CONTRASTIVE_SEARCH = "contrastive_search"
    GREEDY_SEARCH = "greedy_search"
    SAMPLE = "sample"
    ASSISTED_GENERATION = "assisted_generation"
    DOLA_GENERATION = "dola_generation"
    BEAM_SEARCH = "beam_search"
    BEAM_SAMPLE = "beam_sample"
    CONSTRAINED_BEAM_SEARCH = "constrained_beam_search"
    GROUP_BEAM_SEARCH = "group_beam_search"


class WatermarkingConfig:
    """How a text is marked as generated (Kirchenbauer et al. 2023)."""

    def __init__(
        self,
        greenlist_ratio: float = 0.25,
        bias: float = 2.0,
        hashing_key: int = 15485863,
        seeding_scheme: str = "lefthash",
        context_width: int = 1,
    ) -> None:
        self.greenlist_ratio = greenlist_ratio
        self.bias = bias
        self.hashing_key = hashing_key
        self.seeding_scheme = seeding_scheme
        self.context_width = context_width

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> WatermarkingConfig:
        """Make one of the given values."""
        return cls(**{**config_dict, **kwargs})

    def to_dict(self) -> dict[str, Any]:
        """All values."""
        return dict(self.__dict__)

    def validate(self) -> None:
        """Refuse what cannot be.

        :raises ValueError: when a value is out of its range.
        """
        wrong = "Some of the keys in `watermarking_config` are defined incorrectly. "
        if self.seeding_scheme not in ("selfhash", "lefthash"):
            raise ValueError(
                f"{wrong}`seeding_scheme` should be [`selfhash`, `lefthash`]` but found {self.seeding_scheme}"
            )
        if not 0.0 <= self.greenlist_ratio <= 1.0:
            raise ValueError(
                f"{wrong}`greenlist_ratio` should be in range between 0.0 and 1.0` but found "
                f"{self.greenlist_ratio}"
            )
        if self.context_width < 1:
            raise ValueError(
                f"{wrong}`context_width` should be a positive integer` but found {self.context_width}"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WatermarkingConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.to_dict(), indent=2)}"


class GenerationConfig:
    """The settings of a generation, as attributes; what is ``None`` is left to the model or has its default.

    Equals transformers' ``GenerationConfig`` in names, defaults and checks, and adds what clients of
    OpenAI's interface expect: ``presence_penalty``, ``frequency_penalty``, ``logit_bias``, and DRY.
    """

    extra_output_flags = _EXTRA_OUTPUTS

    def __init__(self, **kwargs: Any) -> None:
        """Set what is given.

        :raises ValueError: for values that cannot be, alone or together.
        """
        given = set(kwargs)
        from_model = kwargs.pop("_from_model_config", None)
        kwargs.pop("_commit_hash", None)
        self.transformers_version = kwargs.pop("transformers_version", None)
        for field in _FIELDS:
            setattr(self, field, kwargs.pop(field, None))
        watermarking: Any = self.__dict__["watermarking_config"]
        if isinstance(watermarking, Mapping):
            self.watermarking_config = WatermarkingConfig.from_dict(watermarking)
        self._from_model_config = from_model
        if from_model and kwargs.get("force_bos_token_to_be_generated", False):
            self.forced_bos_token_id = self.bos_token_id
        elif not from_model:
            for key, value in kwargs.items():
                setattr(self, key, value)
        self.validate(user_set_attributes=given)

    def __getattr__(self, name: str) -> Any:
        # Says to type checkers that there are more attributes than they see; whatever is set is found before.
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def validate(self, strict: bool = False, user_set_attributes: set[str] | None = None) -> None:
        """Refuse values that cannot be, and warn about those that have no effect.

        :raises ValueError: for values that cannot be; with ``strict`` for those without effect too.
        """
        if self.early_stopping not in (None, True, False, "never"):
            raise ValueError(f"`early_stopping` must be a boolean or 'never', but is {self.early_stopping}.")
        if self.max_new_tokens is not None and self.max_new_tokens <= 0:
            raise ValueError(f"`max_new_tokens` must be greater than 0, but is {self.max_new_tokens}.")
        if self.cache_implementation not in (None, *_CACHES):
            raise ValueError(
                f"Invalid `cache_implementation` ({self.cache_implementation}). Choose one of: {_CACHES}"
            )
        if self.watermarking_config is not None:
            self.watermarking_config.validate()
        self._check_number_of_texts()
        self._check_forced_tokens()
        for name in _ARGUMENTS:
            if name in self.__dict__:
                raise ValueError(
                    f"Argument `{name}` is not a valid argument of `GenerationConfig`. It should be passed "
                    "to `generate()` (or a pipeline) directly."
                )
        issues = self._without_effect(user_set_attributes)
        if issues and strict:
            listed = "\n".join(f"- `{field}`: {issue}" for field, issue in issues.items())
            raise ValueError(f"GenerationConfig is invalid: \n{listed}")
        if issues:
            logger.warning(
                "The following generation flags are not valid and may be ignored: %s.", list(issues)
            )

    def _check_number_of_texts(self) -> None:
        texts, beams = self.num_return_sequences or 1, self.num_beams or 1
        if texts > 1 and beams == 1 and not self.do_sample:
            raise ValueError(
                "Greedy methods (do_sample != True) without beam search do not support "
                f"`num_return_sequences` different than 1 (got {texts})."
            )
        if beams > 1 and texts > beams:
            raise ValueError(
                f"`num_return_sequences` ({texts}) has to be smaller or equal to `num_beams` ({beams})."
            )

    def _check_forced_tokens(self) -> None:
        suppressed = set(self.suppress_tokens or ())
        for field in ("forced_bos_token_id", "forced_eos_token_id"):
            value = getattr(self, field)
            forced = {value} if isinstance(value, int) else set(value or ())
            if forced and forced <= suppressed:
                raise ValueError(
                    f"Every token in `{field}` ({sorted(forced)}) is also in `suppress_tokens`. Forcing a "
                    "token while suppressing it leaves nothing to choose from. Remove the overlapping "
                    f"token(s) from either `{field}` or `suppress_tokens` (if you meant to prevent an early "
                    "EOS token, use `min_new_tokens` instead)."
                )

    def _without_effect(self, given: set[str] | None) -> dict[str, str]:
        """Settings that nothing looks at, and why."""

        def is_meant(outer: str, inner: str) -> bool:
            # What a model's own file says without being asked is no mistake of the caller's.
            return given is None or inner in given or outer not in given

        issues = {}
        if self.pad_token_id is not None and self.pad_token_id < 0:
            issues["pad_token_id"] = f"`pad_token_id` should be positive but got {self.pad_token_id}."
        if self.do_sample is not True:
            for field, plain in _ONLY_SAMPLING.items():
                value = getattr(self, field)
                if field == "top_k" and self.penalty_alpha:
                    continue  # contrastive search chooses among so many
                if value is not None and value != plain and is_meant("do_sample", field):
                    issues[field] = (
                        f"`do_sample` is not set to `True`. However, `{field}` is set to `{value}` -- this "
                        "flag is only used in sample-based generation modes."
                    )
        if self.num_beams in (None, 1):
            for field, plain in _ONLY_BEAMS.items():
                value = getattr(self, field)
                if value is not None and value != plain and is_meant("num_beams", field):
                    issues[field] = (
                        f"`num_beams` is set to {self.num_beams}. However, `{field}` is set to `{value}` -- "
                        "this flag is only used in beam-based generation modes."
                    )
        if self.return_dict_in_generate is not True:
            for field in _EXTRA_OUTPUTS:
                if getattr(self, field) is True:
                    issues[field] = (
                        f"`return_dict_in_generate` is NOT set to `True`, but `{field}` is: it is ignored."
                    )
        if self.use_cache is False:
            for field in ("cache_implementation", "cache_config"):
                if getattr(self, field) is not None:
                    issues[field] = f"You have not set `use_cache` to `True`, but {field} is set."
        return issues

    def get_generation_mode(self, assistant_model: Any = None) -> GenerationMode:
        """The way of generating that these settings ask for."""
        drafts = assistant_model is not None or self.prompt_lookup_num_tokens is not None
        if self.num_beams in (None, 1):
            if drafts:
                return GenerationMode.ASSISTED_GENERATION
            if self.do_sample is True:
                return GenerationMode.SAMPLE
            if (self.top_k or 0) > 1 and (self.penalty_alpha or 0) > 0:
                return GenerationMode.CONTRASTIVE_SEARCH
            return GenerationMode.GREEDY_SEARCH
        if drafts:
            logger.warning(
                "You've set `assistant_model`, which triggers assisted generate. Currently, assisted "
                "generate is only supported with Greedy Search and Sample: it is ignored with beams."
            )
        return GenerationMode.BEAM_SAMPLE if self.do_sample is True else GenerationMode.BEAM_SEARCH

    def update(
        self, defaults_only: bool = False, allow_custom_entries: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Set those of ``kwargs`` that are settings and return the others.

        ``defaults_only`` sets only what is ``None`` so far; ``allow_custom_entries`` sets what is no setting.
        """
        done = set()
        for key, value in kwargs.items():
            if not hasattr(self, key):
                if allow_custom_entries:
                    setattr(self, key, value)
                    done.add(key)
                continue
            if not defaults_only or getattr(self, key) is None:
                if key == "watermarking_config" and isinstance(value, Mapping):
                    value = WatermarkingConfig.from_dict(value)
                setattr(self, key, value)
                done.add(key)
        self.validate(user_set_attributes=done)
        return {key: value for key, value in kwargs.items() if key not in done}

    @staticmethod
    def _get_default_generation_params() -> dict[str, Any]:
        return dict(DEFAULTS)

    @classmethod
    def from_pretrained(
        cls: type[ConfigT],
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> ConfigT:
        """Read generation_config.json of a local folder or a hub repository.

        Keywords: ``revision``, ``subfolder``, ``cache_dir``, ``local_files_only``, ``force_download``,
        ``token``, and settings, which replace what the file says. With ``return_unused_kwargs=True`` the
        result is the settings and the keywords that are none.

        :raises OSError: when there is no such folder, repository or file, or the file is not JSON.
        :raises ValueError: for values that cannot be.
        """
        repo = _engine.Repo(pretrained_model_name, **take_source(kwargs))
        path = repo.require(os.fspath(config_file_name or _FILE))
        config: ConfigT = cls.from_dict(_read(os.fspath(path)), **kwargs)
        return config

    @classmethod
    def _of(cls: type[ConfigT], repo: _engine.Repo) -> ConfigT | None:
        """The settings that a checkpoint comes with; older ones have them among the values of config.json."""
        if (path := repo.file(_FILE)) is not None:
            config: ConfigT = cls.from_dict(_read(os.fspath(path)))
            return config
        path = repo.file("config.json")
        return None if path is None else cls.from_model_config(_read(os.fspath(path)))

    @classmethod
    def from_dict(cls: type[ConfigT], config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Make settings of the given values, with ``kwargs`` over them."""
        return_unused = kwargs.pop("return_unused_kwargs", False)
        config = cls(**{**config_dict, **kwargs})
        unused = {key: value for key, value in kwargs.items() if key not in _FIELDS}
        return (config, unused) if return_unused else config

    @classmethod
    def from_model_config(cls: type[ConfigT], model_config: Any) -> ConfigT:
        """The settings among the values of a model's configuration, where older checkpoints have them."""
        values = model_config if isinstance(model_config, Mapping) else model_config.to_dict()
        known = {key: value for key, value in values.items() if value is not None and key in _FIELDS}
        forced = {key: values[key] for key in ("force_bos_token_to_be_generated",) if key in values}
        config: ConfigT = cls(**known, **forced, _from_model_config=True)
        if any(getattr(config, flag) for flag in _EXTRA_OUTPUTS):
            config.update(return_dict_in_generate=True)
        return config

    def to_dict(self) -> dict[str, Any]:
        """All values."""
        values = copy.deepcopy(self.__dict__)
        if isinstance(self.watermarking_config, WatermarkingConfig):
            values["watermarking_config"] = self.watermarking_config.to_dict()
        return values

    def to_diff_dict(self) -> dict[str, Any]:
        """The values that are set."""
        return {key: value for key, value in self.to_dict().items() if value is not None}

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """The values as JSON text."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        if ignore_metadata:
            for key in (
                "_from_model_config",
                "_commit_hash",
                "_original_object_hash",
                "transformers_version",
            ):
                values.pop(key, None)
        text = {str(key): _with_text_keys(value) for key, value in values.items()}
        return json.dumps(text, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write the values into a file, as JSON text."""
        with open(json_file_path, "w", encoding="utf-8") as file:
            file.write(self.to_json_string(use_diff=use_diff))

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        push_to_hub: bool = False,
    ) -> None:
        """Write generation_config.json into a folder, which is made if need be.

        :raises ValueError: when the settings contradict one another.
        """
        if push_to_hub:
            raise ValueError("push_to_hub=True is not supported: push the model")
        self.validate(strict=True)
        if os.path.isfile(save_directory):
            raise AssertionError(f"Provided path ({save_directory}) should be a directory, not a file")
        os.makedirs(save_directory, exist_ok=True)
        self.to_json_file(os.path.join(save_directory, config_file_name or _FILE))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and self.to_json_string(
            use_diff=False, ignore_metadata=True
        ) == other.to_json_string(use_diff=False, ignore_metadata=True)

    def __hash__(self) -> int:
        return hash(self.to_json_string(ignore_metadata=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    def _as_json(self) -> str:
        """The values as the engine reads them.

        :raises ValueError: for settings that the engine does not know; a model that has them can be loaded.
        """
        for field, allowed in _UNSUPPORTED.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field}={getattr(self, field)!r} is not supported: leave it out")
        values = {key: _plain(self.__dict__[key]) for key in _FIELDS if self.__dict__.get(key) is not None}
        if self.top_k is None:
            values["top_k"] = 0  # said by a caller: all of them
        for field in _NO_LESS_THAN_ZERO:
            if isinstance(values.get(field), int):
                values[field] = max(values[field], 0)
        for field in _YES_OR_NO:
            if isinstance(values.get(field), int):
                values[field] = bool(values[field])
        if not values.get("do_sample") and not self.penalty_alpha:
            # What nobody looks at may be anything.
            values = {key: value for key, value in values.items() if key not in _ONLY_SAMPLING}
        if isinstance(self.sequence_bias, Mapping):
            values["sequence_bias"] = [[list(run), _plain(bias)] for run, bias in self.sequence_bias.items()]
        if self.watermarking_config is not None:
            values["watermarking_config"] = self.watermarking_config.to_dict()
        if not self.return_dict_in_generate:
            for flag in _EXTRA_OUTPUTS:
                values.pop(flag, None)
        return json.dumps(values)


_FILE = "generation_config.json"


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise OSError(f"It looks like the config file at '{path}' is not a valid JSON file.") from error
    if not isinstance(values, dict):
        raise OSError(f"The config file at '{path}' must hold an object, got {type(values).__name__}")
    return values


def _plain(value: Any) -> Any:
    """Arrays and NumPy's numbers as Python's; what JSON does not know otherwise says its name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, float) and math.isinf(value):
        # JSON has no infinity. The greatest number becomes one as float32, which scores are.
        return math.copysign(sys.float_info.max, value)
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, (list, tuple)) else value
