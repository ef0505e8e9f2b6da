// Rotary position embeddings (Su et al. 2021). -DT: the type of heads; -DA: that of cosines and sines.
#include "common.cuh"

// Where (row, head) lie, in elements; the elements of a head are neighbours.
struct Heads {
    i64 row, head;
};

// Turns pairs of elements of x (rows, heads, head_dim) by the angles of their row: neighbours if `interleaved`, else element i and i + pairs.
// A thread turns one pair, or copies two of the elements beyond all pairs, so `out` may be `x`.
KERNEL(256) rope(T* out, const T* x, const A* cos, const A* sin, i64 rows, int heads, int head_dim, int pairs, int interleaved, Heads to,
                 Heads from) {
    int turns = pairs + (head_dim - 2 * pairs + 1) / 2;
    for (i64 i = first_element(); i < rows * heads * turns; i += element_step()) {
        int turn = int(i % turns), head = int(i / turns % heads);
        i64 row = i / turns / heads;
        const T* source = x + row * from.row + head * from.head;
        T* target = out + row * to.row + head * to.head;
        if (turn < pairs) {
            int first = interleaved ? 2 * turn : turn, second = interleaved ? first + 1 : turn + pairs;
            float a = widen(source[first]), b = widen(source[second]), c = widen(cos[row * pairs + turn]), s = widen(sin[row * pairs + turn]);
            target[first] = narrow<T>(a * c - b * s);
            target[second] = narrow<T>(b * c + a * s);
        } else {
            int first = 2 * turn;
            target[first] = source[first];
            if (first + 1 < head_dim) target[first + 1] = source[first + 1];
        }
    }
}
