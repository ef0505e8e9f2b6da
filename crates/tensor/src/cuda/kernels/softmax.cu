// Softmax and its logarithm over rows, and their gradients. -DT: the type of all tensors; f64 computes in doubles.
#include "common.cuh"

using C = decltype(widen(T()));

template <typename To> DEVICE To rounded(float x) { return narrow<To>(x); }
template <typename To> DEVICE To rounded(double x) { return To(x); }

// A row whose maximum is -inf or NaN has no softmax: it comes out as NaN, as torch's does.
KERNEL(1024) softmax(T* out, const T* x, i64 rows, int width, int log) {
    for (i64 row = first_row(); row < rows; row += row_step()) {
        const T* from = x + row * width;
        T* to = out + row * width;
        C max = -INFINITY;
        for (int i = threadIdx.x; i < width; i += blockDim.x) max = Max::join(max, widen(from[i]));
        max = reduce_row<Max>(max);
        C sum = 0;
        for (int i = threadIdx.x; i < width; i += blockDim.x) sum += exp(widen(from[i]) - max);
        sum = reduce_row<Sum>(sum);
        C scale = log ? ::log(sum) : 1 / sum;
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            C far = widen(from[i]) - max;
            to[i] = rounded<T>(log ? far - scale : exp(far) * scale);
        }
    }
}

// From y, the result: y (g - Σ g y), or g - eʸ Σ g for the logarithm.
KERNEL(1024) softmax_gradient(T* out, const T* grad, const T* y, i64 rows, int width, int log) {
    for (i64 row = first_row(); row < rows; row += row_step()) {
        const T *g = grad + row * width, *of = y + row * width;
        C sum = 0;
        for (int i = threadIdx.x; i < width; i += blockDim.x) sum += widen(g[i]) * (log ? C(1) : widen(of[i]));
        sum = reduce_row<Sum>(sum);
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            C gi = widen(g[i]), yi = widen(of[i]);
            out[row * width + i] = rounded<T>(log ? gi - exp(yi) * sum : yi * (gi - sum));
        }
    }
}
