// CUDA on the processor, for tests: a launch runs block after block, each thread of a block until it waits at a barrier or for a shuffle. So
// kernels are checked for what they compute, for barriers that not all threads reach, and, run forwards and backwards, for barriers that are
// missing. It says nothing about speed.
#pragma once

#include "fibers.h"
#include "kernel.h"

#include <math.h>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One for all blocks, which run one after another.
#define __shared__ static

namespace emulator {

// Shared memory that ends where memory ends.
inline unsigned char* shared_memory(size_t bytes) {
    constexpr size_t MOST = 256 << 10;
    static unsigned char* end = nullptr;
    if (!end) {
        end = map(MOST + PAGE) + MOST;
        mprotect(end, PAGE, PROT_NONE);
    }
    return end - (bytes + 15) / 16 * 16;
}

template <auto kernel> struct Launch;
template <typename... P, void (*kernel)(P...)> struct Launch<kernel> {
    static constexpr size_t COUNT = sizeof...(P), SIZES[COUNT + 1] = {sizeof(P)...};

    template <size_t... I> static void call(void* const* arguments, std::index_sequence<I...>) {
        kernel(*static_cast<const std::remove_const_t<P>*>(arguments[I])...);
    }
    static void thread(void* const* arguments) { call(arguments, std::index_sequence_for<P...>{}); }

    static size_t run(const unsigned* geometry, size_t shared, void* const* arguments, int backwards) {
        state.grid_size = {geometry[0], geometry[1], geometry[2]};
        state.block_size = {geometry[3], geometry[4], geometry[5]};
        state.shared = shared_memory(shared);
        state.kernel = thread;
        state.arguments = arguments;
        state.step = backwards ? -1 : 1;
        state.waited = 0;
        uint3 grid = state.grid_size;
        unsigned long long blocks = 1ull * grid.x * grid.y * grid.z;
        for (unsigned long long i = 0; i < blocks; i++) {
            unsigned long long block = backwards ? blocks - 1 - i : i;
            state.block_index = {unsigned(block % grid.x), unsigned(block / grid.x % grid.y), unsigned(block / grid.x / grid.y)};
            memset(state.shared, 0xff, shared);
            run_block();
        }
        return state.waited;
    }
};

// What all lanes of the warp have brought.
struct Brought {
    const unsigned char (&values)[LANES][32];
    template <typename V> V of(unsigned lane) const {
        V value;
        memcpy(&value, values[lane % LANES], sizeof value);
        return value;
    }
};
template <typename V> Brought bring(const V& value) {
    static_assert(sizeof(V) <= 32);
    Thread& self = *state.running;
    auto& values = self.warp->values[self.turn++ & 1];
    memcpy(values[self.lane], &value, sizeof value);
    wait(self.warp->barrier);
    return {values};
}
template <typename V> V exchange(V value, int from) { return bring(value).template of<V>(from); }

inline int lane() { return int(state.running->lane); }

}  // namespace emulator

#define threadIdx (emulator::state.running->index)
#define blockIdx (emulator::state.block_index)
#define blockDim (emulator::state.block_size)
#define gridDim (emulator::state.grid_size)
#define DYNAMIC_SHARED(name) unsigned char* name = emulator::state.shared

inline void __syncthreads() { emulator::wait(emulator::state.block); }
inline void __syncwarp() { emulator::wait(emulator::state.running->warp->barrier); }
template <typename V> V __shfl_xor_sync(unsigned, V value, int mask) { return emulator::exchange(value, emulator::lane() ^ mask); }
template <typename V> V __shfl_sync(unsigned, V value, int lane) { return emulator::exchange(value, lane); }
template <typename V> V __shfl_up_sync(unsigned, V value, int delta) {
    int lane = emulator::lane();
    return emulator::exchange(value, lane >= delta ? lane - delta : lane);
}
// Of whole warps.
inline unsigned __ballot_sync(unsigned, bool value) {
    emulator::Brought all = emulator::bring(value);
    unsigned bits = 0;
    for (unsigned lane = 0; lane < emulator::LANES; lane++) bits |= unsigned(all.of<bool>(lane)) << lane;
    return bits;
}
// Each byte of the result is that of the eight bytes of both words whose number a nibble of `which` is.
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned which) {
    unsigned long long both = (unsigned long long)high << 32 | low;
    unsigned out = 0;
    for (int i = 0; i < 4; i++) out |= unsigned(both >> 8 * (which >> 4 * i & 7) & 255) << 8 * i;
    return out;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

// Threads give way only at barriers, so everything between is atomic.
template <typename V, typename W> V atomicAdd(V* to, W value) {
    V old = *to;
    *to += value;
    return old;
}
template <typename V> V atomicMax(V* to, V value) {
    V old = *to;
    if (old < value) *to = value;
    return old;
}
inline unsigned atomicCAS(unsigned* to, unsigned compare, unsigned value) {
    unsigned old = *to;
    if (old == compare) *to = value;
    return old;
}

template <typename To, typename From> To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline float __uint_as_float(unsigned bits) { return bits_as<float>(bits); }
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline double __longlong_as_double(long long bits) { return bits_as<double>(bits); }
inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __fdividef(float x, float y) { return x / y; }

struct f16 {
    unsigned short bits;
};
inline f16 f16_of_bits(unsigned short bits) { return {bits}; }
inline float widen(f16 x) {
    unsigned magnitude = (x.bits & 0x7fffu) << 13;
    // The exponents differ by 112, and a product with a power of two is exact, of denormals too.
    float wide = magnitude < 0x0f800000u ? bits_as<float>(magnitude) * 0x1p112f : bits_as<float>(magnitude | 0x7f800000u);
    return x.bits & 0x8000 ? -wide : wide;
}
inline f16 f16_of(float x) {
    unsigned bits = bits_as<unsigned>(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return {(unsigned short)(sign | 0x7e00)};
    if (magnitude >= 0x477ff000) return {(unsigned short)(sign | 0x7c00)};
    // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴, as floats just above 1/2 are: the addition rounds.
    if (magnitude < 0x38800000) return {(unsigned short)(sign | (bits_as<unsigned>(bits_as<float>(magnitude) + 0.5f) - 0x3f000000))};
    return {(unsigned short)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13)};
}

#include "units.h"

// Makes `kernel`, of at most `threads` threads to a block, known to who loads the library. All else is hidden, or libraries would share it.
#define LAUNCH(kernel, threads)                                                                                   \
    extern "C" __attribute__((visibility("default"))) const emulator::Kernel launch_##kernel = {                 \
        emulator::Launch<kernel>::run, emulator::Launch<kernel>::SIZES, emulator::Launch<kernel>::COUNT, threads};
