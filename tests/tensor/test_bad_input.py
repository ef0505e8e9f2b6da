"""What must raise, never crash: sizes, shapes and dtypes that cannot be."""

import numpy as np
import pytest

import trustformers._engine as tf


@pytest.mark.parametrize(
    "make", [tf.zeros, tf.ones, tf.rand, lambda n: tf.full((n,), 1), lambda n: tf.zeros(1).repeat(n)]
)
def test_a_petabyte_is_a_memory_error(make) -> None:
    with pytest.raises(MemoryError, match="bytes"):
        make(1 << 48)


def test_sizes_beyond_any_memory() -> None:
    for size in [(1 << 62, 1 << 62), (1 << 63 - 1,), (1 << 40, 1 << 40)]:
        with pytest.raises((ValueError, MemoryError)):
            tf.zeros(*size)
    with pytest.raises((ValueError, OverflowError, TypeError)):
        tf.zeros(1 << 64)
    with pytest.raises(ValueError, match="negative"):
        tf.zeros(2, -1)
    assert tf.zeros(3).expand(1 << 40, 3).shape == (1 << 40, 3)
    with pytest.raises((ValueError, MemoryError)):
        tf.zeros(3).expand(1 << 62, 3)


def test_operands_that_do_not_fit_are_named() -> None:
    a, b = tf.zeros(2, 3), tf.zeros(4)
    for operation in (
        lambda: a + b,
        lambda: a == b,
        lambda: a.add_(b),
        lambda: tf.where(a > 0, a, b),
        lambda: tf.maximum(a, b),
    ):
        with pytest.raises(ValueError, match=r"\[2, 3\] and \[4\]"):
            operation()
    with pytest.raises(ValueError, match=r"\[4\]|\[2, 3\]"):
        b.add_(a)


def test_impossible_reshapes() -> None:
    x = tf.zeros(2, 3)
    for shape in [(7,), (-1, 4), (-1, -1), (2, -2), (0, -1)]:
        for method in (x.reshape, x.view):
            with pytest.raises(ValueError, match=r"2, 3"):
                method(*shape)
    with pytest.raises(ValueError, match=r"contiguous|strides"):
        x.T.view(6)
    with pytest.raises(ValueError, match=r"dimension|axes"):
        x.permute(0, 0)
    with pytest.raises((ValueError, IndexError)):
        x.permute(0, 2)


def test_dimensions_that_are_not_there() -> None:
    x = tf.zeros(2, 3)
    for operation in (
        lambda: x.sum(2),
        lambda: x.softmax(-3),
        lambda: x.argmax(5),
        lambda: x.unsqueeze(4),
        lambda: x.squeeze(2),
        lambda: x.transpose(0, 2),
        lambda: x.cumsum(2),
        lambda: x.sort(2),
        lambda: x.size(2),
        lambda: x.flip(3),
        lambda: tf.cat([x, x], 2),
        lambda: x.unbind(2),
        lambda: x.select(2, 0),
        lambda: x.gather(2, tf.zeros(1, 1).long()),
    ):
        with pytest.raises(IndexError, match="out of range"):
            operation()


def test_dtypes_that_have_no_such_operation() -> None:
    integers, floats, complexes = tf.tensor([1]), tf.tensor([1.0]), tf.as_tensor(np.ones(1, np.complex64))
    for operation in (
        lambda: floats & 1,
        lambda: ~floats,
        lambda: complexes + 1,
        lambda: complexes.exp(),
        lambda: integers.exp_(),
        lambda: tf.tensor([True]) - tf.tensor([True]),
        lambda: -tf.tensor([True]),
        lambda: tf.where(integers, 1, 2),
        lambda: integers.add_(0.5),
        lambda: floats.index_select(0, floats),
    ):
        with pytest.raises(TypeError):
            operation()


def test_arguments_of_the_wrong_kind() -> None:
    x = tf.zeros(2)
    for operation in (
        lambda: x + "a",
        lambda: x + None,
        lambda: x + object(),
        lambda: x.add("1"),
        lambda: x.reshape("a"),
        lambda: x.to(3.5),
        lambda: x.sum("a"),
        lambda: tf.tensor(None),
        lambda: tf.tensor("a"),
        lambda: tf.zeros(1.5),
        lambda: tf.cat(3),
        lambda: x.gelu(approximate=3),
        lambda: x.sum(dim=0, axis=0),
        lambda: tf.tensor([[1], [2, 3]]),
        lambda: pow(x, 2, 3),
        lambda: tf.arange("a"),
        lambda: tf.full((2,), "a"),
        lambda: tf.zeros(2, dtype="float8"),
    ):
        with pytest.raises((TypeError, ValueError)):
            operation()
    with pytest.raises((OverflowError, TypeError)):
        x + (1 << 70)


def test_values_out_of_their_range() -> None:
    x = tf.zeros(4)
    for operation in (
        lambda: x.split(0),
        lambda: x.chunk(0),
        lambda: x.split([1, 2]),
        lambda: x.narrow(0, 3, 2),
        lambda: x.topk(5),
        lambda: tf.arange(0, 5, 0),
        lambda: tf.arange(0, 5, -1),
        lambda: tf.arange(0, float("inf")),
        lambda: x.clamp(),
        lambda: tf.dropout(x, 1.5),
        lambda: tf.randint(3, 3, (2,)),
        lambda: x.gelu("exact"),
    ):
        with pytest.raises((ValueError, TypeError)):
            operation()
    with pytest.raises(IndexError):
        tf.embedding(tf.tensor([4]), tf.zeros(4, 2))
    with pytest.raises(IndexError):
        tf.cross_entropy(tf.zeros(1, 3), tf.tensor([3]))


def test_memory_that_is_shared_within_a_tensor_is_not_written() -> None:
    x = tf.zeros(1).expand(3)
    with pytest.raises(ValueError, match="expanded"):
        x += 1
    y = tf.arange(6).float()
    y[1:] += y[:-1]
    assert y.tolist() == [0, 1, 3, 5, 7, 9]
