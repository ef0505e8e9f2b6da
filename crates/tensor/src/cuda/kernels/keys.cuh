// Numbers as bits that are in their order, and how these are looked through, eight at a time.
#pragma once
#include "common.cuh"

// Both zeros are alike, and NaN, whatever its bits, is behind all.
DEVICE u32 key_of(float x) {
    u32 bits = __float_as_uint(x + 0.0f);
    return x != x ? ~0u : bits >> 31 ? ~bits : bits | 1u << 31;
}
DEVICE u64 key_of(double x) {
    u64 bits = u64(__double_as_longlong(x + 0.0));
    return x != x ? ~u64(0) : bits >> 63 ? ~bits : bits | u64(1) << 63;
}
// Those of numbers with a sign are in order from the least number on.
DEVICE u64 key_of(i64 x) { return u64(x); }
DEVICE u64 key_of(u64 x) { return x; }

// Eight bits of a key.
constexpr int DIGITS = 256;
template <typename Key> DEVICE int digit_of(Key key, int shift) { return int(key >> shift) & (DIGITS - 1); }
// Whether the bits of two keys above a digit are the same.
template <typename Key> DEVICE bool alike_above(Key a, Key b, int shift) { return (a ^ b) >> shift >> 8 == 0; }

struct Least {
    template <typename V> static DEVICE V join(V a, V b) { return least(a, b); }
};

// The digit up to which there are `wanted` or more; `wanted` becomes what is missing in front of it. Every warp finds it by itself.
template <typename Count> DEVICE int digit_that_has(const Count* counts, Count& wanted) {
    constexpr int EACH = DIGITS / WARP;
    int lane = threadIdx.x % WARP;
    Count own = 0, total;
    for (int k = 0; k < EACH; k++) own += counts[lane * EACH + k];
    total = own;
    for (int apart = 1; apart < WARP; apart *= 2) {
        Count other = shuffle_up(total, apart);
        if (lane >= apart) total += other;
    }
    int found = least(reduce_warp<Least>(total >= wanted ? lane : WARP), WARP - 1), digit = lane * EACH;
    Count left = wanted - (total - own);
    for (; digit < lane * EACH + EACH - 1 && counts[digit] < left; digit++) left -= counts[digit];
    wanted = shuffle(left, found);
    return shuffle(digit, found);
}
