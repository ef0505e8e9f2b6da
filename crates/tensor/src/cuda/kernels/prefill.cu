// Attention of many rows (Dao et al. 2022): tiles of keys pass by a tile of rows, whose softmax is kept up to date on the way, so that scores
// never leave the block. -DT: the type of queries and of the result, from which products are computed; -DKEPT: how keys and values are kept;
// -DHEAD_DIM and -DVALUE_DIM: the elements of a head of keys and of values; -DWARPS: warps of a block, 16 rows each.
#include "attention.cuh"
#include "matrix.cuh"

constexpr int ROWS = WARPS * TILE, KEYS = 32;
// Whole tiles, and rows that begin in different banks.
constexpr int DEEP = (HEAD_DIM + TILE - 1) / TILE * TILE, WIDE = (VALUE_DIM + TILE - 1) / TILE * TILE;
constexpr int KEY_APART = DEEP + 8, VALUE_APART = WIDE + 8;

// `count` rows of `dim` elements from row `first` on, in shared memory as T, with zeros beyond.
template <typename Kept, int DIM, int APART>
DEVICE void fetch(T* to, const void* from, i64 row_stride, i64 offset, i64 first, i64 count, int rows) {
    constexpr int WHOLE = APART - 8, TOGETHER = 8;
    for (int i = threadIdx.x; i < rows * (WHOLE / TOGETHER); i += blockDim.x) {
        int row = i / (WHOLE / TOGETHER), d = i % (WHOLE / TOGETHER) * TOGETHER;
        float some[TOGETHER] = {};
        if (row < count) {
            Head<Kept> head(from, (first + row) * row_stride + offset);
            if (d + TOGETHER <= DIM) head.take(some, d);
            else {
                for (int k = 0; k < TOGETHER && d + k < DIM; k++) some[k] = head[d + k];
            }
        }
        write(to + row * APART + d, some);
    }
}

// Block (x, y, z): rows from x ROWS on of head y of sequence z. The context (rows, heads, VALUE_DIM) is contiguous. `log_sum` (rows, heads), the
// logarithm of each row's sum, is for whoever needs the probabilities again; may be null.
KERNEL(WARPS * WARP) prefill(T* out, float* log_sum, const T* query, const void* key, const void* value, const Sequence* sequences,
                             const Bias* biases, Attention attention) {
    DYNAMIC_SHARED(memory);
    T* queries = reinterpret_cast<T*>(memory);
    T* tile = queries + ROWS * KEY_APART;
    float* scores = reinterpret_cast<float*>(tile + KEYS * (KEY_APART > VALUE_APART ? KEY_APART : VALUE_APART));
    // Weights take the place of scores of their own size.
    T* weights = sizeof(T) == 4 ? reinterpret_cast<T*>(scores) : reinterpret_cast<T*>(scores + ROWS * KEYS);
    __shared__ float factors[ROWS];

    Sequence s = sequences[blockIdx.z];
    i64 first = i64(blockIdx.x) * ROWS, head = blockIdx.y, heads = gridDim.y;
    if (first >= s.rows) return;
    const Bias* bias = biases ? biases + blockIdx.z : nullptr;
    i64 count = least(s.rows - first, i64(ROWS)), kv_head = head / attention.group;
    fetch<T, HEAD_DIM, KEY_APART>(queries, query, attention.query_row, head * attention.query_head, s.start + first, count, ROWS);

    // A lane keeps the softmax of half a row: every second lane the other half.
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, own = warp * TILE + lane / 2, half = lane % 2 * (KEYS / 2);
    i64 row = first + own;
    Range sees = own < count ? visible(attention, s, row) : Range{0, 0};
    float max = -INFINITY, sum = 0;
    Sums<T> context[WIDE / TILE];
    for (auto& part : context) part.clear();

    Sums<T>::Rows rows(scores + warp * TILE * KEYS, KEYS);

    // Neither end of what rows see falls from row to row.
    i64 to = visible(attention, s, first + count - 1).to;
    for (i64 at = visible(attention, s, first).from; at < to; at += KEYS) {
        __syncthreads();
        fetch<KEPT, HEAD_DIM, KEY_APART>(tile, key, attention.key_row, kv_head * attention.key_head, s.key_start + at, to - at, KEYS);
        __syncthreads();
        Sums<T> products[KEYS / TILE];
        for (auto& product : products) product.clear();
        // All at once of a long head would want more registers than there are.
#pragma unroll 4
        for (int d = 0; d < DEEP; d += TILE) {
            Sums<T>::Left left(queries + warp * TILE * KEY_APART + d, KEY_APART);
#pragma unroll
            for (int n = 0; n < KEYS / TILE; n++) products[n].add<true>(left, tile + n * TILE * KEY_APART + d, KEY_APART);
        }
#pragma unroll
        for (int n = 0; n < KEYS / TILE; n++) products[n].store(scores + warp * TILE * KEYS + n * TILE, KEYS);
        sync_warp();

        float mine[KEYS / 2], high = max;
        for (int i = 0; i < KEYS / 2; i++) {
            i64 k = at + half + i;
            bool is_seen = k >= sees.from && k < sees.to;
            mine[i] = is_seen ? score(attention, bias, scores[own * KEYS + half + i], head, row, k) : -INFINITY;
            high = Max::join(high, mine[i]);
        }
        high = Max::join(high, shuffle_xor(high, 1));
        float base = base_of(high), more = 0, factor = expf(max - base);
        for (int i = 0; i < KEYS / 2; i++) {
            float weight = expf(mine[i] - base);
            more += weight;
            weights[own * KEYS + half + i] = narrow<T>(weight);
        }
        sum = sum * factor + more + shuffle_xor(more, 1);
        max = high;
        if (lane % 2 == 0) factors[own] = factor;
        // Keys make room for values.
        __syncthreads();
        fetch<KEPT, VALUE_DIM, VALUE_APART>(tile, value, attention.value_row, kv_head * attention.value_head, s.key_start + at, to - at, KEYS);
        __syncthreads();
        // What is not unrolled has its sums in memory.
#pragma unroll
        for (int n = 0; n < WIDE / TILE; n++) context[n].scale_rows(rows, factors + warp * TILE);
#pragma unroll
        for (int k = 0; k < KEYS; k += TILE) {
            Sums<T>::Left left(weights + warp * TILE * KEYS + k, KEYS);
#pragma unroll
            for (int n = 0; n < WIDE / TILE; n++) context[n].add<false>(left, tile + k * VALUE_APART + n * TILE, VALUE_APART);
        }
    }

    // Through shared memory, for a lane to know its row.
    float scale = sum == 0 ? 0 : 1 / sum;
#pragma unroll
    for (int n = 0; n < WIDE / TILE; n++) {
        sync_warp();
        context[n].store(scores + warp * TILE * KEYS, KEYS);
        sync_warp();
        for (int i = 0; i < TILE / 2; i++) {
            int d = n * TILE + lane % 2 * (TILE / 2) + i;
            float x = scores[own * KEYS + lane % 2 * (TILE / 2) + i];
            if (own < count && d < VALUE_DIM) out[((s.start + row) * heads + head) * VALUE_DIM + d] = narrow<T>(x * scale);
        }
    }
    if (log_sum && own < count && lane % 2 == 0) log_sum[(s.start + row) * heads + head] = sum == 0 ? -INFINITY : base_of(max) + logf(sum);
}
