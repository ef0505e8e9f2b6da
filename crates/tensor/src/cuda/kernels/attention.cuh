// What both kernels of attention share: where sequences, heads and visible keys are.
#pragma once
#include "common.cuh"

// Rows from `start` on look at `keys` keys from `key_start` on; the last row stands at the last key.
struct Sequence {
    i64 start, rows, key_start, keys;
};

// Added to scaled products: `at` for (head, row, key) of a sequence, any strides.
struct Bias {
    const float* at;
    i64 head, row, key;

    DEVICE float of(i64 of_head, i64 of_row, i64 of_key) const { return at[of_head * head + of_row * row + of_key * key]; }
};

// One attention. Strides are in elements of their tensor, in bytes for keys of 8 bits. A row sees `back` keys before its own, and fewer than
// `ahead` from its own on. A softcap of 0 is none.
struct Attention {
    i64 query_row, query_head, key_row, key_head, value_row, value_head;
    i64 group, back, ahead;
    float scale, softcap;
};

struct Range {
    i64 from, to;
};

DEVICE Range visible(const Attention& attention, const Sequence& s, i64 row) {
    i64 position = most(s.keys - s.rows, i64(0)) + row, to = least(position + attention.ahead, s.keys);
    return {least(most(position - attention.back, i64(0)), to), to};
}

// A product of a query and a key as it is compared with others, but for a bias. The tanh of a softcap is one exponential: what that is off beside
// 1, it is off beside the cap.
DEVICE float score(const Attention& attention, float product) {
    float x = product * attention.scale, cap = attention.softcap;
    return cap == 0 ? x : cap - __fdividef(2 * cap, 1 + __expf(__fdividef(2 * x, cap)));
}

// What e is raised to is the distance from this: hidden keys come out as zeros also where all are hidden.
DEVICE float base_of(float max) { return max == -INFINITY ? 0 : max; }

// Keys and values as they are kept: floats, or codes of 8 bits behind a float32 scale for each head of a row.
struct int8 {};
template <typename Kept> struct Head {
    const Kept* at;
    DEVICE Head(const void* base, i64 offset) : at(static_cast<const Kept*>(base) + offset) {}
    DEVICE float operator[](int i) const { return widen(at[i]); }
    // N elements from `first` on, in as few readings as boundaries allow: a strided head may lie on none.
    template <int N> DEVICE void take(float (&to)[N], int first) const {
        constexpr int MOST = 16 / sizeof(Kept), TOGETHER = N % MOST == 0 ? MOST : N % EACH == 0 ? EACH : 1;
        if (is_packed<TOGETHER>(at + first)) {
            for (int i = 0; i < N; i += TOGETHER) {
                float some[TOGETHER];
                read(some, at + first + i);
                for (int k = 0; k < TOGETHER; k++) to[i + k] = some[k];
            }
        } else {
            for (int i = 0; i < N; i++) to[i] = widen(at[first + i]);
        }
    }
};
template <> struct Head<int8> {
    const u8* at;
    float scale;
    // Heads follow one another without gaps, so a scale may lie anywhere.
    DEVICE Head(const void* base, i64 offset) : at(static_cast<const u8*>(base) + offset) {
        scale = __uint_as_float(at[0] | u32(at[1]) << 8 | u32(at[2]) << 16 | u32(at[3]) << 24);
    }
    DEVICE float operator[](int i) const { return scale * i8(at[4 + i]); }
    template <int N> DEVICE void take(float (&to)[N], int first) const {
        for (int i = 0; i < N; i++) to[i] = (*this)[first + i];
    }
};
