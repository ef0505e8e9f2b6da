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
    static constexpr u32 PIECE = 16 / sizeof(Of), BANKS = 8, DEEP = (DIM + TILE - 1) / TILE * TILE;
    static constexpr u32 APART = (DEEP + BANKS * PIECE - 1) / (BANKS * PIECE) * (BANKS * PIECE);
    Of* at;

    DEVICE Of* operator()(u32 row, u32 column) const {
        return at + row * APART + (column / PIECE ^ row % BANKS) * PIECE + column % PIECE;
    }
};

// What follows from `x` is computed here and not before the loops around, where it would take registers from all that they do.
template <typename X> DEVICE X stay(X x) {
#if ON_CUDA
    asm volatile("" : "+r"(x));
#endif
    return x;
}

// ---- instructions, which the emulator has as functions

#if !defined(EMULATED)
#if TENSOR_CORES_F16
// Where something lies in shared memory.
using Place = u32;
DEVICE Place place_of(const void* at) { return __cvta_generic_to_shared(at); }
// Four matrices of 8 x 8, whose rows begin where lanes say, eight lanes a matrix. A lane gets two neighbours in row lane / 4 of each, or, TURNED, in
// that column.
#define READ_MATRICES(turned)                                                                                        \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" turned ".shared.b16 {%0, %1, %2, %3}, [%4];"                        \
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])                                                \
                 : "r"(row)                                                                                           \
                 : "memory")
template <bool TURNED> DEVICE void read_matrices(u32 (&to)[4], Place row) {
    if constexpr (TURNED) READ_MATRICES(".trans");
    else READ_MATRICES("");
}
#endif
// sums += a b: 16 x 8 sums of 16 columns, on Turing of eight.
#if TENSOR_CORES_BF16
#define MMA(type)                                                                                                                     \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                                                                     \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
template <typename Of> DEVICE void mma(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]);
template <> DEVICE void mma<f16>(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) { MMA("f16"); }
template <> DEVICE void mma<bf16>(float (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) { MMA("bf16"); }
#elif TENSOR_CORES_F16
template <typename Of> DEVICE void mma(float (&sums)[4], const u32 (&a)[2], const u32 (&b)[1]) {
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

#if TENSOR_CORES_F16
// Where a lane reads its rows of a tile: others lie so many rows further down, whole groups of eight, and columns further right, whole products.
template <typename Of, int DIM> struct Places {
    Place first;
    DEVICE Places(const Tile<Of, DIM>& tile, int row, int column) : first(stay(place_of(tile(row, column)))) {}
    DEVICE Place at(int down, int right) const {
        constexpr int BYTES = 16 * Tile<Of, DIM>::BANKS;
        int bytes = right * sizeof(Of);
        return (first ^ bytes % BYTES) + down * Tile<Of, DIM>::APART * sizeof(Of) + bytes / BYTES * BYTES;
    }
};

// sums += a b of 16 columns from 8 n on: b has the upper and the lower half of the first eight, and of the others.
template <typename Of, int DOWN, int ACROSS> DEVICE void mma(Sums (&sums)[DOWN][ACROSS], int n, const u32 (&a)[DOWN][4], const u32 (&b)[4]) {
#pragma unroll
    for (int m = 0; m < DOWN; m++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
#if TENSOR_CORES_BF16
            mma<Of>(sums[m][n + i].at, a[m], {b[2 * i], b[2 * i + 1]});
#else
            mma<Of>(sums[m][n + i].at, {a[m][0], a[m][1]}, {b[2 * i]});
            mma<Of>(sums[m][n + i].at, {a[m][2], a[m][3]}, {b[2 * i + 1]});
#endif
        }
    }
}
#endif

// sums += a b of 16 in depth by plain arithmetic, where a lane has of each quarter of 8 x 8 of a (the upper one of the left ones first) a pair, and
// `b` says what is in a row and a column.
template <int DOWN, int ACROSS, typename B> DEVICE void multiply_plainly(Sums (&sums)[DOWN][ACROSS], const float (&a)[DOWN][4][2], B b) {
#pragma unroll 1
    for (int pair = 0; pair < 4; pair++) {
        // Of the four lanes of a row, the one that has these columns.
        int lane = threadIdx.x % WARP / 4 * 4 + pair;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int half = i / 2, k = 8 * half + 2 * pair + i % 2;
            float left[DOWN][2];
#pragma unroll
            for (int r = 0; r < 2 * DOWN; r++) left[r / 2][r % 2] = shuffle(a[r / 2][2 * half + r % 2][i % 2], lane);
#pragma unroll
            for (int n = 0; n < ACROSS; n++) {
#pragma unroll
                for (int c = 0; c < 2; c++) {
                    float right = b(k, 8 * n + own_column() + c);
#pragma unroll
                    for (int r = 0; r < 2 * DOWN; r++) sums[r / 2][n](r % 2, c) += left[r / 2][r % 2] * right;
                }
            }
        }
    }
}

// sums += left right, where `right` has its columns as rows, and the rows of `left` begin with `row`. Each part of `right` is read once for all of
// them.
template <typename Of, int DIM, int DOWN, int ACROSS>
DEVICE void add_products(Sums (&sums)[DOWN][ACROSS], const Tile<Of, DIM>& left, int row, const Tile<Of, DIM>& right) {
    int lane = threadIdx.x % WARP;
    if constexpr (HAS_UNITS<Of>) {
#if TENSOR_CORES_F16
        Places<Of, DIM> rows(left, row + lane % 16, lane / 16 * 8), columns(right, lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8);
#pragma unroll
        for (int k = 0; k < Tile<Of, DIM>::DEEP; k += TILE) {
            u32 a[DOWN][4], b[4];
#pragma unroll
            for (int m = 0; m < DOWN; m++) read_matrices<false>(a[m], rows.at(m * TILE, k));
#pragma unroll
            for (int n = 0; n < ACROSS; n += 2) {
                read_matrices<false>(b, columns.at(8 * n, k));
                mma<Of>(sums, n, a, b);
            }
        }
#endif
    } else {
#pragma unroll 1
        for (int k = 0; k < Tile<Of, DIM>::DEEP; k += TILE) {
            float a[DOWN][4][2];
#pragma unroll
            for (int i = 0; i < 8 * DOWN; i++) {
                int down = i / 8 * TILE + i / 2 % 2 * 8 + own_row(), column = k + i / 4 % 2 * 8 + own_column() + i % 2;
                a[i / 8][i / 2 % 4][i % 2] = widen(*left(row + down, column));
            }
            multiply_plainly(sums, a, [&](int depth, int column) { return widen(*right(column, k + depth)); });
        }
    }
}

// sums += left right, where `left` are sums, rounded.
template <typename Of, int DIM, int DOWN, int DEPTH, int ACROSS>
DEVICE void add_products(Sums (&sums)[DOWN][ACROSS], Sums (&left)[DOWN][DEPTH], const Tile<Of, DIM>& right) {
    int lane = threadIdx.x % WARP;
    if constexpr (HAS_UNITS<Of>) {
#if TENSOR_CORES_F16
        Places<Of, DIM> rows(right, lane % 16, lane / 16 * 8);
#pragma unroll
        for (int k = 0; k < DEPTH; k += 2) {
            u32 a[DOWN][4], b[4];
#pragma unroll
            for (int i = 0; i < 4 * DOWN; i++) {
                Sums& half = left[i / 4][k + i / 2 % 2];
                a[i / 4][i % 4] = pair_of<Of>(half(i % 2, 0), half(i % 2, 1));
            }
#pragma unroll
            for (int n = 0; n < ACROSS; n += 2) {
                read_matrices<true>(b, rows.at(8 * k, 8 * n));
                mma<Of>(sums, n, a, b);
            }
        }
#endif
    } else {
#pragma unroll
        for (int k = 0; k < DEPTH; k += 2) {
            float a[DOWN][4][2];
#pragma unroll
            for (int i = 0; i < 8 * DOWN; i++) a[i / 8][i / 2 % 4][i % 2] = widen(narrow<Of>(left[i / 8][k + i / 4 % 2](i / 2 % 2, i % 2)));
            multiply_plainly(sums, a, [&](int depth, int column) { return widen(*right(8 * k + depth, column)); });
        }
    }
}
