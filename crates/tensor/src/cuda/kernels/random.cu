// Random numbers and dropout: functions of seed and place alone, and the same as the processor's. -DT: the type of what is drawn or dropped.
#include "numbers.cuh"
#include "philox.cuh"

using C = decltype(widen(T()));

// Two numbers to a block, `from` being the first block.
template <typename Make> DEVICE void fill(T* out, i64 count, u64 seed, u64 from, Make make) {
    for (i64 i = first_element(); i < ceil_div(count, 2); i += element_step()) {
        Block block = philox(seed, from + i);
        make(block, out + 2 * i, 2 * i + 1 < count);
    }
}

KERNEL(256) uniform(T* out, i64 count, u64 seed, u64 from) {
    fill(out, count, seed, from, [](const Block& block, T* to, bool both) {
        for (int which = 0; which <= both; which++) {
            u64 bits = block.half(which);
            // As many bits as the type holds: more could round up to 1.
            constexpr int held = SAME<T, f16> ? 11 : SAME<T, bf16> ? 8 : 24;
            to[which] = convert<T>(SAME<T, double> ? C(unit(bits)) : C(float(bits >> (64 - held)) * (1.0f / (1 << held))));
        }
    });
}

// Whole numbers below `limit`, whatever T is: the upper half of the product, even but for 2⁻⁶⁴ of the limit.
KERNEL(256) below(i64* out, i64 count, u64 seed, u64 from, u64 limit) {
    for (i64 i = first_element(); i < ceil_div(count, 2); i += element_step()) {
        Block block = philox(seed, from + i);
        for (int which = 0; which < 2 && 2 * i + which < count; which++) out[2 * i + which] = i64(__umul64hi(block.half(which), limit));
    }
}

// Box and Muller's transform: a pair of even numbers as the polar form of a pair of normal ones.
KERNEL(256) normal(T* out, i64 count, u64 seed, u64 from) {
    fill(out, count, seed, from, [](const Block& block, T* to, bool both) {
        double radius = sqrt(-2 * log(1 - unit(block.half(0)))), angle = 6.283185307179586 * unit(block.half(1));
        double pair[2] = {radius * cos(angle), radius * sin(angle)};
        for (int which = 0; which <= both; which++) to[which] = convert<T>(C(pair[which]));
    });
}

// Elements are zero where their 32 random bits are below `limit`, else multiplied by `scale`. A group of 64 takes 16 blocks: element i of it
// word i / 16 of block i % 16, so that a thread has one block and four elements.
KERNEL(256) dropout(T* out, const T* x, i64 count, u32 limit, double scale, u64 seed, u64 from) {
    for (i64 i = first_element(); i < ceil_div(count, 64) * 16; i += element_step()) {
        Block block = philox(seed, from + i);
        i64 first = i / 16 * 64 + i % 16;
        for (int word = 0; word < 4; word++) {
            i64 at = first + 16 * word;
            if (at < count) out[at] = convert<T>(block.word[word] < limit ? C(0) : widen(x[at]) * C(scale));
        }
    }
}
