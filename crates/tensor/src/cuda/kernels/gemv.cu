// Linear layers of up to four rows, with the norm in front of them and what becomes of their sums: there is little to compute beside reading the
// matrix, which is read once, as fast as memory gives it. -DT: the type of rows and matrix; -DOUT: that of the result, and of what is added to it;
// -DVECTORS: how many rows there are, here called vectors.
#include "early.cuh"
#include "functions.cuh"
#include "numbers.cuh"

// What a lane reads at once.
using Piece = Pack<u32, 4>;
constexpr int ELEMENTS = sizeof(Piece) / sizeof(T);
// Pieces of the matrix that a lane asks for before it uses the first: for memory to be busy while it waits.
constexpr int ASKED = 8;

DEVICE float element(const Piece& piece, int i) {
    if constexpr (sizeof(T) == 4) return __uint_as_float(piece.at[i]);
    else {
        u32 word = piece.at[i / 2];
        // The upper half of a float32 is a bfloat16.
        if constexpr (SAME<T, bf16>) return __uint_as_float(i % 2 ? word & 0xffff0000 : word << 16);
        else return widen(f16_of_bits(u16(i % 2 ? word >> 16 : word)));
    }
}

// Where a piece is, if there is one.
struct Spot {
    const T* at;
    bool is_there;
};

// Zeros for what is not there.
DEVICE Piece piece_at(Spot spot) {
    Piece piece = {};
    if (spot.is_there) piece = *reinterpret_cast<const Piece*>(spot.at);
    return piece;
}

// Asks for a piece that is not needed yet.
DEVICE void ask_early(Spot spot) {
    if (spot.is_there) prefetch(spot.at);
}

enum NormKind : i32 { NONE, LAYER, RMS };

// What vectors go through first. Weights and biases are T, or float if `is_wide`; biases may be null.
struct Norm {
    const void *weight, *bias;
    NormKind kind;
    int is_wide;
    float eps;

    DEVICE void fetch(float (&to)[ELEMENTS], const void* from, int at) const {
        if (is_wide) {
            auto wide = reinterpret_cast<float(*)[EACH]>(to);
            for (int i = 0; i < ELEMENTS; i += EACH) read(wide[i / EACH], static_cast<const float*>(from) + at + i);
        } else read(to, static_cast<const T*>(from) + at);
    }
};

// The vectors, as the norm leaves them, in the shared memory of a block: all of its threads take part, and wait for one another before they read.
DEVICE void bring(T* to, const T* x, i64 apart, Norm norm, int depth) {
    int own = threadIdx.x * ELEMENTS, step = blockDim.x * ELEMENTS;
    for (int n = 0; n < VECTORS; n++, x += apart, to += depth) {
        float total = 0, square = 0, weight[ELEMENTS], bias[ELEMENTS] = {};
        auto parameters = [&](int at) {
            norm.fetch(weight, norm.weight, at);
            if (norm.bias) norm.fetch(bias, norm.bias, at);
        };
        // Most threads have one piece. What it is scaled with is asked for before they know what it is divided by.
        if (norm.kind != NONE && own < depth) parameters(own);
        for (int at = own; at < depth; at += step) {
            Piece piece = *reinterpret_cast<const Piece*>(x + at);
            for (int i = 0; i < ELEMENTS; i++) total += element(piece, i);
            *reinterpret_cast<Piece*>(to + at) = piece;
        }
        if (norm.kind == NONE) continue;
        float mean = norm.kind == LAYER ? reduce_row<Sum>(total) / depth : 0, values[ELEMENTS];
        // Each thread reads back only what it wrote itself.
        for (int at = own; at < depth; at += step) {
            read(values, to + at);
            for (float value : values) square += (value - mean) * (value - mean);
        }
        float inverse = 1 / sqrtf(reduce_row<Sum>(square) / depth + norm.eps);
        for (int at = own; at < depth; at += step) {
            if (at != own) parameters(at);
            read(values, to + at);
            for (int i = 0; i < ELEMENTS; i++) values[i] = (values[i] - mean) * inverse * weight[i] + bias[i];
            write(to + at, values);
        }
    }
}

// Rows of the matrix that a warp has together, a unit: what is read of several vectors serves as many, and a gate is beside what it is for.
constexpr int TOGETHER = VECTORS <= 2 ? 2 : 4, AHEAD = ASKED / TOGETHER;
constexpr int SUMS = TOGETHER * VECTORS, WARPS = MOST_WARPS;
// Blocks that a processor has registers for: two, as the host launches them, and of one vector a third, which the next kernel has waiting.
constexpr int BLOCKS = VECTORS == 1 ? 3 : 2;

// A matrix as it is read by rows. Each unit is that of `shares` warps, which have other pieces of it. If it is gated, the first half of the rows are gates
// of the second.
struct Units {
    const T* matrix;
    i64 apart, rows;
    int pieces, shares, is_gated;

    // The first unit of this warp, and its first piece of each.
    DEVICE i64 first() const { return i64(blockIdx.x) * (WARPS / shares) + threadIdx.x / WARP / shares; }
    DEVICE int start() const { return threadIdx.x / WARP % shares * (AHEAD * WARP); }
    DEVICE i64 results() const { return is_gated ? rows / 2 : rows; }
    // Row `r` of a unit.
    DEVICE i64 row(i64 unit, int r) const { return is_gated ? unit * (TOGETHER / 2) + r / 2 + r % 2 * results() : unit * TOGETHER + r; }
    // What this lane has of it among the `i`-th pieces from `from` on.
    DEVICE Spot spot(i64 unit, int r, int from, int i) const {
        i64 row = this->row(unit, r);
        int at = from + i * WARP + threadIdx.x % WARP;
        return {matrix + row * apart + at * ELEMENTS, row < rows && at < pieces};
    }
    DEVICE void prefetch() const {
#pragma unroll
        for (int i = 0; i < ASKED; i++) ask_early(spot(first(), i % TOGETHER, start(), i / TOGETHER));
    }
};

// out (VECTORS, rows) = function(norm(x) (VECTORS, depth) matrixᵀ + bias + add): a bias for each column, and what is laid out as the result is, which
// may be the result. Both may be null. If it is gated, the first half of the sums are gates of the second, half as many results: function(gate) up. What
// is `apart` are rows; those of both factors are whole pieces. So many warps, `shares`, have the same rows.
KERNEL(WARPS * WARP, BLOCKS) gemv(OUT* out, i64 out_apart, const T* x, i64 x_apart, Norm norm, const T* matrix, i64 apart, const OUT* bias, const OUT* add,
                                  int function, i64 rows, int depth, int shares, int is_gated) {
    Units all = come_early(Units{matrix, apart, rows, depth / ELEMENTS, shares, is_gated});
    DYNAMIC_SHARED(memory);
    T* vectors = reinterpret_cast<T*>(memory);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, share = warp % shares, groups = WARPS / shares;
    i64 units = ceil_div(rows, TOGETHER), step = i64(gridDim.x) * groups;
    int start = all.start(), stride = shares * (AHEAD * WARP), pieces = all.pieces;

    // What is asked for is carried around the loops: else the compiler puts each reading before its use, and memory waits.
    Piece asked[AHEAD][TOGETHER];
    auto ask = [&](i64 unit, int from, int i) {
#pragma unroll
        for (int r = 0; r < TOGETHER; r++) asked[i][r] = piece_at(all.spot(unit, r, from, i));
    };
#pragma unroll
    for (int i = 0; i < AHEAD; i++) ask(all.first(), start, i);
    bring(vectors, x, x_apart, norm, depth);
    __syncthreads();

    for (i64 first = i64(blockIdx.x) * groups; first < units; first += step) {
        i64 unit = first + warp / shares;
        // In the end, each sum is a lane's.
        i64 row = all.row(unit, lane / VECTORS), at = lane % VECTORS * out_apart + row;
        bool has_sum = share == 0 && lane < SUMS && row < rows, has_result = has_sum && row < all.results();
        // Asked for now, so that nobody waits for them when the sums are there.
        OUT of_bias = narrow<OUT>(0), of_add = narrow<OUT>(0);
        if (has_sum && bias) of_bias = bias[row];
        if (has_result && add) of_add = add[at];
        float sums[SUMS] = {};
        for (int from = start; from < pieces; from += stride) {
            bool is_last = from + stride >= pieces;
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                int piece = from + i * WARP + lane;
#pragma unroll
                for (int n = 0; n < VECTORS; n++) {
                    Piece of_x = piece_at({vectors + n * depth + piece * ELEMENTS, piece < pieces});
#pragma unroll
                    for (int r = 0; r < TOGETHER; r++) {
                        float product = 0;
#pragma unroll
                        for (int k = 0; k < ELEMENTS; k++) product += element(asked[i][r], k) * element(of_x, k);
                        sums[r * VECTORS + n] += product;
                    }
                }
                // The next rows are on their way while these are summed up.
                ask(is_last ? unit + step : unit, is_last ? start : from + stride, i);
            }
        }
        float own = sum_of_lane(sums, shares) + widen(of_bias) + widen(of_add);
        float up = shuffle(own, lane + VECTORS), result = activate(function, own);
        if (has_result) out[at] = narrow<OUT>(is_gated ? result * up : result);
    }
}

// Warps of a block, and the most lanes that read neighbours, of the other kernel.
constexpr int TALL = 16, MOST_ACROSS = 4;

// A matrix as it is read by columns: so many lanes, `across`, read neighbours, and all others of a block other rows.
struct Columns {
    const T* matrix;
    i64 apart, columns;
    int depth, across;

    DEVICE int width() const { return across * ELEMENTS; }
    // The first row of this lane, and how far its others are from one another.
    DEVICE int start() const { return threadIdx.x / across; }
    DEVICE int down() const { return TALL * WARP / across; }
    // What this lane has of a row, of the columns from `first` on.
    DEVICE Spot spot(i64 first, int row) const {
        i64 column = first + threadIdx.x % WARP % across * ELEMENTS;
        return {matrix + row * apart + column, row < depth && column < columns};
    }
    DEVICE void prefetch() const {
#pragma unroll
        for (int i = 0; i < ASKED; i++) ask_early(spot(i64(blockIdx.x) * width(), start() + i * down()));
    }
};

// The same without gates for a matrix (depth, columns), whose columns are whole pieces.
KERNEL(TALL * WARP) gemv_turned(OUT* out, i64 out_apart, const T* x, i64 x_apart, Norm norm, const T* matrix, i64 apart, const OUT* bias,
                                const OUT* add, int function, i64 columns, int depth, int across) {
    Columns all = come_early(Columns{matrix, apart, columns, depth, across});
    constexpr int MOST_COLUMNS = MOST_ACROSS * ELEMENTS;
    DYNAMIC_SHARED(memory);
    __shared__ float of_warp[TALL][VECTORS][MOST_COLUMNS];
    T* vectors = reinterpret_cast<T*>(memory);
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, width = all.width(), start = all.start(), down = all.down();
    bool is_brought = false;
    for (i64 first = i64(blockIdx.x) * width; first < columns; first += i64(gridDim.x) * width) {
        Piece asked[ASKED];
        auto ask = [&](int i, int row) { asked[i] = piece_at(all.spot(first, row)); };
#pragma unroll
        for (int i = 0; i < ASKED; i++) ask(i, start + i * down);
        if (!is_brought) bring(vectors, x, x_apart, norm, depth);
        is_brought = true;
        __syncthreads();

        float sums[VECTORS][ELEMENTS] = {};
        for (int from = start; from < depth; from += ASKED * down) {
#pragma unroll
            for (int i = 0; i < ASKED; i++) {
                int row = from + i * down;
#pragma unroll
                for (int n = 0; n < VECTORS; n++) {
                    float factor = row < depth ? widen(vectors[n * depth + row]) : 0;
#pragma unroll
                    for (int k = 0; k < ELEMENTS; k++) sums[n][k] += element(asked[i], k) * factor;
                }
                ask(i, row + ASKED * down);
            }
        }
#pragma unroll
        for (int n = 0; n < VECTORS; n++) {
#pragma unroll
            for (int k = 0; k < ELEMENTS; k++) {
                float sum = sums[n][k];
                for (int apart = WARP / 2; apart >= across; apart /= 2) sum += shuffle_xor(sum, apart);
                if (lane < across) of_warp[warp][n][lane * ELEMENTS + k] = sum;
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < VECTORS * width; i += blockDim.x) {
            int n = i / width, k = i % width;
            if (first + k >= columns) continue;
            i64 at = n * out_apart + first + k;
            float sum = 0;
            for (int other = 0; other < TALL; other++) sum += of_warp[other][n][k];
            if (bias) sum += widen(bias[first + k]);
            if (add) sum += widen(add[at]);
            out[at] = narrow<OUT>(activate(function, sum));
        }
    }
}
