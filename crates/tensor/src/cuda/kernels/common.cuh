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

template <typename A, typename B> constexpr bool SAME = false;
template <typename A> constexpr bool SAME<A, A> = true;

// N neighbours that are read and written as one; they lie on a boundary of their size.
template <typename Of, int N> struct alignas(sizeof(Of) * N) Pack {
    Of at[N];
};

// As many as a thread reads at once, as floats: 16 bytes of float32, 8 of 16 bits.
constexpr int EACH = 4;
template <typename Of, int N> DEVICE void read(float (&to)[N], const Of* from) {
    Pack<Of, N> pack = *reinterpret_cast<const Pack<Of, N>*>(from);
    for (int i = 0; i < N; i++) to[i] = widen(pack.at[i]);
}
template <typename Of, int N> DEVICE void write(Of* to, const float (&from)[N]) {
    Pack<Of, N> pack;
    for (int i = 0; i < N; i++) pack.at[i] = narrow<Of>(from[i]);
    *reinterpret_cast<Pack<Of, N>*>(to) = pack;
}
// Two of 16 bits in one word, the first in its lower half.
template <typename Of> DEVICE u32 pair_of(float low, float high) {
    Pack<Of, 2> pair = {narrow<Of>(low), narrow<Of>(high)};
    return *reinterpret_cast<u32*>(&pair);
}
// Whether `at` lies on the boundary of a pack of N; null does.
template <int N = EACH, typename Of> DEVICE bool is_packed(const Of* at) { return reinterpret_cast<u64>(at) % sizeof(Pack<Of, N>) == 0; }

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

// The most warps of a block that has rows of a matrix.
constexpr int MOST_WARPS = 8;

// Of sums that `shares` warps, one behind the other, have a part of: lane i of the first of them gets the i-th sum, and zero where there is none.
template <int SUMS> DEVICE float sum_of_lane(const float (&sums)[SUMS], int shares) {
    __shared__ float of_warp[MOST_WARPS][SUMS];
    int lane = threadIdx.x % WARP, warp = ((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x) / WARP;
    float own = 0;
#pragma unroll
    for (int i = 0; i < SUMS; i++) {
        float sum = reduce_warp<Sum>(sums[i]);
        if (lane == i) own = sum;
    }
    if (shares == 1) return own;
    if (lane < SUMS) of_warp[warp][lane] = own;
    __syncthreads();
    for (int other = 1; warp % shares == 0 && lane < SUMS && other < shares; other++) own += of_warp[warp + other][lane];
    __syncthreads();
    return own;
}
