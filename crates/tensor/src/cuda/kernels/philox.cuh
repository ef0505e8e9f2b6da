// Philox 4x32-10 (Salmon et al. 2011), the same stream as the processor's.
#pragma once
#include "common.cuh"

struct Block {
    u32 word[4];
    // One of its two numbers of 64 bits.
    DEVICE u64 half(int which) const { return word[2 * which] | u64(word[2 * which + 1]) << 32; }
};

// Block `counter` of the stream of `seed`.
DEVICE Block philox(u64 seed, u64 counter) {
    u32 a = u32(counter), b = u32(counter >> 32), c = 0, d = 0, low = u32(seed), high = u32(seed >> 32);
    for (int round = 0; round < 10; round++) {
        u64 x = u64(a) * 0xD2511F53u, y = u64(c) * 0xCD9E8D57u;
        a = u32(y >> 32) ^ b ^ low, b = u32(y);
        c = u32(x >> 32) ^ d ^ high, d = u32(x);
        low += 0x9E3779B9u, high += 0xBB67AE85u;
    }
    return {{a, b, c, d}};
}

// Evenly in [0, 1), as many bits as a double holds.
DEVICE double unit(u64 bits) { return double(bits >> 11) * 0x1p-53; }
