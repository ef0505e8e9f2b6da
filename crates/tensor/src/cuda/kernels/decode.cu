// Attention of one row to each sequence, whose keys are split among blocks (Dao et al. 2023): a product with memory that is read once. -DT: the
// type of queries and of the result; -DKEPT: how keys and values are kept; -DHEAD_DIM and -DVALUE_DIM: the elements of a
// head of keys and of values; -DGROUP: query heads of one key head that read it together.
#include "attention.cuh"
#include "early.cuh"

// A key is read by eight lanes, so that a warp has four on their way and sums are three steps.
constexpr int WARPS = 4, SHARERS = 8, AT_ONCE = WARP / SHARERS;
constexpr int DEEP = (HEAD_DIM + SHARERS - 1) / SHARERS, WIDE = (VALUE_DIM + SHARERS - 1) / SHARERS;
// What a part leaves: maximum, sum, and the weighed values.
constexpr int LEFT = VALUE_DIM + 2;

// The softmax of some keys: what is summed is e to the distance from the maximum.
struct Partial {
    float max, sum, values[WIDE];

    DEVICE void merge(float other_max, float other_sum, const float* other) {
        float high = Max::join(max, other_max), base = base_of(high), own = expf(max - base), of_other = expf(other_max - base);
        for (int i = 0; i < WIDE; i++) values[i] = values[i] * own + other[i] * of_other;
        sum = sum * own + other_sum * of_other;
        max = high;
    }
};

// The share of a head of DIM elements that this lane has, with zeros beyond.
template <int DIM, int N> DEVICE void fetch(float (&to)[N], const Head<KEPT>& head, int sharer) {
    if constexpr (DIM == N * SHARERS) {
        head.take(to, sharer * N);
    } else {
        for (int i = 0; i < N; i++) to[i] = sharer * N + i < DIM ? head[sharer * N + i] : 0;
    }
}

// Block (x, y, z): part x of the keys of sequence z, for the y-th GROUP of heads, `chunks` of which have one key head. `parts` is (sequences,
// heads, parts, LEFT); a part that is all goes to `out` (rows, heads, VALUE_DIM) at once.
KERNEL(WARPS * WARP) decode(T* out, float* parts, const T* query, const void* key, const void* value, const Sequence* sequences, const Bias* biases,
                            Attention attention, int chunks) {
    come_early();
    __shared__ float left[WARPS][GROUP][LEFT];
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, sharer = lane % SHARERS;
    i64 kv_head = blockIdx.y / chunks, within = blockIdx.y % chunks * GROUP, first = kv_head * attention.group + within;
    i64 heads = gridDim.y / chunks * attention.group, count = least(attention.group - within, i64(GROUP));
    Sequence s = sequences[blockIdx.z];
    const Bias* bias = biases ? biases + blockIdx.z : nullptr;

    float queries[GROUP][DEEP];
    Partial partial[GROUP];
    for (int g = 0; g < GROUP; g++) {
        const T* from = query + s.start * attention.query_row + (first + g) * attention.query_head;
        for (int i = 0; i < DEEP; i++) {
            int d = sharer * DEEP + i;
            queries[g][i] = g < count && d < HEAD_DIM ? widen(from[d]) : 0;
        }
        partial[g].max = -INFINITY, partial[g].sum = 0;
        for (float& x : partial[g].values) x = 0;
    }

    Range sees = visible(attention, s, 0);
    i64 share = ceil_div(sees.to - sees.from, gridDim.x), from = sees.from + blockIdx.x * share, to = least(sees.to, from + share);
    for (i64 at = from + warp * AT_ONCE; at < to; at += WARPS * AT_ONCE) {
        i64 k = at + lane / SHARERS;
        bool is_there = k < to;
        // Beyond the last key lanes read it again, and count it for nothing.
        i64 row = s.key_start + (is_there ? k : to - 1);
        Head<KEPT> keys(key, row * attention.key_row + kv_head * attention.key_head);
        Head<KEPT> values(value, row * attention.value_row + kv_head * attention.value_head);
        float keyed[DEEP], valued[WIDE];
        fetch<HEAD_DIM>(keyed, keys, sharer);
        fetch<VALUE_DIM>(valued, values, sharer);
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float product = 0;
            for (int i = 0; i < DEEP; i++) product += queries[g][i] * keyed[i];
            product = reduce_warp<Sum>(product, SHARERS);
            if (!is_there || g >= count) continue;
            partial[g].merge(score(attention, product) + (bias ? bias->of(first + g, 0, k) : 0), 1, valued);
        }
    }

#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        for (int apart = SHARERS; apart < WARP; apart *= 2) {
            float other[WIDE];
            for (int i = 0; i < WIDE; i++) other[i] = shuffle_xor(partial[g].values[i], apart);
            float max = shuffle_xor(partial[g].max, apart), sum = shuffle_xor(partial[g].sum, apart);
            partial[g].merge(max, sum, other);
        }
        if (lane < SHARERS) {
            for (int i = 0; i < WIDE; i++) {
                if (sharer * WIDE + i < VALUE_DIM) left[warp][g][2 + sharer * WIDE + i] = partial[g].values[i];
            }
            if (lane == 0) left[warp][g][0] = partial[g].max, left[warp][g][1] = partial[g].sum;
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count * VALUE_DIM; i += blockDim.x) {
        int g = i / VALUE_DIM, d = i % VALUE_DIM;
        float max = -INFINITY, sum = 0, x = 0;
        for (int w = 0; w < WARPS; w++) max = Max::join(max, left[w][g][0]);
        for (int w = 0; w < WARPS; w++) {
            float factor = expf(left[w][g][0] - base_of(max));
            sum += factor * left[w][g][1], x += factor * left[w][g][2 + d];
        }
        if (gridDim.x == 1) {
            out[(s.start * heads + first + g) * VALUE_DIM + d] = narrow<T>(sum == 0 ? 0 : x / sum);
            continue;
        }
        float* to_part = parts + ((blockIdx.z * heads + first + g) * gridDim.x + blockIdx.x) * LEFT;
        to_part[2 + d] = x;
        if (d == 0) to_part[0] = max, to_part[1] = sum;
    }
}

// The parts put together: block (x, y) has head x of sequence y.
KERNEL(WARPS * WARP) combine(T* out, const float* parts, const Sequence* sequences, int count) {
    come_early();
    const float* of_head = parts + (i64(blockIdx.y) * gridDim.x + blockIdx.x) * count * LEFT;
    float max = -INFINITY;
    for (int part = 0; part < count; part++) max = Max::join(max, of_head[part * LEFT]);
    for (int d = threadIdx.x; d < VALUE_DIM; d += blockDim.x) {
        float sum = 0, x = 0;
        for (int part = 0; part < count; part++) {
            float factor = expf(of_head[part * LEFT] - base_of(max));
            sum += factor * of_head[part * LEFT + 1], x += factor * of_head[part * LEFT + 2 + d];
        }
        out[(sequences[blockIdx.y].start * gridDim.x + blockIdx.x) * VALUE_DIM + d] = narrow<T>(sum == 0 ? 0 : x / sum);
    }
}
