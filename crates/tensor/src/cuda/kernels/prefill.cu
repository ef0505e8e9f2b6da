// Attention of many rows (Dao 2023): tiles of keys pass by a tile of rows, whose softmax is kept up to date on the way, so that scores never leave
// the registers of the lane that has them. -DT: the type of queries and of the result, from which products are computed; -DKEPT: how keys and values
// are kept; -DHEAD_DIM and -DVALUE_DIM: the elements of a head of keys and of values; -DWARPS: warps of a block; -DTALL: tiles of 16 rows that
// each of them has, for which it reads keys and values once; -DKEYS: keys of a step; -DDROPS: whether weights are dropped.
#include "dropped.cuh"
#include "tiles.cuh"

constexpr int OWN = TALL * TILE, ROWS = WARPS * OWN;
using Keys = Tile<T, HEAD_DIM>;
using Values = Tile<T, VALUE_DIM>;

// Changes each score by its row among those of a warp and its key among those of a step.
template <typename F> DEVICE void of_each(Sums (&scores)[TALL][KEYS / 8], F change) {
#pragma unroll
    for (int i = 0; i < TALL * KEYS / 2; i++) {
        int m = i / (KEYS / 2), n = i / 4 % (KEYS / 8), r = i / 2 % 2, c = i % 2;
        change(scores[m][n](r, c), m * TILE + r * APART + own_row(), n * 8 + own_column() + c);
    }
}

// What a lane knows of the softmax of its rows.
struct Softmax {
    float max[TALL][HALVES], sum[TALL][HALVES];

    // Makes weights of scores, whose products with `unit` are exponents of 2. What has been added up with earlier weights is scaled as they are.
    DEVICE void weigh(Sums (&scores)[TALL][KEYS / 8], Sums (&context)[TALL][Values::DEEP / 8], float unit) {
#pragma unroll
        for (int m = 0; m < TALL; m++) {
#pragma unroll
            for (int r = 0; r < HALVES; r++) {
                float most = max[m][r];
#pragma unroll
                for (Sums& part : scores[m]) most = fmaxf(most, fmaxf(part(r, 0), part(r, 1)));
                for (int apart = 1; apart < 4; apart *= 2) most = fmaxf(most, shuffle_xor(most, apart));
                float base = base_of(most) * unit, factor = power_of_2(max[m][r] * unit - base), more = 0;
#pragma unroll
                for (Sums& part : scores[m]) {
#pragma unroll
                    for (int c = 0; c < 2; c++) {
                        part(r, c) = power_of_2(part(r, c) * unit - base);
                        more += part(r, c);
                    }
                }
                max[m][r] = most;
                sum[m][r] = sum[m][r] * factor + more;
#pragma unroll
                for (Sums& part : context[m]) part(r, 0) *= factor, part(r, 1) *= factor;
            }
        }
    }
};

// Block (x, y): ROWS rows of head y of sequence x / tiles; the last ones, which see most, come first. The context (rows, heads, VALUE_DIM) is
// contiguous. `log_sum` (rows, heads), the logarithm of each row's sum, is for whoever needs the probabilities again; may be null.
KERNEL(WARPS * WARP) prefill(T* out, float* log_sum, const T* query, const void* key, const void* value, const Sequence* sequences,
                             const Bias* biases, Attention attention, Dropped dropped, int tiles) {
    DYNAMIC_SHARED(memory);
    Keys queries{reinterpret_cast<T*>(memory)}, keys{queries.at + ROWS * Keys::APART};
    Values values{keys.at + KEYS * Keys::APART};

    int number = blockIdx.x / tiles, head = blockIdx.y, heads = gridDim.y, kv_head = head / int(attention.group);
    Sequence s = sequences[number];
    i64 first = i64(tiles - 1 - blockIdx.x % tiles) * ROWS;
    if (first >= s.rows) return;
    // Of rows of the block: how many there are, and the first and the last of this warp.
    int count = least(s.rows - first, i64(ROWS)), low = threadIdx.x / WARP * OWN, high = least(low + OWN, count) - 1;

    // Keys are counted from the first that the block sees. Its row r sees those from `from` + r on, before `to` + r and before `end`.
    constexpr i64 FAR = 1 << 30;
    i64 position = most(s.keys - s.rows, i64(0)) + first, start = most(position - attention.back, i64(0));
    int from = most(position - attention.back - start, -FAR), to = least(position + attention.ahead - start, FAR), end = s.keys - start;
    int all = least(to + count - 1, end);

    // A score is a product of `unit` and what the softmax is taken of: of products at once, where they are all that there is to it.
    constexpr float LOG2_E = 1.44269504f;
    bool is_plain = !biases && attention.softcap == 0 && attention.scale > 0;
    float scale = is_plain ? attention.scale : 1, unit = scale * LOG2_E;

    auto fetch_keys = [&](int at) {
        i64 offset = (s.key_start + start + at) * attention.key_row + kv_head * attention.key_head;
        fetch<KEPT, KEYS>(keys, key, attention.key_row, offset, all - at);
    };
    auto fetch_values = [&](int at) {
        i64 offset = (s.key_start + start + at) * attention.value_row + kv_head * attention.value_head;
        fetch<KEPT, KEYS>(values, value, attention.value_row, offset, all - at);
    };

    Softmax softmax;
    Sums context[TALL][Values::DEEP / 8];
    for (int m = 0; m < TALL; m++) {
        for (int r = 0; r < HALVES; r++) softmax.max[m][r] = -INFINITY, softmax.sum[m][r] = 0;
        for (Sums& part : context[m]) part = {};
    }
    if (all > 0) {
        fetch<T, ROWS>(queries, query, attention.query_row, (s.start + first) * attention.query_row + head * attention.query_head, count);
        fetch_keys(0);
    }

    for (int at = 0; at < all; at += KEYS) {
        // Keys are there, and everybody is done with the values of before.
        wait_for_copies();
        __syncthreads();
        fetch_values(at);

        // Neither end of what rows see falls from row to row. A warp may have no rows.
        bool is_seen = low <= high && at + KEYS > from + low && at < least(to + high, end);
        bool is_whole = at >= from + high && at + KEYS <= least(to + low, end);
        Sums scores[TALL][KEYS / 8];
        if (is_seen) {
            for (int m = 0; m < TALL; m++) {
                for (Sums& part : scores[m]) part = {};
            }
            add_products(scores, queries, low, keys);
            auto sees = [&](int row, int k) { return at + k >= from + low + row && at + k < least(to + low + row, end); };
            if (!is_plain) of_each(scores, [&](float& x, int, int) { x = score(attention, x); });
            if (biases) {
                Bias bias = biases[number];
                of_each(scores, [&](float& x, int row, int k) {
                    if (low + row < count && sees(row, k)) x += bias.of(head, first + low + row, start + at + k);
                });
            }
            if (!is_whole) of_each(scores, [&](float& x, int row, int k) { x = sees(row, k) ? x : -INFINITY; });
            softmax.weigh(scores, context, unit);
            if constexpr (DROPS != 0) {
                of_each(scores, [&](float& x, int row, int k) {
                    if (x != 0) x *= dropped.factor(number, (head * s.rows + first + low + row) * s.keys + start + at + k);
                });
            }
        }

        wait_for_copies();
        __syncthreads();
        if (at + KEYS < all) fetch_keys(at + KEYS);
        if (is_seen) add_products(context, scores, values);
    }

#pragma unroll
    for (int m = 0; m < TALL; m++) {
#pragma unroll
        for (int r = 0; r < HALVES; r++) {
            float sum = reduce_warp<Sum>(softmax.sum[m][r], 4), share = sum == 0 ? 0 : __fdividef(1, sum);
            int within = low + m * TILE + r * APART + own_row();
            if (within >= count) continue;
            i64 row = (s.start + first + within) * heads + head;
            T* to_row = out + row * VALUE_DIM + own_column();
#pragma unroll
            for (int d = 0; d < Values::DEEP; d += 8) {
                Sums& part = context[m][d / 8];
                float x = part(r, 0) * share, y = part(r, 1) * share;
                bool is_there = d + own_column() < VALUE_DIM, has_next = d + own_column() + 1 < VALUE_DIM;
                if (sizeof(T) == 2 && VALUE_DIM % 2 == 0) {
                    if (is_there) *reinterpret_cast<u32*>(to_row + d) = pair_of<T>(x, y);
                } else {
                    if (is_there) to_row[d] = narrow<T>(x);
                    if (has_next) to_row[d + 1] = narrow<T>(y);
                }
            }
            if (log_sum && own_column() == 0) log_sum[row] = sum == 0 ? -INFINITY : base_of(softmax.max[m][r]) * scale + logf(sum);
        }
    }
}
