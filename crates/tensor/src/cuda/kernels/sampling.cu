// Tokens drawn from logits, without a sort: what temperature, top-k and top-p leave is found by its least logit. -DT: the type of the logits.
//
// Probabilities are integers, multiples of 2⁻³² of the most likely token's: their sums do not depend on the order of threads, so the same
// seed draws the same tokens. What is less likely than that is not drawn.
#include "philox.cuh"

constexpr int THREADS = 1024;

// Bits that are ordered as the floats are.
DEVICE u32 key_of(float x) {
    u32 bits = __float_as_uint(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

DEVICE u64 mass_of(float x, float max) { return u64(expf(x - max) * 4294967296.0f); }

// `value` of all threads together.
DEVICE u64 total_of(u64 value) { return reduce_row<Sum>(value); }

// The largest key such that tokens with at least that key weigh `wanted` or more; of those with at least `floor`. Eight bits at a time.
template <typename Weigh> DEVICE u32 threshold(const T* from, int width, float inverse, u32 floor, u64 wanted, Weigh weigh) {
    __shared__ u64 counts[256];
    __shared__ u32 chosen;
    __shared__ u64 above;
    u32 prefix = 0;
    u64 before = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < 256; i += blockDim.x) counts[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float x = widen(from[i]) * inverse;
            u32 key = key_of(x);
            // Of those alike in the bits that are known.
            if (key >= floor && u64(key) >> (shift + 8) == u64(prefix) >> (shift + 8)) atomicAdd(&counts[key >> shift & 255], weigh(x));
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            u64 sum = before;
            int digit = 255;
            while (digit > 0 && sum + counts[digit] < wanted) sum += counts[digit--];
            chosen = u32(digit), above = sum;
        }
        __syncthreads();
        prefix |= chosen << shift, before = above;
        __syncthreads();
    }
    return most(prefix, floor);
}

// For each row a token, or -1 where the logits are no distribution: NaN or +inf among them, or nothing but -inf. `inverse` is that of the
// temperature. top_k 0 and top_p 1 keep all; tokens as likely as the last that is kept are kept, too. Row r takes block `from + r` of the
// stream of `seed`.
KERNEL(1024) sample(i64* tokens, const T* logits, i64 rows, int width, float inverse, int top_k, float top_p, u64 seed, u64 from) {
    __shared__ u64 starts[THREADS + 1];
    __shared__ int found;
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const T* of_row = logits + row * width;
        float max = -INFINITY;
        for (int i = threadIdx.x; i < width; i += blockDim.x) max = Max::join(max, widen(of_row[i]) * inverse);
        max = reduce_row<Max>(max);
        if (!(max - max == 0)) {
            if (threadIdx.x == 0) tokens[row] = -1;
            continue;
        }
        u32 floor = 0;
        if (top_k > 0 && top_k < width) {
            floor = threshold(of_row, width, inverse, floor, u64(top_k), [](float) { return u64(1); });
        }
        // Each thread sums neighbours, so that tokens are passed in their order.
        int share = (width + blockDim.x - 1) / blockDim.x, first = least(int(threadIdx.x) * share, width), end = least(first + share, width);
        auto mass = [&] {
            u64 sum = 0;
            for (int i = first; i < end; i++) {
                float x = widen(of_row[i]) * inverse;
                if (key_of(x) >= floor) sum += mass_of(x, max);
            }
            return sum;
        };
        if (top_p < 1) {
            u64 wanted = most(u64(1), u64(double(total_of(mass())) * top_p));
            floor = threshold(of_row, width, inverse, floor, wanted, [&](float x) { return mass_of(x, max); });
        }
        __syncthreads();
        starts[threadIdx.x + 1] = mass();
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
            for (int i = first; i < end; i++) {
                float x = widen(of_row[i]) * inverse;
                if (key_of(x) >= floor) before += mass_of(x, max);
                if (before > drawn) {
                    found = i;
                    break;
                }
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) tokens[row] = found;
        __syncthreads();
    }
}
