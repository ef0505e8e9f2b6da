// The threads of a block, run by one thread of the processor. A thread that waits at a barrier keeps its stack, and the next one goes on; one that
// never waits leaves its stack to the next as it is, so that kernels without barriers run as plain loops.
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <type_traits>
#include <utility>

struct uint3 {
    unsigned x, y, z;
};

namespace emulator {

constexpr unsigned LANES = 32, MOST_THREADS = 1024;
constexpr size_t STACK = 256 << 10, PAGE = 4096;

inline unsigned char* map(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "emulator: there is no memory for stacks\n");
        abort();
    }
    return static_cast<unsigned char*>(memory);
}

struct Barrier {
    unsigned members, arrived, generation;
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
    unsigned char values[2][LANES][32];
};

struct Thread {
    uint3 index;
    unsigned lane, turn;
    Warp* warp;
    // Where it goes on, if it has begun and waits: at `barrier` while that has the generation that it found there.
    void* stack;
    Barrier* barrier;
    unsigned generation;
    bool has_begun, has_ended;
};

struct State {
    Thread* running;
    uint3 block_index, block_size, grid_size;
    unsigned char* shared;
    void (*kernel)(void* const*);
    void* const* arguments;
    // Through the threads: 1 or -1.
    int step;
    unsigned threads;
    Barrier block;
    void* caller;
    // Threads that have waited for what was launched before.
    size_t waited;
    // Stacks on which no thread is.
    void* free[MOST_THREADS];
    unsigned free_stacks, stacks;
    Thread* all;
    Warp* warps;
};
// One for all: the driver runs one kernel at a time.
inline State state;

// Leaves this stack, whose top it writes to `left`, for `entered`.
extern "C" __attribute__((visibility("hidden"))) void emulator_switch(void** left, void* entered);
#if defined(__x86_64__)
asm(R"(
    .text
    .local emulator_switch
    .type emulator_switch, @function
emulator_switch:
    endbr64
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
// Words that it saves, and which of them says where to return.
constexpr size_t FRAME = 8, RETURN = 6;
#elif defined(__aarch64__)
asm(R"(
    .text
    .local emulator_switch
    .type emulator_switch, %function
emulator_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
constexpr size_t FRAME = 20, RETURN = 11;
#else
#error "the emulator does not know how this processor changes stacks"
#endif

inline bool is_ready(const Thread& thread) {
    return !thread.has_ended && (!thread.barrier || thread.barrier->generation != thread.generation);
}

// Who goes on: of the own warp if one can, so that warps are as far from each other as barriers let them.
inline Thread* next_thread(State& s) {
    unsigned self = unsigned(s.running - s.all), beside = self + s.step, warps = (s.threads + LANES - 1) / LANES;
    // Mostly the neighbour.
    if (beside / LANES == self / LANES && beside < s.threads && is_ready(s.all[beside])) return &s.all[beside];
    for (unsigned w = 0; w < warps; w++) {
        unsigned warp = (self / LANES + (s.step > 0 ? w : warps - w)) % warps;
        unsigned lane = w == 0 ? self % LANES : s.step > 0 ? LANES - 1 : 0;
        for (unsigned i = 1; i <= LANES; i++) {
            unsigned at = warp * LANES + (lane + (s.step > 0 ? i : LANES - i)) % LANES;
            if (at < s.threads && is_ready(s.all[at])) return &s.all[at];
        }
    }
    return nullptr;
}

// Runs thread after thread; a stack never leaves this.
inline void live();

inline void* new_stack(State& s) {
    // Tops that differ in their low bits, since caches find memory by them.
    size_t color = s.stacks++ % 32 * 704;
    void** top = reinterpret_cast<void**>(map(STACK) + STACK - color) - FRAME - 8;
    for (size_t i = 0; i < FRAME; i++) top[i] = nullptr;
    top[RETURN] = reinterpret_cast<void*>(static_cast<void (*)()>(live));
    return top;
}

inline void go_on(State& s, Thread& next, void** left) {
    s.running = &next;
    void* stack = next.has_begun ? next.stack : s.free_stacks > 0 ? s.free[--s.free_stacks] : new_stack(s);
    next.has_begun = true;
    emulator_switch(left, stack);
}

inline void wait(Barrier& barrier) {
    barrier.arrived++;
    if (barrier.release()) return;
    State& s = state;
    Thread& self = *s.running;
    self.barrier = &barrier;
    self.generation = barrier.generation;
    Thread* next = next_thread(s);
    if (!next) {
        fprintf(stderr, "emulator: threads wait at barriers that others never reach\n");
        abort();
    }
    go_on(s, *next, &self.stack);
}

inline void live() {
    State& s = state;
    for (;;) {
        s.kernel(s.arguments);
        s.running->has_ended = true;
        for (Barrier* barrier : {&s.block, &s.running->warp->barrier}) {
            barrier->members--;
            barrier->release();
        }
        Thread* next = next_thread(s);
        if (next && !next->has_begun) {
            next->has_begun = true;
            s.running = next;
            continue;
        }
        void*& left = s.free[s.free_stacks++];
        if (next) {
            go_on(s, *next, &left);
            continue;
        }
        for (unsigned i = 0; i < s.threads; i++) {
            if (s.all[i].has_ended) continue;
            fprintf(stderr, "emulator: thread %u waits at a barrier that others never reach\n", i);
            abort();
        }
        emulator_switch(&left, s.caller);
    }
}

inline void run_block() {
    State& s = state;
    if (!s.all) {
        s.all = reinterpret_cast<Thread*>(map(MOST_THREADS * sizeof(Thread)));
        s.warps = reinterpret_cast<Warp*>(map(MOST_THREADS / LANES * sizeof(Warp)));
    }
    uint3 size = s.block_size;
    s.threads = size.x * size.y * size.z;
    s.block = {s.threads, 0, 0};
    for (unsigned i = 0; i < s.threads; i += LANES) {
        s.warps[i / LANES].barrier = {s.threads - i < LANES ? s.threads - i : LANES, 0, 0};
    }
    unsigned i = 0;
    for (unsigned z = 0; z < size.z; z++) {
        for (unsigned y = 0; y < size.y; y++) {
            for (unsigned x = 0; x < size.x; x++, i++) {
                s.all[i] = Thread{{x, y, z}, i % LANES, 0, &s.warps[i / LANES], nullptr, nullptr, 0, false, false};
            }
        }
    }
    go_on(s, s.all[s.step > 0 ? 0 : s.threads - 1], &s.caller);
}

}  // namespace emulator
