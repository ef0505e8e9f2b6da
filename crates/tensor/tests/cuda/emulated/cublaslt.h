// What of cuBLASLt 12 is emulated: its numbers, and the objects that describe a product.
#pragma once

#include <cstddef>
#include <cstdint>

enum cublasStatus_t : int {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_ALLOC_FAILED = 3,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_ARCH_MISMATCH = 8,
    CUBLAS_STATUS_MAPPING_ERROR = 11,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_INTERNAL_ERROR = 14,
    CUBLAS_STATUS_NOT_SUPPORTED = 15,
};

enum Type : int { R_32F = 0, R_64F = 1, R_16F = 2, R_8I = 3, R_32I = 10, R_16BF = 14 };
enum Compute : int {
    COMPUTE_16F = 64,
    COMPUTE_16F_PEDANTIC = 65,
    COMPUTE_32F = 68,
    COMPUTE_32F_PEDANTIC = 69,
    COMPUTE_64F = 70,
    COMPUTE_64F_PEDANTIC = 71,
    COMPUTE_32I = 72,
    COMPUTE_32I_PEDANTIC = 73,
    COMPUTE_32F_FAST_16F = 74,
    COMPUTE_32F_FAST_16BF = 75,
    COMPUTE_32F_FAST_TF32 = 77,
};
enum Turn : int { TURN_NONE = 0, TURN_TRANSPOSED = 1, TURN_CONJUGATE = 2 };
enum Order : int { ORDER_COLUMN = 0, ORDER_ROW = 1 };
enum Epilogue : int { PLAIN = 1, RELU = 2, BIAS = 4, GELU = 32 };

namespace emulated {

// Bytes of an element.
size_t size_of(Type type);

struct Description {
    Compute compute;
    Type scale;
    int pointer_mode, turn_a, turn_b, turn_c;
    unsigned epilogue;
    // -1: that of the result.
    int bias_type;
    const void* bias;
    int64_t bias_stride;
    int sm_count;
    int8_t is_fast;
};

struct Layout {
    Type type;
    Order order;
    uint64_t rows, columns;
    // From column to column, or row to row.
    int64_t apart;
    int batch, reserved;
    int64_t stride;
};

struct Preference {
    uint64_t workspace;
    unsigned alignment[4];
    unsigned search_mode, reductions;
    // Attributes that are only kept.
    uint64_t others[4];
};

// A product: what it is of, as it was when it was asked for.
struct Product {
    Description of;
    Layout a, b, c, d;
    const void *at_a, *at_b, *at_c;
    void* at_d;
    // In the type of the scale.
    unsigned char alpha[8], beta[8];
};

// Whether there is such a product, by the sizes and types alone.
cublasStatus_t judge(const Description& of, const Layout& a, const Layout& b, const Layout& c, const Layout& d, int capability);
// D = epilogue(alpha op(A) op(B) + beta C)
void multiply(const Product& product);

}  // namespace emulated
