// Products of 16 x 16 tiles that lie in shared memory, by the matrix units where there are some for the type, by plain arithmetic elsewhere.
#pragma once
#include "common.cuh"

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
    // A left factor, whose rows are so many elements apart: read once for several products.
    struct Left {
        const Of* at;
        int apart;
        DEVICE Left(const Of* at, int apart) : at(at), apart(apart) {}
    };
    // += a b, b's rows likewise; TURNED: b holds columns in its rows.
    template <bool TURNED> DEVICE void add(const Left& a, const Of* b, int b_apart) {
        for (int k = 0; k < TILE; k++) {
            float left[2], right[4];
            for (int r = 0; r < 2; r++) left[r] = widen(a.at[(row() + r) * a.apart + k]);
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
// The units' instructions, as the compiler itself knows them. The header that gives them other names is not in every place that has the compiler:
// PyTorch does not bring it.
template <typename Of> struct Units;
template <> struct Units<f16> {
    static constexpr int WORDS = 8;
    static DEVICE void read_left(int* to, const f16* from, int apart) { __hmma_m16n16k16_ld_a(to, reinterpret_cast<const int*>(from), apart, 0); }
    template <bool TURNED> static DEVICE void read_right(int* to, const f16* from, int apart) {
        __hmma_m16n16k16_ld_b(to, reinterpret_cast<const int*>(from), apart, TURNED);
    }
    // The rows of the right one are its rows (0) or its columns (1).
    template <bool TURNED> static DEVICE void multiply(float* sums, const int* left, const int* right) {
        __hmma_m16n16k16_mma_f32f32(sums, left, right, sums, TURNED, 0);
    }
};
#endif
#if TENSOR_CORES_BF16
// By the instruction itself where tiles are read: what the compiler has for this type does not say that they lie in shared memory, and becomes four
// readings of a word where one instruction reads four words.
#define READ_TILE(matrix, order)                                                                                                       \
    asm volatile("wmma.load." matrix ".sync.aligned." order ".m16n16k16.shared.bf16 {%0, %1, %2, %3}, [%4], %5;"                       \
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])                                                                  \
                 : "r"(u32(__cvta_generic_to_shared(from))), "r"(apart)                                                                \
                 : "memory")
template <> struct Units<bf16> {
    static constexpr int WORDS = 4;
    static DEVICE void read_left(int* to, const bf16* from, int apart) { READ_TILE("a", "row"); }
    template <bool TURNED> static DEVICE void read_right(int* to, const bf16* from, int apart) {
        if constexpr (TURNED) READ_TILE("b", "col");
        else READ_TILE("b", "row");
    }
    template <bool TURNED> static DEVICE void multiply(float* sums, const int* left, const int* right) {
        __mma_bf16_m16n16k16_mma_f32(sums, left, right, sums, TURNED, 0);
    }
};
#endif

#if TENSOR_CORES_F16
// Tiles begin on boundaries of 32 bytes, and rows of them on those of 16.
template <typename Of> struct Sums<Of, true> {
    static constexpr int HELD = TILE * TILE / WARP;
    float at[HELD];

    DEVICE void clear() {
        for (float& sum : at) sum = 0;
    }
    struct Left {
        int words[Units<Of>::WORDS];
        DEVICE Left(const Of* from, int apart) { Units<Of>::read_left(words, from, apart); }
    };
    template <bool TURNED> DEVICE void add(const Left& a, const Of* b, int b_apart) {
        int right[Units<Of>::WORDS];
        Units<Of>::template read_right<TURNED>(right, b, b_apart);
        Units<Of>::template multiply<TURNED>(at, a.words, right);
    }
    // Which elements a lane holds is the units' secret: they are asked once, by a matrix of row numbers in memory that is free.
    struct Rows {
        // Four bits each.
        u32 numbers;
        DEVICE Rows(float* free, int apart) {
            float held[HELD];
            for (int i = threadIdx.x % WARP; i < TILE * TILE; i += WARP) free[i / TILE * apart + i % TILE] = i / TILE;
            sync_warp();
            __hmma_m16n16k16_ld_c_f32(held, free, apart, 0);
            sync_warp();
            numbers = 0;
            for (int i = 0; i < HELD; i++) numbers |= u32(held[i]) << 4 * i;
        }
    };
    DEVICE void scale_rows(const Rows& rows, const float* factors) {
        for (int i = 0; i < HELD; i++) at[i] *= factors[rows.numbers >> 4 * i & 15];
    }
    DEVICE void store(float* to, int apart) const { __hmma_m16n16k16_st_c_f32(to, at, apart, 0); }
};
#endif
