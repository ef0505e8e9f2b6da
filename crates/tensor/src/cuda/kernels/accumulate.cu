// Blocks added to given places, which may repeat: the gradient of whatever takes. -DT: the type of the elements.
#include "common.cuh"

// Truth values, whose sum is whether any holds.
struct truth {
    bool holds;
};

DEVICE u8 sum_of(u8 a, u8 b) { return u8(a + b); }
DEVICE i8 sum_of(i8 a, i8 b) { return i8(u8(a) + u8(b)); }
DEVICE u16 sum_of(u16 a, u16 b) { return u16(a + b); }
DEVICE i16 sum_of(i16 a, i16 b) { return i16(u16(a) + u16(b)); }
DEVICE f16 sum_of(f16 a, f16 b) { return narrow<f16>(widen(a) + widen(b)); }
DEVICE bf16 sum_of(bf16 a, bf16 b) { return narrow<bf16>(widen(a) + widen(b)); }
DEVICE truth sum_of(truth a, truth b) { return {a.holds || b.holds}; }

template <int SIZE> struct BitsOf {
    using Type = u8;
};
template <> struct BitsOf<2> {
    using Type = u16;
};

// What is narrower than a word has no sum of its own on every GPU: the word around it is exchanged until nobody came between.
template <typename V> DEVICE void add(V* to, V value) {
    using Bits = typename BitsOf<sizeof(V)>::Type;
    static_assert(sizeof(V) == sizeof(Bits));
    union Both {
        Bits bits;
        V value;
        DEVICE Both(Bits from) : bits(from) {}
    };
    u64 address = reinterpret_cast<u64>(to);
    u32 *word = reinterpret_cast<u32*>(address & ~u64(3)), shift = 8 * u32(address & 3), old = *word, seen;
    do {
        seen = old;
        Both sum(Bits(seen >> shift));
        sum.value = sum_of(sum.value, value);
        old = atomicCAS(word, seen, (seen & ~(u32(Bits(~0)) << shift)) | u32(sum.bits) << shift);
    } while (old != seen);
}
DEVICE void add(float* to, float value) { atomicAdd(to, value); }
DEVICE void add(double* to, double value) { atomicAdd(to, value); }
DEVICE void add(u32* to, u32 value) { atomicAdd(to, value); }
DEVICE void add(i32* to, i32 value) { atomicAdd(to, value); }
DEVICE void add(u64* to, u64 value) { atomicAdd(to, value); }
// Sums of two's complement are those of its unsigned bits.
DEVICE void add(i64* to, i64 value) { atomicAdd(reinterpret_cast<u64*>(to), u64(value)); }

// `out` from offsets[i] on += block i of `values`. The order is left to the GPU, so sums of floats may differ in their last bits.
KERNEL(256) put_add(T* out, const T* values, const i64* offsets, i64 blocks, i64 block) {
    for (i64 i = first_element(); i < blocks * block; i += element_step()) add(out + offsets[i / block] + i % block, values[i]);
}
