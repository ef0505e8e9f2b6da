// Tokens drawn from logits, without a sort: what top-k and top-p leave is found by its least logit. -DT: the type of the logits.
//
// Probabilities are integers, multiples of 2⁻³² of the most likely token's: their sums do not depend on the order of threads, so the same
// seed draws the same tokens. What is less likely than that is not drawn.
#include "keys.cuh"
#include "philox.cuh"

// Of twice as many each would have half the registers, too few on some GPUs.
constexpr int THREADS = 512;

// What is left of a distribution, in this order: the host's Sampling. top_k 0, top_p 1 and min_p 0 keep all; what is as likely as the last that
// is kept is kept, too.
struct Sampling {
    float temperature;
    int top_k;
    float top_p, min_p;
};

DEVICE u64 mass_of(float x, float max) { return u64(expf(x - max) * 4294967296.0f); }

// Keys that begin with the likeliest.
DEVICE u32 rank_of(float x) { return ~key_of(x); }

// Each logit of a row once, in any order, four at a time where they lie so: a row is one block's, and of one by one it would wait for each.
template <typename Visit> DEVICE void visit_all(const T* from, int width, Visit visit) {
    int whole = is_packed(from) ? width / EACH * EACH : 0;
#pragma unroll 2
    for (int i = threadIdx.x * EACH; i < whole; i += blockDim.x * EACH) {
        float some[EACH];
        read(some, from + i);
        for (float x : some) visit(x);
    }
    for (int i = whole + threadIdx.x; i < width; i += blockDim.x) visit(widen(from[i]));
}

// The least rank such that tokens up to it weigh `wanted` or more, of those up to `last`. Eight bits at a time.
template <typename Weigh> DEVICE u32 rank_that_has(const T* from, int width, float temperature, u32 last, u64 wanted, Weigh weigh) {
    __shared__ u64 weights[DIGITS];
    u32 found = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        __syncthreads();
        for (int i = threadIdx.x; i < DIGITS; i += blockDim.x) weights[i] = 0;
        __syncthreads();
        visit_all(from, width, [&](float logit) {
            float x = logit / temperature;
            u32 rank = rank_of(x);
            if (rank <= last && alike_above(rank, found, shift)) atomicAdd(&weights[digit_of(rank, shift)], weigh(x));
        });
        __syncthreads();
        found |= u32(digit_that_has(weights, wanted)) << shift;
    }
    return least(found, last);
}

// For each row a token, or -1 where the logits are no distribution: NaN or +inf among them, or nothing but -inf. Row r takes block `from + r` of
// the stream of `seed`.
KERNEL(THREADS) sample(i64* tokens, const T* logits, i64 rows, int width, Sampling sampling, u64 seed, u64 from) {
    __shared__ u64 starts[THREADS + 1];
    __shared__ int found;
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* of_row = logits + row * width;
        auto at = [&](int i) { return widen(of_row[i]) / sampling.temperature; };
        float max = -INFINITY;
        visit_all(of_row, width, [&](float logit) { max = Max::join(max, logit / sampling.temperature); });
        max = reduce_row<Max>(max);
        if (!(max - max == 0)) {
            if (threadIdx.x == 0) tokens[row] = -1;
            continue;
        }
        u32 last = ~0u;
        if (sampling.top_k > 0 && sampling.top_k < width) {
            last = rank_that_has(of_row, width, sampling.temperature, last, u64(sampling.top_k), [](float) { return u64(1); });
        }
        // Each thread sums neighbours, so that tokens are passed in their order.
        int share = (width + blockDim.x - 1) / blockDim.x, first = least(int(threadIdx.x) * share, width), end = least(first + share, width);
        auto mass = [&](float x) { return rank_of(x) <= last ? mass_of(x, max) : u64(0); };
        auto own = [&] {
            u64 sum = 0;
            for (int i = first; i < end; i++) sum += mass(at(i));
            return sum;
        };
        if (sampling.top_p < 1) {
            u64 wanted = most(u64(1), u64(double(reduce_row<Sum>(own())) * sampling.top_p));
            last = rank_that_has(of_row, width, sampling.temperature, last, wanted, [&](float x) { return mass_of(x, max); });
        }
        if (sampling.min_p > 0) last = least(last, rank_of(max + logf(sampling.min_p)));
        __syncthreads();
        starts[threadIdx.x + 1] = own();
        if (threadIdx.x == 0) starts[0] = 0, found = -1;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int i = 1; i <= int(blockDim.x); i++) starts[i] += starts[i - 1];
        }
        __syncthreads();
        u64 total = starts[blockDim.x], drawn = u64(unit(philox(seed, from + row).half(0)) * double(total));
        drawn = least(drawn, total - 1);
        if (starts[threadIdx.x] <= drawn && drawn < starts[threadIdx.x + 1]) {
            u64 before = starts[threadIdx.x];
            for (int i = first; i < end && found < 0; i++) {
                before += mass(at(i));
                if (before > drawn) found = i;
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) tokens[row] = found;
        __syncthreads();
    }
}
