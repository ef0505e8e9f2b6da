// Products of matrices that the library has none for: of whole numbers, and of floats that lie or are stored as none of its algorithms takes
// them. They are right, and slow.
#include "functions.cuh"
#include "numbers.cuh"

constexpr int SIDE = 16;

// From one row to the next, and from one column to the next.
struct Strides {
    i64 row, column;
};

// out = a b of whole numbers, batch by batch: (rows, depth) by (depth, columns). They wrap, so those with signs are those without. A block has a
// square of the result at a time.
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

// Where matrices lie: elements from one to the next, and their type.
struct Matrices {
    void* at;
    i64 dtype;
    Strides by;
    i64 apart;
};

// out = function(left right + bias + add) for each of `count` matrices: a bias for each column, and what is laid out as the result is. Both may be
// null.
template <typename C>
DEVICE void multiply_floats(Matrices out, Matrices left, Matrices right, const void* bias, const void* add, int function, i64 rows, i64 depth, i64 columns,
                            i64 count) {
    __shared__ C of_left[SIDE][SIDE + 1], of_right[SIDE][SIDE + 1];
    int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE, dtype = int(out.dtype);
    i64 down = ceil_div(rows, SIDE), across = ceil_div(columns, SIDE);
    for (i64 square = blockIdx.x; square < count * down * across; square += gridDim.x) {
        i64 index = square / (down * across), row = square / across % down * SIDE + y, column = square % across * SIDE + x;
        i64 from_left = index * left.apart + row * left.by.row, from_right = index * right.apart + column * right.by.column;
        C sum = 0;
        for (i64 from = 0; from < depth; from += SIDE) {
            bool has_left = row < rows && from + x < depth, has_right = from + y < depth && column < columns;
            of_left[y][x] = has_left ? load<C>(left.at, int(left.dtype), from_left + (from + x) * left.by.column) : C(0);
            of_right[y][x] = has_right ? load<C>(right.at, int(right.dtype), from_right + (from + y) * right.by.row) : C(0);
            __syncthreads();
            for (int i = 0; i < SIDE; i++) sum += of_left[y][i] * of_right[i][x];
            __syncthreads();
        }
        if (row >= rows || column >= columns) continue;
        i64 at = index * out.apart + row * out.by.row + column * out.by.column;
        if (bias) sum += load<C>(bias, dtype, column);
        if (add) sum += load<C>(add, dtype, at);
        store(out.at, dtype, at, function == RELU ? relu(sum) : function == GELU_TANH ? gelu_tanh(sum) : sum);
    }
}

KERNEL(256) multiply_single(Matrices out, Matrices left, Matrices right, const void* bias, const void* add, int function, i64 rows, i64 depth,
                            i64 columns, i64 count) {
    multiply_floats<float>(out, left, right, bias, add, function, rows, depth, columns, count);
}

KERNEL(256) multiply_double(Matrices out, Matrices left, Matrices right, const void* bias, const void* add, int function, i64 rows, i64 depth,
                            i64 columns, i64 count) {
    multiply_floats<double>(out, left, right, bias, add, function, rows, depth, columns, count);
}
