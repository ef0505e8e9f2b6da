// The gradients of attention (Dao 2023): probabilities are worked out again, tile by tile, from the logarithm of each row's sum. One kernel for each of
// query, key and value: every number is summed up by one thread in one order, and is the same from run to run. -DT: the type of everything;
// -DHEAD_DIM and -DVALUE_DIM: the elements of a head of keys and of values; -DWARPS: warps of a block, 16 rows each.
#include "dropped.cuh"
#include "tiles.cuh"

constexpr int ROWS = WARPS * TILE, STEP = 32;
using Keys = Tile<T, HEAD_DIM>;
using Values = Tile<T, VALUE_DIM>;

// What is asked for.
enum Of { QUERY, KEY, VALUE };

// All that is given. The gradient (rows, heads, VALUE_DIM) is contiguous, as are the logarithms and `deltas` (rows, heads): the products of each row of it
// and of the context.
struct Given {
    const T *grad, *query, *key, *value;
    const float *log_sums, *deltas;
    const Sequence* sequences;
    const Bias* biases;
    // Where the gradients of biases (heads, rows, keys) go, zero so far, or null.
    float* const* slopes;
};

// One sequence of it, and how its heads come to shared memory: up to COUNT rows from one on, of which so many are `left`.
struct Part {
    const Given& given;
    const Attention& attention;
    Sequence s;
    int heads, kv_head;

    template <int COUNT> DEVICE void queries(const Keys& to, i64 row, int head, i64 left) const {
        i64 offset = (s.start + row) * attention.query_row + head * attention.query_head;
        fetch<T, COUNT>(to, given.query, attention.query_row, offset, int(least(left, i64(COUNT))));
    }
    template <int COUNT> DEVICE void grads(const Values& to, i64 row, int head, i64 left) const {
        i64 apart = i64(heads) * VALUE_DIM, offset = (s.start + row) * apart + head * VALUE_DIM;
        fetch<T, COUNT>(to, given.grad, apart, offset, int(least(left, i64(COUNT))));
    }
    template <int COUNT> DEVICE void keys(const Keys& to, i64 key, i64 left) const {
        i64 offset = (s.key_start + key) * attention.key_row + kv_head * attention.key_head;
        fetch<T, COUNT>(to, given.key, attention.key_row, offset, int(least(left, i64(COUNT))));
    }
    template <int COUNT> DEVICE void values(const Values& to, i64 key, i64 left) const {
        i64 offset = (s.key_start + key) * attention.value_row + kv_head * attention.value_head;
        fetch<T, COUNT>(to, given.value, attention.value_row, offset, int(least(left, i64(COUNT))));
    }
};

// Probabilities are a square of queries and keys, a block has a tile of one side, and tiles of the other pass by: (x, y) is tile x % tiles of sequence
// x / tiles, head y of queries or of keys. A head of keys adds up what its group says. The result is contiguous.
template <Of OF> DEVICE void gradient(T* out, Given given, Attention attention, Dropped dropped, int tiles) {
    constexpr int DIM = OF == VALUE ? VALUE_DIM : HEAD_DIM;
    constexpr bool OF_ROWS = OF == QUERY;
    DYNAMIC_SHARED(memory);
    // Of either side its part of the scores, and its part of what they are worth.
    Keys own{reinterpret_cast<T*>(memory)}, passing{own.at + ROWS * Keys::APART};
    Values own_worth{passing.at + STEP * Keys::APART}, passing_worth{own_worth.at + ROWS * Values::APART};
    __shared__ float log_sums[STEP], deltas[STEP];

    int number = blockIdx.x / tiles, group = int(attention.group), heads = OF_ROWS ? gridDim.y : gridDim.y * group;
    int kv_head = OF_ROWS ? blockIdx.y / group : blockIdx.y;
    Sequence s = given.sequences[number];
    i64 first = i64(blockIdx.x % tiles) * ROWS, all = OF_ROWS ? s.rows : s.keys;
    if (first >= all) return;
    int count = least(all - first, i64(ROWS)), low = threadIdx.x / WARP * TILE;
    // Row r stands at this key.
    i64 shift = most(s.keys - s.rows, i64(0));
    Part part{given, attention, s, heads, kv_head};

    // What of the other side is seen from here.
    i64 from, to;
    if constexpr (OF_ROWS) {
        from = visible(attention, s, first).from, to = visible(attention, s, first + count - 1).to;
    } else {
        from = most(first - attention.ahead - shift + 1, i64(0)), to = least(first + count + attention.back - shift, s.rows);
    }

    Sums result[1][Tile<T, DIM>::DEEP / 8];
    for (Sums& sums : result[0]) sums = {};
    if constexpr (!OF_ROWS) {
        part.keys<ROWS>(own, first, count);
        if (OF == KEY) part.values<ROWS>(own_worth, first, count);
    }
    float own_log_sum[HALVES], own_delta[HALVES];
    for (int g = 0; g < (OF_ROWS ? 1 : group); g++) {
        int head = OF_ROWS ? blockIdx.y : kv_head * group + g;
        if constexpr (OF_ROWS) {
            part.queries<ROWS>(own, first, head, count);
            part.grads<ROWS>(own_worth, first, head, count);
            for (int r = 0; r < HALVES; r++) {
                i64 row = first + low + r * APART + own_row(), at = (s.start + least(row, s.rows - 1)) * heads + head;
                own_log_sum[r] = given.log_sums[at], own_delta[r] = given.deltas[at];
            }
        }
        for (i64 at = from; at < to; at += STEP) {
            // Everybody is done with what passed by before.
            __syncthreads();
            if constexpr (OF_ROWS) {
                part.keys<STEP>(passing, at, to - at);
                part.values<STEP>(passing_worth, at, to - at);
            } else {
                part.queries<STEP>(passing, at, head, to - at);
                part.grads<STEP>(passing_worth, at, head, to - at);
                for (int i = threadIdx.x; i < STEP; i += THREADS) {
                    i64 row = (s.start + least(at + i, s.rows - 1)) * heads + head;
                    log_sums[i] = given.log_sums[row], deltas[i] = given.deltas[row];
                }
            }
            wait_for_copies();
            __syncthreads();

            Sums scores[1][STEP / 8], worth[1][STEP / 8];
            for (Sums& sums : scores[0]) sums = {};
            for (Sums& sums : worth[0]) sums = {};
            add_products(scores, own, low, passing);
            if constexpr (OF != VALUE) add_products(worth, own_worth, low, passing_worth);
#pragma unroll
            for (int i = 0; i < STEP / 2; i++) {
                int n = i / 4, r = i / 2 % 2, c = i % 2, across = n * 8 + own_column() + c;
                i64 here = first + low + r * APART + own_row(), there = at + across, row = OF_ROWS ? here : there, key = OF_ROWS ? there : here;
                i64 position = row + shift;
                bool sees = row < s.rows && key < s.keys && key >= position - attention.back && key < position + attention.ahead;
                float log_sum = OF_ROWS ? own_log_sum[r] : log_sums[across], delta = OF_ROWS ? own_delta[r] : deltas[across];
                float x = score(attention, scores[0][n](r, c)), steepness = attention.scale;
                if (attention.softcap != 0) steepness *= 1 - x / attention.softcap * (x / attention.softcap);
                if (sees && given.biases) x += given.biases[number].of(head, row, key);
                float p = sees && log_sum != -INFINITY ? expf(x - log_sum) : 0, factor = 1;
                if (sees && dropped.limit != 0) factor = dropped.factor(number, (head * s.rows + row) * s.keys + key);
                // What the softmax gives for a score is what it is worth beside all others.
                float slope = OF == VALUE ? 0 : p * (worth[0][n](r, c) * factor - delta);
                if (OF == QUERY && given.slopes && sees) given.slopes[number][(head * s.rows + row) * s.keys + key] = slope;
                scores[0][n](r, c) = OF == VALUE ? p * factor : slope * steepness;
            }
            if constexpr (OF == VALUE) add_products(result, scores, passing_worth);
            else add_products(result, scores, passing);
        }
    }

#pragma unroll
    for (int i = 0; i < Tile<T, DIM>::DEEP / 2; i++) {
        int n = i / 4, r = i / 2 % 2, c = i % 2, within = low + r * APART + own_row(), d = n * 8 + own_column() + c;
        i64 row = (OF_ROWS ? s.start : s.key_start) + first + within;
        if (within < count && d < DIM) out[(row * gridDim.y + blockIdx.y) * DIM + d] = narrow<T>(result[0][n](r, c));
    }
}

KERNEL(WARPS * WARP) of_query(T* out, Given given, Attention attention, Dropped dropped, int tiles) {
    gradient<QUERY>(out, given, attention, dropped, tiles);
}
KERNEL(WARPS * WARP) of_key(T* out, Given given, Attention attention, Dropped dropped, int tiles) {
    gradient<KEY>(out, given, attention, dropped, tiles);
}
KERNEL(WARPS * WARP) of_value(T* out, Given given, Attention attention, Dropped dropped, int tiles) {
    gradient<VALUE>(out, given, attention, dropped, tiles);
}

// A warp has a row of a head: the products of its gradient and its context.
KERNEL(256) products(float* deltas, const T* grad, const T* context, i64 count) {
    for (i64 i = first_row(); i < count; i += row_step()) {
        float sum = 0;
        for (int d = threadIdx.x; d < VALUE_DIM; d += WARP) sum += widen(grad[i * VALUE_DIM + d]) * widen(context[i * VALUE_DIM + d]);
        sum = reduce_warp<Sum>(sum);
        if (threadIdx.x == 0) deltas[i] = sum;
    }
}
