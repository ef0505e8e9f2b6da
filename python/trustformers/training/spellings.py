"""Keywords of ``TrainingArguments`` that are not fields: older spellings, and what there is not."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from ..models.calls import unexpected

#: What transformers called it before, and what it is called now.
_RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
    "no_cuda": "use_cpu",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_token": "hub_token",
    "warmup_ratio": "warmup_steps",
}
#: What transformers 4 switched on with True, and the field and the value that do it now.
_SWITCHES: dict[str, tuple[str, Any]] = {
    "adafactor": ("optim", "adafactor"),
    "group_by_length": ("train_sampling_strategy", "group_by_length"),
    "include_inputs_for_metrics": ("include_for_metrics", ["inputs"]),
    "include_tokens_per_second": ("include_num_input_tokens_seen", "all"),
}
#: Of no effect any more: an output folder is always written to, and files are always safetensors.
_WITHOUT_EFFECT = ("overwrite_output_dir", "save_safetensors", "use_mps_device")
#: These say nothing of a training by one process on the CPU, in transformers as here; with their defaults.
_OF_OTHER_MACHINES: dict[str, Any] = {
    "average_tokens_across_devices": True,
    "dataloader_in_order": True,
    "dataloader_persistent_workers": False,
    "dataloader_pin_memory": True,
    "ddp_backend": None,
    "ddp_broadcast_buffers": None,
    "ddp_bucket_cap_mb": None,
    "ddp_find_unused_parameters": None,
    "ddp_static_graph": None,
    "ddp_timeout": 1800,
    "eval_accumulation_steps": None,
    "eval_use_gather_object": False,
    "full_determinism": False,
    "log_level_replica": "warning",
    "log_on_each_node": True,
    "save_on_each_node": False,
    "torch_empty_cache_steps": None,
}
#: What there is not, with the value that asks for nothing.
_MISSING: dict[str, Any] = {
    "accelerator_config": None,
    "dataloader_multiprocessing_context": None,
    "debug": "",
    "deepspeed": None,
    "enable_jit_checkpoint": False,
    "fp16_backend": "auto",
    "fp16_opt_level": "O1",
    "fsdp": None,
    "fsdp_config": None,
    "fsdp_min_num_params": 0,
    "fsdp_transformer_layer_cls_to_wrap": None,
    "half_precision_backend": "auto",
    "jit_mode_eval": False,
    "liger_kernel_config": None,
    "local_rank": -1,
    "mp_parameters": "",
    "optim_target_modules": None,
    "parallelism_config": None,
    "past_index": -1,
    "project": "huggingface",
    "push_to_hub_organization": None,
    "ray_scope": "last",
    "skip_memory_metrics": True,
    "sortish_sampler": False,
    "tf32": None,
    "torch_compile": False,
    "torch_compile_backend": None,
    "torch_compile_mode": None,
    "torchdynamo": None,
    "tpu_metrics_debug": False,
    "tpu_num_cores": None,
    "trackio_bucket_id": None,
    "trackio_space_id": None,
    "trackio_static_space_id": None,
    "use_legacy_prediction_loop": False,
    "use_liger_kernel": False,
}
#: What to do instead, where there is something.
_REMEDIES = {
    "push_to_hub_organization": "name it in hub_model_id, as organization/name",
    "group_by_length": "set train_sampling_strategy",
}


class Spelled(type):
    """The type of classes of arguments, which understand other keywords than those that are their fields."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make one of any keywords that transformers 4 or 5 takes.

        :raises TypeError: for keywords that neither knows, naming the nearest.
        :raises ValueError: for those that ask for what there is not.
        """
        fields = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
        made = super().__call__(*args, **understood(cls.__name__, kwargs, fields))
        # They say nothing here, but a script may read what it wrote.
        made.__dict__.update({name: kwargs[name] for name in _OF_OTHER_MACHINES if name in kwargs})
        return made


class OtherSettings:
    """The settings that are no fields, as nobody needs them here: what asks for nothing."""

    def __getattr__(self, name: str) -> Any:
        for settings in (_OF_OTHER_MACHINES, _MISSING):
            if name in settings:
                return settings[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def other_spellings(made: Any) -> list[str]:
    """The keywords that a class of arguments takes and that are not its fields."""
    if not isinstance(made, Spelled):
        return []
    fields = {field.name for field in dataclasses.fields(made)}  # type: ignore[arg-type]
    others = (_RENAMED, _SWITCHES, _WITHOUT_EFFECT, _OF_OTHER_MACHINES, _MISSING)
    return [name for names in others for name in names if name not in fields]


def understood(where: str, keywords: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """The keywords by the names of the fields, with a warning about each that has a newer spelling."""
    result: dict[str, Any] = {}
    older = {name: value for name, value in keywords.items() if name not in fields}
    for name, value in keywords.items():
        if name in fields:
            result[name] = value
    for name, value in older.items():
        if name in _RENAMED:
            _warn(f"`{name}` is deprecated: use `{_RENAMED[name]}`")
            if name != "warmup_ratio" or not result.get("warmup_steps"):
                result[_RENAMED[name]] = value
        elif name in _SWITCHES:
            field, asked = _SWITCHES[name]
            _warn(f"`{name}` is deprecated: use `{field}={asked!r}`")
            if value:
                result[field] = asked
        elif name in _WITHOUT_EFFECT:
            if name == "save_safetensors" and not value:
                raise ValueError("save_safetensors=False is not supported: weights are saved as safetensors")
            _warn(f"`{name}` is deprecated and has no effect")
        elif name in _MISSING:
            if value != _MISSING[name] and value:
                remedy = f": {_REMEDIES[name]}" if name in _REMEDIES else ""
                raise ValueError(f"{name}={value!r} is not supported{remedy}")
        elif name not in _OF_OTHER_MACHINES:
            raise unexpected(where, name, [*fields, *_RENAMED, *_SWITCHES, *_MISSING])
    if result.get("logging_dir") is not None:
        _warn("`logging_dir` is deprecated: set the environment variable TENSORBOARD_LOGGING_DIR")
    return result


def _warn(message: str) -> None:
    # The caller of TrainingArguments(..), past this function, `understood` and the metaclass.
    warnings.warn(message, DeprecationWarning, stacklevel=4)
