// Positions in the order of what is there, NaN as the largest, equal ones in the order in which they are. -DC: the type to compute in, see
// numbers.cuh.
#include "keys.cuh"
#include "numbers.cuh"

template <typename V> struct KeyOf {
    using Type = u64;
};
template <> struct KeyOf<float> {
    using Type = u32;
};
using Key = KeyOf<C>::Type;

// How a key is made. What is added to whole numbers makes the least of their type zero, so that keys are as wide as the type.
struct Order {
    i64 added;
    i64 is_descending;
};

DEVICE Key key_at(const void* x, int dtype, Order order, i64 at) {
    Key key = key_of(load<C>(x, dtype, at)) + Key(order.added);
    return order.is_descending ? ~key : key;
}

// The most positions that a block sorts.
constexpr int MOST = 2048;

// The first `count` positions of each row, in shared memory: all of a row if it is no longer than MOST, else those up to the `count`th, which is
// found digit by digit of the keys, and then of the positions of those with its key.
KERNEL(1024) order_few(i64* out, const void* x, int dtype, Order order, i64 rows, int size, int count, Walk<1> walk) {
    __shared__ Key keys[MOST];
    __shared__ int places[MOST];
    __shared__ u32 counts[DIGITS];
    __shared__ int held;
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        auto key = [&](int i) {
            i64 at[1];
            walk.locate(row * size + i, at);
            return key_at(x, dtype, order, at[0]);
        };
        int kept = size <= MOST ? size : count;
        Key last = 0;
        u32 last_place = 0, wanted = u32(count);
        for (int step = 0; kept < size && step < int(sizeof(Key) + sizeof(u32)); step++) {
            bool by_place = step >= int(sizeof(Key));
            int shift = 8 * (int(by_place ? sizeof(Key) + sizeof(u32) : sizeof(Key)) - 1 - step);
            __syncthreads();
            for (int i = threadIdx.x; i < DIGITS; i += blockDim.x) counts[i] = 0;
            __syncthreads();
            for (int i = threadIdx.x; i < size; i += blockDim.x) {
                Key own = key(i);
                bool is_near = by_place ? own == last && alike_above(u32(i), last_place, shift) : alike_above(own, last, shift);
                if (is_near) atomicAdd(&counts[by_place ? digit_of(u32(i), shift) : digit_of(own, shift)], 1u);
            }
            __syncthreads();
            int digit = digit_that_has(counts, wanted);
            if (by_place) last_place |= u32(digit) << shift;
            else last |= Key(digit) << shift;
        }
        __syncthreads();
        if (threadIdx.x == 0) held = 0;
        __syncthreads();
        int padded = 1;
        while (padded < kept) padded *= 2;
        for (int i = threadIdx.x; i < size; i += blockDim.x) {
            Key own = key(i);
            int slot = i;
            if (kept < size) {
                if (own > last || own == last && u32(i) > last_place) continue;
                slot = atomicAdd(&held, 1);
            }
            keys[slot] = own, places[slot] = i;
        }
        for (int i = kept + threadIdx.x; i < padded; i += blockDim.x) keys[i] = ~Key(0), places[i] = 0x7fffffff;
        // Batcher's bitonic sort: runs that alternately rise and fall are merged to runs twice as long.
        for (int run = 2; run <= padded; run *= 2) {
            for (int apart = run / 2; apart > 0; apart /= 2) {
                __syncthreads();
                for (int i = threadIdx.x; i < padded / 2; i += blockDim.x) {
                    int a = 2 * i - (i & (apart - 1)), b = a + apart;
                    Key key_a = keys[a], key_b = keys[b];
                    int place_a = places[a], place_b = places[b];
                    bool falls = key_b < key_a || key_b == key_a && place_b < place_a;
                    if (falls == ((a & run) == 0)) keys[a] = key_b, keys[b] = key_a, places[a] = place_b, places[b] = place_a;
                }
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < count; i += blockDim.x) out[row * count + i] = places[i];
        __syncthreads();
    }
}

// ---- rows of any length: sorted by one digit after another, from the last, each time leaving equal ones as they are

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / WARP;
// Elements of a thread, and of a block.
constexpr int RUN = 16;
constexpr int TILE = THREADS * RUN;

KERNEL(256) make_keys(void* keys, const void* x, int dtype, Order order, Walk<1> walk) {
    for (i64 i = first_element(); i < walk.count; i += element_step()) {
        i64 at[1];
        walk.locate(i, at);
        static_cast<Key*>(keys)[i] = key_at(x, dtype, order, at[0]);
    }
}

// counts[row][digit][tile]: how many keys of a tile have each digit.
KERNEL(256) count_digits(u32* counts, const void* keys, i64 rows, i64 size, int shift) {
    __shared__ u32 own[DIGITS];
    i64 tiles = ceil_div(size, TILE);
    for (i64 work = blockIdx.x; work < rows * tiles; work += gridDim.x) {
        i64 row = work / tiles, tile = work % tiles, end = least(size, (tile + 1) * TILE);
        const Key* of_row = static_cast<const Key*>(keys) + row * size;
        own[threadIdx.x] = 0;
        __syncthreads();
        for (i64 i = tile * TILE + threadIdx.x; i < end; i += THREADS) atomicAdd(&own[digit_of(of_row[i], shift)], 1u);
        __syncthreads();
        counts[(row * DIGITS + threadIdx.x) * tiles + tile] = own[threadIdx.x];
        __syncthreads();
    }
}

// The lanes whose digit is this lane's, among those that have one.
DEVICE u32 lanes_with(int digit, bool has_one) {
    u32 lanes = ballot(has_one);
    for (int bit = 0; bit < 8; bit++) {
        u32 set = ballot(digit >> bit & 1);
        lanes &= digit >> bit & 1 ? set : ~set;
    }
    return lanes;
}

// Moves keys, and the positions that they are of, to where `running`, the counts summed up, has their digit. Without positions they are those
// where keys lie; without a place for keys these are not moved.
KERNEL(256) move_by_digit(void* to_keys, i64* to_places, const void* keys, const i64* places, const i64* running, i64 rows, i64 size, int shift) {
    __shared__ u32 of_warp[WARPS][DIGITS];
    __shared__ i64 starts[DIGITS];
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    i64 tiles = ceil_div(size, TILE);
    for (i64 work = blockIdx.x; work < rows * tiles; work += gridDim.x) {
        i64 row = work / tiles, tile = work % tiles, first = tile * TILE + warp * WARP * RUN + lane;
        const Key* of_row = static_cast<const Key*>(keys) + row * size;
        for (int w = 0; w < WARPS; w++) of_warp[w][threadIdx.x] = 0;
        __syncthreads();
        // How many in front of each element its warp has of its digit.
        u32 ranks[RUN];
#pragma unroll
        for (int k = 0; k < RUN; k++) {
            i64 i = first + k * WARP;
            bool is_there = i < size;
            int digit = is_there ? digit_of(of_row[i], shift) : 0;
            u32 lanes = lanes_with(digit, is_there), before = lanes & ((1u << lane) - 1);
            u32 counted = of_warp[warp][digit];
            sync_warp();
            if (is_there && before == 0) of_warp[warp][digit] = counted + __popc(lanes);
            sync_warp();
            ranks[k] = counted + __popc(before);
        }
        __syncthreads();
        i64 place = threadIdx.x * tiles + tile;
        starts[threadIdx.x] = place == 0 ? 0 : running[row * DIGITS * tiles + place - 1];
        u32 sum = 0;
        for (int w = 0; w < WARPS; w++) {
            u32 own = of_warp[w][threadIdx.x];
            of_warp[w][threadIdx.x] = sum;
            sum += own;
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < RUN; k++) {
            i64 i = first + k * WARP;
            if (i >= size) continue;
            Key key = of_row[i];
            int digit = digit_of(key, shift);
            i64 to = row * size + starts[digit] + of_warp[warp][digit] + ranks[k];
            if (to_keys) static_cast<Key*>(to_keys)[to] = key;
            to_places[to] = places ? places[row * size + i] : i;
        }
        __syncthreads();
    }
}
