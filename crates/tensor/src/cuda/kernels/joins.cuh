// How many numbers become one, in -DC, the type to compute in.
#pragma once
#include "numbers.cuh"

// In the order of the host's reductions.
enum Reduction : i32 { SUM, SUM_SQUARES, PROD, MAX, MIN };

struct Product {
    template <typename V> static DEVICE V join(V a, V b) { return a * b; }
};
// NaN is the smallest, too.
struct Min {
    template <typename V> static DEVICE V join(V a, V b) { return b < a || b != b ? b : a; }
};

// The first number of a join.
DEVICE C start_of(int op) {
    constexpr bool is_signed = C(-1) < C(0);
    if constexpr (IS_WIDE<C>) return op == PROD ? C(1) : op == MAX ? C(-INFINITY) : op == MIN ? C(INFINITY) : C(0);
    else {
        constexpr C high = is_signed ? C(~u64(0) >> 1) : C(~u64(0));
        return op == PROD ? C(1) : op == MAX ? C(is_signed ? -high - 1 : 0) : op == MIN ? high : C(0);
    }
}

DEVICE C joined(int op, C a, C b) {
    switch (op) {
        case PROD: return Product::join(a, b);
        case MAX: return Max::join(a, b);
        case MIN: return Min::join(a, b);
        default: return a + b;
    }
}

// What an element counts as.
DEVICE C counted(int op, C value) { return op == SUM_SQUARES ? value * value : value; }
