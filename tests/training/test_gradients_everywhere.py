"""The gradients of every architecture and head are slopes of its loss: what finite differences say."""

from typing import Any

import numpy as np
import pytest

import trustformers as tf
from fixture_cases import FIXTURES, Head, cases, heads

HEADS = heads(FIXTURES / "architectures", FIXTURES / "bert")
LABELS = {"labels", "start_positions", "next_sentence_label", "sentence_order_label"}


def given(head: Head) -> dict[str, Any]:
    """What goes into the model: with labels if it has any, else its first call."""
    first = [case.calls[0] for case in cases(head)]
    call = next((call for call in first if call.inputs.keys() & LABELS), first[0])
    return {
        name: tf.as_tensor(value) if isinstance(value, np.ndarray) else value
        for name, value in call.arguments.items()
        if name != "encoder_outputs"
    }


def opened(head: Head) -> Any:
    """A model of its own, which may be changed, and drops nothing."""
    model = getattr(tf, head.auto).from_pretrained(head.folder, **head.load).float()
    for parameter in model.parameters():
        parameter.requires_grad_()
    return model


def loss_of(model: Any, inputs: dict[str, Any]) -> Any:
    outputs = model(**inputs)
    if outputs.get("loss") is not None:
        return outputs.loss
    return sum(
        (value * tf.as_tensor(np.cos(np.arange(value.numel(), dtype=np.float32)).reshape(value.shape))).sum()
        for value in outputs.values()
        if isinstance(value, tf.Tensor)
    )


def slope(model: Any, inputs: dict[str, Any], direction: dict[str, np.ndarray], step: float) -> float:
    """How fast the loss grows along a direction."""
    named = dict(model.named_parameters())

    def move(by: float) -> float:
        with tf.no_grad():
            for name, array in direction.items():
                named[name].add_(tf.as_tensor((by * array).astype(np.float32)))
            return float(loss_of(model, inputs).item())

    high, low = move(step), move(-2 * step)
    move(step)
    return (high - low) / (2 * step)


@pytest.mark.parametrize("head", [head for head in HEADS if head.row.name == "default"], ids=str)
def test_gradients_are_slopes(head: Head) -> None:
    model, inputs = opened(head), given(head)
    loss = loss_of(model, inputs)
    loss.backward()
    grads = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    total = np.sqrt(sum(float((grad.astype(np.float64) ** 2).sum()) for grad in grads.values()))
    assert 0 < total < np.inf
    # Uphill, a step that changes the loss by some thousandths: far above what float32 rounds.
    step = 3e-3 * max(abs(loss.item()), 1.0) / total
    uphill = {name: grad / total for name, grad in grads.items()}
    assert slope(model, inputs, uphill, step) == pytest.approx(total, rel=3e-2)
    # And what has no gradient has no say.
    silent = {
        name: np.random.default_rng(0).normal(size=tuple(p.shape)) * 0.1
        for name, p in model.named_parameters()
        if name not in grads or not grads[name].any()
    }
    assert abs(slope(model, inputs, silent, 1.0)) <= 1e-5 * max(abs(loss.item()), 1.0)
