// Reductions over any dimensions. -DC: the type to compute in, see numbers.cuh. What is kept and what goes are walked apart, so that any
// strides and any order of axes are one kernel.
#include "joins.cuh"

DEVICE C joined_over_row(int op, C value) {
    switch (op) {
        case PROD: return reduce_row<Product>(value);
        case MAX: return reduce_row<Max>(value);
        case MIN: return reduce_row<Min>(value);
        default: return reduce_row<Sum>(value);
    }
}

// out[kept][part]: the reduction of part blockIdx.y, `share` of the elements that go. With several parts a second launch reduces those; a
// mean is the sum times `scale`. Results lie one after another.
KERNEL(1024) reduce(void* out, int out_dtype, const void* x, int x_dtype, int op, C scale, i64 share, Walk<1> kept, Walk<1> gone) {
    i64 from = blockIdx.y * share, to = least(gone.count, from + share);
    for (i64 row = first_row(); row < kept.count; row += row_step()) {
        i64 start[1], at[1];
        kept.locate(row, start);
        C total = start_of(op);
        for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) {
            gone.locate(i, at);
            C value = load<C>(x, x_dtype, start[0] + at[0]);
            total = joined(op, total, counted(op, value));
        }
        total = joined_over_row(op, total);
        if (threadIdx.x == 0) store(out, out_dtype, row * gridDim.y + blockIdx.y, C(total * scale));
    }
}

// The same over the rows of a matrix whose columns are neighbours: neighbouring threads have neighbouring columns.
KERNEL(256) reduce_columns(void* out, int out_dtype, const void* x, int x_dtype, int op, C scale, i64 share, i64 rows, i64 width) {
    i64 from = blockIdx.y * share, to = least(rows, from + share);
    for (i64 column = first_element(); column < width; column += element_step()) {
        C total = start_of(op);
#pragma unroll 1
        for (i64 row = from; row < to; row++) {
            C value = load<C>(x, x_dtype, row * width + column);
            total = joined(op, total, counted(op, value));
        }
        store(out, out_dtype, blockIdx.y * width + column, C(total * scale));
    }
}

// Whether an element beats the best so far: NaN beats numbers, and of equal ones the first stays.
DEVICE bool beats(C x, i64 at, C best, i64 best_at, bool largest) {
    bool is_nan = x != x, best_is_nan = best != best;
    if (best_at < 0 || at < 0) return at >= 0 && best_at < 0;
    if (is_nan || best_is_nan) return is_nan && (!best_is_nan || at < best_at);
    return x == best ? at < best_at : largest ? x > best : x < best;
}

// Where among the elements that go, in their order, is the first largest or smallest: out[kept][part], of part blockIdx.y, `share` of them. A
// second launch finds it among the places that the parts have found, `count` for each that is kept; null for all.
KERNEL(1024) arg_extreme(i64* out, const void* x, int x_dtype, int largest, i64 share, const i64* among, i64 count, Walk<1> kept, Walk<1> gone) {
    __shared__ C values[WARP];
    __shared__ i64 places[WARP];
    i64 from = blockIdx.y * share, to = least(count, from + share);
    for (i64 row = first_row(); row < kept.count; row += row_step()) {
        i64 start[1], at[1], place = -1;
        kept.locate(row, start);
        C best = 0;
        for (i64 i = from + threadIdx.x; i < to; i += blockDim.x) {
            i64 here = among ? among[row * count + i] : i;
            gone.locate(here, at);
            C value = load<C>(x, x_dtype, start[0] + at[0]);
            if (beats(value, here, best, place, largest)) best = value, place = here;
        }
        for (int apart = WARP / 2; apart > 0; apart /= 2) {
            C value = shuffle_xor(best, apart);
            i64 other = shuffle_xor(place, apart);
            if (beats(value, other, best, place, largest)) best = value, place = other;
        }
        if (blockDim.x > WARP) {
            __syncthreads();
            if (threadIdx.x % WARP == 0) values[threadIdx.x / WARP] = best, places[threadIdx.x / WARP] = place;
            __syncthreads();
            for (int warp = 0; warp < int(blockDim.x) / WARP; warp++) {
                if (beats(values[warp], places[warp], best, place, largest)) best = values[warp], place = places[warp];
            }
        }
        if (threadIdx.x == 0) out[row * gridDim.y + blockIdx.y] = place;
    }
}
