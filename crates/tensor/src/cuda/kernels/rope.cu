// Rotary position embeddings (Su et al. 2021). -DT: the type of heads; -DA: that of cosines and sines.
#include "common.cuh"
#include "early.cuh"

// Where (row, head) lie, in elements; the elements of a head are neighbours.
struct Heads {
    i64 row, head;
};

// (a, b) turned by an angle.
DEVICE void turn(float& a, float& b, float cos, float sin) {
    float before = a;
    a = before * cos - b * sin;
    b = b * cos + before * sin;
}

// Turns pairs of elements of x (rows, heads, head_dim) by the angles of their row: neighbours if `interleaved`, else element i and i + pairs.
// A thread turns a pair, or a pack of pairs, or copies two of the elements beyond all pairs, so `out` may be `x`.
KERNEL(256) rope(T* out, const T* x, const A* cos, const A* sin, i64 rows, int heads, int head_dim, int pairs, int interleaved, Heads to,
                 Heads from) {
    come_early();
    bool is_whole = !interleaved && pairs % EACH == 0 && (to.row | to.head | from.row | from.head) % EACH == 0 && is_packed(out) &&
                    is_packed(x) && is_packed(cos) && is_packed(sin);
    int each = is_whole ? EACH : 1, turning = pairs / each, turns = turning + (head_dim - 2 * pairs + 1) / 2;
    for (i64 i = first_element(); i < rows * heads * turns; i += element_step()) {
        int turned = int(i % turns), head = int(i / turns % heads);
        i64 row = i / turns / heads;
        const T* source = x + row * from.row + head * from.head;
        T* target = out + row * to.row + head * to.head;
        i64 angle = row * pairs + turned * each;
        if (turned >= turning) {
            int first = 2 * pairs + 2 * (turned - turning);
            target[first] = source[first];
            if (first + 1 < head_dim) target[first + 1] = source[first + 1];
        } else if (is_whole) {
            int first = turned * EACH;
            float a[EACH], b[EACH], c[EACH], s[EACH];
            read(a, source + first);
            read(b, source + first + pairs);
            read(c, cos + angle);
            read(s, sin + angle);
            for (int k = 0; k < EACH; k++) turn(a[k], b[k], c[k], s[k]);
            write(target + first, a);
            write(target + first + pairs, b);
        } else {
            int first = interleaved ? 2 * turned : turned, second = interleaved ? first + 1 : turned + pairs;
            float a = widen(source[first]), b = widen(source[second]);
            turn(a, b, widen(cos[angle]), widen(sin[angle]));
            target[first] = narrow<T>(a);
            target[second] = narrow<T>(b);
        }
    }
}
