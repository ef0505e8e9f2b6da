"""Losses and gradients are transformers', for every architecture and head, plain and with smoothed labels.

The other side computes in float64, so that what differs is what float32 rounds away here. Nothing is dropped;
what is dropped where is compared in test_dropout_parity.py.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trustformers as tf

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from test_dropout_parity import MODELS, settings  # noqa: E402
from test_parity import configuration, write  # noqa: E402
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: E402
from transformers.trainer_pt_utils import LabelSmoother  # noqa: E402

from reference import oracle  # noqa: E402
from reference.cases import HEADS  # noqa: E402

SMOOTHING = 0.2


def both(model_type: str, auto: str, name: str, folder: Path) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Their model and ours, in training, and what goes into them: inputs with labels if the head has any."""
    off = dict.fromkeys(settings(model_type, auto), 0.0)
    known = {field: value for field, value in off.items() if field != "classifier_dropout"}
    config = {**configuration(model_type, auto, 0), **known, "classifier_dropout": 0.0}
    if "reorder_and_upcast_attn" in config:
        config["reorder_and_upcast_attn"] = False  # GPT-2's own, which takes float32 alone
    if config.get("sliding_window") is not None:
        # What sees nothing but padding: -inf in float64, and NaN behind their softmax, which is of float32.
        config["sliding_window"] = max(config["sliding_window"], 4)
    write(folder, name, config)
    theirs = oracle.opened(name, folder).double().train()
    # Their product of grouped experts takes no float64.
    theirs.set_experts_implementation("eager")
    ours = getattr(tf, auto).from_pretrained(folder).train()
    for parameter in ours.parameters():
        parameter.requires_grad_()
    subject = oracle.subject(theirs, seed=model_type, length=7, parts=(0.5, 1.0))
    steps = [case.steps[0] for case in HEADS[auto](subject) if len(case.steps) == 1]
    steps = [step for step in steps if "encoder_outputs" not in step]
    labels = {"labels", "start_positions", "next_sentence_label", "sentence_order_label"}
    # Where a mask hides them, ours are zero and theirs something.
    seen = {key: value for key, value in steps[0].items() if "mask" not in key}
    return theirs, ours, [step for step in steps if labels & step.keys()] or [seen]


def as_torch(step: dict[str, Any]) -> dict[str, Any]:
    given = {key: oracle.argument(key, value) for key, value in step.items()}
    is_float = {key: getattr(value, "dtype", None) == torch.float32 for key, value in given.items()}
    return {key: value.double() if is_float[key] else value for key, value in given.items()}


def as_ours(step: dict[str, Any]) -> dict[str, Any]:
    return {key: value.item() if value.ndim == 0 else tf.as_tensor(value) for key, value in step.items()}


def loss_of(outputs: Any, tensor: Callable[[Any], Any]) -> Any:
    """The model's loss, or one for models that have none, of all that they give for a text."""
    if outputs.get("loss") is not None:
        return outputs["loss"]
    draw = np.random.default_rng(5)
    fields = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
    given = [outputs[field] for field in fields if outputs.get(field) is not None]
    return sum((value * tensor(draw.normal(size=tuple(value.shape)))).sum() for value in given)


def in_files(model: Any) -> Iterator[tuple[str, Any]]:
    """The gradients by the names that parameters have in files, which ours have in memory too."""
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        if model.config.model_type == "gpt_neox":
            name = name.replace("lm_head.", "embed_out.")
        if model.config.model_type != "mixtral" or ".mlp." not in name:
            yield name, grad
            continue
        # Theirs are joined: of all experts, and the gate with what goes up.
        within, _, kind = name.replace(".mlp.", ".block_sparse_moe.").rpartition(".")
        parts = {"gate_up_proj": ("w1", "w3"), "down_proj": ("w2",)}.get(kind)
        if parts is None:
            yield f"{within}.{kind}", grad
            continue
        for expert in range(parameter.shape[0]):
            rows = [None] * len(parts) if grad is None else grad[expert].chunk(len(parts))
            for part, of_part in zip(parts, rows, strict=True):
                yield f"{within}.{expert}.{part}.weight", of_part


def compare(theirs: Any, ours: Any, expected: Any, found: Any) -> None:
    """Both losses, and the gradients of all parameters."""
    assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
    for model in (theirs, ours):
        for parameter in model.parameters():
            parameter.grad = None
    expected.backward()
    found.backward()
    named = dict(ours.named_parameters())
    # Sinusoids that the file does not have are computed here.
    computed = {
        key for key in dict(in_files(theirs)) if key.endswith("embed_positions.weight")
    } - named.keys()
    wanted = {key: grad for key, grad in in_files(theirs) if key not in computed}
    largest = max(grad.abs().max().item() for grad in wanted.values() if grad is not None)
    assert named.keys() - wanted.keys() <= set(ours._engine.buffers())
    for key, grad in wanted.items():
        other = named[key].grad
        shape = named[key].shape
        wanted_grad = np.zeros(shape) if grad is None else grad.numpy()
        found_grad = np.zeros(shape) if other is None else other.numpy()
        limit = 1e-3 * np.abs(wanted_grad).max() + 2e-5 * largest
        off = np.abs(found_grad - wanted_grad).max()
        assert off <= limit, f"{key} is off by {off:.1e} of {np.abs(wanted_grad).max():.1e}"


@pytest.mark.parametrize(("model_type", "auto", "name"), MODELS)
def test_gradients_are_transformers(model_type: str, auto: str, name: str, tmp_path: Path) -> None:
    theirs, ours, steps = both(model_type, auto, name, tmp_path)
    for step in steps:
        expected = loss_of(theirs(**as_torch(step)), torch.from_numpy)
        found = loss_of(ours(**as_ours(step)), lambda array: tf.as_tensor(array.astype(np.float32)))
        compare(theirs, ours, expected, found)


@pytest.mark.parametrize(
    ("model_type", "auto", "name"), [one for one in MODELS if one.values[1] != "AutoModel"]
)
def test_smoothed_labels_are_transformers(model_type: str, auto: str, name: str, tmp_path: Path) -> None:
    theirs, ours, steps = both(model_type, auto, name, tmp_path)
    args = tf.TrainingArguments(str(tmp_path / "out"), label_smoothing_factor=SMOOTHING, report_to="none")
    trainer = tf.Trainer(ours, args)
    compared = 0
    for step in steps:
        labels = step.get("labels")
        if labels is None or labels.dtype != np.int64:
            continue
        asked = {key: value for key, value in as_torch(step).items() if key != "labels"}
        if theirs.config.is_encoder_decoder and "decoder_input_ids" not in asked:
            asked["labels"] = torch.tensor(labels)
        outputs = theirs(**asked)
        if "logits" not in outputs or tuple(outputs.logits.shape[:-1]) != labels.shape:
            with pytest.raises(ValueError, match="label_smoothing_factor"):
                trainer.compute_loss(ours, as_ours(step))
            continue
        shifts = name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
        for items in (None, 11):
            smoother = LabelSmoother(epsilon=SMOOTHING)
            # Their graph is walked only once.
            outputs = theirs(**asked)
            expected = smoother(outputs, torch.tensor(labels), shift_labels=shifts, num_items_in_batch=items)
            found = trainer.compute_loss(ours, as_ours(step), num_items_in_batch=items)
            compare(theirs, ours, expected, found)
        compared += 1
    if not compared:
        pytest.skip("no labels that could be smoothed")
