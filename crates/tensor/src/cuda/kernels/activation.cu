// Activations between linear layers, gates, and their gradients. -DT: the type of all tensors.
#include "functions.cuh"

KERNEL(256) activation(T* out, const T* x, i64 count, int function) {
    for (i64 i = first_element(); i < count; i += element_step()) out[i] = narrow<T>(activate(function, widen(x[i])));
}

// `grad` times the slope at x.
KERNEL(256) activation_gradient(T* out, const T* grad, const T* x, i64 count, int function) {
    for (i64 i = first_element(); i < count; i += element_step()) {
        out[i] = narrow<T>(widen(grad[i]) * activation_slope(function, widen(x[i])));
    }
}

// activation(gate) up, where rows of `x` are gate and up, of one `width`; `count` is the elements of `out`.
KERNEL(256) gated(T* out, const T* x, i64 count, int width, int function) {
    for (i64 i = first_element(); i < count; i += element_step()) {
        const T* gate = x + i + i / width * width;
        out[i] = narrow<T>(activate(function, widen(gate[0])) * widen(gate[width]));
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
