"""The memory that tensors hold."""

import numpy as np
import pytest

import trustformers._engine as tf


def test_memory_is_counted() -> None:
    tf.empty_cache()
    before = tf.memory_allocated()
    x = tf.zeros(1 << 20)
    assert tf.memory_allocated() >= before + (4 << 20)
    tf.reset_peak_memory_stats()
    del x
    assert tf.memory_allocated() < before + (4 << 20)
    assert tf.max_memory_allocated() >= before + (4 << 20)
    tf.reset_peak_memory_stats("cpu")
    assert tf.max_memory_allocated() < before + (4 << 20)
    assert tf.memory_reserved() >= tf.memory_allocated()
    tf.empty_cache()
    array = np.zeros(1 << 22)
    held = tf.memory_allocated()
    borrowed = tf.as_tensor(array)
    assert tf.memory_allocated() == held
    assert borrowed.numel() == 1 << 22
    with pytest.raises(RuntimeError, match="CUDA"):
        tf.memory_allocated("cuda:99")


def test_numbers_that_numpy_was_lent_are_read_before_they_are_overwritten() -> None:
    tensor = tf.tensor([1.0, 2.0, 3.0, 4.0])
    lent = np.asarray(tensor)
    tensor.copy_(tf.Tensor.from_numpy(lent[::-1]))
    assert tensor.tolist() == [4.0, 3.0, 2.0, 1.0]
    tensor.copy_(tf.Tensor.from_numpy(lent))
    assert tensor.tolist() == [4.0, 3.0, 2.0, 1.0]
    tensor[1:] += tf.Tensor.from_numpy(lent[:-1])
    assert tensor.tolist() == [4.0, 7.0, 5.0, 3.0]
