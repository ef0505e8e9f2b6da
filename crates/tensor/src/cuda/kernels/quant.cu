// Matrices in blocks: expanded, and multiplied with few vectors as they are stored. -DT: the type of activations; -DFORMAT: how rows are stored;
// -DVECTORS: how many vectors share one reading of the matrix.
#include "blocks.cuh"
#include "early.cuh"
#include "functions.cuh"

// Activations that a thread reads and writes at once: 16 bytes.
constexpr int AT_ONCE = 16 / sizeof(T), PIECES = GROUP / AT_ONCE;

// The rows that `ids` name, or the first ones if null, as numbers: (count, columns). Ids are in range.
KERNEL(256) dequantize(T* out, const u8* __restrict__ matrix, const i64* ids, i64 count, int columns, i64 row_bytes) {
    int units = (columns + UNIT - 1) / UNIT;
    for (i64 i = first_element(); i < count * units; i += element_step()) {
        i64 row = i / units;
        int unit = int(i % units);
        Stored stored;
        stored.ask(matrix + (ids ? ids[row] : row) * row_bytes, unit, row_bytes);
#pragma unroll
        for (int which = 0; which < 2; which++) {
            Group group = stored.group(unit, which);
            int column = column_of(unit) + which * GAP;
            T* to = out + row * columns + column;
            // Rows of INT8 end anywhere.
            bool is_whole = FORMAT != INT8 || (column + GROUP <= columns && is_packed<AT_ONCE>(to));
#pragma unroll
            for (int k = 0; k < GROUP; k += AT_ONCE) {
                float values[AT_ONCE];
#pragma unroll
                for (int i = 0; i < AT_ONCE; i++) values[i] = group.scale * group.code(k + i) + group.offset;
                if (is_whole) write(to + k, values);
                else {
#pragma unroll
                    for (int i = 0; i < AT_ONCE; i++) {
                        if (column + k + i < columns) to[k + i] = narrow<T>(values[i]);
                    }
                }
            }
        }
    }
}

// Rows of the matrix that a warp has together, to read and widen vectors once for all of them.
constexpr int TOGETHER = VECTORS == 1 ? 4 : 2;
constexpr int SUMS = TOGETHER * VECTORS;

// out (vectors, rows) = function(x (vectors, columns) matrixᵀ + bias + add), as in gemv.cu. Rows of x are whole units, zeros behind the columns.
KERNEL(32 * MOST_WARPS) gemv(T* out, i64 out_apart, const T* x, const u8* matrix, const T* bias, const T* add, int function, i64 rows, int columns,
                             i64 row_bytes, int vectors) {
    come_early();
    int lane = threadIdx.x, units = (columns + UNIT - 1) / UNIT, step = blockDim.y * WARP;
    i64 of_block = blockDim.z * TOGETHER;
    for (i64 from = blockIdx.x * of_block; from < rows; from += gridDim.x * of_block) {
        for (int first = blockIdx.y * VECTORS; first < vectors; first += gridDim.y * VECTORS) {
            i64 row = from + threadIdx.z * TOGETHER, column = row + lane / VECTORS;
            int vector = first + lane % VECTORS;
            bool is_own = threadIdx.y == 0 && lane < SUMS && column < rows && vector < vectors;
            i64 at = vector * out_apart + column;
            T of_bias = narrow<T>(0), of_add = narrow<T>(0);
            if (is_own && bias) of_bias = bias[column];
            if (is_own && add) of_add = add[at];

            // The next unit of a row is asked for when the last one is taken apart, so that memory has always as many to bring as there are rows.
            const u8* of_row[TOGETHER];
            Stored stored[TOGETHER];
#pragma unroll
            for (int r = 0; r < TOGETHER; r++) of_row[r] = matrix + least(row + r, rows - 1) * row_bytes;
            auto ask = [&](int r, int unit) { stored[r].ask(of_row[r], least(unit, units - 1), row_bytes); };
            int unit = threadIdx.y * WARP + lane;
#pragma unroll
            for (int r = 0; r < TOGETHER; r++) ask(r, unit);
            float sums[SUMS] = {};
            for (; unit < units; unit += step) {
#pragma unroll
                for (int which = 0; which < 2; which++) {
                    float values[VECTORS][PIECES][AT_ONCE], plain[VECTORS] = {};
#pragma unroll
                    for (int n = 0; n < VECTORS; n++) {
                        const T* of_x = x + i64(least(first + n, vectors - 1)) * units * UNIT + column_of(unit) + which * GAP;
#pragma unroll
                        for (int k = 0; k < PIECES; k++) {
                            read(values[n][k], of_x + k * AT_ONCE);
                            for (float value : values[n][k]) plain[n] += value;
                        }
                    }
#pragma unroll
                    for (int r = 0; r < TOGETHER; r++) {
                        Group group = stored[r].group(unit, which);
                        if (which) ask(r, unit + step);
                        float products[VECTORS] = {};
#pragma unroll
                        for (int k = 0; k < GROUP; k++) {
                            float code = group.code(k);
#pragma unroll
                            for (int n = 0; n < VECTORS; n++) products[n] += code * values[n][k / AT_ONCE][k % AT_ONCE];
                        }
#pragma unroll
                        for (int n = 0; n < VECTORS; n++) {
                            sums[r * VECTORS + n] += group.scale * products[n];
                            if (HAS_OFFSET) sums[r * VECTORS + n] += group.offset * plain[n];
                        }
                    }
                }
            }
            float own = sum_of_lane(sums, blockDim.y);
            if (is_own) out[at] = narrow<T>(activate(function, own + widen(of_bias) + widen(of_add)));
        }
    }
}
