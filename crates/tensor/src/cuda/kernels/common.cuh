// What all families share: numbers of every type computed in a wider one, and sums over the threads of a row.
#pragma once
#include "platform.cuh"

DEVICE float widen(float x) { return x; }
DEVICE double widen(double x) { return x; }

// A float as T, rounded to the nearest.
template <typename To> DEVICE To narrow(float x);
template <> DEVICE float narrow<float>(float x) { return x; }
template <> DEVICE double narrow<double>(float x) { return x; }
template <> DEVICE f16 narrow<f16>(float x) { return f16_of(x); }
template <> DEVICE bf16 narrow<bf16>(float x) { return bf16_of(x); }

// N neighbours that are read and written as one; they lie on a boundary of their size.
template <typename Of, int N> struct alignas(sizeof(Of) * N) Pack {
    Of at[N];
};

template <typename V> DEVICE V least(V a, V b) { return b < a ? b : a; }
template <typename V> DEVICE V most(V a, V b) { return a < b ? b : a; }
DEVICE i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

// This thread's first element and its step, where elements are dealt out to all threads of a grid.
DEVICE i64 first_element() { return i64(blockIdx.x) * blockDim.x + threadIdx.x; }
DEVICE i64 element_step() { return i64(gridDim.x) * blockDim.x; }

// Rows are dealt out likewise: a row is done by the threads of one threadIdx.y, so that a block has one wide row or several narrow ones.
DEVICE i64 first_row() { return i64(blockIdx.x) * blockDim.y + threadIdx.y; }
DEVICE i64 row_step() { return i64(gridDim.x) * blockDim.y; }

struct Sum {
    template <typename V> static DEVICE V join(V a, V b) { return a + b; }
};
// NaN is the largest.
struct Max {
    template <typename V> static DEVICE V join(V a, V b) { return b > a || b != b ? b : a; }
};

// `value` joined over the lanes of a warp, or over each `lanes` of them; all get the result.
template <typename By, typename V> DEVICE V reduce_warp(V value, int lanes = WARP) {
    for (int apart = lanes / 2; apart > 0; apart /= 2) value = By::join(value, shuffle_xor(value, apart));
    return value;
}

// `value` joined over the threads of a row; all get the result, and it is the same from run to run.
template <typename By, typename V> DEVICE V reduce_row(V value) {
    value = reduce_warp<By>(value);
    if (blockDim.x <= WARP) return value;
    __shared__ V of_warp[WARP];
    __syncthreads();  // An earlier result may still be being read.
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = value;
    __syncthreads();
    value = of_warp[0];
    for (int warp = 1; warp < int(blockDim.x) / WARP; warp++) value = By::join(value, of_warp[warp]);
    return value;
}
