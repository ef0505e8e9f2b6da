// Elements of every dtype, told at run time, read and written as one of the few types that arithmetic is done in: f32 (also for halves), f64,
// i64 (for all narrower integers and bools) and u64. A switch that a whole grid takes alike costs nothing beside the memory.
#pragma once
#include "common.cuh"

// In the order of the host's dtypes.
enum Dtype : i32 { BOOL, U8, U16, U32, U64, I8, I16, I32, I64, F16, BF16, F32, F64 };

template <typename A> constexpr bool IS_HALF = SAME<A, f16> || SAME<A, bf16>;
template <typename A> constexpr bool IS_WIDE = SAME<A, float> || SAME<A, double>;

// To the nearest float whose last bit also tells what was cut off, so that rounding it once more rounds as from the double itself.
DEVICE float odd(double x) {
    float near = float(x);
    u32 bits = __float_as_uint(near);
    if (x != x || double(near) == x) return near;
    bool is_farther = near < 0 ? double(near) < x : double(near) > x;
    return __uint_as_float((is_farther ? bits - 1 : bits) | 1);
}

// Toward zero; what is out of range becomes the nearest that is in it, and NaN zero.
template <typename To, typename From> DEVICE To truncated(From x) {
    constexpr bool is_signed = To(-1) < To(0);
    constexpr To high = is_signed ? To((u64(1) << (8 * sizeof(To) - 1)) - 1) : To(~u64(0)), low = is_signed ? To(-high - 1) : To(0);
    if (x != x) return 0;
    return x <= From(low) ? low : x >= From(high) ? high : To(x);
}

// Integers wrap.
template <typename To, typename From> DEVICE To convert(From x) {
    if constexpr (SAME<To, From>) return x;
    else if constexpr (IS_HALF<From>) return convert<To>(widen(x));
    else if constexpr (IS_HALF<To> && SAME<From, float>) return narrow<To>(x);
    else if constexpr (IS_HALF<To>) return narrow<To>(odd(double(x)));
    else if constexpr (IS_WIDE<From> && !IS_WIDE<To>) return truncated<To>(x);
    else return To(x);
}

template <typename V> DEVICE V load(const void* from, int dtype, i64 at) {
    switch (dtype) {
        case BOOL:
        case U8: return convert<V>(static_cast<const u8*>(from)[at]);
        case U16: return convert<V>(static_cast<const u16*>(from)[at]);
        case U32: return convert<V>(static_cast<const u32*>(from)[at]);
        case U64: return convert<V>(static_cast<const u64*>(from)[at]);
        case I8: return convert<V>(static_cast<const i8*>(from)[at]);
        case I16: return convert<V>(static_cast<const i16*>(from)[at]);
        case I32: return convert<V>(static_cast<const i32*>(from)[at]);
        case I64: return convert<V>(static_cast<const i64*>(from)[at]);
        case F16: return convert<V>(static_cast<const f16*>(from)[at]);
        case BF16: return convert<V>(static_cast<const bf16*>(from)[at]);
        case F32: return convert<V>(static_cast<const float*>(from)[at]);
        default: return convert<V>(static_cast<const double*>(from)[at]);
    }
}

template <typename V> DEVICE void store(void* to, int dtype, i64 at, V x) {
    switch (dtype) {
        case BOOL: static_cast<u8*>(to)[at] = x != V(0); break;
        case U8: static_cast<u8*>(to)[at] = convert<u8>(x); break;
        case U16: static_cast<u16*>(to)[at] = convert<u16>(x); break;
        case U32: static_cast<u32*>(to)[at] = convert<u32>(x); break;
        case U64: static_cast<u64*>(to)[at] = convert<u64>(x); break;
        case I8: static_cast<i8*>(to)[at] = convert<i8>(x); break;
        case I16: static_cast<i16*>(to)[at] = convert<i16>(x); break;
        case I32: static_cast<i32*>(to)[at] = convert<i32>(x); break;
        case I64: static_cast<i64*>(to)[at] = convert<i64>(x); break;
        case F16: static_cast<f16*>(to)[at] = convert<f16>(x); break;
        case BF16: static_cast<bf16*>(to)[at] = convert<bf16>(x); break;
        case F32: static_cast<float*>(to)[at] = convert<float>(x); break;
        default: static_cast<double*>(to)[at] = convert<double>(x);
    }
}

// A shape, and the strides with which N tensors cover it; the host has merged what can be walked as one.
constexpr int MAX_DIMS = 8;
template <int N> struct Walk {
    i64 count, dims;
    i64 shape[MAX_DIMS];
    i64 strides[N][MAX_DIMS];

    // Where element `index` of each lies.
    DEVICE void locate(i64 index, i64 (&at)[N]) const {
        for (int n = 0; n < N; n++) at[n] = 0;
        for (int axis = int(dims) - 1; axis > 0; axis--) {
            i64 rest;
            // Divisions of 64 bits are many instructions, and few tensors need them.
            if (count <= 0x7fffffff) rest = u32(index) / u32(shape[axis]);
            else rest = index / shape[axis];
            for (int n = 0; n < N; n++) at[n] += (index - rest * shape[axis]) * strides[n][axis];
            index = rest;
        }
        for (int n = 0; n < N; n++) at[n] += index * strides[n][0];
    }
};
