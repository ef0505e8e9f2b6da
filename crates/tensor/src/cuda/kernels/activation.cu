// Activations between linear layers, gates, and their gradients. -DT: the type of all tensors.
#include "functions.cuh"

KERNEL(256) activation(T* out, const T* x, i64 count, int function) {
    bool is_whole = is_packed(out) && is_packed(x);
    for (i64 i = first_element() * EACH; i < count; i += element_step() * EACH) {
        if (is_whole && i + EACH <= count) {
            float values[EACH];
            read(values, x + i);
            for (float& value : values) value = activate(function, value);
            write(out + i, values);
        } else {
            for (i64 k = i; k < least(i + EACH, count); k++) out[k] = narrow<T>(activate(function, widen(x[k])));
        }
    }
}

// `grad` times the slope at x.
KERNEL(256) activation_gradient(T* out, const T* grad, const T* x, i64 count, int function) {
    for (i64 i = first_element(); i < count; i += element_step()) {
        out[i] = narrow<T>(widen(grad[i]) * activation_slope(function, widen(x[i])));
    }
}

// activation(gate) up, where rows of `x` are gate and up, of one `width`; `count` is the elements of `out`.
KERNEL(256) gated(T* out, const T* x, i64 count, int width, int function) {
    bool is_whole = width % EACH == 0 && is_packed(out) && is_packed(x);
    for (i64 i = first_element() * EACH; i < count; i += element_step() * EACH) {
        if (is_whole) {
            const T* at = x + i + i / width * width;
            float gate[EACH], up[EACH];
            read(gate, at);
            read(up, at + width);
            for (int k = 0; k < EACH; k++) up[k] *= activate(function, gate[k]);
            write(out + i, up);
        } else {
            for (i64 k = i; k < least(i + EACH, count); k++) {
                const T* gate = x + k + k / width * width;
                out[k] = narrow<T>(activate(function, widen(gate[0])) * widen(gate[width]));
            }
        }
    }
}

KERNEL(256) gated_gradient(T* out, const T* grad, const T* x, i64 count, int width, int function) {
    for (i64 i = first_element(); i < count; i += element_step()) {
        i64 at = i + i / width * width;
        float gate = widen(x[at]), up = widen(x[at + width]), g = widen(grad[i]);
        out[at] = narrow<T>(g * up * activation_slope(function, gate));
        out[at + width] = narrow<T>(g * activate(function, gate));
    }
}
