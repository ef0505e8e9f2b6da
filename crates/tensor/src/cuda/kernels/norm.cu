// Layer norm and root-mean-square norm over rows, with the residual added on the way, and their gradients. -DT: the type of rows, -DP: that
// of weights and biases.
#include "common.cuh"
#include "early.cuh"

// The mean of a row and the inverse of its deviation from it, or from zero: what it is normalised by. Two passes, since the difference of
// large squares would lose the variance of rows far from zero.
struct Scale {
    float mean, inverse;
};
DEVICE Scale scale_of(const T* row, int width, float eps, bool centred) {
    float mean = 0;
    if (centred) {
        for (int i = threadIdx.x; i < width; i += blockDim.x) mean += widen(row[i]);
        mean = reduce_row<Sum>(mean) / width;
    }
    float square = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float far = widen(row[i]) - mean;
        square += far * far;
    }
    return {mean, 1 / sqrtf(reduce_row<Sum>(square) / width + eps)};
}

// What a thread keeps of its row in registers, so that memory is read once: packs of EACH neighbours, or, where rows cannot be read so, elements
// one by one; those of all threads alternate.
constexpr int KEPT = 2, OWN = KEPT * EACH;
template <bool PACKED> struct Row {
    float at[OWN];

    // Where element `i` of pack `p` is in the row.
    static DEVICE int place(int p, int i) {
        int thread = threadIdx.x, threads = blockDim.x;
        return PACKED ? (p * threads + thread) * EACH + i : (p * EACH + i) * threads + thread;
    }
    template <typename Of> static DEVICE void fetch(float (&to)[EACH], const Of* row, int p, int width) {
        if constexpr (PACKED) {
            if (place(p, 0) < width) return read(to, row + place(p, 0));
        }
        for (int i = 0; i < EACH; i++) to[i] = place(p, i) < width ? widen(row[place(p, i)]) : 0;
    }
    static DEVICE void put(T* row, const float (&from)[EACH], int p, int width) {
        if constexpr (PACKED) {
            if (place(p, 0) < width) write(row + place(p, 0), from);
        } else {
            for (int i = 0; i < EACH; i++) {
                if (place(p, i) < width) row[place(p, i)] = narrow<T>(from[i]);
            }
        }
    }

    // See `normalise`.
    DEVICE void normalise(T* out, T* sum, const T* x, const T* residual, const P* weight, const P* bias, int width, float eps, bool centred) {
        float values[EACH], total = 0, square = 0;
#pragma unroll
        for (int p = 0; p < KEPT; p++) {
            fetch(values, x, p, width);
            for (int i = 0; i < EACH; i++) at[p * EACH + i] = values[i];
            if (residual) {
                fetch(values, residual, p, width);
                for (int i = 0; i < EACH; i++) values[i] = at[p * EACH + i] = widen(narrow<T>(at[p * EACH + i] + values[i]));
                if (sum != out) put(sum, values, p, width);
            }
            for (int i = 0; i < EACH; i++) total += at[p * EACH + i];
        }
        float mean = centred ? reduce_row<Sum>(total) / width : 0;
#pragma unroll
        for (int p = 0; p < KEPT; p++) {
            for (int i = 0; i < EACH; i++) {
                float far = place(p, i) < width ? at[p * EACH + i] - mean : 0;
                square += far * far;
            }
        }
        float inverse = 1 / sqrtf(reduce_row<Sum>(square) / width + eps);
#pragma unroll
        for (int p = 0; p < KEPT; p++) {
            float scales[EACH];
            fetch(scales, weight, p, width);
            for (int i = 0; i < EACH; i++) values[i] = (at[p * EACH + i] - mean) * inverse * scales[i];
            if (bias) {
                fetch(scales, bias, p, width);
                for (int i = 0; i < EACH; i++) values[i] += scales[i];
            }
            put(out, values, p, width);
        }
    }
};

// `out = norm(h) weight + bias` where h = x + residual. With a residual, h is written to `sum` for the next one to be added to; `sum` may be
// `x` or the residual itself, or `out` where nobody needs it. Without a bias, null.
DEVICE void normalise(T* out, T* sum, const T* x, const T* residual, const P* weight, const P* bias, i64 rows, int width, float eps,
                      bool centred) {
    bool is_kept = width <= OWN * int(blockDim.x), is_whole = is_packed(out) && is_packed(sum) && is_packed(x) && is_packed(residual);
    is_whole = is_whole && width % EACH == 0 && is_packed(weight) && is_packed(bias);
    for (i64 row = first_row(); row < rows; row += row_step()) {
        const T *from = x + row * width, *other = residual ? residual + row * width : nullptr;
        T *to = out + row * width, *kept = sum ? sum + row * width : nullptr;
        if (is_kept && is_whole) {
            Row<true>().normalise(to, kept, from, other, weight, bias, width, eps, centred);
            continue;
        }
        if (is_kept) {
            Row<false>().normalise(to, kept, from, other, weight, bias, width, eps, centred);
            continue;
        }
        if (residual) {
            // Each thread reads back only what it wrote itself.
            for (int i = threadIdx.x; i < width; i += blockDim.x) kept[i] = narrow<T>(widen(from[i]) + widen(other[i]));
            from = kept;
        }
        Scale scale = scale_of(from, width, eps, centred);
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float y = (widen(from[i]) - scale.mean) * scale.inverse * widen(weight[i]);
            to[i] = narrow<T>(bias ? y + widen(bias[i]) : y);
        }
    }
}

KERNEL(1024) layer_norm(T* out, T* sum, const T* x, const T* residual, const P* weight, const P* bias, i64 rows, int width, float eps) {
    come_early();
    normalise(out, sum, x, residual, weight, bias, rows, width, eps, true);
}

KERNEL(1024) rms_norm(T* out, T* sum, const T* x, const T* residual, const P* weight, i64 rows, int width, float eps) {
    come_early();
    normalise(out, sum, x, residual, weight, nullptr, rows, width, eps, false);
}

// With n = (h - mean) / σ and v = g weight: dh = (v - mean(v) - n mean(v n)) / σ; without the mean for the root mean square. What each row
// was normalised by is kept for the sums over rows.
DEVICE void slope(T* out, Scale* scales, const T* grad, const T* h, const P* weight, i64 rows, int width, float eps, bool centred) {
    for (i64 row = first_row(); row < rows; row += row_step()) {
        const T *g = grad + row * width, *from = h + row * width;
        Scale scale = scale_of(from, width, eps, centred);
        float v = 0, vn = 0;
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float vi = widen(g[i]) * widen(weight[i]);
            v += vi;
            vn += vi * (widen(from[i]) - scale.mean) * scale.inverse;
        }
        v = centred ? reduce_row<Sum>(v) / width : 0;
        vn = reduce_row<Sum>(vn) / width;
        for (int i = threadIdx.x; i < width; i += blockDim.x) {
            float n = (widen(from[i]) - scale.mean) * scale.inverse;
            out[row * width + i] = narrow<T>((widen(g[i]) * widen(weight[i]) - v - n * vn) * scale.inverse);
        }
        if (threadIdx.x == 0) scales[row] = scale;
    }
}

KERNEL(1024) layer_norm_gradient(T* out, Scale* scales, const T* grad, const T* h, const P* weight, i64 rows, int width, float eps) {
    slope(out, scales, grad, h, weight, rows, width, eps, true);
}

KERNEL(1024) rms_norm_gradient(T* out, Scale* scales, const T* grad, const T* x, const P* weight, i64 rows, int width, float eps) {
    slope(out, scales, grad, x, weight, rows, width, eps, false);
}

// dweight = Σ g n and dbias = Σ g over `share` rows for each blockIdx.y, written to its row of (shares, width) sums, which a reduction over
// columns then adds up: in this order every time, as sums by atomics would not be. Neighbouring threads have neighbouring columns.
KERNEL(1024) norm_parameter_gradients(float* weights, float* biases, const Scale* scales, const T* grad, const T* h, i64 rows, int width,
                                      i64 share) {
    i64 from = blockIdx.y * share, to = least(rows, from + share);
    for (i64 i = first_element(); i < width; i += element_step()) {
        float weight = 0, bias = 0;
        for (i64 row = from; row < to; row++) {
            float g = widen(grad[row * width + i]);
            weight += g * (widen(h[row * width + i]) - scales[row].mean) * scales[row].inverse;
            bias += g;
        }
        weights[blockIdx.y * i64(width) + i] = weight;
        if (biases) biases[blockIdx.y * i64(width) + i] = bias;
    }
}
