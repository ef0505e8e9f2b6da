// Which probabilities of an attention are dropped: the same ones as of an operation of its own on each sequence's, one after another.
#pragma once
#include "philox.cuh"

// Those whose 32 random bits are below `limit` become zero, all others are scaled. `from` has the first block of each sequence.
struct Dropped {
    const i64* from;
    u64 seed;
    u32 limit;
    float scale;

    // What element `at` of sequence `number`, of (heads, rows, keys), is multiplied with. A group of 64 takes 16 blocks, and element i of it word i / 16 of
    // block i % 16.
    DEVICE float factor(int number, i64 at) const {
        Block block = philox(seed, from[number] + at / 64 * 16 + at % 16);
        int word = int(at % 64 / 16);
        u32 bits = word < 2 ? (word ? block.word[1] : block.word[0]) : word == 2 ? block.word[2] : block.word[3];
        return bits < limit ? 0 : scale;
    }
};
