// Kernels that begin before those in front of them are done, from compute capability 9.0 on: programmatic dependent launch. What a launch costs before
// it computes so goes by while the one before it still does.
//
// The first statement of such a kernel is `come_early`, for all threads of all blocks. The host finds it there, and launches no other kernel so: one
// that did not wait could be done before what is in front of it, and whoever waits for it would see what is not done. Of what such a kernel reads
// nothing is `__restrict__`, which tells the compiler that nobody writes there, and lets it read before the wait.
#pragma once
#include "platform.cuh"

// ---- instructions, which the emulator has as functions
#if EARLY_STARTS && !defined(EMULATED)
// Asks for what is there to be brought to the cache that all processors share, which knows what others write: so it may come before the wait.
DEVICE void prefetch(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(at))); }
// The next kernel may begin once all blocks have said so, which so all have their processors.
DEVICE void launch_dependents() { asm volatile("griddepcontrol.launch_dependents;"); }
// Until all that was launched before is done, and what it has written is there. That is all work: what was before waited for what was before it.
DEVICE void wait_for_prerequisites() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
#elif !EARLY_STARTS
DEVICE void prefetch(const void*) {}
DEVICE void launch_dependents() {}
DEVICE void wait_for_prerequisites() {}
#endif

DEVICE void come_early() {
    launch_dependents();
    wait_for_prerequisites();
}

// The same for a kernel that knows where it reads first: `first` prefetches, and touches nothing else.
template <typename First> DEVICE First come_early(First first) {
    first.prefetch();
    come_early();
    return first;
}
