"""transformers as the oracle: which tensors a checkpoint holds, and what a model answers, in NumPy."""

import copy
import inspect
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from transformers.models.auto import modeling_auto

import safetensors_file
from reference.cases import Case, Subject

#: The auto classes, and the table in which transformers keeps the class of every architecture.
AUTO = {
    "AutoModel": modeling_auto.MODEL_MAPPING_NAMES,
    "AutoModelForCausalLM": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    "AutoModelForSeq2SeqLM": modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    "AutoModelForMaskedLM": modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    "AutoModelForSequenceClassification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForTokenClassification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForQuestionAnswering": modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
    "AutoModelForMultipleChoice": modeling_auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES,
    "AutoModelForNextSentencePrediction": modeling_auto.MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING_NAMES,
}


def heads(model_type: str) -> dict[str, str]:
    """The auto classes that an architecture has, each with its own class."""
    return {auto: classes[model_type] for auto, classes in AUTO.items() if model_type in classes}


def family(config: Any) -> str:
    if config.is_encoder_decoder:
        return "encoder_decoder"
    return "encoder" if config.model_type in AUTO["AutoModelForMaskedLM"] else "decoder"


def mask_of(answer: dict[str, Any]) -> str:
    """The argument that says which positions of an answer count."""
    return "decoder_attention_mask" if "encoder_last_hidden_state" in answer else "attention_mask"


def shapes(name: str, config: Any) -> dict[str, tuple[int, ...]]:
    """The tensors that a model of class `name` writes: what is tied or computed is not there."""
    with tempfile.TemporaryDirectory() as folder:
        getattr(hf, name)(config).save_pretrained(folder)
        tensors, _ = safetensors_file.read(Path(folder, "model.safetensors"))
    if others := {name for name, tensor in tensors.items() if tensor.dtype != np.float32}:
        raise SystemExit(f"{name} writes tensors that are not float32, which cannot be drawn: {others}")
    return {name: tensor.shape for name, tensor in sorted(tensors.items())}


def opened(name: str, folder: Path, dtype: torch.dtype = torch.float32, **load: Any) -> hf.PreTrainedModel:
    """The model in a folder, of which nothing may be missing."""
    config = hf.AutoConfig.from_pretrained(folder, **load)
    # Falcon's eager attention adds the bias for distance twice; its default adds it once, as it was trained.
    attention = "sdpa" if getattr(config, "alibi", False) else "eager"
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": attention, "output_loading_info": True}
    model, info = getattr(hf, name).from_pretrained(folder, **options, **load)
    if any(info[key] for key in ("missing_keys", "mismatched_keys", "error_msgs")):
        raise SystemExit(f"{folder}: transformers misses weights in its own checkpoint: {info}")
    return model.eval()


def shaken(model: hf.PreTrainedModel) -> hf.PreTrainedModel:
    """A copy whose every weight is off by what float32 rounds away."""
    twin = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1 + 6e-8 * torch.randn(parameter.shape, generator=draw))
    return twin


def subject(model: hf.PreTrainedModel, seed: str, **options: Any) -> Subject:
    return Subject(
        config=model.config,
        accepts=frozenset(inspect.signature(model.forward).parameters),
        width=model.get_input_embeddings().weight.shape[1],
        draw=np.random.default_rng(zlib.crc32(seed.encode())),
        family=family(model.config),
        **options,
    )


def answers(model: hf.PreTrainedModel, case: Case) -> list[dict[str, Any]]:
    """What a model gives for every step of a case: arrays, and tuples of arrays."""
    model = copy.deepcopy(model)  # some rotations remember the longest text that they have seen
    found = []
    past: dict[str, Any] = {"use_cache": True} if len(case.steps) > 1 else {}
    for step in case.steps:
        inputs = {name: argument(name, array) for name, array in step.items()}
        with torch.inference_mode():
            outputs = model(**inputs, **past, output_hidden_states=case.states, output_attentions=case.states)
        if len(case.steps) > 1:
            past["past_key_values"] = outputs.past_key_values
        caches = ("past_key_values", "cache")  # its name until 5.23 and after
        fields = {name: as_numpy(value) for name, value in outputs.items() if name not in caches}
        # An encoder's `cross_attentions` are there and empty.
        found.append({name: value for name, value in fields.items() if not isinstance(value, tuple) or value})
    return found


def argument(name: str, array: np.ndarray) -> Any:
    if array.ndim == 0:
        return array.item()
    tensor = torch.from_numpy(array)
    return (tensor,) if name == "encoder_outputs" else tensor


def as_numpy(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(as_numpy(item) for item in value)
    return value.float().numpy()
