// Tokens drawn from logits, without a sort: what top-k and top-p leave is found by its least logit. -DT: the type of the logits.
//
// Probabilities are integers, multiples of 2⁻³² of the most likely token's: their sums do not depend on the order of threads, so the same
// seed draws the same tokens. What is less likely than that is not drawn.
//
// Rows are few and long, so many blocks share one, each with a run of it: what they find together the next kernel reads.
#include "keys.cuh"
#include "philox.cuh"

constexpr int THREADS = 256;

// What is left of a distribution, in this order: the host's Sampling. top_k 0, top_p 1 and min_p 0 keep all; what is as likely as the last that
// is kept is kept, too.
struct Sampling {
    float temperature;
    int top_k;
    float top_p, min_p;
};

// Ranks up to `last` are kept. Of the one that is looked for, the first digits are `found`, and `wanted` is missing from there on.
struct Bound {
    u64 wanted;
    u32 found, last;
};

// A round looks through one digit of the ranks: four are top-k's, if it is asked for, and four top-p's.
constexpr int DIGITS_OF_RANK = 4;
struct Rows {
    const T* logits;
    i64 count;
    // A run has less than 2¹⁶ tokens.
    int width, run, rounds;
    Sampling sampling;
    // Of each row: what each digit weighs (rounds, DIGITS), and the key of the largest logit; zeros at first.
    u64* weights;
    u32* largest;
    // Likewise: what is known after each round, and what tokens of each run that are kept weigh.
    Bound* bounds;
    u64* kept;

    DEVICE int runs() const { return (width + run - 1) / run; }
    DEVICE int tokens_of(int index) const { return least(run, width - index * run); }
    DEVICE const T* run_of(i64 row, int index) const { return logits + row * width + index * run; }
    DEVICE bool is_weighed(int round) const { return round >= DIGITS_OF_RANK || sampling.top_k <= 0 || sampling.top_k >= width; }
    DEVICE float max_of(i64 row) const {
        u32 key = largest[row];
        return __uint_as_float(key >> 31 ? key & 0x7fffffff : ~key);
    }
};

DEVICE u64 mass_of(float x, float max) { return u64(expf(x - max) * 4294967296.0f); }

// Keys that begin with the likeliest.
DEVICE u32 rank_of(float x) { return ~key_of(x); }

DEVICE int shift_of(int round) { return 24 - 8 * (round % DIGITS_OF_RANK); }

// What is known before a round; all warps find it by themselves.
DEVICE Bound bound_before(const Rows& rows, i64 row, int round) {
    Bound bound = {0, 0, ~0u};
    if (round == 0) return bound;
    int last = round - 1;
    const u64* weights = rows.weights + (row * rows.rounds + last) * DIGITS;
    if (last > 0) bound = rows.bounds[row * rows.rounds + last];
    if (last % DIGITS_OF_RANK == 0) {
        u64 total = 0;
        for (int i = threadIdx.x % WARP; i < DIGITS; i += WARP) total += weights[i];
        total = reduce_warp<Sum>(total);
        bound.wanted = rows.is_weighed(last) ? most(u64(1), u64(double(total) * rows.sampling.top_p)) : u64(rows.sampling.top_k);
        bound.found = 0;
    }
    bound.found |= u32(digit_that_has(weights, bound.wanted)) << shift_of(last);
    if (shift_of(last) == 0) bound.last = least(bound.found, bound.last);
    return bound;
}

// The last rank that is kept in the end.
DEVICE u32 last_of(const Rows& rows, i64 row, float max) {
    u32 last = bound_before(rows, row, rows.rounds).last;
    return rows.sampling.min_p > 0 ? least(last, rank_of(max + logf(rows.sampling.min_p))) : last;
}

// Each number of a run once, in any order, four logits at a time where they lie so.
template <typename Visit> DEVICE void visit_all(const Rows& rows, i64 row, int run, Visit visit) {
    const T* from = rows.run_of(row, run);
    int count = rows.tokens_of(run), whole = is_packed(from) ? count / EACH * EACH : 0;
    for (int i = threadIdx.x * EACH; i < whole; i += blockDim.x * EACH) {
        float some[EACH];
        read(some, from + i);
        for (float logit : some) visit(logit / rows.sampling.temperature);
    }
    for (int i = whole + threadIdx.x; i < count; i += blockDim.x) visit(widen(from[i]) / rows.sampling.temperature);
}

// Runs are dealt out in x, and rows in y.
template <typename Visit> DEVICE void visit_runs(const Rows& rows, Visit visit) {
    for (i64 row = blockIdx.y; row < rows.count; row += gridDim.y) {
        for (int run = blockIdx.x; run < rows.runs(); run += gridDim.x) visit(row, run);
    }
}

KERNEL(THREADS) largest(Rows rows) {
    visit_runs(rows, [&](i64 row, int run) {
        u32 key = 0;
        visit_all(rows, row, run, [&](float x) { key = most(key, key_of(x)); });
        key = reduce_row<Max>(key);
        if (threadIdx.x == 0) atomicMax(&rows.largest[row], key);
    });
}

KERNEL(THREADS) weigh(Rows rows, int round) {
    // Two halves of each sum: these are added at once, and all 64 bits by trying again and again.
    __shared__ u32 low[DIGITS], high[DIGITS];
    visit_runs(rows, [&](i64 row, int run) {
        Bound bound = bound_before(rows, row, round);
        if (run == 0 && threadIdx.x == 0) rows.bounds[row * rows.rounds + round] = bound;
        float max = rows.max_of(row);
        int shift = shift_of(round);
        u32 found = shift == 24 ? 0 : bound.found;
        __syncthreads();
        for (int i = threadIdx.x; i < DIGITS; i += blockDim.x) low[i] = high[i] = 0;
        __syncthreads();
        visit_all(rows, row, run, [&](float x) {
            u32 rank = rank_of(x);
            if (rank > bound.last || !alike_above(rank, found, shift)) return;
            u64 weight = rows.is_weighed(round) ? mass_of(x, max) : 1;
            int digit = digit_of(rank, shift);
            if (weight) atomicAdd(&low[digit], u32(weight & 0xffff));
            if (weight >> 16) atomicAdd(&high[digit], u32(weight >> 16));
        });
        __syncthreads();
        u64* weights = rows.weights + (row * rows.rounds + round) * DIGITS;
        for (int i = threadIdx.x; i < DIGITS; i += blockDim.x) {
            u64 weight = low[i] + (u64(high[i]) << 16);
            if (weight) atomicAdd(&weights[i], weight);
        }
    });
}

KERNEL(THREADS) keep(Rows rows) {
    visit_runs(rows, [&](i64 row, int run) {
        float max = rows.max_of(row);
        u32 last = last_of(rows, row, max);
        u64 kept = 0;
        visit_all(rows, row, run, [&](float x) { kept += rank_of(x) <= last ? mass_of(x, max) : u64(0); });
        kept = reduce_row<Sum>(kept);
        if (threadIdx.x == 0) rows.kept[row * rows.runs() + run] = kept;
    });
}

// The first of `count` up to which they weigh more than `left`, and all before it taken from `left`. All of them together weigh more.
template <typename Weigh> DEVICE int place_of(u64& left, int count, Weigh weigh) {
    __shared__ u64 of_warp[THREADS / WARP], rest;
    __shared__ int place;
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    // Each thread sums neighbours, so that all are passed in their order.
    int share = (count + blockDim.x - 1) / blockDim.x, first = least(int(threadIdx.x) * share, count), end = least(first + share, count);
    u64 own = 0;
    for (int i = first; i < end; i++) own += weigh(i);
    u64 sum = own;
    for (int apart = 1; apart < WARP; apart *= 2) {
        u64 other = shuffle_up(sum, apart);
        if (lane >= apart) sum += other;
    }
    __syncthreads();
    if (lane == WARP - 1) of_warp[warp] = sum;
    __syncthreads();
    for (int i = 0; i < warp; i++) sum += of_warp[i];
    u64 before = sum - own;
    if (before <= left && left < sum) {
        int i = first;
        for (; i < end - 1 && before + weigh(i) <= left; i++) before += weigh(i);
        place = i, rest = left - before;
    }
    __syncthreads();
    left = rest;
    return place;
}

// For each row a token, or -1 where the logits are no distribution: NaN or +inf among them, or nothing but -inf. Row r takes block `from + r` of
// the stream of `seed`.
KERNEL(THREADS) draw(i64* tokens, Rows rows, u64 seed, u64 from) {
    for (i64 row = blockIdx.x; row < rows.count; row += gridDim.x) {
        float max = rows.max_of(row);
        if (!(max - max == 0)) {
            if (threadIdx.x == 0) tokens[row] = -1;
            continue;
        }
        const u64* kept = rows.kept + row * rows.runs();
        u64 total = 0;
        for (int run = threadIdx.x; run < rows.runs(); run += blockDim.x) total += kept[run];
        total = reduce_row<Sum>(total);
        u64 left = least(u64(unit(philox(seed, from + row).half(0)) * double(total)), total - 1);
        int run = place_of(left, rows.runs(), [&](int i) { return kept[i]; });
        u32 last = last_of(rows, row, max);
        const T* logits = rows.run_of(row, run);
        int place = place_of(left, rows.tokens_of(run), [&](int i) {
            float x = widen(logits[i]) / rows.sampling.temperature;
            return rank_of(x) <= last ? mass_of(x, max) : u64(0);
        });
        if (threadIdx.x == 0) tokens[row] = i64(run) * rows.run + place;
    }
}
