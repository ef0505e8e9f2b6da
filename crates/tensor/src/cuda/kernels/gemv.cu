// Products of up to four vectors with a matrix of floats, whose rows are read once, as fast as memory gives them: there is little to compute beside.
// -DT: the type of both factors; -DOUT: that of the result, and of what is added to it; -DVECTORS: how many there are.
#include "functions.cuh"
#include "numbers.cuh"

// What a lane reads at once.
using Piece = Pack<u32, 4>;
constexpr int ELEMENTS = sizeof(Piece) / sizeof(T);
// Rows of the matrix that a warp has together: what is read of several vectors serves as many.
constexpr int TOGETHER = VECTORS == 3 ? 4 : VECTORS;
// Pieces of a row that a lane asks for before it uses the first: eight in all, for memory to be busy while it waits.
constexpr int AHEAD = 8 / TOGETHER;
constexpr int SUMS = TOGETHER * VECTORS;

DEVICE float element(const Piece& piece, int i) {
    if constexpr (sizeof(T) == 4) return __uint_as_float(piece.at[i]);
    else {
        u32 word = piece.at[i / 2];
        // The upper half of a float32 is a bfloat16.
        if constexpr (SAME<T, bf16>) return __uint_as_float(i % 2 ? word & 0xffff0000 : word << 16);
        else return widen(f16_of_bits(u16(i % 2 ? word >> 16 : word)));
    }
}

// Zeros behind the end of a row.
DEVICE Piece piece_of(const T* row, int index, int pieces) {
    Piece piece = {};
    if (index < pieces) piece = reinterpret_cast<const Piece*>(row)[index];
    return piece;
}

// out (VECTORS, rows) = function(x (VECTORS, depth) matrixᵀ + bias + add): a bias for each column, and what is laid out as the result is, which may
// be the result. Both may be null. What is `apart` are rows; those of both factors are whole pieces. The warps of a block have different rows in z, and
// shares of the same ones in y.
KERNEL(32 * MOST_WARPS) gemv(OUT* out, i64 out_apart, const T* __restrict__ x, i64 x_apart, const T* __restrict__ matrix, i64 apart, const OUT* bias,
                             const OUT* add, int function, i64 rows, int depth) {
    int lane = threadIdx.x, pieces = depth / ELEMENTS;
    i64 of_block = blockDim.z * TOGETHER;
    for (i64 first = blockIdx.x * of_block; first < rows; first += gridDim.x * of_block) {
        i64 row = first + threadIdx.z * TOGETHER;
        // In the end, each sum is a lane's.
        i64 column = row + lane / VECTORS, at = lane % VECTORS * out_apart + column;
        bool is_own = threadIdx.y == 0 && lane < SUMS && column < rows;
        // Asked for now, so that nobody waits for them when the sums are there.
        OUT of_bias = narrow<OUT>(0), of_add = narrow<OUT>(0);
        if (is_own && bias) of_bias = bias[column];
        if (is_own && add) of_add = add[at];

        // What is asked for is carried around the loop: else the compiler puts each reading before its use, and memory waits.
        Piece of_matrix[AHEAD][TOGETHER], of_x[AHEAD][VECTORS];
        auto ask = [&](int i, int from) {
#pragma unroll
            for (int r = 0; r < TOGETHER; r++) of_matrix[i][r] = piece_of(matrix + least(row + r, rows - 1) * apart, from + i * WARP, pieces);
#pragma unroll
            for (int n = 0; n < VECTORS; n++) of_x[i][n] = piece_of(x + n * x_apart, from + i * WARP, pieces);
        };
        int from = threadIdx.y * (AHEAD * WARP) + lane, step = blockDim.y * (AHEAD * WARP);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) ask(i, from);
        float sums[SUMS] = {};
        for (; from < pieces; from += step) {
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
#pragma unroll
                for (int sum = 0; sum < SUMS; sum++) {
                    float product = 0;
#pragma unroll
                    for (int k = 0; k < ELEMENTS; k++) product += element(of_matrix[i][sum / VECTORS], k) * element(of_x[i][sum % VECTORS], k);
                    sums[sum] += product;
                }
                ask(i, from + step);
            }
        }
        float own = sum_of_lane(sums);
        if (is_own) out[at] = narrow<OUT>(activate(function, own + widen(of_bias) + widen(of_add)));
    }
}
