"""What the property tests draw: arrays of every dtype and every kind of memory layout."""

import numpy as np
from hypothesis import strategies as st

import trustformers._engine as tf

NUMPY_DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]


@st.composite
def arrays(
    draw: st.DrawFn, dtypes: list[str] = NUMPY_DTYPES, min_dims: int = 0, min_side: int = 0
) -> np.ndarray:
    """Arrays of every dtype: contiguous, transposed, sliced, reversed, broadcast, empty, 0-d."""
    shape = draw(st.lists(st.integers(min_side, 5), min_size=min_dims, max_size=4))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(draw(st.sampled_from(dtypes)))
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    steps = [draw(st.sampled_from([1, 2, -1, -2])) for _ in range(array.ndim)]
    array = array[(..., *(slice(None, None, step) for step in steps))]
    if draw(st.booleans()):
        array = np.broadcast_to(array, (2, *array.shape))
    return array


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64"]


@st.composite
def numbers(
    draw: st.DrawFn, dtypes: list[str] = FLOATS, low: float = -8.0, high: float = 8.0, **shape
) -> np.ndarray:
    """Arrays of numbers between two bounds, laid out in memory as `arrays` does."""
    array = draw(arrays(["int64"], **shape))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    values = rng.uniform(low, high, array.shape).astype(draw(st.sampled_from(dtypes)))
    # The same layout as the drawn one, with room for the values: every other element of a larger array.
    wide = np.empty((*values.shape, 2), values.dtype)
    strided = wide[..., 0] if draw(st.booleans()) else np.asfortranarray(values)
    strided[...] = values
    return strided[..., ::-1] if values.ndim and draw(st.booleans()) else strided


def check(got: tf.Tensor, expected: np.ndarray, rtol: float = 2e-6, atol: float = 1e-6) -> None:
    """`got` has the shape, dtype and values of `expected`."""
    assert type(got) is tf.Tensor
    assert got.dtype == expected.dtype, (got.dtype, expected.dtype)
    assert got.shape == expected.shape
    tight = {"rtol": 1e-12, "atol": 1e-12} if expected.dtype == np.float64 else {"rtol": rtol, "atol": atol}
    np.testing.assert_allclose(got.detach().numpy(), expected, **tight)
