// Blocks added to given places, which may repeat: the gradient of whatever takes. -DT: the type of the elements.
#include "common.cuh"

// Floats of 16 bits have no sum of their own on every GPU: the word around one is exchanged until nobody came between.
template <typename Half> DEVICE void add_half(Half* to, float value) {
    static_assert(sizeof(Half) == 2);
    u64 address = reinterpret_cast<u64>(to);
    u32 *word = reinterpret_cast<u32*>(address & ~u64(3)), shift = address & 2 ? 16 : 0, old = *word, seen;
    union Bits {
        u16 bits;
        Half half;
        DEVICE Bits(u16 from) : bits(from) {}
    };
    do {
        seen = old;
        Bits sum(u16(seen >> shift));
        sum.half = narrow<Half>(widen(sum.half) + value);
        old = atomicCAS(word, seen, (seen & ~(0xffffu << shift)) | u32(sum.bits) << shift);
    } while (old != seen);
}
DEVICE void add(f16* to, f16 value) { add_half(to, widen(value)); }
DEVICE void add(bf16* to, bf16 value) { add_half(to, widen(value)); }
DEVICE void add(float* to, float value) { atomicAdd(to, value); }
DEVICE void add(double* to, double value) { atomicAdd(to, value); }
DEVICE void add(i32* to, i32 value) { atomicAdd(to, value); }
// Sums of two's complement are those of its unsigned bits.
DEVICE void add(i64* to, i64 value) { atomicAdd(reinterpret_cast<u64*>(to), u64(value)); }

// `out` from offsets[i] on += block i of `values`. The order is left to the GPU, so sums of floats may differ in their last bits.
KERNEL(256) put_add(T* out, const T* values, const i64* offsets, i64 blocks, i64 block) {
    for (i64 i = first_element(); i < blocks * block; i += element_step()) add(out + offsets[i / block] + i % block, values[i]);
}
