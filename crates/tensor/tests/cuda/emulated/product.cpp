// Products of matrices, computed in blocks: operands are turned into one layout and the type that sums are in, so that one loop does for all.
#include "cublaslt.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <type_traits>
#include <utility>
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

size_t size_of(Type type) { return type == R_64F ? 8 : type == R_32F || type == R_32I ? 4 : type == R_8I ? 1 : 2; }

// A matrix where it lies: elements from row to row and from column to column.
struct View {
    Type type;
    unsigned char* at;
    int64_t row, column;

    View(const Layout& of, const void* base, int batch, int turn = TURN_NONE)
        : type(of.type), at(static_cast<unsigned char*>(const_cast<void*>(base)) + batch * of.stride * int64_t(size_of(of.type))),
          row(of.order == ORDER_COLUMN ? 1 : of.apart), column(of.order == ORDER_COLUMN ? of.apart : 1) {
        if (turn != TURN_NONE) std::swap(row, column);
    }
    View turned() const {
        View other = *this;
        std::swap(other.row, other.column);
        return other;
    }
    const void* from(int64_t i, int64_t j) const { return at + (i * row + j * column) * int64_t(size_of(type)); }
};

template <typename Sum> static void convert(Type type, const void* from, int64_t step, int64_t count, Sum* to, int64_t to_step) {
    auto as = [&](auto known) {
        if (step == 1) {
            for (int64_t i = 0; i < count; i++) to[i * to_step] = load<Sum>(known, from, i);
        } else {
            for (int64_t i = 0; i < count; i++) to[i * to_step] = load<Sum>(known, from, i * step);
        }
    };
    // The type is known where the loop is compiled.
    switch (type) {
        case R_32F: return as(std::integral_constant<Type, R_32F>());
        case R_64F: return as(std::integral_constant<Type, R_64F>());
        case R_16F: return as(std::integral_constant<Type, R_16F>());
        case R_8I: return as(std::integral_constant<Type, R_8I>());
        case R_32I: return as(std::integral_constant<Type, R_32I>());
        case R_16BF: return as(std::integral_constant<Type, R_16BF>());
    }
}

// Rows and columns from one of each on, into rows so far `apart`, each element as matrix units take it.
template <typename Sum>
static void pack(const View& of, int64_t row, int64_t rows, int64_t column, int64_t columns, Compute compute, Sum* to, int64_t apart) {
    // Along what lies together.
    if (of.column == 1) {
        for (int64_t i = 0; i < rows; i++) convert(of.type, of.from(row + i, column), 1, columns, to + i * apart, 1);
    } else {
        for (int64_t j = 0; j < columns; j++) convert(of.type, of.from(row, column + j), of.row, rows, to + j, apart);
    }
    if constexpr (std::is_same_v<Sum, float>) {
        if (of.type != R_32F || compute < COMPUTE_32F_FAST_16F) return;
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < columns; j++) {
                float& x = to[i * apart + j];
                x = compute == COMPUTE_32F_FAST_TF32 ? rounded(x, 19) : compute == COMPUTE_32F_FAST_16BF ? rounded(x, 16) : widen_half(half_of(x));
            }
        }
    }
}

// out (TALL, WIDE) = left (TALL, depth) right (depth, WIDE), left's rows so far `apart`.
constexpr int WIDE = 32, TALL = 4;
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
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

// One product of a batch, or it turned, which is that of the turned operands the other way round.
struct Operands {
    const Product& of;
    View left, right, c, d;
    int64_t rows, depth, columns;
    int batch;
    bool is_turned;

    Operands(const Product& p, int batch)
        : of(p), left(p.a, p.at_a, batch, p.of.turn_a), right(p.b, p.at_b, batch, p.of.turn_b), c(p.c, p.at_c, batch), d(p.d, p.at_d, batch),
          rows(int64_t(p.d.rows)), depth(int64_t(p.of.turn_a == TURN_NONE ? p.a.columns : p.a.rows)), columns(int64_t(p.d.columns)), batch(batch),
          // Blocks are wider than they are tall.
          is_turned(rows > columns) {
        if (!is_turned) return;
        std::swap(left, right);
        left = left.turned(), right = right.turned(), c = c.turned(), d = d.turned();
        std::swap(rows, columns);
    }
};

template <typename Sum> static void finish(const Operands& o, int64_t i, int64_t j, Sum sum, Sum alpha, Sum beta) {
    const Description& of = o.of.of;
    Sum x = alpha * sum;
    if (beta != 0) x += beta * load<Sum>(o.c.type, o.c.from(i, j), 0);
    if (of.epilogue & BIAS) x += load<Sum>(Type(of.bias_type), of.bias, (o.is_turned ? j : i) + o.batch * of.bias_stride);
    if (of.epilogue & RELU) x = x < 0 ? 0 : x;
    if (of.epilogue & GELU) x = Sum(gelu(float(x)));
    store(o.d.type, const_cast<void*>(o.d.from(i, j)), 0, x);
}

// Columns `from` to `to`; the left operand is packed.
template <typename Sum> static void strips(const Operands& o, const std::vector<Sum>& left, int64_t from, int64_t to) {
    Sum alpha, beta, out[TALL][WIDE];
    memcpy(&alpha, o.of.alpha, sizeof alpha);
    memcpy(&beta, o.of.beta, sizeof beta);
    std::vector<Sum> right(size_t(o.depth * WIDE));
    for (int64_t first = from; first < to; first += WIDE) {
        int64_t wide = std::min<int64_t>(WIDE, to - first);
        pack(o.right, 0, o.depth, first, wide, o.of.of.compute, right.data(), WIDE);
        for (int64_t top = 0; top < o.rows; top += TALL) {
            block(&out[0][0], &left[top * o.depth], o.depth, right.data(), o.depth);
            for (int64_t i = top; i < std::min(top + TALL, o.rows); i++) {
                for (int64_t j = 0; j < wide; j++) finish(o, i, first + j, out[i - top][j], alpha, beta);
            }
        }
    }
}

template <typename Sum> static void multiply_in(const Product& p) {
    for (int batch = 0; batch < p.d.batch; batch++) {
        Operands o(p, batch);
        // Whole blocks.
        std::vector<Sum> left(size_t((o.rows + TALL - 1) / TALL * TALL * o.depth + 1));
        pack(o.left, 0, o.rows, 0, o.depth, p.of.compute, left.data(), o.depth);
        // A thread for each so many thousand sums; few are not worth another.
        int64_t helpers = std::min<int64_t>(std::thread::hardware_concurrency(), std::min(o.columns / WIDE, o.rows * o.columns * o.depth >> 20));
        int64_t share = helpers > 1 ? (o.columns / helpers + WIDE - 1) / WIDE * WIDE : std::max<int64_t>(o.columns, 1);
        std::vector<std::thread> team;
        for (int64_t from = share; from < o.columns; from += share) {
            team.emplace_back([&, from] { strips<Sum>(o, left, from, std::min(from + share, o.columns)); });
        }
        strips<Sum>(o, left, 0, std::min(share, o.columns));
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
