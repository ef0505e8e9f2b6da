// Products of tiles that lie in shared memory, by the matrix units where there are some for the type, by plain arithmetic elsewhere. Both give a
// lane what the units' instruction gives it (PTX ISA, mma.m16n8k16): there sums are where a left factor has its elements, so that one becomes the
// other in registers.
#pragma once
#include "common.cuh"

// The rows of a left factor, and how deep a product is.
constexpr int TILE = 16;

// Rows of DIM elements in shared memory, in whole products. The same 16 bytes of eight rows that follow one another lie in eight different groups of
// banks, since their order differs from row to row: so they are read at once.
template <typename Of, int DIM> struct Tile {
    static constexpr int PIECE = 16 / sizeof(Of), BANKS = 8, DEEP = (DIM + TILE - 1) / TILE * TILE;
    static constexpr int APART = (DEEP + BANKS * PIECE - 1) / (BANKS * PIECE) * (BANKS * PIECE);
    Of* at;

    DEVICE Of* operator()(int row, int column) const {
        return at + row * APART + (column / PIECE ^ row % BANKS) * PIECE + column % PIECE;
    }
};

// ---- instructions, which the emulator has as functions

#if !defined(EMULATED)
#if TENSOR_CORES_F16
// Four matrices of 8 x 8, whose rows begin where lanes say, eight lanes a matrix. A lane gets two neighbours in row lane / 4 of each, or, TURNED, in
// that column.
#define READ_MATRICES(turned)                                                                                        \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" turned ".shared.b16 {%0, %1, %2, %3}, [%4];"                        \
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])                                                \
                 : "r"(u32(__cvta_generic_to_shared(row)))                                                           \
                 : "memory")
template <bool TURNED> DEVICE void read_matrices(u32 (&to)[4], const void* row) {
    if constexpr (TURNED) READ_MATRICES(".trans");
    else READ_MATRICES("");
}
#endif
// sums += a b: 16 x 8 sums of 16 columns, on Turing of eight.
#if TENSOR_CORES_BF16
#define MULTIPLY(type)                                                                                                                     \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                                                                     \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
template <typename Of> DEVICE void multiply(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]);
template <> DEVICE void multiply<f16>(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) { MULTIPLY("f16"); }
template <> DEVICE void multiply<bf16>(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) { MULTIPLY("bf16"); }
#elif TENSOR_CORES_F16
template <typename Of> DEVICE void multiply(float (&sums)[4], const u32 (&a)[2], const u32 (&b)[1]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}
#endif
#if ASYNC_COPIES
// 16 bytes to shared memory, zeros where there are none. Nobody may look before the thread has waited for all that it has asked for.
DEVICE void copy_piece(void* to, const void* from, bool is_there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(u32(__cvta_generic_to_shared(to))), "l"(__cvta_generic_to_global(from)),
                 "r"(is_there ? 16 : 0)
                 : "memory");
}
DEVICE void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#endif
#endif

#if !ASYNC_COPIES
DEVICE void copy_piece(void* to, const void* from, bool is_there) {
    using Piece = Pack<u32, 4>;
    *static_cast<Piece*>(to) = is_there ? *static_cast<const Piece*>(from) : Piece{};
}
DEVICE void wait_for_copies() {}
#endif

// 2 to the x, to the last bits of a float.
DEVICE float power_of_2(float x) {
#if ON_CUDA
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

// ---- products

// The pair of columns that a lane has, and the first of its two rows, which are eight apart.
DEVICE int own_column() { return int(threadIdx.x) % 4 * 2; }
DEVICE int own_row() { return int(threadIdx.x) % WARP / 4; }

// 16 x 8 sums: a lane has two rows of two.
struct Sums {
    float at[4];
    DEVICE float& operator()(int row, int column) { return at[2 * row + column]; }
};

template <typename Of> constexpr bool HAS_UNITS = false;
#if TENSOR_CORES_F16
template <> constexpr bool HAS_UNITS<f16> = true;
#endif
#if TENSOR_CORES_BF16
template <> constexpr bool HAS_UNITS<bf16> = true;
#endif

// A left factor of 16 x 16: of each quarter of 8 x 8, the upper ones first in both halves, a lane has a pair.
template <typename Of, bool UNITS = HAS_UNITS<Of>> struct Left {
    float at[4][2];

    template <int DIM> DEVICE void read(const Tile<Of, DIM>& tile, int row, int column) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const Of* pair = tile(row + own_row() + i % 2 * 8, column + own_column() + i / 2 * 8);
#pragma unroll
            for (int c = 0; c < 2; c++) at[i][c] = widen(pair[c]);
        }
    }
    // What the sums of 16 columns are, rounded.
    DEVICE void take(Sums& left, Sums& right) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int c = 0; c < 2; c++) at[i][c] = widen(narrow<Of>((i < 2 ? left : right)(i % 2, c)));
        }
    }
};

// sums += left right, whose rows and columns begin where it is said; TURNED: its rows are columns. Each part of `right` is read once for all of `left`.
template <bool TURNED, typename Of, int DIM, int DOWN, int ACROSS>
DEVICE void add(Sums (&sums)[DOWN][ACROSS], const Left<Of, false> (&left)[DOWN], const Tile<Of, DIM>& right, int row, int column) {
#pragma unroll
    for (int k = 0; k < TILE; k++) {
        // The lane of four that has the column.
        int lane = threadIdx.x % WARP / 4 * 4 + k % 8 / 2;
        float factors[DOWN][2];
#pragma unroll
        for (int m = 0; m < DOWN; m++) {
#pragma unroll
            for (int r = 0; r < 2; r++) factors[m][r] = shuffle(left[m].at[k / 8 * 2 + r][k % 2], lane);
        }
#pragma unroll
        for (int n = 0; n < ACROSS; n++) {
#pragma unroll
            for (int c = 0; c < 2; c++) {
                int across = 8 * n + own_column() + c;
                float x = widen(TURNED ? *right(row + across, column + k) : *right(row + k, column + across));
#pragma unroll
                for (int m = 0; m < DOWN; m++) {
#pragma unroll
                    for (int r = 0; r < 2; r++) sums[m][n](r, c) += factors[m][r] * x;
                }
            }
        }
    }
}

#if TENSOR_CORES_F16
template <typename Of> struct Left<Of, true> {
    u32 at[4];

    template <int DIM> DEVICE void read(const Tile<Of, DIM>& tile, int row, int column) {
        int lane = threadIdx.x % WARP;
        read_matrices<false>(at, tile(row + lane % 16, column + lane / 16 * 8));
    }
    DEVICE void take(Sums& left, Sums& right) {
        for (int i = 0; i < 4; i++) at[i] = pair_of<Of>((i < 2 ? left : right)(i % 2, 0), (i < 2 ? left : right)(i % 2, 1));
    }
};

template <bool TURNED, typename Of, int DIM, int DOWN, int ACROSS>
DEVICE void add(Sums (&sums)[DOWN][ACROSS], const Left<Of, true> (&left)[DOWN], const Tile<Of, DIM>& right, int row, int column) {
    int lane = threadIdx.x % WARP, low = lane % 8 + lane / 16 * 8, high = lane / 8 % 2 * 8;
#pragma unroll
    for (int n = 0; n < ACROSS; n += 2) {
        // Upper and lower half of eight columns, and of the next eight.
        u32 words[4];
        if constexpr (TURNED) read_matrices<false>(words, right(row + 8 * n + low, column + high));
        else read_matrices<true>(words, right(row + lane % 16, column + 8 * n + lane / 16 * 8));
#pragma unroll
        for (int m = 0; m < DOWN; m++) {
            const u32(&a)[4] = left[m].at;
#pragma unroll
            for (int half = 0; half < 2; half++) {
#if TENSOR_CORES_BF16
                multiply<Of>(sums[m][n + half].at, a, {words[2 * half], words[2 * half + 1]});
#else
                multiply<Of>(sums[m][n + half].at, {a[0], a[1]}, {words[2 * half]});
                multiply<Of>(sums[m][n + half].at, {a[2], a[3]}, {words[2 * half + 1]});
#endif
            }
        }
    }
}
#endif
