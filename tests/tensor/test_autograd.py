"""Gradients from Python: what `backward` leaves, what it refuses, and how recording is turned off."""

import gc
import threading
import weakref

import numpy as np
import pytest

import trustformers._engine as tf
from trustformers._grad import enable_grad, no_grad


def test_backward_accumulates_in_leaves() -> None:
    x = tf.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x * x).sum()
    assert y.requires_grad
    assert not y.is_leaf
    assert x.is_leaf
    assert x.grad is None
    y.backward()
    assert x.grad.tolist() == [2, 4, 6]
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 7, 9]
    x.grad = None
    assert x.grad is None


def test_a_given_gradient() -> None:
    x = tf.ones(2, 3, requires_grad=True)
    y = x * 2
    with pytest.raises((RuntimeError, ValueError), match="gradient"):
        y.backward()
    y.backward(gradient=np.arange(6).reshape(2, 3))
    assert x.grad.tolist() == [[0, 2, 4], [6, 8, 10]]
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        (x * 2).backward(tf.ones(3))


def test_gradients_reach_through_views_and_broadcasts() -> None:
    x = tf.ones(3, 4, requires_grad=True)
    b = tf.ones(4, requires_grad=True)
    ((x + b)[1:, ::2].T.reshape(-1) * tf.arange(4)).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0, 0], [0, 0, 2, 0], [1, 0, 3, 0]]
    assert b.grad.tolist() == [1, 0, 5, 0]


def test_the_graph_is_walked_once_unless_retained() -> None:
    x = tf.ones(2, requires_grad=True)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_changes_in_place_are_detected() -> None:
    x = tf.ones(2, requires_grad=True)
    y = x * 2
    z = y.exp()
    z += 1
    with pytest.raises(RuntimeError, match="in-place"):
        z.sum().backward()
    with pytest.raises(RuntimeError, match="leaf"):
        x += 1
    with no_grad():
        x += 1
    assert x.tolist() == [2, 2]


def test_in_place_operations_are_recorded() -> None:
    x = tf.ones(3, requires_grad=True)
    y = x * 1
    y[1] = 5
    y *= 2
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 2]


def test_recording_can_be_turned_off() -> None:
    x = tf.ones(2, requires_grad=True)
    with no_grad():
        assert not tf.is_grad_enabled()
        assert not (x * 2).requires_grad
        with enable_grad():
            assert (x * 2).requires_grad
        assert not tf.is_grad_enabled()
    assert tf.is_grad_enabled()

    @no_grad()
    def compute(depth: int) -> bool:
        return (x * 2).requires_grad or (depth > 0 and compute(depth - 1))

    assert not compute(3)
    assert tf.is_grad_enabled()
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert tf.is_grad_enabled()


def test_recording_belongs_to_a_thread() -> None:
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(tf.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_detach_shares_memory_without_history() -> None:
    x = tf.ones(2, requires_grad=True)
    y = x.detach()
    assert not y.requires_grad
    assert y.data_ptr() == x.data_ptr()
    for refused in (x.numpy, lambda: np.asarray(x), lambda: np.from_dlpack(x)):
        with pytest.raises((RuntimeError, BufferError), match="detach"):
            refused()
    assert x.tolist() == [1, 1]
    assert "requires_grad=True" in repr(x)
    assert "grad_fn" in repr(x * 2)


def test_only_floats_have_gradients() -> None:
    with pytest.raises(TypeError, match="int64"):
        tf.tensor([1], requires_grad=True)
    assert tf.ones(1).requires_grad_().requires_grad
    x = tf.ones(1, requires_grad=True)
    x.requires_grad = False
    assert not x.requires_grad
    with pytest.raises((ValueError, RuntimeError), match="detach"):
        (tf.ones(1, requires_grad=True) * 2).requires_grad_(False)


def test_grad_touches_no_leaf() -> None:
    x, y = tf.tensor([2.0], requires_grad=True), tf.tensor([3.0], requires_grad=True)
    (first,) = tf.grad(x**3 * y, x, create_graph=True)
    assert first.item() == 36
    (second,) = tf.grad(first, [x])
    assert second.item() == 36
    assert x.grad is None
    assert tf.grad(x * 2, [y, x])[0] is None


def test_results_of_operations_keep_gradients_on_request() -> None:
    x = tf.ones(2, requires_grad=True)
    y = x * 2
    y.retain_grad()
    (y * 3).sum().backward()
    assert y.grad.tolist() == [3, 3]


def test_a_long_chain_neither_overflows_nor_leaks() -> None:
    array = np.ones(1, np.float32)
    alive = weakref.ref(array)
    x = tf.Tensor.from_numpy(array).requires_grad_()
    y = x
    for _ in range(20_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1]
    del x, y, array
    gc.collect()
    assert alive() is None


def test_a_step_of_training() -> None:
    tf.manual_seed(0)
    w = tf.randn(3, 2, requires_grad=True)
    x = tf.randn(64, 2)
    target = x @ tf.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    for _ in range(200):
        loss = (tf.linear(x, w) - target).square().mean()
        loss.backward()
        with no_grad():
            w -= w.grad * 0.3
        w.grad = None
    assert loss.item() < 1e-4
    np.testing.assert_allclose(w.detach().numpy(), [[1, 0], [2, -1], [0.5, 3]], atol=0.02)


def test_what_is_written_over_has_a_gradient_of_zero() -> None:
    """As torch: the source has all of it, what was there before none, which is not the same as unknown."""
    x = tf.tensor([1.0, 2.0], requires_grad=True)
    y = tf.tensor([3.0, 4.0], requires_grad=True)
    h = x * 2
    h.copy_(y * 3)
    (h * h).sum().backward()
    assert x.grad.tolist() == [0, 0]
    assert y.grad.tolist() == [54, 72]
    x.grad = None
    h = x * 2
    h.exp_()
    h.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([2.0, 4.0]), rtol=1e-6)


def test_running_products_with_zeros_have_gradients() -> None:
    x = tf.tensor([2.0, 0.0, 3.0, 0.0, 5.0], requires_grad=True)
    x.cumprod(0).sum().backward()
    assert x.grad.tolist() == [1, 2 + 6, 0, 0, 0]
