// Cross entropy of rows of logits, and its gradient: no probabilities are written but those that become the gradient. -DT: the type of the
// logits.
#include "common.cuh"

// With L = ln Σ eˣ and smoothing ε the loss is L - (1 - ε) x[class] - ε mean(x); 0 for class -1. The logits are read once: each thread
// scales its own sum anew when it meets a larger maximum.
KERNEL(1024) cross_entropy(float* loss, float* log_sum, const T* x, const i64* classes, i64 rows, int width, float smoothing) {
    for (i64 row = first_row(); row < rows; row += row_step()) {
        const T* from = x + row * width;
        float max = -INFINITY, sum = 0, total = 0;
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float value = widen(from[i]), high = Max::join(max, value);
            // Nothing but -inf so far has no difference to it.
            if (value != -INFINITY) sum = sum * expf(max - high) + expf(value - high);
            max = high;
            total += value;
        }
        float high = reduce_row<Max>(max);
        sum = reduce_row<Sum>(max == -INFINITY ? 0.0f : sum * expf(max - high));
        if (smoothing != 0) total = reduce_row<Sum>(total);
        if (threadIdx.x == 0) {
            // An infinite maximum is the logarithm itself.
            float of_row = high - high == 0 ? high + logf(sum) : high;
            float even = smoothing == 0 ? 0 : smoothing * total / width;
            i64 wanted = classes[row];
            loss[row] = wanted < 0 ? 0 : of_row - (1 - smoothing) * widen(from[wanted]) - even;
            log_sum[row] = of_row;
        }
    }
}

// g (softmax(x) - the probabilities wanted); `out` may be `x`.
KERNEL(1024) cross_entropy_gradient(T* out, const float* grad, const T* x, const i64* classes, const float* log_sum, i64 rows, int width,
                                    float smoothing) {
    for (i64 row = first_row(); row < rows; row += row_step()) {
        i64 wanted = classes[row];
        float g = wanted < 0 ? 0 : grad[row], of_row = log_sum[row], even = smoothing / width;
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float p = wanted < 0 ? 0 : expf(widen(x[row * width + i]) - of_row) - even;
            out[row * width + i] = narrow<T>(g * (i == wanted ? p - (1 - smoothing) : p));
        }
    }
}
