// Rows of a head in the shared memory of a block of -DWARPS warps, for products.
#pragma once
#include "attention.cuh"
#include "matrix.cuh"

constexpr int THREADS = WARPS * WARP;
// The two rows that a lane has of a tile are so far apart.
constexpr int HALVES = 2, APART = TILE / HALVES;
__device__ constexpr int next_power(int x) { return x <= 1 ? 1 : 2 * next_power((x + 1) / 2); }

// `count` rows of a head from `offset` on, in shared memory as T, with zeros beyond. They are on their way where they lie as T on boundaries of 16
// bytes, and go through registers where they do not.
template <typename Kept, int COUNT, int DIM>
DEVICE void fetch(const Tile<T, DIM>& to, const void* from, i64 row_stride, i64 offset, int count) {
    constexpr int PIECE = Tile<T, DIM>::PIECE, DEEP = Tile<T, DIM>::DEEP, ACROSS = next_power(DEEP / PIECE), DOWN = THREADS / ACROSS;
    // A thread has the same piece of some rows.
    int row = threadIdx.x / ACROSS, column = threadIdx.x % ACROSS * PIECE;
    if (column >= DEEP) return;
    if constexpr (SAME<Kept, T> && DIM % PIECE == 0) {
        const T* piece = static_cast<const T*>(from) + offset + row * row_stride + column;
        if (is_packed<PIECE>(static_cast<const T*>(from) + offset) && row_stride % PIECE == 0) {
#pragma unroll
            for (int n = 0; n < COUNT; n += DOWN, piece += DOWN * row_stride) {
                if (COUNT % DOWN == 0 || n + row < COUNT) copy_piece(to(n + row, column), piece, n + row < count && column < DIM);
            }
            return;
        }
    }
#pragma unroll 1
    for (int n = row; n < COUNT; n += DOWN) {
        float some[PIECE] = {};
        if (n < count) {
            Head<Kept> head(from, offset + n * row_stride);
            if (column + PIECE <= DIM) head.take(some, column);
            else {
                for (int k = 0; k < PIECE && column + k < DIM; k++) some[k] = head[column + k];
            }
        }
        write(to(n, column), some);
    }
}
