// Products of matrices, computed in blocks: operands are turned into one layout and the type that sums are in, so that one loop does for all.
#include "cublaslt.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

namespace emulated {

template <typename To, typename From> static To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

static float widen_half(uint16_t x) {
    uint32_t magnitude = (x & 0x7fffu) << 13;
    float wide = magnitude < 0x0f800000u ? bits_as<float>(magnitude) * 0x1p112f : bits_as<float>(magnitude | 0x7f800000u);
    return x & 0x8000 ? -wide : wide;
}
static uint16_t half_of(float x) {
    uint32_t bits = bits_as<uint32_t>(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return uint16_t(sign | 0x7e00);
    if (magnitude >= 0x477ff000) return uint16_t(sign | 0x7c00);
    if (magnitude < 0x38800000) return uint16_t(sign | (bits_as<uint32_t>(bits_as<float>(magnitude) + 0.5f) - 0x3f000000));
    return uint16_t(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}
// The upper `kept` bits of a float, to the nearest, ties to even.
static float rounded(float x, int kept) {
    uint32_t bits = bits_as<uint32_t>(x), cut = 32 - kept;
    if (!std::isfinite(x)) return x;
    bits += (1u << (cut - 1)) - 1 + (bits >> cut & 1);
    return bits_as<float>(bits >> cut << cut);
}

template <typename Sum> static Sum load(Type type, const void* from, int64_t at) {
    switch (type) {
        case R_32F: return Sum(static_cast<const float*>(from)[at]);
        case R_64F: return Sum(static_cast<const double*>(from)[at]);
        case R_16F: return Sum(widen_half(static_cast<const uint16_t*>(from)[at]));
        case R_16BF: return Sum(bits_as<float>(uint32_t(static_cast<const uint16_t*>(from)[at]) << 16));
        case R_8I: return Sum(static_cast<const int8_t*>(from)[at]);
        case R_32I: return Sum(static_cast<const int32_t*>(from)[at]);
    }
    return Sum(0);
}

template <typename Sum> static void store(Type type, void* to, int64_t at, Sum x) {
    switch (type) {
        case R_32F: static_cast<float*>(to)[at] = float(x); return;
        case R_64F: static_cast<double*>(to)[at] = double(x); return;
        case R_16F: static_cast<uint16_t*>(to)[at] = half_of(float(x)); return;
        case R_16BF: {
            float value = float(x);
            static_cast<uint16_t*>(to)[at] = uint16_t(value != value ? 0x7fff : bits_as<uint32_t>(rounded(value, 16)) >> 16);
            return;
        }
        case R_8I: return;
        case R_32I: static_cast<int32_t*>(to)[at] = int32_t(x); return;
    }
}

static size_t size_of(Type type) { return type == R_64F ? 8 : type == R_32F || type == R_32I ? 4 : type == R_8I ? 1 : 2; }

// How far apart an element's neighbours are in a matrix that may be read turned.
struct Steps {
    int64_t row, column;
    Steps(const Layout& of, int turn = TURN_NONE)
        : row(of.order == ORDER_COLUMN ? 1 : of.apart), column(of.order == ORDER_COLUMN ? of.apart : 1) {
        if (turn != TURN_NONE) std::swap(row, column);
    }
};

// Some rows of a matrix without gaps, each element as matrix units take it.
template <typename Sum>
static std::vector<Sum> packed(const Layout& of, const void* from, Steps steps, int64_t rows, int64_t columns, Compute compute) {
    std::vector<Sum> out(size_t(rows * columns));
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) out[i * columns + j] = load<Sum>(of.type, from, i * steps.row + j * steps.column);
    }
    if constexpr (std::is_same_v<Sum, float>) {
        if (of.type == R_32F && compute == COMPUTE_32F_FAST_TF32) {
            for (float& x : out) x = rounded(x, 19);
        }
        if (of.type == R_32F && compute == COMPUTE_32F_FAST_16BF) {
            for (float& x : out) x = rounded(x, 16);
        }
        if (of.type == R_32F && compute == COMPUTE_32F_FAST_16F) {
            for (float& x : out) x = widen_half(half_of(x));
        }
    }
    return out;
}

// out (rows, WIDE) = left (rows, depth) right (depth, WIDE), for right's rows `apart` from each other.
constexpr int WIDE = 32, TALL = 4;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif

#define BLOCK(Sum)                                                                                                                 \
    FOR_EVERY_PROCESSOR static void block(Sum* out, const Sum* left, int64_t left_apart, const Sum* right, int64_t depth) {      \
        Sum sums[TALL][WIDE] = {};                                                                                               \
        for (int64_t k = 0; k < depth; k++) {                                                                                    \
            for (int i = 0; i < TALL; i++) {                                                                                     \
                Sum x = left[i * left_apart + k];                                                                                \
                for (int j = 0; j < WIDE; j++) sums[i][j] += x * right[k * WIDE + j];                                            \
            }                                                                                                                    \
        }                                                                                                                        \
        memcpy(out, sums, sizeof sums);                                                                                          \
    }
BLOCK(float)
BLOCK(double)
BLOCK(int32_t)

static float gelu(float x) { return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x))); }

// One matrix of a batch, columns `from` to `to` of it.
template <typename Sum> static void columns(const Product& p, int64_t at, const std::vector<Sum>& left, int64_t from, int64_t to) {
    int64_t rows = int64_t(p.d.rows), depth = int64_t(p.of.turn_a == TURN_NONE ? p.a.columns : p.a.rows);
    auto matrix = [&](const Layout& of, const void* base) {
        return static_cast<const unsigned char*>(base) + at * of.stride * int64_t(size_of(of.type));
    };
    Steps b(p.b, p.of.turn_b), c(p.c), d(p.d);
    const void *at_b = matrix(p.b, p.at_b), *at_c = matrix(p.c, p.at_c);
    void* at_d = const_cast<unsigned char*>(matrix(p.d, p.at_d));
    Sum alpha, beta;
    memcpy(&alpha, p.alpha, sizeof alpha);
    memcpy(&beta, p.beta, sizeof beta);
    Layout strip = p.b;
    Sum out[TALL][WIDE];
    for (int64_t first = from; first < to; first += WIDE) {
        int64_t wide = std::min<int64_t>(WIDE, to - first);
        size_t size = size_of(p.b.type);
        std::vector<Sum> right = packed<Sum>(strip, static_cast<const unsigned char*>(at_b) + first * b.column * int64_t(size), b, depth, wide, p.of.compute);
        if (wide < WIDE) {
            std::vector<Sum> padded(size_t(depth) * WIDE);
            for (int64_t k = 0; k < depth; k++) std::copy_n(&right[k * wide], wide, &padded[k * WIDE]);
            right.swap(padded);
        }
        for (int64_t top = 0; top < rows; top += TALL) {
            block(&out[0][0], &left[top * depth], depth, right.data(), depth);
            for (int64_t i = top; i < std::min(top + TALL, rows); i++) {
                for (int64_t j = 0; j < wide; j++) {
                    Sum x = alpha * out[i - top][j];
                    if (beta != 0) x += beta * load<Sum>(p.c.type, at_c, i * c.row + (first + j) * c.column);
                    if (p.of.epilogue & BIAS) x += load<Sum>(Type(p.of.bias_type), p.of.bias, i + at * p.of.bias_stride);
                    if (p.of.epilogue & RELU) x = x < 0 ? 0 : x;
                    if (p.of.epilogue & GELU) x = Sum(gelu(float(x)));
                    store(p.d.type, at_d, i * d.row + (first + j) * d.column, x);
                }
            }
        }
    }
}

template <typename Sum> static void multiply_in(const Product& p) {
    int64_t rows = int64_t(p.d.rows), wide = int64_t(p.d.columns), depth = int64_t(p.of.turn_a == TURN_NONE ? p.a.columns : p.a.rows);
    for (int at = 0; at < p.d.batch; at++) {
        const unsigned char* a = static_cast<const unsigned char*>(p.at_a) + at * p.a.stride * int64_t(size_of(p.a.type));
        std::vector<Sum> left = packed<Sum>(p.a, a, Steps(p.a, p.of.turn_a), rows, depth, p.of.compute);
        // Whole blocks.
        left.resize(size_t((rows + TALL - 1) / TALL * TALL * depth + TALL));
        int64_t helpers = std::min<int64_t>(std::thread::hardware_concurrency(), std::min(wide / WIDE, rows * wide * depth >> 22));
        int64_t share = helpers > 1 ? (wide / helpers + WIDE - 1) / WIDE * WIDE : wide;
        std::vector<std::thread> team;
        for (int64_t from = share; from < wide; from += share) {
            team.emplace_back([&, from] { columns<Sum>(p, at, left, from, std::min(from + share, wide)); });
        }
        columns<Sum>(p, at, left, 0, std::min(share, wide));
        for (std::thread& helper : team) helper.join();
    }
}

void multiply(const Product& product) {
    switch (product.of.scale) {
        case R_64F: return multiply_in<double>(product);
        case R_32I: return multiply_in<int32_t>(product);
        default: return multiply_in<float>(product);
    }
}

static bool fits(const Layout& of) {
    uint64_t least = of.order == ORDER_COLUMN ? of.rows : of.columns;
    return of.apart >= 0 && uint64_t(of.apart) >= least && of.batch > 0;
}

cublasStatus_t judge(const Description& of, const Layout& a, const Layout& b, const Layout& c, const Layout& d, int capability) {
    uint64_t rows = of.turn_a == TURN_NONE ? a.rows : a.columns, depth = of.turn_a == TURN_NONE ? a.columns : a.rows;
    uint64_t b_depth = of.turn_b == TURN_NONE ? b.rows : b.columns, wide = of.turn_b == TURN_NONE ? b.columns : b.rows;
    if (!fits(a) || !fits(b) || !fits(c) || !fits(d)) return CUBLAS_STATUS_INVALID_VALUE;
    if (b_depth != depth || d.rows != rows || d.columns != wide || c.rows != rows || c.columns != wide) return CUBLAS_STATUS_INVALID_VALUE;
    if (a.batch != d.batch || b.batch != d.batch || c.batch != d.batch) return CUBLAS_STATUS_INVALID_VALUE;
    if (of.pointer_mode != 0 || of.turn_c != TURN_NONE || c.order != d.order || c.type != d.type) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (of.epilogue & ~(PLAIN | RELU | BIAS | GELU) || (of.epilogue & RELU && of.epilogue & GELU)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (of.epilogue & BIAS && of.bias_type != -1 && of.bias_type != d.type) return CUBLAS_STATUS_NOT_SUPPORTED;
    bool has_epilogue = of.epilogue != PLAIN, is_half = a.type == R_16F || a.type == R_16BF;
    if (a.type != b.type) return CUBLAS_STATUS_NOT_SUPPORTED;
    switch (of.compute) {
        case COMPUTE_32F:
        case COMPUTE_32F_PEDANTIC:
        case COMPUTE_32F_FAST_16F:
        case COMPUTE_32F_FAST_16BF:
        case COMPUTE_32F_FAST_TF32:
            if (of.scale != R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
            if (a.type == R_16BF && capability < 80) return CUBLAS_STATUS_NOT_SUPPORTED;
            if (is_half) return d.type == a.type || d.type == R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
            return a.type == R_32F && d.type == R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
        case COMPUTE_64F:
        case COMPUTE_64F_PEDANTIC:
            return of.scale == R_64F && a.type == R_64F && d.type == R_64F && !has_epilogue ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
        case COMPUTE_32I:
        case COMPUTE_32I_PEDANTIC: {
            // Matrix units want whole words of a row, and A turned.
            bool is_whole = a.apart % 4 == 0 && b.apart % 4 == 0 && c.apart % 4 == 0 && d.apart % 4 == 0 && rows % 4 == 0 && depth % 4 == 0;
            bool is_turned = of.turn_a != TURN_NONE && of.turn_b == TURN_NONE && a.order == ORDER_COLUMN && b.order == ORDER_COLUMN;
            bool is_known = of.scale == R_32I && a.type == R_8I && d.type == R_32I && !has_epilogue && is_whole && is_turned;
            return is_known ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
        }
        default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

}  // namespace emulated
