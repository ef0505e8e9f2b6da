// Rows looked up. -DT: the type of activations.
#include "numbers.cuh"

// One table of an embedding and the row of it that each position takes.
struct Lookup {
    const void* table;
    const i64* ids;
    i64 rows;
};
constexpr int MAX_LOOKUPS = 4;
struct Lookups {
    Lookup at[MAX_LOOKUPS];
    i64 count;
};

// For every position the sum, over the lookups, of the row that its id names: (positions, width). An id that was drawn here may name none.
KERNEL(256) embedding(T* out, Lookups lookups, int dtype, i64 positions, int width) {
    for (i64 i = first_element(); i < positions * width; i += element_step()) {
        i64 position = i / width, column = i % width;
        float sum = 0;
        // Unrolled, as what is indexed by a variable would be copied to memory.
        #pragma unroll
        for (int n = 0; n < MAX_LOOKUPS; n++) {
            Lookup one = lookups.at[n];
            if (n >= lookups.count) break;
            i64 id = one.ids[position];
            if (id >= 0 && id < one.rows) sum += load<float>(one.table, dtype, id * width + column);
        }
        out[i] = narrow<T>(sum);
    }
}
