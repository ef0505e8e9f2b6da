// Matrices in ggml's block formats: expanded, and multiplied as they are stored. -DT: the type of activations; -DFORMAT: how rows are stored;
// -DVECTORS: how many vectors share one reading of the matrix.
#include "common.cuh"

// In the order of the host's formats.
enum Format : i32 { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, INT8 };

DEVICE float half_at(const u8* at) { return widen(f16_of_bits(u16(at[0] | at[1] << 8))); }

// 16 elements of a row, which every format gives one scale and one offset: element i is scale codes[i] + offset.
constexpr int GROUP = 16;
struct Group {
    float scale, offset;
    int codes[GROUP];
};

// Part `part` of 8 has a scale and a minimum of 6 bits each in 12 bytes.
DEVICE void scale_of_32(Group& group, const u8* block, const u8* packed, int part) {
    int scale, least_of;
    if (part < 4) scale = packed[part] & 63, least_of = packed[part + 4] & 63;
    else {
        scale = (packed[part + 4] & 15) | packed[part - 4] >> 6 << 4;
        least_of = packed[part + 4] >> 4 | packed[part] >> 6 << 4;
    }
    group.scale = half_at(block) * scale;
    group.offset = -(half_at(block + 2) * least_of);
}

// Group `index` of a row of `columns`; bytes as in ggml-common.h.
DEVICE Group unpack(const u8* row, int index, int columns) {
    Group group;
    group.offset = 0;
    int *codes = group.codes, high_half = index % 2;
    if constexpr (FORMAT == INT8) {
        group.scale = __uint_as_float(row[0] | u32(row[1]) << 8 | u32(row[2]) << 16 | u32(row[3]) << 24);
        for (int i = 0; i < GROUP; i++) codes[i] = index * GROUP + i < columns ? i8(row[4 + index * GROUP + i]) : 0;
    } else if constexpr (FORMAT == Q8_0) {
        const u8* block = row + index / 2 * 34;
        group.scale = half_at(block);
        for (int i = 0; i < GROUP; i++) codes[i] = i8(block[2 + high_half * GROUP + i]);
    } else if constexpr (FORMAT <= Q5_1) {
        // The low halves of 16 bytes are the first elements, their high halves the others; a fifth bit stands before them.
        constexpr bool is_five = FORMAT >= Q5_0, has_least = FORMAT == Q4_1 || FORMAT == Q5_1;
        constexpr int head = has_least ? 4 : 2, low_at = head + (is_five ? 4 : 0);
        const u8 *block = row + index / 2 * (low_at + 16), *fifth = block + head;
        group.scale = half_at(block);
        if (has_least) group.offset = half_at(block + 2);
        u32 high = is_five ? fifth[0] | u32(fifth[1]) << 8 | u32(fifth[2]) << 16 | u32(fifth[3]) << 24 : 0;
        for (int i = 0; i < GROUP; i++) {
            int code = (block[low_at + i] >> (4 * high_half) & 15) | (high >> (16 * high_half + i) & 1) << 4;
            codes[i] = has_least ? code : code - (is_five ? 16 : 8);
        }
    } else {
        // Blocks of 256: eight parts of 32, each of which has two groups.
        constexpr int bytes = FORMAT == Q2_K ? 84 : FORMAT == Q3_K ? 110 : FORMAT == Q4_K ? 144 : FORMAT == Q5_K ? 176 : 210;
        const u8* block = row + index / 16 * bytes;
        int of = index % 16, part = of / 2, from = high_half * GROUP, two = 2 * (part % 4), four = 4 * (part % 2);
        if constexpr (FORMAT == Q2_K) {
            group.scale = half_at(block + 80) * (block[of] & 15);
            group.offset = -(half_at(block + 82) * (block[of] >> 4));
            for (int i = 0; i < GROUP; i++) codes[i] = block[16 + part / 4 * 32 + from + i] >> two & 3;
        } else if constexpr (FORMAT == Q3_K) {
            const u8* packed = block + 96;
            int scale = (packed[of % 8] >> (of / 8 * 4) & 15) | (packed[8 + of % 4] >> (of / 4 * 2) & 3) << 4;
            group.scale = half_at(block + 108) * (scale - 32);
            for (int i = 0; i < GROUP; i++) {
                int low = block[32 + part / 4 * 32 + from + i] >> two & 3, high = block[from + i] >> part & 1;
                codes[i] = low + 4 * high - 4;
            }
        } else if constexpr (FORMAT == Q6_K) {
            group.scale = half_at(block + 208) * i8(block[192 + of]);
            for (int i = 0; i < GROUP; i++) {
                int low = block[part / 4 * 64 + part % 2 * 32 + from + i] >> (part % 4 / 2 * 4) & 15;
                codes[i] = (low | (block[128 + part / 4 * 32 + from + i] >> two & 3) << 4) - 32;
            }
        } else {
            constexpr int low_at = FORMAT == Q5_K ? 48 : 16;
            scale_of_32(group, block, block + 4, part);
            for (int i = 0; i < GROUP; i++) {
                codes[i] = block[low_at + part / 2 * 32 + from + i] >> four & 15;
                if (FORMAT == Q5_K) codes[i] |= (block[16 + from + i] >> part & 1) << 4;
            }
        }
    }
    return group;
}

// The rows that `ids` name, or the first ones if null, as numbers: (count, columns). Ids are in range.
KERNEL(256) dequantize(T* out, const u8* matrix, const i64* ids, i64 count, int columns, i64 row_bytes) {
    int groups = (columns + GROUP - 1) / GROUP;
    for (i64 i = first_element(); i < count * groups; i += element_step()) {
        i64 row = i / groups;
        int index = int(i % groups);
        Group group = unpack(matrix + (ids ? ids[row] : row) * row_bytes, index, columns);
        T* to = out + row * columns + index * GROUP;
        for (int k = 0; k < GROUP && index * GROUP + k < columns; k++) to[k] = narrow<T>(group.scale * group.codes[k] + group.offset);
    }
}

// out (vectors, rows) = x (vectors, columns) matrixᵀ + bias: a warp for each row and VECTORS vectors. What the offset is multiplied with is the
// sum of the same elements.
KERNEL(128) gemv(T* out, const T* x, const u8* matrix, const T* bias, i64 rows, int columns, i64 row_bytes, int vectors) {
    int groups = (columns + GROUP - 1) / GROUP;
    for (i64 row = first_row(); row < rows; row += row_step()) {
        for (int first = blockIdx.y * VECTORS; first < vectors; first += gridDim.y * VECTORS) {
            float sums[VECTORS] = {};
            for (int index = threadIdx.x; index < groups; index += WARP) {
                Group group = unpack(matrix + row * row_bytes, index, columns);
#pragma unroll
                for (int n = 0; n < VECTORS; n++) {
                    if (first + n >= vectors) break;
                    const T* from = x + i64(first + n) * columns + index * GROUP;
                    float product = 0, plain = 0;
                    for (int i = 0; i < GROUP; i++) {
                        float value = FORMAT != INT8 || index * GROUP + i < columns ? widen(from[i]) : 0;
                        product += group.codes[i] * value;
                        plain += value;
                    }
                    sums[n] += group.scale * product + group.offset * plain;
                }
            }
#pragma unroll
            for (int n = 0; n < VECTORS; n++) {
                float sum = reduce_warp<Sum>(sums[n]);
                if (threadIdx.x == 0 && first + n < vectors) {
                    out[(first + n) * rows + row] = narrow<T>(bias ? sum + widen(bias[row]) : sum);
                }
            }
        }
    }
}
