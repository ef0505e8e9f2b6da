// Rows looked up, spread and kept. -DT: the type of activations.
#include "early.cuh"
#include "numbers.cuh"

// One table of an embedding and the row of it that each position takes.
struct Lookup {
    const void* table;
    const i64* ids;
};
constexpr int MAX_LOOKUPS = 4;
struct Lookups {
    Lookup at[MAX_LOOKUPS];
    i64 count;
};

// For every position the sum, over the lookups, of the row that its id names: (positions, width). Ids are in range.
KERNEL(256) embedding(T* out, Lookups lookups, int dtype, i64 positions, int width) {
    for (i64 i = first_element(); i < positions * width; i += element_step()) {
        i64 position = i / width, column = i % width;
        float sum = 0;
        for (int n = 0; n < lookups.count; n++) {
            sum += load<float>(lookups.at[n].table, dtype, lookups.at[n].ids[position] * width + column);
        }
        out[i] = narrow<T>(sum);
    }
}

// Keys or values, rows of heads of `dim` elements, and where they are kept.
struct Stored {
    u8* to;
    const T* x;
    i64 dim, row, head;
};
struct Stores {
    Stored at[2];
};

// Keys (blockIdx.y 0) and values (1) written to the rows of their stores that `places` names: pairs of a row of `x` and one of the store. A store
// is of f32, of f16 whose greatest number stands for what is greater, or of 8 bits, each head behind a scale of its own. A warp has a head.
KERNEL(256) store_rows(Stores stores, int form, const i64* places, i64 count, int heads) {
    come_early();
    Stored own = stores.at[blockIdx.y];
    u8* to = own.to;
    int dim = int(own.dim);
    for (i64 i = first_row(); i < count * heads; i += row_step()) {
        i64 place = i / heads, head = i % heads, kept = places[2 * place + 1] * heads + head;
        const T* from = own.x + places[2 * place] * own.row + head * own.head;
        if (form == F32) {
            for (int d = threadIdx.x; d < dim; d += WARP) reinterpret_cast<float*>(to)[kept * dim + d] = widen(from[d]);
        } else if (form == F16) {
            for (int d = threadIdx.x; d < dim; d += WARP) {
                float value = widen(from[d]);
                // NaN is neither greater nor less, and stays.
                reinterpret_cast<f16*>(to)[kept * dim + d] = f16_of(value > 65504 ? 65504 : value < -65504 ? -65504 : value);
            }
        } else {
            float most_of_all = 0;
            for (int d = threadIdx.x; d < dim; d += WARP) most_of_all = most(most_of_all, fabsf(float(widen(from[d]))));
            float scale = reduce_warp<Max>(most_of_all) / 127, inverse = scale == 0 ? 0 : 1 / scale;
            u8* stored = to + kept * (dim + 4);
            // Heads follow one another without gaps, so a scale may lie anywhere.
            if (threadIdx.x < 4) stored[threadIdx.x] = u8(__float_as_uint(scale) >> (8 * threadIdx.x));
            for (int d = threadIdx.x; d < dim; d += WARP) stored[4 + d] = u8(truncated<i8>(roundf(widen(from[d]) * inverse)));
        }
    }
}
