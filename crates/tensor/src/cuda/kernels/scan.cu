// What of a row is joined up to each of its elements, and where flags hold. -DC: the type to compute in, see numbers.cuh.
#include "joins.cuh"

constexpr int THREADS = 256;
// Neighbours that a thread has.
constexpr int RUN = 8;

constexpr int TILE = THREADS * RUN;
// Where an element of a tile lies in shared memory: the neighbours of different threads in different banks.
DEVICE int slot(int i) { return i + i / RUN; }

// out[row][i]: all of the row up to element i, joined. Part blockIdx.y of a row is `share` elements and goes on from `before`, which has for each
// part of a row what is joined up to its end; a row of one part needs none.
KERNEL(256) scan(void* out, int out_dtype, const void* x, int x_dtype, int op, const C* before, i64 rows, i64 size, i64 share, Walk<1> walk) {
    __shared__ C elements[TILE + THREADS], of_warp[THREADS / WARP];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    i64 from = blockIdx.y * share, to = least(size, from + share);
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        C carried = blockIdx.y == 0 ? start_of(op) : before[row * gridDim.y + blockIdx.y - 1];
        for (i64 tile = from; tile < to; tile += TILE) {
            int count = int(least(i64(TILE), to - tile));
            // Dtypes are told apart once for each element, not once for each of the loop's copies: they would take minutes to compile.
#pragma unroll 1
            for (int i = threadIdx.x; i < TILE; i += THREADS) {
                i64 at[1] = {0};
                if (i < count) walk.locate(row * size + tile + i, at);
                elements[slot(i)] = i < count ? counted(op, load<C>(x, x_dtype, at[0])) : start_of(op);
            }
            __syncthreads();
            C own[RUN], total = start_of(op);
            for (int k = 0; k < RUN; k++) own[k] = total = joined(op, total, elements[slot(threadIdx.x * RUN + k)]);
            for (int apart = 1; apart < WARP; apart *= 2) {
                C other = shuffle_up(total, apart);
                if (lane >= apart) total = joined(op, other, total);
            }
            C beside = shuffle_up(total, 1), start = carried;
            if (lane == WARP - 1) of_warp[warp] = total;
            __syncthreads();
            for (int w = 0; w < THREADS / WARP; w++) {
                if (w == warp) start = carried;
                carried = joined(op, carried, of_warp[w]);
            }
            if (lane > 0) start = joined(op, start, beside);
            for (int k = 0; k < RUN; k++) elements[slot(threadIdx.x * RUN + k)] = joined(op, start, own[k]);
            __syncthreads();
#pragma unroll 1
            for (int i = threadIdx.x; i < count; i += THREADS) store(out, out_dtype, row * size + tile + i, elements[slot(i)]);
            __syncthreads();
        }
    }
}

// The positions of the elements that hold, a row of the walk's dimensions each; `running` counts them.
KERNEL(256) positions(i64* out, const u8* x, const i64* running, Walk<1> walk) {
    for (i64 i = first_element(); i < walk.count; i += element_step()) {
        i64 at[1], rest = i;
        walk.locate(i, at);
        if (!x[at[0]]) continue;
        i64* to = out + (running[i] - 1) * walk.dims;
        for (int axis = int(walk.dims) - 1; axis >= 0; axis--) {
            to[axis] = rest % walk.shape[axis];
            rest /= walk.shape[axis];
        }
    }
}
