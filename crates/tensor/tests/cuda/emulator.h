// CUDA on the processor, for tests: a launch runs block after block, each thread of a block as a fiber that gives way at barriers and
// shuffles. So kernels are checked for what they compute, for barriers that not all threads reach, and, run forwards and backwards, for
// barriers that are missing. It says nothing about speed.
#pragma once

#include <csetjmp>
#include <math.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)
// One copy for each thread of the tests; blocks run one after another.
#define __shared__ static thread_local

struct uint3 {
    unsigned x, y, z;
};

namespace emulator {

constexpr int LANES = 32;
constexpr size_t STACK = 256 << 10;

struct Barrier {
    unsigned members = 0, arrived = 0, generation = 0;
    bool release() {
        if (arrived < members || members == 0) return false;
        arrived = 0;
        generation++;
        return true;
    }
};

struct Warp {
    Barrier barrier;
    // Two, by turns: a lane may write its next value while another still reads the last.
    unsigned char values[2][LANES][16];
};

struct Fiber {
    ucontext_t context;
    jmp_buf place;
    bool started = false, finished = true;
    uint3 index;
    unsigned linear, turn;
};

struct State {
    std::vector<Fiber*> fibers;
    std::vector<Warp> warps;
    Barrier block;
    Fiber* running = nullptr;
    bool progress = false;
    uint3 block_index, block_size, grid_size;
    unsigned char* shared = nullptr;
    jmp_buf scheduler;
    std::function<void()> kernel;
};
inline thread_local State state;

inline void yield() {
    if (!_setjmp(state.running->place)) _longjmp(state.scheduler, 1);
}

inline void wait(Barrier& barrier) {
    unsigned generation = barrier.generation;
    barrier.arrived++;
    state.progress |= barrier.release();
    while (barrier.generation == generation) yield();
}

// A fiber runs one thread of block after block.
inline void live() {
    for (;;) {
        state.kernel();
        state.running->finished = true;
        state.progress = true;
        for (Barrier* barrier : {&state.block, &state.warps[state.running->linear / LANES].barrier}) {
            barrier->members--;
            barrier->release();
        }
        yield();
    }
}

inline void resume(Fiber& fiber) {
    state.running = &fiber;
    if (_setjmp(state.scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    setcontext(&fiber.context);
}

inline void run_block(bool backwards) {
    unsigned threads = state.block_size.x * state.block_size.y * state.block_size.z;
    while (state.fibers.size() < threads) {
        Fiber* fiber = new Fiber;
        getcontext(&fiber->context);
        void* stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        fiber->context.uc_stack.ss_sp = stack;
        fiber->context.uc_stack.ss_size = STACK;
        makecontext(&fiber->context, live, 0);
        state.fibers.push_back(fiber);
    }
    state.warps.assign((threads + LANES - 1) / LANES, Warp{});
    state.block = Barrier{threads};
    for (unsigned i = 0; i < threads; i++) {
        Fiber& fiber = *state.fibers[i];
        fiber.finished = false;
        fiber.linear = i;
        fiber.turn = 0;
        fiber.index = {i % state.block_size.x, i / state.block_size.x % state.block_size.y, i / state.block_size.x / state.block_size.y};
        state.warps[i / LANES].barrier.members++;
    }
    for (unsigned left = threads; left > 0;) {
        state.progress = false;
        left = 0;
        for (unsigned i = 0; i < threads; i++) {
            Fiber& fiber = *state.fibers[backwards ? threads - 1 - i : i];
            if (!fiber.finished) resume(fiber);
            left += !fiber.finished;
        }
        if (left > 0 && !state.progress) {
            std::fprintf(stderr, "emulator: %u threads wait at barriers that others never reach\n", left);
            std::abort();
        }
    }
}

// Shared memory that ends where memory ends, filled with NaN before each block.
inline unsigned char* shared_memory(size_t bytes) {
    static thread_local std::vector<std::pair<size_t, unsigned char*>> known;
    for (auto& [size, memory] : known)
        if (size == bytes) return memory;
    size_t pages = (bytes + 4095) / 4096 * 4096;
    auto* start = static_cast<unsigned char*>(mmap(nullptr, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(start + pages, 4096, PROT_NONE);
    known.emplace_back(bytes, start + pages - (bytes + 15) / 16 * 16);
    return known.back().second;
}

template <typename... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_const_t<P>*>(arguments[I])...);
}

// Grid and block in x, y, z; the arguments with their sizes. Says whether these are what the kernel takes.
template <typename... P>
bool launch(void (*kernel)(P...), const unsigned* geometry, size_t shared, void** arguments, const size_t* sizes, size_t count, bool backwards) {
    const size_t wanted[] = {sizeof(P)...};
    if (count != sizeof...(P) || std::memcmp(wanted, sizes, sizeof wanted) != 0) return false;
    state.grid_size = {geometry[0], geometry[1], geometry[2]};
    state.block_size = {geometry[3], geometry[4], geometry[5]};
    state.shared = shared_memory(shared);
    state.kernel = [=] { call(kernel, arguments, std::index_sequence_for<P...>{}); };
    for (unsigned z = 0; z < geometry[2]; z++)
        for (unsigned y = 0; y < geometry[1]; y++)
            for (unsigned x = 0; x < geometry[0]; x++) {
                std::memset(state.shared, 0xff, shared);
                state.block_index = {x, y, z};
                run_block(backwards);
            }
    return true;
}

template <typename V> V exchange(V value, int from) {
    static_assert(sizeof(V) <= 16);
    Fiber& self = *state.running;
    Warp& warp = state.warps[self.linear / LANES];
    auto& values = warp.values[self.turn++ & 1];
    std::memcpy(values[self.linear % LANES], &value, sizeof value);
    wait(warp.barrier);
    std::memcpy(&value, values[from & (LANES - 1)], sizeof value);
    return value;
}

inline int lane() { return int(state.running->linear) % LANES; }

}  // namespace emulator

#define threadIdx (emulator::state.running->index)
#define blockIdx (emulator::state.block_index)
#define blockDim (emulator::state.block_size)
#define gridDim (emulator::state.grid_size)
#define DYNAMIC_SHARED(name) unsigned char* name = emulator::state.shared

inline void __syncthreads() { emulator::wait(emulator::state.block); }
inline void __syncwarp() { emulator::wait(emulator::state.warps[emulator::state.running->linear / emulator::LANES].barrier); }
template <typename V> V __shfl_xor_sync(unsigned, V value, int mask) { return emulator::exchange(value, emulator::lane() ^ mask); }
template <typename V> V __shfl_sync(unsigned, V value, int lane) { return emulator::exchange(value, lane); }
template <typename V> V __shfl_up_sync(unsigned, V value, int delta) {
    int lane = emulator::lane();
    return emulator::exchange(value, lane >= delta ? lane - delta : lane);
}

// Fibers give way only at barriers, so everything between is atomic.
template <typename V, typename W> V atomicAdd(V* to, W value) {
    V old = *to;
    *to += value;
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
    std::memcpy(&to, &from, sizeof to);
    return to;
}
inline float __uint_as_float(unsigned bits) { return bits_as<float>(bits); }
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline double __longlong_as_double(long long bits) { return bits_as<double>(bits); }
inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }

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

#define LAUNCH(kernel)                                                                                                             \
    extern "C" bool launch_##kernel(const unsigned* geometry, size_t shared, void** arguments, const size_t* sizes, size_t count, \
                                    bool backwards) {                                                                             \
        return emulator::launch(kernel, geometry, shared, arguments, sizes, count, backwards);                                    \
    }
