"""Optimizers and schedules: torch's numbers over 100 steps, their states, their groups, and bad input."""

import math
from typing import Any

import numpy as np
import optimizer_cases as cases
import pytest

import trustformers as tf
from trustformers import training

EXPECTED = cases.expected()


def parameters() -> list[tf.Tensor]:
    return [tf.tensor(value).requires_grad_() for value in cases.start()]


def run(optimizer: training.Optimizer, steps: range = range(cases.STEPS)) -> list[float]:
    """Take steps, and give the loss of each."""
    weight, bias = (one for group in optimizer.param_groups for one in group["params"])
    losses = []
    for step in steps:
        optimizer.zero_grad()
        loss = ((tf.tensor(cases.inputs(step)) @ weight + bias).tanh() ** 2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def values(optimizer: training.Optimizer) -> list[np.ndarray]:
    return [one.detach().numpy().copy() for group in optimizer.param_groups for one in group["params"]]


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_a_hundred_steps_are_torchs(name: str) -> None:
    kind, keywords = cases.OPTIMIZERS[name]
    optimizer = getattr(training, kind)(parameters(), **keywords)
    expected = EXPECTED[f"optimizer/{name}"]
    np.testing.assert_allclose(run(optimizer), expected["losses"], rtol=2e-4, atol=1e-6)
    for ours, theirs in zip(values(optimizer), (expected["weight"], expected["bias"]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def test_lion_is_the_sign_of_a_mean() -> None:
    optimizer = training.Lion(parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    ours = [value.copy() for value in cases.start()]
    means = [np.zeros_like(value) for value in ours]
    for step in range(20):
        x, y = cases.inputs(step), np.tanh(cases.inputs(step) @ ours[0] + ours[1])
        slope = 2 * y * (1 - y * y)
        for index, gradient in enumerate((x.T @ slope, slope.sum(0))):
            direction = np.sign(0.9 * means[index] + 0.1 * gradient)
            ours[index] = ours[index] * (1 - 1e-3 * 0.1) - 1e-3 * direction
            means[index] = 0.99 * means[index] + 0.01 * gradient
    run(optimizer, range(20))
    for mine, theirs in zip(values(optimizer), ours, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_eight_bits_are_near_thirty_two() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((64, 96), dtype=np.float32)
    targets = inputs @ rng.standard_normal((96, 64), dtype=np.float32) / 10

    def losses(kind: Any) -> tuple[list[float], training.Optimizer]:
        weight = tf.zeros(96, 64).requires_grad_()
        optimizer = kind([weight], lr=1e-2)
        seen = []
        for _ in range(100):
            optimizer.zero_grad()
            loss = ((tf.tensor(inputs) @ weight - tf.tensor(targets)) ** 2).mean()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        return seen, optimizer

    whole, whole_states = losses(training.AdamW)
    few, few_states = losses(training.AdamW8bit)
    assert whole[-1] < whole[0] / 50
    np.testing.assert_allclose(few, whole, rtol=0.1, atol=whole[0] / 200)

    def size(optimizer: training.Optimizer) -> int:
        state = optimizer.state[0]
        return sum(value.numpy().nbytes for name, value in state.items() if name != "step")

    assert size(few_states) < size(whole_states) / 3


@pytest.mark.parametrize("name", cases.SCHEDULES)
def test_schedules_are_transformers(name: str) -> None:
    kind, keywords = cases.SCHEDULES[name]
    optimizer = training.AdamW(parameters(), lr=0.01)
    scheduler = training.get_scheduler(kind, optimizer, 10, 100, keywords)
    rates = []
    for _ in range(cases.STEPS + 10):
        rates += scheduler.get_last_lr()
        assert optimizer.param_groups[0]["lr"] == rates[-1]
        scheduler.step()
    np.testing.assert_allclose(rates, EXPECTED[f"schedule/{name}"], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", cases.PLATEAUS)
def test_plateaus_are_torchs(name: str) -> None:
    optimizer = training.AdamW(parameters(), lr=0.01)
    scheduler = training.ReduceLROnPlateau(optimizer, **cases.PLATEAUS[name])
    rates = []
    for metric in cases.METRICS:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, EXPECTED[f"plateau/{name}"], rtol=1e-12)


@pytest.mark.parametrize("name", cases.GREEDY)
def test_greedy_rates_are_transformers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    optimizer = training.AdamW(parameters(), lr=0.01)
    scheduler = training.get_scheduler("greedy", optimizer, 0, 0, {**cases.GREEDY[name], "verbose": True})
    rates = []
    for step, metric in enumerate(2 * cases.METRICS):
        if step == 7:
            # One that takes up the state of another goes on as that would have.
            optimizer = training.AdamW(parameters(), lr=0.5)
            again = training.GreedyLR(optimizer)
            again.load_state_dict(scheduler.state_dict())
            scheduler = again
            assert optimizer.param_groups[0]["lr"] == rates[-1]
        scheduler.step(metric)
        rates += scheduler.get_last_lr()
    np.testing.assert_allclose(rates, EXPECTED[f"greedy/{name}"], rtol=1e-12)
    assert len(set(rates)) > 2
    assert "reducing learning rate of group 0" in capsys.readouterr().out


@pytest.mark.parametrize("name", [*cases.OPTIMIZERS, "AdamW8bit", "Lion"])
def test_a_state_goes_on_where_it_was(name: str) -> None:
    kind, keywords = cases.OPTIMIZERS.get(name, (name, {"lr": 1e-3}))
    through = getattr(training, kind)(parameters(), **keywords)
    run(through)
    first = getattr(training, kind)(parameters(), **keywords)
    run(first, range(40))
    copies = [tf.tensor(value).requires_grad_() for value in values(first)]
    second = getattr(training, kind)(copies, **(keywords and {**keywords, "lr": 0.5}))
    second.load_state_dict(first.state_dict())
    run(second, range(40, cases.STEPS))
    for ours, theirs in zip(values(second), values(through), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_loaded_state_is_a_copy() -> None:
    first = training.AdamW(parameters())
    run(first, range(3))
    second = training.AdamW(parameters())
    second.load_state_dict(first.state_dict())
    before = second.state[0]["exp_avg"].numpy().copy()
    run(first, range(3, 6))
    np.testing.assert_array_equal(second.state[0]["exp_avg"].numpy(), before)


@pytest.mark.parametrize("name", cases.SCHEDULES)
def test_a_schedule_goes_on_where_it_was(name: str) -> None:
    kind, keywords = cases.SCHEDULES[name]
    first = training.get_scheduler(kind, training.AdamW(parameters(), lr=0.01), 10, 100, keywords)
    for _ in range(30):
        first.step()
    optimizer = training.AdamW(parameters(), lr=0.01)
    second = training.get_scheduler(kind, optimizer, 10, 100, keywords)
    second.load_state_dict(first.state_dict())
    first.step()
    second.step()
    assert second.get_last_lr() == first.get_last_lr()
    assert optimizer.param_groups[0]["lr"] == first.get_last_lr()[0]


def test_groups_have_settings_of_their_own() -> None:
    weight, bias = parameters()
    groups = [{"params": [weight], "weight_decay": 0.5}, {"params": [bias], "lr": 0.0}]
    optimizer = training.AdamW(groups, lr=1e-2, weight_decay=0.0)
    run(optimizer, range(5))
    np.testing.assert_array_equal(bias.detach().numpy(), cases.start()[1])
    alone = training.AdamW(parameters(), lr=1e-2, weight_decay=0.5)
    alone.add_param_group({"params": tf.ones(3).requires_grad_()})
    assert [len(group["params"]) for group in alone.param_groups] == [2, 1]
    alone.param_groups[0]["lr"] = 0.0
    loss = (alone.param_groups[1]["params"][0] * 2).sum()
    loss.backward()
    alone.step()
    np.testing.assert_array_equal(values(alone)[0], cases.start()[0])
    np.testing.assert_allclose(values(alone)[2], 1 - 1e-2 * 0.5 - 1e-2, rtol=1e-6)


def test_what_has_no_gradient_stays() -> None:
    weight, bias = parameters()
    optimizer = training.SGD([weight, bias], lr=1.0)
    weight.sum().backward()
    optimizer.step()
    np.testing.assert_allclose(weight.detach().numpy(), cases.start()[0] - 1, rtol=1e-6)
    np.testing.assert_array_equal(bias.detach().numpy(), cases.start()[1])
    optimizer.zero_grad(set_to_none=False)
    assert weight.grad is not None
    assert not weight.grad.numpy().any()
    optimizer.zero_grad()
    assert weight.grad is None


def test_a_closure_is_called_before_the_step() -> None:
    weight, _ = parameters()
    optimizer = training.SGD([weight], lr=1.0)

    def closure() -> float:
        loss = weight.sum()
        loss.backward()
        return float(loss.item())

    with tf.no_grad():
        loss = optimizer.step(closure)
    assert loss == pytest.approx(float(cases.start()[0].sum()), rel=1e-5)
    np.testing.assert_allclose(weight.detach().numpy(), cases.start()[0] - 1, rtol=1e-6)


def test_gradients_are_clipped_and_measured() -> None:
    weight, bias = parameters()
    (weight.sum() * 3 + bias.sum() * 4).backward()
    length = math.sqrt(35 * 9 + 7 * 16)
    assert training.get_total_norm(iter([weight, bias])) == pytest.approx(length)
    assert training.clip_grad_norm_(iter([weight, bias]), 1.0) == pytest.approx(length)
    assert training.get_total_norm([weight, bias]) == pytest.approx(1.0, rel=1e-5)
    training.clip_grad_value_(weight, 1e-3)
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad.numpy(), 1e-3)


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"lr": -1.0}, ValueError),
        ({"betas": (1.0, 0.9)}, ValueError),
        ({"eps": -1.0}, ValueError),
        ({"weight_decay": -0.1}, ValueError),
        ({"lr": math.nan}, ValueError),
        ({"momentum": 0.9}, TypeError),
    ],
)
def test_settings_that_cannot_be(keywords: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        training.AdamW(parameters(), **keywords)


def test_parameters_that_cannot_be() -> None:
    weight, bias = parameters()
    with pytest.raises(ValueError, match="empty"):
        training.AdamW([])
    with pytest.raises(TypeError, match="iterable"):
        training.AdamW(weight)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Tensors"):
        training.AdamW([np.zeros(3)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="more than one"):
        training.AdamW([{"params": [weight]}, {"params": [weight, bias]}])
    with pytest.raises(ValueError, match="leaf"):
        training.AdamW([weight * 2])


def test_a_state_of_other_groups_is_refused() -> None:
    weight, bias = parameters()
    two = training.AdamW([{"params": [weight]}, {"params": [bias]}])
    with pytest.raises(ValueError, match="group"):
        training.AdamW(parameters()).load_state_dict(two.state_dict())


def test_schedules_that_cannot_be() -> None:
    optimizer = training.AdamW(parameters(), lr=1e-3)
    with pytest.raises(ValueError, match="lineer"):
        training.get_scheduler("lineer", optimizer)
    with pytest.raises(ValueError, match="num_training_steps"):
        training.get_scheduler("linear", optimizer, num_warmup_steps=1)
    with pytest.raises(TypeError, match="cycles"):
        training.get_scheduler("linear", optimizer, 1, 10, {"cycles": 3})
    with pytest.raises(ValueError, match="lr_end"):
        training.get_scheduler("polynomial", optimizer, 1, 10, {"lr_end": 1.0})
