// Products of 16 x 16 tiles that lie in shared memory, by the matrix units where there are some for the type, by plain arithmetic elsewhere.
#pragma once
#include "common.cuh"

#if TENSOR_CORES_F16
#include <mma.h>
#endif

constexpr int TILE = 16;

template <typename Of> constexpr bool HAS_UNITS = false;
#if TENSOR_CORES_F16
template <> constexpr bool HAS_UNITS<f16> = true;
#endif
#if TENSOR_CORES_BF16
template <> constexpr bool HAS_UNITS<bf16> = true;
#endif

// 16 x 16 sums of a warp. A lane has two rows of four.
template <typename Of, bool UNITS = HAS_UNITS<Of>> struct Sums {
    float at[2][4];

    static DEVICE int row() { return int(threadIdx.x) % WARP / 4 * 2; }
    static DEVICE int column() { return int(threadIdx.x) % 4 * 4; }

    DEVICE void clear() {
        for (auto& row : at) {
            for (float& sum : row) sum = 0;
        }
    }
    // += a b, the rows of each so many elements apart; TURNED: b holds columns in its rows.
    template <bool TURNED> DEVICE void add(const Of* a, int a_apart, const Of* b, int b_apart) {
        for (int k = 0; k < TILE; k++) {
            float left[2], right[4];
            for (int r = 0; r < 2; r++) left[r] = widen(a[(row() + r) * a_apart + k]);
            for (int c = 0; c < 4; c++) right[c] = widen(TURNED ? b[(column() + c) * b_apart + k] : b[k * b_apart + column() + c]);
            for (int r = 0; r < 2; r++) {
                for (int c = 0; c < 4; c++) at[r][c] += left[r] * right[c];
            }
        }
    }
    // Which row an element belongs to.
    struct Rows {
        DEVICE Rows(float*, int) {}
    };
    DEVICE void scale_rows(const Rows&, const float* factors) {
        for (int r = 0; r < 2; r++) {
            for (float& sum : at[r]) sum *= factors[row() + r];
        }
    }
    DEVICE void store(float* to, int apart) const {
        for (int r = 0; r < 2; r++) {
            for (int c = 0; c < 4; c++) to[(row() + r) * apart + column() + c] = at[r][c];
        }
    }
};

#if TENSOR_CORES_F16
template <typename Of> struct Sums<Of, true> {
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, TILE, TILE, TILE, float> at;

    DEVICE void clear() { nvcuda::wmma::fill_fragment(at, 0.0f); }
    template <bool TURNED> DEVICE void add(const Of* a, int a_apart, const Of* b, int b_apart) {
        using namespace nvcuda::wmma;
        fragment<matrix_a, TILE, TILE, TILE, Of, row_major> left;
        load_matrix_sync(left, a, a_apart);
        if constexpr (TURNED) {
            fragment<matrix_b, TILE, TILE, TILE, Of, col_major> right;
            load_matrix_sync(right, b, b_apart);
            mma_sync(at, left, right, at);
        } else {
            fragment<matrix_b, TILE, TILE, TILE, Of, row_major> right;
            load_matrix_sync(right, b, b_apart);
            mma_sync(at, left, right, at);
        }
    }
    // Which elements a lane holds is the units' secret: they are asked once, by a matrix of row numbers in memory that is free.
    struct Rows {
        nvcuda::wmma::fragment<nvcuda::wmma::accumulator, TILE, TILE, TILE, float> number;
        DEVICE Rows(float* free, int apart) {
            for (int i = threadIdx.x % WARP; i < TILE * TILE; i += WARP) free[i / TILE * apart + i % TILE] = i / TILE;
            sync_warp();
            nvcuda::wmma::load_matrix_sync(number, free, apart, nvcuda::wmma::mem_row_major);
            sync_warp();
        }
    };
    DEVICE void scale_rows(const Rows& rows, const float* factors) {
        for (int i = 0; i < at.num_elements; i++) at.x[i] *= factors[int(rows.number.x[i])];
    }
    DEVICE void store(float* to, int apart) const { nvcuda::wmma::store_matrix_sync(to, at, apart, nvcuda::wmma::mem_row_major); }
};
#endif
