// Products of matrices of whole numbers, which no matrix unit has in this way. They wrap, so those with signs are those without.
#include "numbers.cuh"

constexpr int SIDE = 16;

// From one row to the next, and from one column to the next.
struct Strides {
    i64 row, column;
};

// out = a b, batch by batch: (rows, depth) by (depth, columns). A block has a square of the result at a time.
KERNEL(256) multiply(void* out, int dtype, const void* a, Strides a_strides, const void* b, Strides b_strides, i64 rows, i64 depth, i64 columns,
                     Walk<2> batch) {
    __shared__ u64 left[SIDE][SIDE + 1], right[SIDE][SIDE + 1];
    int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
    i64 down = ceil_div(rows, SIDE), across = ceil_div(columns, SIDE);
    for (i64 square = blockIdx.x; square < batch.count * down * across; square += gridDim.x) {
        i64 index = square / (down * across), at[2];
        batch.locate(index, at);
        i64 row = square / across % down * SIDE + y, column = square % across * SIDE + x;
        u64 sum = 0;
        for (i64 from = 0; from < depth; from += SIDE) {
            i64 of_left = from + x, of_right = from + y;
            bool has_left = row < rows && of_left < depth, has_right = of_right < depth && column < columns;
            left[y][x] = has_left ? load<u64>(a, dtype, at[0] + row * a_strides.row + of_left * a_strides.column) : 0;
            right[y][x] = has_right ? load<u64>(b, dtype, at[1] + of_right * b_strides.row + column * b_strides.column) : 0;
            __syncthreads();
            for (int i = 0; i < SIDE; i++) sum += left[y][i] * right[i][x];
            __syncthreads();
        }
        if (row < rows && column < columns) store(out, dtype, (index * rows + row) * columns + column, sum);
    }
}
