// What differs between CUDA (NVRTC), HIP (HIPRTC) and the plain C++ of the tests. No other files but matrix.cuh and early.cuh,
// which have NVIDIA's instructions, ask which of them reads it.
//
// A module is one .cu file compiled for one choice of its macros, such as -DT=bf16; kernels carry plain C names, and the host asks for
// a module when it first needs one of its kernels.
#pragma once

#if defined(EMULATED)
#include "emulator.h"
#elif defined(__HIP__) || defined(__HIPCC_RTC__)
#define ON_HIP 1
#if !defined(__HIPCC_RTC__)
#include <hip/hip_runtime.h>
#endif
#include <hip/hip_fp16.h>
#else
#define ON_CUDA 1
#if defined(__CUDACC_RTC__) && !defined(INFINITY)
#define INFINITY __int_as_float(0x7f800000)
#endif
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

// What NVIDIA's generations have, emulated ones too. Turing's matrix units take f16 alone, products eight deep of it.
#if __CUDA_ARCH__ >= 750
#define TENSOR_CORES_F16 1
#endif
#if __CUDA_ARCH__ >= 800
#define TENSOR_CORES_BF16 1
#define ASYNC_COPIES 1
#endif
#if __CUDA_ARCH__ >= 900
#define EARLY_STARTS 1
#endif

#define DEVICE __device__ __forceinline__
// The most threads of a block, and how many blocks a processor must have registers for, where that is said.
#define KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)
#if !defined(EMULATED)
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#endif

using i8 = signed char;
using u8 = unsigned char;
using i16 = short;
using u16 = unsigned short;
using i32 = int;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;
using f32 = float;
using f64 = double;

// Lanes that exchange values. AMD's wide waves are taken as two halves, which never need each other.
constexpr int WARP = 32;

// ---- values of other lanes; all lanes of the warp take part

#if ON_HIP
template <typename V> DEVICE V shuffle_xor(V value, int mask) { return __shfl_xor(value, mask, WARP); }
template <typename V> DEVICE V shuffle(V value, int lane) { return __shfl(value, lane, WARP); }
template <typename V> DEVICE V shuffle_up(V value, int delta) { return __shfl_up(value, delta, WARP); }
DEVICE u32 ballot(bool holds) { return u32(__ballot(holds) >> (__lane_id() & 32)); }
// Waves run in step; the fence keeps the compiler from moving shared memory across.
DEVICE void sync_warp() {
    __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
    __builtin_amdgcn_wave_barrier();
}
#else
template <typename V> DEVICE V shuffle_xor(V value, int mask) { return __shfl_xor_sync(~0u, value, mask); }
template <typename V> DEVICE V shuffle(V value, int lane) { return __shfl_sync(~0u, value, lane); }
template <typename V> DEVICE V shuffle_up(V value, int delta) { return __shfl_up_sync(~0u, value, delta); }
// A bit for each lane where it holds.
DEVICE u32 ballot(bool holds) { return __ballot_sync(~0u, holds); }
DEVICE void sync_warp() { __syncwarp(); }
#endif

// ---- floats of 16 bits

#if ON_CUDA
using f16 = __half;
using bf16 = __nv_bfloat16;
DEVICE float widen(bf16 x) { return __bfloat162float(x); }
DEVICE bf16 bf16_of(float x) { return __float2bfloat16(x); }
#else
struct bf16 {
    u16 bits;
};
DEVICE float widen(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }
// To the nearest, ties to even; NaN stays one.
DEVICE bf16 bf16_of(float x) {
    u32 bits = __float_as_uint(x);
    return bf16{u16(x != x ? (bits >> 16) | 0x40 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}
#endif
#if ON_HIP
using f16 = __half;
#endif
#if !defined(EMULATED)
DEVICE float widen(f16 x) { return __half2float(x); }
DEVICE f16 f16_of(float x) { return __float2half(x); }
DEVICE f16 f16_of_bits(u16 bits) { return __ushort_as_half(bits); }
#endif
