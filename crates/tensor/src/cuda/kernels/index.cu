// Blocks of neighbouring elements taken from, or put to, given places. -DE: an unsigned type as wide as the elements, or Pack<u64, 2>.
#include "common.cuh"

// Block i of `out` is that of `x` from element offsets[i] on.
KERNEL(256) take(E* out, const E* x, const i64* offsets, i64 blocks, i64 block) {
    for (i64 i = first_element(); i < blocks * block; i += element_step()) out[i] = x[offsets[i / block] + i % block];
}

// The other way round. Where places repeat, one of them stays.
KERNEL(256) put(E* out, const E* values, const i64* offsets, i64 blocks, i64 block) {
    for (i64 i = first_element(); i < blocks * block; i += element_step()) out[offsets[i / block] + i % block] = values[i];
}
