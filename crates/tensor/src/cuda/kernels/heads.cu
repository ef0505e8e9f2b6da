// Heads of queries, keys and values: turned by rotary position embeddings (Su et al. 2021), and kept for rows to come. -DT: the type of heads.
#include "early.cuh"
#include "numbers.cuh"

// Where (row, head) lie, in elements; the elements of a head are neighbours.
struct Heads {
    i64 row, head;
    DEVICE i64 at(i64 of_row, i64 of_head) const { return of_row * row + of_head * head; }
};

// (a, b) turned by an angle.
DEVICE void turn(float& a, float& b, float cos, float sin) {
    float before = a;
    a = before * cos - b * sin;
    b = b * cos + before * sin;
}

// The angles of rows (rows, pairs), by which pairs of elements of their heads are turned: neighbours if `interleaved`, else element i and i + pairs.
struct Angles {
    const float *cos, *sin;
    int pairs, interleaved;

    // Whether heads lie so that several pairs are turned at once.
    DEVICE bool are_packed(const T* x, Heads heads) const {
        return !interleaved && pairs % EACH == 0 && (heads.row | heads.head) % EACH == 0 && is_packed(x) && is_packed(cos) && is_packed(sin);
    }
    // A turn is that of a pair, or of a pack of them, or leaves two of the elements beyond all pairs as they are. So many has a head.
    DEVICE int turns(int dim, bool in_packs) const { return pairs / (in_packs ? EACH : 1) + (dim - 2 * pairs + 1) / 2; }

    // One turn of a head; `to` may be `from`.
    DEVICE void turn_one(T* to, const T* from, int dim, i64 row, int turned, bool in_packs) const {
        int each = in_packs ? EACH : 1, turning = pairs / each;
        i64 angle = row * pairs + turned * each;
        if (turned >= turning) {
            int first = 2 * pairs + 2 * (turned - turning);
            to[first] = from[first];
            if (first + 1 < dim) to[first + 1] = from[first + 1];
        } else if (in_packs) {
            int first = turned * EACH;
            float a[EACH], b[EACH], c[EACH], s[EACH];
            read(a, from + first);
            read(b, from + first + pairs);
            read(c, cos + angle);
            read(s, sin + angle);
            for (int k = 0; k < EACH; k++) turn(a[k], b[k], c[k], s[k]);
            write(to + first, a);
            write(to + first + pairs, b);
        } else {
            int first = interleaved ? 2 * turned : turned, second = interleaved ? first + 1 : turned + pairs;
            float a = widen(from[first]), b = widen(from[second]);
            turn(a, b, cos[angle], sin[angle]);
            to[first] = narrow<T>(a);
            to[second] = narrow<T>(b);
        }
    }
};

// Turns heads (rows, heads, dim) by the angles of their row. A thread has a turn, so `out` may be `x`.
KERNEL(256) rope(T* out, const T* x, Angles angles, i64 rows, int heads, int dim, Heads to, Heads from) {
    come_early();
    bool in_packs = angles.are_packed(out, to) && angles.are_packed(x, from);
    int turns = angles.turns(dim, in_packs);
    for (i64 i = first_element(); i < rows * heads * turns; i += element_step()) {
        int turned = int(i % turns), head = int(i / turns % heads);
        i64 row = i / turns / heads;
        angles.turn_one(out + to.at(row, head), x + from.at(row, head), dim, row, turned, in_packs);
    }
}

// Writes a head of `dim` elements to its place in a store: of f32, of f16 whose greatest number stands for what is greater, or of 8 bits, each head behind
// a scale of its own. A warp does it.
DEVICE void keep(u8* store, int form, i64 place, const T* from, int dim) {
    if (form == F32) {
        for (int d = threadIdx.x; d < dim; d += WARP) reinterpret_cast<float*>(store)[place * dim + d] = widen(from[d]);
    } else if (form == F16) {
        for (int d = threadIdx.x; d < dim; d += WARP) {
            float value = widen(from[d]);
            // NaN is neither greater nor less, and stays.
            reinterpret_cast<f16*>(store)[place * dim + d] = f16_of(value > 65504 ? 65504 : value < -65504 ? -65504 : value);
        }
    } else {
        float most_of_all = 0;
        for (int d = threadIdx.x; d < dim; d += WARP) most_of_all = most(most_of_all, fabsf(float(widen(from[d]))));
        float scale = reduce_warp<Max>(most_of_all) / 127, inverse = scale == 0 ? 0 : 1 / scale;
        u8* to = store + place * (dim + 4);
        // Heads follow one another without gaps, so a scale may lie anywhere.
        if (threadIdx.x < 4) to[threadIdx.x] = u8(__float_as_uint(scale) >> (8 * threadIdx.x));
        for (int d = threadIdx.x; d < dim; d += WARP) to[4 + d] = u8(truncated<i8>(roundf(widen(from[d]) * inverse)));
    }
}

// Keys, values or queries (rows, count, dim), and where they are kept; null for queries.
struct Part {
    u8* store;
    T* x;
    Heads heads;
    int count, dim;
};

// Keys (blockIdx.y 0) and values (1) written to the rows of their stores that `places` names: pairs of a row and of one of the store. If there are angles,
// keys, and queries (2), are turned first where they are, and each row is named once. A warp has a head.
KERNEL(256) store_rows(Part keys, Part values, Part queries, Angles angles, int form, const i64* places, i64 count) {
    come_early();
    Part own = blockIdx.y == 0 ? keys : blockIdx.y == 1 ? values : queries;
    bool is_turned = angles.cos && blockIdx.y != 1, in_packs = angles.are_packed(own.x, own.heads);
    int turns = is_turned ? angles.turns(own.dim, in_packs) : 0;
    for (i64 i = first_row(); i < count * own.count; i += row_step()) {
        i64 place = i / own.count, head = i % own.count, row = places[2 * place];
        T* x = own.x + own.heads.at(row, head);
        for (int turned = threadIdx.x; turned < turns; turned += WARP) angles.turn_one(x, x, own.dim, row, turned, in_packs);
        // Lanes keep what others have turned.
        if (is_turned) sync_warp();
        if (own.store) keep(own.store, form, places[2 * place + 1] * own.count + head, x, own.dim);
    }
}
