// Functions of one, two and three tensors with any strides and dtypes. -DC: the type to compute in, see numbers.cuh. Strides are in elements;
// the first ones are the result's.
#include "functions.cuh"
#include "numbers.cuh"

// In the order of the host's functions.
enum Unary : i32 {
    NEG, ABS, SIGN, SQUARE, BIT_NOT, FLOOR, CEIL, ROUND, TRUNC, RECIPROCAL, SQRT, RSQRT, EXP, EXP2, EXPM1, LOG, LOG2, LOG10, LOG1P,
    SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH_OF, ERF, SIGMOID_OF, RELU_OF, RELU_SQUARED_OF, GELU_OF, GELU_TANH_OF,
    QUICK_GELU_OF, SILU_OF
};
enum Binary : i32 {
    ADD, SUB, MUL, DIV, FLOOR_DIVIDE, REMAINDER, POW, MAXIMUM, MINIMUM, ATAN2, BIT_AND, BIT_OR, BIT_XOR, SHIFT_LEFT, SHIFT_RIGHT
};
enum Compare : i32 { EQ, NE, LT, LE, GT, GE };

template <typename V> DEVICE V function(int op, V x) {
    if constexpr (IS_WIDE<V>) {
        switch (op) {
            case NEG: return -x;
            case ABS: return fabs(x);
            case SIGN: return x != x ? x : V((x > 0) - (x < 0));
            case SQUARE: return x * x;
            case FLOOR: return floor(x);
            case CEIL: return ceil(x);
            case ROUND: return rint(x);
            case TRUNC: return trunc(x);
            case RECIPROCAL: return 1 / x;
            case SQRT: return sqrt(x);
            case RSQRT: return 1 / sqrt(x);
            case EXP: return exp(x);
            case EXP2: return exp2(x);
            case EXPM1: return expm1(x);
            case LOG: return log(x);
            case LOG2: return log2(x);
            case LOG10: return log10(x);
            case LOG1P: return log1p(x);
            case SIN: return sin(x);
            case COS: return cos(x);
            case TAN: return tan(x);
            case ASIN: return asin(x);
            case ACOS: return acos(x);
            case ATAN: return atan(x);
            case SINH: return sinh(x);
            case COSH: return cosh(x);
            case TANH_OF: return tanh(x);
            case ERF: return erf(x);
            case SIGMOID_OF: return sigmoid(x);
            case RELU_OF: return relu(x);
            case RELU_SQUARED_OF: return x < 0 ? V(0) : x * x;
            case GELU_OF: return gelu(x);
            case GELU_TANH_OF: return gelu_tanh(x);
            case QUICK_GELU_OF: return x / (1 + exp(V(-1.702) * x));
            case SILU_OF: return x / (1 + exp(-x));
            default: return x;
        }
    } else {
        // Unsigned, where overflow wraps.
        bool is_negative = x < V(0);
        switch (op) {
            case NEG: return V(u64(0) - u64(x));
            case ABS: return is_negative ? V(u64(0) - u64(x)) : x;
            case SIGN: return V((x > V(0)) - is_negative);
            case SQUARE: return V(u64(x) * u64(x));
            case BIT_NOT: return ~x;
            case RELU_OF: return is_negative ? V(0) : x;
            case RELU_SQUARED_OF: return is_negative ? V(0) : V(u64(x) * u64(x));
            default: return x;
        }
    }
}

// What remains of x after whole steps of y, with the sign of y.
template <typename V> DEVICE V remainder_of(V x, V y) {
    V rest;
    if constexpr (IS_WIDE<V>) rest = fmod(x, y);
    // -1 divides everything, and the least integer by it would trap.
    else rest = y == V(0) || V(y + 1) == V(0) && V(-1) < V(0) ? V(0) : x % y;
    return rest != V(0) && (rest < V(0)) != (y < V(0)) ? rest + y : rest;
}

template <typename V> DEVICE V power(V x, u32 exponent) {
    u64 result = 1, base = u64(x);
    for (; exponent; exponent >>= 1, base *= base) {
        if (exponent & 1) result *= base;
    }
    return V(result);
}

template <typename V> DEVICE V function(int op, V x, V y) {
    if constexpr (IS_WIDE<V>) {
        switch (op) {
            case ADD: return x + y;
            case SUB: return x - y;
            case MUL: return x * y;
            case DIV: return x / y;
            // ⌊x / y⌋ rounded first would be one too large just below an integer.
            case FLOOR_DIVIDE: return y == 0 ? x / y : rint((x - remainder_of(x, y)) / y);
            case REMAINDER: return remainder_of(x, y);
            case POW: return pow(x, y);
            case MAXIMUM: return x > y || x != x ? x : y;
            case MINIMUM: return x < y || x != x ? x : y;
            default: return atan2(x, y);
        }
    } else {
        bool is_long = u64(y) >= 64;
        switch (op) {
            case ADD: return V(u64(x) + u64(y));
            case SUB: return V(u64(x) - u64(y));
            case MUL: return V(u64(x) * u64(y));
            case FLOOR_DIVIDE:
                if (y == V(0)) return 0;
                if (V(y + 1) == V(0) && V(-1) < V(0)) return V(u64(0) - u64(x));
                return (x - remainder_of(x, y)) / y;
            case REMAINDER: return remainder_of(x, y);
            case POW: return power(x, u32(y));
            case MAXIMUM: return x > y ? x : y;
            case MINIMUM: return x < y ? x : y;
            case BIT_AND: return x & y;
            case BIT_OR: return x | y;
            case BIT_XOR: return x ^ y;
            case SHIFT_LEFT: return is_long ? V(0) : V(u64(x) << y);
            default: return is_long ? V(x < V(0) ? -1 : 0) : x >> y;
        }
    }
}

DEVICE bool holds(int op, C x, C y) {
    switch (op) {
        case EQ: return x == y;
        case NE: return x != y;
        case LT: return x < y;
        case LE: return x <= y;
        case GT: return x > y;
        default: return x >= y;
    }
}

// The one element of `out`.
KERNEL(256) fill(void* out, int out_dtype, C value) {
    if (first_element() == 0) store(out, out_dtype, 0, value);
}

// A conversion is assigned as the type that holds both: C is that of the source.
KERNEL(256) assign(void* out, int out_dtype, const void* x, int x_dtype, Walk<2> walk) {
    for (i64 i = first_element(); i < walk.count; i += element_step()) {
        i64 at[2];
        walk.locate(i, at);
        store(out, out_dtype, at[0], load<C>(x, x_dtype, at[1]));
    }
}

KERNEL(256) unary(void* out, int out_dtype, const void* x, int x_dtype, int op, Walk<2> walk) {
    for (i64 i = first_element(); i < walk.count; i += element_step()) {
        i64 at[2];
        walk.locate(i, at);
        C value = load<C>(x, x_dtype, at[1]);
        // Truth values turn as a whole.
        store(out, out_dtype, at[0], op == BIT_NOT && out_dtype == BOOL ? C(value == C(0)) : function(op, value));
    }
}

// `out` may be `x` or `y`.
KERNEL(256) binary(void* out, int out_dtype, const void* x, int x_dtype, const void* y, int y_dtype, int op, Walk<3> walk) {
    for (i64 i = first_element(); i < walk.count; i += element_step()) {
        i64 at[3];
        walk.locate(i, at);
        store(out, out_dtype, at[0], function(op, load<C>(x, x_dtype, at[1]), load<C>(y, y_dtype, at[2])));
    }
}

KERNEL(256) compare(u8* out, const void* x, int x_dtype, const void* y, int y_dtype, int op, Walk<3> walk) {
    for (i64 i = first_element(); i < walk.count; i += element_step()) {
        i64 at[3];
        walk.locate(i, at);
        out[at[0]] = holds(op, load<C>(x, x_dtype, at[1]), load<C>(y, y_dtype, at[2]));
    }
}

KERNEL(256) choose(void* out, int out_dtype, const u8* condition, const void* x, int x_dtype, const void* y, int y_dtype, Walk<4> walk) {
    for (i64 i = first_element(); i < walk.count; i += element_step()) {
        i64 at[4];
        walk.locate(i, at);
        store(out, out_dtype, at[0], condition[at[1]] ? load<C>(x, x_dtype, at[2]) : load<C>(y, y_dtype, at[3]));
    }
}
